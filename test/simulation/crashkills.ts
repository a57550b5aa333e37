import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { audit, type Audit } from '../../core/audit.ts';
import { collections } from '../../core/flow.ts';
import type { Document } from '../../core/kernel/execute.ts';
import { findings } from '../../core/kernel/list.ts';
import type { Kernel } from '../../core/kernel/service.ts';
import type { OrderView } from '../../core/order/events.ts';
import { statusOf, type Order } from '../../core/order/order.ts';
import { openShop } from '../../handlers/container.ts';
import { parseSettings } from '../../handlers/settings.ts';
import { key, partitionsOf, partsOf } from '../../ports/index.ts';
import { basket, client, eventually, type Answer, type Client } from '../support/client.ts';
import { randomFrom } from '../support/ids.ts';

/**
 * SIGKILL: the whole shop as a process of its own on one folder, killed again and again while orders, cancellations and receipts pour in over HTTP, and started again.
 * Every client asks again, under the same Idempotency-Key, until it is answered. In the end what is in the folder is compared with what the clients were told.
 */
export interface KillOptions {
  readonly kills: number;
  /** Draws the moments, and who orders what. */
  readonly seed: number;
  readonly say: (line: string) => void;
  /** Of the customers who order at the same time; 6 unless told. */
  readonly customers?: number;
}

export interface KillResult {
  readonly orders: number;
  readonly violations: readonly string[];
  readonly summary: string;
}

/** A shop that can be killed. */
export interface Victim {
  readonly api: Client;
  readonly folder: string;
  /** Resolves when it serves. With `untilReady: false` as soon as the process is there. */
  start(options?: { readonly untilReady: boolean }): Promise<void>;
  /** SIGKILL. */
  kill(): Promise<void>;
  /** SIGTERM: it closes in peace. */
  stop(): Promise<void>;
  /** True when it has ended by itself. */
  hasEnded(): boolean;
  remove(): Promise<void>;
}

const adminToken = 'a-token-for-the-kill';

