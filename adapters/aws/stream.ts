import {
  DescribeStreamSummaryCommand, GetRecordsCommand, GetShardIteratorCommand, KinesisClient, ListShardsCommand, PutRecordsCommand,
  type GetRecordsCommandOutput, type PutRecordsResultEntry, type Shard, type _Record,
} from '@aws-sdk/client-kinesis';
import { createHash } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { PortError, encode, isPortError, type AppendFailure, type Batch, type Clock, type Message, type ReadOptions, type StreamDriver, type StreamEvent } from '../../ports/index.ts';
import { answered, configOf, isLocal, onlyOnce, type Place } from './client.ts';
import { awsError, nameOf } from './errors.ts';
import { keyOf, messageOf, nativeOf } from './message.ts';
import { parsedPosition, positionOf, type Position } from './position.ts';
import { childrenOf, isIn, partNamed, rootsOf, type Part } from './shards.ts';

/**
 * STREAMS IN KINESIS: the key of an event is its partition key, partitions are shards (shards.ts), positions sequence numbers (position.ts).
 *
 * - Kinesis promises no order within one PutRecords: some records can fail and later ones not. So a call has one record of a key at most, and the next one of that key goes out when
 *   it has been taken. Of a call only those that have failed go out again.
 * - A shard that was split or merged is read to its end before its children are told of.
 * - Kinesis hands out what comes after a position that has fallen out of retention, and says nothing. So a position that is so old is a gap, unless this process has
 *   seen, so lately that nothing can have been dropped since, that nothing came after it. Who has been away for longer than the retention is told of a gap in doubt, too.
 * - A shard is read five times a second by all together (https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html). So this process takes turns at a
 *   shard, fetches many at a time, and keeps what nobody has taken yet for the read that goes on there.
 */
export interface StreamSettings {
  readonly place: Place;
  /** `shop`: then the stream `facts` is called `shop-facts`. */
  readonly prefix: string;
  readonly clock: Clock;
  /** How long one answer is waited for; 15 unless told. */
  readonly patienceSeconds?: number;
  /** Between two reads of one shard; 210 in the cloud, none on this machine, unless told. */
  readonly paceMilliseconds?: number;
  /** Between two looks of one who waits; a second in the cloud, 50 on this machine, unless told. */
  readonly pollMilliseconds?: number;
}

export interface AwsStream extends StreamDriver {
  /** Ends all waiting. From then on every call fails. */
  close(): Promise<void>;
}

interface Course {
  readonly name: string;
  shards: readonly Shard[];
  /** Readers that nobody uses at the moment; the one used last is last. */
  readonly idle: Reader[];
  /** When this process last saw that nothing came after a position, by partition and position. */
  readonly ends: Map<string, number>;
  /** When the next read of a shard may go out. */
  readonly turns: Map<string, number>;
  retention?: { readonly milliseconds: number; readonly askedAt: number };
}

/** Reads one partition on, behind what was taken from it last. */
interface Reader {
  readonly part: Part;
  readonly buffer: StreamEvent[];
  after: string | undefined;
  /** Of the last record that was fetched, also one that is not of this part: behind it an iterator is renewed. */
  seen: Position | undefined;
  iterator: string | undefined;
  /** The shard has no more. */
  ended: boolean;
  usedAt: number;
}

const recordsMax = 500;
const requestBytesMax = 4 * 1_024 * 1_024;
const requestsAtOnce = 4;
const triesMax = 5;
const fetchMax = 1_000;
const idleMilliseconds = 60_000;
const idleMax = 32;
const endsMax = 4_096;
const hour = 3_600_000;
/** No stream keeps less. Clocks may differ by some minutes. */
const keptAtLeast = 23 * hour;
const skewMilliseconds = 300_000;
const retentionFreshMilliseconds = 60_000;

