import { createHash, createHmac, randomBytes, randomUUID, timingSafeEqual } from 'node:crypto';
import { link, mkdir, readFile, unlink, writeFile } from 'node:fs/promises';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import type { Clock } from '../ports/index.ts';

/**
 * A stand-in of Communication Services e-mail (https://learn.microsoft.com/rest/api/communication/email/email), for 127.0.0.1 alone: it takes letters, sends none, and keeps
 * them for whoever wants to read them.
 *
 * - `POST /emails:send`: signed with the access key (HMAC-SHA256), answered by 202 with `Operation-Location`. A letter under an `Operation-Id` that was there before is the
 *   same operation: it is answered again, and not kept again; the first one counts.
 * - `GET /emails/operations/{id}`: what became of it; 404 if it was never taken.
 * - `GET /letters` and `GET /letters/{id}` are its own: the newest letters, and one, as JSON, without a signature.
 * - With a folder each letter is a file, made in one step before it is answered: so whoever kills it finds all that it has acknowledged.
 */
export interface EmailOptions {
  readonly clock: Pick<Clock, 'now'>;
  /** Any free one, if not told. */
  readonly port?: number;
  /** Where letters are kept; in memory, if not told. */
  readonly dataDir?: string;
}

export interface EmailStandIn {
  readonly port: number;
  /** For `EmailClient`, with `allowInsecureConnection`. */
  readonly connectionString: string;
  /** What has been taken since it was started, the newest first, a hundred at most. */
  recent(): readonly KeptLetter[];
  read(operationId: string): Promise<KeptLetter | undefined>;
  /** What the next letters meet, one each, in this order. */
  next(...outcomes: readonly Outcome[]): void;
  close(): Promise<void>;
}

/** `refuse`: it is not taken, and this is answered. `fail`: it is taken, and then given up, with such a code. */
export type Outcome =
  | { readonly do: 'refuse'; readonly status: number; readonly code?: string; readonly retryAfterSeconds?: number }
  | { readonly do: 'fail'; readonly code: string };

export interface KeptLetter {
  readonly operationId: string;
  /** RFC 3339. */
  readonly takenAt: string;
  readonly status: 'Succeeded' | 'Failed';
  readonly code?: string;
  readonly message: {
    readonly senderAddress: string;
    readonly content: { readonly subject: string; readonly plainText?: string; readonly html?: string };
    readonly recipients: { readonly to: readonly { readonly address: string; readonly displayName?: string }[] };
  };
}

const bytesMax = 10_000_000;
const recentMax = 100;
const recipientsMax = 50;

export async function startEmail({ clock, port = 0, dataDir }: EmailOptions): Promise<EmailStandIn> {
  const key = dataDir === undefined ? randomBytes(32) : await keyIn(dataDir);
  const letters = dataDir === undefined ? inMemory() : inFolder(join(dataDir, 'letters'));
  const recent: KeptLetter[] = [];
  const outcomes: Outcome[] = [];
  const server = createServer((incoming, outgoing) => void serve(incoming, outgoing).catch(() => outgoing.destroy()));
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  async function serve(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const { status, headers = {}, body } = await answerTo(incoming).catch((error: unknown) => {
      if (error instanceof Refused) return error.answer;
      throw error;
    });
    outgoing.writeHead(status, { 'content-type': 'application/json; charset=utf-8', ...headers }).end(JSON.stringify(body));
  }

  async function answerTo(incoming: IncomingMessage): Promise<Answer> {
    const { pathname, searchParams } = new URL(incoming.url ?? '/', address);
    const route = `${incoming.method} ${pathname}`;
    // Letters are shown to whoever is on this machine, and to no page that another site has sent under its own name.
    if (pathname.startsWith('/letters') && `http://${incoming.headers.host}` !== address) refuse(403, 'Denied', 'Ask by the address of this machine.');
    if (route === 'GET /letters') return { status: 200, body: recent };
    if (pathname.startsWith('/letters/') && incoming.method === 'GET') return found(await letters.read(pathname.slice('/letters/'.length)), (letter) => letter);
    const body = await bodyOf(incoming);
    if (!isSigned(incoming, body, key)) refuse(401, 'Denied', 'Denied by the resource provider.');
    if (!/^\d{4}-\d\d-\d\d(-preview)?$/.test(searchParams.get('api-version') ?? '')) refuse(400, 'MissingApiVersionParameter', 'The api-version query parameter is required.');
    if (route === 'POST /emails:send') return take(incoming, body);
    const operation = /^\/emails\/operations\/([^/]+)$/.exec(pathname)?.[1];
    if (operation === undefined || incoming.method !== 'GET') refuse(404, 'NotFound', 'There is no such address.');
    return found(await letters.read(operation.toLowerCase()), (letter) => ({
      id: letter.operationId, status: letter.status, ...(letter.code === undefined ? {} : { error: { code: letter.code, message: 'The letter was not delivered.' } }),
    }));
  }

  async function take(incoming: IncomingMessage, body: Buffer): Promise<Answer> {
    const operationId = (incoming.headers['operation-id']?.toString() ?? randomUUID()).toLowerCase();
    if (!uuid.test(operationId)) refuse(400, 'InvalidOperationId', 'Operation-Id is a UUID.');
    const message = messageIn(body);
    const outcome = outcomes.shift();
    if (outcome?.do === 'refuse') {
      refuse(outcome.status, outcome.code ?? 'Refused', 'Refused as it was told.', outcome.retryAfterSeconds === undefined ? {} : { 'retry-after': String(outcome.retryAfterSeconds) });
    }
    const letter: KeptLetter = { operationId, takenAt: new Date(clock.now()).toISOString(), ...(outcome === undefined ? { status: 'Succeeded' } : { status: 'Failed', code: outcome.code }), message };
    if (await letters.keep(letter)) recent.splice(0, recent.length, ...[letter, ...recent].slice(0, recentMax));
    return {
      status: 202, headers: { 'operation-location': `http://${incoming.headers.host}/emails/operations/${operationId}?api-version=2025-09-01`, 'retry-after': '1' }, body: { id: operationId, status: 'Running' },
    };
  }

  return {
    port: (server.address() as AddressInfo).port,
    connectionString: `endpoint=${address}/;accesskey=${key.toString('base64')}`,
    recent: () => [...recent],
    read: (operationId) => letters.read(operationId.toLowerCase()),
    next: (...more) => void outcomes.push(...more),
    async close() {
      server.close();
      server.closeAllConnections();
      if (server.listening) await once(server, 'close');
    },
  };
}

interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: unknown;
}

class Refused extends Error {
  readonly answer: Answer;

  constructor(answer: Answer) {
    super();
    this.answer = answer;
  }
}

function refuse(status: number, code: string, message: string, headers: Readonly<Record<string, string>> = {}): never {
  throw new Refused({ status, headers: { 'x-ms-error-code': code, ...headers }, body: { error: { code, message } } });
}

function found(letter: KeptLetter | undefined, said: (letter: KeptLetter) => unknown): Answer {
  if (letter === undefined) refuse(404, 'NotFound', 'There is no such operation.');
  return { status: 200, body: said(letter) };
}

async function bodyOf(incoming: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of incoming as AsyncIterable<Buffer>) {
    if ((bytes += part.length) > bytesMax) refuse(413, 'RequestEntityTooLarge', 'A letter has 10 MB at most.');
    parts.push(part);
  }
  return Buffer.concat(parts);
}

/** https://learn.microsoft.com/rest/api/communication/authentication: the hash of the body, and the signature over method, address, date, host and hash. */
function isSigned({ method = '', url = '', headers }: IncomingMessage, body: Buffer, key: Buffer): boolean {
  const hash = createHash('sha256').update(body).digest('base64');
  const signature = /^HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature=(\S+)$/.exec(headers.authorization ?? '')?.[1];
  if (signature === undefined || headers['x-ms-content-sha256'] !== hash) return false;
  const right = createHmac('sha256', key).update(`${method}\n${url}\n${headers['x-ms-date']};${headers.host};${hash}`).digest();
  const said = Buffer.from(signature, 'base64');
  return said.length === right.length && timingSafeEqual(said, right);
}

function messageIn(body: Buffer): KeptLetter['message'] {
  const message = parsed(body);
  if (!isMessage(message)) refuse(400, 'BadRequest', 'A letter has a senderAddress, a subject, plainText or html, and recipients with one to fifty addresses.');
  return message;
}

function parsed(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString()) as unknown;
  } catch {
    return undefined;
  }
}

function isMessage(value: unknown): value is KeptLetter['message'] {
  const { senderAddress, content, recipients } = record(value);
  const { subject, plainText, html } = record(content);
  const { to } = record(recipients);
  return isAddress(senderAddress) && isText(subject) && subject !== '' && (plainText === undefined || isText(plainText)) && (html === undefined || isText(html)) && (plainText ?? html) !== undefined
    && Array.isArray(to) && to.length > 0 && to.length <= recipientsMax
    && to.every((each) => isAddress(record(each)['address']) && (record(each)['displayName'] === undefined || isText(record(each)['displayName'])));
}

const record = (value: unknown): Record<string, unknown> => (typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {});
const isText = (value: unknown): value is string => typeof value === 'string';
const isAddress = (value: unknown): boolean => isText(value) && /^[^\s@<>,;]+@[^\s@<>,;]+$/.test(value);
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

interface Letters {
  /** False if the operation was there before. */
  keep(letter: KeptLetter): Promise<boolean>;
  read(operationId: string): Promise<KeptLetter | undefined>;
}

function inMemory(): Letters {
  const letters = new Map<string, KeptLetter>();
  return {
    async keep(letter) {
      if (letters.has(letter.operationId)) return false;
      letters.set(letter.operationId, letter);
      return true;
    },
    read: async (operationId) => letters.get(operationId),
  };
}

function inFolder(folder: string): Letters {
  const fileOf = (operationId: string): string => join(folder, operationId.slice(0, 2), `${operationId}.json`);
  return {
    async keep(letter) {
      const file = fileOf(letter.operationId);
      await mkdir(dirname(file), { recursive: true });
      return made(file, JSON.stringify(letter));
    },
    async read(operationId) {
      if (!uuid.test(operationId)) return undefined;
      const text = await readFile(fileOf(operationId), 'utf8').catch((error: unknown) => {
        if (codeOf(error) === 'ENOENT') return undefined;
        throw error;
      });
      return text === undefined ? undefined : (JSON.parse(text) as KeptLetter);
    },
  };
}

/** The access key stays the same over a restart, so that whoever was told it is still let in. */
async function keyIn(dataDir: string): Promise<Buffer> {
  await mkdir(dataDir, { recursive: true });
  const file = join(dataDir, 'accesskey');
  await made(file, randomBytes(32));
  return readFile(file);
}

/** A file is a draft first, and gets its name when it is whole: so a kill leaves no torn one. False if it was there before. */
async function made(file: string, content: string | Buffer): Promise<boolean> {
  const draft = `${file}.${randomUUID()}.draft`;
  await writeFile(draft, content, { mode: 0o600 });
  try {
    await link(draft, file);
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    throw error;
  } finally {
    await unlink(draft);
  }
}

const codeOf = (error: unknown): string | undefined => (error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined);
