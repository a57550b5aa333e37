import {
  create, isMalformed, isPortError, isTransient, key, partitionOf, partitionsOf, partsOf, refuse, remove, replace, timestamp,
  type Refusal, type Row, type StreamEvent, type Write,
} from '../../ports/index.ts';
import { collections } from '../flow.ts';
import { backOff } from './execute.ts';
import { keepable, keyPart, reasonOf, renewed } from './dead.ts';
import { changedMeanwhile, eachOf, findings, rowsOf, type Finding } from './list.ts';
import type { AnyService, Kernel } from './service.ts';
import { handleInTime } from './watch.ts';

/**
 * PARKING: an event that keeps failing by its own fault is set aside for its consumer, together with the later events of the same key, so that the rest of the
 * partition moves on. Replay is in order.
 *
 * One head row per (consumer, stream, key), beside its list in one partition. Parking and releasing replace the head, and the head is deleted only at the version
 * at which the list was empty: so an event that comes in meanwhile is either parked behind the others or handled after them, never between.
 *
 * Parked keys try themselves again, at growing intervals. A try is written down before it begins: so one that ends with the process is known, and after the third
 * such end only a person tries again.
 */

/** The row of a parked key. */
export interface Head {
  readonly consumer: string;
  readonly stream: string;
  readonly partitionkey: string;
  /** Why the first one was parked. */
  readonly reason: string;
  /** Of the next item. */
  readonly next: number;
  readonly attempts: number;
  /** Milliseconds since 1970: when the key tries itself again. */
  readonly notBefore: number;
  /** Tries that ended with the process. */
  readonly deaths: number;
  /** Of the latest try. */
  readonly tryId?: string;
  readonly at: string;
}

export type Item = StreamEvent;

const retryAfterSeconds = [5, 30, 120, 600, 3_600];
const waitAfter = (attempts: number): number => retryAfterSeconds[Math.min(attempts, retryAfterSeconds.length - 1)]! * 1_000;
export const deathsMax = 3;

export interface ParkedKey extends Head {
  readonly id: string;
  readonly items: number;
  readonly found: Finding<Head>;
}

const place = (consumer: string, partitionkey: string): string => partitionOf(collections.consumers, `${consumer} ${partitionkey}`);
const headKey = (consumer: string, stream: string, partitionkey: string): string => key('parked', consumer, stream, keyPart(partitionkey));
const itemKey = (consumer: string, stream: string, partitionkey: string, n: number): string =>
  itemPrefix(consumer, stream, partitionkey) + String(n).padStart(10, '0');
const itemPrefix = (consumer: string, stream: string, partitionkey: string): string => key('item', consumer, stream, keyPart(partitionkey), '');

/** Handles one event of a stream, or parks it. Throws only transient failures: then the partition has to stand. */
export async function receiveEvent(kernel: Kernel, service: AnyService, stream: string, event: StreamEvent): Promise<void> {
  if (!isMalformed(event.message) && !(event.message.type in service.hears)) return;
  const head = await kernel.store.get<Head>(place(service.name, event.partitionkey), headKey(service.name, stream, event.partitionkey));
  if (head) return park(kernel, service, stream, event, head.body.reason);
  try {
    if (isMalformed(event.message)) return await park(kernel, service, stream, event, `malformed: ${event.message.malformed}`);
    await handleInTime(kernel, service, event.message, { channel: stream });
  } catch (error) {
    if (isTransient(error)) throw error;
    kernel.log.error({ error, service: service.name, stream, key: event.partitionkey }, 'an event of a stream is parked');
    await park(kernel, service, stream, event, reasonOf(error));
  }
}

/** With `deaths` that are known already: how often the process ended while this event was handled. */
export async function park(kernel: Kernel, service: AnyService, stream: string, event: StreamEvent, reason: string, deaths = 0): Promise<void> {
  const partition = place(service.name, event.partitionkey);
  for (let attempt = 1; ; attempt++) {
    const head = await kernel.store.get<Head>(partition, headKey(service.name, stream, event.partitionkey));
    const now = kernel.clock.now();
    const first: Head = {
      consumer: service.name, stream, partitionkey: event.partitionkey, reason, next: 0, attempts: 0, notBefore: now + waitAfter(0), deaths, at: timestamp(now),
    };
    const body = head?.body ?? first;
    const writes: Write[] = [
      head ? replace(head, { ...body, next: body.next + 1 }) : create(headKey(service.name, stream, event.partitionkey), { ...body, next: 1 }),
      create(itemKey(service.name, stream, event.partitionkey, body.next), { ...event, message: keepable(event.message) } satisfies Item),
    ];
    if (await committed(kernel, partition, writes)) return;
    await backOff(kernel, attempt, { kind: 'conflict' });
  }
}

