import { createHash } from 'node:crypto';
import { STATUS_CODES } from 'node:http';
import { errorPage } from '../core/website/pages.ts';
import { Invalid, isPortError, isTransient, type Complaint } from '../ports/index.ts';

/**
 * ANSWERS: what goes back over HTTP, for every host alike. Every answer has the security headers, every error one form: a problem (RFC 9457), or a page where a person
 * looks. No answer has a stack or a word of an unexpected error in it.
 */

export interface HttpAnswer {
  readonly status: number;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Uint8Array;
  /** What a host that can keep a connection open sends instead, with 200; the others send the answer as it is, a 204. */
  readonly stream?: { readonly type: string; readonly events: (signal: AbortSignal) => AsyncIterable<string> };
}

/** Why a request is not answered as wished. */
export interface Fault {
  readonly status: number;
  /** In kebab case; the last part of the problem's type. */
  readonly refused: string;
  readonly detail: string;
  readonly complaints?: readonly Complaint[];
  readonly headers?: Readonly<Record<string, string>>;
}

/** By hand: helmet's defaults would send browsers on http://localhost to https, and allow inline styles. Order ids are capabilities, so no referrer is ever sent. */
const securityHeaders = {
  'content-security-policy':
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'x-frame-options': 'DENY',
} as const;

/** The policy of a page with one style in itself: that alone is let in, by its hash (https://www.w3.org/TR/CSP3/#framework-directive-source-list). */
export function policyFor(style: string | undefined): Readonly<Record<string, string>> {
  if (style === undefined) return {};
  const hash = createHash('sha256').update(style).digest('base64');
  return { 'content-security-policy': securityHeaders['content-security-policy'].replace("style-src 'self'", `style-src 'self' 'sha256-${hash}'`) };
}

/** Nobody keeps it, unless the headers say otherwise. */
export function answer(status: number, type: string | undefined, body: string | Uint8Array, headers: Readonly<Record<string, string>> = {}): HttpAnswer {
  const said = Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]);
  return { status, headers: { ...securityHeaders, 'cache-control': 'no-store', ...(type === undefined ? {} : { 'content-type': type }), ...Object.fromEntries(said) }, body };
}

export const jsonType = 'application/json; charset=utf-8';
export const htmlType = 'text/html; charset=utf-8';

/** `occurrence` is what the log calls this request, so that a person can find it there. */
export function problem({ status, refused, detail, complaints, headers }: Fault, occurrence: string): HttpAnswer {
  const body = {
    type: `urn:anyport:problem:${refused}`,
    title: titleOf(refused),
    status,
    detail,
    instance: `urn:anyport:request:${occurrence}`,
    ...(complaints && complaints.length > 0 ? { errors: complaints.slice(0, 100) } : {}),
  };
  return answer(status, 'application/problem+json', JSON.stringify(body), headers);
}

/** A person reads it: title and detail are plain texts. */
export type ErrorPage = (shopName: string, status: number, title: string, detail: string) => string;

export function errorAnswer(fault: Fault, occurrence: string, asPage: boolean, shopName: string, page: ErrorPage = errorPage): HttpAnswer {
  if (!asPage) return problem(fault, occurrence);
  return answer(fault.status, htmlType, page(shopName, fault.status, STATUS_CODES[fault.status] ?? titleOf(fault.refused), fault.detail), fault.headers);
}

function titleOf(refused: string): string {
  return (refused[0]?.toUpperCase() ?? '') + refused.slice(1).replaceAll('-', ' ');
}

/** The table of ports/errors.ts. What we did not expect says nothing of itself. */
export function faultOf(error: unknown): Fault {
  if (error instanceof Invalid) {
    const { complaints, message } = error;
    return { status: 400, refused: 'invalid-request', detail: complaints.length > 0 ? 'the request does not have the right shape' : message, complaints };
  }
  if (isPortError(error, 'tooLarge')) return { status: 413, refused: 'too-large', detail: 'this is more than can be stored at once' };
  if (isTransient(error)) return { status: 503, refused: 'unavailable', detail: 'this cannot be done right now; please try again', headers: { 'retry-after': '1' } };
  return { status: 500, refused: 'internal-error', detail: 'something went wrong on our side; it has been noted' };
}
