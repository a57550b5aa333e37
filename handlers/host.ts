import middy from '@middy/core';
import { createHash, timingSafeEqual } from 'node:crypto';
import type { z } from 'zod';
import type { Operator } from '../core/console/events.ts';
import { IdempotencyKey, doors, type Door, type DoorName, type DoorsOf, type OwnerName } from '../core/flow.ts';
import { recorded } from '../core/kernel/acts.ts';
import { metersOf } from '../core/kernel/meters.ts';
import type { AnyService, Kernel, Reply, Service } from '../core/kernel/service.ts';
import { Invalid, isRefusal, must, type Begun, type Complaint, type Span } from '../ports/index.ts';
import { answer, errorAnswer, faultOf, htmlType, jsonType, policyFor, type ErrorPage, type Fault, type HttpAnswer } from './answer.ts';
import { limiter, networkOf, type Allowance, type Limiter } from './limit.ts';
import type { OidcSettings } from './settings.ts';

/**
 * THE HANDLERS' CHAINS, the same under every host: a platform turns its request into an `HttpEvent` and an `HttpAnswer` into its response, and that is all it does.
 * A request passes, in this order: the rate limit, the admin's token, the size, the content type, the console's own gate, the shapes of `doors`; then the service.
 * Whatever does not pass is answered here with a typed error and reaches no service. Fields and query parameters that no shape names are dropped, not refused.
 */
export interface HttpEvent {
  readonly method: string;
  readonly path: string;
  /** Decoded, by the names in the braces of the door's path. */
  readonly params: Readonly<Record<string, string | undefined>>;
  readonly query: URLSearchParams;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: Uint8Array;
  /** The address at the other end, if the platform knows it. Never taken from a header, which anybody can write. */
  readonly remote?: string;
}

/** What a host hands to every handler; one and the same for all requests. */
export interface HttpContext {
  readonly kernel: Kernel;
  readonly adminToken: string;
  /** On, unless it is false. Counted in this process. */
  readonly rateLimit?: boolean;
  /** Who else may sign in to the console, and how; nobody, if it is absent. */
  readonly oidc?: OidcSettings;
  /** The console asks, for a person that it knows. No request can say so: it is handed over in the process. */
  readonly by?: Operator;
}

export type { HttpAnswer };
export type HttpHandler = (event: HttpEvent, context: HttpContext) => Promise<HttpAnswer>;

/** Bytes of a request's body. An order of 2,000 lines has some 100 KB; a parcel with a thousand scans makes a notice of half a megabyte. */
export const bodyBytesMax = 1024 * 1024;
const jsonDepthMax = 20;
/** An order of 2,000 lines has some 4,000 commas. What has many more would only cost time until a shape refuses it. */
const jsonCommasMax = 10_000;

/** What doors may have in front of them besides. */
export interface Front {
  /** Lets a request pass, with what its function is given besides, or answers it. */
  admit(door: Door, event: HttpEvent, context: HttpContext): Promise<{ readonly given: object } | { readonly reply: Reply }>;
  /** In whose frame a person reads that something does not go. */
  readonly errorPage: ErrorPage;
}

/** The handler of a door: `export const placeOrder = http('placeOrder', order);`. */
export function http<S extends OwnerName>(name: DoorsOf<S>, service: Service<S> & AnyService, front?: Front): HttpHandler {
  const door: Door = doors[name];
  const { answers }: AnyService = service;
  const handle = answers[name];
  must(handle, `${service.name} has no ${name}`);
  const say: Say = (fault, { settings }, occurrence) => errorAnswer(fault, occurrence, door.page === true, settings.shopName, front?.errorPage);
  const handler = middy<Passing, HttpAnswer, unknown, HttpContext>()
    .use([problems(name, say), limited(name, say), authorised(door, say), sized(say), typed(door, say), ...(front ? [admitted(door, say, front)] : []), shaped(door, say)])
    .handler(async (event: Passing, context: HttpContext) => answerOf(say, await performed(name, door, event, context, () => handle(context.kernel, event.request as never)), context.kernel));
  return (event, context) => watched(door, event, context, (passing) => handler(passing, context));
}

/** Counted, and in a span of its own if somebody collects them. The caller's trace goes on in it, and from it in what the service says. */
async function watched(door: Door, event: HttpEvent, { kernel }: HttpContext, work: (event: HttpEvent) => Promise<HttpAnswer>): Promise<HttpAnswer> {
  const began = kernel.clock.now();
  const given = await (kernel.tracer ? kernel.tracer.span(serving(door, event), (begun) => answered(begun, work(event))) : work(event));
  countRequest(kernel, { method: door.method, route: door.path, status: given.status, began });
  return given;
}

