import { expect } from 'chai';
import { Defect, create, isPortError, key, limits, outboxKey, remove, replace, seenKey, type OutboxBody, type Seen, type Write } from '../../ports/index.ts';
import { casesOf, type Case } from './case.ts';
import { allRows, bodyOfBytes, failure, keysOf, looksMax, refusal, said, saidOfBytes, settingOf, type Family } from './family.ts';

const place = 'order~00';
const roads = [{ kind: 'queue', channel: 'work' }, { kind: 'stream', channel: 'facts' }] as const;
const seen: Seen = { consumer: 'inventory', aggregate: '7', source: '/order', id: 'm1', time: '2026-11-20T09:00:00.000Z', outcome: { ok: true } };

export function storeCases(family: Family): Case[] {
  const at = settingOf(family);
  return casesOf(`store · ${family.name}`, family, at, ({ group, promises }) => {
    const commit = async (...writes: Write[]): Promise<readonly string[]> => (await at.store.commit(place, { writes })).versions;
    const read = async (rowKey: string) => {
      const row = await at.store.get(place, rowKey);
      if (!row) throw new Error(`${rowKey} is not there`);
      return row;
    };

    group('rows', () => {
      promises('gives back a body as it was committed, whatever JSON it is', async () => {
        const bodies = [null, true, 0, -1.5, '', 'ü 漢 😀 \u0000 \u2028 "', [], [1, [2]], { a: { b: null } }];
        await commit(...bodies.map((body, n) => create(key('row', n), body)));
        for (const [n, body] of bodies.entries()) expect((await read(key('row', n))).body).to.deep.equal(body);
      });

      promises('answers undefined for a row that is not there, and for a partition that was never written to', async () => {
        await commit(create('row', 1));
        expect(await at.store.get(place, 'other')).to.equal(undefined);
        expect(await at.store.get('order~01', 'row')).to.equal(undefined);
        expect(await allRows(at.store, 'order~01', '')).to.deep.equal([]);
      });

      promises('reads every commit that was acknowledged before', async () => {
        for (let n = 0; n < 20; n++) {
          const row = await at.store.get<number>(place, 'count');
          await commit(row ? replace(row, row.body + 1) : create('count', 1));
          expect((await read('count')).body).to.equal(n + 1);
        }
      });

      promises('keeps partitions apart', async () => {
        await at.store.commit('order~00', { writes: [create('row', 'here')] });
        await at.store.commit('order~01', { writes: [create('row', 'there')] });
        expect((await at.store.get('order~00', 'row'))?.body).to.equal('here');
        expect((await at.store.get('order~01', 'row'))?.body).to.equal('there');
        expect(keysOf(await allRows(at.store, 'order~00', ''))).to.deep.equal(['row']);
      });

      promises('tells keys apart that differ in case or in an accent only', async () => {
        await commit(create('row|a', 1), create('row|A', 2), create('row|ä', 3), create('row|a\u0308', 4));
        for (const [rowKey, body] of [['row|a', 1], ['row|A', 2], ['row|ä', 3], ['row|a\u0308', 4]] as const) expect((await read(rowKey)).body).to.equal(body);
      });

      promises('shares nothing with the caller: what he changes later stays his', async () => {
        const body = { lines: [1] };
        await commit(create('row', body));
        body.lines.push(2);
        const row = await read('row');
        expect(row.body).to.deep.equal({ lines: [1] });
        (row.body as typeof body).lines.push(3);
        expect((await read('row')).body).to.deep.equal({ lines: [1] });
      });

      promises('keeps rows over a restart', async () => {
        const [version] = await commit(create('row', { n: 1 }));
        await at.restart();
        expect(await read('row')).to.deep.equal({ key: 'row', version, body: { n: 1 } });
      });

      promises('does not bring back over a restart what was deleted or replaced', async () => {
        await commit(create('gone', 1), create('old', 1));
        const old = await read('old');
        await commit(remove(await read('gone')), replace(old, 2));
        await at.restart();
        expect((await allRows(at.store, place, '')).map(({ key: rowKey, body }) => [rowKey, body])).to.deep.equal([['old', 2]]);
        expect(await at.store.get(place, 'gone')).to.equal(undefined);
        await refusal('conflict', commit(replace(old, 3)));
      });

      promises('keeps partitions apart whose names differ in case, or of which one begins like the other', async () => {
        const partitions = ['order~0', 'order~00', 'Order~00', 'order~000'];
        for (const partition of partitions) await at.store.commit(partition, { writes: [create('row', partition)] });
        for (const partition of partitions) {
          expect((await at.store.get(partition, 'row'))?.body).to.equal(partition);
          expect((await allRows(at.store, partition, '')).map(({ body }) => body)).to.deep.equal([partition]);
        }
      });

      promises('deletes and replaces in one partition, and leaves the same key of another alone', async () => {
        for (const partition of [place, 'order~01']) await at.store.commit(partition, { writes: [create('gone', 1), create('row', 1)] });
        await commit(remove(await read('gone')), replace(await read('row'), 2));
        expect((await allRows(at.store, 'order~01', '')).map(({ key: rowKey, body }) => [rowKey, body])).to.deep.equal([['gone', 1], ['row', 1]]);
      });

      promises('finds rows by the names of what every object has', async () => {
        for (const name of ['__proto__', 'constructor', 'toString']) expect(await at.store.get(place, name)).to.equal(undefined);
        await commit(create('__proto__', 1), create('constructor', 2));
        expect((await allRows(at.store, place, '')).map(({ key: rowKey, body }) => [rowKey, body])).to.deep.equal([['__proto__', 1], ['constructor', 2]]);
        await at.store.commit('__proto__', { writes: [create('row', 3)] });
        expect(keysOf(await allRows(at.store, '__proto__', ''))).to.deep.equal(['row']);
      });

      promises('gives back bodies with names and numbers that are easily lost', async () => {
        const body = JSON.parse('{"__proto__":{"a":1},"":"","9007199254740993":1e21,"x":5e-324,"lone":"\\ud800"}') as unknown;
        await commit(create('row', body));
        expect(JSON.stringify((await read('row')).body)).to.equal(JSON.stringify(body));
      });
    });

    group('conditions', () => {
      promises('refuses to create what is there, and names the key', async () => {
        await commit(create('row', 1));
        expect((await refusal('conflict', commit(create('row', 2)))).key).to.equal('row');
        expect((await read('row')).body).to.equal(1);
      });

      promises('refuses to replace what is not there', async () => {
        expect((await refusal('conflict', commit({ op: 'replace', key: 'row', version: '1', body: 2 }))).key).to.equal('row');
        expect(await at.store.get(place, 'row')).to.equal(undefined);
      });

      promises('refuses to delete what is not there', async () => {
        expect((await refusal('conflict', commit({ op: 'delete', key: 'row', version: '1' }))).key).to.equal('row');
      });

      promises('refuses to replace another version than the one that was read', async () => {
        await commit(create('row', 1));
        const stale = await read('row');
        await commit(replace(stale, 2));
        expect((await refusal('conflict', commit(replace(stale, 3)))).key).to.equal('row');
        expect((await read('row')).body).to.equal(2);
      });

      promises('refuses to delete another version than the one that was read', async () => {
        await commit(create('row', 1));
        const stale = await read('row');
        await commit(replace(stale, 2));
        expect((await refusal('conflict', commit(remove(stale)))).key).to.equal('row');
        expect((await read('row')).body).to.equal(2);
      });

      promises('refuses the version of another row', async () => {
        await commit(create('row|a', 1));
        await commit(create('row|b', 1));
        await commit(replace(await read('row|b'), 2));
        const { version } = await read('row|b');
        expect((await refusal('conflict', commit({ op: 'replace', key: 'row|a', version, body: 9 }))).key).to.equal('row|a');
      });

      promises('deletes what was read, and then it is gone', async () => {
        await commit(create('row', 1));
        expect(await commit(remove(await read('row')))).to.deep.equal(['']);
        expect(await at.store.get(place, 'row')).to.equal(undefined);
        expect(await allRows(at.store, place, '')).to.deep.equal([]);
      });

      promises('lets exactly one of many racing replaces win', async () => {
        await commit(create('row', 0));
        const row = await read('row');
        const results = await Promise.allSettled([1, 2, 3, 4, 5].map((n) => commit(replace(row, n))));
        const won = results.flatMap((result, n) => (result.status === 'fulfilled' ? [n + 1] : []));
        expect(won).to.have.length(1);
        for (const result of results) if (result.status === 'rejected') expect(isPortError(result.reason, 'conflict')).to.equal(true);
        expect((await read('row')).body).to.equal(won[0]);
      });

      promises('lets exactly one of many racing creates win', async () => {
        const results = await Promise.allSettled([1, 2, 3, 4, 5].map((n) => commit(create('row', n), create(`mine|${n}`, n))));
        expect(results.filter(({ status }) => status === 'fulfilled')).to.have.length(1);
        expect(await allRows(at.store, place, 'mine|')).to.have.length(1);
      });

      promises('lets exactly one of a racing replace and a racing delete win', async () => {
        for (let n = 0; n < 5; n++) {
          await commit(create(`row|${n}`, 0));
          const row = await read(`row|${n}`);
          const [replaced, removed] = await Promise.allSettled([commit(replace(row, 1)), commit(remove(row))]);
          expect([replaced.status, removed.status].sort()).to.deep.equal(['fulfilled', 'rejected']);
          expect((await at.store.get(place, `row|${n}`))?.body).to.equal(replaced.status === 'fulfilled' ? 1 : undefined);
        }
      });

      promises('mixes no two racing commits that have a row in common', async () => {
        await commit(create('a', 0), create('b', 0), create('c', 0));
        const [a, b, c] = [await read('a'), await read('b'), await read('c')];
        const results = await Promise.allSettled([commit(replace(a, 1), replace(b, 1)), commit(replace(c, 2), replace(b, 2)), commit(replace(a, 3), replace(c, 3))]);
        const won = results.flatMap((result, n) => (result.status === 'fulfilled' ? [n + 1] : []));
        expect(won).to.have.length(1);
        const bodies = (await allRows(at.store, place, '')).map(({ body }) => body);
        expect(bodies).to.deep.equal([[1, 1, 0], [0, 2, 2], [3, 0, 3]][won[0]! - 1]);
      });

      promises('refuses what is no version of anybody, and writes nothing', async () => {
        await commit(create('row', 1));
        for (const version of ['', '*', 'x'.repeat(300), '"', '\u0000']) {
          await refusal('conflict', commit({ op: 'replace', key: 'row', version, body: 2 }));
          await refusal('conflict', commit({ op: 'delete', key: 'row', version }));
        }
        expect((await read('row')).body).to.equal(1);
      });

      promises('refuses the version that the same key has in another partition', async () => {
        await commit(create('row', 1));
        await at.store.commit('order~01', { writes: [create('row', 1)] });
        for (const body of [2, 3]) await at.store.commit('order~01', { writes: [replace((await at.store.get('order~01', 'row'))!, body)] });
        const there = (await at.store.get('order~01', 'row'))!;
        await refusal('conflict', commit(replace(there, 2)));
        await refusal('conflict', commit(remove(there)));
        expect((await read('row')).body).to.equal(1);
      });
    });

    group('versions', () => {
      promises('changes the version with every replace, even by the same body', async () => {
        await commit(create('row', 1));
        const versions = new Set<string>();
        for (let n = 0; n < 10; n++) {
          const row = await read('row');
          versions.add(row.version);
          await commit(replace(row, 1));
        }
        expect(versions.size).to.equal(10);
      });

      promises('answers the versions that a read will find, in the order of the writes', async () => {
        await commit(create('row|a', 1), create('row|b', 1));
        const [a, b] = [await read('row|a'), await read('row|b')];
        const versions = await commit(remove(b), create('row|c', 1), replace(a, 2));
        expect(versions).to.deep.equal(['', (await read('row|c')).version, (await read('row|a')).version]);
      });

      promises('never gives a version again after delete and create', async () => {
        const versions = new Set<string>();
        for (let n = 0; n < 5; n++) {
          await commit(create('row', 1));
          const row = await read('row');
          versions.add(row.version);
          await commit(remove(row));
        }
        expect(versions.size).to.equal(5);
        const [version] = [...versions];
        await commit(create('row', 1));
        await refusal('conflict', commit({ op: 'replace', key: 'row', version: version!, body: 'from the dead' }));
      });

      promises('never gives a version again after a restart', async () => {
        await commit(create('row', 1));
        const before = await read('row');
        await commit(remove(before));
        await at.restart();
        await commit(create('row', 1));
        expect((await read('row')).version).not.to.equal(before.version);
        await refusal('conflict', commit(remove(before)));
      });
    });

    group('all or nothing', () => {
      promises('writes nothing when the last condition of a commit fails', async () => {
        await commit(create('old', 1), create('gone', 1));
        const [old, gone] = [await read('old'), await read('gone')];
        const failed = await refusal('conflict', commit(create('new', 1), replace(old, 2), remove(gone), create('old|taken', 1), { op: 'replace', key: 'last', version: '1', body: 1 }));
        expect(failed.key).to.equal('last');
        expect(await read('old')).to.deep.equal(old);
        expect(await read('gone')).to.deep.equal(gone);
        expect(keysOf(await allRows(at.store, place, ''))).to.deep.equal(['gone', 'old']);
      });

      promises('writes nothing of the largest commit when its last condition fails, or one in the middle', async () => {
        for (const failing of [limits.rowsPerCommitMax - 1, limits.rowsPerCommitMax / 2, 1]) {
          const writes = Array.from({ length: limits.rowsPerCommitMax }, (_, n): Write => (n === failing ? { op: 'replace', key: 'gone', version: '1', body: 1 } : create(key('row', n), n)));
          expect((await refusal('conflict', commit(...writes))).key).to.equal('gone');
          expect(await allRows(at.store, place, '')).to.deep.equal([]);
        }
      });

      promises('writes nothing when the first condition of a commit fails', async () => {
        await commit(create('old', 1));
        await refusal('conflict', commit(create('old', 2), create('new', 1)));
        expect(await at.store.get(place, 'new')).to.equal(undefined);
      });

      promises('commits creates, replaces and deletes together', async () => {
        await commit(create('a', 1), create('b', 1));
        await commit(replace(await read('a'), 2), remove(await read('b')), create('c', 3));
        expect((await allRows(at.store, place, '')).map((row) => [row.key, row.body])).to.deep.equal([['a', 2], ['c', 3]]);
      });

      promises('takes an empty commit as nothing', async () => {
        expect(await at.store.commit(place, {})).to.deep.equal({ versions: [], outbox: [] });
      });

      promises('keeps all of a commit over a restart, or nothing of one that failed', async () => {
        await at.store.commit(place, { writes: [create('a', 1), create('b', 1)], seen, outgoing: [{ message: said('m1'), roads }] });
        await refusal('conflict', commit(create('c', 1), create('a', 2)));
        await at.restart();
        expect(keysOf(await allRows(at.store, place, ''))).to.deep.equal(['a', 'b', outboxKey(said('m1'), 0), seenKey(seen)].sort());
        await refusal('conflict', at.store.commit(place, { seen }));
      });
    });

    group('outbox and inbox', () => {
      promises('puts what is said into the same commit as rows that the relay finds', async () => {
        const { versions, outbox } = await at.store.commit(place, { writes: [create('row', 1)], outgoing: [{ message: said('m1'), roads }, { message: said('m2'), roads }] });
        expect(versions).to.deep.equal([(await read('row')).version]);
        const rows = await allRows(at.store, place, 'outbox|');
        expect(keysOf(rows)).to.deep.equal([outboxKey(said('m1'), 0), outboxKey(said('m2'), 1)]);
        expect(outbox).to.deep.equal(rows.map((row) => ({ ...row, partition: place })));
        expect((rows[0]!.body as OutboxBody).message).to.deep.equal(said('m1'));
        expect((rows[0]!.body as OutboxBody).roads).to.deep.equal(roads);
      });

      promises('says nothing when the commit fails', async () => {
        await commit(create('row', 1));
        await refusal('conflict', at.store.commit(place, { writes: [create('row', 2)], seen, outgoing: [{ message: said('m1'), roads }] }));
        expect(await allRows(at.store, place, 'outbox|')).to.deep.equal([]);
        expect(await at.store.get(place, seenKey(seen))).to.equal(undefined);
      });

      promises('makes the second handling of a message a conflict with the seen row, and keeps the outcome of the first', async () => {
        await at.store.commit(place, { writes: [create('row|1', 1)], seen });
        const again = at.store.commit(place, { writes: [create('row|2', 1)], seen: { ...seen, outcome: 'another' }, outgoing: [{ message: said('m1'), roads }] });
        expect((await refusal('conflict', again)).key).to.equal(seenKey(seen));
        expect((await read(seenKey(seen))).body).to.deep.equal({ outcome: { ok: true } });
        expect(keysOf(await allRows(at.store, place, 'row|'))).to.deep.equal(['row|1']);
        expect(await allRows(at.store, place, 'outbox|')).to.deep.equal([]);
      });

      promises('lets the same message be handled once by each consumer and each aggregate', async () => {
        await at.store.commit(place, { seen });
        await at.store.commit(place, { seen: { ...seen, consumer: 'notification' } });
        await at.store.commit(place, { seen: { ...seen, aggregate: '8' } });
        await at.store.commit(place, { seen: { ...seen, source: '/shipping' } });
        await refusal('conflict', at.store.commit(place, { seen }));
      });

      promises('lets exactly one of two racing handlings of a message win', async () => {
        const results = await Promise.allSettled([1, 2].map((n) => at.store.commit(place, { seen, writes: [create(`row|${n}`, n)] })));
        expect(results.filter(({ status }) => status === 'fulfilled')).to.have.length(1);
        expect(await allRows(at.store, place, 'row|')).to.have.length(1);
      });

      promises('keeps outbox rows in the order in which a subject has said them, ten of one commit too', async () => {
        const messages = Array.from({ length: 12 }, (_, n) => said(`m${n}`, { sequence: String(n).padStart(10, '0') }));
        await at.store.commit(place, { outgoing: messages.slice(10).map((message) => ({ message, roads })) });
        await at.store.commit(place, { outgoing: messages.slice(0, 10).map((message) => ({ message, roads })) });
        const rows = await allRows(at.store, place, key('outbox', 'a', ''), { limit: 3 });
        expect(rows.map(({ body }) => (body as OutboxBody).message.id)).to.deep.equal(messages.map(({ id }) => id));
      });
    });

    group('limits', () => {
      promises('takes a commit of as many rows as are allowed', async () => {
        await commit(...Array.from({ length: limits.rowsPerCommitMax }, (_, n) => create(key('row', n), n)));
        expect(await allRows(at.store, place, 'row|')).to.have.length(limits.rowsPerCommitMax);
      });

      promises('takes a commit of one row less than are allowed, and one at the limit with outbox and inbox in it', async () => {
        const rows = (from: number, count: number): Write[] => Array.from({ length: count }, (_, n) => create(key('row', from + n), n));
        await commit(...rows(0, limits.rowsPerCommitMax - 1));
        await at.store.commit(place, { writes: rows(1_000, limits.rowsPerCommitMax - 2), seen, outgoing: [{ message: said('m1'), roads }] });
        expect(await allRows(at.store, place, '')).to.have.length(2 * limits.rowsPerCommitMax - 1);
      });

      promises('counts replaces and deletes like creates, and changes nothing with one too many', async () => {
        await commit(...Array.from({ length: limits.rowsPerCommitMax }, (_, n) => create(key('row', n), n)));
        const rows = await allRows(at.store, place, 'row|');
        const change = (row: (typeof rows)[number], n: number): Write => (n % 2 ? remove(row) : replace(row, 'new'));
        await refusal('tooLarge', commit(...rows.map(change), create('more', 1)));
        expect(await allRows(at.store, place, '')).to.deep.equal(rows);
        await commit(...rows.map(change));
        expect(await allRows(at.store, place, '')).to.have.length(limits.rowsPerCommitMax / 2);
      });

      promises('refuses to replace by a body one byte over the limit, and the row stays as it was', async () => {
        await commit(create('row', 1));
        const row = await read('row');
        await refusal('tooLarge', commit(replace(row, bodyOfBytes(limits.rowBytesMax + 1))));
        expect(await read('row')).to.deep.equal(row);
        await commit(replace(row, bodyOfBytes(limits.rowBytesMax)));
      });

      promises('refuses a commit of one row more, and writes none of them', async () => {
        await refusal('tooLarge', commit(...Array.from({ length: limits.rowsPerCommitMax + 1 }, (_, n) => create(key('row', n), n))));
        expect(await allRows(at.store, place, 'row|')).to.deep.equal([]);
      });

      promises('counts the rows of outbox and inbox, too', async () => {
        const writes = Array.from({ length: limits.rowsPerCommitMax - 1 }, (_, n) => create(key('row', n), n));
        await refusal('tooLarge', at.store.commit(place, { writes, seen, outgoing: [{ message: said('m1'), roads }] }));
        expect(await allRows(at.store, place, '')).to.deep.equal([]);
      });

      promises('takes a row one byte below and at the limit, and refuses one byte over it', async () => {
        await commit(create('below', bodyOfBytes(limits.rowBytesMax - 1)));
        await commit(create('at', bodyOfBytes(limits.rowBytesMax)));
        expect((await refusal('tooLarge', commit(create('small', 1), create('over', bodyOfBytes(limits.rowBytesMax + 1))))).key).to.equal('over');
        expect((await read('at')).body).to.have.length(limits.rowBytesMax - 2);
        expect(keysOf(await allRows(at.store, place, ''))).to.deep.equal(['at', 'below']);
      });

      promises('counts bytes of UTF-8 and not characters', async () => {
        const fits = '漢'.repeat(Math.floor((limits.rowBytesMax - 2) / 3));
        await commit(create('row', fits));
        expect((await read('row')).body).to.equal(fits);
        await refusal('tooLarge', commit(create('over', `${fits}漢`)));
      });

      promises('takes a commit at the limit of bytes, and refuses one byte over it', async () => {
        const full = Math.floor(limits.commitBytesMax / limits.rowBytesMax);
        const rest = limits.commitBytesMax - full * (limits.rowBytesMax + 2) - 2;
        const writes = (last: number): Write[] => [
          ...Array.from({ length: full }, (_, n) => create(`${n}`.padStart(2, '0'), bodyOfBytes(limits.rowBytesMax))),
          create('zz', bodyOfBytes(last)),
        ];
        await refusal('tooLarge', commit(...writes(rest + 1)));
        expect(await allRows(at.store, place, '')).to.deep.equal([]);
        await commit(...writes(rest));
        expect(await allRows(at.store, place, '', { limit: 3 })).to.have.length(full + 1);
      });

      promises('takes a key at the limit of bytes, and refuses one byte over it', async () => {
        const longest = 'k'.repeat(limits.keyBytesMax);
        await commit(create(longest, 1));
        expect((await read(longest)).body).to.equal(1);
        await refusal('tooLarge', commit(create(`${longest}k`, 1)));
        await refusal('tooLarge', commit(create(`${longest.slice(1)}é`, 1)));
        const [below, accents] = ['k'.repeat(limits.keyBytesMax - 1), 'é'.repeat(limits.keyBytesMax / 2)];
        await commit(create(below, 2), create(accents, 3));
        expect(keysOf(await allRows(at.store, place, ''))).to.deep.equal([below, longest, accents]);
      });

      for (const [name, character] of [['slash', '/'], ['backslash', '\\'], ['number sign', '#'], ['question mark', '?'], ['control character', '\u0001'], ['second control set', '\u0085']] as const) {
        promises(`refuses a key with a ${name}, and takes it when key() has written it`, async () => {
          const error: unknown = await commit(create(`a${character}b`, 1)).catch((thrown: unknown) => thrown);
          expect(error).to.be.instanceOf(Defect);
          await commit(create(key('row', `a${character}b`), 2));
          expect((await read(key('row', `a${character}b`))).body).to.equal(2);
        });
      }

      promises('refuses an empty key and the same key twice, and writes nothing', async () => {
        expect(await commit(create('', 1)).catch((thrown: unknown) => thrown)).to.be.instanceOf(Defect);
        expect(await commit(create('row', 1), create('row', 2)).catch((thrown: unknown) => thrown)).to.be.instanceOf(Defect);
        expect(await allRows(at.store, place, '')).to.deep.equal([]);
      });

      promises('refuses to commit a message that is too large to be sent', async () => {
        await refusal('tooLarge', at.store.commit(place, { writes: [create('row', 1)], outgoing: [{ message: saidOfBytes('m1', limits.eventBytesMax + 1), roads }] }));
        expect(await allRows(at.store, place, '')).to.deep.equal([]);
      });
    });

    group('queries', () => {
      promises('finds the rows of a prefix, in the order of their code units', async () => {
        const keys = ['b', 'a|', 'a|B', 'a|a', 'a|10', 'a|2', 'a|é', 'a|漢', 'a~', 'A|x', 'a'];
        await commit(...keys.map((rowKey) => create(rowKey, 1)));
        const expected = keys.filter((rowKey) => rowKey.startsWith('a|')).sort((x, y) => (x < y ? -1 : 1));
        expect(keysOf(await allRows(at.store, place, 'a|'))).to.deep.equal(expected);
        expect(keysOf(await allRows(at.store, place, ''))).to.deep.equal([...keys].sort((x, y) => (x < y ? -1 : 1)));
      });

      promises('does not take A|B for a part of A', async () => {
        await commit(create(key('wait', 'A', 1), 'of A'), create(key('wait', 'A|B', 1), 'of A|B'), create(key('wait', 'AB', 1), 'of AB'));
        expect((await allRows(at.store, place, key('wait', 'A', ''))).map(({ body }) => body)).to.deep.equal(['of A']);
        expect((await allRows(at.store, place, key('wait', 'A|B', ''))).map(({ body }) => body)).to.deep.equal(['of A|B']);
      });

      promises('takes wildcards in a prefix for themselves', async () => {
        await commit(create('a%b', 1), create('a_b', 2), create('a*b', 3), create('axb', 4), create("a'b", 5));
        for (const [prefix, body] of [['a%', 1], ['a_', 2], ['a*', 3], ["a'", 5]] as const) {
          expect((await allRows(at.store, place, prefix)).map((row) => row.body)).to.deep.equal([body]);
        }
      });

      promises('answers an empty list, without next, for a prefix that nothing has', async () => {
        await commit(create('a|1', 1), create('c|1', 1));
        expect(await allRows(at.store, place, 'b|')).to.deep.equal([]);
      });

      promises('begins strictly behind a key, whether it is there or not', async () => {
        await commit(...['1', '2', '3', '4'].map((n) => create(`a|${n}`, n)));
        expect(keysOf(await allRows(at.store, place, 'a|', { after: 'a|2' }))).to.deep.equal(['a|3', 'a|4']);
        expect(keysOf(await allRows(at.store, place, 'a|', { after: 'a|25' }))).to.deep.equal(['a|3', 'a|4']);
        expect(keysOf(await allRows(at.store, place, 'a|', { after: 'a|4' }))).to.deep.equal([]);
        expect(keysOf(await allRows(at.store, place, 'a|', { after: '0' }))).to.deep.equal(['a|1', 'a|2', 'a|3', 'a|4']);
        expect(keysOf(await allRows(at.store, place, 'a|', { after: 'b' }))).to.deep.equal([]);
      });

      promises('finds the last key that a prefix can have, and none behind it', async () => {
        await commit(create('a|', 1), create('a|\uffff', 2), create('a|\uffff\uffff', 3), create('a}', 4), create('b', 5));
        expect((await allRows(at.store, place, 'a|')).map(({ body }) => body)).to.deep.equal([1, 2, 3]);
        expect((await allRows(at.store, place, 'a|\uffff')).map(({ body }) => body)).to.deep.equal([2, 3]);
      });

      promises('keeps what key() has written of any text apart and in order', async () => {
        const texts = ['\u{1f600}', '\uff5e', '\ud83d', '\ude00', 'z', '~', '%d83d', ''];
        await commit(...texts.map((text, n) => create(key('row', text), n)));
        const keys = texts.map((text) => key('row', text)).sort((x, y) => (x < y ? -1 : 1));
        expect(keysOf(await allRows(at.store, place, key('row', ''), { limit: 2 }))).to.deep.equal(keys);
        for (const [n, text] of texts.entries()) expect((await read(key('row', text))).body).to.equal(n);
      });

      promises('hands out every row once over many pages, and never more than were asked for', async () => {
        const keys = Array.from({ length: 95 }, (_, n) => key('row', String(n).padStart(3, '0')));
        await commit(...keys.map((rowKey) => create(rowKey, 1)));
        for (const limit of [1, 7, 95, 96]) {
          expect(keysOf(await allRows(at.store, place, 'row|', { limit })), `pages of ${limit}`).to.deep.equal(keys);
          const page = await at.store.query(place, { prefix: 'row|', limit });
          expect(page.rows.length).to.be.at.most(limit);
        }
      });

      promises('pages on behind a key with after and cursor together', async () => {
        const keys = Array.from({ length: 30 }, (_, n) => key('row', String(n).padStart(3, '0')));
        await commit(...keys.map((rowKey) => create(rowKey, 1)));
        expect(keysOf(await allRows(at.store, place, 'row|', { after: keys[9]!, limit: 4 }))).to.deep.equal(keys.slice(10));
      });

      promises('gives each remaining row once when rows come and go between the pages', async () => {
        const keys = Array.from({ length: 40 }, (_, n) => key('row', String(n * 2).padStart(3, '0')));
        await commit(...keys.map((rowKey) => create(rowKey, 1)));
        const found: string[] = [];
        let cursor: string | undefined;
        for (let pages = 0; pages === 0 || cursor !== undefined; pages++) {
          expect(pages, 'pages').to.be.below(400);
          const page = await at.store.query(place, { prefix: 'row|', limit: 8, ...(cursor === undefined ? {} : { cursor }) });
          found.push(...keysOf([...page.rows]));
          cursor = page.next;
          const last = found.at(-1);
          if (last === undefined) continue;
          // The last row that was handed out goes, one before it comes, and one far behind.
          const row = await at.store.get(place, last);
          await commit(...(row ? [remove(row)] : []), create(key('row', `000-${pages}`), 1), ...(pages < 20 ? [create(key('row', `900-${pages}`), 1)] : []));
        }
        expect(found.filter((rowKey) => keys.includes(rowKey))).to.deep.equal(keys);
        expect(new Set(found).size).to.equal(found.length);
        expect(found).to.deep.equal([...found].sort((x, y) => (x < y ? -1 : 1)));
      });

      promises('goes on behind a cursor after a restart', async () => {
        const keys = Array.from({ length: 10 }, (_, n) => key('row', n));
        await commit(...keys.map((rowKey) => create(rowKey, 1)));
        const found: string[] = [];
        let cursor: string | undefined;
        let pages = 0;
        do {
          expect(++pages, 'pages').to.be.below(400);
          const page = await at.store.query(place, { prefix: 'row|', limit: 4, ...(cursor === undefined ? {} : { cursor }) });
          found.push(...keysOf([...page.rows]));
          cursor = page.next;
          await at.restart();
        } while (cursor !== undefined);
        expect(found).to.deep.equal(keys);
      });

      promises('misses no row because earlier ones went between two pages, and repeats none because some came', async () => {
        const keys = Array.from({ length: 30 }, (_, n) => key('row', String(n).padStart(3, '0')));
        for (const change of ['go', 'come'] as const) {
          const rows = await allRows(at.store, place, '');
          if (rows.length > 0) await commit(...rows.map(remove));
          await commit(...keys.map((rowKey) => create(rowKey, 1)));
          const found: string[] = [];
          let cursor: string | undefined;
          for (let pages = 0; pages === 0 || cursor !== undefined; pages++) {
            expect(pages, 'pages').to.be.below(400);
            const page = await at.store.query(place, { prefix: 'row|', limit: 6, ...(cursor === undefined ? {} : { cursor }) });
            found.push(...keysOf(page.rows));
            cursor = page.next;
            if (page.rows.length === 0) continue;
            await commit(...(change === 'go' ? page.rows.slice(0, 3).map(remove) : [create(`${page.rows[0]!.key}-`, 1)]));
          }
          expect(found.filter((rowKey) => keys.includes(rowKey)), change).to.deep.equal(keys);
          expect(new Set(found).size).to.equal(found.length);
        }
      });

      promises('shows on a later page what was committed before it was asked for', async () => {
        const keys = Array.from({ length: 12 }, (_, n) => key('row', String(n * 2).padStart(3, '0')));
        await commit(...keys.map((rowKey) => create(rowKey, 'old')));
        let { rows, next } = await at.store.query<string>(place, { prefix: 'row|', limit: 4 });
        const found = [...rows];
        const changed = found.length; // everything from here on is still to come
        await commit(replace(await read(keys[changed]!), 'new'), remove(await read(keys[changed + 1]!)), create(`${keys[changed]!}a`, 'new'));
        while (next !== undefined) {
          ({ rows, next } = await at.store.query<string>(place, { prefix: 'row|', limit: 4, cursor: next }));
          found.push(...rows);
        }
        const expected = [...keys.slice(0, changed + 1), `${keys[changed]!}a`, ...keys.slice(changed + 2)];
        expect(keysOf(found)).to.deep.equal(expected);
        expect(found.filter(({ body }) => body === 'new').map((row) => row.key)).to.deep.equal([keys[changed], `${keys[changed]!}a`]);
      });

      promises('goes on from one cursor as often as it is given back', async () => {
        const keys = Array.from({ length: 9 }, (_, n) => key('row', n));
        await commit(...keys.map((rowKey) => create(rowKey, 1)));
        let { rows, next } = await at.store.query(place, { prefix: 'row|', limit: 3 });
        for (let looks = 0; rows.length === 0 && looks < looksMax; looks++) ({ rows, next } = await at.store.query(place, { prefix: 'row|', limit: 3, ...(next ? { cursor: next } : {}) }));
        const first = keysOf(rows);
        for (let n = 0; n < 3; n++) {
          const rest: string[] = [];
          for (let cursor = next; cursor !== undefined; ) {
            const page = await at.store.query(place, { prefix: 'row|', limit: 3, cursor });
            rest.push(...keysOf(page.rows));
            cursor = page.next;
          }
          expect([...first, ...rest]).to.deep.equal(keys);
        }
      });

      promises('takes the smallest and the largest page that can be asked for', async () => {
        for (let from = 0; from < 1_000; from += 100) await commit(...Array.from({ length: 100 }, (_, n) => create(key('row', String(from + n).padStart(4, '0')), 1)));
        expect((await at.store.query(place, { prefix: 'row|', limit: 1 })).rows.length).to.be.at.most(1);
        expect(await allRows(at.store, place, 'row|', { limit: 1000 })).to.have.length(1_000);
        expect(await allRows(at.store, place, 'row|', { limit: 999 })).to.have.length(1_000);
      });

      promises('hands out rows of the largest size, page by page', async () => {
        for (let n = 0; n < 12; n++) await commit(create(key('row', String(n).padStart(2, '0')), bodyOfBytes(limits.rowBytesMax)));
        const rows = await allRows(at.store, place, 'row|', { limit: 1000 });
        expect(rows.map(({ body }) => (body as string).length)).to.deep.equal(Array.from({ length: 12 }, () => limits.rowBytesMax - 2));
      });

      promises('refuses to be asked for no row or for more than a thousand', async () => {
        for (const limit of [0, 1001]) expect(await at.store.query(place, { prefix: '', limit }).catch((thrown: unknown) => thrown)).to.be.instanceOf(Defect);
      });

      promises('keeps some thousand rows of a partition in order', async () => {
        const keys = Array.from({ length: 3_000 }, (_, n) => key('row', String((n * 7919) % 3_000).padStart(4, '0')));
        for (let from = 0; from < keys.length; from += 100) await commit(...keys.slice(from, from + 100).map((rowKey) => create(rowKey, 1)));
        for (const row of (await allRows(at.store, place, 'row|', { limit: 1000 })).filter((_, n) => n % 500 === 0)) await commit(remove(row));
        const left = [...keys].sort().filter((_, n) => n % 500 !== 0);
        expect(keysOf(await allRows(at.store, place, 'row|', { limit: 1000 }))).to.deep.equal(left);
      });
    });

    group('failures', () => {
      promises('answers a failure, and never absence, when it cannot look', async () => {
        await commit(create('row', 1));
        await family.sever!();
        await failure(at.store.get(place, 'row'));
        await failure(at.store.get(place, 'nothing'));
        await failure(allRows(at.store, place, ''));
      }, family.sever);

      promises('answers a failure, and no version, when it cannot write', async () => {
        await commit(create('row', 1));
        const row = await read('row');
        await family.sever!();
        await failure(commit(create('new', 1)));
        await failure(commit(replace(row, 2)));
        await at.restart();
        expect(await allRows(at.store, place, '')).to.deep.equal([row]);
      }, family.sever);
    });
  });
}
