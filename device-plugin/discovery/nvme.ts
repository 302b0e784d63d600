import { line, wholeNumber } from './attribute.ts';
import { type DeviceNode, deviceNodeOf } from './device-node.ts';
import type { PciFunction } from './pci.ts';
import { pciPlaceOf } from './pci.ts';
import { byName, eachInTurn, type Survey } from './survey.ts';

/** A namespace as a block device. `sizeBytes` is exact; up to 2^53 bytes (9 PB). */
export type NvmeNamespace = {
  readonly name: string;
  readonly id: number | null;
  readonly sizeBytes: number | null;
  readonly logicalBlockBytes: number | null;
  readonly wwid: string | null;
};

/** What the nvme driver says of a controller (drivers/nvme/host/sysfs.c). */
export type NvmeController = {
  readonly name: string;
  readonly model: string | null;
  readonly serial: string | null;
  readonly firmware: string | null;
  /** 'pcie', 'tcp', 'rdma', ... */
  readonly transport: string | null;
  /** 'live', 'resetting', 'connecting', 'deleting', 'dead', ... */
  readonly state: string | null;
  readonly namespaces: readonly NvmeNamespace[];
};

/**
 * An NVMe device: a PCI function (bound to nvme, to vfio-pci, or to nothing), or a controller over a fabric, which has no PCI
 * function. `vfioDevice` is the function's own device file where the kernel has vfio cdevs (CONFIG_VFIO_DEVICE_CDEV).
 */
export type NvmeDevice = {
  readonly pci: PciFunction | null;
  readonly controller: NvmeController | null;
  readonly vfioDevice: DeviceNode | null;
};

/** PCI base class 01, subclass 08: non-volatile memory (NVM Express, PCIe transport, 3.1.1). */
const NVME_CLASS = /^0108/;
/** The size attribute counts these whatever the device's own blocks are (Documentation/ABI/stable/sysfs-block). */
const SECTOR_BYTES = 512;

/** nvme0c1n2, the path of a multipath namespace through one controller, is read and written as nvme0n2. */
export function namespaceNameOf(entry: string): string | undefined {
  const match = /^(nvme\d+)(?:c\d+)?(n\d+)$/.exec(entry);
  return match === null ? undefined : `${match[1]}${match[2]}`;
}

/** The devices on PCI by address, then those over a fabric by name. */
export async function discoverNvme(survey: Survey, functions: readonly PciFunction[]): Promise<readonly NvmeDevice[]> {
  const { sys } = survey;
  const local = await eachInTurn(
    functions.filter((pci) => pci.class !== null && NVME_CLASS.test(pci.class)),
    async (pci): Promise<NvmeDevice> => {
      const at = `bus/pci/devices/${pci.address}`;
      const [name] = pci.driver === 'nvme' ? await survey.names(sys, `${at}/nvme`, /^nvme\d+$/) : [];
      return {
        pci,
        controller: name === undefined ? null : await controllerAt(survey, `${at}/nvme/${name}`, name),
        vfioDevice: pci.driver === 'vfio-pci' ? await vfioDeviceOf(survey, at) : null,
      };
    },
  );
  const names = await survey.names(sys, 'class/nvme', /^nvme\d+$/);
  const remote = await eachInTurn([...names].sort(byName), async (name): Promise<NvmeDevice | null> => {
    const path = await survey.target(sys, `class/nvme/${name}`, 'finding');
    if (path === null || pciPlaceOf(path).address !== null) return null;
    return { pci: null, controller: await controllerAt(survey, `class/nvme/${name}`, name), vfioDevice: null };
  });
  return [...local, ...remote];
}

async function controllerAt(survey: Survey, at: string, name: string): Promise<NvmeController> {
  const { sys } = survey;
  return {
    name,
    model: await survey.value(sys, `${at}/model`, line),
    serial: await survey.value(sys, `${at}/serial`, line),
    firmware: await survey.value(sys, `${at}/firmware_rev`, line),
    transport: await survey.value(sys, `${at}/transport`, line),
    state: await survey.value(sys, `${at}/state`, line),
    namespaces: await namespacesOf(survey, at),
  };
}

async function namespacesOf(survey: Survey, controller: string): Promise<readonly NvmeNamespace[]> {
  const { sys } = survey;
  const entries = await survey.names(sys, controller, /^nvme\d+(c\d+)?n\d+$/);
  return await eachInTurn([...entries].sort(byName), async (entry): Promise<NvmeNamespace | null> => {
    const at = `${controller}/${entry}`;
    const name = namespaceNameOf(entry);
    if (name === undefined) return null;
    const sectors = await survey.value(sys, `${at}/size`, wholeNumber);
    const sizeBytes = sectors === null ? null : sectors * SECTOR_BYTES;
    return {
      name,
      id: await survey.value(sys, `${at}/nsid`, wholeNumber, 'normal'),
      sizeBytes: Number.isSafeInteger(sizeBytes) ? sizeBytes : null,
      logicalBlockBytes: await survey.value(sys, `${at}/queue/logical_block_size`, wholeNumber),
      wwid: await survey.value(sys, `${at}/wwid`, line, 'normal'),
    };
  });
}

/** <function>/vfio-dev/vfio<n> (Documentation/ABI/testing/sysfs-devices-vfio-dev), from kernel 6.6 on. */
async function vfioDeviceOf(survey: Survey, at: string): Promise<DeviceNode | null> {
  const [name] = await survey.names(survey.sys, `${at}/vfio-dev`, /^vfio\d+$/);
  return name === undefined ? null : await deviceNodeOf(survey, `${at}/vfio-dev/${name}`);
}
