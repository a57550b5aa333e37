import { expect } from 'chai';
import fc from 'fast-check';
import { createSortedKeys } from '../../adapters/engine/sorted.ts';
import { createQueueEngine } from '../../adapters/engine/queue.ts';
import { createStreamEngine } from '../../adapters/engine/stream.ts';
import { openMemory, type Memory } from '../../adapters/memory/index.ts';
import { refusal, said } from '../conformance/family.ts';
import { createClock, type VirtualClock } from '../support/clock.ts';

describe('the engine', () => {
  it('keeps keys in order like a sorted list does, whatever comes and goes', () => {
    const step = fc.record({ key: fc.integer({ min: 0, max: 3_000 }).map((n) => n.toString(36)), add: fc.integer({ min: 0, max: 3 }).map((n) => n > 0) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 4_000, size: 'max' }), fc.string({ maxLength: 3 }), (steps, from) => {
        const keys = createSortedKeys();
        const model = new Set<string>();
        for (const { key, add } of steps) {
          if (add && !model.has(key)) keys.add(key);
          if (!add) keys.delete(key);
          if (add) model.add(key);
          else model.delete(key);
        }
        const sorted = [...model].sort();
        const found: string[] = [];
        keys.scan(from, (key) => found.push(key) > 0);
        expect(found).to.deep.equal(sorted.filter((key) => key >= from));
        expect(keys.first()).to.equal(sorted[0]);
      }),
      { numRuns: 30, seed: 20261120 },
    );
  });

  it('forgets whole stretches of keys, and takes them again', () => {
    const keys = createSortedKeys();
    const all = Array.from({ length: 2_000 }, (_, n) => String(n).padStart(4, '0'));
    for (const key of all) keys.add(key);
    for (const key of all.slice(0, 1_300)) keys.delete(key);
    expect(keys.first()).to.equal('1300');
    for (const key of all.slice(1_300)) keys.delete(key);
    expect(keys.first()).to.equal(undefined);
    for (const key of [...all].reverse()) keys.add(key);
    const found: string[] = [];
    keys.scan('', (key) => found.push(key) > 0);
    expect(found).to.deep.equal(all);
  });

  it('stops a scan where the visitor says so', () => {
    const keys = createSortedKeys();
    for (let n = 0; n < 2_000; n++) keys.add(String(n).padStart(4, '0'));
    const found: string[] = [];
    keys.scan('0600', (key) => found.push(key) < 700);
    expect([found.length, found[0], found.at(-1)]).to.deep.equal([700, '0600', '1299']);
  });

  it('says when the next message is ready by itself: the end of a delay or of a lock', () => {
    const engine = createQueueEngine({ lockSeconds: 30 });
    engine.declare('work');
    expect(engine.nextAt('work')).to.equal(undefined);
    engine.send('work', ['later'], { now: 0, delaySeconds: 50 });
    expect(engine.nextAt('work')).to.equal(50_000);
    engine.send('work', ['now'], { now: 0 });
    const [delivery] = engine.receive('work', 9, 1_000);
    expect(engine.nextAt('work')).to.equal(31_000);
    expect(engine.renew('work', delivery!.token, 25_000)).to.equal(55_000);
    expect(engine.nextAt('work')).to.equal(50_000);
    expect(engine.count('work')).to.equal(2);
  });

  it('frees a lock at the very millisecond at which the receipt is worth nothing', () => {
    const engine = createQueueEngine({ lockSeconds: 1 });
    engine.declare('work');
    engine.send('work', ['m'], { now: 0 });
    const [first] = engine.receive('work', 1, 0);
    expect(engine.receive('work', 1, 999)).to.deep.equal([]);
    expect(() => engine.remove('work', first!.token, 1_000)).to.throw('lockLost');
    expect(engine.receive('work', 1, 1_000)).to.have.length(1);
  });

  it('hands out a long backlog in the order of its coming, each message once', () => {
    const engine = createQueueEngine();
    engine.declare('work');
    engine.send('work', Array.from({ length: 20_000 }, (_, n) => String(n)), { now: 0 });
    const texts: string[] = [];
    for (let n = 0; n < 100; n++) {
      for (const { text, token } of engine.receive('work', 200, 1)) {
        texts.push(text);
        engine.remove('work', token, 1);
      }
    }
    expect(texts).to.deep.equal(Array.from({ length: 20_000 }, (_, n) => String(n)));
    expect(engine.count('work')).to.equal(0);
  });

  it('drops events by age alone', () => {
    const engine = createStreamEngine({ partitionsPerStream: 1, retentionDays: 1 });
    engine.declare('facts');
    for (const hour of [0, 12, 24]) engine.append('facts', [{ partitionkey: 'a', text: String(hour) }], hour * 3_600_000);
    engine.trim(24 * 3_600_000);
    expect(engine.read('facts', '0', undefined, 9)).to.have.property('events').with.length(3);
    engine.trim(30 * 3_600_000);
    expect(engine.read('facts', '0', undefined, 9)).to.have.deep.property('events', [
      { position: '2', partitionkey: 'a', text: '12' },
      { position: '3', partitionkey: 'a', text: '24' },
    ]);
  });

  it('splits a partition: what follows goes to its children, key by key, and who has read the parent to its end is told of them', () => {
    const engine = createStreamEngine({ partitionsPerStream: 1 });
    engine.declare('facts');
    const keys = Array.from({ length: 40 }, (_, n) => `key ${n}`);
    const append = (round: number): void => engine.append('facts', keys.map((partitionkey) => ({ partitionkey, text: `${partitionkey}, ${round}` })), round);
    append(1);
    const children = engine.split('facts', '0');
    expect(engine.split('facts', '0'), 'it is split once').to.deep.equal(children);
    append(2);
    engine.split('facts', children[0]!);
    append(3);
    expect(engine.partitions('facts'), 'whoever begins, begins with the parent').to.deep.equal(['0']);
    expect(engine.read('facts', '0', '39', 9)).to.have.property('events').with.length(1);
    expect(engine.read('facts', '0', '40', 9)).to.deep.equal({ events: [], children });

    const told = new Map<string, string[]>();
    const places = new Map<string, Set<string>>();
    const visit = (partition: string): void => {
      const batch = engine.read('facts', partition, undefined, 1_000);
      if ('gap' in batch) throw new Error('a gap');
      for (const { partitionkey, text } of batch.events) {
        told.set(partitionkey, [...(told.get(partitionkey) ?? []), text]);
        places.set(partition, (places.get(partition) ?? new Set()).add(partitionkey));
      }
      const end = engine.read('facts', partition, String(batch.events.length), 1);
      if ('children' in end) end.children?.forEach(visit);
    };
    visit('0');
    for (const each of keys) expect(told.get(each)).to.deep.equal([1, 2, 3].map((round) => `${each}, ${round}`));
    expect([...places.keys()].sort()).to.deep.equal(['0', '1', '2', '3', '4']);
    expect(places.get('1')!.size + places.get('2')!.size).to.equal(40);
  });

  it('answers a gap for a position that it has never given out: it may have lost its state', () => {
    const engine = createStreamEngine({ partitionsPerStream: 1 });
    engine.declare('facts');
    engine.append('facts', [{ partitionkey: 'a', text: 'm' }], 0);
    expect(engine.read('facts', '0', '1', 9)).to.deep.equal({ events: [] });
    for (const position of ['2', '500', '-1', 'x', '']) expect(engine.read('facts', '0', position, 9), position).to.deep.equal({ gap: true });
  });
});

