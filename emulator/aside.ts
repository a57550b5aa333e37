import { mkdirSync } from 'node:fs';
import { startEmail } from './email.ts';
import { startEmulator, type Emulator } from './index.ts';
import { Held } from './journal.ts';
import { brokerFolder, emailFolder, type Aside } from './laptop.ts';

/**
 * The process beside a shop (laptop.ts): `aside.ts '{"broker":true,"email":true,"dataDir":"…"}'`. It says where its servers are in one line of JSON, and ends, with everything
 * written, when its standard input ends.
 */
const { broker, email, dataDir } = JSON.parse(process.argv[2]!) as { broker: boolean; email: boolean; dataDir?: string };
const patienceMilliseconds = 60_000;
let ending = false;
const ended = new Promise<void>((resolve) => process.stdin.on('error', resolve).on('close', resolve).resume());
void ended.then(() => (ending = true));
for (const signal of ['SIGTERM', 'SIGHUP', 'SIGINT'] as const) process.on(signal, () => process.stdin.destroy());
// The shop may be gone before it has heard us.
process.stdout.on('error', () => undefined);

if (dataDir !== undefined) for (const folder of [brokerFolder(dataDir), emailFolder(dataDir)]) mkdirSync(folder, { recursive: true });
const emulator = broker ? await started(Date.now() + patienceMilliseconds) : undefined;
const mails = email ? await startEmail({ clock: Date, dataDir: dataDir && emailFolder(dataDir) }) : undefined;
const said: Aside = { broker: emulator?.connectionString, email: mails?.connectionString };
process.stdout.write(`${JSON.stringify(said)}\n`);
await ended;
await Promise.all([emulator?.close(), mails?.close()]);
process.exit(0);

/** The one of the shop before may still be writing what it knows. */
async function started(until: number): Promise<Emulator> {
  for (;;) {
    try {
      return await startEmulator({ port: 0, dataDir: dataDir && brokerFolder(dataDir) });
    } catch (error) {
      if (!(error instanceof Held) || Date.now() > until || ending) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
