import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { parentPort, workerData } from 'node:worker_threads';

/**
 * SQS (fauxqs) and Kinesis (kinesalite) in a thread of their own, whose time is a test's: both ask Date.now, and here it is the machine's plus all leaps so far, or where time
 * stands still just what the test has written into memory that both threads share.
 */
const { home, told, standsStill } = workerData;
const real = Date.now;
const time = new BigInt64Array(told);
Date.now = () => (standsStill ? 0 : real()) + Number(Atomics.load(time, 0));

// kinesalite throws out of an event when a client goes away in the middle of a request, where a server goes on.
process.on('uncaughtException', (error) => {
  if (error.code !== 'ECONNRESET') throw error;
});

const require = createRequire(home);
const fauxqs = (path) => import(new URL(`./node_modules/fauxqs/dist/${path}`, pathToFileURL(home)).href);
const [{ buildApp }, { SqsStore }] = [await fauxqs('app.js'), await fauxqs('sqs/sqsStore.js')];
const kinesalite = require('kinesalite');

const sqsStore = new SqsStore();
const sqs = new URL(await buildApp({ logger: false, stores: { sqsStore } }).listen({ port: 0, host: '127.0.0.1' }));
const kinesis = kinesalite({ createStreamMs: 0, deleteStreamMs: 0, updateStreamMs: 0, shardLimit: 100_000 });
await new Promise((resolve) => kinesis.listen(0, '127.0.0.1', resolve));

const account = '000000000000';
const work = {
  createQueue: ({ name, attributes }) => void sqsStore.createQueue(name, `http://127.0.0.1:${sqs.port}/${account}/${name}`, `arn:aws:sqs:us-east-1:${account}:${name}`, attributes),
  /** Puts a text on a queue past the API, which knows no empty ones. */
  plant: ({ name, text }) => sqsStore.getQueueByName(name).enqueue(SqsStore.createMessage(text)),
};
parentPort.on('message', ({ do: what, ...about }) => {
  work[what](about);
  parentPort.postMessage('done');
});
parentPort.postMessage({ sqs: Number(sqs.port), kinesis: kinesis.address().port });
