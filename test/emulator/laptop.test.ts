import { expect } from 'chai';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { openJournal } from '../../emulator/journal.ts';
import { brokerFolder, startLaptop } from '../../emulator/laptop.ts';

describe('emulator: beside a shop', () => {
  const children: ChildProcess[] = [];
  let dir: string;

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'anyport-laptop-'));
  });
  afterEach(() => {
    for (const child of children.splice(0)) child.kill('SIGKILL');
    rmSync(dir, { recursive: true, force: true });
  });

  function run(file: string, ...args: string[]): ChildProcess {
    const child = spawn(process.execPath, ['--import', 'tsx/esm', fileURLToPath(new URL(file, import.meta.url)), ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
    children.push(child);
    return child;
  }

  it('does not keep a process alive that has nothing more to do', async function () {
    this.timeout(30_000);
    const child = run('laptop.child.ts');
    await once(createInterface({ input: child.stdout! }), 'line');
    const late = setTimeout(() => child.kill('SIGKILL'), 5_000);
    const [code] = (await once(child, 'exit')) as [number | null];
    clearTimeout(late);
    expect(code).to.equal(0);
  });

  it('waits until the servers of the shop before have written what they know', async function () {
    this.timeout(30_000);
    mkdirSync(brokerFolder(dir), { recursive: true });
    const before = openJournal(brokerFolder(dir));
    setTimeout(() => before.close(), 3_000);
    const laptop = await startLaptop({ dataDir: dir, broker: true, email: false, tables: false });
    await laptop.close();
    expect(laptop.broker).to.match(/^Endpoint=/);
  });

  it('gives a folder to one of those that come at the same moment to take it over from a dead one', async function () {
    this.timeout(60_000);
    const count = 40;
    for (let n = 0; n < count; n++) {
      mkdirSync(join(dir, String(n)));
      writeFileSync(join(dir, String(n), 'lock'), '999999999');
    }
    const start = Date.now() + 4_000;
    const both = await Promise.all([1, 2].map(async () => {
      const child = run('lock.child.ts', dir, String(count), String(start), '20');
      const ended = once(child, 'exit').then(([code]) => [`[] ended with ${code}`]);
      const [line] = (await Promise.race([once(createInterface({ input: child.stdout! }), 'line'), ended])) as [string];
      return JSON.parse(line) as number[];
    }));
    expect([...both[0]!, ...both[1]!].sort((a, b) => a - b)).to.deep.equal(Array.from({ length: count }, (_, n) => n));
  });
});
