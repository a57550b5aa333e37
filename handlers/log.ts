import { pino } from 'pino';
import type { Log } from '../ports/index.ts';

/** Structured lines on standard error. What could be a secret is taken out, whoever hands it over. */
export function createLog(level: string): Log {
  return pino(
    {
      level,
      base: undefined,
      serializers: { error: summary },
      redact: { paths: ['authorization', 'token', 'secret', 'password', '*.authorization', '*.token', '*.secret', '*.password', 'headers'], remove: true },
    },
    pino.destination({ dest: 2, sync: true }),
  );
}

/** Name, message and causes; the stack only of what we did not throw on purpose. */
function summary(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const expected = error.name === 'PortError' || error.name === 'Invalid';
  return { name: error.name, message: error.message, ...(error.cause ? { cause: summary(error.cause) } : {}), ...(expected ? {} : { stack: error.stack }) };
}
