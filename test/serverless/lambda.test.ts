import { expect } from 'chai';
import { unzipSync } from 'fflate';
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parsedPosition } from '../../adapters/aws/position.ts';
import { deliveredOf, receivedOf, type KinesisEvent, type SqsEvent } from '../../adapters/aws/trigger.ts';
import { doors, queues, type Door } from '../../core/flow.ts';
import { lambdasOn, type ApiResponse, type BatchResponse } from '../../handlers/aws.ts';
import { functions, type FunctionRow } from '../../handlers/functions.ts';
import type { Opened } from '../../handlers/platform.ts';
import { PortError, encode, isMalformed, type Message } from '../../ports/index.ts';
import { apiRequest, folder as payloads, golden, kinesisBatch, sequenceNumber, sqsBatch } from '../../serverless/aws/golden.ts';
import { openLambda, type Lambda, type Outcome } from '../../serverless/aws/runtime.ts';
import { lambdaBundle, zipped, type Files } from '../../serverless/bundle.ts';
import { Complaint } from '../../serverless/complaint.ts';
import { eventOf, handlerOf, rightsOf, rows, serverlessAwsYml } from '../../serverless/lambda.ts';
import { checkDeploy, packLambda, prepareLocal } from '../../serverless/pack.ts';
import { sample } from '../contracts/samples.ts';
import { openWorld, type World } from '../support/world.ts';

/**
 * THE PACKAGE OF LAMBDA, started and called the way its runtime does it, over the Runtime API; what its functions do with whole, half and broken batches; and `sls` as it is typed.
 * What no test here can show is the cloud itself.
 */
const root = fileURLToPath(new URL('../..', import.meta.url));
const payload = (name: string): unknown => JSON.parse(readFileSync(join(payloads, `${name}.json`), 'utf8'));
const isMessage = ({ kind }: FunctionRow): boolean => kind === 'queue' || kind === 'stream';
/** Those whose payloads others build upon come first. */
const first = ['describeProduct', 'receiveStock', 'pollProducts'];
const rank = (name: string): number => (first.includes(name) ? first.indexOf(name) : first.length);
const inOrder = [...rows].sort((one, other) => rank(one.name) - rank(other.name));
const quiet = { PATH: process.env['PATH'], LOG_LEVEL: 'silent' };
const admin = { authorization: 'Bearer for-this-machine-only' };
const nothingFailed = { returned: true, value: { batchItemFailures: [] } };

