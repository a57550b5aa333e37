import { z } from 'zod';
import { Money, Sku, StockStatus, text } from '../shapes.ts';

/** The words of Product Management. */

/** Something that a customer sees has changed. `version` counts such changes per product. */
export const ProductInfoUpdated = z.object({
  sku: Sku,
  name: text(200),
  description: z.string().max(2_000),
  price: Money,
  stock: StockStatus,
  version: z.int().min(1),
});
export type ProductInfoUpdated = z.infer<typeof ProductInfoUpdated>;

export const DescribeProduct = z.object({ name: text(200), description: z.string().trim().max(2_000).default(''), price: Money }).meta({ id: 'DescribeProduct' });
export type DescribeProduct = z.infer<typeof DescribeProduct>;

/** Product's own view, and what it publishes to those who sell: the price that counts is the one in here. */
export const ProductView = ProductInfoUpdated.meta({ id: 'Product' });
export type ProductView = ProductInfoUpdated;
