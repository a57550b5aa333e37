import { leapAws, leapAwsPatienceMs } from '../support/leapaws.ts';
import { aws } from './aws.ts';
import { register } from './case.ts';
import { queueCases } from './queue.ts';
import { receivingCases } from './receiving.ts';
import { streamCases } from './stream.ts';

describe('conformance of AWS: queues, streams, and what our kernel makes of them', () => {
  before(async function () {
    this.timeout(leapAwsPatienceMs);
    await leapAws();
  });
  for (const casesOf of [queueCases, streamCases, receivingCases]) register(casesOf(aws()));
});