/** https://opentelemetry.io/docs/specs/semconv/http/http-spans/ */
function serving({ service, method, path }: Door, event: HttpEvent): Span {
  return {
    name: `${method} ${path}`, kind: 'server', parent: event.headers['traceparent'] ?? 'none',
    attributes: { 'http.request.method': method, 'http.route': path, 'url.path': event.path, 'anyport.service': service },
  };
}

async function answered(begun: Begun, given: Promise<HttpAnswer>): Promise<HttpAnswer> {
  const { status } = await given;
  begun.note({ 'http.response.status_code': status, ...(status >= 500 ? { 'error.type': String(status) } : {}) });
  return given;
}

/** `route`: a door's path, or nothing where there was no door. `began`: milliseconds since 1970. */
export function countRequest(kernel: Kernel, { method, route, status, began }: { method: string; route: string; status: number; began: number }): void {
  const labels = { http_request_method: method, http_route: route, http_response_status_code: String(status) };
  metersOf(kernel).requests.observe(labels, Math.max(0, kernel.clock.now() - began) / 1_000);
}

/** An event on its way down the chain; `request` is what its door's shapes made of it. */
interface Passing extends HttpEvent {
  readonly request?: object;
  /** Besides the request. */
  readonly given?: object;
}
type Middleware = middy.MiddlewareObj<Passing, HttpAnswer, unknown, HttpContext>;
/** Why it does not go, in the form that those who come to this door read. */
type Say = (fault: Fault, kernel: Pick<Kernel, 'settings'>, occurrence: string) => HttpAnswer;
/** A step that lets a request pass or answers it with a fault. */
function gate(say: Say, check: (event: HttpEvent, context: HttpContext) => Fault | undefined): Middleware {
  return {
    before({ event, context }) {
      const fault = check(event, context);
      return fault && say(fault, context.kernel, context.kernel.ids.random());
    },
  };
}

function admitted(door: Door, say: Say, { admit }: Front): Middleware {
  return {
    async before(passing) {
      const found = await admit(door, passing.event, passing.context);
      if ('reply' in found) return answerOf(say, found.reply, passing.context.kernel);
      passing.event = { ...passing.event, given: found.given };
      return undefined;
    },
  };
}

/** What somebody changes who may is written down, before and after. */
function performed(name: DoorName, door: Door, { params, request }: Passing, { kernel, by }: HttpContext, work: () => Promise<Reply>): Promise<Reply> {
  if (door.method === 'GET' || (!door.admin && !by)) return work();
  const said = (request as { readonly body?: unknown } | undefined)?.body;
  return recorded(kernel, { who: by?.who ?? 'token', via: by ? 'console' : 'api', ...(by?.subject === undefined ? {} : { subject: by.subject }), door: name, params, said }, work);
}

// ---------------------------------------------------------------- errors

/** Turns what is thrown into an answer. What is our fault, or the world's, is logged by the name of the door: paths hold order ids, and those are secrets. */
function problems(name: DoorName, say: Say): Middleware {
  return {
    onError({ error, context: { kernel } }) {
      const fault = faultOf(error);
      const occurrence = kernel.ids.random();
      if (fault.status === 500) kernel.log.error({ request: occurrence, door: name, error }, 'a request failed');
      else if (fault.status === 503) kernel.log.warn({ request: occurrence, door: name, error }, 'a request could not be served now');
      return say(fault, kernel, occurrence);
    },
  };
}

export const notFound: Fault = { status: 404, refused: 'not-found', detail: 'there is nothing here' };

function answerOf(say: Say, reply: Reply, kernel: Kernel): HttpAnswer {
  if (isRefusal(reply)) return say({ ...reply, ...(reply.status === 401 ? { headers: { 'www-authenticate': 'Signature' } } : {}) }, kernel, kernel.ids.random());
  const { status } = reply;
  const headers = 'headers' in reply ? reply.headers : undefined;
  if ('json' in reply) return answer(status, jsonType, JSON.stringify(reply.json), headers);
  if ('html' in reply) return answer(status, htmlType, reply.html, { ...headers, ...policyFor(reply.style) });
  if ('text' in reply) return answer(status, reply.type, reply.text);
  if ('stream' in reply) return { ...answer(204, undefined, ''), stream: { type: reply.type, events: reply.stream } };
  return answer(status, undefined, '', headers);
}

// ---------------------------------------------------------------- who may

type Purse = 'orders' | 'notices' | 'tokens' | 'ways';
const allowances: Readonly<Record<Purse, Allowance>> = {
  orders: { burst: 200, perSecond: 50 },
  /** A carrier says a whole day's deliveries from one address. */
  notices: { burst: 2_000, perSecond: 500 },
  /** Wrong admin tokens. */
  tokens: { burst: 20, perSecond: 1 },
  /** To an identity provider, and back. */
  ways: { burst: 40, perSecond: 1 },
};
const purses: Readonly<Partial<Record<DoorName, Purse>>> = { placeOrder: 'orders', checkOut: 'orders', takeNotice: 'notices', consoleOidc: 'ways', consoleOidcBack: 'ways' };
export const isLimited = (name: DoorName): boolean => name in purses;

