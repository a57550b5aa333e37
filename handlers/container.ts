import { Container, type ResolutionContext } from 'inversify';
import type { DemoCarrier, Post } from '../adapters/carriers/carrier.ts';
import { noticeReaders } from '../adapters/carriers/index.ts';
import type { Embedded } from '../adapters/embedded/index.ts';
import type { Memory } from '../adapters/memory/index.ts';
import type { Telemetry } from '../adapters/otel/index.ts';
import { systemClock, systemIds } from '../adapters/system/index.ts';
import { queues, streams } from '../core/flow.ts';
import { openDeployment } from '../core/kernel/deployment.ts';
import { createRelay, type Relay } from '../core/kernel/relay.ts';
import type { Kernel, Published } from '../core/kernel/service.ts';
import { mails } from '../core/notification/index.ts';
import { cancelOrder, findOrder, placeOrder } from '../core/order/index.ts';
import { publishedProducts, sayProductsAgain } from '../core/product/index.ts';
import {
  openMailer, openQueue, openStore, openStream, traced,
  type Clock, type Ids, type Log, type MailerDriver, type MessagingSystem, type Ports, type QueueDriver, type StoreDriver, type StreamDriver, type Tracer,
} from '../ports/index.ts';
import type { Chore, Cloud, Ground } from './clouds/cloud.ts';
import { isPrivate, type Family, type ShopSettings } from './settings.ts';

/**
 * THE COMPOSITION ROOT: the one place that knows which family stands behind which port. Everything is made when it is first asked for, so a family that nobody uses is
 * never loaded.
 */
export interface Shop {
  readonly kernel: Kernel;
  readonly carrier: DemoCarrier;
  /** The drivers as they are, for tests that look behind the ports. */
  readonly store: StoreDriver;
  /** What a family wants done now and then, besides what every shop does. */
  readonly chores: readonly Chore[];
  close(): Promise<void>;
}

/** What a host may bring itself: a test its clock, the local host its way to the webhook. */
export interface Surroundings {
  readonly post: Post;
  /** Where the shop is, once it listens; the settings' own address counts more. */
  readonly shopUrl?: () => string;
  readonly clock?: Clock;
  readonly ids?: Ids;
  readonly log?: Log;
  /** Instead of the one that the settings ask for. */
  readonly tracer?: Tracer;
  /**
   * For a host whose processes begin with somebody waiting for an answer: resolves when those who wait now have theirs; `undefined`: nobody does. As long as the brokers have
   * taken nothing yet, what commits have said is passed on after that, so that no answer waits for their SDKs; and what collects traces is loaded after it, too.
   */
  readonly answered?: () => Promise<void> | undefined;
  /** A memory family that outlives the shop, so that a restart can be played. */
  readonly memory?: Memory;
}

const it = {
  clock: Symbol.for('clock'),
  ids: Symbol.for('ids'),
  log: Symbol.for('log'),
  memory: Symbol.for('memory'),
  embedded: Symbol.for('embedded'),
  azure: Symbol.for('azure'),
  aws: Symbol.for('aws'),
  store: Symbol.for('store'),
  queue: Symbol.for('queue'),
  stream: Symbol.for('stream'),
  mailer: Symbol.for('mailer'),
  carrier: Symbol.for('carrier'),
  kernel: Symbol.for('kernel'),
} as const;

