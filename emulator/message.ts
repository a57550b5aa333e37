import { Invalid } from '../ports/index.ts';

/**
 * Values and messages of AMQP 1.0 (OASIS AMQP 1.0, parts 1 and 3) as bytes: no socket, no rhea.
 *
 * A message keeps the bytes it came with. What a broker may change (header, annotations) is taken apart and put together again; what belongs to the sender (properties,
 * application properties, body, footer: the "bare message") goes through untouched, so that no type is lost: a long stays a long, a symbol a symbol.
 * Whatever is read here may come from anybody: counts, sizes and depth are checked against the bytes that are there, and `Invalid` is thrown for what does not hold.
 */

// ---------------------------------------------------------------- values

/**
 * What `decode` gives: integers as numbers (as bigint beyond 2^53), strings and symbols as string, timestamps as Date, uuids as 36 characters in the order of the bytes,
 * binary as Buffer (a view, not a copy), lists and arrays as arrays, maps as Map with keys made strings, described values as `Described`.
 */
export type Value = null | boolean | number | bigint | string | Date | Uint8Array | readonly Value[] | ReadonlyMap<string, Value> | Described;
export interface Described {
  /** Numeric (0x468C00000004) or symbolic ('apache.org:selector-filter:string'). */
  readonly descriptor: number | bigint | string;
  readonly value: Value;
}

/** What `encode` takes: values, of which the type is guessed (number: int if it fits, else long, double if broken), or with their type said by the functions below. */
export type Writable = null | undefined | boolean | number | bigint | string | Date | Uint8Array | Typed | readonly Writable[] | ReadonlyMap<string, Writable> | { readonly [key: string]: Writable };
type Code = 'ubyte' | 'uint' | 'ulong' | 'int' | 'long' | 'double' | 'timestamp' | 'uuid' | 'symbol' | 'symbols' | 'symbolic' | 'longs' | 'timestamps' | 'described' | 'raw';
export interface Typed {
  readonly amqp: Code;
  readonly value: unknown;
  readonly descriptor?: number | bigint | string;
}
const typed = (amqp: Code, value: unknown): Typed => ({ amqp, value });
export const ubyte = (value: number): Typed => typed('ubyte', value);
export const uint = (value: number): Typed => typed('uint', value);
export const ulong = (value: number | bigint): Typed => typed('ulong', value);
export const int = (value: number): Typed => typed('int', value);
export const long = (value: number | bigint): Typed => typed('long', value);
export const double = (value: number): Typed => typed('double', value);
/** Milliseconds since 1970. */
export const timestamp = (value: number): Typed => typed('timestamp', value);
/** 36 characters, in the order of the bytes. */
export const uuid = (value: string): Typed => typed('uuid', value);
export const symbol = (value: string): Typed => typed('symbol', value);
/** An array (not a list) of symbols, longs, timestamps. */
export const symbols = (value: readonly string[]): Typed => typed('symbols', value);
export const longs = (value: readonly (number | bigint)[]): Typed => typed('longs', value);
export const timestamps = (value: readonly number[]): Typed => typed('timestamps', value);
/** A map whose keys are symbols, as annotations and the properties of links have them. */
export const symbolic = (value: ReadonlyMap<string, Writable> | { readonly [key: string]: Writable }): Typed => typed('symbolic', value);
export const described = (descriptor: number | bigint | string, value: Writable): Typed => ({ amqp: 'described', value, descriptor });
/** Bytes that are an encoded value already. */
export const raw = (value: Uint8Array): Typed => typed('raw', value);

interface Cursor {
  readonly bytes: Buffer;
  at: number;
  readonly end: number;
}

const depthMax = 32;
/** Elements of an array that take no bytes (null, true, empty lists) are not bounded by the bytes there are. */
const emptyElementsMax = 1_000;

function take(cursor: Cursor, count: number): number {
  const { at } = cursor;
  if (count > cursor.end - at) throw new Invalid('a value ends before it should');
  cursor.at = at + count;
  return at;
}

