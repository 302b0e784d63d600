import { NabuError } from '../../common/errors/index.ts';
import { refuse } from './fields.ts';

const BLOCK_BYTES = 4096n;
/** What a volume gets when nobody says how large it should be. */
export const DEFAULT_VOLUME_BYTES = 1n << 30n;
/** ext4 with its journal needs a few MiB; below this mkfs refuses. */
export const MIN_VOLUME_BYTES = 8n << 20n;
/** mkfs.xfs makes nothing smaller. */
export const MIN_XFS_BYTES = 300n << 20n;
/** The log's block addresses and the file offsets of the kernel end well above; ext4 ends at 64 TiB with 4 KiB blocks and 32-bit inodes of its journal. */
export const MAX_VOLUME_BYTES = 64n << 40n;

export type CapacityRange = { readonly requiredBytes: bigint; readonly limitBytes: bigint };

export type SizeBounds = { readonly minBytes: bigint; readonly maxBytes: bigint };

function checkRange(range: CapacityRange): void {
  const { requiredBytes, limitBytes } = range;
  if (requiredBytes < 0n) throw refuse('capacity_range.required_bytes', 'is negative');
  if (limitBytes < 0n) throw refuse('capacity_range.limit_bytes', 'is negative');
  if (requiredBytes === 0n && limitBytes === 0n) throw refuse('capacity_range', 'names neither a size nor a limit');
  if (limitBytes !== 0n && limitBytes < requiredBytes) {
    throw refuse('capacity_range', `the limit of ${limitBytes} bytes is below the required ${requiredBytes}`);
  }
}

function roundUp(bytes: bigint): bigint {
  return ((bytes + BLOCK_BYTES - 1n) / BLOCK_BYTES) * BLOCK_BYTES;
}

function outOfRange(reason: string): NabuError {
  return NabuError.of('OUT_OF_RANGE', { field: 'capacity_range', reason });
}

/** Whole blocks, at least what is required and never above the limit. Throws INVALID_ARGUMENT or OUT_OF_RANGE. */
export function chooseSize(range: CapacityRange | null, bounds: SizeBounds): bigint {
  if (range === null) return DEFAULT_VOLUME_BYTES > bounds.minBytes ? DEFAULT_VOLUME_BYTES : bounds.minBytes;
  checkRange(range);
  const limit = range.limitBytes === 0n ? bounds.maxBytes : range.limitBytes;
  const wanted = range.requiredBytes === 0n ? smaller(DEFAULT_VOLUME_BYTES, limit) : range.requiredBytes;
  // A limit alone that is no multiple of a block is met by rounding down.
  const rounded = range.requiredBytes === 0n ? wanted - (wanted % BLOCK_BYTES) : roundUp(wanted);
  const size = rounded < bounds.minBytes ? bounds.minBytes : rounded;
  if (size > bounds.maxBytes) throw outOfRange(`a volume has at most ${bounds.maxBytes} bytes`);
  if (size > limit) {
    throw outOfRange(
      `no volume fits the limit of ${limit} bytes: sizes are multiples of 4096, at least ${bounds.minBytes}`,
    );
  }
  return size;
}

/** The size a volume of `currentBytes` has to grow to; its own size when it is large enough already. */
export function chooseExpandedSize(range: CapacityRange | null, currentBytes: bigint): bigint {
  if (range === null) throw refuse('capacity_range', 'is missing');
  checkRange(range);
  const wanted = roundUp(range.requiredBytes);
  const size = wanted > currentBytes ? wanted : currentBytes;
  if (size > MAX_VOLUME_BYTES) throw outOfRange(`a volume has at most ${MAX_VOLUME_BYTES} bytes`);
  if (range.limitBytes !== 0n && size > range.limitBytes) {
    throw outOfRange(`the volume would have ${size} bytes and volumes do not shrink`);
  }
  return size;
}

function smaller(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}
