import { Defect, create, isPortError, key, partitionOf, type Ids, type Store } from '../../ports/index.ts';
import { collections } from '../flow.ts';

/**
 * What a deployment knows of itself, in one row: its secret, and the numbers of shards with which its rows were laid out. Made at the first start; checked at every
 * other one, because with other numbers nothing would be found again. Throws `Defect` when they differ.
 */
interface Deployment {
  readonly secret: string;
  readonly shards: Readonly<Record<string, number>>;
}

export async function openDeployment(store: Store, ids: Ids): Promise<Deployment> {
  const rowKey = key('deployment');
  const partition = partitionOf(collections.meta, rowKey);
  const shards = Object.fromEntries(Object.values(collections).map(({ name, shards: count }) => [name, count]));
  // It is there at every start but the first.
  const known = await store.get<Deployment>(partition, rowKey);
  if (known) return checked(known.body, shards);
  try {
    const fresh: Deployment = { secret: ids.random() + ids.random(), shards };
    await store.commit(partition, { writes: [create(rowKey, fresh)] });
    return fresh;
  } catch (error) {
    if (!isPortError(error, 'conflict')) throw error;
  }
  const row = await store.get<Deployment>(partition, rowKey);
  if (!row) throw new Defect('the deployment row was there and is not there');
  return checked(row.body, shards);
}

function checked(deployment: Deployment, shards: Deployment['shards']): Deployment {
  for (const [name, count] of Object.entries(deployment.shards)) {
    if (name in shards && shards[name] !== count) throw new Defect(`the store was laid out with ${count} shards of ${name}, this program expects ${shards[name]}`);
  }
  return deployment;
}
