import { must, type Letter, type Settings } from '../../ports/index.ts';
import { html, url, type Html } from '../html.ts';
import { formatMoney } from '../money.ts';
import type { OrderPlaced } from '../order/events.ts';
import type { Milestone } from './events.ts';
import type { Letters, Reached } from './letters.ts';

/** What the letters say, as text and as HTML that mail programs can show: tables, styles on the elements, nothing from outside. */

const subjects: Readonly<Record<Milestone, string>> = {
  confirmation: 'We have your order',
  backorder: 'Your order is waiting for stock',
  shipped: 'Your order is on its way',
  delivered: 'Your order has been delivered',
  cancelled: 'Your order has been cancelled',
};

/** The order's number as people say it on the telephone. */
export const shortId = (orderId: string): string => orderId.slice(0, 8).toUpperCase();

export function subjectOf(milestone: Milestone, orderId: string): string {
  return `${subjects[milestone]} (${shortId(orderId)})`;
}

export function letterOf({ order, reached }: Letters, milestone: Milestone, settings: Settings): Letter {
  must(order, 'a letter is written when the order is known');
  const said = paragraphsOf(milestone, order, reached[milestone] ?? { at: order.placedAt });
  const link = `${settings.shopUrl}/orders/${order.orderId}`;
  const subject = subjectOf(milestone, order.orderId);
  const tracking = trackingOf(reached[milestone] ?? reached.shipped);
  return {
    key: `${order.orderId}.${milestone}`,
    to: { name: order.customer.name, address: order.customer.email },
    subject,
    date: reached[milestone]?.at ?? order.placedAt,
    text: textOf(order, said, link, tracking, settings),
    html: String(pageOf(milestone, subject, order, said, link, tracking, settings)),
  };
}

function paragraphsOf(milestone: Milestone, order: OrderPlaced, reached: Reached): string[] {
  switch (milestone) {
    case 'confirmation':
      return ['Thank you for your order. We will write again when it leaves us.'];
    case 'backorder': {
      const names = (reached.short ?? []).map((sku) => order.lines.find((line) => line.sku === sku)?.name ?? sku);
      return [
        `Not everything you ordered is in stock at this moment${names.length === 0 ? '' : `: ${names.slice(0, 5).join(', ')}${names.length > 5 ? ' and more' : ''}`}.`,
        'Your order has its place in the queue and leaves as soon as all of it is here. You need not do anything; if you would rather not wait, you can cancel it on its page.',
      ];
    }
    case 'shipped':
      return ['Your parcel is with the carrier.'];
    case 'delivered':
      return ['The carrier tells us that your parcel has been delivered. We hope that you like it.'];
    case 'cancelled':
      return ['As you asked, your order has been cancelled. Nothing will be sent.'];
  }
}

function trackingOf(reached: Reached | undefined): { text: string; link?: string } | undefined {
  if (!reached?.parcel) return undefined;
  const { carrier, trackingNumber, trackingUrl } = reached.parcel;
  return { text: `${carrier} ${trackingNumber}`, ...(url(trackingUrl) ? { link: url(trackingUrl) } : {}) };
}

function textOf(order: OrderPlaced, said: readonly string[], link: string, tracking: ReturnType<typeof trackingOf>, { shopName }: Settings): string {
  const { currency } = order.total;
  const lines = order.lines.map(({ name, quantity, unitPrice }) => `  ${quantity} x ${name}  ${formatMoney({ amount: quantity * unitPrice, currency })}`);
  return [
    `Dear ${order.customer.name},`,
    ...said,
    ...(tracking ? [`Tracking: ${tracking.text}${tracking.link ? `\n${tracking.link}` : ''}`] : []),
    `Order ${shortId(order.orderId)}\n${lines.join('\n')}\n  Total  ${formatMoney(order.total)}`,
    `See where your order is:\n${link}`,
    shopName,
  ].join('\n\n') + '\n';
}

/** For mail programs that go by the reader's scheme; the others show what stands on the elements. */
const dark = html`<style>:root{color-scheme:light dark;supported-color-schemes:light dark}
@media (prefers-color-scheme:dark){.ground{background:#151614!important}.sheet{background:#1e201d!important}.ground,.sheet,.ink{color:#ecebe4!important}.rule{border-color:#3a3c37!important}.quiet{color:#a9a69b!important}.brand,.link{color:#7fcdac!important}.button{background:#7fcdac!important;color:#0c2018!important}.step{background:#3a3c37!important}.reached{background:#7fcdac!important}}
@media (max-width:480px){.inner{padding:24px 20px!important}}</style>`;

