import { createServer, type Server, type Socket } from 'node:net';
import rhea from 'rhea';
import { Invalid, type Clock } from '../ports/index.ts';
import { answerSection, applicationPropertiesSection, decode, encode, fieldOf, headerSection, int, isMap, mapOf, propertiesOf, soundLength, symbol, takeApart, valueOf, valueSection, type Value, type Writable } from './message.ts';

/**
 * The AMQP 1.0 server on which Service Bus and Event Hubs sit, and the only file that knows rhea.
 *
 * rhea does frames, SASL, connections, sessions and links; what it does otherwise than a broker must, is put right here, each where it says so:
 * - messages are handed on as the bytes that came, never decoded and encoded again;
 * - credit is counted with what is queued and not yet written, so nobody gets more than he asked for;
 * - unsettled deliveries are kept in a map and not in a ring of 2,048 that frees only from its head: a client that never settles one stops nothing;
 * - a link is refused by an attach without source and target, and then a detach with the error; it may also be held open until there is something to grant;
 * - every frame is looked at before rhea reads it: length, soundness, ranges; what is wrong costs its sender the connection and nobody else anything.
 *
 * A service (servicebus.ts, eventhubs.ts) implements `Service` and never sees a frame:
 * - a client attaches a link: `attach(wish)` answers with an `Inlet` (the client sends), an `Outlet` (the client receives), `{ refused }`, a promise of one of them (the link
 *   is held until then), or undefined (not mine, ask the next service);
 * - requests to `<entity>/$management` or to `$management` come to `request` with body and application properties decoded; `$cbs` is answered here: any token will do.
 * All calls come from one thread, one after the other. What a service throws is reported and closes the link concerned with amqp:internal-error; `Invalid` is the sender's fault.
 */

// ---------------------------------------------------------------- what a service sees

export interface AmqpError {
  /** 'amqp:not-found', 'com.microsoft:message-lock-lost' ... */
  readonly condition: string;
  /** The SDKs read it: see `notFound`. */
  readonly description: string;
}

/** One connection of a client. */
export interface Peer {
  readonly id: number;
  /** What the client calls itself; '' before it has said so. */
  readonly container: string;
  /** What its program is, if it says so: the `user-agent` of its open frame. */
  readonly agent?: string;
  /** Destroys the socket, as a network would. */
  drop(): void;
}

/** What a client wishes by attaching a link. */
export interface Wish {
  /** Of the client: a 'sender' wants to send to us. */
  readonly role: 'sender' | 'receiver';
  /** As the client wrote it, without a leading slash or `amqp://host/`. */
  readonly address: string;
  readonly name: string;
  readonly peer: Peer;
  /** Link properties, like com.microsoft:epoch, com.microsoft:timeout. */
  readonly properties: ReadonlyMap<string, Value>;
  /** Filters of the source; a described one comes as `Described`, null means that the filter is there without a value. */
  readonly filters: ReadonlyMap<string, Value>;
  readonly desired: readonly string[];
  /** The client wants messages sent settled (receive-and-delete). */
  readonly settled: boolean;
  /** Fires when the link is gone, also while it is held. */
  readonly gone: AbortSignal;
  /** Detaches the link, at any time after it was granted. */
  close(error?: AmqpError): void;
}

export type Answer = { readonly refused: AmqpError } | Inlet | Outlet;

/** A link on which the client sends. */
export interface Inlet {
  /** Told to the client, whose SDK fills batches up to it. What is larger is rejected before `take`. */
  readonly maxMessageBytes: number;
  readonly properties?: Readonly<Record<string, Writable>>;
  readonly offered?: readonly string[];
  take(incoming: Incoming): void;
  /** Once, after detach, end of the session, or loss of the socket. */
  closed?(): void;
}

/** One transfer; answer it exactly once, now or later. After the link is gone answers do nothing. */
export interface Incoming {
  readonly bytes: Buffer;
  /** 0, or `batchFormat`: see `messagesOf`. */
  readonly format: number;
  accept(): void;
  reject(error: AmqpError): void;
}

/** A link on which the client receives. */
export interface Outlet {
  /** Granted instead of those wished, which are echoed if nothing is said. */
  readonly filters?: Readonly<Record<string, Writable>>;
  readonly properties?: Readonly<Record<string, Writable>>;
  readonly offered?: readonly string[];
  /** Credit has come, or there is room again: send while `link.credit > 0`. If the client drains, what is left of its credit is given back as soon as this returns. */
  flow(link: OutLink): void;
  /** What the client wants done with a delivery that was sent unsettled. Call `done` exactly once: without an error the client is told that it is settled. */
  settle?(tag: Buffer, outcome: Outcome, done: (error?: AmqpError) => void): void;
  closed?(): void;
}

export interface OutLink {
  /** How many more messages the client takes now; what was handed to `send` is taken off already. 0 once the link is gone or its socket is full. */
  readonly credit: number;
  readonly open: boolean;
  /** `bytes` is a whole encoded message. `settled: true` needs no answer of the client (receive-and-delete; event hubs). `tag` is at most 32 bytes; 16 for lock tokens. */
  send(bytes: Buffer, options: { tag: Buffer; settled: boolean }): void;
  /** Detaches, with the error if there is one; `closed` of the outlet is called. */
  close(error?: AmqpError): void;
}

