import { openMemory, type Memory } from '../../adapters/memory/index.ts';
import type { QueueDriver, RawRow, StoreDriver, StreamDriver } from '../../ports/index.ts';
import { createClock, type VirtualClock } from '../support/clock.ts';
import { world, type Drivers, type Family } from './index.ts';

/**
 * A stranger's family: what a cloud's looks like from here. Its versions, cursors, positions and receipts are texts that mean nothing to anybody else, and it has
 * no means to plant a text, to expire a stream or to be cut off.
 */
const seal = (kind: string, text: string): string => `${kind}_${Buffer.from(text).toString('base64url')}`;

/** What is no seal of ours is a text that nothing was ever sealed as. */
function opened(kind: string, sealed: string): string {
  const text = sealed.startsWith(`${kind}_`) ? Buffer.from(sealed.slice(kind.length + 1), 'base64url').toString() : '';
  return seal(kind, text) === sealed ? text : `no ${kind}`;
}

const etagged = (row: RawRow): RawRow => ({ ...row, version: seal('etag', `${row.key} ${row.version}`) });

function sealedStore(driver: StoreDriver): StoreDriver {
  const version = (key: string, etag: string): string => opened('etag', etag).slice(key.length + 1);
  return {
    async get(partition, key) {
      const row = await driver.get(partition, key);
      return row && etagged(row);
    },
    async query(partition, { cursor, ...query }) {
      const { rows, next } = await driver.query(partition, { ...query, ...(cursor === undefined ? {} : { cursor: opened('page', cursor) }) });
      return { rows: rows.map(etagged), ...(next === undefined ? {} : { next: seal('page', next) }) };
    },
    async commit(partition, writes) {
      const versions = await driver.commit(partition, writes.map((write) => (write.op === 'create' ? write : { ...write, version: version(write.key, write.version) })));
      return versions.map((each, n) => each && seal('etag', `${writes[n]!.key} ${each}`));
    },
  };
}

function sealedQueue(driver: QueueDriver): QueueDriver {
  const handle = (receipt: unknown): unknown => Number(opened('receipt', String(receipt)));
  return {
    ...driver,
    receive: async (...args) => (await driver.receive(...args)).map((received) => ({ ...received, receipt: seal('receipt', String(received.receipt)) })),
    remove: (received) => driver.remove({ ...received, receipt: handle(received.receipt) }),
    renew: async (received) => ({ ...(await driver.renew({ ...received, receipt: handle(received.receipt) })), receipt: received.receipt }),
  };
}

function sealedStream(driver: StreamDriver): StreamDriver {
  return {
    ...driver,
    async read(stream, partition, { after, ...options }) {
      const batch = await driver.read(stream, partition, { ...options, ...(after === undefined ? {} : { after: opened('offset', after) }) });
      return 'gap' in batch ? batch : { events: batch.events.map((event) => ({ ...event, position: seal('offset', event.position) })) };
    },
  };
}

export function foreign(): Family {
  let clock: VirtualClock;
  let memory: Memory;
  const open = (engines?: Memory['engines']): Drivers => {
    memory = openMemory({ ...world, clock, lockSeconds: 60, ...(engines ? { engines } : {}) });
    return { store: sealedStore(memory.store), queue: sealedQueue(memory.queue), stream: sealedStream(memory.stream) };
  };
  return {
    name: 'foreign',
    lockSeconds: 60,
    async open() {
      clock = createClock();
      return open();
    },
    async restart() {
      memory.close();
      return open(memory.engines);
    },
    close: async () => memory.close(),
    clock: () => clock,
    pass: (milliseconds) => clock.advance(milliseconds),
    skips: { 'gives positions that are no longer than a row can keep': 'to show that a skipped case is said with its reason' },
  };
}
