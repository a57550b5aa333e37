import { shipping } from '../core/shipping/index.ts';
import { http } from './host.ts';

export const takeNotice = http('takeNotice', shipping);
export const listBookings = http('listBookings', shipping);
export const retryBooking = http('retryBooking', shipping);
export const resolveBooking = http('resolveBooking', shipping);
