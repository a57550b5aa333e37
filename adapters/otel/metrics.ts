import { ValueType, type HrTime } from '@opentelemetry/api';
import type { Resource } from '@opentelemetry/resources';
import {
  AggregationTemporality, DataPointType, MeterProvider, PeriodicExportingMetricReader,
  type CollectionResult, type MetricData, type MetricProducer, type PushMetricExporter,
} from '@opentelemetry/sdk-metrics';
import type { Family, Sample } from '../../ports/index.ts';
import { insightsOptions, type TelemetryOptions } from './index.ts';

/** METRICS: what is counted, as it is told at GET /metrics, under the names of the conventions where they have one, once a minute. Sums are since the process began. */

export async function openMeter(options: TelemetryOptions, resource: Resource): Promise<{ close(): Promise<void> }> {
  const producer = producerOf(options.gather, resource);
  const readers = (await exporters(options)).map((exporter) => new PeriodicExportingMetricReader({ exporter, metricProducers: [producer] }));
  const provider = new MeterProvider({ resource, readers });
  return { close: () => provider.shutdown() };
}

async function exporters(options: TelemetryOptions): Promise<PushMetricExporter[]> {
  const { otlpEndpoint, applicationInsights } = options;
  const found: PushMetricExporter[] = [];
  if (otlpEndpoint !== undefined) {
    const { OTLPMetricExporter } = await import('@opentelemetry/exporter-metrics-otlp-http');
    found.push(new OTLPMetricExporter({ url: `${otlpEndpoint}/v1/metrics` }));
  }
  if (applicationInsights !== undefined) {
    const { AzureMonitorMetricExporter } = await import('@azure/monitor-opentelemetry-exporter');
    found.push(new AzureMonitorMetricExporter(insightsOptions(options)));
  }
  return found;
}

function producerOf(gather: TelemetryOptions['gather'], resource: Resource): MetricProducer {
  const since = hrTime(Date.now());
  return {
    async collect(): Promise<CollectionResult> {
      const families = await gather();
      const now = hrTime(Date.now());
      const metrics = families.filter(({ samples }) => samples.length > 0).map((family) => dataOf(family, since, now));
      return { resourceMetrics: { resource, scopeMetrics: [{ scope: { name: 'anyport' }, metrics }] }, errors: [] };
    },
  };
}

const hrTime = (milliseconds: number): HrTime => [Math.floor(milliseconds / 1_000), (milliseconds % 1_000) * 1_000_000];

/** What the conventions call otherwise than a replacement of underscores would. */
const ownNames: Readonly<Record<string, string>> = { http_response_status_code: 'http.response.status_code' };

function nameOf(text: string): string {
  const own = ownNames[text];
  if (own !== undefined) return own;
  return /^(http|messaging|error)_/.test(text) ? text.replaceAll('_', '.') : text.replace(/^anyport_/, 'anyport.');
}

function dataOf({ name, help, type, samples }: Family, since: HrTime, now: HrTime): MetricData {
  const inSeconds = name.endsWith('_seconds');
  const common = {
    descriptor: { name: nameOf(name.replace(/_seconds$/, '')), description: help, unit: inSeconds ? 's' : '1', valueType: ValueType.DOUBLE },
    aggregationTemporality: AggregationTemporality.CUMULATIVE,
  };
  const point = (sample: Sample) => ({
    startTime: since, endTime: now, attributes: Object.fromEntries(Object.entries(sample.labels).filter(([, value]) => value !== '').map(([label, value]) => [nameOf(label), value])),
  });
  if (type === 'histogram') {
    const dataPoints = samples.flatMap((sample) => {
      if (!('distribution' in sample)) return [];
      const { bounds, counts, sum, count } = sample.distribution;
      return [{ ...point(sample), value: { buckets: { boundaries: [...bounds], counts: [...counts] }, sum, count } }];
    });
    return { ...common, dataPointType: DataPointType.HISTOGRAM, dataPoints };
  }
  const dataPoints = samples.flatMap((sample) => ('value' in sample ? [{ ...point(sample), value: sample.value }] : []));
  return { ...common, dataPointType: DataPointType.GAUGE, dataPoints };
}
