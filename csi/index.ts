export { CSI_CONFIG, type CsiConfig } from './config.ts';
export { CONTROLLER_CAPABILITIES } from './controller/controller-service.ts';
export { PLUGIN_NAME } from './identity/identity-service.ts';
export { runCsi } from './main.ts';
export { NODE_CAPABILITIES } from './node/node-service.ts';
export { CsiPlugin, type CsiPluginOptions } from './plugin.ts';
export type { HostedVolume, VolumeControl, VolumeHost, VolumeRecord, VolumeSpec } from './ports.ts';
