import { isRefusal, refuse, type Mailbox, type Refusal } from '../../ports/index.ts';
import { follow } from '../kernel/follow.ts';
import type { AnyService, Kernel, Reply, Service } from '../kernel/service.ts';
import type { MailView } from '../notification/events.ts';
import type { OrderView } from '../order/events.ts';
import { Sku, quantityMax } from '../shapes.ts';
import { basketCookie, changed, readBasket, unitsIn, type Basket } from './basket.ts';
import { catalogueOf, putProduct, relatedTo, searched, showChanges } from './catalogue.ts';
import { css } from './css.ts';
import { fieldsOf, isForeign } from '../forms.ts';
import { localeOf } from './locale.ts';
import { letterPage, mailboxPage } from './mailbox.ts';
import { isNews, newsOf } from './news.ts';
import { errorPage, page, type Around, type PageOf } from './pages.ts';
import { cataloguePage, productPage, wishOf } from './shelves.ts';
import { basketPage, checkoutPage, detailsOf, fieldNames, notSold, oneCurrency, priced, totalText, type Complaints, type Details, type Typed } from './till.ts';
import { orderPage } from './tracking.ts';

/** THE WEBSITE: a storefront for people. It shows products as of its last poll, takes orders to Order, and keeps nothing else: the basket is the browser's. */

export const website: Service<'website'> = {
  name: 'website',

  hears: {
    ProductInfoUpdated: (kernel, message) => putProduct(kernel, message.data),
  },

  answers: {
    async homePage(kernel, { query, headers }) {
      const catalogue = await catalogueOf(kernel);
      const { shopName } = kernel.settings;
      const { wish, complaint } = wishOf(query);
      const shelf = searched(catalogue, query.q, query.after, wish);
      return open(kernel, headers, cataloguePage({ shopName, asked: query, shelf, topics: catalogue.topics, locale: localeIn(headers), complaint }));
    },
    async productPage(kernel, { params, headers }) {
      const catalogue = await catalogueOf(kernel);
      const item = catalogue.bySku.get(params.sku);
      return item ? open(kernel, headers, productPage(item, relatedTo(catalogue, item), localeIn(headers))) : refuse(404, 'not-found', 'we do not sell such a product, or not yet');
    },
    async basketPage(kernel, { headers }) {
      return page(200, around(kernel, headers), basketPage(priced(readBasket(headers['cookie']), await catalogueOf(kernel)), undefined, localeIn(headers)));
    },
    changeBasket: (kernel, request) => (isForeign(request.headers, kernel.settings.shopUrl) ? foreign(kernel) : changeBasket(kernel, request)),
    async checkoutPage(kernel, { headers }) {
      const basket = priced(readBasket(headers['cookie']), await catalogueOf(kernel));
      if (basket.lines.length === 0 || basket.obstacle !== undefined) return seeOther('/basket');
      return page(200, around(kernel, headers), checkoutPage({ basket, typed: {}, key: kernel.ids.random(), locale: localeIn(headers) }));
    },
    checkOut: (kernel, request) => (isForeign(request.headers, kernel.settings.shopUrl) ? foreign(kernel) : checkOut(kernel, request)),
    async orderPage(kernel, { params, headers }) {
      const order = await kernel.published.order(params.id);
      return order ? page(200, around(kernel, headers), orderPage(order, undefined, localeIn(headers))) : noOrder;
    },
    async orderNews(kernel, { params }) {
      const news = await newsOf(kernel, params.id);
      return isNews(news) ? { status: 200, stream: news, type: 'text/event-stream' } : news;
    },
    cancelFromPage: (kernel, { params, headers }) => (isForeign(headers, kernel.settings.shopUrl) ? foreign(kernel) : cancel(kernel, params.id, headers)),
    async mailboxPage(kernel, { query: { after }, headers }) {
      if (!kernel.mailer.mailbox) return noMailbox;
      const { items, next } = await kernel.published.mails({ limit: 100, ...(after === undefined ? {} : { after }) });
      const recent = after === undefined ? await recentMails(kernel, kernel.mailer.mailbox) : [];
      const all = new Map([...recent, ...items].map((mail) => [mail.id, mail]));
      return page(200, around(kernel, headers), mailboxPage({ items: [...all.values()], ...(next === undefined ? {} : { next }) }));
    },
    async letterPage(kernel, { params, headers }) {
      if (!kernel.mailer.mailbox) return noMailbox;
      const message = await kernel.mailer.mailbox.read(params.key);
      return message ? page(200, around(kernel, headers), letterPage(params.key, message)) : refuse(404, 'not-found', 'there is no such letter');
    },
  },

  ticks: { pollProducts },
};

