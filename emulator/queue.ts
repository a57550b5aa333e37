import { Invalid } from '../ports/index.ts';
import type { QueueShape } from './config.ts';
import { createSorted, type Sorted } from './sorted.ts';

/**
 * One entity of Service Bus as a state machine: a queue, a subscription, or what a topic holds back, with its dead letters. No clock, no wire: `now` is an argument
 * (milliseconds since 1970), the bytes of messages are opaque, and lock tokens are made by whoever opens it.
 *
 * - Whatever time brings about (locks run out, scheduled messages come due, messages expire) is done at the beginning of every operation, as of the moment at which it was
 *   due; so nothing depends on how often `tick` is called. `next()` says when it must be called for those who only wait.
 * - No operation but `snapshot` and `sessions` takes longer because many messages are waiting.
 * - What must outlive the process is a `Change`: plain data, applied and handed to `record` in one step. Replaying all changes in their order, or those of a snapshot and
 *   the ones recorded after it, gives the same queue: messages, their order, numbers, delivery counts, deferred, scheduled, dead, states of sessions, ids that were seen.
 *   Locks are not kept: after a restart every message is free again, with the delivery count it had, because it was not its receiver that failed.
 *
 * Written from https://learn.microsoft.com/azure/service-bus-messaging/: message-transfers-locks-settlement, message-sequencing, message-expiration, message-deferral,
 * message-browsing, message-sessions, duplicate-detection, service-bus-dead-letter-queues, service-bus-quotas.
 */
export interface Queue {
  readonly main: Box;
  /** `$DeadLetterQueue`: nothing expires in it, nothing can be dead-lettered again, and it knows no sessions. */
  readonly dead: Box;
  /** All or none of them. A number is given to each in its order, also to one that is dropped as a duplicate. `Invalid` for ids that are too long. */
  send(messages: readonly Fresh[], now: number): { readonly sequences: readonly number[] } | { readonly refused: Refused };
  /** False if there is no scheduled message of that number. */
  cancel(sequence: number, now: number): boolean;
  /** Does what time has brought about. */
  tick(now: number): void;
  /** When `tick` has something to do; undefined while nothing is timed. */
  next(): number | undefined;
  counts(now: number): Counts;
  /** The bytes of all its messages. */
  size(): number;
  /** All locks on messages and sessions run out now; says how many. */
  loseLocks(now: number): number;

  /** The lock of a session, of the named one or of the next that has messages waiting. */
  accept(session: string | undefined, now: number, holder?: Holder): Hold | 'locked' | 'none';
  /** The hold that somebody has on a session. */
  holdOf(session: string, now: number): Hold | undefined;
  /** The new end; undefined when the lock is lost. */
  renewSession(hold: Hold, now: number): number | undefined;
  /** Gives the session free, with what was received of it and not settled; that counts as no delivery. */
  releaseSession(hold: Hold, now: number): void;
  sessionState(session: string): Buffer | undefined;
  /** False when the lock is lost. `Invalid` if it is too large. */
  setSessionState(hold: Hold, state: Buffer | undefined, now: number): boolean;
  /** Names of sessions which have messages or a state, in the order of names. */
  sessions(now: number, range: { skip: number; top: number }): readonly string[];

  /** Applies a change that was recorded before; to be called before anything else. */
  replay(change: Change): void;
  /** Changes from which an equal queue can be built. */
  snapshot(): IterableIterator<Change>;
}

/** Where messages are received from. A lock that has run out is lost, whoever asks. */
export interface Box {
  /** How many could be received now by somebody without a session. */
  ready(now: number): number;
  /** The eldest that are free, of a session when `hold` is given. Not more than `max`. */
  receive(options: Receipt, now: number): Delivery[];
  /** Messages that were deferred, of the session if there is a hold. All, or undefined when one of them is not there, not deferred, expired, or locked. */
  receiveDeferred(sequences: readonly number[], options: Omit<Receipt, 'max'>, now: number): Delivery[] | undefined;
  /** All states, locked or not, in the order of numbers, from that one on. */
  peek(from: number, max: number, now: number, session?: string): Message[];
  /** What is locked under the token. */
  locked(token: string, now: number): Message | undefined;
  complete(token: string, now: number): Settled;
  /** Counts as a delivery. `bytes` replaces the message, whose properties were changed. */
  abandon(token: string, now: number, bytes?: Uint8Array): Settled;
  /** Gives back what was not handled at all: no delivery is counted. */
  release(token: string, now: number): Settled;
  defer(token: string, now: number, bytes?: Uint8Array): Settled;
  bury(token: string, now: number, death: Death, bytes?: Uint8Array): Settled;
  /** The new end; undefined when the lock is lost, or is the one of a session. */
  renew(token: string, now: number): number | undefined;
}

