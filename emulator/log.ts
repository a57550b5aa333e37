import type { HubShape } from './config.ts';

/**
 * One hub as a structure: its partitions, which partition a key belongs to, where a reader begins, what retention has taken away. No clock, no wire: `now` is an argument
 * (milliseconds since 1970), and the bytes of events are opaque.
 *
 * - Within a partition events are numbered from 0 without a hole, and their offsets and times never fall. One append is all or nothing, and goes to one partition.
 * - Retention takes from the front alone: what is older than the hub keeps, and the eldest when a partition has more bytes than it may have. What it has taken cannot be seen
 *   from that moment on, whenever it is looked for; numbers and offsets are never given again.
 * - Finding a place takes as long as a binary search, whatever a partition holds.
 * - What must outlive the process is a `HubChange`: plain data, applied and handed to `record` in one step. Replaying all changes in their order, or those of a snapshot and the
 *   ones recorded after it, gives the same hub.
 *
 * Written from https://learn.microsoft.com/azure/event-hubs/: event-hubs-features (partitions, keys, offsets, retention), event-hubs-quotas.
 */
export interface Hub {
  readonly partitions: readonly Partition[];
  readonly createdAt: number;
  /** Where events of that key go, always. */
  partitionOf(key: string): number;
  /** Where the next one goes that says neither key nor partition: to each in turn. */
  nextPartition(): number;
  /** Applies a change that was recorded before; to be called before anything else. */
  replay(change: HubChange): void;
  /** Changes from which an equal hub can be built, without what retention has taken. */
  snapshot(now: number): IterableIterator<HubChange>;
}

export interface Partition {
  readonly id: number;
  /** The number of the first of them. */
  append(events: readonly Fresh[], now: number): number;
  /** The number of the first event that a reader who begins there gets; or, when there never was such a place, what the last one is. */
  find(position: Position, now: number): number | { readonly beyond: Last };
  /** Those from that number on, or from the eldest one if that is gone. */
  read(from: number, max: number, now: number): readonly Event[];
  state(now: number): PartitionState;
}

/** An event that comes in. Its bytes are copied, so that they keep nothing else in memory. */
export interface Fresh {
  readonly bytes: Uint8Array;
  readonly key?: string | undefined;
}

export interface Event {
  readonly sequence: number;
  /** A count of bytes, in decimal digits. */
  readonly offset: string;
  readonly at: number;
  readonly key: string | undefined;
  readonly bytes: Buffer;
}

/** `inclusive` begins at the place, otherwise behind it. */
export type Position =
  | { readonly is: 'earliest' | 'latest' }
  | { readonly is: 'sequence' | 'offset' | 'time'; readonly value: number; readonly inclusive: boolean };

/** The last event that there ever was; -1 and -1 before the first. */
export interface Last {
  readonly sequence: number;
  readonly offset: string;
  readonly at: number;
}

export interface PartitionState {
  /** Of the eldest that is kept; of the next one while there is none. */
  readonly begin: number;
  readonly last: Last;
  readonly empty: boolean;
  readonly events: number;
  readonly bytes: number;
}

export type HubChange =
  | { readonly is: 'created'; readonly at: number }
  /** These came in. */
  | { readonly is: 'put'; readonly partition: number; readonly at: number; readonly events: readonly { readonly bytes: Buffer; readonly key?: string | undefined }[] }
  /** The next event of the partition has this number and this offset; whatever was before it is gone. */
  | { readonly is: 'begin'; readonly partition: number; readonly sequence: number; readonly offset: number; readonly last: Last };

/** The smallest time of .NET, which the service says where there was no event yet. */
const never = -62_135_596_800_000;
const noLast: Last = { sequence: -1, offset: '-1', at: never };
/** Of a snapshot's changes: large enough to be few, small enough to be written at once. */
const snapshotEventsMax = 500;
const snapshotBytesMax = 1024 * 1024;

