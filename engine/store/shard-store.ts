import type { BlobKey, StripeId, VolumeId, WriterEpoch } from '../blob/index.ts';

/** Who this store is. `incarnation` changes when a store is created or emptied, never otherwise. */
export type StoreIdentity = {
  readonly clusterId: Uint8Array;
  readonly nodeId: string;
  readonly deviceId: Uint8Array;
  readonly incarnation: bigint;
  /** Stamp of the creation of this incarnation. */
  readonly createdStamp: bigint;
  /**
   * Everything that was placed here with this stamp or a later one is held or was deleted. Starts as createdStamp, goes up
   * when records are lost, is set by setCompleteSince: what is older than it is never answered `absent`.
   */
  readonly completeSince: bigint;
  readonly fencesComplete: boolean;
};

/** One shard that the store holds. Lengths in bytes. */
export type ShardSummary = {
  readonly stripeId: StripeId;
  readonly shardIndex: number;
  readonly k: number;
  readonly m: number;
  readonly blobLength: number;
  readonly shardLength: number;
  readonly stamp: bigint;
};

export type LookupState = 'found' | 'absent' | 'unknown';

/** `deletedStamp`: the stamp of a tombstone that this store holds for the key, else 0n. */
export type LookupAnswer = {
  readonly state: LookupState;
  readonly shards: readonly ShardSummary[];
  readonly deletedStamp: bigint;
};

/** 'exists': the same (key, stripe id, shard) is durable already. 'deleted': a tombstone covers the record. */
export type AppendResult = 'stored' | 'exists' | 'deleted';

export type ShardReadRequest = {
  readonly key: BlobKey;
  /** null: any stripe of the key, the newest first. */
  readonly stripeId: StripeId | null;
  /** 255: any shard of the stripe. */
  readonly shardIndex: number;
  /** Multiples of 4096; rangeLength 0: to the end of the shard. A range past the end of the shard is OUT_OF_RANGE. */
  readonly rangeOffset: number;
  readonly rangeLength: number;
  /** Slab offset, a multiple of 4096, and the room there. */
  readonly payloadOffset: number;
  readonly payloadCapacity: number;
  /** Slab offset of 160 + 4 * (blocks of the range) bytes. */
  readonly metaOutOffset: number;
};

export type ShardViewRequest = Omit<ShardReadRequest, 'payloadOffset' | 'payloadCapacity' | 'metaOutOffset'>;

/** `slot.release` once, when nobody touches the bytes any more. */
export type ShardView = {
  readonly memory: ArrayBuffer;
  readonly offset: number;
  readonly length: number;
  readonly slot: { release(): void };
};

export type ShardViewResult =
  | { readonly status: 'ok'; readonly meta: Uint8Array; readonly payload: ShardView }
  | { readonly status: 'absent' | 'unknown' | 'corrupt' };

/** 'corrupt': it was here and its checksum fails or the device cannot read it. To be treated as missing. */
export type ShardReadResult =
  | { readonly status: 'ok'; readonly metaLength: number; readonly payloadLength: number }
  | { readonly status: 'absent' | 'unknown' | 'corrupt' };

/** Both ends inclusive. */
export type SequenceRange = { readonly fromSequence: bigint; readonly toSequence: bigint };

/**
 * Which blobs of an owner an owner tombstone covers. Without generation and incarnation: of every writer epoch. Sequences
 * 0 to 2^64-1 without an epoch cover the whole owner. `pins` (snapshots, at most 128) are kept whatever the range says.
 */
export type OwnerRange = SequenceRange & {
  readonly generation?: bigint;
  readonly incarnation?: bigint;
  readonly pins?: readonly SequenceRange[];
};

/** Durable state of a volume on this device. */
export type OwnerState = {
  readonly fence: WriterEpoch;
  readonly homeSetVersion: bigint;
  readonly note: Uint8Array;
  readonly noteVersion: bigint;
};

/** A note without noteVersion replaces the note there is (version + 1); with one, only an older one. At most 3072 bytes. */
export type OwnerUpdate = {
  readonly fence: WriterEpoch;
  readonly homeSetVersion: bigint;
  readonly note?: Uint8Array;
  readonly noteVersion?: bigint;
};

/** Shards of a stripe that are not where they belong: bit i of missingMask is shard i. */
export type DegradedMark = { readonly key: BlobKey; readonly stripeId: StripeId; readonly missingMask: number };