export function decode(bytes: Uint8Array): Value {
  const cursor = cursorOf(bytes);
  const value = read(cursor, 0);
  if (cursor.at !== cursor.end) throw new Invalid('there is more after the value');
  return value;
}

const cursorOf = (bytes: Uint8Array): Cursor => ({ bytes: asBuffer(bytes), at: 0, end: bytes.length });
const asBuffer = (bytes: Uint8Array): Buffer => (Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));

function read(cursor: Cursor, depth: number): Value {
  const code = cursor.bytes[take(cursor, 1)]!;
  if (code === 0) return readDescribed(cursor, depth);
  return readAs(code, cursor, depth);
}

function readDescribed(cursor: Cursor, depth: number): Described {
  if (depth >= depthMax) throw new Invalid('a value is nested too deeply');
  const descriptor = read(cursor, depth + 1);
  if (typeof descriptor !== 'number' && typeof descriptor !== 'bigint' && typeof descriptor !== 'string') throw new Invalid('a descriptor is neither a number nor a symbol');
  return { descriptor, value: read(cursor, depth + 1) };
}

/** One line for each code of the specification. */
function readAs(code: number, cursor: Cursor, depth: number): Value {
  const { bytes } = cursor;
  switch (code) {
    case 0x40: return null;
    case 0x41: return true;
    case 0x42: return false;
    case 0x43: case 0x44: return 0;
    case 0x45: return [];
    case 0x50: case 0x52: case 0x53: return bytes[take(cursor, 1)]!;
    case 0x51: case 0x54: case 0x55: return bytes.readInt8(take(cursor, 1));
    case 0x56: return bytes[take(cursor, 1)] !== 0;
    case 0x60: return bytes.readUInt16BE(take(cursor, 2));
    case 0x61: return bytes.readInt16BE(take(cursor, 2));
    case 0x70: return bytes.readUInt32BE(take(cursor, 4));
    case 0x71: return bytes.readInt32BE(take(cursor, 4));
    case 0x72: return bytes.readFloatBE(take(cursor, 4));
    case 0x73: return String.fromCodePoint(Math.min(bytes.readUInt32BE(take(cursor, 4)), 0x10ffff));
    case 0x80: return narrow(bytes.readBigUInt64BE(take(cursor, 8)));
    case 0x81: return narrow(bytes.readBigInt64BE(take(cursor, 8)));
    case 0x82: return bytes.readDoubleBE(take(cursor, 8));
    case 0x83: return new Date(Number(bytes.readBigInt64BE(take(cursor, 8))));
    case 0x74: return view(cursor, 4);
    case 0x84: return view(cursor, 8);
    case 0x94: return view(cursor, 16);
    case 0x98: return uuidOf(view(cursor, 16));
    case 0xa0: return view(cursor, bytes[take(cursor, 1)]!);
    case 0xb0: return view(cursor, bytes.readUInt32BE(take(cursor, 4)));
    case 0xa1: case 0xa3: return text(cursor, bytes[take(cursor, 1)]!);
    case 0xb1: case 0xb3: return text(cursor, bytes.readUInt32BE(take(cursor, 4)));
    case 0xc0: case 0xd0: return readItems(cursor, code === 0xc0 ? 1 : 4, depth);
    case 0xc1: case 0xd1: return readMap(cursor, code === 0xc1 ? 1 : 4, depth);
    case 0xe0: case 0xf0: return readArray(cursor, code === 0xe0 ? 1 : 4, depth);
    default: throw new Invalid(`no such type of value: 0x${code.toString(16)}`);
  }
}

const narrow = (value: bigint): number | bigint => (value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER ? Number(value) : value);

function view(cursor: Cursor, length: number): Buffer {
  const at = take(cursor, length);
  return cursor.bytes.subarray(at, at + length);
}

function text(cursor: Cursor, length: number): string {
  const at = take(cursor, length);
  return cursor.bytes.toString('utf8', at, at + length);
}