type Retention = Pick<HubShape, 'retentionMs' | 'retentionBytes'>;
type Record = (change: HubChange) => void;

export interface HubOptions {
  readonly now: number;
  /** Called after the change was applied, before the operation returns. */
  readonly record?: Record;
}

export function createHub(shape: Retention & Pick<HubShape, 'partitions'>, { now, record }: HubOptions): Hub {
  const partitions = Array.from({ length: shape.partitions }, (_, id) => createPartition(id, shape, record));
  let createdAt = now;
  let turn = 0;

  function replay(change: HubChange): void {
    if (change.is === 'created') createdAt = change.at;
    // A partition that the hub no longer has: whoever makes a hub smaller loses what was in the others.
    else partitions[change.partition]?.replay(change);
  }

  function* snapshot(at: number): IterableIterator<HubChange> {
    yield { is: 'created', at: createdAt };
    for (const partition of partitions) yield* partition.snapshot(at);
  }

  return {
    partitions,
    get createdAt() {
      return createdAt;
    },
    partitionOf: (key) => Math.abs(hashOf(key) % partitions.length),
    nextPartition: () => turn++ % partitions.length,
    replay,
    snapshot,
  };
}

interface InnerPartition extends Partition {
  replay(change: Exclude<HubChange, { is: 'created' }>): void;
  snapshot(now: number): IterableIterator<HubChange>;
}

function createPartition(id: number, { retentionMs, retentionBytes }: Retention, record: Record | undefined): InnerPartition {
  /** Those before `head` are gone; they are cut off in large pieces, so that it costs nothing. */
  let events: (Event | undefined)[] = [];
  let head = 0;
  let bytes = 0;
  let nextSequence = 0;
  let nextOffset = 0;
  let last = noLast;

  function put(at: number, fresh: readonly Fresh[]): void {
    for (const { bytes: original, key } of fresh) {
      const event: Event = { sequence: nextSequence++, offset: String(nextOffset), at, key, bytes: Buffer.from(original) };
      nextOffset += event.bytes.length;
      bytes += event.bytes.length;
      events.push(event);
      last = { sequence: event.sequence, offset: event.offset, at };
    }
  }

  function trim(now: number): void {
    const keptFrom = now - retentionMs;
    while (head < events.length && (events[head]!.at < keptFrom || bytes > retentionBytes)) {
      bytes -= events[head]!.bytes.length;
      events[head++] = undefined;
    }
    if (head < 1_024 || head * 2 < events.length) return;
    events = events.slice(head);
    head = 0;
  }

  /** The number of the first event for which it holds, which then holds for all after it. */
  function firstWhere(holds: (event: Event) => boolean): number {
    let low = head;
    let high = events.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (holds(events[middle]!)) high = middle;
      else low = middle + 1;
    }
    return nextSequence - (events.length - low);
  }

  function find(position: Position, now: number): number | { beyond: Last } {
    trim(now);
    if (!('value' in position)) return position.is === 'latest' ? nextSequence : firstWhere(() => true);
    const { is, value, inclusive } = position;
    const placeOf = ({ sequence, offset, at }: Event | Last): number => (is === 'sequence' ? sequence : is === 'offset' ? Number(offset) : at);
    // The next one that will come is a place, too; a time that has not come yet begins with whatever comes.
    const isNext = inclusive && value === (is === 'sequence' ? nextSequence : nextOffset);
    if (is !== 'time' && value > placeOf(last) && !isNext) return { beyond: last };
    return firstWhere((event) => (inclusive ? placeOf(event) >= value : placeOf(event) > value));
  }

  function* snapshot(now: number): IterableIterator<HubChange> {
    trim(now);
    const kept = events.slice(head).filter((event) => event !== undefined);
    const [first] = kept;
    yield { is: 'begin', partition: id, sequence: first?.sequence ?? nextSequence, offset: first === undefined ? nextOffset : Number(first.offset), last };
    for (let start = 0; start < kept.length; ) {
      const { at } = kept[start]!;
      let end = start;
      let size = 0;
      while (end < kept.length && kept[end]!.at === at && end - start < snapshotEventsMax && size < snapshotBytesMax) size += kept[end++]!.bytes.length;
      yield { is: 'put', partition: id, at, events: kept.slice(start, end).map(contentOf) };
      start = end;
    }
  }

  return {
    id,
    append(fresh, now) {
      const first = nextSequence;
      // A clock that was set back must not make an event elder than the one before it.
      const at = Math.max(now, last.at);
      put(at, fresh);
      if (record && fresh.length > 0) record({ is: 'put', partition: id, at, events: events.slice(-fresh.length).map((event) => contentOf(event!)) });
      trim(now);
      return first;
    },
    find,
    read(from, max, now) {
      trim(now);
      const start = Math.max(head, events.length - (nextSequence - from));
      return events.slice(start, start + max).filter((event) => event !== undefined);
    },
    state(now) {
      trim(now);
      return { begin: firstWhere(() => true), last, empty: head === events.length, events: events.length - head, bytes };
    },
    replay(change) {
      if (change.is === 'put') {
        put(change.at, change.events);
        return trim(change.at);
      }
      events = [];
      head = 0;
      bytes = 0;
      ({ sequence: nextSequence, offset: nextOffset, last } = change);
    },
    snapshot,
  };
}

