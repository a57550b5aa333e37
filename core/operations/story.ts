import { isMalformed, key, partitionOf, partitionsOf, timestamp, type Collection, type Malformed, type Message, type OutboxBody } from '../../ports/index.ts';
import { collections, events, type EventName, type ServiceName } from '../flow.ts';
import { StockFreed } from '../inventory/events.ts';
import { emptyStock, partsOf as cut, queuePrefix, stockKey, stockPartition, type Claim, type Order as Reservation, type Part, type PartState, type Stock } from '../inventory/rows.ts';
import { deadLetters, isDead, type DeadLetter } from '../kernel/dead.ts';
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
  readonly parts: readonly PartLevels[];
  /** About this order, whatever has become of them. */
  readonly dead: readonly DeadLetter[];
}

/** What a part of the order has told of the stock, and whether Product has noted it. */
interface PartLevels {
  readonly part: Part;
  readonly state: PartState['state'];
  readonly levels: number;
  readonly noted: boolean;
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
  const found: (Delivery & Pick<Found, 'at'>)[] = [];
  for (const each of said) found.push(...(await deliveriesOf(kernel, facts, each)));
  const deliveries = found.map(({ at: _, ...delivery }): Delivery => delivery);
  return {
    orderId: id,
    status: order?.placed ? statusOf(order) : 'Unknown',
    story: [...said.map(({ event, at }) => ({ at, service: events[event].from, what: `says ${event}` })), ...doneOf(facts), ...decidedOf(facts, found)].sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0)),
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
  const parts = reservation ? await partLevels(kernel, id, reservation) : [];
  const dead = (await deadLetters(kernel)).map(({ body }) => body).filter(({ message }) => concerns(message, id));
  return { id, order, reservation, shipment, letters, parcel, parts, dead };
}

/** Of what nobody can read we only see whether it names the order. */
const concerns = (message: Message | Malformed, id: string): boolean => (isMalformed(message) ? message.raw.includes(id) : message.subject === id || message.correlationid === id);

/** An order of very many lines is looked at as far as this. */
const linesMax = 200;

async function partLevels(kernel: Kernel, id: string, reservation: Reservation): Promise<PartLevels[]> {
  const found: PartLevels[] = [];
  let lines = 0;
  for (const part of cut(id, reservation)) {
    if ((lines += part.lines.length) > linesMax && found.length > 0) break;
    const row = await kernel.store.get<PartState>(part.partition, part.key);
    if (row) found.push({ part, state: row.body.state, levels: row.body.levels.length, noted: await isNoted(kernel, part, row.body) });
  }
  return found;
}

async function isNoted(kernel: Kernel, { lines }: Part, { levels }: PartState): Promise<boolean> {
  const behind = await Promise.all(
    levels.map(async ([, version], i) => {
      const { sku } = lines[i]!;
      const product = await kernel.store.get<Document<Product>>(partitionOf(collections.products, sku), key('product', sku));
      return (product?.body.state.stockVersion ?? 0) < version;
    }),
  );
  return !behind.includes(true);
}

// ---------------------------------------------------------------- what was said

interface Said {
  readonly event: EventName;
  readonly at: string;
  /** Where its outbox row was, … */
  readonly partition: string;
  /** … and under which subject. */
  readonly subject: string;
  readonly known?: Whereabouts;
}

