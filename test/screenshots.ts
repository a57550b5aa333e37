import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { BrowserContext } from 'playwright-core';
import { collections } from '../core/flow.ts';
import { startLocal } from '../handlers/local.ts';
import { parseSettings } from '../handlers/settings.ts';
import { create, key, partitionOf, replace, type Collection, type Message } from '../ports/index.ts';
import { openBrowser } from './support/browser.ts';
import { client, eventually } from './support/client.ts';

/**
 * `npm run screenshots`: every page of the shop and of the console, on desktop and phone, light and dark. Whole ones go into `screenshots/`; a sheet of each page with its four
 * looks goes with an index of them all into `docs/pictures/`, where the README shows them. `--into FOLDER` puts both there; `--only NAME,NAME` makes those pages alone.
 */
const { values: wished } = parseArgs({ options: { into: { type: 'string' }, only: { type: 'string' } } });
const target = wished.into ?? 'screenshots';
const gallery = wished.into ?? join('docs', 'pictures');
const only = wished.only?.split(',');
const folder = await mkdtemp(join(tmpdir(), 'anyport-'));
const shop = await startLocal(parseSettings({ PORT: '0', DATA_DIR: folder, LOG_LEVEL: 'error', ADMIN_TOKEN: 'a-token-for-the-pictures', DEMO_CARRIER_DELIVERS_AFTER_SECONDS: '1' }));
const api = client(shop.url, shop.adminToken);
const { items } = (await api.get('/api/products?limit=200')).body as { items: { sku: string; stock: string }[] };
const inStock = items.filter(({ stock }) => stock === 'InStock').map(({ sku }) => sku);
const gone = items.find(({ stock }) => stock === 'OutOfStock')!.sku;
const order = async (...skus: string[]): Promise<string> =>
  (
    await api.post('/api/orders', {
      customer: { name: 'Anna Bell', email: 'anna@example.com' },
      address: { line1: '1 High Street', city: 'Leeds', postcode: 'LS1 4AP', country: 'GB' },
      lines: skus.map((sku, n) => ({ sku, quantity: n + 1 })),
    })
  ).body.id as string;
const delivered = await order(...inStock.slice(0, 3));
await api.until(delivered, 'Delivered');
const waiting = await order(gone, inStock[3]!);
await api.until(waiting, 'Backordered');

const pages: Record<string, string> = {
  catalogue: '/', search: '/?q=bag', nothing: '/?q=zebra', product: `/products/${inStock[1]}`, gone: `/products/${gone}`, basket: '/basket', checkout: '/checkout',
  delivered: `/orders/${delivered}`, waiting: `/orders/${waiting}`, mailbox: '/mailbox', letter: `/mailbox/${delivered}.shipped`, missing: '/products/NONE',
};

// ---------------------------------------------------------------- what the console has to show

