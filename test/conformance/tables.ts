import { mailboxOf, openAzureMailer, type AzureMailer } from '../../adapters/azure/mailer.ts';
import { openAzureStore, type AzureStore } from '../../adapters/azure/store.ts';
import { openMemory, type Memory } from '../../adapters/memory/index.ts';
import { startEmail, type EmailStandIn } from '../../emulator/email.ts';
import type { Clock, MailerDriver, StoreDriver } from '../../ports/index.ts';
import { freshTable, sharedAzurite } from '../support/azurite.ts';
import { createClock, type VirtualClock } from '../support/clock.ts';
import { createLeapClock } from '../support/leap.ts';
import { openProxy, type FaultyProxy } from '../support/proxy.ts';
import { world, type Family } from './family.ts';
import type { MailerFamily } from './mailer.ts';

/** Stores and mailers of Azure, through the vendor's own SDKs on what stands in for the services on this machine. */

/** The store of a family: a fresh table for every world, behind a line that can be cut. */
export interface Tables {
  open(clock: Clock): Promise<StoreDriver>;
  restart(clock: Clock): Promise<StoreDriver>;
  sever(): Promise<void>;
  close(): Promise<void>;
}

export function tables(): Tables {
  let table: string;
  let line: FaultyProxy;
  let store: AzureStore | undefined;
  const connect = async (clock: Clock): Promise<StoreDriver> => {
    const azurite = await sharedAzurite();
    line = await openProxy({ port: azurite.ports.tables! });
    const connectionString = azurite.connectionString.replace(/TableEndpoint=[^;]+/, `TableEndpoint=http://127.0.0.1:${line.port}/devstoreaccount1`);
    return (store = await openAzureStore({ connectionString, table, clock, timeoutMilliseconds: 10_000 }));
  };
  const end = async (): Promise<void> => {
    store?.close();
    await line.sever();
  };
  return {
    async open(clock) {
      table = freshTable();
      return connect(clock);
    },
    async restart(clock) {
      await end();
      return connect(clock);
    },
    sever: () => line.sever(),
    close: end,
  };
}

/** For the suite of stores alone: its queues and streams are those of the memory family. */
export function azureStore(): Family {
  const stores = tables();
  const line = createLeapClock();
  let clock: VirtualClock;
  let memory: Memory;
  return {
    name: 'azure',
    lockSeconds: 30,
    async open() {
      clock = createClock();
      memory = openMemory({ ...world, clock, lockSeconds: 30 });
      return { ...memory, store: await stores.open(line) };
    },
    restart: async () => ({ ...memory, store: await stores.restart(line) }),
    sever: () => stores.sever(),
    async close() {
      memory.close();
      await stores.close();
    },
    clock: () => clock,
    pass: (milliseconds) => clock.advance(milliseconds),
  };
}

export function azureMailer(): MailerFamily {
  const clock = createLeapClock();
  let email: EmailStandIn;
  let line: FaultyProxy;
  let mailer: AzureMailer;
  const connect = async (): Promise<MailerDriver> => {
    line = await openProxy({ port: email.port });
    const connectionString = email.connectionString.replace(/endpoint=[^;]+/, `endpoint=http://127.0.0.1:${line.port}/`);
    mailer = await openAzureMailer({ connectionString, from: 'shop@example.com', clock, timeoutMilliseconds: 10_000 });
    return { ...mailer, mailbox: mailboxOf((id) => email.read(id), { name: 'Shop', address: 'shop@example.com' }) };
  };
  const end = async (): Promise<void> => {
    mailer.close();
    await line.sever();
  };
  return {
    name: 'azure',
    async open() {
      email = await startEmail({ clock });
      return connect();
    },
    async restart() {
      await end();
      return connect();
    },
    async close() {
      await end();
      await email.close();
    },
    sever: () => line.sever(),
    taken: async () => email.recent().map(({ message }) => ({ address: message.recipients.to[0]!.address, subject: message.content.subject })),
    loseAnswer: async () => line.next({ do: 'lose' }),
  };
}
