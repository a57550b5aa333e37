import { broken, readArchive, release, unreleased } from './archive.ts';
import { today } from './today.ts';

/**
 *   npm run contracts                what is not as it was released, and what would be archived
 *   npm run contracts -- --release   archives it
 *
 * Nothing is archived while anything is broken, and never is a file of the archive replaced.
 */
const unknown = process.argv.slice(2).filter((argument) => argument !== '--release');
if (unknown.length > 0) {
  console.error(`${unknown.join(' ')}? I know --release alone.`);
  process.exit(2);
}
const writes = process.argv.includes('--release');
const [released, now] = [readArchive(), await today()];
const faults = broken(released, now);
if (faults.length > 0) {
  console.error(faults.join('\n\n'));
  process.exit(1);
}
const news = unreleased(released, now);
for (const each of news) {
  if (writes) await release(each);
  console.log(`${writes ? 'archived' : 'not archived yet'}: ${each.file}`);
  if (!each.news.includes('all of it is new')) for (const line of each.news) console.log(`  + ${line.split(': ')[0]}`);
}
console.log(`${released.length + (writes ? news.length : 0)} contracts are archived; ${news.length === 0 ? 'today\'s are all among them' : `${news.length} ${writes ? 'of them since now' : 'more would be'}`}.`);
process.exit(0);
