import assert from 'node:assert/strict';
import { mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { Deadline } from '../../../../common/concurrency/index.ts';
import { realClock } from '../../../../common/ports/index.ts';
import type { Inventory } from '../../../../device-plugin/discovery/index.ts';
import { DeviceCheck, type ResourceKind, rdmaKind, type UnitState } from '../../../../device-plugin/resources/index.ts';
import { MACHINES } from '../../../fixtures/machines/index.ts';
import { isMarker, MachineTree } from '../../../support/machine-tree.ts';
import { inventoryIn, inventoryOf, pathsOf, rdmaConfig } from '../../../support/recorded-machine.ts';

const deadline = (): Deadline => new Deadline({ clock: realClock, operation: 'a test', timeoutMs: 5000 });
const idsOf = (units: readonly UnitState[]): string[] => units.map(({ id }) => id);
const causesOf = (units: readonly UnitState[]): string[] =>
  units.flatMap(({ causes }) => causes.map(({ code, detail }) => `${code}: ${detail}`));

function unitsOf(machine: Inventory, fields: Readonly<Record<string, unknown>> = {}): readonly UnitState[] {
  return rdmaKind(rdmaConfig(fields), pathsOf(), []).units(machine);
}

describe('HCAs as a resource', () => {
  let machine: Inventory;

  before(async () => {
    machine = await inventoryOf('h200-8gpu');
  });

  it('are all HCAs without a selector, each with its NUMA node and its root', () => {
    const units = unitsOf(machine);
    assert.deepEqual(
      units.map(({ id, numaNodes, pcieRoot, device }) => [id, device, numaNodes, pcieRoot]),
      [
        ['0000:1a:00.0-0', '0000:1a:00.0', [0], 'pci0000:15'],
        ['0000:3c:00.0-0', '0000:3c:00.0', [0], 'pci0000:37'],
        ['0000:9c:00.0-0', '0000:9c:00.0', [1], 'pci0000:97'],
        ['0000:bc:00.0-0', '0000:bc:00.0', [1], 'pci0000:b7'],
        ['0000:ca:00.0-0', '0000:ca:00.0', [1], 'pci0000:c9'],
        ['0000:ca:00.1-0', '0000:ca:00.1', [1], 'pci0000:c9'],
      ],
    );
    assert.deepEqual(causesOf(units), ['link: port 1 of mlx5_5 is DOWN']);
  });

  const selections: readonly (readonly [string, object, readonly string[]])[] = [
    ['vendor', { vendors: ['15b3'] }, ['1a', '3c', '9c', 'bc', 'ca', 'ca']],
    ['another vendor', { vendors: ['8086'] }, []],
    ['device', { devices: ['a2dc'] }, ['ca', 'ca']],
    ['driver', { drivers: ['irdma'] }, []],
    ['address', { pciAddresses: ['0000:3c:00.0', '0000:ca:00.1'] }, ['3c', 'ca']],
    ['NUMA node', { numaNodes: [0] }, ['1a', '3c']],
    ['link layer', { linkLayers: ['Ethernet'] }, ['ca', 'ca']],
    ['name of an interface', { interfaces: ['ibp*'] }, ['1a', '3c', '9c', 'bc']],
    ['name of an RDMA device', { interfaces: ['mlx5_?'], numaNodes: [0] }, ['1a', '3c']],
    ['a name with a dot that is none', { interfaces: ['mlx5.0'] }, []],
    ['several fields at once', { linkLayers: ['InfiniBand'], numaNodes: [1], devices: ['1021', 'a2dc'] }, ['9c', 'bc']],
  ];
  for (const [what, select, buses] of selections) {
    it(`are selected by ${what}`, () => {
      const devices = unitsOf(machine, { select }).map(({ device }) => device.slice(5, 7));
      assert.deepEqual(devices, buses);
    });
  }

  it('have as many units as they have slots', () => {
    const units = unitsOf(machine, { slots: 3, select: { pciAddresses: ['0000:1a:00.0'] } });
    assert.deepEqual(idsOf(units), ['0000:1a:00.0-0', '0000:1a:00.0-1', '0000:1a:00.0-2']);
  });

  it('belong to the first resource that selects them', () => {
    const first = rdmaConfig({ select: { numaNodes: [0] } });
    const second = rdmaKind(rdmaConfig({ name: 'rest' }), pathsOf(), [first.select]);
    assert.deepEqual(
      second.units(machine).map(({ device }) => device.slice(5, 7)),
      ['9c', 'bc', 'ca', 'ca'],
    );
  });

  it('are healthy with a link that is not up where the file says so', () => {
    assert.deepEqual(causesOf(unitsOf(machine, { select: { linkStates: ['ACTIVE', 'DOWN'] } })), []);
  });

  it('are unhealthy without the device files that a container is promised', async () => {
    const all = { deviceFiles: ['uverbs', 'rdma_cm', 'umad', 'issm'], select: { pciAddresses: ['0000:1a:00.0'] } };
    assert.deepEqual(causesOf(unitsOf(machine, all)), []);
    using tree = new MachineTree(MACHINES['h200-8gpu']);
    tree.remove('dev/infiniband/uverbs0');
    tree.remove('sys/class/misc/rdma_cm');
    for (const name of ['umad0', 'issm0']) tree.remove(`sys/class/infiniband_mad/${name}`);
    assert.deepEqual(causesOf(unitsOf(await inventoryIn(tree), all)), [
      'device-file: /dev/infiniband/uverbs0 is missing or another device',
      'device-file: rdma_ucm is not loaded: there is no rdma_cm',
      'device-file: mlx5_0 has no umad',
      'device-file: mlx5_0 has no issm',
    ]);
  });

  it('are unhealthy where no port can be read, and stay with the first resource that may mean them', async () => {
    using tree = new MachineTree(MACHINES['h200-8gpu']);
    const port = tree.at('sys/class/infiniband/mlx5_0/ports/1');
    rmSync(`${port}/state`);
    rmSync(`${port}/link_layer`);
    mkdirSync(`${port}/state`);
    mkdirSync(`${port}/link_layer`);
    const found = await inventoryIn(tree);
    const infiniBand = rdmaConfig({ select: { linkLayers: ['InfiniBand'], numaNodes: [0] } });
    const units = rdmaKind(infiniBand, pathsOf(), []).units(found);
    assert.deepEqual(causesOf(units), [
      'unreadable: what mlx5_0 is cannot be read',
      'unreadable: the state of port 1 of mlx5_0 cannot be read',
    ]);
    const rest = rdmaKind(rdmaConfig({ name: 'rest' }), pathsOf(), [infiniBand.select]).units(found);
    assert.ok(!rest.some(({ device }) => device === '0000:1a:00.0'));
  });

  it('give a container the device files of the HCAs it was given, where its libraries look', async () => {
    const kind = rdmaKind(rdmaConfig({ slots: 2 }), pathsOf(undefined, { devRootInHost: '/host/dev/' }), []);
    const units = kind.units(machine).filter(({ device }) => /1a|9c/.test(device));
    using limit = deadline();
    assert.deepEqual(await kind.grant(units, machine, limit), {
      devices: ['uverbs0', 'rdma_cm', 'uverbs2'].map((name) => ({
        containerPath: `/dev/infiniband/${name}`,
        hostPath: `/host/dev/infiniband/${name}`,
        permissions: 'rw',
      })),
      mounts: [],
      environment: {
        NABUSTORE_RDMA_DEVICES: 'mlx5_0,mlx5_2',
        NABUSTORE_RDMA_PCI_ADDRESSES: '0000:1a:00.0,0000:9c:00.0',
      },
      annotations: {},
      cdiDevices: [],
    });
  });

  it('know which files of a container are of another HCA now, whichever kinds they hand out', async () => {
    const kind = rdmaKind(rdmaConfig({ deviceFiles: ['uverbs', 'umad', 'rdma_cm'] }), pathsOf(), []);
    const [first, second] = kind.units(machine);
    assert.ok(first !== undefined && second !== undefined);
    const { devices } = await kind.grant([first], machine, deadline());
    const files = devices.map(({ hostPath }) => hostPath);
    const narrower = rdmaKind(rdmaConfig({ deviceFiles: ['uverbs'] }), pathsOf(), []);
    assert.equal(narrower.foreignFile?.([first], machine, files), undefined);
    assert.equal(narrower.foreignFile?.([first, second], machine, files), undefined);
    assert.equal(narrower.foreignFile?.([second], machine, files), '/dev/infiniband/uverbs0');
  });

  it('name a variable after the resource, so that a container may have several', async () => {
    const kind = rdmaKind(rdmaConfig({ name: 'storage-net' }), pathsOf(), []);
    using limit = deadline();
    const { environment } = await kind.grant(kind.units(machine).slice(0, 1), machine, limit);
    assert.deepEqual(Object.keys(environment), [
      'NABUSTORE_RDMA_STORAGE_NET_DEVICES',
      'NABUSTORE_RDMA_STORAGE_NET_PCI_ADDRESSES',
    ]);
  });

  it('have names of their own where several are on one function, or on none', async () => {
    using tree = new MachineTree(MACHINES['h200-8gpu']);
    const real = 'sys/devices/pci0000:15/0000:15:01.0/0000:16:00.0/0000:17:02.0/0000:1a:00.0';
    for (const name of ['mlx5_9', `mlx5_${'9'.repeat(60)}`]) {
      tree.files(`${real}/infiniband/${name}`, { node_type: '1: CA' });
      tree.link(`sys/class/infiniband/${name}`, `${real}/infiniband/${name}`);
    }
    tree.files('sys/devices/virtual/infiniband/rxe0', { node_type: '1: CA' });
    tree.link('sys/class/infiniband/rxe0', 'sys/devices/virtual/infiniband/rxe0');
    const devices = unitsOf(await inventoryIn(tree)).map(({ device }) => device);
    const others = devices.filter((device) => !/^0000:..:00\..$/.test(device)).sort();
    assert.equal(others.length, 3);
    assert.deepEqual([others[0], others[2]], ['0000:1a:00.0.mlx5_9', 'rxe0']);
    assert.match(others[1] ?? '', /^hca-[0-9a-f]{16}$/);
    assert.ok(devices.includes('0000:1a:00.0'));
  });

  describe('before a container starts', () => {
    let tree: MachineTree;
    let kind: ResourceKind;
    let found: Inventory;

    beforeEach(async () => {
      tree = new MachineTree(MACHINES['h200-8gpu']);
      found = await inventoryIn(tree);
      const paths = pathsOf(tree.roots);
      kind = rdmaKind(rdmaConfig(), paths, [], new DeviceCheck(paths, { isCharDevice: isMarker }));
    });

    afterEach(() => tree[Symbol.dispose]());

    async function prepare(): Promise<void> {
      using limit = deadline();
      await kind.prepare?.(kind.units(found).slice(0, 1), found, limit);
    }

    it('are as they were: it starts', prepare);

    it('have lost a device file: it does not start', async () => {
      tree.remove('dev/infiniband/uverbs0');
      await assert.rejects(prepare, {
        code: 'DEVICE_UNUSABLE',
        message: 'mlx5_0 of nabustore.io/rdma cannot be used now: /dev/infiniband/uverbs0 is gone',
      });
    });

    it('have something else where the device file was: it does not start', async () => {
      tree.remove('dev/infiniband/rdma_cm');
      tree.folder('dev/infiniband/rdma_cm');
      await assert.rejects(prepare, /rdma_cm is not a character device/);
    });

    it('have another driver, or none: it does not start', async () => {
      const driver = tree.at('sys/bus/pci/devices/0000:1a:00.0/driver');
      rmSync(driver);
      await assert.rejects(prepare, /the driver of 0000:1a:00.0 is gone/);
      symlinkSync('../../../bus/pci/drivers/vfio-pci', driver);
      await assert.rejects(prepare, /0000:1a:00.0 is bound to vfio-pci, it was to mlx5_core/);
    });
  });
});
