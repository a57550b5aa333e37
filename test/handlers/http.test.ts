import { expect } from 'chai';
import { connect } from 'node:net';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { request } from 'node:http';
import { openMemory, type Memory } from '../../adapters/memory/index.ts';
import { writers } from '../../adapters/carriers/index.ts';
import { assets } from '../../core/website/assets.ts';
import { consoleService } from '../../core/console/index.ts';
import { collections, doors, queues, services as names, streams, type Door, type DoorName } from '../../core/flow.ts';
import type { AnyService } from '../../core/kernel/service.ts';
import { operations } from '../../core/operations/index.ts';
import { openShop, type Shop } from '../../handlers/container.ts';
import { bodyBytesMax, type HttpAnswer, type HttpContext, type HttpEvent, type HttpHandler } from '../../handlers/host.ts';
import { handlers, services } from '../../handlers/index.ts';
import { limiter, networkOf } from '../../handlers/limit.ts';
import { startServer, type Server, type ServerOptions } from '../../handlers/server.ts';
import { WrongSetting, parseSettings } from '../../handlers/settings.ts';
import { create, key, partitionOf } from '../../ports/index.ts';
import { basket, client, type Client } from '../support/client.ts';
import { createClock, type VirtualClock } from '../support/clock.ts';
import { until } from '../support/leap.ts';
import { createLog } from '../support/log.ts';

/** The chain and the server, with the real services over the memory family. Time stands still, so that a rate limit can be counted. */

const adminToken = 'the-token-of-the-test';
const demoSecret = 'the-secret-of-the-carrier';

let clock: VirtualClock;
let log: ReturnType<typeof createLog>;
let memory: Memory;
let shop: Shop;
let context: HttpContext;
let server: Server;
let api: Client;
const opened: Server[] = [];

async function serve(options: Partial<ServerOptions> = {}): Promise<Server> {
  const started = await startServer({ port: 0, host: '127.0.0.1', context, ready: () => true, log, ...options });
  opened.push(started);
  return started;
}

async function open(): Promise<void> {
  clock = createClock();
  log = createLog();
  memory = openMemory({ clock, queues, streams });
  const settings = parseSettings({ ADAPTERS: 'memory', DATA_DIR: 'unused', DEMO_CARRIER_SECRET: demoSecret });
  shop = await openShop(settings, { post: async () => 204, clock, log, memory });
  context = { kernel: shop.kernel, adminToken };
  server = await serve();
  api = client(server.url, adminToken);
}

async function close(): Promise<void> {
  for (const each of opened.splice(0)) await each.close();
  await shop.close();
}

interface Raw {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** Writes bytes as they are and reads to the end of the connection. */
function raw(port: number, ...parts: (string | Buffer)[]): Promise<Raw> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const socket = connect(port, '127.0.0.1', () => parts.forEach((part) => socket.write(part)));
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('error', (error) => (chunks.length > 0 ? resolve(parse(Buffer.concat(chunks))) : reject(error)));
    socket.on('close', () => resolve(parse(Buffer.concat(chunks))));
  });
}

function parse(bytes: Buffer): Raw {
  const [head = '', ...rest] = bytes.toString('latin1').split('\r\n\r\n');
  const [line = '', ...fields] = head.split('\r\n');
  const headers = Object.fromEntries(fields.map((field) => [field.slice(0, field.indexOf(':')).toLowerCase(), field.slice(field.indexOf(':') + 2)]));
  return { status: Number(line.split(' ')[1]), headers, body: rest.join('\r\n\r\n') };
}

const head = (line: string, ...fields: string[]): string => [`${line} HTTP/1.1`, 'host: localhost', 'connection: close', ...fields, '', ''].join('\r\n');

const event = (changes: Partial<HttpEvent> = {}): HttpEvent => ({ method: 'GET', path: '/', params: {}, query: new URLSearchParams(), headers: {}, body: new Uint8Array(), remote: '192.0.2.1', ...changes });
const json = (value: unknown, headers: Record<string, string> = {}, changes: Partial<HttpEvent> = {}): HttpEvent =>
  event({ method: 'POST', body: Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)), headers: { 'content-type': 'application/json', ...headers }, ...changes });
