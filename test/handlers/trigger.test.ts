import { expect } from 'chai';
import { say } from '../../core/kernel/model.ts';
import type { AnyService, Kernel } from '../../core/kernel/service.ts';
import { catchUp, deliver, work, type Delivery } from '../../handlers/trigger.ts';
import { Defect, Invalid, PortError, timestamp, type Malformed, type Message, type Received, type StreamEvent } from '../../ports/index.ts';
import { openWorld, toys, unavailable, type World, type WorldOptions } from '../support/world.ts';

/**
 * TRIGGERS under the platform's own rules: what we return from is done with, and what we throw at comes again. On a clock that stands still until it is moved; the
 * platform is the test, which holds what was read from the memory family in its hand.
 */
const functionSeconds = 600;
const stream = 'orders';
const noon = Date.parse('2026-11-20T09:00:00.000Z');
const idOf = (n: number): string => n.toString(32).padStart(26, '0');
const asked = (n: number, sequence: number): Message => say('CancellationRequested', { orderId: idOf(n) }, { subject: idOf(n), sequence, at: timestamp(noon) }).message;
const freed = (n: number): Message => say('StockFreed', { skus: [`S${n}`] }, { subject: `S${n}`, sequence: 0, at: timestamp(noon) }).message;

interface Bench {
  readonly world: World;
  readonly shipping: AnyService;
  readonly inventory: AnyService;
  /** `order#sequence` of what was handled, in order. */
  readonly heard: string[];
  /** Thrown by the handler, while it answers something. */
  fail: ((message: Message) => Error | undefined) | undefined;
}

async function openBench(options: WorldOptions = {}): Promise<Bench> {
  const heard: string[] = [];
  const hear = async (kernel: Kernel, message: Message): Promise<void> => {
    await kernel.clock.sleep(5);
    const error = bench.fail?.(message);
    if (error) throw error;
    heard.push(`${message.subject.replace(/^0+(?=.)/, '')}#${Number(message.sequence)}`);
  };
  const all = toys({ shipping: { CancellationRequested: hear }, inventory: { StockFreed: hear } });
  const of = (name: string): AnyService => all.find((each) => each.name === name)!;
  const world = await openWorld({ still: true, services: all, partitionsPerStream: 1, ...options });
  const bench: Bench = { world, shipping: of('shipping'), inventory: of('inventory'), heard, fail: undefined };
  return bench;
}

/** Puts events of these keys on the stream; answers them as the platform would have read them. */
async function append({ world }: Bench, ...messages: Message[]): Promise<StreamEvent[]> {
  await world.play(world.kernel.stream.append(stream, messages));
  return readAll(world);
}

async function readAll(world: World): Promise<StreamEvent[]> {
  const batch = world.engines.stream.read(stream, '0', undefined, 1_000);
  if ('gap' in batch) throw new Error('a gap');
  return batch.events.map(({ position, partitionkey, text }) => ({ position, partitionkey, message: JSON.parse(text) as Message }));
}

/** A batch of the memory family, whose positions count from 1. */
const batchOf = (events: readonly StreamEvent[]): Delivery => ({
  stream, partition: '0', events,
  follows: (after) => Number(events[0]!.position) <= (after === undefined ? 1 : Number(after) + 1),
  isBehind: (position, other) => Number(position) > Number(other),
});

const hand = ({ world, shipping }: Bench, events: readonly StreamEvent[]): Promise<void> => world.play(deliver(world.kernel, shipping, batchOf(events), functionSeconds));
const thrownBy = (play: Promise<unknown>): Promise<unknown> => play.then(() => undefined, (error: unknown) => error);

