import { createHash } from 'node:crypto';
import {
  Invalid, isMalformed, isPortError, isTransient, key, limits, partitionOf, put, timestamp,
  type Malformed, type Message, type Received,
} from '../../ports/index.ts';
import { collections, events, isEventName, type EventName } from '../flow.ts';
import { isTooOld } from './forget.ts';
import type { AnyService, Kernel } from './service.ts';

/**
 * RECEIVING: what happens to a message that was handed to us, by pump or platform alike. The kind of a failure decides (ports/errors.ts).
 */

/** Handles one message. Throws what the handler throws; what this service does not listen to is nobody's fault and no work. */
export async function handle(kernel: Kernel, service: AnyService, message: Message): Promise<void> {
  const handler = isEventName(message.type) ? service.hears[message.type] : undefined;
  if (!handler) return;
  // The inbox has forgotten what is so old: a person who still wants it says it again under a fresh id.
  if (isTooOld(message.time, kernel.clock.now())) throw new Invalid(`tooOld: said ${message.time}`);
  await handler(kernel, checked(message) as never);
}

/** The message with its data in the declared shape. Unknown fields are dropped: a newer speaker may say more. Throws `Invalid`. */
export function checked(message: Message): Message {
  const { shape, version } = events[message.type as EventName];
  if (!(Number(message.dataversion) <= version)) throw new Invalid(`${message.type} has version ${message.dataversion}, known is ${version}`);
  const result = shape.safeParse(message.data);
  if (result.success) return { ...message, data: result.data };
  throw new Invalid(`${message.type} ${message.id}`, result.error.issues.map(({ path, message: detail }) => ({ pointer: '/data' + path.map((p) => `/${String(p)}`).join(''), detail })));
}

const blamedAttemptsMax = 10;
/** Receipts that ended without any answer of ours (a lost lock, a killed process) count too; the broker's own maximum, 100, is only a net. */
const attemptsMax = 20;

/**
 * Handles and settles one message of a queue. Throws only when even settling failed: then the lock runs out, and it comes again.
 * `latest` answers the same message with its newest lock, when somebody renews it meanwhile.
 */
export async function receiveWork(kernel: Kernel, service: AnyService, received: Received, latest: () => Received = () => received): Promise<void> {
  const { message, attempts } = received;
  if (isMalformed(message)) return bury(kernel, service, latest, `malformed: ${message.malformed}`);
  if (attempts > attemptsMax) return bury(kernel, service, latest, 'maxAttempts');
  try {
    await handle(kernel, service, message);
  } catch (error) {
    kernel.log.warn({ error, service: service.name, message: message.id, attempts }, 'a message of a queue failed');
    if (error instanceof Invalid) return bury(kernel, service, latest, `invalid: ${error.message}`);
    const blame = !isTransient(error);
    if (blame && attempts >= blamedAttemptsMax) return bury(kernel, service, latest, `maxAttempts: ${reasonOf(error)}`);
    return kernel.queue.retry(latest(), { delaySeconds: delaySeconds(attempts, blame), blame });
  }
  await kernel.queue.done(latest());
}

const delaySeconds = (attempts: number, blame: boolean): number => (blame ? Math.min(300, 2 ** Math.min(attempts, 9)) : 1);

export interface DeadLetter {
  readonly channel: string;
  readonly consumer: string;
  readonly reason: string;
  readonly attempts: number;
  readonly message: Message | Malformed;
  /** RFC 3339. */
  readonly at: string;
}

/** Dead letters live in our own store, on every family. First the letter, then the settling: a crash between the two buries twice, under one key. */
async function bury(kernel: Kernel, service: AnyService, latest: () => Received, reason: string): Promise<void> {
  const received = latest();
  const id = isMalformed(received.message) ? digest(received.message.raw) : keyPart(`${received.message.source} ${received.message.id}`);
  const { queue: channel, attempts } = received;
  const body: DeadLetter = { channel, consumer: service.name, reason, attempts, message: keepable(received.message), at: timestamp(kernel.clock.now()) };
  await keep(kernel, partitionOf(collections.dead, id), key('dead', service.name, id), body);
  await kernel.queue.done(latest());
}

async function keep(kernel: Kernel, partition: string, rowKey: string, body: unknown): Promise<void> {
  for (;;) {
    const row = await kernel.store.get(partition, rowKey);
    try {
      await kernel.store.commit(partition, { writes: [put(row, rowKey, body)] });
      return;
    } catch (error) {
      if (!isPortError(error, 'conflict')) throw error;
    }
  }
}

/** Strangers can send to our channels as well, and what they send fits no limit of ours: their names are cut to the length of a key … */
export const keyPart = (text: string): string => (text.length <= 150 ? text : digest(text));
const digest = (text: string): string => createHash('sha256').update(text).digest('hex');

/** … and of a message that is larger than a row a person gets to see the beginning. */
export function keepable(message: Message | Malformed): Message | Malformed {
  const text = isMalformed(message) ? message.raw : JSON.stringify(message);
  if (Buffer.byteLength(JSON.stringify(message)) < limits.rowBytesMax - 10_000) return message;
  const malformed = isMalformed(message) ? message.malformed : 'too large to be kept';
  return { malformed: `${malformed}; this is the beginning of ${text.length} characters`, raw: text.slice(0, 50_000) };
}

/** One line for a person; never a stack. */
export function reasonOf(error: unknown): string {
  return (error instanceof Error ? `${error.name}: ${error.message}` : String(error)).slice(0, 1_000);
}
