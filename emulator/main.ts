import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { Invalid } from '../ports/index.ts';
import { readConfig } from './config.ts';
import { startEmulator, type EmulatorOptions } from './index.ts';

/**
 * npm run emulator -- [--port N] [--host H] [--config FILE] [--data DIR] [--control-port N]
 *
 * Says one line when it is ready, and stops at SIGINT or SIGTERM with everything written. Exit code 2: it was started wrongly, and says how.
 */
const usage = 'npm run emulator -- [--port N] [--host H] [--config FILE] [--data DIR] [--control-port N]';

class Wrong extends Error {}

function numberOf(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d{1,5}$/.test(text) || Number(text) > 65_535) throw new Wrong(`--${name} must be a port from 0 to 65535, not '${text}'`);
  return Number(text);
}

async function optionsOf(args: string[]): Promise<EmulatorOptions> {
  const { values } = parseArgs({ args, options: { port: { type: 'string' }, host: { type: 'string' }, config: { type: 'string' }, data: { type: 'string' }, 'control-port': { type: 'string' } } });
  const config = values.config === undefined ? undefined : readConfig(await readFile(values.config, 'utf8'));
  for (const pointer of config?.ignored ?? []) console.error(`${values.config}: ${pointer} is not known and does nothing`);
  return {
    port: numberOf('port', values.port) ?? 5672,
    host: values.host,
    topology: config?.topology,
    dataDir: values.data,
    controlPort: numberOf('control-port', values['control-port']) ?? 5300,
    trouble: (text) => console.error(text),
  };
}

async function main(): Promise<void> {
  const emulator = await startEmulator(await optionsOf(process.argv.slice(2)));
  console.log(`Service Bus and Event Hubs: ${emulator.connectionString} control: http://${emulator.host}:${emulator.controlPort}/`);
  const stop = (): void => void emulator.close().then(() => process.exit(0));
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
}

/** What a person did wrong is said in a line; only what we did wrong has a stack. */
function explain(error: unknown): string {
  if (error instanceof Wrong || error instanceof Invalid) return error.message;
  if (error instanceof Error && 'code' in error) return error.message;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

main().catch((error: unknown) => {
  console.error(`${explain(error)}\n${usage}`);
  process.exit(2);
});
