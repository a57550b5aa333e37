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

/**
 * A booking that a person has to look at. `uncertain`: the carrier never said whether he took the parcel. `refused`: he will not. `leftOver`: he did after all, when
 * the order had been cancelled already.
 */
export const BookingState = z.enum(['uncertain', 'refused', 'leftOver']);
export type BookingState = z.infer<typeof BookingState>;

export const BookingView = z
  .object({ orderId: OrderId, state: BookingState, claimedAt: Time, detail: z.string().optional(), parcel: z.object({ ...Parcel, trackingUrl: z.string().optional() }).optional() })
  .meta({ id: 'Booking' });
export type BookingView = z.infer<typeof BookingView>;

/** Carriers are named in lower case, and some letters are longer there. */
const named = Parcel.carrier.refine((name) => name.toLowerCase().length <= 100, 'must have at most 100 characters in lower case');

/** What a person says became of a booking: the parcel that the carrier has; of one that is left over nothing, it has been called back. */
export const ResolveBooking = z.object({ ...Parcel, carrier: named, trackingUrl: z.url({ protocol: /^https?$/ }).max(2_000).optional() }).partial({ carrier: true, trackingNumber: true }).meta({ id: 'ResolveBooking' });
export type ResolveBooking = z.infer<typeof ResolveBooking>;
