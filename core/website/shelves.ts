import { html, type Html } from '../html.ts';
import { formatMoney } from '../money.ts';
import { quantityMax, type StockStatus } from '../shapes.ts';
import { illustration, type Motif } from './art.ts';
import type { Item, Shelf, Wish } from './catalogue.ts';
import { formatCount, plural, type PageOf } from './pages.ts';

/** The pages on which one looks at products: the catalogue and one product. */

/** As it stands in the address. */
export interface Asked {
  readonly q?: string | undefined;
  readonly after?: string | undefined;
  readonly stock?: Wish['stock'] | undefined;
  readonly min?: string | undefined;
  readonly max?: string | undefined;
  readonly sort?: Wish['sort'] | undefined;
}

/** What the address asks for, as far as it can be read, and what is wrong with the rest. */
export function wishOf({ stock = '', sort = '', min = '', max = '' }: Asked): { readonly wish: Wish; readonly complaint: string | undefined } {
  const [least, most] = [priceIn(min, 0), priceIn(max, Infinity)];
  if (least === undefined || most === undefined) return { wish: { stock, sort }, complaint: 'A price is a number, such as 2.50. This one was left out of the search.' };
  if (least > most) return { wish: { stock, sort }, complaint: 'The lowest price is above the highest, so both were left out of the search.' };
  return { wish: { stock, sort, min: least, max: most }, complaint: undefined };
}

function priceIn(text: string, without: number): number | undefined {
  if (text === '') return without;
  return /^\d{1,9}(?:[.,]\d{1,3})?$/.test(text) ? Number(text.replace(',', '.')) : undefined;
}

export interface CataloguePage {
  readonly shopName: string;
  readonly asked: Asked;
  readonly shelf: Shelf;
  readonly topics: readonly Motif[];
  readonly locale: string;
  readonly complaint: string | undefined;
}

/** What is marked `data-part` the script changes while somebody types. */
export function cataloguePage({ shopName, asked, shelf, topics, locale, complaint }: CataloguePage): PageOf {
  const { items, total, before } = shelf;
  const { q } = asked;
  const searching = q !== undefined && q !== '';
  const range = total > items.length ? `${formatCount(before + 1)}–${formatCount(before + items.length)} of ${formatCount(total)}` : plural(total, 'product');
  const main = html`<div class="headline" data-part="headline"><h1>${searching ? html`Results for “<bdi>${shortened(q)}</bdi>”` : 'All products'}</h1>${total > 0 ? html`<p class="quiet" data-count>${range}</p>` : null}</div>
<div data-part="topics">${topicsOf(topics, q)}</div>
${filters(asked, complaint)}
<div data-part="shelf">${total === 0 ? nothing(asked) : tiles(items.map((item) => tile(item, locale)))}
${pager(shelf, asked)}</div>`;
  return { title: searching ? `“${shortened(q)}”` : shopName, main, q };
}

const stockNames: readonly (readonly [value: string, name: string])[] = [['', 'Any'], ['available', 'In stock'], ['out', 'Out of stock']];
const sortNames: readonly (readonly [value: string, name: string])[] = [['', 'Best match'], ['price', 'Price, low to high'], ['-price', 'Price, high to low'], ['name', 'Name, A to Z']];

function filters({ q, stock, sort, min, max }: Asked, complaint: string | undefined): Html {
  const choice = (name: string, label: string, options: typeof stockNames, chosen = ''): Html =>
    html`<div class="choice"><label for="${name}">${label}</label><select id="${name}" name="${name}" autocomplete="off">${options.map(([value, text]) => html`<option value="${value}"${value === chosen ? html` selected` : null}>${text}</option>`)}</select></div>`;
  const price = (name: string, label: string, value = ''): Html =>
    html`<div class="choice"><label for="${name}">${label}</label><input id="${name}" name="${name}" inputmode="decimal" maxlength="20" autocomplete="off" value="${value}"${complaint === undefined ? null : html` aria-invalid="true"`} aria-describedby="price-complaint"></div>`;
  return html`<form class="filters" action="/" method="get" aria-label="Filter and sort"><input type="hidden" name="q" value="${q}">
${choice('stock', 'Stock', stockNames, stock)}${price('min', 'Price from', min)}${price('max', 'Price to', max)}${choice('sort', 'Sort by', sortNames, sort)}
<button class="button plain">Show</button><div id="price-complaint" data-part="complaint" aria-live="polite">${complaint === undefined ? null : html`<p class="complaint">${complaint}</p>`}</div></form>`;
}

const shortened = (q: string): string => (q.length > 60 ? `${Array.from(q).slice(0, 60).join('')}…` : q);

