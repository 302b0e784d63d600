import { gzipSync } from 'node:zlib';
import type {
  FunctionDescription,
  HcaDescription,
  HugePagesDescription,
  MachineDescription,
  NvmeDescription,
} from './machine-description.ts';
import type { MachineTree } from './machine-tree.ts';

const INFINIBAND_MAJOR = 231;
const VFIO_MAJOR = 241;
const VFIO_CDEV_MAJOR = 511;
const MISC: Readonly<Record<string, { readonly name: string; readonly minor: number }>> = {
  rdma_cm: { name: 'infiniband/rdma_cm', minor: 58 },
  vfio: { name: 'vfio/vfio', minor: 196 },
  iommu: { name: 'iommu', minor: 125 },
};

/** How many there are of what the kernel numbers in the order of discovery. */
type Counters = { hca: number; nvme: number; gpu: number };

/** Lays a machine out as the kernel does: devices below /sys/devices, and links to them from classes and buses. */
export function layOut(machine: MachineDescription, tree: MachineTree): void {
  tree.file('proc/sys/kernel/osrelease', machine.kernelRelease);
  if (machine.kernelConfig !== undefined) {
    tree.file('proc/config.gz', gzipSync(`${machine.kernelConfig.join('\n')}\n`));
  }
  if (machine.kernelSymbols !== undefined) tree.file('proc/kallsyms', machine.kernelSymbols.join('\n'));
  machine.numaNodes.forEach(({ cpus, distances }, node) => {
    tree.files(`sys/devices/system/node/node${node}`, { cpulist: cpus, distance: distances });
  });
  for (const pool of machine.hugePages) layOutHugePages(pool, tree);
  layOutModules(machine, tree);
  for (const name of machine.misc ?? []) {
    const device = MISC[name];
    if (device !== undefined) classDevice(tree, 'misc', name, 'devices/virtual/misc', device.name, 10, device.minor);
  }
  const counters: Counters = { hca: 0, nvme: 0, gpu: 0 };
  tree.folder('sys/bus/pci/devices');
  for (const pci of machine.functions) layOutFunction(pci, counters, tree);
}

function layOutHugePages({ sizeKib, reserved, overcommit, perNode }: HugePagesDescription, tree: MachineTree): void {
  const pool = `hugepages-${sizeKib}kB`;
  const sum = (of: 0 | 1): number => perNode.reduce((total, pages) => total + pages[of], 0);
  tree.files(`sys/kernel/mm/hugepages/${pool}`, {
    nr_hugepages: sum(0),
    free_hugepages: sum(1),
    resv_hugepages: reserved ?? 0,
    surplus_hugepages: 0,
    nr_overcommit_hugepages: overcommit ?? 0,
  });
  perNode.forEach(([total, free], node) => {
    tree.files(`sys/devices/system/node/node${node}/hugepages/${pool}`, {
      nr_hugepages: total,
      free_hugepages: free,
      surplus_hugepages: 0,
    });
  });
}

function layOutModules({ modules = {}, nvidiaDriver, nvidiaFs }: MachineDescription, tree: MachineTree): void {
  for (const [name, { version, parameters = {} }] of Object.entries(modules)) {
    tree.folder(`sys/module/${name}`);
    if (version !== undefined) tree.file(`sys/module/${name}/version`, version);
    tree.files(`sys/module/${name}/parameters`, parameters);
  }
  if (nvidiaDriver !== undefined) {
    const { version, isOpen, registryWords } = nvidiaDriver;
    const kind = isOpen ? 'Open Kernel Module for x86_64' : 'x86_64 Kernel Module';
    tree.file('sys/module/nvidia/version', version);
    tree.file('proc/driver/nvidia/version', `NVRM version: NVIDIA UNIX ${kind}  ${version}  Release Build`);
    tree.file('proc/driver/nvidia/params', `EnableMSI: 1\nRegistryDwords: "${registryWords}"\nRmMsg: ""`);
  }
  if (nvidiaFs !== undefined) {
    tree.file('sys/module/nvidia_fs/version', nvidiaFs.moduleVersion);
    tree.files('proc/driver/nvidia-fs', {
      version: `version: ${nvidiaFs.version}`,
      devcount: nvidiaFs.deviceCount,
      modules: nvidiaFs.storageModules.join('\n'),
    });
    for (let i = 0; i < nvidiaFs.deviceCount; i++) tree.file(`dev/nvidia-fs${i}`, `c 498 ${i}`);
  }
}

/** A device below `parent`, the class's link to it, and its device file. */
function classDevice(
  tree: MachineTree,
  className: string,
  name: string,
  parent: string,
  node: string,
  major: number,
  minor: number,
): string {
  const path = `sys/${parent}/${name}`;
  tree.device(path, node, major, minor);
  tree.link(`sys/class/${className}/${name}`, path);
  return path;
}

