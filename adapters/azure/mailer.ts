import { createHash } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import type { EmailClient, EmailClientOptions, EmailMessage } from '@azure/communication-email';
import { Invalid, PortError, isPortError, type Clock, type Letter, type Mailbox, type MailerDriver } from '../../ports/index.ts';
import { eml, type EmlOptions } from '../mailbox/eml.ts';
import { restError, restFailure, type RestFailure } from './errors.ts';
import { agentFor, reached, within, type Reach } from './rest.ts';

/**
 * Letters over Communication Services (https://learn.microsoft.com/rest/api/communication/email/email/send).
 *
 * - The id of the operation is made of the letter's key: so a letter that is sent again is the same operation, and its outcome can be asked for without having heard an answer.
 * - The SDK sends, and then asks at once what became of it. What counts is that it was taken: a failure to ask does not make it a letter that was not.
 *
 * | answer to the letter                                       | becomes                                                                         |
 * |------------------------------------------------------------|---------------------------------------------------------------------------------|
 * | taken                                                      | sent; `denied` if the service says at once that it has failed for good          |
 * | 429, 503                                                   | `throttled`, and so is all that comes until the time is over that it asks for   |
 * | 401, 403, 404, and whatever is about the sender            | `throttled`: the letter is not to blame, and nothing has left                   |
 * | any other 4xx, if there is no such operation               | `denied`                                                                        |
 * | 413, or over 10 MB before anything is sent                 | `tooLarge`                                                                      |
 * | no answer, 5xx                                             | `unavailable`: it may be on its way                                             |
 *
 * Errors tell codes and never the service's words, which repeat the customer's address.
 */
export interface MailerOptions extends Reach {
  /** An address of a domain that is linked to the resource: `DoNotReply@shop.example`. The name that customers see is set there. */
  readonly from: string;
  readonly clock: Clock;
  /** 60,000 unless told. */
  readonly timeoutMilliseconds?: number;
  /** At a time; 8 unless told. */
  readonly connections?: number;
}

export interface AzureMailer extends MailerDriver {
  /** Letters under way and later ones are `unavailable`. */
  close(): void;
}

/** Throws `Invalid` for options that cannot be; asks nobody anything. The SDK is loaded by the first letter. */
export async function openAzureMailer(options: MailerOptions): Promise<AzureMailer> {
  const { clock, from, timeoutMilliseconds = 60_000, connections = 8 } = options;
  if (!/^[^\s@<>,;]+@[^\s@<>,;]+$/.test(from)) throw new Invalid('letters are sent from one address');
  const reach = await reached(options, 'endpoint');
  const agent = agentFor(reach.address, connections);
  const settings: EmailClientOptions = { agent, retryOptions: { maxRetries: 0 }, allowInsecureConnection: reach.kind === 'local' };
  let made: EmailClient | undefined;
  async function client(): Promise<EmailClient> {
    const sdk = await import('@azure/communication-email');
    return (made ??= reach.kind === 'local' ? new sdk.EmailClient(reach.connectionString, settings) : new sdk.EmailClient(reach.endpoint, reach.credential, settings));
  }
  const closing = new AbortController();
  setMaxListeners(0, closing.signal);
  let busyUntil = 0;

  async function send(letter: Letter): Promise<void> {
    if (clock.now() < busyUntil) throw new PortError('throttled', 'the mail service is busy', { key: letter.key });
    const message = messageOf(letter, from);
    let taken = false;
    const onResponse = ({ status, request }: { readonly status: number; readonly request: { readonly method: string } }): void => {
      if (request.method === 'POST' && status >= 200 && status < 300) taken = true;
    };
    const context = letter.traceparent === undefined ? {} : { requestOptions: { customHeaders: { traceparent: letter.traceparent } } };
    try {
      await within(timeoutMilliseconds, closing.signal, async (abortSignal) => (await client()).beginSend(message, { operationId: operationIdOf(letter.key), abortSignal, onResponse, ...context }));
    } catch (error) {
      if (taken && !hasFailed(error)) return;
      if (taken) throw new PortError('denied', 'the mail service has given the letter up', { key: letter.key });
      const refused = await refusal(error, letter.key);
      if (refused !== undefined) throw refused;
    }
  }

  /** Nothing, if the letter had been taken before: then that may be why it is refused now. */
  async function refusal(error: unknown, key: string): Promise<Error | undefined> {
    if (isPortError(error)) return error;
    const failure = restFailure(error);
    const mapped = restError(failure, 'the mail service', { key });
    if (isPortError(mapped, 'throttled')) busyUntil = clock.now() + Math.min(busyMaxMilliseconds, failure.retryAfterMilliseconds ?? 0);
    const { status = 500 } = failure;
    if (isPortError(mapped, 'throttled', 'tooLarge') || status >= 500 || status === 408 || status < 400) return mapped;
    if (isOurs(failure)) return new PortError('throttled', `the mail service does not take letters of ours: ${status} ${failure.code}`, { key });
    const before = await ask(key);
    return before === 'sent' ? undefined : new PortError('denied', `the mail service: ${status} ${failure.code}`, { key });
  }

  async function ask(key: string): Promise<'sent' | 'notSent' | 'unknown'> {
    const state = { status: 'running', config: { operationLocation: `${reach.address.replace(/\/$/, '')}/emails/operations/${operationIdOf(key)}`, metadata: { mode: 'OperationLocation' } } };
    try {
      // With a state to go on from, the SDK sends nothing and only asks.
      await within(timeoutMilliseconds, closing.signal, async (abortSignal) => (await client()).beginSend(nothing, { resumeFrom: JSON.stringify({ state }), abortSignal }));
      return 'sent';
    } catch (error) {
      if (isPortError(error)) throw error;
      if (hasFailed(error)) return 'unknown';
      const failure = restFailure(error);
      if (failure.status === 404) return 'notSent';
      throw restError(failure, 'the mail service', { key });
    }
  }

  return {
    send, ask,
    close() {
      closing.abort();
      agent.destroy();
    },
  };
}

