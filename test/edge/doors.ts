import fc from 'fast-check';
import { z } from 'zod';
import { doors, queues, streams, subscriptions, type Door, type DoorName } from '../../core/flow.ts';
import type { HttpAnswer, HttpEvent } from '../../handlers/host.ts';
import { openapi } from '../../handlers/documents.ts';
import { PortError } from '../../ports/index.ts';
import { anna, home } from '../support/client.ts';
import { adminToken, openEdge, type Edge, type Session } from './edge.ts';
import { bytesOf, hostileText, mark, mutation, resolved, resolvedIn, skus, valuesOf, wild, type Known, type Mutation } from './shapes.ts';

/**
 * EVERY DOOR of the flow, asked what it was made for and what it was not. The table says which doors there are, what they take, and what they may answer; so a door that is
 * added is fuzzed from that moment.
 *
 * - Never a 5xx, and never anything that is thrown. What is answered is declared: in the OpenAPI document for programs, in the table for pages.
 * - A refused request changes nothing; neither does a GET.
 * - No page gives back a mark-up that came in, and no header has a line break in it.
 * - After all of them the shop comes to rest, its books agree, and an ordinary order goes its way.
 */
export interface Ask {
  readonly door: DoorName;
  readonly params: Readonly<Record<string, string>>;
  readonly query: readonly (readonly [string, string])[];
  readonly headers: Readonly<Record<string, string>>;
  readonly body: { readonly value: unknown; readonly mutations: readonly Mutation[] } | { readonly raw: string } | { readonly fields: readonly (readonly [string, string])[]; readonly harvest: boolean };
}

const names = Object.keys(doors) as DoorName[];

const often = <T>(arbitrary: fc.Arbitrary<T>, other: fc.Arbitrary<T>, weight = 4): fc.Arbitrary<T> => fc.oneof({ arbitrary, weight }, { arbitrary: other, weight: 1 });

function textsOf(shape: z.ZodObject | undefined): fc.Arbitrary<Record<string, string>> {
  if (!shape) return fc.constant({});
  const named = fc.record({ kind: fc.constantFrom('parked', 'dead-letters', 'stuck', 'mails', 'bookings'), do: fc.constantFrom('retry', 'resolve') });
  const fitting = fc.tuple(valuesOf(shape, 'output'), named).map(([value, words]) => Object.fromEntries(Object.entries(value as object).map(([name, each]) => [name, name in words ? words[name as 'kind'] : String(each)])));
  const hostile = fc.record(Object.fromEntries(Object.keys(shape.shape).map((name) => [name, hostileText])), { noNullPrototype: true });
  return often(fitting, hostile);
}

const extraQuery = fc.array(fc.tuple(fc.oneof(fc.constantFrom('limit', 'after', 'q', 'status', 'state', 'cause', '__proto__', 'constructor', ''), hostileText), hostileText), { maxLength: 2 });
const queryOf = (door: Door): fc.Arbitrary<[string, string][]> => {
  const plain = textsOf(door.query).map((found) => Object.entries(found));
  return fc.oneof({ arbitrary: plain, weight: 4 }, { arbitrary: fc.tuple(plain, extraQuery).map(([known, more]) => [...known, ...more]), weight: 1 });
};

/** As node would hand them over: no control characters, since such a head is refused before anybody reads it. */
const headerText = hostileText.map((text) => text.replace(/[^\t\u0020-\u007e\u0080-\u00ff]/g, '?'));
const basketCookie = fc.oneof(
  fc.array(fc.tuple(fc.constantFrom(...skus, 'NONE'), fc.constantFrom(0, 1, 2, 999_999, 1_000_000, 9_999_999)), { maxLength: 4 }).map((lines) => `basket=${encodeURIComponent(lines.map(([sku, n]) => `${sku}:${n}`).join(','))}`),
  fc.constantFrom('basket=', 'basket=%', 'basket=%ff', 'basket=MUG:1; basket=CUP:2', `basket=${'MUG:1,'.repeat(900)}`, 'basket="MUG:1"', 'basket=__proto__:1'),
  headerText.map((text) => `basket=${text}`),
);