/** An hour lies behind the shop: its orders are as they would be, and what they carry of times is told earlier. */
const { kernel } = shop.shop;
async function edit<Body>(collection: Collection, noun: string, id: string, change: (body: Body) => Body): Promise<void> {
  const row = (await kernel.store.get<Body>(partitionOf(collection, id), key(noun, id)))!;
  await kernel.store.commit(partitionOf(collection, id), { writes: [replace(row, change(row.body))] });
}
interface OrderRow {
  readonly state: { readonly at: Readonly<Record<string, string>> };
}
async function letHourPass(): Promise<void> {
  const ids = await Promise.all(Array.from({ length: 90 }, (_, n) => order(inStock[5 + ((n * 7) % (inStock.length - 6))]!)));
  await Promise.all(ids.map((id) => api.until(id, 'Delivered', 60)));
  for (const [n, id] of ids.entries()) {
    const began = Date.now() - 3_500_000 * (((n * 37) % 90) / 90);
    const [reserve, ship, deliver] = [400 + ((n * 131) % 900), 3_000 + ((n * 977) % 9_000), 120_000 + ((n * 7_919) % 400_000)];
    const told: Record<string, number> = { OrderPlaced: began, InventoryReserved: began + reserve, OrderFulfillment: began + reserve + ship, OrderDelivered: Math.min(Date.now(), began + reserve + ship + deliver) };
    await edit<OrderRow>(collections.orders, 'order', id, (body) => ({ ...body, state: { ...body.state, at: Object.fromEntries(Object.keys(body.state.at).map((event) => [event, new Date(told[event]!).toISOString()])) } }));
  }
}
const message = (type: string, source: string, data: object): Message => ({
  specversion: '1.0', id: `${kernel.ids.random()}:1`, source, type, subject: waiting, partitionkey: waiting, sequence: '0000000000', time: new Date().toISOString(), dataversion: '1', correlationid: waiting, data,
});
interface LettersRow {
  readonly state: { readonly mails: Readonly<Record<string, object>> };
}
async function troubleComes(): Promise<void> {
  const at = new Date().toISOString();
  await kernel.queue.send('reserve-stock', [1, 2, 3].map(() => message('OrderPlaced', '/order', { orderId: waiting, placedAt: 'yesterday' })));
  await kernel.stream.append('inventory', [message('InventoryReserved', '/inventory', { orderId: waiting })]);
  await edit<LettersRow>(collections.letters, 'letters', delivered, (body) => ({ ...body, state: { ...body.state, mails: { ...body.state.mails, delivered: { state: 'uncertain', at } } } }));
  await kernel.store.commit(partitionOf(collections.shipments, waiting), { writes: [create(key('shipment', waiting), { said: 0, state: { claimedAt: at, uncertain: true } })] });
  await eventually(async () => {
    for (const [kind, wanted] of [['dead-letters', 3], ['parked', 3]] as const) if ((await api.adminGet(`/api/${kind}`)).body.items.length < wanted) throw new Error(`too few ${kind}`);
    const { dead, letters, bookings } = (await api.adminGet('/api/pulse')).body as { dead: { letters: number }[]; letters: { uncertain: number }; bookings: { uncertain: number } };
    if (!dead.some((each) => each.letters > 0) || letters.uncertain === 0 || bookings.uncertain === 0) throw new Error('the console does not know yet');
  });
}
/** What an operator has done so far. */
async function actsAreDone(): Promise<void> {
  await api.adminPost(`/api/inventory/${inStock[0]}/receipts`, { quantity: 48 });
  await api.adminPost(`/api/mails/${delivered}.delivered/resolve`, {});
  await api.adminPost('/api/parked/retry', {});
}
async function consolePages(): Promise<Record<string, string>> {
  const first = async (kind: string): Promise<string> => ((await api.adminGet(`/api/${kind}`)).body.items as { id: string }[])[0]!.id;
  const [dead, parked] = [await first('dead-letters'), await first('parked')];
  return {
    'console-now': '/console', 'console-orders': '/console/orders', 'console-nothing': '/console/orders?q=zebra', 'console-order': `/console/orders/${delivered}`, 'console-waiting': `/console/orders/${waiting}`,
    'console-products': '/console/products', 'console-product': `/console/products/${gone}`, 'console-trouble': '/console/trouble', 'console-dead-letters': '/console/trouble/dead-letters',
    'console-dead-letter': `/console/trouble/dead-letters/${dead}`, 'console-parked': `/console/trouble/parked/${parked}`, 'console-booking': `/console/decide?kind=bookings&do=resolve&id=${waiting}`,
    'console-decide': '/console/decide?kind=mails&do=retry&cause=uncertain', 'console-pace': '/console/pace?span=1h', 'console-audit': '/console/audit?run=yes',
  };
}
async function signIn(context: BrowserContext): Promise<void> {
  const page = await context.newPage();
  await page.goto('/console');
  await page.fill('#token', shop.adminToken);
  await page.click('main button');
  await page.waitForURL('**/console');
  await page.close();
}

const isConsoleWished = only === undefined || only.some((name) => name.startsWith('console-') && name !== 'console-sign-in');
if (isConsoleWished) await letHourPass();
for (const place of [target, gallery]) await mkdir(place, { recursive: true });
const browser = await openBrowser();
const looks = Object.entries({ desktop: { width: 1280, height: 900 }, phone: { width: 390, height: 844 } }).flatMap(([size, viewport]) => (['light', 'dark'] as const).map((colorScheme) => ({ size, viewport, colorScheme })));
type Look = (typeof looks)[number];

