import type { Registered } from './worker.ts';

/**
 * PAYLOADS: what a function is given, as one writes it into a file, and how it then comes over the wire.
 *
 * - A request: `{ "method", "url", "headers", "params", "body" }`; a body that is no text is sent as JSON.
 * - A message, an event, or a batch of them: `{ "data", "triggerMetadata" }`, as the platform gives them. A message of ours (CloudEvents, or a list of them) can stand by
 *   itself: then it is given what the platform would say about it: first receipt; partition 0, from its beginning.
 * - A timer: what the platform says about the schedule; nothing at all will do.
 */
export type Payload = unknown;

/** The part of the worker's protocol that is used here (https://github.com/Azure/azure-functions-language-worker-protobuf). */
export interface TypedData {
  readonly string?: string;
  readonly json?: string;
  readonly bytes?: Uint8Array;
  readonly http?: RpcHttp;
}
interface RpcHttp {
  readonly method?: string;
  readonly url?: string;
  readonly statusCode?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly nullableHeaders?: Nullable;
  readonly nullableParams?: Nullable;
  readonly nullableQuery?: Nullable;
  readonly body?: TypedData;
}
type Nullable = Readonly<Record<string, { readonly value: string }>>;

export interface Wire {
  readonly inputData: readonly { readonly name: string; readonly data: TypedData }[];
  readonly triggerMetadata: Readonly<Record<string, TypedData>>;
}

/** Throws an `Error` with one line about what is wrong with the payload. */
export function wireOf({ name: of, bindings }: Registered, payload: Payload): Wire {
  const [name, binding] = Object.entries(bindings).find(([, { type }]) => type.endsWith('Trigger'))!;
  const given = (data: TypedData, triggerMetadata: Record<string, unknown> = {}): Wire => ({
    inputData: [{ name, data }],
    triggerMetadata: Object.fromEntries(Object.entries(triggerMetadata).map(([key, value]) => [key, typed(value)])),
  });
  switch (binding.type) {
    case 'httpTrigger':
      return given({ http: requestOf(of, binding, recordOf(of, payload ?? {})) });
    case 'timerTrigger':
      return given({ json: JSON.stringify(payload ?? { Schedule: { AdjustForDST: true }, ScheduleStatus: null, IsPastDue: false }) });
    default: {
      const { data, triggerMetadata } = dressed(of, binding.type, payload);
      return given(typed(data), recordOf(of, triggerMetadata));
    }
  }
}

const typed = (value: unknown): TypedData => (typeof value === 'string' ? { string: value } : { json: JSON.stringify(value) });
const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);

function recordOf(of: string, value: unknown): Record<string, unknown> {
  if (!isRecord(value)) throw new Error(`the payload of ${of} must be an object, not ${JSON.stringify(value)?.slice(0, 60)}`);
  return value;
}

// ---------------------------------------------------------------- requests

function requestOf(of: string, binding: Readonly<Record<string, unknown>>, payload: Record<string, unknown>): RpcHttp {
  const { method = (binding['methods'] as string[])[0], url = `/${String(binding['route'])}`, headers = {}, params = {}, body } = payload;
  const unknown = Object.keys(payload).filter((key) => !['method', 'url', 'headers', 'params', 'body'].includes(key));
  if (unknown.length > 0) throw new Error(`the payload of ${of} has ${unknown.join(', ')}; a request has method, url, headers, params, body`);
  const filled = Object.entries(recordOf(of, params)).reduce((path, [name, value]) => path.replace(`{${name}}`, encodeURIComponent(String(value))), String(url));
  const address = new URL(filled.replace(/\{[^}]*\}/g, ''), 'https://localhost');
  return {
    method: String(method), url: address.href,
    nullableHeaders: nullable({ ...(body === undefined || typeof body === 'string' ? {} : { 'content-type': 'application/json' }), ...recordOf(of, headers) }),
    nullableParams: nullable(recordOf(of, params)),
    nullableQuery: nullable(Object.fromEntries(address.searchParams)),
    ...(body === undefined ? {} : { body: { bytes: Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)) } }),
  };
}

const nullable = (values: Record<string, unknown>): Nullable => Object.fromEntries(Object.entries(values).map(([name, value]) => [name, { value: String(value) }]));

// ---------------------------------------------------------------- messages

function dressed(of: string, type: string, payload: Payload): { readonly data: unknown; readonly triggerMetadata: unknown } {
  if (isRecord(payload) && 'data' in payload && 'triggerMetadata' in payload) return { data: payload['data'], triggerMetadata: payload['triggerMetadata'] };
  const isOurs = (value: unknown): boolean => isRecord(value) && 'specversion' in value;
  const messages = Array.isArray(payload) ? (payload as unknown[]) : [payload];
  if (messages.length === 0 || !messages.every(isOurs)) throw new Error(`the payload of ${of} must be a CloudEvent, a list of them, or { "data", "triggerMetadata" }`);
  const many = Array.isArray(payload);
  const said = (values: Record<string, (nth: number) => unknown>): Record<string, unknown> =>
    Object.fromEntries(Object.entries(values).map(([name, value]) => (many ? [`${name}Array`, messages.map((_, nth) => value(nth))] : [name, value(0)])));
  if (type === 'serviceBusTrigger') return { data: payload, triggerMetadata: said({ DeliveryCount: () => 1, ApplicationProperties: () => ({}), ContentType: () => 'application/cloudevents+json' }) };
  return {
    data: payload,
    triggerMetadata: {
      PartitionContext: { PartitionId: '0' },
      ...said({ SequenceNumber: (nth) => nth, PartitionKey: (nth) => (messages[nth] as Record<string, unknown>)['partitionkey'], Properties: () => ({}), SystemProperties: () => ({}) }),
    },
  };
}
