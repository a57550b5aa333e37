import type { TokenCredential } from '@azure/core-auth';
import type { AzureMonitorExporterOptions } from '@azure/monitor-opentelemetry-exporter';
import { ROOT_CONTEXT, SpanKind, SpanStatusCode, TraceFlags, diag, DiagLogLevel, trace, type Context } from '@opentelemetry/api';
import { defaultResource, detectResources, envDetector, resourceFromAttributes, type Resource } from '@opentelemetry/resources';
import { BasicTracerProvider, BatchSpanProcessor, RandomIdGenerator, type SpanProcessor } from '@opentelemetry/sdk-trace-base';
import { AsyncLocalStorage } from 'node:async_hooks';
import { randomUUID } from 'node:crypto';
import { errorTypeOf, traceparentOf, type Attributes, type Begun, type Family, type Log, type Span, type Tracer } from '../../ports/index.ts';
import type { Told } from './early.ts';

/**
 * OPENTELEMETRY behind the tracer's port: spans, and what is counted, to any OTLP endpoint (HTTP, JSON) or to Application Insights. Loaded only when one of them is set; each
 * exporter only when it is the one.
 *
 * - Nothing is registered globally: two shops in one process do not know of each other. The standard's own variables are obeyed as the SDK reads them (`OTEL_SERVICE_NAME`,
 *   `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER`, `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_BSP_*`).
 * - Spans go in batches behind everybody's back. A collector that is down costs a bounded queue, then spans, and a line in the log; never an order.
 * - Order ids open the order's page, and traces are read by more people than orders: every text passes `discreet` on its way out.
 */
export interface TelemetryOptions {
  /** Without the path of a signal, and without a slash at the end. */
  readonly otlpEndpoint?: string;
  readonly applicationInsights?: string;
  /** Who we are to Application Insights; absent: whoever knows the connection string. */
  readonly credential?: TokenCredential;
  /** How Application Insights is reached: its own way, unless told. */
  readonly httpClient?: AzureMonitorExporterOptions['httpClient'];
  readonly discreet: (text: string) => string;
  /** What is counted, once a minute. */
  readonly gather: () => Promise<readonly Family[]>;
  readonly log: Log;
}

export interface Telemetry {
  readonly tracer: Tracer;
  /** A span that has happened already, under the ids that it had then (early.ts). */
  tell(told: Told): void;
  /** What is counted is told a last time, while it can still be looked at. Waits a few seconds at the most. */
  settle(): Promise<void>;
  /** Sends what is left, and waits for it a few seconds at the most. */
  close(): Promise<void>;
}

const closeMillisecondsMax = 2_500;

export async function openTelemetry(options: TelemetryOptions): Promise<Telemetry> {
  const complain = (detail: string): void => options.log.warn({ detail: options.discreet(plain(detail)) }, 'traces or metrics could not be sent');
  diag.setLogger({ error: complain, warn: complain, info() {}, debug() {}, verbose() {} }, { logLevel: DiagLogLevel.ERROR, suppressOverrideMessage: true });
  const resource = await described();
  const { openMeter } = await import('./metrics.ts');
  const meter = await openMeter(options, resource);
  const opened = openTracer({ resource, discreet: options.discreet, processors: await processorsOf(options) });
  const ended = (work: Promise<void>): Promise<void> => inTime(work.catch((error: unknown) => complain(String(error))));
  return { tracer: opened.tracer, tell: opened.tell, settle: () => ended(meter.close()), close: () => ended(opened.close()) };
}

/** The SDK tells an error as JSON, with its stack. */
function plain(detail: string): string {
  try {
    const { message } = JSON.parse(detail) as { readonly message?: string };
    return message ?? detail;
  } catch {
    return detail;
  }
}

/** Each process is an instance of its own: else the sums of several would be taken for one that jumps. */
async function described(): Promise<Resource> {
  const told = detectResources({ detectors: [envDetector] });
  await told.waitForAsyncAttributes?.();
  return defaultResource().merge(resourceFromAttributes({ 'service.name': 'anyport', 'service.instance.id': randomUUID() })).merge(told);
}

/** Nothing is kept on the disk: it may not be ours, and what is there would be told by the next process as its own. */
export function insightsOptions({ applicationInsights, credential, httpClient }: TelemetryOptions): AzureMonitorExporterOptions {
  return { connectionString: applicationInsights!, disableOfflineStorage: true, ...(credential ? { credential } : {}), ...(httpClient ? { httpClient } : {}) };
}

async function processorsOf(options: TelemetryOptions): Promise<SpanProcessor[]> {
  const { otlpEndpoint, applicationInsights } = options;
  const processors: SpanProcessor[] = [];
  if (otlpEndpoint !== undefined) {
    const { OTLPTraceExporter } = await import('@opentelemetry/exporter-trace-otlp-http');
    processors.push(new BatchSpanProcessor(new OTLPTraceExporter({ url: `${otlpEndpoint}/v1/traces` })));
  }
  if (applicationInsights !== undefined) {
    const { AzureMonitorTraceExporter } = await import('@azure/monitor-opentelemetry-exporter');
    processors.push(named, new BatchSpanProcessor(new AzureMonitorTraceExporter(insightsOptions(options))));
  }
  return processors;
}

