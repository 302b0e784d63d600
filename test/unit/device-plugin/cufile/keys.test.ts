import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { NabuError } from '../../../../common/errors/index.ts';
import {
  CUFILE_KEYS,
  CUFILE_VERSIONS,
  type CufileVersion,
  cufileJson,
  valueText,
} from '../../../../device-plugin/cufile/index.ts';
import { keysOf } from '../../../../device-plugin/cufile/schema.ts';
import { valueAt } from '../../../../device-plugin/cufile/tree.ts';
import type { CufileValue } from '../../../../device-plugin/cufile/value.ts';
import { cufileReference } from '../../../../scripts/reference/cufile.ts';
import { treeOf } from './arbitrary.ts';
import { machine, settingsOf } from './machines.ts';

/** Values of other types, and values of its own type just outside its range. */
function wrongValues(value: CufileValue): unknown[] {
  const types = [null, 'no such thing\0', 1.5, true, {}, { x: 1 }, [[]]];
  switch (value.kind) {
    case 'boolean':
      return [...types.filter((item) => item !== true), 0, 'true', []];
    case 'integer': {
      const { min, max, step, except } = value;
      const beyond = max === undefined ? [2 ** 53, 1e300] : [max + (step ?? 1)];
      return [...types, String(min), min - (step ?? 1), ...beyond, ...(step ? [min + step / 2] : []), except ?? null];
    }
    case 'choice':
      return [...types, '', value.of[0]?.toLowerCase().concat('x'), [value.of[0]]];
    case 'hex32':
      return [...types, '0x1ffffffff', '1f', '0x', 31, ...(value.isNonZero === true ? ['0x0', '0x00'] : [])];
    case 'path':
      return [...types, '', 'relative/path', '/with\0zero'];
    case 'paths':
      return [...types, '/one', ['relative'], ['/one', 2], Array.from({ length: 257 }, () => '/x')];
    case 'names':
      return [...types, 'one', [''], [1]];
    case 'addresses':
      return [...types, '10.8.0.10', ['mlx5_0'], ['fe80::1'], ['10.8.0.10', '10.8.0.10'], ['10.8.0.256']];
    case 'order':
      return [...types, [], [value.of[0], value.of[0]], ['ELSEWHERE']];
    case 'integers': {
      const { min, step, ascending } = value;
      const more = [
        ...(step ? [[min + step / 2]] : []),
        ...(ascending === true
          ? [
              [min + 4, min],
              [min, min],
            ]
          : []),
      ];
      return [...types, min, [], [min - (step ?? 1)], [String(min)], [2 ** 31], ...more];
    }
    case 'mounts':
      return [
        ...types.filter((item) => JSON.stringify(item) !== '{}'),
        { relative: {} },
        { '/m': { rdma_dev_addr_list: ['x'] } },
      ];
  }
}

