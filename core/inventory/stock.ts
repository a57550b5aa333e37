import {
  PortError, create, isPortError, key, must, put, refuse, remove, replace, timestamp,
  type Outgoing, type Refusal, type Row, type Write,
} from '../../ports/index.ts';
import { backOff, passOn } from '../kernel/execute.ts';
import { rowsOf } from '../kernel/list.ts';
import { causeHere, voiceOf, type Cause } from '../kernel/model.ts';
import type { Kernel } from '../kernel/service.ts';
import { inTurn, type Change, type Done, type Reader } from '../kernel/turns.ts';
import type { StockView } from './events.ts';
import {
  claimKey, emptyStock, queuePrefix, stockKey, stockPartition, untouched,
  type Claim, type Line, type Part, type PartState, type Stock,
} from './rows.ts';

/**
 * STOCK: what can be done to one part of an order, each in one commit of one shard. The part row makes each effect happen once, however often it is asked for.
 * `take` and `claim` judge by the very versions of the rows that they replace.
 */

const say = voiceOf('inventory');

/** A part as it was read, and whether each line of it could be taken now. */
export interface Look {
  readonly part: Part;
  readonly row: Row<PartState> | undefined;
  readonly state: PartState;
  readonly stocks: readonly (Row<Stock> | undefined)[];
  /** In the order of the part's lines: units that are free for this order, if that is less than it needs. */
  readonly short: readonly { readonly sku: string; readonly needed: number; readonly free: number }[];
}

/** Another driver is further than we thought. It is a conflict like any other: the order is read again. */
export const overtaken = (part: Part, why: string): PortError => new PortError('conflict', why, { key: part.key });

/** `untouched` spares a read where nobody can have touched the part, because its order is not known yet. Wrong or right, the commit demands that it is so. */
export async function look(store: Reader, part: Part, known?: 'untouched'): Promise<Look> {
  const row = known ? undefined : await store.get<PartState>(part.partition, part.key);
  const state = row?.body ?? untouched;
  const stocks = await stocksOf(store, part.partition, part.lines);
  // The queues are read after the stock rows: the other way round an old queue would be judged with a new row, and an elder claim overlooked.
  const short = await Promise.all(part.lines.map((line, i) => shortage(store, part, line, stocks[i]?.body ?? emptyStock, state.claims.includes(line.sku))));
  return { part, row, state, stocks, short: short.filter((each) => each !== undefined) };
}

/** In the order of the lines. A read a line, all at once: a query over the shard would bring five times as many rows as the largest part has. */
const stocksOf = (store: Reader, partition: string, lines: readonly Line[]): Promise<(Row<Stock> | undefined)[]> =>
  Promise.all(lines.map(({ sku }) => store.get<Stock>(partition, stockKey(sku))));

/** A line is covered when enough is left beyond all *elder* claims. Most of the time the sums on the row tell, and the queue need not be read. */
async function shortage(store: Reader, part: Part, { sku, quantity }: Line, { available, waiting }: Stock, claimed: boolean): Promise<Look['short'][number] | undefined> {
  if (available < quantity) return { sku, needed: quantity, free: available };
  if (available - (waiting - (claimed ? quantity : 0)) >= quantity) return undefined;
  let free = available;
  const own = claimKey(sku, part.placedAt, part.orderId);
  for await (const claim of queueOf(store, part.partition, sku)) {
    if (claim.key >= own) break;
    free -= claim.body.quantity;
    if (free < quantity) return { sku, needed: quantity, free: Math.max(0, free) };
  }
  return undefined;
}

/** The claims on a product, eldest first. */
export const queueOf = (store: Reader, partition: string, sku: string): AsyncGenerator<Row<Claim>> => rowsOf<Claim>(store, partition, queuePrefix(sku));

/**
 * Takes all lines of the part, or, when some are short, puts the order into their queues; `undefined`: it was short. What is judged is judged in the turn that commits it.
 */
export async function takeOrClaim(kernel: Kernel, part: Part, epoch: number): Promise<PartState | undefined> {
  const { result } = await inTurnOf<PartState | undefined>(kernel, part, async (reader) => {
    const seen = await look(reader, part);
    const { state, short } = seen;
    if (isFinal(state) || state.epoch > epoch || (state.epoch === epoch && state.state === 'released')) throw overtaken(part, 'this attempt is over');
    must(state.state !== 'taken' || state.epoch === epoch, 'an attempt that is over holds nothing');
    if (state.state === 'taken') return { result: state };
    if (short.length === 0) return taking(reader, seen, epoch);
    return { result: undefined, writes: claiming(seen, short.map(({ sku }) => sku)) };
  });
  return result;
}

