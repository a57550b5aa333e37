import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { startWorker } from '../../serverless/worker.ts';

/** One cold process: loads the package in the folder, runs one function once, and tells in a line of JSON what that took. It is packed first, since no loader may be in it. */
export interface Run {
  /** Milliseconds since the package began to be loaded. */
  readonly registered: number;
  readonly answered: number;
  /** Milliseconds of the processor over the same time. */
  readonly work: number;
  /** Bytes and files of code that were loaded by then. */
  readonly bytes: number;
  readonly files: number;
  readonly outcome: string;
}

const [, , folder = '', name = '', file = ''] = process.argv;
const payload = JSON.parse(readFileSync(file, 'utf8')) as { headers?: Record<string, string> } | undefined;
const used = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
};

async function run(): Promise<void> {
  const before = used();
  const began = performance.now();
  const worker = await startWorker(folder, () => undefined);
  const registered = performance.now() - began;
  const outcome = await worker.invoke(name, payload);
  const answered = performance.now() - began;
  const work = used() - before;
  const loaded = worker.loaded();
  const bytes = loaded.reduce((sum, path) => sum + statSync(join(folder, path)).size, 0);
  const told: Run = { registered, answered, work, bytes, files: loaded.length, outcome: outcome.returned ? String(outcome.response?.status ?? 'returned') : outcome.error };
  process.stdout.write(`${JSON.stringify(told)}\n`, () => process.exit(0));
}
void run();
