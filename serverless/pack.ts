import { mkdtempSync, rmSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { local } from './aws/runtime.ts';
import { lambdaBundle, zipped, type Files } from './bundle.ts';
import { parsed, payloadIn } from './commands.ts';
import { Complaint } from './complaint.ts';
import { handlerOf, rows } from './lambda.ts';

/**
 * LAMBDA'S PACKAGE, for osls: the zip that it uploads for every function, and the same files unpacked for `invoke local`. The command line's face is aws.mjs.
 *
 * Whatever a person can mend is thrown as a `Complaint`, one line; and nothing is written before all of it is there.
 */
export interface Serverless {
  readonly serviceDir: string;
  readonly service: {
    readonly functions: Record<string, FunctionConfig>;
    readonly provider: { environment?: Record<string, unknown> };
    package: { artifact?: string; path?: string };
  };
}
interface FunctionConfig {
  handler: string;
  readonly events?: readonly unknown[];
}
export type Options = Record<string, string | undefined>;

export async function packLambda({ serviceDir, service }: Serverless): Promise<void> {
  compare(service.functions);
  const zip = zipped(await lambdaBundle());
  const artifact = join('.serverless', 'anyport.zip');
  await mkdir(join(serviceDir, '.serverless'), { recursive: true });
  await writeFile(join(serviceDir, artifact), zip);
  service.package.artifact = artifact;
  console.log(`${Object.keys(service.functions).length} functions, ${Math.round(zip.byteLength / 1_024)} KB`);
}

/** What is called must be there, under the name by which it is called; and whatever the flow has must be called. */
function compare(functions: Serverless['service']['functions']): void {
  for (const [name, { handler, events = [] }] of Object.entries(functions)) {
    if (events.length === 0) throw new Complaint(`the function ${name} has no event`);
    if (!rows.some((row) => row.name === name)) throw new Complaint(`serverless.aws.yml has ${name}, which the package does not have; npm run generate writes it anew`);
    if (handler !== handlerOf(name)) throw new Complaint(`the function ${name} has the handler ${handler}; it must be ${handlerOf(name)}`);
  }
  for (const { name } of rows) if (!functions[name]) throw new Complaint(`the package has ${name}, which serverless.aws.yml does not have; npm run generate writes it anew`);
}

const wanted: readonly (readonly [name: string, pattern: RegExp, what: string])[] = [
  ['ADMIN_TOKEN', /^.{16,}$/, '16 characters or more: it opens the admin API of the shop'],
  ['DEMO_CARRIER_SECRET', /^.{16,}$/, '16 characters or more: it signs the notices of the demo carrier'],
  ['AWS_EMAIL_FROM', /^[^\s@<>,;]+@[^\s@<>,;]+$/, 'the address that letters come from'],
];

/** What becomes a parameter of the stack must be there before anything is asked of the cloud, which would say it last, and less clearly. */
export async function checkDeploy(_: unknown, __: unknown, env: Readonly<Record<string, string | undefined>> = process.env): Promise<void> {
  const missing = wanted.filter(([name, pattern]) => !pattern.test(env[name] ?? ''));
  if (missing.length > 0) throw new Complaint(`to deploy, set ${missing.map(([name, , what]) => `${name} (${what})`).join(' and ')}`);
}

/** Unpacks the package, points the functions at it, and lets the shop be on this machine: in memory, unless ADAPTERS says otherwise. */
export async function prepareLocal({ serviceDir, service }: Serverless, options: Options): Promise<void> {
  const name = options['function'] ?? '';
  if (!service.functions[name]) throw new Complaint(`there is no function ${name} in serverless.aws.yml`);
  if (options['path'] !== undefined && options['data'] !== undefined) throw new Complaint('give a payload by --path or by --data, not by both');
  compare(service.functions);
  // osls would take what is no JSON for a text.
  if (options['data'] !== undefined) parsed(options['data'], '--data');
  else await payloadIn((options['path'] = resolve(options['path'] ?? join(serviceDir, 'serverless', 'payloads', 'aws', `${name}.json`))));
  const folder = await unpacked(await lambdaBundle(), join(serviceDir, '.serverless'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  for (const each of Object.values(service.functions)) each.handler = `${relative(serviceDir, folder)}/${each.handler}`;
  // References to what is only there in the cloud; and osls would look there for what they stand for.
  service.provider.environment = { ...local, ADAPTERS: process.env['ADAPTERS'] ?? local.ADAPTERS };
}

async function unpacked(files: Files, below: string): Promise<string> {
  await mkdir(below, { recursive: true });
  const folder = mkdtempSync(join(below, 'local-'));
  for (const [path, bytes] of files) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), bytes);
  }
  return folder;
}
