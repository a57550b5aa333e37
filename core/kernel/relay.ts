import {
  create, isPortError, key, put, partitionsOf, remove, replace,
  type AppendFailure, type Clock, type Message, type OutboxBody, type OutboxRow, type PortError, type Ports, type Refusal, type Road, type Row,
} from '../../ports/index.ts';
import { speaking } from '../flow.ts';
import { changedMeanwhile, eachOf, findings, rowsOf, type Finding } from './list.ts';

/**
 * THE RELAY: passes on what commits have said, and drops the outbox row when every road has it.
 *
 * - Order is promised per (channel, subject), by sequence. What an earlier message of the subject still waits for, a later one waits for too; another subject does not.
 * - At least once: a crash between sending and dropping sends again.
 * - What nobody will ever take (`tooLarge`, `denied`, `missing`) is marked stuck when all its other roads have it, for a person; it holds back only its own channel
 *   and subject.
 */
export interface Relay {
  /** Tries now, waits at most `waitSeconds`, never throws. What is not gone by then goes on in the background, or is found by the sweep. */
  pass(rows: readonly OutboxRow[]): Promise<void>;
  /**
   * Passes on every row that is older than so many seconds. Safe to run on several instances at once: it can only duplicate. Answers how many rows it tried.
   * A partition that fails keeps no other waiting; the first failure is thrown at the end. `alone`: nobody else works on this data, so whoever holds a lease is gone.
   */
  sweep(olderThanSeconds: number, alone?: 'alone'): Promise<number>;
}

const waitSeconds = 2;
const batchMax = 100;
const leaseSeconds = 20;
const leaseKey = key('lease', 'sweep');

