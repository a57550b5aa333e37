import { openAwsStore, type AwsStore } from '../../adapters/aws/store.ts';
import { openMemory, type Memory } from '../../adapters/memory/index.ts';
import type { Clock, StoreDriver } from '../../ports/index.ts';
import { createClock, type VirtualClock } from '../support/clock.ts';
import { freshDynamoTable, sharedDynamo } from '../support/dynamo.ts';
import { createLeapClock } from '../support/leap.ts';
import { openProxy, type FaultyProxy } from '../support/proxy.ts';
import { world, type Family } from './family.ts';
import type { Tables } from './tables.ts';

/** The store of AWS, through the vendor's own SDK on the DynamoDB that AWS gives out for one machine: a fresh table for every world, behind a line that can be cut. */
export function dynamoTables(): Tables {
  let table: string;
  let line: FaultyProxy;
  let store: AwsStore | undefined;
  const connect = async (clock: Clock): Promise<StoreDriver> => {
    const { endpoint } = await sharedDynamo();
    line = await openProxy({ port: Number(new URL(endpoint).port) });
    return (store = await openAwsStore({ place: { endpoint: `http://127.0.0.1:${line.port}` }, table, clock, patienceSeconds: 10 }));
  };
  const end = async (): Promise<void> => {
    store?.close();
    await line.sever();
  };
  return {
    async open(clock) {
      table = freshDynamoTable();
      return connect(clock);
    },
    async restart(clock) {
      await end();
      return connect(clock);
    },
    sever: () => line.sever(),
    close: end,
  };
}

/** For the suite of stores alone: its queues and streams are those of the memory family. */
export function awsStore(): Family {
  const stores = dynamoTables();
  const line = createLeapClock();
  let clock: VirtualClock;
  let memory: Memory;
  return {
    name: 'aws',
    lockSeconds: 30,
    async open() {
      clock = createClock();
      memory = openMemory({ ...world, clock, lockSeconds: 30 });
      return { ...memory, store: await stores.open(line) };
    },
    restart: async () => ({ ...memory, store: await stores.restart(line) }),
    sever: () => stores.sever(),
    async close() {
      memory.close();
      await stores.close();
    },
    clock: () => clock,
    pass: (milliseconds) => clock.advance(milliseconds),
  };
}