export type Settled = 'done' | 'lost' | 'forbidden';
export type Refused = 'full' | 'tooLarge' | 'sessionMissing';

export interface Receipt {
  readonly max: number;
  /** Receive-and-delete. */
  readonly remove: boolean;
  readonly hold?: Hold | undefined;
}

export interface Delivery {
  readonly message: Message;
  /** Undefined if it was removed by being received. */
  readonly token: string | undefined;
  readonly lockedUntil: number | undefined;
}

/** A message that comes in. Its bytes are copied, so that they keep nothing else in memory. */
export interface Fresh {
  readonly bytes: Uint8Array;
  readonly messageId?: string | undefined;
  readonly sessionId?: string | undefined;
  readonly ttlMs?: number | undefined;
  /** Not before. */
  readonly scheduledFor?: number | undefined;
  /** Of messages that come from another entity: the number they had there, and over how many entities they came. */
  readonly origin?: number | undefined;
  readonly hops?: number | undefined;
  /** The entity where it was dead-lettered, if it comes from there. */
  readonly deadSource?: string | undefined;
  /** It comes in dead. */
  readonly death?: Death | undefined;
}

export interface Death {
  readonly reason: string | undefined;
  readonly description: string | undefined;
}

/** Plain data. */
export interface Message {
  readonly sequence: number;
  readonly bytes: Buffer;
  readonly messageId: string | undefined;
  readonly sessionId: string | undefined;
  readonly ttlMs: number | undefined;
  readonly state: 'active' | 'deferred' | 'scheduled';
  readonly scheduledFor: number | undefined;
  readonly enqueuedAt: number;
  readonly expiresAt: number | undefined;
  /** How often it was handed out before and not settled: 0 for a new one. */
  readonly deliveries: number;
  readonly origin: number;
  readonly hops: number;
  readonly deadSource: string | undefined;
  /** Said by the entity when it dies; a receiver's reason and his properties are here and in the bytes. */
  readonly death: Death | undefined;
}

/** Who is told about his session. He is told in the middle of an operation, and must not begin another one there. */
export interface Holder {
  /** The lock has run out; not called when it is released. */
  lost(): void;
  /** A message of the session has become ready. */
  ready(): void;
}

/** The lock of a session. */
export interface Hold {
  readonly session: string;
  readonly lockedUntil: number;
  readonly alive: boolean;
}

export interface Counts {
  /** Locked ones among them. */
  readonly active: number;
  readonly locked: number;
  readonly deferred: number;
  readonly scheduled: number;
  readonly dead: number;
  readonly bytes: number;
}

export type Side = 'main' | 'dead';

/** What happened to a queue and must not be forgotten: plain data with buffers in it. */
export type Change =
  /** A message came in, or stood there when the snapshot was made. */
  | { readonly is: 'put'; readonly side: Side; readonly message: Message; readonly seenUntil?: number | undefined }
  /** It came in and went on to somewhere else. */
  | { readonly is: 'passed'; readonly sequence: number; readonly messageId?: string | undefined; readonly seenUntil?: number | undefined }
  | { readonly is: 'gone'; readonly side: Side; readonly sequence: number }
  | { readonly is: 'back'; readonly side: Side; readonly sequence: number; readonly deliveries: number; readonly bytes?: Buffer | undefined }
  | { readonly is: 'deferred'; readonly side: Side; readonly sequence: number; readonly bytes?: Buffer | undefined }
  | { readonly is: 'dead'; readonly sequence: number; readonly deliveries: number; readonly death: Death; readonly bytes?: Buffer | undefined }
  | { readonly is: 'due'; readonly sequence: number; readonly as: number; readonly at: number }
  | { readonly is: 'seen'; readonly messageId: string; readonly seenUntil: number }
  | { readonly is: 'state'; readonly session: string; readonly state: Buffer | undefined }
  /** No number below this one is given again. */
  | { readonly is: 'count'; readonly next: number };

