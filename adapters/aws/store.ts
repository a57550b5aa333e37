import {
  CreateTableCommand, DeleteItemCommand, DynamoDBClient, GetItemCommand, PutItemCommand, QueryCommand, TransactWriteItemsCommand,
  type AttributeValue, type CancellationReason, type Put, type TransactWriteItem,
} from '@aws-sdk/client-dynamodb';
import { randomUUID } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { Defect, Invalid, PortError, isPortError, must, type Clock, type RawRow, type RawWrite, type StoreDriver } from '../../ports/index.ts';
import { answered, checkedPlace, configOf, isLocal, onlyOnce, type Place } from './client.ts';
import { awsError, nameOf } from './errors.ts';
import { tableOf } from './table.ts';

/**
 * The store in ONE table of DynamoDB (table.ts). A commit of several rows is one TransactWriteItems, of one row a conditional write, which costs half; all reads are consistent.
 *
 * - A version is drawn anew for every write, so it never returns. It is the condition of whoever replaces or deletes.
 * - Sort keys stand in the order of their bytes in UTF-8. For keys of this port, which have no surrogates, that is the order of their code units.
 * - The SDK's retries are off: a commit whose answer was lost is `unavailable`; said again, it would come back as a conflict with ourselves. Reads are tried three times when the line breaks.
 * - DynamoDB cancels a transaction that meets another one: that is a conflict with the row that both wanted, and the executor looks again. Whatever was throttled has
 *   done nothing, a cancelled transaction included; so it is tried again, ever later, for a few seconds.
 *
 * Sources: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html, and for limits
 * https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html
 */
export interface StoreSettings {
  readonly place: Place;
  /** 3 to 255 letters, digits, `_`, `-` and `.`. On this machine it is made if it is not there; in the cloud whoever deploys makes it. */
  readonly table: string;
  readonly clock: Clock;
  /** How long one answer is waited for; 15 unless told, and on this machine, where all wait for the same two hands, 60. */
  readonly patienceSeconds?: number;
}

export interface AwsStore extends StoreDriver {
  /** Calls under way and later ones are `unavailable`. */
  close(): void;
}