export type Outcome =
  | { readonly kind: 'accepted' }
  | { readonly kind: 'released' }
  | { readonly kind: 'modified'; readonly deliveryFailed: boolean; readonly undeliverableHere: boolean; readonly annotations: ReadonlyMap<string, Value> }
  | { readonly kind: 'rejected'; readonly condition: string; readonly description: string; readonly info: ReadonlyMap<string, Value> };

/** A request to a management node. */
export interface Request {
  readonly operation: string;
  /** Application properties: `operation`, `name`, `type`, `associated-link-name`, `com.microsoft:server-timeout` ... */
  readonly properties: ReadonlyMap<string, Value>;
  /** The value of the body; null for other bodies. */
  readonly body: Value;
  readonly peer: Peer;
}

export interface Response {
  /** 200, 202, 204 (nothing there), 400, 404, 410 ... */
  readonly status: number;
  readonly description?: string;
  /** For errors: 'amqp:not-found', 'com.microsoft:message-lock-lost' ... */
  readonly condition?: string;
  readonly body?: Writable;
}

export interface Service {
  attach(wish: Wish): Answer | Promise<Answer> | undefined;
  /** Is there an entity of that address to be managed? '' is the namespace itself, where event hubs are asked about. */
  manages(entity: string): boolean;
  /** Only for entities that it manages; undefined if it does not know the operation. */
  request(entity: string, request: Request): Response | Promise<Response> | undefined;
}

/** In the words by which the SDKs tell a missing entity from a passing failure. */
export const notFound = (entity: string): AmqpError => ({ condition: 'amqp:not-found', description: `The messaging entity '${entity}' could not be found.` });

/** What may be made to go wrong, from tests and the control endpoint. Entities are addresses without regard to case; `x` covers `x/...` too. */
export interface Faults {
  /** Whatever clients say is heard so much later. */
  delay(milliseconds: number): void;
  /** The next so many sends, links and requests are refused with com.microsoft:server-busy. */
  throttle(entity: string, times: number): void;
  /** The next so many sends and settlements are done, and then the socket is destroyed instead of answering. */
  loseAnswers(entity: string, times: number): void;
  /** Destroys the sockets of all connections, or of those with a link to the entity; says how many. */
  drop(entity?: string): number;
  /** Takes back delay, throttling and lost answers. */
  clear(): void;
}

export interface AmqpOptions {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  readonly services: readonly Service[];
  readonly clock: Clock;
  /** After twice so long without a sign of life a connection is given up. */
  readonly idleTimeoutMs?: number;
  /** So long a connection may take to say who it is. */
  readonly handshakeMs?: number;
  /** Called before anything that was said goes out to a client: what it is told must have been written down. */
  readonly beforeSending?: (() => void) | undefined;
  /** Told about what ought not to be: a client that breaks the protocol, a service that throws. */
  readonly trouble?: (text: string) => void;
}

export interface AmqpServer {
  readonly port: number;
  readonly faults: Faults;
  connections(): number;
  /** Deliveries of which clients have not yet said what is to become of them. */
  unsettled(): number;
  close(): Promise<void>;
}

// ---------------------------------------------------------------- limits

const frameBytesMax = 65_536;
/** The first sends of a link, and how many it may have under way. */
const creditOfSenders = 1_000;
/** A client that does not read what it asked for gets no more from then on; and loses its socket if answers pile up behind that. */
const unreadBytesMax = 4 * 1024 * 1024;
const unreadBytesFatal = 64 * 1024 * 1024;
/** In one disposition. */
const settledAtOnceMax = 100_000;
const linksOfConnectionMax = 5_000;

// ---------------------------------------------------------------- what is used of rhea

interface Composite {
  readonly value: unknown[];
  described(): unknown;
}
interface Terminus extends Composite {
  readonly address: unknown;
}
interface Attach extends Composite {
  /** `Terminus` or null once it was read. */
  source: unknown;
  target: unknown;
  snd_settle_mode: number;
  rcv_settle_mode: number;
  max_message_size: number;
  properties: unknown;
  offered_capabilities: unknown;
}
interface Delivery {
  readonly id: number;
  readonly tag: Buffer;
  readonly link: RheaLink;
  settled: boolean;
  remote_settled: boolean;
  readonly remote_state?: { readonly error?: { readonly condition?: unknown; readonly description?: unknown; readonly info?: unknown }; readonly [field: string]: unknown };
  data: Buffer[];
  update(settled: boolean, state: unknown): void;
}
interface RheaLink {
  readonly name: string;
  readonly session: RheaSession;
  readonly state: { open_requests: number; readonly local_open: boolean };
  readonly local: { attach: Attach };
  readonly remote: { attach: Attach };
  credit: number;
  _incomplete?: { settled: boolean } | undefined;
  is_receiver(): boolean;
  is_open(): boolean;
  set_source(fields: object): void;
  set_target(fields: object): void;
  close(error?: object): void;
  add_credit(credit: number): void;
  set_drained(drained: boolean): void;
  send(message: Buffer, tag: Buffer, format: number): Delivery;
  _draining: boolean;
  _drained: boolean;
  delivery_count: number;
  _get_drain(): boolean;
}
interface RheaSession {
  readonly remote: { readonly handles: Readonly<Record<number, RheaLink | undefined>> };
  readonly outgoing: { deliveries: Ring; readonly next_delivery_id: number; readonly next_pending_delivery: number };
}
interface Ring {
  available(): number;
  push(delivery: Delivery): void;
  by_id(id: number): Delivery | undefined;
  pop_if(done: (delivery: Delivery) => boolean): void;
}
interface Frame {
  readonly channel: number;
  readonly performative: Record<string, unknown>;
  payload?: Buffer;
}
interface Context {
  readonly session: RheaSession;
  readonly receiver?: RheaLink;
  readonly sender?: RheaLink;
  readonly delivery: Delivery;
  readonly message: Buffer;
}
interface RheaConnection {
  readonly container_id: string | undefined;
  readonly properties: Readonly<Record<string, unknown>> | undefined;
  readonly remote_channel_map: Readonly<Record<number, RheaSession | undefined>>;
  accept(wire: object): void;
  on(event: string, listener: (context: Context) => void): void;
  on_transfer(frame: Frame): void;
  on_disposition(frame: Frame): void;
  _register(): void;
}
interface Rhea {
  create_container(options: object): {
    readonly sasl_server_mechanisms: Record<string, unknown> & { enable_anonymous(): void; enable_plain(check: () => boolean): void };
    create_connection(options: object): RheaConnection;
  };
  readonly types: {
    readonly Reader: new (bytes: Buffer) => { read(): unknown };
    readonly Writer: new () => { write(value: unknown): void; toBuffer(): Buffer };
    wrap(value: unknown): unknown;
  };
  readonly message: { accepted(): Composite; released(): Composite; rejected(fields: object): Composite };
}
const { create_container, types, message } = rhea as unknown as Rhea;

