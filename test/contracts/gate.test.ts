import { expect } from 'chai';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { Address, Money, OrderId, Sku, text } from '../../core/shapes.ts';
import { broken, printed, readArchive, release, unreleased } from './archive.ts';
import { incompatibilities, type ApiContract, type EventContract, type RowsContract, type Schema } from './gate.ts';
import { eventContract, schemaOf, today } from './today.ts';

// ---------------------------------------------------------------- events

const fields = {
  orderId: OrderId,
  at: z.iso.datetime(),
  status: z.enum(['Placed', 'Shipped']),
  unit: z.literal('kg'),
  total: Money,
  address: Address,
  billing: Address,
  ratio: z.number(),
  note: text(100),
  gift: z.string().max(50).optional(),
  weight: z.int().min(1).max(1_000),
  lines: z.array(z.object({ sku: Sku, quantity: z.int().min(1).max(99), colour: z.string().optional() })).min(1).max(20),
  tags: z.record(z.string(), z.string()),
  place: z.tuple([z.number(), z.number()]),
  payment: z.union([z.object({ card: z.string() }), z.string()]),
  amount: z.int().meta({ unit: 'pence' }),
};
type Fields = Record<keyof typeof fields | 'more', z.ZodType>;
const road = { kind: 'stream', channel: 'orders', to: ['notification', 'shipping'] };
const work = { kind: 'queue', channel: 'reserve-stock', to: ['inventory'] };

const toy = (shape: z.ZodType = z.object(fields), about: Partial<Parameters<typeof eventContract>[1]> = {}): EventContract =>
  eventContract('Toy', { version: 1, from: 'order', key: '/orderId', shape, travels: [work, road], ...about });
const changed = (changes: Partial<Fields>): EventContract => toy(z.object({ ...fields, ...changes }));
const without = (...names: (keyof typeof fields)[]): Partial<typeof fields> => Object.fromEntries(Object.entries(fields).filter(([name]) => !names.includes(name as keyof typeof fields)));
const lines = (changes: Record<string, z.ZodType>, max = 20) => z.array(z.object({ ...fields.lines.element.shape, ...changes })).min(1).max(max);

