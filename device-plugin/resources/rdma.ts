import type { Deadline } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import { type HcaSelector, type RdmaConfig, resourceNameOf } from '../config/index.ts';
import type { Hca, Inventory, PciFunction } from '../discovery/index.ts';
import type { GrantedDevice, ResourceName } from '../kubelet/index.ts';
import { DeviceCheck } from './device-check.ts';
import { variableOf } from './environment.ts';
import { deviceFilesOf, type HcaDeviceFile, hcaCauses } from './hca-health.ts';
import { hcaDevices, selectHcas } from './hca-selection.ts';
import { devicePathInHost, type HostPaths } from './host-paths.ts';
import type { ResourceKind } from './resource-kind.ts';
import { slotsOf } from './slots.ts';
import type { Unit, UnitState } from './unit.ts';

/** What the units of resources made of HCAs have in common. */
export type HcaResource = Pick<RdmaConfig, 'select' | 'slots' | 'deviceFiles'>;

/** The units of HCAs that no earlier resource selects. Pure. */
export function hcaUnits(
  { select, slots, deviceFiles }: HcaResource,
  earlier: readonly HcaSelector[],
  machine: Inventory,
): readonly UnitState[] {
  return selectHcas(machine, select, earlier).flatMap(({ hca, device, causes }) =>
    slotsOf(
      {
        device,
        numaNodes: numaNodesOf(hca.pci),
        pcieRoot: hca.pci?.pcieRoot ?? null,
        causes: [...causes, ...hcaCauses(hca, select, deviceFiles, machine)],
      },
      slots,
    ),
  );
}

export function numaNodesOf(pci: Pick<PciFunction, 'numaNode'> | null): readonly number[] {
  return pci === null || pci.numaNode === null ? [] : [pci.numaNode];
}

/** The HCAs that units are of, each once, in their order. Throws DEVICE_UNUSABLE for one that is gone. */
export function hcasOf(units: readonly Unit[], machine: Inventory, resource: ResourceName): readonly Hca[] {
  const all = [...hcaDevices(machine)];
  const hcas = units.map(({ id, device }) => {
    const [hca] = all.find(([, name]) => name === device) ?? [];
    if (hca === undefined) throw NabuError.of('DEVICE_UNUSABLE', { resource, id, reason: `${device} is gone` });
    return hca;
  });
  return [...new Set(hcas)];
}

/** The device files of HCAs, each once: on the host below its device root, in the container where libraries look for them. */
export function hcaDeviceGrants(
  hcas: readonly Hca[],
  kinds: readonly HcaDeviceFile[],
  machine: Inventory,
  paths: HostPaths,
): readonly GrantedDevice[] {
  const files = new Set(hcas.flatMap((hca) => kinds.flatMap((kind) => deviceFilesOf(hca, kind, machine))));
  return [...new Set([...files].map(({ path }) => path))].map((path) => ({
    containerPath: path,
    hostPath: devicePathInHost(paths, path),
    permissions: 'rw',
  }));
}

/** Of all kinds, whatever the configuration hands out now. */
const HCA_FILES: readonly HcaDeviceFile[] = ['uverbs', 'umad', 'issm'];
const NUMBERED = /\/infiniband\/(?:uverbs|umad|issm)\d+$/;

/** As ResourceKind.foreignFile, of HCAs. */
export function foreignHcaFile(
  hcas: readonly Hca[],
  machine: Inventory,
  paths: HostPaths,
  files: readonly string[],
): string | undefined {
  const own = new Set(hcaDeviceGrants(hcas, HCA_FILES, machine, paths).map(({ hostPath }) => hostPath));
  return files.find((file) => NUMBERED.test(file) && !own.has(file));
}

/** Throws DEVICE_UNUSABLE when a device file or a driver is not what it was. */
export async function recheckHcas(
  hcas: readonly Hca[],
  kinds: readonly HcaDeviceFile[],
  machine: Inventory,
  check: DeviceCheck,
  resource: ResourceName,
): Promise<void> {
  for (const hca of hcas) {
    const files = kinds.flatMap((kind) => deviceFilesOf(hca, kind, machine));
    const problems = [
      hca.pci === null ? undefined : await check.driver(hca.pci),
      ...(await Promise.all(files.map((file) => check.deviceFile(file)))),
    ];
    const reason = problems.find((problem) => problem !== undefined);
    if (reason !== undefined) throw NabuError.of('DEVICE_UNUSABLE', { resource, id: hca.name, reason });
  }
}

/** The names of RDMA devices and their PCI addresses, in the same order, as `NABUSTORE_RDMA_DEVICES` and the like. */
export function hcaEnvironment(hcas: readonly Hca[], resource: ResourceName): Readonly<Record<string, string>> {
  const addresses = hcas.flatMap(({ pci }) => (pci === null ? [] : [pci.address]));
  return {
    [variableOf(resource, 'DEVICES')]: hcas.map(({ name }) => name).join(','),
    ...(addresses.length === 0 ? {} : { [variableOf(resource, 'PCI_ADDRESSES')]: addresses.join(',') }),
  };
}

/** nabustore.io/rdma[-NAME]: HCAs, or slots of them. `earlier`: the selectors of the resources before it that take HCAs. */
export function rdmaKind(
  config: RdmaConfig,
  paths: HostPaths,
  earlier: readonly HcaSelector[],
  check: DeviceCheck = new DeviceCheck(paths),
): ResourceKind {
  const resource = resourceNameOf(config);
  const { deviceFiles } = config;
  return {
    resource,
    options: { preStartRequired: true, getPreferredAllocationAvailable: true },
    units: (machine) => hcaUnits(config, earlier, machine),
    grant(units, machine) {
      const hcas = hcasOf(units, machine, resource);
      return {
        devices: hcaDeviceGrants(hcas, deviceFiles, machine, paths),
        mounts: [],
        environment: hcaEnvironment(hcas, resource),
        annotations: {},
        cdiDevices: [],
      };
    },
    foreignFile: (units, machine, files) => foreignHcaFile(hcasOf(units, machine, resource), machine, paths, files),
    async prepare(units: readonly Unit[], machine: Inventory, deadline: Deadline): Promise<void> {
      await deadline.race(recheckHcas(hcasOf(units, machine, resource), deviceFiles, machine, check, resource));
    },
  };
}
