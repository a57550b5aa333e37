/**
 * THE GATE between what was released and what is there today: says, in plain words and with a JSON pointer into the released contract, what of it somebody relies on
 * and can no longer have. Pure; it knows JSON Schema and OpenAPI, and nothing of this shop.
 *
 * Two questions decide everything. *Accepts*: do we still read what was written by the released shape? Then nothing may be narrowed. *Emits*: can those who know the
 * released shape read what we write now? Then nothing may be widened, but for fields that they ignore. Of an event both are asked, because old and new programs talk
 * to each other, and old messages lie in outboxes and on streams; of a request the first, of an answer the second.
 *
 * What the gate does not understand and has changed is named as well: it fails closed. It does not see what a schema cannot say.
 */

export type Schema = { readonly [keyword: string]: unknown };
interface Road {
  readonly kind: string;
  readonly channel: string;
  readonly to: readonly string[];
}

export interface EventContract {
  readonly contract: 'event';
  readonly name: string;
  readonly version: number;
  readonly from: string;
  readonly roads: readonly Road[];
  /** Where in the data its subject and partition key stand. */
  readonly key: string;
  readonly schema: Schema;
  /** Earlier versions that are read as well. */
  readonly reads: readonly { readonly version: number; readonly schema: Schema }[];
}
/** The envelope of all events. */
export interface EnvelopeContract {
  readonly contract: 'envelope';
  readonly version: number;
  readonly schema: Schema;
}
/** What stands in the store, by collection and noun. */
export interface RowsContract {
  readonly contract: 'rows';
  readonly version: number;
  readonly schemas: Readonly<Record<string, Schema>>;
}
/** An OpenAPI document. It has no versions: whoever has learned it is not told when we change our mind. */
export interface ApiContract {
  readonly contract: 'api';
  readonly version: number;
  readonly document: Schema;
}
/** The carriers that may speak, and where. */
export interface NoticesContract {
  readonly contract: 'notices';
  readonly version: number;
  readonly carriers: readonly string[];
}
export type Contract = EventContract | EnvelopeContract | RowsContract | ApiContract | NoticesContract;

export function incompatibilities(released: Contract, today: Contract | undefined): string[] {
  if (today === undefined) return [`: ${nameOf(released)} is gone, and some of it may still be under way`];
  if (today.version < released.version) return [`/version: has gone back from ${released.version} to ${today.version}`];
  switch (released.contract) {
    case 'event':
      return today.contract === 'event' ? ofEvent(released, today) : otherKind(today);
    case 'envelope':
      return today.contract === 'envelope' ? compared(rootsOf(released, today), released.schema, today.schema, '/schema', both) : otherKind(today);
    case 'rows':
      return today.contract === 'rows' ? ofRows(released, today) : otherKind(today);
    case 'api':
      return today.contract === 'api' ? ofApi(released.document, today.document) : otherKind(today);
    case 'notices':
      return today.contract === 'notices' ? gone('/carriers', released.carriers, today.carriers, (name) => `${name} is no longer understood`) : otherKind(today);
  }
}

const rootsOf = (released: { readonly schema: Schema }, today: { readonly schema: Schema }): Roots => ({ released: released.schema, today: today.schema, at: '/schema' });
export const nameOf = (contract: Contract): string => (contract.contract === 'event' ? contract.name : contract.contract);
const otherKind = (today: Contract): string[] => [`/contract: is of another kind now, ${today.contract}`];
const gone = (at: string, before: readonly string[], after: readonly string[], words: (name: string) => string): string[] =>
  before.flatMap((name, i) => (after.includes(name) ? [] : [`${at}/${i}: ${words(name)}`]));

// ---------------------------------------------------------------- events and rows

