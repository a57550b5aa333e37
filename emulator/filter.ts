import { randomUUID } from 'node:crypto';
import { Invalid } from '../ports/index.ts';

/**
 * Filters and actions of rules: which messages a subscription takes, and what it changes in them. No wire: what is asked about a message is `Facts`.
 *
 * Written from https://learn.microsoft.com/azure/service-bus-messaging/: service-bus-messaging-sql-filter (grammar, unknown values), service-bus-messaging-sql-rule-action,
 * topic-filters (correlation), service-bus-quotas (1,024 characters, 32 statements).
 *
 * An expression is parsed once, into closures; what does not parse is `Invalid` with its place, and so are system properties that do not exist and parameters without a
 * value. At run time there are three truths: a property that a message does not have is unknown, what is reckoned with it is unknown, and only what is true is taken.
 * Operands that do not go together (a text and a number) are unknown as well.
 */

/** `undefined` is unknown. Whole numbers are bigints of 64 bits, so that 7 / 2 is 3, as in C#; other numbers are doubles. */
export type Fact = string | bigint | number | boolean | Date | null | undefined;

export interface Facts {
  /** By the names of `systemNames`. */
  readonly system: ReadonlyMap<string, Fact>;
  /** Application properties; names in lower case, because their case does not matter. */
  readonly user: ReadonlyMap<string, Fact>;
}

export type Filter = (facts: Facts) => boolean;

/** What an action does to a message: values to be set, and undefined for what is to be removed. Names of user properties as the action spells them. */
export interface Changes {
  readonly system: ReadonlyMap<string, Fact>;
  readonly user: ReadonlyMap<string, Fact>;
}
export type Action = (facts: Facts) => Changes;

export const limits = { charactersMax: 1_024, depthMax: 50, statementsMax: 32 } as const;

/** The names after `sys.`, in lower case. */
export const systemNames = new Set([
  'messageid', 'correlationid', 'label', 'subject', 'to', 'replyto', 'sessionid', 'replytosessionid', 'contenttype', 'partitionkey',
  'enqueuedtimeutc', 'scheduledenqueuetimeutc', 'expiresatutc', 'sequencenumber', 'enqueuedsequencenumber', 'deliverycount', 'size',
]);
/** Those that an action may change. */
const settable = new Set(['messageid', 'correlationid', 'label', 'subject', 'to', 'replyto', 'sessionid', 'replytosessionid', 'contenttype']);

/** `Invalid` says what was expected and where. Parameters are named without their `@`. */
export function sqlFilter(expression: string, parameters: Readonly<Record<string, Fact>> = {}): Filter {
  const parser = createParser(expression, parameters);
  const holds = parser.predicate();
  parser.end();
  return (facts) => holds(facts) === true;
}

/** Statements `SET property = expression` and `REMOVE property`, each seeing what those before it did. A value that is unknown leaves the property as it is. */
export function sqlAction(text: string, parameters: Readonly<Record<string, Fact>> = {}): Action {
  const statements = createParser(text, parameters).statements();
  return (facts) => {
    const system = new Map<string, Fact>();
    const user = new Map<string, Fact>();
    const now = { system: new Map(facts.system), user: new Map(facts.user) };
    for (const { property, value } of statements) {
      const found = value?.(now);
      if (value !== undefined && found === undefined) continue;
      now[property.scope].set(property.key, found);
      (property.scope === 'system' ? system : user).set(property.scope === 'system' ? property.key : property.name, found);
    }
    return { system, user };
  };
}

export interface Correlation {
  /** By the names of `systemNames`. */
  readonly system: ReadonlyMap<string, string>;
  readonly user: ReadonlyMap<string, Fact>;
}

/** All that it names must be there and equal, by type and by case. `Invalid` if it names nothing. */
export function correlationFilter({ system, user }: Correlation): Filter {
  if (system.size + user.size === 0) throw new Invalid('a correlation filter has at least one condition');
  const wanted = [...user].map(([name, value]) => [name.toLowerCase(), value] as const);
  return (facts) => [...system].every(([name, value]) => facts.system.get(name) === value) && wanted.every(([name, value]) => equal(facts.user.get(name), value) === true);
}

