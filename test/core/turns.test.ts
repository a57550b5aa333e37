import { expect } from 'chai';
import fc from 'fast-check';
import { openMemory } from '../../adapters/memory/index.ts';
import { inTurn, type Change, type Reader } from '../../core/kernel/turns.ts';
import { PortError, create, isPortError, limits, openStore, replace, type RawWrite, type Row, type Store, type StoreDriver } from '../../ports/index.ts';
import { createClock } from '../support/clock.ts';

const place = 'turns~00';

interface Count {
  readonly count: number;
}

/** A store that tells how many commits it has carried, and holds the first one back until it is let go: so the others gather. */
function open() {
  const memory = openMemory({ clock: createClock(), queues: [], streams: [] });
  const commits: (readonly RawWrite[])[] = [];
  let letGo = (): void => {};
  const gate = new Promise<void>((resolve) => (letGo = resolve));
  const driver: StoreDriver = {
    ...memory.store,
    async commit(partition, writes) {
      if (commits.push(writes) === 1) await gate;
      return memory.store.commit(partition, writes);
    },
  };
  return { store: openStore(driver), other: openStore(memory.store), commits, letGo };
}

const add = (store: Store, rowKey: string, n = 1) =>
  inTurn(store, place, {
    keys: [rowKey],
    async run(reader: Reader): Promise<Change<number>> {
      const row = await reader.get<Count>(place, rowKey);
      const count = (row?.body.count ?? 0) + n;
      return { result: count, writes: [row ? replace(row, { count }) : create(rowKey, { count })] };
    },
  });

const failing = (store: Store) =>
  inTurn(store, place, {
    keys: [],
    run: async () => {
      throw new Error('mine alone');
    },
  });

const countOf = async (store: Store, rowKey: string): Promise<number | undefined> => (await store.get<Count>(place, rowKey))?.body.count;

describe('Turns', () => {
  it('let works that wait for one partition share a commit, and give what they would have given one after the other', async () => {
    const { store, other, commits, letGo } = open();
    const all = Array.from({ length: 50 }, () => add(store, 'hot'));
    letGo();
    expect((await Promise.all(all)).map(({ result }) => result)).to.deep.equal(Array.from({ length: 50 }, (_, n) => n + 1));
    expect(await countOf(other, 'hot')).to.equal(50);
    expect(commits.length).to.equal(2);
  });

  it('show each work what its elder neighbours are about to write, in reads and in queries', async () => {
    const { store, letGo } = open();
    const first = add(store, 'x');
    const second = inTurn(store, place, { keys: [], run: async () => ({ result: null, writes: [create('q|2', {}), create('q|1', {})] }) });
    const third = inTurn(store, place, { keys: [], run: async (reader) => ({ result: (await reader.query(place, { prefix: 'q|' })).rows.map((row) => row.key) }) });
    letGo();
    await Promise.all([first, second]);
    expect((await third).result).to.deep.equal(['q|1', 'q|2']);
  });

  it('let a work that throws take nothing of its neighbours with it', async () => {
    const { store, other, letGo } = open();
    const works = [add(store, 'a'), add(store, 'b'), failing(store).catch((error: Error) => error.message), add(store, 'b')];
    letGo();
    expect(await Promise.all(works)).to.include('mine alone');
    expect([await countOf(other, 'a'), await countOf(other, 'b')]).to.deep.equal([1, 2]);
  });

  it('do each work again alone when a commit meets a conflict from outside, so that only the one to blame fails', async () => {
    const { store, other, letGo } = open();
    await other.commit(place, { writes: [create('stale', { count: 1 })] });
    const stale = (await other.get<Count>(place, 'stale')) as Row<Count>;
    await other.commit(place, { writes: [replace(stale, { count: 2 })] });
    const blamed = () => inTurn(store, place, { keys: [], run: async () => ({ result: null, writes: [replace(stale, { count: 9 })] }) });
    const works = [add(store, 'first'), add(store, 'good'), blamed().catch((error: unknown) => error), add(store, 'good')];
    letGo();
    const [, , conflict] = await Promise.all(works);
    expect(isPortError(conflict, 'conflict')).to.equal(true);
    expect([await countOf(other, 'good'), await countOf(other, 'stale')]).to.deep.equal([2, 2]);
  });

  it('never put more rows into a commit than a commit can have', async () => {
    const { store, other, commits, letGo } = open();
    const works = Array.from({ length: 9 }, (_, n) =>
      inTurn(store, place, { keys: [], run: async () => ({ result: null, writes: Array.from({ length: 30 }, (__, i) => create(`row|${n}|${i}`, {})) }) }),
    );
    letGo();
    await Promise.all(works);
    expect(Math.max(...commits.map((writes) => writes.length))).to.be.at.most(limits.rowsPerCommitMax);
    expect((await other.query(place, { prefix: 'row|', limit: 1_000 })).rows).to.have.length(270);
  });

  it('fail all works of a commit whose outcome is unknown, and go on', async () => {
    const memory = openMemory({ clock: createClock(), queues: [], streams: [] });
    let commits = 0;
    const store = openStore({
      ...memory.store,
      async commit(partition, writes) {
        const versions = await memory.store.commit(partition, writes);
        if (++commits === 2) throw new PortError('unavailable', 'the answer was lost');
        return versions;
      },
    });
    const works = [add(store, 'a'), add(store, 'b'), add(store, 'b')].map((work) => work.then(() => 'done', (error: unknown) => (isPortError(error, 'unavailable') ? 'unknown' : 'failed')));
    expect(await Promise.all(works)).to.deep.equal(['done', 'unknown', 'unknown']);
    expect((await add(store, 'b')).result).to.equal(3);
  });

  it('come to the same as one after the other, whatever the works', () =>
    fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.integer({ min: 1, max: 9 }), fc.boolean()), { maxLength: 60 }), async (works) => {
        const { store, other, letGo } = open();
        letGo();
        await Promise.all(works.map(([rowKey, n, fails]) => (fails ? failing(store).catch(() => {}) : add(store, rowKey, n))));
        for (const rowKey of ['a', 'b', 'c']) {
          const wanted = works.filter(([each, , fails]) => each === rowKey && !fails).reduce((sum, [, n]) => sum + n, 0);
          expect((await countOf(other, rowKey)) ?? 0).to.equal(wanted);
        }
      }),
      { numRuns: 50 },
    ));
});
