import { DynamoDBClient, GetItemCommand, TransactWriteItemsCommand } from '@aws-sdk/client-dynamodb';
import { GetRecordsCommand, GetShardIteratorCommand, KinesisClient, ListShardsCommand, PutRecordsCommand } from '@aws-sdk/client-kinesis';
import { DeleteMessageBatchCommand, GetQueueUrlCommand, ReceiveMessageCommand, SQSClient, SendMessageBatchCommand, SendMessageCommand } from '@aws-sdk/client-sqs';
import { configOf } from '../adapters/aws/client.ts';
import { openAwsQueue, openAwsStream } from '../adapters/aws/index.ts';
import { encodedOf } from '../adapters/aws/message.ts';
import { openAwsStore } from '../adapters/aws/store.ts';
import { systemClock } from '../adapters/system/index.ts';
import { startAws, type LocalAws } from '../emulator/aws.ts';
import { encode, openQueue, openStore, openStream, type Message } from '../ports/index.ts';
import { atOnce, callers, many, pair, times, type Report } from './pair.ts';

/** What our adapters of AWS cost, against the SDK alone; on the servers of this machine, which are not those of AWS. */
const names = { prefix: 'bench', table: 'bench', queues: ['reserve-stock'], streams: ['orders'] };
const queue = names.queues[0]!;
const stream = names.streams[0]!;
const nativeName = (name: string): string => `${names.prefix}-${name}`;

export async function benchAws(report: Report): Promise<void> {
  const local = await startAws({ sqs: true, kinesis: true, dynamodb: true, ses: false, names });
  try {
    await queues(local, report);
    await streams(local, report);
    await table(local, report);
  } finally {
    await local.close();
  }
}

async function queues({ sqs }: LocalAws, report: Report): Promise<void> {
  const place = { endpoint: sqs! };
  const driver = await openAwsQueue({ place, prefix: names.prefix, clock: systemClock });
  const port = openQueue(driver);
  const client = new SQSClient(configOf(place));
  const { QueueUrl } = await client.send(new GetQueueUrlCommand({ QueueName: nativeName(queue) }));
  const messages = many(100);
  const native = (message: Message) => {
    const { body, attributes } = encodedOf(message);
    return { MessageBody: body, MessageAttributes: attributes };
  };
  const tens = <T>(all: readonly T[]): T[][] => Array.from({ length: Math.ceil(all.length / 10) }, (_, n) => all.slice(n * 10, n * 10 + 10));
  const one = (): Promise<unknown> => client.send(new SendMessageCommand({ QueueUrl, ...native(messages[0]!) }));
  const batch = (): Promise<unknown> => Promise.all(tens(messages).map((ten) => client.send(new SendMessageBatchCommand({ QueueUrl, Entries: ten.map((message, n) => ({ Id: String(n), ...native(message) })) }))));
  const take = async (): Promise<{ readonly Body?: string; readonly ReceiptHandle?: string }[]> =>
    (await client.send(new ReceiveMessageCommand({ QueueUrl, MaxNumberOfMessages: 10, MessageAttributeNames: ['All'], MessageSystemAttributeNames: ['All'] }))).Messages ?? [];
  const done = (taken: Awaited<ReturnType<typeof take>>): Promise<unknown> =>
    client.send(new DeleteMessageBatchCommand({ QueueUrl, Entries: taken.map(({ ReceiptHandle }, n) => ({ Id: String(n), ReceiptHandle })) }));
  const drain = async (): Promise<void> => {
    for (let taken = await take(); taken.length > 0; taken = await take()) await done(taken);
  };

  await pair(report, 'aws: queue, messages sent one by one', () => times(200, () => port.send(queue, [messages[0]!])), () => times(200, one));
  await drain();
  await pair(report, 'aws: queue, messages sent by the hundred', async () => 100 * (await times(10, () => port.send(queue, messages))), async () => 100 * (await times(10, batch)));
  await drain();
  await pair(
    report,
    'aws: queue, messages sent, received and done',
    async () => {
      await times(5, batch);
      for (let left = 500; left > 0; ) {
        const received = await port.receive(queue, { max: 100, waitSeconds: 1 });
        await Promise.all(received.map((each) => port.done(each)));
        left -= received.length;
      }
      return 500;
    },
    async () => {
      await times(5, batch);
      for (let left = 500; left > 0; ) {
        // As many at once as ours asks for.
        const taken = (await Promise.all(Array.from({ length: Math.min(8, Math.ceil(left / 10)) }, take))).filter((some) => some.length > 0);
        for (const { Body } of taken.flat()) JSON.parse(Body!);
        await Promise.all(taken.map(done));
        left -= taken.flat().length;
      }
      return 500;
    },
  );
  await driver.close();
  client.destroy();
}

