import { crc32 } from 'node:zlib';
import { NabuError } from '../../common/errors/index.ts';
import { compareWriterEpochs, formatWriterEpoch, type Stamp, type WriterEpoch } from '../blob/index.ts';
import type { OpenRecord } from './owner-note.ts';

/** Sequences from `from` up to the next range belong to `epoch`. */
export type EpochRange = { readonly epoch: WriterEpoch; readonly from: bigint; readonly stamp: Stamp };

const MAGIC = 0x5445424e; // "NBET"
const VERSION = 1;
const HEADER_BYTES = 16;
const RANGE_BYTES = 32;
/** Opens with something written in between and still alive; 2 MiB of table. */
const MAX_RANGES = 65_536;

/** Which writer epoch wrote a sequence: a location in the extent map names the sequence alone, the key needs both. */
export class EpochTable {
  readonly #ranges: EpochRange[];

  constructor(ranges: readonly EpochRange[] = []) {
    this.#ranges = [...ranges];
  }

  get ranges(): readonly EpochRange[] {
    return this.#ranges;
  }

  /** The epoch that was opened last; undefined before the first open. */
  get last(): EpochRange | undefined {
    return this.#ranges.at(-1);
  }

  /** False for an epoch of which nothing was accepted. */
  has(epoch: WriterEpoch): boolean {
    return this.#ranges.some((range) => compareWriterEpochs(range.epoch, epoch) === 0);
  }

  /** History up to the cut stays, what was beyond is forgotten, the new epoch owns all that follows. */
  open(record: OpenRecord): void {
    const from = record.cutSequence + 1n;
    while ((this.last?.from ?? -1n) >= from) this.#ranges.pop();
    this.#ranges.push({ epoch: record.epoch, from, stamp: record.stamp });
  }

  /** Throws OUT_OF_RANGE for a sequence before the table's first. */
  rangeOf(sequence: bigint): EpochRange {
    let low = 0;
    let high = this.#ranges.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#ranges[middle]?.from ?? 0n) <= sequence) low = middle + 1;
      else high = middle;
    }
    const range = this.#ranges[low - 1];
    if (range !== undefined) return range;
    throw NabuError.of('OUT_OF_RANGE', { field: 'sequence', reason: `${sequence} belongs to no known writer epoch` });
  }

  /** Forgets epochs that end before `liveFrom`. */
  prune(liveFrom: bigint): void {
    const keep = this.#ranges.findIndex((_, at) => (this.#ranges[at + 1]?.from ?? liveFrom + 1n) > liveFrom);
    if (keep > 0) this.#ranges.splice(0, keep);
  }

  /** Little endian: 0 magic u32, 4 version u32, 8 count u32, 12 CRC-32 of the ranges u32; ranges of 4 x u64: generation, incarnation, from, stamp. */
  encode(): Buffer {
    if (this.#ranges.length > MAX_RANGES) {
      throw NabuError.of('OUT_OF_RANGE', {
        field: 'epoch table',
        reason: `has ${this.#ranges.length} ranges, at most ${MAX_RANGES}: let cleaning go on first`,
      });
    }
    const out = Buffer.alloc(HEADER_BYTES + this.#ranges.length * RANGE_BYTES);
    for (const [index, range] of this.#ranges.entries()) {
      const at = HEADER_BYTES + index * RANGE_BYTES;
      out.writeBigUInt64LE(range.epoch.generation, at);
      out.writeBigUInt64LE(range.epoch.incarnation, at + 8);
      out.writeBigUInt64LE(range.from, at + 16);
      out.writeBigUInt64LE(range.stamp, at + 24);
    }
    out.writeUInt32LE(MAGIC, 0);
    out.writeUInt32LE(VERSION, 4);
    out.writeUInt32LE(this.#ranges.length, 8);
    out.writeUInt32LE(crc32(out.subarray(HEADER_BYTES)), 12);
    return out;
  }

  static isEncoded(bytes: Buffer): boolean {
    return bytes.length >= HEADER_BYTES && bytes.readUInt32LE(0) === MAGIC;
  }

  /** Throws INVALID_ARGUMENT for what is no whole table, FORMAT_UNKNOWN for a later version. Trailing bytes are padding. */
  static decode(bytes: Buffer): EpochTable {
    const invalid = (reason: string): NabuError => NabuError.of('INVALID_ARGUMENT', { field: 'epoch table', reason });
    if (!EpochTable.isEncoded(bytes)) throw invalid('is none');
    const version = bytes.readUInt32LE(4);
    if (version !== VERSION) {
      throw NabuError.of('FORMAT_UNKNOWN', { what: 'epoch table', found: version, supported: VERSION });
    }
    const count = bytes.readUInt32LE(8);
    const end = HEADER_BYTES + count * RANGE_BYTES;
    if (count > MAX_RANGES || end > bytes.length) throw invalid('is cut short');
    if (crc32(bytes.subarray(HEADER_BYTES, end)) !== bytes.readUInt32LE(12)) throw invalid('fails its checksum');
    return new EpochTable(
      Array.from({ length: count }, (_, index) => {
        const at = HEADER_BYTES + index * RANGE_BYTES;
        return {
          epoch: { generation: bytes.readBigUInt64LE(at), incarnation: bytes.readBigUInt64LE(at + 8) },
          from: bytes.readBigUInt64LE(at + 16),
          stamp: bytes.readBigUInt64LE(at + 24),
        };
      }),
    );
  }

  toString(): string {
    return this.#ranges.map((range) => `${range.from}:${formatWriterEpoch(range.epoch)}`).join(' ');
  }
}
