import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { Invalid } from '../ports/index.ts';
import { readEntities, type Topology } from './config.ts';
import type { Faults } from './amqp.ts';

/**
 * The control endpoint: plain HTTP and JSON, for tests and for people with curl.
 *
 * | request | |
 * |---|---|
 * | `GET /` | entities, counts, connections |
 * | `PUT /queues/NAME`, `/topics/NAME`, `/hubs/NAME` | creates; the body is the entity as in Config.json, without its `Name` |
 * | `DELETE /queues/NAME`, `/topics/NAME`, `/hubs/NAME` | with all that is in it |
 * | `POST /faults/drop` `{ "entity"? }` | destroys the sockets of all clients, or of those with a link to the entity |
 * | `POST /faults/delay` `{ "milliseconds" }` | what clients say is heard so much later |
 * | `POST /faults/throttle` `{ "entity", "times" }` | the next so many sends, links and requests are refused: server busy |
 * | `POST /faults/lose-answers` `{ "entity", "times" }` | the next so many sends and settlements are done, and the socket is dropped instead of answering |
 * | `POST /faults/lose-locks` `{ "entity" }` | all locks on messages and sessions run out now |
 * | `DELETE /faults` | takes back delay, throttling and lost answers |
 *
 * There is no password: it listens where the emulator listens, on loopback unless told otherwise, and refuses whatever a web page sends (it has an `Origin`).
 * Errors are `application/problem+json`.
 */
export interface Controlled {
  readonly faults: Faults;
  entities(): object;
  /** Throws `Invalid` when a name is taken by another kind; false if the entity is there already. */
  create(topology: Topology): boolean;
  remove(kind: Kind, name: string): boolean;
  /** How many locks were lost; undefined if there is no such entity. */
  loseLocks(entity: string): number | undefined;
}

export type Kind = 'queues' | 'topics' | 'hubs';

export interface Control {
  readonly port: number;
  close(): Promise<void>;
}

const bodyBytesMax = 1024 * 1024;

export function startControl(controlled: Controlled, { host, port }: { host: string; port: number }): Promise<Control> {
  const server = createServer({ requestTimeout: 10_000 }, (request, response) => {
    void respond(controlled, request).then(
      ({ status, body }) => send(response, status, body),
      (error: unknown) => send(response, ...problemOf(error)),
    );
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      const address = server.address();
      resolve({
        port: typeof address === 'object' && address !== null ? address.port : port,
        close: () =>
          new Promise((done) => {
            server.close(() => done());
            server.closeAllConnections();
          }),
      });
    });
  });
}

interface Reply {
  readonly status: number;
  readonly body?: object;
}

const noSuchThing: Reply = { status: 404, body: { title: 'There is no such thing here.' } };

async function respond(controlled: Controlled, request: IncomingMessage): Promise<Reply> {
  if (request.headers.origin !== undefined) return { status: 403, body: { title: 'Web pages have no business here.' } };
  const body = await bodyOf(request);
  const path = new URL(request.url ?? '/', 'http://emulator').pathname.split('/').slice(1).map(decodeURIComponent);
  const [first = '', ...rest] = path;
  if (first === '' && request.method === 'GET') return { status: 200, body: controlled.entities() };
  if (first === 'faults') return fault(controlled, request.method, rest.join('/'), body);
  if (isKind(first) && rest.length > 0) return entity(controlled, request.method, first, rest.join('/'), body);
  return noSuchThing;
}

const isKind = (text: string): text is Kind => text === 'queues' || text === 'topics' || text === 'hubs';

function entity(controlled: Controlled, method: string | undefined, kind: Kind, name: string, body: Json): Reply {
  if (method === 'DELETE') return controlled.remove(kind, name) ? { status: 204 } : noSuchThing;
  if (method !== 'PUT') return { status: 405 };
  const list = { queues: 'Queues', topics: 'Topics', hubs: 'Entities' }[kind];
  const config = { UserConfig: { Namespaces: [{ [list]: [{ ...body, Name: name }] }] } };
  const { topology, ignored } = readEntities(JSON.stringify(config));
  if (ignored.length > 0) throw new Invalid('not understood', ignored.map((pointer) => ({ pointer, detail: 'is not known' })));
  return { status: controlled.create(topology) ? 201 : 200 };
}

function fault({ faults, loseLocks }: Controlled, method: string | undefined, name: string, body: Json): Reply {
  if (method === 'DELETE' && name === '') {
    faults.clear();
    return { status: 204 };
  }
  if (method !== 'POST') return { status: 405 };
  if (name === 'drop') return { status: 200, body: { dropped: faults.drop(body['entity'] === undefined ? undefined : textIn(body, 'entity')) } };
  if (name === 'delay') return done(() => faults.delay(countIn(body, 'milliseconds', 60_000)));
  if (name === 'throttle') return done(() => faults.throttle(textIn(body, 'entity'), countIn(body, 'times', 1_000_000)));
  if (name === 'lose-answers') return done(() => faults.loseAnswers(textIn(body, 'entity'), countIn(body, 'times', 1_000_000)));
  if (name !== 'lose-locks') return noSuchThing;
  const lost = loseLocks(textIn(body, 'entity'));
  return lost === undefined ? noSuchThing : { status: 200, body: { lost } };
}

function done(act: () => void): Reply {
  act();
  return { status: 204 };
}

type Json = Readonly<Record<string, unknown>>;

function textIn(body: Json, key: string): string {
  const value = body[key];
  if (typeof value !== 'string' || value === '') throw new Invalid('the request does not fit', [{ pointer: `/${key}`, detail: 'must be a text' }]);
  return value;
}

function countIn(body: Json, key: string, max: number): number {
  const value = body[key];
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= max) return value;
  throw new Invalid('the request does not fit', [{ pointer: `/${key}`, detail: `must be a whole number from 0 to ${max}` }]);
}

async function bodyOf(request: IncomingMessage): Promise<Json> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > bodyBytesMax) throw new Invalid(`the request is larger than ${bodyBytesMax} bytes`);
    chunks.push(chunk);
  }
  if (size === 0) return {};
  try {
    const json: unknown = JSON.parse(Buffer.concat(chunks).toString());
    if (typeof json === 'object' && json !== null && !Array.isArray(json)) return json as Json;
  } catch {
    throw new Invalid('the request is not JSON');
  }
  throw new Invalid('the request is not a JSON object');
}

function problemOf(error: unknown): [number, object] {
  if (error instanceof URIError) return [400, { title: 'the path does not parse' }];
  if (!(error instanceof Invalid)) return [500, { title: error instanceof Error ? error.message : String(error) }];
  return [400, { title: error.message, errors: error.complaints }];
}

function send(response: ServerResponse, status: number, body: object | undefined): void {
  response.statusCode = status;
  if (body === undefined) return void response.end();
  response.setHeader('content-type', status < 400 ? 'application/json' : 'application/problem+json');
  response.end(`${JSON.stringify(body, null, 2)}\n`);
}
