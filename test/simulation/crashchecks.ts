import { audit } from '../../core/audit.ts';
import { collections, queues, subscriptions } from '../../core/flow.ts';
import { deadLetters } from '../../core/kernel/dead.ts';
import type { Document } from '../../core/kernel/execute.ts';
import { positionKey } from '../../core/kernel/follow.ts';
import { findings } from '../../core/kernel/list.ts';
import type { Kernel } from '../../core/kernel/service.ts';
import { mails, notification } from '../../core/notification/index.ts';
import type { MailView, Milestone } from '../../core/notification/events.ts';
import type { OrderView } from '../../core/order/events.ts';
import { statusOf, type Order } from '../../core/order/order.ts';
import type { ProductView } from '../../core/product/events.ts';
import { stockStatus } from '../../core/product/product.ts';
import { isRefusal, key, partitionOf, partitionsOf, partsOf } from '../../ports/index.ts';
import { explained, received, type Told } from './crashstory.ts';
import { tells, type CrashWorld } from './crashworld.ts';

/** What has to be true when the story is over and everything has come to rest, wherever the world was killed. Everything is asked past all faults. */

/** How each order ends. */
const ends: Readonly<Record<string, readonly OrderView['status'][]>> = {
  plain: ['Delivered'], wide: ['Delivered'], waits: ['Delivered'], inTime: ['Cancelled'], race: ['Delivered', 'Cancelled'], last: ['Delivered'],
};
const backordered: ReadonlySet<string> = new Set(['waits', 'inTime']);

/** Long enough for a lock to run out, a partition that stands to try again and the website to look. */
const quietMilliseconds = 8_000;

export async function settle({ clock, ledger, isOpenFor }: CrashWorld): Promise<void> {
  const isQuiet = (): boolean => isOpenFor(quietMilliseconds) && ledger.open().length === 0 && same(ledger.parked(), explained.parked) && clock.now() - ledger.changed.at >= quietMilliseconds;
  while (!isQuiet() && !ledger.violation) await clock.sleep(500);
}

export async function check(world: CrashWorld, told: Told): Promise<void> {
  const { ledger } = world;
  const { kernel } = world.behind();
  const found = await placedOrders(kernel);
  checkOrders(world, told, found);
  await clearUp(world, await uncertain(kernel));
  checkLetters(world, told, found);
  const { faults } = await audit(kernel);
  for (const fault of faults) if (!/^2 (keys are parked|messages are dead)$/.test(fault)) ledger.fail(`audit: ${fault}`);
  const dead = (await deadLetters(kernel)).map(({ body }) => body.reason).sort();
  if (dead.length !== 2 || !dead.every((reason, i) => reason.startsWith(explained.dead[i]!))) ledger.fail(`dead letters: ${dead.join('; ')}`);
  for (const missing of ledger.unsent()) ledger.fail(missing);
  await checkChannels(world);
  await checkProducts(world);
  await checkParcels(world, found);
}

async function placedOrders(kernel: Kernel): Promise<Map<string, Order>> {
  const rows = await findings<Document<Order>>(kernel.store, partitionsOf(collections.orders), key('order', ''));
  return new Map(rows.flatMap(({ key: rowKey, body: { state } }) => (state.placed ? [[partsOf(rowKey)[1]!, state] as const] : [])));
}

function checkOrders({ ledger }: CrashWorld, { orders, race }: Told, found: ReadonlyMap<string, Order>): void {
  for (const [name, { id, lines }] of orders) {
    const order = found.get(id);
    if (!order) ledger.fail(`the order "${name}" was accepted, and is lost`);
    else if (!ends[name]!.includes(statusOf(order))) ledger.fail(`the order "${name}" has ended as ${statusOf(order)}`);
    else if (order.placed!.lines.length !== lines.length) ledger.fail(`the order "${name}" is not what its customer was told`);
  }
  const others = [...found].filter(([id]) => ![...orders.values()].some((each) => each.id === id));
  if (others.length > 1) ledger.fail(`${others.length} orders that nobody was told of, and one customer walked away`);
  for (const [, order] of others) if (statusOf(order) !== 'Delivered') ledger.fail(`the order of the one who walked away has ended as ${statusOf(order)}`);
  const raced = found.get(orders.get('race')!.id);
  if (raced && isRefusal(race) && statusOf(raced) !== 'Delivered') ledger.fail('who wanted to cancel was told that it was too late, and it was cancelled');
}

// ---------------------------------------------------------------- letters

