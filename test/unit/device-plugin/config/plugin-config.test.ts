import assert from 'node:assert/strict';
import { allowedText, configNode, parsePluginConfig, type SchemaNode } from '../../../../device-plugin/config/index.ts';

const SOURCE = '/etc/nabustore/device-plugin.yaml';

/** A file that uses every field there is. */
const FULL = {
  version: 'v1',
  health: { recoverMs: 1000, maxRecoverMs: 60_000, calmMs: 600_000 },
  resources: [
    {
      kind: 'rdma',
      name: 'storage',
      mode: 'plugin',
      slots: 4,
      deviceFiles: ['uverbs', 'rdma_cm', 'umad', 'issm'],
      select: {
        vendors: ['15b3'],
        devices: ['1021'],
        drivers: ['mlx5_core'],
        pciAddresses: ['0000:1a:00.0'],
        numaNodes: [0],
        linkLayers: ['InfiniBand'],
        linkStates: ['ACTIVE'],
        interfaces: ['ib*'],
      },
    },
    {
      kind: 'cufile',
      name: 'a',
      slots: 8,
      version: '1.17',
      settings: {
        loadBalancing: 'auto',
        pollMode: true,
        pollMaxSizeKb: 8,
        pinnedMemoryKb: 1024,
        deviceCacheKb: 512,
        fallback: 'allow',
        logDir: '/var/log',
        logLevel: 'WARN',
        p2pdmaPaths: ['block.nvme'],
      },
      overrides: { properties: { io_batchsize: 64 } },
    },
    {
      kind: 'gds',
      name: 'b',
      mode: 'dra',
      slots: 2,
      deviceFiles: ['uverbs'],
      select: { vendors: ['15b3'] },
      version: '1.13',
      settings: { fallback: 'refuse' },
      overrides: {},
    },
    { kind: 'hugetlbfs', pageSize: '2Mi', unitBytes: 64 << 20, mountPath: '/mnt/huge' },
    { kind: 'nvme-vfio', name: 'fast', mode: 'plugin', select: { vendors: ['1e0f'], numaNodes: [0, 1] } },
  ],
};

type Path = readonly (string | number)[];

function changed(path: Path, value: unknown): unknown {
  const copy: unknown = structuredClone(FULL);
  const last = path.at(-1) ?? '';
  let at: unknown = copy;
  for (const key of path.slice(0, -1)) at = Reflect.get(Object(at), key);
  Reflect.set(Object(at), last, value);
  return copy;
}

function refusalOf(config: unknown): string {
  const text = typeof config === 'string' ? config : JSON.stringify(config);
  try {
    parsePluginConfig(text, SOURCE);
  } catch (err) {
    assert.equal(Reflect.get(Object(err), 'code'), 'CONFIG_INVALID');
    return err instanceof Error ? err.message : '';
  }
  return assert.fail(`taken: ${text}`);
}

const pathText = (path: Path): string =>
  path
    .map((key) => (typeof key === 'number' ? `[${key}]` : `.${key}`))
    .join('')
    .replace(/^\./, '');

/** Every field that the schema has and the file above uses, with the node that describes it. */
function fieldsOf(value: unknown, node: SchemaNode, path: Path): { readonly path: Path; readonly node: SchemaNode }[] {
  if (Array.isArray(value)) {
    return value.flatMap((item, at) => {
      const kind = Reflect.get(Object(item), 'kind');
      const own = node.items?.oneOf?.find(({ properties }) => properties?.kind?.const === kind) ?? node.items;
      return own === undefined ? [] : [{ path: [...path, at], node: own }, ...fieldsOf(item, own, [...path, at])];
    });
  }
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(node.properties ?? {}).flatMap(([name, own]) => {
    const field = { path: [...path, name], node: own };
    return Object.hasOwn(value, name) ? [field, ...fieldsOf(Reflect.get(value, name), own, field.path)] : [];
  });
}

