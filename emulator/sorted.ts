/**
 * A set kept in order: adding, removing, the first, and walking from anywhere take a logarithm of its size and a move within one small chunk, however many there are.
 * Two items of which neither comes first are the same item to it. What an item is compared by must not change while it is in the set.
 */
export interface Sorted<T> {
  readonly size: number;
  /** False if it was there. */
  add(item: T): boolean;
  /** False if it was not there. */
  remove(item: T): boolean;
  first(): T | undefined;
  /** In order, beginning with the first that does not come before the probe; the set must not be changed on the way. */
  from(probe: T): IterableIterator<T>;
  /** All in order; the set must not be changed on the way. */
  [Symbol.iterator](): IterableIterator<T>;
}

const chunkMax = 256;

/** The first index at which `late` holds; it must be false up to there and true from there. */
function search(length: number, late: (index: number) => boolean): number {
  let low = 0;
  let high = length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (late(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}

export function createSorted<T>(compare: (a: T, b: T) => number): Sorted<T> {
  /** None of them empty. */
  const chunks: T[][] = [];
  let size = 0;

  /** The chunk in which the item is or would be: the first whose last does not come before it. */
  const chunkOf = (item: T): number => search(chunks.length, (index) => compare(chunks[index]!.at(-1)!, item) >= 0);
  const placeIn = (chunk: T[], item: T): number => search(chunk.length, (index) => compare(chunk[index]!, item) >= 0);

  function append(item: T): void {
    const last = chunks.at(-1);
    if (last !== undefined && last.length < chunkMax) last.push(item);
    else chunks.push([item]);
  }

  function* walk(chunkIndex: number, place: number): IterableIterator<T> {
    for (let start = place; chunkIndex < chunks.length; chunkIndex++, start = 0) {
      const chunk = chunks[chunkIndex]!;
      for (let index = start; index < chunk.length; index++) yield chunk[index]!;
    }
  }

  return {
    get size() {
      return size;
    },

    add(item) {
      const index = chunkOf(item);
      const chunk = chunks[index];
      if (chunk === undefined) {
        append(item);
      } else {
        const place = placeIn(chunk, item);
        if (compare(chunk[place]!, item) === 0) return false;
        chunk.splice(place, 0, item);
        if (chunk.length > chunkMax) chunks.splice(index + 1, 0, chunk.splice(chunkMax / 2));
      }
      size++;
      return true;
    },

    remove(item) {
      const index = chunkOf(item);
      const chunk = chunks[index];
      if (chunk === undefined) return false;
      const place = placeIn(chunk, item);
      if (compare(chunk[place]!, item) !== 0) return false;
      chunk.splice(place, 1);
      if (chunk.length === 0) chunks.splice(index, 1);
      size--;
      return true;
    },

    first: () => chunks[0]?.[0],

    from(probe) {
      const index = chunkOf(probe);
      return walk(index, index < chunks.length ? placeIn(chunks[index]!, probe) : 0);
    },

    [Symbol.iterator]: () => walk(0, 0),
  };
}
