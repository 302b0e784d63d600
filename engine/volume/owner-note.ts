import { crc32 } from 'node:zlib';
import { NabuError } from '../../common/errors/index.ts';
import { compareWriterEpochs, type Policy, parsePolicy, type Stamp, type WriterEpoch } from '../blob/index.ts';

/** A writer epoch began: what its predecessor wrote is history up to `cutSequence`, and dead for ever beyond. */
export type OpenRecord = {
  readonly epoch: WriterEpoch;
  readonly prevEpoch: WriterEpoch;
  readonly cutSequence: bigint;
  /** When the opener began: nothing of this epoch is older. */
  readonly stamp: Stamp;
};

/** Where replay begins. */
export type CheckpointPosition = {
  /** Who wrote the root's log blob, and where it lies in the log. */
  readonly epoch: WriterEpoch;
  readonly rootSequence: bigint;
  /** Everything up to here is in the checkpoint; replay begins at the next. */
  readonly throughSequence: bigint;
  /** The log blob with the table of writer epochs of all live sequences up to here, written by `epoch` too. */
  readonly tableSequence: bigint;
};

/** What an opener must find without control; lies beside the fence on every home node. */
export type OwnerNote = {
  readonly epoch: WriterEpoch;
  /** Counts the notes of one epoch. */
  readonly counter: number;
  readonly stamp: Stamp;
  readonly sizeBytes: bigint;
  readonly policy: Policy;
  readonly checkpoint: CheckpointPosition | undefined;
  /** Since the checkpoint's table of epochs was written, oldest first. */
  readonly opens: readonly OpenRecord[];
};

export const NOTE_LIMIT_BYTES = 3072;
const MAGIC = 0x4e4f424e; // "NBON"
const VERSION = 1;
const HEADER_BYTES = 136;
const OPEN_BYTES = 48;
const CRC_BYTES = 4;
export const MAX_OPENS = Math.floor((NOTE_LIMIT_BYTES - HEADER_BYTES - CRC_BYTES) / OPEN_BYTES);
/** An opener that finds this many writes a checkpoint before it serves. */
export const MANY_OPENS = Math.floor(MAX_OPENS / 2);

const COUNTER_BITS = 22n;
const INCARNATION_BITS = 22n;
const GENERATION_BITS = 20n;
const MAX_COUNTER = Number((1n << COUNTER_BITS) - 1n);

const invalid = (reason: string): NabuError => NabuError.of('INVALID_ARGUMENT', { field: 'owner note', reason });

/**
 * The order of notes as the one number that stores compare: generation, then incarnation, then counter (20, 22 and 22 bits).
 * Throws OUT_OF_RANGE when one does not fit: a million attaches or four million opens of one attach.
 */
export function noteVersion(epoch: WriterEpoch, counter: number): bigint {
  const fits = epoch.generation >> GENERATION_BITS === 0n && epoch.incarnation >> INCARNATION_BITS === 0n;
  if (!fits || counter < 0 || counter > MAX_COUNTER) {
    throw NabuError.of('OUT_OF_RANGE', {
      field: 'note version',
      reason: `${epoch.generation}.${epoch.incarnation}/${counter} has no place in 64 bits`,
    });
  }
  return (((epoch.generation << INCARNATION_BITS) | epoch.incarnation) << COUNTER_BITS) | BigInt(counter);
}

export function compareNotes(a: OwnerNote, b: OwnerNote): number {
  return compareWriterEpochs(a.epoch, b.epoch) || a.counter - b.counter;
}

function putEpoch(out: Buffer, epoch: WriterEpoch, at: number): void {
  out.writeBigUInt64LE(epoch.generation, at);
  out.writeBigUInt64LE(epoch.incarnation, at + 8);
}

const epochAt = (bytes: Buffer, at: number): WriterEpoch => ({
  generation: bytes.readBigUInt64LE(at),
  incarnation: bytes.readBigUInt64LE(at + 8),
});

/**
 * Little endian: 0 magic u32, 4 version u16, 6 opens u16, 8 epoch 2 x u64, 24 counter u64, 32 stamp u64, 40 size u64,
 * 48 policy kind u8 (1 ec, 2 replica), k u8, m u8, has checkpoint u8, 52 zero u32, 56 checkpoint epoch 2 x u64,
 * 72 root u64, 80 through u64, 88 table u64, 96 zero 40 bytes; 136 opens of 48 bytes (epoch, previous epoch, cut u64,
 * stamp u64); CRC-32 of all that u32.
 */
