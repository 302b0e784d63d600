import { type FileHandle, open } from 'node:fs/promises';
import { NabuError } from '../../common/errors/index.ts';
import type { VolumeId } from '../../engine/blob/index.ts';
import type { FsType } from '../request/index.ts';
import { type BlockDevice, blockDeviceSize } from './block-device.ts';
import { checkFilesystem, growUnmounted, makeFilesystem, probeContent } from './filesystem.ts';
import { clearFormatMarker, hasFormatMarker, setFormatMarker } from './format-marker.ts';
import type { CommandContext } from './mount-commands.ts';

export type FormatPlan = {
  readonly volumeId: VolumeId;
  readonly fsType: FsType;
  readonly mkfsOptions: readonly string[];
  readonly readOnly: boolean;
};

/** Magic numbers lie near an end of a device; these bytes at each end must be zero as well. */
const END_BYTES = 1 << 20;
const ZEROES = Buffer.alloc(END_BYTES);

async function isZero(file: FileHandle, offset: number, length: number): Promise<boolean> {
  const buffer = Buffer.allocUnsafe(length);
  for (let done = 0; done < length; ) {
    const { bytesRead } = await file.read(buffer, done, length - done, offset + done);
    if (bytesRead === 0) return false; // shorter than it says it is: no reason to believe in the rest
    done += bytesRead;
  }
  return buffer.equals(ZEROES.subarray(0, length));
}

async function hasZeroEnds(file: FileHandle, deviceBytes: bigint): Promise<boolean> {
  const size = Number(deviceBytes);
  const length = Math.min(END_BYTES, size);
  return (await isZero(file, 0, length)) && (await isZero(file, size - length, length));
}

/**
 * Leaves the wanted file system on the device, made now if the device is blank. Whatever else it holds stays: VOLUME_NOT_BLANK.
 * May be interrupted at any point and called again.
 */
export async function ensureFilesystem(device: BlockDevice, plan: FormatPlan, context: CommandContext): Promise<void> {
  const file = await open(device.path, plan.readOnly ? 'r' : 'r+');
  try {
    const deviceBytes = await blockDeviceSize(device);
    if (!(await hasFormatMarker(file, deviceBytes, plan.volumeId))) {
      const found = await probeContent(device, context);
      if (found === plan.fsType) {
        if (!plan.readOnly) {
          await checkFilesystem(device, plan.fsType, context);
          await growUnmounted(device, plan.fsType, context);
        }
        return;
      }
      if (found !== undefined || !(await hasZeroEnds(file, deviceBytes))) throw notBlank(plan, found);
    }
    if (plan.readOnly) {
      const reason = 'the volume is blank, and attached read-only no file system can be made on it';
      throw NabuError.of('FAILED_PRECONDITION', { operation: 'mounting the volume', reason });
    }
    await setFormatMarker(file, deviceBytes, plan.volumeId);
    context.logger.info('formatting a blank volume', { volumeId: plan.volumeId, fsType: plan.fsType });
    await makeFilesystem(device, plan.fsType, plan.mkfsOptions, context);
    await clearFormatMarker(file, deviceBytes, plan.volumeId);
  } finally {
    await file.close();
  }
}

function notBlank(plan: FormatPlan, found: string | undefined): NabuError {
  return NabuError.of('VOLUME_NOT_BLANK', {
    volumeId: plan.volumeId,
    found: found ?? 'bytes that are no known format',
    wanted: plan.fsType,
  });
}
