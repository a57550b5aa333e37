import { connect, type Socket } from 'node:net';
import { expect } from 'chai';
import { ServiceBusClient } from '@azure/service-bus';
import { startAmqp, type AmqpServer, type Answer, type OutLink, type Service, type Wish } from '../../emulator/amqp.ts';
import { annotationsSection, batchFormat, dataSection, decode, described, encode, headerSection, long, messagesOf, takeApart, timestamp, uint, withMessageId, type Writable } from '../../emulator/message.ts';
import { Invalid } from '../../ports/index.ts';
import { createLeapClock, until, type LeapClock } from '../support/leap.ts';

/**
 * The AMQP 1.0 server alone, under a service of the smallest kind: what is sent to an address lies there until somebody receives it; nothing is ever delivered twice.
 * Frames and their meaning: OASIS AMQP 1.0, part 2 (transport). Clients are the unmodified SDK, and bare sockets that speak wrongly on purpose.
 */
interface Probe extends Service {
  /** Links that are open, by address and role. */
  readonly open: string[];
  readonly waiting: Buffer[];
  settled: number;
  /** Answers to attaches of `held`, in the order of attaching. */
  readonly held: { wish: Wish; grant(answer: Answer): void }[];
}

function createProbe(): Probe {
  const outs = new Set<OutLink>();
  const waiting: Buffer[] = [];
  let count = 0;
  function pour(): void {
    for (const out of outs) while (waiting.length > 0 && out.credit > 0) out.send(waiting.shift()!, { tag: tagOf(count++), settled: false });
  }
  const probe: Probe = {
    open: [],
    waiting,
    held: [],
    settled: 0,
    attach(wish) {
      if (wish.address === 'missing') return undefined;
      if (wish.address === 'mute') return { maxMessageBytes: 1_000, take: () => undefined };
      if (wish.address === 'broken') throw new Error('a service that throws');
      if (wish.address === 'held') return new Promise((grant) => probe.held.push({ wish, grant }));
      return answer(wish);
    },
    manages: () => true,
    request: () => ({ status: 204 }),
  };

  function answer(wish: Wish): Answer {
    const name = `${wish.role} ${wish.address}`;
    probe.open.push(name);
    const closed = (): void => void probe.open.splice(probe.open.indexOf(name), 1);
    if (wish.role === 'sender') return { maxMessageBytes: 300_000, closed, take: (incoming) => (take(incoming.bytes, incoming.format), incoming.accept(), pour()) };
    let mine: OutLink;
    return {
      flow: (link) => void ((mine = link), outs.add(link), pour()),
      settle: (_tag, _outcome, done) => void (probe.settled++, done()),
      closed: () => void (outs.delete(mine), closed()),
    };
  }

  function take(bytes: Buffer, format: number): void {
    for (const parts of messagesOf(bytes, format)) {
      const annotations = annotationsSection({ 'x-opt-sequence-number': long(1), 'x-opt-locked-until': timestamp(Date.now() + 30_000) });
      waiting.push(Buffer.concat([headerSection({ deliveryCount: 0 }), annotations, withMessageId(parts.properties, 'id'), parts.applicationProperties ?? Buffer.alloc(0), parts.body]));
    }
  }
  return probe;
}

function tagOf(count: number): Buffer {
  const tag = Buffer.alloc(16);
  tag.writeUInt32BE(count);
  return tag;
}

const saslHeader = Buffer.from([0x41, 0x4d, 0x51, 0x50, 3, 1, 0, 0]);
const amqpHeader = Buffer.from([0x41, 0x4d, 0x51, 0x50, 0, 1, 0, 0]);

function frame(channel: number, body: Uint8Array, type = 0): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32BE(body.length + 8);
  head[4] = 2;
  head[5] = type;
  head.writeUInt16BE(channel, 6);
  return Buffer.concat([head, body]);
}

const performative = (code: number, ...fields: Writable[]): Buffer => encode(described(code, fields));
const open = frame(0, performative(0x10, 'bare'));
const begin = frame(0, performative(0x11, null, uint(0), uint(100), uint(100)));
const target = (address: string): Writable => described(0x29, [address]);
const attachSender = (address: string): Buffer => frame(0, performative(0x12, 'link', uint(0), false, null, null, described(0x28, []), target(address), null, null, uint(0)));
const attachReceiver = (address: string): Buffer => frame(0, performative(0x12, 'link', uint(0), true, null, null, described(0x28, [address]), described(0x29, [])));
const transfer = (id: number, payload: Uint8Array, more = false): Buffer => frame(0, Buffer.concat([performative(0x14, uint(0), uint(id), Buffer.from([id & 255]), uint(0), false, more), payload]));