/** Values cross over as bytes: so one reader, ours, decides what is sound, and one writer what type a value has. */
const toRhea = (value: Writable): unknown => new types.Reader(encode(value)).read();
function fromRhea(value: unknown): Value {
  if (value === undefined || value === null) return null;
  const writer = new types.Writer();
  writer.write(types.wrap(value));
  return decode(writer.toBuffer());
}

// ---------------------------------------------------------------- the wire

/** What rhea takes for a socket. */
interface Wire {
  on(event: 'data' | 'end' | 'error', listener: (argument?: unknown) => void): void;
  write(bytes: Buffer): void;
  end(): void;
  destroy(): void;
  removeAllListeners(): void;
  get_id_string(): string;
  /** From now on frames may be sent of our own accord. */
  opened(): void;
}

const emptyFrame = Buffer.from([0, 0, 0, 8, 2, 0, 0, 0]);
const headerBytes = 8;
const headerMark = 0x414d5150; // 'AMQP': as a length it would be a gigabyte, so the two cannot be mistaken.

/** Gives each whole frame or protocol header in turn; `Invalid` for lengths that cannot be, before any memory is spent on them. */
function createFramer(): (chunk: Buffer) => Buffer[] {
  let rest: Buffer = Buffer.alloc(0);
  let waiting: Buffer[] = [];
  let waitingBytes = 0;
  let needed = 4;
  return (chunk) => {
    waiting.push(chunk);
    waitingBytes += chunk.length;
    if (rest.length + waitingBytes < needed) return [];
    rest = rest.length === 0 && waiting.length === 1 ? chunk : Buffer.concat([rest, ...waiting]);
    waiting = [];
    waitingBytes = 0;
    const frames: Buffer[] = [];
    let at = 0;
    for (;;) {
      needed = rest.length - at < 4 ? 4 : lengthOfFrame(rest.readUInt32BE(at));
      if (rest.length - at < needed) break;
      frames.push(rest.subarray(at, at + needed));
      at += needed;
    }
    rest = rest.subarray(at);
    return frames;
  };
}

function lengthOfFrame(length: number): number {
  if (length === headerMark) return headerBytes;
  if (length < 8 || length > frameBytesMax) throw new Invalid(`a frame of ${length} bytes`);
  return length;
}

/** rhea reads performatives trustingly: an array of four thousand million nothings would be the end of us. */
function checkFrame(frame: Buffer): void {
  if (frame.readUInt32BE(0) === headerMark) return;
  const offset = frame[4]! * 4;
  if (offset < 8 || offset > frame.length) throw new Invalid('a frame begins behind its end');
  if (offset < frame.length) soundLength(frame.subarray(offset));
}

interface WireOptions {
  readonly lag: (hear: () => void) => void;
  readonly trouble: (text: string) => void;
  readonly wrote: (bytes: number) => void;
  readonly beforeSending: () => void;
}

function createWire(socket: Socket, { lag, trouble, wrote: told, beforeSending }: WireOptions): Wire {
  const listeners = new Map<string, (argument?: unknown) => void>();
  const frames = createFramer();
  let corked = false;
  let ended = false;
  let isOpen = false;
  let wrote = true;

  /**
   * Clients leave Nagle's algorithm on: what they write next waits until we have acknowledged what they wrote before, and a kernel with nothing to say takes 40 ms over that.
   * So an empty frame answers what has no answer.
   */
  function acknowledge(): void {
    if (!isOpen || !wrote) return;
    wrote = false;
    setImmediate(() => {
      if (!wrote && !socket.destroyed) socket.write(emptyFrame);
      wrote = true;
    });
  }

  function hear(chunk: Buffer): void {
    if (ended) return;
    try {
      for (const frame of frames(chunk)) {
        checkFrame(frame);
        listeners.get('data')?.(frame);
      }
      acknowledge();
    } catch (error) {
      trouble(`a client broke the protocol: ${error instanceof Invalid ? error.message : describe(error)}`);
      socket.destroy();
    }
  }

  /** What cannot be written down is promised to nobody. */
  function letOut(): void {
    try {
      beforeSending();
      socket.uncork();
    } catch (error) {
      trouble(`it cannot be kept: ${describe(error)}`);
      socket.destroy();
    }
  }

  function end(): void {
    if (ended) return;
    ended = true;
    listeners.get('end')?.();
  }

  socket.on('data', (chunk: Buffer) => lag(() => hear(chunk)));
  socket.on('error', () => socket.destroy());
  socket.on('end', () => socket.destroy());
  socket.on('close', end);
  return {
    on: (event, listener) => void listeners.set(event, listener),
    write(bytes) {
      if (socket.destroyed) return;
      wrote = true;
      if (!corked) {
        corked = true;
        socket.cork();
        // rhea writes frame by frame; all of one turn go out at once.
        process.nextTick(() => {
          corked = false;
          letOut();
        });
      }
      socket.write(bytes);
      told(bytes.length);
      if (socket.writableLength > unreadBytesFatal) socket.destroy();
    },
    end() {
      socket.end();
      // The other side may never answer our end: it is not waited for.
      setTimeout(() => socket.destroy(), 1_000).unref();
    },
    destroy: () => socket.destroy(),
    removeAllListeners: () => undefined,
    opened() {
      isOpen = true;
    },
    get_id_string: () => `${socket.remoteAddress}:${socket.remotePort}`,
  };
}

