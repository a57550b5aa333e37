import { doors, type DoorName, type DoorsOf, type OwnerName } from '../core/flow.ts';
import type { HttpHandler } from './host.ts';

/** The doors' handlers, each loaded when somebody first comes to it, with its own service and no other. */
const files: { readonly [S in OwnerName]: () => Promise<{ readonly [D in DoorsOf<S>]: HttpHandler }> } = {
  order: () => import('./order.ts'),
  inventory: () => import('./inventory.ts'),
  product: () => import('./product.ts'),
  shipping: () => import('./shipping.ts'),
  notification: () => import('./notification.ts'),
  operations: () => import('./operations.ts'),
  website: () => import('./website.ts'),
  console: () => import('./console.ts'),
};

const loaded = new Map<DoorName, HttpHandler>();

export async function handlerOf(door: DoorName): Promise<HttpHandler> {
  const known = loaded.get(door);
  if (known) return known;
  const handlers: { readonly [door: string]: HttpHandler } = await files[doors[door].service]();
  loaded.set(door, handlers[door]!);
  return handlers[door]!;
}
