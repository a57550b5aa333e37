import { expect } from 'chai';
import fc from 'fast-check';
import { doors, events, queues, streams, type Door, type DoorName } from '../../core/flow.ts';
import { writers } from '../../adapters/carriers/index.ts';
import { puts, roundOfChannels, type Put } from './channels.ts';
import { asks, heard, roundOfDoors, type Ask } from './doors.ts';
import { adminToken } from './edge.ts';
import { fuzz, parts, type Part } from './fuzz.ts';
import { notices } from './notices.ts';
import { roundOfRows, type Line } from './rows.ts';
import { bytesOf, mark, resolvedIn } from './shapes.ts';
import { answersIn, roundOfShots } from './wire.ts';

/** The small run of what `npm run fuzz` does at full size: the same seed each time. */
const casesInAll = 2_400;

describe('What strangers send', () => {
  for (const part of parts) {
    it(`does no harm to ${part.says}`, async () => {
      const wanted = Math.ceil((casesInAll * part.share) / 100);
      expect((await fuzz(part, 1, wanted)).cases).to.be.at.least(wanted);
    }).timeout(60_000);
  }

  it('is of every kind: each door, each event, each channel and each format has its share', () => {
    const drawn = <T>(arbitrary: fc.Arbitrary<T[]>): T[] => fc.sample(arbitrary, { seed: 1, numRuns: 40 }).flat();
    expect(new Set(drawn(asks).map(({ door }) => door))).to.deep.equal(new Set(Object.keys(doors)));
    const put = drawn(puts);
    expect(new Set(put.map(({ event }) => event))).to.deep.equal(new Set(Object.keys(events)));
    expect(new Set(put.map(({ channel }) => channel.name))).to.deep.equal(new Set([...queues, ...streams]));
    expect(new Set(drawn(notices).map(({ carrier }) => carrier))).to.deep.equal(new Set(Object.keys(writers)));
  });

  it('gets past the first gate: nearly every door has also been heard to say yes', () => {
    const served = (name: string, { replies }: Door): boolean => Object.keys(replies).some((status) => heard.has(`${name} ${status}`));
    const never = (Object.entries(doors) as [DoorName, Door][]).filter(([name, door]) => !served(name, door)).map(([name]) => name);
    expect(never.length, never.join(', ')).to.be.at.most(Object.keys(doors).length / 6);
  });
});

describe('What once did harm', () => {
  const form = { authorization: '', 'content-type': 'application/x-www-form-urlencoded' };
  const ask = (door: DoorName, changes: Partial<Ask> = {}): Ask => ({ door, params: {}, query: [], headers: form, body: { raw: '' }, ...changes });
  const put = (changes: Partial<Put>): Put => ({ channel: { kind: 'stream', name: 'inventory' }, event: 'Backordered', subject: '@order0', sequence: 0, minutesAgo: 0, data: { orderId: '@order0', short: [] }, mutations: [], envelope: [], ...changes });
  const row = (name: string): Line => ({ cells: ['536365', '85123A', name, '6', '2010-12-01 08:26:00', '2.55', '17850', 'United Kingdom'], quoted: [], end: '\n', as: 'cells' });

  it('is answered as declared: a cancellation that comes too late, a basket that cannot be, a body where none is taken', async () => {
    await roundOfDoors(1, [
      ask('cancelFromPage', { params: { id: '@order0' } }), ask('changeBasket', { body: { fields: [['sku', 'NONE'], ['do', 'add']], harvest: false } }),
      ask('cancelOrder', { params: { id: '@order0' }, body: { raw: 'x'.repeat(1024 * 1024 + 1) } }), ask('listProducts', { body: { raw: 'x'.repeat(1024 * 1024 + 1) } }),
    ]);
  });

  it('is escaped, wherever a page gives it back', async () => {
    await roundOfDoors(1, [
      ask('homePage', { query: [['q', `">${mark}`]] }),
      ask('describeProduct', { params: { sku: 'MUG' }, headers: { authorization: `Bearer ${adminToken}`, 'content-type': 'application/json' }, body: { value: { name: mark, description: mark, price: { amount: 1, currency: 'GBP' } }, mutations: [] } }),
      ask('productPage', { params: { sku: 'MUG' } }),
    ]);
  });

  it('is set aside: an event whose time is none', async () => {
    for (const time of ['2026-11-20', 'Nov 20 2026', '2026-11-20T09:00:00+01:00']) await roundOfChannels(2, [put({ envelope: [['time', time]] })]);
  });

  it('is made fit: names of products with signs that no name can have, or of nothing else, or too long', async () => {
    for (const name of ['NAME \u0000 WITH NUL', 'NAME \u2028 WITH LINE', 'Ⲱ  𐀀', `${'L'.repeat(199)}🧨 LONG`]) await roundOfRows(1, [row(name)]);
  });

  it('is told by us and not by node: no name of a host, an expectation that is none, a head that cannot be read', async () => {
    const heads = ['GET /healthz HTTP/1.1\r\n\r\n', 'GET / HTTP/1.1\r\nhost: localhost\r\nexpect: 200-ok\r\n\r\n', 'HEAD /api/products HTTP/1.1\r\nx\r\n\r\n'];
    await roundOfShots(1, heads.map((head) => ({ kind: 'head', head, body: '', cuts: [] })));
  });
});

