import fc from 'fast-check';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { columns, readRetail } from '../../bench/retail.ts';
import { PlaceOrder } from '../../core/order/events.ts';
import { DescribeProduct } from '../../core/product/events.ts';
import { Invalid } from '../../ports/index.ts';
import { anna, home } from '../support/client.ts';
import { hostileText } from './shapes.ts';

/**
 * THE ROWS of the replay's data, as files: rows that could be real, with cells, quotes and line ends that could not.
 *
 * - Every row is one line of one invoice, or rejected with a reason; none is lost, none counted twice, and no row takes its neighbours with it.
 * - What is read can be asked for: every order and every product fits the shape of its door.
 */
export interface Line {
  readonly cells: readonly string[];
  readonly quoted: readonly number[];
  readonly end: string;
  readonly as: 'cells' | 'text';
}

const cell = {
  invoice: fc.oneof(fc.constantFrom('536365', '536366', 'C536367', 'A563185', '536365 ', 'c536365', '5363650', ''), hostileText),
  code: fc.oneof(fc.constantFrom('85123A', '71053', '84406b', 'POST', 'M', '22197', '00000'), hostileText),
  name: fc.oneof(fc.constantFrom('WHITE HANGING HEART', '?', 'damaged', '', 'NAME \u0000 WITH NUL', 'NAME \ud800 WITH HALF', 'NAME \u2028 WITH LINE', '   ', '\u00a0\u00a0\u00a0\u00a0\u00a0A', 'LONG '.repeat(90), `${'L'.repeat(199)}🧨 LONG`, 'A,B', 'a "quoted" name'), hostileText),
  quantity: fc.oneof(fc.constantFrom('1', '6', '-1', '0', '80995', '1000000', '1000001', '1.5', '1e3', ' 2', '+2', '９'), hostileText),
  at: fc.oneof(fc.constantFrom('2010-12-01 08:26:00', '2010-12-01 08:26', '2010-02-30 08:26:00', '9999-12-31 23:59:59', '0000-00-00 00:00:00'), hostileText),
  price: fc.oneof(fc.constantFrom('2.55', '0', '0.001', '0.005', '-11062.06', '999999999', '1e3', '.5', '38970'), hostileText),
  customer: fc.oneof(fc.constantFrom('17850', '', '17850.0', 'x'.repeat(41), 'a@b'), hostileText),
  country: fc.oneof(fc.constantFrom('United Kingdom', 'EIRE', 'Atlantis', '', '__proto__', 'constructor'), hostileText),
};
const real = ['536365', '85123A', 'WHITE HANGING HEART', '6', '2010-12-01 08:26:00', '2.55', '17850', 'United Kingdom'];
const cells = fc.tuple(...Object.values(cell).map((wild, i) => fc.oneof({ arbitrary: fc.constant(real[i]!), weight: 6 }, { arbitrary: wild, weight: 2 })));

export const rows: fc.Arbitrary<Line[]> = fc.array(
  fc.record({
    cells: fc.oneof({ arbitrary: cells, weight: 8 }, { arbitrary: fc.array(hostileText, { maxLength: 12 }), weight: 1 }),
    quoted: fc.array(fc.nat(7), { maxLength: 3 }),
    end: fc.constantFrom('\n', '\n', '\n', '\r\n', '\n\n', '"\n'),
    as: fc.constantFrom('cells' as const, 'cells' as const, 'text' as const),
  }),
  { minLength: 1, maxLength: 800, size: 'max' },
);

export async function roundOfRows(seed: number, lines: readonly Line[]): Promise<void> {
  const text = lines.map(written).join('');
  const folder = await mkdtemp(join(tmpdir(), 'anyport-rows-'));
  try {
    const file = join(folder, 'rows.csv');
    const whole = Buffer.from(`${seed % 3 === 0 ? '\ufeff' : ''}${columns}\n${text}`);
    await writeFile(file, seed % 2 === 0 ? gzipSync(whole) : whole);
    const retail = await readRetail(file);
    const expected = text.split('\n').filter((line) => line.replace(/\r$/, '') !== '').length;
    if (retail.rows !== expected) throw new Error(`${retail.rows} rows were read of ${expected}`);
    const kept = retail.invoices.reduce((sum, invoice) => sum + invoice.lines.length, 0);
    const rejected = Object.values(retail.rejected).reduce((sum, count) => sum + count, 0);
    if (kept + rejected !== retail.rows) throw new Error(`${kept} rows kept and ${rejected} rejected are not ${retail.rows}`);
    for (const { id, customer, country, lines: bought } of retail.invoices) {
      const asked = PlaceOrder.safeParse({ customer: { ...anna, email: `${customer}@customers.example` }, address: { ...home, country }, lines: bought });
      if (!asked.success) throw new Error(`invoice ${id} cannot be asked for: ${asked.error.message}`);
    }
    for (const { sku, name, price } of retail.products.values()) {
      const described = DescribeProduct.safeParse({ name: name.slice(0, 200), price: { amount: price, currency: 'GBP' } });
      if (!described.success) throw new Error(`product ${sku} cannot be described: ${described.error.message}`);
    }
    await writeFile(file, whole.subarray(8));
    const wrong = await readRetail(file).then(() => undefined, (error: unknown) => error);
    if (!(wrong instanceof Invalid)) throw new Error('a file without its first line is no such data');
  } finally {
    await rm(folder, { recursive: true });
  }
}

function written({ cells: all, quoted, end, as }: Line): string {
  const shown = all.map((each, i) => (quoted.includes(i) ? `"${as === 'cells' ? each.replaceAll('"', '""') : each}"` : each));
  return shown.join(',') + end;
}
