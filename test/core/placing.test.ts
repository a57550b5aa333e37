import { expect } from 'chai';
import { InventoryReserved } from '../../core/inventory/events.ts';
import { executeAll } from '../../core/kernel/execute.ts';
import { say } from '../../core/kernel/model.ts';
import type { Kernel } from '../../core/kernel/service.ts';
import { linesMax, type OrderView, type PlaceOrder } from '../../core/order/events.ts';
import { findOrder, placeOrder } from '../../core/order/index.ts';
import { products } from '../../core/product/product.ts';
import { openShop, type Shop } from '../../handlers/container.ts';
import { parseSettings } from '../../handlers/settings.ts';
import { encode, isRefusal, type Refusal } from '../../ports/index.ts';
import { basket } from '../support/client.ts';

describe('Placing an order', () => {
  let shop: Shop;
  let kernel: Kernel;
  const long = (n: number): string => `${'x'.repeat(35)}-${String(n).padStart(4, '0')}`;
  const short = (n: number): string => String(n).padStart(5, '0');

  before(async () => {
    shop = await openShop(parseSettings({ ADAPTERS: 'memory', LOG_LEVEL: 'silent' }), { post: async () => 204 });
    kernel = shop.kernel;
    const skus = Array.from({ length: linesMax }, (_, n) => [long(n), short(n)]).flat();
    await executeAll(kernel, products, skus.map((sku) => ({ id: sku, command: { do: 'describe' as const, sku, info: { name: 'Thing', description: '', price: { amount: 1, currency: 'GBP' } } } })));
  });
  after(() => shop.close());

  const order = (skus: readonly string[], quantity = 1): PlaceOrder => basket(...skus.map((sku): [string, number] => [sku, quantity]));
  const place = (request: PlaceOrder, key?: string): Promise<OrderView | Refusal> => placeOrder(kernel, request, key);

  it('answers 409 while the first request under the key is under way, and makes one order', async () => {
    const [first, second] = await Promise.all([place(order([short(1)]), 'double-click'), place(order([short(1)]), 'double-click')]);
    expect(isRefusal(first)).to.equal(false);
    expect(second).to.include({ refused: 'in-flight', status: 409 });
    const again = await place(order([short(1)]), 'double-click');
    expect(again).to.deep.equal(first);
  });

  it('gives an order under a key an id that nobody derives without the secret, and always the same', async () => {
    const one = (await place(order([short(1)]), 'a-key')) as OrderView;
    expect(one.id).to.match(/^[0-9a-hjkmnp-tv-z]{26}$/);
    const other = await openShop(parseSettings({ ADAPTERS: 'memory', LOG_LEVEL: 'silent' }), { post: async () => 204 });
    expect(other.kernel.secret).to.not.equal(kernel.secret);
    await other.close();
  });

  it('takes an order of 2,000 lines', async () => {
    const placed = await place(order(Array.from({ length: linesMax }, (_, n) => short(n)), 500));
    expect(isRefusal(placed)).to.equal(false);
    expect((await findOrder(kernel, (placed as OrderView).id))!.lines).to.have.length(linesMax);
  });

  it('refuses an order that could never be reserved in one message, before it is accepted', async () => {
    const skus = Array.from({ length: linesMax }, (_, n) => long(n));
    expect(await place(order(skus))).to.include({ refused: 'too-large', status: 413 });
    // The largest that is accepted does fit, with every number at its largest.
    let most = 1;
    for (let step = 1_024; step >= 1; step /= 2) {
      if (most + step <= linesMax && !isRefusal(await place(order(skus.slice(0, most + step))))) most += step;
    }
    expect(most).to.be.greaterThan(1_000);
    const lines = skus.slice(0, most).map((sku) => ({ sku, quantity: 1_000_000, available: 999_999_999_999, stockVersion: 999_999_999_999 }));
    const shipTo = { name: '🎁'.repeat(100), line1: '🎁'.repeat(100), line2: '🎁'.repeat(100), city: '🎁'.repeat(50), postcode: '🎁'.repeat(10), country: 'GB' };
    const data = InventoryReserved.parse({ orderId: '0'.repeat(26), shipTo, lines });
    expect(() => encode(say('InventoryReserved', data, { subject: data.orderId, sequence: 1, at: '2026-11-23T00:00:00.000Z' }).message)).to.not.throw();
  });
});
