import { expect } from 'chai';
import fc from 'fast-check';
import { say as sayNotice } from '../../adapters/carriers/demo.ts';
import { createStoreEngine, type StoreEngine } from '../../adapters/engine/store.ts';
import type { Document } from '../../core/kernel/execute.ts';
import { handle } from '../../core/kernel/receive.ts';
import type { AnyService, Kernel } from '../../core/kernel/service.ts';
import { inventory, receiveStock } from '../../core/inventory/index.ts';
import type { Order as Reservation, Stock } from '../../core/inventory/rows.ts';
import { notification } from '../../core/notification/index.ts';
import type { Letters } from '../../core/notification/letters.ts';
import { cancelOrder, order, placeOrder } from '../../core/order/index.ts';
import type { Order } from '../../core/order/order.ts';
import { product } from '../../core/product/index.ts';
import { viewOf, type Product } from '../../core/product/product.ts';
import { shipping } from '../../core/shipping/index.ts';
import { website } from '../../core/website/index.ts';
import {
  isRefusal, isTransient, openMailer, openStore, timestamp,
  type Booking, type Letter, type Message, type OutboxBody, type Store, type TrackingFact, type TrackingStatus,
} from '../../ports/index.ts';
import { basket } from '../support/client.ts';
import { permutations } from '../support/given.ts';
import { openWorld, type Call, type World } from '../support/world.ts';

/**
 * ANY ARRIVAL ORDER. The whole shop plays a story once; what was said in it is then handed to each service again, alone, in every order and with repeats, and what it
 * ends with must be what the shop has ended with.
 *
 * *Every order* is exhausted by state: from each state that a service can be in, each thing is told to it once, also those that it has heard; states that are the
 * same to the last character are the same. So all orders are covered, and with them any number of repeats at any place, as long as there is an end to the states.
 * For Order the orders are also played one by one. Beyond, orders are drawn: with many repeats, several at once in two processes, and time that goes on between.
 */

/** What can be told to a service: an event of a stream, a notice, or what a person does. */
interface Thing {
  readonly name: string;
  readonly tell: (scene: Scene, store: Store) => Promise<unknown>;
}

/** One service's world: two processes over one store, a mailer and a carrier that count. Nothing is passed on: what it has said stays in the outbox. */
interface Scene {
  readonly engine: StoreEngine;
  readonly stores: readonly [Store, Store];
  readonly letters: Letter[];
  booked: number;
  /** Since it was opened. */
  commits: number;
  /** Milliseconds since 1970. */
  now: number;
}

const heardAt = Date.parse('2026-11-21T00:00:00.000Z');

function openScene(from?: Scene): Scene {
  const engine = createStoreEngine();
  for (const { partition, writes } of from ? rowsOf(from) : []) engine.commit(partition, writes);
  const driver = {
    get: async (partition: string, rowKey: string) => engine.get(partition, rowKey),
    query: async (partition: string, query: Parameters<StoreEngine['query']>[1]) => engine.query(partition, query),
    async commit(partition: string, writes: Parameters<StoreEngine['commit']>[1]) {
      const versions = engine.commit(partition, writes);
      scene.commits++;
      return versions;
    },
  };
  const scene: Scene = { engine, stores: [openStore(driver), openStore(driver)], letters: [...(from?.letters ?? [])], booked: from?.booked ?? 0, commits: 0, now: from?.now ?? heardAt };
  return scene;
}

const everything = { prefix: '', limit: 1_000_000 };
const rowsOf = ({ engine }: Scene) =>
  engine.partitions().map((partition) => ({ partition, writes: engine.query(partition, everything).rows.map(({ key, body }) => ({ op: 'create' as const, key, body })) }));

/** The kernel of a story's shop, in another world. */
function kernelIn(story: Story, scene: Scene, store: Store, now = scene.now): Kernel {
  return {
    ...story.world.kernel,
    store,
    clock: { now: () => now, sleep: () => Promise.resolve() },
    relay: { pass: () => Promise.resolve(), sweep: () => Promise.resolve(0) },
    mailer: openMailer({ send: async (letter) => void scene.letters.push(letter), ask: async () => 'notSent' }),
    carrier: {
      async book({ orderId }) {
        scene.booked++;
        return parcelOf(story, orderId);
      },
      find: async (orderId) => (scene.booked > 0 ? parcelOf(story, orderId) : 'none'),
    },
  };
}

