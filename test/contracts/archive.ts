import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { EventName } from '../../core/flow.ts';
import type { Message } from '../../ports/index.ts';
import { incompatibilities, nameOf, type ApiContract, type Contract, type EnvelopeContract, type EventContract, type NoticesContract, type RowsContract } from './gate.ts';
import { noticesOfToday, type ArchivedNotice } from './notices.ts';
import { sample, sizes, type Size } from './samples.ts';
import { play, type Played } from './shop.ts';

/**
 * THE ARCHIVE of what was released: `<name>.v<version>.json`, and `<name>.v<version>.<revision>.json` where a release has added something to a version that those who
 * know the version need not know. A file is written once. With each shape lies what was said, sent or kept in it, to be given to every later program.
 */
export type ArchivedEvent = EventContract & { readonly messages: Readonly<Record<Size, Message>> };
export type ArchivedRows = RowsContract & Played;
export type ArchivedNotices = NoticesContract & { readonly notices: readonly ArchivedNotice[] };
export type Archived = ArchivedEvent | ArchivedRows | ArchivedNotices | ApiContract | EnvelopeContract;

export const folder = fileURLToPath(new URL('archive/', import.meta.url));

/** Oldest first. */
export function readArchive(from = folder): Archived[] {
  const place = (file: string): [string, number, number] => {
    const [, name = '', version, revision = '0'] = /^(\w+)\.v(\d+)(?:\.(\d+))?\.json$/.exec(file) ?? [];
    if (version === undefined) throw new Error(`${file} is no name of the archive`);
    return [name, Number(version), Number(revision)];
  };
  const files = readdirSync(from).map((file) => ({ file, place: place(file) }));
  files.sort(({ place: a }, { place: b }) => (a[0] === b[0] ? a[1] - b[1] || a[2] - b[2] : a[0] < b[0] ? -1 : 1));
  return files.map(({ file }) => JSON.parse(readFileSync(from + file, 'utf8')) as Archived);
}

/** What of the released nobody can rely on any more, and what is to be done about it; empty when all is well. */
export function broken(released: readonly Contract[], today: readonly Contract[]): string[] {
  return released.flatMap((old) => {
    const now = today.find((each) => nameOf(each) === nameOf(old));
    const found = incompatibilities(old, now);
    return found.length === 0 ? [] : [`${nameOf(old)} is not what was released as version ${old.version}:\n${found.map((each) => `  ${each}`).join('\n')}\n  ${advice(old)}`];
  });
}

function advice(old: Contract): string {
  const next = `version ${old.version + 1}`;
  switch (old.contract) {
    case 'event':
      return `→ Let it fit again, with optional fields alone for what is new; or give it ${next} in core/flow.ts, with the released shape in \`earlier\` and what lifts it (docs/contracts.md).`;
    case 'rows':
      return `→ Let new code read old rows, let old code read new ones, and then raise \`rows\` in test/contracts/today.ts to ${next}: the archived shops must still come to their end (docs/contracts.md).`;
    case 'api':
      return '→ Nobody tells those who call. Keep the door as it was and open another one beside it (docs/contracts.md).';
    default:
      return `→ Let it fit again; what is sent to us is written by others, who have not changed (docs/contracts.md).`;
  }
}

export interface Unreleased {
  readonly contract: Contract;
  readonly file: string;
  /** What the latest release of it lacks, in the words of the gate. */
  readonly news: readonly string[];
}

/** What would be archived now: versions that are new, and versions to which something was added. Wording alone is no reason. */
export function unreleased(released: readonly Contract[], today: readonly Contract[]): Unreleased[] {
  return today.flatMap((contract) => {
    const same = released.filter((old) => nameOf(old) === nameOf(contract) && old.version === contract.version);
    const base = `${nameOf(contract)}.v${contract.version}`;
    const latest = same.at(-1);
    if (!latest) return [{ contract, file: `${base}.json`, news: ['all of it is new'] }];
    const news = incompatibilities(contract, latest);
    return news.length === 0 ? [] : [{ contract, file: `${base}.${same.length}.json`, news }];
  });
}

/** Never over a file that is there. */
export async function release({ contract, file }: Unreleased, to = folder): Promise<void> {
  writeFileSync(to + file, `${printed({ ...contract, ...(await goldenOf(contract)) })}\n`, { flag: 'wx' });
}

async function goldenOf(contract: Contract): Promise<object> {
  switch (contract.contract) {
    case 'event':
      return { messages: Object.fromEntries(sizes.map((size) => [size, sample(contract.name as EventName, size)])) };
    case 'rows':
      return play();
    case 'notices':
      return { notices: noticesOfToday() };
    default:
      return {};
  }
}

/** JSON that can be read and compared line by line: what fits into a line stands in one. */
export function printed(value: unknown, indent = ''): string {
  const flat = JSON.stringify(value);
  if (flat.length + indent.length <= 160 || typeof value !== 'object' || value === null) return flat;
  const deeper = `${indent} `;
  const items = Array.isArray(value)
    ? value.map((item: unknown) => printed(item, deeper))
    : Object.entries(value).flatMap(([name, item]) => (item === undefined ? [] : [`${JSON.stringify(name)}: ${printed(item, deeper)}`]));
  const [open, close] = Array.isArray(value) ? '[]' : '{}';
  return `${open}\n${items.map((item) => deeper + item).join(',\n')}\n${indent}${close}`;
}
