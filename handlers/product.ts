import { product } from '../core/product/index.ts';
import { http } from './host.ts';

export const listProducts = http('listProducts', product);
export const getProduct = http('getProduct', product);
export const describeProduct = http('describeProduct', product);
