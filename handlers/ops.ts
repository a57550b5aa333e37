import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { parseArgs, type ParseArgsConfig } from 'node:util';
import type { DoorName } from '../core/flow.ts';
import type { ActView, ParkedDetail } from '../core/operations/events.ts';
import type { z } from 'zod';
import { count, ink, wrap, type Paper } from './paper.ts';
import { Unreachable, openDesk, type Asked, type Desk } from './reach.ts';
import { WrongSetting } from './settings.ts';
import * as show from './show.ts';

/**
 * THE COMMAND LINE of the desk: `npm run ops -- …`. It uses only the doors of the admin API, so it does the same on every family.
 *
 * It ends with 0; 1 when the shop refuses, or the audit finds faults; 2 when it was called wrongly; 3 when no shop can be reached.
 */
export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly paper: Paper;
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  readonly stdin: () => Promise<string>;
  /** Where files are looked for. */
  readonly folder: string;
}

class Usage extends Error {
  override readonly name = 'Usage';
}
/** The shop says no; `text` is its answer as it came. */
class Refused extends Error {
  override readonly name = 'Refused';
  readonly text: string;
  constructor(message: string, text = '') {
    super(message);
    this.text = text;
  }
}

// ---------------------------------------------------------------- what there is

type Option = 'who' | 'cause' | 'limit' | 'after' | 'state' | 'all' | 'why' | 'carrier' | 'number' | 'tracking-url' | 'channel' | 'file';
const always = ['json', 'url', 'help'] as const;
const meanings: Readonly<Record<Option | (typeof always)[number], readonly [value: string, meaning: string]>> = {
  who: ['NAME', 'only what this person did; token is whoever has the admin token'],
  cause: ['CAUSE', 'only of this cause; a part of it will do, if no other has it'],
  limit: ['N', 'so many rows at the most; with --json a page of so many'],
  after: ['NEXT', 'with --json: the page that begins behind the `next` of the last one'],
  state: ['STATE', ''],
  all: ['', 'all there are'],
  why: ['TEXT', 'kept with what is decided'],
  carrier: ['NAME', 'who has the parcel'],
  number: ['NUMBER', 'its tracking number'],
  'tracking-url': ['URL', 'where it can be followed'],
  channel: ['NAME', 'the queue or stream, as in /asyncapi.json'],
  file: ['FILE', '{type, subject, data} as JSON; - reads it from standard input'],
  json: ['', 'what the API answers, as it is'],
  url: ['URL', 'the shop; also ANYPORT_URL, with ADMIN_TOKEN. None: the one that runs over DATA_DIR, else its store'],
  help: ['', ''],
};

/** What the verbs of one kind of trouble do. */
interface Trouble {
  readonly what: string;
  readonly states?: readonly string[];
  readonly verbs: Readonly<Partial<Record<Verb, { readonly options: readonly Option[]; readonly does: string }>>>;
}
type Verb = 'list' | 'show' | 'retry' | 'resolve';
type Found = { readonly id: string; readonly cause: string };

