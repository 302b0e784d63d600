import type { Finding, Inventory, MemoryLock, ProcessView } from '../discovery/index.ts';
import { type FileSystemVerdict, fileSystemVerdicts, withoutHooks } from './file-systems.ts';
import { machineRequirements, modeOf } from './machine-requirements.ts';
import type { GdsMode, Requirement } from './requirement.ts';

/** What stands between this machine, this process and GPUDirect I/O. */
export type GdsReport = {
  readonly mode: GdsMode;
  readonly requirements: readonly Requirement[];
  readonly fileSystems: readonly FileSystemVerdict[];
  /** Null when /proc does not say. */
  readonly memoryLock: MemoryLock | null;
  /** What could not be used while looking. */
  readonly findings: readonly Finding[];
};

/** Registered memory is locked memory: a limit ends in ENOMEM at some registration, whatever its size is. */
function memoryLockRequirement(lock: MemoryLock | null): Requirement {
  const name = 'locked memory';
  if (lock === null) return { name, verdict: 'unknown', found: 'nothing tells', toDo: '' };
  if (lock.softBytes === null) return { name, verdict: 'yes', found: 'unlimited', toDo: '' };
  const hard = lock.hardBytes === null ? 'unlimited' : `${lock.hardBytes} bytes`;
  const found = `${lock.softBytes} bytes (hard limit ${hard})`;
  return { name, verdict: 'no', found, toDo: 'raise RLIMIT_MEMLOCK: registered memory counts against it' };
}

/** Pure. */
export function gdsReport(inventory: Inventory, view: ProcessView): GdsReport {
  const mode = modeOf(inventory);
  const { mounts, memoryLock } = view;
  return {
    mode,
    requirements: [...machineRequirements(inventory), memoryLockRequirement(memoryLock)],
    fileSystems: fileSystemVerdicts(mounts, mode).map((verdict) => withoutHooks(verdict, inventory, mode)),
    memoryLock,
    findings: [...inventory.findings, ...view.findings],
  };
}