/** All lines of a covered part: from available to reserved, and out of the queues. */
async function taking(reader: Reader, { part, row, state, stocks }: Look, epoch: number): Promise<Change<PartState>> {
  const claims = await ownClaims(reader, part, state.claims);
  const writes: Write[] = [];
  const levels: (readonly [number, number])[] = [];
  part.lines.forEach(({ sku, quantity }, i) => {
    const stock = stocks[i]!;
    const claim = claims.get(sku);
    const next = { ...stock.body, available: stock.body.available - quantity, reserved: stock.body.reserved + quantity, version: stock.body.version + 1, ...queueLess(stock.body, claim) };
    must(next.available >= 0, 'no unit is sold twice');
    writes.push(replace(stock, next));
    if (claim) writes.push(remove(claim));
    levels.push([next.available, next.version]);
  });
  const taken: PartState = { epoch, state: 'taken', claims: state.claims, levels };
  return { result: taken, writes: [put(row, part.key, taken), ...writes] };
}

/**
 * Puts the order into the queue of each product that it was seen to lack and still lacks, or of `all` products of the part. Refused once the part has moved on: a late
 * driver must not claim what its own order has taken. `missed`: something has come since it was seen, and whoever was woken by it, it was not this order: look again.
 */
export async function claim(kernel: Kernel, seen: Look, all = false): Promise<{ claims: number; missed: boolean }> {
  const { result } = await inTurnOf(kernel, seen.part, async (reader) => {
    const now = await look(reader, seen.part);
    const { state } = now;
    if (state.state === 'taken' || isFinal(state)) throw overtaken(seen.part, 'the part is taken, closed or shipped');
    const still = seen.short.filter(({ sku }) => now.short.some((each) => each.sku === sku));
    const wanted = (all ? seen.part.lines : still).map(({ sku }) => sku).filter((sku) => !state.claims.includes(sku));
    const result = { claims: state.claims.length + wanted.length, missed: still.length < seen.short.length };
    return { result, writes: wanted.length === 0 ? [] : claiming(now, wanted) };
  });
  return result;
}

function claiming({ part, row, state, stocks }: Look, skus: readonly string[]): Write[] {
  const fresh = skus.filter((sku) => !state.claims.includes(sku));
  const next: PartState = { ...state, claims: [...state.claims, ...fresh] };
  const writes: Write[] = [put(row, part.key, next)];
  part.lines.forEach((line, i) => {
    if (!fresh.includes(line.sku)) return;
    const stock = stocks[i];
    const body = stock?.body ?? emptyStock;
    writes.push(put(stock, stockKey(line.sku), { ...body, ...queueMore(body, line), version: body.version + 1 }), claimOf(part, line));
  });
  return writes;
}

/**
 * Ends an attempt at this part: what it took goes back, the claims it gave up come back. A part that was never reached is fenced as well, so that a driver that slept
 * cannot take it afterwards.
 */
export function release(kernel: Kernel, part: Part, epoch: number, cause: Cause): Promise<void> {
  return giveBack(kernel, part, cause, (state) => (state.epoch > epoch || isFinal(state) || (state.epoch === epoch && state.state === 'released') ? undefined : { ...state, epoch, state: 'released', levels: [] }));
}

/** Ends this part for good: stock goes back, claims go away; untouched, it leaves a tombstone. */
export function close(kernel: Kernel, part: Part, cause: Cause): Promise<void> {
  return giveBack(kernel, part, cause, (state) => {
    must(state.state !== 'shipped', 'what has been shipped cannot be cancelled');
    return state.state === 'closed' ? undefined : { ...state, state: 'closed', claims: [], levels: [] };
  });
}

async function giveBack(kernel: Kernel, part: Part, cause: Cause, becomes: (state: PartState) => PartState | undefined): Promise<void> {
  const { outbox } = await inTurnOf(kernel, part, (reader) => givingBack(kernel, reader, part, cause, becomes));
  await passOn(kernel, outbox);
}