/** Size and count of a list, map or array; the cursor that comes back ends where the compound ends, and the outer one stands behind it. */
function enter(cursor: Cursor, width: 1 | 4, depth: number): { inner: Cursor; count: number } {
  if (depth >= depthMax) throw new Invalid('a value is nested too deeply');
  const size = number(cursor, width);
  const start = take(cursor, size);
  const inner: Cursor = { bytes: cursor.bytes, at: start, end: start + size };
  return { inner, count: number(inner, width) };
}

const number = (cursor: Cursor, width: 1 | 4): number => (width === 1 ? cursor.bytes[take(cursor, 1)]! : cursor.bytes.readUInt32BE(take(cursor, 4)));

function readItems(cursor: Cursor, width: 1 | 4, depth: number): Value[] {
  const { inner, count } = enter(cursor, width, depth);
  const items: Value[] = [];
  // Each takes a byte at least, so a false count runs out of bytes before it runs out of memory.
  for (let item = 0; item < count; item++) items.push(read(inner, depth + 1));
  return items;
}

function readMap(cursor: Cursor, width: 1 | 4, depth: number): Map<string, Value> {
  const { inner, count } = enter(cursor, width, depth);
  if (count % 2 !== 0) throw new Invalid('a map has a key without a value');
  const map = new Map<string, Value>();
  for (let item = 0; item < count; item += 2) {
    const key = read(inner, depth + 1);
    map.set(String(key), read(inner, depth + 1));
  }
  return map;
}

function readArray(cursor: Cursor, width: 1 | 4, depth: number): Value[] {
  const { inner, count } = enter(cursor, width, depth);
  let code = inner.bytes[take(inner, 1)]!;
  let descriptor: Value | undefined;
  if (code === 0) {
    descriptor = read(inner, depth + 1);
    code = inner.bytes[take(inner, 1)]!;
  }
  if (code >>> 4 === 4 && count > emptyElementsMax) throw new Invalid('an array has too many elements that say nothing');
  const items: Value[] = [];
  for (let item = 0; item < count; item++) {
    const value = readAs(code, inner, depth + 1);
    items.push(typeof descriptor === 'number' || typeof descriptor === 'string' || typeof descriptor === 'bigint' ? { descriptor, value } : value);
  }
  return items;
}

export const uuidOf = (bytes: Uint8Array): string => asBuffer(bytes).toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
export function bytesOfUuid(text: string): Buffer {
  if (!/^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i.test(text)) throw new Invalid('not a uuid');
  return Buffer.from(text.replaceAll('-', ''), 'hex');
}

/** Throws `Invalid` unless one whole value stands at the beginning of the bytes; gives its length. Used to look at frames before anybody else reads them. */
export function soundLength(bytes: Uint8Array): number {
  const cursor = cursorOf(bytes);
  read(cursor, 0);
  return cursor.at;
}

// ---------------------------------------------------------------- writing

export function encode(value: Writable): Buffer {
  if (isTyped(value)) return encodeTyped(value);
  switch (typeof value) {
    case 'undefined': return one(0x40);
    case 'boolean': return one(value ? 0x41 : 0x42);
    case 'number': return encodeNumber(value);
    case 'bigint': return encodeLong(value);
    case 'string': return sized(0xa1, 0xb1, Buffer.from(value));
    default: return encodeObject(value);
  }
}

const isTyped = (value: Writable): value is Typed => typeof value === 'object' && value !== null && 'amqp' in value;
const one = (...bytes: number[]): Buffer => Buffer.from(bytes);

function encodeObject(value: null | Date | Uint8Array | readonly Writable[] | ReadonlyMap<string, Writable> | { readonly [key: string]: Writable }): Buffer {
  if (value === null) return one(0x40);
  if (value instanceof Date) return eight(0x83, BigInt(value.getTime()));
  if (value instanceof Uint8Array) return sized(0xa0, 0xb0, asBuffer(value));
  if (isList(value)) return compound(0xd0, value.length, value.map(encode));
  return encodeMap(value, encode);
}

