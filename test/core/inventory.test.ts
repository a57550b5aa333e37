import { expect } from 'chai';
import { Defect, Invalid, isPortError, type Message } from '../../ports/index.ts';
import type { Backordered, InventoryReserved } from '../../core/inventory/events.ts';
import { inventory, sweepOpenOrders } from '../../core/inventory/index.ts';
import { stockPartition } from '../../core/inventory/rows.ts';
import type { Kernel } from '../../core/kernel/service.ts';
import { randomFrom } from '../support/ids.ts';
import { commits, createStage, fulfilled, orderId, placed, reads, receive, stopped, type Basket, type Stage, type Task } from '../support/stage.ts';

/**
 * The protocol's named cases. Each is a counter-example that was met when a rule was forgotten or taken out; so each fails when its guard is removed. Behind all of them
 * stand the books (test/support/books.ts), which are checked after every commit.
 */

/** A stage on which so much of each product has arrived. B, C, A is the order in which parts are taken; A and T share a shard. */
async function withStock(basket: Basket): Promise<Stage> {
  const stage = createStage();
  for (const [sku, quantity] of Object.entries(basket)) await arrive(stage, sku, quantity);
  return stage;
}
const arrive = (stage: Stage, sku: string, quantity: number, idempotencyKey?: string) => stage.run((kernel) => receive(kernel, sku, quantity, idempotencyKey));
const sweep = (stage: Stage, seconds = 0): Promise<void> => stage.run((kernel) => sweepOpenOrders(kernel, seconds));
const stateOf = (stage: Stage, n: number): string => stage.books.orders.get(orderId(n))?.state ?? 'unknown';
const states = (stage: Stage, ...orders: number[]): string[] => orders.map((n) => stateOf(stage, n));
const words = (stage: Stage, n: number): string[] => stage.books.words(orderId(n));
const claims = (stage: Stage, n: number): string[] => stage.books.claimsOf(orderId(n));
const available = (stage: Stage, sku: string): number => stage.books.stocks.get(sku)?.available ?? 0;
const said = <Data>(stage: Stage, type: string): Message<string, Data>[] => stage.books.said.filter((message) => message.type === type) as Message<string, Data>[];

/** Handles it up to its first commit that begins so, does that commit, and dies. */
async function dieAfter(stage: Stage, message: Message, keyStart: string): Promise<void> {
  const task = await stage.deliver(message);
  await stage.release(await stage.until(task, commits(keyStart)));
  stage.kill(task);
}

/** Orders 1 and 2 cross: 1 is taking B and A, sleeps before it looks at A, and 2 has taken A meanwhile. */
async function sleeperBeforeA(stage: Stage): Promise<Task> {
  await dieAfter(stage, placed(1, { A: 1, B: 1 }), 'order|');
  await stage.handle(placed(2, { A: 1 }));
  const sleeper = await stage.deliver(placed(1, { A: 1, B: 1 }));
  await stage.until(sleeper, reads('part|', 'A'));
  return sleeper;
}

async function failing(work: Promise<unknown>): Promise<unknown> {
  try {
    await work;
  } catch (error) {
    return error;
  }
  throw new Error('it should have failed');
}