describe('a trigger of a stream', () => {
  it('handles a batch, key by key in order, and nothing of it twice when the platform hands it out again', async () => {
    const bench = await openBench();
    const events = await append(bench, asked(1, 0), asked(2, 0), asked(1, 1));
    await hand(bench, events);
    expect(bench.heard).to.have.members(['1#0', '2#0', '1#1']);
    expect(bench.heard.indexOf('1#0')).to.be.lessThan(bench.heard.indexOf('1#1'));
    await hand(bench, events);
    expect(bench.heard).to.have.length(3);
    await bench.world.stop();
  });

  it('parks what fails by its own fault, with what follows of its key, and returns', async () => {
    const bench = await openBench();
    bench.fail = ({ subject, sequence }) => (subject === idOf(1) && Number(sequence) === 0 ? new Defect('by the test') : undefined);
    await hand(bench, await append(bench, asked(1, 0), asked(2, 0), asked(1, 1)));
    expect(bench.heard).to.deep.equal(['2#0']);
    expect(bench.world.rows<{ reason: string; next: number }>('parked').map(({ body: { reason, next } }) => ({ reason, next }))).to.deep.equal([{ reason: 'Defect: by the test', next: 2 }]);
    await bench.world.stop();
  });

  it('parks what nobody can read, under the key of the broker', async () => {
    const bench = await openBench();
    const malformed: Malformed = { malformed: 'not JSON', raw: 'nonsense' };
    await append(bench, asked(1, 0), asked(2, 0));
    const [first, second] = await readAll(bench.world);
    await hand(bench, [{ ...first!, message: malformed }, second!]);
    expect(bench.heard).to.deep.equal(['2#0']);
    expect(bench.world.rows<{ reason: string; partitionkey: string }>('parked').map(({ body }) => body.reason)).to.deep.equal(['malformed: not JSON']);
    await bench.world.stop();
  });

  it('tries again in place while the store is down, and parks nothing', async () => {
    const bench = await openBench();
    const events = await append(bench, asked(1, 0), asked(2, 0));
    const healthyAt = bench.world.clock.now() + 120_000;
    bench.world.interfere = ({ port }, work) => (port === 'store' && bench.world.clock.now() < healthyAt ? Promise.reject(unavailable()) : work());
    await hand(bench, events);
    expect(bench.world.clock.now()).to.be.within(healthyAt, healthyAt + 10_000);
    expect(bench.heard).to.have.members(['1#0', '2#0']);
    expect(bench.world.rows('parked')).to.deep.equal([]);
    await bench.world.stop();
  });

  it('throws when two thirds of its time are over, so that the platform hands the batch out again', async () => {
    const bench = await openBench();
    const events = await append(bench, asked(1, 0), asked(2, 0));
    const began = bench.world.clock.now();
    bench.fail = ({ subject }) => (subject === idOf(1) ? new PortError('unavailable', 'by the test') : undefined);
    const error = await thrownBy(hand(bench, events));
    expect(error).to.be.instanceOf(PortError).that.includes({ kind: 'unavailable' });
    expect((bench.world.clock.now() - began) / 1_000).to.be.within((functionSeconds * 2) / 3, (functionSeconds * 2) / 3 + 10);
    expect(bench.world.rows('parked')).to.deep.equal([]);
    bench.fail = undefined;
    await hand(bench, events);
    expect(bench.heard.filter((each) => each === '1#0')).to.have.length(1);
    await bench.world.stop();
  });

  it('throws also when the store is down from the first moment to the last', async () => {
    const bench = await openBench();
    const events = await append(bench, asked(1, 0));
    bench.world.interfere = ({ port }, doing) => (port === 'store' ? Promise.reject(unavailable()) : doing());
    expect(await thrownBy(hand(bench, events))).to.be.instanceOf(PortError);
    bench.world.interfere = undefined;
    await hand(bench, events);
    expect(bench.heard).to.deep.equal(['1#0']);
    await bench.world.stop();
  });

  it('reads what lies between its place and a batch that begins later, first and in order', async () => {
    const bench = await openBench();
    const events = await append(bench, ...Array.from({ length: 9 }, (_, n) => asked(1, n)));
    await hand(bench, events.slice(0, 2));
    await hand(bench, events.slice(6)); // the platform ran out of time with 3 to 6, and moved on
    expect(bench.heard).to.deep.equal(Array.from({ length: 9 }, (_, n) => `1#${n}`));
    await bench.world.stop();
  });

  it('begins at the beginning of the stream when nothing is written down, however late the first batch is', async () => {
    const bench = await openBench();
    const events = await append(bench, asked(1, 0), asked(1, 1), asked(1, 2));
    await hand(bench, events.slice(2));
    expect(bench.heard).to.deep.equal(['1#0', '1#1', '1#2']);
    await bench.world.stop();
  });

  it('waits for what lies between, and throws rather than leave it out', async () => {
    const bench = await openBench();
    const events = await append(bench, asked(1, 0), asked(1, 1), asked(1, 2));
    bench.world.interfere = ({ port, method }, doing) => (port === 'stream' && method === 'read' ? Promise.resolve({ events: [] }) : doing());
    expect(await thrownBy(hand(bench, events.slice(2)))).to.be.instanceOf(PortError);
    expect(bench.heard).to.deep.equal([]);
    await bench.world.stop();
  });

  it('says aloud that events are missing when what lies between is kept no longer, and goes on with what there is', async () => {
    const bench = await openBench({ retentionDays: 1 });
    const [first] = await append(bench, asked(1, 0), asked(1, 1));
    await hand(bench, [first!]);
    await bench.world.clock.advance(2 * 24 * 3_600_000);
    await bench.world.play(bench.world.kernel.stream.append(stream, [asked(1, 2)]));
    await bench.world.clock.advance(120_000);
    await bench.world.play(bench.world.kernel.stream.append(stream, [asked(1, 3)]));
    const kept = bench.world.engines.stream.read(stream, '0', '2', 10);
    if ('gap' in kept) throw new Error('the test has no gap that it can see past');
    await hand(bench, kept.events.map(({ position, partitionkey, text }) => ({ position, partitionkey, message: JSON.parse(text) as Message })).slice(-1));
    expect(bench.heard).to.deep.equal(['1#0', '1#2', '1#3']);
    expect(bench.world.log.lines.map(({ text }) => text)).to.include('the position has fallen out of retention: events are missing');
    await bench.world.stop();
  });

  it('is safe beside another one with the same partition: neither moves the other back', async () => {
    const bench = await openBench();
    const events = await append(bench, ...Array.from({ length: 20 }, (_, n) => asked(n % 3, n)));
    const { world, shipping } = bench;
    const one = deliver(world.kernel, shipping, batchOf(events), functionSeconds);
    const other = deliver(world.kernel, shipping, batchOf(events.slice(5)), functionSeconds);
    await world.play(Promise.all([one, other]));
    expect(new Set(bench.heard).size).to.equal(20);
    const [position] = world.rows<{ after: string }>('position');
    expect(position!.body.after).to.equal(events.at(-1)!.position);
    await world.stop();
  });

  it('catches up by a timer with what the platform has passed over and never come back to', async () => {
    const bench = await openBench();
    const events = await append(bench, asked(1, 0), asked(1, 1), asked(1, 2));
    await hand(bench, events.slice(0, 1));
    await bench.world.play(catchUp(bench.world.kernel, [bench.shipping], functionSeconds));
    expect(bench.heard).to.deep.equal(['1#0', '1#1', '1#2']);
    await bench.world.stop();
  });

  it('catches up through a partition that was split, to its children', async () => {
    const bench = await openBench({ partitionsPerStream: 1 });
    await append(bench, asked(1, 0), asked(2, 0));
    bench.world.engines.stream.split(stream, '0');
    await bench.world.kernel.stream.append(stream, [asked(1, 1), asked(2, 1)]);
    await bench.world.play(catchUp(bench.world.kernel, [bench.shipping], functionSeconds));
    expect([...bench.heard].sort()).to.deep.equal(['1#0', '1#1', '2#0', '2#1']);
    await bench.world.stop();
  });

  it('hands out an event that ends the process three times at the most: then it is parked unhandled, and the others go on', async () => {
    const bench = await openBench();
    const events = await append(bench, asked(1, 0), asked(2, 0));
    let starts = 0;
    const deadly = ({ subject }: Message): Promise<void> => (subject === idOf(1) ? new Promise(() => starts++) : Promise.resolve());
    const dying: AnyService = { ...bench.shipping, hears: { CancellationRequested: (_, message: Message) => deadly(message) } };
    for (let returned = false; !returned; ) {
      const delivering = deliver(bench.world.kernel, dying, batchOf(events), functionSeconds).then(() => (returned = true), () => undefined);
      await Promise.race([delivering, bench.world.clock.advance(3_000)]);
      if (!returned) await bench.world.restart();
    }
    expect(starts).to.equal(3);
    expect(bench.world.rows<{ reason: string }>('parked').map(({ body }) => body.reason)).to.deep.equal(['the process ended while this event was handled, three times']);
    await bench.world.stop();
  });
});

