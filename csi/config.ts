import { hostname } from 'node:os';
import { z } from 'zod';
import { type ConfigOf, defineConfig, option } from '../common/config/index.ts';
import { DEFAULT_DIR } from '../common/layout/index.ts';
import { LOG_LEVELS } from '../common/logging/index.ts';
import { defaultPoolSize } from '../engine/volume/index.ts';

export const MODES = ['all', 'controller', 'node'] as const;

export const CSI_CONFIG = defineConfig('csi', {
  dir: option(z.string().min(1), 'where this machine keeps its cluster', DEFAULT_DIR),
  endpoint: option(z.string(), 'where to listen; empty: CSI_ENDPOINT, else DIR/run/csi.sock', ''),
  control: option(z.string(), 'address of control; empty: DIR/run/control.sock', ''),
  mode: option(z.enum(MODES), 'which services beside Identity', 'all'),
  nodeId: option(z.string(), 'name of this node; empty: the host name', ''),
  zone: option(z.string().min(1).max(63), 'zone of this node, one of those that storage nodes are in', 'default'),
  knownNodes: option(
    z.string(),
    'nodes that volumes may be published to, separated by commas, beside this one; empty in mode controller: any',
    '',
  ),
  maxVolumes: option(z.int().min(0).max(100_000), 'volumes that may be attached to one node; 0: no limit', 256),
  poolSize: option(z.int().min(1).max(1024), 'volume servers of this machine, as they were started', defaultPoolSize()),
  maxMessageBytes: option(
    z
      .int()
      .min(4096)
      .max(64 << 20),
    'requests above this are refused',
    1 << 20,
  ),
  callTimeoutMs: option(z.int().min(100).max(3_600_000), 'the longest that one call may take', 120_000),
  orphanIntervalMs: option(z.int().min(100).max(86_400_000), 'how often orphans are collected', 60_000),
  logLevel: option(z.enum(LOG_LEVELS), 'what is logged', 'info'),
});

export type CsiConfig = ConfigOf<typeof CSI_CONFIG.options>;

export function nodeNameOf(config: Pick<CsiConfig, 'nodeId'>): string {
  return config.nodeId === '' ? hostname().toLowerCase() : config.nodeId;
}
