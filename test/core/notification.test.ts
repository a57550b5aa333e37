import { expect } from 'chai';
import type { DataOf, EventName } from '../../core/flow.ts';
import { say, type Fact } from '../../core/kernel/model.ts';
import { handle } from '../../core/kernel/receive.ts';
import type { AnyService } from '../../core/kernel/service.ts';
import type { MailState, Milestone } from '../../core/notification/events.ts';
import { mails, notification, sweepClaims } from '../../core/notification/index.ts';
import { claimsOf, letters, type Letters, type LettersCommand, type Reached } from '../../core/notification/letters.ts';
import { letterOf } from '../../core/notification/views.ts';
import type { OrderPlaced } from '../../core/order/events.ts';
import { PortError, type Letter, type Message } from '../../ports/index.ts';
import { anna, home } from '../support/client.ts';
import { given, permutations, withRepeats } from '../support/given.ts';
import { openWorld, throttled, unavailable, type World } from '../support/world.ts';

const orderId = 'a'.repeat(26);
const at = (minute: number): string => `2026-11-20T09:${String(minute).padStart(2, '0')}:00.000Z`;
const placed: OrderPlaced = {
  orderId, placedAt: at(0), customer: anna, address: home, lines: [{ sku: 'A', name: 'A cup', quantity: 2, unitPrice: 250 }], total: { amount: 500, currency: 'GBP' },
};
const parcel = { carrier: 'ups', trackingNumber: '1Z' };

