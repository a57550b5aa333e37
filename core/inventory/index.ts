import { isRefusal, refuse } from '../../ports/index.ts';
import { collections } from '../flow.ts';
import { openLongerThan } from '../kernel/execute.ts';
import { causeOf, type Cause } from '../kernel/model.ts';
import type { Kernel, Reply, Service } from '../kernel/service.ts';
import { advance } from './advance.ts';
import { stockKey, stockPartition, type Stock } from './rows.ts';
import { findStock, queueOf, receiveStock } from './stock.ts';

/** INVENTORY MANAGEMENT: reserves all lines of an order or none, eldest first, and never sells a unit twice. */

export const inventory: Service<'inventory'> = {
  name: 'inventory',

  hears: {
    OrderPlaced: (kernel, message) => advance(kernel, message.data.orderId, { why: 'placed', order: message.data }, causeOf(message)),
    OrderFulfillment: (kernel, message) => advance(kernel, message.data.orderId, { why: 'shipped' }, causeOf(message)),
    ShippingStopped: (kernel, message) => advance(kernel, message.data.orderId, { why: 'cancelled' }, causeOf(message)),
    async StockFreed(kernel, message) {
      for (const sku of message.data.skus) await wake(kernel, sku, causeOf(message));
    },
  },

  answers: {
    async receiveStock(kernel, { params: { sku }, body, idempotencyKey }): Promise<Reply> {
      if (!(await isKnown(kernel, sku))) return unknown;
      const answer = await receiveStock(kernel, sku, body.quantity, idempotencyKey);
      return isRefusal(answer) ? answer : { status: 201, json: answer };
    },
    async getStock(kernel, { params: { sku } }): Promise<Reply> {
      return (await isKnown(kernel, sku)) ? { status: 200, json: await findStock(kernel.store, sku) } : unknown;
    },
  },

  ticks: {
    sweepOpenOrders: (kernel) => sweepOpenOrders(kernel, 120),
  },
};

const unknown = refuse(404, 'not-found', 'there is no such product');
const isKnown = async (kernel: Kernel, sku: string): Promise<boolean> => (await kernel.published.products([sku])).has(sku);

/**
 * Wakes, eldest first, every order whose claim the stock may cover: not the head of the queue alone, for the head may be blocked by another product.
 */
async function wake(kernel: Kernel, sku: string, cause: Cause): Promise<void> {
  const partition = stockPartition(sku);
  const stock = await kernel.store.get<Stock>(partition, stockKey(sku));
  if (!stock || stock.body.waiters === 0) return;
  let wanted = 0;
  for await (const { body } of queueOf(kernel.store, partition, sku)) {
    wanted += body.quantity;
    if (wanted > stock.body.available) return;
    await advance(kernel, body.orderId, { why: 'wake' }, cause);
  }
}

/** Goes on with orders that have been open for longer than so many seconds. Redelivery is the quick way back; this is the one that is guaranteed. */
export async function sweepOpenOrders(kernel: Kernel, olderThanSeconds: number): Promise<void> {
  const failures: unknown[] = [];
  for await (const orderId of openLongerThan(kernel, collections.invorder, olderThanSeconds)) {
    // One order that cannot go on must not hold back those behind it.
    await advance(kernel, orderId, { why: 'wake' }).catch((error: unknown) => failures.push(error));
  }
  if (failures.length > 0) throw failures[0];
}

export { receiveStock };