export function openStreamDriver({ place, prefix, clock, patienceSeconds = 15, paceMilliseconds = isLocal(place) ? 0 : 210, pollMilliseconds = isLocal(place) ? 50 : 1_000 }: StreamSettings): AwsStream {
  const client = onlyOnce(new KinesisClient(configOf(place, { patienceSeconds })));
  const courses = new Map<string, Course>();
  const closing = new AbortController();
  setMaxListeners(0, closing.signal);
  const nativeName = (stream: string): string => `${prefix}-${stream}`;

  function courseOf(name: string): Course {
    if (closing.signal.aborted) throw new PortError('unavailable', 'the streams are closed');
    let course = courses.get(name);
    if (!course) courses.set(name, (course = { name, shards: [], idle: [], ends: new Map(), turns: new Map() }));
    return course;
  }

  async function ask<Answer>(what: string, key: string, work: (options: { readonly abortSignal: AbortSignal }) => Promise<Answer>): Promise<Answer> {
    if (closing.signal.aborted) throw new PortError('unavailable', 'the streams are closed');
    try {
      return await answered(what, patienceSeconds, work, closing.signal);
    } catch (error) {
      throw awsError(error, what, key);
    }
  }

  async function refresh(course: Course): Promise<readonly Shard[]> {
    const shards: Shard[] = [];
    let token: string | undefined;
    do {
      const command = new ListShardsCommand(token === undefined ? { StreamName: nativeName(course.name) } : { NextToken: token });
      const answer = await ask(`partitions of ${course.name}`, course.name, (options) => client.send(command, options));
      shards.push(...(answer.Shards ?? []));
      token = answer.NextToken;
    } while (token !== undefined);
    return (course.shards = shards);
  }

  async function partOf(course: Course, partition: string): Promise<Part> {
    const part = partNamed(course.shards, partition) ?? partNamed(await refresh(course), partition);
    if (!part) throw new PortError('missing', `there is no partition ${partition} of ${course.name}`, { key: partition });
    return part;
  }

  // ---------------------------------------------------------------- gaps

  async function retentionOf(course: Course): Promise<number> {
    const now = clock.now();
    if (course.retention && now - course.retention.askedAt < retentionFreshMilliseconds) return course.retention.milliseconds;
    const answer = await ask(`retention of ${course.name}`, course.name, (options) => client.send(new DescribeStreamSummaryCommand({ StreamName: nativeName(course.name) }), options));
    course.retention = { milliseconds: (answer.StreamDescriptionSummary?.RetentionPeriodHours ?? 24) * hour, askedAt: now };
    return course.retention.milliseconds;
  }

  /** Whether what came after this position can have been dropped. */
  async function isLost(course: Course, part: Part, after: string | undefined): Promise<boolean> {
    if (after === undefined) return false;
    const position = parsedPosition(after);
    if (!position || isOutside(position, part.shard) || position.arrivedAt > clock.now() + skewMilliseconds) return true;
    const known = Math.max(position.arrivedAt, course.ends.get(endKey(part, after)) ?? 0);
    if (clock.now() - known < keptAtLeast) return false;
    return clock.now() - known >= (await retentionOf(course)) - skewMilliseconds;
  }

  const endKey = ({ name }: Part, after: string): string => `${name} ${after}`;

  function noteEnd(course: Course, { part, after, buffer }: Reader): void {
    if (after === undefined || buffer.length > 0) return;
    const key = endKey(part, after);
    course.ends.delete(key);
    course.ends.set(key, clock.now());
    for (const eldest of course.ends.keys()) {
      if (course.ends.size <= endsMax) break;
      course.ends.delete(eldest);
    }
  }

  // ---------------------------------------------------------------- reading

  function idleReader(course: Course, part: Part, after: string | undefined): Reader | undefined {
    const now = clock.now();
    for (const reader of course.idle.splice(0).slice(-idleMax)) if (now - reader.usedAt < idleMilliseconds) course.idle.push(reader);
    const place = course.idle.findLastIndex((reader) => reader.part.name === part.name && reader.after === after);
    return place === -1 ? undefined : course.idle.splice(place, 1)[0];
  }

  async function iteratorOf(course: Course, { part, seen }: Reader): Promise<string> {
    const from = seen === undefined ? { ShardIteratorType: 'TRIM_HORIZON' as const } : { ShardIteratorType: 'AFTER_SEQUENCE_NUMBER' as const, StartingSequenceNumber: String(seen.sequence) };
    const command = new GetShardIteratorCommand({ StreamName: nativeName(course.name), ShardId: part.shard.ShardId!, ...from });
    const { ShardIterator } = await ask(`read ${course.name} ${part.name}`, course.name, (options) => client.send(command, options));
    return ShardIterator!;
  }

  /** Waits for its turn at the shard. */
  async function turn(course: Course, { shard }: Part, signal: AbortSignal): Promise<void> {
    if (paceMilliseconds === 0) return;
    const now = clock.now();
    const at = Math.max(now, course.turns.get(shard.ShardId!) ?? 0);
    course.turns.set(shard.ShardId!, at + paceMilliseconds);
    if (at > now) await clock.sleep(at - now, signal);
  }

  /** An iterator lives for five minutes; another one is got behind the last record. */
  async function records(course: Course, reader: Reader): Promise<GetRecordsCommandOutput> {
    const what = `read ${course.name} ${reader.part.name}`;
    for (let attempt = 1; ; attempt++) {
      reader.iterator ??= await iteratorOf(course, reader);
      const command = new GetRecordsCommand({ ShardIterator: reader.iterator, Limit: fetchMax });
      try {
        return await ask(what, course.name, (options) => client.send(command, options));
      } catch (error) {
        const hasExpired = isPortError(error) && nameOf(error.cause) === 'ExpiredIteratorException';
        if (!hasExpired || attempt > 1) throw error;
        reader.iterator = undefined;
      }
    }
  }

  /** One look. Answers whether there is nothing more at this moment. */
  async function fetch(course: Course, reader: Reader): Promise<boolean> {
    const { Records = [], NextShardIterator, MillisBehindLatest = 0 } = await records(course, reader);
    reader.iterator = NextShardIterator;
    reader.ended = NextShardIterator === undefined;
    const last = Records.at(-1);
    if (last) reader.seen = { sequence: BigInt(last.SequenceNumber!), arrivedAt: arrivalOf(last) };
    reader.buffer.push(...Records.filter(({ PartitionKey = '' }) => reader.part.isWhole || isIn(reader.part.range, hashOf(PartitionKey))).map(eventOf));
    const isAtEnd = Records.length === 0 && MillisBehindLatest === 0;
    if (isAtEnd || reader.ended) noteEnd(course, reader);
    return isAtEnd || reader.ended;
  }

  function take(reader: Reader, max: number): Batch {
    const events = reader.buffer.splice(0, max);
    reader.after = events.at(-1)?.position ?? reader.after;
    return { events };
  }

  /** The children of a partition that has been read to its end. Should they not be listed yet, one looks again later. */
  async function endOf(course: Course, part: Part, signal: AbortSignal): Promise<Batch> {
    const children = childrenOf(await refresh(course), part).map(({ name }) => name);
    if (children.length > 0) return { events: [], children };
    await clock.sleep(pollMilliseconds, signal);
    return { events: [] };
  }

  async function readFrom(course: Course, reader: Reader, { max, deadline, signal }: { max: number; deadline: number; signal: AbortSignal }): Promise<Batch> {
    for (;;) {
      if (closing.signal.aborted) throw new PortError('unavailable', 'the streams are closed');
      if (reader.buffer.length > 0) return take(reader, max);
      if (signal.aborted) return { events: [] };
      if (reader.ended) return endOf(course, reader.part, signal);
      if (await isLost(course, reader.part, reader.after)) return { gap: true };
      await turn(course, reader.part, signal);
      if (signal.aborted) continue;
      const isAtEnd = await fetch(course, reader);
      if (!isAtEnd || reader.ended || reader.buffer.length > 0) continue;
      const left = deadline - clock.now();
      if (left <= 0) return { events: [] };
      await clock.sleep(Math.min(left, pollMilliseconds), signal);
    }
  }

  // ---------------------------------------------------------------- appending

  /** Sends one of each key, and again those that were not taken. Answers the failures. Throws when nobody knows. */
  async function putRound({ name }: Course, round: readonly Numbered[]): Promise<AppendFailure[]> {
    const what = `append to ${name}`;
    let left = round;
    for (let attempt = 1; ; attempt++) {
      const command = new PutRecordsCommand({ StreamName: nativeName(name), Records: left.map(({ data, key }) => ({ Data: data, PartitionKey: key })) });
      const failed: { readonly record: Numbered; readonly error: PortError }[] = [];
      try {
        const { Records = [] } = await ask(what, name, (options) => client.send(command, options));
        if (Records.length !== left.length) throw new PortError('unavailable', `${what}: an answer that cannot be read`);
        left.forEach((record, nth) => Records[nth]!.ErrorCode === undefined || failed.push({ record, error: failureOf(Records[nth]!, what) }));
      } catch (error) {
        if (!isPortError(error, 'throttled')) throw error;
        for (const record of left) failed.push({ record, error });
      }
      if (failed.length === 0) return [];
      const unknown = failed.find(({ error }) => error.kind !== 'throttled');
      if (attempt >= triesMax || closing.signal.aborted) {
        if (unknown) throw unknown.error;
        return failed.map(({ record, error }) => ({ index: record.index, error }));
      }
      left = failed.map(({ record }) => record);
      await clock.sleep(25 * 2 ** (attempt - 1), closing.signal);
    }
  }

  /** Key by key in order, all keys at once: the first of each, then the second of each. Of a key that has failed nothing more is sent. */
  async function putAll(course: Course, lines: readonly (readonly Numbered[])[]): Promise<AppendFailure[]> {
    const failures: AppendFailure[] = [];
    const cut = new Set<number>();
    for (let nth = 0; ; nth++) {
      const round = lines.flatMap((line, which) => (cut.has(which) ? [] : line.slice(nth, nth + 1)));
      if (round.length === 0) break;
      const outcomes = await eachAtOnce(requestsOf(round), (request) => putRound(course, request));
      for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
      for (const failure of outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? outcome.value : []))) {
        failures.push(failure);
        const which = lines.findIndex((line) => line[nth]?.index === failure.index);
        cut.add(which);
        for (const { index } of lines[which]!.slice(nth + 1)) failures.push({ index, error: new PortError('throttled', 'an earlier message of this key was not taken') });
      }
    }
    return failures;
  }

  return {
    async append(stream, messages) {
      if (messages.length === 0) return [];
      const course = courseOf(stream);
      const { lines, failures } = byKey(messages);
      return [...failures, ...(await putAll(course, lines))];
    },

    async partitions(stream) {
      return rootsOf(await refresh(courseOf(stream))).map(({ name }) => name).sort();
    },

    async read(stream, partition, { after, max, waitSeconds, signal = closing.signal }: ReadOptions) {
      const course = courseOf(stream);
      const deadline = clock.now() + waitSeconds * 1_000;
      const part = await partOf(course, partition);
      if (after !== undefined && !parsedPosition(after)) return { gap: true };
      if (signal.aborted) return { events: [] };
      const reader = idleReader(course, part, after) ?? {
        part, buffer: [], after, seen: after === undefined ? undefined : parsedPosition(after), iterator: undefined, ended: false, usedAt: 0,
      };
      try {
        const batch = await readFrom(course, reader, { max, deadline, signal });
        reader.usedAt = clock.now();
        if (!('gap' in batch)) course.idle.push(reader);
        return batch;
      } catch (error) {
        // A number of another stream that had this name, or that nobody has ever given out.
        if (isPortError(error) && after !== undefined && reader.after === after && nameOf(error.cause) === 'InvalidArgumentException') return { gap: true };
        throw error;
      }
    },

    async close() {
      if (closing.signal.aborted) return;
      closing.abort();
      client.destroy();
    },
  };
}

