import { expect } from 'chai';
import { events, subscriptions, type DataOf, type EventName, type ServiceName, type Subscription } from '../../core/flow.ts';
import { execute } from '../../core/kernel/execute.ts';
import { say } from '../../core/kernel/model.ts';
import { receiveEvent } from '../../core/kernel/park.ts';
import { checked, handle, receiveWork } from '../../core/kernel/receive.ts';
import type { Reply } from '../../core/kernel/service.ts';
import { inventory } from '../../core/inventory/index.ts';
import type { OrderPlaced, OrderView } from '../../core/order/events.ts';
import { orders } from '../../core/order/order.ts';
import { product } from '../../core/product/index.ts';
import { stockStatus } from '../../core/product/product.ts';
import { website } from '../../core/website/index.ts';
import { services } from '../../handlers/index.ts';
import { isRefusal, type Message, type OutboxBody, type StreamEvent } from '../../ports/index.ts';
import { anna, home } from '../support/client.ts';
import { openWorld, type World } from '../support/world.ts';
import { readArchive, type ArchivedEvent, type ArchivedNotices, type ArchivedRows } from './archive.ts';
import { understood } from './notices.ts';
import { at0, keys, sizes } from './samples.ts';
import { goOn, play, repeated, seen, snapshotOf, worldOf } from './shop.ts';
import { bodies } from './today.ts';

/** Everything that was ever released, given to today's program. */
const archive = readArchive();
const ofKind = <Kind>(kind: string): Kind[] => archive.filter(({ contract }) => contract === kind) as Kind[];

// ---------------------------------------------------------------- what each listener makes of each event

type Listener<E extends EventName> = (typeof events)[E]['travels'][number]['to'][number];
interface Heard<E extends EventName> {
  readonly world: World;
  readonly data: DataOf<E>;
  /** Of the message. */
  readonly time: string;
  /** What has been said since, by type. */
  readonly said: readonly Message[];
}
interface Scene<E extends EventName> {
  /** What has to be there for the event to make sense. */
  readonly given?: (world: World, data: DataOf<E>) => Promise<void>;
  readonly leaves: (heard: Heard<E>) => Promise<void>;
}

const asked = { params: undefined, query: undefined, body: undefined, idempotencyKey: undefined, headers: {}, raw: new Uint8Array() };

function placing(orderId: string, lines: readonly { sku: string; quantity: number }[] = [{ sku: 'A', quantity: 1 }]): OrderPlaced {
  const placedAt = '2026-11-20T08:58:00.000Z';
  return { orderId, placedAt, customer: anna, address: home, lines: lines.map((line) => ({ ...line, name: line.sku, unitPrice: 1 })), total: { amount: 1, currency: 'GBP' } };
}
const placed = (order: OrderPlaced): Message => say('OrderPlaced', order, { subject: order.orderId, sequence: 0, at: order.placedAt }).message;

const ordered = async (world: World, { orderId }: { orderId: string }): Promise<void> =>
  void (await execute(world.kernel, orders, { id: orderId, command: { do: 'place', order: placing(orderId), fingerprint: 'by the test' } }));
const noticed = (world: World, { orderId }: { orderId: string }): Promise<void> => handle(world.kernel, serviceOf('notification'), placed(placing(orderId)));
async function reserved(world: World, { orderId }: { orderId: string }): Promise<void> {
  await world.describe('A', 5);
  await handle(world.kernel, inventory, placed(placing(orderId, [{ sku: 'A', quantity: 2 }])));
}

function json<Json>(reply: Reply): Json {
  if (isRefusal(reply) || !('json' in reply)) throw new Error(JSON.stringify(reply));
  return reply.json as Json;
}
const view = async (world: World, id: string): Promise<OrderView> => (await world.kernel.published.order(id))!;
const stockOf = async (world: World, sku: string): Promise<object> => json(await inventory.answers.getStock(world.kernel, { ...asked, params: { sku } }));