/** As an expression sees a value of a message. */
export function factOf(value: unknown): Fact {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : value;
  if (typeof value === 'string' || typeof value === 'bigint' || typeof value === 'boolean' || value === null || value instanceof Date) return value;
  return undefined;
}

// ---------------------------------------------------------------- words

interface Token {
  readonly kind: 'word' | 'name' | 'text' | 'number' | 'parameter' | 'sign' | 'end';
  /** Of words the capitals; of names and texts the content. */
  readonly text: string;
  readonly written: string;
  readonly at: number;
}

const keywords = new Set(['AND', 'OR', 'NOT', 'IN', 'LIKE', 'ESCAPE', 'IS', 'NULL', 'EXISTS', 'TRUE', 'FALSE', 'SET', 'REMOVE']);

const shapes: readonly (readonly [Token['kind'], RegExp])[] = [
  ['name', /\p{L}[\p{L}\p{Nd}_]*/uy],
  ['name', /\[(?:[^\]]|\]\])+\]/uy],
  ['name', /"(?:[^"]|"")+"/uy],
  ['text', /'(?:[^']|'')*'/uy],
  ['number', /(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?/uy],
  ['parameter', /@[\p{L}_][\p{L}\p{Nd}_]*/uy],
  ['sign', /<>|!=|<=|>=|[=<>+\-*/%(),.;]/uy],
];

function tokensOf(text: string): Token[] {
  if (text.length > limits.charactersMax) throw new Invalid(`an expression has at most ${limits.charactersMax} characters`);
  const tokens: Token[] = [];
  for (let at = text.search(/\S|$/); at < text.length; at += text.slice(at).search(/\S|$/)) {
    const token = tokenAt(text, at);
    tokens.push(token);
    at += token.written.length;
  }
  return [...tokens, { kind: 'end', text: '', written: 'the end', at: text.length }];
}

function tokenAt(text: string, at: number): Token {
  for (const [kind, shape] of shapes) {
    shape.lastIndex = at;
    const written = shape.exec(text)?.[0];
    if (written !== undefined) return tokenOf(kind, written, at);
  }
  throw new Invalid(`the expression cannot be read at ${at + 1}: ${text.slice(at, at + 20)}`);
}

function tokenOf(kind: Token['kind'], written: string, at: number): Token {
  const first = written[0]!;
  const inside = written.slice(1, -1);
  if (kind === 'parameter') return { kind, text: written.slice(1), written, at };
  if (first === "'") return { kind, text: inside.replaceAll("''", "'"), written, at };
  if (first === '"') return { kind, text: inside.replaceAll('""', '"'), written, at };
  if (first === '[') return { kind, text: inside.replaceAll(']]', ']'), written, at };
  const capitals = written.toUpperCase();
  return kind === 'name' && keywords.has(capitals) ? { kind: 'word', text: capitals, written, at } : { kind, text: written, written, at };
}

// ---------------------------------------------------------------- grammar

type Truth = boolean | undefined;
type Predicate = (facts: Facts) => Truth;
type Expression = (facts: Facts) => Fact;
/** Brackets may hold either, so what a part is shows only when it has been read. */
type Part = { readonly predicate: Predicate } | { readonly expression: Expression; readonly property?: Property | undefined };

interface Property {
  readonly scope: 'system' | 'user';
  readonly key: string;
  readonly name: string;
}
interface Statement {
  readonly property: Property;
  /** None: remove it. */
  readonly value: Expression | undefined;
}

interface Parser {
  predicate(): Predicate;
  statements(): Statement[];
  end(): void;
}

