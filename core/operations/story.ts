import { isMalformed, key, partitionOf, timestamp, type Collection, type Malformed, type Message, type OutboxBody } from '../../ports/index.ts';
import { collections, events, type EventName, type ServiceName } from '../flow.ts';
import type { StockFreed } from '../inventory/events.ts';
import { emptyStock, partsOf as cut, queuePrefix, stockKey, stockPartition, type Claim, type Order as Reservation, type PartState, type Stock } from '../inventory/rows.ts';
import { deadLetterOf, deadLetters, isDead } from '../kernel/dead.ts';
import type { Document } from '../kernel/execute.ts';
import { positionKey } from '../kernel/follow.ts';
import { rowsOf } from '../kernel/list.ts';
import { droppedItems, parkedHead, parkedItems } from '../kernel/park.ts';
import { unsent } from '../kernel/relay.ts';
import type { Kernel } from '../kernel/service.ts';
import type { Milestone } from '../notification/events.ts';
import type { Letters } from '../notification/letters.ts';
import { statusOf, type Order } from '../order/order.ts';
import type { Product } from '../product/product.ts';
import { parcelId, type Parcel } from '../shipping/parcel.ts';
import { troubleOf, type Shipment } from '../shipping/shipment.ts';
import type { StoryView, Whereabouts } from './events.ts';

/**
 * THE STORY OF AN ORDER, from the services' own rows: what was said, who has heard it, and what is missing, with whom and where. It asks for every message that the flow
 * says must have been heard; one that its listener knows nothing of is looked for on its whole way: outbox, queue or stream, parked keys, dead letters, what people
 * have dropped. A queue cannot be looked into: what was passed on to one, and is neither heard nor dead, is said to be there.
 */
interface Facts {
  readonly id: string;
  readonly order: Order | undefined;
  readonly reservation: Reservation | undefined;
  readonly shipment: Shipment | undefined;
  readonly parcel: Parcel | undefined;
  readonly letters: Letters | undefined;
  /** Product has noted what was left when this order was reserved. */
  readonly levelsNoted: boolean;
}

type Delivery = StoryView['deliveries'][number];
type Missing = StoryView['missing'][number];
type Entry = StoryView['story'][number];

/** `undefined`: nobody knows this order. */
export async function storyOf(kernel: Kernel, id: string): Promise<StoryView | undefined> {
  const facts = await gather(kernel, id);
  const { order, reservation, shipment, letters } = facts;
  if (!order && !reservation && !shipment && !letters) return undefined;
  const said = saidOf(facts);
  const deliveries: Delivery[] = [];
  for (const each of said) deliveries.push(...(await deliveriesOf(kernel, facts, each)));
  return {
    orderId: id,
    status: order?.placed ? statusOf(order) : 'Unknown',
    story: [...said.map(({ event, at }) => ({ at, service: events[event].from, what: `says ${event}` })), ...doneOf(facts)].sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0)),
    deliveries,
    missing: [...deliveries.filter(({ place }) => place !== 'heard' && place !== 'overtaken').map(missingOf), ...(await turnsOf(kernel, facts))],
  };
}

async function gather(kernel: Kernel, id: string): Promise<Facts> {
  const state = async <State>(collection: Collection, noun: string, of = id): Promise<State | undefined> =>
    (await kernel.store.get<Document<State>>(partitionOf(collection, of), key(noun, of)))?.body.state;
  const order = await state<Order>(collections.orders, 'order');
  const reservation = (await kernel.store.get<Reservation>(partitionOf(collections.invorder, id), key('order', id)))?.body;
  const shipment = await state<Shipment>(collections.shipments, 'shipment');
  const letters = await state<Letters>(collections.letters, 'letters');
  const parcel = shipment?.booking && (await state<Parcel>(collections.parcels, 'parcel', parcelId(shipment.booking)));
  return { id, order, reservation, shipment, letters, parcel, levelsNoted: reservation !== undefined && (await levelsNoted(kernel, id, reservation)) };
}

const partsMax = 4;

/** All lines of an order travel in one message, so the first parts speak for all of them. */
async function levelsNoted(kernel: Kernel, id: string, reservation: Reservation): Promise<boolean> {
  for (const part of cut(id, reservation).slice(0, partsMax)) {
    const row = await kernel.store.get<PartState>(part.partition, part.key);
    for (const [i, { sku }] of part.lines.entries()) {
      const level = row?.body.levels[i];
      const product = level && (await kernel.store.get<Document<Product>>(partitionOf(collections.products, sku), key('product', sku)));
      if (level && (product?.body.state.stockVersion ?? 0) < level[1]) return false;
    }
  }
  return true;
}

