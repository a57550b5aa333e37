import { randomUUID } from 'node:crypto';
import { Invalid, type Clock } from '../ports/index.ts';
import { notFound, type AmqpError, type Answer, type Incoming, type OutLink, type Outcome, type Outlet, type Request, type Response, type Service, type Wish } from './amqp.ts';
import { keyOf, limits, queueDefaults, type QueueShape, type SubscriptionShape, type TopicShape } from './config.ts';
import {
  annotationsSection,
  applicationPropertiesSection,
  bytesOfUuid,
  entriesOf,
  headerOf,
  headerSection,
  int,
  isMap,
  long,
  longs,
  mapOf,
  messagesOf,
  propertiesOf,
  symbol,
  takeApart,
  timestamp,
  timestamps,
  uuid,
  uuidOf,
  withMessageId,
  type Sections,
  type Value,
  type Writable,
} from './message.ts';
import { createQueue, type Box, type Change, type Counts, type Death, type Delivery, type Fresh, type Hold, type Hooks, type Message, type Queue, type Refused, type Settled, type Side } from './queue.ts';
import { createSessions, sessionLockLost, type Sessions } from './sessions.ts';
import { createRules, lookAt, type Copy, type RuleChange, type Rules } from './topics.ts';

/**
 * Service Bus on the wire: which links and requests mean what to which entity. What an entity does is queue.ts.
 *
 * Written from https://learn.microsoft.com/azure/service-bus-messaging/: service-bus-amqp-protocol-guide (links, settlement, annotations), service-bus-amqp-request-response
 * (operations of management), message-transfers-locks-settlement, service-bus-messaging-exceptions (conditions of errors), service-bus-quotas.
 *
 * Addresses: `queue`, `queue/$DeadLetterQueue`, `topic`, `topic/Subscriptions/name` and its dead letters, each with `/$management`, without regard to case.
 */
export interface ServiceBus extends Service {
  createQueue(shape: QueueShape): void;
  createTopic(shape: TopicShape): void;
  /** With all that is in it, and its subscriptions; links are closed. False if there is none. */
  remove(name: string): boolean;
  has(name: string): boolean;
  describe(): { readonly queues: readonly Described[]; readonly topics: readonly (Described & { readonly subscriptions: readonly (Described & { readonly rules: number })[] })[] };
  /** All locks of an entity run out now; how many, or undefined if there is no such entity. */
  loseLocks(name: string): number | undefined;
  /** Changes from which all entities can be built again, each with the path of its entity; to be read to its end before anything else happens. */
  snapshot(): IterableIterator<readonly [path: string, change: EntityChange]>;
  /** The same of one entity. */
  snapshotOf(path: string): IterableIterator<EntityChange>;
  /** What its messages weigh. */
  bytesOf(path: string): number;
  /** Stops all clocks. */
  close(): void;
}

export type Described = Counts & { readonly name: string };

/** What happened to an entity and must not be forgotten. */
export type EntityChange = Change | RuleChange;

export interface ServiceBusOptions {
  readonly clock: Clock;
  /** What must outlive the process: the path of the entity, and what happened to it. */
  readonly record?: (path: string, change: EntityChange) => void;
  /** What was recorded before for the entity. */
  readonly recorded?: (path: string) => Iterable<EntityChange>;
  /** The entity was removed, and what was recorded of it is not to come back. */
  readonly erase?: (path: string) => void;
}

/** https://learn.microsoft.com/azure/service-bus-messaging/service-bus-quotas: a message of the standard tier, with all that belongs to it, and a batch too. */
export const messageBytesMax = 256 * 1024;
/** In one answer of management. */
const peekMax = 250;
const peekBytesMax = 4 * 1024 * 1024;

/** A queue, a subscription or a topic. */
interface Entity {
  readonly path: string;
  readonly queue: Queue;
  /** Of those that have some. */
  readonly sessions: Sessions | undefined;
  /** Of a subscription. */
  readonly rules: Rules | undefined;
  /** Of a topic. */
  readonly subscriptions: readonly Entity[] | undefined;
  /** May clients send to it, may they receive from it? */
  readonly takes: boolean;
  readonly gives: boolean;
  readonly consumers: Readonly<Record<Side, Consumer[]>>;
  /** Closes each link that is open. */
  readonly links: Set<Wish['close']>;
  readonly alarm: Alarm;
}

