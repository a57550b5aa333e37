import { createHash } from 'node:crypto';
import type { NoticeAnswer, NoticeReader, TrackingFact } from '../../../ports/index.ts';
import type { FormatName } from '../../../adapters/carriers/index.ts';
import { noticeReaders } from '../../../adapters/carriers/index.ts';
import { notices } from '../families.ts';
import { noticeCases, type NoticeFamily } from '../notices.ts';
import type { Mutant } from './mutant.ts';

type Read = NoticeReader['read'];

function reader(name: string, format: FormatName, change: (read: Read, secret: string | undefined, family: NoticeFamily) => Read): Mutant {
  const family = notices(format);
  const bad: NoticeFamily = { ...family, open: (secret) => ({ read: change((...args) => family.open(secret).read(...args), secret, family) }) };
  return { name, port: 'notices', cases: () => noticeCases(bad) };
}
const believes = (name: string, format: FormatName, change: (fact: TrackingFact, raw: Uint8Array, now: number) => TrackingFact | undefined): Mutant =>
  reader(name, format, (read) => (raw, headers, now) => {
    const answer = read(raw, headers, now);
    return 'refused' in answer ? answer : { facts: answer.facts.flatMap((fact) => change(fact, raw, now) ?? []) };
  });
/** What the reader would answer if these bytes were genuine. */
const genuine = (family: NoticeFamily, secret: string, raw: Uint8Array, now: number): NoticeAnswer => family.open(secret).read(raw, family.sign(raw, secret, now), now);
const respelt = (raw: Uint8Array): Uint8Array => Buffer.from(JSON.stringify(JSON.parse(Buffer.from(raw).toString())));

