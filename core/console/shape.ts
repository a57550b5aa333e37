import { html, type Child, type Html } from '../html.ts';

/** THE CONSOLE'S SMALL PIECES: what several pages show. All of them are functions from what the admin API answers to HTML; none asks for anything. */

export interface PageOf {
  readonly title: string;
  readonly main: Html;
  /** The part of the console that it belongs to. */
  readonly here: Part;
  readonly status?: number;
}

export const parts = [
  ['now', 'Now', '/console'],
  ['orders', 'Orders', '/console/orders'],
  ['products', 'Products', '/console/products'],
  ['trouble', 'Trouble', '/console/trouble'],
  ['pace', 'Pace', '/console/pace'],
  ['audit', 'Audit', '/console/audit'],
] as const;
export type Part = (typeof parts)[number][0];

/** What of it a person may do, and what his forms carry. */
export interface May {
  readonly operate: boolean;
  /** The hidden fields that prove that a form is ours. */
  readonly seal: Html;
}

/** What was typed into a form that was refused, and what is wrong with it, by the name of the field; '' is about all of it. */
export interface Typed {
  readonly values: Readonly<Record<string, string>>;
  readonly complaints: Readonly<Record<string, string>>;
}
export const untouched: Typed = { values: {}, complaints: {} };

// ---------------------------------------------------------------- words and numbers

const numbers = new Intl.NumberFormat('en-GB');
export const count = (n: number): string => numbers.format(n);
export const plural = (n: number, one: string, many = `${one}s`): string => `${count(n)} ${n === 1 ? one : many}`;
export const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
export const shortId = (id: string): string => id.slice(0, 8);

/** At the most so many characters of what others have written; whole characters, never half of one. */
export function clipped(text: string, most: number): string {
  const all = Array.from(text.slice(0, most * 2 + 2));
  return all.length > most ? `${all.slice(0, most - 1).join('')}…` : text;
}

/** `420 ms`, `3.5 s`, `4 min`, `3 h`, `12 d`. */
export function duration(seconds: number): string {
  if (seconds < 1) return `${Math.round(seconds * 1_000)} ms`;
  if (seconds < 10) return `${Math.round(seconds * 10) / 10} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3_600)} h`;
  return `${count(Math.round(seconds / 86_400))} d`;
}

export const perMinute = (rate: number): string => `${rate >= 10 ? count(Math.round(rate)) : String(Math.round(rate * 10) / 10)}/min`;

/** UTC without script; the browser turns it into the reader's own time. */
export function timeOf(at: string): Html {
  const date = new Date(at);
  return html`<time datetime="${date.toISOString()}">${date.toISOString().slice(0, 19).replace('T', ' ')} UTC</time>`;
}

/** A sentence of the API in which times stand as the wire has them. */
export function withTimes(text: string): Html {
  const pieces = text.split(/(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z)/);
  return html`<bdi>${pieces.map((piece, n) => (n % 2 === 1 && !Number.isNaN(Date.parse(piece)) ? timeOf(piece) : piece))}</bdi>`;
}

export const age = (at: string, now: string): string => duration(Math.max(0, (Date.parse(now) - Date.parse(at)) / 1_000));

// ---------------------------------------------------------------- pieces

export type Tone = 'good' | 'warn' | 'bad' | 'calm';
export const chip = (tone: Tone, text: string): Html => html`<span class="chip ${tone}">${text}</span>`;

const orderTones: Readonly<Record<string, Tone>> = { Placed: 'calm', Backordered: 'warn', Reserved: 'calm', Shipped: 'calm', Delivered: 'good', Cancelled: 'calm' };
export const statusChip = (status: string): Html => chip(orderTones[status] ?? 'bad', status);

export const orderLink = (id: string): Html => html`<a class="number" href="/console/orders/${id}">${shortId(id)}</a>`;
export const skuLink = (sku: string): Html => html`<a class="number" href="/console/products/${sku}">${sku}</a>`;

export const alert = (text: string | undefined): Html | null => (text === undefined || text === '' ? null : html`<p class="alert" role="alert" tabindex="-1" data-errors>${text}</p>`);
export const done = (text: string | undefined): Html | null => (text === undefined || text === '' ? null : html`<p class="done" role="status">${text}</p>`);

