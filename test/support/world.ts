import '../../adapters/carriers/carrier.ts'; // loaded beforehand: while a module is being loaded the clock does not know that somebody is busy
import { openMemory, type Engines, type Memory, type Profile } from '../../adapters/memory/index.ts';
import { audit } from '../../core/audit.ts';
import { collections, queues, services as names, streams, subscriptions } from '../../core/flow.ts';
import { inventory } from '../../core/inventory/index.ts';
import type { Document } from '../../core/kernel/execute.ts';
import type { AnyService, Kernel, Reply } from '../../core/kernel/service.ts';
import type { OrderView } from '../../core/order/events.ts';
import { statusOf, type Order } from '../../core/order/order.ts';
import { product } from '../../core/product/index.ts';
import { shipping } from '../../core/shipping/index.ts';
import { openShop, type Shop } from '../../handlers/container.ts';
import { handlers, services as allServices } from '../../handlers/index.ts';
import { goOn } from '../../handlers/local.ts';
import { startPump, type Pump } from '../../handlers/pump.ts';
import { parseSettings } from '../../handlers/settings.ts';
import { PortError, isRefusal, isTransient, key, openStore, partitionOf, type Ids, type Letter, type OutboxBody, type Tracer } from '../../ports/index.ts';
import { anna, home } from './client.ts';
import { createClock, type VirtualClock } from './clock.ts';
import { createIds, randomFrom } from './ids.ts';
import { createLog } from './log.ts';

/**
 * A WORLD: the whole shop without HTTP, in memory, on a clock that stands still until the test moves it. The carrier's notices are handed straight to Shipping's door.
 *
 * What is stored outlives a `restart`, which is a kill: the drivers fail from one moment to the next, whatever was under way is abandoned, and the shop opens anew.
 */
export interface World {
  readonly clock: VirtualClock;
  readonly ids: Ids;
  readonly log: ReturnType<typeof createLog>;
  readonly engines: Engines;
  /** Of the shop that is open now. */
  readonly kernel: Kernel;
  /** Stands between the shop and its drivers, if set: may fail, wait, count, or do the work twice. */
  interfere: Interfere | undefined;
  restart(): Promise<void>;
  /** The carrier says what it has to say. */
  tick(): Promise<number>;
  /** Lets time pass until the work is done. */
  play<Result>(work: Promise<Result>): Promise<Result>;
  /** Lets time pass until nothing is left to do. Throws when that takes longer, saying what is left. */
  settle(seconds?: number): Promise<void>;
  /** What does not agree in the books of the services, in words; asked past all faults. */
  audit(): Promise<readonly string[]>;
  /** What is not at rest, in words. */
  unrest(): string[];
  rows<Body>(noun: string): { readonly partition: string; readonly key: string; readonly body: Body }[];
  describe(sku: string, quantity: number): Promise<void>;
  place(...lines: [string, number][]): Promise<OrderView>;
  order(id: string): OrderView['status'] | undefined;
  letters(orderId: string): Letter[];
  stop(): Promise<void>;
}

export interface Call {
  readonly port: 'store' | 'queue' | 'stream' | 'mailer' | 'carrier';
  readonly method: string;
  // oxlint-disable-next-line typescript/no-explicit-any -- whatever that method takes
  readonly args: readonly any[];
}
export type Interfere = (call: Call, work: () => Promise<unknown>) => Promise<unknown>;

export interface WorldOptions {
  readonly seed?: number;
  /** As bad as this. */
  readonly profile?: Profile;
  /** Nobody receives anything: the test does. */
  readonly still?: boolean;
  readonly services?: readonly AnyService[];
  readonly partitionsPerStream?: number;
  readonly retentionDays?: number;
  /** 20 unless told; 0: never. */
  readonly deliversAfterSeconds?: number;
  /** Traces are collected, and the carrier's notices go through the door's whole chain. */
  readonly tracer?: Tracer;
}

