import { randomUUID } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { createDefaultHttpClient, createHttpHeaders, createPipelineRequest } from '@azure/core-rest-pipeline';
import { TableClient, type TableServiceClientOptions } from '@azure/data-tables';
import { Defect, Invalid, PortError, must, type Clock, type Query, type RawRow, type RawWrite, type StoreDriver } from '../../ports/index.ts';
import { json, readBatch, writeBatch, type Operation } from './batch.ts';
import { isAbsent, restError, restFailure, type RestFailure } from './errors.ts';
import { agentFor, reached, within, type Reach } from './rest.ts';

/**
 * The store in ONE table of Azure Table Storage: PartitionKey = the partition, RowKey = the key, ETag = the version. A commit is one entity-group transaction.
 *
 * - A body stands in the properties `b0`, `b1` …, as strings, or as binary where that is smaller on the wire: JSON escapes every quotation mark of a string, and all that is
 *   not ASCII (batch.ts says why).
 * - The SDK's retries are off. A commit whose answer was lost is `unavailable`; said again by the SDK, it would come back as a conflict with ourselves. Reads are tried a
 *   second time when the line broke.
 * - Each call ends within `timeoutMilliseconds`, and its body too: the SDK's own time-out ends with the headers of the answer.
 * - When the service is busy, all calls wait for as long as it asks (or ever longer, where it does not say), at most five seconds; then they are sent.
 * - The service decodes the path of an address twice, and takes no long ones. So only rows with short and plain keys are addressed by path; all others are read by a filter
 *   and written by a transaction, to which neither applies.
 *   (https://learn.microsoft.com/archive/blogs/windowsazurestorage/partitionkey-or-rowkey-containing-the-percent-character-causes-some-windows-azure-tables-apis-to-fail)
 *
 * Limits: https://learn.microsoft.com/rest/api/storageservices/understanding-the-table-service-data-model
 */
export interface TableOptions extends Reach {
  /** 3 to 63 letters and digits, a letter first. It is made if it is not there. */
  readonly table: string;
  readonly clock: Clock;
  /** 30,000 unless told. */
  readonly timeoutMilliseconds?: number;
  /** At a time; 64 unless told. */
  readonly connections?: number;
}

export interface AzureStore extends StoreDriver {
  /** Calls under way and later ones are `unavailable`. */
  close(): void;
}

