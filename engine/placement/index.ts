export {
  type ClusterMap,
  domainOf,
  FAILURE_DOMAINS,
  type FailureDomain,
  type MapNode,
  type MapSource,
  NODE_STATES,
  type NodeState,
  parseClusterMap,
  parseClusterMapText,
} from './cluster-map.ts';
