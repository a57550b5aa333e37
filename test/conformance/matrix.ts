import { mutants, unmutated, type Mutant } from './mutants/index.ts';
import { breachesOf, type Breach } from './trial.ts';

/**
 * `npm run mutants`: tries every case on every mutant and prints which ones find it out. Fails when a mutant survives, or when a promise is broken by what the
 * mutants were made of: then a mutant's death would prove nothing.
 */
const columns = 120;
const mutantColumns = 58;

const cut = (text: string, length: number): string => (text.length <= length ? text.padEnd(length) : `${text.slice(0, length - 1)}…`);

function line({ name }: Mutant, breaches: readonly Breach[]): string {
  const killer = breaches[0]?.case.title ?? 'SURVIVES';
  const count = String(breaches.length).padStart(3);
  return `  ${cut(name, mutantColumns)} ${count}  ${cut(killer, columns - mutantColumns - 8)}`.trimEnd();
}

const begun = performance.now();
const sound = unmutated();
const unsound = await breachesOf(sound);
for (const { case: { suite, title }, error } of unsound) console.log(`BROKEN WITHOUT ANY FAULT  ${suite}: ${title}: ${String(error)}`);

const killers = new Set<string>();
let dead = 0;
let port = '';
for (const mutant of mutants) {
  if (mutant.port !== port) console.log(`\n${cut((port = mutant.port), mutantColumns + 3)} cases that find it out, and the first of them`);
  const breaches = await breachesOf(mutant.cases());
  for (const { case: { suite, title } } of breaches) killers.add(`${suite.split(' ')[0]} ${title}`);
  if (breaches.length > 0) dead++;
  console.log(line(mutant, breaches));
}

const seconds = ((performance.now() - begun) / 1_000).toFixed(1);
console.log(`\n${sound.length - unsound.length} of ${sound.length} promises are kept without any fault. ${killers.size} of them have found a mutant out.`);
console.log(`${dead} of ${mutants.length} mutants die, in ${seconds} s.`);
process.exitCode = dead === mutants.length && unsound.length === 0 ? 0 : 1;
