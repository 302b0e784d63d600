import { readdir } from 'node:fs/promises';
import type { DeviceNode, Hca, Inventory } from '../discovery/index.ts';
import type { Probe } from './pulse.ts';

/** Something to look at at every poll. `path` begins with /sys, /dev or /proc, as those of an inventory do. */
export type WatchedPath = Probe & {
  /** What has to be read again when it changes. */
  readonly scope: 'all' | 'huge-pages';
  /** Files that hang when this one does. */
  readonly alike: readonly string[];
};

/** Directories whose entries are devices: what comes and goes shows here. */
const FOLDERS = [
  'bus/pci/devices',
  'class/infiniband',
  'class/infiniband_verbs',
  'class/infiniband_mad',
  'class/nvme',
  'class/vfio',
  'class/misc',
  'devices/system/node',
  'kernel/mm/hugepages',
];

/** Modules that are there or not, whatever devices they have. */
const MODULES = ['nvidia_fs', 'nvidia'];

const POOL_FILES = ['nr_hugepages', 'free_hugepages', 'resv_hugepages', 'surplus_hugepages'];
const NODE_POOL_FILES = ['nr_hugepages', 'free_hugepages', 'surplus_hugepages'];
/** The module makes one character device for each, at most that many (gds-nvidia-fs, nvfs-core.h). */
const NVIDIA_FS_LIMIT = 32;

/**
 * What tells, by small and cheap looks, that an inventory is not true any more: whether devices came or went, whether their
 * files and drivers are what they were, the state of each port, and the counts of huge pages. What nobody's health depends
 * on (firmware, rates, names) is left to the next whole discovery. No two are equal. Pure.
 */
export function watchedPaths(machine: Inventory): readonly WatchedPath[] {
  const paths = [
    ...FOLDERS.map((folder) => all('names', `/sys/${folder}`)),
    all('names', '/proc/driver/nvidia/gpus'),
    ...MODULES.map((name) => all('node', `/sys/module/${name}`)),
    ...machine.hcas.flatMap(ofHca),
    ...nodes([machine.rdmaCm, machine.vfio.container, machine.vfio.iommufd]),
    ...nodes(machine.iommuGroups.map(({ vfioGroup }) => vfioGroup)),
    ...machine.nvme.flatMap(({ pci, vfioDevice }) => [
      ...(pci === null ? [] : [all('link', `/sys/bus/pci/devices/${pci.address}/driver`)]),
      ...nodes([vfioDevice]),
    ]),
    ...nvidiaFsDevices(machine),
    ...machine.hugePages.flatMap(({ sizeBytes, perNode }) => {
      const pool = `hugepages-${sizeBytes / 1024}kB`;
      return [
        ...counts(`/sys/kernel/mm/hugepages/${pool}`, POOL_FILES),
        ...perNode.flatMap(({ numaNode }) =>
          counts(`/sys/devices/system/node/node${numaNode}/hugepages/${pool}`, NODE_POOL_FILES),
        ),
      ];
    }),
  ];
  return [...new Map(paths.map((path) => [`${path.kind} ${path.path}`, path])).values()];
}

const all = (kind: Probe['kind'], path: string): WatchedPath => ({ kind, path, scope: 'all', alike: [] });

const nodes = (found: readonly (DeviceNode | null)[]): readonly WatchedPath[] =>
  found.flatMap((node) => (node === null ? [] : [all('node', node.path)]));

function counts(folder: string, files: readonly string[]): readonly WatchedPath[] {
  return files.map((file) => ({ kind: 'text', path: `${folder}/${file}`, scope: 'huge-pages', alike: [] }));
}

function ofHca({ name, pci, ports, uverbs, umad, issm }: Hca): readonly WatchedPath[] {
  return [
    ...(pci === null ? [] : [all('link', `/sys/bus/pci/devices/${pci.address}/driver`)]),
    ...ports.map(({ number }) => portState(name, `${number}`)),
    ...nodes([...uverbs, ...[...umad, ...issm].map(({ node }) => node)]),
  ];
}

/** All three ask the firmware the same (drivers/infiniband/core/sysfs.c, ib_query_port); the others of a port do not. */
function portState(hca: string, number: string): WatchedPath {
  const port = `/sys/class/infiniband/${hca}/ports/${number}`;
  return { ...all('text', `${port}/state`), alike: [`${port}/phys_state`, `${port}/rate`] };
}

/** Also those that are not there yet: the module is loaded before udev has made them. */
function nvidiaFsDevices({ nvidiaFs: { isLoaded, devices, deviceCount } }: Inventory): readonly WatchedPath[] {
  if (!isLoaded) return [];
  const numbered = Array.from({ length: Math.min(deviceCount ?? 0, NVIDIA_FS_LIMIT) }, (_, i) => `/dev/nvidia-fs${i}`);
  return [...devices, ...numbered].map((path) => all('node', path));
}

/**
 * The states of all ports that have a name here, before any discovery: a discovery that meets hanging ones would wait for
 * each. Only names are read, which the kernel knows without asking a driver.
 */
export async function portStatesBelow(sysfsRoot: string): Promise<readonly WatchedPath[]> {
  const folder = `${sysfsRoot}/class/infiniband`;
  const hcas = await readdir(folder).catch(() => []);
  const ports = await Promise.all(hcas.map((hca) => readdir(`${folder}/${hca}/ports`).catch(() => [])));
  return hcas.flatMap((hca, index) => (ports[index] ?? []).map((number) => portState(hca, number)));
}
