import { expect } from 'chai';
import { createHash } from 'node:crypto';
import { OAuth2Server } from 'oauth2-mock-server';
import { openMemory, type Memory } from '../../adapters/memory/index.ts';
import { idleSeconds, longestSeconds } from '../../core/console/sessions.ts';
import { wayOn } from '../../core/console/porch.ts';
import { doors, queues, streams, type Door, type DoorName } from '../../core/flow.ts';
import { actDaysMax, forgetDesk, recorded, shortened, type Act } from '../../core/kernel/acts.ts';
import type { Kernel } from '../../core/kernel/service.ts';
import { openShop, type Shop } from '../../handlers/container.ts';
import type { HttpAnswer, HttpContext } from '../../handlers/host.ts';
import { handlers } from '../../handlers/index.ts';
import { createRouter } from '../../handlers/routes.ts';
import { parseSettings } from '../../handlers/settings.ts';
import { PortError, partitionsOf, type Collection } from '../../ports/index.ts';
import { collections } from '../../core/flow.ts';
import { createClock, type VirtualClock } from '../support/clock.ts';
import { createLog } from '../support/log.ts';

/** The console's frame: who comes in, how long, what is asked of a form, and what is written down of it. Time stands still, and a browser is a jar of cookies. */

const adminToken = 'the-token-of-the-console';
const shopUrl = 'https://shop.example';

let clock: VirtualClock;
let log: ReturnType<typeof createLog>;
let memory: Memory;
let shop: Shop;
let context: HttpContext;

async function open(env: Record<string, string> = {}): Promise<void> {
  clock = createClock();
  log = createLog();
  memory = openMemory({ clock, queues, streams });
  const settings = parseSettings({ ADAPTERS: 'memory', SHOP_URL: shopUrl, DEMO_CARRIER_SECRET: 'a-secret', ...env });
  shop = await openShop(settings, { post: async () => 204, clock, log, memory });
  context = { kernel: shop.kernel, adminToken, ...(settings.oidc ? { oidc: settings.oidc } : {}) };
}

/** What it was given last, and the cookies of all that came before. */
interface Browser {
  readonly cookies: Map<string, string>;
  get(path: string, headers?: Record<string, string>): Promise<HttpAnswer>;
  post(path: string, fields: Record<string, string>, headers?: Record<string, string>): Promise<HttpAnswer>;
}

function browser(given: () => HttpContext = () => context, remote = '192.0.2.7'): Browser {
  const cookies = new Map<string, string>();
  async function call(method: 'GET' | 'POST', path: string, body: string, headers: Record<string, string>): Promise<HttpAnswer> {
    const [pathname = '', search = ''] = path.split('?');
    const found = createRouter({ context: given(), ready: () => true })(method, pathname);
    if ('fault' in found) throw new Error(`${method} ${path} leads nowhere`);
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const own = method === 'POST' ? { 'content-type': 'application/x-www-form-urlencoded', origin: shopUrl } : {};
    const answer = await found.route.answer({
      method, path: pathname, params: found.params, query: new URLSearchParams(search), headers: { host: 'shop.example', cookie, ...own, ...headers }, body: Buffer.from(body), remote,
    });
    keep(cookies, answer.headers['set-cookie']);
    return answer;
  }
  return { cookies, get: (path, headers = {}) => call('GET', path, '', headers), post: (path, fields, headers = {}) => call('POST', path, new URLSearchParams(fields).toString(), headers) };
}

function keep(cookies: Map<string, string>, setCookie: string | undefined): void {
  const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(setCookie ?? '') ?? [];
  if (/Max-Age=0\b/.test(setCookie ?? '')) cookies.delete(name);
  else if (name !== '') cookies.set(name, value);
}

async function signedIn(of: Browser = browser()): Promise<Browser> {
  const answer = await of.post('/console/sign-in', { token: adminToken });
  expect([answer.status, answer.headers['location']]).to.deep.equal([303, '/console']);
  return of;
}

const csrfOf = ({ body }: HttpAnswer): string => /name="csrf" value="([^"]+)"/.exec(String(body))?.[1] ?? '';
const kernelOf = (): Kernel => context.kernel;
const rowsIn = (collection: Collection, noun: string): { key: string; body: string }[] => partitionsOf(collection).flatMap((partition) => memory.engines.store.query(partition, { prefix: `${noun}|`, limit: 1_000 }).rows);
const acts = async (query = ''): Promise<{ items: (Record<string, unknown> & { who: string; door: string })[]; next?: string }> => {
  const found = createRouter({ context, ready: () => true })('GET', '/api/acts');
  if ('fault' in found) throw new Error('no acts');
  const answer = await found.route.answer({ method: 'GET', path: '/api/acts', params: {}, query: new URLSearchParams(query), headers: { authorization: `Bearer ${adminToken}` }, body: new Uint8Array() });
  expect(answer.status).to.equal(200);
  return JSON.parse(String(answer.body)) as Awaited<ReturnType<typeof acts>>;
};
const mug = { name: 'Blue mug', description: '', price: '4.95', currency: 'GBP' };

