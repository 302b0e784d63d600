import type { BlobKey, StripeId, VolumeId } from '../blob/index.ts';
import type { ClusterMap } from '../placement/index.ts';
import type { AppendResult, LookupAnswer, OwnerRange, OwnerState, OwnerUpdate } from '../store/index.ts';
import type { CallDeadline, PayloadRef } from '../transport/index.ts';
import type { OwnerPage } from './owner-ops.ts';
import type { ShardMeta } from './shard-meta.ts';
import type { ReadFailure, ShardSelector } from './shard-ops.ts';

export type CallOptions = {
  readonly deadline: CallDeadline;
  readonly signal?: AbortSignal | undefined;
  /** The caller's cluster map. A node with a newer one answers all the same and tells its epoch. */
  readonly mapEpoch?: number | undefined;
};

export type ShardRead =
  | {
      readonly status: 'ok';
      readonly meta: ShardMeta;
      /** Of each 4 KiB of the payload: the caller verifies. */
      readonly crcs: Uint32Array;
      /** What `into` returned. */
      readonly payload: PayloadRef;
    }
  | { readonly status: ReadFailure };

export type PutShard = {
  /** ShardMeta with its checksums, encoded. */
  readonly meta: Uint8Array;
  readonly payload: PayloadRef;
};

/**
 * One storage node, by typed calls. Each rejects with the node's error as a NabuError, or with what the connection
 * says: UNAVAILABLE, TIMEOUT, CANCELLED, QUEUE_FULL, PROTOCOL_ERROR.
 */
export interface NodeClient {
  /** FENCED, FENCES_INCOMPLETE, DEVICE_FULL, DEVICE_FAILED, DEVICE_READ_ONLY, SHARD_CORRUPT, RESOURCE_EXHAUSTED, MAP_STALE. */
  putShard(shard: PutShard, options: CallOptions): Promise<AppendResult>;
  /** `into` says where the payload goes; it runs before the payload is read off the wire. */
  readShard(
    select: ShardSelector,
    into: (payloadLength: number) => PayloadRef,
    options: CallOptions,
  ): Promise<ShardRead>;
  /** Answers in the order of the keys, at most 4096. askStamp 0n: any age. */
  lookup(keys: readonly BlobKey[], askStamp: bigint, options: CallOptions): Promise<LookupAnswer[]>;
  /** A durable tombstone for each of at most 1,024 keys. */
  delete(keys: readonly BlobKey[], stamp: bigint, options: CallOptions): Promise<void>;
  deleteOwnerRange(owner: VolumeId, range: OwnerRange, stamp: bigint, options: CallOptions): Promise<void>;
  setOwner(owner: VolumeId, update: OwnerUpdate, options: CallOptions): Promise<OwnerState>;
  getOwner(owner: VolumeId, options: CallOptions): Promise<OwnerState | undefined>;
  /** At most 256 a page. */
  listOwners(after: VolumeId | undefined, limit: number, options: CallOptions): Promise<OwnerPage>;
  getMap(options: CallOptions): Promise<ClusterMap>;
  /** Offers a map; the answer is the epoch that the node has now. */
  setMap(map: ClusterMap, options: CallOptions): Promise<number>;
  stats(options: CallOptions): Promise<Readonly<Record<string, unknown>>>;
  markDegraded(key: BlobKey, stripeId: StripeId, missingMask: number, options: CallOptions): Promise<void>;
  ping(options: CallOptions): Promise<void>;
}
