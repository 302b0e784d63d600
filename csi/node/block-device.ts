import { readFile, stat } from 'node:fs/promises';
import { NabuError } from '../../common/errors/index.ts';

export type BlockDevice = {
  readonly path: string;
  /** `major:minor`, as mountinfo and /sys write it. */
  readonly number: string;
};

const SECTOR_BYTES = 512n; // of /sys, whatever the device's own is

/** Takes a dev_t apart as glibc's makedev(3) puts it together. */
export function deviceNumberOf(rdev: bigint): string {
  const major = ((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & 0xfffff000n);
  const minor = (rdev & 0xffn) | ((rdev >> 12n) & 0xffffff00n);
  return `${major}:${minor}`;
}

/** Throws DEVICE_FAILED when the path is no block device. */
export async function openBlockDevice(path: string): Promise<BlockDevice> {
  const node = await stat(path, { bigint: true }).catch(() => undefined);
  if (node?.isBlockDevice() !== true) {
    throw NabuError.of('DEVICE_FAILED', { device: path, reason: 'there is no block device of this name' });
  }
  return { path, number: deviceNumberOf(node.rdev) };
}

export async function blockDeviceSize(device: Pick<BlockDevice, 'number'>): Promise<bigint> {
  const text = await readFile(`/sys/dev/block/${device.number}/size`, 'utf8');
  return BigInt(text.trim()) * SECTOR_BYTES;
}
