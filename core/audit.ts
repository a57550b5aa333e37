import { key, partitionOf, partitionsOf, partsOf, type Collection } from '../ports/index.ts';
import { collections, speaking, type EventName } from './flow.ts';
import type { Claim, Order as Reservation, Stock } from './inventory/rows.ts';
import { deadLetters, isDead } from './kernel/dead.ts';
import type { Document } from './kernel/execute.ts';
import { rowsOf } from './kernel/list.ts';
import { parkedKeys } from './kernel/park.ts';
import type { Kernel } from './kernel/service.ts';
import type { Milestone } from './notification/events.ts';
import type { Letters } from './notification/letters.ts';
import type { OrderStatus } from './order/events.ts';
import { statusOf, type Order } from './order/order.ts';
import type { Product } from './product/product.ts';
import { parcelId, type Parcel } from './shipping/parcel.ts';
import type { Shipment } from './shipping/shipment.ts';

/**
 * THE AUDIT: do stock, orders, shipments, parcels and letters agree, and is anything waiting that should not? It reads everything, with all services' own rows, and changes
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
  const fault: Fault = (text) => void (faults.length < faultsMax && faults.push(text));
  const books = await readOrders(kernel, fault);
  const products = await checkStock(kernel, books, fault);
  const waiting = await countWaiting(kernel);
  const parked = (await parkedKeys(kernel)).length;
  const dead = (await deadLetters(kernel)).filter(({ body }) => isDead(body)).length;
  if (waiting > 0) fault(`${waiting} rows wait for somebody to come back`);
  if (parked > 0) fault(`${parked} keys are parked`);
  if (dead > 0) fault(`${dead} messages are dead`);
  return { orders: books.orders, lines: books.lines, mails: books.mails, products, waiting, parked, dead, faults };
}

type Fault = (text: string) => void;

interface Books {
  readonly orders: Record<OrderStatus, number>;
  readonly mails: Record<Milestone, number>;
  lines: number;
  /** What the orders hold and have had of each product. */
  readonly held: Map<string, { reserved: number; shipped: number }>;
  readonly waits: { readonly id: string; readonly reservation: Reservation }[];
}

/** Shard by shard: the four collections of an order have the same shards by the same hash, so all that belongs together is read together. */
async function readOrders(kernel: Kernel, fault: Fault): Promise<Books> {
  const books: Books = {
    orders: { Placed: 0, Backordered: 0, Reserved: 0, Shipped: 0, Delivered: 0, Cancelled: 0 },
    mails: { confirmation: 0, backorder: 0, shipped: 0, delivered: 0, cancelled: 0 },
    lines: 0,
    held: new Map(),
    waits: [],
  };
  for (const n of partitionsOf(collections.orders).keys()) {
    const of = <Body>(collection: Collection, noun: string): Promise<Map<string, Body>> => byId<Body>(kernel, partitionsOf(collection)[n]!, noun);
    const placed = await of<Document<Order>>(collections.orders, 'order');
    const reservations = await of<Reservation>(collections.invorder, 'order');
    const shipments = await of<Document<Shipment>>(collections.shipments, 'shipment');
    const letters = await of<Document<Letters>>(collections.letters, 'letters');
    for (const [id, { state }] of placed) {
      const status = statusOf(state);
      books.orders[status]++;
      books.lines += state.placed?.lines.length ?? 0;
      checkLetters(id, state, letters.get(id)?.state, books.mails, fault);
      checkAgreement(id, status, reservations.get(id), shipments.get(id)?.state, fault);
      await checkParcel(kernel, id, status, shipments.get(id)?.state, fault);
    }
    for (const id of [...reservations.keys(), ...shipments.keys(), ...letters.keys()]) if (!placed.has(id)) fault(`order ${id} is known to others and not to Order`);
    for (const [id, reservation] of reservations) enter(books, id, reservation);
  }
  return books;
}

function enter({ held, waits }: Books, id: string, reservation: Reservation): void {
  const { state, lines } = reservation;
  if (state === 'waiting') waits.push({ id, reservation });
  if (state !== 'reserved' && state !== 'shipped') return;
  for (const { sku, quantity } of lines) {
    const sum = held.get(sku) ?? { reserved: 0, shipped: 0 };
    sum[state] += quantity;
    held.set(sku, sum);
  }
}

function checkLetters(id: string, { at }: Order, known: Letters | undefined, mails: Books['mails'], fault: Fault): void {
  for (const [event, milestone] of Object.entries(letterFor)) {
    const mail = known?.mails[milestone];
    if (mail) mails[milestone]++;
    if (at[event as EventName] && mail?.state !== 'sent') fault(`order ${id}: the letter "${milestone}" is ${mail?.state ?? 'missing'}`);
    if (!at[event as EventName] && mail) fault(`order ${id}: the letter "${milestone}" was sent, and ${event} never happened`);
  }
}

const inventorySays: Readonly<Record<OrderStatus, string>> = { Placed: 'nothing yet', Backordered: 'waiting', Reserved: 'reserved', Shipped: 'shipped', Delivered: 'shipped', Cancelled: 'cancelled' };

