import fc from 'fast-check';
import { writers, type FormatName } from '../../adapters/carriers/index.ts';
import type { HttpAnswer } from '../../handlers/host.ts';
import { parcelId } from '../../core/shipping/parcel.ts';
import { key as keyOf, timestamp, type TrackingFact, type TrackingStatus } from '../../ports/index.ts';
import { checkJson } from './doors.ts';
import { openEdge, secrets, signed, type Edge } from './edge.ts';
import { bytesOf, hostileText, mutation, type Mutation } from './shapes.ts';

/**
 * THE WEBHOOK, in every format that it reads: genuine notices, forged ones, genuine ones that were changed on their way, old ones said again, and nonsense with a right
 * signature. Signatures are made here from the vendors' documentation, not by the adapters.
 *
 * - What is not signed with the secret over these very bytes is 401 and changes nothing.
 * - A notice said again is taken, and changes nothing. Where the format has a time, one that is too old is forged.
 * - What is genuine and unreadable is 400 and changes nothing. Never a 5xx.
 * - At the end exactly those orders are delivered of which a genuine notice has said so.
 */
export interface Said {
  readonly carrier: FormatName;
  readonly status: TrackingStatus;
  /** Which order's parcel; of those that nobody knows. */
  readonly parcel: number;
  readonly notice: number;
  readonly minutesAgo: number;
  readonly how: 'genuine' | 'unsigned' | 'otherSecret' | 'otherCarrier' | 'changedAfter' | 'changedBefore' | 'header' | 'again' | 'old' | 'nobody';
  readonly mutations: readonly Mutation[];
  readonly text: string;
}

const statuses: readonly TrackingStatus[] = ['unknown', 'preTransit', 'inTransit', 'outForDelivery', 'availableForPickup', 'delivered', 'returned', 'failed'];
const hows: readonly Said['how'][] = ['genuine', 'genuine', 'genuine', 'again', 'unsigned', 'otherSecret', 'otherCarrier', 'changedAfter', 'changedAfter', 'changedBefore', 'changedBefore', 'header', 'old', 'nobody'];

export const notices: fc.Arbitrary<Said[]> = fc.array(
  fc.record({
    carrier: fc.constantFrom(...(Object.keys(writers) as FormatName[])),
    status: fc.constantFrom(...statuses, 'delivered'),
    parcel: fc.nat(9),
    notice: fc.nat(40),
    minutesAgo: fc.nat(600),
    how: fc.constantFrom(...hows),
    mutations: fc.array(mutation, { minLength: 1, maxLength: 3 }),
    text: hostileText,
  }),
  { minLength: 1, maxLength: 300, size: 'max' },
);

const ordersPerRound = 6;

export async function roundOfNotices(seed: number, cases: readonly Said[]): Promise<void> {
  const edge = await openEdge(seed, { deliversAfterSeconds: 0 });
  try {
    const { world } = edge;
    await world.describe('MUG', 100);
    const orders: string[] = [];
    for (let i = 0; i < ordersPerRound; i++) orders.push((await world.place(['MUG', 1])).id);
    await edge.rest();
    const numbers = orders.map((id) => parcelOf(edge, id));
    const delivered = new Set<string>();
    const taken = new Map<string, Posted>();
    for (const said of cases) await sayOne(edge, { numbers, delivered, taken }, said);
    await edge.rest();
    orders.forEach((id, i) => {
      const expected = delivered.has(numbers[i]!) ? 'Delivered' : 'Shipped';
      if (world.order(id) !== expected) throw new Error(`order ${i} is ${world.order(id)}, genuine notices say ${expected}`);
    });
    const letters = world.engines.letters.map(({ key }) => key);
    if (new Set(letters).size !== letters.length) throw new Error('a letter was sent twice');
    const faults = await world.audit();
    if (faults.length > 0) throw new Error(`the books do not agree: ${faults.slice(0, 5).join('; ')}`);
  } finally {
    await edge.close();
  }
}

function parcelOf({ world }: Edge, orderId: string): string {
  const row = world.rows<{ state: { booking?: { trackingNumber: string } } }>('shipment').find(({ key }) => key.endsWith(orderId));
  if (!row?.body.state.booking) throw new Error('an order was not booked');
  return row.body.state.booking.trackingNumber;
}

interface Posted {
  readonly carrier: FormatName;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  readonly fact: TrackingFact;
}
interface State {
  readonly numbers: readonly string[];
  readonly delivered: Set<string>;
  /** By the id of what they say: those that were taken. */
  readonly taken: Map<string, Posted>;
}