describe('The console', () => {
  beforeEach(() => open());
  afterEach(() => shop.close());

  describe('at its door', () => {
    it('sends whoever is not signed in to the sign-in, and back to where he wanted to go', async () => {
      const anna = browser();
      const sent = await anna.get('/console/orders?status=Placed');
      expect([sent.status, sent.headers['location']]).to.deep.equal([303, `/console/sign-in?next=${encodeURIComponent('/console/orders?status=Placed')}`]);
      const page = await anna.get(sent.headers['location']!);
      const next = /name="next" value="([^"]*)"/.exec(String(page.body))?.[1];
      const entered = await anna.post('/console/sign-in', { token: adminToken, next: next! });
      expect([entered.status, entered.headers['location']]).to.deep.equal([303, '/console/orders?status=Placed']);
      expect((await anna.get(entered.headers['location']!)).status).to.equal(200);
    });

    it('lets nobody into any of its pages without a session, and none of its forms does anything', async () => {
      const stranger = browser();
      const inside = (Object.entries(doors) as [DoorName, Door][]).filter(([, door]) => door.console !== undefined);
      expect(inside.length).to.be.greaterThan(10);
      const before = JSON.stringify(rowsIn(collections.dead, ''));
      for (const [name, { method, path }] of inside) {
        const at = path.replace('{id}', '0'.repeat(26)).replace('{sku}', 'MUG').replace('{kind}', 'parked');
        const answer = method === 'GET' ? await stranger.get(at) : await stranger.post(at, {});
        expect(answer.status, name).to.equal(method === 'GET' ? 303 : 401);
        if (method === 'GET') expect(answer.headers['location'], name).to.match(/^\/console\/sign-in/);
      }
      expect(JSON.stringify(rowsIn(collections.dead, ''))).to.equal(before);
    });

    it('gives a cookie that no script reads, that goes to no other host, and that ends', async () => {
      const answer = await browser().post('/console/sign-in', { token: adminToken });
      expect(answer.headers['set-cookie']).to.match(/^__Host-console=[0-9a-z]{52}; Path=\/; Max-Age=28800; HttpOnly; SameSite=Lax; Secure$/);
    });

    it('keeps no cookie in the store, only a digest of it', async () => {
      const anna = await signedIn();
      const cookie = anna.cookies.get('__Host-console')!;
      const [row, ...more] = rowsIn(collections.dead, 'session');
      expect(more).to.deep.equal([]);
      expect(JSON.stringify(row)).not.to.include(cookie);
    });

    it('refuses a wrong token and an absent one, beside the field, and gives neither back', async () => {
      const wrong = await browser().post('/console/sign-in', { token: 'a-wrong-token' });
      expect(wrong.status).to.equal(401);
      expect(String(wrong.body)).to.include('This is not the admin token.').and.not.include('a-wrong-token');
      expect((await browser().post('/console/sign-in', {})).status).to.equal(401);
      expect(wrong.headers['set-cookie']).to.equal(undefined);
    });

    it('counts wrong tokens by address, together with those at the API, and then lets not even the right one in', async () => {
      const guesser = browser();
      for (let n = 0; n < 20; n++) expect((await guesser.post('/console/sign-in', { token: `guess-${n}` })).status).to.equal(401);
      const late = await guesser.post('/console/sign-in', { token: adminToken });
      expect([late.status, late.headers['retry-after']]).to.deep.equal([429, '1']);
      const api = createRouter({ context, ready: () => true })('GET', '/api/acts');
      if ('fault' in api) throw new Error('no acts');
      const asked = await api.route.answer({ method: 'GET', path: '/api/acts', params: {}, query: new URLSearchParams(), headers: { authorization: `Bearer ${adminToken}` }, body: new Uint8Array(), remote: '192.0.2.7' });
      expect(asked.status).to.equal(429);
      await signedIn(browser(() => context, '198.51.100.1'));
    });

    it('leads on to nowhere outside of itself', async () => {
      for (const next of [
        'https://evil.example/', '//evil.example', '/\\evil.example', '/console/../orders', '/console/%2e%2e/orders', '/console\\..\\x', 'javascript:alert(1)', '/consoles', '/console@evil.example', '/console\\@evil.example', '/console.evil.example',
        '/console/sign-out', '/console/sign-in?next=/console/sign-in', '/console/oidc', '/console\r\nset-cookie: a=b', '/console/\u0000', '/ console', '', 'console', `/console/${'x'.repeat(3_000)}`,
      ]) {
        expect(wayOn(next), JSON.stringify(next)).to.equal('/console');
        const answer = await browser().post('/console/sign-in', { token: adminToken, next });
        expect([answer.status, answer.headers['location']], JSON.stringify(next)).to.deep.equal([303, '/console']);
      }
      expect([wayOn('/console/orders?q=a%26b'), wayOn('/console?span=1h'), wayOn('/console')]).to.deep.equal(['/console/orders?q=a%26b', '/console?span=1h', '/console']);
    });
  });

  describe('a session', () => {
    it('ends half an hour after the last page that a person opened', async () => {
      const anna = await signedIn();
      for (let n = 0; n < 4; n++) {
        await clock.advance((idleSeconds - 60) * 1_000);
        expect((await anna.get('/console/orders')).status, `page ${n}`).to.equal(200);
      }
      await clock.advance(idleSeconds * 1_000);
      expect((await anna.get('/console/orders')).status).to.equal(303);
    });

    it('is not kept by a page that renews itself, whose script is told with 401', async () => {
      const anna = await signedIn();
      const fetched = { 'sec-fetch-mode': 'cors', 'sec-fetch-site': 'same-origin' };
      for (let passed = 0; passed < idleSeconds; passed += 600) {
        expect((await anna.get('/console/now', fetched)).status, `after ${passed} s`).to.equal(200);
        await clock.advance(600_000);
      }
      expect((await anna.get('/console/now', fetched)).status).to.equal(401);
    });

    it('ends eight hours after the sign-in, whatever is done', async () => {
      const anna = await signedIn();
      for (let passed = 0; passed < longestSeconds - 900; passed += 900) {
        expect((await anna.get('/console/orders')).status, `after ${passed} s`).to.equal(200);
        await clock.advance(900_000);
      }
      expect((await anna.get('/console/orders')).status).to.equal(200);
      await clock.advance(900_000);
      expect((await anna.get('/console/orders')).status).to.equal(303);
    });

    it('ends with the sign-out, also for whoever has copied the cookie', async () => {
      const anna = await signedIn();
      const thief = browser();
      thief.cookies.set('__Host-console', anna.cookies.get('__Host-console')!);
      expect((await thief.get('/console/orders')).status).to.equal(200);
      const left = await anna.post('/console/sign-out', { csrf: csrfOf(await anna.get('/console/orders')) });
      expect([left.status, left.headers['location'], anna.cookies.size]).to.deep.equal([303, '/console/sign-in', 0]);
      expect((await thief.get('/console/orders')).status).to.equal(303);
      expect(rowsIn(collections.dead, 'session')).to.deep.equal([]);
    });

    it('ends the one before it in the same browser', async () => {
      const anna = await signedIn();
      const before = anna.cookies.get('__Host-console')!;
      await signedIn(anna);
      expect(anna.cookies.get('__Host-console')).not.to.equal(before);
      expect(rowsIn(collections.dead, 'session')).to.have.length(1);
    });

    it('ends when the admin token is another one', async () => {
      const anna = await signedIn();
      context = { ...context, adminToken: 'another-token-of-it' };
      expect((await anna.get('/console/orders')).status).to.equal(303);
    });

    it('is known to every process of the deployment', async () => {
      const anna = await signedIn();
      const settings = parseSettings({ ADAPTERS: 'memory', SHOP_URL: shopUrl });
      const other = await openShop(settings, { post: async () => 204, clock, log, memory });
      const there = browser(() => ({ kernel: other.kernel, adminToken }));
      there.cookies.set('__Host-console', anna.cookies.get('__Host-console')!);
      expect((await there.get('/console/orders')).status).to.equal(200);
    });

    it('is nothing that one can make up', async () => {
      const anna = await signedIn();
      const real = anna.cookies.get('__Host-console')!;
      for (const made of [real.slice(0, -1) + (real.endsWith('0') ? '1' : '0'), real.toUpperCase(), '', '0'.repeat(52), `${real}x`, 'x|y', '%', real.slice(0, 26)]) {
        const forger = browser();
        forger.cookies.set('__Host-console', made);
        expect((await forger.get('/console/orders')).status, made).to.equal(303);
      }
      const neighbour = browser();
      neighbour.cookies.set('console', real);
      expect((await neighbour.get('/console/orders')).status, 'under https only the name that browsers guard').to.equal(303);
    });

    it('is unknown while the store does not answer: nobody comes in, and nobody is thrown out', async () => {
      const anna = await signedIn();
      const { store } = kernelOf();
      context = { ...context, kernel: { ...kernelOf(), store: { ...store, get: () => Promise.reject(new PortError('unavailable', 'not now')) } } };
      expect((await anna.get('/console/orders')).status).to.equal(503);
      context = { ...context, kernel: { ...kernelOf(), store } };
      expect((await anna.get('/console/orders')).status).to.equal(200);
    });
  });

  describe('a form', () => {
    it('is taken with the token of its own session alone', async () => {
      const anna = await signedIn();
      const bob = await signedIn();
      const csrf = csrfOf(await anna.get('/console/orders'));
      const others = csrfOf(await bob.get('/console/orders'));
      expect(csrf).not.to.equal(others);
      const wrongs: readonly Record<string, string>[] = [{}, { csrf: '' }, { csrf: `${csrf}x` }, { csrf: others }];
      for (const wrong of wrongs) {
        const refused = await anna.post('/console/products/MUG', { ...mug, ...wrong });
        expect(refused.status, JSON.stringify(wrong)).to.equal(403);
      }
      expect((await acts()).items).to.deep.equal([]);
      const done = await anna.post('/console/products/MUG', { ...mug, csrf });
      expect([done.status, (await acts()).items.length]).to.deep.equal([303, 1]);
    });

    it('is not taken from another site, whatever it brings', async () => {
      const anna = await signedIn();
      const csrf = csrfOf(await anna.get('/console/orders'));
      const elsewhere: readonly Record<string, string>[] = [{ origin: 'https://evil.example' }, { origin: 'null' }, { 'sec-fetch-site': 'cross-site' }, { 'sec-fetch-site': 'same-site' }];
      for (const from of elsewhere) {
        expect((await anna.post('/console/products/MUG', { ...mug, csrf }, from)).status, JSON.stringify(from)).to.equal(403);
        expect((await browser().post('/console/sign-in', { token: adminToken }, from)).status, 'nor is a sign-in').to.equal(403);
      }
      expect((await acts()).items).to.deep.equal([]);
    });

    it('that comes when the session has ended is kept, and sent again by hand after the next sign-in', async () => {
      const anna = await signedIn();
      const csrf = csrfOf(await anna.get('/console/orders'));
      await clock.advance(idleSeconds * 1_000);
      const typed = { ...mug, name: 'Blauer Becher 🫖 "für" Tee & <b>mehr</b>' };
      const late = await anna.post('/console/products/MUG', { ...typed, csrf }, { referer: `${shopUrl}/console/products/MUG` });
      expect(late.status).to.equal(401);
      expect(String(late.body)).to.include('What you typed is kept');
      expect((await acts()).items).to.deep.equal([]);
      expect(anna.cookies.get('__Host-console-kept')).not.to.include('Blauer');

      const entered = await anna.post('/console/sign-in', { token: adminToken, next: '/console/products/MUG' });
      expect(entered.headers['location']).to.equal('/console/again');
      const again = await anna.get('/console/again');
      const fields = fieldsIn(String(again.body), '/console/products/MUG');
      expect(fields).to.include(typed);
      expect(fields['csrf']).not.to.equal(csrf);
      expect(String(again.body)).to.include('href="/console/products/MUG"');
      expect((await acts()).items, 'nothing is done by itself').to.deep.equal([]);
      const done = await anna.post('/console/products/MUG', fields);
      expect([done.status, (await acts()).items.length]).to.deep.equal([303, 1]);
      expect((await anna.get('/console/again')).headers['location'], 'and it is shown once').to.equal('/console');
    });

    it('that is too long for that says so, and is not half kept', async () => {
      const anna = browser();
      const late = await anna.post('/console/products/MUG', { ...mug, description: '🫖'.repeat(1_000) });
      expect([late.status, late.headers['set-cookie']]).to.deep.equal([401, undefined]);
      expect(String(late.body)).to.include('too long to be kept');
      const huge = await anna.post('/console/products/MUG', { description: 'x'.repeat(20_000) });
      expect([huge.status, huge.headers['set-cookie']]).to.deep.equal([401, undefined]);
    });

    it('that was kept is nothing that others can make up, nor lasts for ever', async () => {
      const anna = browser();
      await anna.post('/console/products/MUG', mug);
      const kept = anna.cookies.get('__Host-console-kept')!;
      const forger = await signedIn();
      for (const made of [`${kept.slice(0, 40)}${kept[40] === 'A' ? 'B' : 'A'}${kept.slice(41)}`, 'AAAA', kept.slice(0, 30), '']) {
        forger.cookies.set('__Host-console-kept', made);
        expect((await forger.get('/console/again')).status, made.slice(0, 50)).to.equal(303);
      }
      forger.cookies.set('__Host-console-kept', kept);
      await clock.advance(1_790_000);
      expect((await forger.get('/console/again')).status).to.equal(200);
      forger.cookies.set('__Host-console-kept', kept);
      await signedIn(browser());
      await clock.advance(11_000);
      expect((await forger.get('/console/again')).status).to.equal(303);
    });
  });

  describe('the trail of acts', () => {
    const api = async (door: 'describeProduct' | 'receiveStock', body: unknown, token = adminToken): Promise<HttpAnswer> => {
      const { method, path } = doors[door];
      const found = createRouter({ context, ready: () => true })(method, path.replace('{sku}', 'MUG'));
      if ('fault' in found) throw new Error('no such door');
      return found.route.answer({ method, path, params: found.params, query: new URLSearchParams(), headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' }, body: Buffer.from(JSON.stringify(body)) });
    };
    const described = { name: 'Blue mug', description: '', price: { amount: 495, currency: 'GBP' } };

    it('has each change with who, when, what, and what came of it, the newest first', async () => {
      await api('describeProduct', described);
      await clock.advance(1_000);
      const anna = await signedIn();
      await anna.post('/console/products/MUG', { ...mug, csrf: csrfOf(await anna.get('/console/orders')) });
      await clock.advance(1_000);
      await api('receiveStock', { quantity: 5 });
      const { items } = await acts();
      expect(items.map(({ who, door, via, state, status, params, at }) => [who, door, via, state, status, params, at])).to.deep.equal([
        ['token', 'receiveStock', 'api', 'done', 201, { sku: 'MUG' }, '2026-11-20T09:00:02.000Z'],
        ['token', 'describeProduct', 'console', 'done', 200, { sku: 'MUG' }, '2026-11-20T09:00:01.000Z'],
        ['token', 'describeProduct', 'api', 'done', 201, { sku: 'MUG' }, '2026-11-20T09:00:00.000Z'],
      ]);
      expect(items[2]!['said']).to.equal(JSON.stringify(described));
    });

    it('has what was refused by the service, and not what never reached it', async () => {
      expect((await api('receiveStock', { quantity: 5 })).status).to.equal(404);
      expect((await api('receiveStock', { quantity: -5 })).status).to.equal(400);
      expect((await api('receiveStock', { quantity: 5 }, 'a-wrong-token-of-it')).status).to.equal(401);
      expect((await acts()).items.map(({ door, status }) => [door, status])).to.deep.equal([['receiveStock', 404]]);
    });

    it('is filtered by who and by door, and read page by page', async () => {
      for (let n = 0; n < 5; n++) {
        await api('describeProduct', { ...described, name: `Mug ${n}` });
        await clock.advance(10);
      }
      await api('receiveStock', { quantity: 1 });
      expect((await acts('door=receiveStock')).items).to.have.length(1);
      expect((await acts('who=nobody')).items).to.deep.equal([]);
      const first = await acts('door=describeProduct&limit=2');
      const second = await acts(`door=describeProduct&limit=2&after=${first.next}`);
      const third = await acts(`door=describeProduct&limit=2&after=${second.next}`);
      expect([...first.items, ...second.items, ...third.items].map(({ said }) => (JSON.parse(String(said)) as { name: string }).name)).to.deep.equal(['Mug 4', 'Mug 3', 'Mug 2', 'Mug 1', 'Mug 0']);
      expect(third.next).to.equal(undefined);
    });

    it('is written before the act: without it nothing is done', async () => {
      const { store } = kernelOf();
      const commit: typeof store.commit = (partition, what) => (partition.startsWith('dead') ? Promise.reject(new PortError('throttled', 'not now')) : store.commit(partition, what));
      context = { ...context, kernel: { ...kernelOf(), store: { ...store, commit } } };
      expect((await api('describeProduct', described)).status).to.equal(503);
      expect(rowsIn(collections.products, 'product')).to.deep.equal([]);
    });

    it('says `begun` of an act whose process has ended in the midst of it', async () => {
      const never = recorded(kernelOf(), { who: 'anna', via: 'console', door: 'describeProduct', params: { sku: 'MUG' }, said: undefined }, () => new Promise(() => undefined));
      void never;
      await clock.idle();
      const [act, ...more] = (await acts()).items;
      expect([act!['who'], act!['state'], act!['status'], more]).to.deep.equal(['anna', 'begun', undefined, []]);
      const anna = await signedIn();
      expect(String((await anna.get('/console/acts')).body)).to.include('what came of it is unknown');
    });

    it('holds up nobody whose act is done: if the outcome cannot be written, it stays `begun`, and the log says so', async () => {
      const { store } = kernelOf();
      let commits = 0;
      const commit: typeof store.commit = (partition, what) => (partition.startsWith('dead') && ++commits === 2 ? Promise.reject(new PortError('unavailable', 'not now')) : store.commit(partition, what));
      context = { ...context, kernel: { ...kernelOf(), store: { ...store, commit } } };
      expect((await api('describeProduct', described)).status).to.equal(201);
      expect((await acts()).items.map(({ state }) => state)).to.deep.equal(['begun']);
      expect(log.lines.some(({ text }) => text.includes('its outcome could not be written'))).to.equal(true);
    });

    it('has the outcome of what was thrown as it was answered', async () => {
      const act = { who: 'anna', via: 'api', door: 'describeProduct', params: {}, said: undefined } as const;
      for (const error of [new PortError('unavailable', 'x'), new PortError('tooLarge', 'x'), new Error('x')]) {
        await recorded(kernelOf(), act, () => Promise.reject(error)).then(() => expect.fail('it is thrown on'), (thrown: unknown) => expect(thrown).to.equal(error));
        await clock.advance(1);
      }
      expect((await acts()).items.map(({ status }) => status)).to.deep.equal([500, 413, 503]);
    });

    it('keeps a short form of what was said: no payload, nothing called like a secret, never half a character', () => {
      expect(shortened({ channel: 'orders', message: { type: 'OrderPlaced', subject: 'x', data: { customer: { name: 'Anna Bell' } } } })).to.equal('{"channel":"orders","message":{"type":"OrderPlaced","subject":"x","data":"…"}}');
      expect(shortened({ apiToken: 'hunter2', Password: 'hunter2', clientSecret: 'hunter2' })).not.to.include('hunter2');
      for (let n = 110; n < 130; n++) expect(shortened({ why: `${'x'.repeat(n)}${'🫖'.repeat(300)}` })).to.satisfy((text: string) => encodeURIComponent(text) !== '' && text.length <= 500);
      expect(shortened(Object.fromEntries(Array.from({ length: 500 }, (_, n) => [`f${n}`, 'y'.repeat(500)])))).to.have.length(500);
    });

    it('forgets what is older than a year and a month, and sessions and sign-ins that have ended', async () => {
      const anna = await signedIn();
      await api('describeProduct', described);
      await clock.advance(actDaysMax * 86_400_000 - 1);
      await api('describeProduct', { ...described, name: 'Red mug' });
      expect(await forgetDesk(kernelOf()), 'the session').to.equal(1);
      await clock.advance(2);
      expect(await forgetDesk(kernelOf())).to.equal(1);
      const left = rowsIn(collections.dead, '').length + rowsIn(collections.dead, 'act').length;
      expect([left, (JSON.parse(rowsIn(collections.dead, 'act')[0]!.body) as Act).said]).to.deep.equal([1, JSON.stringify({ ...described, name: 'Red mug' })]);
      expect((await anna.get('/console/orders')).status).to.equal(303);
    });
  });
});

