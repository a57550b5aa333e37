import { Invalid, type Clock } from '../ports/index.ts';
import { described, isDescribed, long, timestamp, type Value, type Writable } from './message.ts';
import type { AmqpError, Answer, Outcome, OutLink, Outlet, Response, Wish } from './amqp.ts';
import type { Delivery, Hold, Queue, Settled } from './queue.ts';

/**
 * Sessions of one entity on the wire: links that receive from a session, those who wait for the next one, and the operations of management on sessions.
 * What a session is, and who holds it, is queue.ts.
 *
 * Written from https://learn.microsoft.com/azure/service-bus-messaging/: message-sessions, service-bus-amqp-request-response ("Session operations"),
 * service-bus-messaging-exceptions (SessionCannotBeLocked, SessionLockLost).
 */
export interface Sessions {
  /** Grants the named session or the next one; for the next one it may have to wait, as long as the client said. */
  attach(wish: Wish): Answer | Promise<Answer>;
  /** To be called after everything that may have made messages ready: hands them to the holders, and sessions to those who wait. */
  stir(): void;
  /** The hold of the session that a request names; undefined if the link it speaks for does not hold it. */
  holdOf(body: ReadonlyMap<string, Value>, linkName: string | undefined): Hold | undefined;
  /** Undefined if it is no operation on sessions. */
  request(operation: string, body: ReadonlyMap<string, Value>, linkName: string | undefined): Response | undefined;
  /** The entity is gone. */
  close(error: AmqpError): void;
}

export interface SessionsOptions {
  readonly queue: Queue;
  readonly clock: Clock;
  deliver(link: OutLink, delivery: Delivery): void;
  settle(tag: Buffer, outcome: Outcome, now: number): Settled;
  /** To be told to a client when a settlement failed. */
  readonly failures: Readonly<Record<Exclude<Settled, 'done'>, AmqpError>>;
  /** Something was settled, or a session is free. */
  changed(): void;
}

/** A link that holds a session. */
interface Reader {
  readonly hold: Hold;
  readonly remove: boolean;
  link: OutLink | undefined;
}

interface Waiter {
  readonly wish: Wish;
  grant(answer: Answer): void;
}

const filterName = 'com.microsoft:session-filter';
/** If the client does not say how long it waits. */
const waitMsDefault = 60_000;
const sessionsMax = 10_000;

export const sessionLockLost: AmqpError = { condition: 'com.microsoft:session-lock-lost', description: 'The session lock was lost. Request a new session receiver.' };
const cannotBeLocked = (session: string): AmqpError => ({
  condition: 'com.microsoft:session-cannot-be-locked',
  description: `The requested session '${session}' cannot be accepted. It may be locked by another receiver.`,
});
const timedOut: AmqpError = { condition: 'com.microsoft:timeout', description: 'The operation did not complete within the allotted timeout: there is no session with messages waiting.' };