const uncertain = async (kernel: Kernel): Promise<readonly MailView[]> => (await mails(kernel, { limit: 100, state: 'uncertain' })).items;

/** A person finds out what became of each letter that is listed, and says so. */
async function clearUp(world: CrashWorld, listed: readonly MailView[]): Promise<void> {
  for (const { id } of listed) {
    if (tells(id)) world.ledger.fail(`the letter ${id} is uncertain, and the mailer knows`);
    if (world.struck === undefined) world.ledger.fail(`the letter ${id} is uncertain, and nothing has happened`);
    const request = { params: { id }, query: undefined, body: undefined, headers: {}, raw: new Uint8Array(), idempotencyKey: undefined };
    const has = world.ledger.letters.some((letter) => letter.key === id);
    await world.ask((kernel) => (has ? notification.answers.resolveMail(kernel, request) : notification.answers.retryMail(kernel, request)));
  }
}

function checkLetters({ ledger }: CrashWorld, { orders }: Told, found: ReadonlyMap<string, Order>): void {
  const waited = new Set([...orders].flatMap(([name, { id }]) => (backordered.has(name) ? [id] : [])));
  const due = [...found].flatMap(([id, order]) => milestones(order, waited.has(id)).map((milestone) => `${id}.${milestone}`)).sort();
  const left = ledger.letters.map((letter) => letter.key).sort();
  for (const each of due) if (!left.includes(each)) ledger.fail(`the letter ${each} has never left, and nobody says so`);
  for (const each of left) if (!due.includes(each)) ledger.fail(`the letter ${each} has left, and should not have`);
}

function milestones(order: Order, waited: boolean): Milestone[] {
  return ['confirmation', ...(waited ? ['backorder' as const] : []), ...(statusOf(order) === 'Cancelled' ? ['cancelled' as const] : ['shipped' as const, 'delivered' as const])];
}

// ---------------------------------------------------------------- channels and copies

/** Nothing waits in a queue, and everybody has read every stream to its end. */
async function checkChannels(world: CrashWorld): Promise<void> {
  const { drivers: { queue, stream }, kernel: { store } } = world.behind();
  for (const name of queues) if ((await queue.receive(name, { max: 1, waitSeconds: 0 })).length > 0) world.ledger.fail(`the queue ${name} is not empty`);
  for (const { kind, channel, service } of subscriptions) {
    if (kind === 'queue') continue;
    for (const partition of await stream.partitions(channel)) {
      const rowKey = positionKey(service, channel, partition);
      const row = await store.get<{ after?: string }>(partitionOf(collections.consumers, rowKey), rowKey);
      const batch = await stream.read(channel, partition, { max: 1, waitSeconds: 0, ...(row?.body.after === undefined ? {} : { after: row.body.after }) });
      if ('gap' in batch || batch.events.length > 0) world.ledger.fail(`${service} has not read ${channel} ${partition} to its end`);
    }
  }
}

/** What Product and the website say of a product is what Inventory has. */
async function checkProducts({ ledger, behind }: CrashWorld): Promise<void> {
  const { kernel } = behind();
  const views = await kernel.published.products(Object.keys(received));
  for (const [sku, quantity] of Object.entries(received)) {
    const { received: counted, available } = ledger.books.stocks.get(sku) ?? { received: 0, available: 0 };
    if (counted !== quantity) ledger.fail(`of ${sku} ${quantity} have arrived, and ${counted} were counted`);
    const { stock, version } = views.get(sku) ?? {};
    if (stock !== stockStatus(available, kernel.settings.lowStockAt)) ledger.fail(`product ${sku}: ${available} are available, and Product says ${stock}`);
    const shown = await kernel.store.get<ProductView>(partitionsOf(collections.catalogue)[0]!, key('item', sku));
    if (shown?.body.version !== version) ledger.fail(`product ${sku}: the website shows version ${shown?.body.version}, Product is at ${version}`);
  }
}

/** The carrier has one parcel of every order that was delivered, and none of one that was cancelled. */
async function checkParcels(world: CrashWorld, found: ReadonlyMap<string, Order>): Promise<void> {
  const parcels = await findings(world.behind().kernel.store, partitionsOf({ name: 'democarrier', shards: 4 }), key('parcel', ''));
  const delivered = [...found.values()].filter((order) => statusOf(order) === 'Delivered').length;
  if (parcels.length !== delivered) world.ledger.fail(`the carrier has ${parcels.length} parcels of ${delivered} delivered orders`);
}

const same = (some: readonly string[], others: readonly string[]): boolean => some.join() === others.join();
