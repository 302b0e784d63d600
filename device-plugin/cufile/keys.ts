import { type CufileKey, LOG_LEVELS } from './key.ts';
import { PROPERTY_KEYS } from './keys-properties.ts';
import type { CufileVersion } from './version.ts';

const ALWAYS = { since: '1.13' } as const;

const LOGGING: readonly CufileKey[] = [
  {
    path: 'logging.dir',
    ...ALWAYS,
    value: { kind: 'path' },
    fallback: 'the working directory',
    meaning: 'Where cufile.log is written.',
    ours: "the settings' `logDir`, when there is one: we do not know where a container may write.",
  },
  {
    path: 'logging.level',
    ...ALWAYS,
    value: { kind: 'choice', of: LOG_LEVELS },
    fallback: 'ERROR',
    meaning: 'What is logged.',
    ours: "the settings' `logLevel`, ERROR unless said otherwise.",
  },
  {
    path: 'logging.max_file_size_mb',
    since: '1.18',
    value: { kind: 'integer', min: -1, max: 4096, except: 0 },
    fallback: '32',
    meaning: 'Largest log file, in MiB; -1 is without limit.',
  },
  {
    path: 'profile.nvtx',
    since: '1.13',
    until: '1.15',
    value: { kind: 'boolean' },
    fallback: 'false',
    meaning: 'Traces for the profiler. Later releases do not read it.',
  },
  {
    path: 'profile.cufile_stats',
    ...ALWAYS,
    value: { kind: 'integer', min: 0, max: 3 },
    fallback: '0',
    meaning: 'Detail of the statistics that are kept; 0 is none.',
  },
];

const EXECUTION: readonly CufileKey[] = [
  {
    path: 'execution.max_io_queue_depth',
    ...ALWAYS,
    value: { kind: 'integer', min: 1, max: 256 },
    fallback: '128',
    meaning: 'Most pieces of work that wait for a thread.',
  },
  {
    path: 'execution.max_io_threads',
    since: '1.13',
    until: '1.15',
    value: { kind: 'integer', min: 0, max: 32 },
    fallback: '4',
    meaning: 'Host threads for each GPU.',
  },
  {
    path: 'execution.max_io_threads',
    since: '1.16',
    value: { kind: 'integer', min: 0, max: 128 },
    fallback: '4',
    meaning: 'Host threads for each GPU.',
  },
  {
    path: 'execution.parallel_io',
    ...ALWAYS,
    value: { kind: 'boolean' },
    fallback: 'true',
    meaning: 'Split a large I/O among those threads.',
  },
  {
    path: 'execution.min_io_threshold_size_kb',
    ...ALWAYS,
    value: { kind: 'integer', min: 4, max: 4294967295 },
    fallback: '8192',
    meaning: 'Size of the pieces into which it is split, in KiB.',
  },
  {
    path: 'execution.max_request_parallelism',
    ...ALWAYS,
    value: { kind: 'integer', min: 0, max: 8 },
    fallback: '4',
    meaning: 'Most pieces of one I/O at a time.',
  },
];

const SMALL_IO = ['lustre', 'beegfs', 'scatefs'];
const FILE_SYSTEMS = ['lustre', 'beegfs', 'scatefs', 'nfs', 'gpfs', 'weka', 'panfs', 'virtiofs'] as const;

function firstVersion(name: (typeof FILE_SYSTEMS)[number]): CufileVersion {
  if (name === 'scatefs') return '1.14';
  if (name === 'panfs') return '1.19';
  return name === 'virtiofs' ? '1.16' : '1.13';
}

const P2PDMA_OURS = "true in p2pdma mode for the paths in the settings' `p2pdmaPaths`, else false.";

function fileSystemKeys(name: (typeof FILE_SYSTEMS)[number]): CufileKey[] {
  const since = firstVersion(name);
  const keys: CufileKey[] = [];
  if (SMALL_IO.includes(name)) {
    keys.push({
      path: `fs.${name}.posix_gds_min_kb`,
      since,
      value: { kind: 'integer', min: 0, max: 1024, step: 4 },
      fallback: '0',
      meaning: 'I/O up to this size goes through host memory, in KiB.',
    });
  }
  if (name !== 'virtiofs') {
    keys.push(
      {
        path: `fs.${name}.rdma_dev_addr_list`,
        since,
        value: { kind: 'addresses' },
        fallback: '[]',
        meaning:
          'Interfaces of its one mount; not together with mount_table. An override names only what the container has.',
      },
      {
        path: `fs.${name}.mount_table`,
        since,
        value: { kind: 'mounts' },
        fallback: '{}',
        meaning: 'Interfaces by mount. cuFile refuses the whole file when a mount point is not there.',
      },
    );
  }
  if (name !== 'weka') {
    keys.push({
      path: `fs.${name}.use_pci_p2pdma`,
      since: name === 'panfs' ? '1.19' : '1.16',
      value: { kind: 'boolean' },
      fallback: 'false',
      meaning: 'Peer-to-peer DMA for it; without support its I/O fails and is not tried otherwise.',
      ours: P2PDMA_OURS,
    });
  }
  return keys;
}

