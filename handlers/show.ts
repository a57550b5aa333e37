import type { z } from 'zod';
import type { ActView, AuditView, DeadLetterDetail, DeadLetterView, ParkedDetail, ParkedView, StoryView, StuckDetail, StuckView } from '../core/operations/events.ts';
import type { MailView } from '../core/notification/events.ts';
import type { BookingView } from '../core/shipping/events.ts';
import { count, cut, ink, json, longTime, plain, section, shortId, shortTime, table, wrap, type Column, type Ink, type Paper } from './paper.ts';

/** WHAT PEOPLE SEE of the answers of the desk: tables at the width of their paper. Each function answers lines. */

type Lines = string[];

// ---------------------------------------------------------------- lists

export interface Listed<Item> {
  readonly title: readonly [one: string, many: string];
  readonly columns: readonly Column[];
  readonly row: (item: Item) => readonly string[];
}

/** The first eight of a trouble's sixteen digits are enough to name it. */
const shortName = (id: string): string => id.slice(0, 8);
const about = (subject: string | undefined): string => (subject === undefined ? '' : shortId(subject));

export const deadLetters: Listed<DeadLetterView> = {
  title: ['dead letter', 'dead letters'],
  columns: [{ head: 'id' }, { head: 'since' }, { head: 'event' }, { head: 'about' }, { head: 'for' }, { head: 'attempts', right: true }],
  row: ({ id, at, event, subject, consumer, attempts }) => [shortName(id), shortTime(at), event ?? 'unreadable', about(subject), consumer, String(attempts)],
};

export const parked: Listed<ParkedView> = {
  title: ['parked key', 'parked keys'],
  columns: [{ head: 'id' }, { head: 'since' }, { head: 'listener' }, { head: 'stream' }, { head: 'key' }, { head: 'events', right: true }, { head: 'next try' }],
  row: ({ id, at, consumer, stream, partitionkey, events, retryAt }) => [shortName(id), shortTime(at), consumer, stream, shortId(partitionkey), String(events), retryAt === undefined ? 'by hand' : retryAt.slice(11, 19)],
};

export const stuck: Listed<StuckView> = {
  title: ['stuck message', 'stuck messages'],
  columns: [{ head: 'id' }, { head: 'said' }, { head: 'event' }, { head: 'about' }, { head: 'tries', right: true }, { head: 'cannot go on' }],
  row: ({ id, at, event, subject, attempts, channels }) => [shortName(id), shortTime(at), event ?? 'unreadable', about(subject), String(attempts), channels.join(', ')],
};

const milestoneOf = (id: string): string => `${id.slice(0, 8)}${id.slice(id.indexOf('.'))}`;
export const mails: Listed<MailView> = {
  title: ['letter', 'letters'],
  columns: [{ head: 'id' }, { head: 'since' }, { head: 'state', ink: inkOfState }, { head: 'to' }],
  row: ({ id, at, state, to }) => [milestoneOf(id), shortTime(at), state, to],
};

export const bookings: Listed<BookingView> = {
  title: ['booking that needs a person', 'bookings that need a person'],
  columns: [{ head: 'order' }, { head: 'since' }, { head: 'state', ink: inkOfState }, { head: 'what is known' }],
  row: ({ orderId, claimedAt, state, detail, parcel }) => [shortId(orderId), shortTime(claimedAt), state, parcel ? `${parcel.carrier} ${parcel.trackingNumber}` : (detail ?? 'the carrier never said')],
};

export const acts: Listed<ActView> = {
  title: ['act', 'acts'],
  columns: [{ head: 'when' }, { head: 'who' }, { head: 'did' }, { head: 'about' }, { head: 'came of it', ink: (text) => (text === 'done' ? undefined : 'yellow') }],
  row: ({ at, who, door, params, status, state }) => [shortTime(at), cut(plain(who), 30), door, Object.values(params).map(shortId).join(' '), state === 'begun' ? 'begun; unknown' : status! < 300 ? 'done' : `${status! >= 500 ? 'failed' : 'refused'} ${status}`],
};

function inkOfState(state: string): Ink | undefined {
  return state === 'uncertain' || state === 'refused' || state === 'leftOver' ? 'yellow' : undefined;
}

