import type { Ports, Refusal } from '../../ports/index.ts';
import type { ClocksOf, DoorName, DoorsOf, HeardBy, MessageOf, OwnerName, RequestOf } from '../flow.ts';
import type { MailView } from '../notification/events.ts';
import type { OrderView, PlaceOrder } from '../order/events.ts';
import type { ProductView } from '../product/events.ts';
import type { Relay } from './relay.ts';

/** What every handler of every service is given. */
export interface Kernel extends Ports {
  readonly relay: Relay;
  readonly published: Published;
  /** Of this deployment; made at its first start and kept in its store. Order ids are derived from it. */
  readonly secret: string;
}

/**
 * The questions that one service may ask another at once, as a browser would ask them over HTTP; handed in by the composition root. Everything else goes by events.
 */
export interface Published {
  /** Product: what it publishes about these products; those that it does not know are absent. */
  products(skus: readonly string[]): Promise<ReadonlyMap<string, ProductView>>;
  /** Product says ProductInfoUpdated of every product once more. */
  sayProductsAgain(): Promise<void>;
  placeOrder(order: PlaceOrder, idempotencyKey: string | undefined): Promise<OrderView | Refusal>;
  order(id: string): Promise<OrderView | undefined>;
  cancelOrder(id: string): Promise<OrderView | Refusal>;
  mails(options: { limit: number; after?: string; orderId?: string }): Promise<{ items: readonly MailView[]; next?: string }>;
}

/** A service: everything that `core/flow.ts` assigns to it, and nothing else. To forget one is a compile error. */
export interface Service<S extends OwnerName> {
  readonly name: S;
  readonly hears: { readonly [E in HeardBy<S>]: (kernel: Kernel, message: MessageOf<E>) => Promise<void> };
  readonly answers: { readonly [D in DoorsOf<S>]: (kernel: Kernel, request: RequestOf<D>) => Promise<Reply> };
  readonly ticks: { readonly [C in ClocksOf<S>]: (kernel: Kernel) => Promise<void> };
}

/** A service whose types have been forgotten, for hosts that go through the tables. */
export interface AnyService {
  readonly name: OwnerName;
  readonly hears: { readonly [event: string]: (kernel: Kernel, message: never) => Promise<void> };
  readonly answers: { readonly [door: string]: (kernel: Kernel, request: never) => Promise<Reply> };
  readonly ticks: { readonly [clock: string]: (kernel: Kernel) => Promise<void> };
}

/** The answer of a door: JSON, a page, text of a type, text that goes on (on hosts that cannot do that: 204), or nothing. A `Refusal` becomes a problem (RFC 9457). */
export type Reply =
  | { readonly status: number; readonly json: unknown; readonly headers?: Readonly<Record<string, string>> }
  /** `style`: the one stylesheet that stands in the page, to the letter; the host lets the browser take that and no other. */
  | { readonly status: number; readonly html: string; readonly style?: string; readonly headers?: Readonly<Record<string, string>> }
  | { readonly status: number; readonly text: string; readonly type: string }
  | { readonly status: number; readonly stream: (signal: AbortSignal) => AsyncIterable<string>; readonly type: string }
  | { readonly status: number; readonly headers?: Readonly<Record<string, string>> }
  | Refusal;

export type Door<D extends DoorName> = (kernel: Kernel, request: RequestOf<D>) => Promise<Reply>;
