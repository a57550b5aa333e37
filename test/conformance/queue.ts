import { expect } from 'chai';
import { Defect, limits, type Received } from '../../ports/index.ts';
import { casesOf, type Case } from './case.ts';
import { expectNone, failure, idsOf, looksMax, nowFrom, refusal, said, saidOfBytes, settingOf, take, takeOne, world, type Family } from './family.ts';

export function queueCases(family: Family): Case[] {
  const at = settingOf(family);
  return casesOf(`queue · ${family.name}`, family, at, ({ group, promises }) => {
    const lock = family.lockSeconds * 1_000;
    const ids = (count: number): string[] => Array.from({ length: count }, (_, n) => `m${String(n).padStart(3, '0')}`);

    group('sending and receiving', () => {
      promises('hands over what was sent, unchanged, as a first attempt', async () => {
        const message = said('m1', { subject: 'ü 漢 😀', correlationid: 'c', causationid: 'd', traceparent: '00-1-2-01', data: { text: '"\u2028\u0000', list: [1, null] } });
        await at.queue.send('work', [message]);
        const received = await takeOne(at.queue, 'work');
        expect(received.message).to.deep.equal(message);
        expect(received).to.include({ queue: 'work', attempts: 1 });
      });

      promises('hands over everything that was sent, each once', async () => {
        await at.queue.send('work', ids(30).map((id) => said(id)));
        expect(idsOf(await take(at.queue, 'work', 30)).sort()).to.deep.equal(ids(30));
        await expectNone(at.queue, 'work');
      });

      promises('takes more messages in one send than fit a batch', async () => {
        await at.queue.send('work', ids(limits.batchMax + 5).map((id) => said(id)));
        const received: Received[] = [];
        for (let part; (part = await take(at.queue, 'work', limits.batchMax)).length > 0; ) received.push(...part);
        expect(idsOf(received).sort()).to.deep.equal(ids(limits.batchMax + 5));
      });

      promises('never hands over more than were asked for', async () => {
        await at.queue.send('work', ids(5).map((id) => said(id)));
        expect((await at.queue.receive('work', { max: 2, waitSeconds: 0 })).length).to.be.at.most(2);
      });

      promises('answers an empty list when there is nothing', async () => {
        await expectNone(at.queue, 'work');
      });

      promises('takes an empty send as nothing', async () => {
        await at.queue.send('work', []);
        await expectNone(at.queue, 'work');
      });

      promises('keeps queues apart', async () => {
        await at.queue.send('work', [said('m1')]);
        await expectNone(at.queue, 'other');
        expect(idsOf(await take(at.queue, 'work', 1))).to.deep.equal(['m1']);
      });

      promises('hands different messages to competing receivers', async () => {
        await at.queue.send('work', ids(40).map((id) => said(id)));
        const received = await Promise.all([1, 2, 3, 4].map(() => at.queue.receive('work', { max: 10, waitSeconds: 0 })));
        const rest = await take(at.queue, 'work', 40);
        expect(idsOf([...received.flat(), ...rest]).sort()).to.deep.equal(ids(40));
      });

      promises('drops nothing that is sent twice: only receivers remember', async () => {
        await at.queue.send('work', [said('m1')]);
        await at.queue.send('work', [said('m1')]);
        expect(idsOf(await take(at.queue, 'work', 2))).to.deep.equal(['m1', 'm1']);
      });

      promises('says missing for a queue that does not exist', async () => {
        await refusal('missing', at.queue.send(world.nowhere, [said('m1')]));
        await refusal('missing', at.queue.receive(world.nowhere, { max: 1, waitSeconds: 0 }));
      });

      promises('does not take a stream for a queue', async () => {
        await refusal('missing', at.queue.send('facts', [said('m1')]));
      });

      promises('hands over what nobody can read as malformed, whole, and settles it like the rest', async () => {
        await family.plantQueue!('work', '{"specversion":"0.3"');
        const received = await takeOne(at.queue, 'work');
        expect(received.message).to.deep.include({ raw: '{"specversion":"0.3"' }).and.to.have.property('malformed');
        expect(await at.queue.retry(received, { delaySeconds: 0, blame: true }).catch((thrown: unknown) => thrown)).to.be.instanceOf(Defect);
        await at.queue.done(received);
        await family.pass(lock + 1_000);
        await expectNone(at.queue, 'work');
      }, family.plantQueue);

      for (const [what, text] of [['nothing', ''], ['a list', '[]'], ['a bare value', 'null'], ['an envelope without data', '{"specversion":"1.0","id":"x"}'], ['XML', '<a/>']] as const) {
        promises(`hands over ${what} as malformed, word for word`, async () => {
          await at.queue.send('work', [said('before')]);
          await family.plantQueue!('work', text);
          const received = await take(at.queue, 'work', 2);
          expect(idsOf(received).sort()).to.deep.equal(['before', 'malformed']);
          const strange = received.find(({ message }) => 'malformed' in message)!;
          expect(strange.message).to.deep.include({ raw: text });
          await family.pass(lock + 1_000);
          expect((await take(at.queue, 'work', 2)).map(({ attempts }) => attempts)).to.deep.equal([2, 2]);
        }, family.plantQueue);
      }

      promises('leaves a second copy of a message alone when the first is done', async () => {
        await at.queue.send('work', [said('m1'), said('m1')]);
        const [first, second] = await take(at.queue, 'work', 2);
        await at.queue.done(first!);
        await at.queue.done(await at.queue.renew(second!));
        await at.queue.send('work', [said('m1')]);
        expect(idsOf([await takeOne(at.queue, 'work')])).to.deep.equal(['m1']);
      });

      promises('gives each of two receipts of its own, also for the same message', async () => {
        await at.queue.send('work', [said('m1'), said('m1')]);
        const [first] = await take(at.queue, 'work', 2);
        await at.queue.done(first!);
        await family.pass(lock + 1_000);
        expect(await take(at.queue, 'work', 2)).to.have.length(1);
      });

      promises('takes a receipt for nothing on another queue, and leaves both alone', async () => {
        await at.queue.send('work', [said('m1')]);
        await at.queue.send('other', [said('o1')]);
        const [mine, theirs] = [await takeOne(at.queue, 'work'), await takeOne(at.queue, 'other')];
        await refusal('lockLost', at.queue.done({ ...mine, queue: 'other' }));
        await at.queue.done(mine);
        await at.queue.done(theirs);
      });

      promises('keeps what is locked or delayed on one queue away from the other', async () => {
        await at.queue.send('work', [said('m1')]);
        await takeOne(at.queue, 'work');
        await at.queue.send('work', [said('m2')], { delaySeconds: 5 });
        await family.pass(lock + 6_000);
        await expectNone(at.queue, 'other');
        expect(idsOf(await take(at.queue, 'work', 2)).sort()).to.deep.equal(['m1', 'm2']);
      });

      promises('loses nothing that many send at once', async () => {
        await Promise.all(ids(20).map((id) => at.queue.send('work', [said(`${id}a`), said(`${id}b`)])));
        expect(idsOf(await take(at.queue, 'work', 40)).sort()).to.deep.equal(ids(20).flatMap((id) => [`${id}a`, `${id}b`]));
      });
    });

    group('limits', () => {
      promises('takes a message one byte below and at the limit', async () => {
        await at.queue.send('work', [saidOfBytes('below', limits.eventBytesMax - 1), saidOfBytes('at', limits.eventBytesMax)]);
        expect(idsOf(await take(at.queue, 'work', 2)).sort()).to.deep.equal(['at', 'below']);
      });

      promises('refuses a message one byte over the limit, and takes none of its batch', async () => {
        await refusal('tooLarge', at.queue.send('work', [said('small'), saidOfBytes('over', limits.eventBytesMax + 1)]));
        await expectNone(at.queue, 'work');
      });

      promises('refuses to receive none or more than a batch', async () => {
        for (const max of [0, limits.batchMax + 1]) {
          expect(await at.queue.receive('work', { max, waitSeconds: 0 }).catch((thrown: unknown) => thrown)).to.be.instanceOf(Defect);
        }
      });

      promises('sends and receives one message less than a batch, a batch, and one more', async () => {
        for (const count of [limits.batchMax - 1, limits.batchMax, limits.batchMax + 1]) {
          await at.queue.send('work', ids(count).map((id) => said(id)));
          const received: Received[] = [];
          for (let look = 0; look < 10 * looksMax && received.length < count; look++) received.push(...(await at.queue.receive('work', { max: limits.batchMax, waitSeconds: 0 })));
          expect(idsOf(received).sort()).to.deep.equal(ids(count));
          for (const each of received) await at.queue.done(each);
          await expectNone(at.queue, 'work');
        }
      });

      promises('takes many of the largest messages in one send', async () => {
        await at.queue.send('work', ids(24).map((id) => saidOfBytes(id, limits.eventBytesMax)));
        expect(idsOf(await take(at.queue, 'work', 24)).sort()).to.deep.equal(ids(24));
      });

      promises('counts bytes of UTF-8 and not characters', async () => {
        const wide = (count: number) => said('wide', { data: '漢'.repeat(count) });
        const bare = Buffer.byteLength(JSON.stringify(wide(0)));
        const most = Math.floor((limits.eventBytesMax - bare) / 3);
        await refusal('tooLarge', at.queue.send('work', [wide(most + 1)]));
        await at.queue.send('work', [wide(most)]);
        expect((await takeOne(at.queue, 'work')).message).to.deep.equal(wide(most));
      });

      promises('refuses a negative delay', async () => {
        expect(await at.queue.send('work', [said('m1')], { delaySeconds: -1 }).catch((thrown: unknown) => thrown)).to.be.instanceOf(Defect);
        await expectNone(at.queue, 'work');
      });
    });

    group('locks', () => {
      promises('hides a received message until the lock runs out', async () => {
        await at.queue.send('work', [said('m1')]);
        await takeOne(at.queue, 'work');
        await expectNone(at.queue, 'work');
        await family.pass(lock - 1_000);
        await expectNone(at.queue, 'work');
      });

      promises('hands a message over again when the lock has run out, and counts the attempts', async () => {
        await at.queue.send('work', [said('m1')]);
        for (const attempts of [1, 2, 3]) {
          const received = await takeOne(at.queue, 'work');
          expect(idsOf([received])).to.deep.equal(['m1']);
          expect(received.attempts).to.equal(attempts);
          await family.pass(lock + 1_000);
        }
      });

      promises('removes for good what is done', async () => {
        await at.queue.send('work', [said('m1')]);
        await at.queue.done(await takeOne(at.queue, 'work'));
        await family.pass(lock + 1_000);
        await expectNone(at.queue, 'work');
      });

      promises('refuses to settle after the lock has run out, and the message comes again', async () => {
        await at.queue.send('work', [said('m1')]);
        const late = await takeOne(at.queue, 'work');
        await family.pass(lock + 1_000);
        await refusal('lockLost', at.queue.done(late));
        expect(idsOf([await takeOne(at.queue, 'work')])).to.deep.equal(['m1']);
      });

      promises('refuses an old receipt while somebody else has the message, and does him no harm', async () => {
        await at.queue.send('work', [said('m1')]);
        const late = await takeOne(at.queue, 'work');
        await family.pass(lock + 1_000);
        const current = await takeOne(at.queue, 'work');
        await refusal('lockLost', at.queue.done(late));
        await refusal('lockLost', at.queue.renew(late));
        await expectNone(at.queue, 'work');
        await at.queue.done(current);
      });

      promises('refuses to settle twice', async () => {
        await at.queue.send('work', [said('m1')]);
        const received = await takeOne(at.queue, 'work');
        await at.queue.done(received);
        await refusal('lockLost', at.queue.done(received));
      });

      promises('refuses to renew what is done, and it does not come back', async () => {
        await at.queue.send('work', [said('m1')]);
        const received = await takeOne(at.queue, 'work');
        await at.queue.done(received);
        await refusal('lockLost', at.queue.renew(received));
        await family.pass(lock + 1_000);
        await expectNone(at.queue, 'work');
      });

      promises('locks for as long as it says', async () => {
        await at.queue.send('work', [said('m1')]);
        const { lockedUntil } = await takeOne(at.queue, 'work');
        const left = lockedUntil - family.clock().now();
        expect(left).to.be.within(lock - 2_000, lock + 2_000);
      });

      promises('settles one of many, and the others come again', async () => {
        await at.queue.send('work', ids(5).map((id) => said(id)));
        const received = await take(at.queue, 'work', 5);
        await at.queue.done(received[2]!);
        await family.pass(lock + 1_000);
        const again = await take(at.queue, 'work', 5);
        expect(idsOf(again).sort()).to.deep.equal(idsOf(received.filter((_, n) => n !== 2)).sort());
        for (const { attempts } of again) expect(attempts).to.equal(2);
      });

      promises('goes on handing over a message that nobody settles, however often', async () => {
        await at.queue.send('work', [said('m1')]);
        for (let attempts = 1; attempts <= 25; attempts++) {
          expect((await takeOne(at.queue, 'work')).attempts).to.equal(attempts);
          await family.pass(lock + 1_000);
        }
      });

      promises('moves lockedUntil on with every renewal, and hides the message for so long', async () => {
        await at.queue.send('work', [said('m1')]);
        let received = await takeOne(at.queue, 'work');
        for (let n = 0; n < 3; n++) {
          await family.pass(lock - 1_000);
          const renewed = await at.queue.renew(received);
          expect(renewed.lockedUntil).to.be.greaterThan(received.lockedUntil);
          expect(renewed.attempts).to.equal(1);
          received = renewed;
          await expectNone(at.queue, 'work');
        }
        await at.queue.done(received);
        await family.pass(lock + 1_000);
        await expectNone(at.queue, 'work');
      });

      promises('hands a renewed message over again when the renewed lock has run out, too', async () => {
        await at.queue.send('work', [said('m1')]);
        const received = await takeOne(at.queue, 'work');
        await family.pass(lock - 1_000);
        const renewed = await at.queue.renew(received);
        await family.pass(lock + 1_000);
        await refusal('lockLost', at.queue.done(renewed));
        expect((await takeOne(at.queue, 'work')).attempts).to.equal(2);
      });

      promises('refuses to renew after the lock has run out', async () => {
        await at.queue.send('work', [said('m1')]);
        const late = await takeOne(at.queue, 'work');
        await family.pass(lock + 1_000);
        await refusal('lockLost', at.queue.renew(late));
        expect(idsOf([await takeOne(at.queue, 'work')])).to.deep.equal(['m1']);
      });

      for (const [renewed, lost, title] of [[0, 1, 'frees a later lock though an earlier one was renewed'], [1, 0, 'frees an earlier lock though a later one was renewed']] as const) {
        promises(title, async () => {
          await at.queue.send('work', [said('m1'), said('m2')]);
          const received = await take(at.queue, 'work', 2);
          await family.pass(lock / 2);
          await at.queue.renew(received[renewed]!);
          await family.pass(lock / 2 + 1_000);
          await refusal('lockLost', at.queue.done(received[lost]!));
          expect(idsOf([await takeOne(at.queue, 'work')])).to.deep.equal(idsOf([received[lost]!]));
          await expectNone(at.queue, 'work');
        });
      }
    });

    group('delay and retry', () => {
      promises('hides a delayed message until its time, and not those beside it', async () => {
        await at.queue.send('work', [said('later')], { delaySeconds: 10 });
        await at.queue.send('work', [said('now')]);
        expect(idsOf(await take(at.queue, 'work', 2))).to.deep.equal(['now']);
        await family.pass(9_000);
        await expectNone(at.queue, 'work');
        await family.pass(1_500);
        const received = await takeOne(at.queue, 'work');
        expect(idsOf([received])).to.deep.equal(['later']);
        expect(received.attempts).to.equal(1);
      });

      promises('sends a retried message again, the same one, as one attempt more', async () => {
        const message = said('m1');
        await at.queue.send('work', [message]);
        await at.queue.retry(await takeOne(at.queue, 'work'), { delaySeconds: 5, blame: true });
        await expectNone(at.queue, 'work');
        await family.pass(5_500);
        const again = await takeOne(at.queue, 'work');
        expect(again.message).to.deep.equal(message);
        expect(again.attempts).to.equal(2);
        await at.queue.retry(again, { delaySeconds: 0, blame: true });
        expect((await takeOne(at.queue, 'work')).attempts).to.equal(3);
      });

      promises('does not count a retry for which the message is not to blame', async () => {
        await at.queue.send('work', [said('m1')]);
        for (let n = 0; n < 3; n++) {
          const received = await takeOne(at.queue, 'work');
          expect(received.attempts).to.equal(1);
          await at.queue.retry(received, { delaySeconds: 0, blame: false });
        }
      });

      promises('leaves one message after a retry, and not the original beside it', async () => {
        await at.queue.send('work', [said('m1')]);
        await at.queue.retry(await takeOne(at.queue, 'work'), { delaySeconds: 0, blame: true });
        await at.queue.done(await takeOne(at.queue, 'work'));
        await family.pass(lock + 1_000);
        await expectNone(at.queue, 'work');
      });

      promises('duplicates, and never loses, what is retried after its lock has run out', async () => {
        await at.queue.send('work', [said('m1')]);
        const late = await takeOne(at.queue, 'work');
        await family.pass(lock + 1_000);
        await refusal('lockLost', at.queue.retry(late, { delaySeconds: 0, blame: true }));
        expect(idsOf(await take(at.queue, 'work', 2))).to.deep.equal(['m1', 'm1']);
      });

      promises('cuts a longer delay to the longest that there is', async () => {
        await at.queue.send('work', [said('m1')], { delaySeconds: limits.delaySecondsMax * 3 });
        await family.pass(limits.delaySecondsMax * 1_000 - 1_000);
        await expectNone(at.queue, 'work');
        await family.pass(2_000);
        expect(idsOf([await takeOne(at.queue, 'work')])).to.deep.equal(['m1']);
      });

      promises('takes the longest delay that there is, and one second less', async () => {
        await at.queue.send('work', [said('below')], { delaySeconds: limits.delaySecondsMax - 1 });
        await at.queue.send('work', [said('at')], { delaySeconds: limits.delaySecondsMax });
        await family.pass((limits.delaySecondsMax - 2) * 1_000);
        await expectNone(at.queue, 'work');
        await family.pass(3_000);
        expect(idsOf(await take(at.queue, 'work', 2)).sort()).to.deep.equal(['at', 'below']);
      });

      promises('cuts the delay of a retry, too', async () => {
        await at.queue.send('work', [said('m1')]);
        await at.queue.retry(await takeOne(at.queue, 'work'), { delaySeconds: limits.delaySecondsMax + 1_000_000, blame: true });
        await family.pass(limits.delaySecondsMax * 1_000 + 1_000);
        expect((await takeOne(at.queue, 'work')).attempts).to.equal(2);
      });

      promises('counts on from the receipts that a copy has behind it', async () => {
        await at.queue.send('work', [said('m1')], { attempts: 7 });
        expect((await takeOne(at.queue, 'work')).attempts).to.equal(8);
        await family.pass(lock + 1_000);
        expect((await takeOne(at.queue, 'work')).attempts).to.equal(9);
      });

      promises('hands over messages in whatever order their delays end, each in its time', async () => {
        for (const [id, delaySeconds] of [['third', 30], ['first', 10], ['second', 20]] as const) await at.queue.send('work', [said(id)], { delaySeconds });
        for (const id of ['first', 'second', 'third']) {
          await family.pass(10_200);
          const received = await takeOne(at.queue, 'work');
          expect(idsOf([received])).to.deep.equal([id]);
          await at.queue.done(received);
          await expectNone(at.queue, 'work');
        }
      });
    });

    group('restart', () => {
      promises('loses nothing that was sent, received or delayed', async () => {
        await at.queue.send('work', [said('locked')]);
        await takeOne(at.queue, 'work');
        await at.queue.send('work', [said('waiting')]);
        await at.queue.send('work', [said('delayed')], { delaySeconds: 5 });
        await at.restart();
        await family.pass(lock + 6_000);
        const received = await take(at.queue, 'work', 3);
        expect(idsOf(received).sort()).to.deep.equal(['delayed', 'locked', 'waiting']);
        expect(received.find(({ message }) => 'id' in message && message.id === 'locked')?.attempts).to.equal(2);
      });

      promises('does not bring back what was done', async () => {
        await at.queue.send('work', [said('m1'), said('m2')]);
        const [first] = await take(at.queue, 'work', 2);
        await at.queue.done(first!);
        await at.restart();
        await family.pass(lock + 1_000);
        const left = await take(at.queue, 'work', 2);
        expect(left).to.have.length(1);
        expect(idsOf(left)).not.to.deep.equal(idsOf([first!]));
      });

      promises('keeps the count of receipts and the rest of a delay over a restart', async () => {
        await at.queue.send('work', [said('m1')]);
        await at.queue.retry(await takeOne(at.queue, 'work'), { delaySeconds: 20, blame: true });
        await at.restart();
        await family.pass(18_000);
        await expectNone(at.queue, 'work');
        await family.pass(3_000);
        expect((await takeOne(at.queue, 'work')).attempts).to.equal(2);
      });

      promises('answers a failure, and never an empty list, when it cannot look or settle', async () => {
        await at.queue.send('work', [said('m1'), said('m2')]);
        const received = await takeOne(at.queue, 'work');
        await family.sever!();
        await failure(at.queue.receive('work', { max: 1, waitSeconds: 0 }));
        await failure(at.queue.send('work', [said('m3')]));
        await failure(at.queue.done(received));
        await failure(at.queue.renew(received));
        await at.restart();
        await family.pass(lock + 1_000);
        expect(idsOf(await take(at.queue, 'work', 3)).sort()).to.deep.equal(['m1', 'm2']);
      }, family.sever);
    });

    group('waiting', () => {
      /** Waits, and waits again should a wait end early with nothing. */
      async function wait(): Promise<Received[]> {
        for (let look = 0; look < looksMax; look++) {
          const received = await at.queue.receive('work', { max: 1, waitSeconds: 20 });
          if (received.length > 0) return received;
        }
        return [];
      }

      promises('wakes up when a message is sent', async () => {
        const waiting = wait();
        await family.pass(1_000);
        await at.queue.send('work', [said('m1')]);
        await family.pass(200);
        expect(idsOf(await nowFrom(waiting))).to.deep.equal(['m1']);
      });

      promises('ends empty when the time is over', async () => {
        const waiting = at.queue.receive('work', { max: 1, waitSeconds: 2 });
        await family.pass(2_500);
        expect(await nowFrom(waiting)).to.deep.equal([]);
      });

      promises('notices a delayed message in time', async () => {
        await at.queue.send('work', [said('m1')], { delaySeconds: 5 });
        const waiting = wait();
        await family.pass(6_000);
        expect(idsOf(await nowFrom(waiting))).to.deep.equal(['m1']);
      });

      promises('notices a lock that runs out in time', async () => {
        await at.queue.send('work', [said('m1')]);
        await takeOne(at.queue, 'work');
        await family.pass(lock - 5_000);
        const waiting = wait();
        await family.pass(6_000);
        const [again] = await nowFrom(waiting);
        expect(again?.attempts).to.equal(2);
      });

      promises('ends at once when the signal is aborted, before or meanwhile', async () => {
        const stop = new AbortController();
        const waiting = at.queue.receive('work', { max: 1, waitSeconds: 20, signal: stop.signal });
        await family.pass(100);
        stop.abort();
        await family.pass(100);
        expect(await nowFrom(waiting)).to.deep.equal([]);
        const after = at.queue.receive('work', { max: 1, waitSeconds: 20, signal: stop.signal });
        await family.pass(100);
        expect(await nowFrom(after)).to.deep.equal([]);
      });

      promises('takes no message with it when it was aborted', async () => {
        const stop = new AbortController();
        const waiting = at.queue.receive('work', { max: 1, waitSeconds: 20, signal: stop.signal });
        await family.pass(100);
        stop.abort();
        await at.queue.send('work', [said('m1')]);
        await nowFrom(waiting);
        expect(idsOf(await take(at.queue, 'work', 1))).to.deep.equal(['m1']);
      });

      promises('hands one message to one of many who wait', async () => {
        const waiting = [1, 2, 3].map(() => at.queue.receive('work', { max: 1, waitSeconds: 10 }));
        await family.pass(100);
        await at.queue.send('work', [said('m1')]);
        await family.pass(11_000);
        const received = (await Promise.all(waiting.map(nowFrom))).flat();
        expect(idsOf([...received, ...(await take(at.queue, 'work', 3))])).to.deep.equal(['m1']);
      });

      promises('takes nothing of one queue for who waits at another', async () => {
        const waiting = at.queue.receive('other', { max: 1, waitSeconds: 3 });
        await family.pass(100);
        await at.queue.send('work', [said('m1')]);
        await family.pass(3_500);
        expect(await nowFrom(waiting)).to.deep.equal([]);
        expect(idsOf(await take(at.queue, 'work', 1))).to.deep.equal(['m1']);
      });
    });
  });
}
