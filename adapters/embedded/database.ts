import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Defect, Invalid, PortError } from '../../ports/index.ts';
import { loadSqlite, type Connection, type Sqlite, type Statement } from './sqlite.ts';

/**
 * One SQLite file under store, queue and stream.
 *
 * - Group commit: whatever many callers want written is collected and done in one synchronous turn, BEGIN … COMMIT, with one fsync for all of them.
 *   Promises settle after COMMIT, so what was acknowledged survives a kill -9. One connection and one turn mean that no read sees what is not committed.
 * - A COMMIT that fails is `unavailable` for every member. A member that fails in a way of its own (not by a PortError) fails alone.
 * - One process a folder, held by a lock that the operating system drops with the process, however it ends. The second one gets `denied`.
 */
export interface Database {
  readonly connection: Connection;
  prepare<Row>(sql: string): Statement<Row>;
  /** Asks at once. Throws `unavailable` if SQLite cannot answer. */
  read<T>(ask: () => T): T;
  /**
   * Runs `member` in the next commit and resolves with its answer once that is on the disk. A PortError that the member throws is its answer, too, and has to
   * be thrown before its first write: nothing of it is undone. A member may run twice, the first time without effect, so it changes nothing but rows.
   */
  write<T>(member: () => T): Promise<T>;
  /** For members: a number higher than all before, also those before a crash. Versions, receipts and positions are made of it. */
  number(): number;
  /** Writes what is waiting, then lets go of file and lock. Later writes are `unavailable`. */
  close(): void;
}

/** Members of one commit: at some 20 us each a turn stays short. */
const membersMax = 512;
/** How many numbers are set aside in one write, of 2^53. */
const numbersAtOnce = 1_000_000;
const schemaVersion = 1;

/**
 * Bodies stand in tables with a rowid and are found by a small index. As one tree ordered by key (`without rowid`), where a row over 1 KB spills to a page
 * of its own, the same commits ran at half the speed and wrote twice the bytes.
 */
const schema = `
  create table if not exists numbers (only integer primary key check (only = 1), reserved integer not null) strict;
  insert into numbers values (1, 1) on conflict do nothing;
  create table if not exists rows (
    id integer primary key, partition text not null, key text not null, version integer not null, body text not null, unique (partition, key)) strict;
  create table if not exists messages (
    id integer primary key, queue text not null, visible_at integer not null, attempts integer not null, locked integer not null default 0, body text not null) strict;
  create index if not exists messages_due on messages (queue, visible_at);
  create table if not exists partitions (
    id integer primary key, stream text not null, name text not null, trimmed integer not null default 0, unique (stream, name)) strict;
  create table if not exists events (
    position integer primary key, partition integer not null, at integer not null, key text not null, body text not null) strict;
  create index if not exists events_read on events (partition);
  pragma user_version = ${schemaVersion}`;

/**
 * FULL is said although it is the default: in WAL mode a driver may be built to fall back to NORMAL at its first write, which acknowledges before the fsync.
 * No memory mapping: it made nothing faster here, and with it a disk error is a SIGBUS and not an error.
 */
const pragmas = `
  pragma busy_timeout = 5000;
  pragma journal_mode = wal;
  pragma synchronous = full;
  pragma temp_store = memory;
  pragma cache_size = -65536;
  pragma mmap_size = 0;
  pragma wal_autocheckpoint = 4000;
  pragma journal_size_limit = 67108864`;

/** Where everything is. */
export const databaseFile = (dataDir: string): string => join(dataDir, 'anyport.sqlite');

export async function openDatabase(dataDir: string): Promise<Database> {
  const sqlite = await loadSqlite();
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
    return openLocked(sqlite, dataDir);
  } catch (error) {
    throw toPortError(error);
  }
}

function openLocked(sqlite: Sqlite, dataDir: string): Database {
  const lock = takeLock(sqlite, dataDir);
  try {
    return groupCommit(connect(sqlite, databaseFile(dataDir)), lock);
  } catch (error) {
    lock.close();
    throw error;
  }
}

