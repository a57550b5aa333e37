import { expect } from 'chai';
import { faultless } from '../../adapters/memory/index.ts';
import { sweepOpenOrders } from '../../core/inventory/index.ts';
import { isPortError, type Message, type RawWrite } from '../../ports/index.ts';
import { createBooks } from '../support/books.ts';
import { randomFrom } from '../support/ids.ts';
import { createStage, fulfilled, numberOf, orderId, placed, receive, stopped, type Basket, type Process, type Stage, type Task } from '../support/stage.ts';
import { openWorld } from '../support/world.ts';

/**
 * SCARCE STOCK: crowds that race for less than they want. Several processes work at once, each at many orders; every call to the store is a step of its own, and chance
 * alone says whose is next. The books (test/support/books.ts) are checked after every commit: no unit is sold twice, and nobody takes what an elder claim needs.
 *
 * `SEED=1,2,3` plays the largest of them again, otherwise.
 */
interface Race {
  readonly stage: Stage;
  readonly orders: Map<number, Basket>;
  /** What Shipping has decided, which is the one of the two that came first. */
  readonly decided: Map<number, 'booked' | 'stopped'>;
  readonly random: () => number;
  /** Hands out all of this, in any order, one message in twenty twice, and returns when everything has come to rest. */
  run(works: readonly Work[]): Promise<void>;
}

type Work = { readonly message: Message } | { readonly sku: string; readonly quantity: number; readonly id: string } | { readonly stop: number };

const duplicated = 0.05;
const stepsMax = 2_000_000;

function openRace(orders: ReadonlyMap<number, Basket>, { seed = 1, processes = 4, atOnce = 96, ships = 0 }): Race {
  const random = randomFrom(seed);
  const upTo = (count: number): number => Math.floor(random() * count);
  const stage = createStage(seed);
  const open: readonly Process[] = Array.from({ length: processes }, () => stage.open());
  const decided = new Map<number, 'booked' | 'stopped'>();
  const running = new Map<Task, Work>();
  const bag: Work[] = [];
  let heard = 0;
  let steps = 0;

  function put(work: Work): void {
    bag.push(work);
    if (random() < duplicated) bag.push(work);
  }

  /** What Inventory says comes back to it, or makes Shipping book; both may come twice as well. */
  function listen(): void {
    for (; heard < stage.books.said.length; heard++) {
      const message = stage.books.said[heard]!;
      const n = numberOf(message.subject);
      if (message.type === 'StockFreed') put({ message });
      if (message.type === 'InventoryReserved' && !decided.has(n) && random() < ships) {
        decided.set(n, 'booked');
        put({ message: fulfilled(n) });
      }
    }
  }

  async function begin(work: Work): Promise<void> {
    if ('stop' in work) {
      if (decided.has(work.stop)) return;
      decided.set(work.stop, 'stopped');
      return put({ message: stopped(work.stop) });
    }
    const process = open[upTo(open.length)]!;
    const task = 'message' in work ? await stage.deliver(work.message, process) : await stage.start(work.id, (kernel) => receive(kernel, work.sku, work.quantity, work.id), process);
    running.set(task, work);
  }

  function reap(): void {
    for (const [task, work] of running) {
      if (task.state === 'running') continue;
      running.delete(task);
      if (task.state !== 'failed') continue;
      if (!isPortError(task.error)) throw task.error;
      bag.push(work);
    }
  }

  async function settle(): Promise<void> {
    while (bag.length > 0 || running.size > 0 || stage.calls.length > 0) {
      if (++steps > stepsMax) throw new Error('no end is in sight');
      if (bag.length > 0 && (stage.calls.length === 0 || (running.size < atOnce && random() < 0.4))) await begin(bag.splice(upTo(bag.length), 1)[0]!);
      else if (stage.calls.length > 0) await stage.release(stage.calls[upTo(stage.calls.length)]!);
      reap();
      listen();
    }
  }

  return {
    stage,
    orders: new Map(orders),
    decided,
    random,
    async run(works) {
      works.forEach(put);
      await settle();
      for (let sweeps = 0; stage.books.open.size > 0; sweeps++) {
        expect(sweeps, 'a sweep brings every order to rest').to.be.at.most(5);
        running.set(await stage.start('sweep', (kernel) => sweepOpenOrders(kernel, 0), open[0]), { stop: 0 });
        await settle();
      }
      stage.books.checkAll();
    },
  };
}

