import { expect } from 'chai';
import { ResolveBooking } from '../../core/shipping/events.ts';
import { say } from '../../core/kernel/model.ts';
import { handle } from '../../core/kernel/receive.ts';
import type { AnyService } from '../../core/kernel/service.ts';
import { shipping, sweepBookings } from '../../core/shipping/index.ts';
import { parcels, type ParcelCommand } from '../../core/shipping/parcel.ts';
import { isClaimed, shipments, troubleOf, type Shipment, type ShipmentCommand } from '../../core/shipping/shipment.ts';
import { Defect, PortError, type Booking, type Message, type OutboxBody, type TrackingStatus } from '../../ports/index.ts';
import { home } from '../support/client.ts';
import { given, permutations, types, withRepeats } from '../support/given.ts';
import { openWorld, throttled, toys, unavailable, type World } from '../support/world.ts';

const orderId = 'a'.repeat(26);
const other = 'b'.repeat(26);
const at = (minute: number): string => `2026-11-20T09:${String(minute).padStart(2, '0')}:00.000Z`;
const lines = [{ sku: 'A', quantity: 1, available: 0, stockVersion: 1 }];
const told = say('InventoryReserved', { orderId, shipTo: { ...home, name: 'Anna' }, lines }, { subject: orderId, sequence: 0, at: at(0) }).message;
const booking: Booking = { carrier: 'ups', trackingNumber: '1Z', trackingUrl: 'https://example.com/1Z' };

