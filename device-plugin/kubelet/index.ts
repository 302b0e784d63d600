export { Backoff, type BackoffOptions } from './backoff.ts';
export {
  type ContainerGrant,
  type DeviceId,
  type DevicePool,
  deviceId,
  type GrantedDevice,
  type GrantedMount,
  type PooledDevice,
  type PoolOptions,
  type Unsubscribe,
} from './device-pool.ts';
export { fileIdentity } from './file-identity.ts';
export { FolderWatch, type WatchFolder } from './folder-watch.ts';
export { KubeletPlugin, type KubeletPluginOptions } from './kubelet-plugin.ts';
export { Newest } from './newest.ts';
export type { CallOutcome, KubeletObserver } from './observer.ts';
export { type ResourceName, resourceName } from './resource-name.ts';
export type { ResourceState } from './resource-server.ts';
export { WakeUp } from './wake-up.ts';
