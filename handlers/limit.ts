import type { Clock } from '../ports/index.ts';

/** TOKEN BUCKETS: so many at once, so many a second thereafter, for each key. At most `keysMax` keys are remembered; the one unused for longest is forgotten first. */
export interface Allowance {
  readonly burst: number;
  readonly perSecond: number;
}

export interface Limiter {
  /** Seconds until there is something to take; 0: now. Takes nothing. */
  wait(key: string): number;
  /** Takes one if there is one; otherwise answers like `wait`. */
  take(key: string): number;
}

export function limiter({ burst, perSecond }: Allowance, clock: Pick<Clock, 'now'>, keysMax = 10_000): Limiter {
  const buckets = new Map<string, { left: number; at: number }>();

  function left(key: string, now: number): number {
    const bucket = buckets.get(key);
    return bucket ? Math.min(burst, bucket.left + (Math.max(0, now - bucket.at) / 1000) * perSecond) : burst;
  }
  const secondsFor = (have: number): number => (have >= 1 ? 0 : (1 - have) / perSecond);

  return {
    wait: (key) => secondsFor(left(key, clock.now())),
    take(key) {
      const now = clock.now();
      const have = left(key, now);
      if (have < 1) return secondsFor(have);
      buckets.delete(key);
      buckets.set(key, { left: have - 1, at: now });
      const oldest = buckets.size > keysMax ? buckets.keys().next().value : undefined;
      if (oldest !== undefined) buckets.delete(oldest);
      return 0;
    },
  };
}

/** One customer of an IPv6 provider has a whole /64 of addresses. */
export function networkOf(address: string): string {
  if (!address.includes(':') || address.startsWith('::ffff:')) return address;
  return `${address.split('::')[0]!.split(':').slice(0, 4).join(':')}::/64`;
}
