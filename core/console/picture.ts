import { html, type Html } from '../html.ts';
import { events, services, subscriptions, type EventName, type ServiceName } from '../flow.ts';
import type { PulseView } from '../operations/events.ts';
import { count, duration, perMinute, plural } from './shape.ts';

/**
 * THE LIVING PICTURE: the six services as stations, each channel as a line from whoever speaks on it to those who listen. It is drawn from the flow table by rule: a
 * service is a column, a channel is a row, and a new one of either finds its place. Nothing is coloured that is well; what is wrong lights up where it is, with a link to
 * the page that mends it.
 */
export interface Channel {
  readonly name: string;
  readonly kind: 'queue' | 'stream';
  readonly from: ServiceName;
  readonly to: readonly ServiceName[];
  readonly says: readonly EventName[];
}

export const channels: readonly Channel[] = [...new Set(subscriptions.map(({ channel }) => channel))].map((name) => {
  const ears = subscriptions.filter(({ channel }) => channel === name);
  const says = [...new Set(ears.flatMap(({ hears }) => [...hears]))];
  return { name, kind: ears[0]!.kind, from: events[says[0]!].from, to: ears.map(({ service }) => service), says };
});

/** What is wrong, or worth a look, at one place of the picture. */
export interface Light {
  readonly tone: 'warn' | 'bad';
  readonly text: string;
  /** As it stands beside the place: a number. */
  readonly short: string;
  readonly href: string;
}

export const lagSecondsMax = 60;
export const silentSecondsMax = 60;
export const outboxSecondsMax = 120;

export function lightOfListener(pulse: PulseView, service: string, channel: string): Light | undefined {
  const here = (each: { readonly service: string; readonly channel: string }): boolean => each.service === service && each.channel === channel;
  const dead = pulse.dead?.find(here)?.letters ?? 0;
  if (dead > 0) return { tone: 'bad', text: plural(dead, 'dead letter'), short: count(dead), href: '/console/trouble/dead-letters' };
  const parked = pulse.parked?.find(here)?.keys ?? 0;
  if (parked > 0) return { tone: 'bad', text: plural(parked, 'parked key'), short: count(parked), href: '/console/trouble/parked' };
  const reader = pulse.readers.find(here);
  if (reader && reader.silentSeconds > silentSecondsMax) return { tone: 'warn', text: `the broker is silent for ${duration(reader.silentSeconds)}`, short: duration(reader.silentSeconds), href: '#channels' };
  if (reader && reader.lagSeconds > lagSecondsMax) return { tone: 'warn', text: `${duration(reader.lagSeconds)} behind`, short: duration(reader.lagSeconds), href: '#channels' };
  return undefined;
}

export function lightOfSpeaker({ outbox }: PulseView, channel: string): Light | undefined {
  const { stuck = 0, waiting = 0 } = outbox?.channels[channel] ?? {};
  if (stuck > 0) return { tone: 'bad', text: plural(stuck, 'stuck message'), short: count(stuck), href: '/console/trouble/stuck' };
  if (waiting > 0 && outbox!.oldestSeconds > outboxSecondsMax) return { tone: 'warn', text: `${plural(waiting, 'message')} not passed on`, short: count(waiting), href: '#channels' };
  return undefined;
}

/** What waits in a service's own hands. */
export function lightOfService({ letters, bookings }: PulseView, service: string): Light | undefined {
  const sum = (of: Readonly<Record<string, number>> | undefined, ...names: string[]): number => names.reduce((all, name) => all + (of?.[name] ?? 0), 0);
  const found = service === 'notification' ? sum(letters, 'uncertain', 'refused') : service === 'shipping' ? sum(bookings, 'uncertain', 'refused', 'leftOver') : 0;
  if (found === 0) return undefined;
  const what = service === 'shipping' ? plural(found, 'booking') : plural(found, 'letter');
  return { tone: 'bad', text: `${what} ${found === 1 ? 'needs' : 'need'} a person`, short: count(found), href: service === 'shipping' ? '/console/trouble/bookings' : '/console/trouble/mails' };
}

/** Events a minute on a channel, by the orders' own times; undefined where no order tells of them. */
export function rateOf({ orders }: PulseView, { says }: Channel): number | undefined {
  if (!orders || !says.some((event) => event in told)) return undefined;
  return says.reduce((sum, event) => sum + (orders.perMinute[event] ?? 0), 0);
}
const told: Readonly<Partial<Record<EventName, true>>> = { OrderPlaced: true, InventoryReserved: true, Backordered: true, OrderFulfillment: true, OrderDelivered: true, CancellationRequested: true, ShippingStopped: true };

