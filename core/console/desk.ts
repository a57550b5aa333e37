import { Defect, Invalid, PortError, isTransient } from '../../ports/index.ts';
import type { Html } from '../html.ts';
import type { StockView } from '../inventory/events.ts';
import type { MailView } from '../notification/events.ts';
import type { OrderView } from '../order/events.ts';
import type { PulseView, Span, StoryView } from '../operations/events.ts';
import type { ProductView } from '../product/events.ts';
import type { ApiDoor, Ask, Told } from '../flow.ts';
import { Sku } from '../shapes.ts';
import { BookingState } from '../shipping/events.ts';
import { auditPage, type Audit } from './audit.ts';
import { homePage, live } from './home.ts';
import { orderPage, ordersPage, type Found } from './orders.ts';
import { pacePage } from './pace.ts';
import { descriptionOf, productPage, productsPage, receiptOf, type Opened } from './products.ts';
import { addressOf, count, type May, type PageOf, type Typed } from './shape.ts';
import { acts, decisionPage, detailOf, detailPage, firstOf, groupResolves, isKind, itemOf, kindPage, kinds, saidOf, troublePage, type Act, type Counts, type Detail, type Item, type Kind } from './trouble.ts';

/**
 * THE DESK OF THE CONSOLE: which page is made of which answers of the admin API, and what a form asks it to do. It knows nothing of the services but that API: whatever a
 * person can do here he can do with `npm run ops`, and the other way round.
 */
/** A page, the part of one that the script fetches, or another address to go to. */
export type Shown = PageOf | { readonly part: Html } | { readonly to: string } | { readonly gone: string };

type Values = Readonly<Record<string, string>>;
interface Refused {
  readonly title?: string;
  readonly detail?: string;
  readonly errors?: readonly { readonly pointer: string; readonly detail: string }[];
}

/** Whatever was asked: the tables say what the bodies are, and here they are taken for it. */
type Answer = Pick<Told<ApiDoor>, 'ok' | 'status'> & { readonly body: unknown };
const refusalOf = ({ body }: Answer): Refused => (typeof body === 'object' && body !== null ? body : {});
const wordsOf = (answer: Answer): string => {
  const { detail, title } = refusalOf(answer);
  return detail ?? title ?? `the answer was ${answer.status}`;
};

/** No page is made of what is not known. */
async function must<T>(asked: Promise<Answer>): Promise<T> {
  const answer = await asked;
  if (answer.ok) return answer.body as T;
  if (answer.status === 429 || answer.status === 503) throw new PortError('unavailable', wordsOf(answer));
  if (answer.status >= 500) throw new Defect(`the admin API failed: ${wordsOf(answer)}`);
  throw new Invalid(wordsOf(answer), refusalOf(answer).errors ?? []);
}
/** What is not there is absent; what cannot be known is not. */
async function perhaps<T>(asked: Promise<Answer>): Promise<T | undefined> {
  const answer = await asked;
  return answer.status === 404 ? undefined : must<T>(Promise.resolve(answer));
}

/** What an empty field of a form leaves in an address is not asked for. */
const kept = (query: Readonly<Record<string, string | undefined>>): Record<string, string> => Object.fromEntries(Object.entries(query).filter((each): each is [string, string] => each[1] !== undefined && each[1] !== ''));

// ---------------------------------------------------------------- now, pace, audit

const pulse = (ask: Ask, span: Span): Promise<PulseView> => must<PulseView>(ask('shopPulse', { query: { span } }));

export const now = async (ask: Ask): Promise<Shown> => homePage(await pulse(ask, '1h'));
export const nowAgain = async (ask: Ask): Promise<Shown> => ({ part: live(await pulse(ask, '1h')) });
export const pace = async (ask: Ask, span: Span): Promise<Shown> => pacePage(await pulse(ask, span), span);

/** `milliseconds`: what time it is. */
export async function audit(ask: Ask, run: boolean, milliseconds: () => number): Promise<Shown> {
  if (!run) return auditPage();
  const began = milliseconds();
  const found = await must<Audit>(ask('auditShop'));
  return auditPage({ audit: found, seconds: Math.max(0, milliseconds() - began) / 1_000 });
}

// ---------------------------------------------------------------- orders

const pageSize = '25';

export async function orders(ask: Ask, { q, status, after }: { q?: string; status?: string; after?: string }): Promise<Shown> {
  // Somebody who pastes a whole id wants that order, and need not wait for a search.
  if (q !== undefined && /^[0-9a-z]{26}$/.test(q.trim()) && (await perhaps(ask('orderStory', { params: { id: q.trim() } }))) !== undefined) return { to: `/console/orders/${q.trim()}` };
  const found = await must<Found<OrderView>>(ask('listOrders', { query: kept({ q, status, after, limit: pageSize }) }));
  return ordersPage({ ...(q ? { q } : {}), ...(status ? { status } : {}), ...(after ? { after } : {}) }, found);
}

