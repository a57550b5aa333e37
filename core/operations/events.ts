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

// ---------------------------------------------------------------- what people did

/** `begun`: it was, and nobody has written down what came of it; perhaps it is under way, perhaps the process has ended in the midst of it. */
export const ActView = z
  .object({
    id: z.string(),
    at: Time,
    /** As the identity provider calls the person; `token` is whoever has the admin token. */
    who: z.string(),
    /** The provider's own name for the person. */
    subject: z.string().optional(),
    via: z.enum(['api', 'console']),
    /** By its name in the flow. */
    door: z.string(),
    params: z.record(z.string(), z.string()),
    /** The body, cut short, without payloads. */
    said: z.string().optional(),
    state: z.enum(['begun', 'done']),
    /** As it was answered. */
    status: z.int().optional(),
    endedAt: Time.optional(),
  })
  .meta({ id: 'Act' });
export type ActView = z.infer<typeof ActView>;

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

// ---------------------------------------------------------------- the pulse

export const Span = z.enum(['15m', '1h', '24h', '7d']);
export type Span = z.infer<typeof Span>;

const Amounts = z.object({ waiting: z.int(), stuck: z.int() });
const Series = z.array(z.number().nullable());

/**
 * How the shop is at this moment, as pictures and plots want it. What lies in the store is the same whichever process is asked; `readers` and `handled` are of the process that
 * answers, since it began. What the store did not answer is absent. Where `complete` is false, numbers are what is there at the least.
 */
export const PulseView = z
  .object({
    at: Time,
    looked: z.array(z.object({ of: z.string(), answered: z.boolean(), complete: z.boolean() })),
    /** Committed, and not yet passed on. `channels`: what is not on this channel yet. */
    outbox: Amounts.extend({ oldestSeconds: z.number(), channels: z.record(z.string(), Amounts) }).optional(),
    dead: z.array(z.object({ service: z.string(), channel: z.string(), letters: z.int() })).optional(),
    parked: z.array(z.object({ service: z.string(), channel: z.string(), keys: z.int() })).optional(),
    readers: z.array(z.object({ service: z.string(), channel: z.string(), partitions: z.int(), lagSeconds: z.number(), unhandled: z.int(), silentSeconds: z.number() })),
    handled: z.array(z.object({ service: z.string(), channel: z.string(), handled: z.int(), failed: z.int(), meanSeconds: z.number() })),
    /** By status: how many, and since when the one that has been in it longest. `events`: how often each was said in the last five minutes, by the orders' own times. */
    orders: z
      .object({
        seen: z.int(),
        statuses: z.record(z.string(), z.object({ count: z.int(), eldest: Time.optional() })),
        perMinute: z.record(z.string(), z.number()),
      })
      .optional(),
    letters: z.record(z.string(), z.int()).optional(),
    bookings: z.record(z.string(), z.int()).optional(),
    /** So many seconds a point, the newest last: how often each event was said, and how long each step took (seconds; null: none ended then). */
    pace: z
      .object({
        span: Span, from: Time, pointSeconds: z.number(),
        events: z.record(z.string(), z.array(z.int())),
        steps: z.record(z.string(), z.object({ median: Series, slow: Series, all: z.object({ count: z.int(), median: z.number(), slow: z.number() }).optional() })),
      })
      .optional(),
  })
  .meta({ id: 'Pulse' });
export type PulseView = z.infer<typeof PulseView>;
