import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { expect } from 'chai';
import { EventHubConsumerClient, EventHubProducerClient, earliestEventPosition, type ReceivedEventData } from '@azure/event-hubs';
import { ServiceBusClient } from '@azure/service-bus';
import { hubDefaults, queueDefaults, type Topology } from '../../emulator/config.ts';
import { startEmulator, type Emulator } from '../../emulator/index.ts';
import { createLeapClock, until, type LeapClock } from '../support/leap.ts';

/** What `--data DIR` keeps, through the unmodified SDKs: all that somebody was told, also when the process was killed. */
describe('what the emulator keeps', () => {
  const topology: Topology = { queues: [{ ...queueDefaults, name: 'work', duplicatesMs: 60_000, deadLetterExpired: true }], topics: [], hubs: [{ ...hubDefaults, name: 'facts', partitions: 2 }] };
  let folder: string;
  let clock: LeapClock;
  let emulator: Emulator | undefined;
  const children: ChildProcess[] = [];
  const clients: { close(): Promise<void> }[] = [];

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'anyport-data-'));
    clock = createLeapClock();
  });
  afterEach(async () => {
    for (const child of children.splice(0)) child.kill('SIGKILL');
    await Promise.all(clients.splice(0).map((client) => client.close()));
    await emulator?.close();
    emulator = undefined;
    rmSync(folder, { recursive: true, force: true });
  });

  async function restart(shape: Topology = topology): Promise<Emulator> {
    await Promise.all(clients.splice(0).map((client) => client.close()));
    await emulator?.close();
    return (emulator = await startEmulator({ port: 0, controlPort: 0, dataDir: folder, clock, topology: shape }));
  }

  function busOf(connectionString: string): ServiceBusClient {
    const client = new ServiceBusClient(connectionString, { retryOptions: { maxRetries: 0, timeoutInMs: 2_000 } });
    clients.push(client);
    return client;
  }

  /** Everything of a hub, from its beginning, in the order of each partition. */
  async function factsOf(connectionString: string, total: number): Promise<ReceivedEventData[]> {
    const consumer = new EventHubConsumerClient('$Default', connectionString, 'facts');
    clients.push(consumer);
    const found: ReceivedEventData[] = [];
    for (const id of ['0', '1']) {
      consumer.subscribe(id, { processEvents: async (events) => void found.push(...events), processError: async () => undefined }, { startPosition: earliestEventPosition, maxWaitTimeInSeconds: 1 });
    }
    await until(`${total} events`, () => found.length >= total);
    return found;
  }

  it('has queues as they were: waiting, abandoned, deferred, scheduled and dead ones, and the ids that were seen', async () => {
    let bus = busOf((await restart()).connectionString);
    let sender = bus.createSender('work');
    let receiver = bus.createReceiver('work', { maxAutoLockRenewalDurationInMs: 0 });
    await sender.sendMessages(['done', 'abandoned', 'deferred', 'dead', 'locked', 'waiting'].map((body) => ({ body, messageId: body })));
    await sender.scheduleMessages({ body: 'scheduled', messageId: 'scheduled' }, new Date(clock.now() + 50_000));
    const [done, abandoned, deferred, dead, locked] = await receiver.receiveMessages(5);
    await receiver.completeMessage(done!);
    await receiver.deferMessage(deferred!, { why: 'later' });
    await receiver.deadLetterMessage(dead!, { deadLetterReason: 'bad', deadLetterErrorDescription: 'very' });
    await receiver.close();
    await sender.close();
    const other = bus.createReceiver('work', { maxAutoLockRenewalDurationInMs: 0 });
    await other.abandonMessage(abandoned!);
    expect(locked!.body).to.equal('locked');

    bus = busOf((await restart()).connectionString);
    sender = bus.createSender('work');
    receiver = bus.createReceiver('work', { maxAutoLockRenewalDurationInMs: 0 });
    expect(emulator!.entities().queues[0]).to.deep.include({ active: 3, deferred: 1, scheduled: 1, dead: 1, locked: 0 });
    await sender.sendMessages({ body: 'again', messageId: 'done' });
    const messages = await receiver.receiveMessages(10, { maxWaitTimeInMs: 300 });
    expect(messages.map(({ body, deliveryCount }) => [body as string, deliveryCount])).to.deep.equal([['abandoned', 1], ['locked', 0], ['waiting', 0]]);
    expect((await receiver.receiveDeferredMessages(deferred!.sequenceNumber!))[0]).to.deep.include({ body: 'deferred', applicationProperties: { why: 'later' } });
    expect((await bus.createReceiver('work', { subQueueType: 'deadLetter' }).receiveMessages(1))[0]).to.deep.include({ body: 'dead', deadLetterReason: 'bad', deadLetterErrorDescription: 'very' });
    await Promise.all(messages.map((message) => receiver.completeMessage(message)));
    await clock.leap(50_000);
    const [last] = await receiver.receiveMessages(1, { maxWaitTimeInMs: 1_000 });
    expect(last!.body).to.equal('scheduled');
    expect(last!.sequenceNumber!.toNumber()).to.be.greaterThan(7);
  });

  it('has hubs as they were, with their numbers', async () => {
    const producer = new EventHubProducerClient((await restart()).connectionString, 'facts');
    clients.push(producer);
    for (let body = 0; body < 10; body++) await producer.sendBatch([{ body }], { partitionKey: `key-${body % 3}` });
    const before = await factsOf(emulator!.connectionString, 10);
    const after = await factsOf((await restart()).connectionString, 10);
    const told = (events: readonly ReceivedEventData[]): unknown[] => events.map(({ body, sequenceNumber, offset, partitionKey, enqueuedTimeUtc }) => [body, sequenceNumber, offset, partitionKey, enqueuedTimeUtc.getTime()]).sort();
    expect(told(after)).to.deep.equal(told(before));
  });

  it('has what was created while it ran, not what was removed, and goes by the configuration first', async () => {
    const { create, remove } = await restart();
    create({ ...topology, queues: [{ ...queueDefaults, name: 'extra' }, { ...queueDefaults, name: 'gone' }] });
    create({ queues: [], topics: [{ name: 'news', ttlMs: undefined, duplicatesMs: undefined, bytesMax: 1_000_000, subscriptions: [{ ...queueDefaults, name: 'all', rules: [] }] }], hubs: [] });
    await busOf(emulator!.connectionString).createSender('gone').sendMessages({ body: 1 });
    await busOf(emulator!.connectionString).createSender('extra').sendMessages({ body: 1 });
    await busOf(emulator!.connectionString).createSender('news').sendMessages({ body: 1 });
    remove('queues', 'gone');
    await restart();
    const { queues, topics } = emulator!.entities();
    expect(queues.map(({ name, active }) => [name, active])).to.deep.equal([['work', 0], ['extra', 1]]);
    expect(topics[0]!.subscriptions[0]).to.deep.include({ active: 1 });
    emulator!.create({ queues: [{ ...queueDefaults, name: 'gone' }], topics: [], hubs: [] });
    expect(emulator!.entities().queues.find(({ name }) => name === 'gone')).to.deep.include({ active: 0 });
    await restart({ ...topology, hubs: [{ ...hubDefaults, name: 'extra' }] });
    expect(emulator!.entities().hubs.map(({ name }) => name)).to.deep.equal(['extra']);
  });

  it('lets nobody else into its folder', async () => {
    await restart();
    const error = await startEmulator({ port: 0, dataDir: folder, topology }).then(() => undefined, (thrown: unknown) => thrown);
    expect(error).to.be.instanceOf(Error);
    await busOf(emulator!.connectionString).createSender('work').sendMessages({ body: 1 });
  });

  it('has everything that was acknowledged when it is killed with -9, in the middle of work, twice', async () => {
    const accepted: number[] = [];
    const completed = new Set<number>();
    const handed = new Map<number, number>();
    let next = 0;
    for (let life = 0; life < 2; life++) {
      const { child, connectionString } = await command();
      const bus = new ServiceBusClient(connectionString, { retryOptions: { maxRetries: 0, timeoutInMs: 500 } });
      const sender = bus.createSender('stock-freed');
      const receiver = bus.createReceiver('stock-freed', { maxAutoLockRenewalDurationInMs: 0 });
      receiver.subscribe({
        processMessage: async (message) => {
          const body = message.body as number;
          handed.set(body, (handed.get(body) ?? 0) + 1);
          await receiver.completeMessage(message);
          expect(completed.has(body), `${body} came again after it was completed`).to.equal(false);
          completed.add(body);
        },
        processError: async () => undefined,
      }, { autoCompleteMessages: false, maxConcurrentCalls: 3 });
      const sending = Promise.all(Array.from({ length: 4 }, async () => {
        while (!child.killed) {
          const body = next++;
          await sender.sendMessages({ body, messageId: String(body) }).then(() => accepted.push(body), () => undefined);
        }
      }));
      const goal = accepted.length + 100;
      await until('some are sent', () => accepted.length > goal);
      child.kill('SIGKILL');
      await sending;
      // The SDK can wait for ever for the answer of one that is gone.
      await Promise.race([bus.close().catch(() => undefined), new Promise((resolve) => setTimeout(resolve, 1_000))]);
    }
    const { child, connectionString } = await command();
    const bus = busOf(connectionString);
    const left = new Set<number>();
    const receiver = bus.createReceiver('stock-freed', { receiveMode: 'receiveAndDelete' });
    for (let some = await receiver.receiveMessages(500, { maxWaitTimeInMs: 1_000 }); some.length > 0; some = await receiver.receiveMessages(500, { maxWaitTimeInMs: 200 })) {
      for (const { body } of some) left.add(body as number);
    }
    expect(accepted.filter((body) => !left.has(body) && !handed.has(body))).to.deep.equal([]);
    expect([...left].filter((body) => completed.has(body))).to.deep.equal([]);
    await clients.pop()!.close();
    child.kill('SIGKILL');
  });

  async function command(): Promise<{ child: ChildProcess; connectionString: string }> {
    const child = spawn(process.execPath, ['--import', 'tsx/esm', 'emulator/main.ts', '--port', '0', '--control-port', '0', '--data', folder], { stdio: ['ignore', 'pipe', 'inherit'] });
    children.push(child);
    const line = await new Promise<string>((resolve) => createInterface(child.stdout!).once('line', resolve));
    return { child, connectionString: /Endpoint=\S+/.exec(line)![0] };
  }
});
