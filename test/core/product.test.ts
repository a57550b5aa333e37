import { expect } from 'chai';
import { collections } from '../../core/flow.ts';
import { say } from '../../core/kernel/model.ts';
import { handle } from '../../core/kernel/receive.ts';
import type { AnyService } from '../../core/kernel/service.ts';
import type { ProductInfoUpdated } from '../../core/product/events.ts';
import { product } from '../../core/product/index.ts';
import { products, stockStatus, viewOf, type ProductCommand } from '../../core/product/product.ts';
import { key, partitionOf, type Message, type OutboxBody } from '../../ports/index.ts';
import { given, permutations, types, withRepeats } from '../support/given.ts';
import { openWorld } from '../support/world.ts';

const cup = { name: 'A cup', description: 'white', price: { amount: 250, currency: 'GBP' } };
const describeIt = (info: object = {}): ProductCommand => ({ do: 'describe', sku: 'A', info: { ...cup, ...info } });
const level = (available: number, stockVersion: number): ProductCommand => ({ do: 'note', level: { sku: 'A', available, stockVersion }, lowStockAt: 10 });
const saidOf = (...commands: ProductCommand[]): ProductInfoUpdated[] =>
  given(products, ...commands).facts.flatMap(({ type, data }) => (type === 'ProductInfoUpdated' ? [data as ProductInfoUpdated] : []));

describe('product', () => {
  it('says ProductInfoUpdated when something that a customer sees has changed', () => {
    expect(saidOf(describeIt()).at(-1)).to.deep.equal({ sku: 'A', ...cup, stock: 'OutOfStock', version: 1 });
    for (const change of [{ name: 'Cup' }, { description: 'blue' }, { price: { amount: 251, currency: 'GBP' } }, { price: { amount: 250, currency: 'EUR' } }]) {
      expect(saidOf(describeIt(), describeIt(change)).at(-1)).to.deep.equal({ sku: 'A', ...cup, ...change, stock: 'OutOfStock', version: 2 });
    }
    expect(saidOf(describeIt(), level(100, 1)).at(-1)).to.include({ stock: 'InStock', version: 2 });
  });

  it('says nothing when a customer sees no change', () => {
    expect(given(products, describeIt(), describeIt()).last).to.deep.equal([]);
    const numbers = given(products, describeIt(), level(100, 1), level(99, 2), level(11, 3));
    expect(types(numbers.last)).to.deep.equal(['StockNoted']);
    expect(numbers.state).to.include({ available: 11, stockVersion: 3, version: 2 });
  });

  it('tells the status of the stock and never the number', () => {
    expect([0, 1, 10, 11].map((available) => stockStatus(available, 10))).to.deep.equal(['OutOfStock', 'Low', 'Low', 'InStock']);
    expect(saidOf(describeIt(), level(11, 1), level(10, 2), level(0, 3), level(1, 4)).map(({ stock }) => stock)).to.deep.equal(['OutOfStock', 'InStock', 'Low', 'OutOfStock', 'Low']);
    expect(Object.keys(saidOf(describeIt(), level(11, 1)).at(-1)!)).to.have.members(['sku', 'name', 'description', 'price', 'stock', 'version']);
  });

  it('counts the changes that customers see, one by one', () => {
    const versions = saidOf(describeIt(), level(100, 1), level(50, 2), level(5, 3), describeIt({ name: 'Cup' }), describeIt({ name: 'Cup' }), level(0, 4)).map(({ version }) => version);
    expect(versions).to.deep.equal([1, 2, 3, 4, 5]);
  });

  it('keeps a level that comes before the product itself, and says it with the product', () => {
    expect(types(given(products, level(100, 1)).last)).to.deep.equal(['StockNoted']);
    expect(saidOf(level(100, 1), describeIt())).to.deep.equal([{ sku: 'A', ...cup, stock: 'InStock', version: 1 }]);
  });

  it('lets only a higher version of the stock count', () => {
    const { state, last } = given(products, describeIt(), level(5, 7), level(100, 6), level(100, 7));
    expect(last).to.deep.equal([]);
    expect(state).to.include({ available: 5, stockVersion: 7, stock: 'Low' });
  });

  it('ends with the same stock however the levels arrive', () => {
    const levels = [level(100, 1), level(4, 2), level(0, 3), level(30, 4), level(9, 5)];
    for (const arrival of permutations(levels)) {
      const { state } = given(products, describeIt(), ...withRepeats(arrival));
      expect({ ...viewOf('A', state), version: 0 }).to.deep.equal({ sku: 'A', ...cup, stock: 'Low', version: 0 });
      expect(state).to.include({ available: 9, stockVersion: 5 });
    }
  });

  it('says everything again as it is, without a new version', () => {
    expect(saidOf(describeIt(), level(100, 1), { do: 'sayAgain', sku: 'A' }).map(({ version }) => version)).to.deep.equal([1, 2, 2]);
    expect(given(products, level(100, 1), { do: 'sayAgain', sku: 'A' }).last).to.deep.equal([]);
  });

  it('hears levels of many products in one message, again and again, and says each change once', async () => {
    const world = await openWorld({ still: true });
    const skus = Array.from({ length: 60 }, (_, n) => `P${n}`);
    for (const sku of skus) await world.describe(sku, 0);
    const { message } = say('StockChanged', { levels: skus.map((sku) => ({ sku, available: 50, stockVersion: 1 })) }, { subject: 'P0', sequence: 0, at: '2026-11-20T09:00:00.000Z' });
    for (let n = 0; n < 3; n++) await world.play(handle(world.kernel, product as AnyService, message));
    const said = world.engines.stream.partitions('products').flatMap((partition) => {
      const batch = world.engines.stream.read('products', partition, undefined, 1_000);
      return 'events' in batch ? batch.events.map(({ text }) => JSON.parse(text) as Message) : [];
    });
    expect(said.filter(({ causationid }) => causationid === message.id)).to.have.length(60);
    expect(world.rows<OutboxBody>('outbox')).to.deep.equal([]);
    expect(world.engines.store.get(partitionOf(collections.products, 'P7'), key('product', 'P7'))?.body).to.include('"said":2');
    await world.stop();
  });
});
