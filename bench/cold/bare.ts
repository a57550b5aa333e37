import { app, type HttpRequest, type HttpResponseInit } from '@azure/functions';
import type { TransactionAction } from '@azure/data-tables';
import { randomUUID } from 'node:crypto';

/**
 * A BARE FUNCTION that takes an order, as somebody would write it who has nothing but the SDKs: looks up the products, writes the order with what it says in one transaction,
 * answers, and then passes on. It makes the requests that nobody can do without, and checks nothing.
 */
interface Body {
  readonly lines: readonly { readonly sku: string; readonly quantity: number }[];
}

app.http('placeOrder', { authLevel: 'anonymous', methods: ['POST'], route: 'api/orders', handler: placeOrder });

async function placeOrder(request: HttpRequest): Promise<HttpResponseInit> {
  const body = (await request.json()) as Body;
  const { TableClient } = await import('@azure/data-tables');
  const table = TableClient.fromConnectionString(process.env['AZURE_TABLES']!, 'bare', { allowInsecureConnection: true });
  await Promise.all(body.lines.map(({ sku }) => table.getEntity('products', sku)));
  const id = randomUUID();
  const event = { specversion: '1.0', id: randomUUID(), type: 'OrderPlaced', source: '/order', subject: id, data: body };
  const row = (kind: string, value: object): TransactionAction => ['create', { partitionKey: 'orders', rowKey: `${kind}|${id}`, b0: JSON.stringify(value) }];
  await table.submitTransaction([row('order', body), row('open', {}), row('outbox', event)]);
  setTimeout(() => void passOn(id, event), 100);
  return { status: 201, headers: { location: `/api/orders/${id}` }, jsonBody: { id, ...body } };
}

async function passOn(id: string, event: object): Promise<void> {
  const [{ ServiceBusClient }, { EventHubProducerClient }] = await Promise.all([import('@azure/service-bus'), import('@azure/event-hubs')]);
  await new ServiceBusClient(process.env['AZURE_SERVICE_BUS']!).createSender('reserve-stock').sendMessages({ body: event, messageId: id });
  await new EventHubProducerClient(process.env['AZURE_EVENT_HUBS']!, 'orders').sendBatch([{ body: event }], { partitionKey: id });
}
