import { z } from 'zod';
import { Address, OrderId, Quantity, Sku } from '../shapes.ts';
import { linesMax } from '../order/events.ts';

/** The words of Inventory Management. */

const Count = z.int().min(0);

/**
 * How much of a product can be sold, as of a version that counts the changes of its stock. Between products there is no order, so a listener keeps the highest
 * version of each.
 */
export const StockLevel = z.object({ sku: Sku, available: Count, stockVersion: Count });
export type StockLevel = z.infer<typeof StockLevel>;

/** All lines of the order are reserved. Carries the address, because Shipping listens to this and to nothing else that has it. */
export const InventoryReserved = z.object({
  orderId: OrderId,
  shipTo: Address.extend({ name: z.string() }),
  lines: z.array(StockLevel.extend({ quantity: Quantity })).min(1).max(linesMax),
});
export type InventoryReserved = z.infer<typeof InventoryReserved>;

/** Not all lines can be reserved at this moment; the order has its place in the queue. `short` names at most 20 products. */
export const Backordered = z.object({ orderId: OrderId, short: z.array(z.object({ sku: Sku, needed: Count, free: Count })).max(20) });
export type Backordered = z.infer<typeof Backordered>;

/** Stock arrived or came back. */
export const StockChanged = z.object({ levels: z.array(StockLevel).min(1).max(100) });
export type StockChanged = z.infer<typeof StockChanged>;

/** Inventory to itself: orders that wait for these products may be lucky now. */
export const StockFreed = z.object({ skus: z.array(Sku).min(1).max(100) });
export type StockFreed = z.infer<typeof StockFreed>;

export const Receipt = z.object({ quantity: Quantity }).meta({ id: 'Receipt' });

/** `received = available + reserved + shipped` at every moment. */
export const StockView = z.object({ sku: Sku, received: Count, available: Count, reserved: Count, shipped: Count }).meta({ id: 'Stock' });
export type StockView = z.infer<typeof StockView>;
