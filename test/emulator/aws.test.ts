import { DynamoDBClient, GetItemCommand, PutItemCommand } from '@aws-sdk/client-dynamodb';
import { GetRecordsCommand, GetShardIteratorCommand, KinesisClient, ListShardsCommand, PutRecordCommand } from '@aws-sdk/client-kinesis';
import { SESv2Client, SendEmailCommand } from '@aws-sdk/client-sesv2';
import { ChangeMessageVisibilityCommand, DeleteMessageCommand, GetQueueAttributesCommand, GetQueueUrlCommand, ReceiveMessageCommand, SQSClient, SendMessageCommand, type Message } from '@aws-sdk/client-sqs';
import { expect } from 'chai';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { configOf } from '../../adapters/aws/client.ts';
import { startAws, type AwsOptions, type LocalAws } from '../../emulator/aws.ts';
import { isPortError } from '../../ports/index.ts';
import { until } from '../support/leap.ts';

const names = { prefix: 'shop', table: 'shop', queues: ['reserve-stock'], streams: ['orders'] };
const all = { sqs: true, kinesis: true, dynamodb: true, ses: true, names };
const none = { sqs: false, kinesis: false, dynamodb: false, ses: false, names };


describe('emulator: AWS on a laptop', () => {
  const children: ChildProcess[] = [];
  const started: LocalAws[] = [];
  let dir: string;

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'anyport-aws-'));
  });
  afterEach(async () => {
    for (const child of children.splice(0)) child.kill('SIGKILL');
    await Promise.all(started.splice(0).map((each) => each.close()));
    rmSync(dir, { recursive: true, force: true, maxRetries: 5 });
  });

  async function start(options: AwsOptions): Promise<LocalAws> {
    const local = await startAws(options);
    started.push(local);
    return local;
  }

  /** A process that starts the same, and stays until it is killed or has nothing more to do. */
  async function startElsewhere(options: AwsOptions & { readonly stay: boolean }): Promise<{ readonly child: ChildProcess; readonly said: LocalAws }> {
    const child = spawn(process.execPath, ['--import', 'tsx/esm', fileURLToPath(new URL('aws.child.ts', import.meta.url)), JSON.stringify(options)], {
      stdio: ['pipe', 'pipe', 'inherit'], env: { ...process.env, NODE_NO_WARNINGS: '1' },
    });
    children.push(child);
    const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
    return { child, said: JSON.parse(line) as LocalAws };
  }

  it('serves queues, streams, a table and letters to the SDKs of the vendor, and ends all when it is closed', async () => {
    const local = await start(all);
    await tell(local, 'one');
    expect(await told(local)).to.deep.equal({ messages: ['one'], records: ['one'], item: 'one', letters: ['one'] });
    const { Attributes } = await inQueue(local, (client, url) => client.send(new GetQueueAttributesCommand({ QueueUrl: url, AttributeNames: ['RedrivePolicy'] })));
    expect(JSON.parse(Attributes!['RedrivePolicy']!)).to.deep.equal({ deadLetterTargetArn: 'arn:aws:sqs:us-east-1:000000000000:shop-reserve-stock-dead', maxReceiveCount: 100 });
    const outside = Object.values(networkInterfaces()).flat().find((address) => address?.family === 'IPv4' && !address.internal)?.address;
    if (outside !== undefined) for (const endpoint of endpointsOf(local)) expect(await listens(endpoint, outside), `${endpoint} from outside`).to.equal(false);
    await local.close();
    for (const endpoint of endpointsOf(local)) expect(await listens(endpoint), endpoint).to.equal(false);
  }).timeout(30_000);

  it('keeps what it has acknowledged when the shop is killed, ends by itself, and lets the next one wait for that', async () => {
    const { child, said } = await startElsewhere({ ...all, dataDir: dir, stay: true });
    await tell(said, 'done');
    await receive(said, { remove: true });
    await tell(said, 'held');
    const [held] = await inQueue(said, async (client, QueueUrl) => (await client.send(new ReceiveMessageCommand({ QueueUrl, VisibilityTimeout: 600 }))).Messages!);
    await tell(said, 'one');
    await inQueue(said, (client, QueueUrl) => client.send(new SendMessageCommand({ QueueUrl, MessageBody: 'later', DelaySeconds: 600 })));
    child.kill('SIGKILL');
    const again = await start({ ...all, dataDir: dir });
    for (const endpoint of endpointsOf(said)) expect(await listens(endpoint), endpoint).to.equal(false);
    expect(await countsOf(again)).to.deep.equal({ free: 1, held: 1, delayed: 1 });
    const known = { records: ['done', 'held', 'one'], item: 'one', letters: ['done', 'held', 'one'] };
    expect(await told(again)).to.deep.equal({ messages: ['one'], ...known });
    await inQueue(again, (client, QueueUrl) => client.send(new ChangeMessageVisibilityCommand({ QueueUrl, ReceiptHandle: held!.ReceiptHandle, VisibilityTimeout: 1 })));

    // The servers themselves are killed, Java goes with them, and the next ones have the folder at once.
    process.kill(Number(readFileSync(join(dir, 'lock'), 'utf8')), 'SIGKILL');
    const third = await start({ ...all, dataDir: dir });
    for (const endpoint of endpointsOf(again)) expect(await listens(endpoint), endpoint).to.equal(false);
    // Only who asks for messages makes the server look whose time is over.
    let freed: readonly Message[] = [];
    const take = (client: SQSClient, QueueUrl: string) => client.send(new ReceiveMessageCommand({ QueueUrl, MessageSystemAttributeNames: ['ApproximateReceiveCount'] }));
    await until('the held one is free', async () => (freed = await inQueue(third, async (...at) => (await take(...at)).Messages ?? [])).length > 0, 12_000);
    expect(freed.map(({ Body, Attributes }) => [Body, Attributes])).to.deep.equal([['held', { ApproximateReceiveCount: '2' }]]);
    expect(await countsOf(third)).to.deep.equal({ free: 0, held: 1, delayed: 1 });
    expect(await told(third)).to.deep.equal({ messages: [], ...known });
  }).timeout(60_000);

  it('keeps what it has acknowledged when it is closed', async () => {
    const options = { ...none, sqs: true, kinesis: true, ses: true, dataDir: dir };
    const local = await start(options);
    await tell(local, 'one');
    await local.close();
    expect(await told(await start(options))).to.deep.equal({ messages: ['one'], records: ['one'], item: undefined, letters: ['one'] });
  }).timeout(30_000);

  it('writes anew what it keeps when that has grown to several times its worth', async () => {
    const options = { ...none, sqs: true, dataDir: dir };
    const local = await start(options);
    await tell(local, 'one');
    expect(await receive(local, { visibility: 600 })).to.deep.equal(['one']);
    const large = 'x'.repeat(1_000_000);
    for (let n = 0; n < 10; n++) {
      await tell(local, large);
      expect(await receive(local, { remove: true })).to.have.lengthOf(1);
    }
    expect(statSync(join(dir, 'sqs', 'sqs.jsonl')).size).to.be.lessThan(6_000_000);
    for (let n = 0; n < 10; n++) await tell(local, large);
    await local.close();
    expect(await countsOf(await start(options))).to.deep.equal({ free: 10, held: 1, delayed: 0 });
  }).timeout(30_000);

  it('gives a folder to one at a time, and leaves out a line that was not written to its end', async () => {
    const options = { ...none, sqs: true, dataDir: dir };
    const first = await start(options);
    await tell(first, 'one');
    let second: LocalAws | undefined;
    const waiting = start(options).then((local) => (second = local));
    // So long it takes elsewhere.
    for (let n = 0; n < 2; n++) await (await start({ ...options, dataDir: join(dir, 'other') })).close();
    expect(second).to.equal(undefined);
    await first.close();
    await (await waiting).close();
    writeFileSync(join(dir, 'sqs', 'sqs.jsonl'), '["put","shop-reserve-st', { flag: 'a' });
    expect(await receive(await start(options), {})).to.deep.equal(['one']);
  }).timeout(30_000);

  it('goes on when a client goes away in the middle of a request', async () => {
    const local = await start({ ...none, sqs: true, kinesis: true });
    for (const endpoint of endpointsOf(local)) {
      const socket = connect(Number(new URL(endpoint).port), '127.0.0.1');
      socket.write('POST / HTTP/1.1\r\nHost: any\r\nContent-Length: 1000\r\n\r\n{');
      await new Promise((resolve) => setTimeout(resolve, 100));
      socket.resetAndDestroy();
      await once(socket, 'close');
    }
    await tell(local, 'one');
    expect(await told(local)).to.include({ item: undefined }).and.to.deep.include({ messages: ['one'], records: ['one'] });
  }).timeout(20_000);

  it('does not keep a process alive that has nothing more to do', async () => {
    const { child } = await startElsewhere({ ...none, sqs: true, stay: false });
    const late = setTimeout(() => child.kill('SIGKILL'), 5_000);
    const [code] = (await once(child, 'exit')) as [number | null];
    clearTimeout(late);
    expect(code).to.equal(0);
  }).timeout(20_000);

  it('says in one line what to install where there is no Java, and starts nothing', async () => {
    const { PATH, JAVA_HOME } = process.env;
    Object.assign(process.env, { PATH: '', JAVA_HOME: '' });
    try {
      const error: unknown = await startAws({ ...all, dataDir: dir }).catch((thrown: unknown) => thrown);
      if (!isPortError(error, 'unavailable')) throw error;
      expect(error.message).to.equal('unavailable: DynamoDB on this machine needs Java, and there is none: install one (apt-get install default-jre-headless, or brew install openjdk), or set AWS_DYNAMODB to a region.');
      expect(readdirSync(dir)).to.deep.equal([]);
      await (await start({ ...none, sqs: true })).close();
    } finally {
      process.env['PATH'] = PATH;
      if (JAVA_HOME === undefined) delete process.env['JAVA_HOME'];
      else process.env['JAVA_HOME'] = JAVA_HOME;
    }
  }).timeout(20_000);

  it('says why when DynamoDB cannot start', async () => {
    mkdirSync(join(dir, 'dynamodb'));
    writeFileSync(join(dir, 'dynamodb', 'shared-local-instance.db'), 'this is no database, and whoever takes it for one is wrong'.repeat(100));
    const error: unknown = await startAws({ ...none, dynamodb: true, dataDir: dir }).catch((thrown: unknown) => thrown);
    expect(isPortError(error, 'unavailable') && error.message).to.match(/^unavailable: the local servers of AWS do not take what a shop needs: /);
  }).timeout(20_000);

  describe('are fetched', () => {
    const keeper = fileURLToPath(new URL('../../emulator/aws/', import.meta.url));
    let npm: string;

    /** A copy of the folder without what is fetched, a Java that is never asked, and an npm that brings something else after a while. */
    beforeEach(() => {
      for (const file of ['keep.mjs', 'fetch.mjs', 'dynamodb.mjs', 'package.json']) cpSync(join(keeper, file), join(dir, 'aws', file));
      cpSync(join(keeper, '../fetch.mjs'), join(dir, 'fetch.mjs'));
      writeFileSync(join(dir, 'aws', 'package-lock.json'), JSON.stringify({ packages: { '': {}, 'node_modules/fauxqs': { version: '9.9.9' } } }));
      mkdirSync(join(dir, 'jdk', 'bin'), { recursive: true });
      writeFileSync(join(dir, 'jdk', 'bin', process.platform === 'win32' ? 'java.exe' : 'java'), '');
      npm = join(dir, 'npm-cli.js');
      writeFileSync(npm, `
        const { appendFileSync, mkdirSync, writeFileSync } = require('node:fs');
        appendFileSync(${JSON.stringify(join(dir, 'asked'))}, process.argv[2] + '\\n');
        setTimeout(() => {
          if (process.argv[2] === 'pack') {
            writeFileSync('other.tgz', 'something else');
            console.log('[{"filename":"other.tgz"}]');
            return;
          }
          mkdirSync('node_modules');
          writeFileSync('node_modules/.package-lock.json', ${JSON.stringify(JSON.stringify({ packages: { 'node_modules/fauxqs': { version: '9.9.9' } } }))});
        }, 300);`);
    });

    async function fetch(java: string): Promise<{ readonly code: number | null; readonly lines: string[] }> {
      const child = spawn(process.execPath, [join(dir, 'aws', 'keep.mjs'), 'fetch'], { stdio: ['ignore', 'ignore', 'pipe'], env: { PATH: '', JAVA_HOME: java, npm_execpath: npm } });
      const lines: string[] = [];
      createInterface({ input: child.stderr }).on('line', (line) => lines.push(line));
      const [code] = (await once(child, 'close')) as [number | null];
      return { code, lines };
    }
    const asked = (): string[] => readFileSync(join(dir, 'asked'), 'utf8').trim().split('\n').sort();

    it('once, however many ask at a time; and without Java no DynamoDB, which is said', async () => {
      const found = await Promise.all([fetch(''), fetch(''), fetch('')]);
      expect(found.map(({ code }) => code)).to.deep.equal([0, 0, 0]);
      expect(asked()).to.deep.equal(['ci']);
      const lines = found.flatMap((each) => each.lines);
      expect(lines.filter((line) => line.startsWith('Fetching'))).to.deep.equal(['Fetching the local servers of SQS, Kinesis and SES (npm ci), once …']);
      expect(lines.filter((line) => line.includes('needs Java'))).to.have.lengthOf(3);
    }).timeout(20_000);

    it('never with a package in place of DynamoDB that is not the one that we know', async () => {
      const { code, lines } = await fetch(join(dir, 'jdk'));
      expect(code).to.equal(1);
      expect(lines.at(-1)).to.equal('amplify-dynamodb-simulator@2.9.30 is not the one that we know');
      expect(asked()).to.deep.equal(['ci', 'pack']);
      expect(readdirSync(join(dir, 'aws', '.cache'))).not.to.include('dynamodb');
    }).timeout(20_000);
  });
});

