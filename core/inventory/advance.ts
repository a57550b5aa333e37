import { Invalid, create, isPortError, key, must, put, remove, replace, timestamp, type Outgoing, type Row, type Write } from '../../ports/index.ts';
import type { OrderPlaced } from '../order/events.ts';
import { backOff, passOn } from '../kernel/execute.ts';
import { voiceOf, type Cause } from '../kernel/model.ts';
import type { Kernel } from '../kernel/service.ts';
import { orderKey, orderPartition, partsOf, type Order, type OrderRow, type Part, type PartState } from './rows.ts';
import { claim, close, look, release, ship, takeOrClaim, type Look } from './stock.ts';

/**
 * ADVANCE: brings an order as far as it can go, from whatever state it is found in. Any number of drivers may work at one order at once, and each may die at any
 * step: the order row decides once, the part rows make each effect happen once, and the row `open|<id>` makes sure that somebody comes back.
 *
 * - All lines or none. A waiting order holds nothing; it has its place, by age, in the queue of each product that it was short of.
 * - On a conflict or an unknown outcome the driver reads the order again: the two need no distinction, because the state decides.
 */
export type Reason =
  | { readonly why: 'placed'; readonly order: OrderPlaced }
  | { readonly why: 'cancelled' }
  | { readonly why: 'shipped' }
  /** Stock was freed, or nobody has worked at it for long: look again. */
  | { readonly why: 'wake' };

const say = voiceOf('inventory');
const triesMax = 30;

export async function advance(kernel: Kernel, orderId: string, reason: Reason, cause: Cause = {}): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      // What woke it may be of another order or of none: whatever is said of an order correlates with it alone.
      return await drive(kernel, orderId, reason, { ...cause, correlationid: orderId }, attempt === 1);
    } catch (error) {
      if (!isPortError(error, 'conflict', 'unavailable', 'throttled') || attempt === triesMax) throw error;
      await backOff(kernel, Math.min(attempt, 6), error);
    }
  }
}

async function drive(kernel: Kernel, orderId: string, reason: Reason, cause: Cause, first: boolean): Promise<void> {
  const driver = createDriver(kernel, orderId, cause);
  // An order that is placed is new, nearly always: it is not looked for first. If it is there, creating it is a conflict, and the second attempt looks.
  let order = first && reason.why === 'placed' ? await driver.accept(reason.order) : await driver.begin(reason);
  while (order) order = await driver.step(order);
}