describe('the keys of cufile.json', () => {
  it('are refused by name, with what is allowed, when their value has another type or is out of range', () => {
    let refused = 0;
    for (const version of CUFILE_VERSIONS) {
      for (const key of keysOf(version)) {
        for (const wrong of wrongValues(key.value)) {
          const err = errorOf(version, treeOf(key.path, wrong));
          assert.equal(
            err?.code,
            'CUFILE_VALUE_INVALID',
            `${version} ${key.path} ${JSON.stringify(wrong)}: ${err?.message}`,
          );
          assert.equal(err?.fields.path, key.path);
          assert.equal(err?.fields.allowed, valueText(key.value));
          refused++;
        }
      }
    }
    assert(refused > 2000, String(refused));
  });

  it('are refused by name and release where a release does not know them', () => {
    const all = [...new Set(CUFILE_KEYS.map(({ path }) => path))];
    for (const version of CUFILE_VERSIONS) {
      const known = new Set(keysOf(version).map(({ path }) => path));
      for (const path of all.filter((item) => !known.has(item))) {
        const err = errorOf(version, treeOf(path, true));
        assert.equal(err?.code, 'CUFILE_KEY_VERSION', `${version} ${path}`);
        assert.equal(err?.fields.version, version);
        assert(`${path}.`.startsWith(`${String(err?.fields.path)}.`));
      }
    }
  });

  // From the libraries themselves: names in their text, and what they refuse when they load a file.
  it('came and went with these releases', () => {
    const changes = CUFILE_VERSIONS.slice(1).map((version, at) => {
      const before = new Set(keysOf(CUFILE_VERSIONS[at] ?? '1.13').map(({ path }) => path));
      const now = new Set(keysOf(version).map(({ path }) => path));
      return [version, [...now].filter((path) => !before.has(path)), [...before].filter((path) => !now.has(path))];
    });
    const p2pdma = (...names: string[]): string[] => names.map((name) => `${name}.use_pci_p2pdma`);
    assert.deepEqual(changes, [
      ['1.14', ['fs.scatefs.posix_gds_min_kb', 'fs.scatefs.rdma_dev_addr_list', 'fs.scatefs.mount_table'], []],
      ['1.15', [], []],
      [
        '1.16',
        p2pdma(
          'fs.lustre',
          'fs.beegfs',
          'fs.scatefs',
          'fs.nfs',
          'fs.gpfs',
          'fs.virtiofs',
          'block.nvme',
          'block.nvmeof',
          'block.raid',
        ),
        ['profile.nvtx'],
      ],
      [
        '1.17',
        [
          'properties.gds_fallback_io',
          'properties.gpu_bounce_buffer_slab_config.slab_size_kb',
          'properties.gpu_bounce_buffer_slab_config.slab_count',
          'miscellaneous.enable_static_routing',
          'miscellaneous.static_routing_filepath',
        ],
        [],
      ],
      ['1.18', ['logging.max_file_size_mb'], []],
      [
        '1.19',
        [
          'properties.vanilla_posix_io_mode',
          'properties.compat_odirect_unaligned_read_split',
          'properties.compat_odirect_unaligned_read_split_min_size_kb',
          'properties.rdma_transport_type',
          'properties.allow_rdma_token_reset',
          'fs.panfs.rdma_dev_addr_list',
          'fs.panfs.mount_table',
          ...p2pdma('fs.panfs', 'block.raid1', 'block.raid10'),
          'sparse.p2p_compat_enable',
          'sparse.min_p2pdma_threshold_kb',
          'miscellaneous.rdma_token_reset_timeout_secs',
        ],
        [],
      ],
      ['1.20', [], []],
    ]);
  });

  it('are each there once in a release', () => {
    for (const version of CUFILE_VERSIONS) {
      const paths = keysOf(version).map(({ path }) => path);
      assert.deepEqual(paths, [...new Set(paths)]);
    }
  });

  it('that we write are those of which the reference says what we write, and why', () => {
    const settings = [settingsOf({ logDir: '/var/log', fallback: 'allow' }), settingsOf({ deviceCacheKb: 131072 })];
    const files = CUFILE_VERSIONS.flatMap((version) =>
      settings.map((setting) => JSON.parse(cufileJson(machine('h200', version), setting).text)),
    );
    const written = CUFILE_KEYS.filter(({ path }) => files.some((file) => valueAt(file, path) !== undefined));
    assert.deepEqual(
      [...new Set(written.map(({ path }) => path))],
      [...new Set(CUFILE_KEYS.filter(({ ours }) => ours !== undefined).map(({ path }) => path))],
    );
  });

  it('are what docs/reference/cufile.md says', () => {
    const page = readFileSync(new URL('../../../../docs/reference/cufile.md', import.meta.url), 'utf8');
    assert.equal(page, cufileReference(), 'run: node scripts/cufile-reference.ts');
    for (const { path } of CUFILE_KEYS) assert(page.includes(`| \`${path}\` |`), path);
  });
});

function errorOf(version: CufileVersion, overrides: unknown): NabuError | undefined {
  try {
    cufileJson(machine('h200', version), settingsOf(), overrides);
    return undefined;
  } catch (err) {
    if (NabuError.is(err)) return err;
    throw err;
  }
}