describe('a trigger of a queue', () => {
  /** As the platform hands it over: locked, and its business to settle. */
  const locked = (message: Message | Malformed, attempts = 1): Received => ({ queue: 'stock-freed', message, attempts, lockedUntil: Number.MAX_SAFE_INTEGER, receipt: undefined });
  const handOver = ({ world, inventory }: Bench, ...received: Received[]): Promise<void> => world.play(work(world.kernel, inventory, received));
  const received = async ({ world }: Bench): Promise<Received[]> => world.play(world.kernel.queue.receive('stock-freed', { max: 10, waitSeconds: 0 }));

  it('handles a message and returns; a batch alike', async () => {
    const bench = await openBench();
    await handOver(bench, locked(freed(1)));
    await handOver(bench, locked(freed(2)), locked(freed(3)));
    expect(bench.heard).to.have.members(['S1#0', 'S2#0', 'S3#0']);
    await bench.world.stop();
  });

  it('sends a delayed copy of what failed by its own fault and returns, for the platform would hand it out again at once', async () => {
    const bench = await openBench();
    bench.fail = () => new Defect('by the test');
    await handOver(bench, locked(freed(1), 3));
    expect(await received(bench)).to.deep.equal([]);
    await bench.world.clock.advance(8_000);
    expect((await received(bench)).map(({ attempts, message }) => [attempts, (message as Message).id])).to.deep.equal([[4, freed(1).id]]);
    await bench.world.stop();
  });

  it('buries at the tenth time, and at once what has no right shape or cannot be read, and returns', async () => {
    const bench = await openBench();
    bench.fail = ({ subject }) => (subject === 'S1' ? new Defect('by the test') : new Invalid('by the test'));
    await handOver(bench, locked(freed(1), 10), locked(freed(2)), locked({ malformed: 'not JSON', raw: 'x' }));
    expect(bench.world.rows<{ reason: string }>('dead').map(({ body }) => body.reason).sort()).to.deep.equal(['invalid: by the test', 'malformed: not JSON', 'maxAttempts: Defect: by the test']);
    await bench.world.clock.advance(1_000_000);
    expect(await received(bench)).to.deep.equal([]);
    await bench.world.stop();
  });

  it('blames no message for a world that is sick: the copy has as many attempts as before', async () => {
    const bench = await openBench();
    bench.fail = () => unavailable();
    await handOver(bench, locked(freed(1), 7));
    await bench.world.clock.advance(2_000);
    expect((await received(bench)).map(({ attempts }) => attempts)).to.deep.equal([7]);
    await bench.world.stop();
  });

  it('throws when not even the copy can be sent, after all the others of its batch have come to their end', async () => {
    const bench = await openBench();
    bench.fail = ({ subject }) => (subject === 'S1' ? new Defect('by the test') : undefined);
    bench.world.interfere = ({ port, method }, doing) => (port === 'queue' && method === 'send' ? Promise.reject(unavailable()) : doing());
    expect(await thrownBy(handOver(bench, locked(freed(1)), locked(freed(2))))).to.be.instanceOf(PortError);
    expect(bench.heard).to.deep.equal(['S2#0']);
    await bench.world.stop();
  });
});
