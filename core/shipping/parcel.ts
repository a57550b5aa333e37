import { must, type TrackingFact, type TrackingStatus } from '../../ports/index.ts';
import { collections } from '../flow.ts';
import type { Fact, Model } from '../kernel/model.ts';

/**
 * A PARCEL, named by carrier and tracking number. Both the booking and the carrier's notices write to it, in either order: a notice for a parcel that is not known yet
 * is kept until the booking names the order. Delivered is the end; what comes later, or is older than what is known, changes nothing.
 */
export interface Parcel {
  readonly orderId?: string;
  readonly status: TrackingStatus;
  /** RFC 3339, by the carrier's clock. */
  readonly statusAt: string;
  /** The latest ones, for a person. */
  readonly timeline: readonly { readonly status: TrackingStatus; readonly at: string; readonly noticeId: string }[];
}

export type ParcelCommand = { readonly do: 'assign'; readonly orderId: string; readonly carrier: string; readonly trackingNumber: string } | { readonly do: 'track'; readonly fact: TrackingFact };

const timelineMax = 30;

export const parcels: Model<Parcel, ParcelCommand> = {
  service: 'shipping',
  collection: collections.parcels,
  noun: 'parcel',
  initial: { status: 'unknown', statusAt: '', timeline: [] },
  remembers: 'state',
  decide,
  evolve,
};

export const parcelId = ({ carrier, trackingNumber }: { carrier: string; trackingNumber: string }): string => `${carrier}|${trackingNumber}`;

function decide(parcel: Parcel, command: ParcelCommand): readonly Fact[] {
  if (command.do === 'assign') return assign(parcel, command);
  const { fact } = command;
  if (parcel.status === 'delivered' || parcel.timeline.some(({ noticeId }) => noticeId === fact.noticeId)) return [];
  const tracked: Fact = { type: 'ParcelTracked', data: fact };
  return fact.status === 'delivered' && parcel.orderId !== undefined ? [tracked, delivered(parcel.orderId, fact, fact.occurredAt)] : [tracked];
}

function assign(parcel: Parcel, { orderId, carrier, trackingNumber }: Extract<ParcelCommand, { do: 'assign' }>): Fact[] {
  if (parcel.orderId === orderId) return [];
  must(parcel.orderId === undefined, 'a carrier gives a tracking number to one order');
  const assigned: Fact = { type: 'ParcelAssigned', data: orderId };
  return parcel.status === 'delivered' ? [assigned, delivered(orderId, { carrier, trackingNumber }, parcel.statusAt)] : [assigned];
}

function delivered(orderId: string, { carrier, trackingNumber }: { carrier: string; trackingNumber: string }, deliveredAt: string): Fact {
  return { type: 'OrderDelivered', data: { orderId, carrier, trackingNumber, deliveredAt } };
}

function evolve(parcel: Parcel, { type, data }: Fact): Parcel {
  if (type === 'ParcelAssigned') return { ...parcel, orderId: data as string };
  if (type !== 'ParcelTracked') return parcel;
  const { status, occurredAt: at, noticeId } = data as TrackingFact;
  const timeline = [...parcel.timeline, { status, at, noticeId }].slice(-timelineMax);
  const newer = status === 'delivered' || at >= parcel.statusAt;
  return newer ? { ...parcel, status, statusAt: at, timeline } : { ...parcel, timeline };
}