function headersOf(door: Door): fc.Arbitrary<Record<string, string>> {
  const authorization = door.admin
    ? fc.oneof({ arbitrary: fc.constant(`Bearer ${adminToken}`), weight: 8 }, { arbitrary: fc.constantFrom('', 'Bearer', `Bearer ${adminToken}x`, `Basic ${adminToken}`), weight: 1 }, { arbitrary: headerText, weight: 1 })
    : fc.constantFrom('', `Bearer ${adminToken}`);
  const type = door.page ? 'application/x-www-form-urlencoded' : 'application/json';
  return fc.record(
    {
      authorization,
      'content-type': often(fc.constantFrom(type, `${type}; charset=utf-8`), fc.oneof(fc.constantFrom('text/plain', 'multipart/form-data; boundary=x', `${type}; charset=utf-16`, 'application/json', ''), headerText), 8),
      'idempotency-key': often(fc.constantFrom('k1', '"k2"', 'k3'), headerText),
      cookie: door.service === 'console' ? often(fc.constant('@session'), fc.oneof(headerText.map((text) => `console=${text}`), fc.constantFrom('console=', 'console-kept=x', 'console-way=x', `console=${'0'.repeat(52)}`)), 8) : basketCookie,
      'sec-fetch-site': often(fc.constantFrom('same-origin', 'none'), fc.constantFrom('cross-site', 'same-site', ''), 8),
      origin: often(fc.constant('http://localhost:3000'), fc.constantFrom('https://evil.example', 'null', 'http://localhost:3000.evil.example', '://'), 8),
      host: fc.constantFrom('localhost:3000', 'evil.example', ''),
      'content-encoding': often(fc.constantFrom('identity', ''), fc.constantFrom('gzip', 'br', 'identity, gzip'), 16),
      'x-forwarded-for': headerText,
    },
    { requiredKeys: ['authorization', 'content-type'], noNullPrototype: true },
  );
}

/** What the console's forms have, and some that they have not. */
const deskFields: fc.Arbitrary<[string, string][]> = fc
  .record({
    own: fc.array(
      fc.tuple(
        often(fc.constantFrom('kind', 'do', 'id', 'cause', 'why', 'first', 'key', 'name', 'description', 'price', 'currency', 'quantity', 'carrier', 'trackingNumber', 'trackingUrl', 'next', 'token', '__proto__'), hostileText, 8),
        fc.oneof(fc.constantFrom('parked', 'dead-letters', 'stuck', 'mails', 'bookings', 'retry', 'resolve', '@id0', '@id1', '@id2', '@order0', '4.95', 'GBP', '7', '-1', '1e3', 'Blue mug', adminToken, 'https://example.com/', mark), hostileText),
      ),
      { maxLength: 6 },
    ),
    csrf: often(fc.constant('@csrf'), hostileText, 8),
  })
  .map(({ own, csrf }) => [['csrf', csrf], ...own]);
/** An operator who means it. */
const deskClick: fc.Arbitrary<[string, string][]> = fc.oneof(
  fc.tuple(fc.constantFrom(['parked', '@fit0.1'], ['dead-letters', '@id3'], ['mails', '@order3.confirmation'], ['bookings', '@order3']), fc.constantFrom('retry', 'resolve')).map(([[kind = '', id = ''], act]): [string, string][] => [['csrf', '@csrf'], ['kind', kind], ['id', id], ['do', act]]),
  fc.constantFrom<[string, string][]>(
    [['csrf', '@csrf'], ['name', 'Blue mug'], ['description', ''], ['price', '4.95'], ['currency', 'GBP']], [['csrf', '@csrf'], ['quantity', '7'], ['key', 'a-key']], [['token', adminToken]], [['csrf', '@csrf'], ['kind', 'parked'], ['do', 'retry'], ['cause', 'garbage']],
  ),
);

const fieldsArbitrary: fc.Arbitrary<[string, string][]> = fc.array(
  fc.tuple(
    often(fc.constantFrom('do', 'sku', 'quantity', 'key', 'total', 'name', 'email', 'line1', 'line2', 'city', 'postcode', 'country', '__proto__'), hostileText, 8),
    fc.oneof(fc.constantFrom('add', 'set', ...skus, '1', '0', '-1', '2', '1000000', '10000000', '1e3', ' 7 ', 'GB', 'gb', 'anna@example.com', mark), hostileText),
  ),
  { maxLength: 6 },
);

/** A click of an ordinary customer, on the basket's form or any other. */
const basketChange: fc.Arbitrary<[string, string][]> = fc.oneof(
  fc.constant<[string, string][]>([]),
  fc.tuple(fc.constantFrom('add', 'set'), fc.constantFrom(...skus), fc.constantFrom('0', '1', '7')).map(([word, sku, quantity]): [string, string][] => [['do', word], ['sku', sku], ['quantity', quantity]]),
);

