import { z } from 'zod';
import type { NoticeReader, TrackingFact, TrackingStatus } from '../../ports/index.ts';
import {
  Carrier, MaybeMoment, NoticeId, TrackingNumber, Word, dictionary, hmac, json, latest, missing, reader, same, type Headers, type Notice,
} from './notice.ts';

/**
 * EasyPost's webhook (https://docs.easypost.com/docs/webhooks): `X-Hmac-Signature: hmac-sha256-hex=<hex>` over the raw body, keyed with the secret
 * normalised to NFKD. There is no protection against replay but the event's id.
 */

const statusOf = dictionary({
  unknown: 'unknown',
  pre_transit: 'preTransit',
  in_transit: 'inTransit',
  out_for_delivery: 'outForDelivery',
  available_for_pickup: 'availableForPickup',
  delivered: 'delivered',
  return_to_sender: 'returned',
  failure: 'failed',
  cancelled: 'failed',
  // "error" says that the tracking broke, not the parcel.
  error: 'unknown',
});

const Envelope = z.object({ description: Word, mode: Word });
const Detail = z.object({ status: z.string().nullish(), datetime: MaybeMoment }).transform(({ status, datetime }) => ({ status, at: datetime }));
const Event = z.object({
  id: NoticeId,
  updated_at: MaybeMoment,
  result: z.object({
    mode: Word.nullish(),
    tracking_code: TrackingNumber,
    carrier: Carrier,
    status: Word,
    is_return: z.boolean().nullish(),
    updated_at: MaybeMoment,
    tracking_details: z.array(Detail).nullish(),
  }),
});

export function easypost(secret: string | undefined): NoticeReader {
  return reader(secret, { forged, envelope: Envelope.loose(), facts });
}

function forged(raw: Uint8Array, headers: Headers, secret: string): string | undefined {
  const given = headers['x-hmac-signature'];
  if (!given) return 'X-Hmac-Signature is missing';
  return same(signature(secret, raw), given) ? undefined : 'X-Hmac-Signature does not fit';
}

const signature = (secret: string, raw: Uint8Array): string => `hmac-sha256-hex=${hmac(secret.normalize('NFKD'), raw).toString('hex')}`;

function facts(envelope: z.infer<typeof Envelope>): readonly TrackingFact[] {
  if (envelope.description !== 'tracker.updated' || envelope.mode !== 'production') return [];
  const { id, updated_at, result } = Event.parse(envelope);
  if (result.mode && result.mode !== 'production') return [];
  const occurredAt = latest(result.tracking_details, result.status) ?? result.updated_at ?? updated_at ?? missing('result', 'updated_at');
  const status = meaning(result.status, result.is_return === true);
  return [{ carrier: result.carrier, trackingNumber: result.tracking_code, status, occurredAt, noticeId: id }];
}

/** What has been delivered on its way back has not been delivered to the customer. */
function meaning(status: string, isReturn: boolean): TrackingStatus {
  const said = statusOf(status);
  return isReturn && said === 'delivered' ? 'returned' : said;
}

const words: Readonly<Record<TrackingStatus, string>> = {
  unknown: 'unknown',
  preTransit: 'pre_transit',
  inTransit: 'in_transit',
  outForDelivery: 'out_for_delivery',
  availableForPickup: 'available_for_pickup',
  delivered: 'delivered',
  returned: 'return_to_sender',
  failed: 'failure',
};

export function say(fact: TrackingFact, secret: string, now: number): Notice {
  const at = new Date(now).toISOString();
  const seconds = at.replace(/\.\d+Z$/, 'Z');
  const status = words[fact.status];
  const body = json({
    description: 'tracker.updated',
    mode: 'production',
    previous_attributes: { status: 'in_transit' },
    created_at: at,
    pending_urls: [],
    completed_urls: [],
    updated_at: at,
    id: fact.noticeId,
    user_id: 'user_demo',
    status: 'pending',
    object: 'Event',
    result: {
      id: `trk_${fact.trackingNumber}`,
      object: 'Tracker',
      mode: 'production',
      tracking_code: fact.trackingNumber,
      status,
      status_detail: 'unknown',
      created_at: fact.occurredAt,
      updated_at: seconds,
      signed_by: null,
      weight: null,
      est_delivery_date: null,
      shipment_id: null,
      carrier: fact.carrier,
      tracking_details: [{
        object: 'TrackingDetail', message: status, description: status, status, status_detail: 'unknown',
        datetime: fact.occurredAt, source: fact.carrier, carrier_code: null,
        tracking_location: { object: 'TrackingLocation', city: null, state: null, country: null, zip: null },
      }],
      carrier_detail: null,
      finalized: true,
      is_return: false,
      public_url: `https://track.easypost.com/${fact.trackingNumber}`,
    },
  });
  return { path: 'easypost', headers: { 'content-type': 'application/json', 'x-hmac-signature': signature(secret, body) }, body };
}