async function givingBack(kernel: Kernel, reader: Reader, part: Part, cause: Cause, becomes: (state: PartState) => PartState | undefined): Promise<Change<void>> {
  const row = await reader.get<PartState>(part.partition, part.key);
  const state = row?.body ?? untouched;
  const next = becomes(state);
  if (!next) return { result: undefined };
  const wasTaken = state.state === 'taken';
  const closing = next.state === 'closed';
  const touched = part.lines.filter(({ sku }) => wasTaken || (closing && state.claims.includes(sku)));
  const stocks = await stocksOf(reader, part.partition, touched);
  const claims = closing && !wasTaken ? await ownClaims(reader, part, state.claims) : new Map<string, Row<Claim>>();
  const writes: Write[] = [];
  const levels: { sku: string; available: number; stockVersion: number }[] = [];
  const freed: string[] = [];
  touched.forEach((line, i) => {
    const stock = stocks[i]!;
    const back = wasTaken ? { available: stock.body.available + line.quantity, reserved: stock.body.reserved - line.quantity } : {};
    const rejoins = wasTaken && !closing && state.claims.includes(line.sku);
    const leaves = claims.get(line.sku);
    const queue = rejoins ? queueMore(stock.body, line) : queueLess(stock.body, leaves);
    const body: Stock = { ...stock.body, ...back, ...queue, version: stock.body.version + 1 };
    writes.push(replace(stock, body));
    if (rejoins) writes.push(claimOf(part, line));
    if (leaves) writes.push(remove(leaves));
    if (wasTaken) levels.push({ sku: line.sku, available: body.available, stockVersion: body.version });
    // Others may be lucky now: because something came back, or because an elder claim no longer bars them.
    if (body.waiters > (rejoins ? 1 : 0)) freed.push(line.sku);
  });
  const given: PartState = closing ? { ...next, levels: levels.map(({ available, stockVersion }) => [available, stockVersion]) } : next;
  return { result: undefined, writes: [put(row, part.key, given), ...writes], outgoing: changes(kernel, levels, freed, versionOf(touched[0], stocks[0]), cause) };
}

/** All lines of a part that was reserved in this attempt: from reserved to shipped. */
export async function ship(kernel: Kernel, part: Part, epoch: number): Promise<void> {
  await inTurnOf(kernel, part, (reader) => shipping(reader, part, epoch));
}

async function shipping(reader: Reader, part: Part, epoch: number): Promise<Change<void>> {
  const row = await reader.get<PartState>(part.partition, part.key);
  if (row?.body.state === 'shipped') return { result: undefined };
  must(row?.body.state === 'taken' && row.body.epoch === epoch, 'only what is reserved is shipped');
  const stocks = await stocksOf(reader, part.partition, part.lines);
  const writes: Write[] = [replace(row, { ...row.body, state: 'shipped', claims: [] } satisfies PartState)];
  part.lines.forEach(({ quantity }, i) => {
    const { body } = stocks[i]!;
    writes.push(replace(stocks[i]!, { ...body, reserved: body.reserved - quantity, shipped: body.shipped + quantity, version: body.version + 1 } satisfies Stock));
  });
  return { result: undefined, writes };
}

/** The part's turn in its shard, with its rows at hand. */
function inTurnOf<T>(kernel: Kernel, part: Part, run: (reader: Reader) => Promise<Change<T>>): Promise<Done<T>> {
  return inTurn(kernel.store, part.partition, { keys: [part.key, ...part.lines.map(({ sku }) => stockKey(sku))], run });
}

export const isFinal = ({ state }: PartState): boolean => state === 'closed' || state === 'shipped';

const claimOf = (part: Part, { sku, quantity }: Line): Write => create(claimKey(sku, part.placedAt, part.orderId), { orderId: part.orderId, quantity } satisfies Claim);
const queueMore = (stock: Stock, { quantity }: Line): Pick<Stock, 'waiters' | 'waiting'> => ({ waiters: stock.waiters + 1, waiting: stock.waiting + quantity });
const queueLess = (stock: Stock, left: Row<Claim> | undefined): Pick<Stock, 'waiters' | 'waiting'> =>
  left ? { waiters: stock.waiters - 1, waiting: stock.waiting - left.body.quantity } : { waiters: stock.waiters, waiting: stock.waiting };