/** Throws `Invalid` for options that cannot be, and what a driver throws when the table can neither be reached nor made. */
export async function openAzureStore(options: TableOptions): Promise<AzureStore> {
  const { clock, timeoutMilliseconds = 30_000 } = options;
  const { client, close, send } = await connect(options);
  const closing = new AbortController();
  setMaxListeners(0, closing.signal);
  const calm = calmer(clock, closing.signal);

  /** `key` is for the error, where the failure is not about one of several. */
  async function call<Answer>(doing: string, work: (signal: AbortSignal) => Promise<Answer>, writes: readonly { readonly key: string }[] = []): Promise<Answer> {
    await calm.pass();
    if (closing.signal.aborted) throw new PortError('unavailable', 'the store is closed');
    try {
      const answer = await within(timeoutMilliseconds, closing.signal, work);
      calm.well();
      return answer;
    } catch (error) {
      if (error instanceof PortError || error instanceof Defect) throw error;
      const failure = error instanceof Refused ? error.failure : restFailure(error);
      const key = writes[failure.index ?? 0]?.key;
      const mapped = restError(failure, doing, { cause: error, ...(key === undefined || (writes.length > 1 && failure.index === undefined) ? {} : { key }) });
      if (mapped instanceof PortError && mapped.kind === 'throttled') calm.busy(failure.retryAfterMilliseconds);
      throw mapped;
    }
  }

  /** Once more when the line broke or was cut: to look twice does no harm. */
  async function look<Answer>(doing: string, work: (signal: AbortSignal) => Promise<Answer>): Promise<Answer> {
    let broke = false;
    const watched = (signal: AbortSignal): Promise<Answer> => work(signal).catch((error: unknown) => {
      broke = restFailure(error).status === undefined && !signal.aborted;
      throw error;
    });
    try {
      return await call(doing, watched);
    } catch (error) {
      if (!broke) throw error;
      return call(doing, work);
    }
  }

  async function get(partition: string, key: string): Promise<RawRow | undefined> {
    if (!isLegal(partition) || !isLegal(key)) return undefined;
    if (!isPlain(partition, key)) return (await page(`${filterOf(partition)} and RowKey eq '${quoted(key)}'`, 1)).rows[0];
    return look('get', async (abortSignal) => {
      const entity = await client.getEntity(partition, key, { abortSignal }).catch((error: unknown) => {
        if (isAbsent(restFailure(error))) return undefined;
        throw error;
      });
      return entity && rowOf(entity);
    });
  }

  /** The service may answer an empty page although there is more. */
  function page(filter: string, top: number): Promise<{ rows: RawRow[]; more: boolean }> {
    return look('query', async (abortSignal) => {
      for await (const found of client.listEntities({ queryOptions: { filter }, abortSignal }).byPage({ maxPageSize: top })) {
        if (found.length > 0 || found.continuationToken === undefined) return { rows: found.map(rowOf), more: found.continuationToken !== undefined };
      }
      return { rows: [], more: false };
    });
  }

  /**
   * The cursor is the last key handed out, and not the service's token: that one names the row to go on with, and would miss what was committed in between.
   * The bounds may be wider than what was asked for, where it cannot be said: then the rows outside are left out here.
   */
  async function query(partition: string, { prefix, after, cursor, limit }: RawQuery): Promise<{ rows: RawRow[]; next?: string }> {
    const upper = endOf(prefix);
    const floor = largest(after, cursor);
    let lower = floor !== undefined && floor >= prefix ? from(floor, 'gt') : from(prefix, 'ge');
    for (;;) {
      const filter = [filterOf(partition), lower, upper === undefined ? '' : `RowKey lt '${quoted(upper)}'`].filter((part) => part !== '').join(' and ');
      const { rows, more } = await page(filter, Math.min(limit, rowsPerPageMax));
      const found = rows.filter(({ key }) => key.startsWith(prefix) && (floor === undefined || key > floor));
      const last = rows.at(-1)?.key;
      if (!more || last === undefined || (last > prefix && !last.startsWith(prefix))) return { rows: found };
      if (found.length > 0) return { rows: found, next: last };
      lower = from(last, 'gt');
    }
  }

  async function commit(partition: string, writes: readonly RawWrite[]): Promise<string[]> {
    check(partition, writes);
    const [write] = writes;
    if (writes.length === 1 && write && isPlain(partition, write.key) && (write.op === 'delete' || !notAscii.test(write.body))) return [await call('commit', (signal) => one(partition, write, signal), writes)];
    const operations = writes.map((each) => operationOf(partition, each));
    const batch = writeBatch(`${client.url.split('?')[0]}/${client.tableName}`, partition, operations, randomUUID());
    return call('commit', async (signal) => answered(readBatch(await send(batch, signal), writes.length), writes), writes);
  }

  async function one(partition: string, write: RawWrite, abortSignal: AbortSignal): Promise<string> {
    if (write.op === 'delete') {
      await client.deleteEntity(partition, write.key, { etag: write.version, abortSignal });
      return '';
    }
    const entity = { partitionKey: partition, rowKey: write.key, ...propertiesOf(write) };
    const { etag } = write.op === 'create' ? await client.createEntity(entity, { abortSignal }) : await client.updateEntity(entity, 'Replace', { etag: write.version, abortSignal });
    return versionIn(etag);
  }

  const store: AzureStore = {
    get, query, commit,
    close() {
      closing.abort();
      close();
    },
  };
  try {
    await make(client, call);
  } catch (error) {
    store.close();
    throw error;
  }
  return store;
}

type RawQuery = Parameters<StoreDriver['query']>[1] & Query;
type Call = <Answer>(doing: string, work: (signal: AbortSignal) => Promise<Answer>) => Promise<Answer>;

/** Looks first: whoever may only read and write rows may not make tables, and need not. */
async function make(client: TableClient, call: Call): Promise<void> {
  const there = await call('open', async (abortSignal) => {
    try {
      await client.listEntities({ queryOptions: { filter: "PartitionKey eq ''" }, abortSignal }).byPage({ maxPageSize: 1 }).next();
      return true;
    } catch (error) {
      if (restFailure(error).status === 404) return false;
      throw error;
    }
  });
  if (!there) await call('make the table', (abortSignal) => client.createTable({ abortSignal }));
}

// ---------------------------------------------------------------- the line

interface Line {
  readonly client: TableClient;
  /** Answers the text of a transaction's answer. */
  send(batch: ReturnType<typeof writeBatch>, signal: AbortSignal): Promise<string>;
  close(): void;
}

