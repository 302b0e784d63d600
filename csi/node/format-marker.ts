import type { FileHandle } from 'node:fs/promises';
import { crc32 } from 'node:zlib';

// "This volume was blank and is being formatted": written before mkfs and taken away after it, always before the first mount.
// A crash in between leaves a device that is neither blank nor a file system; the marker proves that nobody ever used it, also
// to another node, so that formatting may begin again.

const BLOCK_BYTES = 4096;
const MAGIC = 'NABUFMT1';
const GROUP_BYTES = 128 << 20;
const GROUP_HEAD_BYTES = 16 << 20;

/**
 * Where neither mkfs.ext4 nor mkfs.xfs writes: away from the ends, from the middle (journals) and from the beginning of a block
 * group (copies of the superblock). Were it written over all the same, the marker would merely be lost.
 */
export function markerOffset(deviceBytes: bigint): number {
  const third = Number((deviceBytes * 3n) / 8n);
  const aligned = third - (third % BLOCK_BYTES);
  const intoGroup = aligned % GROUP_BYTES;
  const moved = intoGroup < GROUP_HEAD_BYTES ? aligned - intoGroup + GROUP_HEAD_BYTES : aligned;
  return moved + BLOCK_BYTES <= Number(deviceBytes / 2n) ? moved : aligned;
}

function markerBlock(volumeId: string): Buffer {
  const block = Buffer.alloc(BLOCK_BYTES);
  block.write(`${MAGIC}\n${volumeId}\n`, 'latin1');
  block.writeUInt32LE(crc32(block.subarray(0, BLOCK_BYTES - 4)), BLOCK_BYTES - 4);
  return block;
}

async function readBlock(file: FileHandle, offset: number): Promise<Buffer> {
  const block = Buffer.alloc(BLOCK_BYTES);
  await file.read(block, 0, BLOCK_BYTES, offset);
  return block;
}

export async function hasFormatMarker(file: FileHandle, deviceBytes: bigint, volumeId: string): Promise<boolean> {
  return (await readBlock(file, markerOffset(deviceBytes))).equals(markerBlock(volumeId));
}

/** Durable when it resolves. */
export async function setFormatMarker(file: FileHandle, deviceBytes: bigint, volumeId: string): Promise<void> {
  await file.write(markerBlock(volumeId), 0, BLOCK_BYTES, markerOffset(deviceBytes));
  await file.sync();
}

/** Zeroes the marker if it is there still; what mkfs wrote in its place stays. Durable when it resolves. */
export async function clearFormatMarker(file: FileHandle, deviceBytes: bigint, volumeId: string): Promise<void> {
  if (await hasFormatMarker(file, deviceBytes, volumeId)) {
    await file.write(Buffer.alloc(BLOCK_BYTES), 0, BLOCK_BYTES, markerOffset(deviceBytes));
  }
  await file.sync();
}
