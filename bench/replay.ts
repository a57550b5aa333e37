import { parseArgs } from 'node:util';
import { SingleBar, Presets } from 'cli-progress';
import { audit, type Audit } from '../core/audit.ts';
import { collections } from '../core/flow.ts';
import { receiveStock } from '../core/inventory/index.ts';
import { execute } from '../core/kernel/execute.ts';
import type { Kernel } from '../core/kernel/service.ts';
import type { MailView } from '../core/notification/events.ts';
import { notification } from '../core/notification/index.ts';
import { order } from '../core/order/index.ts';
import { PlaceOrder, type OrderView } from '../core/order/events.ts';
import { products } from '../core/product/product.ts';
import { WrongSetting, parseSettings } from '../handlers/settings.ts';
import { Invalid, PortError, isRefusal, isTransient, partitionsOf } from '../ports/index.ts';
import { createMatcher, demandOf, readRetail, type Invoice, type Retail } from './retail.ts';
import { openWorkshop, type Workshop } from './shop.ts';

/**
 * A year of real orders through the whole shop, by the same handlers as HTTP, and an audit at the end. Killed at any moment and started again with the same folder it
 * goes on where it was: every product, receipt and order has a key of its own, so what was done is answered and not done again.
 */
export interface ReplayOptions {
  readonly file: string;
  /** The first so many orders; all unless told. */
  readonly orders?: number;
  readonly adapters: string;
  /** This share of each product's total demand is received beforehand. */
  readonly stock: number;
  readonly dataDir: string;
  readonly say: (line: string) => void;
  readonly progress?: (done: number, total: number) => void;
}

export interface Report {
  readonly audit: Audit;
  /** Uncertain letters of which somebody has looked what became of them. */
  readonly cleared: number;
  readonly placed: number;
  readonly lines: number;
  readonly cancelled: number;
  readonly unmatched: number;
  readonly refused: number;
  readonly rejected: Retail['rejected'];
  readonly seconds: number;
}

const atOnce = 128;
/** Orders that have been placed and not yet delivered, beyond which placing waits: the year should flow, not pile up. */
const underWayMax = 2_000;

export async function replay(options: ReplayOptions): Promise<Report> {
  const { file, stock, say, progress } = options;
  const retail = await readRetail(file);
  const invoices = firstOrders(retail.invoices, options.orders ?? Infinity);
  say(`${retail.rows} rows read: ${invoices.length} invoices to replay, ${retail.products.size} products.`);
  const shop = await openWorkshop(options.adapters, options.dataDir);
  try {
    await stockUp(shop.kernel, retail, demandOf(invoices), stock);
    say('Products are described and in stock. The year begins.');
    const begin = performance.now();
    const counts = await placeAll(shop, invoices, progress);
    const result = await untilQuiet(shop);
    return { ...counts, ...result, rejected: retail.rejected, seconds: (performance.now() - begin) / 1_000 };
  } finally {
    await shop.stop();
  }
}

function firstOrders(invoices: readonly Invoice[], most: number): Invoice[] {
  const chosen: Invoice[] = [];
  let orders = 0;
  for (const invoice of invoices) {
    if (invoice.kind === 'order' && orders++ >= most) break;
    chosen.push(invoice);
  }
  return chosen;
}

async function stockUp(kernel: Kernel, { products: known }: Retail, demand: ReadonlyMap<string, number>, share: number): Promise<void> {
  await inTurns([...known.values()], atOnce, async ({ sku, name, price }) => {
    await execute(kernel, products, { id: sku, command: { do: 'describe', sku, info: { name: name.slice(0, 200), description: '', price: { amount: price, currency: 'GBP' } } } });
    const quantity = Math.ceil((demand.get(sku) ?? 0) * share);
    if (quantity > 0) await receiveStock(kernel, sku, quantity, `replay-${sku}`);
  });
}

