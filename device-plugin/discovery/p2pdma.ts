import { gunzip } from 'node:zlib';
import { type Attribute, line, wholeNumber, yesNo } from './attribute.ts';
import type { PciAddress } from './ids.ts';
import type { PciFunction } from './pci.ts';
import { eachInTurn, type Survey } from './survey.ts';

/** Memory of a device that peers can reach: <function>/p2pmem (Documentation/ABI/testing/sysfs-bus-pci). */
export type PeerMemory = {
  readonly address: PciAddress;
  readonly sizeBytes: number | null;
  readonly availableBytes: number | null;
  readonly isPublished: boolean | null;
};

/** What the NVIDIA driver was loaded with: peer-to-peer DMA needs the open module and, on x86, two registry words. */
export type NvidiaDriver = {
  readonly version: string | null;
  readonly isOpen: boolean | null;
  readonly registryWords: string | null;
};

/** Whether the kernel can do peer-to-peer DMA, and what says so; null: nothing here tells. */
export type KernelSupport = { readonly isBuiltIn: boolean | null; readonly evidence: string | null };

/**
 * What the peer-to-peer DMA mode of cuFile depends on (GPUDirect Storage documentation, "NVMe P2PDMA"). Facts only: the
 * verdict belongs to whoever needs one.
 */
export type P2pDma = {
  readonly kernel: KernelSupport;
  /** nvme_core's parameter: with multipath on, an NVMe namespace takes no peer-to-peer requests. Null: not loaded. */
  readonly isNvmeMultipath: boolean | null;
  readonly memory: readonly PeerMemory[];
  readonly nvidiaDriver: NvidiaDriver | null;
};

const OPTION = 'CONFIG_PCI_P2PDMA';
const SYMBOL = 'p2pdma_pgmap_ops';
const CONFIG_LIMIT_BYTES = 1024 * 1024;
const CONFIG_TEXT_LIMIT_BYTES = 8 * 1024 * 1024;
/** A kernel with many modules has some 250,000 symbols: 15 MB. */
const SYMBOLS_LIMIT_BYTES = 64 * 1024 * 1024;

/** Pure: what a kernel's configuration says; a configuration that does not name the option is a kernel without it. */
export function hasP2pDmaOption(config: string): boolean {
  return new RegExp(`^${OPTION}=y$`, 'm').test(config);
}

/** /proc/driver/nvidia/version: which of the two kinds of module it is (NVIDIA driver README, /proc interface). */
export const isOpenModule: Attribute<boolean> = {
  expected: 'a line NVRM version:',
  parse: (text) =>
    /^NVRM version: NVIDIA UNIX /m.test(text) ? /^NVRM version: .*Open Kernel Module/m.test(text) : undefined,
};

/** RegistryDwords of /proc/driver/nvidia/params: RegistryDwords: "RMForceStaticBar1=1;RmForceDisableIomapWC=1;". */
export const registryWords: Attribute<string> = {
  expected: 'a line RegistryDwords:',
  parse: (text) => /^RegistryDwords: "([^"\n]{0,1024})"$/m.exec(text)?.[1],
};

/** `known`: what an earlier discovery found of the kernel that runs. */
export async function discoverP2pDma(
  survey: Survey,
  functions: readonly PciFunction[],
  known?: KernelSupport,
): Promise<P2pDma> {
  const { sys } = survey;
  return {
    kernel: known ?? (await kernelSupport(survey)),
    isNvmeMultipath: await survey.value(sys, 'module/nvme_core/parameters/multipath', yesNo, 'normal'),
    memory: await eachInTurn(functions, ({ address }) => peerMemoryOf(survey, address)),
    nvidiaDriver: await nvidiaDriver(survey),
  };
}

async function peerMemoryOf(survey: Survey, address: PciAddress): Promise<PeerMemory | null> {
  const { sys } = survey;
  const at = `bus/pci/devices/${address}/p2pmem`;
  if ((await survey.target(sys, at)) === null) return null;
  return {
    address,
    sizeBytes: await survey.value(sys, `${at}/size`, wholeNumber),
    availableBytes: await survey.value(sys, `${at}/available`, wholeNumber),
    isPublished: await survey.value(sys, `${at}/published`, yesNo),
  };
}

async function nvidiaDriver(survey: Survey): Promise<NvidiaDriver | null> {
  const { sys, proc } = survey;
  if ((await survey.target(sys, 'module/nvidia')) === null) return null;
  return {
    version: await survey.value(sys, 'module/nvidia/version', line, 'normal'),
    isOpen: await survey.value(proc, 'driver/nvidia/version', isOpenModule),
    registryWords: await survey.value(proc, 'driver/nvidia/params', registryWords),
  };
}

/** The configuration where the kernel carries one (proc(5), config.gz), else its symbols (proc(5), kallsyms). */
async function kernelSupport(survey: Survey): Promise<KernelSupport> {
  const { proc } = survey;
  const packed = survey.taken(proc, 'config.gz', await proc.bytes('config.gz', CONFIG_LIMIT_BYTES), 'normal');
  const config = packed === null ? null : await unpacked(packed);
  if (packed !== null && config === null) survey.note(proc, 'config.gz', 'is not a gzip file of a bearable size');
  if (config !== null) return { isBuiltIn: hasP2pDmaOption(config), evidence: `/proc/config.gz: ${OPTION}` };
  const has = survey.taken(proc, 'kallsyms', await proc.holds('kallsyms', ` ${SYMBOL}`, SYMBOLS_LIMIT_BYTES), 'normal');
  return has === null ? { isBuiltIn: null, evidence: null } : { isBuiltIn: has, evidence: `/proc/kallsyms: ${SYMBOL}` };
}

function unpacked(bytes: Buffer): Promise<string | null> {
  return new Promise((resolve) => {
    gunzip(bytes, { maxOutputLength: CONFIG_TEXT_LIMIT_BYTES }, (err, text) =>
      resolve(err === null ? text.toString('latin1') : null),
    );
  });
}
