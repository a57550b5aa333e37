import {
  PortError, isPortError, must,
  type AppendFailure, type Batch, type Clock, type MailerDriver, type Message, type QueueDriver, type RawWrite, type StoreDriver, type StreamDriver, type StreamEvent,
} from '../../ports/index.ts';

/**
 * FAULTS: makes drivers of any family as bad as the ports' contracts allow, and not worse. What works on them works on a cloud on a bad day.
 *
 * All chance comes from `random` (0 up to 1, seeded by the caller), all time from the clock: a run can be played again.
 */
export interface Profile {
  /** Refused before anything was done; of an append, the tails of some keys. */
  readonly throttled: number;
  /** `unavailable`, and nothing was done. */
  readonly unavailable: number;
  /** `unavailable`, although it was done: the answer was lost. */
  readonly lost: number;
  /** Somebody else writes a row that a commit is about to replace or delete (the same body, under a new version), so that the commit meets a true conflict. */
  readonly conflict: number;
  /** A message that is sent arrives twice. */
  readonly duplicate: number;
  /** A read begins with events that this position has already left behind, as after a restart from an old checkpoint. */
  readonly reread: number;
  /** Messages of a queue in any order; of an append, keys change places with one another. */
  readonly reorder: number;
  /** Fewer than were asked for: rows, messages, events. */
  readonly short: number;
  /** None, although there are some, and without waiting; a page of rows has a `next` then. */
  readonly empty: number;
  /** A lock is lost before its time: `remove` and `renew` throw `lockLost`, and the message comes again. */
  readonly lockLost: number;
  /** `ask` does not know. */
  readonly unknown: number;
  /** A call takes its time before, and its answer after, up to `delayMilliseconds` each. */
  readonly delay: number;
  readonly delayMilliseconds: number;
}

export const faultless: Profile = {
  throttled: 0, unavailable: 0, lost: 0, conflict: 0, duplicate: 0, reread: 0, reorder: 0, short: 0, empty: 0, lockLost: 0, unknown: 0, delay: 0, delayMilliseconds: 0,
};

/** A bad day: everything happens, and progress is still possible. */
export const harsh: Profile = {
  throttled: 0.05, unavailable: 0.03, lost: 0.03, conflict: 0.05, duplicate: 0.1, reread: 0.1, reorder: 0.5, short: 0.3, empty: 0.1, lockLost: 0.03, unknown: 0.2,
  delay: 0.3, delayMilliseconds: 200,
};

/** Draws a profile, so that one seed gives both the weather and the storm: about every second fault is off, the others are up to twice as likely as in `harsh`. */
export function profileFrom(random: () => number): Profile {
  const drawn = Object.entries(harsh).map(([name, value]) => [name, random() < 0.5 ? 0 : name === 'delayMilliseconds' ? value : Math.min(0.6, value * 2 * random())]);
  return { ...faultless, ...(Object.fromEntries(drawn) as Partial<Profile>) };
}

export interface Drivers {
  readonly store: StoreDriver;
  readonly queue: QueueDriver;
  readonly stream: StreamDriver;
}

/** The same drivers, hostile. A mailer is wrapped if there is one. */
export function hostile<Some extends Drivers & { readonly mailer?: MailerDriver }>(drivers: Some, profile: Profile, random: () => number, clock: Clock): Some {
  const weather = createWeather(profile, random, clock);
  return {
    ...drivers,
    store: hostileStore(drivers.store, weather),
    queue: hostileQueue(drivers.queue, weather),
    stream: hostileStream(drivers.stream, weather),
    ...(drivers.mailer ? { mailer: hostileMailer(drivers.mailer, weather) } : {}),
  };
}

type Fault = Exclude<keyof Profile, 'delayMilliseconds'>;

