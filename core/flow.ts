import { z } from 'zod';
import type { Collection, Message, Road } from '../ports/index.ts';
import type { Operator, Porch, Problem, Role } from './console/events.ts';
import { Backordered, InventoryReserved, Receipt, StockChanged, StockFreed, StockView } from './inventory/events.ts';
import { MailState, MailView } from './notification/events.ts';
import { ActView, AuditView, DeadLetterDetail, DeadLetterView, DropFirst, ParkedDetail, ParkedView, PulseView, Retried, RetryAll, SaidByHand, SayByHand, Span, StoryView, StuckDetail, StuckView, Why } from './operations/events.ts';
import { CancellationRequested, OrderPlaced, OrderStatus, OrderView, PlaceOrder } from './order/events.ts';
import { DescribeProduct, ProductInfoUpdated, ProductView } from './product/events.ts';
import { BookingState, BookingView, OrderDelivered, OrderFulfillment, ResolveBooking, ShippingStopped } from './shipping/events.ts';
import { OrderId, Sku } from './shapes.ts';

/**
 * THE FLOW: who says what, on which channel, to whom; which doors (HTTP) and clocks (timers) each service has; where rows live.
 * Every host, the OpenAPI and AsyncAPI documents and the infrastructure of each cloud are read off these tables. Nothing else wires anything.
 * A service that forgets an event, a door or a clock assigned to it here does not compile (core/kernel/service.ts).
 */

export const services = ['order', 'inventory', 'product', 'shipping', 'notification', 'website'] as const;
export type ServiceName = (typeof services)[number];
/**
 * Who may have doors: the services; the desk from which people look after them, which says nothing, hears nothing, and reads all; and the console, pages for people
 * that ask nobody but the admin API.
 */
export type OwnerName = ServiceName | 'operations' | 'console';

interface Travel<To extends ServiceName = ServiceName> extends Road {
  readonly to: readonly To[];
}
/** A version of a shape that is no longer said: what it looked like, and what makes the next version of it. */
export interface Earlier {
  readonly version: number;
  readonly shape: z.ZodType;
  /** Pure and total; what it makes is checked. */
  lift(data: unknown): unknown;
}
interface EventRow<From extends ServiceName, To extends ServiceName, Shape extends z.ZodType> {
  readonly from: From;
  /** The version of the shape; it grows when the shape changes by more than an optional field. */
  readonly version: number;
  readonly shape: Shape;
  /** How what was said in older versions is read: it may still lie in an outbox, on a stream, among what is parked or dead. */
  readonly earlier?: readonly Earlier[];
  readonly travels: readonly Travel<To>[];
  readonly why: string;
}

const queue = <To extends ServiceName>(channel: string, ...to: To[]): Travel<To> => ({ kind: 'queue', channel, to });
const stream = <To extends ServiceName>(channel: string, ...to: To[]): Travel<To> => ({ kind: 'stream', channel, to });
const said = <From extends ServiceName, To extends ServiceName, Shape extends z.ZodType>(from: From, shape: Shape, why: string, ...travels: Travel<To>[]): EventRow<From, To, Shape> => ({
  from,
  version: 1,
  shape,
  travels,
  why,
});

export const events = {
  OrderPlaced: said('order', OrderPlaced, 'a customer has placed an order', queue('reserve-stock', 'inventory'), stream('orders', 'notification')),
  InventoryReserved: said('inventory', InventoryReserved, 'all lines of an order are reserved', stream('inventory', 'product', 'order', 'shipping')),
  Backordered: said('inventory', Backordered, 'not all lines of an order can be reserved now', stream('inventory', 'order', 'notification')),
  ProductInfoUpdated: said('product', ProductInfoUpdated, 'something that a customer sees of a product has changed', stream('products', 'website')),
  OrderFulfillment: said('shipping', OrderFulfillment, 'the items of an order are with the carrier', stream('shipping', 'order', 'notification', 'inventory')),
  OrderDelivered: said('shipping', OrderDelivered, 'the carrier has delivered', stream('shipping', 'order', 'notification')),
  CancellationRequested: said('order', CancellationRequested, 'a customer wants to cancel; Shipping alone decides', stream('orders', 'shipping')),
  ShippingStopped: said('shipping', ShippingStopped, 'the cancellation came before the booking', stream('shipping', 'order', 'inventory', 'notification')),
  StockChanged: said('inventory', StockChanged, 'stock arrived or came back', stream('inventory', 'product')),
  StockFreed: said('inventory', StockFreed, 'orders that wait for these products may be lucky now', queue('stock-freed', 'inventory')),
} as const;

