import { SpanKind, SpanStatusCode } from '@opentelemetry/api';
import { InMemorySpanExporter, SimpleSpanProcessor, type ReadableSpan } from '@opentelemetry/sdk-trace-base';
import { expect } from 'chai';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gunzipSync } from 'node:zlib';
import { openAzureMailer } from '../adapters/azure/mailer.ts';
import { openTelemetry, openTracer, type TelemetryOptions } from '../adapters/otel/index.ts';
import { systemClock } from '../adapters/system/index.ts';
import { queues, services, streams } from '../core/flow.ts';
import { handlers } from '../handlers/index.ts';
import { masked } from '../handlers/log.ts';
import { createHistogram, gauge, isMalformed, traceparentOf, type Message } from '../ports/index.ts';
import { basket } from './support/client.ts';
import { createLog } from './support/log.ts';
import { openWorld, unavailable, type World } from './support/world.ts';

/** What a trace shows of an order, collected in memory, through the same handlers, kernel and ports as everywhere. */

const callers = Array.from({ length: 60 }, (_, n) => `00-${String(n + 1).padStart(32, 'c')}-00f067aa0ba902b7-01`);
const [caller = ''] = callers;
const traceOf = (traceparent: string): string => traceparent.slice(3, 35);

interface Collector {
  readonly world: World;
  readonly spans: () => ReadableSpan[];
  readonly named: (name: string) => ReadableSpan[];
}

/** A shop with so many of product A, of which fewer than 10 are few, after everything that this has caused. */
async function collecting(quantity = 11): Promise<Collector> {
  const exporter = new InMemorySpanExporter();
  const { tracer } = openTracer({ processors: [new SimpleSpanProcessor(exporter)], discreet: masked });
  const world = await openWorld({ tracer, deliversAfterSeconds: 5 });
  await world.describe('A', quantity);
  await world.settle();
  await world.clock.advance(10_000);
  exporter.reset();
  return { world, spans: () => exporter.getFinishedSpans(), named: (name) => exporter.getFinishedSpans().filter((span) => span.name === name) };
}

async function placed(world: World, headers: Readonly<Record<string, string>>, quantity = 2): Promise<string> {
  const body = new TextEncoder().encode(JSON.stringify(basket(['A', quantity])));
  const event = { method: 'POST', path: '/api/orders', params: {}, query: new URLSearchParams(), headers: { 'content-type': 'application/json', ...headers }, body };
  const answer = await handlers.placeOrder(event, { kernel: world.kernel, adminToken: '' });
  expect(answer.status).to.equal(201);
  return (JSON.parse(String(answer.body)) as { id: string }).id;
}

const attribute = (span: ReadableSpan, name: string): unknown => span.attributes[name];
const group = (span: ReadableSpan): unknown => attribute(span, 'messaging.consumer.group.name');
const idOf = (span: ReadableSpan): string => span.spanContext().spanId;

/** Everything that was ever put on a channel. */
async function messagesOf({ kernel, play }: World): Promise<Message[]> {
  const places = await Promise.all(streams.map(async (name) => (await kernel.stream.partitions(name)).map((partition) => ({ name, partition }))));
  const batches = await play(Promise.all(places.flat().map(({ name, partition }) => kernel.stream.read(name, partition, { max: 256, waitSeconds: 0 }))));
  return batches.flatMap((batch) => ('gap' in batch ? [] : batch.events.flatMap(({ message }) => (isMalformed(message) ? [] : [message]))));
}

