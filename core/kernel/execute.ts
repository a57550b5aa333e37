import {
  Defect, create, isPortError, isRefusal, key, must, partitionOf, put, partitionsOf, partsOf, remove, seenKey, seenRow, timestamp,
  type Collection, type Outgoing, type OutboxRow, type PortError, type Refusal, type Seen, type Write,
} from '../../ports/index.ts';
import { events, isEventName, isHeardBy, type DataOf, type ServiceName } from '../flow.ts';
import { rowsOf } from './list.ts';
import { causeHere, say, type Cause, type Fact, type Model } from './model.ts';
import type { Kernel } from './service.ts';
import { inTurn, type Change, type Reader } from './turns.ts';

/**
 * THE EXECUTOR: load, decide, commit, and again on conflict; written once for all services.
 *
 * - One commit carries the documents, what they say (outbox) and what they have heard (inbox). Then the relay passes on what was said, waited for but never relied on.
 * - Only the executor retries a commit. After `unavailable` nobody knows whether it was done, so it looks again before it decides again: by the state, or by the inbox.
 *   Where the state remembers, a second decision finds nothing left to decide: then the facts are empty, although it may have been we who committed them.
 * - It gives up after `triesMax` with the last error; whoever called comes back later.
 */

export interface Job<Command> {
  readonly id: string;
  readonly command: Command;
}
export type Outcome<State> = { readonly state: State; readonly facts: readonly Fact[] } | Refusal;

export interface Document<State> {
  /** How many messages this aggregate has said. */
  readonly said: number;
  readonly state: State;
}

const triesMax = 12;

export async function execute<State, Command>(kernel: Kernel, model: Model<State, Command>, job: Job<Command>, cause: Cause = {}): Promise<Outcome<State>> {
  const [outcome] = await together(kernel, model, partitionOf(model.collection, job.id), [job], causeHere(kernel, cause));
  return outcome!;
}

/** Many aggregates of one model: those that share a partition share a commit. The answers are in the order of the jobs. Only for models that remember by state. */
export async function executeAll<State, Command>(kernel: Kernel, model: Model<State, Command>, jobs: readonly Job<Command>[], cause: Cause = {}): Promise<Outcome<State>[]> {
  if (model.remembers !== 'state') throw new Defect('only a model that remembers by state can share a commit');
  const here = causeHere(kernel, cause);
  const places = new Map<string, number[]>();
  jobs.forEach((job, i) => {
    const partition = partitionOf(model.collection, job.id);
    places.set(partition, [...(places.get(partition) ?? []), i]);
  });
  const outcomes: Outcome<State>[] = [];
  await Promise.all(
    [...places].map(async ([partition, indexes]) => {
      for (let i = 0; i < indexes.length; i += aggregatesPerCommit) {
        const part = indexes.slice(i, i + aggregatesPerCommit);
        const answers = await together(kernel, model, partition, part.map((index) => jobs[index]!), here);
        answers.forEach((answer, n) => (outcomes[part[n]!] = answer));
      }
    }),
  );
  return outcomes;
}
const aggregatesPerCommit = 33; // a document, an open row and a message each: 99 rows of at most 100

async function together<State, Command>(kernel: Kernel, model: Model<State, Command>, partition: string, jobs: readonly Job<Command>[], cause: Cause): Promise<Outcome<State>[]> {
  const keys = jobs.map(({ id }) => key(model.noun, id));
  const heard = model.remembers === 'inbox' ? heardBy(model, jobs[0]!, cause) : undefined;
  for (let attempt = 1; ; attempt++) {
    try {
      const { result, outbox } = await inTurn(kernel.store, partition, { keys, run: (reader) => decideAll(reader, attempt > 1) });
      await passOn(kernel, outbox);
      return result;
    } catch (error) {
      if (!isPortError(error, 'conflict', 'unavailable', 'throttled') || attempt === triesMax) throw error;
      await backOff(kernel, attempt, error);
    }
  }

  async function decideAll(reader: Reader, again: boolean): Promise<Change<Outcome<State>[]>> {
    const first = again && (await firstOutcome<State>(reader, partition, heard));
    if (first) return { result: [first] };
    const decided = jobs.map((job) => decideOne(kernel, reader, model, partition, job, cause));
    const turns = decided.length === 1 ? [await decided[0]!] : await Promise.all(decided);
    const writes = turns.flatMap((turn) => turn.writes);
    const result = turns.map((turn) => turn.outcome);
    if (writes.length > 0) {
      return { result, writes: heard ? [seenRow({ ...heard, outcome: result[0] }), ...writes] : writes, outgoing: turns.flatMap((turn) => turn.outgoing) };
    }
    // A repetition meets the state that it made itself: what it decides of that is not its answer.
    const earlier = await firstOutcome<State>(reader, partition, heard);
    return { result: earlier ? [earlier] : result };
  }
}

