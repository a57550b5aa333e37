import type { RawWrite } from '../../ports/index.ts';
import { isEventName, subscriptions, type EventName } from '../../core/flow.ts';
import { claimKey, emptyStock, partsOf as cut, stockPartition, untouched, type Claim, type Order as Reservation, type PartState, type Stock } from '../../core/inventory/rows.ts';
import type { Document } from '../../core/kernel/execute.ts';
import type { Letters } from '../../core/notification/letters.ts';
import type { Order } from '../../core/order/order.ts';
import type { Product } from '../../core/product/product.ts';
import type { Shipment } from '../../core/shipping/shipment.ts';
import type { NewEvent, StreamEngine } from '../../adapters/engine/stream.ts';

/**
 * THE CHECKERS see every write to the engines and nothing else, at the moment in which it is done, and keep books of their own. Each looks at what was written and at
 * what it has written down itself, never at everything there is, so that a check costs as much as the write.
 *
 * What has to hold at every step:
 * - a product's row is the sum of its receipts, parts and claims; nothing is sold twice; an elder claim is not passed over
 * - an order, its reservation, its shipment and its letters only go forward, and never into two ends
 * - versions and counters only grow
 * - what is said is said once, in a commit; what is on a channel was said, and after what its subject had said before; a row of the outbox goes only when every road has its message
 * - a listener hears what is said under one key in the order in which it was said, across splits of the partition, parked keys and other readers
 * - a position moves only past what was handled or parked; a message of a queue goes only when it was handled or buried
 */
export interface Checks {
  /** The first thing that did not hold. */
  violation(): string | undefined;
  blame(what: string): void;
  committed(partition: string, writes: readonly RawWrite[]): void;
  appended(stream: string, events: readonly NewEvent[]): void;
  sent(queue: string, texts: readonly string[]): void;
  removed(queue: string, text: string): void;
  /** A handler of this consumer has come to its end with this message. */
  handled(consumer: string, id: string): void;
  /** Not ours: somebody else has put it on a channel. */
  foreign(text: string): void;
  isForeign(id: string): boolean;
  /** How many rows of this noun there are. */
  count(noun: string): number;
  /** Events that this consumer has not read, in words. */
  unread(): string[];
  positionOf(consumer: string, stream: string, partition: string): number;
  /** What was said and has left no mark on those who listen, in words; asked when all is at rest. */
  unheard(): string[];
  readonly orders: ReadonlyMap<string, Order>;
  readonly reservations: ReadonlyMap<string, Reservation>;
  readonly shipments: ReadonlyMap<string, Shipment>;
  readonly letters: ReadonlyMap<string, Letters>;
  readonly stocks: ReadonlyMap<string, Stock>;
  readonly products: ReadonlyMap<string, Product>;
}

const before = '{"specversion":"1.0","id":"';
/** The id of an encoded message; all of the text, if it is none. */
export function idOf(text: string): string {
  return text.startsWith(before) ? text.slice(before.length, text.indexOf('"', before.length)) : text;
}
const typeOf = (text: string): string | undefined => /^\{"specversion":"1\.0","id":"[^"]*","source":"[^"]*","type":"([^"]*)"/.exec(text)?.[1];

const counted: ReadonlySet<string> = new Set(['outbox', 'open', 'parked', 'item', 'dead', 'seen', 'wait', 'due', 'dropped', 'unsaid']);
const rank = { idle: 0, taken: 1, released: 2, closed: 3, shipped: 3 } as const;

interface Sums {
  received: number;
  reserved: number;
  shipped: number;
  waiters: number;
  waiting: number;
}

