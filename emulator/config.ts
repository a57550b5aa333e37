import { Invalid, type Complaint } from '../ports/index.ts';

/**
 * Which entities there are: from a JSON file in the shape of the official emulators' Config.json (of Service Bus, of Event Hubs, or both in one), or from the flow of
 * the shop. What does not fit is refused as a whole, with a pointer to each place; keys that say something which is not done here are named in `ignored`.
 */
export interface Topology {
  readonly queues: readonly QueueShape[];
  readonly topics: readonly TopicShape[];
  readonly hubs: readonly HubShape[];
}

/** What queues and subscriptions have in common. Durations are milliseconds; undefined: without end. */
export interface QueueSettings {
  readonly lockMs: number;
  readonly ttlMs: number | undefined;
  readonly deadLetterExpired: boolean;
  /** A message that was handed out so often without being settled is dead. */
  readonly deliveriesMax: number;
  readonly sessions: boolean;
  /** Where what arrives goes on to, and where what is dead goes instead of the entity's own dead letters. */
  readonly forwardTo: string | undefined;
  readonly forwardDeadTo: string | undefined;
}

export interface QueueShape extends QueueSettings {
  readonly name: string;
  /** So long a message id is remembered; undefined: duplicates are not looked for. */
  readonly duplicatesMs: number | undefined;
  readonly bytesMax: number;
}

export interface TopicShape {
  readonly name: string;
  readonly ttlMs: number | undefined;
  readonly duplicatesMs: number | undefined;
  readonly bytesMax: number;
  readonly subscriptions: readonly SubscriptionShape[];
}

export interface SubscriptionShape extends QueueSettings {
  readonly name: string;
  /** None given: one that takes everything, `$Default`. */
  readonly rules: readonly RuleShape[];
}

export interface RuleShape {
  readonly name: string;
  readonly filter: FilterShape;
  /** SQL: SET and REMOVE. */
  readonly action: string | undefined;
}

export type FilterShape =
  | { readonly kind: 'sql'; readonly expression: string }
  | {
      readonly kind: 'correlation';
      readonly contentType?: string;
      readonly correlationId?: string;
      readonly label?: string;
      readonly messageId?: string;
      readonly replyTo?: string;
      readonly replyToSessionId?: string;
      readonly sessionId?: string;
      readonly to?: string;
      readonly properties: Readonly<Record<string, string | number | boolean>>;
    };

export interface HubShape {
  readonly name: string;
  readonly partitions: number;
  /** Without `$Default`, which every hub has. */
  readonly groups: readonly string[];
  readonly retentionMs: number;
  /** For one partition. */
  readonly retentionBytes: number;
}

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;

/** https://learn.microsoft.com/azure/service-bus-messaging/service-bus-quotas and .../service-bus-resource-manager-namespace-queue: the defaults of a new queue. */
export const queueDefaults = {
  lockMs: minute,
  ttlMs: undefined,
  deadLetterExpired: false,
  deliveriesMax: 10,
  sessions: false,
  forwardTo: undefined,
  forwardDeadTo: undefined,
  duplicatesMs: undefined,
  bytesMax: 1024 * 1024 * 1024,
} as const satisfies Omit<QueueShape, 'name'>;

export const hubDefaults = { partitions: 4, groups: [], retentionMs: day, retentionBytes: 256 * 1024 * 1024 } as const satisfies Omit<HubShape, 'name'>;

export const limits = { lockMsMin: 1_000, lockMsMax: 5 * minute, deliveriesMax: 2_000, partitionsMax: 1_024, duplicatesMsMin: 20_000, duplicatesMsMax: 7 * day, entitiesMax: 10_000, nameMax: 260, hopsMax: 4 } as const;

/**
 * What the shop needs: a queue for each channel of work, a hub for each stream, and on it a consumer group for each service that listens. The flow is loaded only when
 * somebody asks, because that takes longer than all the rest of a start.
 */
export async function topologyOfFlow(): Promise<Topology> {
  const { subscriptions } = await import('../core/flow.ts');
  const named = (kind: 'queue' | 'stream'): string[] => [...new Set(subscriptions.filter((one) => one.kind === kind).map(({ channel }) => channel))];
  return {
    // The maximum of the broker is a net under the kernel's own (core/kernel/receive.ts), which is reached first.
    queues: named('queue').map((name) => ({ ...queueDefaults, deliveriesMax: 100, name })),
    topics: [],
    hubs: named('stream').map((name) => ({ ...hubDefaults, retentionMs: 7 * day, name, groups: subscriptions.filter(({ channel }) => channel === name).map(({ service }) => service) })),
  };
}

/** The entity as it is looked for: names are the same whatever their case. */
export const keyOf = (name: string): string => name.toLowerCase();

