import type { z } from 'zod';
import { Invalid, isMalformed, isTransient, type Message, type Received } from '../../ports/index.ts';
import { events, isEventName, type EventName } from '../flow.ts';
import { bury, reasonOf } from './dead.ts';
import { isTooOld } from './forget.ts';
import { Time } from '../shapes.ts';
import type { AnyService, Kernel } from './service.ts';
import { handleInTime } from './watch.ts';

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

/** The message with its data in today's shape. Unknown fields are dropped: a newer speaker may say more. Throws `Invalid`. */
export function checked(message: Message): Message {
  const row = events[message.type as EventName];
  // It is told on, to customers as well; and what a stranger has put on a channel may say anything.
  if (!Time.safeParse(message.time).success) throw new Invalid(`${message.type} ${message.id}`, [{ pointer: '/time', detail: 'must be a time in UTC' }]);
  for (const name of ['correlationid', 'causationid', 'traceparent'] as const) {
    if (message[name] !== undefined && typeof message[name] !== 'string') throw new Invalid(`${message.type} ${message.id}`, [{ pointer: `/${name}`, detail: 'must be text' }]);
  }
  return lifted(row, message);
}

/** What was said in an older version goes through the shapes of all versions since, each of which is checked. Throws `Invalid`, also for a version that is newer than ours. */
export function lifted({ version, shape, earlier = [] }: Versions, message: Message): Message {
  const { type, dataversion } = message;
  if (!/^[1-9]\d{0,5}$/.test(dataversion) || Number(dataversion) > version) throw new Invalid(`${type} has version ${dataversion}, known is ${version}`);
  let { data } = message;
  for (let said = Number(dataversion); said < version; said++) {
    const step = earlier.find((each) => each.version === said);
    if (!step) throw new Invalid(`${type} has version ${dataversion}, of which nobody knows how to read it any more`);
    data = step.lift(parsed(step.shape, message, data));
  }
  return { ...message, dataversion: String(version), data: parsed(shape, message, data) };
}

type Versions = Pick<(typeof events)[EventName], 'version' | 'earlier'> & { readonly shape: z.ZodType };

function parsed(shape: z.ZodType, { type, id }: Message, data: unknown): unknown {
  const result = shape.safeParse(data);
  if (result.success) return result.data;
  throw new Invalid(`${type} ${id}`, result.error.issues.map(({ path, message: detail }) => ({ pointer: '/data' + path.map((p) => `/${String(p)}`).join(''), detail })));
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
    await handleInTime(kernel, service, message, { channel: received.queue, attempts });
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
