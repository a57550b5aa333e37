import { PortError, openStore, timestamp, type Ids, type Message, type RawRow, type StoreDriver } from '../../ports/index.ts';
import { createStoreEngine, type StoreEngine } from '../../adapters/engine/store.ts';
import type { DataOf, EventName } from '../../core/flow.ts';
import { inventory } from '../../core/inventory/index.ts';
import { stockPartition } from '../../core/inventory/rows.ts';
import { say } from '../../core/kernel/model.ts';
import { reasonOf } from '../../core/kernel/dead.ts';
import { handle } from '../../core/kernel/receive.ts';
import type { AnyService, Kernel } from '../../core/kernel/service.ts';
import { createBooks, type Books } from './books.ts';
import { createIds } from './ids.ts';
import { anna, home } from './client.ts';

/**
 * A STAGE for Inventory: the real service over the engine's store, where every call to the store waits until the director lets it happen. So any interleaving of any
 * number of drivers can be played, and played again; processes can be killed at every step, and answers lost.
 */
export interface Task {
  readonly name: string;
  readonly process: Process;
  state: 'running' | 'done' | 'failed' | 'killed';
  error?: unknown;
  result?: unknown;
}

/** What dies together, and what may share its commits. */
export interface Process {
  readonly kernel: Kernel;
  readonly tasks: Set<Task>;
}

export interface Call {
  readonly process: Process;
  readonly kind: 'get' | 'query' | 'commit';
  readonly partition: string;
  /** Of a commit: all of them; of a query: its prefix. */
  readonly keys: readonly string[];
  /** Does it and answers; `lost` does it and answers `unavailable`, `refused` answers `unavailable` alone. */
  answer(how: 'plainly' | 'lost' | 'refused'): void;
}

export interface Stage {
  readonly books: Books;
  readonly calls: readonly Call[];
  readonly engine: StoreEngine;
  open(): Process;
  /** Starts a driver, in a process of its own unless one is named; it stops at its first call. */
  start(name: string, work: (kernel: Kernel) => Promise<unknown>, process?: Process): Promise<Task>;
  deliver(message: Message, process?: Process): Promise<Task>;
  release(call: Call, how?: Parameters<Call['answer']>[0]): Promise<void>;
  /** Ends its process, and with it all others that live there. */
  kill(task: Task): void;
  /** Lets this task alone go on up to such a call, which then waits. Throws if the task ends without one. */
  until(task: Task, wanted: (call: Call) => boolean): Promise<Call>;
  /** Lets this task alone go on to its end. Throws what it threw. */
  finish(task: Task): Promise<void>;
  /** Handles the message from beginning to end, alone. */
  handle(message: Message): Promise<void>;
  /** Handles, one after the other, what Inventory has said to itself and nobody has handled yet. */
  wakeAll(): Promise<void>;
  run<Result>(work: (kernel: Kernel) => Promise<Result>): Promise<Result>;
}

export function createStage(seed = 1): Stage {
  const engine = createStoreEngine();
  const books = createBooks();
  const ids = createIds(seed);
  const calls: Call[] = [];
  let woken = 0;

  function driverFor(process: () => Process): StoreDriver {
    const hold = <Answer>(kind: Call['kind'], partition: string, keys: readonly string[], effect: () => Answer): Promise<Answer> =>
      new Promise((resolve, reject) => {
        const call: Call = {
          process: process(),
          kind,
          partition,
          keys,
          answer(how) {
            if (how === 'refused') return reject(new PortError('unavailable', 'not done'));
            try {
              const answer = effect();
              if (how === 'lost') reject(new PortError('unavailable', 'the answer is lost'));
              else resolve(answer);
            } catch (error) {
              reject(error);
              if (!(error instanceof PortError)) throw error;
            }
          },
        };
        calls.push(call);
      });

    return {
      get: (partition, rowKey) => hold('get', partition, [rowKey], () => engine.get(partition, rowKey)),
      async query(partition, query): Promise<{ rows: RawRow[]; next?: string }> {
        // A shard in which nobody is busy: whether it is read now or later makes no difference worth a branch.
        if (query.prefix === 'open|' && engine.query(partition, query).rows.length === 0) return { rows: [] };
        return hold('query', partition, [query.prefix], () => engine.query(partition, query));
      },
      commit: (partition, writes) =>
        hold('commit', partition, writes.map((write) => write.key), () => {
          const versions = engine.commit(partition, writes);
          books.note(partition, writes);
          return versions;
        }),
    };
  }

  function open(): Process {
    const process: Process = { kernel: kernelOver(driverFor(() => process), ids), tasks: new Set() };
    return process;
  }

  async function start(name: string, work: (kernel: Kernel) => Promise<unknown>, process = open()): Promise<Task> {
    const task: Task = { name, process, state: 'running' };
    process.tasks.add(task);
    const ended = (state: Task['state'], more: Partial<Task>): void => {
      process.tasks.delete(task);
      if (task.state === 'running') Object.assign(task, { state, ...more });
    };
    work(process.kernel).then((result) => ended('done', { result }), (error: unknown) => ended('failed', { error }));
    await settle();
    return task;
  }

  async function release(call: Call, how: Parameters<Call['answer']>[0] = 'plainly'): Promise<void> {
    const place = calls.indexOf(call);
    if (place === -1) throw new Error('this call is not waiting');
    calls.splice(place, 1);
    call.answer(how);
    await settle();
  }

  const callOf = (task: Task): Call => {
    const call = calls.find((each) => each.process === task.process);
    if (!call) throw new Error(`${task.name} waits for nothing`);
    return call;
  };

  async function until(task: Task, wanted: (call: Call) => boolean): Promise<Call> {
    while (task.state === 'running') {
      const call = calls.find((each) => each.process === task.process && wanted(each));
      if (call) return call;
      await release(callOf(task));
    }
    throw new Error(`${task.name} has come to its end: ${task.error === undefined ? task.state : reasonOf(task.error)}`);
  }

  async function finish(task: Task): Promise<void> {
    while (task.state === 'running') await release(callOf(task));
    if (task.state === 'failed') throw task.error;
  }

  const deliver = (message: Message, process?: Process): Promise<Task> =>
    start(`${message.type} ${message.subject}`, (kernel) => handle(kernel, inventory as AnyService, message), process);

  const stage: Stage = {
    books,
    calls,
    engine,
    open,
    start,
    deliver,
    release,
    until,
    finish,
    kill({ process }) {
      for (const task of process.tasks) task.state = 'killed';
      for (const call of calls.filter((each) => each.process === process)) calls.splice(calls.indexOf(call), 1);
    },
    handle: async (message) => finish(await deliver(message)),
    async wakeAll() {
      for (; woken < books.said.length; woken++) {
        if (books.said[woken]!.type === 'StockFreed') await stage.handle(books.said[woken]!);
      }
    },
    async run<Result>(work: (kernel: Kernel) => Promise<Result>) {
      const task = await start('run', work);
      await finish(task);
      return task.result as Result;
    },
  };
  return stage;
}

