import { Defect, isMalformed, type Malformed, type Message, type Received, type StreamEvent } from '../../ports/index.ts';
import { messageOf, nativeOf } from './message.ts';

/**
 * TRIGGERS OF AZURE FUNCTIONS: from the shapes in which the worker hands messages over to those of the ports. Nothing here settles or reads anything.
 *
 * What surprises: the worker parses whatever looks like JSON, so a body may come as an object, as text, or (when it is neither) as bytes. The names of the metadata begin
 * with a small letter, those of the properties in it as well. A batch has the same metadata in lists, `…Array`; a single message has them plain. A number of 64 bits comes as
 * a number, as text, or as `{ low, high, unsigned }`.
 */
export type Metadata = Readonly<Record<string, unknown>>;

/** The property in which a delayed copy carries its receipts so far. */
const attemptsProperty = 'attempts';

/** One message or a batch of them, of a queue of Service Bus. The platform holds the locks. */
export function receivedOf(queue: string, input: unknown, metadata: Metadata): Received[] {
  return eachOf(input, metadata).map(([body, of]) => ({
    queue,
    message: messageOf({ body, contentType: textIn(of('contentType')), properties: propertiesOf(of) }),
    attempts: attemptsOf(of),
    lockedUntil: Number.MAX_SAFE_INTEGER,
    receipt: undefined,
  }));
}

function attemptsOf(of: Lookup): number {
  // The broker counts from 1 here, unlike in its own protocol (https://learn.microsoft.com/azure/azure-functions/functions-bindings-service-bus-trigger#message-metadata).
  return Math.max(1, countOf(propertiesOf(of)[attemptsProperty]) + Math.max(1, countOf(of('deliveryCount'))));
}

/** What a stranger has written there may be anything. One that was given back unseen has one fewer. */
function countOf(value: unknown): number {
  const count = Number(wholeOf(value) ?? 0n);
  return Math.abs(count) < 1_000_000 ? count : 0;
}

/** One event or a batch of them, of one partition of a hub, in order. */
export function deliveredOf(stream: string, input: unknown, metadata: Metadata): Delivered {
  const events = eachOf(input, metadata).map(([body, of]): StreamEvent => {
    const system = recordIn(of('systemProperties'));
    const message = messageOf({ body, contentType: textIn(system['content-type'] ?? system['contentType']), properties: recordIn(of('properties')) });
    const sequenceNumber = wholeOf(of('sequenceNumber'));
    if (sequenceNumber === undefined) throw new Defect('an event of a hub came without its sequence number');
    return { position: String(sequenceNumber), message, partitionkey: keyOf(message, textIn(of('partitionKey')) ?? '') };
  });
  const first = events[0] && BigInt(events[0].position);
  return {
    stream,
    partition: partitionOf(metadata),
    events,
    // The numbers of a partition have no holes and begin with 0 (https://learn.microsoft.com/azure/event-hubs/event-hubs-features#stream-offsets).
    follows: (after) => first === undefined || first <= (after === undefined ? 0n : BigInt(after) + 1n),
    isBehind: (position, other) => BigInt(position) > BigInt(other),
  };
}

export interface Delivered {
  readonly stream: string;
  readonly partition: string;
  readonly events: readonly StreamEvent[];
  follows(after: string | undefined): boolean;
  isBehind(position: string, other: string): boolean;
}

function partitionOf(metadata: Metadata): string {
  const context = (metadata['partitionContext'] ?? metadata['triggerPartitionContext']) as { readonly partitionId?: unknown } | undefined;
  const partition = context?.partitionId;
  if (typeof partition !== 'string' && typeof partition !== 'number') throw new Defect('a batch of a hub came without its partition');
  return String(partition);
}

// ---------------------------------------------------------------- one or many

type Lookup = (name: string) => unknown;

function eachOf(input: unknown, metadata: Metadata): [body: unknown, of: Lookup][] {
  if (!isBatch(input, metadata)) return [[input, (name) => metadata[name]]];
  return input.map((body, nth) => [body, (name) => listOf(metadata[`${name}Array`])?.[nth]]);
}

/** A single body can be a list by itself, though none of ours is: then the metadata are plain. */
const isBatch = (input: unknown, metadata: Metadata): input is unknown[] => Array.isArray(input) && !('sequenceNumber' in metadata) && !('deliveryCount' in metadata);

function listOf(value: unknown): readonly unknown[] | undefined {
  return Array.isArray(value) ? value : undefined;
}

/** A whole number of 64 bits, in whichever of its forms. `undefined` for what is none. */
function wholeOf(value: unknown): bigint | undefined {
  if (typeof value === 'number' && Number.isSafeInteger(value)) return BigInt(value);
  if (typeof value === 'string' && /^-?\d{1,19}$/.test(value)) return BigInt(value);
  const { low, high } = (value ?? {}) as { readonly low?: unknown; readonly high?: unknown };
  if (typeof low !== 'number' || typeof high !== 'number') return undefined;
  return (BigInt(high) << 32n) + BigInt(low >>> 0);
}

// ---------------------------------------------------------------- values

const propertiesOf = (of: Lookup): Readonly<Record<string, unknown>> => recordIn(of('applicationProperties') ?? of('userProperties'));
const recordIn = (value: unknown): Readonly<Record<string, unknown>> => (typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {});
const textIn = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);

/** As the stream port has it: what the broker knows the event by, and that is not always the whole key. */
function keyOf(message: Message | Malformed, brokers: string): string {
  if (isMalformed(message)) return brokers;
  return brokers === '' || brokers === nativeOf(message.partitionkey) ? message.partitionkey : brokers;
}