function ofEvent(released: EventContract, today: EventContract): string[] {
  const found: string[] = [];
  if (today.from !== released.from) found.push(`/from: was said by ${released.from}, is said by ${today.from}: its source, and with it its identity, is another one`);
  if (today.key !== released.key) found.push(`/key: its subject and partition key were ${released.key}, are ${today.key}: what is said now no longer keeps its order behind what was said before`);
  released.roads.forEach((road, i) => found.push(...ofRoad(road, today.roads, `/roads/${i}`)));
  return [...found, ...ofVersions(released, today)];
}

function ofRoad({ kind, channel, to }: Road, roads: readonly Road[], at: string): string[] {
  const now = roads.find((road) => road.channel === channel);
  if (!now) return [`${at}/channel: no longer travels on ${channel}: what waits there has no reader`];
  if (now.kind !== kind) return [`${at}/kind: ${channel} was a ${kind}, is a ${now.kind}`];
  // A stream may lose a listener who no longer cares; the work of a queue must not change hands, for it is half done.
  return kind === 'queue' && now.to.join() !== to.join() ? [`${at}/to: the work of ${channel} was for ${to.join()}, is for ${now.to.join()}`] : [];
}

function ofVersions(released: EventContract, today: EventContract): string[] {
  if (today.version === released.version) return compared(rootsOf(released, today), released.schema, today.schema, '/schema', both);
  const reader = today.reads.find(({ version }) => version === released.version);
  if (!reader) return [`/version: nobody reads version ${released.version} any more, and it may still lie in an outbox, on a stream, or be parked: the row in core/flow.ts needs it in \`earlier\``];
  return compared(rootsOf(released, reader), released.schema, reader.schema, '/schema', accepts);
}

function ofRows(released: RowsContract, today: RowsContract): string[] {
  if (today.version > released.version) return []; // what reading them takes is shown by the archived rows themselves
  return Object.entries(released.schemas).flatMap(([noun, schema]) => {
    const now = today.schemas[noun];
    const at = `/schemas/${escaped(noun)}`;
    return now ? compared({ released: schema, today: now, at }, schema, now, at, both) : [`${at}: no such row is written any more; who still reads the old ones?`];
  });
}

// ---------------------------------------------------------------- JSON Schema

interface Use {
  /** We read what was written by the released shape. */
  readonly accepts: boolean;
  /** What we write is read by the released shape. */
  readonly emits: boolean;
}
const both: Use = { accepts: true, emits: true };
const accepts: Use = { accepts: true, emits: false };
const emits: Use = { accepts: false, emits: true };

/** The documents in which references are looked up, and where the released one stands in its contract. */
interface Roots {
  readonly released: unknown;
  readonly today: unknown;
  readonly at: string;
}
type Compare = (before: unknown, now: unknown, at: string) => string[];

/** What is referred to is compared once for each use; what refers to itself is compared up to there. */
function compared(roots: Roots, before: unknown, now: unknown, at: string, use: Use): string[] {
  const known = new Map<string, string[]>();
  const compare: Compare = (one, other, place) => {
    const [was, from] = resolved(roots.released, one);
    const [is, to] = resolved(roots.today, other);
    const inside = from === undefined ? place : roots.at + from;
    const pair = from === undefined && to === undefined ? undefined : `${inside} ${to}`;
    const found = pair === undefined ? undefined : known.get(pair);
    if (found) return found;
    if (pair !== undefined) known.set(pair, []);
    const all = ofBranches(branches(roots.released, was), branches(roots.today, is), inside, use, compare);
    if (pair !== undefined) known.set(pair, all);
    return all;
  };
  return [...new Set(compare(before, now, at))];
}

/** Follows references; a place that is referred to has a pointer of its own. */
function resolved(root: unknown, schema: unknown): [Schema, string | undefined] {
  let found = schema;
  let place: string | undefined;
  while (isSchema(found) && typeof found['$ref'] === 'string') {
    const { $ref: ref, ...rest } = found;
    place = String(ref).slice(1);
    const target = place.split('/').slice(1).reduce<unknown>((node, part) => (isSchema(node) ? node[part.replaceAll('~1', '/').replaceAll('~0', '~')] : undefined), root);
    found = isSchema(target) ? { ...target, ...rest } : { unresolved: ref };
  }
  return [isSchema(found) ? found : found === false ? { not: {} } : {}, place];
}

