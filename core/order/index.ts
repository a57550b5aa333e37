import { createHash, createHmac } from 'node:crypto';
import { isPortError, isRefusal, limits, partitionOf, refuse, timestamp, key, type Complaint, type Message, type Refusal } from '../../ports/index.ts';
import { collections, type EventName } from '../flow.ts';
import { execute, type Document } from '../kernel/execute.ts';
import { list } from '../kernel/list.ts';
import { countSteps } from '../kernel/meters.ts';
import { causeOf } from '../kernel/model.ts';
import type { Kernel, Reply, Service } from '../kernel/service.ts';
import type { ProductView } from '../product/events.ts';
import { quantityMax } from '../shapes.ts';
import type { OrderLine, OrderPlaced, OrderView, PlaceOrder } from './events.ts';
import { orders, statusOf, type Order } from './order.ts';
import { firstViewOf, viewOf } from './views.ts';

/** ORDER MANAGEMENT: takes orders, says OrderPlaced, and follows them to their end. */

export const order: Service<'order'> = {
  name: 'order',

  hears: {
    InventoryReserved: hear,
    Backordered: hear,
    OrderFulfillment: hear,
    OrderDelivered: hear,
    ShippingStopped: hear,
  },

  answers: {
    async placeOrder(kernel, { body, idempotencyKey }): Promise<Reply> {
      const placed = await placeOrder(kernel, body, idempotencyKey);
      return isRefusal(placed) ? placed : { status: 201, json: placed, headers: { location: `/api/orders/${placed.id}` } };
    },
    async getOrder(kernel, { params }): Promise<Reply> {
      const found = await findOrder(kernel, params.id);
      return found ? { status: 200, json: found } : notFound;
    },
    async cancelOrder(kernel, { params }): Promise<Reply> {
      const asked = await cancelOrder(kernel, params.id);
      return isRefusal(asked) ? asked : { status: asked.status === 'Cancelled' ? 200 : 202, json: asked };
    },
    async listOrders(kernel, { query }): Promise<Reply> {
      const fits = fitting(query.q);
      const keep = ({ state }: Document<Order>): boolean => state.placed !== undefined && (query.status === undefined || statusOf(state) === query.status) && fits(state.placed);
      const { items, next } = await list<Document<Order>>(kernel.store, { collection: collections.orders, noun: 'order', limit: query.limit, after: query.after, keep });
      return { status: 200, json: { items: items.map((row) => viewOf(row.body.state)), next } };
    },
  },

  ticks: {},
};

/** What a person types who looks for an order: the beginning of its id, a part of the customer's name or e-mail address, or a sku of it. */
function fitting(q: string | undefined): (order: OrderPlaced) => boolean {
  if (q === undefined || q === '') return () => true;
  const wanted = q.toLowerCase();
  return ({ orderId, customer, lines }) =>
    orderId.startsWith(wanted) || customer.email.toLowerCase().includes(wanted) || customer.name.toLowerCase().includes(wanted) || lines.some(({ sku }) => sku.toLowerCase() === wanted);
}

const notFound = refuse(404, 'not-found', 'there is no such order');

async function hear(kernel: Kernel, message: Message<EventName, { orderId: string }>): Promise<void> {
  const { type, data, time } = message;
  const outcome = await execute(kernel, orders, { id: data.orderId, command: { do: 'hear', type, data, at: time } }, causeOf(message));
  if (!isRefusal(outcome) && outcome.facts.length > 0) countSteps(kernel, outcome.state.at, type);
}

export async function findOrder(kernel: Kernel, id: string): Promise<OrderView | undefined> {
  const row = await kernel.store.get<Document<Order>>(partitionOf(collections.orders, id), key('order', id));
  return row?.body.state.placed && viewOf(row.body.state);
}

export async function cancelOrder(kernel: Kernel, id: string): Promise<OrderView | Refusal> {
  const outcome = await execute(kernel, orders, { id, command: { do: 'cancel', at: timestamp(kernel.clock.now()) } }, {});
  return isRefusal(outcome) ? outcome : viewOf(outcome.state);
}

// ---------------------------------------------------------------- placing

/** The ids whose first request this process is still working at. Two opened stores in one process are as two processes. */
const inFlights = new WeakMap<Kernel['store'], Set<string>>();

/**
 * Places an order at the prices that Product publishes at this moment. With an Idempotency-Key the id is derived from it, so that two requests can never make two
 * orders: the same request again gets the first answer, another one under the same key is refused (422), and one that comes while the first is under way, too (409).
 */
