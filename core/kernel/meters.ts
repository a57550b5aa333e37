import { createHistogram, errorTypeOf, longSeconds, processing, quickSeconds, type Histogram, type Message } from '../../ports/index.ts';
import type { AnyService, Kernel } from './service.ts';

/**
 * WHAT IS COUNTED in this process, always: requests, messages handled, how long orders take from one step to the next, and how far the readers of streams are. It is kept in
 * memory, one set for each store that was opened, and told by core/operations/metrics.ts. What lies in the store is counted there, when somebody asks.
 */
export interface Meters {
  readonly requests: Histogram<'http_request_method' | 'http_route' | 'http_response_status_code'>;
  readonly handled: Histogram<'messaging_destination_name' | 'messaging_consumer_group_name' | 'error_type'>;
  readonly delays: Histogram<'messaging_destination_name' | 'messaging_consumer_group_name'>;
  readonly steps: Histogram<'step'>;
  /** By consumer, stream and partition. */
  readonly readings: Map<string, Reading>;
}

/** How far one reader of one partition is. */
export interface Reading {
  readonly consumer: string;
  readonly stream: string;
  readonly partition: string;
  /** Milliseconds since 1970: when the broker has last answered, be it that there is nothing new; at first, when the reader began. */
  readonly readAt: () => number;
  /** What has been read and is not handled yet: how many events, and the time (RFC 3339) of the eldest, if it can be read. */
  readonly unhandled: () => { readonly events: number; readonly eldest: string | undefined };
}

/** Told by a reader (follow.ts): when the broker has answered, and when he ends; `comesAgain`: he has read everything, and polls again. */
export function beginReading(kernel: Pick<Kernel, 'store' | 'clock'>, place: Omit<Reading, 'readAt'>): { answered(): void; ended(comesAgain: boolean): void } {
  const { readings } = metersOf(kernel);
  const at = `${place.consumer} ${place.stream} ${place.partition}`;
  let readAt = readings.get(at)?.readAt() ?? kernel.clock.now();
  const reading: Reading = { ...place, readAt: () => readAt };
  readings.set(at, reading);
  return {
    answered: () => void (readAt = kernel.clock.now()),
    ended(comesAgain) {
      // What another reader has begun meanwhile is his.
      if (!comesAgain && readings.get(at) === reading) readings.delete(at);
    },
  };
}

const all = new WeakMap<Kernel['store'], Meters>();

export function metersOf({ store }: Pick<Kernel, 'store'>): Meters {
  let meters = all.get(store);
  if (!meters) all.set(store, (meters = createMeters()));
  return meters;
}

function createMeters(): Meters {
  return {
    requests: createHistogram('http_server_request_duration_seconds', 'Duration of requests, by door; no route: none was found', ['http_request_method', 'http_route', 'http_response_status_code'], quickSeconds),
    handled: createHistogram('messaging_process_duration_seconds', 'Duration of handling one message, by channel and service', ['messaging_destination_name', 'messaging_consumer_group_name', 'error_type'], quickSeconds),
    delays: createHistogram('anyport_message_delay_seconds', 'Time from when a message was said to when it was handled', ['messaging_destination_name', 'messaging_consumer_group_name'], longSeconds),
    steps: createHistogram('anyport_order_step_seconds', 'Time from one step of an order to the next, by the times of their events', ['step'], longSeconds),
    readings: new Map(),
  };
}

/** Where a message was handed to us. */
export interface Arrival {
  readonly channel: string;
  readonly attempts?: number;
}

/** Handling one message, counted, and in a span of its own if somebody collects them: what the handler says and does then goes on from there. */
export async function measured(kernel: Kernel, service: AnyService, message: Message, arrival: Arrival, work: (message: Message) => Promise<void>): Promise<void> {
  const began = kernel.clock.now();
  const { handled, delays } = metersOf(kernel);
  const place = { messaging_destination_name: arrival.channel, messaging_consumer_group_name: service.name };
  const { tracer } = kernel;
  try {
    await (tracer ? tracer.span(processing(message, { ...arrival, consumer: service.name }), ({ traceparent }) => work({ ...message, traceparent })) : work(message));
    handled.observe({ ...place, error_type: '' }, seconds(began, kernel.clock.now()));
    delays.observe(place, seconds(Date.parse(message.time), kernel.clock.now()));
  } catch (error) {
    handled.observe({ ...place, error_type: errorTypeOf(error) }, seconds(began, kernel.clock.now()));
    throw error;
  }
}

/** Clocks of several machines do not agree to the millisecond: what would be negative is none. */
const seconds = (from: number, to: number): number => Math.max(0, to - from) / 1_000 || 0;

const steps = {
  placed_to_reserved: ['OrderPlaced', 'InventoryReserved'],
  reserved_to_shipped: ['InventoryReserved', 'OrderFulfillment'],
  shipped_to_delivered: ['OrderFulfillment', 'OrderDelivered'],
  placed_to_delivered: ['OrderPlaced', 'OrderDelivered'],
} as const;

/** Counts the steps that `news` has completed, in whatever order their ends have come to be known: each is counted once. `at`: when each event happened, RFC 3339. */
export function countSteps(kernel: Pick<Kernel, 'store'>, at: Readonly<Partial<Record<string, string>>>, news: string): void {
  for (const [step, [from, to]] of Object.entries(steps)) {
    if ((news !== from && news !== to) || at[from] === undefined || at[to] === undefined) continue;
    metersOf(kernel).steps.observe({ step }, seconds(Date.parse(at[from]), Date.parse(at[to])));
  }
}
