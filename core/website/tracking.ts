import { html, url, type Html } from '../html.ts';
import { formatMoney } from '../money.ts';
import type { OrderStatus, OrderView } from '../order/events.ts';
import { fallbackLocale } from './locale.ts';
import { alert, plural, timeOf, type PageOf } from './pages.ts';
import { countryName } from './till.ts';

/** The page of an order: where it is, so that nobody has to ask. What is marked `data-live` is fetched again by the script until the order is at its end. */

const headlines: Readonly<Record<OrderStatus, string>> = {
  Placed: 'We have your order',
  Backordered: 'Waiting for stock',
  Reserved: 'Packed up for you',
  Shipped: 'On its way',
  Delivered: 'Delivered',
  Cancelled: 'Cancelled',
};
const sentences: Readonly<Record<OrderStatus, string>> = {
  Placed: 'Thank you. In a moment everything in it is reserved for you.',
  Backordered:
    'Not everything you ordered is in stock at this moment. Nothing is lost: your order has its place in the queue, and leaves as soon as all of it is here. You need not do anything; if you would rather not wait, you can cancel it.',
  Reserved: 'Everything is reserved for you, and about to be handed to the carrier.',
  Shipped: 'Your parcel is with the carrier.',
  Delivered: 'The carrier tells us that your parcel has arrived. We hope that you like it.',
  Cancelled: 'As you asked, your order has been cancelled. Nothing will be sent.',
};

export const isFinal = ({ status }: OrderView): boolean => status === 'Delivered' || status === 'Cancelled';
const canCancel = ({ status, cancellationRequestedAt }: OrderView): boolean =>
  cancellationRequestedAt === undefined && (status === 'Placed' || status === 'Backordered' || status === 'Reserved');

export function orderPage(order: OrderView, complaint?: string, locale: string = fallbackLocale): PageOf {
  const { id, status, lines, total, customer, address } = order;
  const shown = lines.slice(0, linesShown);
  const main = html`${alert(complaint)}
<div data-live data-news-at="/orders/${id}/news" data-status="${headlines[status]}"${isFinal(order) ? html` data-final` : null}>
<div class="progress card"><p class="quiet">Order <span class="number">${id.slice(0, 8).toUpperCase()}</span></p>
<h1>${headlines[status]}</h1><p class="lead">${pendingCancel(order, locale) ?? sentences[status]}</p>
<ol class="timeline">${stepsOf(order).map((step) => stepShown(step, locale))}</ol>
${order.shipments.length === 0 ? null : html`<ul class="parcels">${order.shipments.map(parcel)}</ul>`}
${canCancel(order) ? cancelForm(id) : null}</div>
</div>
<div class="split order"><section class="card"><h2>What you ordered</h2>
<table class="bill"><thead class="unseen"><tr><th scope="col">Product</th><th scope="col">Quantity</th><th scope="col">Amount</th></tr></thead>
<tbody>${shown.map(
    ({ sku, name, quantity, unitPrice, amount }) =>
      html`<tr><td><a href="/products/${sku}"><bdi>${name}</bdi></a></td><td class="quiet">${quantity} × ${formatMoney({ amount: unitPrice, currency: total.currency }, locale)}</td><td>${formatMoney({ amount, currency: total.currency }, locale)}</td></tr>
`,
  )}</tbody>
<tfoot>${lines.length > shown.length ? html`<tr><td colspan="3" class="quiet">and ${plural(lines.length - shown.length, 'more line')}</td></tr>` : null}<tr><th scope="row" colspan="2">Total</th><td>${formatMoney(total, locale)}</td></tr></tfoot></table></section>
<aside class="card" aria-label="Address"><h2>Where it goes</h2><address><bdi>${customer.name}</bdi><br><bdi>${address.line1}</bdi><br>${address.line2 && html`<bdi>${address.line2}</bdi><br>`}<bdi>${address.city}</bdi><br><bdi>${address.postcode}</bdi><br>${countryName(address.country)}</address>
<h2>News by mail</h2><p class="break">${customer.email}</p><p class="quiet">Keep this page’s address: whoever has it can see the order.</p></aside></div>`;
  const head = isFinal(order) ? undefined : html`<noscript><meta http-equiv="refresh" content="5"></noscript>`;
  return { title: `${headlines[status]}: order ${id.slice(0, 8).toUpperCase()}`, main, ...(head ? { head } : {}) };
}

