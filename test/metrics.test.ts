import { expect } from 'chai';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { collections, queues, streams, subscriptions } from '../core/flow.ts';
import { deadLetters, resolveDead } from '../core/kernel/dead.ts';
import { countSteps, metersOf } from '../core/kernel/meters.ts';
import { gathered } from '../core/operations/metrics.ts';
import { handlers } from '../handlers/index.ts';
import { startLocal } from '../handlers/local.ts';
import { parseSettings } from '../handlers/settings.ts';
import { Defect, PortError, createHistogram, exposition, gauge, isMalformed, partitionOf, type Message } from '../ports/index.ts';
import { eventually } from './support/client.ts';
import { createLog } from './support/log.ts';
import { openWorld, toys, unavailable, type Call, type World } from './support/world.ts';

/** What is counted, read as Prometheus reads it. */

const adminToken = 'a-token-of-sixteen-or-more';
type Numbers = ReadonlyMap<string, number>;

const sampleLine = /^([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\]|\\["\\n])*",?)*)\})? (\+Inf|-?\d+(?:\.\d+)?(?:e[+-]\d+)?)$/;

/** By name and labels as they are written. Throws at a line that the format does not know, at a sample without its type, and at one that comes twice. */
function read(text: string): Numbers {
  const numbers = new Map<string, number>();
  const types = new Map<string, string>();
  expect(text.endsWith('\n')).to.equal(true);
  for (const line of text.trimEnd().split('\n')) {
    const [, kind, name = '', rest = ''] = /^# (HELP|TYPE) ([a-z_]+) (.+)$/.exec(line) ?? [];
    if (kind === 'TYPE') types.set(name, rest);
    if (kind !== undefined) continue;
    const [, sample = '', labels = '', value] = sampleLine.exec(line) ?? [];
    const family = types.has(sample) ? sample : sample.replace(/_(bucket|sum|count)$/, '');
    if (value === undefined || !types.has(family) || numbers.has(`${sample}{${labels}}`)) throw new Error(`not in the format: ${line}`);
    numbers.set(`${sample}{${labels}}`, Number(value.replace('+Inf', 'Infinity')));
  }
  return numbers;
}

const asked = (headers: Readonly<Record<string, string>>, remote?: string) => ({
  method: 'GET', path: '/metrics', params: {}, query: new URLSearchParams(), headers, body: new Uint8Array(), ...(remote === undefined ? {} : { remote }),
});
const token = { authorization: `Bearer ${adminToken}` };

async function numbersOf({ kernel, play }: World): Promise<Numbers> {
  const answer = await play(handlers.metrics(asked(token), { kernel, adminToken }));
  expect([answer.status, answer.headers['content-type']]).to.deep.equal([200, 'text/plain; version=0.0.4; charset=utf-8']);
  return read(String(answer.body));
}

/** The next look at the store is a new one. */
const later = (world: World): Promise<void> => world.clock.advance(20_000);
const named = (numbers: Numbers, name: string): [string, number][] => [...numbers].filter(([at]) => at.startsWith(`${name}{`));
const at = (second: number): string => `2026-01-01T00:00:0${second}.000Z`;

/** What was said of an order on the streams. */
async function messagesOf({ kernel, play }: World, subject: string): Promise<Message[]> {
  const places = await Promise.all(streams.map(async (name) => (await kernel.stream.partitions(name)).map((partition) => ({ name, partition }))));
  const batches = await play(Promise.all(places.flat().map(({ name, partition }) => kernel.stream.read(name, partition, { max: 256, waitSeconds: 0 }))));
  return batches.flatMap((batch) => ('gap' in batch ? [] : batch.events.flatMap(({ message: each }) => (isMalformed(each) || each.subject !== subject ? [] : [each]))));
}

const failing = (wrong: (call: Call) => Error | undefined): NonNullable<World['interfere']> => async (call, work) => {
  const error = wrong(call);
  if (error) throw error;
  return work();
};

function message(n: number, subject = `s${n}`): Message {
  return { specversion: '1.0', id: `m${n}`, source: '/order', type: 'OrderPlaced', subject, time: '2026-01-01T00:00:00.000Z', partitionkey: subject, sequence: '0000000000', dataversion: '1', data: {} };
}

