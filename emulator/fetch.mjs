// What the local servers that are no dependency of the project have in common: each is fetched once, when it is first needed, and one process at a time has a folder. Plain Node, for
// it runs before anything is installed.
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, readdirSync, renameSync, rmSync, statSync, utimesSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';

/**
 * Brings something here once, however many processes ask at a time: `bring` is given an empty folder and answers which part of it becomes `target`. Whoever is ended in between
 * leaves nothing behind that is taken for whole. `folder` is where it is prepared, on the disk of `target`.
 */
export async function fetchOnce({ folder, target, title, isHere, bring, leaving }) {
  if (isHere()) return;
  mkdirSync(folder, { recursive: true });
  const release = await hold(join(folder, '.fetching'), 600_000, `another process is fetching ${title}`, leaving);
  try {
    if (isHere() || leaving()) return;
    process.stderr.write(`Fetching ${title}, once …\n`);
    tidy(folder);
    const stage = join(folder, `.fetched-${process.pid}`);
    mkdirSync(stage);
    const brought = await bring(stage);
    rmSync(target, { recursive: true, force: true });
    mkdirSync(dirname(target), { recursive: true });
    renameSync(brought, target);
    tidy(folder);
    if (!isHere()) throw new Error(`${title}: fetched, and not whole`);
  } finally {
    release();
  }
}

/** What an earlier one has left that was ended. */
function tidy(folder) {
  for (const name of readdirSync(folder)) if (name.startsWith('.fetched-')) rmSync(join(folder, name), { recursive: true, force: true });
}

/** The registry is the one that npm is told to use. Answers what npm has said. */
export function npm(cwd, ...args) {
  const path = process.env.npm_execpath; // the npm that is running us
  const ours = path && /npm-cli\.c?js$/.test(path) ? path : undefined;
  // What the npm above has set for its own project is not for this one.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^npm_(config_(local_prefix|prefix|global_prefix)|package_.*|lifecycle_.*)$/i.test(name)));
  const child = spawn(ours ? process.execPath : 'npm', [...(ours ? [ours] : []), ...args], { cwd, env, stdio: ['ignore', 'pipe', 2], shell: !ours });
  const said = [];
  child.stdout.on('data', (some) => said.push(some));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status) => (status === 0 ? resolve(Buffer.concat(said).toString()) : reject(new Error(`npm ${args[0]} has failed in ${cwd}`))));
  });
}

/** Whether all that the lock file of this folder names is in its node_modules. What npm has not written to its own list last of all is not here whole. */
export function isInstalled(folder) {
  const wanted = packagesOf(join(folder, 'package-lock.json'));
  const have = packagesOf(join(folder, 'node_modules', '.package-lock.json'));
  return have !== undefined && Object.entries(wanted).every(([path, entry]) => path === '' || entry.optional || have[path]?.version === entry.version);
}

function packagesOf(lock) {
  try {
    return JSON.parse(readFileSync(lock, 'utf8')).packages;
  } catch {
    return undefined;
  }
}

export function exists(file) {
  return statSync(file, { throwIfNoEntry: false }) !== undefined;
}

/** Holds a file that only one process can have at a time, until `release` or its end. Whoever was killed no longer holds his. */
export async function hold(file, patienceMilliseconds, otherwise, leaving) {
  for (const end = Date.now() + patienceMilliseconds; !taken(file); await new Promise((resolve) => setTimeout(resolve, 50))) {
    if (leaving()) process.exit();
    if (Date.now() > end) throw new Error(otherwise);
  }
  const beat = setInterval(() => utimesSync(file, new Date(), new Date()), 1_000).unref();
  const release = () => {
    clearInterval(beat);
    rmSync(file, { force: true });
  };
  process.on('exit', release);
  return release;
}

function taken(file) {
  try {
    const handle = openSync(file, 'wx');
    writeSync(handle, String(process.pid));
    closeSync(handle);
    return true;
  } catch (error) {
    if (error.code !== 'EEXIST') throw error;
  }
  const holder = holderOf(file);
  if (holder === undefined || isAlive(holder)) return false;
  const aside = `${file}.${process.pid}`;
  try {
    renameSync(file, aside);
    // Somebody may have been quicker, and this be his: then he gets it back.
    if (holderOf(aside)?.id === holder.id) rmSync(aside);
    else renameSync(aside, file);
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
  }
  return false;
}

function holderOf(file) {
  try {
    return { id: readFileSync(file, 'utf8'), beatAt: statSync(file).mtimeMs };
  } catch {
    return undefined;
  }
}

/** Its number may have gone to another process, which does not touch the file. */
function isAlive({ id, beatAt }) {
  if (Date.now() - beatAt > 30_000) return false;
  if (id === '') return true;
  try {
    process.kill(Number(id), 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

