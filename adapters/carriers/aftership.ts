import { z } from 'zod';
import { timestamp, type NoticeReader, type TrackingFact, type TrackingStatus } from '../../ports/index.ts';
import {
  Carrier, MaybeMoment, NoticeId, TrackingNumber, Word, dictionary, hmac, json, latest, missing, reader, same, type Headers, type Notice,
} from './notice.ts';

/**
 * AfterShip Tracking's webhook (https://www.aftership.com/docs/tracking/webhook): `aftership-hmac-sha256: <base64>` over the raw body.
 * There is no protection against replay but `event_id`; it is sent up to 14 times in 68 hours.
 */

const statusOf = dictionary({
  Pending: 'unknown',
  InfoReceived: 'preTransit',
  InTransit: 'inTransit',
  OutForDelivery: 'outForDelivery',
  // The carrier still has it and comes again.
  AttemptFail: 'inTransit',
  AvailableForPickup: 'availableForPickup',
  Delivered: 'delivered',
  Exception: 'failed',
  // Nobody has scanned it for 30 days, which says nothing about where it is.
  Expired: 'unknown',
});

const Envelope = z.object({ event: Word });
const Checkpoint = z.object({ tag: z.string().nullish(), checkpoint_time: MaybeMoment })
  .transform(({ tag, checkpoint_time }) => ({ status: tag, at: checkpoint_time }));
const Update = z.object({
  event_id: NoticeId,
  ts: z.int().min(0).max(253_402_300_799).nullish(),
  msg: z.object({
    tracking_number: TrackingNumber,
    slug: Carrier,
    tag: Word,
    return_to_sender: z.boolean().nullish(),
    updated_at: MaybeMoment,
    checkpoints: z.array(Checkpoint).nullish(),
  }),
});

export function aftership(secret: string | undefined): NoticeReader {
  return reader(secret, { forged, envelope: Envelope.loose(), facts });
}

function forged(raw: Uint8Array, headers: Headers, secret: string): string | undefined {
  const given = headers['aftership-hmac-sha256'];
  if (!given) return 'aftership-hmac-sha256 is missing';
  return same(signature(secret, raw), given) ? undefined : 'aftership-hmac-sha256 does not fit';
}

const signature = (secret: string, raw: Uint8Array): string => hmac(secret, raw).toString('base64');

function facts(envelope: z.infer<typeof Envelope>): readonly TrackingFact[] {
  if (envelope.event !== 'tracking_update') return [];
  const { event_id: noticeId, ts, msg } = Update.parse(envelope);
  const said = typeof ts === 'number' ? timestamp(ts * 1000) : msg.updated_at;
  const occurredAt = latest(msg.checkpoints, msg.tag) ?? said ?? missing('ts');
  return [{ carrier: msg.slug, trackingNumber: msg.tracking_number, status: meaning(msg.tag, msg.return_to_sender === true), occurredAt, noticeId }];
}

/** A parcel that goes back ends as `Delivered` or as an `Exception`; neither is a delivery to the customer. */
function meaning(tag: string, returned: boolean): TrackingStatus {
  return returned && (tag === 'Delivered' || tag === 'Exception') ? 'returned' : statusOf(tag);
}

const words: Readonly<Record<TrackingStatus, string>> = {
  unknown: 'Pending',
  preTransit: 'InfoReceived',
  inTransit: 'InTransit',
  outForDelivery: 'OutForDelivery',
  availableForPickup: 'AvailableForPickup',
  delivered: 'Delivered',
  returned: 'Exception',
  failed: 'Exception',
};

export function say(fact: TrackingFact, secret: string, now: number): Notice {
  const at = timestamp(now);
  const tag = words[fact.status];
  const body = json({
    ts: Math.floor(now / 1000),
    event: 'tracking_update',
    event_id: fact.noticeId,
    is_tracking_first_tag: true,
    msg: {
      id: fact.trackingNumber.toLowerCase(),
      created_at: fact.occurredAt,
      updated_at: at,
      last_updated_at: at,
      tracking_number: fact.trackingNumber,
      slug: fact.carrier,
      active: fact.status !== 'delivered',
      source: 'api',
      tag,
      subtag: `${tag}_001`,
      subtag_message: tag,
      title: fact.trackingNumber,
      tracked_count: 1,
      checkpoints: [{
        slug: fact.carrier, city: null, created_at: at, location: null, country_name: null, message: tag, country_iso3: null, tag,
        subtag: `${tag}_001`, subtag_message: tag,
        checkpoint_time: fact.occurredAt, coordinates: [], state: null, zip: null, raw_tag: null,
      }],
      return_to_sender: fact.status === 'returned',
    },
  });
  return { path: 'aftership', headers: { 'content-type': 'application/json', 'aftership-hmac-sha256': signature(secret, body) }, body };
}
