import {
  ChangeMessageVisibilityCommand, DeleteMessageBatchCommand, GetQueueAttributesCommand, GetQueueUrlCommand, ReceiveMessageCommand, SQSClient, SendMessageBatchCommand,
  type BatchResultErrorEntry, type Message as SqsMessage, type MessageAttributeValue,
} from '@aws-sdk/client-sqs';
import { setMaxListeners } from 'node:events';
import { PortError, isPortError, limits, must, type Clock, type Message, type QueueDriver, type Received, type SendOptions } from '../../ports/index.ts';
import { answered, configOf, isLocal, onlyOnce, type Place } from './client.ts';
import { awsError } from './errors.ts';
import { createGatherer } from './gather.ts';
import { encodedOf, messageOf } from './message.ts';
import { attemptsAttribute, attemptsOf } from './trigger.ts';

/**
 * QUEUES IN SQS, standard ones: a lock is a visibility timeout, a delayed copy has DelaySeconds (900 at most, which is the port's own limit), and the receipts of earlier
 * copies are in the attribute `attempts`.
 *
 * - What many send or settle at once goes out by tens. Of a batch some entries can fail: those that SQS itself is to blame for are sent again, and no others.
 * - A wait that has begun goes on when nobody waits any more, since SQS may be handing something over: that is kept for the next receive, and given back after a moment.
 *   (It counts as a receipt then; SQS has no way to take it back.) An empty list is only answered when SQS has looked.
 * - After `lockedUntil` nothing is settled. SQS lets an old receipt settle a message that nobody else has, and some servers say yes to anything.
 * - The queues' own maximum of receives is a net under the kernel's: `drainDeadLetters` takes what has fallen into it.
 */
export interface QueueSettings {
  readonly place: Place;
  /** `shop`: then the queue `work` is called `shop-work`. */
  readonly prefix: string;
  readonly clock: Clock;
  /** 30 unless told; 12 hours at most. */
  readonly lockSeconds?: number;
  /** How long one answer is waited for, on top of what it may wait for a message; 15 unless told. */
  readonly patienceSeconds?: number;
}

export interface AwsQueue extends QueueDriver {
  /**
   * Moves what lies in the queue's own dead-letter queue back to it, with the receipts that it has behind it, so that the kernel buries it by its own rule. First the copy,
   * then the removal: a crash between the two duplicates. Answers how many were moved, at most `drainMax` a call; 0 if there is no such queue.
   */
  drainDeadLetters(queue: string): Promise<number>;
  /** Gives back what nobody has taken, and ends all waiting. From then on every call fails. */
  close(): Promise<void>;
}

interface Held {
  readonly queue: string;
  readonly message: SqsMessage;
  readonly lockedUntil: number;
  /** Done, or found to be lost. */
  settled: boolean;
}

interface Entry {
  readonly body: string;
  readonly attributes: Record<string, MessageAttributeValue>;
  readonly delaySeconds: number;
  /** As SQS counts. */
  readonly bytes: number;
}

interface Desk {
  readonly url: string;
  readonly found: Held[];
  readonly wakes: Set<() => void>;
  readonly send: (entry: Entry) => Promise<void>;
  readonly remove: (handle: string) => Promise<void>;
  waiting: number;
  tidying: boolean;
}

/** Entries of a batch, and messages of a receive. */
const batchMax = 10;
/** Of a message and of a batch it is 1 MiB; but a queue may have kept the limit that was the largest until August 2025, and a larger batch is no cheaper. */
const messageBytesMax = 1_024 * 1_024;
const batchBytesMax = 256 * 1_024;
const requestsAtOnce = 16;
const triesMax = 3;
const keepMilliseconds = 1_000;
/** So much sooner than SQS we take a lock for lost. */
const slackMilliseconds = 500;
const drainMax = 1_024;