const bodyOf = ({ body }: HttpAnswer): { errors?: { pointer: string; detail: string }[]; [name: string]: unknown } => JSON.parse(String(body)) as ReturnType<typeof bodyOf>;
const pointers = (answer: HttpAnswer): string[] => (bodyOf(answer).errors ?? []).map(({ pointer }) => pointer);

async function describeMug(): Promise<void> {
  expect((await api.adminPut('/api/products/MUG', { name: 'Blue mug', price: { amount: 495, currency: 'GBP' } })).status).to.equal(201);
}

describe('The handlers', () => {
  it('are one for each door of the flow, of its services, the desk and the console', () => {
    expect(Object.keys(handlers)).to.have.members(Object.keys(doors));
    for (const [name, { service }] of Object.entries(doors)) expect([...services, operations as AnyService, consoleService as AnyService].find((each) => each.name === service)?.answers[name], name).to.be.a('function');
    expect(services.map(({ name }) => name)).to.deep.equal(names);
  });
});

describe('The chain', () => {
  beforeEach(open);
  afterEach(close);

  const call = (name: DoorName, given: HttpEvent, changes: Partial<HttpContext> = {}): Promise<HttpAnswer> => (handlers[name] as HttpHandler)(given, { ...context, ...changes });
  const bearer = { authorization: `Bearer ${adminToken}` };

  it('hands on what fits and answers what the service says', async () => {
    await describeMug();
    const answer = await call('placeOrder', json(basket(['MUG', 2])));
    expect(answer.status).to.equal(201);
    expect(bodyOf(answer)['total']).to.deep.equal({ amount: 990, currency: 'GBP' });
    expect(answer.headers['location']).to.equal(`/api/orders/${String(bodyOf(answer)['id'])}`);
  });

  it('makes every error a problem of one shape, with the security headers', async () => {
    const answers = [
      await call('placeOrder', json('{')), await call('listOrders', event()), await call('getProduct', event({ params: { sku: 'NONE' } })),
      await call('placeOrder', json({}, { 'content-type': 'text/plain' })), await call('placeOrder', json(basket(['NONE', 1]))),
      await call('takeNotice', event({ method: 'POST', params: { carrier: 'shippo' } })),
    ];
    expect(answers.map(({ status }) => status)).to.deep.equal([400, 401, 404, 415, 422, 503]);
    for (const answer of answers) {
      const { errors, ...rest } = bodyOf(answer);
      expect(Object.keys(rest)).to.deep.equal(['type', 'title', 'status', 'detail', 'instance']);
      expect(rest['status']).to.equal(answer.status);
      for (const error of errors ?? []) expect(Object.keys(error)).to.deep.equal(['pointer', 'detail']);
      expect(answer.headers).to.include({ 'content-type': 'application/problem+json', 'x-content-type-options': 'nosniff', 'cache-control': 'no-store', 'referrer-policy': 'no-referrer' });
    }
  });

  it('says with JSON pointers where a body does not fit', async () => {
    const answer = await call('placeOrder', json({ customer: { name: '', email: 'x' }, address: 7, lines: [{ sku: 'A', quantity: 1 }, { sku: 'B', quantity: 0.5 }] }));
    expect(answer.status).to.equal(400);
    expect(pointers(answer)).to.have.members(['/customer/name', '/customer/email', '/address', '/lines/1/quantity']);
    const missing = await call('placeOrder', json({ customer: null }));
    expect(bodyOf(missing).errors).to.deep.include({ pointer: '/lines', detail: 'is required' });
  });

  for (const [what, body, detail] of [
    ['what is not JSON', '{"a":', 'must be JSON'], ['an empty body', '', 'must not be empty'], ['JSON that is no object', '7', 'Invalid input: expected object, received number'],
    ['what is not UTF-8', Buffer.from([0x22, 0xff, 0x22]), 'must be UTF-8'], ['deep nesting', `${'['.repeat(200_000)}${']'.repeat(200_000)}`, 'must not be nested deeper than 20'],
    ['very many values', `[${'0,'.repeat(300_000)}0]`, 'must not have more than 10000 values'],
  ] as const) {
    it(`refuses ${what} as a whole`, async () => {
      const answer = await call('placeOrder', event({ method: 'POST', body: Buffer.from(body), headers: { 'content-type': 'application/json' } }));
      expect([answer.status, bodyOf(answer).errors]).to.deep.equal([400, [{ pointer: '', detail }]]);
    });
  }

  it('counts brackets only where they nest', async () => {
    await describeMug();
    const order = basket(['MUG', 1]);
    const answer = await call('placeOrder', json({ ...order, customer: { ...order.customer, name: `${'['.repeat(50)}\\"${'{'.repeat(50)}` } }));
    expect(answer.status).to.equal(201);
  });

  it('drops what no shape names, and nothing gets into prototypes', async () => {
    await describeMug();
    const text = JSON.stringify(basket(['MUG', 1])).replace('{', '{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}},"total":0,');
    expect((await call('placeOrder', json(text))).status).to.equal(201);
    expect(({} as Record<string, unknown>)['polluted']).to.equal(undefined);
    const escaped = await call('placeOrder', json({ ...basket(), lines: [], 'a/b~c': 1 }));
    expect(pointers(escaped)).to.deep.equal(['/lines']);
  });

  it('refuses a parameter that does not fit, comes twice or cannot be', async () => {
    const list = (query: string): Promise<HttpAnswer> => call('listOrders', event({ query: new URLSearchParams(query), headers: bearer }));
    for (const limit of ['0', '201', 'x', '1.5', '']) expect(pointers(await list(`limit=${limit}`)), limit).to.deep.equal(['/query/limit']);
    expect(pointers(await list('limit=1&limit=2'))).to.deep.equal(['/query/limit']);
    expect(pointers(await list('status=Lost&limit=0'))).to.deep.equal(['/query/limit', '/query/status']);
    expect((await list('limit=200&other=1&other=2')).status).to.equal(200);
    expect(pointers(await call('getProduct', event({ params: { sku: '../etc' } })))).to.deep.equal(['/params/sku']);
  });

  it('takes an Idempotency-Key quoted or not, and refuses what is none', async () => {
    await describeMug();
    const under = (value: string): Promise<HttpAnswer> => call('placeOrder', json(basket(['MUG', 1]), { 'idempotency-key': value }));
    const [quoted, plain] = [await under('"one"'), await under('one')];
    expect(bodyOf(quoted)['id']).to.equal(bodyOf(plain)['id']);
    for (const bad of ['', 'two words', 'x'.repeat(256), 'é']) expect(pointers(await under(bad)), bad).to.deep.equal(['/headers/idempotency-key']);
  });

  it('answers 409 while the first request under a key is under way, and 422 to another one under it', async () => {
    await describeMug();
    const given = json(basket(['MUG', 1]), { 'idempotency-key': 'k' });
    expect((await Promise.all([call('placeOrder', given), call('placeOrder', given)])).map(({ status }) => status)).to.deep.equal([201, 409]);
    expect((await call('placeOrder', json(basket(['MUG', 2]), { 'idempotency-key': 'k' }))).status).to.equal(422);
  });

  for (const type of ['', 'text/plain', 'application/x-www-form-urlencoded', 'application/jsonp', 'application/json; charset=latin1']) {
    it(`refuses a JSON body that calls itself ${JSON.stringify(type)}`, async () => {
      expect((await call('placeOrder', json(basket(['MUG', 1]), { 'content-type': type }))).status).to.equal(415);
    });
  }

  it('takes JSON with a charset of UTF-8, and refuses what is packed', async () => {
    await describeMug();
    expect((await call('placeOrder', json(basket(['MUG', 1]), { 'content-type': 'Application/JSON; Charset="utf-8"' }))).status).to.equal(201);
    expect((await call('placeOrder', json(basket(['MUG', 1]), { 'content-encoding': 'gzip' }))).status).to.equal(415);
  });

  it('refuses a form that is none with a page', async () => {
    const answer = await call('changeBasket', json({}));
    expect([answer.status, answer.headers['content-type']]).to.deep.equal([415, 'text/html; charset=utf-8']);
  });

  it('refuses a body over the limit whatever platform has read it', async () => {
    for (const name of ['placeOrder', 'takeNotice', 'checkOut'] as const) {
      expect((await call(name, json(Buffer.alloc(bodyBytesMax + 1, 0x20).toString(), {}, { params: { carrier: 'demo' } }))).status, name).to.equal(413);
    }
  });

  it('lets nobody without the token through an admin door', async () => {
    const admin = (Object.entries(doors) as [DoorName, Door][]).filter(([, door]) => door.admin).map(([name]) => name);
    // Whoever is not a customer or a carrier: forgotten, a door of the desk would stand open.
    const open = (Object.entries(doors) as [DoorName, Door][]).filter(([, door]) => !door.admin && !door.page).map(([name]) => name);
    expect(open).to.deep.equal(['listProducts', 'getProduct', 'placeOrder', 'getOrder', 'cancelOrder', 'takeNotice', 'orderNews']);
    for (const name of admin) {
      for (const authorization of [undefined, '', 'Bearer', 'Bearer ', `Basic ${adminToken}`, `Bearer ${adminToken}x`, `Bearer ${adminToken.slice(1)}`, `Bearer x ${adminToken}`]) {
        const answer = await call(name, json({}, authorization === undefined ? {} : { authorization }), { rateLimit: false });
        expect([answer.status, answer.headers['www-authenticate']?.split(' ')[0]], `${name} ${authorization}`).to.deep.equal([401, 'Bearer']);
      }
    }
    expect((await call('listOrders', event({ headers: { authorization: `bearer ${adminToken}` } }))).status).to.equal(200);
  });

  it('lets nobody in when there is no token at all', async () => {
    for (const authorization of ['Bearer ', 'Bearer undefined', `Bearer ${adminToken}`]) {
      expect((await call('listOrders', event({ headers: { authorization } }), { adminToken: '' })).status).to.equal(401);
    }
  });

  it('answers 429 to too many orders of one address, until time has passed', async () => {
    const place = (remote = '192.0.2.1'): Promise<HttpAnswer> => call('placeOrder', json({}, {}, { remote }));
    for (let i = 0; i < 200; i++) expect((await place()).status).to.equal(400);
    const refused = await place();
    expect([refused.status, refused.headers['retry-after']]).to.deep.equal([429, '1']);
    expect((await place('192.0.2.2')).status, 'another address').to.equal(400);
    expect((await call('checkOut', event({ method: 'POST' }))).status, 'the same purse').to.equal(429);
    await clock.advance(20);
    expect([(await place()).status, (await place()).status]).to.deep.equal([400, 429]);
    expect((await call('placeOrder', json({}), { rateLimit: false })).status).to.equal(400);
  });

  it('limits guessing at the admin token, and costs those who know it nothing', async () => {
    const list = (token: string, remote = '192.0.2.9'): Promise<HttpAnswer> => call('listMails', event({ headers: { authorization: `Bearer ${token}` }, remote }));
    for (let i = 0; i < 50; i++) expect((await list(adminToken)).status).to.equal(200);
    for (let i = 0; i < 20; i++) expect((await list('a-guess')).status).to.equal(401);
    expect((await list('a-guess')).status).to.equal(429);
    expect((await list(adminToken)).status, 'or guessing would not be limited').to.equal(429);
    expect((await list(adminToken, '192.0.2.10')).status).to.equal(200);
    await clock.advance(1_000);
    expect((await list(adminToken)).status).to.equal(200);
  });

  it('hands a notice on as the bytes that came, and tells unknown, forged and unbelievable carriers apart', async () => {
    const notice = (carrier: string, headers: Record<string, string>, body: Uint8Array): Promise<HttpAnswer> => call('takeNotice', event({ method: 'POST', params: { carrier }, headers, body }));
    const { headers, body } = writers.demo({ carrier: 'demo', trackingNumber: 'T1', status: 'delivered', occurredAt: '2026-11-20T08:00:00.000Z', noticeId: 'n1' }, demoSecret, clock.now());
    expect((await notice('demo', { ...headers, 'content-type': 'text/plain' }, body)).status).to.equal(204);
    expect((await notice('demo', headers, Buffer.concat([body, Buffer.from('\n')]))).status).to.equal(401);
    expect((await notice('nobody', headers, body)).status).to.equal(404);
    expect((await notice('easypost', headers, body)).status).to.equal(503);
  });

  it('answers 503 with Retry-After when the store does not', async () => {
    memory.close();
    const answer = await call('getProduct', event({ params: { sku: 'MUG' } }));
    expect([answer.status, answer.headers['retry-after']]).to.deep.equal([503, '1']);
    expect(log.lines.map(({ level }) => level)).to.include('warn');
  });

  it('says nothing of a defect but its number, under which the log has it', async () => {
    const at = key('product', 'BROKEN');
    await shop.kernel.store.commit(partitionOf(collections.products, 'BROKEN'), { writes: [create(at, {})] });
    const answer = await call('getProduct', event({ params: { sku: 'BROKEN' } }));
    expect(answer.status).to.equal(500);
    expect(String(answer.body)).not.to.match(/TypeError|undefined|\.ts|BROKEN|at /);
    const [{ data } = { data: {} }] = log.lines.filter(({ level }) => level === 'error');
    expect(data).to.include({ door: 'getProduct', request: String(bodyOf(answer)['instance']).replace('urn:anyport:request:', '') });
  });

  it('shows people a page where their address cannot exist', async () => {
    const answer = await call('orderPage', event({ params: { id: '<script>' } }));
    expect([answer.status, answer.headers['content-type']]).to.deep.equal([404, 'text/html; charset=utf-8']);
    expect(answer.body).not.to.include('<script>');
  });
});

