import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { chromium as launcher, type Browser } from 'playwright-core';

/**
 * A real browser: a Chromium that is on the machine already, else the one that comes inside the package @sparticuz/chromium, with the system libraries that it brings.
 * When it cannot start, the libraries that are missing are named.
 */
export async function openBrowser(): Promise<Browser> {
  const found = onThisMachine();
  const { path, args } = found ? { path: found, args: [] } : await unpacked();
  try {
    return await launcher.launch({
      executablePath: path,
      args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', ...args],
    });
  } catch (error) {
    const missing = missingLibraries(path);
    throw new Error(missing.length === 0 ? `${path} does not start` : `${path} lacks the system libraries ${missing.join(', ')}: install them, or a Chromium of the system`, { cause: error });
  }
}

function onThisMachine(): string | undefined {
  const names = ['chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome', 'chrome'];
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/Applications/Google Chrome.app/Contents/MacOS', '/Applications/Chromium.app/Contents/MacOS'];
  const wished = process.env['CHROMIUM'];
  if (wished) return wished === 'packaged' ? undefined : wished;
  return folders.flatMap((folder) => [...names, 'Google Chrome', 'Chromium'].map((name) => join(folder, name))).find((path) => existsSync(path));
}

/** The package unpacks its system libraries only where it believes to be in a Lambda; they serve any Linux. */
async function unpacked(): Promise<{ path: string; args: string[] }> {
  process.env['AWS_LAMBDA_JS_RUNTIME'] ??= 'nodejs22.x';
  const { default: packaged } = await import('@sparticuz/chromium');
  return { path: await packaged.executablePath(), args: packaged.args.filter((arg) => !/single-process|web-security|insecure|no-zygote/.test(arg)) };
}

function missingLibraries(path: string): string[] {
  try {
    const lines = execFileSync('ldd', [path], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).split('\n');
    return lines.filter((line) => line.includes('not found')).map((line) => line.trim().split(' ')[0]!);
  } catch {
    return [];
  }
}
