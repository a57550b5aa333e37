import { expect } from 'chai';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openMemory } from '../../adapters/memory/index.ts';
import { collections, queues, streams } from '../../core/flow.ts';
import { inventory } from '../../core/inventory/index.ts';
import { bury } from '../../core/kernel/dead.ts';
import { execute } from '../../core/kernel/execute.ts';
import { say } from '../../core/kernel/model.ts';
import { deathsMax, park } from '../../core/kernel/park.ts';
import type { AnyService } from '../../core/kernel/service.ts';
import { letters } from '../../core/notification/letters.ts';
import { shipping } from '../../core/shipping/index.ts';
import { shipments } from '../../core/shipping/shipment.ts';
import { leaveAddress, takeAddress } from '../../handlers/address.ts';
import { openShop, type Shop } from '../../handlers/container.ts';
import { ops } from '../../handlers/ops.ts';
import { startServer, type Server } from '../../handlers/server.ts';
import { parseSettings } from '../../handlers/settings.ts';
import { key, partitionOf, timestamp, type Message, type OutboxBody } from '../../ports/index.ts';
import { anna, basket, client, eventually, home } from '../support/client.ts';
import { createClock, type VirtualClock } from '../support/clock.ts';
import { createIds } from '../support/ids.ts';
import { createLog } from '../support/log.ts';

const adminToken = 'the-token-of-the-command-line';

