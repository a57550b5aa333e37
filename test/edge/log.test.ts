import { expect } from 'chai';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SMTPServer } from 'smtp-server';
import { createLog } from '../support/log.ts';
import { basket, client, eventually, home, type Client } from '../support/client.ts';
import { openShop } from '../../handlers/container.ts';
import { parseSettings } from '../../handlers/settings.ts';
import { signed } from './edge.ts';

/**
 * A busy day of a real process that logs all it can, with a mail server that refuses half of the letters and quotes their addresses, with guesses, forgeries, broken
 * requests and messages put on channels by hand. Then everything that it has written is searched for what must not be there.
 */
const hidden = {
  adminToken: 'the-token-that-nobody-reads',
  guess: 'a-guess-that-may-be-nearly-right',
  smtpPassword: 'correct-horse-battery-staple',
  demo: 'whsec-of-the-demo-carrier', easypost: 'whsec-of-easypost', shippo: 'whsec-of-shippo', aftership: 'whsec-of-aftership',
  idempotencyKey: 'a-key-from-which-an-id-is-made',
} as const;
const people = [
  { name: 'Philippa Quillfeather', email: 'philippa@quillfeather.example' },
  { name: 'Barnabas Throckmorton', email: 'refused.barnabas@throckmorton.example' },
];
const address = { ...home, line1: '17 Nightingale Crescent', city: 'Puddletown', postcode: 'DT2 8TJ' };

