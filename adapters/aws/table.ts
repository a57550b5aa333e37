import type { CreateTableCommandInput } from '@aws-sdk/client-dynamodb';

/** The one table of a shop: `pk` is the partition of the store port, `sk` the key; `v` is the version and `b` the body of a row, as text. */
export function tableOf(name: string) {
  return {
    TableName: name,
    BillingMode: 'PAY_PER_REQUEST',
    AttributeDefinitions: [{ AttributeName: 'pk', AttributeType: 'S' }, { AttributeName: 'sk', AttributeType: 'S' }],
    KeySchema: [{ AttributeName: 'pk', KeyType: 'HASH' }, { AttributeName: 'sk', KeyType: 'RANGE' }],
  } as const satisfies CreateTableCommandInput;
}
