import { readdir } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';

/** The IP addresses by which a network device can be reached, its own and those of what is built on it. */
export type NetAddresses = { of(netDevice: string): Promise<readonly string[]> };

/** Bonds, VLANs, and VLANs on bonds. */
const DEPTH_LIMIT = 3;
const UPPER_LIMIT = 64;

/**
 * Addresses of this network namespace, which has to be the host's. A bond's or a VLAN's address is no address of the device
 * below it, yet RDMA of that device is known by it: the kernel names what is built on a device by links 'upper_<name>' in
 * its folder (net/core/dev.c, netdev_adjacent_sysfs_add).
 */
export class HostNetAddresses implements NetAddresses {
  readonly #netFolder: string;
  readonly #interfaces: typeof networkInterfaces;

  constructor(sysfsRoot: string, interfaces: typeof networkInterfaces = networkInterfaces) {
    this.#netFolder = join(sysfsRoot, 'class/net');
    this.#interfaces = interfaces;
  }

  async of(netDevice: string): Promise<readonly string[]> {
    const all = this.#interfaces();
    const names = await this.#withUppers(netDevice);
    return [...new Set(names.flatMap((name) => all[name]?.map(({ address }) => address) ?? []))];
  }

  async #withUppers(netDevice: string): Promise<readonly string[]> {
    const found = new Set([netDevice]);
    let level = [netDevice];
    for (let depth = 0; depth < DEPTH_LIMIT && level.length > 0; depth++) {
      const above = await Promise.all(level.map((name) => this.#uppersOf(name)));
      level = above.flat().filter((name) => !found.has(name) && found.size < UPPER_LIMIT);
      for (const name of level) found.add(name);
    }
    return [...found];
  }

  /** None of a device that is not there: it may have been moved into a container's namespace since it was found. */
  async #uppersOf(name: string): Promise<readonly string[]> {
    const entries = await readdir(join(this.#netFolder, name)).catch(() => []);
    return entries.filter((entry) => entry.startsWith('upper_')).map((entry) => entry.slice('upper_'.length));
  }
}