export async function order(ask: Ask, id: string): Promise<Shown> {
  const [story, found, mails] = await Promise.all([
    perhaps<StoryView>(ask('orderStory', { params: { id } })), perhaps<OrderView>(ask('getOrder', { params: { id } })),
    must<Found<MailView>>(ask('listMails', { query: { orderId: id, limit: '20' } })),
  ]);
  return story ? orderPage({ story, mails: mails.items, ...(found ? { order: found } : {}) }) : { gone: 'nobody knows such an order' };
}

// ---------------------------------------------------------------- products

export async function products(ask: Ask, { q, after, sku }: { q?: string; after?: string; sku?: string }): Promise<Shown> {
  const wanted = sku?.trim();
  if (wanted !== undefined && wanted !== '' && Sku.safeParse(wanted).success) return { to: `/console/products/${wanted}` };
  const { items, next } = await must<Found<ProductView>>(ask('listProducts', { query: kept({ q, after, limit: pageSize }) }));
  const stocks = await Promise.all(items.map((product) => stockOf(ask, product.sku)));
  const shelved = items.map((product, n) => ({ product, ...(stocks[n] ? { stock: stocks[n] } : {}) }));
  return productsPage({ ...(q ? { q } : {}), ...(after ? { after } : {}) }, { items: shelved, ...(next === undefined ? {} : { next }) }, wanted === '' ? undefined : wanted);
}

const stockOf = (ask: Ask, sku: string): Promise<StockView | undefined> => perhaps<StockView>(ask('getStock', { params: { sku } }));

type Again = Pick<Opened, 'receipt' | 'description' | 'said'>;

/** `key`: a fresh one, for the next receipt. */
export async function product(ask: Ask, sku: string, key: string, may: May, again: Again = {}): Promise<PageOf> {
  const [found, stock] = await Promise.all([perhaps<ProductView>(ask('getProduct', { params: { sku } })), stockOf(ask, sku)]);
  const wrong = again.receipt ?? again.description;
  return { ...productPage({ sku, key, ...(found ? { product: found } : {}), ...(stock ? { stock } : {}), ...again }, may), ...(wrong ? { status: 422 } : {}) };
}

/** What has just been done here, from what stands in the address. */
export function productSaid(did: string | undefined, n: number): string | undefined {
  if (did === 'described') return 'Saved. The shop shows it within seconds.';
  return did === 'received' && n > 0 ? `Received: ${count(n)}.` : undefined;
}

export async function receive(ask: Ask, sku: string, values: Values, key: string, may: May): Promise<Shown> {
  const asked = receiptOf(values);
  const again = (complaints: Values): Promise<PageOf> => product(ask, sku, values['key'] ?? key, may, { receipt: { values, complaints } });
  if ('complaints' in asked) return again(asked.complaints);
  const answer = await ask('receiveStock', { params: { sku }, body: asked.body, key: `console-${values['key'] ?? key}` });
  if (answer.ok) return { to: addressOf(`/console/products/${sku}`, { did: 'received', n: String(asked.body.quantity) }) };
  return again(complaintsOf(answer, { '/quantity': 'quantity' }));
}

export async function describe(ask: Ask, sku: string, values: Values, key: string, may: May): Promise<Shown> {
  const asked = descriptionOf(values);
  const again = (complaints: Values): Promise<PageOf> => product(ask, sku, key, may, { description: { values, complaints } });
  if ('complaints' in asked) return again(asked.complaints);
  const answer = await ask('describeProduct', { params: { sku }, body: asked.body });
  if (answer.ok) return { to: addressOf(`/console/products/${sku}`, { did: 'described' }) };
  return again(complaintsOf(answer, { '/name': 'name', '/description': 'description', '/price': 'price', '/price/amount': 'price', '/price/currency': 'currency' }));
}

/** The API's complaints beside the fields that they are about; what belongs to no field is about all. */
function complaintsOf(answer: Answer, fields: Values): Values {
  const { errors = [] } = refusalOf(answer);
  const found: Record<string, string> = {};
  for (const { pointer, detail } of errors) found[fields[pointer] ?? ''] ??= detail;
  if (Object.keys(found).length === 0) found[''] = `That could not be done: ${wordsOf(answer)}.`;
  return found;
}

// ---------------------------------------------------------------- trouble

