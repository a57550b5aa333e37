import { expect } from 'chai';
import { isTransient, type Booking, type BookingRequest, type Carrier, type NoticeReader, type TrackingFact, type TrackingStatus } from '../../ports/index.ts';
import { casesOf, type Case, type Skips } from './case.ts';
import { failure, refusal } from './family.ts';

/** What a carrier tells of itself to be asked. */
export interface CarrierFamily {
  readonly name: string;
  /** Opens on a carrier that has no parcel of ours. */
  open(): Promise<Carrier>;
  /** Opens our side anew, on the same carrier. */
  restart(): Promise<Carrier>;
  close(): Promise<void>;
  /** The tracking numbers of all parcels, as the carrier himself counts them. */
  parcels(): Promise<readonly string[]>;
  /** The next booking is done, and its answer is lost on its way. */
  loseAnswer?(): Promise<void>;
  /** The next booking is refused for now, and certainly not done. */
  throttle?(): Promise<void>;
  /** From now on nobody reaches the carrier; `restart` ends it. */
  sever?(): Promise<void>;
  /** Lets the carrier say all that he has to say by now, to a shop that answers with this status; answers what was posted. */
  speak?(status: number): Promise<readonly Posted[]>;
  /** Believes what this carrier posts. */
  readonly reader?: NoticeReader;
  /** Lets time pass, and says what time it is. */
  pass?(milliseconds: number): Promise<number>;
  readonly skips?: Skips;
}

