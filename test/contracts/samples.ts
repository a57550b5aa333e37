import { say } from '../../core/kernel/model.ts';
import type { DataOf, EventName } from '../../core/flow.ts';
import type { Message } from '../../ports/index.ts';

/**
 * One event of each kind in three sizes, as they are archived with its shape: with nothing that can be left out, with everything, and at the limits. The time of all
 * is that at which the tests' clock begins, for what is beyond the horizon is handled by nobody.
 */
export const sizes = ['minimal', 'full', 'extreme'] as const;
export type Size = (typeof sizes)[number];

const at = '2026-11-20T08:59:00.000Z';
const long = (length: number): string => '🦄'.repeat(length / 2);
const numbered = <Item>(count: number, item: (n: number) => Item): Item[] => Array.from({ length: count }, (_, n) => item(n));
const sku = (n: number): string => `Z${String(n).padStart(38, '0')}z`;

const orders: Readonly<Record<Size, string>> = { minimal: 'm'.repeat(26), full: 'f'.repeat(26), extreme: 'x'.repeat(26) };
/** As many as the longest order of the replayed year has. */
const linesMany = 1_112;
const parcel = { carrier: 'demo', trackingNumber: 'DP0123456789ABCDEF01' };
const longParcel = { carrier: long(100), trackingNumber: 'T'.repeat(100) };
const email = `${'e'.repeat(63)}@${numbered(3, () => 'd'.repeat(60)).join('.')}.example`;

const data: { readonly [E in EventName]: Readonly<Record<Size, DataOf<E>>> } = {
  OrderPlaced: {
    minimal: {
      orderId: orders.minimal, placedAt: at, customer: { name: 'A', email: 'a@b.co' }, address: { line1: '1', city: 'L', postcode: '1', country: 'GB' },
      lines: [{ sku: 'A', name: '', quantity: 1, unitPrice: 0 }], total: { amount: 0, currency: 'GBP' },
    },
    full: {
      orderId: orders.full, placedAt: at, customer: { name: 'Anna Bell', email: 'anna@example.com' },
      address: { line1: '1 High Street', line2: 'Flat 2', city: 'Leeds', postcode: 'LS1 4AP', country: 'GB' },
      lines: [{ sku: '85123A', name: 'White hanging heart T-light holder', quantity: 6, unitPrice: 255 }, { sku: '71053', name: 'White metal lantern', quantity: 2, unitPrice: 339 }],
      total: { amount: 2_208, currency: 'GBP' },
    },
    extreme: {
      orderId: orders.extreme, placedAt: at, customer: { name: long(200), email }, address: { line1: long(200), line2: long(200), city: long(100), postcode: long(20), country: 'ZZ' },
      lines: numbered(linesMany, (n) => ({ sku: sku(n), name: '€', quantity: 1_000_000, unitPrice: 1_000_000_000_000 })), total: { amount: 1_000_000_000_000, currency: 'XXX' },
    },
  },
  InventoryReserved: {
    minimal: { orderId: orders.minimal, shipTo: { name: '', line1: '1', city: 'L', postcode: '1', country: 'GB' }, lines: [{ sku: 'A', quantity: 1, available: 0, stockVersion: 0 }] },
    full: {
      orderId: orders.full, shipTo: { name: 'Anna Bell', line1: '1 High Street', line2: 'Flat 2', city: 'Leeds', postcode: 'LS1 4AP', country: 'GB' },
      lines: [{ sku: '85123A', quantity: 6, available: 94, stockVersion: 7 }, { sku: '71053', quantity: 2, available: 3, stockVersion: 2 }],
    },
    extreme: {
      orderId: orders.extreme, shipTo: { name: long(200), line1: long(200), line2: long(200), city: long(100), postcode: long(20), country: 'ZZ' },
      lines: numbered(linesMany, (n) => ({ sku: sku(n), quantity: 1_000_000, available: 1_000_000_000_000, stockVersion: Number.MAX_SAFE_INTEGER })),
    },
  },
  Backordered: {
    minimal: { orderId: orders.minimal, short: [] },
    full: { orderId: orders.full, short: [{ sku: '85123A', needed: 6, free: 2 }, { sku: '71053', needed: 2, free: 0 }] },
    extreme: { orderId: orders.extreme, short: numbered(20, (n) => ({ sku: sku(n), needed: Number.MAX_SAFE_INTEGER, free: Number.MAX_SAFE_INTEGER })) },
  },
  ProductInfoUpdated: {
    minimal: { sku: 'A', name: 'A', description: '', price: { amount: 0, currency: 'GBP' }, stock: 'OutOfStock', version: 1 },
    full: { sku: '85123A', name: 'White hanging heart T-light holder', description: 'A heart for the window', price: { amount: 255, currency: 'GBP' }, stock: 'Low', version: 7 },
    extreme: { sku: sku(1), name: long(200), description: long(2_000), price: { amount: 1_000_000_000_000, currency: 'XXX' }, stock: 'InStock', version: Number.MAX_SAFE_INTEGER },
  },
  OrderFulfillment: {
    minimal: { orderId: orders.minimal, carrier: 'd', trackingNumber: '1' },
    full: { orderId: orders.full, ...parcel, trackingUrl: 'https://carrier.example/DP0123456789ABCDEF01' },
    extreme: { orderId: orders.extreme, ...longParcel, trackingUrl: `https://carrier.example/${'u'.repeat(1_976)}` },
  },
  OrderDelivered: {
    minimal: { orderId: orders.minimal, carrier: 'd', trackingNumber: '1', deliveredAt: '2026-11-20T08:00:00Z' },
    full: { orderId: orders.full, ...parcel, deliveredAt: at },
    extreme: { orderId: orders.extreme, ...longParcel, deliveredAt: '9999-12-31T23:59:59.999999999Z' },
  },
  CancellationRequested: { minimal: { orderId: orders.minimal }, full: { orderId: orders.full }, extreme: { orderId: orders.extreme } },
  ShippingStopped: { minimal: { orderId: orders.minimal }, full: { orderId: orders.full }, extreme: { orderId: orders.extreme } },
  StockChanged: {
    minimal: { levels: [{ sku: 'A', available: 0, stockVersion: 0 }] },
    full: { levels: [{ sku: '85123A', available: 100, stockVersion: 3 }, { sku: '71053', available: 5, stockVersion: 1 }] },
    extreme: { levels: numbered(100, (n) => ({ sku: sku(n), available: Number.MAX_SAFE_INTEGER, stockVersion: Number.MAX_SAFE_INTEGER })) },
  },
  StockFreed: { minimal: { skus: ['A'] }, full: { skus: ['85123A', '71053'] }, extreme: { skus: numbered(100, sku) } },
};

