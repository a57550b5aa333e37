import fc from 'fast-check';
import { connect, type Socket } from 'node:net';
import { openMemory } from '../../adapters/memory/index.ts';
import { doors, queues, streams } from '../../core/flow.ts';
import { openShop, type Shop } from '../../handlers/container.ts';
import { startServer, type Server } from '../../handlers/server.ts';
import { parseSettings } from '../../handlers/settings.ts';
import { systemClock } from '../../adapters/system/index.ts';
import { createLog } from '../support/log.ts';
import { basket } from '../support/client.ts';
import { adminToken } from './edge.ts';

/**
 * THE WIRE: the real server, over sockets, byte by byte: paths that climb, encodings that are none, heads that smuggle a second request into a body, bodies that never end,
 * in pieces, on one connection.
 *
 * - Whatever comes back is HTTP, complete, and below 500. No answer comes to what was never a request of its own.
 * - What was refused has changed nothing; the process lives, logs no error, and serves the next who asks.
 */
export interface Shot {
  readonly kind: 'path' | 'head' | 'smuggle' | 'body' | 'noise';
  readonly head: string;
  readonly body: string;
  /** Where the bytes are cut into pieces. */
  readonly cuts: readonly number[];
}

const secret = '/smuggled-in';
const order = JSON.stringify(basket(['MUG', 1]));

const climbs = ['..', '%2e%2e', '%2E.', '.%2e', '%252e%252e', '%c0%ae%c0%ae', '..%5c', '..\\', '%5c..', '..;', '.', '', '%00', '%0d%0a', '%2f', '%5C', '%ff', '%', '%u002e', ';', '?', '#', '\\', '@', ':', '*', '~', '%20', '%7f', '%e2%80%8b', 'C:', 'etc', 'passwd', '.git', 'assets', 'api', 'orders', 'products', 'MUG', 'mailbox'];
const paths = fc.oneof(
  fc.array(fc.constantFrom(...climbs), { minLength: 1, maxLength: 7 }).map((parts) => `/${parts.join('/')}`),
  fc.constantFrom('*', 'http://evil.example/', 'http://localhost/api/products', '//evil.example/', '/\\evil.example', 'evil', 'evil:80', `/${'a'.repeat(9_000)}`, `/?q=${'%41'.repeat(3_000)}`, '/api/products?limit=1&limit=2', '/api/products/%4d%55%47', '/api//products', '/api/products/', '/?q=%c3%28', '/?__proto__[x]=1'),
);
const method = fc.oneof({ arbitrary: fc.constantFrom('GET', 'POST', 'PUT', 'HEAD'), weight: 6 }, { arbitrary: fc.constantFrom('DELETE', 'OPTIONS', 'PATCH', 'TRACE', 'CONNECT', 'get', 'PRI', 'FOO', ''), weight: 1 });
const target = fc.constantFrom(...Object.values(doors).map(({ path }) => path.replace(/\{\w+\}/g, 'MUG')), '/healthz', '/openapi.json', '/assets/app.css', '/nowhere');

const headers = fc.array(
  fc.constantFrom(
    'host: localhost', 'host: evil.example', 'host: localhost\r\nhost: evil.example', 'host:', 'Host : localhost', `authorization: Bearer ${adminToken}`, 'authorization: Bearer x', 'cookie: basket=MUG:1', `cookie: ${'a=b; '.repeat(900)}`,
    'x: a\u0000b', 'x: a\rb', 'x: a\nset-cookie: b', 'x:\r\n folded', ' leading: 1', 'x y: 1', ': 1', 'x', 'expect: 100-continue', 'expect: 200-ok', 'upgrade: h2c', 'upgrade: websocket\r\nconnection: upgrade', 'connection: keep-alive', 'connection: close',
    'connection: content-length', 'accept-encoding: br, gzip', 'accept-encoding: gzip;q=0', 'range: bytes=0-1', 'if-none-match: *', 'content-type: application/json', 'content-type: application/json; charset=utf-7', 'te: trailers', 'trailer: host',
    'x-forwarded-for: 127.0.0.1', 'x-http-method-override: DELETE', 'x-original-url: /api/orders', 'idempotency-key: \u00e9', ...Array.from({ length: 3 }, (_, i) => `${'h: 1\r\n'.repeat(60 * (i + 1))}h: 1`), `x: ${'y'.repeat(17_000)}`,
  ),
  { maxLength: 5 },
);

