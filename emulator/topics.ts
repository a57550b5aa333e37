import { Invalid } from '../ports/index.ts';
import type { FilterShape, RuleShape } from './config.ts';
import { correlationFilter, factOf, sqlAction, sqlFilter, type Action, type Fact, type Facts, type Filter } from './filter.ts';
import {
  applicationPropertiesSection,
  described,
  double,
  encode,
  entriesOf,
  fieldOf,
  isMap,
  long,
  mapOf,
  propertiesOf,
  takeApart,
  type Sections,
  type Value,
  type Writable,
} from './message.ts';
import { notFound, type Response } from './amqp.ts';
import type { Message } from './queue.ts';

/**
 * Rules of subscriptions: which messages of a topic a subscription gets, and as what. Copying them from the topic is servicebus.ts; the language of filters is filter.ts.
 *
 * Written from https://learn.microsoft.com/azure/service-bus-messaging/: topic-filters (rules without an action give one copy together, each rule with an action one of
 * its own, with the name of the rule in `RuleName`), service-bus-amqp-request-response ("Rule operations"), service-bus-quotas.
 */
export interface Rules {
  /** What the subscription gets of a message: nothing, the message, or changed copies of it. */
  copies(look: Look): Copy[];
  /** False if the name is taken. `Invalid` if the rule does not parse. */
  add(rule: RuleShape): boolean;
  /** False if there is none of that name. */
  remove(name: string): boolean;
  /** Those that there are, in the order in which they came. */
  list(): readonly RuleShape[];
  /** Undefined if it is no operation on rules. */
  request(operation: string, body: ReadonlyMap<string, Value>): Response | undefined;
  /** Applies a change that was recorded before. */
  replay(change: RuleChange): void;
  snapshot(): IterableIterator<RuleChange>;
}

/** What happened to the rules of a subscription and must not be forgotten. The first one puts those aside that it was created with. */
export type RuleChange = { readonly is: 'ruled'; readonly rule: RuleShape } | { readonly is: 'unruled'; readonly name: string } | { readonly is: 'unruled all' };

export interface Copy {
  readonly bytes: Buffer;
  readonly messageId: string | undefined;
  readonly sessionId: string | undefined;
}

/** A message as filters look at it; it is taken apart only if one does, and once for all subscriptions. */
export interface Look {
  readonly message: Message;
  /** Undefined if it cannot be read. */
  readonly seen: { readonly parts: Sections; readonly facts: Facts } | undefined;
}

export const limits = { rulesMax: 2_000, nameMax: 50 } as const;

export const defaultRule: RuleShape = { name: '$Default', filter: { kind: 'sql', expression: '1=1' }, action: undefined };

interface Rule {
  readonly shape: RuleShape;
  /** Undefined takes everything. */
  readonly filter: Filter | undefined;
  readonly action: Action | undefined;
}

/** `given`: without any, there is one that takes everything. */
export function createRules(given: readonly RuleShape[], record: (change: RuleChange) => void = () => undefined): Rules {
  const rules = new Map<string, Rule>();
  let changed = false;
  const keyOf = (name: string): string => name.toLowerCase();
  for (const shape of given.length === 0 ? [defaultRule] : given) if (!insert(shape)) throw new Invalid(`there are two rules '${shape.name}'`);

  function insert(shape: RuleShape): boolean {
    if (shape.name === '' || shape.name.length > limits.nameMax) throw new Invalid(`the name of a rule has 1 to ${limits.nameMax} characters`);
    if (rules.has(keyOf(shape.name))) return false;
    if (rules.size >= limits.rulesMax) throw new Invalid(`a subscription has at most ${limits.rulesMax} rules`);
    rules.set(keyOf(shape.name), ruleOf(shape));
    return true;
  }

  /** From now on what was recorded decides, and no longer what the subscription was created with. */
  function noteAll(): void {
    if (changed) return;
    changed = true;
    for (const change of snapshot()) record(change);
  }

  function* snapshot(): IterableIterator<RuleChange> {
    if (!changed) return;
    yield { is: 'unruled all' };
    for (const { shape } of rules.values()) yield { is: 'ruled', rule: shape };
  }

  function add(shape: RuleShape): boolean {
    if (rules.has(keyOf(shape.name))) return false;
    noteAll();
    const added = insert(shape);
    if (added) record({ is: 'ruled', rule: shape });
    return added;
  }

  function remove(name: string): boolean {
    if (!rules.has(keyOf(name))) return false;
    noteAll();
    rules.delete(keyOf(name));
    record({ is: 'unruled', name });
    return true;
  }

  function replay(change: RuleChange): void {
    changed = true;
    if (change.is === 'unruled all') rules.clear();
    else if (change.is === 'ruled') insert(change.rule);
    else rules.delete(keyOf(change.name));
  }

  function copies(look: Look): Copy[] {
    const { message } = look;
    const found: Copy[] = [];
    let plain = false;
    for (const rule of rules.values()) {
      if ((rule.action === undefined && plain) || !takes(rule, look)) continue;
      if (rule.action === undefined) plain = true;
      found.push(rule.action === undefined ? { bytes: message.bytes, messageId: message.messageId, sessionId: message.sessionId } : changedCopy(look, rule.shape.name, rule.action));
    }
    return found;
  }

  function request(operation: string, body: ReadonlyMap<string, Value>): Response | undefined {
    if (operation === 'com.microsoft:add-rule') return add(ruleIn(body)) ? { status: 200 } : taken;
    if (operation === 'com.microsoft:remove-rule') return remove(textIn(body, 'rule-name')) ? { status: 200 } : missing(textIn(body, 'rule-name'));
    if (operation !== 'com.microsoft:enumerate-rules') return undefined;
    const [skip, top] = ['skip', 'top'].map((key) => Math.max(0, Number(body.get(key) ?? 0)));
    const page = [...rules.values()].slice(skip, skip! + top!);
    return page.length === 0 ? { status: 204 } : { status: 200, body: { rules: page.map(({ shape }) => ({ 'rule-description': encodeRule(shape) })) } };
  }

  return { copies, add, remove, list: () => [...rules.values()].map(({ shape }) => shape), request, replay, snapshot };
}

