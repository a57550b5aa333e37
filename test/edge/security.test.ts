import { expect } from 'chai';
import crypto from 'node:crypto';
import { once } from 'node:events';
import { syncBuiltinESMExports } from 'node:module';
import { connect, type Socket } from 'node:net';
import { z } from 'zod';
import { writers, type FormatName } from '../../adapters/carriers/index.ts';
import { doors, events, type Door, type DoorName, type EventName } from '../../core/flow.ts';
import { isForeign } from '../../core/forms.ts';
import { website } from '../../core/website/index.ts';
import { basketCookie } from '../../core/website/basket.ts';
import { discreet } from '../../handlers/log.ts';
import { startServer, type Server, type ServerOptions } from '../../handlers/server.ts';
import { Invalid, timestamp, type TrackingFact } from '../../ports/index.ts';
import { anna, basket, client, eventually, home } from '../support/client.ts';
import { adminToken, openEdge, secrets, signed, type Edge } from './edge.ts';
import { answersIn } from './wire.ts';

/** What docs/security.md promises, each with the test that it names. Time stands still, so that limits can be counted; the sockets are real. */

const formats = Object.keys(writers) as FormatName[];
const forms = (Object.entries(doors) as [DoorName, Door][]).filter(([, door]) => door.page && door.method === 'POST');

let edge: Edge;
const opened: Server[] = [];

async function serve(options: Partial<ServerOptions> = {}): Promise<Server> {
  const server = await startServer({ port: 0, host: '127.0.0.1', context: { ...edge.context, rateLimit: true }, ready: () => true, log: edge.world.log, ...options });
  opened.push(server);
  return server;
}

beforeEach(async () => {
  edge = await openEdge(1, { deliversAfterSeconds: 0 });
  await edge.world.describe('MUG', 1_000);
});
afterEach(async () => {
  for (const each of opened.splice(0)) await each.close();
  await edge.close();
});

/** Writes, and reads until the server ends the connection. */
function talk(port: number, ...parts: string[]): Promise<{ status: number; head: string; body: string }[]> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const socket = connect(port, '127.0.0.1', () => parts.forEach((part) => socket.write(part, 'latin1')));
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      try {
        resolve(answersIn(Buffer.concat(chunks)));
      } catch (error) {
        reject(error as Error);
      }
    });
  });
}
const statusOf = async (port: number, ...parts: string[]): Promise<number[]> => (await talk(port, ...parts)).map(({ status }) => status);
const head = (line: string, ...fields: string[]): string => [`${line} HTTP/1.1`, 'host: localhost', 'connection: close', ...fields, '', ''].join('\r\n');
const under = (host: string, path = '/healthz'): string => `GET ${path} HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n\r\n`;

describe('A shop that only this machine can reach', () => {
  it('is served under the names of this machine, on any port, and under no other (DNS rebinding)', async () => {
    const { port } = await serve();
    for (const host of ['localhost', `localhost:${port}`, 'LOCALHOST:1', '127.0.0.1', '127.0.0.1:80', '[::1]', '[::1]:3000']) expect(await statusOf(port, under(host)), host).to.deep.equal([200]);
    for (const host of ['evil.example', `evil.example:${port}`, 'localhost.evil.example', 'evil-localhost', 'localhost.', '127.0.0.2', '0.0.0.0', 'localhost@evil.example', 'localhost:80:80', 'localhost/', '[::1', '2130706433', '']) {
      expect(await statusOf(port, under(host)), host).to.deep.equal([421]);
    }
  });

  it('says so to programs and to people, and nobody reaches a service', async () => {
    const { port } = await serve();
    const [answer] = await talk(port, `POST /api/orders HTTP/1.1\r\nhost: evil.example\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}`);
    expect(JSON.parse(answer!.body)).to.include({ type: 'urn:anyport:problem:misdirected', status: 421 });
    const [page] = await talk(port, `GET /basket HTTP/1.1\r\nhost: evil.example\r\naccept: text/html\r\nconnection: close\r\n\r\n`);
    expect([page!.status, /content-type: text\/html/.test(page!.head)]).to.deep.equal([421, true]);
  });

  it('believes neither of two names: the one in the address counts as well as the header', async () => {
    const { port } = await serve();
    expect(await statusOf(port, head('GET http://evil.example/healthz'))).to.deep.equal([421]);
    expect(await statusOf(port, under('evil.example', 'http://localhost/healthz'))).to.deep.equal([421]);
    expect(await statusOf(port, head('GET http://localhost@evil.example/healthz'))).to.deep.equal([421]);
    expect(await statusOf(port, head('GET http://localhost:9/healthz'))).to.deep.equal([200]);
  });

  it('answers 400 to no name and to two', async () => {
    const { port } = await serve();
    for (const fields of ['', 'host: localhost\r\nhost: localhost\r\n', 'Host: localhost\r\nhost: evil.example\r\n']) {
      expect(await statusOf(port, `GET /healthz HTTP/1.1\r\n${fields}connection: close\r\n\r\n`), fields).to.deep.equal([400]);
    }
    expect(await statusOf(port, 'GET /healthz HTTP/1.0\r\n\r\n')).to.deep.equal([400]);
  });

  it('is served under the name of SHOP_URL too, and where others can come in under every name', async () => {
    const settings = { ...edge.kernel.settings, shopUrl: 'https://Shop.example/' };
    const { port } = await serve({ context: { ...edge.context, kernel: { ...edge.kernel, settings } } });
    expect(await statusOf(port, under('shop.example'))).to.deep.equal([200]);
    expect(await statusOf(port, under('other.example'))).to.deep.equal([421]);
    const { port: open } = await serve({ host: '0.0.0.0' });
    expect(await statusOf(open, under('any.example'))).to.deep.equal([200]);
  });
});

