import { setMaxListeners } from 'node:events';
import { clocks, subscriptions, type ClockName, type Subscription } from '../core/flow.ts';
import { follow } from '../core/kernel/follow.ts';
import { forgetOld } from '../core/kernel/forget.ts';
import { alone, joinMembers, type Members } from '../core/kernel/members.ts';
import { retryParked } from '../core/kernel/park.ts';
import { receiveWork } from '../core/kernel/receive.ts';
import type { AnyService, Kernel } from '../core/kernel/service.ts';
import { isTransient, type Received } from '../ports/index.ts';

/**
 * THE PUMP: the host that receives by itself, for the services that it is given in one process. It reads its wiring off the flow: a loop per queue, a loop per consumer,
 * stream and partition, a loop per timer. (The other kind of host is a platform that receives and calls us: a trigger.)
 */
export interface Pump {
  /** Finishes what is under way, waits for it, and starts nothing new. What takes longer than `stopSecondsMax` is left as a kill would leave it: it is made good. */
  stop(): Promise<void>;
}

export interface PumpOptions {
  /** Other intervals than the flow's and the pump's own, in seconds. */
  readonly everySeconds?: Partial<Record<ClockName | OwnTimer, number>>;
  /** The host's own timers. */
  readonly timers?: readonly Timer[];
  /** Messages of one queue under way at once; 128 unless told. */
  readonly workAtOnce?: number;
  /** Other processes may host the same services over the same store: the partitions of the streams are shared out among all that live. Unless told, this one is alone. */
  readonly shared?: boolean;
}

export type OwnTimer = 'sweepOutbox' | 'retryParked' | 'forgetSeen';

export interface Timer {
  readonly name: string;
  readonly everySeconds: number;
  readonly tick: () => Promise<unknown>;
}

const stopSecondsMax = 20;

export function startPump(kernel: Kernel, services: readonly AnyService[], options: PumpOptions = {}): Pump {
  const stopping = new AbortController();
  const { signal } = stopping;
  setMaxListeners(0, signal); // every loop listens to it
  const serviceOf = (name: string): AnyService | undefined => services.find((service) => service.name === name);
  const loops: Promise<void>[] = [];
  const { members, left } = options.shared ? joinMembers(kernel, signal) : { members: alone(signal), left: Promise.resolve() };
  loops.push(left);

  for (const subscription of subscriptions) {
    const service = serviceOf(subscription.service);
    if (!service) continue;
    if (subscription.kind === 'queue') loops.push(work(kernel, service, subscription, signal, options.workAtOnce ?? 128));
    else if (!subscription.polled) loops.push(followAll(kernel, service, subscription, { members, signal }));
  }
  for (const [name, { service, everySeconds }] of Object.entries(clocks)) {
    const tick = serviceOf(service)?.ticks[name];
    if (tick) loops.push(timer(kernel, { name, everySeconds: options.everySeconds?.[name as ClockName] ?? everySeconds, tick: () => tick(kernel) }, signal));
  }
  const own: Record<OwnTimer, Omit<Timer, 'name'>> = {
    sweepOutbox: { everySeconds: 15, tick: () => kernel.relay.sweep(30) },
    retryParked: { everySeconds: 5, tick: () => retryParked(kernel, services) },
    forgetSeen: { everySeconds: 6 * 3_600, tick: () => forgetOld(kernel) },
  };
  for (const [name, each] of Object.entries(own)) loops.push(timer(kernel, { name, ...each, everySeconds: options.everySeconds?.[name as OwnTimer] ?? each.everySeconds }, signal));
  for (const each of options.timers ?? []) loops.push(timer(kernel, each, signal));

  return {
    async stop() {
      stopping.abort();
      const done = new AbortController();
      await Promise.race([Promise.all(loops).finally(() => done.abort()), kernel.clock.sleep(stopSecondsMax * 1_000, done.signal)]);
    },
  };
}

/** A message that has come so often may be one that ends the process. */
const unsuspectedAttempts = 3;
const aloneSeconds = 5;

/**
 * Receives while there is room, handles many at once, keeps the locks of what takes long.
 *
 * A message that ends the process counts an attempt for all that were under way with it, and a few such deaths would make dead letters of them. So every start begins
 * with one message and lets their number grow with success, and one that has come suspiciously often is handled alone: if it is not the one, it is done, and if it is,
 * it dies alone. It is not waited for any longer than `aloneSeconds`: by then the process would have ended.
 */
