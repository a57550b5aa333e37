import { expect } from 'chai';
import PostalMime from 'postal-mime';
import { mailboxOf, openAwsMailer, type AwsMailer, type MailerSettings } from '../../../adapters/aws/mailer.ts';
import { Invalid, isPortError, openMailer, type PortErrorKind } from '../../../ports/index.ts';
import { letterOf } from '../../conformance/index.ts';
import { forgetLetters, lettersAt, sesPatienceMs, sharedSes } from '../../conformance/ses.ts';
import { createLeapClock, until, type LeapClock } from '../../support/leap.ts';
import { openProxy, type Fault, type FaultyProxy } from '../../support/proxy.ts';

/**
 * Letters over SES, where the line or the service fails. What the service answers is written from https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html
 * and https://docs.aws.amazon.com/ses/latest/dg/troubleshoot-error-messages.html.
 */

const key = '7.confirmation';
const letter = letterOf(key);
const answer = (status: number, type: string, message = 'what the service says of ada@example.com'): Fault => ({
  do: 'answer', status, headers: { 'content-type': 'application/json', 'x-amzn-errortype': type }, body: JSON.stringify({ message }),
});

let clock: LeapClock;
let endpoint: string;
let proxy: FaultyProxy;
let mailer: AwsMailer;
const open = (about: Partial<MailerSettings> = {}): Promise<AwsMailer> => openAwsMailer({ place: { endpoint: `http://127.0.0.1:${proxy.port}` }, from: 'shop@example.com', clock, patienceSeconds: 5, ...about });
const taken = async (): Promise<number> => (await lettersAt(endpoint)).length;

async function refusal(kind: PortErrorKind, work: Promise<unknown>): Promise<void> {
  const error: unknown = await work.then(() => undefined, (thrown: unknown) => thrown);
  if (!isPortError(error, kind)) throw new Error(`expected ${kind}, got ${error === undefined ? 'success' : String(error)}`, { cause: error });
  expect(error.message, 'no address of a customer').not.to.include('@');
}

