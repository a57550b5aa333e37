import { expect } from 'chai';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync, gzipSync } from 'node:zlib';
import { calmly, columns, createMatcher, demandOf, readRetail, readRow, type Invoice, type Retail } from '../../bench/retail.ts';
import { DescribeProduct } from '../../core/product/events.ts';
import { PlaceOrder, linesMax } from '../../core/order/events.ts';
import { Invalid } from '../../ports/index.ts';

const samples = new URL('../../bench/samples/', import.meta.url);
const ordersFile = fileURLToPath(new URL('orders.csv.gz', samples));

const cells = (change: Partial<Record<'invoice' | 'code' | 'name' | 'quantity' | 'at' | 'price' | 'customer' | 'country', string>> = {}): string[] => {
  const row = { invoice: '536365', code: '85123A', name: 'WHITE HEART', quantity: '6', at: '2010-12-01 08:26:00', price: '2.55', customer: '17850', country: 'United Kingdom', ...change };
  return [row.invoice, row.code, row.name, row.quantity, row.at, row.price, row.customer, row.country];
};
const line = (change?: Parameters<typeof cells>[0]): string => cells(change).join(',');

describe('The reader of the real orders', () => {
  let folder = '';
  before(async () => void (folder = await mkdtemp(join(tmpdir(), 'retail-'))));
  after(() => rm(folder, { recursive: true }));

  async function readBytes(bytes: string | Buffer): Promise<Retail> {
    const file = join(folder, 'rows.csv');
    await writeFile(file, bytes);
    return readRetail(file);
  }
  const read = (...lines: string[]): Promise<Retail> => readBytes([columns, ...lines, ''].join('\n'));
  const failureOf = (work: Promise<unknown>): Promise<unknown> => work.then(() => undefined, (error: unknown) => error);

  describe('on the sample', () => {
    let retail: Retail;
    before(async () => void (retail = await readRetail(ordersFile)));

    it('gives account of every row: a line of an invoice, or rejected', () => {
      const lines = retail.invoices.reduce((sum, invoice) => sum + invoice.lines.length, 0);
      const rejected = Object.values(retail.rejected).reduce((sum, n) => sum + n, 0);
      expect(retail.rows).to.be.greaterThan(3_000);
      expect(lines + rejected).to.equal(retail.rows);
    });

    it('meets every reason that the real data has', () => {
      for (const reason of ['not-a-product', 'no-price', 'write-off', 'bad-debt'] as const) expect(retail.rejected[reason], reason).to.be.greaterThan(0);
      expect(retail.rejected['malformed-row']).to.equal(0);
    });

    it('has the invoice with 1,112 lines whole', () => {
      expect(retail.invoices.find(({ id }) => id === '573585')?.lines.length).to.equal(1_112);
    });

    it('is in the order of time, and no order is without lines', () => {
      const times = retail.invoices.map(({ at }) => at);
      expect(times).to.deep.equal([...times].sort());
      expect(retail.invoices.filter(({ lines }) => lines.length === 0)).to.deep.equal([]);
    });

    it('makes only orders that can be asked for, from 36 countries with a code', () => {
      for (const { customer, country, lines } of retail.invoices) {
        PlaceOrder.parse({ customer: { name: customer, email: `${customer}@customers.example` }, address: { line1: '1', city: 'a', postcode: '1', country }, lines });
      }
      expect(new Set(retail.invoices.map(({ country }) => country)).size).to.equal(36);
    });

    it('knows a name and a price of every product that was ordered', () => {
      for (const sku of demandOf(retail.invoices).keys()) {
        const { name, price } = retail.products.get(sku)!;
        expect(name, sku).to.not.equal(sku);
        DescribeProduct.parse({ name, price: { amount: price, currency: 'GBP' } });
      }
    });

    it('matches the two huge cancellations, and some do not match', () => {
      const matcher = createMatcher();
      const pairs = new Map<string, string | undefined>();
      for (const invoice of retail.invoices) invoice.kind === 'order' ? matcher.ordered(invoice) : pairs.set(invoice.id, matcher.cancelled(invoice));
      expect(pairs.get('C541433')).to.equal('541431');
      expect(pairs.get('C581484')).to.equal('581483');
      expect([...pairs.values()].filter((order) => order === undefined)).to.have.length.greaterThan(5);
    });

    it('is the same when it is not packed', async () => {
      expect(await readBytes(gunzipSync(readFileSync(ordersFile)))).to.deep.equal(retail);
    });

    it('is small enough to be carried along', () => {
      expect(readFileSync(ordersFile).length + readFileSync(new URL('products.json', samples)).length).to.be.lessThan(150_000);
    });
  });

  describe('on a single row', () => {
    const cases: [string, Parameters<typeof cells>[0], string][] = [
      ['a code that is no product', { code: 'POST' }, 'not-a-product'],
      ['a code with a word behind the digits', { code: '85123ABC' }, 'not-a-product'],
      ['a price of nothing', { price: '0.0' }, 'no-price'],
      ['a price that rounds to nothing', { price: '0.001' }, 'no-price'],
      ['a negative price', { price: '-11062.06' }, 'no-price'],
      ['a negative quantity on an order', { quantity: '-6' }, 'write-off'],
      ['a bad debt', { invoice: 'A563186', code: 'B', price: '-11062.06' }, 'bad-debt'],
      ['a quantity of nothing', { quantity: '0' }, 'no-quantity'],
      ['a quantity that is no number', { quantity: 'six' }, 'malformed-row'],
      ['a quantity in hexadecimal', { quantity: '0x10' }, 'malformed-row'],
      ['half a thing', { quantity: '1.5' }, 'malformed-row'],
      ['an empty quantity', { quantity: '' }, 'malformed-row'],
      ['more than anybody can order', { quantity: '1000001' }, 'malformed-row'],
      ['a positive quantity on a cancellation', { invoice: 'C536365' }, 'malformed-row'],
      ['a price that is no number', { price: 'NaN' }, 'malformed-row'],
      ['a price without end', { price: '1e300' }, 'malformed-row'],
      ['a date that is none', { at: 'yesterday' }, 'malformed-row'],
      ['the thirtieth of February', { at: '2011-02-30 10:00:00' }, 'malformed-row'],
      ['no invoice', { invoice: '' }, 'malformed-row'],
      ['a customer that breaks a mail address', { customer: 'a b@c' }, 'malformed-row'],
    ];
    for (const [what, change, reason] of cases) it(`rejects ${what} as ${reason}`, () => expect(readRow(cells(change))).to.equal(reason));

    it('rejects a column too few or too many as malformed-row', () => {
      expect(readRow(cells().slice(1))).to.equal('malformed-row');
      expect(readRow([...cells(), ''])).to.equal('malformed-row');
    });

    it('rounds a third decimal half up, in pence', () => {
      for (const [price, pence] of [['2.675', 268], ['1.005', 101], ['1.004', 100], ['0.005', 1]] as const) expect(readRow(cells({ price })), price).to.have.property('price', pence);
    });

    it('gives codes in upper case, so that 85123a is 85123A', () => {
      expect(readRow(cells({ code: '85123a' }))).to.have.property('sku', '85123A');
    });

    it('sends what names no country to where the shop is, also under the name of something else', () => {
      for (const [name, code] of [['EIRE', 'IE'], ['RSA', 'ZA'], ['Channel Islands', 'JE'], ['Unspecified', 'GB'], ['European Community', 'GB'], ['constructor', 'GB'], ['', 'GB']] as const) {
        expect(readRow(cells({ country: name })), name).to.have.property('country', code);
      }
    });

    it('makes a customer who is missing a guest of that invoice alone', () => {
      expect(readRow(cells({ customer: '' }))).to.have.property('customer', 'guest-536365');
    });
  });

  describe('on a file', () => {
    it('keeps the lines of one product and exact duplicates apart, and adds them up in the demand', async () => {
      const { invoices } = await read(line(), line(), line({ quantity: '4' }));
      expect(invoices[0]?.lines).to.deep.equal([6, 6, 4].map((quantity) => ({ sku: '85123A', quantity })));
      expect([...demandOf(invoices)]).to.deep.equal([['85123A', 16]]);
    });

    it('counts no cancellation into the demand', async () => {
      const { invoices } = await read(line(), line({ invoice: 'C536366', quantity: '-6' }));
      expect(invoices.map(({ kind }) => kind)).to.deep.equal(['order', 'cancel']);
      expect(demandOf(invoices).get('85123A')).to.equal(6);
    });

    it('takes the first of two timestamps, and puts together an invoice that is in two places', async () => {
      const { invoices } = await read(line(), line({ invoice: '536366' }), line({ at: '2010-12-01 08:27:00' }));
      expect(invoices.map(({ id, at, lines }) => [id, at, lines.length])).to.deep.equal([['536365', '2010-12-01 08:26:00', 2], ['536366', '2010-12-01 08:26:00', 1]]);
    });

    it('puts a cancellation behind the orders of its minute', async () => {
      const { invoices } = await read(line({ invoice: 'C536364', quantity: '-6' }), line());
      expect(invoices.map(({ id }) => id)).to.deep.equal(['536365', 'C536364']);
    });

    it('has no order whose rows were all rejected', async () => {
      const { invoices, rejected } = await read(line({ code: 'POST' }), line({ price: '0' }));
      expect(invoices).to.deep.equal([]);
      expect(rejected).to.include({ 'not-a-product': 1, 'no-price': 1 });
    });

    const broken: [string, string][] = [
      ['a quote that never ends', '536365,85123A,"WHITE,6,2010-12-01 08:26:00,2.55,17850,United Kingdom'],
      ['text behind a quote', '536365,85123A,"WHITE" HEART,6,2010-12-01 08:26:00,2.55,17850,United Kingdom'],
      ['a line of a megabyte', 'x'.repeat(1_000_000)],
      ['a line of a megabyte of commas', ','.repeat(1_000_000)],
      ['a name of five thousand letters', line({ name: 'X'.repeat(5_000) })],
      ['bytes that are no text', '\u0000\ufffd\u0001'],
    ];
    for (const [what, row] of broken) {
      it(`loses one row to ${what}, and none that follows`, async () => {
        const { invoices, rejected, rows } = await read(line(), row, ...Array.from({ length: 300 }, (_, i) => line({ invoice: String(540_000 + i) })));
        expect([rows, rejected['malformed-row'], invoices.length]).to.deep.equal([302, 1, 301]);
      });
    }

    it('reads quoted cells, line ends of another system, a mark at the beginning and a missing end', async () => {
      const { products } = await readBytes(`\ufeff${columns}\r\n${line({ name: '"RECORD FRAME 7"" SINGLE, SIZE "' })}\r\n${line({ code: '71053', country: 'EIRE' })}`);
      expect([...products.values()].map(({ sku, name }) => [sku, name])).to.deep.equal([['85123A', 'Record frame 7" single, size'], ['71053', 'White heart']]);
    });

    it(`cuts an invoice at the ${linesMax} lines that an order can have`, async () => {
      const { invoices, rejected } = await read(...Array.from({ length: linesMax + 3 }, () => line()));
      expect([invoices[0]?.lines.length, rejected['too-many-lines']]).to.deep.equal([linesMax, 3]);
    });

    it('fails on a file that is empty, is other data, is missing or breaks off', async () => {
      expect(await failureOf(readBytes(''))).to.be.instanceOf(Invalid);
      expect(await failureOf(readBytes('a,b\n1,2\n'))).to.be.instanceOf(Invalid);
      expect(await failureOf(readRetail(join(folder, 'none')))).to.have.property('code', 'ENOENT');
      const packed = gzipSync(gunzipSync(readFileSync(ordersFile)));
      expect(await failureOf(readBytes(packed.subarray(0, packed.length / 2)))).to.have.property('code', 'Z_BUF_ERROR');
    });

    it('names a product as it was named most often, not as a note of the staff, and prices it at the median', async () => {
      const names = ['damaged', 'damaged', 'damaged', '?', 'LOST', 'LOST', 'LOST', 'RED UNION JACK MUG', 'RED UNION JACK MUG', 'BLUE MUG'];
      const prices = ['1.00', '1.00', '9.00', '1.50', '1.00', '1.98', '2.02', '9.00', '9.00', '9.00'];
      const { products } = await read(...names.map((name, i) => line({ name, price: prices[i]! })));
      expect(products.get('85123A')).to.deep.equal({ sku: '85123A', name: 'Red Union Jack mug', price: 200 });
    });

    it('tells calmly what the data shouts', () => {
      expect(calmly('*USB  Office Mirror Ball .')).to.equal('USB office mirror ball');
      expect(calmly("PAPER CHAIN KIT 50'S CHRISTMAS ")).to.equal("Paper chain kit 50's Christmas");
    });
  });
});