const orderIs = <E extends EventName>(status: OrderView['status'], event: E, more: (order: OrderView, data: DataOf<E>) => void = () => {}): Scene<E> => ({
  given: (world, data) => ordered(world, data as { orderId: string }),
  async leaves({ world, data, time }) {
    const order = await view(world, (data as { orderId: string }).orderId);
    expect(order.status).to.equal(status);
    expect(order.history).to.deep.include({ event, at: time });
    more(order, data);
  },
});
const letterIs = <E extends EventName>(milestone: string): Scene<E> => ({
  given: (world, data) => noticed(world, data as { orderId: string }),
  async leaves({ world, data }) {
    const { orderId } = data as { orderId: string };
    const { items } = await world.kernel.published.mails({ limit: 10, orderId });
    expect(items.map((mail) => `${mail.milestone} ${mail.state}`)).to.have.members(['confirmation sent', `${milestone} sent`]);
    expect(world.letters(orderId).map(({ key }) => key)).to.include(`${orderId}.${milestone}`);
  },
});
const says = (said: readonly Message[], type: EventName): unknown => {
  expect(said.map((message) => message.type), 'says this alone').to.deep.equal([type]);
  return said[0]!.data;
};
const stockNoted = (levelsOf: (data: unknown) => readonly { sku: string; available: number; stockVersion: number }[]): Scene<never> => ({
  given: (world, data) => world.describe(levelsOf(data)[0]!.sku, 0),
  async leaves({ world, data }) {
    const [{ sku, available, stockVersion }] = levelsOf(data) as [{ sku: string; available: number; stockVersion: number }];
    const { stock } = json<{ stock: string }>(await product.answers.getProduct(world.kernel, { ...asked, params: { sku } }));
    expect(stock).to.equal(stockStatus(stockVersion === 0 ? 0 : available, world.kernel.settings.lowStockAt));
  },
});

/** A listener that is new does not compile until it stands here. */
const scenes: { readonly [E in EventName]: { readonly [L in Listener<E>]: Scene<E> } } = {
  OrderPlaced: {
    inventory: {
      async given(world, { lines }) {
        if (lines.length < 10) for (const { sku, quantity } of lines) await world.describe(sku, quantity + 3);
      },
      async leaves({ data, said }) {
        const { orderId, lines, address, customer } = data;
        const answer = said.find(({ type }) => type !== 'ProductInfoUpdated')!;
        if (lines.length < 10) {
          const news = says(said, 'InventoryReserved') as DataOf<'InventoryReserved'>;
          expect(news).to.deep.include({ orderId, shipTo: { ...address, name: customer.name } });
          expect(news.lines.map(({ sku, quantity, available }) => ({ sku, quantity, available }))).to.have.deep.members(lines.map(({ sku, quantity }) => ({ sku, quantity, available: 3 })));
        } else {
          expect(says(said, 'Backordered')).to.deep.include({ orderId });
          expect((answer.data as DataOf<'Backordered'>).short).to.have.length(20);
        }
      },
    },
    notification: {
      async leaves({ world, data }) {
        const [letter, ...more] = world.letters(data.orderId);
        expect(more).to.deep.equal([]);
        expect(letter).to.have.property('key', `${data.orderId}.confirmation`);
        expect(letter!.to).to.deep.equal({ name: data.customer.name, address: data.customer.email });
      },
    },
  },
  InventoryReserved: {
    order: orderIs('Reserved', 'InventoryReserved'),
    product: stockNoted((data) => (data as DataOf<'InventoryReserved'>).lines),
    shipping: {
      async leaves({ data, said }) {
        expect(says(said, 'OrderFulfillment')).to.include({ orderId: data.orderId, carrier: 'demo' });
      },
    },
  },
  Backordered: { order: orderIs('Backordered', 'Backordered'), notification: letterIs('backorder') },
  ProductInfoUpdated: {
    website: {
      async leaves({ world, data }) {
        const page = await website.answers.productPage(world.kernel, { ...asked, params: { sku: data.sku } });
        expect(page).to.include({ status: 200 }).and.to.have.property('html').that.includes(data.name).and.includes(data.description);
      },
    },
  },
  OrderFulfillment: {
    order: orderIs('Shipped', 'OrderFulfillment', (order, { carrier, trackingNumber }) => expect(order.shipments[0]).to.include({ carrier, trackingNumber, status: 'Shipped' })),
    notification: letterIs('shipped'),
    inventory: {
      given: reserved,
      async leaves({ world, said }) {
        expect(await stockOf(world, 'A')).to.include({ received: 5, available: 3, reserved: 0, shipped: 2 });
        expect(said).to.deep.equal([]);
      },
    },
  },
  OrderDelivered: { order: orderIs('Delivered', 'OrderDelivered'), notification: letterIs('delivered') },
  CancellationRequested: {
    shipping: {
      async leaves({ data, said }) {
        expect(says(said, 'ShippingStopped')).to.deep.equal({ orderId: data.orderId });
      },
    },
  },
  ShippingStopped: {
    order: orderIs('Cancelled', 'ShippingStopped'),
    notification: letterIs('cancelled'),
    inventory: {
      given: reserved,
      async leaves({ world, said }) {
        expect(await stockOf(world, 'A')).to.include({ received: 5, available: 5, reserved: 0, shipped: 0 });
        expect(says(said, 'StockChanged')).to.have.nested.property('levels[0].available', 5);
      },
    },
  },
  StockChanged: { product: stockNoted((data) => (data as DataOf<'StockChanged'>).levels) },
  StockFreed: {
    inventory: {
      async given(world, { skus: [sku = ''] }) {
        await world.describe(sku, 0);
        await handle(world.kernel, inventory, placed(placing('w'.repeat(26), [{ sku, quantity: 4 }])));
        await inventory.answers.receiveStock(world.kernel, { ...asked, params: { sku }, body: { quantity: 4 } });
      },
      async leaves({ said }) {
        expect(says(said, 'InventoryReserved')).to.have.property('orderId', 'w'.repeat(26));
      },
    },
  },
};