const isList = (value: object): value is readonly Writable[] => Array.isArray(value);

function encodeMap(value: ReadonlyMap<string, Writable> | { readonly [key: string]: Writable }, key: (name: string) => Buffer): Buffer {
  const entries = value instanceof Map ? [...(value as ReadonlyMap<string, Writable>)] : Object.entries(value as Record<string, Writable>);
  return compound(0xd1, entries.length * 2, entries.flatMap(([name, item]) => [key(name), encode(item)]));
}

function encodeNumber(value: number): Buffer {
  if (!Number.isInteger(value)) return encodeDouble(value);
  if (value >= -(2 ** 31) && value < 2 ** 31) return encodeInt(value);
  return Number.isSafeInteger(value) ? encodeLong(BigInt(value)) : encodeDouble(value);
}

function encodeInt(value: number): Buffer {
  if (value >= -128 && value < 128) return one(0x54, value & 0xff);
  const bytes = Buffer.allocUnsafe(5);
  bytes[0] = 0x71;
  bytes.writeInt32BE(value, 1);
  return bytes;
}

function encodeUint(value: number): Buffer {
  if (value === 0) return one(0x43);
  if (value < 256) return one(0x52, value);
  const bytes = Buffer.allocUnsafe(5);
  bytes[0] = 0x70;
  bytes.writeUInt32BE(value, 1);
  return bytes;
}

function encodeDouble(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(9);
  bytes[0] = 0x82;
  bytes.writeDoubleBE(value, 1);
  return bytes;
}

const encodeLong = (value: bigint): Buffer => eight(0x81, value);

function eight(code: number, value: bigint): Buffer {
  const bytes = Buffer.allocUnsafe(9);
  bytes[0] = code;
  bytes.writeBigInt64BE(BigInt.asIntN(64, value), 1);
  return bytes;
}

function sized(short: number, wide: number, content: Buffer): Buffer {
  const head = content.length < 256 ? one(short, content.length) : Buffer.allocUnsafe(5);
  if (content.length >= 256) {
    head[0] = wide;
    head.writeUInt32BE(content.length, 1);
  }
  return Buffer.concat([head, content]);
}

function compound(code: number, count: number, items: readonly Buffer[]): Buffer {
  const size = items.reduce((sum, item) => sum + item.length, 0);
  const head = Buffer.allocUnsafe(9);
  head[0] = code;
  head.writeUInt32BE(size + 4, 1);
  head.writeUInt32BE(count, 5);
  return Buffer.concat([head, ...items], size + 9);
}

function encodeTyped({ amqp, value, descriptor }: Typed): Buffer {
  switch (amqp) {
    case 'ubyte': return one(0x50, Number(value));
    case 'uint': return encodeUint(Number(value));
    case 'int': return encodeInt(Number(value));
    case 'long': return encodeLong(BigInt(value as number | bigint));
    case 'ulong': return eight(0x80, BigInt(value as number | bigint));
    case 'double': return encodeDouble(Number(value));
    case 'timestamp': return eight(0x83, BigInt(Math.trunc(Number(value))));
    case 'uuid': return Buffer.concat([one(0x98), bytesOfUuid(String(value))]);
    case 'symbol': return encodeSymbol(String(value));
    case 'symbols': return arrayOf(0xb3, (value as readonly string[]).map((name) => withLength(Buffer.from(name))));
    case 'longs': return arrayOf(0x81, (value as readonly (number | bigint)[]).map((item) => encodeLong(BigInt(item)).subarray(1)));
    case 'timestamps': return arrayOf(0x83, (value as readonly number[]).map((item) => eight(0x83, BigInt(Math.trunc(item))).subarray(1)));
    case 'symbolic': return encodeMap(value as Record<string, Writable>, encodeSymbol);
    case 'described': return Buffer.concat([one(0), encodeDescriptor(descriptor!), encode(value as Writable)]);
    case 'raw': return asBuffer(value as Uint8Array);
  }
}

