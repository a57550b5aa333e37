import { Defect, PortError, must } from './errors.ts';
import { limits } from './limits.ts';
import { encode, type Message } from './message.ts';

/**
 * STORE: typed documents in partitions.
 *
 * - A read sees every commit acknowledged before it began.
 * - `commit` is all or nothing within ONE partition; there is nothing larger. `create` demands absence; `replace` and `delete` demand the version that was read;
 *   there is no blind write. A failed condition is `conflict` with the row's key, and nothing is written.
 * - `unavailable` from a commit means that its outcome is UNKNOWN. Adapters never retry a commit; the executor does, after looking.
 * - A query is one partition, one key prefix, in key order (by code unit). A page may be short, or even empty, and still have a `next`; a query is no snapshot.
 *   An aggregate of several rows has a root row, which is read first and which every commit replaces: so a torn read cannot pass.
 * - What a service wants said is committed as rows beside its documents (the outbox), and so is the memory of what it has heard (`seen`, the inbox).
 *   There is no other way to say anything.
 */
export interface Store {
  get<Body>(partition: string, key: string): Promise<Row<Body> | undefined>;
  query<Body>(partition: string, query: Query): Promise<Page<Body>>;
  commit(partition: string, commit: Commit): Promise<Committed>;
}

export interface Row<Body = unknown> {
  readonly key: string;
  /** Opaque; only equality means anything. It never returns once it has been replaced. */
  readonly version: string;
  readonly body: Body;
}

export interface Query {
  readonly prefix: string;
  /** Rows strictly behind this key. */
  readonly after?: string;
  /** Goes on where a page with this `next` ended; `prefix` and `after` must be the same as then. */
  readonly cursor?: string;
  /** 1 to 1,000, 100 unless told. */
  readonly limit?: number;
}

export interface Page<Body = unknown> {
  readonly rows: readonly Row<Body>[];
  /** Opaque. Absent: that was all. */
  readonly next?: string;
}

export type Write =
  | { readonly op: 'create'; readonly key: string; readonly body: unknown }
  | { readonly op: 'replace'; readonly key: string; readonly version: string; readonly body: unknown }
  | { readonly op: 'delete'; readonly key: string; readonly version: string };

export interface Commit {
  readonly writes?: readonly Write[];
  /** Makes the whole commit a `conflict` (with `seenKey(seen)`) if this message was already handled. */
  readonly seen?: Seen;
  readonly outgoing?: readonly Outgoing[];
}

export interface Committed {
  /** The new versions in the order of `writes`; '' for a delete. */
  readonly versions: readonly string[];
  readonly outbox: readonly OutboxRow[];
}

export interface Seen {
  /** The service that heard it. */
  readonly consumer: string;
  readonly aggregate: string;
  readonly source: string;
  readonly id: string;
  /** The message's own time (RFC 3339): rows are dropped by day, long after every retention. */
  readonly time: string;
  readonly outcome: unknown;
}

/** A channel on which a message rides. */
export interface Road {
  readonly kind: 'queue' | 'stream';
  readonly channel: string;
}

export interface Outgoing {
  readonly message: Message;
  readonly roads: readonly Road[];
}

/** A message that has been committed and not yet been passed on to all its roads. The payload is stored once however many roads are left. */
export interface OutboxBody {
  readonly message: Message;
  readonly roads: readonly Road[];
  /** Milliseconds since 1970 of the commit's message, for the sweep. */
  readonly at: number;
  readonly attempts: number;
  readonly notBefore: number;
  /** Why nobody will take it; it is listed with the dead letters and holds only its own (channel, subject). */
  readonly stuck?: string;
}
export interface OutboxRow extends Row<OutboxBody> {
  readonly partition: string;
}

