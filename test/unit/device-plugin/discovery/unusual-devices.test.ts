import assert from 'node:assert/strict';
import {
  type DiscoveryOptions,
  discover,
  type Inventory,
  type TreeFiles,
} from '../../../../device-plugin/discovery/index.ts';
import { nodeFiles } from '../../../../device-plugin/discovery/tree-files.ts';
import { MACHINES } from '../../../fixtures/machines/index.ts';
import { isMarker, MachineTree } from '../../../support/machine-tree.ts';

function inventoryOf(tree: MachineTree, options: Partial<DiscoveryOptions> = {}): Promise<Inventory> {
  return discover(tree.roots, { signal: AbortSignal.timeout(15_000), isCharDevice: isMarker, ...options });
}

function failing(path: string, code: string): TreeFiles {
  return {
    ...nodeFiles,
    bytes: (at, limit) =>
      at.endsWith(path) ? Promise.reject(Object.assign(new Error(code), { code })) : nodeFiles.bytes(at, limit),
  };
}

describe('device discovery', () => {
  it('knows an HCA without hardware: it has no PCI function and no root complex', async () => {
    using tree = new MachineTree(MACHINES['vm-empty']);
    const at = 'sys/devices/virtual/infiniband/rxe0';
    tree.files(at, { node_type: '1: CA', node_guid: '5054:00ff:fe12:3456', sys_image_guid: '5054:00ff:fe12:3456' });
    tree.files(`${at}/ports/1`, {
      link_layer: 'Ethernet',
      state: '4: ACTIVE',
      phys_state: '5: LinkUp',
      rate: '2.5 Gb/sec (1X SDR)',
      'gid_attrs/ndevs/0': 'eth0',
    });
    tree.link('sys/class/infiniband/rxe0', at);
    const { hcas, findings } = await inventoryOf(tree);
    assert.deepEqual(findings, []);
    assert.deepEqual(
      hcas.map(({ name, pci, firmware, uverbs, netDevices }) => ({ name, pci, firmware, uverbs, netDevices })),
      [{ name: 'rxe0', pci: null, firmware: null, uverbs: [], netDevices: [] }],
    );
    assert.equal(hcas[0]?.ports[0]?.netDevice, 'eth0');
  });

  it('takes a port whose address has no network device for what it is, and any other failure for a finding', async () => {
    using tree = new MachineTree(MACHINES['roce-only']);
    const file = 'rocep65s0f1/ports/1/gid_attrs/ndevs/0';
    const unused = await inventoryOf(tree, { files: failing(file, 'EINVAL') });
    assert.deepEqual([unused.hcas[1]?.ports[0]?.netDevice, unused.findings], [null, []]);
    const broken = await inventoryOf(tree, { files: failing(file, 'EIO') });
    assert.deepEqual(broken.findings, [{ path: `/sys/class/infiniband/${file}`, reason: 'cannot be read: EIO' }]);
  });

  it('says so when device files belong to an HCA that is not there', async () => {
    using tree = new MachineTree(MACHINES['roce-only']);
    tree.remove('sys/class/infiniband/rocep65s0f1');
    const { hcas, findings } = await inventoryOf(tree);
    assert.deepEqual(
      hcas.map(({ name }) => name),
      ['rocep65s0f0'],
    );
    assert.deepEqual(findings, [
      { path: '/sys/class/infiniband/rocep65s0f1', reason: 'is missing, yet device files belong to it' },
    ]);
  });

  it('tells a virtual function from its physical one', async () => {
    using tree = new MachineTree(MACHINES['roce-only']);
    tree.link('sys/bus/pci/devices/0000:41:00.1/physfn', 'sys/bus/pci/devices/0000:41:00.0');
    const { hcas } = await inventoryOf(tree);
    assert.deepEqual(
      hcas.map(({ pci }) => pci?.physicalFunction),
      [null, '0000:41:00.0'],
    );
  });

  it('lists NVMe controllers over a fabric after those on PCI', async () => {
    using tree = new MachineTree(MACHINES['p2pdma-only']);
    const at = 'sys/devices/virtual/nvme-fabrics/ctl/nvme2';
    tree.files(at, { model: 'Linux', serial: '1', firmware_rev: '6.12', transport: 'rdma', state: 'connecting' });
    tree.link('sys/class/nvme/nvme2', at);
    const { nvme, findings } = await inventoryOf(tree);
    assert.deepEqual(findings, []);
    assert.deepEqual(
      nvme.map(({ pci, controller }) => [pci === null, controller?.name, controller?.transport, controller?.state]),
      [
        [false, 'nvme0', 'pcie', 'live'],
        [false, 'nvme1', 'pcie', 'live'],
        [true, 'nvme2', 'rdma', 'connecting'],
      ],
    );
  });

  it('knows an NVMe function without any driver', async () => {
    using tree = new MachineTree(MACHINES['p2pdma-only']);
    tree.remove('sys/bus/pci/devices/0000:26:00.0/driver');
    tree.remove('sys/bus/pci/devices/0000:26:00.0/nvme');
    tree.remove('sys/class/nvme/nvme1');
    const { nvme, findings } = await inventoryOf(tree);
    assert.deepEqual(findings, []);
    assert.deepEqual([nvme[1]?.pci?.driver, nvme[1]?.controller], [null, null]);
  });

  it('finds the device file of a VFIO group that has no IOMMU behind it', async () => {
    using tree = new MachineTree(MACHINES['p2pdma-only']);
    tree.link('sys/kernel/iommu_groups/3/devices/0000:26:00.0', 'sys/bus/pci/devices/0000:26:00.0');
    tree.device('sys/class/vfio/noiommu-3', 'vfio/noiommu-3', 241, 0);
    const { iommuGroups, findings } = await inventoryOf(tree);
    assert.deepEqual(findings, []);
    assert.deepEqual(iommuGroups, [
      {
        number: 3,
        type: null,
        devices: ['0000:26:00.0'],
        drivers: ['nvme'],
        vfioGroup: { path: '/dev/vfio/noiommu-3', major: 241, minor: 0, isPresent: true },
      },
    ]);
  });

  it('sees nvidia-fs loaded with a file that cannot be used, and its devices all the same', async () => {
    using tree = new MachineTree(MACHINES['h200-8gpu']);
    tree.file('proc/driver/nvidia-fs/version', Buffer.alloc(0));
    tree.remove('dev/nvidia-fs3');
    tree.folder('dev/nvidia-fs3');
    const { nvidiaFs, findings } = await inventoryOf(tree);
    assert.equal(nvidiaFs.isLoaded, true);
    assert.equal(nvidiaFs.interfaceVersion, null);
    assert.equal(nvidiaFs.devices.length, 15);
    assert.deepEqual(
      findings.map(({ path }) => path),
      ['/dev/nvidia-fs3', '/proc/driver/nvidia-fs/version'],
    );
  });

  it('shows huge pages that were shrunk, stolen, or that a node has none of', async () => {
    using tree = new MachineTree(MACHINES['h200-8gpu']);
    tree.file('sys/devices/system/node/node1/hugepages/hugepages-2048kB/free_hugepages', 0);
    tree.remove('sys/devices/system/node/node1/hugepages/hugepages-1048576kB');
    const { hugePages, findings } = await inventoryOf(tree);
    assert.deepEqual(findings, []);
    assert.deepEqual(
      hugePages.map(({ sizeBytes, perNode }) => [sizeBytes, perNode.map(({ numaNode, free }) => [numaNode, free])]),
      [
        [
          2 << 20,
          [
            [0, 16_100],
            [1, 0],
          ],
        ],
        [1 << 30, [[0, 32]]],
      ],
    );
  });
});
