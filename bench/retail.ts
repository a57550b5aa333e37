import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { pipeline } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { parse } from 'csv-parse/sync';
import { linesMax } from '../core/order/events.ts';
import { quantityMax } from '../core/shapes.ts';
import { Invalid } from '../ports/index.ts';

/**
 * The UCI "Online Retail" data (CC BY 4.0, bench/samples/README.md), as what a shop would have been asked in that year: orders and cancellations, in the order of time.
 *
 * What a row must be, to be a line of an order or of a cancellation: eight columns, a product's code, a price above zero, a whole quantity other than zero, a date.
 * Any other row is rejected with a reason and never stops anything; a file that is no such data at all, or breaks off, is a failure and does. Exact duplicates of a row are
 * kept: they are as plausible as two scans of one thing, and Order adds up the lines of a product. Prices are rounded half up (the four with three decimals all belong to
 * rows that are no products). A missing customer is a guest of his own. An invoice with two timestamps has the first one.
 *
 * Of the whole file, 541,909 rows: 19,773 orders with 527,725 lines of 3,791 products, exactly the "sales" of the data's description (numeric invoice, quantity and price above
 * zero, five-digit code); 3,422 cancellations with 8,704 lines, where the description counts 3,836 with 9,288, for 584 of their rows are postage, discounts and the like and
 * 414 had no other row. Rejected: 2,992 not-a-product (2,995 less the 3 of bad debt), 1,324 write-off (1,336 less 12 that are no products), 1,161 no-price (2,515 less 30 that
 * are no products and the 1,324, which have no price either), 3 bad-debt. An order whose rows were all rejected does not appear.
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
/** `write-off`: less than nothing sold, and no cancellation. `too-many-lines`: beyond what an order can have. The first that fits is given, in the order of `readRow`. */
export type Rejection = 'malformed-row' | 'not-a-product' | 'no-price' | 'bad-debt' | 'write-off' | 'no-quantity' | 'too-many-lines';

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
  /** All of them, the rejected ones too, without the line of the columns' names: each is one line of one invoice, or rejected. */
  readonly rows: number;
}

/** Five digits and at most a few letters; POST, DOT, M, BANK CHARGES, gift_0001_20 and the like are no products. */
const productCode = /^\d{5}[A-Z]{0,2}$/;

/** Fails with Invalid when the file does not begin with the columns' names, and with node's own error when it cannot be read to its end. */
export async function readRetail(file: string): Promise<Retail> {
  const invoices = new Map<string, Invoice>();
  const known = new Map<string, { names: Map<string, number>; prices: number[] }>();
  const rejected: Record<Rejection, number> = { 'malformed-row': 0, 'not-a-product': 0, 'no-price': 0, 'bad-debt': 0, 'write-off': 0, 'no-quantity': 0, 'too-many-lines': 0 };
  let rows = 0;

  for await (const cells of rowsOf(file)) {
    rows++;
    const row = readRow(cells);
    const wrong = typeof row === 'string' ? row : add(row);
    if (wrong) rejected[wrong]++;
  }

  function add({ invoice, sku, name, quantity, price, at, customer, country }: Row): Rejection | undefined {
    let found = invoices.get(invoice);
    if (!found) invoices.set(invoice, (found = { kind: invoice.startsWith('C') ? 'cancel' : 'order', id: invoice, at, customer, country, lines: [] }));
    if (found.lines.length >= linesMax) return 'too-many-lines';
    found.lines.push({ sku, quantity });
    if (found.kind === 'cancel') return undefined;
    let product = known.get(sku);
    if (!product) known.set(sku, (product = { names: new Map(), prices: [] }));
    if (name !== '') product.names.set(name, (product.names.get(name) ?? 0) + 1);
    product.prices.push(price);
    return undefined;
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

const wholeNumber = /^-?\d{1,9}$/;
const decimal = /^-?\d{1,9}(\.\d{1,9})?$/;

/** One row by itself. What could not pass as an order's quantity or a customer's mail address is malformed, so that no row makes an order that cannot be asked for. */
export function readRow(cells: readonly string[]): Row | Rejection {
  if (cells.length !== 8) return 'malformed-row';
  const [invoice, code, description, quantityText, at, priceText, customer, country] = cells.map((cell) => cell.trim()) as [string, string, string, string, string, string, string, string];
  if (!wholeNumber.test(quantityText) || !decimal.test(priceText) || !/^\w{0,40}$/.test(customer)) return 'malformed-row';
  if (/^A\d{6}$/.test(invoice)) return 'bad-debt';
  if (!/^C?\d{6}$/.test(invoice) || !isMoment(at)) return 'malformed-row';
  const sku = code.toUpperCase();
  const quantity = Number(quantityText);
  const cancels = invoice.startsWith('C');
  if (!productCode.test(sku)) return 'not-a-product';
  if (quantity === 0) return 'no-quantity';
  if (Math.abs(quantity) > quantityMax || (cancels && quantity > 0)) return 'malformed-row';
  if (quantity < 0 && !cancels) return 'write-off';
  const price = penceOf(priceText);
  if (price <= 0) return 'no-price';
  return { invoice, sku, name: printable(description), quantity: Math.abs(quantity), price, at, customer: customer || `guest-${invoice.replace('C', '')}`, country: countries.get(country) ?? 'GB' };
}

/** What no product's name can have becomes a space, and what is longer than a name is cut, but not in the middle of a character. */
const printable = (name: string): string => name.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, ' ').slice(0, 200).replace(/[\ud800-\udbff]$/, '').trim();

function isMoment(text: string): boolean {
  if (!/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/.test(text)) return false;
  const iso = `${text.replace(' ', 'T')}.000Z`;
  const time = new Date(iso);
  return !Number.isNaN(time.getTime()) && time.toISOString() === iso;
}

// 2.675 * 100 is 267.49999999999994: a billionth of a penny brings back what binary fractions lose.
const penceOf = (pounds: string): number => Math.round(Number(pounds) * 100 + 1e-9);

export const columns = 'InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country';

/**
 * The cells of each row but the first. In this data a row is one line of text: so a broken quote costs its own row, where a parser of the whole text would take all
 * that follows for one cell. A row that cannot be read has no cells.
 */
export async function* rowsOf(file: string): AsyncGenerator<string[]> {
  let begun = false;
  for await (const line of linesOf(file)) {
    if (begun) {
      if (line !== '') yield cellsOf(line);
      continue;
    }
    if (line.replace(/^\ufeff/, '') !== columns) throw new Invalid(`${file} is not the Online Retail data: its first line must be ${columns}`);
    begun = true;
  }
  if (!begun) throw new Invalid(`${file} is empty`);
}

/** Few rows have a quote; the others need no parser. */
function cellsOf(line: string): string[] {
  if (!line.includes('"')) return line.split(',');
  try {
    return parse(line)[0] ?? [];
  } catch {
    return [];
  }
}

const lineCharsMax = 4_000;

/** The lines of a file that is gzip or plain, which its first bytes tell. Of a line that is too long only the beginning is kept, and it is cut so that it has no eight cells. */
async function* linesOf(file: string): AsyncGenerator<string> {
  const packed = await isPacked(file);
  const bytes = createReadStream(file);
  // The loop below hears of every failure, also of the file's: pipeline hands it on.
  const text = packed ? pipeline(bytes, createGunzip(), () => undefined) : bytes;
  let rest = '';
  for await (const chunk of text.setEncoding('utf8') as AsyncIterable<string>) {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop()!.slice(0, lineCharsMax + 1);
    for (const line of lines) yield whole(line);
  }
  if (rest !== '') yield whole(rest);
}

const whole = (line: string): string => (line.length > lineCharsMax ? '(too long)' : line.endsWith('\r') ? line.slice(0, -1) : line);

async function isPacked(file: string): Promise<boolean> {
  const handle = await open(file);
  try {
    const { buffer } = await handle.read(Buffer.alloc(2), 0, 2, 0);
    return buffer[0] === 0x1f && buffer[1] === 0x8b;
  } finally {
    await handle.close();
  }
}

/** The name that it had most often, but for notes of the staff ("check", "?", "damaged"), which are short or in lower case. */
function bestName(sku: string, names: ReadonlyMap<string, number>): string {
  const [best] = [...names].filter(([name]) => name.length > 4 && name !== name.toLowerCase()).sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1));
  return (best && calmly(best[0])) || sku; // of a name that is all signs nothing is left
}

