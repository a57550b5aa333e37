import fc from 'fast-check';
import { z } from 'zod';

/**
 * WHAT STRANGERS SEND: values that fit a shape, made from the shape itself, and what a hostile or broken client makes of them. Words like `@order3` stand for ids that
 * only the run knows (`resolved`); mutations are data, so that a failing case shrinks to the one mutation that matters.
 */

export const skus = ['MUG', 'CUP', 'RARE', 'GONE'] as const;

/** A mark that no page may ever give back unescaped. */
export const mark = '<fuzz onload=1>';

type JsonSchema = Readonly<Record<string, unknown>>;

const hostileTexts = [
  '', ' ', '\u0000', 'a\u0000b', 'a\r\nBcc: eve@example.com', 'a\nSet-Cookie: a=b', mark, `">${mark}`, `'${mark}`, `</script>${mark}`, 'javascript:alert(1)', '\ud800', 'a\udc00', '\u202e\u2066',
  '\ufeff', '\u2028', '__proto__', 'constructor', 'toString', 'hasOwnProperty', 'then', '../../../etc/passwd', '..%2f..%2f', '%00', '%0d%0a', '%ff', "' or 1=1 --", '{{7*7}}', '${7*7}', '$where',
  'ﷺ'.repeat(30), '🧨'.repeat(101), 'NaN', 'Infinity', '-1', '1e999', '0x10', '1_000', '٣', 'null', 'undefined', 'true', '[object Object]', '|', 'a|b', '~', '/', '\\', '#', '?', ';', ',', '@', 'é', 'e\u0301',
];
const lengths = [1, 2, 20, 21, 26, 40, 41, 100, 101, 200, 201, 254, 255, 256, 300, 301, 2_000, 2_001, 20_000];

export const hostileText: fc.Arbitrary<string> = fc.oneof(
  { arbitrary: fc.constantFrom(...hostileTexts), weight: 4 },
  { arbitrary: fc.constantFrom(mark, `">${mark}`, `'${mark}`), weight: 1 },
  { arbitrary: fc.tuple(fc.constantFrom('x', 'é', ' ', '<', '"', '%', '9'), fc.constantFrom(...lengths)).map(([unit, times]) => unit.repeat(times)), weight: 2 },
  { arbitrary: fc.string({ unit: 'binary', maxLength: 30 }), weight: 1 },
  { arbitrary: fc.string({ unit: 'grapheme', maxLength: 30 }), weight: 1 },
);

const numbers = [0, -0, 1, -1, 0.5, 1.5, -1e-9, 199, 200, 201, 2_000, 2_001, 999_999, 1_000_000, 1_000_001, 2 ** 31 - 1, 2 ** 31, 2 ** 32, 1e12, 1e12 + 1, 2 ** 53 - 1, 2 ** 53, 1e21, 1e308, -1e308, 5e-324];

const nested = (depth: number, kind: string): unknown => JSON.parse(kind === 'list' ? '['.repeat(depth) + ']'.repeat(depth) : '{"a":'.repeat(depth) + '1' + '}'.repeat(depth)) as unknown;
/** Parsed, so that `__proto__` is a field of its own, as it is in a request. */
const traps = ['{"__proto__":{"polluted":1}}', '{"constructor":{"prototype":{"polluted":1}}}', '{"then":1}', '{"length":1000000000}', '{"toJSON":1}', '{"valueOf":1,"toString":1}'];

export const wild: fc.Arbitrary<unknown> = fc.oneof(
  { arbitrary: fc.constantFrom<unknown>(null, true, false, [], {}, [[]], [null]), weight: 3 },
  { arbitrary: fc.constantFrom(...numbers), weight: 3 },
  { arbitrary: hostileText, weight: 4 },
  { arbitrary: fc.constantFrom(...traps).map((text) => JSON.parse(text) as unknown), weight: 2 },
  { arbitrary: fc.tuple(fc.constantFrom(3, 19, 20, 21, 40, 500), fc.constantFrom('list', 'object')).map(([depth, kind]) => nested(depth, kind)), weight: 1 },
  { arbitrary: fc.jsonValue({ maxDepth: 3 }), weight: 2 },
);

// ---------------------------------------------------------------- values of a shape

/** Values that fit, mostly: what a shape says only in code (refinements) is not known here. */
export function valuesOf(shape: z.ZodType, io: 'input' | 'output' = 'input'): fc.Arbitrary<unknown> {
  const schema = z.toJSONSchema(shape, { io, unrepresentable: 'any' }) as JsonSchema;
  return made(schema, (schema['$defs'] ?? {}) as Record<string, JsonSchema>);
}

