import { expect } from 'chai';
import { faultless, harsh, hostile, openMemory, profileFrom, type Memory, type Profile } from '../../adapters/memory/index.ts';
import { create, openQueue, openStore, openStream, remove, replace, type Write } from '../../ports/index.ts';
import { createClock, type VirtualClock } from '../support/clock.ts';
import { randomFrom } from '../support/ids.ts';
import { allRows, idsOf, keysOf, readAll, refusal, said, take, takeOne, world } from './family.ts';
import { letterOf } from './mailer.ts';

/** Each fault is shown to happen, and to do what it says: a fake that has become kind unnoticed would make every other test worth less. */
describe('hostile drivers', () => {
  const place = 'order~00';
  let clock: VirtualClock;
  let kind: Memory;
  beforeEach(() => {
    clock = createClock();
    kind = openMemory({ clock, queues: world.queues, streams: world.streams, partitionsPerStream: 1, lockSeconds: 30 });
  });
  afterEach(() => kind.close());

  /** The drivers with these faults; chance comes from the seed. */
  function under(faults: Partial<Profile>, seed = 1) {
    const drivers = hostile(kind, { ...faultless, ...faults }, randomFrom(seed), clock);
    return { store: openStore(drivers.store), queue: openQueue(drivers.queue), stream: openStream(drivers.stream), mailer: drivers.mailer };
  }
  const plain = () => under({});
  const commit = (faced: ReturnType<typeof under>, ...writes: Write[]) => faced.store.commit(place, { writes });
  const rowKeys = async (count: number): Promise<string[]> => {
    const keys = Array.from({ length: count }, (_, n) => `row|${String(n).padStart(3, '0')}`);
    await commit(plain(), ...keys.map((key) => create(key, 1)));
    return keys;
  };
  const read = async (key: string) => (await plain().store.get<number>(place, key))!;

  describe('every call', () => {
    it('is throttled before anything is done', async () => {
      const bad = under({ throttled: 1 });
      await refusal('throttled', commit(bad, create('row', 1)));
      await refusal('throttled', bad.store.get(place, 'row'));
      await refusal('throttled', bad.store.query(place, { prefix: '' }));
      await refusal('throttled', bad.queue.send('work', [said('m1')]));
      await refusal('throttled', bad.mailer.send(letterOf('k')));
      expect(await plain().store.get(place, 'row')).to.equal(undefined);
      expect(await take(plain().queue, 'work', 1)).to.deep.equal([]);
      expect(kind.mailer.letters).to.deep.equal([]);
    });

    it('is unavailable with nothing done', async () => {
      const bad = under({ unavailable: 1 });
      await refusal('unavailable', commit(bad, create('row', 1)));
      await refusal('unavailable', bad.queue.send('work', [said('m1')]));
      await refusal('unavailable', bad.stream.append('facts', [said('m1')]));
      await refusal('unavailable', bad.mailer.send(letterOf('k')));
      expect(await plain().store.get(place, 'row')).to.equal(undefined);
      expect(await take(plain().queue, 'work', 1)).to.deep.equal([]);
      expect(await readAll(plain().stream, 'facts', '0')).to.deep.equal([]);
      expect(kind.mailer.letters).to.deep.equal([]);
    });

    it('is unavailable although it was done, when the answer is lost', async () => {
      const bad = under({ lost: 1 });
      await refusal('unavailable', commit(bad, create('row', 1)));
      await refusal('unavailable', bad.queue.send('work', [said('m1')]));
      await refusal('unavailable', bad.stream.append('facts', [said('m1')]));
      await refusal('unavailable', bad.mailer.send(letterOf('k')));
      expect((await read('row')).body).to.equal(1);
      expect(idsOf(await readAll(plain().stream, 'facts', '0'))).to.deep.equal(['m1']);
      expect(kind.mailer.letters).to.have.length(1);
      const received = await takeOne(plain().queue, 'work');
      await refusal('unavailable', bad.queue.done(received));
      await refusal('lockLost', plain().queue.done(received));
    });

    it('takes its time before the effect and after it', async () => {
      const slow = under({ delay: 1, delayMilliseconds: 1_000 });
      let answered = false;
      const work = commit(slow, create('row', 1)).then(() => (answered = true));
      await clock.idle();
      expect(await plain().store.get(place, 'row')).to.equal(undefined);
      await clock.next();
      expect((await read('row')).body).to.equal(1);
      expect(answered).to.equal(false);
      await clock.next();
      await work;
      expect(clock.sleepers()).to.equal(0);
    });

    it('does as the driver does when no fault is on', async () => {
      await rowKeys(5);
      expect(await plain().store.query(place, { prefix: '', limit: 3 })).to.have.property('rows').with.length(3);
      await plain().queue.send('work', [said('m1'), said('m2')]);
      expect(idsOf(await plain().queue.receive('work', { max: 2, waitSeconds: 0 }))).to.deep.equal(['m1', 'm2']);
    });
  });

  describe('the store', () => {
    it('meets a true conflict on a row that a commit replaces or deletes, and writes nothing', async () => {
      await rowKeys(2);
      const bad = under({ conflict: 1 });
      const row = await read('row|000');
      expect((await refusal('conflict', commit(bad, replace(row, 2), create('new', 1)))).key).to.equal('row|000');
      expect((await refusal('conflict', commit(bad, remove(await read('row|001'))))).key).to.equal('row|001');
      expect(await plain().store.get(place, 'new')).to.equal(undefined);
      const after = await read('row|000');
      expect(after.body).to.equal(row.body);
      expect(after.version).not.to.equal(row.version);
    });

    it('never invents a conflict for a create: there a conflict means that the row is there', async () => {
      await commit(under({ conflict: 1 }), create('row', 1));
      expect((await read('row')).body).to.equal(1);
    });

    it('hands out short pages with a next, and no row is missed', async () => {
      const keys = await rowKeys(60);
      const bad = under({ short: 1 });
      const page = await bad.store.query(place, { prefix: 'row|', limit: 60 });
      expect(page.rows.length).to.be.below(60);
      expect(page.next).to.be.a('string');
      expect(keysOf(await allRows(bad.store, place, 'row|', { limit: 60 }))).to.deep.equal(keys);
    });

    it('hands out empty pages with a next, the first one too, and no row is missed', async () => {
      const keys = await rowKeys(60);
      const never = await under({ empty: 1 }).store.query(place, { prefix: 'row|' });
      expect(never.rows).to.deep.equal([]);
      expect(never.next).to.be.a('string');
      const page = await plain().store.query(place, { prefix: 'row|', limit: 20, cursor: never.next! });
      expect(keysOf([...page.rows])).to.deep.equal(keys.slice(0, 20));
      const again = await under({ empty: 1 }).store.query(place, { prefix: 'row|', limit: 20, cursor: page.next! });
      expect(again).to.deep.equal({ rows: [], next: page.next });
      expect(keysOf(await allRows(under({ empty: 0.5 }).store, place, 'row|', { limit: 7 }))).to.deep.equal(keys);
    });
  });

  describe('the queue', () => {
    it('delivers a message twice', async () => {
      await under({ duplicate: 1 }).queue.send('work', [said('m1'), said('m2')]);
      expect(idsOf(await take(plain().queue, 'work', 9)).sort()).to.deep.equal(['m1', 'm1', 'm2', 'm2']);
    });

    it('hands messages over in another order', async () => {
      const sent = Array.from({ length: 20 }, (_, n) => `m${n}`);
      await plain().queue.send('work', sent.map((id) => said(id)));
      const received = idsOf(await under({ reorder: 1 }).queue.receive('work', { max: 20, waitSeconds: 0 }));
      expect(received).not.to.deep.equal(sent);
      expect([...received].sort()).to.deep.equal([...sent].sort());
    });

    it('hands over fewer than there are, or none, and keeps the others', async () => {
      await plain().queue.send('work', Array.from({ length: 20 }, (_, n) => said(`m${n}`)));
      expect(await under({ empty: 1 }).queue.receive('work', { max: 20, waitSeconds: 0 })).to.deep.equal([]);
      const some = await under({ short: 1 }).queue.receive('work', { max: 20, waitSeconds: 0 });
      expect(some.length).to.be.within(1, 19);
      expect(await take(plain().queue, 'work', 20)).to.have.length(20 - some.length);
    });

    it('loses a lock before its time, and the message comes again', async () => {
      await plain().queue.send('work', [said('m1')]);
      const received = await takeOne(plain().queue, 'work');
      const bad = under({ lockLost: 1 });
      await refusal('lockLost', bad.queue.renew(received));
      await refusal('lockLost', bad.queue.done(received));
      await clock.advance(31_000);
      expect((await takeOne(plain().queue, 'work')).attempts).to.equal(2);
    });
  });

  describe('the stream', () => {
    const messages = ['a', 'b', 'c', 'd'].flatMap((key) => [1, 2, 3].map((n) => said(`${key}${n}`, { subject: key })));
    const byKey = (ids: readonly string[], key: string): string[] => ids.filter((id) => id.startsWith(key));

    it('throttles tails of keys, says which, and takes the rest', async () => {
      const failures = await under({ throttled: 0.5 }, 3).stream.append('facts', messages);
      expect(failures.length).to.be.within(1, messages.length - 1);
      for (const { error } of failures) expect(error.kind).to.equal('throttled');
      const failed = new Set(failures.map(({ index }) => messages[index]!.id));
      const taken = idsOf(await readAll(plain().stream, 'facts', '0'));
      expect([...taken].sort()).to.deep.equal(messages.map(({ id }) => id).filter((id) => !failed.has(id)).sort());
      for (const key of ['a', 'b', 'c', 'd']) expect(byKey(taken, key)).to.deep.equal([`${key}1`, `${key}2`, `${key}3`].slice(0, byKey(taken, key).length));
    });

    it('lets keys change places, and never two events of one key', async () => {
      await under({ reorder: 1 }).stream.append('facts', messages);
      const read = idsOf(await readAll(plain().stream, 'facts', '0'));
      expect(read).not.to.deep.equal(messages.map(({ id }) => id));
      for (const key of ['a', 'b', 'c', 'd']) expect(byKey(read, key)).to.deep.equal([`${key}1`, `${key}2`, `${key}3`]);
    });

    it('names a failure of the driver by its place in what was handed over, whatever changed places', async () => {
      const large = messages.map((message) => (message.id === 'c2' ? { ...message, data: 'x'.repeat(200_000) } : message));
      for (const seed of [1, 2, 3, 4]) {
        const failures = await under({ reorder: 1 }, seed).stream.append('facts', large);
        expect(failures.map(({ index }) => large[index]!.id).sort()).to.deep.equal(['c2', 'c3']);
      }
    });

    it('reads again what a position has left behind, and then goes on', async () => {
      await plain().stream.append('facts', messages);
      const bad = under({ reread: 1 });
      const first = await bad.stream.read('facts', '0', { max: 5, waitSeconds: 0 });
      if ('gap' in first) throw new Error('a gap');
      const second = await bad.stream.read('facts', '0', { max: 8, waitSeconds: 0, after: first.events.at(-1)!.position });
      if ('gap' in second) throw new Error('a gap');
      expect(second.events.slice(0, 5)).to.deep.equal(first.events);
      expect(idsOf(second.events.slice(5))).to.deep.equal(messages.slice(5, 8).map(({ id }) => id));
      const third = await bad.stream.read('facts', '0', { max: 8, waitSeconds: 0, after: first.events.at(-1)!.position });
      if ('gap' in third) throw new Error('a gap');
      expect(third.events).to.deep.equal(second.events);
      expect(third.events[0]!.message, 'nothing is shared by reference').not.to.equal(second.events[0]!.message);
    });

    it('reads fewer than there are, or none, and skips nothing', async () => {
      await plain().stream.append('facts', messages);
      expect(await under({ empty: 1 }).stream.read('facts', '0', { max: 12, waitSeconds: 0 })).to.deep.equal({ events: [] });
      const short = await under({ short: 1 }).stream.read('facts', '0', { max: 12, waitSeconds: 0 });
      expect('events' in short && short.events.length).to.be.within(1, 11);
      expect(idsOf(await readAll(under({ short: 1, empty: 0.3 }).stream, 'facts', '0'))).to.deep.equal(messages.map(({ id }) => id));
    });

    it('hides neither a gap nor a missing partition behind an empty answer for ever', async () => {
      await refusal('missing', under({ empty: 1 }).stream.read('facts', '9', { max: 1, waitSeconds: 0 }));
      await refusal('missing', under({ empty: 1 }).queue.receive(world.nowhere, { max: 1, waitSeconds: 0 }));
    });
  });

  describe('the mailer', () => {
    it('does not know what became of a letter', async () => {
      await plain().mailer.send(letterOf('k'));
      expect(await under({ unknown: 1 }).mailer.ask('k')).to.equal('unknown');
      expect(await plain().mailer.ask('k')).to.equal('sent');
    });
  });

  describe('a profile', () => {
    it('gives the same run for the same seed, and another one for another', async () => {
      const run = async (seed: number): Promise<string> => {
        const drivers = openMemory({ clock, ...world, faults: { profile: { ...harsh, delay: 0 }, random: randomFrom(seed) } });
        const story: string[] = [];
        for (let n = 0; n < 60; n++) story.push(await drivers.store.commit(place, [{ op: 'create', key: `${n}`, body: '1' }]).then(() => 'done', (error: unknown) => String(error)));
        return story.join('\n');
      };
      expect(await run(1)).to.equal(await run(1));
      expect(await run(1)).not.to.equal(await run(2));
      expect(await run(1)).to.contain('throttled').and.to.contain('unavailable').and.to.contain('done');
    });

    it('is drawn from the seed: some faults off, none certain', () => {
      const profiles = Array.from({ length: 50 }, (_, seed) => profileFrom(randomFrom(seed)));
      const { delayMilliseconds: _, ...chances } = harsh;
      for (const name of Object.keys(chances) as (keyof typeof chances)[]) {
        expect(profiles.some((profile) => profile[name] === 0), `${name} is off now and then`).to.equal(true);
        expect(profiles.some((profile) => profile[name] > 0), `${name} is on now and then`).to.equal(true);
        for (const profile of profiles) expect(profile[name]).to.be.within(0, 0.6);
      }
      expect(profileFrom(randomFrom(3))).to.deep.equal(profiles[3]);
    });
  });
});
