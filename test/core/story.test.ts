import { expect } from 'chai';
import { events, type EventName, type ServiceName } from '../../core/flow.ts';
import type { AnyService, Kernel } from '../../core/kernel/service.ts';
import type { StoryView } from '../../core/operations/events.ts';
import { storyOf } from '../../core/operations/story.ts';
import { services } from '../../handlers/index.ts';
import { Defect, isRefusal, PortError, type AppendFailure, type Message } from '../../ports/index.ts';
import { randomFrom } from '../support/ids.ts';
import { openWorld, throttled, type Call, type World } from '../support/world.ts';

/** Whatever happens to one message of an order, the order's story names the service that lacks it, the event, and the place where it is or was last. */

type How = 'removed' | 'refused' | 'held' | 'poisoned' | 'stalled';

interface Mishap {
  readonly event: EventName;
  readonly kind: 'queue' | 'stream';
  readonly channel: string;
  /** Those who will lack it. */
  readonly listeners: readonly ServiceName[];
  readonly how: How;
}

/** What an order goes through, and what is said of it on the way. */
const lives = {
  delivered: ['OrderPlaced', 'InventoryReserved', 'OrderFulfillment', 'OrderDelivered'],
  served: ['OrderPlaced', 'Backordered', 'StockFreed', 'InventoryReserved', 'OrderFulfillment', 'OrderDelivered'],
  cancelled: ['OrderPlaced', 'Backordered', 'CancellationRequested', 'ShippingStopped'],
  /** The customer cancels when the parcel is on its way already, and nobody has told him. */
  regretted: ['OrderPlaced', 'InventoryReserved', 'CancellationRequested', 'OrderFulfillment', 'OrderDelivered'],
} as const satisfies Record<string, readonly EventName[]>;
type Life = keyof typeof lives;
const lifeNames = Object.keys(lives) as Life[];

/** Where the story has to look for it. */
const placeOf: Readonly<Record<How, Readonly<Record<Mishap['kind'], string>>>> = {
  removed: { queue: 'queue', stream: 'lost' },
  refused: { queue: 'stuck', stream: 'stuck' },
  held: { queue: 'outbox', stream: 'outbox' },
  poisoned: { queue: 'dead', stream: 'parked' },
  stalled: { queue: 'queue', stream: 'stream' },
};

function mishapsOf(life: Life): Mishap[] {
  return lives[life].flatMap((event) =>
    (events[event].travels as readonly { kind: Mishap['kind']; channel: string; to: readonly ServiceName[] }[]).flatMap(({ kind, channel, to }): Mishap[] => [
      ...(['removed', 'refused', 'held'] as const).map((how) => ({ event, kind, channel, listeners: to, how })),
      ...to.flatMap((listener) => (['poisoned', 'stalled'] as const).map((how) => ({ event, kind, channel, listeners: [listener], how }))),
    ]),
  );
}

/** What is to happen to the messages of each order, which is told by its one product: so they are known before the order has an id. */
function createFate() {
  const fate = new Map<string, Mishap>();
  const skus = new Map<string, string>();
  /** Of whose shipment nobody hears until the customer has cancelled. */
  const secret = new Set<string>();

  function mishapOf(message: Message, channel: string): Mishap | undefined {
    if (message.type === 'OrderPlaced') skus.set(message.subject, (message.data as { lines: { sku: string }[] }).lines[0]!.sku);
    const mishap = fate.get(skus.get(message.subject) ?? message.subject);
    return mishap?.event === message.type && mishap.channel === channel ? mishap : undefined;
  }

  /** Between the shop and its brokers. */
  async function onTheWay(call: Call, work: () => Promise<unknown>): Promise<unknown> {
    const sends = call.port === 'queue' && call.method === 'send';
    if (!sends && call.method !== 'append') return work();
    const [channel, messages] = call.args as [string, Message[]];
    const mishaps = messages.map((message) => {
      const how = mishapOf(message, channel)?.how;
      if (how !== undefined && how !== 'poisoned' && how !== 'stalled') return how;
      return /^Order(Fulfillment|Delivered)$/.test(message.type) && secret.has(skus.get(message.subject)!) ? 'held' : undefined;
    });
    const failures = messages.flatMap((_, index): AppendFailure[] => {
      const how = mishaps[index];
      return how === 'refused' || how === 'held' ? [{ index, error: how === 'held' ? throttled() : new PortError('denied', 'by the test') }] : [];
    });
    // A queue takes all or none; whoever sends finds out which one it does not take.
    if (sends && failures.length > 0) throw failures.find(({ error }) => error.kind === 'denied')?.error ?? failures[0]!.error;
    (call.args as unknown[])[1] = messages.filter((_, index) => mishaps[index] === undefined);
    await work();
    return failures;
  }

  /** Inside the service. */
  function beset(service: AnyService): AnyService {
    const hears = Object.entries(service.hears).map(([event, hear]) => [event, async (kernel: Kernel, message: never): Promise<void> => {
      const { type, subject } = message as Message;
      const mishap = fate.get(skus.get(subject) ?? subject);
      if (mishap?.event === type && mishap.listeners.includes(service.name as ServiceName)) {
        if (mishap.how === 'poisoned') throw new Defect('by the test');
        if (mishap.how === 'stalled') throw throttled();
      }
      await hear(kernel, message);
    }] as const);
    return { ...service, hears: Object.fromEntries(hears) };
  }

  return { set: (sku: string, mishap: Mishap) => fate.set(sku, mishap), secret, onTheWay, services: services.map(beset) };
}

