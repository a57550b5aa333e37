import { expect } from 'chai';
import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { demoCarrier, httpPost, type DemoCarrierOptions, type Post } from '../../adapters/carriers/carrier.ts';
import { noticeReaders, type FormatName } from '../../adapters/carriers/index.ts';
import { openMemory } from '../../adapters/memory/index.ts';
import {
  PortError, partitionsOf, type BookingRequest, type NoticeAnswer, type StoreDriver, type TrackingFact,
} from '../../ports/index.ts';

const sample = (path: string): Buffer => readFileSync(new URL(`../samples/carriers/${path}`, import.meta.url));
const vector = (carrier: string) => JSON.parse(sample(`${carrier}/test-vector.json`).toString()) as Record<string, string>;
const secret = 'a secret';
const now = Date.parse('2026-03-04T05:06:07.890Z');

const read = (name: FormatName, raw: Uint8Array, headers: Record<string, string>, at = now, key: string | undefined = secret): NoticeAnswer =>
  noticeReaders({ [name]: key }).get(name)!.read(raw, headers, at);

/** A genuine notice of any content. */
function signed(name: FormatName, said: unknown, at = now): NoticeAnswer {
  const raw = Buffer.isBuffer(said) ? said : Buffer.from(typeof said === 'string' ? said : JSON.stringify(said));
  const sum = (...parts: (string | Buffer)[]) => parts.reduce((hash, part) => hash.update(part), createHmac('sha256', secret));
  const t = String(Math.floor(at / 1000));
  const headers = {
    demo: { 'demo-signature': `sha256=${sum(raw).digest('hex')}` },
    easypost: { 'x-hmac-signature': `hmac-sha256-hex=${sum(raw).digest('hex')}` },
    shippo: { 'shippo-auth-signature': `t=${t},v1=${sum(`${t}.`, raw).digest('hex')}` },
    aftership: { 'aftership-hmac-sha256': sum(raw).digest('base64') },
  };
  return read(name, raw, headers[name] as Record<string, string>);
}

function only(answer: NoticeAnswer): TrackingFact {
  if ('refused' in answer) throw new Error(`${answer.refused}: ${answer.detail}`);
  expect(answer.facts).to.have.length(1);
  return answer.facts[0]!;
}
const refusal = (answer: NoticeAnswer): string => ('refused' in answer ? answer.refused : 'none');

const easypostNotice = (changes: object = {}, result: object = {}) => ({
  description: 'tracker.updated', mode: 'production', id: 'evt_7', updated_at: '2026-01-02T00:00:00.000Z',
  result: { tracking_code: ' 1Z9 ', carrier: ' UPS ', status: 'delivered', updated_at: '2026-01-01T10:00:00Z', tracking_details: [], ...result },
  ...changes,
});
const shippoNotice = (changes: object = {}, data: object = {}) => ({
  event: 'track_updated', test: false, carrier: 'usps',
  data: { carrier: 'usps', tracking_number: '92', tracking_status: { status: 'DELIVERED', status_date: '2026-01-01T10:00:00Z' }, ...data }, ...changes,
});
const aftershipNotice = (changes: object = {}, msg: object = {}) => ({
  event: 'tracking_update', event_id: 'e-1', ts: 1767261600,
  msg: { tracking_number: '11', slug: 'fedex', tag: 'Delivered', checkpoints: [], ...msg }, ...changes,
});
const demoNotice = (changes: object = {}) => ({
  id: 'n1', carrier: 'Demo', trackingNumber: 'DP1', status: 'delivered', occurredAt: '2026-01-01T10:00:00Z', ...changes,
});

