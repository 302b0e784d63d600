import { NabuError } from '../../common/errors/index.ts';
import { type NvmeVfioConfig, type PciSelector, resourceNameOf } from '../config/index.ts';
import type { DeviceNode, Inventory, IommuGroup, NvmeDevice, PciFunction, Vfio } from '../discovery/index.ts';
import type { ResourceName } from '../kubelet/index.ts';
import { DeviceCheck } from './device-check.ts';
import { variableOf } from './environment.ts';
import { type Match, matchPci } from './hca-selection.ts';
import { devicePathInHost, type HostPaths } from './host-paths.ts';
import { numaNodesOf } from './rdma.ts';
import type { ResourceKind } from './resource-kind.ts';
import { slotsOf } from './slots.ts';
import type { Cause, Unit, UnitState } from './unit.ts';

const VFIO_PCI = 'vfio-pci';
const NUMBERED = /\/vfio\/(?:\d+|devices\/vfio\d+)$/;
/**
 * Drivers that leave their function to whoever has the rest of its IOMMU group: those of VFIO, and those that never start a
 * DMA of their own (Documentation/driver-api/vfio.rst, "VFIO Usage Example"; pci_driver.driver_managed_dma).
 */
const HARMLESS = /^(pci-stub|pcieport|vfio-pci|\w+_vfio_pci)$/;

/** The NVMe functions of one IOMMU group, which can only be handed out together; alone where there is no IOMMU. */
type NvmeGroup = {
  /** By address; the first names the unit. */
  readonly functions: readonly (NvmeDevice & { readonly pci: PciFunction })[];
  readonly group: IommuGroup | undefined;
};

/**
 * nabustore.io/nvme-vfio[-NAME]: NVMe functions for drivers in user space. A unit is all of an IOMMU group. `earlier`: the
 * selectors of the resources before it of this kind.
 */
export function nvmeVfioKind(
  config: NvmeVfioConfig,
  paths: HostPaths,
  earlier: readonly PciSelector[],
  check: DeviceCheck = new DeviceCheck(paths),
): ResourceKind {
  const resource = resourceNameOf(config);
  const selected = (machine: Inventory): readonly (NvmeGroup & { readonly match: Match })[] =>
    nvmeGroups(machine).flatMap((one) => {
      const match = matchGroup(one, config.select);
      const isTaken = earlier.some((other) => matchGroup(one, other) !== 'no');
      return match === 'no' || isTaken || !isMeant(one, config.select) ? [] : [{ ...one, match }];
    });
  return {
    resource,
    options: { preStartRequired: true, getPreferredAllocationAvailable: true },

    units: (machine) =>
      selected(machine).flatMap(({ functions, group, match }): readonly UnitState[] => {
        const { pci } = firstOf(functions);
        const unsure: readonly Cause[] =
          match === 'yes' ? [] : [{ code: 'unreadable', detail: `what ${pci.address} is cannot be read` }];
        const causes = [...unsure, ...groupCauses({ functions, group }, machine.vfio)];
        return slotsOf({ device: pci.address, numaNodes: numaNodesOf(pci), pcieRoot: pci.pcieRoot, causes }, 1);
      }),

    missing({ device }, machine) {
      const pci = machine.nvme.find((nvme) => nvme.pci?.address === device)?.pci;
      return pci === undefined || pci === null || pci.driver === VFIO_PCI ? undefined : wrongDriver(pci);
    },

    grant(units, machine) {
      const groups = groupsOf(units, machine, resource);
      const files = groups.flatMap((one) => accessTo(one, machine.vfio).files);
      const addresses = groups.flatMap(({ functions }) => functions.map(({ pci }) => pci.address));
      return {
        devices: [...new Set(files.map(({ path }) => path))].map((path) => ({
          containerPath: path,
          hostPath: devicePathInHost(paths, path),
          permissions: 'rw' as const,
        })),
        mounts: [],
        environment: { [variableOf(resource, 'PCI_ADDRESSES')]: addresses.join(',') },
        annotations: {},
        cdiDevices: [],
      };
    },

    foreignFile(units, machine, files) {
      const nodes = groupsOf(units, machine, resource).flatMap((one) => accessTo(one, machine.vfio).files);
      const own = new Set(nodes.map(({ path }) => devicePathInHost(paths, path)));
      return files.find((file) => NUMBERED.test(file) && !own.has(file));
    },

    async prepare(units, machine, deadline) {
      for (const one of groupsOf(units, machine, resource)) {
        const looks = [
          ...one.functions.map(({ pci }) => check.driver(pci)),
          ...accessTo(one, machine.vfio).files.map((file) => check.deviceFile(file)),
        ];
        const reason = (await deadline.race(Promise.all(looks))).find((problem) => problem !== undefined);
        const id = firstOf(one.functions).pci.address;
        if (reason !== undefined) throw NabuError.of('DEVICE_UNUSABLE', { resource, id, reason });
      }
    },
  };
}

