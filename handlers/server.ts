import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server as NodeServer, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';
import type { Log } from '../ports/index.ts';
import { errorAnswer, faultOf, problem, type Fault, type HttpAnswer } from './answer.ts';
import { bodyBytesMax, countRequest, tooLarge, type HttpContext, type HttpEvent } from './host.ts';
import { networkOf } from './limit.ts';
import { createRouter, splitAt, unreadablePath, type Find } from './routes.ts';
import { WrongSetting, isPrivate } from './settings.ts';

/**
 * THE LOCAL WEB SERVER: node:http in front of the handlers, routed by the doors of the flow, with the shop's assets, health and documents beside them.
 *
 * - Whatever comes in has a limit: headers 16 KiB and `headersMax`, a body `bodyBytesMax` counted while it is read, and a time for each; so has the time in which nothing
 *   moves, and the number of connections, in all and (unless limits are off) of one network.
 * - Paths are decoded once; what cannot be decoded, or hides control characters, is 400. A path is exact: with a slash too many it is redirected if that helps, otherwise 404.
 * - Where only this machine can reach the shop it is served under the names of this machine and of SHOP_URL alone, otherwise 421: a page from elsewhere whose own name was
 *   made to point here (DNS rebinding) gets nothing.
 * - HEAD is GET without the body. Any other method is 405 with Allow.
 * - `close` takes no new requests, lets those in flight end (their answers say `Connection: close`), and after a deadline ends the rest.
 */
export interface ServerOptions {
  /** 0 takes a free one. */
  readonly port: number;
  readonly host: string;
  readonly context: HttpContext;
  readonly ready: () => boolean | Promise<boolean>;
  readonly log: Log;
  readonly headersSecondsMax?: number;
  /** For a whole request, its body included. */
  readonly requestSecondsMax?: number;
  /** In which nothing was read and nothing written: a client that does not fetch its answer. */
  readonly idleSecondsMax?: number;
  /** Between two requests. */
  readonly keepAliveSecondsMax?: number;
  readonly connectionsMax?: number;
  readonly connectionsPerNetworkMax?: number;
  readonly closeSecondsMax?: number;
  /** Answers that go on, at once; who comes after gets the short one, and asks again by himself. */
  readonly streamsMax?: number;
  readonly streamsPerNetworkMax?: number;
}

const headersMax = 100;

export interface Server {
  readonly port: number;
  readonly url: string;
  close(): Promise<void>;
}

/** Throws `WrongSetting` with one clear line when it cannot listen there. */
export async function startServer(options: ServerOptions): Promise<Server> {
  const { port, host, headersSecondsMax = 10, requestSecondsMax = 30, idleSecondsMax = 60, keepAliveSecondsMax = 20, closeSecondsMax = 10 } = options;
  const find = createRouter(options);
  const server = createServer({
    maxHeaderSize: 16 * 1024,
    headersTimeout: headersSecondsMax * 1000,
    requestTimeout: requestSecondsMax * 1000,
    connectionsCheckingInterval: Math.min(1000, headersSecondsMax * 250),
    keepAliveTimeout: keepAliveSecondsMax * 1000,
    requireHostHeader: false, // node's own refusal is no problem and has no security headers; ours is below
    noDelay: true,
  });
  server.timeout = idleSecondsMax * 1000;
  server.maxConnections = options.connectionsMax ?? 2_000;
  if (options.context.rateLimit !== false) shareConnections(server, options.connectionsPerNetworkMax ?? 500);
  server.on('clientError', complain);
  const streams = openStreams(options);
  const drain = drainable(server, closeSecondsMax);
  const answered = (request: IncomingMessage, response: ServerResponse): void => void serve(request, response, find, options, streams);
  server.on('request', answered);
  server.on('checkExpectation', answered); // an expectation that is not 100-continue
  await listening(server, port, host);
  server.on('error', (error) => options.log.warn({ error }, 'a connection could not be taken'));
  const { port: taken } = server.address() as AddressInfo;
  return { port: taken, url: `http://${host.includes(':') ? `[${host}]` : host}:${taken}`, close: () => (streams.end(), drain()) };
}

