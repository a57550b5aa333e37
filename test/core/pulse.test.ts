import { expect } from 'chai';
import { collections, events, services, subscriptions } from '../../core/flow.ts';
import { channels, lightOfListener, picture } from '../../core/console/picture.ts';
import { needsOf, worst } from '../../core/console/home.ts';
import { minorOf, typedPrice } from '../../core/money.ts';
import { operations } from '../../core/operations/index.ts';
import { PulseView, type Span } from '../../core/operations/events.ts';
import { order } from '../../core/order/index.ts';
import type { OrderView } from '../../core/order/events.ts';
import { key, partitionOf, replace } from '../../ports/index.ts';
import { openWorld, unavailable, type World } from '../support/world.ts';

/** What the console's picture and plots are drawn from: read off the store, whatever process answers. */
describe('The pulse of the shop', () => {
  let world: World;
  afterEach(() => world.stop());

  async function pulse(span: Span = '1h'): Promise<PulseView> {
    const reply = await world.play(operations.answers.shopPulse(world.kernel, { params: undefined, query: { span }, body: undefined, idempotencyKey: undefined, headers: {}, raw: new Uint8Array() } as never));
    return PulseView.parse('json' in reply ? reply.json : undefined);
  }
  const list = async (query: object): Promise<string[]> => {
    const reply = await world.play(order.answers.listOrders(world.kernel, { query: { limit: 50, ...query } } as never));
    return 'json' in reply ? (reply.json as { items: OrderView[] }).items.map(({ id }) => id) : [];
  };

  it('counts orders by status, tells who has been in it longest, and how often each event was said lately', async () => {
    world = await openWorld();
    await world.describe('A', 2);
    await world.place(['A', 1]);
    await world.settle();
    const first = await world.place(['A', 5]);
    await world.settle();
    await world.clock.advance(120_000);
    await world.place(['A', 7]);
    await world.settle();
    const { orders, pace, looked } = await pulse();
    expect(orders?.seen).to.equal(3);
    expect(orders?.statuses['Delivered']?.count).to.equal(1);
    expect(orders?.statuses['Backordered']).to.deep.equal({ count: 2, eldest: (await world.kernel.published.order(first.id))!.history.find(({ event }) => event === 'Backordered')!.at });
    expect(orders?.perMinute['OrderPlaced']).to.be.closeTo(3 / 5, 1e-9);
    expect(pace?.events['OrderPlaced']?.reduce((sum, n) => sum + n, 0)).to.equal(3);
    expect(pace?.steps['placed_to_delivered']?.all?.count).to.equal(1);
    expect(looked.every(({ answered, complete }) => answered && complete)).to.equal(true);
  });

  it('forgets in its plots what lies before them, and keeps it in its counts', async () => {
    world = await openWorld();
    await world.describe('A', 9);
    await world.place(['A', 1]);
    await world.settle();
    await world.clock.advance(16 * 60_000);
    const short = await pulse('15m');
    expect(short.pace?.events).to.deep.equal({});
    expect(short.pace?.steps['placed_to_delivered']?.all).to.equal(undefined);
    expect(short.orders?.statuses['Delivered']?.count).to.equal(1);
    expect((await pulse('1h')).pace?.steps['placed_to_delivered']?.all?.count).to.equal(1);
  });

  it('says where the store does not answer, and tells nothing of that as none', async () => {
    world = await openWorld();
    await world.describe('A', 9);
    await world.settle();
    await world.clock.advance(60_000);
    world.interfere = async ({ port, method, args }, work) => {
      if (port === 'store' && method === 'query' && String(args[0]).startsWith('orders')) throw unavailable();
      return work();
    };
    const found = await pulse();
    world.interfere = undefined;
    expect(found.orders).to.equal(undefined);
    expect(found.pace).to.equal(undefined);
    expect(found.bookings).to.deep.equal({ uncertain: 0, refused: 0, leftOver: 0 });
    const needs = needsOf(found);
    expect(needs[0]?.title).to.equal('The store does not answer');
    expect(worst(needs)).to.equal('bad');
  });

  it('is not hidden by a row that somebody has damaged, and says that it has not seen all', async () => {
    world = await openWorld();
    await world.describe('A', 9);
    const [one, other] = [await world.place(['A', 1]), await world.place(['A', 1])];
    await world.settle();
    const rowKey = key('order', one.id);
    const row = (await world.kernel.store.get<object>(partitionOf(collections.orders, one.id), rowKey))!;
    await world.kernel.store.commit(partitionOf(collections.orders, one.id), { writes: [replace(row, { ...row.body, state: null })] });
    await world.clock.advance(60_000);
    const { orders, looked } = await pulse();
    expect(orders?.seen).to.equal(1);
    expect(looked.find(({ of }) => of === 'order')?.complete).to.equal(false);
    expect(await world.kernel.published.order(other.id)).to.include({ status: 'Delivered' });
  });

  it('finds orders by the beginning of the id, by name and address whatever their case, and by a product', async () => {
    world = await openWorld();
    await world.describe('A', 9);
    await world.describe('B-7', 9);
    const [one, other] = [await world.place(['A', 1]), await world.place(['B-7', 1])];
    await world.settle();
    expect(await list({ q: one.id.slice(0, 6).toUpperCase() })).to.deep.equal([one.id]);
    expect(await list({ q: 'b-7' })).to.deep.equal([other.id]);
    expect(await list({ q: 'ANNA@EXAMPLE' })).to.have.members([one.id, other.id]);
    expect(await list({ q: 'anna b' })).to.have.members([one.id, other.id]);
    expect(await list({ q: 'b-' })).to.deep.equal([]);
    expect(await list({ q: one.id, status: 'Placed' })).to.deep.equal([]);
  });
});

