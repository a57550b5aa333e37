import type { StoreDriver } from '../../ports/index.ts';
import type { StoreEngine } from '../engine/store.ts';
import type { Gate } from './wait.ts';

/** The store engine behind the driver's face. */
export function createStore(engine: StoreEngine, gate: Gate): StoreDriver {
  return {
    async get(partition, key) {
      gate.pass();
      return engine.get(partition, key);
    },
    async query(partition, query) {
      gate.pass();
      return engine.query(partition, query);
    },
    async commit(partition, writes) {
      gate.pass();
      return engine.commit(partition, writes);
    },
  };
}
