import { z } from 'zod';
import { OrderId, Time } from '../shapes.ts';

/** The words of Notification Management. It says no event; this is what it answers. */

export const Milestone = z.enum(['confirmation', 'backorder', 'shipped', 'delivered', 'cancelled']);
export type Milestone = z.infer<typeof Milestone>;

/**
 * `sending`: claimed, the mailer has not answered yet. `waiting`: certainly not taken, tried again later. `uncertain`: no answer ever came, and a person has to say
 * what happened. `refused`: the mailer will never take it.
 */
export const MailState = z.enum(['sending', 'waiting', 'sent', 'uncertain', 'refused']);
export type MailState = z.infer<typeof MailState>;

export const MailView = z
  .object({ id: z.string(), orderId: OrderId, milestone: Milestone, to: z.string(), subject: z.string(), state: MailState, at: Time })
  .meta({ id: 'Mail' });
export type MailView = z.infer<typeof MailView>;
