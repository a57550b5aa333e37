import { createHash, randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, readdirSync, statSync, unlinkSync } from 'node:fs';
import { link as hardLink, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PortError, type Letter, type MailerDriver, type Mailbox } from '../../ports/index.ts';
import { eml, type EmlOptions } from './eml.ts';

/**
 * LOCAL MAILBOX: keeps each letter as `<folder>/<2 hex>/<key>.eml`, for a person to read.
 *
 * - The file is its own proof: it is there, whole, or it is not; so `ask` always knows, and sending a key again changes nothing.
 * - It is written as a draft and then linked to its name, so that a kill -9 leaves no torn letter. It is not forced to the disk: a power cut may take
 *   the letters of the last seconds with it.
 * - Drafts lie on the letter's own shelf: made in one folder for all, they cost ten times as much on ext4 for minutes after many files were deleted nearby.
 * - Every failure is `throttled`: trying again is safe at every point, for a letter that is there already is not written again.
 * - Letters are written beside the event loop: making a file can take longer than all the rest of an order.
 */
export interface MailboxOptions extends EmlOptions {
  /** Is made if it is not there. */
  readonly folder: string;
}

export function openMailbox({ folder, ...options }: MailboxOptions): MailerDriver & { readonly mailbox: Pick<Mailbox, 'read'> } {
  const mine = randomUUID();
  const tidy = new Set<string>();
  let drafted = 0;
  attempt('', () => mkdirSync(folder, { recursive: true }));

  const keep = async (letter: Letter): Promise<void> => {
    const { shelf, file } = pathOf(folder, letter.key);
    const draft = join(shelf, `${mine}-${drafted++}.draft`);
    try {
      if (!tidy.has(shelf)) tidyUp(shelf);
      tidy.add(shelf);
      await writeFile(draft, eml(letter, options));
      await link(draft, file);
    } catch (error) {
      // Somebody may have removed the shelf under us: the next try makes it again.
      tidy.delete(shelf);
      throw error;
    } finally {
      await unlink(draft).catch(unlessGone);
    }
  };

  return {
    async send(letter) {
      if (!isKey(letter.key)) throw new PortError('denied', 'no key of a letter', { key: letter.key });
      await keep(letter).catch((cause: unknown) => attempt(letter.key, () => rethrow(cause)));
    },
    async ask(key) {
      return isKey(key) && attempt(key, () => statSync(pathOf(folder, key).file, { throwIfNoEntry: false })) ? 'sent' : 'notSent';
    },
    mailbox: {
      async read(key) {
        return isKey(key) ? attempt(key, () => read(pathOf(folder, key).file)) : undefined;
      },
    },
  };
}

/** As the port has it. Keys come from the address bar too: what is no key has no file. */
const isKey = (key: string): boolean => /^[A-Za-z0-9.-]{1,200}$/.test(key);

function pathOf(folder: string, key: string): { shelf: string; file: string } {
  const shelf = join(folder, createHash('sha256').update(key).digest('hex').slice(0, 2));
  return { shelf, file: join(shelf, `${key}.eml`) };
}

/** Removes drafts that a kill left behind. Whoever is writing one there at this very moment fails before his link, and tries again. */
function tidyUp(shelf: string): void {
  mkdirSync(shelf, { recursive: true });
  for (const name of readdirSync(shelf)) {
    if (name.endsWith('.draft')) discard(join(shelf, name));
  }
}

function discard(draft: string): void {
  try {
    unlinkSync(draft);
  } catch (error) {
    unlessGone(error);
  }
}

function unlessGone(error: unknown): void {
  if (codeOf(error) !== 'ENOENT' && codeOf(error) !== 'ENOTDIR') throw error;
}

/** Create if absent, in one step. */
async function link(draft: string, file: string): Promise<void> {
  try {
    await hardLink(draft, file);
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error;
  }
}

function rethrow(error: unknown): never {
  throw error;
}

function read(file: string): Uint8Array | undefined {
  try {
    return readFileSync(file);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function attempt<Result>(key: string, work: () => Result): Result {
  try {
    return work();
  } catch (cause) {
    if (codeOf(cause) === undefined) throw cause;
    throw new PortError('throttled', `the mailbox's folder: ${codeOf(cause)}`, { key, cause });
  }
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
