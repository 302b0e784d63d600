import { Blake3Hasher, blake3 } from '@napi-rs/blake-hash';
import { type BlobKey, blobKey, ownerOf, type VolumeId } from './ids.ts';
import type { WriterEpoch } from './writer-epoch.ts';

const LOG_PREFIX = Buffer.from('nabu-log\0', 'latin1');
const OWNER_AT = LOG_PREFIX.length;
const GENERATION_AT = OWNER_AT + 16;
const INCARNATION_AT = GENERATION_AT + 8;
const SEQUENCE_AT = INCARNATION_AT + 8;
const LOG_NAME_BYTES = SEQUENCE_AT + 8;

/** The key of a blob that is named by its bytes: their BLAKE3-256. */
export function contentKey(bytes: Uint8Array): BlobKey {
  return blobKey(blake3(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)));
}

/** The key of the same bytes given in pieces. */
export function contentKeyOf(pieces: Iterable<Uint8Array>): BlobKey {
  const hasher = new Blake3Hasher();
  for (const piece of pieces) hasher.update(Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength));
  return blobKey(hasher.digestBuffer());
}

/**
 * The key of a volume's log blob. The writer epoch is part of it, so that two writers never meet on one name.
 * BLAKE3-256("nabu-log" 0x00, volume id, generation u64 LE, incarnation u64 LE, sequence u64 LE).
 */
export function logKey(volume: VolumeId, epoch: WriterEpoch, sequence: bigint): BlobKey {
  const name = Buffer.allocUnsafe(LOG_NAME_BYTES);
  LOG_PREFIX.copy(name, 0);
  name.set(ownerOf(volume), OWNER_AT);
  name.writeBigUInt64LE(epoch.generation, GENERATION_AT);
  name.writeBigUInt64LE(epoch.incarnation, INCARNATION_AT);
  name.writeBigUInt64LE(sequence, SEQUENCE_AT);
  return blobKey(blake3(name));
}
