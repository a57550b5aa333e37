import { expect } from 'chai';
import { mutants } from './mutants/index.ts';
import { breachesOf } from './trial.ts';

const kinds = { store: 'a store', queue: 'a queue', stream: 'a stream', mailer: 'a mailer', carrier: 'a carrier', notices: 'a reader of notices', receiving: 'a kernel' } as const;

/** Tried until the first broken promise; `npm run mutants` tries all and prints which case finds whom. */
describe('mutants', () => {
  it('are many, of every port, each under a name of its own', () => {
    const names = mutants.map(({ port, name }) => `${port} ${name}`);
    expect(new Set(names).size).to.equal(names.length);
    for (const port of Object.keys(kinds)) expect(mutants.filter((mutant) => mutant.port === port).length, port).to.be.at.least(10);
  });

  for (const { port, name, cases } of mutants) {
    it(`${kinds[port]} that ${name} is found out`, async () => {
      expect(await breachesOf(cases(), { first: true })).to.have.length(1);
    });
  }
});
