/**
 * The script of the console. Nothing needs it: it spares reloads, and tells times in the reader's own zone. It is served as it stands here, so it is plain JavaScript that
 * every browser of the last years reads.
 */
export const script = `'use strict';

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

// ---- times, in the reader's own zone

const today = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' });
const longAgo = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });
function localTimes(root) {
  for (const time of root.querySelectorAll('time[datetime]')) {
    const date = new Date(time.dateTime);
    time.title = time.dateTime;
    time.textContent = (date.toDateString() === new Date().toDateString() ? today : longAgo).format(date);
  }
}

// ---- a form that is sent twice by a double click is sent once

document.addEventListener('submit', (event) => {
  const form = event.target;
  if (!form.matches('[data-once]')) return;
  if (form.dataset.sent) return event.preventDefault();
  form.dataset.sent = 'yes';
  for (const button of form.querySelectorAll('button')) button.setAttribute('aria-disabled', 'true');
});
addEventListener('pageshow', () => {
  for (const form of document.querySelectorAll('[data-sent]')) {
    delete form.dataset.sent;
    for (const button of form.querySelectorAll('[aria-disabled]')) button.removeAttribute('aria-disabled');
  }
});

const wrong = document.querySelector('[aria-invalid=true]') || document.querySelector('[data-errors]');
if (wrong) wrong.focus();

// ---- the living picture

const title = document.title;
const clock = document.querySelector('[data-clock]');
const tell = (text) => { if (clock) clock.textContent = text; };

/** What has the focus keeps it, and what is open stays open. */
function replaceKept(live, fresh) {
  const focused = live.contains(document.activeElement) ? document.activeElement.getAttribute('href') || document.activeElement.tagName : '';
  const open = [...live.querySelectorAll('details[open]')].map(({ id }) => id);
  localTimes(fresh);
  live.replaceWith(fresh);
  for (const id of open) document.getElementById(id).open = true;
  if (!focused) return;
  const again = [...fresh.querySelectorAll('a, summary')].find((each) => (each.getAttribute('href') || each.tagName) === focused && each.getClientRects().length > 0);
  if (again) again.focus({ preventScroll: true });
}

async function follow(live) {
  let failures = 0;
  for (;;) {
    await pause(Number(live.dataset.every) * 1000 * Math.min(8, 2 ** failures));
    if (document.hidden) continue;
    const response = await fetch(live.dataset.live, { headers: { accept: 'text/html' }, cache: 'no-store', redirect: 'manual' }).catch(() => undefined);
    if (response && (response.type === 'opaqueredirect' || response.status === 401)) return location.reload();
    if (!response || !response.ok) {
      failures++;
      tell('No answer; what you see may be old');
      continue;
    }
    const fresh = new DOMParser().parseFromString(await response.text(), 'text/html').querySelector('[data-live]');
    if (!fresh) return location.reload();
    failures = 0;
    replaceKept(live, fresh);
    if (fresh.dataset.worst !== live.dataset.worst) tell('');
    live = fresh;
    document.title = (live.dataset.worst === 'bad' ? '● ' : '') + title;
    tell('Live, every ' + live.dataset.every + ' seconds');
  }
}

const live = document.querySelector('[data-live]');
if (live) {
  tell('Live, every ' + live.dataset.every + ' seconds');
  follow(live);
}
localTimes(document);
`;
