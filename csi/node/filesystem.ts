import { readFile } from 'node:fs/promises';
import { NabuError } from '../../common/errors/index.ts';
import type { FsType } from '../request/index.ts';
import { type BlockDevice, blockDeviceSize } from './block-device.ts';
import { runBound } from './bound-command.ts';
import { ext4Bytes } from './ext4-size.ts';
import type { CommandContext } from './mount-commands.ts';

/** blkid(8): nothing was recognised; several things were. */
const NOTHING = 2;
const AMBIVALENT = 8;
/** e2fsck(8): 1 and 2 are "errors corrected", from 4 on a person has to look. */
const CORRECTED = [1, 2];
const LAST_GROUP_BYTES = 8n << 20n;

/** What the device holds by its magic numbers: a file system, a partition table, ...; undefined when nothing is recognised. */
export async function probeContent(device: BlockDevice, context: CommandContext): Promise<string | undefined> {
  const probe = await runBound(['blkid', '-p', '-o', 'export', device.path], {
    ...context,
    okExitCodes: [NOTHING, AMBIVALENT],
  });
  if (probe.exitCode === AMBIVALENT) return 'several things at once';
  const found = new Map(
    probe.stdout.split('\n').flatMap((line) => {
      const at = line.indexOf('=');
      return at === -1 ? [] : [[line.slice(0, at), line.slice(at + 1)] as const];
    }),
  );
  const tableType = found.get('PTTYPE');
  return found.get('TYPE') ?? (tableType === undefined ? undefined : `a ${tableType} partition table`);
}

/** Lazy: the kernel zeroes inode tables later. No discard: the device is fresh, and the format marker must outlive the command. */
export async function makeFilesystem(
  device: BlockDevice,
  fsType: FsType,
  options: readonly string[],
  context: CommandContext,
): Promise<void> {
  const extended = 'nodiscard,lazy_itable_init=1,lazy_journal_init=1';
  const command: readonly [string, ...string[]] =
    fsType === 'ext4'
      ? ['mkfs.ext4', '-F', '-q', '-m', '0', '-E', extended, ...options, device.path]
      : ['mkfs.xfs', '-f', '-K', '-q', ...options, device.path];
  await runBound(command, context);
}

/** ext4 is checked as far as that needs no person; xfs repairs itself when it is mounted. */
export async function checkFilesystem(device: BlockDevice, fsType: FsType, context: CommandContext): Promise<void> {
  if (fsType !== 'ext4') return;
  try {
    await runBound(['e2fsck', '-p', device.path], { ...context, okExitCodes: CORRECTED });
  } catch (err) {
    if (!NabuError.is(err, 'COMMAND_FAILED')) throw err;
    const reason = 'its ext4 has errors that fsck does not correct by itself; the log of the plugin has its words';
    throw NabuError.of('FAILED_PRECONDITION', { operation: 'mounting the volume', reason }, { cause: err });
  }
}

/** capabilities(7): the kernel grows a mounted ext4 only for who has it (ext4_resize_begin). */
const CAP_SYS_RESOURCE = 24n;

async function mayGrowExt4(): Promise<boolean> {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(await readFile('/proc/self/status', 'utf8'))?.[1] ?? '0';
  return ((BigInt(`0x${effective}`) >> CAP_SYS_RESOURCE) & 1n) === 1n;
}

/** Online, to the whole of the device. */
export async function growFilesystem(
  mount: { readonly fsType: FsType; readonly device: BlockDevice; readonly path: string },
  context: CommandContext,
): Promise<void> {
  if (mount.fsType === 'xfs') {
    await runBound(['xfs_growfs', mount.path], context);
    return;
  }
  try {
    await runBound(['resize2fs', mount.device.path], context);
  } catch (err) {
    if (!NabuError.is(err, 'COMMAND_FAILED') || (await mayGrowExt4())) throw err;
    const reason = 'the plugin lacks CAP_SYS_RESOURCE; the device has grown, and its ext4 will when it is next staged';
    throw NabuError.of('FAILED_PRECONDITION', { operation: 'growing a mounted ext4', reason }, { cause: err });
  }
}

/** Before it is mounted: an ext4 smaller than its device was to be grown and could not be, or the node was away. */
export async function growUnmounted(device: BlockDevice, fsType: FsType, context: CommandContext): Promise<void> {
  if (fsType !== 'ext4') return;
  const [own, whole] = [await ext4Bytes(device), await blockDeviceSize(device)];
  // mkfs and resize2fs may leave a last group that is too small to be one.
  if (own === 0n || own + LAST_GROUP_BYTES >= whole) return;
  await runBound(['e2fsck', '-f', '-p', device.path], { ...context, okExitCodes: CORRECTED });
  await runBound(['resize2fs', device.path], context);
}
