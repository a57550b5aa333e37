import { html, type Html } from '../html.ts';
import type { StockView } from '../inventory/events.ts';
import { formatMoney, minorOf, typedPrice } from '../money.ts';
import type { ProductView } from '../product/events.ts';
import { alert, chip, clipped, count, done, field, nothing, pager, skuLink, table, untouched, type May, type PageOf, type Tone, type Typed } from './shape.ts';
import type { Found } from './orders.ts';

/** PRODUCTS AND STOCK: what is there, what has arrived, and what is told of it. */

export interface Shelved {
  readonly product: ProductView;
  /** Absent: nothing was ever received of it. */
  readonly stock?: StockView;
}
export interface Asked {
  readonly q?: string;
  readonly after?: string;
}

const tones: Readonly<Record<ProductView['stock'], Tone>> = { InStock: 'good', Low: 'warn', OutOfStock: 'bad' };
const words: Readonly<Record<ProductView['stock'], string>> = { InStock: 'in stock', Low: 'low', OutOfStock: 'out of stock' };
const stockChip = ({ stock }: ProductView): Html => chip(tones[stock], words[stock]);

export function productsPage({ q = '', after }: Asked, { items, next }: Found<Shelved>, wrongSku?: string): PageOf {
  const rows = items.map(({ product, stock }) => [
    html`<a href="/console/products/${product.sku}"><bdi>${clipped(product.name, 120)}</bdi></a><br><span class="quiet number">${product.sku}</span>`, stockChip(product),
    count(stock?.available ?? 0), count(stock?.reserved ?? 0), count(stock?.shipped ?? 0), formatMoney(product.price),
  ]);
  const empty = q === '' ? nothing('No products yet', 'Describe the first one below.') : nothing('No product fits', html`Nothing is found for “<bdi>${clipped(q, 60)}</bdi>”. <a href="/console/products">All products</a>`);
  const main = html`<div class="headline"><h1>Products and stock</h1></div>
<form class="bar" role="search" action="/console/products" method="get"><div class="field"><label for="q">A part of the name, or the sku</label><input id="q" name="q" type="search" value="${q}" maxlength="200" autocomplete="off" dir="auto"></div><button class="button">Search</button></form>
${items.length === 0 ? empty : html`<div class="card">${table('Products', ['Product', 'Shown as', 'Available#', 'Reserved#', 'Shipped#', 'Price#'], rows)}</div>`}
${pager('/console/products', { q, after }, next)}
<form class="card bar" action="/console/products" method="get">${field({ name: 'sku', label: 'Open or describe a product by its sku', max: 40 }, { values: {}, complaints: wrongSku === undefined ? {} : { sku: 'must be 1 to 40 letters, digits, . _ or -' } })}<button class="button plain">Open</button></form>`;
  return { title: 'Products', here: 'products', main };
}

// ---------------------------------------------------------------- one product

export interface Opened {
  readonly sku: string;
  /** Absent: nobody has described it yet. */
  readonly product?: ProductView;
  readonly stock?: StockView;
  /** Of the form for a receipt: the same form sent twice is one receipt. */
  readonly key: string;
  readonly receipt?: Typed;
  readonly description?: Typed;
  readonly said?: string;
}

export function productPage({ sku, product, stock, key, receipt = untouched, description = untouched, said }: Opened, may: May): PageOf {
  const main = html`<p class="crumbs"><a href="/console/products">Products</a></p>
<div class="headline"><h1>${product ? html`<bdi>${product.name}</bdi>` : html`A new product: <span class="number">${sku}</span>`}</h1>${product ? html`<p><a class="button plain" href="/products/${sku}">In the shop</a></p>` : null}</div>
${done(said)}
<div class="split even"><section class="card" aria-labelledby="stock"><h2 id="stock">Stock of <span class="number">${sku}</span></h2>${product ? stockOf(stock, product) : html`<p>Describe it first; then stock can be received.</p>`}
${product && may.operate ? receiptForm(sku, key, receipt, may) : null}</section>
<section class="card" aria-labelledby="described"><h2 id="described">What customers see</h2>${may.operate ? descriptionForm(sku, product, description, may) : product ? described(product) : html`<p class="quiet">Nobody has described this product.</p>`}</section></div>`;
  return { title: product ? clipped(product.name, 60) : sku, here: 'products', main };
}

