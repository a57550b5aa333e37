import { refuse, type Refusal } from '../ports/index.ts';

/** What comes in from HTML forms: as bytes, from anywhere. */

const formBytesMax = 16 * 1024;

/** The fields of a form, the first of each name. */
export function fieldsOf(raw: Uint8Array): ReadonlyMap<string, string> | Refusal {
  if (raw.byteLength > formBytesMax) return refuse(413, 'too-large', 'This is more than the form can hold.');
  const fields = new Map<string, string>();
  for (const [name, value] of new URLSearchParams(new TextDecoder().decode(raw))) if (!fields.has(name)) fields.set(name, value);
  return fields;
}

/**
 * Whether another site's page made the browser post this. Browsers say so themselves: by `Sec-Fetch-Site` (https://www.w3.org/TR/fetch-metadata/), and those
 * that do not, or on plain HTTP, by `Origin`; `null` is an origin that hides itself, and is not believed. What says neither is no browser, and carries
 * nobody's cookies but its own.
 */
export function isForeign(headers: Readonly<Record<string, string | undefined>>, shopUrl: string): boolean {
  const site = headers['sec-fetch-site'];
  if (site !== undefined) return site !== 'same-origin' && site !== 'none';
  const { origin, host } = headers;
  if (origin === undefined) return false;
  const from = URL.canParse(origin) ? new URL(origin).host : undefined;
  return from === undefined || (from !== host?.toLowerCase() && from !== new URL(shopUrl).host);
}
