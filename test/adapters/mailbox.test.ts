import { expect } from 'chai';
import fc from 'fast-check';
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import PostalMime from 'postal-mime';
import { eml } from '../../adapters/mailbox/eml.ts';
import { openMailbox } from '../../adapters/mailbox/index.ts';
import { PortError, openMailer, type Letter } from '../../ports/index.ts';

const from = { name: 'Anyport Shop', address: 'shop@example.org' };
const letter = (changes: Partial<Letter> = {}): Letter => ({
  key: '7z1k5v0q2m8x4c6b9n3h5j7g2d.confirmation', to: { name: 'Ada Lovelace', address: 'ada@example.org' }, subject: 'Your order',
  text: 'Hello\nAda', html: '<p>Hello Ada</p>', date: '2026-03-04T05:06:07.890Z', ...changes,
});
const parse = (changes: Partial<Letter> = {}) => PostalMime.parse(eml(letter(changes), { from }));
const lf = (text: string): string => text.replace(/\r\n|\r/g, '\n');

describe('A letter as .eml', () => {
  it('has the headers that it should have, and the same bytes every time', async () => {
    const bytes = eml(letter(), { from });
    expect(bytes.equals(eml(letter(), { from }))).to.equal(true);
    const head = bytes.toString().split('\r\n\r\n')[0]!.split(/\r\n(?! )/);
    expect(head.slice(0, 6)).to.deep.equal([
      'Message-ID: <7z1k5v0q2m8x4c6b9n3h5j7g2d.confirmation@anyport.local>',
      'Date: Wed, 04 Mar 2026 05:06:07 +0000', 'From: "Anyport Shop"\r\n <shop@example.org>',
      'To: "Ada Lovelace"\r\n <ada@example.org>', 'Subject: Your order', 'MIME-Version: 1.0',
    ]);
    expect(head[6]).to.match(/^Content-Type: multipart\/alternative;\r\n boundary="=_0_7z1k5v0q2m8x4c6b9n3h5j7g2d\.confirmation"$/);
    expect(head).to.have.length(7);
  });

  it('stays readable in its source where it is plain, and takes another domain', () => {
    const source = eml(letter(), { from, domain: 'shop.example' }).toString();
    expect(source).to.include('Content-Transfer-Encoding: 7bit\r\n\r\nHello\r\nAda\r\n').and.include('<p>Hello Ada</p>');
    expect(source).to.include('.confirmation@shop.example>');
  });

  /** Text as shops write it, and as people's names and keyboards make it. */
  const nasty = fc.constantFrom('é', '£', '😀', '👩‍👩‍👧', 'שלום', 'مرحبا', '‮', '日本語', '"', '\\', '<', '>', ',', ';', '@', '=?UTF-8?Q?x?=', '=',
    '--', ' ', '_', '.', '(', 'ñ');
  const piece = fc.oneof(nasty, fc.string({ unit: 'grapheme', maxLength: 8 }), fc.stringMatching(/^[A-Za-z]{1,9}$/));
  const phrase = (maxLength: number) => fc.array(piece, { maxLength })
    .map((parts) => Array.from(parts.join('').replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\ufeff]/g, '')).slice(0, 200).join('').trim());
  const line = fc.oneof(fc.string({ unit: 'grapheme', maxLength: 40 }), fc.constantFrom(
    '.', '..', '.x', '-- ', '--=_0_7z1k5v0q2m8x4c6b9n3h5j7g2d.confirmation', '--=_1_7z1k5v0q2m8x4c6b9n3h5j7g2d.confirmation--',
    'From me', ' indented', 'tab\tbed', 'trailing  ', 'é'.repeat(500), 'x'.repeat(1500), '=', '=3D', '=0A',
  ));
  const body = fc.array(fc.tuple(line, fc.constantFrom('\n', '\r\n', '\r', '\n\n')), { maxLength: 12 }).map((lines) => lines.flat().join('')
    .replace(/[\u0000\ufeff]/g, ''));

  it('comes back from a mail parser as it was: names, subject, text and HTML of any kind', async () => {
    const letters = fc.record({ name: phrase(60), subject: phrase(60), text: body, html: body });
    await fc.assert(fc.asyncProperty(letters, async ({ name, subject, text, html }) => {
      const back = await parse({ to: { name, address: 'ada@example.org' }, subject, text, html });
      expect(back.to).to.deep.equal([{ name, address: 'ada@example.org' }]);
      expect(back.subject ?? '').to.equal(subject);
      expect(lf(back.text ?? '').replace(/\n+$/, '')).to.equal(lf(text).replace(/\n+$/, ''));
      expect(lf(back.html ?? '').replace(/\n+$/, '')).to.equal(lf(html).replace(/\n+$/, ''));
      expect(back.messageId).to.equal('<7z1k5v0q2m8x4c6b9n3h5j7g2d.confirmation@anyport.local>');
      expect(back.attachments).to.deep.equal([]);
    }), { numRuns: 400 });
  });

  it('is ASCII in lines of 998 characters at most, 76 where a word is encoded, and ends every line in CRLF', () => {
    fc.assert(fc.property(phrase(80), phrase(80), body, (name, subject, text) => {
      const source = eml(letter({ to: { name, address: 'a@b' }, subject, text, html: text }), { from }).toString('latin1');
      expect(source).to.match(/^[\t\r\n\x20-\x7e]*$/);
      expect(source.replaceAll('\r\n', '')).to.not.match(/[\r\n]/);
      for (const each of source.split('\r\n')) expect(each.length).to.be.at.most(each.includes('=?UTF-8?B?') ? 76 : 998);
    }), { numRuns: 200 });
  });

  it('is not cut short by a text that has its boundary', async () => {
    const boundary = /boundary="(.*)"/.exec(eml(letter(), { from }).toString())![1]!;
    const text = `before\n--${boundary}\nafter\n--${boundary}--\nend`;
    expect((await parse({ text })).text?.trim()).to.equal(text);
  });

  it('is never written with a control character in a header', () => {
    expect(() => eml(letter({ to: { name: 'A', address: 'a@b>\r\nBcc: x@y' } }), { from })).to.throw('no control character in a header');
    expect(() => eml(letter({ to: { name: 'A', address: 'a@b\n' } }), { from })).to.throw('no control character in a header');
    expect(eml(letter({ subject: 'x\r\nBcc: y@z' }), { from }).toString()).to.not.include('Bcc');
    expect(() => eml(letter({ date: 'soon' }), { from })).to.throw('a letter has a date');
  });
});

