import { ServiceBusClient, type ServiceBusMessage, type ServiceBusReceivedMessage, type ServiceBusReceiver, type ServiceBusSender } from '@azure/service-bus';
import { PortError, isPortError, must, type Clock, type Message, type QueueDriver, type Received, type ReceiveOptions, type SendOptions } from '../../ports/index.ts';
import { amqpError } from './errors.ts';
import { encodedOf, messageOf, nativeOf, textOf } from './message.ts';
import { answered, createBell, once, type Bell, type Namespace } from './namespace.ts';

/**
 * QUEUES IN SERVICE BUS: peek-lock, a delayed copy as a scheduled message, and the receipts of earlier copies in the property `attempts`.
 *
 * - A link gets credit for what a receive has asked for, and for nothing else, because whatever the broker hands over is locked and has one receipt more. When a receive
 *   ends early, what is on its way to it then is kept for the next receive, and given back after a moment if nobody comes, without counting as a receipt.
 * - After `lockedUntil` nothing is settled, whatever the broker would do.
 * - The queues' own maximum of deliveries is a net under the kernel's: `drainDeadLetters` takes what has fallen into it, and the kernel buries it (core/kernel/dead.ts).
 */
export interface QueueSettings {
  readonly namespace: Namespace;
  readonly clock: Clock;
  /** How long one answer of the broker is waited for; 15 unless told. */
  readonly patienceSeconds?: number;
}

export interface AzureQueue extends QueueDriver {
  /**
   * Moves what the broker has put aside (`$DeadLetterQueue`: after its maximum of deliveries, at the end of a time to live, by a person's hand) back to the queue, with the
   * receipts that it has behind it. So what has come too often is buried by the kernel's own rule, as on every family, and what has not gets another chance. A host calls
   * it now and then. First the copy, then the removal: a crash between the two duplicates. Answers how many were moved, at most `drainMax` a call.
   */
  drainDeadLetters(queue: string): Promise<number>;
  /** Gives back what nobody has taken, and ends all waiting. From then on every call fails. */
  close(): Promise<void>;
}

/** A message that the broker has locked for us. */
interface Held {
  readonly queue: string;
  readonly message: ServiceBusReceivedMessage;
  readonly receiver: ServiceBusReceiver;
  /** Done, or found to be lost. */
  settled: boolean;
}

/** What one queue has under way. */
interface Desk {
  readonly sender: ServiceBusSender;
  /** Receivers that nobody uses at the moment; each has a link of its own, so that receives do not wait for one another. */
  readonly idle: ServiceBusReceiver[];
  /** Came for a receive that had gone, or beside what another one took. */
  readonly found: Held[];
  readonly bell: Bell;
  readonly pulls: Set<Promise<void>>;
  /** Receives under way. */
  waiting: number;
  tidying: boolean;
}

const attemptsProperty = 'attempts';
/** One pull at most: so long somebody who closes has to wait for the end of it. */
const pullMilliseconds = 1_000;
const keepMilliseconds = 1_000;
const drainBatch = 32;
const drainMax = 1_024;

