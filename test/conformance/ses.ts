import { mailboxOf, openAwsMailer, type AwsMailer } from '../../adapters/aws/mailer.ts';
import { startAws, type LocalAws } from '../../emulator/aws.ts';
import type { MailerDriver } from '../../ports/index.ts';
import { createLeapClock } from '../support/leap.ts';
import { openProxy, type FaultyProxy } from '../support/proxy.ts';
import type { MailerFamily } from './mailer.ts';

/** Letters over SES, through the vendor's own SDK on what stands in for the service on this machine. */

let started: Promise<LocalAws> | undefined;
/** One for all tests of this process; it ends with the process. The very first time on a machine it is fetched. */
export const sharedSes = async (): Promise<string> => (await (started ??= startAws({ sqs: false, kinesis: false, dynamodb: false, ses: true, names: { prefix: 'none', table: 'none', queues: [], streams: [] } }))).ses!;
export const sesPatienceMs = 600_000;

/** As the stand-in tells of a letter. */
export interface Stored {
  readonly from: string;
  readonly subject: string;
  readonly destination: { readonly to: readonly string[] };
  readonly body: { readonly text?: string; readonly html?: string };
}

export async function lettersAt(endpoint: string): Promise<readonly Stored[]> {
  return ((await (await fetch(new URL('store', endpoint))).json()) as { readonly emails: readonly Stored[] }).emails;
}

export async function forgetLetters(endpoint: string): Promise<void> {
  await fetch(new URL('clear-store', endpoint), { method: 'POST' });
}

export function awsMailer(): MailerFamily {
  const clock = createLeapClock();
  let endpoint: string;
  let line: FaultyProxy;
  let mailer: AwsMailer;
  const connect = async (): Promise<MailerDriver> => {
    line = await openProxy({ port: Number(new URL(endpoint).port) });
    mailer = await openAwsMailer({ place: { endpoint: `http://127.0.0.1:${line.port}` }, from: 'shop@example.com', clock, patienceSeconds: 10 });
    return { ...mailer, mailbox: mailboxOf(endpoint, { name: 'Shop', address: 'shop@example.com' }) };
  };
  const end = async (): Promise<void> => {
    mailer.close();
    await line.sever();
  };
  return {
    name: 'aws',
    async open() {
      endpoint = await sharedSes();
      await forgetLetters(endpoint);
      return connect();
    },
    async restart() {
      await end();
      return connect();
    },
    close: end,
    sever: () => line.sever(),
    taken: async () => (await lettersAt(endpoint)).map(({ destination, subject }) => ({ address: /<([^<>]*)>$/.exec(destination.to[0]!)![1]!, subject })),
    loseAnswer: async () => line.next({ do: 'lose' }),
    forgetful: true,
  };
}
