/**
 * THE SCHEDULE of a simulation: what happens when, in virtual milliseconds. Nothing runs by itself: everything that happens is an event of this one heap, and events of
 * one time run in the order in which they were planned. So the same plan is the same run.
 *
 * After each event all promises that it has set in motion come to rest before the next one begins; that is one turn of `setImmediate`, and several are queued at once,
 * since a turn of the whole event loop costs more than most events.
 */
export interface Schedule {
  now(): number;
  at(time: number, run: () => void): Planned;
  /** So many milliseconds from now. */
  in(milliseconds: number, run: () => void): Planned;
  /** Runs events until nothing is planned, the time is over, or `done`. Answers why it ended. */
  run(until: number, done: () => boolean): Promise<'done' | 'late' | 'empty'>;
  events(): number;
}

export interface Planned {
  readonly time: number;
  readonly nth: number;
  run: (() => void) | undefined;
}

/** It will not happen. It stays in the heap until its time, and costs nothing then. */
export function cancel(planned: Planned): void {
  planned.run = undefined;
}

const turnsAtOnce = 64;

export function createSchedule(start: number): Schedule {
  const heap: Planned[] = [];
  let now = start;
  let count = 0;
  let ran = 0;

  function at(time: number, run: () => void): Planned {
    const planned: Planned = { time: Math.max(time, now), nth: count++, run };
    push(heap, planned);
    return planned;
  }

  /** The next one that will happen. */
  function next(): Planned | undefined {
    while (heap.length > 0 && !heap[0]!.run) pop(heap);
    return heap[0];
  }

  return {
    now: () => now,
    at,
    in: (milliseconds, run) => at(now + milliseconds, run),
    events: () => ran,
    run: (until, done) =>
      new Promise((resolve) => {
        let ended = false;
        let left = 0;
        const end = (why: 'done' | 'late' | 'empty'): void => {
          ended = true;
          resolve(why);
        };
        function refill(): void {
          left = turnsAtOnce;
          for (let i = 0; i < turnsAtOnce; i++) setImmediate(turn);
        }
        function turn(): void {
          left--;
          if (ended) return;
          if (done()) return end('done');
          const first = next();
          if (!first) return end('empty');
          if (first.time > until) {
            now = until;
            return end('late');
          }
          pop(heap);
          now = first.time;
          ran++;
          first.run!();
          if (left === 0) refill();
        }
        refill();
      }),
  };
}

const before = (one: Planned, other: Planned): boolean => one.time < other.time || (one.time === other.time && one.nth < other.nth);

function push(heap: Planned[], item: Planned): void {
  let place = heap.length;
  heap.push(item);
  while (place > 0) {
    const parent = (place - 1) >>> 1;
    if (before(heap[parent]!, item)) break;
    heap[place] = heap[parent]!;
    place = parent;
  }
  heap[place] = item;
}

function pop(heap: Planned[]): void {
  const last = heap.pop()!;
  if (heap.length === 0) return;
  let place = 0;
  for (;;) {
    let child = 2 * place + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
    if (before(last, heap[child]!)) break;
    heap[place] = heap[child]!;
    place = child;
  }
  heap[place] = last;
}
