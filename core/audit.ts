import { key, partitionsOf, type Collection, type OutboxBody, type Row } from '../ports/index.ts';
import { collections, speaking, type EventName } from './flow.ts';
import type { Order as Reservation, Stock } from './inventory/rows.ts';
import type { Document } from './kernel/execute.ts';
import { parkedKeys } from './kernel/park.ts';
import type { Kernel } from './kernel/service.ts';
import type { Milestone } from './notification/events.ts';
import type { Letters } from './notification/letters.ts';
import type { OrderStatus } from './order/events.ts';
import { statusOf, type Order } from './order/order.ts';
import type { Shipment } from './shipping/shipment.ts';

/**
 * THE AUDIT: do stock, orders, shipments and letters agree, and is anything waiting that should not? It reads everything, with all services' own rows, and changes
 * nothing. It proves most when the shop is at rest; while orders are under way their half-done steps are named as faults.
 */
export interface Audit {
  readonly orders: Readonly<Record<OrderStatus, number>>;
  readonly lines: number;
  readonly mails: Readonly<Record<Milestone, number>>;
  readonly products: number;
  /** Rows that say "somebody has to come back": unsent messages, open orders, letters and bookings. */
  readonly waiting: number;
  readonly parked: number;
  readonly dead: number;
  /** What does not agree, in words; at most 200. */
  readonly faults: readonly string[];
}

const faultsMax = 200;
/** The letters that an order must have had, by what has happened to it. */
const letterFor: Readonly<Partial<Record<EventName, Milestone>>> = {
  OrderPlaced: 'confirmation', Backordered: 'backorder', OrderFulfillment: 'shipped', OrderDelivered: 'delivered', ShippingStopped: 'cancelled',
};