export function openQueueDriver({ namespace, clock, patienceSeconds = 15 }: QueueSettings): AzureQueue {
  const options = { retryOptions: once(patienceSeconds) };
  const client = 'connectionString' in namespace
    ? new ServiceBusClient(namespace.connectionString, options)
    : new ServiceBusClient(namespace.fullyQualifiedNamespace, namespace.credential, options);
  const desks = new Map<string, Desk>();
  const proven = new WeakSet<ServiceBusReceiver>();
  const closing = new AbortController();

  function deskOf(queue: string): Desk {
    if (closing.signal.aborted) throw new PortError('unavailable', 'the queues are closed');
    let desk = desks.get(queue);
    if (!desk) desks.set(queue, (desk = { sender: client.createSender(queue), idle: [], found: [], bell: createBell(), pulls: new Set(), waiting: 0, tidying: false }));
    return desk;
  }

  /** Asks the broker; whatever goes wrong is an error of the port. */
  async function ask<Answer>(what: string, key: string, work: () => Promise<Answer>): Promise<Answer> {
    try {
      return await answered(work(), patienceSeconds, what);
    } catch (error) {
      throw amqpError(error, what, key);
    }
  }

  const newReceiver = (queue: string, subQueueType?: 'deadLetter'): ServiceBusReceiver =>
    // Locks are renewed by whoever handles the message; the SDK would renew them behind his back, also for what he has forgotten.
    client.createReceiver(queue, { receiveMode: 'peekLock', maxAutoLockRenewalDurationInMs: 0, skipParsingBodyAsJson: true, ...(subQueueType ? { subQueueType } : {}) });

  /** Starts to fetch messages, which land in `found`, also when nobody waits any more. Rejects when the broker cannot be asked. */
  function pull(queue: string, desk: Desk, max: number, milliseconds: number): { readonly done: Promise<void>; readonly sure: boolean } {
    const receiver = desk.idle.pop() ?? newReceiver(queue);
    const sure = proven.has(receiver);
    const done = pulled(receiver, max, sure ? milliseconds : 0).then((messages) => {
      proven.add(receiver);
      desk.found.push(...messages.map((message) => ({ queue, message, receiver, settled: false })));
      if (messages.length === 0) return;
      if (desk.waiting > 0) desk.bell.ring();
      else void tidy(desk);
    }, (error: unknown) => {
      proven.delete(receiver);
      throw error;
    }).finally(() => {
      desk.pulls.delete(done);
      desk.idle.push(receiver);
    });
    desk.pulls.add(done);
    done.catch(() => undefined);
    return { done, sure };
  }

  /** One look at least; then waits as long as it may, in pulls, each of which ends with the first messages. */
  async function wait(queue: string, desk: Desk, max: number, deadline: number, signal: AbortSignal): Promise<void> {
    const left = deadline - clock.now();
    const { done, sure } = pull(queue, desk, max, Math.min(pullMilliseconds, left));
    // A link that has not answered yet might not be there: so the first look, which is a short one, is always waited for. Else an empty list would say that somebody has looked.
    if (left <= 0 || !sure) return done;
    const over = new AbortController();
    const either = AbortSignal.any([signal, over.signal]);
    try {
      await Promise.race([done, desk.bell.rung(either), clock.sleep(left, either)]);
    } finally {
      over.abort();
    }
  }

  /** What nobody takes for a while is given back. */
  async function tidy(desk: Desk): Promise<void> {
    if (desk.tidying) return;
    desk.tidying = true;
    while (desk.found.length > 0 && !closing.signal.aborted) {
      const late = [...desk.found];
      await clock.sleep(keepMilliseconds, closing.signal);
      if (!closing.signal.aborted) await giveBack(desk, late.filter((held) => desk.found.includes(held)));
    }
    desk.tidying = false;
  }

  /** The broker's count of receipts goes up by one for that, so the count of earlier ones is taken down. */
  async function giveBack(desk: Desk, all: readonly Held[]): Promise<void> {
    for (const held of all) desk.found.splice(desk.found.indexOf(held), 1);
    // Those that cannot be given back are free when their lock ends.
    await Promise.all(all.map(({ receiver, message }) => receiver.abandonMessage(settleable(message), { [attemptsProperty]: earlierOf(message) - 1 }).catch(() => undefined)));
  }

  /** The message of a receipt that is still ours. */
  function heldOf({ queue, receipt, lockedUntil }: Received): Held {
    must(isHeld(receipt), 'a receipt is given back as it was received');
    if (closing.signal.aborted) throw new PortError('unavailable', 'the queues are closed');
    if (receipt.queue === queue && !receipt.settled && lockedUntil > clock.now()) return receipt;
    throw new PortError('lockLost', `a message of ${queue} is no longer ours`, { key: queue });
  }

  async function askAbout<Answer>(held: Held, what: string, work: () => Promise<Answer>): Promise<Answer> {
    try {
      return await ask(what, held.queue, work);
    } catch (error) {
      if (!isPortError(error) || (error.kind !== 'lockLost' && !isSettledAlready(error))) throw error;
      held.settled = true;
      throw error.kind === 'lockLost' ? error : new PortError('lockLost', what, { key: held.queue, cause: error });
    }
  }

  return {
    async send(queue, messages, how) {
      const copies = messages.map((message) => outgoing(message, how, clock.now()));
      if (copies.length === 0) return;
      const { sender } = deskOf(queue);
      await ask(`send to ${queue}`, queue, () => sendAll(sender, copies));
    },

    async receive(queue, { max, waitSeconds, signal = closing.signal }: ReceiveOptions) {
      const desk = deskOf(queue);
      const deadline = clock.now() + waitSeconds * 1_000;
      desk.waiting++;
      try {
        for (let looks = 0; ; looks++) {
          if (closing.signal.aborted) throw new PortError('unavailable', 'the queues are closed');
          if (signal.aborted) return [];
          const taken = desk.found.splice(0, max).map(receivedOf);
          if (taken.length > 0 || (looks > 0 && clock.now() >= deadline)) return taken;
          await ask(`receive from ${queue}`, queue, () => wait(queue, desk, max, deadline, signal));
        }
      } finally {
        desk.waiting--;
        if (desk.found.length > 0) void tidy(desk);
      }
    },

    async remove(received) {
      const held = heldOf(received);
      await askAbout(held, `settle a message of ${received.queue}`, () => held.receiver.completeMessage(settleable(held.message)));
      held.settled = true;
    },

    async renew(received) {
      const held = heldOf(received);
      const until = await askAbout(held, `renew a lock of ${received.queue}`, () => held.receiver.renewMessageLock(held.message));
      return { ...received, lockedUntil: until.getTime() };
    },

    async drainDeadLetters(queue) {
      const { sender } = deskOf(queue);
      const receiver = newReceiver(queue, 'deadLetter');
      try {
        for (let moved = 0; ; ) {
          const dead = await ask(`drain ${queue}`, queue, () => pulled(receiver, drainBatch, 0));
          await ask(`drain ${queue}`, queue, () => Promise.all(dead.map(async (message) => {
            await sender.sendMessages(returned(message));
            await receiver.completeMessage(message);
          })));
          moved += dead.length;
          if (dead.length === 0 || moved >= drainMax) return moved;
        }
      } finally {
        await receiver.close().catch(() => undefined);
      }
    },

    async close() {
      if (closing.signal.aborted) return;
      closing.abort();
      const end = async (): Promise<void> => {
        for (const desk of desks.values()) {
          desk.bell.ring();
          await Promise.allSettled(desk.pulls);
          await giveBack(desk, [...desk.found]);
        }
        await client.close();
      };
      await answered(end(), patienceSeconds, 'close').catch(() => undefined);
    },
  };
}

