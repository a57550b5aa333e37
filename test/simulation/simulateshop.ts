import { demoCarrier } from '../../adapters/carriers/carrier.ts';
import { noticeReaders, writers, type FormatName } from '../../adapters/carriers/index.ts';
import { createQueueEngine, type QueueEngine } from '../../adapters/engine/queue.ts';
import { createStoreEngine, type StoreEngine } from '../../adapters/engine/store.ts';
import { createStreamEngine, type StreamEngine } from '../../adapters/engine/stream.ts';
import { audit } from '../../core/audit.ts';
import { collections, queues, streams } from '../../core/flow.ts';
import { inventory } from '../../core/inventory/index.ts';
import { deadLetters, isDead, resolveDead, sendAgain } from '../../core/kernel/dead.ts';
import { deathsMax, dropFirst, parkedItems, parkedKeys, retryNow, type Head, type Item } from '../../core/kernel/park.ts';
import type { AnyService, Kernel, Reply } from '../../core/kernel/service.ts';
import { notification } from '../../core/notification/index.ts';
import type { OrderView, PlaceOrder } from '../../core/order/events.ts';
import { statusOf } from '../../core/order/order.ts';
import type { ProductView } from '../../core/product/events.ts';
import { product } from '../../core/product/index.ts';
import { shipping } from '../../core/shipping/index.ts';
import { troubleOf } from '../../core/shipping/shipment.ts';
import { openKernel } from '../../handlers/container.ts';
import { services as allServices } from '../../handlers/index.ts';
import { startPump, type Pump } from '../../handlers/pump.ts';
import {
  Defect, Invalid, PortError, isMalformed, isRefusal, isTransient, openMailer, openQueue, openStore, openStream, partitionOf, partitionsOf, timestamp,
  type BookingRequest, type Carrier, type Ids, type Malformed, type Message, type RawWrite, type Refusal, type StoreDriver, type TrackingFact, type TrackingStatus,
} from '../../ports/index.ts';
import { anna, home } from '../support/client.ts';
import { randomFrom } from '../support/ids.ts';
import { createChecks, type Checks } from './simulatechecks.ts';
import { createSchedule } from './simulateclock.ts';
import { createNet, portNames, type Life, type PostOffice } from './simulatenet.ts';
import { faultNames, type Fault, type Plan } from './simulateplan.ts';

/**
 * ONE RUN: the whole shop, on several processes, for as long as the plan says with all its faults; then the faults are healed, and everything has to come to its end.
 *
 * 1. Customers order, click twice, cancel; stock arrives; processes are killed and cut off; carriers lie.
 * 2. All is healed. Within bounded time nothing is under way any more, and what is left over is explained: each parked key and each dead letter by poison, each letter and
 *    booking in doubt by a fault.
 * 3. A person deals with what waits for one. Then the books of all services agree, and nobody waits who could be served.
 * 4. Enough stock arrives. Then every order is delivered or cancelled, and the books agree again.
 */
export interface Run {
  readonly plan: Plan;
  /** Of everything that had an effect, in its order. */
  readonly hash: string;
  readonly violation: string | undefined;
  /** The last things that happened; only if they were asked for. */
  readonly lines: readonly string[];
  readonly coverage: ReadonlyMap<Fault, number>;
  readonly figures: Figures;
}

export interface Figures {
  readonly orders: number;
  readonly events: number;
  readonly virtualSeconds: number;
  readonly kills: number;
  readonly delivered: number;
  readonly cancelled: number;
  readonly backordered: number;
  readonly letters: number;
}

export interface RunOptions {
  /** Keep so many lines of the log. */
  readonly lines?: number;
  /** Services that are wrong on purpose: to see whether it is found. */
  readonly spoilt?: (services: readonly AnyService[]) => readonly AnyService[];
  /** Stands between a process and its store. */
  readonly store?: (driver: StoreDriver) => StoreDriver;
}

const start = Date.parse('2026-11-20T09:00:00.000Z');
const secret = 'a secret of the carrier';
const settleSeconds = 8 * 3_600;
/** So many processes a message may end for each process that there is, and once more so many, until it is set aside. */
const killsMax = 6;

interface Instance {
  readonly name: string;
  readonly hosts: ReadonlySet<string>;
  lives: number;
  life: Life;
  kernel: Kernel | undefined;
  pump: Pump | undefined;
}

