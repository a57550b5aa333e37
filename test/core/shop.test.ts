import { expect } from 'chai';
import { getEventListeners } from 'node:events';
import { faultless, profileFrom } from '../../adapters/memory/index.ts';
import { randomFrom } from '../support/ids.ts';
import { openWorld, type World } from '../support/world.ts';

/** The whole shop, in memory and on a clock of its own. */
describe('shop', () => {
  let world: World;
  afterEach(async () => {
    world.interfere = undefined;
    await world.stop();
  });

  it('brings an order from the click to the door, and writes to the customer at each milestone', async () => {
    world = await openWorld();
    await world.describe('A', 5);
    const { id } = await world.place(['A', 2]);
    const late = await world.place(['A', 4]);
    await world.settle();
    expect([world.order(id), world.order(late.id)]).to.deep.equal(['Delivered', 'Backordered']);
    await world.describe('A', 10);
    await world.settle();
    expect(world.order(late.id)).to.equal('Delivered');
    expect(world.letters(id).map(({ key }) => key.split('.')[1])).to.deep.equal(['confirmation', 'shipped', 'delivered']);
    expect(world.letters(late.id).map(({ key }) => key.split('.')[1])).to.deep.equal(['confirmation', 'backorder', 'shipped', 'delivered']);
    expect(await world.audit()).to.deep.equal([]);
  });

  it('cancels an order that waits, and lets the next one have its place', async () => {
    world = await openWorld();
    await world.describe('A', 1);
    const { id } = await world.place(['A', 2]);
    await world.settle();
    await world.play(world.kernel.published.cancelOrder(id));
    await world.settle();
    expect(world.order(id)).to.equal('Cancelled');
    expect(world.letters(id).map(({ key }) => key.split('.')[1])).to.deep.equal(['confirmation', 'backorder', 'cancelled']);
    expect(await world.audit()).to.deep.equal([]);
  });

  it('forgets nothing that it has promised, wherever the process is killed', async () => {
    world = await openWorld({ deliversAfterSeconds: 3 });
    await world.describe('A', 100);
    const ids: string[] = [];
    // After so many calls to a driver the process is gone, each time a little later.
    for (let life = 1; life < 60; life++) {
      let calls = 0;
      world.interfere = (_, work) => (++calls > life * 2 ? new Promise(() => {}) : work());
      const { kernel } = world;
      void kernel.published.placeOrder({ customer: { name: 'Anna', email: 'anna@example.com' }, address: { line1: '1', city: 'L', postcode: 'P', country: 'GB' }, lines: [{ sku: 'A', quantity: 1 }] }, undefined).then(
        (placed) => 'id' in placed && ids.push(placed.id),
        () => {},
      );
      await world.clock.advance(1_500);
      world.interfere = undefined;
      await world.restart();
    }
    await world.settle();
    expect(ids.length).to.be.greaterThan(20);
    for (const id of ids) expect(world.order(id), id).to.equal('Delivered');
    expect(await world.audit()).to.deep.equal([]);
  });

  for (const seed of [1, 2, 3, 4, 5, 6]) {
    it(`comes to the right end on a bad day, with restarts (seed ${seed})`, async () => {
      const random = randomFrom(seed * 1_000);
      world = await openWorld({ seed, profile: { ...profileFrom(random) }, deliversAfterSeconds: 5 });
      await world.describe('A', 6);
      await world.describe('B', 3);
      const ids: string[] = [];
      for (let n = 0; n < 8; n++) {
        ids.push((await world.place(['A', 1 + (n % 2)], ...(n % 3 ? [['B', 1] as [string, number]] : []))).id);
        if (n % 4 === 3) await world.restart();
        if (n === 5) await world.play(world.kernel.published.cancelOrder(ids[4]!).catch(() => undefined));
        await world.clock.advance(random() * 3_000);
      }
      await world.describe('A', 20);
      await world.describe('B', 20);
      await world.settle(7_200);
      for (const id of ids) expect(world.order(id), id).to.be.oneOf(['Delivered', 'Cancelled']);
      // A mailer that cannot tell leaves a letter to a person; everything else has come right by itself.
      expect((await world.audit()).filter((fault) => !fault.endsWith('is uncertain'))).to.deep.equal([]);
    });
  }

  it('leaves nobody listening when a poll is over', async () => {
    world = await openWorld();
    const signals: AbortSignal[] = [];
    world.interfere = (call, work) => {
      const [channel, , options] = call.args as [string, string, { signal: AbortSignal }];
      if (call.method === 'read' && channel === 'products') signals.push(options.signal);
      return work();
    };
    await world.clock.advance(10_000);
    world.interfere = undefined;
    await world.clock.advance(1_000);
    expect(signals.length).to.be.greaterThan(10);
    expect(signals.flatMap((signal) => getEventListeners(signal, 'abort'))).to.deep.equal([]);
  });

  it('is as quiet as can be when nobody wants anything', async () => {
    world = await openWorld({ profile: faultless });
    await world.describe('A', 1);
    await world.settle();
    await world.clock.advance(60_000); // the website looks for itself
    let commits = 0;
    world.interfere = (call, work) => (call.method === 'commit' && commits++, work());
    await world.clock.advance(120_000);
    expect(commits).to.equal(0);
  });
});
