import { expect } from 'chai';
import type { EventName } from '../../core/flow.ts';
import type { OrderPlaced } from '../../core/order/events.ts';
import { placeOrder } from '../../core/order/index.ts';
import { orders, statusOf, type OrderCommand } from '../../core/order/order.ts';
import { firstViewOf, viewOf } from '../../core/order/views.ts';
import { isRefusal, type Refusal } from '../../ports/index.ts';
import { anna, basket, home } from '../support/client.ts';
import { given, permutations, types, withRepeats } from '../support/given.ts';
import { openWorld, unavailable, type World } from '../support/world.ts';

const id = 'a'.repeat(26);
const at = (minute: number): string => `2026-11-20T09:${String(minute).padStart(2, '0')}:00.000Z`;
const placed: OrderPlaced = {
  orderId: id, placedAt: at(0), customer: anna, address: home, lines: [{ sku: 'A', name: 'A cup', quantity: 2, unitPrice: 250 }], total: { amount: 500, currency: 'GBP' },
};

const place: OrderCommand = { do: 'place', order: placed, fingerprint: 'f' };
const cancel: OrderCommand = { do: 'cancel', at: at(30) };
const hear = (type: EventName, minute: number, data: object = {}): OrderCommand => ({ do: 'hear', type, data: { orderId: id, ...data }, at: at(minute) });
const backordered = hear('Backordered', 1, { short: [] });
const reserved = hear('InventoryReserved', 2, { lines: [] });
const shipped = hear('OrderFulfillment', 3, { carrier: 'ups', trackingNumber: '1Z' });
const delivered = hear('OrderDelivered', 4, { carrier: 'ups', trackingNumber: '1Z', deliveredAt: at(4) });
const stopped = hear('ShippingStopped', 5);

