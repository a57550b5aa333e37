import { expect } from 'chai';
import fc from 'fast-check';
import { correlationFilter, factOf, limits, sqlAction, sqlFilter, type Fact, type Facts } from '../../emulator/filter.ts';
import { Invalid } from '../../ports/index.ts';

/** Rules of subscriptions: https://learn.microsoft.com/azure/service-bus-messaging/service-bus-messaging-sql-filter, .../service-bus-messaging-sql-rule-action, .../topic-filters. */

const factsOf = (user: Record<string, unknown>, system: Record<string, Fact> = {}): Facts => ({
  system: new Map(Object.entries(system)),
  user: new Map(Object.entries(user).map(([name, value]) => [name.toLowerCase(), factOf(value)])),
});

const message = factsOf(
  { color: 'blue', quantity: 10, weight: 2.5, Paid: true, nothing: null, 'HR-Employee ID': 7, 'a"b]c': 'odd', placed: new Date(5_000), rate: '100%', umlaut: 'Größe', zero: 0 },
  { label: 'a bus comes', to: 'Store5', messageid: 'm-1', deliverycount: 0n },
);

/** An expression, and what it must come to. */
type Tree = [string, boolean | undefined];

const takes = (expression: string, facts = message, parameters?: Record<string, Fact>): boolean => sqlFilter(expression, parameters)(facts);

function holds(...expressions: string[]): void {
  for (const expression of expressions) expect(takes(expression), expression).to.equal(true);
}
/** False, not unknown: the opposite is true. */
function fails(...expressions: string[]): void {
  for (const expression of expressions) {
    expect(takes(expression), expression).to.equal(false);
    expect(takes(`NOT (${expression})`), `NOT (${expression})`).to.equal(true);
  }
}
function unknown(...expressions: string[]): void {
  for (const expression of expressions) {
    expect(takes(expression), expression).to.equal(false);
    expect(takes(`NOT (${expression})`), `NOT (${expression})`).to.equal(false);
  }
}
function refuses(...expressions: string[]): void {
  for (const expression of expressions) expect(() => sqlFilter(expression), expression).to.throw(Invalid);
}