/** Lists in one another, each of one element. */
function nested(depth: number): Buffer {
  const lists = Buffer.alloc(depth * 9 + 1, 0x40);
  for (let at = 0; at < depth * 9; at += 9) {
    lists[at] = 0xd0;
    lists.writeUInt32BE(lists.length - at - 5, at + 1);
    lists.writeUInt32BE(1, at + 5);
  }
  return Buffer.concat([Buffer.from([0, 0x53, 0x10]), lists]);
}

describe('the AMQP server', () => {
  let clock: LeapClock;
  let probe: Probe;
  let server: AmqpServer;
  let troubles: string[];
  const sockets: Socket[] = [];
  const clients: ServiceBusClient[] = [];

  beforeEach(async () => {
    clock = createLeapClock();
    probe = createProbe();
    troubles = [];
    server = await start();
  });

  const start = (patience: { handshakeMs?: number; idleTimeoutMs?: number } = {}): Promise<AmqpServer> =>
    startAmqp({ host: '127.0.0.1', port: 0, services: [probe], clock, trouble: (text) => troubles.push(text), ...patience });

  /** One that gives up on who is silent after very little time. */
  async function hurry(patience: { handshakeMs?: number; idleTimeoutMs?: number }): Promise<void> {
    await server.close();
    server = await start(patience);
  }

  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy();
    await Promise.all(clients.splice(0).map((client) => client.close()));
    await server.close();
  });

  /** A bare socket; `closed` resolves when the other side has had enough. */
  async function dial(...parts: Buffer[]): Promise<{ socket: Socket; closed: Promise<void>; heard: Buffer[] }> {
    const socket = connect(server.port, '127.0.0.1');
    sockets.push(socket);
    const heard: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => heard.push(chunk)).on('error', () => undefined);
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    await new Promise((resolve) => socket.once('connect', resolve));
    for (const part of parts) socket.write(part);
    return { socket, closed, heard };
  }

  function client(maxRetries = 2): ServiceBusClient {
    const one = new ServiceBusClient(`Endpoint=sb://127.0.0.1:${server.port};SharedAccessKeyName=X;SharedAccessKey=Y;UseDevelopmentEmulator=true;`, {
      // What is under way when a socket goes is only given up when its time is up.
      retryOptions: { maxRetries, retryDelayInMs: 20, timeoutInMs: 600 },
    });
    clients.push(one);
    return one;
  }

  const garbage: Record<string, Buffer[]> = {
    'bytes that are no AMQP at all': [Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n')],
    'the header of another version': [Buffer.from([0x41, 0x4d, 0x51, 0x50, 0, 0, 9, 1])],
    'a frame of four gigabytes': [amqpHeader, Buffer.from([0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0])],
    'a frame shorter than its own head': [amqpHeader, Buffer.from([0, 0, 0, 4, 2, 0, 0, 0])],
    'a frame that begins behind its end': [amqpHeader, Buffer.from([0, 0, 0, 8, 9, 0, 0, 0])],
    'a frame of no known type': [amqpHeader, frame(0, performative(0x10, 'bare'), 7)],
    'a performative that nobody knows': [amqpHeader, frame(0, performative(0x99, 'bare'))],
    'a value in place of a performative': [amqpHeader, frame(0, encode('hello'))],
    'an array of four thousand million nothings': [amqpHeader, frame(0, Buffer.concat([Buffer.from([0, 0x53, 0x10, 0xf0, 0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0x40])]))],
    'a list that says it has more than it has': [amqpHeader, frame(0, Buffer.from([0, 0x53, 0x10, 0xd0, 0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0x40]))],
    'thousands of lists in one another': [amqpHeader, frame(0, nested(7_000))],
    'a second open': [amqpHeader, open, open],
    'a session that was never begun': [amqpHeader, open, frame(5, performative(0x13, uint(0), uint(1), uint(1), uint(1)))],
    'a transfer on a link that is not there': [amqpHeader, open, begin, transfer(0, dataSection(Buffer.from('x')))],
    'a transfer out of sequence': [amqpHeader, open, begin, attachSender('here'), transfer(0, dataSection(Buffer.from('x'))), transfer(7, dataSection(Buffer.from('x')))],
    'a transfer without credit': [amqpHeader, open, begin, attachSender('mute'), ...Array.from({ length: 1_001 }, (_, id) => transfer(id, Buffer.from([1])))],
    'the end of a message that it takes back': [amqpHeader, open, begin, attachSender('here'), transfer(0, Buffer.alloc(10), true), frame(0, performative(0x14, uint(0), uint(0), null, uint(0), false, false, null, null, false, true))],
    'a disposition of a thousand million deliveries': [amqpHeader, open, begin, frame(0, performative(0x15, true, uint(0), uint(1_000_000_000), true, described(0x24, [])))],
  };

  for (const [what, parts] of Object.entries(garbage)) {
    it(`drops a client that sends ${what}, and serves the next`, async () => {
      const { closed } = await dial(...parts);
      await closed;
      await until('the connection is forgotten', () => server.connections() === 0);
      await client().createSender('here').sendMessages({ body: 'still there' });
      expect(probe.waiting.filter((message) => message.includes('still there'))).to.have.length(1);
    });
  }

  it('drops who sends random bytes after a good beginning, whatever they are', async () => {
    let seed = 7;
    const random = (): number => (seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648) / 2_147_483_648;
    for (let round = 0; round < 60; round++) {
      const noise = Buffer.from(Array.from({ length: 1 + Math.floor(random() * 200) }, () => Math.floor(random() * 256)));
      const { socket } = await dial(amqpHeader, open, begin, attachSender('here'), frame(0, noise), noise);
      socket.end();
    }
    await until('all are forgotten', () => server.connections() === 0);
    expect(probe.open).to.deep.equal([]);
    await client().createSender('here').sendMessages({ body: 'still there' });
  });

  it('drops a connection that never says who it is', async () => {
    await hurry({ handshakeMs: 100 });
    const { closed } = await dial();
    await closed;
    await (await dial(saslHeader)).closed;
    await (await dial(saslHeader, frame(0, performative(0x41, 'NO-SUCH-MECHANISM'), 1), amqpHeader, open)).closed;
    await until('all are forgotten', () => server.connections() === 0);
  });

  it('drops a connection that was opened and then says nothing any more: half-open, as after a cable was pulled', async () => {
    await hurry({ idleTimeoutMs: 50 });
    const { closed, heard } = await dial(amqpHeader, open, begin, attachSender('here'));
    await until('the link is open', () => probe.open.length === 1);
    await closed;
    await until('the link is gone', () => probe.open.length === 0);
    expect(Buffer.concat(heard).includes('amqp:resource-limit-exceeded')).to.equal(true);
  });

  it('keeps a quiet client that sends heartbeats', async () => {
    await hurry({ idleTimeoutMs: 200 });
    const receiver = client().createReceiver('here');
    const got = receiver.receiveMessages(1, { maxWaitTimeInMs: 700 });
    await until('the link is open', () => probe.open.includes('receiver here'));
    expect(await got).to.deep.equal([]);
    expect(server.connections()).to.equal(1);
    expect(troubles).to.deep.equal([]);
  });

  it('releases all links of a client that vanishes', async () => {
    const { socket } = await dial(amqpHeader, open, begin, attachSender('here'));
    await until('the link is open', () => probe.open.length === 1);
    socket.destroy();
    await until('the link is gone', () => probe.open.length === 0);
  });

  it('releases a client that vanishes in the middle of a message, and takes nothing of it', async () => {
    const { socket } = await dial(amqpHeader, open, begin, attachSender('here'), transfer(0, Buffer.alloc(10), true));
    await until('the link is open', () => probe.open.length === 1);
    socket.destroy();
    await until('the link is gone', () => probe.open.length === 0);
    expect(probe.waiting).to.deep.equal([]);
  });

  it('refuses a message that does not decode, and keeps the link', async () => {
    const good = dataSection(Buffer.from('x'));
    const { heard } = await dial(amqpHeader, open, begin, attachSender('here'), transfer(0, Buffer.from([1, 2, 3])), transfer(1, good));
    await until('the second is there', () => probe.waiting.length === 1);
    await until('the first was refused', () => Buffer.concat(heard).includes('amqp:decode-error'));
  });

  it('takes nothing of a message that is larger than the link allows, however it is cut', async () => {
    const part = Buffer.alloc(60_000);
    const { heard } = await dial(amqpHeader, open, begin, attachSender('here'), ...Array.from({ length: 9 }, () => transfer(0, part, true)), transfer(0, part), transfer(1, dataSection(Buffer.from('x'))));
    await until('the next one is there', () => probe.waiting.length === 1);
    await until('it was refused', () => Buffer.concat(heard).includes('amqp:link:message-size-exceeded'));
    expect(takeApart(probe.waiting[0]!).body.toString('latin1')).to.contain('x');
  });

  it('gives new credit to who sends on and on', async () => {
    const { socket } = await dial(amqpHeader, open, begin, attachSender('here'));
    for (let wave = 1; wave <= 4; wave++) {
      socket.write(Buffer.concat(Array.from({ length: 600 }, (_, id) => transfer((wave - 1) * 600 + id, dataSection(Buffer.from('x'))))));
      await until('the wave is in', () => probe.waiting.length === wave * 600);
    }
  });

  it('refuses a link to what is not there in the words that the SDK understands', async () => {
    const error = await client().createSender('missing').sendMessages({ body: 1 }).then(() => undefined, (thrown: unknown) => thrown as { code: string });
    expect(error?.code).to.equal('MessagingEntityNotFound');
  });

  it('survives a service that throws: the link is closed, the connection is not', async () => {
    const one = client();
    const error = await one.createSender('broken').sendMessages({ body: 1 }).then(() => undefined, (thrown: unknown) => thrown as Error);
    expect(error).to.be.instanceOf(Error);
    await one.createSender('here').sendMessages({ body: 1 });
    expect(troubles.join()).to.contain('a service that throws');
  });

  it('hands out no more than was asked for', async () => {
    const one = client();
    await one.createSender('here').sendMessages(Array.from({ length: 20 }, (_, body) => ({ body })));
    const got = await one.createReceiver('here').receiveMessages(3, { maxWaitTimeInMs: 500 });
    expect(got).to.have.length(3);
    expect(probe.waiting).to.have.length(17);
  });

  it('gives back unused credit at once when a client drains', async () => {
    const receiver = client().createReceiver('here');
    await receiver.receiveMessages(1, { maxWaitTimeInMs: 20 });
    const start = performance.now();
    for (let round = 0; round < 5; round++) expect(await receiver.receiveMessages(5, { maxWaitTimeInMs: 20 })).to.deep.equal([]);
    // The SDK gives up and closes the link when nobody answers within 200 ms.
    expect(performance.now() - start).to.be.lessThan(900);
    expect(probe.open).to.deep.equal(['receiver here']);
  });

  it('goes on beyond 2,048 deliveries of a link, and another client that never settles what it has stops nothing', async () => {
    const sender = client().createSender('here');
    for (let round = 0; round < 3; round++) await sender.sendMessages(Array.from({ length: 1_000 }, (_, body) => ({ body })));
    const lazy = client().createReceiver('here', { maxAutoLockRenewalDurationInMs: 0 });
    expect(await lazy.receiveMessages(100)).to.have.length(100);
    const receiver = client().createReceiver('here', { maxAutoLockRenewalDurationInMs: 0 });
    while (probe.settled < 2_900) {
      const some = await receiver.receiveMessages(500, { maxWaitTimeInMs: 2_000 });
      expect(some.length).to.be.greaterThan(0);
      await Promise.all(some.map((message) => receiver.completeMessage(message)));
    }
    expect(probe.settled).to.equal(2_900);
    await until('only what the lazy one has is remembered', () => server.unsettled() === 100);
  });

  it('hands out more than 2,048 messages of which none is ever settled', async () => {
    for (let i = 0; i < 5_000; i++) probe.waiting.push(Buffer.concat([headerSection({}), dataSection(Buffer.from('x'))]));
    const wide = frame(0, performative(0x11, null, uint(0), uint(1_000_000), uint(1_000_000)));
    const credit = frame(0, performative(0x13, uint(0), uint(1_000_000), uint(0), uint(1_000_000), uint(0), uint(0), uint(1_000_000)));
    const { socket } = await dial(amqpHeader, open, wide, attachReceiver('here'), credit);
    await until('all are out', () => probe.waiting.length === 0 && server.unsettled() === 5_000);
    socket.destroy();
    await until('they are forgotten with the client', () => server.unsettled() === 0);
  });

  it('holds a link until there is something to grant', async () => {
    const sending = client().createSender('held').sendMessages({ body: 'late' });
    await until('it is asked for', () => probe.held.length === 1);
    const { wish, grant } = probe.held[0]!;
    expect(wish.gone.aborted).to.equal(false);
    let taken = 0;
    grant({ maxMessageBytes: 1_000, take: (incoming) => (taken++, incoming.accept()) });
    await sending;
    expect(taken).to.equal(1);
  });

  it('tells a service that the client of a held link has gone, and takes back what it grants too late', async () => {
    const { socket } = await dial(amqpHeader, open, begin, attachSender('held'));
    await until('it is asked for', () => probe.held.length === 1);
    socket.destroy();
    const { wish, grant } = probe.held[0]!;
    await until('the service knows', () => wish.gone.aborted);
    let closed = 0;
    grant({ maxMessageBytes: 1_000, take: () => undefined, closed: () => void closed++ });
    await until('it is given back', () => closed === 1);
  });

  it('answers the close of a link that is still held', async () => {
    const { heard, socket } = await dial(amqpHeader, open, begin, attachSender('held'));
    await until('it is asked for', () => probe.held.length === 1);
    socket.write(frame(0, performative(0x16, uint(0), true)));
    // 0x12 and 0x16: an attach and a detach of ours.
    await until('it is closed', () => Buffer.concat(heard).includes(Buffer.from([0, 0x53, 0x16])));
    expect(Buffer.concat(heard).indexOf(Buffer.from([0, 0x53, 0x12]))).to.be.within(0, Buffer.concat(heard).indexOf(Buffer.from([0, 0x53, 0x16])));
    expect(probe.held[0]!.wish.gone.aborted).to.equal(true);
  });

  it('answers at once what needs no answer, because clients hold back what comes next until then', async () => {
    const flow = frame(0, performative(0x13, uint(0), uint(100), uint(0), uint(100)));
    const { heard, socket } = await dial(amqpHeader, open, begin);
    await until('the session is open', () => Buffer.concat(heard).includes(Buffer.from([0, 0x53, 0x11])));
    await new Promise((resolve) => setTimeout(resolve, 5));
    heard.length = 0;
    socket.write(flow);
    await until('an empty frame comes', () => heard.length > 0);
    expect(Buffer.concat(heard)).to.deep.equal(Buffer.from([0, 0, 0, 8, 2, 0, 0, 0]));
  });

  it('gives no more to a client that does not read what it asked for', async () => {
    for (let i = 0; i < 400; i++) probe.waiting.push(Buffer.concat([headerSection({}), dataSection(Buffer.alloc(100_000))]));
    const socket = connect(server.port, '127.0.0.1');
    sockets.push(socket);
    socket.pause();
    const wide = frame(0, performative(0x11, null, uint(0), uint(1_000_000), uint(1_000_000)));
    const credit = frame(0, performative(0x13, uint(0), uint(1_000_000), uint(0), uint(1_000_000), uint(0), uint(0), uint(1_000_000)));
    for (const part of [amqpHeader, open, wide, attachReceiver('here'), credit]) socket.write(part);
    await until('it got something', () => probe.waiting.length < 400);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(probe.waiting.length).to.be.greaterThan(200);
    socket.resume();
    await until('it gets the rest when it reads', () => probe.waiting.length === 0);
  });

  it('serves a thousand connections at once', async () => {
    const all = await Promise.all(Array.from({ length: 1_000 }, () => dial(amqpHeader, open, begin, attachSender('here'), transfer(0, dataSection(Buffer.from('x'))))));
    await until('each has said its own', () => probe.waiting.length === 1_000);
    expect(probe.open).to.have.length(1_000);
    for (const { socket } of all) socket.destroy();
    await until('all are gone', () => server.connections() === 0 && probe.open.length === 0);
  });

  describe('made to fail', () => {
    it('drops all sockets, and the SDK comes back by itself', async () => {
      const sender = client().createSender('here');
      await sender.sendMessages({ body: 1 });
      expect(server.faults.drop()).to.equal(1);
      await sender.sendMessages({ body: 2 });
      expect(probe.waiting).to.have.length(2);
    });

    it('drops only the sockets of those who use an entity', async () => {
      await client().createSender('here').sendMessages({ body: 1 });
      await client().createSender('there').sendMessages({ body: 1 });
      expect(server.faults.drop('THERE')).to.equal(1);
      expect(server.faults.drop('nowhere')).to.equal(0);
    });

    it('takes a message and drops the socket instead of answering', async () => {
      const link = client(0).createSender('here');
      await link.sendMessages({ body: 1 });
      server.faults.loseAnswers('here', 1);
      const error = await link.sendMessages({ body: 2 }).then(() => undefined, (thrown: unknown) => thrown);
      expect(error).to.be.instanceOf(Error);
      expect(probe.waiting).to.have.length(2);
    });

    it('refuses as busy so many times, and no more', async () => {
      const link = client().createSender('here');
      await link.sendMessages({ body: 1 });
      server.faults.throttle('here', 1);
      const error = await client(0).createSender('here').sendMessages({ body: 2 }).then(() => undefined, (thrown: unknown) => thrown as { code: string });
      expect(error?.code).to.equal('ServiceBusy');
      await link.sendMessages({ body: 3 });
      expect(probe.waiting).to.have.length(2);
    });

    it('hears later, in order, and a leap of the clock makes up for it', async () => {
      const link = client().createSender('here');
      await link.sendMessages({ body: 1 });
      server.faults.delay(3_600_000);
      const sent = Promise.all([link.sendMessages({ body: 2 }), link.sendMessages({ body: 3 })]);
      await until('it waits', () => clock.sleepers() > 0);
      expect(probe.waiting).to.have.length(1);
      server.faults.clear();
      await clock.leap(3_600_000);
      await sent;
      expect(probe.waiting).to.have.length(3);
    });
  });
});

