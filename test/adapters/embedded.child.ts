/** Commits, appends and sends without end in the folder that it is told, and says each acknowledgement in one line. Its test kills it. */
import { writeSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';
import { openEmbedded } from '../../adapters/embedded/index.ts';
import type { Message } from '../../ports/index.ts';

const clock = { now: () => Date.now(), sleep: async (milliseconds: number) => void (await wait(milliseconds)) };
const [dataDir = '', run = ''] = process.argv.slice(2);
const { store, queue, stream } = await openEmbedded({ dataDir, clock, queues: ['work'], streams: ['facts'] });

async function caller(n: number): Promise<void> {
  for (let i = 0; ; i++) {
    const id = `${run}-${n}-${i}`;
    await store.commit('orders~00', ['a', 'b', 'c'].map((part) => ({ op: 'create', key: `${id}|${part}`, body: `"${'x'.repeat(700)}"` })));
    writeSync(1, `commit ${id}\n`);
    await stream.append('facts', [message(id)]);
    writeSync(1, `append ${id}\n`);
    await queue.send('work', [message(id)], { delaySeconds: 0, attempts: 0 });
    writeSync(1, `send ${id}\n`);
  }
}

function message(id: string): Message {
  const time = '2026-11-22T12:00:00.000Z';
  return { specversion: '1.0', id, source: '/test', type: 'Said', subject: id, time, partitionkey: id, sequence: '0000000001', dataversion: '1', data: {} };
}

await Promise.all(Array.from({ length: 16 }, (_, n) => caller(n)));
