import { decode, isPortError, limits, type Message, type Received } from '../../../ports/index.ts';
import { drivers, idOf, instead, queue, type Mutant } from './mutant.ts';

export const queueMutants: readonly Mutant[] = [
  drivers('queue', 'never redelivers', () => {
    const seen = new Set<unknown>();
    return ({ queue: driver }) => ({
      queue: {
        ...driver,
        async receive(name, options) {
          const received = await driver.receive(name, options);
          const fresh = received.filter(({ attempts, message }) => attempts === 1 || !seen.has(JSON.stringify(message)));
          for (const { message } of received) seen.add(JSON.stringify(message));
          return fresh;
        },
      },
    });
  }),
  queue('gives a message up after ten receipts', (driver) => ({
    async receive(name, options) {
      const received = await driver.receive(name, options);
      return received.filter(({ attempts }) => attempts <= 10);
    },
  })),
  queue('settles on receipt', (driver) => ({
    async receive(name, options) {
      const received = await driver.receive(name, options);
      for (const each of received) await driver.remove(each);
      return received;
    },
    remove: async () => {},
  })),
  queue('acknowledges twice without a word', (driver) => ({ remove: (received) => instead(driver.remove(received), undefined, 'lockLost') })),
  drivers('queue', 'settles after the lock, as long as nobody else has the message', () => {
    return ({ queue: driver }) => {
      const late = new Set<string>();
      return {
        queue: {
          ...driver,
          async remove(received) {
            await driver.remove(received).catch((error: unknown) => {
              if (!isPortError(error, 'lockLost')) throw error;
              late.add(idOf(received));
            });
          },
          receive: async (name, options) => (await driver.receive(name, options)).filter((received) => !late.has(idOf(received))),
        },
      };
    };
  }),
  queue('says that a lock is lost, and settles all the same', (driver) => {
    const settled = new Set<string>();
    return {
      async remove(received) {
        await driver.remove(received).catch((error: unknown) => {
          settled.add(idOf(received));
          throw error;
        });
      },
      receive: async (name, options) => (await driver.receive(name, options)).filter((received) => !settled.has(idOf(received))),
    };
  }),
  queue('renews a lock that has run out', (driver) => ({ renew: (received) => instead(driver.renew(received), { ...received, lockedUntil: received.lockedUntil + 30_000 }, 'lockLost') })),
  queue('renews with nothing but a later time', () => ({ renew: async (received) => ({ ...received, lockedUntil: received.lockedUntil + 30_000 }) })),
  queue('says that a lock lasts longer than it does', (driver) => ({
    receive: async (name, options) => (await driver.receive(name, options)).map((received) => ({ ...received, lockedUntil: received.lockedUntil + 10_000 })),
  })),
  queue('counts every receipt as the first', (driver) => ({ receive: async (name, options) => (await driver.receive(name, options)).map((received) => ({ ...received, attempts: 1 })) })),
  queue('forgets the receipts that a copy has behind it', (driver) => ({ send: (name, messages, options) => driver.send(name, messages, { ...options, attempts: 0 }) })),
  queue('hands over at once what is delayed', (driver) => ({ send: (name, messages, options) => driver.send(name, messages, { ...options, delaySeconds: 0 }) })),
  queue('cuts a delay to the minute', (driver) => ({ send: (name, messages, options) => driver.send(name, messages, { ...options, delaySeconds: Math.min(60, options.delaySeconds) }) })),
  drivers('queue', 'drops a message that it has taken before', () => {
    const known = new Set<string>();
    return ({ queue: driver }) => ({
      queue: {
        ...driver,
        async send(name, messages, options) {
          const fresh = messages.filter(({ id }) => !known.has(`${name} ${id}`));
          for (const { id } of fresh) known.add(`${name} ${id}`);
          if (fresh.length > 0 || messages.length === 0) await driver.send(name, fresh, options);
        },
      },
    });
  }),
  drivers('queue', 'settles every copy of a message with one of them', () => {
    const done = new Set<string>();
    return ({ queue: driver }) => ({
      queue: {
        ...driver,
        async remove(received) {
          await driver.remove(received);
          done.add(idOf(received));
        },
        async receive(name, options) {
          const received = await driver.receive(name, options);
          return received.filter((each) => each.attempts === 1 || !done.has(idOf(each)));
        },
      },
    });
  }),
  queue('takes the messages before the one that is too large', (driver) => ({
    async send(name, messages, options) {
      for (const message of messages) await driver.send(name, [message], options);
      if (messages.length === 0) await driver.send(name, [], options);
    },
  })),
  queue('accepts one byte over the limit in silence, and cuts it off', (driver) => ({
    send: (name, messages, options) => driver.send(name, messages.map((message) => (JSON.stringify(message).length > limits.eventBytesMax ? { ...message, data: 'cut' } : message)), options),
  })),
  queue('drops what does not fit into ten', (driver) => ({ send: (name, messages, options) => driver.send(name, messages.slice(0, limits.batchMax - 1), options) })),
  queue('hands over one more than were asked for', (driver) => ({ receive: (name, options) => driver.receive(name, { ...options, max: options.max + 1 }) })),
  queue('drops what nobody can read', (driver) => ({
    async receive(name, options) {
      const received = await driver.receive(name, options);
      for (const each of received) if ('malformed' in each.message) await driver.remove(each);
      return received.filter(({ message }) => !('malformed' in message));
    },
  })),
  queue('throws for a message that nobody can read', (driver) => ({
    async receive(name, options) {
      const received = await driver.receive(name, options);
      for (const { message } of received) if ('malformed' in message) throw new SyntaxError('Unexpected token');
      return received;
    },
  })),
  queue('reads what nobody can read as something else', (driver) => ({
    receive: async (name, options) => (await driver.receive(name, options)).map((received) => ('malformed' in received.message ? { ...received, message: decode(received.message.raw.trim() || '{}') } : received)),
  })),
  queue('returns an empty list for a failure', (driver) => ({ receive: (name, options) => instead(driver.receive(name, options), [], 'unavailable', 'throttled') })),
  queue('returns an empty list for a queue that is not there', (driver) => ({ receive: (name, options) => instead(driver.receive(name, options), [], 'missing') })),
  queue('leaks messages of one queue into the other', (driver) => ({
    async receive(name, options) {
      const received = await driver.receive(name, options);
      return received.length > 0 || name !== 'other' ? received : (await driver.receive('work', { ...options, waitSeconds: 0 })).map((each) => ({ ...each, queue: 'other' }));
    },
  })),
  queue('takes a receipt of one queue on the other', (driver) => ({ remove: (received) => driver.remove(received).catch((error: unknown) => (received.queue === 'other' ? driver.remove({ ...received, queue: 'work' }) : Promise.reject(error))) })),
  drivers('queue', 'loses on restart what is delayed', () => {
    let delayed: string[] = [];
    return ({ queue: driver }, restarted) => {
      const lost = new Set(restarted ? delayed : []);
      return {
        queue: {
          ...driver,
          async send(name, messages, options) {
            await driver.send(name, messages, options);
            if (options.delaySeconds > 0) delayed = [...delayed, ...messages.map(({ id }) => id)];
          },
          receive: async (name, options) => (await driver.receive(name, options)).filter((received) => !lost.has(idOf(received))),
        },
      };
    };
  }),
  drivers('queue', 'loses on restart what somebody holds', () => {
    const held = new Set<string>();
    return ({ queue: driver }, restarted) => {
      const lost = new Set(restarted ? held : []);
      return {
        queue: {
          ...driver,
          async receive(name, options) {
            const received = (await driver.receive(name, options)).filter((each) => !lost.has(idOf(each)));
            for (const each of received) held.add(idOf(each));
            return received;
          },
        },
      };
    };
  }),
  drivers('queue', 'brings back on restart what was done', () => {
    const done: { name: string; message: Message }[] = [];
    return ({ queue: driver }, restarted) => {
      let back = restarted ? done.splice(0) : [];
      return {
        queue: {
          ...driver,
          async remove(received) {
            await driver.remove(received);
            if (!('malformed' in received.message)) done.push({ name: received.queue, message: received.message });
          },
          async receive(name, options) {
            for (const { name: where, message } of back.splice(0)) await driver.send(where, [message], { delaySeconds: 0, attempts: 0 });
            back = [];
            return driver.receive(name, options);
          },
        },
      };
    };
  }),
  queue('sleeps through a send', (driver) => ({
    receive: async (name, options) => {
      const found = await driver.receive(name, { ...options, waitSeconds: 0 });
      return found.length > 0 || options.waitSeconds === 0 || options.signal?.aborted ? found : new Promise<Received[]>(() => {});
    },
  })),
  queue('minds no signal', (driver) => ({ receive: (name, { signal: _, ...options }) => driver.receive(name, options) })),
];