function topicsOf(topics: readonly Motif[], q: string | undefined): Html | null {
  if (topics.length < 3) return null;
  const chip = ({ word, title }: Motif): Html => html`<li><a href="/?q=${encodeURIComponent(word)}"${word === q?.toLowerCase() ? html` aria-current="true"` : null}>${title}</a></li>`;
  return html`<nav aria-label="Kinds of products"><ul class="chips"><li><a href="/"${q ? null : html` aria-current="true"`}>Everything</a></li>${topics.map(chip)}</ul></nav>`;
}

function nothing({ q, stock, min, max }: Asked): Html {
  const narrow = [stock, min, max].some((each) => each !== undefined && each !== '');
  if (!q && !narrow) return html`<div class="message"><h2>The shelves are still empty</h2><p>As soon as there are products, they appear here.</p></div>`;
  const advice = narrow ? 'Nothing fits all that you asked for. A wider price range or any stock shows more.' : 'Every word has to occur in a product’s name or number. Fewer words find more.';
  return html`<div class="message"><h2>Nothing found</h2><p>${advice}</p><p>${narrow && q ? html`<a class="button" href="/?q=${encodeURIComponent(q)}">Search without filters</a>` : html`<a class="button" href="/">Show all products</a>`}</p></div>`;
}

/** One form for all of them, whose buttons say which product: a form for each would cost the first paint more than all the pictures. */
const tiles = (each: readonly Html[]): Html => html`<form method="post" action="/basket" data-add><input type="hidden" name="do" value="add"><ul class="tiles">${each}</ul></form>`;

function tile(item: Item, locale: string, below = false): Html {
  const { sku, name, price, stock, motif } = item;
  const link = html`<a href="/products/${sku}"><bdi>${name}</bdi></a>`;
  return html`<li class="tile"><div class="picture">${illustration(sku, name, motif)}</div>
<div class="text">${below ? html`<h3>${link}</h3>` : html`<h2>${link}</h2>`}
<p class="price">${formatMoney(price, locale)}</p>${badge(stock)}</div>
<button class="add" name="sku" value="${sku}" aria-label="Add ${name} to the basket">${plus}</button></li>
`;
}
const plus = html`<svg class="line" viewBox="0 0 20 20" aria-hidden="true" focusable="false"><path class="plus" d="M10 4v12M4 10h12"/><path class="tick" d="M4 10.5l4 4 8-9"/></svg>`;

const words: Readonly<Record<StockStatus, string>> = { InStock: 'In stock', Low: 'Low stock', OutOfStock: 'Out of stock' };
const badge = (stock: StockStatus): Html => html`<p class="stock ${stock}">${words[stock]}</p>`;

function pager({ next, previous, items }: Shelf, asked: Asked): Html | null {
  if (next === undefined && previous === undefined) return null;
  const address = (after: string): string => {
    const query = new URLSearchParams(Object.entries({ ...asked, after }).filter(([, value]) => value !== undefined && value !== '') as [string, string][]).toString();
    return query === '' ? '/' : `/?${query}`;
  };
  return html`<nav class="pager" aria-label="Pages">${previous === undefined ? html`<span></span>` : html`<a class="button plain" rel="prev" href="${address(previous)}">← Previous</a>`}
${next === undefined || items.length === 0 ? null : html`<a class="button plain" rel="next" href="${address(next)}">Next →</a>`}</nav>`;
}

const meanings: Readonly<Record<StockStatus, string>> = {
  InStock: 'Ready to leave.',
  Low: 'Only a few are left.',
  OutOfStock: 'You can order it all the same: your order waits for stock, and leaves as soon as all of it is here.',
};

export function productPage({ sku, name, description, price, stock, motif }: Item, related: readonly Item[], locale: string): PageOf {
  const main = html`<nav class="crumbs" aria-label="Breadcrumb"><a href="/">All products</a>${motif ? html` <span aria-hidden="true">/</span> <a href="/?q=${motif.word}">${motif.title}</a>` : null}</nav>
<article class="product"><div class="picture">${illustration(sku, name, motif)}</div>
<div class="about"><h1><bdi>${name}</bdi></h1>
<p class="price">${formatMoney(price, locale)}</p>
<div class="availability">${badge(stock)}<p>${meanings[stock]}</p></div>
<form class="buy" method="post" action="/basket" data-add><input type="hidden" name="do" value="add"><input type="hidden" name="sku" value="${sku}">
<label for="quantity">Quantity</label><input id="quantity" name="quantity" type="number" inputmode="numeric" min="1" max="${quantityMax}" step="1" value="1" required>
<button class="button">Add to basket</button></form>
${description === '' ? null : html`<div class="description"><h2>About it</h2>${description.split(/\n{2,}/).map((paragraph) => html`<p dir="auto">${paragraph}</p>`)}</div>`}
<dl class="facts"><dt>Product number</dt><dd>${sku}</dd></dl></div></article>
${related.length === 0 ? null : html`<section class="related" aria-labelledby="related"><h2 id="related">You may also like</h2>${tiles(related.map((item) => tile(item, locale, true)))}</section>`}`;
  return { title: name, main };
}
