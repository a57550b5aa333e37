import { readFile } from 'node:fs/promises';
import { collections } from '../core/flow.ts';
import { receiveStock } from '../core/inventory/index.ts';
import { execute } from '../core/kernel/execute.ts';
import type { Kernel } from '../core/kernel/service.ts';
import { products } from '../core/product/product.ts';
import { create, key, partitionOf } from '../ports/index.ts';

/** A product of bench/samples/products.json: real ones, with a stock that fits the real demand. */
export interface Sample {
  readonly sku: string;
  readonly name: string;
  readonly description: string;
  /** Minor units of GBP. */
  readonly price: number;
  readonly stock: number;
}

/**
 * Fills an empty store with real sample products and their stock, once. It is noted when all is done, and each receipt has a key of its own, so a start that is
 * killed half-way is made good by the next. Answers how many products are new.
 */
export async function loadSamples(kernel: Kernel): Promise<number> {
  const done = key('samples');
  const partition = partitionOf(collections.meta, done);
  if (await kernel.store.get(partition, done)) return 0;
  const samples = JSON.parse(await readFile(new URL('../bench/samples/products.json', import.meta.url), 'utf8')) as { products: Sample[] };
  await Promise.all(samples.products.map((sample) => load(kernel, sample)));
  await kernel.store.commit(partition, { writes: [create(done, {})] });
  return samples.products.length;
}

async function load(kernel: Kernel, { sku, name, description, price, stock }: Sample): Promise<void> {
  await execute(kernel, products, { id: sku, command: { do: 'describe', sku, info: { name, description, price: { amount: price, currency: 'GBP' } } } });
  if (stock > 0) await receiveStock(kernel, sku, stock, `sample-${sku}`);
}
