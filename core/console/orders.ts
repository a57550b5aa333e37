import { html, url, type Html } from '../html.ts';
import { formatMoney } from '../money.ts';
import type { MailView } from '../notification/events.ts';
import { OrderStatus, type OrderView } from '../order/events.ts';
import type { StoryView } from '../operations/events.ts';
import { addressOf, chip, clipped, count, facts, nothing, orderLink, pager, plural, shortId, skuLink, statusChip, table, timeOf, withTimes, type PageOf, type Tone } from './shape.ts';

/** ORDERS: to find one, and its whole story. */

export interface Asked {
  readonly q?: string;
  readonly status?: string;
  readonly after?: string;
}
export interface Found<Item> {
  readonly items: readonly Item[];
  readonly next?: string;
}

export function ordersPage(asked: Asked, { items, next }: Found<OrderView>): PageOf {
  const { q = '', status = '' } = asked;
  const to = (each: string): string => addressOf('/console/orders', { q, status: each });
  const main = html`<div class="headline"><h1>Orders</h1></div>
<form class="bar" role="search" action="/console/orders" method="get"><div class="field"><label for="q">Id, name, e-mail address, or a product’s sku</label><input id="q" name="q" type="search" value="${q}" maxlength="200" autocomplete="off" dir="auto"></div>${status === '' ? null : html`<input type="hidden" name="status" value="${status}">`}<button class="button">Search</button></form>
<nav class="chips" aria-label="Status"><a href="${to('')}"${status === '' ? html` aria-current="true"` : null}>All</a>${OrderStatus.options.map((each) => html`<a href="${to(each)}"${each === status ? html` aria-current="true"` : null}>${each}</a>`)}</nav>
${items.length === 0 ? none(asked) : html`<div class="card">${table('Orders', ['Order', 'Status', 'Customer', 'Placed', 'Lines#', 'Total#'], items.map(rowOf))}</div>`}
${pager('/console/orders', { q, status, after: asked.after }, next)}`;
  return { title: 'Orders', here: 'orders', main };
}

function rowOf(order: OrderView): readonly (Html | string)[] {
  const { id, status, customer, history, lines, total } = order;
  return [
    orderLink(id), statusChip(status), html`<bdi>${clipped(customer.name, 60)}</bdi><br><span class="quiet"><bdi>${clipped(customer.email, 60)}</bdi></span>`,
    history[0] ? timeOf(history[0].at) : '', count(lines.length), formatMoney(total),
  ];
}

function none({ q = '', status = '', after }: Asked): Html {
  if (after !== undefined) return nothing('No more orders', html`<a href="${addressOf('/console/orders', { q, status })}">Back to the first page</a>`);
  if (q !== '') return nothing('No order fits', html`Nothing${status === '' ? '' : ` that is ${status}`} is found for “<bdi>${clipped(q, 60)}</bdi>”. <a href="/console/orders">All orders</a>`);
  if (status !== '') return nothing(`No order is ${status}`, html`<a href="/console/orders">All orders</a>`);
  return nothing('No orders yet', html`They appear here as soon as somebody buys something in <a href="/">the shop</a>.`);
}

// ---------------------------------------------------------------- one order

/** An order that Order Management does not know (yet) has a story all the same. */
export interface Told {
  readonly story: StoryView;
  readonly order?: OrderView;
  readonly mails: readonly MailView[];
}

const linesShown = 100;
const entriesShown = 300;

export function orderPage({ story, order, mails }: Told): PageOf {
  const { orderId, status, missing, deliveries } = story;
  const main = html`<p class="crumbs"><a href="/console/orders">Orders</a></p>
<div class="headline"><h1>Order <span class="number">${shortId(orderId)}</span> ${statusChip(status)}</h1><p><a class="button plain" href="/orders/${orderId}">The customer’s page</a></p></div>
<div class="split"><div class="stack">
<section class="card" aria-labelledby="missing"><h2 id="missing">What is missing, and whose it is</h2>${missing.length === 0 ? html`<p class="well"><span><strong>Nothing is missing.</strong> This order is at its end.</span></p>` : html`<ul class="missing">${missing.slice(0, entriesShown).map((each) => lack(each, order))}</ul>`}</section>
<section class="card" aria-labelledby="story"><h2 id="story">What has happened</h2>${told(story)}</section>
<section class="card" aria-labelledby="heard"><h2 id="heard">Who has heard it</h2>${deliveries.length === 0 ? html`<p>Nothing has been said yet.</p>` : heard(deliveries)}</section>
</div><div class="stack">${order ? about(order) : html`<section class="card"><h2>Not placed</h2><p>Order Management does not know this order (yet); others have heard of it.</p></section>`}${letters(mails)}</div></div>`;
  return { title: `Order ${shortId(orderId)}`, here: 'orders', main };
}

const toneOfPlace = (place: string): Tone => (place === 'heard' ? 'good' : place === 'overtaken' ? 'calm' : ['outbox', 'queue', 'stream', 'stock', 'carrier', 'inventory', 'mailer'].includes(place) ? 'warn' : 'bad');