const FS: readonly CufileKey[] = [
  {
    path: 'fs.generic.posix_unaligned_writes',
    ...ALWAYS,
    value: { kind: 'boolean' },
    fallback: 'false',
    meaning: 'Write what is not aligned through the page cache.',
    ours: 'false: it would be a way through host memory that nobody asked for.',
  },
  ...FILE_SYSTEMS.flatMap(fileSystemKeys),
  {
    path: 'fs.gpfs.gds_write_support',
    ...ALWAYS,
    value: { kind: 'boolean' },
    fallback: 'false',
    meaning: 'Direct writes.',
  },
  {
    path: 'fs.gpfs.gds_async_support',
    ...ALWAYS,
    value: { kind: 'boolean' },
    fallback: 'true',
    meaning: 'Asynchronous direct I/O.',
  },
  {
    path: 'fs.weka.rdma_write_support',
    ...ALWAYS,
    value: { kind: 'boolean' },
    fallback: 'false',
    meaning: 'Direct writes.',
  },
];

function blockKey(name: string, since: CufileVersion): CufileKey {
  return {
    path: `block.${name}.use_pci_p2pdma`,
    since,
    value: { kind: 'boolean' },
    fallback: 'false',
    meaning: 'Peer-to-peer DMA for such devices; without support their I/O fails and is not tried otherwise.',
    ours: P2PDMA_OURS,
  };
}

const BLOCK: readonly CufileKey[] = [
  blockKey('nvme', '1.16'),
  blockKey('nvmeof', '1.16'),
  blockKey('raid', '1.16'),
  blockKey('raid1', '1.19'),
  blockKey('raid10', '1.19'),
];

const REST: readonly CufileKey[] = [
  {
    path: 'sparse.p2p_compat_enable',
    since: '1.19',
    value: { kind: 'boolean' },
    fallback: 'true',
    meaning: 'Read files with holes on another path than peer-to-peer DMA.',
  },
  {
    path: 'sparse.min_p2pdma_threshold_kb',
    since: '1.19',
    value: { kind: 'integer', min: 0 },
    fallback: '8',
    meaning: 'Smallest read that is looked at for holes, in KiB.',
  },
  {
    path: 'denylist.drivers',
    ...ALWAYS,
    value: { kind: 'names' },
    fallback: '[]',
    meaning: 'Storage drivers that cuFile leaves alone.',
  },
  {
    path: 'denylist.devices',
    ...ALWAYS,
    value: { kind: 'paths' },
    fallback: '[]',
    meaning: 'Block devices that cuFile leaves alone. It refuses the whole file when one is not there.',
  },
  {
    path: 'denylist.mounts',
    ...ALWAYS,
    value: { kind: 'paths' },
    fallback: '[]',
    meaning: 'Mounts that cuFile leaves alone. It refuses the whole file when one is not there.',
  },
  {
    path: 'denylist.filesystems',
    ...ALWAYS,
    value: { kind: 'names' },
    fallback: '[]',
    meaning: 'File systems that cuFile leaves alone.',
  },
  {
    path: 'miscellaneous.api_check_aggressive',
    ...ALWAYS,
    value: { kind: 'boolean' },
    fallback: 'false',
    meaning: 'Check the arguments of each call again.',
  },
  {
    path: 'miscellaneous.skip_topology_detection',
    ...ALWAYS,
    value: { kind: 'boolean' },
    fallback: 'false',
    meaning: 'Start without looking at the PCIe topology, which compat mode does not need.',
    ours: 'true in compat mode alone: on hosts with many devices it shortens the start.',
  },
  {
    path: 'miscellaneous.stream_memops_bypass',
    ...ALWAYS,
    value: { kind: 'boolean' },
    fallback: 'false',
    meaning: 'Order stream I/O without memory operations of the stream.',
  },
  {
    path: 'miscellaneous.enable_static_routing',
    since: '1.17',
    value: { kind: 'boolean' },
    fallback: 'false',
    meaning: 'Take the topology from a file.',
  },
  {
    path: 'miscellaneous.static_routing_filepath',
    since: '1.17',
    value: { kind: 'path' },
    fallback: '/etc/topology.json',
    meaning: 'That file, as the container sees it.',
  },
  {
    path: 'miscellaneous.rdma_token_reset_timeout_secs',
    since: '1.19',
    value: { kind: 'integer', min: 1, max: 86400 },
    fallback: '30',
    meaning: 'Longest wait for a renewed RDMA token, in seconds.',
  },
];

/** Every documented key, in the order in which a file has them. */
export const CUFILE_KEYS: readonly CufileKey[] = [...LOGGING, ...EXECUTION, ...PROPERTY_KEYS, ...FS, ...BLOCK, ...REST];
