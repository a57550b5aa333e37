import type { Clock } from '../../ports/index.ts';

/** Wakes those who wait for something to come, so that a long poll neither asks again and again nor comes late. */
export interface Bell {
  ring(): void;
  /**
   * Resolves after so many milliseconds, or when the bell rings, or when the signal is aborted. It listens from the very call: whoever looks, finds nothing and
   * waits without an `await` between the two cannot miss a ring.
   */
  wait(milliseconds: number, signal?: AbortSignal): Promise<void>;
}

export function openBell(clock: Clock): Bell {
  const sleepers = new Set<AbortController>();
  return {
    ring() {
      for (const sleeper of sleepers) sleeper.abort();
    },
    async wait(milliseconds, signal) {
      if (signal?.aborted) return;
      const sleeper = new AbortController();
      const wake = (): void => sleeper.abort();
      sleepers.add(sleeper);
      signal?.addEventListener('abort', wake, { once: true });
      await clock.sleep(milliseconds, sleeper.signal);
      signal?.removeEventListener('abort', wake);
      sleepers.delete(sleeper);
    },
  };
}
