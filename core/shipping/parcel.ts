import type { TrackingFact, TrackingStatus } from '../../ports/index.ts';
import { collections } from '../flow.ts';
import type { Fact, Model } from '../kernel/model.ts';

/**
 * A PARCEL, named by carrier and tracking number. Both the booking and the carrier's notices write to it, in either order: a notice for a parcel that is not known yet
 * is kept until the booking names the order. What is older than what is known changes nothing but the timeline; delivered is
 * the end, and what is heard after it not even that.
 *
 * Carriers use their numbers again, after months (https://docs.easypost.com/docs/trackers: codes are not unique). Then the number names the newer order, and what the
 * carrier said before that order was booked was said of the older one.
 */
export interface Parcel {
  readonly orderId?: string;
  /** Of a number that is used again: when it was booked for this order (RFC 3339). */
  readonly since?: string;
  readonly status: TrackingStatus;
  /** RFC 3339, by the carrier's clock. */
  readonly statusAt: string;
  /** The latest ones by the carrier's clock, for a person. */
  readonly timeline: readonly { readonly status: TrackingStatus; readonly at: string; readonly noticeId: string }[];
}

export type ParcelCommand = { readonly do: 'assign'; readonly orderId: string; readonly carrier: string; readonly trackingNumber: string; readonly bookedAt: string } | { readonly do: 'track'; readonly fact: TrackingFact };

const timelineMax = 30;
/** How far a carrier's clock may be behind ours, when it is asked which of two orders he means. */
const slackMilliseconds = 3_600_000;

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
  if (parcel.timeline.some(({ noticeId }) => noticeId === fact.noticeId)) return [];
  // Of what comes after the delivery, only another delivery may be of a later parcel under the same number.
  if (parcel.status === 'delivered' && fact.status !== 'delivered') return [];
  const tracked: Fact = { type: 'ParcelTracked', data: fact };
  const arrives = fact.status === 'delivered' && parcel.status !== 'delivered' && isOurs(parcel.since, fact.occurredAt);
  return arrives && parcel.orderId !== undefined ? [tracked, delivered(parcel.orderId, fact, fact.occurredAt)] : [tracked];
}

const isOurs = (since: string | undefined, at: string): boolean => since === undefined || Date.parse(at) >= Date.parse(since) - slackMilliseconds;

function assign(parcel: Parcel, { orderId, carrier, trackingNumber, bookedAt }: Extract<ParcelCommand, { do: 'assign' }>): Fact[] {
  if (parcel.orderId === orderId) return [];
  const assigned: Fact = { type: 'ParcelAssigned', data: { orderId, ...(parcel.orderId === undefined ? {} : { since: bookedAt }) } };
  const now = evolve(parcel, assigned);
  return now.status === 'delivered' ? [assigned, delivered(orderId, { carrier, trackingNumber }, now.statusAt)] : [assigned];
}

function delivered(orderId: string, { carrier, trackingNumber }: { carrier: string; trackingNumber: string }, deliveredAt: string): Fact {
  return { type: 'OrderDelivered', data: { orderId, carrier, trackingNumber, deliveredAt } };
}

function evolve(parcel: Parcel, { type, data }: Fact): Parcel {
  if (type === 'ParcelAssigned') {
    const { orderId, since } = data as { orderId: string; since?: string };
    return since === undefined ? { ...parcel, orderId } : parcel.timeline.reduce(seen, { orderId, since, status: 'unknown', statusAt: '', timeline: parcel.timeline });
  }
  if (type !== 'ParcelTracked') return parcel;
  const { status, occurredAt: at, noticeId } = data as TrackingFact;
  return { ...seen(parcel, { status, at }), timeline: [...parcel.timeline, { status, at, noticeId }].sort(byTime).slice(-timelineMax) };
}

type Scan = Parcel['timeline'][number];
const byTime = (a: Scan, b: Scan): number => (a.at !== b.at ? (a.at < b.at ? -1 : 1) : further(a.status, b.status) || (a.noticeId < b.noticeId ? -1 : 1));

/** Many carriers tell the minute and no more: of two scans of one moment the one that is further on counts, whichever is heard last. */
const ways: readonly TrackingStatus[] = ['unknown', 'preTransit', 'inTransit', 'outForDelivery', 'availableForPickup', 'failed', 'returned', 'delivered'];
const further = (a: TrackingStatus, b: TrackingStatus): number => ways.indexOf(a) - ways.indexOf(b);

/** What a scan makes of the status. */
function seen(parcel: Parcel, { status, at }: Pick<Parcel['timeline'][number], 'status' | 'at'>): Parcel {
  const newer = parcel.status !== 'delivered' && (status === 'delivered' || at > parcel.statusAt || (at === parcel.statusAt && further(status, parcel.status) > 0));
  return newer && isOurs(parcel.since, at) ? { ...parcel, status, statusAt: at } : parcel;
}
