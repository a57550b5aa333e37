import { expect } from 'chai';
import { execFile } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { hasJava } from './support/dynamo.ts';

/**
 * THE TUTORIAL, done as it is written: its new files and its changes are put into a copy of this checkout, which is then type-checked, generated and tested. The copy's whole
 * `npm test` is left to whoever writes there; here run the tests that the tutorial names, those of the house, and those of what was ever released.
 */
const root = fileURLToPath(new URL('..', import.meta.url));
const text = readFileSync(join(root, 'docs/tutorial.md'), 'utf8');
const copied = ['.oxlintrc.json', 'package.json', 'tsconfig.json', 'serverless.yml', 'serverless.aws.yml', 'README.md', 'adapters', 'bench', 'core', 'docs', 'emulator', 'handlers', 'ports', 'scripts', 'serverless', 'test'];

interface Step {
  readonly path: string;
  readonly kind: string;
  readonly lines: readonly string[];
}

const steps: readonly Step[] = [...text.matchAll(/^`([\w./]+)`(?:, new)?:\n\n```(\w+)\n([\s\S]*?)\n```$/gm)].map(([, path = '', kind = '', content = '']) => ({ path, kind, lines: content.split('\n') }));

describe('The tutorial', function () {
  this.timeout(300_000);
  let copy: string;

  before(() => {
    copy = mkdtempSync(join(tmpdir(), 'anyport-tutorial-'));
    const isOurs = (path: string): boolean => !/[\\/](node_modules|\.cache|\.serverless)$/.test(path);
    for (const name of copied) if (existsSync(join(root, name))) cpSync(join(root, name), join(copy, name), { recursive: true, filter: isOurs });
    symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'), 'dir');
    // What was fetched for this machine is there already.
    for (const folder of ['emulator/azurite', 'emulator/aws']) {
      for (const name of readdirSync(join(root, folder)).filter((each) => /^(node_modules|\.cache)$/.test(each))) symlinkSync(join(root, folder, name), join(copy, folder, name), 'dir');
    }
  });
  after(() => rmSync(copy, { recursive: true, force: true }));

  const run = (...args: string[]): Promise<{ readonly code: number; readonly out: string }> =>
    new Promise((resolve) => {
      execFile(process.execPath, args, { cwd: copy, maxBuffer: 1 << 26 }, (error, out, err) => resolve({ code: error ? 1 : 0, out: out + err }));
    });
  const succeeds = async (...args: string[]): Promise<string> => {
    const { code, out } = await run(...args);
    expect(code, out.slice(-4_000)).to.equal(0);
    return out;
  };
  const mocha = (...files: string[]): Promise<string> => succeeds('--import', 'tsx/esm', 'node_modules/mocha/bin/mocha.js', '--no-config', '--exit', '--timeout', '60000', ...files);

  it('changes only what is there, in places that are found', () => {
    expect(steps.length).to.be.greaterThan(15);
    for (const { path, kind, lines } of steps) {
      const file = join(copy, path);
      if (kind === 'diff') writeFileSync(file, changed(path, readFileSync(file, 'utf8'), lines));
      else {
        expect(existsSync(file), `${path} is new`).to.equal(false);
        mkdirSync(dirname(file), { recursive: true });
        writeFileSync(file, `${lines.join('\n')}\n`);
      }
    }
  });

  it('leads to a program without complaints', async () => {
    await succeeds('node_modules/typescript/bin/tsc', '--noEmit');
    await succeeds('node_modules/oxlint/bin/oxlint', '--deny-warnings', 'core/loyalty', 'core/website', 'handlers', 'test/points.test.ts', 'test/core/loyalty.test.ts');
  });

  it('has the rest written by the commands that it names', async () => {
    expect(await succeeds('--import', 'tsx/esm', 'serverless/generate.ts')).to.include('loyaltyOnOrders.json').and.to.include('aws/loyaltyOnPoints.batch.json');
    expect(await succeeds('--import', 'tsx/esm', 'test/contracts/release.ts', '--release')).to.match(/contracts are archived/);
    expect(readFileSync(join(copy, 'serverless.yml'), 'utf8')).to.include('loyaltyOnPoints');
    expect(readFileSync(join(copy, 'serverless.aws.yml'), 'utf8')).to.include('RoleLoyaltyOnPoints');
  });

  it('passes its own tests, those of the house, and those of what was released', async () => {
    expect(await mocha('test/core/loyalty.test.ts', 'test/architecture.test.ts', 'test/contracts/gate.test.ts', 'test/contracts/replay.test.ts', 'test/core/operations.test.ts')).to.match(/\d+ passing/);
  });

  it('shows points on every family', async () => {
    const families = ['memory', 'embedded', 'azure', ...(hasJava ? ['aws'] : [])];
    const out = await mocha('test/points.test.ts', '--grep', `\\((${families.join('|')})\\)`);
    for (const family of families) expect(out).to.include(`Points (${family})`);
  });
});

/** Puts a change where its old lines stand; each part of it begins with a line of @@. */
function changed(path: string, before: string, lines: readonly string[]): string {
  let now = before;
  for (const part of lines.join('\n').split(/^@@\n/m).filter((each) => each !== '')) {
    const said = part.replace(/\n$/, '').split('\n');
    const old = said.filter((line) => !line.startsWith('+')).map((line) => line.slice(1)).join('\n');
    const fresh = said.filter((line) => !line.startsWith('-')).map((line) => line.slice(1)).join('\n');
    const at = now.indexOf(`${old}\n`);
    if (at < 0) throw new Error(`docs/tutorial.md changes what is no longer in ${path}:\n${old}`);
    now = `${now.slice(0, at)}${fresh}\n${now.slice(at + old.length + 1)}`;
  }
  return now;
}