describe('Inventory: reserving', () => {
  it('reserves all lines of an order and tells what is left of each', async () => {
    const stage = await withStock({ A: 5, B: 2, T: 9 });
    await stage.handle(placed(1, { A: 2, T: 1, B: 2 }));
    const [message] = said<InventoryReserved>(stage, 'InventoryReserved');
    expect(message!.data.shipTo).to.include({ name: 'Anna Bell', city: 'Leeds' });
    expect(message!.data.lines).to.have.deep.members([
      { sku: 'A', quantity: 2, available: 3, stockVersion: 2 },
      { sku: 'T', quantity: 1, available: 8, stockVersion: 2 },
      { sku: 'B', quantity: 2, available: 0, stockVersion: 2 },
    ]);
    expect(stateOf(stage, 1)).to.equal('reserved');
  });

  it('needs three commits for an order of one line, and two to ship it', async () => {
    const stage = await withStock({ A: 1 });
    const before = stage.books.commits();
    await stage.handle(placed(1, { A: 1 }));
    expect(stage.books.commits() - before).to.equal(3);
    await stage.handle(fulfilled(1));
    expect(stage.books.commits() - before).to.equal(5);
  });

  it('reserves nothing of an order that lacks one line, and names what is short', async () => {
    const stage = await withStock({ A: 5, B: 1 });
    await stage.handle(placed(1, { A: 1, B: 3 }));
    expect([available(stage, 'A'), available(stage, 'B')]).to.deep.equal([5, 1]);
    expect(said<Backordered>(stage, 'Backordered')[0]!.data.short).to.deep.equal([{ sku: 'B', needed: 3, free: 1 }]);
  });

  it('names at most 20 products that are short', async () => {
    const stage = createStage();
    await stage.handle(placed(1, Object.fromEntries(Array.from({ length: 25 }, (_, i) => [`P${i}`, 1]))));
    expect(said<Backordered>(stage, 'Backordered')[0]!.data.short).to.have.length(20);
    expect(claims(stage, 1)).to.have.length(25);
  });

  it('says of a woken order what correlates with the order, whatever woke it', async () => {
    const stage = createStage();
    await stage.handle(placed(1, { A: 1 }));
    await arrive(stage, 'A', 1);
    await stage.wakeAll();
    const [message] = said(stage, 'InventoryReserved');
    expect(message!.correlationid).to.equal(orderId(1));
    expect(message!.sequence).to.equal('0000000001');
  });

  it('does the same once however often it is told', async () => {
    const stage = await withStock({ A: 3 });
    for (const message of [placed(1, { A: 1 }), placed(1, { A: 1 }), fulfilled(1), fulfilled(1), placed(1, { A: 1 })]) await stage.handle(message);
    expect(stage.books.stocks.get('A')).to.include({ received: 3, available: 2, reserved: 0, shipped: 1 });
    expect(words(stage, 1)).to.deep.equal(['InventoryReserved']);
  });

  it('takes an order with two lines of one product for a mistake, and touches nothing', async () => {
    const stage = await withStock({ A: 3 });
    const message = placed(1, { A: 1 }) as Message<string, { lines: unknown[] }>;
    const twice = { ...message, data: { ...message.data, lines: [...message.data.lines, ...message.data.lines] } };
    expect(await failing(stage.handle(twice))).to.be.instanceOf(Invalid);
    expect(stateOf(stage, 1)).to.equal('unknown');
  });

  it('orders the queues by time, however precisely it was written', async () => {
    const stage = createStage();
    const at = (n: number, placedAt: string): Message => {
      const message = placed(n, { A: 1 }) as Message<string, object>;
      return { ...message, data: { ...message.data, placedAt } };
    };
    await stage.handle(at(2, '2026-11-20T10:00:00.500Z'));
    await stage.handle(at(1, '2026-11-20T10:00:00Z'));
    await arrive(stage, 'A', 1);
    await stage.wakeAll();
    expect(states(stage, 1, 2)).to.deep.equal(['reserved', 'waiting']);
  });

  it('takes it for a defect when what was never reserved is shipped, or what was shipped is stopped', async () => {
    const stage = await withStock({ A: 1 });
    expect(await failing(stage.handle(fulfilled(1)))).to.be.instanceOf(Defect);
    await stage.handle(placed(1, { A: 1 }));
    await stage.handle(fulfilled(1));
    expect(await failing(stage.handle(stopped(1)))).to.be.instanceOf(Defect);
    expect(stateOf(stage, 1)).to.equal('shipped');
  });

  it('gives a message back when the store stays away', async () => {
    const stage = await withStock({ A: 1 });
    const task = await stage.deliver(placed(1, { A: 1 }));
    while (task.state === 'running') await stage.release(stage.calls[0]!, 'refused');
    expect(isPortError(task.error, 'unavailable')).to.equal(true);
  });
});

