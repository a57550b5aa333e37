import { expect } from 'chai';
import { collections, events, type EventName, type ServiceName } from '../../core/flow.ts';
import { positionKey } from '../../core/kernel/follow.ts';
import { say } from '../../core/kernel/model.ts';
import type { AnyService, Kernel } from '../../core/kernel/service.ts';
import type { StoryView } from '../../core/operations/events.ts';
import { operations } from '../../core/operations/index.ts';
import { witnesses } from '../../core/operations/story.ts';
import { services } from '../../handlers/index.ts';
import { story as told } from '../../handlers/show.ts';
import { Defect, PortError, create, encode, isRefusal, partitionOf, timestamp, type AppendFailure, type Message } from '../../ports/index.ts';
import { randomFrom } from '../support/ids.ts';
import { openWorld, throttled, type Interfere, type World } from '../support/world.ts';

/**
 * The story of an order is worth what it tells when something is missing. So something is taken away from each of 500 orders of all kinds, one message each, at some place
 * of its way; and what a person reads has to name whose it is, which one, and where it is, and nothing else that is not its consequence.
 */

// ---------------------------------------------------------------- what is ordered

/** `late`: the customer cancels while the carrier is already being asked. `reserved`: after the reservation and before that. `waiting`: out of the queue. */
const kinds = ['one', 'three', 'backorder', 'waiting', 'reserved', 'late'] as const;
type Kind = (typeof kinds)[number];

/** The messages that an order of this kind needs. (Who is cancelled needs no reservation any more: taking that away would be no loss.) */
const needs: Readonly<Record<Kind, readonly EventName[]>> = {
  one: ['OrderPlaced', 'InventoryReserved', 'OrderFulfillment', 'OrderDelivered'],
  three: ['OrderPlaced', 'InventoryReserved', 'OrderFulfillment', 'OrderDelivered'],
  backorder: ['OrderPlaced', 'Backordered', 'StockFreed', 'InventoryReserved', 'OrderFulfillment', 'OrderDelivered'],
  waiting: ['Backordered', 'CancellationRequested', 'ShippingStopped'],
  reserved: ['CancellationRequested', 'ShippingStopped', 'StockChanged'],
  late: ['CancellationRequested', 'OrderFulfillment', 'OrderDelivered'],
};

/**
 * `removed`: the relay believes that it was sent. `held`: the channel will not take it now, `refused`: never. `spoiled`: it comes out in another shape, `garbled`: it
 * comes out as half a text. `missed`: one listener has passed it by, and `failed`: fails at it, each time.
 */
const modes = ['removed', 'held', 'refused', 'spoiled', 'garbled', 'missed', 'failed'] as const;
type Mode = (typeof modes)[number];

interface Road {
  readonly kind: 'queue' | 'stream';
  readonly channel: string;
  readonly to: readonly ServiceName[];
}

interface Mishap {
  readonly event: EventName;
  readonly road: Road;
  readonly mode: Mode;
  /** Of `missed` and `failed`: to whom it happens. */
  readonly listener: ServiceName;
}

interface Plan {
  readonly kind: Kind;
  readonly skus: readonly string[];
  readonly mishap?: Mishap;
  id: string;
}

const pick = <Item>(random: () => number, items: readonly Item[]): Item => items[Math.floor(random() * items.length)]!;
const calm = (kind: Kind, sku: string): Plan => ({ kind, skus: (kind === 'three' ? ['a', 'b', 'c'] : ['a']).map((letter) => `${sku}${letter}`), id: '' });

/** In turn all kinds with all modes and then all events; the road and the listener by chance. */
function drawn(random: () => number, n: number): Plan {
  const kind = kinds[n % kinds.length]!;
  const mode = modes[Math.floor(n / kinds.length) % modes.length]!;
  const event = needs[kind][Math.floor(n / (kinds.length * modes.length)) % needs[kind].length]!;
  const road = pick<Road>(random, events[event].travels);
  return { ...calm(kind, `S${n}`), mishap: { event, road, mode, listener: pick(random, road.to) } };
}

/** Where it has to be found. */
function placeOf({ road, mode }: Mishap): StoryView['deliveries'][number]['place'] {
  const queued = road.kind === 'queue';
  switch (mode) {
    case 'removed':
    case 'missed':
      return queued ? 'queue' : 'lost'; // a queue cannot be looked into
    case 'held':
      return 'outbox';
    case 'refused':
      return 'stuck';
    case 'spoiled':
    case 'garbled':
      return queued ? 'dead' : 'parked';
    case 'failed':
      return queued ? 'queue' : 'parked'; // it is tried ten times before it is dead
  }
}

