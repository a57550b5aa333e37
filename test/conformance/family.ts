import { expect } from 'chai';
import {
  isPortError, openQueue, openStore, openStream,
  type Batch, type Clock, type Message, type PortErrorKind, type Queue, type QueueDriver, type Received, type Row, type Store, type StoreDriver, type Stream, type StreamDriver, type StreamEvent,
} from '../../ports/index.ts';
import type { Place, Skips } from './case.ts';

/**
 * FAMILY: what a family of adapters tells of itself to be asked, and what all suites speak of: messages, rows, and how to get at them.
 *
 * The cases ask for what the contracts say and for nothing else: pages and batches may be short or empty, messages of a queue may come in any order.
 */
export interface Family {
  readonly name: string;
  readonly lockSeconds: number;
  /** Opens drivers on an empty world that has the queues and streams of `world`, two partitions a stream, and nothing else. */
  open(): Promise<Drivers>;
  /** Opens them anew on the same state, after the earlier ones have ended without a farewell. */
  restart(): Promise<Drivers>;
  close(): Promise<void>;
  /** By which the drivers that are open live. */
  clock(): Clock;
  /** Lets time pass, also for what is waiting. */
  pass(milliseconds: number): Promise<void>;
  /** Cuts the drivers that are open off from the world: from now on every call of theirs fails. `restart` ends it. */
  sever?(): Promise<void>;
  /** Puts a text on a queue or a stream as a stranger would: past the port. */
  plantQueue?(queue: string, text: string): Promise<void>;
  plantStream?(stream: string, partitionkey: string, text: string): Promise<void>;
  /** Makes everything that is on the streams now fall out of retention. Where only who goes on looking can know what he has missed, `look` is called meanwhile. */
  expire?(look?: () => Promise<unknown>): Promise<void>;
  readonly skips?: Skips;
}

export interface Drivers {
  readonly store: StoreDriver;
  readonly queue: QueueDriver;
  readonly stream: StreamDriver;
}

export const world = { queues: ['work', 'other'], streams: ['facts', 'more'], partitionsPerStream: 2, nowhere: 'nowhere' } as const;

/** A fresh world for every case, with the faces that core sees. */
export interface Setting extends Place {
  readonly store: Store;
  readonly queue: Queue;
  readonly stream: Stream;
  restart(): Promise<void>;
}

export function settingOf(family: Family): Setting {
  let drivers: Drivers;
  return {
    open: async () => void (drivers = await family.open()),
    close: () => family.close(),
    restart: async () => void (drivers = await family.restart()),
    get store() {
      return openStore(drivers.store);
    },
    get queue() {
      return openQueue(drivers.queue);
    },
    get stream() {
      return openStream(drivers.stream);
    },
  };
}

/** The error of this kind that the work ends with; anything else fails the test. */
export async function refusal(kind: PortErrorKind, work: Promise<unknown>): Promise<{ readonly key: string | undefined }> {
  const error: unknown = await work.then(() => undefined, (thrown: unknown) => thrown);
  if (isPortError(error, kind)) return error;
  throw new Error(`expected ${kind}, got ${error === undefined ? 'success' : String(error)}`, { cause: error });
}

/** The work ends with a failure that time heals, and with no answer. */
export async function failure(work: Promise<unknown>): Promise<void> {
  const answer: unknown = await work.then((value) => ({ value }), (thrown: unknown) => thrown);
  if (!isPortError(answer, 'throttled', 'unavailable')) throw new Error(`expected throttled or unavailable, got ${answer instanceof Error ? String(answer) : JSON.stringify(answer)}`, { cause: answer });
}

export function said(id: string, about: Partial<Message> = {}): Message {
  const subject = about.subject ?? 'a';
  return {
    specversion: '1.0', id, source: '/conformance', type: 'Happened', subject, time: '2026-11-20T09:00:00.000Z', partitionkey: subject,
    sequence: '0000000000', dataversion: '1', data: { id }, ...about,
  };
}

