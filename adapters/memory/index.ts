import type { Clock, Letter, MailerDriver, QueueDriver, StoreDriver, StreamDriver } from '../../ports/index.ts';
import { createQueueEngine, type QueueEngine } from '../engine/queue.ts';
import { createStoreEngine, type StoreEngine } from '../engine/store.ts';
import { createStreamEngine, type StreamEngine } from '../engine/stream.ts';
import { hostile, type Profile } from './faults.ts';
import { createMailer } from './mailer.ts';
import { createQueue } from './queue.ts';
import { createStore } from './store.ts';
import { createStream } from './stream.ts';
import { createGate } from './wait.ts';

export { faultless, harsh, hostile, profileFrom, type Profile } from './faults.ts';

/**
 * MEMORY: the engine behind the drivers' faces. It keeps every promise of the ports but one: the state ends with the process.
 *
 * What is kept is in `engines`, so a restart can be played: `close()` the drivers (every wait ends, every later call fails, locks stay until they run out) and open
 * new ones on the same engines. With `faults` the drivers are as bad as the ports allow (faults.ts).
 */
export interface MemoryOptions {
  readonly clock: Clock;
  /** All queues and streams that exist; any other is `missing`. */
  readonly queues: readonly string[];
  readonly streams: readonly string[];
  /** 4 unless told. This, the lock's time and the retention are the engines' own: later openings do not change them. */
  readonly partitionsPerStream?: number;
  /** 30 unless told. */
  readonly lockSeconds?: number;
  /** 7 unless told. */
  readonly retentionDays?: number;
  readonly faults?: { readonly profile: Profile; readonly random: () => number };
  /** The state of an earlier opening. */
  readonly engines?: Engines;
}

export interface Engines {
  readonly store: StoreEngine;
  readonly queue: QueueEngine;
  readonly stream: StreamEngine;
  readonly letters: Letter[];
}

export interface Memory {
  readonly store: StoreDriver;
  readonly queue: QueueDriver;
  readonly stream: StreamDriver;
  readonly mailer: MailerDriver & { readonly letters: readonly Letter[] };
  readonly engines: Engines;
  close(): void;
}

export function openMemory(options: MemoryOptions): Memory {
  const { clock, queues, streams, faults } = options;
  const engines = options.engines ?? createEngines(options);
  for (const queue of queues) engines.queue.declare(queue);
  for (const stream of streams) engines.stream.declare(stream);

  const closing = new AbortController();
  const gate = createGate(closing.signal);
  const drivers = {
    store: createStore(engines.store, gate),
    queue: createQueue(engines.queue, clock, gate),
    stream: createStream(engines.stream, clock, gate),
    mailer: createMailer(engines.letters, gate),
  };
  const faced = faults ? hostile(drivers, faults.profile, faults.random, clock) : drivers;
  return { ...faced, mailer: { ...faced.mailer, letters: engines.letters }, engines, close: () => closing.abort() };
}

function createEngines(options: MemoryOptions): Engines {
  return { store: createStoreEngine(), queue: createQueueEngine(options), stream: createStreamEngine(options), letters: [] };
}