describe('Inventory: counter-examples', () => {
  it('a late driver does not claim what its own order has taken', async () => {
    const stage = createStage();
    await dieAfter(stage, placed(1, { A: 1 }), 'order|');
    await arrive(stage, 'A', 1);
    const late = await stage.deliver(placed(1, { A: 1 }));
    await stage.until(late, reads('part|'));
    await stage.handle(placed(1, { A: 1 }));
    await stage.finish(late);
    expect(stateOf(stage, 1)).to.equal('reserved');
    expect(claims(stage, 1)).to.deep.equal([]);
  });

  it('Backordered is said only with a place in the queue', async () => {
    const stage = await withStock({ A: 1 });
    const elder = await stage.deliver(placed(1, { A: 2 }));
    await stage.until(elder, commits('outbox|'));
    expect(claims(stage, 1)).to.deep.equal(['A']);
    await stage.handle(placed(2, { A: 1 }));
    expect(stateOf(stage, 2), 'a younger one does not slip in between').to.equal('waiting');
    await stage.finish(elder);
  });

  it('a younger order that came alone first keeps its reservation', async () => {
    const stage = await withStock({ A: 1 });
    await stage.handle(placed(2, { A: 1 }));
    await stage.handle(placed(1, { A: 1 }));
    expect(states(stage, 1, 2)).to.deep.equal(['waiting', 'reserved']);
  });

  it('the sweep also works while messages lie in the queue', async () => {
    const stage = await withStock({ A: 2 });
    await dieAfter(stage, placed(1, { A: 1 }), 'order|');
    const other = await stage.deliver(placed(2, { A: 1 }));
    await sweep(stage);
    expect(stateOf(stage, 1)).to.equal('reserved');
    await stage.finish(other);
  });

  it('undo fences the parts it never took', async () => {
    const stage = await withStock({ A: 1, B: 1 });
    const sleeper = await sleeperBeforeA(stage);
    await stage.handle(placed(1, { A: 1, B: 1 }));
    expect(stateOf(stage, 1)).to.equal('waiting');
    await stage.handle(stopped(2)); // A is there again, and the sleeper believes to be taking
    await stage.finish(sleeper);
    await stage.wakeAll();
    expect(stateOf(stage, 1)).to.equal('reserved');
  });

  it('cancel leaves a tombstone on untouched parts', async () => {
    const stage = await withStock({ A: 2, B: 1 });
    const sleeper = await sleeperBeforeA(stage);
    await stage.handle(stopped(1));
    await stage.finish(sleeper);
    expect(stateOf(stage, 1)).to.equal('cancelled');
    expect([available(stage, 'A'), available(stage, 'B')]).to.deep.equal([1, 1]);
  });

  it('a finished part row is not deleted', async () => {
    const stage = await withStock({ A: 2, B: 2 });
    for (const n of [1, 2]) await stage.handle(placed(n, { A: 1, B: 1 }));
    await stage.handle(stopped(1));
    await stage.handle(fulfilled(2));
    expect([1, 2].map((n) => stage.books.partsOf(orderId(n)).map(({ state }) => state))).to.deep.equal([['closed', 'closed'], ['shipped', 'shipped']]);
  });

  it('queues are ordered by ticket, not by arrival', async () => {
    const stage = createStage();
    await stage.handle(placed(2, { A: 1, B: 1 }));
    await stage.handle(placed(1, { A: 1, B: 1 }));
    for (const sku of ['B', 'A']) await arrive(stage, sku, 1);
    await stage.wakeAll();
    expect(states(stage, 1, 2)).to.deep.equal(['reserved', 'waiting']);
  });

  it('a shortage met while undoing is not forgotten', async () => {
    const stage = await withStock({ A: 1, B: 1 });
    await dieAfter(stage, placed(1, { A: 1, B: 1 }), 'order|');
    await stage.handle(placed(2, { A: 1 }));
    const driver = await stage.deliver(placed(1, { A: 1, B: 1 }));
    await stage.until(driver, (call) => commits('order|')(call) && call.keys.some((each) => each.startsWith('outbox|')));
    // It has looked, found A short, and is about to say so. What comes now finds it busy; and whoever was woken by it is lost.
    await arrive(stage, 'A', 1);
    await stage.finish(driver);
    expect(stateOf(stage, 1)).to.equal('reserved');
  });

  it('the seen row does not swallow the redelivery that must resume', async () => {
    for (let commitsDone = 0; ; commitsDone++) {
      const stage = await withStock({ A: 1, B: 1 });
      const task = await stage.deliver(placed(1, { A: 1, B: 1 }));
      const finished = await dieAfterCommits(stage, task, commitsDone);
      await stage.handle(placed(1, { A: 1, B: 1 }));
      expect(stateOf(stage, 1), `killed after ${commitsDone} commits`).to.equal('reserved');
      if (finished) break;
    }
  });

  it('a parcel that was killed on its way out is shipped by the redelivery, at whatever step', async () => {
    for (let commitsDone = 0; ; commitsDone++) {
      const stage = await withStock({ A: 1, B: 1 });
      await stage.handle(placed(1, { A: 1, B: 1 }));
      const finished = await dieAfterCommits(stage, await stage.deliver(fulfilled(1)), commitsDone);
      await stage.handle(fulfilled(1));
      expect(stateOf(stage, 1), `killed after ${commitsDone} commits`).to.equal('shipped');
      expect(stage.books.stocks.get('A')).to.include({ reserved: 0, shipped: 1 });
      if (finished) break;
    }
  });

  it('a zombie that begins a step and dies is swept', async () => {
    const stage = createStage();
    await stage.handle(placed(1, { A: 1 }));
    await arrive(stage, 'A', 1);
    // Its copy has settled the message long ago: nothing brings this step back but the open row.
    await dieAfter(stage, said(stage, 'StockFreed')[0]!, 'order|');
    expect(stateOf(stage, 1)).to.equal('taking');
    await sweep(stage, 120);
    expect(stateOf(stage, 1), 'it is not swept before its time').to.equal('taking');
    await sweep(stage);
    expect(stateOf(stage, 1)).to.equal('reserved');
  });

  it('a woken order claims what it newly lacks', async () => {
    const stage = await withStock({ B: 1 });
    await stage.handle(placed(1, { A: 1, B: 1 }));
    await stage.handle(placed(2, { B: 1 }));
    expect([claims(stage, 1), stateOf(stage, 2)]).to.deep.equal([['A'], 'reserved']);
    await arrive(stage, 'A', 1);
    await stage.wakeAll();
    expect(claims(stage, 1)).to.deep.equal(['A', 'B']);
    await stage.handle(stopped(2));
    await stage.wakeAll();
    expect(stateOf(stage, 1)).to.equal('reserved');
  });

  it('read the stock row before the queue', async () => {
    for (let callsDone = 0; ; callsDone++) {
      const stage = await withStock({ A: 2 });
      await stage.handle(placed(3, { A: 3 })); // so that the sums on the row do not tell, and the queue has to be read
      const young = await stage.deliver(placed(2, { A: 1 }));
      for (let i = 0; i < callsDone && young.state === 'running'; i++) await stage.release(stage.calls[0]!);
      const finished = young.state !== 'running';
      await stage.handle(placed(1, { A: 3 }));
      await stage.finish(young);
      if (finished) break;
    }
  });

  it('undo wakes those it made short', async () => {
    const stage = await withStock({ A: 1, B: 1 });
    const sleeper = await sleeperBeforeA(stage);
    await stage.handle(placed(3, { B: 1 }));
    expect(stateOf(stage, 3)).to.equal('waiting');
    await stage.finish(sleeper);
    await stage.wakeAll();
    expect(states(stage, 1, 2, 3)).to.deep.equal(['waiting', 'reserved', 'reserved']);
  });

  it('a cancelled claim wakes the one behind it though no stock moved', async () => {
    const stage = await withStock({ A: 1 });
    await stage.handle(placed(1, { A: 3 }));
    await stage.handle(placed(2, { A: 1 }));
    expect(states(stage, 1, 2)).to.deep.equal(['waiting', 'waiting']);
    await stage.handle(stopped(1));
    await stage.wakeAll();
    expect(states(stage, 1, 2)).to.deep.equal(['cancelled', 'reserved']);
  });

  it('a blocked head does not hide the covered second', async () => {
    const stage = createStage();
    await stage.handle(placed(1, { A: 2, B: 1 }));
    await stage.handle(placed(2, { A: 1 }));
    await arrive(stage, 'A', 3);
    await stage.wakeAll();
    expect(states(stage, 1, 2)).to.deep.equal(['waiting', 'reserved']);
  });

  it('a small young order does not pass the large old one', async () => {
    const stage = await withStock({ A: 1 });
    await stage.handle(placed(1, { A: 3 }));
    await stage.handle(placed(2, { A: 1 }));
    await arrive(stage, 'A', 2);
    await stage.wakeAll();
    expect(states(stage, 1, 2)).to.deep.equal(['reserved', 'waiting']);
  });

  it('undo puts the sticky claims back', async () => {
    const stage = await withStock({ A: 1 });
    await stage.handle(placed(1, { A: 1, B: 1 }));
    await arrive(stage, 'B', 1);
    const driver = await stage.deliver(said(stage, 'StockFreed')[0]!);
    await stage.until(driver, (call) => commits('part|')(call) && call.partition === stockPartition('A'));
    expect(claims(stage, 1), 'B is taken').to.deep.equal([]);
    await stage.handle(placed(2, { A: 1 }));
    await stage.finish(driver);
    expect(states(stage, 1, 2)).to.deep.equal(['waiting', 'reserved']);
    expect(claims(stage, 1)).to.deep.equal(['A', 'B']);
  });

  it('a failed take claims before it undoes', async () => {
    const stage = await withStock({ A: 1, B: 1 });
    const sleeper = await sleeperBeforeA(stage);
    await stage.until(sleeper, commits('order|'));
    expect([stateOf(stage, 1), claims(stage, 1)]).to.deep.equal(['taking', ['A']]);
    await stage.finish(sleeper);
    expect(stateOf(stage, 1)).to.equal('waiting');
  });
});

