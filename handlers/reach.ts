import { existsSync } from 'node:fs';
import { doors, type Door, type DoorName } from '../core/flow.ts';
import { PortError } from '../ports/index.ts';
import { findAddress, type Address } from './address.ts';
import type { Shop } from './container.ts';
import { WrongSetting, awsFolder, azureFolder, isAlone, parseSettings, type ShopSettings } from './settings.ts';

/**
 * REACHING THE DESK: the doors of a shop, wherever it is. A shop that runs is asked over HTTP; where none runs its store is opened in this process, and the same doors
 * are gone through here. The folder's lock sees to it that it is never both.
 */
export interface Desk {
  ask(name: DoorName, asked?: Asked): Promise<Answered>;
  /** Whether a shop runs that goes on with what is asked of it; known after the first answer. */
  runs(): boolean;
  close(): Promise<void>;
}

export interface Asked {
  readonly params?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, string | undefined>>;
  readonly body?: unknown;
}

export interface Answered {
  readonly status: number;
  readonly text: string;
}

/** Nobody answers. The message is one line for a person. */
export class Unreachable extends Error {
  override readonly name = 'Unreachable';
}

const secondsMax = 120;

/** `url` counts more than `ANYPORT_URL`, and both more than what a running shop has left in DATA_DIR. Throws `WrongSetting`; `Unreachable`, also from `ask`. */
export async function openDesk(env: Readonly<Record<string, string | undefined>>, url: string | undefined): Promise<Desk> {
  const settings = parseSettings(env);
  const left = await findAddress(settings.dataDir);
  const named = url ?? (env['ANYPORT_URL']?.trim() || undefined);
  if (named === undefined) return nearest(settings, left);
  if (!URL.canParse(named) || !/^https?:$/.test(new URL(named).protocol)) throw new WrongSetting('the URL of a shop begins with http:// or https://');
  const at = named.replace(/\/+$/, '');
  const token = settings.adminToken ?? (left?.url === at ? left.token : undefined);
  if (token === undefined) throw new WrongSetting('ADMIN_TOKEN is not set; it is the token with which the shop was started, or which it printed at start');
  return overHttp({ url: at, token });
}

/** The shop that has left its address; when nobody answers there, or somebody who does not know the token, it is a remnant, and the store itself is opened. */
function nearest(settings: ShopSettings, left: Address | undefined): Desk {
  let desk = left && overHttp(left);
  let answered = false;
  const direct = async (): Promise<Desk> => (desk = await inProcess(settings));
  return {
    async ask(name, asked) {
      if (!desk) return (await direct()).ask(name, asked);
      if (answered) return desk.ask(name, asked);
      const first = await desk.ask(name, asked).catch((error: unknown) => {
        if (error instanceof Unreachable) return undefined;
        throw error;
      });
      answered = true;
      return first && first.status !== 401 ? first : (await direct()).ask(name, asked);
    },
    runs: () => desk?.runs() ?? false,
    close: async () => desk?.close(),
  };
}

function pathOf(door: Door, { params = {}, query = {} }: Asked): { path: string; search: string } {
  const path = door.path.replaceAll(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(params[name] ?? ''));
  const given = Object.entries(query).filter((pair): pair is [string, string] => pair[1] !== undefined);
  return { path, search: new URLSearchParams(given).toString() };
}

function overHttp({ url, token }: Address): Desk {
  return {
    async ask(name, asked = {}) {
      const { method } = doors[name];
      const { path, search } = pathOf(doors[name], asked);
      const body = asked.body === undefined ? {} : { body: JSON.stringify(asked.body) };
      const headers = { authorization: `Bearer ${token}`, accept: 'application/json', ...(asked.body === undefined ? {} : { 'content-type': 'application/json' }) };
      try {
        const response = await fetch(`${url}${path}${search === '' ? '' : `?${search}`}`, { method, headers, ...body, redirect: 'manual', signal: AbortSignal.timeout(secondsMax * 1_000) });
        return { status: response.status, text: await response.text() };
      } catch (error) {
        throw new Unreachable(`no shop answers at ${url}: ${whyOf(error)}`);
      }
    },
    runs: () => true,
    close: () => Promise.resolve(),
  };
}

/** What fetch says is "fetch failed"; the reason is in its cause. */
function whyOf(error: unknown): string {
  const { name, message, cause } = error as Error & { cause?: NodeJS.ErrnoException };
  return name === 'TimeoutError' ? `nothing within ${secondsMax} s` : (cause?.code ?? cause?.message ?? message);
}

async function inProcess(settings: ShopSettings): Promise<Desk> {
  const shop = await openAlone(settings);
  const { handlers } = await import('./index.ts');
  const adminToken = shop.kernel.ids.random();
  const context = { kernel: shop.kernel, adminToken, rateLimit: false };
  return {
    async ask(name, asked = {}) {
      const door: Door = doors[name];
      const { path, search } = pathOf(door, asked);
      const body = asked.body === undefined ? new Uint8Array() : new TextEncoder().encode(JSON.stringify(asked.body));
      const headers = { authorization: `Bearer ${adminToken}`, 'content-type': 'application/json' };
      const answer = await handlers[name]({ method: door.method, path, params: asked.params ?? {}, query: new URLSearchParams(search), headers, body }, context);
      return { status: answer.status, text: typeof answer.body === 'string' ? answer.body : new TextDecoder().decode(answer.body) };
    },
    runs: () => false,
    close: () => shop.close(),
  };
}

/** A store in a cloud is there; those on this machine are, when their files are. */
async function hasData(settings: ShopSettings): Promise<boolean> {
  const { databaseFile } = await import('../adapters/embedded/database.ts');
  if (settings.adapters.store === 'embedded') return existsSync(databaseFile(settings.dataDir));
  return !isAlone(settings) || existsSync((settings.adapters.store === 'aws' ? awsFolder : azureFolder)(settings.dataDir));
}

/** Never makes a store, and never one that would forget what it is told. */
async function openAlone(settings: ShopSettings): Promise<Shop> {
  const { adapters, dataDir } = settings;
  if (Object.values(adapters).includes('memory')) throw new Unreachable('no shop is running that could be asked, and ADAPTERS has data in its memory alone; start it, or name another with --url');
  if (!(await hasData(settings))) throw new Unreachable(`no shop is running that could be asked, and DATA_DIR ${dataDir} has none either; name one with --url`);
  const { openShop } = await import('./container.ts');
  try {
    return await openShop(settings, { post: () => Promise.reject(new PortError('throttled', 'no web server is up')) });
  } catch (error) {
    if (error instanceof PortError) throw new Unreachable(`no shop answers, and its store cannot be opened: ${error.message.replace(/^\w+: /, '')}`);
    throw error;
  }
}
