import { TableClient, type TransactionAction } from '@azure/data-tables';
import { expect } from 'chai';
import { readBatch, transactionBytesMax } from '../../../adapters/azure/batch.ts';
import { openAzureStore, type AzureStore, type TableOptions } from '../../../adapters/azure/store.ts';
import { Defect, isPortError, key, limits, openStore, type PortErrorKind, type RawWrite } from '../../../ports/index.ts';
import { azuritePatienceMs, freshTable, sharedAzurite } from '../../support/azurite.ts';
import { createLeapClock, until, type LeapClock } from '../../support/leap.ts';
import { openProxy, type Fault, type FaultyProxy } from '../../support/proxy.ts';

/**
 * The store in Table Storage, where the line or the service fails. What the service answers is written from
 * https://learn.microsoft.com/rest/api/storageservices/table-service-error-codes and …/performing-entity-group-transactions.
 */

const place = 'order~00';
const create = (rowKey: string, body = '1'): RawWrite => ({ op: 'create', key: rowKey, body });
const busy: Fault = { do: 'answer', status: 503, headers: { 'content-type': 'application/json' }, body: '{"odata.error":{"code":"ServerBusy","message":{"lang":"en-US","value":"The server is busy.\\nRequestId:x"}}}' };

let proxy: FaultyProxy;
let clock: LeapClock;
let store: AzureStore;
let connectionString: string;
let table: string;
const open = (about: Partial<TableOptions> = {}): Promise<AzureStore> => openAzureStore({ connectionString, table, clock, timeoutMilliseconds: 5_000, ...about });

async function refusal(kind: PortErrorKind, work: Promise<unknown>): Promise<string | undefined> {
  const error: unknown = await work.then(() => undefined, (thrown: unknown) => thrown);
  if (isPortError(error, kind)) return error.key;
  throw new Error(`expected ${kind}, got ${error === undefined ? 'success' : String(error)}`, { cause: error });
}
const defect = async (work: Promise<unknown>): Promise<void> => void expect(await work.catch((thrown: unknown) => thrown)).to.be.instanceOf(Defect);
const bodyOf = async (rowKey: string): Promise<string | undefined> => (await store.get(place, rowKey))?.body;
const all = async (): Promise<string[]> => (await store.query(place, { prefix: '', limit: 1_000 })).rows.map((row) => row.key);
/** How many requests went over the line while this was done. */
async function asked(work: () => Promise<unknown>): Promise<number> {
  const before = proxy.passed.length;
  await work();
  return proxy.passed.length - before;
}

