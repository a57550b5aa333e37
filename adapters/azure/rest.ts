import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import type { TokenCredential } from '@azure/core-auth';
import { Invalid, PortError } from '../../ports/index.ts';
import { identity } from './identity.ts';

/** What the SDKs for REST have in common: where the service is, who we are to it, the lines to it, and an end for every call. */
export interface Reach {
  /** `https://<account>.table.core.windows.net`, with the identity of the program unless another credential is handed in; or a connection string, for a server on this machine alone. */
  readonly endpoint?: string;
  readonly credential?: TokenCredential;
  readonly connectionString?: string;
}

export type Reached =
  | { readonly kind: 'local'; readonly connectionString: string; readonly address: string }
  | { readonly kind: 'remote'; readonly endpoint: string; readonly credential: TokenCredential; readonly address: string };

/**
 * Throws `Invalid` for what cannot be. `part` is the connection string's name for the address. A connection string has a key in it that opens everything for good, and no key
 * goes where others listen: so it is refused for any other machine. The text never says what was given.
 */
export async function reached({ endpoint, credential, connectionString }: Reach, part: string): Promise<Reached> {
  if ((endpoint === undefined) === (connectionString === undefined)) throw new Invalid('a service of Azure is reached by its endpoint or by a connection string, and not by both');
  if (connectionString !== undefined) {
    const address = new RegExp(`(?:^|;)\\s*${part}=([^;]+)`, 'i').exec(connectionString)?.[1];
    if (address === undefined || !URL.canParse(address) || !isLocal(address)) {
      throw new Invalid('a connection string is for a server on this machine; a service in the cloud is reached by its https:// endpoint, with an identity and without a key');
    }
    return { kind: 'local', connectionString, address };
  }
  if (!URL.canParse(endpoint!) || new URL(endpoint!).protocol !== 'https:') throw new Invalid('an endpoint begins with https://');
  return { kind: 'remote', endpoint: endpoint!, credential: credential ?? (await identity()), address: endpoint! };
}

const isLocal = (address: string): boolean => /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(new URL(address).hostname);

export function agentFor(address: string, connections: number): HttpAgent | HttpsAgent {
  const options = { keepAlive: true, maxSockets: connections };
  return address.startsWith('https:') ? new HttpsAgent(options) : new HttpAgent(options);
}

/** The work's end, or `unavailable` when its time is over or `closing` is aborted; nobody waits for what does not heed the signal. In real time, since sockets live in it. */
export async function within<Answer>(milliseconds: number, closing: AbortSignal, work: (signal: AbortSignal) => Promise<Answer>): Promise<Answer> {
  const ending = new AbortController();
  let end = (_why: string): void => {};
  const late = new Promise<never>((_, reject) => {
    end = (why) => {
      reject(new PortError('unavailable', why));
      ending.abort();
    };
  });
  const timer = setTimeout(() => end(`no answer within ${milliseconds} ms`), milliseconds);
  const closed = (): void => end('closed');
  closing.addEventListener('abort', closed);
  if (closing.aborted) closed();
  try {
    return await Promise.race([work(ending.signal), late]);
  } finally {
    clearTimeout(timer);
    closing.removeEventListener('abort', closed);
  }
}
