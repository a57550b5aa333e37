import { build, transform, type Metafile, type Plugin } from 'esbuild';
import { zipSync, type Zippable } from 'fflate';
import { readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { hostJson } from './host.ts';

/**
 * THE PACKAGE: everything that the platform unpacks, made of the sources alone, so that the same sources give the same bytes.
 *
 * - It is CommonJS, under a `package.json` that says so: as a module in a folder without one, the worker finds no function at all and reports success.
 * - What a function needs only when it runs (the shop, each cloud's SDK) lies in files of its own, which are read when they are first needed: `dist/main.js` only registers.
 * - `@azure/functions-core` is the worker's own. A driver with machine code for this machine has no place on another one.
 */
const root = fileURLToPath(new URL('..', import.meta.url));
export const entry = 'dist/main.js';
const external = ['@azure/functions-core', '@photostructure/sqlite', 'node:sqlite'];
/** What is read from beside the code at run time. */
const beside = ['bench/samples/products.json'];

/** Path in the package → bytes, in the order of the paths. */
export type Files = ReadonlyMap<string, Uint8Array>;

let made: Promise<Files> | undefined;

/** Once a process: the sources are not expected to change under it. */
export function bundle(): Promise<Files> {
  return (made ??= make());
}

/** Path of a file of code → the paths of the sources of which something is in it. */
export async function sources(): Promise<ReadonlyMap<string, readonly string[]>> {
  const { outputs } = await built();
  return new Map(Object.entries(outputs).map(([path, { inputs }]) => [path, Object.keys(inputs).filter((source) => inputs[source]!.bytesInOutput > 0)]));
}

async function make(): Promise<Files> {
  const files = new Map(await codeOf(await built()));
  for (const path of beside) files.set(path, await readFile(join(root, path)));
  files.set('host.json', json(hostJson));
  return new Map([...files].sort(([one], [other]) => (one < other ? -1 : 1)));
}

/** Another program, packed in the same way. */
export const packed = async (from: string): Promise<Files> => codeOf(await chunks(from));

async function codeOf({ code }: Built): Promise<Files> {
  const files = new Map<string, Uint8Array>(code.map(([name, text]) => [`dist/${name}`, Buffer.from(text)]));
  return files.set('package.json', json({ name: 'anyport', version: await version(), type: 'commonjs', main: entry }));
}

interface Built {
  readonly code: readonly (readonly [name: string, code: string])[];
  readonly outputs: Metafile['outputs'];
}
let building: Promise<Built> | undefined;
const built = (): Promise<Built> => (building ??= chunks('handlers/azure.ts'));

/** What Lambda unpacks: `index.js` has each function under its name. */
export async function lambdaBundle(): Promise<Files> {
  const files = new Map(await codeOf(await chunks('handlers/aws.ts')));
  for (const path of beside) files.set(path, await readFile(join(root, path)));
  files.set('index.js', Buffer.from(`module.exports = require('./${entry}').lambdas;\n`));
  return new Map([...files].sort(([one], [other]) => (one < other ? -1 : 1)));
}

/** esbuild splits modules only; so each piece is turned to CommonJS afterwards, by itself. */
async function chunks(from: string): Promise<Built> {
  const { outputFiles, metafile } = await build({
    absWorkingDir: root, entryPoints: { main: from }, outdir: 'dist', write: false, splitting: true, chunkNames: '[hash]', metafile: true,
    bundle: true, platform: 'node', target: 'node20', format: 'esm', minify: true, mainFields: ['module', 'main'], legalComments: 'none', external,
    plugins: [oneLanguage, noLaptop, noXml, partsOfZod], logLevel: 'silent',
  });
  const code = await Promise.all(outputFiles.map(async ({ path, text }) => [basename(path), await commonJs(text)] as const));
  return { code, outputs: metafile.outputs };
}

async function commonJs(module: string): Promise<string> {
  const { code } = await transform(module, {
    format: 'cjs', platform: 'node', target: 'node20', minify: true, legalComments: 'none', supported: { 'dynamic-import': false }, define: { 'import.meta.url': 'import_meta_url' },
  });
  return code.includes('import_meta_url') ? `const import_meta_url=require("node:url").pathToFileURL(__filename).href;${code}` : code;
}

/** Our shapes complain in one language; zod would bring fifty. */
const oneLanguage: Plugin = {
  name: 'one-language',
  setup({ onLoad }) {
    onLoad({ filter: /[\\/]zod[\\/]v4[\\/]locales[\\/]index\.js$/ }, () => ({ contents: 'export { default as en } from "./en.js";', loader: 'js' }));
  },
};

/** The servers of a laptop have no place in a function: its own services are far away, and their addresses are set. */
const noLaptop: Plugin = {
  name: 'no-laptop',
  setup({ onLoad }) {
    const refused = (start: string, settings: string) => ({ contents: `export function ${start}() { throw new Error("${settings} must be set: a function starts no servers"); }`, loader: 'js' as const });
    onLoad({ filter: /[\\/]emulator[\\/]laptop\.ts$/ }, () => refused('startLaptop', 'AZURE_SERVICE_BUS, AZURE_EVENT_HUBS, AZURE_TABLES and AZURE_EMAIL'));
    onLoad({ filter: /[\\/]emulator[\\/]aws\.ts$/ }, () => refused('startAws', 'AWS_SQS, AWS_KINESIS, AWS_DYNAMODB and AWS_SES'));
  },
};

/** Tables speak JSON. What takes XML apart, should something in between answer in it, is loaded then; nothing that we send is XML. */
const noXml: Plugin = {
  name: 'no-xml',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^@azure\/core-xml$/ }, ({ importer, namespace }) =>
      (namespace === 'no-xml' || !/[\\/]data-tables[\\/]/.test(importer) ? undefined : { path: importer, namespace: 'no-xml', sideEffects: false }));
    onLoad({ filter: /.*/, namespace: 'no-xml' }, ({ path }) => ({
      contents: 'export const parseXML = async (...given) => (await import("@azure/core-xml")).parseXML(...given);\nexport function stringifyXML() { throw new Error("nothing is said in XML"); }',
      loader: 'js', resolveDir: dirname(path),
    }));
  },
};

/** `import { z }` brings all of zod; by `import *` esbuild sees which parts are used. */
const partsOfZod: Plugin = {
  name: 'parts-of-zod',
  setup({ onLoad }) {
    const own = /[\\/](core|handlers|adapters)[\\/][^.]*\.ts$/;
    onLoad({ filter: own }, async ({ path }) => {
      if (!path.startsWith(root) || path.includes('node_modules')) return undefined;
      const text = await readFile(path, 'utf8');
      return { contents: text.replace(/^import \{ z \} from 'zod';$/m, "import * as z from 'zod';"), loader: 'ts' };
    });
  },
};

/** The zip, with the same time on every file: the bytes depend on the contents alone. */
export function zipped(files: Files): Uint8Array {
  const entries: Zippable = Object.fromEntries(files);
  return zipSync(entries, { level: 9, mtime: new Date(1980, 0, 1) });
}

export const json = (value: unknown): Uint8Array => Buffer.from(`${JSON.stringify(value, undefined, 2)}\n`);

async function version(): Promise<string> {
  return (JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string }).version;
}
