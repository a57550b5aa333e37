import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { openEmbedded } from '../adapters/embedded/index.ts';
import { systemClock } from '../adapters/system/index.ts';
import { collections } from '../core/flow.ts';
import { receiveStock } from '../core/inventory/index.ts';
import { execute } from '../core/kernel/execute.ts';
import { follow } from '../core/kernel/follow.ts';
import { say } from '../core/kernel/model.ts';
import type { AnyService, Kernel } from '../core/kernel/service.ts';
import type { OrderView, PlaceOrder } from '../core/order/events.ts';
import { findOrder, placeOrder } from '../core/order/index.ts';
import { products } from '../core/product/product.ts';
import { Defect, create, isRefusal, key, must, openStore, partitionOf, partitionsOf, timestamp, type Message } from '../ports/index.ts';
import { readRetail } from './retail.ts';
import { openEmptyShop, openWorkshop, type Workshop } from './shop.ts';

/**
 * How fast it is, in one run on one machine; ratios mean more than figures. A lifecycle is an order placed, reserved, shipped and delivered, with its three letters
 * written, by the same handlers as HTTP and through all queues and streams.
 *
 *   npm run bench -- [--orders N] [--only memory|embedded|azure|aws|cold|emulator]
 */
const { values } = parseArgs({ options: { orders: { type: 'string', default: '3000' }, only: { type: 'string' }, messages: { type: 'string' } } });
const count = Number(values.orders);
const wants = (part: string): boolean => values.only === undefined || values.only === part;
const families = ['memory', 'embedded'].filter(wants);
const folder = mkdtempSync(join(process.cwd(), '.bench-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

let opened = 0;
/** Syncs a second of this disk. */
let disk = 1;
const customer = { name: 'Anna Bell', email: 'anna@example.com' };
const address = { line1: '1 High Street', city: 'Leeds', postcode: 'LS1 4AP', country: 'GB' };
const row = (name: string, value: string): void => console.log(`  ${name.padEnd(70)} ${value}`);
const rate = (n: number, seconds: number): string => `${Math.round(n / seconds)}/s`;

function diskRate(): number {
  const file = openSync(join(folder, 'disk'), 'a');
  const bytes = Buffer.alloc(600, 1);
  const begin = performance.now();
  const times = 1_000;
  for (let i = 0; i < times; i++) {
    writeSync(file, bytes);
    fdatasyncSync(file);
  }
  closeSync(file);
  return times / ((performance.now() - begin) / 1_000);
}

/** A durable commit: three rows of 300 bytes. */
async function commits(callers: number): Promise<void> {
  const embedded = await openEmbedded({ dataDir: join(folder, `commits-${callers}`), clock: systemClock, queues: [], streams: [] });
  const store = openStore(embedded.store);
  const body = { text: 'x'.repeat(280) };
  const times = callers === 1 ? 1_500 : 20_000;
  let next = 0;
  const begin = performance.now();
  await Promise.all(
    Array.from({ length: callers }, async () => {
      for (let i = next++; i < times; i = next++) {
        await store.commit(partitionOf(collections.orders, String(i)), { writes: ['a', 'b', 'c'].map((part) => ({ op: 'create', key: `${part}|${i}`, body })) });
      }
    }),
  );
  const perSecond = times / ((performance.now() - begin) / 1_000);
  row(`embedded: durable commits of 3 rows, ${callers} caller${callers === 1 ? '' : 's'}`, `${Math.round(perSecond)}/s  (${(perSecond / disk).toFixed(1)} x the disk's own rate)`);
  await embedded.close();
}

async function lifecycles(family: string): Promise<void> {
  // What comes first would pay for the compiler, and all ratios with it.
  await run(family, undefined, oneLine(count, 1_000));
  const spread = await run(family, 'one line an order, 1,000 products', oneLine(count, 1_000));
  const hot = await run(family, 'one line an order, one product in every order', oneLine(count, 1));
  row(`${family}: that product against the 1,000`, `${(hot / spread).toFixed(2)} x  (0.50 x at least)`);
  await run(family, 'the real mix of lines', await realMix());
  const large = await run(family, `${largeLines} lines an order`, Array.from({ length: largeCount }, largeOrder));
  row(`${family}: a line of those against an order of one line`, `${((large * largeLines) / spread).toFixed(2)} x`);
  await besideLarge(family, spread);
  await latency(family, 'from placed to shipped at 50 orders/s', oneLine(Math.min(300, count), 100));
  await latency(family, `the same, beside one order of ${largeLines} lines a second`, oneLine(Math.min(300, count), 100), 50);
  await poison(family);
}

/** The largest order of the replayed shop. */
const largeLines = 1_112;
const largeCount = Math.max(1, Math.ceil(count / 300));
const largeOrder = (): PlaceOrder => ({ customer, address, lines: Array.from({ length: largeLines }, (_, i) => ({ sku: `SKU-${i}`, quantity: 1 })) });

/** Small orders while large ones that want the same products, and all others, are under way. */
async function besideLarge(family: string, alone: number): Promise<void> {
  const small = oneLine(count, 1_000);
  const every = Math.floor(count / largeCount);
  const shop = await stocked(family, [...small, largeOrder()]);
  const begin = performance.now();
  await placeAll(shop, small.flatMap((order, i) => (i % every === 0 ? [order, largeOrder()] : [order])), 200);
  await untilDone(shop, count + largeCount);
  const rateBeside = count / ((performance.now() - begin) / 1_000);
  row(`${family}: one line an order, beside ${largeCount} orders of ${largeLines} lines`, `${Math.round(rateBeside)}/s  (${(rateBeside / alone).toFixed(2)} x alone)`);
  await shop.stop();
}

function oneLine(orders: number, variety: number): PlaceOrder[] {
  return Array.from({ length: orders }, (_, i) => ({ customer, address, lines: [{ sku: `SKU-${i % variety}`, quantity: 1 }] }));
}

async function realMix(): Promise<PlaceOrder[]> {
  const { invoices } = await readRetail(join(import.meta.dirname, 'samples', 'orders.csv.gz'));
  return invoices.filter(({ kind }) => kind === 'order').map(({ lines }) => ({ customer, address, lines: lines.map(({ sku, quantity }) => ({ sku, quantity })) }));
}

/** Answers the lifecycles a second; without a name nobody is told. */
async function run(family: string, name: string | undefined, orders: readonly PlaceOrder[]): Promise<number> {
  const shop = await stocked(family, orders);
  const begin = performance.now();
  await placeAll(shop, orders, 200);
  await untilDone(shop, orders.length);
  const seconds = (performance.now() - begin) / 1_000;
  const lines = orders.reduce((sum, order) => sum + order.lines.length, 0);
  if (name !== undefined) row(`${family}: lifecycles, ${name}`, `${rate(orders.length, seconds)}${lines === orders.length ? '' : `  (${rate(lines, seconds).replace('/s', ' lines/s')})`}`);
  await shop.stop();
  return orders.length / seconds;
}

/** From placing to shipped, at a load of 50 orders a second, as the order itself tells it; `largeEvery` so many orders a large one is placed, whose time does not count. */
async function latency(family: string, name: string, orders: readonly PlaceOrder[], largeEvery = Infinity): Promise<void> {
  const shop = await stocked(family, largeEvery < Infinity ? [...orders, largeOrder()] : orders);
  const ids: string[] = [];
  const larges: Promise<OrderView>[] = [];
  for (const [i, order] of orders.entries()) {
    if (i % largeEvery === largeEvery - 1) larges.push(placed(shop, largeOrder()));
    ids.push((await placed(shop, order)).id);
    await systemClock.sleep(20);
  }
  await Promise.all(larges);
  await untilDone(shop, orders.length + larges.length);
  const views = await Promise.all(ids.map((id) => findOrder(shop.kernel, id)));
  const times = views.map((view) => {
    const at = (event: string): number => Date.parse(view!.history.find((entry) => entry.event === event)!.at);
    return at('OrderFulfillment') - at('OrderPlaced');
  });
  row(`${family}: ${name}`, `p50 ${percentile(times, 0.5)} ms, p99 ${percentile(times, 0.99)} ms`);
  await shop.stop();
}

const percentile = (times: readonly number[], part: number): number => [...times].sort((a, b) => a - b)[Math.floor(times.length * part)]!;

/** From append to handled, of all events but those of the poisoned key, at 2,000 events a second over 4 partitions; each handler commits a row. */
async function poison(family: string): Promise<void> {
  const without: number[] = [];
  const withOne: number[] = [];
  // In turns, so that what else the machine is doing falls on both.
  for (const times of [without, withOne, without, withOne]) times.push(...(await delays(family, times === withOne)));
  const text = (times: readonly number[]): string => `p50 ${percentile(times, 0.5).toFixed(1)} ms, p99 ${percentile(times, 0.99).toFixed(1)} ms`;
  row(`${family}: from said to heard at 2,000 events/s`, text(without));
  row(`${family}: the same, one of ${poisonEvents} events poisoned`, `${text(withOne)}  (p99 ${(percentile(withOne, 0.99) / percentile(without, 0.99)).toFixed(2)} x, 2.00 x at most)`);
}

const poisonEvents = Math.min(10_000, count * 40);

async function delays(family: string, poisoned: boolean): Promise<number[]> {
  const events = poisonEvents;
  const keys = events / 4;
  const shop = await openEmptyShop(family, join(folder, `shop-${++opened}`));
  const { kernel } = shop;
  const appendedAt = new Map<string, number>();
  const times: number[] = [];
  const bad = orderIdOf(keys / 2);
  let parked = 0;
  const listener: AnyService = {
    name: 'shipping', answers: {}, ticks: {},
    hears: {
      async CancellationRequested(_: Kernel, message: Message) {
        if (poisoned && message.subject === bad && Number(message.sequence) >= 2) throw new Defect('by the benchmark');
        await kernel.store.commit(partitionOf(collections.shipments, message.subject), { writes: [create(key('heard', message.id), {})] });
        if (message.subject === bad) parked++;
        else times.push(performance.now() - appendedAt.get(message.id)!);
      },
    },
  };
  const stop = new AbortController();
  const partitions = await kernel.stream.partitions('orders');
  const following = partitions.map((partition) => follow(kernel, listener, { stream: 'orders', partition, signal: stop.signal }));
  const perTick = 20;
  const begin = performance.now();
  for (let n = 0; n < events; n += perTick) {
    const messages = Array.from({ length: perTick }, (_, i) => asked((n + i) % keys, Math.floor((n + i) / keys)));
    for (const { id } of messages) appendedAt.set(id, performance.now());
    await kernel.stream.append('orders', messages);
    await systemClock.sleep(Math.max(0, begin + (n / perTick + 1) * 10 - performance.now()));
  }
  const others = events - events / keys;
  while (times.length < others) await systemClock.sleep(5);
  must(parked === (poisoned ? 2 : events / keys), 'the benchmark poisons what it means to');
  stop.abort();
  await Promise.all(following);
  await shop.close();
  return times;
}

const orderIdOf = (n: number): string => n.toString(32).padStart(26, '0');
const asked = (n: number, sequence: number): Message =>
  say('CancellationRequested', { orderId: orderIdOf(n) }, { subject: orderIdOf(n), sequence, at: timestamp(systemClock.now()) }).message;

async function stocked(family: string, orders: readonly PlaceOrder[]): Promise<Workshop> {
  const shop = await openWorkshop(family, join(folder, `shop-${++opened}`));
  const skus = [...new Set(orders.flatMap(({ lines }) => lines.map(({ sku }) => sku)))];
  await Promise.all(
    skus.map(async (sku) => {
      await execute(shop.kernel, products, { id: sku, command: { do: 'describe', sku, info: { name: `Thing ${sku}`, description: '', price: { amount: 250, currency: 'GBP' } } } });
      await receiveStock(shop.kernel, sku, 1_000_000);
    }),
  );
  return shop;
}

async function placed(shop: Workshop, order: PlaceOrder): Promise<OrderView> {
  const view = await placeOrder(shop.kernel, order, undefined);
  must(!isRefusal(view), 'the benchmark orders what there is');
  return view;
}

async function placeAll(shop: Workshop, orders: readonly PlaceOrder[], atOnce: number): Promise<void> {
  const rest = orders.values();
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (const order of rest) await placed(shop, order);
    }),
  );
}

/** Delivered, and the last letter confirmed. */
async function untilDone(shop: Workshop, orders: number): Promise<void> {
  while (shop.delivered() < orders || (await isOpen(shop))) await systemClock.sleep(5);
}

async function isOpen({ kernel }: Workshop): Promise<boolean> {
  for (const collection of [collections.letters, collections.shipments, collections.parcels]) {
    for (const partition of partitionsOf(collection)) {
      for (const prefix of ['open|', 'outbox|']) if ((await kernel.store.query(partition, { prefix, limit: 1 })).rows.length > 0) return true;
    }
  }
  return false;
}

console.log(`\nnode ${process.version}, ${count} orders each\n`);
if (families.includes('embedded')) {
  disk = diskRate();
  row('this disk: append 600 bytes and fdatasync', `${Math.round(disk)}/s`);
  await commits(1);
  await commits(64);
}
for (const family of families) await lifecycles(family);
if (wants('azure')) await (await import('./azure.ts')).benchAzure(row);
if (wants('aws')) await (await import('./aws.ts')).benchAws(row);
if (wants('cold')) await (await import('./cold.ts')).benchCold(row);
if (wants('emulator')) await import('./emulator.ts');
console.log();
