import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { exists } from '../fetch.mjs';

const require = createRequire(import.meta.url);
const host = '127.0.0.1';
const region = 'us-east-1';
/** How long a connection is kept on which nobody asks: a client that just then asks again would be cut off. */
const idleMilliseconds = 3_600_000;
/** How much a journal may grow over what it is worth. */
const journalBytes = 8 * 1_024 * 1_024;

/** SQS: fauxqs, which keeps nothing; what it is told is written down here, in a journal. */
export async function startSqs(folder) {
  const [{ buildApp }, { SqsStore, SqsQueue }] = await Promise.all(['app.js', 'sqs/sqsStore.js'].map((file) => import(`./node_modules/fauxqs/dist/${file}`)));
  const sqsStore = new SqsStore();
  sqsStore.host = host;
  const app = buildApp({ logger: false, host, stores: { sqsStore } });
  app.server.keepAliveTimeout = idleMilliseconds;
  const { port } = new URL(await app.listen({ port: 0, host }));
  const journal = folder && openJournal(folder, 'sqs', (lines) => restore(sqsStore, port, lines), () => linesOf(sqsStore));
  if (journal) writeDown(SqsStore, SqsQueue, journal.write);
  return {
    endpoint: `http://${host}:${port}`,
    async close() {
      await app.close();
      journal?.flush();
    },
  };
}

/** What the lines of a journal come to. Whoever has received a message keeps it until its visibility runs out. */
function restore(store, port, lines) {
  const messages = new Map();
  const at = {
    queue(name, attributes, tags) {
      const queue = store.getQueueByName(name) ?? store.createQueue(name, store.buildQueueUrl(name, port, undefined, region), `arn:aws:sqs:${region}:000000000000:${name}`, attributes, tags);
      queue.attributes = attributes;
    },
    drop(name) {
      at.purge(name);
      store.deleteQueue(store.getQueueByName(name)?.url);
    },
    purge(name) {
      for (const [id, { queue }] of messages) if (queue === name) messages.delete(id);
    },
    put(queue, message) {
      messages.delete(message.messageId); // it goes to the end
      messages.set(message.messageId, { queue, message });
    },
    gone: (id) => messages.delete(id),
    held: (id, handle, until, received) => {
      const kept = messages.get(id);
      if (kept) Object.assign(kept, { handle, until, message: { ...kept.message, ...received } });
    },
  };
  for (const [what, ...about] of lines) at[what](...about);
  for (const { queue: name, message, handle, until } of messages.values()) {
    const queue = store.getQueueByName(name);
    if (!handle || until <= Date.now()) queue.enqueue(message);
    else hand(queue, message, handle, until);
  }
}

function hand(queue, message, receiptHandle, visibilityDeadline) {
  queue.inflightMessages.set(receiptHandle, { message, receiptHandle, visibilityDeadline });
  const { messageGroupId: group } = message;
  if (group) queue.fifoLockedGroups.set(group, (queue.fifoLockedGroups.get(group) ?? 0) + 1);
}

/** The same lines again, of what is still there. */
function* linesOf(store) {
  for (const queue of store.queues.values()) {
    yield queueLine(queue);
    const { ready, delayed, inflight } = queue.inspectMessages();
    for (const message of [...ready, ...delayed, ...inflight.map((entry) => entry.message)]) yield ['put', queue.name, message];
    for (const entry of inflight) yield heldLine(entry);
  }
}

const queueLine = ({ name, attributes, tags }) => ['queue', name, attributes, Object.fromEntries(tags)];

function heldLine({ message, receiptHandle, visibilityDeadline }) {
  const { messageId, approximateReceiveCount, approximateFirstReceiveTimestamp } = message;
  return ['held', messageId, receiptHandle, visibilityDeadline, { approximateReceiveCount, approximateFirstReceiveTimestamp }];
}