/** So many rows of a cause are shown, unless it is asked for alone. */
const rowsOfCauseMax = 10;

/** Grouped by cause, the commonest first. */
export function causes<Item extends { readonly cause: string }>(paper: Paper, what: Listed<Item>, items: readonly Item[], more: boolean, rowsMax = rowsOfCauseMax): Lines {
  const groups = new Map<string, Item[]>();
  for (const item of items) groups.set(item.cause, [...(groups.get(item.cause) ?? []), item]);
  const sorted = [...groups].sort(([, a], [, b]) => b.length - a.length);
  const title = `${more ? 'more than ' : ''}${count(items.length, ...what.title)}${sorted.length > 1 ? ` of ${count(sorted.length, 'cause')}` : ''}`;
  const lines = [ink(paper, 'bold', capital(title))];
  for (const [cause, of] of sorted) {
    lines.push('', ...wrap(`${of.length} × ${cause}`, paper.width, '    ').map((line) => ink(paper, 'yellow', line)));
    lines.push(...table(paper, what.columns, of.slice(0, rowsMax).map(what.row)));
    if (of.length > rowsMax) lines.push(ink(paper, 'dim', `  … and ${(of.length - rowsMax).toLocaleString('en-GB')} more; --cause shows one cause, --limit so many of each`));
  }
  return lines;
}

export function list<Item>(paper: Paper, what: Listed<Item>, items: readonly Item[], more: boolean, rowsMax: number): Lines {
  const lines = [ink(paper, 'bold', capital(`${more ? 'more than ' : ''}${count(items.length, ...what.title)}`))];
  if (items.length > 0) lines.push('', ...table(paper, what.columns, items.slice(0, rowsMax).map(what.row)));
  if (items.length > rowsMax) lines.push(ink(paper, 'dim', `  … and ${(items.length - rowsMax).toLocaleString('en-GB')} more; --limit shows so many`));
  return lines;
}

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

// ---------------------------------------------------------------- one of them

type Fact = readonly [name: string, value: string | undefined];
const facts = (paper: Paper, found: readonly Fact[]): Lines =>
  table(paper, [{ ink: () => 'dim' }, {}], found.flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])));

const eventAbout = ({ event, subject }: { event?: string | undefined; subject?: string | undefined }): string => (event === undefined ? 'something that nobody can read' : `${event} about ${subject ?? 'nobody'}`);

export function deadLetter(paper: Paper, letter: z.infer<typeof DeadLetterDetail>): Lines {
  const { id, queue, consumer, attempts, reason, cause, history, message } = letter;
  const state = { dead: 'dead', sentAgain: 'sent again', resolved: 'resolved' }[letter.state];
  return [
    ink(paper, 'bold', `Dead letter ${id}`), '',
    ...facts(paper, [['event', eventAbout(letter)], ['queue', `${queue}, for ${consumer}`], ['state', `${state} since ${longTime(letter.at)}`], ['attempts', String(attempts)], ['reason', reason], ['cause', cause]]),
    ...section(paper, 'History', table(paper, [{}, {}, {}], history.map(({ at, what, why }) => [longTime(at), what === 'sentAgain' ? 'sent again' : what, why ?? '']))),
    ...section(paper, 'Message', json(message)),
  ];
}

export function parkedKey(paper: Paper, key: z.infer<typeof ParkedDetail>): Lines {
  const { id, stream, consumer, partitionkey, events, attempts, reason, cause, retryAt, messages, dropped } = key;
  const next = retryAt === undefined ? 'only by hand: trying it has ended the process three times' : `by itself at ${longTime(retryAt)}`;
  return [
    ink(paper, 'bold', `Parked key ${id}`), '',
    ...facts(paper, [['key', partitionkey], ['stream', `${stream}, for ${consumer}`], ['since', longTime(key.at)], ['events', String(events)], ['attempts', String(attempts)], ['next try', next], ['reason', reason], ['cause', cause]]),
    ...messages.flatMap((message, n) => section(paper, `Event ${n + 1} of ${events}`, json(message))),
    ...dropped.flatMap(({ at, why, message }) => section(paper, `Dropped ${longTime(at)}: ${plain(why)}`, json(message))),
  ];
}