const listing = ['limit', 'after'] as const;
const troubles: Readonly<Record<'dead-letters' | 'parked' | 'stuck' | 'mails' | 'bookings', Trouble>> = {
  'dead-letters': {
    what: 'messages of queues that nobody could handle',
    states: ['dead', 'sentAgain', 'resolved'],
    verbs: {
      list: { options: ['cause', 'state', ...listing], does: 'what is dead, by cause' },
      show: { options: [], does: 'one of them: reason, history, message' },
      retry: { options: ['cause', 'all'], does: 'send it again, or all of a cause' },
      resolve: { options: ['why'], does: 'nothing is to be done about it' },
    },
  },
  parked: {
    what: 'keys of streams that are set aside for a listener',
    verbs: {
      list: { options: ['cause', ...listing], does: 'what is parked, by cause' },
      show: { options: [], does: 'one of them: reason, its events in order, what was dropped' },
      retry: { options: ['cause', 'all'], does: 'try it again now, or all of a cause' },
      resolve: { options: ['why'], does: 'drop the first of its events and go on with the next' },
    },
  },
  stuck: {
    what: 'messages that no channel will take',
    verbs: {
      list: { options: ['cause', ...listing], does: 'what is stuck, by cause' },
      show: { options: [], does: 'one of them: reason, message' },
      retry: { options: ['cause', 'all'], does: 'send it now, or all of a cause' },
      resolve: { options: ['why'], does: 'it is not to be said where it could not go' },
    },
  },
  mails: {
    what: 'letters to customers of which nobody knows whether they were sent',
    states: ['uncertain', 'refused', 'waiting', 'sending', 'sent'],
    verbs: {
      list: { options: ['state', ...listing], does: 'uncertain ones, or those of another state' },
      show: { options: [], does: 'one of them' },
      retry: { options: ['all', 'state'], does: 'send it again, or all that are uncertain' },
      resolve: { options: [], does: 'it was sent' },
    },
  },
  bookings: {
    what: 'parcels of which nobody knows whether the carrier has them',
    states: ['uncertain', 'refused', 'leftOver'],
    verbs: {
      list: { options: ['state', ...listing], does: 'what needs a person' },
      show: { options: [], does: 'one of them' },
      retry: { options: ['all', 'state'], does: 'nothing was booked: book it now, or all that are uncertain' },
      resolve: { options: ['carrier', 'number', 'tracking-url'], does: 'the carrier has this parcel; or a left-over one was called back' },
    },
  },
};
type Kind = keyof typeof troubles;
const isKind = (word: string): word is Kind => Object.hasOwn(troubles, word);

const others: Readonly<Record<'order' | 'audit' | 'acts' | 'say', { readonly arguments: string; readonly options: readonly Option[]; readonly does: string }>> = {
  order: { arguments: 'ID', options: [], does: 'the whole story of an order; the first 8 letters of its id will do' },
  audit: { arguments: '', options: [], does: 'do stock, orders, parcels and letters agree?' },
  acts: { arguments: '', options: ['who', 'limit', 'after'], does: 'what people have changed, by hand or in the console: the newest first' },
  say: { arguments: '', options: ['channel', 'file'], does: 'put a message on a channel by hand' },
};
type Other = keyof typeof others;
const isOther = (word: string): word is Other => Object.hasOwn(others, word);

// ---------------------------------------------------------------- help

const call = 'npm run ops --';

function help(paper: Paper): string[] {
  const kinds = Object.entries(troubles).flatMap(([kind, { what }]) => [[kind, what]]);
  const rest = Object.entries(others).map(([name, { arguments: args, does }]) => [`${name} ${args}`.trim(), does]);
  const width = Math.max(...[...kinds, ...rest].map(([name]) => name!.length));
  const rows = (found: string[][]): string[] => found.flatMap(([name = '', text = '']) => wrap(text, paper.width - width - 4).map((line, n) => `  ${(n === 0 ? name : '').padEnd(width)}  ${line}`));
  return [
    `Usage: ${call} COMMAND`, '', ...rows(kinds), '', '  Each: [list], show ID, retry ID | --cause CAUSE | --all, resolve ID', '', ...rows(rest), '',
    ...optionLines(paper, ['json', 'url']), '', ...wrap(`${call} COMMAND --help tells more. It ends with 0; with 1 when the shop refuses, or the audit finds faults; 2: called wrongly; 3: no shop can be reached.`, paper.width),
  ];
}

function optionLines(paper: Paper, names: readonly (keyof typeof meanings)[], states: readonly string[] = []): string[] {
  const left = (name: keyof typeof meanings): string => `--${name} ${meanings[name][0]}`.trim();
  const width = Math.max(...names.map((name) => left(name).length));
  return names.flatMap((name) => wrap(name === 'state' ? states.join(' | ') : meanings[name][1], paper.width - width - 4).map((line, n) => `  ${(n === 0 ? left(name) : '').padEnd(width)}  ${line}`));
}

