import { expect } from 'chai';
import type { Message } from '../../ports/index.ts';
import { sweepOpenOrders } from '../../core/inventory/index.ts';
import { randomFrom } from '../support/ids.ts';
import { createStage, fulfilled, numberOf, orderId, placed, receive, stopped, type Basket, type Process, type Stage, type Task } from '../support/stage.ts';

/**
 * EXPLORATION: small worlds, played in thousands of random orders. Several drivers work at once, each in a process of its own or many in one, every call to the store is a step of its own, and chance kills
 * processes, loses answers, delivers twice, delivers a copy while the first one goes on (whose death then brings nothing back), and sweeps early. After every commit the
 * books are checked (test/support/books.ts); when the faults are over, everything must come to a good end.
 *
 * `SCHEDULES=100000` plays more of them, `SEED=…` one alone.
 */
interface World {
  readonly name: string;
  /** Handled one after the other before chance takes over: `p1` placed, `c1` cancelled, `A3` three of A arrive. */
  readonly first?: readonly string[];
  /** All at once, in any order. */
  readonly then: readonly string[];
  readonly orders: Readonly<Record<number, Basket>>;
  /** These orders are shipped when they are reserved, if Shipping has not decided to stop them first. */
  readonly ships?: readonly number[];
  readonly ends?: (end: (n: number) => string) => void;
}

const oneWins = (...all: number[]) => (end: (n: number) => string): void => void expect(all.filter((n) => end(n) === 'reserved')).to.have.length(1);
const all = (state: string, ...orders: number[]) => (end: (n: number) => string): void => orders.forEach((n) => expect(end(n), `order ${n}`).to.equal(state));