/** Where one goes to do something about it. */
const doors: Readonly<Record<string, readonly [href: string, words: string]>> = {
  stuck: ['/console/trouble/stuck', 'Stuck messages'],
  parked: ['/console/trouble/parked', 'Parked keys'],
  dead: ['/console/trouble/dead-letters', 'Dead letters'],
  carrier: ['/console/trouble/bookings', 'Bookings that need a person'],
  mailer: ['/console/trouble/mails', 'Letters that need a person'],
};
const advice: Readonly<Record<string, string>> = {
  outbox: 'Committed, and not passed on yet. It is tried again by itself, at the latest after five minutes.',
  queue: 'On its way. If it is old and the queue is empty, somebody has removed it.',
  stream: 'The listener has still to read it.',
  stock: 'Receive stock, and it goes on by itself.',
  carrier: 'A parcel under way needs only time.',
  inventory: 'Half-way through a reservation; the sweep goes on with it within three minutes.',
  dropped: 'A person did not want it heard.',
  lost: 'It was passed on and never heard: say it by hand, and find out who removes events.',
};

function lack({ service, event, place, detail }: StoryView['missing'][number], order: OrderView | undefined): Html {
  const [where = '', ...road] = place.split(': ');
  const door = doors[where];
  const skus = where === 'stock' ? (order?.lines ?? []).filter(({ sku }) => detail.includes(`${sku} (`)) : [];
  return html`<li><h3>${service} <span class="quiet">·</span> ${event} ${chip(toneOfPlace(where), where)}${road.length === 0 ? null : html` <span class="quiet">${road.join(': ')}</span>`}</h3>
${detail === '' ? null : html`<p>${withTimes(clipped(detail, 600))}</p>`}${advice[where] === undefined ? null : html`<p class="quiet">${advice[where]}</p>`}
${door ? html`<p><a href="${door[0]}">${door[1]}</a></p>` : null}${skus.length === 0 ? null : html`<p>Receive: ${skus.slice(0, 20).map(({ sku }) => html`${skuLink(sku)} `)}</p>`}</li>`;
}

function told({ story }: StoryView): Html {
  return html`<ol class="story">${story.slice(0, entriesShown).map(({ at, service, what, detail }) => html`<li class="by-${service}"><span class="when">${at === '' ? '' : timeOf(at)}</span><span class="by">${service}</span><span class="what"><bdi>${clipped(what, 300)}</bdi>${detail === undefined ? null : html`<br><span class="quiet"><bdi>${clipped(detail, 300)}</bdi></span>`}</span></li>`)}</ol>${story.length > entriesShown ? html`<p class="quiet">and ${plural(story.length - entriesShown, 'more entry', 'more entries')}</p>` : null}`;
}

function heard(deliveries: StoryView['deliveries']): Html {
  const rows = deliveries.slice(0, entriesShown).map(({ event, from, to, kind, channel, place, detail }) => [
    html`<strong>${event}</strong> <span class="quiet">of ${from}</span>`, to, html`${channel} <span class="quiet">${kind}</span>`, html`${chip(toneOfPlace(place), place)}${detail === undefined ? null : html` <span class="quiet">${withTimes(clipped(detail, 200))}</span>`}`,
  ]);
  return table('Each message and its listeners', ['Message', 'Listener', 'On', 'Is'], rows);
}

function about({ customer, address, lines, total, shipments }: OrderView): Html {
  return html`<section class="card"><h2>The customer</h2><p><strong><bdi>${customer.name}</bdi></strong><br><bdi class="break">${customer.email}</bdi></p>
<address><bdi>${address.line1}</bdi><br>${address.line2 && html`<bdi>${address.line2}</bdi><br>`}<bdi>${address.postcode}</bdi> <bdi>${address.city}</bdi> ${address.country}</address></section>
<section class="card"><h2>${plural(lines.length, 'line')}, ${formatMoney(total)}</h2><ul class="lines">${lines.slice(0, linesShown).map(({ sku, name, quantity, amount }) => html`<li><span><a href="/console/products/${sku}"><bdi>${clipped(name, 200)}</bdi></a><br><span class="quiet number">${sku}</span></span><span>${count(quantity)} ×<br>${formatMoney({ amount, currency: total.currency })}</span></li>`)}</ul>${lines.length > linesShown ? html`<p class="quiet">and ${plural(lines.length - linesShown, 'more line')}</p>` : null}</section>
<section class="card"><h2>Parcels</h2>${shipments.length === 0 ? html`<p class="quiet">None yet.</p>` : shipments.map((each) => parcel(each))}</section>`;
}

function parcel({ carrier, trackingNumber, trackingUrl, status }: OrderView['shipments'][number]): Html {
  const link = url(trackingUrl);
  return facts([['Carrier', html`<bdi>${carrier}</bdi>`], ['Number', html`<bdi class="number">${trackingNumber}</bdi>`], ['Status', statusChip(status)], ['Tracking', link && html`<a href="${link}" rel="noreferrer noopener">At the carrier’s</a>`]]);
}

export const mailTone = (state: string): Tone => (state === 'sent' ? 'good' : state === 'uncertain' || state === 'refused' ? 'bad' : 'warn');

function letters(mails: readonly MailView[]): Html {
  return html`<section class="card"><h2>Letters</h2>${mails.length === 0 ? html`<p class="quiet">None yet.</p>` : html`<ul class="lines">${mails.map(({ id, milestone, state, at, subject }) => html`<li><span>${subject}<br><span class="quiet">${milestone}, ${timeOf(at)}</span></span><span>${state === 'uncertain' || state === 'refused' ? html`<a href="/console/trouble/mails/${id}">${chip(mailTone(state), state)}</a>` : chip(mailTone(state), state)}</span></li>`)}</ul>`}</section>`;
}