function createParser(source: string, parameters: Readonly<Record<string, Fact>>): Parser {
  const tokens = tokensOf(source);
  let at = 0;
  let depth = 0;

  const here = (): Token => tokens[at]!;
  const isNext = (kind: 'sign' | 'word', ...texts: string[]): boolean => here().kind === kind && texts.includes(here().text);
  const wrong = (expected: string): Invalid => new Invalid(`the expression has '${here().written}' at ${here().at + 1} where ${expected} was expected`);

  function accept(kind: 'sign' | 'word', ...texts: string[]): string | undefined {
    return isNext(kind, ...texts) ? tokens[at++]!.text : undefined;
  }

  function expect(kind: 'sign' | 'word', text: string): void {
    if (accept(kind, text) === undefined) throw wrong(`'${text}'`);
  }

  function deeper<T>(read: () => T): T {
    if (++depth > limits.depthMax) throw new Invalid(`an expression is nested at most ${limits.depthMax} deep`);
    const found = read();
    depth--;
    return found;
  }

  // ---- predicates, the loosest first

  function predicate(part: Part = disjunction()): Predicate {
    if ('predicate' in part) return part.predicate;
    throw wrong('a comparison');
  }

  function expression(part: Part = sum()): Expression {
    if ('expression' in part) return part.expression;
    throw wrong('a value instead of a condition');
  }

  function disjunction(): Part {
    let left = conjunction();
    while (accept('word', 'OR')) left = { predicate: or(predicate(left), predicate(conjunction())) };
    return left;
  }

  function conjunction(): Part {
    let left = negation();
    while (accept('word', 'AND')) left = { predicate: and(predicate(left), predicate(negation())) };
    return left;
  }

  function negation(): Part {
    if (!accept('word', 'NOT')) return comparison();
    const inner = predicate(deeper(negation));
    return { predicate: not(inner) };
  }

  function comparison(): Part {
    const left = sum();
    const sign = accept('sign', '=', '<>', '!=', '>', '>=', '<', '<=');
    if (sign !== undefined) return { predicate: compare(sign, expression(left), expression()) };
    if (accept('word', 'IS')) return isNull(left);
    const negated = accept('word', 'NOT') !== undefined;
    const found = accept('word', 'IN') ? isIn(expression(left)) : accept('word', 'LIKE') ? isLike(expression(left)) : undefined;
    if (found !== undefined) return { predicate: negated ? not(found) : found };
    if (negated) throw wrong("'IN' or 'LIKE'");
    return left;
  }

  function isNull(left: Part): Part {
    const value = expression(left);
    if (!('property' in left) || left.property === undefined) throw wrong('a property before IS');
    const negated = accept('word', 'NOT') !== undefined;
    expect('word', 'NULL');
    return { predicate: (facts) => ((value(facts) ?? null) === null) !== negated };
  }

  function isIn(left: Expression): Predicate {
    expect('sign', '(');
    const items = [expression()];
    while (accept('sign', ',')) items.push(expression());
    expect('sign', ')');
    return (facts) => items.map((item) => equal(left(facts), item(facts))).reduce<Truth>(either, false);
  }

  function isLike(left: Expression): Predicate {
    const pattern = expression();
    const escape = accept('word', 'ESCAPE') ? expression() : () => '';
    return (facts) => like(left(facts), pattern(facts), escape(facts));
  }

  // ---- values

  function sum(): Part {
    let left = product();
    for (let sign = accept('sign', '+', '-'); sign; sign = accept('sign', '+', '-')) left = { expression: reckon(sign, expression(left), expression(product())) };
    return left;
  }

  function product(): Part {
    let left = unary();
    for (let sign = accept('sign', '*', '/', '%'); sign; sign = accept('sign', '*', '/', '%')) left = { expression: reckon(sign, expression(left), expression(unary())) };
    return left;
  }

  function unary(): Part {
    const sign = accept('sign', '+', '-');
    if (sign === undefined) return primary();
    // Written as one constant, because the smallest whole number has no positive one.
    if (sign === '-' && here().kind === 'number') return { expression: constant(numberOf(`-${tokens[at++]!.text}`)) };
    const inner = expression(deeper(unary));
    return { expression: (facts) => signed(sign, inner(facts)) };
  }

  function primary(): Part {
    const { kind, text } = here();
    if (accept('sign', '(')) return inBrackets();
    if (accept('word', 'EXISTS')) return exists();
    if (kind === 'text') return literal(text);
    if (kind === 'number') return literal(numberOf(text));
    if (kind === 'parameter') return literal(parameter(text));
    if (accept('word', 'NULL')) return { expression: constant(null) };
    const truth = accept('word', 'TRUE', 'FALSE');
    if (truth) return { expression: constant(truth === 'TRUE') };
    if (tokens[at + 1]?.text === '(' && tokens[at + 1]?.kind === 'sign') return call();
    const property = propertyHere();
    return { expression: valueOf(property), property };
  }

  function literal(value: Fact): Part {
    at++;
    return { expression: constant(value) };
  }

  function inBrackets(): Part {
    const inner = deeper(disjunction);
    expect('sign', ')');
    return inner;
  }

  function exists(): Part {
    expect('sign', '(');
    const value = valueOf(propertyHere());
    expect('sign', ')');
    return { predicate: (facts) => value(facts) !== undefined };
  }

  function call(): Part {
    const name = here().kind === 'name' ? here().text.toLowerCase() : '';
    if (name !== 'newid' && name !== 'property' && name !== 'p') throw wrong('newid, property or p');
    at += 2;
    if (name === 'newid') {
      expect('sign', ')');
      return { expression: () => randomUUID() };
    }
    const inner = deeper(() => expression());
    expect('sign', ')');
    return { expression: (facts) => named(facts, inner(facts)) };
  }

  function propertyHere(): Property {
    const first = nameHere();
    if (!accept('sign', '.')) return { scope: 'user', key: first.toLowerCase(), name: first };
    const name = nameHere();
    const key = name.toLowerCase();
    if (first.toLowerCase() === 'user') return { scope: 'user', key, name };
    if (first.toLowerCase() !== 'sys') throw new Invalid(`there is no scope '${first}': sys and user are there`);
    if (!systemNames.has(key)) throw new Invalid(`there is no system property '${name}'`);
    return { scope: 'system', key, name };
  }

  function nameHere(): string {
    if (here().kind !== 'name') throw wrong('a property');
    return tokens[at++]!.text;
  }

  function parameter(name: string): Fact {
    if (!Object.hasOwn(parameters, name)) throw new Invalid(`the parameter @${name} has no value`);
    return parameters[name];
  }

  // ---- statements

  function statement(): Statement {
    const removes = accept('word', 'REMOVE') !== undefined;
    if (!removes) expect('word', 'SET');
    const property = propertyHere();
    if (property.scope === 'system' && !settable.has(property.key)) throw new Invalid(`the system property '${property.name}' cannot be changed`);
    if (removes) return { property, value: undefined };
    expect('sign', '=');
    return { property, value: expression() };
  }

  function statements(): Statement[] {
    const found = [statement()];
    while ((accept('sign', ';', ',') ?? '') !== '' || here().kind === 'word') {
      if (here().kind === 'end') break;
      found.push(statement());
      if (found.length > limits.statementsMax) throw new Invalid(`an action has at most ${limits.statementsMax} statements`);
    }
    end();
    return found;
  }

  function end(): void {
    if (here().kind !== 'end') throw wrong('the end');
  }

  return { predicate: () => predicate(), statements, end };
}