describe('order', () => {
  describe('the model', () => {
    it('says OrderPlaced when it is placed, at the moment of placing', () => {
      const { facts, state } = given(orders, place);
      expect(facts.filter(({ type }) => type === 'OrderPlaced')).to.deep.equal([{ type: 'OrderPlaced', data: placed, at: at(0) }]);
      expect(statusOf(state)).to.equal('Placed');
    });

    it('is placed once: the same request again changes nothing, another one under the same key is refused', () => {
      expect(given(orders, place, place).last).to.deep.equal([]);
      expect(given(orders, place, { ...place, fingerprint: 'g' }).last).to.include({ refused: 'idempotency-key-reused', status: 422 });
    });

    const stories: [string, OrderCommand[], string][] = [
      ['reserved', [place, reserved], 'Reserved'],
      ['backordered', [place, backordered], 'Backordered'],
      ['backordered and reserved later', [place, backordered, reserved], 'Reserved'],
      ['shipped', [place, reserved, shipped], 'Shipped'],
      ['shipped before Order has heard of the reservation', [place, shipped], 'Shipped'],
      ['delivered', [place, reserved, shipped, delivered], 'Delivered'],
      ['delivered before Order has heard of the shipment', [place, delivered], 'Delivered'],
      ['stopped', [place, reserved, cancel, stopped], 'Cancelled'],
      ['asked to be cancelled, and nothing is decided', [place, reserved, cancel], 'Reserved'],
    ];
    for (const [what, commands, status] of stories) it(`is ${status} when it is ${what}`, () => expect(statusOf(given(orders, ...commands).state)).to.equal(status));

    it('asks for a cancellation once, and leaves the decision to Shipping', () => {
      expect(types(given(orders, place, cancel).last)).to.deep.equal(['CancellationRequested']);
      expect(given(orders, place, cancel, cancel).last).to.deep.equal([]);
      expect(given(orders, place, cancel, stopped, cancel).last).to.deep.equal([]);
    });

    it('refuses a cancellation that comes too late, or for an order that nobody has placed', () => {
      expect(given(orders, place, shipped, cancel).last).to.include({ refused: 'shipped-already', status: 409 });
      expect(given(orders, place, delivered, cancel).last).to.include({ refused: 'shipped-already', status: 409 });
      expect(given(orders, cancel).last).to.include({ refused: 'not-found', status: 404 });
      expect(given(orders, reserved, cancel).last).to.include({ refused: 'not-found', status: 404 });
    });

    for (const [what, all] of [['delivered', [place, backordered, reserved, shipped, delivered]], ['cancelled', [place, backordered, reserved, stopped]]] as const) {
      it(`ends as the same order, however the events of one that is ${what} arrive, and however often`, () => {
        const { state } = given(orders, ...all);
        for (const arrival of permutations<OrderCommand>(all)) {
          expect(given(orders, ...arrival).state).to.deep.equal(state);
          const often = given(orders, ...withRepeats(arrival));
          expect(often.state).to.deep.equal(state);
          expect(often.facts).to.have.length(all.length + 1);
        }
      });
    }

    it('ends as the same order, with all six events of one whose cancellation came too late', () => {
      const request = hear('CancellationRequested', 30);
      const all = [place, backordered, reserved, request, shipped, delivered];
      const { state } = given(orders, ...all);
      for (const arrival of permutations(all)) expect(given(orders, ...withRepeats(arrival)).state).to.deep.equal(state);
      expect(statusOf(state)).to.equal('Delivered');
    });
  });

  describe('the view', () => {
    it('tells the history in the order in which things happened, the status of the parcel, and the sums', () => {
      const view = viewOf(given(orders, place, delivered, shipped, reserved, backordered).state);
      expect(view.history.map(({ event }) => event)).to.deep.equal(['OrderPlaced', 'Backordered', 'InventoryReserved', 'OrderFulfillment', 'OrderDelivered']);
      expect(view.shipments).to.deep.equal([{ carrier: 'ups', trackingNumber: '1Z', status: 'Delivered' }]);
      expect(view.lines[0]).to.include({ quantity: 2, unitPrice: 250, amount: 500 });
      expect(view).to.not.have.property('cancellationRequestedAt');
      expect(viewOf(given(orders, place, cancel).state).cancellationRequestedAt).to.equal(at(30));
    });

    it('answers a repeated request as it answered the first, whatever has happened since', () => {
      expect(firstViewOf(given(orders, place, reserved, shipped).state)).to.deep.equal(viewOf(given(orders, place).state));
    });
  });

  describe('placing', () => {
    let world: World;
    beforeEach(async () => {
      world = await openWorld({ still: true });
      await world.describe('A', 0);
      await world.describe('B', 0);
    });
    afterEach(() => world.stop());
    const ask = (lines: [string, number][], idempotencyKey?: string) => world.play(world.kernel.published.placeOrder(basket(...lines), idempotencyKey));
    const refusal = async (lines: [string, number][]): Promise<Refusal> => {
      const answer = await ask(lines);
      if (!isRefusal(answer)) throw new Error('it was not refused');
      return answer;
    };

    it('takes the prices that Product publishes, and makes one line of each product', async () => {
      const answer = await ask([['A', 1], ['B', 2], ['A', 3]]);
      expect(answer).to.deep.include({ status: 'Placed', total: { amount: 1_500, currency: 'GBP' } });
      expect(!isRefusal(answer) && answer.lines.map(({ sku, quantity }) => [sku, quantity])).to.deep.equal([['A', 4], ['B', 2]]);
    });

    it('refuses products that do not exist, naming each place', async () => {
      expect((await refusal([['A', 1], ['X', 1], ['Y', 1]])).complaints?.map(({ pointer }) => pointer)).to.deep.equal(['/lines/1/sku', '/lines/2/sku']);
    });

    it('refuses more of one product than anybody can mean, also when it comes in several lines', async () => {
      expect(await refusal([['A', 1_000_000], ['A', 1]])).to.include({ status: 422, refused: 'too-much' });
    });

    it('makes one order of one Idempotency-Key, however often, at once, or over a restart', async () => {
      const first = await ask([['A', 1]], 'key');
      const answers = [await ask([['A', 1]], 'key')];
      await world.restart();
      answers.push(await ask([['A', 1]], 'key'));
      for (const answer of answers) expect(answer).to.deep.equal(first);
      expect(await ask([['A', 2]], 'key')).to.include({ status: 422, refused: 'idempotency-key-reused' });
      expect(world.rows('order').filter(({ partition }) => partition.startsWith('orders'))).to.have.length(1);
      const both = await world.play(Promise.all([1, 2].map(() => world.kernel.published.placeOrder(basket(['A', 1]), 'another'))));
      expect(both.map((answer) => (isRefusal(answer) ? answer.status : 201)).sort()).to.deep.equal([201, 409]);
    });

    it('makes one order when the answer of the store was lost, and answers the customer', async () => {
      let left = 1;
      world.interfere = async (call, work) => {
        const answer = await work();
        if (call.port === 'store' && call.method === 'commit' && left-- > 0) throw unavailable();
        return answer;
      };
      expect(await ask([['A', 1]], 'key')).to.include({ status: 'Placed' });
      world.interfere = undefined;
      expect(world.rows('order')).to.have.length(1);
    });

    it('answers 413 to an order that fits into no message, and keeps nothing of it', async () => {
      const products = async (skus: readonly string[]) => new Map(skus.map((sku) => [sku, { sku, name: '€'.repeat(200), description: '', price: { amount: 1, currency: 'GBP' }, stock: 'Low' as const, version: 1 }]));
      const kernel = { ...world.kernel, published: { ...world.kernel.published, products } };
      const lines = Array.from({ length: 1_000 }, (_, n) => ({ sku: `S${n}`, quantity: 1 }));
      const answer = await world.play(placeOrder(kernel, { customer: anna, address: home, lines }, undefined));
      expect(answer).to.include({ status: 413 });
      expect(world.rows('order')).to.deep.equal([]);
    });
  });
});