const isSchema = (value: unknown): value is Schema => typeof value === 'object' && value !== null && !Array.isArray(value);

/** A shape that may be one of several things, as those things; each has one type, or any. */
function branches(root: unknown, schema: Schema): Schema[] {
  const { anyOf, oneOf, ...rest } = schema;
  const either = anyOf ?? oneOf;
  if (Array.isArray(either)) return either.flatMap((each) => branches(root, { ...rest, ...resolved(root, each)[0] }));
  if (Array.isArray(schema['type'])) return schema['type'].map((type: unknown) => ({ ...schema, type }));
  return [schema];
}

function ofBranches(before: readonly Schema[], now: readonly Schema[], at: string, use: Use, compare: Compare): string[] {
  if (before.length === 1 && now.length === 1) return ofOne(before[0]!, now[0]!, at, use, compare);
  const found: string[] = [];
  const fits = (was: Schema, is: Schema, how: Use): string[] => ofOne(was, is, at, how, compare);
  for (const was of use.accepts ? before : []) found.push(...best(now, typeOf(was), (is) => fits(was, is, accepts), `${at}: may no longer be ${typeOf(was)}, and was`));
  for (const is of use.emits ? now : []) found.push(...best(before, typeOf(is), (was) => fits(was, is, emits), `${at}: may be ${typeOf(is)} now, which readers of the released shape do not know`));
  return [...new Set(found)];
}

/** What is wrong with the candidate that fits best. */
function best(candidates: readonly Schema[], type: string, fits: (candidate: Schema) => string[], none: string): string[] {
  const tried = candidates.filter((candidate) => typeOf(candidate) === type || isWithin(type, typeOf(candidate))).map(fits);
  return tried.length === 0 ? [none] : tried.reduce((one, other) => (other.length < one.length ? other : one));
}

const typeOf = (schema: Schema): string => (typeof schema['type'] === 'string' ? schema['type'] : typesOfValues(schema));
function typesOfValues(schema: Schema): string {
  const values = valuesOf(schema);
  const types = new Set(values?.map((value) => (value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value)));
  return types.size === 1 ? [...types][0]! : 'anything';
}
const isWithin = (narrow: string, wide: string): boolean => narrow === wide || wide === 'anything' || (narrow === 'integer' && wide === 'number');

function ofOne(was: Schema, is: Schema, at: string, use: Use, compare: Compare): string[] {
  const [before, now] = [typeOf(was), typeOf(is)];
  const kept = (!use.accepts || isWithin(before, now)) && (!use.emits || isWithin(now, before));
  if (!kept) return [`${at}/type: was ${before}, is ${now}`];
  return [
    ...ofValues(was, is, at, use),
    ...Object.entries(bounds).flatMap(([keyword, side]) => ofBound(keyword, side, was[keyword], is[keyword], at, use)),
    ...ofFields(was, is, at, use, compare),
    ...ofItems(was, is, at, compare),
    ...ofOthers(was, is, at, use),
  ];
}

const valuesOf = (schema: Schema): readonly unknown[] | undefined => ('const' in schema ? [schema['const']] : Array.isArray(schema['enum']) ? (schema['enum'] as unknown[]) : undefined);

function ofValues(was: Schema, is: Schema, at: string, use: Use): string[] {
  const [before, now] = [valuesOf(was), valuesOf(is)];
  const place = `${at}/${'const' in was ? 'const' : 'enum'}`;
  if (!before && !now) return [];
  if (!before) return use.accepts ? [`${place}: only ${listed(now!)} is taken now, and everything was`] : [];
  if (!now) return use.emits ? [`${place}: may be anything now, and readers know only ${listed(before)}`] : [];
  const missing = (from: readonly unknown[], other: readonly unknown[]): unknown[] => from.filter((value) => !other.some((each) => isSame(each, value)));
  const [less, more] = [missing(before, now), missing(now, before)];
  return [
    ...(use.accepts && less.length > 0 ? [`${place}: no longer has ${listed(less)}`] : []),
    ...(use.emits && more.length > 0 ? [`${place}: has ${listed(more)} as well, which those who tell the values apart do not know`] : []),
  ];
}
const listed = (values: readonly unknown[]): string => values.map((value) => JSON.stringify(value)).join(', ');

