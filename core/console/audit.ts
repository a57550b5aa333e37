import type { z } from 'zod';
import { html, type Html } from '../html.ts';
import type { AuditView } from '../operations/events.ts';
import { chip, clipped, count, duration, facts, plural, type PageOf } from './shape.ts';

/** THE AUDIT: whether the books agree, when somebody asks. */

export type Audit = z.infer<typeof AuditView>;

/** Without an audit: nobody has asked for one yet. */
export function auditPage(found?: { readonly audit: Audit; readonly seconds: number }): PageOf {
  const main = html`<div class="headline"><h1>Audit</h1></div>
<section class="card" aria-labelledby="books"><h2 id="books">Do the books agree?</h2>
<p class="lead">It reads every order, product, parcel and letter, changes nothing, and proves most while the shop is at rest: under load it names half-done steps, so ask twice; what is named both times is a fault.</p>
<form action="/console/audit" method="get"><input type="hidden" name="run" value="yes"><button class="button">${found ? 'Ask again' : 'Audit now'}</button></form>
${found ? verdict(found.audit, found.seconds) : null}</section>
<p><a href="/console/acts">What people did here, and when</a></p>`;
  return { title: 'Audit', here: 'audit', main };
}

const faultsFull = 200;

function verdict({ orders, lines, mails, products, waiting, parked, dead, faults }: Audit, seconds: number): Html {
  const sums = (of: Readonly<Record<string, number>>): string => Object.entries(of).filter(([, n]) => n > 0).map(([name, n]) => `${count(n)} ${name}`).join(', ') || 'none';
  const well = faults.length === 0
    ? html`<p class="well"><span><strong>All agrees.</strong> Stock, orders, parcels and letters tell the same story.</span></p>`
    : html`<h3>${chip('bad', `${plural(faults.length, 'fault')}${faults.length >= faultsFull ? ' or more' : ''}`)}</h3><ul class="faults">${faults.map((fault) => html`<li>${linked(fault)}</li>`)}</ul>`;
  return html`<div class="verdict" role="status">${well}${facts([['Orders', sums(orders)], ['Lines', count(lines)], ['Letters', sums(mails)], ['Products', count(products)], ['Waiting', `${plural(waiting, 'row')}, ${plural(parked, 'parked key')}, ${plural(dead, 'dead letter')}`], ['Took', duration(seconds)]])}</div>`;
}

/** An order or a product that a fault names is a link to it. */
function linked(fault: string): Html {
  const text = clipped(fault, 500);
  const [, before = '', id = '', after = ''] = /^(.*?\border )([0-9a-z]{26})\b(.*)$/s.exec(text) ?? [];
  if (id !== '') return html`<bdi>${before}</bdi><a class="number" href="/console/orders/${id}">${id.slice(0, 8)}</a><bdi>${after}</bdi>`;
  const [, head = '', sku = '', rest = ''] = /^(product )([A-Za-z0-9][A-Za-z0-9._-]{0,39})(:.*)$/s.exec(text) ?? [];
  return sku === '' ? html`<bdi>${text}</bdi>` : html`${head}<a class="number" href="/console/products/${sku}">${sku}</a>${rest}`;
}