const losersOf = ({ road, mode, listener }: Mishap): readonly ServiceName[] => (mode === 'missed' || mode === 'failed' ? [listener] : road.to);
const named = ({ event, road, mode, listener }: Mishap): string => `${event} on ${road.channel} ${mode}${mode === 'missed' || mode === 'failed' ? ` by ${listener}` : ''}`;

// ---------------------------------------------------------------- a world in which that happens

type PlanOf = (message: Pick<Message, 'type' | 'subject' | 'correlationid' | 'data'>) => Plan | undefined;

async function openTroubled(seed: number, plans: readonly Plan[], absent?: ServiceName): Promise<World> {
  const bySku = new Map(plans.flatMap((plan) => plan.skus.map((sku) => [sku, plan] as const)));
  const planOf: PlanOf = ({ subject, correlationid, type, data }) => {
    const placed = type === 'OrderPlaced' ? bySku.get((data as { lines?: { sku: string }[] }).lines?.[0]?.sku ?? '') : undefined;
    if (placed) placed.id = subject; // what follows may come before whoever has placed it knows its id
    return placed ?? plans.find(({ id }) => id !== '' && (id === subject || id === correlationid)) ?? (type === 'StockFreed' ? bySku.get(subject) : undefined);
  };
  const world = await openWorld({ seed, services: services.filter(({ name }) => name !== absent).map((service) => hardOfHearing(service, planOf)) });
  world.interfere = interfering(world, planOf);
  return world;
}

/** Passes a message by, or fails at it. */
function hardOfHearing(service: AnyService, planOf: PlanOf): AnyService {
  const hears = Object.entries(service.hears).map(([event, handle]) => [
    event,
    async (kernel: Kernel, message: Message): Promise<void> => {
      const mishap = planOf(message)?.mishap;
      const mine = mishap?.event === event && mishap.listener === service.name;
      if (mine && mishap.mode === 'missed') return;
      if (mine && mishap.mode === 'failed') throw new Defect('by the test');
      await handle(kernel, message as never);
    },
  ] as const);
  return { ...service, hears: Object.fromEntries(hears) };
}

function interfering(world: World, planOf: PlanOf): Interfere {
  return async ({ port, method, args }, work) => {
    if (port === 'carrier' && method === 'book') {
      const { orderId } = args[0] as { orderId: string };
      if (planOf({ type: '', subject: orderId, data: undefined })?.kind === 'late') await world.clock.sleep(1_000);
      return work();
    }
    if (method !== 'send' && method !== 'append') return work();
    if (port !== 'queue' && port !== 'stream') return work();
    const [channel, messages] = args as [string, Message[]];
    // So that there is time to cancel between the reservation and the booking.
    if (messages.some((message) => message.type === 'InventoryReserved' && planOf(message)?.kind === 'reserved')) await world.clock.sleep(1_000);
    const failures: AppendFailure[] = [];
    const passing = messages.flatMap((message, index) => {
      const mishap = planOf(message)?.mishap;
      return mishap?.event === message.type && mishap.road.channel === channel ? befallen(world, mishap, message, (error) => void failures.push({ index, error })) : [message];
    });
    messages.splice(0, messages.length, ...passing);
    if (passing.length > 0) await work();
    if (port === 'stream') return failures;
    if (failures.length > 0) throw failures[0]!.error;
    return undefined;
  };
}

/** What of it goes on to the driver. */
function befallen(world: World, { road, mode }: Mishap, message: Message, fail: (error: PortError) => void): Message[] {
  switch (mode) {
    case 'removed':
      return [];
    case 'held':
      fail(throttled());
      return [];
    case 'refused':
      fail(new PortError('tooLarge', 'by the test'));
      return [];
    case 'spoiled':
      return [{ ...message, data: { skus: 'spoiled' } }];
    case 'garbled': {
      const now = world.clock.now();
      const text = encode(message).slice(0, -20);
      if (road.kind === 'stream') world.engines.stream.append(road.channel, [{ partitionkey: message.partitionkey, text }], now);
      else world.engines.queue.send(road.channel, [text], { now });
      return [];
    }
    case 'missed':
    case 'failed':
      return [message];
  }
}

