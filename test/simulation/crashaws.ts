import { openAwsQueue, openAwsStream, type AwsQueue, type AwsStream } from '../../adapters/aws/index.ts';
import { queues, streams } from '../../core/flow.ts';
import { openLine, type Line } from '../conformance/aws.ts';
import { dynamoTables } from '../conformance/dynamo.ts';
import type { Batch, Clock } from '../../ports/index.ts';
import { createClock } from '../support/clock.ts';
import { startPeers } from '../support/leapaws.ts';
import type { Drivers, Ground } from './crashworld.ts';

/**
 * The AWS family under a world that is killed: real SDKs over real sockets to servers on this machine. Theirs is the world's time, which stands still while a call is under
 * way. A long poll, which could not end then, is many short ones here.
 */
const lockSeconds = 5;
const shards = 2;
/** What goes through a socket of this process is there after some turns of the event loop. */
const quietRounds = 150;
const pollMilliseconds = 1_000;
const prefix = 'crash';

type Look = (...args: readonly unknown[]) => Promise<unknown>;
interface Poll {
  readonly waitSeconds: number;
  readonly signal?: AbortSignal;
}

export async function openAwsGround(): Promise<Ground> {
  const time = new BigInt64Array(new SharedArrayBuffer(8));
  const peers = await startPeers(time, true);
  let underWay = 0;
  const clock = createClock(undefined, { busy: () => underWay > 0, quietRounds });
  const tick = (): void => void Atomics.store(time, 0, BigInt(clock.now()));
  tick();
  await Promise.all([...queues.map((name) => peers.createQueue(`${prefix}-${name}`)), ...streams.map((name) => peers.createStream(`${prefix}-${name}`, shards))]);
  const rows = dynamoTables();
  /** A pause within a call of the store is over in real time: the world's stands still until the call has ended. */
  const pausing: Clock = { now: () => clock.now(), sleep: (milliseconds) => new Promise((resolve) => setTimeout(resolve, Math.min(milliseconds, 50))) };
  /** Polls that wait for something to be said. */
  const waiting = new Set<() => void>();
  let opened: { readonly lines: readonly Line[]; readonly queue: AwsQueue; readonly stream: AwsStream } | undefined;
  let isFirst = true;

  async function counted(look: () => Promise<unknown>): Promise<unknown> {
    underWay++;
    tick();
    try {
      return await look();
    } finally {
      underWay--;
    }
  }

  /** Looks again when time has passed, or something was said. */
  async function polled(look: Look, before: readonly unknown[], poll: Poll): Promise<unknown> {
    const until = clock.now() + poll.waitSeconds * 1_000;
    for (;;) {
      const found = await counted(() => look(...before, { ...poll, waitSeconds: 0 }));
      const left = until - clock.now();
      if (!isNothing(found) || left <= 0 || poll.signal?.aborted) return found;
      const woken = new AbortController();
      const wake = (): void => woken.abort();
      waiting.add(wake);
      poll.signal?.addEventListener('abort', wake);
      await clock.sleep(Math.min(pollMilliseconds, left), woken.signal);
      poll.signal?.removeEventListener('abort', wake);
      waiting.delete(wake);
    }
  }

  function timed<Driver extends object>(driver: Driver): Driver {
    return new Proxy(driver, {
      get(target, name) {
        const member: unknown = Reflect.get(target, name);
        if (typeof member !== 'function') return member;
        const work: Look = async (...args) => Reflect.apply(member, target, args) as unknown;
        return async (...args: unknown[]): Promise<unknown> => {
          const poll = args.at(-1);
          if (isPoll(poll)) return polled(work, args.slice(0, -1), poll);
          const answer = await counted(() => work(...args));
          if (says.has(String(name))) for (const wake of Array.from(waiting)) wake();
          return answer;
        };
      },
    });
  }

  async function sever(): Promise<void> {
    if (!opened) return;
    const { lines, queue, stream } = opened;
    opened = undefined;
    // What was on its way arrives: else the world's books would not know of it.
    while (underWay > 0) await new Promise((resolve) => setImmediate(resolve));
    await Promise.all([...lines.map((line) => line.cut()), rows.sever()]);
    void Promise.all([queue.close(), stream.close()]);
  }

  return {
    clock,
    async open(): Promise<Drivers> {
      underWay++;
      try {
        const [sqs, kinesis] = [await openLine(peers.sqs), await openLine(peers.kinesis)];
        const store = await (isFirst ? rows.open(pausing) : rows.restart(pausing));
        isFirst = false;
        const queue = await openAwsQueue({ place: { endpoint: sqs.endpoint }, prefix, clock, lockSeconds, patienceSeconds: 5 });
        const stream = await openAwsStream({ place: { endpoint: kinesis.endpoint }, prefix, clock, patienceSeconds: 5 });
        opened = { lines: [sqs, kinesis], queue, stream };
        return { store: timed(store), queue: timed(queue), stream: timed(stream) };
      } finally {
        underWay--;
      }
    },
    sever,
    async close() {
      await sever();
      await Promise.all([rows.close(), peers.end()]);
    },
  };
}

const says = new Set(['send', 'append']);
const isPoll = (asked: unknown): asked is Poll => typeof asked === 'object' && asked !== null && 'waitSeconds' in asked && (asked.waitSeconds as number) > 0;
/** Of a poll of either kind; a gap is something, and so is a partition that has ended. */
function isNothing(found: unknown): boolean {
  if (Array.isArray(found)) return found.length === 0;
  const batch = found as Batch;
  return 'events' in batch && batch.events.length === 0 && batch.children === undefined;
}
