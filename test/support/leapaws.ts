import { CreateStreamCommand, DescribeStreamSummaryCommand, KinesisClient } from '@aws-sdk/client-kinesis';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { Worker } from 'node:worker_threads';
import { configOf } from '../../adapters/aws/client.ts';
import { createLeapClock, until, type LeapClock } from './leap.ts';

/** SQS and Kinesis on this machine, in a thread whose time is a test's. They keep no process alive. */
export interface Peers {
  /** `http://127.0.0.1:PORT` */
  readonly sqs: string;
  readonly kinesis: string;
  createQueue(name: string, attributes?: Readonly<Record<string, string>>): Promise<void>;
  /** Puts a text on a queue past the API. */
  plant(name: string, text: string): Promise<void>;
  createStream(name: string, shards: number): Promise<void>;
  end(): Promise<void>;
}

/** Those whose time can be leapt over: one for all tests of this process. */
export interface LeapAws extends Omit<Peers, 'end'> {
  /** A clock that agrees with theirs, also after leaps; one lives at a time. */
  clock(): LeapClock;
}

/** Where the servers' packages are. */
const home = join(import.meta.dirname, '../../emulator/aws/package.json');

let started: Promise<LeapAws> | undefined;
export const leapAws = (): Promise<LeapAws> => (started ??= start());

/** The very first time on a machine they are fetched, so whoever asks gives it so long. */
export const leapAwsPatienceMs = 600_000;

let fetching: Promise<unknown> | undefined;
const fetched = (): Promise<unknown> => (fetching ??= promisify(execFile)(process.execPath, [join(dirname(home), 'keep.mjs'), 'fetch']));

async function start(): Promise<LeapAws> {
  const leaps = new BigInt64Array(new SharedArrayBuffer(8));
  const peers = await startPeers(leaps, false);
  return {
    ...peers,
    clock() {
      const clock = createLeapClock();
      const behind = Number(Atomics.load(leaps, 0));
      void clock.leap(behind);
      return {
        ...clock,
        leap(milliseconds) {
          Atomics.add(leaps, 0, BigInt(milliseconds));
          return clock.leap(milliseconds);
        },
      };
    },
  };
}

/** The servers anew. `time`, in memory that is shared: how many milliseconds they are ahead of the machine; or, if theirs stands still, what time it is. */
export async function startPeers(time: BigInt64Array, standsStill: boolean): Promise<Peers> {
  await fetched();
  const worker = new Worker(new URL('./leapaws.worker.mjs', import.meta.url), { workerData: { home, told: time.buffer, standsStill }, execArgv: [] });
  const [ports] = (await once(worker, 'message')) as [{ readonly sqs: number; readonly kinesis: number }];
  worker.unref();
  const kinesis = `http://127.0.0.1:${ports.kinesis}`;
  const client = new KinesisClient(configOf({ endpoint: kinesis }));
  let turn = Promise.resolve();
  /** One after the other: the answers all look alike. */
  const tell = (work: object): Promise<void> => (turn = turn.then(async () => {
    worker.ref();
    worker.postMessage(work);
    await once(worker, 'message');
    worker.unref();
  }));
  return {
    sqs: `http://127.0.0.1:${ports.sqs}`,
    kinesis,
    createQueue: (name, attributes = {}) => tell({ do: 'createQueue', name, attributes }),
    plant: (name, text) => tell({ do: 'plant', name, text }),
    async createStream(name, shards) {
      await client.send(new CreateStreamCommand({ StreamName: name, ShardCount: shards }));
      await until(`${name} is there`, async () => (await client.send(new DescribeStreamSummaryCommand({ StreamName: name }))).StreamDescriptionSummary?.StreamStatus === 'ACTIVE');
    },
    async end() {
      client.destroy();
      await worker.terminate();
    },
  };
}
