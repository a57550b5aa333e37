import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { ServiceBusClient, type ServiceBusReceivedMessage } from '@azure/service-bus';
import { EventHubConsumerClient, EventHubProducerClient, earliestEventPosition } from '@azure/event-hubs';

/**
 * How fast the emulator is, under the unmodified SDKs, which run here while the emulator runs in a process of its own. The SDKs cost more than the emulator: so its own
 * processor time stands beside each rate, and "alone" is what it could do if clients cost nothing.
 *
 *   npm run bench -- --only emulator [--messages N]
 */
const { values } = parseArgs({ strict: false, options: { messages: { type: 'string', default: '20000' } } });
const count = Number(values.messages);
/** That lie there before those that are measured: more than a receiver that goes keeps locked. */
const behind = Math.max(20_000, count * 5);
const body = { text: 'x'.repeat(180) };

interface Server {
  readonly child: ChildProcess;
  readonly connectionString: string;
  readonly port: number;
  readonly startMs: number;
}

async function start(...args: string[]): Promise<Server> {
  const begin = performance.now();
  const child = spawn(process.execPath, ['--import', 'tsx/esm', 'emulator/main.ts', '--port', '0', '--control-port', '0', ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  const line = await new Promise<string>((resolve, reject) => {
    createInterface(child.stdout!).once('line', resolve);
    child.once('exit', (code) => reject(new Error(`the emulator stopped with ${code}`)));
  });
  const [, connectionString] = /(Endpoint=\S+)/.exec(line)!;
  return { child, connectionString: connectionString!, port: Number(/:(\d+);/.exec(connectionString!)![1]), startMs: performance.now() - begin };
}

/** Seconds of processor time, user and system; clock ticks are hundredths of a second. */
function cpuOf({ child }: Server): number {
  const fields = readFileSync(`/proc/${child.pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

const rssOf = ({ child }: Server): number => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))![1]) / 1024;

const row = (name: string, ...cells: string[]): void => console.log(`  ${name.padEnd(58)} ${cells.map((cell) => cell.padStart(14)).join(' ')}`);

async function rate(server: Server, name: string, times: number, act: () => Promise<unknown>): Promise<void> {
  const cpu = cpuOf(server);
  const begin = performance.now();
  await act();
  const seconds = (performance.now() - begin) / 1_000;
  const used = Math.max(cpuOf(server) - cpu, 0.01);
  row(name, `${Math.round(times / seconds)}/s`, `${Math.round(times / used)}/s alone`);
}

const clientOf = ({ connectionString }: Server): ServiceBusClient => new ServiceBusClient(connectionString);

async function fill(client: ServiceBusClient, queue: string, total: number): Promise<void> {
  const sender = client.createSender(queue);
  let left = total;
  await Promise.all(
    Array.from({ length: 4 }, async () => {
      while (left > 0) {
        const size = Math.min(100, left);
        left -= size;
        await sender.sendMessages(Array.from({ length: size }, () => ({ body })));
      }
    }),
  );
  await sender.close();
}

/** Peek-lock and complete with a handler, `concurrency` at a time. */
async function drain(client: ServiceBusClient, queue: string, total: number, concurrency: number): Promise<void> {
  const receiver = client.createReceiver(queue, { maxAutoLockRenewalDurationInMs: 0 });
  let handled = 0;
  await new Promise<void>((resolve, reject) => {
    receiver.subscribe(
      {
        processMessage: async (message) => {
          await receiver.completeMessage(message);
          if (++handled === total) resolve();
        },
        processError: async ({ error }) => reject(error),
      },
      { maxConcurrentCalls: concurrency, autoCompleteMessages: false },
    );
  });
  await receiver.close();
}

async function drainByBatches(client: ServiceBusClient, queue: string, total: number): Promise<void> {
  const receiver = client.createReceiver(queue, { maxAutoLockRenewalDurationInMs: 0 });
  for (let handled = 0; handled < total; ) {
    const messages: ServiceBusReceivedMessage[] = await receiver.receiveMessages(500, { maxWaitTimeInMs: 1_000 });
    await Promise.all(messages.map((message) => receiver.completeMessage(message)));
    handled += messages.length;
  }
  await receiver.close();
}

async function queues(server: Server): Promise<void> {
  const client = clientOf(server);
  const sender = client.createSender('stock-freed');
  await sender.sendMessages({ body });
  await drain(client, 'stock-freed', 1, 1);
  await rate(server, 'send one after the other', count / 10, async () => {
    for (let i = 0; i < count / 10; i++) await sender.sendMessages({ body });
  });
  await rate(server, 'receive in batches of 500, complete each', count / 10, () => drainByBatches(client, 'stock-freed', count / 10));
  await rate(server, 'send 32 at a time', count, async () => {
    let left = count;
    await Promise.all(Array.from({ length: 32 }, async () => { while (left-- > 0) await sender.sendMessages({ body }); }));
  });
  await rate(server, 'subscribe, peek-lock, complete, 50 at a time', count, () => drain(client, 'stock-freed', count, 50));
  await rate(server, 'send in batches of 100', count, () => fill(client, 'stock-freed', count));
  await rate(server, 'subscribe, peek-lock, complete, 500 at a time', count, () => drain(client, 'stock-freed', count, 500));
  await fill(client, 'stock-freed', behind);
  row(`memory with ${behind} waiting messages`, `${Math.round(rssOf(server))} MiB`);
  await rate(server, `send in batches of 100, behind ${behind}`, count, () => fill(client, 'stock-freed', count));
  await rate(server, `subscribe, peek-lock, complete, 500 at a time, before ${behind}`, count, () => drain(client, 'stock-freed', count, 500));
  // Not all: what the receiver before had and did not handle is locked for a minute. That is why this queue is not used again, either.
  await rate(server, `another ${0.9 * behind} of them`, 0.9 * behind, () => drain(client, 'stock-freed', 0.9 * behind, 500));
  await client.close();
}

/** From the call of send to the first line of the handler, when nothing else goes on. */
async function latency(server: Server): Promise<void> {
  const client = clientOf(server);
  const sender = client.createSender('reserve-stock');
  const receiver = client.createReceiver('reserve-stock');
  const times: number[] = [];
  receiver.subscribe({ processMessage: async (message) => void times.push(performance.now() - Number(message.body)), processError: async () => undefined });
  for (let i = 0; i < 600; i++) {
    await sender.sendMessages({ body: performance.now() });
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  while (times.length < 600) await new Promise((resolve) => setTimeout(resolve, 5));
  // The first hundred warm up.
  const sorted = times.slice(100).sort((a, b) => a - b);
  row('send to handler at rest', `p50 ${sorted[250]!.toFixed(1)} ms`, `p99 ${sorted[495]!.toFixed(1)} ms`);
  await client.close();
}

async function connections(server: Server): Promise<void> {
  const hello = Buffer.from([0x41, 0x4d, 0x51, 0x50, 0, 1, 0, 0]);
  const open = Buffer.from([0, 0, 0, 0x12, 2, 0, 0, 0, 0, 0x53, 0x10, 0xc0, 5, 1, 0xa1, 2, 0x6d, 0x65]);
  const begin = performance.now();
  const sockets = await Promise.all(
    Array.from({ length: 1_000 }, () => new Promise<ReturnType<typeof connect>>((resolve, reject) => {
      const socket = connect(server.port, '127.0.0.1', () => socket.write(Buffer.concat([hello, open])));
      let heard = 0;
      socket.once('error', reject).on('data', (chunk: Buffer) => (heard += chunk.length) > 8 && resolve(socket));
    })),
  );
  row('1,000 connections opened', `${Math.round(performance.now() - begin)} ms`, `${Math.round(rssOf(server))} MiB`);
  const client = clientOf(server);
  await rate(server, 'beside them: send 32 at a time', 2_000, async () => {
    const sender = client.createSender('reserve-stock');
    let left = 2_000;
    await Promise.all(Array.from({ length: 32 }, async () => { while (left-- > 0) await sender.sendMessages({ body }); }));
  });
  await drain(client, 'reserve-stock', 2_000, 100);
  await client.close();
  for (const socket of sockets) socket.destroy();
}

async function hubs(server: Server): Promise<void> {
  const producer = new EventHubProducerClient(server.connectionString, 'orders');
  await producer.getPartitionIds();
  const events = Array.from({ length: 200 }, () => ({ body }));
  await rate(server, 'event hub: send in batches of 200', count, async () => {
    for (let sent = 0; sent < count; sent += 200) await producer.sendBatch(events, { partitionKey: `key-${sent}` });
  });
  const consumer = new EventHubConsumerClient('$Default', server.connectionString, 'orders');
  let read = 0;
  await rate(server, 'event hub: read all partitions', count, () =>
    new Promise<void>((resolve, reject) => {
      const options = { startPosition: earliestEventPosition, maxBatchSize: 300 };
      const handlers = {
        processEvents: async (some: readonly unknown[]) => void ((read += some.length) >= count && resolve()),
        processError: async (error: Error) => reject(error),
      };
      void producer.getPartitionIds().then((ids) => ids.forEach((id) => consumer.subscribe(id, handlers, options)));
    }));
  await Promise.all([producer.close(), consumer.close()]);
}

async function flat(server: Server): Promise<void> {
  const client = clientOf(server);
  const before: string[] = [];
  for (let round = 0; round < 5; round++) {
    await Promise.all([fill(client, 'reserve-stock', count), drain(client, 'reserve-stock', count, 500)]);
    before.push(`${Math.round(rssOf(server))}`);
  }
  row(`memory after each of 5 rounds of ${count} messages`, `${before.join(' ')} MiB`);
  await client.close();
}

const starts: number[] = [];
for (let round = 0; round < 3; round++) {
  const server = await start();
  starts.push(server.startMs);
  server.child.removeAllListeners('exit').kill();
}
row('start, from the command to the line, three times', `${starts.map((ms) => Math.round(ms)).join(' ')} ms`);
const server = await start();
await queues(server);
await latency(server);
await connections(server);
await hubs(server);
await flat(server);
server.child.removeAllListeners('exit').kill();
