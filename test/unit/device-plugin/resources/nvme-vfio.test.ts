import assert from 'node:assert/strict';
import { renameSync, rmSync, symlinkSync } from 'node:fs';
import { Deadline } from '../../../../common/concurrency/index.ts';
import { realClock } from '../../../../common/ports/index.ts';
import {
  DeviceCheck,
  nvmeVfioKind,
  type ResourceKind,
  type UnitState,
} from '../../../../device-plugin/resources/index.ts';
import { MACHINES } from '../../../fixtures/machines/index.ts';
import { isMarker, MachineTree } from '../../../support/machine-tree.ts';
import { configOf, inventoryIn, pathsOf } from '../../../support/recorded-machine.ts';

const deadline = (): Deadline => new Deadline({ clock: realClock, operation: 'a test', timeoutMs: 5000 });
const idsOf = (units: readonly UnitState[]): string[] => units.map(({ id }) => id);
const causesOf = (units: readonly UnitState[]): string[] =>
  units.flatMap(({ causes }) => causes.map(({ code, detail }) => `${code}: ${detail}`));

describe('NVMe drives for user space as a resource', () => {
  const STORAGE = 'storage-32nvme';
  const fieldsOf = (tree: MachineTree) => ({ paths: pathsOf(tree.roots) });
  let tree: MachineTree;

  beforeEach(() => {
    tree = new MachineTree(MACHINES[STORAGE]);
  });

  afterEach(() => tree[Symbol.dispose]());

  function kindOf(select: object = {}, name?: string): ResourceKind {
    const { paths } = fieldsOf(tree);
    const config = configOf('nvme-vfio', { select, ...(name === undefined ? {} : { name }) });
    return nvmeVfioKind(config, paths, [], new DeviceCheck(paths, { isCharDevice: isMarker }));
  }

  /** Puts a function into the IOMMU group of another. */
  function join(address: string, group: number): void {
    tree.link(`sys/kernel/iommu_groups/${group}/devices/${address}`, `sys/bus/pci/devices/${address}`);
  }

  function bind(address: string, driver: string): void {
    const link = tree.at(`sys/bus/pci/devices/${address}/driver`);
    renameSync(link, `${link}.old`);
    rmSync(`${link}.old`);
    symlinkSync(`../../../../bus/pci/drivers/${driver}`, link);
  }

  it('are those that are bound to vfio-pci, and no drive that the kernel uses', async () => {
    const units = kindOf().units(await inventoryIn(tree));
    assert.deepEqual(idsOf(units), ['0000:15:00.0-0', '0000:16:00.0-0', '0000:17:00.0-0', '0000:18:00.0-0']);
    assert.deepEqual(causesOf(units), []);
    assert.deepEqual([units[0]?.numaNodes, units[0]?.pcieRoot], [[0], 'pci0000:10']);
  });

  it('are waited for when the file names them', async () => {
    const units = kindOf({ pciAddresses: ['0000:11:00.0', '0000:15:00.0'] }).units(await inventoryIn(tree));
    assert.deepEqual(idsOf(units), ['0000:11:00.0-0', '0000:15:00.0-0']);
    assert.deepEqual(causesOf(units), ['driver: 0000:11:00.0 is bound to nvme, it has to be to vfio-pci']);
  });

  it('say which driver took them back', async () => {
    const kind = kindOf();
    const [unit] = kind.units(await inventoryIn(tree));
    bind('0000:15:00.0', 'nvme');
    const found = await inventoryIn(tree);
    assert.equal(kind.units(found).length, 3);
    assert.ok(unit !== undefined);
    assert.deepEqual(kind.missing?.(unit, found), {
      code: 'driver',
      detail: '0000:15:00.0 is bound to nvme, it has to be to vfio-pci',
    });
  });

  it('give a container their device files of both kinds, and their addresses', async () => {
    const found = await inventoryIn(tree);
    const kind = kindOf({}, 'fast');
    using limit = deadline();
    const { devices, environment } = await kind.grant(kind.units(found).slice(0, 2), found, limit);
    assert.deepEqual(
      devices.map(({ containerPath }) => containerPath),
      ['vfio/44', 'vfio/vfio', 'vfio/devices/vfio0', 'iommu', 'vfio/45', 'vfio/devices/vfio1'].map(
        (path) => `/dev/${path}`,
      ),
    );
    assert.deepEqual(environment, { NABUSTORE_NVME_VFIO_FAST_PCI_ADDRESSES: '0000:15:00.0,0000:16:00.0' });
    await kind.prepare?.(kind.units(found), found, limit);
    tree.remove('dev/vfio/45');
    await assert.rejects(async () => await kind.prepare?.(kind.units(found), found, limit), /\/dev\/vfio\/45 is gone/);
  });

  it('know which files of a container are of another drive now', async () => {
    const kind = kindOf();
    const machine = await inventoryIn(tree);
    const [first, second] = kind.units(machine);
    assert.ok(first !== undefined && second !== undefined);
    const { devices } = await kind.grant([first], machine, deadline());
    const files = devices.map(({ hostPath }) => hostPath);
    assert.equal(kind.foreignFile?.([first], machine, files), undefined);
    assert.match(kind.foreignFile?.([second], machine, files) ?? '', /^\/dev\/vfio\/\d+$/);
  });

  it('go as one unit where they are in one IOMMU group', async () => {
    for (const link of ['iommu_group']) tree.remove(`sys/bus/pci/devices/0000:16:00.0/${link}`);
    tree.link('sys/bus/pci/devices/0000:16:00.0/iommu_group', 'sys/kernel/iommu_groups/44');
    join('0000:16:00.0', 44);
    const found = await inventoryIn(tree);
    const kind = kindOf();
    assert.deepEqual(idsOf(kind.units(found)), ['0000:15:00.0-0', '0000:17:00.0-0', '0000:18:00.0-0']);
    using limit = deadline();
    const { environment } = await kind.grant(kind.units(found).slice(0, 1), found, limit);
    assert.deepEqual(environment, { NABUSTORE_NVME_VFIO_PCI_ADDRESSES: '0000:15:00.0,0000:16:00.0' });
  });

  it('are unhealthy while another driver has a function of their group, and say which', async () => {
    join('0000:51:00.0', 44);
    assert.deepEqual(causesOf(kindOf().units(await inventoryIn(tree))), [
      'driver: 0000:51:00.0 of IOMMU group 44 is bound to mlx5_core, and the group goes as a whole',
    ]);
    bind('0000:51:00.0', 'pcieport');
    assert.deepEqual(causesOf(kindOf().units(await inventoryIn(tree))), []);
  });

  it('are unhealthy without an IOMMU, as nothing would hold them back', async () => {
    tree.remove('sys/class/vfio/44');
    tree.device('sys/class/vfio/noiommu-44', 'vfio/noiommu-44', 241, 9);
    const [cause] = causesOf(kindOf().units(await inventoryIn(tree)));
    assert.equal(cause, 'device-file: IOMMU group 44 has no IOMMU behind it: a program could reach all memory');
  });

  it('are reached by the one way where the other is not there, and unhealthy without both', async () => {
    tree.remove('dev/vfio/44');
    const kind = kindOf();
    const found = await inventoryIn(tree);
    assert.deepEqual(causesOf(kind.units(found)), []);
    using limit = deadline();
    const { devices } = await kind.grant(kind.units(found).slice(0, 1), found, limit);
    assert.deepEqual(
      devices.map(({ containerPath }) => containerPath),
      ['/dev/vfio/devices/vfio0', '/dev/iommu'],
    );
    tree.remove('dev/iommu');
    assert.deepEqual(causesOf(kindOf().units(await inventoryIn(tree))), [
      'device-file: neither /dev/vfio/44 with /dev/vfio/vfio nor VFIO devices of its functions with /dev/iommu are there',
    ]);
  });
});
