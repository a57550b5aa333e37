import { expect } from 'chai';
import fc from 'fast-check';
import { createQueue, type Change, type Delivery, type Fresh, type Hold, type Hooks, type Message, type Queue, type Rules } from '../../emulator/queue.ts';
import { Invalid } from '../../ports/index.ts';

/** Service Bus entities as a state machine: each title is written from the page of learn.microsoft.com/azure/service-bus-messaging/ that its group names. */

const rules: Rules = { lockMs: 30_000, ttlMs: undefined, deadLetterExpired: false, deliveriesMax: 3, sessions: false, duplicatesMs: undefined, bytesMax: 1_000_000, messageBytesMax: 1_000 };

interface Opened extends Queue {
  readonly changes: Change[];
}

function open(some: Partial<Rules> = {}, hooks: Partial<Hooks> = {}): Opened {
  let tokens = 0;
  const changes: Change[] = [];
  const queue = createQueue({ ...rules, ...some }, { token: () => `token-${++tokens}`, record: (change) => changes.push(change), ...hooks });
  return { ...queue, changes };
}

/** As after a restart: another queue, which has heard only what was recorded. */
function reopened(queue: Opened, some: Partial<Rules> = {}): Opened {
  const next = open(some);
  // Through text and back, because a journal keeps data and not objects.
  for (const change of queue.changes) next.replay(throughText(change));
  next.changes.push(...queue.changes);
  return next;
}

function throughText(change: Change): Change {
  return JSON.parse(JSON.stringify(change), (_key, value: unknown) => (isBytes(value) ? Buffer.from(value.data) : value)) as Change;
}
const isBytes = (value: unknown): value is { data: number[] } => typeof value === 'object' && value !== null && 'type' in value && value.type === 'Buffer';

const fresh = (text: string, more: Partial<Fresh> = {}): Fresh => ({ bytes: Buffer.from(text), ...more });
const textOf = ({ bytes }: Message): string => bytes.toString();
const texts = (messages: readonly Message[]): string[] => messages.map(textOf);
const textsOf = (deliveries: readonly Delivery[]): string[] => deliveries.map(({ message }) => textOf(message));

function sent(queue: Queue, now: number, ...messages: Fresh[]): readonly number[] {
  const answer = queue.send(messages, now);
  if ('refused' in answer) throw new Error(answer.refused);
  return answer.sequences;
}
const lock = (queue: Queue, now: number, max = 1): Delivery[] => queue.main.receive({ max, remove: false }, now);
function lockOne(queue: Queue, now: number): Delivery & { token: string } {
  const [found] = lock(queue, now);
  if (found?.token === undefined) throw new Error('nothing is there');
  return { ...found, token: found.token };
}
const plain = (messages: readonly Message[]): string => JSON.stringify(messages);
const drain = (queue: Queue, now: number): string[] => textsOf(queue.main.receive({ max: 1_000, remove: true }, now));
const dead = (queue: Queue, now: number): Message[] => queue.dead.peek(0, 1_000, now);

