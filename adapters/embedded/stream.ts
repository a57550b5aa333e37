import {
  Invalid, PortError, decode, encode, isPortError, partitionOf, partitionsOf,
  type AppendFailure, type Batch, type Clock, type Collection, type Message, type StreamDriver,
} from '../../ports/index.ts';
import { openBell, type Bell } from './bell.ts';
import type { Database } from './database.ts';

export interface StreamSettings {
  readonly clock: Clock;
  readonly streams: readonly string[];
  readonly partitionsPerStream: number;
  readonly retentionDays: number;
}

export interface EmbeddedStream extends StreamDriver {
  /** Deletes what is older than the retention. It is called on opening, and by itself now and then. */
  trim(): Promise<void>;
  /** Ends all waiting. */
  close(): void;
}

interface Partition {
  readonly id: number;
  readonly bell: Bell;
}

interface OpenStream {
  readonly collection: Collection;
  readonly partitions: ReadonlyMap<string, Partition>;
}

const trimEveryMinutes = 10;
/** Events that one trim deletes of one partition: it shares its turn with everybody else. */
const trimMax = 2_000;

/**
 * Streams in SQLite. A position is the event's number, which grows over all partitions and never returns. A partition remembers the highest position that was
 * trimmed away: whoever stands before that one has missed something, and so has whoever stands behind the highest number ever given (the file was put back to
 * an older copy).
 */
export function openStreamDriver(database: Database, settings: StreamSettings): EmbeddedStream {
  const { clock } = settings;
  const insert = database.prepare('insert into events (position, partition, at, key, body) values (?, ?, ?, ?, ?)');
  const following = database.prepare<Stored>('select position, key, body from events where partition = ? and position > ? order by position limit ?');
  const marks = database.prepare<Marks>('select trimmed, (select reserved from numbers) as reserved from partitions where id = ?');
  const oldest = database.prepare<{ at: number }>('select at from events where partition = ? order by position limit 1');
  const expired = database.prepare<{ position: number | null; count: number }>(
    'select max(position) as position, count(*) as count from (select position, at from events where partition = ? order by position limit ?) where at < ?',
  );
  const erase = database.prepare('delete from events where partition = ? and position <= ?');
  const mark = database.prepare('update partitions set trimmed = ? where id = ?');
  const streams = new Map(settings.streams.map((name) => [name, openPartitions(database, name, settings)]));
  let closed = false;
  let trimAt = clock.now();

  function streamOf(name: string): OpenStream {
    const stream = streams.get(name);
    if (!stream) throw new PortError('missing', `there is no stream ${name}`, { key: name });
    return stream;
  }

  function partitionNamed(stream: string, name: string): Partition {
    const partition = streamOf(stream).partitions.get(name);
    if (!partition) throw new PortError('missing', `there is no partition ${name} of ${stream}`, { key: name });
    return partition;
  }

  /** True if there may be more to delete. */
  function trimPartition(id: number, before: number): boolean {
    const first = oldest.get(id);
    if (!first || first.at >= before) return false;
    const { position, count } = expired.get(id, trimMax, before)!;
    if (position === null) return false;
    erase.run(id, position);
    mark.run(position, id);
    return count === trimMax;
  }

  async function trim(): Promise<void> {
    const now = clock.now();
    const before = now - settings.retentionDays * 86_400_000;
    trimAt = now + trimEveryMinutes * 60_000;
    const more = await database.write(() => {
      let some = false;
      for (const { partitions } of streams.values()) for (const { id } of partitions.values()) some = trimPartition(id, before) || some;
      return some;
    });
    if (more) trimAt = now;
  }

  async function trimNowAndThen(): Promise<void> {
    if (clock.now() >= trimAt) await trim();
  }

  function batch(partition: number, after: number | undefined, max: number): Batch {
    if (after !== undefined) {
      const { trimmed, reserved } = marks.get(partition)!;
      if (after < trimmed || after >= reserved) return { gap: true };
    }
    const events = following.all(partition, after ?? 0, max);
    return { events: events.map(({ position, key, body }) => ({ position: String(position), message: decode(body), partitionkey: key })) };
  }

  return {
    async append(name, messages) {
      const stream = streamOf(name);
      const { bodies, failures } = encoded(messages);
      const written = new Set<Partition>();
      const write = (): void => {
        const at = clock.now();
        for (const [{ partitionkey }, body] of bodies) {
          const partition = stream.partitions.get(partitionOf(stream.collection, partitionkey))!;
          insert.run(database.number(), partition.id, at, partitionkey, body);
          written.add(partition);
        }
      };
      // Nobody waits between the two, so appends are written in the order in which they were called.
      await Promise.all([trimNowAndThen(), database.write(write)]);
      for (const { bell } of written) bell.ring();
      return failures;
    },

    partitions: async (name) => [...streamOf(name).partitions.keys()],

    async read(name, partitionName, { after, max, waitSeconds, signal }) {
      const { id, bell } = partitionNamed(name, partitionName);
      if (after !== undefined && !/^[0-9]{1,15}$/.test(after)) return { gap: true };
      await trimNowAndThen();
      const deadline = clock.now() + waitSeconds * 1000;
      while (!closed && !signal?.aborted) {
        const found = database.read(() => batch(id, after === undefined ? undefined : Number(after), max));
        if ('gap' in found || found.events.length > 0 || clock.now() >= deadline) return found;
        await bell.wait(deadline - clock.now(), signal);
      }
      // Nobody has looked: an empty answer would say that there is nothing.
      if (closed) throw new PortError('unavailable', 'the data folder is closed');
      return { events: [] };
    },

    trim,

    close() {
      closed = true;
      for (const { partitions } of streams.values()) for (const { bell } of partitions.values()) bell.ring();
    },
  };
}

