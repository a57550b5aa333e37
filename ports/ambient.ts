/** What every program takes from its surroundings, made explicit, so that a test can hold it in its hand. */

export interface Clock {
  /** Milliseconds since 1970-01-01T00:00:00Z. */
  now(): number;
  /** Resolves after so many milliseconds, or at once when the signal is aborted. It never rejects. */
  sleep(milliseconds: number, signal?: AbortSignal): Promise<void>;
}

export interface Ids {
  /** 26 characters of Crockford's base 32, lower case, 130 bits: cannot be guessed. */
  random(): string;
  /** A number from 0 up to, not including, 1: for jitter alone. */
  fraction(): number;
}

/** Structured log; the first argument is data. No secret, no address and no letter is ever handed to it. */
export interface Log {
  debug(data: object, text: string): void;
  info(data: object, text: string): void;
  warn(data: object, text: string): void;
  error(data: object, text: string): void;
}

/** RFC 3339 in UTC with milliseconds, the one form in which times are said and stored. */
export function timestamp(milliseconds: number): string {
  return new Date(milliseconds).toISOString();
}
