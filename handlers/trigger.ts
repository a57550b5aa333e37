import { follow, positionKey } from '../core/kernel/follow.ts';
import { receiveWork } from '../core/kernel/receive.ts';
import type { AnyService, Kernel } from '../core/kernel/service.ts';
import { collections, subscriptions } from '../core/flow.ts';
import { PortError, isMalformed, isTransient, must, partitionOf, type Queue, type Received, type Stream, type StreamEvent } from '../ports/index.ts';

/**
 * TRIGGERS: the other kind of host. (A pump receives by itself; here a platform receives, calls us, and settles by what we do: we return, or we throw.)
 *
 * - A message of a queue that is returned from is gone; one that is thrown at comes again at once. So a retry is a delayed copy of our own, a dead letter is a row of our own,
 *   and after either we return. We throw only when neither could be done.
 * - A batch of a stream that is returned from is never given again. So what fails by its own fault is parked, and we return. While the world fails, everything is tried again
 *   in place, until two thirds of the function's time are over; then we throw, and the platform's policy (again and again, without end) hands the same batch out once more.
 * - Yet a platform moves on when a function runs out of time or its machine is taken away. So how far a consumer has come is written down in our own store, as it is under
 *   the pump, and never with the platform: a batch that does not begin at the next event first reads what is missing from the stream itself. And when no batch comes any
 *   more, because the last one was passed over, a timer catches up.
 */

/** Handles messages that the platform has locked for us, and renews. Throws when one of them could not be settled: then all come again, and those that are known are dropped. */
export async function work(kernel: Kernel, service: AnyService, received: readonly Received[]): Promise<void> {
  const handed: Kernel = { ...kernel, queue: settledByReturning(kernel.queue) };
  const outcomes = await Promise.allSettled(received.map((each) => receiveWork(handed, service, each)));
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
}

function settledByReturning(queue: Queue): Queue {
  return {
    ...queue,
    done: () => Promise.resolve(),
    renew: (received) => Promise.resolve(received),
    retry({ queue: name, message, attempts }, { delaySeconds, blame }) {
      must(!isMalformed(message), 'what cannot be read is not sent again');
      return queue.send(name, [message], { delaySeconds, attempts: attempts - (blame ? 0 : 1) });
    },
  };
}

/** A batch of one partition, in order, as the platform has read it. */
export interface Delivery {
  readonly stream: string;
  readonly partition: string;
  readonly events: readonly StreamEvent[];
  /** Whether nothing lies between this position (absent: the beginning of all) and the first of the events. */
  follows(after: string | undefined): boolean;
  /** Whether the first of these positions of the partition comes after the second. */
  isBehind(position: string, other: string): boolean;
}

/** Handles a batch to its end, or throws `unavailable` when two thirds of the function's time have not been enough. */
export async function deliver(kernel: Kernel, service: AnyService, delivery: Delivery, functionSeconds: number): Promise<void> {
  const last = delivery.events.at(-1);
  if (!last) return;
  const { stream, partition } = delivery;
  const handed: Kernel = { ...kernel, stream: beginningWith(kernel.stream, delivery) };
  const handled = await inTime(kernel, functionSeconds, (signal) =>
    insist(kernel, signal, { service: service.name, stream, partition }, async () => {
      await follow(handed, service, { stream, partition, signal, untilDry: true });
      return isHandled(kernel, service, delivery);
    }),
  );
  if (!handled) throw new PortError('unavailable', `partition ${partition} of ${stream} could not be handled up to ${last.position} in time`);
}

/** Reads on from where each listener is, to the end: what the platform has passed over and never come back to. May run beside the triggers; whoever is first counts. */
export async function catchUp(kernel: Kernel, services: readonly AnyService[], functionSeconds: number): Promise<void> {
  const listeners = subscriptions.filter(({ kind, polled }) => kind === 'stream' && !polled).flatMap(({ channel: stream, service: name }) => {
    const service = services.find((each) => each.name === name);
    return service ? [{ stream, service }] : [];
  });
  const done = await inTime(kernel, functionSeconds, (signal) =>
    Promise.all(listeners.map(({ stream, service }) => insist(kernel, signal, { service: service.name, stream }, async () => {
      const partitions = [...(await kernel.stream.partitions(stream))];
      // A partition that was split tells of its children when all of it is handled.
      for (const partition of partitions) partitions.push(...((await follow(kernel, service, { stream, partition, signal, untilDry: true })) ?? []));
      return !signal.aborted;
    }))),
  );
  if (done.includes(false)) throw new PortError('unavailable', 'not all listeners could be caught up with in time');
}

/**
 * Tries until it is done, or until the signal: answers which. When it is not done, either the store or a broker is down, or another reader has overtaken us: what he has
 * written down counts.
 */
async function insist(kernel: Kernel, signal: AbortSignal, what: object, work: () => Promise<boolean>): Promise<boolean> {
  for (let attempt = 1; !signal.aborted; attempt++) {
    try {
      if (await work()) return true;
    } catch (error) {
      if (!isTransient(error)) throw error;
      kernel.log.warn({ ...what, error, attempt }, 'a function begins anew');
    }
    await kernel.clock.sleep(Math.min(5_000, 50 * 2 ** Math.min(attempt, 7)), signal);
  }
  return false;
}

/** The signal says when two thirds of the function's time are over. */
async function inTime<Result>({ clock }: Kernel, functionSeconds: number, work: (signal: AbortSignal) => Promise<Result>): Promise<Result> {
  const stop = new AbortController();
  const ended = new AbortController();
  void clock.sleep((functionSeconds * 1_000 * 2) / 3, ended.signal).then(() => stop.abort());
  return work(stop.signal).finally(() => ended.abort());
}

async function isHandled(kernel: Kernel, service: AnyService, delivery: Delivery): Promise<boolean> {
  return (await handledOf(kernel, service, delivery)) === delivery.events.length;
}

/** How many of a batch have been handled, from its first one on; throws what the store throws. */
export async function handledOf(kernel: Kernel, service: AnyService, { stream, partition, events, isBehind }: Delivery): Promise<number> {
  const rowKey = positionKey(service.name, stream, partition);
  const row = await kernel.store.get<{ readonly after?: string }>(partitionOf(collections.consumers, rowKey), rowKey);
  const after = row?.body.after;
  if (after === undefined) return 0;
  const next = events.findIndex(({ position }) => isBehind(position, after));
  return next < 0 ? events.length : next;
}

const gapWaitSeconds = 5;

/** The stream as one that follows it sees it: up to the batch it is read, then the batch is handed out, and then there is nothing more. */
function beginningWith(stream: Stream, delivery: Delivery): Stream {
  const first = delivery.events[0]!.position;
  const rest = (after: string | undefined, max: number) => delivery.events.filter(({ position }) => after === undefined || delivery.isBehind(position, after)).slice(0, max);
  return {
    ...stream,
    async read(name, partition, options) {
      if (delivery.follows(options.after)) return { events: rest(options.after, options.max) };
      const batch = await stream.read(name, partition, { ...options, waitSeconds: gapWaitSeconds });
      if ('gap' in batch) return batch;
      const missed = batch.events.filter(({ position }) => delivery.isBehind(first, position));
      if (missed.length > 0) return { events: missed };
      // What lies before the batch is kept no longer: there is nothing between.
      if (batch.events.length > 0) return { events: rest(options.after, options.max) };
      throw new PortError('unavailable', `what lies before ${first} in partition ${partition} of ${name} cannot be read`);
    },
  };
}
