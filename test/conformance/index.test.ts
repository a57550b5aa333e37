import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import PostalMime from 'postal-mime';
import { openEmbedded, type Embedded } from '../../adapters/embedded/index.ts';
import { loadSqlite } from '../../adapters/embedded/sqlite.ts';
import { openMailbox } from '../../adapters/mailbox/index.ts';
import { faultless, hostile, openMemory, type Memory, type Profile } from '../../adapters/memory/index.ts';
import { createClock, type VirtualClock } from '../support/clock.ts';
import { randomFrom } from '../support/ids.ts';
import { said, world, type Family } from './family.ts';
import { mailerSuite, type MailerFamily } from './mailer.ts';
import { queueSuite } from './queue.ts';
import { storeSuite } from './store.ts';
import { streamSuite } from './stream.ts';

const lockSeconds = 30;
const retentionDays = 7;
const { queues, streams, partitionsPerStream } = world;
const names = { queues, streams, partitionsPerStream, lockSeconds, retentionDays };
const pastRetention = (retentionDays + 1) * 86_400_000;

/** What the contracts allow at any moment, without any failure: a suite that minds it asks for more than it may. */
const moody: Profile = { ...faultless, short: 0.4, empty: 0.3, reorder: 0.5, conflict: 0 };

function memory(name: string, faults?: Profile): Family {
  const random = randomFrom(7);
  let clock: VirtualClock;
  let drivers: Memory;
  const open = (engines?: Memory['engines']): Memory => {
    drivers = openMemory({ ...names, clock, ...(engines ? { engines } : {}), ...(faults ? { faults: { profile: faults, random } } : {}) });
    return drivers;
  };
  return {
    name,
    lockSeconds,
    async open() {
      clock = createClock();
      return open();
    },
    async restart() {
      drivers.close();
      return open(drivers.engines);
    },
    close: async () => drivers.close(),
    pass: (milliseconds) => clock.advance(milliseconds),
    plantQueue: async (queue, text) => drivers.engines.queue.send(queue, [text], { now: clock.now() }),
    plantStream: async (stream, partitionkey, text) => drivers.engines.stream.append(stream, [{ partitionkey, text }], clock.now()),
    async expire() {
      await clock.advance(pastRetention);
      drivers.engines.stream.trim(clock.now());
    },
  };
}

function embedded(name: string, faults?: Profile): Family {
  const random = randomFrom(7);
  let clock: VirtualClock;
  let dataDir: string;
  let drivers: Embedded;
  const open = async (): Promise<Embedded> => {
    drivers = await openEmbedded({ ...names, clock, dataDir });
    return faults ? hostile(drivers, faults, random, clock) : drivers;
  };
  /** A stranger's text cannot come through the driver, so a message of ours is sent and then written over in the file. */
  const overwrite = async (table: 'messages' | 'events', text: string): Promise<void> => {
    const connection = (await loadSqlite()).connect(join(dataDir, 'anyport.sqlite'));
    connection.prepare(`update ${table} set body = ? where body like '%"planted"%'`).run(text);
    connection.close();
  };
  return {
    name,
    lockSeconds,
    async open() {
      clock = createClock();
      dataDir = mkdtempSync(join(tmpdir(), 'anyport-'));
      return open();
    },
    async restart() {
      await drivers.close();
      return open();
    },
    async close() {
      await drivers.close();
      rmSync(dataDir, { recursive: true, force: true });
    },
    pass: (milliseconds) => clock.advance(milliseconds),
    async plantQueue(queue, text) {
      await drivers.queue.send(queue, [said('planted')], { delaySeconds: 0, attempts: 0 });
      await overwrite('messages', text);
    },
    async plantStream(stream, partitionkey, text) {
      await drivers.stream.append(stream, [said('planted', { partitionkey })]);
      await overwrite('events', text);
    },
    async expire() {
      await clock.advance(pastRetention);
      await drivers.trim();
    },
  };
}

function memoryMailer(): MailerFamily {
  const clock = createClock();
  let drivers: Memory;
  return {
    name: 'memory',
    async open() {
      drivers = openMemory({ ...names, clock });
      return drivers.mailer;
    },
    async restart() {
      drivers.close();
      drivers = openMemory({ ...names, clock, engines: drivers.engines });
      return drivers.mailer;
    },
    close: async () => drivers.close(),
    taken: async () => drivers.mailer.letters.map(({ to, subject }) => ({ address: to.address, subject })),
  };
}

function mailbox(): MailerFamily {
  let folder: string;
  const open = () => openMailbox({ folder, from: { name: 'Shop', address: 'shop@example.com' } });
  return {
    name: 'mailbox',
    async open() {
      folder = mkdtempSync(join(tmpdir(), 'anyport-'));
      return open();
    },
    restart: async () => open(),
    close: async () => rmSync(folder, { recursive: true, force: true }),
    async taken() {
      const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.eml'));
      const letters = await Promise.all(files.map((file) => PostalMime.parse(readFileSync(join(folder, file)))));
      return letters.map(({ to, subject }) => ({ address: to?.[0]?.address ?? '', subject: subject ?? '' }));
    },
  };
}

describe('conformance', () => {
  for (const family of [memory('memory'), memory('memory on a moody day', moody), embedded('embedded'), embedded('embedded on a moody day', moody)]) {
    storeSuite(family);
    queueSuite(family);
    streamSuite(family);
  }
  for (const family of [memoryMailer(), mailbox()]) mailerSuite(family);
});
