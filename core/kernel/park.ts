import {
  create, isPortError, key, partitionOf, partitionsOf, remove, replace, timestamp,
  type Row, type StreamEvent, type Write, isMalformed, isTransient,
} from '../../ports/index.ts';
import { collections } from '../flow.ts';
import { handle, reasonOf } from './receive.ts';
import type { AnyService, Kernel } from './service.ts';

/**
 * PARKING: an event that keeps failing by its own fault is set aside for its consumer, together with the later events of the same key, so that the rest of the
 * partition moves on. Replay is in order.
 *
 * One head row per (consumer, stream, key), beside its list in one partition. Parking and releasing replace the head, and the head is deleted only at the version
 * at which the list was empty: so an event that comes in meanwhile is either parked behind the others or handled after them, never between.
 */

interface Head {
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
  readonly at: string;
}

type Item = StreamEvent;

const retryAfterSeconds = [5, 30, 120, 600, 3_600];

export interface ParkedKey extends Head {
  readonly items: number;
}

const place = (consumer: string, partitionkey: string): string => partitionOf(collections.consumers, `${consumer} ${partitionkey}`);
const headKey = (consumer: string, stream: string, partitionkey: string): string => key('parked', consumer, stream, partitionkey);
const itemKey = (consumer: string, stream: string, partitionkey: string, n: number): string => key('item', consumer, stream, partitionkey, String(n).padStart(10, '0'));

/** Handles one event of a stream, or parks it. Throws only transient failures: then the partition has to stand. */
export async function receiveEvent(kernel: Kernel, service: AnyService, stream: string, event: StreamEvent): Promise<void> {
  if (!isMalformed(event.message) && !(event.message.type in service.hears)) return;
  const head = await kernel.store.get<Head>(place(service.name, event.partitionkey), headKey(service.name, stream, event.partitionkey));
  if (head) return park(kernel, service, stream, event, head.body.reason);
  try {
    if (isMalformed(event.message)) return await park(kernel, service, stream, event, `malformed: ${event.message.malformed}`);
    await handle(kernel, service, event.message);
  } catch (error) {
    if (isTransient(error)) throw error;
    kernel.log.error({ error, service: service.name, stream, key: event.partitionkey }, 'an event of a stream is parked');
    await park(kernel, service, stream, event, reasonOf(error));
  }
}

export async function park(kernel: Kernel, service: AnyService, stream: string, event: StreamEvent, reason: string): Promise<void> {
  const partition = place(service.name, event.partitionkey);
  for (;;) {
    const head = await kernel.store.get<Head>(partition, headKey(service.name, stream, event.partitionkey));
    const now = kernel.clock.now();
    const first: Head = { consumer: service.name, stream, partitionkey: event.partitionkey, reason, next: 0, attempts: 0, notBefore: now + retryAfterSeconds[0]! * 1_000, at: timestamp(now) };
    const body = head?.body ?? first;
    const writes: Write[] = [
      head ? replace(head, { ...body, next: body.next + 1 }) : create(headKey(service.name, stream, event.partitionkey), { ...body, next: 1 }),
      create(itemKey(service.name, stream, event.partitionkey, body.next), event satisfies Item),
    ];
    if (await committed(kernel, partition, writes)) return;
  }
}

/** Tries parked keys whose time has come, or one key at once. Answers how many keys are free again. */
export async function retryParked(kernel: Kernel, services: readonly AnyService[], only?: { consumer: string; partitionkey: string }): Promise<number> {
  let freed = 0;
  for (const partition of only ? [place(only.consumer, only.partitionkey)] : partitionsOf(collections.consumers)) {
    for (const head of await heads(kernel, partition)) {
      const service = services.find(({ name }) => name === head.body.consumer);
      const asked = only !== undefined && head.body.consumer === only.consumer && head.body.partitionkey === only.partitionkey;
      if (service && (asked || (!only && head.body.notBefore <= kernel.clock.now())) && (await release(kernel, service, partition, head))) freed++;
    }
  }
  return freed;
}

export async function parkedKeys(kernel: Kernel): Promise<ParkedKey[]> {
  const found: ParkedKey[] = [];
  for (const partition of partitionsOf(collections.consumers)) {
    for (const { body } of await heads(kernel, partition)) {
      const items = await kernel.store.query(partition, { prefix: key('item', body.consumer, body.stream, body.partitionkey, ''), limit: 1000 });
      found.push({ ...body, items: items.rows.length });
    }
  }
  return found;
}

async function heads(kernel: Kernel, partition: string): Promise<Row<Head>[]> {
  const found: Row<Head>[] = [];
  let cursor: string | undefined;
  do {
    const page = await kernel.store.query<Head>(partition, { prefix: 'parked|', limit: 200, ...(cursor === undefined ? {} : { cursor }) });
    found.push(...page.rows);
    cursor = page.next;
  } while (cursor !== undefined);
  return found;
}

/** Replays the list in order until it is empty, or until one fails again. */
async function release(kernel: Kernel, service: AnyService, partition: string, found: Row<Head>): Promise<boolean> {
  const { stream, partitionkey } = found.body;
  const prefix = key('item', service.name, stream, partitionkey, '');
  for (;;) {
    const head = await kernel.store.get<Head>(partition, found.key);
    if (!head) return true;
    const item = await firstRow<Item>(kernel, partition, prefix);
    if (!item) {
      if (await committed(kernel, partition, [remove(head)])) return true;
      continue;
    }
    try {
      if (isMalformed(item.body.message)) throw new Error(`malformed: ${item.body.message.malformed}`);
      await handle(kernel, service, item.body.message);
    } catch (error) {
      const attempts = head.body.attempts + 1;
      const wait = retryAfterSeconds[Math.min(attempts, retryAfterSeconds.length - 1)]!;
      await committed(kernel, partition, [replace(head, { ...head.body, attempts, reason: reasonOf(error), notBefore: kernel.clock.now() + wait * 1_000 })]);
      return false;
    }
    await committed(kernel, partition, [replace(head, { ...head.body, attempts: 0 }), remove(item)]);
  }
}

/** A page may be empty and still have a next. */
async function firstRow<Body>(kernel: Kernel, partition: string, prefix: string): Promise<Row<Body> | undefined> {
  let cursor: string | undefined;
  do {
    const page = await kernel.store.query<Body>(partition, { prefix, limit: 1, ...(cursor === undefined ? {} : { cursor }) });
    if (page.rows[0]) return page.rows[0];
    cursor = page.next;
  } while (cursor !== undefined);
  return undefined;
}

async function committed(kernel: Kernel, partition: string, writes: Write[]): Promise<boolean> {
  try {
    await kernel.store.commit(partition, { writes });
    return true;
  } catch (error) {
    if (isPortError(error, 'conflict')) return false;
    throw error;
  }
}