/** Writes a line before whoever asked is answered. */
function writeDown({ prototype: store }, { prototype: queue }, write) {
  const after = (of, name, then) => {
    const work = of[name];
    of[name] = function (...args) {
      const answer = work.apply(this, args);
      then(this, answer, ...args);
      return answer;
    };
  };
  const before = (of, name, first) => {
    const work = of[name];
    of[name] = function (...args) {
      first(this, ...args);
      return work.apply(this, args);
    };
  };
  after(store, 'createQueue', (_, made) => write(queueLine(made)));
  before(store, 'deleteQueue', (it, url) => write(['drop', it.getQueue(url)?.name]));
  after(queue, 'setAttributes', (it) => write(queueLine(it)));
  after(queue, 'purge', ({ name }) => write(['purge', name]));
  before(queue, 'enqueue', ({ name }, message) => write(['put', name, message]));
  after(queue, 'dequeue', ({ inflightMessages }, received) => received.forEach(({ ReceiptHandle }) => write(heldLine(inflightMessages.get(ReceiptHandle)))));
  before(queue, 'deleteMessage', ({ inflightMessages }, handle) => {
    const entry = inflightMessages.get(handle);
    if (entry) write(['gone', entry.message.messageId]);
  });
  before(queue, 'changeVisibility', ({ inflightMessages }, handle, seconds) => {
    const entry = inflightMessages.get(handle);
    if (entry) write(heldLine({ ...entry, visibilityDeadline: Date.now() + seconds * 1_000 }));
  });
}

/** Kinesis: kinesalite, which keeps its streams in LevelDB. */
export async function startKinesis(folder) {
  if (folder) mkdirSync(folder, { recursive: true });
  const server = require('kinesalite')({ ...(folder ? { path: folder } : {}), createStreamMs: 0, deleteStreamMs: 0, updateStreamMs: 0, shardLimit: 100_000 });
  const endpoint = await listening(server);
  return {
    endpoint,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** SES: aws-ses-v2-local; no letter leaves. They are read at `/store`. */
export async function startSes(folder) {
  const letters = require('aws-ses-v2-local/dist/store.js');
  const { emails } = letters.getStoreReadonly();
  const { saveEmail, clearStore } = letters;
  const journal = folder && openJournal(folder, 'ses', (lines) => {
    for (const letter of lines) emails.push(letter);
  }, () => letters.getStoreReadonly().emails);
  if (journal) {
    letters.saveEmail = (letter) => {
      journal.write(letter);
      saveEmail(letter);
    };
    letters.clearStore = () => {
      clearStore();
      journal.tidy();
    };
  }
  const server = await require('aws-ses-v2-local').default({ host, port: 0 });
  return {
    endpoint: await listening(server),
    async close() {
      server.closeAllConnections();
      journal?.flush();
    },
  };
}

async function listening(server) {
  if (!server.listening) await new Promise((resolve, reject) => server.once('error', reject).listen(0, host, resolve));
  server.keepAliveTimeout = idleMilliseconds;
  return `http://${host}:${server.address().port}`;
}

/**
 * Lines of JSON in a file. They are with the machine when `write` returns, so that they outlive this process, whatever ends it; not a crash of the machine. `load` is given those of
 * before; with what is `live` the file begins anew, at the start and when it has become several times as long as that. A last line that is torn was never answered for.
 */
function openJournal(folder, name, load, live) {
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `${name}.jsonl`);
  load(linesIn(file));
  let handle;
  let size = 0;
  let sizeMax = 0;
  tidy();
  return { write, tidy, flush: () => fsyncSync(handle) };

  function write(line) {
    // First this, for what the line says is not yet done.
    if (size > sizeMax) tidy();
    size += writeSync(handle, `${JSON.stringify(line)}\n`);
  }

  function tidy() {
    const fresh = openSync(`${file}.new`, 'w');
    size = 0;
    for (const line of live()) size += writeSync(fresh, `${JSON.stringify(line)}\n`);
    fsyncSync(fresh);
    renameSync(`${file}.new`, file);
    if (handle !== undefined) closeSync(handle);
    handle = fresh;
    sizeMax = 4 * size + journalBytes;
  }
}

/** A file may be longer than a text can be. */
function* linesIn(file) {
  const bytes = exists(file) ? readFileSync(file) : Buffer.alloc(0);
  let from = 0;
  for (let to; (to = bytes.indexOf(10, from)) >= 0; from = to + 1) yield JSON.parse(bytes.toString('utf8', from, to));
  if (from < bytes.length) process.stderr.write(`${file}: the last line is not whole, and left out\n`);
}