/** The carrier goes by the order's id, so it is the same parcel in every world. */
async function parcelOf({ world }: Story, orderId: string): Promise<Booking> {
  const found = await world.kernel.carrier.find(orderId);
  if (typeof found !== 'object') throw new Error('the story has booked no parcel');
  return found;
}

const bodies = <Body>(scene: Scene, noun: string): Body[] =>
  rowsOf(scene).flatMap(({ writes }) => writes.flatMap(({ key, body }) => (key.startsWith(`${noun}|`) ? [JSON.parse(body) as Body] : [])));
const only = <Body>(found: readonly Body[]): Body => {
  expect(found, 'there is one of it').to.have.length(1);
  return found[0]!;
};
const said = (scene: Scene, type?: string): Message[] =>
  bodies<OutboxBody>(scene, 'outbox').flatMap(({ message }) => (type === undefined || message.type === type ? [message] : []));

// ---------------------------------------------------------------- the stories

interface Story {
  readonly world: World;
  readonly id: string;
  /** What was said on streams and queues, each once. */
  readonly said: readonly Message[];
  readonly placedAt: number;
  readonly cancelledAt: number;
}

const key = 'the same in every story, so that the order has the same id';
const bought = basket(['A', 1], ['B', 1], ['A', 1]);

interface Plot {
  readonly stock: number;
  /** What happens after the order was placed. */
  readonly then: (stage: { world: World; hold: (stream?: string) => void; cancel: () => Promise<void>; stockUp: () => Promise<void> }) => Promise<void>;
}

const served: Plot = { stock: 9, then: async () => {} };
const backordered: Plot = { stock: 0, then: ({ stockUp }) => stockUp() };
const cancelled: Plot = {
  stock: 0,
  // Reserved and cancelled at the same moment: Shipping hears of the second first.
  async then({ world, hold, cancel, stockUp }) {
    hold('inventory');
    await stockUp();
    await world.clock.advance(1_000);
    await cancel();
    await world.clock.advance(1_000);
    hold();
  },
};
const tooLate: Plot = {
  stock: 0,
  // Shipped and cancelled at the same moment: Order hears of the first too late.
  async then({ world, hold, cancel, stockUp }) {
    hold('shipping');
    await stockUp();
    await world.clock.advance(1_000);
    await cancel();
    await world.clock.advance(1_000);
    hold();
  },
};

async function play(plot: Plot): Promise<Story> {
  const world = await openWorld();
  let held: string | undefined;
  const all = overhear(world, async ({ method, args }) => {
    // What was asked for before is not answered before, either.
    while (method === 'read' && args[0] === held) await world.clock.sleep(100);
  });
  for (const sku of ['A', 'B']) await world.describe(sku, plot.stock);
  await world.settle();
  const placedAt = world.clock.now();
  const placed = await world.play(world.kernel.published.placeOrder(bought, key));
  if (isRefusal(placed)) throw new Error(placed.detail);
  let cancelledAt = 0;
  await world.clock.advance(2_000);
  await plot.then({
    world,
    hold: (stream) => void (held = stream),
    async cancel() {
      cancelledAt = world.clock.now();
      expect(await world.play(world.kernel.published.cancelOrder(placed.id))).not.to.have.property('refused');
    },
    stockUp: async () => {
      for (const sku of ['A', 'B']) await world.describe(sku, 9);
    },
  });
  await world.settle();
  expect(await world.audit()).to.deep.equal([]);
  return { world, id: placed.id, said: all(), placedAt, cancelledAt };
}

/** What is said on streams and queues, each message once. */
function overhear(world: World, beforeItAnswers: (call: Call) => Promise<void> = async () => {}): () => Message[] {
  const all = new Map<string, Message>();
  world.interfere = async (call, work) => {
    const speaks = (call.port === 'stream' && call.method === 'append') || (call.port === 'queue' && call.method === 'send');
    if (speaks) for (const message of call.args[1] as Message[]) all.set(`${message.source} ${message.id}`, message);
    const result = await work();
    await beforeItAnswers(call);
    return result;
  };
  return () => [...all.values()];
}

const isAbout = (story: Story) => ({ data }: Message): boolean => (data as { orderId?: string }).orderId === story.id;

