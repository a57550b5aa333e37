import { must, type Booking, type BookingRequest, type Refusal, type ShipTo } from '../../ports/index.ts';
import { collections } from '../flow.ts';
import type { Fact, Model } from '../kernel/model.ts';

/**
 * A SHIPMENT: what Shipping knows of one order. It alone decides between a cancel and a shipment: on this one row the first of "booking claimed" and "cancellation
 * asked" wins. Booking is an effect beyond our commits: it is claimed first, then done, then confirmed.
 */
export interface Shipment {
  readonly parcel?: { readonly shipTo: ShipTo; readonly items: BookingRequest['items'] };
  /** RFC 3339. From now on a cancellation comes too late. */
  readonly claimedAt?: string;
  readonly booking?: Booking;
  readonly stoppedAt?: string;
  /** The carrier will not take it; a person has to look, or the customer cancels. */
  readonly refused?: string;
  /** Nobody knows whether the carrier took it; a person has to ask. */
  readonly uncertain?: true;
}

export type ShipmentCommand =
  | { readonly do: 'ship'; readonly shipTo: ShipTo; readonly items: BookingRequest['items']; readonly at: string }
  | { readonly do: 'stop'; readonly orderId: string; readonly at: string }
  | { readonly do: 'confirm'; readonly orderId: string; readonly booking: Booking }
  | { readonly do: 'giveUp'; readonly refused: string }
  | { readonly do: 'doubt' };

export const shipments: Model<Shipment, ShipmentCommand> = {
  service: 'shipping',
  collection: collections.shipments,
  noun: 'shipment',
  initial: {},
  remembers: 'state',
  decide,
  evolve,
  busy: (shipment) => isClaimed(shipment) && !shipment.uncertain,
};

export function isClaimed({ claimedAt, booking, refused }: Shipment): boolean {
  return claimedAt !== undefined && booking === undefined && refused === undefined;
}

function decide(shipment: Shipment, command: ShipmentCommand): readonly Fact[] | Refusal {
  const { claimedAt, booking, stoppedAt, refused } = shipment;
  switch (command.do) {
    case 'ship':
      if (stoppedAt !== undefined || claimedAt !== undefined) return [];
      return [{ type: 'BookingClaimed', data: { shipTo: command.shipTo, items: command.items }, at: command.at }];
    case 'stop':
      if (stoppedAt !== undefined || (claimedAt !== undefined && refused === undefined)) return [];
      return [{ type: 'ShippingStopped', data: { orderId: command.orderId }, at: command.at }];
    case 'confirm':
      if (booking !== undefined) return [];
      must(claimedAt !== undefined && stoppedAt === undefined, 'only a claimed booking is confirmed');
      return [{ type: 'OrderFulfillment', data: { orderId: command.orderId, ...command.booking } }];
    case 'giveUp':
      return isClaimed(shipment) ? [{ type: 'BookingRefused', data: command.refused }] : [];
    case 'doubt':
      return isClaimed(shipment) && !shipment.uncertain ? [{ type: 'BookingUncertain', data: null }] : [];
  }
}

function evolve(shipment: Shipment, { type, data, at = '' }: Fact): Shipment {
  switch (type) {
    case 'BookingClaimed':
      return { ...shipment, parcel: data as Shipment['parcel'], claimedAt: at };
    case 'OrderFulfillment': {
      const { carrier, trackingNumber, trackingUrl } = data as Booking;
      return { ...shipment, booking: { carrier, trackingNumber, ...(trackingUrl === undefined ? {} : { trackingUrl }) } };
    }
    case 'BookingRefused':
      return { ...shipment, refused: data as string };
    case 'BookingUncertain':
      return { ...shipment, uncertain: true };
    default:
      return { ...shipment, stoppedAt: at };
  }
}