function bodyOf(door: Door): fc.Arbitrary<Ask['body']> {
  const garbage = fc.oneof(hostileText, fc.string({ unit: 'binary', maxLength: 60 }), fc.constantFrom('x'.repeat(1024 * 1024 + 1), '['.repeat(5_000), `[${'0,'.repeat(11_000)}0]`)).map((raw) => ({ raw }));
  if (door.page) {
    if (door.method === 'GET') return fc.constant({ raw: '' });
    if (door.service === 'console') return fc.oneof({ arbitrary: deskFields, weight: 4 }, { arbitrary: deskClick, weight: 6 }).map((fields) => ({ fields, harvest: false }));
    return fc.oneof({ arbitrary: fc.record({ fields: fieldsArbitrary, harvest: fc.boolean() }), weight: 6 }, { arbitrary: basketChange.map((fields) => ({ fields, harvest: true })), weight: 4 }, { arbitrary: garbage, weight: 1 });
  }
  if (!door.body) return fc.oneof({ arbitrary: fc.constant({ raw: '' }), weight: 8 }, { arbitrary: garbage, weight: 1 });
  const fitting = valuesOf(door.body);
  return fc.oneof(
    { arbitrary: fc.record({ value: fitting, mutations: fc.array(mutation, { maxLength: 3 }) }), weight: 9 },
    { arbitrary: fc.record({ value: fitting, mutations: fc.constant([]) }), weight: 4 },
    { arbitrary: fc.record({ value: wild, mutations: fc.array(mutation, { maxLength: 1 }) }), weight: 1 },
    { arbitrary: garbage, weight: 1 },
  );
}

const askOf = (name: DoorName): fc.Arbitrary<Ask> => {
  const door: Door = doors[name];
  return fc.record({ door: fc.constant(name), params: textsOf(door.params), query: queryOf(door), headers: headersOf(door), body: bodyOf(door) }, { noNullPrototype: true });
};

export const asks: fc.Arbitrary<Ask[]> = fc.array(fc.oneof(...names.map((name) => ({ arbitrary: askOf(name), weight: doors[name].method === 'GET' ? 2 : 3 }))), { minLength: 1, maxLength: 400, size: 'max' });

// ---------------------------------------------------------------- a round

/** Asks all of them of one shop. Throws what does not hold, saying of whom. */
export async function roundOfDoors(seed: number, cases: readonly Ask[]): Promise<void> {
  const edge = await openEdge(seed, { deliversAfterSeconds: 5 });
  try {
    const known = await furnish(edge);
    for (const ask of cases) await askOne(edge, known, ask);
    const ordinary = (await edge.world.place(['ORDINARY', 1])).id;
    await edge.rest();
    const status = edge.world.order(ordinary);
    if (status !== 'Delivered') throw new Error(`afterwards an ordinary order is ${status}`);
    // Whoever has the admin token may say on a channel whatever he likes; then the books need not agree.
    if (!known.tampered) await booksAgree(edge, known);
    for (const id of known.orders) await askOne(edge, known, { door: 'orderPage', params: { id }, query: [], headers: {}, body: { raw: '' } }, [200]);
    if (({} as Record<string, unknown>)['polluted'] !== undefined) throw new Error('a prototype has been polluted');
  } finally {
    await edge.close();
  }
}

async function booksAgree({ world }: Edge, known: Found): Promise<void> {
  const faults = (await world.audit()).filter((fault) => !known.faults.includes(fault));
  if (faults.length > 0) throw new Error(`the books do not agree: ${faults.slice(0, 5).join('; ')}`);
  const left = [...world.rows('parked'), ...world.rows('dead')].slice(troubles);
  if (left.length > 0) throw new Error(`requests alone have left something dead or parked: ${JSON.stringify(left)}`);
}

interface Found extends Known {
  orders: string[];
  ids: string[];
  tampered: boolean;
  session: Session;
  /** What the audit found before anything was asked. */
  faults: readonly string[];
}