export function createSessions({ queue, clock, deliver, settle, failures, changed }: SessionsOptions): Sessions {
  const readers = new Map<string, Reader>();
  /** Whose messages have become ready since the last look. */
  const stirred = new Set<Reader>();
  const lost = new Set<Reader>();
  const linkNames = new WeakMap<Hold, string>();
  let waiters: Waiter[] = [];

  // ---- accepting

  function attach(wish: Wish): Answer | Promise<Answer> {
    const wanted = wantedBy(wish);
    if (typeof wanted === 'string') return accept(wanted, wish) ?? { refused: cannotBeLocked(wanted) };
    return accept(undefined, wish) ?? waitForNext(wish);
  }

  function accept(session: string | undefined, wish: Wish): Outlet | undefined {
    let reader: Reader | undefined;
    const holder = { lost: () => void (reader && lost.add(reader)), ready: () => void (reader && stirred.add(reader)) };
    const hold = queue.accept(session, clock.now(), holder);
    if (typeof hold === 'string') return undefined;
    reader = { hold, remove: wish.settled, link: undefined };
    readers.set(hold.session, reader);
    linkNames.set(hold, wish.name);
    return outlet(reader, wish);
  }

  function waitForNext(wish: Wish): Promise<Answer> {
    const asked = wish.properties.get('com.microsoft:timeout');
    const over = new AbortController();
    return new Promise((resolve) => {
      const waiter: Waiter = {
        wish,
        grant(answer) {
          over.abort();
          wish.gone.removeEventListener('abort', giveUp);
          resolve(answer);
        },
      };
      function giveUp(): void {
        waiters = waiters.filter((one) => one !== waiter);
        waiter.grant({ refused: timedOut });
      }
      waiters.push(waiter);
      wish.gone.addEventListener('abort', giveUp, { once: true });
      void clock.sleep(typeof asked === 'number' ? Math.max(0, asked) : waitMsDefault, over.signal).then(() => over.signal.aborted || giveUp());
    });
  }

  // ---- receiving

  function outlet(reader: Reader, wish: Wish): Outlet {
    const { hold } = reader;
    return {
      filters: { [filterName]: grantedTo(wish, hold.session) },
      properties: { 'com.microsoft:locked-until-utc': ticks(hold.lockedUntil) },
      flow(link) {
        reader.link = link;
        if (!hold.alive) return link.close(sessionLockLost);
        pour(reader);
        changed();
      },
      settle(tag, outcome, done) {
        const settled = settle(tag, outcome, clock.now());
        done(settled === 'done' ? undefined : hold.alive ? failures[settled] : sessionLockLost);
        changed();
      },
      closed() {
        forget(reader);
        queue.releaseSession(hold, clock.now());
        changed();
      },
    };
  }

  function forget(reader: Reader): void {
    stirred.delete(reader);
    lost.delete(reader);
    if (readers.get(reader.hold.session) === reader) readers.delete(reader.hold.session);
  }

  function pour({ link, remove, hold }: Reader): void {
    if (link === undefined || link.credit <= 0) return;
    for (const delivery of queue.main.receive({ max: link.credit, remove, hold }, clock.now())) deliver(link, delivery);
  }

  function stir(): void {
    // A look at the time may lose sessions: first those are said good-bye to.
    queue.tick(clock.now());
    for (const reader of lost) {
      forget(reader);
      reader.link?.close(sessionLockLost);
    }
    const hungry = [...stirred];
    stirred.clear();
    for (const reader of hungry) pour(reader);
    while (waiters.length > 0) {
      const granted = accept(undefined, waiters[0]!.wish);
      if (granted === undefined) return;
      waiters.shift()!.grant(granted);
    }
  }

  // ---- management

  function holdOf(body: ReadonlyMap<string, Value>, linkName: string | undefined): Hold | undefined {
    const session = body.get('session-id');
    const hold = typeof session === 'string' ? queue.holdOf(session, clock.now()) : undefined;
    if (hold === undefined || (linkName !== undefined && linkNames.get(hold) !== linkName)) return undefined;
    return hold;
  }

  function renew(hold: Hold): Response {
    const until = queue.renewSession(hold, clock.now());
    return until === undefined ? lockIsLost : { status: 200, body: { expiration: timestamp(until) } };
  }

  function setState(hold: Hold, body: ReadonlyMap<string, Value>): Response {
    const state = body.get('session-state') ?? null;
    if (state !== null && !(state instanceof Uint8Array)) throw new Invalid('session-state must be binary');
    return queue.setSessionState(hold, state === null ? undefined : Buffer.from(state), clock.now()) ? { status: 200 } : lockIsLost;
  }

  function list(body: ReadonlyMap<string, Value>): Response {
    const [skip, top] = ['skip', 'top'].map((key) => Number(body.get(key) ?? 0));
    const names = queue.sessions(clock.now(), { skip: Math.max(0, skip!), top: Math.min(Math.max(0, top!), sessionsMax) });
    return names.length === 0 ? { status: 204 } : { status: 200, body: { skip: skip! + names.length, 'sessions-ids': names } };
  }

  function request(operation: string, body: ReadonlyMap<string, Value>, linkName: string | undefined): Response | undefined {
    if (operation === 'com.microsoft:get-message-sessions') return list(body);
    const act = { 'com.microsoft:renew-session-lock': renew, 'com.microsoft:set-session-state': setState, 'com.microsoft:get-session-state': getState }[operation];
    if (act === undefined) return undefined;
    const hold = holdOf(body, linkName);
    return hold === undefined ? lockIsLost : act(hold, body);
  }

  function getState({ session }: Hold): Response {
    return { status: 200, body: { 'session-state': queue.sessionState(session) ?? null } };
  }

  return {
    attach,
    stir,
    holdOf,
    request,
    close(error) {
      for (const { link } of readers.values()) link?.close(error);
      for (const waiter of waiters.splice(0)) waiter.grant({ refused: error });
    },
  };
}

const lockIsLost: Response = { status: 410, ...sessionLockLost };

/** Some SDKs write the name of the session as a described value, others bare; null is the next one. The answer is written like the question. */
function wantedBy({ filters }: Wish): Value {
  const given = filters.get(filterName) ?? null;
  return isDescribed(given) ? given.value : given;
}

function grantedTo({ filters }: Wish, session: string): Writable {
  const given = filters.get(filterName) ?? null;
  return isDescribed(given) ? described(given.descriptor, session) : session;
}

/** .NET counts tenths of a microsecond since the year 1; so many had passed in 1970. */
const ticks = (milliseconds: number): ReturnType<typeof long> => long(BigInt(milliseconds) * 10_000n + 621_355_968_000_000_000n);