describe('The local mailbox', () => {
  let folder: string;
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'mailbox-'))));
  afterEach(() => rmSync(folder, { recursive: true, force: true }));
  const files = (): string[] => readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => /\.(eml|draft)$/.test(name));

  it('keeps a letter as a file that is its own proof', async () => {
    const mailer = openMailer(openMailbox({ folder, from }));
    expect(await mailer.ask(letter().key)).to.equal('notSent');
    expect(await mailer.mailbox!.read(letter().key)).to.equal(undefined);
    await mailer.send(letter());
    expect(await mailer.ask(letter().key)).to.equal('sent');
    expect(Buffer.from((await mailer.mailbox!.read(letter().key))!).equals(eml(letter(), { from }))).to.equal(true);
    expect(files()).to.have.length(1);
    expect(files()[0]).to.match(/^[0-9a-f]{2}[/\\]7z1k5v0q2m8x4c6b9n3h5j7g2d\.confirmation\.eml$/);
    expect(await openMailbox({ folder, from }).ask(letter().key)).to.equal('sent');
  });

  it('keeps the first letter of a key and no second', async () => {
    const mailer = openMailbox({ folder, from });
    await mailer.send(letter());
    await mailer.send(letter({ subject: 'Another' }));
    expect(Buffer.from((await mailer.mailbox.read(letter().key))!).toString()).to.include('Subject: Your order').and.not.include('Another');
    expect(files()).to.have.length(1);
  });

  it('opens no file outside its folder, whatever the key', async () => {
    writeFileSync(join(folder, 'secret.eml'), 'x');
    const mailer = openMailbox({ folder, from });
    for (const key of ['../secret', '..', '.', '', 'a/b', 'a\u0000', '..\\secret', 'x'.repeat(201)]) {
      expect(await mailer.mailbox.read(key)).to.equal(undefined);
      expect(await mailer.ask(key)).to.equal('notSent');
    }
    const error = await mailer.send(letter({ key: '../secret' })).catch((thrown: unknown) => thrown);
    expect(error).to.be.instanceOf(PortError).with.property('kind', 'denied');
  });

  it('says throttled when its folder cannot be written, and goes on when it can again', async () => {
    const mailer = openMailbox({ folder, from });
    await mailer.send(letter());
    rmSync(folder, { recursive: true });
    writeFileSync(folder, 'not a folder');
    const error = await mailer.send(letter()).catch((thrown: unknown) => thrown);
    expect(error).to.be.instanceOf(PortError).with.property('kind', 'throttled');
    rmSync(folder);
    await mailer.send(letter());
    expect(await mailer.ask(letter().key)).to.equal('sent');
  });

  it('removes a draft that a kill left behind when it next uses the shelf', async () => {
    await openMailbox({ folder, from }).send(letter());
    const draft = join(folder, files()[0]!, '..', 'torn.draft');
    writeFileSync(draft, 'half a let');
    expect(files()).to.have.length(2);
    await openMailbox({ folder, from }).send(letter());
    expect(files()).to.have.length(1);
  });

  it('has no torn letter after a kill in the middle of writing', async function () {
    this.timeout(20_000);
    const program = `
      import { openMailbox } from ${JSON.stringify(new URL('../../adapters/mailbox/index.ts', import.meta.url).href)};
      const mailer = openMailbox({ folder: ${JSON.stringify(folder)}, from: { name: 'S', address: 's@t' } });
      const text = 'x'.repeat(60).concat('\\n').repeat(8000);
      for (let n = 0; ; n++) {
        await mailer.send({ key: 'k' + n, to: { name: 'A', address: 'a@b' }, subject: 'S', text, html: text, date: '2026-03-04T05:06:07.890Z' });
        if (n === 20) process.stdout.write('running');
      }`;
    const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program], { stdio: ['ignore', 'pipe', 'inherit'] });
    await new Promise((resolve) => child.stdout.once('data', resolve));
    child.kill('SIGKILL');
    await new Promise((resolve) => child.once('exit', resolve));
    const letters = files().filter((name) => name.endsWith('.eml'));
    expect(letters.length).to.be.greaterThan(20);
    for (const name of letters) expect(readFileSync(join(folder, name), 'latin1').endsWith('--\r\n')).to.equal(true);
  });
});
