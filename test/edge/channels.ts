import fc from 'fast-check';
import { events, queues, streams, subscriptions, type EventName } from '../../core/flow.ts';
import { decode, isMalformed, timestamp, type Message } from '../../ports/index.ts';
import { OrderView } from '../../core/order/events.ts';
import { openEdge, type Edge } from './edge.ts';
import { bytesOf, hostileText, mutation, resolvedIn, valuesOf, type Known, type Mutation } from './shapes.ts';

/**
 * EVERY CHANNEL, past the port: what a stranger, a newer version or a broken producer puts on the brokers. Events that are right but for a thing or two, of unknown types and
 * versions, with wrong envelopes, and what is no message at all.
 *
 * - Everything comes to rest: handled, or dead or parked with a reason. Nothing is stuck, and nothing is silently gone: what cannot be read is always kept.
 * - Neighbours go on: ordinary orders between them are delivered, with their letters.
 * - What all this leaves behind can be looked at: every order still has its shape and its page.
 */
export interface Put {
  readonly channel: { readonly kind: 'queue' | 'stream'; readonly name: string };
  readonly event: EventName;
  readonly subject: string;
  readonly sequence: number;
  readonly minutesAgo: number;
  readonly data: unknown;
  /** Of the whole message: the envelope is mutated like its data. */
  readonly mutations: readonly Mutation[];
  readonly envelope: readonly (readonly [string, unknown])[];
  readonly text?: string;
  readonly partitionkey?: string;
}

const channels = [...queues.map((name) => ({ kind: 'queue' as const, name })), ...streams.map((name) => ({ kind: 'stream' as const, name }))];
const attributes = ['specversion', 'id', 'source', 'type', 'subject', 'time', 'partitionkey', 'sequence', 'dataversion', 'correlationid', 'causationid', 'traceparent', 'data', 'malformed', '__proto__'] as const;
const odd = fc.oneof(
  fc.constantFrom<unknown>(null, 0, 1, '', '1', '2', '0', '-1', '1.5', '1e0', 'NaN', '1.0', '__proto__', 'constructor', 'toString', 'OrderPlaced', 'Unheard', '/order', '9'.repeat(10), [], {}, { a: 1 }),
  fc.constantFrom<unknown>('2026-11-20', 'Nov 20 2026', '1970-01-01T00:00:00.000Z', '9999-12-31T23:59:59.999Z', '+275760-09-13T00:00:00.000Z', '2026-11-20T09:00:00+01:00', '2026-11-20T09:00:00', 'x'.repeat(2_000), 'x'.repeat(150_000)),
  hostileText,
);

const putOf = (event: EventName): fc.Arbitrary<Put> =>
  fc.record(
    {
      channel: fc.oneof({ arbitrary: fc.constantFrom(...events[event].travels.map(({ kind, channel }) => ({ kind, name: channel }))), weight: 6 }, { arbitrary: fc.constantFrom(...channels), weight: 1 }),
      event: fc.constant(event),
      subject: fc.oneof({ arbitrary: fc.nat(5).map((n) => `@order${n}`), weight: 6 }, { arbitrary: fc.constantFrom('0'.repeat(26), 'forged'), weight: 1 }),
      sequence: fc.nat(3),
      minutesAgo: fc.constantFrom(0, 0, 1, 60 * 24, 60 * 24 * 36, -60),
      data: valuesOf(events[event].shape),
      mutations: fc.oneof({ arbitrary: fc.constant([]), weight: 2 }, { arbitrary: fc.array(mutation, { minLength: 1, maxLength: 3 }), weight: 3 }),
      envelope: fc.oneof({ arbitrary: fc.constant([]), weight: 2 }, { arbitrary: fc.array(fc.tuple(fc.constantFrom(...attributes), odd), { minLength: 1, maxLength: 2 }), weight: 2 }),
      text: hostileText,
      partitionkey: hostileText,
    },
    { requiredKeys: ['channel', 'event', 'subject', 'sequence', 'minutesAgo', 'data', 'mutations', 'envelope'], noNullPrototype: true },
  ).map((put) => (put.sequence === 3 ? put : omitted(put)));

/** One in four is no message at all, or comes under a key of its own. */
function omitted({ text: _, partitionkey: __, ...put }: Put): Put {
  return put;
}

export const puts: fc.Arbitrary<Put[]> = fc.array(fc.oneof(...(Object.keys(events) as EventName[]).map(putOf)), { minLength: 1, maxLength: 300, size: 'max' });

const victimsPerRound = 4;
const neighboursPerRound = 4;

