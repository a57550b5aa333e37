import { notification } from '../core/notification/index.ts';
import { http } from './host.ts';

export const listMails = http('listMails', notification);
export const retryMail = http('retryMail', notification);
export const resolveMail = http('resolveMail', notification);