interface Weather {
  happens(fault: Fault): boolean;
  /** A whole number from 1 to `most`. */
  upTo(most: number): number;
  shuffled<Item>(items: readonly Item[]): Item[];
  /** Does it, with everything that can go wrong before and after. */
  around<Result>(what: string, work: () => Promise<Result>, exempt?: Fault): Promise<Result>;
}

function createWeather(profile: Profile, random: () => number, clock: Clock): Weather {
  const happens = (fault: Fault): boolean => profile[fault] > 0 && random() < profile[fault];

  async function dawdle(): Promise<void> {
    if (happens('delay')) await clock.sleep(random() * profile.delayMilliseconds);
  }

  return {
    happens,
    upTo: (most) => 1 + Math.floor(random() * most),

    shuffled(items) {
      const left = [...items];
      return items.map(() => left.splice(Math.floor(random() * left.length), 1)[0]!);
    },

    async around(what, work, exempt) {
      await dawdle();
      if (exempt !== 'throttled' && happens('throttled')) throw new PortError('throttled', `${what}: refused by chance`);
      if (happens('unavailable')) throw new PortError('unavailable', `${what}: not done by chance`);
      const result = await work();
      await dawdle();
      if (happens('lost')) throw new PortError('unavailable', `${what}: done, the answer lost by chance`);
      return result;
    },
  };
}

function hostileStore(driver: StoreDriver, weather: Weather): StoreDriver {
  /** What another writer is free to do at any moment. */
  async function intrude(partition: string, writes: readonly RawWrite[]): Promise<void> {
    const aims = writes.flatMap((write) => (write.op === 'create' ? [] : [write]));
    const aim = aims[weather.upTo(aims.length) - 1];
    const row = aim && (await driver.get(partition, aim.key));
    if (row && row.version === aim.version) await driver.commit(partition, [{ op: 'replace', ...row }]).catch(ignorePortErrors);
  }

  return {
    get: (partition, key) => weather.around('get', () => driver.get(partition, key)),

    query: (partition, query) =>
      weather.around('query', async () => {
        if (weather.happens('empty')) return { rows: [], next: query.cursor ?? atStart };
        const { cursor, ...rest } = query;
        const limit = weather.happens('short') ? weather.upTo(query.limit) : query.limit;
        const page = await driver.query(partition, { ...rest, limit, ...innerCursor(cursor) });
        return page.next === undefined ? page : { rows: page.rows, next: behind + page.next };
      }),

    commit: (partition, writes) =>
      weather.around('commit', async () => {
        if (weather.happens('conflict')) await intrude(partition, writes);
        return driver.commit(partition, writes);
      }),
  };
}

/** Our cursors: an empty first page needs one that says "from the start", which a driver does not have. */
const atStart = 'start';
const behind = 'behind ';

function innerCursor(cursor: string | undefined): { cursor?: string } {
  if (cursor === undefined || cursor === atStart) return {};
  must(cursor.startsWith(behind), 'a cursor is given back as it was received');
  return { cursor: cursor.slice(behind.length) };
}

function hostileQueue(driver: QueueDriver, weather: Weather): QueueDriver {
  function keepLock(): void {
    if (weather.happens('lockLost')) throw new PortError('lockLost', 'lost before its time by chance');
  }

  return {
    send: (queue, messages, options) =>
      weather.around('send', async () => {
        await driver.send(queue, messages, options);
        const twice = messages.filter(() => weather.happens('duplicate'));
        if (twice.length > 0) await driver.send(queue, twice, options);
      }),

    receive: (queue, options) =>
      weather.around('receive', async () => {
        // A receive that is over already takes nothing with it, but still says so when there is no such queue.
        if (weather.happens('empty')) return driver.receive(queue, { ...options, waitSeconds: 0, signal: AbortSignal.abort() });
        const received = await driver.receive(queue, weather.happens('short') ? { ...options, max: weather.upTo(options.max) } : options);
        return weather.happens('reorder') ? weather.shuffled(received) : received;
      }),

    remove: (received) =>
      weather.around('remove', () => {
        keepLock();
        return driver.remove(received);
      }),

    renew: (received) =>
      weather.around('renew', () => {
        keepLock();
        return driver.renew(received);
      }),
  };
}