interface Doors {
  readonly list: ApiDoor;
  readonly retry: ApiDoor;
  readonly resolve: ApiDoor;
  readonly retryAll?: ApiDoor;
  readonly get?: ApiDoor;
}
const doors: Readonly<Record<Kind, Doors>> = {
  'dead-letters': { list: 'listDeadLetters', get: 'getDeadLetter', retry: 'retryDeadLetter', retryAll: 'retryDeadLetters', resolve: 'resolveDeadLetter' },
  parked: { list: 'listParked', get: 'getParked', retry: 'retryParkedKey', retryAll: 'retryParkedKeys', resolve: 'resolveParked' },
  stuck: { list: 'listStuck', get: 'getStuck', retry: 'retryStuckRow', retryAll: 'retryStuckRows', resolve: 'resolveStuck' },
  mails: { list: 'listMails', retry: 'retryMail', resolve: 'resolveMail' },
  bookings: { list: 'listBookings', retry: 'retryBooking', resolve: 'resolveBooking' },
};
const mailStates = ['uncertain', 'refused'] as const;
/** What is listed, or done, at once. */
const groupMax = 200;

/** The wanted ones of a kind. Letters are listed by their state, and two of those need a person. */
async function list(ask: Ask, kind: Kind, { cause, after, limit }: { cause?: string; after?: string; limit: number }): Promise<Found<Item>> {
  if (kind === 'mails' && cause === undefined) return letters(ask, after, limit);
  const filter = kind === 'mails' || kind === 'bookings' ? { state: cause } : { cause };
  const { items, next } = await must<Found<never>>(ask(doors[kind].list, { query: kept({ ...filter, after, limit: String(limit) }) }));
  return { items: items.map((each) => itemOf[kind](each)), ...(next === undefined ? {} : { next }) };
}

async function letters(ask: Ask, after: string | undefined, limit: number): Promise<Found<Item>> {
  const found = await Promise.all(mailStates.map((state) => must<Found<MailView>>(ask('listMails', { query: kept({ state, after, limit: String(limit) }) }))));
  const items = found.flatMap((each) => each.items).sort((a, b) => (a.id < b.id ? -1 : 1));
  const shown = items.slice(0, limit).map(itemOf.mails);
  return items.length > limit || found.some(({ next }) => next !== undefined) ? { items: shown, next: shown.at(-1)!.id } : { items: shown };
}

export async function trouble(ask: Ask): Promise<Shown> {
  const found = await Promise.all(kinds.map((kind) => list(ask, kind, { limit: groupMax }).catch((error: unknown) => unknownIf(error))));
  const counts = Object.fromEntries(kinds.map((kind, n) => [kind, found[n] && { n: found[n].items.length, more: found[n].next !== undefined }]));
  return troublePage(counts as Counts);
}
function unknownIf(error: unknown): undefined {
  if (isTransient(error) || error instanceof Defect) return undefined; // the API has said so in its log
  throw error;
}

export interface KindQuery {
  readonly cause?: string;
  readonly after?: string;
  readonly did?: string;
  readonly n?: number;
  readonly left?: number;
}
export async function troubleOf(ask: Ask, kind: string, { cause, after, did, n = 0, left = 0 }: KindQuery, may: May): Promise<Shown> {
  if (!isKind(kind)) return noKind;
  const given = { ...(cause ? { cause } : {}), ...(after ? { after } : {}) };
  const said = saidOf(kind, did, n, left);
  return kindPage({ kind, ...given, found: await list(ask, kind, { ...given, limit: groupMax }), ...(said === undefined ? {} : { said }) }, may);
}
const noKind = { gone: 'there is no such kind of trouble' };
const noItem = { gone: 'there is nothing of this id; it may have been dealt with' };

interface One {
  readonly detail: Detail;
  readonly reason?: string;
}
async function one(ask: Ask, kind: Kind, id: string): Promise<One | undefined> {
  const { get } = doors[kind];
  if (get) {
    const found = await perhaps<{ readonly reason: string }>(ask(get, { params: { id } }));
    return found && { detail: detailOf[kind](found as never), reason: found.reason };
  }
  const [orderId = ''] = id.split('.');
  const { items } = await must<Found<{ readonly id?: string; readonly orderId: string }>>(ask(doors[kind].list, { query: { orderId, limit: '20' } }));
  const found = items.find((each) => (each.id ?? each.orderId) === id);
  return found && { detail: detailOf[kind](found as never) };
}

const shapes: Readonly<Record<Kind, RegExp>> = { 'dead-letters': /^[0-9a-f]{16}$/, parked: /^[0-9a-f]{16}$/, stuck: /^[0-9a-f]{16}$/, mails: /^[0-9a-z]{26}\.[a-z]{1,20}$/, bookings: /^[0-9a-z]{26}$/ };

export async function troubleOne(ask: Ask, kind: string, id: string, may: May): Promise<Shown> {
  if (!isKind(kind)) return noKind;
  const found = shapes[kind].test(id) ? await one(ask, kind, id) : undefined;
  return found ? detailPage(found.detail, found.reason, may) : noItem;
}

// ---------------------------------------------------------------- deciding

