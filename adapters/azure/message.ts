import { createHash } from 'node:crypto';
import { decode, encode, examined, type Malformed, type Message } from '../../ports/index.ts';

/**
 * OUR MESSAGES ON AZURE'S WIRE: CloudEvents 1.0.2 in the binary mode of its AMQP binding (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/amqp-protocol-binding.md):
 * the body is the data, the content type says what it is, every other attribute is an application property `cloudEvents_…`. Beside them stand the fields that the tools
 * of the platform show: MessageId, CorrelationId, Subject, and the trace context under the two names under which Azure's own libraries read it.
 *
 * Strangers are read tolerantly: properties with a colon (`cloudEvents:`), the structured mode, and a bare envelope as JSON. What cannot be read is `Malformed`, whole.
 */
export interface Parts {
  readonly body: unknown;
  readonly contentType?: string | undefined;
  readonly properties?: Readonly<Record<string, unknown>> | undefined;
}

export interface Encoded {
  readonly body: Buffer;
  readonly contentType: string;
  readonly subject?: string;
  readonly correlationId?: string;
  readonly properties: Record<string, string | number>;
}

const prefix = 'cloudEvents_';
const attributePattern = /^cloudEvents[_:]([a-z0-9]{1,40})$/;
const structuredType = /^application\/cloudevents\+json\b/i;
/** Letters of an attribute beyond which the message travels in one piece: all properties together have 64 KB (https://learn.microsoft.com/azure/service-bus-messaging/service-bus-quotas). */
const attributeLettersMax = 1_024;
/** MessageId, PartitionKey and their like have 128 characters (the same page). */
export const nativeLettersMax = 128;

/** Throws `tooLarge` for a message over `limits.eventBytesMax`. */
export function encodedOf(message: Message): Encoded {
  const text = encode(message);
  const body = JSON.stringify(message.data) as string | undefined;
  const properties = propertiesOf(message);
  if (body === undefined || properties === undefined) return { body: Buffer.from(text), contentType: 'application/cloudevents+json; charset=utf-8', ...nativesOf(message), properties: {} };
  if (message.traceparent !== undefined) Object.assign(properties, { traceparent: message.traceparent, 'Diagnostic-Id': message.traceparent });
  return { body: Buffer.from(body), contentType: 'application/json; charset=utf-8', ...nativesOf(message), properties };
}

/** `undefined` if one of them has another type than text, or no place there: then the message travels in the structured mode, which keeps everything as it is. */
function propertiesOf(message: Message): Record<string, string> | undefined {
  const properties: Record<string, string> = {};
  for (const [name, value] of Object.entries(message)) {
    if (name === 'data') continue;
    const property = prefix + name;
    if (typeof value !== 'string' || value.length > attributeLettersMax || !attributePattern.test(property) || /\p{Cs}/u.test(value)) return undefined;
    properties[property] = value;
  }
  return properties;
}

function nativesOf({ type, correlationid }: Message): Pick<Encoded, 'subject' | 'correlationId'> {
  return {
    ...(isNative(type) ? { subject: type } : {}),
    ...(isNative(correlationid) ? { correlationId: correlationid } : {}),
  };
}

const isNative = (value: unknown): value is string => typeof value === 'string' && value !== '' && value.length <= nativeLettersMax;

/** A text in the length that the broker allows for its own ids and keys: itself, or what stands for it. */
export function nativeOf(text: string): string {
  return isNative(text) ? text : createHash('sha256').update(text).digest('hex');
}

/** Never throws. */
export function messageOf({ body, contentType, properties = {} }: Parts): Message | Malformed {
  const text = textOf(body);
  const attributes = attributesOf(properties);
  if (attributes === undefined || structuredType.test(contentType ?? '')) return decode(text);
  const whole = (): string => JSON.stringify({ ...attributes, data: undefined, body: text });
  const data = parsed(text);
  if (data === undefined) return { malformed: 'data is not JSON', raw: whole() };
  // The trace of a stranger may stand beside the event and not in it.
  const traceparent = attributes['traceparent'] ?? properties['traceparent'] ?? properties['Diagnostic-Id'];
  if (typeof traceparent === 'string') attributes['traceparent'] = traceparent;
  attributes['data'] = data.value;
  return examined(attributes, whole);
}

/** The attributes among the properties; `undefined` if there is none, which means that this is not the binary mode. */
function attributesOf(properties: Readonly<Record<string, unknown>>): Record<string, unknown> | undefined {
  const attributes: Record<string, unknown> = {};
  let some = false;
  for (const [property, value] of Object.entries(properties)) {
    const name = attributePattern.exec(property)?.[1];
    if (name === undefined || name === 'data') continue;
    some = true;
    attributes[name] = name === 'time' ? timeOf(value) : value;
  }
  return some ? attributes : undefined;
}

/** The binding allows a timestamp of AMQP for a time, and the libraries make a number of it. */
function timeOf(value: unknown): unknown {
  const date = value instanceof Date ? value : typeof value === 'number' ? new Date(value) : undefined;
  return date === undefined || Number.isNaN(date.getTime()) ? value : date.toISOString();
}

/** A body as text, whichever section of AMQP it came in: bytes (in one piece or several), a text, or a value. */
export function textOf(body: unknown): string {
  if (typeof body === 'string') return body;
  if (body instanceof Uint8Array) return Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString();
  if (Array.isArray(body) && body.length > 0 && body.every((part) => part instanceof Uint8Array)) return Buffer.concat(body).toString();
  if (body === undefined || body === null) return '';
  return jsonOf(body) ?? String(body);
}

/** Values of AMQP can be such that JSON has no word for them. */
function jsonOf(value: unknown): string | undefined {
  try {
    return JSON.stringify(value);
  } catch {
    return undefined;
  }
}

function parsed(text: string): { readonly value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) as unknown };
  } catch {
    return undefined;
  }
}
