import { EventHubConsumerClient, EventHubProducerClient, earliestEventPosition } from '@azure/event-hubs';
import { ServiceBusClient } from '@azure/service-bus';
import { expect } from 'chai';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import { readConfig } from '../../emulator/config.ts';
import { startEmulator } from '../../emulator/index.ts';
import { openJournal, type Book, type Journal } from '../../emulator/journal.ts';
import { Defect, Invalid } from '../../ports/index.ts';
import { until } from '../support/leap.ts';

type Change = { readonly add: string; readonly bytes?: Buffer };

describe('emulator: the journal', () => {
  let dir: string;
  let journal: Journal;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'anyport-journal-'));
    journal = openJournal(dir);
  });
  afterEach(() => {
    journal.close();
    rmSync(dir, { recursive: true, force: true });
  });

  const nothing = { snapshot: () => [], liveBytes: () => 0 };
  const file = (): string => join(dir, 'journal');
  const open = (name: string): Book<Change> => journal.open<Change>(name, nothing);
  const recorded = (name: string): Change[] => [...open(name).recorded()];
  const words = (name: string): string[] => recorded(name).map(({ add }) => add);

  function reopen(options?: Parameters<typeof openJournal>[1]): void {
    journal.close();
    journal = openJournal(dir, options);
  }

  it('gives back what was appended, book by book and in order', () => {
    const one = open('one');
    const two = open('two');
    one.append({ add: 'a' });
    two.append({ add: 'x' });
    one.append({ add: 'b' });
    reopen();
    expect(words('one')).to.deep.equal(['a', 'b']);
    expect(words('two')).to.deep.equal(['x']);
    expect(words('three')).to.deep.equal([]);
  });

  it('keeps plain data as it is, and bytes wherever they stand', () => {
    const change = { add: 'ä\n\u0000', bytes: Buffer.from([0, 255, 1]), list: [1, -1.5, null, true, [Buffer.from('in a list')]], nested: { empty: Buffer.alloc(0), big: Buffer.alloc(300_000, 7) } };
    open('one').append(change);
    reopen();
    expect(recorded('one')).to.deep.equal([change]);
  });

  it('leaves out fields that are undefined, and refuses numbers that JSON cannot say', () => {
    const book = journal.open<{ add: string; is?: undefined }>('one', nothing);
    book.append({ add: 'a', is: undefined });
    expect(() => journal.open<number>('two', nothing).append(Number.NaN)).to.throw(Defect);
    reopen();
    expect(recorded('one')).to.deep.equal([{ add: 'a' }]);
  });

  it('has written everything when flush returns, and not before', () => {
    const before = statSync(file()).size;
    const book = open('one');
    book.append({ add: 'a' });
    book.append({ add: 'b' });
    expect(statSync(file()).size).to.equal(before);
    journal.flush();
    expect(statSync(file()).size).to.equal(journal.bytes).and.to.be.greaterThan(before);
  });

  it('writes of its own accord when nobody flushes', async () => {
    open('one').append({ add: 'a' });
    await until('it is written', () => statSync(file()).size === journal.bytes);
    expect(statSync(file()).size).to.be.greaterThan(18);
  });

  it('forgets a book that was removed, and may open it again', () => {
    const book = open('one');
    open('two').append({ add: 'x' });
    book.append({ add: 'a' });
    book.remove();
    open('one').append({ add: 'b' });
    reopen();
    expect(words('one')).to.deep.equal(['b']);
    expect(words('two')).to.deep.equal(['x']);
  });

  describe('after a crash', () => {
    it('drops a record that was not written whole, wherever it ends, and goes on behind the one before it', () => {
      const book = open('one');
      book.append({ add: 'first' });
      journal.flush();
      const whole = statSync(file()).size;
      book.append({ add: 'second', bytes: Buffer.alloc(40, 1) });
      journal.close();
      const bytes = readFileSync(file());
      for (let length = bytes.length - 1; length > whole; length -= 3) {
        writeFileSync(file(), bytes.subarray(0, length));
        journal = openJournal(dir);
        const again = open('one');
        expect([...again.recorded()]).to.deep.equal([{ add: 'first' }]);
        again.append({ add: 'third' });
        reopen();
        expect(words('one')).to.deep.equal(['first', 'third']);
        journal.close();
      }
    });

    it('drops a last record whose bytes are not its own, and zeros behind the end', () => {
      open('one').append({ add: 'first' });
      journal.close();
      const bytes = readFileSync(file());
      appendFileSync(file(), Buffer.alloc(5_000));
      journal = openJournal(dir);
      expect(words('one')).to.deep.equal(['first']);
      reopen();
      expect(statSync(file()).size).to.equal(bytes.length);
      journal.close();
      bytes[bytes.length - 1]! ^= 1;
      writeFileSync(file(), bytes);
      journal = openJournal(dir);
      expect(words('one')).to.deep.equal([]);
    });

    it('begins anew when not even the beginning of the file was written', () => {
      journal.close();
      truncateSync(file(), 5);
      journal = openJournal(dir);
      open('one').append({ add: 'a' });
      reopen();
      expect(words('one')).to.deep.equal(['a']);
    });

    it('does not open when something in the middle is damaged, and changes nothing', () => {
      const book = open('one');
      book.append({ add: 'first' });
      book.append({ add: 'second' });
      journal.close();
      const bytes = readFileSync(file());
      bytes[45]! ^= 1;
      writeFileSync(file(), bytes);
      expect(() => openJournal(dir)).to.throw(Invalid, /damaged at byte 18/);
      expect(readFileSync(file()).equals(bytes)).to.equal(true);
      // The folder is free again.
      rmSync(file());
      journal = openJournal(dir);
    });

    it('does not open a file that is something else', () => {
      journal.close();
      writeFileSync(file(), 'Dear diary, today was a long day.');
      expect(() => openJournal(dir)).to.throw(Invalid, /not a journal/);
      rmSync(file());
      journal = openJournal(dir);
    });
  });

  describe('compaction', () => {
    /** A counter: of all its changes only the last one is alive. */
    function counter(name: string): { book: Book<Change>; set(value: string): void } {
      let value = '';
      const book = journal.open<Change>(name, { snapshot: () => [{ add: value, bytes: Buffer.alloc(100) }], liveBytes: () => 150 });
      for (const { add } of book.recorded()) value = add;
      return { book, set: (next) => book.append({ add: (value = next), bytes: Buffer.alloc(100) }) };
    }

    it('keeps the file small however much happens, and what is alive in it', () => {
      reopen({ compactFromBytes: 10_000 });
      const one = counter('one');
      for (let n = 1; n <= 2_000; n++) {
        one.set(String(n));
        journal.flush();
        expect(statSync(file()).size).to.be.lessThan(11_000);
      }
      reopen();
      expect(words('one').at(-1)).to.equal('2000');
    });

    it('keeps what nobody has opened', () => {
      open('stranger').append({ add: 'still here' });
      reopen({ compactFromBytes: 1_000 });
      const one = counter('one');
      for (let n = 0; n < 100; n++) {
        one.set(String(n));
        journal.flush();
      }
      expect(journal.bytes).to.be.lessThan(2_000);
      reopen();
      expect(words('stranger')).to.deep.equal(['still here']);
    });

    it('is not done while more than half of the file is alive', () => {
      reopen({ compactFromBytes: 1_000 });
      let asked = 0;
      const all: Change[] = [];
      const book = journal.open<Change>('one', { snapshot: () => (asked++, all), liveBytes: () => all.length * 100 });
      for (let n = 0; n < 200; n++) {
        const change = { add: String(n), bytes: Buffer.alloc(100) };
        all.push(change);
        book.append(change);
        journal.flush();
      }
      expect(asked).to.equal(0);
    });

    it('ignores a new file that a crash left behind', () => {
      open('one').append({ add: 'a' });
      journal.close();
      writeFileSync(`${file()}.new`, 'half');
      journal = openJournal(dir);
      expect(words('one')).to.deep.equal(['a']);
    });
  });

  describe('the lock', () => {
    it('lets one emulator at a time into a folder', () => {
      expect(() => openJournal(dir)).to.throw(Invalid, /another emulator/);
      reopen();
    });

    it('of a process that is gone does not count, even when its number was given again', () => {
      journal.close();
      for (const stale of ['999999999', `${process.pid} 1`, 'nonsense', '']) {
        writeFileSync(join(dir, 'lock'), stale);
        journal = openJournal(dir);
        journal.close();
      }
    });
  });

  it('takes nothing more once it is closed', () => {
    const book = open('one');
    book.append({ add: 'a' });
    journal.close();
    expect(() => book.append({ add: 'b' })).to.throw(Defect);
  });

  it('takes 20,000 changes a second and more', () => {
    const book = open('one');
    const bytes = Buffer.alloc(200, 1);
    const before = process.cpuUsage();
    for (let n = 0; n < 200; n++) {
      for (let m = 0; m < 100; m++) book.append({ add: 'an ordinary message', bytes });
      journal.flush();
    }
    const { user, system } = process.cpuUsage(before);
    expect((user + system) / 1_000).to.be.lessThan(1_000);
  });
});

