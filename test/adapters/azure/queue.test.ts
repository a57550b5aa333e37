import { ServiceBusClient, type ServiceBusMessage } from '@azure/service-bus';
import { expect } from 'chai';
import { createServer } from 'node:net';
import { openAzureQueue, type AzureQueue } from '../../../adapters/azure/index.ts';
import { queueDefaults, type Topology } from '../../../emulator/config.ts';
import { startEmulator, type Emulator } from '../../../emulator/index.ts';
import { openQueue, type PortErrorKind, type Queue, type Received } from '../../../ports/index.ts';
import { idsOf, said, saidOfBytes, take, takeOne, expectNone, refusal } from '../../conformance/family.ts';
import { createLeapClock, until, type LeapClock } from '../../support/leap.ts';

// Through the real SDK. What the broker does is written from https://learn.microsoft.com/azure/service-bus-messaging/message-transfers-locks-settlement,
// .../service-bus-dead-letter-queues, .../message-sequencing, .../duplicate-detection and .../service-bus-messaging-exceptions.

const lock = 30_000;
const topology: Topology = {
  queues: [
    { ...queueDefaults, name: 'work', lockMs: lock, deliveriesMax: 100 },
    { ...queueDefaults, name: 'strict', lockMs: lock, deliveriesMax: 2 },
    { ...queueDefaults, name: 'expiring', lockMs: lock, ttlMs: 60_000, deadLetterExpired: true },
    { ...queueDefaults, name: 'brief', lockMs: 1_000 },
    { ...queueDefaults, name: 'once', lockMs: lock, duplicatesMs: 600_000 },
  ],
  topics: [],
  hubs: [],
};

