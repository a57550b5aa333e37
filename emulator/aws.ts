import { CreateTableCommand, DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { CreateStreamCommand, DescribeStreamSummaryCommand, KinesisClient } from '@aws-sdk/client-kinesis';
import { CreateQueueCommand, GetQueueAttributesCommand, SQSClient, SetQueueAttributesCommand } from '@aws-sdk/client-sqs';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { configOf } from '../adapters/aws/client.ts';
import { tableOf } from '../adapters/aws/table.ts';
import { PortError } from '../ports/index.ts';
import { release, saveMilliseconds } from './azurite.ts';

/**
 * AWS ON A LAPTOP: what a shop needs of AWS and has no address of, started beside it on free ports of 127.0.0.1: SQS (fauxqs), Kinesis (kinesalite), SES (aws-ses-v2-local) and
 * DynamoDB (AWS's own DynamoDB Local, which needs Java), with the queues, streams and the table that it names.
 *
 * - They are no dependencies of the project: they are fetched when they are first started, into `emulator/aws/`.
 * - They end when the shop ends, also after its kill -9, for their standard input is a pipe from it (aws/keep.mjs). What they are told they keep in a folder that they have to
 *   themselves: a shop that is started again waits until those of the one before have ended.
 */
export interface AwsOptions {
  readonly sqs: boolean;
  readonly kinesis: boolean;
  readonly dynamodb: boolean;
  readonly ses: boolean;
  /** Where everything is kept; in memory, if not told. */
  readonly dataDir?: string;
  readonly names: Names;
}

/** What is made there, unless it is there already: queues and streams are called `<prefix>-<name>`, each queue with a `<prefix>-<name>-dead` behind it. */
export interface Names {
  readonly prefix: string;
  readonly table: string;
  readonly queues: readonly string[];
  readonly streams: readonly string[];
}

/** Where they listen, those that were asked for: `http://127.0.0.1:PORT`. */
export interface LocalAws extends Partial<Readonly<Record<Service, string>>> {
  /** Resolves when all is written and they have ended. */
  close(): Promise<void>;
}

export interface LocalDynamo {
  /** `http://127.0.0.1:PORT` */
  readonly endpoint: string;
  close(): Promise<void>;
}

type Service = 'sqs' | 'kinesis' | 'dynamodb' | 'ses';

const keeper = fileURLToPath(new URL('aws/keep.mjs', import.meta.url));
/** A net under the kernel's own maximum, which is lower. */
const receivesMax = 100;
const shards = 2;
const patienceMilliseconds = 10_000;

/** Throws `unavailable` when something cannot be fetched or started, with what it has said; also for want of Java. */
export async function startAws({ names, dataDir, ...wanted }: AwsOptions): Promise<LocalAws> {
  const { sqs, kinesis, dynamodb, ses } = wanted;
  if (!sqs && !kinesis && !dynamodb && !ses) return { close: async () => undefined };
  const servers = await startServers({ sqs, kinesis, dynamodb, ses, folder: dataDir });
  try {
    await Promise.all([
      servers.sqs && makeQueues(servers.sqs, names.queues.map((name) => `${names.prefix}-${name}`)),
      servers.kinesis && makeStreams(servers.kinesis, names.streams.map((name) => `${names.prefix}-${name}`)),
      servers.dynamodb && makeTable(servers.dynamodb, names.table),
    ]);
  } catch (cause) {
    await servers.close();
    throw new PortError('unavailable', `the local servers of AWS do not take what a shop needs: ${cause instanceof Error ? cause.name : String(cause)}`, { cause });
  }
  return servers;
}

/** DynamoDB alone, and no table in it. Throws as `startAws` does. */
export async function startDynamo({ dataDir }: { readonly dataDir?: string } = {}): Promise<LocalDynamo> {
  const { dynamodb, close } = await startServers({ dynamodb: true, folder: dataDir });
  return { endpoint: dynamodb!, close };
}

async function startServers(wanted: Partial<Record<Service, boolean>> & { readonly folder: string | undefined }): Promise<LocalAws> {
  // What tells programs how to reach the cloud, and who they are there, is not for these.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(AWS|FAUXQS|SMTP|DDB_LOCAL)_/.test(name)));
  // In a group of its own: Ctrl-C in a terminal is for us, who may have something to say yet.
  const child = spawn(process.execPath, [keeper, 'run', JSON.stringify(wanted)], { stdio: ['pipe', 'pipe', 'inherit'], detached: true, windowsHide: true, env: { ...env, NODE_OPTIONS: '' } });
  child.stdin.on('error', () => undefined);
  const gone = once(child, 'close').then(() => '', (cause: unknown) => `: ${String(cause)}`);
  const heard = new Promise<Said>((resolve) => createInterface({ input: child.stdout }).once('line', (line) => resolve(JSON.parse(line) as Said)));
  const said = await Promise.race([heard, gone.then((why): Said => ({ failed: `the local servers of AWS cannot be started${why}` }))]);
  release(child);
  if (said.failed !== undefined) throw new PortError('unavailable', said.failed);
  return {
    ...said,
    async close() {
      child.ref();
      child.stdin.end();
      const timer = setTimeout(() => child.kill('SIGKILL'), saveMilliseconds);
      await gone;
      clearTimeout(timer);
    },
  };
}

/** The one line of keep.mjs. */
type Said = Partial<Readonly<Record<Service | 'failed', string>>>;

async function makeQueues(endpoint: string, names: readonly string[]): Promise<void> {
  const client = new SQSClient(configOf({ endpoint }));
  // Whoever makes a queue that is there, with other attributes, is refused; so it is made without any.
  const made = async (name: string): Promise<string> => (await client.send(new CreateQueueCommand({ QueueName: name }))).QueueUrl!;
  try {
    await Promise.all(names.map(async (name) => {
      const [url, dead] = await Promise.all([made(name), made(`${name}-dead`)]);
      const { Attributes } = await client.send(new GetQueueAttributesCommand({ QueueUrl: dead, AttributeNames: ['QueueArn'] }));
      const RedrivePolicy = JSON.stringify({ deadLetterTargetArn: Attributes!['QueueArn'], maxReceiveCount: receivesMax });
      await client.send(new SetQueueAttributesCommand({ QueueUrl: url, Attributes: { RedrivePolicy } }));
    }));
  } finally {
    client.destroy();
  }
}

async function makeStreams(endpoint: string, names: readonly string[]): Promise<void> {
  const client = new KinesisClient(configOf({ endpoint }));
  try {
    await Promise.all(names.map(async (name) => {
      await client.send(new CreateStreamCommand({ StreamName: name, ShardCount: shards })).catch(unlessThere);
      const over = AbortSignal.timeout(patienceMilliseconds);
      const isActive = async () => (await client.send(new DescribeStreamSummaryCommand({ StreamName: name }))).StreamDescriptionSummary?.StreamStatus === 'ACTIVE';
      while (!(await isActive())) {
        over.throwIfAborted();
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    }));
  } finally {
    client.destroy();
  }
}

async function makeTable(endpoint: string, name: string): Promise<void> {
  const client = new DynamoDBClient(configOf({ endpoint }));
  try {
    await client.send(new CreateTableCommand(tableOf(name))).catch(unlessThere);
  } finally {
    client.destroy();
  }
}

function unlessThere(error: unknown): void {
  if (!(error instanceof Error && error.name === 'ResourceInUseException')) throw error;
}
