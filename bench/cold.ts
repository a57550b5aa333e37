import { TableClient } from '@azure/data-tables';
import { build } from 'esbuild';
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { openAwsStore } from '../adapters/aws/store.ts';
import { systemClock } from '../adapters/system/index.ts';
import { queues, streams } from '../core/flow.ts';
import { startAws } from '../emulator/aws.ts';
import { startLaptop, type Laptop } from '../emulator/laptop.ts';
import { bundle, lambdaBundle, packed, type Files } from '../serverless/bundle.ts';
import { local } from '../serverless/invoke.ts';
import { must } from '../ports/index.ts';
import type { Run } from './cold/process.ts';

/**
 * COLD START of the packed app: what a function has loaded when its first answer is given, and how long that takes, each time in a process of its own. The beginning of Node
 * itself is not counted, for it is not ours. Beside it a bare function over the same SDKs, packed in the same way, in turns with ours; the middle one of the runs counts.
 */
type Report = (name: string, value: string) => void;
const rounds = 9;
const root = fileURLToPath(new URL('..', import.meta.url));
const here = fileURLToPath(new URL('.', import.meta.url));
const run = promisify(execFile);

/** Somebody's first request to a page, to the API; and what comes of itself. */
const shown = ['homePage', 'listProducts', 'getOrder', 'inventoryOnReserveStock', 'orderOnInventory', 'sweepOutbox'] as const;

