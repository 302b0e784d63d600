import type { StripeId } from '../blob/index.ts';

/** A stripe in the slab: k + m shards of `shardLength` bytes one after the other, data first. */
export type StripeRange = {
  /** Bytes from the start of the slab, a multiple of 64. */
  readonly offset: number;
  /** A multiple of 4096. */
  readonly shardLength: number;
  /** How many bytes of the data shards are the blob; zeros follow up to k * shardLength. */
  readonly blobLength: number;
};

export type EncodedStripe = {
  /** CRC32C of every 4 KiB block of every shard, shard after shard: (k + m) * shardLength / 4096 of them. */
  readonly crcs: Uint32Array;
  /** XXH3-128 of the blob combined with k, m and its length (native/ec/stripe.h). */
  readonly stripeId: StripeId;
};

export type Reconstruction = {
  /** Where shard i lies or shall lie, in bytes from the start of the slab, a multiple of 64; -1 for one not involved. */
  readonly offsets: ArrayLike<number>;
  /** Bit i: shard i is there. At least k of them. */
  readonly presentMask: number;
  /** Bit i: shard i is to be rebuilt. None of the present ones. */
  readonly wantedMask: number;
  /** Bytes of each shard, or of the same range of each: any number. */
  readonly shardLength: number;
};

/**
 * Port. Erasure code of k data and m parity shards over one slab. The bytes named by a call belong to the coder until its
 * promise settles. Wrong arguments reject with INVALID_ARGUMENT or OUT_OF_RANGE, too much work at once with QUEUE_FULL;
 * then nothing was written. Calls are short (64 MiB take some milliseconds) and cannot be cancelled.
 */
export interface ErasureCoder {
  readonly k: number;
  readonly m: number;
  readonly driver: string;

  /** Computes the parity shards in place, and what a put needs to know of the stripe. */
  encodeStripe(stripe: StripeRange): Promise<EncodedStripe>;

  /** Writes the wanted shards in place. */
  reconstruct(request: Reconstruction): Promise<void>;

  /** Index (counted from k) of the first parity shard that does not belong to the data, or -1. */
  verify(offsets: ArrayLike<number>, shardLength: number): Promise<number>;
}
