// Runs one server of Azurite and sees that it ends well: `node keep.mjs tables|blobs PORT [FOLDER]`; `node keep.mjs fetch` only fetches it. Plain Node, and in a process of its own, for Azurite keeps what it was
// told only when it is ended by SIGINT, or some seconds later; and whoever started it may be gone by then, by kill -9.
//
// - Fetches Azurite if it is not here whole, once however many ask at a time.
// - Waits until nobody else has the folder: the one before may still be saving. Without a folder it keeps all in memory.
// - Says `port N` on standard output when it listens. When standard input ends, whoever started it has gone: then it saves and ends.
import { spawn } from 'node:child_process';
import { copyFileSync, mkdirSync, openSync, closeSync, readFileSync, readdirSync, renameSync, rmSync, statSync, utimesSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { Server } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
const [service, port, folder] = process.argv.slice(2);
const require = createRequire(import.meta.url);

// Nobody may be there to read what is said here; that is no reason to end without saving.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
let leaving = false;
if (service !== 'fetch') process.stdin.on('error', leave).on('end', leave).resume();
process.on('SIGTERM', leave).on('SIGHUP', leave);

await fetched();
if (service === 'fetch') process.exit();
if (folder) {
  mkdirSync(folder, { recursive: true });
  await hold(join(folder, 'lock'), 60_000, `another server has the folder ${folder}`);
}
if (leaving) process.exit();
run();

/** Again and again: Azurite begins to heed the signal only some time after it has begun to listen. */
function leave() {
  if (!leaving) setInterval(() => process.emit('SIGINT'), 50);
  leaving = true;
}

function run() {
  const listen = Server.prototype.listen;
  Server.prototype.listen = function (...args) {
    this.once('listening', () => process.stdout.write(`port ${this.address().port}\n`));
    return listen.apply(this, args);
  };
  console.log = (text) => {
    // It has saved. What still holds it, a client that never ends its request, is not waited for.
    if (/successfully closed/.test(String(text))) setTimeout(() => process.exit(), 100);
  };
  const kind = service === 'tables' ? 'table' : 'blob';
  if (kind === 'table') {
    const store = require('azurite/dist/src/table/persistence/LokiTableMetadataStore.js').default;
    lookInOnePartition(store);
    lookByRowKey(require('lokijs').Collection);
    writeSeldom(store);
  }
  const where = folder ? ['--location', folder] : ['--inMemoryPersistence'];
  process.argv.splice(2, process.argv.length, `--${kind}Host`, '127.0.0.1', `--${kind}Port`, port, ...where, '--silent', '--disableTelemetry', '--skipApiVersionCheck');
  require(`azurite/dist/src/${kind}/main.js`);
}

/** A row is looked for by the first of the two keys that is named, and Azurite names the partition first: then it goes through all of it. Hardly two rows of a table have one row key. */
function lookByRowKey(collection) {
  const { findOne } = collection.prototype;
  collection.prototype.findOne = function (query) {
    const { PartitionKey, RowKey, ...more } = query ?? {};
    return findOne.call(this, PartitionKey === undefined || RowKey === undefined ? query : { RowKey, PartitionKey, ...more });
  };
}

/**
 * Azurite goes through the whole table for every query. Nearly all of ours name one partition, for which it has an index: so it is shown the rows of that partition alone, and
 * looks at those as it always does. With 200,000 rows a query takes 3 ms instead of 15.
 */
function lookInOnePartition(store) {
  const { queryTableEntities, getEntityCollection } = store.prototype;
  store.prototype.queryTableEntities = function (context, account, table, options, ...position) {
    const partition = /^\(?PartitionKey eq '((?:[^']|'')*)'(?: and|\)|$)/.exec(options?.filter ?? '')?.[1]?.replaceAll("''", "'");
    if (partition === undefined || / or /i.test(options.filter)) return queryTableEntities.call(this, context, account, table, options, ...position);
    const shown = Object.create(this);
    shown.getEntityCollection = (...args) => ({ chain: () => getEntityCollection.apply(this, args).chain().find({ PartitionKey: partition }) });
    return queryTableEntities.call(shown, context, account, table, options, ...position);
  };
}

/**
 * Azurite writes all that it has every five seconds, if anything has changed, and answers nobody meanwhile: more than a second at 80,000 rows. So the pauses grow with what
 * the writing takes, which gets a twentieth of the time. At its end it writes in any case.
 */
