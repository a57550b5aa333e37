import { azure } from './azure.ts';
import { register } from './case.ts';
import { queueCases } from './queue.ts';
import { receivingCases } from './receiving.ts';
import { streamCases } from './stream.ts';

describe('conformance of Azure: queues, streams, and what our kernel makes of them', () => {
  for (const casesOf of [queueCases, streamCases, receivingCases]) register(casesOf(azure()));
});
