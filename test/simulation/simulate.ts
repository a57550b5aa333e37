import { fork, type ChildProcess } from 'node:child_process';
import { setMaxListeners } from 'node:events';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { drawPlan, faultNames, faults, parseFaults, wordsOf, type Fault, type Plan } from './simulateplan.ts';
import { shrink } from './simulateshrink.ts';
import { simulate, type Figures, type Run } from './simulateshop.ts';

/**
 * THE SIMULATION, as a command: `npm run simulate -- --seeds N [--seed S] [--minutes M]`.
 *
 * Each seed is a run of the whole shop with faults of its own (simulateshop.ts). Seeds are spread over worker processes; the first is run twice, in two processes, and
 * must give the same hash. A failure is run again with its log, shrunk, and ends the command with 1; so does a kind of fault that never happened.
 */
const help = `Usage: npm run simulate -- [--seeds N] [--seed S] [--minutes M] [--orders N] [--workers N]
                           [--faults a,b=0.5|none] [--instances N] [--partitions N] [--spread M]
                           [--check-determinism] [--lines N] [--shrink SECONDS]

  --seeds N            how many seeds (100; 1 with --seed alone)
  --seed S             the first one (1)
  --minutes M          begin no new seed after so many minutes
  --orders N           orders in each (200)
  --workers N          processes (as many as there are processors)
  --faults …           these kinds instead of those that the seed draws, with a strength up to 1
  --instances N        processes of the shop instead of those that the seed draws
  --partitions N       partitions of a stream at the beginning, likewise
  --spread M           virtual minutes in which the orders come, likewise
  --check-determinism  runs every seed twice, not the first alone
  --lines N            so many lines of the log of a failure (60)
  --shrink SECONDS     how long to look for a smaller failure (60)

Kinds of faults:
${faultNames.map((name) => `  ${name.padEnd(13)} ${faults[name]}`).join('\n')}`;

interface Words {
  readonly seeds: number;
  readonly seed: number;
  readonly minutes: number;
  readonly orders: number;
  readonly workers: number;
  readonly lines: number;
  readonly shrinkSeconds: number;
  readonly twice: boolean;
  readonly change: (plan: Plan) => Plan;
}

/** What a worker tells of a run. */
interface Told {
  readonly seed: number;
  readonly hash: string;
  readonly violation?: string;
  readonly coverage: readonly (readonly [Fault, number])[];
  readonly planned: readonly Fault[];
  readonly figures: Figures;
}

function parse(args: readonly string[]): Words {
  const given = new Map<string, string>();
  for (let i = 0; i < args.length; i++) {
    const name = args[i]!;
    if (!help.includes(`  ${name} `) || !name.startsWith('--')) throw new Error(`${name} is no option`);
    given.set(name, name === '--check-determinism' ? 'yes' : (args[++i] ?? ''));
  }
  const number = (name: string, fallback: number, least = 1): number => {
    const value = given.has(name) ? Number(given.get(name)) : fallback;
    if (!(value >= least)) throw new Error(`${name} is a number from ${least} upwards`);
    return value;
  };
  const own = (name: string): number | undefined => (given.has(name) ? number(name, 1) : undefined);
  const [instances, partitions, spread] = ['--instances', '--partitions', '--spread'].map(own);
  const kinds = given.get('--faults');
  const fixed = kinds === undefined ? undefined : parseFaults(kinds);
  return {
    seeds: number('--seeds', given.has('--seed') ? 1 : 100),
    seed: number('--seed', 1, 0),
    minutes: number('--minutes', Infinity, 0),
    orders: number('--orders', 200),
    workers: number('--workers', availableParallelism()),
    lines: number('--lines', 60, 0),
    shrinkSeconds: number('--shrink', 60, 0),
    twice: given.has('--check-determinism'),
    change: (plan) => ({ ...plan, ...(instances ? { instances } : {}), ...(partitions ? { partitions } : {}), ...(spread ? { minutes: spread } : {}), ...(fixed ? { faults: fixed } : {}) }),
  };
}

function toldOf({ plan, hash, violation, coverage, figures }: Run): Told {
  return { seed: plan.seed, hash, ...(violation === undefined ? {} : { violation }), coverage: [...coverage], planned: Object.keys(plan.faults) as Fault[], figures };
}

// ---------------------------------------------------------------- many seeds

interface Sums {
  seeds: number;
  orders: number;
  kills: number;
  events: number;
  longest: number;
  delivered: number;
  cancelled: number;
  readonly happened: Map<Fault, { times: number; seeds: number; planned: number }>;
}

function add(sums: Sums, { figures, coverage, planned }: Told): void {
  sums.seeds++;
  sums.orders += figures.orders;
  sums.kills += figures.kills;
  sums.events += figures.events;
  sums.delivered += figures.delivered;
  sums.cancelled += figures.cancelled;
  sums.longest = Math.max(sums.longest, figures.virtualSeconds);
  for (const name of planned) at(sums, name).planned++;
  for (const [name, times] of coverage) {
    at(sums, name).times += times;
    at(sums, name).seeds++;
  }
}

function at({ happened }: Sums, name: Fault): { times: number; seeds: number; planned: number } {
  let each = happened.get(name);
  if (!each) happened.set(name, (each = { times: 0, seeds: 0, planned: 0 }));
  return each;
}

