import { EventHubConsumerClient, EventHubProducerClient, earliestEventPosition, type ReceivedEventData } from '@azure/event-hubs';
import { expect } from 'chai';
import { createServer } from 'node:net';
import { openAzureStream, type AzureStream } from '../../../adapters/azure/index.ts';
import { hubDefaults, type Topology } from '../../../emulator/config.ts';
import { startEmulator, type Emulator } from '../../../emulator/index.ts';
import { isPortError, openStream, type Batch, type Message, type Stream, type StreamEvent } from '../../../ports/index.ts';
import { idsOf, partitionWith, readAll, refusal, said, saidOfBytes } from '../../conformance/family.ts';
import { createLeapClock, until, type LeapClock } from '../../support/leap.ts';

// Through the real SDK. What the broker does is written from https://learn.microsoft.com/azure/event-hubs/event-hubs-features (partitions, offsets, retention, readers),
// .../event-hubs-quotas, .../event-processor-balance-partition-load and .../exceptions-dotnet.

const day = 86_400_000;
const topology: Topology = {
  queues: [],
  topics: [],
  hubs: [
    { ...hubDefaults, name: 'facts', partitions: 2, retentionMs: 7 * day, groups: ['one', 'two'] },
    { ...hubDefaults, name: 'single', partitions: 1, retentionMs: 7 * day },
  ],
};

