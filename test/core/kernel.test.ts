import { expect } from 'chai';
import { collections } from '../../core/flow.ts';
import { execute, executeAll, openLongerThan, comeBack } from '../../core/kernel/execute.ts';
import { follow } from '../../core/kernel/follow.ts';
import { forgetSeen } from '../../core/kernel/forget.ts';
import { list, rowsOf } from '../../core/kernel/list.ts';
import { say, type Fact, type Model } from '../../core/kernel/model.ts';
import { parkedKeys, retryParked } from '../../core/kernel/park.ts';
import type { DeadLetter } from '../../core/kernel/dead.ts';
import { stuckRows } from '../../core/kernel/relay.ts';
import type { AnyService } from '../../core/kernel/service.ts';
import { startPump } from '../../handlers/pump.ts';
import {
  Defect, Invalid, PortError, create, isRefusal, key, partitionOf, partitionsOf, put, refuse, seenKey, timestamp,
  type Message, type Outgoing, type OutboxBody, type OutboxRow, type Refusal,
} from '../../ports/index.ts';
import { anna, home } from '../support/client.ts';
import { openWorld, throttled, toys, unavailable, type Call, type World, type WorldOptions } from '../support/world.ts';

describe('kernel', () => {
  const worlds: World[] = [];
  async function world(options: WorldOptions = {}): Promise<World> {
    const opened = await openWorld({ partitionsPerStream: 1, services: toys({}), ...options });
    worlds.push(opened);
    return opened;
  }
  const still = (options: WorldOptions = {}): Promise<World> => world({ still: true, ...options });
  afterEach(async () => {
    for (const each of worlds.splice(0)) {
      each.interfere = undefined;
      await each.stop();
    }
  });

  describe('execute', () => {
    it('commits document, outbox and inbox together, or nothing of them', async () => {
      const w = await still();
      const cause = causeAt(w);
      const pieces: string[][] = [];
      w.interfere = (call, work) => {
        if (isCommit(call)) pieces.push((call.args[1] as { key: string }[]).map((write) => write.key));
        if (isCommit(call) && pieces.length === 1) throw throttled();
        return call.port === 'store' ? work() : Promise.reject(throttled());
      };
      await w.play(execute(w.kernel, counter('inbox'), { id: a, command: 'add' }, cause));
      expect(pieces[1]).to.have.members([key('counter', a), seenOf(cause), key('outbox', a, '0000000000', '00')]);
      for (const noun of ['counter', 'outbox', 'seen']) expect(w.rows(noun)).to.have.length(1);
    });

    it('leaves nothing behind of a commit that was refused', async () => {
      const w = await still();
      w.interfere = (call, work) => (isCommit(call) ? Promise.reject(new PortError('denied', 'by the test')) : work());
      const failed = await w.play(execute(w.kernel, counter(), { id: a, command: 'add' }).catch((error: unknown) => error));
      expect(failed).to.be.instanceOf(PortError).with.property('kind', 'denied');
      expect([...w.rows('counter'), ...w.rows('outbox')]).to.deep.equal([]);
    });

    it('decides again on conflict, so that no one of many writers is lost', async () => {
      const w = await still();
      // Two openings of one store are as two processes.
      const other = { ...w.kernel, store: { ...w.kernel.store } };
      await w.play(Promise.all(Array.from({ length: 40 }, (_, n) => execute(n % 2 ? w.kernel : other, counter(), { id: a, command: 'add' }))));
      expect(count(w, a)).to.equal(40);
      expect(saidTo(w, 'orders').map(({ sequence }) => Number(sequence)).sort((x, y) => x - y), 'each has said its own').to.deep.equal(Array.from({ length: 40 }, (_, n) => n));
    });

    for (const remembers of ['state', 'inbox'] as const) {
      it(`does it once when the answer of a commit was lost (remembered by ${remembers})`, async () => {
        const w = await still();
        w.interfere = once(isCommit, async (work) => {
          await work();
          throw unavailable();
        });
        const outcome = await w.play(execute(w.kernel, counter(remembers), { id: a, command: 'once' }, causeAt(w)));
        expect(!isRefusal(outcome) && outcome.state).to.equal(1);
        expect(count(w, a)).to.equal(1);
        expect(w.rows('outbox'), 'said once, and left to the sweep').to.have.length(1);
      });
    }

    it('answers a repetition with the stored outcome, even where the state would now refuse it', async () => {
      const w = await still();
      const cause = causeAt(w);
      const first = await w.play(execute(w.kernel, counter('inbox'), { id: a, command: 'open' }, cause));
      const second = await w.play(execute(w.kernel, counter('inbox'), { id: a, command: 'open' }, cause));
      const another = await w.play(execute(w.kernel, counter('inbox'), { id: a, command: 'open' }, { ...cause, id: 'm2' }));
      expect(first).to.have.property('state', 1);
      expect(second).to.deep.equal(first);
      expect(another).to.have.property('refused', 'open');
    });

    it('handles the same message once, however many receive it at once', async () => {
      const w = await still();
      const other = { ...w.kernel, store: { ...w.kernel.store } };
      const outcomes = await w.play(Promise.all([w.kernel, other, w.kernel, other].map((kernel) => execute(kernel, counter('inbox'), { id: a, command: 'add' }, causeAt(w)))));
      expect(outcomes.map((outcome) => !isRefusal(outcome) && outcome.state)).to.deep.equal([1, 1, 1, 1]);
      expect(count(w, a)).to.equal(1);
    });

    it('tries reads and commits again while the store is sick, and gives up with the last error', async () => {
      const w = await still();
      let failures = 5;
      w.interfere = (call, work) => (call.port === 'store' && failures-- > 0 ? Promise.reject(unavailable()) : work());
      await w.play(execute(w.kernel, counter(), { id: a, command: 'add' }));
      expect(count(w, a)).to.equal(1);

      let tries = 0;
      w.interfere = (call, work) => (isCommit(call) ? (tries++, Promise.reject(throttled())) : work());
      const failed = await w.play(execute(w.kernel, counter(), { id: a, command: 'add' }).catch((error: unknown) => error));
      expect(failed).to.have.property('kind', 'throttled');
      expect(tries).to.equal(12);
    });

    it('never catches a Defect', async () => {
      const w = await still();
      const failed = await w.play(execute(w.kernel, counter(), { id: a, command: 'break' }).catch((error: unknown) => error));
      expect(failed).to.be.instanceOf(Defect);
    });

    it('commits nothing for a refusal, and nothing when nothing is decided', async () => {
      const w = await still();
      let commits = 0;
      w.interfere = (call, work) => (isCommit(call) && commits++, work());
      expect(await w.play(execute(w.kernel, counter(), { id: a, command: 'refuse' }))).to.have.property('refused', 'no');
      expect(await w.play(execute(w.kernel, counter(), { id: a, command: 'nothing' }))).to.deep.equal({ state: 0, facts: [] });
      expect(commits).to.equal(0);
    });

    it('commits many aggregates of one partition together and answers in the order of the jobs', async () => {
      const w = await still();
      let commits = 0;
      w.interfere = (call, work) => (isCommit(call) && (call.args[1] as { key: string }[]).some((write) => write.key.startsWith('counter')) && commits++, work());
      const jobs = Array.from({ length: 200 }, (_, n) => ({ id: String(n).padStart(26, '0'), command: n % 3 ? ('add' as const) : ('refuse' as const) }));
      const outcomes = await w.play(executeAll(w.kernel, { ...counter(), collection: collections.products }, jobs));
      expect(outcomes.map(isRefusal)).to.deep.equal(jobs.map(({ command }) => command === 'refuse'));
      expect(commits).to.be.at.most(collections.products.shards);
    });

    it('keeps a row "open" exactly while the aggregate is busy, for the sweep', async () => {
      const w = await still();
      const busy = { ...counter(), busy: (n: number) => n === 1 };
      const openOnes = async (): Promise<string[]> => {
        const found: string[] = [];
        for await (const id of openLongerThan(w.kernel, collections.orders, 60)) found.push(id);
        return found;
      };
      await w.play(execute(w.kernel, busy, { id: a, command: 'add' }));
      expect(await openOnes()).to.deep.equal([]);
      await w.clock.advance(60_000);
      expect(await openOnes()).to.deep.equal([a]);
      await w.play(execute(w.kernel, busy, { id: a, command: 'add' }));
      expect(await openOnes()).to.deep.equal([]);
    });

    it('comes back to all that are open, also when one of them fails', async () => {
      const w = await still();
      const ids = ['1', '2', '3'].map((n) => n.padStart(26, '0'));
      for (const id of ids) await w.play(execute(w.kernel, { ...counter(), busy: (n: number) => n === 1 }, { id, command: 'add' }));
      const visited: string[] = [];
      await comeBack(w.kernel, collections.orders, 0, async (id) => {
        visited.push(id);
        throw new Defect('by the test');
      });
      expect(visited).to.have.members(ids);
    });
  });

  describe('the sweep of open rows', () => {
    it('visits the other partitions when one of them is sick, and says so', async () => {
      const w = await still();
      const ids = Array.from({ length: 20 }, (_, n) => String(n).padStart(26, '0'));
      for (const id of ids) await w.kernel.store.commit(partitionOf(collections.orders, id), { writes: [create(key('open', id), { since: 0 })] });
      const sick = partitionOf(collections.orders, ids[0]!);
      w.interfere = (call, work) => (call.method === 'query' && call.args[0] === sick ? Promise.reject(unavailable()) : work());
      const visited: string[] = [];
      const failed = await w.play(comeBack(w.kernel, collections.orders, 0, async (id) => void visited.push(id)).catch((error: unknown) => error));
      expect(failed).to.have.property('kind', 'unavailable');
      expect(visited).to.have.members(ids.filter((id) => partitionOf(collections.orders, id) !== sick));
    });
  });

  describe('relay', () => {
    it('drops the row when every road has the message', async () => {
      const w = await still();
      await w.play(pass(w, placed(a)));
      expect(saidTo(w, 'orders')).to.have.length(1);
      expect(w.engines.queue.count('reserve-stock')).to.equal(1);
      expect(w.rows('outbox')).to.deep.equal([]);
    });

    it('keeps the order of a channel and subject, also when the first send fails', async () => {
      const w = await still();
      w.interfere = once(isAppend, () => Promise.reject(throttled()));
      const all = [0, 1, 2, 3, 4].map((n) => cancelled(a, n));
      const done = all.map((said) => commit(w, said).then((rows) => w.kernel.relay.pass(rows)));
      await w.play(Promise.all(done));
      expect(sequences(w, 'orders')).to.deep.equal([0, 1, 2, 3, 4]);
      expect(w.rows('outbox')).to.deep.equal([]);
    });

    it('lets no younger message of a subject overtake hundreds of elder ones, whatever pages the store gives', async () => {
      const w = await still();
      const rows: OutboxRow[] = [];
      for (let n = 0; n < 250; n++) rows.push(...(await commit(w, cancelled(a, n))));
      let queries = 0;
      w.interfere = async (call, work) => {
        if (call.method !== 'query') return work();
        if (++queries % 2) return { rows: [], next: call.args[1].cursor ?? '' };
        return call.args[1].limit > 7 ? w.engines.store.query(call.args[0], { ...call.args[1], limit: 7 }) : work();
      };
      await w.play(w.kernel.relay.pass(rows.slice(-1)));
      expect(sequences(w, 'orders')).to.deep.equal(rows.map((_, n) => n));
    });

    it('holds neither other channels nor other subjects when a channel is dead', async () => {
      const w = await still();
      w.interfere = (call, work) => (call.method === 'send' ? Promise.reject(unavailable()) : work());
      await w.play(pass(w, placed(a)));
      await w.play(pass(w, placed(a, 1)));
      await w.play(pass(w, placed(b)));
      expect(saidTo(w, 'orders').map(({ subject }) => subject)).to.deep.equal([a, a, b]);
      expect(w.rows<OutboxBody>('outbox').map(({ body }) => body.roads.map(({ channel }) => channel))).to.deep.equal([['reserve-stock'], ['reserve-stock'], ['reserve-stock']]);
      w.interfere = undefined;
      await w.clock.advance(600_000);
      await w.play(w.kernel.relay.sweep(30));
      expect(w.engines.queue.count('reserve-stock')).to.equal(3);
      expect(saidTo(w, 'orders'), 'a road that has it gets it no second time').to.have.length(3);
    });

    it('holds what comes later of a subject on the channel that an earlier one still waits for', async () => {
      const w = await still();
      w.interfere = (call, work) => (isAppend(call) && (call.args[1] as Message[]).some(({ subject }) => subject === a) ? Promise.reject(throttled()) : work());
      await w.play(pass(w, cancelled(a, 0)));
      let appends = 0;
      w.interfere = (call, work) => (isAppend(call) && appends++ === 0 ? Promise.reject(throttled()) : work());
      await w.play(pass(w, cancelled(a, 1)));
      expect(saidTo(w, 'orders'), 'not 1 without 0').to.deep.equal([]);
      await w.play(pass(w, cancelled(a, 2)));
      expect(sequences(w, 'orders')).to.deep.equal([0, 1, 2]);
    });

    it('keeps what nobody will ever take, lists it, and holds back only its own channel and subject', async () => {
      const w = await still();
      const isBad = (call: Call): boolean => call.method === 'send' && (call.args[1] as Message[]).some(({ id }) => id === `${a}:OrderPlaced:0`);
      w.interfere = (call, work) => (isBad(call) ? Promise.reject(new PortError('tooLarge', 'by the test')) : work());
      // The first one is sent alone; meanwhile the others gather to a batch.
      await w.play(Promise.all([pass(w, placed(b)), pass(w, placed(a)), pass(w, placed('c'.repeat(26)))]));
      await w.play(pass(w, placed(a, 1)));
      await w.play(pass(w, cancelled(a, 2)));
      const stuck = await stuckRows(w.kernel);
      expect(stuck.map(({ body }) => body.message.id)).to.deep.equal([`${a}:OrderPlaced:0`]);
      expect(stuck[0]!.body.stuck).to.include('tooLarge');
      expect(w.engines.queue.count('reserve-stock'), 'the neighbour in the same batch was sent').to.equal(2);
      expect(saidTo(w, 'orders').filter(({ subject }) => subject === a).map(({ sequence }) => Number(sequence))).to.deep.equal([0, 1, 2]);
      await w.clock.advance(3_600_000);
      await w.play(w.kernel.relay.sweep(30));
      expect(await stuckRows(w.kernel), 'it stays until a person comes').to.have.length(1);
    });

    it('gives up no road because another one is hopeless', async () => {
      const w = await still();
      w.interfere = (call, work) => (call.method === 'send' ? Promise.reject(new PortError('denied', 'by the test')) : isAppend(call) ? Promise.reject(throttled()) : work());
      await w.play(pass(w, placed(a)));
      w.interfere = (call, work) => (call.method === 'send' ? Promise.reject(new PortError('denied', 'by the test')) : work());
      await w.clock.advance(600_000);
      await w.play(w.kernel.relay.sweep(30));
      expect(saidTo(w, 'orders')).to.have.length(1);
      expect((await stuckRows(w.kernel)).map(({ body }) => body.roads)).to.deep.equal([[{ kind: 'queue', channel: 'reserve-stock' }]]);
    });

    it('sends twice after a crash between send and drop, and never loses', async () => {
      const w = await still();
      w.interfere = (call, work) => (isCommit(call) && (call.args[1] as { op: string }[])[0]!.op === 'delete' ? Promise.reject(unavailable()) : work());
      await w.play(pass(w, cancelled(a, 0)));
      w.interfere = undefined;
      await w.restart();
      await w.clock.advance(31_000);
      expect(await w.play(w.kernel.relay.sweep(30))).to.equal(1);
      expect(saidTo(w, 'orders').map(({ id }) => id)).to.deep.equal([`${a}:CancellationRequested:0`, `${a}:CancellationRequested:0`]);
      expect(w.rows('outbox')).to.deep.equal([]);
    });

    it('passes on by sweep what a dead process has left, in order, and leaves what is young', async () => {
      const w = await still();
      for (let n = 0; n < 5; n++) await commit(w, cancelled(a, n));
      await w.restart();
      expect(await w.play(w.kernel.relay.sweep(30))).to.equal(0);
      await w.clock.advance(30_000);
      expect(await w.play(w.kernel.relay.sweep(30))).to.equal(5);
      expect(sequences(w, 'orders')).to.deep.equal([0, 1, 2, 3, 4]);
      expect(w.rows('outbox')).to.deep.equal([]);
      expect(w.rows('lease')).to.deep.equal([]);
    });

    it('lets two sweepers work side by side, and takes over from one that died', async () => {
      const w = await still();
      for (let n = 0; n < 5; n++) await commit(w, cancelled(a, n));
      await w.clock.advance(30_000);
      let stands = true;
      w.interfere = (call, work) => (isAppend(call) && stands ? new Promise(() => {}) : work());
      void w.kernel.relay.sweep(30);
      await w.clock.idle();
      stands = false;
      await w.restart();
      expect(await w.play(w.kernel.relay.sweep(30)), 'the lease of the dead one still holds').to.equal(0);
      await w.clock.advance(20_000);
      expect(await w.play(w.kernel.relay.sweep(30))).to.equal(5);
      expect(sequences(w, 'orders')).to.deep.equal([0, 1, 2, 3, 4]);
    });

    it('sweeps the other partitions when one of them is sick, and says so', async () => {
      const w = await still();
      await commit(w, cancelled(a, 0));
      await w.clock.advance(30_000);
      const sick = partitionsOf(collections.orders).find((partition) => partition !== partitionOf(collections.orders, a))!;
      w.interfere = (call, work) => (call.method === 'query' && call.args[0] === sick ? Promise.reject(unavailable()) : work());
      const failed = await w.play(w.kernel.relay.sweep(30).catch((error: unknown) => error));
      expect(failed).to.have.property('kind', 'unavailable');
      expect(saidTo(w, 'orders')).to.have.length(1);
    });

    it('never fails the request, and keeps it waiting for 2 seconds at most', async () => {
      const w = await still();
      for (const [n, disaster] of [() => Promise.reject(new Error('a bug of the driver')), () => Promise.reject(unavailable()), () => new Promise(() => {})].entries()) {
        w.interfere = (call, work) => (isAppend(call) ? disaster() : work());
        await w.clock.advance(137);
        const begun = w.clock.now();
        const outcome = await w.play(execute(w.kernel, counter(), { id: String(n).padStart(26, '0'), command: 'add' }));
        expect(!isRefusal(outcome) && outcome.state).to.equal(1);
        expect(w.clock.now() - begun).to.be.at.most(2_000);
      }
    });

    it('is ready for the next message of a subject after a bug of a driver', async () => {
      const w = await still();
      w.interfere = (call, work) => (isAppend(call) ? Promise.reject(new Error('a bug of the driver')) : work());
      await w.play(pass(w, cancelled(a, 0)));
      const next = await commit(w, cancelled(a, 1));
      const first = w.kernel.relay.pass(await commit(w, cancelled(a, 2)));
      w.interfere = undefined;
      await w.play(Promise.all([first, w.kernel.relay.pass(next)]));
      await w.play(pass(w, cancelled(a, 3)));
      expect(withoutRepeats(sequences(w, 'orders').map(String))).to.deep.equal(['0', '1', '2', '3']);
    });

    it('gives the same message the same id, source and time on every road and every repetition', async () => {
      const w = await still();
      const said = placed(a);
      const [row] = await commit(w, said);
      await w.play(Promise.all([w.kernel.relay.pass([row!]), w.kernel.relay.pass([row!])]));
      const seen = saidTo(w, 'orders');
      for (const received of w.engines.queue.receive('reserve-stock', 10, w.clock.now())) seen.push(JSON.parse(received.text) as Message);
      expect(seen.length).to.be.at.least(2);
      for (const message of seen) expect(message).to.deep.equal(said.message);
    });
  });

  describe('queue', () => {
    /** A pump with an Inventory of ours; `fails` says what happens at each receipt. */
    async function receiving(fails: (message: Message, nth: number) => unknown): Promise<{ w: World; times: number[]; dead: () => DeadLetter[] }> {
      const times: number[] = [];
      const clock: { now?: () => number } = {};
      const hears = {
        OrderPlaced: async (_: unknown, message: Message) => {
          times.push(clock.now!());
          const error = await fails(message, times.length);
          if (error) throw error;
        },
      };
      const w = await world({ services: toys({ inventory: hears }) });
      clock.now = () => w.clock.now();
      return { w, times, dead: () => w.rows<DeadLetter>('dead').map(({ body }) => body) };
    }
    const send = (w: World, text: string): void => w.engines.queue.send('reserve-stock', [text], { now: w.clock.now() });
    const text = (said: Outgoing = placed(a)): string => JSON.stringify(said.message);

    it('settles what was handled', async () => {
      const { w, times, dead } = await receiving(() => undefined);
      send(w, text());
      await w.settle();
      await w.clock.advance(600_000);
      expect(times).to.have.length(1);
      expect(dead()).to.deep.equal([]);
    });

    it('is dead at once, with its reason, when it is Invalid', async () => {
      const { w, times, dead } = await receiving(() => new Invalid('by the test'));
      send(w, text());
      await w.settle(5);
      expect(times).to.have.length(1);
      expect(dead()).to.have.length(1);
      expect(dead()[0]).to.deep.include({ channel: 'reserve-stock', consumer: 'inventory', reason: 'invalid: by the test', attempts: 1, message: placed(a).message });
    });

    const wrong: [string, object, string][] = [
      ['its data do not fit the declared shape', { data: { orderId: 'x' } }, '/data/orderId'],
      ['its version is newer than ours', { dataversion: '2' }, 'version 2'],
      ['its version is no number', { dataversion: 'new' }, 'version new'],
      ['it is older than anybody remembers', { time: '2026-10-10T00:00:00.000Z' }, 'tooOld'],
      ['its time is no time', { time: 'now' }, 'tooOld'],
    ];
    for (const [what, change, reason] of wrong) {
      it(`is dead at once when ${what}`, async () => {
        const { w, times, dead } = await receiving(() => undefined);
        send(w, JSON.stringify({ ...placed(a).message, ...change }));
        await w.settle(5);
        expect(times).to.deep.equal([]);
        expect(dead().map((letter) => letter.reason)).to.have.length(1);
        expect(dead()[0]!.reason).to.include(reason);
      });
    }

    it('is retried with growing delay on a Defect, and dead after ten attempts', async () => {
      const { w, times, dead } = await receiving(() => new Defect('by the test'));
      send(w, text());
      await w.settle();
      const delays = times.slice(1).map((time, n) => (time - times[n]!) / 1_000);
      expect(delays).to.deep.equal([2, 4, 8, 16, 32, 64, 128, 256, 300]);
      expect(dead()).to.have.length(1);
      expect(dead()[0]).to.include({ attempts: 10, reason: 'maxAttempts: Defect: by the test' });
    });

    for (const kind of ['throttled', 'unavailable', 'denied', 'missing'] as const) it(`is never blamed for a failure of the world (${kind}), however long it lasts`, async () => {
      let heals = Infinity;
      const { w, times, dead } = await receiving(() => (w.clock.now() < heals ? new PortError(kind, 'by the test') : undefined));
      heals = w.clock.now() + 900_000;
      send(w, text());
      await w.settle(1_000);
      expect(times.length).to.be.greaterThan(800);
      expect(dead()).to.deep.equal([]);
    });

    it('buries what nobody can read, once, with what was received', async () => {
      const { w, dead } = await receiving(() => undefined);
      send(w, '<xml/>');
      send(w, '<xml/>');
      send(w, '{"specversion":"1.0"}');
      await w.settle(5);
      expect(dead().map(({ message, reason }) => [message, reason])).to.have.deep.members([
        [{ malformed: 'not JSON', raw: '<xml/>' }, 'malformed: not JSON'],
        [{ malformed: 'id is missing', raw: '{"specversion":"1.0"}' }, 'malformed: id is missing'],
      ]);
    });

    it('buries also what fits no limit of ours', async () => {
      const { w, dead } = await receiving(() => undefined);
      send(w, '"'.repeat(500_000));
      send(w, JSON.stringify({ ...placed(a).message, id: 'i'.repeat(5_000), dataversion: '9' }));
      send(w, JSON.stringify({ ...placed(a).message, more: '"'.repeat(300_000), dataversion: '9' }));
      for (const change of [{ dataversion: '9'.repeat(300_000) }, { time: 't'.repeat(300_000) }, { data: Object.fromEntries(['customer', 'address', 'lines'].map((name) => [name, '"'.repeat(100_000)])) }]) {
        send(w, JSON.stringify({ ...placed(a).message, id: Object.keys(change)[0], ...change }));
      }
      await w.settle(5);
      expect(dead()).to.have.length(6);
    });

    it('is dead after too many receipts that ended without any answer', async () => {
      const { w, times, dead } = await receiving(() => new Promise(() => {}));
      send(w, text());
      // Each time the process is killed while it works.
      for (let death = 0; death < 20; death++) {
        await w.clock.idle();
        await w.restart();
        await w.clock.advance(31_000);
      }
      await w.settle(60);
      expect(times).to.have.length(20);
      expect(dead().map(({ reason }) => reason)).to.deep.equal(['maxAttempts']);
    });

    it('is retried when its handler never comes to its end, and dead when that happens every time', async () => {
      const { w, times, dead } = await receiving(() => new Promise(() => {}));
      send(w, text());
      await w.clock.advance(3 * 3_600_000);
      expect(times).to.have.length(10);
      expect(dead().map(({ reason }) => reason)).to.deep.equal(['maxAttempts: Defect: no end after 300 s']);
    });

    it('that ends the process takes none of its neighbours with it', async () => {
      let killed = false;
      const handled = new Set<string>();
      const { w, dead } = await receiving(async (message) => {
        if (killed || message.id === 'killer') {
          killed = true;
          return new Promise(() => {});
        }
        await w.clock.sleep(1_000);
        handled.add(message.id);
        return undefined;
      });
      for (let n = 0; n < 60; n++) send(w, JSON.stringify({ ...placed(a).message, id: n === 30 ? 'killer' : `neighbour ${n}` }));
      w.interfere = (_, work) => (killed ? new Promise(() => {}) : work());
      for (let step = 0; step < 3_000 && (dead().length === 0 || handled.size < 59); step++) {
        await w.clock.advance(1_000);
        if (!killed) continue;
        killed = false;
        await w.restart();
      }
      expect(dead().map(({ message }) => (message as Message).id)).to.deep.equal(['killer']);
      expect(handled.size).to.equal(59);
    });

    it('keeps the lock of what takes long, so that nobody else gets it meanwhile', async () => {
      const { w, times } = await receiving(() => w.clock.sleep(180_000).then(() => undefined));
      let renewals = 0;
      w.interfere = (call, work) => (call.method === 'renew' && renewals++, work());
      send(w, text());
      await w.settle(200);
      await w.clock.advance(60_000);
      expect(times).to.have.length(1);
      expect(renewals, 'when it is half over, and not before').to.be.within(10, 12);
    });

    it('handles many at once, and finishes what is under way before it stops', async () => {
      let slow = false;
      const { w, times } = await receiving(() => (slow ? w.clock.sleep(10_000).then(() => undefined) : undefined));
      const sendMany = (): void => {
        for (let n = 0; n < 100; n++) send(w, text(placed(String(n).padStart(26, '0'))));
      };
      sendMany();
      await w.settle();
      slow = true;
      sendMany();
      await w.clock.advance(1_000);
      expect(times).to.have.length(200);
      await w.stop();
      worlds.pop();
      expect(w.engines.queue.count('reserve-stock')).to.equal(0);
    });

    it('leaves alone what this service does not listen to', async () => {
      const { w, times, dead } = await receiving(() => undefined);
      for (const type of ['OrderDelivered', 'Unheard', 'toString', '__proto__']) send(w, JSON.stringify({ ...placed(a).message, type }));
      await w.settle(5);
      expect([...times, ...dead()]).to.deep.equal([]);
    });
  });

  describe('stream', () => {
    /** A listener to `orders`; `fails` says what happens at each event. */
    function listener(fails: (message: Message) => unknown): { services: AnyService[]; heard: string[] } {
      const heard: string[] = [];
      const hears = {
        CancellationRequested: async (_: unknown, message: Message) => {
          const error = await fails(message);
          if (error) throw error;
          heard.push(nameOf(message));
        },
      };
      return { services: toys({ shipping: hears }), heard };
    }
    const nameOf = ({ subject, sequence }: Message): string => `${subject[0]}${Number(sequence)}`;
    const append = (w: World, ...said: Outgoing[]): void =>
      w.engines.stream.append('orders', said.map(({ message }) => ({ partitionkey: message.partitionkey, text: JSON.stringify(message) })), w.clock.now());
    const position = (w: World): { after?: string; starts: number; suspect?: string } | undefined =>
      w.rows<{ after?: string; starts: number }>('position').find((row) => row.key === key('position', 'shipping', 'orders', '0'))?.body;
    const [aa, bb, cc] = [...'abc'].map((letter) => letter.repeat(26)) as [string, string, string];
    const followOnce = (w: World, services: readonly AnyService[], more: object = {}): Promise<unknown> =>
      follow(w.kernel, services.find(({ name }) => name === 'shipping')!, { stream: 'orders', partition: '0', signal: new AbortController().signal, untilDry: true, ...more });

    it('handles the events of one key in order, and those of other keys meanwhile', async () => {
      const { services, heard } = listener((message) => (message.subject === aa ? w.clock.sleep(1_000).then(() => undefined) : undefined));
      const w = await world({ services });
      append(w, cancelled(aa, 0), cancelled(aa, 1), cancelled(bb, 0), cancelled(aa, 2), cancelled(bb, 1));
      await w.settle();
      expect(heard).to.deep.equal(['b0', 'b1', 'a0', 'a1', 'a2']);
    });

    it('parks an event that fails by its own fault with what follows of its key, while the neighbours move on', async () => {
      const { services, heard } = listener((message) => (nameOf(message) === 'a1' ? new Defect('by the test') : undefined));
      const w = await world({ services });
      append(w, cancelled(aa, 0), cancelled(aa, 1), cancelled(bb, 0), cancelled(aa, 2), cancelled(bb, 1));
      await w.clock.advance(1_000);
      expect(heard).to.have.members(['a0', 'b0', 'b1']);
      const [parked, ...others] = await w.play(parkedKeys(w.kernel));
      expect(others).to.deep.equal([]);
      expect(parked).to.include({ consumer: 'shipping', stream: 'orders', partitionkey: aa, reason: 'Defect: by the test', items: 2 });
      expect(position(w)?.after, 'the position has moved past it').to.equal('5');
    });

    it('gives up a handler that never comes to its end: its event is parked, its neighbours are not held, and it is tried again', async () => {
      let hanging = true;
      const { services, heard } = listener((message) => (message.subject === aa && hanging ? new Promise<undefined>(() => {}) : undefined));
      const w = await world({ services });
      append(w, cancelled(aa, 0), cancelled(bb, 0), cancelled(aa, 1));
      await w.clock.advance(290_000);
      expect([heard, await w.play(parkedKeys(w.kernel))]).to.deep.equal([['b0'], []]);
      expect(w.log.lines.some(({ text }) => text === 'a handler takes long')).to.equal(true);
      await w.clock.advance(15_000);
      expect((await w.play(parkedKeys(w.kernel)))[0]).to.include({ partitionkey: aa, reason: 'Defect: no end after 300 s', items: 2 });
      hanging = false;
      await w.settle();
      expect(heard).to.deep.equal(['b0', 'a0', 'a1']);
    });

    it('replays a parked key in order by itself when the cause is gone, and what comes in meanwhile behind it', async () => {
      let broken = true;
      const { services, heard } = listener((message) => (message.subject === aa && broken ? new Defect('by the test') : undefined));
      const w = await world({ services });
      append(w, cancelled(aa, 0), cancelled(aa, 1), cancelled(bb, 0));
      await w.clock.advance(60_000);
      append(w, cancelled(aa, 2));
      await w.clock.advance(1_000);
      broken = false;
      append(w, cancelled(aa, 3));
      await w.clock.advance(1_000);
      expect(heard, 'nothing overtakes what is parked').to.deep.equal(['b0']);
      await w.settle();
      expect(heard).to.deep.equal(['b0', 'a0', 'a1', 'a2', 'a3']);
      append(w, cancelled(aa, 4));
      await w.settle();
      expect(heard.at(-1)).to.equal('a4');
    });

    it('lets nothing slip in between while a key is released', async () => {
      let broken = true;
      const { services, heard } = listener(async (message) => {
        if (broken && message.subject === aa) return new Defect('by the test');
        await w.clock.sleep(300);
        return undefined;
      });
      const w = await world({ services });
      append(w, cancelled(aa, 0), cancelled(aa, 1));
      await w.clock.advance(1_000);
      broken = false;
      for (let n = 2; n < 40; n++) {
        append(w, cancelled(aa, n));
        await w.clock.advance(170);
      }
      await w.settle();
      expect(withoutRepeats(heard)).to.deep.equal(Array.from({ length: 40 }, (_, n) => `a${n}`));
    });

    it('tries a parked key at growing intervals, and a person may try it at once', async () => {
      const times: number[] = [];
      let broken = true;
      const { services, heard } = listener(() => {
        times.push(w.clock.now() / 1_000);
        return broken ? new Defect('by the test') : undefined;
      });
      const w = await world({ services });
      append(w, cancelled(aa, 0));
      await w.clock.advance(4_400_000);
      const waits = times.slice(1).map((time, n) => time - times[n]!);
      expect(waits).to.deep.equal([5, 30, 120, 600, 3_600]);
      broken = false;
      expect(await w.play(retryParked(w.kernel, services, { consumer: 'shipping', partitionkey: aa }))).to.equal(1);
      expect(heard).to.deep.equal(['a0']);
      expect(w.rows('item')).to.deep.equal([]);
    });

    it('blames no parked key for transient failures', async () => {
      let state: 'poison' | 'sick' | 'well' = 'poison';
      const { services, heard } = listener(() => ({ poison: new Defect('by the test'), sick: throttled(), well: undefined })[state]);
      const w = await world({ services });
      append(w, cancelled(aa, 0));
      await w.clock.advance(1_000);
      state = 'sick';
      await w.clock.advance(300_000);
      expect((await w.play(parkedKeys(w.kernel)))[0]).to.include({ attempts: 0, reason: 'Defect: by the test' });
      state = 'well';
      await w.clock.advance(10_000);
      expect(heard).to.deep.equal(['a0']);
    });

    it('does not take a store that is sick for a moment for a process that ended', async () => {
      let broken = true;
      const { services, heard } = listener(() => (broken ? new Defect('by the test') : undefined));
      const w = await still();
      append(w, cancelled(aa, 0), cancelled(aa, 1), cancelled(aa, 2), cancelled(aa, 3));
      await w.play(followOnce(w, services));
      broken = false;
      let nth = 0;
      w.interfere = (call, work) => (isCommit(call) && nth++ % 3 ? Promise.reject(throttled()) : work());
      expect(await w.play(retryParked(w.kernel, services, { consumer: 'shipping', partitionkey: aa }))).to.equal(1);
      expect(heard).to.deep.equal(['a0', 'a1', 'a2', 'a3']);
    });

    for (const kind of ['conflict', 'lockLost', 'throttled', 'unavailable', 'denied', 'missing'] as const) it(`lets the partition stand for a failure of the world (${kind}), and parks nothing`, async () => {
      let sick = true;
      const { services, heard } = listener((message) => (sick && message.subject === aa ? new PortError(kind, 'by the test') : undefined));
      const w = await world({ services });
      append(w, cancelled(bb, 0), cancelled(aa, 0), cancelled(aa, 1), cancelled(bb, 1));
      await w.clock.advance(120_000);
      expect(heard).to.deep.equal(['b0', 'b1']);
      expect(position(w)).to.include({ after: '1' });
      expect(w.rows('parked')).to.deep.equal([]);
      sick = false;
      await w.settle(60);
      expect(heard.slice(2)).to.deep.equal(['a0', 'a1']);
    });

    it('parks nothing between the last one that was parked and the end of the parking', async () => {
      let broken = true;
      const { services, heard } = listener(() => (broken ? new Defect('by the test') : undefined));
      const w = await still();
      append(w, cancelled(aa, 0));
      await w.play(followOnce(w, services));
      broken = false;
      let slipped = false;
      w.interfere = async (call, work) => {
        // Directly before the head is deleted one more comes in, and finds it.
        const writes = isCommit(call) ? (call.args[1] as { op: string; key: string }[]) : [];
        if (!slipped && writes.some(({ op, key: rowKey }) => op === 'delete' && rowKey.startsWith('parked'))) {
          slipped = true;
          append(w, cancelled(aa, 1));
          await followOnce(w, services);
        }
        return work();
      };
      expect(await w.play(retryParked(w.kernel, services, { consumer: 'shipping', partitionkey: aa }))).to.equal(1);
      expect(slipped).to.equal(true);
      expect(heard).to.deep.equal(['a0', 'a1']);
      expect([...w.rows('parked'), ...w.rows('item')]).to.deep.equal([]);
    });

    it('parks what nobody can read, and what fits no limit of ours, and moves on', async () => {
      const { services, heard } = listener(() => new Defect('by the test'));
      const w = await world({ services });
      const huge = { ...cancelled(bb, 0).message, more: '"'.repeat(300_000) };
      // Each of these bars takes five bytes in a key: what is short here is long there.
      const strange = [{ partitionkey: aa, text: '<xml/>' }, { partitionkey: bb, text: JSON.stringify(huge) }, { partitionkey: '|'.repeat(150), text: '{}' }];
      w.engines.stream.append('orders', strange, w.clock.now());
      await w.clock.advance(1_000);
      const parked = (await w.play(parkedKeys(w.kernel))).filter(({ consumer }) => consumer === 'shipping');
      expect(parked.map(({ reason }) => reason)).to.have.members(['malformed: not JSON', 'Defect: by the test', 'malformed: specversion is not 1.0']);
      expect(position(w)?.after).to.equal('3');
      expect(heard).to.deep.equal([]);
    });

    it('parks what is older than anybody remembers, with that reason', async () => {
      const { services } = listener(() => undefined);
      const w = await world({ services });
      append(w, said(cancelled(aa, 0), { time: '2026-10-10T00:00:00.000Z' }));
      await w.clock.advance(1_000);
      expect((await w.play(parkedKeys(w.kernel)))[0]!.reason).to.include('tooOld');
    });

    it('parks nothing and loses nothing while the store is down for an hour', async () => {
      const { services, heard } = listener(() => undefined);
      const w = await still();
      const stop = new AbortController();
      append(w, cancelled(aa, 0));
      const following = followOnce(w, services, { untilDry: false, signal: stop.signal });
      await w.clock.advance(1_000);
      w.interfere = (call, work) => (call.port === 'store' ? Promise.reject(unavailable()) : work());
      append(w, cancelled(aa, 1), cancelled(bb, 0), cancelled(aa, 2));
      await w.clock.advance(3_600_000);
      expect(heard).to.deep.equal(['a0']);
      w.interfere = undefined;
      await w.clock.advance(10_000);
      expect(heard).to.have.members(['a0', 'a1', 'a2', 'b0']);
      expect(await w.play(parkedKeys(w.kernel))).to.deep.equal([]);
      expect(position(w)).to.deep.equal({ after: '4', starts: 0 });
      stop.abort();
      await w.play(following);
    });

    const troubles: [string, (w: World, call: Call, work: () => Promise<unknown>, nth: number) => Promise<unknown>][] = [
      ['cannot be stored at the first try', (_, __, work, nth) => (nth % 3 ? Promise.reject(throttled()) : work())],
      ['is stored, and each time the answer is lost', (_, __, work) => work().then(() => Promise.reject(unavailable()))],
      [
        'gets a new version under our hands',
        (w, { args: [partition, [write]] }, work, nth) => {
          const row = w.engines.store.get(partition as string, (write as { key: string }).key);
          if (row && nth % 2) w.engines.store.commit(partition as string, [{ op: 'replace', ...row }]);
          return work();
        },
      ],
    ];
    for (const [what, trouble] of troubles) {
      it(`suspects no event, and repeats none, because its position ${what}`, async () => {
        const { services, heard } = listener(() => undefined);
        const w = await world({ services });
        let nth = 0;
        w.interfere = (call, work) => (isCommit(call) && (call.args[1] as { key: string }[])[0]!.key.startsWith('position') ? trouble(w, call, work, ++nth) : work());
        for (let n = 0; n < 20; n++) {
          append(w, cancelled(aa, n));
          await w.clock.advance(10_000);
        }
        expect(nth).to.be.at.least(20);
        expect(heard).to.deep.equal(Array.from({ length: 20 }, (_, n) => `a${n}`));
        expect(w.rows('parked')).to.deep.equal([]);
        expect(position(w)?.starts).to.equal(0);
      });
    }

    it('stores a position only when everything before it has succeeded', async () => {
      const { services } = listener((message) => (nameOf(message) === 'a0' ? w.clock.sleep(60_000).then(() => undefined) : undefined));
      const w = await world({ services });
      append(w, cancelled(bb, 0), cancelled(aa, 0), cancelled(bb, 1), cancelled(cc, 0));
      await w.clock.advance(30_000);
      expect(position(w)).to.include({ after: '1' });
      await w.clock.advance(31_000);
      expect(position(w)).to.include({ after: '4' });
    });

    it('handles again what was not stored when the process died, and skips nothing', async () => {
      const { services, heard } = listener((message) => (nameOf(message) === 'a0' && heard.length < 2 ? new Promise(() => {}) : undefined));
      const w = await world({ services });
      append(w, cancelled(aa, 0), cancelled(bb, 0), cancelled(bb, 1));
      await w.clock.advance(1_000);
      expect(heard).to.deep.equal(['b0', 'b1']);
      await w.restart();
      await w.settle();
      expect(heard.slice(2)).to.have.members(['a0', 'b0', 'b1']);
    });

    it('lets two overlapping readers not move the position back', async () => {
      const slow = listener(() => w.clock.sleep(1_000).then(() => undefined));
      const quick = listener(() => undefined);
      const w = await still();
      append(w, cancelled(aa, 0), cancelled(aa, 1));
      const first = followOnce(w, slow.services);
      await w.clock.advance(500);
      append(w, cancelled(aa, 2));
      await followOnce(w, quick.services);
      expect(position(w)).to.include({ after: '3' });
      await w.play(first);
      expect(position(w)).to.include({ after: '3' });
      expect(slow.heard, 'the one that was overtaken stops').to.not.include('a2');
    });

    it('parks an event unhandled at which the process has ended three times, tries it once more, and then leaves it to a person', async () => {
      let deaths = 0;
      let killing = true;
      const { services, heard } = listener((message) => {
        if (nameOf(message) !== 'a0' || !killing) return undefined;
        deaths++;
        return new Promise(() => {}); // and now the process is gone
      });
      const w = await world({ services });
      append(w, cancelled(aa, 0), cancelled(bb, 0), cancelled(aa, 1));
      for (let start = 1; start <= 3; start++) {
        await w.clock.advance(500);
        expect(deaths, 'at each start').to.equal(start);
        await w.restart();
      }
      await w.clock.advance(500);
      expect(deaths, 'at this one it is parked').to.equal(3);
      await w.clock.advance(60_000);
      await w.restart();
      await w.clock.advance(1_000_000);
      expect(deaths).to.equal(4);
      expect(withoutRepeats(heard)).to.deep.equal(['b0']);
      expect((await w.play(parkedKeys(w.kernel)))[0]).to.include({ partitionkey: aa, items: 2, reason: 'the process ended while this event was handled, three times' });
      killing = false;
      await w.play(retryParked(w.kernel, services, { consumer: 'shipping', partitionkey: aa }));
      expect(withoutRepeats(heard)).to.deep.equal(['b0', 'a0', 'a1']);
    });

    it('handles events one by one also when it begins anew, as long as starts make no progress, and parks none that another reader is at', async () => {
      const { services, heard } = listener((message) => (nameOf(message) === 'a1' ? new Promise(() => {}) : undefined));
      const w = await still();
      append(w, cancelled(aa, 0), cancelled(aa, 1), cancelled(bb, 0));
      const write = async (body: object): Promise<void> => void (await w.kernel.store.commit(place, { writes: [put(await w.kernel.store.get(place, rowKey), rowKey, body)] }));
      const rowKey = key('position', 'shipping', 'orders', '0');
      const place = partitionOf(collections.consumers, rowKey);
      await w.play(write({ starts: 2 }));
      w.interfere = async (call, work) => {
        if (call.method !== 'commit' || !JSON.stringify(call.args).includes('suspect')) return work();
        w.interfere = undefined;
        await write({ starts: 4, suspect: '1' });
        return work();
      };
      await w.play(followOnce(w, services));
      expect(position(w), 'another reader was faster').to.include({ starts: 4, suspect: '1' });
      void followOnce(w, services);
      await w.clock.advance(1_000);
      expect(heard).to.deep.equal(['a0']);
      expect(position(w)).to.include({ after: '1', suspect: '2' });
      expect(w.rows('parked')).to.deep.equal([]);
    });

    it('leaves a parked key to a person when three of its tries have ended the process', async () => {
      let deaths = 0;
      let mood: 'fails' | 'kills' = 'fails';
      const { services } = listener(() => {
        if (mood === 'fails') return new Defect('by the test');
        deaths++;
        return new Promise(() => {});
      });
      const w = await world({ services });
      append(w, cancelled(aa, 0));
      await w.clock.advance(1_000);
      mood = 'kills';
      for (let part = 0; part < 60; part++) {
        const before = deaths;
        await w.clock.advance(100_000);
        if (deaths > before) await w.restart();
      }
      expect(deaths).to.equal(3);
    });

    it('takes no try whose answer got lost for one that ended the process', async () => {
      const { services, heard } = listener((message) => (message.subject === aa && sick ? new Defect('by the test') : undefined));
      let sick = true;
      const w = await world({ services });
      append(w, cancelled(aa, 0));
      await w.clock.advance(1_000);
      const head = (): { deaths: number } | undefined => w.rows<{ deaths: number }>('parked')[0]?.body;
      // Each answer that says that a try has been written down is lost.
      w.interfere = async (call, work) => {
        const answer = await work();
        if (call.method === 'commit' && JSON.stringify(call.args).includes('\\"deaths\\":1')) throw unavailable();
        return answer;
      };
      await w.clock.advance(3_600_000);
      expect(head()?.deaths).to.equal(0);
      sick = false;
      w.interfere = undefined;
      await w.settle();
      expect(heard).to.deep.equal(['a0']);
    });

    it('suspects nobody after a clean end', async () => {
      let sick = true;
      const { services, heard } = listener(() => (sick ? throttled() : undefined));
      const w = await still();
      append(w, cancelled(aa, 0), cancelled(aa, 1));
      for (let start = 0; start < 6; start++) {
        const stop = new AbortController();
        const following = followOnce(w, services, { untilDry: false, signal: stop.signal });
        await w.clock.advance(1_000);
        stop.abort();
        await w.play(following);
        expect(position(w)).to.deep.equal({ starts: 0 });
      }
      sick = false;
      await w.play(followOnce(w, services));
      expect(heard).to.deep.equal(['a0', 'a1']);
      expect(position(w)).to.deep.equal({ after: '2', starts: 0 });
    });

    it('notices when its position has fallen out of retention, and goes on from the earliest', async () => {
      const { services, heard } = listener(() => undefined);
      const w = await still({ retentionDays: 1 });
      append(w, cancelled(aa, 0));
      await w.play(followOnce(w, services));
      append(w, cancelled(aa, 1));
      await w.clock.advance(2 * 86_400_000);
      append(w, cancelled(aa, 2));
      w.engines.stream.trim(w.clock.now());
      let lost = 0;
      await w.play(followOnce(w, services, { lost: async () => void lost++ }));
      expect(lost).to.equal(1);
      expect(heard).to.deep.equal(['a0', 'a2']);
      expect(w.log.lines.some(({ level, text }) => level === 'error' && text.includes('retention'))).to.equal(true);
      await w.play(followOnce(w, services, { lost: async () => void lost++ }));
      expect(lost, 'once').to.equal(1);
    });

    it('says once that there has never been a position, even while there is nothing to read', async () => {
      const { services } = listener(() => undefined);
      const w = await still();
      let lost = 0;
      for (let poll = 0; poll < 5; poll++) await w.play(followOnce(w, services, { lost: async () => void lost++ }));
      expect(lost).to.equal(1);
    });

    it('follows many more events than it keeps in hand', async () => {
      const { services, heard } = listener(() => undefined);
      const w = await world({ services });
      append(w, ...Array.from({ length: 2_000 }, (_, n) => cancelled('abcdefgh'[n % 8]!.repeat(26), n)));
      await w.settle();
      expect(heard).to.have.length(2_000);
      for (const letter of 'abcdefgh') expect(isSorted(heard.filter((name) => name[0] === letter).map((name) => Number(name.slice(1))))).to.equal(true);
    });
  });

  describe('forget and list', () => {
    it('forgets what it has seen when nobody can repeat it any more, and not a day earlier', async () => {
      const w = await still();
      await w.play(execute(w.kernel, counter('inbox'), { id: a, command: 'add' }, causeAt(w)));
      await w.clock.advance(35 * 86_400_000);
      expect(await w.play(forgetSeen(w.kernel))).to.equal(0);
      await w.clock.advance(3 * 86_400_000);
      expect(await w.play(forgetSeen(w.kernel))).to.equal(1);
      expect(w.rows('seen')).to.deep.equal([]);
    });

    it('lists page by page without a gap or a repetition, whatever the ids look like', async () => {
      const w = await still();
      const ids = Array.from({ length: 57 }, (_, n) => `ups|${String(n).padStart(3, '0')}%/é`);
      for (const id of ids) await w.play(execute(w.kernel, { ...counter(), says: false } as Model<number, Command>, { id, command: 'quietly' }));
      const found: string[] = [];
      let after: string | undefined;
      do {
        const page = await list(w.kernel.store, { collection: collections.orders, noun: 'counter', limit: 10, after });
        found.push(...page.items.map((row) => row.key));
        after = page.next;
      } while (after !== undefined);
      expect(found).to.deep.equal(ids.map((id) => key('counter', id)));
    });

    it('reads all rows under a prefix, whatever pages the store gives', async () => {
      const w = await still();
      const partition = partitionOf(collections.orders, a);
      for (let n = 0; n < 25; n++) await commit(w, cancelled(a, n));
      let turn = 0;
      w.interfere = async (call, work) => {
        if (call.method !== 'query') return work();
        return turn++ % 2 ? w.engines.store.query(call.args[0], { ...call.args[1], limit: 2 }) : { rows: [], next: call.args[1].cursor ?? '' };
      };
      const keys: string[] = [];
      for await (const row of rowsOf(w.kernel.store, partition, 'outbox|')) keys.push(row.key);
      expect(keys).to.have.length(25);
    });
  });

  it('starts a pump that hears everything of the flow, and stops it', async () => {
    const w = await still();
    const pump = startPump(w.kernel, toys({}));
    await w.clock.advance(120_000);
    await w.play(pump.stop());
    expect(w.log.lines.filter(({ level }) => level === 'error')).to.deep.equal([]);
  });
});