describe('The limits, over the real server,', () => {
  const post = (url: string, path: string, body: string, headers: Record<string, string>): Promise<Response> => fetch(url + path, { method: 'POST', body, headers, redirect: 'manual' });
  async function until429(ask: () => Promise<Response>, most: number): Promise<{ served: number; answer: Response }> {
    for (let served = 0; served <= most; served++) {
      const answer = await ask();
      await answer.arrayBuffer();
      if (answer.status === 429) return { served, answer };
    }
    throw new Error(`no limit after ${most}`);
  }

  it('hold orders and checkouts of one address together', async () => {
    const { url } = await serve();
    const order = (): Promise<Response> => post(url, '/api/orders', '{}', { 'content-type': 'application/json' });
    const checkout = (): Promise<Response> => post(url, '/checkout', '', { 'content-type': 'application/x-www-form-urlencoded', accept: 'text/html' });
    const before = edge.changes();
    let turn = 0;
    const { served, answer } = await until429(() => (turn++ % 2 === 0 ? order() : checkout()), 250);
    expect([served, answer.headers.get('retry-after')]).to.deep.equal([200, '1']);
    expect((await checkout()).headers.get('content-type')).to.match(/text\/html/);
    expect((await fetch(`${url}/api/products`)).status, 'reading is not limited').to.equal(200);
    expect(edge.changes()).to.equal(before);
  }).timeout(30_000);

  it('hold notices, also genuine ones', async () => {
    const { url } = await serve();
    const { headers, body } = writers.demo(factOf('T1'), secrets.demo, edge.world.clock.now());
    const { served } = await until429(() => post(url, '/api/carriers/demo/notices', Buffer.from(body).toString(), { ...headers }), 2_100);
    expect(served).to.equal(2_000);
    await edge.world.clock.advance(1_000);
    expect((await post(url, '/api/carriers/demo/notices', Buffer.from(body).toString(), { ...headers })).status, 'a carrier tries again').to.equal(204);
  }).timeout(30_000);

  it('hold guesses at the token, and then also who knows it, from that address and for a second each', async () => {
    const { url } = await serve();
    const list = (token: string): Promise<Response> => fetch(`${url}/api/orders`, { headers: { authorization: `Bearer ${token}` } });
    expect((await until429(() => list('a-guess'), 25)).served).to.equal(20);
    expect((await list(adminToken)).status, 'or guessing would only be quieter').to.equal(429);
    await edge.world.clock.advance(1_000);
    expect([(await list(adminToken)).status, (await list(adminToken)).status, (await list('a-guess')).status, (await list(adminToken)).status]).to.deep.equal([200, 200, 401, 429]);
  });

  it('are counted by the address of the connection, whatever a header says', async () => {
    const { url } = await serve();
    let n = 0;
    const { served } = await until429(() => fetch(`${url}/api/orders`, { headers: { authorization: 'Bearer no', 'x-forwarded-for': `192.0.2.${++n}`, forwarded: `for=192.0.2.${n}`, 'x-real-ip': `192.0.2.${n}` } }), 25);
    expect(served).to.equal(20);
  });
});

