import { notification } from '../core/notification/index.ts';
import { http } from './host.ts';

export const listMails = http('listMails', notification);
