/**
 * CARRIER: whoever takes a parcel and tells where it is.
 *
 * - `book` is an effect beyond our commits; the order id is the idempotency key. Errors mean what they mean for a mailer: `throttled` certainly not booked,
 *   `denied` refused for good, `unavailable` UNKNOWN.
 * - `find` answers what became of a key: the booking, `none` (booking now is safe: never booked, or the carrier honours the key), or `unknown`.
 */
export interface Carrier {
  book(request: BookingRequest): Promise<Booking>;
  find(orderId: string): Promise<Booking | 'none' | 'unknown'>;
}

export interface BookingRequest {
  readonly orderId: string;
  readonly shipTo: ShipTo;
  readonly items: readonly { readonly sku: string; readonly quantity: number }[];
  /** W3C trace context of the call, for a carrier that hands it on. */
  readonly traceparent?: string;
}

export interface ShipTo {
  readonly name: string;
  readonly line1: string;
  readonly line2?: string;
  readonly city: string;
  readonly postcode: string;
  /** ISO 3166-1 alpha-2. */
  readonly country: string;
}

export interface Booking {
  /** Lower case, as the carrier's notices name it. */
  readonly carrier: string;
  readonly trackingNumber: string;
  readonly trackingUrl?: string;
}

/** What a carrier's notice says, whoever carried it and in whatever format. */
export interface TrackingFact {
  /** Lower case. */
  readonly carrier: string;
  readonly trackingNumber: string;
  readonly status: TrackingStatus;
  /** RFC 3339, UTC: when it happened, by the carrier's clock. */
  readonly occurredAt: string;
  /** Unique per notice; repeats of a notice have the same. */
  readonly noticeId: string;
}

export type TrackingStatus = 'unknown' | 'preTransit' | 'inTransit' | 'outForDelivery' | 'availableForPickup' | 'delivered' | 'returned' | 'failed';

/**
 * NOTICES: one for each format in which carriers speak. Signatures are verified over the raw bytes, in constant time.
 * A notice that is genuine but concerns no production parcel (test mode, another kind of event) is an empty list.
 */
export interface NoticeReader {
  read(raw: Uint8Array, headers: Readonly<Record<string, string | undefined>>, now: number): NoticeAnswer;
}
export type NoticeAnswer =
  | { readonly facts: readonly TrackingFact[] }
  /** `noSecret`: none is set, so nothing can be believed. `forged`: missing, wrong or stale signature. `malformed`: genuine, but unreadable. */
  | { readonly refused: 'noSecret' | 'forged' | 'malformed'; readonly detail: string };
