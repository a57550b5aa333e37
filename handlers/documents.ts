import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { createDocument, type ZodOpenApiOperationObject, type ZodOpenApiPathsObject, type ZodOpenApiResponseObject } from 'zod-openapi';
import { IdempotencyKey, doors, events, services, subscriptions, type DataOf, type Door, type DoorName, type EventName, type ServiceName } from '../core/flow.ts';
import type { PlaceOrder } from '../core/order/events.ts';
import type { DescribeProduct } from '../core/product/events.ts';
import { Problem, Time } from '../core/shapes.ts';
import type { Message, Road } from '../ports/index.ts';
import { isLimited } from './host.ts';

/**
 * THE TWO DOCUMENTS, generated from the same tables and shapes that route and validate: OpenAPI 3.1 of the doors under /api (pages are for people and left out), and
 * AsyncAPI 3.0 of the events. Nothing in them is written twice, so nothing in them can be out of date.
 */

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string };
const license = { name: 'MIT', identifier: 'MIT' };

// ---------------------------------------------------------------- OpenAPI

export function openapi(): object {
  const paths: ZodOpenApiPathsObject = {};
  for (const [name, door] of Object.entries(doors) as [DoorName, Door][]) {
    if (door.page) continue;
    paths[door.path] = { ...paths[door.path], [door.method.toLowerCase()]: operation(name, door) };
  }
  return createDocument(
    {
      openapi: '3.1.1',
      info: {
        title: 'Anyport', version, license,
        description: 'An order system for a web shop. Amounts are in minor units. Errors are problems (RFC 9457). Lists go on with `after=<next>`. Fields that are not listed are ignored. Before a request reaches an operation the server itself may answer 400, 408, 413, 417, 421 or 431, as a problem, too.',
      },
      servers: [{ url: '/' }],
      tags: [...services.filter((service) => service !== 'website'), 'operations', 'host'].map((name) => ({ name })),
      paths: { ...paths, ...health },
      webhooks: webhooks(),
      components: {
        securitySchemes: { admin: { type: 'http', scheme: 'bearer', description: 'ADMIN_TOKEN; printed at start when none is set' } },
      },
    },
    { override: ({ jsonSchema }) => plain(jsonSchema) },
  );
}

/** What zod writes of numbers and formats beyond what a reader wants to know. */
function plain(schema: Record<string, unknown>): void {
  if (schema['maximum'] === Number.MAX_SAFE_INTEGER) delete schema['maximum'];
  if (schema['minimum'] === Number.MIN_SAFE_INTEGER) delete schema['minimum'];
  if (schema['format'] === 'email' || schema['format'] === 'date-time') delete schema['pattern'];
  if (schema['additionalProperties'] === false) delete schema['additionalProperties'];
  if ('example' in schema) {
    schema['examples'] = [schema['example']];
    delete schema['example'];
  }
}

function operation(name: DoorName, door: Door): ZodOpenApiOperationObject {
  return {
    operationId: name,
    tags: [door.service],
    summary: door.summary,
    security: door.admin ? [{ admin: [] }] : [],
    ...parametersOf(door),
    ...bodyOf(name, door),
    responses: Object.fromEntries([
      ...Object.entries(door.replies).map(([status, shape]) => [status, success(Number(status), shape, door.text && 'text/plain')]),
      ...failuresOf(name, door).map((status) => [String(status), failures[status]]),
    ]),
  };
}

function parametersOf({ params, query, idempotent }: Door): Pick<ZodOpenApiOperationObject, 'requestParams'> {
  const header = idempotent && z.object({ 'idempotency-key': IdempotencyKey.meta({ description: 'A string of your own. The same request again under the same key gets the first answer.' }) });
  return { requestParams: { ...(params ? { path: params } : {}), ...(query ? { query } : {}), ...(header ? { header } : {}) } };
}

const placed: PlaceOrder = {
  customer: { name: 'Anna Bell', email: 'anna@example.com' },
  address: { line1: '1 High Street', city: 'Leeds', postcode: 'LS1 4AP', country: 'GB' },
  lines: [{ sku: '85123A', quantity: 2 }],
};
const described: DescribeProduct = { name: 'White hanging heart T-light holder', description: 'A heart for the window', price: { amount: 255, currency: 'GBP' } };
const examples: Readonly<Partial<Record<DoorName, object>>> = { placeOrder: placed, describeProduct: described, receiveStock: { quantity: 100 } };