async function placeAll(shop: Workshop, invoices: readonly Invoice[], progress: ReplayOptions['progress']): Promise<Pick<Report, 'placed' | 'lines' | 'cancelled' | 'unmatched' | 'refused'>> {
  const { kernel } = shop;
  const matcher = createMatcher();
  const ids = new Map<string, Promise<string | undefined>>();
  const counts = { placed: 0, lines: 0, cancelled: 0, unmatched: 0, refused: 0 };
  let done = 0;
  /** Those that will not be delivered by this run: they were already when it began, or they wait for stock. */
  let settled = 0;

  async function one(invoice: Invoice): Promise<void> {
    if (invoice.kind === 'order') await ids.get(invoice.id);
    else if (await cancel(invoice)) counts.cancelled++;
    else counts.unmatched++;
    progress?.(++done, invoices.length);
  }

  async function place(invoice: Invoice): Promise<string | undefined> {
    const placed = await placeOne(kernel, invoice);
    if (!placed) counts.refused++;
    else {
      counts.placed++;
      counts.lines += placed.lines.length;
      const status = (await kernel.published.order(placed.id))?.status;
      if (status === 'Delivered' || status === 'Cancelled') settled++;
    }
    return placed?.id;
  }

  async function cancel(invoice: Invoice): Promise<boolean> {
    const meant = matcher.cancelled(invoice);
    const id = meant === undefined ? undefined : await ids.get(meant);
    if (id === undefined) return false;
    const reply = await order.answers.cancelOrder(kernel, { params: { id }, query: undefined, body: undefined, idempotencyKey: undefined, headers: {}, raw: new Uint8Array() });
    return !isRefusal(reply); // a refusal: it has been shipped, and what comes back then is a return, not a cancellation
  }

  await inTurns(invoices, atOnce, async (invoice) => {
    if (invoice.kind === 'order') {
      matcher.ordered(invoice);
      ids.set(invoice.id, place(invoice));
    }
    await one(invoice);
    while (counts.placed - shop.delivered() - settled > underWayMax) {
      const before = shop.delivered();
      await kernel.clock.sleep(50);
      // Nothing moves: those that are left wait for stock.
      if (shop.delivered() === before) settled += 100;
    }
  });
  return counts;
}

async function placeOne(kernel: Kernel, { id, customer, country, lines }: Invoice): Promise<OrderView | undefined> {
  const asked = PlaceOrder.safeParse({
    customer: { name: `Customer ${customer}`, email: `${customer}@customers.example` },
    address: { line1: '1 High Street', city: 'Town', postcode: '1000', country },
    lines,
  });
  if (!asked.success) return undefined;
  const reply = await order.answers.placeOrder(kernel, { body: asked.data, idempotencyKey: `replay-${id}`, params: undefined, query: undefined, headers: {}, raw: new Uint8Array() });
  return !isRefusal(reply) && 'json' in reply ? (reply.json as OrderView) : undefined;
}

/** Waits until nothing is under way any more: nothing waits for anybody, and two looks in a row agree. Then the last look is the audit. */
async function untilQuiet({ kernel }: Workshop): Promise<Pick<Report, 'audit' | 'cleared'>> {
  let before = '';
  let patience = 60;
  let cleared = 0;
  for (;;) {
    // A store that has much to do may give no answer now; it will later.
    const found = await look(kernel, (count) => (cleared += count)).catch((error: unknown) => {
      if (isTransient(error)) return undefined;
      throw error;
    });
    if (found) {
      const now = JSON.stringify(found);
      if (now === before && (found.faults.length === 0 || patience-- <= 0)) return { audit: found, cleared };
      before = now;
    }
    await kernel.clock.sleep(500);
  }
}

async function look(kernel: Kernel, clear: (count: number) => void): Promise<Audit | undefined> {
  if (await isBusy(kernel)) return undefined;
  clear(await clearLetters(kernel));
  return audit(kernel);
}

/**
 * Where a service for letters tells nobody what became of one (SES, a mail server), those that were under way when a process was killed are uncertain, and a person looks. Here
 * that is done by the letters that lie on this machine: one that is there was sent, one that is not is sent again.
 */
async function clearLetters(kernel: Kernel): Promise<number> {
  const { mailbox } = kernel.mailer;
  if (!mailbox) return 0;
  const asked = { body: undefined, idempotencyKey: undefined, headers: {}, raw: new Uint8Array() };
  const reply = await notification.answers.listMails(kernel, { ...asked, params: undefined, query: { limit: 200, state: 'uncertain' } });
  const { items } = ('json' in reply ? reply.json : { items: [] }) as { readonly items: readonly MailView[] };
  for (const { id } of items) await notification.answers[(await mailbox.read(id)) ? 'resolveMail' : 'retryMail'](kernel, { ...asked, params: { id }, query: undefined });
  return items.length;
}