// ---------------------------------------------------------------- the server

/** A link as we keep it. */
interface Link {
  readonly rhea: RheaLink;
  readonly address: string;
  readonly gone: AbortController;
  inlet?: Inlet;
  outlet?: Outlet;
  out?: OutLink;
  /** Of the transfer that is coming in. */
  gathered: number;
  format: number;
  /** Answered since credit was last given. */
  answered: number;
}

interface Session {
  /** Where answers of management nodes go. */
  readonly replies: { readonly address: string; readonly target: string; reply(message: Buffer): void }[];
}

export async function startAmqp(options: AmqpOptions): Promise<AmqpServer> {
  const container = create_container({ id: 'anyport' });
  container.sasl_server_mechanisms.enable_anonymous();
  container.sasl_server_mechanisms.enable_plain(() => true);
  container.sasl_server_mechanisms['MSSBCBS'] = () => ({ outcome: undefined as boolean | undefined, start() { this.outcome = true; } });
  const connections = new Set<Connection>();
  const faults = createFaults(options.clock, connections);
  let count = 0;

  const server = createServer({ noDelay: true, keepAlive: true }, (socket) => {
    const connection = createConnection(socket, ++count, container, faults, options);
    connections.add(connection);
    socket.on('close', () => connections.delete(connection));
  });
  await listen(server, options.port, options.host);
  const address = server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : options.port,
    faults,
    connections: () => connections.size,
    unsettled: () => [...connections].reduce((sum, one) => sum + one.unsettled(), 0),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const { peer } of connections) peer.drop();
      }),
  };
}

function listen(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port, host, backlog: 4_096 }, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

interface Connection {
  readonly peer: Peer;
  addresses(): string[];
  unsettled(): number;
}

type Container = ReturnType<Rhea['create_container']>;

