import { createHash } from 'node:crypto';
import {
  isMalformed, isPortError, key, limits, partitionOf, partitionsOf, put, refuse, replace, timestamp,
  type Malformed, type Message, type Received, type Refusal,
} from '../../ports/index.ts';
import { collections } from '../flow.ts';
import { backOff, passOn } from './execute.ts';
import { isTooOld } from './forget.ts';
import { changedMeanwhile, findings, type Finding } from './list.ts';
import type { AnyService, Kernel } from './service.ts';

/**
 * DEAD LETTERS live in our own store, on every family: messages of queues that nobody could handle, with reason, payload and history. A person sends one again, or
 * says that nothing is to be done about it; the row stays either way, because it is part of the story of its order.
 */
export interface DeadLetter {
  readonly channel: string;
  readonly consumer: string;
  readonly reason: string;
  readonly attempts: number;
  readonly message: Message | Malformed;
  /** RFC 3339, of the last change. */
  readonly at: string;
  /** Absent in rows of the first days: dead. */
  readonly state?: 'dead' | 'sentAgain' | 'resolved';
  /** The latest `historyMax` changes, eldest first. */
  readonly history?: readonly { readonly at: string; readonly what: 'dead' | 'sentAgain' | 'resolved'; readonly why?: string }[];
}

const historyMax = 20;

/** First the letter, then the settling: a crash between the two buries twice, under one key. A reason quotes what a stranger has said, and is cut. */
export async function bury(kernel: Kernel, service: AnyService, latest: () => Received, why: string): Promise<void> {
  const reason = why.slice(0, reasonMax);
  const { queue: channel, attempts, message } = latest();
  const id = deadId(message);
  const partition = partitionOf(collections.dead, id);
  for (let buried = false, attempt = 1; !buried; attempt++) {
    if (attempt > 1) await backOff(kernel, attempt - 1, { kind: 'conflict' });
    const row = await kernel.store.get<DeadLetter>(partition, key('dead', service.name, id));
    const letter = { ...row?.body, channel, consumer: service.name, reason, attempts, message: keepable(message) };
    buried = await kernel.store.commit(partition, { writes: [put(row, key('dead', service.name, id), become(kernel, letter, 'dead', reason))] }).then(() => true, notInConflict);
  }
  await kernel.queue.done(latest());
}

function become(kernel: Kernel, letter: Omit<DeadLetter, 'at'>, state: NonNullable<DeadLetter['state']>, why?: string): DeadLetter {
  const at = timestamp(kernel.clock.now());
  const history = [...(letter.history ?? []), { at, what: state, ...(why === undefined ? {} : { why: why.slice(0, 500) }) }];
  return { ...letter, at, state, history: history.slice(-historyMax) };
}

export const isDead = ({ state = 'dead' }: DeadLetter): boolean => state === 'dead';

/** Fewer than are looked for in all: they are never forgotten, and however many they are, they hide none that still waits for somebody. */
const dealtWithMax = 5_000;

/** All of them, also, up to so many, those that a person has dealt with. */
export function deadLetters(kernel: Kernel): Promise<Finding<DeadLetter>[]> {
  let dealtWith = 0;
  return findings<DeadLetter>(kernel.store, partitionsOf(collections.dead), key('dead', ''), (letter) => isDead(letter) || ++dealtWith <= dealtWithMax);
}

/** Puts it on its queue once more: in the commit that notes it. Refuses what cannot be read, and what somebody else is dealing with. */
export async function sendAgain(kernel: Kernel, { partition, ...row }: Finding<DeadLetter>): Promise<Refusal | undefined> {
  const { message, channel } = row.body;
  if (!isDead(row.body)) return refuse(409, 'not-dead', `it is ${row.body.state} already`);
  if (isMalformed(message)) return refuse(409, 'malformed', 'nobody can read it, however often it is sent; resolve it, and say by hand what it should have been');
  const body = become(kernel, row.body, 'sentAgain');
  try {
    const { outbox } = await kernel.store.commit(partition, { writes: [replace(row, body)], outgoing: [{ message: renewed(kernel, message), roads: [{ kind: 'queue', channel }] }] });
    await passOn(kernel, outbox);
    return undefined;
  } catch (error) {
    return changedMeanwhile(error);
  }
}

/** Says that nothing is to be done about it. */
export async function resolveDead(kernel: Kernel, { partition, ...row }: Finding<DeadLetter>, why: string | undefined): Promise<Refusal | undefined> {
  if (!isDead(row.body)) return refuse(409, 'not-dead', `it is ${row.body.state} already`);
  try {
    await kernel.store.commit(partition, { writes: [replace(row, become(kernel, row.body, 'resolved', why))] });
    return undefined;
  } catch (error) {
    return changedMeanwhile(error);
  }
}

/** What is beyond the horizon is handled by nobody any more: a person who still wants it says it again, under a fresh id. */
export function renewed(kernel: Kernel, message: Message): Message {
  if (!isTooOld(message.time, kernel.clock.now())) return message;
  return { ...message, id: `${message.id}~${kernel.ids.random().slice(0, 8)}`, time: timestamp(kernel.clock.now()), causationid: message.id };
}

function notInConflict(error: unknown): false {
  if (!isPortError(error, 'conflict')) throw error;
  return false;
}

const deadId = (message: Message | Malformed): string => (isMalformed(message) ? digest(message.raw) : keyPart(`${message.source} ${message.id}`));

/** Strangers can send to our channels as well, and what they send fits no limit of ours: their names are cut to the length of a key … */
export const keyPart = (text: string): string => (Buffer.byteLength(key(text)) <= 150 ? text : digest(text));
const digest = (text: string): string => createHash('sha256').update(text).digest('hex');

/** … and of a message that is larger than a row a person gets to see the beginning. */
export function keepable(message: Message | Malformed): Message | Malformed {
  const text = isMalformed(message) ? message.raw : JSON.stringify(message);
  if (Buffer.byteLength(JSON.stringify(message)) < limits.rowBytesMax - 20_000) return message;
  const malformed = isMalformed(message) ? message.malformed : 'too large to be kept';
  return { malformed: `${malformed}; this is the beginning of ${text.length} characters`, raw: text.slice(0, 50_000) };
}

const reasonMax = 1_000;

/** One line for a person; never a stack. */
export function reasonOf(error: unknown): string {
  return (error instanceof Error ? `${error.name}: ${error.message}` : String(error)).slice(0, reasonMax);
}

/** Reasons of one kind, whatever they are about: order ids, numbers and what stands in quotes are left out. At most 200 characters. */
export function causeOfReason(reason: string): string {
  return reason.replace(/"[^"]*"|'[^']*'/g, '…').replace(/[\w:~-]*\d[\w:.~-]*/g, '…').slice(0, 200);
}
