/**
 * The smallest limits of all clouds that the ports promise to run on, enforced before the wire with a typed error, in every family, the memory one included.
 * Bytes are bytes of UTF-8.
 */
export const limits = {
  /** Rows in one commit. Table Storage: 100 entities an entity-group transaction; DynamoDB: 100 items a TransactWriteItems. */
  rowsPerCommitMax: 100,
  /**
   * Bytes of all bodies and keys in one commit. Both clouds: 4 MiB, but Table Storage counts them as they are on the wire, where a body takes up to four thirds of its bytes
   * and each row has addresses and headers of its own: adapters/azure/batch.ts. So every commit that is allowed here is possible there.
   */
  commitBytesMax: 2.5 * 1024 * 1024,
  /** Bytes of one row's body. DynamoDB: 400 KB an item, names and keys included. */
  rowBytesMax: 390_000,
  /** Bytes of a key. DynamoDB: 1 KiB; Table Storage: 1 KiB of UTF-16, which is 512 code units. */
  keyBytesMax: 512,
  /** Bytes of one encoded event. Service Bus standard: 256 KB with headers; Event Hubs' Functions binding: 256 KB. */
  eventBytesMax: 192 * 1024,
  /** Messages handed over in one receive, read or send. SQS takes 10 a call; adapters split. */
  batchMax: 256,
  /** Seconds that a message can be delayed. SQS: 15 minutes. A longer delay is made of several. */
  delaySecondsMax: 900,
} as const;
