import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { doors, events, isEventName, subscriptions, type EventName } from '../../core/flow.ts';
import type { FunctionRow, HttpRow } from '../../handlers/functions.ts';
import { encode, type Message } from '../../ports/index.ts';
import { sample } from '../../test/contracts/samples.ts';
import { rows } from '../lambda.ts';

/**
 * GOLDEN PAYLOADS OF AWS: what Lambda hands to each function, in the shapes that AWS documents: requests of an HTTP API (payload 2.0), records of SQS and of Kinesis, scheduled events
 * (https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html, https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html, …/with-kinesis.html,
 * https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-run-lambda-schedule.html). Messages are the samples of the contracts, requests those of the other cloud's payloads.
 */
export const folder = fileURLToPath(new URL('../payloads/aws/', import.meta.url));

/** Name of the file → its text: one for each function; of what comes in batches, a batch as well, and one with something broken in it. */
export function golden(): ReadonlyMap<string, string> {
  const files = new Map<string, string>();
  const text = (payload: object): string => `${JSON.stringify(payload, undefined, 2)}\n`;
  for (const row of rows) {
    if (row.kind === 'http') files.set(`${row.name}.json`, text(requestOf(row)));
    else if (row.kind === 'timer') files.set(`${row.name}.json`, text(scheduled(row.name)));
    else {
      const messages = messagesFor(row);
      files.set(`${row.name}.json`, text(batchOf(row, messages.slice(0, 1))));
      files.set(`${row.name}.batch.json`, text(batchOf(row, messages)));
      files.set(`${row.name}.partial.json`, text(partialOf(row, messages)));
    }
  }
  return files;
}

/** Writes those that are not what is said here. */
export function writeGolden(): string[] {
  const stale = [...golden()].filter(([name, content]) => !existsSync(folder + name) || readFileSync(folder + name, 'utf8') !== content);
  for (const [name, content] of stale) writeFileSync(folder + name, content);
  return stale.map(([name]) => `aws/${name}`);
}

// ---------------------------------------------------------------- what all have in common

const region = 'eu-central-1';
const account = '123456789012';
/** At a time that stays within every horizon. */
const at = Date.parse('2099-01-01T09:00:00.125Z');
const arnOf = (service: string, name: string): string => `arn:aws:${service}:${region}:${account}:${name}`;

// ---------------------------------------------------------------- requests

interface Asked {
  readonly method?: string;
  readonly url?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly params?: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

function requestOf({ name, door, methods, route }: HttpRow): object {
  const asked = JSON.parse(readFileSync(fileURLToPath(new URL(`../payloads/${name}.json`, import.meta.url)), 'utf8')) as Asked;
  const { method = methods[0]!, params = {}, body } = asked;
  const template = asked.url ?? (door ? doors[door].path : `/${route}`);
  const [path = '', query = ''] = Object.entries(params).reduce((filled, [key, value]) => filled.replace(`{${key}}`, value), template).split('?');
  const { cookie, ...headers } = asked.headers ?? {};
  return apiRequest({ method, path, query, params, headers, body, cookies: cookie?.split('; ') ?? [], routeKey: door ? `${method} ${doors[door].path}` : '$default' });
}

export interface ApiRequest {
  readonly method: string;
  readonly path: string;
  readonly query?: string;
  readonly params?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  /** A text, or what becomes JSON. */
  readonly body?: unknown;
  readonly cookies?: readonly string[];
  readonly routeKey?: string;
  /** Otherwise as API Gateway does it: what is no JSON and no plain text comes in base64. */
  readonly base64?: boolean;
}

export function apiRequest({ method, path, query = '', params = {}, headers = {}, body, cookies = [], routeKey = '$default', base64 }: ApiRequest): object {
  const text = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body);
  const type = headers['content-type'] ?? (text === undefined || typeof body === 'string' ? undefined : 'application/json');
  const isBase64Encoded = text !== undefined && (base64 ?? !/^(text\/|application\/json)/.test(type ?? ''));
  const domainName = `a1b2c3d4e5.execute-api.${region}.amazonaws.com`;
  return {
    version: '2.0', routeKey, rawPath: path, rawQueryString: query,
    ...(cookies.length > 0 ? { cookies } : {}),
    headers: {
      accept: '*/*', ...(text === undefined ? {} : { 'content-length': String(Buffer.byteLength(text)) }), ...(type === undefined ? {} : { 'content-type': type }), host: domainName,
      'user-agent': 'curl/8.5.0', 'x-amzn-trace-id': 'Root=1-f298a5a0-000000000000000000000001', 'x-forwarded-for': '203.0.113.9', 'x-forwarded-port': '443', 'x-forwarded-proto': 'https', ...headers,
    },
    ...(query === '' ? {} : { queryStringParameters: Object.fromEntries(new URLSearchParams(query)) }),
    requestContext: {
      accountId: account, apiId: 'a1b2c3d4e5', domainName, domainPrefix: 'a1b2c3d4e5', http: { method, path, protocol: 'HTTP/1.1', sourceIp: '203.0.113.9', userAgent: 'curl/8.5.0' },
      requestId: 'JKJaXmPLvHcESHA=', routeKey, stage: '$default', time: '01/Jan/2099:09:00:00 +0000', timeEpoch: at,
    },
    ...(Object.keys(params).length > 0 ? { pathParameters: params } : {}),
    ...(text === undefined ? {} : { body: isBase64Encoded ? Buffer.from(text).toString('base64') : text }),
    isBase64Encoded,
  };
}

