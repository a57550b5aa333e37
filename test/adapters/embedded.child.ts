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
    say(`commit ${id}`);
    await stream.append('facts', [message(id)]);
    say(`append ${id}`);
    await queue.send('work', [message(id)], { delaySeconds: 0, attempts: 0 });
    say(`send ${id}`);
  }
}

/** Whole and at once, before the next work begins. A pipe that its reader has not emptied yet takes nothing: then again. */
function say(line: string): void {
  for (;;) {
    try {
      writeSync(1, `${line}\n`);
      return;
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EAGAIN')) throw error;
    }
  }
}

function message(id: string): Message {
  const time = '2026-11-22T12:00:00.000Z';
  return { specversion: '1.0', id, source: '/test', type: 'Said', subject: id, time, partitionkey: id, sequence: '0000000001', dataversion: '1', data: {} };
}

await Promise.all(Array.from({ length: 16 }, (_, n) => caller(n)));
