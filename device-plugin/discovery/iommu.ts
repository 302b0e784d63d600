import { line } from './attribute.ts';
import { type DeviceNode, deviceNodeOf, discoverMiscNode } from './device-node.ts';
import { type IommuGroupNumber, isPciAddress, type PciAddress } from './ids.ts';
import { byName, eachInTurn, type Survey } from './survey.ts';

/** Devices that can only be handed out together (Documentation/ABI/testing/sysfs-kernel-iommu_groups). */
export type IommuGroup = {
  readonly number: IommuGroupNumber;
  /** 'DMA', 'DMA-FQ', 'identity', ...; null where the kernel does not say. */
  readonly type: string | null;
  readonly devices: readonly PciAddress[];
  /** The driver that each of them is bound to, in their order; null for none. */
  readonly drivers: readonly (string | null)[];
  /** /dev/vfio/<number>, or /dev/vfio/noiommu-<number>: there while a device of the group is bound to a VFIO driver. */
  readonly vfioGroup: DeviceNode | null;
};

/** What VFIO has beside its groups (Documentation/driver-api/vfio.rst). */
export type Vfio = {
  /** /dev/vfio/vfio; null when vfio is not loaded. */
  readonly container: DeviceNode | null;
  /** /dev/iommu; null when the kernel has no iommufd. */
  readonly iommufd: DeviceNode | null;
};

export async function discoverVfio(survey: Survey): Promise<Vfio> {
  return { container: await discoverMiscNode(survey, 'vfio'), iommufd: await discoverMiscNode(survey, 'iommu') };
}

/** The groups by number; none without an IOMMU. */
export async function discoverIommuGroups(survey: Survey): Promise<readonly IommuGroup[]> {
  const { sys } = survey;
  const names = await survey.names(sys, 'kernel/iommu_groups', /^\d{1,9}$/);
  const vfioNames = new Set(await survey.names(sys, 'class/vfio', /^(noiommu-)?\d{1,9}$/));
  return await eachInTurn([...names].sort(byName), async (name): Promise<IommuGroup> => {
    const at = `kernel/iommu_groups/${name}`;
    const members = await survey.names(sys, `${at}/devices`, /./, 'finding');
    // Platform devices may share a group; they have other names.
    const devices = members.filter(isPciAddress);
    const vfioName = [name, `noiommu-${name}`].find((candidate) => vfioNames.has(candidate));
    return {
      number: Number(name) as IommuGroupNumber,
      type: await survey.value(sys, `${at}/type`, line, 'normal'),
      devices,
      drivers: await eachDriver(survey, devices),
      vfioGroup: vfioName === undefined ? null : await deviceNodeOf(survey, `class/vfio/${vfioName}`),
    };
  });
}

async function eachDriver(survey: Survey, devices: readonly PciAddress[]): Promise<readonly (string | null)[]> {
  const drivers: (string | null)[] = [];
  for (const address of devices) {
    drivers.push(await survey.targetName(survey.sys, `bus/pci/devices/${address}/driver`));
  }
  return drivers;
}
