import { refuse, type Refusal } from '../../ports/index.ts';
import type { EventName } from '../flow.ts';
import { collections } from '../flow.ts';
import type { Fact, Model } from '../kernel/model.ts';
import type { OrderFulfillment } from '../shipping/events.ts';
import type { OrderPlaced, OrderStatus } from './events.ts';

/**
 * AN ORDER is a set of facts about it. Each kind of fact happens once, none is refused for coming early, and the status is read off the set: so any arrival order of
 * the same events, with any repetitions, gives the same order.
 */
export interface Order {
  readonly placed?: OrderPlaced;
  /** Of the request that placed it: tells a repetition from another order under the same key. */
  readonly fingerprint?: string;
  readonly parcel?: Pick<OrderFulfillment, 'carrier' | 'trackingNumber' | 'trackingUrl'>;
  /** When each thing happened (RFC 3339), by the name of its event. */
  readonly at: Readonly<Partial<Record<EventName, string>>>;
}

export type OrderCommand =
  | { readonly do: 'place'; readonly order: OrderPlaced; readonly fingerprint: string }
  | { readonly do: 'cancel'; readonly at: string }
  | { readonly do: 'hear'; readonly type: EventName; readonly data: unknown; readonly at: string };

export const orders: Model<Order, OrderCommand> = {
  service: 'order',
  collection: collections.orders,
  noun: 'order',
  initial: { at: {} },
  remembers: 'state',
  decide,
  evolve,
};

function decide(order: Order, command: OrderCommand): readonly Fact[] | Refusal {
  switch (command.do) {
    case 'place':
      return place(order, command.order, command.fingerprint);
    case 'cancel':
      return cancel(order, command.at);
    case 'hear':
      return command.type in order.at ? [] : [{ type: command.type, data: command.data, at: command.at }];
  }
}

function place(order: Order, placed: OrderPlaced, fingerprint: string): readonly Fact[] | Refusal {
  if (!order.placed) return [{ type: 'Fingerprinted', data: fingerprint }, { type: 'OrderPlaced', data: placed, at: placed.placedAt }];
  if (order.fingerprint === fingerprint) return [];
  return refuse(422, 'idempotency-key-reused', 'this Idempotency-Key has placed another order');
}

function cancel(order: Order, at: string): readonly Fact[] | Refusal {
  if (!order.placed) return refuse(404, 'not-found', 'there is no such order');
  const status = statusOf(order);
  if (status === 'Shipped' || status === 'Delivered') return refuse(409, 'shipped-already', 'the order has been shipped');
  if (status === 'Cancelled' || order.at.CancellationRequested) return [];
  return [{ type: 'CancellationRequested', data: { orderId: order.placed.orderId }, at }];
}

function evolve(order: Order, { type, data, at = '' }: Fact): Order {
  switch (type) {
    case 'Fingerprinted':
      return { ...order, fingerprint: data as string };
    case 'OrderPlaced':
      return { ...order, placed: data as OrderPlaced, at: { ...order.at, OrderPlaced: at } };
    case 'OrderFulfillment': {
      const { carrier, trackingNumber, trackingUrl } = data as OrderFulfillment;
      return { ...order, parcel: { carrier, trackingNumber, ...(trackingUrl === undefined ? {} : { trackingUrl }) }, at: { ...order.at, OrderFulfillment: at } };
    }
    default:
      return { ...order, at: { ...order.at, [type]: at } };
  }
}

/** What has gone furthest counts. Shipping alone decides between a cancel and a shipment, so the first two never both hold. */
export function statusOf({ at }: Order): OrderStatus {
  if (at.ShippingStopped) return 'Cancelled';
  if (at.OrderDelivered) return 'Delivered';
  if (at.OrderFulfillment) return 'Shipped';
  if (at.InventoryReserved) return 'Reserved';
  if (at.Backordered) return 'Backordered';
  return 'Placed';
}
