import { EventHubConsumerClient, EventHubProducerClient, earliestEventPosition, type EventData, type ReceivedEventData } from '@azure/event-hubs';
import {
  PortError, isMalformed, isPortError, type AppendFailure, type Batch, type Clock, type Message, type ReadOptions, type StreamDriver, type StreamEvent,
} from '../../ports/index.ts';
import { amqpError } from './errors.ts';
import { encodedOf, messageOf, nativeOf } from './message.ts';
import { answered, createBell, once, type Bell, type Namespace } from './namespace.ts';

/**
 * STREAMS IN EVENT HUBS: the key of an event is its partition key, a position is its sequence number, and partitions are as many as the hub has.
 *
 * - Which partition a key belongs to is decided by the broker alone. So every key is sent by itself, many at once, and one key in the order in which it was handed over.
 * - Readers have no epoch, so nobody drives another one away. A read leaves its link open for the read that goes on behind it, for a minute.
 * - The broker answers a position that has fallen out of retention with the earliest event that it still has. So a first event that is not the next one is not believed
 *   before the broker has told what it still has, and neither is a position that was never seen here.
 */
export interface StreamSettings {
  readonly namespace: Namespace;
  readonly clock: Clock;
  /**
   * Readers of one partition of a stream are spread over these groups: a group takes five of them (https://learn.microsoft.com/azure/event-hubs/event-hubs-quotas).
   * `$Default` alone unless told. Which group a reader is in means nothing else.
   */
  readonly consumerGroups?: (stream: string) => readonly string[];
  /** How long one answer of the broker is waited for; 15 unless told. */
  readonly patienceSeconds?: number;
}

export interface AzureStream extends StreamDriver {
  /** Ends all waiting. From then on every call fails. */
  close(): Promise<void>;
}

interface Hub {
  readonly name: string;
  readonly producer: EventHubProducerClient;
  readonly seats: Seat[];
  /** Readers that nobody uses at the moment; the one used last is last. */
  readonly idle: Reader[];
  partitions: readonly string[];
}

/** A consumer client of the SDK reads a partition once at a time: a second reader of the same one needs another client. */
interface Seat {
  readonly client: EventHubConsumerClient;
  readonly taken: Set<string>;
}

/** A link that reads one partition on, behind what was taken from it last. */
interface Reader {
  readonly partition: string;
  readonly buffer: ReceivedEventData[];
  readonly bell: Bell;
  /** Sequence number of the event that was taken last; at first, behind which the reader began. */
  after: number | undefined;
  usedAt: number;
  /**
   * Events that the broker may send us unasked, at most. The SDK gives credit for a whole batch whenever it begins to wait for one, on top of all that it has given before
   * and that nobody has used: without an end, and what a partition gets while its consumer stands would all lie in our memory.
   */
  credit: number;
  error?: unknown;
  /** Lets the SDK go on to the next batch. */
  goOn?: () => void;
  close(): void;
}

/** What the broker tells of a partition. */
interface Extent {
  readonly first: number;
  readonly last: number;
  readonly isEmpty: boolean;
}

const keysAtOnce = 128;
/** The SDK waits 20 ms for a batch that is not full yet: so it had better be a large one. */
const batchEvents = 256;
const prefetchEvents = 512;
const bufferEvents = 512;
const creditMax = 128 * 1_024;
/** After the loss of a socket the SDK does nothing before this time is over. */
const drySeconds = 2;
const idleMilliseconds = 60_000;
const idlePerPartition = 4;

