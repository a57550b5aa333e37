import { randomFillSync } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import type { Clock, Ids } from '../../ports/index.ts';

/** The machine's own clock and its source of randomness. */

export const systemClock: Clock = {
  now: () => Date.now(),
  // By hand, because the one of node:timers/promises makes an error each time it is cut short, which here is nearly always.
  sleep: (milliseconds, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const timer = setTimeout(end, milliseconds);
      if (signal) setMaxListeners(0, signal); // where a partition stands, hundreds of keys sleep on one signal: that is no leak
      signal?.addEventListener('abort', end, { once: true });
      function end(): void {
        clearTimeout(timer);
        signal?.removeEventListener('abort', end);
        resolve();
      }
    }),
};

const alphabet = '0123456789abcdefghjkmnpqrstvwxyz';
const pool = new Uint8Array(26 * 128);
let used = pool.length;

export const systemIds: Ids = {
  /** Five bits of each of 26 random bytes: 130 bits. */
  random() {
    if (used === pool.length) {
      randomFillSync(pool);
      used = 0;
    }
    let id = '';
    for (const end = used + 26; used < end; used++) id += alphabet[pool[used]! & 31];
    return id;
  },
  fraction: () => Math.random(),
};