describe('notification', () => {
  describe('the letters of an order', () => {
    const hear = (milestone: Milestone, reached: Partial<Reached> = {}, order?: OrderPlaced): LettersCommand => ({ do: 'hear', milestone, reached: { at: at(1), ...reached }, by: 'me', now: at(9), ...(order ? { order } : {}) });
    const confirmation = hear('confirmation', {}, placed);
    const confirm = (milestone: Milestone, state: Exclude<MailState, 'sending'>, by = 'me'): LettersCommand => ({ do: 'confirm', milestone, state, by, now: at(9) });
    const claim = (milestone: Milestone): LettersCommand => ({ do: 'claim', milestone, by: `${milestone} again`, now: at(9) });
    const claimed = (facts: readonly Fact[]): Milestone[] => facts.flatMap(({ type, data }) => (type === 'MailClaimed' ? [(data as { milestone: Milestone }).milestone] : []));
    const lastClaims = (...commands: LettersCommand[]): Milestone[] => {
      const { last } = given(letters, ...commands);
      return 'refused' in last ? [] : claimed(last);
    };

    it('are claimed once per milestone, ever', () => {
      expect(lastClaims(confirmation)).to.deep.equal(['confirmation']);
      expect(given(letters, confirmation, confirmation).last).to.deep.equal([]);
      expect(given(letters, hear('shipped'), hear('shipped')).last).to.deep.equal([]);
      for (const state of ['sent', 'uncertain', 'refused', 'waiting'] as const) expect(lastClaims(confirmation, confirm('confirmation', state), confirmation)).to.deep.equal([]);
    });

    it('wait for the order when its milestones are heard first, and then the confirmation goes first', () => {
      expect(lastClaims(hear('shipped', { parcel }))).to.deep.equal([]);
      expect(lastClaims(hear('shipped', { parcel }), hear('delivered', { parcel }), confirmation)).to.deep.equal(['confirmation', 'shipped', 'delivered']);
    });

    it('are claimed again only when they were certainly not sent', () => {
      expect(lastClaims(confirmation, claim('confirmation'))).to.deep.equal([]);
      expect(lastClaims(confirmation, confirm('confirmation', 'waiting'), claim('confirmation'))).to.deep.equal(['confirmation']);
      for (const state of ['sent', 'uncertain', 'refused'] as const) expect(lastClaims(confirmation, confirm('confirmation', state), claim('confirmation'))).to.deep.equal([]);
    });

    it('are sent by whoever has claimed them, also when he never heard that his claim was taken', () => {
      const { state } = given(letters, confirmation, confirmation);
      expect(claimsOf(state, 'me')).to.deep.equal(['confirmation']);
      expect(claimsOf(state, 'somebody else')).to.deep.equal([]);
      expect(claimsOf(given(letters, confirmation, confirm('confirmation', 'sent')).state, 'me')).to.deep.equal([]);
    });

    it('are a person\'s when they are uncertain or refused: he says that they were sent, or has them sent again', () => {
      const resolve = (state: 'sent' | 'waiting'): LettersCommand => ({ do: 'resolve', milestone: 'confirmation', state, now: at(9) });
      for (const doubtful of ['uncertain', 'refused'] as const) {
        for (const state of ['sent', 'waiting'] as const) expect(given(letters, confirmation, confirm('confirmation', doubtful), resolve(state)).state.mails.confirmation?.state).to.equal(state);
      }
      for (const sure of ['sent', 'waiting'] as const) expect(given(letters, confirmation, confirm('confirmation', sure), resolve('waiting')).last).to.include({ status: 409 });
      expect(given(letters, confirmation, resolve('sent')).last, 'somebody is sending it at this moment').to.include({ status: 409 });
      expect(given(letters, resolve('sent')).last).to.include({ status: 404 });
    });

    it('stay sent, whatever is said of them later', () => {
      const { state } = given(letters, confirmation, confirm('confirmation', 'sent'), confirm('confirmation', 'waiting'));
      expect(state.mails.confirmation?.state).to.equal('sent');
    });

    it('do not wait again for what became of an older claim; but that they were sent counts, whoever says it', () => {
      const claimedAgain = [confirmation, confirm('confirmation', 'waiting'), claim('confirmation')];
      for (const state of ['waiting', 'refused', 'uncertain'] as const) expect(given(letters, ...claimedAgain, confirm('confirmation', state)).last).to.deep.equal([]);
      for (const before of [claimedAgain, claimedAgain.slice(0, 2)]) expect(given(letters, ...before, confirm('confirmation', 'sent')).state.mails.confirmation?.state).to.equal('sent');
    });

    it('are open exactly while one of them is being sent or waits', () => {
      const busy = (...commands: LettersCommand[]): boolean => letters.busy!(given(letters, ...commands).state);
      expect(busy(hear('shipped'))).to.equal(false);
      expect(busy(confirmation)).to.equal(true);
      expect(busy(confirmation, confirm('confirmation', 'waiting'))).to.equal(true);
      for (const state of ['sent', 'uncertain', 'refused'] as const) expect(busy(confirmation, confirm('confirmation', state))).to.equal(false);
    });

    it('end as the same letters, however the events of the order arrive, and however often', () => {
      const all = [confirmation, hear('backorder', { short: ['A'] }), hear('shipped', { parcel }), hear('delivered', { parcel }), hear('cancelled')];
      const { state } = given(letters, ...all);
      for (const arrival of permutations(all)) {
        const often = given(letters, ...withRepeats(arrival));
        expect(often.state).to.deep.equal(state);
        expect(claimed(often.facts)).to.have.members(['confirmation', 'backorder', 'shipped', 'delivered', 'cancelled']).and.have.length(5);
      }
    });
  });

  describe('what they say', () => {
    const settings = { shopName: 'Anyport', shopUrl: 'https://shop.example', lowStockAt: 10 };
    const state = (order: Partial<OrderPlaced>, reached: Letters['reached'] = {}): Letters => ({ order: { ...placed, ...order }, reached, mails: {} });

    it('name what was ordered, the sums, the parcel, and where to look', () => {
      const { key, to, subject, text, html } = letterOf(state({}, { shipped: { at: at(3), parcel } }), 'shipped', settings);
      expect(key).to.equal(`${orderId}.shipped`);
      expect(to).to.deep.equal({ name: anna.name, address: anna.email });
      expect(subject).to.include('on its way');
      for (const part of ['A cup', 'ups 1Z', `https://shop.example/orders/${orderId}`, anna.name]) for (const body of [text, html]) expect(body).to.include(part);
    });

    it('hold no HTML of a stranger', () => {
      const { html } = letterOf(state({ customer: { ...anna, name: '<script>alert(1)</script>' } }, { shipped: { at: at(3), parcel: { ...parcel, trackingUrl: 'javascript:alert(1)' } } }), 'shipped', settings);
      expect(html).to.not.include('<script').and.not.include('javascript:');
    });
  });

  describe('sending', () => {
    let world: World;
    /** Every try that has reached the mailer, and what comes of it; a mailer that knows nothing of its past. */
    let tries: string[];
    let send: (letter: Letter) => Promise<void>;
    let ask: () => Promise<'sent' | 'notSent' | 'unknown'>;
    beforeEach(async () => {
      world = await openWorld({ still: true });
      tries = [];
      send = async () => {};
      ask = async () => 'unknown';
      world.interfere = (call, work) => {
        if (call.port !== 'mailer') return work();
        if (call.method === 'ask') return ask();
        const letter = call.args[0] as Letter;
        tries.push(letter.key.split('.')[1]!);
        return send(letter);
      };
    });
    afterEach(() => world.stop());

    const event = <E extends EventName>(type: E, data: DataOf<E>): Message => say(type, data, { subject: orderId, sequence: 0, at: at(1) }).message;
    const order = event('OrderPlaced', placed);
    const hear = (message: Message = order): Promise<void> => world.play(handle(world.kernel, notification as AnyService, message));
    const sweep = (): Promise<void> => world.play(sweepClaims(world.kernel, 300));
    const state = async (): Promise<string> => (await mails(world.kernel, { limit: 50 })).items.map((mail) => `${mail.milestone} ${mail.state}`).join(', ');
    /** The process ends at this moment. */
    const forever = (): Promise<never> => new Promise(() => {});

    it('sends one letter per milestone, ever, however often the events are heard', async () => {
      const shipped = event('OrderFulfillment', { orderId, ...parcel });
      for (let n = 0; n < 3; n++) for (const message of [shipped, order, event('OrderDelivered', { orderId, ...parcel, deliveredAt: at(4) })]) await hear(message);
      await world.clock.advance(3_600_000);
      await sweep();
      expect(tries).to.deep.equal(['confirmation', 'shipped', 'delivered']);
    });

    it('sends one letter also when many hear the same event at once', async () => {
      const other = { ...world.kernel, store: { ...world.kernel.store } };
      await world.play(Promise.all([world.kernel, other, world.kernel, other].map((kernel) => handle(kernel, notification as AnyService, order))));
      expect(tries).to.deep.equal(['confirmation']);
    });

    it('waits when the mailer is too busy, and sends later', async () => {
      send = () => Promise.reject(throttled());
      await hear();
      expect(tries).to.have.length(3);
      expect(await state()).to.equal('confirmation waiting');
      await world.clock.advance(60_000);
      await sweep();
      expect(await state()).to.equal('confirmation waiting');
      send = async () => {};
      await world.clock.advance(60_000);
      await sweep();
      expect(await state()).to.equal('confirmation sent');
      expect(world.rows('open')).to.deep.equal([]);
      await sweep();
      expect(tries).to.have.length(7);
    });

    it('repeats nothing of which nobody can tell whether it was sent: it is uncertain, and a person\'s', async () => {
      send = () => Promise.reject(unavailable());
      await hear();
      expect(await state()).to.equal('confirmation uncertain');
      await hear();
      await world.clock.advance(3_600_000);
      await sweep();
      expect(tries).to.deep.equal(['confirmation']);
    });

    it('asks the mailer after an unknown outcome: what was sent is sent, what was not is sent later', async () => {
      send = () => Promise.reject(unavailable());
      ask = async () => 'sent';
      await hear();
      expect(await state()).to.equal('confirmation sent');
      ask = async () => 'notSent';
      await hear(event('ShippingStopped', { orderId }));
      expect(await state()).to.equal('cancelled waiting, confirmation sent');
      send = async () => {};
      await world.clock.advance(60_000);
      await sweep();
      expect(tries).to.deep.equal(['confirmation', 'cancelled', 'cancelled']);
    });

    it('asks again while the mailer does not answer, and calls nothing uncertain meanwhile', async () => {
      send = () => Promise.reject(unavailable());
      ask = () => Promise.reject(unavailable());
      await hear();
      await world.clock.advance(3_600_000);
      await sweep();
      expect(await state()).to.equal('confirmation sending');
      ask = async () => 'sent';
      await sweep();
      expect(await state()).to.equal('confirmation sent');
      expect(tries).to.deep.equal(['confirmation']);
    });

    it('never sends again after a crash between sending and confirming', async () => {
      const mailer = world.interfere!;
      world.interfere = (call, work) => (tries.length > 0 && call.port === 'store' ? forever() : mailer(call, work));
      void handle(world.kernel, notification as AnyService, order).catch(() => {});
      await world.clock.idle();
      expect(tries).to.deep.equal(['confirmation']);
      world.interfere = mailer;
      await world.restart();
      await hear();
      await world.clock.advance(60_000);
      await sweep();
      expect(await state(), 'it is not asked too early').to.equal('confirmation sending');
      await world.clock.advance(301_000);
      await sweep();
      await hear();
      expect(await state()).to.equal('confirmation uncertain');
      expect(tries).to.deep.equal(['confirmation']);
    });

    it('sends after a crash between claiming and sending, when the mailer knows that it never got it', async () => {
      send = forever;
      void handle(world.kernel, notification as AnyService, order).catch(() => {});
      await world.clock.idle();
      await world.restart();
      send = async () => {};
      ask = async () => 'notSent';
      await world.clock.advance(301_000);
      await sweep();
      expect(await state()).to.equal('confirmation sent');
      expect(tries).to.have.length(2);
    });

    it('sends once what two sweeps have found at the same moment', async () => {
      send = forever;
      void handle(world.kernel, notification as AnyService, order).catch(() => {});
      await world.clock.idle();
      await world.restart();
      tries.length = 0;
      /** The slower one hears from the mailer what was true when it asked. */
      let asked = 0;
      let sending = (): void => {};
      const first = new Promise<void>((resolve) => (sending = resolve));
      ask = async () => {
        if (++asked > 1) await first;
        return 'notSent';
      };
      send = async () => {
        sending();
        await world.clock.sleep(1_000);
      };
      await world.clock.advance(301_000);
      await world.play(Promise.all([sweepClaims(world.kernel, 300), sweepClaims(world.kernel, 300)]));
      expect(tries).to.deep.equal(['confirmation']);
      expect(await state()).to.equal('confirmation sent');
    });

    for (const kind of ['throttled', 'unavailable', 'conflict', 'denied'] as const) {
      it(`takes no failure of the store (${kind}) for one of the mailer: what is sent is not sent again`, async () => {
        let left = 20;
        const mailer = world.interfere!;
        world.interfere = (call, work) => (tries.length > 0 && call.port === 'store' && call.method === 'commit' && left-- > 0 ? Promise.reject(new PortError(kind, 'by the test')) : mailer(call, work));
        await hear().catch((error: unknown) => expect(error).to.be.instanceOf(PortError));
        left = 0;
        expect(await state()).to.equal('confirmation sending');
        ask = async () => 'sent';
        await world.clock.advance(301_000);
        await sweep();
        await hear();
        expect(await state()).to.equal('confirmation sent');
        expect(tries).to.deep.equal(['confirmation']);
      });
    }

    it('gives up what the mailer will never take', async () => {
      send = () => Promise.reject(new PortError('denied', 'no such mailbox'));
      await hear();
      await world.clock.advance(3_600_000);
      await sweep();
      expect(await state()).to.equal('confirmation refused');
      expect(tries).to.have.length(1);
    });

    it('lists letters page by page, of one order and of one state', async () => {
      for (const n of [1, 2, 3]) {
        const id = String(n).repeat(26);
        await hear({ ...order, subject: id, data: { ...placed, orderId: id } });
        if (n === 2) send = () => Promise.reject(new PortError('denied', 'by the test'));
        await hear({ ...event('ShippingStopped', { orderId: id }), subject: id });
      }
      const found: string[] = [];
      let after: string | undefined;
      do {
        const page = await mails(world.kernel, { limit: 1, ...(after === undefined ? {} : { after }) });
        found.push(...page.items.map(({ id }) => `${id[0]} ${id.split('.')[1]}`));
        after = page.next;
      } while (after !== undefined);
      expect(found).to.deep.equal(['1 cancelled', '1 confirmation', '2 cancelled', '2 confirmation', '3 cancelled', '3 confirmation']);
      expect((await mails(world.kernel, { limit: 50, orderId: '2'.repeat(26) })).items).to.have.length(2);
      expect((await mails(world.kernel, { limit: 50, state: 'refused' })).items.map(({ id }) => id[0])).to.deep.equal(['2', '3', '3']);
    });
  });
});
