export { type Capacity, CapacityLedger } from './capacity-ledger.ts';
export {
  type AgedNodeReport,
  ControlClient,
  type CreateVolumeInit,
  type NodeReportInit,
  type RegisterNodeInit,
  type Volume,
  type VolumeReportInit,
} from './client.ts';
export { CONTROL_CONFIG, type ControlConfig } from './config.ts';
export { ControlServer, type ControlServerOptions } from './control-server.ts';
export { MapFollower, type MapFollowerOptions } from './map-follower.ts';
export { Membership, type Registration } from './membership.ts';
export type { Resource, ResourceChange, ResourceDelete, ResourceStore, ResourceWrite } from './resource-store.ts';
export { type ControlHandlers, controlHandlers } from './service.ts';
export { SqliteStore } from './sqlite-store.ts';
export type { VolumeReaper } from './volume-reaper.ts';
export type { VolumeRecord } from './volume-record.ts';
export { Volumes } from './volumes.ts';