/** Whether a shard has never had such a number. */
function isOutside({ sequence }: Position, { SequenceNumberRange }: Shard): boolean {
  const { StartingSequenceNumber, EndingSequenceNumber } = SequenceNumberRange ?? {};
  return sequence < BigInt(StartingSequenceNumber ?? 0) || (EndingSequenceNumber !== undefined && sequence > BigInt(EndingSequenceNumber));
}

/** By which Kinesis chooses the shard of a key. */
const hashOf = (partitionKey: string): bigint => BigInt(`0x${createHash('md5').update(partitionKey).digest('hex')}`);

const arrivalOf = ({ ApproximateArrivalTimestamp }: _Record): number => ApproximateArrivalTimestamp?.getTime() ?? 0;

function eventOf(record: _Record): StreamEvent {
  const { Data = new Uint8Array(), PartitionKey = '', SequenceNumber = '' } = record;
  const message = messageOf(Buffer.from(Data.buffer, Data.byteOffset, Data.byteLength).toString());
  return { position: positionOf(SequenceNumber, arrivalOf(record)), message, partitionkey: keyOf(message, PartitionKey) };
}

/** What Kinesis says of one record. Of all but the first it is not certain that nothing was done (https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecordsResultEntry.html). */
function failureOf({ ErrorCode, ErrorMessage }: PutRecordsResultEntry, what: string): PortError {
  return awsError(Object.assign(new Error(ErrorMessage), { name: ErrorCode }), what);
}