/** The list goes by order; whoever has just bought something looks for the newest. */
async function recentMails(kernel: Kernel, mailbox: Mailbox): Promise<MailView[]> {
  const orders = [...new Set(mailbox.recent().map((letter) => letter.slice(0, letter.indexOf('.'))))];
  return (await Promise.all(orders.map((orderId) => kernel.published.mails({ limit: 10, orderId })))).flatMap(({ items }) => items);
}

type Headers = Readonly<Record<string, string | undefined>>;

/** Who comes from elsewhere gets the stylesheet in the page, so that its first paint waits for no second request; within the shop it is the one that the browser keeps. */
function around(kernel: Kernel, headers: Headers): Around {
  const arrives = ['none', 'cross-site', 'same-site'].includes(headers['sec-fetch-site'] ?? '');
  return { shopName: kernel.settings.shopName, units: unitsIn(readBasket(headers['cookie'])), mailbox: kernel.mailer.mailbox !== undefined, ...(arrives ? { style: css } : {}) };
}

const localeIn = (headers: Headers): string => localeOf(headers['accept-language']);

const noOrder = refuse(404, 'not-found', 'there is no such order; please check the address');
const noMailbox = refuse(404, 'not-found', 'no letters are kept on this machine: they are really sent');

/** Nothing in it is anybody's secret, so it may be compressed and kept, if it is asked for anew each time. */
const open = (kernel: Kernel, headers: Headers, content: PageOf): Reply =>
  page(200, around(kernel, headers), content, { 'cache-control': 'private, no-cache' });

const seeOther = (location: string, headers: Readonly<Record<string, string>> = {}): Reply => ({ status: 303, headers: { location, ...headers } });

const foreign = async ({ settings }: Kernel): Promise<Reply> => ({ status: 403, html: errorPage(settings.shopName, 403, 'Not from here', 'another site sent this form; please use the shop itself') });

// ---------------------------------------------------------------- the poll

/** Longer than a poll should ever take; the next one goes on where it ended. */
const pollSecondsMax = 30;

/** Retrieves what Product has said since the last time. If that was never, or so long ago that events are gone, Product says everything again, once. */
async function pollProducts(kernel: Kernel): Promise<void> {
  const stop = new AbortController();
  const done = new AbortController();
  void kernel.clock.sleep(pollSecondsMax * 1_000, done.signal).then(() => stop.abort());
  let said: Promise<void> | undefined;
  const lost = (): Promise<void> => (said ??= kernel.published.sayProductsAgain());
  try {
    const partitions = await kernel.stream.partitions('products');
    const options = { stream: 'products', signal: stop.signal, untilDry: true, lost };
    const poll = async (partition: string): Promise<void> => {
      const children = await follow(kernel, website as AnyService, { ...options, partition });
      await Promise.all((children ?? []).map(poll));
    };
    await Promise.all(partitions.map(poll));
  } finally {
    done.abort();
  }
  await showChanges(kernel);
}

// ---------------------------------------------------------------- basket

interface Posted {
  readonly headers: Headers;
  readonly raw: Uint8Array;
}

async function changeBasket(kernel: Kernel, { headers, raw }: Posted): Promise<Reply> {
  const fields = fieldsOf(raw);
  if (isRefusal(fields)) return fields;
  const catalogue = await catalogueOf(kernel);
  const basket = readBasket(headers['cookie']);
  const next = changedBy(fields, basket, (sku) => catalogue.bySku.has(sku));
  if (typeof next === 'string') return page(422, around(kernel, headers), basketPage(priced(basket, catalogue), next, localeIn(headers)));
  return seeOther('/basket', { 'set-cookie': basketCookie(next, kernel.settings.shopUrl) });
}

/** The basket that a form makes of it, or what is wrong with the form. */
function changedBy(fields: ReadonlyMap<string, string>, basket: Basket, isSold: (sku: string) => boolean): Basket | string {
  const sku = fields.get('sku') ?? '';
  const digits = (fields.get('quantity') ?? '1').trim();
  const adding = fields.get('do') === 'add';
  if (!Sku.safeParse(sku).success || (!basket.has(sku) && !isSold(sku))) return 'We do not sell such a product, or not yet.';
  if (!/^\d{1,9}$/.test(digits)) return `A quantity is a whole number, at most ${quantityMax.toLocaleString('en-GB')}.`;
  return changed(basket, sku, (adding ? (basket.get(sku) ?? 0) : 0) + Number(digits));
}

