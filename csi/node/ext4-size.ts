import { type FileHandle, open } from 'node:fs/promises';
import type { BlockDevice } from './block-device.ts';

// Linux Documentation/filesystems/ext4/super.rst
const SUPERBLOCK_OFFSET = 1024;
const SUPERBLOCK_BYTES = 1024;
const BLOCKS_COUNT_LO = 0x4;
const LOG_BLOCK_SIZE = 0x18;
const MAGIC_OFFSET = 0x38;
const MAGIC = 0xef53;
const BLOCKS_COUNT_HI = 0x150;

async function readSuperblock(file: FileHandle): Promise<Buffer> {
  const block = Buffer.alloc(SUPERBLOCK_BYTES);
  await file.read(block, 0, SUPERBLOCK_BYTES, SUPERBLOCK_OFFSET);
  return block;
}

/** Bytes that the ext4 of an unmounted device covers; 0 when it has none. */
export async function ext4Bytes(device: Pick<BlockDevice, 'path'>): Promise<bigint> {
  const file = await open(device.path, 'r');
  try {
    const block = await readSuperblock(file);
    if (block.readUInt16LE(MAGIC_OFFSET) !== MAGIC) return 0n;
    const blocks = (BigInt(block.readUInt32LE(BLOCKS_COUNT_HI)) << 32n) | BigInt(block.readUInt32LE(BLOCKS_COUNT_LO));
    return blocks << BigInt(10 + block.readUInt32LE(LOG_BLOCK_SIZE));
  } finally {
    await file.close();
  }
}
