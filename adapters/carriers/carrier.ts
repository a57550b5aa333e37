import { createHash } from 'node:crypto';
import {
  PortError, create, isPortError, isTransient, key, must, openStore, partitionOf, partitionsOf, partsOf, remove, timestamp,
  type Booking, type BookingRequest, type Carrier, type Clock, type Collection, type Row, type Store, type StoreDriver,
} from '../../ports/index.ts';
import { writers, type FormatName } from './index.ts';

/**
 * DEMO CARRIER: takes parcels and, some seconds later, says over the webhook that they have been delivered, signed, in any of the known formats.
 *
 * It stands for an outside party, so it has a memory of its own and shares nothing with the shop but the wire.
 * - The tracking number comes from the order id alone: booking an order again is the same parcel, however often and whenever.
 * - A notice is said until the shop answers 2xx, at growing intervals and forever. It may be said twice; both have the same id and the same words.
 * - Rows: `parcel|<number>` for every parcel ever booked, `due|<time>|<number>` for every notice not yet taken.
 */
export interface DemoCarrier extends Carrier {
  /**
   * Says what is due by the clock and resolves with the number of notices taken. While one runs, a second call joins it.
   * Throws the store's errors; nothing is lost by them.
   */
  tick(): Promise<number>;
}

/** Hands a notice over and resolves with the HTTP status. Rejects with `unavailable` when there was no answer. */
export type Post = (path: string, headers: Readonly<Record<string, string>>, body: Uint8Array) => Promise<number>;

export interface DemoCarrierOptions {
  readonly store: StoreDriver;
  readonly clock: Pick<Clock, 'now'>;
  readonly speaks: FormatName;
  /** The webhook secret of the format that it speaks. */
  readonly secret: string;
  /** 0: never. */
  readonly deliversAfterSeconds: number;
  readonly post: Post;
  /** Where its parcels can be looked up, without a slash at the end; bookings have no link without it. */
  readonly trackingUrl?: string;
}

interface Due {
  /** RFC 3339: when it was delivered, whenever the shop gets to know. */
  readonly at: string;
  readonly attempts: number;
  /** Of the booking: its notice belongs to the same trace. */
  readonly traceparent?: string;
}
interface DueRow {
  readonly partition: string;
  readonly row: Row<Due>;
}

const collection: Collection = { name: 'democarrier', shards: 4 };
const carrierName = 'demo';
const noticesAtOnce = 256;
const postsAtOnce = 64;
const retryMilliseconds = { first: 1_000, most: 60_000 };
const postMillisecondsMax = 5_000;

export function demoCarrier(options: DemoCarrierOptions): DemoCarrier {
  must(options.secret !== '', 'the demo carrier signs with a secret');
  must(options.deliversAfterSeconds >= 0, 'a parcel arrives after it was sent');
  const store = openStore(options.store);
  let running: Promise<number> | undefined;
  return {
    book: (request) => book(store, options, request),
    async find(orderId) {
      const number = numberOf(orderId);
      const found = await store.get(partitionOf(collection, number), key('parcel', number));
      return found ? booking(options, number) : 'none';
    },
    tick() {
      running ??= deliver(store, options).finally(() => (running = undefined));
      return running;
    },
  };
}

/** Order ids cannot be guessed and open the order's page; so the number must not give them away. */
function numberOf(orderId: string): string {
  return `DP${createHash('sha256').update(orderId).digest('hex').slice(0, 18).toUpperCase()}`;
}

function booking({ trackingUrl }: DemoCarrierOptions, trackingNumber: string): Booking {
  return { carrier: carrierName, trackingNumber, ...(trackingUrl === undefined ? {} : { trackingUrl: `${trackingUrl}/${trackingNumber}` }) };
}

async function book(store: Store, options: DemoCarrierOptions, { orderId, traceparent }: BookingRequest): Promise<Booking> {
  const number = numberOf(orderId);
  const at = timestamp(options.clock.now() + options.deliversAfterSeconds * 1000);
  const due: Due = { at, attempts: 0, ...(traceparent === undefined ? {} : { traceparent }) };
  const parcel = create(key('parcel', number), {});
  const writes = options.deliversAfterSeconds === 0 ? [parcel] : [parcel, create(dueKey(at, number), due)];
  try {
    await store.commit(partitionOf(collection, number), { writes });
  } catch (error) {
    if (!isPortError(error, 'conflict')) throw error;
  }
  return booking(options, number);
}

