import { isPortError, key, put, partitionsOf, type Page, type Row } from '../../ports/index.ts';
import { collections } from '../flow.ts';
import { backOff } from '../kernel/execute.ts';
import { inUnits } from '../money.ts';
import type { Kernel } from '../kernel/service.ts';
import type { ProductInfoUpdated, ProductView } from '../product/events.ts';
import { motifOf, type Motif } from './art.ts';

/**
 * THE CATALOGUE: the website's own copy of the products, as of its last poll of ProductInfoUpdated.
 *
 * - One row a product. The newest version wins, in whatever order the events come and however often.
 * - It is read far more often than it changes. So each process keeps it in memory in the order in which it is shown, reads it anew after a poll that
 *   changed something, and otherwise every few seconds, behind the reader's back: another instance may have polled.
 */
export interface Catalogue {
  /** By name. */
  readonly items: readonly Item[];
  readonly bySku: ReadonlyMap<string, Item>;
  /** What there is much of, the most first. */
  readonly topics: readonly Motif[];
}

export interface Item extends ProductView {
  /** What a search looks at: without case and accents. */
  readonly foldedName: string;
  readonly foldedAll: string;
  /** With a letter. */
  readonly begins: boolean;
  readonly motif: Motif | undefined;
}

const [partition] = partitionsOf(collections.catalogue) as [string];
const itemKey = (sku: string): string => key('item', sku);
const triesMax = 12;

export async function putProduct(kernel: Kernel, product: ProductInfoUpdated): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const row = await kernel.store.get<ProductView>(partition, itemKey(product.sku));
    if (row && row.body.version >= product.version) return;
    try {
      await kernel.store.commit(partition, { writes: [put(row, itemKey(product.sku), product)] });
      cacheOf(kernel).changed = true;
      return;
    } catch (error) {
      if (!isPortError(error, 'conflict') || attempt === triesMax) throw error;
      await backOff(kernel, attempt, error);
    }
  }
}

// ---------------------------------------------------------------- in memory

interface Cache {
  shown?: Catalogue;
  /** Every item with the version of its row, so that only what has changed is prepared anew. */
  prepared: Map<string, { readonly version: string; readonly item: Item }>;
  /** Milliseconds since 1970. */
  readAt: number;
  changed: boolean;
  reading?: Promise<Catalogue>;
}

const caches = new WeakMap<Kernel, Cache>();
const readAgainMilliseconds = 5_000;
const topicsMax = 9;

function cacheOf(kernel: Kernel): Cache {
  let cache = caches.get(kernel);
  if (!cache) caches.set(kernel, (cache = { prepared: new Map(), readAt: 0, changed: false }));
  return cache;
}

export async function catalogueOf(kernel: Kernel): Promise<Catalogue> {
  const cache = cacheOf(kernel);
  if (!cache.shown) return readOnce(kernel, cache);
  if (kernel.clock.now() - cache.readAt >= readAgainMilliseconds) {
    cache.readAt = kernel.clock.now(); // a store that is down is asked every few seconds, not with every page
    readOnce(kernel, cache).catch((error: unknown) => kernel.log.warn({ error }, 'the catalogue could not be read; the last one is shown'));
  }
  return cache.shown;
}

/** After a poll: if it changed something, that is what is shown from now on. */
export async function showChanges(kernel: Kernel): Promise<void> {
  const cache = cacheOf(kernel);
  if (!cache.changed) return;
  await cache.reading?.catch(() => undefined); // it may have begun before the change
  await readOnce(kernel, cache);
}

function readOnce(kernel: Kernel, cache: Cache): Promise<Catalogue> {
  cache.reading ??= read(kernel, cache).finally(() => delete cache.reading);
  return cache.reading;
}

async function read(kernel: Kernel, cache: Cache): Promise<Catalogue> {
  cache.changed = false;
  const prepared: Cache['prepared'] = new Map();
  try {
    let cursor: string | undefined;
    do {
      const more = cursor === undefined ? {} : { cursor };
      const page: Page<ProductView> = await kernel.store.query<ProductView>(partition, { prefix: key('item', ''), limit: 1_000, ...more });
      for (const row of page.rows) prepared.set(row.body.sku, preparedOf(row, cache.prepared.get(row.body.sku)));
      cursor = page.next;
    } while (cursor !== undefined);
  } catch (error) {
    cache.changed = true;
    throw error;
  }
  const items = [...prepared.values()].map(({ item }) => item).sort(byName);
  cache.prepared = prepared;
  cache.readAt = kernel.clock.now();
  cache.shown = { items, bySku: new Map(items.map((item) => [item.sku, item])), topics: topicsOf(items) };
  return cache.shown;
}