/** The exporter makes requests without a name of consumer spans, unless it is told one. */
const named: SpanProcessor = {
  onStart(span) {
    if (span.kind === SpanKind.CONSUMER) span.setAttribute('ai.operation.name', span.name);
  },
  onEnd() {},
  forceFlush: () => Promise.resolve(),
  shutdown: () => Promise.resolve(),
};

async function inTime(work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const enough = new Promise<void>((resolve) => (timer = setTimeout(resolve, closeMillisecondsMax)));
  await Promise.race([work, enough]);
  clearTimeout(timer);
}

// ---------------------------------------------------------------- the tracer

export interface TracerOptions {
  readonly processors: SpanProcessor[];
  readonly discreet: (text: string) => string;
  readonly resource?: Resource;
}

export function openTracer({ processors, discreet, resource }: TracerOptions): Omit<Telemetry, 'settle'> {
  const random = new RandomIdGenerator();
  /** Of what has happened already, while it is told. */
  let given: { readonly traceId: string; readonly spanId: string } | undefined;
  const idGenerator = { generateTraceId: () => given?.traceId ?? random.generateTraceId(), generateSpanId: () => given?.spanId ?? random.generateSpanId() };
  const provider = new BasicTracerProvider({ spanProcessors: processors, idGenerator, ...(resource ? { resource } : {}) });
  const tracer = provider.getTracer('anyport');
  const contexts = new AsyncLocalStorage<Context>();

  function start({ name, kind, attributes, parent, links = [] }: Span): { readonly begun: Begun; readonly context: Context } {
    const from = parent === undefined ? (contexts.getStore() ?? ROOT_CONTEXT) : contextOf(parent);
    const span = tracer.startSpan(name, { kind: kinds[kind], attributes: told(attributes, discreet), links: links.flatMap(linkOf) }, from);
    const { traceId, spanId, traceFlags } = span.spanContext();
    const begun: Begun = {
      traceparent: `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`,
      note: (more) => void span.setAttributes(told(more, discreet)),
      link: (more) => void span.addLinks(more.flatMap(linkOf)),
      end(error) {
        if (error !== undefined) span.setAttribute('error.type', errorTypeOf(error)).setStatus({ code: SpanStatusCode.ERROR });
        span.end();
      },
    };
    return { begun, context: trace.setSpan(from, span) };
  }

  function tell({ span, traceparent, parent, began, ended, attributes, links, error }: Told): void {
    const [, traceId = '', spanId = ''] = traceparent.split('-');
    given = { traceId, spanId };
    try {
      const options = { kind: kinds[span.kind], attributes: told(attributes, discreet), links: links.flatMap(linkOf), startTime: began };
      const late = tracer.startSpan(span.name, options, parent === undefined ? ROOT_CONTEXT : contextOf(parent));
      if (error !== undefined) late.setAttribute('error.type', errorTypeOf(error)).setStatus({ code: SpanStatusCode.ERROR });
      late.end(ended);
    } finally {
      given = undefined;
    }
  }

  return {
    tell,
    tracer: {
      begin: (span) => start(span).begun,
      current() {
        const here = contexts.getStore();
        const span = here && trace.getSpanContext(here);
        return span && `00-${span.traceId}-${span.spanId}-${span.traceFlags.toString(16).padStart(2, '0')}`;
      },
      span(span, work) {
        const { begun, context } = start(span);
        return contexts.run(context, async () => {
          try {
            const result = await work(begun);
            begun.end();
            return result;
          } catch (error) {
            begun.end(error ?? new Error('nothing was said'));
            throw error;
          }
        });
      },
    },
    close: () => provider.shutdown(),
  };
}

const kinds = { server: SpanKind.SERVER, client: SpanKind.CLIENT, producer: SpanKind.PRODUCER, consumer: SpanKind.CONSUMER } as const;

const told = (attributes: Attributes, discreet: (text: string) => string): Attributes =>
  Object.fromEntries(Object.entries(attributes).map(([name, value]) => [name, typeof value === 'string' ? discreet(value) : value]));

function contextOf(traceparent: string): Context {
  const [link] = linkOf(traceparent);
  return link ? trace.setSpanContext(ROOT_CONTEXT, link.context) : ROOT_CONTEXT;
}

function linkOf(traceparent: string) {
  const known = traceparentOf(traceparent);
  if (known === undefined) return [];
  const [, traceId = '', spanId = '', flags = ''] = known.split('-');
  return [{ context: { traceId, spanId, traceFlags: parseInt(flags, 16) & TraceFlags.SAMPLED, isRemote: true } }];
}
