import { expect } from 'chai';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { functions } from '../../handlers/functions.ts';
import { rateOf, rows as lambdas } from '../../serverless/lambda.ts';
import { template } from '../../serverless/template.ts';
import { countAtRest, countOrder } from './costs.ts';

/** WHAT IS SAID ABOUT COSTS: each line of arithmetic gives what stands behind it, and what is said is what is counted, as near as costs need it. */
const text = (name: string): string => readFileSync(fileURLToPath(new URL(`../../docs/${name}`, import.meta.url)), 'utf8');
const doc = text('azure.md');
const aws = text('aws.md');
const secondsAMonth = 730 * 3_600;
const number = (text: string): number => Number(text.replaceAll(',', ''));
const written = (value: number): string => Math.round(value).toLocaleString('en');

/** The rows of the table under this head, without its lines of dashes. */
function tableUnder(head: string, from = doc): string[][] {
  const lines = from.split('\n');
  const start = lines.findIndex((line) => line.startsWith(`| ${head} |`));
  expect(start, head).to.be.greaterThan(-1);
  const end = lines.findIndex((line, nth) => nth > start && !line.startsWith('|'));
  return lines.slice(start + 2, end).map((line) => line.split('|').slice(1, -1).map((cell) => cell.trim()));
}

/** Numbers, × / + − and parentheses. */
function workOut(text: string): number {
  const parts = text.match(/[\d,.]+|[×/+−()]/g) ?? [];
  expect(parts.join(''), 'nothing but arithmetic').to.equal(text.replaceAll(' ', ''));
  const one = (): number => {
    const part = parts.shift();
    if (part !== '(') return number(part ?? 'nothing');
    const inside = sum();
    parts.shift();
    return inside;
  };
  const product = (): number => {
    let value = one();
    while (parts[0] === '×' || parts[0] === '/') value = parts.shift() === '×' ? value * one() : value / one();
    return value;
  };
  const sum = (): number => {
    let value = product();
    while (parts[0] === '+' || parts[0] === '−') value += parts.shift() === '+' ? product() : -product();
    return value;
  };
  return sum();
}

/** Line by line and together, a table gives what its arithmetic gives. */
function reckon(head: string, from: string): void {
  const rows = tableUnder(head, from);
  const lines = rows.slice(0, -1);
  for (const [what = '', arithmetic = '', dollars = ''] of lines) expect(workOut(arithmetic), what).to.be.closeTo(number(dollars), 0.00501);
  const [last = '', , total = ''] = rows.at(-1)!;
  expect([last, number(total)]).to.deep.equal(['together', Number(lines.reduce((sum, [, , dollars = '']) => sum + number(dollars), 0).toFixed(2))]);
}