/**
 * STORE DRIVER: what a family implements. Bodies are text (JSON). It may be called from many places at once. Every call comes to an end: one that takes too long throws
 * `unavailable`, for others may be waiting behind it.
 * - `commit`: atomic; the versions in order ('' for a delete). Throws `conflict` with the key, `throttled` (nothing was done), `unavailable` (outcome unknown).
 *   The thick port has checked keys, sizes and that no key occurs twice.
 * - `get` and `query` throw `throttled` or `unavailable`; absence is `undefined` or an empty page, and nothing else ever is.
 */
export interface StoreDriver {
  get(partition: string, key: string): Promise<RawRow | undefined>;
  query(partition: string, query: Required<Pick<Query, 'prefix' | 'limit'>> & Query): Promise<{ rows: RawRow[]; next?: string }>;
  commit(partition: string, writes: readonly RawWrite[]): Promise<string[]>;
}
export interface RawRow {
  readonly key: string;
  readonly version: string;
  readonly body: string;
}
export type RawWrite =
  | { readonly op: 'create'; readonly key: string; readonly body: string }
  | { readonly op: 'replace'; readonly key: string; readonly version: string; readonly body: string }
  | { readonly op: 'delete'; readonly key: string; readonly version: string };

export const replace = (row: Row, body: unknown): Write => ({ op: 'replace', key: row.key, version: row.version, body });
export const create = (key: string, body: unknown): Write => ({ op: 'create', key, body });
/** Replaces the row as it was read; creates it, if it was not there. */
export const put = (row: Row | undefined, rowKey: string, body: unknown): Write => (row ? replace(row, body) : create(rowKey, body));
export const remove = (row: Row): Write => ({ op: 'delete', key: row.key, version: row.version });

/** A named set of rows, spread over a number of partitions that is fixed for the life of a deployment. */
export interface Collection {
  readonly name: string;
  readonly shards: number;
}

/** The partition in which everything about `id` lives. */
export function partitionOf(collection: Collection, id: string): string {
  let hash = 0x811c9dc5; // FNV-1a, 32 bits, over code units
  for (let i = 0; i < id.length; i++) hash = Math.imul(hash ^ id.charCodeAt(i), 0x01000193);
  hash ^= hash >>> 15;
  return shard(collection, (hash >>> 0) % collection.shards);
}

export function partitionsOf(collection: Collection): string[] {
  return Array.from({ length: collection.shards }, (_, n) => shard(collection, n));
}

const shard = (collection: Collection, n: number): string => `${collection.name}~${n < 10 ? '0' : ''}${n}`;

/**
 * Joins the parts of a key with `|`. What would be mistaken for the joint or is forbidden by Table Storage (`/ \ # ?`, control characters) is percent-encoded,
 * so that two different lists of parts never make one key and a prefix of parts is a prefix of the key.
 */
