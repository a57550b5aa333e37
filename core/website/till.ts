import { z } from 'zod';
import { html, type Html } from '../html.ts';
import { formatMoney } from '../money.ts';
import { Address, Customer, quantityMax, type Money } from '../shapes.ts';
import { illustration } from './art.ts';
import type { Basket } from './basket.ts';
import type { Catalogue, Item } from './catalogue.ts';
import { fallbackLocale } from './locale.ts';
import { alert, plural, type PageOf } from './pages.ts';

/** The pages on which one buys: the basket and the checkout. */

export interface Priced {
  readonly lines: readonly { readonly sku: string; readonly quantity: number; readonly item: Item | undefined }[];
  /** One for each currency; an order needs exactly one. */
  readonly totals: readonly Money[];
  readonly waits: boolean;
  /** Why this basket cannot be ordered as it is. */
  readonly obstacle?: string;
}

/** The basket at the catalogue's prices. The price that counts is Product's, at the moment of the order. */
export function priced(basket: Basket, { bySku }: Pick<Catalogue, 'bySku'>): Priced {
  const lines = [...basket].map(([sku, quantity]) => ({ sku, quantity, item: bySku.get(sku) }));
  const totals = new Map<string, number>();
  for (const { item, quantity } of lines) if (item) totals.set(item.price.currency, (totals.get(item.price.currency) ?? 0) + item.price.amount * quantity);
  const obstacle = lines.some(({ item }) => !item) ? notSold : totals.size > 1 ? oneCurrency : undefined;
  return {
    lines,
    totals: [...totals].map(([currency, amount]) => ({ amount, currency })),
    waits: lines.some(({ item }) => item?.stock === 'OutOfStock'),
    ...(obstacle === undefined ? {} : { obstacle }),
  };
}

export const notSold = 'Something in your basket is not sold here any more. Remove it to go on.';
export const oneCurrency = 'An order is in one currency. Please keep the products of one currency, and order the others afterwards.';

// ---------------------------------------------------------------- basket

export function basketPage(basket: Priced, complaint?: string, locale: string = fallbackLocale): PageOf {
  const { lines, totals, waits, obstacle } = basket;
  if (lines.length === 0) {
    const main = html`<div class="message">${alert(complaint)}<h1>Your basket is empty</h1><p>Nice things are waiting.</p><p><a class="button" href="/">Look around</a></p></div>`;
    return { title: 'Basket', main };
  }
  const main = html`<h1>Basket</h1>${alert(complaint)}${alert(obstacle)}
<div class="split"><section aria-label="Products in the basket"><ul class="lines">${lines.map((line) => basketLine(line, locale))}</ul></section>
<aside class="card summary" aria-label="Summary"><h2>Summary</h2>
<dl class="sums"><dt>${plural(lines.length, 'product')}</dt><dd></dd>${totals.map((total) => html`<dt class="total">Total</dt><dd class="total">${formatMoney(total, locale)}</dd>`)}</dl>
${waits ? html`<p class="hint">Something in here is out of stock. You can order all the same: the whole order waits for it and leaves in one parcel.</p>` : null}
${obstacle ? null : html`<a class="button block" href="/checkout">Go to checkout</a>`}
<p class="center"><a href="/">Continue shopping</a></p></aside></div>`;
  return { title: 'Basket', main };
}

function basketLine({ sku, quantity, item }: Priced['lines'][number], locale: string): Html {
  const name = item?.name ?? sku;
  return html`<li class="line-item"><div class="picture small">${illustration(sku, name, item?.motif)}</div>
<div class="what"><h2>${item ? html`<a href="/products/${sku}"><bdi>${name}</bdi></a>` : name}</h2><p class="quiet">${item ? html`${formatMoney(item.price, locale)} each${item.stock === 'OutOfStock' ? ' · out of stock, will wait' : ''}` : 'not sold any more'}</p></div>
<form class="quantity" method="post" action="/basket" data-quantity><input type="hidden" name="do" value="set"><input type="hidden" name="sku" value="${sku}">
<label class="unseen" for="n-${sku}">Quantity of ${name}</label><input id="n-${sku}" name="quantity" type="number" inputmode="numeric" min="0" max="${quantityMax}" step="1" value="${quantity}" required><button class="button plain">Update</button></form>
<p class="amount">${item ? formatMoney({ ...item.price, amount: item.price.amount * quantity }, locale) : '–'}</p>
<form class="remove" method="post" action="/basket"><input type="hidden" name="do" value="set"><input type="hidden" name="sku" value="${sku}"><input type="hidden" name="quantity" value="0"><button class="link" aria-label="Remove ${name}">Remove</button></form></li>
`;
}

// ---------------------------------------------------------------- checkout

export const fieldNames = ['name', 'email', 'line1', 'line2', 'city', 'postcode', 'country'] as const;
export type FieldName = (typeof fieldNames)[number];
export type Typed = Readonly<Partial<Record<FieldName, string>>>;
export type Complaints = Readonly<Partial<Record<FieldName, string>>>;

const fields: Readonly<Record<FieldName, { readonly label: string; readonly autocomplete: string; readonly max: number; readonly type?: string }>> = {
  name: { label: 'Full name', autocomplete: 'name', max: 200 },
  email: { label: 'E-mail', autocomplete: 'email', max: 254, type: 'email' },
  line1: { label: 'Street and number', autocomplete: 'address-line1', max: 200 },
  line2: { label: 'Flat, company (optional)', autocomplete: 'address-line2', max: 200 },
  city: { label: 'Town or city', autocomplete: 'address-level2', max: 100 },
  postcode: { label: 'Postcode', autocomplete: 'postal-code', max: 20 },
  country: { label: 'Country', autocomplete: 'country', max: 2 },
};

