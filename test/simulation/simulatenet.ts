import {
  PortError, decode, encode, must,
  type AppendFailure, type Batch, type Carrier, type Clock, type Letter, type MailerDriver, type Message, type Query, type QueueDriver, type RawRow, type RawWrite, type Received,
  type StoreDriver, type StreamDriver,
} from '../../ports/index.ts';
import type { Delivery, QueueEngine } from '../../adapters/engine/queue.ts';
import type { StoreEngine } from '../../adapters/engine/store.ts';
import type { StreamEngine } from '../../adapters/engine/stream.ts';
import { cancel, type Schedule } from './simulateclock.ts';
import type { Fault, Plan } from './simulateplan.ts';

/**
 * THE NET between processes and engines. A call goes there, has its effect, and its answer comes back; each takes its time, and each can go wrong, within what the ports
 * allow. A process that is killed gets no answer and has no future: what waits for one waits for ever, as nothing goes on in a process that is gone. What it had sent off
 * before has its effect all the same.
 */
export type PortName = 'store' | 'queue' | 'stream' | 'mailer' | 'carrier';
export const portNames: readonly PortName[] = ['store', 'queue', 'stream', 'mailer', 'carrier'];

/** One process, from its start to its end. */
export interface Life {
  readonly name: string;
  alive: boolean;
  /** Milliseconds that its clock is wrong by. */
  skew: number;
  /** Cut off from these until then. */
  readonly cutUntil: Map<PortName, number>;
}

export interface Engines {
  readonly store: StoreEngine;
  readonly queue: QueueEngine;
  readonly stream: StreamEngine;
}

export interface Net {
  /** Drivers as this process sees them. */
  driversOf(life: Life): { readonly store: StoreDriver; readonly queue: QueueDriver; readonly stream: StreamDriver; readonly mailer: MailerDriver };
  carrierOf(life: Life, carrier: Carrier): Carrier;
  clockOf(life: Life): Clock;
  /** A port refuses everybody until then. */
  storm(port: PortName, until: number): void;
  /** A partition hands out nothing until then. */
  stall(stream: string, partition: string, until: number): void;
  /** From now on nothing goes wrong any more; what is late comes late. */
  calm(): void;
  strength(fault: Fault): number;
  happens(fault: Fault, chance: number): boolean;
  count(fault: Fault): void;
  readonly coverage: ReadonlyMap<Fault, number>;
}

export interface NetOptions {
  readonly plan: Plan;
  readonly schedule: Schedule;
  readonly random: () => number;
  readonly engines: Engines;
  readonly office: PostOffice;
  /** Kills the process, and sees to it that it comes again. */
  readonly kill: (life: Life) => void;
  /** Everything that has an effect on the engines, for the log. */
  readonly trace: (word: string, what: string) => void;
  readonly traceWrites: (name: string, partition: string, writes: readonly RawWrite[]) => void;
}

/** Where letters go, with a count of what really left. */
export interface PostOffice {
  readonly letters: Map<string, number>;
  /** Its mailer drops repeats of a key, and can be asked. */
  readonly proof: boolean;
  take(letter: Letter): void;
}

const cutMilliseconds = 2_000;

interface Waiting<Found> {
  readonly port: PortName;
  readonly waitSeconds: number;
  readonly signal: AbortSignal | undefined;
  readonly nothing: Found;
  look(): Found | undefined;
  watch(wake: () => void): () => void;
  /** When looking again is worth while though nobody has called. */
  nextAt(): number | undefined;
}

/** One call on its way. */
interface Call<T> {
  readonly life: Life;
  readonly port: PortName;
  readonly name: string;
  readonly work: () => T | Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (error: unknown) => void;
  /** The caller is killed as soon as it has had its effect. */
  readonly dies: boolean;
}