/** Kills it after so many commits; answers whether it was done before that. */
async function dieAfterCommits(stage: Stage, task: Task, count: number): Promise<boolean> {
  for (let done = 0; task.state === 'running' && done < count; ) {
    const call = stage.calls.find((each) => each.process === task.process)!;
    if (call.kind === 'commit') done++;
    await stage.release(call);
  }
  const finished = task.state !== 'running';
  stage.kill(task);
  return finished;
}

describe('Inventory: foreseen', () => {
  it('an evaluation that cannot succeed writes nothing', async () => {
    const stage = createStage();
    await stage.handle(placed(1, { A: 1, B: 1 }));
    await arrive(stage, 'A', 1);
    const before = stage.books.commits();
    await stage.wakeAll();
    await stage.handle(placed(1, { A: 1, B: 1 }));
    expect(stage.books.commits()).to.equal(before);
    expect(stateOf(stage, 1)).to.equal('waiting');
  });

  it('nobody is told Backordered of what has come before the undo was done', async () => {
    const stage = await withStock({ A: 1, B: 1 });
    const sleeper = await sleeperBeforeA(stage);
    await stage.until(sleeper, commits('order|'));
    await arrive(stage, 'A', 1);
    await stage.finish(sleeper);
    expect(words(stage, 1)).to.deep.equal(['InventoryReserved']);
  });

  it('the ring of three: exactly one wins', () => contend(['A', 'B'], ['B', 'C'], ['C', 'A'])).timeout(60_000);

  it('crossing pair: exactly one wins and it is told Reserved first', () => contend(['A', 'B'], ['B', 'A'])).timeout(60_000);

  it('cancel before placed: nothing is ever reserved, and nothing is said', async () => {
    const stage = await withStock({ A: 1 });
    await stage.handle(stopped(1));
    await stage.handle(placed(1, { A: 1 }));
    await stage.handle(stopped(1));
    expect(stateOf(stage, 1)).to.equal('cancelled');
    expect([available(stage, 'A'), words(stage, 1)]).to.deep.equal([1, []]);
    expect(stage.books.open.size).to.equal(0);
  });

  it('an escalated order claims all lines', async () => {
    const stage = await withStock({ D: 1, E: 9 });
    await stage.handle(placed(1, { A: 1, B: 1, C: 1, D: 1, E: 1 }));
    await stage.handle(placed(2, { D: 1 }));
    expect(claims(stage, 1)).to.deep.equal(['A', 'B', 'C']);
    for (const sku of ['A', 'B', 'C']) await arrive(stage, sku, 1);
    await stage.wakeAll();
    expect(claims(stage, 1)).to.deep.equal(['A', 'B', 'C', 'D', 'E']);
    await arrive(stage, 'D', 1);
    await stage.wakeAll();
    expect(stateOf(stage, 1)).to.equal('reserved');
  });

  for (const count of [1_112, 2_000]) {
    it(`${count.toLocaleString('en')} lines: every commit ≤ 100 rows`, async function () {
      this.timeout(60_000);
      const stage = createStage();
      const skus = Array.from({ length: count }, (_, i) => `P${i}`);
      for (const sku of skus) await arrive(stage, sku, 2);
      const all = Object.fromEntries(skus.map((sku) => [sku, 1]));
      for (const n of [1, 2]) await stage.handle(placed(n, all));
      expect(said<InventoryReserved>(stage, 'InventoryReserved')[0]!.data.lines).to.have.length(count);
      await stage.handle(fulfilled(1));
      await stage.handle(stopped(2));
      expect(states(stage, 1, 2)).to.deep.equal(['shipped', 'cancelled']);
      expect(stage.books.rowsMax()).to.be.at.most(100);
    });
  }

  it('the largest commit there is, a full part undone with claims to put back and others to wake, has 93 rows', async () => {
    const full = skusOf('A', 45);
    const [last] = skusOf('M', 1); // a later shard
    const stage = createStage();
    const many = Object.fromEntries(full.map((sku) => [sku, 1]));
    await stage.handle(placed(2, { ...many, [last!]: 1 }));
    await stage.handle(placed(3, many));
    for (const sku of [...full, last!]) await arrive(stage, sku, 1);
    await dieAfter(stage, said(stage, 'StockFreed').at(-1)!, 'order|');
    await stage.handle(placed(1, { [last!]: 1 })); // the elder one takes what the other had judged to be his
    await sweep(stage);
    await stage.wakeAll();
    expect(stage.books.rowsMax()).to.equal(93);
    expect(states(stage, 1, 2, 3)).to.deep.equal(['reserved', 'waiting', 'waiting']);
  });

  it('an order may have two parts in one shard', async () => {
    const skus = skusOf('A', 60);
    const stage = await withStock(Object.fromEntries(skus.slice(1).map((sku) => [sku, 1])));
    await stage.handle(placed(1, Object.fromEntries(skus.map((sku) => [sku, 1]))));
    expect(claims(stage, 1)).to.deep.equal([skus[0]]);
    await arrive(stage, skus[0]!, 1);
    await stage.wakeAll();
    expect(stateOf(stage, 1)).to.equal('reserved');
    expect(stage.books.partsOf(orderId(1))).to.have.length(2);
  });

  it('an order that cannot go on does not hold back the sweep of the others', async () => {
    const stage = await withStock({ A: 9 });
    for (const n of [1, 2, 3]) await dieAfter(stage, placed(n, { A: 1 }), 'order|');
    spoil(stage, 1);
    spoil(stage, 2);
    expect(await failing(sweep(stage))).to.be.instanceOf(Error);
    expect(stateOf(stage, 3)).to.equal('reserved');
  });
});