function helpFor(paper: Paper, name: Kind | Other): string[] {
  if (isOther(name)) {
    const { arguments: args, options, does } = others[name];
    return [`Usage: ${call} ${name} ${args}`.trimEnd(), '', `  ${does}`, '', ...optionLines(paper, [...options, 'json', 'url'])];
  }
  const { what, states = [], verbs } = troubles[name];
  const usages = Object.entries(verbs).map(([verb, { does }]) => [verb === 'list' ? '[list]' : `${verb} ID`, does] as const);
  const options = [...new Set(Object.values(verbs).flatMap((verb) => verb.options))];
  return [
    `Usage: ${call} ${name} …`, '', `  ${what}`, '', ...usages.map(([left, does]) => `  ${left.padEnd(10)}  ${does}`), '',
    '  The first letters of an ID will do, if no other begins with them.', '', ...optionLines(paper, [...options, 'json', 'url'], states),
  ];
}

// ---------------------------------------------------------------- one call

type Values = Readonly<Partial<Record<Option | 'url', string>>> & { readonly json?: boolean; readonly help?: boolean; readonly all?: boolean };

/** Answers how the process is to end. */
export async function ops(argv: readonly string[], around: Surroundings): Promise<number> {
  const { err, out } = around;
  try {
    return await run(argv, around);
  } catch (error) {
    if (error instanceof Refused && error.text !== '' && argv.includes('--json')) out(`${error.text}\n`);
    if (error instanceof Usage || error instanceof WrongSetting || error instanceof Refused || error instanceof Unreachable) {
      err(`ops: ${show.word(error.message)}\n`);
      return error instanceof Refused ? 1 : error instanceof Unreachable ? 3 : 2;
    }
    throw error;
  }
}

async function run(argv: readonly string[], around: Surroundings): Promise<number> {
  const { paper, out, env } = around;
  const print = (lines: readonly string[]): void => out(`${lines.join('\n')}\n`);
  const [name = 'help', ...rest] = argv;
  if (name === 'help' || name === '--help' || name === '-h') {
    const of = rest[0];
    if (of !== undefined && !isKind(of) && !isOther(of)) throw new Usage(`there is no command ${JSON.stringify(of)}; ${call} help lists them`);
    print(of === undefined ? help(paper) : helpFor(paper, of));
    return 0;
  }
  if (!isKind(name) && !isOther(name)) throw new Usage(`there is no command ${JSON.stringify(name)}; ${call} help lists them`);
  const asked = isKind(name) ? parsedFor(name, rest) : { verb: 'list' as const, ...parsed(name, others[name].options, rest) };
  if (asked.values.help) {
    print(helpFor(paper, name));
    return 0;
  }
  const work = isKind(name) ? plan(name, asked) : planOther(name, asked, around);
  const desk = await openDesk(env, asked.values.url);
  try {
    return await work({ desk, paper, print, json: asked.values.json === true, out, note: (text) => around.err(`${ink(paper, 'dim', text)}\n`) });
  } finally {
    await desk.close();
  }
}

interface Call {
  readonly verb: Verb;
  readonly values: Values;
  readonly ids: readonly string[];
}

function parsedFor(kind: Kind, rest: readonly string[]): Call {
  const [first = 'list'] = rest;
  const verb = first.startsWith('-') ? 'list' : first;
  if (!Object.hasOwn(troubles[kind].verbs, verb)) throw new Usage(`${kind} can be listed, shown, retried or resolved, not ${JSON.stringify(verb)}`);
  const { options } = troubles[kind].verbs[verb as Verb]!;
  return { verb: verb as Verb, ...parsed(kind, options, rest[0]?.startsWith('-') ? rest : rest.slice(1)) };
}

