import { css } from './css.ts';
import { script } from './script.ts';

/** What browsers fetch beside the pages, under `/assets/`. */
export const assets: ReadonlyMap<string, { readonly type: string; readonly body: string }> = new Map([
  ['app.css', { type: 'text/css; charset=utf-8', body: String(css) }],
  ['app.js', { type: 'text/javascript; charset=utf-8', body: script }],
  [
    'icon.svg',
    {
      type: 'image/svg+xml',
      body: '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="9" fill="#1f5f4a"/><path d="M7.5 21.5a8.5 8.5 0 0 1 17 0M16 13V7.5M12.5 21.5a3.5 3.5 0 0 1 7 0" fill="none" stroke="#fff" stroke-width="2.4" stroke-linecap="round"/></svg>',
    },
  ],
]);
