import { expect } from 'chai';
import { ServiceBusClient, type ServiceBusReceivedMessage, type ServiceBusSessionReceiver } from '@azure/service-bus';
import { queueDefaults, type QueueShape } from '../../emulator/config.ts';
import { startEmulator, type Emulator } from '../../emulator/index.ts';
import type { AmqpError, Answer, Outlet } from '../../emulator/amqp.ts';
import { described, encode, headerSection, valueSection, type Value } from '../../emulator/message.ts';
import { createServiceBus, type ServiceBus } from '../../emulator/servicebus.ts';
import { createLeapClock, until, type LeapClock } from '../support/leap.ts';

/**
 * Sessions of Service Bus through the unmodified SDK, written from https://learn.microsoft.com/azure/service-bus-messaging/message-sessions and, for the errors, from
 * .../service-bus-messaging-exceptions.
 */
describe('sessions of Service Bus', () => {
  let clock: LeapClock;
  let emulator: Emulator;
  let client: ServiceBusClient;
  let count = 0;
  const open: ServiceBusSessionReceiver[] = [];

  before(async () => {
    clock = createLeapClock();
    emulator = await startEmulator({ port: 0, clock });
    client = connect();
  });
  afterEach(async () => {
    await Promise.all(open.splice(0).map((receiver) => receiver.close()));
  });
  after(async () => {
    await client.close();
    await emulator.close();
  });

  const connect = (): ServiceBusClient => new ServiceBusClient(emulator.connectionString, { retryOptions: { maxRetries: 0, retryDelayInMs: 10, timeoutInMs: 1_500 } });

  function queue(shape: Partial<QueueShape> = {}): string {
    const name = `Sessions-${++count}`;
    emulator.create({ queues: [{ ...queueDefaults, lockMs: 30_000, sessions: true, ...shape, name }], topics: [], hubs: [] });
    return name;
  }

  const options = { maxAutoLockRenewalDurationInMs: 0 };
  const kept = (receiver: ServiceBusSessionReceiver): ServiceBusSessionReceiver => (open.push(receiver), receiver);
  const accept = async (name: string, session: string, by = client): Promise<ServiceBusSessionReceiver> => kept(await by.acceptSession(name, session, options));
  const next = async (name: string, by = client): Promise<ServiceBusSessionReceiver> => kept(await by.acceptNextSession(name, options));
  const send = (name: string, ...messages: (readonly [session: string, body: string])[]): Promise<void> => client.createSender(name).sendMessages(messages.map(([sessionId, body]) => ({ sessionId, body })));
  const take = (receiver: ServiceBusSessionReceiver, max: number, waitMs = 1_000): Promise<ServiceBusReceivedMessage[]> => receiver.receiveMessages(max, { maxWaitTimeInMs: waitMs });
  const bodies = (messages: ServiceBusReceivedMessage[]): unknown[] => messages.map(({ body }) => body as unknown);
  const codeOf = (action: Promise<unknown>): Promise<string> => action.then(() => 'nothing thrown', (error: { code?: string; message: string }) => error.code ?? error.message);
  const counts = (name: string) => emulator.entities().queues.find((one) => one.name === name)!;

  it('give the messages of one session alone, in their order, and say how long it is locked', async () => {
    const name = queue();
    await send(name, ['a', 'a1'], ['b', 'b1'], ['a', 'a2'], ['a', 'a3']);
    const receiver = await accept(name, 'a');
    expect(receiver.sessionId).to.equal('a');
    expect(receiver.sessionLockedUntilUtc.getTime()).to.be.within(clock.now() + 29_000, clock.now() + 30_000);
    const messages = await take(receiver, 3);
    expect(bodies(messages)).to.deep.equal(['a1', 'a2', 'a3']);
    expect(messages.map(({ sessionId }) => sessionId)).to.deep.equal(['a', 'a', 'a']);
    for (const message of messages) await receiver.completeMessage(message);
    expect(counts(name)).to.include({ active: 1, locked: 0 });
  });

  it('are asked for by name or not at all', async () => {
    const name = queue();
    const told = (action: Promise<unknown>): Promise<string> => action.then(() => 'nothing thrown', ({ message }: Error) => message);
    expect(await told(client.createReceiver(name).receiveMessages(1, { maxWaitTimeInMs: 100 }))).to.contain('non-sessionful');
    expect(await told(client.createSender(name).sendMessages({ body: 'x' }))).to.contain('SessionId was not set');
    expect(await codeOf(accept(queue({ sessions: false }), 'a'))).to.equal('SessionCannotBeLocked');
    expect(counts(name)).to.include({ active: 0 });
  });

  it('have one holder at a time', async () => {
    const name = queue();
    const other = connect();
    const receiver = await accept(name, 'a');
    expect(await codeOf(accept(name, 'a', other))).to.equal('SessionCannotBeLocked');
    await receiver.close();
    await until('the session is free', async () => (await codeOf(accept(name, 'a', other))) === 'nothing thrown');
    await other.close();
  });

  it('are free when the socket of their holder is lost', async () => {
    const name = queue();
    const other = connect();
    await other.createSender(name).sendMessages({ body: 'a1', sessionId: 'a' });
    await take(await other.acceptSession(name, 'a', options), 1);
    expect(counts(name)).to.include({ locked: 1 });
    expect(emulator.faults.drop(name)).to.equal(1);
    await until('the server has seen it', () => counts(name).locked === 0);
    const again = await accept(name, 'a');
    expect((await take(again, 1))[0]).to.include({ body: 'a1', deliveryCount: 0 });
    await other.close();
  });

  it('are given away one after the other to those who ask for the next', async () => {
    const name = queue();
    await send(name, ['a', 'a1'], ['b', 'b1']);
    const first = await next(name);
    const second = await next(name);
    expect([first.sessionId, second.sessionId]).to.deep.equal(['a', 'b']);
    expect(bodies(await take(second, 1))).to.deep.equal(['b1']);
  });

  it('make who asks for the next one wait until there is one', async () => {
    const name = queue();
    const waiting = next(name);
    await until('it waits', () => emulator.entities().connections > 0);
    await send(name, ['a', 'a1']);
    const receiver = await waiting;
    expect(receiver.sessionId).to.equal('a');
    expect(bodies(await take(receiver, 1))).to.deep.equal(['a1']);
  });

  it('make him wait no longer than he said', async () => {
    expect(await codeOf(next(queue()))).to.equal('ServiceTimeout');
  });

  it('are not given to somebody who has gone while he waited', async () => {
    const name = queue();
    const other = connect();
    const before = emulator.entities().connections;
    void other.acceptNextSession(name, options).catch(() => undefined);
    await until('it is attached', () => emulator.faults.drop(name) > 0);
    await until('the server has seen it', () => emulator.entities().connections === before);
    await send(name, ['a', 'a1']);
    expect((await next(name)).sessionId).to.equal('a');
  });

  it('are lost when their lock runs out: nothing can be settled, and the messages come again, counted', async () => {
    const name = queue();
    await send(name, ['a', 'a1'], ['a', 'a2']);
    const receiver = await accept(name, 'a');
    const [message] = await take(receiver, 1);
    await clock.leap(30_000);
    expect(await codeOf(receiver.completeMessage(message!))).to.equal('SessionLockLost');
    expect(await codeOf(receiver.renewSessionLock())).to.equal('SessionLockLost');
    expect(await codeOf(receiver.setSessionState('x'))).to.equal('SessionLockLost');
    const again = await accept(name, 'a');
    expect((await take(again, 2)).map(({ body, deliveryCount }) => [body as unknown, deliveryCount])).to.deep.equal([['a1', 1], ['a2', 0]]);
  });

  it('are lost when a test wants it', async () => {
    const name = queue();
    const receiver = await accept(name, 'a');
    expect(emulator.loseLocks(name)).to.equal(1);
    expect(await codeOf(receiver.getSessionState())).to.equal('SessionLockLost');
    await accept(name, 'a');
  });

  it('are not renewed by who lost them to another', async () => {
    const name = queue();
    const receiver = await accept(name, 'a');
    await clock.leap(30_000);
    const other = connect();
    await accept(name, 'a', other);
    expect(await codeOf(receiver.renewSessionLock())).to.equal('SessionLockLost');
    expect(await codeOf(receiver.setSessionState('mine'))).to.equal('SessionLockLost');
    await other.close();
  });

  it('stay with a holder who renews, and so do his messages', async () => {
    const name = queue();
    await send(name, ['a', 'a1']);
    const receiver = await accept(name, 'a');
    const [message] = await take(receiver, 1);
    await clock.leap(20_000);
    const until = await receiver.renewSessionLock();
    expect(until.getTime()).to.be.within(clock.now() + 29_000, clock.now() + 30_000);
    await clock.leap(20_000);
    await receiver.completeMessage(message!);
    expect(counts(name)).to.include({ active: 0, locked: 0 });
  });

  it('remember a state, over holders and without messages', async () => {
    const name = queue();
    const receiver = await accept(name, 'a');
    expect(await receiver.getSessionState()).to.equal(null);
    await receiver.setSessionState({ step: 2 });
    expect(await receiver.getSessionState()).to.deep.equal({ step: 2 });
    await receiver.close();
    await until('the session is free', async () => (await codeOf(accept(name, 'a'))) === 'nothing thrown');
    expect(await open.at(-1)!.getSessionState()).to.deep.equal({ step: 2 });
  });

  it('count no delivery when they are closed with messages in hand', async () => {
    const name = queue();
    await send(name, ['a', 'a1']);
    const receiver = await accept(name, 'a');
    await take(receiver, 1);
    await receiver.close();
    const again = await next(name);
    expect((await take(again, 1))[0]).to.include({ body: 'a1', deliveryCount: 0 });
  });

  it('abandon, defer, bury and peek like any other receiver', async () => {
    const name = queue();
    await send(name, ['a', 'a1'], ['a', 'a2'], ['a', 'a3'], ['b', 'b1']);
    const receiver = await accept(name, 'a');
    const [a1, a2, a3] = await take(receiver, 3);
    await receiver.abandonMessage(a1!, { why: 'later' });
    await receiver.deferMessage(a2!);
    await receiver.deadLetterMessage(a3!, { deadLetterReason: 'bad', deadLetterErrorDescription: 'very' });
    const [again] = await take(receiver, 1);
    expect(again).to.deep.include({ body: 'a1', deliveryCount: 1, applicationProperties: { why: 'later' } });
    const [deferred] = await receiver.receiveDeferredMessages(a2!.sequenceNumber!);
    expect(deferred!.body).to.equal('a2');
    await receiver.completeMessage(deferred!);
    expect(bodies(await receiver.peekMessages(5))).to.deep.equal(['a1']);
    const dead = client.createReceiver(name, { subQueueType: 'deadLetter', receiveMode: 'receiveAndDelete' });
    expect((await dead.receiveMessages(1))[0]).to.include({ body: 'a3', deadLetterReason: 'bad', sessionId: 'a' });
    await dead.close();
  });

  it('hand on what comes in while somebody subscribes, one at a time', async () => {
    const name = queue();
    const receiver = await accept(name, 'a');
    const found: unknown[] = [];
    let atOnce = 0;
    const trouble: unknown[] = [];
    receiver.subscribe({
      processMessage: async ({ body }) => {
        expect(++atOnce).to.equal(1);
        await new Promise((resolve) => setTimeout(resolve, 1));
        found.push(body);
        atOnce--;
      },
      processError: async ({ error }) => void trouble.push(error),
    });
    const expected = Array.from({ length: 20 }, (_, n) => `m${n}`);
    for (const body of expected) await send(name, ['a', body], ['b', 'other']);
    await until('all have come', () => counts(name).active === 20);
    expect(found).to.deep.equal(expected);
    expect(trouble).to.deep.equal([]);
  });

  it('may be read so that what is received is gone', async () => {
    const name = queue();
    await send(name, ['a', 'a1'], ['a', 'a2']);
    const receiver = kept(await client.acceptSession(name, 'a', { ...options, receiveMode: 'receiveAndDelete' }));
    expect(bodies(await take(receiver, 2))).to.deep.equal(['a1', 'a2']);
    expect(counts(name)).to.include({ active: 0, locked: 0 });
  });

  it('keep their order and lose nothing with several readers who take the next session again and again', async () => {
    const name = queue();
    const messages = Array.from({ length: 60 }, (_, n) => [`s${n % 6}`, `${n}`] as const);
    await send(name, ...messages);
    const seen = new Map<string, string[]>();
    async function read(): Promise<void> {
      while (counts(name).active > 0) {
        const receiver = await client.acceptNextSession(name, options).catch(() => undefined);
        if (receiver === undefined) return;
        for (const message of await receiver.receiveMessages(4, { maxWaitTimeInMs: 20 })) {
          seen.set(receiver.sessionId, [...(seen.get(receiver.sessionId) ?? []), message.body as string]);
          await receiver.completeMessage(message);
        }
        await receiver.close();
      }
    }
    await Promise.all([read(), read(), read()]);
    for (const session of ['s0', 's1', 's2', 's3', 's4', 's5']) expect(seen.get(session)).to.deep.equal(messages.filter(([one]) => one === session).map(([, body]) => body));
  });

  it('are there on subscriptions, too; a message without one is dead there (service-bus-dead-letter-queues)', async () => {
    const name = `Session-Topic-${++count}`;
    const { lockMs, ttlMs, deadLetterExpired, deliveriesMax, forwardTo, forwardDeadTo } = queueDefaults;
    const subscription = { lockMs, ttlMs, deadLetterExpired, deliveriesMax, forwardTo, forwardDeadTo, sessions: true, name: 'one', rules: [] };
    emulator.create({ queues: [], topics: [{ name, ttlMs: undefined, duplicatesMs: undefined, bytesMax: 1e9, subscriptions: [subscription] }], hubs: [] });
    await client.createSender(name).sendMessages([{ body: 'in', sessionId: 'a' }, { body: 'out' }]);
    const receiver = kept(await client.acceptSession(name, 'one', 'a', options));
    expect(bodies(await take(receiver, 1))).to.deep.equal(['in']);
    const dead = client.createReceiver(name, 'one', { subQueueType: 'deadLetter', receiveMode: 'receiveAndDelete' });
    expect((await dead.receiveMessages(1))[0]).to.include({ body: 'out', deadLetterReason: 'Session ID is null' });
    await dead.close();
  });

  describe('without a socket', () => {
    const nobody = { id: 1, container: '', drop: () => undefined };
    const name = 'bare';
    const session = new Map([['session-id', 'a']]);

    function bus(): ServiceBus {
      const opened = createServiceBus({ clock });
      opened.createQueue({ ...queueDefaults, lockMs: 30_000, sessions: true, name });
      return opened;
    }

    function attach(to: ServiceBus, link: string, wanted: Value, gone = new AbortController().signal): Answer | Promise<Answer> {
      const wish = { address: name, name: link, peer: nobody, properties: new Map(), desired: [], settled: false, gone, close: () => undefined };
      return to.attach({ ...wish, role: 'receiver', filters: new Map<string, Value>([['com.microsoft:session-filter', wanted]]) })!;
    }

    /** Attaches and takes what there is; gives the tags. */
    function read(to: ServiceBus, link: string): { outlet: Outlet; tags: Buffer[] } {
      const outlet = attach(to, link, 'a');
      if (outlet instanceof Promise || !('flow' in outlet)) throw new Error('no outlet');
      const tags: Buffer[] = [];
      outlet.flow({ credit: 10, open: true, send: (_bytes, { tag }) => void tags.push(tag), close: () => undefined });
      return { outlet, tags };
    }

    function put(to: ServiceBus): void {
      const inlet = to.attach({ role: 'sender', address: name, name: 'in', peer: nobody, properties: new Map(), filters: new Map(), desired: [], settled: false, gone: new AbortController().signal, close: () => undefined });
      if (inlet === undefined || inlet instanceof Promise || !('take' in inlet)) throw new Error('no inlet');
      const properties = encode(described(0x73, [null, null, null, null, null, null, null, null, null, null, 'a']));
      inlet.take({ bytes: Buffer.concat([headerSection({}), properties, valueSection('x')]), format: 0, accept: () => undefined, reject: ({ description }) => { throw new Error(description); } });
    }

    const ask = async (of: ServiceBus, operation: string, link: string, more: Record<string, Value> = {}): Promise<string | undefined> =>
      (await of.request(name, { operation: `com.microsoft:${operation}`, properties: new Map([['associated-link-name', link]]), body: new Map<string, Value>([...session, ...Object.entries(more)]), peer: nobody }))?.condition;

    const lost = 'com.microsoft:session-lock-lost';

    it('nothing is done for a link that does not hold the session, though another one does', async () => {
      const one = bus();
      put(one);
      read(one, 'old');
      await clock.leap(30_000);
      read(one, 'new');
      for (const operation of ['renew-session-lock', 'get-session-state', 'set-session-state']) {
        expect(await ask(one, operation, 'old'), operation).to.equal(lost);
        expect(await ask(one, operation, 'new'), operation).to.equal(undefined);
      }
      expect(await ask(one, 'update-disposition', 'old', { 'lock-tokens': [], 'disposition-status': 'completed' })).to.equal(lost);
      expect(await ask(one, 'receive-by-sequence-number', 'old', { 'sequence-numbers': [1], 'receiver-settle-mode': 1 })).to.equal(lost);
      one.close();
    });

    it('a settlement that comes too late is told that the session is lost, and not only the message', async () => {
      const one = bus();
      put(one);
      const { outlet, tags } = read(one, 'old');
      await clock.leap(30_000);
      const answer = await new Promise<AmqpError | undefined>((resolve) => outlet.settle!(tags[0]!, { kind: 'accepted' }, resolve));
      expect(answer?.condition).to.equal(lost);
      one.close();
    });

    it('sessions with messages or a state are listed, page by page (service-bus-amqp-request-response)', async () => {
      const one = bus();
      const list = async (skip: number): Promise<Value | undefined> => {
        const request = { operation: 'com.microsoft:get-message-sessions', properties: new Map(), body: new Map([['skip', skip], ['top', 10]]), peer: nobody };
        return (await one.request(name, request))?.body as Value | undefined;
      };
      expect(await list(0)).to.equal(undefined);
      put(one);
      expect(await list(0)).to.deep.equal({ skip: 1, 'sessions-ids': ['a'] });
      expect(await list(1)).to.equal(undefined);
      one.close();
    });

    it('a session that is named by a described value is granted by one', () => {
      const one = bus();
      const answer = attach(one, 'link', { descriptor: 'com.microsoft:session-filter', value: 'a' });
      expect(answer).to.have.nested.property('filters.com\\.microsoft:session-filter.value', 'a');
      one.close();
    });

    it('who has gone while he waited is not asked again', async () => {
      const one = bus();
      const gone = new AbortController();
      const waiting = attach(one, 'gone', null, gone.signal);
      gone.abort();
      expect(await waiting).to.have.property('refused');
      put(one);
      expect(attach(one, 'next', null)).to.have.property('flow');
      one.close();
    });
  });
});
