import type { AzureQueue } from '../../adapters/azure/index.ts';
import type { Taken } from '../../adapters/azure/mailer.ts';
import { queues, subscriptions } from '../../core/flow.ts';
import type { Laptop } from '../../emulator/laptop.ts';
import { PortError, type MailerDriver } from '../../ports/index.ts';
import { azureFolder, azureNeeds, type ShopSettings } from '../settings.ts';
import { drainEverySeconds, type Cloud, type Ground } from './cloud.ts';

/** The consumer groups of a hub: one for each service that listens. */
const listenersOf = (stream: string): string[] => subscriptions.filter(({ channel }) => channel === stream).map(({ service }) => service);

/** The Azure family, service by service: each from the address that is set, or else on this machine. */
export function azureCloud(settings: ShopSettings, { clock, closers, chores }: Ground): Cloud {
  const { azure, shopName } = settings;
  let starting: Promise<Laptop> | undefined;
  const laptop = (): Promise<Laptop> => (starting ??= startServers(settings, closers));
  const kept = <Driver extends { close(): void | Promise<void> }>(driver: Driver): Driver => {
    closers.push(() => driver.close());
    return driver;
  };
  /** Names are reached with the identity of the program, connection strings are of servers on this machine. */
  const namespace = (address: string) => (address.includes(';') ? { connectionString: address } : { fullyQualifiedNamespace: address });
  const endpoint = (address: string) => (/^https:\/\/[^;]*$/.test(address) ? { endpoint: address } : { connectionString: address });
  return {
    async store() {
      const { openAzureStore } = await import('../../adapters/azure/store.ts');
      return kept(await openAzureStore({ ...endpoint(azure.tables ?? (await laptop()).tables!), table: azure.table, clock }));
    },
    async queue() {
      const { openAzureQueue } = await import('../../adapters/azure/index.ts');
      const driver: AzureQueue = kept(await openAzureQueue({ ...namespace(azure.serviceBus ?? (await laptop()).broker!), clock }));
      for (const name of queues) chores.push({ name: `drain ${name}`, everySeconds: drainEverySeconds, tick: () => driver.drainDeadLetters(name) });
      return driver;
    },
    async stream() {
      const { openAzureStream } = await import('../../adapters/azure/index.ts');
      return kept(await openAzureStream({ ...namespace(azure.eventHubs ?? (await laptop()).broker!), clock, consumerGroups: listenersOf }));
    },
    async mailer(): Promise<MailerDriver> {
      const { mailboxOf, openAzureMailer } = await import('../../adapters/azure/mailer.ts');
      const local = azure.email === undefined ? (await laptop()).email! : undefined;
      const driver = kept(await openAzureMailer({ ...endpoint(azure.email ?? local!), from: azure.emailFrom, clock }));
      return local === undefined ? driver : { ...driver, mailbox: mailboxOf((id) => letterAt(local, id), { name: shopName, address: azure.emailFrom }) };
    },
  };
}

async function startServers(settings: ShopSettings, closers: Ground['closers']): Promise<Laptop> {
  const { startLaptop } = await import('../../emulator/laptop.ts');
  const laptop = await startLaptop({ ...azureNeeds(settings), dataDir: azureFolder(settings.dataDir) });
  closers.push(() => laptop.close());
  return laptop;
}

/** A letter that the stand-in on this machine has taken. */
async function letterAt(connectionString: string, operationId: string): Promise<Taken | undefined> {
  const address = /endpoint=([^;]+)/.exec(connectionString)![1]!;
  const response = await fetch(new URL(`letters/${operationId}`, address), { signal: AbortSignal.timeout(5_000) }).catch((cause: unknown) => {
    throw new PortError('throttled', 'the stand-in for e-mail does not answer', { cause });
  });
  if (response.status === 404) return undefined;
  if (!response.ok) throw new PortError('throttled', `the stand-in for e-mail answers ${response.status}`);
  return (await response.json()) as Taken;
}
