export { DeviceCheck, type DeviceCheckOptions } from './device-check.ts';
export { type HcaDeviceFile, hcaCauses } from './hca-health.ts';
export { hcaDevices, type Match, matchHca, matchPci, type SelectedHca, selectHcas } from './hca-selection.ts';
export { devicePathHere, devicePathInHost, type HostPaths } from './host-paths.ts';
export { MachinePool, type MachinePoolOptions, type UnitHealth } from './machine-pool.ts';
export { rdmaKind } from './rdma.ts';
export type { ResourceKind } from './resource-kind.ts';
export { CAUSE_CODES, type Cause, type CauseCode, type Unit, type UnitState } from './unit.ts';