function parsed(name: string, options: readonly Option[], args: readonly string[]): Omit<Call, 'verb'> {
  const known: NonNullable<ParseArgsConfig['options']> = { json: { type: 'boolean' }, help: { type: 'boolean', short: 'h' }, url: { type: 'string' } };
  for (const option of options) known[option] = { type: option === 'all' ? 'boolean' : 'string' };
  try {
    const { values, positionals } = parseArgs({ args: [...args], options: known, allowPositionals: true, strict: true });
    return { values: values as Values, ids: positionals };
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const [option] = /'(-[^' ]*)/.exec(message)?.slice(1) ?? [];
    if (code === 'ERR_PARSE_ARGS_UNKNOWN_OPTION') throw new Usage(`there is no ${option ?? 'such option'} here; ${call} ${name} --help lists what there is`);
    if (code === 'ERR_PARSE_ARGS_INVALID_OPTION_VALUE') throw new Usage(`${message.split(/[.\n]/)[0]!.replace(/^Option /, '')}`);
    throw error;
  }
}

/** One id, or what `retry` takes instead of one. */
function oneId(name: string, { verb, ids }: Call): string {
  if (ids.length !== 1) throw new Usage(`${name}${verb === 'list' ? '' : ` ${verb}`} takes one ID`);
  return ids[0]!;
}

// ---------------------------------------------------------------- asking

interface Session {
  readonly desk: Desk;
  readonly paper: Paper;
  readonly json: boolean;
  readonly print: (lines: readonly string[]) => void;
  readonly out: (text: string) => void;
  readonly note: (text: string) => void;
}

/** The answer as it came; throws `Refused` for a problem. */
async function ask({ desk }: Pick<Session, 'desk'>, name: DoorName, asked?: Asked): Promise<string> {
  const { status, text } = await desk.ask(name, asked);
  if (status < 300) return text;
  throw new Refused(problemOf(status, text), text);
}

function problemOf(status: number, text: string): string {
  try {
    const { detail, title, errors = [] } = JSON.parse(text) as { detail?: string; title?: string; errors?: { pointer: string; detail: string }[] };
    const said = detail ?? title ?? `the answer is ${status}`;
    return errors.length === 0 ? said : `${said}: ${errors.slice(0, 3).map((each) => `${each.pointer} ${each.detail}`).join('; ')}`;
  } catch {
    return `what answers is no shop of ours: ${status}`;
  }
}

const itemsMax = 2_000;

/** All pages of a list, up to `itemsMax`. */
async function everything<Item>(session: Session, name: DoorName, query: Asked['query'] = {}): Promise<{ items: Item[]; more: boolean }> {
  const items: Item[] = [];
  let after: string | undefined;
  do {
    const page = JSON.parse(await ask(session, name, { query: { ...query, limit: '200', after } })) as { items: Item[]; next?: string };
    items.push(...page.items);
    after = page.next;
  } while (after !== undefined && items.length < itemsMax);
  return { items, more: after !== undefined };
}

const askWhole = async <Answer>(session: Session, name: DoorName, asked?: Asked): Promise<{ text: string; answer: Answer }> => {
  const text = await ask(session, name, asked);
  return { text, answer: (text === '' ? undefined : JSON.parse(text)) as Answer };
};

/** What begins so, if it is one alone. */
function only(what: string, given: string, ids: readonly string[]): string {
  const found = [...new Set(ids)].filter((id) => id.startsWith(given));
  if (found.length === 1) return found[0]!;
  throw new Refused(found.length === 0 ? `there is no ${what} ${JSON.stringify(given)}` : `${found.length} begin with ${JSON.stringify(given)}; give more of the id`);
}

type Work = (session: Session) => Promise<number>;

// ---------------------------------------------------------------- dead letters, parked keys, stuck messages