export async function openVictim(): Promise<Victim> {
  const folder = await mkdtemp(join(tmpdir(), 'anyport-'));
  const port = await freePort();
  const api = client(`http://127.0.0.1:${port}`, adminToken);
  const env = {
    ...process.env, PORT: String(port), DATA_DIR: folder, ADAPTERS: 'embedded', ADMIN_TOKEN: adminToken, SAMPLE_CATALOGUE: 'off', RATE_LIMIT: 'off', LOG_LEVEL: 'silent',
    DEMO_CARRIER_DELIVERS_AFTER_SECONDS: '0.2', DEMO_CARRIER_SPEAKS: 'easypost', EASYPOST_WEBHOOK_SECRET: 'sécret',
  };
  let child: ChildProcess | undefined;

  async function end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    if (!child || hasEnded()) return;
    const exit = once(child, 'exit');
    child.kill(signal);
    await exit;
  }
  const hasEnded = (): boolean => child !== undefined && (child.exitCode !== null || child.signalCode !== null);

  return {
    api,
    folder,
    async start({ untilReady } = { untilReady: true }) {
      child = spawn(process.execPath, ['--import', 'tsx/esm', 'handlers/local.ts'], { stdio: ['ignore', 'ignore', 'inherit'], env });
      await once(child, 'spawn');
      if (untilReady) await isReady(api, hasEnded);
    },
    kill: () => end('SIGKILL'),
    stop: () => end('SIGTERM'),
    hasEnded,
    async remove() {
      await end('SIGKILL');
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function isReady(api: Client, hasEnded: () => boolean): Promise<void> {
  await eventually(async () => {
    if (hasEnded()) return;
    if ((await api.get('/readyz')).status !== 200) throw new Error('it is not ready');
  }, 60);
  if (hasEnded()) throw new Error('the shop has ended by itself while it was starting');
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

// ---------------------------------------------------------------- the clients

/** What the clients were told. */
interface Told {
  /** By Idempotency-Key. */
  readonly orders: Map<string, OrderView>;
  /** By the order's id: the status of the answer to its cancellation. */
  readonly cancels: Map<string, number>;
  /** Units by product. */
  readonly received: Map<string, number>;
  readonly violations: string[];
}

const plenty = ['A', 'B', 'C'];
const scarce = 'S';

interface Crowd {
  /** They finish what they have begun, and begin nothing new. */
  goHome(): Promise<void>;
}

function comeIn(api: Client, told: Told, random: () => number, customers: number): Crowd {
  let open = true;
  const isOpen = (): boolean => open;
  const loops = [receiving(api, told, random, isOpen), ...Array.from({ length: customers }, (_, n) => ordering(api, told, random, isOpen, `customer ${n}`))];
  return {
    async goHome() {
      open = false;
      await Promise.all(loops);
    },
  };
}

/** Asks until there is an answer that is one: a shop that is gone, that is not ready, or that is still at our first request is asked again. */
async function insist(ask: () => Promise<Answer>): Promise<Answer> {
  for (;;) {
    const answer = await ask().catch((error: unknown) => {
      // The connection was refused, or cut in the middle of an answer.
      if (error instanceof TypeError || error instanceof SyntaxError || (error as Error).name === 'AbortError') return undefined;
      throw error;
    });
    if (answer && answer.status < 500 && !isInFlight(answer)) return answer;
    await wait(20);
  }
}

const isInFlight = ({ status, body }: Answer): boolean => status === 409 && JSON.stringify(body).includes('in-flight');

async function ordering(api: Client, told: Told, random: () => number, isOpen: () => boolean, name: string): Promise<void> {
  for (let n = 0; isOpen(); n++) {
    const sku = plenty[Math.floor(random() * plenty.length)]!;
    const lines: [string, number][] = [[sku, 1 + Math.floor(random() * 3)], ...(random() < 0.2 ? [[scarce, 1] as [string, number]] : [])];
    const order = await place(api, told, `${name}, order ${n}`, lines);
    if (order && random() < 0.15) await cancel(api, told, order.id);
    if (order && random() < 0.05) await place(api, told, `${name}, order ${n}`, lines);
    await wait(10 + random() * 20);
  }
}

async function place(api: Client, told: Told, name: string, lines: [string, number][]): Promise<OrderView | undefined> {
  const { status, body } = await insist(() => api.post('/api/orders', basket(...lines), { 'idempotency-key': name.replaceAll(' ', '-') }));
  if (status !== 201) return void told.violations.push(`${name}: answered with ${status} ${JSON.stringify(body)}`);
  const known = told.orders.get(name);
  if (known && known.id !== (body as OrderView).id) told.violations.push(`${name}: answered with two orders, ${known.id} and ${(body as OrderView).id}`);
  told.orders.set(name, body as OrderView);
  return body as OrderView;
}

async function cancel(api: Client, told: Told, id: string): Promise<void> {
  const { status } = await insist(() => api.post(`/api/orders/${id}/cancel`, undefined));
  if (![200, 202, 409].includes(status)) told.violations.push(`the cancellation of ${id} was answered with ${status}`);
  told.cancels.set(id, status);
}

/** Of the scarce product a little arrives now and then. */
async function receiving(api: Client, told: Told, random: () => number, isOpen: () => boolean): Promise<void> {
  for (let n = 0; isOpen(); n++) {
    await receive(api, told, scarce, 1 + Math.floor(random() * 5), `note ${n}`);
    await wait(100 + random() * 100);
  }
}

async function receive(api: Client, told: Told, sku: string, quantity: number, name: string): Promise<void> {
  const { status } = await insist(() => api.adminPost(`/api/inventory/${sku}/receipts`, { quantity }, { 'idempotency-key': `${sku}-${name}`.replaceAll(' ', '-') }));
  if (status !== 201) told.violations.push(`the receipt ${name} was answered with ${status}`);
  told.received.set(sku, (told.received.get(sku) ?? 0) + quantity);
}

// ---------------------------------------------------------------- the kills

const ordersPerKill = 5;

export async function kills({ kills: count, seed, say, customers = 6 }: KillOptions): Promise<KillResult> {
  const begun = performance.now();
  const random = randomFrom(seed);
  const told: Told = { orders: new Map(), cancels: new Map(), received: new Map(), violations: [] };
  const victim = await openVictim();
  try {
    await victim.start();
    for (const sku of [...plenty, scarce]) {
      await victim.api.adminPut(`/api/products/${sku}`, { name: `Thing ${sku}`, price: { amount: 100, currency: 'GBP' } });
      if (sku !== scarce) await receive(victim.api, told, sku, 1_000_000, 'first');
    }
    const crowd = comeIn(victim.api, told, randomFrom(seed + 1), customers);
    for (let n = 1; n <= count; n++) {
      await killOnce(victim, random);
      if (n % 10 === 0 || n === count) say(`killed ${n} of ${count} times · ${told.orders.size} orders accepted · ${Math.round((performance.now() - begun) / 1_000)} s`);
    }
    await victim.start();
    // On a slow machine a shop is hardly open before it is killed: then they order a little longer.
    while (told.orders.size < ordersPerKill * count) await wait(20);
    await crowd.goHome();
    await receive(victim.api, told, scarce, 1_000_000, 'last');
    await settle(victim.api, say);
    await victim.stop();
    const letters = await compare(victim.folder, told);
    const seconds = Math.round((performance.now() - begun) / 1_000);
    const summary = [`SIGKILL ${count} of ${count} times (seed ${seed})`, `${told.orders.size} orders accepted`, `${letters} letters`, `${told.violations.length} violations`, `${seconds} s`].join(' · ');
    return { orders: told.orders.size, violations: told.violations, summary };
  } finally {
    await victim.remove();
  }
}

/** Most of the time while it serves, sometimes in its first moments, sometimes while it starts. */
async function killOnce(victim: Victim, random: () => number): Promise<void> {
  const kind = random();
  const part = random();
  if (kind < 0.1) {
    await victim.kill();
    await victim.start({ untilReady: false });
    await wait(200 + part * 800);
  } else {
    if (victim.hasEnded()) await victim.start();
    await wait(kind < 0.3 ? part * 30 : 5 + part * 400);
  }
  if (victim.hasEnded()) throw new Error('the shop has ended by itself');
  await victim.kill();
}

/** Until the shop itself finds nothing that does not agree; what is left after two minutes is for the comparison to name. */
async function settle(api: Client, say: (line: string) => void): Promise<void> {
  for (let n = 0; n < 120; n++) {
    const { body } = await api.adminGet('/api/audit');
    const { orders, faults } = body as Audit;
    if (faults.length === 0 && orders.Placed + orders.Backordered + orders.Reserved + orders.Shipped === 0) return;
    if (n % 10 === 9) say(`coming to rest: ${faults.length} things do not agree yet`);
    await wait(1_000);
  }
}

/** What is in the folder against what the clients were told; answers the number of letters. */
async function compare(folder: string, told: Told): Promise<number> {
  const fail = (what: string): void => void told.violations.push(what);
  const settings = parseSettings({ ADAPTERS: 'embedded', DATA_DIR: folder, LOG_LEVEL: 'silent' });
  const shop = await openShop(settings, { post: () => Promise.resolve(503) });
  try {
    const found = await ordersIn(shop.kernel);
    for (const fault of (await audit(shop.kernel)).faults) fail(`audit: ${fault}`);
    compareOrders(found, told, fail);
    await compareStock(shop.kernel, told, fail);
    return await compareLetters(folder, found, fail);
  } finally {
    await shop.close();
  }
}

async function ordersIn(kernel: Kernel): Promise<Map<string, Order>> {
  const found = new Map<string, Order>();
  for (const partition of partitionsOf(collections.orders)) {
    for (const row of await findings<Document<Order>>(kernel.store, [partition], key('order', ''))) if (row.body.state.placed) found.set(partsOf(row.key)[1]!, row.body.state);
  }
  return found;
}

function compareOrders(found: ReadonlyMap<string, Order>, told: Told, fail: (what: string) => void): void {
  const accepted = new Set([...told.orders.values()].map(({ id }) => id));
  if (accepted.size !== told.orders.size) fail(`${told.orders.size} requests have made ${accepted.size} orders`);
  for (const [name, { id, total }] of told.orders) {
    const order = found.get(id);
    if (!order) fail(`${name}: the order ${id} was accepted, and is lost`);
    else if (order.placed!.total.amount !== total.amount) fail(`${name}: the order ${id} is not what its customer was told`);
  }
  for (const [id, order] of found) {
    if (!accepted.has(id)) fail(`nobody has placed the order ${id}`);
    const status = statusOf(order);
    if (status !== 'Delivered' && status !== 'Cancelled') fail(`the order ${id} has come to rest as ${status}`);
    if (status === 'Cancelled' && !told.cancels.has(id)) fail(`nobody has cancelled the order ${id}`);
    if (status === 'Cancelled' && told.cancels.get(id) === 409) fail(`it was too late to cancel the order ${id}, and it was cancelled`);
  }
}

async function compareStock(kernel: Kernel, told: Told, fail: (what: string) => void): Promise<void> {
  const rows = await findings<{ received: number }>(kernel.store, partitionsOf(collections.stock), key('stock', ''));
  for (const [sku, quantity] of told.received) {
    const counted = rows.find((row) => row.key === key('stock', sku))?.body.received;
    if (counted !== quantity) fail(`of ${sku} ${quantity} have arrived, and ${counted} were counted`);
  }
}

async function compareLetters(folder: string, found: ReadonlyMap<string, Order>, fail: (what: string) => void): Promise<number> {
  const names = await readdir(join(folder, 'mailbox'), { recursive: true });
  const kept = names.filter((name) => name.endsWith('.eml')).map((name) => name.slice(name.lastIndexOf('/') + 1, -'.eml'.length));
  const due = new Set([...found].flatMap(([id, order]) => milestonesOf(order).map((milestone) => `${id}.${milestone}`)));
  const left = new Set(kept);
  if (left.size !== kept.length) fail(`${kept.length - left.size} letters are there twice`);
  for (const each of due) if (!left.has(each)) fail(`the letter ${each} is missing`);
  for (const each of left) if (!due.has(each)) fail(`the letter ${each} should not be there`);
  return kept.length;
}

function milestonesOf({ at }: Order): string[] {
  return ['confirmation', ...(at.Backordered ? ['backorder'] : []), ...(at.ShippingStopped ? ['cancelled'] : ['shipped', 'delivered'])];
}
