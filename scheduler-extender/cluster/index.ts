export type { CapacityTable, Published } from './capacity-table.ts';
export type { ClaimTable, ClaimUse } from './claim-table.ts';
export {
  ClusterIndex,
  type ClusterSink,
  type FactsOf,
  type IndexListener,
  type Kind,
  type KindSink,
} from './cluster-index.ts';
export type { Growth } from './growth.ts';
export type { LocalityTable } from './locality-table.ts';
export { NO_SLOT, type Slot } from './name-table.ts';
export { NO_LIMIT, type NodeTable } from './node-table.ts';
export { NO_RAIL, type Place, type PlaceId } from './places.ts';
export type { KnownPod, PodTable } from './pod-table.ts';
export type { ClaimableUnits, SliceTable } from './slice-table.ts';
export { crossing, DISTANCES, type Distance, NOWHERE, type Part, Spread, type SpreadPart } from './spread.ts';
export {
  type ContentFacts,
  contentKey,
  type Holder,
  type LinkFacts,
  type StorageNodeFacts,
  type VolumeRecordFacts,
} from './storage-facts.ts';
export { type Reach, rawBytesOf, type StorageTable } from './storage-table.ts';
