import { html, type Html } from '../html.ts';
import { formatMoney } from '../money.ts';
import { quantityMax, type StockStatus } from '../shapes.ts';
import { illustration, type Motif } from './art.ts';
import type { Item, Shelf } from './catalogue.ts';
import { formatCount, plural, type PageOf } from './pages.ts';

/** The pages on which one looks at products: the catalogue and one product. */

export interface CataloguePage {
  readonly shopName: string;
  readonly q: string | undefined;
  readonly shelf: Shelf;
  readonly topics: readonly Motif[];
}

export function cataloguePage({ shopName, q, shelf, topics }: CataloguePage): PageOf {
  const { items, total, before } = shelf;
  const searching = q !== undefined && q !== '';
  const range = total > items.length ? `${formatCount(before + 1)}–${formatCount(before + items.length)} of ${formatCount(total)}` : plural(total, 'product');
  const main = html`<div class="headline"><h1>${searching ? html`Results for “<bdi>${shortened(q)}</bdi>”` : 'All products'}</h1>${total > 0 ? html`<p class="quiet">${range}</p>` : null}</div>
${topicsOf(topics, q)}
${total === 0 ? nothing(searching) : html`<ul class="tiles">${items.map(tile)}</ul>`}
${pager(shelf, q)}`;
  return { title: searching ? `“${shortened(q)}”` : shopName, main, q };
}

const shortened = (q: string): string => (q.length > 60 ? `${Array.from(q).slice(0, 60).join('')}…` : q);

function topicsOf(topics: readonly Motif[], q: string | undefined): Html | null {
  if (topics.length < 3) return null;
  const chip = ({ word, title }: Motif): Html => html`<li><a href="/?q=${encodeURIComponent(word)}"${word === q?.toLowerCase() ? html` aria-current="true"` : null}>${title}</a></li>`;
  return html`<nav aria-label="Kinds of products"><ul class="chips"><li><a href="/"${q ? null : html` aria-current="true"`}>Everything</a></li>${topics.map(chip)}</ul></nav>`;
}

function nothing(searching: boolean): Html {
  if (!searching) return html`<div class="message"><h2>The shelves are still empty</h2><p>As soon as there are products, they appear here.</p></div>`;
  return html`<div class="message"><h2>Nothing found</h2><p>Every word has to occur in a product’s name or number. Fewer words find more.</p><p><a class="button" href="/">Show all products</a></p></div>`;
}

function tile(item: Item): Html {
  const { sku, name, price, stock, motif } = item;
  return html`<li class="tile"><div class="picture">${illustration(sku, name, motif)}</div>
<div class="text"><h2><a href="/products/${sku}"><bdi>${name}</bdi></a></h2>
<p class="price">${formatMoney(price)}</p>${badge(stock)}</div>
<form method="post" action="/basket" data-add><input type="hidden" name="do" value="add"><input type="hidden" name="sku" value="${sku}"><button class="add" aria-label="Add ${name} to the basket">${plus}</button></form></li>
`;
}
const plus = html`<svg class="line" viewBox="0 0 20 20" aria-hidden="true" focusable="false"><path class="plus" d="M10 4v12M4 10h12"/><path class="tick" d="M4 10.5l4 4 8-9"/></svg>`;

const words: Readonly<Record<StockStatus, string>> = { InStock: 'In stock', Low: 'Low stock', OutOfStock: 'Out of stock' };
const badge = (stock: StockStatus): Html => html`<p class="stock ${stock}">${words[stock]}</p>`;

function pager({ next, previous, items }: Shelf, q: string | undefined): Html | null {
  if (next === undefined && previous === undefined) return null;
  const address = (after: string): string => {
    const query = new URLSearchParams({ ...(q ? { q } : {}), ...(after === '' ? {} : { after }) }).toString();
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

export function productPage({ sku, name, description, price, stock, motif }: Item): PageOf {
  const main = html`<nav class="crumbs" aria-label="Breadcrumb"><a href="/">All products</a>${motif ? html` <span aria-hidden="true">/</span> <a href="/?q=${motif.word}">${motif.title}</a>` : null}</nav>
<article class="product"><div class="picture">${illustration(sku, name, motif)}</div>
<div class="about"><h1><bdi>${name}</bdi></h1>
<p class="price">${formatMoney(price)}</p>
<div class="availability">${badge(stock)}<p>${meanings[stock]}</p></div>
<form class="buy" method="post" action="/basket" data-add><input type="hidden" name="do" value="add"><input type="hidden" name="sku" value="${sku}">
<label for="quantity">Quantity</label><input id="quantity" name="quantity" type="number" inputmode="numeric" min="1" max="${quantityMax}" step="1" value="1" required>
<button class="button">Add to basket</button></form>
${description === '' ? null : html`<div class="description"><h2>About it</h2>${description.split(/\n{2,}/).map((paragraph) => html`<p dir="auto">${paragraph}</p>`)}</div>`}
<dl class="facts"><dt>Product number</dt><dd>${sku}</dd></dl></div></article>`;
  return { title: name, main };
}