// ---------------------------------------------------------------- on the roads of the flow

const serviceOf = (name: ServiceName) => services.find((service) => service.name === name)!;

/** Over the channel, as it would come: sent, received, handled, settled. */
async function deliver({ kernel }: World, { kind, channel, service }: Subscription, message: Message): Promise<void> {
  if (kind === 'queue') {
    await kernel.queue.send(channel, [message]);
    for (const received of await kernel.queue.receive(channel, { max: 100, waitSeconds: 0 })) {
      if ((received.message as Message).id === message.id) await receiveWork(kernel, serviceOf(service), received);
      else await kernel.queue.done(received);
    }
    return;
  }
  expect(await kernel.stream.append(channel, [message])).to.deep.equal([]);
  for (const event of await eventsOf(kernel, channel)) if ((event.message as Message).id === message.id) await receiveEvent(kernel, serviceOf(service), channel, event);
}

async function eventsOf({ stream }: World['kernel'], channel: string): Promise<StreamEvent[]> {
  const found: StreamEvent[] = [];
  for (const partition of await stream.partitions(channel)) {
    const batch = await stream.read(channel, partition, { max: 256, waitSeconds: 0 });
    if ('events' in batch) found.push(...batch.events);
  }
  return found;
}

/** All messages that its services have committed, in the order of the commits. */
function listen(world: World): Message[] {
  const heard: Message[] = [];
  world.interfere = ({ port, method, args }, work) => {
    const writes = port === 'store' && method === 'commit' ? (args[1] as { op: string; key: string; body: string }[]) : [];
    for (const { op, key, body } of writes) if (op === 'create' && key.startsWith('outbox|')) heard.push((JSON.parse(body) as OutboxBody).message);
    return work();
  };
  return heard;
}

async function replay(message: Message, subscription: Subscription): Promise<void> {
  const world = await openWorld({ still: true });
  const { given, leaves } = (scenes[message.type as EventName] as Readonly<Record<string, Scene<EventName>>>)[subscription.service]!;
  const { data, time } = checked(message) as { data: DataOf<EventName>; time: string };
  if (given) await world.play(given(world, data));
  const said = listen(world);
  await world.play(deliver(world, subscription, message));
  const once = [...said];
  expect([...world.rows('dead'), ...world.rows('parked')].map(({ body }) => (body as { reason: string }).reason)).to.deep.equal([]);
  await world.play(leaves({ world, data, time, said: once }));
  await world.play(deliver(world, subscription, message)); // what comes again changes nothing
  expect(said).to.deep.equal(once);
  for (const queue of new Set(once.length > 0 ? [] : [subscription.channel])) if (subscription.kind === 'queue') expect(world.engines.queue.count(queue), 'nothing is left over').to.equal(0);
  await world.stop();
}

describe('Every archived message', function () {
  this.timeout(60_000);
  for (const { name, version, messages } of ofKind<ArchivedEvent>('event')) {
    for (const subscription of subscriptions.filter(({ hears }) => hears.has(name as EventName))) {
      for (const size of sizes) {
        it(`${name} of version ${version} (${size}) is handled by ${subscription.service}, from its ${subscription.kind}`, () => replay(messages[size], subscription));
      }
    }
  }

  it('was said by an event of the flow, under the key that its contract names', () => {
    for (const { name, key, messages } of ofKind<ArchivedEvent>('event')) {
      for (const { type, subject, partitionkey, data } of Object.values(messages)) expect([type, subject, partitionkey]).to.deep.equal([name, at0(key, data), at0(key, data)]);
    }
  });
});

