import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { Deadline } from '../../../../common/concurrency/index.ts';
import { realClock } from '../../../../common/ports/index.ts';
import { CdiSpecs } from '../../../../device-plugin/cdi/index.ts';
import type { HugetlbfsConfig } from '../../../../device-plugin/config/index.ts';
import type { HugePages, Inventory } from '../../../../device-plugin/discovery/index.ts';
import { DeviceList } from '../../../../device-plugin/kubelet/device-list.ts';
import {
  type HeldPages,
  HUGETLBFS_CDI_KIND,
  hugetlbfsKind,
  type ResourceKind,
  type UnitState,
} from '../../../../device-plugin/resources/index.ts';

const GOLDEN = new URL('../../../fixtures/machines/golden/h200-8gpu.json', import.meta.url);
const H200: Inventory = JSON.parse(readFileSync(GOLDEN, 'utf8'));
const MIB = 2 ** 20;
const CONFIG: HugetlbfsConfig = { kind: 'hugetlbfs', pageSize: '2Mi', unitBytes: 64 * MIB };
const PAGES_PER_UNIT = 32;

type NodePages = { readonly total: number; readonly free?: number; readonly surplus?: number };

/** Pages of 2 MiB on as many nodes. */
function machine(nodes: readonly NodePages[], reserved = 0): Inventory {
  const sum = (values: readonly number[]): number => values.reduce((all, value) => all + value, 0);
  const pool: HugePages = {
    sizeBytes: 2 * MIB,
    total: sum(nodes.map(({ total }) => total)),
    free: sum(nodes.map(({ total, free }) => free ?? total)),
    reserved,
    surplus: sum(nodes.map(({ surplus }) => surplus ?? 0)),
    overcommitLimit: 0,
    perNode: nodes.map(({ total, free, surplus }, at) => ({
      numaNode: at as HugePages['perNode'][number]['numaNode'],
      total,
      free: free ?? total,
      surplus: surplus ?? 0,
    })),
  };
  return { ...H200, hugePages: [pool] };
}

