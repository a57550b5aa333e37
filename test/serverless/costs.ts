import { clocks, subscriptions } from '../../core/flow.ts';
import { forgetOld } from '../../core/kernel/forget.ts';
import { retryParked } from '../../core/kernel/park.ts';
import { functions, functionSeconds, type TimerName } from '../../handlers/functions.ts';
import { services } from '../../handlers/index.ts';
import { catchUp, deliver, work, type Delivery } from '../../handlers/trigger.ts';
import { decode, type RawWrite, type StreamEvent } from '../../ports/index.ts';
import { openWorld, type World } from '../support/world.ts';

/**
 * WHAT A SHOP ASKS ITS CLOUD FOR, counted: at rest, by each timer's run; and for an order, from its placing to its delivery, when every message and every event comes by itself, which is
 * the dearest way. A call of the store is a transaction of Table Storage, whatever it does; a commit is one, too.
 */
export interface OrderCounts {
  readonly storeCalls: number;
  readonly executions: number;
  readonly events: number;
  readonly messages: number;
  readonly letters: number;
  /** Characters of all rows that stay. */
  readonly stored: number;
  /**
   * Request units of DynamoDB: a write costs one a kilobyte, in a transaction two; a consistent read one each four kilobytes, and one if there is nothing
   * (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html).
   */
  readonly writeUnits: number;
  readonly readUnits: number;
}

const unitsOf = (bytes: number, size: number): number => Math.max(1, Math.ceil(bytes / size));
function writeUnitsOf(writes: readonly RawWrite[]): number {
  const units = writes.reduce((sum, write) => sum + unitsOf(write.key.length + (write.op === 'delete' ? 0 : write.body.length) + 100, 1_024), 0);
  return writes.length === 1 ? units : 2 * units;
}

const serviceOf = (name: string) => services.find((each) => each.name === name)!;

function timerOf(world: World, name: TimerName): Promise<unknown> {
  const own: Readonly<Record<string, () => Promise<unknown>>> = {
    sweepOutbox: () => world.kernel.relay.sweep(30), retryParked: () => retryParked(world.kernel, services), forgetSeen: () => forgetOld(world.kernel),
    catchUp: () => catchUp(world.kernel, services, functionSeconds), demoCarrier: () => world.tick(), doChores: async () => undefined,
  };
  return (own[name] ?? (() => serviceOf(clocks[name as keyof typeof clocks].service).ticks[name]!(world.kernel)))();
}

async function openShop(): Promise<{ readonly world: World; readonly calls: Map<string, number> }> {
  const world = await openWorld({ still: true });
  const calls = new Map<string, number>();
  const count = (name: string, by: number): void => void calls.set(name, (calls.get(name) ?? 0) + by);
  world.interfere = ({ port, method, args }, done) => {
    const name = port === 'store' ? port : `${port}.${method}`;
    // What is sent is a list; it is paid for one by one.
    count(name, Array.isArray(args[1]) && port !== 'store' ? args[1].length : 1);
    if (port !== 'store') return done();
    if (method === 'commit') {
      count('writeUnits', writeUnitsOf(args[1] as readonly RawWrite[]));
      return done();
    }
    return done().then((found) => {
      count('readUnits', unitsOf(JSON.stringify(found ?? '').length, 4_096));
      return found;
    });
  };
  for (const [sku, quantity] of [['MUG', 1_000], ['TEA', 1_000]] as const) await world.describe(sku, quantity);
  return { world, calls };
}

/** Hands over what there is, one by one, as long as there is something; answers how many functions have run. */
function platform(world: World): () => Promise<number> {
  const places = new Map<string, number>();
  async function queued(queue: string, service: string): Promise<number> {
    const received = await world.kernel.queue.receive(queue, { max: 16, waitSeconds: 0 });
    for (const each of received) {
      await work(world.kernel, serviceOf(service), [each]);
      await world.kernel.queue.done(each);
    }
    return received.length;
  }
  async function streamed(stream: string, service: string, partition: string): Promise<number> {
    const name = `${stream}|${service}|${partition}`;
    const place = places.get(name) ?? 0;
    const found = world.engines.stream.read(stream, partition, place === 0 ? undefined : String(place), 1);
    if ('gap' in found || found.events.length === 0) return 0;
    const events = found.events.map(({ position, partitionkey, text }): StreamEvent => ({ position, partitionkey, message: decode(text) }));
    const batch: Delivery = {
      stream, partition, events,
      follows: (after) => Number(events[0]!.position) <= (after === undefined ? 1 : Number(after) + 1),
      isBehind: (one, other) => Number(one) > Number(other),
    };
    await deliver(world.kernel, serviceOf(service), batch, functionSeconds);
    places.set(name, Number(events.at(-1)!.position));
    return 1;
  }
  return async () => {
    let ran = 0;
    for (const { kind, channel, service, polled } of subscriptions) {
      if (kind === 'queue') ran += await queued(channel, service);
      else if (!polled) for (const partition of world.engines.stream.partitions(channel)) ran += await streamed(channel, service, partition);
    }
    return ran;
  };
}

/** Calls of the store by one run of each timer, when there is nothing to do. */
export async function countAtRest(): Promise<ReadonlyMap<TimerName, number>> {
  const { world, calls } = await openShop();
  const turn = platform(world);
  while (await world.play(turn())) await world.clock.advance(1_000);
  for (const row of functions) if (row.kind === 'timer') await world.play(timerOf(world, row.name));
  while (await world.play(turn())) await world.clock.advance(1_000);
  const counts = new Map<TimerName, number>();
  for (const row of functions) {
    if (row.kind !== 'timer') continue;
    await world.clock.advance(60_000);
    const before = calls.get('store') ?? 0;
    await world.play(timerOf(world, row.name));
    counts.set(row.name, (calls.get('store') ?? 0) - before);
  }
  await world.stop();
  return counts;
}

function storedIn({ engines: { store } }: World): number {
  const rows = store.partitions().flatMap((partition) => store.query(partition, { prefix: '', limit: 1_000_000 }).rows.map(({ key, body }) => partition.length + key.length + body.length));
  return rows.reduce((sum, length) => sum + length, 0);
}

/** Of one order of two lines, on average; what the timers would have asked for at rest is not in it. */
export async function countOrder(orders = 20): Promise<OrderCounts> {
  const idle = (await countAtRest()).get('demoCarrier') ?? 0;
  const { world, calls } = await openShop();
  const turn = platform(world);
  while (await world.play(turn())) await world.clock.advance(1_000);
  calls.clear();
  const before = storedIn(world);
  let executions = 0;
  let ticks = 0;
  for (let n = 0; n < orders; n++) {
    await world.place(['MUG', 1], ['TEA', 2]);
    executions++;
    for (let quiet = 0; quiet < 4; ticks++) {
      const ran = await world.play(turn());
      const notices = await world.play(world.tick());
      executions += ran + notices;
      quiet = ran + notices === 0 ? quiet + 1 : 0;
      await world.clock.advance(10_000);
    }
  }
  if (world.unrest().length > 0) throw new Error(`not at rest: ${world.unrest().join('; ')}`);
  const of = (name: string): number => (calls.get(name) ?? 0) / orders;
  const storeCalls = ((calls.get('store') ?? 0) - ticks * idle) / orders;
  const stored = (storedIn(world) - before) / orders;
  await world.stop();
  const readUnits = of('readUnits') - (ticks * idle) / orders;
  return { stored, storeCalls, writeUnits: of('writeUnits'), readUnits, executions: executions / orders, events: of('stream.append'), messages: of('queue.send'), letters: of('mailer.send') };
}
