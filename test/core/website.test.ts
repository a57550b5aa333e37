import { expect } from 'chai';
import fc from 'fast-check';
import { eml } from '../../adapters/mailbox/eml.ts';
import { collections } from '../../core/flow.ts';
import { html, url } from '../../core/html.ts';
import { execute } from '../../core/kernel/execute.ts';
import { say } from '../../core/kernel/model.ts';
import { handle } from '../../core/kernel/receive.ts';
import type { AnyService, Kernel, Reply } from '../../core/kernel/service.ts';
import type { OrderView } from '../../core/order/events.ts';
import type { ProductInfoUpdated } from '../../core/product/events.ts';
import { products } from '../../core/product/product.ts';
import { assets } from '../../core/website/assets.ts';
import { basketCookie, basketLinesMax, readBasket } from '../../core/website/basket.ts';
import { catalogueOf, searched, showChanges, tilesPerPage } from '../../core/website/catalogue.ts';
import { website } from '../../core/website/index.ts';
import { letterOf } from '../../core/website/mailbox.ts';
import { errorPage } from '../../core/website/pages.ts';
import { orderPage } from '../../core/website/tracking.ts';
import { isRefusal, partitionsOf, timestamp } from '../../ports/index.ts';
import { openWorld, throttled, type World } from '../support/world.ts';

const mug: ProductInfoUpdated = { sku: 'MUG', name: 'Blue mug', description: '', price: { amount: 495, currency: 'GBP' }, stock: 'InStock', version: 1 };

function hear(kernel: Kernel, product: ProductInfoUpdated): Promise<void> {
  const { message } = say('ProductInfoUpdated', product, { subject: product.sku, sequence: product.version, at: timestamp(kernel.clock.now()) });
  return handle(kernel, website as AnyService, message);
}

const cookieOf = (lines: Record<string, number>): string => basketCookie(new Map(Object.entries(lines)), '').split(';')[0]!;
const answers: AnyService['answers'] = website.answers;
const request = { params: undefined, query: undefined, body: undefined, idempotencyKey: undefined, headers: {}, raw: new Uint8Array() };

function get(kernel: Kernel, door: keyof typeof website.answers, more: object, cookie?: string): Promise<Reply> {
  return answers[door]!(kernel, { ...request, ...more, headers: cookie ? { cookie } : {} } as never);
}

function post(kernel: Kernel, door: keyof typeof website.answers, form: Record<string, string>, cookie?: string, headers: Record<string, string> = {}, params?: object): Promise<Reply> {
  const raw = new TextEncoder().encode(new URLSearchParams(form).toString());
  return answers[door]!(kernel, { ...request, raw, params, headers: { ...headers, ...(cookie ? { cookie } : {}) } } as never);
}

const htmlOf = (reply: Reply): string => ('html' in reply ? reply.html : '');
const headersOf = (reply: Reply): Readonly<Record<string, string>> => ('headers' in reply ? reply.headers ?? {} : {});
const setCookieOf = (reply: Reply): string => headersOf(reply)['set-cookie']!.split(';')[0]!;

function unescaped(text: string): string {
  return text.replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&quot;', '"').replaceAll('&#39;', "'").replaceAll('&amp;', '&');
}