export function key(...parts: readonly (string | number)[]): string {
  let text = '';
  for (let i = 0; i < parts.length; i++) {
    const part = String(parts[i]);
    text += (i === 0 ? '' : '|') + (plain.test(part) ? part : part.replace(unsafe, (c) => '%' + c.charCodeAt(0).toString(16).padStart(4, '0')));
  }
  return text;
}
const plain = /^[A-Za-z0-9 .:_~+=@,;!$&'()*-]*$/;
const unsafe = /[|%/\\#?\u0000-\u001f\u007f-\u009f\ud800-\udfff]/g;
/** Undoes `key`. */
export function partsOf(text: string): string[] {
  return text.split('|').map((part) => part.replace(/%([0-9a-f]{4})/g, (_, code: string) => String.fromCharCode(parseInt(code, 16))));
}

export function outboxKey(message: Message, nth: number): string {
  return key('outbox', message.subject, message.sequence, nth < 10 ? `0${nth}` : nth);
}
export function seenKey(seen: Pick<Seen, 'consumer' | 'aggregate' | 'source' | 'id' | 'time'>): string {
  return key('seen', seen.time.slice(0, 10).replaceAll('-', ''), seen.consumer, seen.aggregate, seen.source, seen.id);
}

const forbidden = /[/\\#?\u0000-\u001f\u007f-\u009f]/;

/** The inbox row, for a commit that carries several. */
export function seenRow(seen: Seen): Write {
  return create(seenKey(seen), { outcome: seen.outcome });
}

/** The face that core sees, over a driver: validation, limits and the rows of outbox and inbox, written once for all families. */
export function openStore(driver: StoreDriver): Store {
  return {
    async get<Body>(partition: string, rowKey: string) {
      const raw = await driver.get(partition, rowKey);
      return raw && parsed<Body>(raw);
    },

    async query<Body>(partition: string, query: Query) {
      const limit = query.limit ?? 100;
      must(limit >= 1 && limit <= 1000, 'a query asks for 1 to 1,000 rows');
      const page = await driver.query(partition, { ...query, limit });
      const rows = page.rows.map((raw) => parsed<Body>(raw));
      return page.next === undefined ? { rows } : { rows, next: page.next };
    },

    async commit(partition, { writes = [], seen, outgoing = [] }) {
      const raw: RawWrite[] = [];
      if (seen) raw.push({ op: 'create', key: seenKey(seen), body: JSON.stringify({ outcome: seen.outcome }) });
      for (const write of writes) {
        if (write.op === 'delete') raw.push(write);
        else raw.push({ ...write, body: JSON.stringify(write.body) });
      }
      const first = raw.length;
      const outbox = outgoing.map(({ message, roads }, nth) => {
        const body: OutboxBody = { message, roads, at: Date.parse(message.time), attempts: 0, notBefore: 0 };
        return { partition, key: outboxKey(message, nth), body };
      });
      for (const { key: rowKey, body } of outbox) raw.push({ op: 'create', key: rowKey, body: outboxText(body) });
      if (raw.length === 0) return { versions: [], outbox: [] };
      check(raw);
      const versions = await driver.commit(partition, raw);
      if (versions.length !== raw.length) throw new Defect('a store driver answers one version a write');
      return {
        versions: versions.slice(seen ? 1 : 0, first),
        outbox: outbox.map((row, nth) => ({ ...row, version: versions[first + nth]! })),
      };
    },
  };
}

/** The same as JSON.stringify of it, around the text of the message that is needed anyway. */
function outboxText({ message, ...rest }: OutboxBody): string {
  return `{"message":${encode(message)},${JSON.stringify(rest).slice(1)}`;
}

function parsed<Body>(raw: RawRow): Row<Body> {
  return { key: raw.key, version: raw.version, body: JSON.parse(raw.body) as Body };
}

function check(writes: readonly RawWrite[]): void {
  if (writes.length > limits.rowsPerCommitMax) throw new PortError('tooLarge', `${writes.length} rows in one commit, ${limits.rowsPerCommitMax} at most`);
  let total = 0;
  const keys = new Set<string>();
  for (const write of writes) {
    if (write.key === '' || forbidden.test(write.key)) throw new Defect(`a key without / \\ # ? and control characters: ${JSON.stringify(write.key)}`);
    if (keys.has(write.key)) throw new Defect(`one write a key in a commit: ${write.key}`);
    keys.add(write.key);
    const keyBytes = write.key.length * 3 > limits.keyBytesMax ? Buffer.byteLength(write.key) : write.key.length;
    if (keyBytes > limits.keyBytesMax) throw new PortError('tooLarge', `a key of ${keyBytes} bytes, ${limits.keyBytesMax} at most`, { key: write.key });
    const bytes = write.op === 'delete' ? 0 : write.body.length * 3 > limits.rowBytesMax ? Buffer.byteLength(write.body) : write.body.length;
    if (bytes > limits.rowBytesMax) throw new PortError('tooLarge', `a row of ${bytes} bytes, ${limits.rowBytesMax} at most`, { key: write.key });
    total += bytes + keyBytes;
  }
  if (total > limits.commitBytesMax) throw new PortError('tooLarge', `a commit of ${total} bytes, ${limits.commitBytesMax} at most`);
}
