import type { Readable } from 'node:stream';
import { createTransport } from 'nodemailer';
import type { NodemailerError } from 'nodemailer';
import { Invalid, PortError, type MailerDriver, type PortErrorKind } from '../../ports/index.ts';
import { eml, type EmlOptions } from '../mailbox/eml.ts';

/**
 * SMTP: hands letters to a mail server, over a pool of connections.
 *
 * What a failure means is decided by two questions: did the server answer with a number, and had the letter's first byte been read for sending? The code alone
 * does not tell: a server that took the letter and dropped the line gives the same `ECONNECTION` as one that never took anything.
 *
 * | the server said, about this letter | the letter had left | kind          |
 * |------------------------------------|---------------------|---------------|
 * | 5xx (but 503)                      | either              | `denied`      |
 * | 4xx, 503                           | either              | `throttled`   |
 * | nothing, or about something else   | no                  | `throttled`   |
 * | nothing, or about something else   | yes                 | `unavailable` |
 *
 * A refused login is `throttled` too, and so is a sender who may not send: the letter is not to blame, nothing has left, and whoever corrects the password
 * wants all waiting letters to go, not to find them refused for good.
 *
 * Errors tell codes and never the server's words, which repeat the customer's address.
 */
export interface SmtpOptions {
  /** `smtp://[user:password@]host[:port]` (STARTTLS where the server offers it) or `smtps://…`. Query parameters are nodemailer's options. */
  readonly url: string;
  readonly from: EmlOptions['from'];
  /** Milliseconds without a sign of life before a connection is given up, at each step; 60,000 unless told. */
  readonly timeoutMilliseconds?: number;
  /** Connections at a time; 5 unless told. */
  readonly connections?: number;
}

export interface Smtp extends MailerDriver {
  /** Letters under way are finished; those that wait are `throttled`. */
  close(): void;
}

/** Throws `Invalid` for a URL of another kind; never says the URL, for it holds a password. */
export function openSmtp({ url, from, timeoutMilliseconds = 60_000, connections = 5 }: SmtpOptions): Smtp {
  checkUrl(url);
  const domain = from.address.slice(from.address.lastIndexOf('@') + 1);
  const pool = createTransport({
    url, pool: true, maxConnections: connections, idleTimeout: 30_000, disableFileAccess: true, disableUrlAccess: true,
    connectionTimeout: timeoutMilliseconds, greetingTimeout: timeoutMilliseconds, dnsTimeout: timeoutMilliseconds, socketTimeout: timeoutMilliseconds,
  });
  const departures = new WeakMap<object, () => boolean>();
  pool.use('stream', (mail, done) => {
    if (mail.data.envelope) departures.set(mail.data.envelope, watch(mail.message));
    done();
  });
  return {
    async send(letter) {
      const raw = eml(letter, { from, domain });
      // Addresses as objects, so that nobody parses them; the size, so that a server may refuse before the letter leaves.
      const envelope = { from: { name: '', address: from.address }, to: [{ name: '', address: letter.to.address }], size: raw.length };
      try {
        await pool.sendMail({ envelope, raw });
      } catch (error) {
        throw toPortError(error, letter.key, departures.get(envelope)?.() ?? false);
      }
    },
    ask: () => Promise.resolve('unknown'),
    close: () => pool.close(),
  };
}

function checkUrl(url: string): void {
  const protocol = URL.canParse(url) ? new URL(url).protocol : '';
  if (protocol !== 'smtp:' && protocol !== 'smtps:') throw new Invalid('a mail server is smtp://… or smtps://…');
}

/**
 * Tells whether the letter has begun to leave. Nodemailer makes a stream for each attempt and reads it only when the server has said "354, go ahead";
 * it repeats, by itself, only attempts whose stream nobody has read.
 */
function watch(message: { createReadStream(): Readable }): () => boolean {
  const streams: Readable[] = [];
  const make = message.createReadStream.bind(message);
  message.createReadStream = () => {
    const stream = make();
    streams.push(stream);
    return stream;
  };
  return () => streams.some((stream) => stream.readableDidRead);
}

function toPortError(error: unknown, key: string, departed: boolean): PortError {
  const { code = 'no code', command = '', responseCode, response = '' }: NodemailerError = error instanceof Error ? error : new Error();
  const enhanced = /^\d{3}[ -]([245]\.\d{1,3}\.\d{1,3})\b/.exec(response)?.[1];
  const text = [code, command, responseCode, enhanced].filter((part) => part !== undefined && part !== '').join(' ');
  return new PortError(kindOf({ code, command, responseCode }, departed), `the mail server: ${text}`, { key });
}

type Failure = Required<Pick<NodemailerError, 'code' | 'command'>> & Pick<NodemailerError, 'responseCode'>;

function kindOf({ code, command, responseCode }: Failure, departed: boolean): PortErrorKind {
  const aboutTheLetter = code === 'EENVELOPE' || code === 'EMESSAGE';
  if (!aboutTheLetter) return departed ? 'unavailable' : 'throttled';
  // Without a number it is nodemailer itself that refuses: an address that is none, or a letter larger than the server said it takes.
  if (responseCode === undefined) return 'denied';
  if (responseCode < 400) return departed ? 'unavailable' : 'throttled';
  return responseCode < 500 || responseCode === 503 || aboutUs(command, responseCode) ? 'throttled' : 'denied';
}

/** RFC 4954's refusals for want of a login, and any refusal of the sender but 552, "too large". */
function aboutUs(command: string, responseCode: number): boolean {
  return [530, 534, 535, 538].includes(responseCode) || (command === 'MAIL FROM' && responseCode !== 552);
}