async function connect(options: TableOptions): Promise<Line> {
  const { table, connections = 64 } = options;
  if (!/^[A-Za-z][A-Za-z0-9]{2,62}$/.test(table)) throw new Invalid('a table has a name of 3 to 63 letters and digits, a letter first');
  const reach = await reached(options, 'TableEndpoint');
  const httpClient = createDefaultHttpClient();
  const agent = agentFor(reach.address, connections);
  const allowInsecureConnection = reach.kind === 'local';
  const settings: TableServiceClientOptions = { httpClient, agent, retryOptions: { maxRetries: 0 }, allowInsecureConnection };
  const client = reach.kind === 'local' ? TableClient.fromConnectionString(reach.connectionString, table, settings) : new TableClient(reach.endpoint, table, reach.credential, settings);

  return {
    client,
    async send({ body, headers }, abortSignal) {
      const url = `${client.url.split('?')[0]}/$batch`;
      const response = await client.pipeline.sendRequest(httpClient, createPipelineRequest({ url, method: 'POST', body, headers: createHttpHeaders(headers), abortSignal, allowInsecureConnection }));
      if (response.status < 200 || response.status > 299) throw new Refused(restFailure({ statusCode: response.status, response }));
      return response.bodyAsText ?? '';
    },
    close: () => agent.destroy(),
  };
}

/** What a transaction was refused for. */
class Refused extends Error {
  readonly failure: RestFailure;

  constructor(failure: RestFailure) {
    super(failure.code);
    this.failure = failure;
  }
}

const pauseMinMilliseconds = 100;
const pauseMaxMilliseconds = 5_000;

/** Holds calls back while the service is busy. */
function calmer(clock: Clock, closing: AbortSignal): { pass(): Promise<void>; busy(askedMilliseconds?: number): void; well(): void } {
  let until = 0;
  let pause = 0;
  return {
    async pass() {
      for (let left = until - clock.now(); left > 0 && !closing.aborted; left = until - clock.now()) await clock.sleep(left, closing);
    },
    busy(askedMilliseconds) {
      const now = clock.now();
      // Those that were under way together are told together: that is one time, and not many.
      if (now >= until) pause = Math.min(pauseMaxMilliseconds, Math.max(pauseMinMilliseconds, pause * 2));
      until = Math.max(until, now + Math.min(pauseMaxMilliseconds, askedMilliseconds ?? pause));
    },
    well() {
      if (clock.now() >= until) pause = 0;
    },
  };
}

// ---------------------------------------------------------------- keys