type Side = 'most' | 'least' | 'rule';
const bounds: Readonly<Record<string, Side>> = {
  maximum: 'most', exclusiveMaximum: 'most', maxLength: 'most', maxItems: 'most', maxProperties: 'most',
  minimum: 'least', exclusiveMinimum: 'least', minLength: 'least', minItems: 'least', minProperties: 'least',
  pattern: 'rule', format: 'rule', multipleOf: 'rule', contentEncoding: 'rule', contentMediaType: 'rule', uniqueItems: 'rule',
};

function ofBound(keyword: string, side: Side, was: unknown, is: unknown, at: string, use: Use): string[] {
  if (isSame(was, is)) return [];
  // Of two rules nobody can say in general which one takes more.
  const narrower = side === 'rule' ? is !== undefined : is !== undefined && (was === undefined || (side === 'most' ? Number(is) < Number(was) : Number(is) > Number(was)));
  const wider = side === 'rule' ? was !== undefined : !narrower;
  const change = `${at}/${keyword}: was ${was === undefined ? 'free' : JSON.stringify(was)}, is ${is === undefined ? 'free' : JSON.stringify(is)}`;
  if (use.accepts && narrower) return [`${change}: what was written before may no longer be taken`];
  return use.emits && wider ? [`${change}: who knows the released shape may not take what is written now`] : [];
}

function ofFields(was: Schema, is: Schema, at: string, use: Use, compare: Compare): string[] {
  const [before, now] = [fieldsOf(was), fieldsOf(is)];
  const found: string[] = [];
  for (const [name, field] of before.fields) {
    const place = `${at}/properties/${escaped(name)}`;
    const other = now.fields.get(name);
    if (other === undefined) found.push(`${place}: is gone (dropped or renamed), and somebody may read or say it`);
    else found.push(...compare(field, other, place));
    if (other === undefined) continue;
    if (use.emits && before.required.has(name) && !now.required.has(name)) found.push(`${place}: was always there, and may be missing now`);
    if (use.accepts && !before.required.has(name) && now.required.has(name)) found.push(`${place}: could be missing, and must be there now`);
  }
  for (const name of now.fields.keys()) {
    if (before.fields.has(name)) continue;
    const place = `${at}/properties/${escaped(name)}`;
    if (use.accepts && now.required.has(name)) found.push(`${place}: is new and must be there, but older ones do not have it; let it be optional`);
    if (use.emits && was['additionalProperties'] === false) found.push(`${place}: is new, and those who know the released shape take no field more`);
  }
  return [...found, ...ofMore(was, is, at, use, compare)];
}

function fieldsOf(schema: Schema): { readonly fields: ReadonlyMap<string, unknown>; readonly required: ReadonlySet<unknown> } {
  const { properties, required } = schema;
  return { fields: new Map(isSchema(properties) ? Object.entries(properties) : []), required: new Set(Array.isArray(required) ? required : []) };
}

/** Fields that have no name in the schema. */
function ofMore(was: Schema, is: Schema, at: string, use: Use, compare: Compare): string[] {
  const [before, now] = [was['additionalProperties'] ?? true, is['additionalProperties'] ?? true];
  const place = `${at}/additionalProperties`;
  if (before === false && now === false) return [];
  if (now === false) return use.accepts ? [`${place}: is closed: what says more than is known was taken, and no longer is`] : [];
  if (before === false) return use.emits ? [`${place}: was closed, is open: who knows the released shape takes no field more`] : [];
  const names = 'propertyNames' in was || 'propertyNames' in is ? compare(was['propertyNames'] ?? true, is['propertyNames'] ?? true, `${at}/propertyNames`) : [];
  return before === true && now === true ? names : [...compare(before, now, place), ...names];
}

