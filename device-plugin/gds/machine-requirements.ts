import type { Inventory } from '../discovery/index.ts';
import { type GdsMode, type Requirement, verdictOf } from './requirement.ts';

const ACTIVE = 4; // IB_PORT_ACTIVE, Documentation/ABI/stable/sysfs-class-infiniband
/** What peer-to-peer DMA asks of the NVIDIA driver on x86 (GPUDirect Storage documentation, "NVMe P2PDMA"). */
const STATIC_BAR = 'RMForceStaticBar1=1';

function gpuDriver({ gpus, p2pDma: { nvidiaDriver } }: Inventory): Requirement {
  const version = nvidiaDriver?.version ?? 'of unknown version';
  const kind = nvidiaDriver?.isOpen === true ? 'open' : 'proprietary';
  const driver = nvidiaDriver === null ? 'no driver' : `driver ${version} (${kind})`;
  return {
    name: 'GPU',
    verdict: verdictOf(gpus.length > 0 && nvidiaDriver !== null),
    found: gpus.length === 0 ? 'none' : `${gpus.length} GPUs, ${driver}`,
    toDo: gpus.length > 0 && nvidiaDriver === null ? "load NVIDIA's driver" : '',
  };
}

function nvidiaFs({ nvidiaFs: module, p2pDma }: Inventory, isNeeded: boolean): Requirement {
  const { isLoaded, devices, deviceCount, moduleVersion, interfaceVersion } = module;
  const isWhole = isLoaded && devices.length > 0 && devices.length >= (deviceCount ?? 0);
  const version = moduleVersion ?? interfaceVersion ?? 'unknown version';
  const loaded = `${version}, ${devices.length} of ${deviceCount ?? 'unknown'} device files`;
  const wants = p2pDma.nvidiaDriver === null ? '' : 'load nvidia-fs (package nvidia-gds), or use peer-to-peer DMA';
  return {
    name: 'nvidia-fs',
    verdict: !isWhole && !isNeeded ? 'unneeded' : verdictOf(isWhole),
    found: isLoaded ? loaded : 'not loaded',
    toDo: isWhole || !isNeeded ? '' : wants,
  };
}

/** All that peer-to-peer DMA needs, beside drives: what of it is missing, in words. Null: nothing tells of some of it. */
function missingForP2pDma({ p2pDma }: Inventory): { readonly missing: readonly string[]; readonly isCertain: boolean } {
  const { kernel, isNvmeMultipath, nvidiaDriver } = p2pDma;
  const missing: string[] = [];
  if (kernel.isBuiltIn === false) missing.push('a kernel with CONFIG_PCI_P2PDMA');
  if (nvidiaDriver === null) missing.push("NVIDIA's driver");
  if (nvidiaDriver?.isOpen === false) missing.push("NVIDIA's open kernel module");
  const words = (nvidiaDriver?.registryWords ?? '').split(';').map((word) => word.trim());
  if (nvidiaDriver !== null && nvidiaDriver.registryWords !== null && !words.includes(STATIC_BAR)) {
    missing.push(`NVreg_RegistryDwords with ${STATIC_BAR}`);
  }
  if (isNvmeMultipath === true) missing.push('nvme_core.multipath=N');
  const told = [kernel.isBuiltIn, nvidiaDriver?.isOpen ?? null, nvidiaDriver?.registryWords ?? null, isNvmeMultipath];
  return { missing, isCertain: !told.includes(null) };
}

function p2pDma(inventory: Inventory, isNeeded: boolean): Requirement {
  const { missing, isCertain } = missingForP2pDma(inventory);
  const { evidence, isBuiltIn } = inventory.p2pDma.kernel;
  const kernel =
    isBuiltIn === null ? 'nothing tells of the kernel' : `kernel: ${isBuiltIn ? 'yes' : 'no'} (${evidence})`;
  const verdict = missing.length > 0 ? 'no' : verdictOf(isCertain ? true : null);
  return {
    name: 'peer-to-peer DMA',
    verdict: verdict !== 'yes' && !isNeeded ? 'unneeded' : verdict,
    found: kernel,
    toDo: isNeeded && missing.length > 0 ? `needs ${missing.join(', ')}` : '',
  };
}

function rdma({ hcas, rdmaCm }: Inventory): Requirement {
  const active = hcas.filter(({ ports }) => ports.some(({ state }) => state?.code === ACTIVE));
  const idle = hcas.filter((hca) => !active.includes(hca)).map(({ name }) => name);
  const isWhole = active.length > 0 && rdmaCm?.isPresent === true;
  const toDo = hcas.length === 0 ? '' : `bring up a port of ${idle.join(', ')}`;
  return {
    name: 'RDMA',
    verdict: hcas.length === 0 ? 'unneeded' : verdictOf(isWhole),
    found: hcas.length === 0 ? 'no HCA' : `${active.length} of ${hcas.length} HCAs with an active port`,
    toDo: active.length > 0 && !isWhole ? 'load rdma_ucm' : isWhole ? '' : toDo,
  };
}

function drives({ nvme }: Inventory): Requirement {
  const usable = nvme.filter(({ controller }) => (controller?.namespaces.length ?? 0) > 0);
  return {
    name: 'NVMe drives',
    verdict: nvme.length === 0 ? 'unneeded' : verdictOf(usable.length > 0),
    found: nvme.length === 0 ? 'none' : `${usable.length} of ${nvme.length} with a namespace that the kernel serves`,
    toDo: '',
  };
}

/** With translation every peer transfer goes through the root complex (GPUDirect Storage documentation, "IOMMU"). */
function iommu({ iommuGroups }: Inventory): Requirement {
  const isOff = iommuGroups.length === 0;
  return {
    name: 'IOMMU out of the way',
    verdict: isOff ? 'yes' : 'unknown',
    found: isOff ? 'off' : `${iommuGroups.length} groups`,
    toDo: isOff ? '' : 'peer transfers are fastest with iommu=off or iommu=pt on the kernel command line',
  };
}

export function modeOf(inventory: Inventory): GdsMode {
  if (gpuDriver(inventory).verdict !== 'yes') return 'none';
  if (nvidiaFs(inventory, true).verdict === 'yes') return 'nvidia-fs';
  return p2pDma(inventory, true).verdict === 'yes' ? 'p2pdma' : 'compat';
}

/** What is missing for each way past host memory; '' where nothing is. */
export type DirectPaths = {
  /** Without a GPU that NVIDIA's driver serves there is nothing to read into, not even through host memory. */
  readonly gpu: string;
  readonly 'nvidia-fs': string;
  readonly p2pdma: string;
};

function lackOf({ verdict, found, toDo }: Requirement): string {
  if (verdict === 'yes') return '';
  const told = verdict === 'unknown' ? `nothing tells for certain (${found})` : found;
  return toDo === '' ? told : `${told}: ${toDo}`;
}

/** By which ways past host memory cuFile can go here, and what keeps it from the others. Pure. */
export function directPaths(inventory: Inventory): DirectPaths {
  return {
    gpu: lackOf(gpuDriver(inventory)),
    'nvidia-fs': lackOf(nvidiaFs(inventory, true)),
    p2pdma: lackOf(p2pDma(inventory, true)),
  };
}

/** What the machine has of what GPUDirect Storage needs. Pure. */
export function machineRequirements(inventory: Inventory): readonly Requirement[] {
  const mode = modeOf(inventory);
  return [
    gpuDriver(inventory),
    nvidiaFs(inventory, mode === 'compat'),
    p2pDma(inventory, mode === 'compat'),
    drives(inventory),
    rdma(inventory),
    iommu(inventory),
  ];
}