describe('the package of Lambda', function () {
  this.timeout(60_000);
  let files: Files;
  let app: Lambda;

  before(async () => {
    files = await lambdaBundle();
    app = await openLambda(files, { env: quiet });
  });
  after(() => app.close());

  const answer = async (name: string, event: unknown = payload(name)): Promise<ApiResponse> => valueOf(await app.invoke(name, event)) as ApiResponse;
  const items = async (name: string): Promise<readonly Record<string, unknown>[]> => (JSON.parse((await answer(name)).body!) as { items: Record<string, unknown>[] }).items;

  it('has a payload for every function, of one record and of a batch where there can be one, as they are generated, and runs them all', async () => {
    expect(readdirSync(payloads).sort(), 'npm run generate writes them').to.deep.equal([...golden().keys()].sort());
    for (const [file, content] of golden()) expect(readFileSync(join(payloads, file), 'utf8'), file).to.equal(content);
    for (const row of inOrder) {
      const outcome = await app.invoke(row.name, payload(row.name));
      if (row.kind === 'timer') expect(outcome, row.name).to.deep.equal({ returned: true, value: null });
      else if (isMessage(row)) expect([outcome, await app.invoke(row.name, payload(`${row.name}.batch`))], row.name).to.deep.equal([nothingFailed, nothingFailed]);
      else {
        const door: Door | undefined = row.kind === 'http' && row.door ? doors[row.door] : undefined;
        const declared = door ? [...Object.keys(door.replies).map(Number), ...(door.refuses ?? [])] : [200];
        expect(declared, row.name).to.include((valueOf(outcome) as ApiResponse).statusCode);
      }
    }
  });

  it('has heard what those payloads say', async () => {
    expect(await items('listOrders'), 'placed over HTTP').to.have.length(1);
    expect((await items('listMails')).map(({ orderId }) => orderId), 'heard on a stream').to.include('f'.repeat(26));
    expect((await items('listProducts')).map(({ sku }) => sku)).to.deep.equal(['85123A']);
    expect(await items('listDeadLetters')).to.deep.equal([]);
    expect((await items('listParked')).map(({ reason }) => reason)).to.deep.equal(Array.from({ length: 2 }, () => 'Defect: only a reserved order is shipped'));
  });

  it('handles what is whole in a batch, and sets aside for a person what nobody can make anything of, so that Lambda need not hand it out again', async () => {
    const count = async (path: string): Promise<number> => (JSON.parse((await answer(path === '/api/parked' ? 'listParked' : 'listDeadLetters', apiRequest({ method: 'GET', path, query: 'limit=200', headers: admin }))).body!) as { items: unknown[] }).items.length;
    const before = [await count('/api/dead-letters'), await count('/api/parked')];
    const messageRows = inOrder.filter(isMessage);
    for (const { name } of messageRows) expect(await app.invoke(name, payload(`${name}.partial`)), name).to.deep.equal(nothingFailed);
    const after = [await count('/api/dead-letters'), await count('/api/parked')];
    const rowsOf = (kind: FunctionRow['kind']): number => messageRows.filter((row) => row.kind === kind).length;
    expect(after.map((number, nth) => number - before[nth]!), 'one a queue, one a listener').to.deep.equal([rowsOf('queue'), rowsOf('stream')]);
  });

  it('takes a signed notice whose bytes come in base64, and refuses one of which a byte has changed', async () => {
    const { body, headers } = payload('takeNotice') as { readonly body: string; readonly headers: Record<string, string> };
    const notice = (bytes: Buffer): Promise<ApiResponse> => answer('takeNotice', { ...(payload('takeNotice') as object), headers, body: bytes.toString('base64'), isBase64Encoded: true });
    expect((await notice(Buffer.from(body))).statusCode).to.equal(204);
    const changed = await notice(Buffer.from(body.replace('in_transit', 'in-transit')));
    expect(changed.statusCode).to.equal(401);
  });

  it('sets a cookie where API Gateway wants it, and reads it from where API Gateway puts it', async () => {
    const asked = { method: 'POST', path: '/basket', headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: 'sku=85123A&quantity=2&do=add' };
    const { statusCode, headers, cookies = [] } = await answer('changeBasket', apiRequest(asked));
    expect([statusCode, 'set-cookie' in headers, cookies.length]).to.deep.equal([303, false, 1]);
    const page = await answer('basketPage', apiRequest({ method: 'GET', path: '/basket', cookies: [cookies[0]!.split(';')[0]!, 'another=one'] }));
    expect(page.body).to.include('85123A');
  });

  it('answers through $default what has no route of its own: assets, health, the console, HEAD, 404, 405, a slash too many', async () => {
    const ask = async (path: string, method = 'GET'): Promise<readonly unknown[]> => {
      const { statusCode, headers, body } = await answer('anythingElse', apiRequest({ method, path }));
      return [statusCode, headers['content-type'] ?? headers['location'], body !== undefined];
    };
    expect(await ask('/healthz')).to.deep.equal([200, 'application/json; charset=utf-8', true]);
    expect(await ask('/assets/app.css')).to.deep.equal([200, 'text/css; charset=utf-8', true]);
    expect(await ask('/api/products', 'HEAD')).to.deep.equal([200, 'application/json; charset=utf-8', false]);
    expect(await ask('/nowhere')).to.deep.equal([404, 'application/problem+json', true]);
    expect(await ask('/api/orders', 'PUT')).to.deep.equal([405, 'application/problem+json', true]);
    expect((await ask('/basket/'))[0]).to.equal(308);
    expect((await ask('/console'))[0]).to.equal(303);
    for (const { name } of functions.filter((row) => !rows.includes(row))) {
      const { method, path } = doors[name as keyof typeof doors];
      const [status, type] = await ask(path.replaceAll(/\{[^}]*\}/g, 'x'), method);
      expect(`${String(status)} ${String(type)}`, `${name}: a page of the console says so itself`).to.not.match(/^40[45] application\/problem/);
    }
  });

  it('lets nobody in without the token, and tells clients apart by what API Gateway says of them', async () => {
    const guess = async (sourceIp: string): Promise<number> => {
      const event = apiRequest({ method: 'GET', path: '/api/orders', headers: { authorization: 'Bearer guessed', 'x-forwarded-for': `203.0.113.${Math.floor(sourceIp.length)}` } }) as { requestContext: { http: object } };
      return (await answer('listOrders', { ...event, requestContext: { ...event.requestContext, http: { ...event.requestContext.http, sourceIp } } })).statusCode;
    };
    const answers: number[] = [];
    for (let i = 0; i < 25; i++) answers.push(await guess('198.51.100.7'));
    expect([answers[0], answers[19], answers.at(-1)]).to.deep.equal([401, 401, 429]);
    expect(await guess('198.51.100.8')).to.equal(401);
  });

  it('runs as Lambda runs it, one function a process: one of each kind', async () => {
    for (const name of ['homePage', 'inventoryOnReserveStock', 'notificationOnOrders', 'sweepOutbox']) {
      const one = await openLambda(files, { env: quiet, handler: `index.${name}` });
      try {
        expect((await one.invoke(name, payload(name))).returned, name).to.equal(true);
      } finally {
        await one.close();
      }
    }
  });

  it('fails when it should: a function that is not there, a batch that is none, a package that breaks while it is loaded', async () => {
    const start = (given: Files, handler: string): Promise<unknown> => openLambda(given, { env: quiet, handler }).then((opened) => opened.close(), (error: Error) => error.message);
    expect(await start(files, 'index.nix')).to.match(/^the package cannot be started: Error: index.nix is undefined or not exported/);
    expect(await start(new Map(files).set('index.js', Buffer.from('throw new Error("by the test");')), 'index.homePage')).to.match(/by the test/);
    expect(await start(new Map(files).set('package.json', Buffer.from('{"type":"module"}')), 'index.homePage')).to.match(/^the package cannot be started: /);
    expect((await app.invoke('inventoryOnReserveStock', {})).returned, 'the platform keeps it').to.equal(false);
    const twoShards = kinesisBatch('orders', [sample('OrderPlaced', 'full'), sample('OrderPlaced', 'minimal')]) as { Records: { eventID: string }[] };
    twoShards.Records[1]!.eventID = twoShards.Records[1]!.eventID.replace('shardId-000000000000', 'shardId-000000000001');
    expect(await app.invoke('notificationOnOrders', twoShards)).to.deep.equal({ returned: false, error: 'Defect: a batch of orders came from 2 shards' });
  });

  it('comes out of its zip as it went in, with no path of this machine, and starts no servers', () => {
    const zip = Buffer.from(zipped(files));
    expect([zip.readUInt16LE(10), zip.readUInt16LE(12)], 'the first moment that a zip can tell').to.deep.equal([0, 0x21]);
    const unzipped = unzipSync(zip);
    expect(Object.keys(unzipped)).to.deep.equal([...files.keys()]).and.include.members(['index.js', 'package.json']);
    expect(JSON.parse(Buffer.from(unzipped['package.json']!).toString())).to.include({ type: 'commonjs' });
    for (const [path, bytes] of files) {
      expect(Buffer.from(bytes).includes(root), `${path} knows where it was made`).to.equal(false);
      expect(Buffer.from(bytes).includes('DynamoDBLocal'), path).to.equal(false);
    }
  });

  it('is given records that the adapters read as what the contracts say', () => {
    for (const row of rows) {
      if (row.kind === 'queue') {
        for (const { message, attempts } of receivedOf(row.queue, payload(`${row.name}.batch`) as SqsEvent)) expect([isMalformed(message), attempts], row.name).to.deep.equal([false, 1]);
      }
      if (row.kind === 'stream') {
        const { events, partition } = deliveredOf(row.stream, payload(`${row.name}.batch`) as KinesisEvent, 0);
        expect(partition).to.equal('shardId-000000000000');
        for (const { message, position } of events) expect([isMalformed(message), parsedPosition(position) !== undefined], row.name).to.deep.equal([false, true]);
      }
    }
  });
});

