import { expect } from 'chai';
import { unzipSync } from 'fflate';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { doors, type Door } from '../../core/flow.ts';
import { functions, type FunctionRow } from '../../handlers/functions.ts';
import { bundle, entry, zipped, type Files } from '../../serverless/bundle.ts';
import { Complaint, invokeLocal, pack, triggerOf, type Serverless } from '../../serverless/commands.ts';
import { eventOf, handlerOf, isCurrent, serverlessYml } from '../../serverless/generate.ts';
import { golden } from '../../serverless/golden.ts';
import { openApp, type App } from '../../serverless/invoke.ts';
import { template } from '../../serverless/template.ts';
import type { Outcome } from '../../serverless/worker.ts';

/**
 * THE PACKAGE, started as the platform's worker starts it, and `sls` as it is typed. What no test here can show is the platform itself.
 */
const root = fileURLToPath(new URL('../..', import.meta.url));
const payloads = join(root, 'serverless/payloads');
const payload = (name: string): unknown => JSON.parse(readFileSync(join(payloads, `${name}.json`), 'utf8'));
const isMessage = ({ kind }: FunctionRow): boolean => kind === 'queue' || kind === 'stream';
/** Those whose payloads others build upon come first. */
const first = ['describeProduct', 'receiveStock', 'pollProducts'];
const rank = (name: string): number => (first.includes(name) ? first.indexOf(name) : first.length);
const rowsInOrder = [...functions].sort((one, other) => rank(one.name) - rank(other.name));
const quiet = { ...process.env, LOG_LEVEL: 'silent' };