function nvmeGroups({ nvme, iommuGroups }: Inventory): readonly NvmeGroup[] {
  const byGroup = new Map<string, NvmeGroup>();
  for (const device of nvme) {
    const { pci } = device;
    if (pci === null) continue;
    const key = pci.iommuGroup === null ? pci.address : `group ${pci.iommuGroup}`;
    const group = iommuGroups.find(({ number }) => number === pci.iommuGroup);
    byGroup.set(key, { group, functions: [...(byGroup.get(key)?.functions ?? []), { ...device, pci }] });
  }
  return [...byGroup.values()];
}

function firstOf(functions: NvmeGroup['functions']): NvmeGroup['functions'][number] {
  const [first] = functions;
  if (first === undefined) throw new RangeError('a group without functions');
  return first;
}

/** A group is selected by any of its functions, as it cannot be handed out in parts. */
function matchGroup({ functions }: NvmeGroup, select: PciSelector): Match {
  const matches = functions.map(({ pci }) => matchPci(pci, select));
  if (matches.includes('yes')) return 'yes';
  return matches.includes('unknown') ? 'unknown' : 'no';
}

/** Drives that the kernel uses are none of ours, unless the file names them: then they are waited for. */
function isMeant({ functions }: NvmeGroup, { pciAddresses }: PciSelector): boolean {
  return functions.some(({ pci }) => pci.driver === VFIO_PCI || pciAddresses?.includes(pci.address) === true);
}

function groupCauses(one: NvmeGroup, vfio: Vfio): readonly Cause[] {
  const { functions, group } = one;
  const own = new Set<string>(functions.map(({ pci }) => pci.address));
  const foreign = (group?.devices ?? []).flatMap((address, at): readonly Cause[] => {
    const driver = group?.drivers[at] ?? null;
    if (own.has(address) || driver === null || HARMLESS.test(driver)) return [];
    const detail = `${address} of IOMMU group ${group?.number} is bound to ${driver}, and the group goes as a whole`;
    return [{ code: 'driver', detail }];
  });
  const drivers = functions.filter(({ pci }) => pci.driver !== VFIO_PCI).map(({ pci }) => wrongDriver(pci));
  const { problem } = accessTo(one, vfio);
  const access: readonly Cause[] = problem === undefined ? [] : [{ code: 'device-file', detail: problem }];
  return [...drivers, ...foreign, ...(drivers.length === 0 ? access : [])];
}

function wrongDriver({ address, driver }: PciFunction): Cause {
  return { code: 'driver', detail: `${address} is bound to ${driver ?? 'no driver'}, it has to be to ${VFIO_PCI}` };
}

/**
 * The device files by which a program reaches a group: that of the group with the container of VFIO, those of its functions
 * with iommufd (Documentation/driver-api/vfio.rst, "VFIO Device cdev"), or both, as a program knows the one or the other.
 */
function accessTo(
  { functions, group }: NvmeGroup,
  vfio: Vfio,
): { readonly files: readonly DeviceNode[]; readonly problem: string | undefined } {
  if (group === undefined) return { files: [], problem: `${firstOf(functions).pci.address} is in no IOMMU group` };
  const { vfioGroup } = group;
  if (vfioGroup?.path.includes('noiommu') === true) {
    return {
      files: [],
      problem: `IOMMU group ${group.number} has no IOMMU behind it: a program could reach all memory`,
    };
  }
  const byGroup = whole([vfioGroup, vfio.container]);
  const byDevice = whole([...functions.map(({ vfioDevice }) => vfioDevice), vfio.iommufd]);
  const files = [...(byGroup ?? []), ...(byDevice ?? [])];
  if (files.length > 0) return { files, problem: undefined };
  const wanted = `${vfioGroup?.path ?? `/dev/vfio/${group.number}`} with /dev/vfio/vfio`;
  return { files, problem: `neither ${wanted} nor VFIO devices of its functions with /dev/iommu are there` };
}

/** All of them when all are there. */
function whole(nodes: readonly (DeviceNode | null)[]): readonly DeviceNode[] | undefined {
  const present = nodes.filter((node) => node?.isPresent === true);
  return present.length === nodes.length ? present.filter((node) => node !== null) : undefined;
}

function groupsOf(units: readonly Unit[], machine: Inventory, resource: ResourceName): readonly NvmeGroup[] {
  const groups = nvmeGroups(machine);
  return units.map(({ id, device }) => {
    const found = groups.find(({ functions }) => firstOf(functions).pci.address === device);
    if (found === undefined) throw NabuError.of('DEVICE_UNUSABLE', { resource, id, reason: `${device} is gone` });
    return found;
  });
}
