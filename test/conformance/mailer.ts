import { expect } from 'chai';
import { isTransient, openMailer, recentMax, type Letter, type Mailer, type MailerDriver } from '../../ports/index.ts';
import { casesOf, type Case, type Skips } from './case.ts';
import { failure, refusal } from './family.ts';

export interface MailerFamily {
  readonly name: string;
  /** Opens on a place where no letter was ever taken. */
  open(): Promise<MailerDriver>;
  /** Opens anew on the same place. */
  restart(): Promise<MailerDriver>;
  close(): Promise<void>;
  /** What has really been taken, as whoever took it sees it, in any order. */
  taken(): Promise<readonly { readonly address: string; readonly subject: string }[]>;
  /** Cuts the mailer off from whoever takes its letters: from now on every call fails. */
  sever?(): Promise<void>;
  /** Lets the answer to the next `send` be lost on its way, although the letter is taken. */
  loseAnswer?(): Promise<void>;
  /** It answers `unknown` to every `ask`, and takes a repeated key again: then that is what the cases hold it to. */
  readonly forgetful?: true;
  readonly skips?: Skips;
}

export function letterOf(key: string, about: Partial<Letter> = {}): Letter {
  return {
    key, to: { name: 'Ada Lovelace', address: 'ada@example.com' }, subject: 'Your order', text: 'Thank you.\n', html: '<p>Thank you.</p>', date: '2026-11-20T09:00:00.000Z', ...about,
  };
}

