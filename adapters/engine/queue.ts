import { PortError } from '../../ports/index.ts';
import { createSortedKeys, type SortedKeys } from './sorted.ts';

/**
 * QUEUE ENGINE: what ports/queue.ts promises, as a synchronous state machine without I/O; every method is told the time (milliseconds).
 *
 * - A message is ready, delayed until `visibleAt`, or locked until `lockedUntil`. At that very millisecond it is ready again, and no earlier receipt is worth anything.
 * - Every receipt has a token of its own. `remove` and `renew` with a token whose lock has run out throw `lockLost` and change nothing.
 * - Every operation costs the same however many messages wait.
 */
export interface QueueEngine {
  /** Makes a queue, unless it is there. Every other method throws `missing` for a queue that was not declared. */
  declare(queue: string): void;
  /** Throws `missing` if there is no such queue. */
  demand(queue: string): void;
  send(queue: string, texts: readonly string[], options: { readonly now: number; readonly delaySeconds?: number; readonly attempts?: number }): void;
  /** Locks and hands over what is ready, at most `max`. */
  receive(queue: string, max: number, now: number): Delivery[];
  remove(queue: string, token: number, now: number): void;
  /** Locks for another full time from now; answers until when. */
  renew(queue: string, token: number, now: number): number;
  /** When something is next ready without anybody's doing, if nothing is ready already: the end of a delay or of a lock. */
  nextAt(queue: string): number | undefined;
  /** How many messages are not settled, whatever state they are in. */
  count(queue: string): number;
  /** Calls after every `send`. Answers the function that ends it. */
  watch(queue: string, wake: () => void): () => void;
}

export interface Delivery {
  readonly text: string;
  /** The how-manieth receipt this is. */
  readonly attempts: number;
  readonly token: number;
  readonly lockedUntil: number;
}

interface Item {
  readonly text: string;
  receipts: number;
  lockedUntil: number;
}

interface Channel {
  /** Taken from `head` on; cut now and then, since shifting a long array is dear. */
  ready: Item[];
  head: number;
  readonly delayed: { readonly schedule: SortedKeys; readonly items: Map<string, Item> };
  /** By token. All locks last equally long and a renewed one moves to the end, so that the first one always ends first. */
  readonly locked: Map<number, Item>;
  readonly watchers: Set<() => void>;
}

export function createQueueEngine({ lockSeconds = 30 }: { lockSeconds?: number } = {}): QueueEngine {
  const channels = new Map<string, Channel>();
  let tokens = 0;
  let delays = 0;

  function channelOf(queue: string): Channel {
    const channel = channels.get(queue);
    if (!channel) throw new PortError('missing', `no queue ${queue}`);
    return channel;
  }

  function delay({ delayed }: Channel, item: Item, visibleAt: number): void {
    const place = `${digits(visibleAt)}|${digits(delays++)}`;
    delayed.schedule.add(place);
    delayed.items.set(place, item);
  }

  function held(channel: Channel, token: number, now: number): Item {
    const item = channel.locked.get(token);
    if (!item || item.lockedUntil <= now) throw new PortError('lockLost', 'the message is no longer ours');
    return item;
  }

  function lock(channel: Channel, item: Item, now: number): Delivery {
    const token = ++tokens;
    item.receipts++;
    item.lockedUntil = now + lockSeconds * 1_000;
    channel.locked.set(token, item);
    return { text: item.text, attempts: item.receipts, token, lockedUntil: item.lockedUntil };
  }

  return {
    declare(queue) {
      if (channels.has(queue)) return;
      channels.set(queue, { ready: [], head: 0, delayed: { schedule: createSortedKeys(), items: new Map() }, locked: new Map(), watchers: new Set() });
    },

    demand: (queue) => void channelOf(queue),

    send(queue, texts, { now, delaySeconds = 0, attempts = 0 }) {
      const channel = channelOf(queue);
      for (const text of texts) {
        const item: Item = { text, receipts: attempts, lockedUntil: 0 };
        if (delaySeconds > 0) delay(channel, item, now + delaySeconds * 1_000);
        else channel.ready.push(item);
      }
      // Over a copy: who is woken may watch again at once.
      for (const wake of Array.from(channel.watchers)) wake();
    },

    receive(queue, max, now) {
      const channel = channelOf(queue);
      freeDelayed(channel, now);
      freeLocked(channel, now);
      return takeReady(channel, max).map((item) => lock(channel, item, now));
    },

    remove(queue, token, now) {
      const channel = channelOf(queue);
      held(channel, token, now);
      channel.locked.delete(token);
    },

    renew(queue, token, now) {
      const channel = channelOf(queue);
      const item = held(channel, token, now);
      item.lockedUntil = now + lockSeconds * 1_000;
      channel.locked.delete(token);
      channel.locked.set(token, item);
      return item.lockedUntil;
    },

    nextAt(queue) {
      const { delayed, locked } = channelOf(queue);
      const place = delayed.schedule.first();
      const first = locked.values().next();
      const times = [...(place === undefined ? [] : [Number(place.split('|')[0])]), ...(first.done ? [] : [first.value.lockedUntil])];
      return times.length === 0 ? undefined : Math.min(...times);
    },

    count(queue) {
      const { ready, head, delayed, locked } = channelOf(queue);
      return ready.length - head + delayed.items.size + locked.size;
    },

    watch(queue, wake) {
      const { watchers } = channelOf(queue);
      watchers.add(wake);
      return () => void watchers.delete(wake);
    },
  };
}

/** Compares as text like the number. */
const digits = (value: number): string => String(Math.ceil(value)).padStart(16, '0');

function freeDelayed({ ready, delayed }: Channel, now: number): void {
  for (let place = delayed.schedule.first(); place !== undefined && place <= `${digits(now)}~`; place = delayed.schedule.first()) {
    ready.push(delayed.items.get(place)!);
    delayed.schedule.delete(place);
    delayed.items.delete(place);
  }
}

function freeLocked({ ready, locked }: Channel, now: number): void {
  for (const [token, item] of locked) {
    if (item.lockedUntil > now) return;
    locked.delete(token);
    ready.push(item);
  }
}

function takeReady(channel: Channel, max: number): Item[] {
  const items = channel.ready.slice(channel.head, channel.head + max);
  channel.head += items.length;
  if (channel.head === channel.ready.length || channel.head > 4_096) {
    channel.ready.splice(0, channel.head);
    channel.head = 0;
  }
  return items;
}