/** Where in its data the subject of an event stands, which is its partition key. That it does is checked with everything that a small shop says. */
export const keys: { readonly [E in EventName]: string } = {
  OrderPlaced: '/orderId', InventoryReserved: '/orderId', Backordered: '/orderId', OrderFulfillment: '/orderId', OrderDelivered: '/orderId', CancellationRequested: '/orderId',
  ShippingStopped: '/orderId', ProductInfoUpdated: '/sku', StockChanged: '/levels/0/sku', StockFreed: '/skus/0',
};

export const at0 = (pointer: string, value: unknown): unknown =>
  pointer.split('/').slice(1).reduce<unknown>((node, part) => (node as Readonly<Record<string, unknown>> | undefined)?.[part], value);

const envelopes: Readonly<Record<Size, { readonly sequence: number; readonly more: Partial<Message> }>> = {
  minimal: { sequence: 0, more: { correlationid: undefined } },
  full: { sequence: 3, more: { correlationid: orders.full, causationid: `${orders.full}:OrderPlaced:0`, traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' } },
  extreme: { sequence: 9_999_999_999, more: { correlationid: long(300), causationid: long(300), traceparent: `00-${'f'.repeat(32)}-${'f'.repeat(16)}-ff` } },
};

/** What would be said today in this size. */
export function sample<E extends EventName>(name: E, size: Size): Message {
  const { sequence, more } = envelopes[size];
  const { message } = say(name, data[name][size], { subject: String(at0(keys[name], data[name][size])), sequence, at });
  return JSON.parse(JSON.stringify({ ...message, ...more })) as Message;
}
