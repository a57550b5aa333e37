import { expect } from 'chai';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openEmbedded } from '../../adapters/embedded/index.ts';
import { harsh, openMemory } from '../../adapters/memory/index.ts';
import { collections, subscriptions, doors, queues, streams, type Door, type DoorName } from '../../core/flow.ts';
import { execute } from '../../core/kernel/execute.ts';
import { horizonDays } from '../../core/kernel/forget.ts';
import { say } from '../../core/kernel/model.ts';
import { deathsMax, park } from '../../core/kernel/park.ts';
import { unsent } from '../../core/kernel/relay.ts';
import type { AnyService, Kernel } from '../../core/kernel/service.ts';
import type { OrderView } from '../../core/order/events.ts';
import { shipping } from '../../core/shipping/index.ts';
import { parcels } from '../../core/shipping/parcel.ts';
import { shipments } from '../../core/shipping/shipment.ts';
import { openShop } from '../../handlers/container.ts';
import { handlers, services as allServices } from '../../handlers/index.ts';
import { startPump } from '../../handlers/pump.ts';
import { parseSettings } from '../../handlers/settings.ts';
import { Defect, Invalid, PortError, create, key, partitionOf, remove, timestamp, type Letter, type Message, type Row } from '../../ports/index.ts';
import { anna, basket, home } from '../support/client.ts';
import { createClock, type VirtualClock } from '../support/clock.ts';
import { createIds } from '../support/ids.ts';
import { createLog } from '../support/log.ts';
import { openWorld, throttled, unavailable, type Call } from '../support/world.ts';

/** THE DESK, door by door, as people use it: over the handlers, with the real services behind, on a clock that stands still until it is moved. */

const adminToken = 'the-token-of-the-desk';

interface Answer {
  readonly status: number;
  // oxlint-disable-next-line typescript/no-explicit-any -- a foreign program's view: JSON as it comes
  readonly body: any;
}

