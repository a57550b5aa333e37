import { PortError, decode, encode, type Clock, type QueueDriver, type Received } from '../../ports/index.ts';
import { openBell, type Bell } from './bell.ts';
import type { Database } from './database.ts';

export interface QueueSettings {
  readonly clock: Clock;
  readonly queues: readonly string[];
  readonly lockSeconds: number;
}

export interface EmbeddedQueue extends QueueDriver {
  /** Ends all waiting. */
  close(): void;
}

/** A receipt is a row and its count of receipts: ids never return, and each receipt counts one further, so an old receipt never fits again. */
interface Receipt {
  readonly id: number;
  readonly attempts: number;
}

/**
 * Queues in SQLite. A message is visible from `visible_at` on; receiving it moves that to the end of the lock, so nobody has to notice that a lock runs out.
 */
export function openQueueDriver(database: Database, { clock, queues, lockSeconds }: QueueSettings): EmbeddedQueue {
  const insert = database.prepare('insert into messages (id, queue, visible_at, attempts, body) values (?, ?, ?, ?, ?)');
  const nextVisible = database.prepare<{ at: number | null }>('select min(visible_at) as at from messages where queue = ?');
  const due = database.prepare<Stored>('select id, attempts, body from messages where queue = ? and visible_at <= ? order by visible_at, id limit ?');
  const lock = database.prepare('update messages set visible_at = ?, attempts = ?, locked = 1 where id = ?');
  const locked = database.prepare<{ id: number }>('select id from messages where id = ? and queue = ? and attempts = ? and visible_at > ?');
  const move = database.prepare('update messages set visible_at = ? where id = ?');
  const erase = database.prepare('delete from messages where id = ?');
  // Whoever held a lock before this opening is gone, for the folder has one process at a time: what it held need not wait for the end of its lock.
  database.prepare('update messages set visible_at = ?, locked = 0 where locked = 1').run(clock.now());
  const bells = new Map(queues.map((queue) => [queue, openBell(clock)]));
  let closed = false;

  const lockEnd = (): number => clock.now() + Math.round(lockSeconds * 1000);

  function bellOf(queue: string): Bell {
    const bell = bells.get(queue);
    if (!bell) throw new PortError('missing', `there is no queue ${queue}`, { key: queue });
    return bell;
  }

  function take(queue: string, max: number): Received[] {
    const lockedUntil = lockEnd();
    return due.all(queue, clock.now(), max).map(({ id, attempts: before, body }) => {
      const attempts = before + 1;
      lock.run(lockedUntil, attempts, id);
      const receipt: Receipt = { id, attempts };
      return { queue, message: decode(body), attempts, lockedUntil, receipt };
    });
  }

  /** The row of a message that is still ours. */
  function held({ queue, receipt }: Received): number {
    const { id, attempts } = receipt as Receipt;
    if (!locked.get(id, queue, attempts, clock.now())) throw new PortError('lockLost', `a message of ${queue} is no longer ours`, { key: queue });
    return id;
  }

  return {
    async send(queue, messages, { delaySeconds, attempts }) {
      const bell = bellOf(queue);
      const bodies = messages.map(encode);
      await database.write(() => {
        const visibleAt = clock.now() + Math.round(delaySeconds * 1000);
        for (const body of bodies) insert.run(database.number(), queue, visibleAt, attempts, body);
      });
      bell.ring();
    },

    async receive(queue, { max, waitSeconds, signal }) {
      const bell = bellOf(queue);
      const deadline = clock.now() + waitSeconds * 1000;
      while (!closed && !signal?.aborted) {
        const visibleAt = database.read(() => nextVisible.get(queue)?.at) ?? Infinity;
        if (visibleAt <= clock.now()) {
          const taken = await database.write(() => take(queue, max));
          // Somebody else may have been faster; then there is still time to wait.
          if (taken.length > 0 || clock.now() >= deadline) return taken;
        } else {
          if (clock.now() >= deadline) return [];
          await bell.wait(Math.min(deadline, visibleAt) - clock.now(), signal);
        }
      }
      // Nobody has looked: an empty answer would say that there is nothing.
      if (closed) throw new PortError('unavailable', 'the data folder is closed');
      return [];
    },

    remove: async (received) => database.write(() => void erase.run(held(received))),

    async renew(received) {
      const lockedUntil = await database.write(() => {
        const id = held(received);
        const until = lockEnd();
        move.run(until, id);
        return until;
      });
      return { ...received, lockedUntil };
    },

    close() {
      closed = true;
      for (const bell of bells.values()) bell.ring();
    },
  };
}

interface Stored {
  readonly id: number;
  readonly attempts: number;
  readonly body: string;
}