describe('Metrics', () => {
  it('tell of an outbox that nobody empties how much lies in it and for how long, and when it is empty again', async () => {
    const world = await openWorld();
    await world.describe('A', 5);
    await world.settle();
    expect([...(await numbersOf(world))].filter(([at]) => /outbox|stuck|dead|parked/.test(at))).to.deep.equal([
      ['anyport_scan_success{of="outbox"}', 1], ['anyport_scan_success{of="dead"}', 1], ['anyport_scan_success{of="parked"}', 1],
      ['anyport_scan_complete{of="outbox"}', 1], ['anyport_scan_complete{of="dead"}', 1], ['anyport_scan_complete{of="parked"}', 1],
      ['anyport_outbox_messages{}', 0], ['anyport_outbox_oldest_seconds{}', 0], ['anyport_stuck_messages{}', 0],
      ...queues.map((queue) => [`anyport_dead_letters{queue="${queue}"}`, 0]),
      ...subscriptions.filter(({ kind }) => kind === 'stream').map(({ service, channel }) => [`anyport_parked_keys{consumer="${service}",stream="${channel}"}`, 0]),
    ]);
    world.interfere = failing(({ port, method }) => (port === 'queue' && method === 'send' ? unavailable() : undefined));
    await world.place(['A', 1]);
    await world.clock.advance(60_000);
    const waiting = await numbersOf(world);
    expect(waiting.get('anyport_outbox_messages{}')).to.equal(1);
    expect(waiting.get('anyport_outbox_oldest_seconds{}')).to.be.within(60, 65);
    world.interfere = undefined;
    await world.settle();
    await later(world);
    expect((await numbersOf(world)).get('anyport_outbox_messages{}')).to.equal(0);
    await world.stop();
  });

  it('count what waits for a person: stuck messages, dead letters by queue, parked keys by listener', async () => {
    const world = await openWorld({ services: toys({ notification: { OrderPlaced: async () => { throw new Defect('by the test'); } } }) });
    world.interfere = failing(({ port, method, args }) => (port === 'queue' && method === 'send' && args[0] === 'reserve-stock' ? new PortError('denied', 'by the test') : undefined));
    await world.describe('A', 5);
    await world.place(['A', 1]);
    await world.clock.advance(5_000);
    world.interfere = undefined;
    world.engines.queue.send('stock-freed', ['no message at all', 'nor is this'], { now: world.clock.now() });
    await later(world);
    const numbers = await numbersOf(world);
    expect(numbers.get('anyport_stuck_messages{}')).to.equal(1);
    expect(numbers.get('anyport_outbox_messages{}')).to.equal(0);
    expect(numbers.get('anyport_parked_keys{consumer="notification",stream="orders"}')).to.equal(1);
    expect(numbers.get('anyport_dead_letters{queue="stock-freed"}')).to.equal(2);
    const [one] = await world.play(deadLetters(world.kernel));
    await world.play(resolveDead(world.kernel, one!, 'by the test'));
    await later(world);
    expect((await numbersOf(world)).get('anyport_dead_letters{queue="stock-freed"}')).to.equal(1);
    await world.stop();
  });

  it('tell of every reader how old the eldest event is that it has still to handle, and when the broker last answered', async () => {
    const world = await openWorld({ deliversAfterSeconds: 0 });
    await world.describe('A', 5);
    await world.settle();
    await world.clock.advance(30_000);
    const place = ({ consumer, stream, partition }: { consumer: string; stream: string; partition: string }): string => `{consumer="${consumer}",stream="${stream}",partition="${partition}"}`;
    const partitions = await world.kernel.stream.partitions('orders');
    const all = subscriptions.filter(({ kind }) => kind === 'stream').flatMap(({ service, channel }) => partitions.map((partition) => `anyport_stream_lag_seconds${place({ consumer: service, stream: channel, partition })}`));
    const rest = await numbersOf(world);
    expect(named(rest, 'anyport_stream_lag_seconds').map(([at]) => at)).to.have.members(all);
    expect(named(rest, 'anyport_stream_lag_seconds').filter(([, value]) => value > 0)).to.deep.equal([]);
    for (const [at, value] of named(rest, 'anyport_stream_read_age_seconds')) expect(value, at).to.be.at.most(20);

    world.interfere = failing(({ port, method, args }) => (port === 'store' && method === 'commit' && String(args[0]).startsWith('letters') ? unavailable() : undefined));
    const { id } = await world.place(['A', 9]);
    await world.clock.advance(30_000);
    await world.play(world.kernel.published.cancelOrder(id)); // another event of the same key, which waits behind the first
    await world.clock.advance(60_000);
    const standing = named(await numbersOf(world), 'anyport_stream_lag_seconds').filter(([, value]) => value > 0);
    expect(standing.map(([each]) => /consumer="notification",stream="(\w+)"/.exec(each)?.[1])).to.have.members(['orders', 'inventory', 'shipping']);
    for (const [each, value] of standing) expect(value, each).to.be.within(...((each.includes('shipping') ? [50, 60] : [80, 90]) as [number, number]));
    expect(named(await numbersOf(world), 'anyport_stream_unhandled_events').filter(([, value]) => value > 0).map(([, value]) => value)).to.have.members([2, 1, 1]);

    world.interfere = failing(({ port, method, args }) => (port === 'stream' && method === 'read' && args[0] === 'shipping' ? unavailable() : undefined));
    await world.clock.advance(120_000);
    const numbers = await numbersOf(world);
    expect(named(numbers, 'anyport_stream_lag_seconds').filter(([at, value]) => value > 0 && at.includes('orders'))).to.deep.equal([]);
    for (const [at, value] of named(numbers, 'anyport_stream_read_age_seconds')) expect(value, at).to.be.within(...((at.includes('stream="shipping"') ? [90, 145] : [0, 21]) as [number, number]));
    expect(world.letters(id).length).to.be.greaterThan(0);
    world.interfere = undefined;
    await world.stop();
  });

  it('forget a reader that has ended, for another process may have his partition now; not the one that polls', async () => {
    const world = await openWorld();
    await world.clock.advance(10_000);
    const before = named(await numbersOf(world), 'anyport_stream_lag_seconds').length;
    await world.play(world.stop());
    const left = named(read(exposition(await gathered(world.kernel))), 'anyport_stream_lag_seconds').map(([at]) => at);
    expect(before).to.be.greaterThan(30);
    expect(left.length).to.be.greaterThan(0);
    expect(left.filter((each) => !each.includes('consumer="website"'))).to.deep.equal([]);
  });

  it('measure the steps of orders by the times of their events, each once, in whatever order they are heard', async () => {
    const world = await openWorld({ deliversAfterSeconds: 20 });
    await world.describe('A', 5);
    const { id } = await world.place(['A', 1]);
    await world.settle();
    await world.clock.advance(60_000);
    expect(world.order(id)).to.equal('Delivered');
    const said = await messagesOf(world, id);
    const time = (type: string): number => Date.parse(said.find((each) => each.type === type)!.time);
    const between = { placed_to_reserved: ['OrderPlaced', 'InventoryReserved'], reserved_to_shipped: ['InventoryReserved', 'OrderFulfillment'], shipped_to_delivered: ['OrderFulfillment', 'OrderDelivered'], placed_to_delivered: ['OrderPlaced', 'OrderDelivered'] } as const;
    await world.play(world.kernel.stream.append('shipping', said.filter(({ type }) => type === 'OrderFulfillment' || type === 'OrderDelivered')));
    await world.clock.advance(10_000);
    const numbers = await numbersOf(world);
    for (const [step, [from, to]] of Object.entries(between)) {
      expect(numbers.get(`anyport_order_step_seconds_count{step="${step}"}`), step).to.equal(1);
      expect(numbers.get(`anyport_order_step_seconds_sum{step="${step}"}`), step).to.be.closeTo((time(to) - time(from)) / 1_000, 1e-9);
    }
    expect(numbers.get('anyport_order_step_seconds_sum{step="shipped_to_delivered"}')).to.be.within(20, 25);
    await world.stop();
  });

  it('measure early facts as well: a step is counted when its second end comes to be known', () => {
    const kernel = { store: {} as never };
    countSteps(kernel, { OrderPlaced: at(0), OrderDelivered: at(9) }, 'OrderDelivered');
    countSteps(kernel, { OrderPlaced: at(0), OrderDelivered: at(9), InventoryReserved: at(2) }, 'InventoryReserved');
    countSteps(kernel, { OrderPlaced: at(0), OrderDelivered: at(9), InventoryReserved: at(2), OrderFulfillment: at(5) }, 'OrderFulfillment');
    const numbers = read(exposition([metersOf(kernel).steps.family()]));
    expect(named(numbers, 'anyport_order_step_seconds_sum').map(([name, value]) => `${/"(.*)"/.exec(name)![1]} ${value}`)).to.have.members(['placed_to_delivered 9', 'placed_to_reserved 2', 'reserved_to_shipped 3', 'shipped_to_delivered 4']);
  });

  it('count requests by door and status, and messages by channel, service and kind of failure', async () => {
    const world = await openWorld();
    await world.describe('A', 5);
    const ask = async (id: string): Promise<number> => (await world.play(handlers.getOrder({ ...asked({}), path: `/api/orders/${id}`, params: { id } }, { kernel: world.kernel, adminToken }))).status;
    const { id } = await world.place(['A', 1]);
    await world.settle();
    expect([await ask(id), await ask(id), await ask('z'.repeat(26)), await ask('short')]).to.deep.equal([200, 200, 404, 400]);
    const numbers = await numbersOf(world);
    for (const [status, times] of [[200, 2], [404, 1], [400, 1]]) {
      expect(numbers.get(`http_server_request_duration_seconds_count{http_request_method="GET",http_route="/api/orders/{id}",http_response_status_code="${status}"}`), String(status)).to.equal(times);
    }
    expect(numbers.get('messaging_process_duration_seconds_count{messaging_destination_name="reserve-stock",messaging_consumer_group_name="inventory",error_type=""}')).to.equal(1);
    expect(numbers.get('anyport_message_delay_seconds_count{messaging_destination_name="inventory",messaging_consumer_group_name="shipping"}')).to.equal(1);
    expect(JSON.stringify([...numbers])).not.to.include(id);
    await world.stop();
  });

  it('look into the store once, however many ask at once and soon after', async () => {
    const world = await openWorld({ still: true });
    let scans = 0;
    world.interfere = async ({ port, method, args }, work) => {
      if (port === 'store' && method === 'query' && args[1].prefix === 'dead|') scans++;
      return work();
    };
    const ask = (): Promise<unknown> => world.play(gathered(world.kernel));
    await world.play(Promise.all(Array.from({ length: 20 }, () => gathered(world.kernel))));
    await world.clock.advance(14_000);
    await ask();
    expect(scans).to.equal(collections.dead.shards);
    await world.clock.advance(2_000);
    await ask();
    expect(scans).to.equal(2 * collections.dead.shards);
    await world.stop();
  });

  it('stop looking after so many rows, and say that there are at least so many', async () => {
    const world = await openWorld({ still: true });
    for (let n = 0; n < 60; n++) {
      const outgoing = Array.from({ length: 100 }, (_, i) => ({ message: message(100 * n + i, 'one'), roads: [{ kind: 'stream', channel: 'orders' }] as const }));
      await world.play(world.kernel.store.commit(partitionOf(collections.orders, `o${n}`), { outgoing: outgoing.map((each, i) => ({ ...each, message: { ...each.message, subject: `${n}-${i}` } })) }));
    }
    const numbers = await numbersOf(world);
    expect(numbers.get('anyport_outbox_messages{}')).to.be.within(5_000, 5_100);
    expect([numbers.get('anyport_scan_success{of="outbox"}'), numbers.get('anyport_scan_complete{of="outbox"}'), numbers.get('anyport_scan_complete{of="dead"}')]).to.deep.equal([1, 0, 1]);
    await world.stop();
  });

  it('stop looking after so many seconds', async () => {
    const world = await openWorld({ still: true });
    let asked = 0;
    world.interfere = async ({ port, method }, work) => {
      if (port === 'store' && method === 'query') {
        asked++;
        await world.clock.sleep(3_000);
      }
      return work();
    };
    const began = world.clock.now();
    const numbers = read(exposition(await world.play(gathered(world.kernel))));
    expect(world.clock.now() - began).to.be.at.most(13_000);
    expect(numbers.get('anyport_scan_complete{of="outbox"}')).to.equal(0);
    expect(asked).to.be.lessThan(120);
    await world.stop();
  });

  it('tell what they know when the store is down, and nothing of what they do not', async () => {
    const world = await openWorld({ still: true });
    world.interfere = failing(({ port, args }) => (port === 'store' && String(args[0]).startsWith('orders') ? unavailable() : undefined));
    const numbers = await numbersOf(world);
    expect([numbers.get('anyport_scan_success{of="outbox"}'), numbers.get('anyport_scan_complete{of="outbox"}'), numbers.get('anyport_scan_success{of="dead"}')]).to.deep.equal([0, 0, 1]);
    expect([...numbers.keys()].filter((at) => /outbox_|stuck/.test(at))).to.deep.equal([]);
    expect(numbers.get('anyport_dead_letters{queue="reserve-stock"}')).to.equal(0);
    await world.stop();
  });
});

