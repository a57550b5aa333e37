import { expect } from 'chai';
import type { AddressInfo } from 'node:net';
import PostalMime from 'postal-mime';
import { SMTPServer, type SMTPServerOptions } from 'smtp-server';
import { openSmtp, type Smtp } from '../../adapters/smtp/index.ts';
import { Invalid, PortError, type Letter } from '../../ports/index.ts';

const from = { name: 'Anyport Shop', address: 'orders@shop.example' };
const letter: Letter = {
  key: 'order1.shipped', to: { name: 'Zoë', address: 'zoe@example.org' }, subject: 'On its way 📦',
  text: 'Hello\n.\n..dots\n', html: '<p>£5</p>', date: '2026-03-04T05:06:07.890Z',
};

describe('The SMTP mailer', () => {
  let server: SMTPServer | undefined;
  let mailer: Smtp | undefined;
  let taken: string[];
  beforeEach(() => (taken = []));
  afterEach(async () => {
    mailer?.close();
    const closing = server;
    mailer = server = undefined;
    if (closing?.server.listening) await new Promise<void>((resolve) => closing.close(resolve));
  });

  /** A server that takes everything, unless told. */
  async function start(options: SMTPServerOptions = {}, url = 'smtp://127.0.0.1'): Promise<Smtp> {
    server = new SMTPServer({
      disabledCommands: ['AUTH', 'STARTTLS'], closeTimeout: 10,
      onData: (stream, _session, done) => {
        const parts: Buffer[] = [];
        stream.on('data', (part: Buffer) => parts.push(part));
        stream.on('end', () => (taken.push(Buffer.concat(parts).toString()), done()));
      },
      ...options,
    });
    server.on('error', () => undefined);
    const port = await new Promise<number>((resolve) => {
      const listening = server!.listen(0, '127.0.0.1', () => resolve((listening.address() as AddressInfo).port));
    });
    mailer = openSmtp({ url: `${url}:${port}`, from, timeoutMilliseconds: 2_000, connections: 1 });
    return mailer;
  }
  const refusal = (responseCode: number, text = 'no') => Object.assign(new Error(text), { responseCode });
  async function failure(sending: Promise<void>): Promise<PortError> {
    const error = await sending.then(() => undefined, (thrown: unknown) => thrown);
    expect(error).to.be.instanceOf(PortError);
    return error as PortError;
  }
  const drop = (): void => {
    for (const connection of server!.connections) connection._socket.destroy();
  };

  it('hands a letter over, whole, under the same Message-ID every time', async () => {
    const smtp = await start();
    await smtp.send(letter);
    await smtp.send(letter);
    expect(taken).to.have.length(2);
    expect(taken[0]).to.equal(taken[1]);
    const back = await PostalMime.parse(taken[0]!);
    expect(back).to.include({ messageId: '<order1.shipped@shop.example>', subject: letter.subject });
    expect(back.text?.trimEnd()).to.equal('Hello\n.\n..dots');
    expect(back.to).to.deep.equal([{ name: 'Zoë', address: 'zoe@example.org' }]);
    expect(back.html?.trim()).to.equal('<p>£5</p>');
  });

  it('does not know what became of a letter', async () => {
    expect(await (await start()).ask('order1.shipped')).to.equal('unknown');
  });

  const answers: [string, SMTPServerOptions, PortError['kind']][] = [
    ['the recipient is refused for good', { onRcptTo: (_a, _s, done) => done(refusal(550)) }, 'denied'],
    ['the recipient is refused for now', { onRcptTo: (_a, _s, done) => done(refusal(451)) }, 'throttled'],
    ['the sender is refused', { onMailFrom: (_a, _s, done) => done(refusal(550)) }, 'throttled'],
    ['the letter is too large for the sender\'s quota', { onMailFrom: (_a, _s, done) => done(refusal(552)) }, 'denied'],
    ['a login is demanded', { onRcptTo: (_a, _s, done) => done(refusal(530)) }, 'throttled'],
    ['the letter is larger than the server takes', { size: 100 }, 'denied'],
    ['the server is too busy to greet', { onConnect: (_s, done) => done(refusal(421)) }, 'throttled'],
    ['the server refuses all connections', { onConnect: (_s, done) => done(refusal(554)) }, 'throttled'],
    ['the letter is refused for good after it was read', { onData: (stream, _s, done) => void stream.resume().on('end', () => done(refusal(554))) }, 'denied'],
    ['the letter is refused for now after all', { onData: (stream, _s, done) => void stream.resume().on('end', () => done(refusal(452))) }, 'throttled'],
    ['the line drops before the letter left', { onRcptTo: () => drop() }, 'throttled'],
    ['the line drops while the letter leaves', { onData: (stream) => void stream.once('data', drop) }, 'unavailable'],
    ['the line drops after the letter was read', { onData: (stream) => (stream.resume(), stream.on('end', drop)) }, 'unavailable'],
    ['the server never answers to the letter', { onData: (stream) => void stream.resume() }, 'unavailable'],
    ['the server never answers to the recipient', { onRcptTo: () => undefined }, 'throttled'],
  ];
  for (const [what, options, kind] of answers) {
    it(`says ${kind} when ${what}`, async function () {
      this.timeout(8_000);
      const error = await failure((await start(options)).send(letter));
      expect(error.message).to.match(/^\w+: the mail server: /).and.not.include('zoe@');
      expect(error).to.include({ kind, key: 'order1.shipped' });
    });
  }

  it('says throttled when nobody listens, or there is no such host', async () => {
    const smtp = await start();
    await new Promise<void>((resolve) => server!.close(resolve));
    expect((await failure(smtp.send(letter))).kind).to.equal('throttled');
    mailer = openSmtp({ url: 'smtp://no-such-host.invalid', from });
    expect((await failure(mailer.send(letter))).kind).to.equal('throttled');
  });

  it('says throttled when the login is refused, so that no letter is lost to a wrong password', async () => {
    const options: SMTPServerOptions = {
      disabledCommands: ['STARTTLS'], allowInsecureAuth: true, authMethods: ['PLAIN'], onAuth: (_a, _s, done) => done(refusal(535)),
    };
    const smtp = await start(options, 'smtp://shop:wrong@127.0.0.1');
    const error = await failure(smtp.send(letter));
    expect(error.kind).to.equal('throttled');
    expect(error.message).to.include('EAUTH').and.not.include('wrong');
  });

  it('never sends a letter twice by itself, on a fresh line or a used one', async function () {
    this.timeout(8_000);
    let calls = 0;
    const smtp = await start({
      onData: (stream, _session, done) => {
        stream.resume();
        stream.on('end', () => (++calls === 2 ? drop() : done()));
      },
    });
    await smtp.send(letter);
    expect((await failure(smtp.send(letter))).kind).to.equal('unavailable');
    await new Promise((resolve) => setTimeout(resolve, 600));
    expect(calls).to.equal(2);
    await smtp.send(letter);
    expect(calls).to.equal(3);
  });

  it('sends over a new line what found the old one closed', async function () {
    this.timeout(8_000);
    const smtp = await start();
    await smtp.send(letter);
    drop();
    await smtp.send(letter);
    expect(taken).to.have.length(2);
  });

  it('lets the letters that wait go when it is closed', async () => {
    const smtp = await start({ onData: (stream, _s, done) => (stream.resume(), stream.on('end', () => setTimeout(done, 100))) });
    const first = smtp.send(letter);
    const second = failure(smtp.send(letter));
    await new Promise((resolve) => setTimeout(resolve, 50));
    smtp.close();
    await first;
    expect((await second).kind).to.equal('throttled');
  });

  it('takes no other URL and never tells its password', () => {
    for (const url of ['', 'http://a', 'localhost:25', 'direct:x', 'ftp://user:hunter2@host']) {
      expect(() => openSmtp({ url, from })).to.throw(Invalid).with.property('message').that.does.not.include('hunter2');
    }
  });
});
