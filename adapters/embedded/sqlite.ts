/**
 * The seam to SQLite, shaped like node:sqlite. Filled by node:sqlite where this Node has one that is new enough, else by @photostructure/sqlite, which speaks
 * the same language and leaves when Node 20 does.
 *
 * New enough is 3.51.3: from 3.7.0 to 3.51.2 two connections that write and checkpoint at once can corrupt a database in WAL mode
 * (https://sqlite.org/wal.html#walresetbug), and a person with the `sqlite3` tool is such a second connection.
 */

export type Value = string | number | null;

export interface Statement<Row> {
  run(...values: Value[]): { changes: number | bigint };
  get(...values: Value[]): Row | undefined;
  all(...values: Value[]): Row[];
  iterate(...values: Value[]): Iterable<Row>;
}

/** Everything is synchronous. The drivers throw their own errors; `database.ts` maps them. */
export interface Connection {
  exec(sql: string): void;
  prepare<Row>(sql: string): Statement<Row>;
  close(): void;
}

/** What is used of a driver's module. */
interface Driver {
  readonly DatabaseSync: new (file: string) => Connection;
}

export interface Sqlite {
  /** Of SQLite itself: `3.53.0`. */
  readonly version: string;
  connect(file: string): Connection;
}

export async function loadSqlite(): Promise<Sqlite> {
  const own = ownDriver();
  const ownVersion = own && versionOf(own);
  if (own && ownVersion && newEnough(ownVersion)) return sqliteOf(own, ownVersion);
  const driver: Driver = await import('@photostructure/sqlite');
  const version = versionOf(driver);
  if (!newEnough(version)) throw new Error(`SQLite ${minimum.join('.')} or later is needed, this one is ${version}`);
  return sqliteOf(driver, version);
}

const minimum = [3, 51, 3] as const;

/** True from 3.51.3 on. */
export function newEnough(version: string): boolean {
  const parts = version.split('.').map(Number);
  for (let i = 0; i < minimum.length; i++) {
    const part = parts[i] ?? 0;
    if (part !== minimum[i]) return part > minimum[i]!;
  }
  return true;
}

function sqliteOf({ DatabaseSync }: Driver, version: string): Sqlite {
  return { version, connect: (file) => new DatabaseSync(file) };
}

/** Node's own, where there is one. While it loads, Node 22 warns that it is experimental; that one line is kept from the user, every other warning passes. */
function ownDriver(): Driver | undefined {
  const { emitWarning } = process;
  process.emitWarning = ((warning: string | Error, ...rest: never[]) => {
    if (!String(warning).startsWith('SQLite is an experimental feature')) emitWarning.call(process, warning, ...rest);
  }) as typeof process.emitWarning;
  try {
    return process.getBuiltinModule('node:sqlite') as Driver | undefined;
  } finally {
    process.emitWarning = emitWarning;
  }
}

function versionOf({ DatabaseSync }: Driver): string {
  const connection = new DatabaseSync(':memory:');
  const row = connection.prepare<{ version: string }>('select sqlite_version() as version').get();
  connection.close();
  return row?.version ?? '0';
}
