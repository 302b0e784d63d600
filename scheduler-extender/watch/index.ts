export { ClusterWatches, type ClusterWatchesOptions } from './cluster-watches.ts';
export { ControlSource, type ControlSourceOptions } from './control-source.ts';
export { openControlSource } from './open-control-source.ts';
