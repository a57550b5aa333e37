import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { NoticeReader, TrackingFact, TrackingStatus } from '../../ports/index.ts';
import { Carrier, Moment, TrackingNumber, Word, dictionary, hmac, json, reader, same, type Headers, type Notice } from './notice.ts';

/**
 * Shippo's webhook (https://docs.goshippo.com/docs/tracking/webhooks): `Shippo-Auth-Signature: t=<unix seconds>,v1=<hex>` over `<t>.` and the raw body.
 * A notice has no id of its own and is sent again unasked, so the id is made of what it says.
 */

/** Seconds that the sender's clock may be behind or ahead of ours. */
const toleranceSeconds = 300;

const statusOf = dictionary({
  UNKNOWN: 'unknown',
  PRE_TRANSIT: 'preTransit',
  TRANSIT: 'inTransit',
  DELIVERED: 'delivered',
  RETURNED: 'returned',
  FAILURE: 'failed',
});

const Envelope = z.object({ event: Word, test: z.boolean() });
const Update = z.object({
  data: z.object({
    carrier: Carrier,
    tracking_number: TrackingNumber,
    tracking_status: z.object({ status: Word, status_date: Moment }),
  }),
});

export function shippo(secret: string | undefined): NoticeReader {
  return reader(secret, { forged, envelope: Envelope.loose(), facts });
}

function forged(raw: Uint8Array, headers: Headers, secret: string, now: number): string | undefined {
  const given = headers['shippo-auth-signature'];
  if (!given) return 'Shippo-Auth-Signature is missing';
  const [, t, v1] = /^\s*t=(\d{1,12})\s*,\s*v1=([0-9a-f]{64})\s*$/.exec(given) ?? [];
  if (t === undefined || v1 === undefined) return 'Shippo-Auth-Signature is not t=…,v1=…';
  if (!same(signature(secret, t, raw), v1)) return 'Shippo-Auth-Signature does not fit';
  return Math.abs(now / 1000 - Number(t)) <= toleranceSeconds ? undefined : `Shippo-Auth-Signature is over ${toleranceSeconds} seconds off`;
}

const signature = (secret: string, t: string, raw: Uint8Array): string => hmac(secret, `${t}.`, raw).toString('hex');

function facts(envelope: z.infer<typeof Envelope>): readonly TrackingFact[] {
  if (envelope.event !== 'track_updated' || envelope.test) return [];
  const { carrier, tracking_number: trackingNumber, tracking_status: said } = Update.parse(envelope).data;
  const noticeId = idOf(carrier, trackingNumber, said.status, said.status_date);
  return [{ carrier, trackingNumber, status: statusOf(said.status), occurredAt: said.status_date, noticeId }];
}

function idOf(...parts: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}

/** Shippo has no words of its own for the last mile. */
const words: Readonly<Record<TrackingStatus, string>> = {
  unknown: 'UNKNOWN',
  preTransit: 'PRE_TRANSIT',
  inTransit: 'TRANSIT',
  outForDelivery: 'TRANSIT',
  availableForPickup: 'TRANSIT',
  delivered: 'DELIVERED',
  returned: 'RETURNED',
  failed: 'FAILURE',
};

export function say(fact: TrackingFact, secret: string, now: number): Notice {
  const at = new Date(now).toISOString();
  const status = {
    object_created: at,
    object_updated: at,
    object_id: idOf(fact.noticeId).slice(0, 32),
    status: words[fact.status],
    status_details: '',
    status_date: fact.occurredAt,
    location: null,
  };
  const body = json({
    event: 'track_updated',
    test: false,
    data: {
      carrier: fact.carrier,
      tracking_number: fact.trackingNumber,
      address_from: null,
      address_to: null,
      eta: null,
      servicelevel: { token: null, name: null },
      metadata: null,
      tracking_status: status,
      tracking_history: [status],
    },
  });
  const t = String(Math.floor(now / 1000));
  return { path: 'shippo', headers: { 'content-type': 'application/json', 'shippo-auth-signature': `t=${t},v1=${signature(secret, t, body)}` }, body };
}