describe('shipping', () => {
  describe('a shipment', () => {
    const ship: ShipmentCommand = { do: 'ship', shipTo: { ...home, name: 'Anna' }, items: [{ sku: 'A', quantity: 1 }], at: at(1) };
    const stop: ShipmentCommand = { do: 'stop', orderId, at: at(2) };
    const confirm: ShipmentCommand = { do: 'confirm', orderId, booking };
    const giveUp: ShipmentCommand = { do: 'giveUp', orderId, refused: 'no such postcode', at: at(3) };
    const doubt: ShipmentCommand = { do: 'doubt' };

    it('claims the booking first, and says OrderFulfillment when it is confirmed', () => {
      const claimed = given(shipments, ship);
      expect(types(claimed.last)).to.deep.equal(['BookingClaimed']);
      expect(isClaimed(claimed.state)).to.equal(true);
      const { last, state } = given(shipments, ship, confirm);
      expect(last).to.deep.equal([{ type: 'OrderFulfillment', data: { orderId, ...booking } }]);
      expect(state.booking).to.deep.equal(booking);
    });

    it('is stopped by a cancellation that comes before the booking is claimed, and never ships then', () => {
      expect(types(given(shipments, stop).last)).to.deep.equal(['ShippingStopped']);
      expect(given(shipments, stop, ship).last).to.deep.equal([]);
      expect(isClaimed(given(shipments, stop, ship).state)).to.equal(false);
    });

    it('is not stopped by one that comes after', () => {
      for (const before of [[ship], [ship, doubt], [ship, confirm]]) {
        const { last, state } = given(shipments, ...before, stop);
        expect(types(last), 'it is remembered, so that nobody takes it for lost').to.deep.equal(['CancellationTooLate']);
        expect([state.tooLateAt, state.stoppedAt]).to.deep.equal([at(2), undefined]);
        expect(given(shipments, ...before, stop, stop).last).to.deep.equal([]);
      }
    });

    it('is stopped by a cancellation that came too late, when the carrier then refuses', () => {
      expect(types(given(shipments, ship, stop, giveUp).last)).to.deep.equal(['BookingRefused', 'ShippingStopped']);
    });

    it('is left over when the carrier took it after all and the order was cancelled because he had refused: a person calls it back', () => {
      const { last, state } = given(shipments, ship, giveUp, stop, confirm);
      expect(types(last)).to.deep.equal(['BookingLeftOver']);
      expect(troubleOf(state)).to.equal('leftOver');
      expect(given(shipments, ship, giveUp, stop, confirm, confirm).last).to.deep.equal([]);
      expect(troubleOf(given(shipments, ship, giveUp, stop, confirm, { do: 'calledBack' }).state)).to.equal(undefined);
    });

    it('is booked again when a person says so, and only if it is uncertain or refused', () => {
      const retry: ShipmentCommand = { do: 'retry', orderId, at: at(7) };
      for (const trouble of [giveUp, doubt]) {
        const { state } = given(shipments, ship, trouble, retry);
        expect([isClaimed(state), state.claimedAt, troubleOf(state), shipments.busy!(state)]).to.deep.equal([true, at(7), undefined, true]);
      }
      for (const fine of [[], [ship], [ship, confirm], [stop], [ship, giveUp, stop]]) expect(given(shipments, ...fine, retry).last).to.include({ status: 409 });
    });

    it('is not booked again when nothing was booked and the customer wanted to cancel meanwhile: he has it then', () => {
      const retry: ShipmentCommand = { do: 'retry', orderId, at: at(7) };
      const { last, state } = given(shipments, ship, doubt, stop, retry);
      expect(types(last)).to.deep.equal(['ShippingStopped']);
      expect([isClaimed(state), troubleOf(state), shipments.busy!(state)]).to.deep.equal([false, undefined, false]);
    });

    it('can still be stopped when the carrier will not take it', () => {
      expect(types(given(shipments, ship, giveUp, stop).last)).to.deep.equal(['ShippingStopped']);
    });

    it('is open exactly while its booking is claimed and somebody can do something about it', () => {
      const busy = (...commands: ShipmentCommand[]): boolean => shipments.busy!(given(shipments, ...commands).state);
      expect([busy(), busy(ship), busy(ship, confirm), busy(ship, giveUp), busy(ship, doubt), busy(stop)]).to.deep.equal([false, true, false, false, false, false]);
    });

    it('is confirmed also after doubt, and never without a claim', () => {
      expect(types(given(shipments, ship, doubt, confirm).last)).to.deep.equal(['OrderFulfillment']);
      expect(() => given(shipments, stop, confirm)).to.throw(Defect);
    });

    it('ships or stops, never both, in whatever order and however often it is told', () => {
      for (const arrival of permutations([ship, stop])) {
        for (const told of [arrival, withRepeats(arrival)]) {
          const { state, facts } = given(shipments, ...told);
          const booked = isClaimed(state);
          expect(booked).to.equal(arrival[0] === ship);
          expect(types(facts)).to.deep.equal(booked ? ['BookingClaimed', 'CancellationTooLate'] : ['ShippingStopped']);
        }
      }
      const end = given(shipments, ship, confirm);
      expect(given(shipments, ...withRepeats([ship, confirm])).state).to.deep.equal(end.state);
      expect(types(given(shipments, ...withRepeats([ship, confirm])).facts)).to.deep.equal(['BookingClaimed', 'OrderFulfillment']);
    });
  });

  describe('a parcel', () => {
    const assign: ParcelCommand = { do: 'assign', orderId, carrier: 'ups', trackingNumber: '1Z', bookedAt: at(0) };
    const track = (status: TrackingStatus, minute: number, noticeId = `${status}${minute}`): ParcelCommand =>
      ({ do: 'track', fact: { carrier: 'ups', trackingNumber: '1Z', status, occurredAt: at(minute), noticeId } });

    it('says OrderDelivered once, with the moment of the delivery, in whatever order booking and notices come', () => {
      const all = [assign, track('preTransit', 1), track('inTransit', 2), track('outForDelivery', 3), track('delivered', 4), track('inTransit', 5)];
      for (const arrival of permutations(all)) {
        for (const told of [arrival, withRepeats(arrival)]) {
          const { state, facts } = given(parcels, ...told);
          expect({ ...state, timeline: [] }).to.deep.equal({ orderId, status: 'delivered', statusAt: at(4), timeline: [] });
          expect(facts.filter(({ type }) => type === 'OrderDelivered').map(({ data }) => data)).to.deep.equal([{ orderId, carrier: 'ups', trackingNumber: '1Z', deliveredAt: at(4) }]);
        }
      }
    });

    it('keeps a notice that comes before the booking', () => {
      expect(types(given(parcels, track('delivered', 4)).last)).to.deep.equal(['ParcelTracked']);
      expect(types(given(parcels, track('delivered', 4), assign).last)).to.deep.equal(['ParcelAssigned', 'OrderDelivered']);
    });

    it('goes by what happened last, not by what was heard last', () => {
      expect(given(parcels, track('outForDelivery', 3), track('inTransit', 2)).state).to.include({ status: 'outForDelivery', statusAt: at(3) });
    });

    it('takes a second delivery for the first, and a repeated notice for one', () => {
      expect(types(given(parcels, assign, track('delivered', 4), track('delivered', 9)).facts)).to.deep.equal(['ParcelAssigned', 'ParcelTracked', 'OrderDelivered', 'ParcelTracked']);
      expect(given(parcels, assign, track('delivered', 4), track('inTransit', 9)).last).to.deep.equal([]);
      expect(given(parcels, assign, track('inTransit', 2, 'n'), track('inTransit', 2, 'n')).last).to.deep.equal([]);
    });

    it('does not grow with the number of notices', () => {
      const many = Array.from({ length: 500 }, (_, n) => track('inTransit', n % 60, `n${n}`));
      expect(given(parcels, ...many).state.timeline).to.have.length(30);
    });

    it('belongs to the order that was booked last, when the carrier uses its number again: what he said before was of the other', () => {
      const again: ParcelCommand = { ...assign, orderId: other, bookedAt: '2027-03-01T09:00:00.000Z' };
      const march = (day: number, noticeId: string): ParcelCommand =>
        ({ do: 'track', fact: { carrier: 'ups', trackingNumber: '1Z', status: 'delivered', occurredAt: `2027-03-0${day}T09:00:00.000Z`, noticeId } });
      expect(given(parcels, assign, assign).last).to.deep.equal([]);
      const { state, last } = given(parcels, assign, track('delivered', 4), again);
      expect(types(last)).to.deep.equal(['ParcelAssigned']);
      expect(state).to.include({ orderId: other, status: 'unknown' });
      for (const told of [[again, march(3, 'n')], [march(3, 'n'), again]]) {
        const { facts } = given(parcels, assign, track('delivered', 4), ...told, track('delivered', 4, 'late'));
        expect(facts.filter(({ type }) => type === 'OrderDelivered').map(({ data }) => [(data as { orderId: string }).orderId, (data as { deliveredAt: string }).deliveredAt])).to.deep.equal([
          [orderId, at(4)], [other, '2027-03-03T09:00:00.000Z'],
        ]);
      }
    });
  });

  describe('booking', () => {
    let world: World;
    let carrier: ReturnType<typeof strangeCarrier>;
    beforeEach(async () => {
      world = await openWorld({ still: true });
      carrier = strangeCarrier();
      world.interfere = (call, work) => (call.port === 'carrier' ? carrier.answer(call.method as 'book' | 'find', call.args[0]) : work());
    });
    afterEach(() => world.stop());

    const asked = say('CancellationRequested', { orderId }, { subject: orderId, sequence: 1, at: at(0) }).message;
    const hear = (message: Message = told): Promise<void> => world.play(handle(world.kernel, shipping as AnyService, message));
    const sweep = (): Promise<void> => world.play(sweepBookings(world.kernel, 10));
    const shipment = () => world.rows<{ state: Shipment }>('shipment')[0]!.body.state;
    const said = (): string[] => {
      const events = world.engines.stream.partitions('shipping').flatMap((partition) => {
        const batch = world.engines.stream.read('shipping', partition, undefined, 100);
        return 'events' in batch ? batch.events.map(({ text }) => (JSON.parse(text) as Message).type) : [];
      });
      return [...events, ...world.rows<OutboxBody>('outbox').map(({ body }) => body.message.type)];
    };

    it('books once however often it is told to ship', async () => {
      for (let n = 0; n < 3; n++) await hear();
      expect(carrier.booked).to.deep.equal([orderId]);
      expect(said()).to.deep.equal(['OrderFulfillment']);
      expect(world.rows('open')).to.deep.equal([]);
    });

    it('does not book what was cancelled before', async () => {
      await hear(asked);
      await hear();
      expect(carrier.booked).to.deep.equal([]);
      expect(said()).to.deep.equal(['ShippingStopped']);
    });

    it('tries again when it was certainly not booked, and then leaves it to the sweep', async () => {
      carrier.book = () => Promise.reject(throttled());
      await hear();
      expect(carrier.calls.filter((call) => call === 'book')).to.have.length(3);
      expect(isClaimed(shipment())).to.equal(true);
      carrier.book = undefined;
      await world.clock.advance(3_600_000);
      await sweep();
      expect(said()).to.deep.equal(['OrderFulfillment']);
    });

    it('gives no parcel to an order that was cancelled while the carrier first refused and then took it: its delivery is told to nobody', async () => {
      let take = (_: Booking): void => {};
      carrier.book = () => new Promise((resolve) => (take = resolve));
      const slow = handle(world.kernel, shipping as AnyService, told);
      await world.clock.idle();
      carrier.book = () => Promise.reject(new PortError('denied', 'no such postcode'));
      await hear();
      await hear(asked);
      take(booking);
      await world.play(slow);
      expect(said()).to.deep.equal(['ShippingStopped']);
      expect(troubleOf(shipment())).to.equal('leftOver');
      expect(world.rows('parcel')).to.deep.equal([]);
    });

    it('asks the carrier after an unknown outcome, and books again only when that is safe', async () => {
      carrier.book = async (id) => {
        carrier.booked.push(id);
        throw unavailable();
      };
      await hear();
      expect(carrier.calls).to.deep.equal(['book', 'find']);
      expect(carrier.booked).to.deep.equal([orderId]);
      expect(said()).to.deep.equal(['OrderFulfillment']);
    });

    it('books nothing again while the carrier cannot tell, and after five minutes it is a person\'s', async () => {
      carrier.book = () => Promise.reject(unavailable());
      carrier.find = async () => 'unknown';
      await hear();
      await hear();
      await world.clock.advance(200_000);
      await sweep();
      expect(shipment().uncertain).to.equal(undefined);
      await world.clock.advance(200_000);
      await sweep();
      expect(shipment().uncertain).to.equal(true);
      await hear();
      await sweep();
      expect(carrier.calls.filter((call) => call === 'book')).to.have.length(1);
      expect(world.rows('open')).to.deep.equal([]);
    });

    it('waits for a carrier that is down, however long, and blames nobody', async () => {
      carrier.book = () => Promise.reject(unavailable());
      carrier.find = () => Promise.reject(unavailable());
      await hear();
      await hear();
      await world.clock.advance(3_600_000);
      await sweep();
      expect(shipment().uncertain).to.equal(undefined);
      carrier.book = carrier.find = undefined;
      await sweep();
      expect(said()).to.deep.equal(['OrderFulfillment']);
    });

    it('gives up what the carrier will never take; then it can be cancelled', async () => {
      carrier.book = () => Promise.reject(new PortError('denied', 'no such postcode'));
      await hear();
      expect(shipment().refused).to.include('no such postcode');
      await hear(asked);
      expect(said()).to.deep.equal(['ShippingStopped']);
    });

    it('blames the carrier for no failure of the store: what is booked is never given up', async () => {
      let left = 20;
      const strange = world.interfere!;
      world.interfere = (call, work) =>
        call.port === 'store' && call.method === 'commit' && carrier.booked.length > 0 && left-- > 0 ? Promise.reject(new PortError('denied', 'by the test')) : strange(call, work);
      await hear().catch((error: unknown) => expect(error).to.have.property('kind', 'denied'));
      left = 0;
      expect(shipment().refused).to.equal(undefined);
      await world.clock.advance(60_000);
      await sweep();
      expect(carrier.booked).to.deep.equal([orderId]);
      expect(said()).to.deep.equal(['OrderFulfillment']);
    });

    it('makes good a crash between the booking and its confirmation', async () => {
      const strange = world.interfere!;
      world.interfere = async (call, work) => {
        if (carrier.booked.length > 0 && call.port === 'store') return new Promise(() => {}); // and the process is gone
        return strange(call, work);
      };
      void handle(world.kernel, shipping as AnyService, told).catch(() => {});
      await world.clock.idle();
      expect(carrier.booked).to.deep.equal([orderId]);
      world.interfere = strange;
      await world.restart();
      await world.clock.advance(60_000);
      await sweep();
      expect(carrier.booked).to.deep.equal([orderId]);
      expect(said()).to.deep.equal(['OrderFulfillment']);
    });

    it('comes back to the other bookings when one of them fails', async () => {
      carrier.book = () => Promise.reject(throttled());
      const ids = ['1', '2', '3', '4'].map((n) => n.repeat(26));
      for (const id of ids) await hear({ ...told, subject: id, data: { ...(told.data as object), orderId: id } });
      carrier.book = (id) => (id.startsWith('1') ? Promise.reject(new Error('a bug of the adapter')) : Promise.resolve({ carrier: 'ups', trackingNumber: id }));
      await world.clock.advance(60_000);
      await sweep();
      expect(said().filter((type) => type === 'OrderFulfillment')).to.have.length(3);
    });
  });

  describe('the door for notices', () => {
    it('keeps a notice that comes before the booking, and says OrderDelivered when the booking names the order', async () => {
      const world = await openWorld({ services: toys({}), still: true, deliversAfterSeconds: 5 });
      const { kernel } = world;
      // Booked and delivered, and the notice is here before the answer of the booking.
      let notices = 0;
      world.interfere = async (call, work) => {
        const answer = await work();
        if (call.port === 'carrier' && call.method === 'book' && notices++ === 0) {
          await world.clock.sleep(10_000);
          await world.tick();
        }
        return answer;
      };
      await world.play(handle(kernel, shipping as AnyService, told));
      const events = world.engines.stream.partitions('shipping').flatMap((partition) => {
        const batch = world.engines.stream.read('shipping', partition, undefined, 100);
        return 'events' in batch ? batch.events.map(({ text }) => (JSON.parse(text) as Message).type) : [];
      });
      expect(events).to.have.members(['OrderFulfillment', 'OrderDelivered']);
      await world.stop();
    });

    it('believes nobody whose signature is missing or wrong, and knows its carriers', async () => {
      const world = await openWorld({ still: true });
      const raw = Buffer.from(JSON.stringify({ id: 'n', carrier: 'demo', trackingNumber: '1', status: 'delivered', occurredAt: at(1) }));
      const notice = (carrier: string, headers: Record<string, string> = {}) =>
        shipping.answers.takeNotice(world.kernel, { params: { carrier }, query: undefined, body: undefined, idempotencyKey: undefined, headers, raw });
      expect(await notice('demo')).to.include({ status: 401 });
      expect(await notice('demo', { 'demo-signature': `sha256=${'0'.repeat(64)}` })).to.include({ status: 401 });
      expect(await notice('easypost')).to.include({ status: 503 });
      expect(await notice('pigeon')).to.include({ status: 404 });
      expect(world.rows('parcel')).to.deep.equal([]);
      await world.stop();
    });
  });
});

