import { expect } from 'chai';
import { checkTopology, durationOf, hubDefaults, queueDefaults, readConfig, topologyOfFlow, type Topology } from '../../emulator/config.ts';
import { startEmulator } from '../../emulator/index.ts';
import { Invalid } from '../../ports/index.ts';
import { subscriptions } from '../../core/flow.ts';

const minute = 60_000;

/** https://learn.microsoft.com/azure/service-bus-messaging/test-locally-with-service-bus-emulator and https://learn.microsoft.com/azure/event-hubs/test-locally-with-event-hub-emulator */
const serviceBus = {
  UserConfig: {
    Namespaces: [
      {
        Name: 'sbemulatorns',
        Queues: [
          {
            Name: 'queue.1',
            Properties: {
              DeadLetteringOnMessageExpiration: true,
              DefaultMessageTimeToLive: 'PT1H',
              DuplicateDetectionHistoryTimeWindow: 'PT20S',
              ForwardDeadLetteredMessagesTo: '',
              ForwardTo: '',
              LockDuration: 'PT1M',
              MaxDeliveryCount: 3,
              RequiresDuplicateDetection: true,
              RequiresSession: false,
            },
          },
          { Name: 'plain' },
        ],
        Topics: [
          {
            Name: 'topic.1',
            Properties: { DefaultMessageTimeToLive: 'PT1H', DuplicateDetectionHistoryTimeWindow: 'PT20S', RequiresDuplicateDetection: false },
            Subscriptions: [
              {
                Name: 'subscription.1',
                Properties: { DeadLetteringOnMessageExpiration: false, LockDuration: 'PT30S', MaxDeliveryCount: 5, ForwardTo: 'queue.1', RequiresSession: true },
                Rules: [
                  { Name: 'one', Properties: { FilterType: 'Correlation', CorrelationFilter: { ContentType: 'application/text', Label: 'subject1', Properties: { prop: 'value', number: 1 } } } },
                  { Name: 'two', Properties: { FilterType: 'Sql', SqlFilter: { SqlExpression: 'number > 1' }, Action: { SqlExpression: 'SET a = 1' } } },
                ],
              },
            ],
          },
        ],
      },
    ],
    Logging: { Type: 'File' },
  },
};
const eventHubs = {
  UserConfig: {
    NamespaceConfig: [{ Type: 'EventHub', Name: 'emulatorNs1', Entities: [{ Name: 'eh1', PartitionCount: '2', ConsumerGroups: [{ Name: 'cg1' }, { Name: '$Default' }] }] }],
    LoggingConfig: { Type: 'File' },
  },
};

const read = (config: object): Topology => readConfig(JSON.stringify(config)).topology;
const queueWith = (properties: object): object => ({ UserConfig: { Namespaces: [{ Queues: [{ Name: 'q', Properties: properties }] }] } });

function complaintsOf(act: () => unknown): string[] {
  try {
    act();
  } catch (error) {
    if (error instanceof Invalid) return error.complaints.length === 0 ? [error.message] : error.complaints.map(({ pointer, detail }) => `${pointer} ${detail}`);
    throw error;
  }
  return [];
}

