/**
 * Seeds that once failed: each was a bug of the shop or of the simulation, and stays as a test. Which promise it broke stands beside it.
 * A later change of what a seed draws makes another run of it; so each is here as the plan that it was, in the words of the command line.
 */
export interface FailedOnce {
  readonly plan: string;
  readonly was: string;
}

export const failedOnce: readonly FailedOnce[] = [
  {
    plan: '--seed 1 --orders 50 --instances 4 --partitions 2 --spread 13 --faults duplicates=0.68,short=0.1,rereads=0.2,slow=0.32,lost=0.11,splits=0.36,rolling=0.15,skew=0.49,killers=0.32,mailer=0.16',
    was: 'readers of one partition who overtook each other were counted as deaths, and an event that another living process had in hand was parked as if it had killed three',
  },
];