export async function simulate(plan: Plan, options: RunOptions = {}): Promise<Run> {
  const stackTraceLimit = Error.stackTraceLimit;
  // Thousands of errors are thrown that nobody reads.
  if (!options.lines) Error.stackTraceLimit = 0;
  try {
    return await runOnce(plan, options);
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

async function runOnce(plan: Plan, options: RunOptions): Promise<Run> {
  const log = createTrace(options.lines ?? 0);
  const schedule = createSchedule(start);
  const trace = (word: string, what: string): void => log.note(schedule.now(), word, what);
  const draw = (n: number): (() => number) => randomFrom(plan.seed * 1_000_003 + n * 97);
  const random = draw(1);
  const some = <Item>(items: readonly Item[], from: () => number = random): Item => items[Math.floor(from() * items.length)]!;
  const between = (from: number, to: number, by: () => number = random): number => from + (to - from) * by();

  const base = { store: createStoreEngine(), queue: createQueueEngine({ lockSeconds: 30 }), stream: createStreamEngine({ partitionsPerStream: plan.partitions }) };
  const services = (options.spoilt ?? ((all) => all))(allServices);
  const checks = createChecks(base.stream, new Map(services.map(({ name, hears }) => [name, new Set(name === 'website' ? [] : Object.keys(hears))])));
  const engines = watched(base, checks);
  for (const name of queues) engines.queue.declare(name);
  for (const name of streams) engines.stream.declare(name);
  const office = createOffice(random() < 0.5, checks);
  const net = createNet({ plan, schedule, random: draw(2), engines, office, trace, traceWrites: (name, partition, writes) => log.noteWrites(schedule.now(), name, partition, writes), kill: (life) => die(life) });

  // ---------------------------------------------------------------- processes

  let calm = false;
  let kills = 0;
  const killers = new Set<string>();
  const killed = new Map<string, number>();
  const instances: Instance[] = Array.from({ length: plan.instances }, (_, n) => ({ name: `p${n}`, hosts: hostsOf(n), lives: 0, life: dead, kernel: undefined, pump: undefined }));

  /** Every service somewhere, and some of them more than once. */
  function hostsOf(n: number): ReadonlySet<string> {
    const names = allServices.map(({ name }) => name);
    return new Set(names.filter((_, i) => i % plan.instances === n || draw(100 + n * 10 + i)() < 0.25));
  }

  function born(instance: Instance): void {
    instance.lives++;
    const life: Life = { name: `${instance.name}.${instance.lives}`, alive: true, skew: skew(), cutUntil: new Map() };
    instance.life = life;
    instance.kernel = undefined;
    trace('starts', life.name);
    void open(instance, life);
  }

  const skew = (): number => {
    const s = net.strength('skew');
    if (s === 0) return 0;
    net.count('skew');
    return (random() < 0.5 ? -1 : 1) * random() * s * (random() < 0.5 ? 5_000 : 300_000);
  };

  async function open(instance: Instance, life: Life): Promise<void> {
    const drivers = net.driversOf(life);
    const ids = createFastIds(draw(1_000 + instances.indexOf(instance) * 1_000 + instance.lives));
    const clock = net.clockOf(life);
    const ports = {
      store: openStore(options.store?.(drivers.store) ?? drivers.store),
      queue: openQueue(drivers.queue),
      stream: openStream(drivers.stream),
      mailer: openMailer(drivers.mailer),
      carrier: net.carrierOf(life, carrier),
      notices: readers,
      clock,
      ids,
      log: logOf(life),
      settings: { shopName: 'Anyport', shopUrl: 'https://shop.invalid', lowStockAt: 3 },
    };
    for (;;) {
      try {
        instance.kernel = await openKernel(ports);
        break;
      } catch (error) {
        if (!isTransient(error)) return checks.blame(`${life.name} does not start: ${String(error)}`);
        await clock.sleep(500);
      }
    }
    const hosted = services.filter(({ name }) => instance.hosts.has(name)).map((service) => withEars(service, life));
    instance.pump = startPump(instance.kernel, hosted, { everySeconds: timers });
  }

  const timers = timersOf(plan, draw(3));

  /** Notes what was handled, and dies of what kills. */
  function withEars(service: AnyService, life: Life): AnyService {
    const hears = Object.fromEntries(
      Object.entries(service.hears).map(([type, hear]) => [
        type,
        async (kernel: Kernel, message: never) => {
          const { id } = message as Message;
          if (killers.has(id) && !calm) {
            net.count('killers');
            const times = (killed.get(id) ?? 0) + 1;
            killed.set(id, times);
            if (times > killsMax + killsMax * plan.instances) checks.blame(`${id} has ended ${times} processes, and is still handled`);
            die(life);
            return new Promise<void>(() => {});
          }
          try {
            await hear(kernel, message);
          } catch (error) {
            if (!(error instanceof PortError) && !(error instanceof Invalid)) checks.blame(`${service.name} fails with ${type} ${id}: ${String(error)}`);
            throw error;
          }
          trace('handles', `${service.name} ${id}`);
          checks.handled(service.name, id);
        },
      ]),
    );
    return { ...service, hears };
  }

  function logOf(life: Life) {
    const nothing = (): void => {};
    return {
      debug: nothing,
      info: nothing,
      warn: options.lines ? (data: object, text: string): void => log.say(schedule.now(), `${life.name} warns`, `${text} ${errorIn(data)}`) : nothing,
      error(data: object, text: string): void {
        const { error } = data as { error?: unknown };
        if (error instanceof Defect || (error !== undefined && !(error instanceof PortError) && !(error instanceof Invalid) && !String(error).includes('malformed'))) checks.blame(`${life.name}: ${text}: ${String(error)}`);
      },
    };
  }

  function die(life: Life): void {
    if (!life.alive) return;
    life.alive = false;
    kills++;
    trace('dies', life.name);
    const instance = instances.find((each) => each.life === life)!;
    instance.kernel = undefined;
    schedule.in(calm ? 100 : between(200, random() < 0.1 ? 90_000 : 5_000), () => born(instance));
  }

  /** Stops and starts all instances, one after the other, as a new version is rolled out. */
  async function roll(): Promise<void> {
    for (const instance of instances) {
      const { life, pump } = instance;
      if (!life.alive || !pump) continue;
      net.count('rolling');
      instance.kernel = undefined;
      await pump.stop();
      if (!life.alive) continue;
      life.alive = false;
      trace('stops', life.name);
      born(instance);
      await pause(between(500, 4_000));
    }
  }

  const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => void schedule.in(milliseconds, resolve));

  // ---------------------------------------------------------------- asking from outside

  const timeoutMilliseconds = 20_000;
  type Answer<T> = T | 'noAnswer';

  /** One request to any process that is up; it may get no answer, although it was done. */
  function ask<T>(work: (kernel: Kernel) => Promise<T>): Promise<Answer<T>> {
    return new Promise((resolve) => {
      const up = instances.filter(({ life, kernel }) => life.alive && kernel);
      if (up.length === 0) return void schedule.in(500, () => resolve('noAnswer'));
      const { life, kernel } = some(up);
      const end = schedule.in(timeoutMilliseconds, () => resolve('noAnswer'));
      const answer = (value: Answer<T>): void => {
        if (!end.run) return;
        end.run = undefined;
        resolve(value);
      };
      schedule.in(random() < 0.5 ? 0 : between(0, 30), () => {
        if (!life.alive) return;
        work(kernel!).then(
          (value) => schedule.in(1, () => life.alive && answer(value)),
          (error: unknown) => {
            if (!(error instanceof PortError)) checks.blame(`a request fails: ${String(error)}`);
            answer('noAnswer');
          },
        );
      });
    });
  }

  /** Again and again, until there is an answer. */
  async function insist<T>(work: (kernel: Kernel) => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      const answer = await ask(work);
      if (answer !== 'noAnswer') return answer;
      await pause(between(200, Math.min(30_000, 500 * 2 ** attempt)));
    }
  }

  let busy = 0;
  /** Somebody outside who is not done yet. */
  function meanwhile(work: () => Promise<void>): void {
    busy++;
    work().then(() => busy--, (error: unknown) => checks.blame(`the simulation itself: ${error instanceof Error ? error.stack : String(error)}`));
  }

  // ---------------------------------------------------------------- the carrier

  const speaks = some(['demo', 'easypost', 'shippo', 'aftership'] as const satisfies FormatName[]);
  const readers = noticeReaders({ [speaks]: secret });
  const parcelsStore = createStoreEngine();
  const honest = demoCarrier({
    store: plainStore(parcelsStore), clock: { now: () => schedule.now() }, speaks, secret, post,
    deliversAfterSeconds: Math.ceil(between(1, 20 + 40 * plan.minutes)),
  });
  let numbers: string[] = [];
  let lies = 0;
  const carrier: Carrier = {
    find: (orderId) => honest.find(orderId),
    async book(request: BookingRequest) {
      const booking = await honest.book(request);
      if (!numbers.includes(booking.trackingNumber)) numbers = [...numbers.slice(-40), booking.trackingNumber];
      while (net.happens('notices', 0.5)) lie(booking.trackingNumber);
      return booking;
    },
  };

  /** Says something of a parcel that is not so, or not now, or not of this parcel. */
  function lie(number: string): void {
    const statuses: TrackingStatus[] = ['preTransit', 'inTransit', 'outForDelivery', 'availableForPickup', 'returned', 'failed', 'inTransit', ...(random() < 0.3 ? (['delivered'] as const) : [])];
    const about = random() < 0.6 ? number : random() < 0.5 ? some(numbers) : `${number.slice(0, -2)}${Math.floor(random() * 90 + 10)}`;
    const fact: TrackingFact = { carrier: 'demo', trackingNumber: about, status: some(statuses), occurredAt: timestamp(schedule.now() + between(-7_200_000, 7_200_000)), noticeId: `lie-${lies++}` };
    const times = random() < 0.3 ? 2 : 1;
    const late = random() < 0.05 ? 3_600_000 * 2 : 600_000;
    for (let i = 0; i < times; i++) schedule.in(random() < 0.3 ? 0 : between(0, late), () => meanwhile(() => sayOnce(fact)));
  }

  async function sayOnce(fact: TrackingFact): Promise<void> {
    const { path, headers, body } = writers[speaks](fact, secret, schedule.now());
    const forged = random() < 0.05;
    const raw = forged ? Buffer.concat([body, Buffer.from(' ')]) : body;
    const answer = await ask((kernel) => notice(kernel, path, headers, raw));
    if (forged && answer !== 'noAnswer' && !(isRefusal(answer) && answer.status === 401)) checks.blame(`a forged notice is answered with ${JSON.stringify(answer)}`);
  }

  const notice = (kernel: Kernel, name: string, headers: Readonly<Record<string, string>>, raw: Uint8Array): Promise<Reply> =>
    shipping.answers.takeNotice(kernel, { params: { carrier: name }, query: undefined, body: undefined, idempotencyKey: undefined, headers, raw });

  async function post(path: string, headers: Readonly<Record<string, string>>, raw: Uint8Array): Promise<number> {
    if (net.happens('notices', 0.2)) schedule.in(between(0, 900_000), () => meanwhile(async () => void (await ask((kernel) => notice(kernel, path, headers, raw)))));
    const answer = await ask((kernel) => notice(kernel, path, headers, raw));
    if (answer === 'noAnswer' || net.happens('notices', 0.1)) throw new PortError('unavailable', 'no answer from the webhook');
    return answer.status;
  }

  const tickMilliseconds = 1_000 * between(2, 20);
  function tick(): void {
    void honest.tick().finally(() => schedule.in(tickMilliseconds, tick)).catch((error: unknown) => checks.blame(`the carrier: ${String(error)}`));
  }

  // ---------------------------------------------------------------- customers and stock

  const people = draw(4);
  const skus = Array.from({ length: Math.max(2, Math.ceil(plan.orders / between(4, 40, people))) }, (_, n) => `S${n}`);
  const hot = people() * 0.6;
  const scarce = between(0.3, 1.6, people);
  const acknowledged = new Map<string, PlaceOrder>();
  const demand = new Map<string, number>(skus.map((sku) => [sku, 0]));
  const request = (params: { sku: string }, idempotencyKey: string) => ({ params, query: undefined, idempotencyKey, headers: {}, raw: new Uint8Array() });

  async function describe(sku: string, amount: number): Promise<void> {
    const body = { name: `Product ${sku}`, description: '', price: { amount, currency: 'GBP' } };
    const answer = await insist((kernel) => product.answers.describeProduct(kernel, { ...request({ sku }, ''), body }));
    if (isRefusal(answer)) checks.blame(`${sku} cannot be described: ${answer.detail}`);
  }

  let receipts = 0;
  async function receive(sku: string, quantity: number): Promise<void> {
    const key = `receipt ${receipts++}`;
    const one = (): Promise<Reply> => insist((kernel) => inventory.answers.receiveStock(kernel, { ...request({ sku }, key), body: { quantity } }));
    const answers = await Promise.all(net.happens('haste', 0.2) ? [one(), one()] : [one()]);
    for (const answer of answers) if (isRefusal(answer)) checks.blame(`a receipt of ${sku} is refused: ${answer.detail}`);
  }

  function basket(): PlaceOrder {
    const count = people() < 0.03 ? Math.min(skus.length, 30) : 1 + Math.floor(people() ** 2 * 4);
    const lines = Array.from({ length: count }, () => ({ sku: people() < hot ? skus[0]! : some(skus, people), quantity: 1 + Math.floor(people() ** 3 * 5) }));
    return { customer: anna, address: home, lines };
  }

  /** One customer, from the first click on. */
  async function shopOnce(n: number, wish: PlaceOrder): Promise<void> {
    const key = `${plan.seed} ${n}`;
    const place = (): Promise<OrderView | Refusal> => insist((kernel) => kernel.published.placeOrder(wish, key));
    const clicks = net.happens('haste', 0.25) ? 2 : 1;
    const answers = await Promise.all(Array.from({ length: clicks }, place));
    let id: string | undefined;
    for (let answer of answers) {
      while (isRefusal(answer) && answer.status === 409) {
        await pause(300);
        answer = await place();
      }
      if (isRefusal(answer)) return checks.blame(`an order is refused: ${answer.detail}`);
      if (id !== undefined && answer.id !== id) checks.blame(`two orders under one key: ${id} and ${answer.id}`);
      ({ id } = answer);
    }
    acknowledged.set(id!, wish);
    const found = await ask((kernel) => kernel.published.order(id!));
    if (found === undefined) checks.blame(`the order ${id} was acknowledged and cannot be found`);
    if (net.happens('haste', 0.15)) {
      const other = { ...wish, lines: [...wish.lines, { sku: skus[1]!, quantity: 7 }] };
      const answer = await insist((kernel) => kernel.published.placeOrder(other, key));
      if (!isRefusal(answer)) checks.blame(`another order is taken under the key of ${id}`);
    }
    if (net.happens('haste', 0.3)) {
      await pause(random() < 0.6 ? between(0, 3_000) : between(0, plan.minutes * 90_000));
      await insist((kernel) => kernel.published.cancelOrder(id!));
    }
  }

  // ---------------------------------------------------------------- weather

  const minute = 60_000;
  const lasts = plan.minutes * minute;

  function planWeather(from: number): void {
    const sky = draw(5);
    const times = (fault: Fault, most: number, work: () => void): void => {
      const s = plan.faults[fault];
      if (s === undefined) return;
      for (let i = 0; i < Math.ceil(s * most); i++) schedule.at(from + sky() * lasts, () => calm || work());
    };
    times('storms', 4, () => net.storm(some(portNames), schedule.now() + between(1_000, 180_000)));
    times('splits', 8, () => {
      const { cutUntil } = some(instances).life;
      const until = schedule.now() + between(1_000, random() < 0.2 ? 400_000 : 40_000);
      for (const port of random() < 0.4 ? portNames : [some(portNames)]) cutUntil.set(port, until);
    });
    times('stalls', 6, () => {
      const stream = some(streams);
      net.stall(stream, some(engines.stream.partitions(stream)), schedule.now() + between(5_000, random() < 0.1 ? 3_600_000 : 300_000));
    });
    times('rolling', 2, () => void roll());
    times('resharding', 8, () => {
      net.count('resharding');
      const stream = some(streams);
      const partition = some(leaves(engines.stream, stream));
      trace('splits', `${stream} ${partition}`);
      engines.stream.split(stream, partition);
    });
    times('poison', 8, poison);
    times('killers', 1, () => {
      const id = `killer:${killers.size}`;
      killers.add(id);
      inject('inventory', stranger(id, 'StockChanged', { levels: [{ sku: 'KILLER', available: 1, stockVersion: killers.size }] }, 'KILLER'));
    });
  }

  let poisons = 0;
  function poison(): void {
    net.count('poison');
    const id = `poison:${poisons++}`;
    const about = random() < 0.5 && acknowledged.size > 0 ? some([...acknowledged.keys()]) : `stranger-${poisons}`;
    const kind = Math.floor(random() * 4);
    if (random() < 0.3) {
      const text = kind === 0 ? `{"no message": ${poisons}` : stranger(id, 'OrderPlaced', { orderId: 7 }, about);
      checks.foreign(text);
      return engines.queue.send('reserve-stock', [text], { now: schedule.now() });
    }
    const [stream, type] = some([['orders', 'CancellationRequested'], ['orders', 'OrderPlaced'], ['inventory', 'InventoryReserved'], ['inventory', 'Backordered'], ['shipping', 'OrderFulfillment'], ['shipping', 'OrderDelivered'], ['products', 'ProductInfoUpdated']] as const);
    const texts = [
      `{"no message": ${poisons}`,
      stranger(id, type, { orderId: { no: 'id' } }, about),
      stranger(id, type, { orderId: 'x' }, about, { dataversion: '99' }),
      stranger(id, type, { orderId: 'x' }, about, { time: timestamp(schedule.now() - 60 * 86_400_000) }),
    ];
    inject(stream, texts[kind]!, about);
  }

  function stranger(id: string, type: string, data: unknown, subject: string, more: object = {}): string {
    const message = { specversion: '1.0', id, source: '/stranger', type, subject, time: timestamp(schedule.now()), partitionkey: subject, sequence: '0000000000', dataversion: '1', data };
    return JSON.stringify({ ...message, ...more });
  }

  function inject(stream: string, text: string, partitionkey = 'KILLER'): void {
    checks.foreign(text);
    trace('poisons', `${stream} ${text.slice(0, 60)}`);
    engines.stream.append(stream, [{ partitionkey, text }], schedule.now());
  }

  // ---------------------------------------------------------------- from the beginning to the end

  const ended = (): boolean => checks.violation() !== undefined;

  async function until(what: string, seconds: number, rest: () => readonly string[]): Promise<boolean> {
    let at = false;
    const look = (): void => {
      at = rest().length === 0;
      if (!at) schedule.in(2_000, look);
    };
    look();
    const why = await schedule.run(schedule.now() + seconds * 1_000, () => at || ended());
    if (why !== 'done') checks.blame(`${what}: ${why === 'empty' ? 'nothing happens any more' : `not within ${seconds} s`}: ${rest().slice(0, 8).join('; ')}`);
    return !ended();
  }

  function unrest(): string[] {
    const rows = ['outbox', 'open'].flatMap((noun) => (checks.count(noun) > 0 ? [`${checks.count(noun)} rows ${noun}`] : []));
    const waiting = queues.flatMap((name) => (engines.queue.count(name) > 0 ? [`${engines.queue.count(name)} messages of ${name}`] : []));
    const due = parcelsStore.partitions().some((partition) => parcelsStore.query(partition, { prefix: 'due|', limit: 1 }).rows.length > 0) ? ['the carrier has something to say'] : [];
    return [...(busy > 0 ? [`${busy} people wait`] : []), ...rows, ...waiting, ...due, ...checks.unread(), ...retrying()];
  }

  /** Parked keys that try themselves again and may succeed. */
  function retrying(): string[] {
    if (checks.count('parked') === 0) return [];
    const heads = partitionsOf(collections.consumers).flatMap((partition) => engines.store.query(partition, { prefix: 'parked|', limit: 1_000 }).rows);
    return heads.flatMap(({ key: rowKey, body }) => {
      const { deaths, stream, consumer } = JSON.parse(body) as Head;
      const items = engines.store.query(partitionOfHead(body), { prefix: rowKey.replace('parked|', 'item|') + '|', limit: 1 }).rows;
      const message = items[0] && (JSON.parse(items[0].body) as Item).message;
      const id = message && (isMalformed(message) ? message.raw : message.id);
      return deaths < deathsMax && (id === undefined || !checks.isForeign(id)) ? [`${consumer} has parked ${id ?? 'nothing'} of ${stream}`] : [];
    });
  }

  const partitionOfHead = (body: string): string => {
    const { consumer, partitionkey } = JSON.parse(body) as Head;
    return partitionOf(collections.consumers, `${consumer} ${partitionkey}`);
  };

  /** What is done here is done in the run, on the process that is there. */
  async function play(what: string, work: (kernel: Kernel) => Promise<void>): Promise<boolean> {
    let done = false;
    const kernel = instances[0]!.kernel!;
    work(kernel).then(() => (done = true), (error: unknown) => checks.blame(`${what}: ${String(error)}`));
    await schedule.run(schedule.now() + 3_600_000, () => done || ended());
    if (!done && !ended()) checks.blame(`${what} does not come to its end`);
    return !ended();
  }

  async function begin(): Promise<boolean> {
    instances.forEach(born);
    tick();
    let described = false;
    meanwhile(async () => {
      await Promise.all(skus.map((sku, n) => describe(sku, 100 + n)));
      described = true;
    });
    return until('the products are described', 3_600, () => (described ? [] : ['not all']));
  }

  function planPeople(from: number): void {
    const wishes = Array.from({ length: plan.orders }, basket);
    for (const { lines } of wishes) for (const { sku, quantity } of lines) demand.set(sku, demand.get(sku)! + quantity);
    for (const [sku, wanted] of demand) {
      const all = Math.ceil(wanted * scarce);
      const first = people() < 0.3 ? 0 : Math.floor(all * people());
      if (first > 0) meanwhile(() => receive(sku, first));
      for (let left = all - first; left > 0; ) {
        const quantity = Math.min(left, 1 + Math.floor(people() * Math.max(1, all / 2)));
        left -= quantity;
        at(from + people() * lasts, () => receive(sku, quantity));
      }
    }
    // In bursts: many come in the same second.
    const bursts = Array.from({ length: 1 + Math.floor(people() * 5) }, () => people());
    wishes.forEach((wish, n) => at(from + (people() < 0.5 ? some(bursts, people) : people()) * lasts, () => shopOnce(n, wish)));
  }

  function at(time: number, work: () => Promise<void>): void {
    busy++;
    schedule.at(time, () => {
      busy--;
      meanwhile(work);
    });
  }

  function heal(): void {
    calm = true;
    net.calm();
    trace('heals', '');
    for (const { life } of instances) {
      life.skew = 0;
      life.cutUntil.clear();
    }
  }

  /** Nothing waits for a person without a reason. */
  async function explained(kernel: Kernel): Promise<void> {
    for (const { consumer, stream, partitionkey, reason, deaths } of await parkedKeys(kernel)) {
      if (deaths >= deathsMax && kills > 0) continue; // it was unlucky three times, and waits for a person
      const [first] = await parkedItems(kernel, consumer, stream, partitionkey, 1);
      const message = first?.body.message;
      const id = message && (isMalformed(message) ? message.raw : message.id);
      if (id === undefined || !checks.isForeign(id)) checks.blame(`${consumer} has parked ${partitionkey} of ${stream} because of ${id ?? 'nothing'}: ${reason}`);
    }
    for (const { body } of await deadLetters(kernel)) {
      const id = isMalformed(body.message) ? body.message.raw : body.message.id;
      if (isDead(body) && !checks.isForeign(id)) checks.blame(`${id} is dead: ${body.reason}`);
    }
    const doubtful = new Set<Fault>(['mailer', 'lost', 'unavailable', 'splits', 'kills', 'killers', 'storms', 'throttling', 'rolling']);
    const doubt = faultNames.some((name) => doubtful.has(name) && plan.faults[name] !== undefined);
    for (const [id, { mails }] of checks.letters) {
      for (const [milestone, { state }] of Object.entries(mails)) {
        const fine = state === 'sent' || ((state === 'uncertain' || state === 'refused') && doubt);
        if (!fine) checks.blame(`the letter ${id}.${milestone} is ${state}`);
      }
    }
    for (const [id, shipment] of checks.shipments) {
      const trouble = troubleOf(shipment);
      if (trouble !== undefined && plan.faults.carrier === undefined) checks.blame(`the booking of ${id} is ${trouble}`);
    }
  }

  /** Under which id it was first said: what is too old is retried under a fresh one, behind a `~`. */
  const nameOf = (message: Message | Malformed): string => (isMalformed(message) ? message.raw : message.id.replace(/~[^~]*$/, ''));

  /** What a person does who knows the truth. */
  async function tidyUp(kernel: Kernel): Promise<void> {
    for (;;) {
      const heads = await parkedKeys(kernel);
      if (heads.length === 0) break;
      for (const { consumer, stream, partitionkey, found } of heads) {
        const [first] = await parkedItems(kernel, consumer, stream, partitionkey, 1);
        const message = first?.body.message;
        const id = message && nameOf(message);
        const poisoned = id !== undefined && checks.isForeign(id) && !killers.has(id);
        await (poisoned ? dropFirst(kernel, found, { why: 'a stranger said it' }) : retryNow(kernel, found));
      }
      await pause(31_000);
    }
    for (const found of await deadLetters(kernel)) {
      const id = nameOf(found.body.message);
      if (isDead(found.body)) await (checks.isForeign(id) ? resolveDead(kernel, found, 'a stranger said it') : sendAgain(kernel, found));
    }
    for (const [id, { mails }] of checks.letters) {
      for (const [milestone, { state }] of Object.entries(mails)) {
        const params = { id: `${id}.${milestone}` };
        const asked = { params, query: undefined, body: undefined, idempotencyKey: undefined, headers: {}, raw: new Uint8Array() };
        if (state === 'uncertain' || state === 'refused') await (office.letters.has(params.id) ? notification.answers.resolveMail(kernel, asked as never) : notification.answers.retryMail(kernel, asked as never));
      }
    }
    for (const [id, shipment] of checks.shipments) {
      const trouble = troubleOf(shipment);
      const asked = { params: { id }, query: undefined, body: {}, idempotencyKey: undefined, headers: {}, raw: new Uint8Array() };
      if (trouble === 'leftOver') await shipping.answers.resolveBooking(kernel, asked as never);
      else if (trouble !== undefined) await shipping.answers.retryBooking(kernel, asked as never);
    }
  }

  function checkEnds(): void {
    for (const id of acknowledged.keys()) {
      const known = checks.orders.get(id);
      const status = known ? statusOf(known) : 'lost';
      if (status !== 'Delivered' && status !== 'Cancelled') checks.blame(`the order ${id} is ${status} at the end`);
      if (known?.at.CancellationRequested && status !== 'Cancelled' && !known.at.OrderFulfillment) checks.blame(`the order ${id} was to be cancelled, and is ${status}`);
    }
    checks.unheard().forEach(checks.blame);
    const shown = new Map(engines.store.query(partitionsOf(collections.catalogue)[0]!, { prefix: 'item|', limit: 1_000 }).rows.map(({ body }) => JSON.parse(body) as ProductView).map((view) => [view.sku, view]));
    for (const [sku, state] of checks.products) {
      if (state.name === undefined) continue;
      const { version, stock } = shown.get(sku) ?? { version: 0, stock: 'not at all' };
      if (version !== state.version || stock !== state.stock) checks.blame(`the website shows ${sku} ${stock} as of ${version}, Product says ${state.stock} as of ${state.version}`);
    }
    for (const [id, { placed }] of checks.orders) if (placed && !acknowledged.has(id)) checks.blame(`nobody has ordered ${id}`);
  }

  async function all(): Promise<void> {
    if (!(await begin())) return;
    const from = schedule.now() + 1_000;
    planPeople(from);
    planWeather(from);
    await schedule.run(from + lasts + between(0, 60_000), ended);
    if (ended()) return;
    heal();
    if (!(await until('everything comes to its end', settleSeconds, unrest))) return;
    backordered = [...checks.orders.values()].filter((each) => statusOf(each) === 'Backordered').length;
    if (!(await play('what waits is explained', explained))) return;
    if (!(await play('a person tidies up', tidyUp))) return;
    if (!(await until('everything comes to its end after that', settleSeconds, unrest))) return;
    // Before stock arrives that would wake everybody: whoever could be served has been.
    if (!(await play('the audit', auditAll))) return;
    for (const [sku, wanted] of demand) meanwhile(() => receive(sku, wanted + 1));
    if (!(await until('everything comes to its end with stock enough', settleSeconds, unrest))) return;
    if (!(await play('the audit at the end', auditAll))) return;
    checkEnds();
  }

  async function auditAll(kernel: Kernel): Promise<void> {
    for (const fault of (await audit(kernel)).faults) checks.blame(`the audit: ${fault}`);
  }
  let backordered = 0;

  await all();
  const ends = [...checks.orders.values()].map(statusOf);
  for (const { life } of instances) life.alive = false;
  return {
    plan,
    hash: log.hash(),
    violation: checks.violation(),
    lines: log.lines(),
    coverage: net.coverage,
    figures: {
      orders: acknowledged.size, events: schedule.events(), virtualSeconds: (schedule.now() - start) / 1_000, kills,
      delivered: ends.filter((status) => status === 'Delivered').length, cancelled: ends.filter((status) => status === 'Cancelled').length, backordered, letters: office.letters.size,
    },
  };
}