function saidOf({ id, order, reservation, shipment, parcel, parts }: Facts): Said[] {
  const said: Said[] = [];
  const add = (event: EventName, collection: Collection, at: string | undefined, of = id): void => void said.push({ event, at: at ?? '', partition: partitionOf(collection, of), subject: id });
  const changed = reservation && timestamp(reservation.at);
  if (order?.placed) add('OrderPlaced', collections.orders, order.placed.placedAt);
  if (reservation?.saidBackordered) add('Backordered', collections.invorder, order?.at.Backordered ?? changed);
  if (reservation && reservation.said > (reservation.saidBackordered ? 1 : 0)) add('InventoryReserved', collections.invorder, order?.at.InventoryReserved ?? changed);
  if (order?.at.CancellationRequested) add('CancellationRequested', collections.orders, order.at.CancellationRequested);
  if (shipment?.booking) add('OrderFulfillment', collections.shipments, order?.at.OrderFulfillment ?? shipment.claimedAt);
  if (shipment?.stoppedAt) add('ShippingStopped', collections.shipments, shipment.stoppedAt);
  const delivered = order?.at.OrderDelivered ?? (parcel?.orderId === id && parcel.status === 'delivered' ? parcel.statusAt : undefined);
  if (shipment?.booking && delivered !== undefined) add('OrderDelivered', collections.parcels, delivered, parcelId(shipment.booking));
  // What was taken and is cancelled was given back, and each part tells that for itself; those that were heard are told as one.
  const gaveBack = parts.filter(({ state, levels }) => state === 'closed' && levels > 0);
  for (const { part, noted } of gaveBack.filter((each, n) => n === 0 || !each.noted)) {
    said.push({ event: 'StockChanged', at: changed!, partition: part.partition, subject: part.lines[0]!.sku, ...(noted ? { known: 'heard' } : {}) });
  }
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

const fates = { dead: 'is a dead letter', sentAgain: 'is sent again by a person', resolved: 'is resolved by a person' } as const;

/** What could not be handled, and what people have decided about it. */
function decidedOf({ dead }: Facts, found: readonly (Delivery & Pick<Found, 'at'>)[]): Entry[] {
  const nameOf = ({ message }: DeadLetter): string => (isMalformed(message) ? 'something that nobody can read' : message.type);
  const died = dead.flatMap((letter) =>
    (letter.history ?? []).map(({ at, what, why }): Entry => ({ at, service: letter.consumer, what: `${nameOf(letter)} ${fates[what]}`, ...(why === undefined ? {} : { detail: why }) })),
  );
  const dropped = found.flatMap(({ event, to, at, detail }): Entry[] => (at === undefined ? [] : [{ at, service: to, what: `${event} is dropped by a person`, ...(detail === undefined ? {} : { detail }) }]));
  return [...died, ...dropped];
}

// ---------------------------------------------------------------- who has heard it

const milestones: Readonly<Partial<Record<EventName, Milestone>>> = { Backordered: 'backorder', OrderFulfillment: 'shipped', OrderDelivered: 'delivered', ShippingStopped: 'cancelled' };

/** What a listener's own rows say. */
function hasHeard(event: EventName, listener: ServiceName, { order, reservation, shipment, letters, parts }: Facts): 'heard' | 'overtaken' | undefined {
  const heard = (evidence: unknown): 'heard' | undefined => (evidence === undefined || evidence === false ? undefined : 'heard');
  switch (listener) {
    case 'order':
      return heard(order?.at[event]);
    case 'notification':
      return heard(event === 'OrderPlaced' ? letters?.order : letters?.reached[milestones[event]!]);
    case 'product':
      // What was given back since makes older levels idle.
      if (event === 'StockChanged') return undefined;
      return parts.some(({ state, noted }) => state !== 'closed' && !noted) ? undefined : parts.some(({ state }) => state === 'closed') ? 'overtaken' : 'heard';
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

/** Whoever keeps no evidence that we know of has heard what it has read past: it has neither parked nor dropped it. */
export const witnesses: ReadonlySet<ServiceName> = new Set(['order', 'notification', 'product', 'shipping', 'inventory', 'website']);

async function deliveriesOf(kernel: Kernel, facts: Facts, said: Said): Promise<(Delivery & Pick<Found, 'at'>)[]> {
  const { from, travels } = events[said.event] as { from: ServiceName; travels: readonly { kind: 'queue' | 'stream'; channel: string; to: readonly ServiceName[] }[] };
  const found: (Delivery & Pick<Found, 'at'>)[] = [];
  for (const { kind, channel, to } of travels) {
    for (const listener of to) {
      const known = said.known ?? hasHeard(said.event, listener, facts);
      const whereabouts: Found = known ? { place: known } : await search(kernel, facts, said, { kind, channel, listener });
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
/** `at`: when a person has dropped it (RFC 3339). */
type Found = { readonly place: Whereabouts; readonly detail?: string; readonly at?: string };

/** Along its way, from the speaker to the listener. */
async function search(kernel: Kernel, facts: Facts, said: Said, road: Road): Promise<Found> {
  const found = await inOutboxes(kernel, facts.id, said, road);
  if (found) return found;
  return road.kind === 'queue' ? onQueue(facts, said, road) : onStream(kernel, facts.id, said, road);
}

/** In the outbox of its speaker, or, sent again or said by hand, in those of the dead letters. */
async function inOutboxes(kernel: Kernel, id: string, { event, partition, subject }: Said, { channel }: Road): Promise<Found | undefined> {
  for (const place of [partition, ...partitionsOf(collections.dead)]) {
    for (const row of await unsent(kernel.store, place, subject)) {
      if (row.message.type !== event || !concerns(row.message, id) || !row.roads.some((road) => road.channel === channel)) continue;
      if (row.why !== undefined) return { place: 'dropped', detail: row.why, at: timestamp(row.at) };
      return row.stuck === undefined ? { place: 'outbox', detail: `not passed on yet, ${row.attempts} attempts` } : { place: 'stuck', detail: row.stuck };
    }
  }
  return undefined;
}

function onQueue({ dead }: Facts, { event, at }: Said, { channel, listener }: Road): Found {
  const ours = dead.filter((letter) => letter.consumer === listener && letter.channel === channel && isIt(letter.message, event));
  const still = ours.find(isDead);
  if (still) return { place: 'dead', detail: still.reason };
  const again = ours.find(({ state }) => state === 'sentAgain');
  if (again) return { place: 'queue', detail: `sent again ${again.at}; waits there, is being worked at, or was removed` };
  const resolved = ours.find(({ state }) => state === 'resolved');
  if (resolved) return { place: 'dropped', detail: resolved.history?.at(-1)?.why ?? resolved.reason };
  return { place: 'queue', detail: `said ${at} and passed on; waits there, is being worked at, or was removed` };
}

/** Of what nobody can read we only see whether it names the event. */
const isIt = (message: Message | Malformed, event: EventName): boolean => (isMalformed(message) ? message.raw.includes(event) : message.type === event);

const readMax = 200;
const readsMax = 200;

async function onStream(kernel: Kernel, id: string, { event, subject }: Said, { channel, listener }: Road): Promise<Found> {
  const ours = (message: Message | Malformed): boolean => isIt(message, event) && concerns(message, id);
  const head = await parkedHead(kernel, listener, channel, subject);
  const parked = head ? await parkedItems(kernel, listener, channel, subject, 100) : [];
  if (head && parked.some(({ body }) => ours(body.message))) return { place: 'parked', detail: head.reason };
  const dropped = (await droppedItems(kernel, listener, channel, subject)).find(({ message }) => ours(message));
  if (dropped) return { place: 'dropped', detail: dropped.why, at: dropped.at };
  return toRead(kernel, listener, channel, ours);
}

/** Looks through what the listener has still to read of a stream, as far as `readsMax` reads go. */
async function toRead(kernel: Kernel, listener: ServiceName, channel: string, ours: (message: Message | Malformed) => boolean): Promise<Found> {
  const partitions = [...(await kernel.stream.partitions(channel))];
  let passed = 0;
  let gap = false;
  for (let partition = partitions.shift(), reads = 0; partition !== undefined; partition = partitions.shift()) {
    const rowKey = positionKey(listener, channel, partition);
    const row = await kernel.store.get<{ after?: string }>(partitionOf(collections.consumers, rowKey), rowKey);
    let before = 0;
    for (let after = row?.body.after; ; reads++) {
      if (reads >= readsMax) return { place: 'stream', detail: `${listener} has more than ${passed + before} events of ${channel} to read` };
      const batch = await kernel.stream.read(channel, partition, { max: readMax, waitSeconds: 0, ...(after === undefined ? {} : { after }) });
      if ('gap' in batch) {
        gap = true;
        break;
      }
      if (batch.events.length === 0) {
        partitions.push(...(batch.children ?? []));
        break;
      }
      const index = batch.events.findIndex(({ message }) => ours(message));
      if (index >= 0) return { place: 'stream', detail: `partition ${partition} of ${channel}; ${listener} has ${before + index} events to read before it` };
      before += batch.events.length;
      after = batch.events.at(-1)!.position;
    }
    passed += before;
  }
  if (gap) return { place: 'lost', detail: `${listener} has not read ${channel} for longer than it is kept` };
  if (!witnesses.has(listener)) return { place: 'heard' };
  return { place: 'lost', detail: `${listener} has read past its place on ${channel}, and has not heard it` };
}

function missingOf({ event, to, kind, channel, place, detail }: Delivery): Missing {
  return { service: to, event, place: `${place}: ${kind} ${channel}`, detail: detail ?? '' };
}

// ---------------------------------------------------------------- whose turn it is

/** Everything was heard, and still it is not at its end: somebody has something to do, or waits for the world. */
async function turnsOf(kernel: Kernel, facts: Facts): Promise<Missing[]> {
  const { reservation, shipment } = facts;
  // Once Shipping has stopped it, it waits for nothing but to be told so.
  const waits = reservation && !(reservation.state === 'waiting' && shipment?.stoppedAt !== undefined);
  return [...(waits ? await inventorysTurn(kernel, facts.id, reservation) : []), ...(shipment ? shippingsTurn(shipment, facts) : []), ...lettersTurn(facts)];
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
  const looksAgain = await kernel.store.get(partitionOf(collections.invorder, id), key('open', id));
  if (looksAgain) return [{ service: 'inventory', event: 'InventoryReserved', place: 'inventory', detail: 'all that it needs is there; the sweep looks at it again' }];
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
  const wakes = (message: Message | Malformed): boolean => {
    if (isMalformed(message)) return message.raw.includes('StockFreed') && skus.some((sku) => message.raw.includes(sku));
    if (message.type !== 'StockFreed') return false;
    const { data } = StockFreed.safeParse(message.data);
    return (data?.skus ?? [message.subject]).some((sku) => skus.includes(sku));
  };
  for (const partition of [...new Set(skus.map(stockPartition)), ...partitionsOf(collections.dead)]) {
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