describe('A queue of Service Bus', () => {
  describe('settlement (message-transfers-locks-settlement)', () => {
    it('hands out messages in the order in which they came, numbered without gaps', () => {
      const queue = open();
      expect(sent(queue, 0, fresh('a'), fresh('b'))).to.deep.equal([1, 2]);
      expect(sent(queue, 1, fresh('c'))).to.deep.equal([3]);
      expect(textsOf(lock(queue, 2, 2))).to.deep.equal(['a', 'b']);
      expect(textsOf(lock(queue, 2, 2))).to.deep.equal(['c']);
      expect(lock(queue, 2)).to.deep.equal([]);
    });

    it('forgets what is received to be deleted at once', () => {
      const queue = open();
      sent(queue, 0, fresh('a'));
      const [received] = queue.main.receive({ max: 5, remove: true }, 1);
      expect(received).to.include({ token: undefined, lockedUntil: undefined });
      expect(queue.counts(1)).to.include({ active: 0, bytes: 0 });
    });

    it('shows nobody else what is locked, and forgets it when it is completed', () => {
      const queue = open();
      sent(queue, 0, fresh('a'));
      const { token, lockedUntil } = lockOne(queue, 1);
      expect(lockedUntil).to.equal(30_001);
      expect(lock(queue, 30_000)).to.deep.equal([]);
      expect(queue.main.complete(token, 30_000)).to.equal('done');
      expect(queue.counts(99_999)).to.include({ active: 0, locked: 0 });
    });

    it('gives a message back in its old place when its lock runs out, with one delivery more', () => {
      const queue = open();
      sent(queue, 0, fresh('a'), fresh('b'));
      lockOne(queue, 0);
      const again = lock(queue, 30_000, 2);
      expect(textsOf(again)).to.deep.equal(['a', 'b']);
      expect(again.map(({ message }) => message.deliveries)).to.deep.equal([1, 0]);
    });

    it('has lost the lock at the very moment at which it ends, whatever is to be done with it', () => {
      const queue = open();
      sent(queue, 0, fresh('a'));
      const { token } = lockOne(queue, 0);
      for (const verb of ['complete', 'abandon', 'release', 'defer'] as const) expect(queue.main[verb](token, 30_000), verb).to.equal('lost');
      expect(queue.main.bury(token, 30_000, { reason: 'late', description: '' })).to.equal('lost');
      expect(queue.main.renew(token, 30_000)).to.equal(undefined);
      expect(queue.counts(30_000)).to.include({ active: 1, locked: 0, dead: 0 });
    });

    it('knows no token of a lock that came before the present one', () => {
      const queue = open();
      sent(queue, 0, fresh('a'));
      const first = lockOne(queue, 0);
      const second = lockOne(queue, 30_000);
      expect(queue.main.complete(first.token, 30_001)).to.equal('lost');
      expect(queue.main.complete(second.token, 30_001)).to.equal('done');
    });

    it('keeps a lock as long as it is renewed', () => {
      const queue = open();
      sent(queue, 0, fresh('a'));
      const { token } = lockOne(queue, 0);
      expect(queue.main.renew(token, 29_999)).to.equal(59_999);
      expect(lock(queue, 59_998)).to.deep.equal([]);
      expect(lock(queue, 59_999)).to.have.length(1);
    });

    it('counts a delivery when it is abandoned, and takes over the changed properties', () => {
      const queue = open();
      sent(queue, 0, fresh('a'), fresh('b'));
      expect(queue.main.abandon(lockOne(queue, 1).token, 2, Buffer.from('a, changed'))).to.equal('done');
      const again = lockOne(queue, 3);
      expect(textOf(again.message)).to.equal('a, changed');
      expect(again.message.deliveries).to.equal(1);
      expect(queue.counts(3).bytes).to.equal('a, changed'.length + 1);
    });

    it('counts none when it is given back untouched', () => {
      const queue = open();
      sent(queue, 0, fresh('a'));
      expect(queue.main.release(lockOne(queue, 1).token, 2)).to.equal('done');
      expect(lockOne(queue, 3).message.deliveries).to.equal(0);
    });

    it('loses all locks when a test wants it', () => {
      const queue = open();
      sent(queue, 0, fresh('a'), fresh('b'));
      const { token } = lockOne(queue, 0);
      expect(queue.loseLocks(1)).to.equal(1);
      expect(queue.main.complete(token, 1)).to.equal('lost');
      expect(lock(queue, 1, 5).map(({ message }) => message.deliveries)).to.deep.equal([1, 0]);
    });

    it('says what is locked under a token', () => {
      const queue = open();
      sent(queue, 0, fresh('a'));
      const { token } = lockOne(queue, 0);
      expect(queue.main.locked(token, 1)?.sequence).to.equal(1);
      expect(queue.main.locked(token, 30_000)).to.equal(undefined);
    });
  });

  describe('dead letters (service-bus-dead-letter-queues)', () => {
    it('moves a message that was handed out too often', () => {
      const queue = open();
      sent(queue, 0, fresh('a'));
      queue.main.abandon(lockOne(queue, 0).token, 0);
      lockOne(queue, 0);
      queue.main.abandon(lockOne(queue, 30_000).token, 30_000);
      expect(lock(queue, 30_000)).to.deep.equal([]);
      const [message] = dead(queue, 30_000);
      expect(message?.death).to.deep.equal({ reason: 'MaxDeliveryCountExceeded', description: 'Message could not be consumed after 3 delivery attempts.' });
      expect(message?.deliveries).to.equal(3);
    });

    it('moves what a receiver buries, with his reason, under its number', () => {
      const queue = open();
      sent(queue, 0, fresh('a'), fresh('b'));
      const [, b] = lock(queue, 1, 2);
      expect(queue.main.bury(b!.token!, 2, { reason: 'Bad', description: 'very' }, Buffer.from('b, changed'))).to.equal('done');
      const [message] = dead(queue, 2);
      expect(message).to.deep.include({ sequence: 2, death: { reason: 'Bad', description: 'very' }, deliveries: 0 });
      expect(textOf(message!)).to.equal('b, changed');
      expect(queue.counts(2)).to.include({ active: 1, dead: 1 });
    });

    it('has dead letters that can be received and settled as often as one likes, but not buried again', () => {
      const queue = open();
      sent(queue, 0, fresh('a'));
      queue.main.bury(lockOne(queue, 1).token, 2, { reason: 'Bad', description: undefined });
      for (let time = 0; time < 20; time++) expect(queue.dead.abandon(queue.dead.receive({ max: 1, remove: false }, 3)[0]!.token!, 3)).to.equal('done');
      const [last] = queue.dead.receive({ max: 1, remove: false }, 3);
      expect(last?.message.deliveries).to.equal(20);
      expect(queue.dead.bury(last!.token!, 3, { reason: 'x', description: undefined })).to.equal('forbidden');
      expect(queue.main.complete(last!.token!, 3)).to.equal('lost');
      expect(queue.dead.complete(last!.token!, 3)).to.equal('done');
      expect(queue.counts(3).dead).to.equal(0);
    });

    it('keeps dead letters without end, also those whose time was limited', () => {
      const queue = open();
      sent(queue, 0, fresh('a', { ttlMs: 1_000 }));
      queue.main.bury(lockOne(queue, 1).token, 2, { reason: 'Bad', description: undefined });
      expect(dead(queue, 1e12)).to.have.length(1);
    });

    it('hands the dead on to another entity that takes them', () => {
      const taken: Message[] = [];
      const queue = open({}, { forwardDead: (message) => (taken.push(message), true) });
      sent(queue, 0, fresh('a'));
      queue.main.bury(lockOne(queue, 1).token, 2, { reason: 'Bad', description: 'x' });
      expect(taken.map(({ death }) => death)).to.deep.equal([{ reason: 'Bad', description: 'x' }]);
      expect(queue.counts(2)).to.include({ active: 0, dead: 0, bytes: 0 });
    });
  });

  describe('expiration (message-expiration)', () => {
    it('drops what has expired, the shorter of both times deciding', () => {
      const queue = open({ ttlMs: 10_000 });
      sent(queue, 0, fresh('long', { ttlMs: 60_000 }), fresh('short', { ttlMs: 5_000 }), fresh('default'));
      expect(texts(queue.main.peek(0, 9, 4_999))).to.deep.equal(['long', 'short', 'default']);
      expect(texts(queue.main.peek(0, 9, 5_000))).to.deep.equal(['long', 'default']);
      expect(queue.counts(10_000)).to.include({ active: 0, dead: 0, bytes: 0 });
    });

    it('dead-letters what has expired where the entity says so', () => {
      const queue = open({ deadLetterExpired: true });
      sent(queue, 0, fresh('a', { ttlMs: 5_000 }));
      queue.tick(5_000);
      expect(dead(queue, 5_000).map(({ death }) => death?.reason)).to.deep.equal(['TTLExpiredException']);
    });

    it('lets nothing expire while it is locked, but as soon as it is given back', () => {
      const queue = open({ deadLetterExpired: true });
      sent(queue, 0, fresh('completed', { ttlMs: 5_000 }), fresh('abandoned', { ttlMs: 5_000 }));
      const [completed, abandoned] = lock(queue, 0, 2);
      expect(queue.main.complete(completed!.token!, 6_000)).to.equal('done');
      expect(queue.main.abandon(abandoned!.token!, 6_000)).to.equal('done');
      expect(lock(queue, 6_000)).to.deep.equal([]);
      expect(texts(dead(queue, 6_000))).to.deep.equal(['abandoned']);
    });

    it('says when something happens next', () => {
      const queue = open();
      expect(queue.next()).to.equal(undefined);
      sent(queue, 0, fresh('a', { ttlMs: 50_000 }), fresh('b', { scheduledFor: 40_000 }));
      expect(queue.next()).to.equal(40_000);
      lockOne(queue, 0);
      expect(queue.next()).to.equal(30_000);
      queue.tick(30_000);
      expect(queue.next()).to.equal(40_000);
      queue.tick(40_000);
      expect(queue.next()).to.equal(50_000);
      queue.tick(50_000);
      expect(queue.next()).to.equal(undefined);
    });
  });

  describe('deferral (message-deferral)', () => {
    it('keeps a deferred message until somebody asks for its number', () => {
      const queue = open();
      const [sequence] = sent(queue, 0, fresh('a'), fresh('b'));
      expect(queue.main.defer(lockOne(queue, 0).token, 1, Buffer.from('a, later'))).to.equal('done');
      expect(textsOf(lock(queue, 2, 5))).to.deep.equal(['b']);
      expect(queue.counts(2)).to.include({ active: 1, deferred: 1 });
      const [found] = queue.main.receiveDeferred([sequence!], { remove: false }, 3)!;
      expect(textOf(found!.message)).to.equal('a, later');
      expect(queue.main.receiveDeferred([sequence!], { remove: false }, 4), 'it is locked').to.equal(undefined);
      expect(queue.main.complete(found!.token!, 5)).to.equal('done');
      expect(queue.counts(6)).to.include({ active: 1, deferred: 0 });
    });

    it('lets it stay deferred when its lock runs out', () => {
      const queue = open();
      sent(queue, 0, fresh('a'));
      queue.main.defer(lockOne(queue, 0).token, 0);
      queue.main.receiveDeferred([1], { remove: false }, 0);
      expect(lock(queue, 30_000)).to.deep.equal([]);
      expect(queue.main.receiveDeferred([1], { remove: true }, 30_000)?.[0]?.message.deliveries).to.equal(1);
      expect(queue.counts(30_000)).to.include({ deferred: 0, bytes: 0 });
    });

    it('gives nothing when one of the numbers is not there', () => {
      const queue = open();
      sent(queue, 0, fresh('a'), fresh('b'));
      queue.main.defer(lockOne(queue, 0).token, 0);
      expect(queue.main.receiveDeferred([1, 2], { remove: true }, 1)).to.equal(undefined);
      expect(queue.main.receiveDeferred([1, 99], { remove: true }, 1)).to.equal(undefined);
      expect(queue.main.receiveDeferred([1], { remove: true }, 1)).to.have.length(1);
    });

    it('lets it expire only when somebody asks for it', () => {
      const queue = open({ deadLetterExpired: true });
      sent(queue, 0, fresh('a', { ttlMs: 5_000 }));
      queue.main.defer(lockOne(queue, 0).token, 0);
      expect(queue.counts(9_000)).to.include({ deferred: 1, dead: 0 });
      expect(queue.main.receiveDeferred([1], { remove: false }, 9_000)).to.equal(undefined);
      expect(queue.counts(9_000)).to.include({ deferred: 0, dead: 1 });
    });
  });

  describe('scheduling (message-sequencing)', () => {
    it('appends a scheduled message when its time has come, under a new number', () => {
      const queue = open();
      expect(sent(queue, 0, fresh('later', { scheduledFor: 5_000 }), fresh('now'))).to.deep.equal([1, 2]);
      expect(queue.counts(4_999)).to.include({ active: 1, scheduled: 1 });
      expect(textsOf(lock(queue, 4_999, 5))).to.deep.equal(['now']);
      const { message } = lockOne(queue, 6_000);
      expect(message).to.include({ sequence: 3, enqueuedAt: 5_000 });
    });

    it('lets its time to live begin then', () => {
      const queue = open();
      sent(queue, 0, fresh('later', { scheduledFor: 5_000, ttlMs: 2_000 }));
      expect(queue.counts(6_999)).to.include({ active: 1 });
      expect(queue.counts(7_000)).to.include({ active: 0 });
    });

    it('takes a time that has passed for now', () => {
      const queue = open();
      sent(queue, 5_000, fresh('a', { scheduledFor: 4_000 }));
      expect(drain(queue, 5_000)).to.deep.equal(['a']);
    });

    it('cancels what is scheduled, and nothing else', () => {
      const queue = open();
      sent(queue, 0, fresh('later', { scheduledFor: 5_000 }), fresh('now'));
      expect(queue.cancel(1, 1)).to.equal(true);
      expect(queue.cancel(1, 1)).to.equal(false);
      expect(queue.cancel(2, 1)).to.equal(false);
      expect(drain(queue, 9_000)).to.deep.equal(['now']);
    });
  });

  describe('duplicates (duplicate-detection)', () => {
    it('drops a message whose id was seen within the window, also after the first was completed', () => {
      const queue = open({ duplicatesMs: 60_000 });
      expect(sent(queue, 0, fresh('first', { messageId: 'x' }), fresh('second', { messageId: 'x' }))).to.deep.equal([1, 2]);
      expect(drain(queue, 1)).to.deep.equal(['first']);
      sent(queue, 59_999, fresh('third', { messageId: 'x' }));
      expect(drain(queue, 59_999)).to.deep.equal([]);
      sent(queue, 60_000, fresh('fourth', { messageId: 'x' }));
      expect(drain(queue, 60_000)).to.deep.equal(['fourth']);
    });

    it('looks for none unless it was asked to, nor where there is no id', () => {
      const queue = open();
      sent(queue, 0, fresh('a', { messageId: 'x' }), fresh('b', { messageId: 'x' }));
      expect(drain(queue, 1)).to.have.length(2);
      const asked = open({ duplicatesMs: 60_000 });
      sent(asked, 0, fresh('a'), fresh('b'));
      expect(drain(asked, 1)).to.have.length(2);
    });
  });

  describe('browsing (message-browsing)', () => {
    it('shows what is active, locked, deferred and scheduled, from a number on', () => {
      const queue = open();
      sent(queue, 0, fresh('deferred'), fresh('locked'), fresh('active'), fresh('scheduled', { scheduledFor: 9_000 }));
      const [first] = lock(queue, 0, 2);
      queue.main.defer(first!.token!, 0);
      const all = queue.main.peek(0, 10, 1);
      expect(texts(all)).to.deep.equal(['deferred', 'locked', 'active', 'scheduled']);
      expect(all.map(({ state }) => state)).to.deep.equal(['deferred', 'active', 'active', 'scheduled']);
      expect(texts(queue.main.peek(2, 2, 1))).to.deep.equal(['locked', 'active']);
      expect(queue.main.peek(5, 2, 1)).to.deep.equal([]);
      expect(queue.main.peek(0, 0, 1)).to.deep.equal([]);
    });
  });

  describe('limits (service-bus-quotas)', () => {
    it('takes all of a batch or nothing of it', () => {
      const queue = open({ bytesMax: 10 });
      expect(queue.send([fresh('12345'), fresh('123456')], 0)).to.deep.equal({ refused: 'full' });
      expect(queue.send([fresh('12345'), fresh('12345')], 0)).to.deep.equal({ sequences: [1, 2] });
      expect(queue.send([fresh('1')], 0)).to.deep.equal({ refused: 'full' });
      drain(queue, 1);
      expect(queue.send([fresh('1')], 2)).to.deep.equal({ sequences: [3] });
    });

    it('counts what is kept elsewhere', () => {
      const queue = open({ bytesMax: 10 }, { elsewhere: () => 6 });
      expect(queue.send([fresh('12345')], 0)).to.deep.equal({ refused: 'full' });
      expect(queue.send([fresh('1234')], 0)).to.have.property('sequences');
    });

    it('counts dead letters to its size', () => {
      const queue = open({ bytesMax: 10 });
      sent(queue, 0, fresh('1234567890'));
      queue.main.bury(lockOne(queue, 0).token, 0, { reason: 'x', description: undefined });
      expect(queue.send([fresh('1')], 1)).to.deep.equal({ refused: 'full' });
    });

    it('refuses what is too large and ids that are too long, and is as it was', () => {
      const queue = open();
      expect(queue.send([fresh('a'), { bytes: Buffer.alloc(1_001) }], 0)).to.deep.equal({ refused: 'tooLarge' });
      expect(() => queue.send([fresh('a', { messageId: 'x'.repeat(129) })], 0)).to.throw(Invalid);
      expect(() => queue.send([fresh('a', { sessionId: 'x'.repeat(129) })], 0)).to.throw(Invalid);
      expect(queue.changes).to.deep.equal([]);
    });

    it('keeps its own copy of the bytes', () => {
      const queue = open();
      const bytes = Buffer.from('mine');
      queue.send([{ bytes }], 0);
      bytes.fill(0);
      expect(drain(queue, 1)).to.deep.equal(['mine']);
    });
  });

  describe('forwarding (service-bus-auto-forwarding)', () => {
    it('keeps nothing of what another entity takes, and what that one does not take', () => {
      const taken: string[] = [];
      const queue = open({}, { forward: (message) => textOf(message) !== 'stays' && taken.push(textOf(message)) > 0 });
      sent(queue, 0, fresh('goes'), fresh('stays'), fresh('goes later', { scheduledFor: 10 }));
      expect(taken).to.deep.equal(['goes']);
      queue.tick(10);
      expect(taken).to.deep.equal(['goes', 'goes later']);
      expect(drain(queue, 11)).to.deep.equal(['stays']);
      expect(reopened(queue).send([fresh('x')], 12)).to.deep.equal({ sequences: [5] });
    });

    it('makes dead what can neither go on nor stay, at once or when it comes due', () => {
      const death = { reason: 'nowhere', description: 'to go' };
      const queue = open({ ttlMs: 50 }, { forward: () => death });
      sent(queue, 0, fresh('a'), fresh('b', { scheduledFor: 10 }));
      expect(dead(queue, 100).map((message) => [textOf(message), message.death, message.expiresAt])).to.deep.equal([['a', death, undefined], ['b', death, undefined]]);
      expect(queue.counts(100)).to.include({ active: 0, scheduled: 0, dead: 2 });
      expect(plain(dead(reopened(queue), 100))).to.equal(plain(dead(queue, 100)));
    });

    it('may lead back to where it came from', () => {
      const queue: Opened = open({ deadLetterExpired: true }, { forwardDead: (message, now) => !('refused' in queue.send([{ bytes: message.bytes, origin: message.sequence }], now)) });
      sent(queue, 0, fresh('a', { ttlMs: 5 }));
      expect(texts(queue.main.peek(0, 9, 10))).to.deep.equal(['a']);
      expect(queue.main.peek(0, 9, 10)[0]).to.include({ origin: 1, sequence: 2 });
    });
  });

  describe('sessions (message-sessions)', () => {
    const inSession = (text: string, sessionId: string, more: Partial<Fresh> = {}): Fresh => fresh(text, { sessionId, ...more });
    const held = (answer: Hold | 'locked' | 'none'): Hold => {
      if (typeof answer === 'string') throw new Error(answer);
      return answer;
    };
    const take = (queue: Queue, hold: Hold, now: number, max = 10): Delivery[] => queue.main.receive({ max, remove: false, hold }, now);

    it('takes only messages that name one', () => {
      const queue = open({ sessions: true });
      expect(queue.send([fresh('a')], 0)).to.deep.equal({ refused: 'sessionMissing' });
    });

    it('gives messages to him alone who holds their session, in order', () => {
      const queue = open({ sessions: true });
      sent(queue, 0, inSession('a1', 'a'), inSession('b1', 'b'), inSession('a2', 'a'));
      expect(lock(queue, 0, 5)).to.deep.equal([]);
      const a = held(queue.accept('a', 0));
      expect(queue.accept('a', 0)).to.equal('locked');
      expect(textsOf(take(queue, a, 0))).to.deep.equal(['a1', 'a2']);
      expect(queue.main.ready(0)).to.equal(0);
    });

    it('gives the next session that has messages waiting, each in its turn', () => {
      const queue = open({ sessions: true });
      sent(queue, 0, inSession('a1', 'a'), inSession('b1', 'b'));
      const first = held(queue.accept(undefined, 0));
      const second = held(queue.accept(undefined, 0));
      expect([first.session, second.session]).to.deep.equal(['a', 'b']);
      expect(queue.accept(undefined, 0)).to.equal('none');
      queue.releaseSession(first, 1);
      sent(queue, 1, inSession('c1', 'c'));
      expect(held(queue.accept(undefined, 1)).session).to.equal('a');
      expect(held(queue.accept(undefined, 1)).session).to.equal('c');
    });

    it('accepts a named session that has no messages yet', () => {
      const queue = open({ sessions: true });
      const hold = held(queue.accept('new', 0));
      sent(queue, 1, inSession('a', 'new'));
      expect(textsOf(take(queue, hold, 1))).to.deep.equal(['a']);
    });

    it('loses the session when its lock runs out: its messages are free, and were delivered once', () => {
      const queue = open({ sessions: true });
      sent(queue, 0, inSession('a1', 'a'), inSession('a2', 'a'));
      let lost = 0;
      let ready = 0;
      const hold = held(queue.accept('a', 0, { lost: () => lost++, ready: () => ready++ }));
      const [first] = take(queue, hold, 0, 1);
      queue.tick(29_999);
      expect(lost).to.equal(0);
      expect(queue.next()).to.equal(30_000);
      queue.tick(30_000);
      expect(lost).to.equal(1);
      expect(ready, 'what he held is ready again').to.equal(1);
      expect(hold.alive).to.equal(false);
      expect(queue.main.complete(first!.token!, 30_000)).to.equal('lost');
      expect(queue.renewSession(hold, 30_000)).to.equal(undefined);
      expect(queue.setSessionState(hold, Buffer.from('x'), 30_000)).to.equal(false);
      expect(take(queue, hold, 30_000)).to.deep.equal([]);
      const next = held(queue.accept(undefined, 30_000));
      expect(take(queue, next, 30_000).map(({ message }) => [textOf(message), message.deliveries])).to.deep.equal([['a1', 1], ['a2', 0]]);
    });

    it('keeps the session and its messages as long as it is renewed', () => {
      const queue = open({ sessions: true });
      sent(queue, 0, inSession('a1', 'a'));
      const hold = held(queue.accept('a', 0));
      const [first] = take(queue, hold, 0);
      expect(queue.main.renew(first!.token!, 1), 'a message has no lock of its own').to.equal(undefined);
      expect(queue.renewSession(hold, 29_999)).to.equal(59_999);
      expect(queue.main.complete(first!.token!, 59_998)).to.equal('done');
      expect(hold.alive).to.equal(true);
    });

    it('counts no delivery when the session is closed', () => {
      const queue = open({ sessions: true });
      sent(queue, 0, inSession('a1', 'a'));
      const hold = held(queue.accept('a', 0));
      take(queue, hold, 0);
      queue.releaseSession(hold, 1);
      queue.releaseSession(hold, 1);
      expect(take(queue, held(queue.accept('a', 1)), 1)[0]?.message.deliveries).to.equal(0);
    });

    it('tells the holder of what comes in for him', () => {
      const queue = open({ sessions: true });
      let ready = 0;
      held(queue.accept('a', 0, { lost: () => undefined, ready: () => ready++ }));
      sent(queue, 1, inSession('a1', 'a'), inSession('b1', 'b'));
      expect(ready).to.equal(1);
    });

    it('takes what comes in dead, with or without a session', () => {
      const queue = open({ sessions: true });
      sent(queue, 0, fresh('a', { death: { reason: 'r', description: 'd' } }));
      expect(dead(reopened(queue, { sessions: true }), 1).map(({ death }) => death)).to.deep.equal([{ reason: 'r', description: 'd' }]);
      expect(queue.counts(1)).to.include({ active: 0, dead: 1 });
    });

    it('dead-letters a message of a session that was handed out too often, and goes on with the next', () => {
      const queue = open({ sessions: true, deliveriesMax: 2 });
      sent(queue, 0, inSession('a1', 'a'), inSession('a2', 'a'));
      const hold = held(queue.accept('a', 0));
      for (let time = 0; time < 2; time++) queue.main.abandon(take(queue, hold, 0, 1)[0]!.token!, 0);
      expect(textsOf(take(queue, hold, 0))).to.deep.equal(['a2']);
      expect(textsOf(queue.dead.receive({ max: 5, remove: false }, 0))).to.deep.equal(['a1']);
    });

    it('remembers a state, with or without messages', () => {
      const queue = open({ sessions: true });
      const hold = held(queue.accept('a', 0));
      expect(queue.sessionState('a')).to.equal(undefined);
      expect(queue.setSessionState(hold, Buffer.from('half way'), 0)).to.equal(true);
      queue.releaseSession(hold, 1);
      expect(queue.sessionState('a')?.toString()).to.equal('half way');
      expect(queue.sessions(1, { skip: 0, top: 10 })).to.deep.equal(['a']);
      expect(() => queue.setSessionState(held(queue.accept('a', 1)), Buffer.alloc(1_001), 1)).to.throw(Invalid);
      expect(queue.setSessionState(queue.holdOf('a', 2)!, undefined, 2)).to.equal(true);
      queue.releaseSession(queue.holdOf('a', 3)!, 3);
      expect(queue.sessions(3, { skip: 0, top: 10 })).to.deep.equal([]);
    });

    it('gives deferred messages to the holder alone, and shows one session alone when asked to', () => {
      const queue = open({ sessions: true });
      sent(queue, 0, inSession('a1', 'a'), inSession('b1', 'b'));
      const a = held(queue.accept('a', 0));
      const b = held(queue.accept('b', 0));
      queue.main.defer(take(queue, a, 0)[0]!.token!, 0);
      expect(queue.main.receiveDeferred([1], { remove: false }, 1)).to.equal(undefined);
      expect(queue.main.receiveDeferred([1], { remove: false, hold: b }, 1)).to.equal(undefined);
      expect(textsOf(queue.main.receiveDeferred([1], { remove: false, hold: a }, 1)!)).to.deep.equal(['a1']);
      expect(texts(queue.main.peek(0, 9, 1, 'b'))).to.deep.equal(['b1']);
      expect(queue.main.peek(0, 9, 1, 'nobody')).to.deep.equal([]);
    });
  });

  describe('kept over a restart', () => {
    it('has messages, counts, deferred, scheduled, dead, states and ids; locks are gone', () => {
      const some = { duplicatesMs: 60_000, deadLetterExpired: true };
      const queue = open(some);
      sent(queue, 0, fresh('locked', { messageId: 'x' }), fresh('abandoned'), fresh('deferred'), fresh('dead'), fresh('expired', { ttlMs: 5 }), fresh('later', { scheduledFor: 500 }));
      const [locked, abandoned, deferred, buried] = lock(queue, 1, 4);
      queue.main.abandon(abandoned!.token!, 2, Buffer.from('abandoned, changed'));
      queue.main.defer(deferred!.token!, 2);
      queue.main.bury(buried!.token!, 2, { reason: 'r', description: 'd' });
      queue.tick(5);
      const next = reopened(queue, some);
      expect(next.counts(6)).to.deep.equal({ ...queue.counts(6), locked: 0 });
      expect(next.main.complete(locked!.token!, 6)).to.equal('lost');
      expect(plain(next.main.peek(0, 99, 6))).to.equal(plain(queue.main.peek(0, 99, 6)));
      expect(plain(dead(next, 6))).to.equal(plain(dead(queue, 6)));
      expect(sent(next, 7, fresh('again', { messageId: 'x' }))).to.deep.equal([7]);
      expect(drain(next, 500)).to.deep.equal(['locked', 'abandoned, changed', 'later']);
      expect(textsOf(next.main.receiveDeferred([3], { remove: true }, 500)!)).to.deep.equal(['deferred']);
    });

    it('keeps what came before it had sessions, in the one without a name', () => {
      const queue = open();
      sent(queue, 0, fresh('a'));
      const next = reopened(queue, { sessions: true });
      const hold = next.accept(undefined, 1) as Hold;
      expect(hold.session).to.equal('');
      expect(textsOf(next.main.receive({ max: 5, remove: true, hold }, 1))).to.deep.equal(['a']);
    });

    it('refuses changes that cannot have happened', () => {
      expect(() => open().replay({ is: 'gone', side: 'main', sequence: 1 })).to.throw(Invalid);
    });
  });

  describe('on a random walk', () => {
    const walk = (name: string, some: Partial<Rules>): unknown =>
      it(`does what a small model does: ${name}`, () => {
        fc.assert(fc.property(fc.array(step, { minLength: 30, maxLength: 120 }), (steps) => follow(steps, { ...rules, ...some })), { numRuns: 100 });
      });
    walk('a plain queue', {});
    walk('everything at once', { ttlMs: 90, deadLetterExpired: true, duplicatesMs: 70, deliveriesMax: 2, lockMs: 40, bytesMax: 60 });
    walk('messages that are dropped when they expire', { ttlMs: 60, lockMs: 40 });
    walk('sessions', { sessions: true, lockMs: 40 });
    walk('sessions with everything', { sessions: true, lockMs: 40, deliveriesMax: 2, ttlMs: 90, deadLetterExpired: true, duplicatesMs: 70 });
  });

  describe('with 100,000 messages waiting', () => {
    it('does everything about as fast as with ten', function () {
      this.timeout(60_000);
      // The first time the code itself is still being made fast.
      cost(10);
      const few = cost(10);
      const many = cost(100_000);
      // A scan takes twenty times as long, and more; caches and chance are allowed something.
      expect(many, `${few} µs with ten, ${many} µs with 100,000`).to.be.below(few * 5 + 50);
    });
  });
});

