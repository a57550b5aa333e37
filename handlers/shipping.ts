import { shipping } from '../core/shipping/index.ts';
import { http } from './host.ts';

export const takeNotice = http('takeNotice', shipping);
