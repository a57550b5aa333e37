import { expect } from 'chai';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startLocal, type Local } from '../handlers/local.ts';
import { parseSettings } from '../handlers/settings.ts';
import { basket, client, type Client } from './support/client.ts';

/** What docs/operations.md says of backups on one machine: a copy of the folder of a shop that has been stopped is a shop. */
describe('A copy of a shop', () => {
  const place = mkdtempSync(join(tmpdir(), 'anyport-backup-'));
  after(() => rmSync(place, { recursive: true }));

  const open = async (folder: string): Promise<{ readonly shop: Local; readonly api: Client }> => {
    const shop = await startLocal(
      parseSettings({ PORT: '0', DATA_DIR: join(place, folder), SAMPLE_CATALOGUE: 'off', LOG_LEVEL: 'error', RATE_LIMIT: 'off', DEMO_CARRIER_DELIVERS_AFTER_SECONDS: '0.2', ADMIN_TOKEN: 'a-token-for-the-backup' }),
    );
    return { shop, api: client(shop.url, shop.adminToken) };
  };

  it('goes on where it was, and all its books agree, whatever has become of the first one', async () => {
    const { shop, api } = await open('first');
    await api.adminPut('/api/products/MUG', { name: 'Blue mug', price: { amount: 495, currency: 'GBP' } });
    await api.adminPost('/api/inventory/MUG/receipts', { quantity: 10 });
    const { body: delivered } = await api.post('/api/orders', basket(['MUG', 2]));
    await api.until(delivered.id, 'Delivered');
    const { body: waiting } = await api.post('/api/orders', basket(['MUG', 20]));
    await api.until(waiting.id, 'Backordered');
    const { body: behind } = await api.post('/api/orders', basket(['MUG', 1]));
    await shop.stop();
    cpSync(join(place, 'first'), join(place, 'second'), { recursive: true });
    rmSync(join(place, 'first'), { recursive: true });

    const again = await open('second');
    try {
      expect((await again.api.get(`/api/orders/${delivered.id}`)).body.status).to.equal('Delivered');
      await again.api.adminPost('/api/inventory/MUG/receipts', { quantity: 15 });
      for (const { id } of [waiting, behind]) await again.api.until(id, 'Delivered');
      expect((await again.api.adminGet('/api/inventory/MUG')).body).to.deep.equal({ sku: 'MUG', received: 25, available: 2, reserved: 0, shipped: 23 });
      const { body: audit } = await again.api.adminGet('/api/audit');
      expect(audit).to.deep.include({ faults: [], dead: 0, parked: 0 });
    } finally {
      await again.shop.stop();
    }
  });
});