/** The hidden fields of the form that posts there. */
function fieldsIn(page: string, action: string): Record<string, string> {
  const form = page.split('<form').find((each) => each.includes(`action="${action}"`)) ?? '';
  const unescaped = (text: string): string => text.replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&quot;', '"').replaceAll('&#39;', "'").replaceAll('&amp;', '&');
  return Object.fromEntries([...form.matchAll(/<input type="hidden" name="([^"]*)" value="([^"]*)">/g)].map(([, name = '', value = '']) => [name, unescaped(value)]));
}

describe('The console with an identity provider', function () {
  this.timeout(20_000);
  let provider: OAuth2Server;
  /** Claims of the next ID token. */
  let claims: Record<string, unknown>;

  before(async () => {
    provider = new OAuth2Server();
    await provider.issuer.keys.generate('RS256');
    await provider.start(0, 'localhost');
    provider.service.on('beforeTokenSigning', (token) => Object.assign(token.payload, claims));
  });
  after(() => provider.stop());

  const env = (more: Record<string, string> = {}): Record<string, string> => ({ OIDC_ISSUER: provider.issuer.url!, OIDC_CLIENT_ID: 'anyport', OIDC_CLIENT_SECRET: 'a-secret-of-the-provider', ...more });
  beforeEach(async () => {
    claims = { sub: 'u-17', preferred_username: 'anna', roles: ['viewer', 'operator'] };
    await open(env());
  });
  afterEach(() => shop.close());

  /** Off to the provider and back, up to the address that it sends the browser to. */
  async function there(who: Browser, next = ''): Promise<URL> {
    const sent = await who.get(`/console/oidc${next === '' ? '' : `?next=${encodeURIComponent(next)}`}`);
    expect(sent.status).to.equal(303);
    const answer = await fetch(sent.headers['location']!, { redirect: 'manual' });
    return new URL(answer.headers.get('location')!);
  }
  const back = (who: Browser, { pathname, search }: URL): Promise<HttpAnswer> => who.get(pathname + search);

  it('lets in whoever has a role there, under his own name, and goes on to where he wanted to go', async () => {
    const anna = browser();
    expect(String((await anna.get('/console/sign-in')).body)).to.include('href="/console/oidc"');
    const answer = await back(anna, await there(anna, '/console/orders?status=Placed'));
    expect([answer.status, answer.headers['location']]).to.deep.equal([303, '/console/orders?status=Placed']);
    const page = await anna.get('/console/orders');
    expect(String(page.body)).to.include('anna');
    await anna.post('/console/products/MUG', { ...mug, csrf: csrfOf(page) });
    const [act] = (await acts()).items;
    expect([act!.who, act!['subject'], act!['via'], act!['status']]).to.deep.equal(['anna', 'u-17', 'console', 201]);
  });

  it('asks with PKCE, state and nonce, new ones each time', async () => {
    const anna = browser();
    const [one, other] = [await anna.get('/console/oidc'), await anna.get('/console/oidc')].map(({ headers }) => new URL(headers['location']!).searchParams);
    for (const asked of [one!, other!]) {
      expect(asked.get('code_challenge_method')).to.equal('S256');
      expect(asked.get('redirect_uri')).to.equal(`${shopUrl}/console/oidc/back`);
      expect(asked.get('response_type')).to.equal('code');
    }
    for (const name of ['state', 'nonce', 'code_challenge']) expect(one!.get(name), name).to.have.length.above(20).and.not.equal(other!.get(name));
    expect(anna.cookies.get('__Host-console-way')).not.to.include(other!.get('state')!);
  });

  it('proves to the provider that it is the one who asked (RFC 7636)', async () => {
    const verifiers: unknown[] = [];
    provider.service.once('beforeResponse', (_response, request) => verifiers.push(request.body.code_verifier));
    const anna = browser();
    const sent = new URL((await anna.get('/console/oidc')).headers['location']!);
    const answer = await fetch(sent, { redirect: 'manual' });
    expect((await back(anna, new URL(answer.headers.get('location')!))).status).to.equal(303);
    const [verifier] = verifiers as [string];
    expect(verifier).to.match(/^[0-9a-z]{52}$/);
    expect(createHash('sha256').update(verifier).digest('base64url')).to.equal(sent.searchParams.get('code_challenge'));
  });

  it('lets a viewer look, and change nothing, neither by a form nor past it', async () => {
    claims['roles'] = 'viewer';
    const bob = browser();
    await back(bob, await there(bob));
    const page = await bob.get('/console/orders');
    expect(page.status).to.equal(200);
    const refused = await bob.post('/console/products/MUG', { ...mug, csrf: csrfOf(page) });
    expect(refused.status).to.equal(403);
    expect(String(refused.body)).to.include('Only for operators');
    expect(rowsIn(collections.products, 'product')).to.deep.equal([]);
    const left = await bob.post('/console/sign-out', { csrf: csrfOf(page) });
    expect(left.status, 'but he may leave').to.equal(303);
  });

  it('lets a viewer change nothing at the API either, if a page forgets to ask who he is', async () => {
    const { method, path } = doors.describeProduct;
    const event = { method, path, params: { sku: 'MUG' }, query: new URLSearchParams(), headers: { 'content-type': 'application/json' }, body: Buffer.from(JSON.stringify({ name: 'Mug', price: { amount: 1, currency: 'GBP' } })) };
    for (const [role, status] of [['viewer', 403], ['operator', 201]] as const) {
      const answer = await handlers.describeProduct(event, { ...context, by: { who: 'bob', role, csrf: '' } });
      expect(answer.status, role).to.equal(status);
    }
    const listed = await handlers.listActs({ ...event, method: 'GET', params: {}, body: new Uint8Array() }, { ...context, by: { who: 'bob', role: 'viewer', csrf: '' } });
    expect(listed.status).to.equal(200);
    expect((await acts()).items.map(({ who }) => who)).to.deep.equal(['bob']);
  });

  it('does not let in whoever has no role, and says so', async () => {
    for (const roles of [undefined, [], ['Operator', 'admin'], 'operators', { operator: true }, [['operator']], 7]) {
      claims['roles'] = roles;
      const eve = browser();
      const answer = await back(eve, await there(eve));
      expect(answer.status, JSON.stringify(roles)).to.equal(403);
      expect(String(answer.body)).to.include('have no role here');
      expect(eve.cookies.has('__Host-console')).to.equal(false);
    }
  });

  it('finds roles where the setting says, also within an object', async () => {
    await shop.close();
    await open(env({ OIDC_ROLE_CLAIM: 'realm_access.roles' }));
    claims = { sub: 'u-18', email: 'bob@example.com', roles: ['operator'], realm_access: { roles: ['viewer'] } };
    const bob = browser();
    await back(bob, await there(bob));
    expect(String((await bob.get('/console/orders')).body)).to.include('bob@example.com').and.include('viewer');
  });

  it('keeps apart a person whom the provider calls `token`', async () => {
    claims['preferred_username'] = 'token';
    const mallory = browser();
    await back(mallory, await there(mallory));
    const page = await mallory.get('/console/orders');
    await mallory.post('/console/products/MUG', { ...mug, csrf: csrfOf(page) });
    expect((await acts('who=token')).items).to.deep.equal([]);
    expect((await acts()).items.map(({ who }) => who)).to.deep.equal(['token (u-17)']);
  });

  it('refuses a wrong state, an absent one, another browser, and a way that took too long', async () => {
    const anna = browser();
    const address = await there(anna);
    const changed = (change: (query: URLSearchParams) => void): URL => {
      const other = new URL(address);
      change(other.searchParams);
      return other;
    };
    expect((await back(browser(), address)).status, 'without the cookie').to.equal(400);
    const eve = browser();
    await there(eve);
    expect((await back(eve, address)).status, 'with the state of somebody else').to.equal(400);
    expect((await back(anna, changed((query) => query.set('state', 'x')))).status).to.equal(400);
    const bob = browser();
    const bobs = await there(bob);
    bobs.searchParams.delete('state');
    expect((await back(bob, bobs)).status).to.equal(400);
    const slow = browser();
    const late = await there(slow);
    await clock.advance(600_000);
    expect((await back(slow, late)).status).to.equal(400);
    for (const each of [anna, eve, bob, slow]) expect(each.cookies.has('__Host-console')).to.equal(false);
  });

  it('refuses the same way back twice, also from the same browser', async () => {
    const anna = browser();
    const address = await there(anna);
    const way = anna.cookies.get('__Host-console-way')!;
    expect((await back(anna, address)).status).to.equal(303);
    const thief = browser();
    thief.cookies.set('__Host-console-way', way);
    const again = await back(thief, address);
    expect([again.status, thief.cookies.has('__Host-console')]).to.deep.equal([400, false]);
    expect(String(again.body)).to.include('has been used already');
  });

  for (const [title, break_] of [
    ['of another issuer', { iss: 'https://evil.example' }],
    ['for another client', { aud: 'somebody-else' }],
    ['that has expired', { exp: Math.floor(Date.now() / 1_000) - 3_600 }],
    ['for another sign-in (nonce)', { nonce: 'another' }],
    ['without a subject', { sub: undefined }],
  ] as const) {
    it(`refuses an ID token ${title}`, async () => {
      const anna = browser();
      const address = await there(anna);
      Object.assign(claims, break_);
      const answer = await back(anna, address);
      expect([answer.status, anna.cookies.has('__Host-console')]).to.deep.equal([400, false]);
      expect(String(answer.body)).to.include('did not check out');
      expect(log.lines.some(({ text }) => text.includes('did not check out'))).to.equal(true);
    });
  }

  it('refuses an ID token that somebody else has signed', async () => {
    const forger = new OAuth2Server();
    await forger.issuer.keys.generate('RS256');
    forger.issuer.url = provider.issuer.url;
    const anna = browser();
    const sent = await anna.get('/console/oidc');
    const { searchParams } = new URL(sent.headers['location']!);
    const forged = await forger.issuer.buildToken({ scopesOrTransform: (_header, payload) => Object.assign(payload, claims, { aud: 'anyport', nonce: searchParams.get('nonce') }) });
    provider.service.once('beforeResponse', (response) => Object.assign(response.body as object, { id_token: forged }));
    const answer = await fetch(sent.headers['location']!, { redirect: 'manual' });
    expect((await back(anna, new URL(answer.headers.get('location')!))).status).to.equal(400);
    expect(anna.cookies.has('__Host-console')).to.equal(false);
  });

  it('says what to do when the provider refuses, and when it cannot be reached', async () => {
    const anna = browser();
    await there(anna);
    const refused = await anna.get('/console/oidc/back?error=access_denied&error_description=%3Cscript%3E&state=x');
    expect(refused.status).to.equal(403);
    expect(String(refused.body)).to.include('has not let you in').and.not.include('script>alert').and.not.include('&lt;script');
    const bob = browser();
    const address = await there(bob);
    provider.service.once('beforeResponse', (response) => Object.assign(response, { statusCode: 503, body: {} }));
    expect((await back(bob, address)).status).to.equal(503);
    await shop.close();
    await open(env({ OIDC_ISSUER: 'http://localhost:9' }));
    expect((await browser().get('/console/oidc')).status).to.equal(503);
    await signedIn();
  });

  it('keeps what a form brought too late, on that way as well', async () => {
    const anna = browser();
    expect((await anna.post('/console/products/MUG', mug)).status).to.equal(401);
    const answer = await back(anna, await there(anna, '/console/products/MUG'));
    expect(answer.headers['location']).to.equal('/console/again');
    expect(fieldsIn(String((await anna.get('/console/again')).body), '/console/products/MUG')).to.include(mug);
  });

  it('counts the ways of one address', async () => {
    const anna = browser();
    for (let n = 0; n < 40; n++) expect((await anna.get('/console/oidc')).status).to.equal(303);
    expect((await anna.get('/console/oidc')).status).to.equal(429);
    await open(env());
  });

  it('is nowhere unless it is configured', async () => {
    await shop.close();
    await open();
    expect((await browser().get('/console/oidc')).status).to.equal(404);
    expect((await browser().get('/console/oidc/back?code=x&state=y')).status).to.equal(404);
    expect(String((await browser().get('/console/sign-in')).body)).not.to.include('/console/oidc');
  });
});
