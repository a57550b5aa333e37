import { createHash } from 'node:crypto';
import { create, isPortError, key, partitionOf, partsOf, remove, replace, type Row } from '../../ports/index.ts';
import { collections } from '../flow.ts';
import { rowsOf } from './list.ts';
import type { Kernel } from './service.ts';

/**
 * MEMBERS: processes that host the same services over one store and share the reading of streams. Each writes down every few seconds that it lives, and each thing to read
 * belongs to the living member that comes out highest when its name is hashed with the thing's (rendezvous hashing, Thaler and Ravishankar 1998): all agree without
 * talking to one another, and when one comes or goes only its own things move.
 *
 * It spreads the work and guards nothing. For some seconds two may read the same, or nobody: positions, parked keys and inboxes are made for that (follow.ts).
 */
export interface Members {
  /** Resolves when `thing` is ours, with a turn that ends when it is no longer; with one that has ended, when the signal is aborted. */
  turn(thing: string): Promise<Turn>;
}

export interface Turn {
  readonly signal: AbortSignal;
  /** The turn is not needed any more. */
  end(): void;
}

const beatSeconds = 5;
/** Who has not been heard of for so long is gone. */
export const lifeSeconds = 20;
/** Rows of those who are gone are swept out by whoever sees them so long after. */
const burySeconds = 600;

interface Life {
  /** Milliseconds since 1970. */
  readonly until: number;
}

/** For a process that is alone: everything is its own. */
export function alone(signal: AbortSignal): Members {
  return { turn: async () => ({ signal, end: () => {} }) };
}

/** Joins at once, and leaves when the signal is aborted. While the store is down everybody goes on with what he has. */
export function joinMembers(kernel: Kernel, signal: AbortSignal): { readonly members: Members; readonly left: Promise<void> } {
  const name = kernel.ids.random();
  const partition = partitionOf(collections.consumers, 'members');
  const prefix = key('member', '');
  let row: Row<Life> | undefined;
  let living: readonly string[] = [];
  /** Those that wait for a thing, and those that have one: asked again whenever the living have changed. */
  const waiting = new Set<() => void>();

  async function write(until: number): Promise<void> {
    const rowKey = key('member', name);
    const body: Life = { until };
    const { versions } = await kernel.store.commit(partition, { writes: [row ? replace(row, body) : create(rowKey, body)] });
    row = { key: rowKey, version: versions[0]!, body };
  }

  async function beat(): Promise<void> {
    const now = kernel.clock.now();
    await write(now + lifeSeconds * 1_000).catch(async (error: unknown) => {
      if (!isPortError(error)) throw error;
      // An answer that was lost, or somebody has buried us alive.
      row = await kernel.store.get<Life>(partition, key('member', name));
      await write(now + lifeSeconds * 1_000);
    });
    const found: string[] = [];
    for await (const each of rowsOf<Life>(kernel.store, partition, prefix)) {
      if (each.body.until > now) found.push(partsOf(each.key)[1]!);
      else if (each.body.until < now - burySeconds * 1_000) await kernel.store.commit(partition, { writes: [remove(each)] }).catch(() => undefined);
    }
    if (found.join() === living.join()) return;
    living = found;
    for (const look of waiting) look();
  }

  async function live(): Promise<void> {
    while (!signal.aborted) {
      await beat().catch((error: unknown) => kernel.log.warn({ error }, 'the other processes may believe that this one is gone'));
      await kernel.clock.sleep(beatSeconds * 1_000, signal);
    }
    for (const look of waiting) look();
    if (row) await kernel.store.commit(partition, { writes: [remove(row)] }).catch(() => undefined); // else they find out by themselves
  }

  const isMine = (thing: string): boolean => highest(living, thing) === name;
  const left = live();
  return {
    left,
    members: {
      async turn(thing) {
        const over = new AbortController();
        await new Promise<void>((resolve) => {
          const look = (): void => {
            if (!signal.aborted && !isMine(thing)) return;
            waiting.delete(look);
            resolve();
          };
          waiting.add(look);
          look();
        });
        const look = (): void => {
          if (!signal.aborted && isMine(thing)) return;
          waiting.delete(look);
          over.abort();
        };
        waiting.add(look);
        look();
        return { signal: over.signal, end: () => waiting.delete(look) };
      },
    },
  };
}

function highest(names: readonly string[], thing: string): string | undefined {
  let best: { name: string; weight: string } | undefined;
  for (const name of names) {
    const weight = createHash('sha256').update(`${name} ${thing}`).digest('hex');
    if (!best || weight > best.weight) best = { name, weight };
  }
  return best?.name;
}
