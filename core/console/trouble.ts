import type { z } from 'zod';
import { html, type Child, type Html } from '../html.ts';
import type { MailView } from '../notification/events.ts';
import type { DeadLetterDetail, DeadLetterView, ParkedDetail, ParkedView, StuckDetail, StuckView } from '../operations/events.ts';
import type { BookingView } from '../shipping/events.ts';
import { addressOf, alert, capital, clipped, count, done, facts, field, nothing, orderLink, pager, payload, plural, shortId, skuLink, table, timeOf, untouched, type May, type PageOf, type Typed } from './shape.ts';
import type { Found } from './orders.ts';

/**
 * TROUBLE: what no machine mends. Five kinds, each grouped by cause; of one or of a group a person says that it is tried again, or that nothing is to be done. He is asked
 * once, on a page that says what will happen; only what comes from that page is done.
 */
export const kinds = ['dead-letters', 'parked', 'stuck', 'mails', 'bookings'] as const;
export type Kind = (typeof kinds)[number];
export const isKind = (text: string): text is Kind => (kinds as readonly string[]).includes(text);
export const acts = ['retry', 'resolve'] as const;
export type Act = (typeof acts)[number];

interface Words {
  readonly one: string;
  readonly many: string;
  readonly means: string;
  readonly retry: string;
  readonly retries: string;
  readonly retried: string;
  readonly resolve: string;
  readonly resolves: string;
  readonly resolved: string;
}

export const words: Readonly<Record<Kind, Words>> = {
  'dead-letters': {
    one: 'dead letter', many: 'dead letters', means: 'Messages of a queue that could not be handled: ten tries, or nobody can read them. Each order waits.',
    retry: 'Send again', retries: 'It is put on its queue once more, and handled once even if it had been handled before. If it fails again it is dead again, with all of its history.', retried: 'sent again',
    resolve: 'Put aside', resolves: 'Nothing is to be done about it: it is kept, and not sent any more.', resolved: 'put aside',
  },
  parked: {
    one: 'parked key', many: 'parked keys', means: 'An event of a stream that its listener could not handle, with all later ones of the same order or product. All others move on.',
    retry: 'Try again now', retries: 'Within five seconds it is replayed in order, and what has come meanwhile after it.', retried: 'being tried again',
    resolve: 'Drop the first event', resolves: 'The first of its events is dropped, and the next one is gone on with. The dropped one is kept, and stands in the order’s story.', resolved: 'dropped',
  },
  stuck: {
    one: 'stuck message', many: 'stuck messages', means: 'Committed, and a channel will not take it: too large for it, or the channel is gone, or it refuses for good.',
    retry: 'Send now', retries: 'It goes now, and those behind it in order.', retried: 'sent',
    resolve: 'Do not send', resolves: 'It is not said on the channels that are left, and who should have heard it does not. The order’s story says so.', resolved: 'not to be sent',
  },
  mails: {
    one: 'letter', many: 'letters', means: 'Uncertain: the mailer never said whether it sent it, and nobody gets two letters by themselves. Refused: it will never take it.',
    retry: 'Send one more', retries: 'Exactly one more is sent. If the first had been sent after all, the customer has two.', retried: 'sent once more',
    resolve: 'It was sent', resolves: 'It is noted that the customer has it, and nothing is sent.', resolved: 'noted as sent',
  },
  bookings: {
    one: 'booking', many: 'bookings', means: 'Uncertain: the carrier never said whether it has the parcel. Refused: it will not take it. Left over: it took it after the order had been cancelled.',
    retry: 'Book again', retries: 'It is booked under the same key, so a carrier that keeps its word makes one parcel of both.', retried: 'booked again',
    resolve: 'The carrier has it', resolves: 'The order goes on as if the carrier had said so itself.', resolved: 'settled',
  },
};
const calledBack = { resolve: 'Called back', resolves: 'The parcel of the cancelled order was called back from the carrier; nothing more is to be done.' } as const;