/** What an entity is told to be. */
interface Traits extends Pick<Entity, 'takes' | 'gives'>, Partial<Pick<Entity, 'rules' | 'subscriptions'>> {
  readonly sessions: boolean;
}

/** A link that receives from an entity without sessions. */
interface Consumer {
  readonly remove: boolean;
  link: OutLink | undefined;
}

/** An entity or its dead letters. */
interface Place {
  readonly entity: Entity;
  readonly side: Side;
}

const boxOf = ({ entity, side }: Place): Box => (side === 'main' ? entity.queue.main : entity.queue.dead);

const deadLetters = '/$deadletterqueue';

export function createServiceBus(options: ServiceBusOptions): ServiceBus {
  const { clock } = options;
  const entities = new Map<string, Entity>();
  const toStir = new Set<Entity>();

  // ---- entities

  function createQueueEntity(shape: QueueShape): void {
    const { name, forwardTo, forwardDeadTo } = shape;
    open(name, { sessions: shape.sessions, takes: true, gives: forwardTo === undefined }, (hooks) =>
      createQueue({ ...shape, messageBytesMax }, { ...hooks, forward: forwarding(forwardTo), forwardDead: forwardingDead(name, forwardDeadTo) }),
    );
  }

  /** A topic is a queue out of which everything goes on at once; it keeps what is scheduled, and looks for duplicates. */
  function createTopic(shape: TopicShape): void {
    for (const path of [shape.name, ...shape.subscriptions.map(({ name }) => subscriptionPath(shape, name))]) if (entities.has(keyOf(path))) throw new Invalid(`there is a '${path}' already`);
    const subscriptions = shape.subscriptions.map((one) => openSubscription(shape, one));
    const elsewhere = (): number => subscriptions.reduce((sum, { queue }) => sum + queue.size(), 0);
    open(shape.name, { sessions: false, takes: true, gives: false, subscriptions }, (hooks) =>
      createQueue({ ...queueDefaults, ...shape, messageBytesMax }, { ...hooks, elsewhere, forward: (message, now) => fanOut(shape, subscriptions, message, now) }),
    );
  }

  function openSubscription(topic: TopicShape, { name, rules: given, ...settings }: SubscriptionShape): Entity {
    const path = subscriptionPath(topic, name);
    const rules = createRules(given, (change) => options.record?.(path, change));
    const { forwardTo, forwardDeadTo } = settings;
    // The size is that of the topic, and an action may make a message larger.
    const some = { ...settings, duplicatesMs: undefined, bytesMax: Number.MAX_SAFE_INTEGER, messageBytesMax: 2 * messageBytesMax };
    return open(path, { sessions: settings.sessions, takes: false, gives: forwardTo === undefined, rules }, (hooks) =>
      createQueue(some, { ...hooks, forward: forwarding(forwardTo), forwardDead: forwardingDead(path, forwardDeadTo) }),
    );
  }

  /** Every subscription gets its copies, and the topic is rid of the message. */
  function fanOut(topic: TopicShape, subscriptions: readonly Entity[], message: Message, now: number): boolean {
    const look = lookAt(message);
    for (const subscription of subscriptions) {
      for (const copy of subscription.rules!.copies(look)) subscribe(subscription, topic, message, copy, now);
    }
    return true;
  }

  function subscribe(subscription: Entity, topic: TopicShape, { ttlMs, origin, hops, deadSource }: Message, copy: Copy, now: number): void {
    const shorter = topic.ttlMs === undefined ? ttlMs : Math.min(topic.ttlMs, ttlMs ?? topic.ttlMs);
    const fresh: Fresh = { ...copy, ttlMs: shorter, origin, hops, deadSource };
    const sent = subscription.queue.send([fresh], now);
    if ('refused' in sent) subscription.queue.send([{ ...fresh, death: deaths[sent.refused] }], now);
    stirSoon(subscription);
  }

  function open(path: string, { takes, gives, sessions, rules, subscriptions }: Traits, create: (hooks: Pick<Hooks, 'token' | 'record'>) => Queue): Entity {
    if (entities.has(keyOf(path))) throw new Invalid(`there is a '${path}' already`);
    const queue = create({ token: randomUUID, record: (change) => options.record?.(path, change) });
    for (const change of options.recorded?.(path) ?? []) {
      if (isRuleChange(change)) rules?.replay(change);
      else queue.replay(change);
    }
    const entity: Entity = {
      path, queue, takes, gives, rules, subscriptions,
      consumers: { main: [], dead: [] },
      links: new Set(),
      alarm: createAlarm(clock, () => stir(entity)),
      sessions: sessions ? sessionsOf(path, queue, () => stir(entity)) : undefined,
    };
    entities.set(keyOf(path), entity);
    entity.alarm.set(queue.next());
    return entity;
  }

  function sessionsOf(path: string, queue: Queue, changed: () => void): Sessions {
    return createSessions({
      queue, clock, failures, changed,
      deliver: (link, delivery) => deliver({ path, side: 'main' }, link, delivery),
      settle: (tag, outcome, now) => settle(queue.main, tokenOf(tag), outcome, now),
    });
  }

  /** Puts what has died into another entity; true if that took it. */
  function forwardingDead(from: string, to: string | undefined): ((message: Message, now: number) => boolean) | undefined {
    if (to === undefined) return undefined;
    return (message, now) => pass({ ...message, bytes: withDeath(message.bytes, message.death!), deadSource: from }, to, now) === true;
  }

  /** Puts what has arrived into another entity. If that does not take it, it is dead here: service-bus-auto-forwarding. */
  function forwarding(to: string | undefined): ((message: Message, now: number) => true | Death) | undefined {
    return to === undefined ? undefined : (message, now) => pass(message, to, now);
  }

  function pass({ bytes, messageId, sessionId, ttlMs, origin, hops, deadSource }: Message, to: string, now: number): true | Death {
    const target = entities.get(keyOf(to));
    if (target === undefined) return { reason: 'MessagingEntityNotFound', description: `The messaging entity '${to}' could not be found.` };
    if (hops >= limits.hopsMax) return { reason: 'MaxTransferHopCountExceeded', description: 'The maximum number of allowed hops when forwarding between queues has been exceeded.' };
    const sent = target.queue.send([{ bytes, messageId, sessionId, ttlMs, origin, hops: hops + 1, deadSource }], now);
    stirSoon(target);
    return 'sequences' in sent || deaths[sent.refused];
  }

  function placeOf(address: string): Place | undefined {
    const key = keyOf(address);
    const side = key.endsWith(deadLetters) ? 'dead' : 'main';
    const entity = entities.get(side === 'dead' ? key.slice(0, -deadLetters.length) : key);
    return entity && (side === 'main' || entity.subscriptions === undefined) ? { entity, side } : undefined;
  }

  function remove(name: string): boolean {
    const entity = entities.get(keyOf(name));
    if (entity === undefined || !entities.delete(keyOf(name))) return false;
    entity.alarm.stop();
    options.erase?.(entity.path);
    for (const { path } of entity.subscriptions ?? []) remove(path);
    entity.sessions?.close(notFound(name));
    for (const close of entity.links) close(notFound(name));
    return true;
  }

  // ---- time and hunger

  /** After anything that may have made messages ready: hands them to those who wait, and sets the alarm. */
  function stir(entity: Entity): void {
    // Also where nobody waits: what comes due goes on to others, and the alarm is not to ring for it again.
    entity.queue.tick(clock.now());
    entity.sessions?.stir();
    pour({ entity, side: 'main' });
    pour({ entity, side: 'dead' });
    entity.alarm.set(entity.queue.next());
  }

  /** Not now: an entity that sends to another one is in the middle of an operation. */
  function stirSoon(entity: Entity): void {
    if (toStir.size === 0) setImmediate(stirAll);
    toStir.add(entity);
  }

  function stirAll(): void {
    const all = [...toStir];
    toStir.clear();
    for (const one of all) stir(one);
  }

  /** One to each in turn, so that those who compete share; all at once to one who is alone. */
  function pour(place: Place): void {
    const consumers = place.entity.consumers[place.side];
    if (consumers.length === 0 || (place.side === 'main' && place.entity.sessions)) return;
    const now = clock.now();
    const box = boxOf(place);
    while (box.ready(now) > 0) {
      const consumer = nextHungry(consumers);
      if (consumer === undefined) return;
      const max = consumers.length === 1 ? consumer.link!.credit : 1;
      for (const delivery of box.receive({ max, remove: consumer.remove }, now)) deliver({ path: place.entity.path, side: place.side }, consumer.link!, delivery);
    }
  }

  // ---- links

  function attach(wish: Wish): Answer | Promise<Answer> | undefined {
    const place = placeOf(wish.address);
    if (place === undefined) return undefined;
    const { links } = place.entity;
    links.add(wish.close);
    wish.gone.addEventListener('abort', () => links.delete(wish.close), { once: true });
    if (wish.role === 'sender') return place.entity.takes && place.side === 'main' ? inlet(place.entity) : { refused: notAllowed('Nothing can be sent to dead letters or subscriptions.') };
    if (!place.entity.gives && place.side === 'main') return { refused: notAllowed('Nothing can be received from a topic or from a queue that forwards.') };
    return receiver(place, wish);
  }

  function receiver(place: Place, wish: Wish): Answer | Promise<Answer> {
    const wantsSession = wish.filters.has('com.microsoft:session-filter');
    const sessions = place.side === 'main' ? place.entity.sessions : undefined;
    if (sessions && !wantsSession) return { refused: notAllowed('It is not possible for an entity that requires sessions to create a non-sessionful message receiver.') };
    if (!sessions && wantsSession) return { refused: notAllowed('A sessionful message receiver cannot be created on an entity that does not require sessions.') };
    return sessions?.attach(wish) ?? outlet(place, wish.settled);
  }

  function inlet(entity: Entity): Answer {
    return { maxMessageBytes: messageBytesMax, take: (incoming) => take(entity, incoming) };
  }

  function take(entity: Entity, incoming: Incoming): void {
    if (entities.get(keyOf(entity.path)) !== entity) return incoming.reject(notFound(entity.path));
    const sent = entity.queue.send(messagesOf(incoming.bytes, incoming.format).map(freshOf), clock.now());
    if ('refused' in sent) return incoming.reject(refusals[sent.refused]);
    incoming.accept();
    stir(entity);
  }

  function outlet(place: Place, remove: boolean): Outlet {
    const consumers = place.entity.consumers[place.side];
    const consumer: Consumer = { remove, link: undefined };
    return {
      flow(link) {
        if (consumer.link === undefined) consumers.push(consumer);
        consumer.link = link;
        pour(place);
        place.entity.alarm.set(place.entity.queue.next());
      },
      settle(tag, outcome, done) {
        const settled = settle(boxOf(place), tokenOf(tag), outcome, clock.now());
        done(settled === 'done' ? undefined : failures[settled]);
        stir(place.entity);
      },
      // What it holds stays locked until the lock runs out: message-transfers-locks-settlement.
      closed() {
        const at = consumers.indexOf(consumer);
        if (at !== -1) consumers.splice(at, 1);
      },
    };
  }

  // ---- management

  function request(path: string, request: Request): Response | undefined {
    const place = placeOf(path);
    if (place === undefined) return undefined;
    const body = isMap(request.body) ? request.body : new Map<string, Value>();
    const response = operate(place, request, body);
    stir(place.entity);
    return response;
  }

  function operate(place: Place, { operation, properties }: Request, body: ReadonlyMap<string, Value>): Response | undefined {
    const linkName = textOf(properties.get('associated-link-name'));
    const sessions = place.side === 'main' ? place.entity.sessions : undefined;
    const rules = place.side === 'main' ? place.entity.rules : undefined;
    const hold = body.has('session-id') ? sessions?.holdOf(body, linkName) : undefined;
    return operations[operation]?.(place, body, clock.now(), hold) ?? sessions?.request(operation, body, linkName) ?? rules?.request(operation, body);
  }

  return {
    attach,
    manages: (path) => placeOf(path) !== undefined,
    request,
    createQueue: createQueueEntity,
    createTopic,
    remove,
    has: (name) => entities.has(keyOf(name)),
    describe() {
      const told = ({ path, queue }: Entity): Described => ({ name: path, ...queue.counts(clock.now()) });
      const all = [...entities.values()];
      const topics = all.filter(({ subscriptions }) => subscriptions !== undefined);
      return {
        queues: all.filter(({ rules, subscriptions }) => rules === undefined && subscriptions === undefined).map(told),
        topics: topics.map((topic) => ({ ...told(topic), subscriptions: topic.subscriptions!.map((one) => ({ ...told(one), rules: one.rules!.list().length })) })),
      };
    },
    loseLocks(name) {
      const entity = entities.get(keyOf(name));
      if (entity === undefined) return undefined;
      const lost = entity.queue.loseLocks(clock.now());
      stir(entity);
      return lost;
    },
    *snapshot() {
      for (const entity of entities.values()) for (const change of changesOf(entity)) yield [entity.path, change];
    },
    snapshotOf: (path) => changesOf(entities.get(keyOf(path))!),
    bytesOf: (path) => entities.get(keyOf(path))?.queue.counts(clock.now()).bytes ?? 0,
    close() {
      for (const { alarm } of entities.values()) alarm.stop();
    },
  };
}

