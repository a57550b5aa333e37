import { isPortError, isRefusal, key, partitionOf, timestamp, type Letter } from '../../ports/index.ts';
import { collections } from '../flow.ts';
import { backOff, comeBack, execute, type Document } from '../kernel/execute.ts';
import { list } from '../kernel/list.ts';
import { causeOf, type Cause } from '../kernel/model.ts';
import type { Kernel, Reply, Service } from '../kernel/service.ts';
import type { OrderPlaced } from '../order/events.ts';
import type { MailState, MailView, Milestone } from './events.ts';
import { claimsOf, letters, type Letters, type Mail, type Reached } from './letters.ts';
import { letterOf, subjectOf } from './views.ts';

/** NOTIFICATION MANAGEMENT: one letter per customer and milestone, ever. */

export const notification: Service<'notification'> = {
  name: 'notification',

  hears: {
    OrderPlaced: (kernel, message) => hear(kernel, message.data.orderId, 'confirmation', { at: message.time }, causeOf(message), message.data),
    Backordered: (kernel, message) => hear(kernel, message.data.orderId, 'backorder', { at: message.time, short: message.data.short.map(({ sku }) => sku) }, causeOf(message)),
    OrderFulfillment(kernel, message) {
      const { orderId, ...parcel } = message.data;
      return hear(kernel, orderId, 'shipped', { at: message.time, parcel }, causeOf(message));
    },
    OrderDelivered(kernel, message) {
      const { orderId, carrier, trackingNumber } = message.data;
      return hear(kernel, orderId, 'delivered', { at: message.time, parcel: { carrier, trackingNumber } }, causeOf(message));
    },
    ShippingStopped: (kernel, message) => hear(kernel, message.data.orderId, 'cancelled', { at: message.time }, causeOf(message)),
  },

  answers: {
    async listMails(kernel, { query }): Promise<Reply> {
      return { status: 200, json: await mails(kernel, query) };
    },
    retryMail: (kernel, { params }) => resolve(kernel, params.id, 'waiting'),
    resolveMail: (kernel, { params }) => resolve(kernel, params.id, 'sent'),
  },

  ticks: {
    sweepClaims: (kernel) => sweepClaims(kernel, uncertainAfterSeconds),
  },
};

async function hear(kernel: Kernel, orderId: string, milestone: Milestone, reached: Reached, cause: Cause, order?: OrderPlaced): Promise<void> {
  const by = kernel.ids.random();
  const outcome = await execute(kernel, letters, { id: orderId, command: { do: 'hear', milestone, reached, order, by, now: now(kernel) } }, cause);
  if (!isRefusal(outcome)) await postAll(kernel, orderId, outcome.state, by);
}

async function postAll(kernel: Kernel, orderId: string, state: Letters, by: string): Promise<void> {
  for (const milestone of claimsOf(state, by)) await post(kernel, orderId, state, { milestone, by });
}

const now = (kernel: Kernel): string => timestamp(kernel.clock.now());
const triesMax = 3;
/** A claim that nobody has confirmed for so long is asked of the mailer; where it cannot tell, it is a person's. */
const uncertainAfterSeconds = 300;
const waitingSeconds = 30;

/** Sends a letter that has been claimed, and notes what became of it. A mailer that is down stops nobody: the letter waits for the sweep. */
async function post(kernel: Kernel, orderId: string, state: Letters, claim: Claim): Promise<void> {
  await note(kernel, orderId, claim, await tryToSend(kernel, letterOf(state, claim.milestone, kernel.settings)));
}

interface Claim {
  readonly milestone: Milestone;
  readonly by: string | undefined;
}

async function tryToSend(kernel: Kernel, letter: Letter): Promise<MailState> {
  for (let attempt = 1; ; attempt++) {
    try {
      await kernel.mailer.send(letter);
      return 'sent';
    } catch (error) {
      if (!isPortError(error)) throw error;
      kernel.log.warn({ letter: letter.key, kind: error.kind, attempt }, 'a letter could not be sent');
      if (error.kind === 'unavailable') return ask(kernel, letter.key);
      if (error.kind !== 'throttled') return 'refused';
      if (attempt === triesMax) return 'waiting';
      await backOff(kernel, attempt, error);
    }
  }
}

/**
 * Nobody knows whether it was sent: the mailer is asked. What it cannot tell is listed for a person, never repeated in silence. While it does not answer at all, the
 * letter stays as it is, and the sweep asks again.
 */
