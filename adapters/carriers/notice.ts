import { createHmac, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import type { NoticeAnswer, NoticeReader, TrackingFact, TrackingStatus } from '../../ports/index.ts';

/**
 * What all formats of notices share. The order of the checks is the promise: no secret, no belief; then the signature over the raw bytes;
 * only then is anything parsed. Sources of the rules: each vendor's documentation and SDK, named in the file of its format.
 */

export type Headers = Readonly<Record<string, string | undefined>>;

export interface Format<Envelope> {
  /** What is wrong with the signature, or undefined if it is genuine. `now` is in milliseconds since 1970. */
  readonly forged: (raw: Uint8Array, headers: Headers, secret: string, now: number) => string | undefined;
  /** What every notice of this sender has, of whatever kind; unknown fields are let through. */
  readonly envelope: z.ZodType<Envelope>;
  /** Throws a `ZodError` for what does not fit. */
  readonly facts: (envelope: Envelope) => readonly TrackingFact[];
}

/** What a carrier posts: `path` is its name in the path of the webhook, header names are in lower case. */
export interface Notice {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}
/** Says a fact in the words of a format; `now` is in milliseconds since 1970. */
export type NoticeWriter = (fact: TrackingFact, secret: string, now: number) => Notice;

/** Vendors' notices have some kilobytes; a parcel with a thousand scans has half a megabyte. */
const noticeBytesMax = 1024 * 1024;
const utf8 = new TextDecoder('utf-8', { fatal: true });

export function reader<Envelope>(secret: string | undefined, format: Format<Envelope>): NoticeReader {
  return {
    read(raw, headers, now): NoticeAnswer {
      if (secret === undefined || secret.trim() === '') return { refused: 'noSecret', detail: 'no secret is set, so nothing can be believed' };
      const forged = format.forged(raw, headers, secret, now);
      if (forged !== undefined) return { refused: 'forged', detail: forged };
      if (raw.byteLength > noticeBytesMax) return { refused: 'malformed', detail: `over ${noticeBytesMax} bytes` };
      const said = parsed(raw);
      if (said === undefined) return { refused: 'malformed', detail: 'not JSON in UTF-8' };
      try {
        return { facts: format.facts(format.envelope.parse(said)) };
      } catch (error) {
        if (error instanceof z.ZodError) return { refused: 'malformed', detail: complaintOf(error) };
        throw error;
      }
    },
  };
}

function parsed(raw: Uint8Array): unknown {
  try {
    return JSON.parse(utf8.decode(raw));
  } catch {
    return undefined;
  }
}

/** Names the place and never the value: a notice holds addresses. */
function complaintOf(error: z.ZodError): string {
  return error.issues.slice(0, 3).map((issue) => `${issue.path.join('.') || 'the notice'}: ${issue.message}`).join('; ');
}

export function hmac(secret: string, ...parts: readonly (string | Uint8Array)[]): Buffer {
  const sum = createHmac('sha256', secret);
  for (const part of parts) sum.update(part);
  return sum.digest();
}

/** Compares texts, in constant time for texts of one length, so that no lenient decoder stands between. */
export function same(expected: string, given: string): boolean {
  const a = Buffer.from(expected);
  const b = Buffer.from(given);
  return a.length === b.length && timingSafeEqual(a, b);
}

const printable = /^[\x20-\x7e]{1,100}$/;
const word = z.string().trim().regex(printable, 'must be 1 to 100 printable characters');

/** Trimmed and in lower case. */
export const Carrier = word.toLowerCase();
export const TrackingNumber = word;
export const NoticeId = z.string().trim().regex(/^[\x21-\x7e]{1,200}$/, 'must be 1 to 200 printable characters');
/** A status in the vendor's words; those that we do not know are 'unknown', so any word will do. */
export const Word = z.string().min(1).max(200);

/** A point in time, in RFC 3339 and UTC. */
export const Moment = z.string().transform((text, context) => utcOf(text) ?? unreadable(context));
/** As `Moment`; absent, null and the empty text are "not said". */
export const MaybeMoment = z.preprocess((value) => (value === null || value === '' ? undefined : value), Moment.optional());

function unreadable(context: z.RefinementCtx): never {
  context.addIssue({ code: 'custom', message: 'must be a time' });
  return z.NEVER;
}

const iso = /^(\d{4}-\d\d-\d\d)(?:T(\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?)(Z|[+-]\d\d:?\d\d)?)?$/;

/** Carriers leave out the zone, and even the hour: then it is read as UTC, so that every machine reads the same. */
function utcOf(text: string): string | undefined {
  const [, day, hour = '00:00', zone = 'Z'] = iso.exec(text.trim()) ?? [];
  if (day === undefined || !exists(day)) return undefined;
  const time = new Date(`${day}T${hour}${zone.length === 5 ? `${zone.slice(0, 3)}:${zone.slice(3)}` : zone}`);
  if (Number.isNaN(time.getTime())) return undefined;
  const utc = time.toISOString();
  return utc.length === 24 ? utc : undefined;
}

/** JavaScript takes the 31st of February for the 2nd of March. */
function exists(day: string): boolean {
  const time = new Date(`${day}T00:00Z`);
  return !Number.isNaN(time.getTime()) && time.toISOString().startsWith(day);
}

/** One entry of a parcel's history: its status in the vendor's words, and when. */
export interface Scan {
  readonly status?: string | null;
  readonly at?: string | undefined;
}

/** When the parcel was last seen in this status: vendors do not promise the order of a history. */
export function latest(scans: readonly Scan[] | null | undefined, status: string): string | undefined {
  let last: string | undefined;
  for (const scan of scans ?? []) {
    if (scan.status === status && scan.at !== undefined && (last === undefined || scan.at > last)) last = scan.at;
  }
  return last;
}

/** The words of a vendor and what they mean; a `Map`, for the words come from outside. */
export function dictionary(words: Readonly<Record<string, TrackingStatus>>): (word: string) => TrackingStatus {
  const map = new Map(Object.entries(words));
  return (word) => map.get(word) ?? 'unknown';
}

/** Complains in the same words as a shape that does not fit. */
export function missing(...path: string[]): never {
  throw new z.ZodError([{ code: 'custom', path, message: 'must not be missing', input: undefined }]);
}

export function json(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}