describe('The door of the metrics', () => {
  it('is open to the token, and to this machine under its own name and past no proxy', async () => {
    const world = await openWorld({ still: true });
    const ask = async (headers: Readonly<Record<string, string>>, remote?: string): Promise<number> => (await world.play(handlers.metrics(asked(headers, remote), { kernel: world.kernel, adminToken, rateLimit: false }))).status;
    const here = { host: 'localhost:3000' };
    for (const remote of ['127.0.0.1', '127.8.9.1', '::1', '::ffff:127.0.0.1']) expect(await ask(here, remote), remote).to.equal(200);
    for (const host of ['127.0.0.1:3000', '[::1]:80', 'LOCALHOST']) expect(await ask({ host }, '127.0.0.1'), host).to.equal(200);
    for (const remote of [undefined, '', '10.0.0.1', '128.0.0.1', '::2', '::ffff:10.0.0.1', '127.0.0.1.evil.example', '1127.0.0.1']) expect(await ask(here, remote), String(remote)).to.equal(401);
    for (const host of ['shop.example', 'localhost.evil.example', '127.0.0.1.evil.example:3000', '']) expect(await ask({ host }, '127.0.0.1'), host).to.equal(401);
    for (const name of ['x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto', 'forwarded', 'via', 'x-real-ip', 'origin']) expect(await ask({ ...here, [name]: 'x' }, '127.0.0.1'), name).to.equal(401);
    expect(await ask({ ...token, 'x-forwarded-for': 'x' }, '10.0.0.1')).to.equal(200);
    expect(await ask({ ...here, authorization: 'Bearer wrong' }, '10.0.0.1')).to.equal(401);
    await world.stop();
  });

  for (const family of ['memory', 'embedded']) {
    it(`answers over HTTP in npm start, and counts what found no door, whatever its method was called (${family})`, async () => {
      const dataDir = mkdtempSync(join(tmpdir(), 'anyport-metrics-'));
      const local = await startLocal(parseSettings({ PORT: '0', DATA_DIR: dataDir, ADAPTERS: family, SAMPLE_CATALOGUE: 'off', WEBSITE_POLL_SECONDS: '0.05' }), { log: createLog() });
      const get = (path: string, init: RequestInit = {}): Promise<Response> => fetch(local.url + path, init);
      for (const method of ['GET', 'BREW', 'DELETE', 'PURGE']) await (await get('/nowhere', { method })).text();
      await eventually(async () => {
        const answer = await get('/metrics');
        expect([answer.status, answer.headers.get('content-type')]).to.deep.equal([200, 'text/plain; version=0.0.4; charset=utf-8']);
        const numbers = read(await answer.text());
        const lost = named(numbers, 'http_server_request_duration_seconds_count').filter(([at]) => at.includes('http_route=""')).map(([at, value]) => `${/method="(\w+)"/.exec(at)![1]} ${value}`);
        expect(lost).to.include.members(['GET 1', 'DELETE 1', '_OTHER 1']);
        expect(lost.filter((each) => /BREW|PURGE/.test(each))).to.deep.equal([]);
        expect(named(numbers, 'anyport_stream_read_age_seconds').length).to.be.greaterThan(8);
        expect(numbers.get('anyport_scan_success{of="outbox"}')).to.equal(1);
      });
      expect((await get('/metrics', { headers: { 'x-forwarded-for': '10.0.0.1' } })).status).to.equal(401);
      expect((await get('/metrics', { headers: { 'x-forwarded-for': '10.0.0.1', authorization: `Bearer ${local.adminToken}` } })).status).to.equal(200);
      await local.stop();
      rmSync(dataDir, { recursive: true });
    });
  }
});

