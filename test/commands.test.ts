import { expect } from 'chai';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { client, eventually, type Client } from './support/client.ts';
import { hasJava } from './support/dynamo.ts';

/**
 * WHAT A READER TYPES. Every command that stands in a document is run here as it stands, or with smaller figures; or it is named by which other test; or it is said why nobody can
 * run it here. A command that is not in the table fails, and so does a line of the table that no document has.
 */
const root = fileURLToPath(new URL('..', import.meta.url));
const read = (file: string): string => readFileSync(join(root, file), 'utf8');
const folder = mkdtempSync(join(tmpdir(), 'anyport-'));
const documents = ['README.md', 'emulator/README.md', ...readdirSync(join(root, 'docs')).filter((file) => file.endsWith('.md')).map((file) => `docs/${file}`)];

type Proof =
  /** Run in a shell; `says` is what a reader is promised to see. `$FOLDER` is a folder that goes afterwards, `$ORDER` an order of the open shop. */
  | { readonly run: string; readonly says: RegExp }
  /** Opens a shop, which is asked for its first page and then ended. */
  | { readonly opens: string }
  | { readonly test: string; readonly has: string }
  /** Why it cannot be run here. */
  | { readonly elsewhere: string };

const asIs = (run: string, says: RegExp): Record<string, Proof> => ({ [run]: { run, says } });
const like = (run: string, says: RegExp, ...printed: readonly string[]): Record<string, Proof> => Object.fromEntries(printed.map((each) => [each, { run, says }]));
const opens = (...printed: readonly string[]): Record<string, Proof> => Object.fromEntries(printed.map((each) => [each, { opens: each }]));
const told = (test: string, has: string, ...printed: readonly string[]): Record<string, Proof> => Object.fromEntries(printed.map((each) => [each, { test, has }]));
const elsewhere = (why: string, ...printed: readonly string[]): Record<string, Proof> => Object.fromEntries(printed.map((each) => [each, { elsewhere: why }]));

const sample = 'npm run replay -- bench/samples/orders.csv.gz --orders 5 --adapters memory --stock 0.8';
const replayed = /audit|fault/i;
const cloud = 'it wants an account with a cloud';
const yours = 'it is about a file or a family of the reader';