/** Products, one of them without stock, some orders on their way, and one of each trouble that a person has to look at. */
async function furnish(edge: Edge): Promise<Found> {
  const { world } = edge;
  await world.describe('MUG', 1_000_000);
  await world.describe('CUP', 1_000_000);
  await world.describe('RARE', 3);
  await world.describe('ORDINARY', 9);
  const orders = [(await world.place(['MUG', 1])).id, (await world.place(['RARE', 9])).id];
  const troubled = (await world.place(['CUP', 1])).id;
  world.interfere = ({ method, args }, work) => {
    const about = JSON.stringify(args[0] ?? null);
    if ((method === 'send' && about.includes(`"key":"${troubled}.confirmation"`)) || (method === 'book' && about.includes(troubled))) throw new PortError('denied', 'by the test');
    return work();
  };
  world.engines.queue.send(queues[0]!, ['garbage on a queue'], { now: world.clock.now() });
  world.engines.stream.append(streams[0]!, [{ partitionkey: 'poison', text: 'garbage on a stream' }], world.clock.now());
  await edge.rest();
  world.interfere = undefined;
  orders.push((await world.place(['CUP', 2])).id, troubled);
  const known: Found = { orders, ids: orders.map((id) => `${id}.confirmation`), tampered: false, session: await edge.signIn(), faults: await world.audit() };
  // What can be listed can be asked for.
  for (const name of names.filter((each) => doors[each].method === 'GET' && !('params' in doors[each]) && !('page' in doors[each]))) {
    await askOne(edge, known, { door: name, params: {}, query: [], headers: { authorization: `Bearer ${adminToken}` }, body: { raw: '' } }, [200]);
  }
  return known;
}
/** Two services follow the stream `orders`. */
const troubles = 1 + subscriptions.filter(({ kind, channel }) => kind === 'stream' && channel === streams[0]).length;

/** How often each door has answered what, since the program began: a fuzz that only ever hears 400 has asked nothing. */
export const heard = new Map<string, number>();

async function askOne(edge: Edge, known: Found, ask: Ask, only?: readonly number[]): Promise<void> {
  const door: Door = doors[ask.door];
  const event = await eventOf(edge, known, ask);
  const before = edge.changes();
  let answer: HttpAnswer;
  try {
    answer = await edge.call(ask.door, event);
  } catch (error) {
    throw new Error(`${ask.door} has thrown`, { cause: error });
  }
  heard.set(`${ask.door} ${answer.status}`, (heard.get(`${ask.door} ${answer.status}`) ?? 0) + 1);
  const told = `${ask.door} answered ${answer.status} ${String(answer.body).slice(0, 300)}`;
  if (answer.status >= 500) throw new Error(`${told}: ${JSON.stringify(edge.world.log.lines.at(-1), errorsToo)}`);
  if (only && !only.includes(answer.status)) throw new Error(told);
  if ((answer.status >= 400 || door.method === 'GET') && edge.changes() !== before) throw new Error(`${told}, and has changed something`);
  checkHeaders(answer, told);
  if (door.page) checkPage(door, answer, told);
  else checkJson(ask.door, answer, told);
  remember(known, ask.door, answer);
  if (door.admin && door.service === 'operations' && door.method === 'POST' && answer.status < 300) known.tampered = true;
  if (ask.door === 'consoleDecide' && answer.status === 303) known.tampered = true;
  // Whoever signs out, or in anew, ends the session of the others here.
  if ((ask.door === 'consoleLeave' || ask.door === 'consoleEnter') && answer.status === 303) known.session = await edge.signIn();
}

const errorsToo = (_: string, value: unknown): unknown => (value instanceof Error ? { message: value.message, stack: value.stack?.split('\n').slice(0, 6) } : value);

async function eventOf(edge: Edge, known: Found, { door: name, params, query, headers, body }: Ask): Promise<Partial<HttpEvent>> {
  const door: Door = doors[name];
  const given = Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== '').map(([each, value]) => [each, value === '@session' ? known.session.cookie : value]));
  return {
    method: door.method,
    path: door.path,
    params: resolvedIn(params, known) as Record<string, string>,
    query: new URLSearchParams(query.map(([field, value]): [string, string] => [field, resolved(value, known)])),
    headers: given,
    body: 'raw' in body ? Buffer.from(body.raw) : 'fields' in body ? await formOf(edge, name, given, body, known) : bytesOf(resolvedIn(body.value, known), body.mutations),
  };
}

/** The fields that the page at the same address has, filled in as a customer would, and what is asked for over them. */
async function formOf(edge: Edge, name: DoorName, headers: Record<string, string>, { fields, harvest }: Extract<Ask['body'], { fields: unknown }>, known: Found): Promise<Buffer> {
  const form = new URLSearchParams();
  const above = harvest ? names.find((each) => doors[each].path === doors[name].path && doors[each].method === 'GET') : undefined;
  const page = above && String((await edge.call(above, { headers })).body);
  for (const [, tag = ''] of page?.matchAll(/<(?:input|select)([^>]*)>/g) ?? []) {
    const field = /name="([^"]*)"/.exec(tag)?.[1];
    if (field !== undefined) form.set(field, /value="([^"]*)"/.exec(tag)?.[1] || typed[field] || '');
  }
  for (const [field, value] of fields) {
    if (harvest) form.set(field, resolved(value, known));
    else form.append(field, value === '@csrf' ? known.session.csrf : resolved(value, known));
  }
  return Buffer.from(form.toString());
}
const typed: Readonly<Record<string, string>> = { ...anna, ...home };

