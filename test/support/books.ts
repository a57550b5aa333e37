import { expect } from 'chai';
import { partsOf, type Message, type RawWrite } from '../../ports/index.ts';
import { events, isEventName } from '../../core/flow.ts';
import { emptyStock, partsOf as cut, type Claim, type Order, type Part, type PartState, type Stock } from '../../core/inventory/rows.ts';

/**
 * THE BOOKS of Inventory, kept by an auditor who sees every commit and nothing else. After each one he checks everything that has to hold at every moment; his own
 * arithmetic is done anew from parts, claims and receipts, so an error of the service is not repeated here. What a commit does not touch, it cannot have changed: checked
 * are the products and orders that it touches, so that the books can also be kept of thousands of orders; `checkAll` checks everything.
 */
export interface Books {
  readonly orders: ReadonlyMap<string, Order>;
  readonly stocks: ReadonlyMap<string, Stock>;
  /** What was said, in the order of the commits. */
  readonly said: readonly Message[];
  readonly open: ReadonlySet<string>;
  commits(): number;
  /** Commits in which several works had a share. */
  shared(): number;
  rowsMax(): number;
  note(partition: string, writes: readonly RawWrite[]): void;
  /** What is left of a product for an order, beyond all elder claims. */
  free(sku: string, orderId: string): number;
  claimsOf(orderId: string): string[];
  partsOf(orderId: string): PartState[];
  words(orderId: string): string[];
  checkAll(): void;
}

interface Place {
  readonly sku: string;
  readonly placedAt: string;
  readonly orderId: string;
  readonly quantity: number;
}

const rank = { idle: 0, taken: 1, released: 2, closed: 3, shipped: 3 } as const;