const limiters = new WeakMap<Kernel, Readonly<Record<Purse, Limiter>>>();
function limiterOf(kernel: Kernel, purse: Purse): Limiter {
  let known = limiters.get(kernel);
  if (!known) {
    const made = (each: Purse): Limiter => limiter(allowances[each], kernel.clock);
    limiters.set(kernel, (known = { orders: made('orders'), notices: made('notices'), tokens: made('tokens'), ways: made('ways') }));
  }
  return known[purse];
}

const tooMany = (seconds: number): Fault => ({
  status: 429, refused: 'too-many-requests', detail: 'too many requests from your address; please wait', headers: { 'retry-after': String(Math.ceil(seconds)) },
});

function limited(name: DoorName, say: Say): Middleware {
  const purse = purses[name];
  return gate(say, ({ remote }, { kernel, rateLimit }) => {
    if (purse === undefined || remote === undefined || rateLimit === false) return undefined;
    const seconds = limiterOf(kernel, purse).take(networkOf(remote));
    return seconds > 0 ? tooMany(seconds) : undefined;
  });
}

function authorised(door: Door, say: Say): Middleware {
  return gate(say, ({ headers, remote }, context) => {
    if (context.by) return mayDo(door, context.by);
    if (!door.admin || (door.admin === 'loopback' && isFromHere(remote, headers))) return undefined;
    const token = /^bearer +([^ ]+) *$/i.exec(headers['authorization'] ?? '')?.[1];
    const found = token === undefined ? 'wrong' : weighed(token, remote, context);
    if (found === 'right') return undefined;
    if (found !== 'wrong') return tooMany(found.waitSeconds);
    return {
      status: 401, refused: 'unauthorized', detail: token === undefined ? 'this needs the admin token' : 'this is not the admin token',
      headers: { 'www-authenticate': token === undefined ? 'Bearer' : 'Bearer error="invalid_token"' },
    };
  });
}

/** The console has a gate of its own in front of its forms; this one holds if a page forgets it. */
function mayDo({ method }: Door, { role }: Operator): Fault | undefined {
  if (method === 'GET' || role === 'operator') return undefined;
  return { status: 403, refused: 'forbidden', detail: 'a viewer looks, and changes nothing' };
}

/** Whether this is the admin token. Wrong ones are counted by the address at the other end, wherever they come in. */
export function weighed(token: string, remote: string | undefined, { kernel, adminToken, rateLimit }: HttpContext): 'right' | 'wrong' | { readonly waitSeconds: number } {
  const counted = remote === undefined || rateLimit === false ? undefined : limiterOf(kernel, 'tokens');
  const waitSeconds = counted?.wait(networkOf(remote!)) ?? 0;
  if (waitSeconds > 0) return { waitSeconds }; // also for the right token: a limit that lets it through would not limit guessing
  if (sameSecret(token, adminToken)) return 'right';
  counted?.take(networkOf(remote!));
  return 'wrong';
}

/**
 * Whether it comes from this machine, to a name of this machine, and past no proxy of it: whoever comes through one has its address, but also its mark on the request,
 * and asks for the shop under the name that others know. A page from elsewhere in a browser here has another name, too.
 */
