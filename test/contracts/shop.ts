import type { Engines } from '../../adapters/memory/index.ts';
import { queues, streams } from '../../core/flow.ts';
import { inventory } from '../../core/inventory/index.ts';
import { say } from '../../core/kernel/model.ts';
import type { Reply } from '../../core/kernel/service.ts';
import { notification } from '../../core/notification/index.ts';
import { operations } from '../../core/operations/index.ts';
import type { OrderView, PlaceOrder } from '../../core/order/events.ts';
import { product } from '../../core/product/index.ts';
import { shipping } from '../../core/shipping/index.ts';
import { PortError, isRefusal, partsOf, timestamp, type Letter, type Message } from '../../ports/index.ts';
import { anna, home } from '../support/client.ts';
import { openWorld, throttled, unavailable, type World } from '../support/world.ts';
import type { Schema } from './gate.ts';

/**
 * A SMALL SHOP whose state is archived with each release of the stored rows: once half-way, with something of everything that can wait (a message in the outbox, in a
 * queue, on a stream, stuck, parked, dead; an order that waits for stock, a parcel under way, a booking and a letter of which nobody knows), and once at rest. A later
 * program opens both and has to go on to the end that was reached then.
 */

export interface Snapshot {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly store: readonly (readonly [partition: string, key: string, body: unknown])[];
  readonly streams: readonly (readonly [stream: string, partitionkey: string, message: Message])[];
  readonly queues: readonly (readonly [queue: string, message: Message])[];
  readonly letters: readonly Letter[];
}

/** What everybody can see, in the words of the HTTP API. */
export interface Seen {
  readonly orders: Readonly<Record<string, OrderView['status']>>;
  readonly stock: Readonly<Record<string, unknown>>;
  readonly products: readonly unknown[];
  readonly mails: readonly string[];
}

const skus = ['MUG', 'TEA', 'LAMP', 'PEN'];
/** Whoever orders again under this key gets the first order. */
export const repeated: readonly [PlaceOrder, string] = [{ customer: anna, address: { ...home, line2: 'Flat 2' }, lines: [{ sku: 'MUG', quantity: 2 }, { sku: 'TEA', quantity: 1 }] }, 'golden-key'];

// ---------------------------------------------------------------- half-way

export async function halfWay(): Promise<World> {
  const world = await openWorld({ seed: 9 });
  for (const [sku, quantity] of [['MUG', 40], ['TEA', 40], ['LAMP', 1]] as const) await world.describe(sku, quantity);
  await delivered(world);
  await troubled(world);
  await world.place(['LAMP', 3]);
  const { id } = await world.place(['LAMP', 2]);
  await world.clock.advance(1_000);
  await world.play(world.kernel.published.cancelOrder(id));
  await world.clock.advance(2_000);
  await world.place(['TEA', 4]);
  await world.clock.advance(6_000); // that parcel is under way
  await frozen(world);
  return world;
}

async function delivered(world: World): Promise<void> {
  await world.play(world.kernel.published.placeOrder(...repeated));
  await world.settle();
}

/** What a person has to look at: a letter and a booking of which nobody knows, a parked key, a dead letter, a stuck message. */
async function troubled(world: World): Promise<void> {
  world.interfere = async ({ port, method }, work) => {
    if (port === 'mailer' && method === 'send') throw unavailable();
    if (port === 'mailer') return 'unknown';
    return work();
  };
  await world.place(['MUG', 1]);
  await world.clock.advance(1_000);
  world.interfere = async ({ port, method }, work) => {
    if (port === 'carrier') return method === 'find' ? 'unknown' : Promise.reject(unavailable());
    return work();
  };
  await world.place(['MUG', 3]);
  await world.clock.advance(330_000);
  world.interfere = undefined;
  const parked = await world.place(['TEA', 2]);
  const newer: Message = { ...said(world, 'CancellationRequested', { orderId: parked.id }, parked.id), id: `${parked.id}:newer`, dataversion: '999' };
  await world.play(world.kernel.stream.append('orders', [newer]));
  await world.clock.advance(2_000);
  await world.play(world.kernel.queue.send('reserve-stock', [twice(world)]));
  world.interfere = async ({ port, method, args }, work) => (port === 'stream' && method === 'append' && args[0] === 'products' ? [{ index: 0, error: new PortError('denied', 'by the test') }] : work());
  await world.describe('PEN', 0);
  world.interfere = undefined;
  await world.clock.advance(30_000);
}

const said = (world: World, type: 'CancellationRequested', data: { orderId: string }, subject: string): Message =>
  say(type, data, { subject, sequence: 1, at: timestamp(world.clock.now()) }).message;

