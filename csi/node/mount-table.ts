import { readFile, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { type BlockDevice, deviceNumberOf } from './block-device.ts';

/** One line of /proc/PID/mountinfo (proc(5)). */
export type Mount = {
  /** `major:minor` of what is mounted. */
  readonly deviceNumber: string;
  /** Which part of the file system is mounted: `/` but for bind mounts. */
  readonly root: string;
  readonly mountPoint: string;
  /** Of this mount; `ro` here makes a read-only bind mount of a writable file system. */
  readonly options: readonly string[];
  readonly fsType: string;
  readonly source: string;
  /** Of the file system. */
  readonly superOptions: readonly string[];
};

const MOUNTINFO = '/proc/self/mountinfo';
const MAX_READS = 8;

function unescapeField(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** Octal escapes stand for bytes, so the file is read as latin1 and its paths become UTF-8 here. */
function path(field: string): string {
  return Buffer.from(unescapeField(field), 'latin1').toString('utf8');
}

function parseLine(line: string): Mount | undefined {
  const fields = line.split(' ');
  const dash = fields.indexOf('-', 6); // optional fields lie before it, as many as there are
  const [, , deviceNumber, root, mountPoint, options] = fields;
  const [fsType, source, superOptions] = dash === -1 ? [] : fields.slice(dash + 1);
  if (deviceNumber === undefined || root === undefined || mountPoint === undefined || fsType === undefined)
    return undefined;
  return {
    deviceNumber,
    root: path(root),
    mountPoint: path(mountPoint),
    options: (options ?? '').split(','),
    fsType,
    source: path(source ?? ''),
    superOptions: (superOptions ?? '').split(','),
  };
}

export function parseMountInfo(text: string): Mount[] {
  return text.split('\n').flatMap((line) => parseLine(line) ?? []);
}

/** A long list is read in several pieces, and a mount made between two of them may be missed: read until two agree. */
async function readConsistently(): Promise<string> {
  let previous = await readFile(MOUNTINFO, 'latin1');
  for (let reads = 1; reads < MAX_READS; reads++) {
    const next = await readFile(MOUNTINFO, 'latin1');
    if (next === previous) break;
    previous = next;
  }
  return previous;
}

/** What is mounted where, as the kernel says: the truth about this node, whatever any file of ours remembers. */
export class MountTable {
  readonly #mounts: readonly Mount[];

  constructor(mounts: readonly Mount[]) {
    this.#mounts = mounts;
  }

  static async read(): Promise<MountTable> {
    return new MountTable(parseMountInfo(await readConsistently()));
  }

  /** The mount that one sees at a path: of several stacked ones the last. */
  at(mountPoint: string): Mount | undefined {
    return this.#mounts.findLast((mount) => mount.mountPoint === mountPoint);
  }

  countAt(mountPoint: string): number {
    return this.#mounts.filter((mount) => mount.mountPoint === mountPoint).length;
  }

  /** Every place where the device's file system, or its own node, is mounted. */
  async of(device: BlockDevice): Promise<Mount[]> {
    const found: Mount[] = [];
    for (const mount of this.#mounts) if (await isMountOf(mount, device)) found.push(mount);
    return found;
  }
}

/** Whether the mount shows the device: its file system, or the device node bound to a file (raw block volumes). */
export async function isMountOf(mount: Mount, device: Pick<BlockDevice, 'path' | 'number'>): Promise<boolean> {
  if (mount.deviceNumber === device.number) return true;
  if (mount.root === '/' || basename(mount.root) !== basename(device.path)) return false;
  const node = await stat(mount.mountPoint, { bigint: true }).catch(() => undefined);
  return node?.isBlockDevice() === true && deviceNumberOf(node.rdev) === device.number;
}
