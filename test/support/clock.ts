import { setMaxListeners } from 'node:events';
import type { Clock } from '../../ports/index.ts';

/**
 * A clock that stands still until a test moves it. Sleepers wake in the order of their time, and between two of them everything that they set in motion comes to rest.
 *
 * "At rest" is: for `quietRounds` turns of the event loop in a row nobody has asked for the time, begun or ended a sleep, no file is being read or written, and nobody is `busy`.
 */
export interface VirtualClock extends Clock {
  /** Lets so many milliseconds pass. */
  advance(milliseconds: number): Promise<void>;
  /** Lets time pass up to the next sleeper; false if nobody sleeps. */
  next(): Promise<boolean>;
  /** Waits, without letting time pass, until nothing moves. */
  idle(): Promise<void>;
  sleepers(): number;
}

interface Sleeper {
  readonly at: number;
  wake(): void;
}

export interface ClockOptions {
  /** True while somebody works whom the clock cannot see: in another process, behind a socket. */
  readonly busy?: () => boolean;
  /** 12 unless told. What goes through a socket takes more of them. */
  readonly quietRounds?: number;
}

const roundsMax = 1_000_000;

export function createClock(start = '2026-11-20T09:00:00.000Z', { busy = () => false, quietRounds = 12 }: ClockOptions = {}): VirtualClock {
  let now = Date.parse(start);
  /** By time, and for one time in the order of falling asleep. */
  const sleeping: Sleeper[] = [];
  let stirred = 0;

  function enter(sleeper: Sleeper): void {
    const place = sleeping.findLastIndex(({ at }) => at <= sleeper.at) + 1;
    sleeping.splice(place, 0, sleeper);
  }

  async function idle(): Promise<void> {
    let quiet = 0;
    for (let round = 0; quiet < quietRounds; round++) {
      if (round > roundsMax) throw new Error('it never comes to rest without time passing');
      const before = stirred;
      await turn();
      quiet = stirred === before && !filesAreBusy() && !busy() ? quiet + 1 : 0;
    }
  }

  async function advanceTo(time: number): Promise<void> {
    await idle();
    while (sleeping.length > 0 && sleeping[0]!.at <= time) {
      now = Math.max(now, sleeping[0]!.at);
      sleeping.shift()!.wake();
      await idle();
    }
    now = Math.max(now, time);
    await idle();
  }

  return {
    now() {
      stirred++;
      return now;
    },

    sleep(milliseconds, signal) {
      stirred++;
      if (signal?.aborted) return Promise.resolve();
      return new Promise((resolve) => {
        const sleeper: Sleeper = { at: now + Math.max(0, milliseconds), wake: end };
        enter(sleeper);
        if (signal) setMaxListeners(0, signal);
        signal?.addEventListener('abort', end, { once: true });
        function end(): void {
          stirred++;
          const place = sleeping.indexOf(sleeper);
          if (place !== -1) sleeping.splice(place, 1);
          signal?.removeEventListener('abort', end);
          resolve();
        }
      });
    },

    advance: (milliseconds) => advanceTo(now + milliseconds),

    async next() {
      await idle();
      if (sleeping.length === 0) return false;
      await advanceTo(sleeping[0]!.at);
      return true;
    },

    idle,
    sleepers: () => sleeping.length,
  };
}

/** Two phases: what a promise or a file callback sets off in this turn is done before the next one. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const filesAreBusy = (): boolean => process.getActiveResourcesInfo().some((name) => name.startsWith('FSReq'));
