export { type DeviceMode, type Held, type Holders, modeCause } from './device-mode.ts';
export { DeviceModes, type DeviceModesOptions } from './device-modes.ts';
export { pluginHolders } from './plugin-holders.ts';
