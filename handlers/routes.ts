import FindMyWay from 'find-my-way';
import { createHash, randomUUID } from 'node:crypto';
import { consoleAssets } from '../core/console/assets.ts';
import { doors, type Door, type DoorName } from '../core/flow.ts';
import { assets } from '../core/website/assets.ts';
import { answer, jsonType, problem, type Fault, type HttpAnswer } from './answer.ts';
import { notFound, type HttpContext, type HttpEvent } from './host.ts';
import { handlers } from './index.ts';

/**
 * ROUTES: which door a path leads to, the same under every host that does not route by itself: the doors of the flow, with the shop's assets, health and documents beside
 * them. A path is exact: with a slash too many it is redirected if that helps, otherwise 404. A method that a path does not take is 405 with Allow.
 */
export interface Routed {
  readonly context: HttpContext;
  readonly ready: () => boolean | Promise<boolean>;
}

export interface Route {
  readonly page: boolean;
  readonly answer: (event: HttpEvent) => HttpAnswer | Promise<HttpAnswer>;
}
export type Found = { readonly route: Route; readonly params: HttpEvent['params'] } | { readonly fault: Fault };
export type Find = (method: string, path: string) => Found;

const methods = ['GET', 'POST', 'PUT'] as const;

export function createRouter(options: Routed): Find {
  const router = FindMyWay({ maxParamLength: 500 });
  const add = (method: Door['method'], path: string, route: Route): void => router.on(method, path.replaceAll(/\{(\w+)\}/g, ':$1'), () => undefined, route);
  for (const [name, door] of Object.entries(doors) as [DoorName, Door][]) {
    add(door.method, door.path, { page: door.page === true, answer: (event) => handlers[name](event, options.context) });
  }
  for (const [path, give] of Object.entries(extras(options))) add('GET', path, { page: false, answer: give });

  // The router lets a parameter be empty; a door does not.
  const match = (method: Door['method'], path: string) => {
    const found = router.find(method, path);
    return found && !Object.values(found.params).includes('') ? found : undefined;
  };
  const allowed = (path: string): string[] => methods.filter((method) => match(method, path)).flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method]));
  return (method, path) => {
    const found = methods.includes(method as 'GET') ? match(method as 'GET', path) : undefined;
    if (found) return { route: found.store as Route, params: found.params };
    const allow = allowed(path).join(', ');
    if (allow !== '') return { fault: { status: 405, refused: 'method-not-allowed', detail: `this takes ${allow}`, headers: { allow } } };
    const shorter = path.replace(/\/+$/, '');
    if (method === 'GET' && shorter !== '' && shorter !== path && match('GET', shorter)) {
      return { route: { page: true, answer: () => answer(308, undefined, '', { location: shorter }) }, params: {} };
    }
    return { fault: notFound };
  };
}

function extras({ ready }: Routed): Record<string, Route['answer']> {
  const json = (status: number, value: unknown): HttpAnswer => answer(status, jsonType, JSON.stringify(value));
  return {
    '/healthz': () => json(200, { status: 'ok' }),
    '/readyz': async () => ((await ready()) ? json(200, { status: 'ready' }) : json(503, { status: 'starting' })),
    '/openapi.json': async () => answer(200, jsonType, (await documents()).openapi, { 'cache-control': 'no-cache' }),
    '/asyncapi.json': async () => answer(200, jsonType, (await documents()).asyncapi, { 'cache-control': 'no-cache' }),
    '/assets/{name}': asset,
  };
}

/** Made when somebody first asks, so that the start does not pay for it. */
let made: Promise<{ readonly openapi: string; readonly asyncapi: string }> | undefined;
function documents(): NonNullable<typeof made> {
  made ??= import('./documents.ts').then(({ openapi, asyncapi }) => ({ openapi: JSON.stringify(openapi()), asyncapi: JSON.stringify(asyncapi()) }));
  return made;
}

const tags = new Map<string, string>();
function asset({ params, headers }: HttpEvent): HttpAnswer {
  const name = params['name'] ?? '';
  const found = assets.get(name) ?? consoleAssets.get(name);
  if (!found) return problem(notFound, randomUUID());
  let etag = tags.get(name);
  if (!etag) tags.set(name, (etag = `W/"${createHash('sha256').update(found.body).digest('base64url').slice(0, 22)}"`));
  const kept = { etag, 'cache-control': 'no-cache' }; // asked for anew each time, and nearly always answered with 304
  return headers['if-none-match']?.includes(etag) ? answer(304, undefined, '', kept) : answer(200, found.type, found.body, kept);
}

/** Paths are decoded once; what cannot be decoded, or hides control characters, is no address. */
export function unreadablePath(path: string, search: string): Fault | undefined {
  if (isDecodable(path) && isDecodable(search.replaceAll('+', ' ')) && path.startsWith('/') && !/%([01]|7f)/i.test(path)) return undefined;
  return { status: 400, refused: 'invalid-address', detail: 'the address cannot be read', complaints: [{ pointer: '', detail: 'must be percent-encoded UTF-8' }] };
}

export function splitAt(text: string, mark: string): [string, string] {
  const at = text.indexOf(mark);
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}

function isDecodable(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}
