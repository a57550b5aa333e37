import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { createGunzip } from 'node:zlib';
import { parse } from 'csv-parse';

/**
 * The UCI "Online Retail" data (CC BY 4.0, bench/samples/README.md), as what a shop would have been asked in that year: orders and cancellations, in the order of time.
 *
 * What a row must be, to be a line of an order or of a cancellation: eight columns, a product's code, a price above zero, a whole quantity other than zero, a date.
 * Any other row is rejected with a reason and never stops anything. Exact duplicates of a row are kept: they are as plausible as two scans of one thing, and Order adds up
 * the lines of a product. Prices with three decimals are rounded half up. A missing customer is a guest of his own. An invoice with two timestamps has the first one.
 */
export interface RetailLine {
  readonly sku: string;
  readonly quantity: number;
}
export interface Invoice {
  /** `order`: an ordinary invoice. `cancel`: one with a C, whose quantities are given here as positive numbers. */
  readonly kind: 'order' | 'cancel';
  readonly id: string;
  /** As in the data, which names no zone. */
  readonly at: string;
  readonly customer: string;
  /** ISO 3166-1 alpha-2. */
  readonly country: string;
  /** Lines of one product are not added up. */
  readonly lines: RetailLine[];
}
export type Rejection = 'malformed-row' | 'not-a-product' | 'no-price' | 'bad-debt' | 'write-off' | 'no-quantity';

export interface Product {
  readonly sku: string;
  readonly name: string;
  /** Minor units of GBP: the median of the prices at which it was sold. */
  readonly price: number;
}
export interface Retail {
  readonly invoices: readonly Invoice[];
  readonly products: ReadonlyMap<string, Product>;
  readonly rejected: Readonly<Record<Rejection, number>>;
  readonly rows: number;
}

/** Five digits and at most a few letters; POST, DOT, M, BANK CHARGES, gift_0001_20 and the like are no products. */
const productCode = /^\d{5}[A-Z]{0,2}$/;

export async function readRetail(file: string): Promise<Retail> {
  const invoices = new Map<string, Invoice>();
  const known = new Map<string, { names: Map<string, number>; prices: number[] }>();
  const rejected: Record<Rejection, number> = { 'malformed-row': 0, 'not-a-product': 0, 'no-price': 0, 'bad-debt': 0, 'write-off': 0, 'no-quantity': 0 };
  let rows = 0;

  for await (const cells of await cellsOf(file, () => rejected['malformed-row']++)) {
    rows++;
    const row = readRow(cells);
    if (typeof row === 'string') rejected[row]++;
    else add(row);
  }

  function add({ invoice, sku, name, quantity, price, at, customer, country }: Row): void {
    let found = invoices.get(invoice);
    if (!found) invoices.set(invoice, (found = { kind: invoice.startsWith('C') ? 'cancel' : 'order', id: invoice, at, customer, country, lines: [] }));
    found.lines.push({ sku, quantity });
    if (found.kind === 'cancel') return;
    let product = known.get(sku);
    if (!product) known.set(sku, (product = { names: new Map(), prices: [] }));
    if (name !== '') product.names.set(name, (product.names.get(name) ?? 0) + 1);
    product.prices.push(price);
  }

  const products = new Map([...known].map(([sku, { names, prices }]) => [sku, { sku, name: bestName(sku, names), price: median(prices) }]));
  // Times have the same form, so they compare as text; a cancellation of the same minute comes after the order.
  const ordered = [...invoices.values()].sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : a.kind < b.kind ? 1 : a.kind > b.kind ? -1 : a.id < b.id ? -1 : 1));
  return { invoices: ordered, products, rejected, rows };
}

interface Row {
  readonly invoice: string;
  readonly sku: string;
  readonly name: string;
  readonly quantity: number;
  readonly price: number;
  readonly at: string;
  readonly customer: string;
  readonly country: string;
}

