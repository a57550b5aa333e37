import { noticeReaders, writers, type FormatName } from '../../adapters/carriers/index.ts';
import type { TrackingFact, TrackingStatus } from '../../ports/index.ts';

/** What carriers send us, as it is archived: bytes, headers, and what was understood of them. */
export interface ArchivedNotice {
  readonly carrier: string;
  readonly secret: string;
  /** Milliseconds since 1970: when it came. */
  readonly now: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly facts: readonly TrackingFact[];
}

export const carriers: readonly string[] = [...noticeReaders({}).keys()].sort();

const statuses: readonly TrackingStatus[] = ['unknown', 'preTransit', 'inTransit', 'outForDelivery', 'availableForPickup', 'delivered', 'returned', 'failed'];
const secret = 'a secret of the archive';
const now = Date.parse('2026-11-20T08:59:00.000Z');

/** Of every carrier one notice a status, as it would be written and understood today. */
export function noticesOfToday(): ArchivedNotice[] {
  return Object.entries(writers).flatMap(([carrier, write]) =>
    statuses.map((status, n) => {
      const fact: TrackingFact = { carrier, trackingNumber: `T${n}`, status, occurredAt: '2026-11-20T08:58:00.000Z', noticeId: `notice-${n}` };
      const { headers, body } = write(fact, secret, now);
      const notice = { carrier, secret, now, headers, body: Buffer.from(body).toString() };
      return { ...notice, facts: understood(notice) };
    }),
  );
}

/** What today's reader understands. Throws when it does not believe it. */
export function understood({ carrier, secret: known, now: at, headers, body }: Omit<ArchivedNotice, 'facts'>): readonly TrackingFact[] {
  const reader = noticeReaders({ [carrier]: known }).get(carrier as FormatName);
  if (!reader) throw new Error(`nobody reads the notices of ${carrier}`);
  const answer = reader.read(Buffer.from(body), headers, at);
  if ('refused' in answer) throw new Error(`${carrier}: ${answer.refused}, ${answer.detail}`);
  return answer.facts;
}
