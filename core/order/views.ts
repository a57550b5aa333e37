import { must } from '../../ports/index.ts';
import type { EventName } from '../flow.ts';
import type { OrderView } from './events.ts';
import { statusOf, type Order } from './order.ts';

/** Things that happened in the same millisecond are told in the order in which they make sense. */
const told: readonly EventName[] = ['OrderPlaced', 'Backordered', 'InventoryReserved', 'CancellationRequested', 'ShippingStopped', 'OrderFulfillment', 'OrderDelivered'];

export function viewOf(order: Order): OrderView {
  const { placed, parcel, at } = order;
  must(placed, 'only an order that was placed can be seen');
  const status = statusOf(order);
  return {
    id: placed.orderId,
    status,
    customer: placed.customer,
    address: placed.address,
    lines: placed.lines.map((line) => ({ ...line, amount: line.quantity * line.unitPrice })),
    total: placed.total,
    shipments: parcel ? [{ ...parcel, status: at.OrderDelivered ? 'Delivered' : 'Shipped' }] : [],
    history: told
      .flatMap((event) => (at[event] === undefined ? [] : [{ event: event as string, at: at[event] }]))
      .sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0)),
    ...(at.CancellationRequested ? { cancellationRequestedAt: at.CancellationRequested } : {}),
  };
}

/** The order as it was answered when it was placed: a repeated request gets the first answer again, whatever has happened since. */
export function firstViewOf({ placed }: Order): OrderView {
  return viewOf({ placed, at: { OrderPlaced: placed!.placedAt } });
}
