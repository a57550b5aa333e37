import { Defect, PortError, isPortError, limits, type Outgoing, type OutboxRow, type Page, type Query, type Row, type Store, type Write } from '../../ports/index.ts';
import { rowsOf } from './list.ts';

/**
 * TURNS: within one process, works that touch one partition take turns, and those that wait share a commit. So neighbours do not meet in conflicts, a hot row is not
 * fought for, and a loaded partition costs fewer commits the more is asked of it.
 *
 * - Each work reads through a `Reader` that shows it what its elder neighbours of the same commit are about to write. So what is committed is what would have come of
 *   them one after the other.
 * - A work that throws, or that does not fit any more (100 rows a commit), takes nothing of its neighbours with it.
 * - Across processes nothing has changed: a condition that fails is a conflict. Then each work of the commit is done again alone, so that only the one to blame fails.
 */
export type Reader = Pick<Store, 'get' | 'query'>;

export interface Work<T> {
  /** Rows that it will read: fetched together, before the turn begins. */
  readonly keys: readonly string[];
  readonly run: (reader: Reader) => Promise<Change<T>>;
}

export interface Change<T> {
  readonly result: T;
  readonly writes?: readonly Write[];
  readonly outgoing?: readonly Outgoing[];
}

export interface Done<T> {
  readonly result: T;
  readonly outbox: readonly OutboxRow[];
}

/** Does the work in its turn. Throws what the work throws, or the failure of its commit. A work that changes nothing commits nothing. */
export function inTurn<T>(store: Store, partition: string, work: Work<T>): Promise<Done<T>> {
  const place = placeOf(store, partition);
  if (!place.busy) return atOnce(store, partition, place, work);
  return new Promise<Done<T>>((resolve, reject) => {
    place.waiting.push({ work: work as Work<unknown>, resolve: resolve as (done: Done<unknown>) => void, reject });
  });
}

interface Waiting {
  readonly work: Work<unknown>;
  readonly resolve: (done: Done<unknown>) => void;
  readonly reject: (error: unknown) => void;
}
interface Place {
  readonly waiting: Waiting[];
  busy: boolean;
}
/** One set of turns for each store that was opened: two of them in one process are as two processes. */
const turns = new WeakMap<Store, Map<string, Place>>();

function placeOf(store: Store, partition: string): Place {
  let places = turns.get(store);
  if (!places) turns.set(store, (places = new Map()));
  let place = places.get(partition);
  if (!place) places.set(partition, (place = { waiting: [], busy: false }));
  return place;
}

const worksMax = 64;

/** Nobody is before it; those who come meanwhile are served afterwards. */
async function atOnce<T>(store: Store, partition: string, place: Place, work: Work<T>): Promise<Done<T>> {
  place.busy = true;
  try {
    return await commitAlone(store, partition, work);
  } finally {
    if (place.waiting.length > 0) void serve(store, partition, place);
    else place.busy = false;
  }
}

async function serve(store: Store, partition: string, place: Place): Promise<void> {
  while (place.waiting.length > 0) {
    const batch = place.waiting.splice(0, worksMax);
    if (batch.length === 1) await settle(store, partition, batch[0]!);
    else place.waiting.unshift(...(await commitTogether(store, partition, batch)));
  }
  place.busy = false;
}

const settle = (store: Store, partition: string, { work, resolve, reject }: Waiting): Promise<void> => commitAlone(store, partition, work).then(resolve, reject);

async function commitAlone<T>(store: Store, partition: string, work: Work<T>): Promise<Done<T>> {
  const { result, writes = [], outgoing = [] } = await work.run(store);
  if (writes.length === 0 && outgoing.length === 0) return { result, outbox: [] };
  const { outbox } = await store.commit(partition, { writes, outgoing });
  return { result, outbox };
}

interface Ready {
  readonly waiting: Waiting;
  readonly result: unknown;
  readonly outgoing: readonly Outgoing[];
}

/** One commit of as many works as fit; answers those that did not. */
async function commitTogether(store: Store, partition: string, batch: readonly Waiting[]): Promise<Waiting[]> {
  const overlay = createOverlay(store, partition);
  await overlay.fetch(batch.flatMap(({ work }) => work.keys));
  const ready: Ready[] = [];
  let said = 0;
  let next = 0;
  for (; next < batch.length; next++) {
    const waiting = batch[next]!;
    const before = overlay.mark();
    try {
      const { result, writes = [], outgoing = [] } = await waiting.work.run(overlay.reader);
      overlay.stage(writes);
      if (ready.length > 0 && overlay.size() + said + outgoing.length > limits.rowsPerCommitMax) {
        overlay.reset(before);
        break;
      }
      said += outgoing.length;
      ready.push({ waiting, result, outgoing });
    } catch (error) {
      overlay.reset(before);
      // Perhaps only because of what its neighbours are about to write: it is asked again when that is known.
      if (ready.length > 0) break;
      waiting.reject(error);
    }
  }
  const rest = batch.slice(next);
  try {
    const { outbox } = await store.commit(partition, { writes: overlay.writes(), outgoing: ready.flatMap(({ outgoing }) => outgoing) });
    let from = 0;
    for (const { waiting, result, outgoing } of ready) waiting.resolve({ result, outbox: outbox.slice(from, (from += outgoing.length)) });
  } catch (error) {
    // A store that is sick blames nobody, and after an unknown outcome each looks for itself. Else one of them is to blame: each again, alone.
    if (isPortError(error, 'unavailable', 'throttled')) for (const { waiting } of ready) waiting.reject(error);
    else for (const { waiting } of ready) await settle(store, partition, waiting);
  }
  return rest;
}