/** "We limit the total size of an email request to 10 MB." */
const bytesMax = 10_000_000;
const busyMaxMilliseconds = 15 * 60_000;
const nothing: EmailMessage = { senderAddress: '', content: { subject: '', plainText: '' }, recipients: {} };

function messageOf({ key, to, subject, text, html }: Letter, senderAddress: string): EmailMessage {
  const message: EmailMessage = {
    senderAddress, content: { subject, plainText: text, html }, recipients: { to: [{ address: to.address, displayName: to.name }] }, disableUserEngagementTracking: true,
  };
  const bytes = Buffer.byteLength(JSON.stringify(message));
  if (bytes > bytesMax) throw new PortError('tooLarge', `a letter of ${bytes} bytes, ${bytesMax} at most`, { key });
  return message;
}

/** A UUID of version 5 (RFC 9562), but by SHA-256: one for a key, on every machine, for ever. */
export function operationIdOf(key: string): string {
  const bytes = createHash('sha256').update('anyport letter ').update(key).digest().subarray(0, 16);
  bytes[6] = (bytes[6]! & 0x0f) | 0x50;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/** What the SDK says of an operation that has ended badly. */
const hasFailed = (error: unknown): boolean => error instanceof Error && /^(The long-running operation has failed|Operation was canceled)/.test(error.message);

/** Refused for who we are, or for the address that we write from. */
const isOurs = ({ status, code }: RestFailure): boolean => status === 401 || status === 403 || status === 404 || /sender|domain|subscription|resource/i.test(code);

/** The letters that a stand-in has taken, for the mailbox page. */
export function mailboxOf(read: (operationId: string) => Promise<Taken | undefined>, from: EmlOptions['from']): Pick<Mailbox, 'read'> {
  return {
    async read(key) {
      const taken = await read(operationIdOf(key));
      if (taken === undefined) return undefined;
      const { address, displayName: name = '' } = taken.message.recipients.to[0]!;
      const { subject, plainText: text = '', html = '' } = taken.message.content;
      return eml({ key, to: { name, address }, subject, text, html, date: taken.takenAt }, { from });
    },
  };
}

export interface Taken {
  /** RFC 3339. */
  readonly takenAt: string;
  readonly message: {
    readonly content: { readonly subject: string; readonly plainText?: string; readonly html?: string };
    readonly recipients: { readonly to: readonly { readonly address: string; readonly displayName?: string }[] };
  };
}
