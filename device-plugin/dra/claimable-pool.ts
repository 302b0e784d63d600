import type { GdsConfig, NvmeVfioConfig, RdmaConfig } from '../config/index.ts';
import type { Inventory } from '../discovery/index.ts';
import type { PooledDevice, ResourceName, Unsubscribe } from '../kubelet/index.ts';
import type { ResourceKind, UnitState } from '../resources/index.ts';

/** The kinds that can be of mode dra. */
export type ClaimableConfig = RdmaConfig | GdsConfig | NvmeVfioConfig;

/** What a MachinePool tells of itself. */
export type UnitSource = {
  readonly resource: ResourceName;
  /** All units, those that are gone too, with what is against each now. */
  readonly units: readonly UnitState[];
  /** The same units: whether each counts as healthy. */
  devices(): readonly PooledDevice[];
  /** The listener hears that one of the two would say something else now. */
  watch(listener: () => void): Unsubscribe;
};

/**
 * One resource of mode dra. What the pool is to the kubelet's device plugin API, seen by claims: a device is published once
 * whatever its slots are, the scheduler chooses it, and `kind` says what a container gets with it.
 */
export type ClaimablePool = {
  readonly config: ClaimableConfig;
  readonly kind: ResourceKind;
  readonly pool: UnitSource;
  readonly machine: { readonly inventory: Inventory };
};
