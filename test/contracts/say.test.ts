import { expect } from 'chai';
import { readFileSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { collections, events, services, type DataOf, type Earlier, type EventName } from '../../core/flow.ts';
import { execute } from '../../core/kernel/execute.ts';
import { say, voiceOf, type Fact, type Model } from '../../core/kernel/model.ts';
import { receiveEvent } from '../../core/kernel/park.ts';
import { checked, lifted } from '../../core/kernel/receive.ts';
import { Defect, Invalid, type Message } from '../../ports/index.ts';
import { openWorld, toys, type World } from '../support/world.ts';
import { sample, sizes } from './samples.ts';

const id = 'a'.repeat(26);
const saying = { subject: id, sequence: 0, at: '2026-11-20T09:00:00.000Z' };
const stored = (world: World): string[] => ['note', 'outbox', 'open'].flatMap((noun) => world.rows(noun).map(({ key }) => key));

describe('What is said', () => {
  const parcel = { orderId: id, carrier: 'demo', trackingNumber: 'T1' };
  const saidOf = (data: unknown) => () => say('OrderFulfillment', data as DataOf<'OrderFulfillment'>, saying);

  it('is what the flow declares, in every size', () => {
    for (const name of Object.keys(events) as EventName[]) for (const size of sizes) expect(() => sample(name, size), `${name} ${size}`).to.not.throw();
  });

  it('is refused when it does not fit: a field is missing, is one too many, has another type or is too large', () => {
    const wrong: readonly (readonly [unknown, string])[] = [
      [{ orderId: id, carrier: 'demo' }, '/trackingNumber'],
      [{ ...parcel, weight: 3 }, '/weight is not declared'],
      [{ ...parcel, trackingUrl: null }, '/trackingUrl'],
      [{ ...parcel, carrier: 'c'.repeat(101) }, '/carrier'],
      [null, 'expected object'],
    ];
    for (const [data, why] of wrong) expect(saidOf(data), JSON.stringify(data)).to.throw(Defect, why);
  });

  it('is refused when it would be read as something else, or holds deep inside what nobody has declared', () => {
    const product = { sku: 'A', name: 'Mug', description: '', price: { amount: 1, currency: 'GBP' }, stock: 'Low', version: 1 } as const;
    expect(() => say('ProductInfoUpdated', { ...product, name: ' Mug' }, saying)).to.throw(Defect, '/name would be read as something else');
    expect(() => say('ProductInfoUpdated', { ...product, price: { ...product.price, tax: 1 } as DataOf<'ProductInfoUpdated'>['price'] }, saying)).to.throw(Defect, '/price/tax is not declared');
    const levels = [{ sku: 'A', available: 1, stockVersion: 1 }, { sku: 'B', available: 1, stockVersion: 1, shelf: 2 }];
    expect(() => say('StockChanged', { levels }, saying)).to.throw(Defect, '/levels/1/shelf is not declared');
  });

  it('may leave out what can be left out, also by saying that it is not there', () => {
    expect(saidOf({ ...parcel, trackingUrl: undefined, weight: undefined })).to.not.throw();
    expect(saidOf(parcel)().message.data).to.deep.equal(parcel);
  });

  it('is refused at a time that its readers refuse', () => {
    for (const at of ['', 'now', '2026-11-20T09:00:00+01:00']) expect(() => say('ShippingStopped', { orderId: id }, { ...saying, at })).to.throw(Defect, 'a time in UTC');
  });

  it('by a service is what the flow assigns to it, and nothing else', () => {
    const speak = voiceOf('inventory') as unknown as typeof say;
    expect(speak('StockFreed', { skus: ['A'] }, saying).message).to.include({ source: '/inventory', type: 'StockFreed' });
    expect(() => speak('OrderDelivered', { ...parcel, deliveredAt: saying.at }, saying)).to.throw(Defect, 'inventory does not say OrderDelivered');
    expect(() => speak('toString' as EventName, { orderId: id }, saying)).to.throw(Defect, 'inventory does not say toString');
  });

  it('is said by services with the voice of their own: none of them speaks for everybody', () => {
    const core = fileURLToPath(new URL('../../core/', import.meta.url));
    for (const service of [...services, 'operations']) {
      for (const file of readdirSync(core + service)) {
        const text = readFileSync(`${core}${service}/${file}`, 'utf8');
        for (const [, names = ''] of text.matchAll(/import \{([^}]*)\} from '[^']*kernel\/model\.ts'/g)) expect(names.split(/[\s,]+/), `${service}/${file}`).to.not.include('say');
      }
    }
  });
});

describe('A model that decides what is not declared', () => {
  /** Notes each fact that it is told to. */
  const notes: Model<number, Fact> = { service: 'shipping', collection: collections.shipments, noun: 'note', initial: 0, remembers: 'state', decide: (_, fact) => [fact], evolve: (n) => n + 1, busy: (n) => n > 0 };

  async function decided(...facts: Fact[]): Promise<{ world: World; failures: unknown[] }> {
    const world = await openWorld({ still: true });
    const failures: unknown[] = [];
    for (const command of facts) await world.play(execute(world.kernel, notes, { id, command }).catch((error: unknown) => failures.push(error)));
    return { world, failures };
  }

  it('is stopped with a Defect, and nothing is committed', async () => {
    const { world, failures } = await decided({ type: 'ShippingStopped', data: { orderId: id, why: 'undeclared' } }, { type: 'ShippingStopped', data: {} }, { type: 'ShippingStopped', data: { orderId: id }, at: 'today' });
    for (const failure of failures) expect(failure).to.be.instanceOf(Defect);
    expect(failures).to.have.length(3);
    expect(stored(world)).to.deep.equal([]);
    await world.stop();
  });

  it('is stopped when the event is of another service that it does not listen to', async () => {
    const { world, failures } = await decided({ type: 'OrderPlaced', data: {} });
    expect(String(failures[0])).to.equal('Defect: shipping neither says nor hears OrderPlaced');
    expect(stored(world)).to.deep.equal([]);
    await world.stop();
  });

  it('may remember what it hears, and facts that are nobody\'s events: they stay at home', async () => {
    const { world, failures } = await decided({ type: 'CancellationRequested', data: { orderId: id } }, { type: 'Weighed', data: 3 });
    expect(failures).to.deep.equal([]);
    expect(stored(world)).to.deep.equal([`note|${id}`, `open|${id}`]);
    await world.stop();
  });

  it('leaves the event that made it do so parked, with the reason, and its neighbours go on', async () => {
    const world = await openWorld({ still: true });
    const hears = { CancellationRequested: async (kernel: World['kernel'], { data: { orderId } }: { data: { orderId: string } }) => void (await execute(kernel, notes, { id: orderId, command: { type: 'ShippingStopped', data: orderId === id ? {} : { orderId } } })) };
    const [, , , service] = toys({ shipping: hears as never });
    for (const each of [id, 'b'.repeat(26)]) {
      const { message } = say('CancellationRequested', { orderId: each }, { ...saying, subject: each });
      await world.play(receiveEvent(world.kernel, service!, 'orders', { position: '1', message, partitionkey: each }));
    }
    expect(world.rows<{ reason: string }>('parked').map(({ body }) => body.reason)).to.have.length(1).and.to.satisfy(([reason]: string[]) => reason!.startsWith('Defect: ShippingStopped of'));
    expect(world.rows('note').map(({ key }) => key)).to.deep.equal([`note|${'b'.repeat(26)}`]);
    await world.stop();
  });
});

// ---------------------------------------------------------------- reading

describe('What was said in an older version', () => {
  /** Version 1 had one text for the name, version 2 two, version 3 says how long they are together. */
  const Named = z.object({ orderId: z.string(), name: z.string() });
  const Parted = z.object({ orderId: z.string(), first: z.string(), last: z.string() });
  const Counted = Parted.extend({ length: z.int() });
  const earlier: readonly Earlier[] = [
    {
      version: 1,
      shape: Named,
      lift(data) {
        const { orderId, name } = data as z.infer<typeof Named>;
        const [first = '', ...last] = name.split(' ');
        return { orderId, first, last: last.join(' ') };
      },
    },
    { version: 2, shape: Parted, lift: (data) => ({ ...(data as z.infer<typeof Parted>), length: Object.values(data as object).join('').length - 1 }) },
  ];
  const toy = { version: 3, shape: Counted, earlier };
  const message = (dataversion: string, data: unknown): Message => ({ ...sample('ShippingStopped', 'full'), type: 'Toy', dataversion, data });
  const read = (dataversion: string, data: unknown): unknown => lifted(toy, message(dataversion, data)).data;

  it('is read as if it had been said today', () => {
    const today = { orderId: 'o', first: 'Anna', last: 'Bell', length: 8 };
    expect(read('1', { orderId: 'o', name: 'Anna Bell' })).to.deep.equal(today);
    expect(read('2', { orderId: 'o', first: 'Anna', last: 'Bell' })).to.deep.equal(today);
    expect(read('3', today)).to.deep.equal(today);
  });

  it('keeps its identity, and carries today\'s version from there on', () => {
    const { data: _, dataversion, ...envelope } = lifted(toy, message('1', { orderId: 'o', name: 'Anna Bell' }));
    const { data: __, dataversion: old, ...before } = message('1', {});
    expect(envelope).to.deep.equal(before);
    expect([old, dataversion]).to.deep.equal(['1', '3']);
  });

  it('has to fit the shape of its own version, and what was not declared in it does not get through', () => {
    expect(() => read('1', { orderId: 'o', first: 'Anna', last: 'Bell' })).to.throw(Invalid, '/data/name');
    expect(read('1', { orderId: 'o', name: 'Anna Bell', length: 99, more: 1 })).to.deep.equal({ orderId: 'o', first: 'Anna', last: 'Bell', length: 8 });
  });

  it('is not believed when what lifts it makes something wrong of it', () => {
    const broken = { ...toy, earlier: [earlier[0]!, { ...earlier[1]!, lift: () => ({ orderId: 'o' }) }] };
    expect(() => lifted(broken, message('1', { orderId: 'o', name: 'Anna Bell' }))).to.throw(Invalid, '/data/first');
  });

  it('is refused with its version as the reason when nobody reads that version any more, or not yet, or it is none', () => {
    expect(() => lifted({ ...toy, earlier: [earlier[1]!] }, message('1', {}))).to.throw(Invalid, 'Toy has version 1, of which nobody knows how to read it any more');
    for (const version of ['4', '99', '0', '-1', '1.5', '1e0', ' 1', '', 'new', '0x1', '01']) expect(() => read(version, {}), version).to.throw(Invalid, `Toy has version ${version}, known is 3`);
  });

  it('is read by today\'s table as it is by the toy\'s: the version decides', () => {
    const { message: said } = say('ShippingStopped', { orderId: id }, saying);
    expect(checked(said)).to.deep.equal(said);
    for (const dataversion of ['0', String(events.ShippingStopped.version + 1), '0.5']) expect(() => checked({ ...said, dataversion })).to.throw(Invalid, `has version ${dataversion}`);
  });
});
