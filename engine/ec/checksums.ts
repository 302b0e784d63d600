import { nativeCall } from './native.ts';

/** A slab with an offset, or a view of one: the offset counts from the start of what is given. */
export type ByteSource = ArrayBuffer | ArrayBufferView;

/** CRC32C (Castagnoli), going on from `crc`, which is that of what came before. Throws OUT_OF_RANGE, INVALID_ARGUMENT. */
export function crc32c(bytes: ByteSource, offset = 0, length = bytes.byteLength - offset, crc = 0): number {
  return nativeCall((ec) => ec.crc32c(bytes, offset, length, crc));
}

/** One CRC32C for each 4 KiB, the last for what is left, into out[0..ceil(length / 4096)). Throws as crc32c does. */
export function crc32cBlocks(bytes: ByteSource, offset: number, length: number, out: Uint32Array): void {
  nativeCall((ec) => ec.crc32cBlocks(bytes, offset, length, out));
}

/** Index of the first 4 KiB block whose CRC32C is not the one in crcs, or -1. Throws as crc32c does. */
export function verifyBlocks(bytes: ByteSource, offset: number, length: number, crcs: Uint32Array): number {
  return nativeCall((ec) => ec.verifyBlocks(bytes, offset, length, crcs));
}