function stockOf(stock: StockView | undefined, product: ProductView): Html {
  const { received = 0, available = 0, reserved = 0, shipped = 0 } = stock ?? {};
  return html`<ul class="tiles small"><li><span class="n">${count(available)}</span><span class="what">available</span></li><li><span class="n">${count(reserved)}</span><span class="what">reserved</span></li><li><span class="n">${count(shipped)}</span><span class="what">shipped</span></li><li><span class="n">${count(received)}</span><span class="what">received in all</span></li></ul>
${bars(available, reserved, shipped)}<p>Customers see: ${stockChip(product)}</p>`;
}

/** How what was received is divided. */
function bars(available: number, reserved: number, shipped: number): Html | null {
  const all = available + reserved + shipped;
  if (all === 0) return null;
  const at = (n: number): number => Math.round((n / all) * 1_000) / 10;
  const [a, r] = [at(available), at(reserved)];
  return html`<svg class="share" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true" focusable="false"><rect class="shipped" width="100" height="4"/><rect class="reserved" width="${a + r}" height="4"/><rect class="available" width="${a}" height="4"/></svg>`;
}

function receiptForm(sku: string, key: string, typed: Typed, { seal }: May): Html {
  return html`<form method="post" action="/console/products/${sku}/receipts" data-once novalidate>${seal}<input type="hidden" name="key" value="${key}">${alert(typed.complaints[''])}
<h3>Stock has arrived</h3>${field({ name: 'quantity', label: 'How many', type: 'number', max: 9 }, typed)}<button class="button">Receive</button><p class="quiet">Orders that wait for it go on by themselves, the eldest first.</p></form>`;
}

function descriptionForm(sku: string, product: ProductView | undefined, typed: Typed, { seal }: May): Html {
  const { name, description, price } = product ?? {};
  return html`<form method="post" action="/console/products/${sku}" data-once novalidate>${seal}${alert(typed.complaints[''])}
${field({ name: 'name', label: 'Name', value: name ?? '', max: 200 }, typed)}${field({ name: 'description', label: 'Description', value: description ?? '', max: 2_000, optional: true, long: true }, typed)}
<div class="pair">${field({ name: 'price', label: 'Price', value: price ? typedPrice(price) : '', type: 'number', max: 18 }, typed)}${field({ name: 'currency', label: 'Currency', value: price?.currency ?? 'GBP', max: 3, hint: 'Three letters, as GBP' }, typed)}</div>
<button class="button">${product ? 'Save' : 'Create'}</button>${product ? html`<p class="quiet">Version ${count(product.version)}. The shop shows it within seconds.</p>` : null}</form>`;
}

const described = ({ sku, description, price, version }: ProductView): Html =>
  html`<p>${skuLink(sku)}, ${formatMoney(price)}</p><p class="pre"><bdi>${description === '' ? 'No description.' : description}</bdi></p><p class="quiet">Version ${count(version)}</p>`;

// ---------------------------------------------------------------- what was typed

type Values = Readonly<Record<string, string>>;
type Asking<Body> = { readonly body: Body } | { readonly complaints: Readonly<Record<string, string>> };

/** Only what the API could not see is looked at here: everything else it says itself. */
export function receiptOf({ quantity = '' }: Values): Asking<{ quantity: number }> {
  return /^\d{1,9}$/.test(quantity.trim()) ? { body: { quantity: Number(quantity.trim()) } } : { complaints: { quantity: 'must be a whole number' } };
}

export function descriptionOf({ name = '', description = '', price = '', currency = '' }: Values): Asking<{ name: string; description: string; price: { amount: number; currency: string } }> {
  const money = currency.trim().toUpperCase();
  if (!/^[A-Z]{3}$/.test(money)) return { complaints: { currency: 'must be an ISO 4217 code' } };
  const amount = minorOf(price, money);
  return amount === undefined ? { complaints: { price: `must be a price in ${money}, as ${typedPrice({ amount: 255, currency: money })}` } } : { body: { name, description, price: { amount, currency: money } } };
}