describe('the configuration file of the device plugin', () => {
  it('takes a file that uses every field', () => {
    const config = parsePluginConfig(JSON.stringify(FULL), SOURCE);
    assert.deepEqual(config, FULL.resources[2] && { ...FULL, resources: config.resources });
    assert.equal(config.resources.length, FULL.resources.length);
  });

  it('has every field of the schema in the file that these tests break', () => {
    const used = new Set(fieldsOf(FULL, configNode(), []).map(({ node }) => node));
    const kinds = configNode().properties?.resources?.items?.oneOf ?? [];
    assert.equal(kinds.length, 5);
    const fields = ({ properties = {} }: SchemaNode): SchemaNode[] =>
      Object.values(properties).flatMap((node) => [node, ...fields(node)]);
    const rare = new Set(['select', 'settings']); // all of theirs are used by the first resource that has them
    for (const kind of kinds) {
      for (const [name, node] of Object.entries(kind.properties ?? {}))
        assert.ok(used.has(node), `${name} is not used`);
    }
    const all = kinds.flatMap((kind) => Object.entries(kind.properties ?? {}));
    for (const [, node] of all.filter(([name]) => rare.has(name)).slice(0, 2)) {
      for (const field of fields(node)) assert.ok(used.has(field), `${JSON.stringify(field)} is not used`);
    }
  });

  for (const { path, node } of fieldsOf(FULL, configNode(), [])) {
    it(`names ${pathText(path)} when it is of a wrong type, and says what is allowed`, () => {
      for (const wrong of [null, { no: 1 }, node.type === 'string' ? 7 : 'no']) {
        if (node.type === 'object' && typeof wrong === 'object' && wrong !== null && node.properties === undefined)
          continue;
        const message = refusalOf(changed(path, wrong));
        assert.ok(message.startsWith(`configuration ${SOURCE}: ${pathText(path)}`), message);
        assert.match(message, /allowed|must be given/);
      }
    });

    if (node.type === 'object' && node.properties !== undefined) {
      it(`names a key that ${pathText(path)} does not have, and those that it has`, () => {
        const message = refusalOf(changed([...path, 'colour'], 'red'));
        const allowed = Object.keys(node.properties ?? {}).join(', ');
        assert.equal(
          message,
          `configuration ${SOURCE}: ${pathText([...path, 'colour'])} is not known; allowed there: ${allowed}`,
        );
      });
    }
    if (node.maximum !== undefined && node.minimum !== undefined) {
      it(`names ${pathText(path)} beyond its range`, () => {
        for (const wrong of [(node.minimum ?? 0) - 1, (node.maximum ?? 0) + 1, 1.5]) {
          const message = refusalOf(changed(path, wrong));
          assert.ok(message.includes(`${pathText(path)} is ${wrong}; allowed: ${allowedText(node)}`), message);
        }
      });
    }
  }

  const cases: readonly (readonly [string, unknown, RegExp])[] = [
    ['an empty file', '', /the file is null; allowed: a mapping with the keys version, health, resources/],
    ['no YAML', 'resources: [1', /line 1, column \d+: Flow sequence/],
    ['a key twice', 'version: v1\nversion: v1\nresources: []', /line 2, column 1: Map keys must be unique/],
    ['two documents', 'version: v1\n---\nversion: v1', /line 2, .*multiple documents/],
    ['aliases', 'version: v1\nresources: &a []\nhealth: *a', /it uses aliases/],
    ['tags', 'version: v1\nresources: !!js/function []', /line 2, column 12: Unresolved tag/],
    ['no version', { resources: [] }, /version must be given: v1/],
    ['a later version', { version: 'v2', resources: [] }, /version is "v2"; allowed: v1/],
    ['no resources', { version: 'v1' }, /resources must be given: a list/],
    ['no kind', { version: 'v1', resources: [{}] }, /resources\[0\]\.kind must be given: .*rdma.*hugetlbfs/],
    ['another kind', { version: 'v1', resources: [{ kind: 'roce' }] }, /resources\[0\]\.kind is "roce"; .*nvme-vfio/],
    ['a number as an id', changed(['resources', 0, 'select', 'devices', 0], 1021), /is 1021; allowed: text, in quotes/],
    ['an id in upper case', changed(['resources', 0, 'select', 'vendors', 0], '15B3'), /four hexadecimal digits/],
    ['a name with a capital', changed(['resources', 0, 'name'], 'A'), /lower-case letters/],
    ['an address without domain', changed(['resources', 0, 'select', 'pciAddresses', 0], '1a:00.0'), /0000:18:00\.0/],
    ['an interface name of 16', changed(['resources', 0, 'select', 'interfaces', 0], 'a'.repeat(16)), /at most 15/],
    [
      'a relative mount path',
      changed(['resources', 3, 'mountPath'], 'mnt'),
      /mountPath is "mnt"; allowed: an absolute/,
    ],
    [
      'a mount path with a way up in it',
      changed(['resources', 3, 'mountPath'], '/mnt/../etc'),
      /without '\.', '\.\.' or/,
    ],
    ['a mount path that is the root', changed(['resources', 3, 'mountPath'], '//'), /mountPath is "\/\/"; allowed: an/],
    ['a mount path that ends as a folder', changed(['resources', 3, 'mountPath'], '/mnt/huge/'), /an empty name in it/],
    [
      'more resources than there may be',
      { version: 'v1', resources: Array.from({ length: 65 }, (_, at) => ({ kind: 'rdma', name: `r${at}` })) },
      /resources is .*; allowed: a list, of 64 at the most/,
    ],
    [
      'an empty list',
      changed(['resources', 0, 'select', 'vendors'], []),
      /vendors is \[\]; allowed: a list that is not/,
    ],
    [
      'a name twice',
      { version: 'v1', resources: [{ kind: 'rdma' }, { kind: 'rdma' }] },
      /\[1\] is nabustore.io\/rdma, as/,
    ],
    ['half a page', changed(['resources', 3, 'unitBytes'], 3 << 20), /unitBytes is 3145728; .*multiple of the page/],
    ['a limit below the wait', changed(['health', 'maxRecoverMs'], 1), /maxRecoverMs is 1; allowed: at least/],
    [
      'an override that cuFile does not know',
      changed(['resources', 1, 'overrides'], { properties: { io_batchsiz: 1 } }),
      /resources\[1\]\.overrides: properties\.io_batchsiz is not a key .*properties\.io_batchsize may be meant/,
    ],
    [
      'an override out of range',
      changed(['resources', 2, 'overrides'], { properties: { io_batchsize: 'many' } }),
      /resources\[2\]\.overrides: properties\.io_batchsize of cufile\.json is "many"/,
    ],
    [
      'an override of a name that objects have by themselves',
      '{ version: v1, resources: [{ kind: rdma }, { kind: cufile, version: "1.17", overrides: { __proto__: { x: 1 } } }] }',
      /resources\[1\]\.overrides\.__proto__ is not known/,
    ],
    [
      'such a name in an override',
      '{ version: v1, resources: [{ kind: cufile, version: "1.17", overrides: { profile: { __proto__: 1 } } }] }',
      /resources\[0\]\.overrides: profile\.__proto__ is not a key .*cufile_stats/,
    ],
    [
      'two mounts at one path',
      changed(['resources', 4], { kind: 'hugetlbfs', pageSize: '1Gi', unitBytes: 2 ** 30, mountPath: '/mnt/huge' }),
      /resources\[4\]\.mountPath is \/mnt\/huge, as that of resources\[3\]/,
    ],
  ];
  it('refuses a mount where that of the other page size is by default', () => {
    const config = changed(['resources', 4], {
      kind: 'hugetlbfs',
      pageSize: '1Gi',
      unitBytes: 2 ** 30,
      mountPath: '/dev/hugepages-2Mi',
    });
    Reflect.deleteProperty(Object(Reflect.get(Object(Reflect.get(Object(config), 'resources')), 3)), 'mountPath');
    assert.match(refusalOf(config), /resources\[4\]\.mountPath is \/dev\/hugepages-2Mi, as that of resources\[3\]/);
  });

  for (const [what, config, message] of cases) {
    it(`refuses ${what}, and says why`, () => assert.match(refusalOf(config), message));
  }

  it('takes YAML as people write it', () => {
    const text =
      'version: v1\nresources:\n  # all of them\n  - kind: rdma\n    select: { vendors: [15b3], linkLayers: [Ethernet] }\n';
    const [resource] = parsePluginConfig(text, SOURCE).resources;
    assert.deepEqual(resource, {
      kind: 'rdma',
      mode: 'plugin',
      slots: 1,
      deviceFiles: ['uverbs', 'rdma_cm'],
      select: { vendors: ['15b3'], linkLayers: ['Ethernet'], linkStates: ['ACTIVE'] },
    });
  });
});
