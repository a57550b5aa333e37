import { pino } from 'pino';
import type { Log } from '../ports/index.ts';

/**
 * Structured lines on standard error.
 *
 * The log is read by more people than may see an order, and kept for longer. So whoever hands something over, it is cut here, once for all: what could be a secret is taken
 * out, order ids (they open the order's page) are told by the eight letters that stand in letters too, and mail addresses, which other programs quote in their errors, not at all.
 * `request` alone stays whole: it is what the answer has told the customer.
 */
export function createLog(level: string): Log {
  const logger = pino({ level, base: undefined }, pino.destination({ dest: 2, sync: true }));
  const at = (each: keyof Log) => (data: object, text: string): void => {
    if (logger.isLevelEnabled(each)) logger[each](discreet(data), text);
  };
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

const secretName = /^(authorization|cookie|set-cookie|headers|body|raw|.*(token|secret|password|signature))$/i;
const depthMax = 6;

/** What of it may be written down. */
export function discreet(data: object): object {
  return kept(data, 0) as object;
}

function kept(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return masked(value);
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Error) return summary(value, depth);
  if (depth === depthMax) return '…';
  if (Array.isArray(value)) return value.slice(0, 50).map((each) => kept(each, depth + 1));
  const fields = Object.entries(value).filter(([name]) => !secretName.test(name));
  return Object.fromEntries(fields.map(([name, each]) => [masked(name), name === 'request' ? each : kept(each, depth + 1)]));
}

/** Name, message and causes; the stack only of what we did not throw on purpose. */
function summary(error: Error, depth: number): object {
  const expected = error.name === 'PortError' || error.name === 'Invalid';
  const cause = error.cause && depth < depthMax ? { cause: kept(error.cause, depth + 1) } : {};
  return { name: error.name, message: masked(error.message), ...cause, ...(expected ? {} : { stack: masked(error.stack ?? '') }) };
}

const lengthMax = 10_000;

/** In a time that grows with the length of the text alone: strangers may choose it. */
export function masked(text: string): string {
  const told = text
    .replace(/\/\/[^\s/@]*@/g, '//…@') // user and password of a URL
    .replace(/(?<![^\s"'<>(){}[\],;:=|/])[^\s"'<>(){}[\],;:=|/]+@[^\s"'<>(){}[\],;|]+/g, '…@…')
    .replace(/(?<![0-9a-z])([0-9a-z]{8})[0-9a-z]{18}(?![0-9a-z])/g, '$1…');
  return told.length > lengthMax ? `${told.slice(0, lengthMax)}…` : told;
}