function* changesOf({ queue, rules }: Entity): IterableIterator<EntityChange> {
  yield* rules?.snapshot() ?? [];
  yield* queue.snapshot();
}

/** Takes the first that has credit and puts it at the end. */
function nextHungry(consumers: Consumer[]): Consumer | undefined {
  const at = consumers.findIndex(({ link }) => link !== undefined && link.credit > 0);
  if (at === -1) return undefined;
  const [consumer] = consumers.splice(at, 1);
  consumers.push(consumer!);
  return consumer;
}

const subscriptionPath = (topic: TopicShape, name: string): string => `${topic.name}/Subscriptions/${name}`;
const isRuleChange = (change: EntityChange): change is RuleChange => change.is === 'ruled' || change.is === 'unruled' || change.is === 'unruled all';

/** Why a subscription does not take what the topic has for it: service-bus-dead-letter-queues. */
const deaths: Record<Refused, Death> = {
  sessionMissing: { reason: 'Session ID is null', description: 'Session enabled entity does not allow a message whose session identifier is null.' },
  full: { reason: 'HeaderSizeExceeded', description: 'The size quota for this stream has been exceeded.' },
  tooLarge: { reason: 'HeaderSizeExceeded', description: 'The size quota for this stream has been exceeded.' },
};

function deliver({ path, side }: { path: string; side: Side }, link: OutLink, { message, token, lockedUntil }: Delivery): void {
  link.send(encodeMessage(message, { lockedUntil, dead: side === 'dead', path }), { tag: token === undefined ? noToken : tagOf(token), settled: token === undefined });
}