const Details = z.object({ customer: Customer, address: Address });
export type Details = z.infer<typeof Details>;

/** Who buys and where it goes, or what is wrong beside which field. */
export function detailsOf(typed: Typed): { readonly details: Details } | { readonly complaints: Complaints } {
  const { name = '', email = '', line1 = '', line2 = '', city = '', postcode = '', country = '' } = typed;
  const address = { line1, city, postcode, country, ...(line2.trim() === '' ? {} : { line2 }) };
  const { success, data, error } = Details.safeParse({ customer: { name, email: email.trim() }, address });
  if (success) return { details: data };
  const complaints: Partial<Record<FieldName, string>> = {};
  for (const { path, message } of error.issues) complaints[path[1] as FieldName] ??= worded(path[1] as FieldName, message);
  return { complaints };
}

function worded(field: FieldName, message: string): string {
  if (field === 'country') return 'Please choose a country.';
  const label = fields[field].label.replace(' (optional)', '');
  if (message === 'must be an e-mail address') return 'This does not look like an e-mail address, such as anna@example.com.';
  return message === 'must not be empty' ? `Please fill in: ${label.toLowerCase()}.` : `${label} ${message}.`;
}

export interface CheckoutPage {
  readonly basket: Priced;
  readonly typed: Typed;
  readonly complaints?: Complaints;
  readonly alert?: string;
  readonly locale?: string;
  /** Made by us, once per form: a double click makes one order. */
  readonly key: string;
}

export function checkoutPage({ basket, typed, complaints = {}, alert: text, key, locale = fallbackLocale }: CheckoutPage): PageOf {
  const [total] = basket.totals;
  const wrong = fieldNames.filter((name) => complaints[name] !== undefined);
  const field = (name: FieldName): Html => inputOf(name, typed[name] ?? '', complaints[name]);
  const main = html`<nav class="crumbs" aria-label="Breadcrumb"><a href="/basket">Basket</a></nav><h1>Checkout</h1>
${alert(text)}
${wrong.length === 0 ? null : html`<div class="alert" role="alert" tabindex="-1" autofocus data-errors><p>${wrong.length === 1 ? 'One thing is' : `${wrong.length} things are`} missing or wrong:</p><ul>${wrong.map((name) => html`<li><a href="#${name}">${complaints[name]}</a></li>`)}</ul></div>`}
<form class="split checkout" method="post" action="/checkout" data-once>
<div><fieldset><legend>Who are you?</legend>${field('name')}${field('email')}</fieldset>
<fieldset><legend>Where does it go?</legend>${field('line1')}${field('line2')}<div class="pair">${field('postcode')}${field('city')}</div>${countryOf(typed.country ?? 'GB', complaints.country)}</fieldset></div>
<aside class="card summary" aria-label="Your order"><h2>Your order</h2>
<ul class="brief">${basket.lines.map(({ sku, quantity, item }) => html`<li><span><bdi>${item?.name ?? sku}</bdi> <span class="quiet">× ${quantity}</span></span><span>${item && formatMoney({ ...item.price, amount: item.price.amount * quantity }, locale)}</span></li>`)}</ul>
<dl class="sums"><dt class="total">Total</dt><dd class="total">${total && formatMoney(total, locale)}</dd></dl>
${basket.waits ? html`<p class="hint">Something is out of stock: your order waits for it. You can cancel while it waits.</p>` : null}
<input type="hidden" name="key" value="${key}"><input type="hidden" name="total" value="${total && totalText(total)}">
<button class="button block">Place the order</button>
<p class="quiet center">No payment is taken here.</p></aside></form>`;
  return { title: wrong.length > 0 || text !== undefined ? 'Please check: Checkout' : 'Checkout', main };
}

/** As the form carries what the customer has seen. */
export const totalText = ({ amount, currency }: Money): string => `${amount} ${currency}`;

function inputOf(name: FieldName, value: string, complaint: string | undefined): Html {
  const { label, autocomplete, max, type = 'text' } = fields[name];
  const required = name === 'line2' ? null : html` required`;
  return html`<div class="field"><label for="${name}">${label}</label><input id="${name}" name="${name}" type="${type}" value="${value}" maxlength="${max}" autocomplete="${autocomplete}"${required}${marks(name, complaint)}>${complaintOf(name, complaint)}</div>`;
}

function countryOf(chosen: string, complaint: string | undefined): Html {
  const options = countries().map(([code, name]) => html`<option value="${code}"${code === chosen ? html` selected` : null}>${name}</option>`);
  return html`<div class="field"><label for="country">Country</label><select id="country" name="country" autocomplete="country" required${marks('country', complaint)}><option value="">Please choose</option>${options}</select>${complaintOf('country', complaint)}</div>`;
}

const marks = (name: FieldName, complaint: string | undefined): Html | null => (complaint === undefined ? null : html` aria-invalid="true" aria-describedby="${name}-complaint"`);
const complaintOf = (name: FieldName, complaint: string | undefined): Html | null => (complaint === undefined ? null : html`<p class="complaint" id="${name}-complaint">${complaint}</p>`);

/** ISO 3166-1 alpha-2. */
const codes =
  'AD AE AF AG AI AL AM AO AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GT GU GW GY HK HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW';
let named: readonly (readonly [code: string, name: string])[] | undefined;
function countries(): readonly (readonly [code: string, name: string])[] {
  if (!named) {
    const names = new Intl.DisplayNames('en', { type: 'region' });
    named = codes.split(' ').map((code) => [code, names.of(code) ?? code] as const).sort(([, a], [, b]) => a.localeCompare(b, 'en'));
  }
  return named;
}
export const countryName = (code: string): string => countries().find(([each]) => each === code)?.[1] ?? code;
