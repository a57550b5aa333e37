import { writeFile } from 'node:fs/promises';
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { createGunzip } from 'node:zlib';
import { demandOf, readRetail } from '../bench/retail.ts';

/**
 * Makes the samples that the project carries from the whole data set: `node --import tsx scripts/samples.ts FILE`. With `--count` it only prints what is in the file.
 *
 * products.json: the best sellers, one of a kind where the names are alike, with a stock for about a week of the year's real demand.
 * orders.csv: all rows of a stretch of invoices, one very large invoice, some cancellations and some rows of each kind that is rejected.
 */
const [file, flag] = process.argv.slice(2);
if (!file) throw new Error('usage: node --import tsx scripts/samples.ts FILE [--count]');
const retail = await readRetail(file);
const orders = retail.invoices.filter(({ kind }) => kind === 'order');
console.log(
  `${retail.rows} rows, ${orders.length} orders with ${orders.reduce((sum, { lines }) => sum + lines.length, 0)} lines, ${retail.invoices.length - orders.length} cancellations, ` +
    `${retail.products.size} products; rejected: ${JSON.stringify(retail.rejected)}`,
);

if (flag !== '--count') {
  const folder = new URL('../bench/samples/', import.meta.url);
  await writeFile(new URL('products.json', folder), JSON.stringify({ products: sampleProducts() }, null, 1).replace(/\n\s{3,}/g, ' ').replace(/\n\s\s\}/g, ' }') + '\n');
  await writeFile(new URL('orders.csv', folder), await sampleRows());
}

function sampleProducts() {
  const demand = demandOf(retail.invoices);
  const kinds = new Map<string, number>();
  const chosen = [];
  for (const product of [...retail.products.values()].sort((a, b) => (demand.get(b.sku) ?? 0) - (demand.get(a.sku) ?? 0))) {
    const words = product.name.toLowerCase().split(/[^a-z]+/);
    const [last, first] = [words.at(-1) || (words.at(-2) ?? ''), words.slice(0, 2).join(' ')];
    if ((kinds.get(last) ?? 0) >= 2 || (kinds.get(first) ?? 0) >= 3 || !/^[A-Z][a-z0-9 ,'&-]{9,44}$/.test(product.name) || product.price < 29) continue;
    for (const kind of [last, first]) kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
    chosen.push({ sku: product.sku, name: product.name, description: '', price: product.price, stock: Math.max(4, Math.round((demand.get(product.sku) ?? 0) / 52 / 4)) });
    if (chosen.length === 60) break;
  }
  // So that each kind of badge can be seen at the first start.
  return chosen.map((product, n) => ({ ...product, stock: n % 17 === 9 ? 0 : n % 11 === 5 ? 6 : product.stock }));
}

async function sampleRows(): Promise<string> {
  const firstDay = orders.slice(0, 130).map(({ id }) => id);
  const large = orders.reduce((most, each) => (each.lines.length > most.lines.length ? each : most));
  const cancels = retail.invoices.filter(({ kind }) => kind === 'cancel').slice(0, 12).map(({ id }) => id);
  // Orders that a cancellation covers whole, so that there is something to match.
  const pairs = ['541431', 'C541433', '581483', 'C581484'];
  const wanted = new Set([...firstDay.slice(0, 60), ...firstDay.filter((_, n) => n >= 60 && n % 2 === 0), large.id, ...cancels, ...pairs]);
  const odd = { left: 40 };
  const rows: string[] = [];
  let header = '';
  for await (const line of createInterface({ input: createReadStream(file!).pipe(createGunzip()) })) {
    if (header === '') {
      header = line;
      continue;
    }
    const [invoice = '', code = '', , quantity = '', , price = ''] = line.split(',');
    const isOdd = invoice.startsWith('A') || (/^(POST|DOT|M|D|S|BANK CHARGES|CRUK)$/.test(code) && odd.left > 0) || (Number(quantity) < 0 && !invoice.startsWith('C') && odd.left > 0) || (price === '0.0' && odd.left > 0);
    if (!wanted.has(invoice) && !isOdd) continue;
    if (!wanted.has(invoice)) odd.left--;
    rows.push(line);
  }
  return [header, ...rows, ''].join('\n');
}
