import { isPortError, partsOf, type Letter, type Message, type Outgoing, type RawWrite, type Road } from '../../ports/index.ts';
import type { Call } from '../support/world.ts';
import { createBooks, type Books } from '../support/books.ts';

/**
 * THE LEDGER of a world that is killed: it sees every effect on a port as it happens, and nothing else, and checks what has to hold at every moment:
 *
 * - the stock equation, the claims and the order of Inventory's orders (books.ts), after each of its commits;
 * - no order is stopped and shipped, no fact of an order is forgotten;
 * - nothing is sent that was not committed before, and of one subject nothing overtakes what was said before it on the same channel;
 * - no letter leaves twice.
 *
 * The first thing that does not hold is kept; what comes after it may be its consequence.
 */
export interface Ledger {
  readonly violation: string | undefined;
  readonly letters: readonly Letter[];
  readonly books: Books;
  /** Notes an effect that was done, whether its answer arrives or not. */
  note(call: Call, answer: unknown, now: number): void;
  fail(what: string): void;
  /** A message that a stranger puts on a channel: nobody has committed it. */
  plant(message: Message): void;
  /** When something was last done that is more than looking, and after how many calls. */
  readonly changed: { readonly at: number; readonly call: number };
  /** What somebody has to come back to, in words. */
  open(): string[];
  /** The parked keys: `consumer stream key`. */
  parked(): string[];
  /** What was committed and is not on all its roads. */
  unsent(): string[];
}

interface Said {
  readonly partition: string;
  readonly message: Message;
  readonly roads: Set<string>;
  readonly sent: Set<string>;
}

/** Rows that say that somebody has to come back; a parked key is told apart, for it may be explained. */
const waiting = new Set(['outbox', 'open', 'due']);
/** Rows that are written although nothing happens: how far one has read, when one tries again, who sweeps. */
const idle = new Set(['position', 'parked', 'lease']);

