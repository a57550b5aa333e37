import { createHmac } from 'node:crypto';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import PostalMime from 'postal-mime';
import { SMTPServer } from 'smtp-server';
import { demoCarrier, type DemoCarrier, type Post } from '../../adapters/carriers/carrier.ts';
import { noticeReaders, writers, type FormatName } from '../../adapters/carriers/index.ts';
import { openEmbedded, type Embedded } from '../../adapters/embedded/index.ts';
import { loadSqlite } from '../../adapters/embedded/sqlite.ts';
import { openMailbox } from '../../adapters/mailbox/index.ts';
import { faultless, hostile, openMemory, type Memory, type Profile } from '../../adapters/memory/index.ts';
import { PortError, partsOf, type MailerDriver, type StoreDriver } from '../../ports/index.ts';
import { openSmtp, type Smtp } from '../../adapters/smtp/index.ts';
import { createClock, type VirtualClock } from '../support/clock.ts';
import { randomFrom } from '../support/ids.ts';
import type { CarrierFamily, Posted } from './carrier.ts';
import { said, world, type Family } from './family.ts';
import type { MailerFamily } from './mailer.ts';
import type { NoticeFamily } from './notices.ts';

/** The families of this house, as the suites want them described. */

const lockSeconds = 30;
const retentionDays = 7;
const { queues, streams, partitionsPerStream } = world;
const names = { queues, streams, partitionsPerStream, lockSeconds, retentionDays };
const pastRetention = (retentionDays + 1) * 86_400_000;

/** What the contracts allow at any moment, without any failure: a suite that minds it asks for more than it may. */
export const moody: Profile = { ...faultless, short: 0.4, empty: 0.3, reorder: 0.5, conflict: 0 };

export function memory(name: string, faults?: Profile): Family {
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
    clock: () => clock,
    pass: (milliseconds) => clock.advance(milliseconds),
    sever: async () => drivers.close(),
    plantQueue: async (queue, text) => drivers.engines.queue.send(queue, [text], { now: clock.now() }),
    plantStream: async (stream, partitionkey, text) => drivers.engines.stream.append(stream, [{ partitionkey, text }], clock.now()),
    async expire() {
      await clock.advance(pastRetention);
      drivers.engines.stream.trim(clock.now());
    },
  };
}

export function embedded(name: string, faults?: Profile): Family {
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
    clock: () => clock,
    pass: (milliseconds) => clock.advance(milliseconds),
    sever: () => drivers.close(),
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

export function memoryMailer(): MailerFamily {
  const clock = createClock();
  let drivers: Memory;
  let losing = false;
  const open = (engines?: Memory['engines']): MailerDriver => {
    drivers = openMemory({ ...names, clock, ...(engines ? { engines } : {}) });
    const { mailer } = drivers;
    return { ...mailer, send: (letter) => mailer.send(letter).then(answer) };
  };
  async function answer(): Promise<void> {
    if (!losing) return;
    losing = false;
    throw new PortError('unavailable', 'the answer was lost');
  }
  return {
    name: 'memory',
    open: async () => open(),
    async restart() {
      drivers.close();
      return open(drivers.engines);
    },
    close: async () => drivers.close(),
    taken: async () => drivers.mailer.letters.map(({ to, subject }) => ({ address: to.address, subject })),
    sever: async () => drivers.close(),
    loseAnswer: async () => void (losing = true),
  };
}

export function mailbox(): MailerFamily {
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
    async sever() {
      rmSync(folder, { recursive: true, force: true });
      writeFileSync(folder, 'no folder any more');
    },
    async taken() {
      const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.eml'));
      const letters = await Promise.all(files.map((file) => PostalMime.parse(readFileSync(join(folder, file)))));
      return letters.map(({ to, subject }) => ({ address: to?.[0]?.address ?? '', subject: subject ?? '' }));
    },
  };
}

/** A mail server that takes everything: nobody remembers a key but the Message-ID, by which the customer's program tells repeats. */
export function smtp(): MailerFamily {
  let server: SMTPServer;
  let mailer: Smtp;
  let taken: Buffer[];
  const connect = (port: number): Smtp => (mailer = openSmtp({ url: `smtp://127.0.0.1:${port}`, from: { name: 'Shop', address: 'shop@example.com' }, timeoutMilliseconds: 2_000 }));
  const portOf = (): number => (server.server.address() as AddressInfo).port;
  async function stop(): Promise<void> {
    mailer.close();
    if (server.server.listening) await new Promise<void>((resolve) => server.close(resolve));
  }
  return {
    name: 'smtp',
    async open() {
      taken = [];
      server = new SMTPServer({
        disabledCommands: ['AUTH', 'STARTTLS'], closeTimeout: 10,
        onData: (stream, _session, done) => {
          const parts: Buffer[] = [];
          stream.on('data', (part: Buffer) => parts.push(part));
          stream.on('end', () => (taken.push(Buffer.concat(parts)), done()));
        },
      });
      server.on('error', () => undefined);
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      return connect(portOf());
    },
    async restart() {
      mailer.close();
      return connect(portOf());
    },
    close: stop,
    sever: stop,
    async taken() {
      const letters = await Promise.all(taken.map((raw) => PostalMime.parse(raw)));
      return letters.map(({ to, subject }) => ({ address: to?.[0]?.address ?? '', subject: subject ?? '' }));
    },
    forgetful: true,
  };
}