const released = toy();
const wrong: readonly (readonly [what: string, today: EventContract | undefined, pointer: string])[] = [
  ['a field is renamed', toy(z.object({ ...without('note'), remark: text(100) })), '/schema/properties/note'],
  ['a field is dropped', toy(z.object(without('weight'))), '/schema/properties/weight'],
  ['a field that may be missing is dropped', toy(z.object(without('gift'))), '/schema/properties/gift'],
  ['a value of an enum is removed', changed({ status: z.enum(['Placed']) }), '/schema/properties/status/enum'],
  ['a value is added to an enum over which old readers switch', changed({ status: z.enum(['Placed', 'Shipped', 'Lost']) }), '/schema/properties/status/enum'],
  ['a maximum is lowered', changed({ weight: z.int().min(1).max(999) }), '/schema/properties/weight/maximum'],
  ['a maximum is raised', changed({ weight: z.int().min(1).max(1_001) }), '/schema/properties/weight/maximum'],
  ['a minimum is raised', changed({ weight: z.int().min(2).max(1_000) }), '/schema/properties/weight/minimum'],
  ['a text may be shorter only', changed({ gift: z.string().max(49).optional() }), '/schema/properties/gift/maxLength'],
  ['a text has to be longer', changed({ gift: z.string().min(2).max(50).optional() }), '/schema/properties/gift/minLength'],
  ['a limit is taken away', changed({ gift: z.string().optional() }), '/schema/properties/gift/maxLength'],
  ['only some words are taken where any was', changed({ gift: z.enum(['yes']).optional() }), '/schema/properties/gift/enum'],
  ['any word may come where only some did', changed({ status: z.string() }), '/schema/properties/status/enum'],
  ['any number becomes a whole one', changed({ ratio: z.int() }), '/schema/properties/ratio/type'],
  ['a pattern is changed', changed({ orderId: z.string().regex(/^[0-9a-f]{26}$/).meta({ id: 'Toy26' }) }), '/schema/$defs/OrderId/pattern'],
  ['a pattern is put on', changed({ gift: z.string().max(50).regex(/^x/).optional() }), '/schema/properties/gift/pattern'],
  ['a format is changed', changed({ at: z.iso.date() }), '/schema/properties/at/format'],
  ['a text becomes a number', changed({ note: z.int() }), '/schema/properties/note/type'],
  ['a whole number becomes any number', changed({ weight: z.number().min(1).max(1_000) }), '/schema/properties/weight/type'],
  ['a field that could be missing must be there', changed({ gift: z.string().max(50) }), '/schema/properties/gift'],
  ['a field that was always there may be missing', changed({ note: text(100).optional() }), '/schema/properties/note'],
  ['a field may be null', changed({ note: text(100).nullable() }), '/schema/properties/note'],
  ['a list becomes a single one', changed({ lines: fields.lines.element }), '/schema/properties/lines/type'],
  ['a single one becomes a list', changed({ address: z.array(Address) }), '/schema/$defs/Address/type'],
  ['a list may be longer', changed({ lines: lines({}, 21) }), '/schema/properties/lines/maxItems'],
  ['something within a list is dropped', changed({ lines: z.array(z.object({ sku: Sku, colour: z.string().optional() })).min(1).max(20) }), '/schema/properties/lines/items/properties/quantity'],
  ['something within a list is narrowed', changed({ lines: lines({ quantity: z.int().min(1).max(98) }) }), '/schema/properties/lines/items/properties/quantity/maximum'],
  ['something within a shared shape is narrowed', changed({ address: Address.extend({ city: text(99) }).meta({ id: 'ToyAddress' }) }), '/schema/$defs/Address/properties/city/maxLength'],
  ['something new within a list must be there', changed({ lines: lines({ size: z.string() }) }), '/schema/properties/lines/items/properties/size'],
  ['something new must be there', changed({ more: z.string() }), '/schema/properties/more'],
  ['no more is taken than is known', toy(z.strictObject(fields)), '/schema/additionalProperties'],
  ['the values of a map are of another type', changed({ tags: z.record(z.string(), z.int()) }), '/schema/properties/tags/additionalProperties/type'],
  ['the keys of a map are narrowed', changed({ tags: z.record(z.string().max(5), z.string()) }), '/schema/properties/tags/propertyNames/maxLength'],
  ['a tuple has one place more', changed({ place: z.tuple([z.number(), z.number(), z.number()]) }), '/schema/properties/place/prefixItems'],
  ['one of several kinds is dropped', changed({ payment: z.object({ card: z.string() }) }), '/schema/properties/payment'],
  ['one kind more is added', changed({ payment: z.union([z.object({ card: z.string() }), z.string(), z.int()]) }), '/schema/properties/payment'],
  ['a constant, as a unit, is another one', changed({ unit: z.literal('lb') }), '/schema/properties/unit/const'],
  ['a unit that stands in the description of a number is another one', changed({ amount: z.int().meta({ unit: 'pounds' }) }), '/schema/properties/amount/unit'],
  ['a rule of our own is put on', changed({ gift: z.string().max(50).refine((s) => s !== 'x', 'must not be x').optional() }), '/schema/properties/gift/x-rules'],
  ['the version is lowered', toy(undefined, { version: 0 }), '/version'],
  ['a new version comes, and nobody reads the old one', toy(z.object({ orderId: OrderId }), { version: 2 }), '/version'],
  ['a new version comes, and what reads the old one takes less', toy(z.object({ orderId: OrderId }), { version: 2, earlier: [{ version: 1, shape: z.object({ ...fields, weight: z.int().min(1).max(10) }), lift: (data) => data }] }), '/schema/properties/weight/maximum'],
  ['the event is removed', undefined, ''],
  ['it travels on another channel', toy(undefined, { travels: [work, { ...road, channel: 'parcels' }] }), '/roads/1/channel'],
  ['it no longer goes by queue', toy(undefined, { travels: [{ ...work, kind: 'stream' }, road] }), '/roads/0/kind'],
  ['the work of its queue is another\'s', toy(undefined, { travels: [{ ...work, to: ['shipping'] }, road] }), '/roads/0/to'],
  ['its partition key is another one', toy(undefined, { key: '/total/currency' }), '/key'],
  ['another service says it', toy(undefined, { from: 'shipping' }), '/from'],
];