export function createNet(options: NetOptions): Net {
  const { plan, schedule, random, engines, office, kill, trace, traceWrites } = options;
  const coverage = new Map<Fault, number>();
  const storms = new Map<PortName, number>();
  const stalls = new Map<string, number>();
  let calm = false;
  const strength = (fault: Fault): number => (calm ? 0 : (plan.faults[fault] ?? 0));
  const count = (fault: Fault): void => void coverage.set(fault, (coverage.get(fault) ?? 0) + 1);
  const slow = plan.faults.slow ?? 0;
  /** About so many calls come for each order. */
  const killsWanted = (plan.faults.kills ?? 0) * 24;
  const killChance = killsWanted / (plan.orders * 80 + 2_000);

  function happens(fault: Fault, chance: number): boolean {
    const s = strength(fault);
    if (s === 0 || random() >= s * chance) return false;
    count(fault);
    return true;
  }

  /** How long one way takes: mostly next to nothing, now and then as long as something can take. */
  function way(): number {
    const r = random();
    if (r < 0.6) return 0;
    if (slow > 0 && !calm && r > 1 - slow * 0.04) {
      count('slow');
      return random() * 4_000 * slow;
    }
    return Math.ceil(random() * 12);
  }

  const isCut = (life: Life, port: PortName): boolean => life.cutUntil.size > 0 && (life.cutUntil.get(port) ?? 0) > schedule.now();
  const error = (kind: 'throttled' | 'unavailable' | 'lockLost', what: string): PortError => new PortError(kind, `${what}, by chance`);

  /** What happens to a call before it arrives, if anything does: it fails after so long. */
  function refused(life: Life, port: PortName, name: string): { after: number; error: PortError } | undefined {
    if (isCut(life, port)) {
      count('splits');
      return { after: cutMilliseconds, error: error('unavailable', name) };
    }
    if ((storms.get(port) ?? 0) > schedule.now()) {
      count('storms');
      return { after: way(), error: error('throttled', name) };
    }
    if (happens('throttling', 0.1)) return { after: way(), error: error('throttled', name) };
    if (happens('unavailable', 0.06)) return { after: way(), error: error('unavailable', name) };
    return undefined;
  }

  /** Hands the answer over, if it is not lost and there is still somebody. */
  function answer<T>({ life, port, name, resolve, reject }: Call<T>, value: T | undefined, failure: unknown): void {
    if (!life.alive) return;
    const lost = isCut(life, port) ? (count('splits'), cutMilliseconds) : happens('lost', 0.06) ? way() * 4 : undefined;
    const milliseconds = lost ?? way();
    const thrown = lost === undefined ? failure : error('unavailable', name);
    if (milliseconds === 0) {
      if (thrown === undefined) resolve(value as T);
      else reject(thrown);
      return;
    }
    schedule.in(milliseconds, () => {
      if (!life.alive) return;
      if (thrown === undefined) resolve(value as T);
      else reject(thrown);
    });
  }

  function arrive<T>(made: Call<T>): void {
    let result: T | Promise<T>;
    try {
      result = made.work();
    } catch (thrown) {
      return answer(made, undefined, thrown);
    }
    if (made.dies) {
      if (result instanceof Promise) result.catch(() => undefined); // nobody is left to hear of it
      return kill(made.life);
    }
    if (result instanceof Promise) result.then((value) => answer(made, value, undefined), (thrown: unknown) => answer(made, undefined, thrown));
    else answer(made, result, undefined);
  }

  function call<T>(life: Life, port: PortName, name: string, work: () => T | Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (!life.alive) return;
      const dies = killChance > 0 && !calm && random() < killChance;
      if (dies) {
        count('kills');
        if (random() < 0.4) return kill(life);
      }
      const refusal = refused(life, port, name);
      if (refusal) return void schedule.in(refusal.after, () => life.alive && reject(refusal.error));
      const made: Call<T> = { life, port, name, work, resolve, reject, dies };
      const away = way();
      // What is on its way arrives, whatever becomes of the sender.
      if (away === 0) arrive(made);
      else schedule.in(away, () => arrive(made));
    });
  }

  function shuffled<Item>(items: readonly Item[]): Item[] {
    const left = [...items];
    return items.map(() => left.splice(Math.floor(random() * left.length), 1)[0]!);
  }

  // ---------------------------------------------------------------- store

  function query(partition: string, asked: Required<Pick<Query, 'prefix' | 'limit'>> & Query): { rows: RawRow[]; next?: string } {
    const s = strength('short');
    if (s === 0 || random() >= s * 0.3) return engines.store.query(partition, asked);
    const page = engines.store.query(partition, { ...asked, limit: 1 + Math.floor(random() * Math.min(asked.limit, 4)) });
    if (page.rows.length === 0) return page;
    count('short');
    return random() < 0.3 ? { rows: [], next: asked.cursor ?? '' } : page;
  }

  const storeOf = (life: Life): StoreDriver => ({
    get: (partition, key) => call(life, 'store', 'get', () => engines.store.get(partition, key)),
    query: (partition, asked) => call(life, 'store', 'query', () => query(partition, asked)),
    commit: (partition, writes: readonly RawWrite[]) =>
      call(life, 'store', 'commit', () => {
        const versions = engines.store.commit(partition, writes);
        traceWrites(life.name, partition, writes);
        return versions;
      }),
  });

  // ---------------------------------------------------------------- waiting

  /** A long poll: it looks, and looks again when it is called or something comes due. */
  function poll<Found>(life: Life, asked: Waiting<Found>): Promise<Found> {
    return call(life, asked.port, 'wait', () => {
      const found = asked.signal?.aborted ? asked.nothing : asked.look();
      return found !== undefined ? found : new Promise<Found>((resolve, reject) => wait(life, asked, resolve, reject));
    });
  }

  function wait<Found>(life: Life, asked: Waiting<Found>, resolve: (found: Found) => void, reject: (error: unknown) => void): void {
    const until = schedule.now() + asked.waitSeconds * 1_000;
    let timer = schedule.at(Math.min(until, asked.nextAt() ?? until), turn);
    const unwatch = asked.watch(() => lookAt(schedule.now() + way()));
    asked.signal?.addEventListener('abort', stop, { once: true });

    function lookAt(time: number): void {
      if (timer.run && timer.time <= time) return;
      cancel(timer);
      timer = schedule.at(Math.min(time, until), turn);
    }
    function end(): void {
      cancel(timer);
      unwatch();
      asked.signal?.removeEventListener('abort', stop);
    }
    function stop(): void {
      end();
      if (life.alive) resolve(asked.nothing);
    }
    function turn(): void {
      cancel(timer);
      if (!life.alive) return end();
      if (isCut(life, asked.port)) {
        end();
        return reject(error('unavailable', 'wait'));
      }
      const found = asked.look();
      if (found === undefined && schedule.now() < until) return lookAt(Math.max(schedule.now() + 1, asked.nextAt() ?? until));
      end();
      resolve(found ?? asked.nothing);
    }
  }

  // ---------------------------------------------------------------- queue

  function send(queue: string, messages: readonly Message[], asked: { delaySeconds: number; attempts: number }): void {
    for (const message of strength('reordering') > 0 ? shuffled(messages) : messages) {
      const late = happens('late', 0.08) ? (random() < 0.2 ? 10_800 : 600) * random() : 0;
      const texts = happens('duplicates', 0.25) ? [encode(message), encode(message)] : [encode(message)];
      engines.queue.send(queue, texts, { now: schedule.now(), ...asked, delaySeconds: asked.delaySeconds + late });
      trace('sent', `${queue} ${message.id}`);
    }
  }

  /** In any order: some of those that are ready, and not the eldest first. */
  function receive(queue: string, max: number): Received[] | undefined {
    const most = happens('short', 0.3) ? 1 + Math.floor(random() * 2) : max;
    const found = engines.queue.receive(queue, Math.min(max, most), schedule.now());
    if (found.length === 0) return undefined;
    const received = found.map((delivery) => receivedOf(queue, delivery));
    trace('receives', `${queue} ${found.length}`);
    return received.length > 1 && happens('reordering', 0.8) ? shuffled(received) : received;
  }

  const keepLock = (): void => {
    if (happens('lockLost', 0.08)) throw error('lockLost', 'lock');
  };

  const queueOf = (life: Life): QueueDriver => ({
    send: (queue, messages, asked) => call(life, 'queue', 'send', () => send(queue, messages, asked)),
    receive: (queue, { max, waitSeconds, signal }) =>
      poll<Received[]>(life, {
        port: 'queue', waitSeconds, signal, nothing: [], look: () => receive(queue, max), watch: (wake) => engines.queue.watch(queue, wake), nextAt: () => engines.queue.nextAt(queue),
      }),
    remove: ({ queue, receipt, message }) =>
      call(life, 'queue', 'remove', () => {
        keepLock();
        engines.queue.remove(queue, tokenOf(receipt), schedule.now());
        trace('removes', `${queue} ${'id' in message ? message.id : 'malformed'}`);
      }),
    renew: (received) =>
      call(life, 'queue', 'renew', () => {
        keepLock();
        return { ...received, lockedUntil: engines.queue.renew(received.queue, tokenOf(received.receipt), schedule.now()) };
      }),
  });

  // ---------------------------------------------------------------- stream

  function append(stream: string, messages: readonly Message[]): AppendFailure[] {
    const failures: AppendFailure[] = [];
    const refused = new Set<string>();
    let kept = messages.filter((message, index) => {
      if (!refused.has(message.partitionkey) && !happens('throttling', 0.05)) return true;
      refused.add(message.partitionkey);
      failures.push({ index, error: error('throttled', 'append') });
      return false;
    });
    if (kept.length > 1 && happens('reordering', 0.8)) {
      const byKey = new Map<string, Message[]>();
      for (const message of kept) byKey.set(message.partitionkey, [...(byKey.get(message.partitionkey) ?? []), message]);
      kept = shuffled([...byKey.values()]).flat();
    }
    // What the broker takes twice, it takes twice as a whole.
    const times = kept.length > 0 && happens('duplicates', 0.25) ? 2 : 1;
    for (let i = 0; i < times && kept.length > 0; i++) {
      engines.stream.append(stream, kept.map((message) => ({ partitionkey: message.partitionkey, text: encode(message) })), schedule.now());
      trace('appends', `${stream} ${kept.map(({ id }) => id).join(', ')}`);
    }
    return failures;
  }

  function read(stream: string, partition: string, after: string | undefined, max: number): Batch | undefined {
    if (stalledUntil(stream, partition) !== undefined) {
      count('stalls');
      return undefined;
    }
    const back = after !== undefined && Number(after) > 0 && strength('rereads') > 0 && random() < strength('rereads') * 0.2 ? Math.min(Number(after), 1 + Math.floor(random() * 6)) : 0;
    const from = back === 0 ? after : String(Number(after) - back);
    const most = happens('short', 0.3) ? back + 1 + Math.floor(random() * 3) : max;
    const found = engines.stream.read(stream, partition, from, Math.min(max, most));
    if ('gap' in found) return found;
    // Old events alone are no news: nobody is woken by them.
    if (found.events.length <= back && !found.children) return undefined;
    if (back > 0 && found.events.length > back) count('rereads');
    if (found.children) return { events: [], children: found.children };
    return { events: found.events.map(({ position, partitionkey, text }) => ({ position, partitionkey, message: decode(text) })) };
  }

  function stalledUntil(stream: string, partition: string): number | undefined {
    const until = stalls.get(`${stream} ${partition}`);
    return until !== undefined && until > schedule.now() ? until : undefined;
  }

  const streamOf = (life: Life): StreamDriver => ({
    append: (stream, messages) => call(life, 'stream', 'append', () => append(stream, messages)),
    partitions: (stream) => call(life, 'stream', 'partitions', () => engines.stream.partitions(stream)),
    read: (stream, partition, { after, max, waitSeconds, signal }) =>
      poll<Batch>(life, {
        port: 'stream', waitSeconds, signal, nothing: { events: [] }, look: () => read(stream, partition, after, max),
        watch: (wake) => engines.stream.watch(stream, partition, wake), nextAt: () => stalledUntil(stream, partition),
      }),
  });

  // ---------------------------------------------------------------- mailer and carrier

  const mailerOf = (life: Life): MailerDriver => ({
    send: (letter) =>
      call(life, 'mailer', 'send', () => {
        if (happens('mailer', 0.15)) throw error('throttled', 'mailer');
        if (happens('mailer', 0.01)) throw new PortError('denied', 'the mailer will never take this letter');
        office.take(letter);
        trace('takes', letter.key);
        if (happens('mailer', 0.1)) throw error('unavailable', 'mailer, after taking it');
      }),
    ask: (key) =>
      call(life, 'mailer', 'ask', () => {
        if (happens('mailer', 0.2)) throw error('unavailable', 'ask');
        if (!office.proof || happens('mailer', 0.2)) return 'unknown';
        return office.letters.has(key) ? 'sent' : 'notSent';
      }),
  });

  const refusing = new Set<string>();
  const carrierOf = (life: Life, carrier: Carrier): Carrier => ({
    book: (request) =>
      call(life, 'carrier', 'book', async () => {
        if (!calm && (refusing.has(request.orderId) || happens('carrier', 0.02))) {
          refusing.add(request.orderId);
          throw new PortError('denied', 'the carrier does not go there');
        }
        if (happens('carrier', 0.1)) throw error('throttled', 'carrier');
        const booking = await carrier.book(request);
        trace('books', request.orderId);
        if (happens('carrier', 0.15)) throw error('unavailable', 'carrier, after booking');
        return booking;
      }),
    find: (orderId) =>
      call(life, 'carrier', 'find', async () => {
        if (happens('carrier', 0.2)) throw error('unavailable', 'find');
        if (happens('carrier', 0.3)) return 'unknown';
        return carrier.find(orderId);
      }),
  });

  function sleep(life: Life, milliseconds: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const planned = schedule.in(Math.max(0, milliseconds), wake);
      function wake(): void {
        cancel(planned);
        signal?.removeEventListener('abort', wake);
        if (life.alive) resolve();
      }
      signal?.addEventListener('abort', wake, { once: true });
    });
  }

  return {
    driversOf: (life) => ({ store: storeOf(life), queue: queueOf(life), stream: streamOf(life), mailer: mailerOf(life) }),
    carrierOf,
    clockOf: (life) => ({ now: () => Math.floor(schedule.now() + life.skew), sleep: (milliseconds, signal) => sleep(life, milliseconds, signal) }),
    storm: (port, until) => void storms.set(port, until),
    stall: (stream, partition, until) => void stalls.set(`${stream} ${partition}`, until),
    calm() {
      calm = true;
      storms.clear();
      // Whoever waits for a stalled partition was told when it ends, and looks then.
    },
    strength,
    happens,
    count,
    coverage,
  };
}

function receivedOf(queue: string, { text, attempts, token, lockedUntil }: Delivery): Received {
  return { queue, message: decode(text), attempts, lockedUntil, receipt: token };
}

function tokenOf(receipt: unknown): number {
  must(typeof receipt === 'number', 'a receipt is given back as it was received');
  return receipt;
}