export function stuckMessage(paper: Paper, found: z.infer<typeof StuckDetail>): Lines {
  const { id, channels, attempts, reason, cause, message } = found;
  return [
    ink(paper, 'bold', `Stuck message ${id}`), '',
    ...facts(paper, [['event', eventAbout(found)], ['said', longTime(found.at)], ['not on', channels.join(', ')], ['attempts', String(attempts)], ['reason', reason], ['cause', cause]]),
    ...section(paper, 'Message', json(message)),
  ];
}

export function mail(paper: Paper, { id, orderId, milestone, to, subject, state, at }: MailView): Lines {
  return [ink(paper, 'bold', `Letter ${id}`), '', ...facts(paper, [['order', orderId], ['milestone', milestone], ['to', to], ['subject', subject], ['state', `${state} since ${longTime(at)}`]])];
}

export function booking(paper: Paper, { orderId, state, claimedAt, detail, parcel }: BookingView): Lines {
  return [
    ink(paper, 'bold', `Booking of order ${orderId}`), '',
    ...facts(paper, [['state', `${state} since ${longTime(claimedAt)}`], ['detail', detail], ['parcel', parcel && `${parcel.carrier} ${parcel.trackingNumber}`]]),
  ];
}

// ---------------------------------------------------------------- the story of an order

const inkOfPlace = (place: string): Ink => (place === 'heard' ? 'green' : place === 'overtaken' ? 'dim' : place === 'outbox' || place === 'queue' || place === 'stream' ? 'yellow' : 'red');

export function story(paper: Paper, { orderId, status, story: told, deliveries, missing }: StoryView): Lines {
  const heard = deliveries.map(({ event, to, kind, channel, place }, n) => [deliveries[n - 1]?.event === event ? '' : event, to, `${kind} ${channel}`, place]);
  return [
    ink(paper, 'bold', `Order ${orderId} is ${status}`),
    ...section(paper, 'What has happened', table(paper, [{ ink: () => 'dim' }, {}, {}], told.map(({ at, service, what, detail }) => [longTime(at), service, detail === undefined ? what : `${what}: ${detail}`]))),
    ...section(paper, 'Who has heard it', table(paper, [{}, {}, {}, { ink: inkOfPlace }], heard)),
    ...(missing.length === 0 ? ['', ink(paper, 'green', 'Nothing is missing.')] : section(paper, 'What is missing', missing.flatMap((each) => lack(paper, each)))),
  ];
}

function lack(paper: Paper, { service, event, place, detail }: StoryView['missing'][number]): Lines {
  const [where = '', ...road] = place.split(': ');
  const kind = ({ carrier: 'yellow', stock: 'yellow', mailer: 'yellow', inventory: 'yellow' } as const)[where] ?? inkOfPlace(where);
  return [`  ${service} · ${event} · ${ink(paper, kind, where)}${road.length === 0 ? '' : `: ${road.join(': ')}`}`, ...wrap(detail, paper.width - 4).map((line) => `    ${line}`)];
}

// ---------------------------------------------------------------- the audit

export function audit(paper: Paper, { orders, lines, mails: letters, products, waiting, parked: keys, dead, faults }: z.infer<typeof AuditView>): Lines {
  const sums = (of: Readonly<Record<string, number>>): string => Object.entries(of).map(([name, n]) => `${name} ${n.toLocaleString('en-GB')}`).join(', ');
  const verdict = faults.length === 0 ? ink(paper, 'green', 'All agrees.') : ink(paper, 'red', `${capital(count(faults.length, 'fault'))}${faults.length === 200 ? ' or more' : ''}.`);
  return [
    ink(paper, 'bold', 'Do stock, orders, parcels and letters agree?'), '',
    ...facts(paper, [['orders', sums(orders)], ['lines', lines.toLocaleString('en-GB')], ['letters', sums(letters)], ['products', products.toLocaleString('en-GB')], ['waiting', `${waiting}, parked ${keys}, dead ${dead}`]]),
    '', verdict,
    ...faults.flatMap((fault) => wrap(`- ${fault}`, paper.width - 2, '  ').map((line) => `  ${line}`)),
  ];
}

export const word = (text: string): string => cut(plain(text), 200);
