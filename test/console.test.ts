import { expect } from 'chai';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { openSession } from '../core/console/sessions.ts';
import { collections } from '../core/flow.ts';
import { startLocal, type Local } from '../handlers/local.ts';
import { parseSettings } from '../handlers/settings.ts';
import { create, key, partitionOf, replace, type Collection, type Message } from '../ports/index.ts';
import { openBrowser } from './support/browser.ts';
import { client, eventually, type Client } from './support/client.ts';

/** An operator in a real browser: what the shop shows him, what he decides, and what a viewer may not. */
describe('The console', function () {
  this.timeout(120_000);
  const adminToken = 'a-token-for-the-operator';
  const odd = `${'Ünïcödé'.repeat(14)}${'👩‍👩‍👧'.repeat(6)} شارع الملك ${'א'.repeat(40)}`;
  let folder: string;
  let shop: Local;
  let browser: Browser;
  let api: Client;
  let axe: string;
  let context: BrowserContext;
  let page: Page;
  const complaints: string[] = [];
  let gone: string;
  let sold: string[];
  let waiting: string;
  /** Makes good what was broken by hand. */
  let mended: () => Promise<void>;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'anyport-'));
    shop = await startLocal(parseSettings({ PORT: '0', DATA_DIR: folder, ADMIN_TOKEN: adminToken, LOG_LEVEL: 'silent', DEMO_CARRIER_DELIVERS_AFTER_SECONDS: '1' }));
    browser = await openBrowser();
    axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
    api = client(shop.url, adminToken);
    const { items } = (await api.get('/api/products?limit=200')).body as { items: { sku: string; stock: string }[] };
    gone = items.find(({ stock }) => stock === 'OutOfStock')!.sku;
    sold = items.filter(({ stock }) => stock === 'InStock').map(({ sku }) => sku);
    await api.until(await place('Anna Bell', sold[0]!, 1), 'Delivered');
    waiting = await place(odd.slice(0, 200), gone, 2);
    await api.until(waiting, 'Backordered');
    ({ context, page } = await visit());
    await page.goto('/console/orders');
    await page.fill('#token', adminToken);
    await page.click('main button');
    await page.waitForURL('**/console/orders');
  });
  after(async () => {
    await browser?.close();
    await shop?.stop();
    await rm(folder, { recursive: true });
  });

  async function place(name: string, sku: string, quantity: number): Promise<string> {
    const address = { line1: odd.slice(0, 200), city: 'Leeds', postcode: 'LS1 4AP', country: 'GB' };
    return (await api.post('/api/orders', { customer: { name, email: `${quantity}.anna@example.com` }, address, lines: [{ sku, quantity }] })).body.id as string;
  }

  async function visit(options: Parameters<Browser['newContext']>[0] = {}): Promise<{ context: BrowserContext; page: Page }> {
    const opened = await browser.newContext({ baseURL: shop.url, ...options });
    const shown = await opened.newPage();
    shown.setDefaultTimeout(8_000);
    shown.on('console', (message) => void (message.type() === 'error' && complaints.push(message.text())));
    shown.on('pageerror', (error) => complaints.push(error.message));
    return { context: opened, page: shown };
  }
  const main = (): Promise<string> => page.locator('main').innerText();

  /** As only somebody could do it who edits the store by hand. Answers how to make it good. */
  async function edit<Body>(collection: Collection, noun: string, id: string, change: (body: Body) => Body): Promise<() => Promise<void>> {
    const { store } = shop.shop.kernel;
    const put = async (change: (body: Body) => Body): Promise<void> => {
      const row = (await store.get<Body>(partitionOf(collection, id), key(noun, id)))!;
      await store.commit(partitionOf(collection, id), { writes: [replace(row, change(row.body))] });
    };
    const before = (await store.get<Body>(partitionOf(collection, id), key(noun, id)))!.body;
    await put(change);
    return () => put(() => before);
  }
  interface LettersRow {
    readonly state: { readonly reached: object | null; readonly mails: Readonly<Record<string, object>> };
  }

  /** What Inventory cannot read. */
  const message = (): Message => ({
    specversion: '1.0', id: `${shop.shop.kernel.ids.random()}:1`, source: '/order', type: 'OrderPlaced', subject: waiting, partitionkey: waiting, sequence: '0000000000', time: '2026-11-23T12:00:00.000Z', dataversion: '1', correlationid: waiting,
    data: { neither: 'an order' },
  });

  it('shows an operator which order waits, for what, and lets him receive it: the order goes on by itself', async () => {
    await page.goto('/console');
    await page.click('.needs a:has-text("See what is missing")');
    await page.click(`td a:has-text("${waiting.slice(0, 8)}")`);
    expect(await page.locator('.missing').innerText()).to.include(`waits for ${gone} (needs 2, 0 left by older orders)`);
    await page.click(`.missing a:has-text("${gone}")`);
    await page.fill('#quantity', 'a dozen');
    await page.click('button:has-text("Receive")');
    await page.waitForSelector('#quantity-complaint');
    expect(await page.inputValue('#quantity'), 'what was typed is kept').to.equal('a dozen');
    expect(await page.evaluate('document.activeElement.id')).to.equal('quantity');
    mended = await edit<LettersRow>(collections.letters, 'letters', waiting, (body) => ({ ...body, state: { ...body.state, reached: null } }));
    await page.fill('#quantity', '12');
    await page.click('button:has-text("Receive")');
    await page.waitForSelector('.done:has-text("Received: 12")');
    expect(await page.locator('.tiles.small').innerText()).to.match(/received in all/);
    await api.until(waiting, 'Delivered');
  });

  it('lights up where an event is parked, shows why, and lets go of it when it is tried again', async () => {
    await page.goto('/console');
    const lamp = page.locator('.picture.broad .lamp[aria-label*="Notification on shipping"]');
    await lamp.waitFor({ timeout: 15_000 });
    expect(await page.locator('.needs').innerText()).to.include('1 parked key');
    expect(await page.title()).to.match(/Now/);
    await lamp.click();
    await page.click('td a');
    expect(await page.locator('.reason').innerText()).to.match(/TypeError|null/);
    expect(await page.locator('.payload').first().innerText()).to.include('"type": "OrderFulfillment"');
    await page.click('a:has-text("Try again now")');
    expect(await main()).to.include('replayed in order');
    await mended(); // as late as can be: the key tries itself again, too
    await page.click('main button');
    await page.waitForSelector('.done:has-text("1 parked key is being tried again")');
    await eventually(async () => {
      await page.goto('/console');
      expect(await page.locator('.needs').innerText()).to.include('All is well');
    }, 20);
    expect(await page.locator('.lamp').count()).to.equal(0);
    expect((await api.adminGet(`/api/orders/${waiting}/story`)).body.missing).to.deep.equal([]);
  });

  it('finds an order by its id, by name, by e-mail address and by product, and tells its whole story', async () => {
    for (const q of [waiting, waiting.slice(0, 7), '2.ANNA@example', gone]) {
      await page.goto('/console/orders');
      await page.fill('#q', q);
      await page.press('#q', 'Enter');
      await page.waitForSelector(`:text("${waiting.slice(0, 8)}")`);
      expect(await page.locator('main h1, td a').allInnerTexts(), q).to.satisfy((texts: string[]) => texts.filter((text) => text.includes(waiting.slice(0, 8))).length === 1);
    }
    await page.goto(`/console/orders/${waiting}`);
    const told = (await page.locator('.story').innerText()).replace(/\s+/g, ' ');
    for (const what of ['order says OrderPlaced', 'inventory says Backordered', 'letter "backorder" is sent', 'inventory says InventoryReserved', 'shipping says OrderFulfillment', 'the carrier says delivered']) expect(told).to.include(what);
    expect(await main()).to.match(/DP\w+/);
    expect(await page.locator('a:has-text("customer’s page")').getAttribute('href')).to.equal(`/orders/${waiting}`);
    await page.goto('/console/orders?q=nobody+of+this+name');
    expect(await main()).to.include('No order fits');
  });

  it('deals with dead letters of one cause together, asked once, and keeps why and by whom', async () => {
    await shop.shop.kernel.queue.send('reserve-stock', [1, 2, 3].map(() => message()));
    await eventually(async () => expect((await api.adminGet('/api/dead-letters')).body.items).to.have.length(3));
    await page.goto('/console/trouble');
    expect(await page.locator('.kinds .bad').innerText()).to.match(/Dead letters\s+3/);
    await page.click('.kinds a:has-text("Dead letters")');
    expect(await page.locator('.group').count()).to.equal(1);
    await page.click('td a >> nth=0');
    expect(await page.locator('.payload').innerText()).to.include('"neither": "an order"');
    await page.goBack();
    await page.click('a:has-text("Put aside: all")');
    expect(await main()).to.include('3 dead letters');
    await page.fill('#why', 'a test of the channel <b>&amp;');
    await page.click('main button');
    await page.waitForSelector('.done:has-text("3 dead letters are put aside")');
    expect(await main()).to.include('No dead letters');
    const { items } = (await api.adminGet('/api/dead-letters?state=resolved')).body as { items: { id: string }[] };
    expect(items).to.have.length(3);
    await page.goto(`/console/trouble/dead-letters/${items[0]!.id}`);
    expect(await main()).to.include('a test of the channel <b>&amp;');
    expect(await page.locator('.acts').count(), 'what is put aside is not asked about again').to.equal(0);
    const acts = (await api.adminGet('/api/acts?limit=50')).body as { items: { who: string; door: string; via: string }[] };
    for (const door of ['receiveStock', 'retryParkedKey', 'resolveDeadLetter']) expect(acts.items.find((act) => act.door === door), door).to.include({ who: 'token', via: 'console' });
    await page.goto('/console/acts');
    expect(await main()).to.include('token');
  });

  it('lets a person say what became of an uncertain letter, and of a booking', async () => {
    await edit<LettersRow>(collections.letters, 'letters', waiting, (body) => ({ ...body, state: { ...body.state, mails: { ...body.state.mails, shipped: { state: 'uncertain', at: '2026-11-23T12:00:00.000Z' } } } }));
    await page.goto(`/console/orders/${waiting}`);
    expect(await page.locator('.missing').innerText()).to.include('the letter "shipped" is uncertain');
    await page.click('a:has-text("uncertain")');
    await page.click('a:has-text("It was sent")');
    await page.click('main button');
    await page.waitForSelector('.done:has-text("1 letter is noted as sent")');
    expect(await main()).to.include('No letters');

    const stuck = await place('Berta Quill', gone, 500);
    await api.until(stuck, 'Backordered');
    const { kernel } = shop.shop;
    const rowKey = key('shipment', stuck);
    await kernel.store.commit(partitionOf(collections.shipments, stuck), { writes: [create(rowKey, { said: 0, state: { claimedAt: '2026-11-23T12:00:00.000Z', uncertain: true } })] });
    await page.goto('/console/trouble/bookings');
    await page.click('td a >> nth=0');
    await page.click('a:has-text("The carrier has it")');
    await page.fill('#carrier', 'ups');
    await page.fill('#trackingUrl', 'javascript:alert(1)');
    await page.click('main button');
    await page.waitForSelector('#trackingUrl-complaint');
    expect(await page.inputValue('#carrier')).to.equal('ups');
    await page.fill('#trackingUrl', '');
    await page.fill('#trackingNumber', '1Z999AA10123456784');
    await page.click('main button');
    await page.waitForSelector('.done:has-text("1 booking is settled")');
  });

  it('describes a product, keeps what was typed when it is refused, and says what is wrong beside the field', async () => {
    await page.goto('/console/products');
    await page.fill('#sku', 'NEW-1');
    await page.click('button:has-text("Open")');
    await page.waitForURL('**/console/products/NEW-1');
    await page.fill('#name', odd.slice(0, 200));
    await page.fill('#description', '<script>alert(1)</script>');
    await page.fill('#price', '2.555');
    await page.click('button:has-text("Create")');
    await page.waitForSelector('#price-complaint');
    expect(await page.inputValue('#name')).to.equal(odd.slice(0, 200).trim());
    expect(await page.inputValue('#description')).to.equal('<script>alert(1)</script>');
    await page.fill('#price', '2,55');
    await page.click('button:has-text("Create")');
    await page.waitForSelector('.done');
    expect((await api.get('/api/products/NEW-1')).body.price).to.deep.equal({ amount: 255, currency: 'GBP' });
  });

  it('audits when somebody asks, and shows the pace of what it has seen', async () => {
    await page.goto('/console/audit');
    expect(await page.locator('.verdict').count()).to.equal(0);
    await page.click('button:has-text("Audit now")');
    await page.waitForSelector('.verdict');
    await page.goto('/console/pace?span=15m');
    expect(await page.locator('.plot').count()).to.equal(10);
    expect(await page.locator('.plot svg').first().getAttribute('aria-label')).to.match(/^Placed: \d+ orders/);
  });

  it('changes nothing for a viewer, and shows him everything', async () => {
    const value = await openSession(shop.shop.kernel, { who: 'Vera View', role: 'viewer' });
    const viewer = await visit();
    await viewer.context.addCookies([{ name: 'console', value, url: shop.url }]);
    await shop.shop.kernel.queue.send('reserve-stock', [message()]);
    const found = await eventually(async () => {
      const { items } = (await api.adminGet('/api/dead-letters')).body as { items: { id: string }[] };
      expect(items).to.have.length(1);
      return items[0]!;
    });
    for (const path of ['/console', `/console/products/${gone}`, '/console/trouble/dead-letters', `/console/trouble/dead-letters/${found.id}`]) {
      await viewer.page.goto(path);
      expect(await viewer.page.locator('main form[method=post], main a[href^="/console/decide"]').count(), path).to.equal(0);
      expect(await viewer.page.locator('.who').innerText()).to.include('Vera View');
    }
    const asked = await viewer.page.goto(`/console/decide?kind=dead-letters&do=resolve&id=${found.id}`);
    expect(asked?.status()).to.equal(403);
    const csrf = await viewer.page.getAttribute('input[name=csrf]', 'value');
    const posted = await viewer.context.request.post('/console/decide', { form: { kind: 'dead-letters', do: 'resolve', id: found.id, csrf: csrf! } });
    expect(posted.status()).to.equal(403);
    expect((await api.adminGet('/api/dead-letters')).body.items).to.have.length(1);
    await viewer.context.close();
  });

  it('tells whoever comes second that it has been dealt with, and does nothing', async () => {
    const { items } = (await api.adminGet('/api/dead-letters')).body as { items: { id: string }[] };
    await page.goto(`/console/decide?kind=dead-letters&do=resolve&id=${items[0]!.id}`);
    await api.adminPost(`/api/dead-letters/${items[0]!.id}/resolve`, {});
    await page.click('main button');
    await page.waitForSelector('.alert:has-text("It has changed meanwhile, and nothing was done")');
  });

  it('asks about nothing that there is not, nor about what is at its end', async () => {
    for (const query of ['kind=mails&do=retry&cause=sent', 'kind=bookings&do=resolve&cause=uncertain', 'kind=parked&do=retry&id=0123456789abcdef', 'kind=parked&do=forget&cause=x', 'kind=nothing&do=retry&cause=x', 'kind=dead-letters&do=retry&cause=of+another+kind']) {
      expect((await context.request.get(`/console/decide?${query}`)).status(), query).to.equal(404);
    }
    for (const path of ['/console/trouble/nothing', '/console/trouble/parked/1', `/console/trouble/mails/${waiting}.sent`, `/console/orders/${'0'.repeat(26)}`]) expect((await context.request.get(path)).status(), path).to.equal(404);
  });

  it('works without script, from the sign-in to a decision', async () => {
    await shop.shop.kernel.queue.send('reserve-stock', [message()]);
    await eventually(async () => expect((await api.adminGet('/api/dead-letters')).body.items).to.have.length(1));
    const plain = await visit({ javaScriptEnabled: false });
    await plain.page.goto('/console/trouble');
    await plain.page.fill('#token', adminToken);
    await plain.page.click('main button');
    await plain.page.click('.kinds a:has-text("Dead letters")');
    await plain.page.click('td a');
    await plain.page.click('a:has-text("Put aside")');
    await plain.page.click('main button');
    expect(await plain.page.locator('.done').innerText()).to.include('1 dead letter is put aside');
    await plain.context.close();
  });

  async function pathsOfAll(): Promise<string[]> {
    await shop.shop.kernel.queue.send('reserve-stock', [message()]);
    const [dead] = await eventually(async () => {
      const { items } = (await api.adminGet('/api/dead-letters')).body as { items: { id: string }[] };
      expect(items).to.have.length(1);
      return items;
    });
    return [
      '/console', '/console/orders', '/console/orders?q=zebra', `/console/orders/${waiting}`, '/console/products', `/console/products/${gone}`, '/console/products/NEW-1', '/console/products/NEW-2', '/console/trouble',
      '/console/trouble/dead-letters', '/console/trouble/parked', '/console/trouble/mails', `/console/trouble/dead-letters/${dead!.id}`, `/console/decide?kind=dead-letters&do=resolve&id=${dead!.id}`,
      '/console/pace', '/console/audit?run=yes', '/console/acts',
    ];
  }
  let paths: string[];

  for (const [colorScheme, width] of [['light', 1280], ['dark', 360]] as const) {
    it(`is accessible on every page, and nothing is wider than the screen (${colorScheme}, ${width} pixels)`, async () => {
      paths ??= await pathsOfAll();
      await page.setViewportSize({ width, height: 800 });
      await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
      for (const path of paths) {
        await page.goto(path);
        await page.evaluate('document.querySelectorAll("details").forEach((each) => { each.open = true; })');
        expect(await page.evaluate('document.documentElement.scrollWidth'), path).to.be.at.most(width);
        await page.evaluate(axe);
        const found = (await page.evaluate('axe.run({ resultTypes: ["violations"] }).then(({ violations }) => violations.map(({ id, nodes }) => id + ": " + nodes[0].html))')) as string[];
        expect(found, path).to.deep.equal([]);
      }
    });
  }

  it('keeps what is open and what has the focus while the picture moves', async () => {
    await page.setViewportSize({ width: 1280, height: 900 });
    await page.goto('/console');
    await page.click('summary');
    await page.focus('.tiles a >> nth=1');
    const asOf = (): Promise<string | null> => page.locator('[data-live] > p:last-child time').getAttribute('datetime');
    const first = await asOf();
    await eventually(async () => expect(await asOf()).not.to.equal(first));
    expect(await page.evaluate('document.querySelector("details").open')).to.equal(true);
    expect(await page.evaluate('document.activeElement.getAttribute("href")')).to.equal('/console/orders?status=Backordered');
  });

  it('has caused no complaint in the browser', async () => {
    await context.close();
    expect(complaints.filter((text) => !/\b(422|403)\b/.test(text))).to.deep.equal([]);
  });
});