interface Asked {
  readonly params?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

interface Shop {
  readonly clock: VirtualClock;
  readonly kernel: Kernel;
  /** What has been handled, in order: `service event subject sequence`. */
  readonly handled: string[];
  /** While it is set, what a handler throws at a message. */
  broken: ((service: string, message: Message) => Error | undefined) | undefined;
  /** While it is set, how a call to a driver goes; `undefined`: as always. */
  interfere: ((call: Call, work: () => Promise<unknown>) => Promise<unknown> | undefined) | undefined;
  ask(door: DoorName, asked?: Asked): Promise<Answer>;
  /** As above, and fails unless the answer has that status. */
  expect(status: number, door: DoorName, asked?: Asked): Promise<Answer['body']>;
  play<Result>(work: Promise<Result>): Promise<Result>;
  describe(sku: string, quantity: number): Promise<void>;
  place(...lines: [string, number][]): Promise<string>;
  status(id: string): Promise<OrderView['status']>;
  stop(): Promise<void>;
}

const families = ['memory', 'embedded'] as const;

async function open(family: (typeof families)[number]): Promise<Shop> {
  const clock = createClock();
  const dataDir = mkdtempSync(join(tmpdir(), 'anyport-desk-'));
  const memory = openMemory({ clock, queues, streams });
  const embedded = family === 'embedded' ? await openEmbedded({ dataDir, clock, queues, streams }) : undefined;
  const drivers = embedded ?? memory;
  const handled: string[] = [];
  const knobs: Pick<Shop, 'broken' | 'interfere'> = { broken: undefined, interfere: undefined };
  const settings = parseSettings({ ADAPTERS: 'memory', DEMO_CARRIER_DELIVERS_AFTER_SECONDS: '3', DEMO_CARRIER_SECRET: 'a secret of the demo carrier' });
  const opened = await play(
    openShop(settings, {
      clock, ids: createIds(7), log: createLog(),
      memory: { ...memory, store: faced('store', drivers.store), queue: faced('queue', drivers.queue), stream: faced('stream', drivers.stream), mailer: faced('mailer', memory.mailer) },
      async post(carrier, headers, raw) {
        return (await shipping.answers.takeNotice(kernel, { params: { carrier }, query: undefined, body: undefined, idempotencyKey: undefined, headers, raw })).status;
      },
    }),
  );
  const kernel: Kernel = { ...opened.kernel, carrier: faced('carrier', opened.kernel.carrier) };
  const pump = startPump(kernel, allServices.map(watched), { everySeconds: { sweepBookings: 10, sweepClaims: 30 }, timers: [{ name: 'demoCarrier', everySeconds: 2, tick: () => opened.carrier.tick() }] });

  const shop: Shop = Object.assign(knobs, {
    clock, kernel, handled, play,
    async ask(name: DoorName, { params = {}, query = {}, body }: Asked = {}) {
      const door: Door = doors[name];
      const bytes = body === undefined ? new Uint8Array() : new TextEncoder().encode(JSON.stringify(body));
      const headers = { authorization: `Bearer ${adminToken}`, 'content-type': 'application/json' };
      const event = { method: door.method, path: door.path, params, query: new URLSearchParams(query), headers, body: bytes };
      const answer = await play(handlers[name](event, { kernel, adminToken }));
      const text = String(answer.body);
      const json: unknown = text === '' ? undefined : JSON.parse(text);
      const shape = door.replies[answer.status];
      if (shape) expect(shape.safeParse(json).error?.issues, `${name} answers in the declared shape`).to.equal(undefined);
      else if (answer.status >= 400) expect([400, 503, ...(door.refuses ?? [])], `${name} declares this refusal`).to.include(answer.status);
      return { status: answer.status, body: json };
    },
    async expect(status: number, name: DoorName, asked?: Asked): Promise<Answer['body']> {
      const answer = await shop.ask(name, asked);
      expect(answer.status, JSON.stringify(answer.body)).to.equal(status);
      return answer.body;
    },
    async describe(sku: string, quantity: number) {
      await shop.expect(201, 'describeProduct', { params: { sku }, body: { name: sku, price: { amount: 250, currency: 'GBP' } } });
      if (quantity > 0) await shop.expect(201, 'receiveStock', { params: { sku }, body: { quantity } });
    },
    place: async (...lines: [string, number][]) => ((await shop.expect(201, 'placeOrder', { body: basket(...lines) })) as OrderView).id,
    status: async (id: string) => ((await shop.expect(200, 'getOrder', { params: { id } })) as OrderView).status,
    async stop() {
      knobs.interfere = undefined;
      await play(pump.stop());
      await opened.close();
      await embedded?.close();
      memory.close();
      rmSync(dataDir, { recursive: true, force: true });
    },
  });

  function watched(service: AnyService): AnyService {
    const hears = Object.entries(service.hears).map(([event, handle]) => [
      event,
      async (its: Kernel, message: Message): Promise<void> => {
        const error = knobs.broken?.(service.name, message);
        if (error) throw error;
        await handle(its, message as never);
        handled.push(`${service.name} ${event} ${message.subject} ${Number(message.sequence)}`);
      },
    ] as const);
    return { ...service, hears: Object.fromEntries(hears) };
  }

  function faced<Driver extends object>(port: Call['port'], driver: Driver): Driver {
    return new Proxy(driver, {
      get(target, method) {
        const member: unknown = Reflect.get(target, method);
        if (typeof member !== 'function') return member;
        return (...args: unknown[]): unknown => {
          const work = async (): Promise<unknown> => Reflect.apply(member, target, args) as unknown;
          return knobs.interfere?.({ port, method: String(method), args }, work) ?? work();
        };
      },
    });
  }

  async function play<Result>(work: Promise<Result>): Promise<Result> {
    let settled = false;
    const mark = (): void => void (settled = true);
    work.then(mark, mark);
    for (await clock.idle(); !settled; ) if (!(await clock.next())) await new Promise((resolve) => setTimeout(resolve, 1));
    return work;
  }

  return shop;
}

// ---------------------------------------------------------------- messages

const idOf = (n: number): string => `order${n}`.padEnd(26, '0');
const noon = Date.parse('2026-11-20T09:00:00.000Z');

function placed(n: number, at = noon): Message {
  const lines = [{ sku: 'A', name: 'A', quantity: 1, unitPrice: 1 }];
  const data = { orderId: idOf(n), placedAt: timestamp(at), customer: anna, address: home, lines, total: { amount: 1, currency: 'GBP' } };
  return say('OrderPlaced', data, { subject: idOf(n), sequence: 0, at: timestamp(at) }).message;
}
const requested = (n: number, sequence: number): Message => say('CancellationRequested', { orderId: idOf(n) }, { subject: idOf(n), sequence, at: timestamp(noon) }).message;
const spoiled = (n: number): Message => ({ ...placed(n), data: { orderId: idOf(n) } });
const unreadable = (n: number): Message => ({ ...placed(n), id: '' });

const isCommitOf = ({ port, method, args }: Call, collection: { name: string }): boolean => port === 'store' && method === 'commit' && String(args[0]).startsWith(`${collection.name}~`);

/** Once, when such a commit is about to be made, something else is done first. */
function once(shop: Shop, wanted: (call: Call) => boolean, first: () => Promise<unknown>): void {
  shop.interfere = (call, work) => {
    if (!wanted(call)) return undefined;
    shop.interfere = undefined;
    return first().then(work);
  };
}

/** The answer of the next such commit is lost: it is done, and nobody knows. */
function loseOnce(shop: Shop, wanted: (call: Call) => boolean): void {
  shop.interfere = (call, work) => {
    if (!wanted(call)) return undefined;
    shop.interfere = undefined;
    return work().then(() => Promise.reject(unavailable()));
  };
}

const ids = ({ items }: { items: { id: string }[] }): string[] => items.map(({ id }) => id);

for (const family of families) {
  describe(`The desk (${family})`, function () {
    this.timeout(60_000);
    let shop: Shop;
    beforeEach(async () => (shop = await open(family)));
    afterEach(() => shop.stop());

    const byInventory = (): string[] => shop.handled.filter((each) => each.startsWith('inventory '));

    /** All pages, `limit` at a time. */
    async function pages(door: DoorName, query: Record<string, string>): Promise<string[][]> {
      const found: string[][] = [];
      for (let after: string | undefined = ''; after !== undefined; ) {
        const page: Answer['body'] = await shop.expect(200, door, { query: { ...query, ...(after === '' ? {} : { after }) } });
        found.push(ids(page));
        after = page.next as string | undefined;
      }
      return found;
    }

    describe('dead letters', () => {
      // Beside the dead letters it is written down who has asked.
      const isDead = (call: Call): boolean => isCommitOf(call, collections.dead) && !JSON.stringify(call.args[1]).includes('"act|');
      const first = async (): Promise<Answer['body']> => (await shop.expect(200, 'listDeadLetters')).items[0];
      async function bury(...messages: Message[]): Promise<void> {
        for (const message of messages) {
          await shop.play(shop.kernel.queue.send('reserve-stock', [message]));
          await shop.clock.advance(1_000);
        }
      }

      it('are listed eldest first, by page, by cause and by what has become of them', async () => {
        await bury(spoiled(1), unreadable(2), spoiled(3), spoiled(4));
        const all = await shop.expect(200, 'listDeadLetters');
        expect(all.next).to.equal(undefined);
        expect(all.items.map(({ subject }: { subject?: string }) => subject)).to.deep.equal([idOf(1), undefined, idOf(3), idOf(4)]);
        expect(await pages('listDeadLetters', { limit: '3' })).to.deep.equal([ids(all).slice(0, 3), ids(all).slice(3)]);
        expect(new Set(all.items.map(({ cause }: { cause: string }) => cause)).size, 'three of one cause').to.equal(2);
        const { cause } = all.items[0];
        expect((await pages('listDeadLetters', { cause, limit: '2' })).flat()).to.deep.equal([ids(all)[0], ids(all)[2], ids(all)[3]]);
        await shop.expect(204, 'resolveDeadLetter', { params: { id: ids(all)[0]! }, body: {} });
        expect((await pages('listDeadLetters', { limit: '1' })).flat()).to.deep.equal(ids(all).slice(1));
        expect(ids(await shop.expect(200, 'listDeadLetters', { query: { state: 'resolved' } }))).to.deep.equal([ids(all)[0]]);
        expect(ids(await shop.expect(200, 'listDeadLetters', { query: { state: 'sentAgain' } }))).to.deep.equal([]);
      });

      it('are shown with payload, reason and history', async () => {
        await bury(spoiled(1), unreadable(2));
        const { items } = await shop.expect(200, 'listDeadLetters');
        const shown = await shop.expect(200, 'getDeadLetter', { params: { id: items[0].id } });
        expect(shown).to.deep.include({ queue: 'reserve-stock', consumer: 'inventory', event: 'OrderPlaced', subject: idOf(1), attempts: 1, state: 'dead', message: spoiled(1) });
        expect(shown.reason).to.match(/^invalid: OrderPlaced .*\/data\/lines/);
        expect(shown.history).to.have.length(1);
        expect(shown.history[0]).to.include({ what: 'dead', why: shown.reason });
        const other = await shop.expect(200, 'getDeadLetter', { params: { id: items[1].id } });
        expect(other.message).to.deep.equal({ malformed: 'id is missing', raw: JSON.stringify(unreadable(2)) });
      });

      it('are handled when they are sent again after the cause is gone, and the order goes on to its end', async () => {
        await shop.describe('A', 9);
        shop.broken = (service, { type }) => (service === 'inventory' && type === 'OrderPlaced' ? new Invalid('not today') : undefined);
        const id = await shop.place(['A', 1]);
        await shop.clock.advance(60_000);
        expect(await shop.status(id)).to.equal('Placed');
        const letter = await first();
        await shop.expect(202, 'retryDeadLetter', { params: { id: letter.id } });
        await shop.clock.advance(5_000);
        expect((await first()).id, 'it dies again, and is the same').to.equal(letter.id);
        shop.broken = undefined;
        await shop.expect(202, 'retryDeadLetter', { params: { id: letter.id } });
        await shop.clock.advance(60_000);
        expect(await shop.status(id)).to.equal('Delivered');
        expect((await shop.expect(200, 'orderStory', { params: { id } })).missing).to.deep.equal([]);
        const { history, state } = await shop.expect(200, 'getDeadLetter', { params: { id: letter.id } });
        expect([state, history.map(({ what }: { what: string }) => what)]).to.deep.equal(['sentAgain', ['dead', 'sentAgain', 'dead', 'sentAgain']]);
      });

      it('are sent again all together, or all of one cause, and those that cannot be read are left', async () => {
        shop.broken = (service, { subject }) => (service === 'inventory' ? new Invalid(subject === idOf(5) ? 'something else' : 'not today') : undefined);
        await bury(placed(1), placed(2), unreadable(3), placed(5));
        shop.broken = undefined;
        const { cause } = await first();
        expect(await shop.expect(202, 'retryDeadLetters', { body: { cause } })).to.deep.equal({ retried: 2, left: 0 });
        await shop.clock.advance(5_000);
        expect(byInventory().sort()).to.deep.equal([`inventory OrderPlaced ${idOf(1)} 0`, `inventory OrderPlaced ${idOf(2)} 0`]);
        expect(await shop.expect(202, 'retryDeadLetters', { body: { cause: 'no such cause' } })).to.deep.equal({ retried: 0, left: 0 });
        expect(await shop.expect(202, 'retryDeadLetters', { body: {} })).to.deep.equal({ retried: 1, left: 1 });
        expect((await first()).event, 'the unreadable one').to.equal(undefined);
      });

      it('are kept with the reason when a person resolves them, and nobody sends them again', async () => {
        await bury(spoiled(1));
        const { id } = await first();
        await shop.expect(204, 'resolveDeadLetter', { params: { id }, body: { why: 'a test of the channel' } });
        const { state, history } = await shop.expect(200, 'getDeadLetter', { params: { id } });
        expect([state, history.at(-1).what, history.at(-1).why]).to.deep.equal(['resolved', 'resolved', 'a test of the channel']);
        expect(await shop.expect(202, 'retryDeadLetters', { body: {} })).to.deep.equal({ retried: 0, left: 0 });
        for (const door of ['retryDeadLetter', 'resolveDeadLetter'] as const) expect((await shop.expect(409, door, { params: { id }, body: {} })).detail).to.equal('it is resolved already');
      });

      it('are found behind ever so many that people have dealt with', async () => {
        const message = placed(1);
        const letter = { channel: 'reserve-stock', consumer: 'inventory', reason: 'by the test', attempts: 1, message, at: message.time };
        const partition = partitionOf(collections.dead, 'x');
        for (let n = 0; n < 10_000; n += 100) {
          const writes = Array.from({ length: 100 }, (_, i) => create(key('dead', 'inventory', String(n + i).padStart(6, '0')), { ...letter, message: message.id, state: 'resolved' }));
          await shop.play(shop.kernel.store.commit(partition, { writes }));
        }
        await shop.play(shop.kernel.store.commit(partition, { writes: [create(key('dead', 'inventory', 'z'), letter)] }));
        expect((await shop.expect(200, 'listDeadLetters')).items).to.have.length(1);
      });

      it('refuse to be sent again when nobody can read them, whoever has been sent again already, and ids that there are not', async () => {
        await bury(unreadable(1));
        expect((await shop.expect(409, 'retryDeadLetter', { params: { id: (await first()).id } })).detail).to.match(/nobody can read it/);
        expect(await pages('listDeadLetters', {}), 'it is dead still').to.have.lengthOf(1);
        shop.broken = () => new Invalid('not today');
        await bury(placed(2));
        shop.broken = undefined;
        const { id } = (await shop.expect(200, 'listDeadLetters')).items[1];
        await shop.expect(202, 'retryDeadLetter', { params: { id } });
        expect((await shop.expect(409, 'retryDeadLetter', { params: { id } })).detail).to.equal('it is sentAgain already');
        for (const door of ['getDeadLetter', 'retryDeadLetter', 'resolveDeadLetter'] as const) {
          await shop.expect(404, door, { params: { id: '0123456789abcdef' }, body: {} });
          await shop.expect(400, door, { params: { id: 'nonsense' }, body: {} });
        }
      });

      it('get a fresh id when they are older than anybody remembers, and are handled then', async () => {
        await bury(placed(1, noon - (horizonDays + 2) * 86_400_000));
        const letter = await first();
        expect(letter.reason).to.match(/^invalid: tooOld/);
        await shop.expect(202, 'retryDeadLetter', { params: { id: letter.id } });
        await shop.clock.advance(5_000);
        expect(shop.handled).to.include(`inventory OrderPlaced ${idOf(1)} 0`);
        expect((await shop.expect(200, 'listDeadLetters')).items).to.deep.equal([]);
      });

      it('are not sent again when somebody else was faster', async () => {
        shop.broken = () => new Invalid('not today');
        await bury(placed(1));
        shop.broken = undefined;
        const { id } = await first();
        once(shop, isDead, () => handlers.resolveDeadLetter({ method: 'POST', path: '', params: { id }, query: new URLSearchParams(), headers: { authorization: `Bearer ${adminToken}`, 'content-type': 'application/json' }, body: Buffer.from('{}') }, { kernel: shop.kernel, adminToken }));
        expect((await shop.expect(409, 'retryDeadLetter', { params: { id } })).detail).to.match(/changed meanwhile/);
        await shop.clock.advance(60_000);
        expect(shop.handled).to.deep.equal([]);
      });

      it('are sent again once when the answer of the store is lost', async () => {
        shop.broken = () => new Invalid('not today');
        await bury(placed(1));
        shop.broken = undefined;
        const { id } = await first();
        loseOnce(shop, isDead);
        await shop.expect(503, 'retryDeadLetter', { params: { id } });
        expect((await shop.expect(409, 'retryDeadLetter', { params: { id } })).detail).to.equal('it is sentAgain already');
        await shop.clock.advance(120_000);
        expect(byInventory(), 'the sweep has passed it on').to.deep.equal([`inventory OrderPlaced ${idOf(1)} 0`]);
      });

      it('are all sent again although one answer of the store is lost: that one is counted as left', async () => {
        shop.broken = () => new Invalid('not today');
        await bury(placed(1), placed(2), placed(3));
        shop.broken = undefined;
        loseOnce(shop, isDead);
        expect(await shop.expect(202, 'retryDeadLetters', { body: {} })).to.deep.equal({ retried: 2, left: 1 });
        await shop.clock.advance(120_000);
        expect(byInventory()).to.have.length(3);
        expect(await first()).to.equal(undefined);
      });

      it('are in the story of their order, wherever they are', async () => {
        await shop.describe('A', 9);
        shop.broken = (service) => (service === 'inventory' ? new Invalid('not today') : undefined);
        const id = await shop.place(['A', 1]);
        await shop.clock.advance(1_000);
        const missing = async (): Promise<string[]> => (await shop.expect(200, 'orderStory', { params: { id } })).missing.map(({ place, detail }: Record<string, string>) => `${place}, ${detail}`);
        expect(await missing()).to.deep.equal(['dead: queue reserve-stock, invalid: not today']);
        shop.interfere = ({ method }) => (method === 'send' ? Promise.reject(throttled()) : undefined);
        const letter = await first();
        await shop.expect(202, 'retryDeadLetter', { params: { id: letter.id } });
        expect((await missing())[0]).to.match(/^outbox: queue reserve-stock, not passed on yet/);
        shop.interfere = ({ method }) => (method === 'send' ? Promise.resolve() : undefined);
        await shop.clock.advance(60_000);
        expect((await missing())[0]).to.match(/^queue: queue reserve-stock, sent again 2026/);
        shop.interfere = undefined;
        await shop.play(shop.kernel.queue.send('reserve-stock', [letter.event && (await shop.expect(200, 'getDeadLetter', { params: { id: letter.id } })).message]));
        await shop.clock.advance(1_000);
        await shop.expect(204, 'resolveDeadLetter', { params: { id: letter.id }, body: { why: 'they have called' } });
        expect(await missing()).to.deep.equal(['dropped: queue reserve-stock, they have called']);
        const { story } = await shop.expect(200, 'orderStory', { params: { id } });
        expect(story.map(({ what }: { what: string }) => what)).to.include.members(['OrderPlaced is a dead letter', 'OrderPlaced is sent again by a person', 'OrderPlaced is resolved by a person']);
      });
    });

    describe('parked keys', () => {
      const isConsumers = (call: Call): boolean => isCommitOf(call, collections.consumers);
      const ofShipping = (): string[] => shop.handled.filter((each) => each.startsWith('shipping '));
      const append = async (...messages: Message[]): Promise<void> => {
        await shop.play(shop.kernel.stream.append('orders', messages));
        await shop.clock.advance(1_000);
      };
      const first = async (): Promise<Answer['body']> => (await shop.expect(200, 'listParked')).items[0];
      const events = (n: number, count: number): Message[] => Array.from({ length: count }, (_, sequence) => requested(n, sequence));
      const breakShipping = (): void => void (shop.broken = (service, { data }) => (service === 'shipping' ? new Defect(`order ${(data as { orderId: string }).orderId} is not what it seems`) : undefined));

      it('are listed by page and by cause, with what is parked and when they try again', async () => {
        breakShipping();
        await append(...events(1, 3));
        await append(...events(2, 1));
        await append({ ...requested(3, 0), data: {} });
        const { items } = await shop.expect(200, 'listParked');
        expect(items.map(({ partitionkey, events: count }: { partitionkey: string; events: number }) => [partitionkey, count])).to.deep.equal([[idOf(1), 3], [idOf(2), 1], [idOf(3), 1]]);
        expect(items[0]).to.include({ stream: 'orders', consumer: 'shipping', subject: idOf(1), reason: `Defect: order ${idOf(1)} is not what it seems`, cause: 'Defect: order … is not what it seems' });
        expect(items[0].cause, 'whatever the order').to.equal(items[1].cause);
        expect(Date.parse(items[0].retryAt)).to.be.greaterThan(Date.parse(items[0].at));
        expect(await pages('listParked', { limit: '1' })).to.deep.equal(ids({ items }).map((id) => [id]));
        expect((await pages('listParked', { cause: items[0].cause, limit: '1' })).flat()).to.deep.equal(ids({ items }).slice(0, 2));
        expect((await shop.expect(200, 'getParked', { params: { id: items[0].id } })).messages).to.deep.equal(events(1, 3));
      });

      it('are tried again at once when a person says so, in order, and later events after them', async () => {
        breakShipping();
        await append(...events(1, 3));
        await shop.clock.advance(300_000); // by now it tries itself again every ten minutes only
        shop.broken = undefined;
        const { id, retryAt } = await first();
        expect(Date.parse(retryAt) - shop.clock.now()).to.be.greaterThan(60_000);
        await shop.expect(202, 'retryParkedKey', { params: { id } });
        await append(requested(1, 3));
        await shop.clock.advance(10_000);
        expect(ofShipping()).to.deep.equal([0, 1, 2, 3].map((n) => `shipping CancellationRequested ${idOf(1)} ${n}`));
        expect((await shop.expect(200, 'listParked')).items).to.deep.equal([]);
        for (const door of ['getParked', 'retryParkedKey', 'resolveParked'] as const) await shop.expect(404, door, { params: { id }, body: {} });
      });

      it('are tried again all together, or all of one cause', async () => {
        shop.broken = (service, { subject }) => (service === 'shipping' ? new Defect(subject === idOf(3) ? 'another one' : 'not today') : undefined);
        for (const n of [1, 2, 3]) await append(...events(n, 1));
        await shop.clock.advance(300_000);
        shop.broken = undefined;
        expect(await shop.expect(202, 'retryParkedKeys', { body: { cause: 'Defect: not today' } })).to.deep.equal({ retried: 2, left: 0 });
        await shop.clock.advance(10_000);
        expect((await shop.expect(200, 'listParked')).items.map(({ cause }: { cause: string }) => cause)).to.deep.equal(['Defect: another one']);
        expect(await shop.expect(202, 'retryParkedKeys', { body: {} })).to.deep.equal({ retried: 1, left: 0 });
        await shop.clock.advance(10_000);
        expect(ofShipping()).to.have.length(3);
      });

      it('go on without the first one when a person resolves it, and what is dropped is kept', async () => {
        shop.broken = (service, { sequence }) => (service === 'shipping' && Number(sequence) === 0 ? new Defect('the first one is bad') : undefined);
        await append(...events(1, 3));
        const { id } = await first();
        await shop.expect(204, 'resolveParked', { params: { id }, body: { why: 'said by a stranger', first: requested(1, 0).id } });
        const { dropped, messages } = await shop.expect(200, 'getParked', { params: { id } });
        expect(messages).to.deep.equal(events(1, 3).slice(1));
        expect(dropped).to.deep.equal([{ at: timestamp(shop.clock.now()), why: 'said by a stranger', message: requested(1, 0) }]);
        await shop.clock.advance(10_000);
        expect(ofShipping()).to.deep.equal([1, 2].map((n) => `shipping CancellationRequested ${idOf(1)} ${n}`));
      });

      it('drop no other event than the one that was meant', async () => {
        breakShipping();
        await append(...events(1, 3));
        const { id } = await first();
        const body = { first: requested(1, 0).id };
        await shop.expect(204, 'resolveParked', { params: { id }, body });
        expect((await shop.expect(409, 'resolveParked', { params: { id }, body })).detail).to.match(/another one now/);
        expect((await shop.expect(200, 'getParked', { params: { id } })).messages).to.have.length(2);
      });

      it('drop one event when the answer of the store is lost', async () => {
        breakShipping();
        await append(...events(1, 3));
        const { id } = await first();
        loseOnce(shop, isConsumers);
        await shop.expect(204, 'resolveParked', { params: { id }, body: {} });
        const { dropped, messages } = await shop.expect(200, 'getParked', { params: { id } });
        expect([dropped.length, messages.length]).to.deep.equal([1, 2]);
      });

      it('drop their first event although the store will not at first', async () => {
        breakShipping();
        await append(...events(1, 2));
        const { id } = await first();
        shop.interfere = (call) => {
          if (!isConsumers(call)) return undefined;
          shop.interfere = undefined;
          return Promise.reject(throttled());
        };
        await shop.expect(204, 'resolveParked', { params: { id }, body: {} });
        expect((await shop.expect(200, 'getParked', { params: { id } })).messages).to.have.length(1);
      });

      it('are in the story of their order, and so is what was dropped of them', async () => {
        await shop.describe('A', 0);
        breakShipping();
        const id = await shop.place(['A', 1]);
        await shop.expect(202, 'cancelOrder', { params: { id } });
        await shop.clock.advance(1_000);
        const missing = async (): Promise<string[]> => (await shop.expect(200, 'orderStory', { params: { id } })).missing.map(({ service, event, place, detail }: Record<string, string>) => `${service} ${event} ${place}, ${detail}`);
        expect(await missing()).to.include(`shipping CancellationRequested parked: stream orders, Defect: order ${id} is not what it seems`);
        await shop.expect(204, 'resolveParked', { params: { id: (await first()).id }, body: { why: 'they want it after all' } });
        expect(await missing()).to.include('shipping CancellationRequested dropped: stream orders, they want it after all');
      });

      it('are left as they are when one more is parked at that moment', async () => {
        breakShipping();
        await append(...events(1, 2));
        const { id } = await first();
        const another = { position: '99', partitionkey: idOf(1), message: requested(1, 2) };
        for (const door of ['resolveParked', 'retryParkedKey'] as const) {
          once(shop, isConsumers, () => park(shop.kernel, shipping as AnyService, 'orders', another, 'as the others'));
          expect((await shop.expect(409, door, { params: { id }, body: {} })).detail).to.match(/changed meanwhile/);
        }
        const { dropped, messages } = await shop.expect(200, 'getParked', { params: { id } });
        expect([dropped.length, messages.length]).to.deep.equal([0, 4]);
      });

      it('are tried again by a person alone when they have ended the process three times, and events that are too old get a fresh id', async () => {
        const old = { ...requested(1, 0), time: timestamp(noon - (horizonDays + 2) * 86_400_000) };
        await shop.play(park(shop.kernel, shipping as AnyService, 'orders', { position: '1', partitionkey: idOf(1), message: old }, 'the process ended', deathsMax));
        await shop.clock.advance(600_000);
        const { id, retryAt } = await first();
        expect([retryAt, ofShipping()]).to.deep.equal([undefined, []]);
        await shop.expect(202, 'retryParkedKey', { params: { id } });
        await shop.clock.advance(10_000);
        expect(ofShipping()).to.deep.equal([`shipping CancellationRequested ${idOf(1)} 0`]);
      });
    });

    describe('stuck messages', () => {
      const isOrders = (call: Call): boolean => isCommitOf(call, collections.orders);
      const ofShipping = (): string[] => shop.handled.filter((each) => each.startsWith('shipping Cancell'));
      const first = async (): Promise<Answer['body']> => (await shop.expect(200, 'listStuck')).items[0];
      /** An order whose OrderPlaced the stream does not take; its cancellation waits behind. */
      async function stick(): Promise<string> {
        shop.interfere = ({ method, args }, work) => {
          if (method !== 'append' || args[0] !== 'orders') return undefined;
          const messages = args[1] as Message[];
          if (!messages.some(({ type }) => type === 'OrderPlaced')) return work();
          return Promise.resolve(messages.map((_, index) => ({ index, error: new PortError('tooLarge', `message ${messages[index]!.id} is over the limit`) })));
        };
        const id = await shop.place(['A', 1]);
        await shop.clock.advance(1_000);
        await shop.expect(202, 'cancelOrder', { params: { id } });
        await shop.clock.advance(60_000);
        return id;
      }
      beforeEach(() => shop.describe('A', 0));

      it('are listed and shown, and hold only their own subject and channel', async () => {
        const id = await stick();
        const free = await shop.place(['A', 1]);
        await shop.clock.advance(60_000);
        const { items } = await shop.expect(200, 'listStuck');
        expect(items.map(({ subject }: { subject: string }) => subject)).to.deep.equal([id, free]);
        expect(items[0]).to.include({ event: 'OrderPlaced', cause: 'tooLarge: message … is over the limit' });
        expect(items[0].channels, 'the queue has it').to.deep.equal(['orders']);
        expect((await shop.expect(200, 'getStuck', { params: { id: items[0].id } })).message.subject).to.equal(id);
        expect(await pages('listStuck', { limit: '1', cause: items[0].cause })).to.deep.equal(ids({ items }).map((each) => [each]));
        expect(shop.handled.filter((each) => each.startsWith('inventory OrderPlaced'))).to.have.length(2);
        expect(ofShipping(), 'the cancellation waits for its elder sister').to.deep.equal([]);
      });

      it('go on in order when the channel takes them again', async () => {
        const id = await stick();
        await shop.expect(202, 'retryStuckRow', { params: { id: (await first()).id } });
        await shop.clock.advance(60_000);
        expect(await first(), 'it is stuck again').to.include({ subject: id });
        shop.interfere = undefined;
        await shop.expect(202, 'retryStuckRow', { params: { id: (await first()).id } });
        await shop.clock.advance(120_000);
        expect(shop.handled).to.include(`notification OrderPlaced ${id} 0`);
        expect(await shop.status(id)).to.equal('Cancelled');
        expect((await shop.expect(200, 'listStuck')).items).to.deep.equal([]);
      });

      it('go on all together, or all of one cause', async () => {
        await stick();
        await stick();
        shop.interfere = undefined;
        expect(await shop.expect(202, 'retryStuckRows', { body: { cause: 'another one' } })).to.deep.equal({ retried: 0, left: 0 });
        expect(await shop.expect(202, 'retryStuckRows', { body: { cause: (await first()).cause } })).to.deep.equal({ retried: 2, left: 0 });
        await shop.clock.advance(120_000);
        expect(ofShipping()).to.have.length(2);
      });

      it('let the later ones of their subject go when a person resolves them, and are part of the story', async () => {
        const id = await stick();
        const row = await first();
        await shop.expect(204, 'resolveStuck', { params: { id: row.id }, body: { why: 'they know' } });
        await shop.clock.advance(120_000);
        expect(await shop.status(id)).to.equal('Cancelled');
        expect(shop.handled).to.not.include(`notification OrderPlaced ${id} 0`);
        const { missing, story } = await shop.expect(200, 'orderStory', { params: { id } });
        const listeners = subscriptions.filter(({ channel, hears }) => channel === 'orders' && hears.has('OrderPlaced')).map(({ service }) => service);
        expect(missing.map(({ service, event, place }: Record<string, string>) => `${service} ${event} ${place}`)).to.have.members(listeners.map((service) => `${service} OrderPlaced dropped: stream orders`));
        expect(story.map(({ what, detail }: Record<string, string>) => `${what}: ${detail}`)).to.include('OrderPlaced is dropped by a person: they know');
        for (const door of ['getStuck', 'retryStuckRow', 'resolveStuck'] as const) await shop.expect(404, door, { params: { id: row.id }, body: {} });
      });

      it('are dropped as often as they are said again by hand and get stuck again', async () => {
        shop.interfere = ({ method, args }) => (method === 'append' && args[0] === 'orders' ? Promise.resolve((args[1] as Message[]).map((_, index) => ({ index, error: new PortError('denied', 'by the test') }))) : undefined);
        const { type, subject, data } = placed(1);
        for (const why of ['once', 'twice']) {
          await shop.expect(202, 'sayByHand', { body: { channel: 'orders', message: { type, subject, data, id: 'by-me' } } });
          await shop.clock.advance(60_000);
          await shop.expect(204, 'resolveStuck', { params: { id: (await first()).id }, body: { why } });
        }
        expect(await first()).to.equal(undefined);
        expect((await shop.play(unsent(shop.kernel.store, partitionOf(collections.dead, 'by-me'), subject))).map(({ why }) => why)).to.deep.equal(['once', 'twice']);
      });

      it('are left as they are when somebody else was faster', async () => {
        await stick();
        const { id } = await first();
        const stuckIt = shop.interfere!;
        const inner = async (): Promise<void> => {
          shop.interfere = stuckIt;
          await handlers.resolveStuck({ method: 'POST', path: '', params: { id }, query: new URLSearchParams(), headers: { authorization: `Bearer ${adminToken}`, 'content-type': 'application/json' }, body: Buffer.from('{}') }, { kernel: shop.kernel, adminToken });
        };
        once(shop, isOrders, inner);
        expect((await shop.expect(409, 'retryStuckRow', { params: { id } })).detail).to.match(/changed meanwhile/);
      });

      it('can be retried again when the answer of the store is lost', async () => {
        const id = await stick();
        loseOnce(shop, isOrders);
        await shop.expect(503, 'retryStuckRow', { params: { id: (await first()).id } });
        await shop.clock.advance(120_000);
        expect(await shop.status(id), 'it was retried all the same').to.equal('Cancelled');
      });
    });

    describe('letters', () => {
      /** The keys of what the mailer was asked to send. */
      let sent: string[];
      /** The mailer takes letters; silent, it never says so. */
      const mailer = (silent: boolean): void =>
        void (shop.interfere = ({ port, method, args }, work) => {
          if (port !== 'mailer') return undefined;
          if (method === 'send') sent.push((args[0] as Letter).key);
          if (!silent) return work();
          return method === 'send' ? work().then(() => Promise.reject(unavailable())) : Promise.resolve('unknown');
        });
      async function doubted(): Promise<string> {
        mailer(true);
        await shop.describe('A', 0);
        const id = `${await shop.place(['A', 1])}.confirmation`;
        await shop.clock.advance(60_000);
        mailer(false);
        return id;
      }
      const copies = (id: string): number => sent.filter((key) => key === id).length;
      beforeEach(() => (sent = []));

      it('that are uncertain are listed, and sent exactly once more when a person says so', async () => {
        const id = await doubted();
        const { items } = await shop.expect(200, 'listMails', { query: { state: 'uncertain' } });
        expect(items.map((mail: { id: string }) => mail.id)).to.include(id);
        await shop.clock.advance(600_000);
        expect(copies(id), 'never repeated in silence').to.equal(1);
        expect((await shop.expect(200, 'retryMail', { params: { id } })).state).to.equal('sent');
        await shop.clock.advance(600_000);
        expect(copies(id)).to.equal(2);
        for (const door of ['retryMail', 'resolveMail'] as const) await shop.expect(409, door, { params: { id } });
      });

      it('that are uncertain were sent, when a person says so', async () => {
        const id = await doubted();
        expect((await shop.expect(200, 'resolveMail', { params: { id } })).state).to.equal('sent');
        await shop.clock.advance(600_000);
        expect(copies(id)).to.equal(1);
        await shop.expect(409, 'retryMail', { params: { id } });
        await shop.expect(404, 'retryMail', { params: { id: `${'z'.repeat(26)}.confirmation` } });
        await shop.expect(400, 'retryMail', { params: { id: 'nonsense' } });
      });

      it('that were refused are sent when the mailer takes them', async () => {
        shop.interfere = ({ port }) => (port === 'mailer' ? Promise.reject(new PortError('denied', 'no such mailbox')) : undefined);
        await shop.describe('A', 0);
        const id = `${await shop.place(['A', 1])}.confirmation`;
        await shop.clock.advance(60_000);
        expect((await shop.expect(200, 'retryMail', { params: { id } })).state, 'still not').to.equal('refused');
        mailer(false);
        expect((await shop.expect(200, 'retryMail', { params: { id } })).state).to.equal('sent');
        expect(copies(id)).to.equal(1);
      });
    });

    describe('bookings', () => {
      beforeEach(() => shop.describe('A', 9));
      const carrier = (book: () => Promise<unknown>, find: () => Promise<unknown>): void =>
        void (shop.interfere = ({ port, method }) => (port !== 'carrier' ? undefined : method === 'book' ? book() : method === 'find' ? find() : undefined));
      const states = async (query = {}): Promise<string[]> => (await shop.expect(200, 'listBookings', { query })).items.map(({ state }: { state: string }) => state);

      it('of which the carrier never said anything are uncertain, and are booked when a person says that nothing was', async () => {
        carrier(() => Promise.reject(unavailable()), () => Promise.resolve('unknown'));
        const id = await shop.place(['A', 1]);
        await shop.clock.advance(400_000);
        expect(await states()).to.deep.equal(['uncertain']);
        expect(await states({ state: 'refused' })).to.deep.equal([]);
        shop.interfere = undefined;
        await shop.expect(202, 'retryBooking', { params: { id } });
        await shop.clock.advance(60_000);
        expect(await shop.status(id)).to.equal('Delivered');
        expect(await states()).to.deep.equal([]);
        await shop.expect(409, 'retryBooking', { params: { id } });
        await shop.expect(409, 'resolveBooking', { params: { id }, body: {} });
      });

      it('of which the carrier never said anything go on with the parcel that a person has found there', async () => {
        carrier(() => Promise.reject(unavailable()), () => Promise.resolve('unknown'));
        const id = await shop.place(['A', 1]);
        await shop.clock.advance(400_000);
        await shop.expect(422, 'resolveBooking', { params: { id }, body: {} });
        await shop.expect(204, 'resolveBooking', { params: { id }, body: { carrier: 'UPS', trackingNumber: '1Z999' } });
        await shop.clock.advance(10_000);
        const order = (await shop.expect(200, 'getOrder', { params: { id } })) as OrderView;
        expect([order.status, order.shipments[0]?.carrier, order.shipments[0]?.trackingNumber]).to.deep.equal(['Shipped', 'ups', '1Z999']);
      });

      it('take no parcel from another order with which it is under way', async () => {
        carrier(() => Promise.reject(unavailable()), () => Promise.resolve('unknown'));
        const [first, second] = [await shop.place(['A', 1]), await shop.place(['A', 1])];
        await shop.clock.advance(400_000);
        const body = { carrier: 'UPS', trackingNumber: '1Z999' };
        await shop.expect(204, 'resolveBooking', { params: { id: first }, body });
        await shop.expect(409, 'resolveBooking', { params: { id: second }, body });
        expect(await states()).to.deep.equal(['uncertain']);
        const tell = (noticeId: string) => shop.play(execute(shop.kernel, parcels, { id: 'ups|1Z999', command: { do: 'track', fact: { ...body, carrier: 'ups', status: 'delivered', occurredAt: timestamp(shop.clock.now()), noticeId } } }));
        await tell('one');
        await shop.clock.advance(10_000);
        expect(await shop.status(first)).to.equal('Delivered');
        await shop.expect(204, 'resolveBooking', { params: { id: second }, body });
      });

      it('that the carrier refuses are listed with his reason, and booked when he takes them', async () => {
        carrier(() => Promise.reject(new PortError('denied', 'no such postcode')), () => Promise.resolve('none'));
        const id = await shop.place(['A', 1]);
        await shop.clock.advance(60_000);
        const { items } = await shop.expect(200, 'listBookings', { query: { state: 'refused' } });
        expect(items[0]).to.deep.include({ orderId: id, state: 'refused' });
        expect(items[0].detail).to.include('no such postcode');
        expect((await shop.expect(200, 'orderStory', { params: { id } })).missing[0]).to.include({ service: 'shipping', event: 'OrderFulfillment', place: 'carrier' });
        shop.interfere = undefined;
        await shop.expect(202, 'retryBooking', { params: { id } });
        await shop.clock.advance(60_000);
        expect(await shop.status(id)).to.equal('Delivered');
      });

      it('that are left over of a cancelled order are listed until a person has called the parcel back', async () => {
        const id = idOf(1);
        const at = timestamp(noon);
        const parcel = { carrier: 'demo', trackingNumber: 'D1' };
        const shipTo = { ...home, name: 'Anna' };
        for (const command of [{ do: 'ship', shipTo, items: [], at }, { do: 'giveUp', orderId: id, refused: 'no', at }, { do: 'stop', orderId: id, at }, { do: 'confirm', orderId: id, booking: parcel }] as const) {
          await shop.play(execute(shop.kernel, shipments, { id, command }));
        }
        const { items } = await shop.expect(200, 'listBookings');
        expect(items[0]).to.deep.include({ orderId: id, state: 'leftOver', parcel });
        await shop.expect(409, 'retryBooking', { params: { id } });
        await shop.expect(204, 'resolveBooking', { params: { id }, body: {} });
        expect(await states()).to.deep.equal([]);
      });
    });

    describe('messages by hand', () => {
      const { type, subject, data } = placed(1);

      it('are handled like any other, on the channel that is named alone', async () => {
        const said = await shop.expect(202, 'sayByHand', { body: { channel: 'reserve-stock', message: { type, subject, data } } });
        expect(said).to.include({ channel: 'reserve-stock', source: '/order' });
        await shop.clock.advance(10_000);
        expect(shop.handled.filter((each) => each.includes('OrderPlaced'))).to.deep.equal([`inventory OrderPlaced ${subject} 0`]);
        expect((await shop.expect(200, 'orderStory', { params: { id: subject } })).status, 'Order has never heard of it').to.equal('Unknown');
      });

      it('say again what has got lost, and the order goes on', async () => {
        await shop.describe('A', 9);
        shop.interfere = ({ method, args }) => (method === 'send' && args[0] === 'reserve-stock' ? Promise.resolve() : undefined);
        const id = await shop.place(['A', 1]);
        await shop.clock.advance(60_000);
        shop.interfere = undefined;
        expect((await shop.expect(200, 'orderStory', { params: { id } })).missing).to.deep.include({
          service: 'inventory', event: 'OrderPlaced', place: 'queue: queue reserve-stock', detail: `said ${timestamp(noon)} and passed on; waits there, is being worked at, or was removed`,
        });
        const order = (await shop.expect(200, 'getOrder', { params: { id } })) as OrderView;
        const again = { orderId: id, placedAt: order.history[0]!.at, customer: order.customer, address: order.address, lines: order.lines, total: order.total };
        await shop.expect(202, 'sayByHand', { body: { channel: 'reserve-stock', message: { type: 'OrderPlaced', subject: id, data: again } } });
        await shop.clock.advance(60_000);
        expect(await shop.status(id)).to.equal('Delivered');
      });

      it('are refused on the wrong channel, in the wrong shape, too old, or twice at once', async () => {
        const refused = async (body: { channel: string; message: object }, status = 422): Promise<Answer['body']> => shop.expect(status, 'sayByHand', { body });
        expect((await refused({ channel: 'shipping', message: { type, subject, data } })).detail).to.equal('OrderPlaced does not travel on shipping');
        await refused({ channel: 'reserve-stock', message: { type: 'Nonsense', subject, data } });
        await refused({ channel: 'reserve-stock', message: { type: 'constructor', subject, data } });
        const { errors } = await refused({ channel: 'reserve-stock', message: { type, subject, data: { ...(data as object), lines: [] } } });
        expect(errors[0].pointer).to.equal('/message/data/lines');
        await refused({ channel: 'reserve-stock', message: { type, subject, data, time: timestamp(noon - (horizonDays + 2) * 86_400_000) } });
        await refused({ channel: 'reserve-stock', message: { type, subject, data, dataversion: '99' } });
        await refused({ channel: 'reserve-stock', message: { type, data } }, 400);
        shop.interfere = ({ method }) => (method === 'send' ? Promise.reject(throttled()) : undefined);
        const twice = { channel: 'reserve-stock', message: { type, subject, data, id: 'of-mine' } };
        await shop.expect(202, 'sayByHand', { body: twice });
        await refused(twice, 409);
        shop.interfere = undefined;
        await shop.clock.advance(120_000);
        expect(byInventory()).to.deep.equal([`inventory OrderPlaced ${subject} 0`]);
      });
    });

    it('knows no story of an order that there is not, and no door without the token', async () => {
      await shop.expect(404, 'orderStory', { params: { id: 'z'.repeat(26) } });
      await shop.expect(400, 'orderStory', { params: { id: 'short' } });
      const names = (Object.entries(doors) as [DoorName, Door][]).filter(([, { service }]) => service === 'operations').map(([name]) => name);
      expect(names).to.have.length(21);
      for (const name of names) {
        const { status } = await shop.play(handlers[name]({ method: '', path: '', params: {}, query: new URLSearchParams(), headers: {}, body: new Uint8Array() }, { kernel: shop.kernel, adminToken }));
        expect(status, name).to.equal(401);
      }
    });

    it('audits the shop over its door', async () => {
      await shop.describe('A', 9);
      const id = await shop.place(['A', 1]);
      await shop.clock.advance(60_000);
      expect(await shop.expect(200, 'auditShop')).to.deep.include({ lines: 1, products: 1, waiting: 0, parked: 0, dead: 0, faults: [] });
      const partition = partitionOf(collections.orders, id);
      const row = (await shop.play(shop.kernel.store.get(partition, `order|${id}`))) as Row;
      await shop.play(shop.kernel.store.commit(partition, { writes: [remove(row)] }));
      expect((await shop.expect(200, 'auditShop')).faults).to.include(`order ${id} is known to others and not to Order`);
    });
  });
}

describe('The desk on a bad day', function () {
  this.timeout(60_000);

  /** Answers get lost, calls fail, messages come twice; and a person goes on until nothing is left. */
  for (const seed of [1, 2]) {
    it(`brings everything to its end that had failed (seed ${seed})`, async () => {
      let sick = true;
      const services = allServices.map((service): AnyService => ({
        ...service,
        hears: Object.fromEntries(Object.entries(service.hears).map(([event, handle]) => [event, async (kernel: Kernel, message: Message): Promise<void> => {
          if (sick && message.type !== 'ProductInfoUpdated' && message.type !== 'StockChanged') throw message.type === 'OrderPlaced' ? new Invalid('not today') : new Defect('not today');
          await handle(kernel, message as never);
        }] as const)),
      }));
      const world = await openWorld({ seed, services, profile: harsh });
      await world.describe('A', 50);
      const orders: string[] = [];
      for (let n = 0; n < 8; n++) orders.push((await world.place(['A', 1])).id);
      for (let minutes = 0; minutes < 10 && world.rows('dead').length < 8; minutes++) await world.clock.advance(60_000);
      expect(world.rows('dead')).to.have.length(8);
      sick = false;
      const event = { method: '', path: '', params: {}, query: new URLSearchParams(), headers: { authorization: `Bearer ${adminToken}`, 'content-type': 'application/json' }, body: Buffer.from('{}') };
      const isLeft = (): boolean => world.rows<{ state?: string }>('dead').some(({ body }) => body.state === 'dead') || world.rows('parked').length > 0;
      for (let round = 0; isLeft(); round++) {
        expect(round, 'rounds').to.be.lessThan(30);
        for (const retry of [handlers.retryDeadLetters, handlers.retryParkedKeys, handlers.retryStuckRows]) await world.play(retry(event, { kernel: world.kernel, adminToken }));
        await world.clock.advance(10_000);
      }
      await world.settle();
      expect(orders.map((id) => world.order(id))).to.deep.equal(orders.map(() => 'Delivered'));
      expect((await world.audit()).filter((fault) => !/letter|dead/.test(fault))).to.deep.equal([]);
      await world.stop();
    });
  }
});