function settle(box: Box, token: string, outcome: Outcome, now: number): Settled {
  if (outcome.kind === 'accepted') return box.complete(token, now);
  if (outcome.kind === 'released') return box.release(token, now);
  const message = box.locked(token, now);
  if (message === undefined) return 'lost';
  if (outcome.kind === 'rejected') return bury(box, token, message, deathOf(outcome), outcome.info, now);
  const bytes = withProperties(message.bytes, outcome.annotations);
  return outcome.undeliverableHere ? box.defer(token, now, bytes) : box.abandon(token, now, bytes);
}

/** Why it dies stands with it, and not in its bytes; what else the receiver wants to say of it becomes properties. */
function bury(box: Box, token: string, message: Message, death: Death, said: ReadonlyMap<string, Value>, now: number): Settled {
  const others = new Map([...said].filter(([key]) => key !== reasonKey && key !== descriptionKey));
  return box.bury(token, now, death, withProperties(message.bytes, others));
}

function deathOf({ description, info }: Outcome & { kind: 'rejected' }): Death {
  return { reason: textOf(info.get(reasonKey)), description: textOf(info.get(descriptionKey)) ?? (description === '' ? undefined : description) };
}

const reasonKey = 'DeadLetterReason';
const descriptionKey = 'DeadLetterErrorDescription';
const textOf = (value: Value | undefined): string | undefined => (typeof value === 'string' ? value : undefined);