// ---------------------------------------------------------------- meaning

const constant = (value: Fact): Expression => () => value;
const valueOf = ({ scope, key }: Property): Expression => (facts) => facts[scope].get(key);
const named = (facts: Facts, name: Fact): Fact => (typeof name === 'string' ? facts.user.get(name.toLowerCase()) : undefined);

const int64Max = 2n ** 63n;

function numberOf(text: string): Fact {
  if (!/^-?\d+$/.test(text)) return Number(text);
  const whole = BigInt(text);
  if (whole >= int64Max || whole < -int64Max) throw new Invalid(`${text} is no whole number of 64 bits`);
  return whole;
}

const either = (a: Truth, b: Truth): Truth => (a === true || b === true ? true : a === undefined || b === undefined ? undefined : false);
const both = (a: Truth, b: Truth): Truth => (a === false || b === false ? false : a === undefined || b === undefined ? undefined : true);

/** The right side is not asked when the left one decides. */
const or = (left: Predicate, right: Predicate): Predicate => (facts) => {
  const first = left(facts);
  return first === true ? true : either(first, right(facts));
};
const and = (left: Predicate, right: Predicate): Predicate => (facts) => {
  const first = left(facts);
  return first === false ? false : both(first, right(facts));
};
const not = (inner: Predicate): Predicate => (facts) => {
  const truth = inner(facts);
  return truth === undefined ? undefined : !truth;
};

const isNumber = (value: Fact): value is bigint | number => typeof value === 'bigint' || typeof value === 'number';

/** -1, 0, 1; undefined if there is no order between the two. */
function order(a: Fact, b: Fact): number | undefined {
  if (isNumber(a) && isNumber(b)) return a < b ? -1 : a > b ? 1 : a == b ? 0 : undefined;
  if (typeof a === 'string' && typeof b === 'string') return a < b ? -1 : a > b ? 1 : 0;
  if (a instanceof Date && b instanceof Date) return Math.sign(a.getTime() - b.getTime());
  return undefined;
}

