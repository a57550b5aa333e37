import { html, type Html } from '../html.ts';
import type { MailState, MailView } from '../notification/events.ts';
import { timeOf, type PageOf } from './pages.ts';

/** The mailbox: the letters that are kept on this machine, so that whoever tries the shop sees what a customer would get. */

const states: Readonly<Record<MailState, string>> = { sending: 'being sent', waiting: 'waiting', sent: 'sent', uncertain: 'unclear', refused: 'refused' };

export function mailboxPage({ items, next }: { readonly items: readonly MailView[]; readonly next?: string }): PageOf {
  const newest = [...items].sort((a, b) => (a.at < b.at ? 1 : -1));
  const main = html`<div class="headline"><h1>Letters sent</h1></div>
${newest.length === 0 ? html`<div class="message"><h2>No letters yet</h2><p>Whoever orders something gets one.</p></div>` : html`<ul class="letters card">${newest.map(entry)}</ul>`}
${next === undefined ? null : html`<nav class="pager" aria-label="Pages"><span></span><a class="button plain" rel="next" href="/mailbox?after=${encodeURIComponent(next)}">More →</a></nav>`}`;
  return { title: 'Letters sent', main };
}

function entry({ id, subject, to, state, at }: MailView): Html {
  const title = state === 'sent' ? html`<a href="/mailbox/${id}"><bdi>${subject}</bdi></a>` : html`<bdi>${subject}</bdi>`;
  return html`<li><h2>${title}</h2><p class="quiet break">To ${to}</p><p class="quiet when">${state === 'sent' ? null : html`<span class="stock Low">${states[state]}</span> `}${timeOf(at)}</p></li>
`;
}

export function letterPage(key: string, message: Uint8Array): PageOf {
  const { from, to, subject, date, text } = letterOf(message);
  const orderId = key.slice(0, key.indexOf('.'));
  const main = html`<nav class="crumbs" aria-label="Breadcrumb"><a href="/mailbox">Letters sent</a></nav>
<article class="letter card"><h1><bdi>${subject}</bdi></h1>
<dl class="facts"><dt>From</dt><dd><bdi>${from}</bdi></dd><dt>To</dt><dd><bdi>${to}</bdi></dd><dt>Date</dt><dd>${Number.isNaN(Date.parse(date)) ? date : timeOf(date)}</dd></dl>
<pre dir="auto">${text}</pre>
<p><a class="button plain" href="/orders/${orderId}">Open the order’s page</a></p></article>`;
  return { title: subject, main };
}

// ---------------------------------------------------------------- reading a message

export interface ReadLetter {
  readonly from: string;
  readonly to: string;
  readonly subject: string;
  readonly date: string;
  readonly text: string;
}

/**
 * Reads what our own mailbox writes (RFC 5322, 2045 to 2047): multipart/alternative with the text first, 7bit, 8bit or base64, encoded words in base64 and UTF-8.
 * Anything else is shown as it is.
 */
export function letterOf(bytes: Uint8Array): ReadLetter {
  const message = Buffer.from(bytes).toString('utf8');
  const { headers, body } = split(message);
  const boundary = /boundary="([^"]+)"/.exec(headers.get('content-type') ?? '')?.[1];
  const first = boundary === undefined ? message : (`\r\n${body}`.split(`\r\n--${boundary}`)[1] ?? message).replace(/^\r\n/, '');
  const part = split(first);
  const base64 = /^base64$/i.test(part.headers.get('content-transfer-encoding') ?? '');
  return {
    from: headers.get('from') ?? '',
    to: headers.get('to') ?? '',
    subject: headers.get('subject') ?? '',
    date: headers.get('date') ?? '',
    text: boundary === undefined ? message : base64 ? Buffer.from(part.body, 'base64').toString('utf8') : part.body,
  };
}

function split(message: string): { headers: Map<string, string>; body: string } {
  const end = message.indexOf('\r\n\r\n');
  const head = end < 0 ? message : message.slice(0, end);
  const lines = head.replace(/\r\n[ \t]+/g, ' ').split('\r\n').map((line) => /^([!-9;-~]+):\s*(.*)$/.exec(line));
  const headers = new Map(lines.flatMap((line) => (line ? [[line[1]!.toLowerCase(), decoded(line[2]!)]] : [])));
  return { headers, body: end < 0 ? '' : message.slice(end + 4) };
}

/** White space between two encoded words is no part of the text (RFC 2047, section 6.2). */
function decoded(header: string): string {
  const joined = header.replace(/\?=\s+(?==\?)/g, '?=');
  return joined.replace(/=\?utf-8\?b\?([A-Za-z0-9+/=]*)\?=/gi, (_, base64: string) => Buffer.from(base64, 'base64').toString('utf8'));
}
