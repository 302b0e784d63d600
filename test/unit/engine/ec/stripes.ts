import { roundUpToBlock } from '../../../../engine/blob/index.ts';

/** One stripe of a blob at the start of an ArrayBuffer of its own, which stands for the slab. */
export type Stripe = {
  readonly slab: ArrayBuffer;
  readonly shardLength: number;
  readonly blobLength: number;
  /** Offsets of the k + m shards. */
  readonly offsets: number[];
  shard(index: number): Uint8Array;
};

export function stripeOf(blob: Uint8Array, policy: { readonly k: number; readonly m: number }): Stripe {
  const shardLength = roundUpToBlock(Math.max(1, Math.ceil(blob.length / policy.k)));
  const count = policy.k + policy.m;
  const slab = new ArrayBuffer(count * shardLength);
  new Uint8Array(slab).set(blob);
  return {
    slab,
    shardLength,
    blobLength: blob.length,
    offsets: Array.from({ length: count }, (_, shard) => shard * shardLength),
    shard: (index) => new Uint8Array(slab, index * shardLength, shardLength),
  };
}

/** Every set of at most `limit` of `count` shards, as masks. */
export function lossesUpTo(count: number, limit: number): number[] {
  const masks: number[] = [];
  for (let mask = 0; mask < 2 ** count; mask++) {
    if (shardsOf(mask).length <= limit) masks.push(mask);
  }
  return masks;
}

export function shardsOf(mask: number): number[] {
  const shards: number[] = [];
  for (let shard = 0; mask >>> shard !== 0; shard++) if ((mask >>> shard) & 1) shards.push(shard);
  return shards;
}

/** Bytes that depend on their place, cheap to make. */
export function patternBytes(length: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(length);
  let state = seed >>> 0 || 1;
  for (let at = 0; at < length; at++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[at] = state >>> 24;
  }
  return bytes;
}