export async function benchCold(report: Report): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'anyport-cold-'));
  const laptop = await startLaptop({ broker: true, tables: true, email: true });
  try {
    const bench = await prepare(folder);
    await onMemory(report, bench);
    await onAzure(report, bench, laptop);
    await onAws(report, folder);
  } finally {
    await laptop.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Where our package is, where the bare one is, and what starts them. */
interface Bench {
  readonly folder: string;
  readonly ours: string;
  readonly bare: string;
  readonly starter: string;
  /** Where below serverless/ they are; `payloads` unless told. */
  readonly payloads?: string;
}

async function prepare(folder: string): Promise<Bench> {
  const bench = { folder, ours: join(folder, 'ours'), bare: join(folder, 'bare'), starter: join(folder, 'start.cjs') };
  unpack(await bundle(), bench.ours);
  unpack(await packed(join(here, 'cold', 'bare.ts')), bench.bare);
  await buildStarter('process.ts', bench.starter);
  return bench;
}

const buildStarter = (from: string, outfile: string) => build({ entryPoints: [join(here, 'cold', from)], outfile, bundle: true, platform: 'node', format: 'cjs', target: 'node20', logLevel: 'error' });

function unpack(files: Files, folder: string): void {
  for (const [path, bytes] of files) {
    mkdirSync(join(folder, dirname(path)), { recursive: true });
    writeFileSync(join(folder, path), bytes);
  }
}

type Env = Readonly<Record<string, string | undefined>>;

let orders = 0;
async function once({ folder, starter, payloads = 'payloads' }: Bench, app: string, name: string, env: Env): Promise<Run> {
  const file = join(folder, 'payload.json');
  writeFileSync(file, payloadOf(name, payloads));
  const quiet = { LOG_LEVEL: 'silent', RATE_LIMIT: 'off', AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true' };
  const { stdout } = await run(process.execPath, [starter, app, name, file], { env: { PATH: process.env['PATH'], ...local, ...quiet, ...env } });
  return JSON.parse(stdout) as Run;
}

/** As it stands in the repository, but each order is a new one. */
function payloadOf(name: string, payloads = 'payloads'): string {
  const text = readFileSync(join(root, 'serverless', payloads, `${name}.json`), 'utf8');
  return text.replace(/"idempotency-key": ".*"/, `"idempotency-key": "cold-${process.pid}-${++orders}"`);
}

const middleOf = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
const middle = (runs: readonly Run[], what: 'registered' | 'answered' | 'work' | 'bytes' | 'files'): number => middleOf(runs.map((each) => each[what]));
const kilobytes = (bytes: number): string => `${Math.round(bytes / 1_000)} KB`;

function told(runs: readonly Run[]): string {
  const [bytes, files, registered, answered, work] = (['bytes', 'files', 'registered', 'answered', 'work'] as const).map((what) => middle(runs, what));
  return `${kilobytes(bytes!)} in ${files} files, ${registered!.toFixed(0)} ms until registered, ${answered!.toFixed(0)} ms to the answer (${work!.toFixed(0)} ms of the processor)`;
}

async function times(count: number, work: () => Promise<Run>): Promise<Run[]> {
  const runs: Run[] = [];
  for (let n = 0; n < count; n++) runs.push(await work());
  return runs;
}

async function onMemory(report: Report, bench: Bench): Promise<void> {
  // Nothing is for sale in a shop that has just begun; the way to the refusal is the same, but for the commit.
  report('cold: an order, on memory', told(await times(rounds, () => once(bench, bench.ours, 'placeOrder', { ADAPTERS: 'memory' }))));
}

async function onAzure(report: Report, bench: Bench, { broker, tables, email }: Laptop): Promise<void> {
  const env: Env = { ADAPTERS: 'azure', AZURE_SERVICE_BUS: broker, AZURE_EVENT_HUBS: broker, AZURE_TABLES: tables, AZURE_EMAIL: email };
  for (const name of ['describeProduct', 'receiveStock']) must((await once(bench, bench.ours, name, env)).outcome === '201', `${name} answers 201`);
  await stockBare(tables!);
  await compare(report, bench, env, 'Azure');
  for (const name of shown) report(`cold: ${name}`, told(await times(3, () => once(bench, bench.ours, name, env))));
}

/** An order, taken by ours and by a bare function in turns. */
async function compare(report: Report, bench: Bench, env: Env, cloud: string): Promise<void> {
  const ours: Run[] = [];
  const bare: Run[] = [];
  for (let round = 0; round < rounds; round++) {
    // In turns, also of who begins: whatever else the machine does should hit both.
    const turns = [async () => ours.push(await once(bench, bench.ours, 'placeOrder', env)), async () => bare.push(await once(bench, bench.bare, 'placeOrder', env))];
    for (const turn of round % 2 === 0 ? turns : turns.reverse()) await turn();
  }
  for (const { outcome } of [...ours, ...bare]) must(outcome === '201', `an order is taken, and not: ${outcome}`);
  report(`cold: an order, on ${cloud}`, `${told(ours)}; 600 KB and 100 ms at most`);
  report('cold: the same, by a bare function over the same SDKs', told(bare));
  const ratio = (what: 'answered' | 'work'): string => middleOf(ours.map((each, n) => each[what] / bare[n]![what])).toFixed(2);
  report('cold: ours against the bare one', `${ratio('answered')} x the time, ${ratio('work')} x the processor's  (1.25 x at most)`);
}

/** On Lambda nothing is left for after the answer, so the brokers' SDKs are loaded before it, by ours and by the bare one. */
async function onAws(report: Report, place: string): Promise<void> {
  const names = { prefix: 'anyport', table: 'anyport', queues, streams };
  const { close, ...servers } = await startAws({ sqs: true, kinesis: true, dynamodb: true, ses: true, names });
  const env: Env = { ADAPTERS: 'aws', AWS_SQS: servers.sqs, AWS_KINESIS: servers.kinesis, AWS_DYNAMODB: servers.dynamodb, AWS_SES: servers.ses };
  const folder = join(place, 'lambda');
  const bench: Bench = { folder, ours: join(folder, 'ours'), bare: join(folder, 'bare'), starter: join(folder, 'start.cjs'), payloads: 'payloads/aws' };
  try {
    unpack(await lambdaBundle(), bench.ours);
    unpack(await packed(join(here, 'cold', 'barelambda.ts')), bench.bare);
    await buildStarter('lambda.ts', bench.starter);
    (await openAwsStore({ place: { endpoint: servers.dynamodb! }, table: 'bare', clock: systemClock })).close();
    for (const name of ['describeProduct', 'receiveStock']) must((await once(bench, bench.ours, name, env)).outcome === '201', `${name} answers 201`);
    await compare(report, bench, env, 'AWS');
    for (const name of shown) report(`cold: ${name}, on AWS`, told(await times(3, () => once(bench, bench.ours, name, env))));
  } finally {
    await close();
  }
}

/** The products of the payload, as the bare function has them. */
async function stockBare(tables: string): Promise<void> {
  const { body } = JSON.parse(payloadOf('placeOrder')) as { readonly body: { readonly lines: readonly { readonly sku: string }[] } };
  const table = TableClient.fromConnectionString(tables, 'bare', { allowInsecureConnection: true });
  await table.createTable();
  for (const { sku } of body.lines) await table.createEntity({ partitionKey: 'products', rowKey: sku, b0: '{}' });
}

if (import.meta.url === `file://${process.argv[1]}`) await benchCold((name, value) => console.log(`  ${name.padEnd(54)} ${value}`));
