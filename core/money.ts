import type { Money } from './shapes.ts';

const formats = new Map<string, { format: Intl.NumberFormat; digits: number }>();

/** `£2.55`, `¥300`: minor units are counted in the currency's own digits. Formatters are kept, because making one costs a hundred times more than using it. */
export function formatMoney({ amount, currency }: Money, locale = 'en-GB'): string {
  const { format, digits } = knownFor(currency, locale);
  return format.format(amount / 10 ** digits);
}

/** 255 pence are 2.55, 300 yen are 300: what people type when they mean a price. */
export function inUnits({ amount, currency }: Money): number {
  return amount / 10 ** knownFor(currency, 'en-GB').digits;
}

function knownFor(currency: string, locale: string): { format: Intl.NumberFormat; digits: number } {
  let known = formats.get(locale + currency);
  if (!known) {
    const format = new Intl.NumberFormat(locale, { style: 'currency', currency });
    known = { format, digits: format.resolvedOptions().maximumFractionDigits ?? 2 };
    if (formats.size < 500) formats.set(locale + currency, known);
  }
  return known;
}

/** What a person types who means a price: `2.55` or `2,55` are 255 pence, `300` are 300 yen. `undefined`: that is no price of this currency. */
export function minorOf(typed: string, currency: string): number | undefined {
  if (!/^[A-Z]{3}$/.test(currency)) return undefined;
  const [, units, parts = ''] = /^(\d{1,12})(?:[.,](\d{1,4}))?$/.exec(typed.trim()) ?? [];
  const { digits } = knownFor(currency, 'en-GB');
  return units === undefined || parts.length > digits ? undefined : Number(units + parts.padEnd(digits, '0'));
}

/** As it is typed: `2.55`. */
export function typedPrice({ amount, currency }: Money): string {
  const { digits } = knownFor(currency, 'en-GB');
  return (amount / 10 ** digits).toFixed(digits);
}
