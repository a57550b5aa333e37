import type { Clock } from '../ports/index.ts';
import { startAmqp, type AmqpServer, type Faults, type Service } from './amqp.ts';
import { checkTopology, keyOf, topologyOfFlow, type Topology } from './config.ts';
import { startControl, type Control, type Controlled, type Kind } from './control.ts';
import { createEventHubs, type EventHubs } from './eventhubs.ts';
import { openJournal, type Book, type Journal } from './journal.ts';
import { createServiceBus, type EntityChange, type ServiceBus, type ServiceBusOptions } from './servicebus.ts';

/**
 * Service Bus and Event Hubs in one process, on one port, for the unmodified SDKs: an emulator for laptops and tests. What it does otherwise than the services themselves
 * stands in README.md.
 */
export interface EmulatorOptions {
  /** 0: any free one. 5672 if not said. */
  readonly port?: number | undefined;
  /** Loopback unless told otherwise: there is no password. */
  readonly host?: string | undefined;
  /** What the shop needs, if not said. */
  readonly topology?: Topology | undefined;
  /** Where everything is kept; nothing is kept if not said. */
  readonly dataDir?: string | undefined;
  /** Of locks, schedules, expiry and retention; that of the machine if not said. */
  readonly clock?: Clock | undefined;
  /** Of the control endpoint, 0 for any free one; there is none if not said. */
  readonly controlPort?: number | undefined;
  /** So long a client may be silent, twice: `AmqpOptions`. */
  readonly idleTimeoutMs?: number | undefined;
  /** Told about clients that break the protocol. */
  readonly trouble?: ((text: string) => void) | undefined;
}

export interface Emulator {
  readonly host: string;
  readonly port: number;
  readonly controlPort: number | undefined;
  /** For all SDKs; `EntityPath` is not in it. */
  readonly connectionString: string;
  readonly faults: Faults;
  /** Entities with counts, and how many are connected. */
  entities(): ReturnType<ServiceBus['describe']> & ReturnType<EventHubs['describe']> & { readonly connections: number };
  /** Creates what is not there yet; false if all of it was there. `Invalid` if a name is taken by another kind. */
  create(topology: Topology): boolean;
  remove(kind: Kind, name: string): boolean;
  /** All locks of an entity run out now; says how many; undefined if there is no such entity. */
  loseLocks(entity: string): number | undefined;
  /** Drops everybody, and everything that is to be kept is on disk. */
  close(): Promise<void>;
}

export async function startEmulator(options: EmulatorOptions = {}): Promise<Emulator> {
  const { host = '127.0.0.1', port = 5672, topology = await topologyOfFlow(), clock = machineClock, controlPort, dataDir, trouble } = options;
  checkTopology(topology);
  const journal = dataDir === undefined ? undefined : openJournal(dataDir);
  const stock = createStock(clock, journal);
  let server: AmqpServer | undefined;
  let control: Control | undefined;

  /** Also after half a start. */
  async function close(): Promise<void> {
    await Promise.all([server?.close(), control?.close()]);
    stock.bus.close();
    journal?.close();
  }

  try {
    stock.fill(topology);
    server = await startAmqp({ host, port, services: [apart(stock.bus, /eventhub/i), apart(stock.hubs, /servicebus/i)], clock, idleTimeoutMs: options.idleTimeoutMs, beforeSending: journal?.flush, trouble });
    const controlled = controlledOf(stock, server, journal);
    control = controlPort === undefined ? undefined : await startControl(controlled, { host, port: controlPort });
    return { host, port: server.port, controlPort: control?.port, connectionString: connectionStringOf(host, server.port), ...controlled, close };
  } catch (error) {
    await close();
    throw error;
  }
}

function controlledOf({ bus, hubs, create, remove }: Stock, server: AmqpServer, journal: Journal | undefined): Pick<Emulator, keyof Controlled> & Pick<Emulator, 'entities'> {
  /** Whoever asks over HTTP is promised the same as whoever asks over AMQP. */
  const kept = <Result>(result: Result): Result => (journal?.flush(), result);
  return {
    faults: server.faults,
    entities: () => ({ ...bus.describe(), ...hubs.describe(), connections: server.connections(), unsettled: server.unsettled() }),
    create: (topology) => kept(create(topology)),
    remove: (kind, name) => kept(remove(kind, name)),
    loseLocks: (entity) => kept(bus.loseLocks(entity)),
  };
}

/** In the cloud the two services have namespaces of their own, and a client of one finds nothing of the other. Whoever does not say what he is may have both. */
const apart = (service: Service, others: RegExp): Service => ({
  attach: (wish) => (others.test(wish.peer.agent ?? '') ? undefined : service.attach(wish)),
  manages: (entity) => service.manages(entity),
  request: (entity, request) => service.request(entity, request),
});

// ---------------------------------------------------------------- all entities

