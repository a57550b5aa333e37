import { expect } from 'chai';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openEmbedded } from '../../adapters/embedded/index.ts';
import { openMemory } from '../../adapters/memory/index.ts';
import { audit } from '../../core/audit.ts';
import { collections, queues, streams } from '../../core/flow.ts';
import { rowsOf } from '../../core/kernel/list.ts';
import { say } from '../../core/kernel/model.ts';
import { parkedKeys } from '../../core/kernel/park.ts';
import { horizonDays } from '../../core/kernel/forget.ts';
import type { AnyService, Kernel } from '../../core/kernel/service.ts';
import { inventory } from '../../core/inventory/index.ts';
import type { OrderView } from '../../core/order/events.ts';
import { product } from '../../core/product/index.ts';
import { shipping } from '../../core/shipping/index.ts';
import { openShop } from '../../handlers/container.ts';
import { services as allServices } from '../../handlers/index.ts';
import { startPump } from '../../handlers/pump.ts';
import { parseSettings } from '../../handlers/settings.ts';
import {
  Defect, Invalid, PortError, openStore, partitionsOf, timestamp,
  type Collection, type Letter, type Malformed, type Message, type Received, type Refusal, type StreamEvent,
} from '../../ports/index.ts';
import { anna, basket, home } from '../support/client.ts';
import { createClock, type VirtualClock } from '../support/clock.ts';
import { createIds, randomFrom } from '../support/ids.ts';
import { createLog } from '../support/log.ts';
import { toys, throttled, unavailable, type Call } from '../support/world.ts';

/**
 * POISON: what cannot be handled harms nobody but itself, and is kept where a person finds it; and a world that is sick is nobody's poison. On a clock that stands still
 * until it is moved, with handlers that take the time that is modelled for them: so a delay is what the machinery adds, and not what this machine was doing.
 */
interface Host {
  readonly clock: VirtualClock;
  readonly kernel: Kernel;
  readonly letters: readonly Letter[];
  /** While it is set it says how each call to a driver goes: `lost` is done, and answered `unavailable`. */
  sick: ((call: Pick<Call, 'port' | 'method' | 'args'>) => 'well' | 'lost' | PortError) | undefined;
  play<Result>(work: Promise<Result>): Promise<Result>;
  /** Past all sickness. */
  rows<Body>(collection: Collection, noun: string): Promise<Body[]>;
  audit(): Promise<readonly string[]>;
  stop(): Promise<void>;
}

const families = ['memory', 'embedded'] as const;
type Family = (typeof families)[number];

