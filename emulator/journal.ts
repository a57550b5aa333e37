import { closeSync, existsSync, fdatasync, fsyncSync, ftruncateSync, linkSync, mkdirSync, openSync, readFileSync, readSync, renameSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { Defect, Invalid, must } from '../ports/index.ts';

/**
 * What `--data DIR` keeps: one append-only file of changes, for queues and hubs alike, read at the start and now and then written anew without what is over.
 *
 * - Each entity has a book, and calls `append` with a change in the same turn in which it applied it. `flush` hands all that was appended to the operating system in one write;
 *   the server calls it before it lets out anything to a client (`beforeSending` of amqp.ts). So what a client was told survives `kill -9` of the process. A crash of the whole
 *   machine may cost what was said in the last second (`syncEveryMs`).
 * - All books share the file: what is there after a crash is everything up to some moment, never one entity without what another did before it. A record that was being
 *   written at the end was promised to nobody and is dropped. Damage anywhere else is no crash: the journal does not open, and says where.
 * - When more than half of the file is over, it is written anew from the books' snapshots beside the old one, and put in its place. That takes one turn: about a second for 300 MB.
 * - The folder belongs to one process at a time; the lock of one that was killed does not count.
 * - A book that nobody opens (an entity that is not in the configuration any more) is kept as it is.
 *
 * For an entity: `book = journal.open(name, { snapshot, liveBytes })`; then replay all of `book.recorded()`; then `book.append(change)` for each change, and `book.remove()` when it
 * is deleted. A change is plain data: null, booleans, numbers, strings, bytes, lists and records of them. Fields that are undefined come back absent, bytes as Buffer.
 */
export interface Journal {
  open<Change>(name: string, entity: Kept<Change>): Book<Change>;
  /** Does nothing if nothing was appended. Throws if the disk does not take it, and from then on always: nothing may be promised any more. */
  flush(): void;
  /** How large the file is, with what is still to be written. */
  readonly bytes: number;
  /** All that was appended is on the disk, and the folder is free. */
  close(): void;
}

export interface Kept<Change> {
  /** Changes from which an equal entity can be built; asked for between two operations. */
  snapshot(): Iterable<Change>;
  /** About what such changes weigh: it says when writing anew is worth while. */
  liveBytes(): number;
}

export interface Book<Change> {
  /** What was appended before, in its order; once, and before the first `append`. */
  recorded(): Iterable<Change>;
  append(change: Change): void;
  /** Forgets all of it. The name can be opened again. */
  remove(): void;
}

export interface JournalOptions {
  /** The file is not written anew while it is smaller than this and twice what is alive. */
  readonly compactFromBytes?: number;
  readonly syncEveryMs?: number;
}

/** Somebody else has the folder at the moment. */
export class Held extends Invalid {}

const magic = Buffer.from('anyport journal 1\n');
const nameBytesMax = 1_024;
/** Larger than any change: a message has at most a megabyte, a snapshot is cut up. */
const recordBytesMax = 64 * 1024 * 1024;
/** Until a flush so much may gather; beyond it is written at once. */
const pendingBytesMax = 8 * 1024 * 1024;
/** What nobody is told of is written so much later. */
const untoldMs = 20;
const readBytes = 8 * 1024 * 1024;

/** Length and checksum stand before each record. */
const prefixBytes = 8;
const kinds = { change: 0, removed: 1 } as const;

interface Entry {
  readonly book: Kept<unknown> | undefined;
  /** Records as they were read, while nobody has opened the book. */
  waiting: Buffer[];
}

export function openJournal(dir: string, { compactFromBytes = 64 * 1024 * 1024, syncEveryMs = 1_000 }: JournalOptions = {}): Journal {
  mkdirSync(dir, { recursive: true });
  const unlock = lock(join(dir, 'lock'));
  const path = join(dir, 'journal');
  const entries = new Map<string, Entry>();
  let file: number;
  let size: number;
  let compactAt = compactFromBytes;
  let pending: Buffer[] = [];
  let pendingBytes = 0;
  let scheduled = false;
  let broken: unknown;
  let closed = false;
  let syncing: NodeJS.Timeout | undefined;

  try {
    rmSync(`${path}.new`, { force: true });
    ({ file, size } = openFile(path, load));
  } catch (error) {
    unlock();
    throw error;
  }

  function load(payload: Buffer): void {
    const { name, kind } = labelOf(payload);
    if (kind === kinds.removed) return void entries.delete(name);
    const entry = entries.get(name) ?? { book: undefined, waiting: [] };
    entries.set(name, entry);
    entry.waiting.push(payload);
  }

  function open<Change>(name: string, book: Kept<Change>): Book<Change> {
    must(entries.get(name)?.book === undefined, `the book '${name}' is open already`);
    must(Buffer.byteLength(name) <= nameBytesMax, `the name of a book has at most ${nameBytesMax} bytes`);
    const entry: Entry = { book, waiting: entries.get(name)?.waiting ?? [] };
    entries.set(name, entry);
    return {
      *recorded() {
        const { waiting } = entry;
        entry.waiting = [];
        // The checksum vouches that these are the changes that were appended under this name.
        for (const payload of waiting) yield changeOf(payload) as Change;
      },
      append: (change) => push(encodeRecord(name, kinds.change, change)),
      remove() {
        if (entries.get(name) !== entry) return;
        entries.delete(name);
        push(encodeRecord(name, kinds.removed));
      },
    };
  }

  function push(record: Buffer): void {
    if (broken !== undefined) throw broken;
    must(!closed, 'the journal is closed');
    pending.push(record);
    pendingBytes += record.length;
    if (pendingBytes > pendingBytesMax) return write();
    if (scheduled) return;
    scheduled = true;
    // For what nobody is told of: time that passes, messages that expire.
    setTimeout(() => {
      scheduled = false;
      if (!closed && broken === undefined) flush();
    }, untoldMs);
  }

  function flush(): void {
    if (broken !== undefined) throw broken;
    if (pending.length === 0) return;
    write();
    if (size >= compactAt) compactIfWorthWhile();
  }

  function write(): void {
    const bytes = pending.length === 1 ? pending[0]! : Buffer.concat(pending, pendingBytes);
    pending = [];
    pendingBytes = 0;
    guarded(() => writeAll(file, bytes, size));
    size += bytes.length;
    if (syncing === undefined) syncing = setTimeout(sync, syncEveryMs).unref();
  }

  /** After a failure nobody knows what stands in the file: whoever goes on would promise what may be lost. */
  function guarded(act: () => void): void {
    try {
      act();
    } catch (error) {
      broken = error;
      throw error;
    }
  }

  function sync(): void {
    syncing = undefined;
    if (closed) return;
    fdatasync(file, (error) => {
      // The file may have been replaced or closed meanwhile, which syncs it itself.
      if (error && error.code !== 'EBADF') broken ??= error;
    });
  }

  function compactIfWorthWhile(): void {
    let live = 0;
    for (const { book, waiting } of entries.values()) live += waiting.reduce((sum, { length }) => sum + length, book?.liveBytes() ?? 0);
    compactAt = Math.max(compactFromBytes, 2 * live);
    if (size < compactAt) return;
    guarded(compact);
    compactAt = Math.max(compactFromBytes, 2 * size);
  }

  function compact(): void {
    const next = openSync(`${path}.new`, 'w', 0o600);
    let written = 0;
    const put = (bytes: Buffer): void => {
      writeAll(next, bytes, written);
      written += bytes.length;
    };
    put(magic);
    for (const [name, { book, waiting }] of entries) {
      for (const payload of waiting) put(framed(payload));
      let batch: Buffer[] = [];
      let batchBytes = 0;
      for (const change of book?.snapshot() ?? []) {
        const record = encodeRecord(name, kinds.change, change);
        batch.push(record);
        batchBytes += record.length;
        if (batchBytes < pendingBytesMax) continue;
        put(Buffer.concat(batch));
        batch = [];
        batchBytes = 0;
      }
      put(Buffer.concat(batch));
    }
    fsyncSync(next);
    renameSync(`${path}.new`, path);
    closeSync(file);
    file = next;
    size = written;
    syncFolder(dir);
  }

  return {
    open,
    flush,
    get bytes() {
      return size + pendingBytes;
    },
    close() {
      if (closed) return;
      try {
        if (broken === undefined) {
          flush();
          fsyncSync(file);
        }
      } finally {
        closed = true;
        clearTimeout(syncing);
        closeSync(file);
        unlock();
      }
    },
  };
}

// ---------------------------------------------------------------- the file

/** Hands on each record, and drops one at the end that was not written whole. */
function openFile(path: string, load: (payload: Buffer) => void): { file: number; size: number } {
  const file = openSync(path, existsSync(path) ? 'r+' : 'w+', 0o600);
  try {
    const { sound, length } = readRecords(file, path, load);
    if (sound < length) ftruncateSync(file, sound);
    if (sound > 0) return { file, size: sound };
    writeAll(file, magic, 0);
    return { file, size: magic.length };
  } catch (error) {
    closeSync(file);
    throw error;
  }
}

function readRecords(file: number, path: string, load: (payload: Buffer) => void): { sound: number; length: number } {
  const head = readAt(file, 0, magic.length);
  if (head.length < magic.length && magic.subarray(0, head.length).equals(head)) return { sound: 0, length: head.length };
  if (!head.equals(magic)) throw new Invalid(`${path} is not a journal of this version`);
  let at = magic.length;
  let window: Buffer = Buffer.alloc(0);
  let windowAt = at;
  const bytesAt = (length: number): Buffer => {
    if (at - windowAt + length > window.length) {
      window = readAt(file, at, Math.max(readBytes, length));
      windowAt = at;
    }
    return window.subarray(at - windowAt, at - windowAt + length);
  };
  for (;;) {
    const prefix = bytesAt(prefixBytes);
    if (prefix.length === 0) return { sound: at, length: at };
    const length = prefix.length < prefixBytes ? 0 : prefix.readUInt32BE(0);
    const record = length === 0 || length > recordBytesMax ? prefix : bytesAt(prefixBytes + length);
    if (record.length === prefixBytes + length && length > 0 && crc32(record.subarray(prefixBytes)) === record.readUInt32BE(4)) {
      load(Buffer.from(record.subarray(prefixBytes)));
      at += record.length;
      continue;
    }
    const rest = restIsTorn(file, at, length);
    if (!rest) throw new Invalid(`${path} is damaged at byte ${at}`);
    return { sound: at, length: at + 1 };
  }
}

/** What a crash leaves behind: a record that goes beyond the end, or ends with it, or nothing but zeros. */
function restIsTorn(file: number, at: number, length: number): boolean {
  const rest = readAt(file, at, prefixBytes + Math.min(length, recordBytesMax) + 1);
  if (rest.length <= prefixBytes + length && length <= recordBytesMax) return true;
  for (let place = at; ; place += readBytes) {
    const bytes = readAt(file, place, readBytes);
    if (bytes.some((byte) => byte !== 0)) return false;
    if (bytes.length < readBytes) return true;
  }
}

/** Fewer only at the end of the file. */
function readAt(file: number, place: number, length: number): Buffer {
  const buffer = Buffer.allocUnsafe(length);
  let got = 0;
  while (got < length) {
    const count = readSync(file, buffer, got, length - got, place + got);
    if (count === 0) break;
    got += count;
  }
  return buffer.subarray(0, got);
}

function writeAll(file: number, bytes: Buffer, place: number): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at, bytes.length - at, place + at);
}

