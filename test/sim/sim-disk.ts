import type { BlobKeyHex, StripeId, VolumeId } from '../../engine/blob/index.ts';
import type { ShardMeta } from '../../engine/protocol/index.ts';
import type { OwnerRange, OwnerState } from '../../engine/store/index.ts';

export type SimRecord = { readonly meta: ShardMeta; readonly crcs: Uint32Array; readonly payload: Uint8Array };
export type SimOwnerTombstone = { readonly owner: VolumeId; readonly range: OwnerRange; readonly stamp: bigint };

/** What survives a crash of a simulated node. */
export type SimDisk = {
  readonly incarnation: bigint;
  readonly createdStamp: bigint;
  completeSince: bigint;
  fencesComplete: boolean;
  /** Takes no more shards; still deletes, and reads. */
  full: boolean;
  readonly records: Map<BlobKeyHex, SimRecord[]>;
  /** Of these a read has found that their checksums fail. */
  readonly corrupt: Set<SimRecord>;
  readonly tombstones: Map<BlobKeyHex, bigint>;
  readonly ownerTombstones: SimOwnerTombstone[];
  readonly owners: Map<VolumeId, OwnerState>;
  readonly degraded: Map<string, { key: BlobKeyHex; stripeId: StripeId; missingMask: number }>;
};

/** One byte of the payload is another: its checksums tell. */
export function rotten(record: SimRecord, at: number): SimRecord {
  const payload = Uint8Array.from(record.payload);
  payload[at % payload.length] = (payload[at % payload.length] ?? 0) ^ 0x10;
  return { ...record, payload };
}

/** An empty one: `complete` at genesis, when there was nothing to forget. */
export function blankDisk(incarnation: bigint, createdStamp: bigint, complete: boolean): SimDisk {
  return {
    incarnation,
    createdStamp,
    completeSince: complete ? 0n : createdStamp,
    fencesComplete: complete,
    full: false,
    records: new Map(),
    corrupt: new Set(),
    tombstones: new Map(),
    ownerTombstones: [],
    owners: new Map(),
    degraded: new Map(),
  };
}
