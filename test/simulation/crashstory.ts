import { createHash } from 'node:crypto';
import { say } from '../../adapters/carriers/demo.ts';
import { inventory } from '../../core/inventory/index.ts';
import type { Reply } from '../../core/kernel/service.ts';
import { operations } from '../../core/operations/index.ts';
import type { ParkedView } from '../../core/operations/events.ts';
import type { OrderView } from '../../core/order/events.ts';
import { product } from '../../core/product/index.ts';
import { shipping } from '../../core/shipping/index.ts';
import { isRefusal, isTransient, timestamp, type Message, type Refusal, type TrackingFact } from '../../ports/index.ts';
import { anna, home } from '../support/client.ts';
import { carrierSecret, type CrashWorld, type Drivers } from './crashworld.ts';

/**
 * THE STORY that the world is killed in: a day in the shop in which everything happens once. Orders of one line and of several, over several shards of stock; one that
 * waits until stock arrives; one that is cancelled in time, one too late, and one that may be either; a customer who never asks again; notices of the carrier that come
 * early, twice and late; poison on a stream and on a queue; a key that is parked, tried again and freed by a person.
 *
 * Everybody outside behaves as people and their programs do: a request without an answer is sent again, with the same Idempotency-Key.
 */
export interface Told {
  /** By the name in the story: the order as its customer was told of it. */
  readonly orders: Map<string, OrderView>;
  /** What the one who wanted to cancel at once was answered. */
  race?: OrderView | Refusal;
}

export const received = { A: 20, B: 12, C: 1 } as const;

export async function tell(world: CrashWorld, told: Told): Promise<void> {
  const { clock, ask } = world;
  const begun = clock.now();

  async function place(name: string, ...lines: [string, number][]): Promise<string> {
    const placed = granted(await ask((kernel) => kernel.published.placeOrder(basket(lines), `key of ${name}`)));
    told.orders.set(name, placed);
    return placed.id;
  }
  async function until(id: string, status: OrderView['status']): Promise<void> {
    while ((await ask((kernel) => kernel.published.order(id)))?.status !== status) await clock.sleep(500);
  }

  for (const [sku, quantity] of [['A', 20], ['B', 2], ['C', 1]] as const) {
    await describe(world, sku);
    await receive(world, sku, quantity);
  }
  const walker = world.askOnce((kernel) => kernel.published.placeOrder(basket([['A', 1]]), 'key of one who walks away'));
  const [plain] = await Promise.all([place('plain', ['A', 1]), place('wide', ['A', 2], ['B', 1], ['C', 1], ['A', 1])]);
  const waits = await place('waits', ['B', 5]);
  const inTime = await place('inTime', ['C', 3], ['A', 1]);
  const race = await place('race', ['A', 1]);
  told.race = await ask((kernel) => kernel.published.cancelOrder(race));
  await Promise.all([walker, until(waits, 'Backordered'), until(inTime, 'Backordered')]);

  await notify(world, waits, 'inTransit', 'early');
  granted(await ask((kernel) => kernel.published.cancelOrder(inTime)));
  await poison(world, waits);
  await until(inTime, 'Cancelled');
  await receive(world, 'B', 10);
  await freeParked(world, waits);
  await until(waits, 'Delivered');

  await until(plain, 'Delivered');
  await notify(world, plain, 'delivered', 'twice');
  await notify(world, plain, 'delivered', 'twice');
  await notify(world, plain, 'inTransit', 'late');
  const tooLate = await ask((kernel) => kernel.published.cancelOrder(plain));
  if (!isRefusal(tooLate) || tooLate.status !== 409) world.ledger.fail('a delivered order could be cancelled');

  // So late that every timer has had its turn while there was still something to do.
  await clock.sleep(Math.max(0, begun + 16_000 - clock.now()));
  await until(await place('last', ['A', 1], ['B', 1]), 'Delivered');
}

const basket = (lines: readonly [string, number][]) => ({ customer: anna, address: home, lines: lines.map(([sku, quantity]) => ({ sku, quantity })) });
const bare = { query: undefined, headers: {}, raw: new Uint8Array(), idempotencyKey: undefined } as const;

function granted<Answer>(answer: Answer | Refusal): Answer {
  if (isRefusal(answer)) throw new Error(`refused: ${answer.detail}`);
  return answer;
}

async function describe(world: CrashWorld, sku: string): Promise<void> {
  const body = { name: `Thing ${sku}`, description: '', price: { amount: 250, currency: 'GBP' } };
  granted(await world.ask((kernel) => product.answers.describeProduct(kernel, { ...bare, params: { sku }, body })));
}