export function createChecks(stream: StreamEngine, hears: ReadonlyMap<string, ReadonlySet<string>>): Checks {
  const faults: string[] = [];
  const counts = new Map<string, number>();
  const blame = (what: string): void => void (faults.length < 20 && faults.push(what));
  const must = (holds: boolean, what: () => string): void => {
    if (!holds) blame(what());
  };

  // ---------------------------------------------------------------- said and heard

  /** What was said: id → the body of its outbox row, as it was created. */
  const said = new Map<string, string>();
  const strangers = new Set<string>();
  /** `channel id` */
  const carried = new Set<string>();
  /** `consumer id` */
  const dealtWith = new Set<string>();
  const copies = new Map<string, number>();
  const positions = new Map<string, number>();
  const consumerOf = new Map(subscriptions.filter(({ kind }) => kind === 'queue').map(({ channel, service }) => [channel, service]));

  function wasSaid(channel: string, text: string): void {
    const id = idOf(text);
    if (strangers.has(id)) return;
    const body = said.get(id);
    must(body !== undefined && body.startsWith(text, '{"message":'.length), () => `${channel} carries ${id}, which was never said so in a commit`);
    if (carried.has(`${channel} ${id}`)) return;
    carried.add(`${channel} ${id}`);
    const all = sisters.get(id) ?? [];
    const elder = all.slice(0, all.findIndex((each) => each.id === id)).findLast(({ channels }) => channels.includes(channel));
    if (elder && !carried.has(`${channel} ${elder.id}`)) blame(`${channel} carries ${id} before ${elder.id}, which its subject has said before`);
  }
  /** What one subject of one outbox has said, in order; under the id of each of them. */
  const sisters = new Map<string, { readonly id: string; readonly channels: readonly string[] }[]>();

  function speak(partition: string, rowKey: string, id: string, body: string): void {
    const subject = `${partition} ${rowKey.split('|')[1]}`;
    const all = bySubject.get(subject) ?? [];
    bySubject.set(subject, all);
    all.push({ id, channels: roadsOf(body) });
    sisters.set(id, all);
  }
  const bySubject = new Map<string, { readonly id: string; readonly channels: readonly string[] }[]>();

  /** The roads stand behind the message. */
  const roadsOf = (body: string): string[] => (JSON.parse(`[${body.slice(body.lastIndexOf('"roads":[') + 9).split(']')[0]!}]`) as { channel: string }[]).map(({ channel }) => channel);

  function outbox(partition: string, { op, key, ...rest }: RawWrite): void {
    if (op === 'create' && 'body' in rest) {
      const id = idOf(rest.body.slice('{"message":'.length, 400));
      const known = said.get(id);
      if (known === undefined) {
        said.set(id, rest.body);
        speak(partition, key, id, rest.body);
      }
      else if (!again.has(id)) blame(`${id} is said twice`);
      created.set(`${partition} ${key}`, id);
      return;
    }
    const id = created.get(`${partition} ${key}`);
    if (id === undefined) return blame(`the outbox row ${key} was never created`);
    const type = typeOf(said.get(id)!.slice('{"message":'.length, 600));
    const roads = op === 'delete' || !('body' in rest) ? [] : (JSON.parse(rest.body) as { roads: { channel: string }[] }).roads.map(({ channel }) => channel);
    for (const channel of roadsOf(said.get(id)!)) if (!roads.includes(channel)) must(carried.has(`${channel} ${id}`), () => `the outbox has dropped ${type} ${id}, and ${channel} never had it`);
  }
  const created = new Map<string, string>();
  /** Messages that a person has sent again. */
  const again = new Set<string>();

  function position(rowKey: string, body: string): void {
    const [, consumer = '', channel = '', partition = ''] = rowKey.split('|');
    const { after } = JSON.parse(body) as { after?: string };
    const at = `${consumer} ${channel} ${partition}`;
    const until = Number(after ?? 0);
    const from = positions.get(at) ?? 0;
    if (until <= from) return;
    positions.set(at, until);
    const batch = stream.read(channel, partition, String(from), until - from);
    if ('gap' in batch || batch.events.length < until - from) return blame(`${consumer} is at ${until} of ${channel} ${partition}, where there is no such event`);
    for (const { text, position: each } of batch.events) {
      const type = typeOf(text);
      if (type !== undefined && !hears.get(consumer)!.has(type)) continue;
      must(dealtWith.has(`${consumer} ${idOf(text)}`), () => `${consumer} has moved past ${each} of ${channel} ${partition}, ${type ?? ''} ${idOf(text).slice(0, 80)}, which it has neither handled nor parked`);
    }
  }

  function parked(rowKey: string, body: string): void {
    const { message } = JSON.parse(body) as { message: { id?: string; raw?: string } };
    const [, consumer = '', channel = ''] = rowKey.split('|');
    const id = message.id ?? message.raw ?? '';
    dealtWith.add(`${consumer} ${id}`);
    let mine = parkedBy.get(consumer);
    if (!mine) parkedBy.set(consumer, (mine = new Map()));
    mine.set(rowKey, { channel, id });
  }

  /** What is heard for the first time comes after everything before it of its key, which is handled or parked, and not while something before it is still parked. */
  function inOrder(consumer: string, id: string): void {
    for (const { kind, channel, service, hears: heard } of subscriptions) {
      const at = service === consumer && kind === 'stream' ? firstAt.get(`${channel} ${id}`) : undefined;
      if (!at) continue;
      const key = ofKey.get(`${channel} ${at.key}`)!;
      const before = key.slice(0, key.findIndex((each) => each.id === id)).findLast(({ type }) => type === undefined || heard.has(type as EventName));
      if (before && !dealtWith.has(`${consumer} ${before.id}`)) blame(`${consumer} handles ${id} of ${channel} before ${before.id}, which comes before it`);
    }
    for (const each of parkedBy.get(consumer)?.values() ?? []) {
      const elder = firstAt.get(`${each.channel} ${each.id}`);
      const younger = firstAt.get(`${each.channel} ${id}`);
      if (elder && younger && elder.key === younger.key && elder.nth < younger.nth) blame(`${consumer} handles ${id}, while ${each.id.slice(0, 80)} before it is parked`);
    }
  }
  const parkedBy = new Map<string, Map<string, { channel: string; id: string }>>();
  /** `channel partition key` → what was said under it, in order. */
  const ofKey = new Map<string, { readonly id: string; readonly type: string | undefined }[]>();
  /** `channel id` → the first time that it was there. */
  const firstAt = new Map<string, { readonly key: string; readonly nth: number }>();

  function buried(body: string): void {
    const { consumer, message, state } = JSON.parse(body) as { consumer: string; message: { id?: string; raw?: string }; state?: string };
    const id = message.id ?? message.raw ?? '';
    dealtWith.add(`${consumer} ${id}`);
    if (state === 'sentAgain') again.add(id);
  }

  // ---------------------------------------------------------------- inventory

  const stocks = new Map<string, Stock>();
  const sums = new Map<string, Sums>();
  const reservations = new Map<string, Reservation>();
  const parts = new Map<string, PartState>();
  const claims = new Map<string, Map<string, number>>();
  const linesOf = new Map<string, readonly { readonly sku: string; readonly quantity: number }[]>();

  function sumsOf(sku: string): Sums {
    let sum = sums.get(sku);
    if (!sum) sums.set(sku, (sum = { received: 0, reserved: 0, shipped: 0, waiters: 0, waiting: 0 }));
    return sum;
  }

  function claim(rowKey: string, body: string | undefined): void {
    const sku = rowKey.split('|')[1]!;
    let queue = claims.get(sku);
    if (!queue) claims.set(sku, (queue = new Map()));
    const sum = sumsOf(sku);
    const quantity = body === undefined ? queue.get(rowKey)! : (JSON.parse(body) as Claim).quantity;
    sum.waiters += body === undefined ? -1 : 1;
    sum.waiting += body === undefined ? -quantity : quantity;
    if (body === undefined) queue.delete(rowKey);
    else queue.set(rowKey, quantity);
  }

  function reservation(id: string, body: string): void {
    const next = JSON.parse(body) as Reservation;
    const known = reservations.get(id);
    reservations.set(id, next);
    if (next.lines.length > 0 && known?.lines.length !== next.lines.length) for (const part of cut(id, next)) linesOf.set(`${part.partition} ${part.key}`, part.lines);
    if (!known) return;
    must(known.state === next.state || (known.state !== 'shipped' && known.state !== 'cancelled'), () => `the reservation of ${id} goes from ${known.state}, which is an end, to ${next.state}`);
    must(next.epoch >= known.epoch && next.said >= known.said, () => `the reservation of ${id} goes back from epoch ${known.epoch} to ${next.epoch}, or from ${known.said} said to ${next.said}`);
    must(known.state !== 'reserved' || ['reserved', 'shipped', 'cancelling'].includes(next.state), () => `the reservation of ${id} goes from reserved to ${next.state}`);
  }

  function part(at: string, body: string, alone: boolean): void {
    const next = JSON.parse(body) as PartState;
    const known = parts.get(at) ?? untouched;
    parts.set(at, next);
    const up = next.epoch > known.epoch ? known.state !== 'taken' : next.epoch === known.epoch && rank[next.state] >= rank[known.state];
    must(up && (rank[known.state] < 3 || known.state === next.state), () => `the part ${at} goes from ${known.epoch} ${known.state} to ${next.epoch} ${next.state}`);
    const lines = linesOf.get(at);
    if (!lines) return must(next.state === 'closed' || next.claims.length === 0, () => `the part ${at} is ${next.state}, and nobody knows its order`);
    lines.forEach(({ sku, quantity }, i) => {
      const sum = sumsOf(sku);
      if (known.state !== 'taken' && next.state === 'taken' && alone) elders(at, sku, quantity, next.levels[i]![0]);
      if (known.state === 'taken') sum.reserved -= quantity;
      if (next.state === 'taken') sum.reserved += quantity;
      if (next.state === 'shipped' && known.state !== 'shipped') sum.shipped += quantity;
    });
  }

  /** What is taken may be only what elder claims leave. Told where one order alone has a share in a commit; the claims are still those of before it. */
  function elders(at: string, sku: string, quantity: number, left: number): void {
    const orderId = at.split('|')[1]!;
    const own = claimKey(sku, reservations.get(orderId)!.placedAt, orderId);
    let needed = 0;
    for (const [rowKey, wanted] of claims.get(sku) ?? []) if (rowKey < own) needed += wanted;
    must(left >= needed, () => `${orderId} takes ${quantity} of ${sku} and leaves ${left}, where elder claims need ${needed}`);
  }

  function checkStock(sku: string): void {
    const { version: _, available, ...row } = stocks.get(sku) ?? emptyStock;
    const sum = sums.get(sku);
    if (!sum) return blame(`${sku} has a stock and no receipt, part or claim`);
    const agrees = row.received === sum.received && row.reserved === sum.reserved && row.shipped === sum.shipped && row.waiters === sum.waiters && row.waiting === sum.waiting;
    must(agrees, () => `the row of ${sku} says ${JSON.stringify(row)}, receipts, parts and claims ${JSON.stringify(sum)}`);
    must(available === row.received - row.reserved - row.shipped, () => `${sku}: received ${row.received} is not available ${available} + reserved ${row.reserved} + shipped ${row.shipped}`);
    must(available >= 0, () => `${sku}: ${-available} units are sold twice`);
  }

  // ---------------------------------------------------------------- orders, shipments, letters, products

  const orders = new Map<string, Order>();
  const shipments = new Map<string, Shipment>();
  const letters = new Map<string, Letters>();
  const products = new Map<string, Product>();
  const saidBy = new Map<string, number>();

  function counter(at: string, next: number): void {
    const known = saidBy.get(at) ?? 0;
    must(next >= known, () => `${at} has said ${known} messages, and then only ${next}`);
    saidBy.set(at, next);
  }

  function order(id: string, { said: count, state }: Document<Order>): void {
    const known = orders.get(id);
    orders.set(id, state);
    counter(`order ${id}`, count);
    for (const [event, at] of Object.entries(known?.at ?? {})) must(state.at[event as EventName] === at, () => `${event} happened to the order ${id} at ${at}, and then ${state.at[event as EventName] ?? 'never'}`);
    must(!known?.placed || state.placed !== undefined, () => `the order ${id} has forgotten what was ordered`);
    const { ShippingStopped, OrderFulfillment, OrderDelivered } = state.at;
    must(!(ShippingStopped && (OrderFulfillment || OrderDelivered)), () => `the order ${id} is cancelled and shipped`);
  }

  function shipment(id: string, { said: count, state }: Document<Shipment>): void {
    const known = shipments.get(id);
    shipments.set(id, state);
    counter(`shipment ${id}`, count);
    must(!(state.stoppedAt !== undefined && state.booking !== undefined), () => `the order ${id} is stopped and booked`);
    must(known?.stoppedAt === undefined || state.stoppedAt === known.stoppedAt, () => `the order ${id} was stopped, and is not any more`);
    must(!known?.booking || state.booking?.trackingNumber === known.booking.trackingNumber, () => `the booking of ${id} was ${known?.booking?.trackingNumber}, and is ${state.booking?.trackingNumber ?? 'gone'}`);
  }

  function letter(id: string, { state }: Document<Letters>): void {
    const known = letters.get(id);
    letters.set(id, state);
    for (const milestone of Object.keys(known?.reached ?? {})) must(milestone in state.reached, () => `the letters of ${id} have forgotten ${milestone}`);
    for (const [milestone, mail] of Object.entries(known?.mails ?? {})) {
      const next = state.mails[milestone as keyof Letters['mails']];
      must(mail.state !== 'sent' || next?.state === 'sent', () => `the letter ${id}.${milestone} was sent, and is ${next?.state ?? 'gone'}`);
    }
  }

  function product(sku: string, { said: count, state }: Document<Product>): void {
    const known = products.get(sku);
    products.set(sku, state);
    counter(`product ${sku}`, count);
    must(!known || (state.version >= known.version && state.stockVersion >= known.stockVersion), () => `the product ${sku} goes back from ${known!.version}/${known!.stockVersion} to ${state.version}/${state.stockVersion}`);
  }

  /** The services whose rows do not show that they have heard this message about an order. */
  function unmarked(id: string): string[] {
    const [subject = '', type = ''] = id.split(':');
    if (!isEventName(type)) return [];
    const milestone = milestones[type];
    const shipped = shipments.get(subject);
    const marks: Partial<Record<string, unknown>> = {
      order: orders.get(subject)?.at[type],
      notification: milestone && letters.get(subject)?.reached[milestone],
      shipping: type === 'InventoryReserved' ? (shipped?.claimedAt ?? shipped?.stoppedAt) : (shipped?.stoppedAt ?? shipped?.tooLateAt),
      inventory: ends[reservations.get(subject)?.state ?? ''],
    };
    return subscriptions.filter(({ hears: heard, service }) => heard.has(type) && service in marks && aboutOrders.has(type) && marks[service] === undefined).map(({ service }) => service);
  }

  // ---------------------------------------------------------------- every commit

  function note(partition: string, write: RawWrite, alone: boolean, touched: Set<string>): void {
    const { op, key: rowKey } = write;
    const end = rowKey.indexOf('|');
    const noun = end === -1 ? rowKey : rowKey.slice(0, end);
    if (counted.has(noun)) {
      if (op === 'create') counts.set(noun, (counts.get(noun) ?? 0) + 1);
      if (op === 'delete') counts.set(noun, (counts.get(noun) ?? 0) - 1);
    }
    const body = op === 'delete' ? undefined : write.body;
    if (noun === 'item' && body === undefined) return void parkedBy.get(rowKey.split('|')[1]!)?.delete(rowKey);
    if (noun === 'outbox') return outbox(partition, write);
    if (noun === 'wait') {
      touched.add(rowKey.split('|')[1]!);
      return claim(rowKey, body);
    }
    if (body === undefined) {
      if (isDocument.has(noun)) blame(`${partition} ${rowKey} is deleted`);
      return;
    }
    switch (noun) {
      case 'order':
        return partition.startsWith('invorder') ? reservation(rowKey.slice(end + 1), body) : order(rowKey.slice(end + 1), JSON.parse(body) as Document<Order>);
      case 'shipment':
        return shipment(rowKey.slice(end + 1), JSON.parse(body) as Document<Shipment>);
      case 'letters':
        return letter(rowKey.slice(end + 1), JSON.parse(body) as Document<Letters>);
      case 'product':
        return product(rowKey.slice(end + 1), JSON.parse(body) as Document<Product>);
      case 'stock': {
        const next = JSON.parse(body) as Stock;
        const sku = rowKey.slice(end + 1);
        const known = stocks.get(sku);
        must(next.version > (known?.version ?? 0), () => `the version of the stock of ${sku} goes from ${known?.version} to ${next.version}`);
        stocks.set(sku, next);
        return void touched.add(sku);
      }
      case 'receipt': {
        const sku = rowKey.split('|')[1]!;
        must(op === 'create', () => `the receipt ${rowKey} is written again`);
        sumsOf(sku).received += (JSON.parse(body) as { quantity: number }).quantity;
        return void touched.add(sku);
      }
      case 'part':
        return part(`${partition} ${rowKey}`, body, alone);
      case 'position':
        return position(rowKey, body);
      case 'item':
        return partition.startsWith('consumers') ? parked(rowKey, body) : undefined;
      case 'dead':
        return buried(body);
      default:
    }
  }

  return {
    violation: () => faults[0],
    blame,
    committed(partition, writes) {
      const touched = new Set<string>();
      let works = 0;
      if (partition.startsWith('stock')) for (const { key: rowKey } of writes) if (rowKey.startsWith('part|') || rowKey.startsWith('receipt|')) works++;
      // Parts go first: they are judged by the claims as they were.
      for (const write of writes) if (write.key.startsWith('part|')) note(partition, write, works === 1, touched);
      for (const write of writes) if (!write.key.startsWith('part|')) note(partition, write, works === 1, touched);
      for (const sku of touched) {
        must(stockPartition(sku) === partition, () => `the stock of ${sku} is in ${partition}`);
        checkStock(sku);
      }
    },
    appended(channel, appended) {
      for (const { partitionkey, text } of appended) {
        wasSaid(channel, text);
        const at = `${channel} ${idOf(text)}`;
        if (firstAt.has(at)) continue;
        firstAt.set(at, { key: partitionkey, nth: firstAt.size });
        const key = ofKey.get(`${channel} ${partitionkey}`);
        const entry = { id: idOf(text), type: typeOf(text) };
        if (key) key.push(entry);
        else ofKey.set(`${channel} ${partitionkey}`, [entry]);
      }
    },
    sent(channel, texts) {
      for (const text of texts) {
        wasSaid(channel, text);
        const at = `${channel} ${idOf(text)}`;
        copies.set(at, (copies.get(at) ?? 0) + 1);
      }
    },
    removed(channel, text) {
      const id = idOf(text);
      const at = `${channel} ${id}`;
      const left = (copies.get(at) ?? 0) - 1;
      copies.set(at, left);
      const consumer = consumerOf.get(channel)!;
      const type = typeOf(text);
      if (left > 0 || dealtWith.has(`${consumer} ${id}`) || (type !== undefined && !hears.get(consumer)!.has(type))) return;
      blame(`the last copy of ${id.slice(0, 80)} is removed from ${channel}, and ${consumer} has neither handled nor buried it`);
    },
    handled(consumer, id) {
      const at = `${consumer} ${id}`;
      if (dealtWith.has(at)) return;
      inOrder(consumer, id);
      dealtWith.add(at);
    },
    foreign: (text) => void strangers.add(idOf(text)),
    isForeign: (id) => strangers.has(id),
    count: (noun) => counts.get(noun) ?? 0,
    positionOf: (consumer, channel, partition) => positions.get(`${consumer} ${channel} ${partition}`) ?? 0,
    unread: () =>
      subscriptions.flatMap(({ kind, channel, service }) => {
        if (kind === 'queue') return [];
        const left: string[] = [];
        const visit = (partition: string): void => {
          const batch = stream.read(channel, partition, String(positions.get(`${service} ${channel} ${partition}`) ?? 0), 1);
          if ('gap' in batch || batch.events.length > 0) left.push(`${service} has not read ${channel} ${partition}`);
          else batch.children?.forEach(visit);
        };
        stream.partitions(channel).forEach(visit);
        return left;
      }),
    unheard: () => [...said.keys()].flatMap((id) => unmarked(id).map((who) => `${who} shows no mark of ${id}`)),
    orders,
    reservations,
    shipments,
    letters,
    stocks,
    products,
  };
}

const milestones: Partial<Record<EventName, keyof Letters['reached']>> = { OrderPlaced: 'confirmation', Backordered: 'backorder', OrderFulfillment: 'shipped', OrderDelivered: 'delivered', ShippingStopped: 'cancelled' };
const aboutOrders: ReadonlySet<string> = new Set(['OrderPlaced', 'InventoryReserved', 'Backordered', 'OrderFulfillment', 'OrderDelivered', 'CancellationRequested', 'ShippingStopped']);
/** A reservation has heard of the order, and of its end. */
const ends: Partial<Record<string, true>> = { shipped: true, cancelled: true };

const isDocument: ReadonlySet<string> = new Set(['order', 'shipment', 'letters', 'product', 'stock', 'part', 'receipt', 'parcel']);

