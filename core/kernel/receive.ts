import { Invalid, isMalformed, isTransient, type Message, type Received } from '../../ports/index.ts';
import { events, isEventName, type EventName } from '../flow.ts';
import { bury, reasonOf } from './dead.ts';
import { isTooOld } from './forget.ts';
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
    await handleInTime(kernel, service, message);
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
