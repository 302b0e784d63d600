export {
  type AccessMode,
  type Capability,
  fsTypeOf,
  isReadOnlyMode,
  parseCapabilities,
  parseCapability,
} from './capability.ts';
export {
  type CapacityRange,
  chooseExpandedSize,
  chooseSize,
  MAX_VOLUME_BYTES,
  MIN_VOLUME_BYTES,
  MIN_XFS_BYTES,
} from './capacity-range.ts';
export {
  printable,
  refuse,
  refuseSecrets,
  requireName,
  requireNodeName,
  requirePath,
  requireVolumeId,
  volumeIdOf,
} from './fields.ts';
export { DEFAULT_FS_TYPE, FS_TYPES, type FsType } from './fs-type.ts';
export { checkMountOptions } from './mount-options.ts';
export { type Parameters, parseParameters } from './parameters.ts';
export { isReachable, reachableTopologies, ZONE_KEY } from './topology.ts';
export { formatVolumeContext, type MountPlan, nodeContextOf, parseVolumeContext } from './volume-context.ts';
