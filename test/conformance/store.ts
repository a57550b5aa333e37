import { expect } from 'chai';
import { Defect, create, isPortError, key, limits, outboxKey, remove, replace, seenKey, type OutboxBody, type Seen, type Write } from '../../ports/index.ts';
import { allRows, bodyOfBytes, casesOf, keysOf, refusal, said, saidOfBytes, settingOf, type Family } from './family.ts';

const place = 'order~00';
const roads = [{ kind: 'queue', channel: 'work' }, { kind: 'stream', channel: 'facts' }] as const;
const seen: Seen = { consumer: 'inventory', aggregate: '7', source: '/order', id: 'm1', time: '2026-11-20T09:00:00.000Z', outcome: { ok: true } };

export function storeSuite(family: Family): void {
  describe(`store · ${family.name}`, () => {
    const at = settingOf(family);
    const promises = casesOf(family);
    const commit = async (...writes: Write[]): Promise<readonly string[]> => (await at.store.commit(place, { writes })).versions;
    const read = async (rowKey: string) => {
      const row = await at.store.get(place, rowKey);
      if (!row) throw new Error(`${rowKey} is not there`);
      return row;
    };

    describe('rows', () => {
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
    });

    describe('conditions', () => {
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
    });

    describe('versions', () => {
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

    describe('all or nothing', () => {
      promises('writes nothing when the last condition of a commit fails', async () => {
        await commit(create('old', 1), create('gone', 1));
        const [old, gone] = [await read('old'), await read('gone')];
        const failed = await refusal('conflict', commit(create('new', 1), replace(old, 2), remove(gone), create('old|taken', 1), { op: 'replace', key: 'last', version: '1', body: 1 }));
        expect(failed.key).to.equal('last');
        expect(await read('old')).to.deep.equal(old);
        expect(await read('gone')).to.deep.equal(gone);
        expect(keysOf(await allRows(at.store, place, ''))).to.deep.equal(['gone', 'old']);
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
    });

    describe('outbox and inbox', () => {
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
    });

    describe('limits', () => {
      promises('takes a commit of as many rows as are allowed', async () => {
        await commit(...Array.from({ length: limits.rowsPerCommitMax }, (_, n) => create(key('row', n), n)));
        expect(await allRows(at.store, place, 'row|')).to.have.length(limits.rowsPerCommitMax);
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

    describe('queries', () => {
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
  });
}
