import { type Attribute, wholeNumber } from './attribute.ts';
import { type Finding, Findings } from './finding.ts';
import { eachInTurn, type Survey } from './survey.ts';
import { type DiscoveryOptions, type DiscoveryRoots, surveyOf } from './survey-of.ts';

/** A mounted file system, from /proc/self/mountinfo (Documentation/filesystems/proc.rst, 3.5). */
export type Mount = {
  readonly mountPoint: string;
  readonly fsType: string;
  readonly source: string;
  /** Of the mount and of the file system, without repetition, in the order of the file. */
  readonly options: readonly string[];
  /** The block device below it; null for a file system without one (network, memory). */
  readonly block: { readonly name: string; readonly logicalBlockBytes: number | null } | null;
};

/** RLIMIT_MEMLOCK (getrlimit(2)); null: unlimited. */
export type MemoryLock = { readonly softBytes: number | null; readonly hardBytes: number | null };

/** What this process may do and sees mounted: not a fact about the machine, but about where one stands on it. */
export type ProcessView = {
  readonly mounts: readonly Mount[];
  /** Null when /proc does not say. */
  readonly memoryLock: MemoryLock | null;
  readonly findings: readonly Finding[];
};

const MOUNT_INFO = 'self/mountinfo';
/** A node with 250 pods has some 5,000 mounts of 300 bytes. */
const MOUNT_INFO_LIMIT_BYTES = 4 * 1024 * 1024;

type MountRow = Omit<Mount, 'block'> & { readonly device: string };

/** Blanks, tabs, newlines and backslashes stand as octal escapes there (seq_file.c, mangle_path). */
function unescaped(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_whole, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}

function mountRow(line: string): MountRow | undefined {
  const [left, right] = line.split(' - ');
  const [, , device, , mountPoint, perMount] = (left ?? '').split(' ');
  const [fsType, source, perSuper] = (right ?? '').split(' ');
  if (device === undefined || mountPoint === undefined || perMount === undefined) return undefined;
  if (!/^\d{1,7}:\d{1,7}$/.test(device) || fsType === undefined || source === undefined) return undefined;
  const options = [...new Set([...perMount.split(','), ...(perSuper ?? '').split(',')])].filter((one) => one !== '');
  return { device, mountPoint: unescaped(mountPoint), fsType, source: unescaped(source), options };
}

/** Every line must be whole: half a table would hide mounts. */
export const mountInfo: Attribute<readonly MountRow[]> = {
  expected: 'lines of mountinfo',
  parse(text) {
    const rows = text.split('\n').map(mountRow);
    const whole = rows.filter((row) => row !== undefined);
    return whole.length === rows.length ? whole : undefined;
  },
};

/** The row 'Max locked memory  8388608  unlimited  bytes' of /proc/self/limits (proc_pid_limits(5)). */
export const memoryLock: Attribute<MemoryLock> = {
  expected: 'a row Max locked memory',
  parse(text) {
    const match = /^Max locked memory +(\d{1,20}|unlimited) +(\d{1,20}|unlimited) +bytes *$/m.exec(text);
    if (match === null) return undefined;
    const bytes = (word: string | undefined): number | null => (word === 'unlimited' ? null : Number(word));
    return { softBytes: bytes(match[1]), hardBytes: bytes(match[2]) };
  },
};

/** As `discover`, for the process that asks. */
export async function discoverProcess(roots: DiscoveryRoots, options: DiscoveryOptions): Promise<ProcessView> {
  const findings = new Findings();
  const survey = surveyOf(roots, options, findings);
  const rows = await mountRows(survey);
  const devices = [...new Set(rows.map(({ device }) => device))];
  const blocks = new Map(await eachInTurn(devices, async (device) => [device, await blockOf(survey, device)] as const));
  const mounts = rows.map(({ device, ...row }): Mount => ({ ...row, block: blocks.get(device) ?? null }));
  const lock = await survey.value(survey.proc, 'self/limits', memoryLock);
  return { mounts, memoryLock: lock, findings: findings.sorted() };
}

async function mountRows(survey: Survey): Promise<readonly MountRow[]> {
  const { proc } = survey;
  const text = survey.taken(proc, MOUNT_INFO, await proc.text(MOUNT_INFO, MOUNT_INFO_LIMIT_BYTES), 'finding');
  const rows = text === null ? [] : mountInfo.parse(text);
  if (rows === undefined) survey.note(proc, MOUNT_INFO, `does not hold ${mountInfo.expected}`);
  return rows ?? [];
}

/** Documentation/ABI/stable/sysfs-block: a partition has the queue of its disk. Major 0 is what has no device. */
async function blockOf(survey: Survey, device: string): Promise<Mount['block']> {
  if (device.startsWith('0:')) return null;
  const { sys } = survey;
  const path = await survey.target(sys, `dev/block/${device}`);
  if (path === null) return null;
  const disk = (await survey.target(sys, `${path}/queue`)) === null ? path.slice(0, path.lastIndexOf('/')) : path;
  return {
    name: path.slice(path.lastIndexOf('/') + 1),
    logicalBlockBytes: await survey.value(sys, `${disk}/queue/logical_block_size`, wholeNumber),
  };
}