/** Microseconds of CPU for one of everything, while so many are waiting, deferred, scheduled, dead and in sessions. */
function cost(waiting: number): number {
  const queue = open({ bytesMax: 1e9, deliveriesMax: 1e6, ttlMs: 1e9, duplicatesMs: 1e6 }, { record: () => undefined });
  const sessions = open({ bytesMax: 1e9, deliveriesMax: 1e6, sessions: true }, { record: () => undefined });
  for (let n = 0; n < waiting; n += 10) {
    const ten = Array.from({ length: 10 }, (_, m) => n + m);
    sent(queue, n, ...ten.flatMap((one) => [fresh('waits', { messageId: `id-${one}`, ttlMs: 1e8 + one }), fresh('later', { scheduledFor: 1e8 + ((one * 7_919) % waiting) })]));
    sent(sessions, n, ...ten.map((one) => fresh('waits', { sessionId: `s-${one % 20_000}` })));
    const [deferred, buried] = lock(queue, n, 2);
    queue.main.defer(deferred!.token!, n);
    queue.main.bury(buried!.token!, n, { reason: 'r', description: '' });
  }
  const now = waiting;
  const rounds = 1_000;
  const before = process.cpuUsage();
  for (let round = 0; round < rounds; round++) everything(queue, sessions, now + round);
  return process.cpuUsage(before).user / rounds;
}

