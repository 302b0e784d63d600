import { line } from './attribute.ts';
import { type DeviceNode, discoverMiscNode } from './device-node.ts';
import { type Dpu, dpusAmong } from './dpu.ts';
import { type Finding, Findings } from './finding.ts';
import { discoverGpus, type Gpu } from './gpu.ts';
import { discoverHcas, type Hca } from './hca.ts';
import { discoverHugePages, type HugePages, isHugePagesPath } from './huge-pages.ts';
import { discoverIommuGroups, discoverVfio, type IommuGroup, type Vfio } from './iommu.ts';
import { discoverNumaNodes, type NumaNodeView } from './numa.ts';
import { discoverNvidiaFs, type NvidiaFs } from './nvidia-fs.ts';
import { discoverNvme, type NvmeDevice } from './nvme.ts';
import { discoverP2pDma, type P2pDma } from './p2pdma.ts';
import { PciFunctions } from './pci.ts';
import { discoverRdmaNodes } from './rdma-nodes.ts';
import { type DiscoveryOptions, type DiscoveryRoots, surveyOf } from './survey-of.ts';

/**
 * What a machine has for GPUDirect I/O. Plain values that survive JSON (null where a thing is not there or not readable),
 * ordered by number, address or name, so that equal trees give equal inventories. Paths begin with /sys, /dev or /proc
 * wherever this process sees them.
 */
export type Inventory = {
  readonly kernelRelease: string | null;
  readonly numaNodes: readonly NumaNodeView[];
  readonly hcas: readonly Hca[];
  /** /dev/infiniband/rdma_cm, one for all HCAs; null when rdma_ucm is not loaded. */
  readonly rdmaCm: DeviceNode | null;
  readonly gpus: readonly Gpu[];
  readonly dpus: readonly Dpu[];
  readonly nvme: readonly NvmeDevice[];
  readonly nvidiaFs: NvidiaFs;
  readonly p2pDma: P2pDma;
  readonly hugePages: readonly HugePages[];
  readonly iommuGroups: readonly IommuGroup[];
  readonly vfio: Vfio;
  /** What could not be used, by path. Empty on a machine in order. */
  readonly findings: readonly Finding[];
};

/**
 * Reads the machine below the roots. What cannot be used (empty, huge, binary, unreadable, hanging, in circles) becomes a
 * finding and leaves a null; it never hides anything else. Throws only when the signal ends it.
 */
export async function discover(roots: DiscoveryRoots, options: DiscoveryOptions): Promise<Inventory> {
  const findings = new Findings();
  const survey = surveyOf(roots, options, findings);
  const pci = new PciFunctions(survey);
  const functions = await pci.all();
  const numaNodes = await discoverNumaNodes(survey);
  const rdmaNodes = await discoverRdmaNodes(survey);
  const nodeNumbers = numaNodes.map(({ node }) => node);
  const found = {
    kernelRelease: await survey.value(survey.proc, 'sys/kernel/osrelease', line),
    numaNodes,
    hcas: await discoverHcas(survey, pci, rdmaNodes),
    rdmaCm: await discoverMiscNode(survey, 'rdma_cm'),
    gpus: await discoverGpus(survey, functions),
    dpus: dpusAmong(functions),
    nvme: await discoverNvme(survey, functions),
    nvidiaFs: await discoverNvidiaFs(survey),
    p2pDma: await discoverP2pDma(survey, functions, options.kernel),
    hugePages: await discoverHugePages(survey, nodeNumbers),
    iommuGroups: await discoverIommuGroups(survey),
    vfio: await discoverVfio(survey),
  };
  return { ...found, findings: findings.sorted() };
}

/**
 * The same machine with its huge pages counted again: what changes all the time, at a fiftieth of the cost. Findings about
 * huge pages are those of now, all others those of before. Throws only when the signal ends it.
 */
export async function recountHugePages(
  before: Inventory,
  roots: DiscoveryRoots,
  options: DiscoveryOptions,
): Promise<Inventory> {
  const findings = new Findings();
  const survey = surveyOf(roots, options, findings);
  const nodes = before.numaNodes.map(({ node }) => node);
  const hugePages = await discoverHugePages(survey, nodes);
  for (const { path, reason } of before.findings) if (!isHugePagesPath(path)) findings.add(path, reason);
  return { ...before, hugePages, findings: findings.sorted() };
}
