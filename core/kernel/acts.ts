import { create, isPortError, isTransient, key, partitionOf, partitionsOf, partsOf, remove, replace, timestamp, type Row } from '../../ports/index.ts';
import { collections } from '../flow.ts';
import { eachOf, list, rowsOf } from './list.ts';
import type { Kernel, Reply } from './service.ts';

/**
 * THE TRAIL OF ACTS: what people have changed through the admin API, with the token or at the console. A row is there before the act, or there is no act; afterwards it gets
 * the outcome. A process that ends in between leaves `begun`: then nobody knows whether it was done, and the row says so. An act that waits for its outcome is not held up
 * by the trail: if the outcome cannot be written, the one who acted gets his answer all the same, and the row stays `begun`.
 */
export interface Act {
  readonly who: string;
  /** The identity provider's own name for the person. */
  readonly subject?: string;
  readonly via: 'api' | 'console';
  readonly door: string;
  readonly params: Readonly<Record<string, string | undefined>>;
  /** The body, cut short. */
  readonly said?: string;
  readonly at: string;
  /** Absent: begun, and never heard of again. */
  readonly done?: { readonly at: string; readonly status: number };
}
export type Intended = Pick<Act, 'who' | 'subject' | 'via' | 'door' | 'params'> & { readonly said: unknown };

/** A year and a month: who looks back on a year finds all of it. */
export const actDaysMax = 400;
const day = 86_400_000;

const noun = 'act';
/** The newest first, in the order of keys; unique beyond its millisecond. */
const idOf = ({ clock, ids }: Kernel): string => `${idAt(clock.now())}-${ids.random()}`;
const idAt = (now: number): string => String(timesMax - now).padStart(14, '0');
const timesMax = 99_999_999_999_999;

/** Does the work, with a row before and an outcome after it. Throws, with nothing done, when the row cannot be written; and what the work throws. */
export async function recorded(kernel: Kernel, intended: Intended, work: () => Promise<Reply>): Promise<Reply> {
  const { said, ...rest } = intended;
  const at = timestamp(kernel.clock.now());
  const short = said === undefined ? undefined : shortened(said);
  const id = idOf(kernel);
  const rowKey = key(noun, id);
  const act: Act = { ...rest, ...(short === undefined ? {} : { said: short }), at };
  const { versions } = await kernel.store.commit(partitionOf(collections.dead, rowKey), { writes: [create(rowKey, act)] });
  const row: Row<Act> = { key: rowKey, version: versions[0]!, body: act };
  try {
    const reply = await work();
    await finish(kernel, row, reply.status);
    return reply;
  } catch (error) {
    await finish(kernel, row, statusOf(error));
    throw error;
  }
}

/** As the host answers what is thrown. */
const statusOf = (error: unknown): number => (isPortError(error, 'tooLarge') ? 413 : isTransient(error) ? 503 : 500);

async function finish(kernel: Kernel, row: Row<Act>, status: number): Promise<void> {
  try {
    await kernel.store.commit(partitionOf(collections.dead, row.key), { writes: [replace(row, { ...row.body, done: { at: timestamp(kernel.clock.now()), status } } satisfies Act)] });
  } catch (error) {
    kernel.log.warn({ error, door: row.body.door, status }, 'an act was done, and its outcome could not be written');
  }
}

const saidCharactersMax = 500;
const textCharactersMax = 120;
const entriesMax = 20;

/**
 * Enough to recognise what was meant. What lies deeper than two levels is left out: those are payloads, with names and addresses of customers in them; so is whatever is
 * called like a secret.
 */
export function shortened(body: unknown): string {
  const text = JSON.stringify(cut(body, 0)) ?? '';
  return clipped(text, saidCharactersMax);
}

function cut(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return clipped(value, textCharactersMax);
  if (typeof value !== 'object' || value === null) return value;
  if (depth >= 2) return '…';
  if (Array.isArray(value)) return value.slice(0, entriesMax).map((each) => cut(each, depth + 1));
  return Object.fromEntries(Object.entries(value).slice(0, entriesMax).map(([name, each]) => [name, /secret|token|passw|authori/i.test(name) ? '…' : cut(each, depth + 1)]));
}

/** Whole characters, never half of one. */
function clipped(text: string, most: number): string {
  if (text.length <= most) return text;
  const end = /[\ud800-\udbff]/.test(text[most - 2]!) ? most - 2 : most - 1;
  return `${text.slice(0, end)}…`;
}

export interface ActQuery {
  readonly limit: number;
  readonly after?: string;
  readonly who?: string;
  readonly door?: string;
}

/** The newest first. */
export async function acts({ store }: Pick<Kernel, 'store'>, { limit, after, who, door }: ActQuery): Promise<{ items: readonly (Act & { readonly id: string })[]; next?: string }> {
  const keep = (act: Act): boolean => (who === undefined || act.who === who) && (door === undefined || act.door === door);
  const { items, next } = await list<Act>(store, { collection: collections.dead, noun, limit, keep, ...(after === undefined ? {} : { after }) });
  return { items: items.map(({ key: rowKey, body }) => ({ id: partsOf(rowKey)[1]!, ...body })), ...(next === undefined ? {} : { next }) };
}

/** Drops acts older than `actDaysMax`, and of sessions and sign-ins what has ended. Answers how many rows. */
export async function forgetDesk(kernel: Kernel): Promise<number> {
  const now = kernel.clock.now();
  const oldest = idAt(now - actDaysMax * day);
  const ended = ({ body }: Row): boolean => (body as { readonly until: number }).until < now;
  let dropped = 0;
  await eachOf(partitionsOf(collections.dead), async (partition) => {
    dropped += await drop(kernel, partition, key(noun, ''), () => true, key(noun, oldest)); // what stands behind that one is older
    dropped += await drop(kernel, partition, key('session', ''), ended);
    dropped += await drop(kernel, partition, key('way', ''), ended);
  });
  return dropped;
}

const rowsAtOnce = 50;

async function drop({ store }: Kernel, partition: string, prefix: string, isOld: (row: Row) => boolean, after?: string): Promise<number> {
  let dropped = 0;
  let old: Row[] = [];
  const commit = async (): Promise<void> => {
    const rows = old;
    old = [];
    if (rows.length === 0) return;
    await store.commit(partition, { writes: rows.map(remove) }).then(() => (dropped += rows.length), (error: unknown) => {
      if (!isPortError(error, 'conflict')) throw error; // another instance forgets as well, or somebody renews it
    });
  };
  for await (const row of rowsOf(store, partition, prefix, 100, after)) if (isOld(row) && old.push(row) === rowsAtOnce) await commit();
  await commit();
  return dropped;
}
