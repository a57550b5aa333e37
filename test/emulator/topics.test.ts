import { expect } from 'chai';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ServiceBusClient, type CorrelationRuleFilter, type ServiceBusMessage, type ServiceBusReceivedMessage, type SqlRuleFilter } from '@azure/service-bus';
import { queueDefaults, type RuleShape, type SubscriptionShape, type TopicShape } from '../../emulator/config.ts';
import { startEmulator, type Emulator } from '../../emulator/index.ts';
import { batchFormat, dataSection, headerSection, valueSection } from '../../emulator/message.ts';
import { createServiceBus, type EntityChange } from '../../emulator/servicebus.ts';
import { createRules, type RuleChange } from '../../emulator/topics.ts';
import { createLeapClock, type LeapClock } from '../support/leap.ts';

/**
 * Topics and subscriptions of Service Bus through the unmodified SDK. Each part is written from a page of the vendor's documentation, named with it, below
 * https://learn.microsoft.com/azure/service-bus-messaging/.
 */
describe('topics of Service Bus', () => {
  let clock: LeapClock;
  let emulator: Emulator;
  let client: ServiceBusClient;
  let count = 0;

  before(async () => {
    clock = createLeapClock();
    emulator = await startEmulator({ port: 0, clock });
    client = new ServiceBusClient(emulator.connectionString, { retryOptions: { maxRetries: 0, retryDelayInMs: 10, timeoutInMs: 1_500 } });
  });
  after(async () => {
    await client.close();
    await emulator.close();
  });

  const { lockMs, ttlMs, deadLetterExpired, deliveriesMax, sessions, forwardTo, forwardDeadTo } = queueDefaults;
  const settings = { lockMs, ttlMs, deadLetterExpired, deliveriesMax, sessions, forwardTo, forwardDeadTo };

  /** A topic of its own for a test; each subscription with its rules. */
  function topic(subscriptions: Record<string, readonly RuleShape[]>, shape: Partial<TopicShape> = {}, some: Partial<SubscriptionShape> = {}): string {
    const name = `Topic-${++count}`;
    const list = Object.entries(subscriptions).map(([subscription, rules]) => ({ ...settings, ...some, name: subscription, rules }));
    emulator.create({ queues: [], topics: [{ name, ttlMs: undefined, duplicatesMs: undefined, bytesMax: 1e9, subscriptions: list, ...shape }], hubs: [] });
    return name;
  }

  const sql = (name: string, expression: string, action?: string): RuleShape => ({ name, filter: { kind: 'sql', expression }, action });
  const send = (name: string, ...messages: ServiceBusMessage[]): Promise<void> => client.createSender(name).sendMessages(messages);
  const receiverOf = (name: string, subscription: string, subQueueType?: 'deadLetter') => client.createReceiver(name, subscription, { receiveMode: 'receiveAndDelete', ...(subQueueType ? { subQueueType } : {}) });

  async function all(name: string, subscription: string, subQueueType?: 'deadLetter'): Promise<ServiceBusReceivedMessage[]> {
    const receiver = receiverOf(name, subscription, subQueueType);
    const expected = countsOf(name, subscription)[subQueueType ? 'dead' : 'active'];
    const found: ServiceBusReceivedMessage[] = expected === 0 ? [] : await receiver.receiveMessages(expected, { maxWaitTimeInMs: 1_000 });
    await receiver.close();
    return found;
  }
  const bodies = async (name: string, subscription: string): Promise<unknown[]> => (await all(name, subscription)).map(({ body }) => body as unknown);
  const countsOf = (name: string, subscription: string) => emulator.entities().topics.find((one) => one.name === name)!.subscriptions.find((one) => one.name === `${name}/Subscriptions/${subscription}`)!;
  const codeOf = (action: Promise<unknown>): Promise<string> => action.then(() => 'nothing thrown', (error: { code?: string; message: string }) => error.code ?? error.message);

  describe('fan-out (service-bus-queues-topics-subscriptions)', () => {
    it('gives every subscription a copy, in order, to be settled by itself', async () => {
      const name = topic({ one: [], two: [] });
      await send(name, { body: 'a' }, { body: 'b' });
      expect(await bodies(name, 'one')).to.deep.equal(['a', 'b']);
      const receiver = client.createReceiver(name, 'two');
      const [first, second] = await receiver.receiveMessages(2);
      await receiver.completeMessage(first!);
      await receiver.deadLetterMessage(second!, { deadLetterReason: 'bad', deadLetterErrorDescription: 'very' });
      expect(countsOf(name, 'one')).to.include({ active: 0, dead: 0 });
      const [dead] = await all(name, 'two', 'deadLetter');
      expect(dead).to.include({ body: 'b', deadLetterReason: 'bad', deadLetterErrorDescription: 'very' });
      await receiver.close();
    });

    it('wakes who waits on a subscription', async () => {
      const name = topic({ one: [] });
      const receiver = receiverOf(name, 'one');
      const waiting = receiver.receiveMessages(1, { maxWaitTimeInMs: 2_000 });
      await send(name, { body: 'a' });
      expect((await waiting).map(({ body }) => body as unknown)).to.deep.equal(['a']);
      await receiver.close();
    });

    it('drops what no subscription wants, and takes messages without any subscription', async () => {
      const name = topic({ none: [sql('no', '1=0')] });
      await send(name, { body: 'a' });
      await send(topic({}), { body: 'b' });
      expect(await bodies(name, 'none')).to.deep.equal([]);
    });

    it('lets nobody receive from a topic, nor send to a subscription', async () => {
      const name = topic({ one: [] });
      expect(await codeOf(client.createReceiver(name).receiveMessages(1, { maxWaitTimeInMs: 100 }))).to.not.equal('nothing thrown');
      expect(await codeOf(send(`${name}/Subscriptions/one`, { body: 'x' }))).to.not.equal('nothing thrown');
      expect(await codeOf(client.createReceiver(name, 'other').receiveMessages(1, { maxWaitTimeInMs: 100 }))).to.equal('MessagingEntityNotFound');
    });

    it('schedules, cancels, and looks for duplicates in the topic', async () => {
      const name = topic({ one: [] }, { duplicatesMs: 60_000 });
      const sender = client.createSender(name);
      const [cancelled] = await sender.scheduleMessages([{ body: 'cancelled' }, { body: 'later' }], new Date(clock.now() + 50_000));
      await sender.cancelScheduledMessages(cancelled!);
      await sender.sendMessages([{ body: 'first', messageId: 'x' }, { body: 'second', messageId: 'x' }]);
      expect(await bodies(name, 'one')).to.deep.equal(['first']);
      await clock.leap(50_000);
      expect(await bodies(name, 'one')).to.deep.equal(['later']);
    });

    it('lets messages expire after the shortest of all times, into the dead letters of the subscription that wants it', async () => {
      const name = topic({ one: [] }, { ttlMs: 20_000 }, { deadLetterExpired: true, ttlMs: 40_000 });
      await send(name, { body: 'a' }, { body: 'b', timeToLive: 10_000 });
      await clock.leap(10_000);
      expect(countsOf(name, 'one')).to.include({ active: 1, dead: 1 });
      await clock.leap(10_000);
      expect((await all(name, 'one', 'deadLetter')).map(({ deadLetterReason }) => deadLetterReason)).to.deep.equal(['TTLExpiredException', 'TTLExpiredException']);
    });

    it('refuses what is too much for the topic, and takes it when there is room again', async () => {
      const name = topic({ one: [] }, { bytesMax: 2_000 });
      await send(name, { body: 'x'.repeat(1_500) });
      expect(await codeOf(send(name, { body: 'x'.repeat(1_000) }))).to.equal('QuotaExceeded');
      await bodies(name, 'one');
      await send(name, { body: 'x'.repeat(1_000) });
    });

    it('forwards from a subscription to a queue, and from a queue to a topic (service-bus-auto-forwarding)', async () => {
      const end = `end-${count}`;
      emulator.create({ queues: [{ ...queueDefaults, name: end }], topics: [], hubs: [] });
      const name = topic({ one: [] }, {}, { forwardTo: end });
      const start = `start-${count}`;
      emulator.create({ queues: [{ ...queueDefaults, name: start, forwardTo: name }], topics: [], hubs: [] });
      await send(start, { body: 'a' });
      const receiver = client.createReceiver(end, { receiveMode: 'receiveAndDelete' });
      expect((await receiver.receiveMessages(1)).map(({ body }) => body as unknown)).to.deep.equal(['a']);
      await receiver.close();
    });

    it('buries what cannot be forwarded because there is no room (service-bus-auto-forwarding)', async () => {
      const [full, to] = [`full-${count}`, `to-${count}`];
      emulator.create({ queues: [{ ...queueDefaults, name: full, bytesMax: 10 }, { ...queueDefaults, name: to, forwardTo: full }], topics: [], hubs: [] });
      await send(to, { body: 'too much' });
      const receiver = client.createReceiver(to, { subQueueType: 'deadLetter', receiveMode: 'receiveAndDelete' });
      expect((await receiver.receiveMessages(1))[0]).to.include({ body: 'too much', deadLetterReason: 'HeaderSizeExceeded' });
      await receiver.close();
    });

    it('is removed with its subscriptions', () => {
      const name = topic({ one: [] });
      expect(emulator.remove('topics', name)).to.equal(true);
      expect(emulator.entities().topics.some((one) => one.name === name)).to.equal(false);
      expect(emulator.loseLocks(`${name}/Subscriptions/one`)).to.equal(undefined);
    });
  });

  describe('filters (topic-filters)', () => {
    const orders: ServiceBusMessage[] = [
      { body: 1, subject: 'red', correlationId: 'high', applicationProperties: { color: 'red', quantity: 7 } },
      { body: 2, subject: 'red', correlationId: 'low', applicationProperties: { color: 'blue', quantity: 10, weight: 2.5, express: true } },
      { body: 3, subject: 'bus stop', messageId: 'm-3', to: 'Store5', applicationProperties: { Color: 'blue' } },
      { body: 4 },
    ];
    const taken = async (filter: RuleShape['filter']): Promise<unknown[]> => {
      const name = topic({ one: [{ name: 'rule', filter, action: undefined }] });
      await send(name, ...orders);
      return bodies(name, 'one');
    };

    for (const [expression, expected] of [
      ["color = 'blue'", [2, 3]],
      ["color='blue' AND quantity=10", [2]],
      ["user.color IN ('red') OR sys.Label LIKE '%bus%'", [1, 3]],
      ['NOT EXISTS(quantity)', [3, 4]],
      ['quantity IS NULL', [3, 4]],
      ["color <> 'blue'", [1]],
      ['express = TRUE AND weight * 2 = 5', [2]],
      ['quantity / 2 = 3', [1]],
      ["sys.To = 'Store5' AND sys.MessageId = 'm-3'", [3]],
      ['1=1', [1, 2, 3, 4]],
      ['1=0', []],
    ] as const) {
      it(`takes what the SQL filter ${expression} takes`, async () => {
        expect(await taken({ kind: 'sql', expression })).to.deep.equal(expected);
      });
    }

    it('takes what a correlation filter takes: all conditions hold, to the letter', async () => {
      expect(await taken({ kind: 'correlation', label: 'red', correlationId: 'high', properties: {} })).to.deep.equal([1]);
      expect(await taken({ kind: 'correlation', properties: { color: 'blue', quantity: 10, express: true } })).to.deep.equal([2]);
      expect(await taken({ kind: 'correlation', label: 'Red', properties: {} })).to.deep.equal([]);
    });

    it('makes one message of all rules without an action, and one more of each rule with one, which is told its name', async () => {
      const name = topic({ one: [sql('a', 'quantity > 1'), sql('b', "color = 'red'"), sql('c', '1=1'), sql('half', "color = 'red'", 'SET quantity = quantity / 2; REMOVE COLOR; SET sys.Label = \'new\''), sql('odd', 'quantity = 7', "SET note = 'n' + 1")] });
      await send(name, orders[0]!);
      const found = await all(name, 'one');
      expect(found.map(({ applicationProperties, subject }) => ({ subject, ...applicationProperties }))).to.deep.equal([
        { subject: 'red', color: 'red', quantity: 7 },
        { subject: 'new', quantity: 3, RuleName: 'half' },
        { subject: 'red', color: 'red', quantity: 7, note: 'n1', RuleName: 'odd' },
      ]);
      expect(found.map(({ body, correlationId }) => [body as unknown, correlationId])).to.deep.equal([[1, 'high'], [1, 'high'], [1, 'high']]);
    });
  });

  describe('rules (service-bus-amqp-request-response)', () => {
    const rulesOf = async (name: string): Promise<unknown[]> => {
      const manager = client.createRuleManager(name, 'one');
      const found: unknown[] = [];
      // Where there are none at all, the SDK makes one `undefined` of the empty page.
      for await (const rule of manager.listRules()) if ((rule as unknown) !== undefined) found.push(rule);
      return found;
    };

    it('begin with one that takes everything, which may be removed', async () => {
      const name = topic({ one: [] });
      expect(await rulesOf(name)).to.deep.equal([{ name: '$Default', filter: { sqlExpression: '1=1' }, action: {} }]);
      const manager = client.createRuleManager(name, 'one');
      await manager.deleteRule('$Default');
      expect(await rulesOf(name)).to.deep.equal([]);
      await send(name, { body: 1 });
      await manager.createRule('again', { sqlExpression: '1=1' });
      await send(name, { body: 2 });
      expect(await bodies(name, 'one')).to.deep.equal([2]);
    });

    it('are added and come back as they were', async () => {
      const name = topic({ one: [sql('no', '1=0')] });
      const manager = client.createRuleManager(name, 'one');
      const correlation: CorrelationRuleFilter = { correlationId: 'c', messageId: 'm', to: 't', replyTo: 'r', subject: 's', sessionId: 'i', replyToSessionId: 'j', contentType: 'text', applicationProperties: { color: 'red', quantity: 7, express: false } };
      const byText: SqlRuleFilter = { sqlExpression: "color = 'it''s'" };
      await manager.createRule('correlation', correlation);
      await manager.createRule('sql', byText, { sqlExpression: 'SET a = 1' });
      expect(await rulesOf(name)).to.deep.equal([
        { name: 'no', filter: { sqlExpression: '1=0' }, action: {} },
        { name: 'correlation', filter: correlation, action: {} },
        { name: 'sql', filter: byText, action: { sqlExpression: 'SET a = 1' } },
      ]);
    });

    it('come in pages, however many there are', async () => {
      const name = topic({ one: Array.from({ length: 250 }, (_, n) => sql(`rule-${n}`, `n = ${n}`)) });
      expect((await rulesOf(name)).map((rule) => (rule as { name: string }).name)).to.deep.equal(Array.from({ length: 250 }, (_, n) => `rule-${n}`));
      await send(name, { body: 'x', applicationProperties: { n: 249 } }, { body: 'y', applicationProperties: { n: 250 } });
      expect(await bodies(name, 'one')).to.deep.equal(['x']);
    });

    it('are refused when they do not parse or their name is taken, and change nothing', async () => {
      const name = topic({ one: [] });
      const manager = client.createRuleManager(name, 'one');
      expect(await codeOf(manager.createRule('bad', { sqlExpression: 'color = = 1' }))).to.not.equal('nothing thrown');
      expect(await codeOf(manager.createRule('bad', { sqlExpression: '1=1' }, { sqlExpression: 'SET' }))).to.not.equal('nothing thrown');
      expect(await codeOf(manager.createRule('$Default', { sqlExpression: '1=1' }))).to.equal('MessagingEntityAlreadyExists');
      expect(await codeOf(manager.deleteRule('absent'))).to.equal('MessagingEntityNotFound');
      expect(await rulesOf(name)).to.have.length(1);
    });

    it('are kept over a restart when they were changed, and are those of the topology until then', () => {
      const recorded: RuleChange[] = [];
      const rules = createRules([sql('given', '1=0')], (change) => recorded.push(change));
      expect(recorded).to.deep.equal([]);
      expect([...rules.snapshot()]).to.deep.equal([]);
      rules.add(sql('added', 'a = 1', 'SET b = 2'));
      rules.remove('given');
      const expected = [sql('added', 'a = 1', 'SET b = 2')];
      for (const changes of [recorded, [...rules.snapshot()]]) {
        const again = createRules([sql('another topology', '1=1')]);
        for (const change of JSON.parse(JSON.stringify(changes)) as RuleChange[]) again.replay(change);
        expect(JSON.stringify(again.list())).to.equal(JSON.stringify(expected));
      }
    });
  });

  describe('with a folder for data', () => {
    it('has rules, subscriptions and scheduled messages again after a restart', async () => {
      const dataDir = mkdtempSync(join(tmpdir(), 'anyport-topics-'));
      const shape: TopicShape = { name: 'kept', ttlMs: undefined, duplicatesMs: undefined, bytesMax: 1e9, subscriptions: [{ ...settings, name: 'one', rules: [] }] };
      const start = async (): Promise<{ emulator: Emulator; client: ServiceBusClient }> => {
        const started = await startEmulator({ port: 0, clock, dataDir, topology: { queues: [], topics: [shape], hubs: [] } });
        return { emulator: started, client: new ServiceBusClient(started.connectionString) };
      };
      const first = await start();
      await first.client.createSender('kept').sendMessages([{ body: 'before' }, { body: 'later', applicationProperties: { n: 1 }, scheduledEnqueueTimeUtc: new Date(clock.now() + 50_000) }]);
      const rules = first.client.createRuleManager('kept', 'one');
      await rules.deleteRule('$Default');
      await rules.createRule('n', { sqlExpression: 'n = 1' });
      await first.client.close();
      await first.emulator.close();

      const second = await start();
      await second.client.createSender('kept').sendMessages([{ body: 'not taken' }]);
      await clock.leap(50_000);
      const receiver = second.client.createReceiver('kept', 'one', { receiveMode: 'receiveAndDelete' });
      expect((await receiver.receiveMessages(2)).map(({ body }) => body as unknown)).to.deep.equal(['before', 'later']);
      await second.client.close();
      await second.emulator.close();
      rmSync(dataDir, { recursive: true });
    });
  });

  describe('what is recorded of a topic', () => {
    it('builds it again with its subscriptions, from all changes or from a snapshot', async () => {
      const shape: TopicShape = { name: 'kept', ttlMs: undefined, duplicatesMs: 60_000, bytesMax: 1e9, subscriptions: [{ ...settings, name: 'one', rules: [] }] };
      const recorded: [string, EntityChange][] = [];
      const first = createServiceBus({ clock, record: (path, change) => recorded.push([path, change]) });
      first.createTopic(shape);
      const sent = await sendDirectly(first, 'kept', ['a', 'b']);
      expect(sent).to.equal('accepted');
      await first.request('kept/Subscriptions/one', { operation: 'com.microsoft:remove-rule', properties: new Map(), body: new Map([['rule-name', '$Default']]), peer: { id: 1, container: '', drop: () => undefined } });
      for (const changes of [recorded, [...first.snapshot()]]) {
        const again = createServiceBus({ clock, recorded: (path) => changes.filter(([of]) => of === path).map(([, change]) => change) });
        again.createTopic(shape);
        expect(again.describe().topics[0]?.subscriptions[0]).to.include({ active: 2, rules: 0 });
        again.close();
      }
      first.close();
    });
  });
});

/** Without a socket: what the wire would hand over for a transfer. */
function sendDirectly(bus: ReturnType<typeof createServiceBus>, address: string, texts: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const nobody = { id: 1, container: '', drop: () => undefined };
    const inlet = bus.attach({ role: 'sender', address, name: 'link', peer: nobody, properties: new Map(), filters: new Map(), desired: [], settled: false, gone: new AbortController().signal, close: () => undefined });
    if (inlet === undefined || inlet instanceof Promise || !('take' in inlet)) return reject(new Error('no inlet'));
    const batch = Buffer.concat(texts.map((text) => dataSection(Buffer.concat([headerSection({}), valueSection(text)]))));
    inlet.take({ bytes: batch, format: batchFormat, accept: () => resolve('accepted'), reject: ({ description }) => resolve(description) });
  });
}
