/**
 * The console's stylesheet: denser and calmer than the shop's, for people who look at it for long. Colour is for what is wrong; what is well is quiet. Light and dark by what
 * the reader prefers; every colour of text has a contrast of 4.5 or more on its ground (WCAG 2.2, AA).
 */
export const css = `:root {
  color-scheme: light dark;
  --ground: #f4f5f7; --raised: #ffffff; --ink: #1b1f27; --quiet: #5b6271; --line: #dfe3ea; --strong-line: #868d9b;
  --accent: #1f56c4; --accent-hover: #17439b; --on-accent: #ffffff; --accent-soft: #e6edfb;
  --good: #1b6b48; --good-soft: #e1f2ea; --warn: #875200; --warn-soft: #fdf0d5; --bad: #b1271f; --bad-soft: #fde8e5; --calm-soft: #e9ecf2;
  --flow: #5b86dd; --queue: #7a5bc0; --radius: 12px; --gap: 1.125rem;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #0f1217; --raised: #181c23; --ink: #e8ebf1; --quiet: #a2aab8; --line: #2a303a; --strong-line: #737c8b;
    --accent: #8db4ff; --accent-hover: #b1cbff; --on-accent: #0b1a38; --accent-soft: #1c2a47;
    --good: #75d3a5; --good-soft: #16301f; --warn: #f2bb5e; --warn-soft: #352913; --bad: #ff9c90; --bad-soft: #3d1d1a; --calm-soft: #262c36;
    --flow: #6f9bf0; --queue: #b198ee;
  }
}
*, *::before, *::after { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; scroll-padding-top: 4.5rem; }
body { margin: 0; min-height: 100vh; min-height: 100dvh; background: var(--ground); color: var(--ink); font: .9375rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, "Noto Sans", sans-serif; overflow-wrap: anywhere; }
h1, h2, h3, p, ul, ol, dl, dd, figure, pre, fieldset { margin: 0; padding: 0; }
ul, ol { list-style: none; }
h1 { font-size: 1.625rem; line-height: 1.2; letter-spacing: -.018em; font-weight: 670; min-width: 0; }
h2 { font-size: 1.0625rem; line-height: 1.35; font-weight: 640; }
h3 { font-size: .9375rem; line-height: 1.4; font-weight: 620; }
a { color: var(--accent); text-underline-offset: .18em; }
a:hover { color: var(--accent-hover); }
address { font-style: normal; }
svg { display: block; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; border-radius: 6px; }
main:focus, .alert:focus { outline: none; }
time, .n, td, dd, .numbers { font-variant-numeric: tabular-nums; }
.wide { width: 100%; max-width: 90rem; margin-inline: auto; padding-inline: clamp(1rem, 3vw, 2rem); }
main.wide { padding-block: 1.5rem 3rem; }
main > * + *, [data-live] > * + *, .stack > * + * { margin-top: var(--gap); }
.unseen { position: absolute; width: 1px; height: 1px; margin: -1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.skip { position: absolute; left: 1rem; top: -5rem; z-index: 9; padding: .75rem 1.25rem; border-radius: 0 0 12px 12px; background: var(--accent); color: var(--on-accent); }
.skip:focus { top: 0; color: var(--on-accent); }
.quiet { color: var(--quiet); font-size: .875rem; }
.lead { max-width: 75ch; color: var(--quiet); }
.break { overflow-wrap: anywhere; }
.pre { white-space: pre-line; }
.number { font-family: ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, monospace; font-size: .94em; }

/* ---- the frame */
.top { position: sticky; top: 0; z-index: 5; background: var(--raised); border-bottom: 1px solid var(--line); }
.top > .wide { display: flex; align-items: center; gap: .5rem 1.5rem; min-height: 3.5rem; }
.brand { display: flex; align-items: center; gap: .625rem; min-width: 0; color: var(--ink); font-weight: 680; text-decoration: none; }
.brand span { max-width: 12rem; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.mark { flex: none; width: 1.75rem; height: 1.75rem; fill: none; stroke: var(--on-accent); stroke-width: 2.4; stroke-linecap: round; }
.mark rect { fill: var(--accent); stroke: none; }
.nav { display: flex; align-self: stretch; flex: 1; min-width: 0; overflow-x: auto; scrollbar-width: none; }
.nav::-webkit-scrollbar { display: none; }
.nav a { display: flex; align-items: center; padding-inline: .75rem; border-block: 2px solid transparent; color: var(--quiet); font-weight: 560; text-decoration: none; white-space: nowrap; }
.nav a:hover { color: var(--ink); }
.nav a:focus-visible { outline-offset: -3px; }
.nav [aria-current] { color: var(--accent); border-bottom-color: var(--accent); }
.who { display: flex; align-items: center; gap: .75rem; color: var(--quiet); font-size: .875rem; white-space: nowrap; }
.who bdi { display: inline-block; max-width: 12rem; overflow: hidden; text-overflow: ellipsis; vertical-align: bottom; }

.role { padding: .0625rem .4375rem; border-radius: 999px; background: var(--calm-soft); font-size: .75rem; }

/* ---- forms and buttons */
input, select, button, textarea { font: inherit; color: inherit; }
input:not([type=hidden]), select, textarea { width: 100%; min-height: 2.5rem; padding: .4375rem .75rem; border: 1px solid var(--strong-line); border-radius: 8px; background: var(--raised); }
textarea { resize: vertical; }
:is(input, select, textarea):focus-visible { outline: 2px solid var(--accent); outline-offset: -1px; border-color: var(--accent); border-radius: 8px; }
[aria-invalid=true] { border-color: var(--bad) !important; box-shadow: 0 0 0 1px var(--bad); }
.button { display: inline-flex; align-items: center; justify-content: center; min-height: 2.5rem; padding: .375rem 1rem; border: 1px solid transparent; border-radius: 8px; background: var(--accent); color: var(--on-accent); font-weight: 600; line-height: 1.25; text-decoration: none; cursor: pointer; }
.button:hover { background: var(--accent-hover); color: var(--on-accent); }
.button.plain { background: var(--raised); border-color: var(--strong-line); color: var(--ink); }
.button.plain:hover { border-color: var(--accent); color: var(--accent); }
[aria-disabled=true] { opacity: .6; cursor: progress; }
button.link { min-height: 2rem; padding: .25rem 0; border: 0; background: none; color: var(--accent); text-decoration: underline; text-underline-offset: .18em; cursor: pointer; }
.field { margin-bottom: .875rem; }
.field label { display: block; margin-bottom: .25rem; font-weight: 560; font-size: .875rem; }
.field .quiet { margin-top: .25rem; }
.pair { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 0 .875rem; }
.complaint { margin-top: .25rem; color: var(--bad); font-size: .875rem; font-weight: 560; }
.bar { display: flex; align-items: end; gap: .75rem; }
.bar .field { flex: 1; max-width: 36rem; margin: 0; }
.bar:has(.complaint) { align-items: center; }
.acts { display: flex; flex-wrap: wrap; gap: .625rem; }
.alert { padding: .75rem 1rem; border: 1px solid color-mix(in srgb, var(--bad) 45%, transparent); border-radius: 10px; background: var(--bad-soft); }
.done { padding: .75rem 1rem; border: 1px solid color-mix(in srgb, var(--good) 45%, transparent); border-radius: 10px; background: var(--good-soft); }
form > .alert { margin-bottom: .875rem; }
.message { max-width: 32rem; margin: 12vh auto 0; text-align: center; }
.message > * + * { margin-top: .875rem; }
.message .code { color: var(--accent); font-size: 4rem; font-weight: 720; line-height: 1; }
.porch { max-width: 26rem; margin: 8vh auto 0; }
.porch > * + *, .message + form { margin-top: 1rem; }
.porch form { padding-top: 1.125rem !important; }
.porch .button { width: 100%; }
.message + form { max-width: 42rem; margin-inline: auto; }

/* ---- pieces */
.card { padding: 1.125rem 1.25rem; border: 1px solid var(--line); border-radius: var(--radius); background: var(--raised); min-width: 0; }
.card > * + * { margin-top: .75rem; }
.headline { display: flex; flex-wrap: wrap; align-items: center; justify-content: space-between; gap: .5rem 1.5rem; }
.crumbs { color: var(--quiet); font-size: .875rem; }
.crumbs + .headline { margin-top: .25rem; }
.headline + .lead { margin-top: .375rem; }
form > .button + .quiet { margin-top: .5rem; }
form > h3 { margin-bottom: .5rem; }
.card > form { padding-top: .875rem; border-top: 1px solid var(--line); } h2 + form, .lead + form { padding-top: 0 !important; border-top: 0 !important; }
.split { display: grid; grid-template-columns: minmax(0, 1fr) 22rem; gap: var(--gap); align-items: start; }
.split.even { grid-template-columns: repeat(2, minmax(0, 1fr)); }
.chip { display: inline-block; padding: .0625rem .5rem; border-radius: 999px; background: var(--calm-soft); color: var(--ink); font-size: .8125rem; font-weight: 600; line-height: 1.45; letter-spacing: 0; white-space: nowrap; }
.chip.good { background: var(--good-soft); color: var(--good); }
.chip.warn { background: var(--warn-soft); color: var(--warn); }
.chip.bad { background: var(--bad-soft); color: var(--bad); }
h1 .chip { font-size: .9375rem; vertical-align: .2em; }
.chips { display: flex; gap: .375rem; overflow-x: auto; scrollbar-width: none; padding: 3px; margin-inline: -3px; }
.chips a { padding: .3125rem .8125rem; border: 1px solid var(--line); border-radius: 999px; background: var(--raised); color: var(--ink); font-size: .875rem; text-decoration: none; white-space: nowrap; }
.chips a:hover { border-color: var(--accent); color: var(--accent); }
.chips [aria-current] { border-color: var(--accent); background: var(--accent); color: var(--on-accent); }
.chips [aria-current]:hover { color: var(--on-accent); }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 13rem), 1fr)); gap: .625rem 1.5rem; }
.facts dt { color: var(--quiet); font-size: .8125rem; }
.facts dd { min-width: 0; }
.nothing { padding: 2.5rem 1rem; border: 1px dashed var(--strong-line); border-radius: var(--radius); text-align: center; color: var(--quiet); }
.nothing .big { color: var(--ink); font-size: 1.125rem; font-weight: 640; }
.well { display: flex; align-items: center; gap: .75rem; color: var(--good); }
.well svg { flex: none; width: 1.75rem; height: 1.75rem; fill: none; stroke: currentColor; stroke-width: 1.75; stroke-linecap: round; stroke-linejoin: round; }
.pager { display: flex; justify-content: space-between; gap: 1rem; }
.payload { max-height: 26rem; overflow: auto; padding: .875rem 1rem; border-radius: 8px; background: var(--ground); font: .8125rem/1.5 ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, monospace; white-space: pre-wrap; overflow-wrap: anywhere; tab-size: 2; }
.reason { padding: .625rem .875rem; border-left: 3px solid var(--bad); background: var(--bad-soft); border-radius: 0 8px 8px 0; }

.rows { width: 100%; border-collapse: collapse; }
.rows th { padding: .375rem .75rem; border-bottom: 1px solid var(--line); color: var(--quiet); font-size: .8125rem; font-weight: 560; text-align: left; white-space: nowrap; }
.rows td { padding: .5625rem .75rem; border-bottom: 1px solid var(--line); vertical-align: top; }
.rows tr:last-child td { border-bottom: 0; }
.rows tbody tr:hover { background: color-mix(in srgb, var(--accent-soft) 45%, transparent); }
.rows :is(td, th):first-child { padding-left: 0; } .rows :is(td, th):last-child { padding-right: 0; }
.rows time { white-space: nowrap; }
@media (min-width: 46.01rem) { .rows .right { text-align: right; } }
.lines li { display: flex; justify-content: space-between; gap: 1rem; padding-block: .5rem; border-bottom: 1px solid var(--line); }
.lines li:last-child { border-bottom: 0; }
.lines li > :first-child { min-width: 0; }
.lines li > :last-child { flex: none; text-align: right; }

/* ---- now */
.tiles { display: grid; grid-template-columns: repeat(6, minmax(0, 1fr)); gap: .75rem; }
.tiles.small { grid-template-columns: repeat(4, minmax(0, 1fr)); }
.tiles li, .tiles a { display: flex; flex-direction: column; min-width: 0; }
.tiles a, .tiles.small li { padding: .75rem 1rem; border: 1px solid var(--line); border-radius: var(--radius); background: var(--raised); color: var(--ink); text-decoration: none; }
.tiles.small li { padding: .5rem .75rem; }
.tiles a:hover { border-color: var(--accent); color: var(--ink); }
.tiles .n { font-size: 1.5rem; font-weight: 670; line-height: 1.2; letter-spacing: -.02em; }
.tiles.small .n { font-size: 1.25rem; }
.tiles .what { font-weight: 560; font-size: .875rem; }
.tiles.small .what { color: var(--quiet); font-weight: 400; font-size: .8125rem; }
.tiles .quiet { white-space: pre; font-size: .8125rem; }
.needs li { padding: .75rem 0 .75rem .875rem; border-left: 3px solid var(--strong-line); }
.needs li + li { margin-top: .625rem; }
.needs li.bad { border-color: var(--bad); } .needs li.warn { border-color: var(--warn); }
.needs li { padding-block: .125rem; }
.needs li.bad h3 { color: var(--bad); } .needs li.warn h3 { color: var(--warn); }
.needs p { font-size: .875rem; }
.needs li > p:first-of-type { color: var(--quiet); }
summary { cursor: pointer; }
summary h2 { display: inline; }
.picture { width: 100%; height: auto; overflow: visible; }
.picture.slim { display: none; }
.picture text { fill: var(--ink); font-size: 13px; }
.picture .name { font-weight: 640; }
.picture .hands, .picture .kind, .picture .numbers { fill: var(--quiet); font-size: 12px; }
.picture .title { font-weight: 600; }
.picture .numbers { font-variant-numeric: tabular-nums; }
.life { stroke: var(--line); stroke-width: 1.5; stroke-dasharray: 2 5; }
.station > rect { fill: var(--ground); stroke: var(--strong-line); stroke-width: 1.25; }
.station.bad > rect { fill: var(--bad-soft); stroke: var(--bad); } .station.warn > rect { stroke: var(--warn); }
.station .node { fill: var(--raised); stroke: var(--strong-line); stroke-width: 2; }
.road { fill: none; stroke: var(--line); stroke-width: 3; }
.flow { fill: none; stroke: var(--flow); stroke-width: 3; stroke-linecap: round; stroke-dasharray: 1 13; }
.queue .flow { stroke: var(--queue); }
.mouth { fill: var(--flow); stroke: var(--raised); stroke-width: 2.5; }
.queue .mouth { fill: var(--queue); }
.ear { fill: var(--flow); stroke: var(--raised); stroke-width: 2; stroke-linejoin: round; }
.queue .ear { fill: var(--queue); }
.lamp rect { fill: var(--bad); stroke: var(--raised); stroke-width: 2; }
.lamp.warn rect { fill: var(--warn); }
.lamp text { fill: var(--raised); font-size: 12px; font-weight: 700; }
.lamp .halo { fill: var(--bad); opacity: .18; }
.lamp.warn .halo { fill: var(--warn); }
.lamp:hover .halo { opacity: .35; }

/* ---- stories */
.story li { display: grid; grid-template-columns: 11.5rem 7rem minmax(0, 1fr); gap: .125rem .875rem; padding-block: .4375rem; border-bottom: 1px solid var(--line); }
.story li:last-child { border-bottom: 0; }
.story .when { color: var(--quiet); font-size: .875rem; font-variant-numeric: tabular-nums; }
.story .by { font-weight: 600; font-size: .875rem; }
.missing li + li { margin-top: .875rem; padding-top: .875rem; border-top: 1px solid var(--line); }
.missing li > * + * { margin-top: .25rem; }
.faults li { padding-block: .375rem; border-bottom: 1px solid var(--line); }
.verdict { padding-top: 1rem; border-top: 1px solid var(--line); }
.verdict > * + * { margin-top: .875rem; }
.share { width: 100%; height: .625rem; border-radius: 999px; overflow: hidden; }
.share .available { fill: var(--good); } .share .reserved { fill: var(--warn); } .share .shipped { fill: var(--strong-line); }

/* ---- trouble */
.kinds { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 13rem), 1fr)); gap: var(--gap); }
.kinds li { position: relative; }
.kinds .n { font-size: 2rem; font-weight: 670; line-height: 1.1; }
.kinds li > * + * { margin-top: .375rem; }
.kinds .bad { border-color: var(--bad); } .kinds .bad .n { color: var(--bad); }
.kinds a { color: var(--ink); text-decoration: none; }
.kinds a::after { content: ""; position: absolute; inset: 0; border-radius: var(--radius); }
.kinds li:hover { border-color: var(--accent); }
.group header { display: flex; flex-wrap: wrap; align-items: center; justify-content: space-between; gap: .75rem 1.5rem; }
.group h2 { flex: 1 1 20rem; min-width: 0; font-size: .9375rem; font-weight: 560; }
.group .n { font-weight: 700; }
.group .n { color: var(--bad); }
.ask { max-width: 42rem; }

/* ---- pace */
.over { margin-top: 1.75rem; }
.plots { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: var(--gap); }
.plots.two { grid-template-columns: repeat(2, minmax(0, 1fr)); }
.plot figcaption { display: flex; justify-content: space-between; gap: 1rem; }
.plot .n { font-size: 1.25rem; font-weight: 670; line-height: 1.2; white-space: nowrap; }
.plot svg { width: 100%; height: auto; }
.plot rect { fill: var(--flow); }
.ground { stroke: var(--line); }
.plot .most { margin: .375rem 0 .125rem !important; border-bottom: 1px solid var(--line); }
.band { fill: var(--flow); opacity: .22; }
.middle { fill: none; stroke: var(--flow); stroke-width: 2.25; stroke-linejoin: round; stroke-linecap: round; }
.whisker { stroke: var(--flow); stroke-width: 2.25; opacity: .4; } .point { fill: var(--flow); }
.axis { display: flex; justify-content: space-between; gap: 1rem; margin-top: .25rem !important; color: var(--quiet); font-size: .8125rem; }

/* ---- narrow */
@media (max-width: 64rem) {
  .split, .split.even { grid-template-columns: minmax(0, 1fr); }
  [data-live] .needs { order: -1; }
}
@media (max-width: 46rem) {
  .top > .wide { flex-wrap: wrap; gap: 0 1rem; padding-top: .5rem; }
  .brand { flex: 1; }
  .who bdi { max-width: 7rem; } .role { display: none; }
  .nav { order: 3; flex: 1 0 calc(100% + 2rem); margin-inline: -1rem; padding-inline: .25rem; }
  .nav a { min-height: 2.75rem; padding-inline: .4375rem; font-size: .8125rem; }
  .tiles { grid-template-columns: repeat(3, minmax(0, 1fr)); gap: .5rem; }
  .tiles a { padding: .5rem .75rem; }
  .tiles .n { font-size: 1.25rem; } .tiles .what { font-size: .8125rem; overflow-wrap: normal; }
  .tiles.small { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .picture.broad { display: none; } .picture.slim { display: block; }
  .story li { grid-template-columns: minmax(0, 1fr) auto; }
  .story .what { grid-column: 1 / -1; }
  .rows, .rows tbody, .rows tr, .rows td { display: block; }
  .rows thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  .rows tr { padding-block: .625rem; border-bottom: 1px solid var(--line); }
  .rows tr:last-child { border-bottom: 0; }
  .rows td { display: grid; grid-template-columns: 6.5rem minmax(0, 1fr); gap: .75rem; padding: .1875rem 0; border: 0; }
  .plots { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: .75rem; } .plots.two { grid-template-columns: minmax(0, 1fr); }
  .plot { padding: .875rem; }
  .facts { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: .625rem 1rem; }
  .rows td:first-child { display: block; padding-bottom: .25rem; font-weight: 600; }
  .rows td:first-child::before { content: none !important; }
  .rows td::before { content: attr(data-head); color: var(--quiet); font-size: .8125rem; }
}
@media (prefers-reduced-motion: no-preference) {
  .slow .flow { animation: flow 2.4s linear infinite; } .fast .flow { animation: flow .8s linear infinite; }
  .lamp .halo { animation: glow 1.8s ease-in-out infinite; }
  @keyframes flow { to { stroke-dashoffset: -28; } }
  @keyframes glow { 50% { opacity: .42; } }
}
@media print { .top, form, .skip, .acts { display: none !important; } .card { break-inside: avoid; } }
`;
