import { isPortError, isRefusal, key, partitionOf, partsOf, refuse, timestamp, type Booking, type BookingRequest, type TrackingFact, type TrackingStatus } from '../../ports/index.ts';
import { collections } from '../flow.ts';
import { backOff, comeBack, execute, type Document } from '../kernel/execute.ts';
import { list } from '../kernel/list.ts';
import { causeOf, type Cause } from '../kernel/model.ts';
import type { Kernel, Reply, Service } from '../kernel/service.ts';
import type { BookingView, ResolveBooking } from './events.ts';
import { parcelId, parcels, type Parcel } from './parcel.ts';
import { isClaimed, notInTrouble, shipments, troubleOf, type Shipment } from './shipment.ts';

/** SHIPPING MANAGEMENT: books parcels, stops what is cancelled in time, and believes carriers whose signature is right. */

export const shipping: Service<'shipping'> = {
  name: 'shipping',

  hears: {
    async InventoryReserved(kernel, message) {
      const { orderId, shipTo, lines } = message.data;
      const items = lines.map(({ sku, quantity }) => ({ sku, quantity }));
      const outcome = await execute(kernel, shipments, { id: orderId, command: { do: 'ship', shipTo, items, at: now(kernel) } }, causeOf(message));
      if (isRefusal(outcome) || !isClaimed(outcome.state)) return;
      // A claim that was there before us may have been acted upon: that is asked first.
      await (outcome.facts.length > 0 ? book : goOn)(kernel, orderId, outcome.state, causeOf(message));
    },
    async CancellationRequested(kernel, message) {
      const { orderId } = message.data;
      await execute(kernel, shipments, { id: orderId, command: { do: 'stop', orderId, at: now(kernel) } }, causeOf(message));
    },
  },

  answers: {
    async takeNotice(kernel, { params, raw, headers }): Promise<Reply> {
      const reader = kernel.notices.get(params.carrier);
      if (!reader) return refuse(404, 'unknown-carrier', 'no carrier speaks here under this name');
      const answer = reader.read(raw, headers, kernel.clock.now());
      if ('facts' in answer) {
        for (const fact of answer.facts) await track(kernel, fact);
        return { status: 204 };
      }
      if (answer.refused === 'noSecret') return refuse(503, 'no-secret', 'no secret is set for this carrier, so nothing it says can be believed');
      if (answer.refused === 'forged') return refuse(401, 'bad-signature', answer.detail);
      return refuse(400, 'malformed-notice', answer.detail);
    },
    async listBookings(kernel, { query }): Promise<Reply> {
      if (query.orderId !== undefined) return bookingOf(kernel, query.orderId);
      const keep = ({ state }: Document<Shipment>): boolean => troubleOf(state) !== undefined && (query.state === undefined || troubleOf(state) === query.state);
      const { items, next } = await list<Document<Shipment>>(kernel.store, { collection: collections.shipments, noun: 'shipment', limit: query.limit, after: query.after, keep });
      return { status: 200, json: { items: items.map((row) => bookingView(partsOf(row.key)[1]!, row.body.state)), next } };
    },
    async retryBooking(kernel, { params }): Promise<Reply> {
      const outcome = await execute(kernel, shipments, { id: params.id, command: { do: 'retry', orderId: params.id, at: now(kernel) } }, { correlationid: params.id });
      if (isRefusal(outcome)) return outcome;
      if (isClaimed(outcome.state)) await book(kernel, params.id, outcome.state, { correlationid: params.id });
      return { status: 202 };
    },
    resolveBooking: (kernel, { params, body }) => resolveBooking(kernel, params.id, body),
  },

  ticks: {
    sweepBookings: (kernel) => sweepBookings(kernel, 10),
  },
};

/** Of one order: its booking, if it needs a person. */
async function bookingOf(kernel: Kernel, orderId: string): Promise<Reply> {
  const row = await kernel.store.get<Document<Shipment>>(partitionOf(collections.shipments, orderId), key('shipment', orderId));
  return { status: 200, json: { items: row && troubleOf(row.body.state) !== undefined ? [bookingView(orderId, row.body.state)] : [] } };
}

const now = (kernel: Kernel): string => timestamp(kernel.clock.now());

async function track(kernel: Kernel, fact: TrackingFact): Promise<void> {
  await execute(kernel, parcels, { id: parcelId(fact), command: { do: 'track', fact } }, { id: fact.noticeId });
}

// ---------------------------------------------------------------- what people see and say

function bookingView(orderId: string, shipment: Shipment): BookingView {
  const { claimedAt, refused, leftOver } = shipment;
  return { orderId, state: troubleOf(shipment)!, claimedAt: claimedAt!, ...(refused ? { detail: refused } : {}), ...(leftOver ? { parcel: leftOver } : {}) };
}

