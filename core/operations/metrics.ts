import { exposition, gauge, isTransient, key, metricsType, partitionsOf, type Family, type Labels, type OutboxBody, type Row } from '../../ports/index.ts';
import { collections, queues, speaking, subscriptions } from '../flow.ts';
import { isDead, type DeadLetter } from '../kernel/dead.ts';
import { rowsOf } from '../kernel/list.ts';
import { metersOf } from '../kernel/meters.ts';
import type { Head } from '../kernel/park.ts';
import type { Kernel, Reply } from '../kernel/service.ts';

/**
 * METRICS: what this process has counted, and what lies in the store: the outbox, dead letters, parked keys, stuck messages.
 *
 * - The store is looked into when somebody asks, at most once in `freshSeconds` however many ask, by prefix queries over the known shards, and only until `rowsMax` rows of a
 *   kind have been read or `secondsMax` are over. `anyport_scan_complete` is 0 when that was too little: then the numbers are what is there at the least.
 * - A store that does not answer makes `anyport_scan_success` 0, and its numbers are absent: nothing is told as none. Everything else is told all the same.
 * - Of streams it is told how old the eldest event is that a reader of this process has still to handle. How many there are behind it only the broker could say, not on every
 *   family, and not without disturbing the readers; so that is not told. A partition that another process reads is told by that one.
 */
export async function metrics(kernel: Kernel): Promise<Reply> {
  return { status: 200, text: exposition(await gathered(kernel)), type: metricsType };
}

export async function gathered(kernel: Kernel): Promise<Family[]> {
  const { requests, handled, delays, steps } = metersOf(kernel);
  return [...(await scanned(kernel)), ...readers(kernel), ...[steps, delays, handled, requests].map((each) => each.family())];
}

// ---------------------------------------------------------------- readers of streams

function readers(kernel: Kernel): Family[] {
  const now = kernel.clock.now();
  const found = [...metersOf(kernel).readings.values()];
  const tell = (value: (each: (typeof found)[number]) => number) =>
    found.map((each) => ({ labels: { consumer: each.consumer, stream: each.stream, partition: each.partition }, value: value(each) }));
  return [
    gauge('anyport_stream_lag_seconds', 'Age of the eldest event that has been read and is not handled; 0: none', tell((each) => ageOf(each.unhandled().eldest, now))),
    gauge('anyport_stream_unhandled_events', 'Events that have been read and are not handled; at most a few hundred, however many are behind them', tell((each) => each.unhandled().events)),
    gauge('anyport_stream_read_age_seconds', 'Time since the broker last answered the reader', tell((each) => Math.max(0, now - each.readAt()) / 1_000)),
  ];
}

const ageOf = (time: string | undefined, now: number): number => (time === undefined ? 0 : Math.max(0, now - Date.parse(time)) / 1_000 || 0);

// ---------------------------------------------------------------- what lies in the store

const freshSeconds = 15;
const rowsMax = 5_000;
const secondsMax = 10;
const partitionsAtOnce = 16;

/** What lies in the store and waits; what did not answer is absent. */
export interface Waiting {
  readonly outbox?: Outbox;
  /** By queue. */
  readonly dead?: ReadonlyMap<string, number>;
  /** By `consumer stream`. */
  readonly parked?: ReadonlyMap<string, number>;
  readonly looked: readonly Looked[];
}
interface Outbox {
  waiting: number;
  stuck: number;
  /** Milliseconds since 1970; Infinity: none. */
  eldest: number;
  /** What is not on its channel yet; a message of two roads counts on both. */
  readonly channels: Map<string, { waiting: number; stuck: number }>;
}
interface Scan {
  readonly at: number;
  readonly found: Promise<Waiting>;
}
const scans = new WeakMap<Kernel['store'], Scan>();

const scanned = async (kernel: Kernel): Promise<Family[]> => waitingFamilies(await whatWaits(kernel), kernel.clock.now());

/** Not older than so many seconds. */
export function whatWaits(kernel: Kernel, seconds = freshSeconds): Promise<Waiting> {
  const known = scans.get(kernel.store);
  if (known && kernel.clock.now() - known.at < seconds * 1_000) return known.found;
  const found = scan(kernel);
  scans.set(kernel.store, { at: kernel.clock.now(), found });
  found.catch(() => scans.delete(kernel.store)); // a defect is shown, not kept
  return found;
}