async function work(kernel: Kernel, service: AnyService, { channel }: Subscription, signal: AbortSignal, atOnce: number): Promise<void> {
  const underWay = new Set<Turn>();
  const renewing = renewLocks(kernel, underWay, signal);
  let room = 1;
  while (!signal.aborted) {
    if (underWay.size >= room) await Promise.race([...underWay].map(({ settled }) => settled));
    const received = await kernel.queue.receive(channel, { max: Math.max(1, room - underWay.size), waitSeconds: 20, signal }).catch((error: unknown) => {
      if (!signal.aborted) kernel.log.warn({ error, channel }, 'receiving failed');
      return kernel.clock.sleep(500, signal).then((): Received[] => []);
    });
    const turns = received.map((each): Turn => ({ latest: each, settled: Promise.resolve() }));
    for (const turn of turns) underWay.add(turn);
    for (const turn of turns) {
      const suspect = turn.latest.attempts > unsuspectedAttempts;
      if (suspect) await forAWhile(kernel, Promise.all([...underWay].map(({ settled }) => settled)));
      turn.settled = receiveWork(kernel, service, turn.latest, () => turn.latest)
        .catch((error: unknown) => kernel.log.warn({ error, channel }, 'a message could not be settled; it will come again'))
        .then(() => void underWay.delete(turn));
      if (suspect) await forAWhile(kernel, turn.settled);
      void turn.settled.then(() => (room = suspect ? 1 : Math.min(atOnce, room + 1)));
    }
  }
  await Promise.all([...underWay].map(({ settled }) => settled));
  await renewing;
}

/** Waits for work, but not longer than `aloneSeconds`. */
async function forAWhile(kernel: Kernel, work: Promise<unknown>): Promise<void> {
  const done = new AbortController();
  await Promise.race([work.finally(() => done.abort()), kernel.clock.sleep(aloneSeconds * 1_000, done.signal)]);
}

interface Turn {
  /** The message with its newest lock. */
  latest: Received;
  settled: Promise<void>;
}

const renewEveryMilliseconds = 5_000;

async function renewLocks(kernel: Kernel, underWay: ReadonlySet<Turn>, signal: AbortSignal): Promise<void> {
  for (;;) {
    await kernel.clock.sleep(renewEveryMilliseconds, signal);
    if (signal.aborted) return;
    for (const turn of underWay) {
      if (turn.latest.lockedUntil - kernel.clock.now() > 3 * renewEveryMilliseconds) continue;
      await kernel.queue.renew(turn.latest).then(
        (renewed) => (turn.latest = renewed),
        (error: unknown) => kernel.log.warn({ error }, 'a lock could not be renewed'),
      );
    }
  }
}

/** Who reads, and until when. */
interface Reading {
  readonly members: Members;
  readonly signal: AbortSignal;
}

async function followAll(kernel: Kernel, service: AnyService, { channel }: Subscription, reading: Reading): Promise<void> {
  const partitions = await insist(kernel, reading.signal, () => kernel.stream.partitions(channel));
  await Promise.all((partitions ?? []).map((partition) => keepFollowing(kernel, service, { stream: channel, partition, root: partition }, reading)));
}

/** `root`: the partition of which this one is a descendant. Who reads it reads all of its family, for only he comes to know of the children. */
async function keepFollowing(kernel: Kernel, service: AnyService, { stream, partition, root }: { stream: string; partition: string; root: string }, reading: Reading): Promise<void> {
  const { members, signal } = reading;
  while (!signal.aborted) {
    const turn = await members.turn(`${service.name} ${stream} ${root}`);
    const children = await insist(kernel, turn.signal, () => follow(kernel, service, { stream, partition, signal: turn.signal }));
    turn.end();
    if (children) return void (await Promise.all(children.map((child) => keepFollowing(kernel, service, { stream, partition: child, root }, reading))));
  }
}

/** Again and again, until it succeeds or we are told to stop. */
async function insist<T>(kernel: Kernel, signal: AbortSignal, work: () => Promise<T>): Promise<T | undefined> {
  while (!signal.aborted) {
    try {
      return await work();
    } catch (error) {
      kernel.log.warn({ error }, 'a loop begins anew');
      await kernel.clock.sleep(500, signal);
    }
  }
  return undefined;
}

async function timer(kernel: Kernel, { name, everySeconds, tick }: Timer, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await kernel.clock.sleep(everySeconds * 1_000, signal);
    if (signal.aborted) return;
    try {
      await tick();
    } catch (error) {
      const data = { error, timer: name };
      if (isTransient(error)) kernel.log.warn(data, 'a timer will try again');
      else kernel.log.error(data, 'a timer failed');
    }
  }
}

