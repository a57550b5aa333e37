import { dynamoPatienceMs, sharedDynamo, withDynamo } from '../support/dynamo.ts';
import { register } from './case.ts';
import { awsStore } from './dynamo.ts';
import { storeCases } from './store.ts';

withDynamo('the conformance of the store of AWS', () => {
  describe('conformance of AWS: tables', () => {
    before(async function () {
      this.timeout(dynamoPatienceMs);
      await sharedDynamo();
    });
    register(storeCases(awsStore()));
  });
});