/** One network holds so many connections at the most: who opens more is hung up on, and the others still come in. */
function shareConnections(server: NodeServer, most: number): void {
  const held = new Map<string, number>();
  server.on('connection', (socket: Socket) => {
    const network = networkOf(socket.remoteAddress ?? '');
    const count = (held.get(network) ?? 0) + 1;
    if (count > most) return void socket.destroy();
    held.set(network, count);
    socket.once('close', () => {
      const left = held.get(network)! - 1;
      if (left === 0) held.delete(network);
      else held.set(network, left);
    });
  });
}

function listening(server: NodeServer, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(unheard(error, port, host)));
    server.listen(port, host, () => {
      server.removeAllListeners('error');
      resolve();
    });
  });
}

function unheard(error: NodeJS.ErrnoException, port: number, host: string): Error {
  if (error.code === 'EADDRINUSE') return new WrongSetting(`PORT ${port} is in use on ${host}; take another one, or 0 for a free one`);
  if (error.code === 'EACCES') return new WrongSetting(`PORT ${port} on ${host} is not for this user`);
  if (error.code === 'EADDRNOTAVAIL' || error.code === 'ENOTFOUND') return new WrongSetting(`HOST ${host} is no address of this machine`);
  return error;
}

// ---------------------------------------------------------------- one request

async function serve(request: IncomingMessage, response: ServerResponse, find: Find, options: ServerOptions, streams: Streams): Promise<void> {
  const { log } = options;
  try {
    const result = await answerTo(request, find, options);
    if (result.status === 413 || result.status === 417) response.setHeader('connection', 'close');
    if (result.stream && request.method === 'GET' && (await streams.send(request, response, result))) return;
    await send(request, response, result);
  } catch (error) {
    if (request.destroyed && !request.complete) return; // gone, or thrown out because it was too slow
    const occurrence = randomUUID();
    log.error({ request: occurrence, error }, 'a request failed outside of its door');
    if (response.headersSent) response.destroy();
    else await send(request, response, problem(faultOf(error), occurrence)).catch(() => response.destroy());
  }
}

