import { DynamoDBClient, GetItemCommand, TransactWriteItemsCommand, type TransactWriteItem } from '@aws-sdk/client-dynamodb';
import { KinesisClient, PutRecordsCommand } from '@aws-sdk/client-kinesis';
import { GetQueueUrlCommand, SQSClient, SendMessageCommand } from '@aws-sdk/client-sqs';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { randomUUID } from 'node:crypto';

/**
 * A BARE LAMBDA that takes an order, as somebody would write it who has nothing but the SDKs: looks up the products, writes the order with what it says in one transaction, passes it on, since
 * nothing can be left for after the answer, and answers. It makes the requests that nobody can do without, and checks nothing.
 */
interface Body {
  readonly lines: readonly { readonly sku: string; readonly quantity: number }[];
}
const TableName = 'bare';
const at = (endpoint: string | undefined) => ({ endpoint: endpoint!, region: 'us-east-1', credentials: { accessKeyId: 'local', secretAccessKey: 'local' }, maxAttempts: 1, requestHandler: new NodeHttpHandler() });

async function placeOrder({ body: text }: { readonly body: string }): Promise<object> {
  const body = JSON.parse(text) as Body;
  const table = new DynamoDBClient(at(process.env['AWS_DYNAMODB']));
  await Promise.all(body.lines.map(({ sku }) => table.send(new GetItemCommand({ TableName, Key: { pk: { S: 'products' }, sk: { S: sku } }, ConsistentRead: true }))));
  const id = randomUUID();
  const event = { specversion: '1.0', id: randomUUID(), type: 'OrderPlaced', source: '/order', subject: id, data: body };
  const row = (kind: string, value: object): TransactWriteItem => ({ Put: { TableName, Item: { pk: { S: 'orders' }, sk: { S: `${kind}|${id}` }, b: { S: JSON.stringify(value) } }, ConditionExpression: 'attribute_not_exists(pk)' } });
  await table.send(new TransactWriteItemsCommand({ TransactItems: [row('order', body), row('open', {}), row('outbox', event)] }));
  await Promise.all([queued(id, event), streamed(id, event)]);
  return { statusCode: 201, headers: { location: `/api/orders/${id}` }, body: JSON.stringify({ id, ...body }) };
}

async function queued(id: string, event: object): Promise<void> {
  const client = new SQSClient(at(process.env['AWS_SQS']));
  const { QueueUrl } = await client.send(new GetQueueUrlCommand({ QueueName: 'anyport-reserve-stock' }));
  await client.send(new SendMessageCommand({ QueueUrl, MessageBody: JSON.stringify({ ...event, id }) }));
}

async function streamed(id: string, event: object): Promise<void> {
  await new KinesisClient(at(process.env['AWS_KINESIS'])).send(new PutRecordsCommand({ StreamName: 'anyport-orders', Records: [{ PartitionKey: id, Data: Buffer.from(JSON.stringify(event)) }] }));
}

export const lambdas = { placeOrder };
