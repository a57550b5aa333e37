import { app, type HttpMethod, type HttpRequest, type HttpResponseInit, type InvocationContext } from '@azure/functions';
import { deliveredOf, receivedOf } from '../adapters/azure/trigger.ts';
import type { HttpAnswer } from './answer.ts';
import { connections, functions, retryEverySeconds, schedule, type FunctionRow, type HttpRow } from './functions.ts';
import type { HttpEvent } from './host.ts';
import { answerTo, follow, openedBy, tick, workOff } from './platform.ts';

/**
 * AZURE FUNCTIONS, programming model v4: registers every function of the list, and hands what the worker brings to the same chains and the same kernel as every other host.
 * Loading this file only registers; the shop is opened by the first invocation of the process and serves all of them. What a function uses is loaded when it is used: of the
 * services its own, of the SDKs those of its ports; and what no answer needs (the brokers', telemetry) after the answer.
 */

/** The platform tells under which name the app is reached (https://learn.microsoft.com/azure/app-service/reference-app-settings). */
const opened = openedBy({ env: process.env, url: () => `https://${process.env['WEBSITE_HOSTNAME'] ?? 'localhost'}`, answered: allAnswered });

// ---------------------------------------------------------------- after the answer

/** Requests under way: each resolves with its answer, and never rejects. */
const underWay = new Set<Promise<unknown>>();
/** The worker still has to write an answer to the platform when the function has returned it; and whoever loads an SDK lets nothing else run. */
const writingMilliseconds = 100;

function allAnswered(): Promise<void> | undefined {
  if (underWay.size === 0) return undefined;
  return Promise.all(underWay).then(() => new Promise((resolve) => setTimeout(resolve, writingMilliseconds)));
}

async function watched(answering: Promise<HttpResponseInit>): Promise<HttpResponseInit> {
  underWay.add(answering);
  try {
    return await answering;
  } finally {
    underWay.delete(answering);
  }
}

// ---------------------------------------------------------------- registrations

const register: { readonly [K in FunctionRow['kind']]: (row: Extract<FunctionRow, { kind: K }>) => void } = {
  http: (row) => app.http(row.name, { authLevel: 'anonymous', methods: [...row.methods] as HttpMethod[], route: row.route, handler: (request, context) => watched(answer(row, request, context)) }),
  queue: (row) =>
    app.serviceBusQueue(row.name, {
      connection: connections.serviceBus, queueName: row.queue, cardinality: 'one', autoCompleteMessages: true, handler: async (input, { triggerMetadata }) => workOff(opened(), row, receivedOf(row.queue, input, triggerMetadata ?? {})),
    }),
  stream: (row) =>
    app.eventHub(row.name, {
      connection: connections.eventHubs, eventHubName: row.stream, consumerGroup: row.service, cardinality: 'many',
      retry: { strategy: 'fixedDelay', delayInterval: { seconds: retryEverySeconds }, maxRetryCount: -1 },
      handler: async (input, { triggerMetadata }) => follow(opened(), row, deliveredOf(row.stream, input, triggerMetadata ?? {})),
    }),
  timer: (row) => app.timer(row.name, { schedule: schedule(row.everySeconds), handler: () => tick(opened(), row) }),
};

for (const row of functions) (register[row.kind] as (row: FunctionRow) => void)(row);

// ---------------------------------------------------------------- HTTP

async function answer(row: HttpRow, request: HttpRequest, invocation: InvocationContext): Promise<HttpResponseInit> {
  const query = (): string => new URL(request.url).search.slice(1);
  return responseOf(request, await answerTo(opened(), row, { event: () => eventOf(request), query, complain: (text) => invocation.error(text) }));
}

async function eventOf(request: HttpRequest): Promise<HttpEvent> {
  const { pathname, searchParams } = new URL(request.url);
  const headers = Object.fromEntries(request.headers);
  const remote = remoteOf(headers['x-forwarded-for']);
  return {
    method: request.method === 'HEAD' ? 'GET' : request.method,
    path: pathname,
    params: request.params,
    query: searchParams,
    headers,
    body: new Uint8Array(await request.arrayBuffer()),
    ...(remote === undefined ? {} : { remote }),
  };
}

/** The platform's own front adds the address that it sees behind whatever the client has put there: so the last one is true, and only that. */
function remoteOf(forwardedFor: string | undefined): string | undefined {
  const last = forwardedFor?.split(',').at(-1)?.trim();
  return last?.replace(/^\[(.*)\](:\d+)?$/, '$1').replace(/^([\d.]+):\d+$/, '$1') || undefined;
}

function responseOf({ method }: HttpRequest, { status, headers, body }: HttpAnswer): HttpResponseInit {
  return { status, headers, ...(method === 'HEAD' || body.length === 0 ? {} : { body }) };
}
