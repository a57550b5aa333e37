import { decode, encode, must, type Clock, type QueueDriver, type Received } from '../../ports/index.ts';
import type { Delivery, QueueEngine } from '../engine/queue.ts';
import { poll, type Gate } from './wait.ts';

/** The queue engine behind the driver's face: encoding, and waiting by the clock. */
export function createQueue(engine: QueueEngine, clock: Clock, gate: Gate): QueueDriver {
  return {
    async send(queue, messages, options) {
      gate.pass();
      engine.send(queue, messages.map(encode), { now: clock.now(), ...options });
    },

    async receive(queue, { max, waitSeconds, signal }) {
      engine.demand(queue);
      const deliveries = await poll({
        clock, gate, signal, waitSeconds,
        look: (now) => someOf(engine.receive(queue, max, now)),
        nextAt: () => engine.nextAt(queue),
        watch: (wake) => engine.watch(queue, wake),
      });
      return (deliveries ?? []).map((delivery) => receivedOf(queue, delivery));
    },

    async remove({ queue, receipt }) {
      gate.pass();
      engine.remove(queue, tokenOf(receipt), clock.now());
    },

    async renew(received) {
      gate.pass();
      return { ...received, lockedUntil: engine.renew(received.queue, tokenOf(received.receipt), clock.now()) };
    },
  };
}

const someOf = <Item>(items: Item[]): Item[] | undefined => (items.length > 0 ? items : undefined);

function receivedOf(queue: string, { text, attempts, token, lockedUntil }: Delivery): Received {
  return { queue, message: decode(text), attempts, lockedUntil, receipt: token };
}

function tokenOf(receipt: unknown): number {
  must(typeof receipt === 'number', 'a receipt is given back as it was received');
  return receipt;
}