/** One of any kind, as the lists show it. */
export interface Item {
  readonly id: string;
  readonly cause: string;
  readonly at: string;
  readonly what: string;
  readonly about?: string;
  readonly where: string;
  readonly note: string;
  /** In a group it has to be told apart. */
  readonly state?: string;
}

export const itemOf = {
  'dead-letters': ({ id, cause, at, event = 'something unreadable', subject, queue, consumer, attempts }: DeadLetterView): Item => ({ id, cause, at, what: event, ...(subject === undefined ? {} : { about: subject }), where: `${queue}, for ${consumer}`, note: plural(attempts, 'attempt') }),
  parked: ({ id, cause, at, stream, consumer, partitionkey, events, retryAt }: ParkedView): Item => ({ id, cause, at, what: plural(events, 'event'), about: partitionkey, where: `${stream}, for ${consumer}`, note: retryAt === undefined ? 'only by hand' : 'tries itself' }),
  stuck: ({ id, cause, at, event = 'something unreadable', subject, channels, attempts }: StuckView): Item => ({ id, cause, at, what: event, ...(subject === undefined ? {} : { about: subject }), where: channels.join(', '), note: plural(attempts, 'attempt') }),
  mails: ({ id, orderId, milestone, to, state, at }: MailView): Item => ({ id, cause: state, at, what: milestone, about: orderId, where: to, note: state, state }),
  bookings: ({ orderId, state, claimedAt, detail, parcel }: BookingView): Item => ({ id: orderId, cause: state, at: claimedAt, what: parcel ? `${parcel.carrier} ${parcel.trackingNumber}` : (detail ?? 'the carrier never said'), about: orderId, where: 'the carrier', note: state, state }),
} as const;

const causeWords: Readonly<Record<string, string>> = { uncertain: 'Uncertain: no answer ever came', refused: 'Refused: it will never be taken', leftOver: 'Left over: taken after the order was cancelled' };
/** The API cuts long ones. */
const causeText = (cause: string): string => causeWords[cause] ?? (cause.length >= 200 ? `${cause}…` : cause);

// ---------------------------------------------------------------- lists

export type Counts = Readonly<Record<Kind, { readonly n: number; readonly more: boolean } | undefined>>;

/** `undefined` of a kind: it could not be asked. */
export function troublePage(counts: Counts): PageOf {
  const all = kinds.map((kind) => counts[kind]);
  const well = all.every((each) => each?.n === 0);
  const main = html`<div class="headline"><h1>Trouble</h1></div>
${well ? html`<p class="well card"><span><strong>Nothing waits for a person.</strong> Everything else is made good without you.</span></p>` : null}
<ul class="kinds">${kinds.map((kind) => {
    const found = counts[kind];
    const number = found === undefined ? '?' : `${count(found.n)}${found.more ? '+' : ''}`;
    return html`<li class="card${found?.n === 0 ? '' : ' bad'}"><h2><a href="/console/trouble/${kind}">${capital(words[kind].many)}</a></h2><p class="n">${number}</p><p class="quiet">${words[kind].means}</p></li>`;
  })}</ul>`;
  return { title: 'Trouble', here: 'trouble', main };
}

export interface Listed {
  readonly kind: Kind;
  readonly cause?: string;
  readonly after?: string;
  readonly found: Found<Item>;
  /** What was done just now. */
  readonly said?: string;
}
const rowsOfGroup = 20;

export function kindPage({ kind, cause, after, found: { items, next }, said }: Listed, may: May): PageOf {
  const { many, means } = words[kind];
  const groups = grouped(items);
  const main = html`<p class="crumbs"><a href="/console/trouble">Trouble</a></p>
<div class="headline"><h1>${capital(many)}</h1></div><p class="lead">${means}</p>${done(said)}
${cause === undefined ? null : html`<p>Only of this cause. <a href="/console/trouble/${kind}">Show all causes</a></p>`}
${items.length === 0 ? nothing(cause === undefined ? `No ${many}` : 'Nothing of this cause', 'Nothing here waits for a person.') : groups.map(([of, all]) => group(kind, of, all, next !== undefined, cause !== undefined, may))}
${pager(`/console/trouble/${kind}`, { cause, after }, next)}`;
  return { title: capital(many), here: 'trouble', main };
}

