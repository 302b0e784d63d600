import type { Deadline } from '../../common/concurrency/index.ts';
import type { NodeId, Policy, Stamp, VolumeId } from '../blob/index.ts';
import type { FailureDomain } from '../placement/index.ts';
import type { OwnerRange, OwnerState, OwnerUpdate } from '../store/index.ts';

/** What a volume asks of single home nodes, beside its blobs. Errors as NodeClient's: UNAVAILABLE, TIMEOUT, ... */
export interface HomeNodes {
  setOwner(node: NodeId, owner: VolumeId, update: OwnerUpdate, deadline: Deadline): Promise<OwnerState>;
  deleteOwnerRange(node: NodeId, owner: VolumeId, range: OwnerRange, stamp: Stamp, deadline: Deadline): Promise<void>;
}

/** What of a volume's record its log depends on. Cached beside the volume, so that it opens while control is away. */
export type VolumeSpec = {
  readonly id: VolumeId;
  readonly sizeBytes: bigint;
  readonly policy: Policy;
  readonly homeSet: readonly NodeId[];
  readonly homeSetVersion: bigint;
  /** When control made the record: no log blob and no note is older. */
  readonly createdStamp: Stamp;
  readonly failureDomain: FailureDomain;
  readonly maxShardsPerDomain: number;
};
