import { expect } from 'chai';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { openDatabase } from '../../adapters/embedded/database.ts';
import { openEmbedded, type Embedded, type EmbeddedOptions } from '../../adapters/embedded/index.ts';
import { newEnough } from '../../adapters/embedded/sqlite.ts';
import { isPortError, type Message } from '../../ports/index.ts';

const child = fileURLToPath(new URL('embedded.child.ts', import.meta.url));
const day = 86_400_000;

describe('the embedded family', () => {
  let dataDir: string;
  let now: number;
  let opened: Embedded[];
  const clock = { now: () => now, sleep: () => Promise.resolve() };

  beforeEach(() => {
    dataDir = mkdtempSync(join(tmpdir(), 'anyport-'));
    now = Date.parse('2026-11-22T12:00:00Z');
    opened = [];
  });
  afterEach(async () => {
    for (const embedded of opened) await embedded.close();
    rmSync(dataDir, { recursive: true, force: true });
  });

  async function open(options: Partial<EmbeddedOptions> = {}): Promise<Embedded> {
    const embedded = await openEmbedded({ dataDir, clock, queues: ['work'], streams: ['facts'], ...options });
    opened.push(embedded);
    return embedded;
  }

  describe('one process a folder', () => {
    it('refuses a second opener with one line, until the first has closed', async () => {
      const first = await open();
      const refused = await failure(open());
      expect(isPortError(refused, 'denied')).to.equal(true);
      expect(String(refused)).to.contain('is in use by another process').and.not.contain('\n');
      await first.close();
      await open();
    });

    it('is held against another process, and let go by kill -9', async function () {
      this.timeout(30_000);
      const killed = spawnChild(dataDir, 'first');
      await once(killed.stdout, 'data');
      expect(isPortError(await failure(open()), 'denied')).to.equal(true);
      killed.kill('SIGKILL');
      await once(killed, 'close');
      await open();
    });
  });

  describe('durability', () => {
    it('still syncs in full after a write', async () => {
      const database = await openDatabase(dataDir);
      await database.write(() => database.number());
      expect(database.prepare('pragma synchronous').get()).to.include({ synchronous: 2 });
      expect(database.prepare('pragma journal_mode').get()).to.include({ journal_mode: 'wal' });
      database.close();
    });

    it('lets many callers share one commit', async () => {
      const { store } = await open();
      const before = commitsIn(join(dataDir, 'anyport.sqlite-wal'));
      await Promise.all(Array.from({ length: 64 }, (_, n) => store.commit('p', [{ op: 'create', key: `k${n}`, body: '1' }])));
      expect(commitsIn(join(dataDir, 'anyport.sqlite-wal'))).to.equal(before + 1);
    });

    it('loses nothing that was acknowledged and tears nothing when it is killed', async function () {
      this.timeout(60_000);
      const acknowledged = new Set<string>();
      for (const [round, lines] of [400, 1500, 3000].entries()) await runAndKill(dataDir, String(round), lines, acknowledged);

      const database = await openDatabase(dataDir);
      expect(database.prepare('pragma integrity_check').all().map((row) => Object.values(row as object)[0])).to.deep.equal(['ok']);
      database.close();

      now = Date.now() + 1000; // The child lives by the real clock.
      const embedded = await open();
      const parts = await allRows(embedded);
      const found = new Set([...parts.keys()].map((id) => `commit ${id}`));
      for (const id of await allEvents(embedded)) found.add(`append ${id}`);
      for (const id of await allMessages(embedded)) found.add(`send ${id}`);
      expect([...acknowledged].filter((line) => !found.has(line))).to.deep.equal([]);
      expect([...parts].filter(([, count]) => count !== 3)).to.deep.equal([]);
    });
  });

  describe('a commit that fails', () => {
    it('is unavailable for every member, writes nothing, and the next one goes through', async () => {
      const database = await openDatabase(dataDir);
      // A foreign key that is checked at COMMIT makes the COMMIT itself fail.
      database.connection.exec('create table parent (id integer primary key); create table child (id integer references parent deferrable initially deferred)');
      const insert = database.prepare('insert into child values (7)');
      const innocent = database.prepare('insert into parent values (1)');
      const outcomes = await Promise.allSettled([database.write(() => innocent.run()), database.write(() => insert.run()), database.write(() => 'only read')]);
      expect(outcomes.map((outcome) => outcome.status === 'rejected' && isPortError(outcome.reason, 'unavailable'))).to.deep.equal([true, true, true]);
      expect(database.prepare('select * from parent').all()).to.deep.equal([]);
      await database.write(() => innocent.run());
      expect(database.prepare('select id from parent').all().length).to.equal(1);
      database.close();
    });

    it('does not let its numbers come back', async () => {
      const first = await openDatabase(dataDir);
      first.connection.exec('create table parent (id integer primary key); create table child (id integer references parent deferrable initially deferred)');
      const insert = first.prepare('insert into child values (7)');
      await failure(first.write(() => first.number() && insert.run()));
      const given = await first.write(() => first.number());
      first.close();
      const second = await openDatabase(dataDir);
      expect(await second.write(() => second.number())).to.be.greaterThan(given);
      second.close();
    });

    it('is that of the one member that broke, not of the others', async () => {
      const database = await openDatabase(dataDir);
      database.connection.exec('create table things (id integer primary key)');
      const insert = database.prepare('insert into things values (?)');
      const outcomes = await Promise.allSettled([
        database.write(() => insert.run(1)),
        database.write(() => (insert.run(2), insert.run(1))),
        database.write(() => insert.run(3)),
      ]);
      expect(outcomes.map(({ status }) => status)).to.deep.equal(['fulfilled', 'rejected', 'fulfilled']);
      expect(database.prepare<{ id: number }>('select id from things').all().map(({ id }) => id)).to.deep.equal([1, 3]);
      database.close();
    });

    it('is unavailable after closing', async () => {
      const { store, close } = await open();
      const last = store.commit('p', [{ op: 'create', key: 'k', body: '1' }]);
      await close();
      expect(await last).to.have.length(1);
      expect(isPortError(await failure(store.commit('p', [{ op: 'create', key: 'l', body: '1' }])), 'unavailable')).to.equal(true);
      expect(isPortError(await failure(store.get('p', 'k')), 'unavailable')).to.equal(true);
    });
  });

  it('never gives a version twice, not to a row made again after a restart', async () => {
    const seen = new Set<string>();
    for (let round = 0; round < 3; round++) {
      const { store, close } = await open();
      for (let i = 0; i < 3; i++) {
        const [version = ''] = await store.commit('p', [{ op: 'create', key: 'k', body: '1' }]);
        expect(seen.has(version), version).to.equal(false);
        seen.add(version);
        await store.commit('p', [{ op: 'delete', key: 'k', version }]);
      }
      await close();
    }
    expect(seen.size).to.equal(9);
  });

  it('refuses another number of partitions than the folder was made with', async () => {
    await (await open({ partitionsPerStream: 2 })).close();
    expect(String(await failure(open({ partitionsPerStream: 3 })))).to.contain('has 2 partitions');
    await open({ partitionsPerStream: 2 });
  });

  it('opens no folder of a later version', async () => {
    const database = await openDatabase(dataDir);
    database.connection.exec('pragma user_version = 99');
    database.close();
    expect(String(await failure(open()))).to.contain('later version');
  });

  it('splits a page of very large rows', async () => {
    const { store } = await open();
    const body = JSON.stringify('x'.repeat(380_000));
    for (let i = 10; i < 90; i++) await store.commit('p', [{ op: 'create', key: `k${i}`, body }]);
    const first = await store.query('p', { prefix: 'k', limit: 100 });
    expect(first.rows.length).to.be.lessThan(80);
    const second = await store.query('p', { prefix: 'k', limit: 100, cursor: first.next! });
    expect([...first.rows, ...second.rows].map(({ key }) => key)).to.deep.equal(Array.from({ length: 80 }, (_, i) => `k${i + 10}`));
  });

  describe('retention', () => {
    async function positions(embedded: Embedded, after?: string): Promise<string[] | 'gap'> {
      const batch = await embedded.stream.read('facts', 'facts~00', { max: 256, waitSeconds: 0, ...(after === undefined ? {} : { after }) });
      return 'gap' in batch ? 'gap' : batch.events.map(({ position }) => position);
    }

    it('trims by age while it runs, and says gap only to those who missed something', async () => {
      const embedded = await open({ partitionsPerStream: 1, retentionDays: 7 });
      await embedded.stream.append('facts', [message('1'), message('2')]);
      const [first, second] = (await positions(embedded)) as string[];
      now += 6 * day;
      await embedded.stream.append('facts', [message('3')]);
      now += 2 * day;
      const kept = (await positions(embedded)) as string[];
      expect(kept.length).to.equal(1);
      expect(await positions(embedded, first)).to.equal('gap');
      expect(await positions(embedded, second)).to.deep.equal(kept);
    });

    it('trims on opening, and remembers what was trimmed when nothing is left', async () => {
      const embedded = await open({ partitionsPerStream: 1 });
      await embedded.stream.append('facts', [message('1'), message('2')]);
      const [first, second] = (await positions(embedded)) as string[];
      await embedded.close();
      now += 8 * day;
      const again = await open({ partitionsPerStream: 1 });
      expect(await positions(again)).to.deep.equal([]);
      expect(await positions(again, first)).to.equal('gap');
      expect(await positions(again, second)).to.deep.equal([]);
      await again.stream.append('facts', [message('3')]);
      expect(await positions(again, second)).to.have.length(1);
    });

    it('says gap to a position that this folder has never given', async () => {
      expect(await positions(await open({ partitionsPerStream: 1 }), '999999999999')).to.equal('gap');
    });
  });

  it('knows which SQLite is new enough', () => {
    expect(['3.51.3', '3.51.10', '3.53.0', '4.0.0'].map(newEnough)).to.deep.equal([true, true, true, true]);
    expect(['3.51.2', '3.45.1', '3.9.9', '2.99.99', ''].map(newEnough)).to.deep.equal([false, false, false, false, false]);
  });
});