function made(schema: JsonSchema, defs: Readonly<Record<string, JsonSchema>>): fc.Arbitrary<unknown> {
  const reference = schema['$ref'];
  if (typeof reference === 'string') return named(reference.split('/').at(-1)!, defs);
  if (schema['id'] === 'Sku' || schema['id'] === 'OrderId') return named(schema['id'], defs);
  if ('const' in schema) return fc.constant(schema['const']);
  if (Array.isArray(schema['enum'])) return fc.constantFrom(...(schema['enum'] as unknown[]));
  const choices = schema['anyOf'] ?? schema['oneOf'];
  if (Array.isArray(choices)) return fc.oneof(...(choices as JsonSchema[]).map((each) => made(each, defs)));
  if (Array.isArray(schema['allOf'])) return made((schema['allOf'] as JsonSchema[])[0]!, defs);
  switch (schema['type']) {
    case 'string':
      return texts(schema);
    case 'integer':
    case 'number':
      return whole(schema);
    case 'boolean':
      return fc.boolean();
    case 'null':
      return fc.constant(null);
    case 'array':
      return fc.array(made((schema['items'] ?? {}) as JsonSchema, defs), { minLength: Number(schema['minItems'] ?? 0), maxLength: Math.min(4, Number(schema['maxItems'] ?? 4)) });
    case 'object':
      return object(schema, defs);
    default:
      return wild;
  }
}

function named(name: string, defs: Readonly<Record<string, JsonSchema>>): fc.Arbitrary<unknown> {
  if (name === 'Sku') return fc.constantFrom(...skus);
  if (name === 'OrderId') return fc.nat(9).map((n) => `@order${n}`);
  return made(defs[name] ?? {}, defs);
}

/** `@fit3.7` is the seventh known id that fits the third of these. */
const patterns: RegExp[] = [];

function texts(schema: JsonSchema): fc.Arbitrary<string> {
  const { format, pattern, minLength = 0, maxLength = 40 } = schema as { format?: string; pattern?: string; minLength?: number; maxLength?: number };
  if (format === 'email') return fc.constantFrom('anna@example.com', "o'neil+a@xn--bcher-kva.example", 'a@b.co');
  if (format === 'date-time') return fc.constantFrom('2026-11-20T08:00:00.000Z', '2026-11-20T09:00:00Z', '2026-10-01T00:00:00.000Z', '2027-01-01T00:00:00.000Z');
  if (format === 'uri') return fc.constantFrom('https://carrier.example/t/1', 'http://a.b/');
  if (pattern !== undefined) {
    const nth = patterns.push(new RegExp(pattern)) - 1;
    return fc.oneof(fc.stringMatching(patterns[nth]!), fc.nat(99).map((n) => `@fit${nth}.${n}`));
  }
  const words = fc.constantFrom('Anna', 'High Street 1', 'Łódź', '東京', `O’Neil & ${mark}`, 'a', 'LS1 4AP', 'x'.repeat(Math.min(maxLength, 300)));
  return fc.oneof({ arbitrary: words, weight: 4 }, { arbitrary: fc.string({ unit: 'grapheme', minLength, maxLength: Math.max(minLength, Math.min(maxLength, 20)) }), weight: 1 }, { arbitrary: fc.nat(99).map((n) => `@id${n}`), weight: 1 });
}

function whole({ minimum = 0, maximum = 1_000 }: { minimum?: number; maximum?: number }): fc.Arbitrary<number> {
  const low = Math.max(minimum, -1e9);
  const high = Math.max(low, Math.min(maximum, 1e9));
  return fc.oneof({ arbitrary: fc.integer({ min: low, max: Math.min(high, low + 20) }), weight: 4 }, { arbitrary: fc.constantFrom(low, high), weight: 1 });
}

function object(schema: JsonSchema, defs: Readonly<Record<string, JsonSchema>>): fc.Arbitrary<unknown> {
  const properties = Object.entries((schema['properties'] ?? {}) as Record<string, JsonSchema>);
  const fields = Object.fromEntries(properties.map(([name, field]) => [name, made(field, defs)]));
  return fc.record(fields, { requiredKeys: (schema['required'] as string[] | undefined) ?? [], noNullPrototype: true });
}

// ---------------------------------------------------------------- mutations

/** `at` counts the places of a value (modulo their number), `name` is a field's. */
export type Mutation =
  | { readonly do: 'set'; readonly at: number; readonly value: unknown }
  | { readonly do: 'drop'; readonly at: number }
  | { readonly do: 'add'; readonly at: number; readonly name: string; readonly value: unknown }
  | { readonly do: 'repeat'; readonly at: number; readonly times: number }
  | { readonly do: 'text'; readonly from: string; readonly to: string }
  | { readonly do: 'bytes'; readonly at: number; readonly drop: number; readonly put: readonly number[] };

const place = fc.nat(30);
const fieldName = fc.oneof(fc.constantFrom('__proto__', 'constructor', 'prototype', 'toString', 'total', 'id', 'status', 'price', 'admin', ''), hostileText);