// A and T share a shard of stock, B and K another; B, C, A is the order in which parts are taken.
const worlds: readonly World[] = [
  { name: 'solo', orders: { 1: { A: 1, B: 1 } }, first: ['A1', 'B1'], then: ['p1'], ends: all('reserved', 1) },
  { name: 'solo, shipped', orders: { 1: { A: 1, T: 1, C: 1 } }, first: ['A1', 'T1', 'C1'], then: ['p1'], ships: [1], ends: all('shipped', 1) },
  { name: 'second', orders: { 1: { A: 1 } }, then: ['p1', 'A1'], ends: all('reserved', 1) },
  { name: 'cross', orders: { 1: { A: 1, B: 1 }, 2: { B: 1, A: 1 } }, first: ['A1', 'B1'], then: ['p1', 'p2'], ends: oneWins(1, 2) },
  { name: 'ring', orders: { 1: { A: 1, B: 1 }, 2: { B: 1, C: 1 }, 3: { C: 1, A: 1 } }, first: ['A1', 'B1', 'C1'], then: ['p1', 'p2', 'p3'], ends: oneWins(1, 2, 3) },
  { name: 'fifo', orders: { 1: { A: 2 }, 2: { A: 2 } }, first: ['p1'], then: ['p2', 'A2'], ends: (end) => expect([end(1), end(2)]).to.deep.equal(['reserved', 'waiting']) },
  { name: 'barrier', orders: { 1: { A: 3 }, 2: { A: 1 } }, first: ['A1', 'p1'], then: ['p2', 'A1', 'A1'], ends: (end) => expect([end(1), end(2)]).to.deep.equal(['reserved', 'waiting']) },
  { name: 'fifo of three', orders: { 1: { A: 2 }, 2: { A: 1 }, 3: { A: 1 } }, first: ['p1'], then: ['p2', 'p3', 'A1', 'A2'], ends: (end) => expect(end(1)).to.equal('reserved') },
  { name: 'deadlock', orders: { 1: { A: 1, B: 1 }, 2: { A: 1, B: 1 } }, then: ['p1', 'p2', 'A1', 'B1', 'A1', 'B1'], ends: all('reserved', 1, 2) },
  { name: 'three', orders: { 1: { A: 1, B: 1, C: 1 }, 2: { A: 1, C: 1 }, 3: { B: 1 } }, then: ['p1', 'p2', 'p3', 'A1', 'B1', 'C1', 'B1'] },
  { name: 'starve', orders: { 1: { A: 1, B: 1 }, 2: { A: 1 }, 3: { B: 1 } }, first: ['p1'], then: ['p2', 'p3', 'A1', 'B1', 'A1', 'B1'], ends: all('reserved', 1, 2, 3) },
  { name: 'cancel', orders: { 1: { A: 1, B: 1 }, 2: { A: 1 } }, first: ['A1', 'B1'], then: ['p1', 'p2', 'c1'], ends: (end) => expect([end(1), end(2)]).to.deep.equal(['cancelled', 'reserved']) },
  { name: 'cancelled alone', orders: { 1: { A: 1, B: 1, T: 1 } }, first: ['A1', 'T1'], then: ['p1', 'c1', 'B1'], ends: all('cancelled', 1) },
  { name: 'leave', orders: { 1: { A: 3 }, 2: { A: 1 } }, first: ['A1', 'p1', 'p2'], then: ['c1'], ends: (end) => expect([end(1), end(2)]).to.deep.equal(['cancelled', 'reserved']) },
  { name: 'cancel while waiting', orders: { 1: { A: 2, B: 1 }, 2: { A: 1, B: 1 } }, first: ['A1'], then: ['p1', 'p2', 'c1', 'B1'], ends: all('reserved', 2) },
  { name: 'ship or cancel', orders: { 1: { A: 1, B: 1 }, 2: { B: 1 } }, first: ['A1', 'B1'], then: ['p1', 'p2', 'c1'], ships: [1, 2] },
  { name: 'big', orders: { 1: { A: 2, B: 1 }, 2: { A: 1 } }, first: ['p1', 'p2'], then: ['A3'], ends: (end) => expect([end(1), end(2)]).to.deep.equal(['waiting', 'reserved']) },
  { name: 'neighbours', orders: { 1: { A: 1, T: 1, B: 1 }, 2: { T: 1, B: 1 }, 3: { A: 1, B: 1 } }, first: ['A1', 'T1', 'B1'], then: ['p1', 'p2', 'p3', 'B1'] },
  { name: 'escalation', orders: { 1: { A: 1, B: 1, C: 1, D: 1 }, 2: { A: 1, D: 1 }, 3: { B: 1, D: 1 } }, first: ['p1'], then: ['p2', 'p3', 'A1', 'B1', 'C1', 'D1', 'D1'] },
  { name: 'four', orders: { 1: { A: 1, B: 1 }, 2: { B: 1, C: 1 }, 3: { C: 1, A: 1 }, 4: { A: 1, B: 1, C: 1 } }, first: ['A1', 'B1'], then: ['p1', 'p2', 'p3', 'p4', 'C1', 'A1', 'c2'], ships: [1, 3] },
  { name: 'crowd', orders: { 1: { A: 2 }, 2: { A: 1 }, 3: { A: 1, T: 1 }, 4: { T: 1 }, 5: { A: 1 }, 6: { A: 3, T: 1 } }, first: ['A2', 'T1'], then: ['p1', 'p2', 'p3', 'p4', 'p5', 'p6', 'A1', 'T1', 'c3'], ships: [2] },
  { name: 'crowd behind an elder', orders: { 1: { A: 4 }, 2: { A: 2 }, 3: { A: 1 }, 4: { A: 1 }, 5: { A: 1 } }, first: ['A3', 'p5'], then: ['p1', 'p2', 'p3', 'p4', 'c5', 'A1', 'A2'] },
];

const schedules = Number(process.env['SCHEDULES'] ?? 1_800);
const only = process.env['SEED'];

describe('Inventory, explored', () => {
  let sharedCommits = 0;
  for (const [i, world] of worlds.entries()) {
    it(`comes to a good end whatever happens: ${world.name}`, async function () {
      this.timeout(600_000);
      const count = Math.ceil(schedules / worlds.length);
      const seeds = only === undefined ? Array.from({ length: count }, (_, n) => i * 1_000_000 + n + 1) : [Number(only)];
      for (const seed of seeds) {
        try {
          sharedCommits += await play(world, seed);
        } catch (error) {
          if (error instanceof Error) error.message = `${world.name}, SEED=${seed}: ${error.message}`;
          throw error;
        }
      }
    });
  }

  it('has met commits in which several drivers had a share', function () {
    if (only !== undefined) this.skip();
    expect(sharedCommits).to.be.greaterThan(0);
  });
});

