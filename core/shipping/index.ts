import { isPortError, isRefusal, key, partitionOf, refuse, timestamp, type Booking, type TrackingFact } from '../../ports/index.ts';
import { collections } from '../flow.ts';
import { backOff, execute, openLongerThan, type Document } from '../kernel/execute.ts';
import { causeOf, type Cause } from '../kernel/model.ts';
import type { Kernel, Reply, Service } from '../kernel/service.ts';
import { parcelId, parcels } from './parcel.ts';
import { isClaimed, shipments, type Shipment } from './shipment.ts';

/** SHIPPING MANAGEMENT: books parcels, stops what is cancelled in time, and believes carriers whose signature is right. */

export const shipping: Service<'shipping'> = {
  name: 'shipping',

  hears: {
    async InventoryReserved(kernel, message) {
      const { orderId, shipTo, lines } = message.data;
      const items = lines.map(({ sku, quantity }) => ({ sku, quantity }));
      const outcome = await execute(kernel, shipments, { id: orderId, command: { do: 'ship', shipTo, items, at: timestamp(kernel.clock.now()) } }, causeOf(message));
      if (!isRefusal(outcome) && isClaimed(outcome.state)) await book(kernel, orderId, outcome.state, causeOf(message));
    },
    async CancellationRequested(kernel, message) {
      const { orderId } = message.data;
      await execute(kernel, shipments, { id: orderId, command: { do: 'stop', orderId, at: timestamp(kernel.clock.now()) } }, causeOf(message));
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
  },

  ticks: {
    sweepBookings: (kernel) => sweepBookings(kernel, 10),
  },
};

async function track(kernel: Kernel, fact: TrackingFact): Promise<void> {
  await execute(kernel, parcels, { id: parcelId(fact), command: { do: 'track', fact } }, { id: fact.noticeId });
}

// ---------------------------------------------------------------- booking

const triesMax = 3;
/** A claim that nobody has confirmed for so long, and of which the carrier cannot tell what became of it, is a person's. */
const uncertainAfterSeconds = 300;

/**
 * Books a parcel whose booking is claimed. A carrier that is down stops nobody else: after some tries the claim stays behind for the sweep.
 * The parcel is told its order before OrderFulfillment is said, so a crash between the two is made good by whoever comes back.
 */
async function book(kernel: Kernel, orderId: string, { parcel }: Shipment, cause: Cause): Promise<void> {
  for (let attempt = 1; attempt <= triesMax; attempt++) {
    try {
      return await confirm(kernel, orderId, await kernel.carrier.book({ orderId, ...parcel! }), cause);
    } catch (error) {
      if (isPortError(error, 'denied', 'tooLarge')) {
        await execute(kernel, shipments, { id: orderId, command: { do: 'giveUp', refused: error.message } }, cause);
        return;
      }
      if (!isPortError(error, 'throttled', 'unavailable')) throw error;
      if (error.kind === 'unavailable' && !(await safeToRepeat(kernel, orderId, cause))) return;
      await backOff(kernel, attempt, error);
    }
  }
  kernel.log.warn({ orderId }, 'the carrier does not answer; the booking waits for the sweep');
}

async function confirm(kernel: Kernel, orderId: string, booking: Booking, cause: Cause): Promise<void> {
  const { carrier, trackingNumber } = booking;
  await execute(kernel, parcels, { id: parcelId(booking), command: { do: 'assign', orderId, carrier, trackingNumber } }, cause);
  await execute(kernel, shipments, { id: orderId, command: { do: 'confirm', orderId, booking } }, cause);
}

/** After an unknown outcome: asks the carrier. Confirms what it has booked; `false` when there is nothing more to do now. */
async function safeToRepeat(kernel: Kernel, orderId: string, cause: Cause): Promise<boolean> {
  const found = await kernel.carrier.find(orderId).catch(() => 'unknown' as const);
  if (found === 'none') return true;
  if (found !== 'unknown') await confirm(kernel, orderId, found, cause);
  return false;
}

/** Goes on with bookings that were claimed longer than so many seconds ago. */
export async function sweepBookings(kernel: Kernel, olderThanSeconds: number): Promise<void> {
  for await (const orderId of openLongerThan(kernel, collections.shipments, olderThanSeconds)) {
    const row = await kernel.store.get<Document<Shipment>>(partitionOf(collections.shipments, orderId), key('shipment', orderId));
    if (!row || !isClaimed(row.body.state)) continue;
    const { state } = row.body;
    const cause = { correlationid: orderId };
    if (await safeToRepeat(kernel, orderId, cause)) await book(kernel, orderId, state, cause);
    else if (kernel.clock.now() - Date.parse(state.claimedAt!) > uncertainAfterSeconds * 1_000) {
      await execute(kernel, shipments, { id: orderId, command: { do: 'doubt' } }, cause);
    }
  }
}