async function streams({ kinesis }: LocalAws, report: Report): Promise<void> {
  const place = { endpoint: kinesis! };
  const driver = await openAwsStream({ place, prefix: names.prefix, clock: systemClock });
  const port = openStream(driver);
  const client = new KinesisClient(configOf(place));
  const StreamName = nativeName(stream);
  const messages = many(256);
  await pair(
    report,
    'aws: stream, events of 256 keys appended',
    async () => 256 * (await times(8, () => port.append(stream, messages))),
    async () => 256 * (await times(8, () => client.send(new PutRecordsCommand({ StreamName, Records: messages.map((message) => ({ PartitionKey: message.partitionkey, Data: Buffer.from(encode(message)) })) })))),
  );
  const partitions = await port.partitions(stream);
  const { Shards = [] } = await client.send(new ListShardsCommand({ StreamName }));
  const sum = (counts: readonly number[]): number => counts.reduce((total, count) => total + count, 0);
  await pair(
    report,
    'aws: stream, all events of all partitions read',
    async () => sum(await Promise.all(partitions.map(async (partition) => {
      let count = 0;
      for (let after: string | undefined; ; ) {
        const found = await port.read(stream, partition, { max: 256, waitSeconds: 0, ...(after === undefined ? {} : { after }) });
        if ('gap' in found || found.events.length === 0) return count;
        count += found.events.length;
        after = found.events.at(-1)!.position;
      }
    }))),
    async () => sum(await Promise.all(Shards.map(async ({ ShardId }) => {
      let { ShardIterator } = await client.send(new GetShardIteratorCommand({ StreamName, ShardId, ShardIteratorType: 'TRIM_HORIZON' }));
      for (let count = 0; ; ) {
        const { Records = [], NextShardIterator } = await client.send(new GetRecordsCommand({ ShardIterator, Limit: 1_000 }));
        for (const { Data } of Records) JSON.parse(Buffer.from(Data!).toString());
        count += Records.length;
        if (Records.length === 0) return count;
        ShardIterator = NextShardIterator;
      }
    }))),
  );
  await driver.close();
  client.destroy();
}

async function table({ dynamodb }: LocalAws, report: Report): Promise<void> {
  const place = { endpoint: dynamodb! };
  const driver = await openAwsStore({ place, table: names.table, clock: systemClock });
  const store = openStore(driver);
  const client = new DynamoDBClient(configOf(place));
  const TableName = names.table;
  const body = { text: 'x'.repeat(280) };
  const parts = ['a', 'b', 'c'];
  const put = (pk: string, sk: string) => ({ Put: { TableName, Item: { pk: { S: pk }, sk: { S: sk }, body: { S: JSON.stringify(body) } }, ConditionExpression: 'attribute_not_exists(pk)' } });
  await pair(
    report,
    `aws: store, commits of 3 rows, ${callers} callers`,
    () => atOnce(400, (n) => store.commit(`p~${n % 64}`, { writes: parts.map((part) => ({ op: 'create', key: `${part}|${n}`, body })) })),
    () => atOnce(400, (n) => client.send(new TransactWriteItemsCommand({ TransactItems: parts.map((part) => put(`s~${n % 64}`, `${part}|${n}`)) }))),
  );
  await store.commit('p', { writes: [{ op: 'create', key: 'one', body }] });
  await client.send(new TransactWriteItemsCommand({ TransactItems: [put('s', 'one')] }));
  const get = new GetItemCommand({ TableName, Key: { pk: { S: 's' }, sk: { S: 'one' } }, ConsistentRead: true });
  await pair(report, `aws: store, rows read, ${callers} callers`, () => atOnce(1_000, () => store.get('p', 'one')), () => atOnce(1_000, () => client.send(get)));
  driver.close();
  client.destroy();
}

if (import.meta.url === `file://${process.argv[1]}`) await benchAws((name, value) => console.log(`  ${name.padEnd(70)} ${value}`));