export const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  { arbitrary: fc.record({ do: fc.constant('set' as const), at: place, value: wild }), weight: 6 },
  { arbitrary: fc.record({ do: fc.constant('drop' as const), at: place }), weight: 2 },
  { arbitrary: fc.record({ do: fc.constant('add' as const), at: place, name: fieldName, value: wild }), weight: 2 },
  { arbitrary: fc.record({ do: fc.constant('repeat' as const), at: place, times: fc.constantFrom(2, 3, 50, 1_999, 2_000, 2_001) }), weight: 1 },
  {
    arbitrary: fc
      .constantFrom<readonly [string, string]>(['{', '{"lines":7,'], ['{', '{"__proto__":{"polluted":1},'], ['}', ',}'], ['"', "'"], [':', '='], ['1', '1e999'], ['1', '01'], ['1', '-0'], ['{', '\ufeff{'], ['}', '}{}'], ['{', '[{'], [',', ',,'], ['}', '}\u0000'], ['"', '"\\u0000'], ['"', '"\\ud800'], ['{', ' '.repeat(70_000) + '{'])
      .map(([from, to]) => ({ do: 'text' as const, from, to })),
    weight: 1,
  },
  { arbitrary: fc.record({ do: fc.constant('bytes' as const), at: fc.nat(2_000), drop: fc.nat(8), put: fc.array(fc.constantFrom(0, 9, 10, 13, 0x22, 0x5b, 0x7b, 0x7f, 0x80, 0xc0, 0xed, 0xff), { maxLength: 4 }) }), weight: 1 },
);

type Steps = readonly (string | number)[];

/** Every place in a value, the whole of it first. */
function placesIn(value: unknown, steps: Steps = [], depth = 0): Steps[] {
  if (typeof value !== 'object' || value === null || depth > 6) return [steps];
  const inner = Array.isArray(value) ? value.slice(0, 5).map((each, i) => [i, each] as const) : Object.entries(value).slice(0, 20);
  return [steps, ...inner.flatMap(([step, each]) => placesIn(each, [...steps, step], depth + 1))];
}

/** The value as it is after the mutations that change values, as JSON text, after those that change text, in bytes, after those that change bytes. */
export function bytesOf(value: unknown, mutations: readonly Mutation[]): Buffer {
  let now: unknown = structuredClone(value);
  for (const each of mutations) if (each.do !== 'text' && each.do !== 'bytes') now = mutated(now, each);
  let text = JSON.stringify(now) ?? '';
  for (const each of mutations) if (each.do === 'text') text = text.replace(each.from, each.to);
  let bytes = Buffer.from(text);
  for (const each of mutations) {
    if (each.do !== 'bytes') continue;
    const at = bytes.length === 0 ? 0 : each.at % bytes.length;
    bytes = Buffer.concat([bytes.subarray(0, at), Buffer.from(each.put), bytes.subarray(at + each.drop)]);
  }
  return bytes;
}

function mutated(value: unknown, mutation: Exclude<Mutation, { do: 'text' | 'bytes' }>): unknown {
  const places = placesIn(value);
  const steps = places[mutation.at % places.length]!;
  return changedAt(value, steps, (found) => {
    switch (mutation.do) {
      case 'set':
        return mutation.value;
      case 'drop':
        return undefined;
      case 'add':
        return typeof found === 'object' && found !== null && !Array.isArray(found) ? defined({ ...found }, mutation.name, mutation.value) : found;
      case 'repeat':
        return Array.isArray(found) && JSON.stringify(found).length < 500 ? Array.from({ length: mutation.times }, () => found as unknown[]).flat() : found;
    }
  });
}

/** Assigning to `__proto__` would not make a field of it. */
function defined(target: object, name: string, value: unknown): object {
  return Object.defineProperty(target, name, { value, enumerable: true, configurable: true, writable: true });
}

function changedAt(value: unknown, [step, ...rest]: Steps, change: (found: unknown) => unknown): unknown {
  if (step === undefined) return change(value);
  if (Array.isArray(value)) return value.map((each, i) => (i === step ? changedAt(each, rest, change) : each)) as unknown[];
  const inner = changedAt((value as Record<string, unknown>)[step], rest, change);
  return defined({ ...(value as object) }, String(step), inner);
}

// ---------------------------------------------------------------- ids that only the run knows

export interface Known {
  readonly orders: readonly string[];
  /** Every id that an answer has named. */
  readonly ids: readonly string[];
}

export function resolved(text: string, { orders, ids }: Known): string {
  return text.replace(/@(order|id|fit(\d+)\.)(\d{1,2})/g, (_, kind: string, nth: string | undefined, n: string) => {
    const pool = kind === 'order' ? orders : nth === undefined ? ids : ids.filter((id) => patterns[Number(nth)]?.test(id));
    return pool.length === 0 ? 'none' : pool[Number(n) % pool.length]!;
  });
}

/** In all texts of a value. */
export function resolvedIn(value: unknown, known: Known): unknown {
  if (typeof value === 'string') return resolved(value, known);
  if (Array.isArray(value)) return value.map((each) => resolvedIn(each, known));
  if (typeof value !== 'object' || value === null) return value;
  return Object.entries(value).reduce((all: object, [name, each]) => defined(all, name, resolvedIn(each, known)), {});
}
