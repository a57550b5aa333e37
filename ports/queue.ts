import { must } from './errors.ts';
import { limits } from './limits.ts';
import type { Malformed, Message } from './message.ts';

/**
 * QUEUE: work for exactly one receiver, at least once, in no promised order.
 *
 * - What `send` has acknowledged is received until it is settled, also after a crash of sender, receiver or both.
 * - A received message is locked until `lockedUntil`. Unsettled by then it comes again with `attempts` + 1.
 * - `done` removes it for good. After `lockedUntil` it throws `lockLost` and changes nothing, whatever the broker would do.
 * - `retry` is the same on every family: a delayed copy with `attempts` + 1 (or the same, when the message is not to blame) is sent first, then the original is
 *   removed. A crash between the two duplicates, never loses. The CloudEvents id stays; brokers' own duplicate detection is off, since it would swallow the copy.
 * - Dead letters are not the broker's: they live in our own store (core/kernel/dead.ts), alike on every family.
 */
export interface Queue {
  /** Resolves when all are taken. Throws the first failure; then any of them may have been taken. */
  send(queue: string, messages: readonly Message[], options?: SendOptions): Promise<void>;
  receive(queue: string, options: ReceiveOptions): Promise<Received[]>;
  done(received: Received): Promise<void>;
  /** Seconds over `limits.delaySecondsMax` are cut to it. */
  retry(received: Received, options: { delaySeconds: number; blame: boolean }): Promise<void>;
  /** Moves `lockedUntil` on and answers the message with it; throws `lockLost` if it has passed. From then on the answer is settled, not what was received. */
  renew(received: Received): Promise<Received>;
}

export interface SendOptions {
  /** 0 to `limits.delaySecondsMax`. */
  readonly delaySeconds?: number;
  /** Receipts so far, for a copy; 0 unless told. */
  readonly attempts?: number;
}

export interface ReceiveOptions {
  /** 1 to `limits.batchMax`. */
  readonly max: number;
  /** How long to wait for the first one, 0 to 20 (SQS's limit). Then an empty list; it may come earlier. */
  readonly waitSeconds: number;
  readonly signal?: AbortSignal;
}

export interface Received {
  readonly queue: string;
  readonly message: Message | Malformed;
  /** The how-manieth receipt this is: 1, 2 … */
  readonly attempts: number;
  /** Milliseconds since 1970. */
  readonly lockedUntil: number;
  /** The family's own; opaque. */
  readonly receipt: unknown;
}

/**
 * QUEUE DRIVER. `send` takes all or throws (`unavailable`: any of them may have been taken). `remove` and `renew` throw `lockLost` when the receipt is no longer
 * the current one. `receive` never throws for an unreadable message: it hands it over as `Malformed`.
 */
export interface QueueDriver {
  send(queue: string, messages: readonly Message[], options: Required<SendOptions>): Promise<void>;
  receive(queue: string, options: ReceiveOptions): Promise<Received[]>;
  remove(received: Received): Promise<void>;
  renew(received: Received): Promise<Received>;
}

export function openQueue(driver: QueueDriver): Queue {
  return {
    async send(queue, messages, options = {}) {
      const delaySeconds = Math.min(options.delaySeconds ?? 0, limits.delaySecondsMax);
      must(delaySeconds >= 0, 'a delay is not negative');
      for (let i = 0; i < messages.length; i += limits.batchMax) {
        await driver.send(queue, messages.slice(i, i + limits.batchMax), { delaySeconds, attempts: options.attempts ?? 0 });
      }
    },
    async receive(queue, options) {
      must(options.max >= 1 && options.max <= limits.batchMax, `1 to ${limits.batchMax} messages a receive`);
      return driver.receive(queue, options);
    },
    done: (received) => driver.remove(received),
    async retry(received, { delaySeconds, blame }) {
      must(!('malformed' in received.message), 'what cannot be read is not sent again');
      const attempts = received.attempts - (blame ? 0 : 1);
      await driver.send(received.queue, [received.message], { delaySeconds: Math.min(delaySeconds, limits.delaySecondsMax), attempts });
      await driver.remove(received);
    },
    renew: (received) => driver.renew(received),
  };
}