/** What the entity is told once; `Config.json` says what each is for. */
export type Rules = Pick<QueueShape, 'lockMs' | 'ttlMs' | 'deadLetterExpired' | 'deliveriesMax' | 'sessions' | 'duplicatesMs' | 'bytesMax'> & { readonly messageBytesMax: number };

export interface Hooks {
  /** A token that was never used before. */
  token(): string;
  /** Called after the change was applied, before the operation returns. */
  record?(change: Change): void;
  /** A message has become active, by being sent or by coming due: true if it was taken on to somewhere else, false if it is to stay here, and a death if it can do neither. */
  forward?(message: Message, now: number): boolean | Death;
  /** Bytes that count to the size of the entity though they are kept elsewhere. */
  elsewhere?(): number;
  /** A message dies: true if another entity took it. */
  forwardDead?(message: Message, now: number): boolean;
}

/** https://learn.microsoft.com/azure/service-bus-messaging/service-bus-quotas */
export const limits = { messageIdMax: 128, sessionIdMax: 128 } as const;

// ---------------------------------------------------------------- inside

interface Item {
  message: Message;
  lock: Lock | undefined;
}

interface Lock {
  readonly item: Item;
  readonly token: string;
  /** Of a session, whose end is the hold's. */
  readonly hold: InnerHold | undefined;
  until: number;
}

interface Session {
  readonly id: string;
  readonly items: Sorted<Item>;
  readonly ready: Sorted<Item>;
  state: Buffer | undefined;
  hold: InnerHold | undefined;
  /** Its place among those who wait for somebody; undefined while it is held or has nothing ready. */
  turn: number | undefined;
}

interface InnerHold extends Hold {
  readonly number: number;
  readonly inner: Session;
  readonly tokens: Set<string>;
  readonly holder: Holder | undefined;
  lockedUntil: number;
  alive: boolean;
}

const sequenceOf = (a: Item, b: Item): number => a.message.sequence - b.message.sequence;
const expiryOf = (a: Item, b: Item): number => a.message.expiresAt! - b.message.expiresAt! || sequenceOf(a, b);
const dueOf = (a: Item, b: Item): number => a.message.scheduledFor! - b.message.scheduledFor! || sequenceOf(a, b);
const lockEnd = (a: Lock, b: Lock): number => a.until - b.until || sequenceOf(a.item, b.item);
const holdEnd = (a: InnerHold, b: InnerHold): number => a.lockedUntil - b.lockedUntil || a.number - b.number;

/** A probe to find a place among items; it is compared by its number alone. */
const probe = (sequence: number): Item => ({ message: { sequence } as Message, lock: undefined });

const least = (times: readonly (number | undefined)[]): number | undefined => times.reduce((a, b) => (a === undefined || (b !== undefined && b < a) ? b : a), undefined);

/** The messages of one side and every order in which they are looked for. It knows nothing of changes: who calls it has recorded them. */
interface Shelf {
  readonly items: Map<number, Item>;
  readonly all: Sorted<Item>;
  readonly ready: Sorted<Item>;
  readonly due: Sorted<Item>;
  readonly expiring: Sorted<Item>;
  readonly locks: Sorted<Lock>;
  readonly tokens: Map<string, Lock>;
  readonly sessions: Map<string, Session>;
  /** Sessions that somebody could accept, in the order in which they became so. */
  readonly waiting: Sorted<Session>;
  deferred: number;
  bytes: number;
  insert(message: Message): void;
  remove(item: Item): void;
  /** Another message of the same number, in its place. A lock is gone afterwards. */
  replace(item: Item, message: Message): void;
  lock(item: Item, lock: Lock): void;
  session(id: string): Session;
  /** Looks anew whether the session waits for somebody, or is not worth remembering. */
  review(session: Session): void;
}