function everything(queue: Queue, sessions: Queue, now: number): void {
  const [, later] = sent(queue, now, fresh('new'), fresh('new, later', { scheduledFor: now + 1e7 }));
  queue.cancel(later!, now);
  const [one, two, three] = lock(queue, now, 3);
  queue.main.renew(one!.token!, now);
  queue.main.abandon(one!.token!, now);
  queue.main.defer(two!.token!, now);
  const [deferred] = queue.main.receiveDeferred([two!.message.sequence], { remove: false }, now)!;
  queue.main.complete(deferred!.token!, now);
  queue.main.bury(three!.token!, now, { reason: 'r', description: '' });
  sent(queue, now, fresh('new'));
  queue.dead.receive({ max: 1, remove: true }, now);
  queue.main.peek(now, 5, now);
  queue.main.ready(now);
  queue.dead.ready(now);
  queue.counts(now);
  queue.next();
  const hold = sessions.accept(undefined, now) as Hold;
  sessions.main.receive({ max: 1, remove: false, hold }, now);
  sessions.renewSession(hold, now);
  sessions.releaseSession(hold, now);
}

// ---------------------------------------------------------------- the random walk

type Step =
  | { readonly do: 'send'; readonly id: number; readonly session: number; readonly ttl: number; readonly later: number; readonly count: number }
  | { readonly do: 'receive'; readonly max: number; readonly remove: boolean; readonly dead: boolean; readonly hold: number }
  | { readonly do: 'complete' | 'abandon' | 'release' | 'defer' | 'bury' | 'renew'; readonly token: number }
  | { readonly do: 'receiveDeferred'; readonly sequence: number; readonly hold: number }
  | { readonly do: 'cancel'; readonly sequence: number }
  | { readonly do: 'wait'; readonly ms: number }
  | { readonly do: 'accept'; readonly session: number }
  | { readonly do: 'renewSession' | 'releaseSession' | 'state'; readonly hold: number }
  | { readonly do: 'restart'; readonly fromSnapshot: boolean }
  | { readonly do: 'loseLocks' };

