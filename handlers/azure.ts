import { app, type HttpMethod, type HttpRequest, type HttpResponseInit, type InvocationContext } from '@azure/functions';
import { randomUUID } from 'node:crypto';
import { deliveredOf, receivedOf } from '../adapters/azure/trigger.ts';
import type { ServiceName } from '../core/flow.ts';
import type { AnyService } from '../core/kernel/service.ts';
import type { HttpAnswer } from './answer.ts';
import type { Shop } from './container.ts';
import { connections, functions, functionSeconds, retryEverySeconds, schedule, type FunctionRow, type HttpRow, type OwnTimer, type QueueRow, type StreamRow, type TimerRow } from './functions.ts';
import type { HttpContext, HttpEvent } from './host.ts';
import type { Find } from './routes.ts';

/**
 * AZURE FUNCTIONS, programming model v4: registers every function of the list, and hands what the worker brings to the same chains and the same kernel as every other host.
 * Loading this file only registers; the shop is opened by the first invocation of the process and serves all of them. What a function uses is loaded when it is used.
 */
interface Opened {
  readonly shop: Shop;
  readonly context: HttpContext;
  readonly services: readonly AnyService[];
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
  const [{ openShop }, { parseSettings }, { httpPost }, { services }] = await Promise.all([
    import('./container.ts'), import('./settings.ts'), import('../adapters/carriers/carrier.ts'), import('./index.ts'),
  ]);
  // Everybody can reach a function app: what is only for this machine stays closed, whatever HOST says.
  const settings = { ...parseSettings(process.env), host: '0.0.0.0' };
  // The platform tells under which name the app is reached (https://learn.microsoft.com/azure/app-service/reference-app-settings).
  const url = settings.shopUrl ?? `https://${process.env['WEBSITE_HOSTNAME'] ?? 'localhost'}`;
  const shop = await openShop(settings, { shopUrl: () => url, post: httpPost(url) });
  const { kernel } = shop;
  // Without a token of its own the admin API stays shut: a random one would differ from process to process.
  return { shop, services, context: { kernel, adminToken: settings.adminToken ?? kernel.ids.random(), rateLimit: settings.rateLimit } };
}

// ---------------------------------------------------------------- registrations

const register: { readonly [K in FunctionRow['kind']]: (row: Extract<FunctionRow, { kind: K }>) => void } = {
  http: (row) => app.http(row.name, { authLevel: 'anonymous', methods: [...row.methods] as HttpMethod[], route: row.route, handler: (request, context) => answer(row, request, context) }),
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
  const [{ shop, services }, { work }] = await Promise.all([opened(), import('./trigger.ts')]);
  await work(shop.kernel, serviceOf(services, row.service), receivedOf(row.queue, input, triggerMetadata ?? {}));
}

async function follow(row: StreamRow, input: unknown, { triggerMetadata }: InvocationContext): Promise<void> {
  const [{ shop, services }, { deliver }] = await Promise.all([opened(), import('./trigger.ts')]);
  await deliver(shop.kernel, serviceOf(services, row.service), deliveredOf(row.stream, input, triggerMetadata ?? {}), functionSeconds);
}

/** May run on several instances at once. What fails shows as a failed run, and the next one comes anyway. */
async function tick({ name }: TimerRow): Promise<void> {
  const all = await opened();
  const clock = all.services.find(({ ticks }) => name in ticks)?.ticks[name];
  await (clock ? clock(all.shop.kernel) : own[name as OwnTimer](all));
}

const sweepAfterSeconds = 30;
const own: { readonly [T in OwnTimer]: (all: Opened) => Promise<unknown> } = {
  sweepOutbox: ({ shop }) => shop.kernel.relay.sweep(sweepAfterSeconds),
  retryParked: async ({ shop, services }) => (await import('../core/kernel/park.ts')).retryParked(shop.kernel, services),
  forgetSeen: async ({ shop }) => (await import('../core/kernel/forget.ts')).forgetSeen(shop.kernel),
  catchUp: async ({ shop, services }) => (await import('./trigger.ts')).catchUp(shop.kernel, services, functionSeconds),
  // As the drains of what the broker has put aside.
  async doChores({ shop }) {
    for (const { tick: chore } of shop.chores) await chore();
  },
  demoCarrier: ({ shop }) => shop.carrier.tick(),
};

function serviceOf(services: readonly AnyService[], name: ServiceName): AnyService {
  return services.find((service) => service.name === name)!;
}

// ---------------------------------------------------------------- HTTP

async function answer(row: HttpRow, request: HttpRequest, invocation: InvocationContext): Promise<HttpResponseInit> {
  try {
    const { context } = await opened();
    const event = await eventOf(request);
    return responseOf(request, row.door ? await (await import('./index.ts')).handlers[row.door](event, context) : await answerAnything(event, context, request));
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
