export { openNativeStore } from './native-store.ts';
export type {
  AppendResult,
  DegradedMark,
  LookupAnswer,
  LookupState,
  OwnerRange,
  OwnerState,
  OwnerUpdate,
  SequenceRange,
  ShardReadRequest,
  ShardReadResult,
  ShardStore,
  ShardSummary,
  ShardView,
  ShardViewRequest,
  ShardViewResult,
  StoreIdentity,
  StoreState,
  StoreStats,
} from './shard-store.ts';
export type { StoreDevice, StoreOptions } from './store-options.ts';
