// Everything that has to hold, in one command: types, lint, and all tests, or the test files that are named. Ends with a line `N passed, N failed`.
// The files are shared out among as many processes as there are cores; what a file prints is shown when it is done.
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';

const named = process.argv.slice(2);
const color = Boolean(process.stdout.isTTY);
const mark = randomUUID(); // no test can print the line with which a file ends
/** Those that take long begin first, so that no core idles at the end. */
const long = [
  'test/simulation/crash.test.ts', 'test/conformance/index.test.ts', 'test/conformance/mutants.test.ts', 'test/simulation/simulate.test.ts',
  'test/commands.test.ts', 'test/storefront.test.ts', 'test/matrix.test.ts', 'test/tutorial.test.ts', 'test/console.test.ts', 'test/hosts.test.ts', 'test/serverless/lambda.test.ts',
  'test/conformance/azure.test.ts', 'test/conformance/aws.test.ts', 'test/emulator/aws.test.ts', 'test/serverless/aws.test.ts', 'test/serverless/deploy.test.ts', 'test/faces.test.ts', 'test/kill.test.ts',
];

let passed = 0;
let failed = 0;
const jobs = [
  check('types', 'node_modules/typescript/bin/tsc', '--noEmit'),
  check('lint', 'node_modules/oxlint/bin/oxlint', '--type-aware', '--deny-warnings'),
];
const files = named.length > 0 ? named : testFiles();
for (let i = Math.min(named.length > 0 ? 1 : availableParallelism(), files.length); i > 0; i--) jobs.push(lane());
await Promise.all(jobs);
console.log(`\n${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

function testFiles() {
  const all = readdirSync('test', { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.test.ts')).map((name) => join('test', name)).sort();
  return [...long.filter((file) => all.includes(file)), ...all.filter((file) => !long.includes(file))];
}

async function check(name, ...args) {
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, FORCE_COLOR: color ? '1' : '0' } });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (chunk) => (text += chunk));
  const [status] = await once(child, 'close');
  count(status === 0 ? { passed: 1, failed: 0 } : { passed: 0, failed: 1 });
  console.log(`${text.trim()}\n${status === 0 ? 'passed' : 'FAILED'}: ${name}`.trim());
}

/** One process after the other, as long as there are files; a file that ends its process has failed. */
async function lane() {
  while (files.length > 0) {
    // `tsx/esm` and not `tsx`, under which mocha requires the tests: then what is imported later, as a family is, stands there twice, and its errors are not ours.
    const env = { ...process.env, AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true' }; // what it says on Node 20 is known here
    const child = spawn(process.execPath, ['--import', 'tsx/esm', 'scripts/lane.mjs'], { stdio: ['ignore', 'pipe', 'inherit', 'ipc'], env });
    const ended = once(child, 'close').then(() => undefined);
    let text = '';
    let done = () => {};
    child.stdout.setEncoding('utf8').on('data', (chunk) => {
      text += chunk;
      if (text.includes(mark) && text.endsWith('\n')) done(JSON.parse(text.slice(text.indexOf(mark) + mark.length)));
    });
    for (let alive = true; alive && files.length > 0; ) {
      const file = files.shift();
      text = '';
      const counted = new Promise((resolve) => (done = resolve));
      child.send({ file, mark, color, ...(named.length > 0 ? { timeout: 60_000 } : {}) });
      const counts = await Promise.race([counted, ended]);
      console.log(`\n${file}\n${text.split(mark)[0].trimEnd()}`);
      alive = counts !== undefined;
      if (!alive) console.error(`FAILED: ${file} has ended its process`);
      count(counts ?? { passed: 0, failed: 1 });
    }
    if (child.connected) child.send({});
    await ended;
  }
}

function count(counts) {
  passed += counts.passed;
  failed += counts.failed;
}