// ---------------------------------------------------------------- what was said

interface Said {
  readonly event: EventName;
  readonly at: string;
  /** Where its outbox row was. */
  readonly partition: string;
}

function saidOf({ id, order, reservation, shipment, parcel }: Facts): Said[] {
  const said: Said[] = [];
  const add = (event: EventName, collection: Collection, at: string | undefined, of = id): void => void said.push({ event, at: at ?? '', partition: partitionOf(collection, of) });
  const changed = reservation && timestamp(reservation.at);
  if (order?.placed) add('OrderPlaced', collections.orders, order.placed.placedAt);
  if (reservation?.saidBackordered) add('Backordered', collections.invorder, order?.at.Backordered ?? changed);
  if (reservation && reservation.said > (reservation.saidBackordered ? 1 : 0)) add('InventoryReserved', collections.invorder, order?.at.InventoryReserved ?? changed);
  if (order?.at.CancellationRequested) add('CancellationRequested', collections.orders, order.at.CancellationRequested);
  if (shipment?.booking) add('OrderFulfillment', collections.shipments, order?.at.OrderFulfillment ?? shipment.claimedAt);
  if (shipment?.stoppedAt) add('ShippingStopped', collections.shipments, shipment.stoppedAt);
  if (shipment?.booking && parcel?.orderId === id && parcel.status === 'delivered') add('OrderDelivered', collections.parcels, order?.at.OrderDelivered ?? parcel.statusAt, parcelId(shipment.booking));
  return said;
}

/** What was done without a word to the other services. */
function doneOf({ shipment, parcel, letters }: Facts): Entry[] {
  const done: Entry[] = [];
  if (shipment?.claimedAt) done.push({ at: shipment.claimedAt, service: 'shipping', what: 'claims the booking' });
  if (shipment?.tooLateAt) done.push({ at: shipment.tooLateAt, service: 'shipping', what: 'hears the cancellation too late' });
  for (const { status, at } of parcel?.timeline ?? []) done.push({ at, service: 'shipping', what: `the carrier says ${status}` });
  for (const [milestone, { state, at }] of Object.entries(letters?.mails ?? {})) done.push({ at, service: 'notification', what: `letter "${milestone}" is ${state}` });
  return done;
}

// ---------------------------------------------------------------- who has heard it

const milestones: Readonly<Partial<Record<EventName, Milestone>>> = { Backordered: 'backorder', OrderFulfillment: 'shipped', OrderDelivered: 'delivered', ShippingStopped: 'cancelled' };

/** What a listener's own rows say. */
function hasHeard(event: EventName, listener: ServiceName, { order, reservation, shipment, letters, levelsNoted: noted }: Facts): 'heard' | 'overtaken' | undefined {
  const heard = (evidence: unknown): 'heard' | undefined => (evidence === undefined || evidence === false ? undefined : 'heard');
  switch (listener) {
    case 'order':
      return heard(order?.at[event]);
    case 'notification':
      return heard(event === 'OrderPlaced' ? letters?.order : letters?.reached[milestones[event]!]);
    case 'product':
      return heard(noted);
    case 'shipping':
      if (event === 'CancellationRequested') return heard(shipment?.stoppedAt ?? shipment?.tooLateAt);
      return heard(shipment?.claimedAt) ?? (shipment?.stoppedAt === undefined ? undefined : 'overtaken');
    case 'inventory':
      if (event === 'OrderFulfillment') return heard(reservation?.state === 'shipped');
      if (event === 'ShippingStopped') return heard(reservation?.state === 'cancelling' || reservation?.state === 'cancelled');
      // The cancellation was there before the order: when that comes, nothing is left to do.
      return heard(reservation !== undefined && reservation.placedAt !== '') ?? (reservation ? 'overtaken' : undefined);
    case 'website':
      return 'overtaken';
  }
}

async function deliveriesOf(kernel: Kernel, facts: Facts, said: Said): Promise<Delivery[]> {
  const { from, travels } = events[said.event] as { from: ServiceName; travels: readonly { kind: 'queue' | 'stream'; channel: string; to: readonly ServiceName[] }[] };
  const found: Delivery[] = [];
  for (const { kind, channel, to } of travels) {
    for (const listener of to) {
      const known = hasHeard(said.event, listener, facts);
      const whereabouts = known ? { place: known } : await search(kernel, facts.id, said, { kind, channel, listener });
      found.push({ event: said.event, from, to: listener, kind, channel, ...whereabouts });
    }
  }
  return found;
}

