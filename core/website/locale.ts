/** Whose customs prices and times follow. The words of the shop are English; the numbers are the reader's. */

export const fallbackLocale = 'en-GB';

const entriesMax = 10;
const tag = /^[a-z]{2,3}(?:-[a-z]{4})?(?:-(?:[a-z]{2}|\d{3}))?$/i;
/** Looking a locale up costs more than all else that is read off a request. Anybody can write anything there, so only so many are remembered. */
const known = new Map<string, string>();
const knownMax = 500;

/** The best of an `Accept-Language` header (RFC 9110, section 12.5.4) that numbers can be written in. English without a country is the shop's own. */
export function localeOf(accepted: string | undefined): string {
  const text = (accepted ?? '').slice(0, 200);
  if (text === '') return fallbackLocale;
  let found = known.get(text);
  if (found === undefined) {
    found = best(text);
    if (known.size < knownMax) known.set(text, found);
  }
  return found;
}

function best(text: string): string {
  const wishes = text.split(',').slice(0, entriesMax).map((part) => {
    const [name = '', ...rest] = part.split(';').map((each) => each.trim());
    const weight = rest.find((each) => each.startsWith('q='))?.slice(2);
    return { name, weight: weight === undefined ? 1 : Number(weight) };
  });
  for (const { name } of wishes.filter(({ name: each, weight }) => weight > 0 && tag.test(each)).sort((a, b) => b.weight - a.weight)) {
    if (name.toLowerCase() === 'en') return fallbackLocale;
    const [supported] = Intl.NumberFormat.supportedLocalesOf([name]);
    if (supported !== undefined) return supported;
  }
  return fallbackLocale;
}