const encodeSymbol = (name: string): Buffer => sized(0xa3, 0xb3, Buffer.from(name));

function encodeDescriptor(descriptor: number | bigint | string): Buffer {
  if (typeof descriptor === 'string') return encodeSymbol(descriptor);
  return descriptor < 256 ? one(0x53, Number(descriptor)) : eight(0x80, BigInt(descriptor));
}

function withLength(content: Buffer): Buffer {
  const head = Buffer.allocUnsafe(4);
  head.writeUInt32BE(content.length);
  return Buffer.concat([head, content]);
}

function arrayOf(code: number, items: readonly Buffer[]): Buffer {
  return compound(0xf0, items.length, [one(code), ...items]);
}

// ---------------------------------------------------------------- messages

/** The message format under which both services take several messages in one transfer: each data section of the body is one encoded message. */
export const batchFormat = 0x80013700;

export interface Header {
  readonly durable?: boolean;
  readonly priority?: number;
  /** Milliseconds. */
  readonly ttl?: number;
  readonly deliveryCount?: number;
}

export interface Properties {
  readonly messageId?: string;
  readonly to?: string;
  readonly subject?: string;
  readonly replyTo?: string;
  readonly correlationId?: string;
  readonly contentType?: string;
  readonly contentEncoding?: string;
  /** Milliseconds since 1970. */
  readonly absoluteExpiryTime?: number;
  readonly creationTime?: number;
  /** The session of a message of Service Bus. */
  readonly groupId?: string;
  readonly groupSequence?: number;
  readonly replyToGroupId?: string;
}

/** A message taken apart: sections as their bytes (descriptor and all), decoded by the functions below only when somebody wants to know. */
export interface Sections {
  /** All of them. */
  readonly bytes: Buffer;
  readonly header: Buffer | undefined;
  readonly deliveryAnnotations: Buffer | undefined;
  readonly annotations: Buffer | undefined;
  readonly properties: Buffer | undefined;
  readonly applicationProperties: Buffer | undefined;
  /** Body and footer. */
  readonly body: Buffer;
}

const sectionNames = ['header', 'deliveryAnnotations', 'annotations', 'properties', 'applicationProperties'] as const;
const codeOfHeader = 0x70;
const codeOfData = 0x75;
const codeOfValue = 0x77;
const codeOfFooter = 0x78;

/** `Invalid` for what is not a message: sections out of order, unknown, broken, or without any body. */
export function takeApart(bytes: Uint8Array): Sections {
  const cursor = cursorOf(bytes);
  const found: { -readonly [S in keyof Sections]: Sections[S] } = { bytes: cursor.bytes, header: undefined, deliveryAnnotations: undefined, annotations: undefined, properties: undefined, applicationProperties: undefined, body: Buffer.alloc(0) };
  let before = codeOfHeader - 1;
  while (cursor.at < cursor.end) {
    const start = cursor.at;
    const code = sectionCode(cursor);
    if (code >= codeOfData) {
      found.body = cursor.bytes.subarray(start, cursor.end);
      checkBody(cursor, code);
      return found;
    }
    if (code <= before) throw new Invalid('the sections of a message are out of order');
    before = code;
    skip(cursor);
    found[sectionNames[code - codeOfHeader]!] = cursor.bytes.subarray(start, cursor.at);
  }
  throw new Invalid('a message has no body');
}

function checkBody(cursor: Cursor, first: number): void {
  if (first === codeOfFooter) throw new Invalid('a message has no body');
  skip(cursor);
  for (let code = first; cursor.at < cursor.end; ) {
    const next = sectionCode(cursor);
    if (next !== codeOfFooter && (next !== code || code === codeOfValue)) throw new Invalid('the body of a message is of two kinds');
    code = next;
    skip(cursor);
  }
}