export function openStreamDriver({ namespace, clock, consumerGroups = () => ['$Default'], patienceSeconds = 15 }: StreamSettings): AzureStream {
  const options = { retryOptions: once(patienceSeconds) };
  const hubs = new Map<string, Hub>();
  const closing = new AbortController();

  function hubOf(name: string): Hub {
    if (closing.signal.aborted) throw new PortError('unavailable', 'the streams are closed');
    let hub = hubs.get(name);
    if (!hub) hubs.set(name, (hub = { name, producer: newProducer(name), seats: [], idle: [], partitions: [] }));
    return hub;
  }

  const newProducer = (hub: string): EventHubProducerClient =>
    'connectionString' in namespace
      ? new EventHubProducerClient(namespace.connectionString, hub, options)
      : new EventHubProducerClient(namespace.fullyQualifiedNamespace, hub, namespace.credential, options);

  const newConsumer = (hub: string, group: string): EventHubConsumerClient =>
    'connectionString' in namespace
      ? new EventHubConsumerClient(group, namespace.connectionString, hub, options)
      : new EventHubConsumerClient(group, namespace.fullyQualifiedNamespace, hub, namespace.credential, options);

  async function ask<Answer>(what: string, key: string, work: () => Promise<Answer>): Promise<Answer> {
    try {
      return await answered(work(), patienceSeconds, what);
    } catch (error) {
      throw amqpError(error, what, key);
    }
  }

  async function partitionsOf(hub: Hub): Promise<readonly string[]> {
    hub.partitions = await ask(`partitions of ${hub.name}`, hub.name, () => hub.producer.getPartitionIds());
    return hub.partitions;
  }

  async function extentOf(hub: Hub, partition: string): Promise<Extent> {
    const found = await ask(`extent of ${hub.name} ${partition}`, hub.name, () => hub.producer.getPartitionProperties(partition));
    return { first: found.beginningSequenceNumber, last: found.lastEnqueuedSequenceNumber, isEmpty: found.isEmpty };
  }

  // ---------------------------------------------------------------- readers

  function openReader(hub: Hub, partition: string, after: number | undefined): Reader {
    const seat = seatFor(hub, partition);
    seat.taken.add(partition);
    const reader: Reader = { partition, buffer: [], bell: createBell(), after, usedAt: clock.now(), credit: prefetchEvents, close };
    const subscription = seat.client.subscribe(partition, {
      async processEvents(events) {
        reader.credit += prefetchEvents - events.length;
        if (events.length === 0 || reader.error !== undefined) return;
        reader.buffer.push(...events);
        reader.bell.ring();
        // As long as this is not answered the SDK fetches no further batch.
        if (reader.buffer.length >= bufferEvents) await new Promise<void>((resolve) => (reader.goOn = resolve));
      },
      async processError(error) {
        reader.error = error;
        reader.bell.ring();
      },
    }, {
      startPosition: after === undefined ? earliestEventPosition : { sequenceNumber: after, isInclusive: false },
      maxBatchSize: batchEvents, prefetchCount: prefetchEvents, maxWaitTimeInSeconds: drySeconds, skipParsingBodyAsJson: true,
    });
    function close(): void {
      reader.error ??= new PortError('unavailable', 'the reader is closed');
      reader.bell.ring();
      subscription.close().catch(() => undefined);
      seat.taken.delete(partition);
      reader.goOn?.();
    }
    return reader;
  }

  function seatFor(hub: Hub, partition: string): Seat {
    const free = hub.seats.find(({ taken }) => !taken.has(partition));
    if (free) return free;
    const groups = consumerGroups(hub.name);
    const seat = { client: newConsumer(hub.name, groups[hub.seats.length % groups.length] ?? '$Default'), taken: new Set<string>() };
    hub.seats.push(seat);
    return seat;
  }

  /** The reader that stands at this position, if there is one that can go on. */
  function idleReader(hub: Hub, partition: string, after: number | undefined): Reader | undefined {
    tidy(hub);
    const place = hub.idle.findLastIndex((reader) => reader.partition === partition && reader.after === after);
    return place === -1 ? undefined : hub.idle.splice(place, 1)[0];
  }

  /** Keeps a reader for the read that goes on behind it. */
  function leave(hub: Hub, reader: Reader): void {
    reader.usedAt = clock.now();
    hub.idle.push(reader);
    tidy(hub);
  }

  /** Closes what has been left alone for long, what is too much, and what does not work. */
  function tidy(hub: Hub): void {
    const now = clock.now();
    const seen = new Map<string, number>();
    const keeps = ({ partition, error, usedAt, credit, buffer }: Reader): boolean => {
      const count = (seen.get(partition) ?? 0) + 1;
      seen.set(partition, count);
      return error === undefined && count <= idlePerPartition && now - usedAt < idleMilliseconds && (credit < creditMax || buffer.length > 0);
    };
    for (const reader of hub.idle.splice(0).reverse()) {
      if (keeps(reader)) hub.idle.unshift(reader);
      else reader.close();
    }
  }

  /**
   * Waits until there is an event. Answers false if there is none in time; then the broker has confirmed it. Throws what the reader has failed with; a reader that does
   * not bring what the broker says to be there has lost its link without noticing.
   */
  async function hasEvents(hub: Hub, reader: Reader, deadline: number, signal: AbortSignal): Promise<boolean | 'gap'> {
    for (;;) {
      if (closing.signal.aborted) throw new PortError('unavailable', 'the streams are closed');
      if (reader.buffer.length > 0) return true;
      if (reader.error !== undefined) throw amqpError(reader.error, `read ${hub.name} ${reader.partition}`, hub.name);
      if (signal.aborted) return false;
      const left = deadline - clock.now();
      if (left > 0) {
        await rest(reader, left, signal);
        continue;
      }
      const extent = await extentOf(hub, reader.partition);
      if (isGap(extent, reader.after)) return 'gap';
      if (isAtEnd(extent, reader.after)) return reader.buffer.length > 0;
      await arrival(hub, reader, signal);
    }
  }

  async function rest(reader: Reader, milliseconds: number, signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    const either = AbortSignal.any([signal, closing.signal, over.signal]);
    await Promise.race([reader.bell.rung(either), clock.sleep(milliseconds, either)]);
    over.abort();
  }

  /** Events that are there will be brought soon. */
  async function arrival(hub: Hub, reader: Reader, signal: AbortSignal): Promise<void> {
    if (reader.buffer.length > 0 || reader.error !== undefined) return;
    const over = new AbortController();
    const either = AbortSignal.any([signal, closing.signal, over.signal]);
    try {
      await answered(reader.bell.rung(either), patienceSeconds, `read ${hub.name} ${reader.partition}`);
    } finally {
      over.abort();
    }
  }

  /** Takes events off the buffer, up to a hole. */
  function take(reader: Reader, max: number): ReceivedEventData[] {
    const hole = reader.buffer.findIndex(({ sequenceNumber }, n) => n > 0 && sequenceNumber !== reader.buffer[n - 1]!.sequenceNumber + 1);
    const events = reader.buffer.splice(0, hole === -1 ? max : Math.min(max, hole));
    reader.after = events.at(-1)?.sequenceNumber ?? reader.after;
    if (reader.buffer.length < bufferEvents) reader.goOn?.();
    return events;
  }

  async function readFrom(hub: Hub, reader: Reader, { max, deadline, signal }: { max: number; deadline: number; signal: AbortSignal }): Promise<Batch> {
    const found = await hasEvents(hub, reader, deadline, signal);
    if (found === 'gap') return { gap: true };
    if (!found) return { events: [] };
    const [next] = reader.buffer;
    const isNext = reader.after === undefined || next!.sequenceNumber === reader.after + 1;
    if (!isNext && isGap(await extentOf(hub, reader.partition), reader.after)) return { gap: true };
    return { events: take(reader, max).map(eventOf) };
  }

  // ---------------------------------------------------------------- appending

  /** Sends what belongs to one key, in order. Answers what was not taken: a tail. Throws when nobody knows. */
  async function sendKey(hub: Hub, partitionkey: string, events: readonly Numbered[]): Promise<AppendFailure[]> {
    const partitionKey = nativeOf(partitionkey);
    for (let sent = 0; sent < events.length; ) {
      try {
        sent += await sendSome(hub, partitionKey, events.slice(sent));
      } catch (error) {
        const failure = amqpError(error, `append to ${hub.name}`, hub.name);
        if (!isPortError(failure, 'throttled', 'tooLarge')) throw failure;
        return events.slice(sent).map(({ index }, n) => ({ index, error: n === 0 ? failure : new PortError('throttled', 'an earlier message of this key was not taken') }));
      }
    }
    return [];
  }

  /** Sends as many as fit one batch, and answers how many. */
  async function sendSome({ name, producer }: Hub, partitionKey: string, events: readonly Numbered[]): Promise<number> {
    const what = `append to ${name}`;
    if (events.length === 1) {
      await answered(producer.sendBatch([events[0]!.data], { partitionKey }), patienceSeconds, what);
      return 1;
    }
    const batch = await answered(producer.createBatch({ partitionKey }), patienceSeconds, what);
    for (const { data } of events) if (!batch.tryAdd(data)) break;
    if (batch.count === 0) throw new PortError('tooLarge', 'an event is over the size that this hub allows');
    await answered(producer.sendBatch(batch), patienceSeconds, what);
    return batch.count;
  }

  return {
    async append(stream, messages) {
      if (messages.length === 0) return [];
      const hub = hubOf(stream);
      const { keys, failures } = byKey(messages);
      const outcomes = await eachAtOnce([...keys], keysAtOnce, ([partitionkey, events]) => sendKey(hub, partitionkey, events));
      for (const outcome of outcomes) {
        if (outcome.status === 'rejected') throw outcome.reason;
        failures.push(...outcome.value);
      }
      return failures;
    },

    async partitions(stream) {
      return [...(await partitionsOf(hubOf(stream)))];
    },

    async read(stream, partition, { after: position, max, waitSeconds, signal = closing.signal }: ReadOptions) {
      const hub = hubOf(stream);
      const deadline = clock.now() + waitSeconds * 1_000;
      if (!hub.partitions.includes(partition) && !(await partitionsOf(hub)).includes(partition)) {
        throw new PortError('missing', `there is no partition ${partition} of ${stream}`, { key: partition });
      }
      const after = position === undefined ? undefined : sequenceNumberOf(position);
      if (Number.isNaN(after)) return { gap: true };
      if (signal.aborted) return { events: [] };
      let reader = idleReader(hub, partition, after);
      if (!reader) {
        const extent = await extentOf(hub, partition);
        if (isGap(extent, after)) return { gap: true };
        if (isAtEnd(extent, after) && clock.now() >= deadline) return { events: [] };
        reader = openReader(hub, partition, after);
      }
      let batch: Batch | undefined;
      try {
        batch = await readFrom(hub, reader, { max, deadline, signal });
        return batch;
      } finally {
        if (batch === undefined || 'gap' in batch || closing.signal.aborted) reader.close();
        else leave(hub, reader);
      }
    },

    async close() {
      if (closing.signal.aborted) return;
      closing.abort();
      const clients = [...hubs.values()].flatMap(({ producer, seats, idle }) => {
        for (const reader of idle) reader.close();
        return [producer, ...seats.map(({ client }) => client)];
      });
      await answered(Promise.allSettled(clients.map((client) => client.close())), patienceSeconds, 'close').catch(() => undefined);
    },
  };
}