/** What of it this service hears, as things to be told. */
function heardBy(service: AnyService, story: Story, about: (message: Message) => boolean = isAbout(story)): Thing[] {
  return story.said.filter((message) => message.type in service.hears && about(message)).map((message) => hearing(service, story, message));
}

const hearing = (service: AnyService, story: Story, message: Message): Thing => ({ name: message.type, tell: (scene, store) => handle(kernelIn(story, scene, store), service, message) });

// ---------------------------------------------------------------- every order

interface End {
  readonly scene: Scene;
  /** The things in one order that leads here. */
  readonly way: readonly string[];
}

const statesMax = 20_000;

/** Every state in which everything has been told at least once, each with one way to it; and how many orders without repeats there are. */
async function everyEnd(things: readonly Thing[], begin = openScene()): Promise<{ ends: End[]; orders: number; states: number }> {
  const all = 2 ** things.length - 1;
  let level = new Map([[nameOf(0, begin), { scene: begin, told: 0, way: [] as string[], orders: 1 }]]);
  const known = new Set(level.keys());
  const ends = new Map<string, End & { orders: number }>();
  while (level.size > 0) {
    const next: typeof level = new Map();
    for (const [name, node] of level) {
      if (node.told === all) ends.set(name, node);
      for (const [i, thing] of things.entries()) {
        const scene = openScene(node.scene);
        await telling(thing, scene);
        const told = node.told | (1 << i);
        const reached = nameOf(told, scene);
        const fresh = told !== node.told;
        const there = next.get(reached);
        if (there && fresh) there.orders += node.orders;
        if (!fresh && reached === name && scene.commits > 0) throw new Error(`a repeat that changes nothing writes nothing: ${node.way.join(', ')}, ${thing.name}`);
        if (known.has(reached)) continue;
        known.add(reached);
        next.set(reached, { scene, told, way: [...node.way, thing.name], orders: fresh ? node.orders : 0 });
        expect(known.size, `there is an end to the states: ${node.way.join(', ')}, ${thing.name}`).to.be.at.most(statesMax);
      }
    }
    level = next;
  }
  return { ends: [...ends.values()], orders: [...ends.values()].reduce((sum, { orders }) => sum + orders, 0), states: known.size };
}

/** All that a later state can depend on. */
function nameOf(told: number, scene: Scene): string {
  const rows = rowsOf(scene).flatMap(({ partition, writes }) => writes.map(({ key: rowKey, body }) => [partition, rowKey, sorted(JSON.parse(body))]));
  return JSON.stringify([told, scene.booked, scene.letters.map((letter) => letter.key), rows.sort()]);
}

const sorted = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, each]) => [name, sorted(each)]));
};

/** As a broker would: what fails because another one was quicker comes again. */
async function telling(thing: Thing, scene: Scene, process: 0 | 1 = 0): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await thing.tell(scene, scene.stores[process]);
      return;
    } catch (error) {
      if (!isTransient(error) || attempt === 20) throw error;
    }
  }
}

const factorial = (n: number): number => (n <= 1 ? 1 : n * factorial(n - 1));

async function expectOfEvery(things: readonly Thing[], check: (end: End) => void, begin?: Scene): Promise<void> {
  const { ends, orders } = await everyEnd(things, begin);
  expect(orders, 'every order is among them').to.equal(factorial(things.length));
  for (const end of ends) naming(end.way, () => check(end));
}

function naming(way: readonly string[], check: () => void): void {
  try {
    check();
  } catch (error) {
    if (error instanceof Error) error.message = `${way.join(', ')}: ${error.message}`;
    throw error;
  }
}

