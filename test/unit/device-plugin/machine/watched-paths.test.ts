import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Inventory } from '../../../../device-plugin/discovery/index.ts';
// The pure parts, which no other folder needs.
import { isRelevant } from '../../../../device-plugin/machine/relevance.ts';
import { watchedPaths } from '../../../../device-plugin/machine/watched-paths.ts';
import { MACHINES, type MachineName } from '../../../fixtures/machines/index.ts';

const GOLDEN = join(import.meta.dirname, '../../../fixtures/machines/golden');
const inventoryOf = (name: MachineName): Inventory => JSON.parse(readFileSync(join(GOLDEN, `${name}.json`), 'utf8'));

describe('what is looked at between two discoveries', () => {
  const h200 = inventoryOf('h200-8gpu');
  const paths = watchedPaths(h200).map(({ path }) => path);

  it('is some dozen small things, none twice, on every recorded machine', () => {
    for (const name of Object.keys(MACHINES) as MachineName[]) {
      const watched = watchedPaths(inventoryOf(name));
      const keys = watched.map(({ kind, path }) => `${kind} ${path}`);
      assert.equal(new Set(keys).size, keys.length, name);
      assert(keys.length < 100, `${name}: ${keys.length}`);
      for (const path of watched) assert.match(path.path, /^\/(sys|dev|proc)\/[^/].*[^/]$/);
    }
  });

  it('has the state of every port, which stands for what asks the firmware the same', () => {
    for (const { name } of h200.hcas) {
      const port = `/sys/class/infiniband/${name}/ports/1`;
      const state = watchedPaths(h200).find(({ path }) => path === `${port}/state`);
      assert.deepEqual(state?.alike, [`${port}/phys_state`, `${port}/rate`]);
    }
  });

  it('has every device file that a container may be given, and the driver of every function that one may be', () => {
    for (const { uverbs, umad, issm, pci } of h200.hcas) {
      for (const { path } of [...uverbs, ...[...umad, ...issm].map(({ node }) => node)])
        assert(paths.includes(path), path);
      assert(paths.includes(`/sys/bus/pci/devices/${pci?.address}/driver`));
    }
    for (const { pci } of h200.nvme) assert(paths.includes(`/sys/bus/pci/devices/${pci?.address}/driver`));
    for (const path of ['/dev/infiniband/rdma_cm', '/dev/vfio/vfio', '/dev/iommu']) assert(paths.includes(path), path);
  });

  it('has the devices of nvidia-fs that are there, and those that are still to come', () => {
    const loading = { ...h200, nvidiaFs: { ...h200.nvidiaFs, devices: [] } };
    for (const machine of [h200, loading]) {
      const there = watchedPaths(machine).filter(({ path }) => path.startsWith('/dev/nvidia-fs'));
      assert.equal(there.length, 16);
    }
    const unloaded = { ...h200, nvidiaFs: { ...h200.nvidiaFs, isLoaded: false } };
    const left = watchedPaths(unloaded).map(({ path }) => path);
    assert(left.includes('/sys/module/nvidia_fs') && !left.some((path) => path.startsWith('/dev/nvidia-fs')));
  });

  it('has the counts of huge pages, of the machine and of each node, which alone are read again alone', () => {
    const counts = watchedPaths(h200).filter(({ scope }) => scope === 'huge-pages');
    assert(counts.every(({ path }) => path.includes('/hugepages-')));
    for (const folder of ['kernel/mm', 'devices/system/node/node0', 'devices/system/node/node1']) {
      for (const name of ['nr_hugepages', 'free_hugepages']) {
        assert(counts.some(({ path }) => path === `/sys/${folder}/hugepages/hugepages-2048kB/${name}`));
      }
    }
  });
});

describe('what the kernel says', () => {
  const h200 = inventoryOf('h200-8gpu');
  const device = (subsystem: string, devicePath = '/devices/x') =>
    isRelevant({ kind: 'device', action: 'change', devicePath, subsystem }, h200);
  const link = (name: string) => isRelevant({ kind: 'link', action: 'new', name }, h200);

  it('counts when it is about a kind of device that an inventory has', () => {
    for (const subsystem of ['pci', 'infiniband', 'infiniband_verbs', 'nvme', 'vfio', 'module', 'nvidia-fs-class']) {
      assert.equal(device(subsystem), true, subsystem);
    }
    for (const subsystem of ['block', 'queues', 'cpu', 'bdi', 'usb', 'tty']) {
      assert.equal(device(subsystem), false, subsystem);
    }
  });

  it('counts when it is about an interface of a card, not when about one of a pod', () => {
    assert.equal(device('net', '/devices/pci0000:15/0000:15:01.0/0000:1a:00.0/net/ibp26s0'), true);
    assert.equal(device('net', '/devices/virtual/net/veth0'), false);
    assert.equal(link('ibp26s0'), true);
    assert.equal(link('ens202f0np0'), true);
    assert.equal(link('veth0'), false);
  });

  it('counts when some of it was lost, and not when it has ended', () => {
    assert.equal(isRelevant({ kind: 'overflow' }, h200), true);
    assert.equal(isRelevant({ kind: 'ended', reason: 'x' }, h200), false);
  });
});