describe('the functions of Lambda', () => {
  let world: World;
  beforeEach(async () => {
    world = await openWorld({ still: true });
  });
  afterEach(() => world.stop());

  function lambdas(elsewhere = true): ReturnType<typeof lambdasOn> {
    const { kernel } = world;
    const opened = { shop: { kernel, chores: [], carrier: { tick: () => Promise.resolve(0) } }, context: { kernel, adminToken: 'for-this-machine-only', rateLimit: false } } as unknown as Opened;
    return lambdasOn(() => Promise.resolve(opened), { elsewhere });
  }
  const play = async <Result>(name: string, event: unknown): Promise<Result> => (await world.play(lambdas()[name]!(event))) as Result;

  const ten = (): Message[] => Array.from({ length: 10 }, (_, nth) => ofOrder(`${nth}`.repeat(26)));
  function ofOrder(orderId: string): Message {
    return JSON.parse(JSON.stringify(sample('OrderPlaced', 'full')).replaceAll('f'.repeat(26), orderId)) as Message;
  }
  const letters = (): string[] => world.rows<unknown>('letters').map(({ key }) => key.split('|')[1]![0]!).sort();
  const all = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'];

  it('report, of ten events of a shard, the third alone by its number when it cannot be handled, and go on with it when it can', async () => {
    const messages = ten();
    world.interfere = ({ port, method, args }, work) => (port === 'store' && method === 'commit' && JSON.stringify(args).includes('2'.repeat(26)) ? Promise.reject(new PortError('unavailable', 'by the test')) : work());
    const failed = await play<BatchResponse>('notificationOnOrders', kinesisBatch('orders', messages));
    expect(failed).to.deep.equal({ batchItemFailures: [{ itemIdentifier: sequenceNumber(3) }] });
    expect(letters()).to.deep.equal(all.filter((each) => each !== '2'));
    world.interfere = undefined;
    expect(await play('notificationOnOrders', kinesisBatch('orders', messages.slice(2), 3))).to.deep.equal({ batchItemFailures: [] });
    expect(letters(), 'each once').to.deep.equal(all);
  });

  it('report, of three messages of a queue, the one that could be neither handled nor sent again, and handle it when it comes again', async () => {
    const messages = ten().slice(0, 3);
    const event = sqsBatch('reserve-stock', messages.map(encode)) as SqsEvent;
    world.interfere = ({ port, method, args }, work) =>
      (port !== 'stream' && /commit|send/.test(method) && JSON.stringify(args).includes('1'.repeat(26)) ? Promise.reject(new PortError('unavailable', 'by the test')) : work());
    expect(await play('inventoryOnReserveStock', event)).to.deep.equal({ batchItemFailures: [{ itemIdentifier: event.Records[1]!.messageId }] });
    const known = (): number => world.rows('order').length;
    expect(known()).to.equal(2);
    world.interfere = undefined;
    expect(await play('inventoryOnReserveStock', { Records: event.Records.slice(1, 2) })).to.deep.equal({ batchItemFailures: [] });
    expect(known()).to.equal(3);
  });

  it('let no poison stop a shard: what cannot be read and what nobody can handle are set aside, the rest is handled', async () => {
    const messages = ten();
    const event = kinesisBatch('orders', messages) as { Records: { kinesis: { data: string } }[] };
    event.Records[2]!.kinesis.data = Buffer.from('no message').toString('base64');
    event.Records[5]!.kinesis.data = Buffer.from(JSON.stringify({ ...messages[5], data: { orderId: 7 } })).toString('base64');
    expect(await play('notificationOnOrders', event)).to.deep.equal({ batchItemFailures: [] });
    expect(letters()).to.deep.equal(all.filter((each) => each !== '2' && each !== '5'));
    expect(world.rows('parked').length).to.be.greaterThan(0);
  });

  it('throw when the store is down, so that the whole batch comes again, and lose nothing of it', async () => {
    world.interfere = ({ port }, work) => (port === 'store' ? Promise.reject(new PortError('unavailable', 'by the test')) : work());
    const outcome = await play<unknown>('notificationOnOrders', kinesisBatch('orders', ten())).then(() => 'returned', (error: unknown) => error);
    expect(outcome).to.be.instanceOf(PortError);
    world.interfere = undefined;
    expect(await play('notificationOnOrders', kinesisBatch('orders', ten()))).to.deep.equal({ batchItemFailures: [] });
    expect(letters()).to.deep.equal(all);
  });

  it('handle a batch once that Lambda hands out twice', async () => {
    for (let time = 0; time < 2; time++) expect(await play('notificationOnOrders', kinesisBatch('orders', ten()))).to.deep.equal({ batchItemFailures: [] });
    expect(letters()).to.deep.equal(all);
  });

  it('do nothing for which their role has no right', async () => {
    for (const row of inOrder) {
      const used = new Set<string>(['look']);
      world.interfere = ({ port, method, args }, work) => {
        for (const right of rightFor(port, method, String(args[0]))) used.add(right);
        return work();
      };
      for (const name of isMessage(row) ? [row.name, `${row.name}.batch`] : [row.name]) await play(row.name, payload(name)).catch(() => undefined);
      expect([...used].filter((right) => !(rightsOf(row) as readonly string[]).includes(right)), row.name).to.deep.equal([]);
    }
    const [chores] = functions.filter(({ name }) => name === 'doChores');
    expect(rightsOf(chores!)).to.include.members(queues.flatMap((queue) => [`send:${queue}`, `drain:${queue}`]));
  });

  function rightFor(port: string, method: string, channel: string): string[] {
    if (port === 'store') return [method === 'commit' ? 'write' : 'look'];
    if (port === 'queue') return method === 'send' ? [`send:${channel}`] : [];
    if (port === 'stream') return [method === 'append' ? `append:${channel}` : `follow:${channel}`];
    return port === 'mailer' && method === 'send' ? ['mail'] : [];
  }
});

