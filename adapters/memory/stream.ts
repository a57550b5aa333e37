import { PortError, decode, encode, isPortError, type AppendFailure, type Clock, type Message, type StreamDriver } from '../../ports/index.ts';
import type { KeptEvent, NewEvent, StreamEngine } from '../engine/stream.ts';
import { poll, type Gate } from './wait.ts';

const trimEveryMilliseconds = 60_000;

/** The stream engine behind the driver's face: encoding, waiting by the clock, and retention, which is looked after when something is appended. */
export function createStream(engine: StreamEngine, clock: Clock, gate: Gate): StreamDriver {
  let trimmedAt = clock.now();

  function trim(now: number): void {
    if (now - trimmedAt < trimEveryMilliseconds) return;
    trimmedAt = now;
    engine.trim(now);
  }

  return {
    async append(stream, messages) {
      gate.pass();
      const { taken, failures } = encodeAll(messages);
      const now = clock.now();
      engine.append(stream, taken, now);
      trim(now);
      return failures;
    },

    async partitions(stream) {
      gate.pass();
      return engine.partitions(stream);
    },

    async read(stream, partition, { after, max, waitSeconds, signal }) {
      const found = await poll({
        clock, gate, signal, waitSeconds,
        look: () => {
          const batch = engine.read(stream, partition, after, max);
          return 'gap' in batch || batch.events.length > 0 || batch.children ? batch : undefined;
        },
        watch: (wake) => engine.watch(stream, partition, wake),
      });
      if (!found) return { events: [] };
      return 'gap' in found ? found : { ...found, events: found.events.map(eventOf) };
    },
  };
}

const eventOf = ({ position, partitionkey, text }: KeptEvent) => ({ position, partitionkey, message: decode(text) });

/** What is too large is not taken, and neither is what follows it under the same key: of one key only a tail may fail. */
function encodeAll(messages: readonly Message[]): { taken: NewEvent[]; failures: AppendFailure[] } {
  const taken: NewEvent[] = [];
  const failures: AppendFailure[] = [];
  const cut = new Set<string>();
  messages.forEach((message, index) => {
    const { partitionkey } = message;
    try {
      if (cut.has(partitionkey)) throw new PortError('throttled', 'an earlier message of this key was not taken', { key: message.id });
      taken.push({ partitionkey, text: encode(message) });
    } catch (error) {
      if (!isPortError(error)) throw error;
      cut.add(partitionkey);
      failures.push({ index, error });
    }
  });
  return { taken, failures };
}
