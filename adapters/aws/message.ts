import { createHash } from 'node:crypto';
import { decode, encode, isMalformed, type Malformed, type Message } from '../../ports/index.ts';

/**
 * OUR MESSAGES ON AWS'S WIRE. CloudEvents has no binding for SQS or Kinesis, so this is ours: the structured mode of CloudEvents 1.0.2, one JSON text a message, as the body
 * of SQS and as the data of a record of Kinesis. Beside the body SQS carries attributes, by which one can filter and look without reading it: the content type, the
 * type and id of the event, and the trace context. A record of Kinesis has no room for any.
 *
 * Strangers are read tolerantly where there is something to be tolerant about: a trace beside the envelope counts if there is none in it. What cannot be read is
 * `Malformed`, whole.
 */
export interface Attribute {
  readonly DataType: string;
  readonly StringValue: string;
}

export interface Encoded {
  readonly body: string;
  readonly attributes: Record<string, Attribute>;
}

/** What stands beside a body, by name; only texts. */
export interface Beside {
  /** Of the sender's. */
  readonly attributes?: Readonly<Record<string, string | undefined>>;
  /** Of X-Ray: the system attribute `AWSTraceHeader`. */
  readonly traceHeader?: string | undefined;
}

const contentType = 'application/cloudevents+json; charset=utf-8';
/** The key of a record (https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecordsRequestEntry.html). */
const nativeLettersMax = 256;
const plainText = /^[\x20-\x7e]{1,256}$/;

/**
 * The body for SQS, which takes the characters of XML alone (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html): JSON escapes all others
 * already, but not U+FFFE and U+FFFF. What lies outside of the basic plane is escaped as well, since not every server that speaks like SQS takes it. Outside of strings JSON has none of them.
 * Throws `tooLarge` for a message over `limits.eventBytesMax`.
 */
export function encodedOf(message: Message): Encoded {
  const text = encode(message);
  const body = /[\ud800-\udfff\ufffe\uffff]/.test(text) ? text.replace(/[\ud800-\udfff\ufffe\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16)}`) : text;
  const attributes: Record<string, Attribute> = { 'content-type': { DataType: 'String', StringValue: contentType } };
  const { type, id, traceparent } = message;
  for (const [name, value] of Object.entries({ cloudEvents_type: type, cloudEvents_id: id, traceparent })) {
    if (typeof value === 'string' && plainText.test(value)) attributes[name] = { DataType: 'String', StringValue: value };
  }
  return { body, attributes };
}

/** Never throws. */
export function messageOf(text: string, { attributes, traceHeader }: Beside = {}): Message | Malformed {
  const message = decode(text);
  if (isMalformed(message) || message.traceparent !== undefined) return message;
  const traceparent = attributes?.['traceparent'] ?? traceparentOf(traceHeader);
  return traceparent === undefined ? message : { ...message, traceparent };
}

/**
 * X-Ray's header as W3C's: the parts of its trace id are those of a trace id of W3C (https://docs.aws.amazon.com/xray/latest/devguide/xray-api-sendingdata.html#xray-api-traceids).
 * `undefined` for what is none.
 */
function traceparentOf(header: string | undefined): string | undefined {
  const root = /(?:^|;)\s*Root=1-([0-9a-f]{8})-([0-9a-f]{24})(?:;|$)/i.exec(header ?? '');
  const parent = /(?:^|;)\s*Parent=([0-9a-f]{16})(?:;|$)/i.exec(header ?? '');
  if (!root || !parent) return undefined;
  const sampled = /(?:^|;)\s*Sampled=1(?:;|$)/i.test(header!);
  return `00-${root[1]}${root[2]}-${parent[1]}-${sampled ? '01' : '00'}`.toLowerCase();
}

/** A partition key in the length and the characters that Kinesis takes: itself, or what stands for it. */
export function nativeOf(text: string): string {
  const isNative = text !== '' && text.length <= nativeLettersMax && !/\p{Cs}/u.test(text);
  return isNative ? text : createHash('sha256').update(JSON.stringify(text)).digest('hex');
}

/** What the stream port calls the key of an event: what the broker knows it by, and that is not always the whole key. */
export function keyOf(message: Message | Malformed, brokers: string): string {
  if (isMalformed(message)) return brokers;
  return brokers === nativeOf(message.partitionkey) ? message.partitionkey : brokers;
}
