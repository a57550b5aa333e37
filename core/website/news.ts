import { isRefusal, refuse, type Refusal } from '../../ports/index.ts';
import type { Kernel } from '../kernel/service.ts';
import type { OrderView } from '../order/events.ts';
import { isFinal } from './tracking.ts';

/**
 * NEWS OF AN ORDER, as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html): `moved` when the page of the order would show something
 * else, `end` when nothing more will come. They carry the status and nothing else; whoever hears one fetches the page, so that there is one way to draw it.
 *
 * - The order is looked at often while it is new and seldom later, as somebody who polls would do. A comment every few seconds keeps the connection open.
 * - It ends at the order's end, when the reader has gone, or after some minutes; then the browser comes back by itself.
 * - Whoever cannot have it (a host that cannot stream, or has no connection left) gets 204, after which a browser does not ask again and polls instead.
 */
export const secondsMax = 600;
const heartbeatSeconds = 15;
/** Browsers that lose the connection wait so long before they come back. */
const retryMilliseconds = 3_000;

export type News = (signal: AbortSignal) => AsyncIterable<string>;

export async function newsOf(kernel: Kernel, id: string): Promise<News | Refusal> {
  const order = await kernel.published.order(id);
  return order ? (signal) => follow(kernel, order, signal) : refuse(404, 'not-found', 'there is no such order; please check the address');
}

async function* follow(kernel: Kernel, order: OrderView, signal: AbortSignal): AsyncIterable<string> {
  const { clock, published } = kernel;
  const began = clock.now();
  let shown = marksOf(order);
  let spoke = began;
  // What was missed between the page and this connection is heard at once.
  yield `retry: ${retryMilliseconds}\n${event(isFinal(order) ? 'end' : 'moved', order)}`;
  while (!isFinal(order) && !signal.aborted && clock.now() - began < secondsMax * 1_000) {
    await clock.sleep(clock.now() - began < 120_000 ? 500 : 5_000, signal);
    if (signal.aborted) return;
    order = (await published.order(order.id)) ?? order;
    const marks = marksOf(order);
    if (marks !== shown) yield event(isFinal(order) ? 'end' : 'moved', order);
    else if (clock.now() - spoke >= heartbeatSeconds * 1_000) yield ': still here\n\n';
    else continue;
    shown = marks;
    spoke = clock.now();
  }
}

const event = (name: 'moved' | 'end', { status }: OrderView): string => `event: ${name}\ndata: ${status}\n\n`;
const marksOf = ({ status, history, shipments, cancellationRequestedAt }: OrderView): string => JSON.stringify([status, history, shipments, cancellationRequestedAt]);

export const isNews = (news: News | Refusal): news is News => !isRefusal(news);