interface Stored {
  readonly position: number;
  readonly key: string;
  readonly body: string;
}
interface Marks {
  readonly trimmed: number;
  readonly reserved: number;
}

/** The partitions of a stream are made once. Another number later would send a key elsewhere, past what is still unread of it, so it is refused. */
function openPartitions(database: Database, stream: string, { clock, partitionsPerStream }: StreamSettings): OpenStream {
  const collection: Collection = { name: stream, shards: partitionsPerStream };
  const known = database.prepare<{ id: number; name: string }>('select id, name from partitions where stream = ? order by id');
  const insert = database.prepare('insert into partitions (stream, name) values (?, ?)');
  if (known.all(stream).length === 0) {
    database.connection.exec('begin immediate');
    for (const name of partitionsOf(collection)) insert.run(stream, name);
    database.connection.exec('commit');
  }
  const found = known.all(stream);
  if (found.length !== partitionsPerStream) throw new Invalid(`the stream ${stream} has ${found.length} partitions in this folder, not ${partitionsPerStream}`);
  return { collection, partitions: new Map(found.map(({ id, name }) => [name, { id, bell: openBell(clock) }])) };
}

/** What can be sent, and what cannot: an event that is too large, and all later ones of its key, so that the key gets no gap. */
function encoded(messages: readonly Message[]): { bodies: [Message, string][]; failures: AppendFailure[] } {
  const bodies: [Message, string][] = [];
  const failures: AppendFailure[] = [];
  const cut = new Set<string>();
  messages.forEach((message, index) => {
    const { partitionkey, id } = message;
    const body = cut.has(partitionkey) ? new PortError('throttled', 'an earlier message of this key was not taken', { key: id }) : encodedOrError(message);
    if (typeof body === 'string') return bodies.push([message, body]);
    cut.add(partitionkey);
    return failures.push({ index, error: body });
  });
  return { bodies, failures };
}

function encodedOrError(message: Message): string | PortError {
  try {
    return encode(message);
  } catch (error) {
    if (isPortError(error)) return error;
    throw error;
  }
}
