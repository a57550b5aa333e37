import { z } from 'zod';

/** Words that several services share. Limits stand here once; lengths are UTF-16 code units. */

// Control characters, and lone surrogates, which no store and no mail can carry.
const unprintable = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/;
export const text = (max: number) =>
  z.string().trim().min(1, 'must not be empty').max(max, `must have at most ${max} characters`).refine((s) => !unprintable.test(s), 'must not contain control characters');

export const Sku = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$/, 'must be 1 to 40 letters, digits, . _ or -').meta({ id: 'Sku', example: '85123A' });
export const OrderId = z.string().regex(/^[0-9a-z]{26}$/, 'must be an order id').meta({ id: 'OrderId', example: '7z1k5v0q2m8x4c6b9n3h5j7g2d' });

export const quantityMax = 1_000_000;
export const Quantity = z.int('must be a whole number').min(1, 'must be at least 1').max(quantityMax, `must be at most ${quantityMax}`);
const amountMax = 1_000_000_000_000;
/** Minor units: pence, cents, yen. */
export const Amount = z.int('must be a whole number of minor units').min(0, 'must not be negative').max(amountMax, `must be at most ${amountMax}`);
/** ISO 4217. */
export const Currency = z.string().regex(/^[A-Z]{3}$/, 'must be an ISO 4217 code');
export const Money = z.object({ amount: Amount, currency: Currency }).meta({ id: 'Money' });
export type Money = z.infer<typeof Money>;

export const Time = z.iso.datetime();

export const Customer = z.object({ name: text(200), email: z.email('must be an e-mail address').max(254) }).meta({ id: 'Customer' });
export type Customer = z.infer<typeof Customer>;

export const Address = z
  .object({
    line1: text(200),
    line2: text(200).optional(),
    city: text(100),
    postcode: text(20),
    country: z.string().regex(/^[A-Z]{2}$/, 'must be an ISO 3166-1 alpha-2 code'),
  })
  .meta({ id: 'Address' });
export type Address = z.infer<typeof Address>;

export const Problem = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string().optional(),
    instance: z.string().optional(),
    errors: z.array(z.object({ pointer: z.string(), detail: z.string() })).optional(),
  })
  .meta({ id: 'Problem', description: 'RFC 9457' });

export const StockStatus = z.enum(['InStock', 'Low', 'OutOfStock']);
export type StockStatus = z.infer<typeof StockStatus>;