const dueKey = (at: string, number: string): string => key('due', at, number);

/**
 * Every row is said once in a tick at most: afterwards it is gone, or due later than the tick's own time.
 * A shop that takes nothing is left alone until the next.
 */
async function deliver(store: Store, options: DemoCarrierOptions): Promise<number> {
  const now = options.clock.now();
  let taken = 0;
  for (;;) {
    const due = await dueRows(store, now);
    const some = await sayAll(store, options, due, now);
    taken += some;
    if (due.length < noticesAtOnce || some === 0) return taken;
  }
}

async function dueRows(store: Store, now: number): Promise<DueRow[]> {
  const shards = await Promise.all(partitionsOf(collection).map((partition) => dueIn(store, partition, timestamp(now))));
  return shards.flat().sort((a, b) => (a.row.key < b.row.key ? -1 : 1)).slice(0, noticesAtOnce);
}

async function dueIn(store: Store, partition: string, until: string): Promise<DueRow[]> {
  const found: DueRow[] = [];
  let cursor: string | undefined;
  do {
    const page = await store.query<Due>(partition, { prefix: 'due|', limit: noticesAtOnce, ...(cursor === undefined ? {} : { cursor }) });
    for (const row of page.rows) {
      if (dueTime(row) > until || found.length === noticesAtOnce) return found;
      found.push({ partition, row });
    }
    cursor = page.next;
  } while (cursor !== undefined);
  return found;
}

const dueTime = (row: Row): string => partsOf(row.key)[1]!;

/** Goes on with the others when one fails, and then throws the first failure. */
async function sayAll(store: Store, options: DemoCarrierOptions, due: readonly DueRow[], now: number): Promise<number> {
  const rest = due.values();
  let taken = 0;
  const failures: unknown[] = [];
  const worker = async (): Promise<void> => {
    for (const each of rest) {
      try {
        if (await sayOne(store, options, each, now)) taken++;
      } catch (error) {
        failures.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(postsAtOnce, due.length) }, worker));
  if (failures.length > 0) throw failures[0];
  return taken;
}

async function sayOne(store: Store, options: DemoCarrierOptions, { partition, row }: DueRow, now: number): Promise<boolean> {
  const trackingNumber = partsOf(row.key)[2]!;
  const fact = { carrier: carrierName, trackingNumber, status: 'delivered', occurredAt: row.body.at, noticeId: `${trackingNumber}-delivered` } as const;
  const { path, headers, body } = writers[options.speaks](fact, options.secret, options.clock.now());
  const { traceparent } = row.body;
  const taken = await posted(options.post, path, traceparent === undefined ? headers : { ...headers, traceparent }, body);
  const later = timestamp(now + pause(row.body.attempts));
  const writes = taken ? [remove(row)] : [remove(row), create(dueKey(later, trackingNumber), { ...row.body, attempts: row.body.attempts + 1 })];
  try {
    await store.commit(partition, { writes });
  } catch (error) {
    // Somebody else has said it meanwhile, and has removed or moved the row.
    if (!isPortError(error, 'conflict')) throw error;
  }
  return taken;
}

async function posted(post: Post, ...notice: Parameters<Post>): Promise<boolean> {
  try {
    const status = await post(...notice);
    return status >= 200 && status < 300;
  } catch (error) {
    if (isTransient(error)) return false;
    throw error;
  }
}

function pause(attempts: number): number {
  return Math.min(retryMilliseconds.first * 2 ** Math.min(attempts, 20), retryMilliseconds.most);
}

/** Posts to the shop's webhook; `baseUrl` without a slash at the end. Redirections are not followed: a webhook that has moved has not taken the notice. */
export function httpPost(baseUrl: string): Post {
  return async (path, headers, body) => {
    try {
      const response = await fetch(`${baseUrl}/api/carriers/${path}/notices`, {
        method: 'POST', headers: { ...headers }, body, redirect: 'manual', signal: AbortSignal.timeout(postMillisecondsMax),
      });
      await response.body?.cancel();
      return response.status;
    } catch (cause) {
      throw new PortError('unavailable', `no answer from the webhook ${path}`, { cause });
    }
  };
}
