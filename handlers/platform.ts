import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { clocks, type ClockName, type ServiceName } from '../core/flow.ts';
import type { AnyService } from '../core/kernel/service.ts';
import type { Log, Received } from '../ports/index.ts';
import type { HttpAnswer } from './answer.ts';
import type { Shop, Surroundings } from './container.ts';
import { functionSeconds, type HttpRow, type OwnTimer, type QueueRow, type StreamRow, type TimerRow } from './functions.ts';
import { handlerOf } from './doors.ts';
import type { HttpContext, HttpEvent } from './host.ts';
import type { Find } from './routes.ts';
import type { Delivery } from './trigger.ts';

/**
 * PLATFORMS that run functions: what is the same on all of them. The shop is opened by the first invocation of the process and serves all of them. What a function uses is
 * loaded when it is used: of the services its own, of the SDKs those of its ports. A platform's own file only turns its shapes into ours, and back.
 */
// Code that is compiled for each shape is for processes that live long: the first request would wait for it.
z.config({ jitless: true });

export interface Opened {
  readonly shop: Shop;
  readonly context: HttpContext;
}

/** What a platform knows about itself. */
export interface Surrounding {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Where the shop is reached, if no setting says so. */
  readonly url: () => string;
  /** As the container has it; absent where a process stands still as soon as it has answered. */
  readonly answered?: Surroundings['answered'];
}

/** Once a process; a start that failed is tried again by the next invocation. */
export function openedBy(surrounding: Surrounding): () => Promise<Opened> {
  let opening: Promise<Opened> | undefined;
  return () => (opening ??= open(surrounding).catch((error: unknown) => {
    opening = undefined;
    throw error;
  }));
}

async function open({ env, url: ownUrl, answered }: Surrounding): Promise<Opened> {
  const [{ openShop }, { parseSettings }] = await Promise.all([import('./container.ts'), import('./settings.ts')]);
  // Everybody can reach a function: what is only for this machine stays closed, whatever HOST says.
  const settings = { ...parseSettings(env), host: '0.0.0.0' };
  const url = settings.shopUrl ?? ownUrl();
  const post: Surroundings['post'] = async (...notice) => (await import('../adapters/carriers/carrier.ts')).httpPost(url)(...notice);
  const shop = await openShop(settings, { shopUrl: () => url, post, log: lateLog(settings.logLevel), ...(answered ? { answered } : {}) });
  const { kernel } = shop;
  // Without a token of its own the admin API stays shut: a random one would differ from process to process.
  return { shop, context: { kernel, adminToken: settings.adminToken ?? kernel.ids.random(), rateLimit: settings.rateLimit, ...(settings.oidc ? { oidc: settings.oidc } : {}) } };
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

// ---------------------------------------------------------------- invocations

export async function workOff(opening: Promise<Opened>, row: QueueRow, received: readonly Received[]): Promise<void> {
  const [{ shop }, service, { work }] = await Promise.all([opening, serviceOf(row.service), import('./trigger.ts')]);
  await work(shop.kernel, service, received);
}

export async function follow(opening: Promise<Opened>, row: StreamRow, delivery: Delivery): Promise<void> {
  const [{ shop }, service, { deliver }] = await Promise.all([opening, serviceOf(row.service), import('./trigger.ts')]);
  await deliver(shop.kernel, service, delivery, functionSeconds);
}

/** May run on several instances at once. What fails shows as a failed run, and the next one comes anyway. */
export async function tick(opening: Promise<Opened>, { name }: TimerRow): Promise<void> {
  const { shop } = await opening;
  const clock = name in clocks ? (await serviceOf(clocks[name as ClockName].service)).ticks[name] : undefined;
  await (clock ? clock(shop.kernel) : own[name as OwnTimer](shop));
}

const sweepAfterSeconds = 30;
const own: { readonly [T in OwnTimer]: (shop: Shop) => Promise<unknown> } = {
  sweepOutbox: ({ kernel }) => kernel.relay.sweep(sweepAfterSeconds),
  retryParked: async ({ kernel }) => (await import('../core/kernel/park.ts')).retryParked(kernel, await allServices()),
  forgetSeen: async ({ kernel }) => (await import('../core/kernel/forget.ts')).forgetOld(kernel),
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

export const serviceOf = (name: ServiceName): Promise<AnyService> => serviceFiles[name]();
const allServices = async (): Promise<readonly AnyService[]> => (await import('./index.ts')).services;

// ---------------------------------------------------------------- HTTP

/** A request, as the platform's own file reads it. */
export interface Asked {
  readonly event: () => Promise<HttpEvent>;
  /** What stands behind the question mark, still encoded. */
  readonly query: () => string;
  readonly complain: (text: string) => void;
}

export async function answerTo(opening: Promise<Opened>, row: HttpRow, { event: read, query, complain }: Asked): Promise<HttpAnswer> {
  try {
    // While the store is waited for, the rest is loaded.
    const [{ context }, event, handle] = await Promise.all([opening, read(), row.door ? handlerOf(row.door) : undefined]);
    return handle ? await handle(event, context) : await answerAnything(event, context, query());
  } catch (error) {
    // The doors answer for themselves: only what is before them comes here, as a start that failed.
    complain(error instanceof Error ? error.message : String(error));
    const { faultOf, problem } = await import('./answer.ts');
    return problem(faultOf(error), randomUUID());
  }
}

let find: Find | undefined;

/** What the platform has not routed to a door. */
async function answerAnything(event: HttpEvent, context: HttpContext, query: string): Promise<HttpAnswer> {
  const [{ createRouter, unreadablePath }, { errorAnswer }] = await Promise.all([import('./routes.ts'), import('./answer.ts')]);
  find ??= createRouter({ context, ready: () => true });
  const unread = unreadablePath(event.path, query);
  const found = unread ? { fault: unread } : find(event.method, event.path);
  if ('route' in found) return found.route.answer({ ...event, params: found.params });
  const asPage = !event.path.startsWith('/api/') && (event.headers['accept'] ?? '').includes('text/html');
  return errorAnswer(found.fault, randomUUID(), asPage, context.kernel.settings.shopName);
}
