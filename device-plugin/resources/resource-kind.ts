import type { Deadline } from '../../common/concurrency/index.ts';
import type { Inventory } from '../discovery/index.ts';
import type { ContainerGrant, PoolOptions, ResourceName } from '../kubelet/index.ts';
import type { Cause, Unit, UnitState } from './unit.ts';

/**
 * What one resource is made of, on any machine. It keeps no state: which units were there before, how long one has been well
 * again and who watches is the pool's.
 */
export type ResourceKind = {
  readonly resource: ResourceName;
  readonly options: PoolOptions;
  /** Pure. All units of this machine, in a stable order, no two with one id. */
  units(machine: Inventory): readonly UnitState[];
  /** Pure. What is to be said of a unit that was there and is not among `units` now; without it, that it is absent. */
  missing?(unit: Unit, machine: Inventory): Cause | undefined;
  /** What a container gets with these healthy units. As DevicePool.allocate: a second call does nothing more. */
  grant(units: readonly Unit[], machine: Inventory, deadline: Deadline): ContainerGrant | Promise<ContainerGrant>;
  /** Pure. The first of the device files, of those that a container was given with these units, that is of other devices now. */
  foreignFile?(units: readonly Unit[], machine: Inventory, files: readonly string[]): string | undefined;
  /** PreStartContainer, after the pool has looked at the units' health. Throws NabuError when it must not start. */
  prepare?(units: readonly Unit[], machine: Inventory, deadline: Deadline): Promise<void>;
};
