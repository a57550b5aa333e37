import { expect } from 'chai';
import { follow } from '../../core/kernel/follow.ts';
import { say } from '../../core/kernel/model.ts';
import type { AnyService } from '../../core/kernel/service.ts';
import { key, timestamp, type Message, type RawWrite } from '../../ports/index.ts';
import { openWorld, toys, unavailable, type World } from '../support/world.ts';

/** A stream whose partitions are split while it is read, and several readers of one partition. */

const ids = Array.from({ length: 8 }, (_, n) => String(n).repeat(26));
const cancelled = (n: number, sequence: number): Message =>
  say('CancellationRequested', { orderId: ids[n]! }, { subject: ids[n]!, sequence, at: timestamp(Date.parse('2026-11-20T09:00:00Z')) }).message;
const nameOf = ({ subject, sequence }: Message): string => `${subject[0]}${Number(sequence)}`;

describe('a stream that is split', () => {
  let w: World | undefined;
  afterEach(() => w?.stop());

  function append(world: World, round: number): void {
    const messages = ids.map((_, n) => cancelled(n, round));
    world.engines.stream.append('orders', messages.map((message) => ({ partitionkey: message.partitionkey, text: JSON.stringify(message) })), world.clock.now());
  }

  const position = (world: World, partition: string): { after?: string; starts: number } | undefined =>
    world.rows<{ after?: string; starts: number }>('position').find((row) => row.key === key('position', 'shipping', 'orders', partition))?.body;

  it('is read on in the children, by a pump that is running, and each key keeps its order', async () => {
    const heard: string[] = [];
    w = await openWorld({ partitionsPerStream: 1, services: toys({ shipping: { CancellationRequested: async (_, message: Message) => void heard.push(nameOf(message)) } }) });
    append(w, 0);
    const [one] = w.engines.stream.split('orders', '0');
    append(w, 1);
    await w.settle();
    w.engines.stream.split('orders', one!);
    append(w, 2);
    await w.settle();
    for (const [n] of ids.entries()) expect(heard.filter((name) => name.startsWith(String(n)))).to.deep.equal([`${n}0`, `${n}1`, `${n}2`]);
  });

  it('begins with no child before all of the parent is handled', async () => {
    const heard: string[] = [];
    let stuck = true;
    const hear = async (_: unknown, message: Message): Promise<void> => {
      if (stuck && nameOf(message) === '30') throw unavailable();
      heard.push(nameOf(message));
    };
    w = await openWorld({ partitionsPerStream: 1, services: toys({ shipping: { CancellationRequested: hear } }) });
    append(w, 0);
    w.engines.stream.split('orders', '0');
    append(w, 1);
    await w.clock.advance(60_000);
    expect(heard).to.have.length(7);
    expect(heard.filter((name) => name.endsWith('1'))).to.deep.equal([]);
    stuck = false;
    await w.settle();
    expect(heard).to.have.length(16);
  });

  it('is found by a pump that starts anew, which goes through the parent to the children', async () => {
    const heard: string[] = [];
    w = await openWorld({ partitionsPerStream: 1, services: toys({ shipping: { CancellationRequested: async (_, message: Message) => void heard.push(nameOf(message)) } }) });
    append(w, 0);
    w.engines.stream.split('orders', '0');
    await w.settle();
    await w.restart();
    append(w, 1);
    await w.settle();
    expect(heard).to.have.length(16);
  });

  it('has readers who overtake each other without taking each other for dead', async () => {
    const services: AnyService[] = toys({ shipping: { CancellationRequested: async () => {} } });
    w = await openWorld({ partitionsPerStream: 1, services, still: true });
    const { kernel } = w;
    let most = 0;
    let marks = 0;
    w.interfere = async (call, work) => {
      if (call.method === 'commit') {
        for (const write of call.args[1] as RawWrite[]) {
          if (!write.key.startsWith('position|') || write.op === 'delete') continue;
          const body = JSON.parse(write.body) as { starts: number; suspect?: string };
          most = Math.max(most, body.starts);
          if (body.suspect !== undefined) marks++;
        }
      }
      return work();
    };
    const shipping = services.find(({ name }) => name === 'shipping')!;
    const stop = new AbortController();
    // One reader after the other, of the same process, overtaken before it has moved: not one of them has died.
    for (let round = 0; round < 6; round++) {
      append(w, round);
      const overtaken = new AbortController();
      const reading = follow(kernel, shipping, { stream: 'orders', partition: '0', signal: AbortSignal.any([stop.signal, overtaken.signal]), untilDry: true });
      await w.play(reading);
      overtaken.abort();
      const row = w.rows<{ after?: string }>('position').find((each) => each.key === key('position', 'shipping', 'orders', '0'))!;
      const stored = w.engines.store.get(row.partition, row.key)!;
      // Somebody else, elsewhere, has begun and not moved yet.
      w.engines.store.commit(row.partition, [{ op: 'replace', key: row.key, version: stored.version, body: JSON.stringify({ ...row.body, starts: 1 }) }]);
    }
    stop.abort();
    expect(most, 'a process is counted once').to.be.at.most(1);
    expect(marks, 'nobody is suspected').to.equal(0);
    expect(position(w, '0')).to.have.property('after', '48');
  });
});