function equal(a: Fact, b: Fact): Truth {
  if (typeof a === 'boolean' && typeof b === 'boolean') return a === b;
  const found = order(a, b);
  return found === undefined ? undefined : found === 0;
}

const orders: Readonly<Record<string, (found: number) => boolean>> = { '>': (n) => n > 0, '>=': (n) => n >= 0, '<': (n) => n < 0, '<=': (n) => n <= 0 };

function compare(sign: string, left: Expression, right: Expression): Predicate {
  if (sign === '=') return (facts) => equal(left(facts), right(facts));
  if (sign === '<>' || sign === '!=') return not((facts) => equal(left(facts), right(facts)));
  const holds = orders[sign]!;
  return (facts) => {
    const found = order(left(facts), right(facts));
    return found === undefined ? undefined : holds(found);
  };
}

function signed(sign: string, value: Fact): Fact {
  if (!isNumber(value)) return undefined;
  if (sign === '+') return value;
  return typeof value === 'bigint' ? BigInt.asIntN(64, -value) : -value;
}

function reckon(sign: string, left: Expression, right: Expression): Expression {
  return (facts) => {
    const a = left(facts);
    const b = right(facts);
    if (typeof a === 'bigint' && typeof b === 'bigint') return wholly(sign, a, b);
    if (isNumber(a) && isNumber(b)) return broken(sign, Number(a), Number(b));
    if (sign === '+' && (typeof a === 'string' || typeof b === 'string')) return joined(a, b);
    return undefined;
  };
}

/** Division by nothing is an error in C#; here it is unknown. */
function wholly(sign: string, a: bigint, b: bigint): Fact {
  if ((sign === '/' || sign === '%') && b === 0n) return undefined;
  const result = sign === '+' ? a + b : sign === '-' ? a - b : sign === '*' ? a * b : sign === '/' ? a / b : a % b;
  return BigInt.asIntN(64, result);
}

function broken(sign: string, a: number, b: number): Fact {
  return sign === '+' ? a + b : sign === '-' ? a - b : sign === '*' ? a * b : sign === '/' ? a / b : a % b;
}

const charactersOfResultMax = 64 * 1024;

function joined(a: Fact, b: Fact): Fact {
  if ((typeof a !== 'string' && !isNumber(a)) || (typeof b !== 'string' && !isNumber(b))) return undefined;
  const text = `${a}${b}`;
  return text.length > charactersOfResultMax ? undefined : text;
}

/** `%` is any text, `_` any character. Time is at most the product of both lengths: no pattern makes it go through all combinations. */
function like(value: Fact, pattern: Fact, escape: Fact): Truth {
  if (typeof value !== 'string' || typeof pattern !== 'string' || typeof escape !== 'string' || [...escape].length > 1) return undefined;
  const signs = signsOf(pattern, escape);
  if (signs === undefined) return undefined;
  const letters = [...value];
  let sign = 0;
  let letter = 0;
  let star = -1;
  let retry = 0;
  while (letter < letters.length) {
    const one = signs[sign];
    if (one === 'any text') {
      star = sign++;
      retry = letter;
    } else if (one !== undefined && (one === 'any one' || one.letter === letters[letter])) {
      sign++;
      letter++;
    } else if (star >= 0) {
      // The last % takes one letter more.
      sign = star + 1;
      letter = ++retry;
    } else {
      return false;
    }
  }
  return signs.slice(sign).every((one) => one === 'any text');
}

type Sign = 'any text' | 'any one' | { readonly letter: string };

/** Undefined if the pattern ends with the escape character. */
function signsOf(pattern: string, escape: string): Sign[] | undefined {
  const letters = [...pattern];
  const signs: Sign[] = [];
  for (let at = 0; at < letters.length; at++) {
    const letter = letters[at]!;
    if (letter === escape) {
      const next = letters[++at];
      if (next === undefined) return undefined;
      signs.push({ letter: next });
    } else {
      signs.push(letter === '%' ? 'any text' : letter === '_' ? 'any one' : { letter });
    }
  }
  return signs;
}