async function sayOne(edge: Edge, { numbers, delivered, taken }: State, said: Said): Promise<void> {
  const { carrier, how } = said;
  const now = edge.world.clock.now();
  const known = numbers[said.parcel];
  // An id says one thing for ever: so it is made of all that is said.
  const fact: TrackingFact = {
    carrier: 'demo', trackingNumber: known ?? `NOBODY${said.parcel}`, status: said.status, occurredAt: timestamp(now - said.minutesAgo * 60_000),
    noticeId: `n-${carrier}-${said.parcel}-${said.status}-${said.minutesAgo}-${said.notice}`,
  };
  const posted: Posted = { carrier, fact, ...writers[carrier](fact, secrets[carrier], now) };
  const before = edge.changes();
  const post = async (path: string, headers: Readonly<Record<string, string>>, body: Uint8Array): Promise<HttpAnswer> => {
    const answer = await edge.call('takeNotice', { method: 'POST', params: { carrier: path }, headers, body });
    const told = `${carrier}, ${how}: ${answer.status} ${String(answer.body)}`;
    if (answer.status >= 500) throw new Error(`${told} ${JSON.stringify(edge.world.log.lines.at(-1)?.data)}`);
    if (answer.status !== 204 && edge.changes() !== before) throw new Error(`${told}, and has changed something`);
    checkJson('takeNotice', answer, told);
    return answer;
  };
  const demand = async (answer: Promise<HttpAnswer>, ...wanted: number[]): Promise<HttpAnswer> => {
    const { status } = await answer;
    if (!wanted.includes(status)) throw new Error(`${carrier}, ${how}: ${status} instead of ${wanted.join(' or ')}`);
    return answer;
  };
  const changed = bytesOf(JSON.parse(Buffer.from(posted.body).toString()), said.mutations);

  switch (how) {
    case 'genuine': {
      await demand(post(carrier, posted.headers, posted.body), 204);
      taken.set(fact.noticeId, posted);
      if (said.status === 'delivered' && known !== undefined) delivered.add(known);
      return;
    }
    case 'again': {
      const old = [...taken.values()].at(-1 - (said.notice % Math.max(1, Math.min(taken.size, 20))));
      if (!old) return;
      await demand(post(old.carrier, old.headers, old.body), 204);
      if (edge.changes() !== before) throw new Error(`${old.carrier}: a notice that was said again has changed something`);
      return;
    }
    case 'unsigned':
      return void (await demand(post(carrier, {}, posted.body), 401));
    case 'otherSecret':
      return void (await demand(post(carrier, signed(carrier, posted.body, now, `${secrets[carrier]}x`), posted.body), 401));
    case 'otherCarrier': {
      const other = (Object.keys(secrets) as FormatName[]).find((each) => each !== carrier)!;
      return void (await demand(post(other, posted.headers, posted.body), 401));
    }
    case 'changedAfter':
      if (changed.equals(Buffer.from(posted.body))) return;
      return void (await demand(post(carrier, posted.headers, changed), 401));
    case 'changedBefore': {
      const { status } = await demand(post(carrier, signed(carrier, changed, now), changed), 204, 400);
      // What it says now is what the carrier says: if that delivers a parcel of ours, so it is.
      if (status === 204) for (const number of numbers) if (isDelivered(edge, number)) delivered.add(number);
      return;
    }
    case 'header': {
      const [name, value] = Object.entries(signed(carrier, posted.body, now))[0]!;
      const given = said.notice % 3 === 0 ? said.text : said.notice % 3 === 1 ? value.slice(0, -1) : `${value}, ${value}`;
      return void (await demand(post(carrier, { [name]: given }, posted.body), given === value ? 204 : 401));
    }
    case 'old':
      if (carrier !== 'shippo') return;
      return void (await demand(post(carrier, signed(carrier, posted.body, now - 301_000 + (said.notice % 2) * 602_000), posted.body), 401));
    case 'nobody':
      return void (await demand(post(['dem', 'DEMO', '__proto__', 'constructor', said.text.slice(0, 40)][said.notice % 5]!, posted.headers, posted.body), 404, 400));
  }
}

const isDelivered = ({ world }: Edge, number: string): boolean =>
  world.rows<{ state: { status: string } }>('parcel').some(({ partition, key, body }) => partition.startsWith('parcels~') && key === keyOf('parcel', parcelId({ carrier: 'demo', trackingNumber: number })) && body.state.status === 'delivered');