describe('A slow or greedy client', () => {
  const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));
  const ended = (socket: Socket): Promise<void> => new Promise((resolve) => (socket.destroyed ? resolve() : socket.on('error', () => undefined).on('close', () => resolve())));

  it('is thrown out when it drips its head or its body, byte by byte', async () => {
    const { port } = await serve({ headersSecondsMax: 0.2, requestSecondsMax: 0.3 });
    for (const [start, drip] of [['GET /healthz HTTP/1.1\r\nhost: localhost\r\n', 'x: 1\r\n'], [head('POST /api/orders', 'content-type: application/json', 'transfer-encoding: chunked'), '1\r\n \r\n']] as const) {
      const socket = connect(port, '127.0.0.1', () => socket.write(start));
      let answer = '';
      socket.on('data', (chunk: Buffer) => (answer += chunk.toString()));
      const dripping = setInterval(() => socket.write(drip), 30);
      const begin = performance.now();
      await ended(socket);
      clearInterval(dripping);
      expect(answer).to.match(/^HTTP\/1\.1 408 /);
      expect(performance.now() - begin).to.be.below(4_000);
    }
  });

  it('is thrown out when it does not fetch its answers', async () => {
    const { port } = await serve({ idleSecondsMax: 0.3, connectionsMax: 1 });
    expect(await statusOf(port, under('localhost', '/openapi.json'))).to.deep.equal([200]);
    const socket = connect(port, '127.0.0.1', () => socket.write('GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n'.repeat(2_000))).on('error', () => undefined);
    await once(socket, 'connect');
    expect(await statusOf(port, under('localhost')), 'it has the only place').to.deep.equal([]);
    await eventually(async () => expect(await statusOf(port, under('localhost'))).to.deep.equal([200]));
    socket.destroy();
  });

  it('is let go when it asks nothing more', async () => {
    const { port } = await serve({ keepAliveSecondsMax: 0.1 });
    const [answer] = await Promise.race([talk(port, 'GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n'), pause(5_000).then(() => [])]);
    expect(answer?.status).to.equal(200);
  });

  it('gets no more connections than one network may hold, nor all together more than there are', async () => {
    const held = async (options: Partial<ServerOptions>, expected: number): Promise<void> => {
      const { port } = await serve(options);
      const sockets = Array.from({ length: 20 }, () => connect(port, '127.0.0.1').on('error', () => undefined));
      await eventually(async () => {
        expect(sockets.filter(({ destroyed }) => destroyed)).to.have.length(20 - expected);
        expect(sockets.filter(({ readyState }) => readyState === 'open')).to.have.length(expected);
      });
      if (expected < 20) expect(await statusOf(port, under('localhost'))).to.deep.equal([]);
      for (const socket of sockets) socket.destroy();
      await eventually(async () => expect(await statusOf(port, under('localhost')), 'and when they are gone there is room again').to.deep.equal([200]));
    };
    await held({ connectionsPerNetworkMax: 5 }, 5);
    await held({ connectionsMax: 7 }, 7);
    await held({ connectionsPerNetworkMax: 5, context: edge.context }, 20);
  });

  it('is told 431 for too many headers as for too long ones, and never has some of them overlooked', async () => {
    const { port } = await serve();
    const many = (count: number): string[] => Array.from({ length: count }, (_, i) => `x${i}: 1`);
    expect(await statusOf(port, head('GET /healthz', ...many(98)))).to.deep.equal([200]);
    expect(await statusOf(port, head('GET /healthz', ...many(99)))).to.deep.equal([431]);
    expect(await statusOf(port, head('GET /healthz', ...Array.from({ length: 3_000 }, () => 'a:')))).to.deep.equal([431]);
    expect(await statusOf(port, head('GET /healthz', `x: ${'x'.repeat(20_000)}`))).to.deep.equal([431]);
  });

  it('is told that nothing but 100-continue can be expected', async () => {
    const { port } = await serve();
    const [answer] = await talk(port, head('POST /api/orders', 'expect: a-miracle', 'content-length: 0'));
    expect([answer!.status, (JSON.parse(answer!.body) as { status: number }).status]).to.deep.equal([417, 417]);
  });
});

