import { deliveredOf, receivedOf, type KinesisEvent, type SqsEvent } from '../adapters/aws/trigger.ts';
import type { HttpAnswer } from './answer.ts';
import { functions, type FunctionRow, type HttpRow, type QueueRow, type StreamRow } from './functions.ts';
import type { HttpEvent } from './host.ts';
import { answerTo, follow, openedBy, serviceOf, tick, workOff, type Opened } from './platform.ts';

/**
 * AWS LAMBDA: every function of the list, under its name in `lambdas`: API Gateway's requests (payload 2.0), batches of SQS and of Kinesis, schedules. Loading this file opens
 * nothing; the shop is opened by the first invocation of the process.
 *
 * - A batch of a queue is worked off message by message, and those that could not be settled are reported alone (ReportBatchItemFailures).
 * - A batch of a stream that could not be handled to its end is reported from its first event that has not been handled on; when there is none before it that was, it throws.
 * - Between two invocations a process stands still. So nothing is left for after the answer, as it is on a platform whose processes go on.
 */

/** https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html#services-sqs-batchfailurereporting */
export interface BatchResponse {
  readonly batchItemFailures: readonly { readonly itemIdentifier: string }[];
}

export type Lambda = (event: unknown) => Promise<unknown>;

/** On a shop that is opened in another way, as tests do. `elsewhere`: its streams are not in Kinesis, so nothing there can lie before a batch. */
export function lambdasOn(opened: () => Promise<Opened>, { elsewhere = false }: { readonly elsewhere?: boolean } = {}): Readonly<Record<string, Lambda>> {
  const lambdaOf: { readonly [K in FunctionRow['kind']]: (row: Extract<FunctionRow, { kind: K }>) => Lambda } = {
    http: (row) => (event) => answer(opened(), row, event as ApiEvent),
    queue: (row) => (event) => workEach(opened(), row, event as SqsEvent),
    stream: (row) => (event) => followBatch(opened(), row, event as KinesisEvent, elsewhere),
    timer: (row) => () => tick(opened(), row),
  };
  return Object.fromEntries(functions.map((row) => [row.name, (lambdaOf[row.kind] as (row: FunctionRow) => Lambda)(row)]));
}

/** In the cloud its streams are in Kinesis; `sls invoke local` tries functions on a shop that has them on this machine. */
const elsewhere = ['memory', 'embedded'].includes(process.env['ADAPTERS'] ?? '');
export const lambdas = lambdasOn(openedBy({ env: process.env, url: () => 'http://localhost:3000' }), { elsewhere });

// ---------------------------------------------------------------- queues and streams

async function workEach(opening: Promise<Opened>, row: QueueRow, event: SqsEvent): Promise<BatchResponse> {
  const received = receivedOf(row.queue, event);
  const { shop: { kernel: { log } } } = await opening;
  const outcomes = await Promise.allSettled(received.map((each) => workOff(opening, row, [each])));
  const batchItemFailures = outcomes.flatMap((outcome, nth) => {
    if (outcome.status === 'fulfilled') return [];
    log.error({ function: row.name, error: outcome.reason as unknown }, 'a message could not be settled, and comes again');
    return [{ itemIdentifier: event.Records[nth]!.messageId }];
  });
  return { batchItemFailures };
}

async function followBatch(opening: Promise<Opened>, row: StreamRow, event: KinesisEvent, elsewhere: boolean): Promise<BatchResponse> {
  const { shop: { kernel } } = await opening;
  const delivered = deliveredOf(row.stream, event, kernel.clock.now());
  const delivery = elsewhere ? { ...delivered, follows: () => true } : delivered;
  try {
    await follow(opening, row, delivery);
    return { batchItemFailures: [] };
  } catch (error) {
    const { handledOf } = await import('./trigger.ts');
    // A store that cannot be asked either: the whole batch comes again.
    const handled = await handledOf(kernel, await serviceOf(row.service), delivery).catch(() => 0);
    if (handled === 0) throw error;
    kernel.log.error({ function: row.name, error, handled }, 'a batch could not be handled to its end, and comes again from there');
    return { batchItemFailures: delivery.sequenceNumbers.slice(handled, handled + 1).map((itemIdentifier) => ({ itemIdentifier })) };
  }
}

// ---------------------------------------------------------------- HTTP

/** What we read of https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html, payload 2.0. */
export interface ApiEvent {
  readonly rawPath: string;
  readonly rawQueryString?: string;
  readonly cookies?: readonly string[];
  readonly headers?: Readonly<Record<string, string>>;
  readonly pathParameters?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly isBase64Encoded?: boolean;
  readonly requestContext: { readonly http: { readonly method: string; readonly sourceIp?: string } };
}

export interface ApiResponse {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly cookies?: readonly string[];
  readonly body?: string;
  readonly isBase64Encoded?: boolean;
}

async function answer(opening: Promise<Opened>, row: HttpRow, event: ApiEvent): Promise<ApiResponse> {
  const asked = { event: async () => eventOf(event), query: () => event.rawQueryString ?? '', complain: (text: string) => console.error(text) };
  return responseOf(event.requestContext.http.method, await answerTo(opening, row, asked));
}

/** Bytes are what they were: whatever is signed is signed over them. Several headers of one name come joined by commas, cookies by themselves. */
function eventOf({ rawPath, rawQueryString = '', cookies = [], headers = {}, pathParameters = {}, body = '', isBase64Encoded = false, requestContext: { http: { method, sourceIp } } }: ApiEvent): HttpEvent {
  const named = Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value] as const);
  return {
    method: method === 'HEAD' ? 'GET' : method,
    path: rawPath,
    params: pathParameters,
    query: new URLSearchParams(rawQueryString),
    headers: { ...Object.fromEntries(named), ...(cookies.length > 0 ? { cookie: cookies.join('; ') } : {}) },
    body: new Uint8Array(Buffer.from(body, isBase64Encoded ? 'base64' : 'utf8')),
    ...(sourceIp === undefined ? {} : { remote: sourceIp }),
  };
}

function responseOf(method: string, { status, headers: { 'set-cookie': cookie, ...headers }, body }: HttpAnswer): ApiResponse {
  const isText = typeof body === 'string';
  const given = method === 'HEAD' || body.length === 0 ? {} : { body: isText ? body : Buffer.from(body).toString('base64'), isBase64Encoded: !isText };
  return { statusCode: status, headers, ...(cookie === undefined ? {} : { cookies: [cookie] }), ...given };
}
