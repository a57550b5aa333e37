import { Invalid, type Clock } from '../ports/index.ts';
import { notFound, type AmqpError, type Answer, type Incoming, type Inlet, type Outlet, type OutLink, type Request, type Response, type Service, type Wish } from './amqp.ts';
import { keyOf, type HubShape } from './config.ts';
import type { Journal } from './journal.ts';
import { createHub, type Event, type Fresh, type Hub, type HubChange, type Last, type Partition, type PartitionState, type Position } from './log.ts';
import { annotationsSection, batchFormat, dataOf, deliveryAnnotationsSection, entriesOf, int, isDescribed, long, mapOf, takeApart, timestamp, type Sections, type Value, type Writable } from './message.ts';

/**
 * Event Hubs on the wire: which links and requests mean what to which hub. What a hub keeps, and where a reader begins, is log.ts.
 *
 * Written from https://learn.microsoft.com/azure/event-hubs/: event-hubs-features (publishers, consumer groups, offsets, retention), event-hubs-event-processor-host (epochs),
 * event-hubs-quotas, event-hubs-messaging-exceptions, and https://learn.microsoft.com/azure/service-bus-messaging/service-bus-amqp-protocol-guide.
 *
 * Addresses: `hub` and `hub/Partitions/0` to send, `hub/ConsumerGroups/group/Partitions/0` to receive, `$management` for questions; without regard to case.
 */
export interface EventHubs extends Service {
  createHub(shape: HubShape): void;
  /** With all that is in it; its links are closed. False if there is none. */
  remove(name: string): boolean;
  describe(): { readonly hubs: readonly HubCounts[] };
}

export interface HubCounts {
  readonly name: string;
  readonly groups: readonly string[];
  readonly partitions: readonly { readonly begin: number; readonly next: number; readonly events: number; readonly bytes: number; readonly readers: number }[];
}

export interface EventHubsOptions {
  readonly clock: Clock;
  /** Where what must outlive the process is kept. */
  readonly journal?: Journal | undefined;
}

/** https://learn.microsoft.com/azure/event-hubs/event-hubs-quotas: a publication, of one event or of a batch. */
export const publicationBytesMax = 1024 * 1024;
/** The same page: without an owner level, of one partition in one consumer group. */
export const readersMax = 5;
/** Handed out at once before it is looked again whether the client still takes them. */
const readAtOnce = 256;

interface Entity {
  readonly shape: HubShape;
  readonly hub: Hub;
  readonly groups: ReadonlyMap<string, string>;
  /** By partition. */
  readonly readers: readonly Set<Reader>[];
  forget(): void;
}

/** A link that receives. */
interface Reader {
  readonly group: string;
  readonly epoch: number | undefined;
  readonly name: string;
  /** Wants to know with each event which one is the last. */
  readonly metrics: boolean;
  /** The number of the next event. */
  next: number;
  link: OutLink | undefined;
  /** Why it was closed before it had a link. */
  closed: AmqpError | undefined;
}