const place = (orders: Iterable<[number, Basket]>): Work[] => [...orders].map(([n, basket]) => ({ message: placed(n, basket) }));
const crowd = (count: number, basket: (n: number) => Basket): Map<number, Basket> => new Map(Array.from({ length: count }, (_, i) => [i + 1, basket(i + 1)]));
const arrivals = (sku: string, ...lots: number[]): Work[] => lots.map((quantity, i) => ({ sku, quantity, id: `${sku} ${quantity} ${i}` }));
const stateOf = ({ stage }: Race, n: number): string => stage.books.orders.get(orderId(n))?.state ?? 'unknown';
const served = (race: Race): number[] => [...race.orders.keys()].filter((n) => ['reserved', 'shipped'].includes(stateOf(race, n)));
const alive = (race: Race): number[] => [...race.orders.keys()].filter((n) => race.decided.get(n) !== 'stopped');

/** Whom Shipping stopped is cancelled, whose parcel it booked is shipped; all others are reserved, or wait because they are short, in the queue of what they lack. */
function expectRest(race: Race): void {
  const { books } = race.stage;
  for (const [n, basket] of race.orders) {
    const decision = race.decided.get(n);
    const state = stateOf(race, n);
    if (decision) expect(state, `order ${n}`).to.equal(decision === 'stopped' ? 'cancelled' : 'shipped');
    else expect(['reserved', 'waiting'], `order ${n}`).to.include(state);
    if (state !== 'waiting') continue;
    const short = Object.entries(basket).filter(([sku, quantity]) => books.free(sku, orderId(n)) < quantity).map(([sku]) => sku);
    expect(short.length, `order ${n} waits and could be served`).to.be.greaterThan(0);
    expect(books.claimsOf(orderId(n)).some((sku) => short.includes(sku)), `order ${n} waits where somebody will wake it`).to.equal(true);
  }
  expect(books.rowsMax(), 'rows of the largest commit').to.be.at.most(100);
}

const seeds = (process.env['SEED'] ?? '21').split(',').map(Number);