function hostileStream(driver: StreamDriver, weather: Weather): StreamDriver {
  const tails = createTails();

  async function read(stream: string, partition: string, options: Parameters<StreamDriver['read']>[2]): Promise<Batch> {
    if (weather.happens('empty')) {
      await driver.read(stream, partition, { ...options, waitSeconds: 0 });
      return { events: [] };
    }
    const again = weather.happens('reread') ? tails.before(stream, partition, options.after, options.max - 1) : [];
    const room = options.max - again.length;
    const waitSeconds = again.length > 0 ? 0 : options.waitSeconds;
    const batch = await driver.read(stream, partition, { ...options, waitSeconds, max: weather.happens('short') ? weather.upTo(room) : room });
    if ('gap' in batch || (batch.children && again.length === 0)) return batch;
    tails.keep(stream, partition, batch.events);
    return { events: [...again, ...batch.events] };
  }

  return {
    append: (stream, messages) => weather.around('append', () => hostileAppend(driver, weather, stream, messages), 'throttled'),
    partitions: (stream) => weather.around('partitions', () => driver.partitions(stream)),
    read: (stream, partition, options) => weather.around('read', () => read(stream, partition, options)),
  };
}

/** Appends what is not throttled, keys in any order, and answers the failures by their place in what was handed over. */
async function hostileAppend(driver: StreamDriver, weather: Weather, stream: string, messages: readonly Message[]): Promise<AppendFailure[]> {
  const byKey = new Map<string, number[]>();
  messages.forEach(({ partitionkey }, index) => byKey.set(partitionkey, [...(byKey.get(partitionkey) ?? []), index]));
  const failures: AppendFailure[] = [];
  const kept = [...byKey.values()].map((indexes) => {
    const cut = weather.happens('throttled') ? weather.upTo(indexes.length) - 1 : indexes.length;
    for (const index of indexes.slice(cut)) failures.push({ index, error: new PortError('throttled', 'append: refused by chance', { key: messages[index]!.id }) });
    return indexes.slice(0, cut);
  });
  const order = weather.happens('reorder') ? weather.shuffled(kept).flat() : kept.flat().sort((a, b) => a - b);
  if (order.length === 0) return failures;
  for (const { index, error } of await driver.append(stream, order.map((index) => messages[index]!))) failures.push({ index: order[index]!, error });
  return failures;
}

const tailsMax = 256;
const tailLengthMax = 8;

/** The last events before a position, for a few positions: what a reader at that position has just read. */
function createTails() {
  const tails = new Map<string, readonly StreamEvent[]>();
  const nameOf = (stream: string, partition: string, position: string): string => JSON.stringify([stream, partition, position]);
  return {
    keep(stream: string, partition: string, events: readonly StreamEvent[]): void {
      const last = events[events.length - 1];
      if (!last) return;
      tails.set(nameOf(stream, partition, last.position), structuredClone(events.slice(-tailLengthMax)));
      if (tails.size > tailsMax) tails.delete(tails.keys().next().value!);
    },
    before(stream: string, partition: string, position: string | undefined, most: number): readonly StreamEvent[] {
      const tail = position === undefined ? undefined : tails.get(nameOf(stream, partition, position));
      return tail && most > 0 ? structuredClone(tail.slice(-most)) : [];
    },
  };
}

function hostileMailer(driver: MailerDriver, weather: Weather): MailerDriver {
  return {
    ...driver,
    send: (letter) => weather.around('send', () => driver.send(letter)),
    ask: (key) => weather.around('ask', async () => (weather.happens('unknown') ? 'unknown' : driver.ask(key))),
  };
}

function ignorePortErrors(error: unknown): string[] {
  if (!isPortError(error)) throw error;
  return [];
}