function layOutFunction(pci: FunctionDescription, counters: Counters, tree: MachineTree): void {
  const components = pci.path.split('/');
  const numa = pci.numa ?? -1;
  for (let depth = 2; depth < components.length; depth++) {
    const bridge = components.slice(0, depth).join('/');
    if (!tree.has(`sys/devices/${bridge}/class`)) bare(tree, bridge, '8086:352a', '0x060400', numa, 'pcieport');
  }
  bare(tree, pci.path, pci.ids, pci.class, numa, pci.driver);
  const at = `devices/${pci.path}`;
  const address = components.at(-1) ?? '';
  if (pci.iommuGroup !== undefined) layOutGroup(pci, pci.iommuGroup, address, tree);
  if (pci.peerMemory !== undefined) {
    const { size, available, published } = pci.peerMemory;
    tree.files(`sys/${at}/p2pmem`, { size, available, published: published ? 1 : 0 });
  }
  if (pci.hca !== undefined) layOutHca(pci.hca, at, counters.hca++, tree);
  if (pci.nvme !== undefined) layOutNvme(pci.nvme, at, counters.nvme++, tree);
  if (pci.gpu !== undefined) {
    const { model, uuid } = pci.gpu;
    tree.file(
      `proc/driver/nvidia/gpus/${address}/information`,
      `Model: \t\t ${model}\nIRQ:   \t\t 1${counters.gpu}\nGPU UUID: \t ${uuid}\nDevice Minor: \t ${counters.gpu++}`,
    );
  }
}

/** A function as every function is: ids, class, NUMA node, and the links of its bus and its driver. */
function bare(tree: MachineTree, path: string, ids: string, code: string, numa: number, driver?: string): void {
  const at = `sys/devices/${path}`;
  const address = path.slice(path.lastIndexOf('/') + 1);
  const [vendor = '', device = ''] = ids.split(':');
  tree.files(at, { vendor: `0x${vendor}`, device: `0x${device}`, class: code, numa_node: numa });
  tree.link(`sys/bus/pci/devices/${address}`, at);
  if (driver === undefined) return;
  tree.folder(`sys/bus/pci/drivers/${driver}`);
  tree.link(`${at}/driver`, `sys/bus/pci/drivers/${driver}`);
}

function layOutGroup(pci: FunctionDescription, group: number, address: string, tree: MachineTree): void {
  const at = `sys/kernel/iommu_groups/${group}`;
  tree.file(`${at}/type`, 'DMA-FQ');
  tree.link(`${at}/devices/${address}`, `sys/devices/${pci.path}`);
  tree.link(`sys/devices/${pci.path}/iommu_group`, at);
  if (pci.driver !== 'vfio-pci') return;
  if (!tree.has(`sys/class/vfio/${group}`)) {
    classDevice(tree, 'vfio', `${group}`, 'devices/virtual/vfio', `vfio/${group}`, VFIO_MAJOR, group);
  }
  if (pci.vfioDevice === undefined) return;
  const name = `vfio${pci.vfioDevice}`;
  tree.device(`sys/devices/${pci.path}/vfio-dev/${name}`, `vfio/devices/${name}`, VFIO_CDEV_MAJOR, pci.vfioDevice);
}

function layOutHca(hca: HcaDescription, pci: string, index: number, tree: MachineTree): void {
  const at = `sys/${pci}/infiniband/${hca.name}`;
  tree.files(at, {
    node_type: '1: CA',
    node_guid: hca.guid,
    sys_image_guid: hca.guid,
    fw_ver: hca.firmware,
    board_id: hca.boardId,
  });
  tree.link(`${at}/device`, `sys/${pci}`);
  tree.link(`sys/class/infiniband/${hca.name}`, at);
  const port = `${at}/ports/1`;
  const { linkLayer: link_layer, state, physState: phys_state, rate } = hca;
  tree.files(port, { link_layer, state, phys_state, rate });
  if (hca.linkLayer === 'Ethernet') tree.file(`${port}/gid_attrs/ndevs/0`, hca.netDevice);
  tree.file(`sys/${pci}/net/${hca.netDevice}/operstate`, hca.netState);
  const major = INFINIBAND_MAJOR;
  const [verbs, mad] = [`${pci}/infiniband_verbs`, `${pci}/infiniband_mad`];
  const uverbs = `uverbs${index}`;
  tree.file(
    `${classDevice(tree, 'infiniband_verbs', uverbs, verbs, `infiniband/${uverbs}`, major, 192 + index)}/ibdev`,
    hca.name,
  );
  // The subnet manager's device is there for ports of InfiniBand alone.
  for (const kind of hca.linkLayer === 'InfiniBand' ? ['umad', 'issm'] : ['umad']) {
    const name = `${kind}${index}`;
    const minor = (kind === 'issm' ? 64 : 0) + index;
    const path = classDevice(tree, 'infiniband_mad', name, mad, `infiniband/${name}`, major, minor);
    tree.files(path, { ibdev: hca.name, port: 1 });
  }
}

function layOutNvme(nvme: NvmeDescription, pci: string, index: number, tree: MachineTree): void {
  const name = `nvme${index}`;
  const at = `sys/${pci}/nvme/${name}`;
  const { model, serial, firmware: firmware_rev } = nvme;
  tree.files(at, {
    model: model.padEnd(40),
    serial: serial.padEnd(20),
    firmware_rev,
    transport: 'pcie',
    state: 'live',
  });
  tree.link(`sys/class/nvme/${name}`, at);
  nvme.namespaces.forEach((sizeBytes, i) => {
    const namespace = nvme.isMultipath ? `${name}c${index}n${i + 1}` : `${name}n${i + 1}`;
    tree.files(`${at}/${namespace}`, {
      size: sizeBytes / 512,
      nsid: i + 1,
      wwid: `eui.0025385${index.toString(16).padStart(4, '0')}${i.toString(16).padStart(5, '0')}`,
      'queue/logical_block_size': 512,
    });
  });
}