interface Entry {
  /** As it stands in the store; absent: it is not there. */
  readonly origin: Row | undefined;
  /** As it will be; absent: deleted, or not there. */
  readonly row: Row | undefined;
}

/** The partition as it will be when what is staged has been committed. */
function createOverlay(store: Store, partition: string) {
  const read = new Map<string, Promise<Row | undefined>>();
  const staged = new Map<string, Entry>();
  /** What stood in `staged` before each change of it, youngest last. */
  const undo: (readonly [string, Entry | undefined])[] = [];
  let count = 0;

  function fetched(rowKey: string): Promise<Row | undefined> {
    let row = read.get(rowKey);
    if (!row) read.set(rowKey, (row = store.get(partition, rowKey)));
    return row;
  }

  const reader: Reader = {
    async get<Body>(where: string, rowKey: string) {
      mustBe(where);
      const entry = staged.get(rowKey);
      return (entry ? entry.row : await fetched(rowKey)) as Row<Body> | undefined;
    },
    async query<Body>(where: string, query: Query): Promise<Page<Body>> {
      mustBe(where);
      const touched = [...staged].filter(([rowKey]) => rowKey.startsWith(query.prefix) && (query.after === undefined || rowKey > query.after));
      if (touched.length === 0) return store.query<Body>(where, query);
      const stored: Row<Body>[] = [];
      for await (const row of rowsOf<Body>(store, where, query.prefix, 1_000, query.after)) stored.push(row);
      return { rows: merged(stored, touched) };
    },
  };

  function mustBe(where: string): void {
    if (where !== partition) throw new Defect('a turn is about one partition');
  }

  function stageOne(write: Write): void {
    const known = staged.get(write.key);
    const now = known?.row;
    if (write.op === 'create') {
      if (now) throw new PortError('conflict', `create of ${write.key}`, { key: write.key });
      return change(write.key, known, { origin: known?.origin, row: fresh(write.key, write.body) });
    }
    if (known && now?.version !== write.version) throw new PortError('conflict', `${write.op} of ${write.key}`, { key: write.key });
    const origin = known ? known.origin : { key: write.key, version: write.version, body: undefined };
    change(write.key, known, { origin, row: write.op === 'delete' ? undefined : fresh(write.key, write.body) });
  }

  function change(rowKey: string, before: Entry | undefined, now: Entry): void {
    undo.push([rowKey, before]);
    staged.set(rowKey, now);
  }

  function reset(to: number): void {
    while (undo.length > to) {
      const [rowKey, before] = undo.pop()!;
      if (before) staged.set(rowKey, before);
      else staged.delete(rowKey);
    }
  }

  /** A version that no store has: it says that the row is only staged. */
  const fresh = (rowKey: string, body: unknown): Row => ({ key: rowKey, version: `staged ${++count}`, body });

  return {
    reader,
    fetch: async (keys: readonly string[]): Promise<void> => void (await Promise.allSettled(keys.map(fetched))),
    /** Throws `conflict` when a neighbour has written what was not read from it. */
    stage: (writes: readonly Write[]): void => writes.forEach(stageOne),
    mark: (): number => undo.length,
    reset,
    size: (): number => staged.size,
    writes: (): Write[] =>
      [...staged].flatMap(([rowKey, { origin, row }]): Write[] => {
        if (origin) return [row ? { op: 'replace', key: rowKey, version: origin.version, body: row.body } : { op: 'delete', key: rowKey, version: origin.version }];
        return row ? [{ op: 'create', key: rowKey, body: row.body }] : [];
      }),
  };
}

function merged<Body>(stored: readonly Row<Body>[], touched: readonly (readonly [string, Entry])[]): Row<Body>[] {
  const rows = new Map(stored.map((row) => [row.key, row]));
  for (const [rowKey, { row }] of touched) {
    if (row) rows.set(rowKey, row as Row<Body>);
    else rows.delete(rowKey);
  }
  return [...rows.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
}