/** Tries parked keys whose time has come, or one key at once. Answers how many keys are free again. */
export async function retryParked(kernel: Kernel, services: readonly AnyService[], only?: { consumer: string; partitionkey: string }): Promise<number> {
  let freed = 0;
  await eachOf(only ? [place(only.consumer, only.partitionkey)] : partitionsOf(collections.consumers), async (partition) => {
    for (const head of await heads(kernel, partition)) {
      const service = services.find(({ name }) => name === head.body.consumer);
      const wanted = only ? head.body.consumer === only.consumer && head.body.partitionkey === only.partitionkey : isDue(head.body, kernel.clock.now());
      if (service && wanted && (await release(kernel, service, partition, head))) freed++;
    }
  });
  return freed;
}

const isDue = ({ notBefore, deaths }: Head, now: number): boolean => notBefore <= now && deaths < deathsMax;

async function heads(kernel: Kernel, partition: string): Promise<Row<Head>[]> {
  const found: Row<Head>[] = [];
  for await (const row of rowsOf<Head>(kernel.store, partition, key('parked', ''))) found.push(row);
  return found;
}

// ---------------------------------------------------------------- what a person sees and does

/** The keys that are parked, wherever, and how many events each has. */
export async function parkedKeys(kernel: Kernel): Promise<ParkedKey[]> {
  const heads = await findings<Head>(kernel.store, partitionsOf(collections.consumers), key('parked', ''));
  return Promise.all(heads.map(async (found) => ({ ...found.body, id: found.id, items: await countItems(kernel, found), found })));
}

async function countItems(kernel: Kernel, { partition, body }: Finding<Head>): Promise<number> {
  let items = 0;
  for await (const _ of rowsOf(kernel.store, partition, itemPrefix(body.consumer, body.stream, body.partitionkey), 1_000)) items++;
  return items;
}

/** Whether a key is parked for a listener, and why. */
export async function parkedHead(kernel: Kernel, consumer: string, stream: string, partitionkey: string): Promise<Head | undefined> {
  return (await kernel.store.get<Head>(place(consumer, partitionkey), headKey(consumer, stream, partitionkey)))?.body;
}

/** What is parked of a key, in order, `max` at most. */
export async function parkedItems(kernel: Kernel, consumer: string, stream: string, partitionkey: string, max: number): Promise<Row<Item>[]> {
  const found: Row<Item>[] = [];
  for await (const row of rowsOf<Item>(kernel.store, place(consumer, partitionkey), itemPrefix(consumer, stream, partitionkey), Math.min(max, 100))) {
    found.push(row);
    if (found.length === max) break;
  }
  return found;
}

/** Events of this key that a person has dropped, in the order in which they were dropped. */
export async function droppedItems(kernel: Kernel, consumer: string, stream: string, partitionkey: string): Promise<Dropped[]> {
  const found: Dropped[] = [];
  const prefix = key('dropped', consumer, stream, keyPart(partitionkey), '');
  for await (const { body } of rowsOf<Dropped>(kernel.store, place(consumer, partitionkey), prefix)) found.push(body);
  return found;
}

export interface Dropped {
  readonly message: Item['message'];
  /** RFC 3339. */
  readonly at: string;
  readonly why: string;
}

const itemsAtOnce = 90;

/** The key's time has come at once, whatever it has been through; the timer tries it. Events beyond the horizon get a fresh id, or they would only be refused again. */
export async function retryNow(kernel: Kernel, { partition, ...head }: Finding<Head>): Promise<Refusal | undefined> {
  const { consumer, stream, partitionkey } = head.body;
  const items = await parkedItems(kernel, consumer, stream, partitionkey, itemsAtOnce);
  const fresh = items.flatMap((item) => {
    if (isMalformed(item.body.message)) return [];
    const message = renewed(kernel, item.body.message);
    return message === item.body.message ? [] : [replace(item, { ...item.body, message })];
  });
  try {
    await kernel.store.commit(partition, { writes: [replace(head, { ...head.body, notBefore: 0, deaths: 0 }), ...fresh] });
    return undefined;
  } catch (error) {
    return changedMeanwhile(error);
  }
}