describe('SQL filters of Service Bus', () => {
  it('compare constants', () => {
    holds('1=1', "'a' = 'a'", '1 <> 2', '1 != 2', '2 > 1', '2 >= 2', '1 < 2', '2 <= 2', '1 = 1.0', '1.5 > 1', "'b' > 'a'", 'TRUE = true', '1894.1204 = 1894.1204', '101.5E5 = 10150000', '0.5E-2 = .005');
    fails('1=0', "'a' = 'A'", '1 <> 1', '1 != 1.0', '1 > 1', '1 >= 2', '2 < 1', '2 <= 1', 'TRUE = FALSE');
  });

  it('read the properties of a message, whatever the case of their names, and its system properties', () => {
    holds("color = 'blue'", "user.Color = 'blue'", "COLOR='blue' AND Quantity=10", 'paid = TRUE', "sys.Label LIKE '%bus%'", "SYS.to = 'Store5'", "sys.MessageId = 'm-1'", 'sys.DeliveryCount = 0', "p('color') = 'blue'", "property('qua' + 'ntity') = 10");
    fails("color = 'Blue'", "sys.To = 'Store6'");
  });

  it('know identifiers in square brackets and in double quotation marks, and letters of every script', () => {
    holds('[HR-Employee ID] = 7', 'user.[hr-employee id] = 7', '"HR-Employee ID" = 7', '[a"b]]c] = \'odd\'', '"a""b]c" = \'odd\'', "umlaut = 'Größe'", '[größe] IS NULL');
    refuses('[', '[]', '"', '""', '[a', "'a", 'a.b.c = 1', '[user.color]');
  });

  it('write a quotation mark in a text twice', () => {
    holds("'it''s' LIKE '__''_'", "'''' = ''''");
  });

  it('reckon as C# does: whole numbers stay whole', () => {
    holds('7 / 2 = 3', '7.0 / 2 = 3.5', '-7 / 2 = -3', '7 % 4 = 3', '2 + 3 * 4 = 14', '(2 + 3) * 4 = 20', '10 - 3 - 2 = 5', '- -3 = 3', '-quantity = -10', '+weight = 2.5', 'quantity / 4 = 2', 'weight * 2 = 5', "'a' + 'b' = 'ab'", "'n' + 1 = 'n1'", '2 * -3 = -6');
    holds('9223372036854775807 + 1 = -9223372036854775808', '-9223372036854775808 < 0');
    unknown('1 / zero = 0', '1 % zero = 0', "color * 2 = 4", "- color = 'x'", 'placed + 1 = 2', 'paid + 1 = 2');
    refuses('9223372036854775808 > 0');
  });

  it('find texts by pattern, with a character that escapes', () => {
    holds("color LIKE 'b%'", "color LIKE '%ue'", "color LIKE 'b__e'", "color LIKE 'blue'", "color LIKE '%l%'", "color NOT LIKE 'r%'", "rate LIKE '100\\%' ESCAPE '\\'", "rate LIKE '1__!%' ESCAPE '!'", "'' LIKE ''", "'' LIKE '%'", "'a_c' LIKE 'a!_c' ESCAPE '!'", "'abcabd' LIKE '%ab_'", "'Größe' LIKE 'Gr__e'", "'😀' LIKE '_'");
    fails("color LIKE 'b'", "color LIKE 'B%'", "color LIKE '_'", "color LIKE ''", "'ABCD' LIKE 'ABC\\%' ESCAPE '\\'", "'abc' LIKE 'a!_c' ESCAPE '!'", "color NOT LIKE '%'");
    unknown("absent LIKE '%'", "color LIKE absent", "quantity LIKE '1%'", "color LIKE '%' ESCAPE 'ab'", "color LIKE 'b!' ESCAPE '!'", "absent NOT LIKE 'a'");
  });

  it('match a pattern of many wild cards against a long text in no time', () => {
    const facts = factsOf({ long: 'a'.repeat(20_000) });
    const before = performance.now();
    expect(takes(`long LIKE '${'%a'.repeat(200)}b'`, facts)).to.equal(false);
    expect(performance.now() - before).to.be.below(2_000);
  });

  it('find values in lists', () => {
    holds("color IN ('red', 'blue')", 'quantity IN (1, 5 + 5)', "sys.To NOT IN ('Store1', 'Store2')", "color in('blue')", "color IN ('blue', absent)");
    fails("color IN ('red', 'green')", "color NOT IN ('blue')");
    unknown("absent IN ('a')", "absent NOT IN ('a')", "color IN ('red', absent)");
    refuses('color IN ()', "color IN 'a'", "color IN ('a'", "color NOT ('a')");
  });

  it('tell whether a property is there, and whether it has a value', () => {
    holds('EXISTS(color)', 'exists ( nothing )', 'NOT EXISTS(absent)', 'color IS NOT NULL', 'absent IS NULL', 'nothing IS NULL', 'sys.Label IS NOT NULL', 'sys.ReplyTo IS NULL', 'EXISTS(sys.label)');
    fails('EXISTS(absent)', 'color IS NULL', 'absent IS NOT NULL', 'EXISTS(sys.replyto)');
    refuses('EXISTS color', "EXISTS('a')", '1 IS NULL', 'color IS', 'color IS NOT', "'a' + color IS NULL");
  });

  it('take what is not there for unknown, in every operation', () => {
    unknown('absent = 1', 'absent <> 1', 'absent > 1', '1 + absent = 2', '-absent = 1', 'absent = absent', 'nothing = 1', 'nothing = NULL', 'color = 1', 'quantity = \'10\'', 'paid > FALSE', 'placed > 5');
    holds('absent = 1 OR 1 = 1', '1 = 1 OR absent = 1', 'NOT (absent = 1 AND 1 = 0)');
    fails('absent = 1 AND 1 = 0', '1 = 0 AND absent = 1');
    unknown('absent = 1 AND 1 = 1', '1 = 1 AND absent = 1', 'absent = 1 OR 1 = 0', '1 = 0 OR absent = 1');
  });

  it('bind NOT before AND before OR', () => {
    holds('1=1 OR 1=1 AND 1=0', 'NOT 1=0 AND 1=1', 'NOT NOT 1=1', '(1=0 OR 1=1) AND NOT (1=1 AND 1=0)', 'not (1=0) or 1=0', '((((1=1))))', '(1) = (1)', '((1 + 1)) * 2 = 4');
    fails('(1=1 OR 1=1) AND 1=0', 'NOT (1=1 OR 1=0)');
  });

  it('know parameters', () => {
    expect(takes('color = @wanted AND quantity > @least', message, { wanted: 'blue', least: 9n })).to.equal(true);
    expect(() => sqlFilter('color = @other', { wanted: 'x' })).to.throw(Invalid, '@other');
    expect(() => sqlFilter('color = @toString')).to.throw(Invalid);
  });

  it('give new ids', () => {
    holds("newid() LIKE '________-____-____-____-____________'", 'newid() <> newid()');
  });

  it('refuse what is not in the grammar, and say where', () => {
    refuses('', ' ', 'color', "'text'", '1', 'TRUE', '1 = ', '= 1', '1 == 1', '1 = 1 1', 'color = blue = 1', '(1=1', '1=1)', 'a AND b', 'NOT color', '1 = (1 = 1)', 'AND', 'NULL', 'set = 1', 'x = and', 'sys.Nonsense = 1', 'other.color = 1', 'nofunction(1) = 1', 'newid(1) = 1', 'p() = 1', 'color ~ 1', 'a-b', '1 = 1;', 'a = 1e', '1 = 1 --', 'color = "blue');
    expect(() => sqlFilter("color = 'blue' AND AND quantity = 1")).to.throw(Invalid, "'AND' at 20");
    expect(() => sqlFilter('sys.Nonsense = 1')).to.throw(Invalid, "'Nonsense'");
  });

  it('have a limit of length and of depth', () => {
    const long = (length: number): string => `'${'x'.repeat(length - 6)}' = a`.slice(0, length);
    expect(() => sqlFilter(long(limits.charactersMax))).not.to.throw();
    expect(() => sqlFilter(long(limits.charactersMax + 1))).to.throw(Invalid, '1024');
    const nested = (depth: number): string => `${'('.repeat(depth)}1=1${')'.repeat(depth)}`;
    expect(takes(nested(limits.depthMax))).to.equal(true);
    expect(() => sqlFilter(nested(limits.depthMax + 1))).to.throw(Invalid, 'deep');
    expect(() => sqlFilter(`${'NOT '.repeat(100)}1=1`)).to.throw(Invalid, 'deep');
    expect(() => sqlFilter(`${'- '.repeat(100)}1=1`)).to.throw(Invalid, 'deep');
  });

  it('read anything or refuse it, and never fail otherwise', () => {
    const words = ['AND', 'OR', 'NOT', 'IN', 'LIKE', 'ESCAPE', 'IS', 'NULL', 'EXISTS', 'TRUE', '(', ')', ',', '.', '=', '<>', '<', '+', '-', '*', '/', '%', 'a', 'sys', 'sys.label', 'user', "'x%'", '1', '2.5', '@p', '[b c]', 'p', 'newid', ' '];
    const texts = fc.oneof(fc.array(fc.constantFrom(...words), { maxLength: 15 }).map((some) => some.join(' ')), fc.string({ maxLength: 40, unit: 'grapheme' }));
    fc.assert(
      fc.property(texts, (text) => {
        try {
          expect(sqlFilter(text, { p: 1n })(message)).to.be.a('boolean');
        } catch (error) {
          expect(error).to.be.instanceOf(Invalid);
        }
      }),
      { numRuns: 3_000 },
    );
  });

  it('agree with the laws of three truths, however they are put together', () => {
    const leaf = fc.constantFrom<Tree[]>(['1=1', true], ['1=0', false], ['absent=1', undefined], ["color='blue'", true], ['EXISTS(absent)', false], ["absent IN ('a')", undefined]);
    const { tree } = fc.letrec<{ tree: Tree }>((tie) => ({
      tree: fc.oneof(
        { maxDepth: 4, withCrossShrink: true },
        leaf,
        tie('tree').map(([text, truth]): Tree => [`NOT (${text})`, truth === undefined ? undefined : !truth]),
        fc.tuple(tie('tree'), tie('tree')).map(([[a, x], [b, y]]): Tree => [`(${a}) AND (${b})`, x === false || y === false ? false : x === undefined || y === undefined ? undefined : true]),
        fc.tuple(tie('tree'), tie('tree')).map(([[a, x], [b, y]]): Tree => [`(${a}) OR (${b})`, x === true || y === true ? true : x === undefined || y === undefined ? undefined : false]),
      ),
    }));
    fc.assert(
      fc.property(tree, ([text, truth]) => {
        fc.pre(text.length < 1_000);
        expect(takes(text), text).to.equal(truth === true);
        expect(takes(`NOT (${text})`), text).to.equal(truth === false);
      }),
      { numRuns: 500 },
    );
  });
});

