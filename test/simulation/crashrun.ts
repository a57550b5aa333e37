import { check, settle } from './crashchecks.ts';
import { tell, type Told } from './crashstory.ts';
import { families, openCrashWorld, ways, type CrashFamily, type Fault, type Moment, type Way } from './crashworld.ts';

/** RUNS of the story, each struck at one call or at none. The same fault gives the same run. */
export interface Outcome {
  /** The calls to ports up to the last one that did more than look. */
  readonly moments: readonly Moment[];
  /** `port.method` of the struck call. */
  readonly struck: string | undefined;
  readonly violation: string | undefined;
}

/** Seconds of the story's time, far more than anything takes: whatever is not at its end by then is stuck. */
const secondsMax = 900;

export async function run(family: CrashFamily, fault?: Fault): Promise<Outcome> {
  const world = await openCrashWorld(family, fault);
  const told: Told = { orders: new Map() };
  let calls = 0;
  try {
    await world.play(tell(world, told).then(() => settle(world)), secondsMax);
    calls = world.ledger.changed.call;
    if (!world.ledger.violation) await world.play(check(world, told).then(() => settle(world)), secondsMax);
  } catch (error) {
    world.ledger.fail(error instanceof Error ? (error.stack ?? error.message) : String(error));
  }
  const { struck, moments, ledger: { violation } } = world;
  await world.close();
  return { moments: moments.slice(0, calls), struck, violation };
}

export function familyOf(name: string): CrashFamily {
  const family = families[name];
  if (!family) throw new Error(`no family ${name}: ${Object.keys(families).join(' | ')}`);
  return family;
}

export interface Found extends Fault {
  readonly struck: string | undefined;
  readonly violation: string;
}

/** Where the calls are not quite the same ones each time, one near the end may not come at the first try. */
const triesMax = 3;

/** Strikes one call; answers what does not hold after it, if anything. A call that never comes is a violation, too: the run was not the one that was counted. */
export async function strike(family: CrashFamily, { at, how }: Fault): Promise<Found | undefined> {
  for (let tries = family.exact ? triesMax : 1; ; tries++) {
    const { struck, violation } = await run(family, { at, how });
    if (violation !== undefined) return { at, how, struck, violation };
    if (struck !== undefined) return undefined;
    if (tries === triesMax) return { at, how, struck, violation: 'the call never came: the run is not the one that was counted' };
  }
}

/** Runs the story without a fault, twice, after a first time in which modules are loaded. Throws when anything does not hold, or when the calls of an exact family are not the same ones. */
export async function countCalls(family: CrashFamily): Promise<readonly Moment[]> {
  await run(family);
  const [one, other] = [await run(family), family.exact ? await run(family) : undefined];
  const violation = one.violation ?? other?.violation;
  if (violation !== undefined) throw new Error(`the story does not hold even without a crash: ${violation}`);
  if (!other) return one.moments;
  const differs = one.moments.findIndex(({ name, state }, i) => name !== other.moments[i]?.name || state !== other.moments[i].state);
  if (differs !== -1 || one.moments.length !== other.moments.length) {
    throw new Error(`the story is not the same twice: ${one.moments.length} and ${other.moments.length} calls, the first difference at call ${differs + 1}`);
  }
  return one.moments;
}

export interface Plan {
  readonly runs: readonly Fault[];
  /** Kills that leave the same world behind as another one of the runs. */
  readonly covered: number;
}

/**
 * Every fault at these calls, but of kills between which nothing was done, begun, asked or answered, and no time has passed, only the first: a process that is gone has
 * left nothing but what it has done, so the others are the same run. `everyOne` runs those, too.
 */
export function planOf(moments: readonly Moment[], calls: readonly number[], hows: readonly Way[] = ways, everyOne = false): Plan {
  const runs: Fault[] = [];
  const known = new Set<string>();
  let covered = 0;
  for (const at of calls) {
    const { state, stillAtAnswer, stillAfter } = moments[at - 1]!;
    for (const how of hows) {
      const isStill = how === 'before' || (how === 'unanswered' && stillAtAnswer) || (how === 'after' && stillAtAnswer && stillAfter);
      if (isStill && known.has(state) && !everyOne) covered++;
      else runs.push({ at, how });
      if (isStill) known.add(state);
    }
  }
  return { runs, covered };
}
