import { Container, type ResolutionContext } from 'inversify';
import type { DemoCarrier, Post } from '../adapters/carriers/carrier.ts';
import { noticeReaders } from '../adapters/carriers/index.ts';
import type { Embedded } from '../adapters/embedded/index.ts';
import type { Memory } from '../adapters/memory/index.ts';
import { systemClock, systemIds } from '../adapters/system/index.ts';
import { queues, streams } from '../core/flow.ts';
import { openDeployment } from '../core/kernel/deployment.ts';
import { createRelay } from '../core/kernel/relay.ts';
import type { Kernel, Published } from '../core/kernel/service.ts';
import { mails } from '../core/notification/index.ts';
import { cancelOrder, findOrder, placeOrder } from '../core/order/index.ts';
import { publishedProducts, sayProductsAgain } from '../core/product/index.ts';
import {
  openMailer, openQueue, openStore, openStream,
  type Clock, type Ids, type Log, type MailerDriver, type Ports, type QueueDriver, type StoreDriver, type StreamDriver,
} from '../ports/index.ts';
import { createLog } from './log.ts';
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
  /** A memory family that outlives the shop, so that a restart can be played. */
  readonly memory?: Memory;
}

const it = {
  clock: Symbol.for('clock'),
  ids: Symbol.for('ids'),
  log: Symbol.for('log'),
  memory: Symbol.for('memory'),
  embedded: Symbol.for('embedded'),
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

  container.bind<Clock>(it.clock).toConstantValue(surroundings.clock ?? systemClock);
  container.bind<Ids>(it.ids).toConstantValue(surroundings.ids ?? systemIds);
  container.bind<Log>(it.log).toConstantValue(surroundings.log ?? createLog(settings.logLevel));

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

  const family = async (context: ResolutionContext, name: Family): Promise<Embedded | Memory> =>
    name === 'memory' ? context.getAsync<Memory>(it.memory) : context.getAsync<Embedded>(it.embedded);
  container.bind<StoreDriver>(it.store).toDynamicValue(async (context) => (await family(context, settings.adapters.store)).store);
  container.bind<QueueDriver>(it.queue).toDynamicValue(async (context) => (await family(context, settings.adapters.queue)).queue);
  container.bind<StreamDriver>(it.stream).toDynamicValue(async (context) => (await family(context, settings.adapters.stream)).stream);
  container.bind<MailerDriver>(it.mailer).toDynamicValue((context) => openMailerDriver(settings, context, closers));
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
  container.bind<Kernel>(it.kernel).toDynamicValue((context) => createKernel(settings, context, surroundings.shopUrl));

  async function close(): Promise<void> {
    for (const each of closers.reverse()) await each();
  }

  try {
    return {
      kernel: await container.getAsync<Kernel>(it.kernel),
      carrier: await container.getAsync<DemoCarrier>(it.carrier),
      store: await container.getAsync<StoreDriver>(it.store),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function createKernel(settings: ShopSettings, { get, getAsync }: ResolutionContext, shopUrl: Surroundings['shopUrl']): Promise<Kernel> {
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
  return openKernel(ports);
}

/** The kernel over ports that are open already. */
export async function openKernel(ports: Ports): Promise<Kernel> {
  const { secret } = await openDeployment(ports.store, ports.ids);
  const kernel: Kernel = { ...ports, secret, relay: createRelay(ports), published: publishedBy(() => kernel) };
  return kernel;
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
