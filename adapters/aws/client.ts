import { NodeHttpHandler } from '@smithy/node-http-handler';
import { Invalid, PortError } from '../../ports/index.ts';

/**
 * CLIENTS: how a service of AWS is reached, the same for all of them.
 *
 * In the cloud by its region, with the credentials that AWS gives to the program. A server on this machine is reached by its address, with credentials that open nothing: whoever
 * hands over another address than one of this machine is refused, since nothing of ours goes to a server that nobody has asked for.
 */
export type Place =
  | { readonly region: string; readonly credentials?: Credentials }
  /** `http://127.0.0.1:PORT` */
  | { readonly endpoint: string };

export interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

/** The region that servers on this machine are told; it means nothing there. */
export const localRegion = 'us-east-1';

export const isLocal = (place: Place): place is { readonly endpoint: string } => 'endpoint' in place;

/** Throws `Invalid` for a place that cannot be. */
export function checkedPlace(place: Place): Place {
  if (isLocal(place)) {
    if (!/^http:\/\/(localhost|127(\.\d{1,3}){3}|\[::1\]):\d{1,5}\/?$/.test(place.endpoint)) throw new Invalid('an endpoint is http://127.0.0.1:PORT, a server on this machine');
  } else if (!/^[a-z]{2}(-[a-z]{1,12}){1,3}-\d{1,2}$/.test(place.region)) throw new Invalid('a region has a name like eu-central-1');
  return place;
}

/** The SDK would write to the console that requests wait for sockets. They may: each has its own time, and says so when that is over. */
const nothing = (): void => {};
const silent = { trace: nothing, debug: nothing, info: nothing, warn: nothing, error: nothing };

/**
 * The configuration of a client of the SDK. It tries nothing a second time: after a lost answer it could not know whether it repeats; whoever called does know what a
 * repetition means. HTTP/1.1 also for Kinesis, whose client would speak HTTP/2, which local servers do not.
 */
export function configOf(place: Place, { patienceSeconds = 15, sockets = 64 }: { readonly patienceSeconds?: number; readonly sockets?: number } = {}) {
  const requestHandler = new NodeHttpHandler({
    logger: silent, connectionTimeout: Math.min(patienceSeconds, 5) * 1_000, httpAgent: { maxSockets: sockets, keepAlive: true }, httpsAgent: { maxSockets: sockets, keepAlive: true },
  });
  const common = { requestHandler, maxAttempts: 1 };
  if (isLocal(place)) return { ...common, region: localRegion, endpoint: place.endpoint, credentials: { accessKeyId: 'local', secretAccessKey: 'local' } };
  return { ...common, region: place.region, ...(place.credentials ? { credentials: place.credentials } : {}) };
}

/**
 * Takes out of a client what would try again: with one attempt it has nothing to do, and costs a tenth of a call. Its place stays, since others are told to stand beside it.
 */
export function onlyOnce<Client extends { readonly middlewareStack: { add(step: <Next>(next: Next) => Next, options: typeof retries): void } }>(client: Client): Client {
  client.middlewareStack.add((next) => next, retries);
  return client;
}
const retries = { name: 'retryMiddleware', step: 'finalizeRequest', priority: 'high', override: true } as const;

/**
 * One request, in real time since sockets live in it: it is broken off when so many seconds are over, or when the signal says so, and is `unavailable` then.
 */
export async function answered<Answer>(what: string, seconds: number, work: (options: { readonly abortSignal: AbortSignal }) => Promise<Answer>, signal?: AbortSignal): Promise<Answer> {
  const over = new AbortController();
  const end = (): void => over.abort();
  const timer = setTimeout(end, seconds * 1_000);
  signal?.addEventListener('abort', end);
  try {
    if (signal?.aborted) throw new PortError('unavailable', `${what}: closed`);
    return await work({ abortSignal: over.signal });
  } catch (error) {
    throw over.signal.aborted ? new PortError('unavailable', `${what}: ${signal?.aborted ? 'closed' : `no answer within ${seconds} s`}`, { cause: error }) : error;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', end);
  }
}
