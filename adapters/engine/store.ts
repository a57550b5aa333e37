import { PortError, type Query, type RawRow, type RawWrite } from '../../ports/index.ts';
import { createSortedKeys, type SortedKeys } from './sorted.ts';

/**
 * STORE ENGINE: what ports/store.ts promises, as a synchronous state machine without I/O and without a clock. Bodies are text, so nothing is shared by reference.
 *
 * - `commit` looks at every condition before it writes anything: all or nothing.
 * - A version is a number that only ever grows, over all rows of all partitions; so none returns, not even when a row is deleted and created again.
 * - A partition begins to exist when it is first written to.
 */
export interface StoreEngine {
  get(partition: string, key: string): RawRow | undefined;
  /** A full page, unless there is no more; `next` only if there is more. */
  query(partition: string, query: RawQuery): { rows: RawRow[]; next?: string };
  /** Answers the new versions in the order of the writes, '' for a delete. Throws `conflict` with the key of the first condition that does not hold. */
  commit(partition: string, writes: readonly RawWrite[]): string[];
  partitions(): string[];
}

export type RawQuery = Required<Pick<Query, 'prefix' | 'limit'>> & Query;

interface Partition {
  readonly rows: Map<string, RawRow>;
  readonly keys: SortedKeys;
}

export function createStoreEngine(): StoreEngine {
  const partitions = new Map<string, Partition>();
  let commits = 0;

  function opened(name: string): Partition {
    let partition = partitions.get(name);
    if (!partition) partitions.set(name, (partition = { rows: new Map(), keys: createSortedKeys() }));
    return partition;
  }

  return {
    get: (partition, key) => partitions.get(partition)?.rows.get(key),

    query(partition, query) {
      const found = partitions.get(partition);
      return found ? page(found, query) : { rows: [] };
    },

    commit(name, writes) {
      const partition = opened(name);
      for (const write of writes) demand(partition.rows.get(write.key), write);
      const version = (++commits).toString(36);
      return writes.map((write) => apply(partition, write, version));
    },

    partitions: () => [...partitions.keys()],
  };
}

function demand(row: RawRow | undefined, write: RawWrite): void {
  const holds = write.op === 'create' ? row === undefined : row?.version === write.version;
  if (!holds) throw new PortError('conflict', `${write.op} ${write.key}`, { key: write.key });
}

function apply({ rows, keys }: Partition, write: RawWrite, version: string): string {
  if (write.op === 'delete') {
    rows.delete(write.key);
    keys.delete(write.key);
    return '';
  }
  rows.set(write.key, { key: write.key, version, body: write.body });
  if (write.op === 'create') keys.add(write.key);
  return version;
}

/** The cursor is the last key of the page before. */
function page({ rows, keys }: Partition, { prefix, after, cursor, limit }: RawQuery): { rows: RawRow[]; next?: string } {
  const found: RawRow[] = [];
  let more = false;
  keys.scan(startOf(prefix, after, cursor), (key) => {
    if (!key.startsWith(prefix)) return false;
    more = found.length === limit;
    if (!more) found.push(rows.get(key)!);
    return !more;
  });
  return more ? { rows: found, next: found[found.length - 1]!.key } : { rows: found };
}

/** The highest of the bounds; `key + \0` is the next string behind a key. */
function startOf(prefix: string, after: string | undefined, cursor: string | undefined): string {
  let start = prefix;
  if (after !== undefined && after >= start) start = `${after}\0`;
  if (cursor !== undefined && cursor >= start) start = `${cursor}\0`;
  return start;
}
