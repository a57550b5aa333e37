import { expect } from 'chai';
import { azuritePatienceMs } from '../support/azurite.ts';
import { dynamoPatienceMs, sharedDynamo, withDynamo } from '../support/dynamo.ts';
import { countCalls, familyOf, planOf, strike, type Found } from './crashrun.ts';
import { ways, type Fault, type Moment } from './crashworld.ts';

/** Some of what `npm run crash` does in full: calls that do something, spread over the whole story, each struck in all four ways, and a few that only look. */
describe('A shop that is killed at any call to a port', function () {
  this.timeout(120_000);
  let moments: readonly Moment[];

  before(async () => void (moments = await countCalls(familyOf('memory'))));

  const strikeAll = async (family: string, faults: readonly Fault[]): Promise<Found[]> => {
    const found: Found[] = [];
    for (const fault of faults) {
      const one = await strike(familyOf(family), fault);
      if (one) found.push(one);
    }
    return found;
  };
  /** The numbers of the calls with one of these names. */
  const callsOf = (...names: string[]): number[] => moments.flatMap(({ name }, i) => (names.includes(name) ? [i + 1] : []));
  const some = (calls: readonly number[], count: number): number[] => Array.from({ length: count }, (_, i) => calls[Math.floor(((i + 0.5) * calls.length) / count)]!);
  const runsAt = (calls: readonly number[]): readonly Fault[] => planOf(moments, calls).runs;

  it('makes the same calls in the same order each time, of every kind there is', () => {
    expect(new Set(moments.map(({ name }) => name))).to.include.all.keys(
      'store.get', 'store.query', 'store.commit', 'queue.send', 'queue.receive', 'queue.remove', 'stream.append', 'stream.read', 'stream.partitions', 'mailer.send', 'carrier.book',
    );
  });

  it('keeps its promises wherever it is killed around a commit', async () => {
    expect(await strikeAll('memory', runsAt(some(callsOf('store.commit'), 10)))).to.deep.equal([]);
  });

  it('keeps its promises wherever it is killed around what it says, and around what it hears', async () => {
    const calls = ['queue.send', 'queue.receive', 'queue.remove', 'stream.append', 'stream.read'].flatMap((name) => some(callsOf(name), 1));
    expect(await strikeAll('memory', runsAt(calls))).to.deep.equal([]);
  });

  it('keeps its promises wherever it is killed around a letter and a parcel', async () => {
    expect(await strikeAll('memory', runsAt([...some(callsOf('mailer.send'), 4), ...some(callsOf('carrier.book'), 1)]))).to.deep.equal([]);
  });

  it('keeps its promises wherever it is killed while it only looks', async () => {
    expect(await strikeAll('memory', runsAt(some(callsOf('store.get', 'store.query'), 3)))).to.deep.equal([]);
  });

  it('keeps its promises on a real file that is closed and opened again', async () => {
    const embedded = await countCalls(familyOf('embedded'));
    const commits = embedded.flatMap(({ name }, i) => (name === 'store.commit' ? [i + 1] : []));
    expect(await strikeAll('embedded', planOf(embedded, some(commits, 1)).runs)).to.deep.equal([]);
  });

  it('keeps its promises on the SDKs of Azure, over sockets, in each of the four ways', async function () {
    this.timeout(azuritePatienceMs);
    expect(await strikeAll('azure', ways.map((how, n) => ({ at: 400 + 550 * n, how })))).to.deep.equal([]);
  });

  withDynamo('killed on the SDKs of AWS', () => {
    it('keeps its promises on the SDKs of AWS, over sockets, in each of the four ways', async function () {
      this.timeout(dynamoPatienceMs);
      await sharedDynamo(); // the first time on a machine it is fetched
      expect(await strikeAll('aws', ways.map((how, n) => ({ at: 500 + 550 * n, how })))).to.deep.equal([]);
    });
  });

  it('leaves out only kills between which nothing has happened', async () => {
    const look = ({ stillAfter, state }: Moment, i: number): boolean => stillAfter === true && moments[i + 1]?.stillAfter === true && moments[i + 1]!.state === state;
    const at = moments.findIndex(look) + 1;
    expect(planOf(moments, [at, at + 1]).runs, 'of two looks one kill and two lost answers').to.deep.equal([{ at, how: 'before' }, { at, how: 'lost' }, { at: at + 1, how: 'lost' }]);
    expect(planOf(moments, [at, at + 1], ways, true).runs).to.have.length(8);
    const commit = callsOf('store.commit')[100]!;
    expect(planOf(moments, [commit]).runs, 'all four ways around a commit').to.have.length(4);
  });
});
