import { expect } from 'chai';
import { ServiceBusClient, type ProcessErrorArgs, type ServiceBusReceivedMessage, type ServiceBusReceiver, type ServiceBusSender } from '@azure/service-bus';
import { queueDefaults, type QueueShape } from '../../emulator/config.ts';
import { startEmulator, type Emulator } from '../../emulator/index.ts';
import { createLeapClock, until, type LeapClock } from '../support/leap.ts';

/**
 * Queues of Service Bus through the unmodified SDK. Each part is written from a page of the vendor's documentation, named with it, below
 * https://learn.microsoft.com/azure/service-bus-messaging/. The clock leaps, so locks and schedules cost no time.
 */
describe('queues of Service Bus', () => {
  const second = 1_000;
  let clock: LeapClock;
  let emulator: Emulator;
  let client: ServiceBusClient;
  let count = 0;

  before(async () => {
    clock = createLeapClock();
    emulator = await startEmulator({ port: 0, clock });
    client = connect();
  });
  after(async () => {
    await client.close();
    await emulator.close();
  });

  function connect(maxRetries = 2): ServiceBusClient {
    return new ServiceBusClient(emulator.connectionString, { retryOptions: { maxRetries, retryDelayInMs: 10, timeoutInMs: 1_500 } });
  }

  /** A queue of its own for a test. */
  function queue(shape: Partial<QueueShape> = {}): string {
    const name = `Queue-${++count}`;
    emulator.create({ queues: [{ ...queueDefaults, ...shape, name }], topics: [], hubs: [] });
    return name;
  }

  const counts = (name: string): Emulator['entities'] extends () => { queues: readonly (infer C)[] } ? C : never => emulator.entities().queues.find((one) => one.name === name)!;

  /** The SDK renews locks by itself unless told not to. */
  const receiverOf = (name: string, options: { subQueueType?: 'deadLetter'; receiveMode?: 'peekLock' } = {}): ServiceBusReceiver => client.createReceiver(name, { maxAutoLockRenewalDurationInMs: 0, ...options });
  const deadOf = (name: string): ServiceBusReceiver => receiverOf(name, { subQueueType: 'deadLetter' });

  async function one(receiver: ServiceBusReceiver): Promise<ServiceBusReceivedMessage> {
    const [message] = await receiver.receiveMessages(1, { maxWaitTimeInMs: 2_000 });
    expect(message, 'a message').to.not.equal(undefined);
    return message!;
  }
  const nothing = async (receiver: ServiceBusReceiver): Promise<unknown> => expect(await receiver.receiveMessages(1, { maxWaitTimeInMs: 30 })).to.deep.equal([]);
  const codeOf = (action: Promise<unknown>): Promise<string> => action.then(() => 'nothing thrown', (error: { code?: string; message: string }) => error.code ?? error.message);

  describe('sending and receiving (service-bus-queues-topics-subscriptions)', () => {
    it('hands on what was sent with all its types, and what the broker adds', async () => {
      const name = queue();
      const sentAt = clock.now();
      await client.createSender(name).sendMessages({
        body: { order: 1, text: 'ä€😀' },
        messageId: 'id-1',
        correlationId: 'c-1',
        contentType: 'application/json',
        subject: 'OrderPlaced',
        to: 'there',
        replyTo: 'here',
        partitionKey: 'p-1',
        timeToLive: 60 * second,
        applicationProperties: { text: 'x', number: 7, broken: 1.5, yes: true, no: false, nothing: null, when: new Date(1_700_000_000_000) },
      });
      const message = await one(receiverOf(name));
      expect(message).to.deep.include({ body: { order: 1, text: 'ä€😀' }, messageId: 'id-1', correlationId: 'c-1', contentType: 'application/json', subject: 'OrderPlaced', to: 'there', replyTo: 'here', partitionKey: 'p-1', timeToLive: 60_000, deliveryCount: 0, state: 'active' });
      expect(message.applicationProperties).to.deep.equal({ text: 'x', number: 7, broken: 1.5, yes: true, no: false, nothing: null, when: 1_700_000_000_000 });
      expect(message.sequenceNumber!.toNumber()).to.equal(1);
      expect(message.enqueuedSequenceNumber).to.equal(1);
      expect(message.enqueuedTimeUtc!.getTime()).to.be.within(sentAt - 5, clock.now());
      expect(message.lockedUntilUtc!.getTime()).to.be.within(sentAt + 60_000 - 5, clock.now() + 60_000);
      expect(message.expiresAtUtc!.getTime()).to.equal(message.enqueuedTimeUtc!.getTime() + 60_000);
    });

    for (const [what, body] of Object.entries({ text: 'hello', number: 42, nothing: null, bytes: Buffer.from([0, 1, 255]), list: [1, 'a', null] })) {
      it(`carries a body that is ${what}`, async () => {
        const name = queue();
        await client.createSender(name).sendMessages({ body });
        expect((await one(receiverOf(name))).body).to.deep.equal(body);
      });
    }

    for (const kind of ['value', 'sequence', 'data'] as const) {
      it(`carries an AMQP body of the kind ${kind} untouched`, async () => {
        const name = queue();
        const body = kind === 'data' ? Buffer.from('x') : kind === 'value' ? { a: 1 } : [1, 2, 3];
        await client.createSender(name).sendMessages({ bodyType: kind, body });
        const message = await one(receiverOf(name));
        expect(message._rawAmqpMessage.bodyType).to.equal(kind);
        expect(message.body).to.deep.equal(body);
      });
    }

    it('gives an id to a message that has none, so that it can be settled', async () => {
      const name = queue();
      await client.createSender(name).sendMessages({ body: 1 });
      const receiver = client.createReceiver(name);
      const message = await one(receiver);
      expect(message.messageId).to.match(/^[0-9a-f]{32}$/);
      await receiver.completeMessage(message);
    });

    it('takes a batch as a whole, in its order', async () => {
      const name = queue();
      const sender = client.createSender(name);
      const batch = await sender.createMessageBatch();
      for (let body = 0; body < 50; body++) expect(batch.tryAddMessage({ body })).to.equal(true);
      await sender.sendMessages(batch);
      const received = await receiverOf(name).receiveMessages(60, { maxWaitTimeInMs: 300 });
      expect(received.map(({ body }) => body as number)).to.deep.equal(Array.from({ length: 50 }, (_, body) => body));
    });

    it('knows its queues whatever the case in which they are written', async () => {
      const name = queue();
      await client.createSender(name.toUpperCase()).sendMessages({ body: 1 });
      expect((await one(receiverOf(name.toLowerCase()))).body).to.equal(1);
    });

    it('says of a queue that is not there that it is not there (service-bus-messaging-exceptions)', async () => {
      expect(await codeOf(client.createSender('nowhere').sendMessages({ body: 1 }))).to.equal('MessagingEntityNotFound');
      expect(await codeOf(client.createReceiver('nowhere').receiveMessages(1, { maxWaitTimeInMs: 100 }))).to.equal('MessagingEntityNotFound');
      expect(await codeOf(client.createReceiver('nowhere').peekMessages(1))).to.equal('MessagingEntityNotFound');
    });
  });

  describe('sizes (service-bus-quotas)', () => {
    it('tells the SDK how large a batch may be, so that it stops adding', async () => {
      const sender = client.createSender(queue());
      const batch = await sender.createMessageBatch();
      expect(batch.maxSizeInBytes).to.equal(256 * 1024);
      expect(batch.tryAddMessage({ body: 'x'.repeat(200_000) })).to.equal(true);
      expect(batch.tryAddMessage({ body: 'x'.repeat(100_000) })).to.equal(false);
    });

    it('rejects a message of more than 256 KiB, and keeps the link', async () => {
      const name = queue();
      const sender = client.createSender(name);
      expect(await codeOf(sender.sendMessages({ body: 'x'.repeat(256 * 1024) }))).to.equal('MessageSizeExceeded');
      await sender.sendMessages({ body: 'x'.repeat(255 * 1024) });
      expect(counts(name)).to.deep.include({ active: 1 });
    });

    it('refuses more when the queue is full, and takes again when something has gone', async () => {
      const name = queue({ bytesMax: 2_000 });
      const sender = connect(0).createSender(name);
      await sender.sendMessages({ body: 'x'.repeat(1_500) });
      expect(await codeOf(sender.sendMessages({ body: 'x'.repeat(1_500) }))).to.equal('QuotaExceeded');
      const receiver = receiverOf(name);
      await receiver.completeMessage(await one(receiver));
      await sender.sendMessages({ body: 'x'.repeat(1_500) });
    });

    it('refuses a message id of more than 128 characters', async () => {
      expect(await codeOf(connect(0).createSender(queue()).sendMessages({ body: 1, messageId: 'x'.repeat(129) }))).to.not.equal('nothing thrown');
    });
  });

  describe('settlement (message-transfers-locks-settlement)', () => {
    let name: string;
    let sender: ServiceBusSender;
    let receiver: ServiceBusReceiver;
    beforeEach(async () => {
      name = queue({ deliveriesMax: 3, lockMs: 30 * second });
      sender = client.createSender(name);
      receiver = receiverOf(name);
      await sender.sendMessages({ body: 'first', messageId: 'm-1', applicationProperties: { kept: 1 } });
    });

    it('locks what it hands out: nobody else gets it', async () => {
      await one(receiver);
      await nothing(receiverOf(name));
      expect(counts(name)).to.deep.include({ active: 1, locked: 1 });
    });

    it('forgets what is completed', async () => {
      await receiver.completeMessage(await one(receiver));
      expect(counts(name)).to.deep.include({ active: 0, locked: 0, bytes: 0 });
    });

    it('hands out again what is abandoned, counts it, and changes its properties', async () => {
      await receiver.abandonMessage(await one(receiver), { kept: 2, added: 'x' });
      const again = await one(receiver);
      expect(again.deliveryCount).to.equal(1);
      expect(again.applicationProperties).to.deep.equal({ kept: 2, added: 'x' });
      expect(again.sequenceNumber!.toNumber()).to.equal(1);
    });

    it('buries what was handed out too often (service-bus-dead-letter-queues)', async () => {
      for (let delivery = 0; delivery < 3; delivery++) {
        const message = await one(receiver);
        expect(message.deliveryCount).to.equal(delivery);
        await receiver.abandonMessage(message);
      }
      await nothing(receiver);
      const dead = await one(deadOf(name));
      expect(dead).to.deep.include({ body: 'first', deadLetterReason: 'MaxDeliveryCountExceeded' });
      expect(dead.deadLetterErrorDescription).to.contain('3');
    });

    it('buries what the receiver gives up, with his reasons', async () => {
      await receiver.deadLetterMessage(await one(receiver), { deadLetterReason: 'broken', deadLetterErrorDescription: 'does not parse', more: 5 });
      const dead = await one(deadOf(name));
      expect(dead).to.deep.include({ deadLetterReason: 'broken', deadLetterErrorDescription: 'does not parse', messageId: 'm-1' });
      expect(dead.applicationProperties).to.deep.include({ kept: 1, more: 5 });
      expect(counts(name)).to.deep.include({ active: 0, dead: 1 });
    });

    it('empties dead letters like any queue', async () => {
      await receiver.deadLetterMessage(await one(receiver));
      const dead = deadOf(name);
      await dead.abandonMessage(await one(dead));
      for (let times = 0; times < 5; times++) await dead.abandonMessage(await one(dead));
      expect((await dead.peekMessages(5)).map(({ messageId }) => messageId)).to.deep.equal(['m-1']);
      await dead.completeMessage(await one(dead));
      expect(counts(name)).to.deep.include({ dead: 0 });
    });

    it('gives back what was not settled when its lock runs out, and counts that as a delivery', async () => {
      const message = await one(receiver);
      await clock.leap(30 * second);
      const again = await one(receiverOf(name));
      expect(again.deliveryCount).to.equal(1);
      expect(again.lockToken).to.not.equal(message.lockToken);
    });

    for (const [what, act] of Object.entries<(message: ServiceBusReceivedMessage) => Promise<unknown>>({
      completed: (message) => receiver.completeMessage(message),
      abandoned: (message) => receiver.abandonMessage(message),
      deferred: (message) => receiver.deferMessage(message),
      'dead-lettered': (message) => receiver.deadLetterMessage(message),
      renewed: (message) => receiver.renewMessageLock(message),
    })) {
      it(`says that the lock is lost when a message is ${what} too late, and changes nothing`, async () => {
        const message = await one(receiver);
        await clock.leap(31 * second);
        expect(await codeOf(act(message))).to.equal('MessageLockLost');
        expect(counts(name)).to.deep.include({ active: 1, dead: 0, deferred: 0 });
        expect((await one(receiver)).deliveryCount).to.equal(1);
      });
    }

    it('keeps the lock of who renews it in time', async () => {
      const message = await one(receiver);
      await clock.leap(20 * second);
      const end = await receiver.renewMessageLock(message);
      expect(end.getTime()).to.be.within(clock.now() + 29 * second, clock.now() + 30 * second);
      await clock.leap(20 * second);
      await nothing(receiverOf(name));
      await receiver.completeMessage(message);
      expect(counts(name)).to.deep.include({ active: 0 });
    });

    it('lets the SDK renew by itself while a handler is at work', async () => {
      const renewing = client.createReceiver(name, { maxAutoLockRenewalDurationInMs: 120 * second });
      const message = await one(renewing);
      expect(message.lockedUntilUtc!.getTime()).to.be.greaterThan(clock.now());
      await renewing.completeMessage(message);
    });

    it('removes at once what is received and deleted', async () => {
      const quick = client.createReceiver(name, { receiveMode: 'receiveAndDelete' });
      expect((await one(quick)).body).to.equal('first');
      await until('it is gone', () => counts(name).active === 0);
      await quick.close();
      await nothing(receiver);
    });

    it('keeps locked what a closed link held, until the lock runs out', async () => {
      const passing = receiverOf(name);
      const message = await one(passing);
      await passing.close();
      await nothing(receiver);
      await clock.leap(30 * second);
      expect((await one(receiver)).messageId).to.equal(message.messageId);
    });

    it('settles over management what came over a link that has gone since', async () => {
      const message = await one(receiver);
      emulator.faults.drop();
      await until('the SDK is back', async () => (await codeOf(client.createReceiver(name).peekMessages(1))) === 'nothing thrown');
      await receiver.completeMessage(message);
      expect(counts(name)).to.deep.include({ active: 0 });
    });
  });

  describe('deferral (message-deferral)', () => {
    it('sets a message aside until somebody asks for it by its number', async () => {
      const name = queue();
      const receiver = receiverOf(name);
      await client.createSender(name).sendMessages([{ body: 'a' }, { body: 'b' }]);
      const message = await one(receiver);
      await receiver.deferMessage(message, { why: 'later' });
      expect((await one(receiver)).body).to.equal('b');
      const [deferred] = await receiver.receiveDeferredMessages(message.sequenceNumber!);
      expect(deferred).to.deep.include({ body: 'a', state: 'deferred', applicationProperties: { why: 'later' } });
      await receiver.completeMessage(deferred!);
      expect(counts(name)).to.deep.include({ deferred: 0 });
    });

    it('can be abandoned, deferred again, renewed and buried', async () => {
      const name = queue({ lockMs: 30 * second });
      const receiver = receiverOf(name);
      await client.createSender(name).sendMessages({ body: 'a' });
      const { sequenceNumber } = await one(receiver).then(async (message) => (await receiver.deferMessage(message), message));
      const get = async (): Promise<ServiceBusReceivedMessage> => (await receiver.receiveDeferredMessages(sequenceNumber!))[0]!;
      await receiver.abandonMessage(await get());
      const again = await get();
      expect(again.deliveryCount).to.equal(1);
      await receiver.deferMessage(again);
      const last = await get();
      expect((await receiver.renewMessageLock(last)).getTime()).to.be.greaterThan(clock.now());
      await receiver.deadLetterMessage(last, { deadLetterReason: 'enough', deadLetterErrorDescription: 'of it' });
      expect(await one(deadOf(name))).to.deep.include({ deadLetterReason: 'enough', deadLetterErrorDescription: 'of it' });
    });

    it('says that the lock is lost when it is settled too late, in whichever way', async () => {
      const name = queue({ lockMs: 30 * second });
      const receiver = receiverOf(name);
      await client.createSender(name).sendMessages({ body: 'a' });
      const { sequenceNumber } = await one(receiver).then(async (message) => (await receiver.deferMessage(message), message));
      const [deferred] = await receiver.receiveDeferredMessages(sequenceNumber!);
      await clock.leap(31 * second);
      expect(await codeOf(receiver.completeMessage(deferred!))).to.equal('MessageLockLost');
      expect(await codeOf(receiver.abandonMessage(deferred!))).to.equal('MessageLockLost');
      expect(await codeOf(receiver.deadLetterMessage(deferred!))).to.equal('MessageLockLost');
      expect(counts(name)).to.deep.include({ deferred: 1, dead: 0 });
    });

    it('says of a number that is not deferred that there is nothing', async () => {
      const name = queue();
      await client.createSender(name).sendMessages({ body: 'a' });
      const receiver = receiverOf(name);
      const [{ sequenceNumber } = { sequenceNumber: undefined }] = await receiver.peekMessages(1);
      expect(await codeOf(receiver.receiveDeferredMessages(sequenceNumber!))).to.equal('MessageNotFound');
      expect(await codeOf(receiver.receiveDeferredMessages(sequenceNumber!.add(98)))).to.equal('MessageNotFound');
    });

    it('may be received and deleted', async () => {
      const name = queue();
      const receiver = receiverOf(name);
      await client.createSender(name).sendMessages({ body: 'a' });
      const message = await one(receiver);
      await receiver.deferMessage(message);
      const [deferred] = await client.createReceiver(name, { receiveMode: 'receiveAndDelete' }).receiveDeferredMessages(message.sequenceNumber!);
      expect(deferred!.body).to.equal('a');
      expect(counts(name)).to.deep.include({ deferred: 0, active: 0 });
    });
  });

  describe('schedules (message-sequencing)', () => {
    it('shows a message only when its time has come, at the end of the queue', async () => {
      const name = queue();
      const sender = client.createSender(name);
      const [number] = await sender.scheduleMessages({ body: 'later' }, new Date(clock.now() + 60 * second));
      await sender.sendMessages({ body: 'now' });
      const receiver = receiverOf(name);
      const first = await one(receiver);
      expect(first.body).to.equal('now');
      await receiver.completeMessage(first);
      await nothing(receiver);
      expect(counts(name)).to.deep.include({ scheduled: 1 });
      await clock.leap(60 * second);
      const message = await one(receiver);
      expect(message.body).to.equal('later');
      expect(message.sequenceNumber!.greaterThan(number!)).to.equal(true);
    });

    it('wakes a receiver that waits', async () => {
      const name = queue();
      await client.createSender(name).scheduleMessages({ body: 'later' }, new Date(clock.now() + 3_600 * second));
      const waiting = receiverOf(name).receiveMessages(1, { maxWaitTimeInMs: 3_000 });
      await until('the link is there', () => clock.sleepers() > 0);
      await clock.leap(3_600 * second);
      expect((await waiting)[0]?.body).to.equal('later');
    });

    it('takes the time from a message that is simply sent', async () => {
      const name = queue();
      await client.createSender(name).sendMessages({ body: 'later', scheduledEnqueueTimeUtc: new Date(clock.now() + 60 * second) });
      await nothing(receiverOf(name));
      await clock.leap(60 * second);
      expect((await one(receiverOf(name))).body).to.equal('later');
    });

    it('cancels by number, and says when there is nothing to cancel', async () => {
      const name = queue();
      const sender = client.createSender(name);
      const numbers = await sender.scheduleMessages([{ body: 1 }, { body: 2 }], new Date(clock.now() + 60 * second));
      await sender.cancelScheduledMessages(numbers[0]!);
      expect(await codeOf(sender.cancelScheduledMessages(numbers[0]!))).to.equal('MessageNotFound');
      await clock.leap(60 * second);
      expect((await one(receiverOf(name))).body).to.equal(2);
      await nothing(receiverOf(name));
    });
  });

  describe('expiry (message-expiration)', () => {
    it('forgets what nobody has taken in time', async () => {
      const name = queue();
      await client.createSender(name).sendMessages({ body: 1, timeToLive: 10 * second });
      await clock.leap(10 * second);
      await nothing(receiverOf(name));
      expect(counts(name)).to.deep.include({ active: 0, dead: 0 });
    });

    it('buries it where the queue asks for that', async () => {
      const name = queue({ deadLetterExpired: true });
      await client.createSender(name).sendMessages({ body: 1, timeToLive: 10 * second });
      await clock.leap(10 * second);
      expect(await one(deadOf(name))).to.deep.include({ body: 1, deadLetterReason: 'TTLExpiredException' });
    });

    it('takes the shorter of the time of the message and the one of the queue', async () => {
      const name = queue({ ttlMs: 5 * second });
      await client.createSender(name).sendMessages({ body: 1, timeToLive: 100 * second });
      await clock.leap(6 * second);
      await nothing(receiverOf(name));
    });

    it('lets who holds the lock finish', async () => {
      const name = queue({ lockMs: 60 * second });
      const receiver = receiverOf(name);
      await client.createSender(name).sendMessages({ body: 1, timeToLive: 10 * second });
      const message = await one(receiver);
      await clock.leap(20 * second);
      await receiver.completeMessage(message);
    });
  });

  describe('duplicates (duplicate-detection)', () => {
    it('drops what has an id that was there within the window, without a word', async () => {
      const name = queue({ duplicatesMs: 60 * second });
      const sender = client.createSender(name);
      const receiver = receiverOf(name);
      await sender.sendMessages({ body: 1, messageId: 'same' });
      await receiver.completeMessage(await one(receiver));
      await sender.sendMessages({ body: 2, messageId: 'same' });
      await nothing(receiver);
      await clock.leap(61 * second);
      await sender.sendMessages({ body: 3, messageId: 'same' });
      expect((await one(receiver)).body).to.equal(3);
    });

    it('looks for none unless the queue asks for it', async () => {
      const name = queue();
      const sender = client.createSender(name);
      await sender.sendMessages([{ body: 1, messageId: 'same' }, { body: 2, messageId: 'same' }]);
      expect(await receiverOf(name).receiveMessages(2, { maxWaitTimeInMs: 300 })).to.have.length(2);
    });
  });

  describe('peeking (message-browsing)', () => {
    it('shows all states from a number on, and locks nothing', async () => {
      const name = queue();
      const sender = client.createSender(name);
      const receiver = receiverOf(name);
      await sender.sendMessages([{ body: 'locked' }, { body: 'deferred' }, { body: 'free' }]);
      await one(receiver);
      await receiver.deferMessage(await one(receiver));
      await sender.scheduleMessages({ body: 'scheduled' }, new Date(clock.now() + 60 * second));
      const peeked = await receiver.peekMessages(10);
      expect(peeked.map(({ body, state }) => [body as string, state])).to.deep.equal([['locked', 'active'], ['deferred', 'deferred'], ['free', 'active'], ['scheduled', 'scheduled']]);
      expect(peeked[0]!.lockToken).to.equal(undefined);
      expect(await receiver.peekMessages(10), 'goes on behind the last').to.deep.equal([]);
      expect((await receiver.peekMessages(1, { fromSequenceNumber: peeked[2]!.sequenceNumber! }))[0]!.body).to.equal('free');
    });
  });

  describe('forwarding (service-bus-auto-forwarding)', () => {
    it('carries on what arrives, and what dies', async () => {
      const end = queue();
      const graves = queue();
      const start = queue({ forwardTo: end });
      await client.createSender(start).sendMessages({ body: 'on', messageId: 'm' });
      expect(await one(receiverOf(end))).to.deep.include({ body: 'on', messageId: 'm' });
      const sick = queue({ forwardDeadTo: graves });
      await client.createSender(sick).sendMessages({ body: 'ill' });
      const receiver = receiverOf(sick);
      await receiver.deadLetterMessage(await one(receiver), { deadLetterReason: 'ill', deadLetterErrorDescription: 'very' });
      expect(await one(receiverOf(graves))).to.deep.include({ body: 'ill', deadLetterReason: 'ill', deadLetterSource: sick });
    });

    it('lets nobody receive from a queue that forwards', async () => {
      expect(await codeOf(receiverOf(queue({ forwardTo: queue() })).receiveMessages(1, { maxWaitTimeInMs: 100 }))).to.not.equal('nothing thrown');
    });
  });

  describe('several at once (service-bus-prefetch, service-bus-performance-improvements)', () => {
    it('shares out between receivers that compete, each message to one of them', async () => {
      const name = queue();
      const other = connect();
      const seen: number[][] = [[], []];
      const receivers = [client.createReceiver(name), other.createReceiver(name)];
      receivers.forEach((receiver, index) => receiver.subscribe({ processMessage: async ({ body }) => void seen[index]!.push(body as number), processError: async () => undefined }, { maxConcurrentCalls: 5 }));
      await client.createSender(name).sendMessages(Array.from({ length: 200 }, (_, body) => ({ body })));
      await until('all are handled', () => seen.flat().length === 200 && counts(name).active === 0);
      expect(new Set(seen.flat()).size).to.equal(200);
      expect(Math.min(...seen.map(({ length }) => length))).to.be.greaterThan(60);
      await other.close();
    });

    it('gives one to each in turn of those who wait', async () => {
      const name = queue();
      const other = connect();
      const waiting = [client, other].map((each) => each.createReceiver(name).receiveMessages(50, { maxWaitTimeInMs: 400 }));
      await until('both have a link', () => emulator.entities().connections >= 2);
      await new Promise((resolve) => setTimeout(resolve, 100));
      await client.createSender(name).sendMessages(Array.from({ length: 40 }, (_, body) => ({ body })));
      const lengths = (await Promise.all(waiting)).map(({ length }) => length);
      expect(lengths).to.deep.equal([20, 20]);
      await other.close();
    });

    it('hands what a handler throws at to it again, and buries it in the end', async () => {
      const name = queue({ deliveriesMax: 3 });
      const receiver = client.createReceiver(name);
      const errors: ProcessErrorArgs[] = [];
      let calls = 0;
      receiver.subscribe({ processMessage: async () => { calls++; throw new Error('no'); }, processError: async (args) => void errors.push(args) });
      await client.createSender(name).sendMessages({ body: 1 });
      await until('it is dead', () => counts(name).dead === 1);
      expect(calls).to.equal(3);
      expect(errors).to.have.length(3);
      await receiver.close();
    });

    it('reads through the iterator', async () => {
      const name = queue();
      const receiver = receiverOf(name);
      await client.createSender(name).sendMessages([{ body: 1 }, { body: 2 }, { body: 3 }]);
      const bodies: unknown[] = [];
      for await (const message of receiver.getMessageIterator()) {
        bodies.push(message.body);
        await receiver.completeMessage(message);
        if (bodies.length === 3) break;
      }
      expect(bodies).to.deep.equal([1, 2, 3]);
      await receiver.close();
    });

    it('goes on after all sockets were lost, for who sends and for who subscribes, and loses nothing that was accepted', async () => {
      const name = queue({ lockMs: 5 * second, deliveriesMax: 100 });
      const seen = new Set<number>();
      const accepted: number[] = [];
      const receiver = client.createReceiver(name);
      receiver.subscribe({ processMessage: async ({ body }) => void seen.add(body as number), processError: async () => undefined }, { maxConcurrentCalls: 5 });
      const sender = client.createSender(name);
      for (let body = 0; body < 40; body++) {
        if (body % 15 === 7) emulator.faults.drop();
        await sender.sendMessages({ body }).then(() => accepted.push(body), () => undefined);
      }
      await until('all that were accepted have been handled', async () => {
        await clock.leap(second);
        return accepted.every((body) => seen.has(body));
      }, 8_000);
      expect(accepted.length).to.be.greaterThan(35);
      await receiver.close();
    });

    it('stores what was sent although the answer was lost, so that a second sending makes two of it', async () => {
      const name = queue();
      const sender = connect(1).createSender(name);
      await sender.sendMessages({ body: 'first' });
      emulator.faults.loseAnswers(name, 1);
      await sender.sendMessages({ body: 'twice' });
      await until('both are there', () => counts(name).active === 3);
    });
  });

  it('forgets a queue that is removed, with its links', async () => {
    const name = queue();
    const errors: string[] = [];
    await client.createSender(name).sendMessages({ body: 1 });
    const receiver = client.createReceiver(name);
    receiver.subscribe({ processMessage: async () => undefined, processError: async ({ error }) => void errors.push('code' in error ? String(error.code) : error.message) });
    await until('the link is open', () => counts(name).active === 0);
    expect(emulator.remove('queues', name)).to.equal(true);
    await until('who listens is told', () => errors.includes('MessagingEntityNotFound'));
    await receiver.close();
    expect(await codeOf(client.createSender(name).sendMessages({ body: 2 }))).to.equal('MessagingEntityNotFound');
    expect(emulator.remove('queues', name)).to.equal(false);
  });

  it('takes away all locks when told to', async () => {
    const name = queue();
    const receiver = receiverOf(name);
    await client.createSender(name).sendMessages({ body: 1 });
    const message = await one(receiver);
    expect(emulator.loseLocks(name)).to.equal(1);
    expect(await codeOf(receiver.completeMessage(message))).to.equal('MessageLockLost');
  });
});