/** Throws `Invalid` unless every name stands for one entity, and is one that the services would take. */
export function checkTopology({ queues, topics, hubs }: Topology): void {
  const complaints: Complaint[] = [];
  const kinds = new Map<string, string>();
  const all = [...queues.map(({ name }) => ({ kind: 'queue', name })), ...topics.map(({ name }) => ({ kind: 'topic', name })), ...hubs.map(({ name }) => ({ kind: 'hub', name }))];
  for (const { kind, name } of all) {
    const before = kinds.get(keyOf(name));
    if (!nameIsGood(name)) complaints.push({ pointer: `/${kind}s/${name}`, detail: 'is not a name: 1 to 260 letters, digits, points, hyphens, underscores and slashes, which begins and ends with a letter or a digit' });
    if (before !== undefined) complaints.push({ pointer: `/${kind}s/${name}`, detail: `is used for a ${before} and a ${kind}` });
    kinds.set(keyOf(name), kind);
  }
  for (const { name, forwardTo, forwardDeadTo } of forwarders({ queues, topics, hubs })) {
    for (const target of [forwardTo, forwardDeadTo]) {
      const kind = target === undefined ? 'queue' : kinds.get(keyOf(target));
      if (kind !== 'queue' && kind !== 'topic') complaints.push({ pointer: name, detail: `forwards to ${target}, which is neither a queue nor a topic` });
    }
  }
  const way = longWay({ queues, topics, hubs });
  if (way) complaints.push({ pointer: '', detail: `forwards over more than ${limits.hopsMax} entities, or in a circle: ${way.join(' → ')}` });
  if (all.length > limits.entitiesMax) complaints.push({ pointer: '', detail: `has more than ${limits.entitiesMax} entities` });
  if (complaints.length > 0) throw new Invalid('the topology is refused', complaints);
}

const nameIsGood = (name: string): boolean => name.length <= limits.nameMax && /^[a-z0-9]([a-z0-9._/-]*[a-z0-9])?$/i.test(name);

/** https://learn.microsoft.com/azure/service-bus-messaging/service-bus-auto-forwarding: four hops. A way that is longer. */
function longWay({ queues, topics }: Topology): string[] | undefined {
  const next = new Map<string, string[]>();
  for (const { name, forwardTo } of queues) next.set(keyOf(name), forwardTo === undefined ? [] : [keyOf(forwardTo)]);
  for (const { name, subscriptions } of topics) next.set(keyOf(name), subscriptions.flatMap(({ forwardTo }) => (forwardTo === undefined ? [] : [keyOf(forwardTo)])));
  const walk = (way: string[]): string[] | undefined => (way.length > limits.hopsMax + 1 ? way : (next.get(way.at(-1)!) ?? []).map((to) => walk([...way, to])).find((found) => found));
  for (const start of next.keys()) {
    const way = walk([start]);
    if (way) return way;
  }
  return undefined;
}

function forwarders({ queues, topics }: Topology): (QueueSettings & { name: string })[] {
  return [
    ...queues.map((queue) => ({ ...queue, name: `/queues/${queue.name}` })),
    ...topics.flatMap((topic) => topic.subscriptions.map((subscription) => ({ ...subscription, name: `/topics/${topic.name}/${subscription.name}` }))),
  ];
}

// ---------------------------------------------------------------- Config.json

/** Gathers what is wrong and what is not known while the file is read from top to bottom. */
interface Reading {
  readonly complaints: Complaint[];
  readonly ignored: string[];
}

type Json = Readonly<Record<string, unknown>>;

export interface Config {
  readonly topology: Topology;
  readonly ignored: readonly string[];
}

/** Reads the text of a Config.json. `Invalid` names everything that does not fit. */
export function readConfig(text: string): Config {
  const config = readEntities(text);
  checkTopology(config.topology);
  return config;
}