describe('What the small shop says', () => {
  it('has its contract\'s key as subject and partition key, every kind of event', async () => {
    const { halfWay, atRest } = await play();
    const all = [...halfWay.streams, ...atRest.streams, ...halfWay.queues].map((each) => each.at(-1) as Message).filter(({ dataversion }) => dataversion !== '999');
    for (const { type, subject, partitionkey, data, id } of all) expect([subject, partitionkey], id).to.deep.equal([at0(keys[type as EventName], data), at0(keys[type as EventName], data)]);
    const kinds = new Set(all.map(({ type }) => type));
    expect([...kinds]).to.include.members(Object.entries(events).filter(([, { travels }]) => travels.some(({ kind }) => kind === 'stream')).map(([name]) => name)); // what goes by queue alone is gone by then
  }).timeout(60_000);
});

describe('Every archived shop', function () {
  this.timeout(60_000);
  for (const { version, halfWay, atRest, seen: expected } of ofKind<ArchivedRows>('rows')) {
    it(`half-way, with rows of version ${version}, is opened and comes to the end that was reached then`, async () => {
      const world = await worldOf(halfWay);
      await goOn(world);
      expect(await seen(world)).to.deep.equal(expected);
      expect([...(await world.audit()), ...world.unrest()]).to.deep.equal([]);
      await world.stop();
    });

    it(`at rest, with rows of version ${version}, is opened, stays as it was, knows a repeated order, and sells on`, async () => {
      const world = await worldOf(atRest);
      await world.clock.advance(60_000);
      expect(await seen(world)).to.deep.equal(expected);
      const again = await world.play(world.kernel.published.placeOrder(...repeated));
      expect(Object.keys(expected.orders), 'the first answer').to.include((again as OrderView).id);
      const { id } = await world.place(['MUG', 1], ['LAMP', 1]);
      await world.settle();
      expect(world.order(id)).to.equal('Delivered');
      expect(Object.keys((await seen(world)).orders)).to.have.length(Object.keys(expected.orders).length + 1);
      expect([...(await world.audit()), ...world.unrest()]).to.deep.equal([]);
      await world.stop();
    });
  }

  it('holds something of everything that can wait', () => {
    for (const { halfWay } of ofKind<ArchivedRows>('rows')) {
      const nouns = new Set(halfWay.store.map(([, key]) => key.split('|')[0]));
      expect([...nouns]).to.include.members(['outbox', 'parked', 'item', 'dead', 'open', 'wait', 'part', 'position', 'receipt', 'due']);
      expect(halfWay.store.some(([, , body]) => (body as { stuck?: string }).stuck !== undefined), 'a stuck message').to.equal(true);
      expect(halfWay.queues.map(([, { type }]) => type)).to.include('OrderPlaced');
    }
  });

  it('comes out of a snapshot as it went in', async () => {
    const { halfWay } = await play();
    const world = await worldOf(halfWay);
    world.interfere = () => Promise.reject(new Error('nothing more'));
    const { store, streams, queues } = snapshotOf(world);
    expect(streams).to.deep.equal(halfWay.streams);
    expect(queues).to.deep.equal(halfWay.queues);
    expect(store.map(([partition, key]) => `${partition} ${key}`)).to.include.members(halfWay.store.filter(([, key]) => !/^(position|outbox)/.test(key)).map(([partition, key]) => `${partition} ${key}`));
    await world.stop();
  });
});

describe('Every archived notice and request', () => {
  it('of a carrier is understood as it was', () => {
    for (const { notices } of ofKind<ArchivedNotices>('notices')) for (const { facts, ...notice } of notices) expect(understood(notice)).to.deep.equal(facts);
  });

  it('that stands as an example in a released document is still taken', () => {
    let taken = 0;
    for (const { document } of ofKind<{ document: { paths: Record<string, Record<string, { operationId: string; requestBody?: { content: Record<string, { example?: unknown }> } }>> } }>('api')) {
      for (const { operationId, requestBody } of Object.values(document.paths).flatMap((item) => Object.values(item))) {
        const example = requestBody?.content['application/json']?.example;
        if (example === undefined) continue;
        expect(bodies[operationId]!.safeParse(example).success, operationId).to.equal(true);
        taken++;
      }
    }
    expect(taken).to.be.at.least(3);
  });
});
