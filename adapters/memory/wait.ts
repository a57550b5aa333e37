import { setMaxListeners } from 'node:events';
import { PortError, type Clock } from '../../ports/index.ts';

/** Whether a set of drivers is still open. Closing ends every wait, and from then on every call fails, as if the process had been killed. */
export interface Gate {
  readonly signal: AbortSignal;
  /** Throws `unavailable` once closed. */
  pass(): void;
}

export function createGate(signal: AbortSignal): Gate {
  setMaxListeners(0, signal); // every wait listens to it
  return {
    signal,
    pass() {
      if (signal.aborted) throw new PortError('unavailable', 'the drivers are closed');
    },
  };
}

export interface Poll<Found> {
  readonly clock: Clock;
  readonly gate: Gate;
  readonly signal: AbortSignal | undefined;
  readonly waitSeconds: number;
  /** Looks, without waiting. `undefined`: nothing yet. */
  look(now: number): Found | undefined;
  /** When looking again is worth while though nobody has called. */
  nextAt?(): number | undefined;
  watch(wake: () => void): () => void;
}

/**
 * A long poll: looks until there is something, the time is over, or somebody ends it. Between a look and the watch that follows nothing else can run, so no call is lost.
 * It gives the event loop a turn first: a pump over a full queue must not starve everybody else in the process.
 */
export async function poll<Found>(options: Poll<Found>): Promise<Found | undefined> {
  const { clock, gate, signal, waitSeconds } = options;
  gate.pass();
  await new Promise((resolve) => setImmediate(resolve));
  const until = clock.now() + waitSeconds * 1_000;
  for (;;) {
    gate.pass();
    if (signal?.aborted) return undefined;
    const now = clock.now();
    const found = options.look(now);
    if (found !== undefined || now >= until) return found;
    const wakeAt = Math.min(until, options.nextAt?.() ?? until);
    await sleepUnlessCalled(clock, Math.max(1, wakeAt - now), options);
  }
}

async function sleepUnlessCalled(clock: Clock, milliseconds: number, { watch, gate, signal }: Pick<Poll<unknown>, 'watch' | 'gate' | 'signal'>): Promise<void> {
  const called = new AbortController();
  const wake = (): void => called.abort();
  const signals = signal ? [gate.signal, signal] : [gate.signal];
  const unwatch = watch(wake);
  for (const each of signals) each.addEventListener('abort', wake);
  await clock.sleep(milliseconds, called.signal);
  for (const each of signals) each.removeEventListener('abort', wake);
  unwatch();
}