const stepsMax = 20_000;

/** What can be handed to a driver: a message, a receipt, or a decision of Shipping. */
type Work = { readonly message: Message } | { readonly receipt: string } | { readonly book: number } | { readonly stop: number };

/** Answers how many commits were shared. */
async function play(world: World, seed: number): Promise<number> {
  const random = randomFrom(seed);
  const upTo = (count: number): number => Math.floor(random() * count);
  const stage = createStage(seed);
  const bag: Work[] = [];
  const shipping = new Map<number, 'booked' | 'stopped'>();
  /** What each living driver has been given; a zombie has nothing to give back. */
  const drivers = new Map<Task, { work: Work | undefined }>();
  const faults = { kill: upTo(4), lost: upTo(3), refused: upTo(2), twice: upTo(3), zombie: upTo(3), sweep: upTo(3) };
  /** Processes that drivers share, and their commits with them; where there are none, each driver has one of its own. */
  const shared = Array.from({ length: upTo(3) }, () => stage.open());
  const workersMax = shared.length === 0 ? 1 + upTo(3) : 2 + upTo(6);
  const eager = new Map<Process, number>();
  const haste = shared.length === 0 ? 0.05 + random() * 0.5 : 0.3 + random() * 0.6;
  let heard = 0;
  let receipts = 0;

  const workOf = (token: string): Work => {
    const n = Number(token.slice(1));
    if (token.startsWith('p')) return { message: placed(n, world.orders[n]!) };
    return token.startsWith('c') ? { stop: n } : { receipt: `${token} ${receipts++}` };
  };

  /** What was said to Inventory itself comes back to it; what was said to Shipping is decided there. */
  function listen(): void {
    for (; heard < stage.books.said.length; heard++) {
      const message = stage.books.said[heard]!;
      if (message.type === 'StockFreed') bag.push({ message });
      const n = numberOf(message.subject);
      if (message.type === 'InventoryReserved' && world.ships?.includes(n)) bag.push({ book: n });
    }
  }

  async function begin(work: Work): Promise<void> {
    if ('book' in work) return decide(work.book, 'booked', fulfilled(work.book));
    if ('stop' in work) return decide(work.stop, 'stopped', stopped(work.stop));
    const process = shared[upTo(shared.length)] ?? stage.open();
    if (!eager.has(process)) eager.set(process, random() < 0.3 ? 0.02 : 1);
    const task = 'message' in work ? await stage.deliver(work.message, process) : await stage.start(work.receipt, (kernel) => arrive(kernel, work.receipt), process);
    drivers.set(task, { work });
    if ('message' in work && faults.twice > 0 && random() < 0.1) {
      faults.twice--;
      bag.push(work);
    }
  }

  function decide(n: number, verdict: 'booked' | 'stopped', message: Message): void {
    if (shipping.has(n)) return;
    shipping.set(n, verdict);
    bag.push({ message });
  }

  function giveBack(task: Task): void {
    const work = drivers.get(task)?.work;
    if (work) bag.push(work);
    drivers.delete(task);
  }

  /** Drivers that have ended: settled, or handed back because the store would not let them. */
  function reap(): void {
    for (const task of drivers.keys()) {
      if (task.state === 'running') continue;
      if (task.state === 'failed') {
        if (!(task.error instanceof Error) || task.error.name !== 'PortError') throw task.error;
        giveBack(task);
      }
      drivers.delete(task);
    }
  }

  async function mischief(): Promise<void> {
    const tasks = [...drivers.keys()];
    const victim = tasks[upTo(tasks.length)];
    const kind = (['kill', 'zombie', 'sweep'] as const)[upTo(3)]!;
    if (faults[kind] === 0) return;
    if (kind === 'sweep') {
      faults.sweep--;
      drivers.set(await stage.start('sweep', (kernel) => sweepOpenOrders(kernel, 0)), { work: undefined });
    } else if (victim && kind === 'kill') {
      faults.kill--;
      stage.kill(victim);
      for (const task of tasks.filter(({ process }) => process === victim.process)) giveBack(task);
      const place = shared.indexOf(victim.process);
      if (place !== -1) shared[place] = stage.open();
    } else if (victim && kind === 'zombie') {
      const driver = drivers.get(victim)!;
      if (!driver.work) return;
      faults.zombie--;
      bag.push(driver.work);
      driver.work = undefined;
    }
  }

  async function releaseOne(): Promise<void> {
    const weights = stage.calls.map((call) => eager.get(call.process) ?? 1);
    let point = random() * weights.reduce((sum, weight) => sum + weight, 0);
    const call = stage.calls[weights.findIndex((weight) => (point -= weight) < 0)] ?? stage.calls[0]!;
    const fault = (['lost', 'refused'] as const)[upTo(2)]!;
    const fails = call.kind === 'commit' && faults[fault] > 0 && random() < 0.08;
    if (fails) faults[fault]--;
    await stage.release(call, fails ? fault : 'plainly');
  }

  for (const token of world.first ?? []) {
    bag.push(workOf(token));
    while (bag.length > 0 || drivers.size > 0 || stage.calls.length > 0) {
      if (drivers.size === 0 && bag.length > 0) await begin(bag.shift()!);
      else await stage.release(stage.calls[0]!);
      reap();
      listen();
    }
  }

  bag.push(...world.then.map(workOf));
  let steps = 0;
  let sweeps = 0;
  for (;;) {
    while (bag.length > 0 || drivers.size > 0 || stage.calls.length > 0) {
      expect(++steps, 'an end is in sight').to.be.at.most(stepsMax);
      if (random() < 0.06) await mischief();
      if (bag.length > 0 && (stage.calls.length === 0 || (drivers.size < workersMax && random() < haste))) await begin(bag.splice(upTo(bag.length), 1)[0]!);
      else if (stage.calls.length > 0) await releaseOne();
      reap();
      listen();
    }
    if (stage.books.open.size === 0) break;
    expect(++sweeps, 'a sweep brings every order to rest').to.be.at.most(10);
    drivers.set(await stage.start('sweep', (kernel) => sweepOpenOrders(kernel, 0)), { work: undefined });
  }
  checkEnd(world, stage, shipping);
  return stage.books.shared();
}

