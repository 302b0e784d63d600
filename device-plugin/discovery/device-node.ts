import type { Attribute } from './attribute.ts';
import { fieldsOf } from './attribute.ts';
import type { Survey } from './survey.ts';

/** A device file that belongs to an entry in sysfs. `path` is below /dev, wherever this process sees /dev. */
export type DeviceNode = {
  readonly path: string;
  readonly major: number;
  readonly minor: number;
  /** Whether a character device of these numbers lies there now. Where one should and does not, a finding says why. */
  readonly isPresent: boolean;
};

export type DeviceName = { readonly name: string; readonly major: number; readonly minor: number };

/**
 * MAJOR, MINOR and DEVNAME of a uevent file (drivers/base/core.c, dev_uevent): the numbers of a device, and the name below
 * /dev that devtmpfs and udev give it. A name that would lead out of /dev is not taken.
 */
export const deviceName: Attribute<DeviceName> = {
  expected: 'a uevent with MAJOR, MINOR and DEVNAME',
  parse(text) {
    const fields = fieldsOf(text, '=');
    const name = fields.get('DEVNAME') ?? '';
    const [major, minor] = [fields.get('MAJOR') ?? '', fields.get('MINOR') ?? ''];
    if (!/^\d{1,7}$/.test(major) || !/^\d{1,7}$/.test(minor)) return undefined;
    const isName = /^[\w.:!-]+(\/[\w.:!-]+){0,4}$/.test(name) && !name.split('/').some((part) => /^\.+$/.test(part));
    return isName ? { name, major: Number(major), minor: Number(minor) } : undefined;
  },
};

/** The device file of a class device in sysfs, or null when its uevent does not name one. */
export async function deviceNodeOf(survey: Survey, sysPath: string): Promise<DeviceNode | null> {
  const named = await survey.value(survey.sys, `${sysPath}/uevent`, deviceName);
  if (named === null) return null;
  const { name, major, minor } = named;
  return { path: `/dev/${name}`, major, minor, isPresent: await isThere(survey, named) };
}

/** A misc device by its name (drivers/char/misc.c), such as rdma_cm, vfio or iommu; null when its driver is not loaded. */
export async function discoverMiscNode(survey: Survey, name: string): Promise<DeviceNode | null> {
  const at = `class/misc/${name}`;
  const isLoaded = (await survey.target(survey.sys, at)) !== null;
  return isLoaded ? await deviceNodeOf(survey, at) : null;
}

async function isThere(survey: Survey, { name, major, minor }: DeviceName): Promise<boolean> {
  const entry = survey.taken(survey.dev, name, await survey.dev.entry(name), 'finding');
  if (entry === null) return false;
  if (!survey.isCharDevice(entry)) {
    survey.note(survey.dev, name, 'is not a character device');
    return false;
  }
  const { device } = entry;
  if (device === null || (device.major === major && device.minor === minor)) return true;
  survey.note(survey.dev, name, `is device ${device.major}:${device.minor}, the kernel says ${major}:${minor}`);
  return false;
}