describe('scarce stock', () => {
  it('goes to the eldest, unit for unit, of 1,000 orders that race for 100, whatever arrives and is cancelled meanwhile', async function () {
    this.timeout(60_000);
    const race = openRace(crowd(1_000, () => ({ A: 1 })), { seed: 11, ships: 0.3 });
    await race.run(place(race.orders));
    expect(served(race)).to.deep.equal([]);
    expect(race.stage.books.stocks.get('A')).to.include({ waiters: 1_000, available: 0 });
    let received = 0;
    for (const lots of [[1], [7, 7, 7], [20, 1, 1, 1, 5], [13, 25, 12]]) {
      received += lots.reduce((sum, lot) => sum + lot, 0);
      const cancels = Array.from({ length: received > 1 ? 15 : 0 }, () => ({ stop: 1 + Math.floor(race.random() * 160) }));
      await race.run([...arrivals('A', ...lots).map((work) => ({ ...work, id: `${received} ${'id' in work ? work.id : ''}` })), ...cancels]);
      expect(served(race), `of ${received} units`).to.deep.equal(alive(race).slice(0, received));
      expect(race.stage.books.stocks.get('A')).to.include({ received, available: 0 });
    }
    expect(received).to.equal(100);
    expect([...race.decided.values()].filter((each) => each === 'stopped').length, 'some were cancelled').to.be.greaterThan(20);
    expectRest(race);
  });

  for (const seed of seeds) {
    it(`is sold to the last unit and not beyond, when 1,000 orders, stock and cancellations all come at once (seed ${seed})`, async function () {
      this.timeout(60_000);
      const race = openRace(crowd(1_000, (n) => ({ A: n % 10 === 0 ? 3 : 1 })), { seed, ships: 0.5 });
      await race.run(arrivals('A', 40));
      await race.run([...place(race.orders), ...arrivals('A', 20, 1, 3, 17, 9, 10), ...Array.from({ length: 100 }, (_, i) => ({ stop: 10 * i + 5 }))]);
      const { available, reserved, shipped } = race.stage.books.stocks.get('A')!;
      expect(reserved + shipped + available).to.equal(100);
      // All are gone, but what an elder order of three pieces waits for.
      expect(available).to.be.at.most(2);
      if (available > 0) expect(race.orders.get(eldestWaiting(race))).to.deep.equal({ A: 3 });
      expect(served(race).reduce((sum, n) => sum + race.orders.get(n)!['A']!, 0)).to.equal(100 - available);
      expectRest(race);
    });
  }
  const eldestWaiting = (race: Race): number => alive(race).find((n) => stateOf(race, n) === 'waiting')!;

  it('is never lent to an order of 1,112 lines that cannot be served whole, nor taken from its place by 300 small ones', async function () {
    this.timeout(60_000);
    const skus = Array.from({ length: 1_112 }, (_, i) => `P${i}`);
    const large: Basket = Object.fromEntries(skus.map((sku) => [sku, 1]));
    const larges = [1, 150];
    // And one of which nothing is there: it stands in 1,112 queues.
    const absent: Basket = Object.fromEntries(skus.map((sku) => [`N${sku}`, 1]));
    const race = openRace(crowd(300, (n) => (larges.includes(n) ? large : n === 75 ? absent : { [skus[(n * 37) % 12]!]: 1 })), { seed: 31, atOnce: 48 });
    // The first dozen are wanted by everybody; of all others there is enough.
    const wanted = skus.slice(0, 12);
    await race.run(skus.flatMap((sku, i) => arrivals(sku, i < 12 ? 3 : 5)));
    await race.run([...place(race.orders), ...Array.from({ length: 20 }, (_, i) => ({ stop: 15 * i + 7 }))]);
    expect(race.stage.books.claimsOf(orderId(75))).to.have.length(1_112);
    expectRest(race);
    const waiting = larges.filter((n) => stateOf(race, n) === 'waiting');
    expect(waiting.length, 'there is not enough for all').to.be.greaterThan(0);
    for (const n of waiting) expect(race.stage.books.partsOf(orderId(n)).filter(({ state }) => state === 'taken')).to.deep.equal([]);
    expect([...race.orders.keys()].filter((n) => stateOf(race, n) === 'waiting').length).to.be.greaterThan(100);
    await race.run(wanted.flatMap((sku) => arrivals(sku, 2)));
    expectRest(race);
    await race.run([...wanted.flatMap((sku) => arrivals(sku, 40)), { stop: 75 }]);
    expect(stateOf(race, 75)).to.equal('cancelled');
    expect(alive(race).filter((n) => stateOf(race, n) !== 'reserved'), 'with enough for all, all are served').to.deep.equal([]);
  });

  it('of a product that is in every order goes to those that can be served whole', async function () {
    this.timeout(60_000);
    const race = openRace(crowd(300, (n) => ({ HOT: 1, [`S${n % 60}`]: 1, [`T${n % 7}`]: 2 })), { seed: 41, ships: 0.2 });
    await race.run([...arrivals('HOT', 40), ...crowdedStock(60, 'S', 2), ...crowdedStock(7, 'T', 30)]);
    await race.run([...place(race.orders), ...arrivals('HOT', 5, 5), ...Array.from({ length: 20 }, (_, i) => ({ stop: 15 * i + 1 }))]);
    expectRest(race);
    // The last pieces are kept for elder orders that lack something else: at most as many as those have claimed.
    const { available, reserved, shipped } = race.stage.books.stocks.get('HOT')!;
    expect(reserved + shipped + available).to.equal(50);
    expect(reserved + shipped).to.equal(served(race).length);
    await race.run([...crowdedStock(60, 'S', 30), ...crowdedStock(7, 'T', 300)]);
    expect(served(race), 'as many as there is of the hot one').to.have.length(50);
    expectRest(race);
  });
  const crowdedStock = (count: number, name: string, quantity: number): Work[] => Array.from({ length: count }, (_, i) => arrivals(`${name}${i}`, quantity)).flat();

  it('is one unit for each piece also where two lines of an order name the same product', async function () {
    this.timeout(60_000);
    const world = await openWorld({ seed: 51, deliversAfterSeconds: 0, profile: { ...faultless, duplicate: 0.05, reread: 0.05, reorder: 0.5, delay: 0.2, delayMilliseconds: 50 } });
    const books = createBooks();
    world.interfere = async ({ method, args }, work) => {
      const result = await work();
      const [partition, writes] = args as [string, RawWrite[]];
      if (method === 'commit' && /^(invorder|stock)~/.test(partition)) noteOnly(partition, writes);
      return result;
    };
    /** The relay takes what it has passed on out of the outbox again, and a sweep its lease: neither is Inventory's. */
    const noteOnly = (partition: string, writes: readonly RawWrite[]): void => {
      const own = writes.filter(({ op, key }) => !key.startsWith('lease|') && (op === 'create' || !key.startsWith('outbox|')));
      if (own.length > 0) books.note(partition, own);
    };
    await world.describe('A', 21);
    const orders = await Promise.all(Array.from({ length: 60 }, () => world.place(['A', 1], ['A', 1])));
    for (const quantity of [10, 1, 9, 10]) await world.describe('A', quantity);
    await world.settle();
    books.checkAll();
    expect(orders.every(({ lines }) => lines.length === 1 && lines[0]!.quantity === 2)).to.equal(true);
    expect(books.stocks.get('A')).to.include({ received: 51, available: 1 });
    const states = orders.map(({ id }) => world.order(id));
    expect(states.filter((state) => state === 'Shipped')).to.have.length(25);
    expect(states.filter((state) => state === 'Backordered')).to.have.length(35);
    expect(await world.audit()).to.deep.equal([]);
    world.interfere = undefined;
    await world.stop();
  });
});
