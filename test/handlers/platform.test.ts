import { expect } from 'chai';
import { clocks, collections, queues, subscriptions } from '../../core/flow.ts';
import { forgetOld } from '../../core/kernel/forget.ts';
import { retryParked } from '../../core/kernel/park.ts';
import { services } from '../../handlers/index.ts';
import { functions, functionSeconds } from '../../handlers/functions.ts';
import { catchUp, deliver, work, type Delivery } from '../../handlers/trigger.ts';
import { decode, isTransient, partitionsOf, type StreamEvent } from '../../ports/index.ts';
import { faultless, harsh } from '../../adapters/memory/faults.ts';
import { randomFrom } from '../support/ids.ts';
import { openWorld, type World } from '../support/world.ts';

/**
 * THE WHOLE SHOP UNDER A PLATFORM that plays by the rules of Azure Functions, and badly: it hands messages and batches to functions, keeps places of its own, hands a batch out
 * again when a function throws, moves on without it when the function takes too long or its machine is taken away, gives one partition to two machines at once, and goes
 * back to an older place. Nobody pumps. In the end every order is where it belongs, and the books agree.
 */
interface Weather {
  /** How often a batch is passed over, given to two machines, or followed by an older place again. */
  readonly passedOver: number;
  readonly twice: number;
  readonly back: number;
}

function startPlatform(world: World, weather: Weather, random: () => number): { stop(): void; readonly done: { passedOver: number; twice: number; back: number } } {
  const stopping = new AbortController();
  const { signal } = stopping;
  const done = { passedOver: 0, twice: 0, back: 0 };
  const { clock } = world;
  const serviceOf = (name: string) => services.find((each) => each.name === name)!;

  async function again(seconds: number, turn: () => Promise<unknown>): Promise<void> {
    while (!signal.aborted) {
      await turn().catch((error: unknown) => {
        if (!isTransient(error)) throw error;
      });
      await clock.sleep(seconds * 1_000, signal);
    }
  }

  async function queueTurn(queue: string, service: string): Promise<void> {
    for (const received of await world.kernel.queue.receive(queue, { max: 16, waitSeconds: 0 })) {
      await work(world.kernel, serviceOf(service), [received]);
      await world.kernel.queue.done(received);
    }
  }

  /** What the platform knows of one listener in one partition. */
  function partitionTurn(stream: string, partition: string, service: string): () => Promise<void> {
    let place = 0;
    return async () => {
      const found = world.engines.stream.read(stream, partition, place === 0 ? undefined : String(place), 1 + Math.floor(random() * 20));
      if ('gap' in found || found.events.length === 0) return;
      const events = found.events.map(({ position, partitionkey, text }): StreamEvent => ({ position, partitionkey, message: decode(text) }));
      const batch: Delivery = {
        stream, partition, events,
        follows: (after) => Number(events[0]!.position) <= (after === undefined ? 1 : Number(after) + 1),
        isBehind: (one, other) => Number(one) > Number(other),
      };
      const last = Number(events.at(-1)!.position);
      if (random() < weather.passedOver) {
        done.passedOver++;
        place = last;
        return;
      }
      const machines = random() < weather.twice ? 2 : 1;
      done.twice += machines - 1;
      // Thrown at, a batch comes again.
      await Promise.all(Array.from({ length: machines }, () => deliver(world.kernel, serviceOf(service), batch, functionSeconds)));
      const goesBack = random() < weather.back;
      done.back += goesBack ? 1 : 0;
      place = goesBack ? Math.floor(random() * last) : last;
    };
  }

  for (const { kind, channel, service, polled } of subscriptions) {
    if (kind === 'queue') void again(2, () => queueTurn(channel, service));
    else if (!polled) for (const partition of world.engines.stream.partitions(channel)) void again(2, partitionTurn(channel, partition, service));
  }
  const own: Readonly<Record<string, () => Promise<unknown>>> = {
    sweepOutbox: () => world.kernel.relay.sweep(30), retryParked: () => retryParked(world.kernel, services), forgetSeen: () => forgetOld(world.kernel),
    catchUp: () => catchUp(world.kernel, services, functionSeconds), demoCarrier: () => world.tick(), doChores: async () => undefined,
  };
  for (const row of functions) {
    if (row.kind !== 'timer') continue;
    const tick = own[row.name] ?? (() => serviceOf(clocks[row.name as keyof typeof clocks].service).ticks[row.name]!(world.kernel));
    void again(row.everySeconds, tick);
  }
  return { stop: () => stopping.abort(), done };
}

describe('the shop under a platform', function () {
  this.timeout(60_000);
  const rough: Weather = { passedOver: 0.15, twice: 0.15, back: 0.1 };

  for (const [title, seed, profile, weather] of [
    ['that does as it is told', 1, faultless, { passedOver: 0, twice: 0, back: 0 }],
    ['that passes over, doubles and goes back', 2, faultless, rough],
    ['that does so while store, queues and streams are as bad as they may be', 3, harsh, rough],
  ] as const) {
    it(`comes to its end under one ${title}`, async () => {
      const world = await openWorld({ seed, profile, still: true });
      const random = randomFrom(seed * 7);
      const platform = startPlatform(world, weather, random);
      for (const [sku, quantity] of [['MUG', 30], ['TEA', 8], ['LAMP', 1]] as const) await world.describe(sku, quantity);
      const placed: string[] = [];
      for (let n = 0; n < 20; n++) {
        const { id } = await world.place(['MUG', 1 + (n % 3)], ...(n % 4 === 0 ? [['TEA', 1] as [string, number]] : []));
        placed.push(id);
        if (n % 5 === 4) await world.play(world.kernel.published.cancelOrder(id)).catch(() => undefined);
        await world.clock.advance(700);
      }
      await world.describe('MUG', 30);
      await world.settle(7_200);
      platform.stop();
      // A letter whose answer got lost, and of which the provider does not know either, waits for a person.
      expect((await world.audit()).filter((fault) => !/^order \w+: the letter "\w+" is uncertain$/.test(fault))).to.deep.equal([]);
      for (const id of placed) expect(world.order(id), id).to.be.oneOf(['Delivered', 'Cancelled']);
      expect(placed.some((id) => world.order(id) === 'Delivered')).to.equal(true);
      for (const id of placed) {
        const letters = world.letters(id).map(({ key }) => key);
        expect(new Set(letters).size, `one letter of each kind for ${id}`).to.equal(letters.length);
        expect(letters.length).to.be.greaterThan(0);
      }
      expect(queues.map((name) => world.engines.queue.count(name))).to.deep.equal(queues.map(() => 0));
      expect(partitionsOf(collections.dead).flatMap((partition) => world.engines.store.query(partition, { prefix: 'dead|', limit: 10 }).rows)).to.deep.equal([]);
      for (const [name, count] of Object.entries(platform.done)) expect(count > 0, `it has ${name}: ${count}`).to.equal(weather[name as keyof Weather] > 0);
      await world.stop();
    });
  }
});