const dead: Life = { name: '', alive: false, skew: 0, cutUntil: new Map() };

function leaves(stream: StreamEngine, name: string): string[] {
  const found: string[] = [];
  const visit = (partition: string): void => {
    const end = stream.read(name, partition, undefined, 1_000_000);
    const last = 'gap' in end ? undefined : end.events.at(-1)?.position;
    const batch = last === undefined ? end : stream.read(name, partition, last, 1);
    if ('children' in batch && batch.children) batch.children.forEach(visit);
    else found.push(partition);
  };
  stream.partitions(name).forEach(visit);
  return found;
}

/** Seconds between the ticks of each timer: some seeds are diligent, others are lazy. */
function timersOf(plan: Plan, random: () => number) {
  const pace = (plan.faults.late !== undefined || plan.faults.stalls !== undefined ? 3 : 1) * (1 + 3 * random());
  return { sweepOutbox: 60 * pace, retryParked: 10 * pace, forgetSeen: 21_600, pollProducts: 10 * pace, sweepOpenOrders: 30 * pace, sweepClaims: 30 * pace, sweepBookings: 15 * pace };
}

/** The engines, with the checkers looking at all that is written. */
function watched(base: { store: StoreEngine; queue: QueueEngine; stream: StreamEngine }, checks: Checks) {
  const texts = new Map<number, string>();
  const store: StoreEngine = {
    ...base.store,
    commit(partition, writes) {
      const versions = base.store.commit(partition, writes);
      checks.committed(partition, writes);
      return versions;
    },
  };
  const queue: QueueEngine = {
    ...base.queue,
    send(name, sent, options) {
      checks.sent(name, sent);
      base.queue.send(name, sent, options);
    },
    receive(name, max, now) {
      const found = base.queue.receive(name, max, now);
      for (const { token, text } of found) texts.set(token, text);
      return found;
    },
    remove(name, token, now) {
      base.queue.remove(name, token, now);
      checks.removed(name, texts.get(token)!);
    },
  };
  const stream: StreamEngine = {
    ...base.stream,
    append(name, appended, now) {
      checks.appended(name, appended);
      base.stream.append(name, appended, now);
    },
  };
  return { store, queue, stream };
}