export function createEventHubs({ clock, journal }: EventHubsOptions): EventHubs {
  const entities = new Map<string, Entity>();

  function open(shape: HubShape): void {
    const { name } = shape;
    if (entities.has(keyOf(name))) throw new Invalid(`there is a '${name}' already`);
    const book = journal?.open<HubChange>(`hub/${keyOf(name)}`, { snapshot: () => hub.snapshot(clock.now()), liveBytes: () => bytesOf(hub, clock.now()) });
    const hub: Hub = createHub(shape, { now: clock.now(), record: (change) => book?.append(change) });
    let known = false;
    for (const change of book?.recorded() ?? []) {
      hub.replay(change);
      known = true;
    }
    if (!known) book?.append({ is: 'created', at: hub.createdAt });
    const groups = new Map([defaultGroup, ...shape.groups].map((group) => [keyOf(group), group]));
    entities.set(keyOf(name), { shape, hub, groups, readers: hub.partitions.map(() => new Set<Reader>()), forget: () => book?.remove() });
  }

  function remove(name: string): boolean {
    const entity = entities.get(keyOf(name));
    if (entity === undefined || !entities.delete(keyOf(name))) return false;
    for (const readers of entity.readers) for (const reader of readers) close(reader, notFound(name));
    entity.forget();
    return true;
  }

  // ---- links

  function attach(wish: Wish): Answer | undefined {
    const found = placeOf(wish.address, entities);
    if (found === undefined) return undefined;
    const { entity, group, partition } = found;
    if (partition !== undefined && !isPartition(entity, partition)) return { refused: badPartition(entity, partition) };
    if (wish.role === 'sender') return group === undefined ? inlet(entity, partition) : { refused: notAllowed('Nothing can be sent to a consumer group.') };
    if (group === undefined || partition === undefined) return { refused: notAllowed('Events are received from a partition by a consumer group.') };
    if (!entity.groups.has(keyOf(group))) return { refused: notFound(`${entity.shape.name}/ConsumerGroups/${group}`) };
    return reader(entity, keyOf(group), entity.hub.partitions[Number(partition)]!, wish);
  }

  function inlet(entity: Entity, partition: string | undefined): Inlet {
    return { maxMessageBytes: publicationBytesMax, take: (incoming) => take(entity, partition, incoming) };
  }

  function take(entity: Entity, partition: string | undefined, incoming: Incoming): void {
    if (entities.get(keyOf(entity.shape.name)) !== entity) return incoming.reject(notFound(entity.shape.name));
    const { key, events } = publicationOf(incoming.bytes, incoming.format);
    if (partition !== undefined && key !== undefined) return incoming.reject(notAllowed('An event with a partition key cannot be sent to a partition.'));
    const target = partition !== undefined ? Number(partition) : key !== undefined ? entity.hub.partitionOf(key) : entity.hub.nextPartition();
    entity.hub.partitions[target]!.append(events, clock.now());
    incoming.accept();
    for (const one of entity.readers[target]!) pour(entity, target, one);
  }

  function reader(entity: Entity, group: string, partition: Partition, wish: Wish): Answer {
    const position = positionOf(wish.filters.get(selectorFilter));
    if (position === undefined) return { refused: { condition: 'amqp:invalid-field', description: 'The filter of the receiver is none that is known.' } };
    const start = partition.find(position, clock.now());
    if (typeof start !== 'number') return { refused: beyond(position, start.beyond) };
    const one: Reader = { group, epoch: epochOf(wish), name: wish.name, metrics: wish.desired.includes(runtimeMetrics), next: start, link: undefined, closed: undefined };
    const readers = entity.readers[partition.id]!;
    const refused = settleRights(readers, one);
    if (refused !== undefined) return { refused };
    readers.add(one);
    return outlet(entity, partition.id, one, wish);
  }

  function outlet(entity: Entity, partition: number, one: Reader, wish: Wish): Outlet {
    return {
      ...(wish.desired.includes(runtimeMetrics) ? { offered: [runtimeMetrics] } : {}),
      flow(link) {
        one.link = link;
        if (one.closed !== undefined) return link.close(one.closed);
        pour(entity, partition, one);
      },
      closed: () => void entity.readers[partition]!.delete(one),
    };
  }

  function pour(entity: Entity, id: number, one: Reader): void {
    const partition = entity.hub.partitions[id]!;
    const now = clock.now();
    while (one.link !== undefined && one.link.credit > 0) {
      const events = partition.read(one.next, Math.min(one.link.credit, readAtOnce), now);
      if (events.length === 0) return;
      const metrics = one.metrics ? metricsOf(partition.state(now).last, now) : undefined;
      for (const event of events) one.link.send(encodeEvent(event, metrics), { tag: tagOf(event.sequence), settled: true });
      one.next = events.at(-1)!.sequence + 1;
    }
  }

  // ---- questions

  function request(_: string, asked: Request): Response | undefined {
    if (asked.operation !== 'READ') return undefined;
    const name = String(asked.properties.get('name') ?? '');
    const entity = entities.get(keyOf(name));
    if (entity === undefined) return failed(notFound(name), 404);
    const type = asked.properties.get('type');
    if (type === 'com.microsoft:eventhub') return { status: 200, description: 'OK', body: hubProperties(entity) };
    if (type !== 'com.microsoft:partition') return undefined;
    const partition = String(asked.properties.get('partition') ?? '');
    if (!isPartition(entity, partition)) return failed(badPartition(entity, partition), 400);
    return { status: 200, description: 'OK', body: partitionProperties(entity, partition, entity.hub.partitions[Number(partition)]!.state(clock.now())) };
  }

  return {
    attach,
    manages: (entity) => entity === '',
    request,
    createHub: open,
    remove,
    describe: () => ({ hubs: [...entities.values()].map((entity) => countsOf(entity, clock.now())) }),
  };
}