// ---------------------------------------------------------------- errors

const notAllowed = (description: string): AmqpError => ({ condition: 'amqp:not-allowed', description });

const failures: Record<Exclude<Settled, 'done'>, AmqpError> = {
  lost: {
    condition: 'com.microsoft:message-lock-lost',
    description: 'The lock supplied is invalid. Either the lock expired, or the message has already been removed from the queue, or was received by a different receiver instance.',
  },
  forbidden: notAllowed('A dead-lettered message cannot be dead-lettered again.'),
};

const refusals: Record<Refused, AmqpError> = {
  full: { condition: 'amqp:resource-limit-exceeded', description: 'The maximum entity size has been reached or exceeded.' },
  tooLarge: { condition: 'amqp:link:message-size-exceeded', description: `A message may have ${messageBytesMax} bytes.` },
  sessionMissing: notAllowed('The SessionId was not set on a message, and it cannot be sent to the entity. Entities that have session support enabled can only receive messages that have the SessionId set to a valid value.'),
};

const failed = ({ condition, description }: AmqpError, status: number): Response => ({ status, condition, description });
const notThere = (description: string): Response => ({ status: 404, condition: 'com.microsoft:message-not-found', description });

// ---------------------------------------------------------------- operations of management

/** `hold`: of the session that the request names, if its link holds it. */
type Operation = (place: Place, body: ReadonlyMap<string, Value>, now: number, hold: Hold | undefined) => Response;

