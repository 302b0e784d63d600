import { basename } from 'node:path';
import { type DeviceNode, nodeFiles, type PciFunction, type TreeEntry, type TreeFiles } from '../discovery/index.ts';
import { devicePathHere, type HostPaths } from './host-paths.ts';

export type DeviceCheckOptions = {
  readonly files?: TreeFiles;
  /** For recorded machines, where device files are files of another kind. */
  readonly isCharDevice?: (entry: TreeEntry) => boolean;
};

/** The last look at a device before a container starts, past everything that is remembered of the machine. */
export class DeviceCheck {
  readonly #roots: HostPaths['roots'];
  readonly #files: TreeFiles;
  readonly #isCharDevice: (entry: TreeEntry) => boolean;

  constructor({ roots }: Pick<HostPaths, 'roots'>, options: DeviceCheckOptions = {}) {
    this.#roots = roots;
    this.#files = options.files ?? nodeFiles;
    this.#isCharDevice = options.isCharDevice ?? (({ kind }) => kind === 'char-device');
  }

  /** What is wrong with a device file; undefined when it is what it was. */
  async deviceFile({ path, major, minor }: DeviceNode): Promise<string | undefined> {
    let entry: TreeEntry;
    try {
      entry = await this.#files.entry(devicePathHere({ roots: this.#roots }, path));
    } catch (err) {
      return `${path} ${lookFailure(err)}`;
    }
    if (!this.#isCharDevice(entry)) return `${path} is not a character device`;
    const { device } = entry;
    if (device === null || (device.major === major && device.minor === minor)) return undefined;
    return `${path} is device ${device.major}:${device.minor}, it was ${major}:${minor}`;
  }

  /** What is wrong with the driver of a function; undefined when it is the one that it was. */
  async driver({ address, driver }: PciFunction): Promise<string | undefined> {
    try {
      const link = await this.#files.link(`${this.#roots.sysfsRoot}/bus/pci/devices/${address}/driver`);
      const bound = link === null ? null : basename(link);
      return bound === driver
        ? undefined
        : `${address} is bound to ${bound ?? 'nothing'}, it was to ${driver ?? 'nothing'}`;
    } catch (err) {
      return `the driver of ${address} ${lookFailure(err)}`;
    }
  }
}

function lookFailure(err: unknown): string {
  const code: unknown = Reflect.get(Object(err), 'code');
  return code === 'ENOENT' ? 'is gone' : `cannot be looked at: ${String(code)}`;
}
