import { constants } from 'node:fs';
import { access, readFile, stat } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { ecDrivers } from '../engine/ec/index.ts';

export type DriverState =
  | { readonly available: true; readonly note: string }
  /** `missing` names what would make it available. */
  | { readonly available: false; readonly missing: string };
export type DriverRow = { readonly port: string; readonly driver: string } & DriverState;

type Driver = { readonly port: string; readonly driver: string; readonly probe: () => Promise<DriverState> };

const yes = (note = ''): DriverState => ({ available: true, note });
const no = (missing: string): DriverState => ({ available: false, missing });

/** Ports whose drivers are planned: asked for, they are refused with the same words (DRIVER_UNAVAILABLE). */
const NOT_IN_THIS_RELEASE: readonly (readonly [port: string, driver: string, needs: string])[] = [
  ['Device', 'spdk', 'an SPDK build and NVMe devices bound to vfio-pci'],
  ['Transport', 'dpdk', 'a DPDK build and a network device bound to vfio-pci'],
  ['Transport', 'rdma', 'rdma-core and an RDMA device under /sys/class/infiniband'],
  ['ResourceStore', 'kubernetes', 'the custom resources of the operator'],
  ['BlockFrontend', 'nvmf', 'the kernel module nvme-tcp'],
  ['BlockFrontend', 'ublk', 'the kernel module ublk_drv'],
];

async function readable(path: string): Promise<string> {
  return await readFile(path, 'utf8').catch(() => '');
}

async function programInPath(name: string): Promise<boolean> {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const found = await access(join(folder, name), constants.X_OK).then(
      () => true,
      () => false,
    );
    if (found) return true;
  }
  return false;
}

async function program(name: string, debianPackage: string): Promise<DriverState> {
  return (await programInPath(name)) ? yes() : no(`the program ${name} (Debian package ${debianPackage})`);
}

async function ioUring(): Promise<DriverState> {
  const disabled = (await readable('/proc/sys/kernel/io_uring_disabled')).trim();
  if (disabled === '2') return no('kernel.io_uring_disabled is 2: set it to 0');
  const [major = 0, minor = 0] = (await readable('/proc/sys/kernel/osrelease')).split('.').map(Number);
  if (major < 5 || (major === 5 && minor < 10)) return no('Linux 5.10 or later');
  return yes('files and block devices, O_DIRECT');
}

async function fuseLoop(): Promise<DriverState> {
  const fuse = await stat('/dev/fuse').catch(() => undefined);
  if (fuse?.isCharacterDevice() !== true) return no('/dev/fuse (kernel module fuse)');
  const loop = await stat('/dev/loop-control').catch(() => undefined);
  if (loop?.isCharacterDevice() !== true) return no('/dev/loop-control (kernel module loop)');
  if (process.geteuid?.() !== 0) return no('root: mount(2) and LOOP_CONFIGURE need CAP_SYS_ADMIN');
  const [major = 0, minor = 0] = (await readable('/proc/sys/kernel/osrelease')).split('.').map(Number);
  if (major < 6 || (major === 6 && minor < 9)) return no('Linux 6.9 or later (FUSE_NOTIFY_RESEND)');
  return yes();
}

/** Bit 24 of CapEff is CAP_SYS_RESOURCE (capabilities(7)); PR_SET_IO_FLUSHER needs it (prctl(2)). */
async function ioFlusher(): Promise<DriverState> {
  const match = /^CapEff:\s*([0-9a-f]+)$/m.exec(await readable('/proc/self/status'));
  const held = (BigInt(`0x${match?.[1] ?? '0'}`) >> 24n) & 1n;
  return held === 1n
    ? yes()
    : no('CAP_SYS_RESOURCE: the dirty limits of each loop device alone protect the write-back path');
}

async function hugePages(): Promise<DriverState> {
  const total = Number((await readable('/proc/sys/vm/nr_hugepages')).trim() || '0');
  return total > 0 ? yes(`${total} pages of 2 MiB`) : no('vm.nr_hugepages above 0');
}

function drivers(): Driver[] {
  const coders = ecDrivers().erasureCoding.map((driver): Driver => {
    const state = driver.available ? yes() : no(driver.reason);
    return { port: 'ErasureCoder', driver: driver.name, probe: async () => state };
  });
  return [
    ...coders,
    { port: 'Device', driver: 'uring', probe: ioUring },
    { port: 'Device', driver: 'memory', probe: async () => yes('for tests: nothing survives the process') },
    { port: 'Transport', driver: 'tcp', probe: async () => yes('without TLS: loopback unless told otherwise') },
    { port: 'ResourceStore', driver: 'sqlite', probe: async () => yes() },
    { port: 'BlockFrontend', driver: 'fuse-loop', probe: fuseLoop },
    ...NOT_IN_THIS_RELEASE.map(
      ([port, driver, needs]): Driver => ({
        port,
        driver,
        probe: async () => no(`a later release of NabuStore, and ${needs}`),
      }),
    ),
    { port: 'Host', driver: 'huge-pages', probe: hugePages },
    { port: 'Host', driver: 'io-flusher', probe: ioFlusher },
    { port: 'Host', driver: 'mkfs.ext4', probe: () => program('mkfs.ext4', 'e2fsprogs') },
    { port: 'Host', driver: 'mkfs.xfs', probe: () => program('mkfs.xfs', 'xfsprogs') },
  ];
}

/** Every driver of every port: available, or what is missing. */
export async function probeDrivers(): Promise<DriverRow[]> {
  return await Promise.all(drivers().map(async ({ port, driver, probe }) => ({ port, driver, ...(await probe()) })));
}