describe('Azure store', () => {
  before(async function () {
    this.timeout(azuritePatienceMs);
    await sharedAzurite();
  });
  beforeEach(async () => {
    const azurite = await sharedAzurite();
    proxy = await openProxy({ port: azurite.ports.tables! });
    connectionString = azurite.connectionString.replace(/TableEndpoint=[^;]+/, `TableEndpoint=http://127.0.0.1:${proxy.port}/devstoreaccount1`);
    clock = createLeapClock();
    table = freshTable();
    store = await open();
  });
  afterEach(async () => {
    store.close();
    await proxy.sever();
  });

  describe('when an answer is lost', () => {
    for (const [name, writes] of [['one row', [create('a')]], ['several rows', [create('a'), create('b')]]] as const) {
      it(`says that the outcome of a commit of ${name} is unknown, asks the service once, and the commit is there`, async () => {
        proxy.next({ do: 'lose' });
        expect(await asked(() => refusal('unavailable', store.commit(place, writes)))).to.equal(1);
        expect(await all()).to.deep.equal(writes.map((write) => write.key));
        expect(await refusal('conflict', store.commit(place, writes))).to.equal('a');
      });
    }

    it('says the same of a replace and of a delete, and repeats neither', async () => {
      const [a, b] = await store.commit(place, [create('a'), create('b')]);
      proxy.next({ do: 'lose' }, { do: 'lose' });
      expect(await asked(() => refusal('unavailable', store.commit(place, [{ op: 'replace', key: 'a', version: a!, body: '2' }])))).to.equal(1);
      expect(await asked(() => refusal('unavailable', store.commit(place, [{ op: 'delete', key: 'b', version: b! }])))).to.equal(1);
      expect(await bodyOf('a')).to.equal('2');
      expect(await bodyOf('b')).to.equal(undefined);
    });

    it('says nothing else of a line that is cut before the service hears of it, and nothing is written', async () => {
      proxy.next({ do: 'cut' }, { do: 'cut' });
      expect(await asked(() => refusal('unavailable', store.commit(place, [create('a')])))).to.equal(1);
      expect(await asked(() => refusal('unavailable', store.commit(place, [create('a'), create('b')])))).to.equal(1);
      expect(await all()).to.deep.equal([]);
    });

    it('writes nothing of a transaction that was reset in the middle', async () => {
      proxy.next({ do: 'half' });
      await refusal('unavailable', store.commit(place, Array.from({ length: 100 }, (_, n) => create(key('row', n), JSON.stringify('x'.repeat(5_000))))));
      expect(await all()).to.deep.equal([]);
    });

    it('looks a second time when a read was cut, and then gives up', async () => {
      await store.commit(place, [create('a')]);
      proxy.next({ do: 'cut' });
      expect(await asked(async () => expect(await bodyOf('a')).to.equal('1'))).to.equal(2);
      proxy.next({ do: 'lose' });
      expect(await asked(async () => expect(await all()).to.deep.equal(['a']))).to.equal(2);
      proxy.next({ do: 'cut' }, { do: 'cut' });
      expect(await asked(() => refusal('unavailable', store.get(place, 'a')))).to.equal(2);
    });
  });

  describe('when answers are slow', () => {
    const impatient = async (): Promise<void> => {
      store.close();
      store = await open({ timeoutMilliseconds: 150 });
    };

    for (const fault of [{ do: 'hang' }, { do: 'trickle' }] as const) {
      it(`ends every call when answers ${fault.do === 'hang' ? 'never begin' : 'begin and never end'}`, async () => {
        await store.commit(place, [create('a'), create('b')]);
        await impatient();
        proxy.always(fault);
        const started = performance.now();
        await Promise.all([
          refusal('unavailable', store.get(place, 'a')),
          refusal('unavailable', store.query(place, { prefix: '', limit: 10 })),
          refusal('unavailable', store.commit(place, [create('c'), create('d')])),
        ]);
        expect(performance.now() - started).to.be.below(2_000);
      });
    }

    it('takes an answer that comes late, but in time', async () => {
      proxy.next({ do: 'delay', milliseconds: 100 });
      expect(await store.commit(place, [create('a'), create('b')])).to.have.length(2);
    });

    it('ends what is under way, and all that comes later, when it is closed', async () => {
      proxy.always({ do: 'hang' });
      const waiting = [refusal('unavailable', store.get(place, 'a')), refusal('unavailable', store.commit(place, [create('a')]))];
      await until('both are under way', () => proxy.passed.length >= 3);
      store.close();
      await Promise.all(waiting);
      expect(await asked(() => refusal('unavailable', store.get(place, 'a')))).to.equal(0);
    });
  });

  describe('when the service is busy', () => {
    it('says throttled, writes nothing, and tries nothing by itself', async () => {
      for (const fault of [busy, { do: 'answer', status: 429 }, { do: 'answer', status: 503 }] as const) {
        proxy.next(fault);
        expect(await asked(() => refusal('throttled', store.commit(place, [create('a'), create('b')])))).to.equal(1);
      }
      expect(await all()).to.deep.equal([]);
    });

    it('holds the next calls back for as long as the service asks', async () => {
      proxy.next({ do: 'answer', status: 429, headers: { 'retry-after': '3' } });
      await refusal('throttled', store.get(place, 'a'));
      const before = proxy.passed.length;
      const waiting = [store.get(place, 'a'), store.commit(place, [create('b')])];
      await until('both wait', () => clock.sleepers() === 2);
      await clock.leap(2_500);
      expect(proxy.passed.length).to.equal(before);
      await clock.leap(600);
      await Promise.all(waiting);
      expect(await bodyOf('b')).to.equal('1');
    });

    it('waits ever longer where it is not told how long, at most five seconds, and no more once all is well', async () => {
      const pauses: number[] = [];
      for (let n = 0; n < 9; n++) {
        proxy.next(busy);
        const start = clock.now();
        const waiting = refusal('throttled', store.get(place, 'a'));
        for (let turn = 0; proxy.passed.length < 3 + n; turn++) {
          if (turn > 1_000) throw new Error('it never asks again');
          await clock.leap(clock.sleepers() > 0 ? 100 : 0);
          await new Promise((resolve) => setTimeout(resolve, 1));
        }
        await waiting;
        pauses.push(clock.now() - start);
      }
      expect(pauses[0]).to.be.below(100);
      expect(pauses[3]).to.be.within(300, 700);
      expect(pauses.slice(7).every((pause) => pause > 4_900 && pause < 5_400), pauses.join(' ')).to.equal(true);
      await clock.leap(5_000);
      await store.get(place, 'a');
      expect(await asked(() => store.get(place, 'a'))).to.equal(1);
      expect(clock.sleepers()).to.equal(0);
      proxy.next(busy);
      await refusal('throttled', store.get(place, 'a'));
      const start = clock.now();
      await store.get(place, 'a');
      expect(clock.now() - start).to.be.within(50, 1_000);
    });
  });

  describe('before anything is sent', () => {
    it('refuses more operations, larger rows and larger transactions than the service takes', async () => {
      const untouched = await asked(async () => {
        await refusal('tooLarge', store.commit(place, Array.from({ length: 101 }, (_, n) => create(key('row', n)))));
        expect(await refusal('tooLarge', store.commit(place, [create('a', JSON.stringify('x'.repeat(530_000)))]))).to.equal('a');
        expect(await refusal('tooLarge', store.commit(place, [create('b'), create('a', JSON.stringify('"'.repeat(600_000)))]))).to.equal('a');
        await refusal('tooLarge', store.commit(place, Array.from({ length: 11 }, (_, n) => create(key('row', n), JSON.stringify('x'.repeat(390_000))))));
      });
      expect(untouched).to.equal(0);
    });

    it('refuses keys and partitions that the service does not take', async () => {
      const untouched = await asked(async () => {
        for (const wrong of ['', 'a/b', 'a\\b', 'a#b', 'a?b', 'a\u0000b', 'a\u001f', 'a\u007f', 'a\u009f', 'a\ud83d', '\ude00b']) {
          await defect(store.commit(place, [create(wrong)]));
          await defect(store.commit(place, [create('fine'), create(wrong)]));
          await defect(store.commit(wrong, [create('a')]));
          expect(await store.get(place, wrong === '' ? '/' : wrong)).to.equal(undefined);
        }
        expect(await refusal('tooLarge', store.commit(place, [create('k'.repeat(513))]))).to.equal('k'.repeat(513));
        expect(await store.get(place, 'k'.repeat(513))).to.equal(undefined);
      });
      expect(untouched).to.equal(0);
      await store.commit(place, [create('k'.repeat(512)), create('漢'.repeat(512)), create('😀'.repeat(256))]);
      expect(await all()).to.have.length(3);
    });

    it('takes what was never a version for a conflict with its row', async () => {
      const untouched = await asked(async () => {
        for (const version of ['*', '', 'W/"a" "b"', 'W/"a"\r\nX-Evil: 1']) {
          expect(await refusal('conflict', store.commit(place, [create('a'), { op: 'delete', key: 'b', version }]))).to.equal('b');
        }
      });
      expect(untouched).to.equal(0);
    });

    it('needs a name for its table, a credential for the cloud, and takes a key for this machine alone', async () => {
      const refused = async (about: Partial<TableOptions>): Promise<string> => String(await openAzureStore({ table, clock, ...about } as TableOptions).catch((error: unknown) => error));
      for (const name of ['ab', '1abc', 'a-b', 'x'.repeat(64)]) expect(await refused({ connectionString, table: name })).to.match(/^Invalid: a table has a name/);
      expect(await refused({})).to.match(/^Invalid/);
      for (const endpoint of ['http://shop.table.core.windows.net', 'shop', '']) expect(await refused({ endpoint })).to.match(/^Invalid: an endpoint begins with https/);
      expect(await refused({ endpoint: 'https://shop.table.core.windows.net', connectionString })).to.match(/^Invalid/);
      for (const address of ['TableEndpoint=https://shop.table.core.windows.net', 'TableEndpoint=http://10.0.0.7:10002/devstoreaccount1', 'EndpointSuffix=core.windows.net', 'TableEndpoint=http://localhost.evil.example/']) {
        const text = await refused({ connectionString: `DefaultEndpointsProtocol=https;AccountName=shop;AccountKey=c2VjcmV0;${address}` });
        expect(text).to.match(/^Invalid: a connection string is for a server on this machine/);
        expect(text).not.to.include('c2VjcmV0');
      }
    });

    it('asks for a token with the credential that it was handed', async () => {
      let scope: unknown;
      const credential = { getToken: async (asking: unknown) => (scope = asking, { token: 't', expiresOnTimestamp: Date.now() + 3_600_000 }) };
      await refusal('unavailable', openAzureStore({ table, clock, credential, endpoint: 'https://127.0.0.1:1', timeoutMilliseconds: 2_000 }));
      expect(scope).to.deep.equal(['https://storage.azure.com/.default']);
    });
  });

  describe('conditions', () => {
    it('names the row whose version is stale in the middle of a transaction, be it replaced or deleted, and writes nothing', async () => {
      const [old] = await store.commit(place, [create('row'), create('other')]);
      const other = (await store.get(place, 'other'))!.version;
      await store.commit(place, [{ op: 'replace', key: 'row', version: old!, body: '2' }]);
      for (const stale of [{ op: 'replace', key: 'row', version: old!, body: '3' }, { op: 'delete', key: 'row', version: old! }] as const) {
        expect(await refusal('conflict', store.commit(place, [create('new'), { op: 'delete', key: 'other', version: other }, stale, create('last')]))).to.equal('row');
        expect(await all()).to.deep.equal(['other', 'row']);
        expect(await bodyOf('row')).to.equal('2');
      }
    });

    it('is in conflict with a row that is there, that is gone, or that has changed, alone and in a transaction', async () => {
      const [old, gone] = await store.commit(place, [create('row'), create('gone')]);
      await store.commit(place, [{ op: 'replace', key: 'row', version: old!, body: '2' }, { op: 'delete', key: 'gone', version: gone! }]);
      const wrong: RawWrite[] = [
        create('row'), { op: 'replace', key: 'row', version: old!, body: '3' }, { op: 'delete', key: 'row', version: old! },
        { op: 'replace', key: 'gone', version: gone!, body: '3' }, { op: 'delete', key: 'gone', version: gone! },
      ];
      for (const write of wrong) {
        expect(await refusal('conflict', store.commit(place, [write]))).to.equal(write.key);
        expect(await refusal('conflict', store.commit(place, [create('a'), create('b'), write]))).to.equal(write.key);
      }
      expect(await all()).to.deep.equal(['row']);
    });

    it('never takes a table that has gone for rows that are not there, nor a failed condition', async () => {
      const [version] = await store.commit(place, [create('a')]);
      await TableClient.fromConnectionString(connectionString, table, { allowInsecureConnection: true }).deleteTable();
      await refusal('unavailable', store.get(place, 'a'));
      await refusal('unavailable', store.get(place, '%'));
      await refusal('unavailable', store.query(place, { prefix: '', limit: 10 }));
      await refusal('unavailable', store.commit(place, [create('b')]));
      await refusal('unavailable', store.commit(place, [{ op: 'replace', key: 'a', version: version!, body: '2' }]));
      await refusal('unavailable', store.commit(place, [create('b'), create('c')]));
    });

    it('makes the table when it opens, and asks for no more than a look when it is there', async () => {
      const methods = proxy.passed.map(({ method, url }) => `${method} ${url.split('?')[0]}`);
      expect(methods).to.deep.equal([`GET /devstoreaccount1/${table}()`, 'POST /devstoreaccount1/Tables']);
      const second = await open();
      expect(proxy.passed.slice(2).map(({ method }) => method)).to.deep.equal(['GET']);
      second.close();
    });

    it('knows credentials that are refused from what the service does not understand, and from what it cannot do now', async () => {
      const writes = [create('a'), create('b')];
      for (const status of [401, 403]) {
        proxy.next({ do: 'answer', status }, { do: 'answer', status });
        await refusal('denied', store.commit(place, writes));
        await refusal('denied', store.get(place, 'a'));
      }
      proxy.next({ do: 'answer', status: 400 });
      await defect(store.commit(place, writes));
      proxy.next({ do: 'answer', status: 413 });
      await refusal('tooLarge', store.commit(place, writes));
      for (const status of [408, 409, 500, 502, 504]) {
        proxy.next({ do: 'answer', status });
        await refusal('unavailable', store.commit(place, writes));
      }
      proxy.next({ do: 'answer', status: 202, body: 'nothing of the kind' });
      await refusal('unavailable', store.commit(place, writes));
    });
  });

  describe('on the wire', () => {
    it('sends the very transaction that the SDK sends, but for the version of what it deletes', async () => {
      const entity = (rowKey: string, body: string) => ({ partitionKey: place, rowKey, b0: body });
      const rows = ["it's|%002f", 'ü', 'gone'];
      const made = await store.commit(place, rows.map((rowKey) => create(rowKey, '{"n":1}')));
      const sdk = TableClient.fromConnectionString(connectionString, table, { allowInsecureConnection: true, retryOptions: { maxRetries: 0 } });
      const actions: TransactionAction[] = [
        ['create', entity('new', '{"a":"b"}')], ['update', entity(rows[0]!, '[1]'), 'Replace', { etag: made[0]! }], ['delete', { partitionKey: place, rowKey: 'gone' }],
      ];
      proxy.next({ do: 'answer', status: 500 }, { do: 'answer', status: 500 });
      await sdk.submitTransaction(actions).catch(() => undefined);
      await refusal('unavailable', store.commit(place, [
        create('new', '{"a":"b"}'), { op: 'replace', key: rows[0]!, version: made[0]!, body: '[1]' }, { op: 'delete', key: 'gone', version: made[2]! },
      ]));
      const [theirs, ours] = proxy.passed.slice(-2);
      const neutral = (text: string): string => text.replace(/[0-9a-f]{8}-[0-9a-f-]{27}/g, 'ID');
      expect(neutral(ours!.body)).to.equal(neutral(theirs!.body).replace('If-Match: *', `If-Match: ${made[2]!}`));
      expect(ours!.url).to.equal(theirs!.url);
      for (const name of ['content-type', 'accept', 'x-ms-version', 'dataserviceversion', 'maxdataserviceversion', 'accept-charset']) {
        expect(neutral(String(ours!.headers[name])), name).to.equal(neutral(String(theirs!.headers[name])));
      }
    });

    it('can keep the largest commits that the ports allow, whatever stands in them', async () => {
      const { rowsPerCommitMax: rows, commitBytesMax, rowBytesMax, keyBytesMax } = limits;
      const face = openStore(store);
      const texts = { quotes: (bytes: number) => '"'.repeat(Math.floor((bytes - 2) / 2)), plain: (bytes: number) => 'x'.repeat(bytes - 2), 漢: (bytes: number) => '漢'.repeat(Math.floor((bytes - 2) / 3)) };
      for (const [name, text] of Object.entries(texts)) {
        const long = (n: number): string => `${name}${String(n).padStart(3, '0')}${'"'.repeat(keyBytesMax - 10)}`;
        const share = Math.floor(commitBytesMax / rows) - keyBytesMax;
        const { versions } = await face.commit(place, { writes: Array.from({ length: rows }, (_, n) => ({ op: 'create', key: long(n), body: text(share) })) });
        // A replace has its keys in its address as well, where a quotation mark takes three bytes.
        await face.commit(place, { writes: versions.map((version, n) => ({ op: 'replace', key: long(n), version, body: text(share) })) });
        const largest = proxy.passed.at(-1)!.body.length;
        expect(largest, name).to.be.within(commitBytesMax * 0.9, transactionBytesMax * 0.98);
        const few = Math.floor(commitBytesMax / (rowBytesMax + 20));
        await face.commit(place, { writes: Array.from({ length: few }, (_, n) => ({ op: 'create', key: `${name}few${n}`, body: text(rowBytesMax) })) });
        expect((await face.get(place, `${name}few0`))?.body).to.equal(text(rowBytesMax));
      }
    }).timeout(20_000);

    it('writes a body as binary where quotation marks or scripts would make it longer, and reads both', async () => {
      const texts = { plain: 'a "word" or two', quotes: '"\\"'.repeat(500), 漢: '漢字'.repeat(500), long: `${'漢'.repeat(25_000)}😀${'x'.repeat(70_000)}`, edge: `${'x'.repeat(30_998)}😀${'é'.repeat(2_000)}` };
      await store.commit(place, Object.entries(texts).map(([name, text]) => create(name, JSON.stringify(text))));
      const lines = proxy.passed.at(-1)!.body.split('\r\n').filter((line) => line.startsWith('{"PartitionKey'));
      expect(lines.map((line) => line.includes('Edm.Binary'))).to.deep.equal([false, true, true, true, false]);
      for (const [name, text] of Object.entries(texts)) expect(JSON.parse((await bodyOf(name))!), name).to.equal(text);
      expect(proxy.passed.every(({ body }) => !/[^\x00-\x7f]/.test(body))).to.equal(true);
      // No character is cut in two: half of one alone is no text.
      expect(lines.some((line) => line.includes('\\ud83d\\ude00'))).to.equal(true);
      expect(lines.some((line) => /\\ud[89ab]..(?!\\ud[c-f])/.test(line))).to.equal(false);
    });

    it('takes texts and keys that look like parts of the protocol', async () => {
      const evil = ['\r\n--changeset_x--\r\n', 'HTTP/1.1 400 Bad Request', '{"odata.error":{"code":"x"}}', "W/\"datetime'x'\"", '\u2028\u2029 \u0000', '}{'];
      const keys = ['{a}', '--changesetresponse_x', '--changeset_x--', 'HTTP|1.1 400 B', 'ETag: x', "a' or RowKey ge '", "''", '%', '%25', '%2', '%002f', 'a b', '+', '&$top=1', '😀'];
      const made = await store.commit(place, keys.map((rowKey, n) => create(rowKey, JSON.stringify(evil[n % evil.length]))));
      for (const [n, rowKey] of keys.entries()) expect(await store.get(place, rowKey), rowKey).to.deep.equal({ key: rowKey, version: made[n], body: JSON.stringify(evil[n % evil.length]) });
      expect(await all()).to.deep.equal([...keys].sort());
      for (const [n, rowKey] of keys.entries()) {
        const [again] = await store.commit(place, [{ op: 'replace', key: rowKey, version: made[n]!, body: '2' }]);
        expect((await store.query(place, { prefix: rowKey, limit: 1 })).rows[0]).to.deep.equal({ key: rowKey, version: again, body: '2' });
        await store.commit(place, [{ op: 'delete', key: rowKey, version: again! }]);
      }
      expect(await all()).to.deep.equal([]);
    });

    it('puts no key into the path of an address that the service would decode twice, or cut', async () => {
      for (const rowKey of ['plain|1', key('seen', '20261120', 'inventory', '7', '/order', 'm1'), 'k'.repeat(300), 'ü']) {
        const [version] = await store.commit(place, [create(rowKey)]);
        expect((await store.get(place, rowKey))?.version).to.equal(version);
        await store.commit(place, [{ op: 'delete', key: rowKey, version: version! }]);
      }
      const paths = proxy.passed.map(({ url }) => url.split('?')[0]!);
      expect(paths.some((path) => path.includes("RowKey='plain%7C1'"))).to.equal(true);
      expect(paths.filter((path) => path.includes('%25') || path.length > 260)).to.deep.equal([]);
    });

    it('reads the answer of a transaction, and takes what it cannot read for an unknown outcome', () => {
      const part = (status: string, more = ''): string => `--changesetresponse_1\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 ${status}\r\n${more}\r\n\r\n`;
      const whole = (...parts: string[]): string => `--batchresponse_1\r\n\r\n${parts.join('')}--changesetresponse_1--\r\n--batchresponse_1--\r\n`;
      const ok = part('204 No Content', 'ETag: W/"1"');
      expect(readBatch(whole(ok, part('204 No Content')), 2)).to.deep.equal(['W/"1"', '']);
      const refused = part('412 Precondition Failed', '\r\n{"odata.error":{"code":"UpdateConditionNotSatisfied","message":{"lang":"en-US","value":"3:The update condition …\\nRequestId:x"}}}');
      expect(readBatch(whole(refused), 9)).to.deep.equal({ status: 412, code: 'UpdateConditionNotSatisfied', index: 3 });
      for (const odd of ['', 'x', whole(), whole(ok), whole(ok, ok, ok), `--changesetresponse_1\r\nHTTP/1.1\r\n\r\n--changesetresponse_1--\r\n`]) {
        expect(readBatch(odd, 2), odd).to.deep.equal({ code: 'an answer that cannot be read' });
      }
    });

    it('goes on over empty pages, and finds what lies behind them', async () => {
      await store.commit(place, [create('a'), create('b')]);
      const empty: Fault = { do: 'answer', status: 200, headers: { 'content-type': 'application/json', 'x-ms-continuation-nextpartitionkey': 'b3JkZXJ+MDA=', 'x-ms-continuation-nextrowkey': 'YQ==' }, body: '{"value":[]}' };
      proxy.next(empty, empty);
      expect(await asked(async () => expect(await all()).to.deep.equal(['a', 'b']))).to.equal(3);
    });

    it('finds the rows of prefixes at the edges of Unicode', async () => {
      const keys = ['\ud7ff', '\ud7ff1', '\ue000', '\uffff', '\uffff\uffff', '\uffffz', '😀', '😀1', '\u{10ffff}', '\u{10ffff}x', 'z'];
      await store.commit(place, keys.map((rowKey) => create(rowKey)));
      const sorted = [...keys].sort();
      for (const prefix of ['', '\ud7ff', '\ue000', '\uffff', '\uffff\uffff', '😀', '\ud83d', '\u{10ffff}', '\udbff', 'z']) {
        for (const limit of [1, 2, 100]) {
          const found: string[] = [];
          for (let cursor: string | undefined, pages = 0; pages === 0 || cursor !== undefined; pages++) {
            if (pages > 50) throw new Error('the pages never end');
            const { rows, next } = await store.query(place, { prefix, limit, ...(cursor === undefined ? {} : { cursor }) });
            found.push(...rows.map((row) => row.key));
            cursor = next;
          }
          expect(found, `${JSON.stringify(prefix)} by ${limit}`).to.deep.equal(sorted.filter((each) => each.startsWith(prefix)));
        }
      }
    });
  });
});