const small = (max: number): fc.Arbitrary<number> => fc.nat({ max });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ do: fc.constant('send' as const), id: small(4), session: small(2), ttl: small(3), later: small(3), count: small(2) }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('receive' as const), max: small(3), remove: fc.boolean(), dead: fc.boolean(), hold: small(5) }) },
  { weight: 8, arbitrary: fc.record({ do: fc.constantFrom('complete', 'abandon', 'release', 'defer', 'bury', 'renew'), token: small(12) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('receiveDeferred' as const), sequence: small(15), hold: small(5) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('cancel' as const), sequence: small(15) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: small(50) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('accept' as const), session: small(3) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('renewSession', 'releaseSession', 'state'), hold: small(5) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('restart' as const), fromSnapshot: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('loseLocks' as const) }) },
);

/** A message of the model: everything is looked up by going through all of them. */
interface Simple {
  side: 'main' | 'dead';
  sequence: number;
  readonly text: string;
  readonly session: string | undefined;
  readonly ttl: number | undefined;
  state: 'active' | 'deferred' | 'scheduled';
  due: number | undefined;
  expires: number | undefined;
  deliveries: number;
  reason: string | undefined;
  lock: { readonly token: string; until: number; readonly hold: SimpleHold | undefined } | undefined;
}
interface SimpleHold {
  readonly session: string;
  until: number;
  alive: boolean;
}