async function scan(kernel: Kernel): Promise<Waiting> {
  const until = kernel.clock.now() + secondsMax * 1_000;
  const look = (of: string, partitions: readonly string[], see: (row: Row<never>) => void): Promise<Looked> => lookAt(kernel, { of, partitions, until, see });
  const outbox: Outbox = { waiting: 0, stuck: 0, eldest: Infinity, channels: new Map() };
  // Where there is none it is said so, for an alarm cannot look at what is absent.
  const dead = new Map(queues.map((queue) => [queue, 0]));
  const parked = new Map(subscriptions.filter(({ kind }) => kind === 'stream').map(({ service, channel }) => [`${service} ${channel}`, 0]));
  const looked = await Promise.all([
    look('outbox', speaking.flatMap(partitionsOf), ({ body }: Row<OutboxBody>) => {
      for (const { channel } of body.roads) countOn(outbox, channel, body.stuck === undefined ? 'waiting' : 'stuck');
      if (body.stuck !== undefined) return void outbox.stuck++;
      outbox.waiting++;
      outbox.eldest = Math.min(outbox.eldest, body.at);
    }),
    look('dead', partitionsOf(collections.dead), ({ body }: Row<DeadLetter>) => isDead(body) && count(dead, body.channel)),
    look('parked', partitionsOf(collections.consumers), ({ body }: Row<Head>) => count(parked, `${body.consumer} ${body.stream}`)),
  ]);
  const [ofOutbox, ofDead, ofParked] = looked.map(({ answered }) => answered);
  return { ...(ofOutbox ? { outbox } : {}), ...(ofDead ? { dead } : {}), ...(ofParked ? { parked } : {}), looked };
}

function countOn({ channels }: Outbox, channel: string, what: 'waiting' | 'stuck'): void {
  const counts = channels.get(channel) ?? { waiting: 0, stuck: 0 };
  counts[what]++;
  channels.set(channel, counts);
}

function waitingFamilies({ outbox, dead, parked, looked }: Waiting, now: number): Family[] {
  return [
    gauge('anyport_scan_success', 'Whether the store answered when it was last looked into', looked.map(({ of, answered }) => ({ labels: { of }, value: answered ? 1 : 0 }))),
    gauge('anyport_scan_complete', 'Whether everything was seen; 0: the numbers are what is there at the least', looked.map(({ of, answered, complete }) => ({ labels: { of }, value: answered && complete ? 1 : 0 }))),
    ...(outbox ? outboxFamilies(outbox, now) : []),
    ...(dead ? [gauge('anyport_dead_letters', 'Messages of a queue that nobody could handle and that wait for a person', counted(dead, ([queue = '']) => ({ queue })))] : []),
    ...(parked ? [gauge('anyport_parked_keys', 'Keys of a stream that are set aside for a consumer', counted(parked, ([consumer = '', stream = '']) => ({ consumer, stream })))] : []),
  ];
}

function outboxFamilies({ waiting, stuck, eldest }: Outbox, now: number): Family[] {
  return [
    gauge('anyport_outbox_messages', 'Messages that are committed and not yet passed on to all their channels', [{ labels: {}, value: waiting }]),
    gauge('anyport_outbox_oldest_seconds', 'Age of the eldest of them', [{ labels: {}, value: waiting === 0 ? 0 : Math.max(0, now - eldest) / 1_000 }]),
    gauge('anyport_stuck_messages', 'Messages that no channel will take and that wait for a person', [{ labels: {}, value: stuck }]),
  ];
}

const count = (counts: Map<string, number>, name: string): void => void counts.set(name, (counts.get(name) ?? 0) + 1);

const counted = (counts: ReadonlyMap<string, number>, labels: (parts: string[]) => Labels) => [...counts].map(([name, value]) => ({ labels: labels(name.split(' ')), value }));

export interface Look {
  /** The first part of the rows' keys, and what they are called. */
  readonly of: string;
  readonly partitions: readonly string[];
  /** Milliseconds since 1970. */
  readonly until: number;
  readonly see: (row: Row<never>) => void;
  /** At the most. */
  readonly rows?: number;
}
export interface Looked {
  readonly of: string;
  readonly answered: boolean;
  readonly complete: boolean;
}

export async function lookAt({ store, clock, log }: Kernel, { of, partitions, until, see, rows = rowsMax }: Look): Promise<Looked> {
  let left = rows;
  const isOver = (): boolean => left <= 0 || clock.now() >= until;
  const rest = partitions.values();
  async function worker(): Promise<void> {
    for (const partition of rest) {
      if (isOver()) return;
      for await (const row of rowsOf<never>(store, partition, key(of, ''))) {
        if (left-- <= 0) return;
        see(row);
      }
    }
  }
  try {
    await Promise.all(Array.from({ length: partitionsAtOnce }, worker));
    return { of, answered: true, complete: !isOver() };
  } catch (error) {
    if (!isTransient(error)) throw error;
    log.warn({ error, of }, 'the metrics could not look into the store');
    return { of, answered: false, complete: false };
  }
}