export const noticeMutants: readonly Mutant[] = [
  reader('believes everything without a secret', 'demo', (read, secret, family) => (raw, headers, now) => (secret?.trim() ? read(raw, headers, now) : genuine(family, 'any', raw, now))),
  reader('lets an empty secret be one', 'demo', (read, secret, family) => (raw, headers, now) => {
    const answer = read(raw, headers, now);
    if (!('refused' in answer) || answer.refused !== 'noSecret' || secret === undefined) return answer;
    return JSON.stringify(family.sign(raw, secret, now)[family.signedBy]) === JSON.stringify(headers[family.signedBy]) ? genuine(family, 'any', raw, now) : { refused: 'forged', detail: '' };
  }),
  reader('checks a signature only where there is one', 'easypost', (read, secret, family) => (raw, headers, now) => (headers[family.signedBy] || !secret ? read(raw, headers, now) : genuine(family, secret, raw, now))),
  reader('compares as many letters of a signature as there are', 'easypost', (read, secret, family) => (raw, headers, now) => {
    const [given, right] = [headers[family.signedBy], secret && family.sign(raw, secret, now)[family.signedBy]];
    return secret && given && right?.startsWith(given) ? genuine(family, secret, raw, now) : read(raw, headers, now);
  }),
  reader('compares signatures without case', 'demo', (read, _, family) => (raw, headers, now) => read(raw, { ...headers, [family.signedBy]: headers[family.signedBy]?.toLowerCase() }, now)),
  reader('verifies what it has parsed and written again', 'aftership', (read) => (raw, headers, now) => {
    try {
      return read(respelt(raw), headers, now);
    } catch {
      return read(raw, headers, now);
    }
  }),
  reader('signs a notice without its body', 'shippo', (read, secret, family) => (raw, headers, now) => {
    const answer = read(raw, headers, now);
    const stolen = secret && 'refused' in answer && answer.refused === 'forged' && /^t=\d+,v1=[0-9a-f]{64}$/.test(headers[family.signedBy] ?? '');
    return stolen ? genuine(family, secret, raw, now) : answer;
  }),
  reader('minds no age', 'shippo', (read) => (raw, headers, now) => {
    const at = Number(/t=(\d{1,12})/.exec(headers['shippo-auth-signature'] ?? '')?.[1] ?? now / 1_000) * 1_000;
    return read(raw, headers, at);
  }),
  reader('minds no notice from the future', 'shippo', (read) => (raw, headers, now) => {
    const at = Number(/t=(\d{1,12})/.exec(headers['shippo-auth-signature'] ?? '')?.[1] ?? 0) * 1_000;
    return read(raw, headers, Math.max(now, at));
  }),
  reader('is one second too patient', 'shippo', (read) => (raw, headers, now) => {
    const at = Number(/t=(\d{1,12})/.exec(headers['shippo-auth-signature'] ?? '')?.[1] ?? 0) * 1_000;
    return read(raw, headers, now > at ? now - 1_000 : now);
  }),
  reader('is one second too impatient', 'shippo', (read) => (raw, headers, now) => {
    const at = Number(/t=(\d{1,12})/.exec(headers['shippo-auth-signature'] ?? '')?.[1] ?? 0) * 1_000;
    return read(raw, headers, now > at ? now + 1_000 : now);
  }),
  reader('throws for what it cannot parse', 'demo', (read) => (raw, headers, now) => {
    JSON.parse(Buffer.from(raw).toString());
    return read(raw, headers, now);
  }),
  reader('calls malformed what is forged', 'demo', (read) => (raw, headers, now) => {
    const answer = read(raw, headers, now);
    return 'refused' in answer && answer.refused === 'forged' && raw.length < 10 ? { ...answer, refused: 'malformed' } : answer;
  }),
  reader('makes no fact of what it cannot read', 'shippo', (read) => (raw, headers, now) => {
    const answer = read(raw, headers, now);
    return 'refused' in answer && answer.refused === 'malformed' ? { facts: [] } : answer;
  }),
  reader('reads latin for UTF-8', 'easypost', (read, secret, family) => (raw, headers, now) => {
    const answer = read(raw, headers, now);
    const lenient = Buffer.from(Buffer.from(raw).toString());
    return 'refused' in answer && answer.refused === 'malformed' && secret ? genuine(family, secret, lenient, now) : answer;
  }),
  reader('accepts one byte over the limit in silence', 'demo', (read, secret, family) => (raw, headers, now) => {
    const answer = read(raw, headers, now);
    return secret && 'refused' in answer && answer.refused === 'malformed' && raw.length === 1024 * 1024 + 1 ? genuine(family, secret, Buffer.from(Buffer.from(raw).toString().replace('xx', 'x')), now) : answer;
  }),
  reader('repeats the customer\'s words in its complaint', 'demo', (read) => (raw, headers, now) => {
    const answer = read(raw, headers, now);
    return 'refused' in answer ? { ...answer, detail: `${answer.detail}: ${Buffer.from(raw).toString()}` } : answer;
  }),
  believes('takes a status that it does not know for a delivery', 'easypost', (fact) => ({ ...fact, status: fact.status === 'unknown' ? 'delivered' : fact.status })),
  believes('takes what has failed for what comes back', 'aftership', (fact) => ({ ...fact, status: fact.status === 'failed' ? 'returned' : fact.status })),
  believes('tells when it heard of it instead of when it happened', 'shippo', (fact, _, now) => ({ ...fact, occurredAt: new Date(now).toISOString() })),
  believes('says the carrier in capitals', 'demo', (fact) => ({ ...fact, carrier: fact.carrier.toUpperCase() })),
  believes('cuts a long tracking number', 'easypost', (fact) => ({ ...fact, trackingNumber: fact.trackingNumber.slice(0, 60) })),
  believes('makes the notice id of the time of its coming', 'demo', (fact, _, now) => ({ ...fact, noticeId: `${fact.noticeId}-${now}` })),
  believes('makes the notice id of the bytes', 'aftership', (fact, raw) => ({ ...fact, noticeId: createHash('sha256').update(raw).digest('hex') })),
  believes('makes the notice id of the parcel alone', 'demo', (fact) => ({ ...fact, noticeId: `${fact.carrier}-${fact.trackingNumber}` })),
  reader('makes a fact of a test', 'shippo', (read, secret, family) => (raw, headers, now) => {
    const answer = read(raw, headers, now);
    const fact: TrackingFact = { carrier: 'x', trackingNumber: 'x', status: 'delivered', occurredAt: new Date(now).toISOString(), noticeId: 'x' };
    return 'facts' in answer && answer.facts.length === 0 && secret ? noticeReaders({ shippo: secret }).get('shippo')!.read(...parts(family.say(fact, secret, now)), now) : answer;
  }),
];

const parts = ({ body, headers }: ReturnType<NoticeFamily['say']>): [Uint8Array, Readonly<Record<string, string>>] => [body, headers];
