import { expect } from 'chai';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { startLocal, type Local } from '../handlers/local.ts';
import { parseSettings } from '../handlers/settings.ts';
import { openBrowser } from './support/browser.ts';
import { eventually } from './support/client.ts';
import { withDynamo } from './support/dynamo.ts';

/** A customer in a real browser, with the sample products that `npm start` begins with, on one machine and on the SDKs of both clouds. */
for (const adapters of ['embedded', 'azure']) tellStorefront(adapters);
withDynamo('the storefront on AWS', () => tellStorefront('aws'));

function tellStorefront(adapters: string): void {
  describe(`The storefront (${adapters})`, function () {
    this.timeout(120_000);
    let folder: string;
    let shop: Local;
    let browser: Browser;
    let context: BrowserContext;
    let page: Page;
    const complaints: string[] = [];
    /** What has nothing to do with a family is told of one. */
    const once = (story: string, tell: () => Promise<void>): void => void (adapters === 'embedded' && it(story, tell));

    before(async () => {
      folder = await mkdtemp(join(tmpdir(), 'anyport-'));
      shop = await startLocal(parseSettings({ PORT: '0', DATA_DIR: folder, ADAPTERS: adapters, ADMIN_TOKEN: 'a-token-for-the-browser', LOG_LEVEL: 'error', DEMO_CARRIER_DELIVERS_AFTER_SECONDS: '1', DEMO_CARRIER_SPEAKS: 'shippo', SHIPPO_WEBHOOK_SECRET: 'known to two' }));
      browser = await openBrowser();
    });
    after(async () => {
      await browser?.close();
      await shop?.stop();
      await rm(folder, { recursive: true });
    });

    async function visit(options: Parameters<Browser['newContext']>[0] = {}): Promise<void> {
      context = await browser.newContext({ baseURL: shop.url, ...options });
      page = await context.newPage();
      page.on('console', (message) => void (message.type() === 'error' && complaints.push(message.text())));
      page.on('pageerror', (error) => complaints.push(error.message));
    }
    afterEach(() => context?.close());

    async function fill(fields: Record<string, string>): Promise<void> {
      for (const [name, value] of Object.entries(fields)) {
        if (name === 'country') await page.selectOption('#country', value);
        else await page.fill(`#${name}`, value);
      }
    }
    const anna = { name: 'Anna Bell', email: 'anna@example.com', line1: '1 High Street', city: 'Leeds', postcode: 'LS1 4AP', country: 'GB' };

    /** Who leaves the page before the basket is changed has changed nothing. */
    async function addToBasket(): Promise<void> {
      const changed = page.waitForResponse((response) => response.request().method() === 'POST' && response.url().endsWith('/basket'));
      await page.click('button:has-text("Add to basket")');
      await changed;
    }

    async function toCheckout(search: string): Promise<void> {
      await page.goto('/');
      await page.fill('#q', search);
      await page.press('#q', 'Enter');
      await page.click('.tile h2 a');
      await page.fill('#quantity', '2');
      await addToBasket();
      await page.goto('/basket');
      await page.click('a:has-text("Go to checkout")');
    }

    it('leads from a search to the basket, over the checkout to the doorstep, and moves by itself', async () => {
      await visit();
      await toCheckout('popcorn');
      await fill(anna);
      await page.click('button:has-text("Place the order")');
      await page.waitForURL(/\/orders\/[0-9a-z]{26}$/);
      const loads = await page.evaluate('performance.getEntriesByType("navigation")[0].startTime + performance.timeOrigin');
      await page.waitForSelector('h1:has-text("Delivered")', { timeout: 40_000 });
      expect(await page.evaluate('performance.getEntriesByType("navigation")[0].startTime + performance.timeOrigin'), 'the page was never loaded again').to.equal(loads);
      const steps = await page.locator('.timeline li .title').allInnerTexts();
      expect(steps.map((text) => text.replace(/\s*\(.*\)/, ''))).to.deep.equal(['Placed', 'Reserved', 'Shipped', 'Delivered']);
      expect(await page.locator('.parcels .number').innerText()).to.match(/^DP/);

      await page.goto('/mailbox');
      const letters = (await page.locator('main').innerText()).replace(/\s+/g, ' ');
      for (const subject of ['We have your order', 'Your order is on its way', 'Your order has been delivered']) expect(letters).to.include(subject);
      await page.click('main a:has-text("We have your order")');
      expect(await page.locator('main').innerText()).to.include('Dear Anna Bell');
    });

    once('shows what is wrong beside the field and keeps what was typed', async () => {
      await visit();
      await toCheckout('heart');
      await fill({ ...anna, email: 'anna@nowhere' });
      await page.evaluate('document.querySelector("form.checkout").noValidate = true');
      await page.click('button:has-text("Place the order")');
      await page.waitForSelector('#email-complaint');
      expect(await page.inputValue('#line1')).to.equal('1 High Street');
      expect(await page.getAttribute('#email', 'aria-invalid')).to.equal('true');
    });

    it('lets a customer order what is out of stock, says what that means, and cancels while it waits', async () => {
      await visit();
      await page.goto('/');
      const sold = await page.evaluate('fetch("/api/products?limit=200").then((r) => r.json())') as { items: { sku: string; stock: string }[] };
      const gone = sold.items.find(({ stock }) => stock === 'OutOfStock')!;
      await page.goto(`/products/${gone.sku}`);
      expect(await page.locator('.availability').innerText()).to.include('waits for stock');
      await addToBasket();
      await page.goto('/checkout');
      await fill(anna);
      await page.click('button:has-text("Place the order")');
      await page.waitForSelector('h1:has-text("Waiting for stock")');
      page.on('dialog', (dialog) => void dialog.accept());
      await page.click('#cancel');
      await page.waitForSelector('h1:has-text("Cancelled")');
    });

    once('works without script, from the shelf to the order', async () => {
      await visit({ javaScriptEnabled: false });
      await page.goto('/');
      await page.click('.tile >> nth=0 >> button.add');
      await page.waitForURL('/basket');
      await page.click('a:has-text("Go to checkout")');
      await fill(anna);
      await page.click('button:has-text("Place the order")');
      await page.waitForURL(/\/orders\/[0-9a-z]{26}$/);
      expect(await page.locator('h1').innerText()).to.match(/We have your order|Packed up|On its way|Delivered/);
    });

    once('paints a first visit from a single answer, with its style, however long all else takes', async () => {
      await visit();
      await page.route('**/assets/**', () => undefined); // asked for, and never answered
      for (const path of ['/', '/products/22197', '/basket']) {
        await page.goto(path, { waitUntil: 'commit' });
        const painted = await page.evaluate(`new Promise((resolve) => {
          new PerformanceObserver((list) => { if (list.getEntriesByName('first-contentful-paint').length > 0) resolve(true); }).observe({ type: 'paint', buffered: true });
          setTimeout(() => resolve(false), 20000);
        })`);
        expect(painted, path).to.equal(true);
        expect(await page.evaluate('getComputedStyle(document.querySelector("header > .wide")).display'), path).to.equal('grid');
      }
    });

    once('sends less than 50 KB to who comes first, the stylesheet for the next page included, which does not send it again', async () => {
      await visit();
      const sent = async (): Promise<[string, number][]> => JSON.parse(await page.evaluate('JSON.stringify(["navigation", "resource"].flatMap((type) => performance.getEntriesByType(type)).map(({ name, transferSize }) => [new URL(name).pathname, transferSize]))'));
      await page.goto('/', { waitUntil: 'networkidle' });
      const first = await sent();
      expect(first.map(([path]) => path).filter((path) => path !== '/assets/icon.svg')).to.have.members(['/', '/assets/app.js', '/assets/app.css']);
      expect(first.reduce((sum, [, bytes]) => sum + bytes, 0)).to.be.within(1_000, 50_000);
      await page.click('.tile h2 a');
      await page.waitForURL(/products/, { waitUntil: 'networkidle' });
      const next = new Map(await sent());
      expect(next.get('/assets/app.css'), 'only that it is still the same').to.be.within(0, 1_000);
    });

    once('fits a phone: nothing is wider than the screen', async () => {
      await visit({ viewport: { width: 360, height: 740 } });
      await toCheckout('bag');
      for (const path of ['/', '/basket', '/checkout', '/mailbox']) {
        await page.goto(path);
        expect(await page.evaluate('document.documentElement.scrollWidth'), path).to.be.at.most(360);
      }
    });

    it('shows the newest letters first, however many there are', async () => {
      const { kernel } = shop.shop;
      const [sold] = (await (await fetch(`${shop.url}/api/products?limit=1`)).json() as { items: { sku: string }[] }).items;
      const order = { customer: { name: anna.name, email: anna.email }, address: { line1: anna.line1, city: anna.city, postcode: anna.postcode, country: 'GB' }, lines: [{ sku: sold!.sku, quantity: 1 }] };
      // More than a page has, where that does not take long.
      for (let n = 0; n < (adapters === 'embedded' ? 130 : 20); n++) await kernel.published.placeOrder(order, undefined);
      const last = await kernel.published.placeOrder(order, undefined);
      const id = 'id' in last ? last.id : '';
      await eventually(async () => expect(kernel.mailer.mailbox?.recent()).to.include(`${id}.confirmation`));
      await visit();
      await page.goto('/mailbox');
      expect(await page.locator(`a[href="/mailbox/${id}.confirmation"]`).count()).to.equal(1);
    });

    once('speaks in its own voice when something is not there', async () => {
      await visit();
      const answer = await page.goto('/products/NO-SUCH');
      expect(answer?.status()).to.equal(404);
      expect(await page.locator('main').innerText()).to.include('Back to the shop');
      complaints.splice(0, complaints.length, ...complaints.filter((text) => !text.includes('404')));
    });

    it('has caused no complaint in the browser', () => {
      expect(complaints.filter((text) => !/422/.test(text))).to.deep.equal([]);
    });
  });
}