describe('Azure: streams', () => {
  let clock: LeapClock;
  let emulator: Emulator;
  const drivers: AzureStream[] = [];
  let stream: Stream;
  let stranger: EventHubProducerClient;

  async function opened(connectionString = emulator.connectionString, patienceSeconds = 1): Promise<Stream> {
    const another = await openAzureStream({ connectionString, clock, patienceSeconds, consumerGroups: (name) => (name === 'facts' ? ['$Default', 'one', 'two'] : ['$Default']) });
    drivers.push(another);
    return openStream(another);
  }
  const of = (partitionkey: string, id: string, about: Partial<Message> = {}): Message => said(id, { subject: partitionkey, ...about });
  const all = async (name = 'single', partition = '0'): Promise<StreamEvent[]> => readAll(stream, name, partition);
  const read = (after: string | undefined, waitSeconds: number, from = stream): Promise<Batch> => from.read('single', '0', { max: 100, waitSeconds, ...(after === undefined ? {} : { after }) });
  const idsIn = (batch: Batch): string[] => ('gap' in batch ? ['gap'] : idsOf(batch.events));
  const names = (count: number, prefix = 'm'): string[] => Array.from({ length: count }, (_, n) => `${prefix}${n}`);

  beforeEach(async () => {
    clock = createLeapClock();
    emulator = await startEmulator({ port: 0, topology, clock });
    stream = await opened();
    stranger = new EventHubProducerClient(emulator.connectionString, 'single');
  });
  afterEach(async () => {
    await Promise.all([...drivers.splice(0).map((each) => each.close()), stranger.close()]);
    await emulator.close();
  });

  describe('what is appended', () => {
    it('is an event in binary mode, with the key as its partition key, that another program reads without us', async () => {
      await stream.append('single', [of('key|1', 'm1', { correlationid: 'c', traceparent: '00-1-2-01' })]);
      const consumer = new EventHubConsumerClient('$Default', emulator.connectionString, 'single');
      const found = await new Promise<ReceivedEventData>((resolve, reject) => {
        consumer.subscribe('0', { processEvents: async ([event]) => (event ? resolve(event) : undefined), processError: async (error) => reject(error) }, { startPosition: earliestEventPosition });
      });
      expect(found).to.include({ messageId: 'm1', correlationId: 'c', contentType: 'application/json; charset=utf-8', partitionKey: 'key|1' });
      expect(found.body).to.deep.equal({ id: 'm1' });
      expect(found.properties).to.include({ cloudEvents_id: 'm1', cloudEvents_partitionkey: 'key|1', traceparent: '00-1-2-01' });
      await consumer.close();
    });

    it('keeps its key, however long, though the broker has 128 letters for one', async () => {
      const keys = ['a', 'b'].map((letter) => 'x'.repeat(200) + letter);
      await stream.append('facts', keys.map((key) => of(key, key)));
      for (const key of keys) {
        const events = await all('facts', await partitionWith(stream, 'facts', key));
        expect(events.filter(({ partitionkey }) => partitionkey === key).map(({ message }) => message)).to.deep.equal([of(key, key)]);
      }
    });

    it('is split over several batches where one key has more than a batch holds, and keeps its order', async () => {
      const large = names(12).map((id) => saidOfBytes(id, 190_000));
      expect(await stream.append('single', large)).to.deep.equal([]);
      expect(idsOf(await all())).to.deep.equal(names(12));
    });
  });

  describe('strangers', () => {
    it('may send any body, with a key or without: it is handed over in its place, with the key that the broker knows', async () => {
      await stranger.sendBatch([{ body: Buffer.from('no event') }], { partitionKey: 'k' });
      await stranger.sendBatch([{ body: 'text' }, { body: 7 }, { body: { specversion: '1.0' } }]);
      await stranger.sendBatch([{ body: of('mine', 'm1') }], { partitionKey: 'other' });
      await stranger.sendBatch([{ body: of('mine', 'm2') }]);
      const events = await all();
      expect(idsOf(events)).to.deep.equal(['malformed', 'malformed', 'malformed', 'malformed', 'm1', 'm2']);
      expect(events.map(({ partitionkey }) => partitionkey)).to.deep.equal(['k', '', '', '', 'other', 'mine']);
      expect(events[0]!.message).to.deep.equal({ malformed: 'not JSON', raw: 'no event' });
    });
  });

  describe('reading', () => {
    it('goes on over the link of the read before it, and does not look for the position again', async () => {
      await stream.append('single', names(40).map((id) => of('a', id)));
      const before = emulator.entities().connections;
      let after: string | undefined;
      for (const expected of ['m0', 'm10', 'm20', 'm30']) {
        const batch = await stream.read('single', '0', { max: 10, waitSeconds: 5, ...(after === undefined ? {} : { after }) });
        expect(idsIn(batch)[0]).to.equal(expected);
        after = 'events' in batch ? batch.events.at(-1)!.position : undefined;
      }
      expect(emulator.entities().connections - before).to.equal(1);
    });

    it('has room for more readers than one group takes, and none of them disturbs another', async () => {
      await stream.append('facts', [of('a', 'm1')]);
      const partition = await partitionWith(stream, 'facts', 'a');
      const [{ position }] = (await all('facts', partition)) as [StreamEvent];
      const reading = Array.from({ length: 12 }, () => stream.read('facts', partition, { after: position, max: 10, waitSeconds: 20 }));
      await stream.append('facts', [of('a', 'm2')]);
      for (const batch of await Promise.all(reading)) expect(idsIn(batch)).to.deep.equal(['m2']);
    });

    it('leaves no link behind that nobody has used for a minute', async () => {
      await stream.append('single', names(3).map((id) => of('a', id)));
      for (const after of [undefined, '0', '1']) await read(after, 0);
      await clock.leap(61_000);
      await read('2', 1).catch(() => undefined);
      expect(idsIn(await read(undefined, 0))).to.deep.equal(names(3));
    });

    it('tells two processes the same, one of which ends in the middle', async () => {
      const other = await opened();
      await stream.append('single', names(20).map((id) => of('a', id)));
      const mine = await read(undefined, 5);
      const theirs = await other.read('single', '0', { max: 7, waitSeconds: 5 });
      await drivers.pop()!.close();
      expect(idsIn(theirs)).to.deep.equal(names(7));
      expect(idsIn(mine)).to.deep.equal(names(20));
      const after = 'events' in theirs ? theirs.events.at(-1)!.position : undefined;
      expect(idsIn(await read(after, 5))).to.deep.equal(names(20).slice(7));
    });
  });

  describe('retention', () => {
    it('makes a gap for a reader whose link has stood open behind what has gone', async () => {
      await stream.append('single', names(3).map((id) => of('a', id)));
      const first = await stream.read('single', '0', { max: 1, waitSeconds: 5 });
      const after = 'events' in first ? first.events[0]!.position : '';
      await drivers[0]!.close();
      stream = await opened();
      await clock.leap(8 * day);
      await stream.append('single', [of('a', 'm3')]);
      expect(idsIn(await read(after, 0))).to.deep.equal(['gap']);
      expect(idsIn(await read(after, 20))).to.deep.equal(['gap']);
      expect(idsIn(await read(undefined, 5))).to.deep.equal(['m3']);
    });

    it('makes a gap for a reader whose link came back behind what has gone meanwhile', async () => {
      const driver = await openAzureStream({ connectionString: emulator.connectionString, clock: createLeapClock(), patienceSeconds: 3 });
      drivers.push(driver);
      await stream.append('single', names(3).map((id) => of('a', id)));
      expect(await readAll(openStream(driver), 'single', '0')).to.have.length(3);
      emulator.faults.drop();
      await until('it can append', () => stream.append('single', [of('a', 'm3')]).then(() => true, () => false));
      await clock.leap(8 * day);
      await stream.append('single', [of('a', 'm4')]);
      expect(idsIn(await read('2', 5, openStream(driver)))).to.deep.equal(['gap']);
    });

    it('makes a gap for whoever waits when the hub has been made anew, and counts from the beginning', async () => {
      await stream.append('single', names(3).map((id) => of('a', id)));
      const events = await all();
      emulator.remove('hubs', 'single');
      emulator.create({ queues: [], topics: [], hubs: topology.hubs.filter(({ name }) => name === 'single') });
      await until('it is noticed', async () => {
        const batch = await read(events[2]!.position, 0).catch((error: unknown) => error);
        return !isPortError(batch) && idsIn(batch as Batch)[0] === 'gap';
      });
    });
  });

  describe('faults', () => {
    it('takes all keys but the one that the broker was too busy for, and that one later, in order', async () => {
      await stream.append('facts', [of('warm', 'up')]);
      emulator.faults.throttle('facts', 1);
      const messages = names(8).flatMap((key) => [of(key, `${key} 1`), of(key, `${key} 2`)]);
      const failures = await stream.append('facts', messages);
      emulator.faults.clear();
      expect(failures.map(({ error }) => error.kind)).to.deep.equal(['throttled', 'throttled']);
      const failed = failures.map(({ index }) => messages[index]!);
      expect(new Set(failed.map(({ partitionkey }) => partitionkey)).size).to.equal(1);
      expect(await stream.append('facts', failed)).to.deep.equal([]);
      for (const key of names(8)) {
        const events = (await all('facts', await partitionWith(stream, 'facts', key))).filter(({ partitionkey }) => partitionkey === key);
        expect(idsOf(events)).to.deep.equal([`${key} 1`, `${key} 2`]);
      }
    });

    it('says throttled when the broker is too busy to be asked', async () => {
      await stream.append('single', [of('a', 'm1')]);
      emulator.faults.throttle('', 1); // the namespace, which is asked about its hubs
      await refusal('throttled', read(undefined, 0));
      expect(idsOf(await all())).to.deep.equal(['m1']);
    });

    it('says unavailable when the answer was lost, and has not said it a second time by itself', async () => {
      await stream.append('single', [of('a', 'm1')]);
      emulator.faults.loseAnswers('single', 1);
      await refusal('unavailable', stream.append('single', [of('a', 'm2')]));
      emulator.faults.clear();
      expect(idsOf(await all())).to.deep.equal(['m1', 'm2']);
    });

    it('loses nothing when the socket is dropped in the middle of an append: it fails, and may be said again', async () => {
      const messages = names(60).map((id, n) => saidOfBytes(id, 60_000, { subject: `key ${n % 6}` }));
      setTimeout(() => emulator.faults.drop(), 8);
      const outcome: unknown = await stream.append('single', messages).catch((error: unknown) => error);
      if (isPortError(outcome)) {
        expect(outcome.kind).to.equal('unavailable');
        expect(await stream.append('single', messages)).to.deep.equal([]);
      }
      const read = idsOf(await all());
      for (let key = 0; key < 6; key++) {
        const expected = names(60).filter((_, n) => n % 6 === key);
        // Said again from the beginning, the second time completes the first: nothing is missing, and the order is that of the last time.
        expect(read.filter((id) => expected.includes(id)).slice(-expected.length)).to.deep.equal(expected);
      }
    });

    it('goes on where it was when the socket of a waiting reader is dropped', async () => {
      await stream.append('single', names(3).map((id) => of('a', id)));
      const events = await all();
      const waiting = read(events[2]!.position, 20).catch((error: unknown) => error);
      await until('it waits', () => emulator.faults.drop() > 0);
      await until('it can append', () => stream.append('single', [of('a', 'm3')]).then(() => true, () => false));
      const first = await Promise.race([waiting, clock.sleep(9_000).then(() => 'still waits')]);
      const batch = isPortError(first) ? await read(events[2]!.position, 5) : (first as Batch);
      expect(idsIn(batch)[0]).to.equal('m3');
    }).timeout(20_000);

    it('ends every call, though the broker takes the call and says nothing', async () => {
      const mute = createServer((socket) => void socket.on('error', () => undefined));
      await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve));
      const { port } = mute.address() as { port: number };
      const silent = await opened(emulator.connectionString.replace(/:\d+/, `:${port}`), 0.3);
      await Promise.all([
        refusal('unavailable', silent.append('single', [of('a', 'm1')])),
        refusal('unavailable', silent.partitions('single')),
        refusal('unavailable', read(undefined, 0, silent)),
      ]);
      mute.close();
    });

    it('fails all calls when it is closed, and ends those that wait', async () => {
      await stream.append('single', [of('a', 'm1')]);
      const waiting = read('0', 20).then((batch) => batch, (error: unknown) => error);
      await new Promise((resolve) => setTimeout(resolve, 50));
      await drivers[0]!.close();
      expect(await waiting).to.satisfy((answer: unknown) => isPortError(answer, 'unavailable') || (typeof answer === 'object' && answer !== null && 'events' in answer));
      for (const call of [read('0', 0), stream.append('single', [of('a', 'm2')]), stream.partitions('single')]) await refusal('unavailable', call);
    });
  });
});
