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
    const vfioName = [name, `noiommu-${name}`].find((candidate) => vfioNames.has(candidate));
    return {
      number: Number(name) as IommuGroupNumber,
      type: await survey.value(sys, `${at}/type`, line, 'normal'),
      // Platform devices may share a group; they have other names.
      devices: members.filter(isPciAddress),
      vfioGroup: vfioName === undefined ? null : await deviceNodeOf(survey, `class/vfio/${vfioName}`),
    };
  });
}
