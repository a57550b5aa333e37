import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';

/**
 * WHERE A RUNNING SHOP IS, and the token of its admin API: left in its folder for the command line of the same user, who alone can read it (mode 0600), and taken away
 * when the shop stops. After a kill it stays behind, and nobody answers there.
 */
const Address = z.object({ url: z.url({ protocol: /^https?$/ }), token: z.string().min(1) });
export type Address = z.infer<typeof Address>;

const fileOf = (dataDir: string): string => join(dataDir, 'admin.json');

/** Written beside and moved into place: a file that is there already may be open to others, and half a file is never read. */
export async function leaveAddress(dataDir: string, address: Address): Promise<void> {
  const beside = `${fileOf(dataDir)}.${process.pid}`;
  await rm(beside, { force: true });
  await writeFile(beside, `${JSON.stringify(address)}\n`, { mode: 0o600, flag: 'wx' });
  await rename(beside, fileOf(dataDir));
}

/** Only what this shop has left: another one may have been started over the same folder, with its data in memory. */
export async function takeAddress(dataDir: string, { url }: Pick<Address, 'url'>): Promise<void> {
  if ((await findAddress(dataDir))?.url === url) await rm(fileOf(dataDir), { force: true });
}

/** `undefined`: there is none, or it is not of ours. Throws what else keeps us from reading it. */
export async function findAddress(dataDir: string): Promise<Address | undefined> {
  try {
    return Address.safeParse(JSON.parse(await readFile(fileOf(dataDir), 'utf8'))).data;
  } catch (error) {
    if (error instanceof SyntaxError || (error as NodeJS.ErrnoException).code === 'ENOENT' || (error as NodeJS.ErrnoException).code === 'ENOTDIR') return undefined;
    throw error;
  }
}