/** A carrier that does as the test likes; by itself it books, and knows what it has booked. */
function strangeCarrier() {
  const carrier = {
    booked: [] as string[],
    calls: [] as string[],
    book: undefined as ((id: string) => Promise<Booking>) | undefined,
    find: undefined as ((id: string) => Promise<Booking | 'none' | 'unknown'>) | undefined,
    async answer(method: 'book' | 'find', arg: string | { orderId: string }): Promise<unknown> {
      const id = typeof arg === 'string' ? arg : arg.orderId;
      carrier.calls.push(method);
      const own = carrier[method];
      if (own) return own(id);
      const known = { carrier: 'ups', trackingNumber: `T${id}` };
      if (method === 'find') return carrier.booked.includes(id) ? known : 'none';
      if (!carrier.booked.includes(id)) carrier.booked.push(id);
      return known;
    },
  };
  return carrier;
}

describe('The parcel that a person names', () => {
  it('has a carrier whose name in lower case, which is the one that is said, fits as well', () => {
    expect(ResolveBooking.safeParse({ carrier: 'I'.repeat(100), trackingNumber: 'T1' }).success).to.equal(true);
    expect(ResolveBooking.safeParse({ carrier: '\u0130'.repeat(100), trackingNumber: 'T1' }).success).to.equal(false);
  });
});
