export { ACCESS_MODES, type AccessMode, type ClaimFacts, type ClaimTemplate, claimFacts } from './claim.ts';
export { type CsiNodeFacts, csiNodeFacts } from './csi-node.ts';
export { type DeviceClassFacts, deviceClassFacts, isImplicitDeviceResource } from './device-class.ts';
export {
  type HeldContent,
  type LocalityReportFacts,
  localityReportFacts,
  REPORT_LIMITS,
  type ReportedDevices,
} from './locality-report.ts';
export { ANNOTATION, DRIVER, GROUP_LABEL, MARKER_RESOURCE, NODE_KEY, RESOURCE_PREFIX, ZONE_KEY } from './names.ts';
export { DEFAULT_PLACE_LABELS, type NodeFacts, nodeFacts, type PlaceLabels, type Taint, UNNAMED } from './node.ts';
export { type PersistentVolumeFacts, persistentVolumeFacts } from './persistent-volume.ts';
export { type PodClaim, type PodFacts, podFacts, type Toleration } from './pod.ts';
export { quantityOf } from './quantity.ts';
export { DEVICE_DRIVER, type ResourceSliceFacts, resourceSliceFacts, type SliceUnits } from './resource-slice.ts';
export { type Segment, type StorageCapacityFacts, storageCapacityFacts } from './storage-capacity.ts';
export { type ClassPolicy, type StorageClassFacts, storageClassFacts } from './storage-class.ts';
