import type { Deadline } from '../../common/concurrency/index.ts';
import type { BlobKey, NodeId, Policy, StripeId, VolumeId, WriterEpoch } from '../blob/index.ts';
import type { FailureDomain } from '../placement/index.ts';
import type { Slot } from '../slab/index.ts';

/** A log blob's place in its volume. */
export type LogWrite = {
  readonly owner: VolumeId;
  readonly epoch: WriterEpoch;
  readonly sequence: bigint;
  readonly homeSet: readonly NodeId[];
  readonly homeSetVersion: bigint;
  /** Bytes that lived in other log blobs and were moved by cleaning. */
  readonly compaction?: boolean;
};

/** What a put or get is waiting for. Sent when waiting begins, whenever its reason changes, and `undefined` when it ends. */
export type Waiting = {
  readonly operation: 'put' | 'get';
  readonly key: BlobKey;
  /** Nodes whose return would end the wait. */
  readonly nodes: readonly NodeId[];
  readonly reason: string;
};
export type WaitingListener = (waiting: Waiting | undefined) => void;

export type Spread = {
  /** Default host. */
  readonly failureDomain?: FailureDomain;
  /** Shards of one blob in one domain while all is well; default 1. */
  readonly maxShardsPerDomain?: number;
};

export type PutOptions = Spread & {
  /** `content`: the BLAKE3 of the bytes. */
  readonly key: BlobKey | 'content';
  readonly policy: Policy;
  readonly log?: LogWrite;
  /** wait: an owner that is away is waited for, not walked around. Default allow. */
  readonly degradedWrites?: 'allow' | 'wait';
  /** too-few-nodes: `wait` until the deadline (default) or `refuse` at once with NOT_ENOUGH_NODES. */
  readonly tooFewNodes?: 'wait' | 'refuse';
  readonly deadline: Deadline;
  readonly signal?: AbortSignal;
  readonly waiting?: WaitingListener;
};

export type PutRequest = PutOptions & { readonly data: Uint8Array };

/** Room for all k + m shards of one blob in the slab: fill `bytes`, then hand it to `putStripe`. */
export type StripeBuffer = {
  readonly slot: Slot;
  readonly policy: Policy;
  readonly blobLength: number;
  readonly shardLength: number;
  /** The blob's bytes, at the start of the slot. */
  readonly bytes: Buffer;
  release(): void;
};

export type PutStripeRequest = PutOptions & {
  /** Stays the caller's: release it when the put has settled. */
  readonly stripe: StripeBuffer;
};

export type PutResult = {
  readonly key: BlobKey;
  readonly stripeId: StripeId;
  /** Who holds shard i; a replica that could not be placed is missing at the end of the list. */
  readonly nodes: readonly (NodeId | undefined)[];
  /** Not every shard lies with its own owner; recorded for repair. */
  readonly degraded: boolean;
  /** All shards were there already. */
  readonly hit: boolean;
};

export type GetRequest = Spread & {
  readonly key: BlobKey;
  readonly policy: Policy;
  /** Saves a round trip when known. */
  readonly blobLength?: number;
  /** Bytes of the blob; the whole blob when absent. Any alignment: whole blocks are read and the slice is returned. */
  readonly range?: { readonly offset: number; readonly length: number };
  /** Read into this slot (4 KiB aligned offset within it); it stays the caller's. Otherwise a slot is allocated and becomes the caller's. */
  readonly into?: { readonly slot: Slot; readonly offset: number };
  /** For log blobs: only these nodes are asked. */
  readonly homeSet?: readonly NodeId[];
  /** Only this stripe will do. */
  readonly stripeId?: StripeId;
  /** wait: keep asking until the deadline while nodes that could hold it are silent (volumes). Default fail. */
  readonly unreadable?: 'fail' | 'wait';
  readonly deadline: Deadline;
  readonly signal?: AbortSignal;
  readonly waiting?: WaitingListener;
};

export type GetResult = {
  readonly slot: Slot;
  /** Where the asked bytes begin, relative to the slot. */
  readonly offset: number;
  readonly length: number;
  readonly blobLength: number;
  readonly stripeId: StripeId;
  /** Parity had to be used. */
  readonly decoded: boolean;
};

export type ShardFound = {
  readonly stripeId: StripeId;
  readonly shardIndex: number;
  readonly k: number;
  readonly m: number;
  readonly blobLength: number;
  readonly shardLength: number;
  readonly stamp: bigint;
};

/** What one node says of a key. unknown: it may not say absent. silent: no answer in time. */
export type ProbeAnswer =
  | { readonly state: 'found'; readonly shards: readonly ShardFound[] }
  | { readonly state: 'absent' | 'unknown' }
  | { readonly state: 'silent'; readonly reason: string };

export type ProbeRequest = {
  readonly key: BlobKey;
  readonly nodes: readonly NodeId[];
  /** Stamp of the asker's interest; a store younger than it may not say absent. 0 = any age. */
  readonly askStamp?: bigint;
  readonly deadline: Deadline;
  /** Bound for one node's answer, default 2,000 ms. */
  readonly nodeTimeoutMs?: number;
};

export type BlobStat = {
  readonly key: BlobKey;
  readonly stripeId: StripeId;
  readonly blobLength: number;
  readonly k: number;
  readonly m: number;
  /** Node of shard i. */
  readonly shards: readonly (NodeId | undefined)[];
  readonly silent: readonly NodeId[];
};

/** Of one policy and home set; at most 1,024 at once, INVALID_ARGUMENT above. */
export type DeleteRequest = Spread & {
  readonly keys: readonly BlobKey[];
  readonly policy: Policy;
  readonly homeSet?: readonly NodeId[];
  readonly deadline: Deadline;
};

export type StatRequest = Spread & {
  readonly key: BlobKey;
  readonly policy: Policy;
  readonly homeSet?: readonly NodeId[];
  readonly deadline: Deadline;
};

/** The client library's face. Implemented by BlobClient; the simulator and tests may wrap it. */
export interface BlobStore {
  /** Waits for slab space; throws TIMEOUT or RESOURCE_EXHAUSTED. */
  /** Now, or undefined when there is no room or others wait for it. */
  tryAllocStripe(policy: Policy, blobLength: number): StripeBuffer | undefined;
  allocStripe(policy: Policy, blobLength: number, deadline: Deadline): Promise<StripeBuffer>;
  /** Copies the bytes into a stripe, then as putStripe. */
  put(request: PutRequest): Promise<PutResult>;
  /** Resolves when all shards are durable on at least `policy.quorum` nodes. FENCED, NOT_ENOUGH_NODES, TIMEOUT, DEVICE_FULL. */
  putStripe(request: PutStripeRequest): Promise<PutResult>;
  /** BLOB_NOT_FOUND (proven absent), BLOB_UNREADABLE (too few shards now), BLOB_UNKNOWN (silence: cannot be told), TIMEOUT. */
  get(request: GetRequest): Promise<GetResult>;
  exists(request: StatRequest): Promise<boolean>;
  stat(request: StatRequest): Promise<BlobStat>;
  /** Tombstones on every node that may hold it. Throws BLOB_UNKNOWN naming nodes that did not confirm. */
  delete(request: DeleteRequest): Promise<void>;
  probe(request: ProbeRequest): Promise<Map<NodeId, ProbeAnswer>>;
}
