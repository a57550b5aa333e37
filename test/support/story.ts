import { expect } from 'chai';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startLocal, type Local } from '../../handlers/local.ts';
import { parseSettings } from '../../handlers/settings.ts';
import { anna, basket, client, eventually, type Client } from './client.ts';

/** THE STORY: what the owner of a shop wants of it, told by its customers and its people. */

export const titleOf = (adapters: string): string => `The story (${adapters})`;

export interface Telling {
  /** Settings, asked for when the story begins. */
  readonly more?: () => Promise<Record<string, string>>;
  /** What becomes of orders, and nothing else. */
  readonly only?: 'orders';
}

/** Over HTTP, with everything in between for real: queues, streams, letters, and a carrier that calls back. */
export function tellStory(adapters: string, { more = () => Promise.resolve({}), only }: Telling = {}): void {
  describe(titleOf(adapters), () => {
    let folder: string;
    let shop: Local;
    let api: Client;

    const open = async (env: Record<string, string>): Promise<void> => {
      shop = await startLocal(
        parseSettings({
          PORT: '0', DATA_DIR: folder, ADAPTERS: adapters, ADMIN_TOKEN: 'a-token-for-the-story', LOG_LEVEL: 'error', SAMPLE_CATALOGUE: 'off', RATE_LIMIT: 'off',
          DEMO_CARRIER_DELIVERS_AFTER_SECONDS: '0.3', WEBSITE_POLL_SECONDS: '0.1', ...env,
        }),
      );
      api = client(shop.url, shop.adminToken);
    };

    before(async () => {
      folder = await mkdtemp(join(tmpdir(), 'anyport-'));
      await open(await more());
      for (const [sku, name, pence] of [['MUG', 'Blue mug', 495], ['LAMP', 'Desk lamp', 2999], ['BELL', 'Brass bell', 1250]] as const) {
        expect((await api.adminPut(`/api/products/${sku}`, { name, description: '', price: { amount: pence, currency: 'GBP' } })).status).to.equal(201);
      }
    });
    after(async () => {
      await shop.stop();
      await rm(folder, { recursive: true });
    });

    const receive = (sku: string, quantity: number) => api.adminPost(`/api/inventory/${sku}/receipts`, { quantity });
    const mailsOf = async (orderId: string): Promise<string[]> =>
      ((await api.adminGet(`/api/mails?orderId=${orderId}`)).body.items as { milestone: string; state: string }[]).map(({ milestone, state }) => `${milestone} ${state}`).sort();

    it('confirms, reserves, ships and delivers an order, with a letter at each milestone', async () => {
      await receive('MUG', 10);
      const placed = await api.post('/api/orders', basket(['MUG', 2], ['MUG', 1]));
      expect(placed.status).to.equal(201);
      expect(placed.headers.get('location')).to.equal(`/api/orders/${placed.body.id}`);
      expect(placed.body.lines).to.deep.equal([{ sku: 'MUG', name: 'Blue mug', quantity: 3, unitPrice: 495, amount: 1485 }]);
      expect(placed.body.total).to.deep.equal({ amount: 1485, currency: 'GBP' });

      const order = await api.until(placed.body.id, 'Delivered');
      expect(order.history.map(({ event }) => event)).to.deep.equal(['OrderPlaced', 'InventoryReserved', 'OrderFulfillment', 'OrderDelivered']);
      expect(order.shipments).to.have.length(1);
      expect(order.shipments[0]).to.include({ carrier: 'demo', status: 'Delivered' });
      await eventually(async () => expect(await mailsOf(order.id)).to.deep.equal(['confirmation sent', 'delivered sent', 'shipped sent']));
      await eventually(async () => expect((await api.adminGet('/api/inventory/MUG')).body).to.deep.equal({ sku: 'MUG', received: 10, available: 7, reserved: 0, shipped: 3 }));
    });

    it('tells the customer of a backorder, and ships it when stock arrives', async () => {
      const { body: order } = await api.post('/api/orders', basket(['LAMP', 2], ['MUG', 1]));
      await api.until(order.id, 'Backordered');
      await eventually(async () => expect(await mailsOf(order.id)).to.deep.equal(['backorder sent', 'confirmation sent']));
      expect((await api.adminGet('/api/inventory/MUG')).body.reserved, 'a waiting order holds nothing').to.equal(0);
      await receive('LAMP', 1);
      await receive('LAMP', 1);
      const { history } = await api.until(order.id, 'Delivered');
      expect(history.map(({ event }) => event)).to.deep.equal(['OrderPlaced', 'Backordered', 'InventoryReserved', 'OrderFulfillment', 'OrderDelivered']);
    });

    it('cancels what waits, writes the letter, and gives nothing away', async () => {
      const { body: order } = await api.post('/api/orders', basket(['LAMP', 5]));
      await api.until(order.id, 'Backordered');
      const asked = await api.post(`/api/orders/${order.id}/cancel`, undefined);
      expect(asked.status).to.equal(202);
      expect(asked.body.cancellationRequestedAt).to.be.a('string');
      await api.until(order.id, 'Cancelled');
      expect((await api.post(`/api/orders/${order.id}/cancel`, undefined)).status).to.equal(200);
      await eventually(async () => expect(await mailsOf(order.id)).to.include('cancelled sent'));
      await receive('LAMP', 5);
      await eventually(async () => expect((await api.adminGet('/api/inventory/LAMP')).body).to.include({ available: 5, reserved: 0 }));
    });

    if (only) return;

    it('refuses to cancel what has been shipped', async () => {
      const { body: order } = await api.post('/api/orders', basket(['MUG', 1]));
      await api.until(order.id, 'Delivered');
      expect((await api.post(`/api/orders/${order.id}/cancel`, undefined)).status).to.equal(409);
    });

    it('shows a product on the website only after the website has retrieved it', async () => {
      await api.adminPut('/api/products/NEW', { name: 'New thing', description: 'Just in', price: { amount: 100, currency: 'GBP' } });
      await eventually(async () => expect((await api.get('/')).body).to.include('New thing'));
      await eventually(async () => expect((await api.get('/products/NEW')).body).to.include('Just in'));
    });

    it('follows the stock status from in stock over low to out of stock', async () => {
      await receive('BELL', 12);
      const stock = async (): Promise<string> => (await api.get('/api/products/BELL')).body.stock as string;
      await eventually(async () => expect(await stock()).to.equal('InStock'));
      await api.post('/api/orders', basket(['BELL', 3]));
      await eventually(async () => expect(await stock()).to.equal('Low'));
      await api.post('/api/orders', basket(['BELL', 9]));
      await eventually(async () => expect(await stock()).to.equal('OutOfStock'));
    });

    it('answers the same request under one Idempotency-Key with the same order, and another one with 422', async () => {
      const key = { 'idempotency-key': '"8e03978e-40d5-43dd-bc93-6894a57f9324"' };
      const first = await api.post('/api/orders', basket(['BELL', 1]), key);
      await api.until(first.body.id, 'Backordered');
      const again = await api.post('/api/orders', basket(['BELL', 1]), key);
      expect(again.status).to.equal(201);
      expect(again.body).to.deep.equal(first.body);
      expect((await api.post('/api/orders', basket(['BELL', 2]), key)).status).to.equal(422);
    });

    it('counts a receipt once under one Idempotency-Key', async () => {
      const key = { 'idempotency-key': 'delivery-note-77' };
      await api.adminPut('/api/products/PEN', { name: 'Pen', price: { amount: 5, currency: 'GBP' } });
      const first = await api.adminPost('/api/inventory/PEN/receipts', { quantity: 5 }, key);
      expect(first.status).to.equal(201);
      const again = await api.adminPost('/api/inventory/PEN/receipts', { quantity: 5 }, key);
      expect(again.body).to.deep.equal(first.body);
      expect((await api.adminPost('/api/inventory/PEN/receipts', { quantity: 6 }, key)).status).to.equal(422);
      expect((await api.adminGet('/api/inventory/PEN')).body.received).to.equal(5);
    });

    it('takes prices from Product at that moment, never from the client', async () => {
      await api.adminPut('/api/products/PEN', { name: 'Pen', price: { amount: 7, currency: 'GBP' } });
      const { body } = await api.post('/api/orders', { ...basket(['PEN', 2]), lines: [{ sku: 'PEN', quantity: 2, unitPrice: 1 }], total: { amount: 1, currency: 'GBP' } });
      expect(body.total.amount).to.equal(14);
    });

    it('refuses what cannot be ordered, and says where', async () => {
      const unknown = await api.post('/api/orders', basket(['MUG', 1], ['NOPE', 1]));
      expect(unknown.status).to.equal(422);
      expect(unknown.body.errors[0].pointer).to.equal('/lines/1/sku');
      await api.adminPut('/api/products/YEN', { name: 'Fan', price: { amount: 300, currency: 'JPY' } });
      const mixed = await api.post('/api/orders', basket(['MUG', 1], ['YEN', 1]));
      expect([mixed.status, mixed.body.errors[0].pointer]).to.deep.equal([422, '/lines/1/sku']);
      const shape = await api.post('/api/orders', { customer: anna });
      expect(shape.status).to.equal(400);
      expect(shape.body.errors.map(({ pointer }: { pointer: string }) => pointer)).to.include.members(['/address', '/lines']);
    });

    it('refuses admin doors without the token', async () => {
      expect((await api.get('/api/orders')).status).to.equal(401);
      expect((await api.call('GET', '/api/orders', undefined, { authorization: 'Bearer wrong' })).status).to.equal(401);
      const list = await api.adminGet('/api/orders?limit=2&status=Delivered');
      expect(list.body.items).to.have.length(2);
      expect(list.body.next).to.be.a('string');
    });
  });
}