function createModel({ lockMs, ttlMs, deadLetterExpired, deliveriesMax, duplicatesMs, sessions }: Rules) {
  let all: Simple[] = [];
  let next = 1;
  let seen: { readonly id: string; readonly until: number }[] = [];
  let holds: SimpleHold[] = [];
  const states = new Map<string, string>();

  const ordered = (side: 'main' | 'dead'): Simple[] => all.filter((one) => one.side === side).sort((a, b) => a.sequence - b.sequence);
  const remove = (gone: Simple): void => void (all = all.filter((one) => one !== gone));
  const expiry = (at: number, ttl: number | undefined): number | undefined => (ttl === undefined && ttlMs === undefined ? undefined : at + Math.min(ttl ?? Infinity, ttlMs ?? Infinity));

  function bury(one: Simple, reason: string): void {
    Object.assign(one, { side: 'dead', state: 'active', expires: undefined, lock: undefined, reason });
  }

  function undelivered(one: Simple): void {
    one.lock = undefined;
    one.deliveries++;
    if (one.side === 'main' && one.deliveries >= deliveriesMax) bury(one, 'MaxDeliveryCountExceeded');
  }

  function expire(one: Simple): void {
    if (deadLetterExpired) bury(one, 'TTLExpiredException');
    else remove(one);
  }

  function tick(now: number): void {
    for (const one of all) if (one.lock && (one.lock.hold ?? one.lock).until <= now) undelivered(one);
    for (const hold of holds) if (hold.until <= now) hold.alive = false;
    holds = holds.filter(({ alive }) => alive);
    for (const one of all.filter(({ due }) => due !== undefined && due <= now).sort((a, b) => a.due! - b.due! || a.sequence - b.sequence)) {
      Object.assign(one, { sequence: next++, state: 'active', expires: expiry(one.due!, one.ttl), due: undefined });
    }
    for (const one of all) if (one.side === 'main' && one.state === 'active' && !one.lock && one.expires !== undefined && one.expires <= now) expire(one);
    seen = seen.filter(({ until }) => until > now);
  }

  const lockWith = (one: Simple, token: string | undefined, hold: SimpleHold | undefined, now: number): void => {
    if (token === undefined) remove(one);
    else one.lock = { token, until: now + lockMs, hold };
  };
  const mine = (one: Simple, hold: SimpleHold | undefined): boolean => one.side === 'dead' || !sessions || (hold?.alive === true && hold.session === one.session);

  return {
    ordered,
    tick,
    states,
    bytes: () => all.reduce((sum, { text }) => sum + text.length, 0),
    send(text: string, { id, session, ttl, later }: { id?: string | undefined; session?: string | undefined; ttl?: number | undefined; later?: number | undefined }, now: number): void {
      const sequence = next++;
      if (duplicatesMs !== undefined && id !== undefined && seen.some((one) => one.id === id)) return;
      if (duplicatesMs !== undefined && id !== undefined) seen.push({ id, until: now + duplicatesMs });
      all.push({ side: 'main', sequence, text, session, ttl, state: later === undefined ? 'active' : 'scheduled', due: later, expires: later === undefined ? expiry(now, ttl) : undefined, deliveries: 0, reason: undefined, lock: undefined });
    },
    free: (side: 'main' | 'dead', hold: SimpleHold | undefined) => ordered(side).filter((one) => one.state === 'active' && !one.lock && mine(one, hold)),
    deferred(sequence: number, hold: SimpleHold | undefined, now: number): Simple | undefined {
      const one = all.find((some) => some.side === 'main' && some.sequence === sequence && some.state === 'deferred' && !some.lock && mine(some, hold));
      if (one?.expires === undefined || one.expires > now) return one;
      expire(one);
      return undefined;
    },
    lockWith,
    byToken: (token: string) => all.find(({ lock: held }) => held?.token === token),
    remove,
    undelivered,
    bury,
    accept(session: string, now: number): SimpleHold {
      const hold = { session, until: now + lockMs, alive: true };
      holds.push(hold);
      return hold;
    },
    isHeld: (session: string) => holds.some((hold) => hold.session === session),
    end(hold: SimpleHold): void {
      hold.alive = false;
      holds = holds.filter((one) => one !== hold);
      for (const one of all) if (one.lock?.hold === hold) one.lock = undefined;
    },
    loseLocks(): number {
      const lost = all.filter((one) => one.lock && !one.lock.hold).length + holds.length;
      for (const one of all) if (one.lock) undelivered(one);
      for (const hold of holds) hold.alive = false;
      holds = [];
      return lost;
    },
    restart(): void {
      for (const one of all) one.lock = undefined;
      for (const hold of holds) hold.alive = false;
      holds = [];
    },
  };
}