/** A commit of a row whose key begins so. */
export const commits = (keyStart: string) => (call: Call): boolean => call.kind === 'commit' && call.keys.some((each) => each.startsWith(keyStart));
/** A read of such a row, in the shard of this product if one is named. */
export const reads = (keyStart: string, sku?: string) => (call: Call): boolean =>
  call.kind === 'get' && call.keys[0]!.startsWith(keyStart) && (sku === undefined || call.partition === stockPartition(sku));

/** What a promise sets off is over by then, for no call answers by itself. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const noon = Date.parse('2026-11-20T12:00:00.000Z');

/** Only what Inventory may use; everything else is absent, so that using it would show. */
function kernelOver(driver: StoreDriver, ids: Ids): Kernel {
  const kernel: Pick<Kernel, 'store' | 'clock' | 'ids' | 'log' | 'relay' | 'published'> = {
    store: openStore(driver),
    clock: { now: () => noon, sleep: () => Promise.resolve() },
    ids,
    log: { debug() {}, info() {}, warn() {}, error() {} },
    relay: { pass: () => Promise.resolve(), sweep: () => Promise.resolve(0) },
    published: { products } as Kernel['published'],
  };
  return kernel as Kernel;
}

/** What Product would publish: every product but `NONE`. */
const products: Kernel['published']['products'] = async (skus) =>
  new Map(skus.filter((sku) => sku !== 'NONE').map((sku) => [sku, { sku, name: sku, description: '', price: { amount: 1, currency: 'GBP' }, stock: 'InStock', version: 1 }]));

// ---------------------------------------------------------------- messages

/** The nth order. Its age is its number: 1 is the eldest. Its id sorts the other way, so that nobody can mistake the one for the other. */
export const orderId = (n: number): string => String(1_000 - n).padStart(26, '0');
export const numberOf = (id: string): number => 1_000 - Number(id);

export type Basket = Readonly<Record<string, number>>;

export function placed(n: number, basket: Basket): Message {
  const lines = Object.entries(basket).map(([sku, quantity]) => ({ sku, name: sku, quantity, unitPrice: 1 }));
  const data = { orderId: orderId(n), placedAt: timestamp(noon - 3_600_000 + n * 1_000), customer: anna, address: home, lines, total: { amount: 1, currency: 'GBP' } };
  return told('OrderPlaced', n, data);
}
export const stopped = (n: number): Message => told('ShippingStopped', n, { orderId: orderId(n) });
export const fulfilled = (n: number): Message => told('OrderFulfillment', n, { orderId: orderId(n), carrier: 'demo', trackingNumber: `T${n}` });

const told = <E extends EventName>(type: E, n: number, data: DataOf<E>): Message =>
  say(type, data, { subject: orderId(n), sequence: 0, at: timestamp(noon), cause: { correlationid: orderId(n) } }).message;

/** Stock arrives, as an operator would post it. */
export async function receive(kernel: Kernel, sku: string, quantity: number, idempotencyKey?: string) {
  const request = { params: { sku }, query: undefined, body: { quantity }, idempotencyKey, headers: {}, raw: new Uint8Array() };
  return inventory.answers.receiveStock(kernel, request);
}