/** Places all, cancels what is to be cancelled, brings the stock for which some have waited, and lets time pass. */
async function live(world: World, plans: readonly Plan[]): Promise<void> {
  const { clock } = world;
  for (const { kind, skus } of plans) for (const sku of skus) await world.describe(sku, kind === 'backorder' || kind === 'waiting' ? 0 : 3);
  await clock.advance(10_000);
  for (const plan of plans) {
    plan.id = (await world.place(...plan.skus.map((sku): [string, number] => [sku, 2]))).id;
    if (plan.kind !== 'reserved' && plan.kind !== 'late') continue;
    await clock.advance(300);
    await cancel(world, plan.id);
    await clock.advance(1_500);
  }
  await clock.advance(60_000);
  for (const { kind, id } of plans) if (kind === 'waiting') await cancel(world, id);
  for (const { kind, skus } of plans) if (kind === 'backorder') for (const sku of skus) await world.describe(sku, 5);
  await clock.advance(300_000);
}

async function cancel({ kernel, play }: World, id: string): Promise<void> {
  const asked = await play(kernel.published.cancelOrder(id));
  if (isRefusal(asked)) throw new Error(asked.detail);
}

async function storyOf({ kernel, play }: World, id: string): Promise<StoryView> {
  const reply = await play(operations.answers.orderStory(kernel, { params: { id }, query: undefined, body: undefined, idempotencyKey: undefined, headers: {}, raw: new Uint8Array() }));
  if (!('json' in reply)) throw new Error('no story');
  return reply.json as StoryView;
}

// ---------------------------------------------------------------- what is told

/** As a person reads it. */
const lineOf = (service: string, event: string, place: string): string => `  ${service} · ${event} · ${place}`;
const linesOf = (view: StoryView): string[] => told({ width: 80, colour: false }, view).join('\n').split('\n');

/** What is wrong about it; nothing, when all is right. */
function wrongs(mishap: Mishap, view: StoryView): string[] {
  const lines = linesOf(view);
  const { kind, channel } = mishap.road;
  const lacks = losersOf(mishap).filter((service) => witnesses.has(service)).map((service) => lineOf(service, mishap.event, `${placeOf(mishap)}: ${kind} ${channel}`));
  return [...lacks.filter((line) => !lines.includes(line)).map((line) => `does not tell ${line.trim()}`), ...groundless(mishap, view).map((each) => `tells without reason ${each}`)];
}

/** Later messages of the order wait behind it on the same channel, and an order of whose cancellation nobody has heard still waits for stock; nothing else is a consequence. */
function groundless({ event, road }: Mishap, { missing }: StoryView): string[] {
  const channel = `${road.kind} ${road.channel}`;
  const waits = (place: string): boolean => event === 'CancellationRequested' && place === 'stock';
  return missing.filter((each) => each.event !== event && !each.place.endsWith(channel) && !waits(each.place)).map(({ service, event: other, place, detail }) => `${service} ${other} ${place}: ${detail}`);
}

