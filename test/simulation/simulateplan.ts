import { randomFrom } from '../support/ids.ts';

/**
 * THE PLAN of a run: everything that a seed draws, so that one number gives both the weather and the storm. Each kind of fault is absent or has a strength; a plan with
 * fewer orders, fewer kinds or fewer instances is a plan as well, which is how a failure shrinks.
 */
export interface Plan {
  readonly seed: number;
  readonly orders: number;
  /** Processes; each hosts some of the services. */
  readonly instances: number;
  /** Of each stream, at the beginning. */
  readonly partitions: number;
  /** In which the orders come. */
  readonly minutes: number;
  /** From 0 to 1; absent: it does not happen. */
  readonly faults: Readonly<Partial<Record<Fault, number>>>;
}

/** What can go wrong, and what it means at full strength. */
export const faults = {
  duplicates: 'a message that is sent is there twice',
  reordering: 'messages of a queue in any order; on a stream keys change places',
  late: 'messages of a queue come up to hours late',
  stalls: 'a partition hands out nothing for up to an hour',
  short: 'short and empty pages and batches',
  rereads: 'a reader is given again what he has left behind',
  lockLost: 'locks are lost before their time',
  slow: 'calls take up to seconds',
  throttling: 'calls are refused before anything was done',
  storms: 'a whole port refuses everything for minutes',
  unavailable: 'calls fail, and nothing was done',
  lost: 'calls are done, and the answer is lost',
  splits: 'an instance is cut off from one port or from all of them',
  kills: 'processes are killed at a call: before it, after it',
  rolling: 'all instances are stopped and started, one after the other',
  skew: 'clocks of instances are wrong by up to minutes',
  resharding: 'partitions are split while messages are under way',
  poison: 'messages that nobody can read or handle',
  killers: 'messages that end every process that handles them',
  notices: 'a carrier says things twice, in disorder, early, late, wrongly, of parcels that do not exist',
  carrier: 'a carrier that does not answer, does not know, or refuses',
  mailer: 'a mailer that does not answer, does not know, or refuses',
  haste: 'customers who click twice, try again, and cancel',
} as const;
export type Fault = keyof typeof faults;
export const faultNames = Object.keys(faults) as Fault[];

export function drawPlan(seed: number, orders: number, minutes?: number): Plan {
  const random = randomFrom(seed * 7_919 + 13);
  for (let i = 0; i < 4; i++) random();
  const drawn = faultNames.flatMap((name): [Fault, number][] => {
    const on = random() < (rare.has(name) ? 0.25 : 0.5);
    const strength = 0.1 + 0.9 * random() ** 2;
    return on ? [[name, strength]] : [];
  });
  return {
    seed,
    orders,
    instances: 1 + Math.floor(random() ** 1.5 * 4),
    partitions: 1 + Math.floor(random() * 3),
    minutes: minutes ?? Math.ceil(0.5 + 12 * random() ** 2),
    faults: Object.fromEntries(drawn),
  };
}
const rare: ReadonlySet<Fault> = new Set(['killers', 'poison', 'stalls', 'late', 'storms']);

/** Smaller plans, the boldest first. */
export function smaller(plan: Plan): Plan[] {
  const { orders, instances, partitions, minutes } = plan;
  const without = (names: readonly Fault[]): Plan => ({ ...plan, faults: Object.fromEntries(Object.entries(plan.faults).filter(([name]) => !names.includes(name as Fault))) });
  const present = faultNames.filter((name) => plan.faults[name] !== undefined);
  const half = Math.ceil(present.length / 2);
  return [
    ...[10, 4, 2].map((part) => ({ ...plan, orders: Math.floor(orders / part) })).filter((each) => each.orders >= 1),
    ...(present.length > 3 ? [without(present.slice(0, half)), without(present.slice(half))] : []),
    ...present.map((name) => without([name])),
    ...(instances > 1 ? [{ ...plan, instances: 1 }, { ...plan, instances: instances - 1 }] : []),
    ...(partitions > 1 ? [{ ...plan, partitions: 1 }] : []),
    ...(minutes > 1 ? [{ ...plan, minutes: Math.ceil(minutes / 2) }] : []),
    ...(orders > 1 ? [{ ...plan, orders: Math.floor(orders * 0.75) }] : []),
    ...(orders > 1 && orders <= 20 ? [{ ...plan, orders: orders - 1 }] : []),
  ];
}

/** The words of the command line that give this plan again. */
export function wordsOf({ seed, orders, instances, partitions, minutes, faults: strengths }: Plan): string {
  const kinds = Object.entries(strengths).map(([name, strength]) => `${name}=${strength}`).join(',');
  return `--seed ${seed} --orders ${orders} --instances ${instances} --partitions ${partitions} --spread ${minutes} --faults ${kinds === '' ? 'none' : kinds}`;
}

/** `duplicates=0.5,kills`, or `none`. A kind without a strength has the whole of it. Throws for a kind that there is not. */
export function parseFaults(text: string): Plan['faults'] {
  if (text === 'none' || text === '') return {};
  return Object.fromEntries(
    text.split(',').map((word) => {
      const [name = '', strength = '1'] = word.split('=');
      if (!(name in faults) || !(Number(strength) >= 0 && Number(strength) <= 1)) throw new Error(`--faults: ${word} is none of ${faultNames.join(', ')}, with a strength from 0 to 1`);
      return [name, Number(strength)];
    }),
  );
}

/** Undoes `wordsOf`. */
export function parsePlan(words: string): Plan {
  const of = (name: string): string => new RegExp(`--${name} (\\S+)`).exec(words)?.[1] ?? '';
  const number = (name: string): number => Number(of(name));
  return { seed: number('seed'), orders: number('orders'), instances: number('instances'), partitions: number('partitions'), minutes: number('spread'), faults: parseFaults(of('faults')) };
}
