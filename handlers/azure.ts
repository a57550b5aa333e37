import { app, type HttpMethod, type HttpRequest, type HttpResponseInit, type InvocationContext } from '@azure/functions';
import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { deliveredOf, receivedOf } from '../adapters/azure/trigger.ts';
import { clocks, doors, type ClockName, type DoorName, type DoorsOf, type OwnerName, type ServiceName } from '../core/flow.ts';
import type { AnyService } from '../core/kernel/service.ts';
import type { Log } from '../ports/index.ts';
import type { HttpAnswer } from './answer.ts';
import type { Shop, Surroundings } from './container.ts';
import { connections, functions, functionSeconds, retryEverySeconds, schedule, type FunctionRow, type HttpRow, type OwnTimer, type QueueRow, type StreamRow, type TimerRow } from './functions.ts';
import type { HttpContext, HttpEvent, HttpHandler } from './host.ts';
import type { Find } from './routes.ts';

/**
 * AZURE FUNCTIONS, programming model v4: registers every function of the list, and hands what the worker brings to the same chains and the same kernel as every other host.
 * Loading this file only registers; the shop is opened by the first invocation of the process and serves all of them. What a function uses is loaded when it is used: of the
 * services its own, of the SDKs those of its ports; and what no answer needs (the brokers', telemetry) after the answer.
 */
interface Opened {
  readonly shop: Shop;
  readonly context: HttpContext;
}

let opening: Promise<Opened> | undefined;

/** Once a process; a start that failed is tried again by the next invocation. */
function opened(): Promise<Opened> {
  opening ??= open().catch((error: unknown) => {
    opening = undefined;
    throw error;
  });
  return opening;
}

async function open(): Promise<Opened> {
  const [{ openShop }, { parseSettings }] = await Promise.all([import('./container.ts'), import('./settings.ts')]);
  // Everybody can reach a function app: what is only for this machine stays closed, whatever HOST says.
  const settings = { ...parseSettings(process.env), host: '0.0.0.0' };
  // The platform tells under which name the app is reached (https://learn.microsoft.com/azure/app-service/reference-app-settings).
  const url = settings.shopUrl ?? `https://${process.env['WEBSITE_HOSTNAME'] ?? 'localhost'}`;
  const post: Surroundings['post'] = async (...notice) => (await import('../adapters/carriers/carrier.ts')).httpPost(url)(...notice);
  const shop = await openShop(settings, { shopUrl: () => url, post, log: lateLog(settings.logLevel), answered: allAnswered });
  const { kernel } = shop;
  // Without a token of its own the admin API stays shut: a random one would differ from process to process.
  return { shop, context: { kernel, adminToken: settings.adminToken ?? kernel.ids.random(), rateLimit: settings.rateLimit } };
}

