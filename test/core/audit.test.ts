import { expect } from 'chai';
import { audit } from '../../core/audit.ts';
import { collections } from '../../core/flow.ts';
import { type Row, key, partitionOf, replace, create, remove } from '../../ports/index.ts';
import { openWorkshop, type Workshop } from '../../bench/shop.ts';
import { replay } from '../../bench/replay.ts';
import { execute } from '../../core/kernel/execute.ts';
import { receiveStock } from '../../core/inventory/index.ts';
import { placeOrder } from '../../core/order/index.ts';
import { products } from '../../core/product/product.ts';
import { parcelId } from '../../core/shipping/parcel.ts';
import type { OrderView } from '../../core/order/events.ts';
import { basket, eventually } from '../support/client.ts';

const sample = 'bench/samples/orders.csv.gz';

describe('The audit', function () {
  this.timeout(60_000);
  let shop: Workshop;
  let delivered: string;
  let waiting: string;

  before(async () => {
    shop = await openWorkshop('memory', '');
    const { kernel } = shop;
    for (const sku of ['A', 'B']) await execute(kernel, products, { id: sku, command: { do: 'describe', sku, info: { name: sku, description: '', price: { amount: 1, currency: 'GBP' } } } });
    await receiveStock(kernel, 'A', 10);
    delivered = ((await placeOrder(kernel, basket(['A', 2]), undefined)) as OrderView).id;
    waiting = ((await placeOrder(kernel, basket(['A', 1], ['B', 1]), undefined)) as OrderView).id;
    await eventually(async () => expect((await audit(kernel)).orders).to.include({ Delivered: 1, Backordered: 1 }));
    await eventually(async () => expect((await audit(kernel)).faults).to.deep.equal([]));
    await shop.pump.stop(); // nothing mends what is broken below
  });
  after(() => shop.stop());

  /** Does something to a row behind everybody's back, looks, and puts it right again. */
  async function tampered(partition: string, rowKey: string, change: (body: never) => unknown): Promise<readonly string[]> {
    const { store } = shop.kernel;
    const row = (await store.get<never>(partition, rowKey))!;
    await store.commit(partition, { writes: [replace(row, change(row.body))] });
    const { faults } = await audit(shop.kernel);
    await store.commit(partition, { writes: [replace((await store.get(partition, rowKey))!, row.body)] });
    return faults;
  }
  const at = (collection: (typeof collections)[keyof typeof collections], id: string): string => partitionOf(collection, id);
  interface Numbers {
    readonly available: number;
    readonly reserved: number;
  }

  it('finds a unit that was sold twice, and one that got lost', async () => {
    const stock = (change: (body: Numbers) => unknown) => tampered(at(collections.stock, 'A'), key('stock', 'A'), change as never);
    expect((await stock((body) => ({ ...body, available: body.available + 1 })))[0]).to.match(/^product A: received 10, but available 9/);
    expect((await stock((body) => ({ ...body, available: body.available - 1, reserved: body.reserved + 1 })))[0]).to.equal('product A: 1 reserved, orders hold 0');
  });

  it('finds a letter that was never sent', async () => {
    const faults = await tampered(at(collections.letters, delivered), key('letters', delivered), ((body: { state: { mails: object } }) => ({ ...body, state: { ...body.state, mails: { ...body.state.mails, shipped: { state: 'uncertain', at: '' } } } })) as never);
    expect(faults).to.deep.equal([`order ${delivered}: the letter "shipped" is uncertain`]);
  });

  it('finds services that do not agree about an order', async () => {
    const faults = await tampered(at(collections.invorder, delivered), key('order', delivered), ((body: object) => ({ ...body, state: 'reserved' })) as never);
    expect(faults[0]).to.equal(`order ${delivered} is Delivered, Inventory says reserved`);
  });

  it('finds an order that waits though all that it needs is there', async () => {
    const { store } = shop.kernel;
    const partition = at(collections.stock, 'B');
    const row = (await store.get(partition, key('stock', 'B'))) as Row<object>;
    await store.commit(partition, { writes: [replace(row, { ...row.body, received: 1, available: 1 })] });
    expect((await audit(shop.kernel)).faults).to.deep.equal(['product B: 1 available, Product knows of 0', `order ${waiting} waits, and all that it needs is there`]);
    await store.commit(partition, { writes: [replace((await store.get(partition, key('stock', 'B')))!, row.body)] });
  });

  it('finds a stock of which Product has not heard', async () => {
    const faults = await tampered(at(collections.products, 'A'), key('product', 'A'), ((body: { state: Numbers }) => ({ ...body, state: { ...body.state, available: 7 } })) as never);
    expect(faults).to.deep.equal(['product A: 8 available, Product knows of 7']);
  });

  it('finds a parcel that does not agree with its order', async () => {
    const shipment = (await shop.kernel.store.get<{ state: { booking: { carrier: string; trackingNumber: string } } }>(at(collections.shipments, delivered), key('shipment', delivered)))!;
    const parcel = parcelId(shipment.body.state.booking);
    const change = (news: object) => tampered(at(collections.parcels, parcel), key('parcel', parcel), ((body: { state: object }) => ({ ...body, state: { ...body.state, ...news } })) as never);
    expect(await change({ status: 'inTransit' })).to.deep.equal([`order ${delivered} is Delivered, its parcel is not delivered`]);
    expect(await change({ orderId: undefined })).to.deep.equal([`order ${delivered} is booked, and its parcel does not know of it`]);
    expect(await change({ orderId: waiting, status: 'inTransit' })).to.deep.equal([]);
  });

  it('finds what nobody has come back to', async () => {
    const { store } = shop.kernel;
    const partition = at(collections.invorder, delivered);
    await store.commit(partition, { writes: [create(key('open', delivered), { since: 0 })] });
    expect((await audit(shop.kernel)).faults).to.deep.equal(['1 rows wait for somebody to come back']);
    await store.commit(partition, { writes: [remove((await store.get(partition, key('open', delivered)))!)] });
    expect((await audit(shop.kernel)).faults).to.deep.equal([]);
  });
});

describe('The replay', function () {
  this.timeout(120_000);
  const run = (stock: number) => replay({ file: sample, adapters: 'memory', stock, dataDir: '', say: () => {} });

  it('carries real orders through all services, and the books balance', async () => {
    const { audit: found, placed, cancelled, refused } = await run(1);
    expect(found.faults).to.deep.equal([]);
    expect(placed).to.be.greaterThan(150);
    expect(refused).to.equal(0);
    expect(found.orders.Delivered + found.orders.Cancelled).to.equal(placed);
    expect(found.orders.Cancelled).to.equal(cancelled);
    expect(found.mails.confirmation).to.equal(placed);
    expect(found.mails.delivered).to.equal(found.orders.Delivered);
  });

  it('leaves nobody waiting who could be served, when there is not enough for all', async () => {
    const { audit: found, placed } = await run(0.8);
    expect(found.faults).to.deep.equal([]);
    expect(found.orders.Backordered).to.be.greaterThan(20);
    expect(found.orders.Backordered + found.orders.Delivered + found.orders.Cancelled).to.equal(placed);
  });
});