/** Our own form alone; what a position cannot be is NaN. 15 digits fit a number. */
const sequenceNumberOf = (position: string): number => (/^(0|[1-9][0-9]{0,14})$/.test(position) ? Number(position) : Number.NaN);

/** True if whoever stands behind `after` has missed something, or stands where nobody can stand. */
function isGap({ first, last, isEmpty }: Extent, after: number | undefined): boolean {
  if (after === undefined) return false;
  return after > last || (isEmpty ? after < last : after + 1 < first);
}

const isAtEnd = ({ last, isEmpty }: Extent, after: number | undefined): boolean => isEmpty || after === last || last < 0;

function eventOf({ body, contentType, properties, partitionKey: key, sequenceNumber }: ReceivedEventData): StreamEvent {
  const partitionKey = key ?? '';
  const message = messageOf({ body: body as unknown, contentType, properties });
  const isOurs = !isMalformed(message) && (partitionKey === '' || partitionKey === nativeOf(message.partitionkey));
  return { position: String(sequenceNumber), message, partitionkey: isOurs ? message.partitionkey : partitionKey };
}

interface Numbered {
  readonly index: number;
  readonly data: EventData;
}

/** By key, in order; what is too large is not sent, and neither is what follows it under the same key. */
function byKey(messages: readonly Message[]): { keys: Map<string, Numbered[]>; failures: AppendFailure[] } {
  const keys = new Map<string, Numbered[]>();
  const failures: AppendFailure[] = [];
  const cut = new Set<string>();
  messages.forEach((message, index) => {
    const { partitionkey, id } = message;
    try {
      if (cut.has(partitionkey)) throw new PortError('throttled', 'an earlier message of this key was not taken', { key: id });
      const event = { index, data: dataOf(message) };
      const events = keys.get(partitionkey);
      if (events) events.push(event);
      else keys.set(partitionkey, [event]);
    } catch (error) {
      if (!isPortError(error)) throw error;
      cut.add(partitionkey);
      failures.push({ index, error });
    }
  });
  return { keys, failures };
}

function dataOf(message: Message): EventData {
  const { body, contentType, correlationId, properties } = encodedOf(message);
  return { body, contentType, properties, messageId: nativeOf(message.id), ...(correlationId === undefined ? {} : { correlationId }) };
}

/** All of them, so many at a time. */
async function eachAtOnce<Item, Answer>(items: readonly Item[], atOnce: number, work: (item: Item) => Promise<Answer>): Promise<PromiseSettledResult<Answer>[]> {
  const results: PromiseSettledResult<Answer>[] = [];
  let next = 0;
  async function worker(): Promise<void> {
    for (let n; (n = next++) < items.length; ) {
      results[n] = await work(items[n]!).then((value) => ({ status: 'fulfilled', value }) as const, (reason: unknown) => ({ status: 'rejected', reason }) as const);
    }
  }
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, worker));
  return results;
}
