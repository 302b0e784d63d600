/**
 * What the simulated clusters are made of. Sizes are those of DESIGN.md section 16. The physics below is the simulator's own and is
 * not derived from the extender's weights: the extender runs with the weights it ships with, and they do not fit.
 */
/** Of the first run; the next ones have the next numbers. */
export const SEED = 20_261_121;

export type ClusterSize = {
  readonly name: string;
  readonly zones: number;
  readonly racksPerZone: number;
  readonly storagePerRack: number;
  readonly gpuNodesPerRack: number;
  readonly models: number;
  readonly dataShards: number;
  readonly parityShards: number;
  /** Worlds, each with a seed of its own: in a small one chance decides more. */
  readonly runs: number;
};

export const CLUSTERS: readonly ClusterSize[] = [
  {
    name: 'edge',
    zones: 1,
    racksPerZone: 2,
    storagePerRack: 3,
    gpuNodesPerRack: 2,
    models: 40,
    dataShards: 4,
    parityShards: 2,
    runs: 16,
  },
  {
    name: 'mid',
    zones: 1,
    racksPerZone: 8,
    storagePerRack: 3,
    gpuNodesPerRack: 4,
    models: 200,
    dataShards: 4,
    parityShards: 2,
    runs: 8,
  },
  {
    name: 'hyperscale',
    zones: 2,
    racksPerZone: 16,
    storagePerRack: 3,
    gpuNodesPerRack: 8,
    models: 1000,
    dataShards: 8,
    parityShards: 2,
    runs: 4,
  },
];

/** A GPU node. */
export const NODE = { gpus: 8, milliCpu: 192_000, memoryMib: 2 << 20 } as const;
/** Of each node, what daemons and pods without GPUs request: uniform up to this share. */
export const OTHERS_SHARE = 0.2;

/** Popularity of the i-th model is 1 / i^s. */
export const ZIPF_EXPONENT = 1;
/** Of the catalogue: bytes of the weights, GPUs of one replica, how many of 100 models are such. */
export const MODEL_CLASSES = [
  { sizeBytes: 16e9, gpus: 1, percent: 40 },
  { sizeBytes: 64e9, gpus: 1, percent: 25 },
  { sizeBytes: 140e9, gpus: 2, percent: 20 },
  { sizeBytes: 470e9, gpus: 4, percent: 10 },
  { sizeBytes: 690e9, gpus: 8, percent: 5 },
] as const;
/** What a GPU of a pod brings along, times a half to one and a half. */
export const PER_GPU = { milliCpu: 12_000, memoryMib: 128 << 10 } as const;

/** NVMe for cached blobs on each GPU node, least recently used ones go. */
export const CACHE_BYTES = 1e12;

export const PODS = 2000;
/** Placed before the first pod that counts, so that caches are not empty. */
export const WARM_UP_PODS = 500;
/** GPUs in use that the arrivals aim at. */
export const OCCUPANCY = 0.7;
export const MEAN_LIFE_S = 1800;
/** So many of 1 arrivals are a Deployment that gets several replicas at once, of at most so many GPUs each. */
export const BURST_SHARE = 0.2;
export const BURST_REPLICAS = { least: 2, most: 6, gpus: 2 } as const;
export const BURST_SPACING_S = 0.02;

/** Bytes per second. */
export const RATE = {
  /** A node's cache, shared by the loads that read it. */
  cache: 24e9,
  /** A node's link for storage, 200 Gb/s, shared by its loads and by what else is on it. */
  link: 25e9,
  /** What one load draws from within the rack, from other racks of the zone, from another zone. */
  rackStream: 10e9,
  zoneStream: 6e9,
  farStream: 2e9,
  /** Into a rack from outside: a quarter of what its links could take. */
  uplinkShare: 0.25,
} as const;
export const LINK_GBPS = 200;

/** What else is on a link: wanders about a mean of its own for each. */
export const BACKGROUND = { everyS: 30, leastMean: 0.05, mostMean: 0.6, keep: 0.9, noise: 0.08, most: 0.85 } as const;

/** What a deployment knows of itself. */
export const KNOWLEDGE = {
  /** Agents report so often, each at a moment of its own. */
  reportEveryS: 30,
  /** From an agent to the extender's index. */
  reportLagS: 1,
  /** Cached bytes and loads are off by up to this share, either way. */
  bytesNoise: 0.05,
  loadNoise: 0.2,
  /** The largest things in a cache that one report names. */
  reportEntries: 64,
  /** Nodes without an agent. */
  silentShare: 0.03,
} as const;

/** As shipped: docs/examples/scheduler-configuration.yaml, the profile that pods of ours are sent to. */
export const SHIPPED = { weight: 20, percentageOfNodesToScore: 50 } as const;