/** A second SQLite file, locked and never written. No process id is kept, so none can be stale. */
function takeLock(sqlite: Sqlite, dataDir: string): Connection {
  const lock = sqlite.connect(join(dataDir, 'lock'));
  try {
    lock.exec('pragma busy_timeout = 0; begin exclusive');
    return lock;
  } catch (error) {
    lock.close();
    if (/locked|busy/i.test(String(error))) throw new PortError('denied', `${dataDir} is in use by another process`);
    throw error;
  }
}

function connect(sqlite: Sqlite, file: string): Connection {
  const connection = sqlite.connect(file);
  try {
    const found = connection.prepare<{ user_version: number }>('pragma user_version').get()?.user_version ?? 0;
    if (found > schemaVersion) throw new Invalid(`${file} was written by a later version of this program`);
    connection.exec(pragmas);
    connection.exec(`begin immediate; ${schema}; commit`);
    return connection;
  } catch (error) {
    connection.close();
    throw error;
  }
}

interface Member {
  /** Does the work in the open transaction and answers how its promise settles after COMMIT. Throws what is no answer. */
  run(): () => void;
  reject(error: unknown): void;
}

function groupCommit(connection: Connection, lock: Connection): Database {
  const begin = connection.prepare('begin immediate');
  const end = connection.prepare('commit');
  const reserve = connection.prepare('update numbers set reserved = ?');
  let next = connection.prepare<{ reserved: number }>('select reserved from numbers').get()!.reserved;
  let reserved = next;
  let waiting: Member[] = [];
  let closed = false;

  function rollBack(): void {
    // What was set aside in this transaction is gone with it; the numbers already given out are not given out again.
    reserved = next;
    try {
      connection.exec('rollback');
    } catch {
      // SQLite has rolled back by itself, as it does after some errors. If it has not, the next BEGIN fails and says so.
    }
  }

  function commit(members: readonly Member[]): void {
    const settles: (() => void)[] = [];
    let began = false;
    try {
      begin.run();
      began = true;
      for (const member of members) settles.push(member.run());
      end.run();
    } catch (error) {
      rollBack();
      const inMember = began && settles.length < members.length;
      if (inMember && members.length > 1) for (const member of members) commit([member]);
      else for (const member of members) member.reject(toPortError(error));
      return;
    }
    for (const settle of settles) settle();
  }

  function flush(): void {
    const members = waiting.splice(0, membersMax);
    if (waiting.length > 0) setImmediate(flush);
    if (members.length > 0) commit(members);
  }

  return {
    connection,
    prepare: (sql) => connection.prepare(sql),

    read(ask) {
      try {
        return ask();
      } catch (error) {
        throw toPortError(error);
      }
    },

    write<T>(member: () => T) {
      if (closed) return Promise.reject(new PortError('unavailable', 'the data folder is closed'));
      return new Promise<T>((resolve, reject) => {
        waiting.push({ run: () => answer(member, resolve, reject), reject });
        if (waiting.length === 1) setImmediate(flush);
      });
    },

    number() {
      if (next >= reserved) reserve.run((reserved = next + numbersAtOnce));
      return next++;
    },

    close() {
      if (closed) return;
      closed = true;
      while (waiting.length > 0) flush();
      connection.close();
      lock.close();
    },
  };
}

function answer<T>(member: () => T, resolve: (value: T) => void, reject: (error: unknown) => void): () => void {
  try {
    const value = member();
    return () => resolve(value);
  } catch (error) {
    if (!(error instanceof PortError)) throw error;
    return () => reject(error);
  }
}

/** Whatever SQLite complains about, the outcome is unknown. */
function toPortError(error: unknown): Error {
  if (error instanceof PortError || error instanceof Defect || error instanceof Invalid) return error;
  return new PortError('unavailable', error instanceof Error ? error.message : String(error), { cause: error });
}
