import { expect } from 'chai';
import { readFile, mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { startLocal, type Local } from '../handlers/local.ts';
import { parseSettings } from '../handlers/settings.ts';
import { openBrowser } from './support/browser.ts';
import { client } from './support/client.ts';

/** What every page of the shop keeps: accessible, narrow enough, small, and alive where it says so. */
describe('The faces of the shop', function () {
  this.timeout(120_000);
  let folder: string;
  let shop: Local | undefined;
  let browser: Browser;
  let axe: string;
  let order: string;
  /** A product that is out of stock. */
  let gone: string;
  let paths: string[];
  const odd = { name: `${'Ünïcödé'.repeat(28)}x`, line1: `${'👩‍👩‍👧'.repeat(20)}`, line2: 'شارع الملك فهد', city: 'א'.repeat(90), postcode: 'W'.repeat(20), email: `${'m'.repeat(60)}@example.com` };

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'anyport-'));
    shop = await startLocal(parseSettings({ PORT: '0', DATA_DIR: folder, ADMIN_TOKEN: 'a-token-for-the-browser', LOG_LEVEL: 'error', DEMO_CARRIER_DELIVERS_AFTER_SECONDS: '1' }));
    browser = await openBrowser();
    axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
    const api = client(shop!.url, shop!.adminToken);
    const { items } = (await api.get('/api/products?limit=200')).body as { items: { sku: string; stock: string }[] };
    gone = items.find(({ stock }) => stock === 'OutOfStock')!.sku;
    const { email, name, ...address } = odd;
    const placed = await api.post('/api/orders', { customer: { name, email }, address: { ...address, country: 'GB' }, lines: [{ sku: gone, quantity: 1 }] });
    order = placed.body.id as string;
    await api.until(order, 'Backordered');
    paths = ['/', '/?q=bag', '/?q=zebra', '/?min=cheap', `/?q=${'w'.repeat(200)}`, `/products/${gone}`, '/basket', '/checkout', `/orders/${order}`, '/mailbox', `/mailbox/${order}.confirmation`, '/products/NONE'];
  });
  after(async () => {
    await browser?.close();
    await shop?.stop();
    await rm(folder, { recursive: true });
  });

  async function withPage(options: Parameters<Browser['newContext']>[0], work: (page: Page) => Promise<void>): Promise<void> {
    const context = await browser.newContext({ baseURL: shop!.url, ...options });
    try {
      await work(await context.newPage());
    } finally {
      await context.close();
    }
  }
  const fill = async (page: Page): Promise<void> => {
    await page.goto('/');
    await page.click('.tile >> nth=0 >> button.add');
    await page.waitForSelector('.count');
  };

  for (const colorScheme of ['light', 'dark'] as const) {
    it(`have no violation of accessibility (${colorScheme})`, async () => {
      await withPage({ colorScheme, viewport: { width: colorScheme === 'dark' ? 390 : 1280, height: 900 } }, async (page) => {
        await fill(page);
        for (const path of paths) {
          await page.goto(path);
          await page.evaluate(axe);
          const found = (await page.evaluate('axe.run().then(({ violations }) => violations.map(({ id, nodes }) => id + ": " + nodes[0].html))')) as string[];
          expect(found, path).to.deep.equal([]);
        }
      });
    });
  }

  for (const width of [360, 1280]) {
    it(`hold names of 200 characters, right-to-left text and emoji at ${width} pixels`, async () => {
      await withPage({ viewport: { width, height: 800 }, javaScriptEnabled: true }, async (page) => {
        await fill(page);
        for (const path of paths) {
          await page.goto(path);
          expect(await page.evaluate('document.documentElement.scrollWidth'), path).to.be.at.most(width);
        }
        await page.goto('/checkout');
        for (const [name, text] of Object.entries(odd)) await page.fill(`#${name}`, name === 'email' ? 'not a mail' : text);
        await page.evaluate('document.querySelector("form.checkout").noValidate = true');
        await page.click('button:has-text("Place the order")');
        await page.waitForSelector('#email-complaint');
        expect(await page.evaluate('document.documentElement.scrollWidth')).to.be.at.most(width);
        expect(await page.evaluate('document.activeElement.hasAttribute("data-errors")'), 'what is wrong has the focus').to.equal(true);
        expect(await page.getAttribute('#email', 'aria-describedby')).to.equal('email-complaint');
        for (const [name, text] of Object.entries(odd)) expect(await page.inputValue(`#${name}`), name).to.equal(name === 'email' ? 'not a mail' : text);
      });
    });
  }

  it('ship less than 50 KB at the first visit', async () => {
    await withPage({}, async (page) => {
      await page.goto('/', { waitUntil: 'networkidle' });
      const bytes = await page.evaluate('[...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")].reduce((sum, { transferSize }) => sum + transferSize, 0)');
      expect(bytes).to.be.within(5_000, 50_000);
    });
  });

  it('search while one types and keep it in the address, filters included', async () => {
    await withPage({}, async (page) => {
      await page.goto('/');
      const loads = await page.evaluate('performance.timeOrigin');
      await page.locator('#q').pressSequentially('clock');
      await page.waitForURL('/?q=clock');
      await page.selectOption('#sort', '-price');
      await page.fill('#max', '10');
      await page.waitForURL(/max=10/);
      expect(await page.evaluate('performance.timeOrigin'), 'the page was never loaded again').to.equal(loads);
      expect(await page.evaluate('document.activeElement.id')).to.equal('max');
      const shown = await page.locator('.tile :is(h2, h3)').allInnerTexts();
      expect(shown.length).to.be.greaterThan(0);
      await page.reload();
      expect(await page.locator('.tile :is(h2, h3)').allInnerTexts()).to.deep.equal(shown);
      expect(await page.inputValue('#sort')).to.equal('-price');
      await page.fill('#max', 'cheap');
      await page.waitForSelector('.filters .complaint');
      expect(await page.inputValue('#max')).to.equal('cheap');
      await page.goBack();
    });
  });

  it('write prices as the reader does', async () => {
    await withPage({ locale: 'de-DE' }, async (page) => {
      await page.goto('/');
      expect(await page.locator('.price').first().innerText()).to.match(/^\d+,\d\d\s£$/);
    });
  });

  it('are told of an order as it moves, until its end', async () => {
    const stop = new AbortController();
    const answer = await fetch(`${shop!.url}/orders/${order}/news`, { signal: stop.signal });
    expect(answer.status).to.equal(200);
    expect(answer.headers.get('content-type')).to.equal('text/event-stream');
    expect(answer.headers.get('content-security-policy')).to.include("default-src 'none'");
    const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
    expect((await reader.read()).value).to.include('event: moved\ndata: Backordered');
    await shop!.shop.kernel.published.cancelOrder(order);
    let text = '';
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) text += piece.value;
    expect(text).to.match(/event: end\ndata: Cancelled\n\n$/);
    expect((await fetch(`${shop!.url}/orders/${'0'.repeat(26)}/news`)).status).to.equal(404);
  });

  it('ask by themselves where a host cannot go on telling', async () => {
    const api = client(shop!.url, shop!.adminToken);
    const placed = await api.post('/api/orders', { customer: { name: 'Anna', email: odd.email }, address: { line1: '1', city: 'Leeds', postcode: 'LS1', country: 'GB' }, lines: [{ sku: gone, quantity: 1 }] });
    await api.until(placed.body.id, 'Backordered');
    await withPage({}, async (page) => {
      // What such a host answers, as a Function does.
      await page.route('**/news', (route) => route.fulfill({ status: 204 }));
      await page.goto(`/orders/${placed.body.id as string}`);
      await page.waitForSelector('[data-status]');
      await shop!.shop.kernel.published.cancelOrder(placed.body.id as string);
      await page.waitForSelector('[data-final]');
      expect(await page.locator('[data-news]').innerText()).to.match(/cancelled/i);
    });
  });

  it('let nobody hold a shop open that stops', async () => {
    const api = client(shop!.url, shop!.adminToken);
    const placed = await api.post('/api/orders', { customer: { name: 'Anna', email: odd.email }, address: { line1: '1', city: 'Leeds', postcode: 'LS1', country: 'GB' }, lines: [{ sku: gone, quantity: 1 }] });
    const answer = await fetch(`${shop!.url}/orders/${placed.body.id as string}/news`);
    expect(answer.status).to.equal(200);
    const began = performance.now();
    await shop!.stop();
    shop = undefined;
    expect(performance.now() - began).to.be.below(8_000);
    expect(await answer.text()).to.match(/^retry: 3000\nevent: moved/);
  });
});
