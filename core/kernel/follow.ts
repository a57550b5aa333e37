import { isMalformed, isTransient, key, partitionOf, put, type Row, type StreamEvent } from '../../ports/index.ts';
import { collections, subscriptions } from '../flow.ts';
import { backOff } from './execute.ts';
import { beginReading } from './meters.ts';
import { deathsMax, park, receiveEvent } from './park.ts';
import type { AnyService, Kernel } from './service.ts';

/**
 * FOLLOWING a partition of a stream: read, handle, and remember how far.
 *
 * - Events of one key are handled one after the other, in order; those of different keys at once.
 * - A position is stored only when everything before it has succeeded or is parked, and it is replaced by version, so that two overlapping readers cannot move it back.
 * - While the store or a broker is down nothing is parked and nothing skipped: the partition stands and tries again.
 * - An event that ends the process cannot park itself. So starts without progress are counted; from the third on events are handled one by one, each marked before it
 *   is touched, and the one that is found marked by the next start is parked unhandled, to be tried once more and
 *   then by a person alone (park.ts).
 */

/** Where a listener has written down how far he has read a partition, in the collection of the consumers. */
export const positionKey = (consumer: string, stream: string, partition: string): string => key('position', consumer, stream, partition);

interface Position {
  readonly after?: string;
  /** Starts since the position last moved. */
  readonly starts: number;
  /** The position of the event that was being handled alone when the process ended. */
  readonly suspect?: string;
}

export interface Follow {
  readonly stream: string;
  readonly partition: string;
  readonly signal: AbortSignal;
  /** Stop when there is nothing more to read, instead of waiting. */
  readonly untilDry?: boolean;
  /** Called when the position has fallen out of retention, or when there has never been one. */
  readonly lost?: () => Promise<void>;
}

const windowMax = 512;
const readMax = 256;
const startsMax = 3;

/**
 * Returns when the signal is aborted, when there is nothing more (`untilDry`), or when another reader has overtaken us: then one begins anew from the stored position.
 * With the children of the partition when it has been split and all of it is handled: one goes on with them.
 */
export async function follow(kernel: Kernel, service: AnyService, options: Follow): Promise<readonly string[] | undefined> {
  const stop = new AbortController();
  try {
    return await followUntil(kernel, service, options, stop);
  } finally {
    // Node keeps a combined signal, and all that its listeners hold, for as long as somebody listens to it and it has not been aborted: a poll every two seconds adds up.
    stop.abort();
  }
}