async function shoot({ size, viewport, colorScheme }: Look, shown: Record<string, string>, prepare: (context: BrowserContext) => Promise<void>): Promise<void> {
  const context = await browser.newContext({ baseURL: shop.url, viewport, colorScheme, deviceScaleFactor: size === 'phone' ? 2 : 1 });
  await prepare(context);
  const page = await context.newPage();
  for (const [name, path] of Object.entries(shown)) {
    if (!isWished(name)) continue;
    await page.goto(path);
    await page.screenshot({ path: join(target, `${name}-${size}-${colorScheme}.png`), fullPage: !['catalogue', 'console-orders', 'console-products'].includes(name) });
  }
  await context.close();
}
async function fillBasket(context: BrowserContext): Promise<void> {
  const page = await context.newPage();
  for (const sku of [inStock[0]!, inStock[4]!, gone]) {
    await page.goto(`/products/${sku}`);
    await page.click('button:has-text("Add to basket")');
    await page.waitForLoadState('networkidle');
  }
  await page.close();
}


// ---------------------------------------------------------------- sheets

/** The upper part of each look, side by side. */
async function drawSheet(name: string): Promise<void> {
  const context = await browser.newContext({ viewport: { width: 868, height: 300 }, deviceScaleFactor: 1.5 });
  const page = await context.newPage();
  const files = await Promise.all(looks.map(async ({ size, colorScheme }) => ({ size, data: (await readFile(join(target, `${name}-${size}-${colorScheme}.png`))).toString('base64') })));
  files.sort((a, b) => Number(a.size === 'phone') - Number(b.size === 'phone'));
  const [light, dark, smallLight, smallDark] = files.map(({ size, data }) => `<img class="${size}" src="data:image/png;base64,${data}">`);
  await page.setContent(`<!doctype html><style>
    body { margin: 0; padding: 8px; display: grid; grid-template-columns: 640px 204px; gap: 8px; background: #8a8f98 }
    img { height: 440px; object-fit: cover; object-position: top; border-radius: 6px } .desktop { width: 640px } .phone { width: 204px }
  </style>${light}${smallLight}${dark}${smallDark}`);
  await page.screenshot({ path: join(gallery, `${name}.jpg`), type: 'jpeg', quality: 70, fullPage: true });
  await context.close();
}

const isWished = (name: string): boolean => only === undefined || only.includes(name);
const wishes = (shown: Record<string, string>): string[] => Object.keys(shown).filter(isWished);
const made: string[] = [];
async function shootAll(shown: Record<string, string>, prepare: (context: BrowserContext) => Promise<void>): Promise<void> {
  if (wishes(shown).length === 0) return;
  for (const look of looks) await shoot(look, shown, prepare);
  for (const name of wishes(shown)) await drawSheet(name);
  made.push(...wishes(shown));
}

await shootAll(pages, fillBasket);
await shootAll({ 'console-sign-in': '/console/sign-in' }, async () => {});
if (isConsoleWished) {
  await shootAll({ 'console-well': '/console' }, signIn);
  await troubleComes();
  await shootAll(await consolePages(), signIn);
  await actsAreDone();
  await shootAll({ 'console-acts': '/console/acts' }, signIn);
}
await browser.close();
await shop.stop();
await rm(folder, { recursive: true });
const unknown = only?.filter((name) => !made.includes(name)) ?? [];
if (unknown.length > 0) {
  console.error(`there is no page called ${unknown.join(', ')}`);
  process.exitCode = 1;
}
const titled = (name: string): string => name.replace(/^console-/, 'console: ').replaceAll('-', ' ');
const index = ['# Every page', '', 'On desktop and phone, light and dark, as `npm run screenshots` has seen them. The upper part of each; that command keeps them whole in `screenshots/`.', ''];
if (only === undefined || wished.into !== undefined) await writeFile(join(gallery, 'README.md'), [...index, ...made.flatMap((name) => [`## ${titled(name)}`, '', `![${titled(name)}](${name}.jpg)`, ''])].join('\n'));
console.log(`Pictures of ${made.length} pages are in ${target}/${gallery === target ? '' : `, and a sheet of each in ${gallery}/`}`);
