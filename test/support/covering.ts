/**
 * A COVERING SET: rows in which every pair of choices of any two factors stands together at least once. Far fewer than all rows, and what two choices do to each other is
 * found all the same (https://csrc.nist.gov/projects/automated-combinatorial-testing-for-software).
 */
export type Factors = Readonly<Record<string, readonly string[]>>;
export type Row = Readonly<Record<string, string>>;

/** Takes, again and again, the first row that brings the most pairs which no row has brought. */
export function coveringSet(factors: Factors): Row[] {
  const missing = new Set(allRows(factors).flatMap(pairsOf));
  const rows: Row[] = [];
  const all = allRows(factors).map((row) => ({ row, pairs: pairsOf(row) }));
  while (missing.size > 0) {
    const gains = all.map(({ pairs }) => pairs.filter((pair) => missing.has(pair)).length);
    const { row, pairs } = all[gains.indexOf(Math.max(...gains))]!;
    for (const pair of pairs) missing.delete(pair);
    rows.push(row);
  }
  return rows;
}

export function allRows(factors: Factors): Row[] {
  return Object.entries(factors).reduce<Row[]>((rows, [factor, choices]) => choices.flatMap((choice) => rows.map((row) => ({ ...row, [factor]: choice }))), [{}]);
}

export function pairsOf(row: Row): string[] {
  const chosen = Object.entries(row).map(([factor, choice]) => `${factor}=${choice}`);
  return chosen.flatMap((one, i) => chosen.slice(i + 1).map((other) => `${one} ${other}`));
}