/** Waits with full jitter: a conflict is over at once, a sick store is not. */
export async function backOff(kernel: Kernel, attempt: number, error: Pick<PortError, 'kind'>): Promise<void> {
  const cap = error.kind === 'conflict' ? 40 : 2_000;
  const milliseconds = Math.min(cap, 2 ** attempt * (error.kind === 'conflict' ? 1 : 25)) * kernel.ids.fraction();
  if (error.kind === 'conflict' && attempt === 1) return;
  await kernel.clock.sleep(milliseconds);
}

interface Turn<State> {
  readonly outcome: Outcome<State>;
  readonly writes: readonly Write[];
  readonly outgoing: readonly Outgoing[];
}

async function decideOne<State, Command>(kernel: Kernel, reader: Reader, model: Model<State, Command>, partition: string, job: Job<Command>, cause: Cause): Promise<Turn<State>> {
  const rowKey = key(model.noun, job.id);
  const row = await reader.get<Document<State>>(partition, rowKey);
  const before = row?.body ?? { said: 0, state: model.initial };
  const verdict = model.decide(before.state, job.command);
  if (isRefusal(verdict)) return { outcome: verdict, writes: [], outgoing: [] };
  if (verdict.length === 0) return { outcome: { state: before.state, facts: verdict }, writes: [], outgoing: [] };
  const state = verdict.reduce((s, fact) => model.evolve(s, fact), before.state);
  const outgoing = spoken(kernel, model.service, job.id, before.said, verdict, cause);
  const body: Document<State> = { said: before.said + outgoing.length, state };
  const open = model.busy ? await openRow(kernel, reader, partition, job.id, model.busy(before.state), model.busy(state)) : [];
  return { outcome: { state, facts: verdict }, writes: [put(row, rowKey, body), ...open], outgoing };
}

/** The row `open|<id>` exists exactly while the aggregate is busy: it is what a sweep reads. */
async function openRow(kernel: Kernel, reader: Reader, partition: string, id: string, was: boolean, is: boolean): Promise<Write[]> {
  if (was === is) return [];
  if (is) return [create(openKey(id), { since: kernel.clock.now() } satisfies Open)];
  const row = await reader.get<Open>(partition, openKey(id));
  return row ? [remove(row)] : [];
}

interface Open {
  /** Milliseconds since 1970. */
  readonly since: number;
}
const openKey = (id: string): string => key('open', id);

/** The ids of aggregates that have been busy for longer than so many seconds. A partition that fails keeps no other waiting; the first failure is thrown at the end. */
export async function* openLongerThan(kernel: Kernel, collection: Collection, seconds: number): AsyncGenerator<string> {
  const before = kernel.clock.now() - seconds * 1_000;
  const failures: unknown[] = [];
  for (const partition of partitionsOf(collection)) {
    try {
      for await (const row of rowsOf<Open>(kernel.store, partition, key('open', ''))) if (row.body.since <= before) yield partsOf(row.key)[1]!;
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
}

/** Comes back to all that have been busy for longer than so many seconds. One that fails keeps no other waiting: the next sweep tries it again. */
export async function comeBack(kernel: Kernel, collection: Collection, seconds: number, work: (id: string) => Promise<void>): Promise<void> {
  for await (const id of openLongerThan(kernel, collection, seconds)) {
    await work(id).catch((error: unknown) => kernel.log.warn({ error, collection: collection.name, id }, 'somebody has to come back once more'));
  }
}

function spoken(kernel: Kernel, service: ServiceName, id: string, said: number, facts: readonly Fact[], cause: Cause): Outgoing[] {
  const outgoing: Outgoing[] = [];
  for (const { type, data, at } of facts) {
    if (!isEventName(type)) continue;
    if (events[type].from !== service) {
      must(isHeardBy(service, type), `${service} neither says nor hears ${type}`);
      continue; // it remembers what it has heard
    }
    // An event about an order travels under the order's id, whichever aggregate says it.
    const subject = (data as { orderId?: string }).orderId ?? id;
    outgoing.push(say(type, data as DataOf<typeof type>, { subject, sequence: said + outgoing.length, at: at ?? timestamp(kernel.clock.now()), cause }));
  }
  return outgoing;
}

type Heard = Omit<Seen, 'outcome'>;

function heardBy<State, Command>(model: Model<State, Command>, job: Job<Command>, cause: Cause): Heard {
  if (!cause.id || !cause.source || !cause.time) throw new Defect('a model that remembers by the inbox is told the cause of each command');
  return { consumer: model.service, aggregate: job.id, source: cause.source, id: cause.id, time: cause.time };
}

async function firstOutcome<State>(reader: Reader, partition: string, heard: Heard | undefined): Promise<Outcome<State> | undefined> {
  const row = heard && (await reader.get<{ outcome: Outcome<State> }>(partition, seenKey(heard)));
  return row?.body.outcome;
}

/** The relay's failure never fails the request: the rows are there, and the sweep will find them. */
export async function passOn(kernel: Kernel, outbox: readonly OutboxRow[]): Promise<void> {
  if (outbox.length > 0) await kernel.relay.pass(outbox);
}
