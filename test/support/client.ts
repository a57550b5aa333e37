import { setTimeout as wait } from 'node:timers/promises';
import type { OrderView } from '../../core/order/events.ts';

/** A client of the HTTP API, as a shop's front end or an operator would write it. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  // oxlint-disable-next-line typescript/no-explicit-any -- a foreign program's view: JSON as it comes
  readonly body: any;
}

export function client(url: string, adminToken: string) {
  async function call(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    const response = await fetch(url + path, {
      method,
      redirect: 'manual',
      headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    const json = response.headers.get('content-type')?.includes('json');
    return { status: response.status, headers: response.headers, body: json ? JSON.parse(text) : text };
  }
  const admin = { authorization: `Bearer ${adminToken}` };

  return {
    call,
    get: (path: string) => call('GET', path),
    adminGet: (path: string) => call('GET', path, undefined, admin),
    adminPut: (path: string, body: unknown) => call('PUT', path, body, admin),
    adminPost: (path: string, body: unknown, headers: Record<string, string> = {}) => call('POST', path, body, { ...admin, ...headers }),
    post: (path: string, body: unknown, headers: Record<string, string> = {}) => call('POST', path, body, headers),
    order: async (id: string): Promise<OrderView> => (await call('GET', `/api/orders/${id}`)).body as OrderView,
    /** Asks until the order has that status; fails after the time with the status that it had. */
    async until(id: string, status: OrderView['status'], seconds = 15): Promise<OrderView> {
      return eventually(async () => {
        const order = (await call('GET', `/api/orders/${id}`)).body as OrderView;
        if (order.status !== status) throw new Error(`order ${id} is ${order.status}, not ${status}`);
        return order;
      }, seconds);
    },
  };
}
export type Client = ReturnType<typeof client>;

/** For what happens in its own time in another process: asks until it no longer throws. */
export async function eventually<T>(ask: () => Promise<T>, seconds = 15): Promise<T> {
  const deadline = performance.now() + seconds * 1_000;
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await wait(20);
    }
  }
}

export const anna = { name: 'Anna Bell', email: 'anna@example.com' };
export const home = { line1: '1 High Street', city: 'Leeds', postcode: 'LS1 4AP', country: 'GB' };
export const basket = (...lines: [string, number][]) => ({ customer: anna, address: home, lines: lines.map(([sku, quantity]) => ({ sku, quantity })) });
