import { PortError } from './errors.ts';

/**
 * MAILER: letters to customers, an effect beyond our commits.
 *
 * - `send` resolves when somebody else has taken responsibility for the letter. `throttled`: certainly not taken, try later. `denied`: refused for good.
 *   `unavailable`: UNKNOWN, it may be on its way; nobody repeats it unasked.
 * - `ask` answers what became of a key: `sent`, `notSent` (sending now is safe: it was never taken, or the provider drops repeats of a key), or `unknown`.
 * - Header injection is impossible: names and subjects with control characters are refused by `openMailer` before any driver sees them.
 */
export interface Mailer {
  send(letter: Letter): Promise<void>;
  ask(key: string): Promise<'sent' | 'notSent' | 'unknown'>;
  /** The letters kept on this machine, for the mailbox page; absent where letters really leave. */
  readonly mailbox?: Mailbox;
}

export interface Letter {
  /** One letter per key, ever: order id and milestone. Also the provider's idempotency key, where it has one. Letters, digits, `.` and `-`. */
  readonly key: string;
  readonly to: { readonly name: string; readonly address: string };
  readonly subject: string;
  readonly text: string;
  readonly html: string;
  /** RFC 3339. */
  readonly date: string;
  /** W3C trace context of the call, for a way that has room for it beside the letter; never in the letter itself. */
  readonly traceparent?: string;
}

export interface Mailbox {
  /** The letter as an RFC 5322 message (.eml), if it is there. */
  read(key: string): Promise<Uint8Array | undefined>;
  /** The keys that this process has sent, newest first, at most `recentMax` of them. */
  recent(): readonly string[];
}

export const recentMax = 100;

/** MAILER DRIVER: the same, with checked letters. */
export type MailerDriver = Pick<Mailer, 'send' | 'ask'> & { readonly mailbox?: Pick<Mailbox, 'read'> };

const control = /[\u0000-\u001f\u007f]/;

export function openMailer(driver: MailerDriver): Mailer {
  const recent: string[] = [];
  return {
    async send(letter) {
      if (!/^[A-Za-z0-9.-]{1,200}$/.test(letter.key)) throw new PortError('denied', 'a letter needs a key of letters, digits, . and -', { key: letter.key });
      for (const text of [letter.to.name, letter.to.address, letter.subject]) {
        if (control.test(text)) throw new PortError('denied', 'a control character in a header', { key: letter.key });
      }
      if (!/^[^\s@<>,;]+@[^\s@<>,;]+$/.test(letter.to.address)) throw new PortError('denied', 'not one address', { key: letter.key });
      await driver.send(letter);
      recent.unshift(letter.key);
      recent.length = Math.min(recent.length, recentMax);
    },
    ask: (letterKey) => driver.ask(letterKey),
    ...(driver.mailbox ? { mailbox: { ...driver.mailbox, recent: () => recent } } : {}),
  };
}