export async function placeOrder(kernel: Kernel, request: PlaceOrder, idempotencyKey: string | undefined): Promise<OrderView | Refusal> {
  if (idempotencyKey === undefined) return placeAs(kernel, kernel.ids.random(), request);
  const id = derivedId(kernel.secret, idempotencyKey);
  const inFlight = inFlights.get(kernel.store) ?? new Set<string>();
  inFlights.set(kernel.store, inFlight);
  if (inFlight.has(id)) return refuse(409, 'in-flight', 'the first request with this Idempotency-Key is still under way');
  inFlight.add(id);
  try {
    return await placeAs(kernel, id, request);
  } finally {
    inFlight.delete(id);
  }
}

async function placeAs(kernel: Kernel, id: string, request: PlaceOrder): Promise<OrderView | Refusal> {
  const fingerprint = createHash('sha256').update(JSON.stringify(request)).digest('base64url');
  const known = await kernel.store.get<Document<Order>>(partitionOf(collections.orders, id), key('order', id));
  if (known?.body.state.fingerprint === fingerprint) return firstViewOf(known.body.state);
  const placed = await priced(kernel, id, request);
  if (isRefusal(placed)) return placed;
  try {
    const outcome = await execute(kernel, orders, { id, command: { do: 'place', order: placed, fingerprint } }, {});
    return isRefusal(outcome) ? outcome : firstViewOf(outcome.state);
  } catch (error) {
    if (isPortError(error, 'tooLarge')) return refuse(413, 'too-large', `an order must fit into ${limits.eventBytesMax} bytes`);
    throw error;
  }
}

/** Lines of one product become one; what Product does not publish cannot be ordered. */
async function priced(kernel: Kernel, orderId: string, { customer, address, lines }: PlaceOrder): Promise<OrderPlaced | Refusal> {
  const products = await kernel.published.products([...new Set(lines.map(({ sku }) => sku))]);
  const unknown: Complaint[] = lines.flatMap(({ sku }, i) => (products.has(sku) ? [] : [{ pointer: `/lines/${i}/sku`, detail: 'there is no such product' }]));
  if (unknown.length > 0) return refuse(422, 'unknown-product', 'the order names products that do not exist', unknown.slice(0, 100));
  const currency = products.get(lines[0]!.sku)!.price.currency;
  const mixed = lines.flatMap(({ sku }, i) => (products.get(sku)!.price.currency === currency ? [] : [{ pointer: `/lines/${i}/sku`, detail: `is not sold in ${currency}` }]));
  if (mixed.length > 0) return refuse(422, 'mixed-currencies', 'an order is in one currency', mixed.slice(0, 100));
  const merged = mergedLines(lines, products);
  if (reservedBytes(merged) > limits.eventBytesMax) return refuse(413, 'too-large', `an order must fit into ${limits.eventBytesMax} bytes when it is reserved`);
  const total = merged.reduce((sum, line) => sum + line.quantity * line.unitPrice, 0);
  if (total > 1e12 || merged.some((line) => line.quantity > quantityMax)) return refuse(422, 'too-much', `at most ${quantityMax} of one product and a total of 1e12`);
  return { orderId, placedAt: timestamp(kernel.clock.now()), customer, address, lines: merged, total: { amount: total, currency } };
}

/** What InventoryReserved will need at the most for these lines: an order that was accepted must never be too large to be reserved. */
const reservedBytes = (lines: readonly OrderLine[]): number => lines.reduce((sum, { sku }) => sum + sku.length + 90, 4_000);

function mergedLines(lines: PlaceOrder['lines'], products: ReadonlyMap<string, ProductView>): OrderLine[] {
  const quantities = new Map<string, number>();
  for (const { sku, quantity } of lines) quantities.set(sku, (quantities.get(sku) ?? 0) + quantity);
  return [...quantities].map(([sku, quantity]) => {
    const { name, price } = products.get(sku)!;
    return { sku, name, quantity, unitPrice: price.amount };
  });
}

/** 130 bits of HMAC-SHA256 in 26 letters: nobody can guess an order's id, nor derive it without the secret. */
function derivedId(secret: string, idempotencyKey: string): string {
  const alphabet = '0123456789abcdefghjkmnpqrstvwxyz';
  const bytes = createHmac('sha256', secret).update(idempotencyKey).digest();
  let bits = 0n;
  for (const byte of bytes.subarray(0, 17)) bits = (bits << 8n) | BigInt(byte);
  let id = '';
  for (let i = 0; i < 26; i++, bits >>= 5n) id += alphabet[Number(bits & 31n)];
  return id;
}