describe('website', () => {
  const worlds: World[] = [];
  async function world(): Promise<World> {
    const opened = await openWorld({ still: true });
    worlds.push(opened);
    return opened;
  }
  afterEach(async () => {
    for (const each of worlds.splice(0)) {
      each.interfere = undefined;
      await each.stop();
    }
  });

  describe('html', () => {
    const hostile = fc.string({ unit: fc.constantFrom('<', '>', '"', "'", '&', ';', '/', '=', ' ', 'script', 'onload', 'a', '‮', '🎁', '${', '`', '\u0000') });

    it('lets no text leave its place, whatever it is', () => {
      fc.assert(
        fc.property(hostile, (text) => {
          const page = String(html`<p title="${text}">${[text, null, false]}</p>`);
          const [, attribute = '', content = ''] = /^<p title="([^"]*)">([^<]*)<\/p>$/.exec(page) ?? [];
          expect(unescaped(attribute)).to.equal(text);
          expect(unescaped(content)).to.equal(text);
        }),
      );
    });

    it('shows numbers, lists and Html, and nothing for what is not there', () => {
      expect(String(html`${0}|${null}|${undefined}|${false}|${[html`<b>${'<'}</b>`, 'x']}`)).to.equal('0||||<b>&lt;</b>x');
    });

    it('links to http and https alone', () => {
      expect(url('https://track.example/1')).to.equal('https://track.example/1');
      for (const bad of ['javascript:alert(1)', ' https://x', 'data:text/html,x', '//x', 'HTTPS://a b', undefined]) expect(url(bad)).to.equal(undefined);
    });

    it('has pages without a script or a style of their own', async () => {
      const { kernel, ...w } = await shop();
      const placed = await w.place(['MUG', 2]);
      const cookie = cookieOf({ MUG: 2 });
      const pages = [await get(kernel, 'homePage', { query: {} }), await get(kernel, 'productPage', { params: { sku: 'MUG' } }), await get(kernel, 'basketPage', {}, cookie), await get(kernel, 'checkoutPage', {}, cookie)];
      const texts = [...pages.map(htmlOf), htmlOf(await get(kernel, 'orderPage', { params: { id: placed.id } })), htmlOf(await get(kernel, 'mailboxPage', { query: {} })), errorPage('Anyport', 404, 'Not Found', 'there is nothing here')];
      for (const text of texts) {
        expect(text).not.to.match(/<style|\sstyle=|\son\w+=|<script(?! src="\/assets\/app\.js" defer fetchpriority="low"><\/script>)|(?:src|href)="(?!\/|#)/i);
        expect(text).to.match(/<html lang="en">[\s\S]*<title>[^<]+<\/title>[\s\S]*<main [\s\S]*<h1[\s\S]*<\/main>/);
      }
      for (const name of texts.join('').matchAll(/\/assets\/([\w.]+)/g)) expect(assets.has(name[1]!), name[1]).to.equal(true);
    });
  });

  describe('the stylesheet', () => {
    it('is in the page for who comes from elsewhere, and kept by the browser for who is in the shop or does not say', async () => {
      const { kernel } = await shop();
      const linked = '<link rel="stylesheet" href="/assets/app.css">';
      const inside = `<style>${assets.get('app.css')!.body}</style>`;
      for (const [site, has, hasNot] of [['none', inside, linked], ['cross-site', inside, linked], ['same-site', inside, linked], ['same-origin', linked, '<style'], [undefined, linked, '<style']] as const) {
        for (const door of ['homePage', 'basketPage'] as const) {
          const text = htmlOf(await answers[door]!(kernel, { ...request, query: {}, headers: site === undefined ? {} : { 'sec-fetch-site': site } } as never));
          expect(text, `${door} ${site}`).to.include(has).and.not.to.include(hasNot);
        }
      }
    });
  });

  describe('catalogue', () => {
    it('keeps the newest version of each product, in whatever order they come and however often', async () => {
      const { kernel, ...w } = await world();
      await fc.assert(
        fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 8 }), async (versions) => {
          const sku = `S${(await catalogueOf(kernel)).items.length}`;
          for (const version of versions) await w.play(hear(kernel, { ...mug, sku, name: `Version ${version}`, version }));
          await showChanges(kernel);
          expect((await catalogueOf(kernel)).bySku.get(sku)).to.include({ version: Math.max(...versions), name: `Version ${Math.max(...versions)}` });
        }),
        { numRuns: 30 },
      );
    });

    it('keeps the newest version when two come at once', async () => {
      const { kernel, ...w } = await world();
      await w.play(hear(kernel, mug));
      await w.play(Promise.all([5, 2, 4, 3].map((version) => hear(kernel, { ...mug, version }))));
      const { rows } = await kernel.store.query<ProductInfoUpdated>(partitionsOf(collections.catalogue)[0]!, { prefix: 'item|' });
      expect(rows.map(({ body }) => body.version)).to.deep.equal([5]);
    });

    it('shows products as of the last poll, not before', async () => {
      const { kernel, ...w } = await world();
      await put(kernel, 'MUG', 'Blue mug', 495);
      expect(htmlOf(await get(kernel, 'homePage', { query: {} }))).not.to.include('Blue mug');
      await w.play(website.ticks.pollProducts(kernel));
      expect(htmlOf(await get(kernel, 'homePage', { query: {} }))).to.include('Blue mug');
      await put(kernel, 'MUG', 'Red mug', 495);
      expect(htmlOf(await get(kernel, 'productPage', { params: { sku: 'MUG' } }))).to.include('Blue mug');
      await w.play(website.ticks.pollProducts(kernel));
      expect(htmlOf(await get(kernel, 'productPage', { params: { sku: 'MUG' } }))).to.include('Red mug');
    });

    it('has Product say everything again once when it has no place to go on from, and never after', async () => {
      const { kernel, ...w } = await world();
      let asked = 0;
      const counting: Kernel = { ...kernel, published: { ...kernel.published, sayProductsAgain: () => Promise.resolve(void asked++) } };
      await w.play(website.ticks.pollProducts(counting));
      expect(asked).to.equal(1);
      await w.play(website.ticks.pollProducts(counting));
      await w.play(website.ticks.pollProducts(counting));
      expect(asked).to.equal(1);
    });

    it('says everything again when its place has been forgotten', async () => {
      const { kernel, ...w } = await shop();
      await put(kernel, 'MUG', 'Said while nobody polled', 495);
      await w.clock.advance(8 * 86_400_000);
      w.engines.stream.trim(w.clock.now());
      let asked = 0;
      const counting: Kernel = { ...kernel, published: { ...kernel.published, sayProductsAgain: () => (asked++, kernel.published.sayProductsAgain()) } };
      await w.play(website.ticks.pollProducts(counting));
      expect(asked).to.equal(1);
      await w.play(website.ticks.pollProducts(counting));
      expect(asked).to.equal(1);
      expect((await catalogueOf(counting)).bySku.get('MUG')!.name).to.equal('Said while nobody polled');
    });

    it('gives up a poll while the broker is down, so that whoever stops it need not wait', async () => {
      const w = await shop();
      w.interfere = ({ port }, work) => (port === 'stream' ? Promise.reject(throttled()) : work());
      const before = w.clock.now();
      await w.play(website.ticks.pollProducts(w.kernel).catch(() => undefined));
      expect(w.clock.now() - before).to.be.lessThan(60_000);
      w.interfere = ({ method }, work) => (method === 'read' ? Promise.reject(throttled()) : work());
      await w.play(website.ticks.pollProducts(w.kernel).catch(() => undefined));
      expect(w.clock.now() - before).to.be.lessThan(60_000);
    });

    it('reads its rows again every few seconds, because another process may have polled', async () => {
      const { kernel, ...w } = await shop();
      const other: Kernel = { ...kernel };
      await catalogueOf(other);
      await w.play(hear(kernel, { ...mug, name: 'Green mug', version: 9 }));
      await showChanges(kernel);
      expect((await catalogueOf(other)).bySku.get('MUG')!.name).to.equal('Blue mug');
      await w.clock.advance(5_000);
      await catalogueOf(other);
      await w.clock.idle();
      expect((await catalogueOf(other)).bySku.get('MUG')!.name).to.equal('Green mug');
    });

    it('shows the last catalogue while the store is down', async () => {
      const w = await shop();
      await catalogueOf(w.kernel);
      w.interfere = ({ port }) => Promise.reject(new Error(`${port} is down`));
      await w.clock.advance(60_000);
      expect(htmlOf(await get(w.kernel, 'homePage', { query: {} }))).to.include('Blue mug');
    });
  });

  describe('search', () => {
    const named = async (...names: string[]): Promise<World> => {
      const w = await world();
      for (const [i, name] of names.entries()) await w.play(hear(w.kernel, { ...mug, sku: `X${i}`, name }));
      await showChanges(w.kernel);
      return w;
    };
    const found = async ({ kernel }: World, q: string): Promise<string[]> => searched(await catalogueOf(kernel), q, undefined).items.map(({ name }) => name);

    it('wants all words, in name or number, whatever their case and accents', async () => {
      const w = await named('Café au lait bowl', 'Lunch bag red', 'Red bowl');
      expect(await found(w, 'bowl RED')).to.deep.equal(['Red bowl']);
      expect(await found(w, 'cafe')).to.deep.equal(['Café au lait bowl']);
      expect(await found(w, 'RÉD böwl')).to.deep.equal(['Red bowl']);
      expect(await found(w, 'x1 lunch')).to.deep.equal(['Lunch bag red']);
      expect(await found(w, 'red zebra')).to.deep.equal([]);
    });

    it('shows first the names that begin with the query, then those with a word that does', async () => {
      const w = await named('Handbag', 'A bag', 'Bag of marbles', 'Zebra bag');
      expect(await found(w, 'bag')).to.deep.equal(['Bag of marbles', 'A bag', 'Zebra bag', 'Handbag']);
    });

    it('walks all pages there and back, and misses and repeats nothing', async () => {
      const names = Array.from({ length: 2 * tilesPerPage + 5 }, (_, i) => `Mug ${String(i).padStart(3, '0')}`);
      const catalogue = await catalogueOf((await named(...names)).kernel);
      const pages = [searched(catalogue, 'mug', undefined)];
      while (pages.at(-1)!.next) pages.push(searched(catalogue, 'mug', pages.at(-1)!.next));
      expect(pages.flatMap(({ items }) => items.map(({ name }) => name))).to.deep.equal(names);
      expect(pages.map(({ before, total }) => [before, total])).to.deep.equal([[0, 53], [24, 53], [48, 53]]);
      expect(searched(catalogue, 'mug', pages[2]!.previous).items).to.deep.equal(pages[1]!.items);
      expect(pages[1]!.previous).to.equal('');
      expect(searched(catalogue, 'mug', 'nobody').items).to.deep.equal(pages[0]!.items);
    });

    it('shows names that begin with a letter before all others', async () => {
      expect(await found(await named('12 pencils', 'Zebra', '*fan', 'Éclair tin', 'Apple'), '')).to.deep.equal(['Apple', 'Éclair tin', 'Zebra', '*fan', '12 pencils']);
    });

    it('escapes what was searched for', async () => {
      const { kernel } = await shop();
      const text = htmlOf(await get(kernel, 'homePage', { query: { q: '"><script>alert(1)</script>' } }));
      expect(text).not.to.include('<script>alert');
      expect(text).to.include('&quot;&gt;&lt;script&gt;');
    });
  });

  describe('basket', () => {
    const sku = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$/);

    it('reads what it has written', () => {
      fc.assert(
        fc.property(fc.uniqueArray(fc.tuple(sku, fc.integer({ min: 1, max: 1_000_000 })), { selector: ([each]) => each, maxLength: basketLinesMax }), (lines) => {
          const cookie = basketCookie(new Map(lines), 'http://localhost').split(';')[0]!;
          expect(cookie.length).to.be.lessThan(4_096);
          expect([...readBasket(`a=b; ${cookie}; c=d`)]).to.deep.equal(lines);
        }),
      );
    });

    it('is no basket when it does not read as one, and never throws', () => {
      fc.assert(
        fc.property(fc.string({ unit: fc.constantFrom('basket=', '%', '%3A', ':', ',', ';', ' ', 'MUG', '1', '0', '-', '9999999', '__proto__', '=', '\u0000') }), (cookies) => {
          for (const [each, quantity] of readBasket(cookies)) {
            expect(each).to.match(/^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$/);
            expect(quantity).to.be.within(1, 1_000_000);
          }
        }),
      );
      for (const bad of ['basket=MUG', 'basket=MUG:0', 'basket=MUG:-1', 'basket=MUG:1.5', 'basket=MUG:1000001', 'basket=%E0%A4', 'basket=<b>:1', 'xbasket=MUG:1']) expect(readBasket(bad).size, bad).to.equal(0);
      expect([...readBasket('basket=MUG:1,MUG:2')]).to.deep.equal([['MUG', 3]]);
    });

    it('holds at most so many products', () => {
      const many = Array.from({ length: 200 }, (_, i) => `S${i}:1`).join(',');
      expect(readBasket(`basket=${many}`).size).to.equal(basketLinesMax);
      expect(readBasket(`basket=${'A:1,'.repeat(2_000)}`).size).to.equal(0);
    });

    it('is hidden from scripts and other sites, and safe where the shop is', () => {
      expect(basketCookie(new Map([['MUG', 1]]), 'https://shop.example')).to.match(/^basket=MUG%3A1; Path=\/; Max-Age=\d+; HttpOnly; SameSite=Lax; Secure$/);
      expect(basketCookie(new Map([['MUG', 1]]), 'http://localhost:3000')).not.to.include('Secure');
      expect(basketCookie(new Map(), 'http://localhost')).to.include('Max-Age=0');
    });

    it('adds, changes and removes by plain forms', async () => {
      const { kernel } = await shop();
      const added = await post(kernel, 'changeBasket', { do: 'add', sku: 'MUG', quantity: '2' });
      expect(added).to.include({ status: 303 });
      expect(headersOf(added)['location']).to.equal('/basket');
      expect([...readBasket(setCookieOf(added))]).to.deep.equal([['MUG', 2]]);
      const more = await post(kernel, 'changeBasket', { do: 'add', sku: 'MUG' }, cookieOf({ MUG: 2 }));
      expect([...readBasket(setCookieOf(more))]).to.deep.equal([['MUG', 3]]);
      const set = await post(kernel, 'changeBasket', { do: 'set', sku: 'MUG', quantity: '7' }, cookieOf({ MUG: 2, LAMP: 1 }));
      expect([...readBasket(setCookieOf(set))]).to.deep.equal([['MUG', 7], ['LAMP', 1]]);
      const gone = await post(kernel, 'changeBasket', { do: 'set', sku: 'MUG', quantity: '0' }, cookieOf({ MUG: 2, LAMP: 1 }));
      expect([...readBasket(setCookieOf(gone))]).to.deep.equal([['LAMP', 1]]);
    });

    it('says what is wrong with a quantity or a product, and stays as it is', async () => {
      const { kernel } = await shop();
      const full = Object.fromEntries(Array.from({ length: basketLinesMax }, (_, i) => [`S${i}`, 1]));
      for (const [form, basket] of [
        [{ do: 'set', sku: 'MUG', quantity: '-1' }, { MUG: 1 }], [{ do: 'set', sku: 'MUG', quantity: 'many' }, { MUG: 1 }], [{ do: 'set', sku: 'MUG', quantity: '1000001' }, { MUG: 1 }],
        [{ do: 'add', sku: 'NONE' }, { MUG: 1 }], [{ do: 'add', sku: '<b>' }, { MUG: 1 }], [{}, { MUG: 1 }], [{ do: 'add', sku: 'MUG' }, full],
      ] as [Record<string, string>, Record<string, number>][]) {
        const answer = await post(kernel, 'changeBasket', form, cookieOf(basket));
        expect(answer, JSON.stringify(form)).to.include({ status: 422 });
        expect(headersOf(answer)['set-cookie']).to.equal(undefined);
        expect(htmlOf(answer)).to.include('role="alert"');
      }
      expect(isRefusal(await post(kernel, 'changeBasket', { refused: 'yes', sku: 'x'.repeat(20_000) }))).to.equal(true);
    });

    it('shows what is not sold any more, and lets it be removed, but not ordered', async () => {
      const { kernel } = await shop();
      const text = htmlOf(await get(kernel, 'basketPage', {}, cookieOf({ GONE: 1, MUG: 1 })));
      expect(text).to.include('not sold').and.include('value="GONE"').and.not.include('href="/checkout"');
      expect(await get(kernel, 'checkoutPage', {}, cookieOf({ GONE: 1 }))).to.include({ status: 303 });
    });
  });

  describe('checkout', () => {
    const key = 'a'.repeat(26);
    const details = { name: 'Anna Bell', email: 'anna@example.com', line1: '1 High Street', line2: '', city: 'Leeds', postcode: 'LS1 4AP', country: 'GB' };
    const basket = cookieOf({ MUG: 2 });

    it('places the order, empties the basket and shows where the order is', async () => {
      const { kernel, ...w } = await shop();
      const answer = await w.play(post(kernel, 'checkOut', { ...details, key, total: '990 GBP' }, basket));
      expect(answer).to.include({ status: 303 });
      expect(headersOf(answer)['set-cookie']).to.match(/^basket=;.*Max-Age=0/);
      const id = /^\/orders\/([0-9a-z]{26})$/.exec(headersOf(answer)['location']!)![1]!;
      const placed = (await kernel.published.order(id))!;
      expect(placed).to.deep.include({ customer: { name: 'Anna Bell', email: 'anna@example.com' }, address: { line1: '1 High Street', city: 'Leeds', postcode: 'LS1 4AP', country: 'GB' } });
      expect(placed.lines).to.deep.equal([{ sku: 'MUG', name: 'Blue mug', quantity: 2, unitPrice: 495, amount: 990 }]);
    });

    it('makes one order of a double click', async () => {
      const { kernel, ...w } = await shop();
      const click = (): Promise<Reply> => post(kernel, 'checkOut', { ...details, key, total: '990 GBP' }, basket);
      const answers = await w.play(Promise.all([click(), click(), click()]));
      expect(new Set([...answers, await w.play(click())].map((answer) => headersOf(answer)['location'])).size).to.equal(1);
      expect(w.rows('order')).to.have.length(1);
    });

    it('puts each complaint beside its field and keeps what was typed', async () => {
      const { kernel } = await shop();
      const answer = await post(kernel, 'checkOut', { ...details, name: 'Anna "<b>"', email: 'anna@', city: '  ', country: 'XXX', key, total: '990 GBP' }, basket);
      expect(answer).to.include({ status: 422 });
      const text = htmlOf(answer);
      for (const name of ['email', 'city', 'country']) {
        expect(text).to.match(new RegExp(`id="${name}"[^>]*aria-invalid="true" aria-describedby="${name}-complaint"`));
        expect(text).to.match(new RegExp(`<p class="complaint" id="${name}-complaint">[^<]+</p>`));
      }
      expect(text).not.to.include('name-complaint').and.not.include('line2-complaint');
      expect(text).to.include('value="Anna &quot;&lt;b&gt;&quot;"').and.include('value="anna@"').and.include('value="1 High Street"').and.include(`value="${key}"`);
    });

    it('takes nothing that is longer than its field or cannot be read', async () => {
      const { kernel, ...w } = await shop();
      for (const wrong of [{ name: 'x'.repeat(201) }, { name: 'Anna\r\nBcc: all@example.com' }, { postcode: '1'.repeat(21) }, { line1: '' }, { email: 'a@b' }, { line2: '\u0000' }]) {
        expect(await post(kernel, 'checkOut', { ...details, ...wrong, key, total: '990 GBP' }, basket), JSON.stringify(wrong)).to.include({ status: 422 });
      }
      expect(await post(kernel, 'checkOut', { ...details, name: 'x'.repeat(50_000) }, basket)).to.include({ status: 413 });
      expect(w.rows('order')).to.deep.equal([]);
    });

    it('asks again when the price that counts is not the one that was seen', async () => {
      const { kernel, ...w } = await shop();
      await put(kernel, 'MUG', 'Blue mug', 600);
      const answer = await post(kernel, 'checkOut', { ...details, key, total: '990 GBP' }, basket);
      expect(answer).to.include({ status: 422 });
      expect(htmlOf(answer)).to.include('has changed').and.include('£12.00').and.include('value="1200 GBP"');
      expect(await w.play(post(kernel, 'checkOut', { ...details, key, total: '1200 GBP' }, basket))).to.include({ status: 303 });
    });

    it('says why an order is refused: unknown products, mixed currencies, a form that has been used', async () => {
      const { kernel, ...w } = await shop();
      await put(kernel, 'YEN', 'Folding fan', 300, 'JPY');
      const tried = async (lines: Record<string, number>): Promise<string> => htmlOf(await w.play(post(kernel, 'checkOut', { ...details, key, total: '990 GBP' }, cookieOf(lines))));
      expect(await tried({ MUG: 1, NONE: 1 })).to.include('not sold here any more');
      expect(await tried({ MUG: 1, YEN: 1 })).to.include('in one currency');
      await w.play(post(kernel, 'checkOut', { ...details, key, total: '990 GBP' }, basket));
      const again = htmlOf(await w.play(post(kernel, 'checkOut', { ...details, city: 'York', key, total: '990 GBP' }, basket)));
      expect(again).to.include('already').and.not.include(`value="${key}"`);
    });

    it('goes back to a basket that is empty', async () => {
      const { kernel } = await shop();
      expect(headersOf(await post(kernel, 'checkOut', { ...details, key }))['location']).to.equal('/basket');
      expect(headersOf(await get(kernel, 'checkoutPage', {}))['location']).to.equal('/basket');
    });
  });

  describe('forms from other sites', () => {
    const host = { host: 'shop.example:8080' };
    const own: Record<string, string>[] = [
      {}, { 'sec-fetch-site': 'same-origin', origin: 'null' }, { 'sec-fetch-site': 'none' }, { ...host, origin: 'http://shop.example:8080' }, { ...host, origin: 'http://localhost:3000' },
    ];
    const others: Record<string, string>[] = [
      { 'sec-fetch-site': 'cross-site' }, { 'sec-fetch-site': 'same-site' }, { 'sec-fetch-site': 'cross-site', ...host, origin: 'http://shop.example:8080' },
      { ...host, origin: 'https://evil.example' }, { ...host, origin: 'null' }, { ...host, origin: 'shop.example:8080' }, { ...host, origin: 'http://shop.example' },
    ];

    it('are refused, and change nothing', async () => {
      const { kernel, ...w } = await shop();
      const placed = await w.place(['MUG', 1]);
      for (const headers of others) {
        for (const answer of [
          await post(kernel, 'changeBasket', { do: 'add', sku: 'MUG' }, undefined, headers),
          await post(kernel, 'checkOut', {}, cookieOf({ MUG: 1 }), headers),
          await post(kernel, 'cancelFromPage', {}, undefined, headers, { id: placed.id }),
        ]) {
          expect(answer, JSON.stringify(headers)).to.include({ status: 403 });
          expect(headersOf(answer)['set-cookie']).to.equal(undefined);
        }
      }
      expect((await kernel.published.order(placed.id))!.cancellationRequestedAt).to.equal(undefined);
    });

    it('are told from our own', async () => {
      const { kernel } = await shop();
      for (const headers of own) expect(await post(kernel, 'changeBasket', { do: 'add', sku: 'MUG' }, undefined, headers), JSON.stringify(headers)).to.include({ status: 303 });
    });

    it('can be told, because pages let the browser say where a form comes from', async () => {
      const { kernel } = await shop();
      expect(htmlOf(await get(kernel, 'homePage', { query: {} }))).to.include('<meta name="referrer" content="same-origin">');
    });
  });

  describe('order page', () => {
    const order: OrderView = {
      id: '0'.repeat(26), status: 'Placed', customer: { name: '<b>Anna</b>', email: 'anna@example.com' }, address: { line1: '1 High Street', city: 'Leeds', postcode: 'LS1', country: 'GB' },
      lines: [{ sku: 'MUG', name: 'Blue mug', quantity: 2, unitPrice: 495, amount: 990 }], total: { amount: 990, currency: 'GBP' }, shipments: [], history: [{ event: 'OrderPlaced', at: '2026-11-20T09:00:00.000Z' }],
    };
    const shown = (more: Partial<OrderView>): string => {
      const { main, head } = orderPage({ ...order, ...more });
      return String(html`${head}${main}`);
    };
    const stepsIn = (text: string): string[] => [...text.matchAll(/<li class="(\w+) (\w+)"/g)].map(([, state, kind]) => `${kind} ${state}`);

    it('tells the way of an order as far as it is known', () => {
      expect(stepsIn(shown({}))).to.deep.equal(['Placed now', 'Reserved next', 'Shipped next', 'Delivered next']);
      expect(stepsIn(shown({ status: 'Backordered' }))).to.deep.equal(['Placed done', 'Backordered now', 'Reserved next', 'Shipped next', 'Delivered next']);
      expect(stepsIn(shown({ status: 'Shipped' })), 'word of the reservation is late').to.deep.equal(['Placed done', 'Reserved done', 'Shipped now', 'Delivered next']);
      const history = [...order.history, { event: 'CancellationRequested', at: '2026-11-20T09:01:00.000Z' }, { event: 'ShippingStopped', at: '2026-11-20T09:02:00.000Z' }];
      expect(stepsIn(shown({ status: 'Cancelled', history }))).to.deep.equal(['Placed done', 'Cancelled now']);
    });

    it('goes on by itself until the order has come to its end', () => {
      for (const status of ['Placed', 'Backordered', 'Reserved', 'Shipped'] as const) expect(shown({ status })).to.include('http-equiv="refresh"').and.not.include('data-final');
      for (const status of ['Delivered', 'Cancelled'] as const) expect(shown({ status })).to.include('data-final').and.not.include('http-equiv="refresh"');
    });

    it('offers to cancel while that makes sense', () => {
      for (const status of ['Placed', 'Backordered', 'Reserved'] as const) expect(shown({ status })).to.include('/cancel"');
      for (const status of ['Shipped', 'Delivered', 'Cancelled'] as const) expect(shown({ status })).not.to.include('/cancel"');
      expect(shown({ cancellationRequestedAt: '2026-11-20T09:01:00.000Z' })).to.include('You asked to cancel').and.not.include('/cancel"');
    });

    it('links to a carrier\'s page alone where that is a web page', () => {
      const parcel = { carrier: 'demo', trackingNumber: 'T<1>', status: 'Shipped' } as const;
      expect(shown({ status: 'Shipped', shipments: [{ ...parcel, trackingUrl: 'https://track.example/1' }] })).to.include('href="https://track.example/1"');
      expect(shown({ status: 'Shipped', shipments: [{ ...parcel, trackingUrl: 'javascript:alert(1)' }] })).to.include('T&lt;1&gt;').and.not.include('javascript:');
    });

    it('asks Order to cancel, and says so when it is too late', async () => {
      const { kernel, ...w } = await shop();
      const placed = await w.place(['MUG', 1]);
      const answer = await w.play(post(kernel, 'cancelFromPage', {}, undefined, {}, { id: placed.id }));
      expect([answer.status, headersOf(answer)['location']]).to.deep.equal([303, `/orders/${placed.id}`]);
      expect(htmlOf(await get(kernel, 'orderPage', { params: { id: placed.id } }))).to.include('You asked to cancel');
      const left = await w.place(['MUG', 1]);
      const late: Kernel = { ...kernel, published: { ...kernel.published, cancelOrder: async () => ({ refused: 'shipped-already', status: 409, detail: 'the order has been shipped' }) } };
      const tooLate = await post(late, 'cancelFromPage', {}, undefined, {}, { id: left.id });
      expect(tooLate).to.include({ status: 409 });
      expect(htmlOf(tooLate)).to.include('too late');
      expect(await get(kernel, 'orderPage', { params: { id: 'z'.repeat(26) } })).to.include({ status: 404 });
    });
  });

  describe('mailbox', () => {
    it('reads the letters that our own mailbox writes', () => {
      const line = fc.string({ unit: fc.constantFrom('a', ' ', 'é', '🎁', '£', '<', '=', '?', '"', '\\', '.', '=?utf-8?b?', '?='), minLength: 1, maxLength: 60 });
      const one = { key: `${'0'.repeat(26)}.shipped`, date: '2026-11-20T09:00:00.000Z' };
      fc.assert(
        fc.property(line, fc.array(line), (subject, lines) => {
          const text = lines.join('\n');
          const read = letterOf(eml({ ...one, subject, text, html: '<p>x</p>', to: { name: 'Anna', address: 'anna@example.com' } }, { from: { name: 'Shop', address: 'shop@example.com' } }));
          expect(read.text.replaceAll('\r\n', '\n')).to.equal(text);
          expect(read.subject).to.equal(subject);
          expect(read.to).to.include('<anna@example.com>');
        }),
      );
    });

    it('shows what it cannot read as it is', () => {
      expect(letterOf(Buffer.from('no letter at all')).text).to.equal('no letter at all');
    });

    it('is not there where letters really leave', async () => {
      const { kernel } = await shop();
      const { mailbox: _, ...mailer } = kernel.mailer;
      const elsewhere: Kernel = { ...kernel, mailer };
      expect(await get(elsewhere, 'mailboxPage', { query: {} })).to.include({ status: 404 });
      expect(await get(elsewhere, 'letterPage', { params: { key: 'x' } })).to.include({ status: 404 });
      expect(htmlOf(await get(elsewhere, 'homePage', { query: {} }))).not.to.include('/mailbox');
      expect(await get(kernel, 'letterPage', { params: { key: 'x' } })).to.include({ status: 404 });
    });
  });

  // ---------------------------------------------------------------- a shop with two products, polled

  async function shop(): Promise<World> {
    const w = await world();
    await put(w.kernel, 'MUG', 'Blue mug', 495);
    await put(w.kernel, 'LAMP', 'Desk lamp', 2_999);
    await w.play(website.ticks.pollProducts(w.kernel));
    return w;
  }

  async function put(kernel: Kernel, sku: string, name: string, amount: number, currency = 'GBP'): Promise<void> {
    await worlds.at(-1)!.play(execute(kernel, products, { id: sku, command: { do: 'describe', sku, info: { name, description: '', price: { amount, currency } } } }));
  }
});
