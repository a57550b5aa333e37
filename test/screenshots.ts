import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startLocal } from '../handlers/local.ts';
import { parseSettings } from '../handlers/settings.ts';
import { openBrowser } from './support/browser.ts';
import { client } from './support/client.ts';

/** `npm run screenshots`: every page, on desktop and phone, light and dark, into screenshots/. */
const target = 'screenshots';
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
await mkdir(target, { recursive: true });
const browser = await openBrowser();
for (const [size, viewport] of Object.entries({ desktop: { width: 1280, height: 900 }, phone: { width: 390, height: 844 } })) {
  for (const colorScheme of ['light', 'dark'] as const) {
    const context = await browser.newContext({ baseURL: shop.url, viewport, colorScheme, deviceScaleFactor: size === 'phone' ? 2 : 1 });
    const page = await context.newPage();
    for (const sku of [inStock[0]!, inStock[4]!, gone]) {
      await page.goto(`/products/${sku}`);
      await page.click('button:has-text("Add to basket")');
      await page.waitForLoadState('networkidle');
    }
    for (const [name, path] of Object.entries(pages)) {
      await page.goto(path);
      await page.screenshot({ path: join(target, `${name}-${size}-${colorScheme}.png`), fullPage: name !== 'catalogue' });
    }
    await context.close();
  }
}
await browser.close();
await shop.stop();
await rm(folder, { recursive: true });
console.log(`Pictures of ${Object.keys(pages).length} pages are in ${target}/`);
