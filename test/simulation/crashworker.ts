import { countCalls, familyOf, strike, type Found } from './crashrun.ts';
import type { Fault } from './crashworld.ts';

/** A process that strikes what it is told to: `crashworker.ts FAMILY CALLS`. Of an exact family it must count as many calls as whoever started it. */
export type ToWorker = readonly Fault[];
export type FromWorker = { readonly ready: true } | { readonly broken: string } | { readonly struck: number; readonly found: readonly Found[] };

const [familyName = 'memory', calls] = process.argv.slice(2);
const family = familyOf(familyName);
const tell = (message: FromWorker): void => void process.send!(message);

process.on('message', (faults: ToWorker) => void strikeAll(faults));
process.on('disconnect', () => process.exit());
await countCalls(family).then(
  (moments) => tell(!family.exact || moments.length === Number(calls) ? { ready: true } : { broken: `the story is not the same in another process: ${calls} and ${moments.length} calls` }),
  (error: unknown) => tell({ broken: String(error) }),
);

async function strikeAll(faults: ToWorker): Promise<void> {
  const found: Found[] = [];
  for (const fault of faults) {
    const one = await strike(family, fault);
    if (one) found.push(one);
  }
  tell({ struck: faults.length, found });
}