/** https://learn.microsoft.com/azure/service-bus-messaging/service-bus-amqp-request-response */
const operations: Readonly<Record<string, Operation | undefined>> = {
  'com.microsoft:peek-message': peek,
  'com.microsoft:renew-lock': renewLocks,
  'com.microsoft:schedule-message': schedule,
  'com.microsoft:cancel-scheduled-message': cancel,
  'com.microsoft:receive-by-sequence-number': receiveDeferred,
  'com.microsoft:update-disposition': updateDisposition,
};

function peek(place: Place, body: ReadonlyMap<string, Value>, now: number): Response {
  const count = Math.min(numberIn(body, 'message-count'), peekMax);
  const messages: Writable[] = [];
  let bytes = 0;
  for (const message of boxOf(place).peek(numberIn(body, 'from-sequence-number'), count, now, textOf(body.get('session-id')))) {
    const encoded = encodeMessage(message, { lockedUntil: undefined, dead: place.side === 'dead', path: place.entity.path });
    bytes += encoded.length;
    if (messages.length > 0 && bytes > peekBytesMax) break;
    messages.push({ message: encoded });
  }
  return messages.length === 0 ? { status: 204, condition: 'com.microsoft:message-not-found' } : { status: 200, body: { messages } };
}

function renewLocks(place: Place, body: ReadonlyMap<string, Value>, now: number): Response {
  const box = boxOf(place);
  const ends = tokensIn(body).map((token) => box.renew(token, now));
  if (ends.includes(undefined)) return failed(failures.lost, 410);
  return { status: 200, body: { expirations: timestamps(ends.map((end) => end!)) } };
}

function schedule({ entity, side }: Place, body: ReadonlyMap<string, Value>, now: number): Response {
  if (!entity.takes || side !== 'main') return failed(notAllowed('Nothing can be sent to dead letters or subscriptions.'), 400);
  const sent = entity.queue.send(listIn(body, 'messages').map(scheduledOf), now);
  if ('refused' in sent) return failed(refusals[sent.refused], 403);
  return { status: 200, body: { 'sequence-numbers': longs(sent.sequences) } };
}

function scheduledOf(entry: Value): Fresh {
  const bytes = isMap(entry) ? entry.get('message') : undefined;
  if (!(bytes instanceof Uint8Array)) throw new Invalid('a message to be scheduled is no message');
  return freshOf(takeApart(bytes));
}

function cancel({ entity }: Place, body: ReadonlyMap<string, Value>, now: number): Response {
  const cancelled = listIn(body, 'sequence-numbers').map((sequence) => entity.queue.cancel(Number(sequence), now));
  return cancelled.includes(false) ? notThere('The specified message could not be found among the scheduled ones.') : { status: 200 };
}

