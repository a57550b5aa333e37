import type { Case } from './case.ts';

/** TRIAL: tries cases without any test runner, and tells which promises were broken. What was skipped is not tried. */
export interface Breach {
  readonly case: Case;
  readonly error: unknown;
}

export interface TrialOptions {
  /** Stops at the first broken promise. */
  readonly first?: boolean;
  /** Seconds after which a case that has not ended counts as broken; 3 unless told. */
  readonly patienceSeconds?: number;
}

/** Answers the broken promises, in the order of the cases. */
export async function breachesOf(cases: readonly Case[], { first = false, patienceSeconds = 3 }: TrialOptions = {}): Promise<Breach[]> {
  const breaches: Breach[] = [];
  const restore = takeLeftovers();
  try {
    for (const each of cases) {
      if (each.skipped !== undefined) continue;
      const breach = await tried(each, patienceSeconds);
      if (breach) breaches.push(breach);
      if (breach && first) break;
    }
    await new Promise((resolve) => setImmediate(resolve));
    return breaches;
  } finally {
    restore();
  }
}

async function tried(one: Case, patienceSeconds: number): Promise<Breach | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const patience = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`it has not ended after ${patienceSeconds} s`)), patienceSeconds * 1_000);
  });
  try {
    await Promise.race([one.run(), patience]);
    return undefined;
  } catch (error) {
    return { case: one, error };
  } finally {
    clearTimeout(timer);
  }
}

/** A case that fails early leaves promises that nobody waits for any more; their failures are none of this process. Answers the function that ends it. */
function takeLeftovers(): () => void {
  const name = 'unhandledRejection';
  const listeners = process.listeners(name);
  const ignore = (): void => {};
  process.removeAllListeners(name);
  process.on(name, ignore);
  return () => {
    process.removeListener(name, ignore);
    for (const listener of listeners) process.on(name, listener);
  };
}