export type EventName = keyof typeof events;
export type DataOf<E extends EventName> = z.infer<(typeof events)[E]['shape']>;
export type SaidBy<S extends ServiceName> = { [E in EventName]: (typeof events)[E]['from'] extends S ? E : never }[EventName];
export type MessageOf<E extends EventName> = Message<E, DataOf<E>>;
export type HeardBy<S extends OwnerName> = { [E in EventName]: S extends (typeof events)[E]['travels'][number]['to'][number] ? E : never }[EventName];

export function isEventName(name: string): name is EventName {
  return Object.hasOwn(events, name);
}

/** One service listening to one channel. `polled`: a clock drives it, it is not pushed. */
export interface Subscription extends Road {
  readonly service: ServiceName;
  readonly hears: ReadonlySet<EventName>;
  readonly polled: boolean;
}

export const subscriptions: readonly Subscription[] = (() => {
  const found = new Map<string, { kind: Road['kind']; channel: string; service: ServiceName; hears: Set<EventName>; polled: boolean }>();
  for (const [name, row] of Object.entries(events)) {
    for (const { kind, channel, to } of row.travels as readonly Travel[]) {
      for (const service of to) {
        const at = `${service} ${channel}`;
        const subscription = found.get(at) ?? { kind, channel, service, hears: new Set(), polled: service === 'website' };
        found.set(at, subscription);
        subscription.hears.add(name as EventName);
      }
    }
  }
  return [...found.values()];
})();

const ears = new Set(subscriptions.flatMap(({ service, hears }) => [...hears].map((event) => `${service} ${event}`)));
export const isHeardBy = (service: ServiceName, event: EventName): boolean => ears.has(`${service} ${event}`);

const channels = (kind: Road['kind']): string[] => [...new Set(subscriptions.filter((s) => s.kind === kind).map((s) => s.channel))];
export const queues: readonly string[] = channels('queue');
export const streams: readonly string[] = channels('stream');

/** Where rows live. The number of partitions is fixed for the life of a deployment. */
export const collections = {
  orders: { name: 'orders', shards: 64 },
  invorder: { name: 'invorder', shards: 64 },
  stock: { name: 'stock', shards: 16 },
  products: { name: 'products', shards: 16 },
  shipments: { name: 'shipments', shards: 64 },
  parcels: { name: 'parcels', shards: 64 },
  letters: { name: 'letters', shards: 64 },
  catalogue: { name: 'catalogue', shards: 1 },
  consumers: { name: 'consumers', shards: 16 },
  /** What waits for people, and what they have done; who has signed in. */
  dead: { name: 'dead', shards: 16 },
  meta: { name: 'meta', shards: 1 },
} as const satisfies Record<string, Collection>;

/** The collections whose commits may say something: the relay sweeps their outboxes. From among the dead letters, people send again. */
export const speaking: readonly Collection[] = [
  collections.orders, collections.invorder, collections.stock, collections.products, collections.shipments, collections.parcels, collections.dead,
];

// ---------------------------------------------------------------- doors

const Limit = z.coerce.number('must be a whole number').int('must be a whole number').min(1, 'must be at least 1').max(200, 'must be at most 200').default(50);
const After = z.string().max(300).optional();
const pageOf = <T extends z.ZodType>(item: T) => z.object({ items: z.array(item), next: z.string().optional() });
const listQuery = z.object({ limit: Limit, after: After });
/** draft-ietf-httpapi-idempotency-key-header: a quoted string; unquoted is accepted. */
const IdempotencyKey = z
  .string()
  .transform((value) => /^"(.*)"$/s.exec(value)?.[1] ?? value)
  .pipe(z.string().regex(/^[\u0021-\u007e]{1,255}$/, 'must be 1 to 255 visible ASCII characters'))
  .optional();

