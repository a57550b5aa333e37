import { Defect, type Received, type StreamEvent } from '../../ports/index.ts';
import { keyOf, messageOf } from './message.ts';
import { parsedPosition, positionOf } from './position.ts';

/**
 * TRIGGERS OF AWS LAMBDA: from the shapes in which Lambda hands over what it has received to those of the ports. Nothing here settles or reads anything.
 *
 * - A message of SQS that Lambda is told nothing bad about is removed by it; `receipt` is the id by which a failure is reported (`batchItemFailures`).
 * - A batch of Kinesis is of one shard and in order (with a parallelization factor of 1: with more of them, batches of one shard overtake one another, and no position holds).
 *   Lambda hands out a parent to its end before its children.
 */

/** An event of a queue; what we read of https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html */
export interface SqsEvent {
  readonly Records: readonly SqsRecord[];
}

export interface SqsRecord {
  readonly messageId: string;
  readonly body: string;
  readonly attributes?: { readonly ApproximateReceiveCount?: string; readonly AWSTraceHeader?: string };
  readonly messageAttributes?: Readonly<Record<string, { readonly stringValue?: string }>>;
}

/** An event of a stream; what we read of https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html */
export interface KinesisEvent {
  readonly Records: readonly KinesisRecord[];
}

export interface KinesisRecord {
  /** `shardId-000000000000:<sequence number>` */
  readonly eventID: string;
  readonly kinesis: {
    readonly partitionKey: string;
    readonly sequenceNumber: string;
    /** In base64. */
    readonly data: string;
    /** Seconds since 1970, with decimals. */
    readonly approximateArrivalTimestamp: number;
  };
}

/** The attribute in which a delayed copy carries its receipts so far. */
export const attemptsAttribute = 'attempts';

/** The platform holds the locks. */
export function receivedOf(queue: string, { Records }: SqsEvent): Received[] {
  return Records.map(({ messageId, body, attributes, messageAttributes = {} }) => {
    const beside = Object.fromEntries(Object.entries(messageAttributes).map(([name, { stringValue }]) => [name, stringValue]));
    return {
      queue,
      message: messageOf(body, { attributes: beside, traceHeader: attributes?.AWSTraceHeader }),
      attempts: attemptsOf(beside[attemptsAttribute], attributes?.ApproximateReceiveCount),
      lockedUntil: Number.MAX_SAFE_INTEGER,
      receipt: messageId,
    };
  });
}

/** `earlier`: receipts of earlier copies; `receipts`: those of this one. What a stranger has written there may be anything. */
export function attemptsOf(earlier: string | undefined, receipts: string | undefined): number {
  return Math.max(1, countOf(earlier) + Math.max(1, countOf(receipts)));
}

function countOf(text: string | undefined): number {
  return /^-?\d{1,6}$/.test(text ?? '') ? Number(text) : 0;
}

export interface Delivered {
  readonly stream: string;
  readonly partition: string;
  readonly events: readonly StreamEvent[];
  /** Reported to the platform, it hands the batch out again from this event on. By index in `events`. */
  readonly sequenceNumbers: readonly string[];
  follows(after: string | undefined): boolean;
  isBehind(position: string, other: string): boolean;
}

/** Nothing is dropped before it is so old (https://docs.aws.amazon.com/streams/latest/dev/kinesis-extended-retention.html); an hour less, since clocks differ. */
const keptMilliseconds = 23 * 3_600_000;

/**
 * A batch of one shard. `now`: milliseconds since 1970.
 *
 * Whether something lies between a position and the first event nobody can see from sequence numbers. But Lambda begins at the beginning of a shard, and hands out a batch
 * again without end until it has been handled: so behind a position that was stored for this consumer nothing has been passed over, unless it has been dropped
 * meanwhile for its age. Whoever has no position, or an old one, reads the stream itself first.
 */
export function deliveredOf(stream: string, { Records }: KinesisEvent, now: number): Delivered {
  const events = Records.map(eventOf);
  const shards = new Set(Records.map(({ eventID }) => shardOf(eventID)));
  if (shards.size > 1) throw new Defect(`a batch of ${stream} came from ${shards.size} shards`);
  const first = events[0] && sequenceOf(events[0].position);
  return {
    stream,
    partition: [...shards][0] ?? '',
    events,
    sequenceNumbers: Records.map(({ kinesis }) => kinesis.sequenceNumber),
    follows(after) {
      if (first === undefined) return true;
      const position = after === undefined ? undefined : parsedPosition(after);
      if (position === undefined) return false;
      return first <= position.sequence || now - position.arrivedAt < keptMilliseconds;
    },
    isBehind: (position, other) => sequenceOf(position) > sequenceOf(other),
  };
}

function eventOf({ kinesis }: KinesisRecord): StreamEvent {
  const { partitionKey, sequenceNumber, data, approximateArrivalTimestamp } = kinesis;
  const message = messageOf(Buffer.from(data, 'base64').toString());
  return { position: positionOf(sequenceNumber, approximateArrivalTimestamp * 1_000), message, partitionkey: keyOf(message, partitionKey) };
}

function shardOf(eventID: string): string {
  const shard = /^(shardId-\d{1,12}):/.exec(eventID)?.[1];
  if (shard === undefined) throw new Defect('a record came without its shard');
  return shard;
}

function sequenceOf(position: string): bigint {
  const parsed = parsedPosition(position);
  if (!parsed) throw new Defect(`no position of a shard: ${position}`);
  return parsed.sequence;
}