export async function openWorld(options: WorldOptions = {}): Promise<World> {
  const { seed = 1, profile, still = false, services = allServices } = options;
  const clock = createClock();
  const ids = createIds(seed);
  const log = createLog();
  const random = randomFrom(seed + 1);
  const settings = parseSettings({
    ADAPTERS: 'memory',
    DEMO_CARRIER_DELIVERS_AFTER_SECONDS: String(options.deliversAfterSeconds ?? 20),
    DEMO_CARRIER_SECRET: 'a secret of the demo carrier',
  });
  let memory: Memory | undefined;
  let shop: Shop | undefined;
  let kernel: Kernel | undefined;
  let pump: Pump | undefined;

  const world: World = {
    clock,
    ids,
    log,
    interfere: undefined,
    get engines() {
      return memory!.engines;
    },
    get kernel() {
      return kernel!;
    },
    restart,
    tick: () => shop!.carrier.tick(),
    play,
    settle,
    audit: async () => (await audit({ ...kernel!, store: openStore(openMemory({ clock, queues, streams, engines: memory!.engines }).store) })).faults,
    unrest,
    rows,
    describe,
    place,
    order(id) {
      const row = memory!.engines.store.get(partitionOf(collections.orders, id), key('order', id));
      return row && statusOf((JSON.parse(row.body) as Document<Order>).state);
    },
    letters: (orderId) => memory!.engines.letters.filter((letter) => letter.key.startsWith(orderId)),
    async stop() {
      await play(pump?.stop() ?? Promise.resolve());
      memory!.close();
    },
  };

  function faced<Driver extends object>(port: Call['port'], driver: Driver): Driver {
    return new Proxy(driver, {
      get(target, name) {
        const member: unknown = Reflect.get(target, name);
        if (typeof member !== 'function') return member;
        return (...args: unknown[]) => {
          const work = async (): Promise<unknown> => Reflect.apply(member, target, args) as unknown;
          return world.interfere ? world.interfere({ port, method: String(name), args }, work) : work();
        };
      },
    });
  }

  async function open(): Promise<void> {
    const { partitionsPerStream = 4, retentionDays = 7 } = options;
    const faults = profile ? { faults: { profile, random } } : {};
    memory = openMemory({ clock, queues, streams, partitionsPerStream, retentionDays, ...faults, ...(memory ? { engines: memory.engines } : {}) });
    const { store, queue, stream, mailer } = memory;
    const watched = { ...memory, store: faced('store', store), queue: faced('queue', queue), stream: faced('stream', stream), mailer: faced('mailer', mailer) };
    shop = await persistently(() => openShop(settings, { post, clock, ids, log, memory: watched, ...(options.tracer ? { tracer: options.tracer } : {}) }));
    const mine = shop;
    kernel = { ...mine.kernel, carrier: faced('carrier', mine.kernel.carrier) };
    if (still) return;
    pump = startPump(kernel, services, {
      everySeconds: { sweepBookings: 10, sweepClaims: 30 },
      timers: [{ name: 'demoCarrier', everySeconds: 2, tick: () => mine.carrier.tick() }],
    });
    void goOn({ kernel }, clock.now());
  }

  async function persistently<Result>(work: () => Promise<Result>): Promise<Result> {
    for (;;) {
      try {
        return await play(work());
      } catch (error) {
        if (!isTransient(error)) throw error;
      }
    }
  }

  async function post(carrier: string, headers: Readonly<Record<string, string>>, raw: Uint8Array): Promise<number> {
    if (options.tracer) {
      const event = { method: 'POST', path: `/api/carriers/${carrier}/notices`, params: { carrier }, query: new URLSearchParams(), headers, body: raw };
      return (await handlers.takeNotice(event, { kernel: kernel!, adminToken: '' })).status;
    }
    const request = { params: { carrier }, query: undefined, body: undefined, idempotencyKey: undefined, headers, raw };
    const reply: Reply = await shipping.answers.takeNotice(kernel!, request);
    return reply.status;
  }

  async function restart(): Promise<void> {
    memory!.close();
    void pump?.stop();
    await open();
  }

  async function play<Result>(work: Promise<Result>): Promise<Result> {
    let settled = false;
    const mark = (): void => void (settled = true);
    work.then(mark, mark);
    await clock.idle();
    // Where nobody sleeps something outside our time is waited for, as a module that is being loaded.
    for (let patientUntil = performance.now() + 5_000; !settled; ) {
      if (await clock.next()) patientUntil = performance.now() + 5_000;
      else if (performance.now() > patientUntil) throw new Error('nobody sleeps, and the work is not done');
    }
    return work;
  }

  async function settle(seconds = 3_600): Promise<void> {
    await clock.idle();
    for (const until = clock.now() + seconds * 1_000; unrest().length > 0; ) {
      if (clock.now() >= until) throw new Error(`not at rest after ${seconds} s: ${unrest().slice(0, 20).join('; ')}`);
      await clock.advance(1_000);
    }
  }

  function unrest(): string[] {
    const { queue } = memory!.engines;
    return [
      ...queues.flatMap((name) => (queue.count(name) > 0 ? [`${queue.count(name)} messages of ${name}`] : [])),
      ...rows<OutboxBody>('outbox').flatMap((row) => (row.body.stuck ? [] : [`${row.partition} ${row.key}`])),
      ...['open', 'due', 'parked'].flatMap((noun) => rows(noun).map((row) => `${row.partition} ${row.key}`)),
      ...unread(),
    ];
  }

  function unread(): string[] {
    const { store, stream } = memory!.engines;
    return subscriptions.flatMap(({ kind, channel, service, polled }) => {
      if (kind === 'queue' || polled) return [];
      const visit = (partition: string): string[] => {
        const rowKey = key('position', service, channel, partition);
        const row = store.get(partitionOf(collections.consumers, rowKey), rowKey);
        const batch = stream.read(channel, partition, row && (JSON.parse(row.body) as { after?: string }).after, 1);
        if ('gap' in batch || batch.events.length > 0) return [`${service} has not read ${channel} ${partition}`];
        return (batch.children ?? []).flatMap(visit);
      };
      return stream.partitions(channel).flatMap(visit);
    });
  }

  function rows<Body>(noun: string): { partition: string; key: string; body: Body }[] {
    const { store } = memory!.engines;
    const query = { prefix: key(noun, ''), limit: 1_000_000 };
    return store.partitions().flatMap((partition) =>
      store.query(partition, query).rows.map((row) => ({ partition, key: row.key, body: JSON.parse(row.body) as Body })),
    );
  }

  async function describe(sku: string, quantity: number): Promise<void> {
    const request = { query: undefined, idempotencyKey: ids.random(), headers: {}, raw: new Uint8Array() };
    const body = { name: sku, description: '', price: { amount: 250, currency: 'GBP' } };
    const described = await persistently(() => product.answers.describeProduct(kernel!, { ...request, params: { sku }, body }));
    if (isRefusal(described)) throw new Error(described.detail);
    if (quantity === 0) return;
    const received = await persistently(() => inventory.answers.receiveStock(kernel!, { ...request, params: { sku }, body: { quantity } }));
    if (isRefusal(received)) throw new Error(received.detail);
  }

  async function place(...lines: [string, number][]): Promise<OrderView> {
    const idempotencyKey = ids.random();
    const request = { customer: anna, address: home, lines: lines.map(([sku, quantity]) => ({ sku, quantity })) };
    const placed = await persistently(() => kernel!.published.placeOrder(request, idempotencyKey));
    if (isRefusal(placed)) throw new Error(placed.detail);
    return placed;
  }

  await open();
  return world;
}

/** Services that hear what the test wants them to, and nothing else; all six are there, for the pump. */
export function toys(hears: { readonly [S in AnyService['name']]?: AnyService['hears'] }): AnyService[] {
  const ticks = new Proxy({}, { get: () => async () => {} });
  return names.map((name) => ({ name, hears: hears[name] ?? {}, answers: {}, ticks }));
}

export const unavailable = (): PortError => new PortError('unavailable', 'by the test');
export const throttled = (): PortError => new PortError('throttled', 'by the test');
