import type { Clock, MailerDriver, QueueDriver, StoreDriver, StreamDriver } from '../../ports/index.ts';

/** A family that lives in a cloud. What has no address there is started on this machine when the first port asks for it, and ends with the shop. */
export interface Cloud {
  store(): Promise<StoreDriver>;
  queue(): Promise<QueueDriver>;
  stream(): Promise<StreamDriver>;
  mailer(): Promise<MailerDriver>;
}

/** What the shop does besides its services' own clocks, because a family wants it. */
export interface Chore {
  readonly name: string;
  readonly everySeconds: number;
  readonly tick: () => Promise<unknown>;
}

export interface Ground {
  readonly clock: Clock;
  /** Called at the end, the last one first. */
  readonly closers: (() => void | Promise<void>)[];
  readonly chores: Chore[];
}

/** How often a broker's own dead letters are looked through. */
export const drainEverySeconds = 30;