describe('the package of Azure Functions', function () {
  this.timeout(60_000);
  let files: Files;
  let app: App;

  before(async () => {
    files = await bundle();
    app = await openApp(files, { env: quiet });
  });
  after(() => app.close());

  it('registers every function of the flow and nothing else, each with its own trigger', () => {
    expect(app.functions.map(({ name }) => name)).to.deep.equal(functions.map(({ name }) => name));
    const kinds = new Map(functions.map(({ name, kind }) => [name, kind]));
    const types = { http: 'httpTrigger', queue: 'serviceBusTrigger', stream: 'eventHubTrigger', timer: 'timerTrigger' };
    for (const each of app.functions) expect(triggerOf(each).type, each.name).to.equal(types[kinds.get(each.name)!]);
  });

  it('is what serverless.yml says, and serverless.yml is what the flow says', () => {
    expect(isCurrent(), 'npm run generate writes it anew').to.equal(true);
    for (const row of functions) {
      const [settings] = Object.values(eventOf(row));
      expect(triggerOf(app.functions.find(({ name }) => name === row.name)!), row.name).to.deep.include(settings);
    }
  });

  it('hands batches out again without end, and completes messages by returning', () => {
    for (const each of app.functions) {
      const { type, ...settings } = triggerOf(each);
      if (type === 'eventHubTrigger') expect(each.retryOptions, each.name).to.deep.include({ maxRetryCount: -1, retryStrategy: 'fixedDelay' });
      else expect(each.retryOptions, each.name).to.equal(undefined);
      if (type === 'serviceBusTrigger') expect(settings, each.name).to.include({ autoCompleteMessages: true, cardinality: 'one' });
    }
  });

  it('has a payload for every function, of one message and of a batch where there can be one, and runs them all', async () => {
    const wanted = functions.flatMap((row) => (isMessage(row) ? [row.name, `${row.name}.batch`] : [row.name]));
    expect(readdirSync(payloads).filter((file) => file !== 'aws').map((file) => file.replace(/\.json$/, '')).sort()).to.deep.equal([...wanted].sort());
    for (const row of rowsInOrder) {
      const outcome = await app.invoke(row.name, payload(row.name));
      expect(outcome.returned, `${row.name}: ${JSON.stringify(outcome)}`).to.equal(true);
      if (row.kind === 'http') expect(declared(row.name, row.door && doors[row.door])).to.include(statusOf(outcome), row.name);
      if (isMessage(row)) expect(await app.invoke(row.name, payload(`${row.name}.batch`)), `${row.name}, a batch`).to.deep.equal({ returned: true });
    }
  });

  it('is given what brokers hand over as the samples of the contracts say it', () => {
    for (const [file, content] of golden()) expect(readFileSync(join(payloads, file), 'utf8'), file).to.equal(content);
  });

  it('has heard what those payloads say', async () => {
    const seen = async (name: string): Promise<{ readonly items: readonly Record<string, unknown>[] }> => JSON.parse(bodyOf(await app.invoke(name, payload(name)))) as never;
    expect((await seen('listOrders')).items, 'placed over HTTP').to.have.length(1);
    expect((await seen('listMails')).items.map(({ orderId }) => orderId), 'heard on a hub').to.include('f'.repeat(26));
    expect((await seen('listProducts')).items.map(({ sku }) => sku)).to.deep.equal(['85123A']);
    expect((await seen('listDeadLetters')).items).to.deep.equal([]);
    const parked = (await seen('listParked')).items;
    expect(parked.map(({ consumer, reason }) => `${String(consumer)}: ${String(reason)}`), 'what was shipped without ever having been reserved').to.deep.equal(Array.from({ length: 2 }, () => 'inventory: Defect: only a reserved order is shipped'));
  });

  it('answers what no door takes as the shop does everywhere: assets, health, documents, 404, 405, a slash too many', async () => {
    const ask = async (url: string, method = 'GET'): Promise<[number, string]> => {
      const outcome = await app.invoke('anythingElse', { method, url });
      return [statusOf(outcome), (outcome.returned && outcome.response?.headers['content-type']) || ''];
    };
    expect(await ask('/healthz')).to.deep.equal([200, 'application/json; charset=utf-8']);
    expect(await ask('/assets/app.css')).to.deep.equal([200, 'text/css; charset=utf-8']);
    expect(await ask('/openapi.json')).to.deep.equal([200, 'application/json; charset=utf-8']);
    expect(await ask('/nowhere')).to.deep.equal([404, 'application/problem+json']);
    expect(await ask('/api/orders', 'PUT')).to.deep.equal([405, 'application/problem+json']);
    expect((await ask('/basket/'))[0]).to.equal(308);
    expect(statusOf(await app.invoke('homePage', { method: 'HEAD', url: '/' }))).to.equal(200);
  });

  it('lets nobody in without the token, and tells clients apart by what the platform says of them', async () => {
    expect(statusOf(await app.invoke('listOrders', { headers: { authorization: 'Bearer another-token-than-that' } }))).to.equal(401);
    const guess = async (from: string): Promise<number> => statusOf(await app.invoke('listOrders', { headers: { authorization: 'Bearer guessed', 'x-forwarded-for': from } }));
    const answers: number[] = [];
    for (let i = 0; i < 25; i++) answers.push(await guess(`203.0.113.${i}, 198.51.100.7:${40_000 + i}`));
    expect(answers.slice(0, 20)).to.deep.equal(Array.from({ length: 20 }, () => 401));
    expect(answers.at(-1), 'whatever the client itself has put there').to.equal(429);
    expect(await guess('203.0.113.9, [2001:db8::1]:443')).to.equal(401);
  });

  it('throws at a batch whose partition nobody has named, and the platform keeps it', async () => {
    const outcome = await app.invoke('orderOnShipping', { data: [{}], triggerMetadata: { SequenceNumberArray: [0] } });
    expect(outcome).to.deep.equal({ returned: false, error: 'Defect: a batch of a hub came without its partition' });
  });

  it('keeps its orders in the embedded family as well, from one process to the next', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'anyport-embedded-'));
    const env = { ...quiet, ADAPTERS: 'embedded', DATA_DIR: folder, NODE_PATH: join(root, 'node_modules') };
    try {
      const first = await openApp(files, { env });
      for (const name of ['describeProduct', 'receiveStock']) expect(statusOf(await first.invoke(name, payload(name)))).to.equal(201);
      const { id } = JSON.parse(bodyOf(await first.invoke('placeOrder', payload('placeOrder')))) as { id: string };
      await first.close();
      const second = await openApp(files, { env });
      expect(statusOf(await second.invoke('getOrder', { params: { id } }))).to.equal(200);
      await second.close();
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it('comes out of its zip as it went in, with no path of this machine', () => {
    const zip = Buffer.from(zipped(files));
    expect([zip.readUInt16LE(10), zip.readUInt16LE(12)], 'the first moment that a zip can tell, whenever it is made').to.deep.equal([0, 0x21]);
    const unzipped = unzipSync(zip);
    expect(JSON.parse(Buffer.from(unzipped['package.json']!).toString()), 'else a folder of modules above it would make it one').to.include({ type: 'commonjs', main: entry });
    expect(Object.keys(unzipped)).to.deep.equal([...files.keys()]).and.include.members(['host.json', 'package.json', entry]);
    for (const [path, bytes] of Object.entries(unzipped)) {
      expect(Buffer.compare(bytes, files.get(path)!), path).to.equal(0);
      expect(Buffer.from(bytes).includes(root), `${path} knows where it was made`).to.equal(false);
    }
  });

  it('loads the shop when the first function runs, and not before', () => {
    const main = Buffer.from(files.get(entry)!).toString();
    expect(files.get(entry)!.byteLength).to.be.lessThan(150 * 1024);
    for (const word of ['inversify', 'service-bus', 'nodemailer']) expect(main.includes(`"${word}`), word).to.equal(false);
  });
});