/** Both ways in which the number of a section is written, small and wide; the long symbolic form is used by nobody. */
function sectionCode(cursor: Cursor): number {
  const { bytes } = cursor;
  if (bytes[take(cursor, 1)] !== 0) throw new Invalid('a section of a message is not described');
  const kind = bytes[take(cursor, 1)];
  const code = kind === 0x53 ? bytes[take(cursor, 1)]! : kind === 0x80 ? Number(bytes.readBigUInt64BE(take(cursor, 8))) : -1;
  if (code < codeOfHeader || code > codeOfFooter) throw new Invalid('no such section of a message');
  return code;
}

/** Steps over one value by its size alone. */
function skip(cursor: Cursor, depth = 0): void {
  const code = cursor.bytes[take(cursor, 1)]!;
  if (code === 0) {
    if (depth >= depthMax) throw new Invalid('a value is nested too deeply');
    skip(cursor, depth + 1);
    return skip(cursor, depth + 1);
  }
  const width = [0, 1, 2, 4, 8, 16][(code >>> 4) - 4];
  if (width !== undefined) take(cursor, width);
  else if (code >>> 4 >= 0xa) take(cursor, number(cursor, (code >>> 4) % 2 === 0 ? 1 : 4));
  else throw new Invalid(`no such type of value: 0x${code.toString(16)}`);
}

/** The value of a section, without its descriptor. */
function contentOf(section: Uint8Array): Value {
  const value = decode(section);
  if (!isDescribed(value)) throw new Invalid('a section of a message is not described');
  return value.value;
}

export const isDescribed = (value: Value): value is Described => typeof value === 'object' && value !== null && 'descriptor' in value;
export const isMap = (value: Value | undefined): value is ReadonlyMap<string, Value> => value instanceof Map;
const isArray = (value: Value | undefined): value is readonly Value[] => Array.isArray(value);

const nothing: ReadonlyMap<string, Value> = new Map();

export function mapOf(section: Uint8Array | undefined): ReadonlyMap<string, Value> {
  if (section === undefined) return nothing;
  const value = contentOf(section);
  if (!isMap(value)) throw new Invalid('annotations and application properties must be maps');
  return value;
}

function fieldsOf(section: Uint8Array | undefined): readonly Value[] {
  if (section === undefined) return [];
  const value = contentOf(section);
  if (!isArray(value)) throw new Invalid('header and properties must be lists');
  return value;
}

const numeric = (value: Value | undefined): number | undefined => (typeof value === 'number' ? value : typeof value === 'bigint' ? Number(value) : undefined);
/** Message ids may be strings, numbers, uuids or binary; here they are all text. */
const textual = (value: Value | undefined): string | undefined =>
  typeof value === 'string' ? value : value instanceof Uint8Array ? asBuffer(value).toString('hex') : typeof value === 'number' || typeof value === 'bigint' ? String(value) : undefined;
const instant = (value: Value | undefined): number | undefined => (value instanceof Date ? value.getTime() : undefined);

export function headerOf(section: Uint8Array | undefined): Header {
  const [durable, priority, ttl, , deliveryCount] = fieldsOf(section);
  return { durable: durable === true, priority: numeric(priority), ttl: numeric(ttl), deliveryCount: numeric(deliveryCount) };
}

export function propertiesOf(section: Uint8Array | undefined): Properties {
  const f = fieldsOf(section);
  return {
    messageId: textual(f[0]),
    to: textual(f[2]),
    subject: textual(f[3]),
    replyTo: textual(f[4]),
    correlationId: textual(f[5]),
    contentType: textual(f[6]),
    contentEncoding: textual(f[7]),
    absoluteExpiryTime: instant(f[8]),
    creationTime: instant(f[9]),
    groupId: textual(f[10]),
    groupSequence: numeric(f[11]),
    replyToGroupId: textual(f[12]),
  };
}

/** The value of an amqp-value body, as requests of management have it; null for any other body. */
export function valueOf(body: Uint8Array): Value {
  const cursor = cursorOf(body);
  if (sectionCode(cursor) !== codeOfValue) return null;
  return read(cursor, 0);
}

