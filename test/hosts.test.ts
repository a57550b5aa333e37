import { expect } from 'chai';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startLaptop, type Laptop } from '../emulator/laptop.ts';
import type { OrderView } from '../core/order/events.ts';
import { azuritePatienceMs } from './support/azurite.ts';
import { basket, client, eventually, type Answer, type Client } from './support/client.ts';

/**
 * Several processes of the shop over one Service Bus, Event Hubs and Table Storage, through Azure's own SDKs, as several instances of a hosted shop are. They share the
 * partitions; one of them is killed, and another one comes.
 */
describe('Processes that share a shop in Azure', function () {
  this.timeout(180_000);
  let laptop: Laptop;
  const hosts: Host[] = [];

  interface Host {
    readonly folder: string;
    readonly child: ChildProcess;
    readonly api: Client;
  }

  async function start(): Promise<Host> {
    const folder = mkdtempSync(join(tmpdir(), 'anyport-host-'));
    const child = spawn(process.execPath, ['--import', 'tsx/esm', 'handlers/local.ts'], {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: {
        ...process.env, ADAPTERS: 'azure', AZURE_SERVICE_BUS: laptop.broker, AZURE_EVENT_HUBS: laptop.broker, AZURE_TABLES: laptop.tables, AZURE_EMAIL: laptop.email,
        PORT: '0', DATA_DIR: folder, ADMIN_TOKEN: 'a-token-for-all-the-hosts', SAMPLE_CATALOGUE: 'off', RATE_LIMIT: 'off', LOG_LEVEL: 'silent', WEBSITE_POLL_SECONDS: '1',
        DEMO_CARRIER_DELIVERS_AFTER_SECONDS: '0.5', DEMO_CARRIER_SECRET: 'known to all the hosts',
      },
    });
    const { url, token } = await eventually(async () => JSON.parse(readFileSync(join(folder, 'admin.json'), 'utf8')) as { url: string; token: string }, 60);
    const host = { folder, child, api: client(url, token) };
    hosts.push(host);
    return host;
  }

  async function end({ child }: Host, signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill(signal);
    await ended;
  }

  before(async function () {
    this.timeout(azuritePatienceMs);
    laptop = await startLaptop({ broker: true, tables: true, email: true });
  });
  after(async () => {
    for (const host of hosts) {
      await end(host, 'SIGKILL');
      rmSync(host.folder, { recursive: true, force: true });
    }
    await laptop.close();
  });

  it('lose nothing and double nothing when one is killed and another one comes, and every order reaches its end', async () => {
    const [one, two] = [await start(), await start()];
    for (const sku of ['MUG', 'LAMP']) {
      await insist(() => one!.api.adminPut(`/api/products/${sku}`, { name: sku, description: '', price: { amount: 495, currency: 'GBP' } }));
      await insist(() => one!.api.adminPost(`/api/inventory/${sku}/receipts`, { quantity: 1_000 }, { 'idempotency-key': `receipt-${sku}` }));
    }
    let up: Host[] = [one!, two!];
    const place = (n: number): Promise<OrderView> => insist(() => up[n % up.length]!.api.post('/api/orders', basket(['MUG', 1], ['LAMP', 2]), { 'idempotency-key': `order-${n}` }));
    const some = (from: number, count: number): Promise<OrderView[]> => Promise.all(Array.from({ length: count }, (_, n) => place(from + n)));

    const orders = await some(0, 30);
    const underWay = some(30, 30);
    await end(one!, 'SIGKILL');
    up = [two!];
    orders.push(...(await underWay));
    const three = await start();
    up = [two!, three];
    orders.push(...(await some(60, 20)));

    expect(new Set(orders.map(({ id }) => id))).to.have.length(80);
    for (const { id } of orders) await two!.api.until(id, 'Delivered', 90);
    // Letters that the one which is gone had begun to send wait their five minutes: nobody can know sooner that it will not come back.
    const audit = await eventually(async () => {
      const { faults, ...found } = (await three.api.adminGet('/api/audit')).body as { faults: string[]; parked: number; dead: number };
      const others = faults.filter((fault) => !/letter ".*" is sending$|rows? waits? for somebody to come back$/.test(fault));
      expect(others).to.deep.equal([]);
      return { ...found, begun: faults.length };
    }, 60);
    expect(audit).to.deep.include({ parked: 0, dead: 0, orders: { Placed: 0, Backordered: 0, Reserved: 0, Shipped: 0, Delivered: 80, Cancelled: 0 } });
    expect(audit.begun).to.be.below(60);
    expect((await two!.api.adminGet('/api/inventory/LAMP')).body).to.include({ received: 1_000, available: 840 });
    expect((await two!.api.adminGet(`/api/orders/${orders[75]!.id}/story`)).body.missing).to.deep.equal([]);
  });
});

/** A customer whose request gets no answer asks again, wherever he gets through; the key makes it the same order. */
const insist = (ask: () => Promise<Answer>): Promise<Answer['body']> =>
  eventually(async () => {
    const { status, body } = await ask();
    if (status !== 200 && status !== 201) throw new Error(`the answer was ${status}: ${JSON.stringify(body)}`);
    return body;
  }, 60);
