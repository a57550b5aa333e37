import { Invalid, isMalformed, isPortError, isTransient, partitionOf, refuse, timestamp, type Malformed, type Message, type Refusal } from '../../ports/index.ts';
import { audit } from '../audit.ts';
import { collections, events, isEventName, type EventName } from '../flow.ts';
import { acts } from '../kernel/acts.ts';
import { causeOfReason, deadLetters, isDead, resolveDead, sendAgain, type DeadLetter } from '../kernel/dead.ts';
import { passOn } from '../kernel/execute.ts';
import { isTooOld } from '../kernel/forget.ts';
import type { Finding } from '../kernel/list.ts';
import { deathsMax, dropFirst, droppedItems, parkedItems, parkedKeys, retryNow, type ParkedKey } from '../kernel/park.ts';
import { checked } from '../kernel/receive.ts';
import { dropStuck, retryStuck, stuckRows } from '../kernel/relay.ts';
import type { Kernel, Reply, Service } from '../kernel/service.ts';
import type { OutboxBody } from '../../ports/index.ts';
import type { ActView, DeadLetterView, ParkedView, SayByHand, StuckView } from './events.ts';
import { metrics } from './metrics.ts';
import { pulseOf } from './pulse.ts';
import { storyOf } from './story.ts';

/**
 * OPERATIONS: the desk from which people look after the services. It reads every service's rows, and changes none of them but those that wait for a person: dead
 * letters, parked keys, stuck messages. (Uncertain letters and bookings are their services' own.)
 */
export const operations: Service<'operations'> = {
  name: 'operations',
  hears: {},
  ticks: {},

  answers: {
    async listDeadLetters(kernel, { query }): Promise<Reply> {
      const found = (await deadLetters(kernel)).filter(({ body }) => (body.state ?? 'dead') === query.state);
      return page(found.map(deadLetterView), query);
    },
    getDeadLetter: (kernel, { params }) =>
      withOne(deadLetters(kernel), params.id, (found) => ({ status: 200, json: { ...deadLetterView(found), message: found.body.message, history: found.body.history ?? [] } })),
    retryDeadLetter: (kernel, { params }) => withOne(deadLetters(kernel), params.id, async (found) => (await sendAgain(kernel, found)) ?? { status: 202 }),
    retryDeadLetters: async (kernel, { body }) => retryAll((await deadLetters(kernel)).filter((found) => isDead(found.body)), deadLetterView, body.cause, (found) => sendAgain(kernel, found)),
    resolveDeadLetter: (kernel, { params, body }) => withOne(deadLetters(kernel), params.id, async (found) => (await resolveDead(kernel, found, body.why)) ?? { status: 204 }),

    async listParked(kernel, { query }): Promise<Reply> {
      return page((await parkedKeys(kernel)).map(parkedView), query);
    },
    getParked: (kernel, { params }) => withOne(parkedKeys(kernel), params.id, (found) => parkedDetail(kernel, found)),
    retryParkedKey: (kernel, { params }) => withOne(parkedKeys(kernel), params.id, async ({ found }) => (await retryNow(kernel, found)) ?? { status: 202 }),
    retryParkedKeys: async (kernel, { body }) => retryAll(await parkedKeys(kernel), parkedView, body.cause, ({ found }) => retryNow(kernel, found)),
    resolveParked: (kernel, { params, body }) => withOne(parkedKeys(kernel), params.id, async ({ found }) => (await dropFirst(kernel, found, body)) ?? { status: 204 }),

    async listStuck(kernel, { query }): Promise<Reply> {
      return page((await stuckRows(kernel)).map(stuckView), query);
    },
    getStuck: (kernel, { params }) => withOne(stuckRows(kernel), params.id, (found) => ({ status: 200, json: { ...stuckView(found), message: found.body.message } })),
    retryStuckRow: (kernel, { params }) => withOne(stuckRows(kernel), params.id, async (found) => (await retryStuck(kernel, found)) ?? { status: 202 }),
    retryStuckRows: async (kernel, { body }) => retryAll(await stuckRows(kernel), stuckView, body.cause, (found) => retryStuck(kernel, found)),
    resolveStuck: (kernel, { params, body }) => withOne(stuckRows(kernel), params.id, async (found) => (await dropStuck(kernel, found, body.why)) ?? { status: 204 }),

    async orderStory(kernel, { params }): Promise<Reply> {
      const story = await storyOf(kernel, params.id);
      return story ? { status: 200, json: story } : refuse(404, 'not-found', 'nobody knows such an order');
    },
    async auditShop(kernel): Promise<Reply> {
      return { status: 200, json: await audit(kernel) };
    },
    async shopPulse(kernel, { query }): Promise<Reply> {
      return { status: 200, json: await pulseOf(kernel, query.span) };
    },
    async listActs(kernel, { query }): Promise<Reply> {
      const { items, next } = await acts(kernel, query);
      return { status: 200, json: { items: items.map(actView), ...(next === undefined ? {} : { next }) } };
    },
    sayByHand: (kernel, { body }) => sayByHand(kernel, body),
    metrics: (kernel) => metrics(kernel),
  },
};

// ---------------------------------------------------------------- troubles, of whatever kind

interface Trouble {
  readonly id: string;
  readonly cause: string;
  /** RFC 3339. */
  readonly at: string;
}

/** Eldest first. `next` is the place of the last one, so that rows which go meanwhile leave no gap. */
function page(troubles: readonly Trouble[], { limit, after, cause }: { limit: number; after?: string; cause?: string }): Reply {
  const place = ({ at, id }: Trouble): string => `${at}~${id}`;
  const all = troubles.filter((each) => (cause === undefined || each.cause === cause) && (after === undefined || place(each) > after)).sort((a, b) => (place(a) < place(b) ? -1 : 1));
  const items = all.slice(0, limit);
  return { status: 200, json: all.length > limit ? { items, next: place(items.at(-1)!) } : { items } };
}