function bodyOf(name: DoorName, { body, raw }: Door): Pick<ZodOpenApiOperationObject, 'requestBody'> {
  if (body) return { requestBody: { required: true, content: { 'application/json': { schema: body, ...(examples[name] ? { example: examples[name] } : {}) } } } };
  return raw ? { requestBody: noticeBody } : {};
}

const noticeBody = { required: true, description: 'As the carrier writes it; its signature is over these very bytes.', content: { 'application/json': { schema: { type: 'object' as const } } } };

function success(status: number, shape: z.ZodType | null, type = 'application/json'): ZodOpenApiResponseObject {
  const description = { 200: 'Done', 201: 'Made', 202: 'Asked for', 204: 'Taken' }[status] ?? 'Done';
  const headers = status === 201 ? { location: { description: 'Where it is', schema: { type: 'string' as const } } } : undefined;
  return { description, ...(headers ? { headers } : {}), ...(shape ? { content: { [type]: { schema: shape } } } : {}) };
}

const failure = (id: string, description: string, ...headers: string[]): ZodOpenApiResponseObject => ({
  id,
  description,
  ...(headers.length > 0 ? { headers: Object.fromEntries(headers.map((name) => [name, { schema: { type: 'string' as const } }])) } : {}),
  content: { 'application/problem+json': { schema: Problem } },
});
const failures: Readonly<Record<number, ZodOpenApiResponseObject>> = {
  400: failure('Invalid', 'It does not have the right shape; `errors` says where'),
  401: failure('Unauthorized', 'The token or the signature is missing or wrong', 'www-authenticate'),
  404: failure('NotFound', 'There is no such thing'),
  409: failure('Conflict', 'Not in this state, or the first request with this key is still under way'),
  413: failure('TooLarge', 'More than can be taken at once'),
  415: failure('UnsupportedMediaType', 'Only application/json in UTF-8, not compressed'),
  422: failure('Unprocessable', 'Well-formed, but impossible; `errors` says where'),
  429: failure('TooManyRequests', 'Too many from one address', 'retry-after'),
  500: failure('InternalError', 'Our fault; it has been noted'),
  503: failure('Unavailable', 'Not right now', 'retry-after'),
};

/** What the chain of a door can answer by itself (host.ts), and what its service refuses. */
function failuresOf(name: DoorName, door: Door): number[] {
  const { params, query, body, idempotent, admin, raw, refuses = [] } = door;
  const takes = body !== undefined || raw === true;
  const found = [
    ...(params || query || idempotent || takes ? [400] : []), ...(admin || raw ? [401] : []), 413, ...(body ? [415] : []),
    ...(isLimited(name) || admin ? [429] : []), ...refuses, 500, 503,
  ];
  return [...new Set(found)].sort((a, b) => a - b);
}

const given = (operationId: string, summary: string, responses: Record<string, ZodOpenApiResponseObject>): { get: ZodOpenApiOperationObject } => ({
  get: { operationId, tags: ['host'], summary, security: [], responses },
});
const state = { content: { 'application/json': { schema: z.object({ status: z.string() }) } } };
const document = { description: 'This', content: { 'application/json': { schema: { type: 'object' as const } } } };
const health: ZodOpenApiPathsObject = {
  '/healthz': given('health', 'The process lives', { 200: { description: 'It does', ...state } }),
  '/readyz': given('readiness', 'The shop can serve', { 200: { description: 'It can', ...state }, 503: { description: 'Not yet', ...state } }),
  '/openapi.json': given('openapi', 'This document', { 200: document }),
  '/asyncapi.json': given('asyncapi', 'The events between the services', { 200: document }),
};

const signatures = {
  easypost: { header: 'x-hmac-signature', form: 'hmac-sha256-hex=<hex HMAC-SHA256 of the body; the key is the secret in NFKD>' },
  shippo: { header: 'shippo-auth-signature', form: 't=<unix seconds>,v1=<hex HMAC-SHA256 of "<t>." + body>; at most 300 seconds old' },
  aftership: { header: 'aftership-hmac-sha256', form: '<base64 HMAC-SHA256 of the body>' },
} as const;