const carrierSecret = 'the secret of the webhook';

/** The demo carrier, in the words of one of the formats that it speaks. */
export function demo(speaks: FormatName): CarrierFamily {
  let clock: VirtualClock;
  let drivers: Memory;
  let status = 204;
  let posted: Posted[] = [];
  let next: 'throttled' | 'lost' | undefined;
  let carrier: DemoCarrier;
  const open = (engines?: Memory['engines']): DemoCarrier => {
    drivers = openMemory({ clock, queues: [], streams: [], ...(engines ? { engines } : {}) });
    const { store } = drivers;
    const commit: StoreDriver['commit'] = async (...args) => {
      const fault = next;
      next = undefined;
      if (fault === 'throttled') throw new PortError('throttled', 'the carrier is busy');
      const versions = await store.commit(...args);
      if (fault === 'lost') throw new PortError('unavailable', 'the answer was lost');
      return versions;
    };
    const post: Post = async (_path, headers, body) => {
      posted.push({ headers, body });
      return status;
    };
    carrier = demoCarrier({ store: { ...store, commit }, clock, speaks, secret: carrierSecret, deliversAfterSeconds: 20, post, trackingUrl: 'https://carrier.example/track' });
    return carrier;
  };
  return {
    name: `demo in the words of ${speaks}`,
    async open() {
      clock = createClock();
      posted = [];
      next = undefined;
      return open();
    },
    async restart() {
      drivers.close();
      return open(drivers.engines);
    },
    close: async () => drivers.close(),
    async parcels() {
      const { store } = drivers.engines;
      return store.partitions().flatMap((partition) => store.query(partition, { prefix: 'parcel|', limit: 10_000 }).rows.map(({ key }) => partsOf(key)[1]!));
    },
    loseAnswer: async () => void (next = 'lost'),
    throttle: async () => void (next = 'throttled'),
    sever: async () => drivers.close(),
    async speak(answer) {
      status = answer;
      posted = [];
      await carrier.tick();
      return posted;
    },
    reader: noticeReaders({ [speaks]: carrierSecret }).get(speaks)!,
    async pass(milliseconds) {
      await clock.advance(milliseconds);
      return clock.now();
    },
  };
}

const hmac = (secret: string, ...parts: readonly (string | Uint8Array)[]) => parts.reduce((sum, part) => sum.update(part), createHmac('sha256', secret));
const secondsOf = (now: number): string => String(Math.floor(now / 1_000));

type Format = Omit<NoticeFamily, 'name' | 'open' | 'say'>;
type Said = Record<string, Record<string, unknown>>;

const formats: Readonly<Record<FormatName, Format>> = {
  demo: {
    signedBy: 'demo-signature',
    sign: (body, secret) => ({ 'demo-signature': `sha256=${hmac(secret, body).digest('hex')}` }),
    strange: (notice, word) => ({ ...notice, status: word }),
    required: ['id', 'carrier', 'trackingNumber', 'status', 'occurredAt'],
    asides: [],
  },
  easypost: {
    signedBy: 'x-hmac-signature',
    sign: (body, secret) => ({ 'x-hmac-signature': `hmac-sha256-hex=${hmac(secret.normalize('NFKD'), body).digest('hex')}` }),
    strange: (notice, word) => ({ ...notice, result: { ...(notice as Said)['result'], status: word } }),
    required: ['id', 'mode', 'description', 'result.tracking_code', 'result.carrier', 'result.status'],
    asides: [{ description: 'tracker.updated', mode: 'test' }, { description: 'batch.created', mode: 'production', result: 7 }],
  },
  shippo: {
    signedBy: 'shippo-auth-signature',
    sign: (body, secret, now) => ({ 'shippo-auth-signature': `t=${secondsOf(now)},v1=${hmac(secret, `${secondsOf(now)}.`, body).digest('hex')}` }),
    toleranceSeconds: 300,
    // It has no words of its own for the last mile.
    instead: { outForDelivery: 'inTransit', availableForPickup: 'inTransit' },
    strange: (notice, word) => ({ ...notice, data: { ...(notice as Said)['data'], tracking_status: { ...((notice as Said)['data']!['tracking_status'] as object), status: word } } }),
    required: ['event', 'test', 'data.carrier', 'data.tracking_number', 'data.tracking_status.status', 'data.tracking_status.status_date'],
    asides: [{ event: 'track_updated', test: true }, { event: 'transaction_created', test: false }],
  },
  aftership: {
    signedBy: 'aftership-hmac-sha256',
    sign: (body, secret) => ({ 'aftership-hmac-sha256': hmac(secret, body).digest('base64') }),
    strange: (notice, word) => ({ ...notice, msg: { ...(notice as Said)['msg'], tag: word } }),
    required: ['event', 'event_id', 'msg.tracking_number', 'msg.slug', 'msg.tag'],
    asides: [{ event: 'edd_revise' }],
  },
};

export const formatNames = Object.keys(formats) as FormatName[];

export function notices(format: FormatName): NoticeFamily {
  return {
    name: format,
    open: (secret) => noticeReaders({ [format]: secret }).get(format)!,
    say: (fact, secret, now) => writers[format](fact, secret, now),
    ...formats[format],
  };
}