interface Road {
  readonly kind: 'queue' | 'stream';
  readonly channel: string;
  readonly listener: ServiceName;
}
type Found = { readonly place: Whereabouts; readonly detail?: string };

/** Along its way, from the speaker to the listener. */
async function search(kernel: Kernel, id: string, said: Said, road: Road): Promise<Found> {
  return (await inOutbox(kernel, id, said, road)) ?? (road.kind === 'queue' ? await onQueue(kernel, id, said, road) : await onStream(kernel, id, said, road));
}

async function inOutbox(kernel: Kernel, id: string, { event, partition }: Said, { channel }: Road): Promise<Found | undefined> {
  for (const { row, unsaid } of await unsent(kernel.store, partition, id)) {
    if (row.message.type !== event || !row.roads.some((road) => road.channel === channel)) continue;
    if (unsaid) return { place: 'dropped', detail: 'a person has decided not to send it' };
    return row.stuck === undefined ? { place: 'outbox', detail: `not passed on yet, ${row.attempts} attempts` } : { place: 'stuck', detail: row.stuck };
  }
  return undefined;
}

async function onQueue(kernel: Kernel, id: string, { event }: Said, { channel, listener }: Road): Promise<Found> {
  const letter = await deadLetterOf(kernel, listener, { source: `/${events[event].from}`, id: `${id}:${event}:0` });
  if (letter && isDead(letter)) return { place: 'dead', detail: letter.reason };
  if (letter?.state === 'resolved') return { place: 'dropped', detail: 'a person has resolved the dead letter' };
  return { place: 'queue', detail: `passed on to ${channel}; waits there, or is being worked at` };
}

const readMax = 200;
const readsMax = 200;

async function onStream(kernel: Kernel, id: string, { event }: Said, { channel, listener }: Road): Promise<Found> {
  const isIt = (message: Parameters<typeof isMalformed>[0]): message is Message => !isMalformed(message) && message.type === event && message.subject === id;
  const head = await parkedHead(kernel, listener, channel, id);
  if (head && (await parkedItems(kernel, listener, channel, id, 100)).some(({ body }) => isIt(body.message))) return { place: 'parked', detail: head.reason };
  if ((await droppedItems(kernel, listener, channel, id)).some(({ message }) => isIt(message))) return { place: 'dropped', detail: 'a person has dropped it' };

  return toRead(kernel, listener, channel, isIt);
}

/** Looks through what the listener has still to read of a stream, as far as `readsMax` reads go in each partition. */
async function toRead(kernel: Kernel, listener: ServiceName, channel: string, isIt: (message: Message | Malformed) => boolean): Promise<Found> {
  const partitions = [...(await kernel.stream.partitions(channel))];
  let passed = 0;
  for (let partition = partitions.shift(), reads = 0; partition !== undefined && reads < readsMax; partition = partitions.shift()) {
    const rowKey = positionKey(listener, channel, partition);
    const row = await kernel.store.get<{ after?: string }>(partitionOf(collections.consumers, rowKey), rowKey);
    let before = 0;
    for (let after = row?.body.after; reads < readsMax; reads++) {
      const batch = await kernel.stream.read(channel, partition, { max: readMax, waitSeconds: 0, ...(after === undefined ? {} : { after }) });
      if ('gap' in batch || batch.events.length === 0) {
        if (!('gap' in batch)) partitions.push(...(batch.children ?? []));
        break;
      }
      const index = batch.events.findIndex(({ message }) => isIt(message));
      if (index >= 0) return { place: 'stream', detail: `partition ${partition} of ${channel}; ${listener} has ${before + index} events to read before it` };
      before += batch.events.length;
      after = batch.events.at(-1)!.position;
    }
    passed += before;
    if (reads >= readsMax) return { place: 'stream', detail: `${listener} has more than ${passed} events of ${channel} to read` };
  }
  return { place: 'lost', detail: `${listener} has read past its place on ${channel}, and has not heard it` };
}

function missingOf({ event, to, kind, channel, place, detail }: Delivery): Missing {
  return { service: to, event, place: `${place}: ${kind} ${channel}`, detail: detail ?? '' };
}

// ---------------------------------------------------------------- whose turn it is

/** Everything was heard, and still it is not at its end: somebody has something to do, or waits for the world. */
async function turnsOf(kernel: Kernel, facts: Facts): Promise<Missing[]> {
  const { reservation, shipment } = facts;
  return [...(reservation ? await inventorysTurn(kernel, facts.id, reservation) : []), ...(shipment ? shippingsTurn(shipment, facts) : []), ...lettersTurn(facts)];
}