function createShelf({ sessions: bySession, expires }: { sessions: boolean; expires: boolean }): Shelf {
  let turns = 0;
  const shelf: Shelf = {
    items: new Map(),
    all: createSorted(sequenceOf),
    ready: createSorted(sequenceOf),
    due: createSorted(dueOf),
    expiring: createSorted(expiryOf),
    locks: createSorted(lockEnd),
    tokens: new Map(),
    sessions: new Map(),
    waiting: createSorted((a: Session, b: Session) => a.turn! - b.turn!),
    deferred: 0,
    bytes: 0,

    insert(message) {
      const item: Item = { message, lock: undefined };
      shelf.items.set(message.sequence, item);
      shelf.all.add(item);
      shelf.bytes += message.bytes.length;
      sessionOf(item)?.items.add(item);
      place(item);
    },

    remove(item) {
      displace(item);
      shelf.items.delete(item.message.sequence);
      shelf.all.remove(item);
      shelf.bytes -= item.message.bytes.length;
      const session = sessionOf(item);
      session?.items.remove(item);
      if (session) shelf.review(session);
    },

    replace(item, message) {
      displace(item);
      shelf.bytes += message.bytes.length - item.message.bytes.length;
      item.message = message;
      place(item);
    },

    lock(item, lock) {
      displace(item);
      item.lock = lock;
      shelf.tokens.set(lock.token, lock);
      if (lock.hold) lock.hold.tokens.add(lock.token);
      else shelf.locks.add(lock);
      if (item.message.state === 'deferred') shelf.deferred++;
    },

    session(id) {
      const known = shelf.sessions.get(id);
      if (known) return known;
      const session: Session = { id, items: createSorted(sequenceOf), ready: createSorted(sequenceOf), state: undefined, hold: undefined, turn: undefined };
      shelf.sessions.set(id, session);
      return session;
    },

    review(session) {
      const waits = session.hold === undefined && session.ready.size > 0;
      if (waits && session.turn === undefined) {
        session.turn = turns++;
        shelf.waiting.add(session);
      } else if (!waits && session.turn !== undefined) {
        shelf.waiting.remove(session);
        session.turn = undefined;
      }
      if (session.items.size === 0 && session.hold === undefined && session.state === undefined) shelf.sessions.delete(session.id);
    },
  };

  /** A message that came before the entity had sessions is of the one without a name. */
  const sessionOf = ({ message }: Item): Session | undefined => (bySession ? shelf.session(message.sessionId ?? '') : undefined);

  /** Into the orders in which a free message of its state is looked for. */
  function place(item: Item): void {
    const { message } = item;
    if (message.state === 'deferred') shelf.deferred++;
    else if (message.state === 'scheduled') shelf.due.add(item);
    else makeReady(item);
  }

  function makeReady(item: Item): void {
    if (expires && item.message.expiresAt !== undefined) shelf.expiring.add(item);
    const session = sessionOf(item);
    (session ?? shelf).ready.add(item);
    if (!session) return;
    shelf.review(session);
    session.hold?.holder?.ready();
  }

  function displace(item: Item): void {
    if (item.message.state === 'deferred') shelf.deferred--;
    if (item.lock) unlock(item, item.lock);
    else if (item.message.state === 'scheduled') shelf.due.remove(item);
    else if (item.message.state === 'active') makeUnready(item);
  }

  function makeUnready(item: Item): void {
    if (expires && item.message.expiresAt !== undefined) shelf.expiring.remove(item);
    const session = sessionOf(item);
    (session ?? shelf).ready.remove(item);
    if (session) shelf.review(session);
  }

  function unlock(item: Item, lock: Lock): void {
    item.lock = undefined;
    shelf.tokens.delete(lock.token);
    if (lock.hold) lock.hold.tokens.delete(lock.token);
    else shelf.locks.remove(lock);
  }

  return shelf;
}

