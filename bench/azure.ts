import { EventHubConsumerClient, EventHubProducerClient, earliestEventPosition } from '@azure/event-hubs';
import { TableClient, type TransactionAction } from '@azure/data-tables';
import { ServiceBusClient, type ServiceBusMessage } from '@azure/service-bus';
import { openAzureQueue, openAzureStream } from '../adapters/azure/index.ts';
import { openAzureStore } from '../adapters/azure/store.ts';
import { systemClock } from '../adapters/system/index.ts';
import { startLaptop, type Laptop } from '../emulator/laptop.ts';
import { openQueue, openStore, openStream, type Message } from '../ports/index.ts';
import { atOnce, callers, many, pair, times, type Report } from './pair.ts';

const queue = 'reserve-stock';
const stream = 'orders';

/** The same fields as ours on the wire, as somebody would write them who has only this message to send. */
function fieldsOf({ data, ...attributes }: Message): { body: Buffer; contentType: string; properties: Record<string, string> } {
  const properties = Object.fromEntries(Object.entries(attributes).map(([name, value]) => [`cloudEvents_${name}`, String(value)]));
  return { body: Buffer.from(JSON.stringify(data)), contentType: 'application/json; charset=utf-8', properties };
}
/** What was sent, as somebody would read it who expects nothing else. */
function readFrom({ body, properties = {} }: { readonly body: unknown; readonly properties?: Record<string, unknown> | undefined }): object {
  const attributes = Object.fromEntries(Object.entries(properties).map(([name, value]) => [name.slice('cloudEvents_'.length), value]));
  return { ...attributes, data: JSON.parse(String(body)) as unknown };
}

export async function benchAzure(report: Report): Promise<void> {
  const laptop = await startLaptop({ broker: true, tables: true, email: false });
  try {
    await queues(laptop, report);
    await streams(laptop, report);
    await tables(laptop, report);
  } finally {
    await laptop.close();
  }
}

async function queues({ broker }: Laptop, report: Report): Promise<void> {
  const driver = await openAzureQueue({ connectionString: broker!, clock: systemClock });
  const port = openQueue(driver);
  const client = new ServiceBusClient(broker!);
  const sender = client.createSender(queue);
  const receiver = client.createReceiver(queue, { maxAutoLockRenewalDurationInMs: 0, skipParsingBodyAsJson: true });
  const messages = many(100);
  const native = (message: Message): ServiceBusMessage => {
    const { properties, ...fields } = fieldsOf(message);
    return { ...fields, messageId: message.id, subject: message.type, applicationProperties: properties };
  };
  const one = async (): Promise<void> => sender.sendMessages(native(messages[0]!));
  const batch = async (): Promise<void> => {
    const filled = await sender.createMessageBatch();
    for (const message of messages) filled.tryAddMessage(native(message));
    await sender.sendMessages(filled);
  };
  const drain = async (): Promise<void> => {
    for (let empty = 0; empty < 2; ) {
      const received = await receiver.receiveMessages(200, { maxWaitTimeInMs: 50 });
      await Promise.all(received.map((message) => receiver.completeMessage(message)));
      empty = received.length === 0 ? empty + 1 : 0;
    }
  };

  await pair(report, 'azure: queue, messages sent one by one', () => times(200, () => port.send(queue, [messages[0]!])), () => times(200, one));
  await drain();
  await pair(report, 'azure: queue, messages sent by the hundred', () => times(20, () => port.send(queue, messages)).then(() => 2_000), () => times(20, batch).then(() => 2_000));
  await drain();
  const fill = (): Promise<number> => times(10, batch);
  await pair(
    report,
    'azure: queue, messages sent, received and done',
    async () => {
      await fill();
      for (let left = 1_000; left > 0; ) {
        const received = await port.receive(queue, { max: 100, waitSeconds: 1 });
        await Promise.all(received.map((each) => port.done(each)));
        left -= received.length;
      }
      return 1_000;
    },
    async () => {
      await fill();
      for (let left = 1_000; left > 0; ) {
        // The second option is not documented; without it the SDK waits a second for more.
        const received = await receiver.receiveMessages(100, { maxWaitTimeInMs: 1_000, maxTimeAfterFirstMessageInMs: 1 } as { maxWaitTimeInMs: number });
        for (const { body, applicationProperties } of received) readFrom({ body, properties: applicationProperties });
        await Promise.all(received.map((each) => receiver.completeMessage(each)));
        left -= received.length;
      }
      return 1_000;
    },
  );
  await driver.close();
  await client.close();
}

