import {
  Defect, Invalid, PortError, isTransient,
  type Message, type OutboxBody, type Row, type Store, type StreamEvent, type Write,
} from '../../../ports/index.ts';
import type { AnyService, Kernel } from '../../../core/kernel/service.ts';
import { memory } from '../families.ts';
import { machine, receivingCases, type Machine } from '../receiving.ts';
import type { Mutant } from './mutant.ts';

/** Mutants of the kernel: its machines, handed other drivers or another service than the suite believes. */
function receiving(name: string, change: Partial<Machine>): Mutant {
  return { name, port: 'receiving', cases: () => receivingCases(memory('memory'), { ...machine, ...change }) };
}

type Handle = (message: Message) => Promise<void>;

/** The same service, with something between it and its messages. */
function served(service: AnyService, change: (handle: Handle) => Handle): AnyService {
  const hears = Object.entries(service.hears).map(([event, hear]) => [event, (kernel: Kernel, message: Message) => change((each) => hear(kernel, each as never))(message)]);
  return { ...service, hears: Object.fromEntries(hears) as AnyService['hears'] };
}
const failing = (into: (error: unknown) => unknown) => (handle: Handle): Handle => (message) =>
  handle(message).catch((error: unknown) => {
    const other = into(error);
    if (other !== undefined) throw other;
  });
const withStore = <Some extends { readonly store: Store }>(kernel: Some, change: (store: Store) => Partial<Store>): Some => ({ ...kernel, store: { ...kernel.store, ...change(kernel.store) } });
const isAbout = (write: Write, noun: string): boolean => write.key.startsWith(`${noun}|`);

const follows = (name: string, change: (kernel: Kernel, service: AnyService) => readonly [Kernel, AnyService]): Mutant =>
  receiving(name, { follow: (kernel, service, options) => machine.follow(...change(kernel, service), options) });
const reads = (name: string, change: (events: readonly StreamEvent[]) => readonly StreamEvent[]): Mutant =>
  follows(name, (kernel, service) => [{
    ...kernel,
    stream: {
      ...kernel.stream,
      async read(...args) {
        const batch = await kernel.stream.read(...args);
        return 'gap' in batch ? batch : { events: change(batch.events) };
      },
    },
  }, service]);
const wakes = (name: string, change: (kernel: Kernel, services: readonly AnyService[]) => readonly [Kernel, readonly AnyService[]]): Mutant =>
  receiving(name, { retryParked: (kernel, services, only) => machine.retryParked(...change(kernel, services), only) });
const works = (name: string, change: (kernel: Kernel, service: AnyService) => readonly [Kernel, AnyService]): Mutant =>
  receiving(name, { receiveWork: (kernel, service, received) => machine.receiveWork(...change(kernel, service), received) });
const relays = (name: string, change: (ports: Parameters<Machine['createRelay']>[0]) => Partial<Parameters<Machine['createRelay']>[0]>): Mutant =>
  receiving(name, { createRelay: (ports) => machine.createRelay({ ...ports, ...change(ports) }) });

/** What became of the writes of an outbox row when it was settled. */
const settles = (name: string, change: (write: Write & { readonly op: 'replace' }, body: OutboxBody) => Write | undefined): Mutant =>
  relays(name, ({ store }) => ({
    store: {
      ...store,
      commit: (partition, commit) => store.commit(partition, {
        ...commit,
        writes: (commit.writes ?? []).flatMap((write) => (write.op === 'replace' && isAbout(write, 'outbox') ? (change(write, write.body as OutboxBody) ?? []) : [write])),
      }),
    },
  }));

