import { Defect, type Message } from '../../ports/index.ts';
import { measured, type Arrival } from './meters.ts';
import { handle } from './receive.ts';
import type { AnyService, Kernel } from './service.ts';

/**
 * THE WATCH: a handler that never comes to its end would hold its key, its partition or its lock for ever, and nobody would hear of it
 * (https://github.com/Azure/azure-sdk-for-js/issues/31546). After `secondsMax` it is given up with a `Defect`: the event is parked, the message retried and at last
 * dead, and the neighbours move on. What it still does in the background does no harm, because every commit names the versions that it replaces.
 */
const secondsMax = 300;
const slowSeconds = 60;
/** How exactly it is watched: one slow tick serves all handlers, instead of a timer each, and nothing ticks while nothing is under way. */
const tickSeconds = 10;

interface Turn {
  readonly since: number;
  readonly what: string;
  giveUp(error: Defect): void;
  slow: boolean;
}
interface Watch {
  readonly turns: Set<Turn>;
  ticking: boolean;
}
const watches = new WeakMap<Kernel['store'], Watch>();

/** `handle`, for so long at the most, counted and traced. Throws `Defect` when its time is up. */
export function handleInTime(kernel: Kernel, service: AnyService, message: Message, arrival: Arrival): Promise<void> {
  return measured(kernel, service, message, arrival, (traced) => inTime(kernel, service, traced));
}

function inTime(kernel: Kernel, service: AnyService, message: Message): Promise<void> {
  const watch = watches.get(kernel.store) ?? { turns: new Set(), ticking: false };
  watches.set(kernel.store, watch);
  return new Promise((resolve, reject) => {
    const turn: Turn = { since: kernel.clock.now(), what: `${service.name} at ${message.type} ${message.id}`, giveUp: reject, slow: false };
    watch.turns.add(turn);
    void handle(kernel, service, message).then(resolve, reject).finally(() => watch.turns.delete(turn));
    if (!watch.ticking) void tick(kernel, watch);
  });
}

async function tick(kernel: Kernel, watch: Watch): Promise<void> {
  watch.ticking = true;
  while (watch.turns.size > 0) {
    await kernel.clock.sleep(tickSeconds * 1_000);
    for (const turn of watch.turns) look(kernel, watch, turn, (kernel.clock.now() - turn.since) / 1_000);
  }
  watch.ticking = false;
}

function look({ log }: Kernel, { turns }: Watch, turn: Turn, seconds: number): void {
  if (seconds >= secondsMax) {
    turns.delete(turn);
    turn.giveUp(new Defect(`no end after ${secondsMax} s`));
  } else if (seconds >= slowSeconds && !turn.slow) {
    turn.slow = true;
    log.warn({ handler: turn.what, seconds }, 'a handler takes long');
  }
}