describe('The living picture', () => {
  const well: PulseView = { at: '2026-11-23T12:00:00.000Z', looked: [], readers: [], handled: [], dead: [], parked: [], outbox: { waiting: 0, stuck: 0, oldestSeconds: 0, channels: {} } };

  it('has every channel of the flow once, with whoever speaks and all who listen', () => {
    expect(channels.map(({ name }) => name)).to.have.members([...new Set(subscriptions.map(({ channel }) => channel))]);
    for (const { name, to, says, from } of channels) {
      expect(subscriptions.filter(({ channel }) => channel === name).map(({ service }) => service)).to.have.members([...to]);
      for (const event of says) expect(events[event].from).to.equal(from);
    }
    const drawn = String(picture(well));
    for (const service of services) expect(drawn.toLowerCase()).to.include(`>${service}<`);
    for (const { name } of channels) expect(drawn).to.include(`>${name}`);
    expect(drawn).not.to.include('class="lamp');
  });

  it('lights each fault where it is, with a way to the page that mends it', () => {
    for (const { service, channel, kind } of subscriptions) {
      const faulty: PulseView = kind === 'queue' ? { ...well, dead: [{ service, channel, letters: 2 }] } : { ...well, parked: [{ service, channel, keys: 2 }] };
      expect(lightOfListener(faulty, service, channel)).to.include({ tone: 'bad', short: '2' });
      for (const other of subscriptions) if (other.service !== service || other.channel !== channel) expect(lightOfListener(faulty, other.service, other.channel)).to.equal(undefined);
      expect(String(picture(faulty)).match(/class="lamp bad" href="\/console\/trouble\/(dead-letters|parked)"/g), `${service} ${channel}`).to.have.length(2); // for a wide and for a narrow screen
      expect(needsOf(faulty)).to.have.length(1);
    }
    const stuck: PulseView = { ...well, outbox: { waiting: 0, stuck: 1, oldestSeconds: 0, channels: { orders: { waiting: 0, stuck: 1 } } } };
    expect(String(picture(stuck))).to.include('aria-label="Order on orders: 1 stuck message"');
    expect(worst(needsOf(well))).to.equal('good');
  });

  it('tells lags and silence only when they are long', () => {
    const reader = { service: 'order', channel: 'shipping', partitions: 4, lagSeconds: 59, unhandled: 3, silentSeconds: 20 };
    expect(lightOfListener({ ...well, readers: [reader] }, 'order', 'shipping')).to.equal(undefined);
    expect(lightOfListener({ ...well, readers: [{ ...reader, lagSeconds: 61 }] }, 'order', 'shipping')).to.include({ tone: 'warn', short: '61 s' });
    expect(lightOfListener({ ...well, readers: [{ ...reader, silentSeconds: 61 }] }, 'order', 'shipping')).to.include({ tone: 'warn' });
  });
});

describe('What an operator types', () => {
  it('is a price in the digits of its currency, or none', () => {
    expect(minorOf('2.55', 'GBP')).to.equal(255);
    expect(minorOf(' 2,5 ', 'EUR')).to.equal(250);
    expect(minorOf('300', 'JPY')).to.equal(300);
    expect(minorOf('1.234', 'KWD')).to.equal(1234);
    for (const [typed, currency] of [['2.555', 'GBP'], ['3.0', 'JPY'], ['', 'GBP'], ['-1', 'GBP'], ['1e3', 'GBP'], ['2.55', 'pounds'], ['1.', 'GBP']] as const) expect(minorOf(typed, currency), typed).to.equal(undefined);
    expect(typedPrice({ amount: 255, currency: 'GBP' })).to.equal('2.55');
    expect(typedPrice({ amount: 300, currency: 'JPY' })).to.equal('300');
  });
});