/** Draws orders: everything at least once, many of them again, up to four at once in two processes; between them time goes on, by seconds or hours. */
async function expectOfDrawn(things: readonly Thing[], check: (end: End) => void, { runs = 120, begin = undefined as Scene | undefined } = {}): Promise<void> {
  const index = fc.nat({ max: things.length - 1 });
  const arrival = fc
    .tuple(
      fc.shuffledSubarray([...things.keys()], { minLength: things.length }),
      fc.array(fc.tuple(index, fc.nat({ max: 1_000 })), { maxLength: 2 * things.length }),
      fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 3, maxLength: 6 }),
      fc.integer({ min: 1, max: 20_000 }),
    )
    .map(([once, again, sizes, seconds]) => {
      const list = [...once];
      for (const [i, place] of again) list.splice(place % (list.length + 1), 0, i);
      const groups: number[][] = [];
      for (let n = 0; list.length > 0; n++) groups.push(list.splice(0, sizes[n % sizes.length]!));
      return { groups, seconds };
    });
  await fc.assert(
    fc.asyncProperty(arrival, async ({ groups, seconds }) => {
      const scene = openScene(begin);
      for (const group of groups) {
        scene.now += seconds * 1_000;
        await Promise.all(group.map((i, n) => telling(things[i]!, scene, (n % 2) as 0 | 1)));
      }
      const way = groups.map((group) => group.map((i) => things[i]!.name).join(' + '));
      naming(way, () => check({ scene, way }));
    }),
    { seed: 20_261_121, numRuns: runs },
  );
}

// ---------------------------------------------------------------- the promises