describe('The fuzzer', () => {
  const toy = (round: Part['round']): Part => ({ name: 'toy', share: 100, says: 'a toy', cases: fc.array(fc.nat(1_000), { minLength: 1, maxLength: 60, size: 'max' }), round });

  it('shrinks what fails to the one case that is enough, and says how to do it again', async () => {
    const failing = toy(async (_, cases: readonly number[]) => {
      if (cases.some((each) => each >= 700)) throw new Error('seven hundred');
    });
    const error = await fuzz(failing, 5, 2_000).then(() => undefined, (thrown: unknown) => thrown as Error);
    expect(error?.message).to.match(/^toy: seven hundred\nafter \d+ shrinks, 1 cases are enough:\n {2}700\nagain: npm run fuzz -- --part toy --seed \d+ --cases 1$/);
  });

  it('does the same with the same seed', async () => {
    const run = async (seed: number): Promise<string> => {
      const seen: unknown[] = [];
      await fuzz(toy(async (_, cases) => void seen.push(cases)), seed, 200);
      return JSON.stringify(seen);
    };
    expect(await run(3)).to.equal(await run(3));
    expect(await run(3)).not.to.equal(await run(4));
  });

  it('changes values, text and bytes as it was told, also where the name of a field is __proto__', () => {
    const value = { a: [1, 2], b: '@order1' };
    expect(String(bytesOf(value, [{ do: 'add', at: 0, name: '__proto__', value: { polluted: 1 } }]))).to.equal('{"a":[1,2],"b":"@order1","__proto__":{"polluted":1}}');
    expect(String(bytesOf(value, [{ do: 'drop', at: 1 }, { do: 'text', from: '{', to: '{"b":7,' }]))).to.equal('{"b":7,"b":"@order1"}');
    expect(String(bytesOf(value, [{ do: 'repeat', at: 1, times: 2 }]))).to.equal('{"a":[1,2,1,2],"b":"@order1"}');
    expect([...bytesOf([1], [{ do: 'bytes', at: 1, drop: 1, put: [0xff] }])]).to.deep.equal([0x5b, 0xff, 0x5d]);
    expect(resolvedIn({ b: '@order1', c: ['@id9'] }, { orders: ['x', 'y'], ids: [] })).to.deep.equal({ b: 'y', c: ['none'] });
    expect(({} as Record<string, unknown>)['polluted']).to.equal(undefined);
  });

  it('reads answers by their lengths, and takes nothing else for HTTP', () => {
    const one = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi';
    expect(answersIn(Buffer.from(one + one)).map(({ body }) => body)).to.deep.equal(['hi', 'hi']);
    for (const bad of [`${one}x`, one.slice(0, -1), one.replace('content-length: 2', 'content-length: 2\r\nx y: 1'), `HTTP/1.1 200 OK\r\n\r\n${mark}`]) expect(() => answersIn(Buffer.from(bad))).to.throw();
  });
});
