import { isRefusal, key, partitionOf, partsOf, refuse, type Row } from '../../ports/index.ts';
import { collections } from '../flow.ts';
import type { StockLevel } from '../inventory/events.ts';
import { execute, executeAll, type Document } from '../kernel/execute.ts';
import { list } from '../kernel/list.ts';
import { causeOf, type Cause } from '../kernel/model.ts';
import type { Kernel, Reply, Service } from '../kernel/service.ts';
import type { ProductView } from './events.ts';
import { products, viewOf, type Product } from './product.ts';

/** PRODUCT MANAGEMENT: what is sold, at which price, and whether there is stock. */

export const product: Service<'product'> = {
  name: 'product',

  hears: {
    InventoryReserved: (kernel, message) => note(kernel, message.data.lines, causeOf(message)),
    StockChanged: (kernel, message) => note(kernel, message.data.levels, causeOf(message)),
  },

  answers: {
    async listProducts(kernel, { query }): Promise<Reply> {
      const keep = ({ state }: Document<Product>, sku: string): boolean => state.name !== undefined && matches(`${sku} ${state.name}`, query.q);
      const { items, next } = await list<Document<Product>>(kernel.store, { collection: collections.products, noun: 'product', limit: query.limit, after: query.after, keep });
      return { status: 200, json: { items: items.map(viewOfRow), next } };
    },
    async getProduct(kernel, { params }): Promise<Reply> {
      const found = (await publishedProducts(kernel, [params.sku])).get(params.sku);
      return found ? { status: 200, json: found } : refuse(404, 'not-found', 'there is no such product');
    },
    async describeProduct(kernel, { params: { sku }, body }): Promise<Reply> {
      const outcome = await execute(kernel, products, { id: sku, command: { do: 'describe', sku, info: body } });
      if (isRefusal(outcome)) return outcome;
      const created = outcome.facts.length > 0 && outcome.state.version === 1;
      return { status: created ? 201 : 200, json: viewOf(sku, outcome.state), headers: { location: `/api/products/${sku}` } };
    },
  },

  ticks: {},
};

async function note(kernel: Kernel, levels: readonly StockLevel[], cause: Cause): Promise<void> {
  const { lowStockAt } = kernel.settings;
  const jobs = levels.map(({ sku, available, stockVersion }) => ({ id: sku, command: { do: 'note' as const, level: { sku, available, stockVersion }, lowStockAt } }));
  await executeAll(kernel, products, jobs, cause);
}

/** What this service publishes about these products: the price view that counts for an order. */
export async function publishedProducts(kernel: Pick<Kernel, 'store'>, skus: readonly string[]): Promise<Map<string, ProductView>> {
  const rows = await Promise.all(skus.map((sku) => kernel.store.get<Document<Product>>(partitionOf(collections.products, sku), key('product', sku))));
  return new Map(rows.flatMap((row, i) => (row?.body.state.name === undefined ? [] : [[skus[i]!, viewOf(skus[i]!, row.body.state)]])));
}

/** Says ProductInfoUpdated of everything once more, for a listener that has lost its place. Page by page: others go on meanwhile. */
export async function sayProductsAgain(kernel: Kernel): Promise<void> {
  let after: string | undefined;
  do {
    const page = await list<Document<Product>>(kernel.store, { collection: collections.products, noun: 'product', limit: 200, after });
    const jobs = page.items.map((row) => ({ id: skuOf(row), command: { do: 'sayAgain' as const, sku: skuOf(row) } }));
    await executeAll(kernel, products, jobs);
    after = page.next;
  } while (after !== undefined);
}

const skuOf = (row: Row): string => partsOf(row.key)[1]!;
const viewOfRow = (row: Row<Document<Product>>): ProductView => viewOf(skuOf(row), row.body.state);

/** All words of the search occur in the text. */
function matches(text: string, q: string | undefined): boolean {
  if (!q) return true;
  const lower = text.toLowerCase();
  return q.toLowerCase().split(/\s+/).every((word) => lower.includes(word));
}
