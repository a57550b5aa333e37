import { createHash } from 'node:crypto';
import { create, isPortError, isRefusal, key, partitionOf, refuse } from '../../ports/index.ts';
import { collections } from '../flow.ts';
import { fieldsOf } from '../forms.ts';
import { html, type Html } from '../html.ts';
import type { Kernel, Reply } from '../kernel/service.ts';
import { cookie, cookieCharactersMax, noCookie, readCookie } from './cookies.ts';
import type { Operator, Porch, Role, Way } from './events.ts';
import { message, paged, sealOf, type Framed } from './frame.ts';
import { seal, unseal } from './seal.ts';
import { endSession, longestSeconds, openSession, type Newcomer } from './sessions.ts';

/**
 * THE PORCH: how one comes in and goes out. Whoever has the admin token exchanges it for a session; others come by their identity provider, if there is one. Afterwards one
 * is where one wanted to go, and nowhere outside of the console. What a form brought when its session had ended is kept by the browser, sealed, and shown once more.
 */
type Headers = Readonly<Record<string, string | undefined>>;
interface Posted {
  readonly headers: Headers;
  readonly raw: Uint8Array;
}

const seeOther = (location: string, setCookie?: string): Reply => ({ status: 303, headers: { location, ...(setCookie === undefined ? {} : { 'set-cookie': setCookie }) } });

/** Where to go on within the console; its first page, for every other address. */
export function wayOn(next: string | undefined): string {
  if (next === undefined || next.length > 2_000 || !/^\/console(?:[/?][\u0021-\u007e]*)?$/.test(next)) return '/console';
  const { origin, pathname, search } = new URL(next, 'http://console.invalid');
  const inside = origin === 'http://console.invalid' && (pathname === '/console' || pathname.startsWith('/console/')) && !/^\/console\/(sign-in|sign-out|oidc)/.test(pathname);
  return inside ? pathname + search : '/console';
}

export const signInAddress = (next: string): string => (next === '/console' ? '/console/sign-in' : `/console/sign-in?next=${encodeURIComponent(next)}`);

// ---------------------------------------------------------------- coming in

export async function signInPage(kernel: Kernel, next: string | undefined, { provider }: Porch): Promise<Reply> {
  return paged(kernel, undefined, asking({ next: wayOn(next), provider: provider !== undefined }));
}

interface Asking {
  readonly next: string;
  readonly provider: boolean;
  readonly complaint?: string;
  readonly status?: number;
  /** Before the form. */
  readonly sentence?: string;
}

export function asking({ next, provider, complaint, status = 200, sentence }: Asking): Framed {
  const wrong = complaint === undefined ? null : html` aria-invalid="true" aria-describedby="token-complaint"`;
  const main = html`<div class="porch"><h1>Sign in</h1>${sentence === undefined ? null : html`<p class="alert" role="alert">${sentence}</p>`}
${provider ? html`<p><a class="button" href="/console/oidc${next === '/console' ? '' : `?next=${encodeURIComponent(next)}`}">Sign in with your organisation</a></p><p class="quiet">or with the admin token:</p>` : null}
<form action="/console/sign-in" method="post" class="card"><input type="hidden" name="next" value="${next}">
<div class="field"><label for="token">Admin token</label><input id="token" name="token" type="password" required maxlength="500" autocomplete="current-password" spellcheck="false"${wrong}>${complaint === undefined ? null : html`<p class="complaint" id="token-complaint">${complaint}</p>`}</div>
<button class="button${provider ? ' plain' : ''}">Sign in</button></form>
<p class="quiet">The token is ADMIN_TOKEN; if none is set, the shop prints one when it starts.</p></div>`;
  return { status, title: 'Sign in', main };
}

export async function enter(kernel: Kernel, { headers, raw }: Posted, { isToken, stamp, provider }: Porch): Promise<Reply> {
  const fields = fieldsOf(raw);
  if (isRefusal(fields)) return fields;
  const next = wayOn(fields.get('next'));
  const again = { next, provider: provider !== undefined };
  const token = (fields.get('token') ?? '').trim();
  if (token === '') return paged(kernel, undefined, asking({ ...again, status: 401, complaint: 'The token is missing.' }));
  const found = isToken(token);
  if (found === 'right') return entered(kernel, headers, { who: 'token', role: 'operator', stamp }, next);
  if (found === 'wrong') return paged(kernel, undefined, asking({ ...again, status: 401, complaint: 'This is not the admin token.' }));
  const seconds = Math.ceil(found.waitSeconds);
  return paged(kernel, undefined, asking({ ...again, status: 429, complaint: `Too many wrong tokens came from your address. Please try again in ${seconds} s.` }), { 'retry-after': String(seconds) });
}

/** The session that was there before ends: one browser has one. */
async function entered(kernel: Kernel, headers: Headers, newcomer: Newcomer, next: string): Promise<Reply> {
  await endSession(kernel, readCookie(kernel, headers['cookie'], 'console'));
  const opened = await openSession(kernel, newcomer);
  return seeOther(keptOf(kernel, headers) ? '/console/again' : next, cookie(kernel, 'console', opened, longestSeconds));
}

export async function leave(kernel: Kernel, headers: Headers): Promise<Reply> {
  await endSession(kernel, readCookie(kernel, headers['cookie'], 'console'));
  return seeOther('/console/sign-in', noCookie(kernel, 'console'));
}

// ---------------------------------------------------------------- by the identity provider

const waySeconds = 600;
interface Departed extends Way {
  readonly next: string;
}