/** What carriers send us on their own accord, at /api/carriers/{carrier}/notices. */
function webhooks(): ZodOpenApiPathsObject {
  const { replies } = doors.takeNotice;
  const responses = Object.fromEntries([
    ...Object.entries(replies).map(([status, shape]) => [status, success(Number(status), shape)]),
    ...failuresOf('takeNotice', doors.takeNotice).map((status) => [String(status), failures[status]]),
  ]);
  return Object.fromEntries(
    Object.entries(signatures).map(([carrier, { header, form }]) => [
      carrier,
      {
        post: {
          operationId: `${carrier}Notice`, tags: ['shipping'], summary: `${carrier} tells where a parcel is`, security: [],
          requestParams: { header: z.object({ [header]: z.string().meta({ description: form }) }) },
          requestBody: noticeBody,
          responses,
        },
      },
    ]),
  );
}

// ---------------------------------------------------------------- AsyncAPI

export function asyncapi(): object {
  const schemas: Record<string, unknown> = {};
  const names = Object.keys(events) as EventName[];
  const messages = Object.fromEntries(names.map((name) => [name, messageOf(name, schemas)]));
  return {
    asyncapi: '3.0.0',
    info: {
      title: 'Anyport', version, license: { name: 'MIT' },
      description: 'What the six services say to each other: CloudEvents 1.0.2 on queues (work for one) and streams (facts for many). At least once; a receiver remembers `source` and `id`.',
    },
    defaultContentType: 'application/cloudevents+json',
    channels: Object.fromEntries(channelsOf().map((channel) => [channel.name, channelOf(channel)])),
    operations: operations(),
    components: { messages, schemas },
  };
}

interface Channel extends Road {
  readonly name: string;
  readonly says: ReadonlySet<EventName>;
}

function channelsOf(): Channel[] {
  const found = new Map<string, Channel & { says: Set<EventName> }>();
  for (const [event, { travels }] of Object.entries(events) as [EventName, { travels: readonly Road[] }][]) {
    for (const { kind, channel } of travels) {
      const known = found.get(channel) ?? { kind, channel, name: channel, says: new Set() };
      known.says.add(event);
      found.set(channel, known);
    }
  }
  return [...found.values()];
}

const cloudEvents = {
  mode: 'binary', contentType: 'application/json', attributes: 'application property cloudEvents_<name>; cloudEvents:<name> is understood as well',
};

/** There are no official bindings for Service Bus, Event Hubs and Kinesis; the extensions say the same for them. CloudEvents has none for SQS and Kinesis: structured mode. */
function channelOf({ kind, name, says }: Channel): object {
  const messages = Object.fromEntries([...says].map((event) => [event, { $ref: `#/components/messages/${event}` }]));
  if (kind === 'queue') {
    return {
      address: name,
      description: 'A queue: each message is for exactly one receiver, at least once, in no promised order.',
      messages,
      bindings: { sqs: { queue: { name, fifoQueue: false }, bindingVersion: '0.2.0' } },
      'x-azure-servicebus': { queue: name, cloudEvents, messageId: 'id', correlationId: 'correlationid', subject: 'type', requiresDuplicateDetection: false },
    };
  }
  return {
    address: name,
    description: 'A stream: every listening service reads all of it at its own pace; messages with one partition key keep their order.',
    messages,
    'x-azure-eventhubs': { eventHub: name, cloudEvents, partitionKey: 'partitionkey' },
    'x-aws-kinesis': { stream: name, cloudEvents: { mode: 'structured', contentType: 'application/cloudevents+json' }, partitionKey: 'partitionkey' },
  };
}

function operations(): Record<string, object> {
  const found: Record<string, object> = {};
  const add = (action: 'send' | 'receive', service: ServiceName, channel: string, said: readonly string[], summary: string): void => {
    found[`${service}.${action}.${channel}`] = {
      action,
      title: `${service} ${action === 'send' ? 'says' : 'hears'}`,
      summary,
      channel: { $ref: `#/channels/${channel}` },
      messages: said.map((event) => ({ $ref: `#/channels/${channel}/messages/${event}` })),
      tags: [{ name: service }],
    };
  };
  for (const { name, says } of channelsOf()) {
    for (const service of services) {
      const said = [...says].filter((event) => events[event].from === service);
      if (said.length > 0) add('send', service, name, said, said.map((event) => events[event].why).join(' · '));
    }
  }
  for (const { service, channel, hears, polled } of subscriptions) add('receive', service, channel, [...hears], polled ? 'Retrieved by a clock, not pushed' : 'Handled as it comes');
  return found;
}

