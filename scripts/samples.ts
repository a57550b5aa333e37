import { mkdir, writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import { columns, createMatcher, demandOf, readRetail, readRow, rowsOf, type Invoice, type Rejection, type Retail } from '../bench/retail.ts';
import { Invalid } from '../ports/index.ts';
import { catalogue } from './catalogue.ts';

/**
 * Makes bench/samples from the whole Online Retail file, the same from the same file every time; with --count it writes nothing and prints what the reader finds in it.
 *
 *     node --import tsx scripts/samples.ts FILE [--count]
 */
const folder = new URL('../bench/samples/', import.meta.url);
const source =
  'Chen, D. (2015). Online Retail [Dataset]. UCI Machine Learning Repository. https://doi.org/10.24432/C5BW33. ' +
  'Licensed under CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/). Changes: see README.md.';

const invoicesWanted = 200;
/** The year of the data has 53 weeks, of which the sample catalogue stocks one. */
const weeks = 53;

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: { count: { type: 'boolean', default: false } } });
  if (positionals.length !== 1) throw new Invalid('usage: node --import tsx scripts/samples.ts FILE [--count]');
  const file = positionals[0]!;
  const retail = await readRetail(file);
  if (values.count) return print(retail);
  await mkdir(folder, { recursive: true });
  await writeFile(new URL('products.json', folder), productsOf(retail));
  await writeFile(new URL('orders.csv.gz', folder), gzipSync(await rowsOfInvoices(file, choose(retail, await lookAt(file))), { level: 9 }));
}

function print({ invoices, products, rejected, rows }: Retail): void {
  const orders = invoices.filter(({ kind }) => kind === 'order');
  const cancels = invoices.filter(({ kind }) => kind === 'cancel');
  const linesOf = (list: readonly Invoice[]): number => list.reduce((sum, { lines }) => sum + lines.length, 0);
  const figures: [string, number][] = [
    ['rows', rows],
    ['orders', orders.length],
    ['lines of orders', linesOf(orders)],
    ['units of orders', [...demandOf(invoices).values()].reduce((sum, n) => sum + n, 0)],
    ['products', products.size],
    ['cancellations', cancels.length],
    ['lines of cancellations', linesOf(cancels)],
    ['cancellations of a whole order', pairsOf(invoices).length],
    ...Object.entries(rejected).map(([reason, n]): [string, number] => [`rejected: ${reason}`, n]),
    ['lines and rejected rows', linesOf(invoices) + Object.values(rejected).reduce((sum, n) => sum + n, 0)],
  ];
  for (const [name, figure] of figures) console.log(`${name.padEnd(32)} ${figure}`);
}

/** Cancellations with the order that each of them means. */
function pairsOf(invoices: readonly Invoice[]): [order: string, cancel: string][] {
  const matcher = createMatcher();
  return invoices.flatMap((invoice): [string, string][] => {
    const order = invoice.kind === 'cancel' ? matcher.cancelled(invoice) : matcher.ordered(invoice);
    return order === undefined ? [] : [[order, invoice.id]];
  });
}

function productsOf({ products, invoices }: Retail): string {
  const demand = demandOf(invoices);
  const samples = catalogue.map(([sku, name, description]) => {
    const product = products.get(sku);
    if (!product) throw new Invalid(`there is no product ${sku} in the data`);
    return { sku, name, description, price: product.price, stock: Math.round(demand.get(sku)! / weeks) };
  });
  return `{\n  "source": ${JSON.stringify(source)},\n  "products": [\n${samples.map((sample) => `    ${JSON.stringify(sample)}`).join(',\n')}\n  ]\n}\n`;
}

/** What makes an invoice worth showing, from its rows as they are. */
interface Look {
  readonly times: Set<string>;
  readonly rejections: Set<Rejection>;
  country: string;
  rows: number;
}

async function lookAt(file: string): Promise<Map<string, Look>> {
  const looks = new Map<string, Look>();
  for await (const cells of rowsOf(file)) {
    const [id = '', , , , at = '', , , country = ''] = cells;
    let look = looks.get(id);
    if (!look) looks.set(id, (look = { times: new Set(), rejections: new Set(), country, rows: 0 }));
    const row = readRow(cells);
    if (typeof row === 'string') look.rejections.add(row);
    look.times.add(at);
    look.rows++;
  }
  return looks;
}

/** The strange ones first, a few of each kind, then ordinary orders from the whole year. */
function choose({ invoices }: Retail, looks: ReadonlyMap<string, Look>): ReadonlySet<string> {
  const chosen = new Set<string>();
  const all = [...looks];
  const take = (most: number, ids: readonly string[]): void => ids.slice(0, most).forEach((id) => chosen.add(id));
  const small = (wanted: (look: Look) => boolean): string[] => all.filter(([, look]) => look.rows <= 40 && wanted(look)).map(([id]) => id);

  const [largest] = all.reduce((a, b) => (b[1].rows > a[1].rows ? b : a));
  take(1, [largest]);
  const pairs = pairsOf(invoices);
  const huge = ['C541433', 'C581484'];
  take(4, pairs.filter(([, cancel]) => huge.includes(cancel)).flat());
  take(24, spread(12, pairs.filter((pair) => pair.every((id) => looks.get(id)!.rows <= 40))).flat());
  const matched = new Set(pairs.map(([, cancel]) => cancel));
  take(10, spread(10, invoices.filter(({ id, kind, lines }) => kind === 'cancel' && lines.length <= 10 && !matched.has(id)).map(({ id }) => id)));
  take(2, small(({ times }) => times.size > 1));
  for (const reason of ['bad-debt', 'write-off', 'no-price', 'not-a-product'] as const) take(5, spread(5, small(({ rejections }) => rejections.has(reason))));
  const sold = invoices.filter(({ kind }) => kind === 'order').sort((a, b) => a.lines.length - b.lines.length).map(({ id }) => id);
  for (const name of new Set(all.map(([, { country }]) => country))) take(1, sold.filter((id) => looks.get(id)!.country === name));
  const ordinary = invoices.filter(({ id, kind, lines }) => kind === 'order' && lines.length <= 40 && !chosen.has(id)).map(({ id }) => id);
  take(invoicesWanted, spread(invoicesWanted - chosen.size, ordinary));
  return chosen;
}

/** So many of the list, as far from one another as it goes. */
function spread<T>(wanted: number, list: readonly T[]): T[] {
  const most = Math.min(wanted, list.length);
  return Array.from({ length: most }, (_, i) => list[Math.floor((i * list.length) / most)]!);
}

async function rowsOfInvoices(file: string, chosen: ReadonlySet<string>): Promise<string> {
  let text = `${columns}\n`;
  for await (const cells of rowsOf(file)) if (chosen.has(cells[0] ?? '')) text += `${cells.map(quoted).join(',')}\n`;
  return text;
}

const quoted = (cell: string): string => (/[",]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);

main().catch((error: unknown) => {
  console.error(error instanceof Invalid || (error as { code?: string }).code !== undefined ? `samples: ${(error as Error).message}` : error);
  process.exitCode = 2;
});