/** What of the three kinds differs: names of doors, how one looks, what is told. */
const desks = {
  'dead-letters': { list: 'listDeadLetters', show: 'getDeadLetter', retry: 'retryDeadLetter', retryAll: 'retryDeadLetters', resolve: 'resolveDeadLetter', rows: show.deadLetters, one: show.deadLetter, again: 'sent again', done: 'resolved' },
  parked: { list: 'listParked', show: 'getParked', retry: 'retryParkedKey', retryAll: 'retryParkedKeys', resolve: 'resolveParked', rows: show.parked, one: show.parkedKey, again: 'to be tried again at once', done: 'without its first event now' },
  stuck: { list: 'listStuck', show: 'getStuck', retry: 'retryStuckRow', retryAll: 'retryStuckRows', resolve: 'resolveStuck', rows: show.stuck, one: show.stuckMessage, again: 'tried again', done: 'not said any more' },
} as const;
type DeskKind = keyof typeof desks;

function plan(kind: Kind, request: Call): Work {
  const { verb, values, ids } = request;
  const { states } = troubles[kind];
  if (values.state !== undefined && !states?.includes(values.state)) throw new Usage(`--state is one of ${states!.join(', ')}`);
  checkLimit(values);
  if (verb === 'list' && ids.length > 0) throw new Usage(`${kind} list takes no ID; ${kind} show does`);
  if (verb === 'retry' && [ids.length > 0, values.cause !== undefined, values.all === true].filter(Boolean).length !== 1) throw new Usage(`${kind} retry takes an ID${'cause' in desksOptions(kind) ? ', --cause or' : ' or'} --all`);
  if (verb !== 'list' && !(verb === 'retry' && ids.length === 0)) oneId(kind, request);
  return kind === 'mails' ? planMails(request) : kind === 'bookings' ? planBookings(request) : planDesk(kind, request);
}

function checkLimit({ limit }: Values): void {
  if (limit !== undefined && !/^[1-9]\d{0,5}$/.test(limit)) throw new Usage('--limit is a whole number from 1');
}

const desksOptions = (kind: Kind): object => Object.fromEntries((troubles[kind].verbs.retry?.options ?? []).map((option) => [option, true]));

function planDesk(kind: DeskKind, { verb, values, ids }: Call): Work {
  const of = desks[kind];
  return async (session) => {
    if (verb === 'list') return listDesk(session, kind, values);
    if (verb === 'retry' && ids.length === 0) return retryDesk(session, kind, values);
    const id = await idOf(session, kind, ids[0]!);
    if (verb === 'show') {
      const { text, answer } = await askWhole<never>(session, of.show, { params: { id } });
      return tell(session, text, () => [...of.one(session.paper, answer), '', ink(session.paper, 'dim', `${call} ${kind} retry ${id.slice(0, 8)}`)]);
    }
    if (verb === 'retry') return tell(session, await ask(session, of.retry, { params: { id } }), () => [`${id.slice(0, 8)} is ${of.again}.${later(session)}`]);
    const why = values.why === undefined ? {} : { why: values.why };
    return tell(session, await ask(session, of.resolve, { params: { id }, body: { ...why, ...(kind === 'parked' ? await firstOf(session, id) : {}) } }), () => [`${id.slice(0, 8)} is ${of.done}.${later(session)}`]);
  };
}

/** The event that is dropped is the one that is first at this moment: repeated in doubt, the command drops no other. */
async function firstOf(session: Session, id: string): Promise<{ first?: string }> {
  const { answer } = await askWhole<z.infer<typeof ParkedDetail>>(session, 'getParked', { params: { id } });
  const first = answer.messages[0] as { id?: unknown } | undefined;
  return typeof first?.id === 'string' ? { first: first.id } : {};
}

function tell({ json, out, print }: Session, text: string, lines: () => readonly string[]): number {
  if (!json) print(lines());
  else if (text !== '') out(`${text}\n`);
  return 0;
}

const later = ({ desk }: Session): string => (desk.runs() ? '' : ' No shop is running: it goes on when one is started.');

async function idOf(session: Session, kind: DeskKind, given: string): Promise<string> {
  if (/^[0-9a-f]{16}$/.test(given)) return given;
  if (!/^[0-9a-f]{1,15}$/.test(given)) throw new Refused(`${JSON.stringify(given)} is no id; ${call} ${kind} lists them`);
  const found: string[] = [];
  for (const state of kind === 'dead-letters' ? ['dead', 'sentAgain', 'resolved'] : [undefined]) found.push(...(await everything<Found>(session, desks[kind].list, { state })).items.map(({ id }) => id));
  return only(desks[kind].rows.title[0], given, found);
}

