import { expect } from 'chai';
import { collections } from '../../core/flow.ts';
import type { DeadLetter } from '../../core/kernel/dead.ts';
import { follow } from '../../core/kernel/follow.ts';
import { rowsOf } from '../../core/kernel/list.ts';
import { say } from '../../core/kernel/model.ts';
import { parkedKeys, retryParked } from '../../core/kernel/park.ts';
import { receiveWork } from '../../core/kernel/receive.ts';
import { createRelay } from '../../core/kernel/relay.ts';
import type { AnyService, Kernel } from '../../core/kernel/service.ts';
import {
  Defect, Invalid, PortError, isMalformed, must, partitionOf, partitionsOf, timestamp,
  type Message, type Outgoing, type OutboxBody, type OutboxRow, type Ports, type Received, type Road, type Row,
} from '../../ports/index.ts';
import { createIds } from '../support/ids.ts';
import { createLog } from '../support/log.ts';
import { casesOf, type Case } from './case.ts';
import { looksMax, readAll, settingOf, type Family } from './family.ts';

/**
 * RECEIVING: what our kernel makes of a family's drivers: everything is handled at least once, in the order of its key, whatever dies; what cannot be handled is set
 * aside, listed, and loses nothing. Asked of every family, since it is the sum of its promises that counts; and of mutants of the kernel, which is handed in.
 */
export interface Machine {
  readonly follow: typeof follow;
  readonly receiveWork: typeof receiveWork;
  readonly retryParked: typeof retryParked;
  readonly parkedKeys: typeof parkedKeys;
  readonly createRelay: typeof createRelay;
}

export const machine: Machine = { follow, receiveWork, retryParked, parkedKeys, createRelay };

/** Stands between the kernel and the family's drivers, if set: may fail, count, or lose the answer. */
type Interfere = (call: { readonly method: string; readonly args: readonly unknown[] }, work: () => Promise<unknown>) => Promise<unknown>;

type Handler = (message: Message) => Promise<void>;

/** Calls of ports in one case. Over drivers that answer a conflict for ever the kernel tries for ever, and lets nobody else in meanwhile. */
const callsMax = 30_000;

const [a, b, c] = ['a', 'b', 'c'].map((letter) => letter.repeat(26)) as [string, string, string];
/** `a0`: the first message about a. */
const nameOf = ({ subject, sequence }: Message): string => subject[0]! + Number(sequence);

