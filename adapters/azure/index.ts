import type { TokenCredential } from '@azure/core-auth';
import { Invalid, PortError } from '../../ports/index.ts';
import { identity } from './identity.ts';
import type { Namespace } from './namespace.ts';
import type { AzureQueue, QueueSettings } from './queue.ts';
import type { AzureStream, StreamSettings } from './stream.ts';

/**
 * AZURE: queues in Service Bus, streams in Event Hubs. Each SDK is loaded by the first call, and not before: a process that only has to answer does not wait for it.
 *
 * A namespace is reached by its name, with the identity that Azure gives to the program unless another credential is handed in; a connection string is for local servers,
 * because whoever has it is let in for good.
 */
export interface NamespaceOptions {
  /** `<name>.servicebus.windows.net`. */
  readonly fullyQualifiedNamespace?: string;
  /** Managed identity, environment, or the developer's login unless told (https://learn.microsoft.com/azure/developer/javascript/sdk/credential-chains). */
  readonly credential?: TokenCredential;
  readonly connectionString?: string;
}

export type QueueOptions = NamespaceOptions & Omit<QueueSettings, 'namespace'>;
export type StreamOptions = NamespaceOptions & Omit<StreamSettings, 'namespace'>;
export type { AzureQueue } from './queue.ts';
export type { AzureStream } from './stream.ts';

/** Throws `Invalid` for options that cannot be. Nothing is loaded, and nothing asked of the broker, before the first call. */
export async function openAzureQueue({ fullyQualifiedNamespace, credential, connectionString, ...settings }: QueueOptions): Promise<AzureQueue> {
  const namespace = namespaceOf({ fullyQualifiedNamespace, credential, connectionString });
  const { driver, close } = late('queues', async () => (await import('./queue.ts')).openQueueDriver({ ...settings, namespace: await namespace() }));
  return {
    send: async (queue, messages, options) => (await driver()).send(queue, messages, options),
    receive: async (queue, options) => (await driver()).receive(queue, options),
    remove: async (received) => (await driver()).remove(received),
    renew: async (received) => (await driver()).renew(received),
    drainDeadLetters: async (queue) => (await driver()).drainDeadLetters(queue),
    close,
  };
}

/** The same. */
export async function openAzureStream({ fullyQualifiedNamespace, credential, connectionString, ...settings }: StreamOptions): Promise<AzureStream> {
  const namespace = namespaceOf({ fullyQualifiedNamespace, credential, connectionString });
  const { driver, close } = late('streams', async () => (await import('./stream.ts')).openStreamDriver({ ...settings, namespace: await namespace() }));
  return {
    append: async (stream, messages) => (await driver()).append(stream, messages),
    partitions: async (stream) => (await driver()).partitions(stream),
    read: async (stream, partition, options) => (await driver()).read(stream, partition, options),
    close,
  };
}

/** What is opened by its first call; an opening that failed is tried again by the next one. What was never opened is closed without being loaded. */
function late<Driver extends { close(): Promise<void> }>(what: string, open: () => Promise<Driver>): { driver(): Promise<Driver>; close(): Promise<void> } {
  let opening: Promise<Driver> | undefined;
  let closed = false;
  return {
    driver() {
      if (opening) return opening;
      if (closed) return Promise.reject(new PortError('unavailable', `the ${what} are closed`));
      opening = open().catch((error: unknown) => {
        opening = undefined;
        throw error;
      });
      return opening;
    },
    async close() {
      closed = true;
      const opened = await opening?.catch(() => undefined);
      await opened?.close();
    },
  };
}

/** Its one address is of this machine: a key that opens everything for good goes nowhere else. */
function isLocal(connectionString: string): boolean {
  const addresses = [...connectionString.matchAll(/(?:^|;)\s*Endpoint\s*=\s*([^;]*)/gi)].map(([, address]) => address!.trim());
  return addresses.length === 1 && /^sb:\/\/(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?\/?$/i.test(addresses[0]!);
}

function namespaceOf({ fullyQualifiedNamespace, credential, connectionString }: { [Name in keyof NamespaceOptions]: NamespaceOptions[Name] | undefined }): () => Promise<Namespace> {
  if ((fullyQualifiedNamespace === undefined) === (connectionString === undefined)) throw new Invalid('a namespace is reached by its name or by a connection string, and not by both');
  if (connectionString !== undefined) {
    if (!isLocal(connectionString)) throw new Invalid('a connection string has an Endpoint=sb:// on this machine; a namespace in the cloud is reached by its name, with an identity and without a key');
    return () => Promise.resolve({ connectionString });
  }
  if (!/^[A-Za-z0-9.-]{3,200}$/.test(fullyQualifiedNamespace!)) throw new Invalid('a namespace has a name like shop.servicebus.windows.net');
  return async () => ({ fullyQualifiedNamespace: fullyQualifiedNamespace!, credential: credential ?? (await identity()) });
}
