// Installs what is missing, so that `npm start` and `npm test` work on a bare clone. Plain Node: nothing is installed yet.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';

const wanted = packagesOf('package-lock.json');
const have = packagesOf('node_modules/.package-lock.json'); // npm writes this one last, so it is there only when all the rest is
const complete = have && Object.entries(wanted).every(([path, entry]) => path === '' || entry.optional || have[path]?.version === entry.version);

if (!complete) {
  console.error('Installing what is missing (npm ci), once …');
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => {}); // npm tidies up after Ctrl-C: let it
  const npm = process.env.npm_execpath; // the npm that is running us
  const command = npm ? process.execPath : 'npm';
  const args = [...(npm ? [npm] : []), 'ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error'];
  const child = spawn(command, args, { stdio: ['inherit', 2, 2], shell: !npm });
  child.on('exit', (status, signal) => {
    process.exitCode = signal ? 130 : status;
  });
}

function packagesOf(lock) {
  try {
    return JSON.parse(readFileSync(lock, 'utf8')).packages;
  } catch {
    return undefined;
  }
}
