import '../../adapters/carriers/carrier.ts'; // loaded beforehand: while a module is being loaded the clock does not know that somebody is busy
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openEmbedded, type Embedded } from '../../adapters/embedded/index.ts';
import { openMemory, type Memory } from '../../adapters/memory/index.ts';
import { queues, streams } from '../../core/flow.ts';
import type { AnyService, Kernel } from '../../core/kernel/service.ts';
import { shipping } from '../../core/shipping/index.ts';
import { openShop, type Shop } from '../../handlers/container.ts';
import { services } from '../../handlers/index.ts';
import { goOn } from '../../handlers/local.ts';
import { startPump } from '../../handlers/pump.ts';
import { parseSettings } from '../../handlers/settings.ts';
import {
  PortError, isRefusal, isTransient, openStore,
  type Clock, type Letter, type Log, type MailerDriver, type QueueDriver, type StoreDriver, type StreamDriver,
} from '../../ports/index.ts';
import { createClock, type VirtualClock } from '../support/clock.ts';
import { createIds } from '../support/ids.ts';
import type { Call } from '../support/world.ts';
import { createLedger, type Ledger } from './crashledger.ts';

/**
 * A WORLD THAT IS KILLED: the whole shop over any family, on a clock that stands still until it is moved. Every call of the running shop to a port is counted, those of
 * its timers and of its opening too, and one of them is struck:
 *
 * - `before`: the process is gone before the call has had its effect;
 * - `unanswered`: the effect is done, the process is gone before it knows;
 * - `after`: the process has the answer, may still answer its own client, and is gone before it asks for anything else;
 * - `lost`: the effect is done, the answer is lost (`unavailable`), and the process lives on.
 *
 * A process that is gone is opened anew on the same state, as a supervisor would. Customers, operators, the mailer and this file outlive it.
 */
export const ways = ['before', 'unanswered', 'after', 'lost'] as const;
export type Way = (typeof ways)[number];
export interface Fault {
  /** The how-manieth call, from 1. */
  readonly at: number;
  readonly how: Way;
}

/** What a family brings to be put under it: drivers on a state of its own that outlives them. */
export interface Ground {
  readonly clock: VirtualClock;
  /** Opens drivers on the state that is there, an empty one at first; after `sever`, anew. They know the queues and streams of the flow. */
  open(): Promise<Drivers>;
  /** Ends those that are open without a farewell: every later call of theirs fails. */
  sever(): Promise<void>;
  /** Throws the state away. */
  close(): Promise<void>;
}
export interface Drivers {
  readonly store: StoreDriver;
  readonly queue: QueueDriver;
  readonly stream: StreamDriver;
}
export interface CrashFamily {
  /** Whether the same story makes the same calls in the same order each time. Where sockets are between, it does not quite. */
  readonly exact: boolean;
  open(): Ground | Promise<Ground>;
}

/** Short, so that a message whose receiver was killed comes again soon. */
const lockSeconds = 5;
const partitionsPerStream = 2;

const memory = (): Ground => {
  const clock = createClock();
  let drivers: Memory | undefined;
  return {
    clock,
    async open() {
      drivers = openMemory({ clock, queues, streams, partitionsPerStream, lockSeconds, ...(drivers ? { engines: drivers.engines } : {}) });
      return drivers;
    },
    sever: async () => drivers?.close(),
    close: async () => drivers?.close(),
  };
};