/** A person knows what became of it: the carrier has this parcel, or, of one that was left over, it has been called back. */
async function resolveBooking(kernel: Kernel, orderId: string, { carrier, trackingNumber, trackingUrl }: ResolveBooking): Promise<Reply> {
  const cause = { correlationid: orderId };
  const row = await kernel.store.get<Document<Shipment>>(partitionOf(collections.shipments, orderId), key('shipment', orderId));
  const trouble = row && troubleOf(row.body.state);
  if (!row || trouble === undefined) return notInTrouble;
  if (trouble === 'leftOver') {
    const outcome = await execute(kernel, shipments, { id: orderId, command: { do: 'calledBack' } }, cause);
    return isRefusal(outcome) ? outcome : { status: 204 };
  }
  if (carrier === undefined || trackingNumber === undefined) return refuse(422, 'no-parcel', 'say which parcel the carrier has: carrier and trackingNumber');
  const booking: Booking = { carrier: carrier.toLowerCase(), trackingNumber, ...(trackingUrl === undefined ? {} : { trackingUrl }) };
  if (await isAnothers(kernel, orderId, booking)) return refuse(409, 'another-order', 'this parcel is under way with another order; look at its number again');
  await confirm(kernel, orderId, booking, row.body.state.claimedAt!, cause);
  return { status: 204 };
}

const ended: readonly TrackingStatus[] = ['delivered', 'returned', 'failed'];

/** A number mistyped by a person would take the parcel from the order to which it belongs, which would never hear of its delivery. */
async function isAnothers(kernel: Kernel, orderId: string, booking: Booking): Promise<boolean> {
  const id = parcelId(booking);
  const parcel = (await kernel.store.get<Document<Parcel>>(partitionOf(collections.parcels, id), key('parcel', id)))?.body.state;
  return parcel?.orderId !== undefined && parcel.orderId !== orderId && !ended.includes(parcel.status);
}

// ---------------------------------------------------------------- booking

const triesMax = 3;
/** A claim that nobody has confirmed for so long, and of which the carrier cannot tell what became of it, is a person's. */
const uncertainAfterSeconds = 300;

/** What became of a claim. `none`: booking now is safe. `unknown`: the carrier cannot tell. `silent`: he does not answer. */
type Became = Booking | { readonly refused: string } | 'none' | 'unknown' | 'silent';

/** Books a parcel whose booking is claimed. A carrier that is down stops nobody else: after some tries the claim stays behind for the sweep. */
async function book(kernel: Kernel, orderId: string, shipment: Shipment, cause: Cause): Promise<void> {
  let became: Became = 'none';
  for (let attempt = 1; became === 'none' && attempt <= triesMax; attempt++) {
    if (attempt > 1) await backOff(kernel, attempt, { kind: 'throttled' });
    became = await tryToBook(kernel, { orderId, ...shipment.parcel! });
  }
  await note(kernel, orderId, shipment, became, cause);
}

/** Goes on with a claim that somebody has left behind. */
async function goOn(kernel: Kernel, orderId: string, shipment: Shipment, cause: Cause): Promise<void> {
  const became = await ask(kernel, orderId);
  if (became === 'none') await book(kernel, orderId, shipment, cause);
  else await note(kernel, orderId, shipment, became, cause);
}

async function tryToBook(kernel: Kernel, request: BookingRequest): Promise<Became> {
  try {
    return await kernel.carrier.book(request);
  } catch (error) {
    if (isPortError(error, 'denied', 'tooLarge')) return { refused: error.message };
    if (isPortError(error, 'throttled')) return 'none';
    if (isPortError(error, 'unavailable')) return ask(kernel, request.orderId);
    throw error;
  }
}

async function ask(kernel: Kernel, orderId: string): Promise<Became> {
  try {
    return await kernel.carrier.find(orderId);
  } catch (error) {
    if (isPortError(error)) return 'silent';
    throw error;
  }
}

async function note(kernel: Kernel, orderId: string, { claimedAt }: Shipment, became: Became, cause: Cause): Promise<void> {
  if (typeof became === 'object') {
    if ('refused' in became) await execute(kernel, shipments, { id: orderId, command: { do: 'giveUp', orderId, refused: became.refused, at: now(kernel) } }, cause);
    else await confirm(kernel, orderId, became, claimedAt!, cause);
    return;
  }
  kernel.log.warn({ orderId, became }, 'a booking is not confirmed; it waits for the sweep');
  const old = kernel.clock.now() - Date.parse(claimedAt!) > uncertainAfterSeconds * 1_000;
  if (became === 'unknown' && old) await execute(kernel, shipments, { id: orderId, command: { do: 'doubt' } }, cause);
}

/** The parcel is told its order before OrderFulfillment is said, so a crash between the two is made good by whoever comes back. */
async function confirm(kernel: Kernel, orderId: string, booking: Booking, bookedAt: string, cause: Cause): Promise<void> {
  const { carrier, trackingNumber } = booking;
  const row = await kernel.store.get<Document<Shipment>>(partitionOf(collections.shipments, orderId), key('shipment', orderId));
  // The parcel of an order that was cancelled is nobody's: were it to know the order, its delivery would be told to the customer.
  if (row?.body.state.stoppedAt === undefined) await execute(kernel, parcels, { id: parcelId(booking), command: { do: 'assign', orderId, carrier, trackingNumber, bookedAt } }, cause);
  await execute(kernel, shipments, { id: orderId, command: { do: 'confirm', orderId, booking } }, cause);
}

/** Goes on with bookings that were claimed longer than so many seconds ago. */
export async function sweepBookings(kernel: Kernel, olderThanSeconds: number): Promise<void> {
  await comeBack(kernel, collections.shipments, olderThanSeconds, async (orderId) => {
    const row = await kernel.store.get<Document<Shipment>>(partitionOf(collections.shipments, orderId), key('shipment', orderId));
    if (row && isClaimed(row.body.state)) await goOn(kernel, orderId, row.body.state, { correlationid: orderId });
  });
}