/** What writes lines is loaded by the first line. They keep their order, since each waits for the same file. */
function lateLog(level: string): Log {
  let log: Promise<Log> | undefined;
  const at = (each: keyof Log) => (data: object, text: string): void => {
    log ??= import('./log.ts').then(({ createLog }) => createLog(level));
    void log.then((ready) => ready[each](data, text));
  };
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

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

// Code that is compiled for each shape is for processes that live long: the first request would wait for it.
z.config({ jitless: true });

// ---------------------------------------------------------------- registrations

const register: { readonly [K in FunctionRow['kind']]: (row: Extract<FunctionRow, { kind: K }>) => void } = {
  http: (row) => app.http(row.name, { authLevel: 'anonymous', methods: [...row.methods] as HttpMethod[], route: row.route, handler: (request, context) => watched(answer(row, request, context)) }),
  queue: (row) =>
    app.serviceBusQueue(row.name, {
      connection: connections.serviceBus, queueName: row.queue, cardinality: 'one', autoCompleteMessages: true, handler: (input, context) => workOff(row, input, context),
    }),
  stream: (row) =>
    app.eventHub(row.name, {
      connection: connections.eventHubs, eventHubName: row.stream, consumerGroup: row.service, cardinality: 'many',
      retry: { strategy: 'fixedDelay', delayInterval: { seconds: retryEverySeconds }, maxRetryCount: -1 },
      handler: (input, context) => follow(row, input, context),
    }),
  timer: (row) => app.timer(row.name, { schedule: schedule(row.everySeconds), handler: () => tick(row) }),
};

for (const row of functions) (register[row.kind] as (row: FunctionRow) => void)(row);

// ---------------------------------------------------------------- invocations

async function workOff(row: QueueRow, input: unknown, { triggerMetadata }: InvocationContext): Promise<void> {
  const [{ shop }, service, { work }] = await Promise.all([opened(), serviceOf(row.service), import('./trigger.ts')]);
  await work(shop.kernel, service, receivedOf(row.queue, input, triggerMetadata ?? {}));
}

async function follow(row: StreamRow, input: unknown, { triggerMetadata }: InvocationContext): Promise<void> {
  const [{ shop }, service, { deliver }] = await Promise.all([opened(), serviceOf(row.service), import('./trigger.ts')]);
  await deliver(shop.kernel, service, deliveredOf(row.stream, input, triggerMetadata ?? {}), functionSeconds);
}

/** May run on several instances at once. What fails shows as a failed run, and the next one comes anyway. */
async function tick({ name }: TimerRow): Promise<void> {
  const { shop } = await opened();
  const clock = name in clocks ? (await serviceOf(clocks[name as ClockName].service)).ticks[name] : undefined;
  await (clock ? clock(shop.kernel) : own[name as OwnTimer](shop));
}

const sweepAfterSeconds = 30;
const own: { readonly [T in OwnTimer]: (shop: Shop) => Promise<unknown> } = {
  sweepOutbox: ({ kernel }) => kernel.relay.sweep(sweepAfterSeconds),
  retryParked: async ({ kernel }) => (await import('../core/kernel/park.ts')).retryParked(kernel, await allServices()),
  forgetSeen: async ({ kernel }) => (await import('../core/kernel/forget.ts')).forgetSeen(kernel),
  catchUp: async ({ kernel }) => (await import('./trigger.ts')).catchUp(kernel, await allServices(), functionSeconds),
  // As the drains of what the broker has put aside.
  async doChores({ chores }) {
    for (const { tick: chore } of chores) await chore();
  },
  demoCarrier: ({ carrier }) => carrier.tick(),
};

// ---------------------------------------------------------------- services, each by itself

const serviceFiles: { readonly [S in ServiceName]: () => Promise<AnyService> } = {
  order: async () => (await import('../core/order/index.ts')).order,
  inventory: async () => (await import('../core/inventory/index.ts')).inventory,
  product: async () => (await import('../core/product/index.ts')).product,
  shipping: async () => (await import('../core/shipping/index.ts')).shipping,
  notification: async () => (await import('../core/notification/index.ts')).notification,
  website: async () => (await import('../core/website/index.ts')).website,
};
const doorFiles: { readonly [S in OwnerName]: () => Promise<{ readonly [D in DoorsOf<S>]: HttpHandler }> } = {
  order: () => import('./order.ts'),
  inventory: () => import('./inventory.ts'),
  product: () => import('./product.ts'),
  shipping: () => import('./shipping.ts'),
  notification: () => import('./notification.ts'),
  operations: () => import('./operations.ts'),
  website: () => import('./website.ts'),
};

const serviceOf = (name: ServiceName): Promise<AnyService> => serviceFiles[name]();
const allServices = async (): Promise<readonly AnyService[]> => (await import('./index.ts')).services;

async function handlerOf(door: DoorName): Promise<HttpHandler> {
  const handlers: { readonly [door: string]: HttpHandler } = await doorFiles[doors[door].service]();
  return handlers[door]!;
}

// ---------------------------------------------------------------- HTTP

async function answer(row: HttpRow, request: HttpRequest, invocation: InvocationContext): Promise<HttpResponseInit> {
  try {
    // While the store is waited for, the rest is loaded.
    const [{ context }, event, handle] = await Promise.all([opened(), eventOf(request), row.door ? handlerOf(row.door) : undefined]);
    return responseOf(request, handle ? await handle(event, context) : await answerAnything(event, context, request));
  } catch (error) {
    // The doors answer for themselves: only what is before them comes here, as a start that failed.
    invocation.error(error instanceof Error ? error.message : error);
    const { faultOf, problem } = await import('./answer.ts');
    return responseOf(request, problem(faultOf(error), randomUUID()));
  }
}

let find: Find | undefined;

/** What the platform has not routed to a door. */
async function answerAnything(event: HttpEvent, context: HttpContext, request: HttpRequest): Promise<HttpAnswer> {
  const [{ createRouter, splitAt, unreadablePath }, { errorAnswer }] = await Promise.all([import('./routes.ts'), import('./answer.ts')]);
  find ??= createRouter({ context, ready: () => true });
  const unread = unreadablePath(event.path, splitAt(request.url, '?')[1]);
  const found = unread ? { fault: unread } : find(event.method, event.path);
  if ('route' in found) return found.route.answer({ ...event, params: found.params });
  const asPage = !event.path.startsWith('/api/') && (event.headers['accept'] ?? '').includes('text/html');
  return errorAnswer(found.fault, randomUUID(), asPage, context.kernel.settings.shopName);
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
