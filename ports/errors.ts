/**
 * Everything that can go wrong is one of four kinds, and the kind alone decides what happens next:
 *
 * | kind        | meaning                                   | HTTP            | queue                 | stream                    |
 * |-------------|-------------------------------------------|-----------------|-----------------------|---------------------------|
 * | `Refusal`   | the business says no (a value, not thrown) | its own status  | handled               | handled                   |
 * | `Invalid`   | the input does not parse                   | 400             | dead at once          | parked at once            |
 * | `PortError` | the world failed                           | 503 (413)       | retried, not counted  | retried, never parked     |
 * | `Defect`    | an assertion of ours failed                | 500             | retried, then dead    | parked                    |
 *
 * A `Defect` is never caught in core. Whatever else is thrown is treated as one.
 */

/** One complaint about one place of the input; `pointer` is an RFC 6901 JSON pointer ('' is the whole). */
export interface Complaint {
  readonly pointer: string;
  readonly detail: string;
}

/** The input does not fit its shape. Trying again cannot help. */
export class Invalid extends Error {
  override readonly name = 'Invalid';
  readonly complaints: readonly Complaint[];

  constructor(message: string, complaints: readonly Complaint[] = []) {
    super(complaints.length === 0 ? message : `${message}: ${complaints.map((c) => `${c.pointer || '/'} ${c.detail}`).join('; ')}`);
    this.complaints = complaints;
  }
}

/** Our own rules do not hold: a bug, or a store that somebody edited. */
export class Defect extends Error {
  override readonly name = 'Defect';
}

/**
 * - `conflict`: a condition of a commit failed, nothing was written; `key` is the row.
 * - `missing`: the channel, group or partition does not exist.
 * - `lockLost`: the message is no longer ours to settle.
 * - `tooLarge`: over a limit of `limits.ts`; never sent, never retried.
 * - `denied`: refused for good by the other side (credentials, a rejected address).
 * - `throttled`: certainly NOT done; come back later.
 * - `unavailable`: the outcome is UNKNOWN; it may have been done.
 */
export type PortErrorKind = 'conflict' | 'missing' | 'lockLost' | 'tooLarge' | 'denied' | 'throttled' | 'unavailable';

/** The world failed. Each family maps the errors of its SDK in one function; an unknown one is `unavailable`. */
export class PortError extends Error {
  override readonly name = 'PortError';
  readonly kind: PortErrorKind;
  /** The key of the row or message concerned, if there is one. */
  readonly key: string | undefined;

  constructor(kind: PortErrorKind, message: string, options: { key?: string; cause?: unknown } = {}) {
    super(`${kind}: ${message}`, options.cause === undefined ? undefined : { cause: options.cause });
    this.kind = kind;
    this.key = options.key;
  }
}

export function isPortError(error: unknown, ...kinds: PortErrorKind[]): error is PortError {
  return error instanceof PortError && (kinds.length === 0 || kinds.includes(error.kind));
}

/**
 * True for failures of the world, which time or a person heals: whoever meets one waits and tries again, and blames no message for it. That holds for credentials that
 * have run out, too (`denied`); only what is too large is so by its own fault.
 */
export function isTransient(error: unknown): error is PortError {
  return isPortError(error) && error.kind !== 'tooLarge';
}

/** Asserts a rule of our own. */
export function must(condition: unknown, rule: string): asserts condition {
  if (!condition) throw new Defect(rule);
}

/** The business says no: an ordinary value. `status` is the HTTP status that a person gets to see. */
export interface Refusal {
  readonly refused: string;
  readonly status: 400 | 401 | 404 | 409 | 413 | 422 | 503;
  readonly detail: string;
  readonly complaints?: readonly Complaint[];
}

export function refuse(status: Refusal['status'], refused: string, detail: string, complaints?: readonly Complaint[]): Refusal {
  return { refused, status, detail, ...(complaints ? { complaints } : {}) };
}

export function isRefusal(value: unknown): value is Refusal {
  return typeof value === 'object' && value !== null && 'refused' in value;
}
