/**
 * SORTED KEYS: a set of strings in order (by code unit), for stores and schedules.
 *
 * Keys stand in blocks of at most `blockMax`, so that an insertion moves a few hundred pointers however many keys there are: one flat array would make a commit
 * ten times dearer at 100,000 rows than at 1,000.
 */
export interface SortedKeys {
  /** The key must not be there yet. */
  add(key: string): void;
  /** A key that is not there is left alone. */
  delete(key: string): void;
  /** Visits keys in order, the first that is not below `from` first, until the visitor answers false. The set must not be changed meanwhile. */
  scan(from: string, visit: (key: string) => boolean): void;
  first(): string | undefined;
}

const blockMax = 512;

export function createSortedKeys(): SortedKeys {
  /** None of them is empty. */
  const blocks: string[][] = [];

  /** The last block that begins at or before the key; the first one if none does. */
  function blockOf(key: string): number {
    let low = 0;
    let high = blocks.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (blocks[middle]![0]! <= key) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  return {
    add(key) {
      const nth = blockOf(key);
      const block = blocks[nth];
      if (!block) return void blocks.push([key]);
      const last = block.length - 1;
      if (key > block[last]!) block.push(key);
      else block.splice(placeOf(block, key), 0, key);
      if (block.length > blockMax) blocks.splice(nth + 1, 0, block.splice(block.length >>> 1));
    },

    delete(key) {
      const nth = blockOf(key);
      const block = blocks[nth];
      if (!block) return;
      const place = placeOf(block, key);
      if (block[place] !== key) return;
      block.splice(place, 1);
      if (block.length === 0) blocks.splice(nth, 1);
    },

    scan(from, visit) {
      let nth = blockOf(from);
      let place = blocks[nth] ? placeOf(blocks[nth]!, from) : 0;
      for (; nth < blocks.length; nth++, place = 0) {
        const block = blocks[nth]!;
        for (; place < block.length; place++) if (!visit(block[place]!)) return;
      }
    },

    first: () => blocks[0]?.[0],
  };
}

/** Where the key stands, or would stand. */
function placeOf(block: readonly string[], key: string): number {
  let low = 0;
  let high = block.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (block[middle]! < key) low = middle + 1;
    else high = middle;
  }
  return low;
}