/** Somebody has edited the store: the order's row is unreadable. */
function spoil({ engine }: Stage, n: number): void {
  for (const partition of engine.partitions()) {
    const row = engine.get(partition, `order|${orderId(n)}`);
    if (row) engine.commit(partition, [{ op: 'replace', key: row.key, version: row.version, body: '{"state":"taking"}' }]);
  }
}

/** So many products that live in the shard of this one. */
function skusOf(sku: string, count: number): string[] {
  const found: string[] = [];
  for (let i = 0; found.length < count; i++) if (stockPartition(`Q${i}`) === stockPartition(sku)) found.push(`Q${i}`);
  return found.sort();
}

/** One unit of each product, and orders that each want two of them: whatever the interleaving, one order gets both, and the winner was never told anything else. */
async function contend(...orders: readonly (readonly string[])[]): Promise<void> {
  for (let seed = 1; seed <= 60; seed++) {
    const random = randomFrom(seed);
    const stage = await withStock({ A: 1, B: 1, C: 1 });
    const tasks = [];
    for (const [i, skus] of orders.entries()) tasks.push(await stage.deliver(placed(i + 1, Object.fromEntries(skus.map((sku) => [sku, 1])))));
    while (stage.calls.length > 0) await stage.release(stage.calls[Math.floor(random() * stage.calls.length)]!);
    for (const task of tasks) await stage.finish(task);
    await stage.wakeAll();
    const winners = orders.map((_, i) => i + 1).filter((n) => stateOf(stage, n) === 'reserved');
    expect(winners, `SEED=${seed}`).to.have.length(1);
    if (orders.length === 2) expect(words(stage, winners[0]!), `SEED=${seed}`).to.deep.equal(['InventoryReserved']);
  }
}

