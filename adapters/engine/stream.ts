import { PortError } from '../../ports/index.ts';

/**
 * STREAM ENGINE: what ports/stream.ts promises, as a synchronous state machine without I/O; it is told the time (milliseconds).
 *
 * - A partition is chosen by hash of the partition key, so one key has one order. Its events are numbered from 1 without a hole; the number is the position.
 * - `trim` drops what is older than the retention, and nothing else ever does. Who then asks for what was dropped is told `gap`.
 * - A partition can be split in two. It takes nothing from then on, and tells its children to whoever has read it to its end.
 * - A position that this partition has never given out is a gap, too: a stream that has lost its state must not look like one with nothing new.
 */
export interface StreamEngine {
  /** Makes a stream, unless it is there. Every other method throws `missing` for a stream or partition that is not there. */
  declare(stream: string): void;
  append(stream: string, events: readonly NewEvent[], now: number): void;
  /** Those that are nobody's children. */
  partitions(stream: string): string[];
  /** `children` only when there is nothing more to read, ever. */
  read(stream: string, partition: string, after: string | undefined, max: number): { events: KeptEvent[]; children?: readonly string[] } | { gap: true };
  /** Splits a partition; answers its children. One that has been split already answers the same again. */
  split(stream: string, partition: string): readonly string[];
  /** Drops events that are older than the retention. */
  trim(now: number): void;
  /** Calls after every append to the partition, and when it is split. Answers the function that ends it. */
  watch(stream: string, partition: string, wake: () => void): () => void;
}

export interface NewEvent {
  readonly partitionkey: string;
  readonly text: string;
}

export interface KeptEvent extends NewEvent {
  readonly position: string;
}

interface Log {
  /** It has the keys whose hash leaves this remainder when it is divided by this. */
  readonly remainder: number;
  readonly divisor: number;
  /** Names of partitions. */
  children?: readonly [string, string];
  /** The number of the first event that is kept. */
  first: number;
  readonly events: { readonly partitionkey: string; readonly text: string; readonly at: number }[];
  readonly watchers: Set<() => void>;
}

export function createStreamEngine({ partitionsPerStream = 4, retentionDays = 7 }: { partitionsPerStream?: number; retentionDays?: number } = {}): StreamEngine {
  /** Roots first, then children in the order of their birth; a partition's name is its number. */
  const streams = new Map<string, Log[]>();

  function logsOf(stream: string): Log[] {
    const logs = streams.get(stream);
    if (!logs) throw new PortError('missing', `no stream ${stream}`);
    return logs;
  }

  function logOf(stream: string, partition: string): Log {
    const log = /^(0|[1-9]\d{0,4})$/.test(partition) ? logsOf(stream)[Number(partition)] : logsOf(stream) && undefined;
    if (!log) throw new PortError('missing', `no partition ${partition} of stream ${stream}`);
    return log;
  }

  /** The one that takes this key now. */
  function leafOf(logs: readonly Log[], partitionkey: string): Log {
    let log = logs[partitionNumber(partitionkey, partitionsPerStream)]!;
    while (log.children) {
      const [one, other] = log.children.map((name) => logs[Number(name)]!) as [Log, Log];
      log = partitionNumber(partitionkey, one.divisor) === one.remainder ? one : other;
    }
    return log;
  }

  return {
    declare(stream) {
      if (!streams.has(stream)) streams.set(stream, Array.from({ length: partitionsPerStream }, (_, nth) => emptyLog(nth, partitionsPerStream)));
    },

    append(stream, events, now) {
      const logs = logsOf(stream);
      const touched = new Set<Log>();
      for (const { partitionkey, text } of events) {
        const log = leafOf(logs, partitionkey);
        log.events.push({ partitionkey, text, at: now });
        touched.add(log);
      }
      // Over a copy: who is woken may watch again at once.
      for (const log of touched) for (const wake of Array.from(log.watchers)) wake();
    },

    partitions: (stream) => logsOf(stream).slice(0, partitionsPerStream).map((_, nth) => String(nth)),

    read(stream, partition, after, max) {
      const { first, events, children } = logOf(stream, partition);
      const from = after === undefined ? first : numberOf(after) + 1;
      if (!(from >= first && from <= first + events.length)) return { gap: true };
      const found = events.slice(from - first, from - first + max);
      if (found.length === 0 && children) return { events: [], children };
      return { events: found.map(({ partitionkey, text }, nth) => ({ position: String(from + nth), partitionkey, text })) };
    },

    split(stream, partition) {
      const log = logOf(stream, partition);
      if (log.children) return log.children;
      const logs = logsOf(stream);
      const { remainder, divisor } = log;
      log.children = [String(logs.length), String(logs.length + 1)];
      logs.push(emptyLog(remainder, divisor * 2), emptyLog(remainder + divisor, divisor * 2));
      for (const wake of Array.from(log.watchers)) wake();
      return log.children;
    },

    trim(now) {
      const keptFrom = now - retentionDays * 86_400_000;
      for (const logs of streams.values()) for (const log of logs) cut(log, keptFrom);
    },

    watch(stream, partition, wake) {
      const { watchers } = logOf(stream, partition);
      watchers.add(wake);
      return () => void watchers.delete(wake);
    },
  };
}

const emptyLog = (remainder: number, divisor: number): Log => ({ remainder, divisor, first: 1, events: [], watchers: new Set() });

/** NaN for what is no position of ours; it compares with nothing. */
const numberOf = (position: string): number => (/^\d{1,15}$/.test(position) ? Number(position) : NaN);

function cut(log: Log, keptFrom: number): void {
  const kept = log.events.findIndex(({ at }) => at >= keptFrom);
  const dropped = kept === -1 ? log.events.length : kept;
  if (dropped === 0) return;
  log.events.splice(0, dropped);
  log.first += dropped;
}

/** FNV-1a, 32 bits, over code units. */
export function partitionNumber(partitionkey: string, partitions: number): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < partitionkey.length; i++) hash = Math.imul(hash ^ partitionkey.charCodeAt(i), 0x01000193);
  hash ^= hash >>> 15;
  return (hash >>> 0) % partitions;
}