/**
 * A pull of the SDK: credit for `max`, then a drain, so that nothing can come to nobody; the credit is all used up or taken back when it ends. It is never aborted: an
 * abort leaves the credit with the broker and throws away what still comes, which is then locked for its full time.
 * `maxTimeAfterFirstMessageInMs` is not documented: without it the SDK waits a second for more when the first message has come. A test says so, should it go away.
 */
function pulled(receiver: ServiceBusReceiver, max: number, milliseconds: number): Promise<ServiceBusReceivedMessage[]> {
  const options = { maxWaitTimeInMs: Math.max(1, milliseconds), maxTimeAfterFirstMessageInMs: 1 };
  return receiver.receiveMessages(max, options);
}

/** Throws the first failure, when all have ended. */
async function sendAll(sender: ServiceBusSender, copies: readonly ServiceBusMessage[]): Promise<void> {
  if (copies.length === 1) return sender.sendMessages(copies[0]!);
  const results = await Promise.allSettled((await batchesOf(sender, copies)).map((batch) => sender.sendMessages(batch)));
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}

/** As many batches as the size that the link allows makes necessary: 256 KB in the standard tier. */
async function batchesOf(sender: ServiceBusSender, copies: readonly ServiceBusMessage[]) {
  const batches = [await sender.createMessageBatch()];
  for (const copy of copies) {
    if (batches.at(-1)!.tryAddMessage(copy)) continue;
    const batch = await sender.createMessageBatch();
    if (!batch.tryAddMessage(copy)) throw new PortError('tooLarge', 'a message is over the size that this queue allows', { key: String(copy.messageId) });
    batches.push(batch);
  }
  return batches;
}