describe('Inventory: receipts', () => {
  it('receipt twice counts once', async () => {
    const stage = createStage();
    const answers = [await arrive(stage, 'A', 3, 'k'), await arrive(stage, 'B', 1), await arrive(stage, 'A', 3, 'k')];
    expect(answers[2]).to.deep.equal(answers[0]);
    expect(answers[0]).to.deep.equal({ status: 201, json: { sku: 'A', received: 3, available: 3, reserved: 0, shipped: 0 } });
    expect(available(stage, 'A')).to.equal(3);
  });

  it('two at once under one key are one', async () => {
    const stage = createStage();
    const one = await stage.start('one', (kernel) => receive(kernel, 'A', 3, 'k'));
    await stage.until(one, commits('stock|'));
    const other = await arrive(stage, 'A', 3, 'k');
    await stage.finish(one);
    expect(one.result).to.deep.equal(other);
    expect(available(stage, 'A')).to.equal(3);
  });

  it('a receipt whose answer was lost is counted once, with a key or without', async () => {
    for (const idempotencyKey of ['k', undefined]) {
      const stage = createStage();
      const task = await stage.start('receipt', (kernel) => receive(kernel, 'A', 3, idempotencyKey));
      await stage.release(await stage.until(task, commits('stock|')), 'lost');
      await stage.finish(task);
      expect(available(stage, 'A')).to.equal(3);
    }
  });

  it('refuses another receipt under a key that was used', async () => {
    const stage = createStage();
    await arrive(stage, 'A', 3, 'k');
    expect(await arrive(stage, 'A', 4, 'k')).to.include({ status: 422 });
    expect(available(stage, 'A')).to.equal(3);
  });

  it('takes every key that a header can carry, and tells them apart', async () => {
    const stage = createStage();
    for (const idempotencyKey of ['/'.repeat(255), '|'.repeat(255), `${'/'.repeat(254)}|`, 'a|b', 'a%007cb']) await arrive(stage, 'A', 1, idempotencyKey);
    expect(available(stage, 'A')).to.equal(5);
  });

  it('refuses what nobody sells, and more than can be counted', async () => {
    const stage = createStage();
    expect(await arrive(stage, 'NONE', 1)).to.include({ status: 404 });
    expect(await arrive(stage, 'A', 1_000_000_000_001)).to.include({ status: 422 });
    expect(stage.books.stocks.size).to.equal(0);
  });

  it('shows the stock of a product, also of one that never had any', async () => {
    const stage = await withStock({ A: 5 });
    await stage.handle(placed(1, { A: 2 }));
    const show = (sku: string) => stage.run((kernel) => ask(kernel, sku));
    expect(await show('A')).to.deep.equal({ status: 200, json: { sku: 'A', received: 5, available: 3, reserved: 2, shipped: 0 } });
    expect(await show('B')).to.deep.equal({ status: 200, json: { sku: 'B', received: 0, available: 0, reserved: 0, shipped: 0 } });
    expect(await show('NONE')).to.include({ status: 404 });
  });

  it('says StockChanged when stock comes back, with the version that it then has', async () => {
    const stage = await withStock({ A: 2 });
    await stage.handle(placed(1, { A: 2 }));
    await stage.handle(stopped(1));
    expect(said(stage, 'StockChanged').map(({ data }) => data)).to.deep.equal([
      { levels: [{ sku: 'A', available: 2, stockVersion: 1 }] },
      { levels: [{ sku: 'A', available: 2, stockVersion: 3 }] },
    ]);
  });
});

const ask = (kernel: Kernel, sku: string) =>
  inventory.answers.getStock(kernel, { params: { sku }, query: undefined, body: undefined, idempotencyKey: undefined, headers: {}, raw: new Uint8Array() });
