export type { ClaimHolders } from './claim-preparer.ts';
export type { ClaimableConfig, ClaimablePool, UnitSource } from './claimable-pool.ts';
export { DraDriver, type DraDriverOptions, type DraState } from './dra-driver.ts';
export { ATTRIBUTES, DRIVER_NAME, SLOTS, UNHEALTHY } from './driver-name.ts';
