import { partitionsOf, timestamp, type Row } from '../../ports/index.ts';
import { collections, subscriptions } from '../flow.ts';
import type { Document } from '../kernel/execute.ts';
import { metersOf } from '../kernel/meters.ts';
import type { Kernel } from '../kernel/service.ts';
import type { Letters } from '../notification/letters.ts';
import { statusOf, type Order } from '../order/order.ts';
import { troubleOf, type Shipment } from '../shipping/shipment.ts';
import type { PulseView, Span } from './events.ts';
import { lookAt, whatWaits, type Look, type Looked } from './metrics.ts';

/**
 * THE PULSE: how the shop is at this moment, and how it has been in the last minutes, hours or days. It is read off the store: from the times that the orders themselves carry,
 * and from what waits somewhere. So it needs no history of its own, and is the same on every family and whichever process answers, also where a process lives for one request.
 *
 * - What waits is looked for at most every `freshSeconds`; orders, letters and shipments every `slowSeconds`. Of each no more than `rowsMax` are read, and for no longer than
 *   `secondsMax`. Ids are random, so what is read of a larger shop is a fair sample of it; `complete` says so.
 * - What only a process knows (how far its readers are, what it has handled) is told of the one that answers.
 */
const freshSeconds = 3;
const slowSeconds = 10;
const rowsMax = 10_000;
const secondsMax = 5;

export async function pulseOf(kernel: Kernel, span: Span): Promise<PulseView> {
  const [waits, books] = await Promise.all([whatWaits(kernel, freshSeconds), booksOf(kernel)]);
  const now = kernel.clock.now();
  const { outbox, dead, parked, looked } = waits;
  return {
    at: timestamp(now),
    looked: [...looked, ...books.looked],
    ...(outbox ? { outbox: { waiting: outbox.waiting, stuck: outbox.stuck, oldestSeconds: outbox.waiting === 0 ? 0 : Math.max(0, now - outbox.eldest) / 1_000, channels: Object.fromEntries(outbox.channels) } } : {}),
    ...(dead ? { dead: [...dead].map(([channel, letters]) => ({ service: listenerOf(channel), channel, letters })) } : {}),
    ...(parked ? { parked: [...parked].map(([at, keys]) => ({ ...placeOf(at), keys })) } : {}),
    readers: readersOf(kernel, now),
    handled: handledBy(kernel),
    ...(books.orders ? { orders: ordersNow(books.orders, now), pace: paceOf(books.orders, span, now) } : {}),
    ...(books.letters ? { letters: Object.fromEntries(books.letters) } : {}),
    ...(books.bookings ? { bookings: Object.fromEntries(books.bookings) } : {}),
  };
}

const placeOf = (at: string): { service: string; channel: string } => {
  const [service = '', channel = ''] = at.split(' ');
  return { service, channel };
};
const listenerOf = (queue: string): string => subscriptions.find(({ channel }) => channel === queue)?.service ?? '';

// ---------------------------------------------------------------- orders, letters and shipments

type Times = Order['at'];
interface Books {
  readonly orders?: readonly { readonly status: string; readonly at: Times }[];
  readonly letters?: ReadonlyMap<string, number>;
  readonly bookings?: ReadonlyMap<string, number>;
  readonly looked: readonly Looked[];
}
interface Kept {
  readonly at: number;
  readonly books: Promise<Books>;
}
const kept = new WeakMap<Kernel['store'], Kept>();

function booksOf(kernel: Kernel): Promise<Books> {
  const known = kept.get(kernel.store);
  if (known && kernel.clock.now() - known.at < slowSeconds * 1_000) return known.books;
  const books = readBooks(kernel);
  kept.set(kernel.store, { at: kernel.clock.now(), books });
  books.catch(() => kept.delete(kernel.store)); // a defect is shown, not kept
  return books;
}

