import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { bundle, json, zipped, type Files } from './bundle.ts';
import { Complaint } from './complaint.ts';
import { openApp } from './invoke.ts';
import type { Binding, Outcome, Registered } from './worker.ts';
import { template } from './template.ts';

/**
 * WHAT THE COMMANDS DO; the face towards the command line is serverless/index.mjs.
 *
 * - `sls package`: a zip that the platform takes as it is, and the template of its infrastructure beside it. The same sources give the same bytes; nobody is asked anything
 *   over the network. Before that the package is started, and what it registers is held against serverless.yml: one that registers nothing would look like a success.
 * - `sls invoke local -f NAME [-p FILE | -d DATA]`: one function, through the package. Without data it is given its own payload of serverless/payloads/.
 *
 * Whatever a person can mend is thrown as a `Complaint`, one line; and nothing is written before all of it is there.
 */

/** What of osls is used here (lib/Serverless.js of osls 4). */
export interface Serverless {
  readonly serviceDir: string;
  readonly service: {
    readonly functions: Record<string, FunctionConfig>;
    readonly package: { path?: string };
    readonly provider?: ProviderConfig;
  };
}
/** Where `sls deploy` makes it all, and what of the template's parameters is not as it is by itself. */
export interface ProviderConfig {
  readonly region?: string;
  readonly resourceGroup?: string;
  readonly parameters?: Readonly<Record<string, string | number>>;
}
interface FunctionConfig {
  readonly handler: string;
  readonly events?: readonly Readonly<Record<string, Readonly<Record<string, unknown>>>>[];
}
export type Options = Readonly<Record<string, string | undefined>>;

export { Complaint };

const triggers: Readonly<Record<string, string>> = { http: 'httpTrigger', serviceBus: 'serviceBusTrigger', eventHub: 'eventHubTrigger', timer: 'timerTrigger' };
export const packageName = 'anyport.zip';
export const templateName = 'template.json';

// ---------------------------------------------------------------- package

export async function pack(serverless: Serverless, options: Options): Promise<void> {
  const wanted = wantedOf(serverless);
  const files = await bundle();
  await compare(files, wanted);
  const folder = folderOf(serverless, options);
  const zip = zipped(files);
  await writeAll(folder, { [packageName]: zip, [templateName]: json(template()) });
  console.log(`${join(folder, packageName)}: ${Object.keys(wanted).length} functions, ${Math.round(zip.byteLength / 1024)} KB; ${templateName} beside it`);
}

/** Where the package lies. */
export const folderOf = ({ serviceDir, service }: Serverless, options: Options): string => resolve(serviceDir, options['package'] ?? service.package.path ?? '.serverless');

/** All or, when one cannot be written, none. */
async function writeAll(folder: string, files: Readonly<Record<string, Uint8Array>>): Promise<void> {
  const names = Object.keys(files);
  const fresh = (name: string): string => join(folder, `.${name}.${process.pid}`);
  try {
    await mkdir(folder, { recursive: true });
    for (const name of names) await writeFile(fresh(name), files[name]!);
    for (const name of names) await rename(fresh(name), join(folder, name));
  } catch (error) {
    for (const name of names) await rm(fresh(name), { force: true }).catch(() => undefined);
    throw new Complaint(`${folder} cannot be written: ${(error as Error).message}`);
  }
}

/** Name → trigger, as serverless.yml has it. */
type Wanted = Readonly<Record<string, { readonly type: string; readonly settings: Readonly<Record<string, unknown>> }>>;

function wantedOf({ service }: Serverless): Wanted {
  return Object.fromEntries(Object.entries(service.functions).map(([name, { handler, events = [] }]) => {
    const [event, ...more] = events;
    if (!event) throw new Complaint(`the function ${name} has no event`);
    if (more.length > 0) throw new Complaint(`the function ${name} has ${events.length} events; on this platform a function has one`);
    if (handler !== `handlers/azure.${name}`) throw new Complaint(`the function ${name} has the handler ${handler}; it must be handlers/azure.${name}`);
    const [[kind, found] = ['', {}]] = Object.entries(event);
    return [name, { type: triggers[kind]!, settings: found }];
  }));
}

/** Starts the package as the worker does and holds what it registers against what is wanted. */
async function compare(files: Files, wanted: Wanted): Promise<void> {
  const app = await started(files);
  await app.close();
  const found = new Map(app.functions.map((each) => [each.name, triggerOf(each)]));
  for (const name of found.keys()) if (!wanted[name]) throw new Complaint(`the package registers ${name}, which serverless.yml does not have; npm run generate writes it anew`);
  for (const [name, { type, settings: said }] of Object.entries(wanted)) {
    const trigger = found.get(name);
    if (!trigger) throw new Complaint(`serverless.yml has ${name}, which the package does not register; npm run generate writes it anew`);
    const differs = trigger.type !== type ? 'type' : Object.keys(said).find((key) => !isDeepStrictEqual(trigger[key], said[key]));
    if (differs) throw new Complaint(`${name} has another ${differs} in serverless.yml than in the package; npm run generate writes it anew`);
  }
}

export function triggerOf({ bindings }: Registered): Binding {
  return Object.values(bindings).find(({ type }) => type.endsWith('Trigger'))!;
}

const started = (files: Files, env: NodeJS.ProcessEnv = process.env) =>
  openApp(files, { env }).catch((error: Error) => {
    throw new Complaint(error.message);
  });

// ---------------------------------------------------------------- invoke local

export async function invokeLocal(serverless: Serverless, { function: name = '', path, data }: Options): Promise<void> {
  const wanted = wantedOf(serverless);
  if (!wanted[name]) throw new Complaint(`there is no function ${name} in serverless.yml`);
  if (path !== undefined && data !== undefined) throw new Complaint('give a payload by --path or by --data, not by both');
  const payload = data === undefined ? await payloadIn(path ? resolve(path) : ownPayload(serverless, name)) : parsed(data, '--data');
  // What is in no package, for it is never on the platform: the SQLite of the embedded family.
  const app = await started(await bundle(), { ...process.env, NODE_PATH: join(serverless.serviceDir, 'node_modules') });
  const outcome = await app.invoke(name, payload).catch((error: Error) => {
    throw new Complaint(error.message);
  }).finally(() => app.close());
  tell(name, outcome);
}

const ownPayload = ({ serviceDir }: Serverless, name: string): string => join(serviceDir, 'serverless/payloads', `${name}.json`);

/** Throws a `Complaint`, as `parsed` does. */
export async function payloadIn(file: string): Promise<unknown> {
  const found = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new Complaint(`the payload ${file} cannot be read: ${error.code ?? error.message}`);
  });
  return parsed(found, file);
}

export function parsed(found: string, where: string): unknown {
  try {
    return JSON.parse(found);
  } catch (error) {
    throw new Complaint(`the payload in ${where} is no JSON: ${(error as Error).message}`);
  }
}

function tell(name: string, outcome: Outcome): void {
  if (!outcome.returned) throw new Complaint(`${name} has thrown ${outcome.error}`);
  console.log(outcome.response ? JSON.stringify(outcome.response, undefined, 2) : `${name} has returned`);
  if ((outcome.response?.status ?? 0) >= 500) throw new Complaint(`${name} has answered ${outcome.response!.status}`);
}