const proofs: Record<string, Proof> = {
  // ---- a shop
  ...opens('npm start', 'ADAPTERS=azure npm start', ...(hasJava ? ['ADAPTERS=aws npm start', 'ADAPTERS=queue=aws,stream=azure,store=embedded,mailer=smtp npm start'] : [])),
  ...(hasJava ? {} : elsewhere('there is no Java on this machine', 'ADAPTERS=aws npm start', 'ADAPTERS=queue=aws,stream=azure,store=embedded,mailer=smtp npm start')),
  ...asIs('npm start -- --help', /DATA_DIR/),
  ...told('scripts/install.mjs', "'ci', '--include=dev'", 'npm ci'),
  ...told('test/backup.test.ts', 'backup', 'cp -r .data backup', 'DATA_DIR=backup npm start'),

  // ---- the same, looked at
  ...like('curl -s -X POST localhost:3000/api/orders -H \'content-type: application/json\' -H \'Idempotency-Key: "my-first"\' -d @$FOLDER/body.json', /"status":"Placed"/, 'curl -X POST localhost:3000/api/orders'),
  ...like('curl -s localhost:3000/metrics', /anyport_outbox_messages/, 'curl localhost:3000/metrics'),
  ...like('npm run ops', /audit/, 'npm run ops', 'npm run ops -- help'),
  ...like('npm run ops -- audit', /orders/i, 'npm run ops -- audit'),
  ...like('npm run ops --silent -- audit --json', /^\{[^]*"faults"/, 'npm run ops --silent -- audit --json'),
  ...like('npm run ops -- order $ORDER', /OrderPlaced/, 'npm run ops -- order 7f3a9c21', 'npm run ops -- order 7z1k5v0q'),
  ...asIs('npm run ops -- dead-letters', /no|nothing/i),
  ...asIs('npm run ops -- acts', /\w/),
  ...like('cd $FOLDER && curl -s localhost:3000/api/orders/$ORDER > order.json && cat order.json', /"history"/, 'curl -s localhost:3000/api/orders/$ID > order.json'),
  ...like('cd $FOLDER && $NODE_E > placed.json && cat placed.json', /"type":"OrderPlaced"/, 'node -e'),
  ...like('npm run ops -- say --channel reserve-stock --file $FOLDER/placed.json', /reserve-stock/, 'npm run ops -- say --channel reserve-stock --file placed.json'),
  ...asIs('echo \'{"type":"StockFreed","subject":"22197","data":{"skus":["22197"]}}\' | npm run ops -- say --channel stock-freed --file -', /stock-freed/),

  // ---- tests, and what tries to break it
  ...like('SCHEDULES=20 npm test -- test/core/inventory.model.test.ts', /passed, 0 failed/, 'SCHEDULES=20000 npm test -- test/core/inventory.model.test.ts', 'npm test -- test/core/order.test.ts'),
  ...told('scripts/test.mjs', 'node_modules/typescript/bin/tsc', 'npm test', 'npm run types'),
  ...told('scripts/test.mjs', 'process.argv.slice(2)', 'npm test -- FILE', 'npm test -- test/edge/fuzz.test.ts test/edge/security.test.ts test/edge/log.test.ts', 'npm test -- test/story.test.ts'),
  ...told('test/conformance/mutants.test.ts', 'mutants', 'npm run mutants'),
  ...told('test/simulation/crash.test.ts', "strikeAll('azure'", 'npm run crash -- --family azure --every 60'),
  ...told('test/simulation/crash.test.ts', "strikeAll('aws'", 'npm run crash -- --family aws --every 600', 'npm run crash -- --family aws'),
  ...like('npm run crash -- --at 700', /0 violations/, 'npm run crash'),
  ...like('npm run crash -- --kills 1', /kill/i, 'npm run crash -- --kills 200'),
  ...like('npm run simulate -- --seeds 1 --orders 20', /seed/i, 'npm run simulate -- --seeds 100', 'npm run simulate -- --seeds 1000'),
  ...like('npm run fuzz -- --part doors --seed 7 --cases 1', /seed/i, 'npm run fuzz', 'npm run fuzz -- --part doors --seed 7 --cases 1'),
  ...asIs('npm run contracts', /\w/),
  ...like("npm run matrix -- --grep 'queue=memory,stream=memory,store=memory,mailer=memory'", /11 passing/, 'npm run matrix'),
  ...like(sample, replayed, 'npm run replay -- bench/samples/orders.csv.gz --adapters memory --stock 0.8', 'npm run replay -- FILE [--orders N] [--adapters memory|embedded|azure|aws] [--stock SHARE]'),
  ...like(
    sample, replayed, 'npm run replay -- online-retail.csv.gz', 'npm run replay -- online-retail.csv.gz --adapters memory', 'npm run replay -- online-retail.csv.gz --orders 10000 --adapters azure',
    'npm run replay -- online-retail.csv.gz --orders 5000 --adapters aws',
  ),
  ...like('npm run bench -- --orders 20 --only memory', /memory/, 'npm run bench', 'npm run bench -- --orders 5000', 'npm run bench -- --only cold'),
  ...like('npm run screenshots -- --only basket --into $FOLDER/pictures', /Pictures of 1 pages/, 'npm run screenshots'),

  // ---- packages
  ...like('npx sls package --package $FOLDER/azure', /anyport\.zip/, 'npx sls package'),
  ...like('npx sls package -c serverless.aws.yml --package $FOLDER/aws', /./, 'npx sls package -c serverless.aws.yml --package .build/aws', 'npx sls package -c serverless.aws.yml'),
  ...like('npx sls invoke local -f getProduct', /"status"|status/i, 'npx sls invoke local -f placeOrder', 'npx sls invoke local -f placeOrder -p FILE | -d DATA'),
  ...like('ADAPTERS=embedded DATA_DIR=$FOLDER/invoked npx sls invoke local -f listProducts', /"?status"?: 200/, 'ADAPTERS=embedded DATA_DIR=.data npx sls invoke local …'),
  ...like('npx sls invoke local -c serverless.aws.yml -f getProduct', /status/i, 'npx sls invoke local -c serverless.aws.yml -f placeOrder'),
  ...like('ADMIN_TOKEN=a-token-that-is-long-enough npx sls deploy --dry-run', /would/, 'npx sls deploy --dry-run'),
  ...told('test/serverless/deploy.test.ts', "'remove'", 'npx sls deploy', 'npx sls info', 'npx sls remove', 'npx sls remove --confirm anyport', 'npx sls deploy | remove | info'),
  ...told('test/serverless/package.test.ts', 'isCurrent()', 'npm run generate'),
  ...like('npm run emulator -- --port 0 --control-port 0', /UseDevelopmentEmulator=true/, 'npm run emulator', 'npm run emulator -- [--port N] [--host H] [--config FILE] [--data DIR] [--control-port N]'),
  ...like('node --import tsx/esm bench/emulator.ts --messages 200', /\d/, 'node --import tsx/esm bench/emulator.ts'),
  ...asIs('node emulator/aws/keep.mjs fetch', /^/),

  // ---- told elsewhere
  ...told('test/tutorial.test.ts', "'--release'", 'npm run contracts -- --release'),
  ...told('test/tutorial.test.ts', 'test/core/loyalty.test.ts', 'npm test -- test/core/loyalty.test.ts'),
  ...told('test/tutorial.test.ts', 'test/points.test.ts', 'npm test -- test/points.test.ts'),
  ...elsewhere(yours, 'npm test -- test/conformance/yours.test.ts', 'npm run crash -- --family yours', 'npm run replay -- bench/samples/orders.csv.gz --adapters yours'),
  ...elsewhere('it asks the registry', 'npm audit'),
  ...elsewhere(
    cloud, 'az login', 'aws configure sso', 'npx sls deploy -c serverless.aws.yml', 'npx sls remove -c serverless.aws.yml', 'curl -X PUT $SHOP/api/products/MUG', 'curl -X PUT "$SHOP/api/products/MUG"',
    'curl -X POST "$SHOP/api/inventory/MUG/receipts"',
  ),
};

// ---------------------------------------------------------------- reading

const command = /^(?:echo .*\| )?(?:[A-Z_]+=\S+ )*(?:npm|npx|node|curl|cp|az|aws|sls) \S/;
const quoted = (text: string): boolean => (text.match(/'/g) ?? []).length % 2 === 1;

/** Lines of a block; one that is within quotes goes on in the next. What stands behind two spaces or a `#` is said to the reader. */
function typed(block: string): string[] {
  const whole: string[] = [];
  for (const line of block.split('\n')) {
    if (whole.length > 0 && quoted(whole.at(-1)!)) whole.push(`${whole.pop()!}\n${line}`);
    else whole.push(line.trim().replace(/ {2,}\S.*| # .*/, ''));
  }
  return whole;
}

/** As it stands in the table: of a request its place alone, of a program in the line that it is one. */
const named = (line: string): string => (/^curl .* -[Hd] /s.test(line) ? line.replace(/ -[Hd] .*/s, '') : line.startsWith('node -e') ? 'node -e' : line.replace(/^sls /, 'npx sls '));

const typedIn = (text: string): string[] => [...text.matchAll(/^```(\w*)\n([^]*?)^```/gm)].filter(([, language = '']) => ['', 'sh'].includes(language)).flatMap(([, , block = '']) => typed(block));

function commandsOf(document: string): string[] {
  const text = read(document);
  const blocks = typedIn(text);
  const inline = [...text.replace(/^```[^]*?^```/gm, '').matchAll(/`([^`\n]+)`/g)].map(([, each = '']) => each);
  return [...blocks, ...inline].filter((line) => command.test(line)).map(named);
}

const printed = new Map(documents.map((document) => [document, commandsOf(document)]));
const lineOf = (document: string, begins: string): string => typedIn(read(document)).find((line) => line.startsWith(begins))!;

// ---------------------------------------------------------------- running

const children = new Set<ChildProcess>();

function started(line: string, env: NodeJS.ProcessEnv): { readonly child: ChildProcess; readonly said: () => string } {
  const child = spawn('sh', ['-c', line], { cwd: root, detached: true, stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, NO_COLOR: '1', ...env } });
  children.add(child);
  child.on('exit', () => children.delete(child));
  let text = '';
  for (const stream of [child.stdout!, child.stderr!]) stream.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  return { child, said: () => text };
}
const end = (child: ChildProcess, signal: NodeJS.Signals): void => {
  try {
    process.kill(-child.pid!, signal);
  } catch {
    // It has ended by itself.
  }
};

interface Shop {
  readonly child: ChildProcess;
  readonly url: string;
  readonly api: Client;
  readonly env: NodeJS.ProcessEnv;
  end(): Promise<void>;
}
async function open(line: string, name: string): Promise<Shop> {
  const env = { PORT: '0', DATA_DIR: join(folder, name), ADMIN_TOKEN: 'a-token-for-the-commands', DEMO_CARRIER_DELIVERS_AFTER_SECONDS: '1', ...(line.includes('smtp') ? { SMTP_URL: 'smtp://127.0.0.1:9' } : {}) };
  const { child, said } = started(line, env);
  const url = await eventually(async () => {
    const found = /Shop +(http:\/\/\S+?)\/\s/.exec(said())?.[1];
    if (found === undefined) throw new Error(`${line}: ${said()}`);
    return found;
  }, 60);
  const gone = once(child, 'close');
  return {
    child, url, env: { DATA_DIR: env.DATA_DIR, ADMIN_TOKEN: env.ADMIN_TOKEN }, api: client(url, env.ADMIN_TOKEN),
    async end() {
      end(child, 'SIGTERM');
      await gone;
    },
  };
}

describe('The commands in the documents', function () {
  this.timeout(180_000);
  let shop: Shop;
  let order: string;

  after(() => {
    for (const child of children) end(child, 'SIGKILL');
    rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  });

  for (const document of documents) {
    it(`${document}: each of them is run here, or in a test that is named, or it is said why not`, () => {
      expect(printed.get(document)!.filter((line) => !(line in proofs))).to.deep.equal([]);
    });
  }

  it('are no more than stand there', () => {
    const all = new Set([...printed.values()].flat());
    expect(Object.keys(proofs).filter((line) => !all.has(line))).to.deep.equal([]);
  });

  it('are told by tests that there are', () => {
    for (const [line, proof] of Object.entries(proofs)) if ('test' in proof) expect(read(proof.test), line).to.include(proof.has);
  });

  it('name files that are there, if they name test files', () => {
    const files = [...printed.values()].flat().filter((line) => line in proofs && !('elsewhere' in proofs[line]!) && !/loyalty|points/.test(line)).flatMap((line) => line.match(/(?:test|bench)\/\S+\.(?:ts|gz)/g) ?? []);
    expect(files).not.to.have.length(0);
    for (const file of files) expect(() => read(file), file).not.to.throw();
  });

  it('open a shop', async () => {
    shop = await open('npm start', 'shop');
    expect((await shop.api.get('/')).status).to.equal(200);
    const line = lineOf('README.md', 'curl -X POST localhost:3000/api/orders');
    const body = /-d '([^]*)'$/.exec(line)![1]!;
    writeFileSync(join(folder, 'body.json'), body);
    const { status, body: placed } = await shop.api.post('/api/orders', JSON.parse(body));
    expect(status).to.equal(201);
    order = placed.id as string;
    await shop.api.until(order, 'Delivered', 60);
  });

  for (const { opens: line } of Object.values(proofs).filter((proof) => 'opens' in proof)) {
    if (line === 'npm start') continue;
    it(`open another one: ${line}`, async () => {
      const other = await open(line, line.replace(/\W/g, ''));
      expect((await other.api.get('/')).status).to.equal(200);
      await other.end();
    });
  }

  const lines = new Map(Object.values(proofs).flatMap((proof) => ('run' in proof ? [[proof.run, proof.says] as const] : [])));
  for (const [line, says] of lines) {
    it(`do what they promise: ${line}`, async () => {
      const program = lineOf('docs/operations.md', 'node -e').replace(/ > placed\.json$/, '');
      const filled = line.replaceAll('$FOLDER', folder).replaceAll('$ORDER', order).replace('localhost:3000', new URL(shop.url).host).replace('$NODE_E', () => program);
      const ofShop = /curl|npm run ops/.test(line);
      const { child, said } = started(filled, ofShop ? shop.env : { DATA_DIR: join(folder, 'run') });
      const closed = once(child, 'close');
      if (line.startsWith('npm run emulator')) {
        await eventually(async () => expect(said()).to.match(says), 30);
        end(child, 'SIGTERM');
        await closed;
      } else {
        const [status] = (await closed) as [number];
        expect(status, said()).to.equal(0);
        expect(said()).to.match(says);
      }
    });
  }

  it('end a shop that was opened', () => shop.end());
});
