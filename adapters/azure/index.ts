import type { TokenCredential } from '@azure/core-auth';
import { Invalid } from '../../ports/index.ts';
import { identity } from './identity.ts';
import type { Namespace } from './namespace.ts';
import type { AzureQueue, QueueSettings } from './queue.ts';
import type { AzureStream, StreamSettings } from './stream.ts';

/**
 * AZURE: queues in Service Bus, streams in Event Hubs. Each SDK is loaded when something of it is opened, and not before.
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

/** Throws `Invalid` for options that cannot be. Nothing is asked of the broker before the first call. */
export async function openAzureQueue({ fullyQualifiedNamespace, credential, connectionString, ...settings }: QueueOptions): Promise<AzureQueue> {
  const namespace = await namespaceOf({ fullyQualifiedNamespace, credential, connectionString });
  const { openQueueDriver } = await import('./queue.ts');
  return openQueueDriver({ ...settings, namespace });
}

/** The same. */
export async function openAzureStream({ fullyQualifiedNamespace, credential, connectionString, ...settings }: StreamOptions): Promise<AzureStream> {
  const namespace = await namespaceOf({ fullyQualifiedNamespace, credential, connectionString });
  const { openStreamDriver } = await import('./stream.ts');
  return openStreamDriver({ ...settings, namespace });
}

async function namespaceOf({ fullyQualifiedNamespace, credential, connectionString }: { [Name in keyof NamespaceOptions]: NamespaceOptions[Name] | undefined }): Promise<Namespace> {
  if ((fullyQualifiedNamespace === undefined) === (connectionString === undefined)) throw new Invalid('a namespace is reached by its name or by a connection string, and not by both');
  if (connectionString !== undefined) {
    if (!/(^|;)\s*Endpoint=sb:\/\/[^;]/i.test(connectionString)) throw new Invalid('a connection string has an Endpoint=sb://');
    return { connectionString };
  }
  if (!/^[A-Za-z0-9.-]{3,200}$/.test(fullyQualifiedNamespace!)) throw new Invalid('a namespace has a name like shop.servicebus.windows.net');
  return { fullyQualifiedNamespace: fullyQualifiedNamespace!, credential: credential ?? (await identity()) };
}