describe('The trace of an order', () => {
  let all: Collector;
  let id = '';
  before(async () => {
    all = await collecting();
    id = await all.world.play(placed(all.world, { traceparent: caller }));
    await all.world.settle();
    await all.world.clock.advance(20_000);
    expect(all.world.order(id)).to.equal('Delivered');
  });
  after(() => all.world.stop());

  it('is one, from the caller over HTTP, queue and streams through all six services to the letters', () => {
    const mine = all.spans().filter((span) => span.spanContext().traceId === traceOf(caller));
    expect(mine.filter(({ kind }) => kind === SpanKind.SERVER).map(({ name }) => name)).to.deep.equal(['POST /api/orders', 'POST /api/carriers/{carrier}/notices']);
    const handled = mine.filter(({ kind }) => kind === SpanKind.CONSUMER).map((span) => `${group(span)} ${attribute(span, 'cloudevents.event_type')}`);
    expect(handled).to.have.members([
      'inventory OrderPlaced', 'notification OrderPlaced', 'order InventoryReserved', 'product InventoryReserved', 'shipping InventoryReserved', 'website ProductInfoUpdated',
      'order OrderFulfillment', 'notification OrderFulfillment', 'inventory OrderFulfillment', 'order OrderDelivered', 'notification OrderDelivered',
    ]);
    expect(new Set(mine.flatMap((span) => group(span) ?? attribute(span, 'anyport.service') ?? []))).to.deep.equal(new Set(services));
    expect(mine.filter(({ name }) => name === 'send mail').map((span) => attribute(span, 'anyport.letter'))).to.have.members(['confirmation', 'shipped', 'delivered'].map((milestone) => `${id.slice(0, 8)}….${milestone}`));
    expect(mine.filter(({ name }) => name === 'book carrier')).to.have.length(1);
  });

  it('has no span without its parent, but those that receive for many', () => {
    const known = new Set([...all.spans().map(idOf), caller.slice(36, 52)]);
    const mine = all.spans().filter((span) => span.spanContext().traceId === traceOf(caller));
    expect(mine.filter((span) => !known.has(span.parentSpanContext?.spanId ?? ''))).to.deep.equal([]);
    const roots = all.spans().filter((span) => span.parentSpanContext === undefined);
    expect(new Set(roots.map(({ name }) => name.split(' ')[0]))).to.deep.equal(new Set(['receive']));
    expect(roots.filter((span) => span.links.length === 0)).to.deep.equal([]); // a reader that finds nothing is nobody's news
  });

  it('rides with each message: the context in which it was created, the same on every road', async () => {
    const said = (await messagesOf(all.world)).filter(({ traceparent = '' }) => traceOf(traceparent) === traceOf(caller));
    expect(said.map(({ type }) => type)).to.include.members(['OrderPlaced', 'InventoryReserved', 'ProductInfoUpdated', 'OrderFulfillment', 'OrderDelivered']);
    for (const { id: messageId, traceparent = '' } of said) {
      const creation = all.spans().find((span) => idOf(span) === traceparent.slice(36, 52))!;
      expect([creation.kind, attribute(creation, 'messaging.message.id')], messageId).to.deep.equal([SpanKind.PRODUCER, masked(messageId)]);
      const during = all.spans().find((span) => idOf(span) === creation.parentSpanContext?.spanId)!;
      expect(during.kind, messageId).to.be.oneOf([SpanKind.SERVER, SpanKind.CONSUMER]);
      const heard = all.spans().filter((span) => span.kind === SpanKind.CONSUMER && attribute(span, 'messaging.message.id') === masked(messageId));
      expect(heard.length, messageId).to.be.greaterThan(0);
      for (const span of heard) expect([span.parentSpanContext?.spanId, span.links.map(({ context }) => context.spanId)]).to.deep.equal([idOf(creation), [idOf(creation)]]);
    }
  });

  it('uses the words of the conventions for messaging', () => {
    const [create] = all.named('create inventory');
    const [process] = all.named('process reserve-stock');
    const [settle] = all.named('complete reserve-stock');
    const [receive] = all.named('receive orders');
    const [send] = all.named('send reserve-stock');
    expect(create!.attributes).to.include({ 'messaging.operation.name': 'create', 'messaging.operation.type': 'create', 'messaging.destination.name': 'inventory' });
    expect(process!.attributes).to.include({
      'messaging.operation.name': 'process', 'messaging.operation.type': 'process', 'messaging.destination.name': 'reserve-stock', 'messaging.consumer.group.name': 'inventory',
      'messaging.message.conversation_id': masked(id), 'messaging.message.id': masked(`${id}:OrderPlaced:0`),
    });
    expect(settle!.attributes).to.include({ 'messaging.operation.type': 'settle', 'messaging.system': 'anyport', 'messaging.destination.name': 'reserve-stock' });
    expect(receive!.attributes).to.include({ 'messaging.operation.type': 'receive', 'messaging.batch.message_count': 1 }).and.to.have.property('messaging.destination.partition.id');
    expect(send!.attributes).to.include({ 'messaging.operation.type': 'send', 'messaging.destination.name': 'reserve-stock' }).and.not.to.have.property('messaging.batch.message_count');
    expect([create!.kind, send!.kind, receive!.kind, process!.kind, settle!.kind]).to.deep.equal([SpanKind.PRODUCER, SpanKind.CLIENT, SpanKind.CLIENT, SpanKind.CONSUMER, SpanKind.CLIENT]);
    const known = [...queues, ...streams];
    const channels = all.spans().flatMap((span) => (attribute(span, 'messaging.operation.name') === undefined ? [] : [span.name]));
    for (const name of channels) expect(name).to.match(new RegExp(`^(create|(create|send|receive|process|complete) (${known.join('|')}))$`));
  });

  it('tells nobody an order\'s id, an address, or what a message says', () => {
    const told = JSON.stringify(all.spans().map(({ name, attributes, events, status }) => ({ name, attributes, events, status })));
    expect(told).to.include(id.slice(0, 8));
    for (const secret of [id, 'anna', 'Anna', 'Leeds', 'LS1']) expect(told).not.to.include(secret);
  });
});