const bytesOf = (hub: Hub, now: number): number => hub.partitions.reduce((sum, partition) => sum + partition.state(now).bytes, 0);

function countsOf({ shape, hub, groups, readers }: Entity, now: number): HubCounts {
  const partitions = hub.partitions.map((partition) => {
    const { begin, last, events, bytes } = partition.state(now);
    return { begin, next: last.sequence + 1, events, bytes, readers: readers[partition.id]!.size };
  });
  return { name: shape.name, groups: [...groups.values()], partitions };
}

// ---------------------------------------------------------------- addresses and positions

const defaultGroup = '$Default';
const runtimeMetrics = 'com.microsoft:enable-receiver-runtime-metric';
const selectorFilter = 'apache.org:selector-filter:string';

interface Place {
  readonly entity: Entity;
  readonly group: string | undefined;
  readonly partition: string | undefined;
}

/** Names of hubs may have slashes in them, so what follows the name is looked for from behind. */
function placeOf(address: string, entities: ReadonlyMap<string, Entity>): Place | undefined {
  const found = /^(?<name>.+?)(?:\/ConsumerGroups\/(?<group>[^/]+))?(?:\/Partitions\/(?<partition>[^/]+))?\/?$/i.exec(address)?.groups;
  const entity = entities.get(keyOf(found?.['name'] ?? ''));
  return entity && { entity, group: found!['group'], partition: found!['partition'] };
}

const isPartition = ({ hub }: Entity, id: string): boolean => /^(0|[1-9]\d{0,4})$/.test(id) && Number(id) < hub.partitions.length;

/** None at all means the beginning: https://learn.microsoft.com/azure/service-bus-messaging/service-bus-amqp-protocol-guide. */
function positionOf(filter: Value | undefined): Position | undefined {
  if (filter === undefined) return { is: 'earliest' };
  const text = isDescribed(filter) ? filter.value : filter;
  const found = typeof text === 'string' ? /^amqp\.annotation\.x-opt-(?<field>offset|sequence-number|enqueued-time)\s*(?<sign>>=?)\s*'(?<value>[^']*)'$/.exec(text.trim())?.groups : undefined;
  if (found === undefined) return undefined;
  const value = found['value']!;
  if (value === '@latest') return { is: 'latest' };
  if (found['field'] === 'offset' && value === '-1') return { is: 'earliest' };
  if (!/^-?\d{1,16}$/.test(value)) return undefined;
  return { is: fields[found['field']!]!, value: Number(value), inclusive: found['sign'] === '>=' };
}

const fields: Readonly<Record<string, 'offset' | 'sequence' | 'time'>> = { offset: 'offset', 'sequence-number': 'sequence', 'enqueued-time': 'time' };

// ---------------------------------------------------------------- who may read

function epochOf({ properties }: Wish): number | undefined {
  const epoch = properties.get('com.microsoft:epoch');
  return typeof epoch === 'number' || typeof epoch === 'bigint' ? Number(epoch) : undefined;
}

/**
 * One reader with an owner level is alone in its group; one with the same or a higher level takes the place over, from readers without any, too; see
 * https://learn.microsoft.com/azure/event-hubs/event-hubs-event-processor-host, "Epoch". Says why it may not read.
 */
function settleRights(readers: ReadonlySet<Reader>, wanted: Reader): AmqpError | undefined {
  const others = [...readers].filter(({ group }) => group === wanted.group);
  const highest = Math.max(-1, ...others.map(({ epoch }) => epoch ?? -1));
  if (wanted.epoch === undefined) {
    if (highest >= 0) return stolen(`At least one receiver for the endpoint is created with epoch of '${highest}', and so non-epoch receiver is not allowed. Either reconnect with a higher epoch, or make sure all epoch receivers are closed or disconnected.`);
    if (others.length >= readersMax) return { condition: 'amqp:resource-limit-exceeded', description: `Exceeded the maximum number of allowed receivers per partition in a consumer group which is ${readersMax}.` };
    return undefined;
  }
  if (wanted.epoch < highest) return stolen(`A receiver with a higher epoch '${highest}' already exists. A new receiver with epoch '${wanted.epoch}' cannot be created. Make sure you are creating receiver with increasing epoch value to ensure connectivity, or ensure all old epoch receivers are closed or disconnected.`);
  for (const other of others) close(other, stolen(`New receiver '${wanted.name}' with higher epoch of '${wanted.epoch}' is created hence current receiver '${other.name}' with epoch '${other.epoch ?? 'none'}' is getting disconnected. If you are recreating the receiver, make sure a higher epoch is used.`));
  return undefined;
}