async function inQueue<Answer>({ sqs }: LocalAws, work: (client: SQSClient, url: string) => Promise<Answer>): Promise<Answer> {
  const client = new SQSClient(configOf({ endpoint: sqs! }));
  try {
    return await work(client, (await client.send(new GetQueueUrlCommand({ QueueName: 'shop-reserve-stock' }))).QueueUrl!);
  } finally {
    client.destroy();
  }
}

/** The next messages, which are then free again at once, or after a while, or gone. */
const receive = (local: LocalAws, { visibility = 0, remove = false }): Promise<string[]> => inQueue(local, async (client, QueueUrl) => {
  const { Messages = [] } = await client.send(new ReceiveMessageCommand({ QueueUrl, VisibilityTimeout: remove ? 30 : visibility, MaxNumberOfMessages: 10 }));
  if (remove) for (const { ReceiptHandle } of Messages) await client.send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle }));
  return Messages.map(({ Body }) => Body!);
});

async function countsOf(local: LocalAws): Promise<{ readonly free: number; readonly held: number; readonly delayed: number }> {
  const { Attributes = {} } = await inQueue(local, (client, QueueUrl) => client.send(new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ['All'] })));
  const count = (kind: '' | 'NotVisible' | 'Delayed'): number => Number(Attributes[`ApproximateNumberOfMessages${kind}`]);
  return { free: count(''), held: count('NotVisible'), delayed: count('Delayed') };
}