/** One driver at one order: it remembers what it has just read and written, and relies on none of it, for every commit names the versions that it replaces. */
function createDriver(kernel: Kernel, orderId: string, cause: Cause) {
  const { store } = kernel;
  const partition = orderPartition(orderId);
  const openRowKey = key('open', orderId);

  /** What the reason itself does to the order; `undefined`: nothing is left to do. */
  async function begin(reason: Reason): Promise<OrderRow | undefined> {
    const found = await store.get<Order>(partition, orderKey(orderId));
    switch (reason.why) {
      case 'placed':
        return found ?? accept(reason.order);
      case 'cancelled':
        return cancel(found);
      case 'shipped':
        must(found, 'only a known order is shipped');
        return shipAll(found);
      case 'wake':
        return found;
    }
  }

  /** Nothing is touched in stock before the order is known here: so whatever a driver leaves behind can be found. */
  async function accept({ placedAt, lines, customer, address }: OrderPlaced): Promise<OrderRow> {
    if (new Set(lines.map(({ sku }) => sku)).size < lines.length) throw new Invalid(`${orderId} has two lines of one product`);
    const order: Order = {
      state: 'taking', epoch: 1, placedAt: timestamp(Date.parse(placedAt)), lines: lines.map(({ sku, quantity }) => ({ sku, quantity })), shipTo: { ...address, name: customer.name }, said: 0, saidBackordered: false, at: kernel.clock.now(),
    };
    const covered = (await lookAtAll(order, 'untouched')).every(({ short }) => short.length === 0);
    return write(undefined, { ...order, state: covered ? 'taking' : 'queueing' }, { busy: true });
  }

  async function cancel(found: OrderRow | undefined): Promise<OrderRow | undefined> {
    if (!found) {
      // It came before the order itself: when that comes, it finds this and ends quietly.
      const tombstone: Order = { state: 'cancelled', epoch: 0, placedAt: '', lines: [], shipTo: undefined, said: 0, saidBackordered: false, at: kernel.clock.now() };
      return write(undefined, tombstone, { busy: false });
    }
    const { state } = found.body;
    must(state !== 'shipped', 'Shipping stops nothing that it has shipped');
    return state === 'cancelled' || state === 'cancelling' ? found : write(found, { ...found.body, state: 'cancelling' }, { busy: true });
  }

  async function shipAll(row: OrderRow): Promise<OrderRow | undefined> {
    if (row.body.state === 'shipped') return undefined;
    must(row.body.state === 'reserved', 'only a reserved order is shipped');
    await Promise.all(partsOf(orderId, row.body).map((part) => ship(kernel, part, row.body.epoch)));
    await store.commit(partition, { writes: [replace(row, { ...row.body, state: 'shipped', at: kernel.clock.now() } satisfies Order)] });
    return undefined;
  }

  /** The one thing that the order's state asks for. */
  async function step(row: OrderRow): Promise<OrderRow | undefined> {
    switch (row.body.state) {
      case 'taking':
        return takeAll(row);
      case 'queueing':
        return queueUp(row);
      case 'undoing':
        return undo(row);
      case 'waiting':
        return lookAgain(row);
      case 'cancelling':
        // Letting go has no order among the parts, nor has shipping: nobody waits for one part while holding another.
        await Promise.all(partsOf(orderId, row.body).map((part) => close(kernel, part, cause)));
        return write(row, { ...row.body, state: 'cancelled' }, { busy: false });
      case 'reserved':
      case 'cancelled':
      case 'shipped':
        return undefined;
    }
  }

  async function takeAll(row: OrderRow): Promise<OrderRow> {
    const { epoch } = row.body;
    const parts = partsOf(orderId, row.body);
    const taken: PartState[] = [];
    for (const part of parts) {
      const now = await takeOrClaim(kernel, part, epoch);
      if (!now) return write(row, { ...row.body, state: 'undoing' }, { busy: true });
      taken.push(now);
    }
    return write(row, { ...row.body, state: 'reserved' }, { busy: false, says: [reserved(row.body, parts, taken)] });
  }

  /** Before it says Backordered the order has its place in at least one queue in which it was short; else a younger one could slip in between. */
  async function queueUp(row: OrderRow): Promise<OrderRow> {
    const all = await lookAtAll(row.body);
    const short = all.filter((seen) => seen.short.length > 0);
    if (short.length === 0) return write(row, { ...row.body, state: 'taking', epoch: row.body.epoch + 1 }, { busy: true });
    const found = await Promise.all(short.map((seen) => claim(kernel, seen)));
    // All that was short has come meanwhile: look again.
    return found.some(({ claims }) => claims > 0) ? toWaiting(row, short) : row;
  }

  async function undo(row: OrderRow): Promise<OrderRow> {
    for (const part of partsOf(orderId, row.body)) await release(kernel, part, row.body.epoch, cause);
    if (row.body.saidBackordered) return toWaiting(row, []);
    const all = await lookAtAll(row.body);
    // What was short has come meanwhile: nobody need be told anything.
    if (all.every(({ short }) => short.length === 0)) return write(row, { ...row.body, state: 'taking', epoch: row.body.epoch + 1 }, { busy: true });
    return toWaiting(row, all);
  }

  /** Still open: what was freed while it was busy has not been looked at yet. */
  function toWaiting(row: OrderRow, looked: readonly Look[]): Promise<OrderRow> {
    const says = row.body.saidBackordered ? [] : [backordered(row.body, looked)];
    return write(row, { ...row.body, state: 'waiting', saidBackordered: true }, { busy: true, says });
  }

  /** The look after coming to wait, and at every wake. It writes only what is news; so a wake that changes nothing wakes nobody. */
  async function lookAgain(row: OrderRow): Promise<OrderRow | undefined> {
    const open = await store.get(partition, openRowKey);
    const all = await lookAtAll(row.body);
    const short = all.filter((seen) => seen.short.length > 0);
    if (short.length === 0) return write(row, { ...row.body, state: 'taking', epoch: row.body.epoch + 1 }, { busy: true });
    for (const { seen, escalates } of newlyShort(all)) if ((await claim(kernel, seen, escalates)).missed) return row;
    if (open) await write(row, row.body, { busy: false });
    return undefined;
  }

  const lookAtAll = (order: Order, parts?: 'untouched'): Promise<Look[]> => Promise.all(partsOf(orderId, order).map((part) => look(store, part, parts)));

  /** Replaces the order row, and the open row with it. */
  async function write(row: OrderRow | undefined, order: Order, { busy, says = [] }: { busy: boolean; says?: readonly Outgoing[] }): Promise<OrderRow> {
    const body: Order = { ...order, said: order.said + says.length, at: kernel.clock.now() };
    const writes: Write[] = [put(row, orderKey(orderId), body), ...(await openWrites(row, busy))];
    const { versions, outbox } = await store.commit(partition, { writes, outgoing: says });
    openVersion = writes[1]?.op === 'create' ? versions[1] : writes[1]?.op === 'delete' ? undefined : openVersion;
    await passOn(kernel, outbox);
    return { key: orderKey(orderId), version: versions[0]!, body };
  }

  let openVersion: string | undefined;
  async function openWrites(row: OrderRow | undefined, busy: boolean): Promise<Write[]> {
    if (!row) return busy ? [create(openRowKey, { since: kernel.clock.now() })] : [];
    const open: Row | undefined = openVersion === undefined ? await store.get(partition, openRowKey) : { key: openRowKey, version: openVersion, body: undefined };
    if (busy) return open ? [] : [create(openRowKey, { since: kernel.clock.now() })];
    return open ? [remove(open)] : [];
  }

  function reserved(order: Order, parts: readonly Part[], taken: readonly PartState[]): Outgoing {
    const lines = parts.flatMap((part, n) =>
      part.lines.map(({ sku, quantity }, i) => {
        const [available, stockVersion] = taken[n]!.levels[i]!;
        return { sku, quantity, available, stockVersion };
      }),
    );
    must(order.shipTo, 'only a placed order is reserved');
    return say('InventoryReserved', { orderId, shipTo: order.shipTo, lines }, saying(order));
  }

  function backordered(order: Order, looked: readonly Look[]): Outgoing {
    const short = looked.flatMap((seen) => seen.short.map((each) => ({ ...each }))).slice(0, 20);
    return say('Backordered', { orderId, short }, saying(order));
  }

  const saying = (order: Order) => ({ subject: orderId, sequence: order.said, at: timestamp(kernel.clock.now()), cause });

  return { accept, begin, step };
}

/** From so many claims on, an order that is short of yet another product claims all its lines: then few more rounds end its wait. */
const escalateFrom = 3;

function newlyShort(all: readonly Look[]): { seen: Look; escalates: boolean }[] {
  const claims = all.reduce((sum, { state }) => sum + state.claims.length, 0);
  const news = all.some(({ state, short }) => short.some(({ sku }) => !state.claims.includes(sku)));
  if (!news) return [];
  const escalates = claims >= escalateFrom;
  return all.filter(({ short }) => escalates || short.length > 0).map((seen) => ({ seen, escalates }));
}