function message(id: string): Message {
  const time = '2026-11-22T12:00:00.000Z';
  return { specversion: '1.0', id, source: '/test', type: 'Said', subject: 's', time, partitionkey: 's', sequence: '0000000001', dataversion: '1', data: {} };
}

async function failure(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error('it did not fail');
}

function spawnChild(dataDir: string, run: string) {
  return spawn(process.execPath, ['--import', 'tsx', child, dataDir, run], { stdio: ['ignore', 'pipe', 'inherit'] });
}

/** Lets the child work until it has said so many lines, kills it, and keeps every whole line that it has said. */
async function runAndKill(dataDir: string, run: string, lines: number, acknowledged: Set<string>): Promise<void> {
  const running = spawnChild(dataDir, run);
  let left = lines;
  for await (const line of createInterface({ input: running.stdout })) {
    if (/^(commit|append|send) \d+-\d+-\d+$/.test(line)) acknowledged.add(line);
    if (--left === 0) running.kill('SIGKILL');
  }
  expect(left, 'the child worked until it was killed').to.be.at.most(0);
}

/** How many transactions a WAL file holds: frames whose header tells the size of the database (https://sqlite.org/fileformat2.html#walformat). */
function commitsIn(file: string): number {
  const wal = readFileSync(file);
  const frameBytes = 24 + wal.readUInt32BE(8);
  let commits = 0;
  for (let at = 32; at + frameBytes <= wal.length; at += frameBytes) if (wal.readUInt32BE(at + 4) !== 0) commits++;
  return commits;
}

