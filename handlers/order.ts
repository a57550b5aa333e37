import { order } from '../core/order/index.ts';
import { http } from './host.ts';

export const placeOrder = http('placeOrder', order);
export const getOrder = http('getOrder', order);
export const cancelOrder = http('cancelOrder', order);
export const listOrders = http('listOrders', order);