describe('A limiter', () => {
  it('forgets the address that was quiet for longest, and no more are kept than told', () => {
    const { take } = limiter({ burst: 2, perSecond: 1 }, { now: () => 0 }, 2);
    expect(['a', 'b', 'b', 'a'].map(take)).to.deep.equal([0, 0, 0, 0]);
    expect(['a', 'b'].map(take)).to.deep.equal([1, 1]);
    take('c');
    expect(['a', 'b'].map(take), 'b was the eldest').to.deep.equal([1, 0]);
  });

  it('never fills beyond its burst, and survives a clock that goes back', () => {
    let now = 0;
    const { take, wait } = limiter({ burst: 2, perSecond: 10 }, { now: () => now });
    take('a');
    now = 1e9;
    expect(['a', 'a', 'a'].map(take)).to.deep.equal([0, 0, 0.1]);
    now = 0;
    expect(wait('a')).to.equal(0.1);
  });

  it('takes a /64 of IPv6 for one address', () => {
    expect(networkOf('2001:db8:1:2:3:4:5:6')).to.equal(networkOf('2001:db8:1:2::9'));
    expect(networkOf('2001:db8:1:2::9')).not.to.equal(networkOf('2001:db8:1:3::9'));
    expect(networkOf('::ffff:192.0.2.1')).to.equal('::ffff:192.0.2.1');
  });
});

