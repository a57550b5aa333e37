import { randomFillSync } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import type { Clock, Ids } from '../../ports/index.ts';

/** The machine's own clock and its source of randomness. */

export const systemClock: Clock = {
  now: () => Date.now(),
  async sleep(milliseconds, signal) {
    if (signal?.aborted) return;
    await wait(milliseconds, undefined, { ref: true, ...(signal ? { signal } : {}) }).catch(() => {});
  },
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