/** What there is nothing of. */
export const nothing = (title: string, sentence: Child): Html => html`<div class="nothing"><p class="big">${title}</p><p>${sentence}</p></div>`;

/** A table that becomes a list of cards on a phone: each cell says what it is. A head that ends in `#` has numbers under it, at the right. */
export function table(name: string, heads: readonly string[], rows: readonly (readonly Child[])[]): Html {
  const columns = heads.map((head) => ({ head: head.replace(/#$/, ''), right: head.endsWith('#') ? html` class="right"` : null }));
  return html`<table class="rows"><caption class="unseen">${name}</caption><thead><tr>${columns.map(({ head, right }) => html`<th scope="col"${right}>${head}</th>`)}</tr></thead>
<tbody>${rows.map((cells) => html`<tr>${cells.map((cell, n) => html`<td data-head="${columns[n]!.head}"${columns[n]!.right}><div>${cell}</div></td>`)}</tr>
`)}</tbody></table>`;
}

export const facts = (found: readonly (readonly [name: string, value: Child])[]): Html =>
  html`<dl class="facts">${found.map(([name, value]) => (value === undefined || value === null || value === false ? null : html`<div><dt>${name}</dt><dd>${value}</dd></div>`))}</dl>`;

/** To the next page and back to the first. `query` is what was asked for. */
export function pager(path: string, query: Readonly<Record<string, string | undefined>>, next: string | undefined): Html | null {
  if (next === undefined && query['after'] === undefined) return null;
  const to = (after: string | undefined): string => addressOf(path, { ...query, after });
  return html`<nav class="pager" aria-label="Pages">${query['after'] === undefined ? html`<span></span>` : html`<a class="button plain" href="${to(undefined)}">To the first page</a>`}${next === undefined ? null : html`<a class="button plain" href="${to(next)}" rel="next">Next page</a>`}</nav>`;
}

export function addressOf(path: string, query: Readonly<Record<string, string | undefined>>): string {
  const kept = Object.entries(query).filter((each): each is [string, string] => each[1] !== undefined && each[1] !== '');
  return kept.length === 0 ? path : `${path}?${new URLSearchParams(kept).toString()}`;
}

export interface Field {
  readonly name: string;
  readonly label: string;
  readonly value?: string;
  readonly hint?: string;
  readonly type?: 'text' | 'number';
  readonly max?: number;
  readonly optional?: boolean;
  readonly long?: boolean;
}

/** A field with what was typed into it, and what is wrong with that beside it. */
export function field({ name, label, value, hint, type = 'text', max = 200, optional, long }: Field, { values, complaints }: Typed): Html {
  const wrong = complaints[name];
  const told = [...(hint === undefined ? [] : [`${name}-hint`]), ...(wrong === undefined ? [] : [`${name}-complaint`])].join(' ');
  const marks = html`${optional ? null : html` required`}${wrong === undefined ? null : html` aria-invalid="true"`}${told === '' ? null : html` aria-describedby="${told}"`}`;
  const typed = values[name] ?? value ?? '';
  const box = long
    ? html`<textarea id="${name}" name="${name}" rows="4" maxlength="${max}" dir="auto"${marks}>${typed}</textarea>`
    : html`<input id="${name}" name="${name}" value="${typed}" maxlength="${max}" autocomplete="off" dir="auto"${type === 'number' ? html` inputmode="decimal"` : null}${marks}>`;
  return html`<div class="field"><label for="${name}">${label}${optional ? html` <span class="quiet">(optional)</span>` : null}</label>${box}${hint === undefined ? null : html`<p class="quiet" id="${name}-hint">${hint}</p>`}${wrong === undefined ? null : html`<p class="complaint" id="${name}-complaint">${capital(wrong)}.</p>`}</div>`;
}

/** A message or whatever else has no fixed shape; long ones are cut, and say so. */
const payloadMax = 20_000;
export function payload(value: unknown): Html {
  const text = JSON.stringify(value, null, 2) ?? '';
  return html`<pre class="payload" tabindex="0">${text.length > payloadMax ? `${text.slice(0, payloadMax)}\n… and ${count(text.length - payloadMax)} characters more` : text}</pre>`;
}
