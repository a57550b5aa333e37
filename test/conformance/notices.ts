import { expect } from 'chai';
import fc from 'fast-check';
import type { NoticeAnswer, NoticeReader, TrackingFact, TrackingStatus } from '../../ports/index.ts';
import { trackingStatuses, type Posted } from './carrier.ts';
import { casesOf, type Case, type Skips } from './case.ts';

/** What the reader of one format tells of itself to be asked. */
export interface NoticeFamily {
  readonly name: string;
  /** A reader that knows this secret. */
  open(secret: string | undefined): NoticeReader;
  /** A genuine notice that says this fact. */
  say(fact: TrackingFact, secret: string, now: number): Posted;
  /** The headers that make any bytes a genuine notice. */
  sign(body: Uint8Array, secret: string, now: number): Readonly<Record<string, string>>;
  /** The header that carries the signature, in lower case. */
  readonly signedBy: string;
  /** Seconds that the sender's clock may be off, both ways, if the format signs a time. */
  readonly toleranceSeconds?: number;
  /** What the format has no word for, and what it says instead. */
  readonly instead?: Partial<Record<TrackingStatus, TrackingStatus>>;
  /** Puts a status that nobody knows into a notice of this format. */
  strange(notice: Record<string, unknown>, word: string): unknown;
  /** The paths of what a notice cannot be without. */
  readonly required: readonly string[];
  /** Genuine notices that concern no production parcel. */
  readonly asides: readonly unknown[];
  readonly skips?: Skips;
}

const secret = 'the secret of the webhook';
const now = Date.parse('2026-11-20T09:00:00.500Z');
const bytesMax = 1024 * 1024;
const fact: TrackingFact = { carrier: 'demo', trackingNumber: 'DP1', status: 'delivered', occurredAt: '2026-11-20T08:59:00.000Z', noticeId: 'notice-1' };
const place = { open: async (): Promise<void> => {}, close: async (): Promise<void> => {} };