export function openQueueDriver({ place, prefix, clock, lockSeconds = 30, patienceSeconds = 15 }: QueueSettings): AwsQueue {
  const client = onlyOnce(new SQSClient({ ...configOf(place, { patienceSeconds }), useQueueUrlAsEndpoint: !isLocal(place) }));
  /** SQS takes 20. A request costs money, except on this machine, where a wait that nobody waits for had better be short. */
  const pullSecondsMax = isLocal(place) ? 1 : 20;
  const desks = new Map<string, Promise<Desk>>();
  const closing = new AbortController();
  setMaxListeners(0, closing.signal);

  async function ask<Answer>(what: string, key: string, work: (options: { readonly abortSignal: AbortSignal }) => Promise<Answer>, seconds = 0): Promise<Answer> {
    if (closing.signal.aborted) throw new PortError('unavailable', 'the queues are closed');
    try {
      return await answered(what, seconds + patienceSeconds, work, closing.signal);
    } catch (error) {
      const failure = awsError(error, what, key);
      if (failure.kind === 'missing') desks.delete(key);
      throw failure;
    }
  }

  async function urlOf(queue: string, name: string): Promise<string> {
    const { QueueUrl } = await ask(`find ${queue}`, queue, (options) => client.send(new GetQueueUrlCommand({ QueueName: name }), options));
    return QueueUrl!;
  }

  function deskOf(queue: string): Promise<Desk> {
    let desk = desks.get(queue);
    if (!desk) {
      desk = urlOf(queue, `${prefix}-${queue}`).then((url) => ({ url, found: [], wakes: new Set<() => void>(), ...gatherers(queue, url), waiting: 0, tidying: false }));
      desks.set(queue, desk);
      desk.catch(() => desks.delete(queue));
    }
    return desk;
  }

  function gatherers(queue: string, url: string): Pick<Desk, 'send' | 'remove'> {
    return {
      send: createGatherer<Entry>({ max: batchMax, bytesMax: batchBytesMax, bytesOf: ({ bytes }) => bytes, atOnce: requestsAtOnce, flush: (entries) => patiently(queue, entries, (some) => sendBatch(queue, url, some)) }),
      remove: createGatherer<string>({ max: batchMax, bytesMax: Infinity, bytesOf: () => 0, atOnce: requestsAtOnce, flush: (handles) => patiently(queue, handles, (some) => removeBatch(queue, url, some)) }),
    };
  }

  async function sendBatch(queue: string, url: string, entries: readonly Entry[]): Promise<readonly BatchResultErrorEntry[]> {
    const command = new SendMessageBatchCommand({
      QueueUrl: url,
      Entries: entries.map(({ body, attributes, delaySeconds }, nth) => ({ Id: String(nth), MessageBody: body, MessageAttributes: attributes, DelaySeconds: delaySeconds })),
    });
    return (await ask(`send to ${queue}`, queue, (options) => client.send(command, options))).Failed ?? [];
  }

  async function removeBatch(queue: string, url: string, handles: readonly string[]): Promise<readonly BatchResultErrorEntry[]> {
    const command = new DeleteMessageBatchCommand({ QueueUrl: url, Entries: handles.map((handle, nth) => ({ Id: String(nth), ReceiptHandle: handle })) });
    return (await ask(`settle messages of ${queue}`, queue, (options) => client.send(command, options))).Failed ?? [];
  }

  /** Tries those again of which SQS says that it was its own fault. */
  async function patiently<Item>(queue: string, items: readonly Item[], work: (items: readonly Item[]) => Promise<readonly BatchResultErrorEntry[]>): Promise<Map<number, PortError>> {
    const failures = new Map<number, PortError>();
    let left = items.map((_, nth) => nth);
    for (let attempt = 1; left.length > 0; attempt++) {
      const failed = await work(left.map((nth) => items[nth]!));
      const again: number[] = [];
      for (const { Id, SenderFault, Code, Message: text } of failed) {
        const nth = left[Number(Id)]!;
        if (SenderFault !== true && attempt < triesMax) again.push(nth);
        else failures.set(nth, awsError(Object.assign(new Error(text), { name: Code ?? 'unknown' }), `an entry of a batch for ${queue}`, queue));
      }
      left = again;
      if (left.length > 0) await clock.sleep(50 * 4 ** (attempt - 1), closing.signal);
    }
    return failures;
  }

  // ---------------------------------------------------------------- receiving

  async function fetchSome(queue: string, url: string, max: number, waitSeconds: number): Promise<Held[]> {
    const command = new ReceiveMessageCommand({
      QueueUrl: url, MaxNumberOfMessages: Math.min(batchMax, max), WaitTimeSeconds: waitSeconds, VisibilityTimeout: lockSeconds, MessageAttributeNames: ['All'],
      // The second of them has taken the place of the first, which is all that some servers know (its type does not name what it takes).
      AttributeNames: ['All'], MessageSystemAttributeNames: ['ApproximateReceiveCount', 'AWSTraceHeader'],
    });
    const { Messages = [] } = await ask(`receive from ${queue}`, queue, (options) => client.send(command, options), waitSeconds);
    const lockedUntil = clock.now() + lockSeconds * 1_000 - slackMilliseconds;
    return Messages.map((message) => ({ queue, message, lockedUntil, settled: false }));
  }

  /** Fetches into `found`, whoever takes it. Full hands mean that there is more: then all the rest is asked for at once. */
  async function pull(queue: string, desk: Desk, max: number, waitSeconds: number): Promise<void> {
    const first = await fetchSome(queue, desk.url, max, waitSeconds);
    desk.found.push(...first);
    if (first.length === batchMax && max > batchMax) {
      const rest = Array.from({ length: Math.ceil((max - batchMax) / batchMax) }, (_, nth) => Math.min(batchMax, max - batchMax * (nth + 1)));
      // What cannot be had now is still there.
      await Promise.all(rest.map((count) => fetchSome(queue, desk.url, count, 0).then((more) => void desk.found.push(...more), () => undefined)));
    }
    if (desk.found.length === 0) return;
    if (desk.waiting > 0) for (const wake of Array.from(desk.wakes)) wake();
    else void tidy(desk);
  }

  /** Until the pull has ended, somebody else's has brought something, or the signal says so. */
  async function pulled(desk: Desk, pulling: Promise<void>, signal: AbortSignal): Promise<void> {
    pulling.catch(() => undefined);
    let wake = (): void => {};
    const woken = new Promise<void>((resolve) => (wake = resolve));
    desk.wakes.add(wake);
    signal.addEventListener('abort', wake);
    try {
      await Promise.race([pulling, woken]);
    } finally {
      desk.wakes.delete(wake);
      signal.removeEventListener('abort', wake);
    }
  }

  /** What nobody takes for a while is given back. */
  async function tidy(desk: Desk): Promise<void> {
    if (desk.tidying) return;
    desk.tidying = true;
    while (desk.found.length > 0 && !closing.signal.aborted) {
      const late = [...desk.found];
      await clock.sleep(keepMilliseconds, closing.signal);
      const left = late.filter((held) => desk.found.includes(held));
      for (const held of left) desk.found.splice(desk.found.indexOf(held), 1);
      if (!closing.signal.aborted) await Promise.all(left.map((held) => giveBack(desk, held).catch(() => undefined)));
      else desk.found.push(...left);
    }
    desk.tidying = false;
  }

  const visibility = ({ url }: Desk, { message }: Held, seconds: number): ChangeMessageVisibilityCommand =>
    new ChangeMessageVisibilityCommand({ QueueUrl: url, ReceiptHandle: message.ReceiptHandle, VisibilityTimeout: seconds });

  /** One that cannot be given back is free when its lock ends. */
  const giveBack = (desk: Desk, held: Held): Promise<unknown> =>
    answered('give back', patienceSeconds, (options) => client.send(visibility(desk, held, 0), options));

  // ---------------------------------------------------------------- settling

  /** The message of a receipt that is still ours. */
  function heldOf({ queue, receipt, lockedUntil }: Received): Held {
    must(isHeld(receipt), 'a receipt is given back as it was received');
    if (closing.signal.aborted) throw new PortError('unavailable', 'the queues are closed');
    if (receipt.queue === queue && !receipt.settled && lockedUntil > clock.now()) return receipt;
    throw new PortError('lockLost', `a message of ${queue} is no longer ours`, { key: queue });
  }

  async function about<Answer>(held: Held, work: () => Promise<Answer>): Promise<Answer> {
    try {
      return await work();
    } catch (error) {
      if (isPortError(error, 'lockLost')) held.settled = true;
      throw error;
    }
  }

  /** Moves a handful; answers how many. */
  async function drainSome(queue: string, desk: Desk, deadUrl: string): Promise<number> {
    // One second of waiting makes SQS look on all of its machines.
    const dead = await fetchSome(queue, deadUrl, batchMax, 1);
    const outcomes = await Promise.allSettled(dead.map((held) => desk.send(returnedOf(held.message))));
    const moved = dead.filter((_, nth) => outcomes[nth]!.status === 'fulfilled').map(({ message }) => message.ReceiptHandle!);
    const failures = moved.length === 0 ? [] : await removeBatch(queue, deadUrl, moved);
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
    return moved.length - failures.length;
  }

  return {
    async send(queue, messages, how) {
      const entries = messages.map((message) => outgoing(message, how));
      if (entries.length === 0) return;
      const desk = await deskOf(queue);
      const outcomes = await Promise.allSettled(entries.map((entry) => desk.send(entry)));
      for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
    },

    async receive(queue, { max, waitSeconds, signal = closing.signal }) {
      if (closing.signal.aborted) throw new PortError('unavailable', 'the queues are closed');
      if (signal.aborted) return [];
      const desk = await deskOf(queue);
      const deadline = clock.now() + waitSeconds * 1_000;
      desk.waiting++;
      try {
        for (let looks = 0; ; looks++) {
          if (closing.signal.aborted) throw new PortError('unavailable', 'the queues are closed');
          if (signal.aborted) return [];
          const taken = desk.found.splice(0, max);
          if (taken.length > 0 || (looks > 0 && clock.now() >= deadline)) return taken.map(receivedOf);
          const left = Math.max(0, Math.ceil((deadline - clock.now()) / 1_000));
          await pulled(desk, pull(queue, desk, max, Math.min(left, pullSecondsMax)), signal);
        }
      } finally {
        desk.waiting--;
        if (desk.found.length > 0) void tidy(desk);
      }
    },

    async remove(received) {
      const held = heldOf(received);
      const desk = await deskOf(received.queue);
      await about(held, () => desk.remove(held.message.ReceiptHandle!));
      held.settled = true;
    },

    async renew(received) {
      const held = heldOf(received);
      const desk = await deskOf(received.queue);
      const begun = clock.now();
      await about(held, () => ask(`renew a lock of ${received.queue}`, received.queue, (options) => client.send(visibility(desk, held, lockSeconds), options)));
      return { ...received, lockedUntil: begun + lockSeconds * 1_000 - slackMilliseconds };
    },

    async drainDeadLetters(queue) {
      const desk = await deskOf(queue);
      const { Attributes } = await ask(`drain ${queue}`, queue, (options) => client.send(new GetQueueAttributesCommand({ QueueUrl: desk.url, AttributeNames: ['RedrivePolicy'] }), options));
      const name = deadNameIn(Attributes?.['RedrivePolicy']);
      if (name === undefined) return 0;
      const deadUrl = await urlOf(queue, name);
      for (let moved = 0; ; ) {
        const some = await drainSome(queue, desk, deadUrl);
        moved += some;
        if (some === 0 || moved >= drainMax) return moved;
      }
    },

    async close() {
      if (closing.signal.aborted) return;
      closing.abort();
      for (const opened of await Promise.allSettled(desks.values())) {
        if (opened.status === 'rejected') continue;
        for (const wake of Array.from(opened.value.wakes)) wake();
        await Promise.allSettled(opened.value.found.splice(0).map((held) => giveBack(opened.value, held)));
      }
      client.destroy();
    },
  };
}

