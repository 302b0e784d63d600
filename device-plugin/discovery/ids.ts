declare const brand: unique symbol;
type Branded<T, Name extends string> = T & { readonly [brand]: Name };

/** A PCI function: domain, bus, device, function in lower-case hex, '0000:81:00.0'. */
export type PciAddress = Branded<string, 'PciAddress'>;
/**
 * A PCIe root complex, 'pci0000:80': the first component of the kind in the resolved path of a device, which is what
 * Kubernetes compares as `resource.kubernetes.io/pcieRoot`.
 */
export type PcieRoot = Branded<string, 'PcieRoot'>;
/** A PCI vendor, device or subsystem id: four lower-case hex digits, '15b3'. */
export type PciId = Branded<string, 'PciId'>;
/** Base class, subclass and programming interface of a PCI function: six lower-case hex digits, '010802'. */
export type PciClass = Branded<string, 'PciClass'>;
/** The number of a NUMA node. */
export type NumaNode = Branded<number, 'NumaNode'>;
/** The number of an IOMMU group. */
export type IommuGroupNumber = Branded<number, 'IommuGroupNumber'>;
/** The name of an RDMA device, 'mlx5_0'. */
export type HcaName = Branded<string, 'HcaName'>;
/** A node or system image GUID as the kernel prints it: four groups of four hex digits, 'a088:c203:0012:3456'. */
export type Guid = Branded<string, 'Guid'>;

// Domains beyond ffff exist: the kernel numbers those of Intel VMD from 10000.
const PCI_ADDRESS = /^[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$/;
const PCIE_ROOT = /^pci[0-9a-f]{4,8}:[0-9a-f]{2}$/;

export function isPciAddress(text: string): text is PciAddress {
  return PCI_ADDRESS.test(text);
}

export function isPcieRoot(text: string): text is PcieRoot {
  return PCIE_ROOT.test(text);
}
