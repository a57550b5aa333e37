import { expect } from 'chai';
import { searched, relatedTo, type Catalogue, type Item } from '../../core/website/catalogue.ts';
import { fallbackLocale, localeOf } from '../../core/website/locale.ts';
import { isNews, newsOf, secondsMax } from '../../core/website/news.ts';
import { wishOf } from '../../core/website/shelves.ts';
import { formatMoney } from '../../core/money.ts';
import { openWorld } from '../support/world.ts';

const item = (sku: string, name: string, amount: number, stock: Item['stock'] = 'InStock', currency = 'GBP'): Item => ({
  sku, name, description: '', price: { amount, currency }, stock, version: 1, foldedName: name.toLowerCase(), foldedAll: `${name} ${sku}`.toLowerCase(), begins: true, motif: undefined,
});
const shelf = (...items: Item[]): Catalogue => ({ items, bySku: new Map(items.map((each) => [each.sku, each])), topics: [] });
const things = shelf(item('A', 'Apple bowl', 300), item('B', 'Blue bowl', 1_250, 'OutOfStock'), item('C', 'Clock', 300, 'Low'), item('D', 'Drum', 900, 'InStock', 'JPY'));
const skus = (wish: Parameters<typeof wishOf>[0]): string => searched(things, wish.q, undefined, wishOf(wish).wish).items.map(({ sku }) => sku).join('');

describe('The shelves', () => {
  it('are filtered by stock and by price in units of each currency, ends included', () => {
    expect(skus({})).to.equal('ABCD');
    expect(skus({ stock: 'available' })).to.equal('ACD');
    expect(skus({ stock: 'out' })).to.equal('B');
    expect(skus({ min: '3', max: '12.50' })).to.equal('ABC');
    expect(skus({ min: '3.01', max: '12,49' })).to.equal('');
    expect(skus({ min: '900' })).to.equal('D');
    expect(skus({ q: 'bowl', stock: 'available' })).to.equal('A');
  });

  it('are sorted by price both ways and by name, equals as they were', () => {
    expect(skus({ sort: 'price' })).to.equal('ACBD');
    expect(skus({ sort: '-price' })).to.equal('DBAC');
    expect(skus({ q: 'bowl', sort: 'name' })).to.equal('AB');
  });

  it('say what is wrong with a price, and leave it out', () => {
    for (const min of ['cheap', '-1', '1e3', '1.2345', '٣', '1'.repeat(10)]) {
      expect(wishOf({ min }).complaint, min).to.include('A price is a number');
      expect(skus({ min })).to.equal('ABCD');
    }
    expect(wishOf({ min: '5', max: '4' }).complaint).to.include('above the highest');
    expect(skus({ min: '5', max: '4', stock: 'out' })).to.equal('B');
    expect(wishOf({ min: '5', max: '5' }).complaint).to.equal(undefined);
  });

  it('name what is like a product, never itself, and nothing where nothing is', () => {
    expect(relatedTo(things, things.items[0]!).map(({ sku }) => sku)).to.deep.equal(['B']);
    expect(relatedTo(things, things.items[3]!)).to.deep.equal([]);
    const many = shelf(...Array.from({ length: 9 }, (_, n) => item(`S${n}`, `Silver spoon ${n}`, 100, n < 6 ? 'OutOfStock' : 'InStock')));
    expect(relatedTo(many, many.items[0]!).map(({ sku }) => sku)).to.deep.equal(['S6', 'S7', 'S8', 'S1']);
  });
});

describe('The reader’s locale', () => {
  it('is the best one of the header that numbers can be written in, and English otherwise', () => {
    expect(localeOf('fr;q=0.2, de-AT, en;q=0.9')).to.equal('de-AT');
    expect(localeOf('en')).to.equal(fallbackLocale);
    expect(localeOf('en-US,en;q=0.5')).to.equal('en-US');
    for (const nothing of [undefined, '', '*', 'xx-YY', ';;,,=', 'de;q=0', 'de-u-nu-thai', 'x'.repeat(5_000)]) expect(localeOf(nothing), nothing).to.equal(fallbackLocale);
    expect(formatMoney({ amount: 123_456, currency: 'EUR' }, localeOf('de-DE'))).to.match(/^1\.234,56\s€$/);
  });
});

describe('News of an order', () => {
  it('tells what moves, keeps the connection alive in between, and ends with the order', async () => {
    const world = await openWorld({});
    const { kernel } = world;
    expect(isNews(await newsOf(kernel, '0'.repeat(26)))).to.equal(false);
    await world.describe('MUG', 0);
    await world.settle();
    const { id } = await world.place(['MUG', 1]);
    await world.settle();
    const news = await newsOf(kernel, id);
    if (!isNews(news)) throw new Error('there is an order');
    const heard: string[] = [];
    const listening = (async () => {
      for await (const piece of news(new AbortController().signal)) heard.push(piece);
    })();
    await world.play(kernel.clock.sleep(20_000));
    expect(heard).to.deep.equal(['retry: 3000\nevent: moved\ndata: Backordered\n\n', ': still here\n\n']);
    await world.play(kernel.published.cancelOrder(id));
    await world.play(listening);
    expect(heard.at(-1)).to.equal('event: end\ndata: Cancelled\n\n');
    await world.stop();
  });

  it('stops when the reader has gone, and after ten minutes', async () => {
    const world = await openWorld({});
    await world.describe('MUG', 0);
    await world.settle();
    const { id } = await world.place(['MUG', 1]);
    await world.settle();
    const news = await newsOf(world.kernel, id);
    if (!isNews(news)) throw new Error('there is an order');
    const drain = async (signal: AbortSignal): Promise<void> => {
      for await (const piece of news(signal)) void piece;
    };
    const gone = new AbortController();
    const left = drain(gone.signal);
    gone.abort();
    await left;
    const began = world.clock.now();
    await world.play(drain(new AbortController().signal));
    expect((world.clock.now() - began) / 1_000).to.be.within(secondsMax, secondsMax + 60);
    await world.stop();
  });
});