async function withOne<Found extends { readonly id: string }>(all: Promise<readonly Found[]>, id: string, work: (found: Found) => Promise<Reply> | Reply): Promise<Reply> {
  const found = (await all).find((each) => each.id === id);
  return found ? work(found) : refuse(404, 'not-found', 'there is nothing of this id; it may have been dealt with');
}

/** One after the other. What cannot be retried, has changed meanwhile, or was not confirmed by the store, is left: the next look shows it, or no longer does. */
async function retryAll<Found>(
  all: readonly Found[], view: (found: Found) => Trouble, cause: string | undefined, retry: (found: Found) => Promise<Refusal | undefined>,
): Promise<Reply> {
  const wanted = all.filter((found) => cause === undefined || view(found).cause === cause);
  let retried = 0;
  for (const found of wanted) if (await isDone(retry(found))) retried++;
  return { status: 202, json: { retried, left: wanted.length - retried } };
}

async function isDone(retry: Promise<Refusal | undefined>): Promise<boolean> {
  try {
    return (await retry) === undefined;
  } catch (error) {
    if (isTransient(error)) return false;
    throw error;
  }
}

const about = (message: Message | Malformed): { event?: string; subject?: string } => (isMalformed(message) ? {} : { event: message.type, subject: message.subject });
const because = (reason: string): { reason: string; cause: string } => ({ reason, cause: causeOfReason(reason) });

function deadLetterView({ id, body }: Finding<DeadLetter>): DeadLetterView {
  const { channel, consumer, reason, attempts, at, message, state = 'dead' } = body;
  return { id, ...because(reason), ...about(message), at, queue: channel, consumer, attempts, state };
}

function parkedView({ id, consumer, stream, partitionkey, reason, at, attempts, deaths, notBefore, items }: ParkedKey): ParkedView {
  return {
    id, ...because(reason), subject: partitionkey, at, stream, consumer, partitionkey, events: items, attempts,
    ...(deaths < deathsMax ? { retryAt: timestamp(notBefore) } : {}),
  };
}

async function parkedDetail(kernel: Kernel, parked: ParkedKey): Promise<Reply> {
  const { consumer, stream, partitionkey } = parked;
  const items = await parkedItems(kernel, consumer, stream, partitionkey, 100);
  const dropped = await droppedItems(kernel, consumer, stream, partitionkey);
  return { status: 200, json: { ...parkedView(parked), messages: items.map(({ body }) => body.message), dropped } };
}

function stuckView({ id, body }: Finding<OutboxBody>): StuckView {
  const { message, roads, stuck = '', attempts, at } = body;
  return { id, ...because(stuck), ...about(message), at: timestamp(at), channels: roads.map(({ channel }) => channel), attempts };
}

function actView({ done, ...act }: Awaited<ReturnType<typeof acts>>['items'][number]): ActView {
  const params = Object.fromEntries(Object.entries(act.params).filter((each): each is [string, string] => each[1] !== undefined));
  return { ...act, params, ...(done ? { state: 'done', status: done.status, endedAt: done.at } : { state: 'begun' }) };
}

// ---------------------------------------------------------------- saying by hand

/** Like everything else it is said in a commit: a row of the outbox, beside the dead letters. What nobody on that channel could read is refused. */
async function sayByHand(kernel: Kernel, { channel, message: given }: SayByHand): Promise<Reply> {
  const road = isEventName(given.type) ? events[given.type].travels.find((travel) => travel.channel === channel) : undefined;
  if (!road) return refuse(422, 'wrong-channel', `${given.type} does not travel on ${channel}`);
  const message = complete(kernel, given, given.type as EventName);
  if (isTooOld(message.time, kernel.clock.now())) return refuse(422, 'too-old', 'nobody handles what is so old; leave the time out, and it is said now');
  try {
    checked(message);
  } catch (error) {
    if (error instanceof Invalid) return refuse(422, 'wrong-shape', error.complaints.length > 0 ? 'the message does not have the declared shape' : error.message, error.complaints.map((each) => ({ ...each, pointer: `/message${each.pointer}` })).slice(0, 100));
    throw error;
  }
  const said = await put(kernel, message, { kind: road.kind, channel });
  return said ?? { status: 202, json: { id: message.id, source: message.source, channel } };
}

function complete(kernel: Kernel, given: SayByHand['message'], type: EventName): Message {
  const { subject, data, id = `by-hand:${kernel.ids.random()}`, source = `/${events[type].from}`, time = timestamp(kernel.clock.now()), dataversion = String(events[type].version) } = given;
  return { specversion: '1.0', id, source, type, subject, time, partitionkey: subject, sequence: '0000000000', dataversion, correlationid: given.correlationid ?? subject, data };
}

async function put(kernel: Kernel, message: Message, road: { kind: 'queue' | 'stream'; channel: string }): Promise<Refusal | undefined> {
  try {
    const { outbox } = await kernel.store.commit(partitionOf(collections.dead, message.id), { outgoing: [{ message, roads: [road] }] });
    await passOn(kernel, outbox);
    return undefined;
  } catch (error) {
    if (isPortError(error, 'conflict')) return refuse(409, 'under-way', 'the one that was said before about this subject is still under way');
    if (isPortError(error, 'tooLarge')) return refuse(422, 'too-large', error.message);
    throw error;
  }
}

