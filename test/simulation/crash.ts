import { fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { countCalls, familyOf, planOf, strike, type Found, type Plan } from './crashrun.ts';
import type { FromWorker, ToWorker } from './crashworker.ts';
import { families, ways, type Fault, type Way } from './crashworld.ts';
import { kills } from './crashkills.ts';

/** CRASH ANYWHERE: `npm run crash`. Kills the shop at every call that it makes to a port, or as a process at moments that nobody has chosen. */

const help = `Kills the shop, opens it anew, and looks whether all promises still hold.

Usage: npm run crash -- [options]

Strikes every call that the shop makes to a port in a fixed story, in four ways: killed before the call, killed when its effect is done and not known,
killed after the answer, and not killed but without the answer.
  --family F      ${Object.keys(families).join(' | ')} [memory]
  --from N --to N only these calls [all]
  --only NAMES    only calls of these names, as store.commit,mailer.send [all]
  --every N       only every Nth of them [1]
  --at N          only this call
  --how W         ${ways.join(' | ')} [all four]
  --first         stops at the first violation
  --thorough      also kills between which nothing has happened, which are the same run
  --workers N     processes [one for each core]

Kills a real process with SIGKILL while orders pour in:
  --kills N       so many times
  --seed S        draws the moments [1]`;

interface Options {
  readonly family: string;
  readonly from: number;
  readonly to: number | undefined;
  readonly only: ReadonlySet<string> | undefined;
  readonly every: number;
  readonly hows: readonly Way[];
  readonly thorough: boolean;
  readonly first: boolean;
  readonly workers: number;
}

const batch = 16;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      family: { type: 'string', default: 'memory' }, from: { type: 'string' }, to: { type: 'string' }, every: { type: 'string' }, only: { type: 'string' }, at: { type: 'string' }, how: { type: 'string' },
      thorough: { type: 'boolean', default: false }, first: { type: 'boolean', default: false }, workers: { type: 'string' }, kills: { type: 'string' }, seed: { type: 'string' }, help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help) return console.log(help);
  if (values.kills !== undefined) return killAll(whole('kills', values.kills, 1), whole('seed', values.seed, 1));
  const at = values.at === undefined ? undefined : whole('at', values.at, 1);
  await crash({
    family: values.family,
    from: at ?? whole('from', values.from, 1),
    to: at ?? (values.to === undefined ? undefined : whole('to', values.to, 1)),
    only: values.only === undefined ? undefined : new Set(values.only.split(',')),
    every: whole('every', values.every, 1),
    hows: values.how === undefined ? ways : [wayOf(values.how)],
    thorough: values.thorough || at !== undefined,
    first: values.first,
    workers: at === undefined ? whole('workers', values.workers, availableParallelism()) : 1,
  });
}

function whole(name: string, given: string | undefined, fallback: number): number {
  const number = Number(given ?? fallback);
  if (!Number.isInteger(number) || number < 1) throw new Error(`--${name} is a whole number from 1: ${given}`);
  return number;
}

function wayOf(given: string): Way {
  const way = ways.find((each) => each === given);
  if (!way) throw new Error(`--how is ${ways.join(' | ')}: ${given}`);
  return way;
}

// ---------------------------------------------------------------- at every call