async function followUntil(kernel: Kernel, service: AnyService, options: Follow, stop: AbortController): Promise<readonly string[] | undefined> {
  const { stream, partition } = options;
  const signal = AbortSignal.any([options.signal, stop.signal]);
  const waitSeconds = options.untilDry ? 0 : 20;
  const log = { service: service.name, stream, partition };
  const store = await openPosition(kernel, service, { ...options, signal }, () => stop.abort());

  /** In the order of the stream; the head of it decides how far we are. */
  const window: { event: StreamEvent; done: boolean }[] = [];
  /** The one that is being handled alone, for fear that it ends the process. */
  let alone: StreamEvent | undefined;
  const chains = new Map<string, Promise<void>>();
  const room = signalling();
  signal.addEventListener('abort', room.ring, { once: true });
  let after = store.after();
  let children: readonly string[] | undefined;
  const reading = beginReading(kernel, {
    consumer: service.name, stream, partition,
    unhandled: () => ({ events: window.filter(({ done }) => !done).length + (alone ? 1 : 0), eldest: timeOf(alone ?? window[0]?.event) }),
  });

  async function beginAnew(): Promise<void> {
    await Promise.all(chains.values());
    await options.lost?.();
    await store.beginAnew();
    after = undefined;
  }

  function advance(): void {
    let last: string | undefined;
    while (window[0]?.done) last = window.shift()!.event.position;
    if (last === undefined) return;
    room.ring();
    store.move(last);
  }

  function take(event: StreamEvent): void {
    const entry = { event, done: false };
    window.push(entry);
    const handle = (): Promise<boolean> => patiently(kernel, signal, log, () => receiveEvent(kernel, service, stream, event));
    const turn = (chains.get(event.partitionkey)?.then(handle) ?? handle()).then((handled) => {
      entry.done = handled;
      if (handled) advance();
      if (chains.get(event.partitionkey) === turn) chains.delete(event.partitionkey);
    });
    chains.set(event.partitionkey, turn);
  }

  if (options.lost && !store.known()) await beginAnew();
  while (!signal.aborted) {
    const batch = await patientRead(kernel, { ...options, signal }, after, waitSeconds, log);
    if (!batch || signal.aborted) break;
    reading.answered();
    if ('gap' in batch) {
      kernel.log.error(log, 'the position has fallen out of retention: events are missing');
      await beginAnew();
      continue;
    }
    if (batch.events.length > 0) await store.begin();
    for (const event of batch.events) {
      if (signal.aborted) break;
      if (store.cautious()) {
        alone = event;
        await aloneAndMarked(kernel, service, stream, event, store, signal, log);
        alone = undefined;
      } else take(event);
      after = event.position;
    }
    if (batch.children) {
      ({ children } = batch);
      break;
    }
    if (batch.events.length === 0 && options.untilDry) break;
    while (window.length >= windowMax && !signal.aborted) await room.wait();
  }
  await Promise.all(chains.values());
  await store.end();
  reading.ended(window.length === 0 && isPolled(service, stream));
  // What is not handled yet comes again here, before the children begin.
  return window.length === 0 && !signal.aborted ? children : undefined;
}

const isPolled = ({ name }: AnyService, stream: string): boolean => subscriptions.some(({ service, channel, polled }) => polled && service === name && channel === stream);
const timeOf = (event: StreamEvent | undefined): string | undefined => (event && !isMalformed(event.message) ? event.message.time : undefined);

async function patientRead(kernel: Kernel, { stream, partition, signal }: Follow, after: string | undefined, waitSeconds: number, log: object) {
  let batch: Awaited<ReturnType<Kernel['stream']['read']>> | undefined;
  await patiently(kernel, signal, log, async () => {
    batch = await kernel.stream.read(stream, partition, { ...(after === undefined ? {} : { after }), max: readMax, waitSeconds, signal });
  });
  return batch;
}

/** Tries until it succeeds or we are told to stop; answers whether it succeeded. Only transient failures come here, and a defect of ours is treated like one. */
async function patiently(kernel: Kernel, signal: AbortSignal, log: object, work: () => Promise<void>): Promise<boolean> {
  for (let attempt = 1; !signal.aborted; attempt++) {
    try {
      await work();
      return true;
    } catch (error) {
      if (!isTransient(error)) kernel.log.error({ ...log, error }, 'following failed');
      else if (attempt > 3) kernel.log.warn({ ...log, error: error.message, attempt }, 'the partition stands');
      await kernel.clock.sleep(Math.min(5_000, 10 * 2 ** Math.min(attempt, 10)) * (0.5 + kernel.ids.fraction() / 2), signal);
    }
  }
  return false;
}

async function aloneAndMarked(kernel: Kernel, service: AnyService, stream: string, event: StreamEvent, store: PositionStore, signal: AbortSignal, log: object): Promise<void> {
  const killer = store.suspected() === event.position;
  if (!killer) await store.mark(event.position);
  const handled = await patiently(kernel, signal, log, () =>
    killer ? park(kernel, service, stream, event, 'the process ended while this event was handled, three times', deathsMax - 1) : receiveEvent(kernel, service, stream, event),
  );
  if (handled) await store.settleAlone(event.position);
}

type PositionStore = Awaited<ReturnType<typeof openPosition>>;

const gatherMilliseconds = 100;

