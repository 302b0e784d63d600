import type { Distance } from '../cluster/index.ts';

/** What the expected time is made of. Every figure is a cluster's own: measure yours, these are of a 400 Gb/s fabric. */
export type ScoreWeights = {
  /** Bytes per second from each distance to an idle node. Never more from farther away. */
  readonly bytesPerSecond: Readonly<Record<Distance, number>>;
  /** Round trips in seconds, where nobody has measured them. Never less from farther away. */
  readonly rttS: Readonly<Record<Distance, number>>;
  /** Round trips one after another until the first byte of a thing is there. */
  readonly firstByteTrips: number;
  /** How much longer a load takes through the CPU, for pods that ask for a direct path to a GPU. */
  readonly indirectSlowdown: number;
  /** How much of a node's link its HCAs that are handed out may take, 0 to below 1. */
  readonly hcaContention: number;
  /** How much longer a load takes whose HCA and memory are on two NUMA nodes. */
  readonly numaSlowdown: number;
  /** Differences far below this many seconds do not matter. */
  readonly insignificantS: number;
  /** A node that takes this many times as long as the best of the candidates scores 0. */
  readonly worstRatio: number;
};

export const DEFAULT_WEIGHTS: ScoreWeights = {
  bytesPerSecond: { host: 20e9, rail: 12e9, rack: 8e9, zone: 4e9, far: 0.5e9 },
  rttS: { host: 5e-6, rail: 12e-6, rack: 20e-6, zone: 60e-6, far: 1e-3 },
  firstByteTrips: 4,
  indirectSlowdown: 1.5,
  hcaContention: 0.5,
  numaSlowdown: 1.25,
  insignificantS: 0.1,
  worstRatio: 4,
};

/** extender/v1, MaxExtenderPriority. */
export const MAX_SCORE = 10;
