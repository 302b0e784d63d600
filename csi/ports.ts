// What the plugin needs from the rest of the world. The engine's clients fit these as they are; tests bring their own.
import type { Deadline } from '../common/concurrency/index.ts';
import type { VolumeId } from '../engine/blob/index.ts';

export type VolumeReport = {
  /** opening, serving, waiting or failed */
  readonly state: string;
  readonly reason: string;
};

/** A volume as control records it. */
export type VolumeRecord = {
  readonly id: VolumeId;
  readonly name: string;
  readonly sizeBytes: bigint;
  readonly policy: string;
  /** creating, ready or deleting */
  readonly state: string;
  /** What CreateVolume was told to keep: see csi/request/parameters.ts. */
  readonly parameters: Readonly<Record<string, string>>;
  readonly attachment: { readonly nodeName: string; readonly generation: bigint; readonly readOnly: boolean } | null;
  /** What its volume server told last. */
  readonly report: VolumeReport | null;
};

export type VolumeSpec = {
  readonly name: string;
  readonly sizeBytes: bigint;
  /** A taken name with a size in sizeBytes..limitBytes is the same volume. 0: no upper limit. */
  readonly limitBytes: bigint;
  /** Empty strings and 0 leave the choice to control. */
  readonly policy: string;
  readonly failureDomain: string;
  readonly maxShardsPerDomain: number;
  readonly tier: string;
  readonly provisioning: string;
  readonly parameters: Readonly<Record<string, string>>;
};

export type Capacity = { readonly availableBytes: bigint; readonly maxVolumeBytes: bigint };

/** The records of the cluster: volumes and who may write to them. */
export interface VolumeControl {
  /** Idempotent by name. VOLUME_EXISTS_DIFFERENT, POLICY_UNKNOWN, POLICY_TOO_WIDE, NO_SPACE, OUT_OF_RANGE. */
  createVolume(spec: VolumeSpec, deadline: Deadline): Promise<VolumeRecord>;
  /** Idempotent. FAILED_PRECONDITION while attached. */
  deleteVolume(id: VolumeId, deadline: Deadline): Promise<void>;
  /** VOLUME_NOT_FOUND. */
  getVolume(id: VolumeId, deadline: Deadline): Promise<VolumeRecord>;
  /** ABORTED for a token that is none. Without volumes that are being deleted. */
  listVolumes(
    page: { readonly token: string; readonly limit: number },
    deadline: Deadline,
  ): Promise<{ readonly volumes: readonly VolumeRecord[]; readonly nextToken: string }>;
  /** The same generation for a repetition; VOLUME_ATTACHED_ELSEWHERE, ALREADY_EXISTS when attached here in the other way. */
  attachVolume(
    request: { readonly id: VolumeId; readonly nodeName: string; readonly readOnly: boolean },
    deadline: Deadline,
  ): Promise<VolumeRecord>;
  /** Idempotent; an empty node name means whoever holds it. */
  detachVolume(request: { readonly id: VolumeId; readonly nodeName: string }, deadline: Deadline): Promise<void>;
  expandVolume(
    request: { readonly id: VolumeId; readonly sizeBytes: bigint },
    deadline: Deadline,
  ): Promise<VolumeRecord>;
  getCapacity(policy: string, deadline: Deadline): Promise<Capacity>;
  /** Zones of the storage nodes. */
  listZones(deadline: Deadline): Promise<readonly string[]>;
  /** Resolves when control answers and is ready. */
  ready(deadline: Deadline): Promise<boolean>;
}

/** A volume that is open on this machine. */
export type HostedVolume = {
  readonly id: VolumeId;
  /** /dev/loopN; empty while there is none yet. */
  readonly devicePath: string;
  readonly sizeBytes: bigint;
  /** opening, serving, waiting or failed */
  readonly state: string;
  readonly reason: string;
};

/** The volume servers of this machine: they outlive the plugin. */
export interface VolumeHost {
  /** Idempotent; resolves when the device is there. VOLUME_OPEN_BLOCKED names the nodes that are needed. */
  openVolume(
    request: {
      readonly id: VolumeId;
      readonly generation: bigint;
      readonly readOnly: boolean;
      /** 0: wait without limit. */
      readonly ioTimeoutMs: number;
    },
    deadline: Deadline,
  ): Promise<{ readonly devicePath: string }>;
  /** Flushes and detaches. Idempotent: a volume that is not open is closed. */
  closeVolume(id: VolumeId, deadline: Deadline): Promise<void>;
  expandVolume(request: { readonly id: VolumeId; readonly sizeBytes: bigint }, deadline: Deadline): Promise<void>;
  getVolume(id: VolumeId, deadline: Deadline): Promise<HostedVolume | undefined>;
  listVolumes(deadline: Deadline): Promise<readonly HostedVolume[]>;
  ready(deadline: Deadline): Promise<boolean>;
}
