import { inventory } from '../core/inventory/index.ts';
import { http } from './host.ts';

export const receiveStock = http('receiveStock', inventory);
export const getStock = http('getStock', inventory);