interface Numbered {
  readonly index: number;
  readonly key: string;
  readonly data: Buffer;
}

/** By key, in order; what is too large is not sent, and neither is what follows it under the same key. */
function byKey(messages: readonly Message[]): { lines: Numbered[][]; failures: AppendFailure[] } {
  const lines = new Map<string, Numbered[]>();
  const failures: AppendFailure[] = [];
  const cut = new Set<string>();
  messages.forEach((message, index) => {
    const { partitionkey, id } = message;
    try {
      if (cut.has(partitionkey)) throw new PortError('throttled', 'an earlier message of this key was not taken', { key: id });
      const numbered = { index, key: nativeOf(partitionkey), data: Buffer.from(encode(message)) };
      const line = lines.get(partitionkey);
      if (line) line.push(numbered);
      else lines.set(partitionkey, [numbered]);
    } catch (error) {
      if (!isPortError(error)) throw error;
      cut.add(partitionkey);
      failures.push({ index, error });
    }
  });
  return { lines: [...lines.values()], failures };
}

function requestsOf(round: readonly Numbered[]): Numbered[][] {
  const requests: Numbered[][] = [[]];
  let bytes = 0;
  for (const record of round) {
    const size = record.data.length + Buffer.byteLength(record.key);
    if (requests.at(-1)!.length === recordsMax || (bytes > 0 && bytes + size > requestBytesMax)) {
      requests.push([]);
      bytes = 0;
    }
    requests.at(-1)!.push(record);
    bytes += size;
  }
  return requests;
}

/** All of them, some at a time. */
async function eachAtOnce<Item, Answer>(items: readonly Item[], work: (item: Item) => Promise<Answer>): Promise<PromiseSettledResult<Answer>[]> {
  const results: PromiseSettledResult<Answer>[] = [];
  for (let start = 0; start < items.length; start += requestsAtOnce) results.push(...(await Promise.allSettled(items.slice(start, start + requestsAtOnce).map(work))));
  return results;
}
