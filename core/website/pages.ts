import { html, type Html } from '../html.ts';
import type { Reply } from '../kernel/service.ts';
import { fallbackLocale } from './locale.ts';

/** What all pages have in common: the frame with its landmarks, the error page, and the small pieces that several pages show. */

export interface Around {
  readonly shopName: string;
  /** Units in the basket; unknown on error pages. */
  readonly units?: number;
  readonly mailbox?: boolean;
  /** The stylesheet, if it is to stand in the page. */
  readonly style?: Html;
}

export interface PageOf {
  readonly title: string;
  readonly main: Html;
  /** What was searched for. */
  readonly q?: string;
  readonly head?: Html;
}

/**
 * The policy of referrers stands in the page as well: within the shop the browser says where a form comes from (its Origin would be `null` otherwise),
 * to others nothing.
 */
export function frame({ shopName, units, mailbox, style }: Around, { title, main, q, head }: PageOf): Html {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="same-origin">
<meta name="color-scheme" content="light dark">
<meta name="theme-color" content="#f7f5f0" media="(prefers-color-scheme: light)">
<meta name="theme-color" content="#151614" media="(prefers-color-scheme: dark)">
<title>${title === shopName ? title : `${title} · ${shopName}`}</title>
${style ? html`<style>${style}</style>` : html`<link rel="stylesheet" href="/assets/app.css">`}
<link rel="icon" href="/assets/icon.svg" type="image/svg+xml">
<script src="/assets/app.js" defer fetchpriority="low"></script>
${head}
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header class="top"><div class="wide">
<a class="brand" href="/">${mark}<span>${shopName}</span></a>
<form class="search" role="search" action="/" method="get">
<label class="unseen" for="q">Search the shop</label>
<input id="q" name="q" type="search" value="${q}" placeholder="Search the shop" maxlength="200" autocomplete="off" enterkeyhint="search">
<button type="submit" class="icon" aria-label="Search">${lens}</button>
</form>
<a class="to-basket" href="/basket" data-basket>${bag}<span class="word">Basket</span> ${units ? html`<span class="count">${units > 999 ? '999+' : units}<span class="unseen"> ${units === 1 ? 'item' : 'items'}</span></span>` : null}</a>
</div></header>
<main id="main" class="wide" tabindex="-1">
${main}
</main>
<footer class="bottom"><div class="wide">
<p>${shopName}</p>
<nav aria-label="More"><a href="/">All products</a>${mailbox ? html`<a href="/mailbox">Letters sent</a>` : null}<a href="/openapi.json">API</a></nav>
</div></footer>
<p class="unseen" role="status" aria-live="polite" data-news></p>
</body>
</html>
`;
}

const mark = html`<svg class="mark" viewBox="0 0 32 32" aria-hidden="true" focusable="false"><rect width="32" height="32" rx="9"/><path d="M7.5 21.5a8.5 8.5 0 0 1 17 0M16 13V7.5M12.5 21.5a3.5 3.5 0 0 1 7 0"/></svg>`;
const lens = html`<svg class="line" viewBox="0 0 20 20" aria-hidden="true" focusable="false"><circle cx="8.5" cy="8.5" r="5.5"/><path d="M13 13l4.5 4.5"/></svg>`;
const bag = html`<svg class="line" viewBox="0 0 20 20" aria-hidden="true" focusable="false"><path d="M4 7h12l1 10.5H3zM7 9V6a3 3 0 0 1 6 0v3"/></svg>`;

export function page(status: number, around: Around, content: PageOf, headers: Readonly<Record<string, string>> = {}): Reply {
  return { status, html: String(frame(around, content)), headers, ...(around.style ? { style: String(around.style) } : {}) };
}

/** For whoever answers when no page can. */
export function errorPage(shopName: string, status: number, title: string, detail: string): string {
  const sentence = detail === '' ? '' : detail[0]!.toUpperCase() + detail.slice(1) + (/[.!?]$/.test(detail) ? '' : '.');
  const main = html`<div class="message"><p class="code" aria-hidden="true">${status}</p><h1>${title}</h1><p>${sentence}</p><p><a class="button" href="/">Back to the shop</a></p></div>`;
  return String(frame({ shopName }, { title, main }));
}

/** Something that a person should read before all else on a page. */
export const alert = (text: string | undefined): Html | undefined => (text === undefined ? undefined : html`<p class="alert" role="alert">${text}</p>`);

export const plural = (count: number, one: string, many = `${one}s`): string => `${formatCount(count)} ${count === 1 ? one : many}`;

let counts: Intl.NumberFormat | undefined;
export const formatCount = (count: number): string => (counts ??= new Intl.NumberFormat('en-GB')).format(count);

/** UTC without script; the browser turns it into the reader's own time. */
export function timeOf(at: string | number, locale: string = fallbackLocale): Html {
  const date = new Date(at);
  let format = times.get(locale);
  if (!format) {
    format = newTimes(locale);
    if (times.size < 100) times.set(locale, format);
  }
  return html`<time datetime="${date.toISOString()}">${format.format(date)} UTC</time>`;
}
/** Made when the first page shows one: it takes longer than all else that has to be done before an answer. */
const times = new Map<string, Intl.DateTimeFormat>();
const newTimes = (locale: string): Intl.DateTimeFormat => new Intl.DateTimeFormat(locale, { day: 'numeric', month: 'short', year: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit', timeZone: 'UTC' });
