import { NabuError } from '../../common/errors/index.ts';
import { type Policy, shardCount } from './policy.ts';

/** The unit of checksums, of ranged reads and of alignment. */
export const BLOCK_BYTES = 4096;
export const MAX_BLOB_BYTES = 64 * 1024 * 1024;
export const DEFAULT_STRIPE_BYTES = 4 * 1024 * 1024;

export function roundUpToBlock(bytes: number): number {
  return Math.ceil(bytes / BLOCK_BYTES) * BLOCK_BYTES;
}

/**
 * Bytes of each shard: the blob is padded with zeros to k equal runs of whole blocks. Shard i of the data holds bytes
 * [i * shardLength, (i + 1) * shardLength). An empty blob still has one block per shard, so that it can be found.
 */
export function shardLengthOf(policy: Policy, blobLength: number): number {
  return roundUpToBlock(Math.max(1, Math.ceil(blobLength / policy.k)));
}

/** Bytes of the buffer that holds all k + m shards side by side. */
export function stripeLengthOf(policy: Policy, blobLength: number): number {
  return shardCount(policy) * shardLengthOf(policy, blobLength);
}

/** Throws INVALID_ARGUMENT unless 0 <= blobLength <= 64 MiB. */
export function checkBlobLength(blobLength: number): void {
  if (Number.isSafeInteger(blobLength) && blobLength >= 0 && blobLength <= MAX_BLOB_BYTES) return;
  throw NabuError.of('INVALID_ARGUMENT', {
    field: 'blobLength',
    reason: `${blobLength} is not in 0..${MAX_BLOB_BYTES}`,
  });
}

/** A part of one data shard: what a byte range of the blob needs from it. */
export type ShardRange = {
  readonly shard: number;
  /** First byte within the shard, a multiple of 4096. */
  readonly offset: number;
  /** A multiple of 4096, more than 0. */
  readonly length: number;
};

/** The block-aligned pieces of data shards that cover bytes [offset, offset + length) of the blob, in order. */
export function shardRanges(shardLength: number, offset: number, length: number): ShardRange[] {
  const out: ShardRange[] = [];
  const end = offset + length;
  for (let at = offset; at < end; ) {
    const shard = Math.floor(at / shardLength);
    const base = shard * shardLength;
    const stop = Math.min(end, base + shardLength);
    const first = Math.floor((at - base) / BLOCK_BYTES) * BLOCK_BYTES;
    out.push({ shard, offset: first, length: roundUpToBlock(stop - base) - first });
    at = stop;
  }
  return out;
}