// ---------------------------------------------------------------- messages

type MessageRow = Extract<FunctionRow, { readonly kind: 'queue' | 'stream' }>;

/** Of everything that it hears on its channel: what has everything, and what has nothing that can be left out. */
function messagesFor(row: MessageRow): Message[] {
  const channel = row.kind === 'queue' ? row.queue : row.stream;
  const heard = subscriptions.find((each) => each.service === row.service && each.channel === channel)!.hears;
  const names: readonly EventName[] = Object.keys(events).filter((name) => isEventName(name) && heard.has(name)) as EventName[];
  return names.flatMap((name) => [sample(name, 'full'), sample(name, 'minimal')]).map((message) => JSON.parse(JSON.stringify(message).replaceAll('2026-11-20T', '2099-01-01T')) as Message);
}

const batchOf = (row: MessageRow, messages: readonly Message[]): object => (row.kind === 'queue' ? sqsBatch(row.queue, messages.map(encode)) : kinesisBatch(row.stream, messages));

/** What nobody can make anything of, between two that are whole; behind those of the batch. */
function partialOf(row: MessageRow, [one, other]: readonly Message[]): object {
  if (row.kind === 'queue') return sqsBatch(row.queue, [encode(one!), `{"specversion":"1.0","source":"/${row.queue}","type":`, encode(other!)]);
  return kinesisBatch(row.stream, [one!, { ...one!, id: 'broken', subject: 'nobody', partitionkey: 'nobody', data: {} }, other!], 1_001);
}

const md5 = (text: string): string => createHash('md5').update(text).digest('hex');

/** `bodies`: as they lie in the queue. */
export function sqsBatch(queue: string, bodies: readonly string[]): object {
  return {
    Records: bodies.map((body, nth) => ({
      messageId: `059f36b4-87a3-44ab-83d2-${String(nth).padStart(12, '0')}`, receiptHandle: `AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a${nth}==`, body,
      attributes: { ApproximateReceiveCount: '1', SentTimestamp: String(at), SenderId: 'AROAEXAMPLE:anyport', ApproximateFirstReceiveTimestamp: String(at + 8) },
      messageAttributes: { 'content-type': { stringValue: 'application/cloudevents+json; charset=utf-8', stringListValues: [], binaryListValues: [], dataType: 'String' } },
      md5OfBody: md5(body), eventSource: 'aws:sqs', eventSourceARN: arnOf('sqs', `anyport-prod-${queue}`), awsRegion: region,
    })),
  };
}

/** As Kinesis numbers them. */
export const sequenceNumber = (nth: number): string => String(49_590_338_271_490n * 10n ** 42n + BigInt(nth));

export function kinesisBatch(stream: string, messages: readonly Pick<Message, 'partitionkey'>[], from = 1): object {
  return {
    Records: messages.map((message, nth) => ({
      kinesis: {
        kinesisSchemaVersion: '1.0', partitionKey: message.partitionkey, sequenceNumber: sequenceNumber(from + nth),
        data: Buffer.from(JSON.stringify(message)).toString('base64'), approximateArrivalTimestamp: at / 1_000,
      },
      eventSource: 'aws:kinesis', eventVersion: '1.0', eventID: `shardId-000000000000:${sequenceNumber(from + nth)}`, eventName: 'aws:kinesis:record',
      invokeIdentityArn: `arn:aws:iam::${account}:role/anyport`, awsRegion: region, eventSourceARN: arnOf('kinesis', `stream/anyport-prod-${stream}`),
    })),
  };
}

// ---------------------------------------------------------------- schedules

export const scheduled = (name: string): object => ({
  version: '0', id: '53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa', 'detail-type': 'Scheduled Event', source: 'aws.events', account, time: new Date(at).toISOString().replace(/\.\d+Z$/, 'Z'), region,
  resources: [arnOf('events', `rule/anyport-prod-${name}`)], detail: {},
});