/** Does each step to both, and compares what they say and what there is to see. */
function follow(steps: readonly Step[], some: Rules): void {
  const model = createModel(some);
  let queue = open(some);
  let now = 0;
  let made = 0;
  const tokens: string[] = [];
  const holds: [Hold, SimpleHold][] = [];

  function handedOut(found: readonly Delivery[], expected: readonly Simple[], remove: boolean, hold: SimpleHold | undefined): void {
    expect(found.map(({ message }) => [message.sequence, textOf(message), message.deliveries])).to.deep.equal(expected.map((one) => [one.sequence, one.text, one.deliveries]));
    found.forEach(({ token }, index) => {
      if (token !== undefined) tokens.push(token);
      expect(token === undefined).to.equal(remove);
      model.lockWith(expected[index]!, token, hold, now);
    });
  }

  function send({ id, session, ttl, later, count }: Step & { do: 'send' }): void {
    const one = (n: number) => ({ id: id === 4 ? undefined : `id${id + n}`, session: `s${session}`, ttl: ttl === 0 ? undefined : ttl * 30, later: later === 0 ? undefined : now + later * 15 });
    const messages = Array.from({ length: count + 1 }, (_, n) => ({ text: `m${made++}`, ...one(n) }));
    const answer = queue.send(messages.map(({ text, id: messageId, session: sessionId, ttl: ttlMs, later: scheduledFor }) => fresh(text, { messageId, sessionId, ttlMs, scheduledFor })), now);
    const full = model.bytes() + messages.reduce((sum, { text }) => sum + text.length, 0) > some.bytesMax;
    expect('refused' in answer).to.equal(full);
    if (!full) for (const message of messages) model.send(message.text, message, now);
  }

  function settle({ do: verb, token: index }: Step & { do: 'complete' | 'abandon' | 'release' | 'defer' | 'bury' | 'renew' }): void {
    const token = tokens.at(-1 - index);
    const one = token === undefined ? undefined : model.byToken(token);
    if (token === undefined) return;
    // Dead letters know the tokens of dead letters alone.
    const box = one?.side === 'dead' ? queue.dead : queue.main;
    if (verb === 'renew') {
      const renewed = box.renew(token, now);
      expect(renewed).to.equal(one && !one.lock!.hold ? now + some.lockMs : undefined);
      if (renewed !== undefined) one!.lock!.until = renewed;
      return;
    }
    const settled = verb === 'bury' ? box.bury(token, now, { reason: 'r', description: undefined }) : box[verb](token, now);
    expect(settled).to.equal(!one ? 'lost' : verb === 'bury' && one.side === 'dead' ? 'forbidden' : 'done');
    if (!one || settled !== 'done') return;
    if (verb === 'complete') model.remove(one);
    else if (verb === 'abandon') model.undelivered(one);
    else if (verb === 'bury') model.bury(one, 'r');
    else if (verb === 'defer') Object.assign(one, { state: 'deferred', lock: undefined });
    else one.lock = undefined;
  }

  function accept(index: number): void {
    const wanted = index === 3 ? undefined : `s${index}`;
    const answer = queue.accept(wanted, now);
    const waiting = new Set(model.ordered('main').filter((one) => one.state === 'active' && !one.lock && !model.isHeld(one.session!)).map(({ session }) => session));
    if (wanted === undefined && waiting.size === 0) return void expect(answer).to.equal('none');
    if (wanted !== undefined && model.isHeld(wanted)) return void expect(answer).to.equal('locked');
    if (typeof answer === 'string') throw new Error(`no session: ${answer}`);
    // Which of those that wait is nobody's promise.
    expect(wanted === undefined ? waiting.has(answer.session) : answer.session === wanted).to.equal(true);
    holds.push([answer, model.accept(answer.session, now)]);
  }

  function withHold(verb: 'renewSession' | 'releaseSession' | 'state', [hold, simple]: [Hold, SimpleHold]): void {
    if (verb === 'releaseSession') {
      queue.releaseSession(hold, now);
      model.end(simple);
    } else if (verb === 'renewSession') {
      expect(queue.renewSession(hold, now)).to.equal(simple.alive ? now + some.lockMs : undefined);
      if (simple.alive) simple.until = now + some.lockMs;
    } else {
      const state = `state${made++}`;
      expect(queue.setSessionState(hold, Buffer.from(state), now)).to.equal(simple.alive);
      if (simple.alive) model.states.set(hold.session, state);
    }
  }

  function restart(fromSnapshot: boolean): void {
    if (fromSnapshot) queue.changes.splice(0, queue.changes.length, ...queue.snapshot());
    queue = reopened(queue, some);
    // What somebody held belongs to a process that is gone; his tokens he may still present.
    holds.length = 0;
    model.restart();
  }

  function act(one: Step): void {
    const [hold, simple] = ('hold' in one ? holds.at(-1 - one.hold) : undefined) ?? [undefined, undefined];
    switch (one.do) {
      case 'send': return send(one);
      case 'receive': {
        const side = one.dead ? 'dead' : 'main';
        const expected = model.free(side, simple).slice(0, one.max);
        const found = queue[side].receive({ max: one.max, remove: one.remove, hold }, now);
        return handedOut(found, expected, one.remove, side === 'main' && some.sessions ? simple : undefined);
      }
      case 'receiveDeferred': {
        const expected = model.deferred(one.sequence, simple, now);
        const found = queue.main.receiveDeferred([one.sequence], { remove: false, hold: some.sessions ? hold : undefined }, now);
        expect(found === undefined).to.equal(expected === undefined);
        return handedOut(found ?? [], expected ? [expected] : [], false, some.sessions ? simple : undefined);
      }
      case 'cancel': {
        const scheduled = model.ordered('main').find(({ sequence, state }) => sequence === one.sequence && state === 'scheduled');
        expect(queue.cancel(one.sequence, now)).to.equal(scheduled !== undefined);
        return scheduled && model.remove(scheduled);
      }
      case 'wait': return void (now += one.ms);
      case 'accept': return some.sessions ? accept(one.session) : undefined;
      case 'renewSession': case 'releaseSession': case 'state': return hold && withHold(one.do, [hold, simple]);
      case 'restart': return restart(one.fromSnapshot);
      case 'loseLocks': return void expect(queue.loseLocks(now)).to.equal(model.loseLocks());
      default: return settle(one);
    }
  }

  function compare(): void {
    for (const side of ['main', 'dead'] as const) {
      const found = queue[side].peek(0, 1_000, now).map((message) => [message.sequence, textOf(message), message.state, message.deliveries, message.death?.reason]);
      expect(found).to.deep.equal(model.ordered(side).map((one) => [one.sequence, one.text, one.state, one.deliveries, one.reason]));
    }
    const main = model.ordered('main');
    const count = (state: string): number => main.filter((one) => one.state === state).length;
    const locked = main.filter(({ lock: held }) => held).length;
    expect(queue.counts(now)).to.deep.equal({ active: count('active'), locked, deferred: count('deferred'), scheduled: count('scheduled'), dead: model.ordered('dead').length, bytes: model.bytes() });
    for (const [session, state] of model.states) expect(queue.sessionState(session)?.toString()).to.equal(state);
  }

  for (const one of steps) {
    act(one);
    model.tick(now);
    compare();
  }
}
