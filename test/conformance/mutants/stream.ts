import { limits, type StreamEvent } from '../../../ports/index.ts';
import { drivers, idOf, instead, stream, type Mutant } from './mutant.ts';

const shifted = (positions: readonly StreamEvent[], events: readonly StreamEvent[]): StreamEvent[] => events.map((event, n) => ({ ...event, position: positions[n]!.position }));

export const streamMutants: readonly Mutant[] = [
  stream('reorders within a key', (driver) => ({
    append: (name, messages) => driver.append(name, messages.length > 2 ? [...messages].sort((a, b) => (a.id < b.id ? 1 : -1)) : messages),
  })),
  stream('reorders within a key when it reads', (driver) => ({
    async read(name, partition, options) {
      const batch = await driver.read(name, partition, options);
      return 'gap' in batch ? batch : { events: shifted(batch.events, [...batch.events].reverse()) };
    },
  })),
  stream('spreads a key over all partitions', (driver) => {
    let nth = 0;
    return {
      append: (name, messages) => driver.append(name, messages.map((message) => ({ ...message, partitionkey: `${message.partitionkey}${nth++ % 2}` }))),
      async read(name, partition, options) {
        const batch = await driver.read(name, partition, options);
        if ('gap' in batch) return batch;
        return { events: batch.events.map((event) => ('malformed' in event.message ? event : { ...event, partitionkey: event.message.subject, message: { ...event.message, partitionkey: event.message.subject } })) };
      },
    };
  }),
  drivers('stream', 'sends keys elsewhere after a restart', () => ({ stream: driver }, restarted) => ({
    stream: restarted ? { ...driver, append: (name, messages) => driver.append(name, messages.map((message) => ({ ...message, partitionkey: `${message.partitionkey}'` }))) } : driver,
  })),
  stream('drops an event that it has taken before', (driver) => {
    const known = new Set<string>();
    return {
      append(name, messages) {
        const fresh = messages.filter(({ id }) => !known.has(`${name} ${id}`));
        for (const { id } of fresh) known.add(`${name} ${id}`);
        return driver.append(name, fresh);
      },
    };
  }),
  stream('leaves a gap in a key: takes what follows a failure', (driver) => ({
    async append(name, messages) {
      const failures = [];
      for (const [index, message] of messages.entries()) failures.push(...(await driver.append(name, [message])).map((failure) => ({ ...failure, index })));
      return failures;
    },
  })),
  stream('throws for the whole batch because one event is too large', (driver) => ({
    async append(name, messages) {
      const failures = await driver.append(name, messages);
      if (failures[0]) throw failures[0].error;
      return failures;
    },
  })),
  stream('drops what is too large without a word', (driver) => ({ append: async (name, messages) => (await driver.append(name, messages), []) })),
  stream('names the wrong event as failed', (driver) => ({
    append: async (name, messages) => (await driver.append(name, messages)).map(({ index, error }) => ({ index: Math.max(0, index - 1), error })),
  })),
  stream('begins at the end without a position', (driver) => ({
    async read(name, partition, options) {
      if (options.after !== undefined) return driver.read(name, partition, options);
      const all = await driver.read(name, partition, { ...options, max: limits.batchMax });
      return 'gap' in all ? all : { events: all.events.slice(-1) };
    },
  })),
  stream('hands over the event at the position once more', (driver) => ({
    async read(name, partition, options) {
      if (options.after === undefined || !/^\d+$/.test(options.after) || Number(options.after) < 2) return driver.read(name, partition, options);
      const batch = await driver.read(name, partition, { ...options, after: String(Number(options.after) - 1) });
      return 'gap' in batch ? driver.read(name, partition, options) : batch;
    },
  })),
  stream('skips one event between two reads', (driver) => ({
    async read(name, partition, options) {
      const batch = await driver.read(name, partition, options);
      return 'gap' in batch || options.after === undefined || batch.events.length < 2 ? batch : { events: batch.events.slice(1) };
    },
  })),
  stream('checkpoints for its readers: hands over everything once', (driver) => {
    const read = new Map<string, number>();
    return {
      async read(name, partition, options) {
        const batch = await driver.read(name, partition, options);
        if ('gap' in batch) return batch;
        const last = read.get(`${name} ${partition}`) ?? 0;
        const events = batch.events.filter(({ position }) => Number(position) > last);
        if (events.length > 0) read.set(`${name} ${partition}`, Number(events.at(-1)!.position));
        return { events };
      },
    };
  }),
  stream('goes on from the earliest in silence instead of a gap', (driver) => ({
    async read(name, partition, options) {
      const batch = await driver.read(name, partition, options);
      const { after: _, ...rest } = options;
      return 'gap' in batch ? driver.read(name, partition, rest) : batch;
    },
  })),
  stream('takes a position that was never given out for the end', (driver) => ({
    async read(name, partition, options) {
      const batch = await driver.read(name, partition, options);
      return 'gap' in batch && !/^\d{1,9}$/.test(options.after ?? '') ? { events: [] } : batch;
    },
  })),
  stream('answers a gap to a reader who has read everything', (driver) => ({
    async read(name, partition, options) {
      const batch = await driver.read(name, partition, options);
      if ('gap' in batch || options.after === undefined) return batch;
      const { after: _, ...rest } = options;
      const all = await driver.read(name, partition, { ...rest, waitSeconds: 0, max: limits.batchMax });
      return 'events' in all && all.events.some(({ position }) => position === options.after) ? batch : { gap: true };
    },
  })),
  stream('returns an empty batch for a failure', (driver) => ({ read: (...args) => instead(driver.read(...args), { events: [] }, 'unavailable', 'throttled') })),
  stream('returns an empty batch for a partition that is not there', (driver) => ({ read: (...args) => instead(driver.read(...args), { events: [] }, 'missing') })),
  stream('makes a stream that is not there', (driver) => ({ append: (...args) => instead(driver.append(...args), [], 'missing') })),
  stream('leaks events of one stream into the other', (driver) => ({ read: (name, ...args) => driver.read(name === 'more' ? 'facts' : name, ...args) })),
  stream('leaks events of one partition into the other', (driver) => ({
    async read(name, partition, options) {
      const batch = await driver.read(name, partition, options);
      if (partition !== '0' || 'gap' in batch || batch.events.length > 0) return batch;
      return instead(driver.read(name, '1', { ...options, waitSeconds: 0 }), batch, 'missing');
    },
  })),
  stream('drops what nobody can read', (driver) => ({
    async read(name, partition, options) {
      const batch = await driver.read(name, partition, options);
      return 'gap' in batch ? batch : { events: batch.events.filter(({ message }) => !('malformed' in message)) };
    },
  })),
  stream('forgets the key of what nobody can read', (driver) => ({
    async read(name, partition, options) {
      const batch = await driver.read(name, partition, options);
      return 'gap' in batch ? batch : { events: batch.events.map((event) => ('malformed' in event.message ? { ...event, partitionkey: '' } : event)) };
    },
  })),
  drivers('stream', 'loses on restart what was appended last', () => {
    let last: string[] = [];
    const lost = new Set<string>();
    return ({ stream: driver }, restarted) => {
      if (restarted) for (const id of last) lost.add(id);
      return {
        stream: {
          ...driver,
          async append(name, messages) {
            const failures = await driver.append(name, messages);
            last = messages.map(({ id }) => id);
            return failures;
          },
          async read(name, partition, options) {
            const batch = await driver.read(name, partition, options);
            return 'gap' in batch ? batch : { events: batch.events.filter((event) => !lost.has(idOf(event))) };
          },
        },
      };
    };
  }),
  drivers('stream', 'numbers positions anew after a restart', () => {
    let restarts = 0;
    return ({ stream: driver }, restarted) => {
      if (restarted) restarts++;
      const shift = restarts * 7;
      return {
        stream: {
          ...driver,
          async read(name, partition, options) {
            const after = options.after !== undefined && /^\d{1,9}$/.test(options.after) ? String(Math.max(0, Number(options.after) - shift)) : options.after;
            const batch = await driver.read(name, partition, { ...options, ...(after === undefined ? {} : { after }) });
            return 'gap' in batch ? batch : { events: batch.events.map((event) => ({ ...event, position: String(Number(event.position) + shift) })) };
          },
        },
      };
    };
  }),
  stream('hands over one more than were asked for', (driver) => ({ read: (name, partition, options) => driver.read(name, partition, { ...options, max: options.max + 1 }) })),
  stream('wakes one reader of many', (driver) => {
    let waiting = 0;
    return {
      async read(name, partition, options) {
        if (options.waitSeconds === 0) return driver.read(name, partition, options);
        if (waiting++ > 0) return new Promise(() => {});
        return driver.read(name, partition, options).finally(() => waiting--);
      },
    };
  }),
];