export interface Door {
  readonly service: OwnerName;
  readonly method: 'GET' | 'PUT' | 'POST';
  /** Parameters in braces, as in OpenAPI. */
  readonly path: string;
  readonly summary: string;
  /** `loopback`: who asks from this machine itself, past no proxy, needs no token. */
  readonly admin?: true | 'loopback';
  /** A page of the console for people who have signed in: this role at the least. Whoever has none is sent to sign in. */
  readonly console?: Role;
  readonly params?: z.ZodObject;
  readonly query?: z.ZodObject;
  readonly body?: z.ZodType;
  /** The bytes are handed on untouched, because a signature is over them. */
  readonly raw?: true;
  /** An HTML form posts here (application/x-www-form-urlencoded), an HTML page or a redirect comes back. */
  readonly page?: true;
  /** Takes an Idempotency-Key header. */
  readonly idempotent?: true;
  /** Answers with plain text. */
  readonly text?: true;
  /** Successful answers by status. */
  readonly replies: Readonly<Record<number, z.ZodType | null>>;
  /** The errors that this door has beyond those that every door has. */
  readonly refuses?: readonly number[];
}

const bySku = z.object({ sku: Sku });
const byOrder = z.object({ id: OrderId });
const byFinding = z.object({ id: z.string().regex(/^[0-9a-f]{16}$/, 'must be 16 hexadecimal digits') });
const byMail = z.object({ id: z.string().regex(/^[0-9a-z]{26}\.[a-z]{1,20}$/, 'must be the id of a letter') });
const troubleQuery = listQuery.extend({ cause: z.string().max(200).optional() });
const html = z.string();
// What the desk asks is for people with the admin token, on the same three paths for each kind of trouble.
const desk = <const Extra extends Partial<Door> = object>(method: Door['method'], path: string, summary: string, extra?: Extra) =>
  ({ service: 'operations', method, path: `/api${path}`, summary, admin: true, ...(extra as Extra) }) as const;
const of = <const D extends z.ZodType>(reply: D) => ({ params: byFinding, replies: { 200: reply }, refuses: [404] }) as const;
const retryOne = { params: byFinding, replies: { 202: null }, refuses: [404, 409] } as const;
const retryMany = { body: RetryAll, replies: { 202: Retried } } as const;
const resolveOne = { params: byFinding, body: Why, replies: { 204: null }, refuses: [404, 409] } as const;
/** What a form leaves empty comes as an empty text. Prices come as people type them; the page says what is wrong with one. */
const ShelfQuery = z.object({
  q: z.string().trim().max(200).optional(), after: After, stock: z.enum(['', 'available', 'out']).optional(), min: z.string().trim().max(20).optional(),
  max: z.string().trim().max(20).optional(), sort: z.enum(['', 'price', '-price', 'name']).optional(),
});
// Generic, so that what a page is given keeps its type; `Partial<Door>` alone would forget whose door it is.
const page = <const Extra extends Partial<Door> = object>(path: string, summary: string, extra?: Extra) =>
  ({ service: 'website', method: 'GET', path, summary, page: true, replies: { 200: html }, ...(extra as Extra) }) as const;
const form = <const Extra extends Partial<Door> = object>(path: string, summary: string, extra?: Extra) =>
  ({ service: 'website', method: 'POST', path, summary, page: true, replies: { 303: null }, ...(extra as Extra) }) as const;

// What a door says of itself counts more than what all of its kind have in common; a plain spread would ask of a type to be both.
const over = <const Base extends object, const Extra extends object>(base: Base, extra: Extra): Omit<Base, keyof Extra> & NoInfer<Extra> => ({ ...base, ...extra });
/** Of the console: who sees it, and who changes something with it. All that a form posts reaches its function as `raw`, as on the shop's pages. */
const view = <const Extra extends Partial<Door> = Record<never, never>>(path: string, summary: string, extra?: Extra) =>
  over({ service: 'console', method: 'GET', path: `/console${path}`, summary, page: true, console: 'viewer', replies: { 200: html } }, (extra ?? {}) as Extra);
