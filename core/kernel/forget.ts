import { isPortError, key, partitionsOf, partsOf, remove, timestamp } from '../../ports/index.ts';
import { collections } from '../flow.ts';
import { forgetDesk } from './acts.ts';
import { eachOf } from './list.ts';
import type { Kernel } from './service.ts';

/** Longer than every retention and every dead letter's patience: what is older is never handled by itself, so nobody need remember having seen it. */
export const horizonDays = 35;
const day = 86_400_000;

/** What a timer of every host does: all that nobody needs any more goes. */
export async function forgetOld(kernel: Kernel): Promise<void> {
  await Promise.all([forgetSeen(kernel), forgetDesk(kernel)]);
}

/** Drops inbox rows beyond the horizon, day by day: their keys begin with the day of the message. Answers how many. */
export async function forgetSeen(kernel: Kernel): Promise<number> {
  const oldest = timestamp(kernel.clock.now() - (horizonDays + 1) * day).slice(0, 10).replaceAll('-', '');
  let dropped = 0;
  await eachOf(Object.values(collections).flatMap(partitionsOf), async (partition) => {
    let cursor: string | undefined;
    do {
      const page = await kernel.store.query(partition, { prefix: key('seen', ''), ...(cursor === undefined ? {} : { cursor }) });
      const old = page.rows.filter((row) => partsOf(row.key)[1]! < oldest);
      if (old.length > 0) {
        await kernel.store.commit(partition, { writes: old.map(remove) }).catch((error: unknown) => {
          if (!isPortError(error, 'conflict')) throw error; // another instance forgets as well
        });
      }
      dropped += old.length;
      cursor = old.length === page.rows.length ? page.next : undefined;
    } while (cursor !== undefined);
  });
  return dropped;
}

/** True also for what is no time at all. */
export function isTooOld(time: string, now: number): boolean {
  return !(now - Date.parse(time) <= horizonDays * day);
}
