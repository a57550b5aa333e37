/**
 * METERS: numbers about what happens here, in the data model of Prometheus (https://prometheus.io/docs/instrumenting/exposition_formats/), told as text or handed to whoever
 * sends them elsewhere. Counting costs a look into a map and nothing else. The number of series has a limit: what comes in excess of it is counted under one series
 * whose labels all say `other`, so that no sum is wrong and no stranger fills the memory.
 */
export type Labels = Readonly<Record<string, string>>;

export interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: 'gauge' | 'histogram';
  readonly samples: readonly Sample[];
}

export type Sample = { readonly labels: Labels; readonly value: number } | { readonly labels: Labels; readonly distribution: Distribution };

export interface Distribution {
  /** Upper bounds, growing; one more bucket, for what is beyond the last, comes behind them. */
  readonly bounds: readonly number[];
  /** How many fell into each bucket, not added up. */
  readonly counts: readonly number[];
  readonly sum: number;
  readonly count: number;
}

export interface Histogram<Label extends string> {
  observe(labels: Readonly<Record<Label, string>>, value: number): void;
  family(): Family;
}

const seriesMax = 1_000;
const excess = 'other';

/** The bounds that the conventions advise for durations, in seconds (https://opentelemetry.io/docs/specs/semconv/http/http-metrics/). */
export const quickSeconds: readonly number[] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];
/** For what a customer waits for: from a tenth of a second to a fortnight. */
export const longSeconds: readonly number[] = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3_600, 14_400, 86_400, 259_200, 604_800, 1_209_600];

export function createHistogram<Label extends string>(name: string, help: string, names: readonly Label[], bounds: readonly number[]): Histogram<Label> {
  const series = new Map<string, { readonly labels: Labels; readonly counts: number[]; sum: number }>();

  function seriesOf(labels: Readonly<Record<Label, string>>) {
    let at = '';
    for (const each of names) at += `${labels[each]}\n`;
    const known = series.get(at);
    if (known) return known;
    const spare = series.size >= seriesMax;
    const found = spare ? series.get(excess) : undefined;
    if (found) return found;
    const made = { labels: Object.fromEntries(names.map((each) => [each, spare ? excess : labels[each]])), counts: Array<number>(bounds.length + 1).fill(0), sum: 0 };
    series.set(spare ? excess : at, made);
    return made;
  }

  return {
    observe(labels, value) {
      const found = seriesOf(labels);
      let bucket = 0;
      while (bucket < bounds.length && value > bounds[bucket]!) bucket++;
      found.counts[bucket]!++;
      found.sum += value;
    },
    family: () => ({
      name, help, type: 'histogram',
      samples: [...series.values()].map(({ labels, counts, sum }) => ({ labels, distribution: { bounds, counts: [...counts], sum, count: counts.reduce((all, each) => all + each, 0) } })),
    }),
  };
}

export const gauge = (name: string, help: string, samples: readonly { readonly labels: Labels; readonly value: number }[]): Family => ({ name, help, type: 'gauge', samples });

// ---------------------------------------------------------------- the text

export const metricsType = 'text/plain; version=0.0.4; charset=utf-8';

/** Prometheus' text format, version 0.0.4. A family without samples is left out. */
export function exposition(families: readonly Family[]): string {
  return families.filter(({ samples }) => samples.length > 0).map(familyText).join('');
}

function familyText({ name, help, type, samples }: Family): string {
  const lines = samples.flatMap((sample) => ('value' in sample ? [`${name}${labelText(sample.labels)} ${numberText(sample.value)}`] : distributionText(name, sample.labels, sample.distribution)));
  return `# HELP ${name} ${help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}\n# TYPE ${name} ${type}\n${lines.join('\n')}\n`;
}

function distributionText(name: string, labels: Labels, { bounds, counts, sum, count }: Distribution): string[] {
  let upTo = 0;
  const buckets = [...bounds, Infinity].map((bound, i) => `${name}_bucket${labelText({ ...labels, le: numberText(bound) })} ${(upTo += counts[i]!)}`);
  return [...buckets, `${name}_sum${labelText(labels)} ${numberText(sum)}`, `${name}_count${labelText(labels)} ${count}`];
}

function labelText(labels: Labels): string {
  const parts = Object.entries(labels).map(([name, value]) => `${name}="${value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`);
  return parts.length === 0 ? '' : `{${parts.join(',')}}`;
}

const numberText = (value: number): string => (value === Infinity ? '+Inf' : String(value));
