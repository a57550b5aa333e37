import { TableClient } from '@azure/data-tables';
import { BlobServiceClient } from '@azure/storage-blob';
import { expect } from 'chai';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { startAzurite } from '../../emulator/azurite.ts';
import { isPortError } from '../../ports/index.ts';
import { azuritePatienceMs, sharedAzurite } from '../support/azurite.ts';

/** Azurite's own promises: https://learn.microsoft.com/azure/storage/common/storage-use-azurite. Here it is about its life, and about what it was told before it ended. */

const table = (connectionString: string): TableClient => TableClient.fromConnectionString(connectionString, 'things', { allowInsecureConnection: true, retryOptions: { maxRetries: 0 } });
const isListening = (port: number): Promise<boolean> => new Promise((resolve) => {
  const socket = connect(port, '127.0.0.1').on('connect', () => (socket.destroy(), resolve(true))).on('error', () => resolve(false));
});
const portIn = (connectionString: string): number => Number(/TableEndpoint=http:\/\/127\.0\.0\.1:(\d+)/.exec(connectionString)![1]);

describe('Azurite', () => {
  let folder: string;
  before(async function () {
    this.timeout(azuritePatienceMs);
    await sharedAzurite();
  });
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'anyport-azurite-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }));

  /** A process of ours with an Azurite on the folder. */
  async function child(): Promise<{ process: ChildProcess; connectionString: string }> {
    const path = fileURLToPath(new URL('azurite.child.ts', import.meta.url));
    const started = spawn(process.execPath, ['--import', 'tsx/esm', path, folder], { stdio: ['ignore', 'pipe', 'inherit'] });
    const [connectionString] = (await once(createInterface({ input: started.stdout }), 'line')) as [string];
    return { process: started, connectionString };
  }

  it('serves tables and blobs to the SDKs of the vendor', async () => {
    const { connectionString } = await sharedAzurite();
    await table(connectionString).createTable();
    await table(connectionString).createEntity({ partitionKey: 'a', rowKey: 'b', n: 1 });
    expect((await table(connectionString).getEntity('a', 'b'))['n']).to.equal(1);
    const container = BlobServiceClient.fromConnectionString(connectionString).getContainerClient('things');
    await container.create();
    await container.getBlockBlobClient('a').upload('text', 4);
    expect((await container.getBlockBlobClient('a').downloadToBuffer()).toString()).to.equal('text');
    await table(connectionString).deleteTable();
  });

  it('keeps what it has acknowledged when we are killed, ends by itself, and lets the next one wait for that', async () => {
    const first = await child();
    await table(first.connectionString).createTable();
    for (let n = 0; n < 50; n++) await table(first.connectionString).createEntity({ partitionKey: 'a', rowKey: String(n) });
    first.process.kill('SIGKILL');
    const second = await startAzurite({ dataDir: folder });
    expect(await isListening(portIn(first.connectionString)), 'the first one has gone').to.equal(false);
    const rows: unknown[] = [];
    for await (const row of table(second.connectionString).listEntities()) rows.push(row);
    expect(rows).to.have.length(50);
    await second.close();
    expect(existsSync(join(folder, 'azurite-tables', 'lock'))).to.equal(false);
  }).timeout(20_000);

  it('keeps what it has acknowledged when it is closed, and listens where it is told to', async () => {
    const first = await startAzurite({ dataDir: folder });
    await table(first.connectionString).createTable();
    await table(first.connectionString).createEntity({ partitionKey: 'a', rowKey: 'b' });
    await first.close();
    const port = first.ports.tables!;
    const again = await startAzurite({ dataDir: folder, ports: { tables: port } });
    expect(again.connectionString).to.equal(first.connectionString);
    expect((await table(again.connectionString).getEntity('a', 'b')).rowKey).to.equal('b');
    await again.close();
  }).timeout(20_000);

  it('takes over the folder of one that was itself killed', async () => {
    const place = join(folder, 'azurite-tables');
    mkdirSync(place);
    const gone = spawn(process.execPath, ['-e', '0']);
    await once(gone, 'close');
    writeFileSync(join(place, 'lock'), String(gone.pid));
    const azurite = await startAzurite({ dataDir: folder });
    await azurite.close();
    expect(readdirSync(place).filter((name) => name.startsWith('lock'))).to.deep.equal([]);
  }).timeout(20_000);

  it('says why when it cannot start, and that it has ended when it was not told to', async () => {
    const { ports } = await sharedAzurite();
    const said: string[] = [];
    const error: unknown = await startAzurite({ ports: { tables: ports.tables! }, say: (line) => said.push(line) }).catch((thrown: unknown) => thrown);
    expect(isPortError(error, 'unavailable') && error.message).to.match(/EADDRINUSE/);
    expect(said.join()).to.match(/EADDRINUSE/);
    const azurite = await startAzurite({ dataDir: folder });
    process.kill(Number(readFileSync(join(folder, 'azurite-tables', 'lock'), 'utf8')), 'SIGKILL');
    expect(await azurite.ended).to.equal('Azurite (tables) has ended');
    await azurite.close();
  }).timeout(20_000);

  describe('is fetched', () => {
    const keeper = fileURLToPath(new URL('../../emulator/azurite/', import.meta.url));
    let npm: string;

    /** A copy of the folder with the lock file, without what it names, and an npm that brings something small after a while. */
    beforeEach(() => {
      for (const file of ['keep.mjs', 'package.json']) cpSync(join(keeper, file), join(folder, 'here', file));
      cpSync(join(keeper, '../fetch.mjs'), join(folder, 'fetch.mjs'));
      const lock = { packages: { '': {}, 'node_modules/azurite': { version: '9.9.9' } } };
      writeFileSync(join(folder, 'here', 'package-lock.json'), JSON.stringify(lock));
      npm = join(folder, 'npm-cli.js');
      writeFileSync(npm, `
        const { appendFileSync, mkdirSync, writeFileSync } = require('node:fs');
        appendFileSync(${JSON.stringify(join(folder, 'asked'))}, process.argv[2] + ' ' + (process.env.npm_config_local_prefix ?? '') + '\\n');
        setTimeout(() => {
          if (require('node:fs').existsSync(${JSON.stringify(join(folder, 'broken'))})) process.exit(1);
          for (const kind of ['table', 'blob']) {
            mkdirSync('node_modules/azurite/dist/src/' + kind, { recursive: true });
            writeFileSync('node_modules/azurite/dist/src/' + kind + '/main.js',
              "require('node:http').createServer().listen(0, '127.0.0.1'); process.once('SIGINT', () => console.log('successfully closed'));");
          }
          writeFileSync('node_modules/.package-lock.json', ${JSON.stringify(JSON.stringify({ packages: { 'node_modules/azurite': { version: '9.9.9' } } }))});
        }, 300);`);
    });

    const start = (): ChildProcess => spawn(process.execPath, [join(folder, 'here', 'keep.mjs'), 'blobs', '0'], {
      stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, npm_execpath: npm, npm_config_local_prefix: '/elsewhere' },
    });
    const heard = async (stream: ChildProcess['stdout']): Promise<string> => String(((await once(createInterface({ input: stream! }), 'line')) as [string])[0]);
    const asked = (): string => readFileSync(join(folder, 'asked'), 'utf8');
    async function end(...keepers: ChildProcess[]): Promise<void> {
      for (const each of keepers) each.stdin!.end();
      await Promise.all(keepers.map(async (each) => each.exitCode ?? once(each, 'close')));
      expect(keepers.map((each) => each.exitCode)).to.deep.equal(keepers.map(() => 0));
    }

    it('once, with one line that says so, however many ask at a time', async () => {
      const keepers = [start(), start(), start()];
      const lines: string[] = [];
      for (const each of keepers) createInterface({ input: each.stderr! }).on('line', (line) => lines.push(line));
      for (const line of await Promise.all(keepers.map((each) => heard(each.stdout!)))) expect(line).to.match(/^port \d+$/);
      expect(lines).to.deep.equal(['Fetching Azurite, the local server of tables and blobs (npm ci), once …']);
      expect(asked()).to.equal('ci \n');
      await end(...keepers);
      expect(readdirSync(join(folder, 'here')).sort()).to.deep.equal(['keep.mjs', 'node_modules', 'package-lock.json', 'package.json']);
    });

    it('again when what is there is not whole, and not when it is', async () => {
      mkdirSync(join(folder, 'here', 'node_modules', 'azurite'), { recursive: true });
      mkdirSync(join(folder, 'here', '.fetched-1'), { recursive: true });
      for (let n = 0; n < 2; n++) {
        const keeping = start();
        await heard(keeping.stdout);
        await end(keeping);
      }
      expect(asked()).to.equal('ci \n');
      rmSync(join(folder, 'here', 'node_modules', 'azurite', 'dist', 'src', 'table'), { recursive: true });
      const keeping = start();
      await heard(keeping.stdout);
      await end(keeping);
      expect(asked()).to.equal('ci \nci \n');
      expect(readdirSync(join(folder, 'here')).sort()).to.deep.equal(['keep.mjs', 'node_modules', 'package-lock.json', 'package.json']);
    });

    it('anew by the next one when it has failed, or when the one who fetched was killed', async () => {
      writeFileSync(join(folder, 'broken'), '');
      const failing = start();
      await once(failing, 'close');
      expect(failing.exitCode).not.to.equal(0);
      rmSync(join(folder, 'broken'));
      const killed = start();
      await heard(killed.stderr);
      killed.kill('SIGKILL');
      await once(killed, 'close');
      const keeping = start();
      await heard(keeping.stdout);
      await end(keeping);
    });
  });
});
