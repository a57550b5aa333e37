import { isRefusal } from '../../ports/index.ts';
import { fieldsOf, isForeign } from '../forms.ts';
import { html } from '../html.ts';
import type { Kernel, Reply } from '../kernel/service.ts';
import { readCookie } from './cookies.ts';
import type { Operator, Role } from './events.ts';
import { message, paged } from './frame.ts';
import { asking, signInAddress, tooLate, wayOn } from './porch.ts';
import { same } from './seal.ts';
import { operatorOf } from './sessions.ts';

/**
 * THE GATE of the console: who may come to a page, and whose form is taken. A form needs, in this order: not to come from another site, a session, the role, and the token
 * that only our own pages have.
 */
export interface Coming {
  /** Absent: everybody may. */
  readonly least?: Role;
  readonly method: 'GET' | 'PUT' | 'POST';
  /** Path and query. */
  readonly to: string;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly raw: Uint8Array;
  /** Of the admin token. */
  readonly stamp: string;
  readonly provider: boolean;
}

export async function letIn(kernel: Kernel, coming: Coming): Promise<{ readonly operator: Operator | undefined } | { readonly reply: Reply }> {
  const { least, method, headers, stamp } = coming;
  const posted = method !== 'GET';
  if (posted && isForeign(headers, kernel.settings.shopUrl)) return { reply: paged(kernel, undefined, foreign) };
  if (least === undefined) return { operator: undefined };
  const operator = await operatorOf(kernel, readCookie(kernel, headers['cookie'], 'console'), stamp, isOpened(headers));
  if (!operator) return { reply: signInFirst(kernel, coming) };
  if (least === 'operator' && operator.role !== 'operator') return { reply: paged(kernel, operator, viewerOnly) };
  if (posted && !isOurs(coming.raw, operator)) return { reply: paged(kernel, operator, notOurs) };
  return { operator };
}

/** Browsers say whether a person opens a page or a script fetches a part of one (https://www.w3.org/TR/fetch-metadata/); what a script does keeps nobody signed in. */
const isOpened = (headers: Coming['headers']): boolean => (headers['sec-fetch-mode'] ?? 'navigate') === 'navigate';

function signInFirst(kernel: Kernel, coming: Coming): Reply {
  if (coming.method !== 'GET') return tooLate(kernel, coming, coming.provider);
  const next = wayOn(coming.to);
  // A script would follow to the sign-in page and take it for the part that it wants.
  if (!isOpened(coming.headers)) return paged(kernel, undefined, asking({ status: 401, next, provider: coming.provider, sentence: 'Your session has ended.' }));
  return { status: 303, headers: { location: signInAddress(next) } };
}

function isOurs(raw: Uint8Array, { csrf }: Operator): boolean {
  const fields = fieldsOf(raw);
  return !isRefusal(fields) && same(fields.get('csrf') ?? '', csrf);
}

const foreign = message(403, 'Not from here', 'Another site sent this form, and nothing was done. Please use the console itself.');
const notOurs = message(403, 'Nothing was done', 'This form belongs to another session: it was opened before you signed in, or it is not ours. Go back, reload the page, and send it again.');
const viewerOnly = message(403, 'Only for operators', 'You are signed in as a viewer, and a viewer changes nothing. Ask for the role operator at your identity provider, then sign in again.', html`<p><a class="button" href="/console">To the console</a></p>`);
