import type { Ids } from '../../ports/index.ts';

/** Numbers from 0 up to, not including, 1, the same ones for the same seed (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  };
}

const alphabet = '0123456789abcdefghjkmnpqrstvwxyz';

/** Ids that anybody can guess who knows the seed: for tests alone. */
export function createIds(seed = 1): Ids {
  const random = randomFrom(seed);
  return {
    random: () => Array.from({ length: 26 }, () => alphabet[Math.floor(random() * 32)]).join(''),
    fraction: random,
  };
}