function isFromHere(remote: string | undefined, headers: HttpEvent['headers']): boolean {
  if (remote === undefined || !/^(127(\.\d{1,3}){3}|::1|::ffff:127(\.\d{1,3}){3})$/.test(remote)) return false;
  if (!/^(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?$/i.test(headers['host'] ?? '')) return false;
  return !Object.keys(headers).some((name) => /^(forwarded|via|origin|x-real-ip|x-forwarded-.*)$/.test(name));
}

/** In constant time: digests have one length, and how far they agree says nothing about the secrets. */
function sameSecret(a: string, b: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}

// ---------------------------------------------------------------- what may come in

/** Too much to read; the host that counts while reading says the same. */
export const tooLarge: Fault = { status: 413, refused: 'too-large', detail: `a request has at most ${bodyBytesMax} bytes` };

function sized(say: Say): Middleware {
  return gate(say, ({ body }) => (body.byteLength > bodyBytesMax ? tooLarge : undefined));
}

/** A form's bytes or JSON's, in UTF-8 and not packed. Doors that take none do not look at it; notices are signed, whatever they call themselves. */
function typed(door: Door, say: Say): Middleware {
  const wanted = door.page ? 'application/x-www-form-urlencoded' : 'application/json';
  return gate(say, ({ headers, body }) => {
    if (door.method === 'GET' || door.raw || body.byteLength === 0 || (!door.body && !door.page)) return undefined;
    const [type = '', ...parameters] = (headers['content-type'] ?? '').toLowerCase().split(';').map((part) => part.trim());
    const packed = (headers['content-encoding'] ?? 'identity').toLowerCase() !== 'identity';
    const charset = parameters.find((parameter) => parameter.startsWith('charset='))?.slice(8).replaceAll('"', '') ?? 'utf-8';
    if (type === wanted && charset === 'utf-8' && !packed) return undefined;
    return { status: 415, refused: 'unsupported-media-type', detail: `this takes ${wanted} in UTF-8, not compressed` };
  });
}

/** Replaces the event by one that carries what the door's shapes made of it. Throws `Invalid` with all complaints. */
function shaped(door: Door, say: Say): Middleware {
  return {
    before(passing) {
      const { event, context } = passing;
      const complaints: Complaint[] = [];
      const params = fitted(door.params, event.params, '/params', complaints);
      // The address of a page is typed and clipped by people: one that cannot exist is simply not there.
      if (door.page && complaints.length > 0) return say(notFound, context.kernel, context.kernel.ids.random());
      const query = door.query && fitted(door.query, single(event.query, door.query, '/query', complaints), '/query', complaints);
      const idempotencyKey = door.idempotent ? fitted(IdempotencyKey, event.headers['idempotency-key'], '/headers/idempotency-key', complaints) : undefined;
      const body = door.body && fitted(door.body, door.page ? formOf(event.body, complaints) : jsonOf(event.body), '', complaints);
      if (complaints.length > 0) throw new Invalid('the request does not have the right shape', complaints);
      passing.event = { ...event, request: { ...event.given, params, query, body, idempotencyKey, headers: event.headers, raw: event.body } };
      return undefined;
    },
  };
}

function fitted(shape: z.ZodType | undefined, value: unknown, at: string, complaints: Complaint[]): unknown {
  if (!shape) return undefined;
  const { success, data, error } = shape.safeParse(value, { error: ({ code, input }) => (code === 'invalid_type' && input === undefined ? 'is required' : undefined) });
  if (success) return data;
  for (const { path, message } of error.issues) complaints.push({ pointer: at + path.map(token).join(''), detail: message });
  return undefined;
}

/** RFC 6901. */
const token = (part: PropertyKey): string => `/${String(part).replaceAll('~', '~0').replaceAll('/', '~1')}`;

/** Which of two would be meant nobody knows, so a parameter that the door knows comes once. */
function single(found: URLSearchParams, { shape }: z.ZodObject, at: string, complaints: Complaint[]): Record<string, string> {
  const known = Object.keys(shape).filter((name) => found.has(name));
  for (const name of known) if (found.getAll(name).length > 1) complaints.push({ pointer: at + token(name), detail: 'must come only once' });
  return Object.fromEntries(known.map((name) => [name, found.get(name)!]));
}

const utf8 = new TextDecoder('utf-8', { fatal: true });
const refused = (detail: string): Invalid => new Invalid('the body cannot be read', [{ pointer: '', detail }]);

function textOf(body: Uint8Array): string {
  try {
    return utf8.decode(body);
  } catch {
    throw refused('must be UTF-8');
  }
}

function formOf(body: Uint8Array, complaints: Complaint[]): Record<string, string> {
  const fields = new URLSearchParams(textOf(body));
  for (const name of new Set(fields.keys())) if (fields.getAll(name).length > 1) complaints.push({ pointer: token(name), detail: 'must come only once' });
  return Object.fromEntries(fields);
}

function jsonOf(body: Uint8Array): unknown {
  if (body.byteLength === 0) throw refused('must not be empty');
  const text = textOf(body);
  bound(body);
  try {
    return JSON.parse(text);
  } catch {
    throw refused('must be JSON');
  }
}

/** Depth and number of values, counted over the bytes before anything is built of them. */
function bound(body: Uint8Array): void {
  let depth = 0;
  let commas = 0;
  let quoted = false;
  for (let i = 0; i < body.length; i++) {
    const byte = body[i];
    if (quoted) {
      if (byte === 0x5c) i++;
      else if (byte === 0x22) quoted = false;
    } else if (byte === 0x22) quoted = true;
    else if (byte === 0x2c) commas++;
    else if (byte === 0x5b || byte === 0x7b) depth++;
    else if (byte === 0x5d || byte === 0x7d) depth--;
    if (depth > jsonDepthMax) throw refused(`must not be nested deeper than ${jsonDepthMax}`);
    if (commas > jsonCommasMax) throw refused(`must not have more than ${jsonCommasMax} values`);
  }
}
