export { ClusterWatches, type ClusterWatchesOptions } from './cluster-watches.ts';
