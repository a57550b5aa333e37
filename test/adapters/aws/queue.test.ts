import { DeleteMessageCommand, GetQueueUrlCommand, SQSClient, SendMessageCommand } from '@aws-sdk/client-sqs';
import { expect } from 'chai';
import { configOf } from '../../../adapters/aws/client.ts';
import { openAwsQueue, type AwsQueue } from '../../../adapters/aws/index.ts';
import { encodedOf } from '../../../adapters/aws/message.ts';
import { Invalid, isMalformed, type Message, type Received } from '../../../ports/index.ts';
import { leapAws, leapAwsPatienceMs, type LeapAws } from '../../support/leapaws.ts';
import { until, type LeapClock } from '../../support/leap.ts';
import { openProxy, type FaultyProxy } from '../../support/proxy.ts';
import { refusal, said } from '../../conformance/family.ts';

/** What networks, a busy service and other people do to a queue in SQS: through the real SDK. */
describe('a queue in SQS', () => {
  const none = { delaySeconds: 0, attempts: 0 };
  let peers: LeapAws;
  let clock: LeapClock;
  let proxy: FaultyProxy;
  let queue: AwsQueue;
  let prefix: string;
  let client: SQSClient;
  let url: string;
  let worlds = 0;

  before(async function () {
    this.timeout(leapAwsPatienceMs);
    peers = await leapAws();
  });
  beforeEach(async () => {
    clock = peers.clock();
    prefix = `faults${++worlds}`;
    await peers.createQueue(`${prefix}-dead`);
    await peers.createQueue(`${prefix}-work`, { RedrivePolicy: JSON.stringify({ deadLetterTargetArn: `arn:aws:sqs:us-east-1:000000000000:${prefix}-dead`, maxReceiveCount: 3 }) });
    await peers.createQueue(`${prefix}-small`, { MaximumMessageSize: '1024' });
    proxy = await openProxy({ port: Number(new URL(peers.sqs).port) });
    queue = await openAwsQueue({ place: { endpoint: `http://127.0.0.1:${proxy.port}` }, prefix, clock, patienceSeconds: 3 });
    client = new SQSClient({ ...configOf({ endpoint: peers.sqs }), useQueueUrlAsEndpoint: false });
    url = (await client.send(new GetQueueUrlCommand({ QueueName: `${prefix}-work` }))).QueueUrl!;
  });
  afterEach(async () => {
    await queue.close();
    client.destroy();
    await proxy.sever();
  });

  const calls = (action: string): { readonly Entries: readonly { readonly MessageBody: string }[] }[] =>
    proxy.passed.filter(({ headers }) => headers['x-amz-target'] === `AmazonSQS.${action}`).map(({ body }) => JSON.parse(body) as never);
  const answer = (body: object, status = 200) => ({ do: 'answer', status, headers: { 'content-type': 'application/x-amz-json-1.0' }, body: JSON.stringify(body) }) as const;
  const idsOf = (received: readonly Received[]): string[] => received.map(({ message }) => (isMalformed(message) ? 'malformed' : message.id)).sort();
  const many = (count: number): Message[] => Array.from({ length: count }, (_, n) => said(`m${n}`));
  /** So that the next request is the one that a fault is meant for. */
  const known = (): Promise<Received[]> => queue.receive('work', { max: 1, waitSeconds: 0 });

  async function takeAll(name = 'work', waitSeconds = 0): Promise<Received[]> {
    const all: Received[] = [];
    for (let dry = 0; dry < 3; ) {
      const some = await queue.receive(name, { max: 256, waitSeconds });
      all.push(...some);
      dry = some.length === 0 ? dry + 1 : 0;
    }
    return all;
  }

  it('sends those of a batch again that SQS itself has failed with, and no others', async () => {
    await known();
    const messages = many(10);
    // The other nine are said to be there.
    const { createHash } = await import('node:crypto');
    const Successful = messages.flatMap((message, n) => (n === 2 ? [] : [{ Id: String(n), MessageId: `id${n}`, MD5OfMessageBody: createHash('md5').update(encodedOf(message).body).digest('hex') }]));
    proxy.next(answer({ Successful, Failed: [{ Id: '2', SenderFault: false, Code: 'InternalError' }] }));
    await queue.send('work', messages, none);
    const [first, second, ...more] = calls('SendMessageBatch');
    expect(first!.Entries).to.have.length(10);
    expect(second!.Entries.map(({ MessageBody }) => (JSON.parse(MessageBody) as Message).id)).to.deep.equal(['m2']);
    expect(more).to.deep.equal([]);
    expect(idsOf(await takeAll())).to.deep.equal(['m2']);
  });

  it('throws in the end what SQS goes on failing with, and says that it may have been taken', async () => {
    await known();
    for (let n = 0; n < 3; n++) proxy.next(answer({ Successful: [], Failed: [{ Id: '0', SenderFault: false, Code: 'InternalError' }] }));
    await refusal('unavailable', queue.send('work', [said('m1')], none));
    expect(calls('SendMessageBatch')).to.have.length(3);
  });

  it('says tooLarge for what a queue does not take, sends it no second time, and takes the rest of its batch', async () => {
    const large = said('large', { data: 'x'.repeat(2_000) });
    await refusal('tooLarge', queue.send('small', [said('a'), said('b'), large, said('c')], none));
    expect(calls('SendMessageBatch')).to.have.length(1);
    expect(idsOf(await takeAll('small'))).to.deep.equal(['a', 'b', 'c']);
  });

  it('says throttled when SQS says that it is too much, and tries nothing by itself', async () => {
    await known();
    proxy.next(answer({ __type: 'com.amazonaws.sqs#RequestThrottled', message: 'slow down' }, 400));
    await refusal('throttled', queue.send('work', [said('m1')], none));
    expect(calls('SendMessageBatch')).to.have.length(1);
    expect(await takeAll()).to.deep.equal([]);
  });

  it('says denied for credentials that have run out', async () => {
    await known();
    proxy.next(answer({ __type: 'ExpiredTokenException', message: 'expired' }, 403));
    await refusal('denied', queue.send('work', [said('m1')], none));
  });

  for (const fault of ['cut', 'half', 'hang', 'trickle'] as const) {
    it(`says unavailable when the line does this: ${fault}`, async () => {
      await known();
      proxy.next({ do: fault });
      await refusal('unavailable', queue.send('work', [said('m1')], none));
    });
  }

  it('says unavailable when the answer to a send is lost, and the message is there', async () => {
    await known();
    proxy.next({ do: 'lose' });
    await refusal('unavailable', queue.send('work', [said('m1')], none));
    expect(idsOf(await takeAll())).to.deep.equal(['m1']);
  });

  it('settles again what it could not hear to be settled', async () => {
    await queue.send('work', [said('m1')], none);
    const [received] = await takeAll();
    proxy.next({ do: 'lose' });
    await refusal('unavailable', queue.remove(received!));
    await queue.remove(received!);
    await clock.leap(31_000);
    expect(await takeAll()).to.deep.equal([]);
  });

  it('hands over later what came with an answer that was lost', async () => {
    await queue.send('work', [said('m1')], none);
    proxy.next({ do: 'lose' });
    await refusal('unavailable', known());
    expect(await takeAll()).to.deep.equal([]);
    await clock.leap(31_000);
    const [received] = await takeAll();
    expect(received).to.include({ attempts: 2 });
  });

  it('waits for an answer that takes its time', async () => {
    await queue.send('work', [said('m1')], none);
    proxy.next({ do: 'delay', milliseconds: 400 });
    expect(idsOf(await known())).to.deep.equal(['m1']);
  });

  it('says lockLost for the renewal of what somebody else has removed', async () => {
    await queue.send('work', [said('m1')], none);
    const [received] = await takeAll();
    const { message } = received!.receipt as { readonly message: { readonly ReceiptHandle: string } };
    await client.send(new DeleteMessageCommand({ QueueUrl: url, ReceiptHandle: message.ReceiptHandle }));
    await refusal('lockLost', queue.renew(received!));
    await refusal('lockLost', queue.remove(received!));
  });

  it('says lockLost in the words of SQS itself', async () => {
    await queue.send('work', [said('m1')], none);
    const [received] = await takeAll();
    const text = 'Value x for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available for visibility timeout change.';
    proxy.next(answer({ __type: 'com.amazonaws.sqs#InvalidParameterValue', message: text }, 400));
    await refusal('lockLost', queue.renew(received!));
  });

  it('takes a lock for lost before SQS does', async () => {
    await queue.send('work', [said('m1')], none);
    const [received] = await takeAll();
    await clock.leap(29_700);
    await refusal('lockLost', queue.remove(received!));
  });

  it('sends and settles by tens what is asked for at once', async () => {
    await Promise.all(many(40).map((message) => queue.send('work', [message], none)));
    expect(calls('SendMessageBatch').length).to.be.at.most(4);
    const received = await takeAll();
    expect(received).to.have.length(40);
    await Promise.all(received.map((each) => queue.remove(each)));
    expect(calls('DeleteMessageBatch').length).to.be.at.most(4);
    await clock.leap(31_000);
    expect(await takeAll()).to.deep.equal([]);
  });

  it('hands over more than ten in one receive', async () => {
    await queue.send('work', many(64), none);
    const received = await queue.receive('work', { max: 50, waitSeconds: 0 });
    expect(received).to.have.length(50);
    expect(await takeAll()).to.have.length(14);
  });

  it('puts no more into a batch than 256 KB', async () => {
    await queue.send('work', Array.from({ length: 4 }, (_, n) => said(`m${n}`, { data: 'x'.repeat(100_000) })), none);
    expect(calls('SendMessageBatch').map(({ Entries }) => Entries.length)).to.deep.equal([2, 2]);
  });

  it('carries every character that JSON can say', async () => {
    const message = said('m1', { data: '\u0000 \u001f \t \u007f \ufffe \uffff \u{1f600} \u{10ffff} \ud800' });
    await queue.send('work', [message], none);
    expect((await takeAll())[0]!.message).to.deep.equal(message);
    // SQS refuses all else than the characters of XML.
    expect(encodedOf(message).body).to.match(/^[\x09\x0a\x0d\x20-\ud7ff\ue000-\ufffd]+$/);
  });

  it('says beside the body what it is, and takes a trace from there if there is none in it', async () => {
    expect(Object.keys(encodedOf(said('m1', { traceparent: '00-1-2-01' })).attributes)).to.deep.equal(['content-type', 'cloudEvents_type', 'cloudEvents_id', 'traceparent']);
    expect(Object.keys(encodedOf(said('ü\n')).attributes)).to.deep.equal(['content-type', 'cloudEvents_type']);
    await client.send(new SendMessageCommand({ QueueUrl: url, MessageBody: JSON.stringify(said('m1')), MessageAttributes: { traceparent: { DataType: 'String', StringValue: '00-a-b-01' } } }));
    expect((await takeAll())[0]!.message).to.include({ id: 'm1', traceparent: '00-a-b-01' });
  });

  it('believes no stranger who writes nonsense where the receipts stand', async () => {
    for (const value of ['x', '9'.repeat(30), '']) {
      await client.send(new SendMessageCommand({ QueueUrl: url, MessageBody: JSON.stringify(said('m1')), ...(value ? { MessageAttributes: { attempts: { DataType: 'String', StringValue: value } } } : {}) }));
      const [received] = await takeAll();
      expect(received!.attempts).to.equal(1);
      await queue.remove(received!);
    }
  });

  it('moves back what SQS has put aside, word for word, with its receipts', async () => {
    await queue.send('work', [said('m1')], { delaySeconds: 0, attempts: 5 });
    await client.send(new SendMessageCommand({ QueueUrl: url, MessageBody: 'no message', MessageAttributes: { colour: { DataType: 'String', StringValue: 'red' } } }));
    expect(await queue.drainDeadLetters('work')).to.equal(0);
    for (let round = 0; round < 3; round++) {
      expect(await takeAll()).to.have.length(2);
      await clock.leap(31_000);
    }
    expect(await takeAll()).to.deep.equal([]);
    expect(await queue.drainDeadLetters('work')).to.equal(2);
    const received = await takeAll();
    expect(idsOf(received)).to.deep.equal(['m1', 'malformed']);
    expect(received.find(({ message }) => isMalformed(message))!.message).to.deep.include({ raw: 'no message' });
    for (const { message, attempts } of received) expect(attempts).to.be.at.least(isMalformed(message) ? 4 : 9);
    expect(await queue.drainDeadLetters('work')).to.equal(0);
  });

  it('duplicates, and never loses, what was being moved back when the answer was lost', async () => {
    await queue.send('work', [said('m1')], none);
    for (let round = 0; round < 3; round++) {
      await takeAll();
      await clock.leap(31_000);
    }
    expect(await takeAll()).to.deep.equal([]);
    // Attributes, address, receive; then the copy is sent.
    proxy.next({ do: 'delay', milliseconds: 0 }, { do: 'delay', milliseconds: 0 }, { do: 'delay', milliseconds: 0 }, { do: 'lose' });
    await refusal('unavailable', queue.drainDeadLetters('work'));
    await clock.leap(31_000);
    expect(await queue.drainDeadLetters('work')).to.equal(1);
    expect(idsOf(await takeAll())).to.deep.equal(['m1', 'm1']);
  });

  it('drains nothing of a queue that has no dead-letter queue', async () => {
    expect(await queue.drainDeadLetters('small')).to.equal(0);
    await refusal('missing', queue.drainDeadLetters('nowhere'));
  });

  async function leftBehind(): Promise<void> {
    const stop = new AbortController();
    const waiting = queue.receive('work', { max: 1, waitSeconds: 20, signal: stop.signal });
    await until('it waits', () => calls('ReceiveMessage').length > 0);
    stop.abort();
    expect(await waiting).to.deep.equal([]);
    await queue.send('work', [said('m1')], none);
    // So long it takes from there to here.
    await new Promise((resolve) => setTimeout(resolve, 100));
  }

  it('keeps for the next receive what came for one that had gone', async () => {
    await leftBehind();
    const [received] = await known();
    expect(received).to.include({ attempts: 1 });
    expect(calls('ReceiveMessage')).to.have.length(1);
    await queue.remove(received!);
  });

  it('gives back what came for one that had gone when nobody comes', async () => {
    await leftBehind();
    await clock.leap(1_100);
    await until('it is given back', () => calls('ChangeMessageVisibility').length > 0);
    expect(idsOf(await known())).to.deep.equal(['m1']);
  });

  it('fails every call once it is closed, and ends who waits', async () => {
    const waiting = queue.receive('work', { max: 1, waitSeconds: 20 });
    await until('it waits', () => calls('ReceiveMessage').length > 0);
    await queue.close();
    await refusal('unavailable', waiting);
    await refusal('unavailable', queue.send('work', [said('m1')], none));
    await refusal('unavailable', queue.receive('work', { max: 1, waitSeconds: 0 }));
  });

  it('goes to no other machine without being told a region, and to no region that cannot be', async () => {
    for (const endpoint of ['http://sqs.eu-central-1.amazonaws.com', 'http://10.0.0.1:80', 'https://127.0.0.1.example.com:1', 'http://127.0.0.1@example.com:80', '']) {
      expect(await openAwsQueue({ place: { endpoint }, prefix, clock }).catch((thrown: unknown) => thrown), endpoint).to.be.instanceOf(Invalid);
    }
    expect(await openAwsQueue({ place: { region: 'x/../y' }, prefix, clock }).catch((thrown: unknown) => thrown)).to.be.instanceOf(Invalid);
  });
});