const inner = `GET ${secret} HTTP/1.1\r\nhost: localhost\r\n\r\n`;
/** Two lengths, or one that proxies read otherwise than we do. */
const smuggles = [
  'content-length: 6\r\ntransfer-encoding: chunked', 'transfer-encoding: chunked\r\ncontent-length: 6', 'content-length: 4\r\ncontent-length: 4', 'content-length: 0\r\ncontent-length: 70', 'content-length: 4, 4', 'content-length: +4', 'content-length: -1', 'content-length: 0x4',
  'content-length : 4', 'content-length: 4 4', 'transfer-encoding: xchunked', 'transfer-encoding: chunked\r\ntransfer-encoding: identity', 'transfer-encoding : chunked', 'transfer-encoding: identity, chunked, identity', 'transfer-encoding:\u000bchunked', 'transfer-encoding: chunked, chunked', 'content-length: 4\ntransfer-encoding: chunked', 'content-length: 99999999999999999999',
] as const;

const chunkedBodies = ['0\r\n\r\n', '5\r\nhello\r\n0\r\n\r\n', '5;ext=1\r\nhello\r\n0\r\n\r\n', 'ffffffffffffffff\r\n', '-1\r\n', '5\nhello\n0\n\n', '5\r\nhel', '00000000000000000000005\r\nhello\r\n0\r\n\r\n', '5\r\nhelloX\r\n0\r\n\r\n', `${'1\r\na\r\n'.repeat(400)}0\r\n\r\n`, '0\r\nhost: evil\r\n\r\n', `5;${'x'.repeat(20_000)}\r\nhello\r\n0\r\n\r\n`];