describe('An address', () => {
  it('climbs nowhere, however its dots and slashes are written', async () => {
    const { port } = await serve();
    const climbs = ['/assets/../package.json', '/assets/%2e%2e/package.json', '/assets/..%2fpackage.json', '/assets/%2e%2e%2fpackage.json', '/assets/..%5cpackage.json', '/assets/..\\package.json', '/assets//app.css', '//assets/app.css', '/assets/./app.css', '/assets/app.css/.', '/assets/%252e%252e/package.json', '/%2e%2e/%2e%2e/etc/passwd', '/mailbox/..%2f..%2fpackage.json', '/mailbox/%2e%2e', '/api/orders/%2e%2e/products'];
    for (const path of climbs) expect(await statusOf(port, head(`GET ${path}`)), path).to.satisfy(([status]: number[]) => status === 404 || status === 400);
    for (const path of ['/assets/app.css%00.png', '/%00', '/assets/a%0d%0aset-cookie:x', '/mailbox/a%0ab', '/products/%7f', '/?q=%ff', '/%c0%ae%c0%ae/']) expect(await statusOf(port, head(`GET ${path}`)), path).to.satisfy(([status]: number[]) => status === 400 || (status === 404 && !/%0|%7f/.test(path)));
  });

  it('cannot make a header, a letter or a redirect say more than it should', async () => {
    const { url } = await serve();
    const api = client(url, adminToken);
    for (const customer of [{ name: 'Anna\r\nBcc: eve@example.com', email: 'anna@example.com' }, { name: 'Anna', email: 'anna@example.com\r\nBcc: eve@example.com' }, { name: 'Anna', email: 'anna@example.com, eve@example.com' }, { name: 'An\u2028na', email: 'anna@example.com' }, { name: 'Anna', email: '<anna@example.com>' }]) {
      expect((await api.post('/api/orders', { ...basket(['MUG', 1]), customer })).status, JSON.stringify(customer)).to.equal(400);
    }
    const forged = { ...basket(['MUG', 1]), orderId: 'f'.repeat(26), placedAt: timestamp(edge.world.clock.now()), customer: { name: 'Anna\r\nBcc: eve@example.com', email: 'a@example.com' }, lines: [{ sku: 'MUG', name: 'Mug', quantity: 1, unitPrice: 1 }], total: { amount: 1, currency: 'GBP' } };
    const message = { specversion: '1.0', id: 'x', source: '/order', type: 'OrderPlaced', subject: forged.orderId, time: forged.placedAt, partitionkey: forged.orderId, sequence: '0000000000', dataversion: '1', data: forged };
    edge.world.engines.stream.append('orders', [{ partitionkey: forged.orderId, text: JSON.stringify(message) }], edge.world.clock.now());
    await edge.rest();
    expect(edge.world.engines.letters, 'not even past the port').to.deep.equal([]);
    expect(edge.world.rows('parked')).to.have.length(1);
  });
});