function outgoing(message: Message, { delaySeconds, attempts }: Required<SendOptions>): Entry {
  const { body, attributes } = encodedOf(message);
  const entry = entryOf(body, attempts === 0 ? attributes : withAttempts(attributes, attempts), Math.min(limits.delaySecondsMax, Math.ceil(delaySeconds)));
  if (entry.bytes > messageBytesMax) throw new PortError('tooLarge', `${message.type} ${message.id} is over ${messageBytesMax} bytes as SQS counts`, { key: message.id });
  return entry;
}

const withAttempts = (attributes: Record<string, MessageAttributeValue>, attempts: number): Record<string, MessageAttributeValue> => ({
  ...attributes, [attemptsAttribute]: { DataType: 'Number', StringValue: String(attempts) },
});

/** SQS counts the body, and of every attribute its name, type and value. */
function entryOf(body: string, attributes: Entry['attributes'], delaySeconds: number): Entry {
  let bytes = Buffer.byteLength(body);
  for (const [name, { DataType = '', StringValue = '', BinaryValue }] of Object.entries(attributes)) {
    bytes += Buffer.byteLength(name + DataType + StringValue) + (BinaryValue?.length ?? 0);
  }
  return { body, attributes, delaySeconds, bytes };
}

const attributesMax = 10;