const cuts = fc.array(fc.nat(400), { maxLength: 3 });
const json = 'content-type: application/json';
const shot: fc.Arbitrary<Shot> = fc.oneof(
  { arbitrary: fc.record({ kind: fc.constant('path' as const), head: fc.tuple(method, paths).map(([verb, path]) => `${verb} ${path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n`), body: fc.constant(''), cuts }), weight: 4 },
  { arbitrary: fc.record({ kind: fc.constant('head' as const), head: fc.tuple(method, target, headers, fc.constantFrom('1.1', '1.1', '1.0', '0.9', '2.0', '1.11')).map(([verb, path, all, version]) => `${verb} ${path} HTTP/${version}\r\n${all.join('\r\n')}${all.length > 0 ? '\r\n' : ''}\r\n`), body: fc.constant(''), cuts }), weight: 4 },
  { arbitrary: fc.record({ kind: fc.constant('smuggle' as const), head: fc.constantFrom(...smuggles).map((lengths) => `POST /api/orders HTTP/1.1\r\nhost: localhost\r\n${json}\r\n${lengths}\r\n\r\n`), body: fc.constantFrom(`0\r\n\r\n${inner}`, `{}  ${inner}`, `4\r\n{}  \r\n0\r\n\r\n${inner}`, inner), cuts }), weight: 4 },
  { arbitrary: fc.record({ kind: fc.constant('body' as const), head: fc.tuple(fc.constantFrom('/api/orders', '/api/carriers/demo/notices', '/checkout', '/basket'), fc.constantFrom(json, 'content-type: application/x-www-form-urlencoded', 'content-type: text/plain')).map(([path, type]) => `POST ${path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n${type}\r\ntransfer-encoding: chunked\r\n\r\n`), body: fc.constantFrom(...chunkedBodies, `${order.length.toString(16)}\r\n${order}\r\n0\r\n\r\n`), cuts }), weight: 3 },
  { arbitrary: fc.record({ kind: fc.constant('noise' as const), head: fc.oneof(fc.string({ unit: 'binary', maxLength: 80 }), fc.constantFrom('\u0016\u0003\u0001\u0002\u0000', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', '\r\n\r\n\r\n', '\u0000'.repeat(100), 'GET /\r\n\r\n', 'GET / HTTP/1.1', '{"json":1}')), body: fc.constant(''), cuts }), weight: 1 },
);

export const shots: fc.Arbitrary<Shot[]> = fc.array(shot, { minLength: 1, maxLength: 300, size: 'max' });

export async function roundOfShots(_: number, cases: readonly Shot[]): Promise<void> {
  const log = createLog();
  const memory = openMemory({ clock: systemClock, queues, streams });
  const settings = parseSettings({ ADAPTERS: 'memory', DATA_DIR: 'unused', DEMO_CARRIER_SECRET: 'the secret of the wire' });
  const shop: Shop = await openShop(settings, { post: async () => 204, log, memory });
  const server: Server = await startServer({ port: 0, host: '127.0.0.1', context: { kernel: shop.kernel, adminToken, rateLimit: false }, ready: () => true, log });
  try {
    let commits = 0;
    const commit = memory.engines.store.commit;
    memory.engines.store.commit = (partition, writes) => {
      commits++;
      return commit(partition, writes);
    };
    for (let start = 0; start < cases.length; start += atOnce) {
      const before = commits;
      const some = cases.slice(start, start + atOnce);
      const answers = await Promise.all(some.map((each) => fire(server.port, each)));
      answers.forEach((found, i) => judge(some[i]!, found));
      if (answers.flat().every(({ status }) => status >= 300) && commits !== before) throw new Error('what was refused has changed something');
    }
    const alive = await fetch(`${server.url}/healthz`);
    if (alive.status !== 200) throw new Error(`afterwards /healthz answers ${alive.status}`);
    const errors = log.lines.filter(({ level }) => level === 'error');
    if (errors.length > 0) throw new Error(`an error was logged: ${JSON.stringify(errors[0])} ${String((errors[0]!.data as { error?: unknown }).error)}`);
  } finally {
    await server.close();
    await shop.close();
  }
}
const atOnce = 16;

interface Heard {
  readonly status: number;
  readonly head: string;
  readonly body: string;
}

/** Writes all of it, ends its side, and reads until the server does. */
function fire(port: number, { head, body, cuts: at }: Shot): Promise<Heard[]> {
  const bytes = Buffer.from(head + body, 'latin1');
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const socket: Socket = connect({ port, host: '127.0.0.1', noDelay: true }, () => void write().catch(() => undefined));
    const late = setTimeout(() => reject(new Error(`no end after 5 s: ${JSON.stringify(head.slice(0, 200))}`)), 5_000);
    async function write(): Promise<void> {
      let from = 0;
      for (const cut of [...at].sort((a, b) => a - b)) {
        if (cut <= from || cut >= bytes.length) continue;
        socket.write(bytes.subarray(from, cut));
        from = cut;
        await new Promise((next) => setImmediate(next));
      }
      socket.end(bytes.subarray(from));
    }
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('error', () => undefined); // who is thrown out may still be writing
    socket.on('close', () => {
      clearTimeout(late);
      try {
        resolve(answersIn(Buffer.concat(chunks), head.startsWith('HEAD')));
      } catch (error) {
        reject(error as Error);
      }
    });
  });
}

/** Reads one answer after the other by their lengths. What is left over or does not fit is no HTTP. */
export function answersIn(bytes: Buffer, isHead = false): Heard[] {
  const found: Heard[] = [];
  let rest = bytes.toString('latin1');
  while (rest !== '') {
    const end = rest.indexOf('\r\n\r\n');
    const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(rest)?.[1]);
    if (end < 0 || !status) throw new Error(`this is no HTTP: ${JSON.stringify(rest.slice(0, 200))}`);
    const head = rest.slice(0, end);
    for (const line of head.split('\r\n').slice(1)) if (!/^[A-Za-z-]+: [\t\x20-\x7e\x80-\xff]*$/.test(line)) throw new Error(`this is no header: ${JSON.stringify(line)}`);
    // A head that cannot be read may have been one of HEAD: then the answer has a body, and ends the connection.
    const bodiless = isHead && !rest.startsWith('{', end + 4);
    const length = bodiless || status === 304 || status === 204 || status < 200 ? 0 : Number(/^content-length: (\d+)$/im.exec(head)?.[1] ?? NaN);
    if (Number.isNaN(length)) throw new Error(`an answer without a length: ${head}`);
    const body = rest.slice(end + 4, end + 4 + length);
    if (body.length !== length) throw new Error(`an answer that breaks off: ${head}`);
    found.push({ status, head, body });
    rest = rest.slice(end + 4 + length);
  }
  return found;
}

function judge({ kind, head, body }: Shot, answers: readonly Heard[]): void {
  const told = `${JSON.stringify((head + body).slice(0, 400))} was answered ${answers.map(({ status }) => status).join(', ') || 'nothing'}`;
  for (const { status, head: given, body: text } of answers) {
    if (status >= 500) throw new Error(told);
    if (status >= 200 && status !== 204 && !/^x-content-type-options: nosniff$/im.test(given)) throw new Error(`${told}, without the security headers`);
    if (status >= 400 && /application\/problem\+json/.test(given) && text !== '' && (JSON.parse(text) as { status: number }).status !== status) throw new Error(`${told}: the problem names another status`);
    if (/set-cookie: b|evil\.example/i.test(given)) throw new Error(`${told}, with a header of the stranger's: ${given}`);
  }
  const final = answers.filter(({ status }) => status >= 200);
  if (kind === 'smuggle' && (final.length !== 1 || final[0]!.status < 400)) throw new Error(`${told}: a second request came in with the first`);
  if (kind !== 'noise' && final.length > 1) throw new Error(`${told}: that was one request`);
}
