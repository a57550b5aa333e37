import { z } from 'zod';
import { OrderStatus } from '../order/events.ts';
import { OrderId, Time, text } from '../shapes.ts';

/** The words of Operations: what a person at the desk sees, and says. It says no event of its own. */

const Payload = z.unknown().meta({ description: 'The CloudEvent as it was; of what nobody can read `{malformed, raw}`' });
const Trouble = {
  id: z.string(),
  /** Reasons of one kind have one cause, whatever they are about. */
  cause: z.string(),
  reason: z.string(),
  /** Of the message, where it can be read. */
  event: z.string().optional(),
  subject: z.string().optional(),
  at: Time,
};
const Message = { message: Payload };

export const DeadLetterView = z
  .object({ ...Trouble, queue: z.string(), consumer: z.string(), attempts: z.int(), state: z.enum(['dead', 'sentAgain', 'resolved']) })
  .meta({ id: 'DeadLetter' });
export type DeadLetterView = z.infer<typeof DeadLetterView>;
export const DeadLetterDetail = DeadLetterView.extend({
  ...Message,
  history: z.array(z.object({ at: Time, what: z.string(), why: z.string().optional() })),
}).meta({ id: 'DeadLetterDetail' });

export const ParkedView = z
  .object({
    ...Trouble, stream: z.string(), consumer: z.string(), partitionkey: z.string(), events: z.int(), attempts: z.int(),
    /** Absent: a person alone tries it again. */
    retryAt: Time.optional(),
  })
  .meta({ id: 'ParkedKey' });
export type ParkedView = z.infer<typeof ParkedView>;
export const ParkedDetail = ParkedView.extend({
  /** In order; the first hundred. */
  messages: z.array(Payload),
  dropped: z.array(z.object({ at: Time, why: z.string(), ...Message })),
}).meta({ id: 'ParkedKeyDetail' });

export const StuckView = z.object({ ...Trouble, channels: z.array(z.string()), attempts: z.int() }).meta({ id: 'StuckMessage' });
export type StuckView = z.infer<typeof StuckView>;
export const StuckDetail = StuckView.extend(Message).meta({ id: 'StuckMessageDetail' });

/** Why a person has decided so; kept with what he has decided about. */
export const Why = z.object({ why: text(500).optional() }).meta({ id: 'Why' });
/** With the id of the event that is meant: another one is not dropped, so that a repeated request drops no second one. */
export const DropFirst = Why.extend({ first: z.string().max(300).optional() }).meta({ id: 'DropFirst' });
export const RetryAll = z.object({ cause: z.string().max(200).optional() }).meta({ id: 'RetryAll', description: 'All of this cause; all there are, if none is named' });
export const Retried = z.object({ retried: z.int(), left: z.int() }).meta({ id: 'Retried' });

/** A message put on a channel by hand. What an envelope needs and is not named is filled in: a fresh id, this moment, the newest version of the shape. */
export const SayByHand = z
  .object({
    channel: z.string().max(100),
    message: z.object({
      type: z.string().max(100),
      subject: z.string().min(1).max(300),
      data: z.unknown(),
      id: text(300).optional(),
      source: text(300).optional(),
      time: Time.optional(),
      dataversion: z.string().regex(/^[1-9][0-9]{0,5}$/).optional(),
      correlationid: text(300).optional(),
    }),
  })
  .meta({ id: 'SayByHand' });
export type SayByHand = z.infer<typeof SayByHand>;
export const SaidByHand = z.object({ id: z.string(), source: z.string(), channel: z.string() }).meta({ id: 'SaidByHand' });

// ---------------------------------------------------------------- the story of an order

/**
 * Where a message for one listener is. `heard`: he has it. `overtaken`: it can no longer make a difference to him. `outbox`: said, not passed on yet. `stuck`: nobody
 * will take it. `queue` and `stream`: on its way there. `parked`, `dead`: set aside. `dropped`: a person did not want it heard. `lost`: it was passed on, the listener
 * is past its place, and has not heard it.
 */
export const Whereabouts = z.enum(['heard', 'overtaken', 'outbox', 'stuck', 'queue', 'stream', 'parked', 'dead', 'dropped', 'lost']);
export type Whereabouts = z.infer<typeof Whereabouts>;

export const StoryView = z
  .object({
    orderId: OrderId,
    status: OrderStatus.or(z.literal('Unknown')),
    /** In time: what was said and done, by whom. Times are those of the events and of the carrier. */
    story: z.array(z.object({ at: Time, service: z.string(), what: z.string(), detail: z.string().optional() })),
    /** Every message about this order and each of its listeners. */
    deliveries: z.array(
      z.object({ event: z.string(), from: z.string(), to: z.string(), kind: z.enum(['queue', 'stream']), channel: z.string(), place: Whereabouts, detail: z.string().optional() }),
    ),
    /** What has not happened yet, whose turn it is, and where it waits. Empty: the order is at its end. */
    missing: z.array(z.object({ service: z.string(), event: z.string(), place: z.string(), detail: z.string() })),
  })
  .meta({ id: 'OrderStory' });
export type StoryView = z.infer<typeof StoryView>;

export const AuditView = z
  .object({
    orders: z.record(z.string(), z.int()), lines: z.int(), mails: z.record(z.string(), z.int()), products: z.int(),
    waiting: z.int(), parked: z.int(), dead: z.int(), faults: z.array(z.string()),
  })
  .meta({ id: 'Audit' });
