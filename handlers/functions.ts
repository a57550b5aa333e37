import { clocks, doors, subscriptions, type ClockName, type Door, type DoorName, type ServiceName } from '../core/flow.ts';

/**
 * FUNCTIONS: what a platform runs for us, read off the flow and off nothing else: one function for each door, for each queue, for each listener of a stream, and for each
 * timer. The registrations in the bundle, `serverless.yml` and the infrastructure are made of this list, so none of them can forget what another one has.
 */
export type FunctionRow = HttpRow | QueueRow | StreamRow | TimerRow;

/** `door` undefined: whatever no door takes (assets, health, documents, and what is not there). */
export interface HttpRow {
  readonly kind: 'http';
  readonly name: string;
  readonly door: DoorName | undefined;
  readonly methods: readonly ('GET' | 'HEAD' | 'PUT' | 'POST')[];
  /** Without a slash in front; parameters in braces. */
  readonly route: string;
}
export interface QueueRow {
  readonly kind: 'queue';
  readonly name: string;
  readonly service: ServiceName;
  readonly queue: string;
}
export interface StreamRow {
  readonly kind: 'stream';
  readonly name: string;
  /** Its consumer group, too. */
  readonly service: ServiceName;
  readonly stream: string;
}
export interface TimerRow {
  readonly kind: 'timer';
  readonly name: TimerName;
  readonly everySeconds: number;
}

/** The clocks of the flow, and what every host does beside them. */
export type TimerName = ClockName | OwnTimer;
export type OwnTimer = 'sweepOutbox' | 'retryParked' | 'forgetSeen' | 'catchUp' | 'doChores' | 'demoCarrier';

/** No timer more often: a platform takes money for each run. */
const leastSeconds = 10;
const ownTimers: Readonly<Record<OwnTimer, number>> = { sweepOutbox: 30, retryParked: 30, forgetSeen: 6 * 3_600, catchUp: 600, doChores: 60, demoCarrier: 10 };

const camel = (channel: string): string => channel.split('-').map((word) => word[0]!.toUpperCase() + word.slice(1)).join('');

/**
 * A route that is nothing but the root; an empty one would mean the function's own name (https://github.com/Azure/Azure-Functions/issues/2473).
 */
const rootRoute = '{nothing:maxlength(0)?}';

function doorRows(): HttpRow[] {
  return (Object.entries(doors) as [DoorName, Door][]).map(([name, { method, path }]) => ({
    kind: 'http', name, door: name, methods: method === 'GET' ? ['GET', 'HEAD'] : [method], route: path === '/' ? rootRoute : path.slice(1),
  }));
}

function channelRows(): (QueueRow | StreamRow)[] {
  return subscriptions.filter(({ polled }) => !polled).map(({ kind, channel, service }) => {
    const name = `${service}On${camel(channel)}`;
    return kind === 'queue' ? { kind, name, service, queue: channel } : { kind, name, service, stream: channel };
  });
}

function timerRows(): TimerRow[] {
  const own = Object.entries(ownTimers).map(([name, everySeconds]) => ({ kind: 'timer' as const, name: name as OwnTimer, everySeconds }));
  const flow = Object.entries(clocks).map(([name, { everySeconds }]) => ({ kind: 'timer' as const, name: name as ClockName, everySeconds: Math.max(leastSeconds, everySeconds) }));
  return [...flow, ...own];
}

export const functions: readonly FunctionRow[] = [
  ...doorRows(),
  { kind: 'http', name: 'anythingElse', door: undefined, methods: ['GET', 'HEAD', 'PUT', 'POST'], route: '{*path}' },
  ...channelRows(),
  ...timerRows(),
];

/**
 * How long the platform lets a function run. Two thirds of it are more than the watch gives a handler that never ends (core/kernel/watch.ts), so that such a one is parked
 * before the platform kills the process with all that is under way in it.
 */
export const functionSeconds = 600;

/** A schedule of six fields, as Azure's timers have (https://learn.microsoft.com/azure/azure-functions/functions-bindings-timer#ncrontab-expressions). */
export function schedule(everySeconds: number): string {
  if (everySeconds < 60) return `*/${everySeconds} * * * * *`;
  return everySeconds < 3_600 ? `0 */${everySeconds / 60} * * * *` : `0 0 */${everySeconds / 3_600} * * *`;
}

/** Beginnings of the names of settings: `SERVICE_BUS__fullyQualifiedNamespace` makes a connection by identity. */
export const connections = { serviceBus: 'SERVICE_BUS', eventHubs: 'EVENT_HUBS' } as const;
/** How soon a batch that was thrown at is handed out again; without end. */
export const retryEverySeconds = 5;