describe('Azure: queues', () => {
  let clock: LeapClock;
  let emulator: Emulator;
  const drivers: AzureQueue[] = [];
  let driver: AzureQueue;
  let queue: Queue;
  let stranger: ServiceBusClient;

  async function opened(connectionString = emulator.connectionString, patienceSeconds = 1): Promise<AzureQueue> {
    const another = await openAzureQueue({ connectionString, clock, patienceSeconds });
    drivers.push(another);
    return another;
  }
  const plant = (name: string, ...messages: ServiceBusMessage[]): Promise<void> => stranger.createSender(name).sendMessages(messages);
  const ids = (count: number): string[] => Array.from({ length: count }, (_, n) => `m${String(n).padStart(3, '0')}`);

  /** Takes all there are, done or not, until a look brings nothing. */
  async function rest(name: string): Promise<Received[]> {
    const received: Received[] = [];
    for (let part; (part = await queue.receive(name, { max: 256, waitSeconds: 0 })).length > 0; ) received.push(...part);
    return received;
  }

  beforeEach(async () => {
    clock = createLeapClock();
    emulator = await startEmulator({ port: 0, topology, clock });
    driver = await opened();
    queue = openQueue(driver);
    stranger = new ServiceBusClient(emulator.connectionString);
  });
  afterEach(async () => {
    await Promise.all([...drivers.splice(0).map((each) => each.close()), stranger.close()]);
    await emulator.close();
  });

  describe('what is sent', () => {
    it('is an event in binary mode that another program reads without us', async () => {
      await queue.send('work', [said('m1', { correlationid: 'c', traceparent: '00-1-2-01' })], { attempts: 3 });
      const [found] = await stranger.createReceiver('work').receiveMessages(1, { maxWaitTimeInMs: 1_000 });
      expect(found).to.include({ messageId: 'm1#3', subject: 'Happened', correlationId: 'c', contentType: 'application/json; charset=utf-8' });
      expect(found!.body).to.deep.equal({ id: 'm1' });
      expect(found!.applicationProperties).to.include({ cloudEvents_id: 'm1', cloudEvents_type: 'Happened', traceparent: '00-1-2-01', 'Diagnostic-Id': '00-1-2-01', attempts: 3 });
    });

    it('is not swallowed when it is a copy, even where somebody has the broker look for duplicates', async () => {
      await queue.send('once', [said('m1')]);
      for (const attempts of [1, 2, 3]) {
        const received = await takeOne(queue, 'once');
        expect(received.attempts).to.equal(attempts);
        await queue.retry(received, { delaySeconds: 0, blame: true });
      }
    });
  });

  describe('strangers', () => {
    it('may send any body and any property: it is handed over, settled, and does no harm to its neighbours', async () => {
      const circle = 'x'.repeat(100_000);
      await plant('work', { body: 'text' }, { body: 7 }, { body: null }, { body: { specversion: '1.0' } }, { body: Buffer.from([0xff, 0xfe, 0]) }, { body: circle });
      await plant('work', { body: Buffer.from('1'), applicationProperties: { cloudEvents_id: 7, cloudEvents_specversion: '1.0', attempts: 'many' } });
      await queue.send('work', [said('m1')]);
      const received = await take(queue, 'work', 8);
      expect(idsOf(received).sort()).to.deep.equal(['m1', ...Array<string>(7).fill('malformed')]);
      for (const each of received) {
        expect(each.attempts).to.equal(1);
        await queue.done(each);
      }
      await clock.leap(lock + 1_000);
      await expectNone(queue, 'work');
    });

    it('may count the receipts of earlier copies as they like: a receipt is at least the first', async () => {
      for (const attempts of [-5, 0.5, true, 'x', 4]) await plant('work', { body: Buffer.from(JSON.stringify(said(String(attempts)))), applicationProperties: { attempts } });
      const received = await take(queue, 'work', 5);
      expect(Object.fromEntries(idsOf(received).map((id, n) => [id, received[n]!.attempts]))).to.deep.equal({ '-5': 1, '0.5': 1, true: 2, x: 1, 4: 5 });
    });
  });

  describe('receiving', () => {
    it('hands a message over as soon as it is there, though more were asked for', async () => {
      await takeOneOf(queue);
      for (let round = 0; round < 3; round++) {
        const waiting = queue.receive('work', { max: 100, waitSeconds: 20 });
        await queue.send('work', [said('m1')]);
        const begun = performance.now();
        const [received] = await waiting;
        expect(performance.now() - begun, 'the SDK would wait for a second').to.be.below(500);
        await queue.done(received!);
      }
    });

    it('misses nothing when the broker takes its time to answer', async () => {
      await settled(queue);
      await queue.send('work', [said('m1')]);
      emulator.faults.delay(300);
      const received = await queue.receive('work', { max: 10, waitSeconds: 0 }); // after 200 ms the SDK gives up, and closes its link
      expect(idsOf(received)).to.deep.equal(['m1']);
      emulator.faults.clear();
      await queue.done(received[0]!);
    });

    it('asks the broker for no more than was asked of it: what nobody handles has no receipt', async () => {
      await queue.send('work', ids(10).map((id) => said(id)));
      expect(await take(queue, 'work', 1)).to.have.length(1);
      expect(emulator.entities()).to.satisfy((all: unknown) => JSON.stringify(all).includes('"locked":1'), JSON.stringify(emulator.entities()));
    });

    it('gives back what came for a receive that was ended, as if nobody had had it', async () => {
      const stop = new AbortController();
      await settled(queue);
      const waiting = queue.receive('work', { max: 5, waitSeconds: 20, signal: stop.signal });
      stop.abort();
      await queue.send('work', [said('m1')]);
      expect(await waiting).to.deep.equal([]);
      const other = openQueue(await opened());
      await until('another one has it', async () => {
        await clock.leap(100);
        const [received] = await other.receive('work', { max: 1, waitSeconds: 0 });
        if (received) expect([idsOf([received]), received.attempts]).to.deep.equal([['m1'], 1]);
        return received !== undefined;
      });
    });

    it('keeps what came for a receive that was ended for the next one', async () => {
      const stop = new AbortController();
      await settled(queue);
      const waiting = queue.receive('work', { max: 5, waitSeconds: 20, signal: stop.signal });
      stop.abort();
      await queue.send('work', [said('m1')]);
      expect(await waiting).to.deep.equal([]);
      const received = await takeOne(queue, 'work');
      expect(received.attempts).to.equal(1);
      await queue.done(received);
      await clock.leap(lock + 2_000);
      await expectNone(queue, 'work');
    });

    it('gives back what nobody has taken when it is closed', async () => {
      const stop = new AbortController();
      await settled(queue);
      const waiting = queue.receive('work', { max: 5, waitSeconds: 20, signal: stop.signal });
      stop.abort();
      await queue.send('work', [said('m1')]);
      expect(await waiting).to.deep.equal([]);
      await driver.close();
      expect(await openQueue(await opened()).receive('work', { max: 5, waitSeconds: 0 })).to.have.length(1);
      for (const call of [queue.receive('work', { max: 1, waitSeconds: 0 }), queue.send('work', [said('m2')])]) await refusal('unavailable', call);
    });
  });

  describe('locks', () => {
    it('end when they end for us, though the broker would still take what we say', async () => {
      const [received] = [await sentAndTaken('work')];
      const ahead = createLeapClock();
      const hasty = await openAzureQueue({ connectionString: emulator.connectionString, clock: ahead });
      drivers.push(hasty);
      await ahead.leap(lock + 1_000);
      await refusal('lockLost', hasty.remove(received));
      await refusal('lockLost', hasty.renew(received));
      await queue.done(received);
    });

    it('are renewed by whoever handles the message, and by nobody behind his back', async () => {
      await sentAndTaken('brief');
      await until('it comes again', async () => (await queue.receive('brief', { max: 1, waitSeconds: 0 })).some(({ attempts }) => attempts === 2), 3_000);
    });
  });

  describe('faults', () => {
    it('loses nothing when the socket is dropped in the middle of a batch: it fails, and may be sent again', async () => {
      const large = ids(12).map((id) => saidOfBytes(id, 150_000));
      const sending = queue.send('work', large).then(() => 'sent', (error: unknown) => error);
      setTimeout(() => emulator.faults.drop(), 5);
      const outcome = await sending;
      if (outcome !== 'sent') {
        expect(outcome).to.include({ kind: 'unavailable' });
        await queue.send('work', large);
      }
      expect([...new Set(idsOf(await rest('work')))].sort()).to.deep.equal(ids(12));
    });

    it('fails a receive whose socket is dropped, and the next one has all of it', async () => {
      await settled(queue);
      const waiting = queue.receive('work', { max: 10, waitSeconds: 20 }).then((received) => received, (error: unknown) => error);
      await until('it waits', () => emulator.faults.drop() > 0);
      expect(await waiting).to.include({ kind: 'unavailable' });
      await queue.send('work', ids(10).map((id) => said(id)));
      expect(idsOf(await take(queue, 'work', 10)).sort()).to.deep.equal(ids(10));
    });

    it('settles and renews what it holds though the socket was dropped since, also when its link is open again', async () => {
      await queue.send('work', ids(3).map((id) => said(id)));
      const [first, second, third] = await take(queue, 'work', 3);
      emulator.faults.drop();
      await until('the link is open again, under the same name', () => queue.receive('work', { max: 1, waitSeconds: 0 }).then(() => true, () => false));
      await queue.done(first!);
      await queue.done(second!);
      await queue.done(await queue.renew(third!));
      await clock.leap(lock + 1_000);
      await expectNone(queue, 'work');
    });

    it('says that a lock is lost which the broker has revoked, and the message comes again', async () => {
      await queue.send('work', [said('m1'), said('m2')]);
      const [first, second] = await take(queue, 'work', 2);
      expect(emulator.loseLocks('work')).to.equal(2);
      await refusal('lockLost', queue.done(first!));
      await refusal('lockLost', queue.renew(second!));
      await refusal('lockLost', queue.retry(second!, { delaySeconds: 60, blame: true }));
      const again = await take(queue, 'work', 2);
      expect(idsOf(again).sort()).to.deep.equal(['m1', 'm2']);
      expect(again.map(({ attempts }) => attempts)).to.deep.equal([2, 2]);
    });

    it('says throttled when the broker is busy, and nothing was done', async () => {
      emulator.faults.throttle('work', 1);
      await refusal('throttled', queue.send('work', [said('m1')]));
      await expectNone(queue, 'work');
      emulator.faults.clear();
      const received = await sentAndTaken('work');
      emulator.faults.throttle('work', 1);
      await refusal('throttled', queue.renew(received));
      await queue.done(received);
    });

    it('says unavailable when the answer was lost, and has not said it a second time by itself', async () => {
      await settled(queue);
      emulator.faults.loseAnswers('work', 1);
      await refusal('unavailable', queue.send('work', [said('m1')]));
      expect(idsOf(await rest('work'))).to.deep.equal(['m1']);
    });

    it('has settled a message although the answer was lost: it does not come back', async () => {
      const received = await sentAndTaken('work');
      emulator.faults.loseAnswers('work', 1);
      const kinds: PortErrorKind[] = ['unavailable', 'lockLost'];
      for (const kind of kinds) await refusal(kind, queue.done(received));
      await clock.leap(lock + 1_000);
      await expectNone(queue, 'work');
    });

    it('knows that a message is settled when the answer comes after all', async () => {
      const received = await sentAndTaken('work');
      emulator.faults.delay(1_200);
      await refusal('unavailable', queue.done(received));
      emulator.faults.clear();
      await until('the broker has heard it', () => !JSON.stringify(emulator.entities()).includes('"locked":1'));
      await queue.receive('work', { max: 1, waitSeconds: 0 }); // comes behind the answer
      await refusal('lockLost', queue.done(received));
    });

    it('ends every call, though the broker takes the call and says nothing', async () => {
      const mute = createServer((socket) => void socket.on('error', () => undefined));
      await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve));
      const { port } = mute.address() as { port: number };
      const silent = openQueue(await opened(emulator.connectionString.replace(/:\d+/, `:${port}`), 0.3));
      await Promise.all([
        refusal('unavailable', silent.send('work', [said('m1')])),
        refusal('unavailable', silent.receive('work', { max: 1, waitSeconds: 0 })),
        refusal('unavailable', silent.receive('work', { max: 1, waitSeconds: 20 })),
        clock.leap(30_000),
      ]);
      mute.close();
    });
  });

  describe('the dead letters of the broker', () => {
    it('come back with all their receipts, so that the kernel buries what has come too often', async () => {
      await queue.send('strict', [said('m1')], { attempts: 18 });
      for (const attempts of [19, 20]) {
        expect((await takeOne(queue, 'strict')).attempts).to.equal(attempts);
        await clock.leap(lock + 1_000);
      }
      await expectNone(queue, 'strict');
      expect(await driver.drainDeadLetters('strict')).to.equal(1);
      const received = await takeOne(queue, 'strict');
      expect(received.message).to.deep.equal(said('m1'));
      expect(received.attempts).to.equal(21);
      await queue.done(received);
      expect(await driver.drainDeadLetters('strict')).to.equal(0);
    });

    it('come back word for word when nobody can read them, whoever has put them there', async () => {
      await plant('work', { body: Buffer.from('no event'), contentType: 'text/plain', applicationProperties: { colour: 'red' } });
      const receiver = stranger.createReceiver('work');
      const [found] = await receiver.receiveMessages(1, { maxWaitTimeInMs: 1_000 });
      await receiver.deadLetterMessage(found!, { deadLetterReason: 'by hand', deadLetterErrorDescription: 'a person' });
      expect(await driver.drainDeadLetters('work')).to.equal(1);
      const [again] = await stranger.createReceiver('work').receiveMessages(1, { maxWaitTimeInMs: 1_000 });
      expect(String(again!.body)).to.equal('no event');
      expect(again).to.include({ contentType: 'text/plain' });
      expect(again!.applicationProperties).to.include({ colour: 'red', DeadLetterReason: 'by hand' });
    });

    it('come back when their time to live was over: that was no fault of theirs', async () => {
      await queue.send('expiring', [said('m1')]);
      await clock.leap(61_000);
      await expectNone(queue, 'expiring');
      expect(await driver.drainDeadLetters('expiring')).to.equal(1);
      expect((await takeOne(queue, 'expiring')).attempts).to.equal(1);
    });

    it('are doubled and not lost when the drain ends between the copy and the removal', async () => {
      await queue.send('strict', [said('m1')]);
      for (let n = 0; n < 2; n++) {
        await takeOne(queue, 'strict');
        await clock.leap(lock + 1_000);
      }
      await expectNone(queue, 'strict');
      emulator.faults.loseAnswers('strict', 1); // of the copy: so nothing is removed
      await refusal('unavailable', driver.drainDeadLetters('strict'));
      emulator.faults.clear();
      await clock.leap(lock + 1_000);
      expect(await driver.drainDeadLetters('strict')).to.equal(1);
      expect(idsOf(await rest('strict'))).to.deep.equal(['m1', 'm1']);
    });

    it('of a queue that is not there are missing', async () => {
      await refusal('missing', driver.drainDeadLetters('nowhere'));
    });
  });

  async function sentAndTaken(name: string): Promise<Received> {
    await queue.send(name, [said('m1')]);
    return takeOne(queue, name);
  }
});

/** Opens the links, so that what follows is not about that. */
async function settled(queue: Queue): Promise<void> {
  await queue.send('work', [said('first')]);
  await takeOneOf(queue);
}

async function takeOneOf(queue: Queue): Promise<void> {
  for (const received of await queue.receive('work', { max: 1, waitSeconds: 0 })) await queue.done(received);
}
