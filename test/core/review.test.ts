import { expect } from 'chai';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openEmbedded } from '../../adapters/embedded/index.ts';
import { openMemory, type Memory } from '../../adapters/memory/index.ts';
import { systemClock } from '../../adapters/system/index.ts';
import { collections, queues, streams } from '../../core/flow.ts';
import { say } from '../../core/kernel/model.ts';
import { inTurn, type Reader } from '../../core/kernel/turns.ts';
import { openShop } from '../../handlers/container.ts';
import { services } from '../../handlers/index.ts';
import { startLocal } from '../../handlers/local.ts';
import { startPump } from '../../handlers/pump.ts';
import { parseSettings } from '../../handlers/settings.ts';
import { Defect, PortError, create, isPortError, key, openStore, openStream, partitionOf, replace, timestamp, type Row, type StoreDriver } from '../../ports/index.ts';
import { anna, home } from '../support/client.ts';
import { createClock } from '../support/clock.ts';
import { openWorld } from '../support/world.ts';

/** Faults that a review has found, each with the story in which it shows. */

describe('A turn', () => {
  const place = 'turns~00';
  const failure = (work: Promise<unknown>): Promise<unknown> => work.then(() => 'done', (error: unknown) => error);
  const writing = (rowKey: string) => async () => ({ result: null, writes: [create(rowKey, {})] });

  /** A store whose first commit waits, so that the works behind it gather. */
  function open() {
    const memory = openMemory({ clock: createClock(), queues: [], streams: [] });
    let letGo = (): void => {};
    const gate = new Promise<void>((resolve) => (letGo = resolve));
    let commits = 0;
    const driver: StoreDriver = {
      ...memory.store,
      async commit(partition, writes) {
        if (++commits === 1) await gate;
        return memory.store.commit(partition, writes);
      },
    };
    return { store: openStore(driver), other: openStore(memory.store), letGo };
  }

  it('that writes what no store can take fails alone', async () => {
    const { store, other, letGo } = open();
    const works = ['first', 'good', 'bad/key', 'better'].map((rowKey) => failure(inTurn(store, place, { keys: [], run: writing(rowKey) })));
    letGo();
    const [, good, bad, better] = await Promise.all(works);
    expect([good, better]).to.deep.equal(['done', 'done']);
    expect(bad).to.be.instanceOf(Defect);
    expect(await other.get(place, 'better')).to.not.equal(undefined);
  });

  it('is not judged by what a neighbour was about to write and never did', async () => {
    const { store, other, letGo } = open();
    await other.commit(place, { writes: [create('door', { open: true })] });
    const stale = (await other.get(place, 'door')) as Row;
    await other.commit(place, { writes: [replace(stale, { open: true })] });
    const pass = async (reader: Reader) => {
      const door = await reader.get<{ open: boolean }>(place, 'door');
      if (!door?.body.open) throw new Defect('the door is open');
      return { result: null };
    };
    const first = inTurn(store, place, { keys: [], run: writing('first') });
    const closing = failure(inTurn(store, place, { keys: [], run: async () => ({ result: null, writes: [replace(stale, { open: false })] }) }));
    const passing = failure(inTurn(store, place, { keys: ['door'], run: pass }));
    letGo();
    await first;
    expect(isPortError(await closing, 'conflict')).to.equal(true);
    expect(await passing).to.equal('done');
  });
});

describe('A sweep of the outbox', () => {
  it('that knows itself alone does not wait for the lease of a process that is gone', async () => {
    const world = await openWorld({ still: true });
    const { store, relay } = world.kernel;
    const id = 'b'.repeat(26);
    const place = partitionOf(collections.orders, id);
    const said = say('CancellationRequested', { orderId: id }, { subject: id, sequence: 0, at: timestamp(world.clock.now()) });
    await store.commit(place, { writes: [create(key('lease', 'sweep'), { until: world.clock.now() + 20_000 })], outgoing: [said] });
    expect(await world.play(relay.sweep(0))).to.equal(0);
    expect(await world.play(relay.sweep(0, 'alone'))).to.equal(1);
    expect(world.rows('outbox')).to.deep.equal([]);
    expect(world.rows('lease')).to.deep.equal([]);
    await world.stop();
  });
});

describe('A pump', () => {
  it('stops although a timer never comes to its end', async () => {
    const world = await openWorld({ still: true });
    const pump = startPump(world.kernel, services, { timers: [{ name: 'endless', everySeconds: 1, tick: () => new Promise(() => {}) }] });
    await world.clock.advance(2_000);
    await world.play(pump.stop());
    await world.stop();
  });
});

describe('A start', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'anyport-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  const settingsOf = (more: Record<string, string>) => parseSettings({ DATA_DIR: folder, LOG_LEVEL: 'silent', ADMIN_TOKEN: 'a-token-for-the-review', PORT: '0', SAMPLE_CATALOGUE: 'off', ...more });
  const open = (): Memory => openMemory({ clock: systemClock, queues, streams });

  it('that fails lets go of the port', async () => {
    const port = await freePort();
    const memory = open();
    const store: StoreDriver = {
      ...memory.store,
      async commit(partition, writes) {
        if (partition.startsWith('products~')) throw new PortError('denied', 'nothing is sold here');
        return memory.store.commit(partition, writes);
      },
    };
    const settings = settingsOf({ ADAPTERS: 'memory', PORT: String(port), SAMPLE_CATALOGUE: 'on' });
    const error = await startLocal(settings, { memory: { ...memory, store } }).then(() => undefined, (reason: unknown) => reason);
    expect(isPortError(error, 'denied')).to.equal(true);
    expect(await freePort(port)).to.equal(port);
  });

  it('that fails lets go of the data folder', async () => {
    const options = { dataDir: folder, clock: systemClock, queues, streams };
    const embedded = await openEmbedded(options);
    const row = key('deployment');
    await openStore(embedded.store).commit(partitionOf(collections.meta, row), { writes: [create(row, { secret: 'x', shards: { orders: 7 } })] });
    await embedded.close();
    const error = await openShop(settingsOf({ ADAPTERS: 'embedded' }), { post: async () => 204 }).then(() => undefined, (reason: unknown) => reason);
    expect(error).to.be.instanceOf(Defect);
    await (await openEmbedded(options)).close();
  });

  it('does not take for left behind what it has just begun itself', async () => {
    const memory = open();
    const id = 'a'.repeat(26);
    const lines = [{ sku: 'MUG', name: 'Mug', quantity: 1, unitPrice: 100 }];
    const placedAt = timestamp(Date.now());
    const { message } = say('OrderPlaced', { orderId: id, placedAt, customer: anna, address: home, lines, total: { amount: 100, currency: 'GBP' } }, { subject: id, sequence: 0, at: placedAt });
    await openStream(memory.stream).append('orders', [message]);
    const calls: string[] = [];
    const slowly = { ...memory.mailer, send: (): Promise<void> => (calls.push('send'), systemClock.sleep(400)), ask: async () => (calls.push('ask'), 'notSent' as const) };
    const local = await startLocal(settingsOf({ ADAPTERS: 'memory' }), { memory: { ...memory, mailer: slowly } });
    await systemClock.sleep(300);
    await local.stop();
    expect(calls).to.deep.equal(['send']);
  });
});

/** Answers a port on which one can listen; throws when it is `wanted` and taken. */
function freePort(wanted = 0): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(wanted, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
