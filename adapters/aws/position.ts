/**
 * POSITIONS IN A SHARD: the sequence number of a record, and when it arrived (milliseconds since 1970), as `<number>@<time>`.
 *
 * Kinesis answers a sequence number that has fallen out of retention with the earliest record that it still has, and says nothing. The numbers have holes, so nobody can see
 * from them whether something is missing. The time beside it tells whether what came next can have been dropped.
 */
export interface Position {
  readonly sequence: bigint;
  readonly arrivedAt: number;
}

export const positionOf = (sequenceNumber: string, arrivedAt: number): string => `${sequenceNumber}@${Math.round(arrivedAt)}`;

/** Our own form alone: `undefined` for what we have never given out. */
export function parsedPosition(text: string): Position | undefined {
  const [, sequence, arrivedAt] = /^([1-9][0-9]{0,127})@([1-9][0-9]{0,14})$/.exec(text) ?? [];
  return sequence === undefined ? undefined : { sequence: BigInt(sequence), arrivedAt: Number(arrivedAt) };
}
