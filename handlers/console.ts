import { letIn } from '../core/console/gate.ts';
import type { Operator, Porch, Problem, Provider } from '../core/console/events.ts';
import { errorPage } from '../core/console/frame.ts';
import { consoleService } from '../core/console/index.ts';
import { signed } from '../core/console/seal.ts';
import { doors, type ApiDoor, type Ask, type Asking, type Desk, type Door, type DoorsOf, type Told } from '../core/flow.ts';
import { handlerOf } from './doors.ts';
import { http, weighed, type Front, type HttpContext, type HttpEvent, type HttpHandler } from './host.ts';
import type { OidcSettings } from './settings.ts';

/**
 * THE CONSOLE'S DOORS: the gate in front of them, and the API behind them. A page asks the API's doors in this process, through the chain that every request passes, on behalf
 * of the person who has signed in: so it works the same on every family and platform, and can do no more than the API can.
 */
const admit: Front['admit'] = async (door, event, context) => {
  const { kernel, oidc } = context;
  const stamp = signed(kernel, 'stamp', context.adminToken);
  const query = event.query.toString();
  const to = event.path + (query === '' ? '' : `?${query}`);
  const found = await letIn(kernel, {
    ...(door.console === undefined ? {} : { least: door.console }), method: door.method, to, headers: event.headers, raw: event.body, stamp, provider: oidc !== undefined,
  });
  if ('reply' in found) return found;
  return { given: found.operator ? deskOf(found.operator, event, context) : porchOf(stamp, event, context) };
};

const deskOf = (operator: Operator, event: HttpEvent, context: HttpContext): Desk => ({ operator, ask: askFor(operator, event, context) });

function porchOf(stamp: string, { remote }: HttpEvent, context: HttpContext): Porch {
  const { oidc } = context;
  return { stamp, isToken: (token) => weighed(token, remote, context), ...(oidc ? { provider: () => providerOf(oidc) } : {}) };
}

// ---------------------------------------------------------------- asking the API

function askFor(operator: Operator, { headers }: HttpEvent, context: HttpContext): Ask {
  const { traceparent } = headers;
  return async <D extends ApiDoor>(name: D, asking: Asking = {}): Promise<Told<D>> => {
    const handle = await handlerOf(name);
    const { status, body } = await handle(eventOf(doors[name], asking, traceparent), { ...context, by: operator });
    const text = typeof body === 'string' ? body : new TextDecoder().decode(body);
    const json: unknown = text === '' ? undefined : JSON.parse(text);
    return (status < 300 ? { ok: true, status, body: json } : { ok: false, status, body: json as Problem }) as Told<D>;
  };
}

/** As it would come over the wire. */
function eventOf({ method, path }: Door, { params = {}, query = {}, body, key }: Asking, traceparent: string | undefined): HttpEvent {
  const asked = Object.entries(query).flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)] as const]));
  return {
    method,
    path: path.replaceAll(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(params[name] ?? '')),
    params,
    query: new URLSearchParams(Object.fromEntries(asked)),
    headers: {
      ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...(key === undefined ? {} : { 'idempotency-key': key }), ...(traceparent === undefined ? {} : { traceparent }),
    },
    body: body === undefined ? new Uint8Array() : new TextEncoder().encode(JSON.stringify(body)),
  };
}

// ---------------------------------------------------------------- the identity provider

/** Once a process and provider; one that could not be reached is asked again by the next who comes. */
const providers = new WeakMap<OidcSettings, Promise<Provider>>();

function providerOf(settings: OidcSettings): Promise<Provider> {
  let opening = providers.get(settings);
  if (!opening) {
    opening = import('../adapters/oidc/index.ts').then(({ openProvider }) => openProvider(settings));
    opening.catch(() => providers.delete(settings));
    providers.set(settings, opening);
  }
  return opening;
}

// ---------------------------------------------------------------- the doors

const door = (name: DoorsOf<'console'>): HttpHandler => http(name, consoleService, { admit, errorPage });

export const consoleSignIn = door('consoleSignIn');
export const consoleEnter = door('consoleEnter');
export const consoleOidc = door('consoleOidc');
export const consoleOidcBack = door('consoleOidcBack');
export const consoleLeave = door('consoleLeave');
export const consoleActs = door('consoleActs');
export const consoleAgain = door('consoleAgain');
export const consoleHome = door('consoleHome');
export const consoleNow = door('consoleNow');
export const consoleOrders = door('consoleOrders');
export const consoleOrder = door('consoleOrder');
export const consoleProducts = door('consoleProducts');
export const consoleProduct = door('consoleProduct');
export const consoleDescribe = door('consoleDescribe');
export const consoleReceive = door('consoleReceive');
export const consoleTrouble = door('consoleTrouble');
export const consoleTroubles = door('consoleTroubles');
export const consoleTroubleOne = door('consoleTroubleOne');
export const consoleQuestion = door('consoleQuestion');
export const consoleDecide = door('consoleDecide');
export const consolePace = door('consolePace');
export const consoleAudit = door('consoleAudit');
