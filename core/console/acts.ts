import { doors, type Door } from '../flow.ts';
import { html, type Html } from '../html.ts';
import type { ActView } from '../operations/events.ts';
import { addressOf, chip, clipped, nothing, orderLink, pager, skuLink, table, timeOf, type PageOf } from './shape.ts';

/** WHAT PEOPLE DID: every change through the admin API, by the token or here, the newest first. */

export interface Asked {
  readonly who?: string;
  readonly door?: string;
  readonly after?: string;
}

const changing: readonly (readonly [name: string, summary: string])[] = (Object.entries(doors) as [string, Door][])
  .filter(([, { admin, method }]) => admin !== undefined && method !== 'GET').map(([name, { summary }]) => [name, summary]);
const summaries = new Map(changing);

export function actsPage(asked: Asked, { items, next }: { readonly items: readonly ActView[]; readonly next?: string | undefined }): PageOf {
  const { who = '', door = '' } = asked;
  const main = html`<p class="crumbs"><a href="/console/audit">Audit</a></p>
<div class="headline"><h1>What people did</h1></div>
<form class="bar" role="search" action="/console/acts" method="get"><div class="field"><label for="who">Who</label><input id="who" name="who" value="${who}" maxlength="200" autocomplete="off" dir="auto"></div>
<div class="field"><label for="door">What</label><select id="door" name="door"><option value="">Everything</option>${changing.map(([name, summary]) => html`<option value="${name}"${name === door ? html` selected` : null}>${summary}</option>`)}</select></div>
<button class="button">Show</button></form>
${items.length === 0 ? none(asked) : html`<div class="card">${table('What people did', ['When', 'Who', 'What', 'About', 'Came of it'], items.map(rowOf))}</div>`}
${pager('/console/acts', { who, door, after: asked.after }, next)}`;
  return { title: 'What people did', here: 'audit', main };
}

function none({ who = '', door = '', after }: Asked): Html {
  if (after !== undefined) return nothing('Nothing before that', html`<a href="${addressOf('/console/acts', { who, door })}">Back to the newest</a>`);
  if (who === '' && door === '') return nothing('Nothing yet', 'Whatever is changed through the admin API, or here, is kept with who did it and when.');
  return nothing('Nothing of that kind', html`<a href="/console/acts">Everything</a>`);
}

function rowOf(act: ActView): readonly (Html | string)[] {
  const { at, who, subject, via, door, said } = act;
  return [
    timeOf(at),
    html`<bdi${subject === undefined ? null : html` title="${subject}"`}>${clipped(who, 80)}</bdi> <span class="quiet">${via === 'api' ? 'API' : 'console'}</span>`,
    summaries.get(door) ?? door,
    html`${about(act)}${said === undefined ? null : html`<br><span class="quiet"><bdi class="break">${said}</bdi></span>`}`,
    outcome(act),
  ];
}

function about({ params: { id, sku } }: ActView): Html | string {
  if (sku !== undefined) return skuLink(sku);
  if (id === undefined) return '';
  return /^[0-9a-z]{26}$/.test(id) ? orderLink(id) : html`<bdi class="number">${clipped(id, 40)}</bdi>`;
}

function outcome({ status, state }: ActView): Html {
  if (state === 'begun' || status === undefined) return html`${chip('warn', 'begun')} <span class="quiet">what came of it is unknown</span>`;
  if (status < 300) return chip('good', 'done');
  if (status >= 500) return html`${chip('bad', `failed ${status}`)} <span class="quiet">perhaps it was done</span>`;
  return chip('warn', `refused ${status}`);
}
