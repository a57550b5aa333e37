import { createHash } from 'node:crypto';
import { create, isPortError, isTransient, key, partitionOf, remove, replace, type Row } from '../../ports/index.ts';
import { collections } from '../flow.ts';
import type { Kernel } from '../kernel/service.ts';
import type { Operator, Role } from './events.ts';
import { signed } from './seal.ts';

/**
 * SESSIONS of people at the console: a cookie that cannot be guessed (260 bits), and a row of which it is the key. So any process of the deployment knows it, and it ends
 * everywhere at the moment of the sign-out. The row has a digest of the cookie alone: whoever reads the store, or a backup of it, cannot come in with that.
 *
 * It ends `idleSeconds` after the last page that a person opened (pages that renew themselves do not count), `longestSeconds` after the sign-in whatever is done, and
 * with the admin token for which it was given.
 */
export const idleSeconds = 30 * 60;
export const longestSeconds = 8 * 3_600;
/** Not each page writes. */
const renewedAfterSeconds = 60;

interface Session {
  readonly who: string;
  readonly role: Role;
  /** The provider's own name for the person, which never goes to another one. */
  readonly subject?: string;
  /** Of the admin token, if it was given for that. */
  readonly stamp?: string;
  /** Milliseconds since 1970. */
  readonly since: number;
  readonly seen: number;
  /** When at the latest nobody needs the row any more. */
  readonly until: number;
}
export type Newcomer = Pick<Session, 'who' | 'role' | 'subject' | 'stamp'>;

const keyOf = (cookie: string): string => key('session', createHash('sha256').update(cookie).digest('hex'));
const partition = (rowKey: string): string => partitionOf(collections.dead, rowKey);
const shape = /^[0-9a-z]{52}$/;

/** Answers the cookie's value. */
export async function openSession(kernel: Kernel, newcomer: Newcomer): Promise<string> {
  const cookie = kernel.ids.random() + kernel.ids.random();
  const now = kernel.clock.now();
  const rowKey = keyOf(cookie);
  await kernel.store.commit(partition(rowKey), { writes: [create(rowKey, { ...newcomer, since: now, seen: now, until: now + longestSeconds * 1_000 } satisfies Session)] });
  return cookie;
}

/** Whoever has this cookie, if he is still signed in. `renew`: he has just opened a page. */
export async function operatorOf(kernel: Kernel, cookie: string | undefined, stamp: string, renew: boolean): Promise<Operator | undefined> {
  const row = await rowOf(kernel, cookie);
  if (!row || !lasts(row.body, kernel.clock.now(), stamp)) return undefined;
  if (renew) await renewed(kernel, row);
  const { who, role, subject } = row.body;
  return { who, role, csrf: signed(kernel, 'csrf', cookie!), ...(subject === undefined ? {} : { subject }) };
}

async function rowOf(kernel: Kernel, cookie: string | undefined): Promise<Row<Session> | undefined> {
  if (cookie === undefined || !shape.test(cookie)) return undefined;
  const rowKey = keyOf(cookie);
  return kernel.store.get<Session>(partition(rowKey), rowKey);
}

function lasts({ since, seen, stamp }: Session, now: number, stampNow: string): boolean {
  return isCurrent({ since, seen }, now) && (stamp === undefined || stamp === stampNow);
}
const isCurrent = ({ since, seen }: Pick<Session, 'since' | 'seen'>, now: number): boolean => now < seen + idleSeconds * 1_000 && now < since + longestSeconds * 1_000;

async function renewed(kernel: Kernel, row: Row<Session>): Promise<void> {
  const now = kernel.clock.now();
  if (now < row.body.seen + renewedAfterSeconds * 1_000) return;
  try {
    await kernel.store.commit(partition(row.key), { writes: [replace(row, { ...row.body, seen: now } satisfies Session)] });
  } catch (error) {
    // Another page of the same person has done it, or the next one will: to look at something nobody need wait for that.
    if (!isTransient(error) && !isPortError(error, 'conflict')) throw error;
  }
}

/** Its cookie is worth nothing from now on. Throws when the store cannot say so. */
export async function endSession(kernel: Kernel, cookie: string | undefined): Promise<void> {
  for (;;) {
    const row = await rowOf(kernel, cookie);
    if (!row) return;
    try {
      await kernel.store.commit(partition(row.key), { writes: [remove(row)] });
    } catch (error) {
      if (!isPortError(error, 'conflict')) throw error; // renewed meanwhile, or ended
    }
  }
}
