import type { BlobKey, StripeId } from '../blob/index.ts';
import { BLOCK_BYTES } from '../blob/index.ts';
import type { AppendResult, DegradedMark, LookupAnswer, LookupState, ShardSummary } from '../store/index.ts';
import { ByteReader } from './byte-reader.ts';
import { ByteWriter } from './byte-writer.ts';
import { malformed } from './malformed.ts';
import { MAX_SHARD_BYTES } from './shard-meta.ts';

// Messages about shards. Layouts: docs/protocol.md. Decoders check every field and throw PROTOCOL_ERROR.

export const ANY_SHARD = 255;
export const MAX_LOOKUP_KEYS = 4096;
export const MAX_DELETE_KEYS = 1024;
const MAX_SHARDS_PER_KEY = 1024;
const SUMMARY_BYTES = 36;
const APPEND_RESULTS: readonly AppendResult[] = ['stored', 'exists', 'deleted'];
const LOOKUP_STATES: readonly LookupState[] = ['found', 'absent', 'unknown'];
const READ_FAILURES = ['absent', 'unknown', 'corrupt'] as const;
const ZERO_STRIPE = new Uint8Array(16);

const STORED = Buffer.alloc(0);

/** `stored`, the ordinary answer, is no meta at all: one read less for the one who waits for it. */
export function encodePutAnswer(result: AppendResult): Buffer {
  return result === 'stored' ? STORED : Buffer.of(APPEND_RESULTS.indexOf(result));
}

export function decodePutAnswer(bytes: Uint8Array): AppendResult {
  if (bytes.length === 0) return 'stored';
  const result = APPEND_RESULTS[bytes[0] ?? 0];
  if (bytes.length !== 1 || result === undefined || result === 'stored') throw malformed('put answer: unknown result');
  return result;
}

/** Which shard, and which of its bytes. */
export type ShardSelector = {
  readonly key: BlobKey;
  /** null: any stripe of the key, the newest first. */
  readonly stripeId: StripeId | null;
  /** ANY_SHARD: any shard of the stripe. */
  readonly shardIndex: number;
  /** Multiples of 4096; rangeLength 0: to the end of the shard. */
  readonly rangeOffset: number;
  readonly rangeLength: number;
  /** Oldest stamp the blob can have; a store younger than it does not say absent. Default 0n: any age. */
  readonly askStamp?: bigint;
};

export function encodeReadRequest(select: ShardSelector): Buffer {
  return new ByteWriter(68)
    .bytes(select.key, 32, 'key')
    .bytes(select.stripeId ?? ZERO_STRIPE, 16, 'stripeId')
    .u64(select.askStamp ?? 0n)
    .u32(select.rangeOffset)
    .u32(select.rangeLength)
    .flag(select.stripeId !== null)
    .u8(select.shardIndex)
    .zeros(2)
    .done();
}

export function decodeReadRequest(bytes: Uint8Array): Required<ShardSelector> {
  const read = new ByteReader(bytes, 'read request');
  const key = read.bytes(32) as BlobKey;
  const stripe = read.bytes(16) as StripeId;
  const askStamp = read.u64();
  const rangeOffset = read.atMost(read.u32(), MAX_SHARD_BYTES, 'range offset');
  const rangeLength = read.atMost(read.u32(), MAX_SHARD_BYTES, 'range length');
  const stripeId = read.flag() ? stripe : null;
  const shardIndex = read.u8();
  read.zeros(2);
  read.end();
  if (rangeOffset % BLOCK_BYTES !== 0 || rangeLength % BLOCK_BYTES !== 0) {
    throw malformed('read request: the range is not of whole blocks');
  }
  return { key, stripeId, shardIndex, rangeOffset, rangeLength, askStamp };
}

/** Why a read has no payload. A read that has one answers with the shard's descriptor and checksums instead. */
export type ReadFailure = (typeof READ_FAILURES)[number];

export function encodeReadFailure(failure: ReadFailure): Buffer {
  return Buffer.of(READ_FAILURES.indexOf(failure));
}

export function decodeReadFailure(bytes: Uint8Array): ReadFailure {
  const failure = READ_FAILURES[bytes[0] ?? READ_FAILURES.length];
  if (bytes.length !== 1 || failure === undefined) throw malformed('read answer: unknown failure');
  return failure;
}