export function noticeCases(family: NoticeFamily): Case[] {
  const notice = (about: Partial<TrackingFact> = {}, at = now): Posted => family.say({ ...fact, ...about }, secret, at);
  const read = ({ headers, body }: Posted, at = now, known: string | undefined = secret): NoticeAnswer => family.open(known).read(body, headers, at);
  const refused = (answer: NoticeAnswer): string => ('refused' in answer ? answer.refused : `believed ${JSON.stringify(answer.facts)}`);
  const signed = (body: Uint8Array): Posted => ({ body, headers: { 'content-type': 'application/json', ...family.sign(body, secret, now) } });
  const spoken = (said: unknown): Posted => signed(Buffer.from(typeof said === 'string' ? said : JSON.stringify(said)));
  const parsed = (about: Partial<TrackingFact> = {}): Record<string, unknown> => JSON.parse(Buffer.from(notice(about).body).toString()) as Record<string, unknown>;

  function only(answer: NoticeAnswer): TrackingFact {
    if ('refused' in answer) throw new Error(`${answer.refused}: ${answer.detail}`);
    expect(answer.facts).to.have.length(1);
    return answer.facts[0]!;
  }
  const signatureOf = ({ headers }: Posted): string => headers[family.signedBy]!;
  const withSignature = (posted: Posted, value: string): Posted => ({ ...posted, headers: { ...posted.headers, [family.signedBy]: value } });

  return casesOf(`notices · ${family.name}`, family, place, ({ group, promises }) => {
    group('believing', () => {
      promises('reads what was said', async () => {
        for (const status of trackingStatuses) {
          const heard = only(read(notice({ status })));
          expect(heard).to.deep.equal({ ...fact, status: family.instead?.[status] ?? status, noticeId: heard.noticeId });
        }
      });

      promises('reads facts of every kind as they were said', async () => {
        const facts = fc.record({
          carrier: fc.stringMatching(/^[a-z][a-z0-9-]{0,30}$/),
          trackingNumber: fc.stringMatching(/^[A-Z0-9]{1,100}$/),
          status: fc.constantFrom(...trackingStatuses),
          occurredAt: fc.date({ min: new Date('2000-01-01'), max: new Date('2100-01-01'), noInvalidDate: true }).map((date) => date.toISOString()),
          noticeId: fc.stringMatching(/^[A-Za-z0-9_-]{1,60}$/),
        });
        fc.assert(fc.property(facts, (each) => {
          const heard = only(read(notice(each)));
          expect(heard).to.deep.equal({ ...each, status: family.instead?.[each.status] ?? each.status, noticeId: heard.noticeId });
        }), { numRuns: 50, seed: 20261120 });
      });

      promises('believes nothing without a secret, not even what is signed with an empty one', async () => {
        for (const none of [undefined, '', '  ', '\n']) {
          expect(refused(family.open(none).read(notice().body, notice().headers, now))).to.equal('noSecret');
          const empty = family.say(fact, none ?? '', now);
          expect(refused(family.open(none).read(empty.body, empty.headers, now))).to.equal('noSecret');
        }
      });

      promises('believes nothing that another secret has signed', async () => {
        for (const other of ['another secret', secret.toUpperCase(), `${secret} `, secret.slice(1)]) expect(refused(read(family.say(fact, other, now)))).to.equal('forged');
      });

      promises('believes nothing without a signature, or with one that is shorter, longer or spelt otherwise', async () => {
        const posted = notice();
        const { [family.signedBy]: _, ...bare } = posted.headers;
        expect(refused(read({ ...posted, headers: bare }))).to.equal('forged');
        const value = signatureOf(posted);
        const wrong = ['', ' ', value.slice(0, -1), `${value}0`, value.slice(value.indexOf('=') + 1).repeat(2), value.toUpperCase(), `${value}\u0000`, value.replace('=', ' ='), `${value},${value}`];
        for (const each of wrong) expect(refused(read(withSignature(posted, each))), each).to.equal('forged');
      });

      promises('believes no notice of which one bit has been changed', async () => {
        const posted = notice();
        fc.assert(fc.property(fc.nat(posted.body.length * 8 - 1), (bit) => {
          const body = Buffer.from(posted.body);
          body[bit >> 3]! ^= 1 << (bit & 7);
          return refused(read({ ...posted, body })) === 'forged';
        }), { numRuns: 200, seed: 20261120 });
      });

      promises('verifies the bytes as they came, and not what they mean', async () => {
        const posted = notice();
        const meaning = JSON.parse(Buffer.from(posted.body).toString()) as unknown;
        for (const text of [JSON.stringify(meaning, undefined, 2), `${JSON.stringify(meaning)}\n`, ` ${JSON.stringify(meaning)}`]) {
          expect(refused(read({ ...posted, body: Buffer.from(text) })), 'another spelling').to.equal('forged');
          expect(only(read(spoken(text))), 'signed as it is spelt').to.deep.equal(only(read(posted)));
        }
      });

      promises('takes the signature of one notice for no other', async () => {
        const [one, other] = [notice(), notice({ status: 'inTransit' })];
        expect(refused(read({ headers: one.headers, body: other.body }))).to.equal('forged');
      });

      promises('refuses what is forged before it looks inside', async () => {
        for (const text of ['', '{', '[]', '{"a":'.repeat(10_000)]) {
          expect(refused(read({ body: Buffer.from(text), headers: notice().headers }))).to.equal('forged');
        }
      });

      promises('takes notices up to the edge of its patience, old or early, and none beyond', async () => {
        const seconds = family.toleranceSeconds!;
        const whole = Math.floor(now / 1_000) * 1_000;
        const posted = notice({}, whole);
        for (const off of [-seconds, 1 - seconds, 0, seconds - 1, seconds]) expect(only(read(posted, whole + off * 1_000)), `${off} s`).to.include({ trackingNumber: 'DP1' });
        for (const off of [-seconds - 1, seconds + 1, -86_400, 86_400, 1e9]) expect(refused(read(posted, whole + off * 1_000)), `${off} s`).to.equal('forged');
      }, family.toleranceSeconds);

      promises('never throws, whatever comes', async () => {
        const junk = fc.record({ body: fc.uint8Array({ maxLength: 60 }), value: fc.string({ maxLength: 120 }) });
        fc.assert(fc.property(junk, ({ body, value }) => refused(read({ body, headers: { [family.signedBy]: value } })) === 'forged'), { numRuns: 200, seed: 20261120 });
        fc.assert(fc.property(fc.json({ maxDepth: 3 }), (text) => refused(read(spoken(text))) !== 'forged'), { numRuns: 200, seed: 20261120 });
      });
    });

    group('reading', () => {
      promises('calls a genuine notice malformed that is no JSON or no object', async () => {
        for (const text of ['', ' ', '{', 'null', '[]', '7', '"x"', '{}', '{"__proto__":{}}', '<xml/>', `${'['.repeat(5_000)}${']'.repeat(5_000)}`]) expect(refused(read(spoken(text))), text.slice(0, 20)).to.equal('malformed');
      });

      promises('calls a genuine notice malformed that is no UTF-8', async () => {
        expect(refused(read(signed(Buffer.from(JSON.stringify({ ...parsed(), place: 'Zürich' }), 'latin1'))))).to.equal('malformed');
        expect(refused(read(signed(Buffer.concat([notice().body, Buffer.from([0xff])]))))).to.equal('malformed');
      });

      promises('reads a notice of a megabyte, and calls one byte more malformed', async () => {
        const bare = Buffer.byteLength(JSON.stringify({ ...parsed(), filler: '' }));
        const ofBytes = (bytes: number): Posted => spoken({ ...parsed(), filler: 'x'.repeat(bytes - bare) });
        expect(only(read(ofBytes(bytesMax - 1))).status).to.equal('delivered');
        expect(only(read(ofBytes(bytesMax))).status).to.equal('delivered');
        expect(refused(read(ofBytes(bytesMax + 1)))).to.equal('malformed');
      });

      promises('reads a tracking number and a carrier of a hundred characters, and calls one more malformed', async () => {
        for (const length of [1, 99, 100]) {
          const [trackingNumber, carrier] = ['1'.repeat(length), 'c'.repeat(length)];
          expect(only(read(notice({ trackingNumber, carrier })))).to.include({ trackingNumber, carrier });
        }
        expect(refused(read(notice({ trackingNumber: '1'.repeat(101) })))).to.equal('malformed');
        expect(refused(read(notice({ carrier: 'c'.repeat(101) })))).to.equal('malformed');
      });

      promises('lets fields through that it does not know', async () => {
        expect(only(read(spoken({ ...parsed(), new_field: { deep: [1, null] } })))).to.deep.equal(only(read(notice())));
      });

      promises('calls a status unknown for which it has no word', async () => {
        for (const word of ['BEAMED_UP', 'valueOf', '__proto__', 'constructor', ' ']) expect(only(read(spoken(family.strange(parsed(), word)))).status, word).to.equal('unknown');
      });

      for (const path of family.required) {
        promises(`calls a notice malformed without ${path}, and names the place and no value`, async () => {
          for (const value of [undefined, null, {}, 7, '', 'x'.repeat(3_000)]) {
            const answer = read(spoken(changed(parsed(), path.split('.'), value)));
            expect(refused(answer), JSON.stringify(value)?.slice(0, 20)).to.equal('malformed');
            expect('detail' in answer && answer.detail).to.include(path).and.not.include('DP1');
          }
        });
      }

      promises('makes no fact of a notice that concerns no production parcel', async () => {
        for (const aside of family.asides) expect(read(spoken(aside)), JSON.stringify(aside)).to.deep.equal({ facts: [] });
      });
    });

    group('notice ids', () => {
      promises('gives a notice that is repeated the same id', async () => {
        const first = only(read(notice()));
        for (const later of [0, 1_000, 60_000, 86_400_000]) expect(only(read(notice({}, now + later), now + later)).noticeId).to.equal(first.noticeId);
        expect(only(read(spoken(JSON.stringify(parsed(), undefined, 1)))).noticeId, 'spelt otherwise').to.equal(first.noticeId);
      });

      promises('gives another parcel, status or time another id', async () => {
        const changes: Partial<TrackingFact>[] = [
          {}, { trackingNumber: 'DP2', noticeId: 'notice-2' }, { status: 'inTransit', noticeId: 'notice-3' }, { occurredAt: '2026-11-20T08:59:01.000Z', noticeId: 'notice-4' }, { carrier: 'other', noticeId: 'notice-5' },
        ];
        expect(new Set(changes.map((change) => only(read(notice(change))).noticeId)).size).to.equal(changes.length);
      });

      promises('gives ids that are short and printable', async () => {
        expect(only(read(notice())).noticeId).to.match(/^[\x21-\x7e]{1,200}$/);
      });
    });
  });
}

/** A copy in which what stands at this path is something else; `undefined` takes it out. */
function changed(value: unknown, [name, ...rest]: readonly string[], to: unknown): unknown {
  if (name === undefined) return to;
  const object = value as Record<string, unknown>;
  return { ...object, [name]: changed(object[name], rest, to) };
}
