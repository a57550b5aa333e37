import { expect } from 'chai';
import fc from 'fast-check';
import { createHub, type Hub, type HubChange, type Partition } from '../../emulator/log.ts';

const minute = 60_000;
const shape = { partitions: 4, retentionMs: 60 * minute, retentionBytes: 1_000_000 };
const start = Date.parse('2026-11-20T09:00:00Z');

function open(options: Partial<typeof shape> = {}): { hub: Hub; zero: Partition; changes: HubChange[] } {
  const changes: HubChange[] = [];
  const hub = createHub({ ...shape, ...options }, { now: start, record: (change) => void changes.push(change) });
  return { hub, zero: hub.partitions[0]!, changes };
}

const event = (text: string, key?: string): { bytes: Buffer; key?: string | undefined } => ({ bytes: Buffer.from(text), key });
const texts = (partition: Partition, from: number, now = start, max = 1_000): string[] => partition.read(from, max, now).map(({ bytes }) => bytes.toString());

/** Everything that can be seen of a hub. */
const seen = (hub: Hub, now: number): unknown => ({ createdAt: hub.createdAt, partitions: hub.partitions.map((one) => ({ state: one.state(now), events: one.read(0, 10_000, now) })) });

function rebuilt(changes: Iterable<HubChange>, options: Partial<typeof shape> = {}): Hub {
  const hub = createHub({ ...shape, ...options }, { now: 0 });
  for (const change of changes) hub.replay(change);
  return hub;
}

