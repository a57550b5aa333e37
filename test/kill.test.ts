import { expect } from 'chai';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { OrderView } from '../core/order/events.ts';
import type { MailView } from '../core/notification/events.ts';
import { basket, client, eventually, type Client } from './support/client.ts';

/** The whole shop as a process of its own, killed with SIGKILL while orders pour in, and started again on the same folder. */

const adminToken = 'a-token-for-the-kill';

describe('A shop that is killed', function () {
  this.timeout(60_000);
  let folder: string;
  let port: number;
  let child: ChildProcess;
  let api: Client;

  async function start(): Promise<void> {
    child = spawn(process.execPath, ['--import', 'tsx/esm', 'handlers/local.ts'], {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: {
        ...process.env, PORT: String(port), DATA_DIR: folder, ADAPTERS: 'embedded', ADMIN_TOKEN: adminToken, SAMPLE_CATALOGUE: 'off', RATE_LIMIT: 'off', LOG_LEVEL: 'silent',
        DEMO_CARRIER_DELIVERS_AFTER_SECONDS: '0.2', DEMO_CARRIER_SPEAKS: 'easypost', EASYPOST_WEBHOOK_SECRET: 'sécret',
      },
    });
    api = client(`http://127.0.0.1:${port}`, adminToken);
    await eventually(async () => expect((await api.get('/readyz')).status).to.equal(200));
  }
  async function kill(): Promise<void> {
    child.kill('SIGKILL');
    await once(child, 'exit');
  }

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'anyport-'));
    port = await freePort();
    await start();
    for (const sku of ['A', 'B', 'C']) {
      await api.adminPut(`/api/products/${sku}`, { name: `Thing ${sku}`, price: { amount: 100, currency: 'GBP' } });
      await api.adminPost(`/api/inventory/${sku}/receipts`, { quantity: 1_000 }, { 'idempotency-key': `first-${sku}` });
    }
  });
  after(async () => {
    await kill();
    await rm(folder, { recursive: true });
  });

  it('has lost nothing that it acknowledged, doubled nothing, and finishes what it had begun', async () => {
    const acknowledged = new Map<string, string>();
    for (let round = 0; round < 4; round++) {
      const enough = acknowledged.size + 10 + 7 * round;
      const dying = eventually(async () => expect(acknowledged.size).to.be.at.least(enough)).then(kill);
      await Promise.all([dying, ...Array.from({ length: 8 }, (_, customer) => order(`${round}-${customer}`, acknowledged))]);
      await start();
    }
    expect(acknowledged.size).to.be.greaterThan(40);

    for (const id of acknowledged.values()) await api.until(id, 'Delivered', 30);
    const orders = await eventually(async () => {
      const all = await everything<OrderView>('/api/orders');
      expect(all.filter(({ status }) => status !== 'Delivered').map(({ id, status }) => `${id} ${status}`), 'also those whose answer was lost').to.deep.equal([]);
      return all;
    }, 30);

    for (const sku of ['A', 'B', 'C']) {
      const sold = orders.flatMap(({ lines }) => lines).filter((line) => line.sku === sku).reduce((sum, { quantity }) => sum + quantity, 0);
      await eventually(async () => expect((await api.adminGet(`/api/inventory/${sku}`)).body).to.deep.equal({ sku, received: 1_000, available: 1_000 - sold, reserved: 0, shipped: sold }));
    }
    await eventually(async () => {
      const mails = await everything<MailView>('/api/mails');
      const wanted = orders.flatMap(({ id }) => ['confirmation', 'delivered', 'shipped'].map((milestone) => `${id}.${milestone} sent`)).sort();
      expect(mails.map(({ id, state }) => `${id} ${state}`).sort()).to.deep.equal(wanted);
    });
  });

  it('answers a repeated request as it did before it was killed', async () => {
    const key = { 'idempotency-key': 'before-and-after' };
    const first = await api.post('/api/orders', basket(['A', 1]), key);
    await kill();
    await start();
    expect((await api.post('/api/orders', basket(['A', 1]), key)).body).to.deep.equal(first.body);
    expect((await api.adminPost('/api/inventory/A/receipts', { quantity: 1_000 }, { 'idempotency-key': 'first-A' })).status).to.equal(201);
    expect((await api.adminGet('/api/inventory/A')).body.received).to.equal(1_000);
  });

  it('lets nobody else into its folder', async () => {
    const second = spawn(process.execPath, ['--import', 'tsx/esm', 'handlers/local.ts'], { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, PORT: '0', DATA_DIR: folder } });
    let said = '';
    second.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
    const [status] = (await once(second, 'exit')) as [number];
    expect(status).to.equal(1);
    expect(said.trim().split('\n')).to.have.length(1);
    expect(said).to.include('in use');
  });

  /** One customer after the other, until the shop dies. */
  async function order(name: string, acknowledged: Map<string, string>): Promise<void> {
    for (let n = 0; ; n++) {
      try {
        const { status, body } = await api.post('/api/orders', basket(['A', 1], [n % 2 ? 'B' : 'C', 1 + (n % 3)]), { 'idempotency-key': `${name}-${n}` });
        expect(status).to.equal(201);
        acknowledged.set(`${name}-${n}`, (body as OrderView).id);
      } catch (error) {
        if (error instanceof TypeError || (error as Error).name === 'SyntaxError') return; // fetch failed: it is dead
        throw error;
      }
    }
  }

  async function everything<T>(path: string): Promise<T[]> {
    const items: T[] = [];
    for (let after = ''; ; ) {
      const { body } = await api.adminGet(`${path}?limit=200${after}`);
      items.push(...(body.items as T[]));
      if (!body.next) return items;
      after = `&after=${encodeURIComponent(body.next as string)}`;
    }
  }
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}
