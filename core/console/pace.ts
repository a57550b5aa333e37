import { html, type Html } from '../html.ts';
import { Span, type PulseView } from '../operations/events.ts';
import { count, duration, nothing, plural, timeOf, type PageOf } from './shape.ts';

/** PACE: how many orders went through each step, and how long it took them, in the course of time. Everything is read off the times that the orders carry themselves. */

type Pace = NonNullable<PulseView['pace']>;

const spans: Readonly<Record<Span, string>> = { '15m': '15 minutes', '1h': 'An hour', '24h': 'A day', '7d': 'A week' };
const eventTitles: readonly (readonly [event: string, title: string])[] = [
  ['OrderPlaced', 'Placed'], ['InventoryReserved', 'Reserved'], ['Backordered', 'Backordered'], ['OrderFulfillment', 'Shipped'], ['OrderDelivered', 'Delivered'], ['ShippingStopped', 'Cancelled'],
];
const stepTitles: readonly (readonly [step: string, title: string, whose: string])[] = [
  ['placed_to_reserved', 'From placed to reserved', 'Order, the queue, Inventory; and the time that it waited for stock'],
  ['reserved_to_shipped', 'From reserved to shipped', 'Shipping and the carrier'],
  ['shipped_to_delivered', 'From shipped to delivered', 'the carrier'],
  ['placed_to_delivered', 'From placed to delivered', 'what the customer waits'],
];

export function pacePage({ pace, orders, looked }: PulseView, span: Span): PageOf {
  const part = looked.some(({ of, answered, complete }) => of === 'order' && answered && !complete);
  const main = html`<div class="headline"><h1>Pace</h1><nav class="chips" aria-label="How far back">${Span.options.map((each) => html`<a href="/console/pace?span=${each}"${each === span ? html` aria-current="true"` : null}>${spans[each]}</a>`)}</nav></div>
${pace === undefined ? nothing('The orders cannot be read at the moment', 'The store does not answer.') : plots(pace)}
${pace === undefined ? null : html`<p class="quiet">By the times that ${part ? html`${count(orders?.seen ?? 0)} of the orders, a fair sample, carry themselves: numbers are what is there at the least` : 'the orders carry themselves'}. One point is ${duration(pace.pointSeconds)}.</p>`}`;
  return { title: 'Pace', here: 'pace', main };
}

function plots(pace: Pace): Html {
  return html`<h2 class="over">How many</h2><div class="plots">${eventTitles.map(([event, title]) => throughput(title, pace.events[event] ?? pace.steps['placed_to_delivered']!.median.map(() => 0), pace))}</div>
<h2 class="over">How long</h2><div class="plots two">${stepTitles.map(([step, title, whose]) => latency(title, whose, pace.steps[step]!, pace))}</div>`;
}

const width = 300;
const height = 72;

function throughput(title: string, values: readonly number[], pace: Pace): Html {
  const all = values.reduce((sum, each) => sum + each, 0);
  const most = Math.max(1, ...values);
  const step = width / values.length;
  const bars = values.map((each, n) => (each === 0 ? null : html`<rect x="${round(n * step + 0.75)}" y="${round(height - bar(each, most))}" width="${round(step - 1.5)}" height="${round(bar(each, most))}" rx="1.5"/>`));
  return html`<figure class="card plot"><figcaption><h3>${title}</h3><p class="n">${count(all)}</p></figcaption>${scale(all === 0 ? '' : count(most))}
<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${title}: ${plural(all, 'order')}, at the most ${count(most)} in ${duration(pace.pointSeconds)}"><line class="ground" x1="0" x2="${width}" y1="${height - 0.5}" y2="${height - 0.5}"/>${bars}</svg>${axis(pace)}</figure>`;
}
/** What the upper edge of the plot means. */
const scale = (most: string): Html => html`<p class="axis most" aria-hidden="true"><span>${most === '' ? '\u00a0' : most}</span></p>`;
const bar = (value: number, most: number): number => Math.max(3, (value / most) * (height - 4));
const round = (n: number): number => Math.round(n * 100) / 100;

const axis = ({ from }: Pace): Html => html`<p class="axis"><span>${timeOf(from)}</span><span>now</span></p>`;

/** The middle one of all as a line, and up to where 19 of 20 are as a band above it; where none ended there is a gap. */
function latency(title: string, whose: string, { median, slow, all }: Pace['steps'][string], pace: Pace): Html {
  const most = Math.max(0.001, ...slow.map((each) => each ?? 0));
  const x = (n: number): number => round((n + 0.5) * (width / median.length));
  const y = (value: number): number => round(height - 3 - (value / most) * (height - 8));
  const known = median.flatMap((each, n) => (each === null ? [] : [{ n, low: each, high: slow[n] ?? each }]));
  const stretches = known.reduce<(typeof known)[]>((found, each) => (each.n - 1 === found.at(-1)?.at(-1)?.n ? (found.at(-1)!.push(each), found) : [...found, [each]]), []);
  const drawn = stretches.map((points) => (points.length === 1 ? single(points[0]!, x, y) : html`<path class="band" d="M${points.map(({ n, high }) => `${x(n)} ${y(high)}`).join('L')}L${[...points].reverse().map(({ n, low }) => `${x(n)} ${y(low)}`).join('L')}z"/><path class="middle" d="M${points.map(({ n, low }) => `${x(n)} ${y(low)}`).join('L')}"/>`));
  const told = all ? `${plural(all.count, 'order')}: half within ${duration(all.median)}, 19 of 20 within ${duration(all.slow)}` : 'no order in this time';
  return html`<figure class="card plot"><figcaption><div><h3>${title}</h3><p class="quiet">${whose}</p></div><p class="n">${all ? duration(all.median) : '–'}</p></figcaption>${scale(all ? duration(most) : '')}
<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${title}: ${told}"><line class="ground" x1="0" x2="${width}" y1="${height - 0.5}" y2="${height - 0.5}"/>${drawn}</svg>${axis(pace)}<p class="quiet">${told}</p></figure>`;
}

const single = ({ n, low, high }: { n: number; low: number; high: number }, x: (n: number) => number, y: (value: number) => number): Html =>
  html`<path class="whisker" d="M${x(n)} ${y(low)}V${y(high)}"/><circle class="point" cx="${x(n)}" cy="${y(low)}" r="2.6"/>`;
