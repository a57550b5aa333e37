import { expect } from 'chai';
import { lifeSeconds } from '../../core/kernel/members.ts';
import { say } from '../../core/kernel/model.ts';
import type { Kernel } from '../../core/kernel/service.ts';
import { startPump, type Pump } from '../../handlers/pump.ts';
import { timestamp, type Message } from '../../ports/index.ts';
import { createIds } from '../support/ids.ts';
import { openWorld, throttled, toys, type World } from '../support/world.ts';

/** Several processes over one store share the partitions of the streams, lose a member and gain one. */

const partitionsPerStream = 16;
const ids = Array.from({ length: 60 }, (_, n) => String(n).padStart(26, 'k'));

describe('members', () => {
  let w: World;
  let round = 0;
  const members: Member[] = [];
  beforeEach(async () => {
    w = await openWorld({ partitionsPerStream, still: true, services: toys({}) });
    round = 0;
  });
  afterEach(async () => {
    for (const { revive, pump } of members.splice(0)) {
      revive();
      await w.play(pump.stop());
    }
    await w.stop();
  });

  interface Member {
    readonly heard: string[];
    readonly pump: Pump;
    /** Every call of it to a port comes to nothing from now on, as after a kill -9. */
    kill(): void;
    /** Only its store is gone. */
    sever(): void;
    revive(): void;
  }

  function join(seed: number): Member {
    let dead = false;
    let severed = false;
    const heard: string[] = [];
    const hanging: (() => void)[] = [];
    const fate = async <T>(work: () => Promise<T>): Promise<T> => {
      if (dead) await new Promise<void>((_, reject) => hanging.push(() => reject(throttled())));
      if (severed) throw throttled();
      return work();
    };
    const { store, stream } = w.kernel;
    const kernel: Kernel = {
      ...w.kernel,
      ids: createIds(1_000 + seed),
      store: { get: (...args) => fate(() => store.get(...args)), query: (...args) => fate(() => store.query(...args)), commit: (...args) => fate(() => store.commit(...args)) } as typeof store,
      stream: { ...stream, read: (...args) => fate(() => stream.read(...args)) },
    };
    const hear = async (_: Kernel, message: Message): Promise<void> => {
      await fate(async () => undefined);
      heard.push(`${message.subject} ${Number(message.sequence)}`);
    };
    const pump = startPump(kernel, toys({ shipping: { CancellationRequested: hear } }), { shared: true });
    const member: Member = { heard, pump, kill: () => void (dead = true), sever: () => void (severed = true), revive: () => ((dead = severed = false), hanging.splice(0).forEach((reject) => reject())) };
    members.push(member);
    return member;
  }

  async function say60(): Promise<void> {
    const at = timestamp(w.clock.now());
    await w.play(w.kernel.stream.append('orders', ids.map((id) => say('CancellationRequested', { orderId: id }, { subject: id, sequence: round, at }).message)));
    round++;
    await w.clock.advance(1_000);
  }
  const all = (): string[] => members.flatMap(({ heard }) => heard);
  const expected = (rounds: number): string[] => ids.flatMap((id) => Array.from({ length: rounds }, (_, n) => `${id} ${n}`)).sort();

  it('share the partitions: each event is handled by one of them, and every one of them has some', async () => {
    const three = [join(1), join(2), join(3)];
    await w.clock.advance(15_000);
    await say60();
    await say60();
    expect(all().sort()).to.deep.equal(expected(2));
    for (const { heard } of three) expect(heard).not.to.have.length(0);
  });

  it('take over from one that was killed, and lose nothing; each key keeps its order', async () => {
    const [one, two] = [join(1), join(2)];
    await w.clock.advance(15_000);
    await say60();
    const before = two!.heard.length;
    expect(before).to.be.within(1, 59);
    one!.kill();
    await say60();
    await w.clock.advance((lifeSeconds + 10) * 1_000);
    await say60();
    expect([...new Set(all())].sort()).to.deep.equal(expected(3));
    for (const { heard } of members) for (const id of ids) {
      const rounds = heard.filter((name) => name.startsWith(id)).map((name) => Number(name.slice(27)));
      expect(rounds).to.deep.equal([...rounds].sort((x, y) => x - y));
    }
    expect(two!.heard.filter((name) => name.endsWith(' 2'))).to.have.length(60);
  });

  it('hand over at once to the others when one is stopped', async () => {
    const [one, two] = [join(1), join(2)];
    await w.clock.advance(15_000);
    await w.play(one!.pump.stop());
    expect(w.rows('member')).to.have.length(1);
    await say60();
    await w.clock.advance(6_000);
    expect(two!.heard.sort()).to.deep.equal(expected(1));
  });

  it('give some of theirs to one that comes, and only to him', async () => {
    const one = join(1);
    await w.clock.advance(15_000);
    await say60();
    expect(one.heard).to.have.length(60);
    const two = join(2);
    await w.clock.advance(15_000);
    await say60();
    expect(two.heard.length).to.be.within(1, 59);
    expect(all().sort()).to.deep.equal(expected(2));
  });

  it('go on reading what they have while one of them cannot reach the store, and take it back when he can', async () => {
    const [one, two] = [join(1), join(2)];
    await w.clock.advance(15_000);
    one!.sever();
    await w.clock.advance((lifeSeconds + 10) * 1_000);
    await say60();
    expect(two!.heard).to.have.length(60);
    one!.revive();
    await w.clock.advance(15_000);
    await say60();
    expect([...new Set(all())].sort()).to.deep.equal(expected(2));
    expect(one!.heard.filter((name) => name.endsWith(' 1'))).not.to.have.length(0);
    expect(one!.heard.length + two!.heard.length, 'nobody hears twice what the other has handled').to.equal(120);
  });
});
