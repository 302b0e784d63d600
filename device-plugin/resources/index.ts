export { devicePathHere, devicePathInHost, type HostPaths } from './host-paths.ts';
export { type InventorySource, MachinePool, type MachinePoolOptions, type UnitHealth } from './machine-pool.ts';
export type { ResourceKind } from './resource-kind.ts';
export { CAUSE_CODES, type Cause, type CauseCode, type Unit, type UnitState } from './unit.ts';