/** Two lines of one product: nobody of ours says that. */
function twice(world: World): Message {
  const orderId = '2'.repeat(26);
  const at = timestamp(world.clock.now());
  const line = { sku: 'MUG', name: 'MUG', quantity: 1, unitPrice: 250 };
  return say('OrderPlaced', { orderId, placedAt: at, customer: anna, address: home, lines: [line, line], total: { amount: 500, currency: 'GBP' } }, { subject: orderId, sequence: 0, at }).message;
}

/** From here on nothing gets any further: one booking is claimed and not confirmed, one order is placed and not heard of, one is placed and not even passed on. */
async function frozen(world: World): Promise<void> {
  const deaf = ['invorder~', 'letters~'];
  let [hearing, sending] = [true, true];
  world.interfere = async ({ port, method, args }, work) => {
    if (port === 'carrier') throw method === 'book' ? unavailable() : throttled();
    if (port === 'store' && !hearing && deaf.some((collection) => String(args[0]).startsWith(collection))) throw unavailable();
    if ((method === 'send' || method === 'append') && !sending) throw unavailable();
    return work();
  };
  await world.place(['MUG', 5]);
  await world.clock.advance(1_500);
  hearing = false;
  await world.place(['TEA', 6]);
  await world.clock.advance(500);
  sending = false;
  await world.place(['MUG', 1], ['TEA', 1]);
  await world.clock.advance(500);
}

// ---------------------------------------------------------------- to the end

const asked = { params: undefined, query: undefined, body: undefined, idempotencyKey: undefined, headers: {}, raw: new Uint8Array() };

/** The program and the people at the desk do what is left to do. */
export async function goOn(world: World): Promise<void> {
  world.interfere = undefined;
  await world.clock.advance(60_000);
  await desk(world);
  done(await world.play(inventory.answers.receiveStock(world.kernel, { ...asked, params: { sku: 'LAMP' }, body: { quantity: 10 }, idempotencyKey: 'lamps' })));
  await world.settle();
  await world.clock.advance(10_000); // the website has polled
}

async function desk(world: World): Promise<void> {
  const { kernel } = world;
  const page = { limit: 50 };
  const each = async (reply: Promise<Reply>, work: (item: { id: string; orderId: string }) => Promise<Reply>): Promise<void> => {
    for (const item of done<{ items: { id: string; orderId: string }[] }>(await world.play(reply)).items) done(await world.play(work(item)));
  };
  const dropped = { ...asked, body: { why: 'it is old' } };
  await each(operations.answers.listDeadLetters(kernel, { ...asked, query: { ...page, state: 'dead' } }), (item) => operations.answers.resolveDeadLetter(kernel, { ...dropped, params: item }));
  await each(operations.answers.listParked(kernel, { ...asked, query: page }), (item) => operations.answers.resolveParked(kernel, { ...dropped, params: item }));
  await each(operations.answers.listStuck(kernel, { ...asked, query: page }), (item) => operations.answers.retryStuckRow(kernel, { ...asked, params: item }));
  await each(notification.answers.listMails(kernel, { ...asked, query: { ...page, state: 'uncertain' } }), (item) => notification.answers.retryMail(kernel, { ...asked, params: item }));
  await each(shipping.answers.listBookings(kernel, { ...asked, query: page }), ({ orderId }) => shipping.answers.retryBooking(kernel, { ...asked, params: { id: orderId } }));
}

function done<Json>(reply: Reply): Json {
  if (isRefusal(reply)) throw new Error(`${reply.refused}: ${reply.detail}`);
  return ('json' in reply ? reply.json : undefined) as Json;
}

export async function seen(world: World): Promise<Seen> {
  const { kernel } = world;
  const orders = world.rows('order').flatMap(({ partition, key }) => (partition.startsWith('orders~') ? [partsOf(key)[1]!] : [])).sort();
  const views = await Promise.all(orders.map((id) => world.play(kernel.published.order(id))));
  const stock = await Promise.all(skus.map((sku) => world.play(inventory.answers.getStock(kernel, { ...asked, params: { sku } }))));
  const { items: products } = done<{ items: unknown[] }>(await world.play(product.answers.listProducts(kernel, { ...asked, query: { limit: 200 } })));
  const { items: mails } = await world.play(kernel.published.mails({ limit: 200 }));
  return {
    orders: Object.fromEntries(views.flatMap((view) => (view ? [[view.id, view.status]] : []))),
    stock: Object.fromEntries(stock.map((reply, i) => [skus[i]!, done(reply)])),
    products,
    mails: mails.map(({ id, state }) => `${id} ${state}`),
  };
}

// ---------------------------------------------------------------- in and out of the archive