function createOffice(proof: boolean, checks: Checks): PostOffice {
  const letters = new Map<string, number>();
  return {
    letters,
    proof,
    take({ key }) {
      const known = letters.get(key) ?? 0;
      if (known > 0 && !proof) checks.blame(`the letter ${key} is sent twice`);
      letters.set(key, known + 1);
    },
  };
}

/** A store without a net: the carrier's own. */
function plainStore(engine: StoreEngine): StoreDriver {
  return {
    get: async (partition, key) => engine.get(partition, key),
    query: async (partition, query) => engine.query(partition, query),
    commit: async (partition, writes) => engine.commit(partition, writes),
  };
}

const alphabet = '0123456789abcdefghjkmnpqrstvwxyz';

function createFastIds(fraction: () => number): Ids {
  return {
    fraction,
    random() {
      let id = '';
      for (let i = 0; i < 26; i++) id += alphabet[Math.floor(fraction() * 32)];
      return id;
    },
  };
}

function errorIn(data: object): string {
  const { error, ...rest } = data as { error?: unknown };
  return `${error === undefined ? '' : String(error)} ${JSON.stringify(rest)}`;
}

/** A hash over everything that happens, and the last lines of it in words. */
function createTrace(keep: number) {
  let one = 0x811c9dc5;
  let two = 0x9dc5811c;
  const kept: string[] = [];
  const mix = (text: string): void => {
    for (let i = 0; i < text.length; i++) one = Math.imul(one ^ text.charCodeAt(i), 0x01000193);
    two = Math.imul(two ^ one ^ (one >>> 15), 0x01000193) + text.length;
  };
  const say = (now: number, word: string, what: string): void => {
    if (keep === 0) return;
    kept.push(`${new Date(now).toISOString().slice(11)} ${word} ${what}`);
    if (kept.length > keep * 2) kept.splice(0, keep);
  };
  return {
    say,
    note(now: number, word: string, what: string): void {
      two = Math.imul(two ^ Math.floor(now), 0x01000193);
      mix(word);
      mix(what);
      say(now, word, what);
    },
    noteWrites(now: number, name: string, partition: string, writes: readonly RawWrite[]): void {
      two = Math.imul(two ^ Math.floor(now), 0x01000193);
      mix(name);
      mix(partition);
      for (const { op, key } of writes) {
        mix(op);
        mix(key);
      }
      if (keep > 0) say(now, `${name} commits`, `${partition} ${writes.map(({ op, key }) => `${op} ${key}`).join(', ')}`);
    },
    hash: (): string => [one, two].map((half) => (half >>> 0).toString(16).padStart(8, '0')).join(''),
    lines: (): string[] => kept.slice(-keep),
  };
}