export const receivingMutants: readonly Mutant[] = [
  follows('checkpoints before success', (kernel, service) => [kernel, served(service, (handle) => async (message) => void handle(message).catch(() => undefined))]),
  follows('drops an event on error', (kernel, service) => [kernel, served(service, failing((error) => (isTransient(error) ? error : undefined)))]),
  follows('drops an event when the world is down', (kernel, service) => [kernel, served(service, failing((error) => (isTransient(error) ? undefined : error)))]),
  follows('parks what the world has failed', (kernel, service) => [kernel, served(service, failing((error) => (isTransient(error) ? new Defect('it failed') : error)))]),
  follows('stands at a poisoned event for ever', (kernel, service) => [kernel, served(service, failing((error) => (isTransient(error) ? error : new PortError('unavailable', 'again'))))]),
  follows('tries a poisoned event twice and then goes on', (kernel, service) => [kernel, served(service, (handle) => (message) => handle(message).catch(() => handle(message)).catch((error: unknown) => {
    if (isTransient(error)) throw error;
  }))]),
  follows('starts at the beginning after every stop', (kernel, service) => [withStore(kernel, (store) => ({
    get: async <Body>(partition: string, rowKey: string) => {
      const row = await store.get<Body>(partition, rowKey);
      return row && rowKey.startsWith('position|') ? ({ ...row, body: { starts: 0 } as Body }) : row;
    },
  })), service]),
  follows('moves a position back', (kernel, service) => [withStore(kernel, (store) => ({
    commit: async (partition, commit) => store.commit(partition, {
      ...commit,
      writes: await Promise.all((commit.writes ?? []).map(async (write) => {
        const row = isAbout(write, 'position') ? await store.get(partition, write.key) : undefined;
        return row && write.op !== 'delete' ? { op: 'replace' as const, key: write.key, version: row.version, body: write.body } : write;
      })),
    }),
  })), service]),
  follows('counts no starts', (kernel, service) => [withStore(kernel, (store) => ({
    commit: (partition, commit) => store.commit(partition, {
      ...commit,
      writes: (commit.writes ?? []).map((write) => (isAbout(write, 'position') && write.op !== 'delete' ? { ...write, body: { ...(write.body as object), starts: 0 } } : write)),
    }),
  })), service]),
  follows('marks no suspect', (kernel, service) => [withStore(kernel, (store) => ({
    commit: (partition, commit) => store.commit(partition, {
      ...commit,
      writes: (commit.writes ?? []).map((write) => (isAbout(write, 'position') && write.op !== 'delete' ? { ...write, body: { ...(write.body as object), suspect: undefined } } : write)),
    }),
  })), service]),
  follows('lets what follows a parked event overtake it', (kernel, service) => {
    const asked = new Set<string>();
    return [withStore(kernel, (store) => ({
      async get<Body>(partition: string, rowKey: string) {
        const first = rowKey.startsWith('parked|') && !asked.delete(rowKey);
        if (first) asked.add(rowKey);
        return first ? undefined : store.get<Body>(partition, rowKey);
      },
    })), service];
  }),
  follows('parks a later event in the place of an earlier one', (kernel, service) => [withStore(kernel, (store) => ({
    commit: (partition, commit) => store.commit(partition, {
      ...commit,
      writes: (commit.writes ?? []).map((write) => (isAbout(write, 'item') && write.op === 'create' ? { ...write, key: write.key.replace(/\d{10}$/, (n) => String(9_999_999_999 - Number(n))) } : write)),
    }),
  })), service]),
  follows('keeps no reason', (kernel, service) => [kernel, served(service, failing((error) => (isTransient(error) ? error : new Error(''))))]),
  reads('reorders within a key', (events) => [...events].reverse().map((event, n) => ({ ...event, position: events[n]!.position }))),
  reads('handles the events of one key side by side', (events) => events.map((event) => ({ ...event, partitionkey: `${event.partitionkey} ${event.position}` }))),
  reads('handles all keys one after the other', (events) => events.map((event) => ({ ...event, partitionkey: 'all' }))),
  reads('skips an event that nobody can read', (events) => events.filter(({ message }) => !('malformed' in message))),
  reads('drops the last event of a batch', (events) => (events.length > 1 ? events.slice(0, -1).map((event, n) => (n === events.length - 2 ? { ...event, position: events.at(-1)!.position } : event)) : events)),
  receiving('skips a gap in silence', { follow: (kernel, service, { lost: _, ...options }) => machine.follow(kernel, service, options) }),

  wakes('wakes parked keys out of order', (kernel, services) => [withStore(kernel, (store) => ({
    async query<Body>(partition: string, query: Parameters<Store['query']>[1]) {
      if (!query.prefix.startsWith('item|')) return store.query<Body>(partition, query);
      const page = await store.query<Body>(partition, { ...query, limit: 1_000 });
      return { rows: [...page.rows].reverse() };
    },
  })), services]),
  wakes('frees a parked key after its first event', (kernel, services) => {
    const tried = new Set<string>();
    return [withStore(kernel, (store) => ({
      async query<Body>(partition: string, query: Parameters<Store['query']>[1]) {
        if (!query.prefix.startsWith('item|')) return store.query<Body>(partition, query);
        const none: { rows: Row<Body>[] } = { rows: [] };
        return tried.has(query.prefix) ? none : (tried.add(query.prefix), store.query<Body>(partition, query));
      },
    })), services];
  }),
  wakes('drops a parked event that fails again', (kernel, services) => [kernel, services.map((service) => served(service, failing(() => undefined)))]),
  wakes('blames a parked key for a world that is down', (kernel, services) => [kernel, services.map((service) => served(service, failing(() => new Defect('it failed'))))]),
  wakes('tries a parked key before its time', (kernel, services) => [{ ...kernel, clock: { ...kernel.clock, now: () => kernel.clock.now() + 86_400_000 } }, services]),
  wakes('lets somebody in while a key is released', (kernel, services) => [withStore(kernel, (store) => ({
    async commit(partition, commit) {
      const removesHead = commit.writes?.some((write) => write.op === 'delete' && isAbout(write, 'parked'));
      const touchesHead = commit.writes?.find((write) => write.op === 'replace' && isAbout(write, 'parked'));
      if (removesHead || !touchesHead) return store.commit(partition, commit);
      // The head goes as soon as the release begins, so that whoever comes meanwhile finds none.
      const answer = await store.commit(partition, commit);
      const head = await store.get(partition, touchesHead.key);
      if (head) await store.commit(partition, { writes: [{ op: 'delete', key: head.key, version: head.version }] });
      return answer;
    },
  })), services]),
  receiving('tries all keys when a person asks for one', { retryParked: (kernel, services) => machine.retryParked({ ...kernel, clock: { ...kernel.clock, now: () => kernel.clock.now() + 20_000 } }, services) }),
  receiving('lists no parked keys', { parkedKeys: async () => [] }),

  receiving('settles a message before it is handled', {
    async receiveWork(kernel, service, received) {
      await kernel.queue.done(received);
      await machine.receiveWork({ ...kernel, queue: { ...kernel.queue, done: async () => {} } }, service, received);
    },
  }),
  works('settles a message that failed', (kernel, service) => [kernel, served(service, failing(() => undefined))]),
  works('settles a message when the world is down', (kernel, service) => [kernel, served(service, failing((error) => (isTransient(error) ? undefined : error)))]),
  works('never settles', (kernel, service) => [{ ...kernel, queue: { ...kernel.queue, done: async () => {} } }, service]),
  works('blames a message for a world that is down', (kernel, service) => [{ ...kernel, queue: { ...kernel.queue, retry: (received, options) => kernel.queue.retry(received, { ...options, blame: true }) } }, service]),
  works('buries at the first failure', (kernel, service) => [kernel, served(service, failing((error) => (isTransient(error) ? error : new Invalid('it failed'))))]),
  works('tries again at once, however often it failed', (kernel, service) => [{ ...kernel, queue: { ...kernel.queue, retry: (received, options) => kernel.queue.retry(received, { ...options, delaySeconds: 1 + (10 - received.attempts) }) } }, service]),
  receiving('never gives a message up', { receiveWork: (kernel, service, received) => machine.receiveWork(kernel, service, { ...received, attempts: 1 }) }),
  works('buries without a letter', (kernel, service) => [withStore(kernel, (store) => ({
    commit: (partition, commit) => (commit.writes?.some((write) => isAbout(write, 'dead')) ? Promise.resolve({ versions: [''], outbox: [] }) : store.commit(partition, commit)),
  })), service]),
  works('settles a dead letter that could not be kept', (kernel, service) => [withStore(kernel, (store) => ({
    commit: (partition, commit) => store.commit(partition, commit).catch((error: unknown) => {
      if (commit.writes?.some((write) => isAbout(write, 'dead'))) return { versions: [''], outbox: [] };
      throw error;
    }),
  })), service]),
  works('retries by sending alone, and leaves the original', (kernel, service) => [{
    ...kernel, queue: { ...kernel.queue, retry: ({ queue, message, attempts }, { delaySeconds }) => ('malformed' in message ? Promise.resolve() : kernel.queue.send(queue, [message], { delaySeconds, attempts })) },
  }, service]),

  relays('takes a failed send for a sent one', ({ queue, stream }) => ({
    queue: { ...queue, send: (...args) => queue.send(...args).catch(() => undefined) },
    stream: { ...stream, append: (...args) => stream.append(...args).catch(() => []) },
  })),
  settles('forgets the other roads when one has failed', ({ key, version }, { stuck }) => (stuck === undefined ? { op: 'delete', key, version } : undefined)),
  settles('sends over every road again because one has failed', (write, body) => ({ ...write, body: { ...body, roads: [{ kind: 'queue', channel: 'work' }, { kind: 'stream', channel: 'facts' }] } })),
  settles('drops what nobody will ever take', (write, { stuck }) => (stuck === undefined ? write : { op: 'delete', key: write.key, version: write.version })),
  settles('tries for ever what nobody will ever take', (write, { stuck: _, ...body }) => ({ ...write, body })),
  relays('lets a later message overtake an earlier one', ({ store }) => ({
    store: { ...store, query: <Body>(partition: string, query: Parameters<Store['query']>[1]) => (query.prefix.split('|').length > 2 ? Promise.resolve({ rows: [] }) : store.query<Body>(partition, query)) },
  })),
  relays('sends a repetition under another id', ({ stream, queue }) => {
    let nth = 0;
    const renamed = (messages: readonly Message[]): Message[] => messages.map((message) => ({ ...message, id: `${message.id}#${nth++}` }));
    return { stream: { ...stream, append: (name, messages) => stream.append(name, renamed(messages)) }, queue: { ...queue, send: (name, messages, options) => queue.send(name, renamed(messages), options) } };
  }),
  receiving('sweeps only what it has said itself', { createRelay: (ports) => ({ ...machine.createRelay(ports), sweep: async () => 0 }) }),
  receiving('drops a row before it is sent', {
    createRelay(ports) {
      const relay = machine.createRelay(ports);
      return {
        ...relay,
        async pass(rows) {
          for (const { partition, key, version } of rows) await ports.store.commit(partition, { writes: [{ op: 'delete', key, version }] });
          await relay.pass(rows);
        },
      };
    },
  }),
];