describe('The matcher of cancellations', () => {
  const invoice = (id: string, lines: readonly (readonly [string, number])[], customer = '17850'): Invoice => ({
    kind: id.startsWith('C') ? 'cancel' : 'order', id, at: '2010-12-01 08:26:00', customer, country: 'GB', lines: lines.map(([sku, quantity]) => ({ sku, quantity })),
  });
  const matching = (orders: Invoice[], ...cancels: Invoice[]): (string | undefined)[] => {
    const matcher = createMatcher();
    for (const order of orders) matcher.ordered(order);
    return cancels.map((cancel) => matcher.cancelled(cancel));
  };
  const order = invoice('1', [['A', 2], ['B', 1]]);

  it('finds the order that is covered whole, however its lines are cut and sorted', () => {
    expect(matching([order], invoice('C2', [['B', 1], ['A', 1], ['A', 1]]))).to.deep.equal(['1']);
  });
  it('finds none for a part of an order, for more than it, or for another quantity', () => {
    for (const lines of [[['A', 2]], [['A', 2], ['B', 1], ['C', 1]], [['A', 3], ['B', 1]]] as const) expect(matching([order], invoice('C2', lines))).to.deep.equal([undefined]);
  });
  it('finds no order of another customer', () => {
    expect(matching([order], invoice('C2', [['A', 2], ['B', 1]], '1'))).to.deep.equal([undefined]);
  });
  it('finds the latest of several, each only once', () => {
    const cancel = (id: string): Invoice => invoice(id, [['A', 1]]);
    expect(matching([invoice('1', [['A', 1]]), invoice('2', [['A', 1]])], cancel('C3'), cancel('C4'), cancel('C5'))).to.deep.equal(['2', '1', undefined]);
  });
});

describe('The sample catalogue', () => {
  const { products } = JSON.parse(readFileSync(new URL('products.json', samples), 'utf8')) as { products: { sku: string; name: string; description: string; price: number; stock: number }[] };

  it('has sixty products that Product takes, each described, none twice', () => {
    for (const { name, description, price } of products) {
      expect(DescribeProduct.parse({ name, description, price: { amount: price, currency: 'GBP' } })).to.include({ name, description });
      expect(description).to.match(/^[A-Z].{15,}[.]$/);
    }
    expect(new Set(products.map(({ sku }) => sku)).size).to.equal(60);
  });

  it('has whole stock of every kind: plenty, a little, none', () => {
    expect(products.every(({ stock }) => Number.isInteger(stock) && stock >= 0)).to.equal(true);
    for (const [least, most] of [[0, 0], [1, 10], [11, 10_000]] as const) expect(products.some(({ stock }) => stock >= least && stock <= most), `${least} to ${most}`).to.equal(true);
  });
});