describe('the memory family', () => {
  const names = { queues: ['work'], streams: ['facts'], partitionsPerStream: 1 };
  let clock: VirtualClock;
  let memory: Memory;
  beforeEach(() => {
    clock = createClock();
    memory = openMemory({ clock, ...names });
  });

  it('is dead when closed: waits end with an error, and so does every later call', async () => {
    const waiting = memory.queue.receive('work', { max: 1, waitSeconds: 20 });
    const reading = memory.stream.read('facts', '0', { max: 1, waitSeconds: 20 });
    await clock.idle();
    memory.close();
    await refusal('unavailable', waiting);
    await refusal('unavailable', reading);
    await refusal('unavailable', memory.store.get('p', 'k'));
    await refusal('unavailable', memory.queue.send('work', [said('m1')], { delaySeconds: 0, attempts: 0 }));
    await refusal('unavailable', memory.mailer.ask('k'));
    expect(clock.sleepers()).to.equal(0);
  });

  it('hands a message that one opening sends to a receiver of another on the same engines', async () => {
    const other = openMemory({ clock, ...names, engines: memory.engines });
    const waiting = other.queue.receive('work', { max: 1, waitSeconds: 20 });
    await clock.idle();
    await memory.queue.send('work', [said('m1')], { delaySeconds: 0, attempts: 0 });
    expect(await waiting).to.have.length(1);
  });

  it('leaves no sleeper behind when a wait is over, however it ended', async () => {
    const stop = new AbortController();
    const waits = Array.from({ length: 8 }, () => memory.queue.receive('work', { max: 1, waitSeconds: 5, signal: stop.signal }));
    await clock.idle();
    expect(clock.sleepers()).to.equal(8);
    await memory.queue.send('work', [said('m1')], { delaySeconds: 0, attempts: 0 });
    await clock.advance(1_000);
    stop.abort();
    expect((await Promise.all(waits)).flat()).to.have.length(1);
    expect(clock.sleepers()).to.equal(0);
  });

  it('forgets what has fallen out of retention when it is appended to', async () => {
    await memory.stream.append('facts', [said('m1'), said('m2')]);
    await clock.advance(8 * 86_400_000);
    await memory.stream.append('facts', [said('m3')]);
    expect(await memory.stream.read('facts', '0', { after: '1', max: 9, waitSeconds: 0 })).to.deep.equal({ gap: true });
  });

  it('lets others have a turn while a pump empties a full queue', async () => {
    await memory.queue.send('work', Array.from({ length: 200 }, (_, n) => said(`m${n}`)), { delaySeconds: 0, attempts: 0 });
    let turns = 0;
    const count = (): void => void (turns++ < 1_000 && setImmediate(count));
    count();
    for (let n = 0; n < 200; n++) await memory.queue.receive('work', { max: 1, waitSeconds: 0 });
    expect(turns).to.be.greaterThan(100);
  });
});

