import { GetShardIteratorCommand, IncreaseStreamRetentionPeriodCommand, KinesisClient, ListShardsCommand, MergeShardsCommand, PutRecordCommand, SplitShardCommand, type Shard } from '@aws-sdk/client-kinesis';
import { expect } from 'chai';
import { configOf } from '../../../adapters/aws/client.ts';
import { openAwsStream, type AwsStream } from '../../../adapters/aws/index.ts';
import { positionOf } from '../../../adapters/aws/position.ts';
import { childrenOf, partNamed, rangeOf, rootsOf, type Part } from '../../../adapters/aws/shards.ts';
import { isMalformed, type Batch, type StreamEvent } from '../../../ports/index.ts';
import { refusal, said } from '../../conformance/family.ts';
import { leapAws, leapAwsPatienceMs, type LeapAws } from '../../support/leapaws.ts';
import { until, type LeapClock } from '../../support/leap.ts';
import { openProxy, type FaultyProxy } from '../../support/proxy.ts';

/** What networks, a busy service and a reshard do to a stream in Kinesis: through the real SDK. */
describe('a stream in Kinesis', () => {
  const hour = 3_600_000;
  const of = (key: string, id: string) => said(id, { subject: key });
  let peers: LeapAws;
  let clock: LeapClock;
  let proxy: FaultyProxy;
  let stream: AwsStream;
  let prefix: string;
  let client: KinesisClient;
  let worlds = 0;

  before(async function () {
    this.timeout(leapAwsPatienceMs);
    peers = await leapAws();
  });
  beforeEach(async () => {
    clock = peers.clock();
    prefix = `faults${++worlds}`;
    await peers.createStream(`${prefix}-facts`, 1);
    proxy = await openProxy({ port: Number(new URL(peers.kinesis).port) });
    stream = await open();
    client = new KinesisClient(configOf({ endpoint: peers.kinesis }));
  });
  afterEach(async () => {
    await stream.close();
    client.destroy();
    await proxy.sever();
  });

  const open = (about: { readonly paceMilliseconds?: number; readonly patienceSeconds?: number } = {}): Promise<AwsStream> => openAwsStream({ place: { endpoint: `http://127.0.0.1:${proxy.port}` }, prefix, clock, patienceSeconds: 3, ...about });
  const calls = (action: string): { readonly Records: readonly { readonly PartitionKey: string; readonly Data: string }[] }[] =>
    proxy.passed.filter(({ headers }) => headers['x-amz-target'] === `Kinesis_20131202.${action}`).map(({ body }) => JSON.parse(body) as never);
  const answer = (body: object, status = 200) => ({ do: 'answer', status, headers: { 'content-type': 'application/x-amz-json-1.1' }, body: JSON.stringify(body) }) as const;
  const refused = (name: string) => answer({ __type: name, message: 'by the test' }, 400);
  const nameOf = ({ message }: StreamEvent): string => (isMalformed(message) ? 'malformed' : message.id);
  const shards = async (): Promise<Shard[]> => (await client.send(new ListShardsCommand({ StreamName: `${prefix}-facts` }))).Shards!;
  const passing = { do: 'delay', milliseconds: 0 } as const;

  function eventsOf(batch: Batch): readonly StreamEvent[] {
    if ('gap' in batch) throw new Error('an unexpected gap');
    return batch.events;
  }

  /** Reads the partition and its children, each after its parent. */
  async function readAll(partition: string, heard: StreamEvent[] = []): Promise<StreamEvent[]> {
    for (let after: string | undefined; ; ) {
      const batch = await stream.read('facts', partition, { max: 7, waitSeconds: 0, ...(after === undefined ? {} : { after }) });
      const events = eventsOf(batch);
      heard.push(...events);
      after = events.at(-1)?.position ?? after;
      if (events.length > 0) continue;
      if ('children' in batch) for (const child of batch.children ?? []) await readAll(child, heard);
      return heard;
    }
  }
  async function all(): Promise<StreamEvent[]> {
    const heard: StreamEvent[] = [];
    for (const partition of await stream.partitions('facts')) await readAll(partition, heard);
    return heard;
  }
  const allNames = async (): Promise<string[]> => (await all()).map(nameOf);

  // ---------------------------------------------------------------- appending

  it('sends those again that were not taken, and no others', async () => {
    const keys = ['a', 'b', 'c'];
    proxy.next(answer({ FailedRecordCount: 1, Records: keys.map((key, n) => (key === 'b' ? { ErrorCode: 'ProvisionedThroughputExceededException', ErrorMessage: 'busy' } : { SequenceNumber: String(n + 1), ShardId: 'shardId-000000000000' })) }));
    expect(await stream.append('facts', keys.map((key) => of(key, `${key}1`)))).to.deep.equal([]);
    expect(calls('PutRecords').map(({ Records }) => Records.map(({ PartitionKey }) => PartitionKey))).to.deep.equal([keys, ['b']]);
    expect(await allNames()).to.deep.equal(['b1']);
  });

  it('keeps the order of a key of which one is not taken at first', async () => {
    const failed = { ErrorCode: 'ProvisionedThroughputExceededException', ErrorMessage: 'busy' };
    proxy.next(passing, answer({ FailedRecordCount: 1, Records: [failed] }));
    expect(await stream.append('facts', ['1', '2', '3'].map((id) => of('a', id)))).to.deep.equal([]);
    expect(await allNames()).to.deep.equal(['1', '2', '3']);
  });

  it('fails a tail of the key alone whose records go on not being taken', async () => {
    const failed = { ErrorCode: 'ProvisionedThroughputExceededException', ErrorMessage: 'busy' };
    const taken = { SequenceNumber: '1', ShardId: 'shardId-000000000000' };
    // a1 and b1 go out, then a2 and b2: of these a2 fails five times.
    proxy.next(passing, answer({ FailedRecordCount: 1, Records: [failed, taken] }), ...[1, 2, 3, 4].map(() => answer({ FailedRecordCount: 1, Records: [failed] })));
    const failures = await stream.append('facts', [of('a', 'a1'), of('b', 'b1'), of('a', 'a2'), of('b', 'b2'), of('a', 'a3'), of('b', 'b3')]);
    expect(failures.map(({ index, error }) => [index, error.kind])).to.deep.equal([[2, 'throttled'], [4, 'throttled']]);
    expect((await allNames()).sort()).to.deep.equal(['a1', 'b1', 'b3']); // b2 was only said to be taken
  });

  it('says unavailable when Kinesis goes on failing with a record by its own fault', async () => {
    proxy.always(answer({ FailedRecordCount: 1, Records: [{ ErrorCode: 'InternalFailure', ErrorMessage: 'oh' }] }));
    await refusal('unavailable', stream.append('facts', [of('a', '1')]));
  });

  it('says unavailable when the answer does not say what became of each record', async () => {
    proxy.next(answer({ FailedRecordCount: 0, Records: [] }));
    await refusal('unavailable', stream.append('facts', [of('a', '1')]));
  });

  it('waits out a moment in which all is too much, and says throttled of what was certainly not done', async () => {
    proxy.next(refused('ProvisionedThroughputExceededException'));
    expect(await stream.append('facts', [of('a', '1')])).to.deep.equal([]);
    proxy.always(refused('ProvisionedThroughputExceededException'));
    const failures = await stream.append('facts', [of('a', '2'), of('a', '3')]);
    expect(failures.map(({ index, error }) => [index, error.kind])).to.deep.equal([[0, 'throttled'], [1, 'throttled']]);
    proxy.always();
    expect(await allNames()).to.deep.equal(['1']);
  });

  it('says unavailable when an answer is lost after the effect, and an append repeated keeps the order', async () => {
    proxy.next(passing, { do: 'lose' });
    await refusal('unavailable', stream.append('facts', [of('a', '1'), of('a', '2'), of('a', '3')]));
    expect(await stream.append('facts', [of('a', '1'), of('a', '2'), of('a', '3')])).to.deep.equal([]);
    expect(await allNames()).to.deep.equal(['1', '2', '1', '2', '3']);
  });

  for (const fault of ['cut', 'half', 'hang', 'trickle'] as const) {
    it(`says unavailable when the line does this: ${fault}`, async () => {
      proxy.next({ do: fault });
      await refusal('unavailable', stream.append('facts', [of('a', '1')]));
    });
  }

  it('puts one record of a key into a request, and of many keys as many as fit', async () => {
    await stream.close();
    stream = await open({ patienceSeconds: 30 }); // some megabytes, on a machine that may have much else to do
    await stream.append('facts', Array.from({ length: 30 }, (_, n) => of(`key ${n % 10}`, String(n))));
    expect(calls('PutRecords').map(({ Records }) => Records.length)).to.deep.equal([10, 10, 10]);
    await stream.append('facts', Array.from({ length: 30 }, (_, n) => said(`large ${n}`, { subject: `key ${n}`, data: 'x'.repeat(190_000) })));
    for (const { Records } of calls('PutRecords')) expect(Records.reduce((bytes, { Data }) => bytes + (Data.length * 3) / 4, 0)).to.be.at.most(4 * 1_024 * 1_024);
  });

  // ---------------------------------------------------------------- reading

  const first = 'shardId-000000000000';

  it('gets another iterator for one that has expired, and misses nothing', async () => {
    await stream.append('facts', [of('a', '1')]);
    const [event] = eventsOf(await stream.read('facts', first, { max: 1, waitSeconds: 0 }));
    await stream.append('facts', [of('a', '2')]);
    proxy.next(refused('ExpiredIteratorException'));
    expect(eventsOf(await stream.read('facts', first, { max: 1, waitSeconds: 0, after: event!.position })).map(nameOf)).to.deep.equal(['2']);
    expect(calls('GetShardIterator')).to.have.length(2);
  });

  it('outlives the five minutes of an iterator while it waits', async () => {
    await stream.append('facts', [of('a', '1')]);
    const [event] = eventsOf(await stream.read('facts', first, { max: 1, waitSeconds: 0 }));
    const waiting = stream.read('facts', first, { max: 1, waitSeconds: 1_200, after: event!.position });
    await clock.leap(600_000);
    await stream.append('facts', [of('a', '2')]);
    expect(eventsOf(await waiting).map(nameOf)).to.deep.equal(['2']);
  });

  it('says so when it is throttled or cut off, and goes on from there', async () => {
    await stream.append('facts', [of('a', '1'), of('a', '2')]);
    const [event] = eventsOf(await stream.read('facts', first, { max: 1, waitSeconds: 0 }));
    const after = event!.position;
    const fresh = await open();
    proxy.next(refused('ProvisionedThroughputExceededException'));
    await refusal('throttled', fresh.read('facts', first, { max: 1, waitSeconds: 0, after }));
    proxy.next(passing, passing, { do: 'lose' });
    await refusal('unavailable', fresh.read('facts', first, { max: 1, waitSeconds: 0, after }));
    expect(eventsOf(await fresh.read('facts', first, { max: 1, waitSeconds: 0, after })).map(nameOf)).to.deep.equal(['2']);
    await fresh.close();
  });

  it('looks on while Kinesis answers nothing but says that there is more', async () => {
    await stream.append('facts', [of('a', '1')]);
    const [event] = eventsOf(await stream.read('facts', first, { max: 1, waitSeconds: 0 }));
    await stream.append('facts', [of('a', '2')]);
    const StartingSequenceNumber = event!.position.split('@')[0]!;
    const { ShardIterator } = await client.send(new GetShardIteratorCommand({ StreamName: `${prefix}-facts`, ShardId: first, ShardIteratorType: 'AFTER_SEQUENCE_NUMBER', StartingSequenceNumber }));
    proxy.next(answer({ Records: [], NextShardIterator: ShardIterator, MillisBehindLatest: 5_000 }));
    expect(eventsOf(await stream.read('facts', first, { max: 7, waitSeconds: 0, after: event!.position })).map(nameOf)).to.deep.equal(['2']);
  });

  it('takes turns at a shard, for all readers together', async () => {
    const slow = await open({ paceMilliseconds: 60 });
    const begun = performance.now();
    await Promise.all([1, 2, 3, 4, 5].map(() => slow.read('facts', first, { max: 1, waitSeconds: 0 })));
    expect(performance.now() - begun).to.be.at.least(4 * 55);
    await slow.close();
  });

  it('fetches many at a time, and hands them over as they are asked for', async () => {
    await stream.append('facts', Array.from({ length: 40 }, (_, n) => of(`key ${n}`, String(n))));
    expect(await all()).to.have.length(40);
    // The events, and that there are no more.
    expect(calls('GetRecords')).to.have.length(2);
  });

  it('hands over a record that nobody can read in its place, and blocks nothing', async () => {
    await stream.append('facts', [of('a', '1')]);
    await client.send(new PutRecordCommand({ StreamName: `${prefix}-facts`, PartitionKey: 'a', Data: Buffer.from([0xff, 0x00, 0xfe]) }));
    await stream.append('facts', [of('a', '2')]);
    const heard = await all();
    expect(heard.map(nameOf)).to.deep.equal(['1', 'malformed', '2']);
    expect(heard.map(({ partitionkey }) => partitionkey)).to.deep.equal(['a', 'a', 'a']);
  });

  // ---------------------------------------------------------------- gaps

  it('answers no gap for what is still kept because more is kept than a day', async () => {
    await client.send(new IncreaseStreamRetentionPeriodCommand({ StreamName: `${prefix}-facts`, RetentionPeriodHours: 168 }));
    await stream.append('facts', [of('a', '1'), of('a', '2')]);
    const [event] = await all();
    await clock.leap(72 * hour);
    expect(eventsOf(await stream.read('facts', first, { max: 7, waitSeconds: 0, after: event!.position })).map(nameOf)).to.deep.equal(['2']);
    await clock.leap(97 * hour);
    expect(await stream.read('facts', first, { max: 7, waitSeconds: 0, after: event!.position })).to.deep.equal({ gap: true });
  });

  it('answers a gap for a number that this shard cannot have given out, and for a time that is to come', async () => {
    await stream.append('facts', [of('a', '1')]);
    const [event] = await all();
    const [sequence, time] = event!.position.split('@') as [string, string];
    for (const after of [positionOf('1', Number(time)), positionOf(sequence, Number(time) + hour), positionOf(`9${sequence.slice(1)}`, Number(time)), `${sequence}@`, sequence, `0${event!.position}`]) {
      expect(await stream.read('facts', first, { max: 7, waitSeconds: 0, after }), after).to.deep.equal({ gap: true });
    }
    // The one that only Kinesis itself can know.
    expect(calls('GetShardIterator')).to.have.length(2);
  });

  // ---------------------------------------------------------------- reshards

  const split = async (shard: Shard): Promise<void> => {
    const before = (await shards()).length;
    const { from, to } = rangeOf(shard);
    await client.send(new SplitShardCommand({ StreamName: `${prefix}-facts`, ShardToSplit: shard.ShardId, NewStartingHashKey: String((from + to) / 2n) }));
    await until('it is split', async () => (await shards()).length === before + 2);
  };
  const merge = async (one: Shard, other: Shard): Promise<void> => {
    const before = (await shards()).length;
    await client.send(new MergeShardsCommand({ StreamName: `${prefix}-facts`, ShardToMerge: one.ShardId, AdjacentShardToMerge: other.ShardId }));
    await until('they are merged', async () => (await shards()).length === before + 1);
  };

  it('loses nothing and keeps the order of every key when shards are split and merged under load', async () => {
    const keys = Array.from({ length: 12 }, (_, n) => `key ${n}`);
    let nth = 0;
    let stop = false;
    const said: string[] = [];
    const load = (async () => {
      while (!stop) {
        const round = nth++;
        expect(await stream.append('facts', keys.map((key) => of(key, `${key}: ${round}`)))).to.deep.equal([]);
        said.push(...keys.map((key) => `${key}: ${round}`));
      }
    })();
    const more = (): Promise<void> => {
      const from = nth;
      return until('more was said', () => nth > from + 2);
    };
    await more();
    await split((await shards())[0]!);
    await more();
    const [, one, other] = await shards();
    await merge(one!, other!);
    await more();
    await split((await shards())[3]!);
    await more();
    stop = true;
    await load;
    const heard = await all();
    expect(heard.map(nameOf).sort()).to.deep.equal(said.sort());
    for (const key of keys) {
      const rounds = heard.filter(({ partitionkey }) => partitionkey === key).map((event) => Number(nameOf(event).split(': ')[1]));
      expect(rounds).to.deep.equal(Array.from({ length: nth }, (_, round) => round));
    }
    expect(await stream.partitions('facts')).to.deep.equal([first]);
  });

  it('tells of children only when all of the parent has been handed over', async () => {
    await stream.append('facts', [of('a', '1'), of('b', '2')]);
    await split((await shards())[0]!);
    const batch = await stream.read('facts', first, { max: 7, waitSeconds: 0 });
    expect(batch).not.to.have.property('children');
    const after = eventsOf(batch).at(-1)!.position;
    expect(await stream.read('facts', first, { max: 7, waitSeconds: 20, after })).to.deep.equal({ events: [], children: ['shardId-000000000001', 'shardId-000000000002'] });
    const fresh = await open();
    expect(await fresh.read('facts', first, { max: 7, waitSeconds: 20, after })).to.have.property('children');
    await fresh.close();
  });

  it('lets nobody who has read one of two merged parents read the keys of the other', async () => {
    await split((await shards())[0]!);
    const [, one, other] = await shards();
    const keys = Array.from({ length: 24 }, (_, n) => `key ${n}`);
    await stream.append('facts', keys.map((key) => of(key, `before ${key}`)));
    await merge(one!, other!);
    await stream.append('facts', keys.map((key) => of(key, `after ${key}`)));
    const left = await readAll(one!.ShardId!);
    const mine = new Set(left.filter((event) => nameOf(event).startsWith('before')).map(({ partitionkey }) => partitionkey));
    expect(mine.size).to.be.within(1, keys.length - 1);
    expect(left.map(nameOf).sort()).to.deep.equal([...mine].flatMap((key) => [`before ${key}`, `after ${key}`]).sort());
    expect([...left, ...(await readAll(other!.ShardId!))]).to.have.length(2 * keys.length);
  });

  describe('partitions made of shards', () => {
    const shard = (n: number, from: number, to: number, ...parents: number[]): Shard => ({
      ShardId: `shardId-${String(n).padStart(12, '0')}`, HashKeyRange: { StartingHashKey: String(from), EndingHashKey: String(to) }, SequenceNumberRange: { StartingSequenceNumber: '1' },
      ...(parents[0] === undefined ? {} : { ParentShardId: `shardId-${String(parents[0]).padStart(12, '0')}` }),
      ...(parents[1] === undefined ? {} : { AdjacentParentShardId: `shardId-${String(parents[1]).padStart(12, '0')}` }),
    });
    // 0 is split, its halves are merged, and what came of it is split elsewhere.
    const family = [shard(0, 0, 99), shard(1, 0, 49, 0), shard(2, 50, 99, 0), shard(3, 0, 99, 1, 2), shard(4, 0, 29, 3), shard(5, 30, 99, 3)];

    /** How often each hash is read of each shard, by somebody who follows all children. */
    function walked(shards: readonly Shard[]): Map<string, number> {
      const seen = new Map<string, number>();
      const walk = (part: Part): void => {
        for (let hash = part.range.from; hash <= part.range.to; hash++) {
          const at = `${part.shard.ShardId!} ${hash}`;
          seen.set(at, (seen.get(at) ?? 0) + 1);
        }
        childrenOf(shards, part).forEach(walk);
      };
      rootsOf(shards).forEach(walk);
      return seen;
    }

    it('read every key of every shard exactly once, whichever of the eldest are no longer kept', () => {
      for (let dropped = 0; dropped < family.length; dropped++) {
        const kept = family.slice(dropped);
        const seen = walked(kept);
        for (const each of kept) {
          const { from, to } = rangeOf(each);
          for (let hash = from; hash <= to; hash++) expect(seen.get(`${each.ShardId!} ${hash}`), `${each.ShardId!} ${hash} without the first ${dropped}`).to.equal(1);
        }
      }
    });

    it('are found again by their names, and by no others', () => {
      const [half] = childrenOf(family, partNamed(family, 'shardId-000000000001')!);
      expect(half!.name).to.equal('shardId-000000000003:0-31');
      expect(partNamed(family, half!.name)).to.deep.equal(half);
      for (const name of ['shardId-000000000009', 'shardId-000000000003:0-64', 'shardId-000000000003:31-0', 'shardId-000000000003:', 'x', '']) expect(partNamed(family, name), name).to.equal(undefined);
    });
  });
});
