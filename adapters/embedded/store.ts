import { PortError, type RawRow, type RawWrite, type StoreDriver } from '../../ports/index.ts';
import type { Database } from './database.ts';

/**
 * The store in SQLite. A commit first checks all its conditions and then writes, so a conflict has nothing to undo.
 *
 * Versions are numbers that never return, not even after a row was deleted and made again, or after a crash.
 * Keys are compared as UTF-8, which is the order of code units for all keys that `key()` makes: it leaves no surrogates in them.
 */
export function openStoreDriver(database: Database): StoreDriver {
  const rowOf = database.prepare<{ version: number; body: string }>('select version, body from rows where partition = ? and key = ?');
  const versionOf = database.prepare<Found>('select id, version from rows where partition = ? and key = ?');
  const insert = database.prepare('insert into rows (partition, key, version, body) values (?, ?, ?, ?)');
  const update = database.prepare('update rows set version = ?, body = ? where id = ?');
  const erase = database.prepare('delete from rows where id = ?');
  const columns = 'select key, version, body from rows where partition = ?';
  const from = database.prepare<Stored>(`${columns} and key >= ? and key < ? order by key limit ?`);
  const behind = database.prepare<Stored>(`${columns} and key > ? and key < ? order by key limit ?`);

  function check(partition: string, write: RawWrite): Found | undefined {
    const found = versionOf.get(partition, write.key);
    const holds = write.op === 'create' ? found === undefined : found !== undefined && String(found.version) === write.version;
    if (!holds) throw new PortError('conflict', `${write.op} of ${write.key}`, { key: write.key });
    return found;
  }

  function apply(partition: string, write: RawWrite, found: Found | undefined): string {
    if (write.op === 'delete') {
      erase.run(found!.id);
      return '';
    }
    const version = database.number();
    if (write.op === 'create') insert.run(partition, write.key, version, write.body);
    else update.run(version, write.body, found!.id);
    return String(version);
  }

  /** Rows in key order until there are enough of them or of their bytes. A short page is allowed; half a gigabyte of bodies in one is not wanted. */
  function page(partition: string, prefix: string, last: string | undefined, limit: number): { rows: RawRow[]; next?: string } {
    const rows: RawRow[] = [];
    const end = prefix + highest;
    for (let characters = 0; rows.length < limit && characters < pageCharactersMax; ) {
      const wanted = Math.min(rowsAtOnce, limit - rows.length);
      const found = last === undefined || last < prefix ? from.all(partition, prefix, end, wanted) : behind.all(partition, last, end, wanted);
      for (const { key, version, body } of found) {
        rows.push({ key, version: String(version), body });
        characters += body.length;
        last = key;
      }
      if (found.length < wanted) return { rows };
    }
    return { rows, next: last! };
  }

  return {
    async get(partition, key) {
      const found = database.read(() => rowOf.get(partition, key));
      return found && { key, version: String(found.version), body: found.body };
    },

    query: async (partition, { prefix, after, cursor, limit }) => database.read(() => page(partition, prefix, cursor ?? after, limit)),

    commit: (partition, writes) =>
      database.write(() => {
        const found = writes.map((write) => check(partition, write));
        return writes.map((write, i) => apply(partition, write, found[i]));
      }),
  };
}

interface Found {
  readonly id: number;
  readonly version: number;
}
interface Stored {
  readonly key: string;
  readonly version: number;
  readonly body: string;
}

/** Behind every character that a key can have. */
const highest = '\u{10ffff}';
const rowsAtOnce = 64;
const pageCharactersMax = 2_000_000;