describe('the configuration of the emulator', () => {
  it('reads the Config.json of the official emulator of Service Bus', () => {
    const { queues, topics, hubs } = read(serviceBus);
    expect(queues).to.deep.equal([
      { ...queueDefaults, name: 'queue.1', deadLetterExpired: true, ttlMs: 60 * minute, duplicatesMs: 20_000, lockMs: minute, deliveriesMax: 3 },
      { ...queueDefaults, name: 'plain' },
    ]);
    expect(hubs).to.deep.equal([]);
    expect(topics).to.have.length(1);
    expect(topics[0]).to.deep.include({ name: 'topic.1', ttlMs: 60 * minute, duplicatesMs: undefined });
    const [subscription] = topics[0]!.subscriptions;
    expect(subscription).to.deep.include({ name: 'subscription.1', lockMs: 30_000, deliveriesMax: 5, forwardTo: 'queue.1', sessions: true });
    expect(subscription!.rules[0]!.filter).to.deep.include({ kind: 'correlation', contentType: 'application/text', label: 'subject1', properties: { prop: 'value', number: 1 } });
    expect(subscription!.rules[1]).to.deep.equal({ name: 'two', filter: { kind: 'sql', expression: 'number > 1' }, action: 'SET a = 1' });
  });

  it('reads the one of Event Hubs, where the number of partitions is a text', () => {
    expect(read(eventHubs).hubs).to.deep.equal([{ ...hubDefaults, name: 'eh1', partitions: 2, groups: ['cg1'] }]);
  });

  it('reads both in one file', () => {
    const both = read({ UserConfig: { ...serviceBus.UserConfig, ...eventHubs.UserConfig } });
    expect([both.queues.length, both.topics.length, both.hubs.length]).to.deep.equal([2, 1, 1]);
  });

  it('knows nothing that it does not do: it names what it passes over', () => {
    const { ignored } = readConfig(JSON.stringify({ Version: 1, UserConfig: { Namespaces: [{ Queues: [{ Name: 'q', Properties: { LockDuraton: 'PT1S' }, Colour: 'red' }] }] } }));
    expect([...ignored].sort()).to.deep.equal(['/UserConfig/Namespaces/0/Queues/0/Colour', '/UserConfig/Namespaces/0/Queues/0/Properties/LockDuraton', '/Version']);
  });

  it('takes the defaults of the service where nothing is said', () => {
    expect(read(queueWith({})).queues[0]).to.deep.include({ lockMs: minute, deliveriesMax: 10, ttlMs: undefined, sessions: false, duplicatesMs: undefined });
  });

  it('looks for duplicates only where that is asked for', () => {
    expect(read(queueWith({ DuplicateDetectionHistoryTimeWindow: 'PT20S' })).queues[0]!.duplicatesMs).to.equal(undefined);
    expect(read(queueWith({ RequiresDuplicateDetection: true })).queues[0]!.duplicatesMs).to.equal(10 * minute);
  });

  it('takes the longest duration of .NET for: without end', () => {
    expect(read(queueWith({ DefaultMessageTimeToLive: 'P10675199DT2H48M5.4775807S' })).queues[0]!.ttlMs).to.equal(undefined);
  });

  const wrong: [string, object, string][] = [
    ['a lock of more than five minutes', { LockDuration: 'PT6M' }, 'LockDuration'],
    ['a duration that is none', { LockDuration: 'one minute' }, 'LockDuration'],
    ['a duration that is a number', { DefaultMessageTimeToLive: 5 }, 'DefaultMessageTimeToLive'],
    ['a maximum of no deliveries', { MaxDeliveryCount: 0 }, 'MaxDeliveryCount'],
    ['a maximum that is broken', { MaxDeliveryCount: 1.5 }, 'MaxDeliveryCount'],
    ['a yes that is a text', { RequiresSession: 'true' }, 'RequiresSession'],
    ['a target that is no text', { ForwardTo: 7 }, 'ForwardTo'],
    ['properties that are a list', [], 'Properties'],
  ];
  for (const [what, properties, key] of wrong) {
    it(`refuses ${what}, and says where`, () => {
      expect(complaintsOf(() => read(queueWith(properties))).join()).to.contain(`/UserConfig/Namespaces/0/Queues/0/Properties${key === 'Properties' ? '' : `/${key}`} must be`);
    });
  }

  it('says all that is wrong at once', () => {
    expect(complaintsOf(() => read(queueWith({ LockDuration: 'x', MaxDeliveryCount: -1, RequiresSession: 1 })))).to.have.length(3);
  });

  it('refuses what is not JSON, no object, or without namespaces', () => {
    for (const text of ['', '{', '[]', '"x"', 'null', '{}', '{"UserConfig":{}}', '{"UserConfig":{"Namespaces":{}}}', '{"UserConfig":{"Namespaces":[null]}}']) {
      expect(complaintsOf(() => readConfig(text)), text).to.not.deep.equal([]);
    }
  });

  it('refuses an entity without a name, and a name that the service would not take', () => {
    for (const Name of [undefined, '', 7, '-x', 'a b', 'x/', 'ä', 'x'.repeat(261), '$cbs']) {
      expect(complaintsOf(() => read({ UserConfig: { Namespaces: [{ Queues: [{ Name }] }] } })), String(Name)).to.not.deep.equal([]);
    }
  });

  it('refuses a name that is used for a queue and for a hub, whatever its case', () => {
    const config = { UserConfig: { Namespaces: [{ Queues: [{ Name: 'orders' }] }], NamespaceConfig: [{ Entities: [{ Name: 'Orders', PartitionCount: 1 }] }] } };
    expect(complaintsOf(() => read(config))).to.deep.equal(['/hubs/Orders is used for a queue and a hub']);
  });

  it('refuses a queue that forwards to nowhere, or to a hub', () => {
    expect(complaintsOf(() => read(queueWith({ ForwardTo: 'nowhere' }))).join()).to.contain('nowhere');
    const hub = { ...hubDefaults, name: 'h' };
    expect(complaintsOf(() => checkTopology({ queues: [{ ...queueDefaults, name: 'q', forwardDeadTo: 'h' }], topics: [], hubs: [hub] })).join()).to.contain('neither a queue nor a topic');
  });

  it('refuses to forward in a circle, or over more than four entities', () => {
    const chain = (...names: string[]): Topology => ({ queues: names.slice(0, -1).map((name, i) => ({ ...queueDefaults, name, forwardTo: names[i + 1]! })), topics: [], hubs: [] });
    const ended = (topology: Topology): Topology => ({ ...topology, queues: [...topology.queues, { ...queueDefaults, name: 'end' }] });
    expect(complaintsOf(() => checkTopology(chain('a', 'a')))).to.not.deep.equal([]);
    expect(complaintsOf(() => checkTopology(chain('a', 'b', 'A'))).join()).to.contain('in a circle: a → b → a');
    expect(complaintsOf(() => checkTopology(ended(chain('a', 'b', 'c', 'd', 'end'))))).to.deep.equal([]);
    expect(complaintsOf(() => checkTopology(ended(chain('a', 'b', 'c', 'd', 'e', 'end'))))).to.not.deep.equal([]);
  });

  it('refuses rules of a kind that is not there, and SQL without an expression', () => {
    const rule = (properties: object): object => ({ UserConfig: { Namespaces: [{ Topics: [{ Name: 't', Subscriptions: [{ Name: 's', Rules: [{ Name: 'r', Properties: properties }] }] }] }] } });
    expect(complaintsOf(() => read(rule({ FilterType: 'Magic' }))).join()).to.contain('FilterType must be Sql or Correlation');
    expect(complaintsOf(() => read(rule({ FilterType: 'Sql' }))).join()).to.contain('SqlExpression must be a text');
  });

  it('reads durations of ISO 8601', () => {
    expect(['PT1M', 'PT0.5S', 'P1D', 'P1DT1H1M1S', 'PT90M'].map(durationOf)).to.deep.equal([60_000, 500, 86_400_000, 90_061_000, 5_400_000]);
    for (const text of ['', 'P', 'PT', 'P1DT', '1M', 'PT1', 'PT-1S', 'P1M', 'P1Y', 'PT1M ']) expect(durationOf(text), text).to.equal(undefined);
  });

  it('has by default what the flow of the shop needs', async () => {
    const topology = await topologyOfFlow();
    checkTopology(topology);
    for (const { kind, channel, service } of subscriptions) {
      if (kind === 'queue') expect(topology.queues.map(({ name }) => name)).to.contain(channel);
      else expect(topology.hubs.find(({ name }) => name === channel)?.groups).to.contain(service);
    }
  });

  it('does not start with a topology that is refused, and leaves no port open', async () => {
    const topology = { queues: [{ ...queueDefaults, name: 'x' }], topics: [], hubs: [{ ...hubDefaults, name: 'X' }] };
    const error = await startEmulator({ port: 0, topology }).then(() => undefined, (thrown: unknown) => thrown);
    expect(error).to.be.instanceOf(Invalid);
  });
});