function syncFolder(dir: string): void {
  // Not every system lets a folder be opened; there the rename is as safe as it gets.
  if (process.platform === 'win32') return;
  const folder = openSync(dir, 'r');
  fsyncSync(folder);
  closeSync(folder);
}

// ---------------------------------------------------------------- records

function framed(payload: Buffer): Buffer {
  const record = Buffer.allocUnsafe(prefixBytes + payload.length);
  record.writeUInt32BE(payload.length, 0);
  record.writeUInt32BE(crc32(payload), 4);
  payload.copy(record, prefixBytes);
  return record;
}

/** Name, kind, then JSON in which bytes are places behind it. */
function encodeRecord(name: string, kind: number, change?: unknown): Buffer {
  const parts: Uint8Array[] = [];
  let partBytes = 0;
  const json = kind === kinds.removed ? '' : JSON.stringify(plain(change, 0));
  const nameBytes = Buffer.byteLength(name);
  const jsonBytes = Buffer.byteLength(json);
  const length = 7 + nameBytes + jsonBytes + partBytes;
  must(length <= recordBytesMax, `a change has at most ${recordBytesMax} bytes`);
  const record = Buffer.allocUnsafe(prefixBytes + length);
  let at = record.writeUInt8(kind, prefixBytes);
  at = record.writeUInt16BE(nameBytes, at);
  at += record.write(name, at);
  at = record.writeUInt32BE(jsonBytes, at);
  at += record.write(json, at);
  for (const part of parts) {
    record.set(part, at);
    at += part.length;
  }
  record.writeUInt32BE(length, 0);
  record.writeUInt32BE(crc32(record.subarray(prefixBytes)), 4);
  return record;

  function plain(value: unknown, depth: number): unknown {
    if (value instanceof Uint8Array) {
      parts.push(value);
      partBytes += value.length;
      return { [bytesMark]: [partBytes - value.length, value.length] };
    }
    if (typeof value === 'number') must(Number.isFinite(value), 'a number in a change is finite');
    if (typeof value !== 'object' || value === null) return value;
    if (depth > depthMax) throw new Defect('a change is nested too deeply');
    if (Array.isArray(value)) return value.map((item) => plain(item, depth + 1));
    const copy: Record<string, unknown> = {};
    for (const key of Object.keys(value)) copy[key] = plain((value as Record<string, unknown>)[key], depth + 1);
    return copy;
  }
}

