import assert from 'node:assert/strict';
import { NabuError } from '../../../../common/errors/index.ts';
import { cufileJson, refuseInvalidPart } from '../../../../device-plugin/cufile/index.ts';
import { machine, settingsOf } from './machines.ts';

/** What an override is refused with on the H200 machine. */
function refusal(overrides: unknown, version: '1.13' | '1.16' | '1.20' = '1.20', name = 'h200'): NabuError {
  try {
    cufileJson(machine(name, version), settingsOf(), overrides);
  } catch (err) {
    if (NabuError.is(err)) return err;
    throw err;
  }
  throw new assert.AssertionError({ message: `${JSON.stringify(overrides)} was taken` });
}

function assertRefused(
  overrides: unknown,
  code: string,
  message: RegExp,
  version: '1.13' | '1.16' | '1.20' = '1.20',
): void {
  const err = refusal(overrides, version);
  assert.equal(err.code, code, err.message);
  assert.match(err.message, message);
}

describe('an override of cufile.json', () => {
  it('is merged key by key, and its lists replace ours whole', () => {
    const overrides = {
      profile: { cufile_stats: 3 },
      properties: { rdma_dev_addr_list: ['10.8.0.13'], use_poll_mode: true },
      fs: { lustre: { posix_gds_min_kb: 8 } },
    };
    const { text } = cufileJson(machine('h200', '1.20'), settingsOf(), overrides);
    const file = JSON.parse(text);
    assert.equal(file.profile.cufile_stats, 3);
    assert.equal(file.properties.use_poll_mode, true);
    assert.equal(file.properties.poll_mode_max_size_kb, 4);
    assert.deepEqual(file.properties.rdma_dev_addr_list, ['10.8.0.13']);
    assert.equal(file.fs.lustre.posix_gds_min_kb, 8);
    assert.equal(file.fs.generic.posix_unaligned_writes, false);
  });

  it('does not change the order of the file, whatever its own', () => {
    const one = { properties: { io_priority: 'low', use_poll_mode: true }, logging: { level: 'WARN' } };
    const other = { logging: { level: 'WARN' }, properties: { use_poll_mode: true, io_priority: 'low' } };
    const input = machine('h200', '1.20');
    assert.equal(cufileJson(input, settingsOf(), one).text, cufileJson(input, settingsOf(), other).text);
  });

  it('with an unknown key is refused with its path, what is allowed there, and what may be meant', () => {
    const unknown = 'CUFILE_KEY_UNKNOWN';
    assertRefused(
      { propertys: {} },
      unknown,
      /^propertys is not a key .*allowed there are logging, profile, execution/,
    );
    assertRefused(
      { properties: { max_direct_io_size: 64 } },
      unknown,
      /\(properties\.max_direct_io_size_kb may be meant\)/,
    );
    assertRefused(
      { profile: { io_batchsize: 64 } },
      unknown,
      /\(properties\.io_batchsize may be meant\).*are cufile_stats$/,
    );
    assertRefused(
      { fs: { nfs: { gds: true } } },
      unknown,
      /^fs\.nfs\.gds .*rdma_dev_addr_list, mount_table, use_pci_p2pdma/,
    );
    assertRefused({ fs: { ext4: {} } }, unknown, /^fs\.ext4 .*are generic, lustre, beegfs/);
    const mounts = { '/mnt': { rdma_dev_addr_list: [], rdma: 1 } };
    assertRefused(
      { fs: { nfs: { mount_table: mounts } } },
      unknown,
      /mount_table\.\/mnt\.rdma is .*are rdma_dev_addr_list$/,
    );
    assertRefused(JSON.parse('{"__proto__": {"x": 1}}'), unknown, /^__proto__ /);
    assertRefused(JSON.parse('{"profile": {"__proto__": 1}}'), unknown, /^profile\.__proto__ .*are cufile_stats$/);
    assertRefused(
      JSON.parse('{"fs": {"nfs": {"mount_table": {"__proto__": {"rdma_dev_addr_list": []}}}}}'),
      'CUFILE_VALUE_INVALID',
      /^fs\.nfs\.mount_table\.__proto__ .*an object of mount points/,
    );
    assert.deepEqual(refusal({ profile: { x: 1 } }).fields.allowed, ['cufile_stats']);
  });

  it('with a key of another release is refused with the release and those that know it', () => {
    const version = 'CUFILE_KEY_VERSION';
    const raid = { block: { raid1: { use_pci_p2pdma: false } } };
    assertRefused(raid, version, /cuFile 1\.16 does not know block\.raid1: it is known from 1\.19 on/, '1.16');
    assertRefused(
      { profile: { nvtx: true } },
      version,
      /1\.16 does not know profile\.nvtx: .* from 1\.13 to 1\.15/,
      '1.16',
    );
    assertRefused(
      { logging: { max_file_size_mb: 8 } },
      version,
      /1\.13 does not know logging\.max_file_size_mb/,
      '1.13',
    );
    const slabs = { gpu_bounce_buffer_slab_config: { slab_size_kb: [64], slab_count: [1] } };
    assertRefused({ properties: slabs }, version, /gpu_bounce_buffer_slab_config: it is known from 1\.17 on/, '1.16');
  });

  it('that is no object of sections is refused', () => {
    for (const overrides of [[], null, 'x', 5]) {
      assertRefused(
        overrides,
        'CUFILE_VALUE_INVALID',
        /^the file of cufile\.json is .*allowed is an object of logging/,
      );
    }
    assertRefused({ properties: 5 }, 'CUFILE_VALUE_INVALID', /^properties of .* is 5, allowed is an object of use_pci/);
  });

  it('can be checked before there is a container', () => {
    assert.doesNotThrow(() => refuseInvalidPart({ profile: { nvtx: true } }, '1.15'));
    assert.throws(
      () => refuseInvalidPart({ profile: { nvtx: true } }, '1.16'),
      (err: unknown) => NabuError.is(err, 'CUFILE_KEY_VERSION'),
    );
  });

  it('may leave out addresses of the container, never name another', () => {
    const own = machine('h200-container', '1.20');
    const foreign = { properties: { rdma_dev_addr_list: ['10.8.0.14', '10.8.0.13'] } };
    assert.throws(
      () => cufileJson(own, settingsOf(), foreign),
      (err: unknown) => NabuError.is(err, 'CUFILE_NOT_GIVEN') && err.message.includes('10.8.0.13, which'),
    );
    const table = { fs: { lustre: { mount_table: { '/mnt/l': { rdma_dev_addr_list: ['10.8.0.13'] } } } } };
    assert.throws(
      () => cufileJson(own, settingsOf(), table),
      (err: unknown) =>
        NabuError.is(err, 'CUFILE_NOT_GIVEN') && err.fields.path === 'fs.lustre.mount_table./mnt/l.rdma_dev_addr_list',
    );
    const none = JSON.parse(
      cufileJson(machine('h200', '1.20'), settingsOf(), { properties: { rdma_dev_addr_list: [] } }).text,
    );
    assert.deepEqual(none.properties.rdma_dev_addr_list, []);
    assert.equal(none.properties.rdma_dynamic_routing, false);
    // The name of an HCA is no address: cuFile would not find it.
    assertRefused(
      { properties: { rdma_dev_addr_list: ['mlx5_0'] } },
      'CUFILE_VALUE_INVALID',
      /a list of IPv4 addresses/,
    );
  });

  it('cannot turn a node into what it is not', () => {
    const p2pdma = { properties: { use_pci_p2pdma: true } };
    assertRefused(p2pdma, 'CUFILE_NOT_GIVEN', /use_pci_p2pdma .* peer-to-peer DMA, .* it has nvidia-fs mode/);
    assertRefused({ block: { nvme: { use_pci_p2pdma: true } } }, 'CUFILE_NOT_GIVEN', /block\.nvme\.use_pci_p2pdma/);
    const compat = { ...machine('h200', '1.20'), mode: 'compat' as const };
    assert.throws(
      () => cufileJson(compat, settingsOf({ fallback: 'allow' }), { properties: { force_compat_mode: false } }),
      (err: unknown) => NabuError.is(err, 'CUFILE_NOT_GIVEN'),
    );
    assert.doesNotThrow(() => cufileJson(machine('p2pdma-only', '1.20'), settingsOf(), p2pdma));
  });

  it('that contradicts the rest of the file is refused with both keys', () => {
    const invalid = 'CUFILE_VALUE_INVALID';
    const cache = { properties: { io_batchsize: 256 } };
    assertRefused(cache, invalid, /max_device_cache_size_kb .* is 131072, allowed is at least 262144/, '1.16');
    const buffer = { properties: { per_buffer_cache_size_kb: 2048, max_direct_io_size_kb: 1024 } };
    assertRefused(
      buffer,
      invalid,
      /per_buffer_cache_size_kb .* at most properties\.max_direct_io_size_kb, which is 1024/,
    );
    const pinned = { properties: { max_device_pinned_mem_size_kb: 65536 } };
    assertRefused(pinned, invalid, /max_device_cache_size_kb .* at most .*pinned_mem_size_kb, which is 65536/, '1.16');
    const slabs = { gpu_bounce_buffer_slab_config: { slab_count: [1] } };
    assertRefused({ properties: slabs }, invalid, /slab_count .* as many entries as .*, which has 3/);
    const both = { properties: { ...slabs, max_direct_io_size_kb: 1024 } };
    assertRefused(both, invalid, /nothing beside properties\.gpu_bounce_buffer_slab_config/);
    const large = { gpu_bounce_buffer_slab_config: { slab_size_kb: [65536], slab_count: [1] } };
    assertRefused({ properties: large }, invalid, /at least one size up to 16384 for nvidia-fs/);
    assertRefused({ properties: { posix_pool_slab_size_kb: [4] } }, invalid, /posix_pool_slab_count .* is absent/);
    const mounts = { rdma_dev_addr_list: ['10.8.0.10'], mount_table: { '/l': { rdma_dev_addr_list: ['10.8.0.10'] } } };
    assertRefused({ fs: { lustre: mounts } }, invalid, /nothing beside fs\.lustre\.rdma_dev_addr_list/);
    const routing = { rdma_dynamic_routing: true, rdma_dev_addr_list: [] };
    assertRefused({ properties: routing }, invalid, /rdma_dynamic_routing .* with addresses/);
  });
});
