import type { Log } from '../../ports/index.ts';

export interface Line {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly data: object;
  readonly text: string;
}

/** A log that keeps its lines. */
export function createLog(): Log & { readonly lines: Line[] } {
  const lines: Line[] = [];
  const at = (level: Line['level']) => (data: object, text: string) => void lines.push({ level, data, text });
  return { lines, debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}