export function createLedger(calls: () => number): Ledger {
  const books = createBooks();
  const letters: Letter[] = [];
  const said = new Map<string, Said>();
  const planted = new Set<string>();
  const open = new Set<string>();
  const parked = new Set<string>();
  const facts = new Map<string, ReadonlySet<string>>();
  let violation: string | undefined;
  let changed = { at: 0, call: 0 };

  function fail(what: string): void {
    violation ??= what;
  }

  function committed(partition: string, writes: readonly RawWrite[]): boolean {
    for (const write of writes) enter(partition, write);
    const [collection] = partition.split('~');
    if (collection === 'invorder' || collection === 'stock') keepBooks(partition, writes);
    return writes.some(({ key }) => !idle.has(nounOf(key)));
  }

  /** The books know the rows of Inventory; those of the kernel beside them are not theirs. */
  function keepBooks(partition: string, writes: readonly RawWrite[]): void {
    const own = writes.filter(({ key }) => !['lease', 'seen'].includes(nounOf(key)));
    if (own.length > 0) books.note(partition, own);
  }

  function enter(partition: string, write: RawWrite): void {
    const [noun = '', ...rest] = partsOf(write.key);
    const gone = write.op === 'delete';
    const body: unknown = write.op === 'delete' ? undefined : JSON.parse(write.body);
    if (waiting.has(noun)) mark(open, `${partition} ${write.key}`, gone || (body as { stuck?: string }).stuck !== undefined);
    if (noun === 'parked') mark(parked, rest.join(' '), gone);
    if (noun === 'outbox' && write.op === 'create') say(partition, body as Outgoing);
    if (noun === 'order' && partition.startsWith('orders~')) checkOrder(rest[0]!, (body as { state: { at: object } }).state.at);
    if (noun === 'shipment') checkShipment(rest[0]!, (body as { state: { booking?: object; stoppedAt?: string } }).state);
  }

  function checkOrder(id: string, at: object): void {
    const now = new Set(Object.keys(at));
    for (const fact of facts.get(id) ?? []) if (!now.has(fact)) fail(`order ${id} has forgotten ${fact}`);
    if (now.has('ShippingStopped') && now.has('OrderFulfillment')) fail(`order ${id} is both stopped and shipped`);
    facts.set(id, now);
  }

  function checkShipment(id: string, { booking, stoppedAt }: { booking?: object; stoppedAt?: string }): void {
    if (booking && stoppedAt !== undefined) fail(`the shipment of ${id} is both stopped and booked`);
  }

  function say(partition: string, { message, roads }: { message: Message; roads: readonly Road[] }): void {
    const known = said.get(idOf(message)) ?? { partition, message, roads: new Set(), sent: new Set() };
    for (const { channel } of roads) known.roads.add(channel);
    said.set(idOf(message), known);
  }

  function sent(channel: string, message: Message): void {
    if (planted.has(idOf(message))) return;
    const own = said.get(idOf(message));
    if (!own) return fail(`${message.type} of ${message.subject} is on ${channel} and was never committed`);
    if (gist(own.message) !== gist(message)) return fail(`${message.type} of ${message.subject} on ${channel} says something else than what was committed`);
    if (!own.sent.has(channel)) checkElders(channel, own);
    own.sent.add(channel);
  }

  function checkElders(channel: string, { partition, message }: Said): void {
    for (const elder of said.values()) {
      const before = elder.partition === partition && elder.message.subject === message.subject && elder.message.sequence < message.sequence;
      if (before && elder.roads.has(channel) && !elder.sent.has(channel)) fail(`${message.type} of ${message.subject} has overtaken ${elder.message.type} on ${channel}`);
    }
  }

  function post(letter: Letter): void {
    if (letters.some(({ key }) => key === letter.key)) fail(`the letter ${letter.key} left twice`);
    letters.push(letter);
  }

  /** Enters the effect; answers whether it is more than looking. */
  function enterCall({ port, method, args }: Call, answer: unknown): boolean {
    switch (`${port}.${method}`) {
      case 'store.commit':
        return committed(args[0] as string, args[1] as RawWrite[]);
      case 'queue.send':
        for (const message of args[1] as Message[]) sent(args[0] as string, message);
        return true;
      case 'stream.append': {
        const failed = new Set((answer as { index: number }[]).map(({ index }) => index));
        (args[1] as Message[]).forEach((message, i) => failed.has(i) || sent(args[0] as string, message));
        return true;
      }
      case 'queue.receive':
        return (answer as unknown[]).length > 0;
      case 'mailer.send':
        post(args[0] as Letter);
        return true;
      default:
        return method === 'remove' || method === 'book';
    }
  }

  return {
    get violation() {
      return violation;
    },
    get changed() {
      return changed;
    },
    letters,
    books,
    fail,
    plant: (message) => void planted.add(idOf(message)),
    note(call, answer, now) {
      try {
        if (enterCall(call, answer)) changed = { at: now, call: calls() };
      } catch (error) {
        if (isPortError(error)) throw error;
        fail(error instanceof Error ? error.message : String(error));
      }
    },
    open: () => [...open],
    parked: () => [...parked].sort(),
    unsent: () => [...said.values()].flatMap(({ message, roads, sent: on }) => [...roads].filter((road) => !on.has(road)).map((road) => `${message.type} of ${message.subject} never came to ${road}`)),
  };
}

function mark(set: Set<string>, name: string, gone: boolean): void {
  if (gone) set.delete(name);
  else set.add(name);
}

const nounOf = (key: string): string => key.slice(0, key.indexOf('|') === -1 ? undefined : key.indexOf('|'));
const idOf = ({ source, id }: Pick<Message, 'source' | 'id'>): string => `${source} ${id}`;
/** What is said, whatever the order of the envelope's attributes. */
const gist = ({ type, subject, sequence, time, data }: Message): string => JSON.stringify([type, subject, sequence, time, data]);