/** A cheap look at rows that say that somebody has to come back. */
async function isBusy(kernel: Kernel): Promise<boolean> {
  for (const collection of [collections.invorder, collections.shipments, collections.letters, collections.orders]) {
    const pages = await Promise.all(partitionsOf(collection).flatMap((partition) => ['open|', 'outbox|'].map((prefix) => kernel.store.query(partition, { prefix, limit: 1 }))));
    if (pages.some(({ rows }) => rows.length > 0)) return true;
  }
  return false;
}

/** So many at once, begun in order. */
async function inTurns<T>(items: readonly T[], most: number, work: (item: T) => Promise<void>): Promise<void> {
  const rest = items.values();
  await Promise.all(
    Array.from({ length: most }, async () => {
      for (const item of rest) await work(item);
    }),
  );
}

// ---------------------------------------------------------------- the command

const usage = 'usage: npm run replay -- FILE [--orders N] [--adapters memory|embedded|azure|aws] [--stock SHARE]     (the data folder is DATA_DIR, .data/replay unless set)';

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: { orders: { type: 'string' }, adapters: { type: 'string', default: 'embedded' }, stock: { type: 'string', default: '1' }, help: { type: 'boolean' } } });
  if (values.help || positionals.length !== 1) {
    console.log(usage);
    process.exitCode = values.help ? 0 : 2;
    return;
  }
  parseSettings({ ADAPTERS: values.adapters });
  const bar = process.stdout.isTTY ? new SingleBar({ format: '  {bar} {percentage}%  {value}/{total} invoices  {duration_formatted}', etaBuffer: 1_000 }, Presets.shades_grey) : undefined;
  let started = false;
  const report = await replay({
    file: positionals[0]!,
    ...(values.orders === undefined ? {} : { orders: numberOf('--orders', values.orders, 1, 1e9) }),
    adapters: values.adapters,
    stock: numberOf('--stock', values.stock, 0, 100),
    dataDir: process.env['DATA_DIR'] ?? '.data/replay',
    say: console.log,
    progress(done, total) {
      if (!started) bar?.start(total, 0);
      started = true;
      bar?.update(done);
    },
  });
  bar?.stop();
  console.log(reportOf(report));
  process.exitCode = report.audit.faults.length === 0 ? 0 : 1;
}

function numberOf(name: string, text: string, min: number, max: number): number {
  const n = Number(text);
  if (!Number.isFinite(n) || n < min || n > max) throw new Invalid(`${name} must be a number from ${min} to ${max}`);
  return n;
}

export function reportOf({ audit: found, cleared, placed, lines, cancelled, unmatched, refused, rejected, seconds }: Report): string {
  const rows: [string, string | number][] = [
    ['orders placed', `${placed}  (${lines} lines)`],
    ...Object.entries(found.orders).filter(([, n]) => n > 0).map(([status, n]): [string, number] => [`  ${status.toLowerCase()}`, n]),
    ['cancellations taken', cancelled],
    ['return-unmatched', unmatched],
    ['orders refused', refused],
    ...Object.entries(rejected).filter(([, n]) => n > 0).map(([reason, n]): [string, number] => [`rows rejected: ${reason}`, n]),
    ...Object.entries(found.mails).filter(([, n]) => n > 0).map(([milestone, n]): [string, number] => [`mails: ${milestone}`, n]),
    ...(cleared === 0 ? [] : [['letters cleared up by a person', cleared] satisfies [string, number]]),
    ['time', `${seconds.toFixed(1)} s  (${(placed / seconds).toFixed(0)} orders/s, ${(lines / seconds).toFixed(0)} lines/s)`],
    ['waiting, parked, dead', `${found.waiting}, ${found.parked}, ${found.dead}`],
    ['audit', found.faults.length === 0 ? `clean: ${found.products} products, every order in one end state, one mail a milestone` : `${found.faults.length} FAULTS`],
  ];
  return ['', ...rows.map(([name, value]) => `  ${name.padEnd(34)} ${value}`), ...found.faults.slice(0, 30).map((fault) => `    ${fault}`), ''].join('\n');
}

if (import.meta.url === `file://${process.argv[1]}`) {
  main().catch((error: unknown) => {
    const plain = error instanceof Invalid || error instanceof PortError || error instanceof WrongSetting || (error as { code?: string }).code !== undefined;
    console.error(plain ? `replay: ${(error as Error).message}` : error);
    process.exitCode = 2;
  });
}