/** The commonest cause first. */
export function grouped(items: readonly Item[]): readonly (readonly [cause: string, items: readonly Item[]])[] {
  const groups = new Map<string, Item[]>();
  for (const item of items) groups.set(item.cause, [...(groups.get(item.cause) ?? []), item]);
  return [...groups].sort(([, a], [, b]) => b.length - a.length);
}

function group(kind: Kind, cause: string, items: readonly Item[], more: boolean, alone: boolean, may: May): Html {
  const shown = alone ? items : items.slice(0, rowsOfGroup);
  const rows = shown.map(({ id, at, what, about, where, note }) => [html`<a href="/console/trouble/${kind}/${id}">${clipped(what, 120)}</a>`, aboutOf(about), clipped(where, 120), timeOf(at), note]);
  const all = `${count(items.length)}${more ? '+' : ''}`;
  return html`<section class="card group"><header><h2><span class="n">${all} ×</span> <bdi>${clipped(causeText(cause), 300)}</bdi></h2>${may.operate ? html`<p class="acts">${actLink(kind, 'retry', { cause }, `${words[kind].retry}: all`)}${groupResolves(kind, cause) ? actLink(kind, 'resolve', { cause }, `${resolveWords(kind, cause).resolve}: all`) : null}</p>` : null}</header>
${table(`${capital(words[kind].many)}: ${causeText(cause)}`, ['What', 'About', 'Where', 'Since', 'Note'], rows)}
${items.length > shown.length ? html`<p><a href="${addressOf(`/console/trouble/${kind}`, { cause })}">All ${all} of this cause</a></p>` : null}</section>`;
}

/** Of a booking one has to say which parcel it became; only what was called back is so for many. */
export const groupResolves = (kind: Kind, cause: string): boolean => kind !== 'bookings' || cause === 'leftOver';
const resolveWords = (kind: Kind, state: string | undefined): Pick<Words, 'resolve' | 'resolves'> => (kind === 'bookings' && state === 'leftOver' ? calledBack : words[kind]);

const isOrder = (text: string): boolean => /^[0-9a-z]{26}$/.test(text);
const isSku = (text: string): boolean => /^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$/.test(text);
function aboutOf(about: string | undefined): Child {
  if (about === undefined) return html`<span class="quiet">nobody knows</span>`;
  return isOrder(about) ? orderLink(about) : isSku(about) ? skuLink(about) : html`<bdi>${clipped(about, 60)}</bdi>`;
}

const actLink = (kind: Kind, act: Act, target: Readonly<Record<string, string>>, text: string): Html =>
  html`<a class="button ${act === 'retry' ? '' : 'plain'}" href="${addressOf('/console/decide', { kind, do: act, ...target })}">${text}</a>`;

// ---------------------------------------------------------------- one of them

export interface Detail {
  readonly kind: Kind;
  readonly item: Item;
  readonly facts: readonly (readonly [name: string, value: Child])[];
  readonly sections: readonly (readonly [title: string, content: Html])[];
  /** Of a parked key: the event that would be dropped. */
  readonly first?: string;
}