describe('emulator: --data DIR', () => {
  const config = {
    UserConfig: {
      Namespaces: [
        {
          Queues: [{ Name: 'work', Properties: { LockDuration: 'PT5M', MaxDeliveryCount: 5 } }],
          Topics: [{ Name: 'news', Properties: {}, Subscriptions: [{ Name: 'all', Properties: {}, Rules: [] }] }],
          Entities: [{ Name: 'orders', PartitionCount: 2, ConsumerGroups: [{ Name: 'readers' }] }],
        },
      ],
    },
  };
  let dir: string;
  let child: ChildProcess | undefined;
  let connectionString = '';
  let control = '';

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'anyport-data-'));
    writeFileSync(join(dir, 'Config.json'), JSON.stringify(config));
  });
  afterEach(async () => {
    await kill('SIGKILL');
    rmSync(dir, { recursive: true, force: true });
  });

  async function start(): Promise<void> {
    const args = ['--port', '0', '--control-port', '0', '--config', join(dir, 'Config.json'), '--data', join(dir, 'data')];
    child = spawn(process.execPath, ['--import', 'tsx/esm', 'emulator/main.ts', ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
    const ended = once(child, 'exit').then(([code]) => [`it ended with ${code}`]);
    const [line] = (await Promise.race([once(createInterface({ input: child.stdout! }), 'line'), ended])) as [string];
    expect(line).to.match(/Endpoint=/);
    connectionString = /Endpoint=\S+/.exec(line)![0];
    control = /http:\S+/.exec(line)![0];
  }

  async function kill(signal: NodeJS.Signals): Promise<void> {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill(signal);
    await ended;
  }

  async function restart(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    await kill(signal);
    await start();
  }

  async function withBus<T>(act: (client: ServiceBusClient) => Promise<T>): Promise<T> {
    const client = new ServiceBusClient(connectionString);
    try {
      return await act(client);
    } finally {
      await client.close();
    }
  }

  async function eventsOf(times: number): Promise<{ body: unknown; sequenceNumber: number; offset: string }[]> {
    const client = new EventHubConsumerClient('readers', connectionString, 'orders');
    const found: { body: unknown; sequenceNumber: number; offset: string }[] = [];
    const subscription = client.subscribe(
      { processEvents: async (events) => void found.push(...events.map(({ body, sequenceNumber, offset }) => ({ body: body as unknown, sequenceNumber, offset }))), processError: async () => undefined },
      { startPosition: earliestEventPosition, maxBatchSize: 200, maxWaitTimeInSeconds: 1 },
    );
    await until(`${times} events`, () => found.length >= times, 10_000);
    await subscription.close();
    await client.close();
    return found;
  }

  const send = (queue: string, ...bodies: unknown[]): Promise<void> => withBus((client) => client.createSender(queue).sendMessages(bodies.map((body) => ({ body }))));
  const bodiesIn = (queue: string, ...rest: string[]): Promise<unknown[]> =>
    withBus(async (client) => {
      const receiver = rest.length === 0 ? client.createReceiver(queue) : client.createReceiver(queue, rest[0]!);
      return (await receiver.peekMessages(1_000)).map(({ body }) => body as unknown);
    });

  it('keeps what was acknowledged, to the last message, over kill -9 in the midst of sending', async function () {
    this.timeout(40_000);
    await start();
    const acknowledged = { work: [] as number[], orders: [] as number[] };
    const retryOptions = { maxRetries: 0, timeoutInMs: 1_000 };
    const bus = new ServiceBusClient(connectionString, { retryOptions });
    const hub = new EventHubProducerClient(connectionString, 'orders', { retryOptions });
    const sender = bus.createSender('work');
    let going = true;
    async function sends(one: (n: number) => Promise<void>, done: number[]): Promise<void> {
      for (let n = 0; going; n++) await one(n).then(() => void done.push(n), () => void (going = false));
    }
    const all = Promise.all([
      sends((n) => sender.sendMessages({ body: n }), acknowledged.work),
      sends((n) => hub.sendBatch([{ body: n }], { partitionKey: 'k' }), acknowledged.orders),
    ]);
    await until('some hundred', () => acknowledged.work.length > 200 && acknowledged.orders.length > 200, 20_000);
    await kill('SIGKILL');
    await all;
    await bus.close().catch(() => undefined);
    await hub.close().catch(() => undefined);
    await start();
    // One more may be there: it was taken, and the answer was lost.
    const work = await bodiesIn('work');
    expect(work.slice(0, acknowledged.work.length)).to.deep.equal(acknowledged.work);
    expect(work.length - acknowledged.work.length).to.be.within(0, 1);
    const orders = await eventsOf(acknowledged.orders.length);
    expect(orders.slice(0, acknowledged.orders.length).map(({ body }) => body)).to.deep.equal(acknowledged.orders);
    expect(orders.length - acknowledged.orders.length).to.be.within(0, 1);
  });

  it('has written down what it answers before the answer goes out', async () => {
    const emulator = await startEmulator({ port: 0, dataDir: dir, topology: readConfig(JSON.stringify(config)).topology });
    const bus = new ServiceBusClient(emulator.connectionString);
    const hub = new EventHubProducerClient(emulator.connectionString, 'orders');
    const sender = bus.createSender('work');
    const written = (text: string): boolean => readFileSync(join(dir, 'journal')).includes(text);
    for (let n = 0; n < 20; n++) {
      await sender.sendMessages({ body: `message ${n}.` });
      expect(written(`message ${n}.`)).to.equal(true);
      await hub.sendBatch([{ body: `event ${n}.` }]);
      expect(written(`event ${n}.`)).to.equal(true);
    }
    await bus.close();
    await hub.close();
    await emulator.close();
  });

  it('keeps what became of messages: completed, locked, deferred, scheduled, dead, in subscriptions', async function () {
    this.timeout(40_000);
    await start();
    await send('work', 'done', 'dead', 'later', 'held', 'free');
    await send('news', 'extra');
    const [scheduled, deferred] = await withBus(async (client) => {
      const receiver = client.createReceiver('work');
      const [done, dead, later] = await receiver.receiveMessages(4, { maxWaitTimeInMs: 2_000 });
      await receiver.completeMessage(done!);
      await receiver.deadLetterMessage(dead!, { deadLetterReason: 'no good', deadLetterErrorDescription: 'at all' });
      await receiver.deferMessage(later!);
      const numbers = await client.createSender('work').scheduleMessages({ body: 'scheduled' }, new Date(Date.now() + 3_600_000));
      return [numbers[0]!, later!.sequenceNumber!];
    });
    for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
      await restart(signal);
      expect(await bodiesIn('work')).to.have.members(['later', 'held', 'free', 'scheduled']);
      expect(await bodiesIn('news', 'all')).to.deep.equal(['extra']);
      await withBus(async (client) => {
        const [dead] = await client.createReceiver('work', { subQueueType: 'deadLetter' }).peekMessages(1);
        expect(dead).to.include({ body: 'dead', deadLetterReason: 'no good' });
      });
    }
    await withBus(async (client) => {
      const receiver = client.createReceiver('work');
      expect((await receiver.receiveDeferredMessages(deferred)).map(({ body }) => body as unknown)).to.deep.equal(['later']);
      await client.createSender('work').cancelScheduledMessages(scheduled);
      // Locks are not kept.
      const free = await receiver.receiveMessages(5, { maxWaitTimeInMs: 2_000 });
      expect(free.map(({ body, deliveryCount }) => [body, deliveryCount])).to.deep.equal([['held', 0], ['free', 0]]);
    });
  });

  it('keeps numbers, offsets and the birth of a hub, so that checkpoints stay true', async function () {
    this.timeout(40_000);
    await start();
    const send = (from: number): Promise<void> => {
      const producer = new EventHubProducerClient(connectionString, 'orders');
      return producer.sendBatch([{ body: from }, { body: from + 1 }], { partitionId: '1' }).finally(() => producer.close());
    };
    const properties = async (): Promise<unknown> => {
      const producer = new EventHubProducerClient(connectionString, 'orders');
      return Promise.all([producer.getEventHubProperties(), producer.getPartitionProperties('0'), producer.getPartitionProperties('1')]).finally(() => producer.close());
    };
    await send(0);
    const [before, events] = [await properties(), await eventsOf(2)];
    await restart();
    expect(await properties()).to.deep.equal(before);
    expect(await eventsOf(2)).to.deep.equal(events);
    await send(2);
    expect((await eventsOf(4)).map(({ sequenceNumber }) => sequenceNumber)).to.deep.equal([0, 1, 2, 3]);
  });

  it('keeps what was created and removed while it ran', async function () {
    this.timeout(40_000);
    await start();
    expect((await fetch(`${control}queues/extra`, { method: 'PUT' })).status).to.equal(201);
    expect((await fetch(`${control}hubs/more`, { method: 'PUT', body: JSON.stringify({ PartitionCount: 7 }) })).status).to.equal(201);
    expect((await fetch(`${control}queues/gone`, { method: 'PUT' })).status).to.equal(201);
    await send('extra', 'kept');
    await send('gone', 'lost');
    expect((await fetch(`${control}queues/gone`, { method: 'DELETE' })).status).to.equal(204);
    const producer = new EventHubProducerClient(connectionString, 'more');
    await producer.sendBatch([{ body: 'lost' }]);
    await producer.close();
    expect((await fetch(`${control}hubs/more`, { method: 'DELETE' })).status).to.equal(204);
    expect((await fetch(`${control}hubs/more`, { method: 'PUT', body: JSON.stringify({ PartitionCount: 5 }) })).status).to.equal(201);
    await restart();
    expect(await bodiesIn('extra')).to.deep.equal(['kept']);
    const { queues, hubs } = (await (await fetch(control)).json()) as { queues: { name: string }[]; hubs: { name: string; partitions: { events: number }[] }[] };
    expect(queues.map(({ name }) => name)).to.have.members(['work', 'extra']);
    expect(hubs.find(({ name }) => name === 'more')!.partitions.map(({ events }) => events)).to.deep.equal([0, 0, 0, 0, 0]);
    expect((await fetch(`${control}queues/gone`, { method: 'PUT' })).status).to.equal(201);
    expect(await bodiesIn('gone')).to.deep.equal([]);
  });

  it('lets no second emulator into the folder, and says so in a line', async function () {
    this.timeout(40_000);
    await start();
    const second = spawn(process.execPath, ['--import', 'tsx/esm', 'emulator/main.ts', '--port', '0', '--data', join(dir, 'data')], { stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    second.stderr.on('data', (chunk: Buffer) => void (said += chunk.toString()));
    const [code] = (await once(second, 'exit')) as [number];
    expect(code).to.equal(2);
    expect(said).to.match(/another emulator keeps its data in this folder/).and.not.match(/ {4}at /);
  });
});
