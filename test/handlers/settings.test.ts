import { expect } from 'chai';
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { openShop } from '../../handlers/container.ts';
import { WrongSetting, isMixed, parseSettings, settingRows } from '../../handlers/settings.ts';

describe('Settings', () => {
  const refused = (env: Record<string, string>): string => {
    try {
      parseSettings(env);
    } catch (error) {
      expect(error).to.be.instanceOf(WrongSetting);
      return (error as Error).message;
    }
    throw new Error(`${JSON.stringify(env)} was accepted`);
  };

  it('need nothing at all', () => {
    expect(parseSettings({})).to.include({ port: 3000, dataDir: '.data', demoCarrierDeliversAfterSeconds: 20, websitePollSeconds: 2, sampleCatalogue: true, adminToken: undefined });
  });

  it('put a family behind each port', () => {
    expect(parseSettings({ ADAPTERS: 'queue=memory,store=embedded' }).adapters).to.deep.equal({ queue: 'memory', stream: 'embedded', store: 'embedded', mailer: 'embedded' });
    expect(parseSettings({ ADAPTERS: 'memory' }).adapters.mailer).to.equal('memory');
    expect(parseSettings({ SMTP_URL: 'smtp://localhost:25' }).adapters.mailer).to.equal('smtp');
    expect(isMixed(parseSettings({ ADAPTERS: 'queue=memory' }).adapters)).to.equal(true);
    expect(isMixed(parseSettings({ ADAPTERS: 'memory' }).adapters)).to.equal(false);
  });

  it('say in one line what is wrong with them', () => {
    const wrong: [Record<string, string>, RegExp][] = [
      [{ PORT: 'eighty' }, /PORT is "eighty".*0 to 65535/],
      [{ PORT: '3000.5' }, /whole number/],
      [{ ADAPTERS: 'cloud' }, /ADAPTERS/],
      [{ ADAPTERS: 'queue=smtp' }, /queue can be embedded \| memory/],
      [{ ADAPTERS: 'mailer=smtp' }, /SMTP_URL/],
      [{ ADMIN_TOKEN: 'short' }, /16 characters/],
      [{ SMTP_URL: 'http://x' }, /SMTP_URL/],
      [{ CARRIER: 'royal' }, /CARRIER/],
      [{ DEMO_CARRIER_SPEAKS: 'shippo' }, /SHIPPO_WEBHOOK_SECRET/],
      [{ SAMPLE_CATALOGUE: 'maybe' }, /on \| off/],
      [{ WEBSITE_POLL_SECONDS: '-1' }, /WEBSITE_POLL_SECONDS/],
    ];
    for (const [env, says] of wrong) {
      expect(refused(env)).to.match(says);
      expect(refused(env)).to.not.include('\n');
    }
  });

  it('never repeat a password', () => {
    expect(refused({ SMTP_URL: 'ftp://me:hunter2@host' })).to.not.include('hunter2');
  });

  it('end the start with one line and status 1 when one is wrong', () => {
    const { status, stderr } = spawnSync(process.execPath, ['--import', 'tsx/esm', 'handlers/local.ts'], { env: { ...process.env, PORT: 'eighty' }, encoding: 'utf8' });
    expect(status).to.equal(1);
    expect(stderr.trim().split('\n')).to.deep.equal(['anyport: PORT is "eighty"; it must be a whole number from 0 to 65535']);
  });

  it('close the mailbox where others can come in', async () => {
    const mailbox = async (HOST: string): Promise<unknown> => {
      const shop = await openShop(parseSettings({ ADAPTERS: 'memory', HOST }), { post: async () => 204 });
      await shop.close();
      return shop.kernel.mailer.mailbox;
    };
    expect(await mailbox('127.0.0.1')).to.not.equal(undefined);
    expect(await mailbox('0.0.0.0')).to.equal(undefined);
  });

  it('end the start with one line when the data folder cannot be made', () => {
    const { status, stderr } = spawnSync(process.execPath, ['--import', 'tsx/esm', 'handlers/local.ts'], { env: { ...process.env, PORT: '0', DATA_DIR: 'package.json' }, encoding: 'utf8' });
    expect(status).to.equal(1);
    expect(stderr.trim()).to.match(/^anyport: DATA_DIR package.json cannot be made: EEXIST$/);
  });

  it('are all listed by --help and in the README', () => {
    const help = execFileSync(process.execPath, ['--import', 'tsx/esm', 'handlers/local.ts', '--help'], { encoding: 'utf8' });
    const readme = readFileSync('README.md', 'utf8');
    for (const { name, fallback } of settingRows) {
      expect(help).to.include(name);
      expect(readme).to.include(`| \`${name}\` | ${fallback === '' ? '' : `\`${fallback}\``} |`);
    }
  });
});

describe('The lockfile', () => {
  const { packages } = JSON.parse(readFileSync('package-lock.json', 'utf8')) as { packages: Record<string, { optionalDependencies?: Record<string, string>; resolved?: string }> };

  it('names the packages of all platforms, not only of the one on which it was written', () => {
    const paths = Object.keys(packages);
    const missing = Object.values(packages).flatMap((entry) => Object.keys(entry.optionalDependencies ?? {})).filter((name) => !paths.some((path) => path.endsWith(`node_modules/${name}`)));
    expect(missing).to.deep.equal([]);
  });

  it('pins every version exactly', () => {
    const { dependencies, devDependencies } = JSON.parse(readFileSync('package.json', 'utf8')) as Record<string, Record<string, string>>;
    const loose = Object.entries({ ...dependencies, ...devDependencies }).filter(([name, version]) => name !== '@types/node' && !/^\d+\.\d+\.\d+(-beta\.\d+)?$/.test(version));
    expect(loose).to.deep.equal([]);
  });
});
