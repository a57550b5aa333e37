import { z } from 'zod';
import type { NoticeReader, TrackingFact, TrackingStatus } from '../../ports/index.ts';
import { Carrier, Moment, NoticeId, TrackingNumber, Word, dictionary, hmac, json, reader, same, type Headers, type Notice } from './notice.ts';

/**
 * The demo carrier's own format: `{id, carrier, trackingNumber, status, occurredAt}` in the words of `TrackingFact`,
 * with `Demo-Signature: sha256=<hex>` over the raw body.
 */

const statuses: Readonly<Record<TrackingStatus, TrackingStatus>> = {
  unknown: 'unknown',
  preTransit: 'preTransit',
  inTransit: 'inTransit',
  outForDelivery: 'outForDelivery',
  availableForPickup: 'availableForPickup',
  delivered: 'delivered',
  returned: 'returned',
  failed: 'failed',
};
const statusOf = dictionary(statuses);

const Envelope = z.object({ id: NoticeId, carrier: Carrier, trackingNumber: TrackingNumber, status: Word, occurredAt: Moment });

export function demo(secret: string | undefined): NoticeReader {
  return reader(secret, { forged, envelope: Envelope, facts });
}

function forged(raw: Uint8Array, headers: Headers, secret: string): string | undefined {
  const given = headers['demo-signature'];
  if (!given) return 'Demo-Signature is missing';
  return same(signature(secret, raw), given) ? undefined : 'Demo-Signature does not fit';
}

const signature = (secret: string, raw: Uint8Array): string => `sha256=${hmac(secret, raw).toString('hex')}`;

function facts({ id, status, ...rest }: z.infer<typeof Envelope>): readonly TrackingFact[] {
  return [{ ...rest, status: statusOf(status), noticeId: id }];
}

export function say({ noticeId, carrier, trackingNumber, status, occurredAt }: TrackingFact, secret: string): Notice {
  const body = json({ id: noticeId, carrier, trackingNumber, status, occurredAt });
  return { path: 'demo', headers: { 'content-type': 'application/json', 'demo-signature': signature(secret, body) }, body };
}
