import { smaller, type Plan } from './simulateplan.ts';
import { simulate, type Run, type RunOptions } from './simulateshop.ts';

/**
 * SHRINKING: a run that fails is run again with fewer orders, fewer kinds of faults, fewer processes, and the smallest that still fails is kept. Any failure will do: what
 * is wrong shows itself differently in a smaller run.
 */
export interface Shrunk {
  readonly run: Run;
  readonly runs: number;
}

export async function shrink(failed: Run, options: RunOptions, bounds: { readonly milliseconds: number; readonly runs: number }): Promise<Shrunk> {
  const until = performance.now() + bounds.milliseconds;
  let best = failed;
  let runs = 0;
  for (let better = true; better; ) {
    better = false;
    for (const plan of smaller(best.plan)) {
      if (runs >= bounds.runs || performance.now() > until) return { run: best, runs };
      runs++;
      const run = await simulate(plan, options);
      if (run.violation === undefined) continue;
      best = run;
      better = true;
      break;
    }
  }
  return { run: best, runs };
}

export const sizeOf = ({ orders, instances, faults }: Plan): number => orders + instances + Object.keys(faults).length;