describe('A message that a stranger puts on a channel', () => {
  const placed = (orderId: string) => ({
    orderId, placedAt: '2026-11-20T09:00:00.000Z', customer: anna, address: home, lines: [{ sku: 'MUG', name: 'Mug', quantity: 1, unitPrice: 1 }], total: { amount: 1, currency: 'GBP' },
  });
  const message = (orderId: string) => ({
    specversion: '1.0', id: `${orderId}:x`, source: '/order', type: 'OrderPlaced', subject: orderId, time: '2026-11-20T09:00:00.000Z', partitionkey: orderId, sequence: '0000000000', dataversion: '1', data: placed(orderId),
  });
  const strange: Readonly<Record<string, (good: ReturnType<typeof message>) => unknown>> = {
    'a time that is none': (good) => ({ ...good, time: 'Nov 20 2026' }),
    'a time without an hour': (good) => ({ ...good, time: '2026-11-20' }),
    'a time long ago': (good) => ({ ...good, time: '2020-01-01T00:00:00.000Z' }),
    'a version that is not known': (good) => ({ ...good, dataversion: '2' }),
    'a version that is no number': (good) => ({ ...good, dataversion: 'one' }),
    'a correlation that is no text': (good) => ({ ...good, correlationid: { a: 1 } }),
    'a trace that is no text': (good) => ({ ...good, traceparent: 7 }),
    'data of another shape': (good) => ({ ...good, data: { orderId: good.subject } }),
    'a line break in a name': (good) => ({ ...good, data: { ...good.data, customer: { ...anna, name: 'Anna\r\nBcc: eve@example.com' } } }),
    'no data': ({ data: _, ...good }) => good,
    'no id': (good) => ({ ...good, id: '' }),
    'another specification': (good) => ({ ...good, specversion: '0.3' }),
    'nothing in it': () => ({}),
  };

  it('is believed only when all of it has its shape; otherwise it is set aside with the reason, and its neighbours go on', async () => {
    const names = Object.keys(strange);
    for (const [n, name] of names.entries()) {
      const orderId = String(n).padStart(26, 'f');
      const text = JSON.stringify(strange[name]!(message(orderId)));
      edge.world.engines.queue.send('reserve-stock', [text], { now: edge.world.clock.now() });
      edge.world.engines.stream.append('orders', [{ partitionkey: orderId, text }], edge.world.clock.now());
    }
    const neighbour = (await edge.world.place(['MUG', 1])).id;
    await edge.rest();
    expect(edge.world.order(neighbour)).to.equal('Shipped');
    expect(edge.world.rows<{ reason: string }>('dead').map(({ body }) => body.reason)).to.have.length(names.length).and.to.satisfy((reasons: string[]) => reasons.every((reason) => /^(malformed|invalid): ./.test(reason)), 'at once, and not after many tries');
    const parked = edge.world.rows<{ reason: string; consumer: string; partitionkey: string }>('parked').map(({ body }) => body);
    for (const [n, name] of names.entries()) expect(parked.filter(({ consumer, partitionkey }) => consumer === 'notification' && partitionkey === String(n).padStart(26, 'f')), name).to.have.length(1);
    expect(edge.world.rows('order').filter(({ partition, key }) => partition.startsWith('invorder') && key.includes('fff')), 'nothing is reserved').to.deep.equal([]);
    expect(edge.world.letters('fff')).to.deep.equal([]);
  });
});

// ---------------------------------------------------------------- notices

const factOf = (trackingNumber: string, at = Date.parse('2026-11-20T08:00:00.000Z')): TrackingFact => ({ carrier: 'demo', trackingNumber, status: 'delivered', occurredAt: timestamp(at), noticeId: `${trackingNumber}-1` });

describe('A notice', () => {
  const post = async (carrier: string, headers: Record<string, string>, body: Uint8Array): Promise<number> => (await edge.call('takeNotice', { method: 'POST', params: { carrier }, headers, body })).status;

  async function shipped(): Promise<{ id: string; number: string }> {
    const { id } = await edge.world.place(['MUG', 1]);
    await edge.rest();
    const [parcel] = JSON.parse(String((await edge.call('getOrder', { params: { id } })).body)).shipments as { trackingNumber: string }[];
    return { id, number: parcel!.trackingNumber };
  }

  for (const format of formats) {
    it(`of ${format} is believed when it is signed over these very bytes with this secret, and changes nothing otherwise`, async () => {
      const { headers, body } = writers[format](factOf('T1'), secrets[format], edge.world.clock.now());
      const before = edge.changes();
      const spaced = Buffer.from(`${Buffer.from(body).toString()} `);
      const turned = Buffer.from(JSON.stringify(Object.fromEntries(Object.entries(JSON.parse(Buffer.from(body).toString()) as object).reverse())));
      for (const [name, value] of Object.entries(signed(format, body, edge.world.clock.now()))) {
        for (const wrong of ['', value.slice(0, -1), `${value}0`, value.toUpperCase(), value.replace(/.$/, (last) => (last === '0' ? '1' : '0')), ` ${value}x`]) expect(await post(format, { [name]: wrong }, body), `${name}: ${wrong}`).to.equal(401);
      }
      for (const bytes of [spaced, turned, body.subarray(1), new Uint8Array()]) expect(await post(format, { ...headers }, bytes)).to.equal(401);
      for (const secret of ['', ' ', `${secrets[format]} `, secrets[format].toUpperCase()]) {
        if (secret !== '') expect(await post(format, signed(format, body, edge.world.clock.now(), secret), body), JSON.stringify(secret)).to.equal(401);
      }
      expect(edge.changes()).to.equal(before);
      expect(await post(format, { ...headers }, body)).to.equal(204);
      expect(edge.changes()).to.be.greaterThan(before);
    });

    it(`of ${format} that is said again changes nothing, however often`, async () => {
      const { id, number } = await shipped();
      const { headers, body } = writers[format](factOf(number, edge.world.clock.now()), secrets[format], edge.world.clock.now());
      expect(await post(format, { ...headers }, body)).to.equal(204);
      await edge.rest();
      expect(edge.world.order(id)).to.equal('Delivered');
      const letters = edge.world.letters(id).length;
      const before = edge.changes();
      for (let i = 0; i < 5; i++) expect(await post(format, { ...headers }, body)).to.be.oneOf([204, 401]);
      expect(edge.changes()).to.equal(before);
      await edge.rest();
      expect(edge.world.letters(id).length).to.equal(letters);
    });
  }

  it('names a parcel whose number does not give away the order', async () => {
    const { id, number } = await shipped();
    expect(number.toLowerCase()).not.to.include(id).and.not.to.include(id.slice(0, 8));
  });

  it('that has a time is refused five minutes later, and five minutes too early', async () => {
    const { headers, body } = writers.shippo(factOf('T1'), secrets.shippo, edge.world.clock.now());
    await edge.world.clock.advance(300_000);
    expect(await post('shippo', { ...headers }, body)).to.equal(204);
    await edge.world.clock.advance(1_000);
    expect(await post('shippo', { ...headers }, body)).to.equal(401);
    const early = edge.world.clock.now() + 301_000;
    expect(await post('shippo', signed('shippo', body, early), body)).to.equal(401);
  });
});

