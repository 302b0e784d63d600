import { z } from 'zod';
import { type ConfigOf, defineConfig, option } from '../../common/config/index.ts';
import { DEFAULT_DIR } from '../../common/layout/index.ts';
import { isNodeId } from '../blob/index.ts';

const MIB = 1024 * 1024;
const label = z.string().min(1).max(253);
const nodeIdText = z.string().refine(isNodeId, "must be 1 to 63 of a-z, 0-9 and '-'");

export const STOR_CONFIG = defineConfig('stor', {
  dir: option(z.string().min(1), 'folder of the cluster on this machine', DEFAULT_DIR),
  nodeId: option(nodeIdText, "this node's name in the cluster"),
  clusterId: option(
    z.union([z.literal(''), z.string().regex(/^[0-9a-f]{32}$/)]),
    'cluster it belongs to; empty: the one it knows, or asks control for',
    '',
  ),
  control: option(z.string(), "control's address; empty: its socket below the folder", ''),
  host: option(z.string().min(1).max(253), 'address to listen on', '127.0.0.1'),
  port: option(z.int().min(0).max(65535), 'port to listen on; 0: the one it had last, or a free one', 0),
  driver: option(z.enum(['uring', 'memory']), 'where segments live', 'uring'),
  device: option(z.string(), "file or block device; empty: the node's own file below the folder", ''),
  deviceSizeBytes: option(z.int().min(MIB), 'size of a device file when it is made', 4096 * MIB),
  segmentBytes: option(z.int().min(0), 'size of a segment; 0: by the size of the device', 0),
  slabBytes: option(z.int().min(16 * MIB), 'memory for requests in flight', 128 * MIB),
  zone: option(label, 'failure domain: zone', 'default'),
  rack: option(label, 'failure domain: rack', 'default'),
  hostLabel: option(z.string().max(253), 'failure domain: host; empty: the node id', ''),
  weight: option(z.number().min(0).max(1024), 'share of the ring; 0: by the size of the device', 0),
  maxParity: option(z.int().min(1).max(8), 'the highest m of any policy in use, while control cannot be asked', 2),
  reportMs: option(z.int().min(100).max(3_600_000), 'how often load and round trips are told to control', 10_000),
  logLevel: option(z.enum(['error', 'warn', 'info', 'debug']), 'how much is logged', 'info'),
});

export type StorConfig = ConfigOf<typeof STOR_CONFIG.options>;