/** What must be the same when the browser comes back is in a cookie of this browser, sealed: nobody else can come back in its stead, nor send it back by a way that it did not go. */
export async function depart(kernel: Kernel, next: string | undefined, { provider }: Porch): Promise<Reply> {
  if (!provider) return noProvider;
  const { ids, settings } = kernel;
  const way: Way = { redirectUri: `${settings.shopUrl}/console/oidc/back`, state: ids.random(), nonce: ids.random(), verifier: ids.random() + ids.random() };
  const address = await (await provider()).leave(way);
  return seeOther(address, cookie(kernel, 'console-way', seal(kernel, 'way', waySeconds, { ...way, next: wayOn(next) } satisfies Departed), waySeconds));
}

const noProvider = refuse(404, 'not-found', 'no identity provider is configured here; sign in with the admin token');

export async function arrive(kernel: Kernel, headers: Headers, query: Readonly<Record<string, string | undefined>>, { provider }: Porch): Promise<Reply> {
  if (!provider) return noProvider;
  const way = unseal(kernel, 'way', readCookie(kernel, headers['cookie'], 'console-way') ?? '') as Departed | undefined;
  if (!way) return notSignedIn(kernel, 400, 'This sign-in has taken too long, or began in another browser.');
  if (query['error'] !== undefined) return notSignedIn(kernel, 403, 'The identity provider has not let you in.');
  if (!(await isFirst(kernel, way))) return notSignedIn(kernel, 400, 'This sign-in has been used already.');
  const found = await (await provider()).arrive(way, query);
  if ('refused' in found) {
    kernel.log.warn({ refused: found.refused }, 'a sign-in with the identity provider did not check out');
    return notSignedIn(kernel, 400, 'What the identity provider said did not check out.');
  }
  const role = roleOf(found.roles);
  if (!role) return notSignedIn(kernel, 403, `You are ${found.name}, and have no role here. Ask for the role viewer or operator at your identity provider.`);
  return entered(kernel, headers, { who: found.name, subject: found.subject, role }, way.next);
}

const roleOf = (roles: readonly string[]): Role | undefined => (roles.includes('operator') ? 'operator' : roles.includes('viewer') ? 'viewer' : undefined);

const notSignedIn = (kernel: Kernel, status: number, sentence: string): Reply =>
  paged(kernel, undefined, message(status, 'You are not signed in', sentence, html`<p><a class="button" href="/console/sign-in">Sign in again</a></p>`));

/** A way is gone once, also by a browser that keeps its cookie, or two at once. */
async function isFirst(kernel: Kernel, { state }: Way): Promise<boolean> {
  const rowKey = key('way', createHash('sha256').update(state).digest('hex'));
  try {
    await kernel.store.commit(partitionOf(collections.dead, rowKey), { writes: [create(rowKey, { until: kernel.clock.now() + waySeconds * 1_000 })] });
    return true;
  } catch (error) {
    if (isPortError(error, 'conflict')) return false;
    throw error;
  }
}

// ---------------------------------------------------------------- what a form brought too late

const keptSeconds = 1_800;
interface Kept {
  /** Where it was posted. */
  readonly to: string;
  /** The page on which it was filled in. */
  readonly from: string;
  readonly fields: readonly (readonly [name: string, value: string])[];
}

/** The session has ended, and with it this form would be lost: the browser keeps it, until one has signed in again. */
export function tooLate(kernel: Kernel, { to, headers, raw }: Posted & { readonly to: string }, provider: boolean): Reply {
  const found = fieldsOf(raw);
  const fields = isRefusal(found) ? [] : [...found].filter(([name]) => name !== 'csrf');
  const from = cameFrom(headers);
  const sealed = seal(kernel, 'kept', keptSeconds, { to, from, fields } satisfies Kept);
  const fits = !isRefusal(found) && sealed.length <= cookieCharactersMax - 200;
  const sentence = fits
    ? 'Your session has ended, and nothing was done. What you typed is kept: sign in, and you can send it again.'
    : 'Your session has ended, and nothing was done. What you typed is too long to be kept: sign in in another tab, then come back here and send it again.';
  return paged(kernel, undefined, asking({ status: 401, next: from, provider, sentence }), fits ? { 'set-cookie': cookie(kernel, 'console-kept', sealed, keptSeconds) } : {});
}

function cameFrom({ referer, host }: Headers): string {
  if (referer === undefined || !URL.canParse(referer)) return '/console';
  const from = new URL(referer);
  return from.host === host?.toLowerCase() ? wayOn(from.pathname + from.search) : '/console';
}

const keptOf = (kernel: Kernel, headers: Headers): Kept | undefined => unseal(kernel, 'kept', readCookie(kernel, headers['cookie'], 'console-kept') ?? '') as Kept | undefined;

/** Nothing is done by itself: a person looks at it and sends it. From here on this page has it, and the cookie goes. */
export async function againPage(kernel: Kernel, headers: Headers, operator: Operator): Promise<Reply> {
  const kept = keptOf(kernel, headers);
  if (!kept) return seeOther('/console');
  const main = html`<div class="message"><h1>You are signed in again</h1><p>This was not done, because your session had ended. Shall it be done now?</p></div>
<form class="card" action="${kept.to}" method="post">${sealOf(operator)}${kept.fields.map(([name, value]) => hidden(name, value))}
<dl class="facts">${kept.fields.filter(([name]) => name !== 'key').map(([name, value]) => html`<div><dt>${name}</dt><dd><bdi>${value === '' ? '–' : value}</bdi></dd></div>`)}</dl>
<p class="acts"><button class="button">Do it now</button> <a class="button plain" href="${kept.from}">Leave it, and go back</a></p></form>`;
  return paged(kernel, operator, { title: 'Signed in again', main }, { 'set-cookie': noCookie(kernel, 'console-kept') });
}

const hidden = (name: string, value: string): Html => html`<input type="hidden" name="${name}" value="${value}">`;
