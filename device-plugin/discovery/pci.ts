import { numaNode, pciClass, pciId } from './attribute.ts';
import {
  type IommuGroupNumber,
  isPciAddress,
  isPcieRoot,
  type NumaNode,
  type PciAddress,
  type PciClass,
  type PcieRoot,
  type PciId,
} from './ids.ts';
import { eachInTurn, type Survey } from './survey.ts';

/** A PCI function, from /sys/bus/pci/devices/<address> (Documentation/ABI/testing/sysfs-bus-pci, PCI/sysfs-pci.rst). */
export type PciFunction = {
  readonly address: PciAddress;
  readonly vendor: PciId | null;
  readonly device: PciId | null;
  readonly class: PciClass | null;
  /** The driver that is bound, 'mlx5_core', 'nvme', 'vfio-pci'; null for none. */
  readonly driver: string | null;
  readonly numaNode: NumaNode | null;
  readonly pcieRoot: PcieRoot | null;
  readonly iommuGroup: IommuGroupNumber | null;
  /** Of an SR-IOV virtual function: the physical one. */
  readonly physicalFunction: PciAddress | null;
};

/** Where in the PCI tree the resolved path of a device lies: the innermost function, and the outermost root complex. */
export function pciPlaceOf(path: string): { readonly address: PciAddress | null; readonly pcieRoot: PcieRoot | null } {
  const components = path.split('/');
  return { address: components.findLast(isPciAddress) ?? null, pcieRoot: components.find(isPcieRoot) ?? null };
}

/** The functions of the machine. What one holds is asked once, by whoever first needs it. */
export class PciFunctions {
  readonly #survey: Survey;
  readonly #known = new Map<PciAddress, Promise<PciFunction | null>>();

  constructor(survey: Survey) {
    this.#survey = survey;
  }

  async all(): Promise<readonly PciFunction[]> {
    const { sys } = this.#survey;
    const names = await this.#survey.names(sys, 'bus/pci/devices', /./);
    return await eachInTurn(names.filter(isPciAddress), (address) => this.at(address));
  }

  /** Null, with a finding, when there is no such function. */
  at(address: PciAddress): Promise<PciFunction | null> {
    const known = this.#known.get(address) ?? this.#read(address);
    this.#known.set(address, known);
    return known;
  }

  async #read(address: PciAddress): Promise<PciFunction | null> {
    const survey = this.#survey;
    const { sys } = survey;
    const at = `bus/pci/devices/${address}`;
    const path = await survey.target(sys, at, 'finding');
    if (path === null) return null;
    const group = await survey.targetName(sys, `${at}/iommu_group`);
    const physical = await survey.targetName(sys, `${at}/physfn`);
    return {
      address,
      vendor: await survey.value(sys, `${at}/vendor`, pciId),
      device: await survey.value(sys, `${at}/device`, pciId),
      class: await survey.value(sys, `${at}/class`, pciClass),
      driver: await survey.targetName(sys, `${at}/driver`),
      // A kernel without NUMA has no such file.
      numaNode: (await survey.value(sys, `${at}/numa_node`, numaNode, 'normal'))?.node ?? null,
      pcieRoot: pciPlaceOf(path).pcieRoot,
      iommuGroup: group !== null && /^\d{1,9}$/.test(group) ? (Number(group) as IommuGroupNumber) : null,
      physicalFunction: physical !== null && isPciAddress(physical) ? physical : null,
    };
  }
}