interface Printed {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

const idOf = (n: number): string => `order${n}`.padEnd(26, 'x');
const noon = Date.parse('2026-11-20T09:00:00.000Z');
const minute = 60_000;

function placed(n: number): Message {
  const lines = [{ sku: 'A', name: 'A', quantity: 1, unitPrice: 1 }];
  const data = { orderId: idOf(n), placedAt: timestamp(noon), customer: anna, address: home, lines, total: { amount: 1, currency: 'GBP' } };
  return say('OrderPlaced', data, { subject: idOf(n), sequence: 0, at: timestamp(noon) }).message;
}
const cancelled = (n: number, sequence: number): Message => say('CancellationRequested', { orderId: idOf(n) }, { subject: idOf(n), sequence, at: timestamp(noon) }).message;

describe('The command line', function () {
  this.timeout(60_000);

  describe('over a shop', () => {
    let clock: VirtualClock;
    let shop: Shop;
    let server: Server;

    before(async () => {
      clock = createClock(timestamp(noon));
      const memory = openMemory({ clock, queues, streams });
      const settings = parseSettings({ ADAPTERS: 'memory', DATA_DIR: 'unused', DEMO_CARRIER_SECRET: 'a secret of the demo carrier' });
      shop = await openShop(settings, { post: async () => 204, clock, ids: createIds(7), log: createLog(), memory });
      server = await startServer({ port: 0, host: '127.0.0.1', context: { kernel: shop.kernel, adminToken, rateLimit: false }, ready: () => true, log: createLog() });
      await fill();
    });
    after(async () => {
      await server.close();
      await shop.close();
    });

    async function run(...argv: string[]): Promise<Printed> {
      return runWith({}, ...argv);
    }
    async function runWith(more: { stdin?: string; env?: Record<string, string>; width?: number; colour?: boolean }, ...argv: string[]): Promise<Printed> {
      let out = '';
      let err = '';
      const code = await ops(argv, {
        env: { ADMIN_TOKEN: adminToken, ANYPORT_URL: server.url, DATA_DIR: '/nowhere', ...more.env },
        paper: { width: more.width ?? 80, colour: more.colour ?? false },
        out: (text) => void (out += text),
        err: (text) => void (err += text),
        stdin: async () => more.stdin ?? '',
        folder: tmpdir(),
      });
      for (const line of out.split('\n')) if (!argv.includes('--json') && !/^\s+("|[[\]{}])/.test(line)) expect([...line.replaceAll(/\u001b\[\d+m/g, '')].length, line).to.be.at.most(more.width ?? 80);
      return { code, out, err };
    }

    /** Some of each trouble, as the shop itself would have noted it. */
    async function fill(): Promise<void> {
      const { kernel } = shop;
      const dead = async (n: number, reason: string): Promise<void> => {
        await kernel.queue.send('reserve-stock', [placed(n)]);
        const [received] = await kernel.queue.receive('reserve-stock', { max: 1, waitSeconds: 0 });
        await bury(kernel, inventory as AnyService, () => received!, reason);
        await clock.advance(minute);
      };
      for (let n = 1; n <= 12; n++) await dead(n, `maxAttempts: Defect: order ${idOf(n)} is in two states`);
      await dead(13, 'invalid: OrderPlaced /data/lines must have at least one line, and so on until the line is so long that it has to be broken');
      for (const [n, events, deaths] of [[21, 3, 0], [22, 1, deathsMax]] as const) {
        for (let i = 0; i < events; i++) await park(kernel, shipping as AnyService, 'orders', { position: String(i), partitionkey: idOf(n), message: cancelled(n, i) }, 'Defect: only a claimed booking is confirmed', deaths);
        await clock.advance(minute);
      }
      const body: OutboxBody = { message: placed(31), roads: [{ kind: 'stream', channel: 'orders' }], at: noon, attempts: 1, notBefore: 0, stuck: 'tooLarge: OrderPlaced is over 262144 bytes' };
      await kernel.store.commit(partitionOf(collections.orders, idOf(31)), { writes: [{ op: 'create', key: key('outbox', idOf(31), '0000000000', '00'), body }] });
      const mail = async (n: number, state: 'uncertain' | 'refused'): Promise<void> => {
        const at = timestamp(clock.now());
        await execute(kernel, letters, { id: idOf(n), command: { do: 'hear', milestone: 'confirmation', reached: { at }, order: placed(n).data as never, by: 'me', now: at } });
        await execute(kernel, letters, { id: idOf(n), command: { do: 'confirm', milestone: 'confirmation', state, by: 'me', now: at } });
      };
      await mail(41, 'uncertain');
      await mail(42, 'uncertain');
      await mail(43, 'refused');
      const booking = async (n: number, ...more: Parameters<typeof shipments.decide>[1][]): Promise<void> => {
        for (const command of [{ do: 'ship', shipTo: { ...home, name: 'Anna' }, items: [{ sku: 'A', quantity: 1 }], at: timestamp(clock.now()) } as const, ...more]) await execute(kernel, shipments, { id: idOf(n), command });
      };
      await booking(51, { do: 'doubt' });
      await booking(52, { do: 'giveUp', orderId: idOf(52), refused: 'denied: no such postcode', at: timestamp(clock.now()) });
    }

    /** Ids are digests; all else is known. */
    const masked = (text: string): string => text.replaceAll(/\b[0-9a-f]{16}\b/g, '################').replaceAll(/\b[0-9a-f]{8}\b/g, '########');
    const idsOf = async (...argv: string[]): Promise<string[]> => (JSON.parse((await run(...argv, '--json')).out) as { items: { id: string }[] }).items.map(({ id }) => id);

    it('lists dead letters by cause, the commonest first, ten of each', async () => {
      const { code, out, err } = await run('dead-letters');
      expect([code, err]).to.deep.equal([0, '']);
      expect(masked(out)).to.equal(`13 dead letters of 2 causes

12 × maxAttempts: Defect: order … is in two states
  id        since         event        about     for        attempts
  ########  20 Nov 09:00  OrderPlaced  order1xx  inventory         1
  ########  20 Nov 09:01  OrderPlaced  order2xx  inventory         1
  ########  20 Nov 09:02  OrderPlaced  order3xx  inventory         1
  ########  20 Nov 09:03  OrderPlaced  order4xx  inventory         1
  ########  20 Nov 09:04  OrderPlaced  order5xx  inventory         1
  ########  20 Nov 09:05  OrderPlaced  order6xx  inventory         1
  ########  20 Nov 09:06  OrderPlaced  order7xx  inventory         1
  ########  20 Nov 09:07  OrderPlaced  order8xx  inventory         1
  ########  20 Nov 09:08  OrderPlaced  order9xx  inventory         1
  ########  20 Nov 09:09  OrderPlaced  order10x  inventory         1
  … and 2 more; --cause shows one cause, --limit so many of each

1 × invalid: OrderPlaced /data/lines must have at least one line, and so on
    until the line is so long that it has to be broken
  id        since         event        about     for        attempts
  ########  20 Nov 09:12  OrderPlaced  order13x  inventory         1

npm run ops -- dead-letters show ID, retry ID, resolve ID
`);
    });

    it('lists of one cause all, and takes a part of its name', async () => {
      expect((await run('dead-letters', '--cause', 'two states')).out.split('\n')).to.have.length(19);
      expect((await run('dead-letters', 'list', '--cause', 'two states', '--limit', '2')).out).to.include('… and 10 more');
      const { code, err } = await run('dead-letters', '--cause', 'a');
      expect([code, err]).to.deep.equal([1, 'ops: 2 causes have "a" in them; give more of it\n']);
      expect(await run('dead-letters', '--cause', 'nothing')).to.deep.equal({ code: 1, out: '', err: 'ops: nothing there has the cause "nothing"\n' });
    });

    it('lists parked keys, stuck messages, letters and bookings', async () => {
      expect(masked((await run('parked')).out)).to.equal(`2 parked keys

2 × Defect: only a claimed booking is confirmed
  id        since         listener  stream  key       events  next try
  ########  20 Nov 09:13  shipping  orders  order21x       3  09:13:05
  ########  20 Nov 09:14  shipping  orders  order22x       1  by hand

npm run ops -- parked show ID, retry ID, resolve ID
`);
      expect(masked((await run('stuck')).out)).to.equal(`1 stuck message

1 × tooLarge: OrderPlaced is over … bytes
  id        said          event        about     tries  cannot go on
  ########  20 Nov 09:00  OrderPlaced  order31x      1  orders

npm run ops -- stuck show ID, retry ID, resolve ID
`);
      expect((await run('mails')).out).to.equal(`2 uncertain letters

  id                     since         state      to
  order41x.confirmation  20 Nov 09:15  uncertain  anna@example.com
  order42x.confirmation  20 Nov 09:15  uncertain  anna@example.com

The mailer refuses 1 letter; --state refused lists them.

npm run ops -- mails show ID, retry ID, resolve ID
`);
      expect((await run('bookings')).out).to.equal(`2 bookings that need a person

  order     since         state      what is known
  order51x  20 Nov 09:15  uncertain  the carrier never said
  order52x  20 Nov 09:15  refused    denied: no such postcode

npm run ops -- bookings show ID, retry ID, resolve ID
`);
    });

    it('shows one of them, by the beginning of its id', async () => {
      const [id = ''] = await idsOf('dead-letters');
      const { out } = await run('dead-letters', 'show', id.slice(0, 8));
      expect(masked(out).split('\n').slice(0, 18).join('\n')).to.equal(`Dead letter ################

  event     OrderPlaced about ${idOf(1)}
  queue     reserve-stock, for inventory
  state     dead since 2026-11-20 09:00:00
  attempts  1
  reason    maxAttempts: Defect: order ${idOf(1)} is in two
            states
  cause     maxAttempts: Defect: order … is in two states

History
  2026-11-20 09:00:00  dead  maxAttempts: Defect: order
                             ${idOf(1)} is in two states

Message
  {
    "specversion": "1.0",
    "id": "${idOf(1)}:OrderPlaced:0",`);
      const [parkedId = ''] = await idsOf('parked');
      const parked = (await run('parked', 'show', parkedId)).out;
      expect(parked).to.include('\n  next try  by itself at 2026-11-20 09:13:05\n').and.to.include('\nEvent 3 of 3\n');
      expect((await run('stuck', 'show', (await idsOf('stuck'))[0]!)).out).to.include('\n  not on    orders\n');
      expect((await run('mails', 'show', 'order41x.confirmation')).out).to.include(`Letter ${idOf(41)}.confirmation\n`);
      expect((await run('bookings', 'show', 'order52')).out).to.include('  detail  denied: no such postcode\n');
      expect((await run('dead-letters', 'show', 'zz')).code).to.equal(1);
      const starts = (await idsOf('dead-letters')).map((each) => each[0]!);
      const shared = starts.find((each, n) => starts.indexOf(each) < n)!;
      expect((await run('dead-letters', 'show', shared)).err).to.match(/^ops: \d begin with "."; give more of the id\n$/);
      expect((await run('dead-letters', 'show', '00000000')).err).to.equal('ops: there is no dead letter "00000000"\n');
      expect((await run('dead-letters', 'show', '0123456789abcdef')).err).to.equal('ops: there is nothing of this id; it may have been dealt with\n');
    });

    it('prints what the API answers with --json, a page at a time', async () => {
      const api = client(server.url, adminToken);
      for (const [argv, path] of [
        [['dead-letters', '--limit', '2'], '/api/dead-letters?limit=2'], [['parked'], '/api/parked'], [['stuck'], '/api/stuck'], [['mails'], '/api/mails?state=uncertain'], [['bookings'], '/api/bookings'],
        [['audit'], '/api/audit'], [['acts'], '/api/acts?limit=25'],
      ] as const) {
        const { out } = await run(...argv, '--json');
        expect(JSON.parse(out), path).to.deep.equal((await api.adminGet(path)).body);
        expect(out.split('\n'), 'one line').to.have.length(2);
      }
      const { next } = JSON.parse((await run('dead-letters', '--json', '--limit', '2')).out) as { next: string };
      expect(await idsOf('dead-letters', '--limit', '2', '--after', next)).to.deep.equal((await idsOf('dead-letters')).slice(2, 4));
      const refused = await run('dead-letters', 'show', '0123456789abcdef', '--json');
      expect(JSON.parse(refused.out)).to.include({ status: 404, type: 'urn:anyport:problem:not-found' });
    });

    it('lists what people have changed, the newest first, of everybody or of one', async () => {
      const api = client(server.url, adminToken);
      expect((await api.adminPut('/api/products/KETTLE', { name: 'Kettle', price: { amount: 1_900, currency: 'GBP' } })).status).to.equal(201);
      expect((await api.adminPost('/api/inventory/NOWHERE/receipts', { quantity: 1 })).status).to.equal(404);
      const { code, out } = await run('acts', '--limit', '2');
      expect(code).to.equal(0);
      const lines = out.split('\n');
      expect(lines.filter((line) => line.includes('KETTLE') || line.includes('NOWHERE')).map((line) => line.trim().split(/ {2,}/).slice(1))).to.have.deep.members([['token', 'describeProduct', 'KETTLE', 'done'], ['token', 'receiveStock', 'NOWHERE', 'refused 404']]);
      expect((await run('acts', '--who', 'nobody')).out).to.equal('No acts\n');
      expect((await run('acts', '--limit', '0')).code).to.equal(2);
    });

    it('tells the story of an order, by the first letters of its id', async () => {
      for (const sku of ['A', 'B']) await client(server.url, adminToken).adminPut(`/api/products/${sku}`, { name: sku, price: { amount: 1, currency: 'GBP' } });
      const { id } = (await client(server.url, adminToken).post('/api/orders', basket(['A', 1]))).body as { id: string };
      const { code, out } = await run('order', id.slice(0, 8));
      expect([code, out]).to.deep.equal([0, `Order ${id} is Placed

What has happened
  2026-11-20 09:15:00  order  says OrderPlaced

Who has heard it
  OrderPlaced  inventory     queue reserve-stock  queue
               notification  stream orders        stream

What is missing
  inventory · OrderPlaced · queue: queue reserve-stock
    said 2026-11-20T09:15:00.000Z and passed on; waits there, is being worked
    at, or was removed
  notification · OrderPlaced · stream: stream orders
    partition ${/partition (\d)/.exec(out)?.[1]} of orders; notification has 0 events to read before it
`]);
      expect((JSON.parse((await run('order', id, '--json')).out) as { orderId: string }).orderId).to.equal(id);
      expect(await run('order', '00000000')).to.deep.equal({ code: 1, out: '', err: 'ops: there is no order "00000000"\n' });
      expect((await run('order', 'z'.repeat(26))).err).to.equal('ops: nobody knows such an order\n');
    });

    it('ends with 1 when the audit finds faults, and names them', async () => {
      const { code, out } = await run('audit');
      expect(code).to.equal(1);
      expect(out).to.match(/^Do stock, orders, parcels and letters agree\?\n/).and.to.include('\n  - 13 messages are dead\n').and.to.match(/\n\d+ faults\.\n/);
    });

    it('retries one, all of a cause, or all; and says how many could not be', async () => {
      const dead = await idsOf('dead-letters');
      expect((await run('dead-letters', 'retry', dead[0]!)).out).to.equal(`${dead[0]!.slice(0, 8)} is sent again.\n`);
      expect(await run('dead-letters', 'retry', dead[0]!)).to.deep.equal({ code: 1, out: '', err: 'ops: it is sentAgain already\n' });
      expect((await run('dead-letters', 'retry', '--cause', 'two states')).out).to.equal('11 dead letters are sent again.\n');
      expect((await run('dead-letters', 'retry', '--all', '--json')).out).to.equal('{"retried":1,"left":0}\n');
      expect((await run('dead-letters', 'retry', '--all')).out).to.equal('No dead letters are sent again.\n');
      expect((await run('dead-letters')).out).to.equal('No dead letters\n');
      expect((await run('parked', 'retry', '--all')).out).to.equal('2 parked keys are to be tried again at once.\n');
      expect((await run('stuck', 'retry', '--all')).out).to.equal('1 stuck message is tried again.\n');
    });

    it('resolves one, with the reason', async () => {
      const [id = ''] = await idsOf('parked');
      expect((await run('parked', 'resolve', id.slice(0, 6), '--why', 'said by a stranger')).out).to.equal(`${id.slice(0, 8)} is without its first event now.\n`);
      expect((await run('parked', 'show', id)).out).to.include('\nDropped 2026-11-20 09:15:00: said by a stranger\n');
      expect((await run('bookings', 'resolve', 'order51x', '--carrier', 'UPS', '--number', '1Z9')).out).to.equal(`The booking of ${idOf(51)} is resolved.\n`);
      expect((await run('bookings', 'resolve', 'order52x')).err).to.equal('ops: say which parcel the carrier has: carrier and trackingNumber\n');
      expect((await run('mails', 'resolve', 'order41x.confirmation')).out).to.equal(`${idOf(41)}.confirmation is sent.\n`);
      expect((await run('mails', 'retry', '--all')).out).to.equal(`${idOf(42)}.confirmation is sent.\n`);
      expect((await run('mails', 'retry', '--all', '--state', 'refused')).out).to.equal(`${idOf(43)}.confirmation is sent.\n`);
      expect((await run('mails', 'retry', '--all')).out).to.equal('There is no uncertain one.\n');
      expect((await run('bookings', 'retry', '--all', '--state', 'refused')).out).to.include(`${idOf(52)} is booked again: `);
    });

    it('says a message by hand, from standard input or a file', async () => {
      const { type, subject, data } = placed(61);
      const stdin = JSON.stringify({ type, subject, data });
      expect((await runWith({ stdin }, 'say', '--channel', 'reserve-stock', '--file', '-')).out).to.match(/^by-hand:[0-9a-z]{26} is said on reserve-stock\.\n$/);
      const folder = mkdtempSync(join(tmpdir(), 'anyport-say-'));
      writeFileSync(join(folder, 'message.json'), JSON.stringify({ type, subject: idOf(62), data: { ...(data as object), lines: [] } }));
      const wrong = await run('say', '--channel', 'reserve-stock', '--file', join(folder, 'message.json'));
      expect(wrong).to.include({ code: 1, out: '' });
      expect(wrong.err).to.match(/^ops: the message does not have the declared shape: \/message\/data\/lines /);
      expect(await run('say', '--channel', 'orders', '--file', join(folder, 'nothing.json'))).to.include({ code: 2, err: `ops: --file ${folder}/nothing.json cannot be read: ENOENT\n` });
      expect((await runWith({ stdin: '{' }, 'say', '--channel', 'orders', '--file', '-')).err).to.equal('ops: --file - is not JSON\n');
      rmSync(folder, { recursive: true });
    });

    it('ends with 2 and one line when it is called wrongly', async () => {
      const wrongly: Readonly<Record<string, readonly string[]>> = {
        'there is no command "frob"': ['frob'],
        'there is no command "toString"': ['toString'],
        'parked can be listed, shown, retried or resolved, not "frob"': ['parked', 'frob'],
        'there is no --frob here': ['parked', '--frob'],
        'there is no -x here': ['audit', '-x'],
        'there is no --cause here': ['mails', '--cause', 'x'],
        "'--limit <value>' argument missing": ['parked', '--limit'],
        '--limit is a whole number from 1': ['parked', '--limit', '0'],
        '--state is one of uncertain, refused, leftOver': ['bookings', '--state', 'dead'],
        'parked retry takes an ID, --cause or --all': ['parked', 'retry'],
        'stuck retry takes an ID, --cause or --all': ['stuck', 'retry', '01', '--all'],
        'mails retry takes an ID or --all': ['mails', 'retry'],
        'dead-letters list takes no ID': ['dead-letters', 'list', 'x'],
        'parked show takes one ID': ['parked', 'show'],
        'parked resolve takes one ID': ['parked', 'resolve', '01', '02'],
        '--carrier and --number belong together': ['bookings', 'resolve', '01', '--carrier', 'UPS'],
        'order takes one ID': ['order'],
        'order takes the id of an order, or its first 8 letters or more': ['order', 'abc'],
        'audit takes no "x"': ['audit', 'x'],
        'say takes --channel and --file': ['say', '--channel', 'orders'],
        'the URL of a shop begins with http:// or https://': ['audit', '--url', 'ftp://x'],
      };
      for (const [why, argv] of Object.entries(wrongly)) {
        const { code, out, err } = await run(...argv);
        expect([code, out], argv.join(' ')).to.deep.equal([2, '']);
        expect(err.split('\n'), 'one line').to.have.length(2);
        expect(err).to.match(/^ops: /).and.to.include(why);
      }
    });

    it('helps, with each command', async () => {
      const { out, code } = await run();
      expect(code).to.equal(0);
      for (const argv of [['help'], ['--help'], ['-h']]) expect((await run(...argv)).out).to.equal(out);
      const commands = [...out.matchAll(/^ {2}([a-z][a-z-]*)(?: ID)? {2}/gm)].map(([, name]) => name!);
      expect(commands).to.deep.equal(['dead-letters', 'parked', 'stuck', 'mails', 'bookings', 'order', 'audit', 'acts', 'say']);
      for (const command of commands) {
        const help = await run(command, '--help');
        expect(help).to.include({ code: 0, err: '' });
        expect(help.out).to.include(`ops -- ${command}`);
        expect((await run('help', command)).out).to.equal(help.out);
      }
    });

    it('obeys no escape that a stranger has sent', async () => {
      const evil = { ...placed(71), id: 'e\u001b[2J\u009b31m', subject: '\u202eevil', type: 'Evil\u0007', data: '\u009b1m' };
      await shop.kernel.queue.send('stock-freed', [evil as never]);
      const [received] = await shop.kernel.queue.receive('stock-freed', { max: 1, waitSeconds: 0 });
      await bury(shop.kernel, inventory as AnyService, () => received!, 'invalid: \u001b]0;title\u0007 \u009b2J');
      const { out } = await run('dead-letters');
      expect(out).to.include('Evil·');
      const shown = (await run('dead-letters', 'show', (await idsOf('dead-letters'))[0]!)).out;
      for (const text of [out, shown]) expect(text).to.not.match(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
    });

    it('uses colours for people only, and the width they have', async () => {
      expect((await runWith({ colour: true }, 'audit')).out).to.match(/^\u001b\[1mDo stock/);
      expect((await run('audit')).out).to.not.include('\u001b');
      for (const width of [80, 100, 120]) for (const argv of [['dead-letters'], ['parked'], ['bookings'], ['audit'], ['help'], ['say', '--help']]) await runWith({ width }, ...argv);
    });
  });

  describe('when it looks for a shop', () => {
    let folder: string;
    beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'anyport-ops-'))));
    afterEach(() => rmSync(folder, { recursive: true, force: true }));

    async function run(env: Record<string, string>, ...argv: string[]): Promise<Printed> {
      let out = '';
      let err = '';
      const code = await ops(argv, { env: { DATA_DIR: folder, ...env }, paper: { width: 80, colour: false }, out: (text) => void (out += text), err: (text) => void (err += text), stdin: async () => '', folder });
      return { code, out, err };
    }

    it('ends with 3 where there is none, and makes none', async () => {
      const data = join(folder, 'data');
      expect(await run({ DATA_DIR: data }, 'audit')).to.deep.equal({ code: 3, out: '', err: `ops: no shop is running that could be asked, and DATA_DIR ${data} has none either; name one with --url\n` });
      expect(existsSync(data)).to.equal(false);
    });

    it('ends with 3 when nobody answers at the URL, and never looks elsewhere then', async () => {
      const { code, err } = await run({ ADMIN_TOKEN: adminToken, ANYPORT_URL: 'http://127.0.0.1:1' }, 'audit');
      expect([code, err]).to.deep.equal([3, 'ops: no shop answers at http://127.0.0.1:1: bad port\n']);
      expect((await run({ ANYPORT_URL: 'http://127.0.0.1:1' }, 'audit')).err).to.match(/^ops: ADMIN_TOKEN is not set/);
    });

    it('ends with 3 and one line when what there is lies in the memory of others', async () => {
      for (const adapters of ['memory', 'queue=memory,stream=embedded,store=embedded']) {
        const { code, err } = await run({ ADAPTERS: adapters }, 'parked');
        expect(code).to.equal(3);
        expect(err).to.match(/^ops: no shop is running that could be asked, and ADAPTERS has data in its memory alone;/).and.to.match(/^[^\n]*\n$/);
      }
    });

    it('ends with 1 when what answers is no shop of ours', async () => {
      const other = createServer((_, response) => void response.writeHead(502).end('<html>')).listen(0, '127.0.0.1');
      await once(other, 'listening');
      const { code, err } = await run({ ADMIN_TOKEN: adminToken, ANYPORT_URL: `http://127.0.0.1:${(other.address() as AddressInfo).port}` }, 'audit');
      other.close();
      expect([code, err]).to.deep.equal([1, 'ops: what answers is no shop of ours: 502\n']);
    });

    it('takes an address for a remnant when somebody else answers there, who does not know the token', async () => {
      const other = createServer((_, response) => void response.writeHead(401).end('{}')).listen(0, '127.0.0.1');
      await once(other, 'listening');
      await leaveAddress(folder, { url: `http://127.0.0.1:${(other.address() as AddressInfo).port}`, token: 'x' });
      const { code, err } = await run({}, 'audit');
      other.close();
      expect([code, err.slice(0, 51)]).to.deep.equal([3, 'ops: no shop is running that could be asked, and DA']);
    });

    it('drops the parked event that it has seen, and no other', async () => {
      const bodies: unknown[] = [];
      const other = createServer((request, response) => {
        let body = '';
        const answer = (): void => {
          if (request.method === 'POST') bodies.push(JSON.parse(body));
          response.writeHead(request.method === 'POST' ? 204 : 200).end(request.method === 'POST' ? '' : JSON.stringify({ messages: [{ id: 'the-first' }, { id: 'the-second' }] }));
        };
        request.setEncoding('utf8').on('data', (chunk: string) => (body += chunk)).on('end', answer);
      }).listen(0, '127.0.0.1');
      await once(other, 'listening');
      await run({ ADMIN_TOKEN: adminToken, ANYPORT_URL: `http://127.0.0.1:${(other.address() as AddressInfo).port}` }, 'parked', 'resolve', '0123456789abcdef', '--why', 'x');
      other.close();
      expect(bodies).to.deep.equal([{ why: 'x', first: 'the-first' }]);
    });

    it('takes no address that is none, and takes away only its own', async () => {
      for (const text of ['', '{', '{}', '{"url":"file:///etc/passwd","token":"x"}', '{"url":"http://127.0.0.1:1","token":""}']) {
        writeFileSync(join(folder, 'admin.json'), text);
        expect((await run({}, 'audit')).code, text).to.equal(3);
      }
      await leaveAddress(folder, { url: 'http://127.0.0.1:2', token: 'x' });
      expect(statSync(join(folder, 'admin.json')).mode & 0o777, 'also over one that was there').to.equal(0o600);
      await takeAddress(folder, { url: 'http://127.0.0.1:3' });
      expect(existsSync(join(folder, 'admin.json'))).to.equal(true);
      await takeAddress(folder, { url: 'http://127.0.0.1:2' });
      expect(existsSync(join(folder, 'admin.json'))).to.equal(false);
    });
  });

  describe('beside a process', () => {
    let folder: string;
    let running: ChildProcess | undefined;
    const env = (): Record<string, string | undefined> => ({ ...process.env, DATA_DIR: folder, PORT: '0', SAMPLE_CATALOGUE: 'off', DEMO_CARRIER_DELIVERS_AFTER_SECONDS: '0.3', ADMIN_TOKEN: undefined, ANYPORT_URL: undefined, INIT_CWD: folder });
    const admin = (): string => join(folder, 'admin.json');

    before(() => (folder = mkdtempSync(join(tmpdir(), 'anyport-ops-'))));
    after(async () => {
      await end('SIGKILL');
      rmSync(folder, { recursive: true, force: true });
    });

    async function start(): Promise<{ url: string; token: string }> {
      const before = existsSync(admin()) ? readFileSync(admin(), 'utf8') : '';
      running = spawn(process.execPath, ['--import', 'tsx/esm', 'handlers/local.ts'], { stdio: 'ignore', env: env() });
      return eventually(async () => {
        const text = readFileSync(admin(), 'utf8');
        if (text === before) throw new Error('the shop is not up');
        return JSON.parse(text) as { url: string; token: string };
      }, 30);
    }
    async function end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
      if (!running || running.exitCode !== null || running.signalCode !== null) return;
      const ended = once(running, 'exit');
      running.kill(signal);
      await ended;
      running = undefined;
    }

    async function command(stdin: string, ...argv: string[]): Promise<Printed> {
      const child = spawn(process.execPath, ['--import', 'tsx/esm', 'handlers/ops.ts', ...argv], { stdio: 'pipe', env: env() });
      let out = '';
      let err = '';
      child.stdout.setEncoding('utf8').on('data', (chunk: string) => (out += chunk));
      child.stderr.setEncoding('utf8').on('data', (chunk: string) => (err += chunk));
      child.stdin.end(stdin);
      const [code] = (await once(child, 'close')) as [number];
      return { code, out, err };
    }

    it('finds the one that runs over the folder, whose token nobody else can read; after a kill it opens the store itself; after a stop nothing is left', async () => {
      const { url, token } = await start();
      expect(statSync(admin()).mode & 0o777).to.equal(0o600);
      const api = client(url, token);
      await api.adminPut('/api/products/A', { name: 'A', price: { amount: 1, currency: 'GBP' } });
      await api.adminPost('/api/inventory/A/receipts', { quantity: 5 });
      const { id } = (await api.post('/api/orders', basket(['A', 1]))).body as { id: string };
      await api.until(id, 'Delivered');
      await eventually(async () => expect((await api.adminGet(`/api/orders/${id}/story`)).body.missing).to.deep.equal([]));
      const alive = await command('', 'order', id.slice(0, 8));
      expect(alive.err).to.equal('');
      expect(alive.out.startsWith(`Order ${id} is Delivered\n`)).to.equal(true);
      expect(alive.out.endsWith('\nNothing is missing.\n')).to.equal(true);
      await eventually(async () => expect((await command('', 'audit')).code).to.equal(0), 20);

      await end('SIGKILL');
      expect(existsSync(admin()), 'nobody could take it away').to.equal(true);
      expect(await command('', 'order', id.slice(0, 8)), 'the same, from the store').to.deep.equal(alive);
      const { type, data } = placed(1);
      const said = await command(JSON.stringify({ type, subject: idOf(1), data }), 'say', '--channel', 'reserve-stock', '--file', '-');
      expect(said.out).to.match(/is said on reserve-stock\. No shop is running: it goes on when one is started\.\n$/);

      await start();
      await eventually(async () => expect((await command('', 'order', idOf(1))).out).to.include('says InventoryReserved'), 20);
      rmSync(admin());
      expect(await command('', 'audit'), 'it is there, and we cannot find it').to.include({ code: 3, err: `ops: no shop answers, and its store cannot be opened: ${folder} is in use by another process\n` });
      await end('SIGTERM');
      await start();
      await end('SIGTERM');
      expect(existsSync(admin())).to.equal(false);
      expect((await command('', 'frob')).code).to.equal(2);
    });
  });
});
