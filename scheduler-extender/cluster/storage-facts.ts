import type { Policy } from '../../engine/blob/index.ts';
import type { FailureDomain, NodeState } from '../../engine/placement/index.ts';

/** A storage node as its record says. */
export type StorageNodeFacts = {
  readonly id: string;
  /** The host that it runs on: a node of Kubernetes, where it is one. */
  readonly host: string;
  readonly zone: string;
  readonly rack: string;
  readonly state: NodeState;
  /** Raw bytes of its devices. */
  readonly capacityBytes: number;
  /** 0 idle to 1 saturated; what it serves takes 1 / (1 - load) as long. */
  readonly load: number;
  /** Measured round trips in microseconds, by zone or by 'zone/rack'; the narrower one counts. */
  readonly rttUs: ReadonlyMap<string, number>;
  /** Zones that it cannot be reached from, as measured. */
  readonly cutOffZones: readonly string[];
};

/** A volume as control's record says. */
export type VolumeRecordFacts = {
  readonly id: string;
  /** The name it was created by: the provisioner's `pvc-UID`. */
  readonly name: string;
  readonly policy: Policy;
  readonly failureDomain: FailureDomain;
  readonly thin: boolean;
  readonly sizeBytes: number;
  /** What is written; undefined: nobody has said. */
  readonly liveBytes: number | undefined;
  /** Storage nodes that hold it. */
  readonly homeSet: readonly string[];
  /** '' while it is attached nowhere. */
  readonly attachedNode: string;
};

/** Bytes that are on a node of Kubernetes (a cache) or on a storage node. */
export type Holder = { readonly node: string; readonly isStorage: boolean; readonly bytes: number };

/** A model, or the pool of a KV cache: what pods say that they will read. */
export type ContentFacts = {
  readonly kind: 'model' | 'kv-cache';
  readonly id: string;
  /** Other names for it. */
  readonly names: readonly string[];
  readonly sizeBytes: number;
  readonly holders: readonly Holder[];
  /** Storage nodes hold all of it together, spread over them by their capacity, beside the holders. */
  readonly isStored?: boolean;
};

/** What a node's own agent reports of its link to storage. */
export type LinkFacts = { readonly node: string; readonly load: number };

export function contentKey(kind: ContentFacts['kind'], id: string): string {
  return `${kind}:${id}`;
}
