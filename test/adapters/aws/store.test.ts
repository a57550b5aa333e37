import { expect } from 'chai';
import { openAwsStore, type AwsStore, type StoreSettings } from '../../../adapters/aws/store.ts';
import { tableOf } from '../../../adapters/aws/table.ts';
import { Defect, Invalid, isPortError, limits, type PortErrorKind, type RawWrite } from '../../../ports/index.ts';
import { dynamoPatienceMs, freshDynamoTable, sharedDynamo, withDynamo } from '../../support/dynamo.ts';
import { createLeapClock, until, type LeapClock } from '../../support/leap.ts';
import { openProxy, type Fault, type FaultyProxy } from '../../support/proxy.ts';

/**
 * The store in DynamoDB, where the line or the service fails. What the service answers is written from
 * https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html and …/APIReference/API_TransactWriteItems.html.
 */

const place = 'order~00';
const create = (rowKey: string, body = '1'): RawWrite => ({ op: 'create', key: rowKey, body });
const answer = (status: number, type: string, more: object = {}): Fault => ({
  do: 'answer', status, headers: { 'content-type': 'application/x-amz-json-1.0' }, body: JSON.stringify({ __type: `com.amazonaws.dynamodb.v20120810#${type}`, message: 'what the service says of a customer', ...more }),
});
const cancelledFor = (...codes: string[]): Fault => answer(400, 'TransactionCanceledException', { CancellationReasons: codes.map((Code) => ({ Code, Message: 'why' })) });
const busy = answer(400, 'ProvisionedThroughputExceededException');

let proxy: FaultyProxy;
let clock: LeapClock;
let store: AwsStore;
let table: string;
const open = (about: Partial<StoreSettings> = {}): Promise<AwsStore> => openAwsStore({ place: { endpoint: `http://127.0.0.1:${proxy.port}` }, table, clock, patienceSeconds: 5, ...about });

async function refusal(kind: PortErrorKind, work: Promise<unknown>): Promise<string | undefined> {
  const error: unknown = await work.then(() => undefined, (thrown: unknown) => thrown);
  if (!isPortError(error, kind)) throw new Error(`expected ${kind}, got ${error === undefined ? 'success' : String(error)}`, { cause: error });
  expect(error.message, 'nothing that the service says').not.to.include('customer');
  return error.key;
}
const bodyOf = async (rowKey: string): Promise<string | undefined> => (await store.get(place, rowKey))?.body;
const all = async (): Promise<string[]> => (await store.query(place, { prefix: '', limit: 1_000 })).rows.map((row) => row.key);
/** How many requests went over the line while this was done. */
async function asked(work: () => Promise<unknown>): Promise<number> {
  const before = proxy.passed.length;
  await work();
  return proxy.passed.length - before;
}
/** Lets time pass for as long as somebody sleeps. */
async function lapse(): Promise<void> {
  await until('somebody sleeps', () => clock.sleepers() > 0);
  await clock.leap(1_000);
}