/** Throws `Invalid` for settings that cannot be, and what a driver throws when a table on this machine can neither be reached nor made. */
export async function openAwsStore({ place: wished, table: TableName, clock, patienceSeconds: patience }: StoreSettings): Promise<AwsStore> {
  const place = checkedPlace(wished);
  const patienceSeconds = patience ?? (isLocal(place) ? 60 : 15);
  if (!/^[\w.-]{3,255}$/.test(TableName)) throw new Invalid('a table has a name of 3 to 255 letters, digits, _, - and .');
  const client = onlyOnce(new DynamoDBClient(configOf(place, { patienceSeconds })));
  const closing = new AbortController();
  setMaxListeners(0, closing.signal);

  /** `keys`: of the rows that it is about, in the order in which the service speaks of them. */
  async function call<Answer>(doing: string, keys: readonly string[], work: (options: { readonly abortSignal: AbortSignal }) => Promise<Answer>): Promise<Answer> {
    const until = clock.now() + throttledMilliseconds;
    for (let pause = pauseMinMilliseconds; ; pause *= 2) {
      if (closing.signal.aborted) throw new PortError('unavailable', 'the store is closed');
      try {
        return await answered(doing, patienceSeconds, work, closing.signal);
      } catch (error) {
        const failure = storeError(error, doing, keys);
        if (!isPortError(failure, 'throttled') || clock.now() + pause > until) throw failure;
      }
      await clock.sleep(pause / 2 + Math.random() * (pause / 2), closing.signal);
    }
  }

  /** A line that broke says nothing about the table, and to look again changes nothing. The lines that were open may all be broken: a moment later that is known. */
  async function look<Answer>(doing: string, key: string, work: (options: { readonly abortSignal: AbortSignal }) => Promise<Answer>): Promise<Answer> {
    for (let tries = 1; ; tries++) {
      try {
        return await call(doing, [key], work);
      } catch (error) {
        if (tries === looksMax || !isPortError(error, 'unavailable') || !isBroken(error.cause) || closing.signal.aborted) throw error;
      }
      await clock.sleep(pauseMinMilliseconds, closing.signal);
    }
  }

  async function get(partition: string, key: string): Promise<RawRow | undefined> {
    if (!isLegal(partition) || !isLegal(key)) return undefined;
    const command = new GetItemCommand({ TableName, Key: keyOf(partition, key), ConsistentRead: true });
    const { Item } = await look('get', key, (options) => client.send(command, options));
    return Item && rowOf(Item);
  }

  async function query(partition: string, { prefix, after, cursor, limit }: Parameters<StoreDriver['query']>[1]): ReturnType<StoreDriver['query']> {
    const behind = largest(after, cursor);
    if (!isLegal(partition) || (prefix !== '' && !isLegal(prefix)) || (behind !== undefined && behind > prefix && !behind.startsWith(prefix))) return { rows: [] };
    const command = new QueryCommand({
      TableName, ConsistentRead: true, Limit: limit,
      KeyConditionExpression: prefix === '' ? 'pk = :pk' : 'pk = :pk and begins_with(sk, :prefix)',
      ExpressionAttributeValues: { ':pk': { S: partition }, ...(prefix === '' ? {} : { ':prefix': { S: prefix } }) },
      ...startOf(partition, prefix, behind),
    });
    const { Items = [], LastEvaluatedKey } = await look('query', prefix, (options) => client.send(command, options));
    const rows = Items.map(rowOf).filter(({ key }) => behind === undefined || key > behind);
    return LastEvaluatedKey === undefined ? { rows } : { rows, next: textOf(LastEvaluatedKey['sk']) };
  }

  async function commit(partition: string, writes: readonly RawWrite[]): Promise<string[]> {
    check(partition, writes);
    const versions = writes.map(({ op }) => (op === 'delete' ? '' : randomUUID()));
    const keys = writes.map(({ key }) => key);
    if (writes.length === 1) await call('commit', keys, (options) => one(writeOf(partition, writes[0]!, versions[0]!), options));
    else {
      const command = new TransactWriteItemsCommand({ TransactItems: writes.map((write, n) => writeOf(partition, write, versions[n]!)) });
      await call('commit', keys, (options) => client.send(command, options));
    }
    return versions;
  }

  const one = ({ Put: put, Delete: gone }: TransactWriteItem, options: { readonly abortSignal: AbortSignal }): Promise<unknown> =>
    put ? client.send(new PutItemCommand(put), options) : client.send(new DeleteItemCommand(gone!), options);

  function writeOf(partition: string, write: RawWrite, version: string): TransactWriteItem {
    if (write.op === 'delete') return { Delete: { TableName, Key: keyOf(partition, write.key), ...sameVersion(write.version) } };
    const Item = { ...keyOf(partition, write.key), v: { S: version }, b: { S: write.body } };
    const condition: Pick<Put, 'ConditionExpression' | 'ExpressionAttributeValues'> = write.op === 'create' ? { ConditionExpression: 'attribute_not_exists(pk)' } : sameVersion(write.version);
    return { Put: { TableName, Item, ...condition } };
  }

  const store: AwsStore = {
    get, query, commit,
    close() {
      closing.abort();
      client.destroy();
    },
  };
  if (isLocal(place)) {
    await call('make the table', [], (options) => client.send(new CreateTableCommand(tableOf(TableName)), options).catch((error: unknown) => {
      if (nameOf(error) !== 'ResourceInUseException') throw error; // it is there
    })).catch((error: unknown) => {
      store.close();
      throw error;
    });
  }
  return store;
}

const throttledMilliseconds = 5_000;
const pauseMinMilliseconds = 50;
const looksMax = 3;
const rowsPerCommitMax = 100;
/** Of a sort key; a partition key could have 2,048. */
const keyBytesMax = 1_024;
/** Of an item, with the names of its attributes; a kilobyte is 1,024 bytes here. */
const itemBytesMax = 400 * 1_024;

// ---------------------------------------------------------------- keys

const keyOf = (partition: string, key: string) => ({ pk: { S: partition }, sk: { S: key } });
const sameVersion = (version: string) => ({ ConditionExpression: 'v = :version', ExpressionAttributeValues: { ':version': { S: version } } });
/** A key of this port. What lies beyond U+FFFF has another place in UTF-8 than among code units. */
const isLegal = (key: string): boolean => key !== '' && Buffer.byteLength(key) <= keyBytesMax && !surrogate.test(key);
const surrogate = /[\ud800-\udfff]/;
const largest = (a: string | undefined, b: string | undefined): string | undefined => (a === undefined || (b !== undefined && b > a) ? b : a);