/** Orders of 2,000 lines occur. */
const linesShown = 200;

function pendingCancel({ status, cancellationRequestedAt }: OrderView, locale: string): Html | undefined {
  if (cancellationRequestedAt === undefined || status === 'Cancelled') return undefined;
  if (status === 'Shipped' || status === 'Delivered') return html`${sentences[status]} You asked to cancel it at ${timeOf(cancellationRequestedAt, locale)}, but by then it had left.`;
  return html`You asked to cancel it at ${timeOf(cancellationRequestedAt, locale)}. Shipping is looking whether it can still be stopped.`;
}

const cancelForm = (id: string): Html => html`<form method="post" action="/orders/${id}/cancel" data-once data-confirm="Cancel this order?"><button id="cancel" class="button plain">Cancel the order</button></form>`;

function parcel({ carrier, trackingNumber, trackingUrl, status }: OrderView['shipments'][number]): Html {
  const link = url(trackingUrl);
  const number = html`<span class="number">${trackingNumber}</span>`;
  return html`<li><span>Parcel with <bdi class="carrier">${carrier}</bdi></span>${link ? html`<a href="${link}" rel="noreferrer noopener external" target="_blank">${number}<span class="unseen"> (opens the carrier’s page)</span></a>` : number}<span class="quiet">${status === 'Delivered' ? 'has arrived' : 'is under way'}</span></li>`;
}

// ---------------------------------------------------------------- timeline

interface Step {
  readonly title: string;
  readonly at: string | undefined;
  readonly state: 'done' | 'now' | 'next';
  readonly kind: OrderStatus;
}

const steps: readonly { readonly kind: OrderStatus; readonly event: string; readonly title: string }[] = [
  { kind: 'Placed', event: 'OrderPlaced', title: 'Placed' },
  { kind: 'Backordered', event: 'Backordered', title: 'Waiting for stock' },
  { kind: 'Reserved', event: 'InventoryReserved', title: 'Reserved' },
  { kind: 'Shipped', event: 'OrderFulfillment', title: 'Shipped' },
  { kind: 'Delivered', event: 'OrderDelivered', title: 'Delivered' },
  { kind: 'Cancelled', event: 'ShippingStopped', title: 'Cancelled' },
];

/** Waiting is a step of those who had to wait, cancelling of those who did; what lies before the status is done, though word of it may still be under way. */
function stepsOf({ status, history }: OrderView): Step[] {
  const at = new Map(history.map(({ event, at: time }) => [event, time]));
  const cancelled = status === 'Cancelled';
  const way = steps.filter(({ kind, event }) => {
    if (cancelled) return at.has(event);
    return kind !== 'Cancelled' && (kind !== 'Backordered' || at.has(event) || status === kind);
  });
  const reached = way.findIndex(({ kind }) => kind === status);
  const stateOf = (i: number): Step['state'] => (i < reached ? 'done' : i === reached ? 'now' : 'next');
  return way.map(({ kind, event, title }, i) => ({ kind, title, at: at.get(event), state: stateOf(i) }));
}

const spoken: Readonly<Record<Step['state'], string>> = { done: 'done', now: 'now', next: 'still to come' };

function stepShown({ title, at, state, kind }: Step, locale: string): Html {
  return html`<li class="${state} ${kind}"${state === 'now' ? html` aria-current="step"` : null}><span class="title">${title}<span class="unseen"> (${spoken[state]})</span></span>${at && html`<span class="when">${timeOf(at, locale)}</span>`}</li>`;
}