describe('The text of the metrics', () => {
  it('adds up buckets, escapes what labels say, and leaves out what has no samples', () => {
    const histogram = createHistogram('a_seconds', 'how long\nit \\ takes', ['name'], [1, 2.5]);
    for (const value of [0.5, 1, 2, 3, 1e9]) histogram.observe({ name: 'a "b"\n\\' }, value);
    expect(exposition([histogram.family(), gauge('b', 'nothing', []), gauge('c', 'one', [{ labels: {}, value: 1.5 }])])).to.equal(
      [
        '# HELP a_seconds how long\\nit \\\\ takes', '# TYPE a_seconds histogram',
        'a_seconds_bucket{name="a \\"b\\"\\n\\\\",le="1"} 2', 'a_seconds_bucket{name="a \\"b\\"\\n\\\\",le="2.5"} 3', 'a_seconds_bucket{name="a \\"b\\"\\n\\\\",le="+Inf"} 5',
        'a_seconds_sum{name="a \\"b\\"\\n\\\\"} 1000000006.5', 'a_seconds_count{name="a \\"b\\"\\n\\\\"} 5', '# HELP c one', '# TYPE c gauge', 'c 1.5', '',
      ].join('\n'),
    );
  });

  it('has a limit to its series, beyond which everything is counted under one', () => {
    const histogram = createHistogram('a', 'a', ['name'], [1]);
    for (let n = 0; n < 1_500; n++) histogram.observe({ name: `n${n}` }, 1);
    const { samples } = histogram.family();
    expect(samples).to.have.length(1_001);
    expect(samples.at(-1)).to.deep.equal({ labels: { name: 'other' }, distribution: { bounds: [1], counts: [500, 0], sum: 500, count: 500 } });
  });
});