export function receivingCases(family: Family, { follow: followOne, receiveWork: work, retryParked: wake, parkedKeys: parked, createRelay: relayOf }: Machine = machine): Case[] {
  const at = settingOf(family);
  const second = 1_000;
  const lock = family.lockSeconds * second;
  let interfere: Interfere | undefined;
  /** Names of what was handled to its end, in that order. */
  let heard: string[];
  let kernel: Kernel;
  let calls: number;

  const place = {
    async open() {
      await at.open();
      interfere = undefined;
      heard = [];
      calls = 0;
      kernel = kernelOf();
    },
    close: () => at.close(),
  };

  async function restart(): Promise<void> {
    await at.restart();
    interfere = undefined;
    kernel = kernelOf();
  }

  function faced<Face extends object>(face: Face): Face {
    return new Proxy(face, {
      get(target, method) {
        const member: unknown = Reflect.get(target, method);
        if (typeof member !== 'function') return member;
        return (...args: unknown[]) => {
          must(++calls < callsMax, 'a case of receiving comes to an end');
          const call = async (): Promise<unknown> => Reflect.apply(member, target, args) as unknown;
          return interfere ? interfere({ method: String(method), args }, call) : call();
        };
      },
    });
  }

  function kernelOf(): Kernel {
    const nobody = new Proxy({}, { get: () => () => Promise.reject(new Defect('nobody is asked here')) });
    const ports: Ports = {
      store: faced(at.store), queue: faced(at.queue), stream: faced(at.stream), clock: family.clock(), ids: createIds(7), log: createLog(),
      mailer: nobody as Ports['mailer'], carrier: nobody as Ports['carrier'], notices: new Map(), settings: { shopName: 'Shop', shopUrl: 'http://shop.invalid', lowStockAt: 1 },
    };
    return { ...ports, relay: relayOf(ports), published: nobody as Kernel['published'], secret: 'a secret' };
  }

  /** Shipping, with one ear. What the handler lets pass is heard. */
  function serviceWith(handler: Handler = async () => {}): AnyService {
    const hear = async (_: Kernel, message: Message): Promise<void> => {
      await handler(message);
      heard.push(nameOf(message));
    };
    return { name: 'shipping', hears: { CancellationRequested: hear }, answers: {}, ticks: {} };
  }

  const about = (subject: string, sequence: number, roads?: readonly Road[]): Outgoing => {
    const said = say('CancellationRequested', { orderId: subject }, { subject, sequence, at: timestamp(family.clock().now()) });
    return roads ? { ...said, roads } : said;
  };
  async function append(...messages: Outgoing[]): Promise<void> {
    expect(await at.stream.append('facts', messages.map(({ message }) => message))).to.deep.equal([]);
  }

  /** Lets time pass until it is so. */
  async function until(what: string, holds: () => boolean | Promise<boolean>, seconds = 60): Promise<void> {
    for (let passed = 0; !(await holds()); passed += 0.25) {
      if (passed > seconds) throw new Error(`${what}: not within ${seconds} s; heard ${heard.join(' ')}`);
      await family.pass(250);
    }
  }
  const untilHeard = (...names: string[]): Promise<void> => until(`heard ${names.join(' ')}`, () => names.every((name) => heard.includes(name)));

  /** Follows all partitions until it is stopped, or left to itself by a kill. */
  function following(service: AnyService, lost?: () => Promise<void>): { stop(): Promise<void> } {
    const stop = new AbortController();
    const mine = kernel;
    const ended = (async () => {
      const partitions = await mine.stream.partitions('facts');
      await Promise.all(partitions.map((partition) => followOne(mine, service, { stream: 'facts', partition, signal: stop.signal, ...(lost ? { lost } : {}) })));
    })();
    ended.catch(() => undefined);
    return {
      async stop() {
        stop.abort();
        let over = false;
        await Promise.all([ended.finally(() => (over = true)), until('the follower ends', () => over)]);
      },
    };
  }

  /** Does it while time passes. */
  async function timely<Result>(doing: Promise<Result>): Promise<Result> {
    let over = false;
    const watched = doing.finally(() => (over = true));
    watched.catch(() => undefined);
    await until('the work ends', () => over);
    return watched;
  }

  const listed = (): ReturnType<typeof parked> => timely(parked(kernel));
  const never = (): Promise<never> => new Promise(() => {});
  const first = (names: readonly string[]): string[] => [...new Set(names)];
  const ofKey = (letter: string): string[] => first(heard).filter((name) => name.startsWith(letter));

  async function rowsIn<Body>(partitions: readonly string[], prefix: string): Promise<Row<Body>[]> {
    const rows: Row<Body>[] = [];
    for (const partition of partitions) for await (const row of rowsOf<Body>(at.store, partition, prefix)) rows.push(row);
    return rows;
  }
  const deadLetters = async (): Promise<DeadLetter[]> => (await rowsIn<DeadLetter>(partitionsOf(collections.dead), 'dead|')).map(({ body }) => body);

  return casesOf(`receiving · ${family.name}`, family, place, ({ group, promises }) => {
    group('following a stream', () => {
      promises('hears everything, also what was said before anybody listened, each key in its order', async () => {
        await append(...[0, 1, 2, 3, 4].flatMap((n) => [about(a, n), about(b, n)]));
        const follower = following(serviceWith());
        await untilHeard('a4', 'b4');
        await append(about(c, 0), about(a, 5));
        await untilHeard('c0', 'a5');
        await follower.stop();
        expect(ofKey('a')).to.deep.equal(['a0', 'a1', 'a2', 'a3', 'a4', 'a5']);
        expect(ofKey('b')).to.deep.equal(['b0', 'b1', 'b2', 'b3', 'b4']);
      });

      promises('goes on behind what it has handled, after a clean end and a restart', async () => {
        await append(about(a, 0), about(b, 0), about(a, 1));
        const follower = following(serviceWith());
        await untilHeard('a1', 'b0');
        await follower.stop();
        await restart();
        heard = [];
        await append(about(a, 2), about(b, 1));
        const again = following(serviceWith());
        await untilHeard('a2', 'b1');
        await again.stop();
        expect([...heard].sort()).to.deep.equal(['a2', 'b1']);
      });

      promises('handles again after a kill what was not handled to its end, and skips nothing', async () => {
        await append(about(b, 0), about(a, 0), about(b, 1), about(a, 1), about(c, 0));
        following(serviceWith((message) => (nameOf(message) === 'a0' ? never() : Promise.resolve())));
        await untilHeard('b0', 'b1', 'c0');
        await family.pass(5 * second);
        expect(heard).to.not.include('a1');
        await restart();
        const follower = following(serviceWith());
        await untilHeard('a0', 'a1');
        await follower.stop();
        expect(ofKey('a')).to.deep.equal(['a0', 'a1']);
      });

      promises('handles the events of one key one after the other, and keys side by side', async () => {
        const under = new Map<string, number>();
        let [most, mostTogether] = [0, 0];
        const slowly: Handler = async ({ subject }) => {
          under.set(subject, (under.get(subject) ?? 0) + 1);
          most = Math.max(most, ...under.values());
          mostTogether = Math.max(mostTogether, [...under.values()].reduce((sum, n) => sum + n, 0));
          await family.clock().sleep(300);
          under.set(subject, under.get(subject)! - 1);
        };
        await append(...[0, 1, 2, 3].flatMap((n) => [about(a, n), about(b, n), about(c, n)]));
        const follower = following(serviceWith(slowly));
        await untilHeard('a3', 'b3', 'c3');
        await follower.stop();
        expect([most, mostTogether > 1]).to.deep.equal([1, true]);
        for (const letter of 'abc') expect(heard.filter((name) => name.startsWith(letter))).to.deep.equal([0, 1, 2, 3].map((n) => letter + n));
      });

      promises('stands, and parks and skips nothing, while time has to heal the world', async () => {
        let sick = true;
        const follower = following(serviceWith(async (message) => {
          if (sick && message.subject === a) throw new PortError('unavailable', 'by the test');
        }));
        await append(about(a, 0), about(b, 0), about(a, 1), about(b, 1));
        await untilHeard('b0', 'b1');
        await family.pass(300 * second);
        expect(ofKey('a')).to.deep.equal([]);
        expect(await listed()).to.deep.equal([]);
        sick = false;
        await untilHeard('a0', 'a1');
        await follower.stop();
        expect(ofKey('a')).to.deep.equal(['a0', 'a1']);
      });

      promises('parks and skips nothing while the store cannot be asked', async () => {
        await append(about(a, 0));
        const follower = following(serviceWith());
        await untilHeard('a0');
        interfere = ({ method }, call) => (['get', 'query', 'commit'].includes(method) ? Promise.reject(new PortError('unavailable', 'by the test')) : call());
        await append(about(a, 1), about(b, 0), about(a, 2));
        await family.pass(120 * second);
        expect(heard).to.deep.equal(['a0']);
        interfere = undefined;
        await untilHeard('a1', 'a2', 'b0');
        expect(await listed()).to.deep.equal([]);
        await follower.stop();
      });

      promises('repeats nothing because the answers to its positions are lost, as long as nobody is killed', async () => {
        interfere = async ({ method, args }, call) => {
          const answer = await call();
          if (method === 'commit' && JSON.stringify(args).includes('position|')) throw new PortError('unavailable', 'the answer was lost');
          return answer;
        };
        const follower = following(serviceWith());
        for (let n = 0; n < 5; n++) {
          await append(about(a, n));
          await untilHeard(`a${n}`);
          await family.pass(10 * second);
        }
        await follower.stop();
        expect(heard).to.deep.equal(['a0', 'a1', 'a2', 'a3', 'a4']);
        expect(await listed()).to.deep.equal([]);
      });

      promises('lets a reader that has been overtaken not move the position back', async () => {
        await append(about(a, 0), about(a, 1));
        following(serviceWith(async (message) => {
          await (nameOf(message) === 'a0' ? family.clock().sleep(20 * second) : never());
        }));
        await family.pass(2 * second);
        await append(about(a, 2), about(a, 3));
        const quick = following(serviceWith());
        await untilHeard('a3');
        await quick.stop();
        await family.pass(60 * second);
        await restart();
        heard = [];
        const third = following(serviceWith());
        await append(about(b, 0));
        await untilHeard('b0');
        await family.pass(5 * second);
        await third.stop();
        expect(heard).to.deep.equal(['b0']);
      });

      promises('says so when its position has fallen out of retention, and goes on from the earliest', async () => {
        const losses: number[] = [];
        const lost = async (): Promise<void> => void losses.push(1);
        await append(about(a, 0));
        const follower = following(serviceWith(), lost);
        await untilHeard('a0');
        await follower.stop();
        const beginnings = losses.length;
        await append(about(a, 1));
        await family.expire!();
        await append(about(a, 2));
        const again = following(serviceWith(), lost);
        await untilHeard('a2');
        await again.stop();
        expect(losses.length - beginnings).to.equal(1);
        expect(ofKey('a')).to.deep.equal(['a0', 'a2']);
      }, family.expire);
    });

    group('parking', () => {
      /** Everything about a fails by its own fault for as long as it is broken. */
      function poisoned(): { handler: Handler; heal(): void } {
        let broken = true;
        return {
          handler: async ({ subject }) => {
            if (broken && subject === a) throw new Defect('by the test');
          },
          heal: () => void (broken = false),
        };
      }
      const due = (seconds = 6): Promise<void> => family.pass(seconds * second);

      promises('sets aside what fails by its own fault, with all that follows it under its key, and moves on with the others', async () => {
        const { handler } = poisoned();
        const follower = following(serviceWith(handler));
        await append(about(a, 0), about(b, 0), about(a, 1), about(c, 0), about(b, 1));
        await untilHeard('b0', 'b1', 'c0');
        await until('both are parked', async () => (await listed())[0]?.items === 2);
        const [head, ...others] = await listed();
        expect(others).to.deep.equal([]);
        expect(head).to.include({ consumer: 'shipping', stream: 'facts', partitionkey: a, items: 2, reason: 'Defect: by the test' });
        await follower.stop();
        expect(ofKey('a')).to.deep.equal([]);
      });

      promises('wakes a parked key in the order of its events, once the cause is gone', async () => {
        const { handler, heal } = poisoned();
        const service = serviceWith(handler);
        const follower = following(service);
        await append(...Array.from({ length: 12 }, (_, n) => about(a, n)));
        await until('all are parked', async () => (await listed())[0]?.items === 12);
        heal();
        await due();
        expect(await timely(wake(kernel, [service]))).to.equal(1);
        expect(ofKey('a')).to.deep.equal(Array.from({ length: 12 }, (_, n) => `a${n}`));
        expect(await listed()).to.deep.equal([]);
        await append(about(a, 12));
        await untilHeard('a12');
        await follower.stop();
      });

      promises('lets nothing overtake what is parked, not even what would succeed', async () => {
        let broken = true;
        const service = serviceWith(async (message) => {
          if (broken && nameOf(message) === 'a0') throw new Defect('by the test');
        });
        const follower = following(service);
        await append(about(a, 0), about(a, 1), about(b, 0));
        await untilHeard('b0');
        await append(about(a, 2), about(a, 3));
        await until('all are parked', async () => (await listed())[0]?.items === 4);
        expect(ofKey('a')).to.deep.equal([]);
        broken = false;
        await due();
        await timely(wake(kernel, [service]));
        await follower.stop();
        expect(ofKey('a')).to.deep.equal(['a0', 'a1', 'a2', 'a3']);
      });

      promises('lets nothing slip in between while a key is released', async () => {
        let broken = true;
        const service = serviceWith(async ({ subject }) => {
          if (broken && subject === a) throw new Defect('by the test');
          await family.clock().sleep(400);
        });
        const follower = following(service);
        await append(about(a, 0), about(a, 1), about(a, 2));
        await until('all are parked', async () => (await listed())[0]?.items === 3);
        broken = false;
        await due();
        const waking = wake(kernel, [service]);
        waking.catch(() => undefined);
        for (let n = 3; n < 10; n++) {
          await append(about(a, n));
          await family.pass(250);
        }
        await timely(waking);
        for (let round = 0; round < 8 && !heard.includes('a9'); round++) {
          await due(30);
          await timely(wake(kernel, [service]));
        }
        await untilHeard('a9');
        await follower.stop();
        expect(ofKey('a')).to.deep.equal(Array.from({ length: 10 }, (_, n) => `a${n}`));
      });

      promises('keeps what is parked over a kill, and what fails again stays parked, in order', async () => {
        const { handler, heal } = poisoned();
        following(serviceWith(handler));
        await append(about(a, 0), about(a, 1));
        await until('both are parked', async () => (await listed())[0]?.items === 2);
        await restart();
        const service = serviceWith(handler);
        await due();
        expect(await timely(wake(kernel, [service]))).to.equal(0);
        expect((await listed())[0]).to.include({ items: 2, attempts: 1 });
        heal();
        await due(31);
        expect(await timely(wake(kernel, [service]))).to.equal(1);
        expect(heard).to.deep.equal(['a0', 'a1']);
      });

      promises('tries a parked key not before its time, unless a person asks for it, and then no other', async () => {
        let tries = 0;
        const service = serviceWith(async ({ subject }) => {
          if (subject === c) return;
          tries++;
          throw new Defect('by the test');
        });
        const follower = following(service);
        await append(about(a, 0), about(b, 0), about(c, 0));
        await untilHeard('c0');
        await until('two keys are parked', async () => (await listed()).length === 2);
        await follower.stop();
        const before = tries;
        expect(await timely(wake(kernel, [service]))).to.equal(0);
        expect(tries - before, 'before its time').to.equal(0);
        await timely(wake(kernel, [service], { consumer: 'shipping', partitionkey: a }));
        expect(tries - before, 'as a person wants it').to.equal(1);
      });

      promises('blames no parked key for a world that is down', async () => {
        let mood: 'poison' | 'sick' | 'well' = 'poison';
        const service = serviceWith(async () => {
          if (mood === 'poison') throw new Defect('by the test');
          if (mood === 'sick') throw new PortError('throttled', 'by the test');
        });
        const follower = following(service);
        await append(about(a, 0));
        await until('it is parked', async () => (await listed()).length === 1);
        await follower.stop();
        mood = 'sick';
        for (let round = 0; round < 6; round++) {
          await due(20);
          await timely(wake(kernel, [service]));
        }
        expect((await listed())[0]).to.include({ attempts: 0, deaths: 0, reason: 'Defect: by the test' });
        mood = 'well';
        await due(20);
        expect(await timely(wake(kernel, [service]))).to.equal(1);
        expect(heard).to.deep.equal(['a0']);
      });

      promises('parks at once what does not fit its shape, and what nobody can read, with its key and its words', async () => {
        await append({ ...about(a, 0), message: { ...about(a, 0).message, data: { orderId: 7 } } }, about(b, 0));
        await family.plantStream!('facts', c, 'no event');
        const follower = following(serviceWith());
        await untilHeard('b0');
        await until('both are parked', async () => (await listed()).length === 2);
        const reasons = new Map((await listed()).map(({ partitionkey, reason }) => [partitionkey, reason]));
        expect(reasons.get(a)).to.match(/^Invalid: .*\/data\/orderId/);
        expect(reasons.get(c)).to.match(/^malformed: /);
        await follower.stop();
        expect(heard).to.deep.equal(['b0']);
      }, family.plantStream);

      promises('parks unhandled the event at which the process has ended three times, and goes on', async () => {
        let deaths = 0;
        const deadly: Handler = async (message) => {
          if (nameOf(message) !== 'a0') return;
          deaths++;
          await never();
        };
        await append(about(a, 0)); // Before what is said next, which would count as progress: in one append keys have no order.
        await append(about(b, 0), about(a, 1));
        for (let start = 1; start <= 3; start++) {
          following(serviceWith(deadly));
          await until('it is handled', () => deaths === start);
          await family.pass(2 * second);
          await restart();
        }
        const follower = following(serviceWith(deadly));
        await until('it is parked', async () => (await listed())[0]?.items === 2);
        await untilHeard('b0');
        await follower.stop();
        expect(deaths).to.equal(3);
        expect(ofKey('a')).to.deep.equal([]);
      });
    });

    group('working off a queue', () => {
      /** Receives and works for so long; what could not be settled comes again by itself. */
      async function workFor(service: AnyService, seconds: number, enough: () => boolean | Promise<boolean> = () => false): Promise<void> {
        for (let passed = 0; passed < seconds && !(await enough()); passed++) {
          const received = await kernel.queue.receive('work', { max: 16, waitSeconds: 0 }).catch((): Received[] => []);
          const works = received.map((each) => work(kernel, service, each).catch(() => undefined));
          await timely(Promise.all(works));
          await family.pass(second);
        }
      }
      const send = (...said: Outgoing[]): Promise<void> => at.queue.send('work', said.map(({ message }) => message));
      const left = async (): Promise<number> => {
        await family.pass(lock + second);
        let count = 0;
        for (let look = 0; look < looksMax; look++) count += (await at.queue.receive('work', { max: 16, waitSeconds: 0 })).length;
        return count;
      };

      promises('settles what was handled, and then it is gone', async () => {
        await send(about(a, 0), about(b, 0));
        await workFor(serviceWith(), 60, () => heard.length === 2);
        expect([...heard].sort()).to.deep.equal(['a0', 'b0']);
        expect(await left()).to.equal(0);
        expect(await deadLetters()).to.deep.equal([]);
      });

      promises('settles nothing before it was handled: a kill in between brings it again', async () => {
        await send(about(a, 0));
        let begun = false;
        const [received] = await takeWork();
        work(kernel, serviceWith(() => ((begun = true), never())), received!).catch(() => undefined);
        await until('it is handled', () => begun);
        await restart();
        await family.pass(lock + second);
        await workFor(serviceWith(), 60, () => heard.length === 1);
        expect(heard).to.deep.equal(['a0']);
      });

      promises('tries again, later and later, what fails by its own fault, and buries it after ten attempts with its reason', async () => {
        await send(about(a, 0));
        const times: number[] = [];
        await workFor(serviceWith(async () => {
          times.push(family.clock().now());
          throw new Defect('by the test');
        }), 1_200, async () => (await deadLetters()).length > 0);
        expect(times).to.have.length(10);
        const waits = times.slice(1).map((time, n) => time - times[n]!);
        for (const [n, wait] of waits.slice(1).entries()) expect(wait).to.be.at.least(waits[n]!);
        const [letter, ...others] = await deadLetters();
        expect(others).to.deep.equal([]);
        expect(letter).to.include({ channel: 'work', consumer: 'shipping', attempts: 10, reason: 'maxAttempts: Defect: by the test' });
        expect(isMalformed(letter!.message) ? '' : nameOf(letter!.message)).to.equal('a0');
        expect(await left()).to.equal(0);
      });

      promises('buries at once, with its reason and its words, what is Invalid and what nobody can read', async () => {
        await family.plantQueue!('work', 'no message');
        await send(about(a, 0));
        await workFor(serviceWith(() => Promise.reject(new Invalid('by the test'))), 60, async () => (await deadLetters()).length === 2);
        const letters = await deadLetters();
        expect(letters.map(({ reason }) => reason).sort()).to.deep.equal(['invalid: by the test', 'malformed: not JSON']);
        expect(letters.map(({ attempts }) => attempts)).to.deep.equal([1, 1]);
        expect(letters.find(({ message }) => isMalformed(message))?.message).to.include({ raw: 'no message' });
        expect(await left()).to.equal(0);
      }, family.plantQueue);

      promises('buries nothing for a world that is down, however long', async () => {
        await send(about(a, 0));
        let tries = 0;
        let sick = true;
        const service = serviceWith(async () => {
          tries++;
          if (sick) throw new PortError('unavailable', 'by the test');
        });
        await workFor(service, 300, () => tries >= 40);
        expect(tries).to.equal(40);
        expect(await deadLetters()).to.deep.equal([]);
        sick = false;
        await workFor(service, 60, () => heard.length > 0);
        expect(heard).to.deep.equal(['a0']);
        expect(await left()).to.equal(0);
      });

      promises('buries what twenty receivers have taken and been killed with', async () => {
        await send(about(a, 0));
        let tries = 0;
        const service = serviceWith(() => (tries++, never()));
        for (let round = 0; round < 30 && (await deadLetters()).length === 0; round++) {
          const [received] = await takeWork();
          work(kernel, service, received!).catch(() => undefined);
          await family.pass(second);
          await restart();
          await family.pass(lock + second);
        }
        expect(tries).to.equal(20);
        expect((await deadLetters())[0]).to.include({ reason: 'maxAttempts', attempts: 21 });
      });

      promises('settles no dead letter that could not be kept', async () => {
        await send(about(a, 0));
        interfere = ({ method }, call) => (method === 'commit' ? Promise.reject(new PortError('unavailable', 'by the test')) : call());
        const service = serviceWith(() => Promise.reject(new Invalid('by the test')));
        const [received] = await takeWork();
        await work(kernel, service, received!).catch(() => undefined);
        interfere = undefined;
        await family.pass(lock + second);
        await workFor(service, 60, async () => (await deadLetters()).length > 0);
        expect((await deadLetters())[0]).to.include({ reason: 'invalid: by the test' });
      });

      async function takeWork(): Promise<Received[]> {
        for (let look = 0; look < looksMax; look++) {
          const received = await at.queue.receive('work', { max: 1, waitSeconds: 0 });
          if (received.length > 0) return received;
        }
        throw new Error('there is no message');
      }
    });

    group('passing on what was said', () => {
      const both: readonly Road[] = [{ kind: 'queue', channel: 'work' }, { kind: 'stream', channel: 'facts' }];
      const onStream: readonly Road[] = [{ kind: 'stream', channel: 'facts' }];

      async function commit(subject: string, sequence: number, roads: readonly Road[]): Promise<readonly OutboxRow[]> {
        const { outbox } = await at.store.commit(partitionOf(collections.orders, subject), { outgoing: [about(subject, sequence, roads)] });
        return outbox;
      }
      const waiting = (): Promise<Row<OutboxBody>[]> => rowsIn<OutboxBody>(partitionsOf(collections.orders), 'outbox|');
      async function onFacts(): Promise<Message[]> {
        const partitions = await at.stream.partitions('facts');
        const events = (await Promise.all(partitions.map((partition) => readAll(at.stream, 'facts', partition)))).flat();
        return events.map(({ message }) => message as Message);
      }
      async function onWork(): Promise<Message[]> {
        const taken: Received[] = [];
        for (let look = 0; look < looksMax; look++) taken.push(...(await at.queue.receive('work', { max: 16, waitSeconds: 0 })));
        return taken.map(({ message }) => message as Message);
      }
      const sweep = (): Promise<number> => timely(kernel.relay.sweep(30));
      async function swept(): Promise<void> {
        for (let round = 0; round < 20 && (await waiting()).some(({ body }) => !body.stuck); round++) {
          await family.pass(60 * second);
          await sweep();
        }
      }

      promises('passes on over every road, under one id, and drops the row', async () => {
        await timely(kernel.relay.pass(await commit(a, 0, both)));
        await swept();
        const [facts, work] = [await onFacts(), await onWork()];
        expect(facts.map(nameOf)).to.deep.equal(['a0']);
        expect(work).to.deep.equal(facts);
        expect(await waiting()).to.deep.equal([]);
      });

      promises('passes on, in order, what a dead process has left', async () => {
        for (let n = 0; n < 12; n++) await commit(a, n, onStream);
        await restart();
        await family.pass(31 * second);
        await sweep();
        await swept();
        expect(first((await onFacts()).map(nameOf))).to.deep.equal(Array.from({ length: 12 }, (_, n) => `a${n}`));
        expect(await waiting()).to.deep.equal([]);
      });

      promises('keeps what one road does not take, and sends it over the others no second time', async () => {
        interfere = ({ method }, call) => (method === 'send' ? Promise.reject(new PortError('throttled', 'by the test')) : call());
        await timely(kernel.relay.pass(await commit(a, 0, both)));
        const roads = async (): Promise<string[][]> => (await waiting()).map(({ body }) => body.roads.map(({ channel }) => channel));
        await until('facts has it', async () => !(await roads()).flat().includes('facts')); // pass waits a while, and a slow server takes longer
        interfere = undefined;
        expect(await roads()).to.deep.equal([['work']]);
        expect(await onWork()).to.deep.equal([]);
        await swept();
        expect((await onWork()).map(nameOf)).to.deep.equal(['a0']);
        expect((await onFacts()).map(nameOf)).to.deep.equal(['a0']);
      });

      promises('lets no later message of a subject overtake an earlier one, and holds back no other subject', async () => {
        const rows = [...(await commit(a, 0, onStream))];
        let failing = true;
        interfere = ({ method, args }, call) => {
          const sends = method === 'append' && (args[1] as Message[]).some((message) => nameOf(message) === 'a0');
          return failing && sends ? Promise.reject(new PortError('unavailable', 'by the test')) : call();
        };
        await timely(kernel.relay.pass(rows));
        await timely(kernel.relay.pass(await commit(a, 1, onStream)));
        await timely(kernel.relay.pass(await commit(b, 0, onStream)));
        expect((await onFacts()).map(nameOf)).to.deep.equal(['b0']);
        failing = false;
        await timely(kernel.relay.pass(await commit(a, 2, onStream)));
        await swept();
        expect(first((await onFacts()).map(nameOf).filter((name) => name.startsWith('a')))).to.deep.equal(['a0', 'a1', 'a2']);
      });

      promises('sends again after a kill between sending and dropping, under the same id, and loses nothing', async () => {
        interfere = ({ method, args }, call) => (method === 'commit' && JSON.stringify(args).includes('"delete"') ? Promise.reject(new PortError('unavailable', 'by the test')) : call());
        await timely(kernel.relay.pass(await commit(a, 0, both)));
        await restart();
        await swept();
        const facts = await onFacts();
        expect(facts.length).to.be.at.least(1);
        expect(new Set([...facts, ...(await onWork())].map(({ id, source }) => `${source} ${id}`)).size).to.equal(1);
        expect(await waiting()).to.deep.equal([]);
      });

      promises('gives nothing up although nobody takes it for an hour', async () => {
        interfere = ({ method }, call) => (['send', 'append'].includes(method) ? Promise.reject(new PortError('unavailable', 'by the test')) : call());
        await timely(kernel.relay.pass(await commit(a, 0, both)));
        for (let round = 0; round < 12; round++) {
          await family.pass(300 * second);
          await sweep();
        }
        expect(await waiting()).to.have.length(1);
        interfere = undefined;
        await family.pass(600 * second);
        await swept();
        expect([first((await onFacts()).map(nameOf)), first((await onWork()).map(nameOf))]).to.deep.equal([['a0'], ['a0']]);
      });

      promises('keeps for a person what nobody will ever take, and holds back its own subject and channel alone', async () => {
        await timely(kernel.relay.pass(await commit(a, 0, [{ kind: 'queue', channel: 'nowhere' }, ...onStream])));
        await timely(kernel.relay.pass(await commit(b, 0, both)));
        await swept();
        const stuck = await waiting();
        expect(stuck.map(({ body }) => [nameOf(body.message), body.roads.map(({ channel }) => channel)])).to.deep.equal([['a0', ['nowhere']]]);
        expect(stuck[0]!.body.stuck).to.include('missing');
        expect((await onFacts()).map(nameOf).sort()).to.deep.equal(['a0', 'b0']);
        expect((await onWork()).map(nameOf)).to.deep.equal(['b0']);
      });
    });
  });
}
