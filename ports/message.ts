import { Invalid, PortError } from './errors.ts';
import { limits } from './limits.ts';

/**
 * The envelope of everything that is said between services: CloudEvents 1.0.2 (https://github.com/cloudevents/spec), JSON data.
 * `source` + `id` is unique and is what a receiver remembers; both are the same on every road that the message travels, and on every repetition.
 */
export interface Message<Type extends string = string, Data = unknown> {
  readonly specversion: '1.0';
  readonly id: string;
  /** `/order`, `/inventory` …: the service that said it. */
  readonly source: string;
  readonly type: Type;
  /** The aggregate that it is about: an order id, a sku. */
  readonly subject: string;
  /** RFC 3339, UTC. */
  readonly time: string;
  /** Messages with one partition key keep their order on a stream. */
  readonly partitionkey: string;
  /** The how-manieth message of its subject this is, ten digits, so that it compares as text. CloudEvents extension "sequence". */
  readonly sequence: string;
  /** `1`, `2` …: the version of the shape of `data`. */
  readonly dataversion: string;
  /** The order, usually: everything that one customer's click has caused. CloudEvents extension "correlation". */
  readonly correlationid?: string;
  /** The id of the message that made us say this one. */
  readonly causationid?: string;
  /** W3C trace context, handed on unchanged. */
  readonly traceparent?: string;
  readonly data: Data;
}

/** What a broker handed over and nobody can read: kept whole, so that a person can. */
export interface Malformed {
  readonly malformed: string;
  readonly raw: string;
}

export function isMalformed(value: Message | Malformed): value is Malformed {
  return 'malformed' in value;
}

/** Messages never change, and the same one is written to the outbox and to each of its roads: so its text is kept as long as it is. */
const texts = new WeakMap<Message, string>();

/** JSON of the structured mode. Throws `tooLarge` over `limits.eventBytesMax`. */
export function encode(message: Message): string {
  const known = texts.get(message);
  if (known !== undefined) return known;
  const text = JSON.stringify(message);
  if (text.length * 3 > limits.eventBytesMax && Buffer.byteLength(text) > limits.eventBytesMax) {
    throw new PortError('tooLarge', `${message.type} ${message.id} is over ${limits.eventBytesMax} bytes`, { key: message.id });
  }
  texts.set(message, text);
  return text;
}

const attributes = ['id', 'source', 'type', 'subject', 'time', 'partitionkey', 'sequence', 'dataversion'] as const;

/** Never throws: what is no message becomes `Malformed`. The shape of `data` is checked later, by its type. */
export function decode(text: string): Message | Malformed {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { malformed: 'not JSON', raw: text };
  }
  return examined(value, () => text);
}

/** The rest of `decode`, for wires on which an envelope does not come as one text. Never throws, and asks for the raw text only if it is needed. */
export function examined(value: unknown, raw: () => string): Message | Malformed {
  const complaint = complaintAbout(value);
  return complaint === undefined ? (value as Message) : { malformed: complaint, raw: raw() };
}

function complaintAbout(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'not an object';
  const record = value as Record<string, unknown>;
  if (record['specversion'] !== '1.0') return 'specversion is not 1.0';
  for (const name of attributes) {
    if (typeof record[name] !== 'string' || record[name] === '') return `${name} is missing`;
  }
  if (!('data' in record)) return 'data is missing';
  if ('malformed' in record) return 'malformed is no attribute of ours';
  return undefined;
}

/** Like `decode`, for places where we wrote the text ourselves. Throws `Invalid`. */
export function decoded(text: string): Message {
  const message = decode(text);
  if (isMalformed(message)) throw new Invalid(`malformed message: ${message.malformed}`);
  return message;
}