export const detailOf = {
  'dead-letters': (found: z.infer<typeof DeadLetterDetail>): Detail => ({
    kind: 'dead-letters', item: itemOf['dead-letters'](found),
    facts: [['Event', found.event ?? 'nobody can read it'], ['About', aboutOf(found.subject)], ['Queue', `${found.queue}, for ${found.consumer}`], ['State', stateWords[found.state]], ['Since', timeOf(found.at)], ['Attempts', count(found.attempts)]],
    sections: [['History', history(found.history)], ['Message', payload(found.message)]],
  }),
  parked: (found: z.infer<typeof ParkedDetail>): Detail => ({
    kind: 'parked', item: itemOf.parked(found), ...(firstOf(found) === undefined ? {} : { first: firstOf(found)! }),
    facts: [['Key', aboutOf(found.partitionkey)], ['Stream', `${found.stream}, for ${found.consumer}`], ['Since', timeOf(found.at)], ['Events', count(found.events)], ['Attempts', count(found.attempts)], ['Next try', found.retryAt === undefined ? 'only by hand: trying it has ended the process three times' : html`by itself, ${timeOf(found.retryAt)}`]],
    sections: [
      ...found.messages.slice(0, messagesShown).map((message, n) => [`Event ${n + 1} of ${found.events}`, payload(message)] as const),
      ...found.dropped.slice(0, messagesShown).map(({ at, why, message }) => ['Dropped before', html`<p>${timeOf(at)}: <bdi>${clipped(why, 500)}</bdi></p>${payload(message)}`] as const),
    ],
  }),
  stuck: (found: z.infer<typeof StuckDetail>): Detail => ({
    kind: 'stuck', item: itemOf.stuck(found),
    facts: [['Event', found.event ?? 'nobody can read it'], ['About', aboutOf(found.subject)], ['Not on', found.channels.join(', ')], ['Said', timeOf(found.at)], ['Attempts', count(found.attempts)]],
    sections: [['Message', payload(found.message)]],
  }),
  mails: (found: MailView): Detail => ({
    kind: 'mails', item: itemOf.mails(found),
    facts: [['Order', orderLink(found.orderId)], ['Milestone', found.milestone], ['To', html`<bdi>${found.to}</bdi>`], ['Subject', html`<bdi>${found.subject}</bdi>`], ['State', found.state], ['Since', timeOf(found.at)]],
    sections: [],
  }),
  bookings: (found: BookingView): Detail => ({
    kind: 'bookings', item: itemOf.bookings(found),
    facts: [['Order', orderLink(found.orderId)], ['State', found.state], ['Asked', timeOf(found.claimedAt)], ['What is known', found.detail && html`<bdi>${clipped(found.detail, 500)}</bdi>`], ['Parcel', found.parcel && html`<bdi>${found.parcel.carrier} ${found.parcel.trackingNumber}</bdi>`]],
    sections: [],
  }),
} as const;
const messagesShown = 20;
const stateWords = { dead: 'dead', sentAgain: 'sent again', resolved: 'put aside' } as const;

/** What identifies the event that would be dropped, as the API wants to hear it. */
export function firstOf({ messages: [first] }: z.infer<typeof ParkedDetail>): string | undefined {
  return typeof first === 'object' && first !== null && 'id' in first && typeof first.id === 'string' ? first.id : undefined;
}

function history(entries: z.infer<typeof DeadLetterDetail>['history']): Html {
  if (entries.length === 0) return html`<p class="quiet">None.</p>`;
  return html`<ol class="story">${entries.slice(-100).map(({ at, what, why }) => html`<li><span class="when">${timeOf(at)}</span><span class="by">${stateWords[what as keyof typeof stateWords] ?? what}</span><span class="what"><bdi>${clipped(why ?? '', 500)}</bdi></span></li>`)}</ol>`;
}

export function detailPage({ kind, item, facts: known, sections }: Detail, reason: string | undefined, may: May): PageOf {
  const { id, state, note } = item;
  const open = (kind !== 'mails' || state === 'uncertain' || state === 'refused') && (kind !== 'dead-letters' || known.some(([name, value]) => name === 'State' && value === 'dead'));
  const acting = may.operate && open ? html`<p class="acts">${kind === 'bookings' && state === 'leftOver' ? null : actLink(kind, 'retry', { id }, words[kind].retry)}${actLink(kind, 'resolve', { id }, resolveWords(kind, state).resolve)}</p>` : null;
  const main = html`<p class="crumbs"><a href="/console/trouble">Trouble</a> › <a href="/console/trouble/${kind}">${capital(words[kind].many)}</a></p>
<div class="headline"><h1>${capital(words[kind].one)} <span class="number">${shortId(id)}</span></h1>${acting}</div>
<section class="card"><h2>${kind === 'mails' || kind === 'bookings' ? capital(note) : 'Why'}</h2><p class="reason"><bdi>${clipped(reason ?? causeText(item.cause), 2_000)}</bdi></p>${facts(known)}</section>
${sections.map(([title, content]) => html`<section class="card"><h2>${title}</h2>${content}</section>`)}`;
  return { title: `${capital(words[kind].one)} ${shortId(id)}`, here: 'trouble', main };
}