/** Header names are in lower case. */
export interface Posted {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

export function bookingOf(orderId: string, about: Partial<BookingRequest> = {}): BookingRequest {
  const shipTo = { name: 'Ada Lovelace', line1: '12 St James Square', city: 'London', postcode: 'SW1Y 4JH', country: 'GB' };
  return { orderId, shipTo, items: [{ sku: 'TEAPOT', quantity: 1 }], ...about };
}

export function carrierCases(family: CarrierFamily): Case[] {
  let carrier: Carrier;
  const place = { open: async () => void (carrier = await family.open()), close: () => family.close() };
  const hour = 3_600_000;

  async function factsOf(posted: readonly Posted[]): Promise<TrackingFact[]> {
    const now = await family.pass!(0);
    return posted.flatMap(({ headers, body }) => {
      const answer = family.reader!.read(body, headers, now);
      if ('refused' in answer) throw new Error(`${answer.refused}: ${answer.detail}`);
      return answer.facts;
    });
  }

  return casesOf(`carrier · ${family.name}`, family, place, ({ group, promises }) => {
    group('booking', () => {
      promises('books a parcel, and answers whose it is and how it is found', async () => {
        const booking = await carrier.book(bookingOf('order1'));
        expect(booking.carrier).to.match(/^[a-z0-9][a-z0-9 _-]{0,99}$/);
        expect(booking.trackingNumber).to.match(/^[\x21-\x7e][\x20-\x7e]{0,99}$/);
        expect(await family.parcels()).to.deep.equal([booking.trackingNumber]);
      });

      promises('books one parcel a key, however often it is asked, and answers the same each time', async () => {
        const first = await carrier.book(bookingOf('order1'));
        for (let n = 0; n < 3; n++) expect(await carrier.book(bookingOf('order1'))).to.deep.equal(first);
        expect(await family.parcels()).to.have.length(1);
      });

      promises('books one parcel a key, also when many ask at once', async () => {
        const bookings = await Promise.all([1, 2, 3, 4, 5].map(() => carrier.book(bookingOf('order1'))));
        for (const booking of bookings) expect(booking).to.deep.equal(bookings[0]);
        expect(await family.parcels()).to.have.length(1);
      });

      promises('honours the key for what it is, whatever else the second request says', async () => {
        const first = await carrier.book(bookingOf('order1'));
        const shipTo = { name: 'Eve', line1: '1 Elsewhere', city: 'Leeds', postcode: 'LS1 1AA', country: 'GB' };
        expect(await carrier.book(bookingOf('order1', { shipTo }))).to.deep.equal(first);
        expect(await family.parcels()).to.have.length(1);
      });

      promises('gives every order a parcel of its own', async () => {
        const orders = Array.from({ length: 30 }, (_, n) => `order${n}`);
        const bookings = await Promise.all(orders.map((order) => carrier.book(bookingOf(order))));
        expect(new Set(bookings.map(({ trackingNumber }) => trackingNumber)).size).to.equal(30);
        expect([...(await family.parcels())].sort()).to.deep.equal(bookings.map(({ trackingNumber }) => trackingNumber).sort());
      });

      promises('takes keys apart that differ in case, or of which one begins like the other', async () => {
        const numbers = new Set<string>();
        for (const order of ['order1', 'Order1', 'order', 'order11']) numbers.add((await carrier.book(bookingOf(order))).trackingNumber);
        expect(numbers.size).to.equal(4);
      });

      promises('takes names and addresses of every script, and many lines', async () => {
        const shipTo = { name: 'Jörg "O" Ødegård 漢', line1: 'Straße 1', line2: 'Aufgang ü', city: 'Århus', postcode: '8000', country: 'DK' };
        const items = Array.from({ length: 200 }, (_, n) => ({ sku: `SKU-${n}`, quantity: n + 1 }));
        const booking = await carrier.book(bookingOf('order1', { shipTo, items }));
        expect(await carrier.find('order1')).to.deep.equal(booking);
      });

      promises('gives the order away neither by the number nor by the link', async () => {
        const orderId = '7f9q2m4k8c1x5z3w6v0t9r2n4b';
        const { trackingNumber, trackingUrl } = await carrier.book(bookingOf(orderId));
        for (const shown of [trackingNumber, trackingUrl ?? '']) expect(shown.toLowerCase()).to.not.include(orderId);
        if (trackingUrl !== undefined) expect(new URL(trackingUrl).protocol).to.match(/^https?:$/);
      });
    });

    group('asking', () => {
      promises('finds a booking by its key, before and after a restart', async () => {
        const booking = await carrier.book(bookingOf('order1'));
        expect(await carrier.find('order1')).to.deep.equal(booking);
        carrier = await family.restart();
        expect(await carrier.find('order1')).to.deep.equal(booking);
        expect(await carrier.book(bookingOf('order1'))).to.deep.equal(booking);
        expect(await family.parcels()).to.have.length(1);
      });

      promises('answers none for what was never booked, and books nothing by being asked', async () => {
        await carrier.book(bookingOf('order1'));
        for (const other of ['order2', 'order', 'ORDER1', 'order1 ', '', '__proto__']) expect(await carrier.find(other), other).to.equal('none');
        expect(await family.parcels()).to.have.length(1);
      });

      promises('never makes a second parcel of one whose answer was lost', async () => {
        await family.loseAnswer!();
        await refusal('unavailable', carrier.book(bookingOf('order1')));
        expect(await family.parcels(), 'it was booked').to.have.length(1);
        const answer = await carrier.find('order1');
        if (answer === 'none') await carrier.book(bookingOf('order1'));
        else if (answer !== 'unknown') expect(answer.trackingNumber).to.equal((await family.parcels())[0]);
        expect(await family.parcels()).to.have.length(1);
      }, family.loseAnswer);

      promises('books nothing when it says throttled, and the next try does', async () => {
        await family.throttle!();
        await refusal('throttled', carrier.book(bookingOf('order1')));
        expect(await family.parcels()).to.deep.equal([]);
        expect(await carrier.find('order1')).to.equal('none');
        await carrier.book(bookingOf('order1'));
        expect(await family.parcels()).to.have.length(1);
      }, family.throttle);

      promises('answers a failure or unknown, and never none, when the carrier cannot be reached', async () => {
        const booking: Booking = await carrier.book(bookingOf('order1'));
        await family.sever!();
        await failure(carrier.book(bookingOf('order2')));
        for (const order of ['order1', 'order2']) {
          const answer: unknown = await carrier.find(order).catch((thrown: unknown) => thrown);
          expect(isTransient(answer) || answer === 'unknown', String(answer)).to.equal(true);
        }
        carrier = await family.restart();
        expect(await carrier.find('order1')).to.deep.equal(booking);
      }, family.sever);
    });

    group('what the carrier says', () => {
      promises('says that a parcel is delivered, in words that its reader believes, until somebody takes it, and then no more', async () => {
        const { carrier: name, trackingNumber } = await carrier.book(bookingOf('order1'));
        await family.pass!(hour);
        const [fact, ...others] = await factsOf(await family.speak!(204));
        expect(others).to.deep.equal([]);
        expect(fact).to.include({ carrier: name, trackingNumber, status: 'delivered' });
        expect(new Date(fact!.occurredAt).toISOString()).to.equal(fact!.occurredAt);
        for (let n = 0; n < 3; n++) {
          await family.pass!(hour);
          expect(await family.speak!(204)).to.deep.equal([]);
        }
      }, family.speak, family.reader, family.pass);

      promises('says nothing before there is anything to say', async () => {
        await carrier.book(bookingOf('order1'));
        expect(await family.speak!(204)).to.deep.equal([]);
      }, family.speak, family.reader, family.pass);

      for (const status of [500, 503, 404, 401, 301, 199]) {
        promises(`says a notice again that was answered with ${status}, in the same words and under the same notice id`, async () => {
          await carrier.book(bookingOf('order1'));
          await family.pass!(hour);
          const said: TrackingFact[] = [];
          for (let n = 0; n < 4; n++) {
            said.push(...(await factsOf(await family.speak!(status))));
            await family.pass!(hour);
          }
          said.push(...(await factsOf(await family.speak!(200))));
          expect(said.length).to.be.at.least(3);
          for (const fact of said) expect(fact).to.deep.equal(said[0]);
          await family.pass!(hour);
          expect(await family.speak!(200)).to.deep.equal([]);
        }, family.speak, family.reader, family.pass);
      }

      promises('gives notices of different parcels different ids', async () => {
        for (let n = 0; n < 20; n++) await carrier.book(bookingOf(`order${n}`));
        await family.pass!(hour);
        const facts = await factsOf(await family.speak!(204));
        expect(new Set(facts.map(({ noticeId }) => noticeId)).size).to.equal(20);
        expect(facts.map(({ trackingNumber }) => trackingNumber).sort()).to.deep.equal([...(await family.parcels())].sort());
      }, family.speak, family.reader, family.pass);

      promises('forgets over a restart neither what it has to say nor what was taken', async () => {
        await carrier.book(bookingOf('order1'));
        await family.pass!(hour);
        await family.speak!(204);
        await carrier.book(bookingOf('order2'));
        carrier = await family.restart();
        await family.pass!(hour);
        const facts = await factsOf(await family.speak!(204));
        const second = await carrier.book(bookingOf('order2'));
        expect(facts.map(({ trackingNumber }) => trackingNumber)).to.deep.equal([second.trackingNumber]);
      }, family.speak, family.reader, family.pass);

      promises('says a booking that was repeated once', async () => {
        await carrier.book(bookingOf('order1'));
        await family.pass!(1_000);
        await carrier.book(bookingOf('order1'));
        await family.pass!(hour);
        await carrier.book(bookingOf('order1'));
        expect(await factsOf(await family.speak!(204))).to.have.length(1);
        await family.pass!(hour);
        expect(await family.speak!(204)).to.deep.equal([]);
      }, family.speak, family.reader, family.pass);
    });
  });
}

export const trackingStatuses: readonly TrackingStatus[] = ['unknown', 'preTransit', 'inTransit', 'outForDelivery', 'availableForPickup', 'delivered', 'returned', 'failed'];
