import { hostname } from 'node:os';
import { z } from 'zod';
import { type ConfigOf, defineConfig, option } from '../../common/config/index.ts';
import { DEFAULT_DIR } from '../../common/layout/index.ts';
import { LOG_LEVELS } from '../../common/logging/index.ts';

const MIB = 1 << 20;

export const VOLUME_SERVER_CONFIG = defineConfig('volume-server', {
  dir: option(z.string().min(1), 'where this machine keeps its cluster', DEFAULT_DIR),
  slot: option(z.int().min(0).max(1023), 'which server of the pool this is', 0),
  keeper: option(z.string(), 'socket of the keeper; empty: DIR/run/keeper-SLOT.sock', ''),
  control: option(z.string(), 'address of control; empty: DIR/run/control.sock', ''),
  nodeName: option(z.string(), 'name of this node in reports; empty: the host name', hostname().toLowerCase()),
  slabBytes: option(
    z
      .int()
      .min(64 * MIB)
      .max(65_536 * MIB),
    'locked memory for log blobs on their way',
    384 * MIB,
  ),
  ringBytes: option(
    z
      .int()
      .min(2 * MIB)
      .max(4096 * MIB),
    'shared memory of a volume for writes that are not in the log yet',
    32 * MIB,
  ),
  readCacheBytes: option(
    z
      .int()
      .min(MIB)
      .max(65_536 * MIB),
    'read cache of a volume',
    64 * MIB,
  ),
  mapCacheBytes: option(
    z
      .int()
      .min(4 * MIB)
      .max(65_536 * MIB),
    'memory for map pages of a volume',
    64 * MIB,
  ),
  sealDelayMs: option(z.int().min(1).max(10_000), 'how long a write that nobody waits for may wait for company', 20),
  checkpointBytes: option(z.int().min(16 * MIB), 'bytes of log after which a checkpoint is made', 512 * MIB),
  checkpointIntervalMs: option(
    z.int().min(1000),
    'time after which a checkpoint is made when anything was written',
    60_000,
  ),
  openTimeoutMs: option(z.int().min(100).max(3_600_000), 'how long opening waits for nodes', 60_000),
  logLevel: option(z.enum(LOG_LEVELS), 'what is logged', 'info'),
});

export type VolumeServerConfig = ConfigOf<typeof VOLUME_SERVER_CONFIG.options>;