function writeSeldom(store) {
  const { init } = store.prototype;
  store.prototype.init = function () {
    const { db } = this;
    const write = db.saveDatabase;
    db.saveDatabase = (done) => {
      const start = performance.now();
      db.ignoreAutosave = true;
      write.call(db, (error) => {
        setTimeout(() => (db.ignoreAutosave = false), 20 * (performance.now() - start)).unref();
        if (done) done(error);
        else if (error) throw error;
      });
    };
    return init.call(this);
  };
}

/** What npm has not written to its own list last of all is not here whole. */
function isHere() {
  const wanted = packagesOf(join(here, 'package-lock.json'));
  const have = packagesOf(join(here, 'node_modules', '.package-lock.json'));
  return have !== undefined && Object.entries(wanted).every(([path, entry]) => path === '' || entry.optional || have[path]?.version === entry.version)
    && ['table', 'blob'].every((kind) => exists(join(here, 'node_modules', 'azurite', 'dist', 'src', kind, 'main.js')));
}

async function fetched() {
  if (isHere()) return;
  const release = await hold(join(here, '.fetching'), 600_000, 'another process is fetching Azurite');
  try {
    if (isHere() || leaving) return;
    process.stderr.write('Fetching Azurite, the local server of tables and blobs (npm ci), once …\n');
    tidy();
    const stage = join(here, `.fetched-${process.pid}`);
    mkdirSync(stage);
    for (const file of ['package.json', 'package-lock.json']) copyFileSync(join(here, file), join(stage, file));
    await npm(stage);
    rmSync(join(here, 'node_modules'), { recursive: true, force: true });
    renameSync(join(stage, 'node_modules'), join(here, 'node_modules'));
    tidy();
    if (!isHere()) throw new Error('Azurite was fetched and is not whole');
  } finally {
    release();
  }
}

/** What an earlier one has left that was ended. */
function tidy() {
  for (const name of readdirSync(here)) if (name.startsWith('.fetched-')) rmSync(join(here, name), { recursive: true, force: true });
}

function npm(cwd) {
  const path = process.env.npm_execpath; // the npm that is running us
  const ours = path && /npm-cli\.c?js$/.test(path) ? path : undefined;
  // What the npm above has set for its own project is not for this one.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^npm_(config_(local_prefix|prefix|global_prefix)|package_.*|lifecycle_.*)$/i.test(name)));
  const args = [...(ours ? [ours] : []), 'ci', '--omit=dev', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  const child = spawn(ours ? process.execPath : 'npm', args, { cwd, env, stdio: ['ignore', 2, 2], shell: !ours });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (status) => (status === 0 ? resolve() : reject(new Error(`npm ci has failed in ${cwd}`))));
  });
}

/** Holds a file that only one process can have at a time, until `release` or its end. Whoever was killed no longer holds his. */
async function hold(file, patienceMilliseconds, otherwise) {
  for (const end = Date.now() + patienceMilliseconds; !taken(file); await new Promise((resolve) => setTimeout(resolve, 50))) {
    if (leaving) process.exit();
    if (Date.now() > end) throw new Error(otherwise);
  }
  const beat = setInterval(() => utimesSync(file, new Date(), new Date()), 1_000).unref();
  const release = () => {
    clearInterval(beat);
    rmSync(file, { force: true });
  };
  process.on('exit', release);
  return release;
}

function taken(file) {
  try {
    const handle = openSync(file, 'wx');
    writeSync(handle, String(process.pid));
    closeSync(handle);
    return true;
  } catch (error) {
    if (error.code !== 'EEXIST') throw error;
  }
  const holder = holderOf(file);
  if (holder === undefined || isAlive(holder)) return false;
  const aside = `${file}.${process.pid}`;
  try {
    renameSync(file, aside);
    // Somebody may have been quicker, and this be his: then he gets it back.
    if (holderOf(aside)?.id === holder.id) rmSync(aside);
    else renameSync(aside, file);
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
  }
  return false;
}

function holderOf(file) {
  try {
    return { id: readFileSync(file, 'utf8'), beatAt: statSync(file).mtimeMs };
  } catch {
    return undefined;
  }
}

/** Its number may have gone to another process, which does not touch the file. */
function isAlive({ id, beatAt }) {
  if (Date.now() - beatAt > 30_000) return false;
  if (id === '') return true;
  try {
    process.kill(Number(id), 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

function packagesOf(lock) {
  try {
    return JSON.parse(readFileSync(lock, 'utf8')).packages;
  } catch {
    return undefined;
  }
}

function exists(file) {
  return statSync(file, { throwIfNoEntry: false }) !== undefined;
}