async function inventorysTurn(kernel: Kernel, id: string, reservation: Reservation): Promise<Missing[]> {
  const { state, lines, placedAt } = reservation;
  if (state === 'reserved' || state === 'shipped' || state === 'cancelled') return [];
  if (state !== 'waiting') return [{ service: 'inventory', event: state === 'cancelling' ? 'ShippingStopped' : 'InventoryReserved', place: 'inventory', detail: `the reservation is ${state}; the sweep goes on with it` }];
  const shorts: string[] = [];
  for (const { sku, quantity } of lines) {
    const free = await freeFor(kernel, sku, `${placedAt}|${id}`);
    if (free < quantity) shorts.push(`${sku} (needs ${quantity}, ${Math.max(0, free)} left by older orders)`);
  }
  if (shorts.length > 0) return [{ service: 'inventory', event: 'InventoryReserved', place: 'stock', detail: `waits for ${shorts.slice(0, 10).join(', ')}` }];
  return [{ service: 'inventory', event: 'StockFreed', ...(await stockFreed(kernel, lines.map(({ sku }) => sku))) }];
}

/** What is left of a product beyond the claims of older orders. */
async function freeFor(kernel: Kernel, sku: string, own: string): Promise<number> {
  const partition = stockPartition(sku);
  let free = ((await kernel.store.get<Stock>(partition, stockKey(sku)))?.body ?? emptyStock).available;
  for await (const row of rowsOf<Claim>(kernel.store, partition, queuePrefix(sku))) {
    if (row.key.slice(queuePrefix(sku).length) >= placeOf(own)) break;
    free -= row.body.quantity;
  }
  return free;
}
const placeOf = (own: string): string => key(...own.split('|'));

/** All that it needs is there, and nobody has told it. */
async function stockFreed(kernel: Kernel, skus: readonly string[]): Promise<Pick<Missing, 'place' | 'detail'>> {
  const wakes = (message: Parameters<typeof isMalformed>[0]): boolean =>
    !isMalformed(message) && message.type === 'StockFreed' && (message.data as StockFreed).skus.some((sku) => skus.includes(sku));
  for (const partition of new Set(skus.map(stockPartition))) {
    for await (const { body } of rowsOf<OutboxBody>(kernel.store, partition, key('outbox', ''))) {
      if (wakes(body.message)) return { place: `${body.stuck === undefined ? 'outbox' : 'stuck'}: queue stock-freed`, detail: body.stuck ?? 'not passed on yet' };
    }
  }
  const dead = (await deadLetters(kernel)).find(({ body }) => isDead(body) && wakes(body.message));
  if (dead) return { place: 'dead: queue stock-freed', detail: dead.body.reason };
  return { place: 'queue: queue stock-freed', detail: 'all that it needs is there, and it has not been woken yet' };
}

function shippingsTurn(shipment: Shipment, { parcel, order }: Facts): Missing[] {
  const at = (event: EventName, detail: string): Missing => ({ service: 'shipping', event, place: 'carrier', detail });
  const trouble = troubleOf(shipment);
  if (trouble === 'leftOver') return [at('ShippingStopped', 'the carrier took the parcel of a cancelled order; it has to be called back')];
  if (trouble !== undefined) return [at('OrderFulfillment', trouble === 'refused' ? `the carrier refuses: ${shipment.refused}` : 'nobody knows whether the carrier took it')];
  if (shipment.claimedAt !== undefined && !shipment.booking && shipment.stoppedAt === undefined) return [at('OrderFulfillment', `booking since ${shipment.claimedAt}`)];
  if (!shipment.booking || order?.at.OrderDelivered || parcel?.status === 'delivered') return [];
  const { carrier, trackingNumber } = shipment.booking;
  return [at('OrderDelivered', `${carrier} has not said that ${trackingNumber} is delivered; last: ${parcel?.status ?? 'nothing'}`)];
}

const eventOf: Readonly<Record<Milestone, EventName>> = { confirmation: 'OrderPlaced', backorder: 'Backordered', shipped: 'OrderFulfillment', delivered: 'OrderDelivered', cancelled: 'ShippingStopped' };

function lettersTurn({ letters }: Facts): Missing[] {
  return (Object.entries(letters?.mails ?? {}) as [Milestone, Letters['mails'][Milestone] & object][])
    .filter(([, { state }]) => state !== 'sent')
    .map(([milestone, { state, at }]) => ({ service: 'notification', event: eventOf[milestone], place: 'mailer', detail: `the letter "${milestone}" is ${state} since ${at}` }));
}