export function snapshotOf(world: World): Snapshot {
  const { store, stream, queue, letters } = world.engines;
  const rows = store.partitions().flatMap((partition) => store.query(partition, { prefix: '', limit: 1_000_000 }).rows.map((row) => [partition, row.key, JSON.parse(row.body)] as const));
  const events = streams.flatMap((name) => stream.partitions(name).flatMap((partition) => {
    const batch = stream.read(name, partition, undefined, 1_000_000);
    return 'gap' in batch ? [] : batch.events.map(({ partitionkey, text }) => [name, partitionkey, JSON.parse(text) as Message] as const);
  }));
  // Later than every delay and every lock. Whoever is asked is thrown away afterwards.
  const after = world.clock.now() + 86_400_000;
  const work = queues.flatMap((name) => queue.receive(name, 10_000, after).map(({ text }) => [name, JSON.parse(text) as Message] as const));
  return { at: world.clock.now(), store: rows, streams: events, queues: work, letters: [...letters] };
}

/** A world in which all of this is found at its opening. */
export async function worldOf(snapshot: Snapshot): Promise<World> {
  const world = await openWorld({ seed: 10 });
  await world.clock.advance(snapshot.at - world.clock.now());
  fill(world.engines, snapshot);
  await world.restart();
  return world;
}

function fill({ store, stream, queue, letters }: Engines, snapshot: Snapshot): void {
  for (const [partition, key, body] of snapshot.store) {
    const known = store.get(partition, key);
    store.commit(partition, [{ ...(known ? { op: 'replace', version: known.version } : { op: 'create' }), key, body: JSON.stringify(body) } as Parameters<typeof store.commit>[1][number]]);
  }
  // The events of a partition are in their order, so they get the positions that they had.
  for (const [name, partitionkey, message] of snapshot.streams) stream.append(name, [{ partitionkey, text: JSON.stringify(message) }], snapshot.at);
  for (const [name, message] of snapshot.queues) queue.send(name, [JSON.stringify(message)], { now: snapshot.at });
  letters.push(...snapshot.letters);
}

export interface Played {
  readonly halfWay: Snapshot;
  readonly atRest: Snapshot;
  readonly seen: Seen;
}

let played: Promise<Played> | undefined;

/** The shop from its beginning to its end, as today's program plays it; once, for it always goes the same way. */
export function play(): Promise<Played> {
  played ??= playOnce();
  return played;
}

async function playOnce(): Promise<Played> {
  const one = await halfWay();
  const half = snapshotOf(one);
  await one.stop();
  const world = await worldOf(half);
  await goOn(world);
  const end = await seen(world);
  const faults = [...(await world.audit()), ...world.unrest()];
  if (faults.length > 0) throw new Error(`the shop does not come to its end: ${faults.join('; ')}`);
  const rest = snapshotOf(world);
  await world.stop();
  return { halfWay: half, atRest: rest, seen: end };
}

/** The shapes of all rows that the small shop writes, read off the rows themselves, by collection and noun. The data of messages have contracts of their own. */
export async function rowShapes(): Promise<Record<string, Schema>> {
  const { halfWay: half, atRest } = await play();
  const bodies = new Map<string, unknown[]>();
  for (const [partition, key, body] of [...half.store, ...atRest.store]) {
    const noun = `${partition.split('~')[0]} ${partsOf(key)[0]}`;
    bodies.set(noun, [...(bodies.get(noun) ?? []), body]);
  }
  return Object.fromEntries([...bodies].sort(([a], [b]) => (a < b ? -1 : 1)).map(([noun, all]) => [noun, shapeOf(all)]));
}

function shapeOf(values: readonly unknown[]): Schema {
  const types = [...new Set(values.map(typeOf))].sort();
  const objects = values.filter((value): value is Schema => typeOf(value) === 'object');
  const items = values.flatMap((value) => (Array.isArray(value) ? (value as unknown[]) : []));
  return { ...(types.length > 0 ? { type: types.length === 1 ? types[0] : types } : {}), ...fieldsOf(objects), ...(items.length > 0 ? { items: shapeOf(items) } : {}) };
}

function fieldsOf(objects: readonly Schema[]): Schema {
  if (objects.length === 0) return {};
  const names = [...new Set(objects.flatMap((each) => Object.keys(each)))].sort();
  const properties = names.map((name) => [name, name === 'message' ? {} : shapeOf(objects.flatMap((each) => (name in each ? [each[name]] : [])))] as const);
  return { properties: Object.fromEntries(properties), required: names.filter((name) => objects.every((each) => name in each)) };
}

const typeOf = (value: unknown): string => (value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value);