/** How far the order is, as a bar of three pieces; who waits or has cancelled is told in words alone. */
const reachedBy: Readonly<Partial<Record<Milestone, number>>> = { confirmation: 1, shipped: 2, delivered: 3 };

function progressOf(milestone: Milestone): Html | undefined {
  const reached = reachedBy[milestone];
  if (reached === undefined) return undefined;
  const colour = (step: number): string => (step < reached ? '#1f5f4a' : '#e6e2da');
  const cells = ['Ordered', 'On its way', 'Delivered'].map((name, step) => html`<td style="width:33%;padding:0 6px 0 0;vertical-align:top;font-size:13px;line-height:1.4"><div class="${step < reached ? 'reached' : 'step'}" style="height:4px;margin:0 0 6px;border-radius:2px;background:${colour(step)}"></div><span class="${step < reached ? 'ink' : 'quiet'}" style="color:${step < reached ? '#1d1d1b' : '#63615a'}">${name}${step + 1 === reached ? html` ✓` : null}</span></td>`);
  return html`<table role="presentation" width="100%" style="margin:0 0 20px;border-collapse:collapse"><tr>${cells}</tr></table>`;
}

const font = 'font-family:-apple-system,BlinkMacSystemFont,Segoe UI,Roboto,Helvetica,Arial,sans-serif';

function pageOf(milestone: Milestone, subject: string, order: OrderPlaced, said: readonly string[], link: string, tracking: ReturnType<typeof trackingOf>, { shopName }: Settings): Html {
  const { currency } = order.total;
  return html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark"><meta name="supported-color-schemes" content="light dark"><title>${subject}</title>${dark}</head>
<body class="ground" style="margin:0;padding:32px 12px;background:#f4f2ee;${font};color:#1d1d1b">
<div style="display:none;max-height:0;overflow:hidden">${said[0]}</div>
<table role="presentation" width="100%" class="sheet" style="max-width:560px;margin:0 auto;background:#ffffff;border-radius:16px;border-collapse:separate;table-layout:fixed"><tr><td class="inner" style="padding:36px 40px;overflow-wrap:anywhere;word-break:break-word">
<p class="brand" style="margin:0 0 24px;font-size:15px;font-weight:700;color:#1f5f4a">${shopName}</p>
<h1 class="ink" style="margin:0 0 4px;font-size:24px;line-height:1.25;letter-spacing:-.02em">${subjects[milestone]}</h1>
<p class="quiet" style="margin:0 0 20px;font-size:14px;color:#63615a">Order ${shortId(order.orderId)}</p>
${progressOf(milestone)}
<p style="margin:0 0 12px;line-height:1.5">Dear <bdi>${order.customer.name}</bdi>,</p>
${said.map((paragraph) => html`<p style="margin:0 0 12px;line-height:1.5">${paragraph}</p>`)}
${tracking && html`<p style="margin:0 0 12px;line-height:1.5">Tracking: ${tracking.link ? html`<a href="${tracking.link}" class="link" style="color:#1f5f4a">${tracking.text}</a>` : tracking.text}</p>`}
<table role="presentation" width="100%" style="margin:20px 0;border-collapse:collapse;font-size:14px">
${order.lines.map(
  ({ name, quantity, unitPrice }) =>
    html`<tr><td class="rule" style="padding:10px 12px 10px 0;border-top:1px solid #e6e2da">${quantity} × <bdi>${name}</bdi></td><td class="rule" style="padding:10px 0;border-top:1px solid #e6e2da;text-align:right;white-space:nowrap">${formatMoney({ amount: quantity * unitPrice, currency })}</td></tr>
`,
)}<tr><td class="rule" style="padding:12px 0 0;border-top:2px solid #1d1d1b;font-weight:700;font-size:16px">Total</td><td class="rule" style="padding:12px 0 0;font-size:16px;border-top:2px solid #1d1d1b;text-align:right;font-weight:600">${formatMoney(order.total)}</td></tr>
</table>
<p style="margin:0 0 4px"><a href="${link}" class="button" style="display:inline-block;padding:13px 24px;border-radius:999px;background:#1f5f4a;color:#ffffff;text-decoration:none;font-weight:600">See where your order is</a></p>
</td></tr></table>
</body></html>
`;
}
