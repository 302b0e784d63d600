import { readFile, statfs } from 'node:fs/promises';
import { NabuError } from '../../common/errors/index.ts';
import type { DiscoveryRoots, Inventory } from '../discovery/index.ts';
import type { KernelEvents } from './kernel-events.ts';
import { NetlinkEvents } from './netlink/native.ts';

/** The kernel's events as this process can hear them. */
export type EventSource = {
  /** Undefined: nothing can be heard. */
  readonly events: KernelEvents | undefined;
  /** What is not heard of this machine, and why, as sentences; what it would have told is found by looking. */
  gapsOf(machine: Inventory): Promise<readonly string[]>;
};

/** include/uapi/linux/magic.h, SYSFS_MAGIC. */
const SYSFS_MAGIC = 0x62656572;
/** user_namespaces(7): the map of the initial namespace. */
const WHOLE_MAP = /^\s*0\s+0\s+4294967295\s*$/;

/**
 * Opens the kernel's events for the machine at these roots. A recorded machine has none; nor are there any in a user namespace
 * other than the first (lib/kobject_uevent.c, uevent_net_broadcast). Throws DRIVER_UNAVAILABLE when the addon is not built,
 * FILE_INVALID when there is nothing at the root.
 */
export async function openEventSource({ sysfsRoot }: DiscoveryRoots): Promise<EventSource> {
  if (!(await isSysfs(sysfsRoot))) return silent(`${sysfsRoot} is no sysfs: it has no events`);
  const map = await readFile('/proc/self/uid_map', 'latin1').catch(() => '');
  if (!WHOLE_MAP.test(map)) return silent('this process is in a user namespace of its own: no uevent reaches it');
  try {
    return { events: new NetlinkEvents(), gapsOf: unheardInterfaces };
  } catch (err) {
    if (!NabuError.is(err, 'UNAVAILABLE')) throw err;
    return silent(err.message);
  }
}

const silent = (gap: string): EventSource => ({ events: undefined, gapsOf: async () => [gap] });

async function isSysfs(path: string): Promise<boolean> {
  try {
    return (await statfs(path)).type === SYSFS_MAGIC;
  } catch (cause) {
    const reason = `it is not there (${String(Reflect.get(Object(cause), 'code'))})`;
    throw NabuError.of('FILE_INVALID', { path, reason }, { cause });
  }
}

/**
 * Interfaces of the machine's HCAs that this process does not have: it is in a network namespace of its own, where their
 * changes are not told. Uevents of devices other than interfaces are told everywhere.
 */
async function unheardInterfaces({ hcas }: Inventory): Promise<readonly string[]> {
  const table = await readFile('/proc/self/net/dev', 'latin1').catch(() => '');
  const here = new Set(table.split('\n').map((row) => row.slice(0, Math.max(0, row.indexOf(':'))).trim()));
  const names = hcas.flatMap(({ netDevices }) => netDevices.map(({ name }) => name)).filter((name) => !here.has(name));
  if (names.length === 0) return [];
  return [`this process is in a network namespace of its own: changes of ${names.join(', ')} are not told`];
}
