import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { PortError } from '../ports/index.ts';
import { release, saveMilliseconds, startAzurite } from './azurite.ts';

/**
 * AZURE ON A LAPTOP: what a shop needs of Azure and has no address of, started beside it on free ports of 127.0.0.1: Service Bus and Event Hubs (the emulator) and e-mail (a
 * stand-in) in a process of their own (aside.ts), Table Storage (Azurite) in another.
 *
 * They end when the shop ends, also after its kill -9, for their standard input is a pipe from it. What they are told they keep in a folder that they have to themselves: a
 * shop that is started again waits until those of the one before have written it.
 */
export interface LaptopOptions {
  /** Where everything is kept; in memory, if not told. */
  readonly dataDir?: string;
  readonly broker: boolean;
  readonly tables: boolean;
  readonly email: boolean;
}

/** Connection strings for the SDKs, of what was asked for. */
export interface Laptop extends Aside {
  readonly tables?: string;
  /** Resolves when all is written. */
  close(): Promise<void>;
}

/** What aside.ts says when it is ready. */
export interface Aside {
  /** Of Service Bus and of Event Hubs. */
  readonly broker?: string;
  readonly email?: string;
}

const aside = fileURLToPath(new URL('aside.ts', import.meta.url));

/** Throws `unavailable` when something cannot be started, with what it has said. */
export async function startLaptop({ dataDir, broker, tables, email }: LaptopOptions): Promise<Laptop> {
  const [azurite, others] = await Promise.allSettled([
    tables ? startAzurite({ dataDir }) : undefined,
    broker || email ? startAside({ broker, email, dataDir }) : undefined,
  ]);
  const close = async (): Promise<void> => {
    await Promise.all([azurite, others].map(async (each) => each.status === 'fulfilled' && each.value?.close()));
  };
  if (azurite.status === 'rejected' || others.status === 'rejected') {
    await close();
    throw azurite.status === 'rejected' ? azurite.reason : (others as PromiseRejectedResult).reason;
  }
  return { ...others.value?.said, tables: azurite.value?.connectionString, close };
}

async function startAside(wanted: { readonly broker: boolean; readonly email: boolean; readonly dataDir: string | undefined }): Promise<{ readonly said: Aside; close(): Promise<void> }> {
  // In a group of its own: Ctrl-C in a terminal is for the shop, which may have something to say yet. With the same loader of TypeScript as ours.
  const child = spawn(process.execPath, [...process.execArgv, aside, JSON.stringify(wanted)], { stdio: ['pipe', 'pipe', 'inherit'], detached: true, windowsHide: true });
  child.stdin.on('error', () => undefined);
  const gone = once(child, 'exit');
  const heard = new Promise<Aside>((resolve) => createInterface({ input: child.stdout }).once('line', (line) => resolve(JSON.parse(line) as Aside)));
  const unheard = gone.then((): never => {
    throw new PortError('unavailable', 'the local servers of Azure cannot be started');
  });
  unheard.catch(() => undefined);
  const said = await Promise.race([heard, unheard]);
  release(child);
  return {
    said,
    async close() {
      child.ref();
      child.stdin.end();
      const timer = setTimeout(() => child.kill('SIGKILL'), saveMilliseconds);
      await gone;
      clearTimeout(timer);
    },
  };
}

export const brokerFolder = (dataDir: string): string => join(dataDir, 'broker');
export const emailFolder = (dataDir: string): string => join(dataDir, 'email');