// ---------------------------------------------------------------- what the tests speak of

const a = 'a'.repeat(26);
const b = 'b'.repeat(26);

type Command = 'add' | 'once' | 'open' | 'refuse' | 'nothing' | 'break' | 'quietly';

/** Counts; says CancellationRequested with every step, for want of an event of its own. */
function counter(remembers: 'state' | 'inbox' = 'state'): Model<number, Command> {
  const added: Fact = { type: 'CancellationRequested', data: { orderId: a } };
  return {
    service: 'order', collection: collections.orders, noun: 'counter', initial: 0, remembers,
    decide(n, command): readonly Fact[] | Refusal {
      switch (command) {
        case 'add':
          return [added];
        case 'once':
          return n === 0 || remembers === 'inbox' ? [added] : [];
        case 'open':
          return n === 0 ? [added] : refuse(409, 'open', 'it is open');
        case 'refuse':
          return refuse(409, 'no', 'by the test');
        case 'nothing':
          return [];
        case 'quietly':
          return [{ type: 'Counted', data: null }];
        case 'break':
          throw new Defect('by the test');
      }
    },
    evolve: (n) => n + 1,
  };
}

function placed(orderId: string, sequence = 0): Outgoing {
  const at = '2026-11-20T09:00:00.000Z';
  const lines = [{ sku: 'A', name: 'A', quantity: 1, unitPrice: 5 }];
  return say('OrderPlaced', { orderId, placedAt: at, customer: anna, address: home, lines, total: { amount: 5, currency: 'GBP' } }, { subject: orderId, sequence, at });
}
const cancelled = (orderId: string, sequence: number): Outgoing => say('CancellationRequested', { orderId }, { subject: orderId, sequence, at: '2026-11-20T09:00:00.000Z' });
const said = (outgoing: Outgoing, change: Partial<Message>): Outgoing => ({ ...outgoing, message: { ...outgoing.message, ...change } });