export function encodeOwnerNote(note: OwnerNote): Uint8Array {
  if (note.opens.length > MAX_OPENS) throw invalid(`has ${note.opens.length} opens, at most ${MAX_OPENS} fit`);
  const out = Buffer.alloc(HEADER_BYTES + note.opens.length * OPEN_BYTES + CRC_BYTES);
  out.writeUInt32LE(MAGIC, 0);
  out.writeUInt16LE(VERSION, 4);
  out.writeUInt16LE(note.opens.length, 6);
  putEpoch(out, note.epoch, 8);
  out.writeBigUInt64LE(BigInt(note.counter), 24);
  out.writeBigUInt64LE(note.stamp, 32);
  out.writeBigUInt64LE(note.sizeBytes, 40);
  out.set([note.policy.kind === 'ec' ? 1 : 2, note.policy.k, note.policy.m, note.checkpoint === undefined ? 0 : 1], 48);
  if (note.checkpoint !== undefined) {
    putEpoch(out, note.checkpoint.epoch, 56);
    out.writeBigUInt64LE(note.checkpoint.rootSequence, 72);
    out.writeBigUInt64LE(note.checkpoint.throughSequence, 80);
    out.writeBigUInt64LE(note.checkpoint.tableSequence, 88);
  }
  for (const [index, open] of note.opens.entries()) {
    const at = HEADER_BYTES + index * OPEN_BYTES;
    putEpoch(out, open.epoch, at);
    putEpoch(out, open.prevEpoch, at + 16);
    out.writeBigUInt64LE(open.cutSequence, at + 32);
    out.writeBigUInt64LE(open.stamp, at + 40);
  }
  out.writeUInt32LE(crc32(out.subarray(0, -CRC_BYTES)), out.length - CRC_BYTES);
  return out;
}

/** Throws INVALID_ARGUMENT for what is no whole note, FORMAT_UNKNOWN for a later version. */
export function decodeOwnerNote(given: Uint8Array): OwnerNote {
  const bytes = Buffer.from(given.buffer, given.byteOffset, given.byteLength);
  if (bytes.length < HEADER_BYTES + CRC_BYTES || bytes.readUInt32LE(0) !== MAGIC) throw invalid('is none');
  const version = bytes.readUInt16LE(4);
  if (version !== VERSION) {
    throw NabuError.of('FORMAT_UNKNOWN', { what: 'owner note', found: version, supported: VERSION });
  }
  const opens = bytes.readUInt16LE(6);
  if (bytes.length !== HEADER_BYTES + opens * OPEN_BYTES + CRC_BYTES) throw invalid('has the wrong length');
  if (crc32(bytes.subarray(0, -CRC_BYTES)) !== bytes.readUInt32LE(bytes.length - CRC_BYTES)) {
    throw invalid('fails its checksum');
  }
  return {
    epoch: epochAt(bytes, 8),
    counter: Number(bytes.readBigUInt64LE(24)),
    stamp: bytes.readBigUInt64LE(32),
    sizeBytes: bytes.readBigUInt64LE(40),
    policy: policyAt(bytes, 48),
    checkpoint: bytes.readUInt8(51) === 0 ? undefined : checkpointAt(bytes),
    opens: Array.from({ length: opens }, (_, index) => openAt(bytes, HEADER_BYTES + index * OPEN_BYTES)),
  };
}

function policyAt(bytes: Buffer, at: number): Policy {
  const [k, m] = [bytes.readUInt8(at + 1), bytes.readUInt8(at + 2)];
  return parsePolicy(bytes.readUInt8(at) === 1 ? `ec:${k}+${m}` : `replica:${m + 1}`);
}

function checkpointAt(bytes: Buffer): CheckpointPosition {
  return {
    epoch: epochAt(bytes, 56),
    rootSequence: bytes.readBigUInt64LE(72),
    throughSequence: bytes.readBigUInt64LE(80),
    tableSequence: bytes.readBigUInt64LE(88),
  };
}

function openAt(bytes: Buffer, at: number): OpenRecord {
  return {
    epoch: epochAt(bytes, at),
    prevEpoch: epochAt(bytes, at + 16),
    cutSequence: bytes.readBigUInt64LE(at + 32),
    stamp: bytes.readBigUInt64LE(at + 40),
  };
}
