import { PortError, isPortError, limits, type RawRow } from '../../../ports/index.ts';
import { drivers, instead, store, type Mutant } from './mutant.ts';

export const storeMutants: readonly Mutant[] = [
  store('returns absent for a failed get', (driver) => ({ get: (...args) => instead(driver.get(...args), undefined, 'unavailable', 'throttled') })),
  store('returns an empty page for a failed query', (driver) => ({ query: (...args) => instead(driver.query(...args), { rows: [] }, 'unavailable', 'throttled') })),
  store('acknowledges a commit that failed', (driver) => ({ commit: (partition, writes) => instead(driver.commit(partition, writes), writes.map(() => '1'), 'unavailable') })),
  store('ignores the version of a replace', (driver) => ({
    commit: async (partition, writes) => driver.commit(partition, await Promise.all(writes.map(async (write) =>
      write.op === 'replace' ? { ...write, version: (await driver.get(partition, write.key))?.version ?? write.version } : write))),
  })),
  store('ignores the version of a delete', (driver) => ({
    commit: async (partition, writes) => driver.commit(partition, await Promise.all(writes.map(async (write) =>
      write.op === 'delete' ? { ...write, version: (await driver.get(partition, write.key))?.version ?? write.version } : write))),
  })),
  store('takes a delete of what is not there for done', (driver) => ({
    async commit(partition, writes) {
      const there = await Promise.all(writes.map(async (write) => write.op !== 'delete' || (await driver.get(partition, write.key)) !== undefined));
      const versions = await driver.commit(partition, writes.filter((_, n) => there[n]));
      return writes.map((_, n) => (there[n] ? versions.shift()! : ''));
    },
  })),
  store('creates over what is there', (driver) => ({
    commit: async (partition, writes) => driver.commit(partition, await Promise.all(writes.map(async (write) => {
      const row = write.op === 'create' ? await driver.get(partition, write.key) : undefined;
      return row && write.op === 'create' ? { ...write, op: 'replace' as const, version: row.version } : write;
    }))),
  })),
  store('commits row by row, and stops at the first conflict', (driver) => ({
    async commit(partition, writes) {
      const versions: string[] = [];
      for (const write of writes) versions.push(...(await driver.commit(partition, [write])));
      return versions;
    },
  })),
  store('cuts a commit into transactions of half its size', (driver) => ({
    async commit(partition, writes) {
      if (writes.length < 50) return driver.commit(partition, writes);
      const half = Math.ceil(writes.length / 2);
      return [...(await driver.commit(partition, writes.slice(0, half))), ...(await driver.commit(partition, writes.slice(half)))];
    },
  })),
  store('forgets the key of a conflict', (driver) => ({
    commit: (...args) => driver.commit(...args).catch((error: unknown) => Promise.reject(isPortError(error, 'conflict') ? new PortError('conflict', 'a condition failed') : error)),
  })),
  store('calls a conflict unavailable', (driver) => ({
    commit: (...args) => driver.commit(...args).catch((error: unknown) => Promise.reject(isPortError(error, 'conflict') ? new PortError('unavailable', 'transaction cancelled') : error)),
  })),
  store('retries a commit and reports the second answer', (driver) => ({
    commit: (partition, writes) => driver.commit(partition, writes).then((versions) => (writes.length > 2 ? driver.commit(partition, writes) : versions)),
  })),
  store('answers the versions of the writes in the order of their keys', (driver) => ({
    async commit(partition, writes) {
      const sorted = [...writes].sort((a, b) => (a.key < b.key ? -1 : 1));
      return driver.commit(partition, sorted);
    },
  })),
  drivers('store', 'counts the versions of each row from 1', () => {
    /** Inner version to what is shown, by partition, key and inner version. */
    const shown = new Map<string, string>();
    const counts = new Map<string, number>();
    return ({ store: driver }) => {
      const face = (partition: string, row: RawRow): RawRow => ({ ...row, version: shown.get(`${partition} ${row.key} ${row.version}`) ?? row.version });
      return {
        store: {
          get: async (partition, key) => {
            const row = await driver.get(partition, key);
            return row && face(partition, row);
          },
          async query(partition, query) {
            const page = await driver.query(partition, query);
            return { ...page, rows: page.rows.map((row) => face(partition, row)) };
          },
          async commit(partition, writes) {
            const inner = await Promise.all(writes.map(async (write) => {
              const row = write.op === 'create' ? undefined : await driver.get(partition, write.key);
              return write.op !== 'create' && row && face(partition, row).version === write.version ? { ...write, version: row.version } : write;
            }));
            const versions = await driver.commit(partition, inner);
            return versions.map((version, n) => {
              const { op, key } = writes[n]!;
              const count = op === 'replace' ? counts.get(`${partition} ${key}`)! + 1 : 1;
              counts.set(`${partition} ${key}`, count);
              shown.set(`${partition} ${key} ${version}`, String(count));
              return version && String(count);
            });
          },
        },
      };
    };
  }),
  store('makes the version of the body alone', (driver) => {
    const hash = (body: string): string => `"${body.length}-${body}"`.slice(0, 60);
    return {
      get: async (partition, key) => {
        const row = await driver.get(partition, key);
        return row && { ...row, version: hash(row.body) };
      },
      query: async (partition, query) => {
        const page = await driver.query(partition, query);
        return { ...page, rows: page.rows.map((row) => ({ ...row, version: hash(row.body) })) };
      },
      async commit(partition, writes) {
        const inner = await Promise.all(writes.map(async (write) => {
          const row = write.op === 'create' ? undefined : await driver.get(partition, write.key);
          return write.op !== 'create' && row && hash(row.body) === write.version ? { ...write, version: row.version } : write;
        }));
        await driver.commit(partition, inner);
        return writes.map((write) => (write.op === 'delete' ? '' : hash(write.body)));
      },
    };
  }),
  store('leaks rows of one partition into another', (driver) => {
    const one = (partition: string): string => (partition === 'order~01' ? 'order~00' : partition);
    return { get: (partition, key) => driver.get(one(partition), key), query: (partition, query) => driver.query(one(partition), query), commit: (partition, writes) => driver.commit(one(partition), writes) };
  }),
  store('takes no notice of case in the name of a partition', (driver) => ({
    get: (partition, key) => driver.get(partition.toLowerCase(), key),
    query: (partition, query) => driver.query(partition.toLowerCase(), query),
    commit: (partition, writes) => driver.commit(partition.toLowerCase(), writes),
  })),
  store('takes no notice of case in a key', (driver) => ({
    get: (partition, key) => driver.get(partition, key.toLowerCase()),
    commit: (partition, writes) => driver.commit(partition, writes.map((write) => ({ ...write, key: write.key.toLowerCase() }))),
  })),
  drivers('store', 'loses on restart what was committed last', () => {
    let last: { partition: string; keys: string[] } | undefined;
    const lost = new Set<string>();
    return ({ store: driver }, restarted) => {
      if (restarted && last) for (const key of last.keys) lost.add(`${last.partition} ${key}`);
      return {
        store: {
          get: async (partition, key) => (lost.has(`${partition} ${key}`) ? undefined : driver.get(partition, key)),
          async query(partition, query) {
            const page = await driver.query(partition, query);
            return { ...page, rows: page.rows.filter(({ key }) => !lost.has(`${partition} ${key}`)) };
          },
          async commit(partition, writes) {
            const versions = await driver.commit(partition, writes);
            last = { partition, keys: writes.map(({ key }) => key) };
            return versions;
          },
        },
      };
    };
  }),
  store('takes the last row of a page twice', (driver) => ({
    async query(partition, query) {
      const page = await driver.query(partition, query);
      const before = page.rows.at(-2);
      return page.next !== undefined && before && page.rows.length > 2 ? { rows: page.rows, next: before.key } : page;
    },
  })),
  store('pages by counting: what goes between two pages shifts the rest', (driver) => ({
    async query(partition, { cursor, ...query }) {
      const from = Number(cursor ?? 0);
      const { rows } = await driver.query(partition, { ...query, limit: 1_000_000 });
      const page = rows.slice(from, from + query.limit);
      return from + query.limit < rows.length ? { rows: page, next: String(from + query.limit) } : { rows: page };
    },
  })),
  drivers('store', 'pages through a snapshot of the first page', () => {
    const snapshots = new Map<string, RawRow[]>();
    return ({ store: driver }) => ({
      store: {
        ...driver,
        async query(partition, { cursor, ...query }) {
          const [id = String(snapshots.size), from = '0'] = cursor?.split(' ') ?? [];
          if (!snapshots.has(id)) snapshots.set(id, (await driver.query(partition, { ...query, limit: 1_000_000 })).rows);
          const rows = snapshots.get(id)!;
          const to = Number(from) + query.limit;
          return to < rows.length ? { rows: rows.slice(Number(from), to), next: `${id} ${to}` } : { rows: rows.slice(Number(from)) };
        },
      },
    });
  }),
  store('ends with the first short page', (driver) => ({
    async query(partition, query) {
      const { rows, next } = await driver.query(partition, { ...query, limit: Math.min(query.limit, 25) });
      return rows.length < query.limit ? { rows } : { rows, ...(next === undefined ? {} : { next }) };
    },
  })),
  store('begins at the key and not behind it', (driver) => ({
    query: (partition, { after, ...query }) => driver.query(partition, { ...query, ...(after === undefined ? {} : { after: after.slice(0, -1) }) }),
  })),
  store('takes a prefix for a pattern', (driver) => ({
    async query(partition, query) {
      const pattern = new RegExp(`^${query.prefix.replaceAll('|', '\\|').replaceAll('_', '.')}`);
      const { rows } = await driver.query(partition, { ...query, prefix: query.prefix.split('_')[0]!, limit: 1_000_000 });
      return { rows: rows.filter(({ key }) => pattern.test(key)).slice(0, query.limit) };
    },
  })),
  store('ends a prefix at the last letter that one can think of', (driver) => ({
    async query(partition, query) {
      const page = await driver.query(partition, query);
      return { ...page, rows: page.rows.filter(({ key }) => key < `${query.prefix}\uffff`) };
    },
  })),
  store('sorts rows as a person would', (driver) => ({
    async query(partition, query) {
      const page = await driver.query(partition, query);
      return { ...page, rows: [...page.rows].sort((a, b) => a.key.localeCompare(b.key, 'en')) };
    },
  })),
  store('cuts a long body in silence', (driver) => ({
    commit: (partition, writes) => driver.commit(partition, writes.map((write) => (write.op === 'delete' || write.body.length <= 100_000 ? write : { ...write, body: `${write.body.slice(0, 99_999)}"` }))),
  })),
  store('drops the rows beyond the limit of a commit in silence', (driver) => ({
    async commit(partition, writes) {
      const versions = await driver.commit(partition, writes.slice(0, limits.rowsPerCommitMax - 1));
      return writes.map((_, n) => versions[n] ?? '1');
    },
  })),
  drivers('store', 'reads what was true a moment ago', () => {
    const before = new Map<string, RawRow | undefined>();
    return ({ store: driver }) => ({
      store: {
        ...driver,
        async get(partition, key) {
          const place = `${partition} ${key}`;
          const row = await driver.get(partition, key);
          if (!before.has(place)) return row;
          const stale = before.get(place);
          before.delete(place);
          return stale;
        },
        async commit(partition, writes) {
          for (const { op, key } of writes) if (op === 'replace') before.set(`${partition} ${key}`, await driver.get(partition, key));
          return driver.commit(partition, writes);
        },
      },
    });
  }),
];