/** In a folder that lives in memory where there is one: a process that is killed leaves the operating system alive, and with it everything that was written. */
const embedded = (): Ground => {
  const clock = createClock();
  const dataDir = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'anyport-crash-'));
  let drivers: Embedded | undefined;
  const sever = async (): Promise<void> => drivers?.close();
  return {
    clock,
    async open() {
      drivers = await openEmbedded({ dataDir, clock, queues, streams, partitionsPerStream, lockSeconds });
      return drivers;
    },
    sever,
    async close() {
      await sever();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
};

export const families: Readonly<Record<string, CrashFamily>> = {
  memory: { exact: true, open: memory },
  embedded: { exact: true, open: embedded },
  azure: { exact: false, open: async () => (await import('./crashazure.ts')).openAzureGround() },
  aws: { exact: false, open: async () => (await import('./crashaws.ts')).openAwsGround() },
};

export interface CrashWorld {
  readonly clock: VirtualClock;
  readonly ledger: Ledger;
  /** Calls to ports so far. */
  calls(): number;
  /** The calls so far. */
  readonly moments: readonly Moment[];
  /** The call that was struck, as `port.method`. */
  readonly struck: string | undefined;
  /** True when the shop has been open for so long, and what was to be struck is over: a long poll may be struck when all else is at rest. */
  isOpenFor(milliseconds: number): boolean;
  /** Asks the shop as somebody outside does: who gets no answer asks again, until there is one. Refusals are answers. */
  ask<Answer>(work: (kernel: Kernel) => Promise<Answer>): Promise<Answer>;
  /** Asks once. `undefined`: there was no answer, and nobody cares. */
  askOnce<Answer>(work: (kernel: Kernel) => Promise<Answer>): Promise<Answer | undefined>;
  /** Past all counting and all faults: for those who look behind the ports. */
  behind(): { readonly drivers: Drivers; readonly kernel: Kernel };
  /** Lets time pass until the work is done; what takes longer than so many seconds is a violation. */
  play(work: Promise<void>, secondsMax: number): Promise<void>;
  close(): Promise<void>;
}

/** A call, and what it means to kill the process around it. */
export interface Moment {
  readonly name: string;
  /** All that has been done to the world, begun, asked and answered when the call began, and the time. Whoever is killed at one of two calls with the same `state` leaves the same world behind. */
  readonly state: string;
  /** Nothing of that had changed when its answer came … */
  stillAtAnswer?: boolean;
  /** … and when whoever got the answer had made of it what he could without asking for more. */
  stillAfter?: boolean;
}

/** What the story's people agree on with the shop. */
export const carrierSecret = 'a secret of the demo carrier';
const settings = parseSettings({ ADAPTERS: 'memory', DEMO_CARRIER_DELIVERS_AFTER_SECONDS: '1', DEMO_CARRIER_SECRET: carrierSecret, SHOP_URL: 'http://localhost:3000' });
const everySeconds = { pollProducts: 3, sweepOpenOrders: 8, sweepClaims: 8, sweepBookings: 8 };

/** One process of the shop. */
interface Life {
  dead: boolean;
  /** Nothing of it runs any more. */
  buried: boolean;
  readonly died: Promise<typeof gone>;
  readonly die: () => void;
  readonly clock: Clock;
  kernel: Kernel | undefined;
  stop: () => void;
}
const gone = Symbol('the process is gone');

export async function openCrashWorld(family: CrashFamily, fault?: Fault): Promise<CrashWorld> {
  const ground = await family.open();
  const { clock } = ground;
  const ids = createIds(1);
  const ledger = createLedger(() => calls);
  const mailer = createMailer(ledger);
  const moments: Moment[] = [];
  /** Counts what leaves a trace outside the process: effects begun and done, requests and answers of those outside. */
  let traces = 0;
  let calls = 0;
  let struck: string | undefined;
  let isOver = true;
  let openSince = 0;
  let drivers: Drivers | undefined;
  let life: Life | undefined;
  let up: Promise<Life> | undefined;
  let closed = false;

  // ---------------------------------------------------------------- faults

  function faced<Driver extends object>(mine: Life, port: Call['port'], driver: Driver): Driver {
    return new Proxy(driver, {
      get(target, name) {
        const member: unknown = Reflect.get(target, name);
        if (typeof member !== 'function') return member;
        return (...args: unknown[]) => strike(mine, { port, method: String(name), args }, async () => Reflect.apply(member, target, args) as unknown);
      },
    });
  }

  async function strike(mine: Life, call: Call, work: () => Promise<unknown>): Promise<unknown> {
    if (mine.buried) return never();
    if (mine.dead) throw noAnswer();
    calls++;
    const moment: Moment = { name: `${call.port}.${call.method}`, state: state() };
    moments.push(moment);
    if (calls !== fault?.at) return heard(mine, await watched(moment, () => done(call, work)));
    struck = moment.name;
    isOver = false;
    return struckBy(fault.how, mine, call, work).finally(() => (isOver = true));
  }

  async function struckBy(how: Way, mine: Life, call: Call, work: () => Promise<unknown>): Promise<unknown> {
    switch (how) {
      case 'before':
        kill(mine);
        throw noAnswer();
      case 'unanswered':
        await done(call, work).finally(() => kill(mine));
        throw noAnswer();
      case 'after':
        return done(call, work).finally(() => void killAfterAnswer(mine));
      case 'lost':
        await done(call, work);
        throw noAnswer();
    }
  }

  const state = (): string => `${traces} ${clock.now()}`;

  /** Compares the moments around a call, in a run that nobody disturbs. */
  async function watched(moment: Moment, work: () => Promise<unknown>): Promise<unknown> {
    if (fault) return work();
    try {
      return await work();
    } finally {
      moment.stillAtAnswer = state() === moment.state;
      void turns(3).then(() => (moment.stillAfter = state() === moment.state));
    }
  }

  async function done(call: Call, work: () => Promise<unknown>): Promise<unknown> {
    if (effects.has(call.method)) traces++;
    const answer = await work();
    if (effects.has(call.method) || (call.method === 'receive' && (answer as unknown[]).length > 0)) traces++;
    ledger.note(call, answer, clock.now());
    return answer;
  }

  /** An answer that comes to a process that is gone is heard by nobody. */
  function heard(mine: Life, answer: unknown): unknown {
    if (mine.dead) throw noAnswer();
    return answer;
  }

  function kill(mine: Life): void {
    mine.dead = true;
    mine.die();
  }

  /** It asks for nothing any more, but what it knows it may still tell. */
  async function killAfterAnswer(mine: Life): Promise<void> {
    mine.dead = true;
    await turns(2);
    mine.die();
  }

  // ---------------------------------------------------------------- lives

  function createLife(): Life {
    let die = (): void => {};
    const died = new Promise<typeof gone>((resolve) => (die = () => resolve(gone)));
    const mine: Life = {
      dead: false,
      buried: false,
      died,
      die,
      // Like the machine's, this clock shows whole milliseconds, however long somebody has slept.
      clock: { now: () => clock.now(), sleep: (milliseconds, signal) => (mine.buried ? never() : mine.dead ? turns(1) : clock.sleep(Math.ceil(milliseconds), signal)) },
      kernel: undefined,
      stop: () => {},
    };
    return mine;
  }

  async function open(): Promise<Life> {
    for (;;) {
      const mine = createLife();
      life = mine;
      try {
        drivers = await ground.open();
        await begin(mine, drivers);
        return mine;
      } catch (error) {
        if (!isTransient(error)) throw error;
        // An opening that fails ends the process, too.
        kill(mine);
        await bury(mine);
      }
    }
  }

  async function begin(mine: Life, raw: Drivers): Promise<void> {
    const outer: Record<string, unknown> = { mailer: faced(mine, 'mailer', mailer) };
    for (const port of ['store', 'queue', 'stream'] as const) outer[port] = faced(mine, port, raw[port]);
    const openedAt = clock.now();
    const shop = await openShop(settings, { post: (...notice) => post(mine, ...notice), clock: mine.clock, ids, log: logOf(mine), memory: { ...nowhere(clock), ...outer } });
    start(mine, { ...shop.kernel, carrier: faced(mine, 'carrier', shop.kernel.carrier) }, shop, openedAt);
  }

  function start(mine: Life, kernel: Kernel, shop: Shop, openedAt: number): void {
    mine.kernel = kernel;
    openSince = clock.now();
    const pump = startPump(kernel, services as readonly AnyService[], { everySeconds, timers: [{ name: 'demoCarrier', everySeconds: 1, tick: () => shop.carrier.tick() }] });
    mine.stop = () => void pump.stop();
    void goOn({ kernel }, openedAt);
  }

  async function post(mine: Life, carrier: string, headers: Readonly<Record<string, string>>, raw: Uint8Array): Promise<number> {
    if (mine.dead || !mine.kernel) throw noAnswer();
    const request = { params: { carrier }, query: undefined, body: undefined, idempotencyKey: undefined, headers, raw };
    return heard(mine, (await shipping.answers.takeNotice(mine.kernel, request)).status) as number;
  }

  /** What a process that is gone has left running comes to its end, for it gets no answer and sleeps no more; what would go on for ever stands still. */
  async function bury(mine: Life): Promise<void> {
    mine.stop();
    await ground.sever();
    await turns(60);
    mine.buried = true;
    await clock.sleep(500);
  }

  async function supervise(): Promise<void> {
    while (!closed) {
      up = open();
      const mine = await up;
      await mine.died;
      if (!closed) await bury(mine);
    }
  }

  function logOf(mine: Life): Log {
    const quiet = (): void => {};
    const loud = (data: object, text: string): void => {
      const { error } = data as { error?: unknown };
      if (!mine.dead && !explained.has(text)) ledger.fail(`logged as an error: ${text}: ${String(error)}`);
    };
    return { debug: quiet, info: quiet, warn: quiet, error: loud };
  }

  // ---------------------------------------------------------------- those outside

  async function askOnce<Answer>(work: (kernel: Kernel) => Promise<Answer>): Promise<Answer | undefined> {
    const mine = await (up ?? open());
    if (mine.dead) {
      await clock.sleep(100);
      return undefined;
    }
    traces++;
    try {
      const answer = await Promise.race([work(mine.kernel!), mine.died]);
      traces++;
      return answer === gone ? undefined : (answer as Answer);
    } catch (error) {
      if (!isTransient(error)) ledger.fail(`an answer with status 500: ${String(error)}`);
      return undefined;
    }
  }

  async function ask<Answer>(work: (kernel: Kernel) => Promise<Answer>): Promise<Answer> {
    for (;;) {
      const answer = await askOnce(work);
      if (answer !== undefined && !(isRefusal(answer) && answer.refused === 'in-flight')) return answer;
      await clock.sleep(300);
    }
  }

  async function play(work: Promise<void>, secondsMax: number): Promise<void> {
    const until = clock.now() + secondsMax * 1_000;
    let over = false;
    const end = (): void => void (over = true);
    work.then(end, end);
    // Where nobody sleeps something outside our time is waited for, as a module that is being loaded.
    for (let patientUntil = performance.now() + patienceMilliseconds; !over && !ledger.violation; ) {
      if (clock.now() > until) return ledger.fail(`stuck: not at its end after ${secondsMax} s; waiting: ${[...ledger.open(), ...ledger.parked()].slice(0, 10).join('; ')}`);
      if (await clock.next()) patientUntil = performance.now() + patienceMilliseconds;
      else if (performance.now() > patientUntil) return ledger.fail('stuck: nobody sleeps, and the story is not at its end');
    }
    if (over) await work;
  }

  supervise().catch((error: unknown) => ledger.fail(`the shop does not open: ${String(error)}`));
  return {
    clock,
    isOpenFor: (milliseconds) => isOver && life !== undefined && !life.dead && life.kernel !== undefined && clock.now() - openSince >= milliseconds,
    ledger, moments, ask, askOnce, play,
    calls: () => calls,
    get struck() {
      return struck;
    },
    behind: () => ({ drivers: drivers!, kernel: { ...life!.kernel!, store: openStore(drivers!.store) } }),
    async close() {
      closed = true;
      if (life) {
        kill(life);
        life.stop();
        await turns(20);
        life.buried = true;
      }
      await ground.close();
    },
  };
}

/** All others only look; a receive that brings something locks it. */
const effects = new Set(['commit', 'send', 'append', 'remove', 'renew', 'book']);
/** Of the machine's own time: it may have much else to do. */
const patienceMilliseconds = 60_000;

/** What the log may call an error: poison is met, and says so. */
const explained = new Set(['an event of a stream is parked']);
const never = (): Promise<never> => new Promise(() => {});
const noAnswer = (): PortError => new PortError('unavailable', 'no answer');

/** So many turns of the event loop. */
async function turns(count: number): Promise<void> {
  for (let n = 0; n < count; n++) await new Promise((resolve) => setImmediate(resolve));
}

/** The rest of what the composition root calls a memory family: nobody uses it. */
const nowhere = (clock: Clock): Memory => openMemory({ clock, queues, streams });

/**
 * A mailer that would send everything that it is given, as often as it is given it, and can tell of some letters only: so a claim that is forgotten, one that is
 * repeated unasked and one that nobody can clear up all show.
 */
function createMailer({ letters }: Ledger): MailerDriver {
  return {
    async send(_: Letter) {}, // the ledger keeps it
    async ask(key) {
      if (!tells(key)) return 'unknown';
      return letters.some((letter) => letter.key === key) ? 'sent' : 'notSent';
    },
  };
}

/** The milestones of whose letters the mailer knows what became of them. */
export const tells = (letterKey: string): boolean => ['confirmation', 'shipped', 'cancelled'].includes(letterKey.split('.')[1]!);