/** The entities of both services, so that a name stands for one of them only, and what was created while it ran is there again after a restart. */
interface Stock {
  readonly bus: ServiceBus;
  readonly hubs: EventHubs;
  /** Once, at the start: what the configuration says, and then what was created beyond it. */
  fill(topology: Topology): void;
  create(topology: Topology): boolean;
  remove(kind: Kind, name: string): boolean;
}

type Made = { readonly is: 'created'; readonly topology: Topology } | { readonly is: 'removed'; readonly kind: Kind; readonly name: string };

const kinds = ['queues', 'topics', 'hubs'] as const satisfies readonly Kind[];
const empty: Topology = { queues: [], topics: [], hubs: [] };

function createStock(clock: Clock, journal: Journal | undefined): Stock {
  const bus: ServiceBus = createServiceBus({ clock, ...booksOf(journal, () => bus) });
  const hubs = createEventHubs({ clock, journal });
  let known = empty;
  /** What was created beyond the configuration. */
  let added = empty;
  const book = journal?.open<Made>('topology', { snapshot: () => [{ is: 'created', topology: added }], liveBytes: () => JSON.stringify(added).length });

  function make(wanted: Topology): Topology {
    const missing = each(wanted, (kind, { name }) => !has(known[kind], name));
    const next = joined(known, missing);
    checkTopology(next);
    for (const shape of missing.queues) bus.createQueue(shape);
    for (const shape of missing.topics) bus.createTopic(shape);
    for (const shape of missing.hubs) hubs.createHub(shape);
    known = next;
    return missing;
  }

  function fill(topology: Topology): void {
    make(topology);
    for (const change of book?.recorded() ?? []) added = change.is === 'created' ? joined(added, change.topology) : without(added, change.kind, change.name);
    // What the configuration says now goes before what was created when it said something else.
    added = each(added, (_, { name }) => !kinds.some((kind) => has(known[kind], name)));
    make(added);
  }

  function create(wanted: Topology): boolean {
    const made = make(wanted);
    if (size(made) === 0) return false;
    added = joined(added, made);
    book?.append({ is: 'created', topology: made });
    return true;
  }

  function remove(kind: Kind, name: string): boolean {
    if (!has(known[kind], name)) return false;
    const next = without(known, kind, name);
    // What others forward to stays.
    checkTopology(next);
    known = next;
    added = without(added, kind, name);
    book?.append({ is: 'removed', kind, name });
    return kind === 'hubs' ? hubs.remove(name) : bus.remove(name);
  }

  return { bus, hubs, fill, create, remove };
}

/** A book for each queue, topic and subscription, opened when the entity is. */
function booksOf(journal: Journal | undefined, bus: () => ServiceBus): Pick<ServiceBusOptions, 'record' | 'recorded' | 'erase'> {
  if (journal === undefined) return {};
  const books = new Map<string, Book<EntityChange>>();
  function bookOf(path: string): Book<EntityChange> {
    const book = books.get(path) ?? journal!.open<EntityChange>(`bus/${keyOf(path)}`, { snapshot: () => bus().snapshotOf(path), liveBytes: () => bus().bytesOf(path) });
    books.set(path, book);
    return book;
  }
  return {
    record: (path, change) => bookOf(path).append(change),
    recorded: (path) => bookOf(path).recorded(),
    erase(path) {
      bookOf(path).remove();
      books.delete(path);
    },
  };
}

function each(topology: Topology, keep: (kind: Kind, shape: { readonly name: string }) => boolean): Topology {
  return { queues: topology.queues.filter((one) => keep('queues', one)), topics: topology.topics.filter((one) => keep('topics', one)), hubs: topology.hubs.filter((one) => keep('hubs', one)) };
}

const joined = (a: Topology, b: Topology): Topology => ({ queues: [...a.queues, ...b.queues], topics: [...a.topics, ...b.topics], hubs: [...a.hubs, ...b.hubs] });
const without = (topology: Topology, gone: Kind, name: string): Topology => each(topology, (kind, one) => kind !== gone || keyOf(one.name) !== keyOf(name));
const size = ({ queues, topics, hubs }: Topology): number => queues.length + topics.length + hubs.length;
const has = (shapes: readonly { readonly name: string }[], name: string): boolean => shapes.some((one) => keyOf(one.name) === keyOf(name));

/** An address that one can dial: who listens everywhere is dialled on loopback. */
function connectionStringOf(host: string, port: number): string {
  const dialled = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host;
  return `Endpoint=sb://${dialled.includes(':') ? `[${dialled}]` : dialled}:${port};SharedAccessKeyName=any;SharedAccessKey=any;UseDevelopmentEmulator=true;`;
}

const machineClock: Clock = {
  now: () => Date.now(),
  sleep: (milliseconds, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      // Node's timers go no further than 2^31 ms; a sleep that ends too early is asked for again.
      const timer = setTimeout(end, Math.min(milliseconds, 2 ** 31 - 1));
      signal?.addEventListener('abort', end, { once: true });
      function end(): void {
        clearTimeout(timer);
        signal?.removeEventListener('abort', end);
        resolve();
      }
    }),
};
