/**
 * CONFORMANCE, for whoever writes a family of adapters of his own. He describes it once, and is told which promises of the ports it breaks:
 *
 * ```ts
 * import { carrierCases, mailerCases, queueCases, receivingCases, register, storeCases, streamCases, type Family } from 'anyport/conformance';
 *
 * const mine: Family = {
 *   name: 'mine', lockSeconds: 30,
 *   open: async () => openMine(await anEmptyWorldWith(world.queues, world.streams, world.partitionsPerStream)),
 *   restart: async () => openMine(theSameWorld),
 *   close: async () => dropTheWorld(),
 *   clock: () => systemClock,
 *   pass: (milliseconds) => systemClock.sleep(milliseconds),
 *   skips: { 'takes the longest delay that there is, and one second less': 'nobody waits that long against a real broker' },
 * };
 * for (const casesOf of [storeCases, queueCases, streamCases, receivingCases]) register(casesOf(mine)); // in a test file of mocha
 * ```
 *
 * Cases are plain values: in another runner `for (const each of storeCases(mine)) test(each.title, each.run)`, or without any, `breachesOf(storeCases(mine))`.
 * What a family has no means to arrange (`sever`, `expire`, `plantQueue` …) is skipped and said; `skips` names a case by its title, with the reason.
 */
export { register, type Case, type Place, type Skips } from './case.ts';
export { bookingOf, carrierCases, trackingStatuses, type CarrierFamily, type Posted } from './carrier.ts';
export { said, saidOfBytes, world, type Drivers, type Family } from './family.ts';
export { letterOf, mailerCases, type MailerFamily } from './mailer.ts';
export { noticeCases, type NoticeFamily } from './notices.ts';
export { queueCases } from './queue.ts';
export { machine, receivingCases, type Machine } from './receiving.ts';
export { storeCases } from './store.ts';
export { streamCases } from './stream.ts';
export { breachesOf, type Breach, type TrialOptions } from './trial.ts';
