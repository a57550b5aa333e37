// Runs the local servers of AWS and sees that they end well: `node keep.mjs run '{"sqs":true,"kinesis":true,"ses":true,"dynamodb":true,"folder":"…"}'`; `node keep.mjs fetch` only
// fetches them. Plain Node, and in a process of its own, for whoever started it may be gone at any time, by kill -9.
//
// - Fetches what is asked for and is not here whole, once however many ask at a time.
// - Waits until nobody else has the folder. Without a folder everything is in memory.
// - Says in one line of JSON where the servers listen, or `{"failed":"why"}`. When standard input ends, whoever started it has gone: then it ends, and they with it.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { hold } from '../fetch.mjs';
import { startDynamodb } from './dynamodb.mjs';
import { fetchDynamodb, fetchPackages, javaPath, noJava } from './fetch.mjs';

const patienceMilliseconds = 60_000;
const [task, told] = process.argv.slice(2);

// Nobody may be there to read what is said here; that is no reason to end without saving.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
let leaving = false;
let said = false;
const left = new Promise((resolve) => {
  const leave = () => {
    leaving = true;
    resolve();
  };
  if (task !== 'fetch') process.stdin.on('error', leave).on('end', leave).resume();
  for (const signal of ['SIGTERM', 'SIGHUP', 'SIGINT']) process.on(signal, leave);
});
// kinesalite throws out of an event when a client goes away in the middle of a request, where a server goes on.
process.on('uncaughtException', (error) => {
  if (error.code !== 'ECONNRESET') end(error);
});

try {
  if (task === 'fetch') await fetchAll();
  else await run(JSON.parse(told));
  process.exit();
} catch (error) {
  end(error);
}

function end(error) {
  const why = error instanceof Error ? error.message : String(error);
  if (task === 'fetch' || said) process.stderr.write(`${why}\n`);
  else process.stdout.write(`${JSON.stringify({ failed: why })}\n`);
  process.exit(1);
}

async function fetchAll() {
  const java = javaPath();
  if (java === undefined) process.stderr.write(`${noJava}\n`);
  await Promise.all([fetchPackages(() => leaving), java === undefined || fetchDynamodb(() => leaving)]);
}

async function run({ folder, ...wanted }) {
  if (wanted.dynamodb && javaPath() === undefined) throw new Error(noJava);
  if (folder) {
    mkdirSync(folder, { recursive: true });
    await hold(join(folder, 'lock'), patienceMilliseconds, `another server has the folder ${folder}`, () => leaving);
  }
  const packages = wanted.sqs || wanted.kinesis || wanted.ses;
  await Promise.all([packages && fetchPackages(() => leaving), wanted.dynamodb && fetchDynamodb(() => leaving)]);
  if (leaving) return;
  const { startSqs, startKinesis, startSes } = packages ? await import('./servers.mjs') : {};
  const starters = { sqs: startSqs, kinesis: startKinesis, ses: startSes, dynamodb: startDynamodb };
  const started = await Promise.allSettled(Object.entries(starters).filter(([name]) => wanted[name]).map(async ([name, start]) => [name, await start(folder && join(folder, name))]));
  const servers = started.filter(({ status }) => status === 'fulfilled').map(({ value }) => value);
  const failed = started.find(({ status }) => status === 'rejected');
  if (!failed) {
    process.stdout.write(`${JSON.stringify(Object.fromEntries(servers.map(([name, { endpoint }]) => [name, endpoint])))}\n`);
    said = true;
    // Those in this process end with it, the one in Java can end alone.
    const why = await Promise.race([left, ...servers.map(([, { ended }]) => ended ?? left)]);
    if (why !== undefined) process.stderr.write(`${why}\n`);
  }
  await Promise.all(servers.map(([, server]) => server.close()));
  if (failed) throw failed.reason;
}
