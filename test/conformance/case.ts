/**
 * CASES: the promises of a suite as plain values, which any runner can try, in any order, one at a time.
 */
export interface Case {
  readonly suite: string;
  /** What the case is about within its suite, or ''. */
  readonly group: string;
  /** A sentence that is true of everybody who passes. */
  readonly title: string;
  /** Why the family is not asked. */
  readonly skipped?: string;
  /** Makes a world of its own, tries the promise in it, and closes it. Rejects when the promise is broken. */
  run(): Promise<void>;
}

/** Cases that do not apply to a family, by title, with the reason, which is printed. */
export type Skips = Readonly<Record<string, string>>;

export interface Place {
  open(): Promise<void>;
  close(): Promise<void>;
}

export interface Book {
  group(name: string, tell: () => void): void;
  /** `needs`: the means that the family must offer to be asked at all. */
  promises(title: string, run: () => Promise<void>, ...needs: readonly unknown[]): void;
}

/** Collects what `tell` writes into the book. Throws for two cases with one title. */
export function casesOf(suite: string, family: { readonly name: string; readonly skips?: Skips }, place: Place, tell: (book: Book) => void): Case[] {
  const cases = new Map<string, Case>();
  let group = '';
  tell({
    group(name, inside) {
      group = name;
      inside();
      group = '';
    },
    promises(title, run, ...needs) {
      if (cases.has(title)) throw new Error(`two cases with one title: ${title}`);
      const skipped = family.skips?.[title] ?? (needs.includes(undefined) ? `${family.name} offers no means to arrange it` : undefined);
      cases.set(title, { suite, group, title, ...(skipped === undefined ? {} : { skipped }), run: () => inside(place, run) });
    },
  });
  return [...cases.values()];
}

async function inside(place: Place, run: () => Promise<void>): Promise<void> {
  await place.open();
  try {
    await run();
  } catch (error) {
    // What is wrong with the place afterwards matters less than what was wrong in it.
    await place.close().catch(() => undefined);
    throw error;
  }
  await place.close();
}

/** Hands the cases to mocha. Those that are skipped are printed with their reason. */
export function register(cases: readonly Case[]): void {
  for (const [suite, ofSuite] of groupedBy(cases, (each) => each.suite)) {
    describe(suite, () => {
      const skipped = ofSuite.filter((each) => each.skipped !== undefined);
      before(() => skipped.forEach((each) => console.log(`      - ${each.title} (skipped: ${each.skipped})`)));
      for (const [group, ofGroup] of groupedBy(ofSuite, (each) => each.group)) {
        const tell = (): void => ofGroup.filter((each) => each.skipped === undefined).forEach(({ title, run }) => it(title, run));
        if (group === '') tell();
        else describe(group, tell);
      }
    });
  }
}

function groupedBy<Item>(items: readonly Item[], nameOf: (item: Item) => string): Map<string, Item[]> {
  const groups = new Map<string, Item[]>();
  for (const item of items) {
    const group = groups.get(nameOf(item));
    if (group) group.push(item);
    else groups.set(nameOf(item), [item]);
  }
  return groups;
}
