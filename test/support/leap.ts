import { setMaxListeners } from 'node:events';
import type { Clock } from '../../ports/index.ts';

/**
 * Real time that a test can leap over: for what speaks through sockets, which a clock that stands still does not see.
 * `now()` is the time of the machine plus all leaps so far; a sleep ends when that time has come, by waiting or by a leap. So a lock of thirty seconds runs out at once.
 * It only moves those who were given this clock: the timers inside an SDK stay real, so keep them short by its options.
 */
export interface LeapClock extends Clock {
  /** Lets so many milliseconds be over, wakes the sleepers in the order of their time, and then gives the event loop a few turns. It does not wait for sockets: use `until`. */
  leap(milliseconds: number): Promise<void>;
  sleepers(): number;
}

interface Sleeper {
  readonly at: number;
  timer: NodeJS.Timeout | undefined;
  wake(): void;
}

const timerMax = 2 ** 31 - 1;
const turnsAfterLeap = 5;

export function createLeapClock(): LeapClock {
  let leapt = 0;
  const sleeping = new Set<Sleeper>();
  const now = (): number => Date.now() + leapt;

  /** A timer may fire a little early, or be shorter than the sleep because Node cannot count further: then it is set again. */
  function arm(sleeper: Sleeper): void {
    clearTimeout(sleeper.timer);
    const left = sleeper.at - now();
    if (left <= 0) sleeper.wake();
    else sleeper.timer = setTimeout(() => arm(sleeper), Math.min(left, timerMax));
  }

  return {
    now,

    sleep(milliseconds, signal) {
      if (signal?.aborted) return Promise.resolve();
      return new Promise((resolve) => {
        const sleeper: Sleeper = { at: now() + Math.max(0, milliseconds), timer: undefined, wake: end };
        sleeping.add(sleeper);
        if (signal) setMaxListeners(0, signal);
        signal?.addEventListener('abort', end, { once: true });
        // A sleep of nothing still lets others run first, as a timer would.
        if (milliseconds <= 0) sleeper.timer = setTimeout(end, 0);
        else arm(sleeper);
        function end(): void {
          clearTimeout(sleeper.timer);
          sleeping.delete(sleeper);
          signal?.removeEventListener('abort', end);
          resolve();
        }
      });
    },

    async leap(milliseconds) {
      leapt += milliseconds;
      for (const sleeper of [...sleeping].sort((a, b) => a.at - b.at)) arm(sleeper);
      for (let turn = 0; turn < turnsAfterLeap; turn++) await new Promise((resolve) => setImmediate(resolve));
    },

    sleepers: () => sleeping.size,
  };
}

/**
 * Waits, in real time, until something holds that sockets bring about; small waits, never one long one.
 * Fails, saying what was awaited, when it does not come true within `withinMs` of real time (5 s if not said).
 */
export async function until(what: string, holds: () => boolean | Promise<boolean>, withinMs = 5_000): Promise<void> {
  const end = performance.now() + withinMs;
  for (let wait = 1; !(await holds()); wait = Math.min(wait * 2, 20)) {
    if (performance.now() > end) throw new Error(`it did not come true within ${withinMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}