export function createBooks(): Books {
  const orders = new Map<string, Order>();
  const stocks = new Map<string, Stock>();
  const parts = new Map<string, PartState>();
  const cuts = new Map<string, readonly Part[]>();
  /** The lines of all orders, by product: in which part each stands. */
  const lines = new Map<string, { readonly part: string; readonly quantity: number }[]>();
  /** By product, and of those the row keys by order. */
  const claims = new Map<string, Map<string, Place>>();
  const filed = new Map<string, Set<string>>();
  const received = new Map<string, number>();
  /** `sku version` → available, of all times. */
  const history = new Map<string, number>();
  const said: Message[] = [];
  const told = new Map<string, string[]>();
  const ids = new Set<string>();
  const open = new Set<string>();
  let commits = 0;
  let shared = 0;
  let rowsMax = 0;

  const partAt = (partition: string, rowKey: string): string => `${partition} ${rowKey}`;
  const mine = (orderId: string): PartState[] => (cuts.get(orderId) ?? []).map((part) => parts.get(partAt(part.partition, part.key)) ?? idle);
  const idle: PartState = { epoch: 0, state: 'idle', claims: [], levels: [] };
  const claimsOn = (sku: string): Map<string, Place> => claims.get(sku) ?? new Map<string, Place>();

  /** Its lines never change. */
  function setOrder(orderId: string, order: Order): void {
    expect(cuts.has(orderId) && order.lines.length !== orders.get(orderId)!.lines.length, `${orderId} keeps its lines`).to.equal(false);
    orders.set(orderId, order);
    if (cuts.has(orderId)) return;
    cuts.set(orderId, cut(orderId, order));
    for (const part of cuts.get(orderId)!) {
      for (const { sku, quantity } of part.lines) lines.set(sku, [...(lines.get(sku) ?? []), { part: partAt(part.partition, part.key), quantity }]);
    }
  }

  function setClaim(rowKey: string, place: Place | undefined): void {
    const [, sku = '', , orderId = ''] = partsOf(rowKey);
    if (!claims.has(sku)) claims.set(sku, new Map());
    if (!filed.has(orderId)) filed.set(orderId, new Set());
    if (place) claims.get(sku)!.set(rowKey, place);
    else claims.get(sku)!.delete(rowKey);
    if (place) filed.get(orderId)!.add(rowKey);
    else filed.get(orderId)!.delete(rowKey);
  }

  function write(partition: string, { op, key: rowKey, ...rest }: RawWrite): void {
    const [noun = '', a = '', b = '', c = ''] = partsOf(rowKey);
    const body: unknown = 'body' in rest ? JSON.parse(rest.body) : undefined;
    switch (noun) {
      case 'order':
        setOrder(a, body as Order);
        break;
      case 'open':
        if (op === 'delete') open.delete(a);
        else open.add(a);
        break;
      case 'stock':
        setStock(a, body as Stock);
        break;
      case 'part':
        expect(op, 'a part row lives on').not.to.equal('delete');
        setPart(partAt(partition, rowKey), body as PartState);
        break;
      case 'wait':
        setClaim(rowKey, op === 'delete' ? undefined : { sku: a, placedAt: b, ...(body as Claim) });
        expect(c, 'a claim is filed under its order').to.equal(claimsOn(a).get(rowKey)?.orderId ?? c);
        break;
      case 'receipt':
        expect(op, 'a receipt is counted once').to.equal('create');
        received.set(a, (received.get(a) ?? 0) + (body as { quantity: number }).quantity);
        break;
      case 'outbox':
        if (op === 'create') say((body as { message: Message }).message);
        break;
      default:
        throw new Error(`no row of Inventory: ${rowKey}`);
    }
  }

  function setStock(sku: string, stock: Stock): void {
    expect(stock.version, 'the version of the stock only grows').to.be.greaterThan(stocks.get(sku)?.version ?? 0);
    stocks.set(sku, stock);
    history.set(`${sku} ${stock.version}`, stock.available);
  }

  function setPart(at: string, next: PartState): void {
    const before = parts.get(at) ?? idle;
    const final = rank[before.state] === 3;
    const up = next.epoch > before.epoch ? before.state !== 'taken' : next.epoch === before.epoch && rank[next.state] >= rank[before.state];
    expect(up && (!final || next.state === before.state), `a part only goes upwards: ${before.epoch} ${before.state} → ${next.epoch} ${next.state}`).to.equal(true);
    parts.set(at, next);
  }

  function say(message: Message): void {
    expect(isEventName(message.type) && events[message.type].shape.safeParse(message.data).success, `${message.type} has its shape`).to.equal(true);
    expect(ids.has(message.id), `${message.id} is said once`).to.equal(false);
    ids.add(message.id);
    said.push(message);
    told.set(message.subject, [...words(message.subject), message.type]);
  }

  /**
   * A part that becomes taken may take only what elder claims leave. Where several works share a commit, each must have come as if they had come one after the other:
   * their versions of the stock row tell the order. A new claim counts when it is certain that it came before.
   */
  function judgeTakes(taken: readonly Taken[], claimsBefore: ReadonlyMap<string, ReadonlySet<string>>, before: ReadonlyMap<string, Stock>, rises: ReadonlySet<string>): void {
    const known = new Set([...rises, ...taken.map(({ sku, version }) => `${sku} ${version}`)]);
    for (const { orderId, sku, available, version } of taken) {
      const unknown = numbers((before.get(sku)?.version ?? 0) + 1, stocks.get(sku)!.version).filter((each) => !known.has(`${sku} ${each}`));
      const newOnesCount = unknown.every((each) => each < version);
      const ticket = ticketOf({ orderId, placedAt: orders.get(orderId)!.placedAt });
      const elder = [...claimsOn(sku)].filter(([rowKey, claim]) => ticketOf(claim) < ticket && (newOnesCount || claimsBefore.get(sku)!.has(rowKey)));
      const left = elder.reduce((sum, [, { quantity }]) => sum - quantity, available);
      expect(left, `${orderId} takes ${sku} only beyond what elder claims need`).to.be.at.least(0);
    }
  }

  /** The lines of the parts that these writes have made taken, with what was left of each, at which version. */
  function takenBy(partition: string, writes: readonly RawWrite[]): Taken[] {
    return writes.flatMap((each) => {
      const [noun, orderId = ''] = partsOf(each.key);
      if (noun !== 'part' || each.op === 'delete' || parts.get(partAt(partition, each.key))?.state === 'taken') return [];
      const { state, levels } = JSON.parse(each.body) as PartState;
      const part = cuts.get(orderId)!.find((one) => one.partition === partition && one.key === each.key)!;
      return state === 'taken' ? part.lines.map(({ sku }, i) => ({ orderId, sku, available: levels[i]![0], version: levels[i]![1] })) : [];
    });
  }

  function free(sku: string, orderId: string): number {
    const ticket = ticketOf({ orderId, placedAt: orders.get(orderId)!.placedAt });
    let left = stocks.get(sku)?.available ?? 0;
    for (const claim of claimsOn(sku).values()) if (ticketOf(claim) < ticket) left -= claim.quantity;
    return left;
  }

  function checkStock(sku: string): void {
    const sums = { received: received.get(sku) ?? 0, reserved: 0, shipped: 0, waiters: 0, waiting: 0 };
    for (const { part, quantity } of lines.get(sku) ?? []) {
      const state = parts.get(part)?.state;
      if (state === 'taken') sums.reserved += quantity;
      if (state === 'shipped') sums.shipped += quantity;
    }
    for (const { quantity } of claimsOn(sku).values()) {
      sums.waiters += 1;
      sums.waiting += quantity;
    }
    const { available, version: _, ...stock } = stocks.get(sku)!;
    expect(stock, `the row of ${sku} is the sum of receipts, parts and claims`).to.deep.equal(sums);
    expect(available, `${sku}: received = available + reserved + shipped`).to.equal(stock.received - stock.reserved - stock.shipped);
    expect(available, `no unit of ${sku} is sold twice`).to.be.at.least(0);
  }

  function checkOrder(orderId: string, order: Order): void {
    const own = mine(orderId);
    const claimed = claimsOf(orderId);
    const remembered = own.flatMap((part) => (part.state === 'taken' ? [] : part.claims));
    const all = (...states: PartState['state'][]): boolean => own.every(({ state }) => states.includes(state));
    expect(claimed, `${orderId}: the claims are those that the parts know`).to.deep.equal([...remembered].sort());
    switch (order.state) {
      case 'waiting':
        expect(own.some(({ state }) => state === 'taken'), `${orderId} waits and holds nothing`).to.equal(false);
        expect(claimed.length, `${orderId} waits and has a place in a queue`).to.be.greaterThan(0);
        break;
      case 'reserved':
        expect(all('taken', 'shipped') && own.every(({ epoch }) => epoch === order.epoch), `${orderId} is reserved: all parts are taken, in this attempt`).to.equal(true);
        break;
      case 'shipped':
        expect(all('shipped'), `${orderId} is shipped: all parts are`).to.equal(true);
        break;
      case 'cancelled':
        expect(all('closed'), `${orderId} is cancelled: all parts are closed`).to.equal(true);
        break;
      default:
    }
    const resting = order.state === 'reserved' || order.state === 'shipped' || order.state === 'cancelled';
    if (resting) expect(claimed, `${orderId} is done and claims nothing`).to.deep.equal([]);
    if (order.state !== 'waiting') expect(open.has(orderId), `${orderId} is ${order.state}: it is open exactly while it is busy`).to.equal(!resting);
    expect(words(orderId).join(' '), `${orderId}: what it is told`).to.match(order.state === 'reserved' || order.state === 'shipped' ? /^(Backordered )?InventoryReserved$/ : /^(Backordered ?)?(InventoryReserved)?$/);
    if (['waiting', 'taking', 'undoing', 'queueing'].includes(order.state)) expect(words(orderId)).not.to.include('InventoryReserved');
    if (order.state === 'waiting') expect(words(orderId)).to.deep.equal(['Backordered']);
  }

  function words(orderId: string): string[] {
    return told.get(orderId) ?? [];
  }

  function claimsOf(orderId: string): string[] {
    return [...(filed.get(orderId) ?? [])].map((rowKey) => partsOf(rowKey)[1]!).sort();
  }

  /** Whoever listens keeps the highest version of each product, so each must be true, and none of a rise may be missing. */
  function checkLevels(messages: readonly Message[], before: ReadonlyMap<string, Stock>): void {
    const named = new Set<string>();
    for (const { type, data } of messages) {
      const levels = type === 'StockChanged' ? (data as { levels: Level[] }).levels : type === 'InventoryReserved' ? (data as { lines: Level[] }).lines : [];
      for (const { sku, available, stockVersion } of levels) {
        // A version that was never stored: a neighbour has changed the row again in the same commit.
        const between = !history.has(`${sku} ${stockVersion}`) && stockVersion < stocks.get(sku)!.version && stockVersion > (before.get(sku)?.version ?? 0);
        if (!between) expect(history.get(`${sku} ${stockVersion}`), `the level of ${sku} was so at version ${stockVersion}`).to.equal(available);
        named.add(sku);
      }
    }
    for (const [sku, { available }] of before) if ((stocks.get(sku) ?? emptyStock).available > available) expect(named.has(sku), `a rise of ${sku} is said`).to.equal(true);
  }

  return {
    orders,
    stocks,
    said,
    open,
    free,
    words,
    commits: () => commits,
    shared: () => shared,
    rowsMax: () => rowsMax,
    claimsOf,
    partsOf: mine,
    checkAll() {
      for (const sku of stocks.keys()) checkStock(sku);
      for (const [orderId, order] of orders) checkOrder(orderId, order);
    },
    note(partition, writes) {
      commits++;
      rowsMax = Math.max(rowsMax, writes.length);
      const keys = writes.map((each) => partsOf(each.key));
      const touched = new Set(keys.flatMap(([noun, sku = '']) => (noun === 'stock' || noun === 'wait' || noun === 'receipt' ? [sku] : [])));
      const concerned = new Set(keys.flatMap(([noun, a = '', , c = '']) => (noun === 'wait' ? [c] : noun === 'stock' || noun === 'receipt' ? [] : [a])));
      // A part that changes concerns all its products, whether their rows are written or not.
      for (const { key: rowKey } of writes) {
        const part = cuts.get(partsOf(rowKey)[1]!)?.find((each) => each.partition === partition && each.key === rowKey);
        for (const { sku } of part?.lines ?? []) touched.add(sku);
      }
      const before = new Map([...touched].map((sku) => [sku, stocks.get(sku) ?? emptyStock]));
      const spoken = said.length;
      const taken = takenBy(partition, writes);
      const claimsBefore = new Map(taken.map(({ sku }) => [sku, new Set(claimsOn(sku).keys())]));
      if (writes.filter(({ key: rowKey }) => /^(part|receipt)\|/.test(rowKey)).length > 1) shared++;
      for (const each of writes) write(partition, each);
      const rises = said.slice(spoken).flatMap(({ type, data }) => (type === 'StockChanged' ? (data as { levels: Level[] }).levels : []));
      judgeTakes(taken, claimsBefore, before, new Set(rises.map(({ sku, stockVersion }) => `${sku} ${stockVersion}`)));
      for (const sku of touched) if (stocks.has(sku) || received.has(sku) || claimsOn(sku).size > 0) checkStock(sku);
      for (const orderId of concerned) if (orders.has(orderId)) checkOrder(orderId, orders.get(orderId)!);
      checkLevels(said.slice(spoken), before);
    },
  };
}

interface Taken {
  readonly orderId: string;
  readonly sku: string;
  readonly available: number;
  readonly version: number;
}

const ticketOf = ({ placedAt, orderId }: Pick<Place, 'placedAt' | 'orderId'>): string => `${placedAt} ${orderId}`;
const numbers = (from: number, to: number): number[] => Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => from + i);

interface Level {
  readonly sku: string;
  readonly available: number;
  readonly stockVersion: number;
}
