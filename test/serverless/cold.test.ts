import { ServiceBusClient } from '@azure/service-bus';
import { expect } from 'chai';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { startLaptop, type Laptop } from '../../emulator/laptop.ts';
import { bundle, sources, type Files } from '../../serverless/bundle.ts';
import { openApp, type App } from '../../serverless/invoke.ts';
import { azuritePatienceMs } from '../support/azurite.ts';
import { anna, eventually, home } from '../support/client.ts';

/**
 * WHAT A COLD PROCESS LOADS before its first answer, and that what can wait is done after it. How long it takes is told by `npm run bench`.
 */
const brokers = ['@azure/service-bus', '@azure/event-hubs', 'rhea', 'rhea-promise', '@azure/core-amqp'];
const telemetry = ['@opentelemetry/sdk-trace-base', '@opentelemetry/sdk-metrics', '@opentelemetry/resources', '@opentelemetry/exporter-trace-otlp-http', '@azure/monitor-opentelemetry-exporter'];
const bytesMax = 600_000;

describe('a cold process of the package', function () {
  this.timeout(60_000);
  let laptop: Laptop;
  let files: Files;
  let origins: ReadonlyMap<string, readonly string[]>;
  let collector: Server;
  const told: string[] = [];
  const opened: App[] = [];

  before(async function () {
    this.timeout(azuritePatienceMs);
    collector = createServer((request, response) => {
      let text = '';
      request.on('data', (part: Buffer) => (text += part.toString())).on('end', () => {
        if (request.url === '/v1/traces') told.push(text);
        response.end('{}');
      });
    });
    await new Promise<void>((resolve) => collector.listen(0, '127.0.0.1', resolve));
    laptop = await startLaptop({ broker: true, tables: true, email: true });
    files = await bundle();
    origins = await sources();
    const app = await cold();
    await app.invoke('describeProduct', { params: { sku: 'MUG' }, headers: admin, body: { name: 'Mug', description: '', price: { amount: 250, currency: 'GBP' } } });
    await app.invoke('receiveStock', { params: { sku: 'MUG' }, headers: admin, body: { quantity: 100 } });
  });
  afterEach(async () => {
    for (const app of opened.splice(0)) await app.close();
  });
  after(async () => {
    await laptop?.close();
    collector.close();
  });

  const admin = { authorization: 'Bearer for-this-machine-only' };
  const order = { body: { customer: anna, address: home, lines: [{ sku: 'MUG', quantity: 1 }] } };

  async function cold(more: Readonly<Record<string, string>> = {}): Promise<App> {
    const env = { ADAPTERS: 'azure', AZURE_SERVICE_BUS: laptop.broker, AZURE_EVENT_HUBS: laptop.broker, AZURE_TABLES: laptop.tables, AZURE_EMAIL: laptop.email };
    const app = await openApp(files, { env: { PATH: process.env['PATH'], LOG_LEVEL: 'silent', ...env, ...more } });
    opened.push(app);
    return app;
  }

  async function answered(app: App, name: string, payload: object): Promise<{ readonly status: number; readonly body: string }> {
    const outcome = await app.invoke(name, payload);
    if (!outcome.returned || !outcome.response) throw new Error(JSON.stringify(outcome));
    return outcome.response;
  }

  /** The packages of which something had been loaded when the latest answer was given. */
  function packages(app: App): ReadonlySet<string> {
    const found = app.loaded().filter((path) => path.startsWith('dist/')).flatMap((path) => origins.get(path)!);
    return new Set(found.map((source) => /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(source)?.[1] ?? source));
  }
  const bytes = (app: App): number => app.loaded().reduce((sum, path) => sum + files.get(path)!.byteLength, 0);

  /** Hands over what is in the queue, once there is something; answers the bodies. */
  async function received(queue: string, wanted: (body: string) => boolean): Promise<string> {
    const client = new ServiceBusClient(laptop.broker!);
    try {
      const receiver = client.createReceiver(queue, { skipParsingBodyAsJson: true, receiveMode: 'receiveAndDelete' });
      return await eventually(async () => there((await receiver.receiveMessages(10, { maxWaitTimeInMs: 500 })).map(({ body }) => String(body)).find(wanted)));
    } finally {
      await client.close();
    }
  }

  /** What `eventually` goes on for is an error. */
  function there<Value>(value: Value | undefined): Value {
    if (value === undefined) throw new Error('it has not come');
    return value;
  }

  it('takes an order without the SDKs of the brokers, of letters and of telemetry, and passes on afterwards what it has said', async () => {
    const app = await cold();
    const { status, body } = await answered(app, 'placeOrder', order);
    expect(status, body).to.equal(201);
    const { id } = JSON.parse(body) as { id: string };
    expect(packages(app)).to.include('@azure/data-tables', 'the store is asked for the answer');
    for (const name of [...brokers, ...telemetry, '@azure/communication-email', '@azure/identity', 'pino', 'nodemailer', 'rhea']) expect(packages(app), name).not.to.include(name);
    expect(bytes(app)).to.be.at.most(bytesMax);
    // The sweep, which would find it too, has not run.
    expect(await received('reserve-stock', (text) => text.includes(id))).to.include('MUG');
    await answered(app, 'getOrder', { params: { id } });
    expect(packages(app), 'loaded after the answer').to.include('@azure/service-bus');
  });

  it('loads no service but that of the door', async () => {
    const app = await cold();
    await answered(app, 'getOrder', { params: { id: 'x'.repeat(26) } });
    for (const source of ['core/website/index.ts', 'core/operations/index.ts', 'core/shipping/index.ts', 'handlers/documents.ts']) expect(packages(app), source).not.to.include(source);
  });

  it('keeps the console, and what signs people in, away from everybody who does not come to it', async () => {
    const ofConsole = (app: App): string[] => [...packages(app)].filter((name) => /^(handlers\/console\.ts|core\/console\/.*|openid-client|oauth4webapi|jose)$/.test(name));
    const app = await cold();
    await answered(app, 'placeOrder', order);
    expect(ofConsole(app)).to.deep.equal([]);
    expect((await answered(app, 'consoleSignIn', { url: '/console/sign-in' })).status).to.equal(200);
    expect(ofConsole(app), 'the console itself').to.include('handlers/console.ts');
    expect(ofConsole(app), 'loaded when somebody goes to the provider').not.to.include('openid-client');
  });

  it('shows a page without ever loading the brokers', async () => {
    const app = await cold();
    expect((await answered(app, 'homePage', { url: '/' })).status).to.equal(200);
    expect(packages(app), 'the service itself').to.include('core/website/index.ts');
    await new Promise((resolve) => setTimeout(resolve, 400));
    expect((await answered(app, 'basketPage', { url: '/basket' })).status).to.equal(200);
    for (const name of [...brokers, ...telemetry]) expect(packages(app), name).not.to.include(name);
  });

  it('waits for the brokers once they are there: the next answer comes when what was said is gone', async () => {
    const app = await cold();
    await answered(app, 'placeOrder', order);
    await eventually(async () => {
      await answered(app, 'getOrder', { params: { id: 'x'.repeat(26) } });
      expect(packages(app)).to.include('@azure/event-hubs');
    });
    const client = new ServiceBusClient(laptop.broker!);
    const receiver = client.createReceiver('reserve-stock', { skipParsingBodyAsJson: true, receiveMode: 'receiveAndDelete' });
    for (let left = 1; left > 0; ) left = (await receiver.receiveMessages(10, { maxWaitTimeInMs: 500 })).length;
    const { body } = await answered(app, 'placeOrder', order);
    const { id } = JSON.parse(body) as { id: string };
    // Sooner than anything that begins after the answer.
    const there = await receiver.receiveMessages(10, { maxWaitTimeInMs: 60 });
    await client.close();
    expect(there.map((message) => String(message.body)).join()).to.include(id);
  });

  it('loads telemetry after the first answer, and tells of the first request all the same, in the trace that it came with', async () => {
    const app = await cold({ OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${(collector.address() as AddressInfo).port}`, OTEL_BSP_SCHEDULE_DELAY: '100' });
    const trace = 'c01d'.repeat(8);
    expect((await answered(app, 'placeOrder', { ...order, headers: { traceparent: `00-${trace}-${'a1'.repeat(8)}-01` } })).status).to.equal(201);
    for (const name of telemetry) expect(packages(app), name).not.to.include(name);
    interface Span { readonly name: string; readonly traceId: string; readonly spanId: string; readonly parentSpanId?: string }
    const spans = (): Span[] => told.flatMap((text) => (JSON.parse(text) as { resourceSpans: { scopeSpans: { spans: Span[] }[] }[] }).resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap((each) => each.spans)));
    const named = (name: string): Span | undefined => spans().find((each) => each.traceId === trace && each.name === name);
    const [serving, created, sent] = await eventually(async () => {
      const all = [named('POST /api/orders'), named('create'), named('send reserve-stock') ?? named('send orders')];
      return all.map(there);
    });
    expect(serving!.parentSpanId, 'the caller').to.equal('a1'.repeat(8));
    expect(created!.parentSpanId, 'the request').to.equal(serving!.spanId);
    expect(sent!.parentSpanId, 'what was created').to.equal(created!.spanId);
  });
});
