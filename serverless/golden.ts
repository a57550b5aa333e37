import { existsSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { events, isEventName, subscriptions, type EventName } from '../core/flow.ts';
import { functions, type FunctionRow } from '../handlers/functions.ts';
import type { Message } from '../ports/index.ts';
import { sample } from '../test/contracts/samples.ts';

/**
 * GOLDEN PAYLOADS of what brokers hand over: the samples of the contracts, dressed as the platform does it
 * (https://learn.microsoft.com/azure/azure-functions/functions-bindings-service-bus-trigger, …/functions-bindings-event-hubs-trigger). A request is written by hand.
 */
export const folder = fileURLToPath(new URL('payloads/', import.meta.url));

/** Name of the file → its text, one message and a batch for each function that a queue or a stream wakes. */
export function golden(): ReadonlyMap<string, string> {
  const files = new Map<string, string>();
  for (const row of functions) {
    if (row.kind !== 'queue' && row.kind !== 'stream') continue;
    const messages = messagesFor(row);
    files.set(`${row.name}.json`, text(one(dressed(row, messages.slice(0, 1)))));
    files.set(`${row.name}.batch.json`, text(dressed(row, messages)));
  }
  return files;
}

/** Writes those that are not there. What is there stays: it is what the platform once gave. */
export function writeGolden(): string[] {
  const missing = [...golden()].filter(([name]) => !existsSync(folder + name));
  for (const [name, content] of missing) writeFileSync(folder + name, content);
  return missing.map(([name]) => name);
}

type MessageRow = Extract<FunctionRow, { readonly kind: 'queue' | 'stream' }>;

/** Of everything that it hears on its channel: what has everything, and what has nothing that can be left out. */
function messagesFor(row: MessageRow): Message[] {
  const channel = row.kind === 'queue' ? row.queue : row.stream;
  const heard = subscriptions.find((each) => each.service === row.service && each.channel === channel)!.hears;
  const names: readonly EventName[] = Object.keys(events).filter((name) => isEventName(name) && heard.has(name)) as EventName[];
  return names.flatMap((name) => [sample(name, 'full'), sample(name, 'minimal')]);
}

interface Dressed {
  readonly data: readonly unknown[];
  /** The same for all of them. */
  readonly common: Readonly<Record<string, unknown>>;
  readonly each: readonly Readonly<Record<string, unknown>>[];
}

const enqueued = '2026-11-20T09:00:00.125Z';
const contentType = 'application/json; charset=utf-8';
const offsetOf = (nth: number): number => nth * 640;
/** The binary mode of CloudEvents: all but the data are properties. */
const propertiesOf = ({ data: _, ...context }: Message): object => Object.fromEntries(Object.entries(context).map(([name, value]) => [`cloudEvents_${name}`, value]));

function dressed(row: MessageRow, messages: readonly Message[]): object {
  const { data, common, each } = row.kind === 'queue' ? fromQueue(messages) : fromStream(row, messages);
  const names = Object.keys(each[0]!);
  return { data, triggerMetadata: { ...common, ...Object.fromEntries(names.map((name) => [`${name}Array`, each.map((values) => values[name])])) } };
}

function fromQueue(messages: readonly Message[]): Dressed {
  return {
    data: messages.map(({ data }) => data),
    common: {},
    each: messages.map((message, nth) => ({
      MessageId: message.id, DeliveryCount: 1, SequenceNumber: nth + 1, EnqueuedTimeUtc: enqueued, ExpiresAtUtc: '2026-12-04T09:00:00.125Z',
      LockToken: `6f0f9b4e-4f0b-4b0e-9f0a-${String(nth).padStart(12, '0')}`, ContentType: contentType, Subject: message.type, Label: message.type, CorrelationId: message.correlationid ?? null,
      DeadLetterSource: null, ReplyTo: null, To: null, ApplicationProperties: propertiesOf(message), UserProperties: propertiesOf(message),
    })),
  };
}

function fromStream({ stream, service }: Extract<MessageRow, { readonly kind: 'stream' }>, messages: readonly Message[]): Dressed {
  return {
    data: messages.map(({ data }) => data),
    common: { PartitionContext: { FullyQualifiedNamespace: 'anyport.servicebus.windows.net', EventHubName: stream, ConsumerGroup: service, PartitionId: '0' } },
    each: messages.map((message, nth) => ({
      SequenceNumber: nth, Offset: String(offsetOf(nth)), EnqueuedTimeUtc: enqueued, PartitionKey: message.partitionkey, Properties: propertiesOf(message),
      SystemProperties: { SequenceNumber: nth, Offset: offsetOf(nth), EnqueuedTimeUtc: enqueued, PartitionKey: message.partitionkey, 'content-type': contentType },
    })),
  };
}

/** One message comes without lists. */
function one(batch: object): object {
  const { data, triggerMetadata } = batch as { data: readonly unknown[]; triggerMetadata: Readonly<Record<string, unknown>> };
  const single = Object.entries(triggerMetadata).map(([name, value]) => (name.endsWith('Array') ? [name.slice(0, -'Array'.length), (value as readonly unknown[])[0]] : [name, value]));
  return { data: data[0], triggerMetadata: Object.fromEntries(single) as object };
}

/** At a time that stays within every horizon. */
const text = (payload: object): string => `${JSON.stringify(payload, null, 2).replaceAll('2026-11-20T', '2099-01-01T').replaceAll('2026-12-04T', '2099-01-15T')}\n`;