async function crash(options: Options): Promise<void> {
  const begun = performance.now();
  const moments = await countCalls(familyOf(options.family));
  const to = Math.min(options.to ?? moments.length, moments.length);
  const wanted = moments.flatMap(({ name }, i) => (i + 1 >= options.from && i + 1 <= to && (options.only?.has(name) ?? true) ? [i + 1] : []));
  const calls = wanted.filter((_, i) => i % options.every === 0);
  const plan = planOf(moments, calls, options.hows, options.thorough);
  console.log(`K = ${moments.length} port calls of the ${options.family} family${familyOf(options.family).exact ? ', the same ones twice' : ''}; ${plan.runs.length} runs`);
  const { found, struck } = await (options.workers === 1 ? strikeHere(options, plan) : strikeWith(options, moments.length, plan));
  const isWhole = struck === plan.runs.length;
  const told = isWhole ? options.hows.map((how) => `${meaning[how]} ${calls.length} of ${moments.length}`) : [`stopped at the first violation, after ${struck} of ${plan.runs.length} runs`];
  console.log([`K = ${moments.length} port calls`, ...told, `${found.length} violations`, `${Math.round((performance.now() - begun) / 1_000)} s`].join(' · '));
  if (isWhole && plan.covered > 0) console.log(`${plan.covered} of the kills are the same run as another one: nothing was done, begun, asked or answered between them, and no time has passed (--thorough runs them, too)`);
  if (found.length > 0) process.exitCode = 1;
}

const meaning: Readonly<Record<Way, string>> = { before: 'killed before', unanswered: 'killed before the answer of', after: 'killed after', lost: 'answer lost of' };

const report = ({ at, how, struck, violation }: Found, family: string): string =>
  `\nVIOLATION at call ${at} (${struck ?? 'it never came'}), ${meaning[how]} it\n  ${violation}\n  npm run crash -- ${family === 'memory' ? '' : `--family ${family} `}--at ${at} --how ${how}\n`;

interface Struck {
  readonly found: readonly Found[];
  readonly struck: number;
}

async function strikeHere({ family, first }: Options, { runs }: Plan): Promise<Struck> {
  const found: Found[] = [];
  let struck = 0;
  for (const fault of runs) {
    const one = await strike(familyOf(family), fault);
    struck++;
    if (one) found.push(one);
    if (one) console.log(report(one, family));
    if (one && first) break;
  }
  return { found, struck };
}

/** Hands the runs out to processes of their own, some at a time. */
async function strikeWith({ family, workers, first }: Options, calls: number, { runs }: Plan): Promise<Struck> {
  const found: Found[] = [];
  const progress = createProgress(runs.length);
  let next = 0;
  let struck = 0;
  const some = (): Fault[] => (first && found.length > 0 ? [] : runs.slice(next, (next += batch)));
  const done = (count: number, more: readonly Found[]): void => {
    found.push(...more);
    for (const one of more) console.log(report(one, family));
    progress((struck += count), found.length);
  };
  await Promise.all(Array.from({ length: Math.min(workers, Math.ceil(runs.length / batch)) }, () => employ(family, calls, some, done)));
  return { found, struck };
}

function employ(family: string, calls: number, some: () => ToWorker, done: (struck: number, found: readonly Found[]) => void): Promise<void> {
  const child = fork(fileURLToPath(new URL('crashworker.ts', import.meta.url)), [family, String(calls)]);
  return new Promise((resolve, reject) => {
    child.on('message', (message: FromWorker) => {
      if ('broken' in message) return reject(new Error(message.broken));
      if ('struck' in message) done(message.struck, message.found);
      const faults = some();
      if (faults.length > 0) return void child.send(faults);
      child.disconnect();
      resolve();
    });
    child.once('exit', (status) => reject(new Error(`a worker has ended with ${status}`)));
  });
}

function createProgress(all: number): (done: number, found: number) => void {
  const begun = performance.now();
  let shownAt = begun;
  return (done, found) => {
    const now = performance.now();
    if (now - shownAt < 5_000) return;
    shownAt = now;
    const left = Math.round(((now - begun) / done) * (all - done) / 1_000);
    console.log(`${String(done).padStart(6)} of ${all} runs · ${found} violations · about ${left} s left`);
  };
}

// ---------------------------------------------------------------- as a process

async function killAll(count: number, seed: number): Promise<void> {
  const { summary, violations } = await kills({ kills: count, seed, say: (line) => console.log(line) });
  for (const violation of violations.slice(0, 50)) console.log(`VIOLATION  ${violation}`);
  console.log(summary);
  if (violations.length > 0) process.exitCode = 1;
}

main().catch((error: unknown) => {
  console.error(`crash: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
});
