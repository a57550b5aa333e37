import { openAzureQueue, openAzureStream, type AzureQueue, type AzureStream } from '../../adapters/azure/index.ts';
import { queues, streams } from '../../core/flow.ts';
import { hubDefaults, queueDefaults } from '../../emulator/config.ts';
import { startEmulator } from '../../emulator/index.ts';
import { openLine, type Line } from '../conformance/azure.ts';
import { tables } from '../conformance/tables.ts';
import { sharedAzurite } from '../support/azurite.ts';
import { createClock } from '../support/clock.ts';
import type { Drivers, Ground } from './crashworld.ts';

/**
 * The Azure family under a world that is killed: real SDKs over real sockets to the emulator, whose clock is the world's, and to Azurite. Time stands still while a call is
 * under way; only a long poll lets it pass. So the story is the same one each time, and its calls nearly so.
 */
const lockSeconds = 5;
const partitions = 2;
/** What goes through a socket of this process is there after some turns of the event loop. */
const quietRounds = 150;

export async function openAzureGround(): Promise<Ground> {
  await sharedAzurite(); // the first time on a machine it is fetched, which takes longer than anybody is patient
  let underWay = 0;
  const clock = createClock(undefined, { busy: () => underWay > 0, quietRounds });
  const emulator = await startEmulator({
    port: 0,
    clock,
    topology: {
      queues: queues.map((name) => ({ ...queueDefaults, name, lockMs: lockSeconds * 1_000, deliveriesMax: 100 })),
      topics: [],
      hubs: streams.map((name) => ({ ...hubDefaults, name, partitions, retentionMs: 7 * 86_400_000 })),
    },
  });
  const rows = tables();
  let opened: { readonly line: Line; readonly queue: AzureQueue; readonly stream: AzureStream } | undefined;
  let isFirst = true;

  function counted<Driver extends object>(driver: Driver): Driver {
    return new Proxy(driver, {
      get(target, name) {
        const member: unknown = Reflect.get(target, name);
        if (typeof member !== 'function') return member;
        return async (...args: unknown[]): Promise<unknown> => {
          if (isPoll(args)) return Reflect.apply(member, target, args) as unknown;
          underWay++;
          try {
            return await (Reflect.apply(member, target, args) as unknown);
          } finally {
            underWay--;
          }
        };
      },
    });
  }

  async function sever(): Promise<void> {
    if (!opened) return;
    const { line, queue, stream } = opened;
    opened = undefined;
    // What was on its way arrives: else the world's books would not know of it.
    while (underWay > 0) await new Promise((resolve) => setImmediate(resolve));
    await Promise.all([line.cut(), rows.sever()]);
    void Promise.all([queue.close(), stream.close()]);
  }

  return {
    clock,
    async open(): Promise<Drivers> {
      underWay++;
      try {
        const line = await openLine(emulator);
        const reach = { connectionString: line.connectionString, clock, patienceSeconds: 5 };
        const store = await (isFirst ? rows.open(clock) : rows.restart(clock));
        isFirst = false;
        const queue = await openAzureQueue(reach);
        const stream = await openAzureStream(reach);
        opened = { line, queue, stream };
        return { store: counted(store), queue: counted(queue), stream: counted(stream) };
      } finally {
        underWay--;
      }
    },
    sever,
    async close() {
      await sever();
      await Promise.all([rows.close(), emulator.close()]);
    },
  };
}

const isPoll = (args: readonly unknown[]): boolean => args.some((each) => typeof each === 'object' && each !== null && 'waitSeconds' in each && (each.waitSeconds as number) > 0);