async function ask(kernel: Kernel, letterKey: string): Promise<MailState> {
  try {
    return ({ sent: 'sent', notSent: 'waiting', unknown: 'uncertain' } as const)[await kernel.mailer.ask(letterKey)];
  } catch (error) {
    if (isPortError(error)) return 'sending';
    throw error;
  }
}

async function note(kernel: Kernel, orderId: string, claim: Claim, state: MailState): Promise<void> {
  if (state === 'sending') return;
  await execute(kernel, letters, { id: orderId, command: { do: 'confirm', ...claim, state, now: now(kernel) } }, { correlationid: orderId });
}

/** Comes back to letters that are still to be sent, and to claims older than so many seconds that were never confirmed. */
export async function sweepClaims(kernel: Kernel, claimedSecondsAgo: number): Promise<void> {
  await comeBack(kernel, collections.letters, Math.min(waitingSeconds, claimedSecondsAgo), async (orderId) => {
    const row = await kernel.store.get<Document<Letters>>(partitionOf(collections.letters, orderId), key('letters', orderId));
    for (const [milestone, { state, at, by }] of Object.entries(row?.body.state.mails ?? {}) as [Milestone, Mail][]) {
      const old = Date.parse(at) <= kernel.clock.now() - claimedSecondsAgo * 1_000;
      if (state === 'sending' && old) await note(kernel, orderId, { milestone, by }, await ask(kernel, `${orderId}.${milestone}`));
      if (state === 'sending' ? old : state === 'waiting') await sendWaiting(kernel, orderId, milestone);
    }
  });
}

async function sendWaiting(kernel: Kernel, orderId: string, milestone: Milestone): Promise<void> {
  const by = kernel.ids.random();
  const outcome = await execute(kernel, letters, { id: orderId, command: { do: 'claim', milestone, by, now: now(kernel) } }, { correlationid: orderId });
  if (!isRefusal(outcome)) await postAll(kernel, orderId, outcome.state, by);
}

/** A person has found out: it was sent, or it is to be sent again. A repetition of what was said already changes nothing and is told so (409). */
async function resolve(kernel: Kernel, id: string, state: 'sent' | 'waiting'): Promise<Reply> {
  const [orderId, milestone] = id.split('.') as [string, Milestone];
  const outcome = await execute(kernel, letters, { id: orderId, command: { do: 'resolve', milestone, state, now: now(kernel) } }, { correlationid: orderId });
  if (isRefusal(outcome)) return outcome;
  if (state === 'waiting') await sendWaiting(kernel, orderId, milestone);
  const { items } = await mails(kernel, { limit: 10, orderId });
  return { status: 200, json: items.find((mail) => mail.id === id) };
}

// ---------------------------------------------------------------- what people see

export interface MailsQuery {
  readonly limit: number;
  /** The id of a mail: those behind it. */
  readonly after?: string;
  readonly orderId?: string;
  readonly state?: MailState;
}

export async function mails(kernel: Kernel, { limit, after, orderId, state }: MailsQuery): Promise<{ items: MailView[]; next?: string }> {
  const begun = after?.slice(0, after.indexOf('.'));
  const only = orderId ?? begun;
  const first = only === undefined ? undefined : await kernel.store.get<Document<Letters>>(partitionOf(collections.letters, only), key('letters', only));
  const more = orderId !== undefined ? [] : (await list<Document<Letters>>(kernel.store, { collection: collections.letters, noun: 'letters', limit: limit + 1, after: begun, keep: ({ state: s }) => mailsOf(s, state).length > 0 })).items;
  const all = [...(first ? [first] : []), ...more].flatMap((row) => mailsOf(row.body.state, state)).filter(({ id }) => after === undefined || id > after);
  const items = all.slice(0, limit);
  return all.length > limit ? { items, next: items.at(-1)!.id } : { items };
}

/** In the order of their ids. */
function mailsOf({ order, mails: all }: Letters, only?: MailState): MailView[] {
  if (!order) return [];
  return (Object.entries(all) as [Milestone, { state: MailState; at: string }][])
    .filter(([, { state }]) => only === undefined || state === only)
    .map(([milestone, { state, at }]) => ({ id: `${order.orderId}.${milestone}`, orderId: order.orderId, milestone, to: order.customer.email, subject: subjectOf(milestone, order.orderId), state, at }))
    .sort((a, b) => (a.id < b.id ? -1 : 1));
}
