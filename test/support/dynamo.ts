import { spawnSync } from 'node:child_process';
import { startDynamo, type LocalDynamo } from '../../emulator/aws.ts';

let started: Promise<LocalDynamo> | undefined;
let tables = 0;

/** One DynamoDB for all tests of this process, in memory, started when it is first asked for; it ends with the process. The very first time on a machine it is fetched. */
export const sharedDynamo = (): Promise<LocalDynamo> => (started ??= startDynamo());
export const dynamoPatienceMs = 600_000;

/** A name that no table of this process has had. */
export const freshDynamoTable = (): string => `t${process.pid}x${++tables}`;

/** DynamoDB on this machine is a program in Java, the one thing that npm does not bring. */
export const hasJava = spawnSync('java', ['-version'], { stdio: 'ignore' }).status === 0;

/** Tells a story for which DynamoDB is needed. Where it cannot be told, everybody is to know. */
export function withDynamo(story: string, tell: () => void): void {
  if (hasJava) tell();
  else {
    describe.skip(`${story} (LEFT OUT: there is no Java on this machine)`, tell);
    console.error(`LEFT OUT, because there is no Java on this machine: ${story}`);
  }
}