/** What a service has in hand, in a few words. */
export function handsOf(pulse: PulseView, service: ServiceName): string {
  const of = (status: string): number => pulse.orders?.statuses[status]?.count ?? 0;
  if (!pulse.orders) return 'unknown';
  switch (service) {
    case 'order':
      return plural(pulse.orders.seen, 'order');
    case 'inventory':
      return of('Backordered') > 0 ? `${count(of('Backordered'))} backordered` : `${count(of('Placed'))} to reserve`;
    case 'shipping':
      return of('Reserved') > 0 ? `${count(of('Reserved'))} to ship` : `${count(of('Shipped'))} under way`;
    case 'notification':
      return `${count(pulse.letters?.['waiting'] ?? 0)} to send`;
    default:
      return ' ';
  }
}

// ---------------------------------------------------------------- drawing

interface Plan {
  readonly width: number;
  /** Of the first column's middle, and between two. */
  readonly first: number;
  readonly step: number;
  readonly head: number;
  readonly row: number;
  readonly narrow: boolean;
}
/** Between the middles of two columns, when all of them have so much room. */
const stepIn = (room: number): number => Math.round((room / (services.length - 1)) * 10) / 10;
const wide: Plan = { width: 900, first: 176, step: Math.min(108, stepIn(620)), head: 88, row: 54, narrow: false };
const narrow: Plan = { width: 360, first: 34, step: stepIn(292), head: 84, row: 66, narrow: true };

export const titleOf = (service: ServiceName): string => service[0]!.toUpperCase() + service.slice(1);

/** In the order in which an order goes through them: who speaks first is left. */
const columns: readonly ServiceName[] = services;

export const picture = (pulse: PulseView): Html => html`${drawn(pulse, wide)}${drawn(pulse, narrow)}`;

function drawn(pulse: PulseView, plan: Plan): Html {
  const height = plan.head + channels.length * plan.row + 8;
  const kind = plan.narrow ? 'slim' : 'broad';
  return html`<svg class="picture ${kind}" viewBox="0 0 ${plan.width} ${height}" role="group" aria-label="The services and what flows between them">
${columns.map((_, n) => lifeline(plan, n, height))}
${channels.map((channel, n) => line(pulse, plan, channel, n))}
${columns.map((service, n) => station(pulse, plan, service, n))}
</svg>`;
}

const columnOf = (plan: Plan, service: ServiceName): number => Math.round((plan.first + columns.indexOf(service) * plan.step) * 10) / 10;
const lifeline = (plan: Plan, n: number, height: number): Html => {
  const x = Math.round((plan.first + n * plan.step) * 10) / 10;
  return html`<line class="life" x1="${x}" x2="${x}" y1="${plan.head - 16}" y2="${height - 10}"/>`;
};

function station(pulse: PulseView, plan: Plan, service: ServiceName, n: number): Html {
  const x = columnOf(plan, service);
  const light = lightOfService(pulse, service);
  if (plan.narrow) return smallStation(plan, service, n, light);
  const half = plan.step / 2 - 5;
  return html`<g class="station${light ? ` ${light.tone}` : ''}"><rect x="${x - half}" y="8" width="${half * 2}" height="58" rx="12"/><text class="name" x="${x}" y="33" text-anchor="middle">${titleOf(service)}</text><text class="hands" x="${x}" y="53" text-anchor="middle">${handsOf(pulse, service)}</text>${lampAt(light, x + half - 6, 10, `${titleOf(service)}: `)}</g>`;
}

/** At two heights, so that neighbours' names do not meet. */
function smallStation(plan: Plan, service: ServiceName, n: number, light: Light | undefined): Html {
  const x = columnOf(plan, service);
  const y = n % 2 === 0 ? 16 : 46;
  const [at, anchor] = n === 0 ? [2, 'start'] : n === columns.length - 1 ? [plan.width - 2, 'end'] : [x, 'middle'];
  return html`<g class="station"><line class="life" x1="${x}" x2="${x}" y1="${y + 6}" y2="${plan.head - 16}"/><text class="name" x="${at}" y="${y}" text-anchor="${anchor}">${titleOf(service)}</text><circle class="node" cx="${x}" cy="${plan.head - 18}" r="5"/>${lampAt(light, x, plan.head - 18, `${titleOf(service)}: `)}</g>`;
}