const story = async (world: World, id: string): Promise<StoryView> => (await world.play(storyOf(world.kernel, id)))!;

async function live(world: World, { secret }: Fate, life: Life, sku: string): Promise<string> {
  await world.describe(sku, life === 'delivered' || life === 'regretted' ? 5 : 0);
  if (life === 'regretted') secret.add(sku);
  return (await world.place([sku, 1])).id;
}

async function goOn(world: World, { secret }: Fate, life: Life, sku: string, id: string): Promise<void> {
  if (life === 'served') await world.describe(sku, 5);
  if (life !== 'cancelled' && life !== 'regretted') return;
  if (isRefusal(await world.play(world.kernel.published.cancelOrder(id)))) throw new Error('the cancellation is refused');
  secret.delete(sku);
}
type Fate = ReturnType<typeof createFate>;

describe('The story of an order', function () {
  this.timeout(120_000);
  let world: World;
  afterEach(() => world.stop());

  it('names service, event and place in 500 of 500 orders of which one message was removed, refused, held, poisoned or stalled', async () => {
    const fate = createFate();
    world = await openWorld({ services: fate.services, deliversAfterSeconds: 5 });
    world.interfere = fate.onTheWay;
    const random = randomFrom(500);
    const orders: { life: Life; sku: string; mishap: Mishap; id: string }[] = [];
    for (let n = 0; n < 500; n++) {
      const life = lifeNames[n % lifeNames.length]!;
      const all = mishapsOf(life);
      const mishap = all[Math.floor(random() * all.length)]!;
      const sku = `S${n}`;
      fate.set(sku, mishap);
      orders.push({ life, sku, mishap, id: await live(world, fate, life, sku) });
    }
    await world.clock.advance(20_000);
    for (const { life, sku, id, mishap } of orders) {
      // What was not even reserved would be cancelled all the same, and then nothing would be missing any more.
      const reserved = mishap.event !== 'InventoryReserved' && (mishap.event !== 'OrderPlaced' || mishap.kind !== 'queue');
      if (life === 'served' || reserved) await goOn(world, fate, life, sku, id);
    }
    await world.clock.advance(1_200_000); // ten attempts at a message of a queue

    const untold: string[] = [];
    for (const { life, mishap, id } of orders) {
      const { missing } = await story(world, id);
      const place = `${placeOf[mishap.how][mishap.kind]}: ${mishap.kind} ${mishap.channel}`;
      for (const listener of mishap.listeners) {
        if (missing.some((each) => each.service === listener && each.event === mishap.event && each.place === place)) continue;
        untold.push(`${life}: ${mishap.event} for ${listener} was ${mishap.how}, expected ${place}; told: ${JSON.stringify(missing)}`);
      }
    }
    expect(untold.slice(0, 5), `${untold.length} of 500`).to.deep.equal([]);
    expect(new Set(orders.map(({ mishap }) => `${mishap.how} ${mishap.event}`)).size, 'all kinds have happened to all events').to.equal(40);
  });

  it('has nothing missing at the end, and everything that was said and heard', async () => {
    const fate = createFate();
    world = await openWorld({ services: fate.services, deliversAfterSeconds: 5 });
    world.interfere = fate.onTheWay;
    const orders: [Life, string][] = [];
    for (const life of lifeNames) orders.push([life, await live(world, fate, life, `S-${life}`)]);
    await world.clock.advance(10_000);
    for (const [life, id] of orders) await goOn(world, fate, life, `S-${life}`, id);
    await world.settle();
    await world.clock.advance(30_000);
    for (const [life, id] of orders) {
      const { missing, deliveries, status, story: told } = await story(world, id);
      expect(missing, life).to.deep.equal([]);
      expect(deliveries.every(({ place }) => place === 'heard'), life).to.equal(true);
      expect(status).to.equal({ delivered: 'Delivered', served: 'Delivered', cancelled: 'Cancelled', regretted: 'Delivered' }[life]);
      for (const event of lives[life]) if (event !== 'StockFreed') expect(told.map(({ what }) => what), life).to.include(`says ${event}`);
      expect(told.map(({ at }) => at)).to.deep.equal(told.map(({ at }) => at).sort());
    }
  });

  it('says whose turn it is while an order waits for the world: stock, the carrier, the mailer', async () => {
    world = await openWorld({ deliversAfterSeconds: 0 });
    world.interfere = async (call, work) => {
      if (call.port === 'mailer') throw throttled();
      return work();
    };
    await world.describe('A', 3);
    const { id: shipped } = await world.place(['A', 1]);
    const { id: waits } = await world.place(['A', 7]);
    await world.clock.advance(20_000);
    const turns = async (id: string) => (await story(world, id)).missing.map(({ service, event, place }) => `${service} ${event} ${place}`);
    expect(await turns(shipped)).to.have.members(['shipping OrderDelivered carrier', 'notification OrderPlaced mailer', 'notification OrderFulfillment mailer']);
    expect(await turns(waits)).to.have.members(['inventory InventoryReserved stock', 'notification OrderPlaced mailer', 'notification Backordered mailer']);
    expect((await story(world, waits)).missing.find(({ place }) => place === 'stock')!.detail).to.include('A (needs 7, 2 left by older orders)');
  });

  it('is nobody\'s when nobody knows the order', async () => {
    world = await openWorld();
    expect(await world.play(storyOf(world.kernel, 'z'.repeat(26)))).to.equal(undefined);
  });
});

