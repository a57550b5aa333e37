import type { NoticeReader } from '../../ports/index.ts';
import { aftership, say as sayAftership } from './aftership.ts';
import { demo, say as sayDemo } from './demo.ts';
import { easypost, say as sayEasypost } from './easypost.ts';
import type { NoticeWriter } from './notice.ts';
import { say as sayShippo, shippo } from './shippo.ts';

/** The formats in which carriers speak, by the name in the webhook's path. A new one is one file and one line in each of these two tables. */
const readers = { demo, easypost, shippo, aftership } satisfies Record<string, (secret: string | undefined) => NoticeReader>;
export type FormatName = keyof typeof readers;

/** The other direction, for the demo carrier. */
export const writers: Readonly<Record<FormatName, NoticeWriter>> = { demo: sayDemo, easypost: sayEasypost, shippo: sayShippo, aftership: sayAftership };

/** A reader for every format; one whose secret is unset or empty is there and refuses. */
export function noticeReaders(secrets: Readonly<Partial<Record<FormatName, string>>>): ReadonlyMap<FormatName, NoticeReader> {
  return new Map(Object.entries(readers).map(([name, open]) => [name as FormatName, open(secrets[name as FormatName])]));
}

export type { Notice, NoticeWriter } from './notice.ts';