function createConnection(socket: Socket, id: number, container: Container, faults: InnerFaults, options: AmqpOptions): Connection {
  const { services } = options;
  const trouble = options.trouble ?? (() => undefined);
  const links = new Map<RheaLink, Link>();
  const sessions = new Map<RheaSession, Session>();
  const rings = new Map<RheaSession, Map<number, Delivery>>();
  const asked = new WeakSet<Delivery>();
  const wire = createWire(socket, { lag: faults.lag(), trouble, wrote, beforeSending: options.beforeSending ?? (() => undefined) });
  /** Bytes of messages that rhea has and the socket has not, and whether somebody got nothing because of them. */
  let queued = 0;
  let starved = false;
  const connection = container.create_connection({
    max_frame_size: frameBytesMax,
    idle_time_out: options.idleTimeoutMs ?? 60_000,
    reconnect: false,
    autoaccept: false,
    autosettle: false,
    credit_window: 0,
    treat_modified_as_released: false,
    all_errors_non_fatal: true,
  });
  const peer: Peer = {
    id,
    get container() {
      return connection.container_id ?? '';
    },
    get agent() {
      return String(connection.properties?.['user-agent'] ?? '');
    },
    drop: () => socket.destroy(),
  };

  // ---- life and death

  const handshake = setTimeout(() => socket.destroy(), options.handshakeMs ?? 10_000).unref();
  socket.on('close', () => {
    clearTimeout(handshake);
    for (const link of links.values()) release(link);
  });
  socket.on('drain', feed);

  function wrote(bytes: number): void {
    queued = Math.max(0, queued - bytes);
    if (starved && !isFull()) setImmediate(feed);
  }

  const isFull = (): boolean => queued + socket.writableLength > unreadBytesMax;

  function feed(): void {
    if (!starved || isFull()) return;
    starved = false;
    for (const link of links.values()) pump(link);
  }

  function release(link: Link): void {
    if (!links.delete(link.rhea)) return;
    link.gone.abort();
    forgetAll(link);
    const session = sessions.get(link.rhea.session);
    const reply = session?.replies.findIndex((one) => one === replyOf.get(link)) ?? -1;
    if (reply !== -1) session!.replies.splice(reply, 1);
    guard(link, () => (link.inlet ?? link.outlet)?.closed?.());
  }

  /** What was sent to it; what rhea has still to send would be missed. */
  function forgetAll({ rhea: { session }, rhea: gone }: Link): void {
    const deliveries = rings.get(session);
    for (const [id, { link }] of deliveries ?? []) if (link === gone && id < session.outgoing.next_pending_delivery) deliveries!.delete(id);
  }

  /** Nothing that a service does may reach rhea's loops. */
  function guard(link: Link, act: () => void): void {
    try {
      act();
    } catch (error) {
      if (error instanceof Invalid) return closeLink(link, { condition: 'com.microsoft:argument-error', description: error.message });
      trouble(`link ${link.address}: ${describe(error)}`);
      if (links.has(link.rhea)) closeLink(link, { condition: 'amqp:internal-error', description: 'The emulator failed; see its log.' });
    }
  }

  function closeLink(link: Link, error?: AmqpError): void {
    if (!links.has(link.rhea)) return;
    link.rhea.close(error === undefined ? undefined : { ...error });
    release(link);
  }

  // ---- attaching

  function onAttach(rheaLink: RheaLink): void {
    const { attach } = rheaLink.remote;
    const receives = !rheaLink.is_receiver();
    const address = addressOf(receives ? attach.source : attach.target);
    const link: Link = { rhea: rheaLink, address, gone: new AbortController(), gathered: 0, format: 0, answered: 0 };
    links.set(rheaLink, link);
    if (links.size > linksOfConnectionMax) return refuse(link, { condition: 'amqp:resource-limit-exceeded', description: `A connection may have ${linksOfConnectionMax} links.` });
    if (faults.throttled(address)) return refuse(link, busy);
    guard(link, () => {
      const answer = answerTo(link, receives);
      if (!(answer instanceof Promise)) return settle(link, answer);
      hold(link);
      void answer.then(
        (granted) => unhold(link, granted),
        (error: unknown) => {
          trouble(`link ${address}: ${describe(error)}`);
          unhold(link, { refused: { condition: 'amqp:internal-error', description: 'The emulator failed; see its log.' } });
        },
      );
    });
  }

  function answerTo(link: Link, receives: boolean): Answer | Promise<Answer> {
    const { attach } = link.rhea.remote;
    const node = managementNode(link.address);
    if (node !== undefined) return manage(link, node, receives);
    const wish: Wish = {
      role: receives ? 'receiver' : 'sender',
      address: link.address,
      name: link.rhea.name,
      peer,
      properties: mapFrom(attach.value[13]),
      filters: receives ? mapFrom((attach.source as Terminus | null)?.value[7]) : new Map(),
      desired: listFrom(attach.value[12]),
      settled: attach.snd_settle_mode === 1,
      gone: link.gone.signal,
      close: (error) => closeLink(link, error),
    };
    for (const service of services) {
      const answer = service.attach(wish);
      if (answer !== undefined) return answer;
    }
    return { refused: notFound(link.address) };
  }

  /** rhea would answer an attach in the next turn: while a link is held, that answer is taken back. */
  function hold(link: Link): void {
    link.rhea.state.open_requests--;
  }

  function unhold(link: Link, answer: Answer): void {
    // Too late: what was granted is given back.
    if (!links.has(link.rhea)) return guard(link, () => 'refused' in answer || answer.closed?.());
    link.rhea.state.open_requests++;
    connection._register();
    settle(link, answer);
  }

  function settle(link: Link, answer: Answer): void {
    if ('refused' in answer) return refuse(link, answer.refused);
    const { local, remote } = link.rhea;
    mirror(local.attach, remote.attach);
    if (answer.properties) local.attach.properties = recordOf(answer.properties);
    if (answer.offered?.length) local.attach.offered_capabilities = [...answer.offered];
    if ('take' in answer) {
      link.inlet = answer;
      local.attach.max_message_size = answer.maxMessageBytes;
      link.rhea.add_credit(creditOfSenders);
      return;
    }
    if (answer.filters) link.rhea.set_source({ address: (remote.attach.source as Terminus).address, filter: recordOf(answer.filters) });
    link.outlet = answer;
    link.out = outLink(link);
    sayDrained(link.rhea);
    pump(link);
  }

  /**
   * rhea says that a link is drained only if there was credit left to give back. A client that drains while its last message is on its way waits for the word all the same,
   * and closes the link when it does not come.
   */
  function sayDrained(sender: RheaLink): void {
    sender._get_drain = () => {
      if (!sender._draining || !sender._drained) return false;
      sender.delivery_count += sender.credit;
      sender.credit = 0;
      sender._draining = false;
      return true;
    };
  }

  /** Neither source nor target in the answer: so the client knows that it has no link before it sees the error. */
  function refuse(link: Link, error: AmqpError): void {
    closeLink(link, error);
  }

  // ---- the client receives

  function outLink(link: Link): OutLink {
    const { rhea: sender } = link;
    return {
      get credit() {
        const { next_delivery_id, next_pending_delivery } = sender.session.outgoing;
        if (!links.has(sender)) return 0;
        if (isFull()) {
          starved = true;
          return 0;
        }
        return Math.max(0, sender.credit - (next_delivery_id - next_pending_delivery));
      },
      get open() {
        return links.has(sender);
      },
      send(bytes, { tag, settled }) {
        if (!links.has(sender)) return;
        queued += bytes.length;
        const delivery = sender.send(bytes, tag, 0);
        if (settled) delivery.settled = true;
      },
      close: (error) => closeLink(link, error),
    };
  }

  function pump(link: Link): void {
    if (link.outlet === undefined || link.out === undefined) return;
    guard(link, () => link.outlet!.flow(link.out!));
    if (links.has(link.rhea) && link.rhea._draining) link.rhea.set_drained(true);
  }

  function onOutcome(delivery: Delivery, outcome: Outcome): void {
    const link = links.get(delivery.link);
    if (link === undefined || asked.has(delivery)) return;
    asked.add(delivery);
    if (link.outlet?.settle === undefined) return answerOutcome(link, delivery);
    let answered = false;
    guard(link, () =>
      link.outlet!.settle!(delivery.tag, outcome, (error) => {
        if (answered) return;
        answered = true;
        answerOutcome(link, delivery, error);
      }),
    );
  }

  function answerOutcome(link: Link, delivery: Delivery, error?: AmqpError): void {
    if (!links.has(link.rhea)) return;
    if (faults.losesAnswer(link.address)) return peer.drop();
    delivery.update(true, error === undefined ? accepted : message.rejected({ error }).described());
    // The client is not going to settle once more what we have told it is settled, which rhea would wait for.
    delivery.remote_settled = true;
    forget(delivery);
  }

  function forget(delivery: Delivery): void {
    delivery.settled = true;
    delivery.remote_settled = true;
    rings.get(delivery.link.session)?.delete(delivery.id);
  }

  // ---- the client sends

  function onMessage(receiver: RheaLink, bytes: Buffer, delivery: Delivery): void {
    const link = links.get(receiver);
    // To a link that was refused or closed meanwhile: it goes back.
    if (link?.inlet === undefined) return delivery.update(true, released);
    const size = link.gathered;
    link.gathered = 0;
    const incoming = incomingOf(link, bytes, delivery);
    const { maxMessageBytes } = link.inlet;
    if (size > maxMessageBytes) {
      return incoming.reject({ condition: 'amqp:link:message-size-exceeded', description: `The received message (delivery-id:${delivery.id}, size:${size} bytes) exceeds the limit (${maxMessageBytes} bytes) currently allowed on the link.` });
    }
    if (faults.throttled(link.address)) return incoming.reject(busy);
    takeIn(link, incoming);
  }

  function takeIn(link: Link, incoming: Incoming): void {
    try {
      link.inlet!.take(incoming);
    } catch (error) {
      if (error instanceof Invalid) return incoming.reject({ condition: 'amqp:decode-error', description: error.message });
      trouble(`link ${link.address}: ${describe(error)}`);
      incoming.reject({ condition: 'amqp:internal-error', description: 'The emulator failed; see its log.' });
    }
  }

  function incomingOf(link: Link, bytes: Buffer, delivery: Delivery): Incoming {
    let open = true;
    function answer(state: unknown): void {
      if (!open || !links.has(link.rhea)) return;
      open = false;
      if (faults.losesAnswer(link.address)) return peer.drop();
      delivery.update(true, state);
      // Credit comes back with the answers, and not message by message.
      if (++link.answered < creditOfSenders / 4) return;
      link.rhea.add_credit(link.answered);
      link.answered = 0;
    }
    return { bytes, format: link.format, accept: () => answer(accepted), reject: (error) => answer(message.rejected({ error }).described()) };
  }

  /** Before rhea: its own idea of a message of format 0 would be a decoded one, its patience with size has no end, and it would take an aborted transfer for a whole one. */
  function screenTransfer(frame: Frame): void {
    const { performative } = frame;
    const receiver = connection.remote_channel_map[frame.channel]?.remote.handles[Number(performative['handle'])];
    const link = receiver && links.get(receiver);
    // What is still on its way to a link that was refused or closed is let go.
    if (link?.inlet === undefined) {
      if (receiver === undefined) throw new Invalid('a transfer on a link that is not there');
      if (receiver.credit <= 0) receiver.credit = 1;
      frame.performative['message_format'] = null;
    } else {
      screenPayload(link, frame);
    }
    onTransfer(frame);
  }

  function screenPayload(link: Link, frame: Frame): void {
    const { performative } = frame;
    if (performative['aborted'] === true) throw new Invalid('an aborted transfer');
    if (link.rhea.credit <= 0) throw new Invalid('a transfer without credit');
    if (link.rhea._incomplete === undefined) {
      link.gathered = 0;
      link.format = Number(performative['message_format'] ?? 0);
    }
    performative['message_format'] = null;
    link.gathered += frame.payload?.length ?? 0;
    if (link.gathered > link.inlet!.maxMessageBytes || frame.payload === undefined) frame.payload = Buffer.alloc(0);
  }

  function screenDisposition(frame: Frame): void {
    const first = Number(frame.performative['first']);
    const last = Number(frame.performative['last'] ?? first);
    if (last - first >= settledAtOnceMax) throw new Invalid(`a disposition of ${last - first + 1} deliveries`);
    onDisposition(frame);
  }

  // ---- management

  function manage(link: Link, node: ManagementNode, receives: boolean): Answer {
    if (node.entity !== undefined && !services.some((service) => service.manages(node.entity!))) return { refused: notFound(node.entity) };
    const session = sessionOf(link.rhea.session);
    if (receives) return replyOutlet(link, session);
    return { maxMessageBytes: 1024 * 1024 * 8, take: (incoming) => onRequest(link, node, session, incoming) };
  }

  function sessionOf(session: RheaSession): Session {
    const known = sessions.get(session) ?? { replies: [] };
    sessions.set(session, known);
    return known;
  }

  function replyOutlet(link: Link, session: Session): Outlet {
    const waiting: Buffer[] = [];
    const target = addressOf(link.rhea.remote.attach.target);
    let replies = 0;
    function flow(out: OutLink): void {
      while (waiting.length > 0 && out.credit > 0) out.send(waiting.shift()!, { tag: tagOf(replies++), settled: true });
    }
    const reply = { address: link.address.toLowerCase(), target, reply: (bytes: Buffer) => void (waiting.push(bytes), link.out && flow(link.out)) };
    replyOf.set(link, reply);
    session.replies.push(reply);
    return { flow };
  }

  function onRequest(link: Link, node: ManagementNode, session: Session, incoming: Incoming): void {
    const parts = takeApart(incoming.bytes);
    const properties = mapOf(parts.applicationProperties);
    const { messageId, replyTo } = propertiesOf(parts.properties);
    incoming.accept();
    const request: Request = { operation: String(properties.get('operation') ?? ''), properties, body: valueOf(parts.body), peer };
    const address = link.address.toLowerCase();
    const id = fieldOf(parts.properties, 0) ?? messageId;
    const to = session.replies.find((one) => one.address === address && one.target !== '' && one.target === replyTo) ?? session.replies.findLast((one) => one.address === address);
    void respond(node, request).then((response) => to?.reply(encodeResponse(response, node, id)));
  }

  async function respond(node: ManagementNode, request: Request): Promise<Response> {
    if (node.entity === undefined) return { status: 202, description: 'Accepted' };
    if (faults.throttled(node.entity)) return { status: 503, description: busy.description, condition: busy.condition };
    try {
      for (const service of services) {
        const response = service.manages(node.entity) ? await service.request(node.entity, request) : undefined;
        if (response !== undefined) return response;
      }
      return { status: 501, description: `There is no operation '${request.operation}'.`, condition: 'amqp:not-implemented' };
    } catch (error) {
      if (error instanceof Invalid) return { status: 400, description: error.message, condition: 'amqp:invalid-field' };
      trouble(`request ${request.operation} of ${node.entity}: ${describe(error)}`);
      return { status: 500, description: 'The emulator failed; see its log.', condition: 'amqp:internal-error' };
    }
  }

  // ---- what rhea tells us

  const onTransfer = connection.on_transfer.bind(connection);
  const onDisposition = connection.on_disposition.bind(connection);
  connection.on_transfer = screenTransfer;
  connection.on_disposition = screenDisposition;
  connection.on('connection_open', () => {
    clearTimeout(handshake);
    // Our own open goes out in the next turn.
    setImmediate(() => wire.opened());
  });
  connection.on('session_open', ({ session }) => {
    const deliveries = new Map<number, Delivery>();
    rings.set(session, deliveries);
    session.outgoing.deliveries = ringOver(deliveries);
  });
  connection.on('session_close', ({ session }) => {
    for (const link of links.values()) if (link.rhea.session === session) release(link);
    sessions.delete(session);
    rings.delete(session);
  });
  connection.on('sender_open', ({ sender }) => onAttach(sender!));
  connection.on('receiver_open', ({ receiver }) => onAttach(receiver!));
  connection.on('sender_close', ({ sender }) => leave(sender!));
  connection.on('receiver_close', ({ receiver }) => leave(receiver!));
  connection.on('sender_flow', ({ sender }) => {
    const link = links.get(sender!);
    if (link) pump(link);
  });
  connection.on('message', ({ receiver, message: bytes, delivery }) => onMessage(receiver!, bytes, delivery));
  connection.on('accepted', ({ delivery }) => onOutcome(delivery, { kind: 'accepted' }));
  connection.on('released', ({ delivery }) => onOutcome(delivery, { kind: 'released' }));
  connection.on('modified', ({ delivery }) => onOutcome(delivery, modifiedOf(delivery)));
  connection.on('rejected', ({ delivery }) => onOutcome(delivery, rejectedOf(delivery)));
  // Settled by the client: if without an outcome, it gives the message back.
  connection.on('settled', ({ delivery }) => {
    onOutcome(delivery, { kind: 'released' });
    forget(delivery);
  });
  for (const event of ['error', 'protocol_error']) connection.on(event, (error) => void (trouble(`a client broke the protocol: ${describe(error)}`), socket.destroy()));
  for (const event of ['connection_error', 'connection_close', 'disconnected', 'session_error', 'sender_error', 'receiver_error', 'receiver_drained', 'receiver_flow', 'sendable', 'sender_draining']) {
    connection.on(event, () => undefined);
  }

  function leave(rheaLink: RheaLink): void {
    const link = links.get(rheaLink);
    if (link === undefined) return;
    // A held link must still be answered before it can be closed.
    if (link.inlet === undefined && link.outlet === undefined) rheaLink.state.open_requests++;
    release(link);
  }

  connection.accept(wire);
  return {
    peer,
    addresses: () => [...links.values()].map(({ address }) => address),
    unsettled: () => [...rings.values()].reduce((sum, ring) => sum + ring.size, 0),
  };
}