const rowsPerPageMax = 1_000;
/** 1 KiB; the service counts two bytes a code unit. */
const keyUnitsMax = 512;
const forbidden = /[/\\#?\u0000-\u001f\u007f-\u009f]|\p{Surrogate}/u;
const notAscii = /[^\x00-\x7f]/;
const plain = /^[\w|~.:@!$()*+,;=-]*$/;
/** Keys of both kinds in an address, whose segments end at 260 characters, the table's name and the punctuation included. */
const plainUnitsMax = 150;

const isLegal = (key: string): boolean => key.length <= keyUnitsMax && !forbidden.test(key);
const isPlain = (partition: string, key: string): boolean => partition.length + key.length <= plainUnitsMax && partition !== '' && plain.test(partition) && plain.test(key);

const quoted = (text: string): string => text.replaceAll("'", "''");
const filterOf = (partition: string): string => `PartitionKey eq '${quoted(partition)}'`;
const largest = (a: string | undefined, b: string | undefined): string | undefined => (a === undefined || (b !== undefined && b > a) ? b : a);

/** As much of a text as can stand in an address: half a pair of surrogates cannot. */
const sayable = (text: string): string => text.slice(0, /\p{Surrogate}/u.exec(text)?.index ?? text.length);

/** A lower bound; where it cannot be said whole, one that lies before it. */
function from(key: string, bound: 'gt' | 'ge'): string {
  const said = sayable(key);
  return said === '' ? '' : `RowKey ${said === key ? bound : 'ge'} '${quoted(said)}'`;
}

/** A text that is behind all texts that begin so, and before nearly all others; undefined where there is none. */
function endOf(prefix: string): string | undefined {
  const points = [...sayable(prefix)].map((point) => point.codePointAt(0)!);
  while (points.at(-1) === 0xffff) points.pop();
  const last = points.pop();
  if (last === undefined) return undefined;
  // Behind the surrogates, and so behind all that lies beyond U+FFFF, comes U+E000.
  const next = last === 0xd7ff || last === 0x10ffff ? 0xe000 : last + 1;
  return String.fromCodePoint(...points, next);
}

function check(partition: string, writes: readonly RawWrite[]): void {
  if (writes.length > 100) throw new PortError('tooLarge', `${writes.length} operations in one transaction, 100 at most`);
  for (const { key } of [{ key: partition }, ...writes]) {
    if (key.length > keyUnitsMax) throw new PortError('tooLarge', `a key of ${key.length} code units, ${keyUnitsMax} at most`, { key });
    if (key === '' || forbidden.test(key)) throw new Defect(`a key without / \\ # ?, control characters and halves of characters: ${JSON.stringify(key)}`);
  }
  for (const write of writes) {
    if (write.op !== 'create' && !isVersion(write.version)) throw new PortError('conflict', `${write.op} of a version that was never given`, { key: write.key });
  }
}

/** What the service gives as an ETag. `*`, which it takes for any version, is none. */
const isVersion = (version: string): boolean => version.length <= 200 && /^(W\/)?"[\x21\x23-\x7e]+"$/.test(version);

function versionIn(etag: string | undefined): string {
  if (etag === undefined || !isVersion(etag)) throw new PortError('unavailable', 'an answer without a version');
  return etag;
}

function answered(answer: ReturnType<typeof readBatch>, writes: readonly RawWrite[]): string[] {
  if (!('length' in answer)) throw new Refused(answer);
  return writes.map((write, n) => (write.op === 'delete' ? '' : versionIn(answer[n])));
}

// ---------------------------------------------------------------- bodies

/** A string property has 64 KiB at two bytes a code unit, a binary one 64 KiB; some have found the service to count 64,000. */
const stringUnitsMax = 31_000;
const binaryBytesMax = 62_000;
const legibleUnitsMax = 500;
const entityBytesMax = 1024 * 1024;

type Properties = Record<string, string | Uint8Array>;

/** Throws `tooLarge` for a row of more than 1 MiB. */
function propertiesOf({ key, body }: Extract<RawWrite, { body: string }>): Properties {
  const parts = isShorterAsString(body) ? stringsOf(body) : binariesOf(body);
  const bytes = parts.reduce((sum, part) => sum + 16 + (typeof part === 'string' ? part.length * 2 : part.length), 0) + 4 * keyUnitsMax;
  if (bytes > entityBytesMax) throw new PortError('tooLarge', `a row of ${bytes} bytes in its table, ${entityBytesMax} at most`, { key });
  return Object.fromEntries(parts.map((part, n) => [`b${n}`, part]));
}

/** Base64 adds a third; so whatever is written takes at most four thirds of its bytes. What is small anyway stays legible for whoever looks into the table. */
function isShorterAsString(body: string): boolean {
  if (body.length <= legibleUnitsMax) return true;
  const length = json(body).length - 2;
  return length * 3 <= body.length * 4 || length * 3 <= Buffer.byteLength(body) * 4;
}

function stringsOf(body: string): string[] {
  const parts: string[] = [];
  for (let from = 0; from < body.length || parts.length === 0; ) {
    let to = Math.min(body.length, from + stringUnitsMax);
    if (to < body.length && /[\ud800-\udbff]/.test(body[to - 1]!)) to--; // never between the halves of a character
    parts.push(body.slice(from, to));
    from = to;
  }
  return parts;
}

function binariesOf(body: string): Uint8Array[] {
  const bytes = Buffer.from(body);
  return Array.from({ length: Math.ceil(bytes.length / binaryBytesMax) }, (_, n) => bytes.subarray(n * binaryBytesMax, (n + 1) * binaryBytesMax));
}

function operationOf(partition: string, write: RawWrite): Operation {
  if (write.op === 'delete') return write;
  const entity: Record<string, string> = { PartitionKey: partition, RowKey: write.key };
  for (const [name, part] of Object.entries(propertiesOf(write))) {
    entity[name] = typeof part === 'string' ? part : Buffer.from(part.buffer, part.byteOffset, part.length).toString('base64');
    if (typeof part !== 'string') entity[`${name}@odata.type`] = 'Edm.Binary';
  }
  return { ...write, entity: json(entity) };
}

function rowOf(entity: Record<string, unknown>): RawRow {
  const { rowKey, etag } = entity;
  must(typeof rowKey === 'string' && typeof etag === 'string', 'a row has a key and a version');
  const strings: string[] = [];
  const bytes: Uint8Array[] = [];
  for (let n = 0, part = entity['b0']; part !== undefined; part = entity[`b${++n}`]) {
    if (typeof part === 'string') strings.push(part);
    else if (part instanceof Uint8Array) bytes.push(part);
  }
  must(strings.length > 0 !== bytes.length > 0, 'a row has a body that we have written');
  return { key: rowKey, version: etag, body: strings.length > 0 ? strings.join('') : Buffer.concat(bytes).toString() };
}
