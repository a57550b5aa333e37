import { createHmac } from 'node:crypto';
import { noticeReaders } from '../../adapters/carriers/index.ts';
import type { Engines } from '../../adapters/memory/index.ts';
import type { DoorName } from '../../core/flow.ts';
import type { Kernel } from '../../core/kernel/service.ts';
import type { HttpAnswer, HttpContext, HttpEvent } from '../../handlers/host.ts';
import { handlers, services } from '../../handlers/index.ts';
import { startPump } from '../../handlers/pump.ts';
import { openWorld, type World } from '../support/world.ts';

/**
 * THE EDGE OF A WORLD: the shop as strangers meet it. Nobody works in it until the test says so, so every change is the work of the request that was just made; and every
 * change of what is stored, sent or appended is counted at the engines, beneath the drivers.
 */
export interface Edge {
  readonly world: World;
  readonly kernel: Kernel;
  readonly context: HttpContext;
  /** Grows with every change of a row, a queue or a stream. What the desk writes down of an act, done or refused, is no change; nor is it that a session goes on. */
  changes(): number;
  call(door: DoorName, event: Partial<HttpEvent>): Promise<HttpAnswer>;
  /** A new session at the console. */
  signIn(): Promise<Session>;
  /** Lets the six services and the carrier work until all is at rest; what is parked may stay so, and so may what `concerns` nobody. Throws, saying what is left, when it takes more than so many seconds. */
  rest(seconds?: number, concerns?: (left: string) => boolean): Promise<void>;
  close(): Promise<void>;
}

export interface Session {
  /** A `Cookie` header. */
  readonly cookie: string;
  readonly csrf: string;
}

export const adminToken = 'the-admin-token-of-the-edge';
export const secrets = { demo: 'whsec-demo-0001', easypost: 'whsec-easypost-ﬁ', shippo: 'whsec-shippo-0003', aftership: 'whsec-aftership-0004' } as const;

export async function openEdge(seed: number, options: { readonly deliversAfterSeconds?: number } = {}): Promise<Edge> {
  const world = await openWorld({ seed, still: true, ...options });
  const kernel: Kernel = { ...world.kernel, notices: noticeReaders({ ...secrets }) };
  const context: HttpContext = { kernel, adminToken, rateLimit: false };
  const changes = countChanges(world.engines);
  const edge: Edge = {
    world,
    kernel,
    context,
    changes,
    call(door, event) {
      const whole: HttpEvent = { method: 'GET', path: '/', params: {}, query: new URLSearchParams(), headers: {}, body: new Uint8Array(), remote: '192.0.2.1', ...event };
      return soon(world, handlers[door](whole, context));
    },
    async signIn() {
      const form = { 'content-type': 'application/x-www-form-urlencoded' };
      const { headers } = await edge.call('consoleEnter', { method: 'POST', path: '/console/sign-in', headers: form, body: Buffer.from(new URLSearchParams({ token: adminToken }).toString()) });
      const cookie = headers['set-cookie']!.split(';')[0]!;
      const { body } = await edge.call('consoleOrders', { path: '/console/orders', headers: { cookie } });
      return { cookie, csrf: /name="csrf" value="([^"]+)"/.exec(String(body))![1]! };
    },
    async rest(seconds = 3_600, concerns = () => true) {
      const pump = startPump(kernel, services, {
        everySeconds: { pollProducts: 1, sweepBookings: 10, sweepClaims: 30 },
        timers: [{ name: 'demoCarrier', everySeconds: 5, tick: () => world.tick() }],
      });
      try {
        for (const until = world.clock.now() + seconds * 1_000; ; ) {
          await world.clock.idle();
          const left = unrest(world).filter(concerns);
          if (left.length === 0) break;
          if (world.clock.now() >= until) throw new Error(`not at rest after ${seconds} s: ${left.slice(0, 10).join('; ')}`);
          await world.clock.next();
        }
      } finally {
        await world.play(pump.stop());
      }
    },
    close: () => world.stop(),
  };
  return edge;
}

/** What is parked is explained, and stays where it is until somebody has looked. */
const unrest = (world: World): string[] => world.unrest().filter((line) => !line.includes(' parked|'));

/** Most answers need no time to pass; for those that do it passes. */
async function soon<Result>(world: World, work: Promise<Result>): Promise<Result> {
  let settled = false;
  const mark = (): void => void (settled = true);
  work.then(mark, mark);
  for (let i = 0; i < 40 && !settled; i++) await new Promise((resolve) => setImmediate(resolve));
  return settled ? work : world.play(work);
}

function countChanges({ store, queue, stream }: Engines): () => number {
  let count = 0;
  const counted = <Args extends unknown[], Result>(work: (...args: Args) => Result) => (...args: Args): Result => {
    const result = work(...args);
    count++;
    return result;
  };
  const commit = store.commit;
  store.commit = (partition, writes) => {
    const versions = commit(partition, writes);
    count += writes.filter(({ op, key }) => !key.startsWith('act|') && !(op === 'replace' && key.startsWith('session|'))).length;
    return versions;
  };
  queue.send = counted(queue.send);
  queue.receive = counted(queue.receive);
  queue.remove = counted(queue.remove);
  queue.renew = counted(queue.renew);
  stream.append = counted(stream.append);
  return () => count;
}

/** The vendors' signatures, from their documentation and not from our adapters. `at` is in milliseconds. */
export function signed(carrier: keyof typeof secrets, body: Uint8Array, at: number, secret: string = secrets[carrier]): Record<string, string> {
  const hmac = (key: string, ...parts: (string | Uint8Array)[]): Buffer => {
    const sum = createHmac('sha256', key);
    for (const part of parts) sum.update(part);
    return sum.digest();
  };
  const seconds = String(Math.floor(at / 1_000));
  switch (carrier) {
    case 'demo':
      return { 'demo-signature': `sha256=${hmac(secret, body).toString('hex')}` };
    case 'easypost':
      return { 'x-hmac-signature': `hmac-sha256-hex=${hmac(secret.normalize('NFKD'), body).toString('hex')}` };
    case 'shippo':
      return { 'shippo-auth-signature': `t=${seconds},v1=${hmac(secret, `${seconds}.`, body).toString('hex')}` };
    case 'aftership':
      return { 'aftership-hmac-sha256': hmac(secret, body).toString('base64') };
  }
}