export function readRow(cells: readonly string[]): Row | Rejection {
  if (cells.length !== 8) return 'malformed-row';
  const [invoice, code, description, quantityText, at, priceText, customer, country] = cells.map((cell) => cell.trim()) as [string, string, string, string, string, string, string, string];
  const quantity = Number(quantityText);
  const pounds = Number(priceText);
  if (quantityText === '' || priceText === '' || !Number.isInteger(quantity) || !Number.isFinite(pounds)) return 'malformed-row';
  if (/^A\d{6}$/.test(invoice)) return 'bad-debt';
  if (!/^C?\d{6}$/.test(invoice) || !/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/.test(at)) return 'malformed-row';
  const sku = code.toUpperCase();
  if (!productCode.test(sku)) return 'not-a-product';
  if (quantity === 0) return 'no-quantity';
  const cancels = invoice.startsWith('C');
  if (quantity < 0 && !cancels) return 'write-off';
  if (pounds <= 0) return 'no-price';
  return {
    invoice, sku, name: description, quantity: Math.abs(quantity), price: Math.max(1, Math.round(pounds * 100 + 1e-9)), at,
    customer: customer === '' ? `guest-${invoice.replace('C', '')}` : customer,
    country: countries[country] ?? 'GB',
  };
}

/** The cells of each row but the first. A row that breaks the quoting is skipped, with what it swallows up to the size of the longest sensible row. */
async function cellsOf(file: string, skipped: () => void): Promise<AsyncIterable<string[]>> {
  const handle = await open(file);
  const { buffer } = await handle.read(Buffer.alloc(2), 0, 2, 0);
  await handle.close();
  const bytes = createReadStream(file);
  const text = buffer[0] === 0x1f && buffer[1] === 0x8b ? bytes.pipe(createGunzip()) : bytes;
  return text.pipe(parse({ bom: true, relax_column_count: true, relax_quotes: true, skip_empty_lines: true, from: 2, max_record_size: 2_000, skip_records_with_error: true, on_skip: () => void skipped() }));
}

/** The name that it had most often; the data shouts, so it is told in lower case with a capital. Short notes like "check" or "?" lose against real names. */
function bestName(sku: string, names: ReadonlyMap<string, number>): string {
  const [best] = [...names].filter(([name]) => name === name.toUpperCase() && name.length > 4).sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1));
  const name = (best?.[0] ?? sku).replace(/\s+/g, ' ').trim();
  return name.charAt(0).toUpperCase() + name.slice(1).toLowerCase();
}

function median(prices: readonly number[]): number {
  const sorted = [...prices].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)]!;
}

export function demandOf(invoices: readonly Invoice[]): Map<string, number> {
  const demand = new Map<string, number>();
  for (const { kind, lines } of invoices) {
    if (kind === 'order') for (const { sku, quantity } of lines) demand.set(sku, (demand.get(sku) ?? 0) + quantity);
  }
  return demand;
}

/**
 * Which order does a cancellation mean? The data does not say. It cancels only when it covers a whole order of that customer, the latest such one before it that is not
 * cancelled yet.
 */
export function createMatcher() {
  const open = new Map<string, string[]>();
  const nameOf = ({ customer, lines }: Invoice): string => {
    const sums = new Map<string, number>();
    for (const { sku, quantity } of lines) sums.set(sku, (sums.get(sku) ?? 0) + quantity);
    return `${customer} ${JSON.stringify([...sums].sort(([a], [b]) => (a < b ? -1 : 1)))}`;
  };
  return {
    ordered(invoice: Invoice): void {
      const name = nameOf(invoice);
      open.set(name, [...(open.get(name) ?? []), invoice.id]);
    },
    cancelled: (invoice: Invoice): string | undefined => open.get(nameOf(invoice))?.pop(),
  };
}

/** The 38 names of the data; those that are no country are sent to where the shop is. */
const countries: Readonly<Record<string, string>> = {
  Australia: 'AU', Austria: 'AT', Bahrain: 'BH', Belgium: 'BE', Brazil: 'BR', Canada: 'CA', 'Channel Islands': 'JE', Cyprus: 'CY', 'Czech Republic': 'CZ', Denmark: 'DK',
  EIRE: 'IE', Finland: 'FI', France: 'FR', Germany: 'DE', Greece: 'GR', 'Hong Kong': 'HK', Iceland: 'IS', Israel: 'IL', Italy: 'IT', Japan: 'JP', Lebanon: 'LB',
  Lithuania: 'LT', Malta: 'MT', Netherlands: 'NL', Norway: 'NO', Poland: 'PL', Portugal: 'PT', RSA: 'ZA', 'Saudi Arabia': 'SA', Singapore: 'SG', Spain: 'ES', Sweden: 'SE',
  Switzerland: 'CH', USA: 'US', 'United Arab Emirates': 'AE', 'United Kingdom': 'GB',
};