const act = <const Extra extends Partial<Door> = Record<never, never>>(path: string, summary: string, extra?: Extra) =>
  over({ service: 'console', method: 'POST', path: `/console${path}`, summary, page: true, console: 'operator', replies: { 303: null, 422: html } }, (extra ?? {}) as Extra);
const porch = <const Method extends 'GET' | 'POST', const Extra extends Partial<Door> = Record<never, never>>(method: Method, path: string, summary: string, extra?: Extra) =>
  over({ service: 'console', method, path: `/console${path}`, summary, page: true, replies: { 303: null } }, (extra ?? {}) as Extra);
const ofTrouble = z.object({ kind: z.string().max(20) });
/** How many it was, in an address to which a form has led. */
const Counted = z.coerce.number().int().min(0).max(1_000_000_000).catch(0);
const Next = z.object({ next: z.string().max(2_000).optional() });
const Provided = z.object({ code: z.string().max(4_000).optional(), state: z.string().max(500).optional(), iss: z.string().max(500).optional(), error: z.string().max(200).optional() });

export const doors = {
  listProducts: { service: 'product', method: 'GET', path: '/api/products', summary: 'Products, with an optional search', query: listQuery.extend({ q: z.string().trim().max(200).optional() }), replies: { 200: pageOf(ProductView) } },
  getProduct: { service: 'product', method: 'GET', path: '/api/products/{sku}', summary: 'One product', params: bySku, replies: { 200: ProductView }, refuses: [404] },
  describeProduct: { service: 'product', method: 'PUT', path: '/api/products/{sku}', summary: 'Create or change a product', admin: true, params: bySku, body: DescribeProduct, replies: { 200: ProductView, 201: ProductView } },
  receiveStock: { service: 'inventory', method: 'POST', path: '/api/inventory/{sku}/receipts', summary: 'Stock has arrived', admin: true, params: bySku, body: Receipt, idempotent: true, replies: { 201: StockView }, refuses: [404, 409, 422] },
  getStock: { service: 'inventory', method: 'GET', path: '/api/inventory/{sku}', summary: 'The stock of a product', admin: true, params: bySku, replies: { 200: StockView }, refuses: [404] },
  placeOrder: { service: 'order', method: 'POST', path: '/api/orders', summary: 'Place an order', body: PlaceOrder, idempotent: true, replies: { 201: OrderView }, refuses: [409, 413, 422] },
  getOrder: { service: 'order', method: 'GET', path: '/api/orders/{id}', summary: 'One order; its id is the capability', params: byOrder, replies: { 200: OrderView }, refuses: [404] },
  cancelOrder: { service: 'order', method: 'POST', path: '/api/orders/{id}/cancel', summary: 'Ask for a cancellation; Shipping decides', params: byOrder, replies: { 200: OrderView, 202: OrderView }, refuses: [404, 409] },
  listOrders: { service: 'order', method: 'GET', path: '/api/orders', summary: 'Orders', admin: true, query: listQuery.extend({ status: OrderStatus.optional(), q: z.string().trim().max(254).optional() }), replies: { 200: pageOf(OrderView) } },
  takeNotice: { service: 'shipping', method: 'POST', path: '/api/carriers/{carrier}/notices', summary: 'A carrier tells where a parcel is', params: z.object({ carrier: z.string().max(40) }), raw: true, replies: { 204: null }, refuses: [404, 503] },
  listMails: { service: 'notification', method: 'GET', path: '/api/mails', summary: 'Letters to customers', admin: true, query: listQuery.extend({ orderId: OrderId.optional(), state: MailState.optional() }), replies: { 200: pageOf(MailView) } },
  retryMail: { service: 'notification', method: 'POST', path: '/api/mails/{id}/retry', summary: 'An uncertain or refused letter is sent again', admin: true, params: byMail, replies: { 200: MailView }, refuses: [404, 409] },
  resolveMail: { service: 'notification', method: 'POST', path: '/api/mails/{id}/resolve', summary: 'An uncertain letter was sent, a person says', admin: true, params: byMail, replies: { 200: MailView }, refuses: [404, 409] },
  listBookings: { service: 'shipping', method: 'GET', path: '/api/bookings', summary: 'Bookings that need a person', admin: true, query: listQuery.extend({ state: BookingState.optional(), orderId: OrderId.optional() }), replies: { 200: pageOf(BookingView) } },
  retryBooking: { service: 'shipping', method: 'POST', path: '/api/bookings/{id}/retry', summary: 'Nothing was booked, a person says: it is booked again', admin: true, params: byOrder, replies: { 202: null }, refuses: [409] },
  resolveBooking: { service: 'shipping', method: 'POST', path: '/api/bookings/{id}/resolve', summary: 'A person says which parcel the carrier has', admin: true, params: byOrder, body: ResolveBooking, replies: { 204: null }, refuses: [409, 422] },
  listDeadLetters: desk('GET', '/dead-letters', 'Messages of queues that nobody could handle', { query: troubleQuery.extend({ state: z.enum(['dead', 'sentAgain', 'resolved']).default('dead') }), replies: { 200: pageOf(DeadLetterView) } }),
  getDeadLetter: desk('GET', '/dead-letters/{id}', 'One of them, with payload and history', of(DeadLetterDetail)),
  retryDeadLetter: desk('POST', '/dead-letters/{id}/retry', 'Send it again', retryOne),
  retryDeadLetters: desk('POST', '/dead-letters/retry', 'Send all of a cause again', retryMany),
  resolveDeadLetter: desk('POST', '/dead-letters/{id}/resolve', 'Nothing is to be done about it', resolveOne),
  listParked: desk('GET', '/parked', 'Keys of streams that are set aside for a listener', { query: troubleQuery, replies: { 200: pageOf(ParkedView) } }),
  getParked: desk('GET', '/parked/{id}', 'One of them, with its events in order', of(ParkedDetail)),
  retryParkedKey: desk('POST', '/parked/{id}/retry', 'Try it again now', retryOne),
  retryParkedKeys: desk('POST', '/parked/retry', 'Try all of a cause again now', retryMany),
  resolveParked: desk('POST', '/parked/{id}/resolve', 'Drop the first of its events and go on with the next', { ...resolveOne, body: DropFirst }),
  listStuck: desk('GET', '/stuck', 'Messages that no channel will take', { query: troubleQuery, replies: { 200: pageOf(StuckView) } }),
  getStuck: desk('GET', '/stuck/{id}', 'One of them, with its payload', of(StuckDetail)),
  retryStuckRow: desk('POST', '/stuck/{id}/retry', 'Send it now', retryOne),
  retryStuckRows: desk('POST', '/stuck/retry', 'Send all of a cause now', retryMany),
  resolveStuck: desk('POST', '/stuck/{id}/resolve', 'It is not to be said on the channels that are left', resolveOne),
  orderStory: desk('GET', '/orders/{id}/story', 'What was said about an order, who has heard it, and what is missing where', { params: byOrder, replies: { 200: StoryView }, refuses: [404] }),
  auditShop: desk('GET', '/audit', 'Do stock, orders, parcels and letters agree?', { replies: { 200: AuditView } }),
  shopPulse: desk('GET', '/pulse', 'How the shop is now: where orders and messages are, and how fast they go', { query: z.object({ span: Span.default('1h') }), replies: { 200: PulseView } }),
  listActs: desk('GET', '/acts', 'What people have changed through this API, and who did: the newest first', { query: listQuery.extend({ who: z.string().trim().max(200).optional(), door: z.string().max(60).optional() }), replies: { 200: pageOf(ActView) } }),
  sayByHand: desk('POST', '/messages', 'Put a message on a channel by hand', { body: SayByHand, replies: { 202: SaidByHand }, refuses: [409, 422] }),
  metrics: { service: 'operations', method: 'GET', path: '/metrics', summary: 'What can be counted, in the text format of Prometheus', admin: 'loopback', text: true, replies: { 200: z.string() } },
  homePage: page('/', 'The catalogue', { query: ShelfQuery }),
  productPage: page('/products/{sku}', 'One product', { params: bySku, refuses: [404] }),
  basketPage: page('/basket', 'The basket'),
  changeBasket: form('/basket', 'Put into or change the basket', { replies: { 303: null, 422: html } }),
  checkoutPage: page('/checkout', 'Address and order'),
  checkOut: form('/checkout', 'Place the order', { replies: { 303: null, 422: html } }),
  orderPage: page('/orders/{id}', 'Where an order is', { params: byOrder, refuses: [404] }),
  orderNews: { service: 'website', method: 'GET', path: '/orders/{id}/news', summary: 'Server-sent events while an order moves; 204 where they cannot be had', params: byOrder, text: true, replies: { 200: z.string(), 204: null }, refuses: [404] },
  cancelFromPage: form('/orders/{id}/cancel', 'Cancel from the page', { params: byOrder, refuses: [404, 409] }),
  mailboxPage: page('/mailbox', 'The letters kept on this machine', { query: z.object({ after: After }), refuses: [404] }),
  letterPage: page('/mailbox/{key}', 'One letter', { params: z.object({ key: z.string().regex(/^[a-z0-9.]{1,60}$/, 'must be a letter') }), refuses: [404] }),
  consoleSignIn: porch('GET', '/sign-in', 'Who are you?', { query: Next, replies: { 200: html, 303: null } }),
  consoleEnter: porch('POST', '/sign-in', 'The admin token for a session', { replies: { 303: null, 401: html, 429: html } }),
  consoleOidc: porch('GET', '/oidc', 'Off to the identity provider', { query: Next, refuses: [404, 429] }),
  consoleOidcBack: porch('GET', '/oidc/back', 'Back from it', { query: Provided, refuses: [404, 429] }),
  consoleLeave: porch('POST', '/sign-out', 'The session ends', { console: 'viewer' }),
  consoleActs: view('/acts', 'What people have changed, and who did', { query: z.object({ after: After, who: z.string().trim().max(200).optional(), door: z.string().max(60).optional() }) }),
  consoleAgain: view('/again', 'What was typed when the session had ended'),
  consoleHome: view('', 'The shop now'),
  consoleNow: view('/now', 'The part of it that changes by itself'),
  consoleOrders: view('/orders', 'Orders, searched and filtered', { query: z.object({ q: z.string().trim().max(200).optional(), status: OrderStatus.or(z.literal('')).optional(), after: After }) }),
  consoleOrder: view('/orders/{id}', 'The whole story of an order', { params: byOrder, refuses: [404] }),
  consoleProducts: view('/products', 'Products and their stock', { query: z.object({ q: z.string().trim().max(200).optional(), sku: z.string().trim().max(200).optional(), after: After }), replies: { 200: html, 303: null } }),
  consoleProduct: view('/products/{sku}', 'One product and its stock', { params: bySku, query: z.object({ did: z.string().max(20).optional(), n: Counted }) }),
  consoleDescribe: act('/products/{sku}', 'A product is described', { params: bySku }),
  consoleReceive: act('/products/{sku}/receipts', 'Stock has arrived', { params: bySku }),
  consoleTrouble: view('/trouble', 'What waits for a person'),
  consoleTroubles: view('/trouble/{kind}', 'All of one kind, by cause', { params: ofTrouble, query: z.object({ cause: z.string().max(200).optional(), after: After, did: z.string().max(20).optional(), n: Counted, left: Counted }), refuses: [404] }),
  consoleTroubleOne: view('/trouble/{kind}/{id}', 'One of them, with payload and history', { params: ofTrouble.extend({ id: z.string().max(60) }), refuses: [404] }),
  consoleQuestion: view('/decide', 'Whether it is really to be done', { console: 'operator', query: z.object({ kind: z.string().max(20), do: z.string().max(20), id: z.string().max(60).optional(), cause: z.string().max(200).optional() }), refuses: [404] }),
  consoleDecide: act('/decide', 'It is', { refuses: [404] }),
  consolePace: view('/pace', 'How many orders, and how fast', { query: z.object({ span: Span.default('1h') }) }),
  consoleAudit: view('/audit', 'Whether the books agree, and what people did here', { query: z.object({ run: z.enum(['yes']).optional(), after: After }) }),
} as const satisfies Record<string, Door>;

