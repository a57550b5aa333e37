import { Invalid } from '../../ports/index.ts';
import { openJournal } from '../../emulator/journal.ts';

/** Opens each of so many folders at its moment, and keeps it: `lock.child.ts FOLDER COUNT START EVERY`. Says which ones it got. */
const [folder, count, start, every] = process.argv.slice(2);
const got: number[] = [];
for (let n = 0; n < Number(count); n++) {
  while (Date.now() < Number(start) + n * Number(every)); // at the same moment as the others
  try {
    openJournal(`${folder}/${n}`);
    got.push(n);
  } catch (error) {
    if (!(error instanceof Invalid)) throw error;
  }
}
process.stdout.write(`${JSON.stringify(got)}\n`);
process.stdin.resume().on('end', () => process.exit());
