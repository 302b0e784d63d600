import type { Inventory, Mount } from '../discovery/index.ts';
import type { GdsMode, Verdict } from './requirement.ts';

/** Whether GPUDirect I/O to a mounted file system goes past host memory, and how a file there must be read. */
export type FileSystemVerdict = {
  readonly mountPoint: string;
  readonly fsType: string;
  readonly source: string;
  readonly verdict: Verdict;
  readonly reason: string;
  /** Offsets and lengths of O_DIRECT must be multiples of it; null: the file system decides, and nothing here tells. */
  readonly directAlignmentBytes: number | null;
};

/** A kind of file system that cuFile has a direct path to (GPUDirect Storage documentation, "Supported file systems"). */
type Kind = {
  /** Modes that know it. */
  readonly modes: readonly GdsMode[];
  /** What its mount must look like; '' when it does. */
  readonly flaw: (mount: Mount) => string;
};

const NVME = /^nvme\d+n\d+(p\d+)?$/;
const onNvme = ({ block }: Mount): string =>
  block !== null && NVME.test(block.name) ? '' : `it lies on ${block?.name ?? 'no block device'}, not on NVMe`;

/** ext4's own default is ordered, and then the option does not show (ext4_show_options). */
function ordered({ options }: Mount): string {
  const data = options.find((option) => option.startsWith('data='));
  return data === undefined || data === 'data=ordered' ? '' : `it is mounted with ${data}: data=ordered is needed`;
}

const overRdma = ({ options }: Mount): string =>
  options.includes('proto=rdma') ? '' : 'it is not mounted with proto=rdma';
const asItIs = (): string => '';

const NFS: Kind = { modes: ['nvidia-fs'], flaw: overRdma };
const CLUSTERED: Kind = { modes: ['nvidia-fs'], flaw: asItIs };
const KINDS: ReadonlyMap<string, Kind> = new Map<string, Kind>([
  ['ext4', { modes: ['nvidia-fs', 'p2pdma'], flaw: (mount) => onNvme(mount) || ordered(mount) }],
  ['xfs', { modes: ['nvidia-fs', 'p2pdma'], flaw: onNvme }],
  ['nfs', NFS],
  ['nfs4', NFS],
  ['lustre', CLUSTERED],
  ['wekafs', CLUSTERED],
  ['gpfs', CLUSTERED],
  ['beegfs', CLUSTERED],
  ['scatefs', CLUSTERED],
]);

/** Places that hold files one might load a model from: what has a device or a server, not the kernel's own trees. */
function holdsFiles({ fsType, block, source }: Mount): boolean {
  return block !== null || KINDS.has(fsType) || source.startsWith('/dev/') || /^[^/]+:\//.test(source);
}

function judged(mount: Mount, mode: GdsMode): { readonly verdict: Verdict; readonly reason: string } {
  const kind = KINDS.get(mount.fsType);
  if (kind === undefined) return { verdict: 'no', reason: `cuFile has no direct path to ${mount.fsType}` };
  const flaw = kind.flaw(mount);
  if (flaw !== '') return { verdict: 'no', reason: flaw };
  if (mode === 'none') return { verdict: 'no', reason: 'there is no GPU with a driver' };
  if (mode === 'compat') return { verdict: 'no', reason: 'only through host memory: no direct mode is available' };
  if (!kind.modes.includes(mode)) return { verdict: 'no', reason: `it needs nvidia-fs, and the mode is ${mode}` };
  return { verdict: 'yes', reason: `by ${mode}` };
}

/** One verdict for each mount point (the last mount on it, which is the one that is seen), in the order of their paths. Pure. */
export function fileSystemVerdicts(mounts: readonly Mount[], mode: GdsMode): readonly FileSystemVerdict[] {
  const visible = new Map(mounts.map((mount) => [mount.mountPoint, mount]));
  return [...visible.values()]
    .filter(holdsFiles)
    .map((mount) => {
      const { mountPoint, fsType, source, block } = mount;
      const directAlignmentBytes = block?.logicalBlockBytes ?? null;
      return { mountPoint, fsType, source, ...judged(mount, mode), directAlignmentBytes };
    })
    .sort((a, b) => (a.mountPoint < b.mountPoint ? -1 : 1));
}

/** Kernel modules that must have their hooks in nvidia-fs before a file system of that kind is used. */
const HOOKED: ReadonlyMap<string, string> = new Map([
  ['nfs', 'rpcrdma'],
  ['nfs4', 'rpcrdma'],
  ['lustre', 'lnet'],
]);

/** A mount whose kernel module is not among those that nvidia-fs has hooks into is read through host memory all the same. */
export function withoutHooks(verdict: FileSystemVerdict, { nvidiaFs }: Inventory, mode: GdsMode): FileSystemVerdict {
  const module = HOOKED.get(verdict.fsType);
  if (mode !== 'nvidia-fs' || verdict.verdict !== 'yes' || module === undefined) return verdict;
  const isHooked = nvidiaFs.storageModules.some(({ name }) => name === module);
  return isHooked ? verdict : { ...verdict, verdict: 'no', reason: `nvidia-fs has no hooks into ${module}` };
}