async function listDesk(session: Session, kind: DeskKind, { cause: given, state, limit, after }: Values): Promise<number> {
  const { list, rows } = desks[kind];
  const cause = given === undefined ? undefined : await causeOf(session, kind, given, state);
  if (session.json) return tell(session, await ask(session, list, { query: { cause, state, limit, after } }), () => []);
  const { items, more } = await everything<never>(session, list, { cause, state, after });
  const most = limit === undefined ? (cause === undefined ? undefined : 50) : Number(limit);
  const hint = items.length === 0 ? [] : ['', ink(session.paper, 'dim', `${call} ${kind} show ID, retry ID, resolve ID`)];
  session.print([...show.causes(session.paper, rows as show.Listed<Found>, items, more, most), ...hint]);
  return 0;
}

async function retryDesk(session: Session, kind: DeskKind, { cause: given }: Values): Promise<number> {
  const cause = given === undefined ? undefined : await causeOf(session, kind, given);
  const { text, answer } = await askWhole<{ retried: number; left: number }>(session, desks[kind].retryAll, { body: cause === undefined ? {} : { cause } });
  const [one, many] = desks[kind].rows.title;
  const are = answer.retried === 1 ? 'is' : 'are';
  const left = answer.left === 0 ? '' : ` ${count(answer.left, 'other')} could not be retried, or had changed: look at what is left.`;
  return tell(session, text, () => [`${count(answer.retried, one, many).replace(/^no/, 'No')} ${are} ${desks[kind].again}.${left}${answer.retried > 0 ? later(session) : ''}`]);
}

/** The API wants the cause to the letter; a person may name a part of it. */
async function causeOf(session: Session, kind: DeskKind, given: string, state?: string): Promise<string> {
  const { items } = await everything<Found>(session, desks[kind].list, { state });
  const known = [...new Set(items.map(({ cause }) => cause))];
  const found = known.includes(given) ? [given] : known.filter((cause) => cause.includes(given));
  if (found.length === 1) return found[0]!;
  throw new Refused(found.length === 0 ? `nothing there has the cause ${JSON.stringify(given)}` : `${found.length} causes have ${JSON.stringify(given)} in them; give more of it`);
}

// ---------------------------------------------------------------- letters and bookings

/** What of letters and bookings differs. */
const persons = {
  mails: { list: 'listMails', retry: 'retryMail', resolve: 'resolveMail', rows: show.mails, one: show.mail, id: (item: { id: string }) => item.id, full: /^[0-9a-z]{26}\.[a-z]+$/ },
  bookings: { list: 'listBookings', retry: 'retryBooking', resolve: 'resolveBooking', rows: show.bookings, one: show.booking, id: (item: { orderId: string }) => item.orderId, full: /^[0-9a-z]{26}$/ },
} as const;
type PersonKind = keyof typeof persons;

const planMails = (request: Call): Work => planPersons('mails', request, async (session, id) => {
  const { text, answer } = await askWhole<{ state: string }>(session, 'resolveMail', { params: { id } });
  return tell(session, text, () => [`${id} is ${answer.state}.`]);
});

function planBookings(request: Call): Work {
  const { carrier, number, 'tracking-url': trackingUrl } = request.values;
  if (request.verb === 'resolve' && (carrier === undefined) !== (number === undefined)) throw new Usage('--carrier and --number belong together');
  const body = carrier === undefined ? {} : { carrier, trackingNumber: number, ...(trackingUrl === undefined ? {} : { trackingUrl }) };
  return planPersons('bookings', request, async (session, id) => tell(session, await ask(session, 'resolveBooking', { params: { id }, body }), () => [`The booking of ${id} is resolved.${later(session)}`]));
}