/**
 * A person has decided that the first of its events is not to be handled: the others go on without it, in order. It is kept, as dropped. `first`: the id of the one
 * that is meant. While the answer of the store is lost it is asked again, for who repeats this in doubt would drop the next one, too.
 */
export async function dropFirst(kernel: Kernel, { partition, ...head }: Finding<Head>, { why, first: meant }: { why?: string | undefined; first?: string | undefined }): Promise<Refusal | undefined> {
  const { consumer, stream, partitionkey, reason } = head.body;
  const [first] = await parkedItems(kernel, consumer, stream, partitionkey, 1);
  if (meant !== undefined && (!first || isMalformed(first.body.message) || first.body.message.id !== meant)) return refuse(409, 'another-one', 'the first of its events is another one now; look again');
  const now = kernel.clock.now();
  const next: Head = { ...head.body, reason: `the one before was dropped: ${reason}`.slice(0, 1_000), attempts: 0, deaths: 0, notBefore: 0 };
  const droppedKey = key('dropped', consumer, stream, keyPart(partitionkey), `${now}`, partsOf(first?.key ?? '').at(-1)!);
  const writes: Write[] = [replace(head, next)];
  if (first) writes.push(remove(first), create(droppedKey, { message: first.body.message, at: timestamp(now), why: why ?? reason } satisfies Dropped));
  if (await committed(kernel, partition, writes)) return undefined;
  return (await kernel.store.get(partition, droppedKey)) ? undefined : refuse(409, 'changed-meanwhile', 'it has changed meanwhile; look again');
}

// ---------------------------------------------------------------- trying again

/** Replays the list in order until it is empty, or until one fails again. */
async function release(kernel: Kernel, service: AnyService, partition: string, found: Row<Head>): Promise<boolean> {
  const { stream, partitionkey } = found.body;
  let { deaths } = found.body;
  const prefix = itemPrefix(service.name, stream, partitionkey);
  for (;;) {
    const head = await kernel.store.get<Head>(partition, found.key);
    if (!head) return true;
    const { value: item } = await rowsOf<Item>(kernel.store, partition, prefix, 1).next();
    if (!item) {
      if (await committed(kernel, partition, [remove(head)])) return true;
      continue;
    }
    const notBefore = kernel.clock.now() + waitAfter(head.body.attempts + 1);
    const trying = await begin(kernel, partition, head, { ...head.body, deaths: deaths + 1, notBefore, tryId: kernel.ids.random() });
    if (!trying) return false; // somebody else tries, or one more has been parked: the next round will see
    try {
      if (isMalformed(item.body.message)) throw new Error(`malformed: ${item.body.message.malformed}`);
      await handleInTime(kernel, service, item.body.message, { channel: stream });
    } catch (error) {
      const blamed = { reason: reasonOf(error), attempts: head.body.attempts + 1, deaths: 0 };
      await note(kernel, partition, found.key, isTransient(error) ? { deaths, notBefore: head.body.notBefore } : blamed);
      return false;
    }
    deaths = 0;
    await committed(kernel, partition, [replace(trying, { ...head.body, attempts: 0, deaths, notBefore }), remove(item)]);
  }
}

/** Writes a try down. By its id we know it again when the answer got lost: else it would look like one that ended with the process. */
async function begin(kernel: Kernel, partition: string, head: Row<Head>, body: Head): Promise<Row<Head> | undefined> {
  const versions = await committed(kernel, partition, [replace(head, body)]);
  if (versions) return { key: head.key, version: versions[0]!, body };
  const found = await kernel.store.get<Head>(partition, head.key);
  return found?.body.tryId === body.tryId ? found : undefined;
}

async function note(kernel: Kernel, partition: string, rowKey: string, news: Partial<Head>): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const head = await kernel.store.get<Head>(partition, rowKey);
    if (!head || (await committed(kernel, partition, [replace(head, { ...head.body, ...news })]))) return;
    await backOff(kernel, attempt, { kind: 'conflict' });
  }
}

const triesMax = 5;

/** The new versions; `undefined` after a conflict. A store that is sick for a moment does not look like a process that ended. */
async function committed(kernel: Kernel, partition: string, writes: Write[]): Promise<readonly string[] | undefined> {
  for (let attempt = 1; ; attempt++) {
    try {
      return (await kernel.store.commit(partition, { writes })).versions;
    } catch (error) {
      if (isPortError(error, 'conflict')) return undefined;
      if (!isTransient(error) || attempt === triesMax) throw error;
      await backOff(kernel, attempt, error);
    }
  }
}