async function openHost(family: Family, services: readonly AnyService[]): Promise<Host> {
  const clock = createClock();
  const ids = createIds(7);
  const dataDir = mkdtempSync(join(tmpdir(), 'anyport-poison-'));
  const memory = openMemory({ clock, queues, streams });
  const embedded = family === 'embedded' ? await openEmbedded({ dataDir, clock, queues, streams }) : undefined;
  const { store, queue, stream } = embedded ?? memory;
  const healthy = openStore(store);
  let sick: Host['sick'];
  const settings = parseSettings({ ADAPTERS: 'memory', DEMO_CARRIER_DELIVERS_AFTER_SECONDS: '3', DEMO_CARRIER_SECRET: 'a secret of the demo carrier' });
  const shop = await play(
    openShop(settings, {
      clock, ids, log: createLog(), memory: { ...memory, queue: faced('queue', queue), stream: faced('stream', stream), store: faced('store', store) },
      async post(carrier, headers, raw) {
        const reply = await shipping.answers.takeNotice(shop.kernel, { params: { carrier }, query: undefined, body: undefined, idempotencyKey: undefined, headers, raw });
        return reply.status;
      },
    }),
  );
  const pump = startPump(shop.kernel, services, { everySeconds: { sweepBookings: 30, sweepClaims: 30 }, timers: [{ name: 'demoCarrier', everySeconds: 5, tick: () => shop.carrier.tick() }] });

  const host: Host = {
    clock,
    kernel: shop.kernel,
    letters: memory.mailer.letters,
    get sick() {
      return sick;
    },
    set sick(now) {
      sick = now;
    },
    play,
    async rows<Body>(collection: Collection, noun: string) {
      const found: Body[] = [];
      for (const partition of partitionsOf(collection)) for await (const { body } of rowsOf<Body>(healthy, partition, `${noun}|`)) found.push(body);
      return found;
    },
    audit: async () => (await audit({ ...shop.kernel, store: healthy })).faults,
    async stop() {
      await play(pump.stop());
      await shop.close();
      await embedded?.close();
      memory.close();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };

  function faced<Driver extends object>(port: Call['port'], driver: Driver): Driver {
    return new Proxy(driver, {
      get(target, method) {
        const member: unknown = Reflect.get(target, method);
        if (typeof member !== 'function') return member;
        return async (...args: unknown[]): Promise<unknown> => {
          const verdict = sick?.({ port, method: String(method), args }) ?? 'well';
          if (verdict instanceof PortError) throw verdict;
          const result: unknown = await Reflect.apply(member, target, args);
          if (verdict === 'lost') throw unavailable();
          return result;
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

  return host;
}

const idOf = (n: number): string => n.toString(32).padStart(26, '0');
const noon = Date.parse('2026-11-20T09:00:00.000Z');
const cancelled = (n: number, sequence: number): Message =>
  say('CancellationRequested', { orderId: idOf(n) }, { subject: idOf(n), sequence, at: timestamp(noon) }).message;
function placed(n: number): Message {
  const lines = [{ sku: 'A', name: 'A', quantity: 1, unitPrice: 1 }];
  const data = { orderId: idOf(n), placedAt: timestamp(noon), customer: anna, address: home, lines, total: { amount: 1, currency: 'GBP' } };
  return say('OrderPlaced', data, { subject: idOf(n), sequence: 0, at: timestamp(noon) }).message;
}

function p99(delays: readonly number[]): number {
  return [...delays].sort((a, b) => a - b)[Math.floor(delays.length * 0.99)]!;
}

describe('poison', () => {
  describe('in a stream', () => {
    const keys = 2_000;
    const poisonedKey = 77;

    /** Events of many keys, some a second; each takes from 2 to 12 ms to be handled. The poisoned key has more of them than others. */
    interface Run {
      readonly host: Host;
      /** Milliseconds from append to handled, of all but the poisoned key. */
      readonly delays: number[];
      /** The sequence numbers of the poisoned key, as they were handled. */
      readonly heard: number[];
      /** How many events of the poisoned key were appended, and how many of all others. */
      readonly sent: { poisoned: number; others: number };
      /** From now on. */
      cure(): void;
      appendMore(times: number): Promise<void>;
    }

    async function run(count: number, poison: boolean): Promise<Run> {
      const random = randomFrom(99);
      const costs = Array.from({ length: 1_009 }, () => 2 + Math.floor(random() * 10));
      const sequences = new Map<number, number>();
      const appendedAt = new Map<string, number>();
      const delays: number[] = [];
      const heard: number[] = [];
      const sent = { poisoned: 0, others: 0 };
      let broken = poison;
      let nth = 0;
      const hears = {
        CancellationRequested: async (kernel: Kernel, message: Message) => {
          const ours = message.subject === idOf(poisonedKey);
          await kernel.clock.sleep(costs[nth++ % costs.length]!);
          // One event alone is poisoned: the tenth of its key.
          if (ours && Number(message.sequence) === 10 && broken) throw new Defect('by the test');
          if (ours) heard.push(Number(message.sequence));
          else delays.push(kernel.clock.now() - appendedAt.get(message.id)!);
        },
      };
      const host = await openHost('memory', toys({ shipping: hears }));

      async function append(key: number): Promise<void> {
        const sequence = sequences.get(key) ?? 0;
        sequences.set(key, sequence + 1);
        sent[key === poisonedKey ? 'poisoned' : 'others']++;
        const message = cancelled(key, sequence);
        appendedAt.set(message.id, host.clock.now());
        await host.kernel.stream.append('orders', [message]);
      }
      const appendMany = async (times: number): Promise<void> => {
        for (let i = 0; i < times; i += 4) {
          for (let j = 0; j < 4; j++) await append(random() < 0.01 ? poisonedKey : Math.floor(random() * keys));
          await host.clock.advance(10);
        }
      };
      await appendMany(count);
      await host.clock.advance(1_000);
      return { host, delays, heard, sent, cure: () => void (broken = false), appendMore: appendMany };
    }

    it('one event in 10,000 delays no other: their p99 stays below twice what it is without; its key is parked in order, listed, and replayed in order', async function () {
      this.timeout(60_000);
      const without = await run(2_500, false);
      await without.host.stop();
      expect(without.delays.length).to.equal(without.sent.others);

      const { host, delays, heard, sent, cure, appendMore } = await run(10_000, true);
      expect(delays.length, 'all others are handled').to.equal(sent.others);
      expect(sent.others).to.be.greaterThan(9_800);
      expect(p99(delays)).to.be.lessThan(2 * p99(without.delays));
      expect(Math.max(...delays)).to.be.lessThan(2 * Math.max(...without.delays));

      // Parked in order and listed, with what came later.
      expect(heard).to.deep.equal([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
      const [parked, ...more] = await host.play(parkedKeys(host.kernel));
      expect(more).to.deep.equal([]);
      expect(parked).to.include({ consumer: 'shipping', stream: 'orders', partitionkey: idOf(poisonedKey), reason: 'Defect: by the test', items: sent.poisoned - 10 });
      const items = (await host.rows<StreamEvent>(collections.consumers, 'item')).map(({ message }) => Number((message as Message).sequence));
      expect(items).to.deep.equal(Array.from({ length: sent.poisoned - 10 }, (_, n) => n + 10));
      const positions = await host.rows<{ after?: string }>(collections.consumers, 'position');
      expect(positions.filter(({ after }) => after !== undefined)).to.have.length.at.least(4);

      // And after the cause is gone, while more comes: in order, each once.
      cure();
      await appendMore(400);
      await host.clock.advance(200_000);
      expect(heard).to.deep.equal(Array.from({ length: sent.poisoned }, (_, n) => n));
      expect(await host.rows(collections.consumers, 'parked')).to.deep.equal([]);
      expect(await host.rows(collections.consumers, 'item')).to.deep.equal([]);
      expect(delays.length).to.equal(sent.others);
      await host.stop();
    });
  });

  for (const family of families) {
    describe(`in a queue (${family})`, () => {
      it('ends in the dead letters, with reason, attempts and payload, and delays no neighbour', async function () {
        this.timeout(60_000);
        const count = family === 'memory' ? 600 : 200;
        const without = await run(false);
        await without.host.stop();
        const { host, delays, times, poisons } = await run(true);
        expect(times.size).to.equal(count);
        expect([...times.values()].every((each) => each === 1), 'each neighbour is handled once').to.equal(true);
        expect(p99(delays)).to.be.lessThan(2 * p99(without.delays));

        await host.clock.advance(1_200_000);
        const dead = await host.rows<{ channel: string; consumer: string; reason: string; attempts: number; message: Message | Malformed }>(collections.dead, 'dead');
        const found = dead.map(({ channel, consumer, reason, attempts, message }) => ({ channel, consumer, reason, attempts, message }));
        const letter = (reason: string, attempts: number, message: Message | Malformed) => ({ channel: 'reserve-stock', consumer: 'inventory', reason, attempts, message });
        const [defect, invalid, newer, old] = poisons as [Message, Message, Message, Message];
        expect(found).to.have.deep.members([
          letter('maxAttempts: Defect: by the test', 10, defect),
          letter('invalid: by the test', 1, invalid),
          letter('invalid: OrderPlaced has version 2, known is 1', 1, newer),
          letter(`invalid: tooOld: said ${old.time}`, 1, old),
        ]);
        expect(times.size, 'and nobody else').to.equal(count);
        await host.stop();

        async function run(poison: boolean) {
          const random = randomFrom(5);
          const delays: number[] = [];
          const times = new Map<string, number>();
          const sentAt = new Map<string, number>();
          const hears = {
            OrderPlaced: async (kernel: Kernel, message: Message) => {
              await kernel.clock.sleep(2 + Math.floor(random() * 10));
              if (message.subject === idOf(50_000)) throw new Defect('by the test');
              if (message.subject === idOf(50_001)) throw new Invalid('by the test');
              times.set(message.id, (times.get(message.id) ?? 0) + 1);
              delays.push(kernel.clock.now() - sentAt.get(message.id)!);
            },
          };
          const host = await openHost(family, toys({ inventory: hears }));
          const old = timestamp(noon - (horizonDays + 1) * 86_400_000);
          const poisons: Message[] = [placed(50_000), placed(50_001), { ...placed(50_002), dataversion: '2' }, { ...placed(50_003), time: old }];
          for (let n = 0; n < count; n += 5) {
            const some = Array.from({ length: 5 }, (_, i) => placed(n + i));
            for (const { id } of some) sentAt.set(id, host.clock.now());
            if (poison && n === 100) some.splice(2, 0, ...poisons);
            await host.play(host.kernel.queue.send('reserve-stock', some));
            await host.clock.advance(10);
          }
          await host.clock.advance(1_000);
          return { host, delays, times, poisons };
        }
      });
    });

    describe(`a sick world (${family})`, () => {
      const hour = 3_600_000;
      let host: Host;
      afterEach(async () => {
        host.sick = undefined;
        await host.stop();
      });

      async function expectNobodyBlamed(): Promise<void> {
        expect(await host.rows(collections.dead, 'dead'), 'dead letters').to.deep.equal([]);
        expect(await host.rows(collections.consumers, 'parked'), 'parked keys').to.deep.equal([]);
      }

      async function until(done: () => boolean | Promise<boolean>, seconds: number): Promise<void> {
        for (const end = host.clock.now() + seconds * 1_000; !(await done()); ) {
          if (host.clock.now() >= end) throw new Error(`not so after ${seconds} s`);
          await host.clock.advance(1_000);
        }
      }

      interface Illness {
        readonly what: string;
        readonly error: PortError;
        readonly ports: readonly Call['port'][];
      }
      const storeIsDown: Illness = { what: 'the store is down', error: unavailable(), ports: ['store'] };
      const storeThrottles: Illness = { what: 'the store throttles everything', error: throttled(), ports: ['store'] };
      const roadsAreDown: Illness = { what: 'queues and streams are down', error: unavailable(), ports: ['queue', 'stream'] };

      for (const { what, error, ports } of family === 'memory' ? [storeIsDown, storeThrottles, roadsAreDown] : [storeIsDown]) {
        it(`parks nothing, buries nothing and loses nothing while ${what} for an hour, wherever orders are at that moment`, async function () {
          this.timeout(60_000);
          host = await openHost(family, allServices);
          const { kernel, play, clock } = host;
          const raw = { query: undefined, idempotencyKey: undefined, headers: {}, raw: new Uint8Array() };
          await play(product.answers.describeProduct(kernel, { ...raw, params: { sku: 'A' }, body: { name: 'A', description: '', price: { amount: 250, currency: 'GBP' } } }));
          await play(inventory.answers.receiveStock(kernel, { ...raw, params: { sku: 'A' }, body: { quantity: 100 } }));
          const place = (n: number): Promise<OrderView | Refusal> => play(kernel.published.placeOrder(basket(['A', 1]), `order ${n}`));
          const refused: number[] = [];
          const tryToPlace = (n: number): Promise<unknown> => place(n).catch((failure: unknown) => void (failure instanceof PortError && refused.push(n)));
          // The first is with the carrier when it begins, the next two have just been placed.
          await place(0);
          await clock.advance(1_000);
          for (const n of [1, 2]) await place(n);
          let lost = false;
          host.sick = ({ port, method, args }) => {
            if (!ports.includes(port)) return 'well';
            // Of one order that is placed then, the answer alone is lost: it is there, and nobody has been told.
            const placing = method === 'commit' && (args[0] as string).startsWith('orders~');
            if (!placing || lost || error.kind === 'throttled') return error;
            lost = true;
            return 'lost';
          };
          for (const n of [3, 4]) await tryToPlace(n);
          const begun = clock.now();
          await clock.advance(hour);
          expect(clock.now() - begun).to.be.at.least(hour);
          await expectNobodyBlamed();

          host.sick = undefined;
          expect(refused, 'those whom nobody could answer').to.deep.equal(ports.includes('store') ? [3, 4] : []);
          const placed = ports.includes('store') && !lost ? 3 : lost ? 4 : 5;
          const orders = () => host.rows<{ state: { at: { OrderDelivered?: string } } }>(collections.orders, 'order');
          expect(await orders()).to.have.length(placed);
          await until(async () => (await orders()).every(({ state }) => state.at.OrderDelivered !== undefined), 600);
          await clock.advance(120_000);
          await expectNobodyBlamed();
          expect(host.letters.map(({ key }) => key.split('.')[1]!).sort()).to.deep.equal(['confirmation', 'delivered', 'shipped'].flatMap((milestone) => Array<string>(placed).fill(milestone)));
          expect(await host.audit()).to.deep.equal([]);
          // Whoever was not answered asks again, and what was done for him is not done twice.
          for (const n of [0, 1, 2, 3]) expect(await place(n)).not.to.have.property('refused');
          expect(await orders()).to.have.length(Math.max(4, placed));
        });
      }

      it('blames no message for handlers that are throttled or get no answer, however long, and handles all when it is over', async function () {
        this.timeout(60_000);
        let sick = true;
        let tries = 0;
        const heard = { queue: [] as string[], stream: [] as string[] };
        const hears = (road: 'queue' | 'stream') => async (_: unknown, message: Message) => {
          if (sick) throw tries++ % 2 ? throttled() : unavailable();
          heard[road].push(message.id);
        };
        host = await openHost(family, toys({ inventory: { OrderPlaced: hears('queue') }, shipping: { CancellationRequested: hears('stream') } }));
        const work = [1, 2].map((n) => placed(n));
        const events = [1, 2].flatMap((n) => [0, 1, 2].map((sequence) => cancelled(n, sequence)));
        await host.play(host.kernel.queue.send('reserve-stock', work));
        await host.play(host.kernel.stream.append('orders', events));
        // Each try of a queue is two commits; on a disk they take their time.
        const minutes = family === 'memory' ? 20 : 3;
        await host.clock.advance(minutes * 60_000);
        expect(tries).to.be.greaterThan(minutes * 60);
        await expectNobodyBlamed();
        sick = false;
        await host.clock.advance(10_000);
        expect(heard.queue).to.have.members(work.map(({ id }) => id));
        for (const n of [1, 2]) expect(heard.stream.filter((id) => id.startsWith(idOf(n)))).to.deep.equal([0, 1, 2].map((sequence) => cancelled(n, sequence).id));
        await expectNobodyBlamed();
        const left: Received[] = await host.play(host.kernel.queue.receive('reserve-stock', { max: 10, waitSeconds: 0 }));
        expect(left).to.deep.equal([]);
      });
    });
  }
});
