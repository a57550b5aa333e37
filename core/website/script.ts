/**
 * The script of the pages. Nothing needs it: it spares reloads, waits at the order's page, and tells times in the reader's own zone.
 * It is served as it stands here, so it is plain JavaScript that every browser of the last years reads.
 */
export const script = `'use strict';

const news = document.querySelector('[data-news]');
const tell = (text) => { if (news) news.textContent = text; };
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const pageOf = async (response) => new DOMParser().parseFromString(await response.text(), 'text/html');

// ---- times, in the reader's own zone

function localTimes(root) {
  const times = root.querySelectorAll('time[datetime]');
  if (times.length === 0) return; // to make a format takes longer than all else here, and it would hold up the first paint
  const today = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' });
  const longAgo = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });
  for (const time of times) {
    const date = new Date(time.dateTime);
    time.textContent = (date.toDateString() === new Date().toDateString() ? today : longAgo).format(date);
  }
}

// ---- the basket, without leaving the page

async function add(form, button) {
  const fields = new URLSearchParams(new FormData(form));
  if (button.name) fields.set(button.name, button.value);
  const response = await fetch(form.action, { method: 'POST', body: fields });
  if (!response.ok) throw new Error('refused');
  const basket = (await pageOf(response)).querySelector('[data-basket]');
  if (basket) document.querySelector('[data-basket]').innerHTML = basket.innerHTML;
  button.classList.add('added');
  tell('Added to the basket');
  await pause(1600);
  button.classList.remove('added');
}

document.addEventListener('submit', (event) => {
  const form = event.target;
  const button = event.submitter || form.querySelector('button');
  if (form.dataset.confirm && !confirm(form.dataset.confirm)) return event.preventDefault();
  if (form.matches('[data-add]')) {
    event.preventDefault();
    add(form, button).catch(() => {
      form.removeAttribute('data-add'); // the browser shall send it, and show what is wrong
      form.requestSubmit(button);
    });
  } else if (form.matches('[data-once]')) {
    if (form.dataset.sent) return event.preventDefault();
    form.dataset.sent = 'yes';
    button.setAttribute('aria-disabled', 'true');
  }
});

// Back from the next page the browser may show this one as it was left.
addEventListener('pageshow', () => {
  for (const form of document.querySelectorAll('[data-sent]')) {
    delete form.dataset.sent;
    for (const button of form.querySelectorAll('[aria-disabled]')) button.removeAttribute('aria-disabled');
  }
});

for (const form of document.querySelectorAll('[data-quantity]')) {
  form.classList.add('by-itself');
  form.querySelector('input[name=quantity]').addEventListener('change', () => form.requestSubmit());
}

// ---- the shelves, while one types

const shelf = document.querySelector('[data-part=shelf]');
const search = document.getElementById('q');
const filters = document.querySelector('form.filters');

function wished() {
  const fields = new FormData(filters);
  fields.set('q', search.value);
  const kept = [...fields].map(([name, value]) => [name, value.trim()]).filter(([, value]) => value !== '');
  return '/' + (kept.length ? '?' + new URLSearchParams(kept) : '');
}

let looks = 0;
async function look(address) {
  const mine = ++looks;
  const response = await fetch(address, { headers: { accept: 'text/html' } });
  if (!response.ok || mine !== looks) return;
  const page = await pageOf(response);
  if (mine !== looks) return;
  for (const part of page.querySelectorAll('[data-part]')) document.querySelector('[data-part=' + part.dataset.part + ']').replaceChildren(...part.childNodes);
  for (const name of ['min', 'max']) {
    const wrong = page.getElementById(name).hasAttribute('aria-invalid');
    document.getElementById(name).toggleAttribute('aria-invalid', wrong);
    if (wrong) document.getElementById(name).setAttribute('aria-invalid', 'true');
  }
  filters.elements.q.value = search.value;
  document.title = page.title;
  history.replaceState(null, '', address);
  const count = document.querySelector('[data-count]');
  tell(count ? count.textContent : 'Nothing found');
}

if (shelf && filters) {
  filters.classList.add('by-itself');
  let timer;
  const soon = () => {
    clearTimeout(timer);
    timer = setTimeout(() => look(wished()).catch(() => {}), 200);
  };
  search.addEventListener('input', soon);
  filters.addEventListener('input', soon);
  // Enter is a step that one can go back from, and takes the filters along.
  for (const form of [search.form, filters]) {
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      clearTimeout(timer);
      looks++;
      location.assign(wished());
    });
  }
}

const errors = document.querySelector('[data-errors]');
if (errors) errors.focus();

// ---- the order's page, which goes on by itself

const everyMilliseconds = 1500;

/** Soon often, later seldom: an order may wait for weeks. */
const patience = (asked) => (asked < 120 ? everyMilliseconds : asked < 360 ? 5000 : 30000);

/** The server says when there is something to fetch. While it does we ask seldom; where it cannot (204, or no connection) as often as ever. */
function listen(address) {
  const ear = { open: false, poke: () => {}, close: () => {} };
  if (!window.EventSource || !address) return ear;
  const source = new EventSource(address);
  ear.close = () => source.close();
  source.onopen = () => { ear.open = true; };
  source.onerror = () => { ear.open = false; ear.poke(); };
  for (const name of ['moved', 'end']) source.addEventListener(name, () => ear.poke());
  source.addEventListener('end', () => source.close());
  addEventListener('pagehide', () => source.close());
  return ear;
}

async function follow(live) {
  let shown = live.innerHTML; // the server's own text, before the times in it are told anew
  const ear = listen(live.dataset.newsAt);
  for (let asked = 0; !live.hasAttribute('data-final'); asked++) {
    const poked = new Promise((resolve) => { ear.poke = resolve; });
    await Promise.race([poked, pause(ear.open ? 30000 : patience(asked))]);
    if (document.hidden) continue;
    const page = await fetch(location.pathname, { headers: { accept: 'text/html' }, cache: 'no-store' })
      .then((response) => (response.ok ? pageOf(response) : undefined), () => undefined);
    const fresh = page && page.querySelector('[data-live]');
    if (!fresh || fresh.innerHTML === shown) continue;
    const focused = live.contains(document.activeElement) ? document.activeElement.id : '';
    const moved = fresh.dataset.status !== live.dataset.status;
    shown = fresh.innerHTML;
    localTimes(fresh);
    live.replaceWith(fresh);
    live = fresh;
    document.title = page.title;
    if (focused) (document.getElementById(focused) || document.getElementById('main')).focus();
    if (moved) {
      live.classList.add('moved');
      tell('Your order: ' + live.dataset.status);
    }
  }
  ear.close();
}

const live = document.querySelector('[data-live]');
if (live) follow(live);
localTimes(document);

// ---- the stylesheet, which came with the first page: the next one looks for it in the browser

if (document.querySelector('style')) addEventListener('load', () => fetch('/assets/app.css').catch(() => {}));
`;