/** A message whose encoded form has exactly so many bytes. */
export function saidOfBytes(id: string, bytes: number, about: Partial<Message> = {}): Message {
  const bare = Buffer.byteLength(JSON.stringify(said(id, { ...about, data: '' })));
  return said(id, { ...about, data: 'x'.repeat(bytes - bare) });
}

export const bodyOfBytes = (bytes: number): string => 'x'.repeat(bytes - 2);

export async function allRows(store: Store, partition: string, prefix: string, options: { limit?: number; after?: string } = {}): Promise<Row[]> {
  const rows: Row[] = [];
  let cursor: string | undefined;
  let pages = 0;
  do {
    if (++pages > 20_000) throw new Error('the pages never end');
    const page = await store.query(partition, { prefix, ...options, ...(cursor === undefined ? {} : { cursor }) });
    rows.push(...page.rows);
    cursor = page.next;
  } while (cursor !== undefined);
  return rows;
}

export const keysOf = (rows: readonly Row[]): string[] => rows.map(({ key }) => key);

/** How often one looks again before one believes that there is nothing: an empty answer proves nothing. */
export const looksMax = 12;

/** Receives until there are `count`, or for a good many looks; unsettled. */
export async function take(queue: Queue, name: string, count: number): Promise<Received[]> {
  const taken: Received[] = [];
  for (let look = 0; look < looksMax && taken.length < count; look++) {
    taken.push(...(await queue.receive(name, { max: Math.min(256, count - taken.length), waitSeconds: 0 })));
  }
  return taken;
}

export async function takeOne(queue: Queue, name: string): Promise<Received> {
  const [received] = await take(queue, name, 1);
  if (!received) throw new Error('there is no message');
  return received;
}

export async function expectNone(queue: Queue, name: string): Promise<void> {
  for (let look = 0; look < 3; look++) expect(await queue.receive(name, { max: 10, waitSeconds: 0 })).to.deep.equal([]);
}

export const idsOf = (things: readonly { readonly message: Received['message'] }[]): string[] => things.map(({ message }) => ('malformed' in message ? 'malformed' : message.id));

/** Reads on from a position until several reads in a row have brought nothing. */
export async function readAll(stream: Stream, name: string, partition: string, after?: string): Promise<StreamEvent[]> {
  const events: StreamEvent[] = [];
  for (let dry = 0, reads = 0; dry < looksMax; reads++) {
    if (reads > 2_000) throw new Error('the stream never ends');
    const position = events.at(-1)?.position ?? after;
    const batch = await stream.read(name, partition, { max: 7, waitSeconds: 0, ...(position === undefined ? {} : { after: position }) });
    if ('gap' in batch) throw new Error('an unexpected gap');
    events.push(...batch.events);
    dry = batch.events.length === 0 ? dry + 1 : 0;
  }
  return events;
}

/** The first answer that says something: events or a gap. */
export async function answerOf(stream: Stream, name: string, partition: string, options: { after: string; waitSeconds: number }): Promise<Batch> {
  for (let look = 0; look < looksMax; look++) {
    const batch = await stream.read(name, partition, { max: 10, ...options });
    if ('gap' in batch || batch.events.length > 0) return batch;
  }
  return { events: [] };
}

/** The partition on which a key travels, found by trying. */
export async function partitionWith(stream: Stream, name: string, partitionkey: string): Promise<string> {
  for (const partition of await stream.partitions(name)) {
    if ((await readAll(stream, name, partition)).some((event) => event.partitionkey === partitionkey)) return partition;
  }
  throw new Error(`no partition of ${name} has ${partitionkey}`);
}

/** The answer of a wait that has to be over: one that is not would otherwise hang until the test's own time is over, and say nothing. */
export async function nowFrom<Answer>(waiting: Promise<Answer>): Promise<Answer> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('it still waits')), 4_000);
  });
  return Promise.race([waiting, late]).finally(() => clearTimeout(timer));
}