/** A message that SQS had put aside, word for word, to be put on its queue again. The receipt by which we have it is none of its own. */
function returnedOf({ Body = '', MessageAttributes = {}, Attributes }: SqsMessage): Entry {
  const { [attemptsAttribute]: earlier, ...others } = MessageAttributes;
  const receipts = Number(Attributes?.ApproximateReceiveCount ?? 1) - 1;
  const kept = Object.entries(others).slice(0, attributesMax - 1).map(([name, { DataType, StringValue, BinaryValue }]) => [name, BinaryValue ? { DataType, BinaryValue } : { DataType, StringValue }] as const);
  return entryOf(Body, withAttempts(Object.fromEntries(kept), attemptsOf(earlier?.StringValue, String(receipts))), 0);
}

function receivedOf(held: Held): Received {
  const { queue, message, lockedUntil } = held;
  const attributes = Object.fromEntries(Object.entries(message.MessageAttributes ?? {}).map(([name, { StringValue }]) => [name, StringValue]));
  return {
    queue, lockedUntil, receipt: held,
    message: messageOf(message.Body ?? '', { attributes, traceHeader: message.Attributes?.AWSTraceHeader }),
    attempts: attemptsOf(attributes[attemptsAttribute], message.Attributes?.ApproximateReceiveCount),
  };
}

/** The name in the ARN of the dead-letter queue. */
function deadNameIn(policy: string | undefined): string | undefined {
  return /"deadLetterTargetArn"\s*:\s*"[^"]*:([A-Za-z0-9_.-]{1,80})"/.exec(policy ?? '')?.[1];
}

const isHeld = (receipt: unknown): receipt is Held => typeof receipt === 'object' && receipt !== null && 'message' in receipt && 'settled' in receipt;
