import { expect } from 'chai';
import {
  earliestEventPosition,
  EventHubBufferedProducerClient,
  EventHubConsumerClient,
  EventHubProducerClient,
  latestEventPosition,
  type EventData,
  type EventPosition,
  type ReceivedEventData,
  type SubscribeOptions,
  type Subscription,
} from '@azure/event-hubs';
import { BlobCheckpointStore } from '@azure/eventhubs-checkpointstore-blob';
import { ContainerClient } from '@azure/storage-blob';
import { startAzurite } from '../../emulator/azurite.ts';
import { hubDefaults, type HubShape } from '../../emulator/config.ts';
import type { Inlet, Wish } from '../../emulator/amqp.ts';
import { createEventHubs, type EventHubs } from '../../emulator/eventhubs.ts';
import { annotationsSection, batchFormat, dataSection, valueSection } from '../../emulator/message.ts';
import { Invalid } from '../../ports/index.ts';
import { startEmulator, type Emulator } from '../../emulator/index.ts';
import { createLeapClock, until, type LeapClock } from '../support/leap.ts';

/**
 * Event Hubs through the unmodified SDK. Each part is written from a page of the vendor's documentation, named with it, below https://learn.microsoft.com/azure/event-hubs/.
 * The clock leaps, so retention costs no time; only the SDK's own timers are real.
 */