/** Runs the seeds in worker processes; ends early at a failure. Answers the first one that failed. */
async function runAll(words: Words, sums: Sums): Promise<Told | undefined> {
  const began = performance.now();
  const until = began + words.minutes * 60_000;
  let next = words.seed;
  const last = words.seed + words.seeds;
  let failed: Told | undefined;
  const hashes = new Map<number, string>();
  const again = words.twice ? Array.from({ length: words.seeds }, (_, i) => words.seed + i) : [words.seed];
  let printed = 0;

  function note(told: Told): void {
    const known = hashes.get(told.seed);
    if (known !== undefined && known !== told.hash) failed ??= { ...told, violation: `the seed gives ${known} once and ${told.hash} the other time` };
    if (told.violation !== undefined && (!failed || told.seed < failed.seed)) failed = told;
    if (known === undefined) add(sums, told);
    hashes.set(told.seed, told.hash);
    if (performance.now() - printed < 2_000) return;
    printed = performance.now();
    const seconds = (printed - began) / 1_000;
    console.log(`${String(sums.seeds).padStart(6)} of ${words.seeds} seeds, ${(sums.seeds / seconds).toFixed(1)}/s · ${sums.orders} orders · ${sums.kills} kills · ${at(sums, 'duplicates').times} duplicates · up to ${hours(sums.longest)} of virtual time`);
  }

  /** The seed to be run next. Repetitions come at the end, so that another process gets them. */
  function draw(): number | undefined {
    if (failed || performance.now() > until) return undefined;
    return next < last ? next++ : again.pop();
  }

  await Promise.all(Array.from({ length: Math.min(words.workers, words.seeds + again.length) }, () => work(draw, note, words)));
  return failed;
}

const seedsPerProcess = 50;

/** A worker is replaced now and then: whatever the killed processes of its worlds have left waiting goes with it. */
async function work(draw: () => number | undefined, note: (told: Told) => void, words: Words): Promise<void> {
  for (let seed = draw(); seed !== undefined; ) {
    const child = fork(fileURLToPath(import.meta.url), ['--worker'], { execArgv: ['--import', 'tsx/esm', '--max-semi-space-size=64'], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    try {
      for (let n = 0; n < seedsPerProcess && seed !== undefined; n++, seed = draw()) note(await askWorker(child, words.change(drawPlan(seed, words.orders))));
    } finally {
      child.removeAllListeners();
      child.disconnect();
    }
  }
}

function askWorker(child: ChildProcess, plan: Plan): Promise<Told> {
  child.removeAllListeners();
  return new Promise<Told>((resolve, reject) => {
    child.once('message', (message) => resolve(message as Told));
    child.once('exit', (code) => reject(new Error(`a worker has ended with ${code} at the seed ${plan.seed}`)));
    child.send(plan);
  });
}

function beWorker(): void {
  process.on('message', (plan) => {
    simulate(plan as Plan).then(
      (run) => process.send!(toldOf(run)),
      (error: unknown) => {
        console.error(error);
        process.exit(1);
      },
    );
  });
}

// ---------------------------------------------------------------- telling

const hours = (seconds: number): string => `${Math.floor(seconds / 3_600)} h ${Math.round((seconds % 3_600) / 60)} min`;

/** Answers the kinds that were planned and never happened. */
function tellCoverage(sums: Sums): Fault[] {
  console.log('\nkind           planned in   happened in    times');
  for (const name of faultNames) {
    const { times, seeds, planned } = at(sums, name);
    console.log(`${name.padEnd(14)} ${String(planned).padStart(6)} seeds ${String(seeds).padStart(6)} seeds ${String(times).padStart(10)}`);
  }
  return faultNames.filter((name) => at(sums, name).times === 0);
}

async function tellFailure({ seed, violation }: Told, words: Words): Promise<void> {
  const plan = words.change(drawPlan(seed, words.orders));
  console.log(`\nFAILED: seed ${seed}: ${violation}`);
  console.log(`  ${wordsOf(plan)}`);
  const first = await simulate(plan);
  if (first.violation === undefined) return console.log('  It does not fail again in this process.');
  const { run, runs } = await shrink(first, {}, { milliseconds: words.shrinkSeconds * 1_000, runs: 300 });
  const told = await simulate(run.plan, { lines: words.lines });
  console.log(`\nThe last things that happened in the smallest of ${runs} runs that fails:`);
  for (const line of told.lines) console.log(`  ${line.slice(0, 240)}`);
  console.log(`\n${told.violation ?? run.violation}`);
  console.log(`\nAgain: npm run simulate -- ${wordsOf(run.plan)}`);
}

async function main(): Promise<void> {
  setMaxListeners(0); // a thousand sleepers may wait for one signal
  const args = process.argv.slice(2);
  if (args.includes('--worker')) return beWorker();
  if (args.includes('--help')) return console.log(help);
  const words = parse(args);
  const began = performance.now();
  const sums: Sums = { seeds: 0, orders: 0, kills: 0, events: 0, longest: 0, delivered: 0, cancelled: 0, happened: new Map() };
  const failed = await runAll(words, sums);
  const seconds = (performance.now() - began) / 1_000;
  const never = tellCoverage(sums);
  console.log(`\n${sums.seeds} seeds of ${words.orders} orders in ${seconds.toFixed(0)} s (${(sums.seeds / seconds).toFixed(1)}/s): ${sums.delivered} delivered, ${sums.cancelled} cancelled, ${sums.kills} processes killed, ${sums.events} steps, up to ${hours(sums.longest)} of virtual time`);
  if (failed) {
    await tellFailure(failed, words);
    process.exitCode = 1;
    return;
  }
  console.log(`Nothing lost, nothing sold twice, nothing stuck; the same hash again for ${words.twice ? 'every seed' : `seed ${words.seed}`}.`);
  if (sums.seeds >= 50 && never.length > 0 && !args.includes('--faults')) {
    console.log(`FAILED: the simulation has never done this: ${never.join(', ')}`);
    process.exitCode = 1;
  }
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
