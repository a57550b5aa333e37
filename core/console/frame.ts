import { html, type Html } from '../html.ts';
import type { Reply } from '../kernel/service.ts';
import type { Kernel } from '../kernel/service.ts';
import type { Operator } from './events.ts';
import { parts, type May, type PageOf } from './shape.ts';

/** THE FRAME of every page of the console: its landmarks, its parts, who has signed in. Nobody who is not signed in sees what parts there are. */

/** The hidden field that proves that a form is ours. */
export const sealOf = ({ csrf }: Operator): Html => html`<input type="hidden" name="csrf" value="${csrf}">`;

export const mayOf = (operator: Operator): May => ({ operate: operator.role === 'operator', seal: sealOf(operator) });

export interface Framed extends Omit<PageOf, 'here'> {
  readonly here?: PageOf['here'];
}

export function frame(shopName: string, operator: Operator | undefined, { title, main, here }: Framed): Html {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="same-origin">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>${title} · ${shopName} console</title>
<link rel="stylesheet" href="/assets/console.css">
<link rel="icon" href="/assets/icon.svg" type="image/svg+xml">
<script src="/assets/console.js" defer></script>
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header class="top"><div class="wide"><a class="brand" href="/console">${mark}<span>${shopName}</span></a>
${operator ? html`<nav class="nav" aria-label="Console">${parts.map(([part, words, path]) => html`<a href="${path}"${part === here ? html` aria-current="page"` : null}>${words}</a>`)}</nav>
<form class="who" action="/console/sign-out" method="post">${sealOf(operator)}<span title="${operator.who}, ${operator.role}"><bdi>${operator.who}</bdi> <span class="role">${operator.role}</span></span> <button class="link">Sign out</button></form>` : null}</div></header>
<main id="main" class="wide" tabindex="-1">
${main}
</main>
<p class="unseen" role="status" aria-live="polite" data-news></p>
</body>
</html>
`;
}

const mark = html`<svg class="mark" viewBox="0 0 32 32" aria-hidden="true" focusable="false"><rect width="32" height="32" rx="9"/><path d="M7.5 21.5a8.5 8.5 0 0 1 17 0M16 13V7.5M12.5 21.5a3.5 3.5 0 0 1 7 0"/></svg>`;

/** An answer with a page in the frame. Nobody keeps it. */
export function paged({ settings }: Pick<Kernel, 'settings'>, operator: Operator | undefined, page: Framed, headers: Readonly<Record<string, string>> = {}): Reply {
  return { status: page.status ?? 200, html: String(frame(settings.shopName, operator, page)), headers };
}

/** What stands where no page can: what has happened, and what to do. */
export const message = (status: number, title: string, sentence: string, below?: Html): Framed =>
  ({ status, title, main: html`<div class="message"><h1>${title}</h1><p>${sentence}</p>${below ?? html`<p><a class="button" href="/console">To the console</a></p>`}</div>` });

/** For whoever answers when no page can. It does not know who asks, so it shows nothing but what has happened. */
export function errorPage(shopName: string, status: number, title: string, detail: string): string {
  const sentence = detail === '' ? '' : detail[0]!.toUpperCase() + detail.slice(1) + (/[.!?]$/.test(detail) ? '' : '.');
  return String(frame(shopName, undefined, message(status, title, sentence)));
}