describe('What is missing of an order', function () {
  this.timeout(120_000);

  const met = new Set<string>();
  for (let seed = 0; seed < 5; seed++) {
    it(`is named with service, event and place, whichever message is taken away at whatever place (80 orders, seed ${seed})`, async () => {
      const random = randomFrom(100 + seed);
      const plans = Array.from({ length: 80 }, (_, n) => drawn(random, seed * 80 + n));
      const world = await openTroubled(seed, plans);
      await live(world, plans);
      const found: string[] = [];
      for (const { kind, mishap, id } of plans) {
        met.add(`${mishap!.event} ${mishap!.mode}`);
        found.push(...wrongs(mishap!, await storyOf(world, id)).map((wrong) => `${kind}, ${named(mishap!)}: ${wrong}`));
      }
      await world.stop();
      expect(found).to.deep.equal([]);
    });
  }

  it('has been all that can be missing', () => {
    const all = [...new Set(Object.values(needs).flat())].flatMap((event) => modes.map((mode) => `${event} ${mode}`));
    expect(all.filter((each) => !met.has(each))).to.deep.equal([]);
  });

  // 20 orders each; with those above they are 500.
  for (const absent of ['order', 'inventory', 'product', 'shipping', 'notification'] as const) {
    it(`lies on the channel while nobody listens for ${absent} (20 orders)`, async () => {
      const plans = Array.from({ length: 20 }, (_, n) => calm((['one', 'three', 'backorder'] as const)[n % 3]!, `T${n}`));
      const world = await openTroubled(9, plans, absent);
      await live(world, plans);
      for (const { id } of plans) {
        const view = await storyOf(world, id);
        const lines = linesOf(view);
        const heardBy = view.deliveries.filter(({ to }) => to === absent);
        expect(heardBy, 'it should have heard something').to.not.have.length(0);
        for (const { event, kind, channel } of heardBy) expect(lines).to.include(lineOf(absent, event, `${kind}: ${kind} ${channel}`));
        expect(view.missing.filter(({ service }) => service !== absent)).to.deep.equal([]);
      }
      await world.stop();
    });
  }

  it('lies in the child of a partition that was split, and is lost when it is no longer kept', async () => {
    const world = await openWorld({ still: true, partitionsPerStream: 1 });
    await world.describe('A', 3);
    const { engines, kernel, clock } = world;
    const note = async (partition: string, body: object): Promise<void> => {
      const rowKey = positionKey('notification', 'orders', partition);
      await world.play(kernel.store.commit(partitionOf(collections.consumers, rowKey), { writes: [create(rowKey, body)] }));
    };
    const lacks = async (id: string): Promise<string[]> => (await storyOf(world, id)).missing.filter(({ service }) => service === 'notification').map(({ place, detail }) => `${place}, ${detail}`);
    engines.stream.split('orders', '0');
    const { id } = await world.place(['A', 1]);
    const [found = ''] = await lacks(id);
    const child = /^stream: stream orders, partition ([12]) of orders; notification has 0 events to read before it$/.exec(found)?.[1];
    expect(child, found).to.not.equal(undefined);
    const batch = await world.play(kernel.stream.read('orders', child!, { max: 1, waitSeconds: 0 }));
    await note(child!, { after: 'events' in batch ? batch.events[0]!.position : '', starts: 0 });
    expect(await lacks(id)).to.deep.equal(['lost: stream orders, notification has read past its place on orders, and has not heard it']);
    const later = say('CancellationRequested', { orderId: id }, { subject: id, sequence: 9, at: timestamp(clock.now()) }).message;
    for (let n = 0; n < 2; n++) await world.play(kernel.stream.append('orders', [later]));
    engines.stream.trim(clock.now() + 30 * 86_400_000);
    expect(await lacks(id)).to.deep.equal(['lost: stream orders, notification has not read orders for longer than it is kept']);
    await world.stop();
  });

  it('is nothing when an order has come to its end, and all of its story is told in time', async () => {
    const plans = kinds.map((kind) => calm(kind, `U${kind}`));
    const world = await openTroubled(3, plans);
    await live(world, plans);
    for (const { kind, id } of plans) {
      const { missing, story, deliveries, status } = await storyOf(world, id);
      expect(missing, kind).to.deep.equal([]);
      expect(status, kind).to.equal(kind === 'waiting' || kind === 'reserved' ? 'Cancelled' : 'Delivered');
      expect(deliveries.every(({ place }) => place === 'heard' || place === 'overtaken'), kind).to.equal(true);
      expect(story.map(({ at }) => at)).to.deep.equal(story.map(({ at }) => at).sort());
      for (const event of needs[kind]) if (event !== 'StockFreed') expect(story.map(({ what }) => what), kind).to.include(`says ${event}`);
      expect(linesOf(await storyOf(world, id)).at(-1)).to.equal('Nothing is missing.');
    }
    expect(await world.audit()).to.deep.equal([]);
    await world.stop();
  });

  it('says whose turn it is while an order waits for the world: stock, the carrier, the mailer', async () => {
    const world = await openWorld({ deliversAfterSeconds: 0 });
    world.interfere = async (call, work) => {
      if (call.port === 'mailer') throw throttled();
      return work();
    };
    await world.describe('A', 3);
    const { id: shipped } = await world.place(['A', 1]);
    const { id: waits } = await world.place(['A', 7]);
    await world.clock.advance(20_000);
    const turns = async (id: string) => (await storyOf(world, id)).missing.map(({ service, event, place }) => `${service} ${event} ${place}`);
    expect(await turns(shipped)).to.have.members(['shipping OrderDelivered carrier', 'notification OrderPlaced mailer', 'notification OrderFulfillment mailer']);
    expect(await turns(waits)).to.have.members(['inventory InventoryReserved stock', 'notification OrderPlaced mailer', 'notification Backordered mailer']);
    expect((await storyOf(world, waits)).missing.find(({ place }) => place === 'stock')!.detail).to.include('A (needs 7, 2 left by older orders)');
    await world.stop();
  });
});
