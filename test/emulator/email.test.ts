import { EmailClient } from '@azure/communication-email';
import { expect } from 'chai';
import { createHash, createHmac, randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startEmail, type EmailStandIn, type KeptLetter } from '../../emulator/email.ts';
import { createLeapClock } from '../support/leap.ts';

/** Written from https://learn.microsoft.com/rest/api/communication/email/email/send, …/get-send-result and https://learn.microsoft.com/rest/api/communication/authentication. */

const message = { senderAddress: 'shop@example.com', content: { subject: 'Your order', plainText: 'Thank you.' }, recipients: { to: [{ address: 'ada@example.com', displayName: 'Ada' }] } };

describe('The stand-in for Communication Services e-mail', () => {
  const clock = createLeapClock();
  let email: EmailStandIn;
  const client = (connectionString = email.connectionString): EmailClient => new EmailClient(connectionString, { allowInsecureConnection: true, retryOptions: { maxRetries: 0 } });
  const keyOf = (): Buffer => Buffer.from(/accesskey=(.+)$/.exec(email.connectionString)![1]!, 'base64');

  interface Ask {
    readonly method?: string;
    readonly path?: string;
    readonly body?: string | undefined;
    readonly operationId?: string;
    readonly host?: string;
    readonly change?: (headers: Record<string, string>) => Record<string, string>;
  }

  /** A request as the documentation says that it is signed. */
  async function ask({ method = 'POST', path = '/emails:send?api-version=2023-03-31', body = method === 'POST' ? JSON.stringify(message) : '', operationId, host = `127.0.0.1:${email.port}`, change = (h) => h }: Ask) {
    const hash = createHash('sha256').update(body).digest('base64');
    const date = new Date().toUTCString();
    const signature = createHmac('sha256', keyOf()).update(`${method}\n${path}\n${date};${host};${hash}`).digest('base64');
    const headers = change({
      host, 'x-ms-date': date, 'x-ms-content-sha256': hash, authorization: `HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature=${signature}`,
      ...(operationId === undefined ? {} : { 'operation-id': operationId }),
    });
    return new Promise<{ status: number; headers: NodeJS.Dict<string | string[]>; body: Record<string, never> }>((resolve, reject) => {
      const asking = request({ host: '127.0.0.1', port: email.port, method, path, headers }, (answer) => {
        let text = '';
        answer.setEncoding('utf8').on('data', (part: string) => (text += part)).on('end', () => resolve({ status: answer.statusCode!, headers: answer.headers, body: JSON.parse(text) as Record<string, never> }));
      });
      asking.on('error', reject).end(body);
    });
  }

  beforeEach(async () => {
    email = await startEmail({ clock });
  });
  afterEach(() => email.close());

  it('takes a letter from the SDK, says that it was delivered, and keeps it', async () => {
    const result = await (await client().beginSend(message, { updateIntervalInMs: 1 })).pollUntilDone();
    expect(result.status).to.equal('Succeeded');
    const [letter] = email.recent();
    expect(letter!.operationId).to.equal(result.id);
    expect(letter!.message.content).to.deep.equal(message.content);
    expect(await email.read(result.id)).to.deep.equal(letter);
    expect(Date.parse(letter!.takenAt)).to.be.closeTo(clock.now(), 5_000);
  });

  it('says to the SDK that a letter was given up, with the reason', async () => {
    email.next({ do: 'fail', code: 'EmailDropped' });
    const error: unknown = await client().beginSend(message, { updateIntervalInMs: 1 }).then((poller) => poller.pollUntilDone()).catch((thrown: unknown) => thrown);
    expect(String(error)).to.match(/The long-running operation has failed\. EmailDropped/);
  });

  it('answers 202 with the place of the operation, its id and that it is running', async () => {
    const operationId = randomUUID();
    const answer = await ask({ operationId });
    expect(answer.status).to.equal(202);
    expect(answer.headers['operation-location']).to.match(new RegExp(`^http://127\\.0\\.0\\.1:${email.port}/emails/operations/${operationId}\\?api-version=`));
    expect(answer.body).to.deep.equal({ id: operationId, status: 'Running' });
    const got = await ask({ method: 'GET', path: `/emails/operations/${operationId}?api-version=2023-03-31` });
    expect([got.status, got.body]).to.deep.equal([200, { id: operationId, status: 'Succeeded' }]);
    expect((await ask({ method: 'GET', path: `/emails/operations/${randomUUID()}?api-version=2023-03-31` })).status).to.equal(404);
  });

  it('makes an id of its own where none is given, and takes a letter once under one that is', async () => {
    const ids = [(await ask({})).body['id'], (await ask({})).body['id']];
    expect(new Set(ids).size).to.equal(2);
    const operationId = randomUUID();
    const other = JSON.stringify({ ...message, content: { subject: 'Another', plainText: 'x' } });
    for (const [id, body] of [[operationId, undefined], [operationId, other], [operationId.toUpperCase(), other]] as const) expect((await ask({ operationId: id, body })).status).to.equal(202);
    expect(email.recent().filter((letter) => letter.operationId === operationId)).to.have.length(1);
    expect((await email.read(operationId))!.message.content.subject).to.equal('Your order');
  });

  it('lets nobody in without the right signature over address, date, host and body', async () => {
    const wrong: Ask['change'][] = [
      ({ authorization: _, ...rest }) => rest,
      (headers) => ({ ...headers, authorization: headers['authorization']!.replace(/Signature=./, 'Signature=!') }),
      (headers) => ({ ...headers, authorization: 'Bearer x' }),
      (headers) => ({ ...headers, 'x-ms-date': 'Mon, 01 Jan 2024 00:00:00 GMT' }),
      (headers) => ({ ...headers, 'x-ms-content-sha256': createHash('sha256').update('x').digest('base64') }),
      (headers) => ({ ...headers, host: 'elsewhere' }),
    ];
    for (const change of wrong) expect((await ask({ change: change! })).status).to.equal(401);
    const strange = client(email.connectionString.replace(/accesskey=.*/, 'accesskey=c29tZSBvdGhlciBrZXk='));
    expect(await strange.beginSend(message).then(() => 'taken', (error: { statusCode?: number }) => error.statusCode)).to.equal(401);
    expect(email.recent()).to.deep.equal([]);
  });

  it('refuses what is no letter, and keeps nothing of it', async () => {
    const { senderAddress, content, recipients } = message;
    const bad = [
      '', 'x', '[]', 'null', {}, { content, recipients }, { senderAddress: 'shop', content, recipients }, { senderAddress, recipients }, { senderAddress, content: { plainText: 'x' }, recipients },
      { senderAddress, content: { subject: 'x' }, recipients }, { senderAddress, content: { subject: 'x', html: 7 }, recipients }, { senderAddress, content, recipients: { to: [] } },
      { senderAddress, content, recipients: { to: [{ address: 'a@b, c@d' }] } }, { senderAddress, content, recipients: { to: Array.from({ length: 51 }, () => ({ address: 'a@b' })) } },
    ];
    for (const body of bad) expect((await ask({ body: typeof body === 'string' ? body : JSON.stringify(body) })).status, JSON.stringify(body)).to.equal(400);
    for (const operationId of ['x', '../../etc/passwd', randomUUID().slice(1)]) expect((await ask({ operationId })).status).to.equal(400);
    expect((await ask({ path: '/emails:send' })).status).to.equal(400);
    expect((await ask({ path: '/emails:receive?api-version=2023-03-31' })).status).to.equal(404);
    expect((await ask({ method: 'DELETE', path: `/emails/operations/${randomUUID()}?api-version=2023-03-31`, body: '' })).status).to.equal(404);
    expect((await ask({ body: JSON.stringify({ ...message, content: { subject: 'x', html: 'x'.repeat(10_000_000) } }) })).status).to.equal(413);
    expect(email.recent()).to.deep.equal([]);
  });

  it('refuses as it was told, with the time after which to come again', async () => {
    email.next({ do: 'refuse', status: 429, code: 'TooManyRequests', retryAfterSeconds: 7 });
    const refused = await ask({});
    expect([refused.status, refused.headers['retry-after'], refused.body]).to.deep.equal([429, '7', { error: { code: 'TooManyRequests', message: 'Refused as it was told.' } }]);
    expect((await ask({})).status).to.equal(202);
  });

  it('shows its letters on this machine, and to no page under another name', async () => {
    const { id } = (await ask({})).body;
    const { body } = await ask({ method: 'GET', path: '/letters', change: ({ host }) => ({ host: host! }) });
    expect((body as unknown as KeptLetter[]).map(({ operationId }) => operationId)).to.deep.equal([id]);
    expect((await ask({ method: 'GET', path: `/letters/${id}` })).body).to.deep.equal(JSON.parse(JSON.stringify(email.recent()[0])));
    expect((await ask({ method: 'GET', path: '/letters/x' })).status).to.equal(404);
    expect((await ask({ method: 'GET', path: '/letters', host: 'evil.example' })).status).to.equal(403);
  });

  it('keeps a hundred in sight, and more on the shelf', async () => {
    const ids: string[] = [];
    for (let n = 0; n < 105; n++) ids.push((await ask({})).body['id']!);
    expect(email.recent().map(({ operationId }) => operationId)).to.deep.equal(ids.slice(5).reverse());
    expect((await email.read(ids[0]!))!.operationId).to.equal(ids[0]);
  });

  it('finds after a restart what it has acknowledged, under the same key', async () => {
    const dataDir = mkdtempSync(join(tmpdir(), 'anyport-email-'));
    await email.close();
    email = await startEmail({ clock, dataDir });
    const first = email;
    const operationId = randomUUID();
    expect((await ask({ operationId })).status).to.equal(202);
    await email.close();
    email = await startEmail({ clock, dataDir, port: first.port });
    expect(email.connectionString).to.equal(first.connectionString);
    expect((await email.read(operationId))!.message.content.subject).to.equal('Your order');
    expect((await ask({ operationId, body: JSON.stringify({ ...message, senderAddress: 'other@example.com' }) })).status).to.equal(202);
    expect((await email.read(operationId))!.message.senderAddress).to.equal('shop@example.com');
    expect(await email.read('../accesskey')).to.equal(undefined);
    rmSync(dataDir, { recursive: true, force: true });
  });
});
