import { NabuError } from '../../common/errors/index.ts';
import {
  BLOCK_BYTES,
  type BlobKey,
  MAX_BLOB_BYTES,
  roundUpToBlock,
  type StripeId,
  type WriterEpoch,
} from '../blob/index.ts';
import { ByteReader } from './byte-reader.ts';
import { ByteWriter } from './byte-writer.ts';
import { malformed } from './malformed.ts';

const MAGIC = 0x4853424e; // "NBSH"
const VERSION = 1;
const HIGH_WORD = 2 ** 32;
/** Shards of one stripe: the masks have 32 bits, codes go to 16 + 8. */
const MAX_SHARDS = 32;

export const SHARD_META_BYTES = 160;
export const MAX_SHARD_BYTES = MAX_BLOB_BYTES;

export const SHARD_FLAG = { log: 1, compaction: 2, degraded: 4 } as const;
const ALL_FLAGS = SHARD_FLAG.log | SHARD_FLAG.compaction | SHARD_FLAG.degraded;

export const SHARD_KIND = { shard: 1, tombstone: 2, ownerTombstone: 3, ownerState: 4, degradedMark: 5 } as const;
export type ShardKind = (typeof SHARD_KIND)[keyof typeof SHARD_KIND];

/**
 * What a shard is, on the wire and inside the store's record header: 160 bytes, little endian, followed by the CRC32C of
 * each 4 KiB block (docs/protocol.md).
 */
export type ShardMeta = {
  /** Bits of SHARD_FLAG. */
  readonly flags: number;
  readonly key: BlobKey;
  readonly stripeId: StripeId;
  /** 16 bytes: the volume's id, or zeros. */
  readonly owner: Uint8Array;
  readonly writer: WriterEpoch;
  /** Position in the owner's log; 0 unless it is a log blob. */
  readonly sequence: bigint;
  readonly stamp: bigint;
  readonly blobLength: number;
  /** Bytes of the whole shard, a multiple of 4096. */
  readonly shardLength: number;
  readonly k: number;
  readonly m: number;
  readonly shardIndex: number;
  readonly kind: ShardKind;
  readonly homeSetVersion: bigint;
  readonly mapEpoch: number;
  /** Bit i: shard i of this stripe is not at home. */
  readonly missingMask: number;
  /** In read replies: first byte of the payload within the shard; the checksums then cover the payload. */
  readonly rangeOffset: number;
};

/** Bytes of the descriptor of a shard with its checksums. */
export function shardMetaLength(payloadBytes: number): number {
  return SHARD_META_BYTES + 4 * (payloadBytes / BLOCK_BYTES);
}

const SHARD_INDEX_AT = 114;

/** 160 + 4 * crcs.length bytes. Throws INVALID_ARGUMENT for fields of a wrong length. */
export function encodeShardMeta(meta: ShardMeta, crcs: Uint32Array): Buffer {
  const out = new ByteWriter(SHARD_META_BYTES + 4 * crcs.length)
    .u32(MAGIC)
    .u16(VERSION)
    .u16(meta.flags)
    .bytes(meta.key, 32, 'key')
    .bytes(meta.stripeId, 16, 'stripeId')
    .bytes(meta.owner, 16, 'owner')
    .u64(meta.writer.generation)
    .u64(meta.writer.incarnation)
    .u64(meta.sequence)
    .u64(meta.stamp)
    .u32(meta.blobLength)
    .u32(meta.shardLength)
    .u8(meta.k)
    .u8(meta.m)
    .u8(meta.shardIndex)
    .u8(meta.kind)
    .u32(crcs.length)
    .u64(meta.homeSetVersion)
    .safe64(meta.mapEpoch)
    .u32(meta.missingMask)
    .u32(meta.rangeOffset)
    .zeros(16);
  const list = bytesOf(crcs);
  return out.bytes(list, list.length, 'crcs').done();
}

/** The descriptor of another shard of the same stripe, from that of one: a stripe's differ in little. */
export function withShard(descriptor: Buffer, shardIndex: number, crcs: Uint32Array): Buffer {
  const out = Buffer.allocUnsafe(descriptor.length);
  descriptor.copy(out, 0, 0, SHARD_META_BYTES);
  out[SHARD_INDEX_AT] = shardIndex;
  out.set(bytesOf(crcs), SHARD_META_BYTES);
  return out;
}

/** Every machine this runs on is little endian: the checksums are bytes as they lie. */
function bytesOf(crcs: Uint32Array): Uint8Array {
  return new Uint8Array(crcs.buffer, crcs.byteOffset, crcs.byteLength);
}

/**
 * The descriptor at the start of `bytes`, which holds its checksums and nothing more. Every field is checked:
 * PROTOCOL_ERROR names the first that is wrong.
 */