describe('hubs of Event Hubs', () => {
  const minute = 60_000;
  const retryOptions = { maxRetries: 1, retryDelayInMs: 10, timeoutInMs: 5_000 };
  let clock: LeapClock;
  let emulator: Emulator;
  let count = 0;
  let opened: { close(): Promise<void> }[] = [];

  before(async () => {
    clock = createLeapClock();
    emulator = await startEmulator({ port: 0, clock });
  });
  afterEach(async () => {
    for (const one of opened.reverse()) await one.close();
    opened = [];
  });
  after(() => emulator.close());

  /** A hub of its own for a test. */
  function hub(shape: Partial<HubShape> = {}): string {
    const name = `Hub-${++count}`;
    emulator.create({ queues: [], topics: [], hubs: [{ ...hubDefaults, groups: ['Readers'], ...shape, name }] });
    return name;
  }

  function opens<T extends { close(): Promise<void> }>(one: T): T {
    opened.push(one);
    return one;
  }
  const producer = (name: string): EventHubProducerClient => opens(new EventHubProducerClient(emulator.connectionString, name, { retryOptions }));
  const consumer = (name: string, group = '$Default'): EventHubConsumerClient => opens(new EventHubConsumerClient(group, emulator.connectionString, name, { retryOptions }));

  interface Heard {
    readonly events: (ReceivedEventData & { partition: string })[];
    readonly errors: (Error & { code?: string })[];
    readonly metrics: unknown[];
    bodies(): unknown[];
    close(): Promise<void>;
  }

  /** Reads one partition, or all of them. */
  function listen(client: EventHubConsumerClient, partition: string | undefined, startPosition: EventPosition, options: SubscribeOptions = {}): Heard {
    const heard: Heard = { events: [], errors: [], metrics: [], bodies: () => heard.events.map(({ body }) => body as unknown), close: () => subscription.close() };
    const handlers = {
      async processEvents(events: ReceivedEventData[], context: { partitionId: string; lastEnqueuedEventProperties?: unknown }) {
        heard.events.push(...events.map((event) => ({ ...event, partition: context.partitionId })));
        if (events.length > 0) heard.metrics.push({ ...(context.lastEnqueuedEventProperties as object) });
      },
      async processError(error: Error) {
        heard.errors.push(error);
      },
    };
    const all: SubscribeOptions = { startPosition, maxBatchSize: 300, maxWaitTimeInSeconds: 1, ...options };
    const subscription: Subscription = partition === undefined ? client.subscribe(handlers, all) : client.subscribe(partition, handlers, all);
    opens(heard);
    return heard;
  }

  const heardAll = (heard: Heard, times: number): Promise<void> => until(`${times} events, ${heard.errors.map(({ message }) => message).join()}`, () => heard.events.length >= times || heard.errors.length > 0);
  const events = (...bodies: unknown[]): EventData[] => bodies.map((body) => ({ body }));
  const thrownBy = (action: Promise<unknown>): Promise<Error & { code?: string }> =>
    action.then(() => { throw new Error('nothing was thrown'); }, (error: Error & { code?: string }) => error);
  const counts = (name: string): Emulator['entities'] extends () => { hubs: readonly (infer C)[] } ? C : never => emulator.entities().hubs.find((one) => one.name === name)!;

  async function read(name: string, partition: string, position: EventPosition, times: number, group?: string): Promise<unknown[]> {
    const heard = listen(consumer(name, group), partition, position);
    await heardAll(heard, times);
    await heard.close();
    expect(heard.errors).to.deep.equal([]);
    return heard.bodies();
  }

  describe('properties (sdk: event-hubs-node-get-started-send; amqp: event-hubs-amqp-troubleshoot)', () => {
    it('of a hub are its name, its birth and its partitions', async () => {
      const before = clock.now();
      const name = hub({ partitions: 3 });
      const found = await producer(name).getEventHubProperties();
      expect(found).to.deep.include({ name, partitionIds: ['0', '1', '2'] });
      expect(found.createdOn.getTime()).to.be.within(before - 1, clock.now());
    });

    it('of a partition say where it begins and ends, also before anything was sent', async () => {
      const name = hub();
      const client = producer(name);
      expect(await client.getPartitionProperties('1')).to.deep.include({ eventHubName: name, partitionId: '1', isEmpty: true, beginningSequenceNumber: 0, lastEnqueuedSequenceNumber: -1, lastEnqueuedOffset: '-1' });
      const before = clock.now();
      await client.sendBatch(events('a', 'b'), { partitionId: '1' });
      const found = await client.getPartitionProperties('1');
      expect(found).to.include({ isEmpty: false, beginningSequenceNumber: 0, lastEnqueuedSequenceNumber: 1 });
      expect(Number(found.lastEnqueuedOffset)).to.be.greaterThan(0);
      expect(found.lastEnqueuedOnUtc.getTime()).to.be.within(before, clock.now());
    });
  });

  describe('publishing (event-hubs-features#event-publishers)', () => {
    it('hands on an event with all its types, and what the service adds', async () => {
      const name = hub();
      const sentAt = clock.now();
      const event = { body: { order: 1, text: 'ä€😀' }, messageId: 'id-1', correlationId: 'c-1', contentType: 'application/json', properties: { text: 't', count: 3, large: 2 ** 40, half: 0.5, yes: true } };
      await producer(name).sendBatch([event], { partitionKey: 'order-1' });
      const heard = listen(consumer(name), undefined, earliestEventPosition);
      await heardAll(heard, 1);
      expect(heard.events[0]).to.deep.include({ ...event, partitionKey: 'order-1', sequenceNumber: 0, offset: '0' });
      expect(heard.events[0]!.enqueuedTimeUtc.getTime()).to.be.within(sentAt, clock.now());
    });

    it('keeps the order of a key in one partition', async () => {
      const name = hub();
      const client = producer(name);
      for (let n = 0; n < 20; n++) await client.sendBatch(events(n), { partitionKey: 'k' });
      const heard = listen(consumer(name), undefined, earliestEventPosition);
      await heardAll(heard, 20);
      expect(heard.bodies()).to.deep.equal(Array.from({ length: 20 }, (_, n) => n));
      expect(new Set(heard.events.map(({ partition }) => partition)).size).to.equal(1);
    });

    it('gives the same key to the same partition as the buffered producer of the SDK, which hashes it itself', async () => {
      const name = hub({ partitions: 7 });
      const keys = Array.from({ length: 25 }, (_, n) => `key-${n * n}-${'x'.repeat(n)}`);
      const client = producer(name);
      for (const key of keys) await client.sendBatch(events(key), { partitionKey: key });
      const buffered = opens(new EventHubBufferedProducerClient(emulator.connectionString, name, { retryOptions, maxWaitTimeInMs: 20, onSendEventsErrorHandler: async ({ error }) => { throw error; } }));
      for (const key of keys) await buffered.enqueueEvent({ body: key }, { partitionKey: key });
      await buffered.flush();
      const heard = listen(consumer(name), undefined, earliestEventPosition);
      await heardAll(heard, 50);
      for (const key of keys) expect(new Set(heard.events.filter(({ body }) => body === key).map(({ partition }) => partition)).size, key).to.equal(1);
      expect(heard.events.length).to.equal(50);
    });

    it('puts what was sent to a partition there and nowhere else', async () => {
      const name = hub();
      await producer(name).sendBatch(events('a', 'b'), { partitionId: '2' });
      expect(counts(name).partitions.map((one) => one.events)).to.deep.equal([0, 0, 2, 0]);
    });

    it('gives what has neither key nor partition to each partition in turn', async () => {
      const name = hub();
      const client = producer(name);
      for (let n = 0; n < 8; n++) await client.sendBatch(events(n));
      expect(counts(name).partitions.map((one) => one.events)).to.deep.equal([2, 2, 2, 2]);
    });

    it('takes a batch whole, and tells the SDK how much fits in one (event-hubs-quotas)', async () => {
      const name = hub();
      const client = producer(name);
      const batch = await client.createBatch({ partitionId: '0' });
      expect(batch.maxSizeInBytes).to.equal(1024 * 1024);
      let added = 0;
      while (batch.tryAdd({ body: 'x'.repeat(1_000) })) added++;
      expect(added).to.be.greaterThan(900);
      await client.sendBatch(batch);
      expect(counts(name).partitions[0]!.events).to.equal(added);
    });

    it('refuses what is too large, and nothing of it is there (event-hubs-quotas)', async () => {
      const name = hub();
      const error = await thrownBy(producer(name).sendBatch(events('small', 'x'.repeat(1_100_000)), { partitionId: '0' }));
      expect(error.code).to.equal('MessageTooLargeError');
      expect(counts(name).partitions[0]!.events).to.equal(0);
    });
  });

  /** What the SDK of this language never sends, others may. */
  describe('publications of other clients (event-hubs-messaging-exceptions)', () => {
    const { hubs, inlet } = alone();
    const message = (body: string, key?: string): Buffer => Buffer.concat([...(key === undefined ? [] : [annotationsSection({ 'x-opt-partition-key': key })]), dataSection(Buffer.from(body))]);
    const events = (): number[] => hubs.describe().hubs[0]!.partitions.map((one) => one.events);

    /** The hub without a wire. */
    function alone(): { hubs: EventHubs; inlet(address: string): Inlet } {
      const made = createEventHubs({ clock: createLeapClock() });
      made.createHub({ ...hubDefaults, name: 'h' });
      const wish = { role: 'sender', name: 'l', properties: new Map(), filters: new Map(), desired: [], settled: false, gone: new AbortController().signal, peer: { id: 1, container: '', agent: undefined, drop: () => undefined } } as const;
      return { hubs: made, inlet: (address) => made.attach({ ...wish, address } as unknown as Wish) as Inlet };
    }

    function send(address: string, bytes: Buffer, format = 0): string {
      let answer = 'none';
      inlet(address).take({ bytes, format, accept: () => void (answer = 'accepted'), reject: ({ condition }) => void (answer = condition) });
      return answer;
    }

    it('with a key and a partition are refused', () => {
      const before = events();
      expect(send('h/Partitions/1', message('a', 'k'))).to.equal('amqp:not-allowed');
      expect(events()).to.deep.equal(before);
    });

    it('go by the key of the batch, not by those of its events', () => {
      const inner = ['a', 'b', 'c', 'd', 'e', 'f', 'g'];
      const before = events();
      const envelope = Buffer.concat([annotationsSection({ 'x-opt-partition-key': 'of the batch' }), ...inner.map((key) => dataSection(message(key, key)))]);
      expect(send('H', envelope, batchFormat)).to.equal('accepted');
      expect(send('h', message('x', 'of the batch'))).to.equal('accepted');
      expect(events().map((count, n) => count - before[n]!).sort()).to.deep.equal([0, 0, 0, 8]);
    });

    it('that are no events are refused, and nothing of them is there', () => {
      const before = events();
      const half = Buffer.concat([dataSection(message('good')), dataSection(Buffer.from('bad'))]);
      for (const [bytes, format] of [[Buffer.from('nonsense'), 0], [message('a'), 7], [half, batchFormat], [valueSection('no batch'), batchFormat]] as const) {
        expect(() => send('h', bytes, format)).to.throw(Invalid);
      }
      expect(events()).to.deep.equal(before);
    });

    it('with a filter of a receiver that says nothing known are refused', () => {
      for (const filter of ["amqp.annotation.x-opt-offset > 'x'", "amqp.annotation.x-opt-color > '1'", 'true', 7]) {
        const wish = { role: 'receiver', address: 'h/ConsumerGroups/$Default/Partitions/0', name: 'l', properties: new Map(), filters: new Map([['apache.org:selector-filter:string', filter]]), desired: [] };
        expect(hubs.attach(wish as unknown as Wish)).to.have.nested.property('refused.condition', 'amqp:invalid-field');
      }
    });
  });

  describe('positions (event-hubs-features#stream-offsets)', () => {
    let name: string;
    let sent: ReceivedEventData[];
    before(async () => {
      name = hub();
      const client = producer(name);
      for (const body of ['a', 'b', 'c']) {
        await client.sendBatch(events(body), { partitionId: '0' });
        await clock.leap(1_000);
      }
      const heard = listen(consumer(name), '0', earliestEventPosition);
      await heardAll(heard, 3);
      sent = heard.events;
    });

    it('earliest gives everything', async () => expect(await read(name, '0', earliestEventPosition, 3)).to.deep.equal(['a', 'b', 'c']));
    it('a sequence number gives what is behind it', async () => expect(await read(name, '0', { sequenceNumber: 0 }, 2)).to.deep.equal(['b', 'c']));
    it('a sequence number gives it, too, when it is inclusive', async () => expect(await read(name, '0', { sequenceNumber: 1, isInclusive: true }, 2)).to.deep.equal(['b', 'c']));
    it('an offset gives what is behind it', async () => expect(await read(name, '0', { offset: sent[1]!.offset }, 1)).to.deep.equal(['c']));
    it('an offset gives it, too, when it is inclusive', async () => expect(await read(name, '0', { offset: sent[1]!.offset, isInclusive: true }, 2)).to.deep.equal(['b', 'c']));
    it('a time gives what was enqueued after it', async () => expect(await read(name, '0', { enqueuedOn: sent[0]!.enqueuedTimeUtc }, 2)).to.deep.equal(['b', 'c']));

    it('latest gives only what comes afterwards', async () => {
      const other = hub();
      const client = producer(other);
      await client.sendBatch(events('before'), { partitionId: '0' });
      const heard = listen(consumer(other), '0', latestEventPosition);
      await until('the reader', () => counts(other).partitions[0]!.readers === 1);
      await client.sendBatch(events('after'), { partitionId: '0' });
      await heardAll(heard, 1);
      expect(heard.bodies()).to.deep.equal(['after']);
    });

    it('that were never given out are an error that is not tried again', async () => {
      for (const position of [{ sequenceNumber: 99 }, { offset: '99999' }]) {
        const heard = listen(consumer(name), '0', position);
        await until('an error', () => heard.errors.length > 0);
        await heard.close();
        expect(heard.errors[0]).to.include({ code: 'ArgumentError' });
        expect(heard.errors[0]!.message).to.match(/The supplied (sequence number|offset) '9+' is invalid. The last \1 in the system is '\d+'/);
      }
    });
  });

  describe('consumer groups (event-hubs-features#consumer-groups)', () => {
    it('read everything, each at its own pace', async () => {
      const name = hub();
      await producer(name).sendBatch(events('a', 'b'), { partitionId: '0' });
      expect(await read(name, '0', earliestEventPosition, 2)).to.deep.equal(['a', 'b']);
      expect(await read(name, '0', { sequenceNumber: 0 }, 1, 'readers')).to.deep.equal(['b']);
    });

    it('may have five readers of a partition without an owner level, and no sixth (event-hubs-quotas)', async () => {
      const name = hub();
      for (let n = 0; n < 5; n++) listen(consumer(name), '0', earliestEventPosition);
      await until('five', () => counts(name).partitions[0]!.readers === 5);
      const sixth = listen(consumer(name), '0', earliestEventPosition);
      await until('an error', () => sixth.errors.length > 0);
      expect(sixth.errors[0]!.code).to.equal('QuotaExceededError');
      expect(counts(name).partitions[0]!.readers).to.equal(5);
    });
  });

  describe('epochs (event-hubs-event-processor-host, event-hubs-messaging-exceptions)', () => {
    it('of the same or a higher level take a partition over, and the robbed one is told', async () => {
      const name = hub();
      const client = producer(name);
      // The SDK takes an owner level of 0 for none.
      for (const [first, second] of [[1, 1], [1, 2], [undefined, 1]] as const) {
        const robbed = listen(consumer(name), '0', latestEventPosition, first === undefined ? {} : { ownerLevel: first });
        await until('the first', () => counts(name).partitions[0]!.readers === 1);
        const owner = listen(consumer(name), '0', latestEventPosition, { ownerLevel: second });
        await until('an error', () => robbed.errors.length > 0);
        expect(robbed.errors[0]!.code).to.equal('ReceiverDisconnectedError');
        await until('the second alone', () => counts(name).partitions[0]!.readers === 1);
        await client.sendBatch(events(`${first} ${second}`), { partitionId: '0' });
        await heardAll(owner, 1);
        expect(owner.bodies()).to.deep.equal([`${first} ${second}`]);
        expect(robbed.bodies()).to.deep.equal([]);
        await owner.close();
        await robbed.close();
        await until('nobody', () => counts(name).partitions[0]!.readers === 0);
      }
    });

    it('of a lower level, or none, are turned away while the owner is there', async () => {
      const name = hub();
      const owner = listen(consumer(name), '0', earliestEventPosition, { ownerLevel: 5 });
      await until('the owner', () => counts(name).partitions[0]!.readers === 1);
      for (const options of [{ ownerLevel: 4 }, {}]) {
        const late = listen(consumer(name), '0', earliestEventPosition, options);
        await until('an error', () => late.errors.length > 0);
        expect(late.errors[0]!.code).to.equal('ReceiverDisconnectedError');
        await late.close();
      }
      // Other groups and partitions are not concerned.
      const other = listen(consumer(name, 'Readers'), '0', earliestEventPosition);
      await until('both', () => counts(name).partitions[0]!.readers === 2);
      await producer(name).sendBatch(events('mine'), { partitionId: '0' });
      await heardAll(owner, 1);
      await heardAll(other, 1);
      expect(owner.errors.concat(other.errors)).to.deep.equal([]);
    });
  });

  describe('retention (event-hubs-features#event-retention)', () => {
    it('takes what is too old, and a position that has passed begins with the eldest that is kept, in silence', async () => {
      const name = hub({ retentionMs: 60 * minute });
      const client = producer(name);
      await client.sendBatch(events('old', 'older'), { partitionId: '0' });
      await clock.leap(40 * minute);
      await client.sendBatch(events('new'), { partitionId: '0' });
      await clock.leap(40 * minute);
      expect(await client.getPartitionProperties('0')).to.include({ beginningSequenceNumber: 2, lastEnqueuedSequenceNumber: 2, isEmpty: false });
      for (const position of [earliestEventPosition, { sequenceNumber: 0 }, { offset: '0', isInclusive: true }]) expect(await read(name, '0', position, 1)).to.deep.equal(['new']);
      await clock.leap(60 * minute);
      expect(await client.getPartitionProperties('0')).to.include({ beginningSequenceNumber: 3, lastEnqueuedSequenceNumber: 2, isEmpty: true });
      await client.sendBatch(events('newest'), { partitionId: '0' });
      expect((await client.getPartitionProperties('0')).lastEnqueuedSequenceNumber).to.equal(3);
      expect(await read(name, '0', { sequenceNumber: 2 }, 1)).to.deep.equal(['newest']);
    });

    it('takes the eldest when a partition grows too large', async () => {
      const name = hub({ retentionBytes: 5_000 });
      const client = producer(name);
      for (let n = 0; n < 10; n++) await client.sendBatch(events(`${n}${'x'.repeat(900)}`), { partitionId: '0' });
      const { beginningSequenceNumber: begin } = await client.getPartitionProperties('0');
      expect(begin).to.be.within(4, 7);
      const heard = await read(name, '0', earliestEventPosition, 10 - begin);
      expect(String(heard[0])[0]).to.equal(String(begin));
    });
  });

  it('says with each event which one is the last, to those who ask (trackLastEnqueuedEventProperties of the SDK)', async () => {
    const name = hub();
    const client = producer(name);
    await client.sendBatch(events('a', 'b', 'c'), { partitionId: '0' });
    const heard = listen(consumer(name), '0', earliestEventPosition, { trackLastEnqueuedEventProperties: true, maxBatchSize: 1 });
    await heardAll(heard, 1);
    const { lastEnqueuedOffset } = await client.getPartitionProperties('0');
    expect(heard.metrics[0]).to.deep.include({ sequenceNumber: 2, offset: lastEnqueuedOffset });
  });

  describe('what is not there (event-hubs-messaging-exceptions)', () => {
    it('a hub: the entity could not be found', async () => {
      expect(await thrownBy(producer('nowhere').getEventHubProperties())).to.include({ code: 'MessagingEntityNotFoundError' });
      expect(await thrownBy(producer('nowhere').sendBatch(events('a')))).to.include({ code: 'MessagingEntityNotFoundError' });
    });

    it('a consumer group: the entity could not be found', async () => {
      const heard = listen(consumer(hub(), 'nobody'), '0', earliestEventPosition);
      await until('an error', () => heard.errors.length > 0);
      expect(heard.errors[0]!.code).to.equal('MessagingEntityNotFoundError');
    });

    it('a partition: the argument is out of range', async () => {
      const name = hub();
      expect(await thrownBy(producer(name).getPartitionProperties('4'))).to.include({ code: 'ArgumentOutOfRangeError' });
      expect(await thrownBy(producer(name).sendBatch(events('a'), { partitionId: 'none' }))).to.include({ code: 'ArgumentOutOfRangeError' });
      const heard = listen(consumer(name), '99', earliestEventPosition);
      await until('an error', () => heard.errors.length > 0);
      expect(heard.errors[0]!.code).to.equal('ArgumentOutOfRangeError');
    });

    it('a hub that was removed: those who read it are told, and it is empty when it is made again', async () => {
      const name = hub();
      const client = producer(name);
      await client.sendBatch(events('a'), { partitionId: '0' });
      const heard = listen(consumer(name), '0', earliestEventPosition);
      await heardAll(heard, 1);
      expect(emulator.remove('hubs', name)).to.equal(true);
      await until('an error', () => heard.errors.length > 0);
      expect(heard.errors[0]!.code).to.equal('MessagingEntityNotFoundError');
      expect(await thrownBy(client.sendBatch(events('b'), { partitionId: '0' }))).to.include({ code: 'MessagingEntityNotFoundError' });
      emulator.create({ queues: [], topics: [], hubs: [{ ...hubDefaults, name }] });
      expect(counts(name).partitions[0]!.events).to.equal(0);
    });
  });

  it('goes on behind the last event when the socket was lost', async () => {
    const name = hub();
    // What the SDK was sending when the socket went, it gives up only after its time-out.
    const client = opens(new EventHubProducerClient(emulator.connectionString, name, { retryOptions: { ...retryOptions, timeoutInMs: 1_000 } }));
    await client.sendBatch(events(1, 2), { partitionId: '0' });
    const heard = listen(consumer(name), '0', earliestEventPosition);
    await heardAll(heard, 2);
    expect(emulator.faults.drop(name)).to.equal(2);
    await client.sendBatch(events(3), { partitionId: '0' });
    await until('the third', () => heard.events.length >= 3);
    expect(heard.bodies()).to.deep.equal([1, 2, 3]);
  });

  it('moves 5,000 events in and out in a second or two, in batches', async function () {
    this.timeout(20_000);
    const name = hub();
    const client = producer(name);
    const heard = listen(consumer(name), undefined, latestEventPosition);
    await until('all readers', () => counts(name).partitions.every(({ readers }) => readers === 1));
    const batch = events(...Array.from({ length: 500 }, () => 'x'.repeat(200)));
    const before = process.cpuUsage();
    for (let n = 0; n < 10; n++) await client.sendBatch(batch, { partitionId: String(n % 4) });
    await until('all', () => heard.events.length === 5_000, 15_000);
    const { user, system } = process.cpuUsage(before);
    // Producer, consumer and emulator share this process, the SDKs taking most of it; on a machine of their own each has a core.
    expect((user + system) / 1_000).to.be.lessThan(4_000);
  });

  it('resumes behind the checkpoint of the blob store on Azurite (event-processor-balance-partition-load#checkpoint)', async function () {
    this.timeout(30_000);
    const azurite = opens(await startAzurite({ services: ['blobs'] }));
    const container = new ContainerClient(azurite.connectionString, 'checkpoints');
    await container.create();
    const name = hub({ partitions: 2 });
    const client = producer(name);
    for (const partitionId of ['0', '1']) await client.sendBatch(events(`first ${partitionId}`, `second ${partitionId}`), { partitionId });

    async function run(times: number): Promise<unknown[]> {
      const bodies: unknown[] = [];
      const errors: Error[] = [];
      const reader = new EventHubConsumerClient('Readers', emulator.connectionString, name, new BlobCheckpointStore(container), {
        retryOptions, loadBalancingOptions: { strategy: 'greedy', updateIntervalInMs: 200, partitionOwnershipExpirationIntervalInMs: 5_000 },
      });
      const subscription = reader.subscribe(
        {
          async processEvents(some, context) {
            if (some.length === 0) return;
            bodies.push(...some.map(({ body }) => body as unknown));
            await context.updateCheckpoint(some.at(-1)!);
          },
          processError: async (error) => void errors.push(error),
        },
        { startPosition: earliestEventPosition, maxWaitTimeInSeconds: 1 },
      );
      await until(`${times} events`, () => bodies.length >= times, 15_000);
      await subscription.close();
      await reader.close();
      expect(errors).to.deep.equal([]);
      return bodies.sort();
    }

    expect(await run(4)).to.deep.equal(['first 0', 'first 1', 'second 0', 'second 1']);
    await client.sendBatch(events('third'), { partitionId: '1' });
    expect(await run(1)).to.deep.equal(['third']);
  });
});
