import type { Message } from '../ports/index.ts';

/**
 * What an adapter costs: the same work through a port and through the SDK below it, doing the same calls with the same bytes, in one run against the same local servers.
 * Each pair is run several times in turns, and the middle one of the ratios counts.
 */
export type Report = (name: string, value: string) => void;
/** One half of a pair: does the work, answers how many. */
export type Work = () => Promise<number>;

const rounds = 5;
export const callers = 32;

export async function pair(report: Report, name: string, ours: Work, straight: Work): Promise<void> {
  const ratios: number[] = [];
  const rates: number[] = [];
  await ours();
  await straight();
  for (let round = 0; round < rounds; round++) {
    // In turns, also of who begins: whatever else the machine does should hit both.
    const first = round % 2 === 0 ? ours : straight;
    const one = await rateOf(first);
    const other = await rateOf(first === ours ? straight : ours);
    const [mine, plain] = first === ours ? [one, other] : [other, one];
    ratios.push(mine / plain);
    rates.push(mine);
  }
  report(name, `${Math.round(middleOf(rates))}/s  (${middleOf(ratios).toFixed(2)} x the SDK alone; 0.90 x at least)`);
}

async function rateOf(work: Work): Promise<number> {
  const begin = performance.now();
  const count = await work();
  return count / ((performance.now() - begin) / 1_000);
}
const middleOf = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;

/** So often, one after the other. */
export async function times(count: number, each: () => Promise<unknown>): Promise<number> {
  for (let n = 0; n < count; n++) await each();
  return count;
}

/** So often, by `callers` at once; each time with a number that no other time of this process has. */
export async function atOnce(count: number, work: (n: number) => Promise<unknown>): Promise<number> {
  let left = count;
  await Promise.all(Array.from({ length: callers }, async () => {
    while (left-- > 0) await work(next++);
  }));
  return count;
}
let next = 0;

const said = (n: number): Message => ({
  specversion: '1.0', id: `m${n}`, source: '/bench', type: 'Happened', subject: `s${n % 500}`, time: '2026-11-20T09:00:00.000Z', partitionkey: `s${n % 500}`,
  sequence: '0000000000', dataversion: '1', data: { text: 'x'.repeat(300) },
});
/** Messages of 500 keys. */
export const many = (count: number): Message[] => Array.from({ length: count }, (_, n) => said(n));
