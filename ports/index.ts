import type { Clock, Ids, Log } from './ambient.ts';
import type { Carrier, NoticeReader } from './carrier.ts';
import type { Mailer } from './mailer.ts';
import type { Queue } from './queue.ts';
import type { Store } from './store.ts';
import type { Stream } from './stream.ts';
import type { Tracer } from './trace.ts';

/** All that core ever sees of the world: one plain record. */
export interface Ports {
  readonly store: Store;
  readonly queue: Queue;
  readonly stream: Stream;
  readonly mailer: Mailer;
  readonly carrier: Carrier;
  /** By the name in the webhook's path: `easypost`, `shippo`, `aftership`, `demo`. */
  readonly notices: ReadonlyMap<string, NoticeReader>;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly log: Log;
  readonly settings: Settings;
  /** Absent: nobody collects traces. */
  readonly tracer?: Tracer;
}

/** The settings that the business itself reads. */
export interface Settings {
  readonly shopName: string;
  /** Where customers reach the shop, without a slash at the end: for links in letters. */
  readonly shopUrl: string;
  /** From so many available units downwards a product is `Low`. */
  readonly lowStockAt: number;
}

export * from './ambient.ts';
export * from './carrier.ts';
export * from './errors.ts';
export * from './limits.ts';
export * from './mailer.ts';
export * from './message.ts';
export * from './meter.ts';
export * from './queue.ts';
export * from './store.ts';
export * from './stream.ts';
export * from './trace.ts';
