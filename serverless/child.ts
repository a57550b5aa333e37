import { startWorker } from './worker.ts';

/** One package in a process of its own: says which functions it has, then runs what it is told to, one after the other. Only `serverless/invoke.ts` starts it. */
const [, , folder = ''] = process.argv;
const say = (message: object): void => void process.send?.(message);

startWorker(folder, (line) => console.error(line)).then(
  ({ functions, invoke, loaded }) => {
    process.on('message', ({ id, name, payload }: { id: number; name: string; payload: unknown }) => {
      invoke(name, payload).then((outcome) => say({ id, outcome, loaded: loaded() }), (error: unknown) => say({ id, wrong: error instanceof Error ? error.message : String(error) }));
    });
    say({ functions });
  },
  (error: unknown) => say({ broken: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
);
process.on('disconnect', () => process.exit(0));
