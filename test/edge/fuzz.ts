import fc from 'fast-check';
import { parseArgs } from 'node:util';
import { notices, roundOfNotices } from './notices.ts';
import { rows, roundOfRows } from './rows.ts';
import { puts, roundOfChannels } from './channels.ts';
import { shots, roundOfShots } from './wire.ts';
import { asks, heard, roundOfDoors } from './doors.ts';

/**
 * FUZZING: `npm run fuzz -- [--cases 100000] [--seed S] [--part NAME] [--heard]`. Every way in, asked everything that strangers ask. A round is a list of cases for one shop; what does not
 * hold is shrunk to the shortest list that shows it, and printed with the command that does it again.
 */
export interface Part {
  readonly name: string;
  /** Of a hundred cases. */
  readonly share: number;
  readonly says: string;
  readonly cases: fc.Arbitrary<readonly unknown[]>;
  readonly round: (seed: number, cases: readonly never[]) => Promise<void>;
}

export const parts: readonly Part[] = [
  { name: 'doors', share: 60, says: 'every door of the flow', cases: asks, round: roundOfDoors as Part['round'] },
  { name: 'notices', share: 15, says: 'the webhook, in every format', cases: notices, round: roundOfNotices as Part['round'] },
  { name: 'channels', share: 12, says: 'every queue and stream, past the port', cases: puts, round: roundOfChannels as Part['round'] },
  { name: 'wire', share: 3, says: 'the real server, byte by byte', cases: shots, round: roundOfShots as Part['round'] },
  { name: 'rows', share: 10, says: 'the rows of the replay', cases: rows, round: roundOfRows as Part['round'] },
];

export interface Result {
  readonly cases: number;
  readonly rounds: number;
}

/** Rounds until there have been so many cases. Throws with the seed of the round that failed, and the shortest list of cases that does. */
export async function fuzz(part: Part, seed: number, casesMin: number, tell: (done: number) => void = () => undefined): Promise<Result> {
  let cases = 0;
  let rounds = 0;
  for (; cases < casesMin; rounds++) {
    const roundSeed = seed + rounds;
    let count = 0;
    const property = fc.asyncProperty(part.cases, async (given) => {
      count ||= given.length;
      await part.round(roundSeed, given as never[]);
    });
    const outcome = await fc.check(property, { seed: roundSeed, numRuns: 1, interruptAfterTimeLimit: 300_000 });
    if (outcome.failed) throw new Error(describe(part, roundSeed, outcome, await fewest(part, roundSeed, outcome.counterexample?.[0] ?? [])), { cause: outcome.errorInstance });
    cases += count;
    tell(cases);
  }
  return { cases, rounds };
}

/** Without any of them it would hold. */
async function fewest(part: Part, seed: number, cases: readonly unknown[]): Promise<readonly unknown[]> {
  let left = cases;
  for (const each of cases.length > 50 ? [] : cases) {
    const without = left.filter((other) => other !== each);
    const fails = await part.round(seed, without as never[]).then(() => false, () => true);
    if (fails) left = without;
  }
  return left;
}

function describe({ name }: Part, seed: number, { numShrinks, errorInstance }: fc.RunDetails<[readonly unknown[]]>, cases: readonly unknown[]): string {
  const list = cases.map((each) => `  ${JSON.stringify(each)?.slice(0, 1_500)}`);
  const why = errorInstance === null ? 'it has not come to an end in time' : errorInstance instanceof Error ? errorInstance.message + (errorInstance.cause instanceof Error ? `\n  ${errorInstance.cause.stack}` : '') : String(errorInstance);
  return `${name}: ${why}\nafter ${numShrinks} shrinks, ${list.length} cases are enough:\n${list.slice(-10).join('\n')}\nagain: npm run fuzz -- --part ${name} --seed ${seed} --cases 1`;
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { cases: { type: 'string', default: '100000' }, seed: { type: 'string' }, part: { type: 'string' }, heard: { type: 'boolean', default: false } } });
  const seed = Number(values.seed ?? Date.now() % 1e9);
  const chosen = values.part === undefined ? parts : parts.filter(({ name }) => name === values.part);
  const shares = chosen.reduce((sum, { share }) => sum + share, 0);
  console.log(`seed ${seed}`);
  process.on('unhandledRejection', (error) => {
    console.error('UNHANDLED', error);
    process.exit(1);
  });
  for (const part of chosen) {
    const begin = performance.now();
    const { cases, rounds } = await fuzz(part, seed, Math.ceil((Number(values.cases) * part.share) / shares));
    console.log(`${part.name.padEnd(10)} ${cases} cases in ${rounds} rounds, ${((performance.now() - begin) / 1_000).toFixed(1)} s: ${part.says}`);
  }
  if (values.heard) for (const [what, times] of [...heard].sort()) console.log(`  ${String(times).padStart(7)}  ${what}`);
}

if (import.meta.url === `file://${process.argv[1]}`) {
  main().catch((error: unknown) => {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  });
}