export function encodeLookupRequest(keys: readonly BlobKey[], askStamp: bigint): Buffer {
  const out = new ByteWriter(12 + 32 * keys.length).u64(askStamp).u32(keys.length);
  for (const key of keys) out.bytes(key, 32, 'key');
  return out.done();
}

export function decodeLookupRequest(bytes: Uint8Array): { keys: BlobKey[]; askStamp: bigint } {
  const read = new ByteReader(bytes, 'lookup request');
  const askStamp = read.u64();
  const count = read.atMost(read.u32(), MAX_LOOKUP_KEYS, 'number of keys');
  const keys: BlobKey[] = [];
  for (let i = 0; i < count; i++) keys.push(read.bytes(32) as BlobKey);
  read.end();
  return { keys, askStamp };
}

export function encodeLookupAnswers(answers: readonly LookupAnswer[]): Buffer {
  let lengthBytes = 4;
  for (const answer of answers) lengthBytes += 12 + SUMMARY_BYTES * answer.shards.length;
  const out = new ByteWriter(lengthBytes).u32(answers.length);
  for (const answer of answers) {
    out.u8(LOOKUP_STATES.indexOf(answer.state)).zeros(1).u16(answer.shards.length).u64(answer.deletedStamp);
    for (const shard of answer.shards) encodeSummary(out, shard);
  }
  return out.done();
}

function encodeSummary(out: ByteWriter, shard: ShardSummary): void {
  out
    .bytes(shard.stripeId, 16, 'stripeId')
    .u64(shard.stamp)
    .u32(shard.blobLength)
    .u32(shard.shardLength)
    .u8(shard.shardIndex)
    .u8(shard.k)
    .u8(shard.m)
    .zeros(1);
}

export function decodeLookupAnswers(bytes: Uint8Array, expected: number): LookupAnswer[] {
  const read = new ByteReader(bytes, 'lookup answer');
  const count = read.u32();
  if (count !== expected) throw malformed(`lookup answer: ${count} answers to ${expected} keys`);
  const answers: LookupAnswer[] = [];
  for (let i = 0; i < count; i++) {
    const state = LOOKUP_STATES[read.u8()];
    if (state === undefined) throw malformed('lookup answer: unknown state');
    read.zeros(1);
    const shardCount = read.atMost(read.u16(), MAX_SHARDS_PER_KEY, 'number of shards');
    const deletedStamp = read.u64();
    const shards: ShardSummary[] = [];
    for (let at = 0; at < shardCount; at++) shards.push(decodeSummary(read));
    answers.push({ state, shards, deletedStamp });
  }
  read.end();
  return answers;
}

function decodeSummary(read: ByteReader): ShardSummary {
  const stripeId = read.bytes(16) as StripeId;
  const stamp = read.u64();
  const blobLength = read.u32();
  const shardLength = read.u32();
  const shardIndex = read.u8();
  const k = read.u8();
  const m = read.u8();
  read.zeros(1);
  if (k === 0 || shardIndex >= k + m) throw malformed(`lookup answer: shard ${shardIndex} of a code of ${k}+${m}`);
  return { stripeId, shardIndex, k, m, blobLength, shardLength, stamp };
}

export function encodeDelete(keys: readonly BlobKey[], stamp: bigint): Buffer {
  const out = new ByteWriter(12 + 32 * keys.length).u64(stamp).u32(keys.length);
  for (const key of keys) out.bytes(key, 32, 'key');
  return out.done();
}

export function decodeDelete(bytes: Uint8Array): { keys: BlobKey[]; stamp: bigint } {
  const read = new ByteReader(bytes, 'delete request');
  const stamp = read.u64();
  const count = read.atMost(read.u32(), MAX_DELETE_KEYS, 'number of keys');
  const keys: BlobKey[] = [];
  for (let i = 0; i < count; i++) keys.push(read.bytes(32) as BlobKey);
  read.end();
  return { keys, stamp };
}

export function encodeDegradedMark(mark: DegradedMark): Buffer {
  return new ByteWriter(52)
    .bytes(mark.key, 32, 'key')
    .bytes(mark.stripeId, 16, 'stripeId')
    .u32(mark.missingMask)
    .done();
}

export function decodeDegradedMark(bytes: Uint8Array): DegradedMark {
  const read = new ByteReader(bytes, 'degraded mark');
  const mark = {
    key: read.bytes(32) as BlobKey,
    stripeId: read.bytes(16) as StripeId,
    missingMask: read.u32(),
  };
  read.end();
  return mark;
}
