import { z } from 'zod';
import { OrderId, Time } from '../shapes.ts';

/** The words of Shipping Management. */

const Parcel = { carrier: z.string().min(1).max(100), trackingNumber: z.string().min(1).max(100) };

/** The order items are with the carrier. */
export const OrderFulfillment = z.object({ orderId: OrderId, ...Parcel, trackingUrl: z.string().max(2_000).optional() });
export type OrderFulfillment = z.infer<typeof OrderFulfillment>;

/** A carrier says that the shipment has been delivered. Said once per order. */
export const OrderDelivered = z.object({ orderId: OrderId, ...Parcel, deliveredAt: Time });
export type OrderDelivered = z.infer<typeof OrderDelivered>;

/** The cancellation came before the booking: nothing of this order will ever be shipped. */
export const ShippingStopped = z.object({ orderId: OrderId });
export type ShippingStopped = z.infer<typeof ShippingStopped>;
