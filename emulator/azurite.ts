import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { PortError } from '../ports/index.ts';

/**
 * AZURITE: Table Storage and Blob Storage on this machine (https://github.com/Azure/Azurite), each in a process of its own, for 127.0.0.1 alone.
 *
 * - It is no dependency of the project: it is fetched when it is first started, into `emulator/azurite/`, by the lock file there.
 * - Its processes end with ours. However we end, they save what they were told and end by themselves; whoever starts on the same folder afterwards waits for that.
 * - Azurite writes to its files every few seconds, and when it is ended well: what it has acknowledged it can lose when it is itself killed, unlike the real service.
 */
export interface AzuriteOptions {
  /** Tables alone, unless told. */
  readonly services?: readonly AzuriteService[];
  /** Where everything is kept; in memory, if not told. */
  readonly dataDir?: string;
  /** Any free ones, if not told. */
  readonly ports?: Partial<Readonly<Record<AzuriteService, number>>>;
  /** Hears the one line that is said when Azurite has to be fetched, and complaints; standard error, if not told. */
  readonly say?: (line: string) => void;
}

export type AzuriteService = 'tables' | 'blobs';

export interface Azurite {
  /** For the SDKs of all services that were asked for. The account and its key are those that Azurite's documentation publishes. */
  readonly connectionString: string;
  readonly ports: Readonly<Partial<Record<AzuriteService, number>>>;
  /** Resolves when one of them has ended without having been told to. */
  readonly ended: Promise<string>;
  /** Resolves when all is saved. */
  close(): Promise<void>;
}

const account = 'devstoreaccount1';
const accountKey = 'Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==';
const keeper = fileURLToPath(new URL('azurite/keep.mjs', import.meta.url));
export const saveMilliseconds = 60_000;

/** Throws `unavailable` when it cannot be fetched or started, with what it has said. */
export async function startAzurite({ services = ['tables'], dataDir, ports = {}, say = (line) => void process.stderr.write(`${line}\n`) }: AzuriteOptions = {}): Promise<Azurite> {
  const servers = services.map((service) => start(service, ports[service] ?? 0, dataDir === undefined ? undefined : join(dataDir, `azurite-${service}`), say));
  const close = async (): Promise<void> => void (await Promise.all(servers.map((server) => server.close())));
  const listening = await Promise.all(servers.map(({ port }) => port)).catch(async (error: unknown) => {
    await close();
    throw error;
  });
  const known = Object.fromEntries(services.map((service, n) => [service, listening[n]!]));
  const endpoints = Object.entries(known).map(([service, port]) => `${service === 'tables' ? 'Table' : 'Blob'}Endpoint=http://127.0.0.1:${port}/${account}`);
  return {
    connectionString: ['DefaultEndpointsProtocol=http', `AccountName=${account}`, `AccountKey=${accountKey}`, ...endpoints].join(';'),
    ports: known,
    ended: Promise.race(servers.map(({ ended }) => ended)),
    close,
  };
}

interface Server {
  readonly port: Promise<number>;
  readonly ended: Promise<string>;
  close(): Promise<void>;
}

function start(service: AzuriteService, port: number, folder: string | undefined, say: (line: string) => void): Server {
  // In a group of its own: Ctrl-C in a terminal is for us, and we may have something to write yet.
  const child = spawn(process.execPath, [keeper, service, String(port), ...(folder === undefined ? [] : [folder])], {
    stdio: ['pipe', 'pipe', 'pipe'], detached: true, windowsHide: true, env: { ...process.env, AZURITE_ACCOUNTS: `${account}:${accountKey}`, NODE_OPTIONS: '' },
  });
  let closing = false;
  let last = '';
  child.stdin.on('error', () => undefined);
  createInterface({ input: child.stderr }).on('line', (line) => {
    if (line.trim() !== '') last = line.trim();
    say(line);
  });
  const gone = once(child, 'close').then(() => `Azurite (${service}) has ended${last === '' ? '' : `: ${last}`}`, (cause: unknown) => `Azurite (${service}) cannot be started: ${String(cause)}`);
  const heard = new Promise<number>((resolve) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      const said = /^port (\d+)$/.exec(line)?.[1];
      if (said !== undefined) resolve(Number(said));
    });
  });
  const unheard = gone.then((why): never => {
    throw new PortError('unavailable', why);
  });
  unheard.catch(() => undefined);
  return {
    port: Promise.race([heard, unheard]).finally(() => release(child)),
    ended: new Promise((resolve) => void gone.then((why) => closing || resolve(why))),
    async close() {
      closing = true;
      child.ref();
      child.stdin.end();
      const timer = setTimeout(() => child.kill('SIGKILL'), saveMilliseconds);
      await gone;
      clearTimeout(timer);
    },
  };
}

/** So that it does not keep us alive. */
export function release(child: ChildProcess): void {
  child.unref();
  for (const stream of [child.stdin, child.stdout, child.stderr]) if (stream && 'unref' in stream && typeof stream.unref === 'function') stream.unref();
}