export type DoorName = keyof typeof doors;
export type DoorsOf<S extends OwnerName> = { [D in DoorName]: (typeof doors)[D]['service'] extends S ? D : never }[DoorName];
type Part<D extends DoorName, K extends 'params' | 'query' | 'body'> = (typeof doors)[D] extends { readonly [P in K]: infer Shape extends z.ZodType } ? z.infer<Shape> : undefined;

/** What a door is given: parsed by its shapes; `raw` and `headers` (lower-case names) as they came. Those of the console are given more. */
export type RequestOf<D extends DoorName> = Given<D> & ((typeof doors)[D] extends { readonly console: Role } ? Desk : (typeof doors)[D]['service'] extends 'console' ? Porch : unknown);

interface Given<D extends DoorName> {
  readonly params: Part<D, 'params'>;
  readonly query: Part<D, 'query'>;
  readonly body: Part<D, 'body'>;
  readonly idempotencyKey: string | undefined;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly raw: Uint8Array;
}
export { IdempotencyKey };

/** What the console's pages have: who has signed in, and the API, asked on his behalf. */
export interface Desk {
  readonly operator: Operator;
  readonly ask: Ask;
}

/** The doors that answer with JSON. */
export type ApiDoor = { [D in DoorName]: (typeof doors)[D] extends { readonly page: true } | { readonly text: true } | { readonly raw: true } ? never : D }[DoorName];
type Answers<D extends DoorName> = (typeof doors)[D]['replies'];
type AnswerOf<D extends DoorName> = { [S in keyof Answers<D>]: Answers<D>[S] extends z.ZodType ? z.infer<Answers<D>[S]> : undefined }[keyof Answers<D>];

