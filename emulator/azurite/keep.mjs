// Runs one server of Azurite and sees that it ends well: `node keep.mjs tables|blobs PORT [FOLDER]`; `node keep.mjs fetch` only fetches it. Plain Node, and in a process of its own, for Azurite keeps what it was
// told only when it is ended by SIGINT, or some seconds later; and whoever started it may be gone by then, by kill -9.
//
// - Fetches Azurite if it is not here whole, once however many ask at a time.
// - Waits until nobody else has the folder: the one before may still be saving. Without a folder it keeps all in memory.
// - Says `port N` on standard output when it listens. When standard input ends, whoever started it has gone: then it saves and ends.
import { copyFileSync, mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { Server } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { exists, fetchOnce, hold, isInstalled, npm } from '../fetch.mjs';

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
  await hold(join(folder, 'lock'), 60_000, `another server has the folder ${folder}`, () => leaving);
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

function isHere() {
  return isInstalled(here) && ['table', 'blob'].every((kind) => exists(join(here, 'node_modules', 'azurite', 'dist', 'src', kind, 'main.js')));
}

function fetched() {
  return fetchOnce({
    folder: here, target: join(here, 'node_modules'), title: 'Azurite, the local server of tables and blobs (npm ci)', isHere, leaving: () => leaving,
    async bring(stage) {
      for (const file of ['package.json', 'package-lock.json']) copyFileSync(join(here, file), join(stage, file));
      await npm(stage, 'ci', '--omit=dev', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error');
      return join(stage, 'node_modules');
    },
  });
}
