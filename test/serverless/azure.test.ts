import { EventHubConsumerClient, earliestEventPosition, type ReceivedEventData } from '@azure/event-hubs';
import { ServiceBusClient } from '@azure/service-bus';
import { expect } from 'chai';
import { startLaptop, type Laptop } from '../../emulator/laptop.ts';
import { bundle } from '../../serverless/bundle.ts';
import { openApp, type App } from '../../serverless/invoke.ts';
import { azuritePatienceMs } from '../support/azurite.ts';
import { anna, home } from '../support/client.ts';

/**
 * THE PACKAGE ON AZURE'S SERVICES, as far as they can be had on one machine: the packed SDKs speak to the local servers. The test is the platform: it receives with SDKs of its
 * own, in the groups of the listeners, hands over what the worker would, and completes what a function returns from.
 */
describe('the package on the services of Azure', function () {
  this.timeout(60_000);
  let laptop: Laptop;
  let app: App;

  before(async function () {
    this.timeout(azuritePatienceMs);
    laptop = await startLaptop({ broker: true, tables: true, email: true });
    const env = { ADAPTERS: 'azure', AZURE_SERVICE_BUS: laptop.broker, AZURE_EVENT_HUBS: laptop.broker, AZURE_TABLES: laptop.tables, AZURE_EMAIL: laptop.email };
    app = await openApp(await bundle(), { env: { PATH: process.env['PATH'], LOG_LEVEL: 'silent', ...env } });
  });
  after(async () => {
    await app?.close();
    await laptop?.close();
  });

  const admin = { authorization: 'Bearer for-this-machine-only' };
  async function ask<Answer>(name: string, payload: object): Promise<Answer> {
    const outcome = await app.invoke(name, payload);
    if (!outcome.returned || !outcome.response || outcome.response.status >= 300) throw new Error(`${name}: ${JSON.stringify(outcome)}`);
    return JSON.parse(outcome.response.body) as Answer;
  }

  /** Hands over what waits in the queue, one message at a time; answers how many. */
  async function work(queue: string, name: string): Promise<number> {
    const client = new ServiceBusClient(laptop.broker!);
    try {
      const receiver = client.createReceiver(queue, { skipParsingBodyAsJson: true });
      const messages = await receiver.receiveMessages(10, { maxWaitTimeInMs: 1_000 });
      for (const message of messages) {
        const { messageId, contentType, applicationProperties, deliveryCount = 0 } = message;
        const triggerMetadata = { MessageId: messageId, ContentType: contentType, ApplicationProperties: applicationProperties, DeliveryCount: deliveryCount + 1 };
        expect(await app.invoke(name, { data: String(message.body), triggerMetadata })).to.deep.equal({ returned: true });
        await receiver.completeMessage(message);
      }
      return messages.length;
    } finally {
      await client.close();
    }
  }

  /** What a hub has for a listener so far, by partition, read with an epoch as the platform reads. */
  async function read(hub: string, group: string, wanted: number): Promise<Map<string, ReceivedEventData[]>> {
    const client = new EventHubConsumerClient(group, laptop.broker!, hub);
    const found = new Map<string, ReceivedEventData[]>();
    const enough = (): boolean => [...found.values()].flat().length >= wanted;
    await new Promise<void>((resolve, reject) => {
      void client.getPartitionIds().then((partitions) => {
        for (const partition of partitions) {
          const processEvents = async (events: ReceivedEventData[]): Promise<void> => {
            found.set(partition, [...(found.get(partition) ?? []), ...events]);
            if (enough()) resolve();
          };
          client.subscribe(partition, { processEvents, processError: async (error) => reject(error) }, { startPosition: earliestEventPosition, ownerLevel: 0, skipParsingBodyAsJson: true });
        }
      }, reject);
    });
    await client.close();
    return found;
  }

  async function deliver(name: string, partition: string, events: readonly ReceivedEventData[]): Promise<void> {
    const each = <Value>(value: (event: ReceivedEventData) => Value): Value[] => events.map(value);
    const triggerMetadata = {
      PartitionContext: { PartitionId: partition }, SequenceNumberArray: each((event) => event.sequenceNumber), PartitionKeyArray: each((event) => event.partitionKey),
      PropertiesArray: each((event) => event.properties), SystemPropertiesArray: each((event) => ({ 'content-type': event.contentType })),
    };
    expect(await app.invoke(name, { data: each((event) => JSON.parse(String(event.body)) as unknown), triggerMetadata }), name).to.deep.equal({ returned: true });
  }

  it('takes orders, reserves, and hears what the platform hands over; what it passed over is read from the hub, or caught up with', async () => {
    await ask('describeProduct', { params: { sku: 'MUG' }, headers: admin, body: { name: 'Mug', description: '', price: { amount: 250, currency: 'GBP' } } });
    await ask('receiveStock', { params: { sku: 'MUG' }, headers: admin, body: { quantity: 100 } });
    const ids: string[] = [];
    for (let n = 0; n < 12; n++) ids.push((await ask<{ id: string }>('placeOrder', { body: { customer: anna, address: home, lines: [{ sku: 'MUG', quantity: 1 }] } })).id);
    let worked = 0;
    while (worked < ids.length) worked += await work('reserve-stock', 'inventoryOnReserveStock');

    // The last event alone is handed over of each partition: all before it were passed over.
    const heard = await read('inventory', 'order', ids.length + 1);
    expect([...heard.values()].some((events) => events.length > 2), 'something lies between').to.equal(true);
    for (const [partition, events] of heard) await deliver('orderOnInventory', partition, events.slice(-1));
    const statuses = async (): Promise<string[]> => Promise.all(ids.map(async (id) => (await ask<{ status: string }>('getOrder', { params: { id } })).status));
    expect(await statuses()).to.deep.equal(ids.map(() => 'Reserved'));

    // Nobody hands anything over to the others: the timer finds it.
    expect(await app.invoke('catchUp', undefined)).to.deep.equal({ returned: true });
    expect(await app.invoke('catchUp', undefined)).to.deep.equal({ returned: true });
    expect(await statuses()).to.deep.equal(ids.map(() => 'Shipped'));
    const mails = await ask<{ items: readonly { orderId: string }[] }>('listMails', { headers: admin, url: '/api/mails?limit=200' });
    expect(new Set(mails.items.map(({ orderId }) => orderId))).to.deep.equal(new Set(ids));
    expect(await app.invoke('doChores', undefined)).to.deep.equal({ returned: true });
  });
});
