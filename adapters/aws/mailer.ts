import type { SESv2Client, SendEmailCommandInput } from '@aws-sdk/client-sesv2';
import { setMaxListeners } from 'node:events';
import { Invalid, PortError, isPortError, type Clock, type Letter, type Mailbox, type MailerDriver } from '../../ports/index.ts';
import { eml, mailboxOf as headerOf, type EmlOptions } from '../mailbox/eml.ts';
import { answered, checkedPlace, configOf, type Place } from './client.ts';
import { awsError, nameOf } from './errors.ts';

/**
 * Letters over SES (https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html).
 *
 * It knows no key by which a repetition could be told, and nobody can ask it for one letter. So `ask` answers `unknown`, and a letter whose answer was lost is listed for a person.
 *
 * | answer to the letter                                        | becomes                                                                        |
 * |-------------------------------------------------------------|--------------------------------------------------------------------------------|
 * | taken                                                       | sent                                                                           |
 * | too many requests, the quota of the day                     | `throttled`, and so is all that comes until a moment is over                   |
 * | about the account, the credentials or who writes            | `throttled`: the letter is not to blame, and nothing has left                  |
 * | any other 4xx                                               | `denied`                                                                       |
 * | over 10 MB before anything is sent                          | `tooLarge`                                                                     |
 * | no answer, 5xx                                              | `unavailable`: it may be on its way                                            |
 *
 * Errors tell codes and never the service's words, which repeat the customer's address.
 */
export interface MailerSettings {
  readonly place: Place;
  /** An address that SES has verified, or one of a domain that it has. */
  readonly from: string;
  readonly clock: Clock;
  /** How long one answer is waited for; 60 unless told. */
  readonly patienceSeconds?: number;
}

export interface AwsMailer extends MailerDriver {
  /** Letters under way and later ones are `unavailable`. */
  close(): void;
}

/** Under this name each letter has its key in its head. */
const keyHeader = 'X-Anyport-Key';
/** SES takes 40 MB; nobody's letter about an order has them. */
const bytesMax = 10_000_000;
const busyMilliseconds = 1_000;

/** Throws `Invalid` for settings that cannot be; asks nobody anything. The SDK is loaded by the first letter. */
export async function openAwsMailer({ place: wished, from, clock, patienceSeconds = 60 }: MailerSettings): Promise<AwsMailer> {
  const place = checkedPlace(wished);
  if (!/^[^\s@<>,;]+@[^\s@<>,;]+$/.test(from)) throw new Invalid('letters are sent from one address');
  const closing = new AbortController();
  setMaxListeners(0, closing.signal);
  let made: Promise<Line> | undefined;
  let busyUntil = 0;

  return {
    async send(letter) {
      const { key } = letter;
      if (closing.signal.aborted) throw new PortError('unavailable', 'the mail service is closed', { key });
      if (clock.now() < busyUntil) throw new PortError('throttled', 'the mail service is busy', { key });
      const message = messageOf(letter, from);
      const send = await (made ??= connect(place, patienceSeconds));
      try {
        await answered('send a letter', patienceSeconds, (options) => send(message, options), closing.signal);
      } catch (error) {
        const failure = refusal(error, key);
        if (isPortError(failure, 'throttled')) busyUntil = clock.now() + busyMilliseconds;
        throw failure;
      }
    },
    async ask() {
      if (closing.signal.aborted) throw new PortError('unavailable', 'the mail service is closed');
      return 'unknown';
    },
    close() {
      closing.abort();
      void made?.then(({ client }) => client.destroy());
    },
  };
}

type Line = ((message: SendEmailCommandInput, options: { readonly abortSignal: AbortSignal }) => Promise<unknown>) & { readonly client: SESv2Client };

