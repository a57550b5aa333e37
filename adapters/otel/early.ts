import { AsyncLocalStorage } from 'node:async_hooks';
import { randomBytes } from 'node:crypto';
import { traceparentOf, type Begun, type Span, type Tracer } from '../../ports/index.ts';
import type { Telemetry } from './index.ts';

/**
 * A TRACER FOR A COLD PROCESS: gives traces their ids from the first moment on, without any library, and hands over to the one that collects when that is there. So what was
 * said by then belongs to the right trace wherever it is heard, and whatever comes of it is told. The spans of the first moment themselves are kept, up to `keptMax`, and told
 * afterwards as they were.
 */
export interface Early {
  readonly tracer: Tracer;
  /** `undefined` if it could not be opened: then the ids go on, and nothing is told. */
  readonly opened: Promise<Telemetry | undefined>;
}

/** A span of which only the telling is missing. Times are milliseconds since 1970. */
export interface Told {
  readonly span: Span;
  /** Its context, and that of the span in which it ran. */
  readonly traceparent: string;
  readonly parent: string | undefined;
  readonly began: number;
  readonly ended: number;
  readonly attributes: Span['attributes'];
  readonly links: readonly string[];
  readonly error?: unknown;
}

const keptMax = 1_000;
const sampled = '01';
const hex = (bytes: number): string => randomBytes(bytes).toString('hex');

export function earlyTracer(open: () => Promise<Telemetry>, complain: (error: unknown) => void): Early {
  const contexts = new AsyncLocalStorage<string>();
  const kept: Told[] = [];
  let later: Telemetry | undefined;
  let isLost = false;
  const opened = open().then((telemetry) => {
    later = telemetry;
    for (const each of kept.splice(0)) telemetry.tell(each);
    return telemetry;
  }, (error: unknown) => {
    complain(error);
    kept.length = 0;
    isLost = true;
    return undefined;
  });

  function keep(told: Told): void {
    if (later) later.tell(told);
    else if (!isLost && kept.length < keptMax) kept.push(told);
  }

  function start(span: Span): Begun {
    const parent = traceparentOf(span.parent ?? contexts.getStore());
    const [, trace = hex(16), , flags = sampled] = parent?.split('-') ?? [];
    const traceparent = `00-${trace}-${hex(8)}-${flags}`;
    const began = performance.timeOrigin + performance.now();
    let attributes = span.attributes;
    let links = span.links ?? [];
    return {
      traceparent,
      note: (more) => void (attributes = { ...attributes, ...more }),
      link: (more) => void (links = [...links, ...more]),
      end: (error) => keep({ span, traceparent, parent, began, ended: performance.timeOrigin + performance.now(), attributes, links, ...(error === undefined ? {} : { error }) }),
    };
  }

  /** What began here and is still running is the parent of what begins there. */
  const within = (span: Span): Span => {
    const here = contexts.getStore();
    return span.parent === undefined && here !== undefined && later!.tracer.current() === undefined ? { ...span, parent: here } : span;
  };

  return {
    opened,
    tracer: {
      begin: (span) => (later ? later.tracer.begin(within(span)) : start(span)),
      current: () => later?.tracer.current() ?? contexts.getStore(),
      span(span, work) {
        if (later) return later.tracer.span(within(span), work);
        const begun = start(span);
        return contexts.run(begun.traceparent, async () => {
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
  };
}