export function createRelay({ store, queue, stream, clock, log }: Pick<Ports, 'store' | 'queue' | 'stream' | 'clock' | 'log'>): Relay {
  const lanes = new Map<string, (message: Message) => Promise<PortError | undefined>>();
  /** The last delivery under way of each subject: in one process a message never overtakes its elder sister. */
  const underWay = new Map<string, Promise<void>>();
  const patience = createPatience(clock, waitSeconds);

  function laneOf({ kind, channel }: Road): (message: Message) => Promise<PortError | undefined> {
    const name = `${kind} ${channel}`;
    let lane = lanes.get(name);
    if (!lane) {
      lane = createLane(kind === 'queue' ? (messages) => queue.send(channel, messages).then(() => []) : (messages) => stream.append(channel, messages));
      lanes.set(name, lane);
    }
    return lane;
  }

  function deliver(row: OutboxRow): Promise<void> {
    const subject = `${row.partition} ${row.body.message.subject}`;
    const turn = deliverAfter(underWay.get(subject), row).then(() => {
      if (underWay.get(subject) === turn) underWay.delete(subject);
    });
    underWay.set(subject, turn);
    return turn;
  }

  async function deliverAfter(elder: Promise<void> | undefined, row: OutboxRow): Promise<void> {
    await elder;
    try {
      await deliverInTurn(row);
    } catch (error) {
      log.warn({ error, key: row.key }, 'the outbox keeps a message for the sweep');
    }
  }

  async function deliverInTurn(row: OutboxRow): Promise<void> {
    const held = new Set<string>();
    // The first message of a subject has no elders, and is most of them.
    if (Number(row.body.message.sequence) > 0) for await (const elder of elders(row)) (await send(elder, held)).forEach((channel) => held.add(channel));
    await send(row, held);
  }

  /** Rows of the same subject that were said before, eldest first. */
  async function* elders({ partition, key: rowKey, body: { message } }: OutboxRow): AsyncGenerator<OutboxRow> {
    for await (const elder of rowsOf<OutboxBody>(store, partition, key('outbox', message.subject, ''))) {
      if (elder.key >= rowKey) return;
      yield { ...elder, partition };
    }
  }

  /** Sends over every road that is not held; answers the channels that are still to go. */
  async function send(row: OutboxRow, held: ReadonlySet<string>): Promise<string[]> {
    const { message, roads, stuck } = row.body;
    const results = await Promise.all(roads.map(async (road) => (stuck || held.has(road.channel) ? 'held' : laneOf(road)(message))));
    const left = roads.filter((_, i) => results[i] !== undefined);
    await settle(row, left, results.filter((result) => isPortError(result)));
    return left.map((road) => road.channel);
  }

  async function settle(row: OutboxRow, left: readonly Road[], errors: readonly PortError[]): Promise<void> {
    if (left.length === row.body.roads.length && errors.length === 0) return;
    const hopeless = errors.length === left.length && errors.every((error) => isPortError(error, 'tooLarge', 'denied', 'missing'));
    const attempts = row.body.attempts + 1;
    const body: OutboxBody = {
      ...row.body,
      roads: left,
      attempts,
      notBefore: clock.now() + Math.min(300_000, 1_000 * 2 ** Math.min(attempts, 10)),
      ...(hopeless ? { stuck: errors.map(({ message }) => message).join('; ') } : {}),
    };
    // A conflict: somebody else has settled it.
    await store.commit(row.partition, { writes: [left.length === 0 ? remove(row) : replace(row, body)] }).catch(ignoreConflict);
  }

  async function sweepPartition(partition: string, before: number, alone?: 'alone'): Promise<number> {
    let tried = 0;
    let cursor: string | undefined;
    let leased: Row | undefined;
    do {
      const page = await store.query<OutboxBody>(partition, { prefix: 'outbox|', limit: batchMax, ...(cursor === undefined ? {} : { cursor }) });
      const due = page.rows.filter((row) => row.body.at <= before && row.body.notBefore <= clock.now() && !row.body.stuck);
      if (due.length > 0 && !(leased ??= await lease(partition, alone))) return tried;
      // Whoever delivers the youngest row of a subject delivers its elders first.
      const youngest = new Map(due.map((row) => [row.body.message.subject, row]));
      await Promise.all([...youngest.values()].map((row) => deliver({ ...row, partition })));
      tried += due.length;
      cursor = page.next;
    } while (cursor !== undefined);
    if (leased) await store.commit(partition, { writes: [remove(leased)] }).catch(ignoreConflict);
    return tried;
  }

  /** Keeps sweepers out of each other's way; a broken lease only duplicates. */
  async function lease(partition: string, alone?: 'alone'): Promise<Row | undefined> {
    const row = await store.get<{ until: number }>(partition, leaseKey);
    if (row && row.body.until > clock.now() && !alone) return undefined;
    const body = { until: clock.now() + leaseSeconds * 1_000 };
    try {
      const { versions } = await store.commit(partition, { writes: [put(row, leaseKey, body)] });
      return { key: leaseKey, version: versions[0]!, body };
    } catch (error) {
      ignoreConflict(error);
      return undefined;
    }
  }

  return {
    pass: (rows) => patience.upTo(Promise.all(rows.map(deliver))),
    async sweep(olderThanSeconds, alone) {
      const before = clock.now() - olderThanSeconds * 1_000;
      let tried = 0;
      await eachOf(speaking.flatMap(partitionsOf), async (partition) => void (tried += await sweepPartition(partition, before, alone)));
      return tried;
    },
  };
}

// ---------------------------------------------------------------- what a person sees and does

const placesOfOutboxes = (): string[] => speaking.flatMap(partitionsOf);

/** Rows that nobody will take. */
export function stuckRows(kernel: Pick<Ports, 'store'>): Promise<Finding<OutboxBody>[]> {
  return findings<OutboxBody>(kernel.store, placesOfOutboxes(), 'outbox|', ({ stuck }) => stuck !== undefined);
}

/** It is sent once more, with what has waited behind it. */
export async function retryStuck(kernel: Pick<Ports, 'store' | 'clock'> & { relay: Relay }, { partition, id: _, ...row }: Finding<OutboxBody>): Promise<Refusal | undefined> {
  const { stuck: __, ...rest } = row.body;
  const body: OutboxBody = { ...rest, notBefore: 0 };
  try {
    const { versions } = await kernel.store.commit(partition, { writes: [replace(row, body)] });
    await kernel.relay.pass([{ key: row.key, version: versions[0]!, body, partition }]);
    return undefined;
  } catch (error) {
    return changedMeanwhile(error);
  }
}

