import { createHash } from 'node:crypto';
import { isPortError, isTransient, key, partitionsOf, partsOf, refuse, type Refusal, type Collection, type Page, type Row, type Store } from '../../ports/index.ts';

/** All rows under a prefix in one partition, in the order of their keys, `limit` at a time, from behind the key `after` if it is told one. A page may be short, or even empty, and still not be the last. */
export async function* rowsOf<Body>(store: Pick<Store, 'query'>, partition: string, prefix: string, limit = 100, after?: string): AsyncGenerator<Row<Body>> {
  let cursor: string | undefined;
  do {
    const page: Page<Body> = await store.query<Body>(partition, { prefix, limit, ...(after === undefined ? {} : { after }), ...(cursor === undefined ? {} : { cursor }) });
    yield* page.rows;
    cursor = page.next;
  } while (cursor !== undefined);
}

/** Does the work for one partition after the other. One that fails keeps no other waiting; the first failure is thrown at the end. */
export async function eachOf(partitions: readonly string[], work: (partition: string) => Promise<void>): Promise<void> {
  const failures: unknown[] = [];
  for (const partition of partitions) await work(partition).catch((error: unknown) => failures.push(error));
  if (failures.length > 0) throw failures[0];
}

/**
 * Lists rows of one noun over all shards of a collection, in the order of their keys. For people, not for handlers: it costs a query a shard.
 * `keep` may turn rows away; `next` is the id behind which to go on.
 */
export interface Listing<Body> {
  readonly collection: Collection;
  readonly noun: string;
  readonly limit: number;
  /** The id behind which to begin. */
  readonly after?: string;
  readonly keep?: (body: Body, id: string) => boolean;
}

export async function list<Body>(store: Store, { collection, noun, limit, after, keep = () => true }: Listing<Body>): Promise<{ items: Row<Body>[]; next?: string }> {
  const prefix = key(noun, '');
  const from = after === undefined ? undefined : key(noun, after);
  const found = await Promise.all(partitionsOf(collection).map((partition) => some<Body>(store, partition, prefix, from, limit + 1, keep)));
  const rows = found.flat().sort((a, b) => (a.key < b.key ? -1 : 1));
  const items = rows.slice(0, limit);
  const last = items.at(-1);
  return rows.length > limit && last ? { items, next: partsOf(last.key)[1]! } : { items };
}

/** The first `count` rows of a partition that are kept. */
async function some<Body>(store: Store, partition: string, prefix: string, after: string | undefined, count: number, keep: (body: Body, id: string) => boolean): Promise<Row<Body>[]> {
  const kept: Row<Body>[] = [];
  let cursor: string | undefined;
  do {
    const page: { rows: readonly Row<Body>[]; next?: string } = await store.query<Body>(partition, { prefix, limit: Math.min(1_000, Math.max(count, 50)), ...(after === undefined ? {} : { after }), ...(cursor === undefined ? {} : { cursor }) });
    for (const row of page.rows) if (keep(row.body, row.key.slice(prefix.length))) kept.push(row);
    cursor = page.next;
  } while (cursor !== undefined && kept.length < count);
  return kept.slice(0, count);
}

/** A row that a person has to look at, wherever it lies. The same row always has the same id. */
export interface Finding<Body> extends Row<Body> {
  /** 16 hexadecimal digits. */
  readonly id: string;
  readonly partition: string;
}

const findingsMax = 10_000;
const partitionsAtOnce = 16;

/** The rows under a prefix in many partitions, `findingsMax` at most. For people, not for handlers. */
export async function findings<Body>(store: Store, partitions: readonly string[], prefix: string, keep: (body: Body) => boolean = () => true): Promise<Finding<Body>[]> {
  const found: Finding<Body>[] = [];
  for (let i = 0; i < partitions.length && found.length < findingsMax; i += partitionsAtOnce) {
    await Promise.all(
      partitions.slice(i, i + partitionsAtOnce).map(async (partition) => {
        found.push(...(await insist(() => findingsIn(store, partition, prefix, keep))));
      }),
    );
  }
  return found.slice(0, findingsMax);
}

async function findingsIn<Body>(store: Store, partition: string, prefix: string, keep: (body: Body) => boolean): Promise<Finding<Body>[]> {
  const found: Finding<Body>[] = [];
  for await (const row of rowsOf<Body>(store, partition, prefix)) {
    if (keep(row.body)) found.push({ ...row, partition, id: findingId(partition, row.key) });
    if (found.length >= findingsMax) break;
  }
  return found;
}

const readsMax = 5;

/** A read changes nothing, so it is tried again at once: else a person would see nothing because of one shard of many that has a bad moment. */
async function insist<Result>(read: () => Promise<Result>): Promise<Result> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await read();
    } catch (error) {
      if (!isTransient(error) || attempt === readsMax) throw error;
    }
  }
}

const findingId = (partition: string, rowKey: string): string => createHash('sha256').update(`${partition} ${rowKey}`).digest('hex').slice(0, 16);

/** A conflict means that somebody else was faster; anything else is thrown. */
export function changedMeanwhile(error: unknown): Refusal {
  if (!isPortError(error, 'conflict')) throw error;
  return refuse(409, 'changed-meanwhile', 'it has changed meanwhile; look again');
}