/** A stranger may write anything there, and each would be a series of its own. */
const knownMethods = new Set(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']);

async function answerTo(request: IncomingMessage, find: Find, options: ServerOptions): Promise<HttpAnswer> {
  // RFC 9112, 3.2.2: a server must understand the absolute form as well.
  const [path, search] = splitAt((request.url ?? '').replace(/^https?:\/\/[^/?#]*/i, ''), '?');
  const asPage = !path.startsWith('/api/') && (request.headers.accept ?? '').includes('text/html');
  const { kernel } = options.context;
  const began = kernel.clock.now();
  const fail = (fault: Fault, page = asPage): HttpAnswer => {
    countRequest(kernel, { method: knownMethods.has(request.method ?? '') ? request.method! : '_OTHER', route: '', status: fault.status, began });
    return errorAnswer(fault, randomUUID(), page, kernel.settings.shopName);
  };
  const wrong = wrongHead(request, options);
  if (wrong) return fail(wrong);
  const unread = unreadablePath(path, search);
  if (unread) return fail(unread);
  const method = request.method === 'HEAD' ? 'GET' : (request.method ?? '');
  const found = find(method, path);
  if ('fault' in found) return fail(found.fault);
  const body = await read(request);
  if (body === undefined) return fail(tooLarge, found.route.page);
  const headers = request.headers as HttpEvent['headers']; // only set-cookie would be a list, and that is no header of a request
  return found.route.answer({ method, path, params: found.params, query: new URLSearchParams(search), headers, body, remote: request.socket.remoteAddress });
}

function wrongHead(request: IncomingMessage, options: ServerOptions): Fault | undefined {
  const { rawHeaders, headers } = request;
  if (rawHeaders.length > 2 * headersMax) return { status: 431, refused: 'headers-too-large', detail: `a request has at most ${headersMax} headers` };
  const hosts = rawHeaders.filter((name, i) => i % 2 === 0 && name.toLowerCase() === 'host').length;
  // RFC 9112, 3.2.
  if (hosts !== 1) return { status: 400, refused: 'bad-request', detail: 'a request names one host' };
  const [, authority] = /^https?:\/\/([^/?#]*)/i.exec(request.url ?? '') ?? [];
  const named = [headers.host ?? '', ...(authority === undefined ? [] : [authority])];
  if (!named.every((each) => isServed(each, options))) return { status: 421, refused: 'misdirected', detail: 'this shop is not served under this name; SHOP_URL names another one that it has' };
  if (headers.expect !== undefined && headers.expect.toLowerCase() !== '100-continue') return { status: 417, refused: 'expectation-failed', detail: 'only 100-continue can be expected' };
  return undefined;
}

const ownNames = new Set(['localhost', '127.0.0.1', '[::1]']);

function isServed(authority: string, { host, context }: ServerOptions): boolean {
  if (!isPrivate({ host })) return true;
  const name = /^(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::\d{0,5})?$/i.exec(authority)?.[1]?.toLowerCase();
  if (name === undefined) return false;
  return ownNames.has(name) || name === host || name === new URL(context.kernel.settings.shopUrl).hostname;
}

/** So much more than allowed is read and thrown away, because a client that is cut off while it writes never gets to see why. */
const surplusBytesMax = 4 * bodyBytesMax;

/** The body, or undefined when it is over the limit. */
async function read(request: IncomingMessage): Promise<Uint8Array | undefined> {
  const most = bodyBytesMax + surplusBytesMax;
  if (Number(request.headers['content-length'] ?? 0) > most) return undefined;
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>) {
    size += chunk.byteLength;
    if (size <= bodyBytesMax) chunks.push(chunk);
    else chunks.length = 0;
    if (size > most) return undefined;
  }
  if (size > bodyBytesMax) return undefined;
  return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
}

async function send(request: IncomingMessage, response: ServerResponse, given: HttpAnswer): Promise<void> {
  const { status, headers, body } = await packed(request, given);
  const bytes = typeof body === 'string' ? Buffer.from(body) : body;
  response.writeHead(status, { ...headers, ...(status === 204 || status === 304 ? {} : { 'content-length': bytes.byteLength }) });
  response.end(bytes); // node:http itself keeps the body back where there must be none: HEAD, 204, 304
}

// ---------------------------------------------------------------- answers that go on

interface Streams {
  /** False: there is no place, and nothing has been sent. */
  send(request: IncomingMessage, response: ServerResponse, given: HttpAnswer): Promise<boolean>;
  end(): void;
}

/** Each ends with its reader, with its source, or with the server, whichever comes first. What the reader does not fetch is waited for, not heaped up. */
function openStreams({ streamsMax = 500, streamsPerNetworkMax = 50, context, log }: ServerOptions): Streams {
  const open = new Map<AbortController, string>();
  let ended = false;
  const full = (network: string): boolean => {
    if (ended || open.size >= streamsMax) return true;
    return context.rateLimit !== false && [...open.values()].filter((each) => each === network).length >= streamsPerNetworkMax;
  };
  return {
    async send(request, response, { headers, stream }) {
      const network = networkOf(request.socket.remoteAddress ?? '');
      if (!stream || full(network)) return false;
      const stop = new AbortController();
      open.set(stop, network);
      response.once('close', () => stop.abort());
      try {
        response.writeHead(200, { ...headers, 'content-type': stream.type, 'x-accel-buffering': 'no' });
        for await (const piece of stream.events(stop.signal)) {
          if (stop.signal.aborted) break;
          if (!response.write(piece)) await drained(response, stop.signal);
        }
      } catch (error) {
        if (!stop.signal.aborted) log.warn({ error }, 'an answer that goes on has ended early');
      } finally {
        open.delete(stop);
        response.end();
      }
      return true;
    },
    end() {
      ended = true;
      for (const stop of open.keys()) stop.abort();
    },
  };
}

function drained(response: ServerResponse, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off('drain', done);
      signal.removeEventListener('abort', done);
      resolve();
    };
    response.once('drain', done);
    signal.addEventListener('abort', done);
  });
}

const brotli = promisify(brotliCompress);
const deflate = promisify(gzip);
const packable = /^(text\/|application\/(json|javascript)|image\/svg)/;

/** Compresses what gains by it. Pages that nobody may keep stay as they are: they hold secrets beside what was typed in, and the length would tell of both. */
async function packed(request: IncomingMessage, given: HttpAnswer): Promise<HttpAnswer> {
  const { headers, body } = given;
  const type = headers['content-type'] ?? '';
  if (body.length < 2048 || !packable.test(type) || (type.startsWith('text/html') && headers['cache-control'] === 'no-store')) return given;
  const accepted = String(request.headers['accept-encoding'] ?? '');
  const vary = { ...headers, vary: 'Accept-Encoding' };
  if (/\bbr\b/.test(accepted)) {
    const small = await brotli(body, { params: { [constants.BROTLI_PARAM_QUALITY]: 4 } });
    return { ...given, headers: { ...vary, 'content-encoding': 'br' }, body: small };
  }
  if (/\bgzip\b/.test(accepted)) return { ...given, headers: { ...vary, 'content-encoding': 'gzip' }, body: await deflate(body, { level: 3 }) };
  return { ...given, headers: vary };
}

/** What is no HTTP, too long in the head, or too slow. There is no response object yet, so the answer is written by hand. */
function complain(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy();
  const { status, headers, body } = problem(unreadable[error.code ?? ''] ?? { status: 400, refused: 'bad-request', detail: 'this is not HTTP' }, randomUUID());
  const reasons: Readonly<Record<number, string>> = { 400: 'Bad Request', 408: 'Request Timeout', 431: 'Request Header Fields Too Large' };
  const head = Object.entries({ ...headers, 'content-length': Buffer.byteLength(String(body)), connection: 'close' }).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.end(`HTTP/1.1 ${status} ${reasons[status]}\r\n${head.join('')}\r\n${String(body)}`, () => socket.destroy());
}
const unreadable: Readonly<Record<string, Fault>> = {
  ERR_HTTP_REQUEST_TIMEOUT: { status: 408, refused: 'too-slow', detail: 'the request did not come in time' },
  HPE_HEADER_OVERFLOW: { status: 431, refused: 'headers-too-large', detail: 'the headers are too long' },
};

// ---------------------------------------------------------------- closing

/** Knows the requests of every connection, because `server.close` alone waits for connections that browsers open ahead and never use. */
function drainable(server: NodeServer, secondsMax: number): () => Promise<void> {
  const inFlight = new Map<Socket, Set<ServerResponse>>();
  let closing: Promise<void> | undefined;

  server.on('connection', (socket: Socket) => {
    inFlight.set(socket, new Set());
    socket.once('close', () => inFlight.delete(socket));
  });
  server.on('request', ({ socket }: IncomingMessage, response: ServerResponse) => {
    const responses = inFlight.get(socket);
    if (closing) response.setHeader('connection', 'close');
    responses?.add(response);
    response.once('close', () => {
      responses?.delete(response);
      if (closing && responses?.size === 0) socket.destroySoon();
    });
  });

  return () => {
    closing ??= new Promise((resolve) => {
      const deadline = setTimeout(() => server.closeAllConnections(), secondsMax * 1000);
      server.close(() => {
        clearTimeout(deadline);
        resolve();
      });
      for (const [socket, responses] of inFlight) {
        if (responses.size === 0) socket.destroy();
        for (const response of responses) if (!response.headersSent) response.setHeader('connection', 'close');
      }
    });
    return closing;
  };
}