describe('Traces of many', () => {
  it('are not mixed up when orders share a commit, and what is sent or received together is linked to each of them', async () => {
    const { world, named } = await collecting(1_000);
    const ids = await world.play(Promise.all(callers.map((traceparent) => placed(world, { traceparent }))));
    await world.settle();
    const created = new Map(named('create').map((span) => [attribute(span, 'messaging.message.id'), span]));
    ids.forEach((id, n) => expect(created.get(masked(`${id}:OrderPlaced:0`))!.spanContext().traceId, id).to.equal(traceOf(callers[n]!)));
    const contexts = new Set([...created.values()].map(idOf));
    for (const name of ['send orders', 'receive orders', 'send reserve-stock']) {
      const batch = named(name).find((span) => Number(attribute(span, 'messaging.batch.message_count')) > 1)!;
      expect(batch.parentSpanContext, name).to.equal(undefined);
      expect(batch.links, name).to.have.length(Number(attribute(batch, 'messaging.batch.message_count')));
      expect(batch.links.filter(({ context }) => !contexts.has(context.spanId)), name).to.deep.equal([]);
    }
    await world.stop();
  });

  it('are each receipt\'s own, although many share a commit; and a commit that failed has created nothing', async () => {
    const { world, spans } = await collecting();
    let failures = 1;
    world.interfere = async (call, work) => {
      if (call.port === 'store' && call.method === 'commit' && String(call.args[0]).startsWith('stock') && failures-- > 0) throw unavailable();
      return work();
    };
    const receive = (traceparent: string): Promise<{ status: number }> => {
      const headers = { 'content-type': 'application/json', authorization: 'Bearer a-token-of-sixteen-or-more', traceparent };
      const event = { method: 'POST', path: '/', params: { sku: 'A' }, query: new URLSearchParams(), headers, body: new TextEncoder().encode('{"quantity":1}') };
      return handlers.receiveStock(event, { kernel: world.kernel, adminToken: 'a-token-of-sixteen-or-more' });
    };
    const some = callers.slice(0, 10);
    const answers = await world.play(Promise.all(some.map(receive)));
    expect(answers.map(({ status }) => status)).to.deep.equal(some.map(() => 201));
    const created = spans().filter((span) => attribute(span, 'cloudevents.event_type') === 'StockChanged' && span.kind === SpanKind.PRODUCER);
    expect(created.map((span) => span.spanContext().traceId)).to.have.members(some.map(traceOf));
    await world.stop();
  });

  it('go on with the provider of the letters, in a header of the request and nowhere in the letter', async () => {
    const seen: { method: string; traceparent: unknown; text: string }[] = [];
    const server = createServer((request, response) => {
      let text = '';
      request.on('data', (chunk: Buffer) => void (text += chunk.toString()));
      request.on('end', () => {
        seen.push({ method: request.method ?? '', traceparent: request.headers['traceparent'], text });
        const id = 'bf0ffbd3-5a4c-4fe5-a8a7-9b8a1a1d7f10';
        const taken = request.method === 'POST';
        response.writeHead(taken ? 202 : 200, { 'content-type': 'application/json', ...(taken ? { 'operation-location': `http://127.0.0.1:${port}/emails/operations/${id}` } : {}) });
        response.end(JSON.stringify({ id, status: taken ? 'Running' : 'Succeeded' }));
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const mailer = await openAzureMailer({ connectionString: `endpoint=http://127.0.0.1:${port}/;accesskey=${Buffer.from('no secret').toString('base64')}`, from: 'shop@anyport.invalid', clock: systemClock });
    const letter = { key: 'a.b', to: { name: 'A', address: 'a@example.com' }, subject: 'S', text: 'T', html: '<p>T</p>', date: '2026-01-01T00:00:00.000Z' };
    await mailer.send({ ...letter, traceparent: caller });
    await mailer.send(letter);
    mailer.close();
    server.close();
    const posts = seen.filter(({ method }) => method === 'POST');
    expect(posts.map(({ traceparent }) => traceparent)).to.deep.equal([caller, undefined]);
    expect(posts[0]!.text).to.equal(posts[1]!.text);
  });

  it('show what failed, and of what kind, and keep the message\'s own context when it comes again', async () => {
    const { world, named } = await collecting();
    const until = world.clock.now() + 60_000; // the executor itself does not try for so long
    world.interfere = async (call, work) => {
      if (call.port === 'store' && call.method === 'commit' && String(call.args[0]).startsWith('letters') && world.clock.now() < until) throw unavailable();
      return work();
    };
    await world.play(placed(world, { traceparent: caller }));
    await world.settle();
    const [failed] = named('process orders');
    const done = named('process orders').at(-1);
    expect([failed!.status.code, attribute(failed!, 'error.type')]).to.deep.equal([SpanStatusCode.ERROR, 'unavailable']);
    expect([done!.status.code, attribute(done!, 'error.type')]).to.deep.equal([SpanStatusCode.UNSET, undefined]);
    expect(done!.parentSpanContext?.spanId).to.equal(failed!.parentSpanContext?.spanId);
    expect(named('send mail').map((span) => span.parentSpanContext?.spanId)).to.include(idOf(done!));
    await world.stop();
  });

  it('begin anew where nobody or nonsense has begun them', async () => {
    const { world, named } = await collecting();
    for (const traceparent of [undefined, '', 'nonsense', `00-${'0'.repeat(32)}-00f067aa0ba902b7-01`, caller.toUpperCase(), `ff${caller.slice(2)}`, `${caller}-more`]) {
      await world.play(placed(world, traceparent === undefined ? {} : { traceparent }, 1));
    }
    const served = named('POST /api/orders');
    expect(served).to.have.length(7);
    expect(served.filter((span) => span.parentSpanContext !== undefined)).to.deep.equal([]);
    expect(new Set(served.map((span) => span.spanContext().traceId)).size).to.equal(7);
    await world.stop();
  });

  it('are not made where nobody collects them: no message has a context, and no port stands before another', async () => {
    const world = await openWorld();
    await world.describe('A', 5);
    await world.play(placed(world, { traceparent: caller }));
    await world.settle();
    expect(world.kernel.tracer).to.equal(undefined);
    const said = await messagesOf(world);
    expect(said.length).to.be.greaterThan(3);
    expect(said.filter((message) => 'traceparent' in message)).to.deep.equal([]);
    await world.stop();
  });
});

describe('A traceparent', () => {
  it('is read in the one version that we speak', () => {
    expect(traceparentOf(caller)).to.equal(caller);
    for (const wrong of ['', '00', caller.slice(1), `01${caller.slice(2)}`, caller.replace('00f067aa0ba902b7', '0'.repeat(16)), `${caller} `, caller.replace('c', 'g')]) expect(traceparentOf(wrong), wrong).to.equal(undefined);
  });
});

describe('Telemetry', () => {
  interface Post {
    readonly path: string;
    readonly text: string;
  }

  /** A collector, as far as its protocol goes. */
  async function receiver(status = 200): Promise<{ url: string; posts: Post[]; close(): void }> {
    const posts: Post[] = [];
    const server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => void chunks.push(chunk));
      request.on('end', () => {
        const bytes = Buffer.concat(chunks);
        const text = (request.headers['content-encoding'] === 'gzip' ? gunzipSync(bytes) : bytes).toString();
        posts.push({ path: request.url ?? '', text });
        response.writeHead(status, { 'content-type': 'application/json' }).end('{}');
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, posts, close: () => void server.close() };
  }

  // What Microsoft is told of the exporter itself has no place in a test.
  before(() => void (process.env['APPLICATION_INSIGHTS_NO_STATSBEAT'] = 'true'));
  after(() => void delete process.env['APPLICATION_INSIGHTS_NO_STATSBEAT']);

  const id = '7z1k5v0q2m8x4c6b9n3h5j7g2d';
  const steps = createHistogram('anyport_order_step_seconds', 'how long', ['step'], [1, 10]);
  steps.observe({ step: 'placed_to_reserved' }, 4);
  const gather = async () => [gauge('anyport_outbox_messages', 'how many', [{ labels: {}, value: 7 }]), steps.family()];

  type Where = Pick<TelemetryOptions, 'otlpEndpoint' | 'applicationInsights' | 'httpClient' | 'credential'>;

  async function told(where: Where) {
    const log = createLog();
    const { tracer, settle, close } = await openTelemetry({ ...where, discreet: masked, gather, log });
    await tracer.span({ name: 'process orders', kind: 'consumer', parent: caller, attributes: { 'messaging.message.id': `${id}:OrderPlaced:0` } }, async () => {});
    const began = performance.now();
    await settle();
    await close();
    return { log, closedAfter: performance.now() - began };
  }

  it('goes to an OTLP endpoint as JSON: spans and metrics', async () => {
    const { url, posts, close } = await receiver();
    await told({ otlpEndpoint: url });
    close();
    const spans = posts.find(({ path }) => path === '/v1/traces')!.text;
    expect(spans).to.include('"name":"process orders"').and.to.include('7z1k5v0q…:OrderPlaced:0').and.to.include(traceOf(caller)).and.not.to.include(id);
    expect(spans).to.include('"service.name"').and.to.include('"anyport"');
    const metrics = posts.find(({ path }) => path === '/v1/metrics')!.text;
    expect(metrics).to.include('"name":"anyport.outbox_messages"').and.to.include('"name":"anyport.order_step"').and.to.include('"explicitBounds":[1,10]').and.to.include('"placed_to_reserved"');
  });

  it('goes to Application Insights: spans and metrics, as the identity that it is told', async () => {
    const posts: Post[] = [];
    const who = new Set<string | undefined>();
    const credential = { getToken: async () => ({ token: 'of-the-app', expiresOnTimestamp: Date.now() + 3_600_000 }) };
    // It speaks to nothing but HTTPS, so it is met one step before.
    const httpClient: NonNullable<TelemetryOptions['httpClient']> = {
      async sendRequest(request) {
        const { url, headers, body } = request;
        who.add(headers.get('authorization'));
        const bytes = Buffer.from(body as Uint8Array | string);
        const text = (headers.get('content-encoding') === 'gzip' ? gunzipSync(bytes) : bytes).toString();
        posts.push({ path: new URL(url).pathname, text });
        return { request, status: 200, headers: Reflect.construct(headers.constructor, []) as typeof headers, bodyAsText: JSON.stringify({ itemsReceived: 1, itemsAccepted: 1, errors: [] }) };
      },
    };
    await told({ applicationInsights: 'InstrumentationKey=00000000-0000-0000-0000-000000000001;IngestionEndpoint=https://insights.invalid/', httpClient, credential });
    expect([...who]).to.deep.equal(['Bearer of-the-app']);
    const sent = posts.filter(({ path }) => path.endsWith('/track')).map(({ text }) => text).join('\n');
    expect(sent).to.include('process orders').and.to.include(traceOf(caller)).and.not.to.include(id);
    expect(sent).to.include('anyport.outbox_messages').and.to.include('anyport.order_step');
  });

  it('that nobody takes costs a line in the log and a moment at the end, and no work', async () => {
    const { url, close } = await receiver(400);
    const { log, closedAfter } = await told({ otlpEndpoint: url });
    close();
    expect(log.lines.map(({ text }) => text)).to.include('traces or metrics could not be sent');
    expect(closedAfter).to.be.lessThan(6_000);
  });
});