describe('Secrets', () => {
  it('are compared in constant time, whether right or wrong', async () => {
    const real = crypto.timingSafeEqual;
    const compared: boolean[] = [];
    crypto.timingSafeEqual = (a, b) => {
      const same = real(a, b);
      compared.push(same);
      return same;
    };
    syncBuiltinESMExports();
    try {
      const asked = async (ask: () => Promise<unknown>): Promise<boolean[]> => (compared.length = 0, await ask(), [...compared]);
      const list = (token: string) => () => edge.call('listOrders', { headers: { authorization: `Bearer ${token}` } });
      for (const [token, same] of [[adminToken, true], ['x', false], [`${adminToken}x`, false], [adminToken.replace(/.$/, 'X'), false]] as const) expect(await asked(list(token)), token).to.deep.equal([same]);
      for (const format of formats) {
        const { headers, body } = writers[format](factOf('T1'), secrets[format], edge.world.clock.now());
        const notice = (given: Record<string, string>) => () => edge.call('takeNotice', { method: 'POST', params: { carrier: format }, headers: given, body });
        expect(await asked(notice({ ...headers })), format).to.deep.equal([true]);
        expect(await asked(notice(signed(format, body, edge.world.clock.now(), 'another'))), format).to.deep.equal([false]);
      }
    } finally {
      crypto.timingSafeEqual = real;
      syncBuiltinESMExports();
    }
  });

  it('and addresses and order ids do not get into the log, wherever they stand in what is handed over', () => {
    const id = 'kzmzxsn4h9fx2q52epnmjc8qp0';
    const error = new Error(`550 <anna@example.com> of order ${id}`, { cause: new Error('smtp://user:hunter22@mail.example is down') });
    const told = JSON.stringify(discreet({ error, key: `outbox|${id}|0`, deep: { more: [{ adminToken: 'hunter22', 'demo-signature': 'hunter22', authorization: 'hunter22', headers: { cookie: 'hunter22' } }] }, message: `${id}:OrderPlaced:0`, request: id.replace('k', 'r') }));
    for (const hidden of ['anna', 'hunter22', id]) expect(told).not.to.include(hidden);
    for (const shown of ['550 ', 'outbox|kzmzxsn4…|0', 'kzmzxsn4…:OrderPlaced:0', `"request":"${id.replace('k', 'r')}"`, ' is down']) expect(told).to.include(shown);
    const loop: Record<string, unknown> = { n: 1 };
    loop['itself'] = loop;
    expect(JSON.stringify(discreet(loop)).length).to.be.below(1_000);
  });

  it('what a stranger has made very long is written down in no time, and cut', () => {
    const before = process.cpuUsage();
    for (const long of ['a', '//', '0a', 'a|', 'a@']) {
      const { error } = discreet({ error: new Invalid(long.repeat(200_000 / long.length)) }) as { error: { message: string } };
      expect(error.message.length, long).to.be.at.most(10_001);
    }
    expect(process.cpuUsage(before).user / 1_000, 'milliseconds').to.be.below(2_000);
  });
});

// ---------------------------------------------------------------- pages

