import { expect } from 'chai';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { kills, openVictim, type Victim } from './simulation/crashkills.ts';
import { basket } from './support/client.ts';

/** The whole shop as a process of its own, killed with SIGKILL while orders pour in, and started again on the same folder. `npm run crash -- --kills 200` does it in full. */
describe('A shop that is killed', function () {
  this.timeout(120_000);
  let victim: Victim;

  before(async () => {
    victim = await openVictim();
    await victim.start();
    await victim.api.adminPut('/api/products/A', { name: 'Thing A', price: { amount: 100, currency: 'GBP' } });
  });
  after(() => victim.remove());

  it('has lost nothing that it acknowledged, doubled nothing, and finishes what it had begun', async () => {
    const { orders, violations } = await kills({ kills: 5, seed: 3, say: () => {} });
    expect(violations).to.deep.equal([]);
    expect(orders).to.be.at.least(25);
  });

  it('answers a repeated request as it did before it was killed', async () => {
    const { api } = victim;
    const receipt = () => api.adminPost('/api/inventory/A/receipts', { quantity: 1_000 }, { 'idempotency-key': 'first-A' });
    const order = () => api.post('/api/orders', basket(['A', 1]), { 'idempotency-key': 'before-and-after' });
    expect((await receipt()).status).to.equal(201);
    const first = await order();
    await victim.kill();
    await victim.start();
    expect((await order()).body).to.deep.equal(first.body);
    expect((await receipt()).status).to.equal(201);
    expect((await api.adminGet('/api/inventory/A')).body.received).to.equal(1_000);
  });

  it('lets nobody else into its folder', async () => {
    const second = spawn(process.execPath, ['--import', 'tsx/esm', 'handlers/local.ts'], { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, PORT: '0', DATA_DIR: victim.folder } });
    let said = '';
    second.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
    const [status] = (await once(second, 'exit')) as [number];
    expect(status).to.equal(1);
    expect(said.trim().split('\n')).to.have.length(1);
    expect(said).to.include('in use');
  });
});
