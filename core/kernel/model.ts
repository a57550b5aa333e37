import type { Message, Outgoing, Refusal } from '../../ports/index.ts';
import { events, type DataOf, type EventName, type ServiceName } from '../flow.ts';
import type { Collection } from '../../ports/index.ts';

/** Something that happened. A fact whose type the flow assigns to this service is said to the world in the commit that records it; all others stay at home. */
export interface Fact {
  readonly type: string;
  readonly data: unknown;
  /** RFC 3339; now, unless told. */
  readonly at?: string;
}

/**
 * An aggregate: `decide` and `evolve` are pure, total and synchronous. Time, ids and prices arrive in the command.
 * One document a subject; its row is `<noun>|<id>` in the partition of its id.
 */
export interface Model<State, Command> {
  readonly service: ServiceName;
  readonly collection: Collection;
  readonly noun: string;
  readonly initial: State;
  decide(state: State, command: Command): readonly Fact[] | Refusal;
  evolve(state: State, fact: Fact): State;
  /**
   * `state`: the state itself remembers what it has heard, and a repeated command decides nothing. Otherwise the inbox remembers: a `seen` row in the same commit
   * makes the second one a conflict, and answers with the stored outcome.
   */
  readonly remembers: 'state' | 'inbox';
  /** True while somebody has to come back to it: then a row `open|<id>` stands beside the document, for the sweep. */
  busy?(state: State): boolean;
}

/** Why something is said or done: the message or request that caused it. */
export interface Cause {
  readonly id?: string;
  readonly source?: string;
  readonly time?: string;
  readonly correlationid?: string;
  readonly traceparent?: string;
}

export function causeOf(message: Message): Cause {
  return { id: message.id, source: message.source, time: message.time, correlationid: message.correlationid, traceparent: message.traceparent };
}

export interface Saying {
  readonly subject: string;
  /** How many messages this subject has said before. */
  readonly sequence: number;
  /** RFC 3339. */
  readonly at: string;
  readonly cause?: Cause;
}

/** The envelope and the roads of an event, as the flow has them. Its id is derived, so a repetition has the same. */
export function say<E extends EventName>(type: E, data: DataOf<E>, { subject, sequence, at, cause = {} }: Saying): Outgoing {
  const row = events[type];
  const message: Message = {
    specversion: '1.0',
    id: `${subject}:${type}:${sequence}`,
    source: `/${row.from}`,
    type,
    subject,
    time: at,
    partitionkey: subject,
    sequence: String(sequence).padStart(10, '0'),
    dataversion: String(row.version),
    correlationid: cause.correlationid ?? subject,
    ...(cause.id === undefined ? {} : { causationid: cause.id }),
    ...(cause.traceparent === undefined ? {} : { traceparent: cause.traceparent }),
    data,
  };
  return { message, roads: row.travels.map(({ kind, channel }) => ({ kind, channel })) };
}