describe('Every page', () => {
  const asked = (name: DoorName, headers: Record<string, string> = {}) => {
    const { method, params } = doors[name] as Door;
    const given: Record<string, string> = Object.fromEntries(Object.keys(params?.shape ?? {}).map((each) => [each, each === 'sku' ? 'MUG' : each === 'key' ? 'none' : 'f'.repeat(26)]));
    return edge.call(name, { method, params: given, headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers } });
  };

  it('has a policy that lets nothing in but our own files, and may stand in no frame', async () => {
    for (const name of Object.keys(doors) as DoorName[]) {
      const { headers } = await asked(name);
      const policy = headers['content-security-policy'] ?? '';
      expect(policy, name).to.match(/^default-src 'none';/).and.to.include("frame-ancestors 'none'").and.to.include("form-action 'self'").and.to.include("base-uri 'none'");
      expect(policy, name).not.to.match(/unsafe|\*|https?:/);
      expect(headers['x-content-type-options'], name).to.equal('nosniff');
      expect(headers['access-control-allow-origin'], name).to.equal(undefined);
    }
  });

  it('has no script, handler or style of its own but the stylesheet, whose hash that policy names, wherever one comes from', async () => {
    const { id } = await edge.world.place(['MUG', 1]);
    await edge.rest();
    await edge.world.play(website.ticks.pollProducts(edge.kernel));
    const { cookie } = await edge.signIn();
    for (const name of (Object.entries(doors) as [DoorName, Door][]).filter(([, door]) => door.page && door.method === 'GET').map(([each]) => each)) {
      const params = { sku: 'MUG', id, key: `${id}.confirmation`, kind: 'mails' };
      const query = new URLSearchParams(name === 'consoleQuestion' ? { kind: 'mails', do: 'retry', id: `${id}.confirmation` } : {});
      for (const site of ['none', 'cross-site', 'same-origin']) {
        const { body, status, headers } = await edge.call(name, { params, query, headers: { cookie: `basket=MUG:1; ${cookie}`, 'sec-fetch-site': site } });
        expect(status, name).to.be.oneOf(name === 'consoleAgain' ? [303] : name === 'consoleOidcBack' ? [404] : [200, 404]);
        const named = (style: string): boolean => headers['content-security-policy']!.includes(`'sha256-${crypto.createHash('sha256').update(style).digest('base64')}'`);
        const rest = String(body).replace(/<style>([^]*?)<\/style>/g, (whole, style: string) => (named(style) ? '' : whole));
        expect(rest, `${name} ${site}`).not.to.match(/<script(?![^>]*\ssrc="\/assets\/)|<style|\sstyle="|\son[a-z]+="|javascript:/i);
      }
    }
  });

  it('that says no says it under the name of the shop', async () => {
    const kernel = { ...edge.kernel, settings: { ...edge.kernel.settings, shopName: 'Kräuter & Tee' } };
    const named = { ...edge.context, kernel };
    const { handlers } = await import('../../handlers/index.ts');
    const event = { method: 'GET', path: '/', query: new URLSearchParams(), headers: { 'sec-fetch-site': 'cross-site', 'content-type': 'application/x-www-form-urlencoded' }, body: new Uint8Array(), params: { id: 'none', sku: 'NONE' } };
    for (const name of ['orderPage', 'productPage', 'changeBasket'] as const) expect(String((await handlers[name](event, named)).body), name).to.include('· Kräuter &amp; Tee</title>');
    const { port } = await serve({ context: named });
    const [gone] = await talk(port, head('GET /nowhere', 'accept: text/html'));
    expect(Buffer.from(gone!.body, 'latin1').toString()).to.include('· Kräuter &amp; Tee</title>');
  });

  it('takes no form that another site has sent, whatever its address', async () => {
    expect(forms.map(([name]) => name)).to.include.members(['changeBasket', 'checkOut', 'cancelFromPage']);
    const before = edge.changes();
    for (const [name] of forms) {
      for (const foreign of [{ 'sec-fetch-site': 'cross-site' }, { 'sec-fetch-site': 'same-site' }, { 'sec-fetch-site': 'cross-site', origin: 'http://localhost:3000', host: 'localhost:3000' }, { origin: 'https://evil.example', host: 'localhost:3000' }, { origin: 'null', host: 'localhost:3000' }, { origin: 'http://localhost:3000.evil.example', host: 'localhost:3000' }, { origin: '', host: 'localhost:3000' }]) {
        expect((await asked(name, foreign as Record<string, string>)).status, `${name} ${JSON.stringify(foreign)}`).to.equal(403);
      }
      for (const own of [{ 'sec-fetch-site': 'same-origin' }, { origin: 'http://localhost:3000', host: 'localhost:3000' }, {}]) expect((await asked(name, own as Record<string, string>)).status, `${name} ${JSON.stringify(own)}`).not.to.equal(403);
    }
    expect(edge.changes()).to.equal(before);
    expect(isForeign({ origin: 'https://shop.example', host: 'inner:8080' }, 'https://shop.example'), 'behind a proxy').to.equal(false);
  });

  it('lets other sites send no JSON: its type needs their asking first, and nobody answers that', async () => {
    const { port } = await serve();
    const [preflight] = await talk(port, head('OPTIONS /api/orders', 'origin: https://evil.example', 'access-control-request-method: POST'));
    expect([preflight!.status, /access-control/i.test(preflight!.head)]).to.deep.equal([405, false]);
    const bodies = (Object.entries(doors) as [DoorName, Door][]).filter(([, door]) => door.body && !door.page);
    for (const [name] of bodies) {
      for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', '']) {
        const answer = await edge.call(name, { method: 'POST', body: Buffer.from('{}'), headers: { 'content-type': type, authorization: `Bearer ${adminToken}` } });
        expect(answer.status, `${name} ${type}`).to.equal(415);
      }
    }
  });

  it('sets a cookie that no script reads, no other site sends along, and that a shop on https sends over https alone', async () => {
    await edge.world.play(website.ticks.pollProducts(edge.kernel));
    const answer = await edge.call('changeBasket', { method: 'POST', body: Buffer.from('do=add&sku=MUG&quantity=1'), headers: { 'content-type': 'application/x-www-form-urlencoded' } });
    expect(answer.headers['set-cookie']).to.match(/^basket=MUG%3A1; Path=\/; Max-Age=2592000; HttpOnly; SameSite=Lax$/);
    expect(basketCookie(new Map([['MUG', 1]]), 'https://shop.example')).to.match(/; HttpOnly; SameSite=Lax; Secure$/);
  });
});

