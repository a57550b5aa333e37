import type { z } from 'zod';
import { Defect, must, type Collection, type Message, type Outgoing, type Ports, type Refusal } from '../../ports/index.ts';
import { events, isEventName, type DataOf, type EventName, type SaidBy, type ServiceName } from '../flow.ts';
import { Time } from '../shapes.ts';

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

/** What is said is committed in a turn, perhaps by somebody else: so whose trace it belongs to is told beforehand. */
export function causeHere({ tracer }: Pick<Ports, 'tracer'>, cause: Cause): Cause {
  return tracer && cause.traceparent === undefined ? { ...cause, traceparent: tracer.current() } : cause;
}

export interface Saying {
  readonly subject: string;
  /** How many messages this subject has said before. */
  readonly sequence: number;
  /** RFC 3339. */
  readonly at: string;
  readonly cause?: Cause;
}

/**
 * What a service says with: only what the flow assigns to it. Anything else does not compile; where types are forgotten it is a `Defect`, and since it is thrown before
 * the commit nothing is written.
 */
export function voiceOf<S extends ServiceName>(service: S) {
  return <E extends SaidBy<S>>(type: E, data: DataOf<E>, saying: Saying): Outgoing => {
    must(isEventName(type) && events[type].from === service, `${service} does not say ${String(type)}`);
    return say(type, data, saying);
  };
}

/**
 * The envelope and the roads of an event, as the flow has them. Its id is derived, so a repetition has the same. Throws `Defect` for data that is not, to the last
 * field, what the flow declares: readers would refuse it, or never see what nobody has declared.
 */
export function say<E extends EventName>(type: E, data: DataOf<E>, { subject, sequence, at, cause = {} }: Saying): Outgoing {
  const row = events[type];
  declared(`${type} of ${subject}`, row.shape, data);
  must(Time.safeParse(at).success, `${type} of ${subject} is said at a time in UTC`);
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

/** Throws `Defect` unless the shape takes the data and reads just what is said: no field more, and no text that is trimmed on its way. */
function declared(what: string, shape: z.ZodType, data: unknown): void {
  const read = shape.safeParse(data);
  const wrong = read.success ? lost(data, read.data) : read.error.issues.map(({ path, message }) => `${pointerOf(path)} ${message}`).join('; ');
  if (wrong !== undefined) throw new Defect(`${what} is not said, because it does not have the declared shape: ${wrong}`);
}

const pointerOf = (path: readonly PropertyKey[]): string => path.map((part) => `/${String(part)}`).join('');

/** Where something of what was said is not there, or is something else, in what is read; `undefined`: nowhere. What is `undefined` is not said at all. */
function lost(said: unknown, read: unknown): string | undefined {
  if (said === read) return undefined;
  if (typeof said !== 'object' || typeof read !== 'object' || said === null || read === null) return ' would be read as something else';
  for (const name of Object.keys(said)) {
    const value = (said as Record<string, unknown>)[name];
    const other = (read as Record<string, unknown>)[name];
    if (value === other || value === undefined) continue;
    const wrong = Object.hasOwn(read, name) ? lost(value, other) : ' is not declared';
    if (wrong !== undefined) return `/${name}${wrong}`;
  }
  return undefined;
}
