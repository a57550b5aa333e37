/**
 * The smallest limits of all clouds that the ports promise to run on, enforced before the wire with a typed error, in every family, the memory one included.
 * Bytes are bytes of UTF-8.
 */
export const limits = {
  /** Rows in one commit. Table Storage: 100 entities an entity-group transaction; DynamoDB: 100 items a TransactWriteItems. */
  rowsPerCommitMax: 100,
  /** Bytes of all bodies and keys in one commit. Both clouds: 4 MiB. */
  commitBytesMax: 4 * 1024 * 1024 - 64 * 1024,
  /** Bytes of one row's body. DynamoDB: 400 KB an item, names and keys included. */
  rowBytesMax: 390_000,
  /** Bytes of a key. Table Storage and DynamoDB: 1 KiB. */
  keyBytesMax: 1_000,
  /** Bytes of one encoded event. Service Bus standard: 256 KB with headers; Event Hubs' Functions binding: 256 KB. */
  eventBytesMax: 192 * 1024,
  /** Messages handed over in one receive, read or send. SQS takes 10 a call; adapters split. */
  batchMax: 256,
  /** Seconds that a message can be delayed. SQS: 15 minutes. A longer delay is made of several. */
  delaySecondsMax: 900,
} as const;
