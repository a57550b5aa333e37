import { expect } from 'chai';
import { Defect, limits } from '../../ports/index.ts';
import { casesOf, type Case } from './case.ts';
import { answerOf, failure, idsOf, looksMax, nowFrom, partitionWith, readAll, refusal, said, saidOfBytes, settingOf, world, type Family } from './family.ts';

export function streamCases(family: Family): Case[] {
  const at = settingOf(family);
  return casesOf(`stream · ${family.name}`, family, at, ({ group, promises }) => {
    const of = (partitionkey: string, id: string) => said(id, { subject: partitionkey });
    const place = (partitionkey: string): Promise<string> => partitionWith(at.stream, 'facts', partitionkey);
    const keys = Array.from({ length: 24 }, (_, n) => `key ${n}`);

    /** A key on each of the two partitions. */
    async function twoPlaces(): Promise<{ partition: string; key: string }[]> {
      await at.stream.append('facts', keys.map((key) => of(key, `first of ${key}`)));
      const found = new Map<string, string>();
      for (const key of keys) found.set(await place(key), key);
      expect(found.size, 'many keys are spread over all partitions').to.equal(world.partitionsPerStream);
      return [...found].map(([partition, key]) => ({ partition, key }));
    }

    group('appending and reading', () => {
      promises('hands over what was appended, unchanged, with its partition key', async () => {
        const message = said('m1', { subject: 'ü 漢', partitionkey: 'schlüssel|1', correlationid: 'c', causationid: 'd', traceparent: '00-1-2-01', data: { list: [null, '\u2028'] } });
        expect(await at.stream.append('facts', [message])).to.deep.equal([]);
        const [event] = await readAll(at.stream, 'facts', await place('schlüssel|1'));
        expect(event?.message).to.deep.equal(message);
        expect(event?.partitionkey).to.equal('schlüssel|1');
      });

      promises('has as many partitions as were asked for, the same ones after a restart', async () => {
        const partitions = await at.stream.partitions('facts');
        expect(new Set(partitions).size).to.equal(world.partitionsPerStream);
        await at.restart();
        expect(await at.stream.partitions('facts')).to.deep.equal(partitions);
      });

      promises('keeps every event on exactly one partition', async () => {
        const messages = keys.flatMap((key) => [of(key, `${key} 1`), of(key, `${key} 2`)]);
        await at.stream.append('facts', messages);
        const read = await Promise.all((await at.stream.partitions('facts')).map((partition) => readAll(at.stream, 'facts', partition)));
        expect(idsOf(read.flat()).sort()).to.deep.equal(messages.map(({ id }) => id).sort());
      });

      promises('keeps the order of a key within an append', async () => {
        const messages = Array.from({ length: 40 }, (_, n) => of(keys[n % 3]!, String(n)));
        await at.stream.append('facts', messages);
        for (const key of keys.slice(0, 3)) {
          const events = (await readAll(at.stream, 'facts', await place(key))).filter(({ partitionkey }) => partitionkey === key);
          expect(idsOf(events)).to.deep.equal(messages.filter(({ partitionkey }) => partitionkey === key).map(({ id }) => id));
        }
      });

      promises('keeps the order of a key across appends and restarts', async () => {
        for (let n = 0; n < 9; n++) {
          await at.stream.append('facts', [of('a', `a${n}`), of('b', `b${n}`)]);
          if (n % 3 === 2) await at.restart();
        }
        const events = (await readAll(at.stream, 'facts', await place('a'))).filter(({ partitionkey }) => partitionkey === 'a');
        expect(idsOf(events)).to.deep.equal(Array.from({ length: 9 }, (_, n) => `a${n}`));
      });

      promises('keeps a key on its partition over a restart', async () => {
        const places = await twoPlaces();
        await at.restart();
        await at.stream.append('facts', places.map(({ key }) => of(key, `second of ${key}`)));
        for (const { partition, key } of places) expect(idsOf(await readAll(at.stream, 'facts', partition))).to.include(`second of ${key}`);
      });

      promises('appends more in one call than fit a batch', async () => {
        const messages = Array.from({ length: limits.batchMax + 10 }, (_, n) => of('a', String(n)));
        expect(await at.stream.append('facts', messages)).to.deep.equal([]);
        expect(idsOf(await readAll(at.stream, 'facts', await place('a')))).to.deep.equal(messages.map(({ id }) => id));
      });

      promises('takes an empty append as nothing', async () => {
        expect(await at.stream.append('facts', [])).to.deep.equal([]);
      });

      promises('drops nothing that is appended twice: only readers remember', async () => {
        await at.stream.append('facts', [of('a', 'm1')]);
        await at.stream.append('facts', [of('a', 'm1')]);
        expect(idsOf(await readAll(at.stream, 'facts', await place('a')))).to.deep.equal(['m1', 'm1']);
      });

      promises('keeps streams apart', async () => {
        await at.stream.append('facts', keys.map((key) => of(key, key)));
        for (const partition of await at.stream.partitions('more')) expect(await readAll(at.stream, 'more', partition)).to.deep.equal([]);
      });

      promises('keeps the positions of one stream free of what happens on another', async () => {
        await at.stream.append('facts', [of('a', 'm1')]);
        const partition = await place('a');
        const before = await readAll(at.stream, 'facts', partition);
        await at.stream.append('more', keys.map((key) => of(key, `noise ${key}`)));
        expect(await readAll(at.stream, 'facts', partition)).to.deep.equal(before);
        await at.stream.append('facts', [of('a', 'm2')]);
        expect(idsOf(await readAll(at.stream, 'facts', partition, before[0]!.position))).to.deep.equal(['m2']);
        const more = await Promise.all((await at.stream.partitions('more')).map((each) => readAll(at.stream, 'more', each)));
        expect(more.flat()).to.have.length(keys.length);
      });

      promises('takes any text for a partition key, and keeps the order of each', async () => {
        const strange = ['__proto__', 'constructor', ' ', '\u{1f600}', '|', 'A', 'a', 'x'.repeat(120), '0', '-1'];
        await at.stream.append('facts', strange.map((key) => of(key, `${key} 1`)));
        await at.restart();
        await at.stream.append('facts', strange.map((key) => of(key, `${key} 2`)));
        for (const key of strange) {
          const events = (await readAll(at.stream, 'facts', await place(key))).filter(({ partitionkey }) => partitionkey === key);
          expect(idsOf(events)).to.deep.equal([`${key} 1`, `${key} 2`]);
        }
      });

      promises('takes nothing that is appended to a stream that is not there', async () => {
        await refusal('missing', at.stream.append(world.nowhere, keys.map((key) => of(key, key))));
        for (const partition of await at.stream.partitions('facts')) expect(await readAll(at.stream, 'facts', partition)).to.deep.equal([]);
      });

      promises('says missing for a stream that does not exist', async () => {
        await refusal('missing', at.stream.append(world.nowhere, [said('m1')]));
        await refusal('missing', at.stream.partitions(world.nowhere));
        await refusal('missing', at.stream.read(world.nowhere, '0', { max: 1, waitSeconds: 0 }));
      });

      promises('says missing for a partition that does not exist', async () => {
        for (const partition of ['', '-1', '99', 'x', '0.5', '__proto__']) await refusal('missing', at.stream.read('facts', partition, { max: 1, waitSeconds: 0 }));
      });

      promises('does not take a queue for a stream', async () => {
        await refusal('missing', at.stream.append('work', [said('m1')]));
      });

      promises('hands over what nobody can read as malformed, whole, in its place and with its key', async () => {
        await at.stream.append('facts', [of('a', 'before')]);
        await family.plantStream!('facts', 'a', 'no event');
        await at.stream.append('facts', [of('a', 'after')]);
        const events = await readAll(at.stream, 'facts', await place('a'));
        expect(idsOf(events)).to.deep.equal(['before', 'malformed', 'after']);
        expect(events[1]!.message).to.deep.include({ raw: 'no event' });
        expect(events[1]!.partitionkey).to.equal('a');
      }, family.plantStream);

      promises('gives what nobody can read a position like the rest, to go on behind', async () => {
        await family.plantStream!('facts', 'a', '{"specversion":"2.0"}');
        await at.stream.append('facts', [of('a', 'after')]);
        const partition = await place('a');
        const [strange] = await readAll(at.stream, 'facts', partition);
        expect(idsOf(await readAll(at.stream, 'facts', partition, strange!.position))).to.deep.equal(['after']);
      }, family.plantStream);
    });

    group('positions', () => {
      promises('begins at the earliest event without a position', async () => {
        await at.stream.append('facts', [of('a', 'm1'), of('a', 'm2')]);
        const partition = await place('a');
        expect(idsOf(await readAll(at.stream, 'facts', partition))).to.deep.equal(['m1', 'm2']);
        expect(idsOf(await readAll(at.stream, 'facts', partition))).to.deep.equal(['m1', 'm2']);
      });

      promises('goes on behind any position, with what follows it and nothing else', async () => {
        const names = Array.from({ length: 12 }, (_, n) => `m${n}`);
        await at.stream.append('facts', names.map((id) => of('a', id)));
        const partition = await place('a');
        const events = await readAll(at.stream, 'facts', partition);
        for (const [n, { position }] of events.entries()) expect(idsOf(await readAll(at.stream, 'facts', partition, position))).to.deep.equal(names.slice(n + 1));
      });

      promises('gives every event of a partition a position of its own, the same for every reader', async () => {
        await at.stream.append('facts', Array.from({ length: 20 }, (_, n) => of('a', String(n))));
        const partition = await place('a');
        const [one, two] = [await readAll(at.stream, 'facts', partition), await readAll(at.stream, 'facts', partition)];
        expect(new Set(one.map(({ position }) => position)).size).to.equal(20);
        expect(two).to.deep.equal(one);
      });

      promises('does not let one reader disturb another', async () => {
        await at.stream.append('facts', [of('a', 'm1'), of('a', 'm2'), of('a', 'm3')]);
        const partition = await place('a');
        const [first] = await readAll(at.stream, 'facts', partition);
        await readAll(at.stream, 'facts', partition);
        expect(idsOf(await readAll(at.stream, 'facts', partition, first!.position))).to.deep.equal(['m2', 'm3']);
      });

      promises('goes on behind a position after a restart, also with what came later', async () => {
        await at.stream.append('facts', [of('a', 'm1'), of('a', 'm2')]);
        const partition = await place('a');
        const events = await readAll(at.stream, 'facts', partition);
        await at.restart();
        await at.stream.append('facts', [of('a', 'm3')]);
        expect(idsOf(await readAll(at.stream, 'facts', partition, events[0]!.position))).to.deep.equal(['m2', 'm3']);
        expect(idsOf(await readAll(at.stream, 'facts', partition, events[1]!.position))).to.deep.equal(['m3']);
      });

      promises('keeps the positions of one partition free of what happens on another', async () => {
        const [one, two] = await twoPlaces();
        const before = await readAll(at.stream, 'facts', one!.partition);
        await at.stream.append('facts', Array.from({ length: 10 }, (_, n) => of(two!.key, `noise ${n}`)));
        expect(await readAll(at.stream, 'facts', one!.partition)).to.deep.equal(before);
        expect(await readAll(at.stream, 'facts', one!.partition, before.at(-1)!.position)).to.deep.equal([]);
        await at.stream.append('facts', [of(one!.key, 'signal')]);
        expect(idsOf(await readAll(at.stream, 'facts', one!.partition, before.at(-1)!.position))).to.deep.equal(['signal']);
      });

      promises('answers a gap for what was never a position, and skips nothing in silence', async () => {
        await at.stream.append('facts', [of('a', 'm1'), of('a', 'm2')]);
        const partition = await place('a');
        for (const after of ['', 'x', '-1', '1.5', '1e3', ' 1', 'NaN', '9'.repeat(15), '9'.repeat(40), '__proto__']) {
          expect(await answerOf(at.stream, 'facts', partition, { after, waitSeconds: 0 }), JSON.stringify(after)).to.deep.equal({ gap: true });
        }
      });

      promises('answers such a gap at once, however long one would wait', async () => {
        await at.stream.append('facts', [of('a', 'm1')]);
        const waiting = answerOf(at.stream, 'facts', await place('a'), { after: 'x', waitSeconds: 20 });
        await family.pass(100);
        expect(await nowFrom(waiting)).to.deep.equal({ gap: true });
      });

      promises('gives positions that are no longer than a row can keep', async () => {
        await at.stream.append('facts', [of('a', 'm1')]);
        const [event] = await readAll(at.stream, 'facts', await place('a'));
        expect(event!.position).to.match(/^[\x20-\x7e]{1,200}$/);
      });

      promises('answers a gap for a position that has fallen out of retention, and skips nothing in silence', async () => {
        await at.stream.append('facts', [of('a', 'm1'), of('a', 'm2')]);
        const partition = await place('a');
        const [first] = await readAll(at.stream, 'facts', partition);
        await family.expire!();
        await at.stream.append('facts', [of('a', 'm3')]);
        expect(await answerOf(at.stream, 'facts', partition, { after: first!.position, waitSeconds: 0 })).to.deep.equal({ gap: true });
        expect(idsOf(await readAll(at.stream, 'facts', partition))).to.deep.equal(['m3']);
      }, family.expire);

      promises('answers no gap to a reader who has read all that fell out of retention', async () => {
        await at.stream.append('facts', [of('a', 'm1'), of('a', 'm2')]);
        const partition = await place('a');
        const events = await readAll(at.stream, 'facts', partition);
        await family.expire!(() => readAll(at.stream, 'facts', partition, events[1]!.position));
        expect(await readAll(at.stream, 'facts', partition, events[1]!.position)).to.deep.equal([]);
        await at.stream.append('facts', [of('a', 'm3')]);
        expect(idsOf(await readAll(at.stream, 'facts', partition, events[1]!.position))).to.deep.equal(['m3']);
      }, family.expire);

      promises('still answers the gap after a restart', async () => {
        await at.stream.append('facts', [of('a', 'm1'), of('a', 'm2')]);
        const partition = await place('a');
        const [first] = await readAll(at.stream, 'facts', partition);
        await family.expire!();
        await at.restart();
        expect(await answerOf(at.stream, 'facts', partition, { after: first!.position, waitSeconds: 0 })).to.deep.equal({ gap: true });
      }, family.expire);
    });

    group('limits', () => {
      promises('takes an event one byte below and at the limit', async () => {
        expect(await at.stream.append('facts', [saidOfBytes('below', limits.eventBytesMax - 1), saidOfBytes('at', limits.eventBytesMax)])).to.deep.equal([]);
        expect(idsOf(await readAll(at.stream, 'facts', await place('a')))).to.deep.equal(['below', 'at']);
      });

      promises('fails an event one byte over the limit together with what follows it under its key, and takes the rest', async () => {
        const over = saidOfBytes('a2', limits.eventBytesMax + 1, { subject: 'a' });
        const failures = await at.stream.append('facts', [of('a', 'a1'), of('b', 'b1'), over, of('b', 'b2'), of('a', 'a3')]);
        expect(failures.map(({ index }) => index).sort()).to.deep.equal([2, 4]);
        expect(failures.find(({ index }) => index === 2)?.error.kind).to.equal('tooLarge');
        const read = (await Promise.all((await at.stream.partitions('facts')).map((partition) => readAll(at.stream, 'facts', partition)))).flat();
        expect(idsOf(read).sort()).to.deep.equal(['a1', 'b1', 'b2']);
      });

      promises('holds back all that follows a failure of its key, batches further on, too', async () => {
        const count = limits.batchMax + 44;
        const messages = Array.from({ length: count }, (_, n) => (n === 10 ? saidOfBytes('large', limits.eventBytesMax + 1, { subject: 'a' }) : of(n % 2 ? 'b' : 'a', String(n))));
        const failures = await at.stream.append('facts', messages);
        expect(failures.map(({ index }) => index).sort((x, y) => x - y)).to.deep.equal(messages.flatMap((_, n) => (n >= 10 && n % 2 === 0 ? [n] : [])));
        for (const { index, error } of failures) expect(error.kind).to.equal(index === 10 ? 'tooLarge' : 'throttled');
        const read = (await Promise.all((await at.stream.partitions('facts')).map((partition) => readAll(at.stream, 'facts', partition)))).flat();
        const failed = new Set(failures.map(({ index }) => messages[index]!.id));
        expect(idsOf(read).sort()).to.deep.equal(messages.map(({ id }) => id).filter((id) => !failed.has(id)).sort());
      });

      promises('takes one event less than a batch, a batch, and one more, and hands them over a batch at a time', async () => {
        const counts = [limits.batchMax - 1, limits.batchMax, limits.batchMax + 1];
        for (const count of counts) expect(await at.stream.append('facts', Array.from({ length: count }, (_, n) => of('a', `${count} ${n}`)))).to.deep.equal([]);
        const partition = await place('a');
        const events: string[] = [];
        for (let look = 0, after: string | undefined; look < 40 * looksMax && events.length < 3 * limits.batchMax; look++) {
          const batch = await at.stream.read('facts', partition, { max: limits.batchMax, waitSeconds: 0, ...(after === undefined ? {} : { after }) });
          if ('gap' in batch) throw new Error('an unexpected gap');
          expect(batch.events.length).to.be.at.most(limits.batchMax);
          events.push(...idsOf(batch.events));
          after = batch.events.at(-1)?.position ?? after;
        }
        expect(events).to.deep.equal(counts.flatMap((count) => Array.from({ length: count }, (_, n) => `${count} ${n}`)));
      });

      promises('takes many of the largest events in one append', async () => {
        const names = Array.from({ length: 24 }, (_, n) => `m${n}`);
        expect(await at.stream.append('facts', names.map((id) => saidOfBytes(id, limits.eventBytesMax)))).to.deep.equal([]);
        expect(idsOf(await readAll(at.stream, 'facts', await place('a')))).to.deep.equal(names);
      });

      promises('reads one event at a time, and misses none', async () => {
        await at.stream.append('facts', Array.from({ length: 5 }, (_, n) => of('a', String(n))));
        const partition = await place('a');
        const events: string[] = [];
        for (let look = 0, after: string | undefined; look < 10 * looksMax && events.length < 5; look++) {
          const batch = await at.stream.read('facts', partition, { max: 1, waitSeconds: 0, ...(after === undefined ? {} : { after }) });
          if ('gap' in batch) throw new Error('an unexpected gap');
          events.push(...idsOf(batch.events));
          after = batch.events.at(-1)?.position ?? after;
        }
        expect(events).to.deep.equal(['0', '1', '2', '3', '4']);
      });

      promises('never hands over more than were asked for', async () => {
        await at.stream.append('facts', Array.from({ length: 10 }, (_, n) => of('a', String(n))));
        const batch = await at.stream.read('facts', await place('a'), { max: 3, waitSeconds: 0 });
        expect('events' in batch && batch.events.length).to.be.at.most(3);
      });

      promises('refuses to read none or more than a batch', async () => {
        for (const max of [0, limits.batchMax + 1]) {
          expect(await at.stream.read('facts', '0', { max, waitSeconds: 0 }).catch((thrown: unknown) => thrown)).to.be.instanceOf(Defect);
        }
      });
    });

    group('waiting', () => {
      const wait = (partition: string, after: string, options: { waitSeconds: number; signal?: AbortSignal }) =>
        at.stream.read('facts', partition, { max: 10, after, ...options });

      async function end(): Promise<{ partition: string; after: string }> {
        await at.stream.append('facts', [of('a', 'm1')]);
        const partition = await place('a');
        return { partition, after: (await readAll(at.stream, 'facts', partition)).at(-1)!.position };
      }

      promises('wakes up when an event is appended', async () => {
        const { partition, after } = await end();
        const waiting = answerOf(at.stream, 'facts', partition, { after, waitSeconds: 20 });
        await family.pass(1_000);
        await at.stream.append('facts', [of('a', 'm2')]);
        await family.pass(200);
        const batch = await nowFrom(waiting);
        expect('events' in batch && idsOf(batch.events)).to.deep.equal(['m2']);
      });

      promises('wakes up every reader that waits', async () => {
        const { partition, after } = await end();
        const waiting = [1, 2, 3].map(() => answerOf(at.stream, 'facts', partition, { after, waitSeconds: 20 }));
        await family.pass(100);
        await at.stream.append('facts', [of('a', 'm2')]);
        await family.pass(200);
        for (const batch of await Promise.all(waiting.map(nowFrom))) expect('events' in batch && idsOf(batch.events)).to.deep.equal(['m2']);
      });

      promises('ends empty when the time is over', async () => {
        const { partition, after } = await end();
        const waiting = wait(partition, after, { waitSeconds: 2 });
        await family.pass(2_500);
        expect(await nowFrom(waiting)).to.deep.equal({ events: [] });
      });

      promises('wakes nobody who waits at another partition, and takes nothing from him', async () => {
        const [one, two] = await twoPlaces();
        const after = (await readAll(at.stream, 'facts', one!.partition)).at(-1)!.position;
        const waiting = wait(one!.partition, after, { waitSeconds: 2 });
        await family.pass(100);
        await at.stream.append('facts', [of(two!.key, 'elsewhere')]);
        await family.pass(2_500);
        expect(await nowFrom(waiting)).to.deep.equal({ events: [] });
        expect(idsOf(await readAll(at.stream, 'facts', two!.partition))).to.include('elsewhere');
      });

      promises('ends at once when the signal is aborted, before or meanwhile', async () => {
        const { partition, after } = await end();
        const stop = new AbortController();
        const waiting = wait(partition, after, { waitSeconds: 20, signal: stop.signal });
        await family.pass(100);
        stop.abort();
        await family.pass(100);
        expect(await nowFrom(waiting)).to.deep.equal({ events: [] });
        const late = wait(partition, after, { waitSeconds: 20, signal: stop.signal });
        await family.pass(100);
        expect(await nowFrom(late)).to.deep.equal({ events: [] });
      });
    });

    group('failures', () => {
      promises('answers a failure, and neither an empty batch nor a gap, when it cannot look', async () => {
        await at.stream.append('facts', [of('a', 'm1')]);
        const partition = await place('a');
        const [event] = await readAll(at.stream, 'facts', partition);
        await family.sever!();
        await failure(at.stream.read('facts', partition, { max: 1, waitSeconds: 0 }));
        await failure(at.stream.read('facts', partition, { max: 1, waitSeconds: 0, after: event!.position }));
        await failure(at.stream.append('facts', [of('a', 'm2')]));
        await at.restart();
        expect(idsOf(await readAll(at.stream, 'facts', partition))).to.deep.equal(['m1']);
      }, family.sever);
    });
  });
}