/** The same without a look at how the entities fit together: for some that join others. */
export function readEntities(text: string): Config {
  const reading: Reading = { complaints: [], ignored: [] };
  const at = place(reading, '', parse(text));
  const user = at.in('UserConfig');
  const namespaces = [...user.each('Namespaces'), ...user.each('NamespaceConfig')];
  const topology: Topology = {
    queues: namespaces.flatMap((namespace) => namespace.each('Queues').map(queueAt)),
    topics: namespaces.flatMap((namespace) => namespace.each('Topics').map(topicAt)),
    hubs: namespaces.flatMap((namespace) => namespace.each('Entities').map(hubAt)),
  };
  for (const namespace of namespaces) namespace.done('Name', 'Type');
  user.done('Logging', 'LoggingConfig');
  at.done();
  if (namespaces.length === 0) reading.complaints.push({ pointer: '/UserConfig', detail: 'has neither Namespaces nor NamespaceConfig' });
  if (reading.complaints.length > 0) throw new Invalid('the configuration is refused', reading.complaints);
  return { topology, ignored: reading.ignored };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text.replace(/^\uFEFF/, ''));
  } catch (error) {
    throw new Invalid(`the configuration is not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** An object of the file, asked for one key after the other; what nobody asked for is named at the end. */
interface Place {
  in(key: string): Place;
  each(key: string): Place[];
  text(key: string): string;
  textOrNone(key: string): string | undefined;
  yes(key: string): boolean;
  count(key: string, range: { from: number; to: number; otherwise: number }): number;
  duration(key: string, range: { from: number; to: number; otherwise: number | undefined }): number | undefined;
  /** Key and value of every entry. */
  entries(key: string): Record<string, string | number | boolean>;
  complain(key: string, detail: string): void;
  done(...known: string[]): void;
}

function place(reading: Reading, pointer: string, value: unknown): Place {
  const asked = new Set<string>();
  const object: Json = isJson(value) ? value : {};
  if (!isJson(value) && value !== undefined) reading.complaints.push({ pointer, detail: 'must be an object' });

  function get(key: string): unknown {
    asked.add(key);
    return Object.hasOwn(object, key) ? object[key] : undefined;
  }
  const complain = (key: string, detail: string): void => void reading.complaints.push({ pointer: `${pointer}/${key}`, detail });

  return {
    in: (key) => place(reading, `${pointer}/${key}`, get(key)),
    each(key) {
      const items = get(key) ?? [];
      if (Array.isArray(items)) return items.map((item, index) => place(reading, `${pointer}/${key}/${index}`, item ?? null));
      complain(key, 'must be a list');
      return [];
    },
    text(key) {
      const found = get(key);
      if (typeof found === 'string' && found !== '') return found;
      complain(key, 'must be a text');
      return '';
    },
    textOrNone(key) {
      const found = get(key) ?? '';
      if (typeof found !== 'string') complain(key, 'must be a text');
      return typeof found === 'string' && found !== '' ? found : undefined;
    },
    yes(key) {
      const found = get(key) ?? false;
      if (typeof found !== 'boolean') complain(key, 'must be true or false');
      return found === true;
    },
    count(key, { from, to, otherwise }) {
      const found = get(key) ?? otherwise;
      const number = typeof found === 'string' && /^\d+$/.test(found) ? Number(found) : found;
      if (typeof number === 'number' && Number.isInteger(number) && number >= from && number <= to) return number;
      complain(key, `must be a whole number from ${from} to ${to}`);
      return otherwise;
    },
    duration(key, { from, to, otherwise }) {
      const found = get(key);
      if (found === undefined || found === null || found === '') return otherwise;
      const milliseconds = typeof found === 'string' ? durationOf(found) : undefined;
      // The longest duration of .NET means: for ever.
      if (milliseconds !== undefined && milliseconds >= foreverMs && otherwise === undefined) return undefined;
      if (milliseconds !== undefined && milliseconds >= from && milliseconds <= to) return milliseconds;
      complain(key, `must be a duration of ISO 8601 from ${from / 1_000} to ${to / 1_000} seconds`);
      return otherwise;
    },
    entries(key) {
      const found = get(key) ?? {};
      if (!isJson(found)) complain(key, 'must be an object');
      const entries: Record<string, string | number | boolean> = {};
      for (const [name, item] of Object.entries(isJson(found) ? found : {})) {
        if (typeof item === 'string' || typeof item === 'number' || typeof item === 'boolean') entries[name] = item;
        else complain(`${key}/${name}`, 'must be a text, a number, true or false');
      }
      return entries;
    },
    complain,
    done(...known) {
      for (const key of known) asked.add(key);
      reading.ignored.push(...Object.keys(object).filter((key) => !asked.has(key)).map((key) => `${pointer}/${key}`));
    },
  };
}

const isJson = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value);

/** P10675199DT2H48M5.4775807S is the longest of .NET. */
const foreverMs = 10_675_199 * day;

/** ISO 8601 durations of days, hours, minutes and seconds; undefined for anything else. */
export function durationOf(text: string): number | undefined {
  const found = /^P(?:(\d{1,9})D)?(?:T(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,9}(?:\.\d{1,9})?)S)?)?$/.exec(text);
  if (!found || text.endsWith('P') || text.endsWith('T')) return undefined;
  const [days, hours, minutes, seconds] = found.slice(1).map((part) => Number(part ?? 0));
  return Math.round(days! * day + hours! * hour + minutes! * minute + seconds! * 1_000);
}

const anyDuration = { from: 1_000, to: foreverMs, otherwise: undefined };

function settingsAt(properties: Place): QueueSettings {
  return {
    lockMs: properties.duration('LockDuration', { from: limits.lockMsMin, to: limits.lockMsMax, otherwise: queueDefaults.lockMs })!,
    ttlMs: properties.duration('DefaultMessageTimeToLive', anyDuration),
    deadLetterExpired: properties.yes('DeadLetteringOnMessageExpiration'),
    deliveriesMax: properties.count('MaxDeliveryCount', { from: 1, to: limits.deliveriesMax, otherwise: queueDefaults.deliveriesMax }),
    sessions: properties.yes('RequiresSession'),
    forwardTo: properties.textOrNone('ForwardTo'),
    forwardDeadTo: properties.textOrNone('ForwardDeadLetteredMessagesTo'),
  };
}

function duplicatesAt(properties: Place): number | undefined {
  const asked = properties.yes('RequiresDuplicateDetection');
  const window = properties.duration('DuplicateDetectionHistoryTimeWindow', { from: limits.duplicatesMsMin, to: limits.duplicatesMsMax, otherwise: 10 * minute });
  return asked ? window : undefined;
}

const megabytes = (properties: Place): number => properties.count('MaxSizeInMegabytes', { from: 1, to: 81_920, otherwise: queueDefaults.bytesMax / 1024 / 1024 }) * 1024 * 1024;

function queueAt(at: Place): QueueShape {
  const properties = at.in('Properties');
  const queue = { name: at.text('Name'), ...settingsAt(properties), duplicatesMs: duplicatesAt(properties), bytesMax: megabytes(properties) };
  properties.done();
  at.done();
  return queue;
}

function topicAt(at: Place): TopicShape {
  const properties = at.in('Properties');
  const topic = {
    name: at.text('Name'),
    ttlMs: properties.duration('DefaultMessageTimeToLive', anyDuration),
    duplicatesMs: duplicatesAt(properties),
    bytesMax: megabytes(properties),
    subscriptions: at.each('Subscriptions').map(subscriptionAt),
  };
  const names = topic.subscriptions.map(({ name }) => keyOf(name));
  for (const name of new Set(names)) if (names.indexOf(name) !== names.lastIndexOf(name)) at.complain('Subscriptions', `has '${name}' twice`);
  properties.done();
  at.done();
  return topic;
}

function subscriptionAt(at: Place): SubscriptionShape {
  const properties = at.in('Properties');
  const subscription = { name: at.text('Name'), ...settingsAt(properties), rules: at.each('Rules').map(ruleAt) };
  properties.done();
  at.done();
  return subscription;
}

function ruleAt(at: Place): RuleShape {
  const properties = at.in('Properties');
  const rule = { name: at.text('Name'), filter: filterAt(properties), action: properties.in('Action').textOrNone('SqlExpression') };
  properties.done();
  at.done();
  return rule;
}

function filterAt(properties: Place): FilterShape {
  const kind = properties.text('FilterType');
  const correlation = properties.in('CorrelationFilter');
  const sql = properties.in('SqlFilter');
  if (kind.toLowerCase() === 'sql') return { kind: 'sql', expression: sql.text('SqlExpression') };
  if (kind.toLowerCase() !== 'correlation') properties.complain('FilterType', 'must be Sql or Correlation');
  const filter = {
    kind: 'correlation' as const,
    contentType: correlation.textOrNone('ContentType'),
    correlationId: correlation.textOrNone('CorrelationId'),
    label: correlation.textOrNone('Label'),
    messageId: correlation.textOrNone('MessageId'),
    replyTo: correlation.textOrNone('ReplyTo'),
    replyToSessionId: correlation.textOrNone('ReplyToSessionId'),
    sessionId: correlation.textOrNone('SessionId'),
    to: correlation.textOrNone('To'),
    properties: correlation.entries('Properties'),
  };
  correlation.done();
  return filter;
}

function hubAt(at: Place): HubShape {
  const properties = at.in('Properties');
  const hub = {
    name: at.text('Name'),
    partitions: at.count('PartitionCount', { from: 1, to: limits.partitionsMax, otherwise: hubDefaults.partitions }),
    groups: at.each('ConsumerGroups').map((group) => {
      const name = group.text('Name');
      group.done();
      return name;
    }).filter((name) => keyOf(name) !== '$default'),
    retentionMs: properties.duration('MessageRetention', { from: 1_000, to: 90 * day, otherwise: hubDefaults.retentionMs })!,
    retentionBytes: properties.count('RetentionBytesPerPartition', { from: 1, to: Number.MAX_SAFE_INTEGER, otherwise: hubDefaults.retentionBytes }),
  };
  properties.done();
  at.done();
  return hub;
}
