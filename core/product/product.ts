import type { Refusal } from '../../ports/index.ts';
import { collections } from '../flow.ts';
import type { StockLevel } from '../inventory/events.ts';
import type { Fact, Model } from '../kernel/model.ts';
import type { Money, StockStatus } from '../shapes.ts';
import type { DescribeProduct, ProductInfoUpdated, ProductView } from './events.ts';

/**
 * A PRODUCT: its information and its stock status. It says ProductInfoUpdated only when something that a customer sees has changed; of the stock that is the status,
 * never the number. Levels come on several keys of a stream, so only a higher version of the stock counts.
 */
export interface Product {
  readonly name?: string;
  readonly description: string;
  readonly price: Money;
  readonly stock: StockStatus;
  readonly available: number;
  readonly stockVersion: number;
  /** Counts the changes that customers see. */
  readonly version: number;
}

export type ProductCommand =
  | { readonly do: 'describe'; readonly sku: string; readonly info: DescribeProduct }
  | { readonly do: 'note'; readonly level: StockLevel; readonly lowStockAt: number }
  | { readonly do: 'sayAgain'; readonly sku: string };

export const products: Model<Product, ProductCommand> = {
  service: 'product',
  collection: collections.products,
  noun: 'product',
  initial: { description: '', price: { amount: 0, currency: 'XXX' }, stock: 'OutOfStock', available: 0, stockVersion: 0, version: 0 },
  remembers: 'state',
  decide,
  evolve,
};

function decide(product: Product, command: ProductCommand): readonly Fact[] | Refusal {
  switch (command.do) {
    case 'describe':
      return describe(product, command.sku, command.info);
    case 'note':
      return note(product, command.level, command.lowStockAt);
    case 'sayAgain':
      return product.name === undefined ? [] : [updated(viewOf(command.sku, product))];
  }
}

function describe(product: Product, sku: string, info: DescribeProduct): Fact[] {
  const { name, description, price } = product;
  const same = name === info.name && description === info.description && price.amount === info.price.amount && price.currency === info.price.currency;
  return same ? [] : [updated({ sku, ...info, stock: product.stock, version: product.version + 1 })];
}

function note(product: Product, level: StockLevel, lowStockAt: number): Fact[] {
  if (level.stockVersion <= product.stockVersion) return [];
  const stock = stockStatus(level.available, lowStockAt);
  const noted: Fact = { type: 'StockNoted', data: { available: level.available, stockVersion: level.stockVersion, stock } };
  // A level may come before the product itself is known; then it is kept, and there is nothing yet that a customer could see.
  if (product.name === undefined || stock === product.stock) return [noted];
  return [noted, updated({ ...viewOf(level.sku, product), stock, version: product.version + 1 })];
}

const updated = (data: ProductInfoUpdated): Fact => ({ type: 'ProductInfoUpdated', data });

export function stockStatus(available: number, lowStockAt: number): StockStatus {
  if (available <= 0) return 'OutOfStock';
  return available <= lowStockAt ? 'Low' : 'InStock';
}

function evolve(product: Product, { type, data }: Fact): Product {
  if (type === 'StockNoted') return { ...product, ...(data as Pick<Product, 'available' | 'stockVersion' | 'stock'>) };
  const { name, description, price, stock, version } = data as ProductInfoUpdated;
  return { ...product, name, description, price, stock, version };
}

/** Only for a product that has been described. */
export function viewOf(sku: string, { name = '', description, price, stock, version }: Product): ProductView {
  return { sku, name, description, price, stock, version };
}
