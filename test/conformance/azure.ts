import { EventHubProducerClient } from '@azure/event-hubs';
import { ServiceBusClient } from '@azure/service-bus';
import { connect, createServer, type Socket } from 'node:net';
import { openAzureQueue, openAzureStream, type AzureQueue, type AzureStream } from '../../adapters/azure/index.ts';
import { openMemory, type Memory } from '../../adapters/memory/index.ts';
import { hubDefaults, queueDefaults, type Topology } from '../../emulator/config.ts';
import { startEmulator, type Emulator } from '../../emulator/index.ts';
import { createLeapClock, type LeapClock } from '../support/leap.ts';
import { world, type Drivers, type Family } from './family.ts';

/**
 * THE AZURE FAMILY, as the suites want it described: the real SDKs, over sockets, on an emulator in this process whose clock can leap.
 */

const lockSeconds = 30;
const day = 86_400_000;
const retentionDays = 7;

export const topology: Topology = {
  queues: world.queues.map((name) => ({ ...queueDefaults, name, lockMs: lockSeconds * 1_000, deliveriesMax: 100 })),
  topics: [],
  hubs: world.streams.map((name) => ({ ...hubDefaults, name, partitions: world.partitionsPerStream, retentionMs: retentionDays * day })),
};

/** The way from a client to the emulator, which can be cut: then nobody gets through on it any more. */
export interface Line {
  readonly connectionString: string;
  cut(): Promise<void>;
}

export async function openLine(emulator: Emulator): Promise<Line> {
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const broker = connect(emulator.port, '127.0.0.1');
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
    connectionString: emulator.connectionString.replace(/:\d+/, `:${port}`),
    async cut() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

/** So long the sockets are left to themselves after time has passed, in real milliseconds. Who lets it pass in small steps waits for something. */
const settleMilliseconds = (passed: number): number => (passed < 1_000 ? 5 : 1);

/** The store is in memory: what tables do is asked in tables.ts, and a clock that leaps while a store takes real time would ask the suites for more than they promise. */
export function azure(): Family {
  let clock: LeapClock;
  let emulator: Emulator;
  let line: Line;
  let memory: Memory;
  let drivers: { readonly queue: AzureQueue; readonly stream: AzureStream };

  async function open(engines?: Memory['engines']): Promise<Drivers> {
    line = await openLine(emulator);
    memory = openMemory({ ...world, clock, ...(engines ? { engines } : {}) });
    const reach = { connectionString: line.connectionString, clock, patienceSeconds: 2 };
    drivers = { queue: await openAzureQueue(reach), stream: await openAzureStream(reach) };
    return { ...drivers, store: memory.store };
  }

  const end = (): Promise<unknown> => Promise.all([drivers.queue.close(), drivers.stream.close()]);

  return {
    name: 'azure',
    lockSeconds,
    async open() {
      clock = createLeapClock();
      emulator = await startEmulator({ port: 0, topology, clock });
      return open();
    },
    async restart() {
      await line.cut();
      // As after a kill: nobody says farewell, and nobody waits for it.
      void end();
      memory.close();
      return open(memory.engines);
    },
    async close() {
      memory.close();
      await end();
      await line.cut();
      await emulator.close();
    },
    clock: () => clock,
    async pass(milliseconds) {
      await clock.leap(milliseconds);
      await new Promise((resolve) => setTimeout(resolve, settleMilliseconds(milliseconds)));
    },
    async sever() {
      memory.close();
      await line.cut();
    },
    async plantQueue(queue, text) {
      const client = new ServiceBusClient(emulator.connectionString);
      await client.createSender(queue).sendMessages({ body: Buffer.from(text) });
      await client.close();
    },
    async plantStream(stream, partitionKey, text) {
      const client = new EventHubProducerClient(emulator.connectionString, stream);
      await client.sendBatch([{ body: Buffer.from(text) }], { partitionKey });
      await client.close();
    },
    expire: () => clock.leap((retentionDays + 1) * day),
  };
}
