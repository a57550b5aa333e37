import { html, type Html } from '../html.ts';
import { subscriptions } from '../flow.ts';
import type { PulseView } from '../operations/events.ts';
import { channels, lagSecondsMax, lightOfListener, outboxSecondsMax, picture, rateOf, silentSecondsMax, titleOf } from './picture.ts';
import { age, chip, count, duration, perMinute, plural, table, timeOf, type PageOf } from './shape.ts';

/** THE FIRST PAGE: the shop at this moment, and what needs a person, most urgent first. What is marked `data-live` is fetched again by the script. */

export interface Need {
  readonly tone: 'bad' | 'warn' | 'calm';
  readonly title: string;
  readonly detail: string;
  readonly href?: string;
  /** What stands on the link. */
  readonly go?: string;
}

const placedSecondsMax = 300;
const reservedSecondsMax = 900;

/** Most urgent first: what no machine mends, then what may mend itself, then what only waits for the world. */
export function needsOf(pulse: PulseView): readonly Need[] {
  return [...blindness(pulse), ...set(pulse), ...slow(pulse), ...waitingOrders(pulse)];
}

function blindness({ looked }: PulseView): Need[] {
  const blind = [...new Set(looked.filter(({ answered }) => !answered).map(({ of }) => of))];
  if (blind.length === 0) return [];
  return [{ tone: 'bad', title: 'The store does not answer', detail: `What is missing here (${blind.join(', ')}) is unknown, not nothing. Look at the store and its quotas; all goes on by itself when it is back.` }];
}

/** Set aside: a person has to decide. */
function set({ outbox, dead = [], parked = [], letters = {}, bookings = {} }: PulseView): Need[] {
  const sum = (all: readonly number[]): number => all.reduce((one, other) => one + other, 0);
  const need = (n: number, one: string, many: string, detail: string, kind: string): Need[] =>
    n === 0 ? [] : [{ tone: 'bad', title: plural(n, one, many), detail, href: `/console/trouble/${kind}`, go: 'Look at the causes' }];
  const of = (counts: Readonly<Record<string, number>>, state: string): number => counts[state] ?? 0;
  return [
    ...need(outbox?.stuck ?? 0, 'stuck message', 'stuck messages', 'A channel will not take them; later messages about the same thing wait behind.', 'stuck'),
    ...need(sum(dead.map(({ letters: n }) => n)), 'dead letter', 'dead letters', 'Nobody could handle them. Their orders wait.', 'dead-letters'),
    ...need(sum(parked.map(({ keys }) => keys)), 'parked key', 'parked keys', 'Events that a service could not handle, with all that came after them of the same order. They try themselves again.', 'parked'),
    ...need(of(bookings, 'uncertain'), 'uncertain booking', 'uncertain bookings', 'The carrier never said whether it has the parcel.', 'bookings'),
    ...need(of(bookings, 'refused'), 'refused booking', 'refused bookings', 'The carrier will not take the parcel.', 'bookings'),
    ...need(of(bookings, 'leftOver'), 'parcel to call back', 'parcels to call back', 'The carrier took it after all, when the order had been cancelled.', 'bookings'),
    ...need(of(letters, 'uncertain'), 'uncertain letter', 'uncertain letters', 'Nobody knows whether the customer has it; it is not repeated in silence.', 'mails'),
    ...need(of(letters, 'refused'), 'refused letter', 'refused letters', 'The mailer will never take it; write to the customer yourself.', 'mails'),
  ];
}

function slow({ outbox, readers, orders, at }: PulseView): Need[] {
  const found: Need[] = [];
  const add = (title: string, detail: string, href?: string, go?: string): void => void found.push({ tone: 'warn', title, detail, ...(href === undefined ? {} : { href, go: go ?? 'Look' }) });
  if (outbox && outbox.waiting > 0 && outbox.oldestSeconds > outboxSecondsMax) {
    add(`${plural(outbox.waiting, 'message')} not passed on for ${duration(outbox.oldestSeconds)}`, 'A channel takes nothing, or the sweep does not run: look at the broker and at the log.', '#channels');
  }
  for (const { service, channel, lagSeconds, silentSeconds } of readers) {
    if (silentSeconds > silentSecondsMax) add(`${service} hears nothing from ${channel}`, `The broker has not answered this reader for ${duration(silentSeconds)}.`, '#channels');
    else if (lagSeconds > lagSecondsMax) add(`${service} is ${duration(lagSeconds)} behind on ${channel}`, 'The store is slow, or there is too little power: another process shares the partitions.', '#channels');
  }
  const late = (status: string, secondsMax: number): string | undefined => {
    const { eldest } = orders?.statuses[status] ?? {};
    return eldest !== undefined && Date.parse(at) - Date.parse(eldest) > secondsMax * 1_000 ? eldest : undefined;
  };
  const placed = late('Placed', placedSecondsMax);
  if (placed !== undefined) add(`An order is Placed for ${age(placed, at)}`, 'Inventory has not said what becomes of it.', '/console/orders?status=Placed', 'See the orders');
  const reserved = late('Reserved', reservedSecondsMax);
  if (reserved !== undefined) add(`An order is Reserved for ${age(reserved, at)}`, 'The carrier is slow, or has not been asked.', '/console/orders?status=Reserved', 'See the orders');
  return found;
}

function waitingOrders({ orders, at }: PulseView): Need[] {
  const { count: n = 0, eldest } = orders?.statuses['Backordered'] ?? {};
  if (n === 0) return [];
  return [{ tone: 'calm', title: `${plural(n, 'order')} ${n === 1 ? 'waits' : 'wait'} for stock`, detail: `${eldest === undefined ? '' : `The first since ${age(eldest, at)}. `}They leave by themselves when it is received.`, href: '/console/orders?status=Backordered', go: 'See what is missing' }];
}

