import { queues, streams } from '../../core/flow.ts';
import type { LocalAws } from '../../emulator/aws.ts';
import type { MailerDriver } from '../../ports/index.ts';
import { awsFolder, awsNeeds, type ShopSettings } from '../settings.ts';
import { drainEverySeconds, type Cloud, type Ground } from './cloud.ts';

/** The AWS family, service by service: each in the region that is set, or else on this machine. */
export function awsCloud(settings: ShopSettings, { clock, closers, chores }: Ground): Cloud {
  const { aws, shopName } = settings;
  let starting: Promise<LocalAws> | undefined;
  const local = (): Promise<LocalAws> => (starting ??= startServers(settings, closers));
  const kept = <Driver extends { close(): void | Promise<void> }>(driver: Driver): Driver => {
    closers.push(() => driver.close());
    return driver;
  };
  const place = (address: string) => (address.startsWith('http:') ? { endpoint: address } : { region: address });
  return {
    async store() {
      const { openAwsStore } = await import('../../adapters/aws/store.ts');
      return kept(await openAwsStore({ place: place(aws.dynamodb ?? (await local()).dynamodb!), table: aws.table, clock }));
    },
    async queue() {
      const { openAwsQueue } = await import('../../adapters/aws/index.ts');
      const driver = kept(await openAwsQueue({ place: place(aws.sqs ?? (await local()).sqs!), prefix: aws.prefix, clock }));
      for (const name of queues) chores.push({ name: `drain ${name}`, everySeconds: drainEverySeconds, tick: () => driver.drainDeadLetters(name) });
      return driver;
    },
    async stream() {
      const { openAwsStream } = await import('../../adapters/aws/index.ts');
      const address = aws.kinesis ?? (await local()).kinesis!;
      // On this machine looking costs nothing but its own time, of which many readers looking often would leave little for the rest.
      return kept(await openAwsStream({ place: place(address), prefix: aws.prefix, clock, ...(address.startsWith('http:') ? { pollMilliseconds: localPollMilliseconds } : {}) }));
    },
    async mailer(): Promise<MailerDriver> {
      const { mailboxOf, openAwsMailer } = await import('../../adapters/aws/mailer.ts');
      const address = aws.ses ?? (await local()).ses!;
      const driver = kept(await openAwsMailer({ place: place(address), from: aws.emailFrom, clock }));
      return aws.ses === undefined ? { ...driver, mailbox: mailboxOf(address, { name: shopName, address: aws.emailFrom }) } : driver;
    },
  };
}

const localPollMilliseconds = 200;

async function startServers(settings: ShopSettings, closers: Ground['closers']): Promise<LocalAws> {
  const { startAws } = await import('../../emulator/aws.ts');
  const needs = awsNeeds(settings);
  const { prefix, table } = settings.aws;
  const local = await startAws({ sqs: needs.queues, kinesis: needs.streams, dynamodb: needs.store, ses: needs.email, dataDir: awsFolder(settings.dataDir), names: { prefix, table, queues, streams } });
  closers.push(() => local.close());
  return local;
}