describe('what docs/azure.md says about costs', function () {
  this.timeout(60_000);

  for (const head of ['at rest, a month', 'at rest, a month, at 512 MB', 'a million orders']) {
    it(`gives, line by line and together, what its arithmetic gives: ${head}`, () => {
      reckon(head, doc);
    });
  }

  it('lists every timer of the flow with its runs, adds them up, and says within a fifth what each asks the store for when there is nothing to do', async () => {
    const rest = await countAtRest();
    const timers = functions.flatMap((row) => (row.kind === 'timer' ? [{ ...row, runs: Math.round(secondsAMonth / row.everySeconds) }] : []));
    const rows = tableUnder('timer');
    expect(rows.slice(0, -1).map(([name, every, runs]) => [name, every, runs])).to.deep.equal(timers.map(({ name, everySeconds, runs }) => [`\`${name}\``, `${written(everySeconds)} s`, written(runs)]));
    timers.forEach(({ name, runs }, nth) => {
      const [, , , calls = '', transactions = ''] = rows[nth]!;
      expect(number(calls), `${name} asks ${rest.get(name)} times`).to.be.closeTo(rest.get(name)!, rest.get(name)! / 5);
      expect(number(transactions), name).to.equal(runs * number(calls));
    });
    const sum = (column: number): string => written(rows.slice(0, -1).reduce((all, cells) => all + number(cells[column]!), 0));
    expect(rows.at(-1)).to.deep.equal(['together', '', sum(2), '', sum(4)]);
    const arithmetic = tableUnder('at rest, a month').map(([, cell = '']) => cell).join('; ');
    expect(arithmetic).to.include(`(${sum(2)} × 2 −`).and.include(`${sum(4)} / 10,000`);
    const noted = timers.reduce((all, { everySeconds, runs }) => all + (everySeconds < 60 ? 0 : runs), 0);
    expect(arithmetic, 'what the platform notes').to.include(`${written(noted)} / 10,000`).and.include(`${timers.length} × 730`);
    expect((template().parameters['instanceMemoryMB'] as { defaultValue: number }).defaultValue).to.equal(2_048);
  });

  it('says within a fifth what an order asks for, and reckons with what it says', async () => {
    const { executions, storeCalls, events, messages, letters, stored } = await countOrder();
    const said = /(\d+) runs of functions, (\d+) calls of the store, (\d+) events, (\d+) message, (\d+) letters, and ([\d.]+) KB that stay/.exec(doc.replaceAll('\n', ' '))!.slice(1).map(Number);
    const counted = [executions, storeCalls, events, messages, letters, stored / 1_000];
    counted.forEach((count, nth) => expect(said[nth], `${count}`).to.be.closeTo(count, count / 5));
    const arithmetic = tableUnder('a million orders').map(([, cell = '']) => cell).join('; ');
    const [runs, calls, heard, , sent, kilobytes] = said;
    for (const factor of [runs, calls, heard, sent, kilobytes]) expect(arithmetic).to.include(`1,000,000 × ${factor}`);
  });
});

describe('what docs/aws.md says about costs', function () {
  this.timeout(60_000);

  for (const head of ['at rest on AWS, a month', 'a million orders on AWS']) it(`gives what its arithmetic gives: ${head}`, () => reckon(head, aws));

  it('counts the runs and the reads of the timers as they are scheduled', async () => {
    const rest = await countAtRest();
    const minutes = 730 * 60;
    const runs = lambdas.flatMap((row) => (row.kind === 'timer' ? [{ name: row.name, runs: Math.round(minutes / Number(/\d+/.exec(rateOf(row.everySeconds))![0])) }] : []));
    const all = runs.reduce((sum, each) => sum + each.runs, 0);
    const reads = runs.reduce((sum, each) => sum + each.runs * rest.get(each.name)!, 0);
    const [, said = '', looks = ''] = /: ([\d,]+) runs\..* it is ([\d,]+) consistent reads of nothing/.exec(aws.replaceAll('\n', ' '))!;
    expect(number(said)).to.equal(all);
    expect(number(looks)).to.be.closeTo(reads, reads / 5);
    const arithmetic = tableUnder('at rest on AWS, a month', aws).map(([, cell = '']) => cell).join('; ');
    expect(arithmetic).to.include(`${looks} / 1,000,000`).and.include(`${said} × 0.5`);
  });

  it('says within a fifth what an order asks for, and reckons with what it says', async () => {
    const { executions, writeUnits, readUnits, events, messages, letters, stored } = await countOrder();
    const said = /(\d+) runs of functions, (\d+) write units and (\d+) read units of the table, (\d+) events, (\d+) message, (\d+) letters, and ([\d.]+) KB that stay/.exec(aws.replaceAll('\n', ' '))!.slice(1).map(Number);
    const counted = [executions, writeUnits, readUnits, events, messages, letters, stored / 1_000];
    counted.forEach((count, nth) => expect(said[nth], `${count}`).to.be.closeTo(count, count / 5));
    const arithmetic = tableUnder('a million orders on AWS', aws).map(([, cell = '']) => cell).join('; ');
    const [runs, writes, reads, heard, , sent, kilobytes] = said;
    for (const factor of [runs, writes, reads, heard, sent, kilobytes]) expect(arithmetic).to.include(`1,000,000 × ${factor}`);
  });
});