/** Tells the word to each of them that is there. */
async function tell(local: LocalAws, word: string): Promise<void> {
  if (local.sqs) await inQueue(local, (client, QueueUrl) => client.send(new SendMessageCommand({ QueueUrl, MessageBody: word })));
  if (local.kinesis) {
    const client = new KinesisClient(configOf({ endpoint: local.kinesis }));
    await client.send(new PutRecordCommand({ StreamName: 'shop-orders', PartitionKey: 'any', Data: Buffer.from(word) }));
    client.destroy();
  }
  if (local.dynamodb) {
    const client = new DynamoDBClient(configOf({ endpoint: local.dynamodb }));
    await client.send(new PutItemCommand({ TableName: 'shop', Item: { pk: { S: 'a' }, sk: { S: 'b' }, b: { S: word } } }));
    client.destroy();
  }
  if (local.ses) {
    const client = new SESv2Client(configOf({ endpoint: local.ses }));
    const Simple = { Subject: { Data: word }, Body: { Text: { Data: 'Thank you.' } } };
    await client.send(new SendEmailCommand({ FromEmailAddress: 'shop@anyport.invalid', Destination: { ToAddresses: ['ann@example.com'] }, Content: { Simple } }));
    client.destroy();
  }
}

/** What they have been told. */
async function told(local: LocalAws): Promise<{ readonly messages: string[]; readonly records: string[]; readonly item: string | undefined; readonly letters: string[] }> {
  const messages = local.sqs ? await receive(local, { remove: true }) : [];
  return { messages, records: await recordsOf(local), item: await itemOf(local), letters: await lettersOf(local) };
}