// ---------------------------------------------------------------- personal data

describe('Personal data', () => {
  const personal = /^(customer|name|email|address|shipTo|line1|line2|city|postcode|phone|to)$/;
  /** The names of fields that a shape has, product names aside. */
  function fieldsOf(schema: unknown, path = ''): string[] {
    if (typeof schema !== 'object' || schema === null) return [];
    return Object.entries(schema).flatMap(([name, value]) => (name === 'properties' ? Object.entries(value as object).flatMap(([field, inner]) => [`${path}/${field}`, ...fieldsOf(inner, `${path}/${field}`)]) : fieldsOf(value, path)));
  }

  it('travels in two events and no other: to who writes to the customer, and to who ships', () => {
    const carrying = (Object.keys(events) as EventName[]).filter((name) => fieldsOf(z.toJSONSchema(events[name].shape, { unrepresentable: 'any', reused: 'inline' })).some((path) => personal.test(path.split('/').at(-1)!) && !/^\/lines\/name$/.test(path) && !(name === 'ProductInfoUpdated' && path === '/name')));
    expect(carrying).to.deep.equal(['OrderPlaced', 'InventoryReserved']);
  });

  it('stays with Order, Notification, Inventory and Shipping, each with no more than it needs, and with nobody else', async () => {
    const { id } = await edge.world.place(['MUG', 1]);
    await edge.rest();
    expect(edge.world.order(id)).to.equal('Shipped');
    const words = { name: anna.name, email: anna.email, line1: home.line1, postcode: home.postcode };
    const found = new Map<string, Set<string>>();
    for (const partition of edge.world.engines.store.partitions()) {
      for (const { body } of edge.world.engines.store.query(partition, { prefix: '', limit: 1_000_000 }).rows) {
        const place = partition.split('~')[0]!;
        for (const [what, word] of Object.entries(words)) if (body.includes(word)) found.set(place, (found.get(place) ?? new Set()).add(what));
      }
    }
    expect(Object.fromEntries([...found].sort().map(([place, what]) => [place, [...what].sort()]))).to.deep.equal({
      invorder: ['line1', 'name', 'postcode'], letters: ['email', 'line1', 'name', 'postcode'], orders: ['email', 'line1', 'name', 'postcode'], shipments: ['line1', 'name', 'postcode'],
    });
  });
});
