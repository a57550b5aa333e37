import { z } from 'zod';
import { Address, Amount, Currency, Customer, Money, OrderId, Quantity, Sku, Time, text } from '../shapes.ts';

/** The words of Order Management: what it says, what it is asked, what it answers. */

export const linesMax = 2_000;

/** A line as it was bought: the price is the one that Product published at that moment. */
export const OrderLine = z.object({ sku: Sku, name: z.string(), quantity: Quantity, unitPrice: Amount });
export type OrderLine = z.infer<typeof OrderLine>;

export const OrderPlaced = z.object({
  orderId: OrderId,
  placedAt: Time,
  customer: Customer,
  address: Address,
  lines: z.array(OrderLine).min(1).max(linesMax),
  total: Money,
});
export type OrderPlaced = z.infer<typeof OrderPlaced>;

export const CancellationRequested = z.object({ orderId: OrderId });

export const PlaceOrder = z
  .object({
    customer: Customer,
    address: Address,
    lines: z.array(z.object({ sku: Sku, quantity: Quantity })).min(1, 'must have at least one line').max(linesMax, `must have at most ${linesMax} lines`),
  })
  .meta({ id: 'PlaceOrder' });
export type PlaceOrder = z.infer<typeof PlaceOrder>;

export const OrderStatus = z.enum(['Placed', 'Backordered', 'Reserved', 'Shipped', 'Delivered', 'Cancelled']);
export type OrderStatus = z.infer<typeof OrderStatus>;

/** An order as everybody may see it who knows its id. */
export const OrderView = z
  .object({
    id: OrderId,
    status: OrderStatus,
    customer: Customer,
    address: Address,
    lines: z.array(OrderLine.extend({ amount: Amount })),
    total: z.object({ amount: Amount, currency: Currency }),
    shipments: z.array(z.object({ carrier: text(100), trackingNumber: text(100), trackingUrl: z.string().optional(), status: z.enum(['Shipped', 'Delivered']) })),
    history: z.array(z.object({ event: z.string(), at: Time })),
    cancellationRequestedAt: Time.optional(),
  })
  .meta({ id: 'Order' });
export type OrderView = z.infer<typeof OrderView>;
