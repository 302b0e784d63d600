import type { Gpu, Inventory } from '../discovery/index.ts';
import type { ContainerHolding } from '../pod-resources/index.ts';
import { isOnNodes } from './cufile-places.ts';

/** GPUs that a container was given, as far as what the kubelet says of them can be told apart. */
export type GpusGiven = {
  readonly gpus: readonly Gpu[];
  /** Ids of which only so much is known that they are GPUs, with the nodes that their plugin named. */
  readonly unresolved: readonly { readonly id: string; readonly numaNodes: readonly number[] }[];
};

/** NVIDIA's plugin: the UUID, with '::3' behind it for a share of a GPU in turns; others end it with '-3'. */
const UUID = /^(?:MIG-)?(GPU-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/;
/** A MIG device by its own UUID: nothing in /proc or /sys says of which GPU it is a part. */
const MIG_UUID = /^MIG-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/;
/** NVIDIA's tools write a domain of eight digits, in capitals. */
const PCI_ADDRESS = /^([0-9a-f]{4,8}):([0-9a-f]{2}:[01][0-9a-f]\.[0-7])/i;
/** '3', 'nvidia3', '3:0' and 'nvidia3/gi1' for parts of it: the number of /dev/nvidia<n>, in the order of PCI addresses. */
const INDEX = /^(?:nvidia)?(\d{1,3})(?:$|[:/])/;
const GPU_RESOURCE = /^nvidia\.com\/(gpu|mig-)/;

/** NVIDIA's driver for claims: 'gpu-3', 'gpu-3-mig-1g10gb-19-0'. */
const CLAIM_DRIVER = 'gpu.nvidia.com';
const CLAIM_DEVICE = /^gpu-(\d{1,3})(?:-|$)/;

/** GPUs that containers can have: one that is bound to vfio-pci belongs to a virtual machine. In the order of addresses. */
export function usableGpus({ gpus }: Inventory): readonly Gpu[] {
  return gpus.filter(({ pci }) => pci.driver !== 'vfio-pci');
}

/** PCI domains are four digits, more only where a kernel made up more of them. */
function sameAddress(given: RegExpExecArray, address: string): boolean {
  const domain = Number.parseInt(given[1] ?? '', 16)
    .toString(16)
    .padStart(4, '0');
  return `${domain}:${given[2]?.toLowerCase()}` === address;
}

/** Null: no GPU by its looks. Undefined: a GPU, but not one that can be found here. */
function gpuOf(resource: string, id: string, gpus: readonly Gpu[]): Gpu | undefined | null {
  const uuid = UUID.exec(id)?.[1];
  if (uuid !== undefined) return gpus.find(({ driverView }) => driverView?.uuid === uuid);
  if (MIG_UUID.test(id)) return undefined;
  if (!GPU_RESOURCE.test(resource)) return null;
  const address = PCI_ADDRESS.exec(id);
  if (address !== null) return gpus.find(({ pci }) => sameAddress(address, pci.address));
  const index = INDEX.exec(id)?.[1];
  return index === undefined ? undefined : gpus[Number(index)];
}

/** By the forms of NVIDIA's device plugin and DRA driver, and of those that follow them. Pure. */
export function gpusGiven({ devices, claims }: ContainerHolding, machine: Inventory): GpusGiven {
  const known = usableGpus(machine);
  const gpus = new Set<Gpu>();
  const unresolved: { id: string; numaNodes: readonly number[] }[] = [];
  for (const { resource, id, numaNodes } of devices) {
    const gpu = gpuOf(resource, id, known);
    if (gpu === undefined) unresolved.push({ id, numaNodes });
    else if (gpu !== null) gpus.add(gpu);
  }
  for (const { driver, device } of claims.flatMap((claim) => claim.devices)) {
    if (driver !== CLAIM_DRIVER) continue;
    const index = CLAIM_DEVICE.exec(device)?.[1];
    const gpu = index === undefined ? undefined : known[Number(index)];
    if (gpu === undefined) unresolved.push({ id: device, numaNodes: [] });
    else gpus.add(gpu);
  }
  return { gpus: [...gpus], unresolved };
}

/** Those of the nodes; all where none is there, because any is better than none. */
export function gpusNear(machine: Inventory, numaNodes: readonly number[]): readonly Gpu[] {
  const gpus = usableGpus(machine);
  const near = gpus.filter(({ pci }) => isOnNodes(pci, numaNodes));
  return near.length === 0 ? gpus : near;
}
