import { carrierCases } from '../carrier.ts';
import type { Case } from '../case.ts';
import { demo, formatNames, memory, memoryMailer, notices } from '../families.ts';
import { mailerCases } from '../mailer.ts';
import { noticeCases } from '../notices.ts';
import { queueCases } from '../queue.ts';
import { receivingCases } from '../receiving.ts';
import { storeCases } from '../store.ts';
import { streamCases } from '../stream.ts';
import { carrierMutants } from './carrier.ts';
import { mailerMutants } from './mailer.ts';
import type { Mutant } from './mutant.ts';
import { noticeMutants } from './notices.ts';
import { queueMutants } from './queue.ts';
import { receivingMutants } from './receiving.ts';
import { storeMutants } from './store.ts';
import { streamMutants } from './stream.ts';

export type { Mutant } from './mutant.ts';
export const mutants: readonly Mutant[] = [...storeMutants, ...queueMutants, ...streamMutants, ...receivingMutants, ...mailerMutants, ...carrierMutants, ...noticeMutants];

/** All that is asked of mutants, asked of what they were made of. */
export const unmutated = (): Case[] => [
  ...[storeCases, queueCases, streamCases, receivingCases].flatMap((casesOf) => casesOf(memory('memory'))),
  ...mailerCases(memoryMailer()),
  ...carrierCases(demo('demo')),
  ...formatNames.flatMap((format) => noticeCases(notices(format))),
];
