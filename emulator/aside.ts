import { mkdirSync } from 'node:fs';
import { startEmail } from './email.ts';
import { startEmulator } from './index.ts';
import { brokerFolder, emailFolder, type Aside } from './laptop.ts';

/**
 * The process beside a shop (laptop.ts): `aside.ts '{"broker":true,"email":true,"dataDir":"…"}'`. It says where its servers are in one line of JSON, and ends, with everything
 * written, when its standard input ends.
 */
const { broker, email, dataDir } = JSON.parse(process.argv[2]!) as { broker: boolean; email: boolean; dataDir?: string };
const ended = new Promise<void>((resolve) => process.stdin.on('error', resolve).on('close', resolve).resume());
for (const signal of ['SIGTERM', 'SIGHUP', 'SIGINT'] as const) process.on(signal, () => process.stdin.destroy());
// The shop may be gone before it has heard us.
process.stdout.on('error', () => undefined);

if (dataDir !== undefined) for (const folder of [brokerFolder(dataDir), emailFolder(dataDir)]) mkdirSync(folder, { recursive: true });
const emulator = broker ? await startEmulator({ port: 0, dataDir: dataDir && brokerFolder(dataDir) }) : undefined;
const mails = email ? await startEmail({ clock: Date, dataDir: dataDir && emailFolder(dataDir) }) : undefined;
const said: Aside = { broker: emulator?.connectionString, email: mails?.connectionString };
process.stdout.write(`${JSON.stringify(said)}\n`);
await ended;
await Promise.all([emulator?.close(), mails?.close()]);
process.exit(0);