/** As it goes over the wire; the door's shapes check it. What is undefined is not asked. */
export interface Asking {
  readonly params?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, string | number | undefined>>;
  readonly body?: unknown;
  /** An Idempotency-Key. */
  readonly key?: string;
}
/** `ok`: a status below 300, with the body that the table declares for it; otherwise the problem (RFC 9457). It throws only what the host would throw. */
export type Told<D extends ApiDoor> = { readonly ok: true; readonly status: number; readonly body: AnswerOf<D> } | { readonly ok: false; readonly status: number; readonly body: Problem };
export type Ask = <D extends ApiDoor>(door: D, asking?: Asking) => Promise<Told<D>>;

// ---------------------------------------------------------------- clocks

export interface ClockRow {
  readonly service: ServiceName;
  /** A default; the host may set another. */
  readonly everySeconds: number;
  readonly summary: string;
}

/** Timers. Each may run on several instances at once, and twice. */
export const clocks = {
  pollProducts: { service: 'website', everySeconds: 2, summary: 'Retrieve ProductInfoUpdated and update the website' },
  sweepOpenOrders: { service: 'inventory', everySeconds: 60, summary: 'Go on with orders that nobody works at' },
  sweepClaims: { service: 'notification', everySeconds: 60, summary: 'Ask what became of letters whose sending was never confirmed' },
  sweepBookings: { service: 'shipping', everySeconds: 60, summary: 'Go on with bookings that were never confirmed' },
} as const satisfies Record<string, ClockRow>;

export type ClockName = keyof typeof clocks;
export type ClocksOf<S extends OwnerName> = { [C in ClockName]: (typeof clocks)[C]['service'] extends S ? C : never }[ClockName];
