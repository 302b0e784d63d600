import fc from 'fast-check';
import type { CufileInput, CufileVersion } from '../../../../device-plugin/cufile/index.ts';
import type { CufileKey } from '../../../../device-plugin/cufile/key.ts';
import { keysOf } from '../../../../device-plugin/cufile/schema.ts';
import { addressesOf } from '../../../../device-plugin/cufile/topology.ts';
import { mergeTrees } from '../../../../device-plugin/cufile/tree.ts';
import type { CufileValue } from '../../../../device-plugin/cufile/value.ts';

type Tree = Readonly<Record<string, unknown>>;

/** `a.b.c` and 5 -> { a: { b: { c: 5 } } } */
export function treeOf(path: string, value: unknown): Tree {
  return path
    .split('.')
    .toReversed()
    .reduce<unknown>((below, name) => ({ [name]: below }), value) as Tree;
}

const absolutePath = fc
  .array(fc.stringMatching(/^[a-z0-9_.-]{1,8}$/), { minLength: 1, maxLength: 3 })
  .map((parts) => `/${parts.join('/')}`);

function integer({ min, max, step = 1 }: { min: number; max?: number; step?: number }): fc.Arbitrary<number> {
  const top = max ?? min + 4096 * step;
  return fc.integer({ min: Math.ceil(min / step), max: Math.floor(top / step) }).map((count) => count * step);
}

/** Any value that a key takes, with addresses out of those given. */
export function valueArbitrary(value: CufileValue, addresses: readonly string[]): fc.Arbitrary<unknown> {
  switch (value.kind) {
    case 'boolean':
      return fc.boolean();
    case 'integer':
      return integer(value).filter((number) => number !== value.except);
    case 'choice':
      return fc.constantFrom(...value.of);
    case 'hex32':
      return fc
        .integer({ min: value.isNonZero === true ? 1 : 0, max: 0xffffffff })
        .map((number) => `0x${number.toString(16)}`);
    case 'path':
      return absolutePath;
    case 'paths':
      return fc.array(absolutePath, { maxLength: 4 });
    case 'names':
      return fc.array(fc.stringMatching(/^[a-z0-9]{1,8}$/), { maxLength: 4 });
    case 'addresses':
      return fc.subarray([...addresses]);
    case 'order':
      return fc.shuffledSubarray([...value.of], { minLength: 1 });
    case 'integers':
      return fc
        .uniqueArray(integer(value), { minLength: 1, maxLength: 4 })
        .map((list) => (value.ascending === true ? list.toSorted((a, b) => a - b) : list));
    case 'mounts':
      return fc.dictionary(absolutePath, fc.record({ rdma_dev_addr_list: fc.subarray([...addresses]) }), {
        maxKeys: 3,
      });
  }
}

/** Keys that only make sense together, or that the machine decides: given below as one, or left alone. */
const TOGETHER =
  /rdma_dynamic_routing$|force_compat_mode$|use_pci_p2pdma$|_slab_|slab_config|max_device_cache|per_buffer_cache|max_direct_io|max_device_pinned|io_batchsize|mount_table$/;

function slabs(section: string, sizes: string, counts: string): fc.Arbitrary<Tree> {
  return fc.array(fc.integer({ min: 1, max: 64 }), { minLength: 1, maxLength: 5 }).map((list) =>
    mergeTrees(
      treeOf(
        `${section}.${sizes}`,
        list.map((_, at) => 4 * 4 ** at),
      ),
      treeOf(`${section}.${counts}`, list),
    ),
  );
}

const uniformBuffers = fc
  .record({ buffer: fc.integer({ min: 1, max: 256 }), batch: fc.integer({ min: 1, max: 256 }), more: fc.nat(64) })
  .map(({ buffer, batch, more }): Tree => {
    const cacheKb = 64 * buffer * batch + 4 * more;
    return {
      properties: {
        per_buffer_cache_size_kb: 64 * buffer,
        max_direct_io_size_kb: 16384,
        io_batchsize: batch,
        max_device_cache_size_kb: cacheKb,
        max_device_pinned_mem_size_kb: cacheKb + 64,
      },
    };
  });

function mountsOrList(name: string, addresses: readonly string[]): fc.Arbitrary<Tree> {
  const table = valueArbitrary({ kind: 'mounts' }, addresses).map((mounts) =>
    mergeTrees(treeOf(`fs.${name}.mount_table`, mounts), treeOf(`fs.${name}.rdma_dev_addr_list`, [])),
  );
  return fc.oneof(
    table,
    fc.subarray([...addresses]).map((list) => treeOf(`fs.${name}.rdma_dev_addr_list`, list)),
  );
}

function groups(version: CufileVersion, addresses: readonly string[]): fc.Arbitrary<Tree>[] {
  const has = (path: string): boolean => keysOf(version).some((key) => key.path === path);
  const names = ['lustre', 'beegfs', 'scatefs', 'nfs', 'gpfs', 'weka', 'panfs'];
  const buffers = has('properties.gpu_bounce_buffer_slab_config.slab_count')
    ? fc.oneof(uniformBuffers, slabs('properties.gpu_bounce_buffer_slab_config', 'slab_size_kb', 'slab_count'))
    : uniformBuffers;
  return [
    buffers,
    slabs('properties', 'posix_pool_slab_size_kb', 'posix_pool_slab_count'),
    ...names.filter((name) => has(`fs.${name}.mount_table`)).map((name) => mountsOrList(name, addresses)),
  ];
}

function single(key: CufileKey, addresses: readonly string[]): fc.Arbitrary<Tree> {
  return valueArbitrary(key.value, addresses).map((value) => treeOf(key.path, value));
}

/** Any overrides that a container of this machine may have. */
export function overridesArbitrary(input: CufileInput): fc.Arbitrary<Tree> {
  const { addresses } = addressesOf(input.hcas);
  const singles = keysOf(input.cufileVersion)
    .filter(({ path }) => !TOGETHER.test(path) && !/^fs\.\w+\.rdma_dev_addr_list$/.test(path))
    .map((key) => single(key, addresses));
  const all = [...singles, ...groups(input.cufileVersion, addresses)];
  return fc
    .tuple(...all.map((arbitrary) => fc.option(arbitrary, { nil: {}, freq: 2 })))
    .map((parts) => parts.reduce<Tree>((merged, part) => mergeTrees(merged, part), {}));
}
