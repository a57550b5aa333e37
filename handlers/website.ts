import { website } from '../core/website/index.ts';
import { http } from './host.ts';

export const homePage = http('homePage', website);
export const productPage = http('productPage', website);
export const basketPage = http('basketPage', website);
export const changeBasket = http('changeBasket', website);
export const checkoutPage = http('checkoutPage', website);
export const checkOut = http('checkOut', website);
export const orderPage = http('orderPage', website);
export const orderNews = http('orderNews', website);
export const cancelFromPage = http('cancelFromPage', website);
export const mailboxPage = http('mailboxPage', website);
export const letterPage = http('letterPage', website);