function ofItems(was: Schema, is: Schema, at: string, compare: Compare): string[] {
  const found = 'items' in was || 'items' in is ? compare(was['items'] ?? true, is['items'] ?? true, `${at}/items`) : [];
  const [before, now] = [was['prefixItems'], is['prefixItems']].map((items) => (Array.isArray(items) ? (items as unknown[]) : []));
  if (before!.length !== now!.length) return [...found, `${at}/prefixItems: had ${before!.length} places, has ${now!.length}`];
  return [...found, ...before!.flatMap((item, i) => compare(item, now![i], `${at}/prefixItems/${i}`))];
}

/** What explains and does not bind. */
const notes = new Set(['title', 'description', 'examples', 'example', '$schema', '$id', 'id', '$comment', '$defs', 'definitions', 'deprecated', 'readOnly', 'writeOnly']);
const judged = new Set([...Object.keys(bounds), 'type', 'const', 'enum', 'properties', 'required', 'additionalProperties', 'propertyNames', 'items', 'prefixItems']);

/** Everything else: what a rule of its own would be needed for, as a unit, is not allowed to change. A default counts for those who leave the field out. */
function ofOthers(was: Schema, is: Schema, at: string, use: Use): string[] {
  const keywords = new Set([...Object.keys(was), ...Object.keys(is)]);
  return [...keywords].flatMap((keyword) => {
    if (notes.has(keyword) || judged.has(keyword) || isSame(was[keyword], is[keyword])) return [];
    if (keyword === 'default' && (was['default'] === undefined || !use.accepts)) return [];
    return [`${at}/${keyword}: was ${JSON.stringify(was[keyword]) ?? 'not there'}, is ${JSON.stringify(is[keyword]) ?? 'not there'}`];
  });
}

function isSame(one: unknown, other: unknown): boolean {
  if (one === other) return true;
  if (typeof one !== 'object' || typeof other !== 'object' || one === null || other === null) return false;
  const names = new Set([...Object.keys(one), ...Object.keys(other)]);
  return Array.isArray(one) === Array.isArray(other) && [...names].every((name) => isSame((one as Schema)[name], (other as Schema)[name]));
}

const escaped = (part: string): string => part.replaceAll('~', '~0').replaceAll('/', '~1');

// ---------------------------------------------------------------- OpenAPI

const methods = ['get', 'put', 'post', 'patch', 'delete', 'head', 'options'] as const;

function ofApi(released: Schema, today: Schema): string[] {
  const roots: Roots = { released, today, at: '' };
  const found = (['paths', 'webhooks'] as const).flatMap((section) => {
    const [before, now] = [record(released[section]), record(today[section])];
    return Object.entries(before).flatMap(([path, item]) => methods.flatMap((method) => {
      const operation = record(item)[method];
      if (!isSchema(operation)) return [];
      const at = `/${section}/${escaped(path)}/${method}`;
      const other = record(now[path])[method];
      return isSchema(other) ? ofOperation(roots, operation, other, at) : [`${at}: this door is gone, or has another address`];
    }));
  });
  return [...new Set(found)];
}

const record = (value: unknown): Schema => (isSchema(value) ? value : {});
const list = (value: unknown): readonly Schema[] => (Array.isArray(value) ? value.filter(isSchema) : []);

function ofOperation(roots: Roots, was: Schema, is: Schema, at: string): string[] {
  return [
    ...(was['operationId'] === is['operationId'] ? [] : [`${at}/operationId: was ${String(was['operationId'])}, is ${String(is['operationId'])}: made clients call it by this name`]),
    ...ofSecurity(was['security'], is['security'], at),
    ...ofParameters(roots, was, is, at),
    ...ofBody(roots, was['requestBody'], is['requestBody'], `${at}/requestBody`),
    ...ofReplies(roots, record(was['responses']), record(is['responses']), `${at}/responses`),
  ];
}