const right: readonly (readonly [what: string, today: EventContract])[] = [
  ['nothing is changed', toy()],
  ['a field is added that may be missing', changed({ more: z.string().optional() })],
  ['a whole shape is added that may be missing', changed({ more: z.object({ a: z.string(), b: z.array(z.int()) }).optional() })],
  ['something within a list is added that may be missing', changed({ lines: lines({ size: z.string().optional() }) })],
  ['the fields stand in another order', toy(z.object(Object.fromEntries(Object.entries(fields).toReversed())))],
  ['something is explained better', changed({ note: text(100).meta({ title: 'A note', description: 'for the carrier', examples: ['ring twice'] }) })],
  ['a shape gets a name of its own', changed({ lines: z.array(fields.lines.element.meta({ id: 'ToyLine' })).min(1).max(20) })],
  ['it travels on one more channel', toy(undefined, { travels: [work, road, { kind: 'stream', channel: 'audit', to: ['website'] }] })],
  ['one more listens to its stream, and one no longer does', toy(undefined, { travels: [work, { ...road, to: ['product', 'shipping'] }] })],
  ['a new version comes, and the old one is still read', toy(z.object({ orderId: OrderId }), { version: 2, earlier: [{ version: 1, shape: z.object(fields), lift: (data) => data }] })],
  ['a new version comes, and the reader of the old one takes even more', toy(z.object({ orderId: OrderId }), { version: 2, earlier: [{ version: 1, shape: z.object({ ...fields, weight: z.number() }), lift: (data) => data }] })],
];

describe('The gate for events', () => {
  for (const [what, now, pointer] of wrong) {
    it(`stops it when ${what}`, () => {
      const found = incompatibilities(released, now);
      expect(found.map((each) => each.split(': ')[0])).to.include(pointer);
      for (const each of found) expect(each).to.match(/^(\/[^:]*)?: .{10,}$/);
    });
  }
  for (const [what, now] of right) it(`lets it pass when ${what}`, () => expect(incompatibilities(released, now)).to.deep.equal([]));

  it('names each place once, and all places', () => {
    const narrowed = Address.extend({ city: text(9) }).meta({ id: 'ToyAddress2' });
    const found = incompatibilities(released, changed({ note: z.int(), weight: z.int().min(2).max(9), address: narrowed, billing: narrowed }));
    expect(found).to.have.length(4);
    expect(new Set(found).size).to.equal(4);
  });

  it('comes to an end with shapes that hold themselves, and sees into them', () => {
    const tree = (max: number): Schema => ({ $ref: '#/$defs/Tree', $defs: { Tree: { type: 'object', properties: { name: { type: 'string', maxLength: max }, leaves: { type: 'array', items: { $ref: '#/$defs/Tree' } } } } } });
    const of = (schema: Schema): EventContract => ({ ...released, schema });
    expect(incompatibilities(of(tree(5)), of(tree(5)))).to.deep.equal([]);
    expect(incompatibilities(of(tree(5)), of(tree(4)))).to.have.length(1).and.to.satisfy(([only]: string[]) => only!.startsWith('/schema/$defs/Tree/properties/name/maxLength: '));
  });

  it('stops what it does not understand', () => {
    const of = (schema: Schema): EventContract => ({ ...released, schema });
    expect(incompatibilities(of({ type: 'string' }), of({ type: 'string', 'x-unheard-of': 1 }))).to.have.length(1);
    expect(incompatibilities(of({ $ref: '#/$defs/A', $defs: { A: {} } }), of({ $ref: '#/$defs/B' }))).to.have.length(1);
  });
});

describe('The gate for a shape that takes no field more than it knows', () => {
  const strict = toy(z.strictObject(fields));
  it('stops it when one is added, even if it may be missing, and when any is let in', () => {
    expect(incompatibilities(strict, toy(z.strictObject({ ...fields, more: z.string().optional() })))[0]).to.match(/^\/schema\/properties\/more: /);
    expect(incompatibilities(strict, released)[0]).to.match(/^\/schema\/additionalProperties: /);
    expect(incompatibilities(strict, strict)).to.deep.equal([]);
  });
});

describe('The gate for versions', () => {
  it('lets none go back, of whatever kind the contract is', () => {
    const of = (version: number) => [
      { ...released, version }, { contract: 'envelope', version, schema: {} }, { contract: 'rows', version, schemas: {} }, { contract: 'notices', version, carriers: [] }, { ...api(), version },
    ] as const;
    of(2).forEach((contract, i) => expect(incompatibilities(contract, of(1)[i])).to.deep.equal(['/version: has gone back from 2 to 1']));
  });

  it('stops it when a carrier is no longer understood, and when a contract becomes another kind of thing', () => {
    const notices = (...carriers: string[]) => ({ contract: 'notices', version: 1, carriers }) as const;
    expect(incompatibilities(notices('demo', 'shippo'), notices('demo'))).to.deep.equal(['/carriers/1: shippo is no longer understood']);
    expect(incompatibilities(notices('demo'), notices('demo', 'shippo'))).to.deep.equal([]);
    expect(incompatibilities(notices('demo'), released)).to.deep.equal(['/contract: is of another kind now, event']);
  });
});