function checkAgreement(id: string, status: OrderStatus, reservation: Reservation | undefined, shipment: Shipment | undefined, fault: Fault): void {
  if (reservation?.state !== inventorySays[status]) fault(`order ${id} is ${status}, Inventory says ${reservation?.state ?? 'nothing'}`);
  const booked = status === 'Shipped' || status === 'Delivered';
  if (booked !== (shipment?.booking !== undefined)) fault(`order ${id} is ${status}, Shipping has ${shipment?.booking ? 'a' : 'no'} booking`);
  if ((status === 'Cancelled') !== (shipment?.stoppedAt !== undefined)) fault(`order ${id} is ${status}, Shipping has ${shipment?.stoppedAt ? '' : 'not '}stopped it`);
}

/** A number that is used again names the newer order, and tells nothing of the older one. */
async function checkParcel(kernel: Kernel, id: string, status: OrderStatus, shipment: Shipment | undefined, fault: Fault): Promise<void> {
  if (!shipment?.booking) return;
  const row = parcelId(shipment.booking);
  const parcel = (await kernel.store.get<Document<Parcel>>(partitionOf(collections.parcels, row), key('parcel', row)))?.body.state;
  if (parcel?.orderId === undefined) return fault(`order ${id} is booked, and its parcel does not know of it`);
  const arrived = parcel.status === 'delivered';
  if (parcel.orderId === id && arrived !== (status === 'Delivered')) fault(`order ${id} is ${status}, its parcel is ${arrived ? '' : 'not '}delivered`);
}

interface Shelf {
  readonly available: number;
  /** Eldest first: the key parts after the sku, and for how much. */
  readonly claims: readonly { readonly place: string; readonly quantity: number }[];
}

/** The stock equation of every product, against what the orders hold; and that nobody waits who could be served. */
async function checkStock(kernel: Kernel, { held, waits }: Books, fault: Fault): Promise<number> {
  const shelves = new Map<string, Shelf>();
  // The same shards by the same hash.
  for (const [n, partition] of partitionsOf(collections.stock).entries()) {
    const known = await byId<Document<Product>>(kernel, partitionsOf(collections.products)[n]!, 'product');
    const claims = new Map<string, { place: string; quantity: number }[]>();
    for await (const row of rowsOf<Claim>(kernel.store, partition, key('wait', ''))) {
      const [, sku = '', placedAt = '', id = ''] = partsOf(row.key);
      claims.set(sku, [...(claims.get(sku) ?? []), { place: `${placedAt}|${id}`, quantity: row.body.quantity }]);
    }
    for (const [sku, { received, available, reserved, shipped }] of await byId<Stock>(kernel, partition, 'stock')) {
      shelves.set(sku, { available, claims: claims.get(sku) ?? [] });
      const sums = held.get(sku) ?? { reserved: 0, shipped: 0 };
      if (received !== available + reserved + shipped || available < 0) fault(`product ${sku}: received ${received}, but available ${available} + reserved ${reserved} + shipped ${shipped}`);
      if (reserved !== sums.reserved) fault(`product ${sku}: ${reserved} reserved, orders hold ${sums.reserved}`);
      if (shipped !== sums.shipped) fault(`product ${sku}: ${shipped} shipped, orders had ${sums.shipped}`);
      const told = known.get(sku)?.state.available ?? 0;
      if (told !== available) fault(`product ${sku}: ${available} available, Product knows of ${told}`);
    }
  }
  for (const sku of held.keys()) if (!shelves.has(sku)) fault(`product ${sku} is held by orders and has no stock`);
  for (const { id, reservation } of waits) if (couldBeServed(id, reservation, shelves)) fault(`order ${id} waits, and all that it needs is there`);
  return shelves.size;
}

/** Every line is there beyond what elder claims need. */
function couldBeServed(id: string, { lines, placedAt }: Reservation, shelves: ReadonlyMap<string, Shelf>): boolean {
  const own = `${placedAt}|${id}`;
  return lines.every(({ sku, quantity }) => {
    const { available, claims } = shelves.get(sku) ?? { available: 0, claims: [] };
    return available - claims.reduce((sum, claim) => (claim.place < own ? sum + claim.quantity : sum), 0) >= quantity;
  });
}

async function countWaiting(kernel: Kernel): Promise<number> {
  return (await count(kernel, speaking, 'outbox')) + (await count(kernel, [collections.invorder, collections.shipments, collections.letters], 'open'));
}

async function count(kernel: Kernel, places: readonly Collection[], noun: string): Promise<number> {
  let rows = 0;
  for (const partition of places.flatMap(partitionsOf)) for await (const _ of rowsOf(kernel.store, partition, key(noun, ''), 1_000)) rows++;
  return rows;
}

async function byId<Body>(kernel: Kernel, partition: string, noun: string): Promise<Map<string, Body>> {
  const found = new Map<string, Body>();
  for await (const row of rowsOf<Body>(kernel.store, partition, key(noun, ''), 1_000)) found.set(partsOf(row.key)[1]!, row.body);
  return found;
}