withDynamo('the store of AWS, where the line or the service fails', () => {
  describe('AWS store', () => {
    before(async function () {
      this.timeout(dynamoPatienceMs);
      await sharedDynamo();
    });
    beforeEach(async () => {
      proxy = await openProxy({ port: Number(new URL((await sharedDynamo()).endpoint).port) });
      clock = createLeapClock();
      table = freshDynamoTable();
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
        expect([await bodyOf('a'), await bodyOf('b')]).to.deep.equal(['2', undefined]);
      });

      it('says nothing else of a line that is cut before the service hears of it, and nothing is written', async () => {
        for (const fault of ['cut', 'half'] as const) {
          proxy.next({ do: fault });
          expect(await asked(() => refusal('unavailable', store.commit(place, [create('a'), create('b')])))).to.equal(1);
          expect(await all()).to.deep.equal([]);
        }
      });

      it('looks three times, and not a fourth time', async () => {
        await store.commit(place, [create('a')]);
        proxy.next({ do: 'cut' });
        expect(await bodyOf('a')).to.equal('1');
        proxy.next({ do: 'lose' }, { do: 'half' });
        expect(await all()).to.deep.equal(['a']);
        proxy.next({ do: 'cut' }, { do: 'cut' }, { do: 'cut' });
        expect(await asked(() => refusal('unavailable', store.get(place, 'a')))).to.equal(3);
      });

      it('waits for no answer for ever, whether it never begins or never ends', async () => {
        store.close();
        store = await open({ patienceSeconds: 0.3 });
        await store.commit(place, [create('a')]);
        for (const fault of ['hang', 'trickle'] as const) {
          proxy.always({ do: fault });
          await refusal('unavailable', store.get(place, 'a'));
          await refusal('unavailable', store.commit(place, [create(fault)]));
        }
      });

      it('takes a slow answer for an answer', async () => {
        proxy.next({ do: 'delay', milliseconds: 200 });
        await store.commit(place, [create('a')]);
        expect(await all()).to.deep.equal(['a']);
      });
    });

    describe('when the service refuses', () => {
      it('says conflict, with the row that another transaction wants, and nothing is written', async () => {
        proxy.next(cancelledFor('None', 'TransactionConflict', 'None'));
        expect(await refusal('conflict', store.commit(place, [create('a'), create('b'), create('c')]))).to.equal('b');
        proxy.next(answer(400, 'TransactionConflictException'));
        expect(await refusal('conflict', store.commit(place, [create('a')]))).to.equal('a');
        expect(await all()).to.deep.equal([]);
      });

      it('names the row whose condition has failed, also beside one that another transaction wants', async () => {
        await store.commit(place, [create('b')]);
        expect(await refusal('conflict', store.commit(place, [create('a'), create('b')]))).to.equal('b');
        proxy.next(cancelledFor('TransactionConflict', 'ConditionalCheckFailed'));
        expect(await refusal('conflict', store.commit(place, [create('a'), create('b')]))).to.equal('b');
        expect(await all()).to.deep.equal(['b']);
      });

      it('is patient with what is throttled, for nothing was done: a look, a row, and a transaction that was cancelled for it', async () => {
        await store.commit(place, [create('a')]);
        for (const [fault, work] of [
          [busy, () => store.get(place, 'a')],
          [answer(400, 'ThrottlingException'), () => store.commit(place, [create('b')])],
          [cancelledFor('ThrottlingError', 'None'), () => store.commit(place, [create('c'), create('d')])],
          [answer(400, 'RequestLimitExceeded'), () => store.query(place, { prefix: '', limit: 10 })],
        ] as const) {
          proxy.next(fault);
          const done = work();
          await lapse();
          await done;
        }
        expect(await all()).to.deep.equal(['a', 'b', 'c', 'd']);
      });

      it('says throttled in the end of what is throttled for seconds, and nothing is written', async () => {
        proxy.always(busy);
        let over = false;
        const refused = refusal('throttled', store.commit(place, [create('a')])).finally(() => (over = true));
        while (!over) {
          await until('somebody sleeps, or it is over', () => over || clock.sleepers() > 0);
          await clock.leap(1_000);
        }
        expect(await refused).to.equal('a');
        proxy.always();
        expect(await all()).to.deep.equal([]);
      });

      it('says unavailable of a fault of the service, of a transaction that is still under way, and of what it does not know', async () => {
        for (const fault of [answer(500, 'InternalServerError'), answer(503, 'ServiceUnavailable'), answer(400, 'TransactionInProgressException'), answer(400, 'NeverHeardOf'), cancelledFor('NeverHeardOf'), answer(400, 'TransactionCanceledException')]) {
          proxy.next(fault);
          expect(await asked(() => refusal('unavailable', store.commit(place, [create('a'), create('b')])))).to.equal(1);
        }
        proxy.next({ do: 'answer', status: 200, body: '{ not json' });
        await refusal('unavailable', store.commit(place, [create('a')]));
      });

      it('says denied of who may not, and missing of a table that is not there', async () => {
        proxy.next(answer(400, 'AccessDeniedException'), answer(400, 'UnrecognizedClientException'), answer(400, 'ResourceNotFoundException'));
        await refusal('denied', store.get(place, 'a'));
        await refusal('denied', store.commit(place, [create('a')]));
        await refusal('missing', store.get(place, 'a'));
      });

      it('takes an answer that makes no sense for none', async () => {
        proxy.next({ do: 'answer', status: 200, headers: { 'content-type': 'application/x-amz-json-1.0' }, body: '{"Item":{"pk":{"S":"p"},"sk":{"S":"a"},"v":{"N":"1"}}}' });
        expect(await store.get(place, 'a').catch((error: unknown) => error)).to.be.instanceOf(Defect);
      });
    });

    describe('at the limits', () => {
      it('takes the largest row and the largest commit that the port allows', async () => {
        const largest = `"${'ü'.repeat(limits.rowBytesMax / 2 - 1)}"`;
        expect(Buffer.byteLength(largest)).to.equal(limits.rowBytesMax);
        await store.commit(place, [create('k'.repeat(limits.keyBytesMax), largest)]);
        expect(await bodyOf('k'.repeat(limits.keyBytesMax))).to.equal(largest);
        const rows = Array.from({ length: limits.rowsPerCommitMax }, (_, n) => create(`row${n}`, `"${'x'.repeat(Math.floor(limits.commitBytesMax / limits.rowsPerCommitMax) - 20)}"`));
        expect(await store.commit(place, rows)).to.have.length(limits.rowsPerCommitMax);
      });

      it('refuses what DynamoDB would refuse, before the wire, with the row', async () => {
        expect(await asked(async () => {
          expect(await refusal('tooLarge', store.commit(place, [create('a'), create('b', 'x'.repeat(400 * 1_024))]))).to.equal('b');
          await refusal('tooLarge', store.commit(place, Array.from({ length: 101 }, (_, n) => create(`row${n}`))));
          await refusal('tooLarge', store.commit(place, [create('k'.repeat(1_025))]));
          expect(await store.commit(place, [create('\u{1f600}')]).catch((error: unknown) => error)).to.be.instanceOf(Defect);
          expect(await store.commit('', [create('a')]).catch((error: unknown) => error)).to.be.instanceOf(Defect);
          expect(await refusal('conflict', store.commit(place, [{ op: 'delete', key: 'a', version: '*' }]))).to.equal('a');
        })).to.equal(0);
        expect(await all()).to.deep.equal([]);
      });

      it('knows the size of an item as the service counts it', async () => {
        const most = 400 * 1_024 - Buffer.byteLength(place) - 1 - 64;
        await store.commit(place, [create('a', 'x'.repeat(most))]);
        expect(await refusal('tooLarge', store.commit(place, [create('b', 'x'.repeat(most + 1))]))).to.equal('b');
        // Said by the service itself, if it should count otherwise some day.
        proxy.next(answer(400, 'ValidationException', { message: 'Item size has exceeded the maximum allowed size' }), cancelledFor('None', 'ValidationError'));
        expect(await refusal('tooLarge', store.commit(place, [create('c')]))).to.equal('c');
        expect(await refusal('tooLarge', store.commit(place, [create('c'), create('d')]))).to.equal('d');
      });

      it('pages through more than the service hands out at once', async () => {
        const body = `"${'x'.repeat(200_000)}"`;
        const keys = Array.from({ length: 12 }, (_, n) => `row|${String(n).padStart(2, '0')}`);
        for (const key of keys) await store.commit(place, [create(key, body)]);
        const found: string[] = [];
        let pages = 0;
        for (let cursor: string | undefined; pages === 0 || cursor !== undefined; pages++) {
          const page = await store.query(place, { prefix: 'row|', limit: 100, ...(cursor === undefined ? {} : { cursor }) });
          found.push(...page.rows.map((row) => row.key));
          cursor = page.next;
        }
        expect(found).to.deep.equal(keys);
        expect(pages, 'about a megabyte at a time').to.be.within(2, 5);
      });

      it('goes on behind a key that no row can have', async () => {
        await store.commit(place, ['a', 'b\ud7ff', 'b\uffff', 'c'].map((key) => create(key)));
        const behind = async (after: string, prefix = ''): Promise<string[]> => (await store.query(place, { prefix, after, limit: 10 })).rows.map((row) => row.key);
        expect(await behind('b\u{1f600}')).to.deep.equal(['b\uffff', 'c']);
        expect(await behind('\ud800')).to.deep.equal([]);
        expect(await behind('b\ud800', 'b')).to.deep.equal(['b\uffff']);
        expect(await behind(`b${'k'.repeat(2_000)}`)).to.deep.equal(['b\ud7ff', 'b\uffff', 'c']);
        expect(await store.query(place, { prefix: 'k'.repeat(2_000), limit: 10 })).to.deep.equal({ rows: [] });
        expect(await store.get(place, '')).to.equal(undefined);
        expect(await store.get('', 'a')).to.equal(undefined);
      });
    });

    describe('as it is opened and closed', () => {
      it('makes its table on this machine when it is not there, however many come at once', async () => {
        table = freshDynamoTable();
        const [one, two] = await Promise.all([open(), open()]);
        await one.commit(place, [create('a')]);
        expect((await two.get(place, 'a'))?.body).to.equal('1');
        one.close();
        two.close();
        expect(tableOf('shop')).to.include({ TableName: 'shop', BillingMode: 'PAY_PER_REQUEST' });
      });

      it('refuses places and tables that cannot be, and asks nothing of a cloud before the first call', async () => {
        for (const about of [{ place: { endpoint: 'http://example.com:80' } }, { place: { region: 'nowhere' } }, { table: 'a b' }, { table: 'ab' }]) {
          expect(await open(about).catch((error: unknown) => error)).to.be.instanceOf(Invalid);
        }
        (await open({ place: { region: 'eu-central-1' } })).close();
      });

      it('throws what a driver throws when nobody is there', async () => {
        await proxy.sever();
        await refusal('unavailable', open({ patienceSeconds: 1 }));
      });

      it('ends what is under way when it is closed, and takes nothing any more', async () => {
        proxy.always({ do: 'hang' });
        const waiting = refusal('unavailable', store.get(place, 'a'));
        await until('it is asked', () => proxy.passed.length > 1);
        store.close();
        await waiting;
        await refusal('unavailable', store.commit(place, [create('a')]));
      });
    });
  });
});
