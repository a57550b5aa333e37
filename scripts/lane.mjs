// A lane of scripts/test.mjs: runs the test files that it is handed, one at a time, and ends each with a line of its own on standard output.
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import Mocha from 'mocha';

const { spec: _, extension: __, exit: ___, ...options } = JSON.parse(readFileSync('.mocharc.json', 'utf8'));

process.on('message', ({ file, mark, ...more }) => {
  if (file === undefined) process.exit();
  void run(file, more).then((counts) => process.stdout.write(`\n${mark}${JSON.stringify(counts)}\n`));
});
process.on('disconnect', () => process.exit());

async function run(file, more) {
  const mocha = new Mocha({ ...options, ...more });
  mocha.addFile(resolve(file));
  try {
    await mocha.loadFilesAsync();
  } catch (error) {
    console.error(error);
    return { passed: 0, failed: 1 };
  }
  return new Promise((done) => {
    const runner = mocha.run((failed) => {
      process.removeAllListeners('unhandledRejection'); // each run leaves one behind
      done({ passed: runner.stats.passes, failed });
    });
  });
}