function close(reader: Reader, error: AmqpError): void {
  reader.closed = error;
  reader.link?.close(error);
}

// ---------------------------------------------------------------- errors

const stolen = (description: string): AmqpError => ({ condition: 'amqp:link:stolen', description });
const notAllowed = (description: string): AmqpError => ({ condition: 'amqp:not-allowed', description });
const failed = ({ condition, description }: AmqpError, status: number): Response => ({ status, condition, description });

const badPartition = ({ hub, shape }: Entity, id: string): AmqpError => ({
  condition: 'com.microsoft:argument-out-of-range',
  description: `The specified partition '${id}' is invalid for the event hub '${shape.name}'. It should be between 0 and ${hub.partitions.length - 1}.`,
});

function beyond(position: Position, last: Last): AmqpError {
  const [what, value] = position.is === 'offset' ? ['offset', last.offset] : ['sequence number', last.sequence];
  return { condition: 'com.microsoft:argument-error', description: `The supplied ${what} '${'value' in position ? position.value : ''}' is invalid. The last ${what} in the system is '${value}'` };
}

// ---------------------------------------------------------------- events

const partitionKey = 'x-opt-partition-key';

/** The key of a batch stands on its envelope, and on each event too; an event of its own has it on itself. */
function publicationOf(bytes: Buffer, format: number): { readonly key: string | undefined; readonly events: readonly Fresh[] } {
  if (format !== 0 && format !== batchFormat) throw new Invalid(`no such message format: ${format}`);
  const envelope = takeApart(bytes);
  const messages = format === 0 ? [envelope] : dataOf(envelope.body).map(takeApart);
  if (messages.length === 0) throw new Invalid('a batch has no events');
  const key = keyIn(envelope) ?? keyIn(messages[0]!);
  return { key, events: messages.map((message) => ({ bytes: message.bytes, key: key ?? keyIn(message) })) };
}

function keyIn({ annotations }: Sections): string | undefined {
  const key = mapOf(annotations).get(partitionKey);
  return typeof key === 'string' ? key : undefined;
}

/** As it came, with what the service knows of it. */
function encodeEvent({ bytes, sequence, offset, at, key }: Event, metrics: Buffer | undefined): Buffer {
  const { header, annotations, properties, applicationProperties, body } = takeApart(bytes);
  const said: Map<string, Writable> = entriesOf(annotations);
  said.set('x-opt-sequence-number', long(sequence)).set('x-opt-offset', offset).set('x-opt-enqueued-time', timestamp(at));
  if (key !== undefined) said.set(partitionKey, key);
  return Buffer.concat([header, metrics, annotationsSection(said), properties, applicationProperties, body].filter((section) => section !== undefined));
}

const metricsOf = (last: Last, now: number): Buffer =>
  deliveryAnnotationsSection({
    last_enqueued_sequence_number: long(last.sequence),
    last_enqueued_offset: last.offset,
    last_enqueued_time_utc: timestamp(last.at),
    runtime_info_retrieval_time_utc: timestamp(now),
  });

function tagOf(sequence: number): Buffer {
  const tag = Buffer.allocUnsafe(8);
  tag.writeBigUInt64BE(BigInt(sequence));
  return tag;
}

const hubProperties = ({ shape, hub }: Entity): Writable => ({
  name: shape.name,
  type: 'com.microsoft:eventhub',
  created_at: timestamp(hub.createdAt),
  partition_count: int(hub.partitions.length),
  partition_ids: hub.partitions.map(({ id }) => String(id)),
  georeplication_factor: int(1),
});

const partitionProperties = ({ shape }: Entity, partition: string, { begin, last, empty }: PartitionState): Writable => ({
  name: shape.name,
  type: 'com.microsoft:partition',
  partition,
  begin_sequence_number: long(begin),
  last_enqueued_sequence_number: long(last.sequence),
  last_enqueued_offset: last.offset,
  last_enqueued_time_utc: timestamp(last.at),
  is_partition_empty: empty,
});