// ---------------------------------------------------------------- small parts

const accepted = message.accepted().described();
const released = message.released().described();
const busy: AmqpError = { condition: 'com.microsoft:server-busy', description: 'The request was terminated because the entity is being throttled. Please wait and try again.' };
const replyOf = new WeakMap<Link, Session['replies'][number]>();

function ringOver(deliveries: Map<number, Delivery>): Ring {
  return {
    available: () => Number.MAX_SAFE_INTEGER,
    push: (delivery) => void deliveries.set(delivery.id, delivery),
    by_id: (id) => deliveries.get(id),
    pop_if(done) {
      for (const [id, delivery] of deliveries) {
        if (!done(delivery)) return;
        deliveries.delete(id);
      }
    },
  };
}

/** Addresses may come as 'queue', '/queue' or 'amqps://host/queue'. */
function addressOf(terminus: unknown): string {
  const address = (terminus as Terminus | null)?.address;
  return typeof address === 'string' ? address.replace(/^amqps?:\/\/[^/]*\//, '').replace(/^\//, '') : '';
}

interface ManagementNode {
  /** '' for the namespace; undefined is $cbs. */
  readonly entity: string | undefined;
}

function managementNode(address: string): ManagementNode | undefined {
  if (address.toLowerCase() === '$cbs') return { entity: undefined };
  const found = /^(?:(.*)\/)?\$management$/i.exec(address);
  return found ? { entity: found[1] ?? '' } : undefined;
}

function mapFrom(value: unknown): ReadonlyMap<string, Value> {
  const map = fromRhea(value);
  return isMap(map) ? map : new Map();
}

function listFrom(value: unknown): string[] {
  const list = fromRhea(value);
  return Array.isArray(list) ? list.map(String) : typeof list === 'string' ? [list] : [];
}

const recordOf = (entries: Readonly<Record<string, Writable>>): Record<string, unknown> => Object.fromEntries(Object.entries(entries).map(([key, value]) => [key, toRhea(value)]));

function mirror(local: Attach, remote: Attach): void {
  local.source = (remote.source as Terminus | null)?.described();
  local.target = (remote.target as Terminus | null)?.described();
  local.snd_settle_mode = remote.snd_settle_mode ?? 2;
  local.rcv_settle_mode = remote.rcv_settle_mode ?? 0;
}

const mapOfPlain = (value: unknown): ReadonlyMap<string, Value> => mapFrom(value ?? null);

function modifiedOf({ remote_state }: Delivery): Outcome {
  return { kind: 'modified', deliveryFailed: remote_state?.['delivery_failed'] === true, undeliverableHere: remote_state?.['undeliverable_here'] === true, annotations: mapOfPlain(remote_state?.['message_annotations']) };
}

function rejectedOf({ remote_state }: Delivery): Outcome {
  const error = remote_state?.error;
  return { kind: 'rejected', condition: textOf(error?.condition), description: textOf(error?.description), info: mapOfPlain(error?.info) };
}

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');

function tagOf(count: number): Buffer {
  const tag = Buffer.allocUnsafe(4);
  tag.writeUInt32BE(count >>> 0);
  return tag;
}

const describe = (error: unknown): string => (error instanceof Error ? (error.stack ?? error.message) : String(error));

/** The answer carries the id of the request as its correlation id, in the type that it had. */
function encodeResponse({ status, description, condition, body }: Response, { entity }: ManagementNode, correlationId: Writable): Buffer {
  const [code, text] = entity === undefined ? ['status-code', 'status-description'] : ['statusCode', 'statusDescription'];
  const properties: Record<string, Writable> = { [code!]: int(status), [text!]: description ?? '' };
  if (condition !== undefined) properties['errorCondition'] = symbol(condition);
  return Buffer.concat([headerSection({}), answerSection(correlationId), applicationPropertiesSection(properties), valueSection(body)]);
}

// ---------------------------------------------------------------- faults

interface InnerFaults extends Faults {
  throttled(address: string): boolean;
  losesAnswer(address: string): boolean;
  /** For one connection: hears what comes in, in order, now or after the delay. */
  lag(): (hear: () => void) => void;
}

const within = (address: string, entity: string): boolean => address === entity || address.startsWith(`${entity}/`);

/** So many times for an entity; an address takes one off. */
function createCountdown(): { set(entity: string, times: number): void; takes(address: string): boolean; clear(): void } {
  const left = new Map<string, number>();
  return {
    set(entity, times) {
      if (times > 0) left.set(entity.toLowerCase(), times);
      else left.delete(entity.toLowerCase());
    },
    takes(address) {
      if (left.size === 0) return false;
      const entity = [...left.keys()].find((one) => within(address.toLowerCase(), one));
      if (entity === undefined) return false;
      this.set(entity, left.get(entity)! - 1);
      return true;
    },
    clear: () => left.clear(),
  };
}

function createFaults(clock: Clock, connections: ReadonlySet<Connection>): InnerFaults {
  const throttles = createCountdown();
  const losses = createCountdown();
  let delayMs = 0;

  return {
    delay(milliseconds) {
      delayMs = milliseconds;
    },
    throttle: throttles.set,
    loseAnswers: losses.set,
    throttled: (address) => throttles.takes(address),
    losesAnswer: (address) => losses.takes(address),
    drop(entity) {
      const met = [...connections].filter((one) => entity === undefined || one.addresses().some((address) => within(address.toLowerCase(), entity.toLowerCase())));
      for (const { peer } of met) peer.drop();
      return met.length;
    },
    clear() {
      delayMs = 0;
      throttles.clear();
      losses.clear();
    },
    lag() {
      let waiting = 0;
      let last = Promise.resolve();
      return (hear) => {
        if (delayMs === 0 && waiting === 0) return hear();
        const due = clock.now() + delayMs;
        waiting++;
        last = last
          .then(() => clock.sleep(due - clock.now()))
          .then(() => {
            waiting--;
            hear();
          });
      };
    },
  };
}
