import { startAws, type AwsOptions } from '../../emulator/aws.ts';

/** Starts what a shop starts, says where it is, and then waits for its own end; or, told to, has nothing more to do. */
const { stay, ...options } = JSON.parse(process.argv[2]!) as AwsOptions & { readonly stay: boolean };
process.stdout.write(`${JSON.stringify(await startAws(options))}\n`);
if (stay) process.stdin.resume();
