export { KeeperClient } from './keeper-client.ts';
export { runVolumeServer } from './main.ts';
export { KEEPER_PROGRAM } from './native.ts';
export { defaultPoolSize, ensureSlot, keeperName, type PoolOptions, slotOf } from './pool.ts';
export { VOLUME_SERVER_CONFIG, type VolumeServerConfig } from './server-config.ts';