// ---------------------------------------------------------------- the page

export const everySeconds = 4;

export function homePage(pulse: PulseView): PageOf {
  const main = html`<div class="headline"><h1>Now</h1><p class="quiet" data-clock></p></div>
${live(pulse)}
<noscript><p class="quiet">Without script this is how it was at ${timeOf(pulse.at)}. <a href="/console">Look again</a></p></noscript>`;
  return { title: 'Now', here: 'now', main };
}

/** What changes by itself. */
export function live(pulse: PulseView): Html {
  const needs = needsOf(pulse);
  return html`<div data-live="/console/now" data-every="${everySeconds}" data-worst="${worst(needs)}">
${tiles(pulse)}
<div class="split"><section class="card scene" aria-labelledby="flows"><h2 id="flows">What flows where</h2>${picture(pulse)}</section>
<aside class="card needs" aria-labelledby="needs"><h2 id="needs">What needs a person</h2>${needsList(needs)}</aside></div>
${details(pulse)}
<p class="quiet">As of ${timeOf(pulse.at)}${sampled(pulse)}</p>
</div>`;
}

export const worst = (needs: readonly Need[]): 'bad' | 'warn' | 'good' => (needs.some(({ tone }) => tone === 'bad') ? 'bad' : needs.some(({ tone }) => tone === 'warn') ? 'warn' : 'good');

function sampled({ looked }: PulseView): string {
  const part = looked.filter(({ answered, complete }) => answered && !complete).map(({ of }) => ({ order: 'orders', letters: 'letters', shipment: 'bookings', outbox: 'outboxes', dead: 'dead letters', parked: 'parked keys' })[of] ?? of);
  return part.length === 0 ? '' : `. There is more than could be looked through in time: of ${part.join(', ')}, numbers are what is there at the least`;
}

function needsList(needs: readonly Need[]): Html {
  const well = worst(needs) === 'good' ? html`<p class="well"><svg viewBox="0 0 20 20" aria-hidden="true" focusable="false"><circle cx="10" cy="10" r="9"/><path d="M6 10.5l3 3 5.5-6.5"/></svg><span><strong>All is well.</strong> Nothing waits for you.</span></p>` : null;
  const words = { bad: 'Urgent', warn: 'Look at it', calm: 'Waits' } as const;
  return html`${well}<ul>${needs.map(({ tone, title, detail, href, go }) => html`<li class="${tone}"><h3><span class="unseen">${words[tone]}: </span>${title}</h3><p>${detail}</p>${href === undefined ? null : html`<p><a href="${href}">${go}<span class="unseen">: ${title}</span></a></p>`}</li>`)}</ul>`;
}

const shown = ['Placed', 'Backordered', 'Reserved', 'Shipped', 'Delivered', 'Cancelled'];

function tiles({ orders, at, looked }: PulseView): Html {
  if (!orders) return html`<p class="alert">The orders cannot be read at the moment.</p>`;
  const more = looked.some(({ of, answered, complete }) => of === 'order' && answered && !complete);
  return html`<ul class="tiles">${shown.map((status) => {
    const { count: n = 0, eldest } = orders.statuses[status] ?? {};
    const open = status !== 'Delivered' && status !== 'Cancelled' && eldest !== undefined;
    return html`<li class="${status}"><a href="/console/orders?status=${status}"><span class="n">${count(n)}${more ? '+' : ''}</span><span class="what">${status}</span><span class="quiet">${open ? `eldest ${age(eldest, at)}` : ' '}</span></a></li>`;
  })}</ul>`;
}

/** The picture in words and numbers, also for those who cannot see it. */
function details(pulse: PulseView): Html {
  const rows = subscriptions.map(({ service, channel, kind }) => {
    const found = channels.find(({ name }) => name === channel)!;
    const reader = pulse.readers.find((each) => each.service === service && each.channel === channel);
    const work = pulse.handled.find((each) => each.service === service && each.channel === channel);
    const light = lightOfListener(pulse, service, channel);
    const rate = rateOf(pulse, found);
    return [
      html`<strong>${channel}</strong> <span class="quiet">${kind}</span>`, html`${titleOf(found.from)} → ${titleOf(service)}`, rate === undefined ? '–' : perMinute(rate),
      waitingOn(pulse, channel), reader ? `${count(reader.unhandled)} read, ${duration(reader.lagSeconds)} behind` : kind === 'queue' ? 'a queue cannot be looked into' : 'not read by this process',
      work ? `${count(work.handled)}${work.failed > 0 ? `, ${count(work.failed)} failed` : ''}, ${duration(work.meanSeconds)} each` : 'nothing by this process',
      light ? html`<a href="${light.href}">${chip(light.tone, light.text)}</a>` : chip('good', 'well'),
    ];
  });
  return html`<details class="card" id="channels"><summary><h2>Each channel in numbers</h2></summary>
${table('Each channel and its listeners', ['Channel', 'From and to', 'Said', 'Not passed on', 'To read', 'Handled', 'State'], rows)}
<p class="quiet">“To read” and “handled” are told by the process that answers, since it began; everything else by the rows of the services.</p></details>`;
}

function waitingOn({ outbox }: PulseView, channel: string): string {
  if (!outbox) return 'unknown';
  const { waiting = 0 } = outbox.channels[channel] ?? {};
  return waiting === 0 ? '0' : `${count(waiting)}, the eldest of all ${duration(outbox.oldestSeconds)}`;
}
