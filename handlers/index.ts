import { inventory } from '../core/inventory/index.ts';
import type { DoorName } from '../core/flow.ts';
import type { AnyService } from '../core/kernel/service.ts';
import { notification } from '../core/notification/index.ts';
import { order } from '../core/order/index.ts';
import { product } from '../core/product/index.ts';
import { shipping } from '../core/shipping/index.ts';
import { website } from '../core/website/index.ts';
import type { HttpHandler } from './host.ts';
import * as consoleDoors from './console.ts';
import * as inventoryDoors from './inventory.ts';
import * as notificationDoors from './notification.ts';
import * as operationsDoors from './operations.ts';
import * as orderDoors from './order.ts';
import * as productDoors from './product.ts';
import * as shippingDoors from './shipping.ts';
import * as websiteDoors from './website.ts';

export const services: readonly AnyService[] = [order, inventory, product, shipping, notification, website];

/** A door of the flow without a handler does not compile. */
export const handlers: { readonly [D in DoorName]: HttpHandler } = {
  ...orderDoors,
  ...inventoryDoors,
  ...productDoors,
  ...shippingDoors,
  ...notificationDoors,
  ...operationsDoors,
  ...websiteDoors,
  ...consoleDoors,
};
