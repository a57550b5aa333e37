import { register } from './case.ts';
import { mailerCases } from './mailer.ts';
import { awsMailer, sesPatienceMs, sharedSes } from './ses.ts';

describe('conformance of AWS: letters', () => {
  before(async function () {
    this.timeout(sesPatienceMs);
    await sharedSes();
  });
  register(mailerCases(awsMailer()));
});
