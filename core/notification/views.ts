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
    html: String(pageOf(subject, order, said, link, tracking, settings)),
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

const font = 'font-family:-apple-system,BlinkMacSystemFont,Segoe UI,Roboto,Helvetica,Arial,sans-serif';

function pageOf(subject: string, order: OrderPlaced, said: readonly string[], link: string, tracking: ReturnType<typeof trackingOf>, { shopName }: Settings): Html {
  const { currency } = order.total;
  return html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark"><title>${subject}</title></head>
<body style="margin:0;padding:24px 12px;background:#f4f2ee;${font};color:#1d1d1b">
<table role="presentation" width="100%" style="max-width:560px;margin:0 auto;background:#ffffff;border-radius:12px;border-collapse:separate"><tr><td style="padding:28px 32px">
<p style="margin:0 0 20px;font-size:14px;font-weight:600;color:#1f5f4a">${shopName}</p>
<h1 style="margin:0 0 16px;font-size:22px;line-height:1.3">${subject}</h1>
<p style="margin:0 0 12px;line-height:1.5">Dear ${order.customer.name},</p>
${said.map((paragraph) => html`<p style="margin:0 0 12px;line-height:1.5">${paragraph}</p>`)}
${tracking && html`<p style="margin:0 0 12px;line-height:1.5">Tracking: ${tracking.link ? html`<a href="${tracking.link}" style="color:#1f5f4a">${tracking.text}</a>` : tracking.text}</p>`}
<table role="presentation" width="100%" style="margin:20px 0;border-collapse:collapse;font-size:14px">
${order.lines.map(
  ({ name, quantity, unitPrice }) =>
    html`<tr><td style="padding:8px 0;border-top:1px solid #e6e2da">${quantity} × ${name}</td><td style="padding:8px 0;border-top:1px solid #e6e2da;text-align:right;white-space:nowrap">${formatMoney({ amount: quantity * unitPrice, currency })}</td></tr>
`,
)}<tr><td style="padding:10px 0;border-top:2px solid #1d1d1b;font-weight:600">Total</td><td style="padding:10px 0;border-top:2px solid #1d1d1b;text-align:right;font-weight:600">${formatMoney(order.total)}</td></tr>
</table>
<p style="margin:0 0 4px"><a href="${link}" style="display:inline-block;padding:12px 20px;border-radius:8px;background:#1f5f4a;color:#ffffff;text-decoration:none;font-weight:600">See where your order is</a></p>
</td></tr></table>
</body></html>
`;
}