export async function openShop(settings: ShopSettings, surroundings: Surroundings): Promise<Shop> {
  const container = new Container({ defaultScope: 'Singleton' });
  const closers: (() => void | Promise<void>)[] = [];
  const chores: Chore[] = [];

  container.bind<Clock>(it.clock).toConstantValue(surroundings.clock ?? systemClock);
  container.bind<Ids>(it.ids).toConstantValue(surroundings.ids ?? systemIds);
  container.bind<Log>(it.log).toConstantValue(surroundings.log ?? (await import('./log.ts')).createLog(settings.logLevel));

  container.bind<Memory>(it.memory).toDynamicValue(async ({ get }) => {
    if (surroundings.memory) return surroundings.memory;
    const { openMemory } = await import('../adapters/memory/index.ts');
    const memory = openMemory({ clock: get<Clock>(it.clock), queues, streams });
    closers.push(() => memory.close());
    return memory;
  });
  container.bind<Embedded>(it.embedded).toDynamicValue(async ({ get }) => {
    const { openEmbedded } = await import('../adapters/embedded/index.ts');
    const embedded = await openEmbedded({ dataDir: settings.dataDir, clock: get<Clock>(it.clock), queues, streams });
    closers.push(() => embedded.close());
    return embedded;
  });

  const ground = ({ get }: ResolutionContext): Ground => ({ clock: get<Clock>(it.clock), closers, chores });
  container.bind<Cloud>(it.azure).toDynamicValue(async (context) => (await import('./clouds/azure.ts')).azureCloud(settings, ground(context)));
  container.bind<Cloud>(it.aws).toDynamicValue(async (context) => (await import('./clouds/aws.ts')).awsCloud(settings, ground(context)));

  const { store, queue, stream, mailer } = settings.adapters;
  container.bind<StoreDriver>(it.store).toDynamicValue(async (context) => (isCloud(store) ? (await cloud(context, store)).store() : (await family(context, store)).store));
  container.bind<QueueDriver>(it.queue).toDynamicValue(async (context) => (isCloud(queue) ? (await cloud(context, queue)).queue() : (await family(context, queue)).queue));
  container.bind<StreamDriver>(it.stream).toDynamicValue(async (context) => (isCloud(stream) ? (await cloud(context, stream)).stream() : (await family(context, stream)).stream));
  container.bind<MailerDriver>(it.mailer).toDynamicValue(async (context) => (isCloud(mailer) ? (await cloud(context, mailer)).mailer() : openMailerDriver(settings, context, closers)));
  container.bind<DemoCarrier>(it.carrier).toDynamicValue(async ({ get, getAsync }) => {
    const { demoCarrier } = await import('../adapters/carriers/carrier.ts');
    return demoCarrier({
      store: await getAsync<StoreDriver>(it.store),
      clock: get<Clock>(it.clock),
      speaks: settings.demoCarrierSpeaks,
      secret: secretsOf(settings, get<Ids>(it.ids))[settings.demoCarrierSpeaks]!,
      deliversAfterSeconds: settings.demoCarrierDeliversAfterSeconds,
      post: surroundings.post,
    });
  });
  /** Before anything is closed. */
  const settlers: (() => Promise<void>)[] = [];
  let opened: Kernel | undefined;
  container.bind<Kernel>(it.kernel).toDynamicValue(async (context) => {
    const tracer = surroundings.tracer ?? (await openTracer(settings, { log: context.get<Log>(it.log), kernel: () => opened, closers, settlers, answered: surroundings.answered }));
    return (opened = await createKernel(settings, context, { ...surroundings, tracer }));
  });

  async function close(): Promise<void> {
    for (const each of [...settlers, ...closers.reverse()]) await each();
  }

  try {
    return {
      kernel: await container.getAsync<Kernel>(it.kernel),
      carrier: await container.getAsync<DemoCarrier>(it.carrier),
      store: await container.getAsync<StoreDriver>(it.store),
      chores,
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

type CloudName = 'azure' | 'aws';
const isCloud = (family: Family): family is CloudName => family === 'azure' || family === 'aws';
const cloud = async ({ getAsync }: ResolutionContext, name: CloudName): Promise<Cloud> => getAsync<Cloud>(it[name]);
const family = async ({ getAsync }: ResolutionContext, name: Family): Promise<Embedded | Memory> => (name === 'memory' ? getAsync<Memory>(it.memory) : getAsync<Embedded>(it.embedded));

type Telling = { readonly log: Log; readonly kernel: () => Kernel | undefined; readonly settlers: (() => Promise<void>)[] } & Pick<Ground, 'closers'> & Pick<Surroundings, 'answered'>;

/** Nobody collects: then nothing of it is loaded, and the ports are what they are. */
async function openTracer(settings: ShopSettings, { answered, closers, settlers, ...telling }: Telling): Promise<Tracer | undefined> {
  const { otlpEndpoint, applicationInsights } = settings.telemetry;
  if (otlpEndpoint === undefined && applicationInsights === undefined) return undefined;
  const waiting = answered?.();
  const open = (): Promise<Telemetry> => openTelemetry(settings, telling);
  if (waiting === undefined) {
    const telemetry = await open();
    closers.unshift(() => telemetry.close()); // the last to go: what the others still do is told, too
    settlers.push(() => telemetry.settle());
    return telemetry.tracer;
  }
  const { earlyTracer } = await import('../adapters/otel/early.ts');
  const { tracer, opened } = earlyTracer(() => waiting.then(open), (error) => telling.log.warn({ error }, 'traces and metrics are not collected'));
  closers.unshift(async () => (await opened)?.close());
  settlers.push(async () => (await opened)?.settle());
  return tracer;
}

async function openTelemetry({ telemetry }: ShopSettings, { log, kernel }: Pick<Telling, 'log' | 'kernel'>): Promise<Telemetry> {
  const { otlpEndpoint, applicationInsights, byIdentity } = telemetry;
  const [{ openTelemetry: openAll }, { gathered }, { masked }] = await Promise.all([import('../adapters/otel/index.ts'), import('../core/operations/metrics.ts'), import('./log.ts')]);
  const gather = async () => {
    const counted = kernel();
    return counted ? gathered(counted) : [];
  };
  const credential = applicationInsights !== undefined && byIdentity ? await (await import('../adapters/azure/identity.ts')).identity() : undefined;
  return openAll({ ...(otlpEndpoint === undefined ? {} : { otlpEndpoint }), ...(applicationInsights === undefined ? {} : { applicationInsights }), ...(credential ? { credential } : {}), discreet: masked, gather, log });
}

const systemOf = (family: Family, clouds: Readonly<Record<CloudName, MessagingSystem>>): MessagingSystem => (isCloud(family) ? clouds[family] : 'anyport');

async function createKernel(settings: ShopSettings, { get, getAsync }: ResolutionContext, { shopUrl, tracer, answered }: Pick<Surroundings, 'shopUrl' | 'answered'> & { readonly tracer: Tracer | undefined }): Promise<Kernel> {
  const ports: Ports = {
    store: openStore(await getAsync<StoreDriver>(it.store)),
    queue: openQueue(await getAsync<QueueDriver>(it.queue)),
    stream: openStream(await getAsync<StreamDriver>(it.stream)),
    mailer: openMailer(mailboxFor(settings, await getAsync<MailerDriver>(it.mailer))),
    carrier: await getAsync<DemoCarrier>(it.carrier),
    notices: noticeReaders(secretsOf(settings, get<Ids>(it.ids))),
    clock: get<Clock>(it.clock),
    ids: get<Ids>(it.ids),
    log: get<Log>(it.log),
    settings: {
      shopName: settings.shopName,
      get shopUrl() {
        return settings.shopUrl ?? shopUrl?.() ?? `http://localhost:${settings.port}`;
      },
      lowStockAt: settings.lowStockAt,
    },
  };
  const { queue, stream } = settings.adapters;
  const isFar = isCloud(queue) || isCloud(stream);
  return openKernel(tracer ? traced(ports, tracer, { queue: systemOf(queue, { azure: 'servicebus', aws: 'aws_sqs' }), stream: systemOf(stream, { azure: 'eventhubs', aws: 'aws_kinesis' }) }) : ports, isFar ? answered : undefined);
}

/** The kernel over ports that are open already. */
export async function openKernel(ports: Ports, answered?: Surroundings['answered']): Promise<Kernel> {
  const { secret } = await openDeployment(ports.store, ports.ids);
  const relay = createRelay(ports);
  const kernel: Kernel = { ...ports, secret, relay: answered ? answeringFirst(relay, answered) : relay, published: publishedBy(() => kernel) };
  return kernel;
}

/**
 * Until the brokers have been reached once, whoever waits for an answer gets it before anything is passed on, and so before their SDKs are loaded. If the process ends in
 * between, the sweep of another one passes it on: an answer has never promised more than the commit.
 */
function answeringFirst(relay: Relay, answered: () => Promise<void> | undefined): Relay {
  let reached = false;
  return {
    ...relay,
    async pass(rows) {
      const waiting = reached ? undefined : answered();
      const passed = async (): Promise<void> => {
        await waiting;
        await relay.pass(rows);
        reached = true;
      };
      if (waiting) void passed();
      else await passed();
    },
  };
}

/** Letters are other people's: they can be read here only where nobody else can come in. */
function mailboxFor(settings: ShopSettings, driver: MailerDriver): MailerDriver {
  return isPrivate(settings) ? driver : { send: (letter) => driver.send(letter), ask: (letterKey) => driver.ask(letterKey) };
}

/** The questions between services, asked in the process. */
function publishedBy(kernel: () => Kernel): Published {
  return {
    products: (skus) => publishedProducts(kernel(), skus),
    sayProductsAgain: () => sayProductsAgain(kernel()),
    placeOrder: (order, idempotencyKey) => placeOrder(kernel(), order, idempotencyKey),
    order: (id) => findOrder(kernel(), id),
    cancelOrder: (id) => cancelOrder(kernel(), id),
    mails: (options) => mails(kernel(), options),
  };
}

async function openMailerDriver(settings: ShopSettings, context: ResolutionContext, closers: (() => void)[]): Promise<MailerDriver> {
  if (settings.adapters.mailer === 'memory') return (await context.getAsync<Memory>(it.memory)).mailer;
  if (settings.adapters.mailer === 'smtp') {
    const { openSmtp } = await import('../adapters/smtp/index.ts');
    const smtp = openSmtp({ url: settings.smtpUrl!, from: { name: settings.shopName, address: settings.smtpFrom } });
    closers.push(() => smtp.close());
    return smtp;
  }
  const { openMailbox } = await import('../adapters/mailbox/index.ts');
  return openMailbox({ folder: `${settings.dataDir}/mailbox`, from: { name: settings.shopName, address: settings.smtpFrom } });
}

/** The demo carrier and the shop must agree on a secret; a random one will do, since both live here. Made once per settings. */
function secretsOf(settings: ShopSettings, ids: Ids): Readonly<Record<ShopSettings['demoCarrierSpeaks'], string | undefined>> {
  let demo = drawn.get(settings);
  if (!demo) drawn.set(settings, (demo = ids.random()));
  return { ...settings.secrets, demo: settings.secrets.demo ?? demo };
}
const drawn = new WeakMap<ShopSettings, string>();