/** 'read-only': reads and nothing else; 'full': deletes too; 'failed': a hard write error was seen, reads are tried. */
export type StoreState = 'ok' | 'full' | 'read-only' | 'failed';

export type StoreStats = {
  readonly state: StoreState;
  readonly capacityBytes: number;
  /** Bytes of segments that are not free, dead records included. */
  readonly usedBytes: number;
  /** Bytes of live records, headers included. */
  readonly liveBytes: number;
  /** Bytes that appends may still take before the device is full, counting what compaction can win. */
  readonly freeBytes: number;
  readonly segments: number;
  readonly freeSegments: number;
  readonly segmentBytes: number;
  readonly shards: number;
  readonly tombstones: number;
  readonly owners: number;
  readonly degraded: number;
  readonly counters: Readonly<Record<string, number>>;
};

/**
 * The shard store of one device (DESIGN section 9). Offsets are into the slab the store was opened with; the caller keeps
 * them untouched until the promise settles. Errors: NabuError with DEVICE_FULL, DEVICE_FAILED, DEVICE_READ_ONLY (before
 * any byte is taken), FENCED, SHARD_CORRUPT (payload does not match its checksums), INVALID_ARGUMENT, OUT_OF_RANGE,
 * MESSAGE_TOO_LARGE (record does not fit a segment), QUEUE_FULL (too many operations in flight), UNAVAILABLE (closed).
 */
export interface ShardStore {
  readonly identity: StoreIdentity;

  /**
   * metaOffset: slab offset of ShardMeta and its checksums (kind 1); payloadOffset: slab offset (4 KiB aligned) of
   * shardLength bytes. Resolves when durable. A log blob of a lower writer epoch than the owner's fence is refused with
   * FENCED; of a higher one raises the fence first. Stamps up to the stamp of a tombstone are covered by it.
   */
  append(metaOffset: number, payloadOffset: number): Promise<AppendResult>;

  /** Answers in the order of the keys, at most 4096. askStamp: the oldest stamp the blob can have; 0n (default) any. */
  lookup(keys: readonly BlobKey[], askStamp?: bigint): Promise<LookupAnswer[]>;

  /** Verified against the record's checksums; writes ShardMeta and the range's checksums at metaOutOffset. */
  read(request: ShardReadRequest, askStamp?: bigint): Promise<ShardReadResult>;

  /**
   * As read does, at once and without a copy: the bytes lie where the device keeps them and stay there until they are let go. Close
   * waits for that. Only where the device is memory.
   */
  readonly view?: ((request: ShardViewRequest, askStamp?: bigint) => ShardViewResult) | undefined;

  /** Durable tombstone: covers every shard of the key with this stamp or an older one. */
  delete(key: BlobKey, stamp: bigint): Promise<void>;

  /** Durable owner tombstone. Effective at once for lookups and reads; space comes back in the background. */
  deleteOwnerRange(owner: VolumeId, range: OwnerRange, stamp: bigint): Promise<void>;

  /**
   * Merges and makes durable: the fence and homeSetVersion never go down; the note of a caller below the fence is not
   * taken. From the call on log appends below the fence are refused; resolves when those in flight have ended too.
   */
  setOwner(owner: VolumeId, update: OwnerUpdate): Promise<OwnerState>;
  /** What is durable. */
  getOwner(owner: VolumeId): OwnerState | undefined;
  /** In the order of ids, from the first after `after`; limit at most 1024. */
  listOwners(after: VolumeId | undefined, limit: number): [VolumeId, OwnerState][];

  /** The fence table is taken over (or there is none to take over): log blobs may be accepted. Durable. */
  setFencesComplete(): Promise<void>;
  /** At genesis (0n) or when repair is done: nothing since this stamp is missing here. Durable. */
  setCompleteSince(stamp: bigint): Promise<void>;

  /** missingMask 0 takes the mark away. Durable. */
  markDegraded(key: BlobKey, stripeId: StripeId, missingMask: number): Promise<void>;
  /** In an order of its own that does not change, from the first after `after`; limit at most 1024. */
  listDegraded(after: Pick<DegradedMark, 'key' | 'stripeId'> | undefined, limit: number): DegradedMark[];

  stats(): StoreStats;

  /** Ends what is in flight, writes a checkpoint and marks the device cleanly shut down. Idempotent. */
  close(): Promise<void>;
}