function planPersons(kind: PersonKind, { verb, values, ids }: Call, resolveOne: (session: Session, id: string) => Promise<number>): Work {
  const of = persons[kind];
  const state = values.state ?? (kind === 'mails' || verb === 'retry' ? 'uncertain' : undefined);
  return async (session) => {
    if (verb === 'list') return listPersons(session, kind, { ...values, ...(state === undefined ? {} : { state }) });
    if (verb === 'retry' && ids.length === 0) return retryPersons(session, kind, state!);
    const id = await personId(session, kind, ids[0]!);
    if (verb === 'show') return showPerson(session, kind, id);
    if (verb === 'resolve') return resolveOne(session, id);
    const { text, answer } = await askWhole<{ state: string } | undefined>(session, of.retry, { params: { id } });
    return tell(session, text, () => [retried(kind, id, answer)]);
  };
}

const retried = (kind: PersonKind, id: string, answer: { state: string } | undefined): string =>
  kind === 'mails' ? `${id} is ${answer?.state ?? 'tried again'}.` : `${id} is booked again: its story tells what came of it.`;

async function listPersons(session: Session, kind: PersonKind, { state, limit, after }: Values): Promise<number> {
  const of = persons[kind];
  if (session.json) return tell(session, await ask(session, of.list, { query: { state, limit, after } }), () => []);
  const { items, more } = await everything<never>(session, of.list, { state, after });
  const refused = kind === 'mails' && state === 'uncertain' ? (await everything(session, of.list, { state: 'refused' })).items.length : 0;
  const [one, many] = of.rows.title;
  const rows = kind === 'mails' ? { ...of.rows, title: [`${state} ${one}`, `${state} ${many}`] as const } : of.rows;
  session.print([
    ...show.list(session.paper, rows as show.Listed<unknown>, items, more, limit === undefined ? 50 : Number(limit)),
    ...(refused === 0 ? [] : ['', `The mailer refuses ${count(refused, 'letter')}; --state refused lists them.`]),
    ...(items.length === 0 || state === 'sent' ? [] : ['', ink(session.paper, 'dim', `${call} ${kind} show ID, retry ID, resolve ID`)]),
  ]);
  return 0;
}

/** One after the other; one that cannot be retried keeps no other waiting, and is named. */
async function retryPersons(session: Session, kind: PersonKind, state: string): Promise<number> {
  const of = persons[kind];
  const { items } = await everything<{ id: string; orderId: string }>(session, of.list, { state });
  let refused = 0;
  for (const item of items) {
    const id = of.id(item);
    try {
      const { text, answer } = await askWhole<{ state: string } | undefined>(session, of.retry, { params: { id } });
      tell(session, text, () => [retried(kind, id, answer)]);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      refused++;
      session.note(`${id}: ${show.word(error.message)}`);
    }
  }
  if (!session.json && items.length === 0) session.print([`There is no ${state} one.`]);
  return refused === 0 ? 0 : 1;
}

async function personId(session: Session, kind: PersonKind, given: string): Promise<string> {
  const { full, list, id, rows } = persons[kind];
  if (full.test(given)) return given;
  const [start = '', milestone = ''] = given.split('.');
  const found: string[] = [];
  for (const state of kind === 'mails' ? ['uncertain', 'refused'] : [undefined]) found.push(...(await everything<never>(session, list, { state })).items.map((item) => id(item)));
  const ours = found.filter((each) => each.startsWith(start) && (milestone === '' || each.endsWith(`.${milestone}`)));
  return only(rows.title[0], start, ours);
}

async function showPerson(session: Session, kind: PersonKind, id: string): Promise<number> {
  const of = persons[kind];
  const query = kind === 'mails' ? { orderId: id.slice(0, 26), limit: '200' } : { limit: '200' };
  const { items } = kind === 'mails' ? (JSON.parse(await ask(session, of.list, { query })) as { items: never[] }) : await everything<never>(session, of.list);
  const item = items.find((each) => of.id(each) === id);
  if (!item) throw new Refused(`there is no ${of.rows.title[0]} ${id}`);
  return tell(session, JSON.stringify(item), () => of.one(session.paper, item));
}