/** Strictly behind a key, whether it is there or not. Where no key can be so, a little before it: the rest is left out of what is found. */
function startOf(partition: string, prefix: string, behind: string | undefined): { readonly ExclusiveStartKey?: ReturnType<typeof keyOf> } {
  if (behind === undefined || behind < prefix) return {};
  const start = isLegal(behind) ? behind : behind.slice(0, Math.min(keyBytesMax / 3, surrogate.exec(behind)?.index ?? behind.length));
  return start === '' || start.length < prefix.length ? {} : { ExclusiveStartKey: keyOf(partition, start) };
}

function check(partition: string, writes: readonly RawWrite[]): void {
  if (writes.length > rowsPerCommitMax) throw new PortError('tooLarge', `${writes.length} rows in one transaction, ${rowsPerCommitMax} at most`);
  for (const { key } of [{ key: partition }, ...writes]) {
    if (Buffer.byteLength(key) > keyBytesMax) throw new PortError('tooLarge', `a key of over ${keyBytesMax} bytes`, { key: key.slice(0, 100) });
    if (!isLegal(key)) throw new Defect(`a key with characters, and none of them beyond U+FFFF: ${JSON.stringify(key)}`);
  }
  for (const write of writes) {
    const bytes = write.op === 'delete' ? 0 : Buffer.byteLength(write.body) + Buffer.byteLength(partition) + Buffer.byteLength(write.key) + 64;
    if (bytes > itemBytesMax) throw new PortError('tooLarge', `a row of ${bytes} bytes in its table, ${itemBytesMax} at most`, { key: write.key });
    if (write.op !== 'create' && !/^[\w-]{1,64}$/.test(write.version)) throw new PortError('conflict', `${write.op} of a version that was never given`, { key: write.key });
  }
}

function rowOf({ sk, v, b }: Record<string, AttributeValue>): RawRow {
  return { key: textOf(sk), version: textOf(v), body: textOf(b) };
}
function textOf(value: AttributeValue | undefined): string {
  must(typeof value?.S === 'string', 'a row has a key, a version and a body that we have written');
  return value.S;
}

// ---------------------------------------------------------------- errors

/** What a transaction was cancelled for stands beside the row that it was about; the first of the weightiest reasons counts. */
const reasons = [
  ['ConditionalCheckFailed', 'conflict'], ['TransactionConflict', 'conflict'], ['DuplicateItem', 'conflict'],
  ['ValidationError', 'tooLarge'], ['ItemCollectionSizeLimitExceeded', 'tooLarge'],
  ['ProvisionedThroughputExceeded', 'throttled'], ['ThrottlingError', 'throttled'], ['RequestLimitExceeded', 'throttled'],
] as const;
const conflicts = new Set(['ConditionalCheckFailedException', 'TransactionConflictException']);

function storeError(error: unknown, doing: string, keys: readonly string[]): PortError {
  if (isPortError(error)) return error;
  const name = nameOf(error);
  if (conflicts.has(name)) return new PortError('conflict', `${doing}: ${name}`, { ...keyAt(keys, 0), cause: error });
  if (name === 'TransactionCanceledException') return cancelled(error, doing, keys);
  if (name === 'ValidationException' && /item size|exceeded the maximum/i.test((error as Error).message)) return new PortError('tooLarge', `${doing}: ${name}`, { ...keyAt(keys, 0), cause: error });
  return awsError(error, doing, keys[0]);
}

function cancelled(error: unknown, doing: string, keys: readonly string[]): PortError {
  const { CancellationReasons = [] } = error as { readonly CancellationReasons?: readonly CancellationReason[] };
  for (const [code, kind] of reasons) {
    const nth = CancellationReasons.findIndex(({ Code }) => Code === code);
    if (nth >= 0) return new PortError(kind, `${doing}: ${code}`, { ...keyAt(keys, nth), cause: error });
  }
  return new PortError('unavailable', `${doing}: cancelled, and nobody says why`, { ...keyAt(keys, 0), cause: error });
}

const keyAt = (keys: readonly string[], nth: number): { readonly key?: string } => (keys[nth] === undefined ? {} : { key: keys[nth] });
/** The SDK calls a line that broke a time-out. */
const isBroken = (cause: unknown): boolean => ['TimeoutError', 'ECONNRESET', 'EPIPE', 'ECONNREFUSED'].includes(nameOf(cause));
