import { carrierCases } from './carrier.ts';
import { register } from './case.ts';
import { demo, embedded, formatNames, mailbox, memory, memoryMailer, moody, notices, smtp } from './families.ts';
import { mailerCases } from './mailer.ts';
import { noticeCases } from './notices.ts';
import { queueCases } from './queue.ts';
import { receivingCases } from './receiving.ts';
import { storeCases } from './store.ts';
import { streamCases } from './stream.ts';

describe('conformance', () => {
  for (const family of [memory('memory'), memory('memory on a moody day', moody), embedded('embedded'), embedded('embedded on a moody day', moody)]) {
    for (const casesOf of [storeCases, queueCases, streamCases, receivingCases]) register(casesOf(family));
  }
  for (const family of [memoryMailer(), mailbox(), smtp()]) register(mailerCases(family));
  for (const format of formatNames) {
    register(carrierCases(demo(format)));
    register(noticeCases(notices(format)));
  }
});