function receiveDeferred(place: Place, body: ReadonlyMap<string, Value>, now: number, hold: Hold | undefined): Response {
  if (isOfSession(place, body) && hold === undefined) return failed(sessionLockLost, 410);
  const sequences = listIn(body, 'sequence-numbers').map(Number);
  const remove = numberIn(body, 'receiver-settle-mode') === 0;
  const deliveries = boxOf(place).receiveDeferred(sequences, { remove, hold }, now);
  if (deliveries === undefined) return notThere('Failed to lock one or more specified messages. The message does not exist.');
  return { status: 200, body: { messages: deliveries.map((delivery) => deferredEntry(place, delivery)) } };
}

function deferredEntry({ entity, side }: Place, { message, token, lockedUntil }: Delivery): Writable {
  return { message: encodeMessage(message, { lockedUntil, dead: side === 'dead', path: entity.path }), 'lock-token': uuid(token ?? uuidOf(noToken)) };
}

/** Only in the entity itself: its dead letters know no sessions. */
const isOfSession = ({ entity, side }: Place, body: ReadonlyMap<string, Value>): boolean => side === 'main' && entity.sessions !== undefined && body.has('session-id');

function updateDisposition(place: Place, body: ReadonlyMap<string, Value>, now: number, hold: Hold | undefined): Response {
  if (isOfSession(place, body) && hold === undefined) return failed(sessionLockLost, 410);
  const box = boxOf(place);
  const results = tokensIn(body).map((token) => dispose(box, token, body, now));
  const failure = results.find((result) => result !== 'done');
  return failure === undefined ? { status: 200 } : failed(failures[failure], failure === 'lost' ? 410 : 400);
}

function dispose(box: Box, token: string, body: ReadonlyMap<string, Value>, now: number): Settled {
  const changes = body.get('properties-to-modify');
  const said = isMap(changes) ? changes : new Map<string, Value>();
  const message = box.locked(token, now);
  if (message === undefined) return 'lost';
  const bytes = withProperties(message.bytes, said);
  switch (body.get('disposition-status')) {
    case 'completed': return box.complete(token, now);
    case 'abandoned': return box.abandon(token, now, bytes);
    // So it is spelled on the wire.
    case 'defered': return box.defer(token, now, bytes);
    case 'suspended': return bury(box, token, message, { reason: textOf(body.get('deadletter-reason')), description: textOf(body.get('deadletter-description')) }, said, now);
    default: throw new Invalid('there is no such disposition');
  }
}

function numberIn(body: ReadonlyMap<string, Value>, key: string): number {
  const value = body.get(key);
  if (typeof value === 'number' || typeof value === 'bigint') return Number(value);
  throw new Invalid(`${key} must be a number`);
}

function listIn(body: ReadonlyMap<string, Value>, key: string): readonly Value[] {
  const value: unknown = body.get(key);
  if (Array.isArray(value)) return value as readonly Value[];
  throw new Invalid(`${key} must be a list`);
}

const tokensIn = (body: ReadonlyMap<string, Value>): string[] => listIn(body, 'lock-tokens').map(String);

// ---------------------------------------------------------------- messages

/** What comes in is kept as it came, but for delivery annotations, which end here; and it gets a message id, without which the SDK cannot settle it. */
function freshOf(parts: Sections): Fresh {
  const { messageId, groupId, absoluteExpiryTime, creationTime } = propertiesOf(parts.properties);
  const { ttl } = headerOf(parts.header);
  const scheduled = mapOf(parts.annotations).get('x-opt-scheduled-enqueue-time');
  const id = messageId ?? randomUUID().replaceAll('-', '');
  return {
    bytes: messageId !== undefined && parts.deliveryAnnotations === undefined ? parts.bytes : join(parts, { properties: withMessageId(parts.properties, id) }),
    messageId: id,
    sessionId: groupId,
    ttlMs: ttl ?? (absoluteExpiryTime !== undefined && creationTime !== undefined ? Math.max(0, absoluteExpiryTime - creationTime) : undefined),
    scheduledFor: scheduled instanceof Date ? scheduled.getTime() : undefined,
  };
}