const depthMax = 16;
const bytesMark = '$bytes';

interface Label {
  readonly kind: number;
  readonly name: string;
  readonly at: number;
}

function labelOf(payload: Buffer): Label {
  const nameBytes = payload.readUInt16BE(1);
  return { kind: payload[0]!, name: payload.toString('utf8', 3, 3 + nameBytes), at: 3 + nameBytes };
}

function changeOf(payload: Buffer): unknown {
  const { at } = labelOf(payload);
  const start = at + 4;
  const end = start + payload.readUInt32BE(at);
  return JSON.parse(payload.toString('utf8', start, end), (_, value: unknown) => {
    const place = typeof value === 'object' && value !== null && bytesMark in value ? value[bytesMark] : undefined;
    if (!Array.isArray(place)) return value;
    const [from, length] = place as [number, number];
    return payload.subarray(end + from, end + from + length);
  });
}

// ---------------------------------------------------------------- the lock

/** Of a process: its number, and when it was born where that can be known, because numbers are given again. */
function identity(pid: number): string {
  try {
    // Behind the name, which may hold anything, comes the 3rd field; the 22nd is the time of birth.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\)/s, '').trim().split(' ');
    return `${pid} ${fields[19]}`;
  } catch {
    return `${pid}`;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

const attemptsMax = 20;

/** It appears with its content in one step: nobody finds it empty and takes it for a dead one's. */
function lock(path: string): () => void {
  const draft = `${path}.${process.pid}`;
  writeFileSync(draft, identity(process.pid), { mode: 0o600 });
  try {
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      if (unless('EEXIST', () => linkSync(draft, path))) return () => rmSync(path, { force: true });
      let holder = '';
      if (!unless('ENOENT', () => (holder = readFileSync(path, 'utf8')))) continue;
      const pid = Number.parseInt(holder, 10);
      if (pid > 0 && isAlive(pid) && identity(pid) === holder) break;
      clear(path, holder, `${draft}.dead`);
    }
  } finally {
    rmSync(draft, { force: true });
  }
  throw new Held(`${path} is held: another emulator keeps its data in this folder`);
}

/** Takes away the lock of one that is dead. Somebody may have been quicker, and this be his: then he gets it back. */
function clear(path: string, dead: string, aside: string): void {
  if (!unless('ENOENT', () => renameSync(path, aside))) return;
  if (readFileSync(aside, 'utf8') !== dead) unless('EEXIST', () => linkSync(aside, path));
  rmSync(aside, { force: true });
}

/** False if it failed for that reason. */
function unless(code: string, act: () => void): boolean {
  try {
    act();
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === code) return false;
    throw error;
  }
}
