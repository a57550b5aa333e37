import type { Shard } from '@aws-sdk/client-kinesis';

/**
 * PARTITIONS MADE OF SHARDS: a partition is a shard, or that part of one whose keys lie in a range of hashes; its name is `shardId-…`, with `:from-to` behind it (hexadecimal)
 * if it is a part.
 *
 * Parts are there for merges. A shard that was merged from two has two parents, and whoever comes from the end of the one must not read the keys of the other, whose events before
 * the merge nobody may have handled yet. So each parent has a partition of its own for a child, with its own keys alone. Both read the whole shard, and each keeps its half.
 */
export interface Range {
  readonly from: bigint;
  readonly to: bigint;
}

export interface Part {
  readonly shard: Shard;
  readonly range: Range;
  /** All of the shard. */
  readonly isWhole: boolean;
  readonly name: string;
}

export function rangeOf({ HashKeyRange }: Shard): Range {
  return { from: BigInt(HashKeyRange?.StartingHashKey ?? 0), to: BigInt(HashKeyRange?.EndingHashKey ?? 0) };
}

export const isIn = ({ from, to }: Range, hash: bigint): boolean => hash >= from && hash <= to;

function partOf(shard: Shard, range: Range): Part {
  const whole = rangeOf(shard);
  const isWhole = whole.from === range.from && whole.to === range.to;
  return { shard, range, isWhole, name: isWhole ? shard.ShardId! : `${shard.ShardId!}:${range.from.toString(16)}-${range.to.toString(16)}` };
}

/** The partition of this name; `undefined` if there is none. */
export function partNamed(shards: readonly Shard[], name: string): Part | undefined {
  const [, id, from, to] = /^(shardId-\d{1,12})(?::([0-9a-f]{1,32})-([0-9a-f]{1,32}))?$/.exec(name) ?? [];
  const shard = id === undefined ? undefined : shards.find(({ ShardId }) => ShardId === id);
  if (!shard) return undefined;
  if (from === undefined) return partOf(shard, rangeOf(shard));
  const range = { from: BigInt(`0x${from}`), to: BigInt(`0x${to!}`) };
  const common = intersection(rangeOf(shard), range);
  return common && common.from === range.from && common.to === range.to ? partOf(shard, range) : undefined;
}

/** With which a reader begins: what of each shard comes from no parent that is still kept. */
export function rootsOf(shards: readonly Shard[]): Part[] {
  return shards.flatMap((shard) => {
    const parents = shards.filter((other) => isChild(shard, other));
    return parents.reduce<Range[]>((left, parent) => left.flatMap((range) => without(range, rangeOf(parent))), [rangeOf(shard)]).map((range) => partOf(shard, range));
  });
}

/** In which the keys of a partition go on. */
export function childrenOf(shards: readonly Shard[], { shard, range }: Part): Part[] {
  return shards.filter((other) => isChild(other, shard)).flatMap((child) => {
    const common = intersection(rangeOf(child), range);
    return common ? [partOf(child, common)] : [];
  });
}

const isChild = ({ ParentShardId, AdjacentParentShardId }: Shard, { ShardId }: Shard): boolean => ParentShardId === ShardId || AdjacentParentShardId === ShardId;

function intersection(one: Range, other: Range): Range | undefined {
  const from = one.from > other.from ? one.from : other.from;
  const to = one.to < other.to ? one.to : other.to;
  return from <= to ? { from, to } : undefined;
}

function without(range: Range, hole: Range): Range[] {
  const common = intersection(range, hole);
  if (!common) return [range];
  return [{ from: range.from, to: common.from - 1n }, { from: common.to + 1n, to: range.to }].filter(({ from, to }) => from <= to);
}
