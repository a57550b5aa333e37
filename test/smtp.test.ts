import { expect } from 'chai';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import PostalMime, { type Email } from 'postal-mime';
import { SMTPServer } from 'smtp-server';
import { startLocal, type Local } from '../handlers/local.ts';
import { parseSettings } from '../handlers/settings.ts';
import { basket, client, eventually } from './support/client.ts';

describe('A shop with a mail server', () => {
  let folder: string;
  let shop: Local;
  let server: SMTPServer;
  const inbox: Email[] = [];

  before(async () => {
    server = new SMTPServer({
      authOptional: true,
      disabledCommands: ['STARTTLS'],
      onData(stream, _session, done) {
        const chunks: Buffer[] = [];
        stream.on('data', (chunk: Buffer) => chunks.push(chunk));
        stream.on('end', () => void PostalMime.parse(Buffer.concat(chunks)).then((mail) => (inbox.push(mail), done())));
      },
    });
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
    const { port } = server.server.address() as { port: number };
    folder = await mkdtemp(join(tmpdir(), 'anyport-'));
    shop = await startLocal(
      parseSettings({
        PORT: '0', DATA_DIR: folder, ADAPTERS: 'memory', SMTP_URL: `smtp://127.0.0.1:${port}`, SMTP_FROM: 'orders@shop.example', ADMIN_TOKEN: 'a-token-for-letters', LOG_LEVEL: 'error',
        SAMPLE_CATALOGUE: 'off', DEMO_CARRIER_DELIVERS_AFTER_SECONDS: '0.2', DEMO_CARRIER_SPEAKS: 'aftership', AFTERSHIP_WEBHOOK_SECRET: 'known to two',
      }),
    );
  });
  after(async () => {
    await shop.stop();
    await new Promise<void>((resolve) => void server.close(resolve));
    await rm(folder, { recursive: true });
  });

  it('really sends a letter at each milestone, once, and keeps no mailbox of its own', async () => {
    const api = client(shop.url, shop.adminToken);
    await api.adminPut('/api/products/TEA', { name: 'Tea & <b>biscuits</b>', price: { amount: 350, currency: 'GBP' } });
    await api.adminPost('/api/inventory/TEA/receipts', { quantity: 5 });
    const { body } = await api.post('/api/orders', { ...basket(['TEA', 2]), customer: { name: 'Zoë “Anna” Bell', email: 'zoe@example.com' } });
    const order = await api.until(body.id, 'Delivered');
    await eventually(async () => expect(inbox.map(({ subject }) => subject?.replace(/ \(.*/, '')).sort()).to.deep.equal(['We have your order', 'Your order has been delivered', 'Your order is on its way']));

    const shipped = inbox.find(({ subject }) => subject?.includes('on its way'))!;
    expect(shipped.to).to.deep.equal([{ name: 'Zoë “Anna” Bell', address: 'zoe@example.com' }]);
    expect(shipped.from).to.include({ address: 'orders@shop.example' });
    expect(shipped.text).to.include('2 x Tea & <b>biscuits</b>').and.to.include('£7.00').and.to.include(order.shipments[0]!.trackingNumber).and.to.include(`/orders/${order.id}`);
    expect(shipped.html).to.include('Tea &amp; &lt;b&gt;biscuits');
    expect((await api.get('/mailbox')).status).to.equal(404);
    const mails = (await api.adminGet(`/api/mails?orderId=${order.id}&state=sent`)).body.items as { to: string }[];
    expect(mails).to.have.length(3);
  });
});