type Changed = { readonly [S in 'header' | 'annotations' | 'properties' | 'applicationProperties']?: Buffer };
const none = Buffer.alloc(0);

function join(parts: Sections, changed: Changed): Buffer {
  const { header = none, annotations = none, properties = none, applicationProperties = none } = { ...parts, ...changed };
  return Buffer.concat([header, annotations, properties, applicationProperties, parts.body]);
}

/** Undefined if nothing is to be changed. */
function withProperties(bytes: Buffer, changes: ReadonlyMap<string, Value>): Buffer | undefined {
  if (changes.size === 0) return undefined;
  const parts = takeApart(bytes);
  return join(parts, { applicationProperties: applicationPropertiesSection(new Map<string, Writable>([...entriesOf(parts.applicationProperties), ...(changes as ReadonlyMap<string, Writable>)])) });
}

function withDeath(bytes: Buffer, { reason, description }: Death): Buffer {
  const said: [string, Value | undefined][] = [[reasonKey, reason], [descriptionKey, description]];
  return withProperties(bytes, new Map(said.flatMap(([key, value]) => (value === undefined ? [] : [[key, value] as const])))) ?? bytes;
}

const stateCodes = { active: 0, deferred: 1, scheduled: 2 } as const;
const own = ['x-opt-sequence-number', 'x-opt-enqueue-sequence-number', 'x-opt-enqueued-time', 'x-opt-locked-until', 'x-opt-message-state', 'x-opt-deadletter-source'];

/** A message as it goes out: service-bus-amqp-protocol-guide, "Message annotations". */
function encodeMessage(message: Message, { lockedUntil, dead }: { lockedUntil: number | undefined; dead: boolean; path: string }): Buffer {
  const parts = takeApart(message.death && dead ? withDeath(message.bytes, message.death) : message.bytes);
  const annotations = new Map<string, Writable>(entriesOf(parts.annotations));
  for (const key of own) annotations.delete(key);
  annotations.set('x-opt-sequence-number', long(message.sequence));
  annotations.set('x-opt-enqueue-sequence-number', long(message.origin));
  annotations.set('x-opt-enqueued-time', timestamp(message.enqueuedAt));
  annotations.set('x-opt-message-state', int(stateCodes[message.state]));
  if (lockedUntil !== undefined) annotations.set('x-opt-locked-until', timestamp(lockedUntil));
  if (message.deadSource !== undefined) annotations.set('x-opt-deadletter-source', symbol(message.deadSource));
  return join(parts, { header: headerSection({ ...headerOf(parts.header), deliveryCount: message.deliveries }), annotations: annotationsSection(annotations) });
}

// ---------------------------------------------------------------- lock tokens

const noToken = Buffer.alloc(16);

/** The delivery tag is the token with its first three groups turned round, as .NET writes a Guid. In requests of management it is not turned. */
function turned(bytes: Buffer): Buffer {
  const tag = Buffer.from(bytes);
  tag.subarray(0, 4).reverse();
  tag.subarray(4, 6).reverse();
  tag.subarray(6, 8).reverse();
  return tag;
}

const tagOf = (token: string): Buffer => turned(bytesOfUuid(token));
const tokenOf = (tag: Buffer): string => (tag.length === 16 ? uuidOf(turned(tag)) : '');

// ---------------------------------------------------------------- alarm

/** Wakes once, at the earliest time that it was set to. */
interface Alarm {
  set(at: number | undefined): void;
  stop(): void;
}

function createAlarm(clock: Clock, ring: () => void): Alarm {
  let armed: { readonly at: number; readonly off: AbortController } | undefined;
  let stopped = false;
  return {
    set(at) {
      if (stopped || at === undefined || (armed !== undefined && armed.at <= at)) return;
      armed?.off.abort();
      const mine = { at, off: new AbortController() };
      armed = mine;
      void clock.sleep(Math.max(0, at - clock.now()), mine.off.signal).then(() => {
        if (armed !== mine) return;
        armed = undefined;
        if (!stopped) ring();
      });
    },
    stop() {
      stopped = true;
      armed?.off.abort();
    },
  };
}