describe('a package that is broken', function () {
  this.timeout(60_000);
  const broken = async (change: (files: Map<string, Uint8Array>) => void): Promise<string> => {
    const files = new Map(await bundle());
    change(files);
    return openApp(files, { env: quiet }).then((app) => app.close().then(() => `${app.functions.length} functions`), (error: Error) => error.message);
  };

  it('is no success without functions: one that throws early, one that registers nothing, one that takes itself for a module', async () => {
    const said = await Promise.all([
      broken((files) => files.set(entry, Buffer.from('throw new Error("by the test");'))),
      broken((files) => files.set(entry, Buffer.from('module.exports = {};'))),
      broken((files) => files.set('package.json', Buffer.from(JSON.stringify({ type: 'module', main: entry })))),
    ]);
    expect(said[0]).to.match(/^the package cannot be started: Error: by the test/);
    expect(said[1]).to.match(/^the package cannot be started: .*has set no programming model/);
    expect(said[2]).to.match(/^the package cannot be started: /);
  });
});

describe('sls', function () {
  this.timeout(60_000);
  const folder = mkdtempSync(join(tmpdir(), 'anyport-sls-'));
  after(() => rmSync(folder, { recursive: true, force: true }));

  interface Said {
    readonly code: number;
    readonly out: string;
  }
  /** As it is typed, in a clean environment: nothing that could be a credential. */
  const sls = (args: readonly string[], cwd = root): Promise<Said> =>
    new Promise((resolve) => {
      execFile(process.execPath, [join(root, 'node_modules/osls/bin/serverless.js'), ...args], { cwd, env: { PATH: process.env['PATH'], HOME: folder } }, (error, stdout, stderr) =>
        resolve({ code: error ? Number(error.code ?? 1) : 0, out: stdout + stderr }));
    });
  /** In a folder with another serverless.yml. */
  function withYml(yml: string): Promise<Said> {
    const place = mkdtempSync(join(folder, 'yml-'));
    symlinkSync(join(root, 'serverless'), join(place, 'serverless'));
    writeFileSync(join(place, 'serverless.yml'), yml);
    return sls(['package'], place);
  }

  it('packages: a zip and the template, with the same bytes in every process', async () => {
    const { code, out } = await sls(['package', '--package', join(folder, 'one')]);
    expect(code, out).to.equal(0);
    expect(out).to.include(`${functions.length} functions`);
    expect(readdirSync(join(folder, 'one')).sort()).to.deep.equal(['anyport.zip', 'template.json']);
    expect(Buffer.compare(readFileSync(join(folder, 'one', 'anyport.zip')), zipped(await bundle()))).to.equal(0);
    expect(JSON.parse(readFileSync(join(folder, 'one', 'template.json'), 'utf8'))).to.deep.equal(JSON.parse(JSON.stringify(template())));
  });

  it('invokes a function with its own payload, and with that of a file', async () => {
    const file = join(folder, 'health.json');
    writeFileSync(file, JSON.stringify({ url: '/healthz' }));
    const [own, ofFile] = await Promise.all([sls(['invoke', 'local', '-f', 'inventoryOnStockFreed']), sls(['invoke', 'local', '-f', 'anythingElse', '-p', file])]);
    expect(own!.code, own!.out).to.equal(0);
    expect(own!.out).to.include('inventoryOnStockFreed has returned');
    expect(ofFile!.out).to.include('"status": 200').and.include('{\\"status\\":\\"ok\\"}');
  });

  it('says in one line what is wrong, and ends with 1', async () => {
    const wrong: readonly (readonly [string, Promise<Said>])[] = [
      ['there is no function nix', sls(['invoke', 'local', '-f', 'nix'])],
      ['the payload /nowhere.json cannot be read: ENOENT', sls(['invoke', 'local', '-f', 'getOrder', '-p', '/nowhere.json'])],
      ["Configuration error at 'functions.listProducts.events.0': unsupported function event", withYml(serverlessYml().replace('{ http:', '{ telegraph:'))],
      ['Cannot parse "serverless.yml"', withYml('service: [')],
    ];
    for (const [complaint, running] of wrong) {
      const { code, out } = await running;
      expect(code, out).to.equal(1);
      expect(out).to.include(complaint);
      expect(out.split('\n').filter((line) => /^\s+at /.test(line)), out).to.deep.equal([]);
    }
    for (const place of readdirSync(folder).filter((name) => name.startsWith('yml-'))) expect(readdirSync(join(folder, place)).sort()).to.deep.equal(['serverless', 'serverless.yml']);
  });

  type Config = Serverless['service']['functions'];
  const rows = Object.fromEntries(functions.map((row) => [row.name, { handler: handlerOf(row.name), events: [eventOf(row)] }])) as Config;
  const complaintOf = (work: Promise<void>): Promise<unknown> => work.then(() => undefined, (error: unknown) => (error instanceof Complaint ? error.message : error));

  it('writes nothing of a package that is not what serverless.yml says', async () => {
    const into = join(folder, 'never');
    const packed = (service: Config): Promise<unknown> => complaintOf(pack({ serviceDir: root, service: { functions: service, package: {} } }, { package: into }));
    const { listProducts, ...fewer } = rows;
    const timer = { timer: { schedule: '0 * * * * *' } };
    expect(await packed({ ...rows, another: { handler: handlerOf('another'), events: [timer] } })).to.match(/^serverless.yml has another, which the package does not register/);
    expect(await packed(fewer)).to.match(/^the package registers listProducts, which serverless.yml does not have/);
    expect(await packed({ ...rows, listProducts: { ...listProducts!, events: [{ http: { methods: ['GET', 'HEAD'], route: 'api/goods' } }] } })).to.match(/^listProducts has another route in serverless.yml/);
    expect(await packed({ ...rows, listProducts: { ...listProducts!, events: [timer] } })).to.match(/^listProducts has another type in serverless.yml/);
    expect(await packed({ ...rows, listProducts: { handler: 'handlers/azure.listProducts', events: [] } })).to.equal('the function listProducts has no event');
    expect(await packed({ ...rows, listProducts: { ...listProducts!, events: [timer, timer] } })).to.match(/has 2 events; on this platform a function has one/);
    expect(await packed({ ...rows, listProducts: { ...listProducts!, handler: 'elsewhere.list' } })).to.match(/has the handler elsewhere.list; it must be/);
    expect(readdirSync(folder)).to.not.include('never');
    writeFileSync(into, 'a file where a folder should be');
    expect(await packed(rows)).to.match(/^.*never cannot be written: /);
  });

  it('refuses payloads that are none', async () => {
    const invoked = (options: Record<string, string>): Promise<unknown> => complaintOf(invokeLocal({ serviceDir: root, service: { functions: rows, package: {} } }, options));
    expect(await invoked({ function: 'getOrder', data: '{' })).to.match(/^the payload in --data is no JSON/);
    expect(await invoked({ function: 'getOrder', data: '{}', path: 'x' })).to.match(/not by both/);
    expect(await invoked({ function: 'getOrder', data: '{"parameters":{}}' })).to.match(/^the payload of getOrder has parameters; a request has/);
    expect(await invoked({ function: 'orderOnShipping', data: '{}' })).to.match(/^the payload of orderOnShipping must be a CloudEvent/);
    expect(await invoked({ function: 'orderOnShipping', data: '{"data":{},"triggerMetadata":{}}' })).to.match(/^orderOnShipping has thrown Defect/);
  });
});

const statusOf = (outcome: Outcome): number => (outcome.returned && outcome.response ? outcome.response.status : 0);
const bodyOf = (outcome: Outcome): string => (outcome.returned && outcome.response ? outcome.response.body : '');
/** Nobody has signed in: pages of the console lead to the door, and its forms are not taken. */
const declared = (name: string, door: Door | undefined): number[] => (door?.console ? [door.method === 'GET' ? 303 : 401] : door ? [...Object.keys(door.replies).map(Number), ...(door.refuses ?? [])] : name === 'anythingElse' ? [200] : []);
