import { PortError } from '../../ports/index.ts';
import { checkedPlace } from './client.ts';
import type { AwsQueue, QueueSettings } from './queue.ts';
import type { AwsStream, StreamSettings } from './stream.ts';

/**
 * AWS: queues in SQS, streams in Kinesis. Each client of the SDK is loaded by the first call, and not before: a process that only has to answer does not wait for it.
 */
export type { AwsQueue, QueueSettings } from './queue.ts';
export type { AwsStream, StreamSettings } from './stream.ts';
export type { Credentials, Place } from './client.ts';

/** Throws `Invalid` for a place that cannot be. Nothing is loaded, and nothing asked of the service, before the first call. */
export async function openAwsQueue(settings: QueueSettings): Promise<AwsQueue> {
  const place = checkedPlace(settings.place);
  const { driver, close } = late('queues', async () => (await import('./queue.ts')).openQueueDriver({ ...settings, place }));
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
export async function openAwsStream(settings: StreamSettings): Promise<AwsStream> {
  const place = checkedPlace(settings.place);
  const { driver, close } = late('streams', async () => (await import('./stream.ts')).openStreamDriver({ ...settings, place }));
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