// ---------------------------------------------------------------- checkout

const keyShape = /^[0-9a-z]{26}$/;

async function checkOut(kernel: Kernel, { headers, raw }: Posted): Promise<Reply> {
  const fields = fieldsOf(raw);
  if (isRefusal(fields)) return fields;
  const basket = readBasket(headers['cookie']);
  if (basket.size === 0) return seeOther('/basket');
  const typed: Typed = Object.fromEntries(fieldNames.map((name) => [name, fields.get(name) ?? '']));
  const attempt: Attempt = { headers, basket, typed, key: fields.get('key') };
  const known = detailsOf(typed);
  if ('complaints' in known) return again(kernel, attempt, { complaints: known.complaints });
  const otherwise = await otherPrice(kernel, basket, fields.get('total'));
  if (otherwise !== undefined) return again(kernel, attempt, { alert: otherwise });
  const placed = await placeOnce(kernel, basket, known.details, attempt.key);
  if (!isRefusal(placed)) return seeOther(`/orders/${placed.id}`, { 'set-cookie': basketCookie(new Map(), kernel.settings.shopUrl) });
  // Under this key another order stands already, so this one needs a key of its own.
  const reused = placed.refused === 'idempotency-key-reused';
  return again(kernel, reused ? { ...attempt, key: undefined } : attempt, { alert: explained(placed) });
}

interface Attempt {
  readonly headers: Headers;
  readonly basket: Basket;
  readonly typed: Typed;
  readonly key: string | undefined;
}

/** The form once more, with all that was typed in, under the same key. */
async function again(kernel: Kernel, { headers, basket, typed, key: given = '' }: Attempt, wrong: { complaints?: Complaints; alert?: string }): Promise<Reply> {
  const key = keyShape.test(given) ? given : kernel.ids.random();
  const current = await kernel.published.products([...basket.keys()]);
  const { bySku } = await catalogueOf(kernel);
  const fresh = new Map([...bySku].flatMap(([sku, item]) => (basket.has(sku) ? [[sku, { ...item, ...current.get(sku) }]] : [])));
  return page(422, around(kernel, headers), checkoutPage({ basket: priced(basket, { bySku: fresh }), typed, key, locale: localeIn(headers), ...wrong }));
}

/** The customer has seen a total as of the website's last poll. If the prices that count are others by now, he shall know before he orders, not after. */
async function otherPrice(kernel: Kernel, basket: Basket, seen: string | undefined): Promise<string | undefined> {
  const products = await kernel.published.products([...basket.keys()]);
  const amount = [...basket].reduce((sum, [sku, quantity]) => sum + quantity * (products.get(sku)?.price.amount ?? 0), 0);
  const [currency = '', ...more] = new Set([...products.values()].map(({ price }) => price.currency));
  if (products.size < basket.size || more.length > 0) return undefined; // Order will say what is wrong
  if (totalText({ amount, currency }) === seen) return undefined;
  return 'The total has changed since you saw it: a price is new, or the basket is. Please look once more, and order again if you agree.';
}

/** While the first click of a double click is still under way, the second waits for it and gets the same order. */
async function placeOnce(kernel: Kernel, basket: Basket, details: Details, key: string | undefined): Promise<OrderView | Refusal> {
  const order = { ...details, lines: [...basket].map(([sku, quantity]) => ({ sku, quantity })) };
  const idempotencyKey = keyShape.test(key ?? '') ? `website-${key}` : undefined;
  for (let attempt = 1; ; attempt++) {
    const placed = await kernel.published.placeOrder(order, idempotencyKey);
    if (!isRefusal(placed) || placed.refused !== 'in-flight' || attempt === waitsMax) return placed;
    await kernel.clock.sleep(100);
  }
}
const waitsMax = 50;

function explained({ refused, detail }: Refusal): string {
  if (refused === 'unknown-product') return notSold;
  if (refused === 'mixed-currencies') return oneCurrency;
  if (refused === 'idempotency-key-reused') return 'You have placed an order from this form already. If you want this one as well, order again.';
  return `This order could not be placed: ${detail}.`;
}

// ---------------------------------------------------------------- cancelling

async function cancel(kernel: Kernel, id: string, headers: Headers): Promise<Reply> {
  const asked = await kernel.published.cancelOrder(id);
  if (!isRefusal(asked)) return seeOther(`/orders/${id}`);
  const order = await kernel.published.order(id);
  if (!order) return noOrder;
  return page(asked.status, around(kernel, headers), orderPage(order, 'It is too late to cancel: the order has left.', localeIn(headers)));
}
