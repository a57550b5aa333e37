import { expect } from 'chai';
import PostalMime from 'postal-mime';
import { mailboxOf, openAzureMailer, operationIdOf, type AzureMailer, type MailerOptions } from '../../../adapters/azure/mailer.ts';
import { startEmail, type EmailStandIn } from '../../../emulator/email.ts';
import { openMailer, type PortErrorKind, isPortError } from '../../../ports/index.ts';
import { letterOf } from '../../conformance/index.ts';
import { createLeapClock, type LeapClock } from '../../support/leap.ts';
import { openProxy, type FaultyProxy } from '../../support/proxy.ts';

/**
 * Letters over Communication Services, where the line or the service fails. Answers are written from https://learn.microsoft.com/rest/api/communication/email/email/send and
 * …/get-send-result.
 */

const key = '7.confirmation';
const letter = letterOf(key);

let clock: LeapClock;
let email: EmailStandIn;
let proxy: FaultyProxy;
let mailer: AzureMailer;
let connectionString: string;
const open = (about: Partial<MailerOptions> = {}): Promise<AzureMailer> => openAzureMailer({ connectionString, from: 'shop@example.com', clock, timeoutMilliseconds: 5_000, ...about });
const sends = (): number => proxy.passed.filter(({ method }) => method === 'POST').length;

async function refusal(kind: PortErrorKind, work: Promise<unknown>): Promise<string> {
  const error: unknown = await work.then(() => undefined, (thrown: unknown) => thrown);
  if (isPortError(error, kind)) return error.message;
  throw new Error(`expected ${kind}, got ${error === undefined ? 'success' : String(error)}`, { cause: error });
}