// Words that keep a capital, as far as the shop sells them; all others are told in lower case.
const capital = /\b(alice|charlie|chinese|christmas|danish|easter|england|english|french|jack|las|lola|london|moroccan|murano|paris|santa|scandinavian|spaceboy|st|suki|swiss|union|vegas|venetian|xmas)\b/g;
const capitals = /\b(diy|iq|led|pc|tv|uk|usb|vip)\b/g;

/** The data shouts. */
export function calmly(name: string): string {
  const low = name.toLowerCase().replace(/^\W+/, '').replace(/\s+/g, ' ').replace(/\s*([,.])\s*$/, '').replace(/\s+,/g, ',').trim();
  const named = low.replace(capital, (word) => word[0]!.toUpperCase() + word.slice(1)).replace(capitals, (word) => word.toUpperCase()).replace(/\bi\b(?= love| can| am)/g, 'I');
  return named.charAt(0).toUpperCase() + named.slice(1);
}

function median(prices: readonly number[]): number {
  const sorted = [...prices].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half]! : Math.round((sorted[half - 1]! + sorted[half]!) / 2);
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

/**
 * The 38 names of the data. `European Community`, `Unspecified` and whatever else is no country are sent to where the shop is; of the two Channel Islands that have a code the
 * larger one is taken.
 */
const countries = new Map(Object.entries({
  Australia: 'AU', Austria: 'AT', Bahrain: 'BH', Belgium: 'BE', Brazil: 'BR', Canada: 'CA', 'Channel Islands': 'JE', Cyprus: 'CY', 'Czech Republic': 'CZ', Denmark: 'DK',
  EIRE: 'IE', Finland: 'FI', France: 'FR', Germany: 'DE', Greece: 'GR', 'Hong Kong': 'HK', Iceland: 'IS', Israel: 'IL', Italy: 'IT', Japan: 'JP', Lebanon: 'LB',
  Lithuania: 'LT', Malta: 'MT', Netherlands: 'NL', Norway: 'NO', Poland: 'PL', Portugal: 'PT', RSA: 'ZA', 'Saudi Arabia': 'SA', Singapore: 'SG', Spain: 'ES', Sweden: 'SE',
  Switzerland: 'CH', USA: 'US', 'United Arab Emirates': 'AE', 'United Kingdom': 'GB',
}));
