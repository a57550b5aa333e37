import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { openEmbedded } from '../adapters/embedded/index.ts';
import { systemClock } from '../adapters/system/index.ts';
import { collections } from '../core/flow.ts';
import { receiveStock } from '../core/inventory/index.ts';
import { execute } from '../core/kernel/execute.ts';
import type { OrderView, PlaceOrder } from '../core/order/events.ts';
import { findOrder, placeOrder } from '../core/order/index.ts';
import { products } from '../core/product/product.ts';
import { isRefusal, must, openStore, partitionOf, partitionsOf } from '../ports/index.ts';
import { readRetail } from './retail.ts';
import { openWorkshop, type Workshop } from './shop.ts';

/**
 * How fast it is, in one run on one machine; ratios mean more than figures. A lifecycle is an order placed, reserved, shipped and delivered, with its three letters
 * written, by the same handlers as HTTP and through all queues and streams.
 *
 *   npm run bench -- [--orders N] [--only memory|embedded]
 */
const { values } = parseArgs({ options: { orders: { type: 'string', default: '3000' }, only: { type: 'string' } } });
const count = Number(values.orders);
const families = ['memory', 'embedded'].filter((family) => values.only === undefined || values.only === family);
const folder = mkdtempSync(join(process.cwd(), '.bench-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

let opened = 0;
/** Syncs a second of this disk. */
let disk = 1;
const customer = { name: 'Anna Bell', email: 'anna@example.com' };
const address = { line1: '1 High Street', city: 'Leeds', postcode: 'LS1 4AP', country: 'GB' };
const row = (name: string, value: string): void => console.log(`  ${name.padEnd(58)} ${value}`);
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
  await run(family, 'one line an order, 1,000 products', oneLine(count, 1_000));
  await run(family, 'one line an order, one product in every order', oneLine(count, 1));
  await run(family, 'the real mix of lines', await realMix());
  await latency(family);
}

function oneLine(orders: number, variety: number): PlaceOrder[] {
  return Array.from({ length: orders }, (_, i) => ({ customer, address, lines: [{ sku: `SKU-${i % variety}`, quantity: 1 }] }));
}

async function realMix(): Promise<PlaceOrder[]> {
  const { invoices } = await readRetail(join(import.meta.dirname, 'samples', 'orders.csv.gz'));
  return invoices.filter(({ kind }) => kind === 'order').map(({ lines }) => ({ customer, address, lines: lines.map(({ sku, quantity }) => ({ sku, quantity })) }));
}

async function run(family: string, name: string, orders: readonly PlaceOrder[]): Promise<void> {
  const shop = await stocked(family, name, orders);
  const begin = performance.now();
  await placeAll(shop, orders, 200);
  await untilDone(shop, orders.length);
  const seconds = (performance.now() - begin) / 1_000;
  const lines = orders.reduce((sum, order) => sum + order.lines.length, 0);
  row(`${family}: lifecycles, ${name}`, `${rate(orders.length, seconds)}${lines === orders.length ? '' : `  (${rate(lines, seconds).replace('/s', ' lines/s')})`}`);
  await shop.stop();
}

/** From placing to shipped, at a load of 50 orders a second, as the order itself tells it. */
async function latency(family: string): Promise<void> {
  const orders = oneLine(300, 100);
  const shop = await stocked(family, 'latency', orders);
  const ids: string[] = [];
  for (const order of orders) {
    ids.push((await placed(shop, order)).id);
    await systemClock.sleep(20);
  }
  await untilDone(shop, orders.length);
  const views = await Promise.all(ids.map((id) => findOrder(shop.kernel, id)));
  const times = views.map((view) => {
    const at = (event: string): number => Date.parse(view!.history.find((entry) => entry.event === event)!.at);
    return at('OrderFulfillment') - at('OrderPlaced');
  });
  times.sort((a, b) => a - b);
  row(`${family}: from placed to shipped at 50 orders/s`, `p50 ${times[Math.floor(times.length * 0.5)]} ms, p99 ${times[Math.floor(times.length * 0.99)]} ms`);
  await shop.stop();
}

async function stocked(family: string, _name: string, orders: readonly PlaceOrder[]): Promise<Workshop> {
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
disk = diskRate();
row('this disk: append 600 bytes and fdatasync', `${Math.round(disk)}/s`);
await commits(1);
await commits(64);
for (const family of families) await lifecycles(family);
console.log();