// ---------------------------------------------------------------- to be asked once

export interface Decision {
  readonly kind: Kind;
  readonly act: Act;
  /** One, … */
  readonly item?: Item;
  /** … or all of a cause: so many, at the least. */
  readonly cause?: string;
  readonly n: number;
  readonly more: boolean;
  readonly first?: string;
  readonly typed?: Typed;
}

export function decisionPage({ kind, act, item, cause, n, more, first, typed = untouched }: Decision, may: May): PageOf {
  const { one, many } = words[kind];
  const state = item?.state ?? cause;
  const { resolve, resolves } = resolveWords(kind, state);
  const verb = act === 'retry' ? words[kind].retry : resolve;
  const back = item ? `/console/trouble/${kind}/${item.id}` : `/console/trouble/${kind}`;
  const target = item ? html`<input type="hidden" name="id" value="${item.id}">` : html`<input type="hidden" name="cause" value="${cause}">`;
  const whom = item ? html`the ${one} <span class="number">${shortId(item.id)}</span>` : html`${count(n)}${more ? ' or more' : ''} ${n === 1 && !more ? one : many}`;
  const main = html`<p class="crumbs"><a href="/console/trouble">Trouble</a> › <a href="/console/trouble/${kind}">${capital(many)}</a></p>
<div class="ask card"><h1>${verb}?</h1><p class="lead">This is about ${whom}: <bdi>${clipped(causeText(item?.cause ?? cause ?? ''), 300)}</bdi></p>
<p>${act === 'retry' ? words[kind].retries : resolves}${item ? null : ' That goes for each of them.'}</p>
<form method="post" action="/console/decide" data-once novalidate>${may.seal}${alert(typed.complaints[''])}<input type="hidden" name="kind" value="${kind}"><input type="hidden" name="do" value="${act}">${target}${first === undefined ? null : html`<input type="hidden" name="first" value="${first}">`}
${act === 'resolve' ? questions(kind, state, typed) : null}
<p class="acts"><button class="button">${verb}</button><a class="button plain" href="${back}">Leave it</a></p></form></div>`;
  return { title: `${verb}?`, here: 'trouble', main };
}

function questions(kind: Kind, state: string | undefined, typed: Typed): Html | null {
  if (kind === 'mails' || (kind === 'bookings' && state === 'leftOver')) return null;
  if (kind === 'bookings') return html`<div class="pair">${field({ name: 'carrier', label: 'Carrier', max: 100, hint: 'In lower case, as ups' }, typed)}${field({ name: 'trackingNumber', label: 'Parcel number', max: 100 }, typed)}</div>${field({ name: 'trackingUrl', label: 'Address where it can be followed', max: 2_000, optional: true }, typed)}`;
  return field({ name: 'why', label: 'Why', max: 500, optional: true, hint: 'It is kept with what you decide about.' }, typed);
}

/** What is told after it was done; made of numbers alone, for it travels in the address. */
export function saidOf(kind: Kind, act: string | undefined, done: number, left: number): string | undefined {
  if (act !== 'retry' && act !== 'resolve') return undefined;
  const verb = act === 'retry' ? words[kind].retried : words[kind].resolved;
  const rest = left > 0 ? ` ${capital(plural(left, 'other'))} could not be, or ${left === 1 ? 'has' : 'have'} changed meanwhile.` : '';
  return `${capital(plural(done, words[kind].one, words[kind].many))} ${done === 1 ? 'is' : 'are'} ${verb}.${rest}`;
}