function preparedOf({ version, body }: Row<ProductView>, known: { version: string; item: Item } | undefined): { version: string; item: Item } {
  if (known?.version === version) return known;
  const foldedName = folded(body.name);
  const foldedAll = `${foldedName} ${folded(body.sku)}`;
  return { version, item: { ...body, foldedName, foldedAll, begins: /^\p{L}/u.test(foldedName), motif: motifOf(body.name) } };
}

/** Names that begin with a letter come before `12 pencils` and `*fan`. */
const byName = (a: Item, b: Item): number => {
  if (a.begins !== b.begins) return a.begins ? -1 : 1;
  return a.foldedName < b.foldedName ? -1 : a.foldedName > b.foldedName ? 1 : a.sku < b.sku ? -1 : 1;
};

function topicsOf(items: readonly Item[]): Motif[] {
  const counts = new Map<Motif, number>();
  // Counted is what a search for the topic's word will find.
  for (const { motif, foldedName } of items) if (motif && foldedName.includes(motif.word)) counts.set(motif, (counts.get(motif) ?? 0) + 1);
  return [...counts].sort(([, a], [, b]) => b - a).slice(0, topicsMax).map(([motif]) => motif);
}

// ---------------------------------------------------------------- search

export const tilesPerPage = 24;

export interface Shelf {
  readonly items: readonly Item[];
  /** How many fit the search, and how many of them come before this page. */
  readonly total: number;
  readonly before: number;
  /** The sku behind which the next page begins, and the one behind which the page before this one does ('' is the first page). */
  readonly next?: string;
  readonly previous?: string;
}

/** A page of what fits: all words must occur in name or sku. Names that begin with the query come first, then those with a word that does. */
export function searched({ items }: Catalogue, q: string | undefined, after: string | undefined, wish: Wish = {}): Shelf {
  const found = arranged(narrowed(q === undefined || q === '' ? items : ranked(items, folded(q)), wish), wish);
  const before = after === undefined ? 0 : found.findIndex(({ sku }) => sku === after) + 1;
  const end = before + tilesPerPage;
  return {
    items: found.slice(before, end),
    total: found.length,
    before,
    ...(end < found.length ? { next: found[end - 1]!.sku } : {}),
    ...(before > 0 ? { previous: found[before - tilesPerPage - 1]?.sku ?? '' } : {}),
  };
}

export const sorts = ['', 'price', '-price', 'name'] as const;
export const stocks = ['', 'available', 'out'] as const;

/** What else somebody asks of what he looks for. Prices are in units of each product's own currency. */
export interface Wish {
  readonly stock?: (typeof stocks)[number];
  readonly min?: number;
  readonly max?: number;
  readonly sort?: (typeof sorts)[number];
}

function narrowed(items: readonly Item[], { stock = '', min = 0, max = Infinity }: Wish): readonly Item[] {
  if (stock === '' && min === 0 && max === Infinity) return items;
  return items.filter((item) => {
    if (stock !== '' && (item.stock === 'OutOfStock') !== (stock === 'out')) return false;
    const price = inUnits(item.price);
    return price >= min && price <= max;
  });
}

/** Without a wish as it was found: by name, or the best of a search first. */
function arranged(items: readonly Item[], { sort = '' }: Wish): readonly Item[] {
  if (sort === '') return items;
  if (sort === 'name') return [...items].sort(byName);
  const way = sort === 'price' ? 1 : -1;
  return [...items].sort((a, b) => way * (inUnits(a.price) - inUnits(b.price)));
}

const relatedMax = 4;

/** What is like a product: of its kind, or with words of its name; what can leave at once comes first among equals. */
export function relatedTo({ items }: Pick<Catalogue, 'items'>, item: Item): readonly Item[] {
  const words = item.foldedName.split(/[^\p{L}\p{N}]+/u).filter((word) => word.length > 3).slice(0, 12);
  const likeness = (other: Item): number =>
    (item.motif !== undefined && other.motif === item.motif ? 3 : 0) + words.filter((word) => other.foldedName.includes(word)).length + (other.stock === 'OutOfStock' ? 0 : 0.5);
  return items
    .filter(({ sku }) => sku !== item.sku)
    .map((other) => ({ other, like: likeness(other) }))
    .filter(({ like }) => like >= 1)
    .sort((a, b) => b.like - a.like)
    .slice(0, relatedMax)
    .map(({ other }) => other);
}

function ranked(items: readonly Item[], q: string): Item[] {
  const words = q.split(/\s+/).filter((word) => word !== '');
  const ranks: [Item[], Item[], Item[]] = [[], [], []];
  for (const item of items) {
    if (!words.every((word) => item.foldedAll.includes(word))) continue;
    const rank = item.foldedName.startsWith(q) ? 0 : words.some((word) => ` ${item.foldedAll}`.includes(` ${word}`)) ? 1 : 2;
    ranks[rank].push(item);
  }
  return ranks.flat();
}

function folded(text: string): string {
  return text.normalize('NFKD').replace(/\p{M}+/gu, '').toLowerCase().trim();
}