const versionOf = (line: Line | undefined, stock: Row<Stock> | undefined): { sku: string; version: number } => ({ sku: line?.sku ?? '', version: (stock?.body.version ?? 0) + 1 });

/** The rows of the order's own claims in this part. One that is gone was removed by somebody who has gone on: the commit that counts on it would fail anyway. */
async function ownClaims(store: Reader, part: Part, skus: readonly string[]): Promise<Map<string, Row<Claim>>> {
  if (skus.length === 0) return new Map();
  const rows = await Promise.all(skus.map((sku) => store.get<Claim>(part.partition, claimKey(sku, part.placedAt, part.orderId))));
  if (rows.some((row) => row === undefined)) throw overtaken(part, 'a claim has been removed meanwhile');
  return new Map(rows.map((row, i) => [skus[i]!, row!]));
}

function changes(kernel: Kernel, levels: readonly { sku: string; available: number; stockVersion: number }[], freed: readonly string[], first: { sku: string; version: number }, cause: Cause): Outgoing[] {
  const at = { subject: first.sku, sequence: first.version, at: timestamp(kernel.clock.now()), cause };
  return [
    ...(levels.length === 0 ? [] : [say('StockChanged', { levels: [...levels] }, at)]),
    ...(freed.length === 0 ? [] : [say('StockFreed', { skus: [...freed] }, at)]),
  ];
}

// ---------------------------------------------------------------- receipts

const receivedMax = 1_000_000_000_000;

interface Receipt {
  readonly quantity: number;
  readonly answer: StockView;
}

/**
 * Stock has arrived. Under one key it is counted once: the same receipt again gets the first answer, another one is refused. The memory of it is a row in the commit
 * that counts it, and stays.
 */
export async function receiveStock(kernel: Kernel, sku: string, quantity: number, idempotencyKey?: string): Promise<StockView | Refusal> {
  const partition = stockPartition(sku);
  // In base 64, because a key of 255 special characters would outgrow the row's key when each is encoded.
  const receiptKey = key('receipt', sku, Buffer.from(idempotencyKey ?? kernel.ids.random()).toString('base64url'));
  const cause = causeHere(kernel, {});
  for (let attempt = 1; ; attempt++) {
    try {
      const { result, outbox } = await inTurn(kernel.store, partition, { keys: [receiptKey, stockKey(sku)], run: (reader) => receiving(kernel, reader, { sku, quantity, receiptKey, cause }) });
      await passOn(kernel, outbox);
      return result;
    } catch (error) {
      if (!isPortError(error, 'conflict', 'unavailable', 'throttled') || attempt === receiptTriesMax) throw error;
      await backOff(kernel, attempt, error);
    }
  }
}

interface Receiving {
  readonly sku: string;
  readonly quantity: number;
  readonly receiptKey: string;
  readonly cause: Cause;
}

async function receiving(kernel: Kernel, reader: Reader, { sku, quantity, receiptKey, cause }: Receiving): Promise<Change<StockView | Refusal>> {
  const partition = stockPartition(sku);
  const known = await reader.get<Receipt>(partition, receiptKey);
  if (known) return { result: known.body.quantity === quantity ? known.body.answer : refuse(422, 'idempotency-key-reused', 'this Idempotency-Key has counted another receipt') };
  const stock = await reader.get<Stock>(partition, stockKey(sku));
  const before = stock?.body ?? emptyStock;
  if (before.received + quantity > receivedMax) return { result: refuse(422, 'too-much', `at most ${receivedMax} of a product`) };
  const body: Stock = { ...before, received: before.received + quantity, available: before.available + quantity, version: before.version + 1 };
  const answer = viewOf(sku, body);
  const level = { sku, available: body.available, stockVersion: body.version };
  return {
    result: answer,
    writes: [put(stock, stockKey(sku), body), create(receiptKey, { quantity, answer } satisfies Receipt)],
    outgoing: changes(kernel, [level], body.waiters > 0 ? [sku] : [], { sku, version: body.version }, cause),
  };
}
const receiptTriesMax = 30;

export async function findStock(store: Reader, sku: string): Promise<StockView> {
  const row = await store.get<Stock>(stockPartition(sku), stockKey(sku));
  return viewOf(sku, row?.body ?? emptyStock);
}

const viewOf = (sku: string, { received, available, reserved, shipped }: Stock): StockView => ({ sku, received, available, reserved, shipped });