export function createQueue(rules: Rules, hooks: Hooks): Queue {
  const shelves: Record<Side, Shelf> = { main: createShelf({ sessions: rules.sessions, expires: true }), dead: createShelf({ sessions: false, expires: false }) };
  const { main, dead } = shelves;
  const holds = createSorted(holdEnd);
  const seen = new Map<string, number>();
  const seenByEnd = createSorted((a: Seen, b: Seen) => a.until - b.until || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
  let nextSequence = 1;
  let holdNumber = 0;
  let ticking = false;

  // ---- changes

  function commit(change: Change): void {
    apply(change);
    hooks.record?.(change);
  }

  function apply(change: Change): void {
    switch (change.is) {
      case 'put': return put(change);
      case 'passed': return passed(change);
      case 'gone': return shelves[change.side].remove(itemOf(change));
      case 'back': return amend(change, { deliveries: change.deliveries });
      case 'deferred': return amend(change, { state: 'deferred' });
      case 'dead': return die(change);
      case 'due': return due(change);
      case 'seen': return remember(change.messageId, change.seenUntil);
      case 'state': return setState(change);
      case 'count': nextSequence = Math.max(nextSequence, change.next);
    }
  }

  function itemOf({ side, sequence }: { side: Side; sequence: number }): Item {
    const item = shelves[side].items.get(sequence);
    if (!item) throw new Invalid(`there is no message ${sequence} among the ${side} ones`);
    return item;
  }

  function put({ side, message, seenUntil }: Change & { is: 'put' }): void {
    nextSequence = Math.max(nextSequence, message.sequence + 1);
    shelves[side].insert(message);
    remember(message.messageId, seenUntil);
  }

  function passed({ sequence, messageId, seenUntil }: Change & { is: 'passed' }): void {
    nextSequence = Math.max(nextSequence, sequence + 1);
    remember(messageId, seenUntil);
  }

  function amend(change: Change & { is: 'back' | 'deferred' }, fields: Partial<Message>): void {
    const item = itemOf(change);
    const { message } = item;
    shelves[change.side].replace(item, { ...message, ...fields, bytes: change.bytes ?? message.bytes });
  }

  function die({ sequence, deliveries, death, bytes }: Change & { is: 'dead' }): void {
    const item = itemOf({ side: 'main', sequence });
    main.remove(item);
    dead.insert(deadOf(item.message, deliveries, death, bytes));
  }

  function deadOf(message: Message, deliveries: number, death: Death, bytes: Buffer | undefined): Message {
    return { ...message, deliveries, death, bytes: bytes ?? message.bytes, state: 'active', expiresAt: undefined };
  }

  /** A scheduled message is appended as if it had been sent at that moment, under a new number. */
  function due({ sequence, as, at }: Change & { is: 'due' }): void {
    const item = itemOf({ side: 'main', sequence });
    main.remove(item);
    nextSequence = Math.max(nextSequence, as + 1);
    main.insert(activeOf(item.message, as, at));
  }

  function activeOf(message: Message, as: number, at: number): Message {
    return { ...message, sequence: as, origin: message.origin === message.sequence ? as : message.origin, state: 'active', enqueuedAt: at, expiresAt: expiryAfter(at, message.ttlMs) };
  }

  function setState({ session: id, state }: Change & { is: 'state' }): void {
    const session = main.session(id);
    session.state = state;
    main.review(session);
  }

  function remember(id: string | undefined, until: number | undefined): void {
    if (id === undefined || until === undefined) return;
    seen.set(id, until);
    seenByEnd.add({ id, until });
  }

  // ---- time

  function expiryAfter(at: number, ttlMs: number | undefined): number | undefined {
    const ttl = least([ttlMs, rules.ttlMs]);
    return ttl === undefined ? undefined : at + ttl;
  }

  /** What is forwarded may come back here while time is at work. */
  function tick(now: number): void {
    if (ticking) return;
    ticking = true;
    try {
      elapse(now);
    } finally {
      ticking = false;
    }
  }

  function elapse(now: number): void {
    for (const side of ['main', 'dead'] as const) {
      for (let lock = shelves[side].locks.first(); lock && lock.until <= now; lock = shelves[side].locks.first()) undelivered(side, lock.item, lock.until);
    }
    for (let hold = holds.first(); hold && hold.lockedUntil <= now; hold = holds.first()) loseHold(hold);
    for (let item = main.due.first(); item && item.message.scheduledFor! <= now; item = main.due.first()) comeDue(item);
    for (let item = main.expiring.first(); item && item.message.expiresAt! <= now; item = main.expiring.first()) expire(item);
    for (let one = seenByEnd.first(); one && one.until <= now; one = seenByEnd.first()) forget(one);
  }

  function forget(one: Seen): void {
    seenByEnd.remove(one);
    if (seen.get(one.id) === one.until) seen.delete(one.id);
  }

  function comeDue(item: Item): void {
    const at = item.message.scheduledFor!;
    const as = nextSequence;
    const active = activeOf(item.message, as, at);
    const went = hooks.forward?.(active, at) ?? false;
    if (went === false) return commit({ is: 'due', sequence: item.message.sequence, as, at });
    if (went === true) commit({ is: 'passed', sequence: as });
    else commit({ is: 'put', side: 'dead', message: deadOf(active, 0, went, undefined) });
    commit({ is: 'gone', side: 'main', sequence: item.message.sequence });
  }

  function expire(item: Item): void {
    const { sequence, expiresAt, deliveries } = item.message;
    if (!rules.deadLetterExpired) return commit({ is: 'gone', side: 'main', sequence });
    toDead(item, deliveries, { reason: 'TTLExpiredException', description: 'The message expired and was dead lettered.' }, expiresAt!);
  }

  function toDead(item: Item, deliveries: number, death: Death, now: number, bytes?: Buffer): void {
    const { sequence } = item.message;
    if (hooks.forwardDead?.(deadOf(item.message, deliveries, death, bytes), now)) commit({ is: 'gone', side: 'main', sequence });
    else commit({ is: 'dead', sequence, deliveries, death, bytes });
  }

  /** It was handed out and nothing came of it. */
  function undelivered(side: Side, item: Item, now: number, bytes?: Buffer): void {
    const { sequence } = item.message;
    const deliveries = item.message.deliveries + 1;
    if (side === 'dead' || deliveries < rules.deliveriesMax) return commit({ is: 'back', side, sequence, deliveries, bytes });
    toDead(item, deliveries, { reason: 'MaxDeliveryCountExceeded', description: `Message could not be consumed after ${deliveries} delivery attempts.` }, now, bytes);
  }

  // ---- sending

  function send(messages: readonly Fresh[], now: number): { sequences: number[] } | { refused: Refused } {
    tick(now);
    const refused = refusal(messages);
    if (refused) return { refused };
    return { sequences: messages.map((fresh) => take(fresh, now)) };
  }

  function refusal(messages: readonly Fresh[]): Refused | undefined {
    let bytes = main.bytes + dead.bytes + (hooks.elsewhere?.() ?? 0);
    for (const { bytes: content, messageId = '', sessionId, death } of messages) {
      if (messageId.length > limits.messageIdMax) throw new Invalid(`a message id has at most ${limits.messageIdMax} characters`);
      if (sessionId !== undefined && sessionId.length > limits.sessionIdMax) throw new Invalid(`a session id has at most ${limits.sessionIdMax} characters`);
      if (rules.sessions && sessionId === undefined && !death) return 'sessionMissing';
      if (content.length > rules.messageBytesMax) return 'tooLarge';
      bytes += content.length;
    }
    return bytes > rules.bytesMax ? 'full' : undefined;
  }

  function take(fresh: Fresh, now: number): number {
    const message = messageOf(fresh, now);
    const { sequence, messageId } = message;
    const looked = rules.duplicatesMs !== undefined && messageId !== undefined && messageId !== '';
    if (looked && seen.has(messageId)) commit({ is: 'passed', sequence });
    else receiveNew(message, looked ? now + rules.duplicatesMs! : undefined, now);
    return sequence;
  }

  function receiveNew(message: Message, seenUntil: number | undefined, now: number): void {
    if (message.death) return commit({ is: 'put', side: 'dead', message, seenUntil });
    const went = (message.state === 'active' && hooks.forward?.(message, now)) || false;
    if (went === true) return commit({ is: 'passed', sequence: message.sequence, messageId: message.messageId, seenUntil });
    if (went !== false) return commit({ is: 'put', side: 'dead', message: deadOf(message, 0, went, undefined), seenUntil });
    commit({ is: 'put', side: 'main', message, seenUntil });
    // A message whose time is over before it begins.
    if (message.expiresAt !== undefined && message.expiresAt <= now) tick(now);
  }

  function messageOf({ bytes, messageId, sessionId, ttlMs, scheduledFor, origin, hops, deadSource, death }: Fresh, now: number): Message {
    const sequence = nextSequence;
    const later = scheduledFor !== undefined && scheduledFor > now && !death;
    return {
      sequence,
      bytes: Buffer.from(bytes),
      messageId,
      sessionId,
      ttlMs,
      state: later ? 'scheduled' : 'active',
      scheduledFor: later ? scheduledFor : undefined,
      enqueuedAt: now,
      expiresAt: later || death ? undefined : expiryAfter(now, ttlMs),
      deliveries: 0,
      origin: origin ?? sequence,
      hops: hops ?? 0,
      deadSource,
      death,
    };
  }

  function cancel(sequence: number, now: number): boolean {
    tick(now);
    if (main.items.get(sequence)?.message.state !== 'scheduled') return false;
    commit({ is: 'gone', side: 'main', sequence });
    return true;
  }

  // ---- receiving

  function handOut(side: Side, item: Item, { remove, hold }: Omit<Receipt, 'max'>, now: number): Delivery {
    const { message } = item;
    if (remove) {
      commit({ is: 'gone', side, sequence: message.sequence });
      return { message, token: undefined, lockedUntil: undefined };
    }
    const inner = side === 'main' ? (hold as InnerHold | undefined) : undefined;
    const lock: Lock = { item, token: hooks.token(), hold: inner, until: inner?.lockedUntil ?? now + rules.lockMs };
    shelves[side].lock(item, lock);
    return { message, token: lock.token, lockedUntil: lock.until };
  }

  function readyOf(side: Side, hold: Hold | undefined): Sorted<Item> | undefined {
    if (side === 'dead' || !rules.sessions) return shelves[side].ready;
    return hold?.alive ? (hold as InnerHold).inner.ready : undefined;
  }

  function receive(side: Side, options: Receipt, now: number): Delivery[] {
    tick(now);
    const ready = readyOf(side, options.hold);
    const deliveries: Delivery[] = [];
    for (let item = ready?.first(); item && deliveries.length < options.max; item = ready?.first()) deliveries.push(handOut(side, item, options, now));
    return deliveries;
  }

  function receiveDeferred(side: Side, sequences: readonly number[], options: Omit<Receipt, 'max'>, now: number): Delivery[] | undefined {
    tick(now);
    const items = [...new Set(sequences)].map((sequence) => deferredItem(side, sequence, options.hold, now));
    if (items.some((item) => item === undefined)) return undefined;
    return items.map((item) => handOut(side, item!, options, now));
  }

  /** What is deferred expires only when somebody asks for it. */
  function deferredItem(side: Side, sequence: number, hold: Hold | undefined, now: number): Item | undefined {
    const item = shelves[side].items.get(sequence);
    if (item?.message.state !== 'deferred' || item.lock) return undefined;
    if (side === 'main' && rules.sessions && !(hold?.alive && hold.session === (item.message.sessionId ?? ''))) return undefined;
    if (side === 'dead' || item.message.expiresAt === undefined || item.message.expiresAt > now) return item;
    expire(item);
    return undefined;
  }

  function peek(side: Side, from: number, max: number, now: number, session?: string): Message[] {
    tick(now);
    const items = session === undefined || side === 'dead' ? shelves[side].all : main.sessions.get(session)?.items;
    const found: Message[] = [];
    if (!items || max <= 0) return found;
    for (const { message } of items.from(probe(from))) if (found.push(message) >= max) break;
    return found;
  }

  // ---- settling

  function settle(side: Side, token: string, now: number, act: (item: Item) => void): Settled {
    tick(now);
    const lock = shelves[side].tokens.get(token);
    if (!lock) return 'lost';
    act(lock.item);
    return 'done';
  }

  const copied = (bytes: Uint8Array | undefined): Buffer | undefined => (bytes === undefined ? undefined : Buffer.from(bytes));

  function renew(side: Side, token: string, now: number): number | undefined {
    tick(now);
    const shelf = shelves[side];
    const lock = shelf.tokens.get(token);
    if (!lock || lock.hold) return undefined;
    shelf.locks.remove(lock);
    lock.until = now + rules.lockMs;
    shelf.locks.add(lock);
    return lock.until;
  }

  function box(side: Side): Box {
    return {
      ready: (now) => (tick(now), readyOf(side, undefined)?.size ?? 0),
      receive: (options, now) => receive(side, options, now),
      receiveDeferred: (sequences, options, now) => receiveDeferred(side, sequences, options, now),
      peek: (from, max, now, session) => peek(side, from, max, now, session),
      locked: (token, now) => (tick(now), shelves[side].tokens.get(token)?.item.message),
      complete: (token, now) => settle(side, token, now, ({ message: { sequence } }) => commit({ is: 'gone', side, sequence })),
      abandon: (token, now, bytes) => settle(side, token, now, (item) => undelivered(side, item, now, copied(bytes))),
      release: (token, now) => settle(side, token, now, (item) => shelves[side].replace(item, item.message)),
      defer: (token, now, bytes) => settle(side, token, now, ({ message: { sequence } }) => commit({ is: 'deferred', side, sequence, bytes: copied(bytes) })),
      bury: (token, now, death, bytes) => (side === 'dead' ? 'forbidden' : settle(side, token, now, (item) => toDead(item, item.message.deliveries, death, now, copied(bytes)))),
      renew: (token, now) => renew(side, token, now),
    };
  }

  // ---- sessions

  function accept(id: string | undefined, now: number, holder?: Holder): Hold | 'locked' | 'none' {
    tick(now);
    const session = id === undefined ? main.waiting.first() : main.session(id);
    if (!session) return 'none';
    if (session.hold) return 'locked';
    const hold: InnerHold = { session: session.id, inner: session, number: holdNumber++, tokens: new Set(), holder, lockedUntil: now + rules.lockMs, alive: true };
    session.hold = hold;
    holds.add(hold);
    main.review(session);
    return hold;
  }

  /** What was received under it and is not settled, the eldest first. */
  const heldItems = ({ tokens }: InnerHold): Item[] => [...tokens].map((token) => main.tokens.get(token)!.item).sort(sequenceOf);

  function endHold(hold: InnerHold): void {
    hold.alive = false;
    holds.remove(hold);
    hold.inner.hold = undefined;
    main.review(hold.inner);
  }

  function loseHold(hold: InnerHold): void {
    for (const item of heldItems(hold)) undelivered('main', item, hold.lockedUntil);
    endHold(hold);
    hold.holder?.lost();
  }

  function releaseSession(hold: Hold, now: number): void {
    tick(now);
    if (!hold.alive) return;
    const inner = hold as InnerHold;
    for (const item of heldItems(inner)) main.replace(item, item.message);
    endHold(inner);
  }

  function renewSession(hold: Hold, now: number): number | undefined {
    tick(now);
    if (!hold.alive) return undefined;
    const inner = hold as InnerHold;
    holds.remove(inner);
    inner.lockedUntil = now + rules.lockMs;
    holds.add(inner);
    return inner.lockedUntil;
  }

  function setSessionState(hold: Hold, state: Buffer | undefined, now: number): boolean {
    tick(now);
    if (!hold.alive) return false;
    if (state !== undefined && state.length > rules.messageBytesMax) throw new Invalid(`the state of a session has at most ${rules.messageBytesMax} bytes`);
    commit({ is: 'state', session: hold.session, state: copied(state) });
    return true;
  }

  function* snapshot(): IterableIterator<Change> {
    yield { is: 'count', next: nextSequence };
    for (const [messageId, seenUntil] of seen) yield { is: 'seen', messageId, seenUntil };
    for (const { id, state } of main.sessions.values()) if (state !== undefined) yield { is: 'state', session: id, state };
    for (const side of ['main', 'dead'] as const) for (const { message } of shelves[side].all) yield { is: 'put', side, message };
  }

  function counts(now: number): Counts {
    tick(now);
    const scheduled = main.due.size;
    return { active: main.items.size - scheduled - main.deferred, locked: main.tokens.size, deferred: main.deferred, scheduled, dead: dead.items.size, bytes: main.bytes + dead.bytes };
  }

  function loseLocks(now: number): number {
    tick(now);
    const locked = main.locks.size + dead.locks.size + holds.size;
    for (const side of ['main', 'dead'] as const) for (let lock = shelves[side].locks.first(); lock; lock = shelves[side].locks.first()) undelivered(side, lock.item, now);
    for (let hold = holds.first(); hold; hold = holds.first()) loseHold(hold);
    return locked;
  }

  return {
    main: box('main'),
    dead: box('dead'),
    send,
    cancel,
    tick,
    next: () => least([main.locks.first()?.until, dead.locks.first()?.until, holds.first()?.lockedUntil, main.due.first()?.message.scheduledFor, main.expiring.first()?.message.expiresAt]),
    counts,
    size: () => main.bytes + dead.bytes,
    loseLocks,
    accept,
    holdOf: (session, now) => (tick(now), main.sessions.get(session)?.hold),
    renewSession,
    releaseSession,
    sessionState: (session) => main.sessions.get(session)?.state,
    setSessionState,
    sessions: (now, { skip, top }) => (tick(now), [...main.sessions.values()].filter(({ items, state }) => items.size > 0 || state !== undefined).map(({ id }) => id).sort().slice(skip, skip + top)),
    replay: apply,
    snapshot,
  };
}

interface Seen {
  readonly id: string;
  readonly until: number;
}