describe('Azure mailer', () => {
  beforeEach(async () => {
    clock = createLeapClock();
    email = await startEmail({ clock });
    proxy = await openProxy({ port: email.port });
    connectionString = email.connectionString.replace(/endpoint=[^;]+/, `endpoint=http://127.0.0.1:${proxy.port}/`);
    mailer = await open();
  });
  afterEach(async () => {
    mailer.close();
    await proxy.sever();
    await email.close();
  });

  it('makes one id of a key for ever, and other ids of other keys', () => {
    expect(operationIdOf(key)).to.equal('f1ba27ed-24dd-5024-bc2c-265ca9223b30');
    const ids = new Set(Array.from({ length: 1_000 }, (_, n) => operationIdOf(`${n}.shipped`)));
    expect(ids.size).to.equal(1_000);
    for (const id of ids) expect(id).to.match(/^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  });

  it('says who writes, to whom and what, under the id of the key', async () => {
    await mailer.send(letterOf(key, { to: { name: 'Jörg Ødegård', address: 'jo@example.com' }, subject: 'Grüße', text: 'Hallo\n', html: '<p>Hallo</p>' }));
    const { headers, body } = proxy.passed[0]!;
    expect(headers['operation-id']).to.equal(operationIdOf(key));
    expect(JSON.parse(body)).to.deep.equal({
      senderAddress: 'shop@example.com', content: { subject: 'Grüße', plainText: 'Hallo\n', html: '<p>Hallo</p>' },
      recipients: { to: [{ address: 'jo@example.com', displayName: 'Jörg Ødegård' }] }, userEngagementTrackingDisabled: true,
    });
  });

  it('does not know what became of a letter whose answer was lost, sends it once, and finds out by asking', async () => {
    proxy.next({ do: 'lose' });
    await refusal('unavailable', mailer.send(letter));
    expect(sends()).to.equal(1);
    expect(await mailer.ask(key)).to.equal('sent');
    proxy.next({ do: 'cut' });
    await refusal('unavailable', mailer.send(letterOf('8.confirmation')));
    expect(await mailer.ask('8.confirmation')).to.equal('notSent');
    expect(sends()).to.equal(2);
    expect(email.recent()).to.have.length(1);
  });

  it('takes a letter for sent that was taken, even if the SDK cannot ask afterwards what became of it', async () => {
    for (const fault of [{ do: 'cut' }, { do: 'answer', status: 429, headers: { 'retry-after': '9' } }, { do: 'answer', status: 500 }, { do: 'answer', status: 404 }] as const) {
      proxy.next({ do: 'delay', milliseconds: 0 }, fault);
      await mailer.send(letterOf(`${fault.do}.${'status' in fault ? fault.status : ''}`));
    }
    await mailer.send(letter);
    expect(email.recent()).to.have.length(5);
  });

  it('says throttled, and asks nobody until the time is over that the service wants', async () => {
    email.next({ do: 'refuse', status: 429, code: 'TooManyRequests', retryAfterSeconds: 60 });
    await refusal('throttled', mailer.send(letter));
    await refusal('throttled', mailer.send(letter));
    expect(sends()).to.equal(1);
    expect(await mailer.ask(key)).to.equal('notSent');
    await clock.leap(59_000);
    await refusal('throttled', mailer.send(letter));
    await clock.leap(1_001);
    await mailer.send(letter);
    expect(sends()).to.equal(2);
    for (const status of [429, 503]) {
      email.next({ do: 'refuse', status });
      await refusal('throttled', mailer.send(letterOf(`8.${status}`)));
    }
    expect(email.recent()).to.have.length(1);
  });

  it('refuses a letter for good that the service refuses for good, and tells no address', async () => {
    email.next({ do: 'refuse', status: 400, code: 'InvalidRecipients' }, { do: 'refuse', status: 422, code: 'x' });
    expect(await refusal('denied', mailer.send(letter))).to.equal('denied: the mail service: 400 InvalidRecipients');
    await refusal('denied', mailer.send(letter));
    expect(email.recent()).to.deep.equal([]);
    // The stand-in itself refuses what is no address.
    expect(await refusal('denied', mailer.send(letterOf(key, { to: { name: 'x', address: 'ada@example.com,eve@example.com' } })))).not.to.include('@');
  });

  it('blames no letter for our own credentials or our own address', async () => {
    for (const [status, code] of [[401, 'Denied'], [403, 'Forbidden'], [404, 'DomainNotLinked'], [400, 'InvalidSenderUserName']] as const) {
      email.next({ do: 'refuse', status, code });
      await refusal('throttled', mailer.send(letter));
    }
    const stranger = await open({ connectionString: connectionString.replace(/accesskey=.*/, 'accesskey=c29tZSBvdGhlciBrZXk=') });
    await refusal('throttled', stranger.send(letter));
    await refusal('denied', stranger.ask(key));
    stranger.close();
    expect(email.recent()).to.deep.equal([]);
  });

  it('takes a letter for sent that was taken before, should a repetition be refused', async () => {
    await mailer.send(letter);
    for (const status of [400, 409]) {
      email.next({ do: 'refuse', status });
      await mailer.send(letter);
    }
    expect(email.recent()).to.have.length(1);
  });

  it('denies a letter that the service gives up at once, and sends for it a person who asks', async () => {
    email.next({ do: 'fail', code: 'EmailDroppedAllRecipientsSuppressed' });
    await refusal('denied', mailer.send(letter));
    expect(await mailer.ask(key)).to.equal('unknown');
  });

  it('does not know when the service fails, and looks whether it can', async () => {
    for (const status of [500, 502, 504, 408]) {
      proxy.next({ do: 'answer', status });
      await refusal('unavailable', mailer.send(letter));
      proxy.next({ do: 'answer', status });
      await refusal('unavailable', mailer.ask(key));
    }
    proxy.next({ do: 'answer', status: 429 });
    await refusal('throttled', mailer.ask(key));
    proxy.next({ do: 'answer', status: 200, body: '{}', headers: { 'content-type': 'application/json' } });
    expect(await mailer.ask(key).catch(() => 'failed')).not.to.equal('notSent');
  });

  for (const fault of [{ do: 'hang' }, { do: 'trickle' }] as const) {
    it(`ends every call when answers ${fault.do === 'hang' ? 'never begin' : 'begin and never end'}`, async () => {
      mailer.close();
      mailer = await open({ timeoutMilliseconds: 150 });
      proxy.always(fault);
      const started = performance.now();
      await Promise.all([refusal('unavailable', mailer.send(letter)), refusal('unavailable', mailer.ask(key))]);
      expect(performance.now() - started).to.be.below(2_000);
    });
  }

  it('ends what is under way, and all that comes later, when it is closed', async () => {
    proxy.always({ do: 'hang' });
    const waiting = refusal('unavailable', mailer.send(letter));
    mailer.close();
    await waiting;
    await refusal('unavailable', mailer.send(letter));
    await refusal('unavailable', mailer.ask(key));
  });

  it('sends nothing that is larger than the service takes', async () => {
    await refusal('tooLarge', mailer.send(letterOf(key, { html: 'x'.repeat(10_000_000) })));
    expect(sends()).to.equal(0);
    email.next({ do: 'refuse', status: 413 });
    await refusal('tooLarge', mailer.send(letter));
  });

  it('needs one address to write from, a place and who we are; a key is for this machine alone', async () => {
    const refused = (about: Partial<MailerOptions>): Promise<string> => open(about).then(() => 'taken', (error: unknown) => String(error));
    for (const from of ['', 'shop', 'Shop <shop@example.com>', 'a@b,c@d']) expect(await refused({ from })).to.match(/^Invalid/);
    expect(await refused({ connectionString: undefined })).to.match(/^Invalid/);
    expect(await refused({ connectionString: undefined, endpoint: 'http://shop.communication.azure.com' })).to.match(/^Invalid/);
    const text = await refused({ connectionString: 'endpoint=https://shop.communication.azure.com/;accesskey=c2VjcmV0' });
    expect(text).to.match(/^Invalid: a connection string is for a server on this machine/);
    expect(text).not.to.include('c2VjcmV0');
  });

  it('shows letters that a stand-in has taken', async () => {
    const face = openMailer({ ...mailer, mailbox: mailboxOf((id) => email.read(id), { name: 'Shop', address: 'shop@example.com' }) });
    await face.send(letter);
    expect(face.mailbox!.recent()).to.deep.equal([key]);
    const parsed = await PostalMime.parse((await face.mailbox!.read(key))!);
    expect([parsed.to?.[0]?.address, parsed.subject, parsed.text?.trim(), parsed.from?.name]).to.deep.equal(['ada@example.com', 'Your order', 'Thank you.', 'Shop']);
    expect(await face.mailbox!.read('8.confirmation')).to.equal(undefined);
  });
});
