import { expect } from 'chai';
import { openMailer, type Letter, type Mailer, type MailerDriver } from '../../ports/index.ts';
import { casesOf, refusal } from './family.ts';

export interface MailerFamily {
  readonly name: string;
  /** Opens on a place where no letter was ever taken. */
  open(): Promise<MailerDriver>;
  /** Opens anew on the same place. */
  restart(): Promise<MailerDriver>;
  close(): Promise<void>;
  /** What has really been taken, as whoever took it sees it, in any order. */
  taken(): Promise<readonly { readonly address: string; readonly subject: string }[]>;
  readonly skips?: Readonly<Record<string, string>>;
}

export function letterOf(key: string, about: Partial<Letter> = {}): Letter {
  return {
    key, to: { name: 'Ada Lovelace', address: 'ada@example.com' }, subject: 'Your order', text: 'Thank you.\n', html: '<p>Thank you.</p>', date: '2026-11-20T09:00:00.000Z', ...about,
  };
}

export function mailerSuite(family: MailerFamily): void {
  describe(`mailer · ${family.name}`, () => {
    const promises = casesOf(family);
    let mailer: Mailer;
    beforeEach(async () => {
      mailer = openMailer(await family.open());
    });
    afterEach(() => family.close());

    promises('takes a letter, and from then on answers sent', async () => {
      await mailer.send(letterOf('7.confirmation'));
      expect(await mailer.ask('7.confirmation')).to.equal('sent');
      expect(await family.taken()).to.deep.equal([{ address: 'ada@example.com', subject: 'Your order' }]);
    });

    promises('answers notSent for a key that was never taken', async () => {
      await mailer.send(letterOf('7.confirmation'));
      expect(await mailer.ask('7.shipped')).to.equal('notSent');
      expect(await mailer.ask('7')).to.equal('notSent');
    });

    promises('takes one letter per key, however often it is sent', async () => {
      for (let n = 0; n < 3; n++) await mailer.send(letterOf('7.confirmation'));
      await Promise.all([1, 2, 3].map(() => mailer.send(letterOf('7.shipped', { subject: 'On its way' }))));
      expect((await family.taken()).map(({ subject }) => subject).sort()).to.deep.equal(['On its way', 'Your order']);
    });

    promises('keeps keys apart that differ in case only', async () => {
      await mailer.send(letterOf('a'));
      expect(await mailer.ask('A')).to.equal('notSent');
      await mailer.send(letterOf('A'));
      expect(await family.taken()).to.have.length(2);
    });

    promises('remembers over a restart what was sent', async () => {
      await mailer.send(letterOf('7.confirmation'));
      mailer = openMailer(await family.restart());
      expect(await mailer.ask('7.confirmation')).to.equal('sent');
      await mailer.send(letterOf('7.confirmation'));
      expect(await family.taken()).to.have.length(1);
    });

    promises('carries letters and names of every script', async () => {
      await mailer.send(letterOf('7.confirmation', { subject: 'Grüße, 漢字 😀', to: { name: 'Jörg "O" Ødegård, 漢', address: 'jo@example.com' } }));
      expect(await family.taken()).to.deep.equal([{ address: 'jo@example.com', subject: 'Grüße, 漢字 😀' }]);
    });

    promises('refuses control characters in a header for good, and takes nothing', async () => {
      for (const evil of ['a\r\nBcc: x@example.com', 'a\nb', 'a\u0000b', 'a\u007fb']) {
        await refusal('denied', mailer.send(letterOf('7.confirmation', { subject: evil })));
        await refusal('denied', mailer.send(letterOf('7.confirmation', { to: { name: evil, address: 'ada@example.com' } })));
        await refusal('denied', mailer.send(letterOf('7.confirmation', { to: { name: 'Ada', address: `${evil}@example.com` } })));
      }
      expect(await family.taken()).to.deep.equal([]);
    });

    promises('refuses what is not exactly one address', async () => {
      for (const address of ['', 'ada', '@', 'a@b@c', 'a@example.com, b@example.com', 'Ada <a@example.com>', 'a b@example.com']) {
        await refusal('denied', mailer.send(letterOf('7.confirmation', { to: { name: 'Ada', address } })));
      }
      expect(await mailer.ask('7.confirmation')).to.equal('notSent');
    });

    promises('refuses a key that could be taken for a path', async () => {
      for (const evil of ['', '../x', 'a/b', 'a\\b', 'a b', 'a\n', 'x'.repeat(201)]) await refusal('denied', mailer.send(letterOf(evil)));
      expect(await family.taken()).to.deep.equal([]);
    });

    promises('shows a kept letter as a message, and none for another key, where it has a mailbox', async () => {
      await mailer.send(letterOf('7.confirmation'));
      if (!mailer.mailbox) return;
      const raw = Buffer.from((await mailer.mailbox.read('7.confirmation'))!).toString('utf8');
      expect(raw).to.match(/^Subject: Your order\r$/m).and.to.match(/^To:[^:]*ada@example\.com/m);
      expect(await mailer.mailbox.read('7.shipped')).to.equal(undefined);
    });
  });
}
