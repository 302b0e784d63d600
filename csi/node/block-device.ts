import { readFile, stat } from 'node:fs/promises';
import { NabuError } from '../../common/errors/index.ts';

export type BlockDevice = {
  readonly path: string;
  /** `major:minor`, as mountinfo and /sys write it. */
  readonly number: string;
};

/** A device number is reused; what is behind it from one attaching to the next is a life. */
export type DeviceLife = BlockDevice & { readonly life: string };

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

/** Changes whenever something else is attached to the device, and over a restart of the machine (diskseq, Linux 5.15). */
async function lifeOf(device: Pick<BlockDevice, 'number'>): Promise<string> {
  const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8');
  const sequence = await readFile(`/sys/dev/block/${device.number}/diskseq`, 'utf8').catch(() => 'gone');
  return `${boot.trim()}/${sequence.trim()}`;
}

export async function withLife(device: BlockDevice): Promise<DeviceLife> {
  return { ...device, life: await lifeOf(device) };
}

/** Whether the device is still what it was when it was noted. */
export async function isSameLife(device: DeviceLife): Promise<boolean> {
  return (await lifeOf(device)) === device.life;
}