/** What vendors have recorded, and what is special about each; what all formats promise is asked in conformance/notices.ts, and what every carrier promises in carrier.ts. */
describe('Notices of carriers', () => {
  describe('signatures', () => {
    const shippoBody = sample('shippo/track_updated.derived.body.bin');
    const { secret: easypostSecret, expected } = vector('easypost');
    const body = sample('easypost/tracker.updated.body.bin');

    it('reads EasyPost\'s own notice with EasyPost\'s own signature, whatever the normal form of its secret', () => {
      for (const form of ['NFC', 'NFD', 'NFKC', 'NFKD']) {
        expect(only(read('easypost', body, { 'x-hmac-signature': expected! }, now, easypostSecret!.normalize(form)))).to.deep.equal({
          carrier: 'fedex', trackingNumber: '1', status: 'inTransit', occurredAt: '2024-08-02T18:50:00.000Z', noticeId: 'evt_1',
        });
      }
    });

    it('refuses EasyPost\'s two wrong signatures', () => {
      const negative = vector('easypost')['negative'] as unknown as Record<string, string>;
      for (const wrong of Object.values(negative)) {
        expect(refusal(read('easypost', body, { 'x-hmac-signature': wrong }, now, easypostSecret))).to.equal('forged');
      }
      const newline = Buffer.concat([body, Buffer.from('\n')]);
      expect(refusal(read('easypost', newline, { 'x-hmac-signature': expected! }, now, easypostSecret))).to.equal('forged');
      const fitting = { 'x-hmac-signature': negative['with_trailing_newline_gives']! };
      expect(only(read('easypost', newline, fitting, now, easypostSecret)).noticeId).to.equal('evt_1');
    });

    it('reads the recorded parcel in Shippo\'s envelope', () => {
      const { secret: key, value } = vector('shippo');
      const fact = only(read('shippo', shippoBody, { 'shippo-auth-signature': value! }, 1688493073_000, key));
      expect(fact).to.include({ carrier: 'usps', trackingNumber: '9205590164917337534322', status: 'delivered', occurredAt: '2016-12-08T15:19:00.000Z' });
      expect(fact.noticeId).to.match(/^[0-9a-f]{64}$/);
    });

    it('takes Shippo\'s notices up to 300 seconds old or early, and none beyond', () => {
      const { secret: key, value } = vector('shippo');
      const at = (seconds: number) => refusal(read('shippo', shippoBody, { 'shippo-auth-signature': value! }, (1688493073 + seconds) * 1000, key));
      expect([-300, 0, 300].map(at)).to.deep.equal(['none', 'none', 'none']);
      expect([-301, 301].map(at)).to.deep.equal(['forged', 'forged']);
    });

    it('refuses a Shippo signature whose time was changed', () => {
      const { secret: key, value } = vector('shippo');
      const header = value!.replace('t=1688493073', 't=1688493074');
      expect(refusal(read('shippo', shippoBody, { 'shippo-auth-signature': header }, 1688493073_000, key))).to.equal('forged');
    });

    it('reads the recorded parcel in AfterShip\'s envelope', () => {
      const { secret: key, vectors } = vector('aftership') as unknown as { secret: string; vectors: { expected: string }[] };
      const answer = read('aftership', sample('aftership/tracking_update.derived.body.bin'), { 'aftership-hmac-sha256': vectors[0]!.expected }, now, key);
      expect(only(answer)).to.deep.equal({
        carrier: 'fedex', trackingNumber: '111111111111', status: 'delivered', occurredAt: '2018-07-25T01:10:00.000Z',
        noticeId: '94dadd60-ed26-46d0-aa52-3ced925a50ff',
      });
    });
  });

  describe('what they say', () => {
    it('lets test mode and other kinds of event pass without a fact, whatever else is in them', () => {
      const nothing = { facts: [] };
      expect(signed('easypost', { description: 'tracker.updated', mode: 'test' })).to.deep.equal(nothing);
      expect(signed('easypost', easypostNotice({}, { mode: 'test' }))).to.deep.equal(nothing);
      expect(signed('easypost', { description: 'batch.created', mode: 'production', result: 7 })).to.deep.equal(nothing);
      expect(signed('shippo', { event: 'track_updated', test: true })).to.deep.equal(nothing);
      expect(signed('shippo', { event: 'transaction_created', test: false })).to.deep.equal(nothing);
      expect(signed('aftership', { event: 'edd_revise' })).to.deep.equal(nothing);
    });

    it('knows every status that the vendors document, and calls others unknown', () => {
      const meanings = (name: FormatName, word: (status: string) => object, statuses: string) =>
        statuses.split(' ').map((status) => only(signed(name, word(status))).status).join(' ');
      expect(meanings('easypost', (status) => easypostNotice({}, { status }),
        'unknown pre_transit in_transit out_for_delivery available_for_pickup delivered return_to_sender failure cancelled error constructor'))
        .to.equal('unknown preTransit inTransit outForDelivery availableForPickup delivered returned failed failed unknown unknown');
      expect(meanings('shippo', (status) => shippoNotice({}, { tracking_status: { status, status_date: '2026-01-01T10:00:00Z' } }),
        'UNKNOWN PRE_TRANSIT TRANSIT DELIVERED RETURNED FAILURE delivered __proto__'))
        .to.equal('unknown preTransit inTransit delivered returned failed unknown unknown');
      expect(meanings('aftership', (tag) => aftershipNotice({}, { tag }),
        'Pending InfoReceived InTransit OutForDelivery AttemptFail AvailableForPickup Delivered Exception Expired toString'))
        .to.equal('unknown preTransit inTransit outForDelivery inTransit availableForPickup delivered failed unknown unknown');
      expect(meanings('demo', (status) => demoNotice({ status }), 'inTransit DELIVERED valueOf')).to.equal('inTransit unknown unknown');
    });

    it('never takes a parcel on its way back for a delivery', () => {
      expect(only(signed('easypost', easypostNotice({}, { is_return: true }))).status).to.equal('returned');
      expect(only(signed('aftership', aftershipNotice({}, { return_to_sender: true }))).status).to.equal('returned');
    });

    it('trims names and numbers, and says the carrier in lower case', () => {
      expect(only(signed('easypost', easypostNotice()))).to.include({ carrier: 'ups', trackingNumber: '1Z9' });
    });

    it('tells when it happened by the latest scan in that status, in any order and zone, else by the notice\'s own time', () => {
      const details = (...rows: [string | null, string | null][]) => ({ tracking_details: rows.map(([status, datetime]) => ({ status, datetime })) });
      const at = (result: object, changes: object = {}) => only(signed('easypost', easypostNotice(changes, result))).occurredAt;
      const mixed = details(['delivered', '2026-01-01T09:00:00+02:00'], ['delivered', '2026-01-01T06:30:00Z'], ['in_transit', '2026-01-01T09:59:00Z']);
      expect(at(mixed)).to.equal('2026-01-01T07:00:00.000Z');
      expect(at(details(['delivered', null], ['delivered', '']))).to.equal('2026-01-01T10:00:00.000Z');
      expect(at({ updated_at: null, tracking_details: null })).to.equal('2026-01-02T00:00:00.000Z');
      const checkpoints = (...times: string[]) => aftershipNotice({}, { checkpoints: times.map((checkpoint_time) => ({ tag: 'Delivered', checkpoint_time })) });
      expect(only(signed('aftership', checkpoints('2026-01-01T10:00:00-0500'))).occurredAt).to.equal('2026-01-01T15:00:00.000Z');
      expect(only(signed('aftership', checkpoints('2026-01-01T10:00:00', '2026-01-01'))).occurredAt).to.equal('2026-01-01T10:00:00.000Z');
      expect(only(signed('aftership', aftershipNotice())).occurredAt).to.equal('2026-01-01T10:00:00.000Z');
      const noTs = aftershipNotice({ ts: null }, { updated_at: '2026-01-03T00:00:00+00:00' });
      expect(only(signed('aftership', noTs)).occurredAt).to.equal('2026-01-03T00:00:00.000Z');
    });

    it('calls missing, empty, overlong and unreadable fields malformed, and names the place', () => {
      const wrong: [FormatName, object, string][] = [
        ['easypost', easypostNotice({ id: undefined }), 'id'],
        ['easypost', easypostNotice({ mode: undefined }), 'mode'],
        ['easypost', easypostNotice({ updated_at: undefined }, { updated_at: undefined }), 'result.updated_at'],
        ['easypost', easypostNotice({}, { tracking_code: '' }), 'result.tracking_code'],
        ['easypost', easypostNotice({}, { tracking_code: 'x'.repeat(101) }), 'result.tracking_code'],
        ['easypost', easypostNotice({}, { tracking_code: '1\n2' }), 'result.tracking_code'],
        ['easypost', easypostNotice({}, { carrier: null }), 'result.carrier'],
        ['easypost', easypostNotice({}, { status: 4 }), 'result.status'],
        ['easypost', easypostNotice({}, { tracking_details: [{ status: 'delivered', datetime: 'yesterday' }] }), 'result.tracking_details.0.datetime'],
        ['shippo', shippoNotice({ test: 'false' }), 'test'],
        ['shippo', shippoNotice({}, { tracking_status: null }), 'data.tracking_status'],
        ['shippo', shippoNotice({}, { tracking_status: { status: 'DELIVERED', status_date: '2026-02-31T00:00:00Z' } }), 'data.tracking_status.status_date'],
        ['shippo', shippoNotice({}, { tracking_status: { status: 'D', status_date: '0000-01-01T00:00:00+05:00' } }), 'data.tracking_status.status_date'],
        ['aftership', aftershipNotice({ event_id: '' }), 'event_id'],
        ['aftership', aftershipNotice({ ts: null }), 'ts'],
        ['aftership', aftershipNotice({ ts: 1e15 }), 'ts'],
        ['aftership', aftershipNotice({}, { slug: ' ' }), 'msg.slug'],
        ['demo', demoNotice({ occurredAt: '' }), 'occurredAt'],
        ['demo', demoNotice({ occurredAt: 'Thu, 01 Jan 2026 10:00:00 GMT' }), 'occurredAt'],
      ];
      for (const [name, said, place] of wrong) {
        const answer = signed(name, said);
        expect(refusal(answer), JSON.stringify(said)).to.equal('malformed');
        expect('detail' in answer && answer.detail).to.match(new RegExp(`^${place.replaceAll('.', '\\.')}: `));
      }
    });

    it('gives a repeated Shippo notice the same id, and another status or time another', () => {
      const id = (status: string, status_date: string) => only(signed('shippo', shippoNotice({}, { tracking_status: { status, status_date } }))).noticeId;
      expect(id('TRANSIT', '2026-01-01T10:00:00Z')).to.equal(id('TRANSIT', '2026-01-01T12:00:00+02:00'));
      const others = [id('TRANSIT', '2026-01-01T10:00:00Z'), id('DELIVERED', '2026-01-01T10:00:00Z'), id('TRANSIT', '2026-01-01T10:00:01Z')];
      expect(new Set(others).size).to.equal(3);
    });
  });
});