async function recordsOf({ kinesis }: LocalAws): Promise<string[]> {
  if (kinesis === undefined) return [];
  const client = new KinesisClient(configOf({ endpoint: kinesis }));
  const { Shards } = await client.send(new ListShardsCommand({ StreamName: 'shop-orders' }));
  expect(Shards!.length).to.be.greaterThan(1);
  const records = await Promise.all(Shards!.map(async ({ ShardId }) => {
    const { ShardIterator } = await client.send(new GetShardIteratorCommand({ StreamName: 'shop-orders', ShardId, ShardIteratorType: 'TRIM_HORIZON' }));
    return (await client.send(new GetRecordsCommand({ ShardIterator }))).Records!;
  }));
  client.destroy();
  return records.flat().map(({ Data }) => Buffer.from(Data!).toString());
}

async function itemOf({ dynamodb }: LocalAws): Promise<string | undefined> {
  if (dynamodb === undefined) return undefined;
  const client = new DynamoDBClient(configOf({ endpoint: dynamodb }));
  const { Item } = await client.send(new GetItemCommand({ TableName: 'shop', Key: { pk: { S: 'a' }, sk: { S: 'b' } }, ConsistentRead: true }));
  client.destroy();
  return Item?.['b']?.S;
}

async function lettersOf({ ses }: LocalAws): Promise<string[]> {
  if (ses === undefined) return [];
  const { emails } = (await (await fetch(new URL('store', ses))).json()) as { readonly emails: readonly { readonly subject: string }[] };
  return emails.map(({ subject }) => subject);
}

const endpointsOf = ({ sqs, kinesis, dynamodb, ses }: LocalAws): string[] => [sqs, kinesis, dynamodb, ses].filter((endpoint) => endpoint !== undefined);

/** Whether anybody does there. */
const listens = (endpoint: string, host = '127.0.0.1'): Promise<boolean> => new Promise((resolve) => {
  const socket = connect(Number(new URL(endpoint).port), host).on('connect', () => {
    socket.destroy();
    resolve(true);
  }).on('error', () => resolve(false));
});