describe('hugetlbfs as a resource', () => {
  let folder = '';
  let held: HeldPages | undefined;
  let granted: string[] = [];
  let kind: ResourceKind;

  const make = (config: HugetlbfsConfig = CONFIG): ResourceKind =>
    hugetlbfsKind(config, {
      specs: new CdiSpecs({ folder, kind: HUGETLBFS_CDI_KIND }),
      holders: { held: () => held, granted: (_, ids) => granted.push(...ids) },
    });
  const unitsOf = (inventory: Inventory): readonly UnitState[] => kind.units(inventory);
  const ill = (inventory: Inventory): readonly string[] =>
    unitsOf(inventory)
      .filter(({ causes }) => causes.length > 0)
      .map(({ id }) => id);
  const holding = (...units: string[]): HeldPages => ({
    units: new Set(units),
    containers: units.map(() => ({ units: 1, pageBytes: 0 })),
  });

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'nabu-hugetlbfs-'));
    held = holding();
    granted = [];
    kind = make();
  });
  afterEach(async () => await rm(folder, { recursive: true, force: true }));

  it('has as many units as whole ones fit into the pages of each NUMA node', () => {
    const units = unitsOf(machine([{ total: 100 }, { total: 31 }, { total: 64 }]));
    assert.deepEqual(
      units.map(({ id, device, numaNodes, pcieRoot, causes }) => [id, device, numaNodes, pcieRoot, causes]),
      [
        ['2Mi-numa0-0', '2Mi-numa0', [0], null, []],
        ['2Mi-numa0-1', '2Mi-numa0', [0], null, []],
        ['2Mi-numa0-2', '2Mi-numa0', [0], null, []],
        ['2Mi-numa2-0', '2Mi-numa2', [2], null, []],
        ['2Mi-numa2-1', '2Mi-numa2', [2], null, []],
      ],
    );
    assert.equal(kind.resource, 'nabustore.io/hugetlbfs-2Mi');
  });

  it('has units without a NUMA node on a machine that has none, and none where there are no pages of that size', () => {
    const inventory = machine([{ total: 64 }]);
    const flat = { ...inventory, hugePages: inventory.hugePages.map((pool) => ({ ...pool, perNode: [] })) };
    assert.deepEqual(
      unitsOf(flat).map(({ id, numaNodes }) => [id, numaNodes]),
      [
        ['2Mi-0', []],
        ['2Mi-1', []],
      ],
    );
    kind = make({ kind: 'hugetlbfs', pageSize: '1Gi', unitBytes: 2 ** 30 });
    assert.deepEqual(unitsOf(inventory), []);
    assert.equal(kind.resource, 'nabustore.io/hugetlbfs-1Gi');
  });

  it('has no more units than one message to the kubelet takes, on however many nodes', () => {
    kind = make({ ...CONFIG, unitBytes: 2 * MIB });
    const nodes = Array.from({ length: 16 }, () => ({ total: 1 << 20 }));
    const counts = [1, 4, 16].map((count) => unitsOf(machine(nodes.slice(0, count))).length);
    assert.deepEqual(counts, [16_384, 65_536, 65_536]);
    const devices = unitsOf(machine(nodes)).map(({ id, numaNodes }) => ({ id, healthy: false, numaNodes }));
    assert.equal(DeviceList.of({ resource: kind.resource, devices: () => devices }, 4 << 20).size, 65_536);
  });

  it('loses the last units of a node that loses pages, and says how many it has', () => {
    const before = unitsOf(machine([{ total: 128 }, { total: 128 }]));
    const shrunk = machine([{ total: 70 }, { total: 128 }]);
    const after = new Set(unitsOf(shrunk).map(({ id }) => id));
    const gone = before.filter(({ id }) => !after.has(id));
    assert.deepEqual(
      gone.map((unit) => [unit.id, kind.missing?.(unit, shrunk)?.code, kind.missing?.(unit, shrunk)?.detail]),
      [
        ['2Mi-numa0-2', 'pages', '2Mi-numa0 has 70 pages, and 96 would be needed up to this unit'],
        ['2Mi-numa0-3', 'pages', '2Mi-numa0 has 70 pages, and 128 would be needed up to this unit'],
      ],
    );
    const [unit] = gone;
    assert(unit !== undefined);
    assert.equal(kind.missing?.(unit, { ...H200, hugePages: [] })?.code, 'unreadable');
  });

  it('does not count surplus pages, which go when they are given back', () => {
    assert.equal(unitsOf(machine([{ total: 128, free: 0, surplus: 64 }])).length, 2);
  });

  it('keeps all units while pods use what they hold, touched or only promised', () => {
    held = holding('2Mi-numa0-0', '2Mi-numa0-3');
    assert.deepEqual(ill(machine([{ total: 128, free: 64 }])), []);
    assert.deepEqual(ill(machine([{ total: 128, free: 128 }], 64)), []);
    assert.deepEqual(ill(machine([{ total: 128, free: 128 }])), []);
  });

  it('takes units back of which the pages are in other hands, never those that a pod holds', () => {
    held = holding('2Mi-numa0-3');
    assert.deepEqual(ill(machine([{ total: 128, free: 95 }])), ['2Mi-numa0-2'], 'one page stolen');
    assert.deepEqual(ill(machine([{ total: 128, free: 128 }], 33)), ['2Mi-numa0-2'], 'one page promised elsewhere');
    assert.deepEqual(ill(machine([{ total: 128, free: 0 }])), ['2Mi-numa0-0', '2Mi-numa0-1', '2Mi-numa0-2']);
    const [unit] = unitsOf(machine([{ total: 128, free: 31 }]));
    assert.deepEqual(unit?.causes, [
      {
        code: 'pages',
        detail: '31 pages of 2Mi are free and not promised, 96 are needed for units that no pod holds',
      },
    ]);
  });

  it('takes them from the node that has the least free pages for its units', () => {
    const stolen = machine([{ total: 128 }, { total: 128, free: 50 }]);
    assert.deepEqual(ill(stolen), ['2Mi-numa1-1', '2Mi-numa1-2', '2Mi-numa1-3']);
  });

  it('does not mind on which node the pages of a holder are', () => {
    held = holding('2Mi-numa0-0');
    assert.deepEqual(ill(machine([{ total: 64 }, { total: 64, free: 32 }])), []);
  });

  it('lets pods have pages without units, where the kubelet says so', () => {
    const pods = { units: new Set<string>(), containers: [{ units: 0, pageBytes: 128 * MIB }] };
    const used = machine([{ total: 128, free: 64 }]);
    assert.equal(ill(used).length, 2, 'as if stolen where it says nothing');
    held = pods;
    assert.deepEqual(ill(used), []);
    assert.deepEqual(ill(machine([{ total: 128, free: 63 }])), ['2Mi-numa0-3']);
    held = { units: new Set(['2Mi-numa0-0']), containers: [{ units: 1, pageBytes: 128 * MIB }] };
    assert.deepEqual(ill(used), [], 'a holder of a unit may have more pages than the unit has');
  });

  it('takes back no more than there is for when holders sit on units that the node has lost', () => {
    held = holding('2Mi-numa0-5', '2Mi-numa0-6');
    assert.deepEqual(ill(machine([{ total: 128, free: 64 }])), ['2Mi-numa0-2', '2Mi-numa0-3']);
    assert.deepEqual(ill(machine([{ total: 128, free: 128 }])), ['2Mi-numa0-2', '2Mi-numa0-3'], 'touched or not');
  });

  it('takes nothing back before the kubelet has said what pods hold, or while the pages cannot be counted', () => {
    held = undefined;
    assert.deepEqual(ill(machine([{ total: 128, free: 0 }])), []);
    held = holding();
    const inventory = machine([{ total: 128, free: 0 }]);
    assert.deepEqual(
      ill({ ...inventory, hugePages: inventory.hugePages.map((pool) => ({ ...pool, free: null })) }),
      [],
    );
  });

  it('never offers more units than there are pages for, nor less than the rule leaves', () => {
    const node = fc.record({ total: fc.integer({ min: 0, max: 300 }), used: fc.integer({ min: 0, max: 300 }) });
    fc.assert(
      fc.property(fc.array(node, { minLength: 1, maxLength: 4 }), fc.integer({ min: 0, max: 99 }), (nodes, seed) => {
        const inventory = machine(nodes.map(({ total, used }) => ({ total, free: Math.max(0, total - used) })));
        held = undefined;
        const all = unitsOf(inventory);
        held = holding(...all.filter((_, at) => (at * 37 + seed) % 3 === 0).map(({ id }) => id));
        const units = unitsOf(inventory);
        const free = inventory.hugePages[0]?.free ?? 0;
        const unheld = units.filter(({ id }) => held?.units.has(id) === false);
        const left = unheld.filter(({ causes }) => causes.length === 0).length;
        assert.equal(left, Math.min(unheld.length, Math.floor(free / PAGES_PER_UNIT)));
        assert.equal(units.length - unheld.length, units.filter(({ id }) => held?.units.has(id)).length);
        for (const unit of units) if (held?.units.has(unit.id)) assert.deepEqual(unit.causes, []);
      }),
    );
  });

  it('grants a CDI name whose spec is there: one mount, as large as all the units together', async () => {
    const inventory = machine([{ total: 128 }]);
    using deadline = new Deadline({ clock: realClock, operation: 'grant', timeoutMs: 10_000 });
    const grant = await kind.grant(unitsOf(inventory).slice(0, 3), inventory, deadline);
    assert.deepEqual(grant, {
      devices: [],
      mounts: [],
      environment: {},
      annotations: {},
      cdiDevices: ['nabustore.io/hugetlbfs=2Mi-201326592'],
    });
    assert.deepEqual(granted, ['2Mi-numa0-0', '2Mi-numa0-1', '2Mi-numa0-2']);
    const spec = JSON.parse(await readFile(join(folder, 'nabustore.io-hugetlbfs_2Mi-201326592.json'), 'utf8'));
    assert.deepEqual(spec, {
      cdiVersion: '0.5.0',
      kind: 'nabustore.io/hugetlbfs',
      devices: [
        {
          name: '2Mi-201326592',
          containerEdits: {
            mounts: [
              {
                hostPath: 'nodev',
                containerPath: '/dev/hugepages-2Mi',
                type: 'hugetlbfs',
                options: ['nosuid', 'nodev', 'pagesize=2M', 'size=201326592', 'mode=01777'],
              },
            ],
          },
        },
      ],
    });
  });

  it('writes the spec again before a container starts, as after a reboot it is gone', async () => {
    const inventory = machine([{ total: 128 }]);
    using deadline = new Deadline({ clock: realClock, operation: 'grant', timeoutMs: 10_000 });
    const units = unitsOf(inventory).slice(0, 1);
    await kind.grant(units, inventory, deadline);
    const files = await readdir(folder);
    await rm(folder, { recursive: true });
    await kind.prepare?.(units, inventory, deadline);
    assert.deepEqual(await readdir(folder), files);
    assert.equal(kind.options.preStartRequired, true);
  });

  it('names another place otherwise, so that containers of an earlier configuration find theirs', async () => {
    using deadline = new Deadline({ clock: realClock, operation: 'grant', timeoutMs: 10_000 });
    const inventory = machine([{ total: 128 }]);
    const names = new Set<string>();
    for (const mountPath of [undefined, '/mnt/huge', '/mnt/other']) {
      kind = make(mountPath === undefined ? CONFIG : { ...CONFIG, mountPath });
      const { cdiDevices } = await kind.grant(unitsOf(inventory).slice(0, 1), inventory, deadline);
      for (const name of cdiDevices) names.add(name);
    }
    assert.equal(names.size, 3);
    assert.equal((await readdir(folder)).length, 3);
  });
});