describe('any arrival order', () => {
  const stories = new Map<string, Story>();
  before(async function () {
    this.timeout(60_000);
    for (const [name, plot] of Object.entries({ served, backordered, cancelled, tooLate })) stories.set(name, await play(plot));
  });
  after(async () => {
    for (const { world } of stories.values()) await world.stop();
  });
  const story = (name: string): Story => stories.get(name)!;
  const row = <State>(name: string, noun: string): Document<State> => only(story(name).world.rows<Document<State>>(noun).filter(({ partition }) => partition.startsWith(partitions[noun]!))).body;
  const partitions: Readonly<Record<string, string>> = { order: 'orders', letters: 'letters', shipment: 'shipments', parcel: 'parcels' };

  describe('of Order', () => {
    const placing = (name: string): Thing => ({ name: 'place', tell: (scene, store) => placeOrder(kernelIn(story(name), scene, store, story(name).placedAt), bought, key) });
    const cancelling = (name: string): Thing => ({ name: 'cancel', tell: (scene, store) => cancelOrder(kernelIn(story(name), scene, store, story(name).cancelledAt), story(name).id) });
    const things = (name: string): Thing[] => [placing(name), ...heardBy(order as AnyService, story(name)), ...(story(name).cancelledAt ? [cancelling(name)] : [])];

    /** The very document of the shop; without the cancellation, where the customer was told that he came too late or too early. */
    function check(name: string): (end: End) => void {
      const whole = row<Order>(name, 'order');
      const { CancellationRequested: _, ...at } = whole.state.at;
      const refused = { said: 1, state: { ...whole.state, at } };
      return ({ scene }) => {
        const found = only(bodies<Document<Order>>(scene, 'order'));
        const asked = found.state.at.CancellationRequested !== undefined;
        expect(found).to.deep.equal(asked || !story(name).cancelledAt ? whole : refused);
        const originals = story(name).said.filter(({ source, type }) => source === '/order' && (asked || type !== 'CancellationRequested'));
        expect(said(scene)).to.have.deep.members(originals);
      };
    }

    for (const [name, count] of [['served', 4], ['backordered', 5], ['cancelled', 5], ['tooLate', 6]] as const) {
      it(`${name}: ends with the same document and has said the same, whatever comes first and however often (${count} events)`, async () => {
        expect(things(name)).to.have.length(count);
        await expectOfEvery(things(name), check(name));
      });

      it(`${name}: also with many repeats, several at once, and days between`, () => expectOfDrawn(things(name), check(name)));
    }

    it('tooLate: all 720 orders of its six events, one by one, and each event once more at each place', async function () {
      this.timeout(60_000);
      const six = things('tooLate');
      const expected = check('tooLate');
      let ways = 0;
      async function goOn(scene: Scene, told: readonly number[], repeated: boolean): Promise<void> {
        if (new Set(told).size === six.length) {
          ways++;
          naming(told.map((i) => six[i]!.name), () => expected({ scene, way: [] }));
        }
        for (const [i, thing] of six.entries()) {
          const again = told.includes(i);
          if (again && repeated) continue;
          const next = openScene(scene);
          next.now += 1_000;
          await telling(thing, next);
          await goOn(next, [...told, i], repeated || again);
        }
      }
      await goOn(openScene(), [], false);
      expect(permutations(six)).to.have.length(720);
      expect(ways, '720, and 21 places for the repeats of each').to.equal(720 * 22);
    });

    it('hears the cancellation exactly when the customer was told that it is asked for', async () => {
      const six = things('tooLate');
      for (const arrival of permutations(six)) {
        const names = arrival.map(({ name }) => name);
        const before = names.slice(0, names.indexOf('cancel'));
        const scene = openScene();
        for (const thing of arrival) await telling(thing, scene);
        const inTime = before.includes('place') && !before.includes('OrderFulfillment') && !before.includes('OrderDelivered');
        expect(said(scene, 'CancellationRequested'), names.join(', ')).to.have.length(inTime ? 1 : 0);
      }
    });
  });

  describe('of Notification', () => {
    function check(name: string): (end: End) => void {
      const { said: count, state } = row<Letters>(name, 'letters');
      const letters = new Map(story(name).world.letters(story(name).id).map((letter) => [letter.key, letter]));
      return ({ scene }) => {
        const found = only(bodies<Document<Letters>>(scene, 'letters'));
        expect(found.said).to.equal(count);
        expect({ ...found.state, mails: statesOf(found.state) }).to.deep.equal({ ...state, mails: statesOf(state) });
        expect(scene.letters.map(({ key: each }) => each), 'one letter a milestone, ever').to.have.members([...letters.keys()]);
        for (const letter of scene.letters) expect(letter).to.deep.equal(letters.get(letter.key));
        expect(scene.letters[0]!.key, 'the confirmation goes first').to.equal(`${story(name).id}.confirmation`);
      };
    }
    /** All but when it was sent: that is Notification's own doing, and of the moment. */
    const statesOf = ({ mails }: Letters) => Object.fromEntries(Object.entries(mails).map(([milestone, { at: _, ...mail }]) => [milestone, mail]));

    for (const [name, count] of [['served', 3], ['backordered', 4], ['cancelled', 3], ['tooLate', 4]] as const) {
      it(`${name}: ends with the same document, and has sent the very same letters, whatever comes first and however often (${count} events)`, async () => {
        const things = heardBy(notification as AnyService, story(name));
        expect(things).to.have.length(count);
        await expectOfEvery(things, check(name));
        await expectOfDrawn(things, check(name), { runs: 60 });
      });
    }
  });

  describe('of Shipping', () => {
    interface Scan {
      readonly status: TrackingStatus;
      readonly minute: number;
    }
    const timeOf = ({ minute }: Scan): string => timestamp(Date.parse('2026-11-20T12:00:00.000Z') + minute * 60_000);
    const nameOfScan = ({ status, minute }: Scan): string => `${status}-${minute}`;
    const notice = (scan: Scan): Thing => ({
      name: nameOfScan(scan),
      async tell(scene, store) {
        const { trackingNumber } = row<Order>('tooLate', 'order').state.parcel!;
        const fact: TrackingFact = { carrier: 'demo', trackingNumber, status: scan.status, occurredAt: timeOf(scan), noticeId: nameOfScan(scan) };
        const { headers, body } = sayNotice(fact, 'a secret of the demo carrier');
        const letter = { params: { carrier: 'demo' }, query: undefined, body: undefined, idempotencyKey: undefined, headers, raw: body };
        expect(await shipping.answers.takeNotice(kernelIn(story('tooLate'), scene, store), letter)).to.deep.equal({ status: 204 });
      },
    });
    const things = (scans: readonly Scan[]): Thing[] => [...heardBy(shipping as AnyService, story('tooLate')), ...scans.map(notice)];

    /** Moments of Shipping's own doing: when it claimed, stopped or refused to stop. The first of the two to be heard wins, so there are two ends. */
    const untimed = (document: Document<object>): unknown => JSON.parse(JSON.stringify(document), (name, value: unknown) => (/^(claimedAt|stoppedAt|tooLateAt)$/.test(name) ? 'once' : value));

    /** The scans in the order in which the parcel has gone through them. */
    function check(scans: readonly Scan[]): (end: End) => void {
      const ships = untimed(row('tooLate', 'shipment'));
      const stops = untimed(row('cancelled', 'shipment'));
      const delivered = scans.find(({ status }) => status === 'delivered');
      const last = delivered ?? scans.at(-1)!;
      return ({ scene, way }) => {
        const shipped = scene.booked > 0;
        // Of two who claim at once the second asks, and may be told "not yet": then he books under the same key, which is the same parcel.
        if (!way.some((each) => each.includes(' + '))) expect(scene.booked, 'it is booked once').to.be.at.most(1);
        expect(untimed(only(bodies<Document<object>>(scene, 'shipment')))).to.deep.equal(shipped ? ships : stops);
        expect(said(scene).map(({ type }) => type)).to.have.members(shipped ? ['OrderFulfillment', ...(delivered ? ['OrderDelivered'] : [])] : ['ShippingStopped']);
        const originals = story(shipped ? 'tooLate' : 'cancelled').said;
        for (const { id, type, data } of said(scene)) {
          if (type === 'OrderDelivered') expect(data).to.deep.include({ deliveredAt: timeOf(last) });
          else expect(data).to.deep.equal(originals.find((each) => each.id === id)?.data);
        }
        const { state } = only(bodies<Document<{ timeline: { noticeId: string }[] }>>(scene, 'parcel'));
        expect({ ...state, timeline: [] }).to.deep.equal({ ...(shipped ? { orderId: story('tooLate').id } : {}), status: last.status, statusAt: timeOf(last), timeline: [] });
        expectTimeline(state.timeline.map(({ noticeId }) => noticeId), scans.map(nameOfScan), way, delivered && nameOfScan(delivered));
      };
    }

    /** By the carrier's clock and not by ours. What is heard after the delivery is nobody's concern any more; all before it is there. */
    function expectTimeline(kept: readonly string[], happened: readonly string[], way: readonly string[], delivered: string | undefined): void {
      expect(kept).to.deep.equal(happened.filter((each) => kept.includes(each)));
      const heard = way.map((each) => each.split(' + '));
      const end = heard.findIndex((group) => delivered !== undefined && group.includes(delivered));
      const concerns = end === -1 ? happened : happened.filter((each) => heard.slice(0, end).some((group) => group.includes(each)));
      expect(kept).to.include.members([...concerns]);
    }

    it('ships or stops, books once, and ends with the same shipment and parcel, whatever comes first and however often (6 events)', async () => {
      const scans: Scan[] = [{ status: 'preTransit', minute: 1 }, { status: 'inTransit', minute: 2 }, { status: 'outForDelivery', minute: 3 }, { status: 'delivered', minute: 4 }];
      expect(things(scans)).to.have.length(6);
      await expectOfEvery(things(scans), check(scans));
    });

    it('goes by the carrier\'s clock, and where that shows the same for two notices, by what goes further (6 events)', async () => {
      const scans: Scan[] = [{ status: 'inTransit', minute: 1 }, { status: 'preTransit', minute: 2 }, { status: 'inTransit', minute: 2 }, { status: 'outForDelivery', minute: 2 }];
      await expectOfEvery(things(scans), check(scans));
    });

    it('also with a dozen notices, many repeats, several at once, and days between', async () => {
      const pairs: [TrackingStatus, TrackingStatus][] = [
        ['unknown', 'preTransit'], ['preTransit', 'inTransit'], ['inTransit', 'failed'], ['outForDelivery', 'failed'], ['availableForPickup', 'delivered'], ['unknown', 'inTransit'],
      ];
      const scans = pairs.flatMap((pair, minute) => pair.map((status) => ({ status, minute })));
      await expectOfDrawn(things(scans), check(scans), { runs: 60 });
      const undelivered = scans.filter(({ status }) => status !== 'delivered');
      await expectOfDrawn(things(undelivered), check(undelivered), { runs: 60 });
    });
  });

  describe('of Product and Website', () => {
    /** A product that is described, changed, received and bought, up and down through all stock statuses. */
    let plot: Story;
    before(async function () {
      this.timeout(60_000);
      const world = await openWorld();
      const all = overhear(world);
      await world.describe('A', 8);
      for (const quantity of [1, 7]) {
        await world.place(['A', quantity]);
        await world.settle();
      }
      await world.describe('A', 12);
      await world.settle();
      await world.place(['A', 5]);
      await world.settle();
      await world.describe('A', 90);
      await world.settle();
      await world.clock.advance(10_000);
      plot = { world, id: '', said: all(), placedAt: 0, cancelledAt: 0 };
    });
    after(() => plot.world.stop());

    const describing = (price: number): Thing => ({
      name: `describe ${price}`,
      tell: (scene, store) =>
        product.answers.describeProduct(kernelIn(plot, scene, store), {
          params: { sku: 'A' }, query: undefined, idempotencyKey: undefined, headers: {}, raw: new Uint8Array(), body: { name: 'A', description: '', price: { amount: price, currency: 'GBP' } },
        }),
    });

    it('Product: ends with the same stock, status and price, and has told each change of it once, whatever comes first and however often (7 events)', async function () {
      this.timeout(60_000);
      const things = [describing(250), ...heardBy(product as AnyService, plot, () => true)];
      expect(things).to.have.length(7);
      const { version: _, ...whole } = only(plot.world.rows<Document<Product>>('product')).body.state;
      const check = ({ scene }: End): void => {
        const { state, said: count } = only(bodies<Document<Product>>(scene, 'product'));
        // How many changes of its status customers were shown on the way is another matter: it depends on what was heard when.
        const { version, ...rest } = state;
        expect(rest).to.deep.equal(whole);
        expect(said(scene)).to.have.length(count);
        const versions = said(scene).sort((a, b) => (a.sequence < b.sequence ? -1 : 1)).map(({ data }) => data as { version: number });
        expect(versions.map((each) => each.version)).to.deep.equal(Array.from({ length: version }, (__, n) => n + 1));
        expect(versions.at(-1), 'the last that was told is how it stands').to.deep.equal(viewOf('A', state));
      };
      await expectOfEvery(things, check);
      await expectOfDrawn(things, check);
    });

    it('Website: ends with the newest version, whatever comes first and however often (5 events)', async () => {
      const things = heardBy(website as AnyService, plot, () => true);
      expect(things.length).to.be.at.least(5);
      const newest = only(plot.world.rows('item')).body;
      const check = ({ scene }: End): void => void expect(only(bodies(scene, 'item'))).to.deep.equal(newest);
      await expectOfEvery(things, check);
      await expectOfDrawn(things, check);
    });
  });

  describe('of Inventory', () => {
    it('ends cancelled with all stock free again, whatever of the order and its end comes first and however often', async () => {
      const name = 'cancelled';
      const things = heardBy(inventory as AnyService, story(name));
      expect(things.map(({ name: each }) => each)).to.have.members(['OrderPlaced', 'ShippingStopped']);
      const begin = openScene();
      for (const sku of ['A', 'B']) await receiveStock(kernelIn(story(name), begin, begin.stores[0]), sku, 5, 'once');
      const check = ({ scene }: End): void => {
        expect(only(bodies<Reservation>(scene, 'order')).state).to.equal('cancelled');
        for (const stock of bodies<Stock>(scene, 'stock')) expect(stock).to.include({ received: 5, available: 5, reserved: 0, shipped: 0, waiters: 0, waiting: 0 });
        expect([...bodies(scene, 'open'), ...bodies(scene, 'wait')]).to.deep.equal([]);
      };
      await expectOfEvery(things, check, begin);
      await expectOfDrawn(things, check, { runs: 60, begin });
    });

    it('ends shipped, and has told once that it is reserved, however often it hears of the order and of its shipment', async () => {
      const name = 'served';
      const things = heardBy(inventory as AnyService, story(name));
      const shipped = things.find(({ name: each }) => each === 'OrderFulfillment')!;
      const placed = things.find(({ name: each }) => each === 'OrderPlaced')!;
      const begin = openScene();
      for (const sku of ['A', 'B']) await receiveStock(kernelIn(story(name), begin, begin.stores[0]), sku, 5, 'once');
      // Nobody ships what is not reserved: so the one always comes before the other, and only their repeats do not.
      await telling(placed, begin);
      const check = ({ scene }: End): void => {
        expect(only(bodies<Reservation>(scene, 'order')).state).to.equal('shipped');
        expect(bodies<Stock>(scene, 'stock').map(({ available, shipped: sent }) => [available, sent])).to.have.deep.members([[3, 2], [4, 1]]);
        expect(said(scene, 'InventoryReserved')).to.have.length(1);
      };
      await expectOfEvery([shipped, placed], check, begin);
      await expectOfDrawn([shipped, placed], check, { runs: 60, begin });
    });
  });
});
