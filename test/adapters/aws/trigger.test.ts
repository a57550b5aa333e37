import { expect } from 'chai';
import { positionOf } from '../../../adapters/aws/position.ts';
import { deliveredOf, receivedOf, type KinesisRecord, type SqsRecord } from '../../../adapters/aws/trigger.ts';
import { Defect, isMalformed } from '../../../ports/index.ts';
import { said } from '../../conformance/family.ts';

/** From the shapes in which Lambda hands messages over to those of the ports. */
describe('triggers of Lambda', () => {
  const hour = 3_600_000;
  const now = Date.parse('2026-11-20T09:00:00.000Z');

  // As in https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
  const ofQueue = (about: Partial<SqsRecord> = {}): SqsRecord & Record<string, unknown> => ({
    messageId: '059f36b4-87a3-44ab-83d2-661975830a7d', receiptHandle: 'AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a', body: JSON.stringify(said('m1')),
    attributes: { ApproximateReceiveCount: '1', SentTimestamp: '1545082649183', SenderId: 'AIDAIENQZJOLO23YVJ4VO', ApproximateFirstReceiveTimestamp: '1545082649185' } as SqsRecord['attributes'] & object,
    messageAttributes: {}, md5OfBody: 'e4e68fb7bd0e697a0ae8f1bb342846b3', eventSource: 'aws:sqs', eventSourceARN: 'arn:aws:sqs:us-east-2:123456789012:my-queue', awsRegion: 'us-east-2', ...about,
  });
  // As in https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html
  const numbers = ['49590338271490256608559692538361571095921575989136588898', '49590338271490256608559692540925702759324208523137515618'] as const;
  const ofStream = (nth: number, { shard = 'shardId-000000000006', key = 'a', text = JSON.stringify(said(`e${nth}`)), at = now } = {}): KinesisRecord & Record<string, unknown> => ({
    kinesis: { partitionKey: key, sequenceNumber: numbers[nth]!, data: Buffer.from(text).toString('base64'), approximateArrivalTimestamp: at / 1_000 },
    eventSource: 'aws:kinesis', eventVersion: '1.0', eventID: `${shard}:${numbers[nth]!}`, eventName: 'aws:kinesis:record',
    invokeIdentityArn: 'arn:aws:iam::123456789012:role/lambda-role', awsRegion: 'us-east-2', eventSourceARN: 'arn:aws:kinesis:us-east-2:123456789012:stream/lambda-stream',
  });

  describe('of a queue', () => {
    it('hand over what was said, with the id by which a failure is reported', () => {
      const [received, ...others] = receivedOf('work', { Records: [ofQueue()] });
      expect(others).to.deep.equal([]);
      expect(received).to.deep.equal({ queue: 'work', message: said('m1'), attempts: 1, lockedUntil: Number.MAX_SAFE_INTEGER, receipt: '059f36b4-87a3-44ab-83d2-661975830a7d' });
    });

    it('count the receipts of earlier copies, and believe no nonsense', () => {
      const attempts = (earlier: string | undefined, receipts: string | undefined): number =>
        receivedOf('work', { Records: [ofQueue({ attributes: receipts === undefined ? {} : { ApproximateReceiveCount: receipts }, ...(earlier === undefined ? {} : { messageAttributes: { attempts: { stringValue: earlier } } }) })] })[0]!.attempts;
      expect([attempts('7', '2'), attempts(undefined, '3'), attempts('x', '3'), attempts('1e9', '1'), attempts('-5', '2'), attempts('4', undefined), attempts(undefined, '0')]).to.deep.equal([9, 3, 3, 1, 1, 5, 1]);
    });

    it('hand over each of a batch, and as malformed what nobody can read', () => {
      const received = receivedOf('work', { Records: [ofQueue(), ofQueue({ messageId: 'two', body: 'no message' })] });
      expect(received.map(({ receipt }) => receipt)).to.deep.equal(['059f36b4-87a3-44ab-83d2-661975830a7d', 'two']);
      expect(received[1]!.message).to.deep.include({ raw: 'no message' });
    });

    it('take the trace that X-Ray has for a message without one, and leave one that it has', () => {
      const header = 'Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1';
      const traceOf = (body: string, AWSTraceHeader: string): unknown => {
        const message: object = receivedOf('work', { Records: [ofQueue({ body, attributes: { AWSTraceHeader } })] })[0]!.message;
        return 'traceparent' in message ? message.traceparent : undefined;
      };
      expect(traceOf(JSON.stringify(said('m1')), header)).to.equal('00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01');
      expect(traceOf(JSON.stringify(said('m1')), header.replace('Sampled=1', 'Sampled=0'))).to.match(/-00$/);
      expect(traceOf(JSON.stringify(said('m1', { traceparent: '00-1-2-01' })), header)).to.equal('00-1-2-01');
      for (const strange of ['', 'Root=1-x', 'Parent=53995c3f42cd8ad8', 'Root=1-5759e988-bd862e3fe1be46a994272793']) expect(traceOf(JSON.stringify(said('m1')), strange), strange).to.equal(undefined);
    });
  });

  describe('of a stream', () => {
    const at = (nth: number, time = now): string => positionOf(numbers[nth]!, time);

    it('hand over a batch in order, with the positions that a reader of the stream would give', () => {
      const delivered = deliveredOf('facts', { Records: [ofStream(0), ofStream(1, { at: now + 0.4 })] }, now);
      expect(delivered).to.include({ stream: 'facts', partition: 'shardId-000000000006' });
      expect(delivered.events).to.deep.equal([{ position: at(0), message: said('e0'), partitionkey: 'a' }, { position: at(1), message: said('e1'), partitionkey: 'a' }]);
      expect(delivered.sequenceNumbers).to.deep.equal(numbers);
    });

    it('hand over as malformed what nobody can read, with its key', () => {
      const [event] = deliveredOf('facts', { Records: [ofStream(0, { text: 'no event', key: 'k' })] }, now).events;
      expect(isMalformed(event!.message)).to.equal(true);
      expect(event!.partitionkey).to.equal('k');
    });

    it('compare positions by their numbers', () => {
      const { isBehind } = deliveredOf('facts', { Records: [ofStream(0)] }, now);
      expect([isBehind(at(1), at(0)), isBehind(at(0), at(1)), isBehind(at(0), at(0)), isBehind('10@1', '9@1')]).to.deep.equal([true, false, false, true]);
      expect(() => isBehind('x', at(0))).to.throw(Defect);
    });

    it('follow what was stored for this consumer, unless it is so old that something can have been dropped', () => {
      const { follows } = deliveredOf('facts', { Records: [ofStream(1)] }, now);
      expect(follows(undefined)).to.equal(false);
      expect(follows('no position')).to.equal(false);
      expect(follows(at(0, now - hour))).to.equal(true);
      expect(follows(at(0, now - 24 * hour))).to.equal(false);
      expect(follows(at(1, now - 24 * hour))).to.equal(true);
    });

    it('take no batch of two shards, nor one that does not say of which it is', () => {
      expect(() => deliveredOf('facts', { Records: [ofStream(0), ofStream(1, { shard: 'shardId-000000000007' })] }, now)).to.throw(Defect);
      expect(() => deliveredOf('facts', { Records: [ofStream(0, { shard: 'x' })] }, now)).to.throw(Defect);
    });

    it('hand over nothing of an empty batch', () => {
      expect(deliveredOf('facts', { Records: [] }, now).events).to.deep.equal([]);
    });
  });
});