describe('sls for AWS', function () {
  this.timeout(60_000);
  const folder = mkdtempSync(join(tmpdir(), 'anyport-sls-aws-'));
  after(() => rmSync(folder, { recursive: true, force: true }));

  interface Said {
    readonly code: number;
    readonly out: string;
  }
  /** As it is typed, in a folder of its own, with nothing that could be a credential. */
  function sls(args: readonly string[], yml = serverlessAwsYml()): Promise<Said> {
    const cwd = mkdtempSync(join(folder, 'of-'));
    for (const name of ['serverless', 'node_modules']) symlinkSync(join(root, name), join(cwd, name));
    writeFileSync(join(cwd, 'serverless.aws.yml'), yml);
    mkdirSync(join(cwd, 'home'));
    const env = { PATH: process.env['PATH'], HOME: join(cwd, 'home'), AWS_EC2_METADATA_DISABLED: 'true' };
    return new Promise((resolve) => {
      execFile(process.execPath, [join(root, 'node_modules/osls/bin/serverless.js'), ...args, '-c', 'serverless.aws.yml'], { cwd, env }, (error, stdout, stderr) => resolve({ code: error ? Number(error.code ?? 1) : 0, out: stdout + stderr }));
    });
  }

  it('packages without credentials: the same zip in every process', async () => {
    const into = join(folder, 'build');
    const { code, out } = await sls(['package', '--package', into]);
    expect(code, out).to.equal(0);
    expect(Buffer.compare(readFileSync(join(into, 'anyport.zip')), zipped(await lambdaBundle()))).to.equal(0);
  });

  it('invokes a function with its own payload, and with that of a file', async () => {
    const file = join(folder, 'orders.json');
    writeFileSync(file, JSON.stringify(apiRequest({ method: 'GET', path: '/api/orders', headers: admin })));
    const own = await sls(['invoke', 'local', '-f', 'orderOnInventory']);
    expect(own.code, own.out).to.equal(0);
    expect(own.out).to.include('"batchItemFailures": []');
    expect((await sls(['invoke', 'local', '-f', 'listOrders', '-p', file])).out).to.include('"statusCode": 200');
  });

  it('says in one line what is wrong, and ends with 1', async () => {
    const yml = serverlessAwsYml();
    const wrong: readonly (readonly [string, () => Promise<Said>])[] = [
      ['there is no function nix', () => sls(['invoke', 'local', '-f', 'nix'])],
      ["Configuration error at 'functions.listProducts", () => sls(['package'], yml.replace('{"httpApi":', '{"telegraph":'))],
      ['Cannot parse "serverless.aws.yml"', () => sls(['package'], 'service: [')],
    ];
    for (const [complaint, run] of wrong) {
      const { code, out } = await run();
      expect(code, out).to.equal(1);
      expect(out).to.include(complaint);
      expect(out.split('\n').filter((line) => /^\s+at /.test(line)), out).to.deep.equal([]);
    }
  });

  type Config = Parameters<typeof packLambda>[0];
  const config = (change: (functions: Config['service']['functions']) => void = () => undefined): Config => {
    const of = Object.fromEntries(rows.map((row) => [row.name, { handler: handlerOf(row.name), events: [eventOf(row)] }]));
    change(of);
    return { serviceDir: join(folder, 'none'), service: { functions: of, provider: {}, package: {} } };
  };
  const complaintOf = (work: Promise<void>): Promise<unknown> => work.then(() => undefined, (error: unknown) => (error instanceof Complaint ? error.message : error));

  it('writes nothing of a package that is not what serverless.aws.yml says', async () => {
    const packed = (change: Parameters<typeof config>[0]): Promise<unknown> => complaintOf(packLambda(config(change)));
    expect(await packed((of) => void (of['another'] = { handler: 'index.another', events: [{}] }))).to.match(/^serverless.aws.yml has another, which the package does not have/);
    expect(await packed((of) => void delete of['listProducts'])).to.match(/^the package has listProducts, which serverless.aws.yml does not have/);
    expect(await packed((of) => void (of['listProducts'] = { handler: 'index.listProducts', events: [] }))).to.equal('the function listProducts has no event');
    expect(await packed((of) => void (of['listProducts'] = { handler: 'elsewhere.list', events: [{}] }))).to.match(/has the handler elsewhere.list; it must be/);
    expect(readdirSync(folder)).to.not.include('none');
  });

  it('deploys nothing without its secrets and the address of its letters, and names all that is missing at once', async () => {
    const env = { ADMIN_TOKEN: 'sixteen letters!', DEMO_CARRIER_SECRET: 'sixteen letters!', AWS_EMAIL_FROM: 'shop@example.com' };
    expect(await complaintOf(checkDeploy(undefined, undefined, env))).to.equal(undefined);
    expect(await complaintOf(checkDeploy(undefined, undefined, {}))).to.match(/^to deploy, set ADMIN_TOKEN \(.*\) and DEMO_CARRIER_SECRET \(.*\) and AWS_EMAIL_FROM \(/);
    for (const wrong of [{ ADMIN_TOKEN: 'short' }, { DEMO_CARRIER_SECRET: '' }, { AWS_EMAIL_FROM: 'nobody' }]) expect(await complaintOf(checkDeploy(undefined, undefined, { ...env, ...wrong })), JSON.stringify(wrong)).to.match(new RegExp(`^to deploy, set ${Object.keys(wrong)[0]} `));
    const { code, out } = await sls(['deploy']);
    expect([code, out.includes('to deploy, set ADMIN_TOKEN')], out).to.deep.equal([1, true]);
  });

  it('refuses payloads that are none', async () => {
    const invoked = (options: Record<string, string>): Promise<unknown> => complaintOf(prepareLocal(config(), options));
    expect(await invoked({ function: 'getOrder', data: '{}', path: 'x' })).to.match(/not by both/);
    expect(await invoked({ function: 'getOrder', path: '/nowhere.json' })).to.equal('the payload /nowhere.json cannot be read: ENOENT');
    expect(await invoked({ function: 'getOrder', data: '{' })).to.match(/^the payload in --data is no JSON/);
    const torn = join(folder, 'torn.json');
    writeFileSync(torn, '{"version":');
    expect(await invoked({ function: 'getOrder', path: torn })).to.match(/torn.json is no JSON/);
    expect(readdirSync(folder)).to.not.include('none');
  });
});

function valueOf(outcome: Outcome): unknown {
  if (!outcome.returned) throw new Error(outcome.error);
  return outcome.value;
}
