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
export {
  assertPolicyFits,
  DEFAULT_RULES,
  homeSet,
  type Placement,
  type PlacementRules,
  placeShards,
} from './placement.ts';
export { type NodeIndex, Ring, VIRTUAL_NODES } from './ring.ts';
