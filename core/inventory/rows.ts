import { key, partitionOf, type Row, type ShipTo } from '../../ports/index.ts';
import { collections } from '../flow.ts';

/**
 * The rows of Inventory, and who stands where. Nothing is larger than a partition, yet an order is reserved whole or not at all; so it is cut into *parts*, one for
 * each shard of stock that its lines touch, and its one order row is the arbiter of all of them.
 */

export interface Line {
  readonly sku: string;
  readonly quantity: number;
}

/**
 * ```
 * (none) ──all covered──▶ taking ──all parts taken──▶ reserved ──all parts shipped──▶ shipped
 *   │                       │ short at a part
 *   └─some short─▶ queueing │        ▼
 *                     │     └──▶ undoing ──all parts fenced──▶ waiting ──all covered──▶ taking
 *                     └─────claims are in────────────────────────▲
 * any of them but shipped ──ShippingStopped──▶ cancelling ──▶ cancelled
 * ```
 *
 * There is no state between reserved and shipped, because nothing has to be fenced off there: no other driver takes or gives back parts of a reserved order, shipping
 * a part twice does nothing, and OrderFulfillment comes again until the order is shipped. It saves a commit for each order there is.
 */
export type OrderState = 'queueing' | 'taking' | 'undoing' | 'waiting' | 'reserved' | 'cancelling' | 'cancelled' | 'shipped';

/** `order|<id>`: the arbiter. A busy order (and a waiting one that has not looked again yet) has a row `open|<id>` beside it. */
export interface Order {
  readonly state: OrderState;
  /** Counts the attempts to take: a part of an older attempt means nothing to a newer one. */
  readonly epoch: number;
  /** RFC 3339, from OrderPlaced: with the id, the place in every queue. Never the time of receipt, or two queues could disagree and wait for each other. */
  readonly placedAt: string;
  /** One line a product. */
  readonly lines: readonly Line[];
  readonly shipTo: ShipTo | undefined;
  /** How many messages it has said. */
  readonly said: number;
  readonly saidBackordered: boolean;
  /** Milliseconds since 1970, of the last change. */
  readonly at: number;
}

/** `part|<id>|<chunk>` in a shard of stock. Only upwards: taken and released in one epoch, then in a later one, at last closed or shipped, and then for good. */
export interface PartState {
  readonly epoch: number;
  readonly state: 'idle' | 'taken' | 'released' | 'closed' | 'shipped';
  /** Products in whose queue the order stands. While the part is taken: those in which it stood, to be put back if it has to let go. */
  readonly claims: readonly string[];
  /**
   * Of each product when it was taken, or, once closed, when it was given back, in the order of the lines: what was left, and the version of the stock. Nothing needs
   * them after the order is reserved, but they tell whether Product has heard of it.
   */
  readonly levels: readonly (readonly [available: number, version: number])[];
}

/** `stock|<sku>`; `received = available + reserved + shipped` in every version. */
export interface Stock {
  readonly received: number;
  readonly available: number;
  readonly reserved: number;
  readonly shipped: number;
  /** How many claims stand in the queue of this product, and for how much. */
  readonly waiters: number;
  readonly waiting: number;
  /** Counts the commits of this row. */
  readonly version: number;
}

/** `wait|<sku>|<placedAt>|<id>`: a claim. It holds no stock; it only bars younger orders from what older ones need. */
export interface Claim {
  readonly orderId: string;
  readonly quantity: number;
}

export interface Part {
  readonly orderId: string;
  readonly placedAt: string;
  readonly partition: string;
  readonly key: string;
  readonly lines: readonly Line[];
}

export const emptyStock: Stock = { received: 0, available: 0, reserved: 0, shipped: 0, waiters: 0, waiting: 0, version: 0 };
export const untouched: PartState = { epoch: 0, state: 'idle', claims: [], levels: [] };

/** 1 part row, 45 stock rows, 45 claims and 2 messages are 93 rows of the 100 that a commit can have. */
export const linesPerPartMax = 45;

export const orderKey = (id: string): string => key('order', id);
export const stockKey = (sku: string): string => key('stock', sku);
export const claimKey = (sku: string, placedAt: string, orderId: string): string => key('wait', sku, placedAt, orderId);
export const queuePrefix = (sku: string): string => key('wait', sku, '');
export const orderPartition = (id: string): string => partitionOf(collections.invorder, id);
export const stockPartition = (sku: string): string => partitionOf(collections.stock, sku);

/** The parts of an order: a pure function of its lines, always in the same, ascending order, in which they are taken. So two orders never wait for each other in a ring. */
export function partsOf(orderId: string, { lines, placedAt }: Pick<Order, 'lines' | 'placedAt'>): Part[] {
  const shards = new Map<string, Line[]>();
  for (const line of lines) {
    const partition = stockPartition(line.sku);
    const known = shards.get(partition);
    if (known) known.push(line);
    else shards.set(partition, [line]);
  }
  const parts: Part[] = [];
  for (const [partition, all] of [...shards].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const sorted = all.length === 1 ? all : [...all].sort((a, b) => (a.sku < b.sku ? -1 : 1));
    for (let start = 0; start < sorted.length; start += linesPerPartMax) {
      parts.push({ orderId, placedAt, partition, key: key('part', orderId, start / linesPerPartMax), lines: sorted.slice(start, start + linesPerPartMax) });
    }
  }
  return parts;
}

export type OrderRow = Row<Order>;