/** How many rows of each commit are there. */
async function allRows({ store }: Embedded): Promise<Map<string, number>> {
  const parts = new Map<string, number>();
  let cursor: string | undefined;
  do {
    const page = await store.query('orders~00', { prefix: '', limit: 1000, ...(cursor === undefined ? {} : { cursor }) });
    for (const { key } of page.rows) parts.set(key.split('|')[0]!, (parts.get(key.split('|')[0]!) ?? 0) + 1);
    cursor = page.next;
  } while (cursor !== undefined);
  return parts;
}

async function allEvents({ stream }: Embedded): Promise<string[]> {
  const ids: string[] = [];
  for (const partition of await stream.partitions('facts')) {
    for (let after: string | undefined; ; ) {
      const batch = await stream.read('facts', partition, { max: 256, waitSeconds: 0, ...(after === undefined ? {} : { after }) });
      if ('gap' in batch || batch.events.length === 0) break;
      ids.push(...batch.events.map(({ partitionkey }) => partitionkey));
      after = batch.events.at(-1)!.position;
    }
  }
  return ids;
}

async function allMessages({ queue }: Embedded): Promise<string[]> {
  const ids: string[] = [];
  for (;;) {
    const received = await queue.receive('work', { max: 256, waitSeconds: 0 });
    if (received.length === 0) return ids;
    for (const { message: said } of received) ids.push('id' in said ? said.id : 'malformed');
  }
}