/** The messages of a transfer: one of format 0, several of `batchFormat`. `Invalid` for other formats and for what is not a message. */
export function messagesOf(bytes: Uint8Array, format: number): Sections[] {
  if (format === 0) return [takeApart(bytes)];
  if (format !== batchFormat) throw new Invalid(`no such message format: ${format}`);
  return dataOf(takeApart(bytes).body).map(takeApart);
}

/** The contents of the data sections of a body. */
export function dataOf(body: Uint8Array): Buffer[] {
  const cursor = cursorOf(body);
  const found: Buffer[] = [];
  while (cursor.at < cursor.end) {
    if (sectionCode(cursor) !== codeOfData) {
      skip(cursor);
      continue;
    }
    const value = read(cursor, 0);
    if (!(value instanceof Uint8Array)) throw new Invalid('a data section holds no binary');
    found.push(asBuffer(value));
  }
  return found;
}

export function headerSection({ durable, priority, ttl, deliveryCount }: Header): Buffer {
  const fields = [durable ? true : null, priority === undefined ? null : ubyte(priority), ttl === undefined ? null : uint(ttl), null, uint(deliveryCount ?? 0)];
  return encode(described(codeOfHeader, fields));
}

type Entries = ReadonlyMap<string, Writable> | { readonly [key: string]: Writable };
export const deliveryAnnotationsSection = (entries: Entries): Buffer => encode(described(0x71, symbolic(entries)));
export const annotationsSection = (entries: Entries): Buffer => encode(described(0x72, symbolic(entries)));
export const applicationPropertiesSection = (entries: Entries): Buffer => encode(described(0x74, entries instanceof Map ? entries : { ...entries }));
export const valueSection = (value: Writable): Buffer => encode(described(codeOfValue, value));
export const dataSection = (value: Uint8Array): Buffer => encode(described(codeOfData, value));

/** The entries of a map section as bytes, so that some can be changed without touching the types of the others. */
export function entriesOf(section: Uint8Array | undefined): Map<string, Typed> {
  const found = new Map<string, Typed>();
  if (section === undefined) return found;
  const cursor = cursorOf(section);
  sectionCode(cursor);
  const code = cursor.bytes[take(cursor, 1)];
  if (code !== 0xc1 && code !== 0xd1) throw new Invalid('annotations and application properties must be maps');
  const { inner, count } = enter(cursor, code === 0xc1 ? 1 : 4, 0);
  if (count % 2 !== 0) throw new Invalid('a map has a key without a value');
  for (let item = 0; item < count; item += 2) {
    const key = String(read(inner, 1));
    const start = inner.at;
    skip(inner);
    found.set(key, raw(inner.bytes.subarray(start, inner.at)));
  }
  return found;
}

/** The properties with another message id; all other fields keep their bytes. */
export function withMessageId(section: Uint8Array | undefined, id: string): Buffer {
  return encode(described(0x73, [id, ...rawFieldsOf(section).slice(1)]));
}

/** One field of header or properties as it is written there; undefined if there is none. */
export const fieldOf = (section: Uint8Array | undefined, place: number): Typed | undefined => rawFieldsOf(section)[place];

/** Properties that say only what they answer. */
export const answerSection = (correlationId: Writable): Buffer => encode(described(0x73, [null, null, null, null, null, correlationId]));

function rawFieldsOf(section: Uint8Array | undefined): Typed[] {
  if (section === undefined) return [];
  const cursor = cursorOf(section);
  sectionCode(cursor);
  const code = cursor.bytes[take(cursor, 1)];
  if (code === 0x45) return [];
  if (code !== 0xc0 && code !== 0xd0) throw new Invalid('header and properties must be lists');
  const { inner, count } = enter(cursor, code === 0xc0 ? 1 : 4, 0);
  const fields: Typed[] = [];
  for (let item = 0; item < count; item++) {
    const start = inner.at;
    skip(inner);
    fields.push(raw(inner.bytes.subarray(start, inner.at)));
  }
  return fields;
}