function remember(known: Found, name: DoorName, { status, body, headers }: HttpAnswer): void {
  if (status >= 300) return void (/^\/orders\/([0-9a-z]{26})$/.test(headers['location'] ?? '') && known.orders.push(headers['location']!.slice(8)));
  if (typeof body !== 'string' || !headers['content-type']?.includes('json')) return;
  if (name === 'placeOrder') known.orders.push((JSON.parse(body) as { id: string }).id);
  for (const [, id = ''] of body.matchAll(/"(?:id|next)":"([^"]{1,300})"/g)) if (known.ids.length < 100 && !known.ids.includes(id)) known.ids.push(id);
}

// ---------------------------------------------------------------- what may be answered

function checkHeaders({ headers }: HttpAnswer, told: string): void {
  for (const [name, value] of Object.entries(headers)) {
    if (/[^\t\u0020-\u007e\u0080-\u00ff]/.test(value) || name !== name.toLowerCase()) throw new Error(`${told}, with the header ${name}: ${JSON.stringify(value)}`);
  }
  for (const name of ['content-security-policy', 'x-content-type-options', 'referrer-policy', 'cache-control']) if (!headers[name]) throw new Error(`${told}, without ${name}`);
}

/** What a page may say beyond its own: that the request does not fit (400, 413, 415), that another site sent it (403), that there is no such thing (404). */
function checkPage(door: Door, { status, body, headers }: HttpAnswer, told: string): void {
  const declared = [...Object.keys(door.replies).map(Number), ...(door.refuses ?? []), 400, 413, ...(door.method === 'GET' ? [303] : [403, 415]), ...(door.params ? [404] : []), ...(door.console && door.method === 'POST' ? [401] : [])];
  if (!declared.includes(status)) throw new Error(`${told}, which is not declared`);
  if (status !== 303 && !headers['content-type']?.startsWith('text/html')) throw new Error(`${told}, which is no page`);
  if (String(body).includes('<fuzz')) throw new Error(`${told.slice(0, 80)}: a page gives back ${mark}`);
}

interface Operation {
  readonly operationId: string;
  readonly responses: Readonly<Record<string, unknown>>;
}

/** By door, status and media type: what the OpenAPI document declares, read as any client would. */
const declared: ReadonlyMap<string, ReadonlyMap<number, ReadonlyMap<string, z.ZodType>>> = (() => {
  const document = JSON.parse(JSON.stringify(openapi()).replaceAll('#/components/schemas/', '#/$defs/')) as {
    paths: Record<string, Record<string, Operation>>;
    components: { schemas: Record<string, object>; responses: Record<string, object> };
  };
  const { schemas, responses } = document.components;
  const contentOf = (response: object): Record<string, { schema: object }> => {
    const reference = (response as { $ref?: string }).$ref;
    return ((reference === undefined ? response : responses[reference.split('/').at(-1)!]) as { content?: Record<string, { schema: object }> }).content ?? {};
  };
  const shapeOf = ({ schema }: { schema: object }): z.ZodType => z.fromJSONSchema({ ...schema, $defs: schemas } as Parameters<typeof z.fromJSONSchema>[0]);
  const operations = Object.values(document.paths).flatMap((path) => Object.values(path));
  return new Map(
    operations.map(({ operationId, responses: all }) => [
      operationId,
      new Map(Object.entries(all).map(([status, response]) => [Number(status), new Map(Object.entries(contentOf(response as object)).map(([type, content]) => [type, shapeOf(content)]))])),
    ]),
  );
})();

export function checkJson(name: DoorName, { status, body, headers }: HttpAnswer, told: string): void {
  const contents = declared.get(name)?.get(status);
  if (!contents) throw new Error(`${told}, which is not declared`);
  const type = headers['content-type']?.split(';')[0] ?? '';
  if (contents.size === 0) {
    if (String(body) !== '') throw new Error(`${told}, where nothing is declared`);
    return;
  }
  const shape = contents.get(type);
  if (!shape) throw new Error(`${told}, as ${type}, which is not declared`);
  const value = (type === 'text/plain' ? String(body) : JSON.parse(String(body))) as { status?: number };
  const { success, error } = shape.safeParse(value);
  if (!success) throw new Error(`${told}, which is not of the declared shape: ${JSON.stringify(error.issues.slice(0, 3))}`);
  if (status >= 400 && value.status !== status) throw new Error(`${told}: the problem names another status`);
}
