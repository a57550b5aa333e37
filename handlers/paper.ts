/**
 * PAPER: text for people at a terminal, of some width, with colour or without. What comes from strangers is printed without its control characters, for terminals obey them.
 */
export interface Paper {
  /** In columns. */
  readonly width: number;
  readonly colour: boolean;
}

export type Ink = 'bold' | 'dim' | 'red' | 'green' | 'yellow';
const codes: Readonly<Record<Ink, readonly [number, number]>> = { bold: [1, 22], dim: [2, 22], red: [31, 39], green: [32, 39], yellow: [33, 39] };

export function ink({ colour }: Paper, kind: Ink, text: string): string {
  const [on, off] = codes[kind];
  return colour && text !== '' ? `\u001b[${on}m${text}\u001b[${off}m` : text;
}

/** Line ends and tabs become blanks, other control characters a dot. */
export const plain = (text: string): string => text.replaceAll(/\s+/g, ' ').replaceAll(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, '·');

const lengthOf = (text: string): number => [...text].length;

/** Cut to a length, with an ellipsis for what is missing. */
export function cut(text: string, length: number): string {
  const letters = [...text];
  return letters.length <= length ? text : `${letters.slice(0, Math.max(0, length - 1)).join('')}…`;
}

/** In lines of `width` at most, broken at blanks where there are any. Later lines are indented. */
export function wrap(text: string, width: number, indent = ''): string[] {
  const lines: string[] = [];
  let line = '';
  const room = (): number => Math.max(10, width - (lines.length === 0 ? 0 : indent.length));
  const end = (): void => {
    lines.push((lines.length === 0 ? '' : indent) + line);
    line = '';
  };
  for (let word of plain(text).split(' ')) {
    if (line !== '' && lengthOf(line) + 1 + lengthOf(word) > room()) end();
    while (lengthOf(word) > room() - (line === '' ? 0 : lengthOf(line) + 1)) {
      const letters = [...word];
      line = letters.slice(0, room()).join('');
      word = letters.slice(room()).join('');
      end();
    }
    line += (line === '' ? '' : ' ') + word;
  }
  if (line !== '' || lines.length === 0) end();
  return lines;
}

export interface Column {
  readonly head?: string;
  /** Numbers stand at the right. */
  readonly right?: true;
  readonly ink?: (cell: string) => Ink | undefined;
}

const gap = '  ';

/** Columns as wide as their widest cell; the last one takes what is left of the paper and is broken, not cut. */
export function table(paper: Paper, columns: readonly Column[], rows: readonly (readonly string[])[], indent = gap): string[] {
  const clean = rows.map((row) => row.map(plain));
  const last = columns.length - 1;
  const widths = columns.map(({ head = '' }, i) => Math.max(lengthOf(head), ...clean.map((row) => lengthOf(row[i] ?? ''))));
  const before = indent.length + widths.slice(0, last).reduce((sum, width) => sum + width + gap.length, 0);
  const room = Math.max(10, paper.width - before);
  const pad = (text: string, i: number): string => {
    const blanks = ' '.repeat(Math.max(0, widths[i]! - lengthOf(text)));
    return columns[i]!.right ? blanks + text : text + blanks;
  };
  const head = columns.map((column, i) => pad(column.head ?? '', i)).join(gap).trimEnd();
  const lines = head === '' ? [] : [indent + ink(paper, 'dim', head)];
  for (const row of clean) {
    const coloured = row.slice(0, last).map((cell, i) => shade(paper, columns[i]!, cell, pad(cell, i)));
    const [first = '', ...more] = columns[last]!.right ? [pad(row[last] ?? '', last)] : wrap(row[last] ?? '', room);
    lines.push((indent + [...coloured, shade(paper, columns[last]!, row[last] ?? '', first)].join(gap)).trimEnd());
    for (const line of more) lines.push(' '.repeat(before) + line);
  }
  return lines;
}

function shade(paper: Paper, column: Column, cell: string, text: string): string {
  const kind = column.ink?.(cell);
  return kind ? ink(paper, kind, text) : text;
}

/** A heading and what is below it, with an empty line before. */
export const section = (paper: Paper, title: string, lines: readonly string[]): string[] => (lines.length === 0 ? [] : ['', ink(paper, 'bold', title), ...lines]);

/** JSON as a person reads it. */
export function json(value: unknown, indent = gap): string[] {
  return (JSON.stringify(value, null, 2) ?? '').split('\n').map((line) => indent + line.replaceAll(/[\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, '·'));
}

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
/** `23 Nov 04:47`, in UTC like all that is stored. */
export const shortTime = (at: string): string => `${at.slice(8, 10)} ${months[Number(at.slice(5, 7)) - 1] ?? '???'} ${at.slice(11, 16)}`;
/** `2026-11-23 04:47:39` */
export const longTime = (at: string): string => (at === '' ? 'at some time' : at.slice(0, 19).replace('T', ' '));
/** Of an order's id the eight letters that stand in letters and in the log, too. */
export const shortId = (id: string): string => (/^[0-9a-z]{26}$/.test(id) ? id.slice(0, 8) : cut(id, 20));

export const count = (n: number, one: string, many = `${one}s`): string => `${n === 0 ? 'no' : n.toLocaleString('en-GB')} ${n === 1 ? one : many}`;