describe('The gate for rows', () => {
  const rows = (order: z.ZodType, version = 1): RowsContract => ({ contract: 'rows', version, schemas: { 'orders order': schemaOf(order), 'orders open': schemaOf(z.object({ since: z.number() })) } });
  const before = rows(z.object({ said: z.number(), note: z.string().optional() }));

  it('stops it when a field of a row is renamed, is always there now, or is of another type, and when a row is gone', () => {
    for (const order of [z.object({ told: z.number(), note: z.string().optional() }), z.object({ said: z.number(), note: z.string() }), z.object({ said: z.string(), note: z.string().optional() })]) {
      expect(incompatibilities(before, rows(order))[0]).to.match(/^\/schemas\/orders order\/properties\//);
    }
    const { 'orders open': _, ...schemas } = before.schemas;
    expect(incompatibilities(before, { ...before, schemas })).to.deep.equal(['/schemas/orders open: no such row is written any more; who still reads the old ones?']);
  });

  it('lets it pass when a field is added that may be missing, and leaves the rest of a new version to the archived shops', () => {
    expect(incompatibilities(before, rows(z.object({ said: z.number(), note: z.string().optional(), more: z.string().optional() })))).to.deep.equal([]);
    expect(incompatibilities(before, rows(z.object({ all: z.number() }), 2))).to.deep.equal([]);
  });
});

// ---------------------------------------------------------------- the HTTP API

interface Door {
  parameters: object[];
  requestBody?: object;
  responses: Record<string, object>;
  security: object[];
  operationId: string;
}
const content = (shape: z.ZodType) => ({ content: { 'application/json': { schema: schemaOf(shape) } } });
const request = { sku: z.string().max(40), quantity: z.int().min(1).max(99), note: z.string().max(10).optional(), gift: z.enum(['yes', 'no']).optional(), when: z.union([z.string(), z.int()]).optional() };
const answer = { id: z.string(), place: z.union([z.string(), z.int()]), total: z.number(), lang: z.string().default('en'), status: z.enum(['Placed', 'Shipped']), note: z.string().optional(), lines: z.array(z.object({ sku: z.string() })) };
const door = (): Door => ({
  operationId: 'place', security: [],
  parameters: [{ in: 'path', name: 'id', required: true, schema: { type: 'string' } }, { in: 'query', name: 'limit', required: false, schema: { type: 'integer', maximum: 200, default: 50 } }],
  requestBody: { required: true, ...content(z.object(request)) },
  responses: { 201: { description: 'Made', headers: { location: { schema: { type: 'string' } } }, ...content(z.object(answer)) }, 204: { description: 'Done' }, 409: { description: 'Conflict' } },
});
const api = (change: (door: Door) => unknown = () => {}, path = '/api/orders/{id}'): ApiContract => {
  const post = door();
  change(post);
  return { contract: 'api', version: 1, document: JSON.parse(JSON.stringify({ openapi: '3.1.1', paths: { [path]: { post } } })) as Schema };
};
const asks = (changes: Record<string, z.ZodType>) => api((d) => (d.requestBody = { required: true, ...content(z.object({ ...request, ...changes })) }));
const answers = (shape: z.ZodType) => api((d) => (d.responses[201] = { ...d.responses[201], ...content(shape) }));
const { quantity: _quantity, ...fewer } = request;
const { note: _note, ...poorer } = answer;
const at = '/paths/~1api~1orders~1{id}/post';

const closed: readonly (readonly [what: string, today: ApiContract, pointer: string])[] = [
  ['a door is removed', api(undefined, '/api/orders'), at],
  ['a door is called otherwise by made clients', api((d) => (d.operationId = 'put')), `${at}/operationId`],
  ['an open door asks for a token', api((d) => d.security.push({ admin: [] })), `${at}/security`],
  ['a field of a request is new and must be there', asks({ more: z.string() }), `${at}/requestBody/content/application~1json/schema/properties/more`],
  ['a field of a request must be there now', asks({ note: z.string().max(10) }), `${at}/requestBody/content/application~1json/schema/properties/note`],
  ['a request is narrowed', asks({ quantity: z.int().min(1).max(9) }), `${at}/requestBody/content/application~1json/schema/properties/quantity/maximum`],
  ['a word of a request is no longer taken', asks({ gift: z.enum(['yes']).optional() }), `${at}/requestBody/content/application~1json/schema/properties/gift/enum`],
  ['a field of a request is dropped', api((d) => (d.requestBody = { required: true, ...content(z.object(fewer)) })), `${at}/requestBody/content/application~1json/schema/properties/quantity`],
  ['a body is no longer taken', api((d) => delete d.requestBody), `${at}/requestBody`],
  ['a body must have another type', api((d) => (d.requestBody = { required: true, content: { 'application/xml': {} } })), `${at}/requestBody/content/application~1json`],
  ['a parameter is renamed', api((d) => (d.parameters[1] = { in: 'query', name: 'max', schema: { type: 'integer' } })), `${at}/parameters/1`],
  ['a parameter is narrowed', api((d) => (d.parameters[1] = { in: 'query', name: 'limit', schema: { type: 'integer', maximum: 100, default: 50 } })), `${at}/parameters/1/schema/maximum`],
  ['a default is another one', api((d) => (d.parameters[1] = { in: 'query', name: 'limit', schema: { type: 'integer', maximum: 200, default: 10 } })), `${at}/parameters/1/schema/default`],
  ['a parameter must be there now', api((d) => Object.assign(d.parameters[1]!, { required: true })), `${at}/parameters/1/required`],
  ['a parameter is new and must be there', api((d) => d.parameters.push({ in: 'header', name: 'x-more', required: true, schema: { type: 'string' } })), `${at}/parameters`],
  ['a status is removed', api((d) => delete d.responses[201]), `${at}/responses/201`],
  ['another success may be answered', api((d) => (d.responses[202] = { description: 'Asked' })), `${at}/responses`],
  ['a header of an answer is removed', api((d) => (d.responses[201] = { description: 'Made', ...content(z.object(answer)) })), `${at}/responses/201/headers/location`],
  ['a field of an answer is dropped', answers(z.object(poorer)), `${at}/responses/201/content/application~1json/schema/properties/note`],
  ['a field of an answer may be missing', answers(z.object({ ...answer, id: z.string().optional() })), `${at}/responses/201/content/application~1json/schema/properties/id`],
  ['a field of an answer is retyped', answers(z.object({ ...answer, id: z.int() })), `${at}/responses/201/content/application~1json/schema/properties/id/type`],
  ['an answer has a word that callers do not know', answers(z.object({ ...answer, status: z.enum(['Placed', 'Shipped', 'Lost']) })), `${at}/responses/201/content/application~1json/schema/properties/status/enum`],
  ['something within an answer is retyped', answers(z.object({ ...answer, lines: z.array(z.object({ sku: z.int() })) })), `${at}/responses/201/content/application~1json/schema/properties/lines/items/properties/sku/type`],
];
const open: readonly (readonly [what: string, today: ApiContract])[] = [
  ['nothing is changed', api()],
  ['a door is added', { ...api(), document: { ...api().document, paths: { ...(api().document['paths'] as object), '/api/more': { get: door() } } } }],
  ['a field of a request is added that may be missing', asks({ more: z.string().optional() })],
  ['a request takes more', asks({ quantity: z.int().min(0).max(999), gift: z.string().optional() })],
  ['a request knows one word more', asks({ gift: z.enum(['yes', 'no', 'maybe']).optional() })],
  ['a request takes one kind more', asks({ when: z.union([z.string(), z.int(), z.boolean()]).optional() })],
  ['an answer is one of fewer kinds', answers(z.object({ ...answer, place: z.string() }))],
  ['an answer is more exact', answers(z.object({ ...answer, total: z.int(), note: z.enum(['a', 'b']).optional() }))],
  ['an answer promises to say no more than is known', answers(z.strictObject(answer))],
  ['an answer has another default', answers(z.object({ ...answer, lang: z.string().default('de') }))],
  ['a field of a request may be missing', asks({ quantity: z.int().min(1).max(99).optional() })],
  ['a field of an answer is added', answers(z.object({ ...answer, more: z.string() }))],
  ['an answer promises more', answers(z.object({ ...answer, note: z.string().max(5), status: z.enum(['Placed']) }))],
  ['a parameter is added that may be missing', api((d) => d.parameters.push({ in: 'query', name: 'after', schema: { type: 'string' } }))],
  ['errors come and go', api((d) => Object.assign(d.responses, { 409: undefined, 422: { description: 'Unprocessable' } }))],
  ['a header is added to an answer', api((d) => Object.assign(d.responses[201]!, { headers: { location: {}, etag: {} } }))],
];

describe('The gate for the HTTP API', () => {
  for (const [what, now, pointer] of closed) {
    it(`stops it when ${what}`, () => {
      const found = incompatibilities(api(), now);
      expect(found.map((each) => each.split(': ')[0])).to.include(pointer);
    });
  }
  for (const [what, now] of open) it(`lets it pass when ${what}`, () => expect(incompatibilities(api(), now)).to.deep.equal([]));

  it('lets a request that took no field more take one, or any', () => {
    const body = (shape: z.ZodType) => api((d) => (d.requestBody = { required: true, ...content(shape) }));
    for (const now of [z.strictObject({ ...request, more: z.string().optional() }), z.object(request)]) expect(incompatibilities(body(z.strictObject(request)), body(now))).to.deep.equal([]);
  });

  it('lets a door be opened that was locked', () => {
    const locked = api((d) => d.security.push({ admin: [] }));
    expect(incompatibilities(locked, api())).to.deep.equal([]);
    expect(incompatibilities(locked, locked)).to.deep.equal([]);
  });
});

// ---------------------------------------------------------------- the archive

describe('What was released', function () {
  this.timeout(60_000);

  it('is what today\'s program still says, takes, answers and keeps', async () => {
    const faults = broken(readArchive(), await today());
    if (faults.length > 0) throw new Error(faults.join('\n\n'));
  });

  it('has every event, the envelope, the rows, the API and the notices in the archive', async () => {
    const missing = unreleased(readArchive(), await today()).filter(({ news }) => news.includes('all of it is new'));
    expect(missing.map(({ file }) => file), 'npm run contracts -- --release archives these').to.deep.equal([]);
  });

  it('tells what to do about a change that breaks it', () => {
    const [told, ...more] = broken([released], [changed({ note: z.int() })]);
    expect(more).to.deep.equal([]);
    expect(told).to.match(/^Toy is not what was released as version 1:\n {2}\/schema\/properties\/note\/type: was string, is integer\n {2}→ .*version 2.*`earlier`.*docs\/contracts\.md/);
  });

  it('is compared in all its versions: a field of an older revision cannot go either', () => {
    const [first, second] = [toy(), changed({ more: z.string().optional() })];
    expect(broken([first, second], [second])).to.deep.equal([]);
    expect(broken([first, second], [first])).to.have.length(1);
  });
});

describe('The archive', () => {
  let folder = '';
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'contracts-')) + '/'));
  afterEach(() => rmSync(folder, { recursive: true }));
  const envelope = (schema: z.ZodType, version = 1) => ({ contract: 'envelope', version, schema: schemaOf(schema) }) as const;

  it('takes a version once, and what was added to it later as a revision; wording alone is no reason', async () => {
    const write = async (now: ReturnType<typeof envelope>): Promise<string[]> => {
      const news = unreleased(readArchive(folder), [now]);
      for (const each of news) await release(each, folder);
      return news.map(({ file }) => file);
    };
    expect(await write(envelope(z.object({ a: z.string() })))).to.deep.equal(['envelope.v1.json']);
    expect(await write(envelope(z.object({ a: z.string().describe('the first letter') })))).to.deep.equal([]);
    expect(await write(envelope(z.object({ a: z.string(), b: z.string().optional() })))).to.deep.equal(['envelope.v1.1.json']);
    expect(await write(envelope(z.object({ b: z.string() }), 2))).to.deep.equal(['envelope.v2.json']);
    expect(readArchive(folder).map(({ version }) => version)).to.deep.equal([1, 1, 2]);
  });

  it('never writes over what is there', async () => {
    writeFileSync(`${folder}envelope.v1.json`, 'released');
    const failure = await release({ contract: envelope(z.string()), file: 'envelope.v1.json', news: [] }, folder).then(() => undefined, (error: unknown) => error as NodeJS.ErrnoException);
    expect(failure?.code).to.equal('EEXIST');
    expect(readFileSync(`${folder}envelope.v1.json`, 'utf8')).to.equal('released');
  });

  it('has no file that it does not know', () => {
    writeFileSync(`${folder}envelope.json`, '{}');
    expect(() => readArchive(folder)).to.throw('no name of the archive');
  });

  it('prints JSON that says the same', () => {
    const value = { a: [1, 'x', null, { b: 'y'.repeat(200), c: [] }], d: {}, e: 'z'.repeat(300) };
    expect(JSON.parse(printed(value))).to.deep.equal(value);
  });
});