describe('the virtual clock of the tests', () => {
  it('wakes sleepers in the order of their time, and lets each finish first', async () => {
    const clock = createClock();
    const start = clock.now();
    const story: string[] = [];
    const sleeper = async (name: string, milliseconds: number, again = 0): Promise<void> => {
      await clock.sleep(milliseconds);
      story.push(`${name} ${clock.now() - start}`);
      if (again > 0) await sleeper(`${name}'`, again);
    };
    const all = [sleeper('c', 300), sleeper('a', 100, 150), sleeper('b', 200), sleeper('a2', 100), sleeper('never', 9_000)];
    await clock.advance(1_000);
    expect(story).to.deep.equal(['a 100', 'a2 100', 'b 200', "a' 250", 'c 300']);
    expect(clock.now() - start).to.equal(1_000);
    expect(await clock.next()).to.equal(true);
    await Promise.all(all);
    expect(await clock.next()).to.equal(false);
  });

  it('ends a sleep at once when the signal is aborted', async () => {
    const clock = createClock();
    const stop = new AbortController();
    const sleeping = clock.sleep(1_000, stop.signal);
    stop.abort();
    await sleeping;
    await clock.sleep(1_000, stop.signal);
    expect(clock.sleepers()).to.equal(0);
  });

  it('is idle only when a long chain of turns has come to its end', async () => {
    const clock = createClock();
    const memory = openMemory({ clock, queues: ['work'], streams: [] });
    await memory.queue.send('work', Array.from({ length: 300 }, (_, n) => said(`m${n}`)), { delaySeconds: 0, attempts: 0 });
    let handled = 0;
    const pump = async (): Promise<void> => {
      while ((await memory.queue.receive('work', { max: 1, waitSeconds: 20 })).length > 0) handled++;
    };
    const pumping = pump();
    await clock.idle();
    expect(handled).to.equal(300);
    await clock.advance(20_000);
    await pumping;
  });
});
