// Everything that has to hold, in one command: types, lint, and all tests, or the test files that are named. Ends with a line `N passed, N failed`.
import { spawn } from 'node:child_process';
import { once } from 'node:events';

const node = process.execPath;
const steps = [
  { name: 'types', command: ['node_modules/typescript/bin/tsc', '--noEmit'] },
  { name: 'lint', command: ['node_modules/oxlint/bin/oxlint', '--type-aware', '--deny-warnings'] },
];

let passed = 0;
let failed = 0;
for (const { name, command } of steps) {
  const status = await run(node, command);
  if (status === 0) passed++;
  else failed++;
  console.log(`${status === 0 ? 'passed' : 'FAILED'}: ${name}`);
}

const files = process.argv.slice(2);
// `tsx/esm` and not `tsx`, under which mocha requires the tests: then what is imported later, as a family is, stands there twice, and its errors are not ours.
const mocha = await run(node, ['--import', 'tsx/esm', 'node_modules/mocha/bin/mocha.js', ...(files.length > 0 ? ['--no-config', '--exit', '--timeout=60000', ...files] : [])], (line) => {
  const count = /^\s+(\d+) (passing|failing)\b/.exec(line);
  if (count?.[2] === 'passing') passed += Number(count[1]);
  if (count?.[2] === 'failing') failed += Number(count[1]);
});
if (mocha !== 0 && failed === 0) failed++;
console.log(`\n${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

async function run(command, args, onLine) {
  const child = spawn(command, args, { stdio: ['ignore', onLine ? 'pipe' : 'inherit', 'inherit'], env: { ...process.env, FORCE_COLOR: process.stdout.isTTY ? '1' : '0' } });
  let rest = '';
  child.stdout?.setEncoding('utf8').on('data', (chunk) => {
    process.stdout.write(chunk);
    const lines = (rest + chunk).replace(/\u001b\[\d+m/g, '').split('\n');
    rest = lines.pop();
    lines.forEach(onLine);
  });
  const [status] = await once(child, 'exit');
  return status;
}
