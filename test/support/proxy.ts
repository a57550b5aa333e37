import { once } from 'node:events';
import { Agent, createServer, request, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

/**
 * An HTTP proxy that does to its callers what networks and busy services do. It stands in front of one server and passes all on, but for the faults that it was told of.
 *
 * - `answer`: answers itself; the server hears nothing.
 * - `cut`: the line is reset before the server hears of the request. `half`: it is reset when half of the request has gone through.
 * - `lose`: the server does what it was told and answers; the answer is lost with the line.
 * - `hang`: there never is an answer. `trickle`: it begins and never ends.
 * - `delay`: the answer takes so long.
 */
export type Fault =
  | { readonly do: 'answer'; readonly status: number; readonly headers?: Readonly<Record<string, string>>; readonly body?: string }
  | { readonly do: 'cut' | 'half' | 'lose' | 'hang' | 'trickle' }
  | { readonly do: 'delay'; readonly milliseconds: number };

export interface Passed {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export interface FaultyProxy {
  readonly port: number;
  /** What has been asked of it, the oldest first. */
  readonly passed: readonly Passed[];
  /** The next requests that match meet these faults, one each, in this order. */
  next(...faults: readonly Fault[]): void;
  /** Every request meets it, until another or none is said. */
  always(fault?: Fault): void;
  /** All lines are reset, and no new one is taken. */
  sever(): Promise<void>;
}

export async function openProxy(target: { readonly port: number }): Promise<FaultyProxy> {
  const agent = new Agent({ keepAlive: true });
  const passed: Passed[] = [];
  const faults: Fault[] = [];
  let standing: Fault | undefined;
  const sockets = new Set<Socket>();
  const server = createServer((incoming, outgoing) => void take(incoming, outgoing).catch(() => incoming.socket.destroy()));
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  async function take(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const fault = faults.shift() ?? standing;
    const body = await wholeOf(incoming);
    passed.push({ method: incoming.method ?? '', url: incoming.url ?? '', headers: incoming.headers, body: body.toString() });
    if (fault?.do === 'answer') return void outgoing.writeHead(fault.status, fault.headers).end(fault.body ?? '');
    if (fault?.do === 'cut') return void incoming.socket.resetAndDestroy();
    if (fault?.do === 'hang') return;
    if (fault?.do === 'delay') await new Promise((resolve) => setTimeout(resolve, fault.milliseconds));
    const answer = await forward(incoming, body, fault);
    if (fault?.do === 'lose' || answer === undefined) return void incoming.socket.resetAndDestroy();
    const text = await wholeOf(answer);
    outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
    if (fault?.do === 'trickle') return void outgoing.write(text.subarray(0, Math.max(1, text.length / 2)));
    outgoing.end(text);
  }

  async function forward(incoming: IncomingMessage, body: Buffer, fault: Fault | undefined): Promise<IncomingMessage | undefined> {
    const outgoing = request({ agent, host: '127.0.0.1', port: target.port, method: incoming.method, path: incoming.url, headers: incoming.headers });
    if (fault?.do === 'half') {
      outgoing.on('error', () => undefined).write(body.subarray(0, body.length / 2), () => outgoing.destroy());
      await once(outgoing, 'close');
      return undefined;
    }
    outgoing.end(body);
    const [answer] = (await once(outgoing, 'response')) as [IncomingMessage];
    if (fault?.do === 'lose') await wholeOf(answer);
    return answer;
  }

  return {
    port: (server.address() as AddressInfo).port,
    passed,
    next: (...more) => void faults.push(...more),
    always: (fault) => void (standing = fault),
    async sever() {
      for (const socket of sockets) socket.resetAndDestroy();
      agent.destroy();
      if (server.listening) await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

async function wholeOf(message: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of message) parts.push(part as Buffer);
  return Buffer.concat(parts);
}