describe('The demo carrier', () => {
  const shipTo = { name: 'A', line1: 'B', city: 'C', postcode: 'D', country: 'GB' };
  const request = (orderId: string): BookingRequest => ({ orderId, shipTo, items: [{ sku: 'x', quantity: 1 }] });

  /** A shop that answers as told, and a clock that is moved by hand. */
  function set(changes: Partial<DemoCarrierOptions> = {}) {
    const time = { now };
    const clock = { now: () => time.now, sleep: () => Promise.resolve() };
    const store = openMemory({ clock, queues: [], streams: [] }).store;
    const heard: TrackingFact[] = [];
    const shop = { status: 204, mostAtOnce: 0 };
    let atOnce = 0;
    const post: Post = async (path, headers, body) => {
      shop.mostAtOnce = Math.max(shop.mostAtOnce, ++atOnce);
      await new Promise((resolve) => setImmediate(resolve));
      atOnce--;
      heard.push(only(read(path as FormatName, body, headers, time.now)));
      return shop.status;
    };
    const options: DemoCarrierOptions = { store, clock, speaks: 'demo', secret, deliversAfterSeconds: 20, post, ...changes };
    return { carrier: demoCarrier(options), options, heard, shop, pass: (seconds: number) => (time.now += seconds * 1000) };
  }
  async function rows(store: StoreDriver, prefix: string): Promise<number> {
    const pages = await Promise.all(partitionsOf({ name: 'democarrier', shards: 4 }).map((partition) => store.query(partition, { prefix, limit: 1000 })));
    return pages.reduce((sum, page) => sum + page.rows.length, 0);
  }

  it('books an order again as the same parcel, delivers it once, and gives the order id away nowhere', async () => {
    const { carrier, heard, pass } = set();
    expect(await carrier.find('order1')).to.equal('none');
    const first = await carrier.book(request('order1'));
    expect(first).to.deep.equal({ carrier: 'demo', trackingNumber: first.trackingNumber });
    expect(first.trackingNumber).to.match(/^DP[0-9A-F]{18}$/);
    pass(5);
    expect(await carrier.book(request('order1'))).to.deep.equal(first);
    expect(await carrier.find('order1')).to.deep.equal(first);
    expect((await carrier.book(request('order2'))).trackingNumber).to.not.equal(first.trackingNumber);
    pass(100);
    expect(await carrier.tick()).to.equal(2);
    expect(await carrier.book(request('order1'))).to.deep.equal(first);
    pass(100);
    expect(await carrier.tick()).to.equal(0);
    expect(heard.filter(({ trackingNumber }) => trackingNumber === first.trackingNumber)).to.deep.equal([
      { ...first, status: 'delivered', occurredAt: '2026-03-04T05:06:27.890Z', noticeId: `${first.trackingNumber}-delivered` },
    ]);
  });

  it('names a link only where it was told one', async () => {
    const { trackingNumber, trackingUrl } = await set({ trackingUrl: 'https://carrier.example/track' }).carrier.book(request('order1'));
    expect(trackingUrl).to.equal(`https://carrier.example/track/${trackingNumber}`);
  });

  it('says nothing before its time, and nothing ever with 0 seconds', async () => {
    const { carrier, pass } = set();
    await carrier.book(request('order1'));
    pass(19.999);
    expect(await carrier.tick()).to.equal(0);
    pass(0.001);
    expect(await carrier.tick()).to.equal(1);

    const never = set({ deliversAfterSeconds: 0 });
    await never.carrier.book(request('order1'));
    never.pass(1e9);
    expect(await never.carrier.tick()).to.equal(0);
  });

  it('says a notice again, at growing intervals, in the same words, until it is taken', async () => {
    const { carrier, options, heard, shop, pass } = set();
    await carrier.book(request('order1'));
    pass(20);
    shop.status = 503;
    expect(await carrier.tick()).to.equal(0);
    for (const wait of [1, 2, 4, 8, 16, 32, 60, 60]) {
      pass(wait - 0.001);
      await carrier.tick();
      const before = heard.length;
      pass(0.001);
      expect(await carrier.tick()).to.equal(0);
      expect(heard).to.have.length(before + 1);
    }
    expect(await rows(options.store, 'due|')).to.equal(1);
    shop.status = 200;
    pass(60);
    expect(await carrier.tick()).to.equal(1);
    expect(new Set(heard.map((fact) => JSON.stringify(fact))).size).to.equal(1);
    expect(await rows(options.store, 'due|')).to.equal(0);
  });

  it('keeps a notice that nobody answered, or that was sent elsewhere', async () => {
    let answer: () => Promise<number> = () => Promise.reject(new PortError('unavailable', 'nobody'));
    const { carrier, options, pass } = set({ post: () => answer() });
    await carrier.book(request('order1'));
    for (const next of [() => Promise.resolve(301), () => Promise.resolve(401), () => Promise.resolve(199)]) {
      pass(60);
      expect(await carrier.tick()).to.equal(0);
      answer = next;
    }
    expect(await rows(options.store, 'due|')).to.equal(1);
  });

  it('posts every parcel once although ticks overlap, 64 at a time, and all that is due', async () => {
    const { carrier, heard, shop, pass } = set();
    await Promise.all(Array.from({ length: 600 }, (_, n) => carrier.book(request(`order${n}`))));
    pass(20);
    await Promise.all([carrier.tick(), carrier.tick(), carrier.tick()]);
    expect(heard).to.have.length(600);
    expect(new Set(heard.map(({ noticeId }) => noticeId)).size).to.equal(600);
    expect(shop.mostAtOnce).to.equal(64);
  });

  it('loses nothing when two of it share one memory and one has no way to the shop', async () => {
    const { carrier, options, heard, pass } = set();
    const deaf = demoCarrier({ ...options, post: async () => 500 });
    await Promise.all(Array.from({ length: 50 }, (_, n) => carrier.book(request(`order${n}`))));
    pass(20);
    await Promise.all([deaf.tick(), carrier.tick(), deaf.tick()]);
    pass(60);
    await Promise.all([carrier.tick(), deaf.tick()]);
    pass(60);
    await carrier.tick();
    expect(new Set(heard.map(({ noticeId }) => noticeId)).size).to.equal(50);
    expect(await rows(options.store, 'due|')).to.equal(0);
  });

  it('goes on with the others when the store fails for one, and tells', async () => {
    const { options, heard, pass } = set();
    let failures = 1;
    const store: StoreDriver = {
      ...options.store,
      commit(partition, writes) {
        const fails = writes[0]?.op === 'delete' && failures-- > 0;
        return fails ? Promise.reject(new PortError('throttled', 'busy')) : options.store.commit(partition, writes);
      },
    };
    const carrier = demoCarrier({ ...options, store });
    for (let n = 0; n < 40; n++) await carrier.book(request(`order${n}`));
    pass(20);
    const error = await carrier.tick().catch((thrown: unknown) => thrown);
    expect(error).to.be.instanceOf(PortError).with.property('kind', 'throttled');
    expect(heard).to.have.length(40);
    expect(await carrier.tick()).to.equal(1);
    expect(await rows(options.store, 'due|')).to.equal(0);
  });

  it('cannot be opened without a secret', () => {
    expect(() => set({ secret: '' })).to.throw('the demo carrier signs with a secret');
  });

  describe('over HTTP', () => {
    let server: Server;
    let heard: { url?: string; body: Buffer; headers: Record<string, unknown> }[];
    let status: number;
    beforeEach((done) => {
      heard = [];
      status = 204;
      server = createServer((message, response) => {
        const parts: Buffer[] = [];
        message.on('data', (part: Buffer) => parts.push(part));
        message.on('end', () => {
          heard.push({ url: message.url, body: Buffer.concat(parts), headers: message.headers });
          response.writeHead(status, status === 302 ? { location: '/elsewhere' } : {}).end();
        });
      }).listen(0, '127.0.0.1', done);
    });
    afterEach((done) => void (server.closeAllConnections(), server.close(done)));
    const baseUrl = () => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

    it('arrives at the webhook byte for byte, with its signature', async () => {
      const { carrier, pass } = set({ speaks: 'shippo', post: httpPost(baseUrl()) });
      await carrier.book(request('order1'));
      pass(20);
      expect(await carrier.tick()).to.equal(1);
      expect(heard[0]!.url).to.equal('/api/carriers/shippo/notices');
      expect(only(read('shippo', heard[0]!.body, heard[0]!.headers as Record<string, string>, now + 20_000)).status).to.equal('delivered');
    });

    it('follows no redirection and tells when nobody answers', async () => {
      status = 302;
      expect(await httpPost(baseUrl())('demo', {}, Buffer.from('x'))).to.equal(302);
      expect(heard).to.have.length(1);
      const nobody = baseUrl();
      await new Promise((resolve) => (server.closeAllConnections(), server.close(resolve)));
      const error = await httpPost(nobody)('demo', {}, Buffer.from('x')).catch((thrown: unknown) => thrown);
      expect(error).to.be.instanceOf(PortError).with.property('kind', 'unavailable');
      await new Promise<void>((resolve) => server.listen(0, resolve));
    });
  });
});
