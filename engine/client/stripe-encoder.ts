import {
  type BlobKey,
  OWNER_BYTES,
  ownerOf,
  type Policy,
  type Stamp,
  type StripeId,
  shardCount,
  ZERO_WRITER_EPOCH,
} from '../blob/index.ts';
import { crc32cBlocks, type ErasureCoder, stripeHash } from '../ec/index.ts';
import { encodeShardMeta, SHARD_FLAG, SHARD_KIND } from '../protocol/index.ts';
import type { PayloadRef } from '../transport/index.ts';
import type { LogWrite, StripeBuffer } from './types.ts';

const NO_OWNER = new Uint8Array(OWNER_BYTES);

/** A stripe that is ready to be sent. */
export type EncodedBlob = {
  readonly policy: Policy;
  readonly blobLength: number;
  readonly shardLength: number;
  readonly stripeId: StripeId;
  /** The checksums of shard i. */
  readonly crcsOf: (shard: number) => Uint32Array;
  readonly payloadOf: (shard: number) => PayloadRef;
};

/** With one data shard every shard is a copy of it, so one buffer serves all and nothing needs encoding. */
export function bufferedShards(policy: Policy): number {
  return policy.k === 1 ? 1 : shardCount(policy);
}

/** Zeroes the padding, computes parity, checksums and the stripe id in place. */
export async function encodeBlob(
  slab: ArrayBuffer,
  coder: ErasureCoder | undefined,
  stripe: StripeBuffer,
): Promise<EncodedBlob> {
  const { slot, policy, blobLength, shardLength } = stripe;
  slot.bytes.fill(0, blobLength, policy.k * shardLength);
  const blocks = shardLength / 4096;
  const common = { policy, blobLength, shardLength };
  if (coder === undefined) {
    const crcs = new Uint32Array(blocks);
    crc32cBlocks(slab, slot.offset, shardLength, crcs);
    const stripeId = stripeHash(slab, slot.offset, blobLength, policy);
    const payload = { offset: slot.offset, length: shardLength, slot };
    return { ...common, stripeId, crcsOf: () => crcs, payloadOf: () => payload };
  }
  const { crcs, stripeId } = await coder.encodeStripe({ offset: slot.offset, shardLength, blobLength });
  return {
    ...common,
    stripeId,
    crcsOf: (shard) => crcs.subarray(shard * blocks, (shard + 1) * blocks),
    payloadOf: (shard) => ({ offset: slot.offset + shard * shardLength, length: shardLength, slot }),
  };
}

export type ShardContext = {
  readonly key: BlobKey;
  readonly stamp: Stamp;
  readonly mapEpoch: number;
  readonly missingMask: number;
  readonly log: LogWrite | undefined;
};

/** The descriptor that travels with shard i and lies beside it on the device. */
export function shardDescriptor(blob: EncodedBlob, shard: number, context: ShardContext): Buffer {
  const { log, missingMask } = context;
  const flags =
    (log === undefined ? 0 : SHARD_FLAG.log) |
    (log?.compaction === true ? SHARD_FLAG.compaction : 0) |
    (missingMask === 0 ? 0 : SHARD_FLAG.degraded);
  return encodeShardMeta(
    {
      flags,
      key: context.key,
      stripeId: blob.stripeId,
      owner: log === undefined ? NO_OWNER : ownerOf(log.owner),
      writer: log?.epoch ?? ZERO_WRITER_EPOCH,
      sequence: log?.sequence ?? 0n,
      stamp: context.stamp,
      blobLength: blob.blobLength,
      shardLength: blob.shardLength,
      k: blob.policy.k,
      m: blob.policy.m,
      shardIndex: shard,
      kind: SHARD_KIND.shard,
      homeSetVersion: log?.homeSetVersion ?? 0n,
      mapEpoch: context.mapEpoch,
      missingMask,
      rangeOffset: 0,
    },
    blob.crcsOf(shard),
  );
}
