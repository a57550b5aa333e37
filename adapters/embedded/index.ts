import { must, type Clock, type QueueDriver, type StoreDriver, type StreamDriver } from '../../ports/index.ts';
import { openDatabase } from './database.ts';
import { openQueueDriver } from './queue.ts';
import { openStoreDriver } from './store.ts';
import { openStreamDriver } from './stream.ts';

/** The embedded family: store, queue and stream in one SQLite file, on one machine, in one process, durable. */
export interface Embedded {
  readonly store: StoreDriver;
  readonly queue: QueueDriver;
  readonly stream: StreamDriver;
  /** Deletes events older than the retention; it also happens by itself. */
  trim(): Promise<void>;
  /** Ends all waiting, writes what was handed over, lets go of the folder. */
  close(): Promise<void>;
}

export interface EmbeddedOptions {
  /** Made if it is not there. One process at a time: a second one gets `denied`. */
  readonly dataDir: string;
  readonly clock: Clock;
  /** The names that exist; every other one is `missing`. */
  readonly queues: readonly string[];
  readonly streams: readonly string[];
  /** 1 to 100, 4 unless told; fixed for the life of the folder. */
  readonly partitionsPerStream?: number;
  /** How long a received message is hidden from others; 30 unless told. */
  readonly lockSeconds?: number;
  /** How long events are kept; 7 unless told. */
  readonly retentionDays?: number;
}

export async function openEmbedded(options: EmbeddedOptions): Promise<Embedded> {
  const { dataDir, clock, queues, streams, partitionsPerStream = 4, lockSeconds = 30, retentionDays = 7 } = options;
  must(Number.isInteger(partitionsPerStream) && partitionsPerStream >= 1 && partitionsPerStream <= 100, '1 to 100 partitions a stream');
  must(lockSeconds > 0 && retentionDays > 0, 'locks and events are kept for some time');
  const database = await openDatabase(dataDir);
  try {
    const store = openStoreDriver(database);
    const queue = openQueueDriver(database, { clock, queues, lockSeconds });
    const stream = openStreamDriver(database, { clock, streams, partitionsPerStream, retentionDays });
    await stream.trim();
    return { store, queue, stream, trim: stream.trim, close: async () => [queue, stream, database].forEach((part) => part.close()) };
  } catch (error) {
    database.close();
    throw error;
  }
}
