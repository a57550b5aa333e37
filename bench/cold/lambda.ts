import { readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { Run } from './process.ts';

/** One cold process of Lambda: loads the package in the folder, calls one function once, and tells in a line of JSON what that took. */
const [, , folder = '', name = '', file = ''] = process.argv;
const event: unknown = JSON.parse(readFileSync(file, 'utf8'));
const used = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
};

async function run(): Promise<void> {
  const load = createRequire(join(folder, 'index.js'));
  const before = used();
  const began = performance.now();
  const { lambdas } = load('./dist/main.js') as { readonly lambdas: Readonly<Record<string, (event: unknown) => Promise<{ readonly statusCode?: number } | undefined>>> };
  const registered = performance.now() - began;
  const answer = await lambdas[name]!(event);
  const answered = performance.now() - began;
  const work = used() - before;
  const loaded = Object.keys(load.cache).filter((path) => path.startsWith(folder));
  const told: Run = { registered, answered, work, bytes: loaded.reduce((sum, path) => sum + statSync(path).size, 0), files: loaded.length, outcome: String(answer?.statusCode ?? 'returned') };
  process.stdout.write(`${JSON.stringify(told)}\n`, () => process.exit(0));
}
void run();
