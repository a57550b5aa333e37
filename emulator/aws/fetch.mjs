import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { exists, fetchOnce, isInstalled, npm } from '../fetch.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
const cache = join(here, '.cache');

/** The packages of the servers that are written in JavaScript. */
export function fetchPackages(leaving) {
  return fetchOnce({
    folder: join(cache, 'packages'), target: join(here, 'node_modules'), title: 'the local servers of SQS, Kinesis and SES (npm ci)', isHere: () => isInstalled(here), leaving,
    async bring(stage) {
      for (const file of ['package.json', 'package-lock.json']) copyFileSync(join(here, file), join(stage, file));
      await npm(stage, 'ci', '--omit=dev', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error');
      await buildLevel(stage);
      return join(stage, 'node_modules');
    },
  });
}

/** What Kinesis keeps its streams with brings a library for most kinds of machine; for others it is built. Without it Kinesis can do all but keep something in a folder. */
async function buildLevel(stage) {
  const loads = () => spawnSync(process.execPath, ['-e', 'require("leveldown")'], { cwd: stage, stdio: 'ignore' }).status === 0;
  if (!exists(join(stage, 'node_modules', 'leveldown')) || loads()) return;
  await npm(stage, 'rebuild', 'leveldown', '--foreground-scripts', '--loglevel=error').catch((error) => process.stderr.write(`${error.message}: the local Kinesis cannot keep anything\n`));
}

/** AWS's own DynamoDB Local, 1.25.1, in a package that carries it along with much else. Its licence, the DynamoDB Local License Agreement, lies beside it. */
const carrier = {
  name: 'amplify-dynamodb-simulator@2.9.30',
  integrity: 'sha512-xTeeRLvzEfqyd5lh3bH4c0kHvSHHmmhD5ZDsHFKAQ5g2Zl6JqlFdutaQhCLHzxEp6Ry1o7TB6niIoXuQAnSewQ==',
};
const libraries = 'DynamoDBLocal_lib';
/** Libraries of SQLite, one for each kind of machine. */
const native = { linux: ['amd64', 'i386', 'aarch64'].map((kind) => `libsqlite4java-linux-${kind}.so`), darwin: ['', '-x86_64', '-aarch64'].map((kind) => `libsqlite4java-osx${kind}.dylib`), win32: ['x64', 'x86'].map((kind) => `sqlite4java-win32-${kind}.dll`) };

export const dynamodb = { folder: join(cache, 'dynamodb'), jar: 'DynamoDBLocal.jar', libraries };

export function fetchDynamodb(leaving) {
  const stamp = join(dynamodb.folder, 'fetched.json');
  const mark = JSON.stringify({ ...carrier, platform: process.platform });
  return fetchOnce({
    folder: join(cache, 'fetching'), target: dynamodb.folder, title: 'DynamoDB Local, the local server of the table (57 MB)', leaving,
    isHere: () => exists(stamp) && readFileSync(stamp, 'utf8') === mark && exists(join(dynamodb.folder, dynamodb.jar)),
    async bring(stage) {
      const [{ filename }] = JSON.parse(await npm(stage, 'pack', carrier.name, '--json', '--loglevel=error'));
      const packed = readFileSync(join(stage, filename));
      const integrity = `sha512-${createHash('sha512').update(packed).digest('base64')}`;
      if (integrity !== carrier.integrity) throw new Error(`${carrier.name} is not the one that we know`);
      const whole = join(stage, 'dynamodb');
      for (const [name, bytes] of filesOf(gunzipSync(packed))) {
        const path = /^package\/emulator\/(.+)$/.exec(name)?.[1];
        if (path === undefined || !isNeeded(path)) continue;
        mkdirSync(dirname(join(whole, path)), { recursive: true });
        writeFileSync(join(whole, path), bytes);
      }
      writeFileSync(join(whole, 'fetched.json'), mark);
      return whole;
    },
  });
}

/** Without libraries for other machines. */
function isNeeded(path) {
  if (/(^|\/)(LICENSE|THIRD-PARTY-LICENSES)\.txt$/.test(path) || path === dynamodb.jar) return true;
  const name = path.startsWith(`${libraries}/`) ? path.slice(libraries.length + 1) : undefined;
  return name !== undefined && (name.endsWith('.jar') || (native[process.platform] ?? []).includes(name));
}

/** The files of a tar archive whose names are short. */
function* filesOf(tar) {
  const text = (from, to) => tar.toString('utf8', from, to).replace(/\0.*$/s, '');
  for (let at = 0; at + 512 <= tar.length && tar[at] !== 0;) {
    const size = Number.parseInt(text(at + 124, at + 136), 8);
    const isFile = tar[at + 156] === 0x30 || tar[at + 156] === 0;
    if (isFile) yield [[text(at + 345, at + 500), text(at, at + 100)].filter(Boolean).join('/'), tar.subarray(at + 512, at + 512 + size)];
    at += 512 + Math.ceil(size / 512) * 512;
  }
}

export const noJava = 'DynamoDB on this machine needs Java, and there is none: install one (apt-get install default-jre-headless, or brew install openjdk), or set AWS_DYNAMODB to a region.';

/** That of JAVA_HOME, or the first on the PATH. */
export function javaPath() {
  const name = process.platform === 'win32' ? 'java.exe' : 'java';
  const { JAVA_HOME, PATH = '' } = process.env;
  return [...(JAVA_HOME ? [join(JAVA_HOME, 'bin')] : []), ...PATH.split(delimiter).filter(Boolean)].map((folder) => join(folder, name)).find(exists);
}