function messageOf(name: EventName, schemas: Record<string, unknown>): object {
  const { from, version: dataversion, shape, why } = events[name];
  schemas[`${name}Data`] = jsonSchema(shape, schemas);
  schemas['CloudEvent'] ??= jsonSchema(Envelope, schemas);
  return {
    name,
    title: name,
    summary: why,
    contentType: 'application/cloudevents+json',
    payload: {
      allOf: [{ $ref: '#/components/schemas/CloudEvent' }],
      type: 'object',
      required: ['data'],
      properties: {
        type: { const: name }, source: { const: `/${from}` }, dataversion: { const: String(dataversion) }, data: { $ref: `#/components/schemas/${name}Data` },
      },
    },
    examples: [{ name: 'one', payload: exampleOf(name) }],
  };
}

/** The envelope of ports/message.ts. */
const Envelope = z.object({
  specversion: z.literal('1.0'),
  id: z.string().min(1).describe('With `source` the identity of the message, the same on every road and repetition'),
  source: z.string().min(1).describe('The service that said it'),
  type: z.string().min(1),
  subject: z.string().min(1).describe('The order or the product that it is about'),
  time: Time,
  partitionkey: z.string().min(1),
  sequence: z.string().min(1).describe('The how-manieth message of its subject, in ten digits'),
  dataversion: z.string().min(1).describe('The version of the shape of `data`'),
  correlationid: z.string().optional(),
  causationid: z.string().optional(),
  traceparent: z.string().optional(),
});

/** JSON Schema draft 7, which is what AsyncAPI speaks. Shapes with a name of their own become components. */
function jsonSchema(shape: z.ZodType, schemas: Record<string, unknown>): unknown {
  const made = z.toJSONSchema(shape, { target: 'draft-7', override: ({ jsonSchema: schema }) => plain(schema) });
  const { definitions = {}, ...rest } = JSON.parse(JSON.stringify(made).replaceAll('#/definitions/', '#/components/schemas/')) as Record<string, unknown>;
  delete rest['$schema'];
  for (const [id, definition] of Object.entries(definitions as object)) schemas[id] = definition;
  return rest;
}

const orderId = '7z1k5v0q2m8x4c6b9n3h5j7g2d';
const at = '2026-11-23T10:15:00.000Z';
const parcel = { orderId, carrier: 'demo', trackingNumber: 'DP0123456789ABCDEF01' };
const level = { sku: '85123A', available: 98, stockVersion: 7 };
const bought = { sku: '85123A', name: described.name, quantity: 2, unitPrice: 255 };

/** One of each, typed by its shape; a test holds them against the shapes as well. */
export const eventExamples: { readonly [E in EventName]: DataOf<E> } = {
  OrderPlaced: { orderId, placedAt: at, customer: placed.customer, address: placed.address, lines: [bought], total: { amount: 510, currency: 'GBP' } },
  InventoryReserved: { orderId, shipTo: { name: placed.customer.name, ...placed.address }, lines: [{ ...level, quantity: 2 }] },
  Backordered: { orderId, short: [{ sku: '85123A', needed: 2, free: 0 }] },
  ProductInfoUpdated: { sku: '85123A', ...described, stock: 'InStock', version: 1 },
  OrderFulfillment: parcel,
  OrderDelivered: { ...parcel, deliveredAt: at },
  CancellationRequested: { orderId },
  ShippingStopped: { orderId },
  StockChanged: { levels: [level] },
  StockFreed: { skus: ['85123A'] },
};

function exampleOf(name: EventName): Message {
  const { from, version: dataversion } = events[name];
  const subject = from === 'product' ? '85123A' : orderId;
  return {
    specversion: '1.0', id: `${subject}.3.0`, source: `/${from}`, type: name, subject, time: at, partitionkey: subject, sequence: '0000000003', dataversion: String(dataversion),
    correlationid: orderId, data: eventExamples[name],
  };
}