function line(pulse: PulseView, plan: Plan, channel: Channel, n: number): Html {
  const y = plan.head + n * plan.row + (plan.narrow ? 44 : plan.row / 2);
  const from = columnOf(plan, channel.from);
  const rate = rateOf(pulse, channel);
  const pace = rate === undefined || rate === 0 ? '' : rate > 30 ? ' fast' : ' slow';
  const ends = [...new Set(channel.to)];
  const paths = ends.map((service) => road(from, columnOf(plan, service), y, plan));
  return html`<g class="channel ${channel.kind}${pace}">${legend(pulse, plan, channel, y, rate)}${paths.map((d) => html`<path class="road" d="${d}"/>`)}${pace === '' ? null : paths.map((d) => html`<path class="flow" d="${d}"/>`)}
<circle class="mouth" cx="${from}" cy="${y}" r="${plan.narrow ? 6 : 7}"/>${ends.map((service) => ear(pulse, plan, channel, service, y))}${lampAt(lightOfSpeaker(pulse, channel.name), from, y, `${titleOf(channel.from)} on ${channel.name}: `)}</g>
`;
}

/** Whoever speaks to himself draws a loop. */
const loop = ({ narrow: small }: Plan): number => (small ? 18 : 26);
const road = (from: number, to: number, y: number, plan: Plan): string => {
  const r = loop(plan);
  return from === to ? `M${from} ${y}c${r * 0.4} ${-r} ${r * 1.6} ${-r} ${r * 1.6} 0s${-r * 1.2} ${r} ${-r * 1.6} 0` : `M${from} ${y}H${to}`;
};

function ear(pulse: PulseView, plan: Plan, channel: Channel, service: ServiceName, y: number): Html {
  const own = service === channel.from;
  const x = columnOf(plan, service) + (own ? Math.round(loop(plan) * 16) / 10 : 0);
  const light = lightOfListener(pulse, service, channel.name);
  const size = plan.narrow ? 5.5 : 6.5;
  const way = own || x > columnOf(plan, channel.from) ? 1 : -1;
  // A loop comes back from above.
  const shape = own ? `M${x - size} ${y - size}L${x} ${y + size}L${x + size} ${y - size}z` : `M${x - way * size} ${y - size}L${x + way * size} ${y}L${x - way * size} ${y + size}z`;
  return html`<path class="ear" d="${shape}"/>${lampAt(light, x, y, `${titleOf(service)} on ${channel.name}: `)}`;
}

const lampAt = (light: Light | undefined, x: number, y: number, where: string): Html | null => (light ? lamp(light, x, y, where) : null);

function lamp({ tone, text, short, href }: Light, x: number, y: number, where: string): Html {
  const width = 14 + short.length * 7.5;
  return html`<a class="lamp ${tone}" href="${href}" aria-label="${where}${text}"><circle class="halo" cx="${x}" cy="${y}" r="18"/><rect x="${x - width / 2}" y="${y - 11}" width="${width}" height="22" rx="11"/><text x="${x}" y="${y + 4.5}" text-anchor="middle">${short}</text></a>`;
}

function legend(pulse: PulseView, plan: Plan, channel: Channel, y: number, rate: number | undefined): Html {
  const waiting = pulse.outbox?.channels[channel.name]?.waiting ?? 0;
  const lag = Math.max(0, ...pulse.readers.filter((each) => each.channel === channel.name).map(({ lagSeconds }) => lagSeconds));
  const words = [...(rate === undefined ? [] : [perMinute(rate)]), ...(waiting > 0 ? [`${count(waiting)} to go`] : []), ...(lag > 1 ? [`${duration(lag)} behind`] : [])].join(' · ');
  if (plan.narrow) return html`<text class="title" x="2" y="${y - 22}">${channel.name} <tspan class="kind">${channel.kind}</tspan></text><text class="numbers" x="${plan.width - 2}" y="${y - 22}" text-anchor="end">${words}</text>`;
  return html`<text class="title" x="4" y="${y - 2}">${channel.name}</text><text class="kind" x="4" y="${y + 15}">${channel.kind}</text><text class="numbers" x="${plan.width - 4}" y="${y + 5}" text-anchor="end">${words}</text>`;
}