const taken: Response = { status: 409, condition: 'com.microsoft:entity-already-exists', description: 'There is a rule of that name already.' };
const missing = (rule: string): Response => ({ status: 404, ...notFound(rule) });

/** A message whose properties cannot be read is taken only by those who do not ask for any. */
function takes({ filter, action }: Rule, look: Look): boolean {
  if (filter === undefined && action === undefined) return true;
  return look.seen !== undefined && (filter?.(look.seen.facts) ?? true);
}

/** Throws `Invalid` if it does not parse. */
function ruleOf(shape: RuleShape): Rule {
  return { shape, filter: filterOf(shape.filter), action: shape.action === undefined ? undefined : sqlAction(shape.action) };
}

const systemFields = ['contentType', 'correlationId', 'label', 'messageId', 'replyTo', 'replyToSessionId', 'sessionId', 'to'] as const;

function filterOf(filter: FilterShape): Filter | undefined {
  // So the SDKs write the filter that takes everything.
  if (filter.kind === 'sql') return filter.expression.replaceAll(' ', '') === '1=1' ? undefined : sqlFilter(filter.expression);
  const system = systemFields.flatMap((field) => (filter[field] === undefined ? [] : [[field.toLowerCase(), filter[field]] as const]));
  return correlationFilter({ system: new Map(system), user: new Map(Object.entries(filter.properties).map(([name, value]) => [name, factOf(value)])) });
}

// ---------------------------------------------------------------- messages

export function lookAt(message: Message): Look {
  let seen: Look['seen'];
  let looked = false;
  return {
    message,
    get seen() {
      if (!looked) seen = seenIn(message);
      looked = true;
      return seen;
    },
  };
}

function seenIn(message: Message): Look['seen'] {
  try {
    const parts = takeApart(message.bytes);
    return { parts, facts: factsOf(message, parts) };
  } catch (error) {
    if (error instanceof Invalid) return undefined;
    throw error;
  }
}

function factsOf(message: Message, parts: Sections): Facts {
  const { messageId, correlationId, subject, to, replyTo, groupId, replyToGroupId, contentType } = propertiesOf(parts.properties);
  const annotations = mapOf(parts.annotations);
  const system: Record<string, Fact> = {
    messageid: messageId, correlationid: correlationId, label: subject, subject, to, replyto: replyTo, sessionid: groupId, replytosessionid: replyToGroupId, contenttype: contentType,
    partitionkey: factOf(annotations.get('x-opt-partition-key')),
    scheduledenqueuetimeutc: factOf(annotations.get('x-opt-scheduled-enqueue-time')),
    enqueuedtimeutc: new Date(message.enqueuedAt),
    expiresatutc: message.expiresAt === undefined ? undefined : new Date(message.expiresAt),
    sequencenumber: factOf(message.sequence),
    enqueuedsequencenumber: factOf(message.origin),
    deliverycount: 0n,
    size: factOf(message.bytes.length),
  };
  return { system: new Map(Object.entries(system)), user: new Map([...mapOf(parts.applicationProperties)].map(([name, value]) => [name.toLowerCase(), factOf(value)])) };
}

function changedCopy({ message, seen }: Look, rule: string, action: Action): Copy {
  const { parts, facts } = seen!;
  const changes = action(facts);
  const applicationProperties = changedEntries(parts, new Map([...changes.user, ['RuleName', rule]]));
  const properties = changes.system.size === 0 ? (parts.properties ?? Buffer.alloc(0)) : changedProperties(parts, changes.system);
  const bytes = Buffer.concat([parts.header ?? Buffer.alloc(0), parts.annotations ?? Buffer.alloc(0), properties, applicationProperties, parts.body]);
  const id = (key: string, otherwise: string | undefined): string | undefined => (changes.system.has(key) ? textOfFact(changes.system.get(key)) : otherwise);
  return { bytes, messageId: id('messageid', message.messageId), sessionId: id('sessionid', message.sessionId) };
}

