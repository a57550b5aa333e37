import { KinesisClient, PutRecordCommand } from '@aws-sdk/client-kinesis';
import { connect, createServer, type Socket } from 'node:net';
import { configOf } from '../../adapters/aws/client.ts';
import { openAwsQueue, openAwsStream, type AwsQueue, type AwsStream } from '../../adapters/aws/index.ts';
import { openMemory, type Memory } from '../../adapters/memory/index.ts';
import { leapAws, type LeapAws } from '../support/leapaws.ts';
import type { LeapClock } from '../support/leap.ts';
import { world, type Drivers, type Family } from './family.ts';

/**
 * THE AWS FAMILY, as the suites want it described: the real SDK, over sockets, on servers in this process whose time can leap. Each case has queues and streams of its own.
 */

const lockSeconds = 30;
const hour = 3_600_000;
/** What a new stream keeps. */
const retentionHours = 24;

/** The way from a client to a server, which can be cut: then nobody gets through on it any more. */
export interface Line {
  readonly endpoint: string;
  cut(): Promise<void>;
}

export async function openLine(endpoint: string): Promise<Line> {
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const broker = connect(Number(new URL(endpoint).port), '127.0.0.1');
    for (const [from, to] of [[client, broker], [broker, client]] as const) {
      sockets.add(from);
      from.setNoDelay(true).pipe(to);
      from.on('error', () => undefined).on('close', () => {
        sockets.delete(from);
        to.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  return {
    endpoint: `http://127.0.0.1:${port}`,
    async cut() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

/** So long the sockets are left to themselves after time has passed, in real milliseconds. Who lets it pass in small steps waits for something. */
const settleMilliseconds = (passed: number): number => (passed < 1_000 ? 5 : 1);

let worlds = 0;

/** The store is in memory: what DynamoDB does is asked elsewhere, and a clock that leaps while a store takes real time would ask the suites for more than they promise. */
export function aws(): Family {
  let peers: LeapAws;
  let clock: LeapClock;
  let prefix: string;
  let lines: { readonly sqs: Line; readonly kinesis: Line };
  let memory: Memory;
  let drivers: { readonly queue: AwsQueue; readonly stream: AwsStream };

  async function open(engines?: Memory['engines']): Promise<Drivers> {
    lines = { sqs: await openLine(peers.sqs), kinesis: await openLine(peers.kinesis) };
    memory = openMemory({ ...world, clock, ...(engines ? { engines } : {}) });
    const reach = { prefix, clock, patienceSeconds: 2 };
    drivers = { queue: await openAwsQueue({ ...reach, lockSeconds, place: { endpoint: lines.sqs.endpoint } }), stream: await openAwsStream({ ...reach, place: { endpoint: lines.kinesis.endpoint } }) };
    return { ...drivers, store: memory.store };
  }

  const end = (): Promise<unknown> => Promise.all([drivers.queue.close(), drivers.stream.close()]);
  const cut = (): Promise<unknown> => Promise.all([lines.sqs.cut(), lines.kinesis.cut()]);

  return {
    name: 'aws',
    lockSeconds,
    async open() {
      peers = await leapAws();
      clock = peers.clock();
      prefix = `world${++worlds}`;
      await Promise.all([...world.queues.map((name) => peers.createQueue(`${prefix}-${name}`)), ...world.streams.map((name) => peers.createStream(`${prefix}-${name}`, world.partitionsPerStream))]);
      return open();
    },
    async restart() {
      await cut();
      // As after a kill: nobody says farewell, and nobody waits for it.
      void end();
      memory.close();
      return open(memory.engines);
    },
    async close() {
      memory.close();
      await end();
      await cut();
    },
    clock: () => clock,
    async pass(milliseconds) {
      await clock.leap(milliseconds);
      await new Promise((resolve) => setTimeout(resolve, settleMilliseconds(milliseconds)));
    },
    async sever() {
      memory.close();
      await cut();
    },
    plantQueue: (queue, text) => peers.plant(`${prefix}-${queue}`, text),
    async plantStream(stream, partitionkey, text) {
      const client = new KinesisClient(configOf({ endpoint: peers.kinesis }));
      await client.send(new PutRecordCommand({ StreamName: `${prefix}-${stream}`, PartitionKey: partitionkey, Data: Buffer.from(text) }));
      client.destroy();
    },
    /** Kinesis does not tell what it has dropped. Somebody who looks now and then knows by himself that there was nothing. */
    async expire(look = () => Promise.resolve()) {
      for (let step = 0; step < 3; step++) {
        await clock.leap((retentionHours / 3 + 1) * hour);
        await look();
      }
    },
  };
}
