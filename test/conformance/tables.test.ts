import { azuritePatienceMs, sharedAzurite } from '../support/azurite.ts';
import { register } from './case.ts';
import { mailerCases } from './mailer.ts';
import { storeCases } from './store.ts';
import { azureMailer, azureStore } from './tables.ts';

describe('conformance of Azure: tables and letters', () => {
  before(async function () {
    this.timeout(azuritePatienceMs);
    await sharedAzurite();
  });
  register(storeCases(azureStore()));
  register(mailerCases(azureMailer()));
});
