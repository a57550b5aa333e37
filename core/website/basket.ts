import { Sku, quantityMax } from '../shapes.ts';

/**
 * THE BASKET lives in a cookie of the customer's browser and nowhere else: sku and quantity, never a price. Whoever sends the cookie may have written it
 * himself, so whatever does not read as a basket is no basket.
 */
export type Basket = ReadonlyMap<string, number>;

/** 60 of the longest lines, percent-encoded, stay below the 4,096 bytes that browsers keep (RFC 6265, section 6.1). */
export const basketLinesMax = 60;
const cookieCharactersMax = 4_096;
const daysKept = 30;

/** Of a `Cookie` header. */
export function readBasket(cookies: string | undefined): Basket {
  const basket = new Map<string, number>();
  const text = /(?:^|;)\s*basket=([^;]*)/.exec(cookies ?? '')?.[1]?.trim() ?? '';
  if (text.length > cookieCharactersMax) return basket;
  for (const pair of decoded(text).split(',')) {
    const [, sku = '', digits = ''] = /^([^:]+):(\d{1,7})$/.exec(pair) ?? [];
    const quantity = (basket.get(sku) ?? 0) + Number(digits);
    if (!Sku.safeParse(sku).success || quantity < 1 || quantity > quantityMax) continue;
    if (basket.has(sku) || basket.size < basketLinesMax) basket.set(sku, quantity);
  }
  return basket;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return '';
  }
}

/** The value of a `Set-Cookie` header. No script may read it, and no other site's form brings it along. */
export function basketCookie(basket: Basket, shopUrl: string): string {
  const value = encodeURIComponent([...basket].map(([sku, quantity]) => `${sku}:${quantity}`).join(','));
  const age = basket.size === 0 ? 0 : daysKept * 86_400;
  return `basket=${value}; Path=/; Max-Age=${age}; HttpOnly; SameSite=Lax${shopUrl.startsWith('https:') ? '; Secure' : ''}`;
}

/** The basket with so many of a product (0: none), or why that cannot be. */
export function changed(basket: Basket, sku: string, quantity: number): Basket | string {
  if (quantity > quantityMax) return `That is more than anybody can buy at once: at most ${quantityMax.toLocaleString('en-GB')} of one product.`;
  if (!basket.has(sku) && quantity > 0 && basket.size >= basketLinesMax) {
    return `A basket holds at most ${basketLinesMax} different products. Order these first, then start another.`;
  }
  const next = new Map(basket);
  if (quantity === 0) next.delete(sku);
  else next.set(sku, quantity);
  return next;
}

export function unitsIn(basket: Basket): number {
  let units = 0;
  for (const quantity of basket.values()) units += quantity;
  return units;
}
