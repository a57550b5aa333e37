import { expect } from 'chai';
import fc from 'fast-check';
import { encodedOf } from '../../../adapters/azure/message.ts';
import { deliveredOf, receivedOf } from '../../../adapters/azure/trigger.ts';
import { say } from '../../../core/kernel/model.ts';
import { Defect, isMalformed, type Message } from '../../../ports/index.ts';

/** From the worker's shapes to the ports'. What the worker makes of a message on its way is played here: bodies are parsed, names begin with a small letter. */
const at = '2026-11-20T09:00:00.000Z';
const message = (n: number): Message => say('StockFreed', { skus: [`S${n}`] }, { subject: `S${n}`, sequence: n, at }).message;

const small = (values: Readonly<Record<string, unknown>>): Record<string, unknown> => Object.fromEntries(Object.entries(values).map(([name, value]) => [name[0]!.toLowerCase() + name.slice(1), value]));
const bodyOf = (of: Message): unknown => JSON.parse(encodedOf(of).body.toString());
const nativeOf = (of: Message, more: object = {}): Record<string, unknown> => small({ DeliveryCount: 1, ContentType: encodedOf(of).contentType, ApplicationProperties: small(encodedOf(of).properties), ...more });
const eventOf = (of: Message, sequenceNumber: unknown): Record<string, unknown> => small({
  SequenceNumber: sequenceNumber, PartitionKey: of.partitionkey, Properties: small(encodedOf(of).properties), SystemProperties: { 'content-type': encodedOf(of).contentType },
});
const listed = (each: readonly Record<string, unknown>[]): Record<string, unknown> => Object.fromEntries(Object.keys(each[0]!).map((name) => [`${name}Array`, each.map((one) => one[name])]));
const partition = { partitionContext: { partitionId: '3' } };

describe('a trigger of Service Bus', () => {
  it('gives one message, or a batch of them, as it was sent', () => {
    const [one] = receivedOf('stock-freed', bodyOf(message(1)), nativeOf(message(1)));
    expect(one).to.deep.include({ queue: 'stock-freed', message: message(1), attempts: 1 });
    const all = [message(1), message(2), message(3)];
    expect(receivedOf('stock-freed', all.map(bodyOf), listed(all.map((each) => nativeOf(each)))).map((each) => each.message)).to.deep.equal(all);
  });

  it('reads a body that comes as text or as bytes, in the binary and in the structured mode', () => {
    const text = encodedOf(message(1)).body.toString();
    for (const body of [text, Buffer.from(text), new Uint8Array(Buffer.from(text))]) expect(receivedOf('q', body, nativeOf(message(1)))[0]!.message).to.deep.equal(message(1));
    const structured = { deliveryCount: 1, contentType: 'application/cloudevents+json' };
    for (const body of [JSON.stringify(message(1)), message(1)]) expect(receivedOf('q', body, structured)[0]!.message).to.deep.equal(message(1));
    expect(receivedOf('q', message(1), { deliveryCount: 1 })[0]!.message, 'a bare envelope').to.deep.equal(message(1));
  });

  it('counts the receipts of earlier copies and those of the broker, in whichever form a number comes', () => {
    const attempts = (deliveryCount: unknown, earlier?: unknown): number =>
      receivedOf('q', {}, { deliveryCount, applicationProperties: earlier === undefined ? {} : { attempts: earlier } })[0]!.attempts;
    expect(attempts(1)).to.equal(1);
    expect(attempts(3, 4)).to.equal(7);
    expect(attempts('2', '5')).to.equal(7);
    expect(attempts({ low: 2, high: 0, unsigned: false }, { low: 1, high: 0 })).to.equal(3);
    expect(attempts(2, -1), 'given back unseen').to.equal(1);
    for (const nonsense of [undefined, null, 'many', {}, [], 1e300]) expect(attempts(nonsense, nonsense)).to.equal(1);
    expect(attempts(1, '9'.repeat(19)), 'what a stranger has written there').to.equal(1);
  });

  it('gives what nobody can read as malformed, whole', () => {
    for (const body of ['nonsense', '', 5, null, undefined, [1], { some: 'thing' }]) expect(isMalformed(receivedOf('q', body, { deliveryCount: 1 })[0]!.message), String(body)).to.equal(true);
  });

  it('never throws, whatever comes', () => {
    fc.assert(fc.property(fc.anything(), fc.dictionary(fc.constantFrom('deliveryCount', 'applicationProperties', 'contentType', 'deliveryCountArray', 'applicationPropertiesArray'), fc.anything()), (input, metadata) => {
      for (const { attempts } of receivedOf('q', input, metadata)) expect(attempts).to.be.at.least(1).and.satisfy(Number.isSafeInteger);
    }), { numRuns: 500, seed: 5 });
  });
});

describe('a trigger of Event Hubs', () => {
  it('gives one event, or a batch of them, with their places and keys', () => {
    const one = deliveredOf('inventory', bodyOf(message(1)), { ...partition, ...eventOf(message(1), 41) });
    expect(one).to.deep.include({ stream: 'inventory', partition: '3', events: [{ position: '41', message: message(1), partitionkey: 'S1' }] });
    const all = [message(1), message(2)];
    const { events } = deliveredOf('inventory', all.map(bodyOf), { ...partition, ...listed(all.map((each, nth) => eventOf(each, nth + 7))) });
    expect(events).to.deep.equal([{ position: '7', message: message(1), partitionkey: 'S1' }, { position: '8', message: message(2), partitionkey: 'S2' }]);
  });

  it('knows which batch follows on which place, beyond the numbers that are exact, too', () => {
    const from = (first: unknown) => deliveredOf('s', bodyOf(message(1)), { ...partition, ...eventOf(message(1), first) });
    expect(from(0).follows(undefined)).to.equal(true);
    expect(from(1).follows(undefined)).to.equal(false);
    expect(from(8).follows('7')).to.equal(true);
    expect(from(8).follows('6')).to.equal(false);
    expect(from(8).follows('100'), 'all of it is known').to.equal(true);
    const far = from({ low: 1, high: 0x200001, unsigned: false });
    expect(far.events[0]!.position).to.equal(String((0x200001n << 32n) + 1n));
    expect(far.follows(String(0x200001n << 32n))).to.equal(true);
    expect(far.follows(String((0x200001n << 32n) - 1n))).to.equal(false);
    expect(from({ low: -1, high: 0 }).events[0]!.position).to.equal('4294967295');
    expect(far.isBehind('10', '9')).to.equal(true);
    expect(far.isBehind('9', '9')).to.equal(false);
  });

  it('takes the key from the event itself when the broker was not told one', () => {
    expect(deliveredOf('s', bodyOf(message(1)), { ...partition, ...eventOf(message(1), 0), partitionKey: null }).events[0]!.partitionkey).to.equal('S1');
  });

  it('refuses to guess: without a partition or a place there is no order', () => {
    expect(() => deliveredOf('s', {}, eventOf(message(1), 1))).to.throw(Defect, 'without its partition');
    expect(() => deliveredOf('s', {}, { ...partition, sequenceNumber: 'soon' })).to.throw(Defect, 'without its sequence number');
  });
});
