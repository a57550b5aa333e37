import { startAzurite } from '../../emulator/azurite.ts';

/** Starts Azurite on a folder, says where, and waits to be killed. */
const azurite = await startAzurite({ dataDir: process.argv[2]! });
console.log(azurite.connectionString);
setInterval(() => undefined, 1_000);
