import type { Letter, Mailbox, MailerDriver } from '../../ports/index.ts';
import { eml } from '../mailbox/eml.ts';
import type { Gate } from './wait.ts';

const from = { name: 'Anyport', address: 'shop@anyport.invalid' };

/** A mailer that keeps its letters, by key: its own proof. A repeated key is the same letter, so it is taken once; the first one counts. */
export function createMailer(letters: Letter[], gate: Gate): MailerDriver & { readonly letters: readonly Letter[]; readonly mailbox: Pick<Mailbox, 'read'> } {
  const byKey = new Map(letters.map((letter) => [letter.key, letter]));
  return {
    letters,
    async send(letter) {
      gate.pass();
      if (byKey.has(letter.key)) return;
      const kept = { ...letter, to: { ...letter.to } };
      byKey.set(letter.key, kept);
      letters.push(kept);
    },
    async ask(key) {
      gate.pass();
      return byKey.has(key) ? 'sent' : 'notSent';
    },
    mailbox: {
      async read(key) {
        gate.pass();
        const letter = byKey.get(key);
        return letter && eml(letter, { from });
      },
    },
  };
}
