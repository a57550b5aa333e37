import { PortError, must } from './errors.ts';
import { limits } from './limits.ts';
import type { Malformed, Message } from './message.ts';

/**
 * STREAM: facts for many readers, kept for days, at least once.
 *
 * - One partition key, one partition, one order: events of one key are read in the order in which their appends were acknowledged. Across keys there is none.
 * - Readers do not disturb one another: everybody reads everything at his own pace, from a position that he keeps himself.
 * - The number of partitions can grow: one is split, and its keys go on in its children. A read at the end of a split partition answers its `children`; whoever has handled
 *   all of it goes on with them, from their beginning. So a key keeps its order. A family whose partitions are fixed never answers children.
 * - A position is opaque. `read` with a position that has fallen out of retention, or that was never given out, answers `gap`; nothing is skipped in silence.
 */
export interface Stream {
  /**
   * Appends in order. Resolves with the failures: of one key only a tail can fail, so that no gap arises. An empty list: all were taken.
   * Throws `unavailable` when any of them may have been taken.
   */
  append(stream: string, messages: readonly Message[]): Promise<AppendFailure[]>;
  /** Those with which a reader begins: of a split partition the parent alone, as long as it is kept. */
  partitions(stream: string): Promise<string[]>;
  read(stream: string, partition: string, options: ReadOptions): Promise<Batch>;
}

export interface AppendFailure {
  /** Index in what was handed over. */
  readonly index: number;
  readonly error: PortError;
}

export interface ReadOptions {
  /** Reads what comes after this position; absent: from the earliest that is kept. */
  readonly after?: string;
  /** 1 to `limits.batchMax`. */
  readonly max: number;
  /** How long to wait for the first one, 0 to 20. Then an empty batch; it may come earlier. */
  readonly waitSeconds: number;
  readonly signal?: AbortSignal;
}

/** `children` only with an empty batch: nothing will ever come after this position, and the keys of this partition go on in those. */
export type Batch = { readonly events: readonly StreamEvent[]; readonly children?: readonly string[] } | { readonly gap: true };

export interface StreamEvent {
  readonly position: string;
  readonly message: Message | Malformed;
  /** Of the event as the broker knows it, so that even a malformed one has a key. */
  readonly partitionkey: string;
}

/** STREAM DRIVER: the same three, with checked arguments. */
export type StreamDriver = Stream;

export function openStream(driver: StreamDriver): Stream {
  return {
    async append(stream, messages) {
      const failures: AppendFailure[] = [];
      for (let start = 0; start < messages.length; start += limits.batchMax) {
        const failedKeys = new Set(failures.map(({ index }) => messages[index]!.partitionkey));
        const part = messages.slice(start, start + limits.batchMax).map((message, i) => ({ message, index: start + i }));
        const held = part.filter(({ message }) => failedKeys.has(message.partitionkey));
        const sent = part.filter(({ message }) => !failedKeys.has(message.partitionkey));
        // They are not to blame: whoever passes them on may try again as soon as the one before them has gone.
        for (const { index, message } of held) failures.push({ index, error: new PortError('throttled', 'held back behind a failure of its key', { key: message.id }) });
        if (sent.length === 0) continue;
        for (const failure of await driver.append(stream, sent.map(({ message }) => message))) failures.push({ index: sent[failure.index]!.index, error: failure.error });
      }
      return failures;
    },
    partitions: (stream) => driver.partitions(stream),
    async read(stream, partition, options) {
      must(options.max >= 1 && options.max <= limits.batchMax, `1 to ${limits.batchMax} events a read`);
      return driver.read(stream, partition, options);
    },
  };
}