export function mailerCases(family: MailerFamily): Case[] {
  let mailer: Mailer;
  const place = { open: async () => void (mailer = openMailer(await family.open())), close: () => family.close() };
  const known = (answer: 'sent' | 'notSent'): 'sent' | 'notSent' | 'unknown' => (family.forgetful ? 'unknown' : answer);
  const letters = (sent: number): number => (family.forgetful ? sent : 1);
  return casesOf(`mailer · ${family.name}`, family, place, ({ promises }) => {
    promises('takes a letter, and from then on answers sent', async () => {
      await mailer.send(letterOf('7.confirmation'));
      expect(await mailer.ask('7.confirmation')).to.equal(known('sent'));
      expect(await family.taken()).to.deep.equal([{ address: 'ada@example.com', subject: 'Your order' }]);
    });

    promises('answers notSent for a key that was never taken', async () => {
      await mailer.send(letterOf('7.confirmation'));
      expect(await mailer.ask('7.shipped')).to.equal(known('notSent'));
      expect(await mailer.ask('7')).to.equal(known('notSent'));
    });

    promises('takes one letter per key, however often it is sent', async () => {
      for (let n = 0; n < 3; n++) await mailer.send(letterOf('7.confirmation'));
      await Promise.all([1, 2, 3].map(() => mailer.send(letterOf('7.shipped', { subject: 'On its way' }))));
      const subjects = ['On its way', 'Your order'].flatMap((subject) => Array.from({ length: letters(3) }, () => subject));
      expect((await family.taken()).map(({ subject }) => subject).sort()).to.deep.equal(subjects);
    });

    promises('lets the first letter of a key count, whatever is sent under it later', async () => {
      await mailer.send(letterOf('7.confirmation', { subject: 'First' }));
      await mailer.send(letterOf('7.confirmation', { subject: 'Second', to: { name: 'Eve', address: 'eve@example.com' } }));
      const sent = [{ address: 'ada@example.com', subject: 'First' }, { address: 'eve@example.com', subject: 'Second' }];
      expect(await family.taken()).to.deep.equal(sent.slice(0, letters(2)));
    });

    promises('takes letters of many keys at once, and mixes none', async () => {
      const keys = Array.from({ length: 40 }, (_, n) => `order${n}.shipped`);
      await Promise.all(keys.map((key, n) => mailer.send(letterOf(key, { subject: `Order ${n}`, to: { name: 'A', address: `a${n}@example.com` } }))));
      for (const key of keys) expect(await mailer.ask(key)).to.equal(known('sent'));
      const taken = (await family.taken()).map(({ address, subject }) => `${address} ${subject}`);
      expect(taken.sort()).to.deep.equal(keys.map((_, n) => `a${n}@example.com Order ${n}`).sort());
    });

    promises('keeps keys apart that differ in case only', async () => {
      await mailer.send(letterOf('a'));
      expect(await mailer.ask('A')).to.equal(known('notSent'));
      await mailer.send(letterOf('A'));
      expect(await family.taken()).to.have.length(2);
    });

    promises('takes a key for itself, and not for the beginning or the name of another', async () => {
      await mailer.send(letterOf('order1.shipped'));
      for (const other of ['order1', 'order1.shipped.', 'order1.shippe', '.', '..', 'constructor', 'toString']) expect(await mailer.ask(other), other).to.equal(known('notSent'));
    });

    promises('remembers over a restart what was sent', async () => {
      await mailer.send(letterOf('7.confirmation'));
      mailer = openMailer(await family.restart());
      expect(await mailer.ask('7.confirmation')).to.equal(known('sent'));
      await mailer.send(letterOf('7.confirmation'));
      expect(await family.taken()).to.have.length(letters(2));
    });

    promises('carries letters and names of every script', async () => {
      await mailer.send(letterOf('7.confirmation', { subject: 'Grüße, 漢字 😀', to: { name: 'Jörg "O" Ødegård, 漢', address: 'jo@example.com' } }));
      expect(await family.taken()).to.deep.equal([{ address: 'jo@example.com', subject: 'Grüße, 漢字 😀' }]);
    });

    promises('carries a long letter', async () => {
      await mailer.send(letterOf('7.confirmation', { text: `${'a line\n'.repeat(30_000)}`, html: `<p>${'word '.repeat(40_000)}</p>` }));
      expect(await family.taken()).to.have.length(1);
      expect(await mailer.ask('7.confirmation')).to.equal(known('sent'));
    });

    promises('takes addresses that look odd and are none the worse', async () => {
      const odd = ["o'hara+tag@example.co.uk", 'a@b', '1_-=@xn--bcher-kva.example'];
      for (const [n, address] of odd.entries()) await mailer.send(letterOf(`7.${n}`, { to: { name: 'A', address } }));
      expect((await family.taken()).map(({ address }) => address).sort()).to.deep.equal([...odd].sort());
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
      expect(await mailer.ask('7.confirmation')).to.equal(known('notSent'));
    });

    promises('refuses a key that could be taken for a path', async () => {
      for (const evil of ['', '../x', 'a/b', 'a\\b', 'a b', 'a\n', 'x'.repeat(201)]) await refusal('denied', mailer.send(letterOf(evil)));
      expect(await family.taken()).to.deep.equal([]);
    });

    promises('takes the longest key that there is, and one shorter, and refuses one longer', async () => {
      for (const length of [199, 200]) {
        await mailer.send(letterOf('k'.repeat(length)));
        expect(await mailer.ask('k'.repeat(length))).to.equal(known('sent'));
      }
      await refusal('denied', mailer.send(letterOf('k'.repeat(201))));
      expect(await family.taken()).to.have.length(2);
    });

    promises('lets no header in by the letter itself', async () => {
      await mailer.send(letterOf('7.confirmation', { text: 'Bcc: x@example.com\r\n\r\nBcc: y@example.com\n.\n', html: '</html>\r\nBcc: z@example.com' }));
      expect(await family.taken()).to.deep.equal([{ address: 'ada@example.com', subject: 'Your order' }]);
    });

    promises('answers a failure, and never notSent, when it cannot look', async () => {
      await mailer.send(letterOf('7.confirmation'));
      await family.sever!();
      await failure(mailer.send(letterOf('7.shipped')));
      const answer: unknown = await mailer.ask('7.confirmation').catch((thrown: unknown) => thrown);
      expect(isTransient(answer) || answer === 'unknown' || answer === 'sent', String(answer)).to.equal(true);
    }, family.sever);

    promises('takes no second letter when the answer to the first was lost', async () => {
      await family.loseAnswer!();
      await refusal('unavailable', mailer.send(letterOf('7.confirmation')));
      const answer = await mailer.ask('7.confirmation');
      expect(answer).to.be.oneOf(['sent', 'unknown', 'notSent']);
      if (answer === 'notSent') await mailer.send(letterOf('7.confirmation'));
      expect(await family.taken()).to.have.length(1);
    }, family.loseAnswer);

    promises('shows a kept letter as a message, and none for another key, where it has a mailbox', async () => {
      await mailer.send(letterOf('7.confirmation'));
      if (!mailer.mailbox) return;
      const raw = Buffer.from((await mailer.mailbox.read('7.confirmation'))!).toString('utf8');
      expect(raw).to.match(/^Subject: Your order\r$/m).and.to.match(/^To:[^:]*ada@example\.com/m);
      expect(await mailer.mailbox.read('7.shipped')).to.equal(undefined);
    });

    promises('lists the newest hundred letters of this process, the newest first, where it has a mailbox', async () => {
      if (!mailer.mailbox) return;
      const keys = Array.from({ length: recentMax + 1 }, (_, n) => `order${n}.shipped`);
      for (const [n, key] of keys.entries()) {
        await mailer.send(letterOf(key));
        if (n === recentMax - 2 || n === recentMax - 1) expect(mailer.mailbox.recent()).to.have.length(n + 1);
      }
      expect(mailer.mailbox.recent()).to.deep.equal(keys.slice(1).reverse());
    });
  });
}
