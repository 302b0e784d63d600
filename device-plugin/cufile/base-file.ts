import { ROUTES } from './key.ts';
import type { CufileGpu, CufileHca, CufileInput, CufileMode } from './machine.ts';
import { UNIFORM_BUFFER_KEYS } from './relations.ts';
import { keysOf } from './schema.ts';
import type { CufileSettings } from './settings.ts';
import { addressesOf, hcasOf, isRoutingUseful } from './topology.ts';
import { valueAt } from './tree.ts';
import { CUFILE_VERSIONS } from './version.ts';

/** Sizes in KiB and numbers of bounce buffers: cuFile's own, 512 MiB per GPU in all. */
const SLABS = [
  { sizeKb: 1024, count: 128 },
  { sizeKb: 8192, count: 8 },
  { sizeKb: 16384, count: 4 },
  { sizeKb: 65536, count: 2 },
] as const;
/** Larger buffers than this nvidia-fs does not use. */
export const NVIDIA_FS_SLAB_LIMIT_KB = 16384;

/** By path with dots; buildFile puts them into the order of the table. */
type Values = Map<string, unknown>;

function setPath(values: Values, input: CufileInput, settings: CufileSettings): void {
  const { mode } = input;
  const allowsCompat = mode === 'compat' || settings.fallback === 'allow';
  values.set('properties.use_pci_p2pdma', mode === 'p2pdma');
  values.set('properties.allow_compat_mode', allowsCompat);
  values.set('properties.force_compat_mode', mode === 'compat');
  values.set('properties.gds_rdma_write_support', input.hcas.length > 0);
  values.set('fs.generic.posix_unaligned_writes', false);
  values.set('miscellaneous.skip_topology_detection', mode === 'compat');
  if (allowsCompat) {
    values.set('properties.posix_pool_slab_size_kb', [4, 1024, 16384]);
    values.set('properties.posix_pool_slab_count', [128, 64, 64]);
  }
  for (const { path } of keysOf(input.cufileVersion)) {
    const [section, name, key] = path.split('.');
    if (key !== 'use_pci_p2pdma') continue;
    values.set(path, mode === 'p2pdma' && settings.p2pdmaPaths.includes(`${section}.${name}`));
  }
}

function setSlabs(values: Values, mode: CufileMode): void {
  const slabs = SLABS.filter(({ sizeKb }) => mode !== 'nvidia-fs' || sizeKb <= NVIDIA_FS_SLAB_LIMIT_KB);
  values.set(
    'properties.gpu_bounce_buffer_slab_config.slab_size_kb',
    slabs.map(({ sizeKb }) => sizeKb),
  );
  values.set(
    'properties.gpu_bounce_buffer_slab_config.slab_count',
    slabs.map(({ count }) => count),
  );
}

function setMemory(values: Values, input: CufileInput, settings: CufileSettings, overrides: unknown): void {
  const knowsSlabs = CUFILE_VERSIONS.indexOf(input.cufileVersion) >= CUFILE_VERSIONS.indexOf('1.17');
  const wantsUniform =
    settings.deviceCacheKb !== undefined || UNIFORM_BUFFER_KEYS.some((path) => valueAt(overrides, path) !== undefined);
  values.set('properties.max_device_pinned_mem_size_kb', settings.pinnedMemoryKb);
  values.set('properties.use_poll_mode', settings.pollMode);
  values.set('properties.poll_mode_max_size_kb', settings.pollMaxSizeKb);
  if (knowsSlabs && !wantsUniform) {
    setSlabs(values, input.mode);
    return;
  }
  values.set('properties.max_device_cache_size_kb', settings.deviceCacheKb ?? 131072);
  values.set('properties.per_buffer_cache_size_kb', 1024);
  values.set('properties.max_direct_io_size_kb', 16384);
}

function balancing(hcas: readonly CufileHca[], gpus: readonly CufileGpu[], settings: CufileSettings): string {
  if (settings.loadBalancing !== 'auto') return settings.loadBalancing;
  if (hcas.length === 1) return 'FirstFit';
  return hcas.length > 1 && gpus.length > 1 ? 'RoundRobinMaxMin' : 'RoundRobin';
}

function setRdma(values: Values, { hcas, gpus }: CufileInput, settings: CufileSettings, overrides: unknown): void {
  const { addresses } = addressesOf(hcas);
  const narrowed = valueAt(overrides, 'properties.rdma_dev_addr_list');
  const used = hcasOf(hcas, Array.isArray(narrowed) ? narrowed.map(String) : addresses);
  values.set('properties.rdma_dev_addr_list', addresses);
  values.set('properties.rdma_load_balancing_policy', balancing(used, gpus, settings));
  values.set('properties.rdma_dynamic_routing', isRoutingUseful(used, gpus));
  values.set('properties.rdma_dynamic_routing_order', [...ROUTES]);
}

/**
 * What we write before overrides, by path. The overrides are asked two things: whether they speak of bounce buffers of
 * one size, because a file holds either these or slabs; and which addresses they leave, because balancing and routing are
 * about those.
 */
export function baseValues(
  input: CufileInput,
  settings: CufileSettings,
  overrides: unknown,
): ReadonlyMap<string, unknown> {
  const values: Values = new Map();
  values.set('logging.level', settings.logLevel);
  if (settings.logDir !== undefined) values.set('logging.dir', settings.logDir);
  setPath(values, input, settings);
  setMemory(values, input, settings, overrides);
  setRdma(values, input, settings, overrides);
  return values;
}