describe('The log of a busy day', function () {
  this.timeout(60_000);
  let folder: string;
  let letters: SMTPServer;
  let shop: ChildProcess;
  let api: Client;
  let written = '';
  const ids = new Set<string>();
  const env = (): Record<string, string> => ({
    DATA_DIR: folder, ADMIN_TOKEN: hidden.adminToken, DEMO_CARRIER_SECRET: hidden.demo, EASYPOST_WEBHOOK_SECRET: hidden.easypost, SHIPPO_WEBHOOK_SECRET: hidden.shippo,
    AFTERSHIP_WEBHOOK_SECRET: hidden.aftership, SMTP_URL: `smtp://postmaster:${hidden.smtpPassword}@127.0.0.1:${(letters.server.address() as { port: number }).port}`,
    SAMPLE_CATALOGUE: 'off', LOG_LEVEL: 'debug', DEMO_CARRIER_DELIVERS_AFTER_SECONDS: '0.2', WEBSITE_POLL_SECONDS: '0.2',
  });

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'anyport-'));
    letters = new SMTPServer({
      disabledCommands: ['STARTTLS'], allowInsecureAuth: true,
      onAuth: ({ password }, _session, done) => (password === hidden.smtpPassword ? done(null, { user: 1 }) : done(new Error('535 no'))),
      onRcptTo: ({ address: to }, _session, done) => (to.startsWith('refused') ? done(Object.assign(new Error(`<${to}> of ${people[1]!.name} does not live here`), { responseCode: 550 })) : done()),
      onData: (stream, _session, done) => void stream.resume().on('end', () => done()),
    });
    await new Promise<void>((resolve) => void letters.listen(0, '127.0.0.1', resolve));
    const port = await freePort();
    shop = spawn(process.execPath, ['--import', 'tsx/esm', 'handlers/local.ts'], { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env(), PORT: String(port) } });
    for (const stream of [shop.stdout!, shop.stderr!]) stream.setEncoding('utf8').on('data', (text: string) => (written += text));
    api = client(`http://127.0.0.1:${port}`, hidden.adminToken);
    await eventually(async () => expect((await api.get('/readyz')).status).to.equal(200), 30);
  });
  after(async () => {
    if (shop.exitCode === null) shop.kill('SIGKILL');
    await new Promise<void>((resolve) => void letters.close(resolve));
    await rm(folder, { recursive: true, force: true });
  });

  it('has no secret in it, nobody’s name or address, and no order’s whole id', async () => {
    await live();
    shop.kill('SIGTERM');
    await once(shop, 'exit');

    const lines = written.split('\n').filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as { msg: string });
    expect(new Set(lines.map(({ msg }) => msg)), 'it was a day on which there was something to tell').to.include('a letter could not be sent').and.to.include('an event of a stream is parked');
    const forbidden: Record<string, string> = { ...hidden, deployment: await secretOfDeployment(), street: address.line1, city: address.city, postcode: address.postcode };
    for (const { name, email } of people) Object.assign(forbidden, { [name]: name, [email]: email, [`part of ${name}`]: name.split(' ')[1]! });
    for (const id of ids) forbidden[`order ${id}`] = id;
    expect(ids.size).to.be.at.least(4);
    for (const [what, word] of Object.entries(forbidden)) expect(written.toLowerCase().includes(word.toLowerCase()), `${what} stands in the log`).to.equal(false);
  });

  async function live(): Promise<void> {
    await api.adminPut('/api/products/MUG', { name: 'Blue mug', price: { amount: 495, currency: 'GBP' } });
    await api.adminPost('/api/inventory/MUG/receipts', { quantity: 100 });
    for (const customer of people) {
      const placed = await api.post('/api/orders', { ...basket(['MUG', 1]), customer, address }, { 'idempotency-key': `${hidden.idempotencyKey}-${customer.email}` });
      ids.add(placed.body.id as string);
      expect((await checkout(customer)).status).to.equal(303);
    }
    const [first] = [...ids] as [string];
    await api.call('GET', '/api/orders', undefined, { authorization: `Bearer ${hidden.guess}` });
    await api.call('GET', `/api/orders?after=${hidden.guess}`, undefined, { authorization: `Basic ${hidden.guess}`, cookie: `basket=${hidden.guess}` });
    await api.post('/api/orders', JSON.stringify({ customer: people[0], address, lines: [] }).slice(0, -5));
    await api.post('/api/orders', { customer: { ...people[0], extra: hidden.guess }, address, lines: [{ sku: 'NONE', quantity: 1 }] });
    await api.post(`/api/orders/${first}/cancel`, {});
    for (const carrier of ['demo', 'easypost', 'shippo', 'aftership'] as const) {
      const body = Buffer.from(JSON.stringify({ customer: people[0], orderId: first }));
      const url = `/api/carriers/${carrier}/notices`;
      for (const secret of [hidden[carrier], hidden.guess]) await api.call('POST', url, body.toString(), signed(carrier, body, Date.now(), secret));
    }
    // Events said by hand: one too old and one of no shape, full of personal data, and one that contradicts what has happened, so that nobody can handle it.
    const shippedOne = [...ids].at(-1)!;
    await api.until(shippedOne, 'Delivered');
    const placed = { orderId: first, placedAt: '2020-01-01T00:00:00.000Z', customer: people[0], address, lines: [{ sku: 'MUG', name: 'Mug', quantity: 1, unitPrice: 495 }], total: { amount: 495, currency: 'GBP' } };
    const byHand = [
      [422, { channel: 'orders', message: { type: 'OrderPlaced', subject: first, time: placed.placedAt, data: placed } }],
      [422, { channel: 'orders', message: { type: 'OrderPlaced', subject: first, data: { ...placed, lines: [] } } }],
      [202, { channel: 'orders', message: { type: 'OrderPlaced', subject: first, data: placed } }],
      [202, { channel: 'shipping', message: { type: 'ShippingStopped', subject: shippedOne, data: { orderId: shippedOne } } }],
    ] as const;
    for (const [status, each] of byHand) expect((await api.adminPost('/api/messages', each)).status).to.equal(status);
    for (const id of ids) await eventually(async () => expect((await api.order(id)).status).to.be.oneOf(['Delivered', 'Cancelled']), 20);
    await eventually(async () => expect(written).to.include('an event of a stream is parked'), 20);
  }

  async function checkout(customer: { name: string; email: string }): Promise<{ status: number }> {
    const cookie = 'basket=MUG:1';
    const page = await eventually(async () => {
      const answer = await api.call('GET', '/checkout', undefined, { cookie });
      expect(answer.status).to.equal(200);
      return String(answer.body);
    });
    const field = (name: string): string => new RegExp(`name="${name}" value="([^"]*)"`).exec(page)![1]!;
    const form = new URLSearchParams({ ...customer, ...address, key: field('key'), total: field('total') });
    const answer = await api.call('POST', '/checkout', form.toString(), { 'content-type': 'application/x-www-form-urlencoded', cookie });
    ids.add(answer.headers.get('location')!.slice('/orders/'.length));
    return answer;
  }

  async function secretOfDeployment(): Promise<string> {
    const kept = await openShop(parseSettings(env()), { post: async () => 204, log: createLog() });
    try {
      return kept.kernel.secret;
    } finally {
      await kept.close();
    }
  }
});

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as { port: number };
  await new Promise((resolve) => probe.close(resolve));
  return port;
}
