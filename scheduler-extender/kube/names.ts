/** What NabuStore is called in the objects of a cluster. */
export const DRIVER = 'csi.nabustore.io';
export const ZONE_KEY = 'topology.nabustore.io/zone';
export const NODE_KEY = 'topology.nabustore.io/node';

export const RESOURCE_PREFIX = 'nabustore.io/';
/** Marks pods that a scheduler asks us about; no node has it (`ignoredByScheduler`). */
export const MARKER_RESOURCE = 'nabustore.io/locality';

export const ANNOTATION = {
  models: 'nabustore.io/models',
  kvCache: 'nabustore.io/kv-cache',
  near: 'nabustore.io/near',
  locality: 'nabustore.io/locality',
} as const;

/** Pods that carry the same value of it in one namespace are a group that `near` can name. */
export const GROUP_LABEL = 'nabustore.io/pod-group';

/** Taints below one of these say that storage or the fabric cannot be reached from the node. */
export const TAINT_PREFIXES = ['nabustore.io/storage', 'nabustore.io/fabric'] as const;