async function readBooks(kernel: Kernel): Promise<Books> {
  const until = kernel.clock.now() + secondsMax * 1_000;
  const orders: { status: string; at: Times }[] = [];
  const letters = new Map([['waiting', 0], ['uncertain', 0], ['refused', 0]]);
  const bookings = new Map([['uncertain', 0], ['refused', 0], ['leftOver', 0]]);
  const look = (wanted: Omit<Look, 'until' | 'rows'>): Promise<Looked> => lookCarefully(kernel, { ...wanted, until, rows: rowsMax });
  const looked = await Promise.all([
    look({ of: 'order', partitions: partitionsOf(collections.orders), see: ({ body: { state } }: Row<Document<Order>>) => state.placed && orders.push({ status: statusOf(state), at: state.at }) }),
    look({
      of: 'letters', partitions: partitionsOf(collections.letters),
      see({ body }: Row<Document<Letters>>) {
        for (const { state } of Object.values(body.state.mails)) count(letters, state);
      },
    }),
    look({ of: 'shipment', partitions: partitionsOf(collections.shipments), see: ({ body }: Row<Document<Shipment>>) => count(bookings, troubleOf(body.state)) }),
  ]);
  const [ofOrders, ofLetters, ofShipments] = looked.map(({ answered }) => answered);
  return { ...(ofOrders ? { orders } : {}), ...(ofLetters ? { letters } : {}), ...(ofShipments ? { bookings } : {}), looked };
}

/** A row that somebody has damaged by hand shall not hide the others from the person who comes to mend it: what is told is then not complete, and says so. */
async function lookCarefully(kernel: Kernel, wanted: Look): Promise<Looked> {
  let damaged = 0;
  const see: Look['see'] = (row) => {
    try {
      wanted.see(row);
    } catch (error) {
      if (damaged++ === 0) kernel.log.error({ error, of: wanted.of }, 'a row cannot be read');
    }
  };
  const looked = await lookAt(kernel, { ...wanted, see });
  return damaged === 0 ? looked : { ...looked, complete: false };
}

/** Only what is asked for. */
function count(counts: Map<string, number>, name: string | undefined): void {
  if (name !== undefined && counts.has(name)) counts.set(name, counts.get(name)! + 1);
}

const rateMinutes = 5;

function ordersNow(orders: NonNullable<Books['orders']>, now: number): PulseView['orders'] {
  const statuses: Record<string, { count: number; eldest?: string }> = {};
  const said: Record<string, number> = {};
  const from = timestamp(now - rateMinutes * 60_000);
  for (const { status, at } of orders) {
    const known = (statuses[status] ??= { count: 0 });
    known.count++;
    const since = sinceWhen(status, at);
    if (since !== undefined && (known.eldest === undefined || since < known.eldest)) known.eldest = since;
    for (const [event, time] of Object.entries(at)) if (time > from) said[event] = (said[event] ?? 0) + 1;
  }
  return { seen: orders.length, statuses, perMinute: Object.fromEntries(Object.entries(said).map(([event, times]) => [event, times / rateMinutes])) };
}

const reachedBy: Readonly<Record<string, keyof Times>> = { Placed: 'OrderPlaced', Backordered: 'Backordered', Reserved: 'InventoryReserved', Shipped: 'OrderFulfillment', Delivered: 'OrderDelivered', Cancelled: 'ShippingStopped' };
const sinceWhen = (status: string, at: Times): string | undefined => at[reachedBy[status]!];

// ---------------------------------------------------------------- in the course of time

const points = 30;
const seconds: Readonly<Record<Span, number>> = { '15m': 900, '1h': 3_600, '24h': 86_400, '7d': 604_800 };
const steps = {
  placed_to_reserved: ['OrderPlaced', 'InventoryReserved'],
  reserved_to_shipped: ['InventoryReserved', 'OrderFulfillment'],
  shipped_to_delivered: ['OrderFulfillment', 'OrderDelivered'],
  placed_to_delivered: ['OrderPlaced', 'OrderDelivered'],
} as const;

