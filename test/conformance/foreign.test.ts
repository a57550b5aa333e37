import { expect } from 'chai';
import { foreign } from './foreign.ts';
import { breachesOf, queueCases, receivingCases, register, storeCases, streamCases, type Case } from './index.ts';

describe('conformance, for a stranger', () => {
  const suites = [storeCases, queueCases, streamCases, receivingCases];
  for (const casesOf of suites) register(casesOf(foreign()));

  it('says of every case that it skips which one it is, and why', () => {
    const skipped = suites.flatMap((casesOf) => casesOf(foreign())).filter((each) => each.skipped !== undefined);
    const reasons = new Map(skipped.map(({ title, skipped: reason }) => [title, reason]));
    expect(reasons.get('gives positions that are no longer than a row can keep')).to.match(/^to show/);
    expect(reasons.get('answers a gap for a position that has fallen out of retention, and skips nothing in silence')).to.equal('foreign offers no means to arrange it');
    expect(skipped.length).to.be.below(30);
  });

  it('can be tried without a test runner, and names the promises that are broken', async () => {
    const family = foreign();
    const breaches = await breachesOf(storeCases({
      ...family,
      async open() {
        const drivers = await family.open();
        return { ...drivers, store: { ...drivers.store, get: async () => undefined } };
      },
    }), { first: true });
    expect(breaches.map(({ case: { suite, title } }) => `${suite}: ${title}`)).to.deep.equal(['store · foreign: gives back a body as it was committed, whatever JSON it is']);
  });

  it('counts a case as broken that never ends, or that cannot be opened or closed', async () => {
    const each = (run: () => Promise<void>): Case => ({ suite: 's', group: '', title: 't', run });
    const stuck = each(() => new Promise(() => {}));
    const broken = each(() => Promise.reject(new Error('no world')));
    const breaches = await breachesOf([stuck, broken, each(async () => {}), { ...broken, skipped: 'not asked' }], { patienceSeconds: 0.02 });
    expect(breaches.map(({ error }) => String(error))).to.deep.equal(['Error: it has not ended after 0.02 s', 'Error: no world']);
  });
});