const textOfFact = (fact: Fact): string | undefined => (fact === undefined || fact === null ? undefined : fact instanceof Date ? fact.toISOString() : String(fact));

/** Names are the same whatever their case, and keep the case they had. */
function changedEntries(parts: Sections, changes: ReadonlyMap<string, Fact>): Buffer {
  const entries = new Map<string, Writable>(entriesOf(parts.applicationProperties));
  const known = new Map([...entries.keys()].map((name) => [name.toLowerCase(), name]));
  for (const [name, fact] of changes) {
    const key = known.get(name.toLowerCase()) ?? name;
    if (fact === undefined) entries.delete(key);
    else entries.set(key, writable(fact));
  }
  return applicationPropertiesSection(entries);
}

const writable = (fact: Fact): Writable => (typeof fact === 'bigint' ? long(fact) : typeof fact === 'number' ? double(fact) : fact);

/** Where the properties that an action may change stand in the section: AMQP 1.0, 3.2.4. */
const places: Readonly<Record<string, number>> = { messageid: 0, to: 2, label: 3, subject: 3, replyto: 4, correlationid: 5, contenttype: 6, sessionid: 10, replytosessionid: 12 };

function changedProperties(parts: Sections, changes: ReadonlyMap<string, Fact>): Buffer {
  const fields: Writable[] = Array.from({ length: 13 }, (_, place) => fieldOf(parts.properties, place) ?? null);
  for (const [name, fact] of changes) fields[places[name]!] = textOfFact(fact) ?? null;
  return encode(described(0x73, fields));
}

// ---------------------------------------------------------------- rules on the wire

/** Descriptors: service-bus-amqp-request-response, "Enumerate rules". */
const codes = { rule: 0x13700000004, noAction: 0x13700000005, action: 0x13700000006, sql: 0x1370000006, everything: 0x1370000007, nothing: 0x1370000008, correlation: 0x1370000009 } as const;

function encodeRule({ name, filter, action }: RuleShape): Writable {
  return described(codes.rule, [encodeFilter(filter), action === undefined ? described(codes.noAction, []) : described(codes.action, [action]), name]);
}

function encodeFilter(filter: FilterShape): Writable {
  if (filter.kind === 'sql') {
    const bare = filter.expression.replaceAll(' ', '');
    if (bare === '1=1') return described(codes.everything, []);
    return bare === '1=0' ? described(codes.nothing, []) : described(codes.sql, [filter.expression]);
  }
  const { correlationId, messageId, to, replyTo, label, sessionId, replyToSessionId, contentType, properties } = filter;
  return described(codes.correlation, [correlationId, messageId, to, replyTo, label, sessionId, replyToSessionId, contentType, properties]);
}

function textIn(body: ReadonlyMap<string, Value>, key: string): string {
  const value = body.get(key);
  if (typeof value === 'string' && value !== '') return value;
  throw new Invalid(`${key} must be a text`);
}

function mapIn(body: ReadonlyMap<string, Value>, key: string): ReadonlyMap<string, Value> | undefined {
  const value = body.get(key) ?? null;
  if (value === null) return undefined;
  if (isMap(value)) return value;
  throw new Invalid(`${key} must be a map`);
}

function ruleIn(body: ReadonlyMap<string, Value>): RuleShape {
  const name = textIn(body, 'rule-name');
  const description = mapIn(body, 'rule-description');
  const action = description && mapIn(description, 'sql-rule-action');
  return { name, filter: filterIn(description ?? new Map()), action: action && textIn(action, 'expression') };
}

function filterIn(description: ReadonlyMap<string, Value>): FilterShape {
  const sql = mapIn(description, 'sql-filter');
  const correlation = mapIn(description, 'correlation-filter');
  if (sql) return { kind: 'sql', expression: textIn(sql, 'expression') };
  if (!correlation) throw new Invalid('a rule has an sql-filter or a correlation-filter');
  const texts = Object.fromEntries(
    systemFields.flatMap((field) => {
      const value = correlation.get(field.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)) ?? null;
      if (value !== null && typeof value !== 'string') throw new Invalid(`${field} must be a text`);
      return value === null ? [] : [[field, value] as const];
    }),
  );
  return { kind: 'correlation', ...texts, properties: propertiesIn(correlation) };
}

function propertiesIn(correlation: ReadonlyMap<string, Value>): Record<string, string | number | boolean> {
  const found: Record<string, string | number | boolean> = {};
  for (const [name, value] of mapIn(correlation, 'properties') ?? []) {
    if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'boolean') throw new Invalid(`the property ${name} must be a text, a number, true or false`);
    found[name] = value;
  }
  return found;
}