export async function roundOfChannels(seed: number, cases: readonly Put[]): Promise<void> {
  const edge = await openEdge(seed, { deliversAfterSeconds: 5 });
  const { world } = edge;
  try {
    await world.describe('MUG', 1_000_000_000);
    await world.describe('CUP', 1_000_000_000);
    await world.describe('ORDINARY', 1_000);
    const neighbours: string[] = [];
    const victims: string[] = [];
    for (let i = 0; i < victimsPerRound; i++) victims.push((await world.place(['MUG', 1])).id);
    if (seed % 2 === 0) await edge.rest();
    const unread: Unread[] = [];
    for (const [i, put] of cases.entries()) {
      if (i % Math.ceil(cases.length / neighboursPerRound) === 0) neighbours.push((await world.place(['ORDINARY', 1])).id);
      const text = textOf(edge, put, { orders: victims, ids: victims });
      const partitionkey = put.partitionkey ?? keyOf(text) ?? 'nothing';
      putOn(edge, put.channel, text, partitionkey);
      if (isMalformed(decode(text))) unread.push({ ...put.channel, text, partitionkey });
    }
    // Forged facts can contradict each other (shipped and stopped): such an order stays open, and its last message is parked with the reason. The neighbours' do not.
    await edge.rest(24 * 3_600, (left) => !left.includes(' open|') || neighbours.some((id) => left.includes(id)));
    demandReasons(edge);
    demandKept(edge, unread);
    for (const id of neighbours) {
      if (world.order(id) !== 'Delivered') throw new Error(`the ordinary order ${id} is ${world.order(id)}`);
      const letters = world.letters(id).length;
      if (letters !== 3) throw new Error(`the ordinary order ${id} has ${letters} letters`);
    }
    for (const id of [...neighbours, ...victims]) await demandVisible(edge, id);
    if (({} as Record<string, unknown>)['polluted'] !== undefined) throw new Error('a prototype has been polluted');
  } finally {
    await edge.close();
  }
}

function textOf({ world }: Edge, put: Put, known: Known): string {
  if (put.text !== undefined) return put.text;
  const at = timestamp(world.clock.now() - put.minutesAgo * 60_000);
  const subject = resolvedIn(put.subject, known) as string;
  const sequence = put.sequence + 100;
  const { from, version } = events[put.event];
  // By hand: our own services say nothing that has not its shape, and this is not they.
  const message: Message = {
    specversion: '1.0', id: `${subject}:${put.event}:${sequence}`, source: `/${from}`, type: put.event, subject, time: at, partitionkey: subject, sequence: String(sequence).padStart(10, '0'),
    dataversion: String(version), correlationid: subject, data: resolvedIn(put.data, known),
  };
  const envelope = put.envelope.reduce((all: object, [name, value]) => Object.defineProperty({ ...all }, name, { value, enumerable: true }), message);
  return bytesOf(envelope, put.mutations).toString('utf8');
}

/** As a producer would have it. */
function keyOf(text: string): string | undefined {
  const message = decode(text);
  return isMalformed(message) ? undefined : message.partitionkey;
}

function putOn({ world }: Edge, { kind, name }: Put['channel'], text: string, partitionkey: string): void {
  const now = world.clock.now();
  if (kind === 'queue') world.engines.queue.send(name, [text], { now });
  else world.engines.stream.append(name, [{ partitionkey, text }], now);
}

interface Unread {
  readonly kind: 'queue' | 'stream';
  readonly name: string;
  readonly text: string;
  readonly partitionkey: string;
}

function demandReasons({ world }: Edge): void {
  const heads = [...world.rows<{ reason?: string }>('parked'), ...world.rows<{ reason?: string }>('dead')];
  const mute = heads.find(({ body }) => !body.reason);
  if (mute) throw new Error(`${mute.key} has no reason`);
}

/** What nobody can read is dead, or parked for each that follows the stream; at the least its beginning is there. */
function demandKept({ world }: Edge, unread: readonly Unread[]): void {
  const dead = world.rows<{ message: Message | { raw: string } }>('dead').map(({ body }) => ('raw' in body.message ? body.message.raw : ''));
  const items = world.rows<{ message: Message | { raw: string } }>('item').filter(({ partition }) => partition.startsWith('consumers~')).map(({ body }) => ('raw' in body.message ? body.message.raw : ''));
  const times = (list: readonly string[], text: string): number => list.filter((raw) => raw !== '' && text.startsWith(raw)).length;
  for (const { kind, name, text } of unread.filter(({ text: each }) => each !== '')) {
    const followers = subscriptions.filter(({ channel, kind: of }) => of === 'stream' && channel === name).length;
    if (times(kind === 'queue' ? dead : items, text) < (kind === 'queue' ? 1 : followers)) throw new Error(`${JSON.stringify(text.slice(0, 200))} on ${name} is gone`);
  }
}

async function demandVisible(edge: Edge, id: string): Promise<void> {
  const json = await edge.call('getOrder', { params: { id } });
  if (json.status !== 200 || !OrderView.safeParse(JSON.parse(String(json.body))).success) throw new Error(`order ${id} cannot be shown: ${json.status} ${String(json.body).slice(0, 800)}`);
  const page = await edge.call('orderPage', { params: { id } });
  if (page.status !== 200) throw new Error(`order ${id} has no page: ${page.status} ${JSON.stringify(edge.world.log.lines.at(-1)?.data)}`);
}