describe('SQL actions of Service Bus', () => {
  const changes = (text: string): Record<string, unknown> => {
    const { system, user } = sqlAction(text)(message);
    return { system: Object.fromEntries(system), user: Object.fromEntries(user) };
  };

  it('set and remove properties, one after the other', () => {
    expect(changes('SET quantity = quantity / 2;')).to.deep.equal({ system: {}, user: { quantity: 5n } });
    expect(changes("SET Source='routed'; SET copy = source + '!' REMOVE color; REMOVE [HR-Employee ID]")).to.deep.equal({ system: {}, user: { Source: 'routed', copy: 'routed!', color: undefined, 'HR-Employee ID': undefined } });
    expect(changes("SET sys.Label = 'new', SET sys.To = sys.Label")).to.deep.equal({ system: { label: 'new', to: 'new' }, user: {} });
  });

  it('leave a property as it is when the value is unknown', () => {
    expect(changes('SET quantity = absent + 1')).to.deep.equal({ system: {}, user: {} });
  });

  it('refuse what is not in the grammar, too much of it, and what the broker alone may change', () => {
    for (const text of ['', 'SET', 'SET a', 'SET a =', 'a = 1', 'REMOVE', 'REMOVE 1', 'SET a = 1 = 1', 'SET sys.SequenceNumber = 1', 'SET a = 1 b', 'SET a = 1;;', `${'REMOVE a;'.repeat(33)}`]) expect(() => sqlAction(text), text).to.throw(Invalid);
    expect(() => sqlAction('REMOVE a;'.repeat(32))).not.to.throw();
  });
});

describe('Correlation filters of Service Bus', () => {
  const correlation = (system: Record<string, string>, user: Record<string, unknown> = {}): boolean =>
    correlationFilter({ system: new Map(Object.entries(system)), user: new Map(Object.entries(user).map(([name, value]) => [name, factOf(value)])) })(message);

  it('take a message when all that they name is equal, by case and by type', () => {
    expect(correlation({ to: 'Store5' })).to.equal(true);
    expect(correlation({ to: 'Store5', label: 'a bus comes' }, { color: 'blue', quantity: 10, paid: true })).to.equal(true);
    expect(correlation({ to: 'store5' })).to.equal(false);
    expect(correlation({ to: 'Store5' }, { color: 'Blue' })).to.equal(false);
    expect(correlation({}, { quantity: '10' })).to.equal(false);
    expect(correlation({ replyto: 'x' })).to.equal(false);
    expect(correlation({}, { absent: 'x' })).to.equal(false);
  });

  it('must name something', () => {
    expect(() => correlation({})).to.throw(Invalid);
  });
});