const contentOf = ({ bytes, key }: Event): { readonly bytes: Buffer; readonly key?: string | undefined } => ({ bytes, key });

// ---------------------------------------------------------------- keys

/**
 * Bob Jenkins' lookup3 (https://burtleburtle.net/bob/c/lookup3.c, in the public domain) of the key in UTF-8, folded to 16 bits: the one that the vendor's SDKs use where they choose
 * the partition themselves (the buffered producer), so that a key has one partition however it is sent.
 */
function hashOf(key: string): number {
  const length = Buffer.byteLength(key);
  const text = Buffer.alloc(Math.max(12, Math.ceil(length / 12) * 12));
  text.write(key);
  let a = (0xdeadbeef + length) | 0;
  let b = a;
  let c = a;
  for (let at = 0; at < length; at += 12) {
    a = (a + text.readInt32LE(at)) | 0;
    b = (b + text.readInt32LE(at + 4)) | 0;
    c = (c + text.readInt32LE(at + 8)) | 0;
    [a, b, c] = length - at > 12 ? mixed(a, b, c) : finished(a, b, c);
  }
  return ((c ^ b) << 16) >> 16;
}

const turned = (value: number, by: number): number => (value << by) | (value >>> (32 - by));

function mixed(a: number, b: number, c: number): [number, number, number] {
  a = ((a - c) | 0) ^ turned(c, 4);
  c = (c + b) | 0;
  b = ((b - a) | 0) ^ turned(a, 6);
  a = (a + c) | 0;
  c = ((c - b) | 0) ^ turned(b, 8);
  b = (b + a) | 0;
  a = ((a - c) | 0) ^ turned(c, 16);
  c = (c + b) | 0;
  b = ((b - a) | 0) ^ turned(a, 19);
  a = (a + c) | 0;
  c = ((c - b) | 0) ^ turned(b, 4);
  b = (b + a) | 0;
  return [a, b, c];
}

function finished(a: number, b: number, c: number): [number, number, number] {
  c = ((c ^ b) - turned(b, 14)) | 0;
  a = ((a ^ c) - turned(c, 11)) | 0;
  b = ((b ^ a) - turned(a, 25)) | 0;
  c = ((c ^ b) - turned(b, 16)) | 0;
  a = ((a ^ c) - turned(c, 4)) | 0;
  b = ((b ^ a) - turned(a, 14)) | 0;
  c = ((c ^ b) - turned(b, 24)) | 0;
  return [a, b, c];
}