describe('emulator: the log of a hub', () => {
  describe('keys', () => {
    it('have one partition for ever', () => {
      const { hub } = open({ partitions: 32 });
      // As the vendor's SDKs compute them (buffered producer).
      const known: [string, number][] = [['', 0], ['a', 28], ['ab', 13], ['order-1', 7], ['twelve bytes', 14], ['0f8fad5b-d9cb', 4], ['ein Schlüssel, der länger ist als zwölf Bytes', 21]];
      expect(known.map(([key]) => [key, hub.partitionOf(key)])).to.deep.equal(known);
    });

    it('spread over all partitions, evenly enough', () => {
      const { hub } = open({ partitions: 8 });
      const counts = Array.from({ length: 8 }, () => 0);
      for (let n = 0; n < 8_000; n++) counts[hub.partitionOf(`order-${n}`)]!++;
      for (const count of counts) expect(count).to.be.within(800, 1_200);
    });

    it('may be anything: empty, long, not Latin', () => {
      const { hub } = open({ partitions: 3 });
      fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 60 }), (key) => {
        const partition = hub.partitionOf(key);
        return Number.isInteger(partition) && partition >= 0 && partition < 3;
      }));
    });

    it('that are not there give each partition its turn', () => {
      const { hub } = open();
      expect(Array.from({ length: 6 }, () => hub.nextPartition())).to.deep.equal([0, 1, 2, 3, 0, 1]);
    });
  });

  describe('positions', () => {
    function three(): Partition {
      const { zero } = open();
      zero.append([event('a'), event('bb')], start + 1_000);
      zero.append([event('ccc')], start + 2_000);
      return zero;
    }
    const now = start + 3_000;

    it('count events from 0, and bytes in offsets', () => {
      expect(three().read(0, 10, now).map(({ sequence, offset, at }) => [sequence, offset, at - start])).to.deep.equal([[0, '0', 1_000], [1, '1', 1_000], [2, '3', 2_000]]);
    });

    it('earliest and latest are the ends', () => {
      expect(three().find({ is: 'earliest' }, now)).to.equal(0);
      expect(three().find({ is: 'latest' }, now)).to.equal(3);
    });

    it('of a sequence number begin at it or behind it', () => {
      expect(three().find({ is: 'sequence', value: 1, inclusive: true }, now)).to.equal(1);
      expect(three().find({ is: 'sequence', value: 1, inclusive: false }, now)).to.equal(2);
      expect(three().find({ is: 'sequence', value: -1, inclusive: false }, now)).to.equal(0);
    });

    it('of an offset begin at it or behind it, also between two events', () => {
      expect(three().find({ is: 'offset', value: 1, inclusive: true }, now)).to.equal(1);
      expect(three().find({ is: 'offset', value: 1, inclusive: false }, now)).to.equal(2);
      expect(three().find({ is: 'offset', value: 2, inclusive: false }, now)).to.equal(2);
    });

    it('of a time begin with the first event at it or after it, or with whatever comes', () => {
      expect(three().find({ is: 'time', value: start + 1_000, inclusive: true }, now)).to.equal(0);
      expect(three().find({ is: 'time', value: start + 1_000, inclusive: false }, now)).to.equal(2);
      expect(three().find({ is: 'time', value: start + 99_000, inclusive: false }, now)).to.equal(3);
    });

    it('may be the next event that will come, and no place beyond it', () => {
      const last = { sequence: 2, offset: '3', at: start + 2_000 };
      expect(three().find({ is: 'sequence', value: 2, inclusive: false }, now)).to.equal(3);
      expect(three().find({ is: 'sequence', value: 3, inclusive: true }, now)).to.equal(3);
      expect(three().find({ is: 'sequence', value: 3, inclusive: false }, now)).to.deep.equal({ beyond: last });
      expect(three().find({ is: 'sequence', value: 4, inclusive: true }, now)).to.deep.equal({ beyond: last });
      expect(three().find({ is: 'offset', value: 6, inclusive: true }, now)).to.equal(3);
      expect(three().find({ is: 'offset', value: 7, inclusive: true }, now)).to.deep.equal({ beyond: last });
      expect(three().find({ is: 'offset', value: 4, inclusive: false }, now)).to.deep.equal({ beyond: last });
    });
  });

  describe('retention', () => {
    it('takes what is older than the hub keeps, and never gives a number again', () => {
      const { zero } = open();
      zero.append([event('old'), event('older')], start);
      zero.append([event('new')], start + 30 * minute);
      const now = start + 60 * minute + 1;
      expect(texts(zero, 0, now - 1)).to.deep.equal(['old', 'older', 'new']);
      expect(texts(zero, 0, now)).to.deep.equal(['new']);
      expect(texts(zero, 0, now, 1)).to.deep.equal(['new']);
      expect(zero.state(now)).to.include({ begin: 2, empty: false, events: 1, bytes: 3 });
      expect(zero.append([event('next')], now)).to.equal(3);
    });

    it('leaves a partition that knows its last event when it has taken all', () => {
      const { zero } = open();
      zero.append([event('old')], start);
      const state = zero.state(start + 61 * minute);
      expect(state).to.deep.include({ begin: 1, empty: true, events: 0, bytes: 0 });
      expect(state.last).to.deep.equal({ sequence: 0, offset: '0', at: start });
      expect(zero.find({ is: 'earliest' }, start + 61 * minute)).to.equal(1);
    });

    it('takes the eldest when a partition has too many bytes', () => {
      const { zero } = open({ retentionBytes: 10 });
      zero.append([event('aaaa'), event('bbbb'), event('cccc')], start);
      expect(texts(zero, 0)).to.deep.equal(['bbbb', 'cccc']);
      expect(zero.state(start)).to.include({ begin: 1, bytes: 8 });
    });

    it('makes a position that has passed the eldest one that is kept', () => {
      const { zero } = open();
      zero.append([event('old'), event('older')], start);
      zero.append([event('new')], start + 30 * minute);
      const now = start + 61 * minute;
      for (const inclusive of [true, false]) {
        expect(zero.find({ is: 'sequence', value: 0, inclusive }, now)).to.equal(2);
        expect(zero.find({ is: 'offset', value: 0, inclusive }, now)).to.equal(2);
        expect(zero.find({ is: 'time', value: start, inclusive }, now)).to.equal(2);
      }
      expect(texts(zero, 0, now)).to.deep.equal(['new']);
    });
  });

  it('never lets times fall when the clock is set back', () => {
    const { zero } = open();
    zero.append([event('a')], start + 5_000);
    zero.append([event('b')], start);
    expect(zero.read(0, 2, start).map(({ at }) => at)).to.deep.equal([start + 5_000, start + 5_000]);
  });

  it('copies what it keeps', () => {
    const { zero } = open();
    const bytes = Buffer.from('mine');
    zero.append([{ bytes }], start);
    bytes.fill('x');
    expect(texts(zero, 0)).to.deep.equal(['mine']);
  });

  it('is the same hub again after its changes, or a snapshot and those after it, are replayed', () => {
    const step = fc.record({ partition: fc.nat(3), texts: fc.array(fc.string({ maxLength: 30 }), { maxLength: 4 }), key: fc.option(fc.string(), { nil: undefined }), later: fc.nat(20 * minute) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), fc.nat(30), (steps, at) => {
        const { hub, changes } = open({ retentionBytes: 100 });
        const all: HubChange[] = [{ is: 'created', at: start }];
        let copy: HubChange[] = all;
        let now = start;
        for (const [place, { partition, texts: said, key, later }] of steps.entries()) {
          now += later;
          if (place === at) copy = [...hub.snapshot(now)];
          const before = changes.length;
          hub.partitions[partition]!.append(said.map((text) => event(text, key)), now);
          const fresh = changes.slice(before);
          if (copy !== all) copy.push(...fresh);
          all.push(...fresh);
        }
        expect(seen(rebuilt(all, { retentionBytes: 100 }), now)).to.deep.equal(seen(hub, now));
        expect(seen(rebuilt(copy, { retentionBytes: 100 }), now)).to.deep.equal(seen(hub, now));
      }),
      { numRuns: 150 },
    );
  });

  it('finds a place among 200,000 events as quickly as among ten, and drops them at no cost', () => {
    const { zero } = open();
    const some = Array.from({ length: 1_000 }, (_, n) => event(String(n % 10)));
    for (let n = 0; n < 200; n++) zero.append(some, start + n);
    const before = performance.now();
    for (let n = 0; n < 10_000; n++) expect(zero.find({ is: 'sequence', value: n * 20, inclusive: true }, start)).to.equal(n * 20);
    // A search from end to end would take a thousand million steps.
    expect(performance.now() - before).to.be.lessThan(2_000);
    expect(texts(zero, 199_998)).to.deep.equal(['8', '9']);
    expect(zero.state(start + 61 * minute)).to.include({ begin: 200_000, events: 0 });
  });
});