interface Target {
  readonly kind: Kind;
  readonly act: Act;
  readonly id?: string;
  readonly cause?: string;
}
function targetOf({ kind = '', do: act = '', id = '', cause = '' }: Values): Target | undefined {
  if (!isKind(kind) || !(acts as readonly string[]).includes(act)) return undefined;
  if (id !== '') return shapes[kind].test(id) ? { kind, act: act as Act, id } : undefined;
  const known = kind === 'mails' ? (mailStates as readonly string[]).includes(cause) : kind === 'bookings' ? BookingState.safeParse(cause).success : cause !== '' && cause.length <= 200;
  return known && (act === 'retry' || groupResolves(kind, cause)) ? { kind, act: act as Act, cause } : undefined;
}

/** The question before it is done. */
export async function decision(ask: Ask, values: Values, may: May, typed?: Typed): Promise<Shown> {
  const target = targetOf(values);
  if (!target) return noItem;
  const { kind, act, id, cause } = target;
  if (id === undefined) {
    const { items, next } = await list(ask, kind, { cause: cause!, limit: groupMax });
    return items.length === 0 ? noItem : decided({ kind, act, cause: cause!, n: items.length, more: next !== undefined }, typed, may);
  }
  const found = await one(ask, kind, id);
  if (!found) return noItem;
  const { item, first } = found.detail;
  return decided({ kind, act, item, n: 1, more: false, ...(first === undefined || act === 'retry' ? {} : { first }) }, typed, may);
}

const decided = (decision: Parameters<typeof decisionPage>[0], typed: Typed | undefined, may: May): PageOf =>
  ({ ...decisionPage({ ...decision, ...(typed ? { typed } : {}) }, may), ...(typed ? { status: 422 } : {}) });

/** What the form of the question asks for is done, and the list is shown that it came from. */
export async function decide(ask: Ask, values: Values, may: May): Promise<Shown> {
  const target = targetOf(values);
  if (!target) return noItem;
  const { kind, act, id } = target;
  const body = bodyOf(target, values);
  if (id === undefined) {
    const { n, left } = await doAll(ask, target, body);
    return { to: addressOf(`/console/trouble/${kind}`, { did: act, n: String(n), left: String(left) }) };
  }
  const answer = await ask(doors[kind][act], { params: { id }, ...(body === undefined ? {} : { body }) });
  if (answer.ok) return { to: addressOf(`/console/trouble/${kind}`, { did: act, n: '1' }) };
  const complaints = answer.status === 404 || answer.status === 409 ? { '': `It has changed meanwhile, and nothing was done: ${wordsOf(answer)}.` } : complaintsOf(answer, { '/why': 'why', '/carrier': 'carrier', '/trackingNumber': 'trackingNumber', '/trackingUrl': 'trackingUrl' });
  const asked = await decision(ask, values, may, { values, complaints });
  // Somebody else has dealt with it: then the list says how it is now.
  return 'gone' in asked ? { to: addressOf(`/console/trouble/${kind}`, { did: act, n: '0', left: '1' }) } : asked;
}

function bodyOf({ kind, act }: Target, values: Values): unknown {
  const given = (...names: string[]): Record<string, string> => Object.fromEntries(names.flatMap((name) => ((values[name] ?? '').trim() === '' ? [] : [[name, values[name]!.trim()]])));
  if (act === 'retry' || kind === 'mails') return undefined;
  return kind === 'bookings' ? given('carrier', 'trackingNumber', 'trackingUrl') : given('why', ...(kind === 'parked' ? ['first'] : []));
}

/** One after the other, as the API has it; what cannot be done now is left, and shows in the list. */
async function doAll(ask: Ask, { kind, act, cause = '' }: Target, body: unknown): Promise<{ n: number; left: number }> {
  const { retryAll } = doors[kind];
  if (act === 'retry' && retryAll) {
    const { retried, left } = await must<{ retried: number; left: number }>(ask(retryAll, { body: { cause } }));
    return { n: retried, left };
  }
  const { items } = await list(ask, kind, { cause, limit: groupMax });
  let n = 0;
  for (const { id } of items) if ((await ask(doors[kind][act], { params: { id }, ...(await withFirst(ask, kind, act, id, body)) })).ok) n++;
  return { n, left: items.length - n };
}

/** Of each parked key the event that is first now: asked twice, no second one is dropped. */
async function withFirst(ask: Ask, kind: Kind, act: Act, id: string, body: unknown): Promise<{ body?: unknown }> {
  if (body === undefined) return {};
  if (kind !== 'parked' || act !== 'resolve') return { body };
  const found = await perhaps<Parameters<typeof firstOf>[0]>(ask('getParked', { params: { id } }));
  const first = found && firstOf(found);
  return { body: { ...(body as object), ...(first === undefined ? {} : { first }) } };
}
