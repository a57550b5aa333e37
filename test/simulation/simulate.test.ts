import { expect } from 'chai';
import { setMaxListeners } from 'node:events';
import type { AnyService, Kernel } from '../../core/kernel/service.ts';
import { PortError, type RawWrite, type StoreDriver } from '../../ports/index.ts';
import { failedOnce } from './seeds.ts';
import { drawPlan, faultNames, parseFaults, parsePlan, wordsOf, type Fault, type Plan } from './simulateplan.ts';
import { shrink, sizeOf } from './simulateshrink.ts';
import { simulate, type RunOptions } from './simulateshop.ts';

/** The whole shop under a virtual clock with everything that can go wrong; many more seeds run with `npm run simulate`. */

setMaxListeners(0); // a thousand sleepers may wait for one signal

const plain: Plan = { seed: 5, orders: 12, instances: 2, partitions: 1, minutes: 1, faults: {} };

describe('simulation', function () {
  this.timeout(120_000);

  describe('of the whole shop', () => {
    const happened = new Map<Fault, number>();

    for (let seed = 1; seed <= 24; seed++) {
      it(`loses nothing, sells nothing twice and leaves nothing stuck (seed ${seed})`, async () => {
        const { violation, coverage, figures, plan } = await simulate(drawPlan(seed, 30));
        expect(violation, wordsOf(plan)).to.equal(undefined);
        expect(figures.orders).to.equal(30);
        expect(figures.delivered + figures.cancelled).to.equal(30);
        for (const [name, times] of coverage) happened.set(name, (happened.get(name) ?? 0) + times);
      });
    }

    it('has really done everything that can go wrong', () => {
      expect(faultNames.filter((name) => !happened.has(name))).to.deep.equal([]);
    });

    it('gives the same log for the same seed, and another one for another', async () => {
      const [one, again, other] = [await simulate(drawPlan(7, 25)), await simulate(drawPlan(7, 25)), await simulate(drawPlan(8, 25))];
      expect(again.hash).to.equal(one.hash);
      expect(again.figures).to.deep.equal(one.figures);
      expect(other.hash).not.to.equal(one.hash);
      expect((await simulate(drawPlan(7, 25), { lines: 10 })).hash, 'listening changes nothing').to.equal(one.hash);
    });

    for (const { plan, was } of failedOnce) {
      it(`does not fail again: ${was}`, async () => {
        expect((await simulate(parsePlan(plan))).violation).to.equal(undefined);
      });
    }
  });

  describe('finds what is wrong', () => {
    /** Something is wrong on purpose: it is found, and by a small run as well. */
    async function found(options: RunOptions, what: RegExp, plan: Plan = { ...plain, faults: { haste: 0.4 } }): Promise<void> {
      const run = await simulate(plan, options);
      expect(run.violation).to.be.a('string').that.matches(what);
      const shrunk = await shrink(run, options, { milliseconds: 20_000, runs: 25 });
      expect(shrunk.run.violation).to.be.a('string');
      expect(sizeOf(shrunk.run.plan)).to.be.lessThan(sizeOf(plan));
    }

    const spoiltStore = (change: (partition: string, writes: readonly RawWrite[]) => readonly RawWrite[]): RunOptions => ({
      store: (driver): StoreDriver => ({ ...driver, commit: (partition, writes) => driver.commit(partition, change(partition, writes)) }),
    });
    const spoiltService = (name: string, type: string, hear: (kernel: Kernel, message: never, right: AnyService['hears'][string]) => Promise<void>): RunOptions => ({
      spoilt: (services) =>
        services.map((service) => {
          const right = service.hears[type];
          return service.name === name && right ? { ...service, hears: { ...service.hears, [type]: (kernel: Kernel, message: never) => hear(kernel, message, right) } } : service;
        }),
    });

    it('as a receipt that is remembered and not counted', () =>
      found(
        spoiltStore((_, writes) => (writes.some(({ key }) => key.startsWith('receipt|')) ? writes.filter(({ key }) => !key.startsWith('stock|') && !key.startsWith('outbox|')).concat() : writes)),
        /receipts, parts and claims|has a stock and no|and no receipt|says/,
      ));

    it('as a reservation that is counted twice', () =>
      found(
        spoiltStore((_, writes) =>
          writes.some((write) => write.key.startsWith('part|') && write.op !== 'delete' && write.body.includes('"taken"'))
            ? writes.map((write) => (write.key.startsWith('stock|') && write.op === 'replace' ? { ...write, body: write.body.replace(/"available":(\d+)/, (_all, n: string) => `"available":${Number(n) - 1}`) } : write))
            : writes,
        ),
        /is not available/,
      ));

    it('as a relay that drops what it was to pass on', () =>
      found(
        {
          store: (driver): StoreDriver => ({
            ...driver,
            async commit(partition, writes) {
              const versions = await driver.commit(partition, writes);
              const nth = writes.findIndex(({ key, op }) => op === 'create' && key.startsWith('outbox|'));
              if (nth !== -1 && writes[nth]!.key.endsWith('|00') && partition.startsWith('invorder')) await driver.commit(partition, [{ op: 'delete', key: writes[nth]!.key, version: versions[nth]! }]).catch(ignore);
              return versions;
            },
          }),
        },
        /the outbox has dropped/,
      ));

    it('as a listener that forgets an event', () => found(spoiltService('order', 'InventoryReserved', async () => {}), /order shows no mark of|the audit/));

    it('as a listener that never comes to an end with an event', () => found(spoiltService('shipping', 'InventoryReserved', () => new Promise(() => {})), /not within|does not come|is parked|has parked/, { ...plain, orders: 2 }));

    it('as a letter that is sent twice', () =>
      found(
        spoiltService('notification', 'OrderDelivered', async (kernel, message, right) => {
          const twice: Kernel = { ...kernel, mailer: { ...kernel.mailer, send: (letter) => kernel.mailer.send(letter).then(() => kernel.mailer.send(letter)) } };
          await right(twice, message);
        }),
        /is sent twice/,
        { ...plain, seed: 3 },
      ));
  });

  describe('of a plan', () => {
    it('is said in words that give it again', () => {
      const plan = drawPlan(11, 40);
      expect(parsePlan(wordsOf(plan))).to.deep.equal(plan);
      expect(parseFaults('none')).to.deep.equal({});
      expect(() => parseFaults('gremlins')).to.throw('gremlins');
    });
  });
});

function ignore(error: unknown): void {
  if (!(error instanceof PortError)) throw error;
}