function paceOf(orders: NonNullable<Books['orders']>, span: Span, now: number): PulseView['pace'] {
  const pointSeconds = seconds[span] / points;
  const from = now - seconds[span] * 1_000;
  const pointOf = (time: string): number => Math.min(points - 1, Math.floor((Date.parse(time) - from) / (pointSeconds * 1_000)));
  const events: Record<string, number[]> = {};
  const took = new Map(Object.keys(steps).map((step) => [step, Array.from({ length: points }, (): number[] => [])]));
  for (const { at } of orders) {
    for (const [event, time] of Object.entries(at)) {
      const point = pointOf(time);
      if (point >= 0) (events[event] ??= Array<number>(points).fill(0))[point]!++;
    }
    for (const [step, [begin, end]] of Object.entries(steps)) {
      const [began, ended] = [at[begin], at[end]];
      const point = began === undefined || ended === undefined ? -1 : pointOf(ended);
      if (point >= 0) took.get(step)![point]!.push(Math.max(0, Date.parse(ended!) - Date.parse(began!)) / 1_000);
    }
  }
  return { span, from: timestamp(from), pointSeconds, events, steps: Object.fromEntries([...took].map(([step, each]) => [step, stepOf(each)])) };
}

function stepOf(each: readonly (readonly number[])[]): NonNullable<PulseView['pace']>['steps'][string] {
  const sorted = each.map((found) => [...found].sort((a, b) => a - b));
  const all = sorted.flat().sort((a, b) => a - b);
  const at = (found: readonly number[], share: number): number | null => found[Math.min(found.length - 1, Math.floor(found.length * share))] ?? null;
  return {
    median: sorted.map((found) => at(found, 0.5)),
    slow: sorted.map((found) => at(found, 0.95)),
    ...(all.length > 0 ? { all: { count: all.length, median: at(all, 0.5)!, slow: at(all, 0.95)! } } : {}),
  };
}

// ---------------------------------------------------------------- of this process

function readersOf(kernel: Kernel, now: number): PulseView['readers'] {
  const found = new Map<string, PulseView['readers'][number]>();
  for (const { consumer, stream, readAt, unhandled } of metersOf(kernel).readings.values()) {
    const { events, eldest } = unhandled();
    const at = `${consumer} ${stream}`;
    const known = found.get(at) ?? { service: consumer, channel: stream, partitions: 0, lagSeconds: 0, unhandled: 0, silentSeconds: 0 };
    const age = eldest === undefined ? 0 : Math.max(0, now - Date.parse(eldest)) / 1_000 || 0;
    found.set(at, {
      ...known,
      partitions: known.partitions + 1,
      unhandled: known.unhandled + events,
      lagSeconds: Math.max(known.lagSeconds, age),
      silentSeconds: Math.max(known.silentSeconds, Math.max(0, now - readAt()) / 1_000),
    });
  }
  return [...found.values()];
}

function handledBy(kernel: Kernel): PulseView['handled'] {
  const found = new Map<string, { service: string; channel: string; handled: number; failed: number; seconds: number }>();
  for (const sample of metersOf(kernel).handled.family().samples) {
    if (!('distribution' in sample)) continue;
    const { messaging_destination_name: channel = '', messaging_consumer_group_name: service = '', error_type: wrong } = sample.labels;
    const known = found.get(`${service} ${channel}`) ?? { service, channel, handled: 0, failed: 0, seconds: 0 };
    known[wrong === '' ? 'handled' : 'failed'] += sample.distribution.count;
    known.seconds += sample.distribution.sum;
    found.set(`${service} ${channel}`, known);
  }
  return [...found.values()].map(({ service, channel, handled, failed, seconds: all }) => ({ service, channel, handled, failed, meanSeconds: all / Math.max(1, handled + failed) }));
}
