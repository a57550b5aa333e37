import { refuse, type Refusal } from '../../ports/index.ts';
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
  /** While it is claimed: by whom. Whoever does not know whether his commit was done finds his own claim, and sends. */
  readonly by?: string;
}

export type LettersCommand =
  | { readonly do: 'hear'; readonly milestone: Milestone; readonly reached: Reached; readonly order?: OrderPlaced; readonly by: string; readonly now: string }
  | { readonly do: 'claim'; readonly milestone: Milestone; readonly by: string; readonly now: string }
  /** What became of the letter that `by` has claimed. */
  | { readonly do: 'confirm'; readonly milestone: Milestone; readonly state: Exclude<MailState, 'sending'>; readonly by: string | undefined; readonly now: string }
  /** A person says what became of a letter of which nobody knows, or that was refused: it was sent, or it is to be sent again. */
  | { readonly do: 'resolve'; readonly milestone: Milestone; readonly state: 'sent' | 'waiting'; readonly now: string };

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

function decide(state: Letters, command: LettersCommand): readonly Fact[] | Refusal {
  switch (command.do) {
    case 'hear':
      return hear(state, command);
    case 'claim':
      return state.mails[command.milestone]?.state === 'waiting' ? [claimed(command.milestone, command.by, command.now)] : [];
    case 'confirm':
      return isNews(state.mails[command.milestone], command) ? [confirmed(command.milestone, command.state, command.now)] : [];
    case 'resolve': {
      const known = state.mails[command.milestone]?.state;
      if (known === undefined) return refuse(404, 'not-found', 'there is no such letter');
      if (known !== 'uncertain' && known !== 'refused') return refuse(409, 'nothing-to-resolve', `the letter is ${known}; only one that is uncertain or refused needs a person`);
      return [confirmed(command.milestone, command.state, command.now)];
    }
  }
}

/**
 * That a letter was sent is news whoever says it. Anything else is said of one claim alone: somebody else may have claimed it since, because that claim was old, and be
 * sending it now; were it to wait again for what became of the old one, it would be sent twice.
 */
function isNews(known: Mail | undefined, { state, by }: Extract<LettersCommand, { do: 'confirm' }>): boolean {
  if (!known || known.state === 'sent') return false;
  return state === 'sent' || known.state === 'uncertain' || (known.state === 'sending' && known.by === by);
}

const confirmed = (milestone: Milestone, state: Exclude<MailState, 'sending'>, at: string): Fact => ({ type: 'MailConfirmed', data: { milestone, state }, at });

/** The letter of what is heard now goes first: when that is the order itself, the confirmation goes before those that had to wait for it. */
function hear(state: Letters, { milestone, reached, order, by, now }: Extract<LettersCommand, { do: 'hear' }>): Fact[] {
  if (milestone in state.reached) return [];
  const heard: Fact = { type: 'MilestoneReached', data: { milestone, reached, order } };
  if (!state.order && !order) return [heard];
  const due = [milestone, ...(Object.keys(state.reached) as Milestone[])].filter((each) => !(each in state.mails));
  return [heard, ...due.map((each) => claimed(each, by, now))];
}

const claimed = (milestone: Milestone, by: string, at: string): Fact => ({ type: 'MailClaimed', data: { milestone, by }, at });

/** The milestones whose letters somebody has claimed: he sends them, nobody else. */
export function claimsOf({ mails }: Letters, by: string): Milestone[] {
  return (Object.entries(mails) as [Milestone, Mail][]).flatMap(([milestone, mail]) => (mail.state === 'sending' && mail.by === by ? [milestone] : []));
}

function evolve(state: Letters, { type, data, at = '' }: Fact): Letters {
  switch (type) {
    case 'MilestoneReached': {
      const { milestone, reached, order } = data as { milestone: Milestone; reached: Reached; order?: OrderPlaced };
      return { ...state, ...(order ? { order } : {}), reached: { ...state.reached, [milestone]: reached } };
    }
    case 'MailClaimed': {
      const { milestone, by } = data as { milestone: Milestone; by: string };
      return { ...state, mails: { ...state.mails, [milestone]: { state: 'sending', at, by } } };
    }
    default: {
      const { milestone, state: mail } = data as { milestone: Milestone; state: MailState };
      return { ...state, mails: { ...state.mails, [milestone]: { state: mail, at } } };
    }
  }
}
