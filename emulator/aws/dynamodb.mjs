import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { dynamodb, javaPath } from './fetch.mjs';

const assembly = fileURLToPath(new URL('dynamodb.xml', import.meta.url));
const patienceMilliseconds = 30_000;

/** DynamoDB Local, in Java; it ends when its standard input does, so also with us. */
export async function startDynamodb(folder) {
  if (folder) mkdirSync(folder, { recursive: true });
  const libraries = join(dynamodb.folder, dynamodb.libraries);
  const child = spawn(javaPath(), [
    // It is started more often than it is asked much: a small heap, and no compiler that begins to pay after minutes.
    '-Xmx512m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-Dorg.eclipse.jetty.LEVEL=WARN', '-Dorg.eclipse.jetty.util.log.announce=false', `-Djava.library.path=${libraries}`,
    '-cp', [join(dynamodb.folder, dynamodb.jar), join(libraries, '*')].join(delimiter), 'org.eclipse.jetty.xml.XmlConfiguration', ...(folder ? [`folder=${folder}`] : ['memory=true']), assembly,
  ], { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, DDB_LOCAL_TELEMETRY: '0' }, windowsHide: true });
  const said = [];
  child.stdin.on('error', () => {});
  createInterface({ input: child.stderr }).on('line', (line) => said.length < 20 && said.push(line.trim()));
  const gone = once(child, 'close').then(() => `DynamoDB Local has ended: ${said.find((line) => /Exception|Error|Unable|Could not/.test(line)) ?? said[0] ?? 'it says nothing'}`, (cause) => `Java cannot be started: ${cause.message}`);
  const heard = new Promise((resolve) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      const port = /^http:\/\/127\.0\.0\.1:(\d+)\/$/.exec(line)?.[1];
      if (port !== undefined) resolve(`http://127.0.0.1:${port}`);
    });
  });
  const endpoint = await Promise.race([heard, gone.then((why) => Promise.reject(new Error(why)))]);
  return {
    endpoint,
    ended: gone,
    async close() {
      child.stdin.end();
      const timer = setTimeout(() => child.kill('SIGKILL'), patienceMilliseconds);
      await gone;
      clearTimeout(timer);
    },
  };
}
