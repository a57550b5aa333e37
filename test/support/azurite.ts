import { startAzurite, type Azurite } from '../../emulator/azurite.ts';

let started: Promise<Azurite> | undefined;
let tables = 0;

/**
 * One Azurite for all tests of this process, in memory, started when it is first asked for; it ends with the process. The very first time on a machine it is fetched, so whoever
 * asks gives it `azuritePatienceMs`.
 */
export const sharedAzurite = (): Promise<Azurite> => (started ??= startAzurite({ services: ['tables', 'blobs'] }));
export const azuritePatienceMs = 600_000;

/** A name that no table of this process has had. */
export const freshTable = (): string => `t${process.pid}x${++tables}`;