export async function audit(kernel: Kernel): Promise<Audit> {
  const faults: string[] = [];
  const fault = (text: string): void => void (faults.length < faultsMax && faults.push(text));
  const orders: Record<OrderStatus, number> = { Placed: 0, Backordered: 0, Reserved: 0, Shipped: 0, Delivered: 0, Cancelled: 0 };
  const mails: Record<Milestone, number> = { confirmation: 0, backorder: 0, shipped: 0, delivered: 0, cancelled: 0 };
  const held = new Map<string, { reserved: number; shipped: number }>();
  let lines = 0;

  // Shard by shard: the four collections of an order have the same shards by the same hash, so all that belongs together is read together.
  for (const n of partitionsOf(collections.orders).keys()) {
    const of = async <Body>(collection: Collection, noun: string): Promise<Map<string, Body>> => rowsById<Body>(kernel, partitionsOf(collection)[n]!, noun);
    const placed = await of<Document<Order>>(collections.orders, 'order');
    const reservations = await of<Reservation>(collections.invorder, 'order');
    const shipments = await of<Document<Shipment>>(collections.shipments, 'shipment');
    const letters = await of<Document<Letters>>(collections.letters, 'letters');

    for (const [id, { state }] of placed) {
      const status = statusOf(state);
      orders[status]++;
      lines += state.placed?.lines.length ?? 0;
      checkLetters(id, state, letters.get(id)?.state);
      checkAgreement(id, status, reservations.get(id), shipments.get(id)?.state);
    }
    for (const id of [...reservations.keys(), ...shipments.keys(), ...letters.keys()]) if (!placed.has(id)) fault(`order ${id} is known to others and not to Order`);
    for (const reservation of reservations.values()) count(reservation);
  }

  function count({ state, lines: all }: Reservation): void {
    if (state !== 'reserved' && state !== 'shipped') return;
    for (const { sku, quantity } of all) {
      const sum = held.get(sku) ?? { reserved: 0, shipped: 0 };
      sum[state] += quantity;
      held.set(sku, sum);
    }
  }

  function checkLetters(id: string, { at }: Order, known: Letters | undefined): void {
    for (const [event, milestone] of Object.entries(letterFor)) {
      const mail = known?.mails[milestone];
      if (mail) mails[milestone]++;
      if (at[event as EventName] && mail?.state !== 'sent') fault(`order ${id}: the letter "${milestone}" is ${mail?.state ?? 'missing'}`);
      if (!at[event as EventName] && mail) fault(`order ${id}: the letter "${milestone}" was sent, and ${event} never happened`);
    }
  }

  function checkAgreement(id: string, status: OrderStatus, reservation: Reservation | undefined, shipment: Shipment | undefined): void {
    const wanted = { Placed: 'nothing yet', Backordered: 'waiting', Reserved: 'reserved', Shipped: 'shipped', Delivered: 'shipped', Cancelled: 'cancelled' }[status];
    if (reservation?.state !== wanted) fault(`order ${id} is ${status}, Inventory says ${reservation?.state ?? 'nothing'}`);
    const booked = status === 'Shipped' || status === 'Delivered';
    if (booked !== (shipment?.booking !== undefined)) fault(`order ${id} is ${status}, Shipping has ${shipment?.booking ? 'a' : 'no'} booking`);
    if ((status === 'Cancelled') !== (shipment?.stoppedAt !== undefined)) fault(`order ${id} is ${status}, Shipping has ${shipment?.stoppedAt ? '' : 'not '}stopped it`);
  }

  let products = 0;
  for (const partition of partitionsOf(collections.stock)) {
    for (const [sku, stock] of await rowsById<Stock>(kernel, partition, 'stock')) {
      products++;
      const { received, available, reserved, shipped } = stock;
      const sums = held.get(sku) ?? { reserved: 0, shipped: 0 };
      held.delete(sku);
      if (received !== available + reserved + shipped || available < 0) fault(`product ${sku}: received ${received}, but available ${available} + reserved ${reserved} + shipped ${shipped}`);
      if (reserved !== sums.reserved) fault(`product ${sku}: ${reserved} reserved, orders hold ${sums.reserved}`);
      if (shipped !== sums.shipped) fault(`product ${sku}: ${shipped} shipped, orders had ${sums.shipped}`);
    }
  }
  for (const sku of held.keys()) fault(`product ${sku} is held by orders and has no stock`);

  const waiting = await countWaiting(kernel);
  const parked = (await parkedKeys(kernel)).length;
  const dead = (await Promise.all(partitionsOf(collections.dead).map((partition) => rowsById(kernel, partition, 'dead')))).reduce((sum, rows) => sum + rows.size, 0);
  if (waiting > 0) fault(`${waiting} rows wait for somebody to come back`);
  if (parked > 0) fault(`${parked} keys are parked`);
  if (dead > 0) fault(`${dead} messages are dead`);
  return { orders, lines, mails, products, waiting, parked, dead, faults };
}

async function countWaiting(kernel: Kernel): Promise<number> {
  let waiting = 0;
  const places = [...speaking.map((collection) => [collection, 'outbox'] as const), ...[collections.invorder, collections.shipments, collections.letters].map((collection) => [collection, 'open'] as const)];
  for (const [collection, noun] of places) {
    for (const partition of partitionsOf(collection)) waiting += (await rowsOf<OutboxBody>(kernel, partition, noun)).length;
  }
  return waiting;
}

async function rowsById<Body>(kernel: Kernel, partition: string, noun: string): Promise<Map<string, Body>> {
  const rows = await rowsOf<Body>(kernel, partition, noun);
  return new Map(rows.map((row) => [row.key.slice(noun.length + 1), row.body]));
}

async function rowsOf<Body>(kernel: Kernel, partition: string, noun: string): Promise<Row<Body>[]> {
  const rows: Row<Body>[] = [];
  let cursor: string | undefined;
  do {
    const page: { rows: readonly Row<Body>[]; next?: string } = await kernel.store.query<Body>(partition, { prefix: key(noun, ''), limit: 1_000, ...(cursor === undefined ? {} : { cursor }) });
    rows.push(...page.rows);
    cursor = page.next;
  } while (cursor !== undefined);
  return rows;
}
