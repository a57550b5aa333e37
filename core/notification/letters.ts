import { collections } from '../flow.ts';
import type { Fact, Model } from '../kernel/model.ts';
import type { OrderPlaced } from '../order/events.ts';
import type { OrderFulfillment } from '../shipping/events.ts';
import type { MailState, Milestone } from './events.ts';

/**
 * THE LETTERS of one order: one per milestone, ever. A milestone that is heard before the order itself is kept, and its letter is written when the order is known.
 * Sending is an effect beyond our commits: a letter is claimed first, then sent, then confirmed; a claim that was never confirmed is not repeated in silence.
 */
export interface Letters {
  readonly order?: OrderPlaced;
  readonly reached: Readonly<Partial<Record<Milestone, Reached>>>;
  readonly mails: Readonly<Partial<Record<Milestone, Mail>>>;
}
export interface Reached {
  /** RFC 3339. */
  readonly at: string;
  /** With the letter of the shipment and of the delivery. */
  readonly parcel?: Pick<OrderFulfillment, 'carrier' | 'trackingNumber' | 'trackingUrl'>;
  readonly short?: readonly string[];
}
export interface Mail {
  readonly state: MailState;
  /** RFC 3339, of the last change. */
  readonly at: string;
}

export type LettersCommand =
  | { readonly do: 'hear'; readonly milestone: Milestone; readonly reached: Reached; readonly order?: OrderPlaced; readonly now: string }
  | { readonly do: 'claim'; readonly milestone: Milestone; readonly now: string }
  | { readonly do: 'confirm'; readonly milestone: Milestone; readonly state: Exclude<MailState, 'sending'>; readonly now: string };

export const letters: Model<Letters, LettersCommand> = {
  service: 'notification',
  collection: collections.letters,
  noun: 'letters',
  initial: { reached: {}, mails: {} },
  remembers: 'state',
  decide,
  evolve,
  busy: ({ mails }) => Object.values(mails).some(({ state }) => state === 'sending' || state === 'waiting'),
};

function decide(state: Letters, command: LettersCommand): readonly Fact[] {
  switch (command.do) {
    case 'hear':
      return hear(state, command);
    case 'claim':
      return state.mails[command.milestone]?.state === 'waiting' ? [claimed(command.milestone, command.now)] : [];
    case 'confirm': {
      const known = state.mails[command.milestone]?.state;
      return known === 'sending' || known === 'uncertain' ? [{ type: 'MailConfirmed', data: { milestone: command.milestone, state: command.state }, at: command.now }] : [];
    }
  }
}

/** The letter of what is heard now goes first: when that is the order itself, the confirmation goes before those that had to wait for it. */
function hear(state: Letters, { milestone, reached, order, now }: Extract<LettersCommand, { do: 'hear' }>): Fact[] {
  if (milestone in state.reached) return [];
  const heard: Fact = { type: 'MilestoneReached', data: { milestone, reached, order } };
  if (!state.order && !order) return [heard];
  const due = [milestone, ...(Object.keys(state.reached) as Milestone[])].filter((each) => !(each in state.mails));
  return [heard, ...due.map((each) => claimed(each, now))];
}

const claimed = (milestone: Milestone, at: string): Fact => ({ type: 'MailClaimed', data: { milestone }, at });

/** The milestones whose letters these facts have claimed: whoever has committed them sends them, nobody else. */
export function claimsOf(facts: readonly Fact[]): Milestone[] {
  return facts.flatMap(({ type, data }) => (type === 'MailClaimed' ? [(data as { milestone: Milestone }).milestone] : []));
}

function evolve(state: Letters, { type, data, at = '' }: Fact): Letters {
  switch (type) {
    case 'MilestoneReached': {
      const { milestone, reached, order } = data as { milestone: Milestone; reached: Reached; order?: OrderPlaced };
      return { ...state, ...(order ? { order } : {}), reached: { ...state.reached, [milestone]: reached } };
    }
    case 'MailClaimed':
      return { ...state, mails: { ...state.mails, [(data as { milestone: Milestone }).milestone]: { state: 'sending', at } } };
    default: {
      const { milestone, state: mail } = data as { milestone: Milestone; state: MailState };
      return { ...state, mails: { ...state.mails, [milestone]: { state: mail, at } } };
    }
  }
}