async function arrive(kernel: Parameters<typeof receive>[0], receipt: string): Promise<void> {
  await receive(kernel, receipt[0]!, Number(receipt.slice(1).split(' ')[0]), receipt);
}

/** Nothing is left that could be done: no waiting order is payable, and where there is enough for all, all have it. */
function checkEnd(world: World, { books }: Stage, shipping: ReadonlyMap<number, string>): void {
  books.checkAll();
  const end = (n: number): string => books.orders.get(orderId(n))?.state ?? 'unknown';
  const sellable = new Map([...books.stocks].map(([sku, stock]) => [sku, stock.received]));
  const wanted = Object.entries(world.orders).filter(([n]) => shipping.get(Number(n)) !== 'stopped');
  const demand = new Map<string, number>();
  for (const [, basket] of wanted) for (const [sku, quantity] of Object.entries(basket)) demand.set(sku, (demand.get(sku) ?? 0) + quantity);
  const enough = [...demand].every(([sku, quantity]) => (sellable.get(sku) ?? 0) >= quantity);

  for (const n of Object.keys(world.orders).map(Number)) {
    const id = orderId(n);
    const expected = shipping.get(n) === 'stopped' ? ['cancelled'] : shipping.get(n) === 'booked' ? ['shipped'] : enough ? ['reserved'] : ['reserved', 'waiting'];
    expect(expected, `order ${n} at the end`).to.include(end(n));
    if (end(n) !== 'waiting') continue;
    const shortOf = Object.entries(world.orders[n]!).filter(([sku, quantity]) => books.free(sku, id) < quantity).map(([sku]) => sku);
    expect(shortOf.length, `order ${n} waits and could be served`).to.be.greaterThan(0);
    expect(books.claimsOf(id).some((sku) => shortOf.includes(sku)), `order ${n} waits in a queue of what it lacks, or nobody would wake it`).to.equal(true);
  }
  world.ends?.(end);
}
