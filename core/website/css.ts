import { html } from '../html.ts';

/**
 * The stylesheet. One accent, one grid, the system's own fonts; light and dark by what the reader prefers. Every colour of text has a contrast of 4.5 or more on its
 * ground (WCAG 2.2, AA). Nothing here comes from outside, and no page has another style: the content security policy forbids both. Each weight of the font is a file that
 * the browser has to find before it can paint, so there are three: 400, 600 and 700.
 */
export const css = html`:root {
  color-scheme: light dark;
  --ground: #f7f5f0; --raised: #ffffff; --ink: #1f201d; --quiet: #63615a; --line: #e4e0d6; --strong-line: #8d897e;
  --accent: #1f5f4a; --accent-hover: #174a3a; --on-accent: #ffffff; --accent-soft: #e3efe9;
  --good: #1f6b4f; --low: #8a5300; --out: #9b2f2a; --low-soft: #fbefd9; --out-soft: #fbe6e3;
  --shadow: 0 1px 2px rgb(40 36 24 / .06), 0 8px 24px -12px rgb(40 36 24 / .14);
  --radius: 16px; --gap: clamp(.875rem, 2.2vw, 1.5rem);
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #151614; --raised: #1e201d; --ink: #ecebe4; --quiet: #a9a69b; --line: #30322d; --strong-line: #7d7f76;
    --accent: #7fcdac; --accent-hover: #9bdcc0; --on-accent: #0c2018; --accent-soft: #1e322a;
    --good: #7fcdac; --low: #f0bb62; --out: #f29c92; --low-soft: #352a16; --out-soft: #3b211e;
    --shadow: 0 0 0 1px #2a2c28;
  }
}

*, *::before, *::after { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; scroll-padding-top: 6rem; }
body {
  margin: 0; min-height: 100vh; min-height: 100dvh; display: flex; flex-direction: column; background: var(--ground); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, "Noto Sans", sans-serif;
  overflow-wrap: anywhere; -webkit-font-smoothing: antialiased;
}
h1, h2, h3, p, ul, ol, dl, dd, figure, pre, fieldset { margin: 0; padding: 0; }
ul, ol { list-style: none; }
fieldset { border: 0; min-width: 0; }
h1 { font-size: clamp(1.625rem, 1.2rem + 1.9vw, 2.25rem); line-height: 1.15; letter-spacing: -.022em; font-weight: 700; text-wrap: balance; }
h2, h3 { font-size: 1.0625rem; line-height: 1.35; letter-spacing: -.008em; font-weight: 700; }
a { color: var(--accent); text-underline-offset: .18em; text-decoration-thickness: from-font; }
a:hover { color: var(--accent-hover); }
address { font-style: normal; }
svg { display: block; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; border-radius: 6px; }
main:focus { outline: none; }
time, .price, .amount, .bill td, .sums, .brief { font-variant-numeric: tabular-nums; }

.wide { width: 100%; max-width: 76rem; margin-inline: auto; padding-inline: clamp(1rem, 4vw, 2rem); }
main.wide { flex: 1; padding-block: clamp(1.25rem, 3.5vw, 2.5rem) clamp(2.5rem, 6vw, 4.5rem); }
.unseen { position: absolute; width: 1px; height: 1px; margin: -1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.skip { position: absolute; left: 1rem; top: -5rem; z-index: 9; padding: .75rem 1.25rem; border-radius: 0 0 12px 12px; background: var(--accent); color: var(--on-accent); }
.skip:focus { top: 0; color: var(--on-accent); }
.quiet { color: var(--quiet); font-size: .9375rem; }
.center { text-align: center; }
.break { overflow-wrap: anywhere; }
.number { font-family: ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, monospace; font-size: .94em; letter-spacing: .01em; }
.line { width: 1.25rem; height: 1.25rem; fill: none; stroke: currentColor; stroke-width: 1.75; stroke-linecap: round; stroke-linejoin: round; }

/* ---- the frame */
.top { position: sticky; top: 0; z-index: 5; background: var(--ground); border-bottom: 1px solid var(--line); }
.top > .wide { display: grid; grid-template-columns: auto minmax(0, 34rem) auto; align-items: center; justify-content: space-between; gap: .75rem clamp(1rem, 4vw, 3rem); padding-block: .75rem; }
.brand { display: flex; align-items: center; gap: .625rem; min-width: 0; color: var(--ink); font-weight: 700; font-size: 1.125rem; letter-spacing: -.02em; text-decoration: none; }
.brand span { max-width: 14rem; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.brand:hover { color: var(--accent); }
.mark { flex: none; width: 2rem; height: 2rem; fill: none; stroke: var(--on-accent); stroke-width: 2.4; stroke-linecap: round; }
.mark rect { fill: var(--accent); stroke: none; }
.search { position: relative; }
.top .search input { padding: .5rem 3rem .5rem 1.25rem; border-radius: 999px; }
.search input::-webkit-search-cancel-button { display: none; }
.icon { position: absolute; right: .25rem; top: .25rem; display: grid; place-items: center; width: 2.25rem; height: 2.25rem; padding: 0; border: 0; border-radius: 50%; background: none; color: var(--quiet); cursor: pointer; }
.icon:hover { background: var(--accent-soft); color: var(--accent); }
.to-basket { display: flex; align-items: center; gap: .5rem; min-height: 2.75rem; padding-inline: .875rem; border-radius: 999px; color: var(--ink); font-weight: 600; text-decoration: none; }
.to-basket:hover { background: var(--accent-soft); color: var(--accent); }
.count { min-width: 1.5rem; padding: 0 .4375rem; border-radius: 999px; background: var(--accent); color: var(--on-accent); font-size: .8125rem; line-height: 1.5rem; text-align: center; font-variant-numeric: tabular-nums; }
.bottom { border-top: 1px solid var(--line); color: var(--quiet); font-size: .9375rem; }
.bottom > .wide { display: flex; flex-wrap: wrap; align-items: baseline; justify-content: space-between; gap: .5rem 2rem; padding-block: 1.5rem; }
.bottom nav { display: flex; flex-wrap: wrap; gap: .25rem 1.5rem; }
.bottom a { color: inherit; padding-block: .25rem; }

/* ---- forms and buttons */
input, select, button { font: inherit; color: inherit; }
input:not([type=hidden]), select { width: 100%; min-height: 2.75rem; padding: .5rem .875rem; border: 1px solid var(--strong-line); border-radius: 10px; background: var(--raised); }
input:hover, select:hover { border-color: var(--ink); }
input:focus-visible, select:focus-visible { outline: 2px solid var(--accent); outline-offset: -1px; border-color: var(--accent); border-radius: 10px; }
.top .search input:focus-visible { border-radius: 999px; }
input[type=number] { -moz-appearance: textfield; appearance: textfield; }
input::-webkit-inner-spin-button, input::-webkit-outer-spin-button { -webkit-appearance: none; margin: 0; }
input::placeholder { color: var(--quiet); opacity: 1; }
[aria-invalid=true] { border-color: var(--out) !important; box-shadow: 0 0 0 1px var(--out); }
.button { display: inline-flex; align-items: center; justify-content: center; min-height: 2.75rem; padding: .5rem 1.375rem; border: 1px solid transparent; border-radius: 999px; background: var(--accent); color: var(--on-accent); font-weight: 700; line-height: 1.25; text-align: center; text-decoration: none; cursor: pointer; transition: background-color .15s; }
.button:hover { background: var(--accent-hover); color: var(--on-accent); }
.button.plain { background: var(--raised); border-color: var(--strong-line); color: var(--ink); }
.button.plain:hover { border-color: var(--accent); color: var(--accent); }
.button.block { width: 100%; min-height: 3.125rem; }
.button.added::after { content: " ✓"; white-space: pre; }
[aria-disabled=true] { opacity: .6; cursor: progress; }
button.link { min-height: 2rem; padding: .25rem 0; border: 0; background: none; color: var(--quiet); font-size: .9375rem; text-decoration: underline; text-underline-offset: .18em; cursor: pointer; }
button.link:hover { color: var(--out); }

.message { max-width: 34rem; margin: clamp(2rem, 8vh, 5rem) auto; text-align: center; }
.message > * + * { margin-top: .875rem; }
.message p:last-child { margin-top: 1.75rem; }
.message .code { color: var(--accent); font-size: clamp(4rem, 14vw, 7rem); font-weight: 700; line-height: 1; letter-spacing: -.05em; opacity: .9; }
.alert { margin-bottom: 1.25rem; padding: .875rem 1.125rem; border: 1px solid color-mix(in srgb, var(--out) 40%, transparent); border-radius: 12px; background: var(--out-soft); }
.alert a { color: var(--out); }
.alert ul { margin-top: .25rem; }
h1 + .alert { margin-top: 1.25rem; }
.hint { padding: .75rem .9375rem; border-radius: 10px; background: var(--low-soft); font-size: .9375rem; line-height: 1.45; }
.card { padding: clamp(1.125rem, 3vw, 1.75rem); border-radius: var(--radius); background: var(--raised); box-shadow: var(--shadow); }
.crumbs { margin-bottom: 1rem; color: var(--quiet); font-size: .9375rem; }
.crumbs a { display: inline-block; padding-block: .25rem; color: inherit; text-decoration: none; }
.crumbs a:hover { color: var(--accent); text-decoration: underline; }
.headline { display: flex; flex-wrap: wrap; align-items: baseline; justify-content: space-between; gap: .25rem 1.5rem; margin-bottom: 1.125rem; }
.headline h1 { min-width: 0; }

/* ---- catalogue */
.chips { display: flex; gap: .5rem; margin: 0 calc(-1 * clamp(1rem, 4vw, 2rem)) 1.625rem; padding: 3px clamp(1rem, 4vw, 2rem); overflow-x: auto; scrollbar-width: none; }
.chips::-webkit-scrollbar { display: none; }
.chips a { display: block; padding: .4375rem 1rem; border: 1px solid var(--line); border-radius: 999px; background: var(--raised); color: var(--ink); font-size: .9375rem; text-decoration: none; white-space: nowrap; }
.chips a:hover { border-color: var(--accent); color: var(--accent); }
.chips [aria-current] { border-color: var(--accent); background: var(--accent); color: var(--on-accent); }
.chips [aria-current]:hover { color: var(--on-accent); }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 15.5rem), 1fr)); gap: clamp(1.5rem, 3vw, 2.25rem) var(--gap); }
.tile { position: relative; display: flex; flex-direction: column; min-width: 0; content-visibility: auto; contain-intrinsic-size: auto 22rem; }
.picture { overflow: hidden; border-radius: var(--radius); }
.art { width: 100%; height: auto; aspect-ratio: 1; }
.tile .art { transition: transform .35s cubic-bezier(.2, .7, .2, 1); }
.tile:hover .art { transform: scale(1.045); }
.tile .text { display: grid; grid-template-columns: 1fr auto; gap: .125rem .75rem; padding: .8125rem .125rem 0; }
.tile :is(h2, h3) { grid-column: 1 / -1; min-width: 0; font-size: 1rem; font-weight: 600; line-height: 1.35; }
.tile :is(h2, h3) a { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2; overflow: hidden; color: var(--ink); text-decoration: none; }
.tile :is(h2, h3) a::after { content: ""; position: absolute; inset: 0; border-radius: var(--radius); }
.tile :is(h2, h3) a:hover { text-decoration: underline; }
.tile :is(h2, h3) a:focus-visible { outline: none; }
.tile :is(h2, h3) a:focus-visible::after { outline: 3px solid var(--accent); outline-offset: -3px; }
.price { font-weight: 700; }
.stock { display: inline-flex; align-items: center; gap: .4375rem; color: var(--good); font-size: .875rem; white-space: nowrap; }
.stock::before { content: ""; flex: none; width: .5rem; height: .5rem; border-radius: 50%; background: currentColor; }
.stock.Low { color: var(--low); }
.stock.OutOfStock { color: var(--out); }
.stock.OutOfStock::before { background: none; border: 2px solid currentColor; }
.add { position: absolute; right: .75rem; top: 0; margin-top: calc(100% - 3.5rem); display: grid; place-items: center; width: 2.75rem; height: 2.75rem; padding: 0; border: 0; border-radius: 50%; background: var(--raised); color: var(--accent); box-shadow: 0 2px 8px rgb(0 0 0 / .14); cursor: pointer; transition: background-color .15s, color .15s; }
.add:hover, .add.added { background: var(--accent); color: var(--on-accent); }
.add .tick, .add.added .plus { display: none; }
.add.added .tick { display: inline; }
.pager { display: flex; justify-content: space-between; gap: 1rem; margin-top: clamp(2rem, 5vw, 3rem); }

.filters { display: flex; flex-wrap: wrap; align-items: end; gap: .75rem 1rem; margin-bottom: 1.75rem; }
.choice label { display: block; margin-bottom: .25rem; color: var(--quiet); font-size: .875rem; }
.choice input:not([type=hidden]) { width: 6rem; }
.choice select { width: auto; max-width: 100%; padding-right: 2rem; }
.choice:has(#sort) { margin-left: auto; }
.filters > [data-part] { flex-basis: 100%; }
.filters > [data-part]:empty { display: none; }
.related { margin-top: clamp(2.5rem, 7vw, 4.5rem); }
.related > h2 { margin-bottom: 1.25rem; font-size: 1.375rem; letter-spacing: -.015em; }
.alert:focus { outline: 3px solid var(--out); outline-offset: 2px; }

/* ---- one product */
.product { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: clamp(1.5rem, 5vw, 4rem); align-items: start; }
.product .picture { border-radius: 24px; }
.about > * + * { margin-top: 1.25rem; }
.about h1 + .price { margin-top: .625rem; font-size: 1.5rem; letter-spacing: -.01em; }
.availability { padding: .875rem 1.125rem; border: 1px solid var(--line); border-radius: 14px; background: var(--raised); }
.availability .stock { font-size: 1rem; font-weight: 700; }
.availability p + p { color: var(--quiet); font-size: .9375rem; line-height: 1.45; }
.buy { display: grid; grid-template-columns: 6.5rem minmax(0, 16rem); gap: .375rem .75rem; }
.buy label { grid-column: 1 / -1; font-weight: 600; font-size: .9375rem; }
.buy .button { min-height: 3.125rem; }
.buy input { min-height: 3.125rem; border-radius: 14px; text-align: center; }
.description > * + * { margin-top: .5rem; }
.description p { white-space: pre-line; max-width: 60ch; }
.facts { display: grid; grid-template-columns: auto 1fr; gap: .375rem 1.5rem; padding-top: 1.25rem; border-top: 1px solid var(--line); font-size: .9375rem; }
.facts dt { color: var(--quiet); }
.facts dd { min-width: 0; }

/* ---- basket and checkout */
.split { display: grid; grid-template-columns: minmax(0, 1fr) minmax(17rem, 22rem); gap: clamp(1.5rem, 4vw, 3rem); align-items: start; margin-top: 1.5rem; }
.summary { position: sticky; top: 5.5rem; }
.summary > * + * { margin-top: 1rem; }
.lines { border-top: 1px solid var(--line); }
.line-item { display: grid; grid-template-columns: 5.5rem minmax(0, 1fr) auto 6rem; grid-template-areas: "picture what quantity amount" "picture what remove remove"; grid-template-rows: auto 1fr; gap: .125rem 1.125rem; align-items: start; padding-block: 1.125rem; border-bottom: 1px solid var(--line); }
.line-item .picture { grid-area: picture; border-radius: 12px; }
.what { grid-area: what; min-width: 0; }
.what h2 { font-size: 1rem; font-weight: 600; }
.what h2 a { color: var(--ink); text-decoration: none; }
.what h2 a:hover { text-decoration: underline; }
.quantity { grid-area: quantity; display: flex; gap: .5rem; }
.quantity input:not([type=hidden]) { width: 5.25rem; text-align: center; }
.by-itself .button { display: none; }
.line-item .amount { grid-area: amount; padding-top: .5625rem; font-weight: 700; text-align: right; }
.remove { grid-area: remove; justify-self: end; }
.sums { display: grid; grid-template-columns: 1fr auto; gap: .5rem 1rem; }
.sums dt { color: var(--quiet); }
.sums .total { color: var(--ink); font-size: 1.1875rem; font-weight: 700; }
.brief { max-height: 18rem; overflow-y: auto; border-bottom: 1px solid var(--line); padding-bottom: .875rem; font-size: .9375rem; }
.brief li { display: flex; justify-content: space-between; gap: 1rem; padding-block: .25rem; }
.brief li > :first-child { min-width: 0; }
.brief li > :last-child { white-space: nowrap; }
fieldset + fieldset { margin-top: 2rem; }
legend { margin-bottom: .875rem; padding: 0; font-size: 1.1875rem; font-weight: 700; letter-spacing: -.01em; }
.field { margin-bottom: 1rem; }
.field label { display: block; margin-bottom: .3125rem; font-weight: 600; font-size: .9375rem; }
.pair { display: grid; grid-template-columns: minmax(0, 2fr) minmax(0, 3fr); gap: 0 1rem; }
.complaint { margin-top: .375rem; color: var(--out); font-size: .9375rem; font-weight: 600; }

/* ---- an order */
.progress .lead { max-width: 62ch; margin-top: .625rem; font-size: 1.0625rem; color: var(--quiet); }
.progress form { margin-top: 1.75rem; }
.timeline { display: flex; margin-top: clamp(1.5rem, 4vw, 2.25rem); }
.timeline li { --dot: 1.75rem; position: relative; flex: 1; min-width: 0; padding-top: calc(var(--dot) + .75rem); padding-right: .75rem; color: var(--quiet); }
.timeline li::before { content: ""; position: absolute; top: 0; left: 0; z-index: 1; width: var(--dot); height: var(--dot); border: 2px solid var(--line); border-radius: 50%; background: var(--raised); }
.timeline li::after { content: ""; position: absolute; top: calc(var(--dot) / 2 - 1px); left: calc(var(--dot) + .375rem); right: .375rem; height: 2px; border-radius: 2px; background: var(--line); }
.timeline li:last-child { flex: none; width: 9.5rem; padding-right: 0; }
.timeline li:last-child::after { display: none; }
.timeline .title, .timeline .when { display: block; }
.timeline .title { font-weight: 600; line-height: 1.3; }
.timeline .when { margin-top: .125rem; font-size: .875rem; }
.timeline .done, .timeline .now { color: var(--ink); }
.timeline .when { color: var(--quiet); }
.timeline .done::before, .timeline .Delivered.now::before { border-color: var(--accent); background: var(--accent) var(--tick) center / 62% no-repeat; }
.timeline .done::after { background: var(--accent); }
.timeline .now::before { border-color: var(--accent); background: radial-gradient(circle, var(--accent) 0 34%, transparent 38%) var(--raised); box-shadow: 0 0 0 5px var(--accent-soft); }
.timeline .Backordered.now::before { border-color: var(--low); background: radial-gradient(circle, var(--low) 0 34%, transparent 38%) var(--raised); box-shadow: 0 0 0 5px var(--low-soft); }
.timeline .Delivered.now::before { background: var(--accent) var(--tick) center / 62% no-repeat; }
.timeline .Cancelled.now::before { border-color: var(--quiet); background: var(--quiet) var(--cross) center / 52% no-repeat; box-shadow: none; }
:root {
  --tick: url("data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16' fill='none' stroke='%23fff' stroke-width='2.6' stroke-linecap='round' stroke-linejoin='round'%3E%3Cpath d='M2.5 8.5l4 4 7-9'/%3E%3C/svg%3E");
  --cross: url("data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16' fill='none' stroke='%23fff' stroke-width='2.6' stroke-linecap='round'%3E%3Cpath d='M3 3l10 10M13 3L3 13'/%3E%3C/svg%3E");
}
@media (prefers-color-scheme: dark) {
  :root {
    --tick: url("data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16' fill='none' stroke='%230c2018' stroke-width='2.6' stroke-linecap='round' stroke-linejoin='round'%3E%3Cpath d='M2.5 8.5l4 4 7-9'/%3E%3C/svg%3E");
    --cross: url("data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16' fill='none' stroke='%23151614' stroke-width='2.6' stroke-linecap='round'%3E%3Cpath d='M3 3l10 10M13 3L3 13'/%3E%3C/svg%3E");
  }
}
.parcels { margin-top: 1.75rem; padding-top: 1.25rem; border-top: 1px solid var(--line); }
.parcels li { display: flex; flex-wrap: wrap; align-items: baseline; gap: .125rem .75rem; }
.carrier { font-weight: 700; text-transform: capitalize; }
.split.order { margin-top: 1.25rem; gap: 1.25rem; }
.order h2 + *, .order * + h2 { margin-top: .75rem; }
.order * + h2 { margin-top: 1.5rem; }
.order .quiet { margin-top: .5rem; }
.bill { width: 100%; border-collapse: collapse; }
.bill td, .bill th { padding: .6875rem 0 .6875rem 1rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: baseline; }
.bill td:first-child, .bill th:first-child { padding-left: 0; text-align: left; }
.bill td + td { white-space: nowrap; overflow-wrap: normal; }
.bill tbody a { color: var(--ink); text-decoration: none; }
.bill tbody a:hover { text-decoration: underline; }
.bill tfoot th, .bill tfoot td { border-bottom: 0; padding-bottom: 0; font-size: 1.125rem; font-weight: 700; }

/* ---- letters */
.letters { padding-block: .25rem; }
.letters li { position: relative; display: grid; grid-template-columns: minmax(0, 1fr) auto; gap: .125rem 1.5rem; padding-block: 1rem; }
.letters li + li { border-top: 1px solid var(--line); }
.letters h2 { font-size: 1rem; font-weight: 600; }
.letters h2 a { color: var(--ink); text-decoration: none; }
.letters h2 a::after { content: ""; position: absolute; inset: 0; }
.letters li:hover h2 a { color: var(--accent); }
.letters .break { grid-row: 2; }
.letters .when { white-space: nowrap; }
.letter { max-width: 48rem; }
.letter > * + * { margin-top: 1.25rem; }
.letter h1 { font-size: 1.5rem; }
.letter pre { padding-top: 1.25rem; border-top: 1px solid var(--line); font: inherit; white-space: pre-wrap; overflow-wrap: anywhere; tab-size: 2; }
.letter .facts { padding: 0; border: 0; }

/* ---- pictures: ground, main, dark, light, accent */
.art .g { fill: var(--g); } .art .a { fill: var(--a); } .art .b { fill: var(--b); } .art .c { fill: var(--c); } .art .f { fill: var(--f); }
.art .h { fill: var(--b); opacity: .16; }
.art .s, .art .l, .art .t { fill: none; stroke: var(--b); stroke-width: 3; stroke-linecap: round; stroke-linejoin: round; }
.art .l { stroke: var(--c); stroke-width: 4; }
.art .t { stroke-width: 7; }
.p-rose { --g: #f8e4e1; --a: #d4574f; --b: #7d2b2c; --c: #fff3ee; --f: #f0b04f; }
.p-sky { --g: #dfebf4; --a: #4a86b8; --b: #1f4568; --c: #f2f8fd; --f: #f1b65a; }
.p-leaf { --g: #e3eedd; --a: #5f9a59; --b: #2a5232; --c: #f5faee; --f: #efb14f; }
.p-sun { --g: #f9ecd0; --a: #e5a532; --b: #7c4f10; --c: #fffaee; --f: #d4614c; }
.p-plum { --g: #eee4f1; --a: #8f63a3; --b: #4b2b5c; --c: #fbf5fd; --f: #efb556; }
.p-clay { --g: #f5e6da; --a: #c2764a; --b: #6a3a1d; --c: #fff6ee; --f: #3f8578; }
.p-teal { --g: #dceeea; --a: #3f9488; --b: #174f49; --c: #f0faf7; --f: #f0a864; }
.p-stone { --g: #e9e5dc; --a: #fffdf8; --b: #6b6455; --c: #d5cdbd; --f: #d98a5b; }
.p-ink { --g: #e2e1e3; --a: #42444d; --b: #1c1d23; --c: #d9dbe3; --f: #e0a45a; }
@media (prefers-color-scheme: dark) {
  .p-rose { --g: #3a2523; --b: #9d3f3f; } .p-sky { --g: #1f2c38; --b: #2f6390; } .p-leaf { --g: #243022; --b: #3c7347; } .p-sun { --g: #372c17; --b: #a26e20; }
  .p-plum { --g: #2f2535; --b: #6e4686; } .p-clay { --g: #35281f; --b: #945630; } .p-teal { --g: #1c302d; --b: #24706a; }
  .p-stone { --g: #3a3832; --a: #ded9cd; --b: #948b79; --c: #b5ac9a; } .p-ink { --g: #2e3036; --a: #7b7e8a; --b: #4f525c; }
  .p-rose .s, .p-sky .s, .p-leaf .s, .p-sun .s, .p-plum .s, .p-clay .s, .p-teal .s { stroke: var(--a); }
}

/* ---- narrow */
@media (max-width: 60rem) {
  .split { grid-template-columns: minmax(0, 1fr); }
  .summary { position: static; }
}
@media (max-width: 46rem) {
  .top > .wide { grid-template-columns: minmax(0, 1fr) auto; padding-block: .5rem .75rem; gap: .375rem 1rem; }
  .search { grid-row: 2; grid-column: 1 / -1; }
  .to-basket { margin-right: -.5rem; padding-inline: .5rem; }
  .top { position: static; }
  .tiles { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .tile .text { grid-template-columns: 1fr; }
  .tile :is(h2, h3) { font-size: .9375rem; }
  .add { right: .5rem; margin-top: calc(100% - 3.25rem); }
  .filters { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .choice select, .choice input:not([type=hidden]) { width: 100%; }
  .choice:has(#sort) { margin-left: 0; }
  .choice:has(#stock) { order: -2; } .choice:has(#sort) { order: -1; }
  .filters > [data-part], .filters > .button { grid-column: 1 / -1; }
  .product { grid-template-columns: minmax(0, 1fr); gap: 1.5rem; }
  .product .picture { max-width: 26rem; }
  .buy { grid-template-columns: 5.5rem minmax(0, 1fr); }
  .line-item { grid-template-columns: 4.5rem minmax(0, 1fr) auto; grid-template-areas: "picture what amount" "picture quantity remove"; grid-template-rows: auto auto; gap: .5rem .875rem; align-items: center; }
  .line-item .what, .line-item .amount, .line-item .picture { align-self: start; }
  .line-item .amount { padding-top: 0; }
  .timeline { flex-direction: column; }
  .timeline li { flex: none; width: auto !important; min-height: 3.75rem; padding: .125rem 0 1.125rem 2.75rem; }
  .timeline li::after { top: calc(var(--dot) + .25rem); bottom: .25rem; left: calc(var(--dot) / 2 - 1px); right: auto; width: 2px; height: auto; }
  .timeline li:last-child { min-height: 0; padding-bottom: 0; }
  .bill, .bill tbody, .bill tfoot { display: block; }
  .bill tr { display: grid; grid-template-columns: minmax(0, 1fr) auto; padding-block: .625rem; border-bottom: 1px solid var(--line); }
  .bill tfoot tr { border: 0; padding-bottom: 0; }
  .bill td, .bill th { padding: 0; border: 0; }
  .bill td:first-child { grid-column: 1 / -1; }
  .bill tfoot td:first-child { grid-column: 1 / -1; }
  .bill td:nth-child(2) { text-align: left; margin: 0; }
  .letters li { grid-template-columns: minmax(0, 1fr); }
  .letters .break { grid-row: auto; }
}
@media (prefers-reduced-motion: no-preference) {
  .moved .now::before { animation: arrive .7s cubic-bezier(.2, .8, .2, 1); }
  .now:not(.Delivered, .Cancelled)::before { animation: breathe 2.4s ease-in-out infinite; }
  @keyframes arrive { from { transform: scale(.4); } 60% { transform: scale(1.15); } }
  @keyframes breathe { 50% { box-shadow: 0 0 0 8px var(--accent-soft); } }
}
@media (prefers-reduced-motion: reduce) { * { transition: none !important; } }
@media print { .top, .bottom, form, .skip { display: none !important; } .card { box-shadow: none; border: 1px solid #ccc; } }
`;
