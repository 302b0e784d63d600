import type { Policy } from '../../engine/blob/index.ts';
import type { FailureDomain } from '../../engine/placement/index.ts';
import type { Spread, VolumeRecordFacts } from '../cluster/index.ts';
import type { AccessMode, Toleration } from '../kube/index.ts';

/** What a pod says about being near its data; it prefers to be unless it says otherwise. */
export const LOCALITIES = ['required', 'preferred'] as const;
export type Locality = (typeof LOCALITIES)[number];

/** A volume of ours that is there. */
export type MadeVolume = {
  readonly kind: 'made';
  readonly claimKey: string;
  readonly handle: string;
  readonly accessModes: readonly AccessMode[];
  /** Zones that it can be reached from; empty: all. */
  readonly zones: readonly string[];
  /** Undefined: control has told of no such volume. */
  readonly record: VolumeRecordFacts | undefined;
};

/** A volume of ours that will be made where the pod goes. */
export type WantedVolume = {
  readonly kind: 'wanted';
  readonly claimKey: string;
  readonly className: string;
  readonly policy: Policy;
  readonly failureDomain: FailureDomain;
  readonly maxShardsPerDomain: number;
  readonly sizeBytes: number;
  /** What it takes of the cluster, parity or copies included; 0 when it reserves nothing. */
  readonly rawBytes: number;
};

/** Something that the pod will read, and where it lies. */
export type Reading = {
  /** For people: 'model llama-70b'. */
  readonly what: string;
  readonly bytes: number;
  readonly spread: Spread;
  /** Whether required locality is about it: what lies everywhere alike has no place to be near to. */
  readonly isAnchor: boolean;
};

/** What placing a pod has to do with us. */
export type Need = {
  readonly pod: { readonly uid: string; readonly namespace: string; readonly name: string };
  readonly made: readonly MadeVolume[];
  readonly wanted: readonly WantedVolume[];
  readonly readings: readonly Reading[];
  /** Units of `nabustore.io/*`. */
  readonly devices: ReadonlyMap<string, number>;
  readonly locality: Locality;
  readonly tolerations: readonly Toleration[];
  /** Sentences, each a reason against every node that time does not heal. */
  readonly faults: readonly string[];
  /** What the pod names and we do not know yet: it has to be asked again, not refused. */
  readonly unknown: readonly string[];
};