export function decodeShardMeta(bytes: Uint8Array): ShardMeta {
  const read = new ByteReader(bytes, 'shard descriptor');
  if (read.u32() !== MAGIC) throw malformed('shard descriptor: wrong magic');
  const version = read.u16();
  if (version !== VERSION) throw malformed(`shard descriptor: version ${version}, this release reads ${VERSION}`);
  const flags = read.u16();
  const key = read.bytes(32) as BlobKey;
  const stripeId = read.bytes(16) as StripeId;
  const owner = read.bytes(16);
  const writer = { generation: read.u64(), incarnation: read.u64() };
  const sequence = read.u64();
  const stamp = read.u64();
  const blobLength = read.u32();
  const shardLength = read.u32();
  const k = read.u8();
  const m = read.u8();
  const shardIndex = read.u8();
  const kind = read.u8() as ShardKind;
  const crcCount = read.u32();
  const homeSetVersion = read.u64();
  const mapEpoch = read.safe64();
  const missingMask = read.u32();
  const rangeOffset = read.u32();
  read.zeros(16);
  const meta: ShardMeta = {
    flags,
    key,
    stripeId,
    owner,
    writer,
    sequence,
    stamp,
    blobLength,
    shardLength,
    k,
    m,
    shardIndex,
    kind,
    homeSetVersion,
    mapEpoch,
    missingMask,
    rangeOffset,
  };
  const wrong = flawOf(meta, crcCount);
  if (wrong !== undefined) throw malformed(`shard descriptor: ${wrong}`);
  if (read.left !== 4 * crcCount) {
    throw malformed(`shard descriptor: ${read.left} bytes of checksums, ${4 * crcCount} are announced`);
  }
  return meta;
}

/** The checksums behind a descriptor, copied. Call after `decodeShardMeta` accepted it. */
export function decodeShardCrcs(bytes: Uint8Array): Uint32Array {
  const crcs = new Uint32Array((bytes.length - SHARD_META_BYTES) / 4);
  new Uint8Array(crcs.buffer).set(bytes.subarray(SHARD_META_BYTES));
  return crcs;
}

function flawOf(meta: ShardMeta, crcCount: number): string | undefined {
  const { k, m, shardIndex, kind, shardLength, blobLength, rangeOffset } = meta;
  if ((meta.flags & ~ALL_FLAGS) !== 0) return `unknown flags 0x${meta.flags.toString(16)}`;
  if (kind < SHARD_KIND.shard || kind > SHARD_KIND.degradedMark) return `unknown kind ${kind}`;
  if (blobLength > MAX_BLOB_BYTES) return `blob of ${blobLength} bytes, at most ${MAX_BLOB_BYTES}`;
  if (kind !== SHARD_KIND.shard)
    return crcCount === 0 ? undefined : `${crcCount} checksums on a record without payload`;
  if (k < 1 || k + m > MAX_SHARDS) return `a code of ${k}+${m}`;
  if (shardIndex >= k + m) return `shard ${shardIndex} of ${k + m}`;
  if (meta.missingMask >= 2 ** (k + m)) return `missing mask 0x${meta.missingMask.toString(16)} of ${k + m} shards`;
  const whole = roundUpToBlock(Math.max(1, Math.ceil(blobLength / k)));
  if (shardLength !== whole) return `shard of ${shardLength} bytes, a blob of ${blobLength} has ${whole}`;
  if (rangeOffset % BLOCK_BYTES !== 0) return `range begins at ${rangeOffset}, not on a block`;
  if (crcCount < 1 || rangeOffset + crcCount * BLOCK_BYTES > shardLength) {
    return `${crcCount} checksums from byte ${rangeOffset} of a shard of ${shardLength}`;
  }
  return undefined;
}

/** Throws INVALID_ARGUMENT unless the descriptor is of a whole shard, as a put must be. */
export function checkWholeShard(meta: ShardMeta, metaBytes: Uint8Array, payloadLength: number): void {
  if (meta.kind !== SHARD_KIND.shard) {
    throw NabuError.of('INVALID_ARGUMENT', { field: 'kind', reason: `${meta.kind} is not a shard` });
  }
  const covered = ((metaBytes.length - SHARD_META_BYTES) / 4) * BLOCK_BYTES;
  if (meta.rangeOffset !== 0 || covered !== meta.shardLength || payloadLength !== meta.shardLength) {
    throw NabuError.of('INVALID_ARGUMENT', {
      field: 'payload',
      reason: `has ${payloadLength} bytes and checksums for ${covered}, the shard has ${meta.shardLength}`,
    });
  }
}

/** Overwrites the map epoch of an encoded descriptor, so that a retry under a newer map need not encode it again. */
export function patchMapEpoch(metaBytes: Buffer, mapEpoch: number): void {
  metaBytes.writeUInt32LE(mapEpoch % HIGH_WORD, 128);
  metaBytes.writeUInt32LE(Math.floor(mapEpoch / HIGH_WORD), 132);
}