/** The stored position of one consumer in one partition. Moves are gathered while one is being written. */
async function openPosition(kernel: Kernel, service: AnyService, { stream, partition, signal }: Follow, overtaken: () => void) {
  const rowKey = positionKey(service.name, stream, partition);
  const place = partitionOf(collections.consumers, rowKey);
  let row: Row<Position> | undefined = await kernel.store.get<Position>(place, rowKey);
  const again = startsOf(kernel).has(rowKey);
  const suspected = again ? undefined : row?.body.suspect;
  let wanted: string | undefined;
  let writing: Promise<void> | undefined;
  let begun = false;
  /** How many events are still to be handled alone. */
  let alone = 0;
  const ending = new AbortController();

  /**
   * Tries until it is stored: a store that is down is waited for. When something else is stored, another reader has overtaken us, and what he has stored counts.
   * Once we are stopped a failure ends it: then events come again.
   */
  async function write(body: Position): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        // The answer of an earlier try may have been lost.
        const found = attempt === 1 ? row : await kernel.store.get<Position>(place, rowKey);
        if (attempt > 1 && isSame(found?.body, body)) return void (row = found);
        if (!isSame(found?.body, row?.body)) return overtaken();
        row = found;
        const { versions } = await kernel.store.commit(place, { writes: [put(row, rowKey, body)] });
        return void (row = { key: rowKey, version: versions[0]!, body });
      } catch (error) {
        kernel.log.warn({ error, key: rowKey, attempt }, 'a position could not be stored');
        if (!isTransient(error) || (signal.aborted && attempt > 1)) return overtaken();
        await backOff(kernel, attempt, error);
      }
    }
  }

  async function writeAll(): Promise<void> {
    while (wanted !== undefined) {
      const after = wanted;
      wanted = undefined;
      await write({ after, starts: 0 });
      // What has been handled since is written in one go: after a crash a few more events come again, and every one of them is known.
      await kernel.clock.sleep(gatherMilliseconds, ending.signal);
    }
    writing = undefined;
  }

  return {
    after: (): string | undefined => row?.body.after,
    known: (): boolean => row !== undefined,
    /** The event at which the last process that was here has ended, if it was handled alone. */
    suspected: (): string | undefined => suspected,
    cautious: (): boolean => alone > 0,
    /**
     * Counts a start, before the first event is handled: once a process. Who begins anew because another reader has overtaken him has not died meanwhile, but is as
     * cautious as any.
     */
    async begin(): Promise<void> {
      if (begun) return;
      begun = true;
      const starts = (row?.body.starts ?? 0) + (again ? 0 : 1);
      if (starts >= startsMax) alone = windowMax; // those that were under way together are at most a window
      if (again) return;
      startsOf(kernel).add(rowKey);
      await write({ ...row?.body, starts });
    },
    /** Forgets how far we were. */
    async beginAnew(): Promise<void> {
      while (writing) await writing;
      await write({ starts: 0 });
    },
    move(position: string): void {
      wanted = position;
      writing ??= writeAll();
    },
    mark: (position: string): Promise<void> => write({ ...row!.body, suspect: position }),
    settleAlone(position: string): Promise<void> {
      alone--;
      return write({ after: position, starts: alone > 0 ? row!.body.starts : 0 });
    },
    /** Writes what is still to be written. A clean end is no start without progress, and suspects nobody. */
    async end(): Promise<void> {
      ending.abort('end');
      while (writing) await writing;
      if (row && row.body.starts > 0) await write({ ...(row.body.after === undefined ? {} : { after: row.body.after }), starts: 0 });
    },
  };
}

/** The positions from which this process has begun. Two opened stores in one process are as two processes. */
function startsOf({ store }: Kernel): Set<string> {
  let known = started.get(store);
  if (!known) started.set(store, (known = new Set()));
  return known;
}
const started = new WeakMap<Kernel['store'], Set<string>>();

const isSame = (one: Position | undefined, other: Position | undefined): boolean => JSON.stringify(one) === JSON.stringify(other);

/** A bell that one waits for and another rings. */
function signalling() {
  let ring = (): void => {};
  return { ring: () => ring(), wait: () => new Promise<void>((resolve) => (ring = resolve)) };
}
