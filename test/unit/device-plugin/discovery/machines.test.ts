import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { discover, type Inventory } from '../../../../device-plugin/discovery/index.ts';
import { MACHINES, type MachineName } from '../../../fixtures/machines/index.ts';
import { isMarker, MachineTree } from '../../../support/machine-tree.ts';

const GOLDEN = join(import.meta.dirname, '../../../fixtures/machines/golden');
/** NABU_GOLDEN=write makes the golden files again from what is found now; `npm run format`, then look at the difference. */
const isWriting = process.env.NABU_GOLDEN === 'write';

async function inventoryOf(name: MachineName): Promise<Inventory> {
  using tree = new MachineTree(MACHINES[name]);
  return await discover(tree.roots, { signal: AbortSignal.timeout(15_000), isCharDevice: isMarker });
}

describe('the recorded machines', () => {
  for (const name of Object.keys(MACHINES) as MachineName[]) {
    it(`${name}: the inventory is the golden one (NABU_GOLDEN=write makes it again)`, async () => {
      const found = await inventoryOf(name);
      const path = join(GOLDEN, `${name}.json`);
      if (isWriting) writeFileSync(path, `${JSON.stringify(found, null, 2)}\n`);
      assert.deepEqual(found, JSON.parse(readFileSync(path, 'utf8')));
    });

    it(`${name}: nothing on it is out of order, and it is found the same way twice`, async () => {
      using tree = new MachineTree(MACHINES[name]);
      const options = { signal: AbortSignal.timeout(15_000), isCharDevice: isMarker };
      const first = await discover(tree.roots, options);
      assert.deepEqual(first.findings, []);
      assert.deepEqual(await discover(tree.roots, options), first);
      assert.deepEqual(await inventoryOf(name), first);
      assert.deepEqual(JSON.parse(JSON.stringify(first)), first);
    });
  }

  it('h200-8gpu: every ConnectX-7 shares its root complex and NUMA node with two GPUs and a drive', async () => {
    const { hcas, gpus, nvme, dpus } = await inventoryOf('h200-8gpu');
    const connectX = hcas.filter(({ pci }) => pci?.device === '1021');
    assert.equal(connectX.length, 4);
    for (const { name, pci } of connectX) {
      assert(pci !== null && pci.pcieRoot !== null, name);
      const beside = <T extends { readonly pci: typeof pci | null }>(devices: readonly T[]): readonly T[] =>
        devices.filter((device) => device.pci?.pcieRoot === pci.pcieRoot && device.pci.numaNode === pci.numaNode);
      assert.equal(beside(gpus).length, 2, name);
      assert.equal(beside(nvme).length, 1, name);
    }
    assert.equal(new Set(connectX.map(({ pci }) => pci?.pcieRoot)).size, 4);
    assert.equal(gpus.length, 8);
    assert.deepEqual(
      dpus.map(({ generation, slot, functions }) => [generation, slot, functions.length]),
      [['BlueField-3', '0000:ca:00', 2]],
    );
  });

  it('h200-8gpu: an HCA has its device files, and only InfiniBand has a subnet manager device', async () => {
    const { hcas, rdmaCm } = await inventoryOf('h200-8gpu');
    const [first, , , , dpu] = hcas;
    assert.deepEqual(first?.uverbs, [{ path: '/dev/infiniband/uverbs0', major: 231, minor: 192, isPresent: true }]);
    assert.deepEqual(
      first?.issm.map(({ port, node }) => [port, node.path]),
      [[1, '/dev/infiniband/issm0']],
    );
    assert.equal(dpu?.ports[0]?.linkLayer, 'Ethernet');
    assert.deepEqual(dpu?.issm, []);
    assert.equal(rdmaCm?.path, '/dev/infiniband/rdma_cm');
  });

  it('storage-32nvme: drives bound to vfio-pci have VFIO device files and no controller', async () => {
    const { nvme, iommuGroups, vfio } = await inventoryOf('storage-32nvme');
    assert.equal(nvme.length, 32);
    const handedOut = nvme.filter(({ pci }) => pci?.driver === 'vfio-pci');
    assert.equal(handedOut.length, 4);
    for (const { pci, controller, vfioDevice } of handedOut) {
      assert.equal(controller, null);
      assert.match(vfioDevice?.path ?? '', /^\/dev\/vfio\/devices\/vfio\d$/);
      const group = iommuGroups.find(({ number }) => number === pci?.iommuGroup);
      assert.equal(group?.vfioGroup?.path, `/dev/vfio/${group?.number}`);
    }
    assert.equal(iommuGroups.filter(({ vfioGroup }) => vfioGroup !== null).length, 4);
    assert.equal(vfio.container?.path, '/dev/vfio/vfio');
    assert.equal(nvme[0]?.controller?.namespaces[0]?.name, 'nvme0n1', 'the path nvme0c0n1 is used as nvme0n1');
  });

  it('p2pdma-only: peer-to-peer memory and the kernel that can use it are found without nvidia-fs', async () => {
    const { p2pDma, nvidiaFs } = await inventoryOf('p2pdma-only');
    assert.equal(nvidiaFs.isLoaded, false);
    assert.equal(p2pDma.kernel.isBuiltIn, true);
    assert.equal(p2pDma.isNvmeMultipath, false);
    assert.deepEqual(
      p2pDma.memory.map(({ address, sizeBytes }) => [address, sizeBytes]),
      [['0000:25:00.0', 67_108_864]],
    );
  });

  it('this machine: the running kernel can be discovered with nothing but its own roots', async () => {
    const roots = { sysfsRoot: '/sys', devRoot: '/dev', procRoot: '/proc' };
    const { kernelRelease, hugePages } = await discover(roots, { signal: AbortSignal.timeout(15_000) });
    assert.equal(kernelRelease, readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim());
    assert(Array.isArray(hugePages));
  });
});