async function receive(world: CrashWorld, sku: string, quantity: number): Promise<void> {
  const request = { ...bare, params: { sku }, body: { quantity }, idempotencyKey: `note of ${quantity} ${sku}` };
  granted(await world.ask((kernel) => inventory.answers.receiveStock(kernel, request)));
}

/** The carrier says something of an order's parcel, until it is taken. He has drawn its number from the order's id, so he knows it before we do. */
async function notify(world: CrashWorld, orderId: string, status: TrackingFact['status'], noticeId: string): Promise<void> {
  const trackingNumber = `DP${createHash('sha256').update(orderId).digest('hex').slice(0, 18).toUpperCase()}`;
  const { headers, body: raw } = say({ carrier: 'demo', trackingNumber, status, noticeId, occurredAt: timestamp(world.clock.now()) }, carrierSecret);
  granted(await world.ask((kernel) => shipping.answers.takeNotice(kernel, { ...bare, params: { carrier: 'demo' }, body: undefined, headers, raw })));
}

// ---------------------------------------------------------------- poison

/** What is left of it at the end, and nothing else is. */
export const explained = {
  parked: ['notification orders poison', 'shipping orders poison'],
  dead: ['invalid: OrderPlaced poison', 'malformed: specversion is not 1.0'],
} as const;

const poisonId = 'poison';

/** A stranger puts on the channels what nobody can read, and what reads well and does not fit: on a stream that one under the key of an order, before the order's own events. */
async function poison(world: CrashWorld, orderId: string): Promise<void> {
  const unreadable = stranger('Nonsense', 'poison', { specversion: '0.3' as '1.0' });
  await outside(world, ({ stream }) => stream.append('orders', [unreadable]));
  await outside(world, ({ queue }) => queue.send('reserve-stock', [unreadable], { delaySeconds: 0, attempts: 0 }));
  await outside(world, ({ stream }) => stream.append('inventory', [stranger('InventoryReserved', orderId, {})]));
  await outside(world, ({ queue }) => queue.send('reserve-stock', [stranger('OrderPlaced', 'poison', {})], { delaySeconds: 0, attempts: 0 }));

  function stranger(type: string, partitionkey: string, about: Partial<Message>): Message {
    const message: Message = {
      specversion: '1.0', id: poisonId, source: '/stranger', type, subject: partitionkey, time: timestamp(world.clock.now()), partitionkey, sequence: '0000000000',
      dataversion: '1', data: { orderId: partitionkey }, ...about,
    };
    world.ledger.plant(message);
    return message;
  }
}

/** Somebody who is no part of the shop does something on the ground beneath it, once. */
async function outside(world: CrashWorld, work: (drivers: Drivers) => Promise<unknown>): Promise<void> {
  for (;;) {
    try {
      await work(world.behind().drivers);
      return;
    } catch (error) {
      if (!isTransient(error)) throw error;
      await world.clock.sleep(200);
    }
  }
}

const listeners = 3;

/** An operator sees that a key is parked, tries it again, in vain, and drops what stands before the order's own events. */
async function freeParked(world: CrashWorld, orderId: string): Promise<void> {
  const { ask, clock } = world;
  const parked = async (): Promise<ParkedView[]> => jsonOf<{ items: ParkedView[] }>(granted(await ask((kernel) => operations.answers.listParked(kernel, { ...bare, params: undefined, body: undefined, query: { limit: 50 } })))).items;
  const mine = async (): Promise<ParkedView[]> => (await parked()).filter(({ partitionkey }) => partitionkey === orderId);
  while ((await mine()).length < listeners) await clock.sleep(1_000);
  for (const { id } of await parked()) await ask((kernel) => operations.answers.retryParkedKey(kernel, { ...bare, params: { id }, body: undefined }));
  for (let found = await mine(); found.length > 0; found = await mine()) {
    for (const { id } of found) await dropPoison(world, id);
    await clock.sleep(1_500);
  }
}

/** He looks before he drops, each time: when his answer was lost, the event that is the first now may be another one. */
async function dropPoison({ ask, askOnce }: CrashWorld, id: string): Promise<void> {
  const detail = await ask((kernel) => operations.answers.getParked(kernel, { ...bare, params: { id }, body: undefined }));
  if (isRefusal(detail) || (jsonOf<{ messages: Message[] }>(detail).messages[0]?.id !== poisonId)) return;
  await askOnce((kernel) => operations.answers.resolveParked(kernel, { ...bare, params: { id }, body: { why: 'nobody knows where it came from' } }));
}

function jsonOf<Json>(reply: Exclude<Reply, Refusal>): Json {
  if (!('json' in reply)) throw new Error('an answer in JSON');
  return reply.json as Json;
}
