import { css } from './css.ts';
import { script } from './script.ts';

/** What browsers fetch beside the console's pages, under `/assets/`. */
export const consoleAssets: ReadonlyMap<string, { readonly type: string; readonly body: string }> = new Map([
  ['console.css', { type: 'text/css; charset=utf-8', body: css }],
  ['console.js', { type: 'text/javascript; charset=utf-8', body: script }],
]);
