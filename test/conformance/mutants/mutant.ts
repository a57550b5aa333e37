import { isPortError, type PortErrorKind, type QueueDriver, type Received, type StoreDriver, type StreamDriver } from '../../../ports/index.ts';
import type { Case } from '../case.ts';
import { memory } from '../families.ts';
import type { Drivers, Family } from '../family.ts';
import { queueCases } from '../queue.ts';
import { storeCases } from '../store.ts';
import { streamCases } from '../stream.ts';

/**
 * MUTANTS: good drivers, each with one fault of those that drivers really have. A suite that lets one of them pass asks too little.
 *
 * A mutant is a thin wrapper; what it does wrong is its name. The fault is as small as it can be: a wrapper that breaks everything proves nothing.
 */
export interface Mutant {
  readonly name: string;
  readonly port: 'store' | 'queue' | 'stream' | 'mailer' | 'carrier' | 'notices' | 'receiving';
  /** Everything that its port promises. */
  cases(): Case[];
}

/** A fault of one port is for the suite of that port to find: that something else suffers as well would only hide a hole. */
const suites = { store: storeCases, queue: queueCases, stream: streamCases };

/** `change` is called for every new world, so what it remembers lasts over its restarts; what it answers is called at every opening. */
export function drivers(port: 'store' | 'queue' | 'stream', name: string, change: () => (drivers: Drivers, restarted: boolean) => Partial<Drivers>): Mutant {
  const family = memory('memory');
  let apply: ReturnType<typeof change>;
  const changed = (opened: Drivers, restarted: boolean): Drivers => ({ ...opened, ...apply(opened, restarted) });
  const mutated: Family = {
    ...family,
    async open() {
      apply = change();
      return changed(await family.open(), false);
    },
    restart: async () => changed(await family.restart(), true),
  };
  return { name, port, cases: () => suites[port](mutated) };
}

export const store = (name: string, change: (driver: StoreDriver) => Partial<StoreDriver>): Mutant =>
  drivers('store', name, () => (opened) => ({ store: { ...opened.store, ...change(opened.store) } }));
export const queue = (name: string, change: (driver: QueueDriver) => Partial<QueueDriver>): Mutant =>
  drivers('queue', name, () => (opened) => ({ queue: { ...opened.queue, ...change(opened.queue) } }));
export const stream = (name: string, change: (driver: StreamDriver) => Partial<StreamDriver>): Mutant =>
  drivers('stream', name, () => (opened) => ({ stream: { ...opened.stream, ...change(opened.stream) } }));

/** The answer instead of a failure of these kinds. */
export const instead = <Answer>(work: Promise<Answer>, answer: Answer, ...kinds: PortErrorKind[]): Promise<Answer> =>
  work.catch((error: unknown) => {
    if (isPortError(error, ...kinds)) return answer;
    throw error;
  });

export const idOf = ({ message }: { readonly message: Received['message'] }): string => ('malformed' in message ? message.raw : message.id);
