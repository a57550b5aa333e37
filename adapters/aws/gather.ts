import { PortError } from '../../ports/index.ts';

/**
 * Makes batches of what many ask for at once: while as many requests are under way as may be, what comes is gathered, and goes out together. Nobody waits for others when
 * there is nothing under way.
 */
export interface Gathering<Item> {
  readonly max: number;
  /** Of all items of a batch together; one alone may be larger. */
  readonly bytesMax: number;
  readonly bytesOf: (item: Item) => number;
  readonly atOnce: number;
  /** Answers the failure of each of them that has failed, by index. Throws when all have. */
  readonly flush: (items: readonly Item[]) => Promise<ReadonlyMap<number, PortError>>;
}

export function createGatherer<Item>({ max, bytesMax, bytesOf, atOnce, flush }: Gathering<Item>): (item: Item) => Promise<void> {
  interface Waiting {
    readonly item: Item;
    resolve(): void;
    reject(error: unknown): void;
  }
  const waiting: Waiting[] = [];
  let under = 0;
  let called = false;

  function next(): Waiting[] {
    let bytes = 0;
    let count = 0;
    while (count < Math.min(max, waiting.length) && (bytes += bytesOf(waiting[count]!.item)) <= bytesMax) count++;
    return waiting.splice(0, Math.max(1, count));
  }

  function go(): void {
    called = false;
    while (waiting.length > 0 && under < atOnce) void send(next());
  }

  async function send(batch: readonly Waiting[]): Promise<void> {
    under++;
    try {
      const failures = await flush(batch.map(({ item }) => item));
      batch.forEach(({ resolve, reject }, nth) => (failures.has(nth) ? reject(failures.get(nth)) : resolve()));
    } catch (error) {
      for (const { reject } of batch) reject(error);
    } finally {
      under--;
      go();
    }
  }

  return (item) => new Promise((resolve, reject) => {
    waiting.push({ item, resolve, reject });
    // What is asked for in one breath goes together.
    if (!called) queueMicrotask(go);
    called = true;
  });
}