/** Alternatives; none at all lets everybody in. */
function ofSecurity(was: unknown, is: unknown, at: string): string[] {
  const [before, now] = [list(was), list(is)];
  const lets = (schemes: Schema): boolean => now.length === 0 || now.some((each) => Object.keys(each).every((name) => name in schemes));
  return (before.length === 0 ? [{}] : before).every(lets) ? [] : [`${at}/security: asks for ${now.map((each) => Object.keys(each).join(' and ')).join(' or ')}, and did not`];
}

function ofParameters(roots: Roots, was: Schema, is: Schema, at: string): string[] {
  const parameters = (operation: Schema, root: unknown): Schema[] => list(operation['parameters']).map((each) => resolved(root, each)[0]);
  const [before, now] = [parameters(was, roots.released), parameters(is, roots.today)];
  const same = (one: Schema) => (other: Schema): boolean => one['in'] === other['in'] && String(one['name']).toLowerCase() === String(other['name']).toLowerCase();
  const found = before.flatMap((parameter, i) => {
    const place = `${at}/parameters/${i}`;
    const other = now.find(same(parameter));
    const what = `the ${String(parameter['in'])} parameter ${String(parameter['name'])}`;
    if (!other) return [`${place}: ${what} is gone (dropped or renamed), and callers say it`];
    const must = other['required'] === true && parameter['required'] !== true ? [`${place}/required: ${what} could be left out, and must be there now`] : [];
    return [...must, ...compared(roots, parameter['schema'], other['schema'], `${place}/schema`, accepts)];
  });
  const news = now.filter((parameter) => parameter['required'] === true && !before.some(same(parameter)));
  return [...found, ...news.map((parameter) => `${at}/parameters: the ${String(parameter['in'])} parameter ${String(parameter['name'])} is new and must be there, and callers do not know it`)];
}

function ofBody(roots: Roots, was: unknown, is: unknown, at: string): string[] {
  if (!isSchema(was)) return isSchema(is) && is['required'] === true ? [`${at}: a body must be there now, and callers send none`] : [];
  if (!isSchema(is)) return [`${at}: is gone, and callers send it`];
  const must = is['required'] === true && was['required'] !== true ? [`${at}/required: the body could be left out, and must be there now`] : [];
  return [...must, ...ofContent(roots, was, is, at, accepts)];
}

function ofContent(roots: Roots, was: Schema, is: Schema, at: string, use: Use): string[] {
  const now = record(is['content']);
  return Object.entries(record(was['content'])).flatMap(([type, media]) => {
    const place = `${at}/content/${escaped(type)}`;
    const other = now[type];
    return isSchema(other) ? compared(roots, record(media)['schema'] ?? true, other['schema'] ?? true, `${place}/schema`, use) : [`${place}: ${type} is gone`];
  });
}

const isSuccess = (status: string): boolean => /^[123]/.test(status);

/** Whoever calls tells successes apart by their number; errors, by their class (RFC 9110, 15): so these may come and go. */
function ofReplies(roots: Roots, was: Schema, is: Schema, at: string): string[] {
  const found = Object.entries(was).flatMap(([status, reply]) => {
    const [before] = resolved(roots.released, reply);
    const place = `${at}/${status}`;
    if (!(status in is)) return isSuccess(status) ? [`${place}: is no longer answered, and callers wait for it`] : [];
    const [now] = resolved(roots.today, is[status]);
    const headers = Object.keys(record(before['headers'])).filter((name) => !(name in record(now['headers'])));
    return [...headers.map((name) => `${place}/headers/${escaped(name)}: is gone`), ...ofContent(roots, before, now, place, emits)];
  });
  const news = Object.keys(is).filter((status) => isSuccess(status) && !(status in was));
  return [...found, ...news.map((status) => `${at}: ${status} may be answered now, which callers do not know`)];
}