async function connect(place: Place, patienceSeconds: number): Promise<Line> {
  const { SESv2Client: Client, SendEmailCommand } = await import('@aws-sdk/client-sesv2');
  const client = new Client(configOf(place, { patienceSeconds }));
  return Object.assign((message: SendEmailCommandInput, options: { readonly abortSignal: AbortSignal }) => client.send(new SendEmailCommand(message), options), { client });
}

function messageOf({ key, to, subject, text, html }: Letter, from: string): SendEmailCommandInput {
  const utf8 = (Data: string) => ({ Data, Charset: 'UTF-8' });
  const message: SendEmailCommandInput = {
    FromEmailAddress: from,
    // A name in another script is an encoded word of RFC 2047, which SES leaves to us.
    Destination: { ToAddresses: [headerOf(to).replaceAll('\r\n', '')] },
    Content: { Simple: { Subject: utf8(subject), Body: { Text: utf8(text), Html: utf8(html) }, Headers: [{ Name: keyHeader, Value: key }] } },
  };
  const bytes = Buffer.byteLength(JSON.stringify(message));
  if (bytes > bytesMax) throw new PortError('tooLarge', `a letter of ${bytes} bytes, ${bytesMax} at most`, { key });
  return message;
}

/** About the account, its domain and what it may do; the letter is not to blame. */
const ours = new Set(['AccountSuspendedException', 'SendingPausedException', 'MailFromDomainNotVerifiedException', 'NotFoundException']);

function refusal(error: unknown, key: string): PortError {
  const failure = awsError(error, 'the mail service', key);
  if (isPortError(failure, 'throttled', 'tooLarge')) return failure;
  const name = nameOf(error);
  const { httpStatusCode: status = 500 } = ((error as { $metadata?: { readonly httpStatusCode?: number } } | null)?.$metadata ?? {});
  if (ours.has(name) || isPortError(failure, 'denied', 'missing') || isUnverified(name, error)) return new PortError('throttled', `the mail service does not take letters of ours: ${name}`, { key, cause: error });
  return status >= 400 && status < 500 && status !== 408 ? new PortError('denied', `the mail service: ${status} ${name}`, { key, cause: error }) : failure;
}

/** SES says by the same name that it does not like a letter, and that an address is none of this account's (https://docs.aws.amazon.com/ses/latest/dg/troubleshoot-error-messages.html). */
const isUnverified = (name: string, error: unknown): boolean => name === 'MessageRejected' && error instanceof Error && /not verified/i.test(error.message);

// ---------------------------------------------------------------- on this machine

/** The letters that the server at `endpoint` has taken, for the mailbox page. */
export function mailboxOf(endpoint: string, from: EmlOptions['from']): Pick<Mailbox, 'read'> {
  return {
    async read(key) {
      const response = await fetch(new URL('store', endpoint), { signal: AbortSignal.timeout(5_000) }).catch((cause: unknown) => {
        throw new PortError('throttled', 'the stand-in for SES does not answer', { cause });
      });
      if (!response.ok) throw new PortError('throttled', `the stand-in for SES answers ${response.status}`);
      const { emails } = (await response.json()) as { readonly emails: readonly Taken[] };
      const taken = emails.find(({ headers = [] }) => headers.some(({ name, value }) => name === keyHeader && value === key));
      if (taken === undefined) return undefined;
      const { subject, at, body: { text = '', html = '' } } = taken;
      return eml({ key, to: { name: '', address: addressIn(taken.destination.to[0] ?? '') }, subject, text, html, date: new Date(at * 1_000).toISOString() }, { from });
    },
  };
}

/** As `GET /store` of aws-ses-v2-local tells of a letter. */
interface Taken {
  readonly subject: string;
  readonly destination: { readonly to: readonly string[] };
  readonly body: { readonly text?: string; readonly html?: string };
  readonly headers?: readonly { readonly name: string; readonly value: string }[];
  /** Seconds since 1970. */
  readonly at: number;
}

const addressIn = (header: string): string => /<([^<>]*)>$/.exec(header)?.[1] ?? header;
