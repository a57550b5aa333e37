import { withDynamo } from './support/dynamo.ts';
import { tellMatrix } from './matrix.ts';

withDynamo('what becomes of orders, on mixtures of all families', () => tellMatrix('orders'));
