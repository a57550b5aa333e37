import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Files } from './bundle.ts';
import type { Payload } from './payload.ts';
import type { Outcome, Registered } from './worker.ts';

/**
 * A package, unpacked and started in a process of its own, as the platform would. On the memory family, unless ADAPTERS says otherwise; with a token for the admin API that
 * the payloads in serverless/payloads/ know. The process is ended by `close`, whatever it still has to do.
 */
export interface App {
  readonly functions: readonly Registered[];
  /** Rejects with one line when there is no such function, when the payload has no right shape, or when it takes longer than `invokeSecondsMax`. */
  invoke(name: string, payload: Payload): Promise<Outcome>;
  /** The files of the package that were loaded when the latest outcome was there. */
  loaded(): readonly string[];
  close(): Promise<void>;
}

export interface AppOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Another Node than the one that runs. */
  readonly node?: string;
}

export const invokeSecondsMax = 30;
/** For this machine alone: on the platform ADMIN_TOKEN is a setting of the app. */
export const local = { ADAPTERS: 'memory', ADMIN_TOKEN: 'for-this-machine-only', EASYPOST_WEBHOOK_SECRET: 'for-this-machine-only', SHOP_URL: 'http://localhost:7071', SAMPLE_CATALOGUE: 'off' };

export async function openApp(files: Files, { env, node = process.execPath }: AppOptions): Promise<App> {
  const folder = await mkdtemp(join(tmpdir(), 'anyport-functions-'));
  const remove = (): Promise<void> => rm(folder, { recursive: true, force: true });
  try {
    await unpack(files, folder);
    return await start(folder, { env, node }, remove);
  } catch (error) {
    await remove();
    throw error;
  }
}

async function unpack(files: Files, folder: string): Promise<void> {
  for (const [path, bytes] of files) {
    await mkdir(join(folder, dirname(path)), { recursive: true });
    await writeFile(join(folder, path), bytes);
  }
}

type Said = { readonly functions: readonly Registered[] } | { readonly broken: string } | { readonly id: number; readonly outcome: Outcome; readonly loaded: readonly string[] } | { readonly id: number; readonly wrong: string };

async function start(folder: string, { env, node }: Required<AppOptions>, remove: () => Promise<void>): Promise<App> {
  const child = fork(fileURLToPath(new URL('child.ts', import.meta.url)), [folder], {
    execPath: node, execArgv: ['--import', import.meta.resolve('tsx/esm')], env: { ...local, ...env }, stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const ended = once(child, 'exit').then(() => ({ broken: 'the process of the functions has ended' }));
  const waiting = new Map<number, (said: Said) => void>();
  const first = new Promise<Said>((resolve) => child.once('message', resolve));
  child.on('message', (said: Said) => 'id' in said && waiting.get(said.id)?.(said));
  async function close(): Promise<void> {
    child.kill('SIGKILL');
    await ended;
    await remove();
  }
  const began = await Promise.race([first, ended]);
  if (!('functions' in began)) {
    await close();
    throw new Error(`the package cannot be started: ${'broken' in began ? began.broken : 'it said something else'}`);
  }

  let ids = 0;
  let loaded: readonly string[] = [];
  async function invoke(name: string, payload: Payload): Promise<Outcome> {
    const id = ++ids;
    const answered = new Promise<Said>((resolve) => waiting.set(id, resolve));
    child.send({ id, name, payload });
    const said = await inTime(Promise.race([answered, ended]), `${name} has not come to its end in ${invokeSecondsMax} s`);
    waiting.delete(id);
    if ('outcome' in said) {
      ({ loaded } = said);
      return said.outcome;
    }
    throw new Error('wrong' in said ? said.wrong : 'broken' in said ? said.broken : 'it said something else');
  }
  return { functions: began.functions, invoke, loaded: () => loaded, close };
}

async function inTime<T>(work: Promise<T>, complaint: string): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(complaint)), invokeSecondsMax * 1_000);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}