describe('AWS mailer', () => {
  before(async function () {
    this.timeout(sesPatienceMs);
    endpoint = await sharedSes();
  });
  beforeEach(async () => {
    await forgetLetters(endpoint);
    clock = createLeapClock();
    proxy = await openProxy({ port: Number(new URL(endpoint).port) });
    mailer = await open();
  });
  afterEach(async () => {
    mailer.close();
    await proxy.sever();
  });

  it('says who writes, to whom and what, with the key in its head, and names of every script as encoded words', async () => {
    await mailer.send(letterOf(key, { to: { name: 'Jörg "O" Ødegård', address: 'jo@example.com' }, subject: 'Grüße', text: 'Hallo\n', html: '<p>Hallo</p>' }));
    const { headers, body } = proxy.passed[0]!;
    expect(headers['authorization']).to.match(/^AWS4-HMAC-SHA256 Credential=local\//);
    const utf8 = (Data: string) => ({ Data, Charset: 'UTF-8' });
    const sent = JSON.parse(body) as { Destination: { ToAddresses: string[] } };
    const [to] = sent.Destination.ToAddresses;
    expect(to).to.match(/^=\?UTF-8\?B\?[\w+/=]+\?= <jo@example\.com>$/);
    expect(sent).to.deep.equal({
      FromEmailAddress: 'shop@example.com', Destination: { ToAddresses: [to] },
      Content: { Simple: { Subject: utf8('Grüße'), Body: { Text: utf8('Hallo\n'), Html: utf8('<p>Hallo</p>') }, Headers: [{ Name: 'X-Anyport-Key', Value: key }] } },
    });
    expect((await PostalMime.parse(`To: ${to}\r\n\r\n`)).to).to.deep.equal([{ name: 'Jörg "O" Ødegård', address: 'jo@example.com' }]);
  });

  it('does not know what became of a letter whose answer was lost, and sends it once', async () => {
    for (const [n, fault] of (['lose', 'cut', 'half'] as const).entries()) {
      proxy.next({ do: fault });
      await refusal('unavailable', mailer.send(letterOf(`${n}.confirmation`)));
      expect(await mailer.ask(`${n}.confirmation`)).to.equal('unknown');
    }
    expect(proxy.passed).to.have.length(3);
    expect(await taken()).to.equal(1);
  });

  it('waits for no answer for ever', async () => {
    mailer.close();
    mailer = await open({ patienceSeconds: 0.3 });
    await mailer.send(letter);
    for (const fault of ['hang', 'trickle'] as const) {
      proxy.always({ do: fault });
      await refusal('unavailable', mailer.send(letter));
    }
  });

  it('says throttled when the service is busy or the day is full, and asks nobody for a moment', async () => {
    for (const type of ['TooManyRequestsException', 'LimitExceededException', 'ThrottlingException']) {
      proxy.next(answer(type === 'TooManyRequestsException' ? 429 : 400, type));
      const before = proxy.passed.length;
      await refusal('throttled', mailer.send(letter));
      await refusal('throttled', mailer.send(letter));
      expect(proxy.passed.length - before).to.equal(1);
      await clock.leap(1_000);
    }
    await mailer.send(letter);
    expect(await taken()).to.equal(1);
  });

  it('says throttled, too, of what is wrong with the account or with who writes: the letter is not to blame', async () => {
    for (const fault of [
      answer(400, 'AccountSuspendedException'), answer(400, 'SendingPausedException'), answer(400, 'MailFromDomainNotVerifiedException'), answer(404, 'NotFoundException'),
      answer(403, 'AccessDeniedException'), answer(403, 'InvalidSignatureException'), answer(400, 'MessageRejected', 'Email address is not verified. The following identities failed the check in region EU-CENTRAL-1: shop@example.com'),
    ]) {
      proxy.next(fault);
      await refusal('throttled', mailer.send(letter));
      await clock.leap(1_000);
    }
    expect(await taken()).to.equal(0);
  });

  it('says denied of what the service does not want, and unavailable of its own faults', async () => {
    proxy.next(answer(400, 'MessageRejected'), answer(400, 'BadRequestException'), { do: 'answer', status: 400, headers: { 'content-type': 'application/json' }, body: '{"message":"Bad Request Exception"}' });
    for (let n = 0; n < 3; n++) await refusal('denied', mailer.send(letter));
    proxy.next(answer(500, 'InternalServiceErrorException'), answer(503, 'ServiceUnavailable'), { do: 'answer', status: 408 });
    for (let n = 0; n < 3; n++) await refusal('unavailable', mailer.send(letter));
  });

  it('refuses what is too large before anything is sent', async () => {
    await refusal('tooLarge', mailer.send(letterOf(key, { text: 'x'.repeat(10_000_000) })));
    expect(proxy.passed).to.have.length(0);
  });

  it('shows a letter of this machine as it was taken, and says when it cannot look', async () => {
    await openMailer(mailer).send(letterOf(key, { subject: 'Grüße', text: 'Hallo 漢', html: '<p>Hallo 漢</p>' }));
    const mailbox = mailboxOf(`http://127.0.0.1:${proxy.port}`, { name: 'Shop', address: 'shop@example.com' });
    const mail = await PostalMime.parse((await mailbox.read(key))!);
    expect([mail.subject, mail.text?.trim(), mail.html?.trim(), mail.to?.[0]?.address]).to.deep.equal(['Grüße', 'Hallo 漢', '<p>Hallo 漢</p>', 'ada@example.com']);
    expect(await mailbox.read('7')).to.equal(undefined);
    proxy.next({ do: 'answer', status: 500 }, { do: 'cut' });
    for (let n = 0; n < 2; n++) await refusal('throttled', mailbox.read(key));
  });

  it('refuses settings that cannot be, asks nothing before the first letter, and takes none when it is closed', async () => {
    for (const about of [{ place: { endpoint: 'http://example.com:80' } }, { from: 'a@b, c@d' }]) expect(await open(about).catch((error: unknown) => error)).to.be.instanceOf(Invalid);
    (await open({ place: { region: 'eu-central-1' } })).close();
    proxy.always({ do: 'hang' });
    const waiting = refusal('unavailable', mailer.send(letter));
    await until('it is asked', () => proxy.passed.length === 1);
    mailer.close();
    await waiting;
    await refusal('unavailable', mailer.send(letter));
    await refusal('unavailable', mailer.ask(key));
  });
});