async function streams({ broker }: Laptop, report: Report): Promise<void> {
  const driver = await openAzureStream({ connectionString: broker!, clock: systemClock });
  const port = openStream(driver);
  const producer = new EventHubProducerClient(broker!, stream);
  const messages = many(256);
  const appended = 2_560;

  await pair(
    report,
    'azure: stream, events of 256 keys appended',
    async () => {
      for (let n = 0; n < appended; n += 256) await port.append(stream, messages);
      return appended;
    },
    async () => {
      for (let n = 0; n < appended; n += 256) {
        await Promise.all(messages.map((message) => producer.sendBatch([{ ...fieldsOf(message), messageId: message.id }], { partitionKey: message.partitionkey })));
      }
      return appended;
    },
  );
  const partitions = await port.partitions(stream);
  const total = async (): Promise<number> => {
    const extents = await Promise.all(partitions.map((partition) => producer.getPartitionProperties(partition)));
    return extents.reduce((sum, { lastEnqueuedSequenceNumber, beginningSequenceNumber, isEmpty }) => sum + (isEmpty ? 0 : lastEnqueuedSequenceNumber - beginningSequenceNumber + 1), 0);
  };
  const wanted = await total();
  await pair(
    report,
    'azure: stream, all events of all partitions read',
    async () => {
      const counts = await Promise.all(
        partitions.map(async (partition) => {
          let count = 0;
          for (let after: string | undefined; ; ) {
            const found = await port.read(stream, partition, { max: 256, waitSeconds: 0, ...(after === undefined ? {} : { after }) });
            if ('gap' in found || found.events.length === 0) return count;
            count += found.events.length;
            after = found.events.at(-1)!.position;
          }
        }),
      );
      return counts.reduce((sum, count) => sum + count, 0);
    },
    async () => {
      const consumer = new EventHubConsumerClient('$Default', broker!, stream);
      let count = 0;
      await new Promise<void>((resolve, reject) => {
        const take = async (events: readonly { readonly body: unknown; readonly properties?: Record<string, unknown> }[]): Promise<void> => {
          for (const event of events) readFrom(event);
          if ((count += events.length) >= wanted) resolve();
        };
        for (const partition of partitions) {
          consumer.subscribe(partition, { processEvents: take, processError: async (error) => reject(error) }, { startPosition: earliestEventPosition, maxBatchSize: 256, prefetchCount: 512, skipParsingBodyAsJson: true });
        }
      });
      await consumer.close();
      return count;
    },
  );
  await driver.close();
  await producer.close();
}

async function tables({ tables: connectionString }: Laptop, report: Report): Promise<void> {
  const driver = await openAzureStore({ connectionString: connectionString!, table: 'ours', clock: systemClock });
  const store = openStore(driver);
  const client = TableClient.fromConnectionString(connectionString!, 'straight', { allowInsecureConnection: true });
  await client.createTable();
  const text = 'x'.repeat(280);
  const body = { text };
  await pair(
    report,
    `azure: store, commits of 3 rows, ${callers} callers`,
    () => atOnce(800, (n) => store.commit(`p~${n % 64}`, { writes: ['a', 'b', 'c'].map((part) => ({ op: 'create', key: `${part}|${n}`, body })) })),
    () => atOnce(800, (n) => client.submitTransaction(['a', 'b', 'c'].map((part): TransactionAction => ['create', { partitionKey: `p~${n % 64}`, rowKey: `${part}|${n}`, b0: JSON.stringify(body) }]))),
  );
  await store.commit('p', { writes: [{ op: 'create', key: 'one', body }] });
  await client.createEntity({ partitionKey: 'p', rowKey: 'one', b0: JSON.stringify(body) });
  await pair(report, `azure: store, rows read, ${callers} callers`, () => atOnce(1_500, () => store.get('p', 'one')), () => atOnce(1_500, () => client.getEntity('p', 'one')));
  driver.close();
}

if (import.meta.url === `file://${process.argv[1]}`) await benchAzure((name, value) => console.log(`  ${name.padEnd(70)} ${value}`));