describe('messages as bytes', () => {
  it('reads what it writes, type by type', () => {
    const values: Writable[] = [null, true, false, 0, 1, -1, 127, -129, 70_000, 2 ** 40, -(2 ** 40), 1.5, 'text', 'ä€😀', '', 'x'.repeat(300), new Date(1_700_000_000_000), [1, 'two', [3]], 2n ** 62n, -(2n ** 62n)];
    for (const value of values) expect(decode(encode(value))).to.deep.equal(value);
    expect(decode(encode({ a: 1, b: { c: 'd' } }))).to.deep.equal(new Map<string, unknown>([['a', 1], ['b', new Map([['c', 'd']])]]));
    expect(decode(encode(Buffer.from('bytes')))).to.deep.equal(Buffer.from('bytes'));
  });

  it('takes apart a batch into its messages', () => {
    const one = Buffer.concat([headerSection({ ttl: 5 }), dataSection(Buffer.from('a'))]);
    const two = dataSection(Buffer.from('b'));
    expect(messagesOf(Buffer.concat([dataSection(one), dataSection(two)]), batchFormat)).to.have.length(2);
    expect(() => messagesOf(one, 99)).to.throw(Invalid);
  });

  it('refuses each beginning of a message that breaks off', () => {
    const message = Buffer.concat([headerSection({ ttl: 5 }), annotationsSection({ a: long(2 ** 50) }), withMessageId(undefined, 'id'), dataSection(Buffer.from('body'))]);
    takeApart(message);
    for (let end = 0; end < message.length; end++) {
      const ends = [headerSection({ ttl: 5 }).length];
      expect(() => takeApart(message.subarray(0, end)), `${end} of ${message.length}, ${ends.join()}`).to.throw(Invalid);
    }
  });

  it('refuses to read what is nested too deeply', () => {
    expect(() => decode(nested(100))).to.throw(Invalid, 'nested too deeply');
    expect(() => takeApart(Buffer.alloc(100_000))).to.throw(Invalid);
  });

  it('refuses sections out of order, twice, unknown, and two kinds of body', () => {
    const header = headerSection({});
    const data = dataSection(Buffer.from('x'));
    const value = encode(described(0x77, 'x'));
    for (const parts of [[header, header, data], [annotationsSection({}), header, data], [encode(described(0x60, [])), data], [data, value], [value, value], [header]]) {
      expect(() => takeApart(Buffer.concat(parts))).to.throw(Invalid);
    }
  });
});