/** A person has decided that it is not to be said on the roads that are left. It is kept, as dropped; what has waited behind it goes with the next sweep. */
export async function dropStuck(kernel: Pick<Ports, 'store' | 'clock'>, { partition, ...row }: Finding<OutboxBody>, why: string | undefined): Promise<Refusal | undefined> {
  const body: UnsaidBody = { ...row.body, at: kernel.clock.now(), why: why ?? row.body.stuck ?? '' };
  try {
    await kernel.store.commit(partition, { writes: [remove(row), create(unsaidKey(row.key, body.at), body)] });
    return undefined;
  } catch (error) {
    return changedMeanwhile(error);
  }
}

/** What a person has decided not to say: under the key of its outbox row, and when. What he says by hand or sends again has the same key each time. */
export interface UnsaidBody extends OutboxBody {
  readonly why: string;
}
const unsaidKey = (outboxKey: string, at: number): string => `${outboxKey.replace(/^outbox/, 'unsaid')}|${at}`;

/** What this subject has said and is not on all its roads: still to go, or, with a `why`, never to go. */
export async function unsent(store: Ports['store'], partition: string, subject: string): Promise<(OutboxBody & Partial<UnsaidBody>)[]> {
  const found: (OutboxBody & Partial<UnsaidBody>)[] = [];
  for (const noun of ['outbox', 'unsaid']) {
    for await (const { body } of rowsOf<OutboxBody>(store, partition, key(noun, subject, ''))) found.push(body);
  }
  return found;
}

/**
 * Sends one batch at a time and gathers the next one meanwhile: the slower the broker, the larger the batches, and no timer anywhere.
 * A batch that is refused for good is sent again one by one, so that one message cannot spoil its neighbours.
 */
function createLane(sendAll: (messages: readonly Message[]) => Promise<AppendFailure[]>): (message: Message) => Promise<PortError | undefined> {
  let waiting: { message: Message; settle: (error: PortError | undefined) => void; fail: (error: unknown) => void }[] = [];
  let busy = false;

  async function run(): Promise<void> {
    busy = true;
    while (waiting.length > 0) {
      const batch = waiting.slice(0, batchMax);
      waiting = waiting.slice(batchMax);
      await sendBatch(batch);
    }
    busy = false;
  }

  async function sendBatch(batch: typeof waiting): Promise<void> {
    try {
      const failures = new Map((await sendAll(batch.map(({ message }) => message))).map(({ index, error }) => [index, error]));
      batch.forEach(({ settle }, i) => settle(failures.get(i)));
    } catch (error) {
      if (batch.length > 1 && isPortError(error, 'tooLarge', 'denied')) {
        for (const one of batch) await sendBatch([one]);
        return;
      }
      for (const { settle, fail } of batch) isPortError(error) ? settle(error) : fail(error);
    }
  }

  return (message) =>
    new Promise((settle, fail) => {
      waiting.push({ message, settle, fail });
      if (!busy) void run();
    });
}

/** Waits for work, but not longer than so many seconds; the work goes on. One slow tick serves all who wait, instead of a timer each. */
function createPatience(clock: Clock, seconds: number): { upTo(work: Promise<unknown>): Promise<void> } {
  const waiting = new Set<{ until: number; resolve: () => void }>();
  const tickMilliseconds = seconds * 250;
  let ticking = false;

  async function tick(): Promise<void> {
    ticking = true;
    while (waiting.size > 0) {
      await clock.sleep(tickMilliseconds);
      // Nobody waits longer: who would be due before the next tick goes now.
      for (const each of waiting) if (each.until < clock.now() + tickMilliseconds) each.resolve();
    }
    ticking = false;
  }

  return {
    upTo: (work) =>
      new Promise((done) => {
        const each = { until: clock.now() + seconds * 1_000, resolve };
        function resolve(): void {
          waiting.delete(each);
          done();
        }
        waiting.add(each);
        void work.then(resolve, resolve);
        if (!ticking) void tick();
      }),
  };
}

function ignoreConflict(error: unknown): void {
  if (!isPortError(error, 'conflict')) throw error;
}