describe('The server', () => {
  before(open);
  after(close);

  const port = (): number => server.port;

  it('serves the doors, and their order of words', async () => {
    await describeMug();
    expect((await api.get('/api/products/MUG')).body).to.include({ sku: 'MUG', version: 1 });
    expect((await api.get('/api/products?q=mug')).body.items).to.have.length(1);
    expect((await api.post('/api/orders', basket(['MUG', 1]))).status).to.equal(201);
  });

  it('decodes a path once, and refuses what cannot be decoded or hides control characters', async () => {
    expect((await api.get('/api/products/M%55G')).body.sku).to.equal('MUG');
    expect((await api.get('/api/products/M%2555G')).status).to.equal(400);
    for (const path of ['/api/products/%', '/api/products/%zz', '/api/products/%ff', '/api/products/a%00b', '/api/products/a%0d%0ab', '/api/products?q=%', '/api/products?q=%ff']) {
      const { status, body } = await raw(port(), head(`GET ${path}`));
      expect([path, status, (JSON.parse(body) as { title: string }).title]).to.deep.equal([path, 400, 'Invalid address']);
    }
    expect((await api.get('/api/products/a%2Fb')).body.errors[0].pointer).to.equal('/params/sku');
    expect((await raw(port(), head('GET http://localhost/api/products/MUG?q=%20'))).status).to.equal(200);
    expect((await raw(port(), head('GET /api/../api/products/MUG'))).status).to.equal(404);
  });

  it('answers 404 and 405 with Allow, as a problem to programs and as a page to people', async () => {
    const gone = await api.get('/nowhere');
    expect([gone.status, gone.headers.get('content-type'), gone.body.title]).to.deep.equal([404, 'application/problem+json', 'Not found']);
    const page = await api.call('GET', '/nowhere', undefined, { accept: 'text/html,*/*' });
    expect([page.status, page.headers.get('content-type')]).to.deep.equal([404, 'text/html; charset=utf-8']);
    expect((await api.call('GET', '/api/nowhere', undefined, { accept: 'text/html' })).headers.get('content-type')).to.equal('application/problem+json');
    for (const [method, path, allow] of [
      ['DELETE', '/api/orders', 'GET, HEAD, POST'], ['OPTIONS', '/api/orders', 'GET, HEAD, POST'], ['PATCH', '/api/products/MUG', 'GET, HEAD, PUT'], ['PUT', '/healthz', 'GET, HEAD'],
      ['GET', '/api/carriers/demo/notices', 'POST'], ['HEAD', '/api/carriers/demo/notices', 'POST'],
    ] as const) {
      const { status, headers } = await raw(port(), head(`${method} ${path}`));
      expect([method, path, status, headers['allow']]).to.deep.equal([method, path, 405, allow]);
    }
  });

  it('redirects what has a slash too many, to itself and nowhere else', async () => {
    for (const [path, to] of [['/basket/', '/basket'], ['/api/products//', '/api/products'], ['/products/MUG/', '/products/MUG']] as const) {
      const { status, headers } = await api.get(path);
      expect([status, headers.get('location')]).to.deep.equal([308, to]);
    }
    for (const path of ['//basket', '//example.com/', '/nowhere/', '/products/', '/\\example.com/']) expect((await raw(port(), head(`GET ${path}`))).status, path).to.equal(404);
    expect((await api.post('/api/orders/', {})).status).to.equal(404);
  });

  it('answers HEAD like GET without the body', async () => {
    const get = await raw(port(), head('GET /api/products/MUG'));
    const { status, headers, body } = await raw(port(), head('HEAD /api/products/MUG'));
    expect([status, headers['content-length'], body]).to.deep.equal([200, get.headers['content-length'], '']);
    expect(get.body).to.have.length(Number(get.headers['content-length']));
  });

  it('says the security headers on everything', async () => {
    const paths = ['/', '/basket', '/nowhere', '/api/products/MUG', '/api/orders', '/healthz', '/openapi.json', '/assets/nothing', '/basket/'];
    for (const path of paths) {
      const { headers } = await api.get(path);
      expect(headers.get('content-security-policy'), path).to.equal(
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
      );
      for (const [name, value] of [
        ['x-content-type-options', 'nosniff'], ['referrer-policy', 'no-referrer'], ['cross-origin-opener-policy', 'same-origin'],
        ['cross-origin-resource-policy', 'same-origin'], ['x-frame-options', 'DENY'],
      ] as const) expect(headers.get(name), `${path} ${name}`).to.equal(value);
      expect(headers.get('x-powered-by')).to.equal(null);
    }
  });

  it('refuses a body that is too large with 413, announced or in chunks, and lets the connection go', async () => {
    const over = bodyBytesMax + 1;
    const announced = await raw(port(), head('POST /api/orders', 'content-type: application/json', `content-length: ${over}`).replace('connection: close\r\n', ''), Buffer.alloc(over, 0x20));
    const chunk = Buffer.from(`10000\r\n${' '.repeat(0x10000)}\r\n`);
    const chunked = await raw(port(), head('POST /api/orders', 'content-type: application/json', 'transfer-encoding: chunked').replace('connection: close\r\n', ''), ...Array.from({ length: 17 }, () => chunk), '0\r\n\r\n');
    const huge = await raw(port(), head('POST /api/orders', 'content-type: application/json', 'content-length: 99999999999').replace('connection: close\r\n', ''));
    for (const { status, headers, body } of [announced, chunked, huge]) {
      expect([status, headers['connection'], (JSON.parse(body) as { status: number }).status]).to.deep.equal([413, 'close', 413]);
    }
  });

  it('takes a body in chunks, and one of exactly the limit', async () => {
    const text = JSON.stringify(basket(['MUG', 1]));
    const padded = text + ' '.repeat(bodyBytesMax - text.length);
    expect((await raw(port(), head('POST /api/orders', 'content-type: application/json', `content-length: ${bodyBytesMax}`), padded)).status).to.equal(201);
    const half = text.length >> 1;
    const chunks = [text.slice(0, half), text.slice(half)].map((part) => `${part.length.toString(16)}\r\n${part}\r\n`);
    expect((await raw(port(), head('POST /api/orders', 'content-type: application/json', 'transfer-encoding: chunked'), ...chunks, '0\r\n\r\n')).status).to.equal(201);
  });

  it('throws out who is slow with the head or with the body', async () => {
    const { port: slow } = await serve({ headersSecondsMax: 0.1, requestSecondsMax: 0.2 });
    for (const start of ['GET /api/products HTTP/1.1\r\nhost: lo', head('POST /api/orders', 'content-type: application/json', 'content-length: 100') + '{']) {
      const { status, headers, body } = await raw(slow, start);
      expect([status, headers['content-type'], (JSON.parse(body) as { status: number }).status]).to.deep.equal([408, 'application/problem+json', 408]);
    }
    expect(log.lines.filter(({ level }) => level === 'error')).to.deep.equal([]);
  });

  it('answers what is not HTTP, or has too long a head, and goes on', async () => {
    expect((await raw(port(), 'nonsense\r\n\r\n')).status).to.equal(400);
    expect((await raw(port(), head('GET /', `x: ${'x'.repeat(20_000)}`))).status).to.equal(431);
    expect((await raw(port(), head('POST /api/orders', 'content-length: 1', 'transfer-encoding: chunked'))).status).to.equal(400);
    expect((await api.get('/healthz')).body).to.deep.equal({ status: 'ok' });
  });

  it('survives clients that leave in the middle', async () => {
    for (const part of [head('POST /api/orders', 'content-length: 1000') + '{', head('GET /api/products')]) {
      await new Promise<void>((resolve) => {
        const socket = connect(port(), '127.0.0.1', () => socket.write(part, () => socket.resetAndDestroy()));
        socket.on('close', () => resolve());
      });
    }
    expect((await api.get('/healthz')).status).to.equal(200);
  });

  it('tells whether it lives, and whether it is ready', async () => {
    let ready = false;
    const { url } = await serve({ ready: () => ready });
    expect([(await fetch(`${url}/healthz`)).status, (await fetch(`${url}/readyz`)).status]).to.deep.equal([200, 503]);
    ready = true;
    expect((await fetch(`${url}/readyz`)).status).to.equal(200);
  });

  it('gives every asset with its type, and nothing to those who have it already', async () => {
    for (const [name, { type, body }] of assets) {
      const given = await api.get(`/assets/${name}`);
      expect([given.status, given.headers.get('content-type'), given.body]).to.deep.equal([200, type, body]);
      const etag = given.headers.get('etag')!;
      const again = await api.call('GET', `/assets/${name}`, undefined, { 'if-none-match': `"other", ${etag}` });
      expect([again.status, again.headers.get('etag'), again.body]).to.deep.equal([304, etag, '']);
      expect((await api.call('GET', `/assets/${name}`, undefined, { 'if-none-match': '"other"' })).status).to.equal(200);
    }
    for (const name of ['none.css', '..%2Fapp.css', '__proto__', 'app.css%2f']) expect((await api.get(`/assets/${name}`)).status, name).to.equal(404);
  });

  it('gives both documents', async () => {
    expect((await api.get('/openapi.json')).body.openapi).to.match(/^3\.1/);
    expect((await api.get('/asyncapi.json')).body.asyncapi).to.equal('3.0.0');
  });

  it('packs what is long for those who can unpack it', async () => {
    const get = (encoding: string): Promise<{ encoding: string | undefined; vary: string | undefined; bytes: Buffer }> =>
      new Promise((resolve, reject) => {
        request(`${server.url}/openapi.json`, { headers: { 'accept-encoding': encoding } }, (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('end', () => resolve({ encoding: response.headers['content-encoding'], vary: response.headers.vary, bytes: Buffer.concat(chunks) }));
        }).on('error', reject).end();
      });
    const plain = await get('identity');
    const [small, smaller] = [await get('gzip'), await get('gzip, br')];
    expect([plain.encoding, small.encoding, smaller.encoding]).to.deep.equal([undefined, 'gzip', 'br']);
    expect([plain.vary, small.vary]).to.deep.equal(['Accept-Encoding', 'Accept-Encoding']);
    expect(gunzipSync(small.bytes).equals(plain.bytes)).to.equal(true);
    expect(brotliDecompressSync(smaller.bytes).equals(plain.bytes)).to.equal(true);
    expect(small.bytes.length).to.be.below(plain.bytes.length / 3);
  });

  it('has as many places for answers that go on as it says, 204 for whoever finds none, and a place again when a reader has gone', async () => {
    const { body: order } = await api.post('/api/orders', basket(['MUG', 1]));
    for (const [options, limited] of [[{ streamsMax: 2 }, false], [{ streamsPerNetworkMax: 2, context: { ...context, rateLimit: true } }, true]] as const) {
      const { url } = await serve(options);
      const listen = async (): Promise<{ status: number; leave(): void }> => {
        const stop = new AbortController();
        const { status } = await fetch(`${url}/orders/${order.id as string}/news`, { signal: stop.signal });
        return { status, leave: () => stop.abort() };
      };
      const [one, two, three] = [await listen(), await listen(), await listen()];
      expect([one.status, two.status, three.status], limited ? 'of one network' : 'in all').to.deep.equal([200, 200, 204]);
      one.leave();
      await until('a place is free', async () => (await listen()).status === 200);
    }
  });

  it('lets a request end when it closes, and waits for nobody who asks nothing', async () => {
    const { port: at, close: closeIt } = await serve({ closeSecondsMax: 30 });
    const text = JSON.stringify(basket(['MUG', 1]));
    const idle = connect(at, '127.0.0.1');
    const busy = connect(at, '127.0.0.1');
    for (const socket of [idle, busy]) socket.on('error', () => undefined); // a server that closes may cut it off
    let answer = '';
    busy.on('data', (chunk: Buffer) => (answer += chunk.toString()));
    const ended = new Promise((resolve) => busy.on('close', resolve));
    busy.write(head('POST /api/orders', 'content-type: application/json', `content-length: ${text.length}`).replace('connection: close', 'connection: keep-alive') + text.slice(0, 5));
    await new Promise((resolve) => setTimeout(resolve, 50));
    const began = performance.now();
    const closed = closeIt();
    const refused = await fetch(`http://127.0.0.1:${at}/healthz`).then(() => 'served', () => 'refused');
    busy.write(text.slice(5));
    await ended;
    await closed;
    expect(refused).to.equal('refused');
    expect(answer).to.match(/^HTTP\/1\.1 201 /).and.match(/\r\nconnection: close\r\n/i);
    expect(performance.now() - began).to.be.below(3_000);
    idle.destroy();
  });

  it('ends those who do not end by themselves at its deadline', async () => {
    const { port: at, close: closeIt } = await serve({ closeSecondsMax: 0.1 });
    const answered = raw(at, head('POST /api/orders', 'content-type: application/json', 'content-length: 100') + '{').then(() => undefined, () => undefined);
    await new Promise((resolve) => setTimeout(resolve, 50));
    await closeIt();
    await answered;
  });

  it('says in one line why it cannot listen', async () => {
    const error = await startServer({ port: server.port, host: '127.0.0.1', context, ready: () => true, log }).then(() => undefined, (thrown: unknown) => thrown);
    expect(error).to.be.instanceOf(WrongSetting);
    expect((error as Error).message).to.match(/^PORT \d+ is in use on 127\.0\.0\.1; [^\n]+$/);
    const elsewhere = await startServer({ port: 0, host: '192.0.2.1', context, ready: () => true, log }).then(() => undefined, (thrown: unknown) => thrown);
    expect((elsewhere as Error).message).to.match(/^HOST 192\.0\.2\.1 /);
  });
});
