import { must, refuse, type Booking, type BookingRequest, type Refusal, type ShipTo } from '../../ports/index.ts';
import { collections } from '../flow.ts';
import type { Fact, Model } from '../kernel/model.ts';
import type { BookingState } from './events.ts';

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
  /** When a cancellation was first heard that came after the claim: it stops nothing, and is remembered so that nobody takes it for lost. */
  readonly tooLateAt?: string;
  /** The carrier will not take it; a person has to look, or the customer cancels. */
  readonly refused?: string;
  /** Nobody knows whether the carrier took it; a person has to ask. */
  readonly uncertain?: true;
  /** The carrier took it after all, when the order had been cancelled because he had refused it: a person has to call the parcel back. */
  readonly leftOver?: Booking;
}

/** What a person has to look at, if anything. */
export function troubleOf(shipment: Shipment): BookingState | undefined {
  if (shipment.leftOver) return 'leftOver';
  if (shipment.stoppedAt !== undefined || shipment.booking) return undefined;
  if (shipment.refused !== undefined) return 'refused';
  return shipment.uncertain ? 'uncertain' : undefined;
}

export type ShipmentCommand =
  | { readonly do: 'ship'; readonly shipTo: ShipTo; readonly items: BookingRequest['items']; readonly at: string }
  | { readonly do: 'stop'; readonly orderId: string; readonly at: string }
  | { readonly do: 'confirm'; readonly orderId: string; readonly booking: Booking }
  | { readonly do: 'giveUp'; readonly orderId: string; readonly refused: string; readonly at: string }
  | { readonly do: 'doubt' }
  /** A person has looked: nothing was booked, or the carrier takes it now. It is booked again, under the same key; if the customer wanted to cancel meanwhile, he has it. */
  | { readonly do: 'retry'; readonly orderId: string; readonly at: string }
  /** A person has called back what was left over. */
  | { readonly do: 'calledBack' };

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

export function isClaimed({ claimedAt, booking, refused, stoppedAt }: Shipment): boolean {
  return claimedAt !== undefined && booking === undefined && refused === undefined && stoppedAt === undefined;
}

function decide(shipment: Shipment, command: ShipmentCommand): readonly Fact[] | Refusal {
  const { claimedAt, booking, stoppedAt, refused } = shipment;
  switch (command.do) {
    case 'ship':
      if (stoppedAt !== undefined || claimedAt !== undefined) return [];
      return [{ type: 'BookingClaimed', data: { shipTo: command.shipTo, items: command.items }, at: command.at }];
    case 'stop':
      if (stoppedAt !== undefined || shipment.tooLateAt !== undefined) return [];
      if (claimedAt !== undefined && refused === undefined) return [{ type: 'CancellationTooLate', data: null, at: command.at }];
      return [stopped(command.orderId, command.at)];
    case 'confirm':
      if (booking !== undefined) return [];
      must(claimedAt !== undefined, 'only a claimed booking is confirmed');
      if (stoppedAt !== undefined) return shipment.leftOver ? [] : [{ type: 'BookingLeftOver', data: command.booking }];
      return [{ type: 'OrderFulfillment', data: { orderId: command.orderId, ...command.booking } }];
    case 'giveUp':
      if (!isClaimed(shipment)) return [];
      // Who wanted to cancel meanwhile can have it now.
      return [{ type: 'BookingRefused', data: command.refused }, ...(shipment.tooLateAt === undefined ? [] : [stopped(command.orderId, command.at)])];
    case 'doubt':
      return isClaimed(shipment) && !shipment.uncertain ? [{ type: 'BookingUncertain', data: null }] : [];
    case 'retry': {
      const trouble = troubleOf(shipment);
      if (trouble !== 'uncertain' && trouble !== 'refused') return notInTrouble;
      return [shipment.tooLateAt === undefined ? { type: 'BookingRetried', data: null, at: command.at } : stopped(command.orderId, command.at)];
    }
    case 'calledBack':
      return shipment.leftOver ? [{ type: 'BookingCalledBack', data: null }] : notInTrouble;
  }
}

const stopped = (orderId: string, at: string): Fact => ({ type: 'ShippingStopped', data: { orderId }, at });

export const notInTrouble = refuse(409, 'nothing-to-resolve', 'only a booking that is uncertain, refused or left over needs a person');

function evolve(shipment: Shipment, { type, data, at = '' }: Fact): Shipment {
  switch (type) {
    case 'BookingClaimed':
      return { ...shipment, parcel: data as Shipment['parcel'], claimedAt: at };
    case 'OrderFulfillment': {
      const { carrier, trackingNumber, trackingUrl } = data as Booking;
      const { uncertain: _, refused: __, ...rest } = shipment;
      return { ...rest, booking: { carrier, trackingNumber, ...(trackingUrl === undefined ? {} : { trackingUrl }) } };
    }
    case 'BookingRefused':
      return { ...shipment, refused: data as string };
    case 'BookingUncertain':
      return { ...shipment, uncertain: true };
    case 'BookingRetried': {
      const { uncertain: _, refused: __, ...rest } = shipment;
      return { ...rest, claimedAt: at };
    }
    case 'BookingLeftOver':
      return { ...shipment, leftOver: data as Booking };
    case 'BookingCalledBack': {
      const { leftOver: _, ...rest } = shipment;
      return rest;
    }
    case 'CancellationTooLate':
      return { ...shipment, tooLateAt: at };
    default:
      return { ...shipment, stoppedAt: at };
  }
}