/**
 * No PartitionKey, and no SessionId: a queue has no order, and a partitioned one refuses batches of several keys. The native id is not the same for a copy: should
 * somebody have switched the detection of duplicates on, it would swallow it.
 */
function outgoing(message: Message, { delaySeconds, attempts }: Required<SendOptions>, now: number): ServiceBusMessage {
  const { properties, ...natives } = encodedOf(message);
  return {
    ...natives,
    messageId: nativeOf(attempts === 0 ? message.id : `${message.id}#${attempts}`),
    applicationProperties: attempts === 0 ? properties : { ...properties, [attemptsProperty]: attempts },
    ...(delaySeconds > 0 ? { scheduledEnqueueTimeUtc: new Date(now + Math.round(delaySeconds * 1_000)) } : {}),
  };
}

/** A message that the broker had put aside, to be put on its queue again. */
function returned(message: ServiceBusReceivedMessage): ServiceBusMessage {
  const attempts = earlierOf(message) + (message.deliveryCount ?? 0);
  const { contentType, subject, correlationId, messageId } = message;
  return {
    body: Buffer.from(textOf(message.body)),
    ...(contentType === undefined ? {} : { contentType }),
    ...(subject === undefined ? {} : { subject }),
    ...(correlationId === undefined ? {} : { correlationId }),
    ...(messageId === undefined ? {} : { messageId: nativeOf(`${String(messageId)}#${attempts}`) }),
    applicationProperties: { ...message.applicationProperties, [attemptsProperty]: attempts },
  };
}

function receivedOf(held: Held): Received {
  const { message } = held;
  return {
    queue: held.queue,
    message: messageOf({ body: message.body as unknown, contentType: message.contentType, properties: message.applicationProperties }),
    // The broker counts from 0.
    attempts: Math.max(1, earlierOf(message) + (message.deliveryCount ?? 0) + 1),
    lockedUntil: lockEndOf(message),
    receipt: held,
  };
}

/**
 * The SDK looks for the link of a message by its name, and a link that it has opened anew has the name of the one before. So a message from before the loss of a socket
 * would be settled on a link that is gone, and no answer ever come. Without a link it is settled by its lock token, through the management node of the queue.
 */
function settleable(message: ServiceBusReceivedMessage): ServiceBusReceivedMessage {
  const { delivery } = message as { readonly delivery?: { readonly link?: { is_open?(): boolean } } };
  if (delivery?.link?.is_open?.() !== false) return message;
  const withoutLink = { ...message, delivery: {} };
  return withoutLink;
}

const lockEndOf = (message: ServiceBusReceivedMessage): number => message.lockedUntilUtc?.getTime() ?? 0;

/** Receipts of earlier copies. What a stranger has written there may be anything. */
function earlierOf({ applicationProperties }: ServiceBusReceivedMessage): number {
  const earlier = Number(applicationProperties?.[attemptsProperty] ?? 0);
  return Number.isSafeInteger(earlier) && Math.abs(earlier) < 1_000_000 ? earlier : 0;
}

const isHeld = (receipt: unknown): receipt is Held => typeof receipt === 'object' && receipt !== null && 'receiver' in receipt && 'settled' in receipt;

/** The SDK has no code for it: the broker has confirmed an earlier settling whose answer we did not wait for. */
const isSettledAlready = ({ cause }: PortError): boolean => cause instanceof Error && /already settled/i.test(cause.message);