// ---------------------------------------------------------------- order, audit, acts, say

function planOther(name: Other, request: Call, around: Surroundings): Work {
  if (name === 'order') return planOrder(oneId(name, request));
  if (request.ids.length > 0) throw new Usage(`${name} takes no ${JSON.stringify(request.ids[0])}`);
  if (name === 'acts') return planActs(request.values);
  return name === 'audit' ? auditShop : planSay(request.values, around);
}

function planOrder(given: string): Work {
  if (!/^[0-9a-z]{8,26}$/.test(given)) throw new Usage('order takes the id of an order, or its first 8 letters or more');
  return async (session) => {
    const id = given.length === 26 ? given : await orderId(session, given);
    const { text, answer } = await askWhole<never>(session, 'orderStory', { params: { id } });
    return tell(session, text, () => show.story(session.paper, answer));
  };
}

/** Orders are listed by their ids, so those that begin so are the next ones behind it. */
async function orderId(session: Session, start: string): Promise<string> {
  const { answer } = await askWhole<{ items: { id: string }[] }>(session, 'listOrders', { query: { after: start, limit: '2' } });
  return only('order', start, answer.items.map(({ id }) => id));
}

async function auditShop(session: Session): Promise<number> {
  const { text, answer } = await askWhole<{ faults: readonly string[] }>(session, 'auditShop');
  tell(session, text, () => show.audit(session.paper, answer as never));
  return answer.faults.length === 0 ? 0 : 1;
}

const actsShown = 25;

/** One page: whoever wants the whole year asks with --json, page by page. */
function planActs(values: Values): Work {
  checkLimit(values);
  const { who, after } = values;
  const limit = Math.min(200, Number(values.limit ?? actsShown));
  return async (session) => {
    const { text, answer } = await askWhole<{ items: ActView[]; next?: string }>(session, 'listActs', { query: { who, after, limit: String(limit) } });
    return tell(session, text, () => show.list(session.paper, show.acts, answer.items, answer.next !== undefined, limit));
  };
}

function planSay({ channel, file }: Values, { stdin, folder }: Surroundings): Work {
  if (channel === undefined || file === undefined) throw new Usage('say takes --channel and --file');
  return async (session) => {
    const message = await readJson(file, file === '-' ? stdin : () => readFile(resolve(folder, file), 'utf8'));
    const { text, answer } = await askWhole<{ id: string }>(session, 'sayByHand', { body: { channel, message } });
    return tell(session, text, () => [`${answer.id} is said on ${channel}.${later(session)}`]);
  };
}

async function readJson(file: string, read: () => Promise<string>): Promise<unknown> {
  const text = await read().catch((error: NodeJS.ErrnoException) => {
    throw new Usage(`--file ${file} cannot be read: ${error.code ?? error.message}`);
  });
  try {
    return JSON.parse(text);
  } catch {
    throw new Usage(`--file ${file} is not JSON`);
  }
}

// ---------------------------------------------------------------- the process

async function main(): Promise<void> {
  const { stdout, stderr, stdin } = process;
  const env = process.env;
  const colour = stdout.isTTY && !env['NO_COLOR'] && env['TERM'] !== 'dumb';
  const read = async (): Promise<string> => {
    let text = '';
    for await (const chunk of stdin.setEncoding('utf8')) text += String(chunk);
    return text;
  };
  // A pager that has seen enough is no failure.
  stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));
  process.exitCode = await ops(process.argv.slice(2), {
    env,
    paper: { width: Math.min(120, Math.max(80, stdout.isTTY ? stdout.columns : 80)), colour },
    out: (text) => void stdout.write(text),
    err: (text) => void stderr.write(text),
    stdin: read,
    folder: env['INIT_CWD'] ?? process.cwd(),
  });
}

if (import.meta.url === `file://${process.argv[1]}`) await main();