async function commit(w: World, outgoing: Outgoing): Promise<readonly OutboxRow[]> {
  const { outbox } = await w.kernel.store.commit(partitionOf(collections.orders, outgoing.message.subject), { outgoing: [outgoing] });
  return outbox;
}
const pass = async (w: World, outgoing: Outgoing): Promise<void> => w.kernel.relay.pass(await commit(w, outgoing));

function saidTo(w: World, stream: string): Message[] {
  const all: Message[] = [];
  for (const partition of w.engines.stream.partitions(stream)) {
    const batch = w.engines.stream.read(stream, partition, undefined, 10_000);
    if ('events' in batch) all.push(...batch.events.map(({ text }) => JSON.parse(text) as Message));
  }
  return all;
}
const sequences = (w: World, stream: string): number[] => saidTo(w, stream).map(({ sequence }) => Number(sequence));

const count = (w: World, id: string): unknown => w.rows<{ state: number }>('counter').find((row) => row.key === key('counter', id))?.body.state;
const causeAt = (w: World) => ({ id: 'm1', source: '/test', time: timestamp(w.clock.now()) });
const seenOf = (cause: ReturnType<typeof causeAt>): string => seenKey({ consumer: 'order', aggregate: a, ...cause });

const isCommit = ({ port, method }: Call): boolean => port === 'store' && method === 'commit';
const isAppend = ({ port, method }: Call): boolean => port === 'stream' && method === 'append';
function once(when: (call: Call) => boolean, instead: (work: () => Promise<unknown>) => Promise<unknown>): (call: Call, work: () => Promise<unknown>) => Promise<unknown> {
  let left = true;
  return (call, work) => {
    if (!left || !when(call)) return work();
    left = false;
    return instead(work);
  };
}
const withoutRepeats = (names: readonly string[]): string[] => [...new Set(names)];
const isSorted = (numbers: readonly number[]): boolean => numbers.every((n, i) => i === 0 || numbers[i - 1]! < n);
